"""Inter- and intra-student variance, unbiased, with two-way standard errors over students and prompts."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.checking.arrays import draws as checked_draws
from uqkd.checking.arrays import same_shape, shaped
from uqkd.checking.variation import raisable
from uqkd.errors import VarianceError
from uqkd.estimators.intervals.prompt_means.spread import Spread, two_values
from uqkd.estimators.variance.names import EpistemicAleatoric
from uqkd.estimators.variance.prompt_mean import PromptMean, prompt_mean, spread_of

Array = NDArray[np.float64]


@dataclass(frozen=True)
class VarianceDecomposition(EpistemicAleatoric):
    """Total = intra + inter per prompt, squared units of the draws; made by `decompose_variance`.

    Attributes
    ----------
    inter, intra, total : (P,) float
    per_student_inter, per_student_intra : (S, P) float
        Jackknife pseudo-values of `inter` and the students' own variances: their means over students are
        `inter` and `intra`, their spread gives the standard errors. NaN for `inter` where S = 2.
    spread : callable, optional
        Makes what intervals of the means need: students' mean responses and own variances.
    """

    inter: Array
    intra: Array
    total: Array
    per_student_inter: Array
    per_student_intra: Array
    spread: Spread | None = field(default=None, repr=False, compare=False)

    @property
    def mean(self) -> PromptMean:
        """Averages over prompts, with standard errors that count students and prompts as random, and `.interval`."""
        own, between = self.per_student_intra, self.per_student_inter
        return prompt_mean(between, own, inter=self.inter, intra=self.intra, spread=self.spread)


def decompose_variance(draws: ArrayLike) -> VarianceDecomposition:
    """Split the variance of a response into inter-student and intra-student parts, without bias.

    Parameters
    ----------
    draws : (S, P, R) or (S, P, R, D) float
        Response r of student s to prompt p. With D output dimensions the variances are summed over them
        (traces of the covariances). Needs S >= 2 and R >= 2.

    Returns
    -------
    VarianceDecomposition
        `.inter .intra .total`, each (P,), squared units of `draws`; `.mean` with standard errors. `.inter` may be
        negative where the truth is near zero: do not clip it before averaging.

    Raises
    ------
    ShapeError
        Fewer than two students or responses, or not three or four axes.
    NotFiniteError
        Any NaN or inf; names the first (s, p, r).

    See Also
    --------
    decompose_unbalanced : the same where responses are missing.

    Notes
    -----
    T10: inter = Var_s(mean_r) − mean_s(intra_s)/R; Searle, Casella & McCulloch (1992), one-way random effects.

    Examples
    --------
    >>> parts = decompose_variance(np.array([[[1.0, 3.0]], [[5.0, 7.0]]]))
    >>> parts.inter, parts.intra, parts.total
    (array([7.]), array([2.]), array([9.]))
    """
    array = raisable("decompose_variance", checked_draws("decompose_variance", draws))
    students, responses = array.shape[0], array.shape[2]
    within = array.var(axis=2, ddof=1)
    means = array.mean(axis=2)
    squared = (means - means.mean(axis=0)) ** 2
    if array.ndim == 4:
        within, squared = within.sum(axis=-1), squared.sum(axis=-1)
    of_means = squared.sum(axis=0) / (students - 1)
    intra = within.mean(axis=0)
    if students > 2:
        pseudo = (students * squared - of_means) / (students - 2) - within / responses
    else:
        pseudo = np.full_like(within, np.nan)
    inter = of_means - intra / responses
    spread = partial(
        spread_of, means if array.ndim == 4 else means[..., None], within, responses, bounds=two_values(array)
    )
    return VarianceDecomposition(inter, intra, inter + intra, pseudo, within, spread)


def inter_student_variance(draws: ArrayLike) -> Array:
    """Variance between students of their mean response, per prompt.

    Unbiased: the within-student noise left in a mean of R responses is subtracted.

    Parameters
    ----------
    draws : (S, P, R) or (S, P, R, D) float
        Response r of student s to prompt p. Needs S >= 2 and R >= 2.

    Returns
    -------
    (P,) float
        Squared units of `draws`. Negative where the truth is near zero; do not clip before averaging.

    Raises
    ------
    ShapeError
        Fewer than two students or responses, or not three or four axes.
    NotFiniteError
        Any NaN or inf; names the first (s, p, r).

    Notes
    -----
    T10; Searle, Casella & McCulloch (1992), one-way random effects.

    Examples
    --------
    >>> inter_student_variance(np.array([[[1.0, 3.0]], [[5.0, 7.0]]]))
    array([7.])
    """
    return decompose_variance(draws).inter


def intra_student_variance(draws: ArrayLike) -> Array:
    """Variance of one student's own responses, averaged over students, per prompt.

    Parameters
    ----------
    draws : (S, P, R) or (S, P, R, D) float
        Response r of student s to prompt p. Needs R >= 2; one student is enough.

    Returns
    -------
    (P,) float
        Squared units of `draws`.

    Raises
    ------
    ShapeError
        Fewer than two responses, or not three or four axes.
    NotFiniteError
        Any NaN or inf; names the first (s, p, r).

    Examples
    --------
    >>> intra_student_variance(np.array([[[1.0, 3.0]], [[5.0, 9.0]]]))
    array([5.])
    """
    array = raisable("intra_student_variance", checked_draws("intra_student_variance", draws, need_students=1))
    within = array.var(axis=2, ddof=1)
    return (within.sum(axis=-1) if array.ndim == 4 else within).mean(axis=0)


def variance_of_means(draws: ArrayLike) -> Array:
    """Plug-in variance between students of their mean response: overstates `inter` by intra/R.

    Offered so that the bias can be shown and so that R = 1 has an honest name: with one response per prompt
    this is the total variance.

    Parameters
    ----------
    draws : (S, P, R) or (S, P, R, D) float
        Needs S >= 2; R = 1 is allowed.

    Returns
    -------
    (P,) float

    Examples
    --------
    >>> variance_of_means(np.array([[[1.0, 3.0]], [[5.0, 7.0]]]))
    array([8.])
    """
    array = raisable("variance_of_means", checked_draws("variance_of_means", draws, need_responses=1))
    plug_in = array.mean(axis=2).var(axis=0, ddof=1)
    return plug_in.sum(axis=-1) if array.ndim == 4 else plug_in


def decompose_gaussian(means: ArrayLike, variances: ArrayLike) -> VarianceDecomposition:
    """Inter- and intra-student variance of students that report a Gaussian mean and variance.

    Parameters
    ----------
    means : (S, P) float
        Predictive mean of student s for prompt p. Needs S >= 2.
    variances : (S, P) float
        Predictive variance, not negative.

    Returns
    -------
    VarianceDecomposition
        inter = sample variance (ddof 1) of the means, intra = mean of the variances. The means are known
        exactly, so nothing is subtracted.

    Raises
    ------
    ShapeError
        Shapes differ, are not (S, P), or S < 2.
    VarianceError
        A negative variance.
    NotFiniteError
        Any NaN or inf.

    Notes
    -----
    T3; law of total variance.

    Examples
    --------
    >>> decompose_gaussian([[1.0], [3.0]], [[0.5], [1.5]]).total
    array([3.])
    """
    mean = raisable("means", shaped("means", means, "S P", need={"S": 2}))
    variance = shaped("variances", variances, "S P", need={"S": 2})
    same_shape("means", mean, "variances", variance)
    if (variance < 0).any():
        s, p = np.argwhere(variance < 0)[0]
        raise VarianceError(f"decompose_gaussian needs variances >= 0; got {variance[s, p]} at (s={s}, p={p}).")
    students = len(mean)
    squared = (mean - mean.mean(axis=0)) ** 2
    inter = squared.sum(axis=0) / (students - 1)
    pseudo = (students * squared - inter) / (students - 2) if students > 2 else np.full_like(squared, np.nan)
    intra = variance.mean(axis=0)
    return VarianceDecomposition(
        inter, intra, inter + intra, pseudo, variance, partial(spread_of, mean[..., None], variance)
    )
