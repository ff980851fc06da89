"""Paired differences with Holm: against statsmodels and SciPy, and that no difference is called one in 5 % of families at most."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from uqkd import seeds
from uqkd.errors import DataError
from uqkd.testbeds.paired import paired_differences, squares


def test_differences_are_paired_and_corrected_by_hand():
    """Rows without spread of their own: a t test over four teachers; Holm of p and q > p is 2p and max(2p, q)."""
    plain = np.repeat([[1.0], [2.0], [3.0], [5.0]], 3, axis=1)
    shift = np.array([[0.5], [0.6], [0.4], [0.5]])
    values = {"plain": plain, "near": plain - shift, "far": plain + np.array([[0.1], [-0.1], [0.4], [0.3]])}
    found = {line["method"]: line for line in paired_differences(values, "plain", tested=["near", "far"])}
    for name in ("near", "far"):
        apart = (values[name] - plain)[:, 0]
        seen = stats.ttest_1samp(apart, 0.0)
        assert found[name]["difference"] == pytest.approx(apart.mean())
        assert found[name]["p"] == pytest.approx(seen.pvalue, rel=1e-9)
        low, high = seen.confidence_interval(0.95)
        assert found[name]["difference_half_width"] == pytest.approx((high - low) / 2, rel=1e-9)
    assert found["near"]["p_holm"] == pytest.approx(2 * found["near"]["p"])
    assert found["far"]["p_holm"] == pytest.approx(max(2 * found["near"]["p"], found["far"]["p"]))
    assert (found["near"]["sign"], found["far"]["sign"], found["plain"]["sign"]) == ("below", "undecided", "undecided")
    assert np.isnan(found["plain"]["p"])


def test_infinite_values_are_not_compared_and_not_counted():
    plain = seeds.generator("test", "paired", "infinite").normal(size=(4, 9))
    values = {"plain": plain, "sure": np.where(np.eye(4, 9) > 0, np.inf, plain), "near": plain - 1.0 + 0.1 * plain}
    found = {line["method"]: line for line in paired_differences(values, "plain", tested=["sure", "near"])}
    assert found["sure"]["value"] == np.inf
    assert np.isnan(found["sure"]["difference"])
    assert found["near"]["p_holm"] == found["near"]["p"]


@pytest.mark.slow
def test_families_without_a_difference_are_named_rarely():
    """200 families of six methods, five teachers, eight rows, no difference: at most 5 % may name any, to the 99.9 % point."""
    rng = seeds.generator("test", "paired", "size")
    named = alone = 0
    for _ in range(200):
        values = {
            f"m{i}": rng.normal(size=(5, 1)) + rng.normal(size=(1, 8)) + rng.normal(size=(5, 8)) for i in range(7)
        }
        found = paired_differences(values, "m0", tested=[f"m{i}" for i in range(1, 7)])
        named += any(line["sign"] != "undecided" for line in found)
        alone += any(line["p"] <= 0.05 for line in found)
    assert named <= stats.binom.isf(1e-3, 200, 0.05)
    assert alone > stats.binom.isf(1e-3, 200, 0.05)  # without the correction


def test_squares_put_every_value_in_its_place():
    rows = [(m, r, t, 100 * (m == "b") + 10 * r + t) for t in (1, 0) for r in (0, 1) for m in ("b", "a")]
    found = squares(pd.DataFrame(rows, columns=["method", "r", "t", "v"]), "v", row="r", column="t")
    assert found["a"].tolist() == [[0, 1], [10, 11]]
    assert found["b"].tolist() == [[100, 101], [110, 111]]


def test_a_missing_value_is_an_error():
    rows = pd.DataFrame({"method": ["a", "a", "b"], "r": [0, 0, 0], "t": [0, 1, 0], "v": [1.0, 2.0, 3.0]})
    with pytest.raises(DataError, match="1 of 4 values of 'v' are missing"):
        squares(rows, "v", row="r", column="t")
