"""What students that memorise k sampled answers keep of their teacher's distribution, exactly (T4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from uqkd.checking.probabilities import distributions
from uqkd.errors import OptionError
from uqkd.estimators.comparing.theory_rows import FEWEST, comparison
from uqkd.estimators.variance.categorical import decompose_categorical, gini
from uqkd.estimators.variance.two_way import share_of

Array = NDArray[np.float64]


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
