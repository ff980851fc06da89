"""Means over prompts of the variance between students, within them, of their sum and their ratio.

The interval is that of `decompose_variance(draws).mean.interval`. Every prompt has a variance of its own between students,
gamma with four degrees of freedom and mean 1; the variance within students is 1. "Binary" are 0/1 answers of students whose
probit is that of the prompt, standard normal, and their own effect. Effects are common to all prompts, common but turned (up at
some, down at others), of their own for each, "mixed" of the first and the third in equal parts, or none: then the variance
between students is 0. `missed_low` is the share of truths below the interval.

Beside it, for the variance between students: what the estimate ± the normal quantile of its two-way standard error covers
(`by_standard_error`), chi-square limits with S − 1 degrees of freedom (`by_chi_square`), and this interval without its
allowance for tails that are not normal (`unstretched`). `width_ratio` is the median width over that of the narrowest of the
four that covers 93.5 % of normal and binary truths (90 % of t5, 88 % of others) at that size whatever the effects are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from uqkd.estimators import LEVEL, normal_quantile
from uqkd.estimators.intervals.mean_squares import mean_square_interval
from uqkd.estimators.intervals.prompt_means.limits import mean_limits
from uqkd.estimators.intervals.prompt_means.spread import StudentSpread
from uqkd.seeds import generator

Array = NDArray[np.float64]

BY = ("quantity", "prompts", "data", "S")
STUDENTS, PROMPTS, RESPONSES = (3, 5, 10, 30), (5, 20, 100), (2, 8)
DATA = ("normal", "binary", "t5", "exponential", "lognormal")
# Share of the effect that is common to all prompts; "turned" is so too, but up at some prompts and down at others.
EFFECTS = {"common": 1.0, "turned": 1.0, "own": 0.0, "mixed": 0.5, "none": float("nan")}
EXPERIMENTS, CHUNK = 10_000, 250  # a cell; and those made at once, which hold some 200 MB
GOALS = {"normal": 0.935, "binary": 0.935, "t5": 0.9}
OTHER_GOAL = 0.88


@dataclass(frozen=True)
class World:
    """Draws (E, S, P, R), and the variances that they come from: of each prompt (E, P), and over all prompts."""

    draws: Array
    inter: Array
    intra: Array
    all_inter: float
    all_intra: float


def rows(experiments: int | None = None) -> list[dict[str, object]]:
    """Cells of the table; each of S, P and R takes the first of 30, 100 and 8 that were drawn.

    Examples
    --------
    >>> len(cells("normal", ("own",), 2))  # 24 sizes, 2 kinds of prompts; all quantities at R = 2, inter at R = 8 too
    120
    """
    return [row for data in DATA for row in cells(data, tuple(EFFECTS), experiments or EXPERIMENTS)]


def cells(data: str, effects: tuple[str, ...], experiments: int) -> list[dict[str, object]]:
    """Cells of one kind of data."""
    kept: dict[tuple[Any, ...], list[list[Array]]] = {}
    for start in range(0, experiments, CHUNK):
        for effect, world in worlds(data, effects, (start, min(CHUNK, experiments - start))):
            for r, table in ((r, _summed_up(world, r)) for r in RESPONSES):
                for size in ((s, p, r) for s in STUDENTS for p in PROMPTS):
                    for key, found in measured(world, table, size):
                        kept.setdefault((effect, *size, *key), []).append(found)
    rows = [
        _row(data, key, [np.concatenate(column) for column in zip(*found, strict=True)]) for key, found in kept.items()
    ]
    return _beside_the_narrowest(rows)


def worlds(data: str, effects: tuple[str, ...], chunk: tuple[int, int]) -> Iterator[tuple[str, World]]:
    """Experiments of one chunk under each kind of effects, from the same random numbers."""
    rng, shape = generator("coverage", "variance_means", data, *chunk), (chunk[1], STUDENTS[-1], PROMPTS[-1])
    common, own = (_family(data, size, rng) for size in ((*shape[:2], 1), shape))
    of_prompt = (
        rng.standard_normal((chunk[1], 1, shape[2]))
        if data == "binary"
        else rng.gamma(2.0, 0.5, (chunk[1], 1, shape[2]))
    )
    sign = rng.choice([-1.0, 1.0], (chunk[1], 1, shape[2]))
    noise = rng.random((*shape, RESPONSES[-1])) if data == "binary" else _family(data, (*shape, RESPONSES[-1]), rng)
    for effect in effects:
        share = EFFECTS[effect]
        of_student = np.zeros(shape) if np.isnan(share) else np.sqrt(share) * common + np.sqrt(1.0 - share) * own
        of_student = of_student * sign if effect == "turned" else of_student
        if data == "binary":
            yield effect, _binary(of_prompt, of_student, noise, varied=effect != "none")
        else:
            inter = np.zeros(of_prompt[:, 0].shape) if effect == "none" else of_prompt[:, 0]
            draws = (np.sqrt(of_prompt) * of_student)[..., None] + noise
            yield effect, World(draws, inter, np.ones_like(inter), 0.0 if effect == "none" else 1.0, 1.0)


def _family(data: str, size: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Numbers of mean 0 and variance 1."""
    if data == "t5":
        return rng.standard_t(5, size) * np.sqrt(3.0 / 5.0)
    if data == "exponential":
        return rng.standard_exponential(size) - 1.0
    if data == "lognormal":
        return (rng.lognormal(size=size) - np.exp(0.5)) / np.sqrt((np.e - 1.0) * np.e)
    return rng.standard_normal(size)


