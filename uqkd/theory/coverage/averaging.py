"""Coverage of the averaging law's floor and slope, and false alarms of its lack of fit: S × design × P × floor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.estimators.averaging import gamma
from uqkd.estimators.averaging.laws import AveragingLaw
from uqkd.estimators.averaging.students import averaging_law_of, mean_squares
from uqkd.estimators.intervals.level import LEVEL

Array = NDArray[np.float64]
Fit = Callable[[Array, Array, str], AveragingLaw]

EXPERIMENTS = 10_000  # a share covered then has a standard error of .2 %
WIDTHS = 200  # experiments behind a median width
STUDENTS = (5, 10, 30)
DESIGNS = ("nested", "shared", "independent")
PROMPTS = (1, 20)
FLOORS = (0.0, 0.02, 0.3)  # in units of the slope, the variance of one response
DOUBLING, MANY = (1, 2, 4, 8, 16), (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50)
SLOPE = 1.0


def students_at(
    k: Array,
    size: tuple[int, int, int],
    floor: float,
    *,
    design: str,
    generator: np.random.Generator,
    common: bool = False,
) -> Array:
    """Normal students (E, K, S, P) of `size` (E, S, P): a beginning of variance `floor` and the mean of k responses.

    Parameters
    ----------
    k : (K,) float
        Rising.
    size : (E, S, P)
    floor : float
    design : str
        As for `averaging_law_of`.
    generator : numpy.random.Generator
    common : bool
        A student begins off by as much at all prompts, and not at each by its own.

    Examples
    --------
    >>> students_at(np.array([1.0, 2.0]), (3, 5, 4), 0.1, design="nested", generator=seeds.generator("a")).shape
    (3, 2, 5, 4)
    """
    experiments, students, prompts = size
    shape = (experiments, len(k), students, prompts)
    noise = generator.standard_normal(shape)
    added = np.diff(k, prepend=0.0) if design == "nested" else k
    sums = np.sqrt(added)[:, None, None] * noise  # the sum of the responses that k adds
    means = (np.cumsum(sums, axis=1) if design == "nested" else sums) / k[:, None, None]
    begun = (experiments, len(k) if design == "independent" else 1, students, 1 if common else prompts)
    return np.asarray(means + np.sqrt(floor) * generator.standard_normal(begun))


def cells() -> Iterator[dict[str, object]]:
    """What is simulated: doubling k in all designs, and sixteen k where they are nested, as studies have them."""
    for students, design, prompts, floor in product(STUDENTS, DESIGNS, PROMPTS, FLOORS):
        yield {
            "students": students,
            "design": design,
            "prompts": prompts,
            "floor": floor,
            "ks": DOUBLING,
            "effects": "own",
        }
    for students, prompts in product(STUDENTS, PROMPTS):
        yield {
            "students": students,
            "design": "nested",
            "prompts": prompts,
            "floor": 0.02,
            "ks": MANY,
            "effects": "own",
        }
    for students, design in product(STUDENTS, DESIGNS):
        yield {"students": students, "design": design, "prompts": 20, "floor": 0.3, "ks": DOUBLING, "effects": "common"}


def world(cell: dict[str, object], experiments: int) -> tuple[Array, Array]:
    """The k of a cell, and its students (E, K, S, P)."""
    k = np.asarray(cell["ks"], dtype=np.float64)
    size = (experiments, int(str(cell["students"])), int(str(cell["prompts"])))
    generator = seeds.generator("coverage", "averaging", *(str(value) for value in cell.values()))
    floor, common = float(str(cell["floor"])), cell["effects"] == "common"
    return k, students_at(k, size, floor, design=str(cell["design"]), generator=generator, common=common)


def shares(cell: dict[str, object], fit: Fit, experiments: int) -> dict[str, tuple[float, float | None]]:
    """Of fits of one cell: share covered and median width of floor and slope, and share not rejected at the level."""
    k, worlds = world(cell, experiments)
    laws = [fit(k, means, str(cell["design"])) for means in worlds]
    found: dict[str, tuple[float, float | None]] = {}
    for name, truth in (("floor", float(str(cell["floor"]))), ("slope", SLOPE)):
        intervals = [getattr(law, f"{name}_interval") for law in laws]
        width = float(np.median([interval.high - interval.low for interval in intervals]))
        found[name] = float(np.mean([interval.covers(truth) for interval in intervals])), width
    found["no lack of fit"] = float(np.mean([law.p_value is None or law.p_value > 1.0 - LEVEL for law in laws])), None
    return found


def accepted(cell: dict[str, object], experiments: int) -> dict[str, float]:
    """The shares of `averaging_law_of`, from whether it accepts the truth: no limits are searched, seven times faster."""
    k, worlds = world(cell, experiments)
    truths, hits = (float(str(cell["floor"])), SLOPE), np.zeros(3)
    for means in worlds:
        squares = mean_squares(k, means, str(cell["design"]))
        coef = gamma.fitted(squares)
        squares = squares.at(coef)
        inside = [gamma.profile(squares, coef, i).beyond(truth, LEVEL) <= 0.0 for i, truth in enumerate(truths)]
        chance = gamma.lack_of_fit(squares, coef)[2]
        hits += [*inside, chance is None or chance > 1.0 - LEVEL]
    return dict(zip(("floor", "slope", "no lack of fit"), (hits / experiments).tolist(), strict=True))


def own_fit(k: Array, means: Array, design: str) -> AveragingLaw:
    """`averaging_law_of`."""
    return averaging_law_of(k, means, design=design)


def rows(experiments: int | None = None) -> list[dict[str, object]]:
    """One row for each cell and each of floor, slope and lack of fit.

    Examples
    --------
    >>> sorted(rows(1)[0])[:4]
    ['covered', 'design', 'effects', 'experiments']
    """
    table: list[dict[str, object]] = []
    for cell in cells():
        count = experiments or EXPERIMENTS
        covered = accepted(cell, count)
        for quantity, (_, width) in shares(cell, own_fit, min(count, WIDTHS)).items():
            ks = "1, 2, 4, 8, 16" if cell["ks"] == DOUBLING else "16 values, 1 to 50"
            about = {**cell, "ks": ks, "quantity": quantity, "nominal": LEVEL, "covered": covered[quantity]}
            table.append({**about, "experiments": count, "median_width": width})
    return table
