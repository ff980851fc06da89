"""The interval of a mean over prompts of variances: its arguments, limits, one-sided bounds and note."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.checking.arrays import confidence_level, finite
from uqkd.errors import OptionError, ShapeError, VarianceError, one_of
from uqkd.estimators.intervals.mean_squares import Interval
from uqkd.estimators.intervals.prompt_means.diagnostics import diagnose
from uqkd.estimators.intervals.prompt_means.limits import mean_limits
from uqkd.estimators.intervals.prompt_means.shown import shown
from uqkd.estimators.intervals.prompt_means.spread import StudentSpread

COMPONENTS = ("inter", "intra", "total", "share")
PROMPTS = ("random", "fixed")
FEWEST = 3  # students simulated


def mean_interval(
    spread: StudentSpread,
    component: str,
    *,
    level: float,
    prompts: str = "random",
    groups: ArrayLike | None = None,
    whole: ArrayLike | None = None,
) -> Interval:
    """Interval for a mean over prompts of students' variances; arguments as of `PromptMean.interval`.

    Notes
    -----
    The mean square between students is split into that of their means over prompts, which has S − 1 degrees of freedom whatever
    P; what else goes together at all prompts, up at some and down at others (found at every other prompt and looked for at the
    rest), with as many; and the remainder, which has as many as there are directions in which students differ (Satterthwaite, by
    the unbiased tr Σ² of Bai & Saranadasa 1996). They are widened by excess kurtosis, as Bonett (2006) does for one variance. The
    noise within students is subtracted with limits of its own, wider where students' own variances differ. Random prompts add
    the variance between prompts with P − 1 degrees of freedom. The distances of all limits are added as squares (modified large
    sample; MOVER), those that go together in the students also as products.
    """
    one_of("component", component, COMPONENTS)
    level = confidence_level(level)
    codes = prompt_codes(spread.prompts, prompts, groups)
    of = None if whole is None else _whole(spread, component, whole)
    estimate, low, high = (float(x) for x in mean_limits(spread, component, level=level, groups=codes, whole=of))
    within, between = np.any(spread.within), np.any(spread.centred)
    exact = component == "inter" and np.isinf(spread.responses)  # without noise to subtract
    if (component in ("intra", "share") and not within) or not (between or (within and not exact)):
        return Interval(estimate, low, high, level, "one-sided bound", _bound_note(spread, component, codes))
    how = shown(component, "random" if codes is not None else "fixed", spread.students)
    return Interval(estimate, low, high, level, f"mls, stretched, {prompts} prompts", how + _warning(spread))


def _warning(spread: StudentSpread) -> str:
    """What of the data is unlike the normal ones of equal students, and whether students are fewer than were simulated."""
    found = diagnose(spread).warning
    few = "; fewer than three students were not simulated" if spread.students < FEWEST else ""
    return few + (f"; here {found}: expect what it covered of such data" if found else "")


def _whole(spread: StudentSpread, component: str, whole: ArrayLike) -> NDArray[np.float64]:
    of = finite("whole", whole)
    if component == "share" or of.shape != (spread.prompts,):
        raise ShapeError(
            f"whole needs one number for each of the P={spread.prompts} prompts, and another component than 'share', which has "
            f"the total for its whole; got component={component!r} and shape {of.shape}."
        )
    if not of.mean() > 0:
        raise VarianceError(f"interval has nothing to share: the mean of whole is {of.mean():g}, and must be positive.")
    return of


def prompt_codes(count: int, prompts: str, groups: ArrayLike | None) -> NDArray[np.intp] | None:
    """Topics of `count` prompts numbered from 0, each prompt its own where none are named; None for fixed prompts.

    Examples
    --------
    >>> prompt_codes(3, "random", ["b", "a", "b"]), prompt_codes(3, "fixed", None)
    (array([1, 0, 1]), None)
    """
    if one_of("prompts", prompts, PROMPTS) == "fixed":
        if groups is not None:
            raise OptionError("groups belongs to prompts='random': fixed prompts are no draws of topics.")
        return None
    codes = np.arange(count) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if codes.shape != (count,):
        raise ShapeError(f"groups needs one topic for each of the P={count} prompts; got shape {codes.shape}.")
    if codes.max() < 1:
        raise ShapeError("prompts='random' needs at least two prompts or topics; got one. Ask for prompts='fixed'.")
    return np.asarray(codes, dtype=np.intp)


def _bound_note(spread: StudentSpread, component: str, groups: NDArray[np.intp] | None) -> str:
    drawn = "" if groups is None else f" and {int(groups.max()) + 1} prompts or topics"
    what = "variation within students" if np.any(spread.centred) else "variation"
    if component == "share" and not np.any(spread.centred):
        return "no variation was seen, of which nothing can be a share"
    if not np.isfinite(spread.largest):
        return f"no {what} was seen, and numbers have no largest variance: of answers, decompose_agreement has a bound"
    return f"no {what} was seen: a one-sided bound, from {spread.students} students" + drawn
