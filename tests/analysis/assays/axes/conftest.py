"""Results of the axes assay that several test modules share."""

from dataclasses import replace

import pytest
from helpers import codes

from analysis.assays.axes.config import AxesConfig
from analysis.assays.axes.run import run

SMALL = AxesConfig(
    runs=2,
    adult_step=40,
    surrogates=19,
    long_wave_surrogates=19,
    cv_repeats=2,
    weight_shuffles=19,
    time_course_surrogates=19,
    random_directions=19,
    eval_steps=20,
    angles=(90,),
)


@pytest.fixture(scope="session")
def small():
    """Few draws of everything."""
    return SMALL


@pytest.fixture(scope="session")
def brief():
    """Components and decoders of a young body."""
    return replace(AxesConfig.quick(), runs=2, adult_step=3, surrogates=19, cv_repeats=2, weight_shuffles=0)


@pytest.fixture(scope="session")
def complete(small):
    """Every part of a small body whose code of x is read."""
    return run(codes.read_code(), small)
