"""Faults 1–8: bad numbers, shapes, variances, designs, types, empty data, negative estimates, unknown options."""

import subprocess
import warnings

import numpy as np
import pytest

from uqkd import errors, seeds
from uqkd import estimators as est
from uqkd.estimators.intervals.mean_squares import chi_square_interval
from uqkd.linear import Design, Teacher, distill, fit_ols, weigh

RNG = seeds.generator("test", "bad input", shared=True)
DRAWS = RNG.standard_normal((4, 3, 5))
PROBS = RNG.dirichlet(np.ones(4), size=(5, 6))
LABELS = RNG.integers(4, size=6)
X, Y = np.column_stack([np.ones(12), RNG.standard_normal((12, 2))]), RNG.standard_normal(12)
K = np.array([1.0, 2.0, 4.0, 8.0])

# Every public estimator with a good argument in one place; a call receives that argument, good or spoilt.
CALLS = {
    "average_responses": (DRAWS[0], lambda a: est.average_responses(a).mean),
    "decompose_variance": (DRAWS, lambda a: est.decompose_variance(a).total),
    "inter_student_variance": (DRAWS, est.inter_student_variance),
    "intra_student_variance": (DRAWS, est.intra_student_variance),
    "variance_of_means": (DRAWS, est.variance_of_means),
    "decompose_gaussian": (DRAWS[:, :, 0], lambda a: est.decompose_gaussian(a, np.ones((4, 3))).total),
    "decompose_categorical": (PROBS, lambda a: est.decompose_categorical(a).total),
    "fit_averaging_law": (1 / K, lambda a: est.fit_averaging_law(K, a, [0.1] * 4).slope),
    "fit_power_law": (1 / K, lambda a: est.fit_power_law(K, a, [0.01] * 4).exponent),
    "inverse_variance_weight": (np.arange(3.0), lambda a: est.inverse_variance_weight(a, [1.0, 2.0, 3.0]).value),
    "blue": (np.arange(3.0), lambda a: est.blue(a, np.eye(3)).value),
    "graybill_deal": (DRAWS[0], lambda a: _quietly(lambda: est.graybill_deal([a, DRAWS[1]]).value)),
    "shrink_variances": (np.arange(1.0, 9.0), lambda a: est.shrink_variances(a, 4).variance),
    "variance_components": (
        np.arange(8.0) ** 2,
        lambda a: est.variance_components({"s": [0, 0, 1, 1, 2, 2, 3, 3], "value": a}, ["s"]).estimate,
    ),
    "variance_interval": (DRAWS, lambda a: est.variance_interval(a, component="inter").low),
    "chi_square_interval": (np.array([1.0, 2.0]), lambda a: chi_square_interval(a, 5).low),
    "bootstrap_interval": (
        DRAWS[0, 0],
        lambda a: est.bootstrap_interval(a, np.mean, generator=seeds.generator("t", shared=True), replicates=99).low,
    ),
    "expected_calibration_error": (PROBS[0], lambda a: est.expected_calibration_error(a, LABELS)),
    "brier_score": (PROBS[0], lambda a: est.brier_score(a, LABELS)),
    "negative_log_likelihood": (PROBS[0], lambda a: est.negative_log_likelihood(a, LABELS)),
    "fit_temperature": (DRAWS[0], lambda a: est.fit_temperature(a, [0, 1, 0]).temperature),
    "fit_ols": (Y, lambda a: fit_ols(X, a).coef),
    "moments": (DRAWS[0], lambda a: est.Moments.about(np.zeros(5)).add(a).variance),
}
LINEAR_IN_INPUT = {"average_responses": 1, "inverse_variance_weight": 1, "blue": 1, "fit_ols": 1, "graybill_deal": None}
QUADRATIC = {"decompose_variance", "inter_student_variance", "intra_student_variance", "variance_of_means", "moments"}


def _quietly(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.FewResponsesWarning)
        return call()


@pytest.mark.parametrize("name", CALLS)
def test_the_good_argument_is_accepted(name):
    good, call = CALLS[name]
    assert np.isfinite(np.asarray(call(good))).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", CALLS)
