"""Gini variances and distances from draws: by hand, against one-hot rows, by exact enumeration, by simulation."""

import itertools

import numpy as np
import pytest

from uqkd import seeds
from uqkd.errors import DataError, ShapeError, VarianceError
from uqkd.estimators import decompose_variance, gini
from uqkd.estimators.answers.agreement import agreement_with, cross_agreement, decompose_agreement, gini_from_draws
from uqkd.estimators.answers.counting import ranked
from uqkd.estimators.answers.distance import conservation_from_draws, squared_distance

P = np.array([0.5, 0.3, 0.2])
Q = np.array([0.2, 0.2, 0.6])
# |z| above this has probability 4e-6 under a true statement; some 20 simulated statements here share less than 1e-4.
Z = 4.6


def z_of(values, truth):
    return (values.mean() - truth) / (values.std(ddof=1) / np.sqrt(len(values)))


def law(probs, n):
    """Every sequence of n draws with its probability."""
    for draws in itertools.product(range(len(probs)), repeat=n):
        yield np.array(draws), float(np.prod(probs[list(draws)]))


def students(n, key, *, responses=3, shared=False):
    """(4, n, R) draws of students that say a memorised answer of P half the time and Q's otherwise."""
    rng = seeds.generator("test", "agreement", *key)
    memory = rng.choice(3, p=P, size=(1 if shared else 4, n, 1))
    fresh, from_memory = rng.choice(3, p=Q, size=(4, n, responses)), rng.random((4, n, responses)) < 0.5
    return np.where(from_memory, memory, fresh)


@pytest.mark.parametrize("shape", [(2, 7, 2), (5, 3, 6), (3, 400, 4)])
def test_equals_the_decomposition_of_one_hot_rows(shape):
    draws = seeds.generator("test", "onehot", *shape).integers(6, size=shape)
    ours, theirs = decompose_agreement(draws * 1000 - 7), decompose_variance(np.eye(6)[draws])
    for name in ("inter", "intra", "total", "per_student_inter", "per_student_intra"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-12, atol=1e-14)
    if shape[0] > 2:
        assert ours.mean.total_se == pytest.approx(theirs.mean.total_se, rel=1e-10)


def test_is_what_agreements_say():
    draws = students(5, ("pairs",))
    parts = decompose_agreement(draws)
    for p in range(5):
        own = [draws[s, p, i] != draws[s, p, j] for s in range(4) for i, j in itertools.combinations(range(3), 2)]
        across = [a != b for s, t in itertools.combinations(range(4), 2) for a in draws[s, p] for b in draws[t, p]]
        assert parts.intra[p] == pytest.approx(np.mean(own))
        assert parts.total[p] == pytest.approx(np.mean(across))


def test_blocks_of_prompts_change_nothing(monkeypatch):
    draws = students(50, ("blocks",))
    whole = decompose_agreement(draws)
    monkeypatch.setattr("uqkd.estimators.answers.counting.BLOCK_VALUES", 200)
    np.testing.assert_array_equal(whole.per_student_inter, decompose_agreement(draws).per_student_inter)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_gini_is_unbiased_by_enumeration(k):
    expected = sum(chance * float(gini_from_draws(draws)) for draws, chance in law(P, k))
    plug_in = sum(chance * float(gini(np.bincount(draws, minlength=3) / k)) for draws, chance in law(P, k))
    assert expected == pytest.approx(float(gini(P)), rel=1e-12)
    assert plug_in == pytest.approx(float(gini(P)) * (1 - 1 / k), rel=1e-12)  # the wrong version, and by how much


def test_agreements_are_unbiased_by_enumeration():
    across = sum(a * b * float(cross_agreement(x, y)) for x, a in law(P, 2) for y, b in law(Q, 3))
    known = sum(a * float(agreement_with(x[None, None], P[None])[0, 0]) for x, a in law(Q, 3))
    assert across == pytest.approx(P @ Q, rel=1e-12)
    assert known == pytest.approx(P @ Q, rel=1e-12)


@pytest.mark.parametrize("against", ["draws", "probs"])
def test_squared_distance_is_unbiased_by_enumeration(against):
    """Two students, both of law Q, two draws each; the teacher P. E‖q − p‖² = bias² = ‖Q − P‖², inter 0."""
    found = {"mean_square": 0.0, "bias_square": 0.0, "inter": 0.0}
    others = list(law(P, 2)) if against == "draws" else [(None, 1.0)]
    for x, a in law(Q, 4):
        for y, b in others:
            how = {"teacher": y[None]} if y is not None else {"probs": P[None]}
            parts = squared_distance(x.reshape(2, 1, 2), **how)
            for name in found:
                found[name] += a * b * float(getattr(parts, name)[0])
    truth = float(((Q - P) ** 2).sum())
    assert found == pytest.approx({"mean_square": truth, "bias_square": truth, "inter": 0.0}, rel=1e-12, abs=1e-15)


