"""What students that memorise k sampled answers keep of their teacher's distribution, exactly (T4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from uqkd.checking.probabilities import distributions
from uqkd.errors import OptionError
from uqkd.estimators.comparing.theory_rows import FEWEST, comparison
from uqkd.estimators.variance.categorical import decompose_categorical, entropy, gini
from uqkd.estimators.variance.two_way import share_of, two_way_mean

Array = NDArray[np.float64]

CERTAIN_GINI = 1e-12  # a mean G_p below it is rounding, and nothing can be a share of it


@dataclass(frozen=True)
class GiniExpectation:
    """Expected intra- and inter-student Gini variance of students that memorise k samples (T4)."""

    intra: Array
    inter: Array


def memorised_gini(teacher_probs: ArrayLike, k: int, *, shrinkage: float = 0.0) -> GiniExpectation:
    """What T4 predicts for q = (1−λ)·p̂_k + λ·p, the mixture of k memorised samples and the teacher's law.

    Parameters
    ----------
    teacher_probs : (..., C) float
    k : int
        Samples per prompt, >= 1.
    shrinkage : float
        λ in [0, 1]: 0 memorises, 1 generalises perfectly.

    Returns
    -------
    GiniExpectation
        intra = G_p·(1 − (1−λ)²/k), inter = G_p·(1−λ)²/k.

    Examples
    --------
    >>> memorised_gini([0.5, 0.5], k=1)
    GiniExpectation(intra=array(0.), inter=array(0.5))
    """
    if k < 1:
        raise OptionError(f"memorised_gini needs k >= 1 samples per prompt; got {k}.")
    if not 0.0 <= shrinkage <= 1.0:
        raise OptionError(f"shrinkage must lie in [0, 1]; got {shrinkage}.")
    spread = gini(teacher_probs)
    share = (1.0 - shrinkage) ** 2 / k
    return GiniExpectation(intra=np.asarray(spread * (1 - share)), inter=np.asarray(spread * share))


def compare_memorised(labels: ArrayLike, teacher_probs: ArrayLike, k: int) -> list[dict[str, str | float]]:
    """Shares of k sampled answers, what a student that memorises would answer, held against T4, which is exact for them.

    Parameters
    ----------
    labels : (S, P, C) float
        Distribution of each student's k answers to each prompt.
    teacher_probs : (P, C) float
    k : int

    Returns
    -------
    list of dict
        Rows of `comparison` for intra, inter and κ as shares of G_p; judged where unlikely answers are many enough for
        the standard error to be trusted.

    Examples
    --------
    >>> labels = np.eye(2)[[[0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 1]]]
    >>> [row["quantity"] for row in compare_memorised(labels, np.full((4, 2), 0.5), 1)]
    ['intra / G_p', 'inter / G_p', 'κ']
    """
    p, shares = distributions("teacher_probs", teacher_probs), np.asarray(labels, dtype=np.float64)
    parts, spread, expected = decompose_categorical(shares), gini(p), memorised_gini(p, k)
    statement = "T4" if len(shares) * k * float((1.0 - p.max(axis=-1)).sum()) >= FEWEST else ""
    intra, inter = parts.per_student_intra, parts.per_student_inter
    rows = [
        ("intra / G_p", expected.intra.sum() / spread.sum(), intra),
        ("inter / G_p", expected.inter.sum() / spread.sum(), inter),
        ("κ", 1.0, intra + inter),
    ]
    return [comparison(statement, name, float(known), *share_of(found, spread)) for name, known, found in rows]


def memorised_entropy(teacher_probs: ArrayLike, k: int) -> Array:
    """Expected entropy of the shares of k sampled answers, in nats, exactly.

    Parameters
    ----------
    teacher_probs : (..., C) float
    k : int
        Samples per prompt, >= 1.

    Returns
    -------
    (...) float
        Σ_c E[−(n_c/k)·log(n_c/k)] with n_c binomial.

    Notes
    -----
    T4 states its limit for k ≫ C, H(p) − (C − 1)/(2k) (Miller–Madow).

    Examples
    --------
    Of two answers to a fair coin half the time both are the same; otherwise the entropy is log 2.

    >>> memorised_entropy([0.5, 0.5], 1), memorised_entropy([0.5, 0.5], 2).round(4)
    (array(0.), np.float64(0.3466))
    """
    if k < 1:
        raise OptionError(f"memorised_entropy needs k >= 1 samples per prompt; got {k}.")
    counts, chance = np.arange(k + 1), distributions("teacher_probs", teacher_probs)[..., None]
    ways = special.gammaln(k + 1) - special.gammaln(counts + 1) - special.gammaln(k - counts + 1)
    binomial = np.exp(ways + special.xlogy(counts, chance) + special.xlog1py(k - counts, -chance))
    return np.asarray((binomial @ special.entr(counts / k)).sum(axis=-1))


def memorised_parts(teacher_probs: ArrayLike, k: int | None) -> dict[str, float]:
    """What students that memorise k answers do with their teacher's uncertainty, on average over prompts.

    Parameters
    ----------
    teacher_probs : (P, C) float
    k : int, optional
        None: the teacher's distribution itself, which is k without end.

    Returns
    -------
    dict of str to float
        "intra", "inter", "total" as shares of G_p; "expected entropy", "mutual information", "total entropy" in nats.

    Notes
    -----
    T4.

    Examples
    --------
    >>> memorised_parts([[0.5, 0.5]], 4)["intra"], memorised_parts([[0.5, 0.5]], None)["inter"]
    (0.75, 0.0)
    """
    p = distributions("teacher_probs", teacher_probs)
    moved, whole = 1.0 / (k or np.inf), float(entropy(p).mean())
    own = whole if k is None else float(memorised_entropy(p, k).mean())
    shares = {"intra": 1.0 - moved, "inter": moved, "total": 1.0}
    return shares | {"expected entropy": own, "mutual information": whole - own, "total entropy": whole}


def compare_memorised_parts(labels: ArrayLike, teacher_probs: ArrayLike, k: int) -> list[dict[str, str | float]]:
    """Shares of k sampled answers held against `memorised_parts`, which is exact for them.

    Parameters
    ----------
    labels, teacher_probs, k
        As for `compare_memorised`.

    Returns
    -------
    list of dict
        Rows of `comparison` for "intra", "inter" and "expected entropy"; shares are NaN where the teacher is certain.

    Examples
    --------
    >>> labels = np.eye(2)[[[0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 1]]]
    >>> [row["predicted"] for row in compare_memorised_parts(labels, np.full((4, 2), 0.5), 1)]
    [0.0, 1.0, 0.0]
    """
    p, shares = distributions("teacher_probs", teacher_probs), np.asarray(labels, dtype=np.float64)
    unlikely = len(shares) * k * float((1.0 - p.max(axis=1)).sum())
    statement = "T4" if unlikely >= FEWEST else ""  # of fewer unlikely answers the standard error says too little
    parts, expected, spread = decompose_categorical(shares), memorised_parts(p, k), gini(p)
    # T4 holds at every prompt, so prompts add no error of their own
    off, standard_error = two_way_mean(entropy(shares) - memorised_entropy(p, k))
    certain = not spread.mean() > CERTAIN_GINI
    intra, inter = (
        (np.nan, np.nan) if certain else share_of(values, spread)
        for values in (parts.per_student_intra, parts.per_student_inter)
    )
    rows = {"intra": intra, "inter": inter, "expected entropy": (expected["expected entropy"] + off, standard_error)}
    return [comparison(statement, name, expected[name], *numbers) for name, numbers in rows.items()]


def shrinkage(moved: float, standard_error: float, k: int) -> tuple[float, float]:
    """λ of T4, where (1 − λ)²/k of G_p has moved between students, and its standard error.

    Parameters
    ----------
    moved, standard_error : float
        Share of G_p that moves.
    k : int

    Returns
    -------
    λ, standard_error : float
        Negative where more has moved than by memorising; NaN where none has.

    Examples
    --------
    >>> shrinkage(0.25, 0.05, 1)
    (0.5, 0.05)
    """
    root = float(np.sqrt(k * moved)) if moved > 0 else np.nan
    return 1.0 - root, k * standard_error / (2.0 * root)