def test_01_not_finite_is_named_with_its_place_and_count(name, bad):
    good, call = CALLS[name]
    spoilt = np.array(good, dtype=float)
    spoilt.flat[2 % spoilt.size] = bad
    spoilt.flat[-1] = bad
    place = np.unravel_index(int(np.argmin(np.isfinite(spoilt))), spoilt.shape)
    with pytest.raises(errors.NotFiniteError) as caught:
        call(spoilt)
    text = str(caught.value)
    count = int((~np.isfinite(spoilt)).sum())
    assert f"{count} value" in text
    assert str(place[0] if len(place) == 1 else tuple(int(i) for i in place)) in text


@pytest.mark.parametrize(
    ("shape", "letter"),
    [((1, 3, 5), "S >= 2"), ((4, 3, 1), "R >= 2"), ((4, 3), "(S, P, R)"), ((4, 3, 5, 2, 2), "(S, P, R)")],
)
@pytest.mark.parametrize("call", [est.decompose_variance, est.inter_student_variance])
def test_02_shapes_are_named(call, shape, letter):
    with pytest.raises(errors.ShapeError) as caught:
        call(np.ones(shape))
    assert letter in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: est.graybill_deal([np.ones((3, 1)), DRAWS[0]]),
        lambda: est.graybill_deal([np.ones((3, 4)), DRAWS[0]]),
        lambda: est.inverse_variance_weight([1.0, 2.0], [1.0, 0.0]),
        lambda: est.inverse_variance_weight([1.0, 2.0], [1.0, -1.0]),
        lambda: est.blue([1.0, 2.0], [[1.0, 1.0], [1.0, 1.0]]),
        lambda: weigh(DRAWS[:, :, :1], "estimated", second=np.zeros(3), second_var=1.0),
        lambda: weigh(np.ones((2, 3, 4)), "estimated", second=np.zeros(3), second_var=1.0),
        lambda: weigh(DRAWS, "known", second=np.zeros(3), second_var=1.0, response_var=0.0),
    ],
)
def test_03_variances_that_cannot_weigh_are_an_error(call):
    with pytest.raises(errors.VarianceError):
        call()


def test_03_few_responses_warn_with_the_factor_and_report_the_plain_average():
    with pytest.warns(errors.FewResponsesWarning, match=r"1\.2 times"):
        both = est.graybill_deal([DRAWS[0], DRAWS[1]])  # k = 5: (k + 1)/k
    np.testing.assert_allclose(both.plain, (DRAWS[0].mean(axis=1) + DRAWS[1].mean(axis=1)) / 2, rtol=1e-12)
    enough = RNG.standard_normal((2, 3, 16))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        est.graybill_deal(list(enough))


@pytest.mark.parametrize(
    "design",
    [
        np.column_stack([X, X[:, 1]]),
        np.column_stack([X, X[:, 1] * (1 + 1e-14)]),
        np.column_stack([X, np.full(12, 2.0)]),
        X[:3],
        np.column_stack([X, np.zeros(12)]),
    ],
    ids=["repeated column", "nearly repeated column", "second constant column", "n <= p", "zero column"],
)
def test_04_unusable_designs_are_an_error_in_teacher_and_student(design):
    for call in (lambda: fit_ols(design, Y[: len(design)]), lambda: Design.of(design)):
        with pytest.raises(errors.RankError, match=r"column|rows"):
            call()


def test_04_no_inverse_of_the_normal_equations_in_the_code():
    """QR and SVD only: no `inv` anywhere in the package."""
    found = subprocess.run(
        ["grep", "-rnE", r"linalg\.inv\(|linalg import .*\binv\b", "uqkd"], capture_output=True, text=True
    )
    assert found.returncode == 1, found.stdout


# float16 rows of probabilities do not sum to one within float64's tolerance; their own tests cover low precision
PROBABILITIES = {"decompose_categorical", "brier_score", "negative_log_likelihood", "expected_calibration_error"}


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("name", [n for n in CALLS if n not in PROBABILITIES])
def test_05_low_precision_input_is_computed_in_float64(name, dtype):
    """The result on rounded input equals the result on the same numbers in float64, bit for bit."""
    good, call = CALLS[name]
    rounded = np.asarray(good).astype(dtype)
    np.testing.assert_array_equal(np.asarray(call(rounded)), np.asarray(call(rounded.astype(np.float64))))


