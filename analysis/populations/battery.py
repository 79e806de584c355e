"""Each assay of a whole population, from its networks to a section; who counts is looked at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np

from analysis import metrics
from analysis.assays.axes.config import AxesConfig
from analysis.assays.lesions.config import LesionConfig
from analysis.assays.regeneration.config import RegenerationConfig
from analysis.assays.robustness.config import RobustnessConfig
from analysis.populations import assays, codes
from analysis.populations.members import LIMIT, PUBLISHED, Population, Verdict, admitted
from analysis.populations.section import section
from analysis.populations.studies import Study
from analysis.progress import Log
from analysis.report.model import Section
from nca.validation import where_left

Config = TypeVar("Config", AxesConfig, RegenerationConfig, LesionConfig, RobustnessConfig)
# Networks are the unit, so that keys of each need only steady its own value.
FEWER: Mapping[type, Mapping[str, Any]] = {
    AxesConfig: {},
    RegenerationConfig: {"runs": 3},
    LesionConfig: {"runs": 2},
    RobustnessConfig: {
        "runs": 2,
        "once": (1.0,),
        "lasting": (0.1,),
        "weights": (0.1,),
        "rates": (0.3, 1.0),
        "edges": (),
    },
}
PLACES = (
    "For each network: R² of x, y, the radius and the distance to the edge, decoded from its hidden states "
    "with cells held out by blocks of 8×8 (A1), less the median of the same for {surrogates} band-rotated "
    "surrogates of these states (A2), which keep their smoothness, covariance and power at every scale; mean "
    "over {runs} runs. z is that excess over the surrogates’ mean in their sd, and p its rank among those "
    "of the first run. An excess may be above 0 where R² itself is not: then smooth fields do worse still, "
    "and place cannot be read; this is counted apart. On bodies as small as these few blocks remain, "
    "decoders must reach beyond what they were fitted on, and power is low. The surrogates’ width depends on "
    "a body’s size and shape, which differ between regimes: so the tests are repeated on z."
)
HEALING = (
    "Five cuts (four halves, and 16×16 cells of the centre) at step {cut_at}, judged at step {until}: "
    "recovered = (E_cut − E_end) / (E_cut − E_twin,end) beside the uncut twin of the same key, median over "
    "{runs} keys. Only networks that enter are cut."
)
LESIONS = (
    "Each hidden channel in turn is multiplied by 0.95 at every step from step {at} on, beside the "
    "undisturbed run of the same key; W (1 intact, 0 dead) {horizon} steps later, median over {runs} keys. A "
    "channel is needed if that costs more than half of W. The spread of the harm h = 1 − W, held between 0 "
    "and 1, is (Σh)² / Σh² over the number of channels: 1 if all are needed alike, near 0 if it all hangs on "
    "one. Only networks that enter are harmed; one kind of lesion, one dose."
)
ROBUST = (
    "W (1 as the undisturbed twin, 0 an empty canvas) under each disturbance, median over {runs} keys; "
    "doses as shares of a channel’s sd over the body, of a weight array’s norm, or fire rates. Only networks "
    "that enter are disturbed."
)
PARTS = (
    "Principal components of the hidden states of mature cells, centred, fitted on {runs} runs of a network "
    "together. Any smooth field shows gradients, so that nothing here says that a body has axes."
)


@dataclass(frozen=True, eq=False)
class Bench:
    """A population under study.

    Attributes:
        population: whose networks.
        say: is told the progress.
        limit: L with which a network enters.
        seed: number that all randomness follows from.
        judged: verdicts by step and number of runs, as they are made.
    """

    population: Population
    say: Log
    limit: float = LIMIT
    seed: int = 0
    judged: dict[tuple[int, int], list[Verdict]] = field(default_factory=dict)

    def verdicts(self, at: int, runs: int) -> list[Verdict]:
        """Who enters at a step."""
        if (at, runs) not in self.judged:
            self.judged[at, runs] = admitted(
                self.population.members, self.limit, at, runs=runs, seed=self.seed, say=self.say
            )
        return self.judged[at, runs]

    def portrait(self) -> np.ndarray | None:
        """A grown body of the last network that enters."""
        for verdicts in self.judged.values():
            for verdict in reversed(verdicts):
                if verdict.admitted:
                    return np.asarray(metrics.picture(verdict.member.organism.rule.spec, verdict.states[0]))
        return None


def fewer(config: Config) -> Config:
    """A config for many networks: numbers left at their default are smaller."""
    return where_left(config, FEWER[type(config)])


def places(bench: Bench, config: AxesConfig) -> Section:
    """The founding question: does the code of place rise over the regimes."""
    how = PLACES.format(surrogates=config.surrogates, runs=config.runs)
    return _young_and_grown(bench, partial(codes.places, say=bench.say), config, "axes", how)


def components(bench: Bench, config: AxesConfig) -> Section:
    """Components of every network, which claim nothing."""
    return _young_and_grown(bench, codes.components, config, "components", PARTS.format(runs=config.runs))


def _young_and_grown(bench: Bench, assay: Callable[..., Study], config: AxesConfig, name: str, how: str) -> Section:
    """An assay at the grown step, and at the published one where that is earlier."""
    steps = [config.steps, *([PUBLISHED] if config.steps > PUBLISHED else [])]
    judged = [bench.verdicts(at, config.runs) for at in steps]
    return _told(bench, [assay(bench.population, v, config) for v in judged], judged, name, how)


def healing(bench: Bench, config: RegenerationConfig) -> Section:
    """What each regime heals."""
    config = fewer(config)
    how = HEALING.format(**config.to_json())
    return _grown(bench, assays.healing, config, config.cut_at, "regeneration", how)


def lesions(bench: Bench, config: LesionConfig) -> Section:
    """How many channels each regime needs."""
    config = fewer(config)
    how = LESIONS.format(**config.to_json(), horizon=config.horizons[-1])
    return _grown(bench, assays.lesions, config, config.at, "lesions", how)


def robustness(bench: Bench, config: RobustnessConfig) -> Section:
    """What each regime bears."""
    config = fewer(config)
    how = ROBUST.format(**config.to_json())
    return _grown(bench, assays.robustness, config, config.at, "robustness", how)


def _grown(bench: Bench, assay: Callable[..., Study], config: Any, at: int, name: str, how: str) -> Section:
    """An assay of the grown bodies."""
    judged = bench.verdicts(at, config.runs)
    return _told(bench, [assay(bench.population, judged, config, bench.say)], [judged], name, how)


def _told(bench: Bench, studies: list[Study], judged: list[list[Verdict]], name: str, how: str) -> Section:
    title = f"{name.capitalize()} over the regimes"
    return section(bench.population, studies, judged, bench.limit, name=name, title=title, method=how)


Part = Callable[[Bench], Section]
