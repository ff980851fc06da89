"""Calibration: hand cases, scikit-learn and SciPy, properties, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError
from uqkd.estimators.calibration.binned import (
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
    overconfidence_error,
    reliability_curve,
    signed_gap,
)
from uqkd.estimators.calibration.temperature import apply_temperature, fit_temperature
from uqkd.seeds import generator

SCORES = (expected_calibration_error, overconfidence_error, signed_gap, brier_score, negative_log_likelihood)
# four points: confidences .9 .9 .6 .6, right wrong right right; bins of width 1/2 and below keep them apart by pairs
PROBS = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.6, 0.4]])
LABELS = np.array([0, 1, 1, 0])


def _drawn(name, points=400, classes=4, scale=2.0):
    rng = generator("test", "calibration", name)
    logits = scale * rng.normal(size=(points, classes))
    return logits, special.softmax(logits, axis=1), rng.integers(classes, size=points)


def test_by_hand():
    # bins: .9 pair accuracy 1/2, gap +.4; .6 pair accuracy 1, gap −.4
    assert expected_calibration_error(PROBS, LABELS) == pytest.approx(0.4, rel=1e-12)
    assert overconfidence_error(PROBS, LABELS) == pytest.approx(0.5 * 0.9 * 0.4, rel=1e-12)
    assert signed_gap(PROBS, LABELS) == pytest.approx(0.0, abs=1e-15)
    assert brier_score(PROBS, LABELS) == pytest.approx((0.02 + 1.62 + 0.32 + 0.32) / 4, rel=1e-12)
    assert negative_log_likelihood(PROBS, LABELS) == pytest.approx(-np.log([0.9, 0.1, 0.6, 0.6]).mean(), rel=1e-12)
    assert expected_calibration_error(PROBS, LABELS, bins=1) == pytest.approx(0.0, abs=1e-15)  # gaps cancel in one bin
    assert expected_calibration_error(PROBS, LABELS, bins=2, binning="equal_mass") == pytest.approx(0.4, rel=1e-12)


def test_edges_belong_to_the_lower_bin():
    # bins (0, .5], (.5, 1]: confidence .5 in the first, where accuracy is 1; 1.0 in the last
    curve = reliability_curve([[0.5, 0.5], [0.0, 1.0]], [0, 0], bins=2)
    np.testing.assert_array_equal(curve.confidence, [0.5, 1.0])
    np.testing.assert_array_equal(curve.accuracy, [1.0, 0.0])


@pytest.mark.parametrize(("binning", "strategy"), [("equal_width", "uniform"), ("equal_mass", "quantile")])
def test_reliability_curve_against_scikit_learn(binning, strategy):
    _, probs, labels = _drawn("sklearn")
    curve = reliability_curve(probs, labels, bins=10, binning=binning)
    right = probs.argmax(axis=1) == labels
    accuracy, confidence = calibration_curve(right, probs.max(axis=1), n_bins=10, strategy=strategy)
    np.testing.assert_allclose(curve.accuracy, accuracy, rtol=1e-12)
    np.testing.assert_allclose(curve.confidence, confidence, rtol=1e-12)
    share = curve.count / curve.count.sum()
    error = expected_calibration_error(probs, labels, bins=10, binning=binning)
    assert error == pytest.approx(np.sum(share * np.abs(confidence - accuracy)), rel=1e-12)
    over = overconfidence_error(probs, labels, bins=10, binning=binning)
    assert over == pytest.approx(np.sum(share * confidence * np.maximum(confidence - accuracy, 0)), rel=1e-12)


def test_scores_against_scikit_learn():
    _, probs, labels = _drawn("scores")
    assert negative_log_likelihood(probs, labels) == pytest.approx(log_loss(labels, probs), rel=1e-12)
    two = probs[:, :2] / probs[:, :2].sum(axis=1, keepdims=True)
    assert brier_score(two, labels % 2) / 2 == pytest.approx(brier_score_loss(labels % 2, two[:, 1]), rel=1e-12)
    assert brier_score(probs, labels) == pytest.approx(
        brier_score_loss(labels, probs, labels=range(4), scale_by_half=False), rel=1e-12
    )


@pytest.mark.parametrize("score", SCORES)
def test_students_are_scored_one_by_one_and_order_does_not_matter(score):
    drawn = [_drawn(("students", s), points=60)[1] for s in range(3)]
    labels = _drawn("labels", points=60)[2]
    together = score(np.stack(drawn), labels)
    assert together.shape == (3,)
    for s in range(3):
        assert score(drawn[s], labels) == pytest.approx(together[s], rel=1e-13)  # another order of summation
    order = generator("test", "calibration", "order").permutation(60)
    assert score(drawn[0][order], labels[order]) == pytest.approx(together[0], rel=1e-12)


def test_equal_mass_keeps_ties_together():
    probs = np.array([[0.7, 0.3]] * 6 + [[0.9, 0.1]] * 2)
    labels = np.array([0, 1, 0, 1, 1, 1, 0, 0])
    curve = reliability_curve(probs, labels, bins=4, binning="equal_mass")
    np.testing.assert_array_equal(curve.count, [6, 2])


@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 30))
def test_ranges_and_inequalities(seed, classes, bins):
    _, probs, labels = _drawn(("property", seed), points=25, classes=classes)
    for binning in ("equal_width", "equal_mass"):
        error = expected_calibration_error(probs, labels, bins=bins, binning=binning)
        over = overconfidence_error(probs, labels, bins=bins, binning=binning)
        assert abs(signed_gap(probs, labels)) - 1e-12 <= error <= 1.0
        assert 0.0 <= over <= error + 1e-12
    assert 0.0 <= brier_score(probs, labels) <= 2.0


def test_scores_tell_a_calibrated_model_from_mutants():
    """20,000 points with labels drawn from the probabilities: signed gap 0 ± sd .0034; accepted 3.9 sd and ECE < .03.

    Mutants: sharpened (T = 1/2), flattened (T = 2), labels of another model.
    """
    rng = generator("test", "calibration", "calibrated")
    logits = 1.5 * rng.normal(size=(20_000, 3))
    probs = special.softmax(logits, axis=1)
    labels = (rng.random(20_000)[:, None] > probs.cumsum(axis=1)[:, :-1]).sum(axis=1)

    def accepted(p, y):
        return abs(signed_gap(p, y)) < 3.9 * 0.0034 and expected_calibration_error(p, y) < 0.03

    assert accepted(probs, labels)
    assert not accepted(special.softmax(2 * logits, axis=1), labels)
    assert not accepted(special.softmax(logits / 2, axis=1), labels)
    assert not accepted(probs, rng.permutation(labels))
    assert (
        signed_gap(special.softmax(2 * logits, axis=1), labels)
        > 0.0
        > signed_gap(special.softmax(logits / 2, axis=1), labels)
    )
    fitted = fit_temperature(2.0 * logits, labels)
    assert fitted.temperature == pytest.approx(2.0, rel=0.05)
    assert fitted.nll < fitted.nll_before


def test_low_precision_rows_pass_and_wrong_rows_do_not():
    _, probs, labels = _drawn("half", classes=150)
    for dtype in (np.float16, np.float32):
        assert signed_gap(probs.astype(dtype), labels) == pytest.approx(signed_gap(probs, labels), abs=1e-3)
    with pytest.raises(DataError, match="sum to one"):
        signed_gap(probs.astype(np.float16).astype(np.float64) * 1.001, labels)
    with pytest.raises(
        DataError, match="sum to one over classes, within 3.6e-07"
    ):  # 6 · 2⁻²⁴: a slip, not a rounding error
        signed_gap([[0.500001, 0.5]], [0])
    with pytest.raises(DataError, match="row 1 sums to 0.9"):
        brier_score([[0.5, 0.5], [0.5, 0.4]], [0, 1])


def test_zero_probability_of_the_truth_is_infinite():
    assert negative_log_likelihood([[1.0, 0.0]], [1]) == np.inf
    assert negative_log_likelihood([[1, 0]], [0]) == 0.0


@pytest.mark.parametrize("score", SCORES)
def test_bad_input(score):
    with pytest.raises(ShapeError, match="C >= 2"):
        score([[1.0]], [0])
    with pytest.raises(ShapeError, match="empty"):
        score(np.zeros((0, 2)), [])
    with pytest.raises(ShapeError, match="got 1 axes"):
        score([0.5, 0.5], [0])
    with pytest.raises(NotFiniteError, match="probs"):
        score([[np.nan, 1.0]], [0])
    with pytest.raises(DataError, match="negative"):
        score([[1.5, -0.5]], [0])
    with pytest.raises(DataError, match="lie in 0 to 1; got 2 at index 1"):
        score(PROBS[:2], [0, 2])
    with pytest.raises(DataError, match="got -1"):
        score(PROBS[:2], [0, -1])
    with pytest.raises(DataError, match="integers"):
        score(PROBS[:2], [0.0, 1.0])
    with pytest.raises(ShapeError, match="labels needs shape"):
        score(PROBS, [0, 1])


def test_bad_options():
    with pytest.raises(OptionError, match="did you mean 'equal_width'"):
        expected_calibration_error(PROBS, LABELS, binning="equal_widht")
    for bins in (0, 2.5, True):
        with pytest.raises(OptionError, match="bins"):
            reliability_curve(PROBS, LABELS, bins=bins)
    with pytest.raises(ShapeError, match="one model"):
        reliability_curve(PROBS[None], LABELS)


# ------------------------------------------------------------------ temperature


@pytest.mark.parametrize("scale", [1e-6, 1.0, 30.0, 1e6])
def test_temperature_against_scipy(scale):
    logits, probs, _ = _drawn("temperature", points=300)
    labels = (generator("test", "temperature", "y").random(300)[:, None] > probs.cumsum(axis=1)[:, :-1]).sum(axis=1)
    fitted = fit_temperature(scale * logits, labels)

    def loss(log_t):
        return negative_log_likelihood(special.softmax(logits / np.exp(log_t), axis=1), labels)

    best = optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-10})
    assert fitted.temperature / scale == pytest.approx(np.exp(best.x), rel=1e-6)
    assert fitted.nll == pytest.approx(best.fun, rel=1e-10)
    unit = fit_temperature(logits, labels)
    assert fitted.temperature == pytest.approx(scale * unit.temperature, rel=1e-12)


def test_temperature_is_the_root_of_its_equation_to_rounding():
    """Mean of E_T[z] − z_true vanishes at T; the mean of 200 logits of size 2 is rounded at 1e-16 · 2."""
    logits, _, labels = _drawn("root", points=200)
    logits[np.arange(200), labels] += 1.0
    weight = apply_temperature(logits, fit_temperature(logits, labels).temperature)
    assert abs(((weight * logits).sum(axis=1) - logits[np.arange(200), labels]).mean()) < 1e-14


def test_temperature_per_student_and_shift():
    logits, _, labels = _drawn("per student", points=200)
    logits[np.arange(200), labels] += 1.0
    both = fit_temperature(np.stack([logits, 3.0 * logits + 100.0]), labels)
    assert both.temperature[1] == pytest.approx(3.0 * both.temperature[0], rel=1e-9)
    scaled = apply_temperature(np.stack([logits, 3.0 * logits]), both.temperature)
    np.testing.assert_allclose(scaled[0], scaled[1], rtol=1e-8)
    np.testing.assert_allclose(negative_log_likelihood(scaled, labels), both.nll, rtol=1e-9)
    np.testing.assert_allclose(apply_temperature(logits, 1.0), special.softmax(logits, axis=1), rtol=1e-12)


def test_temperature_diverges_with_a_clear_error():
    with pytest.raises(DataError, match="T goes to 0"):
        fit_temperature([[2.0, 0.0], [0.0, 1.0]], [0, 1])
    with pytest.raises(DataError, match="no more than chance"):
        fit_temperature([[2.0, 0.0], [0.0, 1.0]], [1, 0])
    with pytest.raises(DataError, match="no more than chance"):
        fit_temperature([[1.0, 1.0], [0.0, 0.0]], [1, 0])
    with pytest.raises(DataError, match="largest logit of student 1"):
        fit_temperature([[[2.0, 0.0], [1.0, 0.0], [0.0, 2.0]], [[2.0, 0.0], [1.0, 0.0], [2.0, 0.0]]], [0, 0, 0])


def test_temperature_refuses():
    with pytest.raises(NotFiniteError, match="logits"):
        fit_temperature([[-np.inf, 0.0]], [1])
    with pytest.raises(ShapeError, match="C >= 2"):
        fit_temperature([[1.0]], [0])
    with pytest.raises(DataError, match="labels"):
        fit_temperature([[2.0, 0.0]], [2])
    with pytest.raises(DataError, match="positive"):
        apply_temperature([[1.0, 0.0]], 0.0)
    with pytest.raises(ShapeError, match="one per student"):
        apply_temperature([[1.0, 0.0]], [1.0, 2.0])
