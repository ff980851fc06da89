"""T12 by hand: variances against the covariance matrix of all answers written out, the square-root rule against all designs."""

from itertools import product

import numpy as np
import pytest

from uqkd.errors import OptionError
from uqkd.estimators import inter_student_variance
from uqkd.theory.statements.planning import (
    divisor,
    inter_variance,
    mean_variance,
    sources_of,
    square_root_rule,
    student_parts,
)

TRUE = {
    "prompt": 2.0, "teacher": 3.0, "initialisation": 0.7, "teacher:initialisation": 0.4, "prompt:teacher": 4.0,
    "prompt:initialisation": 1.0, "prompt:teacher:initialisation": 0.3, "decoding": 5.0, "decoding:teacher": -2.0,
}  # fmt: skip
K, S, R, P = 3, 4, 2, 5
SIZE = {"k": K, "students": S, "draws": R, "prompts": P}


def covariance(components, *, shared=(), fixed=False):
    """Of all answers (s, p, r): each effect is a sum of independent draws, one for each combination of levels of its sources.

    A teacher's effect is the mean of those of its K responses, so that it is drawn K times.
    """
    answers = list(product(range(S), range(P), range(R)))
    total = np.zeros((len(answers), len(answers)))
    for effect, variance in components.items():
        names = effect.split(":")
        if "decoding" in names:
            total += np.eye(len(answers)) * variance / (K if "teacher" in names else 1)
            continue
        if fixed and names == ["prompt"]:
            continue
        columns: dict = {}
        loading = []
        for s, p, _ in answers:
            levels = tuple(p if name == "prompt" else 0 if name in shared else s for name in names)
            each = range(K) if "teacher" in names else range(1)
            loading.append({columns.setdefault((levels, j), len(columns)): 1.0 / len(each) for j in each})
        Z = np.zeros((len(answers), len(columns)))
        for row, entries in enumerate(loading):
            for column, weight in entries.items():
                Z[row, column] = weight
        total += variance * Z @ Z.T
    return total


@pytest.mark.parametrize("shared", [(), ("teacher",), ("initialisation",), ("teacher", "initialisation")])
@pytest.mark.parametrize("fixed", [False, True])
def test_the_variance_of_the_mean_is_that_of_the_covariance_matrix(shared, fixed):
    by_hand = covariance(TRUE, shared=shared, fixed=fixed).mean()  # wᵀΣw, all weights 1/n
    assert mean_variance(TRUE, **SIZE, shared=shared, fixed_prompts=fixed) == pytest.approx(by_hand, rel=1e-12)


def quadratic_form():
    """M of the reported inter-student variance yᵀMy, read off the estimator itself, two answers at a time."""
    units = np.eye(S * P * R)

    def report(y):
        return float(inter_student_variance(y.reshape(S, P, R)).mean())

    alone = np.array([report(e) for e in units])
    return (np.array([[report(a + b) for b in units] for a in units]) - alone[:, None] - alone[None, :]) / 2.0


def test_the_variance_of_the_inter_student_variance_is_that_of_the_quadratic_form():
    """Var yᵀMy = 2 tr (MΣ)² for normal y."""
    by_hand = 2.0 * np.trace(np.linalg.matrix_power(quadratic_form() @ covariance(TRUE), 2))
    assert inter_variance(TRUE, **SIZE) == pytest.approx(by_hand, rel=1e-10)


def test_prompts_at_which_students_differ_more_or_less():
    """Prompts of two kinds, B 1 or 6, each as likely: all 2^P samples gone through. Var = E Var + Var E."""
    M, same, own = quadratic_form(), covariance({"student": 0.5, "decoding": 3.0}), covariance({"prompt:student": 1.0})
    place = np.arange(S * P * R) // R % P

    def form(kinds):
        scale = np.sqrt(np.array(kinds)[place])
        return M @ (same + own * np.outer(scale, scale))

    every = [form(kinds) for kinds in product((1.0, 6.0), repeat=P)]
    by_hand = np.mean([2.0 * np.trace(f @ f) for f in every]) + np.var([np.trace(f) for f in every])
    parts = {"student": 0.5, "prompt:student": 3.5, "decoding": 3.0}
    assert inter_variance(parts, **SIZE, spread=2.5**2) == pytest.approx(by_hand, rel=1e-10)
    these = form([1.0, 6.0, 6.0, 1.0, 1.0])  # B of mean 3 and variance 6
    fixed = inter_variance({**parts, "prompt:student": 3.0}, **SIZE, spread=6.0, fixed_prompts=True)
    assert fixed == pytest.approx(2.0 * np.trace(these @ these), rel=1e-10)


def test_the_parts_of_a_student_are_what_the_estimator_expects():
    """E inter = A + B: tr MΣ, by the covariance of two answers of one student less that of two students."""
    common, own = student_parts(TRUE, K)
    sigma = covariance({name: value for name, value in TRUE.items() if name != "prompt"})
    same_prompt, other_prompt = sigma[0, 1], sigma[0, R]  # two answers of student 0: to prompt 0; to prompts 0 and 1
    assert common == pytest.approx(other_prompt, rel=1e-12)
    assert common + own == pytest.approx(same_prompt, rel=1e-12)


def test_arrays_of_designs_are_numbers_one_by_one():
    sizes = {"k": np.array([1, 2]), "students": np.array([[2], [3]]), "draws": 2, "prompts": 7}
    both = mean_variance(TRUE, **sizes)
    assert both.shape == (2, 2)
    assert both[1, 0] == mean_variance(TRUE, k=1, students=3, draws=2, prompts=7)


@pytest.mark.parametrize(("between", "within", "outer", "inner"), [(1.0, 4.0, 9.0, 1.0), (0.3, 2.0, 50.0, 0.7)])
def test_the_rule_of_nested_levels_is_the_best_of_all(between, within, outer, inner):
    """(between + within/n)/m at m(outer + n·inner) = 1, over a fine grid of n: the grid's step bounds the difference."""
    n = np.linspace(0.01, 40.0, 400_000)
    variance = (between + within / n) * (outer + n * inner)
    assert square_root_rule(between, within, outer, inner) == pytest.approx(n[variance.argmin()], abs=2e-4)


def test_the_rule_of_crossed_levels_is_the_best_of_all():
    """v/S + w/P at S·a + P·b = 1."""
    v, w, a, b = 0.2, 3.0, 100.0, 0.5
    S_share = np.linspace(1e-4, 1 - 1e-4, 1_000_001)  # of the budget
    students, prompts = S_share / a, (1 - S_share) / b
    at = (v / students + w / prompts).argmin()
    assert square_root_rule(v, w, a, b) == pytest.approx(prompts[at] / students[at], rel=1e-4)


def test_what_is_no_source_is_refused_by_name():
    with pytest.raises(OptionError, match="did you mean 'teacher'"):
        divisor("teecher", **SIZE)
    for effect in ("prompt:prompt", "decoding:prompt"):
        with pytest.raises(OptionError, match="different sources"):
            sources_of(effect)
    with pytest.raises(OptionError, match="second_cost=0"):
        square_root_rule(1.0, 1.0, 1.0, 0.0)
