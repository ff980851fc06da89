"""Numbers at the edge of what an estimator takes: rounding taken for variation, masks, offsets, zero weights, wrong kinds.

Each of these was accepted, gave NaN, a wrong number or another library's traceback before it became a test.
"""

import warnings

import numpy as np
import pytest

from uqkd import estimators as est
from uqkd import seeds
from uqkd.classify.targets.wclip import wclip
from uqkd.errors import DataError, NotFiniteError, ShapeError, VarianceError
from uqkd.estimators.intervals.half_widths import mean_and_error
from uqkd.estimators.weighting.shrinkage import shrink_variances
from uqkd.targets import weigh

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "ignore::uqkd.errors.FewResponsesWarning")


def test_a_cluster_without_weight_adds_no_entropy():
    assert est.likelihood_entropy([0, 1], [0, 1], [-5.0, -800.0]) == 0.0


@pytest.mark.parametrize("same", [0.1, 0.3, 0.5, 1e-200, 1e100])
@pytest.mark.parametrize("variances", ["own", "shrunk"])
def test_responses_that_are_equal_are_refused_however_their_mean_rounds(same, variances):
    other = np.array([[0.3, 0.2, 0.4], [1.0, 2.0, 4.0], [3.0, 1.0, 0.0]])
    equal = np.array([[1.0, 3.0, 2.0], [same] * 3, [2.0, 4.0, 3.0]])
    with pytest.raises(VarianceError, match=r"samples\[0\] does not vary at index 1"):
        est.graybill_deal([equal, other], variances=variances)
    with pytest.raises(VarianceError, match=r"does not vary"):
        weigh(np.stack([equal, other]), "estimated", second=np.zeros(3), second_var=1.0)


def test_equal_by_two_routes_is_equal_and_a_small_true_difference_is_not():
    with pytest.raises(VarianceError, match="does not vary"):
        est.graybill_deal([[0.3, 0.1 + 0.2, 0.3], [1.0, 2.0, 3.0]])
    step = 64 * np.finfo(float).eps  # sixteen times what four roundings make
    assert est.graybill_deal([[1.0, 1.0 + step], [1.0, 2.0]]).weights[0] == pytest.approx(1.0)


def test_prompts_without_variation_do_not_decide_the_prior():
    variances = np.array([0.5, 1.0, 1.5, 2.0, 0.8, 1.2])
    with pytest.raises(VarianceError, match="these responses do not vary"):
        shrink_variances(np.append(variances, 2.9e-34), 2)
    # told apart by the ratio of standard deviations, 4 eps: here 1e-15
    assert shrink_variances(np.append(variances, 4e-30), 2).prior_dof < shrink_variances(variances, 2).prior_dof


def test_a_teacher_that_is_certain_up_to_rounding_has_no_kappa():
    parts = est.decompose_categorical([[[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]])
    with pytest.raises(DataError, match="teacher is certain"):
        parts.conservation([[1.0 - 2.0**-53, 2.0**-53, 0.0]])


MASKED = {
    "decompose_agreement": lambda a: est.decompose_agreement(a.reshape(2, 2, 2)),
    "decompose_entropy": lambda a: est.decompose_entropy(a.reshape(2, 2, 2)),
    "gini_from_draws": est.gini_from_draws,
    "estimate": lambda a: est.estimate(a.reshape(2, 2, 2)),
    "squared_distance": lambda a: est.squared_distance(a.reshape(2, 2, 2)),
    "likelihood_entropy": lambda a: est.likelihood_entropy(a, np.arange(8), np.zeros(8)),
    "labels of accuracy": lambda a: est.accuracy(np.full((8, 2), 0.5), a),
    "labels of fit_temperature": lambda a: est.fit_temperature(np.eye(2)[[0, 1] * 4] * 3, a),
    "labels to weigh": lambda a: weigh(a.reshape(2, 2, 2), classes=2),
    "responses to weigh": lambda a: weigh(a.reshape(2, 2, 2)),
    "share_variances": lambda a: est.share_variances(a.reshape(1, 2, 2, 2), np.zeros((2, 2), dtype=int)),
    "mean_and_error": mean_and_error,
    "two_way_mean": lambda a: est.two_way_mean(a.reshape(2, 4)),
    "share_of": lambda a: est.share_of(a.reshape(2, 4), np.ones(4)),
    "half_width": lambda a: est.half_width(a, 3),
    "judge_claim": lambda a: est.judge_claim({"one": a.reshape(2, 4)}, says="higher"),
    "variance_components": lambda a: est.variance_components({"s": [0, 0, 1, 1, 2, 2, 3, 3], "value": a}, ["s"]),
    "levels of variance_components": lambda a: est.variance_components({"s": a, "value": np.arange(8.0)}, ["s"]),
    "wclip": lambda a: wclip(np.full((8, 2), 0.5), a),
    "a list of masked arrays": lambda a: est.decompose_agreement([a.reshape(2, 2, 2)[0], a.reshape(2, 2, 2)[1]]),
    "numbers": lambda a: est.decompose_variance(a.reshape(2, 2, 2).astype(float)),
    "a list of numbers": lambda a: est.decompose_variance(list(a.reshape(2, 2, 2).astype(float))),
}


@pytest.mark.parametrize("name", MASKED)
def test_masked_entries_are_refused_and_an_empty_mask_is_none(name):
    values = np.array([0, 1, 1, 0, 0, 1, 1, 1])
    with pytest.raises(NotFiniteError, match="1 masked value"):
        MASKED[name](np.ma.array(values, mask=np.arange(8) == 1))
    if name not in ("numbers", "a list of numbers"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                plain = str(MASKED[name](values))
            except Exception as error:
                plain = str(error)
            try:
                masked = str(MASKED[name](np.ma.array(values, mask=False)))
            except Exception as error:
                masked = str(error)
        assert masked == plain


FAR = seeds.generator("test", "moments far from their centre").standard_normal((4_000, 3))


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e9])
@pytest.mark.parametrize("blocks", [1, 7])
def test_moments_lose_no_digits_to_an_offset_from_the_centre(offset, blocks):
    """The data themselves round at offset·eps/2, relatively to their sd of one; a variance then errs by as much."""
    values = FAR + offset
    stream = est.Moments.about(np.zeros(3))
    for block in np.array_split(values, blocks):
        stream = stream.add(block)
    allowed = 1e-12 + 4 * offset * np.finfo(float).eps
    np.testing.assert_allclose(stream.variance, FAR.var(axis=0, ddof=1), rtol=allowed)
    near = est.Moments.about(np.zeros(3)).add(FAR)
    np.testing.assert_allclose(stream.variance_se, near.variance_se, rtol=allowed)
    of_row = (values**2).mean(axis=1)
    np.testing.assert_allclose(stream.mean_square_se, of_row.std(ddof=1) / np.sqrt(4_000), rtol=allowed)