def _binary(of_prompt: Array, of_student: Array, uniform: Array, *, varied: bool) -> World:
    """0/1 answers with probit `of_prompt` + `of_student`; a prompt's variances by quadrature over normal effects."""
    draws = (uniform < special.ndtr(of_prompt + of_student)[..., None]).astype(np.float64)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    chance = special.ndtr(np.add.outer(nodes, nodes if varied else 0.0 * nodes))
    at_node = chance**2 @ weights - (chance @ weights) ** 2, chance @ weights - chance**2 @ weights
    grid = np.linspace(-6.0, 6.0, 401)
    on_grid = special.ndtr(np.add.outer(grid, nodes if varied else 0.0 * nodes))
    inter, intra = on_grid**2 @ weights - (on_grid @ weights) ** 2, on_grid @ weights - on_grid**2 @ weights
    own = [np.interp(of_prompt[:, 0], grid, values) for values in (inter, intra)]
    return World(draws, own[0], own[1], float(at_node[0] @ weights), float(at_node[1] @ weights))


def _summed_up(world: World, responses: int) -> tuple[Array, Array]:
    """Mean and variance of the first responses of each student to each prompt, (E, S, P)."""
    draws = world.draws[..., :responses]
    means = draws.mean(axis=-1)
    return means, ((draws - means[..., None]) ** 2).sum(axis=-1) / (responses - 1)


def measured(
    world: World, table: tuple[Array, Array], size: tuple[int, int, int]
) -> Iterator[tuple[tuple[str, str], list[Array]]]:
    """Of each quantity and kind of prompts: truth and limits of this interval, and whether the others cover, with their widths."""
    students, prompts, responses = size
    means, within = (x[:, :students, :prompts] for x in table)
    spread = StudentSpread((means - means.mean(axis=1, keepdims=True))[..., None], within, responses)
    inter, intra = world.inter[:, :prompts].mean(axis=1), world.intra[:, :prompts].mean(axis=1)
    for kind in ("random", "fixed"):
        a, b = (
            (inter, intra)
            if kind == "fixed"
            else (np.full_like(inter, world.all_inter), np.full_like(inter, world.all_intra))
        )
        truths = {"inter": a, "intra": b, "total": a + b, "share": a / (a + b)}
        groups = np.arange(prompts) if kind == "random" else None
        for quantity in ("inter",) if responses != RESPONSES[0] else truths:
            truth = truths[quantity]
            limits = [mean_limits(spread, quantity, level=LEVEL, groups=groups)[1:]]
            limits += others(spread, groups) if quantity == "inter" else []
            yield (kind, quantity), [truth, *(limit for pair in limits for limit in pair)]


