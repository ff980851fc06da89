"""The averaging law of the students themselves, whose variances at different k hang together: nested responses, one beginning."""

from __future__ import annotations

from typing import Any

import numpy as np

from uqkd.checking.arrays import Array, confidence_level, shaped
from uqkd.checking.variation import ROUNDING, alike, raisable
from uqkd.errors import ShapeError, VarianceError, one_of
from uqkd.estimators.averaging import gamma
from uqkd.estimators.averaging.laws import AveragingLaw, law_of
from uqkd.estimators.averaging.lines import different_k
from uqkd.estimators.intervals.level import LEVEL

DESIGNS = ("nested", "shared", "independent")


def averaging_law_of(k: Any, means: Any, *, design: str, level: float = LEVEL) -> AveragingLaw:
    """Floor and slope of V(k) = floor + slope / k from S students at each k, whatever the k share.

    Parameters
    ----------
    k : (K,) array_like
        Responses averaged; positive, at least two different values.
    means : (K, S, P) array_like
        Mean response of student s to prompt p after training on k responses; S >= 3. Known exactly, or from so many draws
        that their noise is small beside slope/k: that noise counts as floor, and no two k share it.
    design : {"nested", "shared", "independent"}
        "nested": student s is one student, and its responses at k contain those at every smaller k, as in a bank that is
        topped up. "shared": student s begins alike at every k and has responses of its own each time. "independent": other
        students at every k.
    level : float
        Of the intervals.

    Returns
    -------
    AveragingLaw
        Variances averaged over prompts, in squared units of `means`.

    Raises
    ------
    ShapeError
        Axes that do not fit, fewer than three students, or fewer than two different k.
    DataError
        k not positive.
    VarianceError
        Students that are the same up to rounding at some k, or, nested, at two values of k.
    OptionError
        Unknown `design`.

    Notes
    -----
    T1, T8. With a beginning f of variance `floor` and responses of variance `slope`, a student is f + (mean of k). "nested":
    the steps from one k to the next are independent of each other and of the student at the largest k, and have variance
    slope·(1/k − 1/k'): K mean squares, of which all but one know nothing of the floor. "shared": the same of the contrasts
    between the k, and of the mean with weights k. A mean square over P prompts counts (S − 1)·P' degrees of freedom, P' from
    1 (prompts alike) to P (each its own), estimated from the students (`effective_prompts`) for floor and slope apart. For normal
    students, S = 5, 10 and 30, P = 1 and 20, intervals of 95 % cover 93 to 98 % of the time and the test of fit gives 3 to 7 %
    false alarms (`uqkd.theory.coverage.averaging`). A lack of fit means that the variances do not fall as floor + slope/k or
    that the students do not hang together as `design` says (as where training adds noise of its own at every k: then
    "independent" needs other students at every k).

    Examples
    --------
    Two steps: at k = 1 students are 3 apart in variance, at k = 2 one less.

    >>> last = np.array([[2.0], [-2.0], [0.0]]) / np.sqrt(2.0)
    >>> step = np.array([[1.0], [1.0], [-2.0]]) / np.sqrt(3.0)
    >>> law = averaging_law_of([1, 2], [last + step, last], design="nested")
    >>> round(law.floor, 12), round(law.slope, 12)
    (1.0, 2.0)
    """
    level, design = confidence_level(level), one_of("design", design, DESIGNS)
    count = raisable("k", shaped("k", k, "n"))
    array = raisable("means", shaped("means", means, "K S P", need={"S": 3}), 4)
    if count.size != len(array):
        raise ShapeError(f"means needs axes (K={count.size}, S, P), one K for each k; got shape {array.shape}.")
    different_k(count)
    order = np.argsort(count, kind="stable")
    return law_of(mean_squares(count[order], array[order], design), level)


def mean_squares(count: Array, students: Array, design: str) -> gamma.MeanSquares:
    """Independent mean squares of students (K, S, P) at rising k, and what they expect; `averaging_law_of` is fitted to them.

    Examples
    --------
    >>> alike = np.array([[1.0], [-1.0], [0.0]])
    >>> mean_squares(np.array([1.0, 2.0]), np.stack([3 * alike, alike]), "nested").value
    array([8., 1.])
    """
    if alike(students, axis=1).all(axis=-1).any():
        at = count[int(alike(students, axis=1).all(axis=-1).argmax())]
        raise VarianceError(f"means does not vary between students at k={at:g}: no law can be fitted. Leave it out.")
    centred = students - students.mean(axis=1, keepdims=True)
    if design == "independent":
        return _pooled(centred, np.column_stack([np.ones_like(count), 1.0 / count]), len(count))
    if design == "nested":
        if np.unique(count).size < count.size:
            raise ShapeError("nested students are the same at equal k; give each k once.")
        steps = np.sqrt(1.0 / (1.0 / count[:-1] - 1.0 / count[1:]))
        contrasts = (centred[:-1] - centred[1:]) * steps[:, None, None]
        whole, left = centred[-1], 1.0 / count[-1]
    else:
        contrasts, whole, left = _helmert(count, centred)
    if (np.abs(contrasts).max(axis=(1, 2)) <= ROUNDING * np.abs(students).max()).any():
        raise VarianceError(
            "means: students are the same at two values of k, as if nothing were averaged. Leave one out."
        )
    rows = np.vstack([np.tile([0.0, 1.0], (len(contrasts), 1)), [[1.0, left]]])
    return _pooled(np.concatenate([contrasts, whole[None]]), rows, len(contrasts))


