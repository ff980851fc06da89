"""Every public estimator is given what it cannot use: it answers with numbers, or with one line that says what is wrong."""

import warnings

import numpy as np
import pytest

from uqkd import estimators as est
from uqkd import seeds
from uqkd.errors import UqkdError

RNG = seeds.generator("test", "every estimator", shared=True)
DRAWS = RNG.normal(size=(4, 6, 3))
TABLE = DRAWS[:, :, 0]
PROBS = RNG.dirichlet(np.ones(3), size=(4, 6))
CODES = RNG.integers(3, size=(4, 6, 3))
LABELS = RNG.integers(3, size=6)
FIRST, SECOND = RNG.dirichlet(np.ones(3), size=(2, 6))
COUNTS = RNG.multinomial(9, FIRST)
SHARE = RNG.random(6)
POSITIVE = RNG.gamma(2.0, size=6) + 0.5
K = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])

# Of each public function its arrays by name, good ones, and the call: every array is spoilt in turn.
CALLS = {
    "Moments": ({"values": TABLE}, lambda values: _moments(values)),
    "accuracy": ({"probs": PROBS, "labels": LABELS}, est.accuracy),
    "apply_temperature": ({"logits": TABLE, "temperature": np.array(2.0)}, est.apply_temperature),
    "area_under_risk_coverage": ({"probs": PROBS, "labels": LABELS}, est.area_under_risk_coverage),
    "average_responses": ({"responses": TABLE}, est.average_responses),
    "averaging_law_of": (
        {"k": np.array([1.0, 2.0, 4.0]), "means": DRAWS[:, :, 1:].transpose(2, 0, 1)[[0, 1, 1]] * [[[1.0]], [[1.0]], [[0.5]]]},
        lambda k, means: est.averaging_law_of(k, means, design="shared"),
    ),
    "blue": ({"estimates": POSITIVE, "covariance": np.diag(POSITIVE)}, est.blue),
    "bootstrap_interval": ({"data": POSITIVE}, lambda data: est.bootstrap_interval(
        data, np.mean, generator=seeds.generator("t", shared=True), replicates=99)),
    "brier_score": ({"probs": PROBS, "labels": LABELS}, est.brier_score),
    "by_share": ({"values": SHARE, "share": SHARE}, est.by_share),
    "class_accuracy_changes": (
        {"probs": PROBS, "baseline": PROBS[::-1], "labels": LABELS}, est.class_accuracy_changes),
    "correctness_auroc": (
        {"probs": PROBS, "labels": LABELS}, lambda **a: est.correctness_auroc(**a, undefined="nan")),
    "decompose_agreement": ({"draws": CODES}, est.decompose_agreement),
    "decompose_categorical": ({"probs": PROBS}, est.decompose_categorical),
    "decompose_entropy": ({"clusters": CODES}, est.decompose_entropy),
    "decompose_gaussian": ({"means": TABLE, "variances": TABLE**2}, est.decompose_gaussian),
    "decompose_variance": ({"draws": DRAWS}, est.decompose_variance),
    "entropy": ({"probs": PROBS}, est.entropy),
    "entropy_excess": ({"mixed": FIRST, "share": SHARE, "first": LABELS, "second": LABELS[::-1]}, est.entropy_excess),
    "estimate": ({"draws": DRAWS}, est.estimate),
    "expected_calibration_error": ({"probs": PROBS, "labels": LABELS}, est.expected_calibration_error),
    "feature_linearity": (
        {"mixed": TABLE.T, "first": TABLE.T + 1, "second": TABLE.T**2, "share": SHARE}, est.feature_linearity),
    "fit_averaging_law": ({"k": K, "variance": 1 / K, "standard_error": 0.1 / K}, est.fit_averaging_law),
    "fit_power_law": ({"k": K, "variance": 1 / K, "standard_error": 0.1 / K}, est.fit_power_law),
    "fit_temperature": ({"logits": 3 * TABLE[:, :3], "labels": np.array([0, 1, 2, 0])}, est.fit_temperature),
    "gini": ({"probs": PROBS}, est.gini),
    "gini_from_draws": ({"draws": CODES}, est.gini_from_draws),
    "graybill_deal": ({"first": TABLE, "second": TABLE[::-1]}, lambda first, second: est.graybill_deal([first, second])),
    "half_width": ({"standard_error": POSITIVE, "count": np.full(6, 5.0)}, est.half_width),
    "inter_student_variance": ({"draws": DRAWS}, est.inter_student_variance),
    "intra_student_variance": ({"draws": DRAWS}, est.intra_student_variance),
    "inverse_variance_weight": (
        {"estimates": POSITIVE, "variances": POSITIVE, "biases": POSITIVE}, est.inverse_variance_weight),
    "judge_claim": ({"one": TABLE}, lambda one: est.judge_claim({"one": one}, says="higher")),
    "kl_divergence": ({"p": FIRST, "q": SECOND}, est.kl_divergence),
    "likelihood_entropy": (
        {"clusters": CODES[0], "sequences": np.arange(18).reshape(6, 3), "log_likelihoods": -np.abs(DRAWS[0])},
        est.likelihood_entropy),
    "linear_cka": ({"features": TABLE.T, "other": TABLE.T**2}, est.linear_cka),
    "mean_and_error": ({"values": POSITIVE}, est.mean_and_error),
    "mean_variance_components": ({"values": TABLE}, lambda values: est.mean_variance_components(
        values, {"s": np.array([0, 0, 1, 1])})),
    "negative_log_likelihood": ({"probs": PROBS, "labels": LABELS}, est.negative_log_likelihood),
    "nonlinearity": ({"mixed": FIRST, "first": SECOND, "second": FIRST[::-1], "share": SHARE}, est.nonlinearity),
    "off_pair_mass": ({"mixed": FIRST, "first": LABELS, "second": LABELS[::-1]}, est.off_pair_mass),
    "out_of_distribution_auroc": ({"probs_in": FIRST, "probs_out": SECOND}, est.out_of_distribution_auroc),
    "overconfidence_error": ({"probs": PROBS, "labels": LABELS}, est.overconfidence_error),
    "reliability_curve": ({"probs": PROBS[0], "labels": LABELS}, est.reliability_curve),
    "risk_coverage": ({"probs": PROBS, "labels": LABELS}, est.risk_coverage),
    "share_of": ({"values": TABLE, "whole": POSITIVE}, est.share_of),
    "share_variances": ({"classes": CODES[None], "words": CODES[0]}, est.share_variances),
    "shrink_variances": ({"variances": POSITIVE, "dof": np.full(6, 3.0)}, est.shrink_variances),
    "signed_gap": ({"probs": PROBS, "labels": LABELS}, est.signed_gap),
    "squared_distance": ({"draws": CODES, "teacher": CODES[0]}, est.squared_distance),
    "summarise_classifier": ({"probs": PROBS, "labels": LABELS}, est.summarise_classifier),
    "two_way_mean": ({"values": TABLE}, est.two_way_mean),
    "uncertainty_shares": ({"spread": POSITIVE}, lambda spread: est.uncertainty_shares(
        est.decompose_categorical(PROBS), spread)),
    "variance_components": ({"values": POSITIVE}, lambda values: est.variance_components(
        {"s": [0, 0, 1, 1, 2, 2], "value": values}, ["s"])),
    "variance_interval": ({"draws": DRAWS}, est.variance_interval),
    "variance_of_means": ({"draws": DRAWS}, est.variance_of_means),
    "accuracy_interval": ({"probs": PROBS[0], "labels": LABELS}, est.accuracy_interval),
    "adjusted_p_values": ({"p_values": SHARE}, est.adjusted_p_values),
    "answer_likelihoods": ({"token_logprobs": -POSITIVE}, lambda token_logprobs: est.answer_likelihoods([token_logprobs])),
    "auroc_values": ({"scores": TABLE, "right": TABLE > 0}, est.auroc_values),
    "calibration_error": ({"probs": PROBS[0], "labels": LABELS}, est.calibration_error),
    "classwise_calibration_error": ({"probs": PROBS[0], "labels": LABELS}, est.classwise_calibration_error),
    "compare": ({"first": TABLE, "second": TABLE**2}, est.compare),
    "compare_methods": ({"first": TABLE, "second": TABLE**2}, lambda **a: est.compare_methods(a)),
    "conformal_sets": (
        {"probabilities": FIRST, "calibration_probabilities": SECOND, "calibration_labels": LABELS},
        lambda **a: est.conformal_sets(**a, level=0.5)),
    "debiased_calibration_error": ({"probs": PROBS[0], "labels": LABELS}, est.debiased_calibration_error),
    "decompose_unbalanced": ({"values": DRAWS}, est.decompose_unbalanced),
    "distance_to_raters": ({"probs": FIRST, "counts": COUNTS}, est.distance_to_raters),
    "energy_distance": ({"draws": DRAWS, "teacher": DRAWS[0]}, est.energy_distance),
    "entropy_from_counts": ({"counts": COUNTS}, est.entropy_from_counts),
    "gaussian_crps": ({"means": TABLE, "variances": TABLE**2, "observed": POSITIVE}, est.gaussian_crps),
    "gaussian_interval": ({"means": TABLE, "variances": TABLE**2}, est.gaussian_interval),
    "gaussian_log_score": ({"means": TABLE, "variances": TABLE**2, "observed": POSITIVE}, est.gaussian_log_score),
    "gaussian_mixture_crps": ({"means": TABLE, "variances": TABLE**2, "observed": POSITIVE}, est.gaussian_mixture_crps),
    "interval_coverage": ({"low": TABLE, "high": TABLE + 1, "observed": POSITIVE}, est.interval_coverage),
    "interval_score": ({"low": TABLE, "high": TABLE + 1, "observed": POSITIVE}, est.interval_score),
    "kernel_calibration_error": ({"probs": PROBS[0], "labels": LABELS}, est.kernel_calibration_error),
    "proportion_interval": ({"successes": LABELS, "trials": LABELS + 3}, est.proportion_interval),
    "reml_components": ({"values": POSITIVE}, lambda values: est.reml_components(
        {"s": [0, 0, 1, 1, 2, 2], "value": values}, ["s"])),
    "table_interval": ({"table": TABLE}, est.table_interval),
    "variance_half_widths": (
        {"estimate": POSITIVE, "standard_error": POSITIVE, "count": np.full(6, 5.0)}, est.variance_half_widths),
}  # fmt: skip