def others(spread: StudentSpread, groups: NDArray[np.intp] | None) -> list[tuple[Array, Array]]:
    """Limits by the standard error, by chi-square with S − 1 degrees of freedom, and by this interval of normal theory."""
    n, r = spread.students, spread.responses
    about = spread.about
    between, within = about.sum(axis=-2).mean(axis=-1) / (n - 1), spread.within.mean(axis=(-2, -1))
    pseudo = (n * about - about.sum(axis=-2, keepdims=True) / (n - 1)) / (n - 2) - spread.within / r
    columns = pseudo.mean(axis=-1).var(axis=-1, ddof=1) * spread.prompts
    whole, of_prompts = pseudo.var(axis=(-2, -1), ddof=1), pseudo.mean(axis=-2).var(axis=-1, ddof=1) * n
    p = spread.prompts
    both = (whole * (n * p - 1) - columns * (n - 1) - of_prompts * (p - 1)) / ((n - 1) * (p - 1))
    error = np.sqrt(np.maximum(columns + of_prompts - both, both) / (n * p))
    estimate = between - within / r
    reach = normal_quantile() * error
    chi = mean_square_interval(np.stack([between * r, within]), [n - 1, n * p * (r - 1)], [1.0 / r, -1.0 / r])
    plain = mean_limits(spread, "inter", level=LEVEL, groups=groups, normal=True)
    return [(estimate - reach, estimate + reach), (chi.low, chi.high), (plain[1], plain[2])]


def _row(data: str, key: tuple[Any, ...], columns: list[Array]) -> dict[str, Any]:
    effect, students, prompts, responses, kind, quantity = key
    truth, pairs = columns[0], [(columns[i], columns[i + 1]) for i in range(1, len(columns), 2)]
    covered = [float(np.mean((low <= truth) & (truth <= high))) for low, high in pairs]
    width = [float(np.nanmedian(high - low)) for low, high in pairs]
    others = [float("nan")] * 3 if len(pairs) == 1 else covered[1:]
    return {
        "quantity": quantity, "prompts": kind, "data": data, "effects": effect, "S": students, "P": prompts, "R": responses,
        "nominal": LEVEL, "covered": covered[0], "experiments": len(truth), "median_width": width[0],
        "missed_low": float(np.mean(truth < pairs[0][0])), "by_standard_error": others[0], "by_chi_square": others[1],
        "unstretched": others[2], "width_ratio": [covered, width],
    }  # fmt: skip


def _beside_the_narrowest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the ratio of widths: only a method that covers whatever the effects are is one to be narrower than."""
    sizes: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        sizes.setdefault(tuple(row[name] for name in ("quantity", "prompts", "data", "S", "P", "R")), []).append(row)
    for alike in sizes.values():
        covered = np.array([row["width_ratio"][0] for row in alike])
        cover = (covered >= GOALS.get(alike[0]["data"], OTHER_GOAL)).all(axis=0)
        for row in alike:
            width = np.array(row["width_ratio"][1])
            row["width_ratio"] = float(width[0] / width[cover].min()) if cover.any() else float("nan")
    return rows


def spans(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], dict[int, dict[str, tuple[int, int]]]]:
    """Whole per cent covered at least and at most, by quantity and prompts, students and data: what notes of intervals say.

    `uqkd.estimators.intervals.prompt_means.shown` holds it as it is in docs/coverage/variance_means.csv.

    Examples
    --------
    >>> row = {"quantity": "inter", "prompts": "fixed", "S": "5", "data": "normal", "effects": "own", "covered": "0.9471"}
    >>> spans([row, {**row, "covered": "0.962"}])
    {('inter', 'fixed'): {5: {'normal': (94, 97)}}}
    """
    found: dict[tuple[str, str], dict[int, dict[str, list[float]]]] = {}
    for row in rows:
        if row["effects"] != "none":
            sizes = found.setdefault((row["quantity"], row["prompts"]), {}).setdefault(int(row["S"]), {})
            sizes.setdefault(row["data"], []).append(round(100.0 * float(row["covered"]), 4))
    return {
        kind: {
            students: {data: (math.floor(min(covered)), math.ceil(max(covered))) for data, covered in by_data.items()}
            for students, by_data in sizes.items()
        }
        for kind, sizes in found.items()
    }