def _helmert(count: Array, centred: Array) -> tuple[Array, Array, float]:
    """Contrasts of each k with the mean, weights k, of those before it, in units of a single response; and the mean of all."""
    total = np.cumsum(count)
    running = np.cumsum(count[:, None, None] * centred, axis=0) / total[:, None, None]
    size = np.sqrt(1.0 / (1.0 / count[1:] + 1.0 / total[:-1]))
    return (centred[1:] - running[:-1]) * size[:, None, None], running[-1], 1.0 / float(total[-1])


def _pooled(parts: Array, design: Array, alike_parts: int) -> gamma.MeanSquares:
    """Mean squares of centred parts (m, S, P); the first `alike_parts` count as many prompts as they do together."""
    _, students, prompts = parts.shape
    values = (parts**2).sum(axis=(1, 2)) / ((students - 1) * prompts)
    scaled = parts / np.sqrt(values)[:, None, None]
    effective = np.full(len(parts), effective_prompts(scaled[:alike_parts]))
    squares = gamma.MeanSquares(values, (students - 1) * effective, design)
    if prompts == 1:
        return squares
    unit = float(values.mean())
    floor, slope = gamma.fitted(gamma.MeanSquares(values / unit, squares.dof, design))
    if alike_parts < len(parts):  # the steps tell what the slope is worth, the last what the floor is
        worth, known = [1.0 / effective_prompts(scaled[-1:])], 1.0 / float(effective[0])
    else:
        worth, known = [1.0 / effective_prompts(part[None]) for part in scaled], None
    alike_floor, alike_slope = _alike(np.array(worth), design[-len(worth) :] * [max(floor, 0.0), slope], known)
    least = 1.0 / prompts
    found = (float(np.clip(alike_floor, least, 1.0)), float(np.clip(alike_slope, least, 1.0)))
    return gamma.MeanSquares(values, squares.dof, design, found, students - 1.0)


def _alike(worth: Array, parts: Array, known: float | None) -> tuple[float, float]:
    """One over the prompts that floor and slope are worth, from mean squares whose (floor, slope) parts are known.

    worth·(floor + slope)² = floor²·a + (2·floor·slope + slope²)·b; a floor that is not seen counts as one prompt.
    """
    share = parts / parts.sum(axis=1, keepdims=True)
    own, other = share[:, 0] ** 2, 2.0 * share[:, 0] * share[:, 1] + share[:, 1] ** 2
    if not own.any():
        return 1.0, float(worth.mean()) if known is None else known
    if known is None:
        (floor, slope), *_ = np.linalg.lstsq(np.column_stack([own, other]), worth, rcond=None)
        return float(floor), float(slope)
    return float(((worth - other * known) / own)[0]), known


def effective_prompts(parts: Array) -> float:
    """Independent prompts that the P prompts of centred parts (m, S, P) are worth for a mean square over them.

    (tr C)²/tr(C²) of the covariance C between prompts, in 1 ... P. With the sample covariance of n = S − 1 degrees of freedom,
    E[tr Ĉ²] = (1 + 1/n)·tr C² + (tr C)²/n and E[(tr Ĉ)²] = (tr C)² + 2·tr C²/n; both are solved for and averaged over parts.

    Examples
    --------
    >>> one = np.array([[1.0], [-1.0], [0.0]])
    >>> effective_prompts((one * np.ones(4))[None])
    1.0
    """
    _, students, prompts = parts.shape
    n = students - 1
    if prompts == 1:
        return 1.0
    gram = np.einsum("msp,mtp->mst", parts, parts)
    square = float((gram**2).sum(axis=(1, 2)).mean()) / n**2
    trace = float((np.trace(gram, axis1=1, axis2=2) ** 2).mean()) / n**2
    of_square = (square - trace / n) * n**2 / ((n + 2) * (n - 1))
    of_trace = trace - 2.0 * of_square / n
    return float(np.clip(of_trace / of_square, 1.0, prompts)) if of_square > 0.0 else float(prompts)
