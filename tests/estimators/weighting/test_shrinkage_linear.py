"""Linear shrinkage: by hand, its gain over raw and pooled, and what wrong slopes cost."""

import numpy as np
import pytest

from uqkd import seeds
from uqkd.errors import NotFiniteError, ShapeError
from uqkd.estimators import shrink_towards_mean


def halves(n, truth_sd, key, *, draws=8):
    """Truths (n,), estimates from 8 noisy draws, and from their two halves."""
    rng = seeds.generator("test", "linear", *key)
    truth = 1.0 + truth_sd * rng.standard_normal(n)
    noisy = truth[:, None] + 2.0 * rng.standard_normal((n, draws))
    return truth, noisy.mean(axis=1), noisy[:, :4].mean(axis=1)[None], noisy[:, 4:].mean(axis=1)[None]


def test_by_hand():
    """Covariance of halves ((−1)(−1) + 0 + 1·1)/2 = 1, variance 4: slope ¼."""
    shrunk = shrink_towards_mean([0.0, 2.0, 4.0], [[1.0, 2.0, 3.0]], [[0.0, 1.0, 2.0]])
    np.testing.assert_allclose(shrunk, [1.5, 2.0, 2.5], rtol=1e-15)


def test_the_slope_is_the_best_one():
    """Var(truth) 1, noise variance 4/8: slope 2/3. Over 20,000 it is known to 1.5 % (2 sd)."""
    truth, value, first, second = halves(20_000, 1.0, ("slope",))
    shrunk = shrink_towards_mean(value, first, second)
    slope = (shrunk[1] - shrunk[0]) / (value[1] - value[0])
    assert slope == pytest.approx(2 / 3, abs=0.025)
    errors = {
        "shrunk": ((shrunk - truth) ** 2).mean(),
        "raw": ((value - truth) ** 2).mean(),
        "pooled": ((shrink_towards_mean(value) - truth) ** 2).mean(),
        "same draws twice": ((shrink_towards_mean(value, value[None], value[None]) - truth) ** 2).mean(),
    }
    assert errors["shrunk"] == pytest.approx(1 / 3, rel=0.05)  # 1·½/(1 + ½)
    assert errors["raw"] == errors["same draws twice"] == pytest.approx(1 / 2, rel=0.05)  # wrong halves shrink nothing
    assert errors["pooled"] == pytest.approx(1.0, rel=0.05)


def test_without_spread_all_get_nearly_the_mean():
    _, value, first, second = halves(5_000, 0.0, ("no spread",))
    assert shrink_towards_mean(value, first, second).std() < 0.1 * value.std()


def test_slopes_stay_between_none_and_all_and_negative_values_are_not_clipped():
    value = np.array([-3.0, 0.0, 1.0])
    np.testing.assert_allclose(shrink_towards_mean(value, [9 * value], [9 * value]), value, rtol=1e-14)
    np.testing.assert_allclose(shrink_towards_mean(value, [value], [-value]), value.mean(), rtol=1e-14)
    np.testing.assert_array_equal(shrink_towards_mean([-2.0], [[1.0]], [[1.0]]), [-2.0])
    np.testing.assert_array_equal(shrink_towards_mean([1.0, 1.0], [[1.0, 2.0]], [[1.0, 2.0]]), [1.0, 1.0])


def test_bad_input():
    with pytest.raises(ShapeError, match=r"first and second need axes \(n, P=3\)"):
        shrink_towards_mean([1.0, 2.0, 3.0], [[1.0, 2.0]], [[1.0, 2.0]])
    with pytest.raises(NotFiniteError, match="estimates holds 1 value"):
        shrink_towards_mean([1.0, np.nan])
