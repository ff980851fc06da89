"""Weighing, distilling and predicting with linear students."""

import numpy as np
import pytest

from uqkd import seeds
from uqkd.errors import FewResponsesWarning, OptionError, RankError, ShapeError, VarianceError
from uqkd.estimators import shrink_variances
from uqkd.linear import Design, Students, Teacher, bootstrap, bootstrap_students, distill, fit_ols, weigh

X = np.column_stack([np.ones(9), np.linspace(-1, 1, 9), np.linspace(-1, 1, 9) ** 2])
DESIGN = Design.of(X)
RESPONSES = Teacher(np.array([1.0, 2.0, -1.0]), 0.5).respond(X, 4, students=6, key=("test", "students"))


def test_every_student_equals_its_own_least_squares_fit():
    students = distill(DESIGN, weigh(RESPONSES))
    for coef, responses in zip(students.coef, RESPONSES, strict=True):
        np.testing.assert_allclose(coef, fit_ols(X, responses.mean(axis=1)).coef, rtol=1e-11)


def test_averaging_and_training_on_all_responses_give_the_same_coefficients():
    stacked = np.repeat(X, 4, axis=0)
    students = distill(DESIGN, weigh(RESPONSES, "multi"))
    for coef, responses in zip(students.coef, RESPONSES, strict=True):
        np.testing.assert_allclose(coef, fit_ols(stacked, responses.reshape(-1)).coef, rtol=1e-11)


def test_heads_equal_the_residual_variances_of_separate_fits():
    stacked, targets = np.repeat(X, 4, axis=0), weigh(RESPONSES)
    heads = {
        head: distill(DESIGN, targets, head=head).head_var for head in ("point", "targets", "responses", "carried")
    }
    for s, responses in enumerate(RESPONSES):
        assert heads["point"][s] == 0
        np.testing.assert_allclose(heads["targets"][s], fit_ols(X, responses.mean(axis=1)).residual_var, rtol=1e-11)
        np.testing.assert_allclose(
            heads["responses"][s], fit_ols(stacked, responses.reshape(-1)).residual_var, rtol=1e-11
        )
        np.testing.assert_allclose(heads["carried"][s], responses.var(axis=1, ddof=1).mean(), rtol=1e-12)


def test_leverage():
    np.testing.assert_allclose(DESIGN.leverage.sum(), 3, rtol=1e-13)
    np.testing.assert_allclose(DESIGN.leverage_at(X), DESIGN.leverage, rtol=1e-12)


def test_weights_by_hand():
    responses = np.array([[[1.0, 3.0]]])  # mean 2, variance 2 (ddof 1) or 1 (ddof 0)
    source, var = np.array([5.0]), 3.0
    single = weigh(responses, "single")
    np.testing.assert_array_equal(single.values, [[1.0]])
    np.testing.assert_array_equal(single.responses, [[[1.0]]])  # the others were never drawn: no head may see them
    known = weigh(responses, "known", second=source, second_var=var, response_var=2.0)
    np.testing.assert_allclose(known.weights, [[0.75]])  # 3 / (2/2 + 3)
    np.testing.assert_allclose(known.values, [[0.75 * 2 + 0.25 * 5]])
    with pytest.warns(FewResponsesWarning, match=r"k=2 .* 1\.38 times"):
        estimated = weigh(responses, "estimated", second=source, second_var=var)
    np.testing.assert_allclose(estimated.weights, [[0.75]])  # s²/k = 1
    oracle = weigh(responses, "oracle", second=source, second_var=var)
    np.testing.assert_allclose(oracle.weights, [[0.75]])  # s₀² = 1, the variance of one response


def test_shrunk_weights_stand_for_variances_that_are_less_unlike():
    source, var = np.zeros(9), 0.1
    with pytest.warns(FewResponsesWarning):
        own = weigh(RESPONSES, "estimated", second=source, second_var=var).weights
    shrunk = weigh(RESPONSES, "shrunk", second=source, second_var=var).weights
    behind = [4 * var * (1 / weights - 1) for weights in (own, shrunk)]  # a weight is var/(v/4 + var)
    np.testing.assert_allclose(behind[0], RESPONSES.var(axis=2, ddof=1), rtol=1e-12)
    assert (np.ptp(np.log(behind[1]), axis=1) < np.ptp(np.log(behind[0]), axis=1)).all()
    assert (behind[1].argsort(axis=1) == behind[0].argsort(axis=1))[np.ptp(behind[1], axis=1) > 0].all()


