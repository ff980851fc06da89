"""`plan`: the best design for a budget or a standard error, what a unit more would buy, and the curve around it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from uqkd.checking.arrays import confidence_level
from uqkd.errors import OptionError, one_of
from uqkd.estimators.intervals.level import LEVEL, percent
from uqkd.estimators.intervals.mean_squares import Interval
from uqkd.plan.components import PilotComponents, known_components
from uqkd.plan.costs import LEVELS, Costs, Design
from uqkd.plan.limits import held_and_free, limits_of
from uqkd.plan.prediction import CAUTION, Question, cautious_components, predict
from uqkd.plan.search import Problem, best_design
from uqkd.plan.wording import sentence

_AROUND = (0.25, 0.35, 0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 2.0, 2.8, 4.0)  # multiples of the best count in the curve

_CAUTIOUS = f"planned with each component at the upper end of its one-sided interval of {percent(CAUTION)}"
_AS_GOOD = 1e-3  # by which share a standard error may be larger and is still called as good


@dataclass(frozen=True)
class Step:
    """What a little more of one level buys.

    Attributes
    ----------
    level : str
    count : int
        The new count.
    gain : float
        By which share the standard error falls.
    price : float
        By which share the cost grows.
    """

    level: str
    count: int
    gain: float
    price: float


@dataclass(frozen=True)
class Plan:
    """The best design, and what is known about it; made by `plan`.

    Attributes
    ----------
    design : Design
    standard_error : Interval
        That the design will have, with the limits that the pilot leaves; NaN where components are known.
    cost : float
    steps : tuple of Step
        One for each level that is free: one unit more, or a tenth more prompts.
    sentence : str
    notes : tuple of str
        What the reader must know: components that were negative, levels that were held.
    components : PilotComponents
        That the plan was made from.
    question : Question
        What will be reported.
    problem : Problem
        What was sought, within which limits.
    """

    design: Design
    standard_error: Interval
    cost: float
    steps: tuple[Step, ...]
    sentence: str
    notes: tuple[str, ...]
    components: PilotComponents
    question: Question
    problem: Problem

    def curve(self) -> list[dict[str, Any]]:
        """Best designs around the best: one level at another count, or another budget (target), all other levels at their best.

        Returns
        -------
        list of dict
            varied (a level, or "budget", "target"), k, students, draws, prompts, cost, standard_error, low, high; a row for each
            design that there is.

        Examples
        --------
        >>> one = {"prompts": "fixed", "limits": {"prompts": 1}}
        >>> found = plan({"student": 1.0, "decoding": 4.0}, Costs(student=9.0, draw=1.0), budget=150.0, **one)
        >>> [(row["students"], row["draws"]) for row in found.curve() if row["varied"] == "students"][:3]
        [(2, 64), (4, 28), (5, 21)]
        """
        rows = []
        for level in held_and_free(self.problem.limits)[1]:
            least, most = self.problem.limits[level]
            best = getattr(self.design, level)
            near = {*(round(best * factor) for factor in _AROUND), best - 1, best + 1}
            for count in sorted(n for n in near if least <= n <= most):
                limits = {**self.problem.limits, level: (count, count)}
                rows += self._row(level, replace(self.problem, limits=limits))
        what = "target" if self.problem.budget is None else "budget"
        for factor in _AROUND:
            rows += self._row(what, replace(self.problem, **{what: factor * getattr(self.problem, what)}))
        return rows

    def _row(self, varied: str, problem: Problem) -> list[dict[str, Any]]:
        design = _thrifty(problem, best_design(problem))
        if design is None:
            return []
        found = predict(self.components, design, self.question, level=self.standard_error.level)
        return [
            {
                "varied": varied, **design.levels(), "cost": problem.costs.of(design), "standard_error": float(found.estimate),
                "low": float(found.low), "high": float(found.high),
            }
        ]  # fmt: skip


def plan(
    components: PilotComponents | Mapping[str, float],
    costs: Costs,
    *,
    budget: float | None = None,
    target: float | None = None,
    quantity: str = "mean",
    prompts: str = "random",
    shared: Collection[str] = (),
    limits: Mapping[str, int | tuple[int, int]] | None = None,
    cautious: bool = False,
    level: float = LEVEL,
) -> Plan:
    """Best numbers of responses k, students S, answers R and prompts P for a budget or for a standard error.

    Parameters
    ----------
    components : PilotComponents or mapping of effect to float
        Of a pilot; or known ones, without uncertainty (see `known_components`).
    costs : Costs
    budget : float
        Greatest cost: the least standard error is sought. Either this or `target`.
    target : float
        Greatest standard error: the least cost is sought. Units of an answer ("mean"), or of its square ("inter").
    quantity : {"mean", "inter"}
        What will be reported: the mean answer (or score), or the inter-student variance at one k, averaged over prompts.
    prompts : {"random", "fixed"}
        Whether the prompts are a sample; fixed ones stay as many as in the pilot.
    shared : names of sources
        That all students have in common: "teacher" where all are trained on the same responses (`costs.one_bank`).
    limits : mapping of level to int or (int, int)
        "k", "students", "draws", "prompts": a count that is held, or the least and the most.
    cautious : bool
        Plan with each component at the upper end of its one-sided 75 % interval: where a pilot of few students happened to see
        no difference between them, the plan still takes enough of them. It costs where there is none.
    level : float
        Of the interval.

    Returns
    -------
    Plan

    Raises
    ------
    OptionError
        Neither or both of budget and target; a budget below the smallest design; a target below what can be reached; a level whose
        units cost nothing and that nothing else bounds.

    Notes
    -----
    T12; `uqkd.theory.statements.planning`. The interval holds for normal effects; what it covers from small pilots is in
    `uqkd.theory.coverage.planning`.

    Examples
    --------
    >>> found = plan({"prompt": 0.04, "student": 0.001, "decoding": 0.2}, Costs(student=300, draw=0.01, prompt=0.1), budget=3600)
    >>> found.design, round(float(found.standard_error.estimate), 4)
    (Design(k=1, students=10, draws=1, prompts=2965), 0.011)
    """
    parts = components if isinstance(components, PilotComponents) else known_components(components)
    one_of("prompts", prompts, ["random", "fixed"])
    if ("teacher" in shared) != costs.one_bank and "teacher" in "".join(parts.effects):
        raise OptionError(
            f"students that share the teacher's responses have one bank: shared=['teacher'] goes with costs.one_bank; got "
            f"shared={list(shared)} and one_bank={costs.one_bank}."
        )
    question = Question(quantity, prompts == "fixed", tuple(shared))
    if (budget is None) == (target is None):
        raise OptionError(f"plan needs either a budget or a target; got budget={budget} and target={target}.")
    for name, value in (("budget", budget), ("target", target)):
        if value is not None and not 0 < value < np.inf:
            raise OptionError(f"{name} must be a number above 0; got {value!r}.")
    known = cautious_components(parts) if cautious else parts.as_mapping()
    bounds, notes = limits_of(parts, costs, question, limits or {})
    problem = Problem(lambda **counts: question.variance(known, **counts), costs, bounds, budget, target)
    design = _thrifty(problem, best_design(problem))
    if design is None:
        raise OptionError(_why_none(problem, parts, question))
    found = predict(parts, design, question, level=confidence_level(level))
    steps, cost = _steps(problem, design), costs.of(design)
    said = sentence(design, found, costs, steps=steps, question=question)
    return Plan(
        design,
        found,
        cost,
        steps,
        said,
        (*_negative(parts), *([_CAUTIOUS] if cautious else []), *notes),
        parts,
        question,
        problem,
    )


def _thrifty(problem: Problem, design: Design | None) -> Design | None:
    """The cheapest design that is as good as the best within the budget: what more would buy is nothing to speak of."""
    if design is None or problem.budget is None:
        return design
    error = float(np.sqrt(problem.variance(**design.levels())))
    if error == 0.0:
        return design
    found = best_design(replace(problem, budget=None, target=error * (1.0 + _AS_GOOD)))
    return design if found is None or problem.costs.of(found) > problem.costs.of(design) else found


def _steps(problem: Problem, design: Design) -> tuple[Step, ...]:
    """One unit more of each level that is free; of prompts a tenth."""
    steps, counts = [], design.levels()
    before, cost = float(problem.variance(**counts)), problem.costs.of(design)
    for level in held_and_free(problem.limits)[1]:
        more = counts[level] + (max(1, round(counts[level] / 10)) if level == "prompts" else 1)
        after = float(problem.variance(**{**counts, level: more}))
        gain = 1.0 - np.sqrt(after / before) if before > 0 else 0.0
        steps.append(Step(level, more, float(gain), problem.costs.of(replace(design, **{level: more})) / cost - 1.0))
    return tuple(steps)


def _negative(parts: PilotComponents) -> tuple[str, ...]:
    below = [
        f"{name} {value:.3g}"
        for name, value, used in zip(parts.effects, parts.estimate, parts.used, strict=True)
        if value < 0 <= used
    ]
    if not below:
        return ()
    return (f"estimated below zero and taken as zero, not so by the interval: {', '.join(below)}",)


def _why_none(problem: Problem, parts: PilotComponents, question: Question) -> str:
    """Why no design is within the budget, or meets the target: the least cost, or the floor and what it is made of."""
    least = Design(*(problem.limits[level][0] for level in LEVELS))
    if problem.budget is not None:
        return (
            f"budget {problem.budget:g} is below the smallest design, k={least.k}, S={least.students}, R={least.draws}, "
            f"P={least.prompts}, which costs {problem.costs.of(least):g}; give that at least."
        )
    most = {level: problem.limits[level][1] for level in LEVELS}
    floor = float(np.sqrt(problem.variance(**most)))
    left = {n: float(question.variance({n: v}, **most)) for n, v in parts.as_mapping().items()}
    held = [f"{level}={most[level]}" for level in held_and_free(problem.limits)[0]]
    return (
        f"target {problem.target:g} cannot be reached: with the most of every level ({_counts(most)}) the standard error is still "
        f"{floor:.3g}, most of it from {max(left, key=lambda name: left[name])!r}"
        + (f"; held: {', '.join(held)}" if held else "")
        + ". Ask for more than that, or raise a limit."
    )


def _counts(most: Mapping[str, int]) -> str:
    return ", ".join(f"{level}={count:,}" for level, count in most.items())
