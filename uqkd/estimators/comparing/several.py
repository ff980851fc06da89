"""Several methods compared, p-values corrected by Holm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

from uqkd.errors import OptionError, one_of
from uqkd.estimators.comparing.compared import Comparison
from uqkd.estimators.comparing.differences import compare
from uqkd.estimators.comparing.multiple import adjusted_p_values


def compare_methods(
    methods: Mapping[str, Any], *, baseline: str | None = None, **options: Any
) -> dict[tuple[str, str], Comparison]:
    """Compare each method with a baseline, or all of them in pairs.

    Parameters
    ----------
    methods : mapping of str to array_like
        Data of each method, as `compare` takes them.
    baseline : str, optional
        With which the others are compared; all pairs if not given.
    **options
        Of `compare`: measure, labels, paired, level, ...

    Returns
    -------
    dict of (name, name) to Comparison
        First less second. Intervals cover all together at the level (Bonferroni); `.adjusted` is Holm's p-value, by which
        `.decided` and the sentences go.

    Raises
    ------
    OptionError
        Fewer than two methods, an unknown baseline.

    Notes
    -----
    Holm (1979) keeps the chance of any false finding at 1 − level, whatever the comparisons have in common.

    Examples
    --------
    >>> scores = {"single": [[1.0, 2.0], [2.0, 4.0]], "multi": [[2.0, 3.1], [3.1, 5.0]], "medoid": [[1.0, 2.1], [2.0, 3.9]]}
    >>> found = compare_methods(scores, baseline="single")
    >>> [(first, round(one.p_value, 4), round(one.adjusted, 4)) for (first, _), one in found.items()]
    [('multi', 0.0235, 0.0469), ('medoid', 1.0, 1.0)]
    """
    if len(methods) < 2:
        raise OptionError(f"compare_methods needs two methods or more; got {len(methods)}.")
    if baseline is not None:
        one_of("baseline", baseline, methods)
    pairs = [(name, baseline) for name in methods if name != baseline] if baseline else list(combinations(methods, 2))
    found = [
        compare(methods[one], methods[other], names=(one, other), comparisons=len(pairs), **options)
        for one, other in pairs
    ]
    adjusted = adjusted_p_values([one.p_value for one in found])
    return {pair: replace(one, adjusted=float(p)) for pair, one, p in zip(pairs, found, adjusted, strict=True)}
