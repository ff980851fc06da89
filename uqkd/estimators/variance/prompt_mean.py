"""Means over prompts of a decomposition of variance: standard errors, and intervals that cover."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.checking.arrays import Array
from uqkd.errors import OptionError
from uqkd.estimators.intervals.level import LEVEL
from uqkd.estimators.intervals.mean_squares import Interval
from uqkd.estimators.intervals.prompt_means.interval import mean_interval
from uqkd.estimators.intervals.prompt_means.spread import Spread, StudentSpread
from uqkd.estimators.variance.names import EpistemicAleatoric
from uqkd.estimators.variance.two_way import two_way_standard_error


@dataclass(frozen=True)
class PromptMean(EpistemicAleatoric):
    """Means over prompts of a decomposition, each with its two-way standard error (students × prompts).

    Attributes
    ----------
    inter, intra, total : float
    inter_se, intra_se, total_se : float
        Not for intervals: an estimated variance of few students is skewed, and its standard error is small where the estimate
        is. Two standard errors to either side covered 60–91 % where `interval` covers what it promises.
    spread : callable, optional
        Makes what `interval` needs beyond these numbers.
    """

    inter: float
    intra: float
    total: float
    inter_se: float
    intra_se: float
    total_se: float
    spread: Spread | None = field(default=None, repr=False, compare=False)

    def interval(
        self,
        component: str = "inter",
        *,
        level: float = LEVEL,
        prompts: str = "random",
        groups: ArrayLike | None = None,
        whole: ArrayLike | None = None,
    ) -> Interval:
        """Interval for the mean over prompts of a variance, for new students and, unless they are fixed, new prompts.

        Parameters
        ----------
        component : {"inter", "intra", "total", "share"}
            Between students, within a student, their sum, and inter as a share of it.
        level : float
            Nominal coverage.
        prompts : {"random", "fixed"}
            Whether the prompts are a sample of those that are meant, or all of them.
        groups : (P,) array_like, optional
            Topic of each prompt: prompts of a topic count as one draw. Of random prompts only.
        whole : (P,) array_like, optional
            What the component is a share of, known at each prompt: with the teacher's Gini variance the total is κ (T4).

        Returns
        -------
        Interval
            Negative limits are returned as they are. `.note` says how it was found and what that covered in simulations of as
            many students and prompts, and warns where the data are unlike those that were simulated.

        Raises
        ------
        OptionError
            An unknown component or kind of prompts, groups of fixed prompts, or means that were not made by a decomposition.
        ShapeError
            Random prompts, but a single prompt or group; or groups or a whole of another length.
        VarianceError
            A whole of which there is nothing to share.

        Notes
        -----
        T10. See `uqkd.estimators.intervals.prompt_means.interval.mean_interval`; what it covers: docs/coverage.md.

        Examples
        --------
        >>> draws = np.array([[[1.0, 3.0], [0.0, 1.0]], [[5.0, 7.0], [2.0, 5.0]], [[2.0, 2.0], [3.0, 4.0]]])
        >>> from uqkd.estimators import decompose_variance
        >>> found = decompose_variance(draws).mean.interval("inter", prompts="fixed")
        >>> bool(found.low < found.estimate < found.high)
        True
        """
        if self.spread is None:
            raise OptionError(
                "interval needs the draws' spread, which means made by hand lack; call a decompose function."
            )
        return mean_interval(self.spread(), component, level=level, prompts=prompts, groups=groups, whole=whole)


def prompt_mean(
    per_student_inter: Array,
    per_student_intra: Array,
    *,
    inter: Array,
    intra: Array,
    spread: Spread | None = None,
) -> PromptMean:
    """Average over prompts with two-way standard errors from (S, P) pseudo-values."""
    both = per_student_inter + per_student_intra
    return PromptMean(
        inter=float(inter.mean()),
        intra=float(intra.mean()),
        total=float((inter + intra).mean()),
        inter_se=two_way_standard_error(per_student_inter),
        intra_se=two_way_standard_error(per_student_intra),
        total_se=two_way_standard_error(both),
        spread=spread,
    )


def spread_of(
    means: ArrayLike,
    within: NDArray[np.float64],
    responses: float = np.inf,
    *,
    bounds: tuple[float, float] = (np.inf, np.inf),
) -> StudentSpread:
    """Spread from students' mean responses (S, P, D) and own variances (S, P); bounds: `largest` and `of_gini`.

    Examples
    --------
    >>> spread_of([[[1.0]], [[3.0]]], np.zeros((2, 1))).centred.ravel()
    array([-1.,  1.])
    """
    of = np.asarray(means, dtype=np.float64)
    return StudentSpread(of - of.mean(axis=0), within, responses, *bounds)
