"""Measures of classifiers on mixed rows and on test rows, against plain NumPy; zero for what is linear."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import optimize, special
from torch import nn

from uqkd import seeds
from uqkd.classify import Classifiers, Teacher, against_teacher, measure_mixup, mixed_rows, perceptron
from uqkd.classify.measure import ROUNDING, MixedRows
from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError
from uqkd.stacked import stack
from uqkd.testbeds.classification import performance
from uqkd.testbeds.tables import tidy

KEY = ("test", "on pairs")
P, D, C, S = 30, 4, 3, 2
X = seeds.generator(*KEY, "X").standard_normal((P, D))
LABELS = seeds.generator(*KEY, "labels").integers(C, size=P)
# divergences and entropies of size 1 in double, of probabilities that are the same to the bit
EXACT = {"rtol": 1e-12, "atol": 1e-13}


def classifiers(students=S, *, scale=3.0, factory=lambda: perceptron(D, C, hidden=(6,)), name="students"):
    """Classifiers as they begin, with larger weights: logits of size 2."""
    model = stack(factory, students, key=(*KEY, name)).eval()
    model.load({name: scale * value for name, value in model.parameters_by_name().items()})
    return Classifiers(model, np.full(students, -1), np.zeros(students))


@pytest.fixture(scope="module")
def students():
    return classifiers()


@pytest.fixture(scope="module")
def teacher():
    return Teacher.of(classifiers(1, name="teacher").alone(0), temperature=1.7)


@pytest.fixture(scope="module")
def rows():
    return mixed_rows(X, LABELS, classes=C, key=KEY)


def h(p):
    return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0).sum(axis=-1)


def kl(p, q):
    return np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0) / q), 0.0).sum(axis=-1)


# -------------------------------------------------------------------------------------------------------------- linear


class LinearInProbability(nn.Module):
    """p(x) = Wx for rows x on the simplex: a mixture of C-distributions, linear between any two rows."""

    def __init__(self, bend=0.0):
        super().__init__()
        self.layer, self.bend = nn.Linear(D, C, bias=False), bend
        with torch.no_grad():
            self.layer.weight.copy_(torch.as_tensor(seeds.generator(*KEY, "W").dirichlet(np.ones(C), D).T))

    def forward(self, x):
        return (1.0 + self.bend) * self.layer(x).log()


SIMPLEX = seeds.generator(*KEY, "simplex").dirichlet(np.ones(D), P)


def test_a_classifier_that_is_linear_in_probability_has_no_nonlinearity():
    """Single precision, 6e-8 of probabilities: divergences are their square, 1e-14 and less."""
    rows = mixed_rows(SIMPLEX, LABELS, classes=C, key=KEY)
    straight, bent = (measure_mixup(Teacher.of(LinearInProbability(bend)), rows) for bend in (0.0, 2.0))
    assert np.abs(straight.per_pair).max() < 1e-11
    assert abs(straight.nonlinearity[0]) < 1e-11
    assert abs(straight.feature_linearity[0] - 1.0) < 1e-12  # its features are the rows themselves
    assert bent.nonlinearity[0] > 1e-3


def test_mixing_nothing_has_no_nonlinearity_and_the_wrong_partner_has(students, rows):
    same = MixedRows(rows.X, rows.X, rows.labels, np.ones(P), rows.partner)
    assert np.abs(measure_mixup(students, same).per_pair).max() < 1e-12  # rounding of a sum of one
    shuffled = MixedRows(rows.X, rows.X, rows.labels, np.zeros(P), rows.partner)
    assert measure_mixup(students, shuffled).nonlinearity.min() > 0.1


# -------------------------------------------------------------------------------------------------------- plain NumPy


def test_mixup_measures_are_plain_numpy(students, rows):
    seen = measure_mixup(students, rows)
    real, mixed = students.predict_proba(X), students.predict_proba(rows.mixed)
    f, g = students.features(X), students.features(rows.mixed)
    lam, j = rows.share, rows.partner
    for s in range(S):
        blend = lam[:, None] * real[s] + (1 - lam)[:, None] * real[s][j]
        np.testing.assert_allclose(seen.per_pair[s], kl(blend, mixed[s]), **EXACT)
        np.testing.assert_allclose(seen.nonlinearity[s], kl(blend, mixed[s]).mean(), **EXACT)
        off, of_labels = np.zeros(P), np.zeros(P)
        for i in range(P):
            one, other = LABELS[i], LABELS[j[i]]
            off[i] = sum(mixed[s, i, c] for c in range(C) if c not in (one, other))
            of_labels[i] = 0.0 if one == other else h(np.array([lam[i], 1 - lam[i]]))
        np.testing.assert_allclose(seen.off_pair_mass[s], off.mean(), **EXACT)
        np.testing.assert_allclose(seen.entropy[s], h(mixed[s]).mean(), **EXACT)
        np.testing.assert_allclose(seen.entropy_excess[s], (h(mixed[s]) - of_labels).mean(), **EXACT)
        m = lam[:, None] * f[s] + (1 - lam)[:, None] * f[s][j]
        straight = 1 - ((g[s] - m) ** 2).sum() / ((m - m.mean(axis=0)) ** 2).sum()
        np.testing.assert_allclose(seen.feature_linearity[s], straight, rtol=1e-10)
    np.testing.assert_array_equal(seen.share, lam)


def wrong_nonlinearities(students, rows):
    real, mixed = students.predict_proba(X), students.predict_proba(rows.mixed)
    lam, j = rows.share[:, None], rows.partner
    blend = lam * real + (1 - lam) * real[:, j]
    yield kl(mixed, blend)  # the other way round
    yield kl((1 - lam) * real + lam * real[:, j], mixed)  # λ and 1 − λ exchanged
    yield kl(real, mixed)  # of the first row alone
    z = students.logits(X)
    yield kl(special.softmax(lam * z + (1 - lam) * z[:, j], axis=-1), mixed)  # logits mixed instead


def test_wrong_nonlinearities_are_seen(students, rows):
    seen = measure_mixup(students, rows).nonlinearity
    for wrong in wrong_nonlinearities(students, rows):
        assert np.abs(wrong.mean(axis=1) - seen).max() > 1e-2


def test_a_teacher_is_measured_as_one_student_at_its_temperature(teacher, rows):
    seen = measure_mixup(teacher, rows)
    alone = Classifiers(teacher.model, np.array([-1]), np.zeros(1))
    assert seen.nonlinearity.shape == (1,)
    cold = measure_mixup(alone, rows)  # at temperature 1
    assert np.abs(seen.entropy - cold.entropy).min() > 1e-2
    np.testing.assert_allclose(seen.feature_linearity, cold.feature_linearity, rtol=1e-12)
    np.testing.assert_allclose(seen.entropy[0], h(teacher.predict_proba(rows.mixed)).mean(), **EXACT)


def unbiased_hsic(K, L):
    """HSIC₁ of Song et al. (2012), equation 5."""
    n = len(K)
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    one = np.ones(n)
    inner = (
        np.trace(K @ L) + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ K @ L @ one)
    )
    return inner / (n * (n - 3))


def cka(f, g):
    K, L = f @ f.T, g @ g.T
    return unbiased_hsic(K, L) / np.sqrt(unbiased_hsic(K, K) * unbiased_hsic(L, L))


def test_against_the_teacher_is_plain_numpy(students, teacher, rows):
    seen = against_teacher(students, teacher, rows)
    for data, apart, alike in ((X, seen.kl_real, seen.cka_real), (rows.mixed, seen.kl_mixed, seen.cka_mixed)):
        p, q = teacher.predict_proba(data), students.predict_proba(data)
        for s in range(S):
            np.testing.assert_allclose(apart[s], kl(p, q[s]).mean(), **EXACT)
            np.testing.assert_allclose(alike[s], cka(students.features(data)[s], teacher.features(data)), rtol=1e-9)
            assert abs(kl(q[s], p).mean() - apart[s]) > 1e-3  # the other way round would show
    assert np.abs(seen.kl_real - seen.kl_mixed).min() > 1e-3


def test_a_teacher_against_itself_is_at_zero(teacher, rows):
    own = Classifiers(teacher.model, np.array([-1]), np.zeros(1))
    seen = against_teacher(own, Teacher(teacher.model), rows)
    for values in (seen.kl_real, seen.kl_mixed):
        assert np.abs(values).max() < 1e-13
    for values in (seen.cka_real, seen.cka_mixed):
        np.testing.assert_allclose(values, 1.0, rtol=0, atol=1e-12)


def test_a_softmax_that_underflows_is_no_infinite_divergence(rows):
    """Logits of size 1,000: probabilities of zero count as 1e-12, so a divergence is at most −log of it, plus entropy."""
    hard = classifiers(scale=300.0)
    seen = measure_mixup(hard, rows)
    assert (hard.predict_proba(rows.mixed) == 0).any()
    assert np.isfinite(seen.per_pair).all()
    assert seen.per_pair.max() <= -np.log(ROUNDING) + 1e-9
    assert np.isfinite(against_teacher(hard, Teacher.of(hard.alone(0)), rows).kl_real).all()


# ------------------------------------------------------------------------------------------------------- on test rows


def test_performance_is_plain_numpy(students, teacher):
    for asked in (students, teacher):
        p = asked.predict_proba(X).reshape(-1, P, C)
        seen = performance(asked, X, LABELS)
        for s in range(len(p)):
            confidence, right = p[s].max(axis=1), p[s].argmax(axis=1) == LABELS
            np.testing.assert_allclose(seen["accuracy"][s], right.mean(), **EXACT)
            np.testing.assert_allclose(seen["nll"][s], -np.log(p[s][np.arange(P), LABELS]).mean(), **EXACT)
            np.testing.assert_allclose(seen["brier"][s], ((p[s] - np.eye(C)[LABELS]) ** 2).sum(axis=1).mean(), **EXACT)
            np.testing.assert_allclose(seen["signed_gap"][s], confidence.mean() - right.mean(), **EXACT)
            bin_ = np.ceil(confidence * 15).astype(int)
            off = [abs(confidence[bin_ == b].sum() - right[bin_ == b].sum()) for b in range(16)]
            np.testing.assert_allclose(seen["ece"][s], np.sum(off) / P, **EXACT)
        assert "temperature" not in seen


def test_scaled_measures_use_the_temperature_of_the_held_out_rows(students):
    held = seeds.generator(*KEY, "held").standard_normal((80, D))
    logits = students.logits(held)
    labels = (logits[0] / 2.0 + seeds.generator(*KEY, "held labels").gumbel(size=(80, C))).argmax(axis=1)
    # student 0 made the labels; of student 1 the labels need not fit any temperature
    seen = performance(students, X, LABELS, held=(held, labels))

    def loss(t):
        return -special.log_softmax(logits[0] / t, axis=1)[np.arange(80), labels].mean()

    best = optimize.minimize_scalar(loss, bounds=(0.1, 20.0), method="bounded", options={"xatol": 1e-9}).x
    np.testing.assert_allclose(seen["temperature"][0], best, rtol=1e-5)  # a minimum is found to the root of rounding
    scaled = special.log_softmax(students.logits(X)[0] / seen["temperature"][0], axis=1)[np.arange(P), LABELS]
    np.testing.assert_allclose(seen["nll_scaled"][0], -scaled.mean(), rtol=1e-9)
    assert abs(seen["nll_scaled"][0] - seen["nll"][0]) > 1e-3


def test_every_measure_by_name_and_as_rows_of_a_table(students, teacher, rows):
    measured = measure_mixup(students, rows).per_student()
    assert set(measured) == {"nonlinearity", "off_pair_mass", "entropy_excess", "entropy", "feature_linearity"}
    assert all(values.shape == (S,) for values in measured.values())
    apart = against_teacher(students, teacher, rows).per_student()
    assert set(apart) == {"kl_real", "kl_mixed", "cka_real", "cka_mixed"}
    table = tidy(apart, method="KD", seed=3)
    assert len(table) == 4 * S
    assert {(row["measure"], row["student"]): row["value"] for row in table} == {
        (name, s): values[s] for name, values in apart.items() for s in range(S)
    }
    assert all(row["method"] == "KD" and row["seed"] == 3 for row in table)


# ------------------------------------------------------------------------------------------------------ what is asked


def broken(rows, **fields):
    return MixedRows(**{**vars(rows), **fields})


def test_what_cannot_be_measured_is_named(students, teacher, rows):
    bad = np.where(np.arange(P)[:, None] == 4, np.nan, X)
    with pytest.raises(NotFiniteError, match="the first is row 4"):
        measure_mixup(students, broken(rows, X=bad))
    with pytest.raises(NotFiniteError, match="the first is row 4"):
        against_teacher(students, teacher, broken(rows, mixed=bad))
    with pytest.raises(DataError, match=r"share must lie in \[0, 1\]"):
        measure_mixup(students, broken(rows, share=rows.share + 1))
    with pytest.raises(ShapeError, match="share needs"):
        measure_mixup(students, broken(rows, share=rows.share[:3]))
    for labels, error, message in (
        (LABELS + 1, DataError, "labels must lie in 0 to 2"),
        (LABELS * 1.0, DataError, "labels must be integers"),
        (LABELS[:3], ShapeError, r"labels needs shape \(P=30,\)"),
    ):
        with pytest.raises(error, match=message):
            performance(students, X, labels)
        with pytest.raises(error, match=message):
            mixed_rows(X, labels, classes=C, key=KEY)
    with pytest.raises(ShapeError, match="at least one row"):
        performance(students, X[:0], LABELS[:0])
    with pytest.raises(OptionError, match="this architecture has none"):
        measure_mixup(Teacher.of(Convolutions()), broken(rows, X=IMAGES, mixed=IMAGES))


IMAGES = seeds.generator(*KEY, "images").standard_normal((P, 1, 4, 4))


class Convolutions(nn.Module):
    """A classifier without a linear layer."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, C, 3)

    def forward(self, x):
        return self.layer(x).mean((2, 3))