def test_moments_of_equal_values_are_zero_and_merge_with_nothing():
    empty = est.Moments.about([0.0])
    stream = empty.add([[0.1]] * 3).merge(empty)
    assert empty.merge(stream).variance == stream.variance
    assert stream.count == 3
    assert stream.variance[0] <= 1e-33
    assert stream.mean == 0.1


@pytest.mark.parametrize("bias", [0.0, 1.0, 1e7, 1e9, 1e100])
def test_equal_biases_do_not_move_the_weights(bias):
    both = est.inverse_variance_weight([1.0, 2.0], [1.0, 3.0], biases=[bias, bias])
    np.testing.assert_allclose(both.weights, [0.75, 0.25], rtol=1e-15)
    np.testing.assert_allclose([both.variance, both.mse], [0.75, 0.75 + bias**2], rtol=1e-14)
    nearly = est.inverse_variance_weight([1.0, 2.0], [1.0, 3.0], biases=[1e9, 1e9 + 1.0])
    # wᵀ(Σ + bbᵀ)w = w² + 3(1 − w)² + (b₁ + (1 − w))², least at w = (3 + 1 + b₁)/(1 + 3 + 1)
    np.testing.assert_allclose(nearly.weights[0], (4.0 + 1e9) / 5.0, rtol=1e-14)


def test_what_has_no_answer_is_refused_by_name():
    with pytest.raises(ShapeError, match="R >= 2"):
        est.decompose_entropy([[[0]], [[1]]])
    with pytest.raises(DataError, match="logits hold probabilities"):
        est.fit_temperature([[0.2, 0.8], [0.6, 0.4], [0.9, 0.1]], [1, 0, 1])
    with pytest.raises(DataError, match="logits hold probabilities"):
        est.apply_temperature([[0.2, 0.8]], 2.0)
    with pytest.raises(DataError, match=r"values up to 1e\+160"):
        est.decompose_variance(np.array([[[1e160, 2e159]], [[0.0, 1.0]]]))


@pytest.mark.parametrize("method", ["single", "multi"])
def test_weigh_refuses_what_is_no_response(method):
    for bad in (np.nan, np.inf):
        with pytest.raises(NotFiniteError, match="responses holds 1 value"):
            weigh(np.array([[[bad, 1.0]]]), method)
    with pytest.raises(ShapeError, match="empty"):
        weigh(np.ones((2, 3, 0)), method)
    with pytest.raises(ShapeError, match="axes"):
        weigh([1.0, 2.0], method)
    assert weigh([[[1, 3]]], method).values.shape == (1, 1)
    with pytest.raises(NotFiniteError, match="second holds"):
        weigh(np.ones((1, 1, 2)) * [1.0, 2.0], "known", second=[np.nan], second_var=1.0, response_var=1.0)