def test_shrunk_weights_by_hand():
    """Each student's prompts shrink among themselves, on k − 1 degrees of freedom; then v/k against the source's."""
    source, var = np.zeros(9), 0.1
    weights = weigh(RESPONSES, "shrunk", second=source, second_var=var).weights
    for seen, responses in zip(weights, RESPONSES, strict=True):
        own = shrink_variances(responses.var(axis=1, ddof=1), 3).expected_variance / 4
        np.testing.assert_allclose(seen, var / (own + var), rtol=1e-13)


def test_few_responses_warn_up_to_fifteen():
    many = Teacher(np.zeros(3), 0.5).respond(X, 16, students=1, key=("test", "many"))
    with pytest.warns(FewResponsesWarning, match="k=15"):
        weigh(many[:, :, :15], "estimated", second=np.zeros(9), second_var=0.1)
    weigh(many, "estimated", second=np.zeros(9), second_var=0.1)  # a warning would be an error here


def test_weighing_refuses_what_it_cannot_estimate():
    with pytest.raises(VarianceError, match="k >= 2"):
        weigh(RESPONSES[:, :, :1], "estimated", second=np.zeros(9), second_var=1.0)
    with pytest.raises(VarianceError, match="second_var must be given and positive"):
        weigh(RESPONSES, "known", second=np.zeros(9), second_var=0.0, response_var=1.0)
    with pytest.raises(VarianceError, match="does not vary"):
        weigh(np.ones((1, 2, 3)), "oracle", second=np.zeros(2), second_var=1.0)
    with pytest.raises(OptionError, match="pass second= and second_var="):
        weigh(RESPONSES, "known")
    with pytest.raises(OptionError, match="did you mean 'average'"):
        weigh(RESPONSES, "averge")
    with pytest.raises(VarianceError, match="k >= 2"):
        distill(DESIGN, weigh(RESPONSES[:, :, :1]), head="carried")


def test_distill_refuses_targets_of_another_design():
    with pytest.raises(ShapeError, match="4 prompts but a design of 9 rows"):
        distill(DESIGN, weigh(RESPONSES[:, :4]))


def test_draws_have_the_students_means_and_variances():
    students = Students(np.array([[1.0], [2.0]]), np.array([0.0, 9.0]))
    draws = students.predict([[3.0]], 4, key=("test", "draws"))
    np.testing.assert_array_equal(draws[0, 0], np.full(4, 3.0))
    assert draws.shape == (2, 1, 4)
    assert len(np.unique(draws[1, 0])) == 4


def test_bootstrap_students_equal_separate_fits_on_the_same_rows():
    y = RESPONSES[0, :, 0]
    students = bootstrap_students(X, y, drawn=12, students=5, key=("test", "bootstrap"))
    rows = seeds.generator("test", "bootstrap", 0, shared=True).integers(9, size=(5, 12))
    for coef, index in zip(students.coef, rows, strict=True):
        np.testing.assert_allclose(coef, fit_ols(X[index], y[index]).coef, rtol=1e-9)


def test_bootstrap_students_do_not_depend_on_the_blocks_they_are_solved_in(monkeypatch):
    y, options = RESPONSES[0, :, 0], {"drawn": 12, "students": 5, "key": ("test", "bootstrap")}
    whole = bootstrap_students(X, y, **options)
    monkeypatch.setattr(bootstrap, "BLOCK_VALUES", 2 * 12 * 3)  # two students at a time
    np.testing.assert_array_equal(bootstrap_students(X, y, **options).coef, whole.coef)


def test_noise_free_labels_make_every_bootstrap_student_the_teacher():
    """T9: variance 0 to rounding; 1e-12 is 1e3 times eps times the condition number of the resamples."""
    coef = np.array([1.0, 2.0, -1.0])
    students = bootstrap_students(X, X @ coef, drawn=30, students=200, key=("test", "noise-free"))
    assert np.abs(students.coef - coef).max() < 1e-12


def test_deficient_resamples_are_an_error_or_counted():
    with pytest.raises(RankError, match=r"\d+ of 200 resamples of 4 rows"):
        bootstrap_students(X, X[:, 1], drawn=4, students=200, key=("test", "few"))
    kept = bootstrap_students(X, X[:, 1], drawn=4, students=200, key=("test", "few"), deficient="exclude")
    assert 0 < len(kept.coef) < 200
    with pytest.raises(OptionError, match="drawn > q=3"):
        bootstrap_students(X, X[:, 1], drawn=3, students=2, key=("test", "few"))
