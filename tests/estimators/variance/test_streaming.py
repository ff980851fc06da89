"""Moments of a stream: equal to NumPy's over all replicates at once, about any centre and in any blocks."""

import numpy as np
import pytest

from uqkd import seeds
from uqkd.errors import ShapeError, VarianceError
from uqkd.estimators import Moments

# Skewed, and away from the centre: a term of the binomial expansion that is wrong or missing cannot hide.
VALUES = seeds.generator("test", "streaming").exponential(size=(50, 3)) + np.array([0.0, 1.0, -2.0])
CENTRE = np.array([0.5, 0.0, 1.0])


@pytest.fixture(params=[(50,), (20, 30), (1, 48, 1)])
def stream(request):
    """The same replicates in one block, or in several."""
    found = Moments.about(CENTRE)
    for block in np.split(VALUES, np.cumsum(request.param)[:-1]):
        found = found.add(block)
    return found


def test_mean_and_variance_are_numpys(stream):
    np.testing.assert_allclose(stream.mean, VALUES.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(stream.variance, VALUES.var(axis=0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(stream.mean_se, VALUES.std(axis=0, ddof=1) / np.sqrt(50), rtol=1e-12)
    np.testing.assert_allclose(stream.mean_variance, VALUES.var(axis=0, ddof=1).mean(), rtol=1e-12)


def test_standard_error_of_the_variance_is_that_of_the_central_fourth_moment(stream):
    fourth = ((VALUES - VALUES.mean(axis=0)) ** 4).mean(axis=0)
    expected = np.sqrt((fourth - VALUES.var(axis=0, ddof=1) ** 2) / 50)
    np.testing.assert_allclose(stream.variance_se, expected, rtol=1e-11)


def test_errors_over_points_are_those_of_the_replicates_mean_squares(stream):
    """Points of one replicate may be dependent, so a replicate counts as one value: its mean square about the centre."""
    of_row = ((VALUES - CENTRE) ** 2).mean(axis=1)
    np.testing.assert_allclose(stream.mean_square, of_row.mean(), rtol=1e-13)
    np.testing.assert_allclose(stream.mean_square_se, of_row.std(ddof=1) / np.sqrt(50), rtol=1e-11)


def test_streams_merge_about_one_centre_only():
    halves = [Moments.about(CENTRE).add(part) for part in (VALUES[:20], VALUES[20:])]
    np.testing.assert_allclose(halves[0].merge(halves[1]).variance, VALUES.var(axis=0, ddof=1), rtol=1e-12)
    with pytest.raises(ShapeError, match="different centres"):
        halves[0].merge(Moments.about(CENTRE + 1.0).add(VALUES[20:]))
    with pytest.raises(ShapeError, match="at least 2 replicates; got 1"):
        _ = Moments.about(CENTRE).add(VALUES[:1]).variance


def test_a_centre_far_from_the_mean_gives_an_error_of_squares_but_none_of_variances():
    values = seeds.generator("test", "streaming", "off").standard_normal((4_000, 3))
    near, far = Moments.about(np.zeros(3)).add(values), Moments.about(np.full(3, 2.0)).add(values)
    assert far.mean_variance == pytest.approx(near.mean_variance, rel=1e-9)
    squares = ((values - 2.0) ** 2).mean(axis=1)
    assert far.mean_square_se == pytest.approx(squares.std(ddof=1) / np.sqrt(4_000), rel=1e-9)
    assert near.mean_variance_se == near.mean_square_se < far.mean_square_se
    with pytest.raises(VarianceError, match="a centre near the mean"):
        _ = far.mean_variance_se


@pytest.mark.parametrize(("n", "centre", "far"), [(1_000, 0.2, False), (1_000, 0.3, True), (10, 0.7, False)])
def test_how_far_the_centre_may_be(n, centre, far):
    """±1 alternating: mean 0, variance n/(n − 1). Allowed are .05 variances, and 10/n for the mean's own error."""
    stream = Moments.about([centre]).add(np.tile([[1.0], [-1.0]], (n // 2, 1)))
    if far:
        with pytest.raises(VarianceError, match="a centre near the mean"):
            _ = stream.mean_variance_se
    else:
        assert stream.mean_variance_se == stream.mean_square_se


def test_a_centre_off_to_both_sides_is_off_and_one_off_by_rounding_is_not():
    values = np.tile([[1.0, 1.0], [-1.0, -1.0]], (500, 1))
    with pytest.raises(VarianceError, match="a centre near the mean"):
        _ = Moments.about([1.0, -1.0]).add(values).mean_variance_se
    assert Moments.about([np.nextafter(0.1, 1)]).add(np.full((7, 1), 0.1)).mean_variance_se < 1e-30
