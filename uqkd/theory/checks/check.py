"""One theory check: a predicted number, a simulation that could contradict it, and wrong versions it must reject.

Each simulation is sized from the bias it has to see. With `FAMILY_ALPHA` shared over `CHECKS` checks and a power of
.99, a bias of δ (relative to the prediction) needs n = (relative sd · 6.745/δ)² replicates: for a Gaussian variance
9,100 to see 10 % and 36,400 to see 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from uqkd.errors import OptionError, one_of

Array = NDArray[np.float64]
Key = tuple[Any, ...]
Simulation = Callable[[int, Key], Array]

FAMILY_ALPHA = 1e-3  # chance of any false alarm in a full run with fresh seeds
CHECKS = 100  # the number of checks that share it; a test holds the register to this
POWER = 0.99
THRESHOLD = float(stats.norm.isf(FAMILY_ALPHA / CHECKS / 2))  # |z| above this rejects: 4.417
PILOT = 2_000  # replicates that estimate the spread a check is sized from
MAX_REPLICATES = 2_000_000  # replicates a check may ask for before its δ is called too ambitious


@dataclass(frozen=True)
class Check:
    """A statement about the mean or the variance of a simulated quantity.

    Attributes
    ----------
    statement : str
        "T1" ... "T12", as numbered in the paper.
    quantity : str
        What is predicted, in words.
    predicted : float
    simulate : callable (replicates, key) -> (replicates,) float
        Independent values, made by the code under test.
    kind : {"mean", "variance"}
        Which moment of the values is predicted.
    wrong_theory : mapping of name to float
        Predictions of named wrong versions.
    wrong_simulation : mapping of name to callable
        Simulations of named wrong versions.
    bias : float
        Relative bias of the prediction that must be seen with power .99.
    scale : float, optional
        What the bias is relative to, where the prediction is 0.
    """

    statement: str
    quantity: str
    predicted: float
    simulate: Simulation
    kind: str = "mean"
    wrong_theory: Mapping[str, float] = field(default_factory=dict)
    wrong_simulation: Mapping[str, Simulation] = field(default_factory=dict)
    bias: float = 0.05
    scale: float | None = None

    @property
    def name(self) -> str:
        """Statement and quantity: the check's identity."""
        return f"{self.statement} {self.quantity}"

    def without_wrong_versions(self) -> Check:
        """The true statement alone, for repetitions with fresh seeds."""
        return replace(self, wrong_theory={}, wrong_simulation={})


@dataclass(frozen=True)
class Outcome:
    """One comparison: z = (simulated − predicted)/standard_error."""

    name: str
    version: str
    predicted: float
    simulated: float
    standard_error: float
    replicates: int

    @property
    def z(self) -> float:
        """Standard errors between simulation and prediction; infinite where a wrong version has no spread at all."""
        gap = self.simulated - self.predicted
        if self.standard_error > 0:
            return gap / self.standard_error
        return 0.0 if gap == 0 else math.copysign(math.inf, gap)

    @property
    def rejected(self) -> bool:
        """Whether the simulation contradicts this version at the family-wise level."""
        return abs(self.z) > THRESHOLD


def moment(values: Array, kind: str) -> tuple[float, float]:
    """Estimate and standard error of the mean or the variance of independent values.

    The standard error of a variance uses the fourth moment, so no distribution is assumed.

    Examples
    --------
    >>> moment(np.array([1.0, 3.0, 5.0, 7.0]), "mean")
    (4.0, 1.2909944487358056)
    """
    one_of("kind", kind, ["mean", "variance"])
    n, centred = len(values), values - values.mean()
    variance = float(centred @ centred) / (n - 1)
    if kind == "mean":
        return float(values.mean()), math.sqrt(variance / n)
    return variance, math.sqrt(max(float((centred**4).mean()) - variance**2, 0.0) / n)


def replicates_needed(check: Check, *, salt: str = "") -> int:
    """AtLeastTwo that see a bias of `check.bias` with power .99 at the family-wise level, from a pilot run."""
    pilot = check.simulate(PILOT, ("checks", check.name, "pilot", salt))
    _, standard_error = moment(pilot, check.kind)
    reach = check.bias * abs(check.predicted if check.scale is None else check.scale)
    if reach == 0:
        raise OptionError(f"check {check.name!r} predicts 0; say what its bias is relative to with scale=.")
    needed = math.ceil(PILOT * (standard_error * (THRESHOLD + float(stats.norm.isf(1 - POWER))) / reach) ** 2)
    if needed > MAX_REPLICATES:
        raise OptionError(
            f"check {check.name!r} needs {needed} replicates to see {check.bias:.0%}; allow a larger bias."
        )
    return max(needed, PILOT)


def evaluate(check: Check, *, salt: str = "") -> list[Outcome]:
    """Run one check: the true version first, then every wrong one against the same kind of simulation.

    Parameters
    ----------
    check : Check
    salt : str
        Names another set of seeds; fresh salts give independent repetitions of the suite.

    Returns
    -------
    list of Outcome
        The first has version "theory"; the others must be rejected.
    """
    n = replicates_needed(check, salt=salt)
    simulated, standard_error = moment(check.simulate(n, ("checks", check.name, "main", salt)), check.kind)
    outcomes = [Outcome(check.name, "theory", check.predicted, simulated, standard_error, n)]
    for version, predicted in check.wrong_theory.items():
        outcomes.append(Outcome(check.name, version, predicted, simulated, standard_error, n))
    for version, simulate in check.wrong_simulation.items():
        wrong, wrong_se = moment(simulate(n, ("checks", check.name, version, salt)), check.kind)
        outcomes.append(Outcome(check.name, version, check.predicted, wrong, wrong_se, n))
    return outcomes
