"""Options of the axes assay."""

import pytest

from analysis.assays.axes.config import RENAMED_OPTIONS, AxesConfig
from nca.errors import UserError


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"surrogates": 9}, "19 or more"),
        ({"weight_shuffles": 5}, "19 or more for p to reach 0.05, or 0"),
        ({"runs": 0}, "at least 1"),
        ({"runs": 1}, "two or more runs"),
    ],
)
def test_impossible_options_are_refused(fields, reason):
    with pytest.raises(UserError, match=reason):
        AxesConfig(**fields)


def test_presets_change_only_options_that_have_their_default():
    quick = AxesConfig.quick()
    left_out = ("long_wave_surrogates", "time_course_surrogates", "random_directions")
    assert [getattr(quick, name) for name in left_out] == [0, 0, 0]
    assert (quick.weight_shuffles, quick.angles) == (19, ())
    assert quick.surrogates == AxesConfig().surrogates
    assert AxesConfig(full=True).filled().runs == 8
    assert AxesConfig(full=True, runs=3).filled().runs == 3
    assert AxesConfig().filled() == AxesConfig()


def test_each_renamed_option_names_a_field():
    fields = {f"--{name.replace('_', '-')}" for name in vars(AxesConfig())}
    assert set(RENAMED_OPTIONS.values()) <= fields
    assert not set(RENAMED_OPTIONS) & fields
