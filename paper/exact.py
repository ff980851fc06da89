"""Numbers without a sampling error: closed forms and quadratures of the statements, by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from paper.tex import tex
from uqkd.estimators import percent
from uqkd.estimators.weighting.exact_variance import claimed_variance_expected, graybill_deal_variance
from uqkd.theory import statements as theory
from uqkd.theory.statements.medoid import medoid_distribution

EXAMPLE = (0.45, 0.25, 0.15, 0.10, 0.05)  # the distribution of T5's example
MEDOID_KS = (1, 2, 3, 5, 10, 50)
RATIOS, RATIO_KS = (1, 2, 4, 10, 30), (3, 5, 10, 11, 20)
ORACLE_KS = (3, 4, 5, 10, 50)


def gini_kept(k: int) -> float:
    """Share of the teacher's Gini variance in the distribution of the medoid of k answers with nothing in common (T5)."""
    kept = medoid_distribution(EXAMPLE, k)
    return float((1 - (kept**2).sum()) / (1 - (np.asarray(EXAMPLE) ** 2).sum()))


def equal_sources(sources: int, k: int) -> tuple[float, float]:
    """Variance of Graybill-Deal over that of known weights, and the share of it that is claimed, for equal sources (T7)."""
    true = graybill_deal_variance([k] * sources, [1.0] * sources)
    return true * k * sources, float(claimed_variance_expected([k] * sources, [1.0] * sources)) / true


def numbers() -> dict[str, str]:
    """LaTeX of every exact number, by its name in the text.

    Examples
    --------
    >>> found = numbers()
    >>> found["oracle at 3"], found["medoid at 5"]
    ('.491', '.81')
    """
    made: dict[str, tuple[Callable[[], float], str]] = {
        **{f"medoid at {k}": (lambda k=k: gini_kept(k), ".2f") for k in MEDOID_KS},
        **{f"oracle at {k}": (lambda k=k: theory.oracle_label_variance(k), ".3f") for k in ORACLE_KS},
        "two sources cost": (lambda: equal_sources(2, 2)[0], ".2f"),
        "two sources claim": (lambda: equal_sources(2, 2)[1], ".3f"),
        "five sources cost": (lambda: equal_sources(5, 2)[0], ".2f"),
        "five sources claim": (lambda: equal_sources(5, 2)[1], ".3f"),
    }
    texts = {name: f"{find():{form}}".removeprefix("0") for name, (find, form) in made.items()}
    weights = ", ".join(f"{share:.2f}".removeprefix("0") for share in EXAMPLE)
    return {**texts, "example": weights, "level": tex(percent())}


def graybill_deal_rows() -> list[list[str]]:
    """Variance of Graybill-Deal over that of the better source, by ratio of variances: known weights, then each k (T7)."""
    rows = []
    for ratio in RATIOS:
        exact = [theory.graybill_deal_ratio(k, float(ratio)) for k in RATIO_KS]
        rows.append([str(ratio), *(f"{value:.3f}" for value in (ratio / (1.0 + ratio), *exact))])
    return rows
