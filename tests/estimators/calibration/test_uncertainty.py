"""Debiased calibration errors and their intervals: what they rest on, exactly; other libraries; coverage, and wrong versions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from sklearn.calibration import calibration_curve
from sklearn.metrics.pairwise import rbf_kernel
from torchmetrics.functional.classification import multiclass_calibration_error

from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError
from uqkd.estimators import (
    accuracy_interval,
    bootstrap_interval,
    calibration_error,
    classwise_calibration_error,
    debiased_calibration_error,
    expected_calibration_error,
    kernel_calibration_error,
    reliability_band,
    reliability_curve,
)
from uqkd.estimators.calibration.uncertainty.binned_gaps import (
    BinnedGaps,
    folded_cumulants,
    gamma_chance,
    gamma_quantile,
    profile_sizes,
    squared_cumulants,
)
from uqkd.estimators.calibration.uncertainty.classwise import classwise_form
from uqkd.estimators.calibration.uncertainty.kernel import kernel_form
from uqkd.seeds import generator
from uqkd.theory.coverage import calibration as coverage

ERRORS = (calibration_error, classwise_calibration_error, kernel_calibration_error)


def drawn(*name, points=300, classes=4, scale=2.0):
    """Claimed probabilities and labels drawn from them: a calibrated model."""
    rng = generator("test", "calibration uncertainty", *name)
    probs = coverage.softmax(scale * rng.normal(size=(points, classes)))
    labels = (rng.random(points)[:, None] > probs.cumsum(axis=1)[:, :-1]).sum(axis=1)
    return probs, labels


# ------------------------------------------------------------------ what the intervals rest on


def test_cumulants_are_those_of_scipy():
    size, variance, weight = np.array([0.3, 0.0, 2.0]), np.array([1.0, 0.5, 0.1]), np.array([0.2, 0.5, 0.3])
    sd = np.sqrt(variance)
    folded = [stats.foldnorm.stats(m / s, scale=s, moments="mvs") for m, s in zip(size, sd, strict=True)]
    expected = (
        sum(w * m for w, (m, _, _) in zip(weight, folded, strict=True)),
        sum(w**2 * v for w, (_, v, _) in zip(weight, folded, strict=True)),
        sum(w**3 * g * v**1.5 for w, (_, v, g) in zip(weight, folded, strict=True)),
    )
    assert folded_cumulants(size, variance, weight) == pytest.approx(expected, rel=1e-9)
    squares = [stats.ncx2.stats(1, (m / s) ** 2, scale=s**2, moments="mvs") for m, s in zip(size, sd, strict=True)]
    expected = (
        sum(w * m for w, (m, _, _) in zip(weight, squares, strict=True)),
        sum(w**2 * v for w, (_, v, _) in zip(weight, squares, strict=True)),
        sum(w**3 * g * v**1.5 for w, (_, v, g) in zip(weight, squares, strict=True)),
    )
    assert squared_cumulants(size, variance, weight) == pytest.approx(expected, rel=1e-9)


def test_the_shifted_gamma_is_pearsons_third_type():
    cumulants = (np.array(0.3), np.array(0.04), np.array(0.004))
    peer = stats.pearson3(0.5, loc=0.3, scale=0.2)  # skewness .004/.2³
    for value in (0.0, 0.25, 0.6):
        assert float(gamma_chance(np.array(value), cumulants)) == pytest.approx(peer.cdf(value), abs=1e-12)
    assert float(gamma_quantile(0.9, cumulants)) == pytest.approx(peer.ppf(0.9), rel=1e-10)


def test_nearest_sizes_against_a_general_solver():
    rng = generator("test", "nearest sizes")
    weight, gap, variance = rng.dirichlet(np.ones(5)), rng.normal(size=5), rng.uniform(0.2, 2.0, 5)
    gaps = BinnedGaps(weight, gap, np.full(5, 0.5), np.zeros(5), np.ones(5))
    for error in (0.05, 0.3, 2.0):
        peer = optimize.minimize(
            lambda size: (((size - np.abs(gap)) ** 2) / variance).sum(),
            np.full(5, error),
            bounds=[(0, None)] * 5,
            constraints={"type": "eq", "fun": lambda size, error=error: weight @ size - error},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        np.testing.assert_allclose(profile_sizes(gaps, np.array(error), variance), peer.x, atol=2e-6)  # SLSQP's own


def test_one_bin_is_a_noncentral_chi_square():
    """100 points of confidence .8, 70 right: (.1)² · n/(.7 · .3) has one degree of freedom and noncentrality θ² n/(p(1 − p))."""
    found = calibration_error([[0.8, 0.2]] * 100, [0] * 70 + [1] * 30, norm="l2")

    def tail(error):
        noise = (0.8 - error) * (0.2 + error) / 100
        return stats.ncx2.cdf(0.01 / noise, 1, error**2 / noise)

    low, high = (
        optimize.brentq(lambda e: tail(e) - 0.975, 0.001, 0.1),
        optimize.brentq(lambda e: tail(e) - 0.025, 0.1, 0.4),
    )
    # three cumulants stand for the distribution: at one bin, the least normal case, that costs 2 % of the width
    assert tuple(found.interval) == pytest.approx((low, high), abs=0.02 * (high - low))
    assert found.debiased == pytest.approx(np.sqrt(0.01 - 0.21 / 99), rel=1e-12)  # Kumar, Liang & Ma's square
    assert calibration_error([[0.8, 0.2]] * 100, [0] * 70 + [1] * 30).plug_in == pytest.approx(0.1, rel=1e-12)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_plug_in_against_torchmetrics(norm):
    probs, labels = drawn("torchmetrics")
    peer = multiclass_calibration_error(torch.from_numpy(probs), torch.from_numpy(labels), 4, n_bins=15, norm=norm)
    assert calibration_error(probs, labels, norm=norm).plug_in == pytest.approx(float(peer), abs=1e-6)  # its float32
    by_mass = calibration_error(probs, labels, norm=norm, binning="equal_mass").plug_in
    assert by_mass != pytest.approx(float(peer), abs=1e-3)  # the wrong bins are seen


def test_classwise_against_scikit_learn():
    probs, labels = drawn("classwise", classes=3)
    total = 0.0
    for c in range(3):
        share, claimed = calibration_curve(labels == c, probs[:, c], n_bins=15, strategy="uniform")
        count = np.histogram(probs[:, c], np.linspace(0, 1, 16))[0]
        total += (count[count > 0] / 300 * (share - claimed) ** 2).sum()
    assert classwise_calibration_error(probs, labels).plug_in == pytest.approx(np.sqrt(total / 3), rel=1e-12)


def test_kernel_against_all_pairs():
    probs, labels = drawn("pairs", points=120)
    confidence, correct = probs.max(axis=1), (probs.argmax(axis=1) == labels).astype(float)
    near = rbf_kernel(confidence[:, None], gamma=1 / (2 * 0.1**2))
    gap, apart = confidence - correct, ~np.eye(120, dtype=bool)
    peer = (near * np.outer(gap, gap))[apart].mean() / near[apart].mean()
    assert float(kernel_form(confidence, correct, 0.1).unbiased_square(120)) == pytest.approx(peer, rel=1e-6)
    assert kernel_calibration_error([[0.7, 0.3]] * 400, [0] * 240 + [1] * 160).plug_in == pytest.approx(0.1, rel=1e-6)


@pytest.mark.slow
def test_noise_of_quadratic_forms_is_that_of_drawn_labels():
    """Mean of Q over 1,000 draws of labels: sd √(2 tr Σ²/1,000), accepted at 3.9 sd; and its variance.

    Two classes mirror each other: if they were held to be independent, the variance would be half of what it is.
    """
    probs, _ = drawn("noise", points=80, classes=2)
    rng = generator("test", "noise of forms")
    forms = []
    for _ in range(1_000):
        labels = (rng.random(80)[:, None] > probs.cumsum(axis=1)[:, :-1]).sum(axis=1)
        forms.append(float(classwise_form(probs, labels, bins=5, binning="equal_width").square))
    form = classwise_form(probs, labels, bins=5, binning="equal_width")
    mean, variance, _ = (float(k) for k in form.cumulants(np.array(0.0)))
    assert abs(np.mean(forms) - mean) < 3.9 * np.sqrt(variance / 1_000)
    # the sample variance of 1,000 has a relative sd of √((2 + 12/ν)/1,000) = .07 for ν >= 4 degrees of freedom
    assert np.var(forms, ddof=1) == pytest.approx(variance, rel=4 * 0.07)
    cells = np.unique(np.floor(probs * 5).astype(int) + 5 * np.arange(2), return_inverse=True, return_counts=True)
    # a wrong version: every p(1 − p) is p, so that a label does not know that it is of one class
    alone = sum(probs.ravel()[cells[1].ravel() == k].sum() / (80 * 2 * n) for k, n in enumerate(cells[2]))
    assert abs(np.mean(forms) - alone) > 3.9 * np.sqrt(variance / 1_000)


# ------------------------------------------------------------------ coverage, and wrong versions


@pytest.mark.slow
def test_the_bootstrap_of_a_calibrated_model_covers_nothing():
    """S6: n = 500, calibrated. 20 percentile intervals of the plug-in never hold 0; those of test inversion nearly always.

    They leave out 0 in one tail, .03 of samples: in five or more of 20 with chance 3e-4.
    """
    held = new = 0
    for k in range(20):
        probs, labels = drawn("S6", k, points=500, classes=10)

        def ece(rows, probs=probs, labels=labels):
            picked = rows.astype(int)
            return expected_calibration_error(probs[picked], labels[picked])

        draw = generator("test", "S6 bootstrap", k)
        old = bootstrap_interval(np.arange(500.0), ece, generator=draw, replicates=39, method="percentile")
        held += bool(old.low <= 0.0)
        new += calibration_error(probs, labels).interval.low == 0.0
    assert held == 0
    assert new >= 16


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "points"), [(2, 200), (100, 200), (2, 2_000)])
def test_coverage_at_zero_and_at_five_hundredths(classes, points):
    """400 experiments: an interval that covers .95 stays above .907 with chance .9999 (3.9 sd of .0109), one of .87 does not."""
    calm = coverage.cell("ece", points, classes, shape="over", error=0.0, experiments=400)
    wrong = coverage.cell("ece", points, classes, shape="over", error=0.05, experiments=400)
    for row in (calm, wrong):
        assert row["covered"] >= 0.907, row
    assert calm["median_width"] <= 2.0 * calm["plug_in_mean"]
    # with the noise taken off the estimate is nearer to the truth in both, on average
    for row in (calm, wrong):
        assert abs(row["debiased_mean"] - row["true_error"]) < abs(row["plug_in_mean"] - row["true_error"])


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["rms", "kernel", "classwise"])
def test_coverage_of_squared_errors(measure):
    experiments = {"rms": 400, "kernel": 200, "classwise": 100}[measure]
    least = 0.95 - 3.9 * np.sqrt(0.95 * 0.05 / experiments)
    for error in (0.0, 0.05):
        row = coverage.cell(measure, 200, 2, shape="over", error=error, experiments=experiments)
        assert row["covered"] >= least, row
        assert row["plug_in_mean"] > row["debiased_mean"]


@pytest.mark.slow
def test_wrong_bins_and_wrong_noise_miss():
    """Wrong versions on populations whose error is known: each must leave the band that the right one keeps."""
    rows = coverage.with_error(2, "wave", "ece", 0.05)
    truth = coverage.true_error(rows, "ece")
    draw = generator("test", "wrong bins")
    picked, chance = draw.integers(coverage.ROWS, size=(100, 2_000)), draw.random((100, 2_000))
    confidence, correct = rows.confidence[picked], (chance < rows.right[picked]).astype(float)
    *_, low, high = coverage.binned(confidence, correct, "l1")
    assert ((low <= truth) & (truth <= high)).mean() >= 0.95 - 3.9 * np.sqrt(0.95 * 0.05 / 100)
    two = np.stack([confidence[:20], 1 - confidence[:20]], axis=-1)
    held = [
        calibration_error(p, (right < 0.5).astype(int), bins=3).interval.covers(truth)
        for p, right in zip(two, correct[:20], strict=True)
    ]
    assert np.mean(held) < 0.5  # another estimand: three bins in which the wave cancels
    plug_in, *_ = coverage.binned(confidence[:, :200], correct[:, :200], "l1")
    assert plug_in.mean() > truth + 3.9 * plug_in.std() / np.sqrt(100)  # the plug-in is no estimate of it


# ------------------------------------------------------------------ bounds and shapes


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("confidence", [1.0, 0.999, 0.8])
def test_all_right_is_never_zero_wide(error, confidence):
    """S7: everything right, at any confidence: there is an upper limit above 0."""
    found = error([[confidence, 1 - confidence]] * 200, [0] * 200)
    assert np.isfinite([*found.interval, found.p_value, found.debiased]).all()
    # the bound of the share of errors that 200 right answers leave, less the errors that were announced
    assert found.interval.high >= max(1 - 0.05 ** (1 / 200) - (1 - confidence), 1e-6)
    assert found.p_value > 0.05 or confidence == 0.8  # .8 said, all right: too unsure
    assert found.interval.low <= found.interval.estimate <= found.interval.high


def test_accuracy_of_all_and_none_is_a_bound():
    right = accuracy_interval([[0.8, 0.2]] * 50, [0] * 50)
    assert (right.low, right.high) == (pytest.approx(0.05 ** (1 / 50), abs=1e-12), 1.0)  # (1 − p)^n / 2 = .025
    none = accuracy_interval([[0.8, 0.2]] * 50, [1] * 50)
    assert (none.low, none.high) == (0.0, pytest.approx(1 - 0.05 ** (1 / 50), abs=1e-12))


@pytest.mark.parametrize("error", ERRORS)
def test_students_one_by_one_and_any_order(error):
    both = np.stack([drawn("students", s, points=60)[0] for s in range(2)])
    labels = drawn("students", 0, points=60)[1]
    found = error(both, labels)
    order = generator("test", "order").permutation(60)
    for s in range(2):
        alone = error(both[s][order], labels[order])
        assert isinstance(alone.plug_in, float)
        assert found.plug_in[s] == pytest.approx(alone.plug_in, rel=1e-10)
        assert (found.interval.low[s], found.interval.high[s]) == pytest.approx(tuple(alone.interval), abs=1e-6)
    wider = error(both, labels, level=0.99).interval
    assert (wider.high >= found.interval.high).all()
    assert (wider.low <= found.interval.low).all()


@pytest.mark.parametrize("error", ERRORS)
def test_refusals(error):
    with pytest.raises(ShapeError, match="got 1 axes"):
        error([0.5, 0.5], [0])
    with pytest.raises(NotFiniteError, match="probs"):
        error([[np.nan, 1.0]], [0])
    with pytest.raises(DataError, match="sum to one"):
        error([[0.5, 0.6], [0.5, 0.5]], [0, 1])
    with pytest.raises(OptionError, match="level"):
        error([[0.5, 0.5]] * 3, [0, 1, 0], level=95)


def test_refusals_of_options():
    with pytest.raises(OptionError, match="norm got 'L3'"):
        calibration_error([[0.5, 0.5]], [0], norm="L3")
    for width in (0.0, 2, True, "wide"):
        with pytest.raises(OptionError, match="bandwidth"):
            kernel_calibration_error([[0.5, 0.5]] * 2, [0, 1], bandwidth=width)
    for error in (kernel_calibration_error, classwise_calibration_error):
        with pytest.raises(ShapeError, match="two points"):
            error([[0.5, 0.5]], [0])


def test_the_number_for_tables_is_the_debiased_one():
    probs, labels = drawn("tables")
    both = np.stack([probs, probs[:, ::-1]])
    np.testing.assert_array_equal(debiased_calibration_error(both, labels), calibration_error(both, labels).debiased)


# ------------------------------------------------------------------ bands of reliability curves


def test_band_limits_are_binomial_quantiles():
    probs, labels = drawn("band")
    curve = reliability_curve(probs, labels)
    band = reliability_band(curve)
    for side, chance in ((band.consistent_low, 0.025), (band.consistent_high, 0.975)):
        np.testing.assert_array_equal(
            np.round(side * curve.count), stats.binom.ppf(chance, curve.count, curve.confidence)
        )
    together = reliability_band(curve, simultaneous=True)
    each = 1 - 0.95 ** (1 / len(curve.count))
    np.testing.assert_array_equal(
        np.round(together.consistent_low * curve.count), stats.binom.ppf(each / 2, curve.count, curve.confidence)
    )


@pytest.mark.slow
def test_band_holds_a_calibrated_model_and_not_an_overconfident_one():
    """150 calibrated samples: the simultaneous band holds all bins in .95 or more; 3.9 sd of .0178 below is .88."""
    inside = sharp = 0
    for k in range(150):
        probs, labels = drawn("bands", k, points=200, classes=2)
        band = reliability_band(curve := reliability_curve(probs, labels), simultaneous=True)
        inside += ((band.consistent_low <= curve.accuracy) & (curve.accuracy <= band.consistent_high)).all()
        over = coverage.softmax(4.0 * np.log(probs))
        band = reliability_band(curve := reliability_curve(over, labels), simultaneous=True)
        sharp += ((band.consistent_low <= curve.accuracy) & (curve.accuracy <= band.consistent_high)).all()
    assert inside >= 0.88 * 150
    assert sharp < 0.5 * 150
