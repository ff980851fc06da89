"""The projections by SciPy's general solver, one row at a time: what the exact ones are compared with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

FEASIBLE = 1e-10  # by how much SLSQP's answer may miss a bound and still count


@dataclass(frozen=True)
class Problem:
    """One row: p, linear bounds ``forms @ q >= least``, bounds on the entropy, and whether the distance is squared."""

    p: np.ndarray
    forms: np.ndarray
    least: np.ndarray
    entropy_min: float | None = None
    entropy_max: float | None = None
    squared: bool = False

    def distance(self, q: np.ndarray) -> float:
        """KL(q‖p) in nats, or half the squared distance."""
        if self.squared:
            return 0.5 * float(((q - self.p) ** 2).sum())
        held = q > 0
        return float((q[held] * np.log(q[held] / self.p[held])).sum())

    def violation(self, q: np.ndarray) -> float:
        """Largest amount by which q misses a bound or the simplex."""
        missed = [abs(q.sum() - 1), -q.min(), *(self.least - self.forms @ q)]
        if self.entropy_min is not None:
            missed.append(self.entropy_min - entropy(q))
        if self.entropy_max is not None:
            missed.append(entropy(q) - self.entropy_max)
        return float(max(missed))


def entropy(q: np.ndarray) -> float:
    """Shannon entropy in nats."""
    q = q[q > 0]
    return float(-(q * np.log(q)).sum())


def logs(q: np.ndarray) -> np.ndarray:
    """Logarithms, finite at zero."""
    return np.log(np.maximum(q, 1e-30))


def solve(problem: Problem, starts: Iterator[np.ndarray], *, enough: float) -> float:
    """Least distance that SLSQP finds from the starts, until one is at most `enough`; infinite if none is feasible."""
    if not problem.squared:  # KL leaves classes of probability zero at zero: they are no variables
        held = problem.p > 0
        problem = Problem(
            problem.p[held], problem.forms[:, held], problem.least, problem.entropy_min, problem.entropy_max
        )
    best = np.inf
    for start in starts:
        start = start if problem.squared else start[held]
        q = np.clip(run(problem, start / start.sum()), 0.0, None)
        if problem.violation(q) <= FEASIBLE:
            best = min(best, problem.distance(q))
        if best <= enough:
            break
    return best


def run(problem: Problem, start: np.ndarray) -> np.ndarray:
    """One run of SLSQP with analytic gradients. No bounds at one, which the sum keeps: they would double the time."""
    p, forms, least = problem.p, problem.forms, problem.least
    constraints = [{"type": "eq", "fun": lambda q: np.array([q.sum() - 1]), "jac": lambda q: np.ones((1, len(q)))}]
    if len(forms):
        constraints.append({"type": "ineq", "fun": lambda q: forms @ q - least, "jac": lambda q: forms})
    for sign, bound in ((1.0, problem.entropy_min), (-1.0, problem.entropy_max)):
        if bound is not None:
            value = lambda q, sign=sign, bound=bound: np.array([sign * (-(q * logs(q)).sum() - bound)])  # noqa: E731
            slope = lambda q, sign=sign: -sign * (logs(q) + 1)[None]  # noqa: E731
            constraints.append({"type": "ineq", "fun": value, "jac": slope})
    if problem.squared:
        goal = lambda q: (0.5 * ((q - p) ** 2).sum(), q - p)  # noqa: E731
    else:
        goal = lambda q: ((q * (logs(q) - np.log(p))).sum(), logs(q) - np.log(p) + 1)  # noqa: E731
    found = minimize(
        goal, start, jac=True, method="SLSQP", bounds=[(0.0, None)] * len(p), constraints=constraints,
        options={"ftol": 1e-15, "maxiter": 300},
    )  # fmt: skip
    return np.asarray(found.x)


# Rows by number of classes: a quarter of a thousand, and a thousand in `make faults`.
SHARE = 1 if os.environ.get("UQKD_FAULTS") == "full" else 4
SIZES = {
    classes: rows // SHARE
    for classes, rows in {
        2: 130,
        3: 170,
        4: 170,
        5: 130,
        7: 120,
        10: 100,
        16: 80,
        40: 60,
        77: 20,
        150: 20,
    }.items()
}
ROWS = sum(SIZES.values())  # rows by number of classes: 1,000
EQUAL = 1e-8  # nats, or squared probability: what two solutions may differ by


def probabilities(generator: np.random.Generator, rows: int, classes: int) -> np.ndarray:
    """Rows of every sort in turn: smooth, peaked, with ties, with zeros."""
    smooth = generator.dirichlet(np.full(classes, 2.0), rows) + 1e-4
    sort = np.arange(rows) % 4
    smooth[sort == 1] = generator.dirichlet(np.full(classes, 0.3), int((sort == 1).sum())) + 1e-7
    smooth[sort == 2] = generator.integers(1, 4, (int((sort == 2).sum()), classes))
    zeros = generator.random((rows, classes)) < 0.3
    zeros[np.arange(rows), generator.integers(classes, size=rows)] = False
    smooth[(sort == 3)[:, None] & zeros] = 0.0
    return smooth / smooth.sum(axis=1, keepdims=True)


def within(generator: np.random.Generator, probs: np.ndarray) -> np.ndarray:
    """Random distributions on the classes that p holds possible: what bounds are made from, so that they can be met."""
    raw = generator.dirichlet(np.ones(probs.shape[1]), len(probs)) * (probs > 0) + 1e-3 * (probs > 0)
    return raw / raw.sum(axis=1, keepdims=True)


@dataclass
class Tally:
    """How projections compare with SLSQP's answers."""

    rows: int = 0
    above: int = 0  # SLSQP found a smaller distance: the projection is wrong
    equal: int = 0
    below: int = 0  # SLSQP ended higher, or nowhere, from every start

    def add(self, problem: Problem, ours: np.ndarray, inside: np.ndarray) -> None:
        """Solve one row and count it; SLSQP starts inside the bounds, and with many classes near the answer."""
        starts = [inside, 0.5 * inside + 0.5 * ours, 0.5 * problem.p + 0.5 * ours, ours]
        starts = starts[2:] if len(ours) >= 40 else starts
        distance = problem.distance(ours)
        theirs = solve(problem, iter(starts), enough=distance + EQUAL)
        self.rows += 1
        self.above += distance > theirs + EQUAL
        self.below += theirs > distance + EQUAL
        self.equal += abs(theirs - distance) <= EQUAL