# Public, and no estimator of arrays: settings, words and quantiles, and functions of a callable or of pairs.
OTHERS = {
    "LEVEL", "MEASURES", "Measure", "comparison", "difference_half_width", "expected_share_variances",
    "leave_level_out_error", "measure_names", "reliability_band", "normal_half_width", "normal_quantile", "percent", "tails",
}  # fmt: skip


def _moments(values):
    stream = est.Moments.about(np.zeros(np.shape(values)[-1:] or 1)).add(values)
    return stream.variance


def test_the_list_is_that_of_the_face():
    assert set(CALLS) | OTHERS == set(est.__all__)
    assert not set(CALLS) & OTHERS


def _first(value):
    """The array with another first entry."""

    def spoil(good):
        bad = np.array(good, dtype=np.float64)
        bad.flat[0] = value
        return bad

    return spoil


def _masked(good):
    bad = np.ma.array(np.array(good, ndmin=1), copy=True)
    bad[(0,) * bad.ndim] = np.ma.masked
    return bad


MUST_REFUSE = {
    "NaN": _first(np.nan),
    "inf": _first(np.inf),
    "empty": lambda good: np.empty((0, *np.shape(good)[1:])),
    "masked": _masked,
}
MAY_REFUSE = {
    "1e160": lambda good: np.asarray(good, dtype=float) * 1e160,
    "1e-160": lambda good: np.asarray(good, dtype=float) * 1e-160,
    "bool": lambda good: np.asarray(good) > 0.3,
    "integers": lambda good: np.rint(np.asarray(good)).astype(int),
    "lists": lambda good: np.asarray(good).tolist(),
    "one": lambda good: np.asarray(good)[:1] if np.ndim(good) else good,
    "one at the end": lambda good: np.asarray(good)[..., :1] if np.ndim(good) else good,
    "words": lambda good: np.full(np.shape(good), "a"),
    "nothing": lambda good: None,
    "zeros": lambda good: np.zeros(np.shape(good)),
}
CASES = [(name, argument) for name, (arrays, _) in CALLS.items() for argument in arrays]
# NaN in, NaN out is what these promise: they draw bars, and a bar that is unknown is not drawn.
UNKNOWN_STAYS_UNKNOWN = {
    ("mean_and_error", "values"), ("half_width", "standard_error"), ("half_width", "count"), ("judge_claim", "one"),
    ("share_of", "values"), ("two_way_mean", "values"),
    ("variance_half_widths", "estimate"), ("variance_half_widths", "standard_error"), ("variance_half_widths", "count"),
    ("adjusted_p_values", "p_values"),
    ("decompose_unbalanced", "values"),  # which stands for a missing response
}  # fmt: skip


def _called(name, argument, spoil):
    arrays, call = CALLS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", UserWarning)
        given = {**arrays, argument: spoil(arrays[argument])}
        return call(*given.values()) if name in ("judge_claim",) else call(**given)


@pytest.mark.parametrize(("name", "argument"), CASES)
@pytest.mark.parametrize("what", MUST_REFUSE)
def test_what_is_no_number_is_refused(name, argument, what):
    if what == "NaN" and (name, argument) in UNKNOWN_STAYS_UNKNOWN:
        return
    if what == "masked" and name == "decompose_unbalanced":
        return  # a mask is how responses are missing there
    if what == "empty" and name == "answer_likelihoods":
        return  # an answer without tokens is one
    with pytest.raises(UqkdError) as caught:
        _called(name, argument, MUST_REFUSE[what])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("name", "argument"), CASES)
@pytest.mark.parametrize("what", MAY_REFUSE)
def test_what_is_odd_is_answered_or_refused_but_never_warned_of_or_left_to_numpy(name, argument, what):
    said = ""
    try:
        _called(name, argument, MAY_REFUSE[what])
    except UqkdError as error:
        said = str(error)
    assert len(said.splitlines()) <= 1
