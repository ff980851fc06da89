"""`calibration_gap` and `share_kept`: exact small cases, simulations of what they must be, and wrong versions that these reject."""

import numpy as np
import pytest

from uqkd import seeds
from uqkd.estimators import gini, gini_from_draws
from uqkd.llm.measuring import estimate
from uqkd.llm.measuring.errors import Graded
from uqkd.llm.measuring.referenced import calibration_gaps
from uqkd.llm.responses import Prompts, Response, Responses

Z = 4.1  # two-sided 4e-5 for each of 24 simulated statements here: 1e-3 for all
DRAWS = 4


def simulated(n, key, *, supported):
    """Graded answers (1, n, R) of distributions q over six answers, of which `supported` says by prompt which are right."""
    rng = seeds.generator("test", "calibration gap", key)
    q = rng.dirichlet(np.full(6, 0.5), size=n)
    right = supported(rng, q)
    edges = q.cumsum(axis=1)
    form = (rng.random((n, DRAWS, 1)) > edges[:, None, :-1]).sum(axis=2)
    return Graded(form[None], np.take_along_axis(right, form, axis=1)[None]), q, right


def one_right(rng, q):
    """The right answer is drawn as the student answers: it is calibrated."""
    return np.arange(6) == (rng.random((len(q), 1)) > q.cumsum(axis=1)[:, :-1]).sum(axis=1, keepdims=True)


def several_right(rng, q):
    """Any two or three answers are right, whatever the student says."""
    return rng.random(q.shape) < 0.4


def expected(q, right):
    """Σ q² over answers, all right ones being one, less the share of right ones."""
    share = (q * right).sum(axis=1)
    return (q**2 * ~right).sum(axis=1) + share**2 - share


WRONG = {
    "pairs of an answer with itself": lambda one: one.wrong - gini_from_draws(merged(one)) * (DRAWS - 1) / DRAWS,
    "right answers apart": lambda one: one.wrong - gini_from_draws(one.form),
    "twice the share": lambda one: 2 * one.wrong - gini_from_draws(merged(one)),
}


def merged(one):
    return np.where(one.supported, 99, one.form)


def z_of(gaps, truth):
    off = gaps[0] - truth
    return off.mean() / (off.std(ddof=1) / np.sqrt(len(off)))


# 20,000 prompts: the spread of one gap is below 0.6, so that of the mean is below .0043 and a bias of .035 is seen with power .9999
# at |z| = 4.1; the wrong versions are off by .09 (a quarter of a Gini variance of some .4), .06 (pairs of right answers that
# differ), and .5.
N = 20_000


def test_a_calibrated_student_has_no_gap_and_wrong_versions_do():
    graded, _, _ = simulated(N, "calibrated", supported=one_right)
    assert abs(z_of(calibration_gaps(graded), 0.0)) < Z
    for name in ("pairs of an answer with itself", "twice the share"):
        assert abs(z_of(WRONG[name](graded), 0.0)) > Z, name


def test_the_gap_is_what_its_definition_says_for_any_answers():
    graded, q, right = simulated(N, "any", supported=several_right)
    truth = expected(q, right)
    assert abs(z_of(calibration_gaps(graded), truth)) < Z
    for name, wrong in WRONG.items():
        assert abs(z_of(wrong(graded), truth)) > Z, name


@pytest.mark.parametrize(
    ("form", "right", "gap"),
    [
        ([0, 0, 0], [False] * 3, 1.0),  # sure and wrong
        ([0, 0, 0], [True] * 3, 0.0),  # sure and right
        ([0, 1, 2], [True] * 3, 0.0),  # three ways to be right are one
        ([0, 1, 2], [False] * 3, 0.0),  # knows that it does not know
        ([0, 0, 1], [True, True, False], 1 / 3 - 2 / 3),
    ],
)
def test_small_cases_by_hand(form, right, gap):
    assert calibration_gaps(Graded(np.array([[form]]), np.array([[right]])))[0, 0] == pytest.approx(gap)


P = np.array([0.4, 0.3, 0.2, 0.1])
K, STUDENTS = 4, 3


def memorisers(n):
    """Students (3, n, 4) that memorise four responses each of P, and a teacher (1, n, 8)."""
    rng = seeds.generator("test", "share kept")
    memory = rng.choice(4, p=P, size=(STUDENTS, n, K))
    drawn = np.take_along_axis(memory, rng.integers(K, size=(STUDENTS, n, DRAWS)), axis=2)
    names = tuple(f"p{i}" for i in range(n))
    words = tuple(Response((i,), word) for i, word in enumerate(("red", "green", "blue", "grey")))
    prompts = Prompts(names, names)
    return Responses(prompts, words, drawn), Responses(prompts, words, rng.choice(4, p=P, size=(1, n, 8)))


def test_students_that_memorise_k_responses_keep_a_kth_less_than_all():
    """T4: intra/G_p = 1 − 1/k = .75. 500 prompts of three students leave a standard error near .015, so that .56, which pairs of
    an answer with itself would give (times 1 − 1/R), is twelve of them off, and 1 − 1/k + 1/k = 1 sixteen."""
    students, teacher = memorisers(500)
    found = estimate(students, teacher)
    kept, error = found.of("share_kept")
    assert abs(kept - (1 - 1 / K)) < Z * error
    assert error < 0.02
    assert kept == pytest.approx(gini_from_draws(students.index).mean() / gini_from_draws(teacher.index[0]).mean())
    for wrong in (kept * (DRAWS - 1) / DRAWS, found.of("kappa")[0], found.of("intra_gini")[0], kept / gini(P)):
        assert abs(wrong - (1 - 1 / K)) > Z * error
    row = found.row("share_kept")
    assert row["low"] < kept < row["high"]


def test_a_share_by_hand():
    words = tuple(Response((i,), word) for i, word in enumerate(("red", "green")))
    prompts = Prompts(("a", "b"), ("a", "b"))
    students = Responses(prompts, words, [[[0, 0], [0, 1]], [[0, 0], [0, 0]]])
    teacher = Responses(prompts, words, [[[0, 1], [0, 0]]])
    assert estimate(students, teacher).of("share_kept")[0] == pytest.approx((1 / 4) / (1 / 2))