def test_components_and_distance_by_simulation():
    """Memory m ~ P, q = ½·onehot(m) + ½·Q: inter = G_P/4, bias² = ‖Q − P‖²/4, intra = 1 − E‖q‖²."""
    n = 20_000
    draws, teacher = students(n, ("simulated",)), seeds.generator("test", "teacher").choice(3, p=P, size=(n, 4))
    inter, bias = float(gini(P)) / 4, float(((Q - P) ** 2).sum()) / 4
    norm = 0.25 + 0.5 * float(P @ Q) + 0.25 * float(Q @ Q)
    parts, far = decompose_agreement(draws), squared_distance(draws, teacher=teacher)
    for values, truth in (
        (parts.inter, inter),
        (parts.intra, 1 - norm),
        (parts.total, inter + 1 - norm),
        (far.bias_square, bias),
        (far.mean_square, bias + inter),
    ):
        assert abs(z_of(values, truth)) < Z
    # Wrong versions: pairs with themselves, the plug-in inter, memories shared by all students, bias not corrected.
    assert abs(z_of(parts.intra * 2 / 3, 1 - norm)) > Z
    assert abs(z_of(parts.inter + parts.intra / 3, inter)) > Z
    assert abs(z_of(decompose_agreement(students(n, ("wrong",), shared=True)).inter, inter)) > Z
    assert abs(z_of(far.mean_square, bias)) > Z
    own_draws = squared_distance(draws, teacher=draws[0]).mean_square  # a student's own answers taken for the teacher's
    assert abs(z_of(own_draws, bias + inter)) > Z


def test_pseudo_values_average_to_the_estimates_and_are_the_jackknife():
    draws, teacher = students(6, ("jackknife",)), students(6, ("jackknife teacher",))[0]
    far = squared_distance(draws, teacher=teacher)
    np.testing.assert_allclose(far.per_student.mean(axis=0), far.mean_square)
    np.testing.assert_allclose(far.per_student_bias.mean(axis=0), far.bias_square)
    without = squared_distance(np.delete(draws, 1, axis=0), teacher=teacher)
    np.testing.assert_allclose(far.per_student_bias[1], 4 * far.bias_square - 3 * without.bias_square, atol=1e-12)


def test_standard_errors_are_those_of_the_means():
    """400 repetitions of 60 prompts: sd of the mean against its stated error; a ratio from 400 is known to 3.5 %, four of it.
    Students are unrelated over prompts here, so the stated error of the mean square may be 5 % high (it takes the greater of
    two estimates). That of the bias is safe, and up to √2 too large: a jackknife doubles the variance of the products of
    different students' deviations, which is nearly all there is where the bias is small."""
    found = []
    for i in range(400):
        found.append(squared_distance(students(60, ("se", i)), probs=np.tile(P, (60, 1))).mean())
    mean, error, bias, bias_error = np.array(found).T
    ratio, bias_ratio = (np.sqrt((e**2).mean()) / m.std(ddof=1) for m, e in ((mean, error), (bias, bias_error)))
    assert abs(ratio - 1) < 4 * 0.035 + 0.05
    assert 1 - 4 * 0.035 < bias_ratio < np.sqrt(2) * (1 + 4 * 0.035)


def test_conservation_by_simulation():
    """Students that memorise one answer of the teacher: κ = 1. Sharpened ones lie below, whatever their number."""
    n = 4_000
    rng = seeds.generator("test", "conservation")
    right = np.repeat(rng.choice(3, p=P, size=(4, n, 1)), 3, axis=2)
    sharp = np.repeat(rng.choice(3, p=P**2 / (P @ P), size=(4, n, 1)), 3, axis=2)
    teacher = rng.choice(3, p=P, size=(n, 4))
    for how in ({"teacher": teacher}, {"probs": np.tile(P, (n, 1))}):
        kappa, error = conservation_from_draws(right, **how)
        assert abs(kappa - 1) < Z * error
        wrong, error = conservation_from_draws(sharp, **how)
        assert abs(wrong - 1) > Z * error
    alike = decompose_agreement(np.broadcast_to(teacher[:, :3], (4, n, 3)))  # one memory for all: nothing between them
    assert abs(z_of(alike.total, float(gini(P)))) > Z


def test_answers_outside_the_known_ones_have_probability_zero():
    np.testing.assert_allclose(agreement_with([[[0, -1, 3, 2]]], P[None]), [[(0.5 + 0.2) / 4]])


def test_ranks_are_within_prompts():
    draws = np.array([[[30, 30], [5, 9]], [[10, 30], [9, 9]]])
    np.testing.assert_array_equal(ranked(draws), [[[1, 1], [0, 1]], [[0, 1], [1, 1]]])


def test_bad_input():
    with pytest.raises(ShapeError, match=r"needs S >= 2; got S=1 in shape \(1, 2, 3\)"):
        decompose_agreement(np.ones((1, 2, 3), dtype=int))
    with pytest.raises(ShapeError, match="needs R >= 2"):
        decompose_agreement(np.ones((2, 2, 1), dtype=int))
    with pytest.raises(ShapeError, match=r"axes \(S, P, R\)"):
        decompose_agreement(np.ones((2, 2), dtype=int))
    with pytest.raises(DataError, match="dtype float64"):
        decompose_agreement(np.ones((2, 2, 2)))
    with pytest.raises(ShapeError, match="k >= 2"):
        gini_from_draws([[1]])
    draws = np.zeros((2, 2, 2), dtype=int)
    with pytest.raises(DataError, match="pass one"):
        squared_distance(draws)
    with pytest.raises(DataError, match="pass one"):
        squared_distance(draws, teacher=draws[0], probs=[P, P])
    with pytest.raises(ShapeError, match="P=2"):
        squared_distance(draws, probs=[P])
    with pytest.raises(ShapeError, match="P=2 rows"):
        squared_distance(draws, teacher=[[1, 1]])
    with pytest.raises(VarianceError, match="nothing to share"):
        conservation_from_draws(draws, teacher=draws[0])
