"""Representations: hand cases, HSIC by Gram matrices and by quadruples, bias, invariances, wrong versions, refusals."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import r2_score

from uqkd.errors import DataError, NotFiniteError, ShapeError, VarianceError
from uqkd.estimators import feature_linearity, linear_cka
from uqkd.seeds import generator


def _features(name, points=40, d=6, e=9):
    """Two representations that share three directions."""
    rng = generator("test", "representation", name)
    core = rng.normal(size=(points, 3))
    one = core @ rng.normal(size=(3, d)) + rng.normal(size=(points, d)) + 5.0
    other = core @ rng.normal(size=(3, e)) + rng.normal(size=(points, e)) - 2.0
    return one, other


def _gram_cka(x, y):
    """tr(KHLH) of Gram matrices with the centring matrix written out."""
    n = len(x)
    h = np.eye(n) - np.ones((n, n)) / n
    k, m = x @ x.T, y @ y.T
    return np.trace(k @ h @ m @ h) / np.sqrt(np.trace(k @ h @ k @ h) * np.trace(m @ h @ m @ h))


def _song_hsic(k, m):
    """HSIC₁ of Song et al. (2012), eq. 5, with zeroed diagonals and no centring."""
    n, one = len(k), np.ones(len(k))
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    terms = (
        np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ m @ one)
    )
    return terms / (n * (n - 3))


def _quadruple_hsic(k, m):
    """The U-statistic itself: mean of k_ij (m_ij + m_qr − 2 m_iq) over all ordered quadruples of different points."""
    terms = [k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in itertools.permutations(range(len(k)), 4)]
    return np.mean(terms)


def _of(hsic, x, y):
    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


def test_cka_by_hand():
    # one dimension: the squared correlation; (−1, 0, 1) and (−1, 1, 0) correlate at 1/2
    assert linear_cka([[-1.0], [0.0], [1.0]], [[-1.0], [1.0], [0.0]]) == pytest.approx(0.25, rel=1e-14)
    # X = (a, b) orthogonal of length √2, Y = a: ‖XᵀY‖² = 4, ‖XᵀX‖² = 8, ‖YᵀY‖² = 4
    x = np.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]) / np.sqrt(2)
    assert linear_cka(x, x[:, :1]) == pytest.approx(4 / np.sqrt(8 * 4), rel=1e-14)


@pytest.mark.parametrize("shape", [(40, 6, 9), (12, 30, 25), (15, 2, 60)])  # by features, by points, one of each
def test_cka_against_other_algebra(shape):
    x, y = _features(("algebra", shape), *shape)
    assert linear_cka(x, y) == pytest.approx(_gram_cka(x, y), rel=1e-11)
    assert linear_cka(x, y, debiased=True) == pytest.approx(_of(_song_hsic, x, y), rel=1e-10)

    # wrong versions: without centring, the square left out, HSIC without its corrections
    raw = np.linalg.norm(x.T @ y) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y)
    assert abs(raw - linear_cka(x, y)) > 0.01
    assert abs(np.sqrt(_gram_cka(x, y)) - linear_cka(x, y)) > 0.01
    assert abs(linear_cka(x, y) - linear_cka(x, y, debiased=True)) > 0.001


def test_debiased_is_the_u_statistic():
    x, y = _features("quadruples", 7, 3, 4)
    assert linear_cka(x, y, debiased=True) == pytest.approx(_of(_quadruple_hsic, x, y), rel=1e-11)


def test_plain_cka_is_biased_upwards_and_debiased_is_not():
    """Unrelated Gaussian features, 30 points in 50 and 70 dimensions, 200 pairs.

    The plain value averages near √(DE) / √((D + P)(E + P)) = .66 where the truth is 0. The debiased one is accepted within
    4.5 standard errors of 0 (7e-6), and its standard error resolves a twentieth of the bias.
    """
    rng = generator("test", "representation", "bias")
    pairs = [(rng.normal(size=(30, 50)), rng.normal(size=(30, 70))) for _ in range(200)]
    plain = np.array([linear_cka(x, y) for x, y in pairs])
    debiased = np.array([linear_cka(x, y, debiased=True) for x, y in pairs])
    # the ratio of expectations: the three norms vary by some 3 %, their ratio's mean lies within 2 % of it
    assert plain.mean() == pytest.approx(np.sqrt(50 * 70 / (80 * 100)), rel=0.02)
    error = debiased.std(ddof=1) / np.sqrt(200)
    assert error < 0.66 / 20

    def accepted(values):
        return abs(values.mean()) < 4.5 * error

    assert accepted(debiased)
    assert not accepted(plain)


def test_debiased_finds_what_many_points_find():
    """Features that do share directions: 30 points debiased agree with 20,000 plain, 30 points plain do not."""
    rng = generator("test", "representation", "truth")
    to_x, to_y = rng.normal(size=(3, 40)), rng.normal(size=(3, 60))

    def drawn(points):
        core = rng.normal(size=(points, 3))
        x = core @ to_x + 3 * rng.normal(size=(points, 40))
        return x, core @ to_y + 3 * rng.normal(size=(points, 60))

    truth = linear_cka(*drawn(20_000))
    few = [drawn(30) for _ in range(200)]
    plain, debiased = (np.array([linear_cka(x, y, debiased=d) for x, y in few]) for d in (False, True))
    # a ratio of unbiased terms keeps a bias of the order of its relative variance, (.1)² here: 3 % allowed beside 4.5 errors
    allowed = 0.03 * truth + 4.5 * debiased.std(ddof=1) / np.sqrt(200)
    assert abs(debiased.mean() - truth) < allowed
    assert plain.mean() - truth > 2 * allowed


@given(st.integers(0, 2**32), st.booleans())
def test_cka_invariances(seed, debiased):
    x, y = _features(("property", seed), 20, 4, 7)
    rng = generator("test", "representation", "map", seed)
    turn, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    value = linear_cka(x, y, debiased=debiased)
    # 20 rows of size 5 to 100: centring loses two digits of sixteen, squares two more
    for changed in (x @ turn, 1e3 * x, x + rng.normal(size=4), np.column_stack([x, np.full(20, 0.1)])):
        assert linear_cka(changed, y, debiased=debiased) == pytest.approx(value, rel=1e-9, abs=1e-11)
    assert linear_cka(y, x, debiased=debiased) == pytest.approx(value, rel=1e-9, abs=1e-11)
    assert linear_cka(x, x @ turn * 2 + 1, debiased=debiased) == pytest.approx(1.0, rel=1e-9)
    order = rng.permutation(20)
    assert linear_cka(x[order], y[order], debiased=debiased) == pytest.approx(value, rel=1e-9, abs=1e-11)
    assert -1.0 - 1e-9 <= value <= 1.0 + 1e-9


def test_cka_is_not_blind():
    x, y = _features("blind")
    stretched = x * np.array([100.0, 1, 1, 1, 1, 1])  # not an orthogonal map
    assert abs(linear_cka(stretched, y) - linear_cka(x, y)) > 0.01
    assert linear_cka(x, y[::-1]) < linear_cka(x, y) - 0.1  # points out of order
    for size in (1e-200, 1e200):  # squares would vanish, or overflow
        assert linear_cka(size * x, y) == pytest.approx(linear_cka(x, y), rel=1e-12)


# ------------------------------------------------------------------ linearity of features


def test_feature_linearity_by_hand():
    # mixtures (1, 0) and (0, 2), mean (1/2, 1), spread 5/4 + 5/4; off by (0, 1) and (0, 0)
    first, second = [[2.0, 0.0], [0.0, 2.0]], [[0.0, 0.0], [0.0, 2.0]]
    assert feature_linearity([[1.0, 1.0], [0.0, 2.0]], first, second, 0.5) == pytest.approx(1 - 1 / 2.5, rel=1e-14)
    assert feature_linearity([[1.0, 0.0], [0.0, 2.0]], first, second, 0.5) == 1.0


@given(st.integers(0, 2**32))
def test_feature_linearity_properties(seed):
    rng = generator("test", "representation", "linearity", seed)
    inputs, share = rng.normal(size=(2, 25, 5)), rng.random(25)
    mixed = share[:, None] * inputs[0] + (1 - share[:, None]) * inputs[1]
    matrix, shift = rng.normal(size=(5, 8)), rng.normal(size=8)
    linear = [x @ matrix + shift for x in (mixed, *inputs)]
    assert feature_linearity(*linear, share) == pytest.approx(1.0, abs=1e-12)
    curved = [np.tanh(f) for f in linear]
    value = feature_linearity(*curved, share)
    assert value < 1.0
    turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    assert feature_linearity(*(3 * f @ turn - 2 for f in curved), share) == pytest.approx(value, rel=1e-9, abs=1e-11)
    assert feature_linearity(curved[0], curved[2], curved[1], 1 - share) == pytest.approx(value, rel=1e-9, abs=1e-11)
    both = feature_linearity(*(np.stack([a, b]) for a, b in zip(linear, curved, strict=True)), share)
    np.testing.assert_allclose(both, [1.0, value], rtol=1e-9, atol=1e-11)
    # by scikit-learn's words: R² weighted by variance, of the mixture as the truth
    mixture = share[:, None] * curved[1] + (1 - share[:, None]) * curved[2]
    expected = r2_score(mixture, curved[0], multioutput="variance_weighted")
    assert value == pytest.approx(expected, rel=1e-10, abs=1e-12)
    # wrong versions: inputs swapped, the spread of f(x~) in the place of that of the mixtures
    assert abs(feature_linearity(curved[0], curved[2], curved[1], share) - value) > 1e-3
    assert abs(r2_score(curved[0], mixture, multioutput="variance_weighted") - value) > 1e-6


# ------------------------------------------------------------------ refusals


def test_bad_input_of_cka():
    x, y = _features("bad")
    with pytest.raises(ShapeError, match="same points; got P=40 and P=39"):
        linear_cka(x, y[1:])
    with pytest.raises(ShapeError, match="features needs P >= 2"):
        linear_cka(x[:1], y[:1])
    with pytest.raises(ShapeError, match="features needs P >= 4"):
        linear_cka(x[:3], y[:3], debiased=True)
    with pytest.raises(ShapeError, match="features needs axes"):
        linear_cka(x[:, 0], y)
    with pytest.raises(ShapeError, match="other is empty"):
        linear_cka(x, y[:, :0])
    with pytest.raises(NotFiniteError, match="other"):
        linear_cka(x, np.where(y > 1, np.nan, y))
    for constant in (np.full((40, 3), 0.1), np.zeros((40, 3)), np.full((40, 3), 1e300)):
        with pytest.raises(VarianceError, match="other is the same at all 40 points"):
            linear_cka(x, constant)


def test_debiased_needs_variance_beyond_its_bias():
    """Equidistant points: every pair has the same inner product, which the correction takes away."""
    with pytest.raises(VarianceError, match="beyond the bias of P=5 points"):
        linear_cka(np.eye(5), _features("bad", 5)[0], debiased=True)
    assert linear_cka(np.eye(5), np.eye(5)) == pytest.approx(1.0, rel=1e-14)


def test_bad_input_of_feature_linearity():
    x = _features("bad")[0]
    with pytest.raises(ShapeError, match="first has shape"):
        feature_linearity(x, x[:3], x, 0.5)
    with pytest.raises(DataError, match="share must lie"):
        feature_linearity(x, x, x, -0.5)
    with pytest.raises(VarianceError, match="the features are the same at all rows"):
        feature_linearity(x, np.ones_like(x), np.ones_like(x), 0.3)
    with pytest.raises(VarianceError, match="of student 1"):
        feature_linearity(*[np.stack([x, np.full_like(x, 0.1)])] * 3, 0.3)
    with pytest.raises(NotFiniteError, match="mixed"):
        feature_linearity(np.full_like(x, np.inf), x, x, 0.3)


def test_equal_rows_are_told_from_equal_mixtures():
    """A dead layer gives every row the same features; pairs may also meet in one point, which is another matter."""
    dead = np.full((4, 3), 0.1)
    with pytest.raises(VarianceError, match="the features are the same at all rows, .* the network is dead") as caught:
        feature_linearity(dead, dead, dead, 0.5)
    assert "\n" not in str(caught.value)
    alive = np.arange(12.0).reshape(4, 3)
    with pytest.raises(VarianceError, match="the features of student 1 are the same at all rows"):
        feature_linearity(np.stack([alive, dead]), np.stack([alive, dead]), np.stack([alive, dead]), 0.5)
    with pytest.raises(VarianceError, match="the mixtures are the same for every pair: .* Use more pairs"):
        feature_linearity(alive[:2], alive[:2], alive[1::-1], 0.5)
