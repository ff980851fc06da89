"""What the planner's interval of the standard error covers, from pilots of few students, and whether its estimate is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.estimators.intervals.level import LEVEL
from uqkd.plan import Costs, Design, PilotComponents, components_at_several_k, components_of_draws, plan
from uqkd.plan.prediction import Question, predict
from uqkd.theory.statements.planning import student_parts

Array = NDArray[np.float64]
Pilot = Callable[[np.random.Generator, int], PilotComponents]

EXPERIMENTS = 10_000  # a share of .95 has then a standard error of a fifth of a point
PLANNED = 300  # each of them searches for a design
STUDENTS, PROMPTS, DRAWS = (3, 5, 10), 20, 4
NAMES = ("prompt", "student", "prompt:student", "decoding")
SETTINGS = {
    "all effects": (0.04, 0.01, 0.02, 0.1),
    "students alike but for their own answers": (0.1, 0.0, 0.02, 0.1),
    "prompts alike": (0.0, 0.01, 0.02, 0.1),
    "one answer at each prompt alone": (0.0, 0.0, 0.05, 0.1),
}
CHANCES = (0.01, 0.0025, 0.0036)  # variances of the chance of a 1, whose mean is ½: 0 and 1 are four deviations away
TAILS = 5  # degrees of freedom of heavy-tailed effects
BY_K = {
    "prompt": 0.05, "student": 0.004, "teacher": 0.03, "prompt:student": 0.01, "prompt:teacher": 0.08, "decoding": 0.1,
    "decoding:teacher": -0.04,
}  # fmt: skip
SEVERAL_K = ((1, 8), (1, 4, 8))
DESIGN = Design(4, 12, 2, 100)  # what is predicted: another size than the pilot's
COSTS = Costs(student=10.0, draw=0.01, prompt=0.05)
BUDGET = 200.0
LIMITS: dict[str, int | tuple[int, int]] = {"k": 1, "students": (2, 30), "draws": (1, 16), "prompts": (2, 2_000)}


@dataclass(frozen=True)
class Case:
    """A truth and how pilots are drawn from it."""

    setting: str
    effects: str
    truth: dict[str, float]
    draw: Pilot


def _effects(parts: tuple[float, ...], generator: np.random.Generator, students: int, *, heavy: bool = False) -> Array:
    """What is common to the answers of a student to a prompt (S, P)."""

    def drawn(part: float, *shape: int) -> Array:
        if heavy:
            return np.asarray(np.sqrt(part * (TAILS - 2.0) / TAILS) * generator.standard_t(TAILS, shape))
        return np.asarray(np.sqrt(part) * generator.standard_normal(shape))

    return drawn(parts[0], PROMPTS) + drawn(parts[1], students, 1) + drawn(parts[2], students, PROMPTS)


def _numbers(parts: tuple[float, ...], *, heavy: bool = False) -> Pilot:
    def draw(generator: np.random.Generator, students: int) -> PilotComponents:
        cells = _effects(parts, generator, students, heavy=heavy)
        noise = np.sqrt(parts[3]) * generator.standard_normal((students, PROMPTS, DRAWS))
        return components_of_draws(cells[..., None] + noise)

    return draw


def _scores(generator: np.random.Generator, students: int) -> PilotComponents:
    chance = 0.5 + _effects(CHANCES, generator, students)
    right = generator.random((students, PROMPTS, DRAWS)) < chance[..., None]
    return components_of_draws(right.astype(np.float64))


def _at_several_k(ks: tuple[int, ...]) -> Pilot:
    def draw(generator: np.random.Generator, students: int) -> PilotComponents:
        prompts, pilots = np.sqrt(BY_K["prompt"]) * generator.standard_normal(PROMPTS), {}
        for k in ks:
            common, own = student_parts(BY_K, k)
            decoding = BY_K["decoding"] + BY_K["decoding:teacher"] / k
            cells = prompts + np.sqrt(common) * generator.standard_normal((students, 1))
            cells = cells + np.sqrt(own) * generator.standard_normal((students, PROMPTS))
            noise = np.sqrt(decoding) * generator.standard_normal((students, PROMPTS, DRAWS))
            pilots[k] = cells[..., None] + noise
        return components_at_several_k(pilots)

    return draw


def cases() -> Iterator[Case]:
    """All truths."""
    for setting, parts in SETTINGS.items():
        yield Case(setting, "normal", dict(zip(NAMES, parts, strict=True)), _numbers(parts))
    common = SETTINGS["all effects"]
    yield Case("heavy tails", f"t{TAILS}", dict(zip(NAMES, common, strict=True)), _numbers(common, heavy=True))
    truth = dict(zip(NAMES, [*CHANCES, 0.25 - sum(CHANCES)], strict=True))  # E p(1 − p) is what is left of ¼
    yield Case("scores of 0 and 1", "normal, answers binary", truth, _scores)
    for ks in SEVERAL_K:
        yield Case(f"students at each k of {', '.join(map(str, ks))}", "normal", BY_K, _at_several_k(ks))


def rows(experiments: int | None = None) -> list[dict[str, object]]:
    """One row for each truth, number of students, quantity, and design: one that is given, or that the plan of each pilot chooses.

    `predicted` is the median of the predicted standard errors over the true one of the same design, a closed form: for the
    mean whatever the effects are, for the inter-student variance where all are normal.

    Examples
    --------
    >>> rows(2)[0]["students"]
    3
    """
    found = []
    for case, students, quantity in product(cases(), STUDENTS, ("mean", "inter")):
        if quantity == "mean" or case.effects == "normal":
            found.append(_row(case, students, quantity, experiments or EXPERIMENTS, planned=False))
    for case in (one for one in cases() if one.truth is not BY_K):
        found.append(_row(case, 5, "mean", min(experiments or PLANNED, PLANNED), planned=True))
    return found


def _row(case: Case, students: int, quantity: str, experiments: int, *, planned: bool) -> dict[str, object]:
    question, hits, ratios, widths = Question(quantity), [], [], []
    for number in range(experiments):
        generator = seeds.generator("coverage", "planning", case.setting, students, quantity, planned, number)
        pilot = case.draw(generator, students)
        if planned:
            chosen = plan(pilot, COSTS, budget=BUDGET, limits=LIMITS)
            design, interval = chosen.design, chosen.standard_error
        else:
            design = DESIGN
            interval = predict(pilot, design, question)
        true = float(np.sqrt(question.variance(case.truth, **design.levels())))
        hits.append(bool(interval.covers(true)))
        ratios.append(float(interval.estimate) / true)
        widths.append(float(interval.high - interval.low) / true)
    return {
        "setting": case.setting, "effects": case.effects, "students": students, "prompts": PROMPTS, "draws": DRAWS,
        "quantity": quantity, "design": "planned" if planned else "given", "nominal": LEVEL, "covered": float(np.mean(hits)),
        "experiments": experiments, "median_width": float(np.median(widths)), "predicted": float(np.median(ratios)),
    }  # fmt: skip
