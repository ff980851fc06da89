"""What students of a classifier are trained on: a teacher's distributions, softened, repaired or blended; as in other layers,
responses with weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from uqkd.checking.arrays import finite, numpy_of, same_shape, unmasked
from uqkd.checking.probabilities import class_labels, distributions
from uqkd.classify.targets.evidence import Evidence
from uqkd.classify.targets.methods import projections
from uqkd.classify.targets.objectives import STANDARD_DEVIATION, Temperature, checked_temperature
from uqkd.errors import OptionError, ShapeError, one_of
from uqkd.targets import ClassTargets

Array = NDArray[np.float64]

CHANGED = 1e-9  # a probability that a repair moves by less is as it was: the accuracy that projections promise


def soften(probs: ArrayLike, temperature: Temperature) -> Array:
    """softmax(log p / T) of distributions (..., C); with "std" log p is divided by its own standard deviation (ddof 1).

    Examples
    --------
    >>> soften([0.9, 0.1], 2.0), soften([1.0, 0.0], 4.0)
    (array([0.75, 0.25]), array([1., 0.]))
    """
    by = checked_temperature(temperature)
    p = distributions("probs", probs)
    with np.errstate(divide="ignore"):
        logs = np.log(p)
    if by == STANDARD_DEVIATION:
        if not np.isfinite(logs).all():
            raise OptionError(
                "temperature 'std' needs positive probabilities: a class of probability 0 has no finite logit."
            )
        spread = logs.std(axis=-1, ddof=1, keepdims=True)
        return np.asarray(special.softmax(logs / np.where(spread > 0, spread, 1.0), axis=-1))  # equal ones stay equal
    return np.asarray(special.softmax(logs / float(by), axis=-1))


def smooth_labels(labels: ArrayLike, classes: int, amount: float = 0.1, *, students: int = 1) -> ClassTargets:
    """Label smoothing: 1 − amount on the label and amount/C on every class (Szegedy et al. 2016); 0 leaves the labels.

    Examples
    --------
    >>> smooth_labels([1], 2, 0.2).probabilities
    array([[[0.1, 0.9]]])
    """
    if not 0.0 <= amount <= 1.0:
        raise OptionError(f"label smoothing needs an amount in [0, 1]; got {amount}.")
    seen = np.asarray(unmasked("labels", labels))
    if seen.ndim != 1 or classes < 2 or students < 1:
        raise ShapeError(
            f"smooth_labels needs labels (P,), classes >= 2 and students >= 1; got {seen.shape}, {classes} and {students}."
        )
    truth = class_labels(seen, len(seen), classes)
    target = np.full((len(truth), classes), amount / classes)
    target[np.arange(len(truth)), truth] += 1.0 - amount
    return ClassTargets(np.broadcast_to(target, (students, *target.shape)), None, "smoothed")


def project(
    probs: ArrayLike,
    method: str,
    *,
    labels: ArrayLike,
    margin: float | None = None,
    entropy_min: ArrayLike | None = None,
    evidence: Evidence | None = None,
    students: int = 1,
) -> ClassTargets:
    """A teacher's distributions, changed where they contradict what is known of their rows.

    Parameters
    ----------
    probs : (P, C) float
        The teacher's.
    method : {"wclip", "label_first", "label_first_l2", "groups", "groups_entropy"}
        "wclip": wrong-mass clipping. "label_first": the nearest distribution, by KL or by squared distance, in which the label
        leads. "groups": the nearest with the bounds on its neighbourhood and on the classes known to be wrong, with
        "groups_entropy" also on its entropy. Or any other `projection` of a file in `targets/methods/`.
    labels : (P,) int
    margin : float, optional
        By which the label leads (0 if not given), or W-Clip's margin (.7).
    entropy_min : (P,) float, optional
        For "label_first".
    evidence : Evidence, optional
        For the groups; see `evidence_from`.
    students : int
        S; all get the same targets.

    Returns
    -------
    ClassTargets

    Raises
    ------
    OptionError
        Unknown method, an option that it does not have, or no evidence where it needs some.

    Examples
    --------
    >>> project([[0.6, 0.3, 0.1]], "label_first", labels=[1]).probabilities.round(3)
    array([[[0.447, 0.447, 0.105]]])
    """
    known = projections()
    target = known[one_of("method", method, known)]
    options = {name: value for name, value in (("margin", margin), ("entropy_min", entropy_min)) if value is not None}
    for name in options:
        if name not in target.options:
            takes = ", ".join(target.options) or "none"
            raise OptionError(f"method {method!r} of project takes no {name}; its options: {takes}.")
    if evidence is None and "evidence" in target.needs:
        raise OptionError(
            f"projections such as {method!r} need evidence: what is known of each row; make it with "
            "evidence_from(out_of_fold, labels)."
        )
    given = {"labels": labels, "evidence": evidence}
    made = numbers(target.make(probs, **{need: given[need] for need in target.needs}, **options))
    return ClassTargets(np.broadcast_to(made, (students, *made.shape)), None, method)


def numbers(made: Any) -> Array:
    """Distributions as float64 arrays, whether made by NumPy or by torch.

    Examples
    --------
    >>> numbers([[1, 0]])
    array([[1., 0.]])
    """
    return np.asarray(numpy_of(made), dtype=np.float64)


def changed_rows(probs: ArrayLike, targets: ArrayLike) -> NDArray[np.bool_]:
    """(P,) whether a repair changed a row: its mean is the firing rate.

    Examples
    --------
    >>> changed_rows([[0.6, 0.4], [0.3, 0.7]], [[0.5, 0.5], [0.3, 0.7]])
    array([ True, False])
    """
    before, after = finite("probs", probs), finite("targets", targets)
    same_shape("targets", after, "probs", before)
    return np.asarray((np.abs(after - before) > CHANGED).any(axis=-1))
