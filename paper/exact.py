"""Numbers without a sampling error: closed forms and quadratures of the statements, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from paper.results import PaperError
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


MADE: dict[str, tuple[Callable[[], float], str]] = {
    **{f"medoid at {k}": (partial(gini_kept, k), ".2f") for k in MEDOID_KS},
    **{f"oracle at {k}": (partial(theory.oracle_label_variance, k), ".3f") for k in ORACLE_KS},
    "two sources cost": (lambda: equal_sources(2, 2)[0], ".2f"),
    "two sources claim": (lambda: equal_sources(2, 2)[1], ".3f"),
    "five sources cost": (lambda: equal_sources(5, 2)[0], ".2f"),
    "five sources claim": (lambda: equal_sources(5, 2)[1], ".3f"),
}


def number(name: str) -> str:
    """LaTeX of an exact number, by its name in the text.

    Examples
    --------
    >>> number("oracle at 3"), number("medoid at 5")
    ('.491', '.81')
    """
    if name == "example":
        return ", ".join(f"{share:.2f}".removeprefix("0") for share in EXAMPLE)
    if name == "level":
        return tex(percent())
    if name not in MADE:
        raise PaperError(f"the paper names the exact number {name!r}, which paper/exact.py does not make.")
    find, form = MADE[name]
    return f"{find():{form}}".removeprefix("0")


def graybill_deal_rows() -> list[list[str]]:
    """Variance of Graybill-Deal over that of the better source, by ratio of variances: known weights, then each k (T7)."""
    rows = []
    for ratio in RATIOS:
        exact = [theory.graybill_deal_ratio(k, float(ratio)) for k in RATIO_KS]
        rows.append([str(ratio), *(f"{value:.3f}" for value in (ratio / (1.0 + ratio), *exact))])
    return rows
