"""Inter- and intra-student variance where students gave unequal numbers of responses, or none to some prompts."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.errors import ShapeError, UnidentifiedWarning
from uqkd.estimators.intervals.level import LEVEL
from uqkd.estimators.intervals.mean_squares import Interval
from uqkd.estimators.variance.moments import decompose_variance
from uqkd.estimators.variance.names import EpistemicAleatoric
from uqkd.estimators.variance.unbalanced.cells import Cells, array_cells, row_cells
from uqkd.estimators.variance.unbalanced.incomplete import incomplete_error, prompt_weighted_mean
from uqkd.estimators.variance.unbalanced.interval import IncompleteSpread, mean_interval

Array = NDArray[np.float64]


@dataclass(frozen=True)
class UnbalancedMean(EpistemicAleatoric):
    """Means over prompts of an unbalanced decomposition, each prompt counting once; made by `UnbalancedDecomposition.mean`.

    Attributes
    ----------
    inter, intra, total : float
    inter_se, intra_se, total_se : float
        Over students and prompts as samples; NaN where fewer than three students answered every prompt.
    prompts : int
        Prompts behind the means.
    """

    inter: float
    intra: float
    total: float
    inter_se: float
    intra_se: float
    total_se: float
    prompts: int
    spread: IncompleteSpread = field(repr=False, compare=False)

    def interval(self, component: str = "inter", *, level: float = LEVEL, prompts: str = "random") -> Interval:
        """Interval for the mean over prompts of a variance, for new students and, unless they are fixed, new prompts.

        Parameters
        ----------
        component : {"inter", "intra", "total"}
            Between students, within a student, or their sum.
        level : float
            Nominal coverage.
        prompts : {"random", "fixed"}
            Whether the prompts are a sample of those that are meant, or all of them.

        Returns
        -------
        Interval
            `.estimate .low .high`; a negative lower limit is returned as it is.

        Raises
        ------
        OptionError
            An unknown component or kind of prompts, or random prompts where there is one.

        Notes
        -----
        What it covers stands in docs/coverage.md, and how it is found in
        `uqkd.estimators.variance.unbalanced.interval.mean_interval`.

        Examples
        --------
        >>> draws = [[[1.0, 3.0], [0.0, np.nan]], [[5.0, 7.0], [2.0, 5.0]], [[2.0, np.nan], [3.0, 4.0]]]
        >>> found = decompose_unbalanced(draws).mean.interval("inter", prompts="fixed")
        >>> bool(found.low < found.estimate < found.high)
        True
        """
        return mean_interval(self.spread, component, level=level, prompts=prompts)


@dataclass(frozen=True)
class UnbalancedDecomposition(EpistemicAleatoric):
    """Total = intra + inter per prompt, squared units of the values; made by `decompose_unbalanced`.

    Attributes
    ----------
    inter, intra, total : (P,) float
        NaN for a prompt whose responses cannot tell them apart.
    per_student_inter, per_student_intra : (S, P) float
        Jackknife pseudo-values of `inter` and the students' own variances, as in `VarianceDecomposition`; NaN where a student
        said nothing (or, for its own variance, one thing).
    responses : (S, P) int
        How many responses each student gave to each prompt.
    students, prompts : tuple
        Their names, in the order of the axes.
    """

    inter: Array
    intra: Array
    total: Array
    per_student_inter: Array
    per_student_intra: Array
    responses: NDArray[np.int64]
    students: tuple[object, ...]
    prompts: tuple[object, ...]
    spread: IncompleteSpread = field(repr=False, compare=False)

    @property
    def mean(self) -> UnbalancedMean:
        """Averages over the prompts where both parts are known, with standard errors over students and prompts."""
        known = np.isfinite(self.inter)
        inter, intra = self.per_student_inter, self.per_student_intra
        # A student with one response has no variance of its own: the mean of the others stands in, so that it counts.
        filled = np.where(np.isnan(intra) & (self.responses > 0), self.intra, intra)
        return UnbalancedMean(
            inter=float(self.inter[known].mean()),
            intra=float(self.intra[known].mean()),
            total=float(self.total[known].mean()),
            inter_se=incomplete_error(inter),
            intra_se=incomplete_error(intra),
            total_se=incomplete_error(inter + filled),
            prompts=int(known.sum()),
            spread=self.spread,
        )


def decompose_unbalanced(
    values: ArrayLike, student: ArrayLike | None = None, prompt: ArrayLike | None = None
) -> UnbalancedDecomposition:
    """Split the variance of a response into inter- and intra-student parts where responses are missing, without bias.

    Parameters
    ----------
    values : (N,) or (N, D) float, or (S, P, R) or (S, P, R, D) float
        One row for each response that was given, with `student` and `prompt`; or draws in which NaN, or a mask, stands for a
        response that was not given.
    student, prompt : (N,) array
        Whose response a row is, and to which prompt: numbers or names.

    Returns
    -------
    UnbalancedDecomposition
        `.inter .intra .total`, each (P,); `.mean` with standard errors, each prompt counting once. Where nothing is missing
        exactly what `decompose_variance` gives.

    Raises
    ------
    ShapeError
        Fewer than two students, other axes, or no prompt to which two students and one of them twice responded.
    NotFiniteError
        An infinity, or NaN in rows.
    DataError
        A response of which some output dimensions are missing.

    Warns
    -----
    UnidentifiedWarning
        Prompts to which fewer than two students responded, or none of them twice: their parts are NaN, and the means over
        prompts leave them out.

    Notes
    -----
    T10 with unequal R: intra is the mean over students of their own variances, inter = Var_s(mean_r) − mean_s(intra_s/R_s).
    Every student counts once, however much it said: no normality and no equal variances are needed (the unweighted means of
    Searle, Casella & McCulloch 1992, §3.6, with each student's own variance). Where a student gave one response, the mean of
    the others stands for its variance. Unbiased where what is missing does not depend on the values. For normal effects with
    equal variances `reml_components` is the usual, more precise alternative.

    Examples
    --------
    >>> parts = decompose_unbalanced([1.0, 3.0, 5.0, 7.0, 6.0], student=[0, 0, 1, 1, 1], prompt=[0, 0, 0, 0, 0])
    >>> parts.intra, parts.inter.round(3)  # (2 + 1)/2; Var(2, 6) − (2/2 + 1/3)/2
    (array([1.5]), array([7.333]))
    >>> decompose_unbalanced([[[1.0, 3.0, np.nan]], [[5.0, 7.0, 6.0]]]).inter.round(3)
    array([7.333])
    """
    if (student is None) != (prompt is None):
        raise ShapeError(
            "decompose_unbalanced needs student= and prompt= together, one entry for each row of values; got one of them."
        )
    if student is None or prompt is None:
        cells = array_cells("decompose_unbalanced", values)
    else:
        cells = row_cells("decompose_unbalanced", values, student, prompt)
    known = _known(cells)
    if cells.balanced is not None:
        parts = decompose_variance(cells.balanced)
        tables = (parts.inter, parts.intra, parts.total, parts.per_student_inter, parts.per_student_intra)
    else:
        tables = _decomposed(cells, known)
    spread = _spread(cells, known, tables[0], tables[1])
    return UnbalancedDecomposition(*tables, cells.count.astype(np.int64), cells.students, cells.prompts, spread)


def _decomposed(cells: Cells, known: NDArray[np.bool_]) -> tuple[Array, Array, Array, Array, Array]:
    """Inter, intra, total (P,), and their values by student (S, P)."""
    given, twice = cells.count > 0, cells.count > 1
    students = given.sum(axis=0)
    own = np.where(twice, cells.variance, np.nan)
    intra = np.where(known, prompt_weighted_mean(own), np.nan)
    noise = np.where(twice, own, intra) / np.maximum(cells.count, 1)
    squared = np.where(given, (_centred(cells) ** 2).sum(axis=-1), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):  # prompts that are not known
        of_means = squared.sum(axis=0) / (students - 1)
        inter = of_means - np.where(given, noise, 0.0).sum(axis=0) / students
        pseudo = (students * squared - of_means) / (students - 2) - noise
    # Two students tell one difference: it stands for both, as where nothing is missing there is no pseudo-value at all.
    pseudo = np.where(students == 2, inter if (students > 2).any() else np.nan, pseudo)
    inter = np.where(known, inter, np.nan)
    return inter, intra, inter + intra, np.where(given & known, pseudo, np.nan), np.where(known, own, np.nan)


def _centred(cells: Cells) -> Array:
    """(S, P, D) means less the mean of the students that are there; NaN where one is not."""
    given = cells.count > 0
    centre = np.where(given[..., None], cells.mean, 0.0).sum(axis=0) / np.maximum(given.sum(axis=0), 1)[:, None]
    return np.where(given[..., None], cells.mean - centre, np.nan)


def _spread(cells: Cells, known: NDArray[np.bool_], inter: Array, intra: Array) -> IncompleteSpread:
    """What intervals need, of the prompts that are known."""
    own = np.where(cells.count > 1, cells.variance, np.where(cells.count == 1, intra, np.nan))
    noise = own / np.maximum(cells.count, 1)
    return IncompleteSpread(
        _centred(cells)[:, known], own[:, known], noise[:, known], cells.count[:, known], inter[known]
    )


def _known(cells: Cells) -> NDArray[np.bool_]:
    """(P,) where both parts can be told: two students or more, one of them twice; those that are left out are said."""
    known = np.asarray(((cells.count > 0).sum(axis=0) > 1) & (cells.count > 1).any(axis=0))
    _check(cells, known)
    return known


def _check(cells: Cells, known: NDArray[np.bool_]) -> None:
    if not known.any():
        raise ShapeError(
            "decompose_unbalanced needs a prompt to which two students responded, one of them twice; there is none among "
            f"P={len(known)}. Draw more responses."
        )
    if not known.all():
        first = cells.prompts[int(np.argmin(known))]
        warnings.warn(
            f"decompose_unbalanced: {int((~known).sum())} of {len(known)} prompts (the first is {first!r}) have fewer than two "
            "students, or none that responded twice: their parts are NaN, and means over prompts leave them out.",
            UnidentifiedWarning,
            stacklevel=4,
        )