# fourth powers of the streaming moments leave float64 beyond 10^±77
SCALES = [
    (n, p)
    for n in [*LINEAR_IN_INPUT, *sorted(QUADRATIC)]
    for p in (-140, -20, 20, 140)
    if n != "moments" or abs(p) < 70
]


@pytest.mark.parametrize(("name", "power"), SCALES)
def test_05_scale_equivariance(name, power):
    """c·input gives c·result (or c²): to 1e-12."""
    good, call = CALLS[name]
    scale = 10.0**power
    if name == "graybill_deal":
        base = _quietly(lambda: est.graybill_deal([good, DRAWS[1]]).value)
        scaled = _quietly(lambda: est.graybill_deal([good * scale, DRAWS[1] * scale]).value)
        np.testing.assert_allclose(scaled, base * scale, rtol=1e-12)
        return
    expected = np.asarray(call(good)) * (scale if name in LINEAR_IN_INPUT else scale**2)
    np.testing.assert_allclose(np.asarray(call(np.asarray(good) * scale)), expected, rtol=1e-12)


@pytest.mark.parametrize("name", sorted(QUADRATIC - {"moments"}))
def test_05_a_large_offset_keeps_its_digits(name):
    """1e8 + small, in two passes: inputs are rounded to 1.5e-8, so results move by about 1e-7 of a unit variance."""
    good, call = CALLS[name]
    np.testing.assert_allclose(call(good + 1e8), call(good), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CALLS)
def test_06_empty_data_is_an_error(name):
    good, call = CALLS[name]
    with pytest.raises(errors.UqkdError):
        call(np.empty((0, *np.shape(good)[1:])))


def test_06_one_class_is_an_error():
    with pytest.raises(errors.ShapeError, match="C >= 2"):
        est.decompose_categorical(np.ones((2, 3, 1)))
    with pytest.raises(errors.UqkdError):
        est.expected_calibration_error(np.ones((3, 1)), [0, 0, 0])


def test_07_negative_estimates_are_returned_and_averaged_as_they_are():
    alike = np.array([[[1.0, 3.0], [0.0, 2.0]], [[1.0, 3.0], [2.0, 4.0]]])
    parts = est.decompose_variance(alike)
    assert parts.inter[0] == -1.0
    assert parts.mean.inter == parts.inter.mean()
    interval = est.variance_interval(alike, component="inter")
    assert interval.estimate[0] == -1.0
    assert interval.low[0] <= -1.0


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda: fit_ols(X, Y, rank="ful"), "did you mean 'full'"),
        (lambda: weigh(DRAWS, "singel"), "did you mean 'single'"),
        (lambda: distill(Design.of(X), weigh(np.ones((1, 12, 2))), head="carry"), "did you mean 'carried'"),
        (lambda: est.variance_interval(DRAWS, component="intr"), "did you mean 'int"),
        (lambda: est.expected_calibration_error(PROBS[0], LABELS, binning="equal_widht"), "did you mean 'equal_width'"),
        (lambda: est.graybill_deal([DRAWS[0], DRAWS[1]], variances="pool"), "did you mean 'pooled'"),
    ],
)
def test_08_unknown_options_name_the_nearest(call, hint):
    with pytest.raises(errors.OptionError) as caught:
        call()
    assert hint in str(caught.value)
    assert "Valid: " in str(caught.value)


def test_an_error_is_raised_before_any_draw():
    """Bad options are refused before expensive work: no generator is made."""
    with seeds.ledger() as used, pytest.raises(errors.OptionError):
        Teacher(np.zeros(3), 1.0).respond(X, 0, students=2, key=("never",))
    assert not used.uses


@pytest.mark.parametrize(
    "call", [lambda: est.decompose_variance(np.ones((1, 2, 3))), lambda: est.graybill_deal([np.ones(3), np.ones(3)])]
)
def test_every_error_is_one_line(call):
    with pytest.raises(errors.UqkdError) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1
