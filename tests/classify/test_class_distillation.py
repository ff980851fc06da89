"""Students against a plain loop of their own, with and without mixup; targets by hand; T6 for labels and a second source."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch.nn import functional as F

from uqkd import seeds
from uqkd.classify import (
    ClassTargets,
    Distillation,
    Mixing,
    Teacher,
    distill,
    evidence_from,
    perceptron,
    project,
    project_groups,
    project_label_first,
    project_label_first_l2,
    smooth_labels,
    soften,
    wclip,
    weigh,
)
from uqkd.classify import students as students_module
from uqkd.classify.classifiers import draw_labels, fit_classifiers, one_hot
from uqkd.classify.mixup import MixedBatches
from uqkd.classify.targets.weighted import changed_rows
from uqkd.errors import DataError, DivergedError, NotFiniteError, OptionError, ShapeError, UqkdWarning, VarianceError
from uqkd.estimators import gini, gini_from_draws
from uqkd.stacked import Recipe, SeedDesign, batch_orders
from uqkd.stacked.losses import cross_entropy

KEY = ("test", "class distillation")
P, D, C = 24, 4, 3
X = seeds.generator(*KEY, "X").standard_normal((P, D))
TARGET = seeds.generator(*KEY, "targets").dirichlet(np.ones(C), P)
LABELS = seeds.generator(*KEY, "labels").integers(C, size=P)
RECIPE = Recipe(steps=80, batch=8, optimiser="sgd", lr=0.1)
# 80 steps of gradient descent in single precision, sums in another order: 80 · 6e-8 of values of size 1 to 3. Students
# trained otherwise are 1e-2 apart and more.
ROUNDING = {"rtol": 0, "atol": 2e-5}
OTHER = 1e-3
Z = 4.417  # standard errors: a false alarm of 1e-5, that is 1e-3 over a family of a hundred


def network():
    return perceptron(D, C, hidden=(6,))


def train(targets, **options):
    common = {
        "labels": LABELS, "factory": network, "objective": Distillation(2.0, 0.8), "recipe": RECIPE,
        "seed_design": SeedDesign.independent(3), "key": KEY,
    }  # fmt: skip
    return distill(options.pop("X", X), targets, **{**common, **options})


def gap(one, other):
    return float(np.abs(one.logits(X) - other.logits(X)).max())


@pytest.fixture(scope="module")
def teacher():
    """At a temperature of its own, which counts."""
    with seeds.torch_stream(*KEY, "teacher", shared=True):
        module = perceptron(D, C, hidden=(5,))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter *= 4.0
    return Teacher.of(module, temperature=1.5)


# ---------------------------------------------------------------------------------------------------- students, mixup


def alone(level, batch_of):
    """One student by plain torch: `batch_of(step, rows)` gives rows, softened targets and label distributions."""
    with seeds.torch_stream(*KEY, "initialisation", level):
        student = network()
    (order,) = batch_orders(P, 8, RECIPE.steps, [level], key=KEY)
    optimiser = torch.optim.SGD(student.train().parameters(), lr=RECIPE.lr)
    for t, rows in enumerate(order):
        x, soft, hard = (torch.as_tensor(v, dtype=torch.float32) for v in batch_of(t, rows))
        optimiser.zero_grad()
        z = student(x)
        apart = F.kl_div((z / 2.0).log_softmax(-1), soft, reduction="batchmean")
        (0.8 * 4.0 * apart + 0.2 * F.cross_entropy(z, hard)).backward()
        optimiser.step()
    with torch.no_grad():
        return student.eval()(torch.as_tensor(X, dtype=torch.float32)).numpy()


def test_students_are_those_of_a_plain_loop():
    students = train(weigh(TARGET, "soft")).logits(X)
    softened = TARGET ** (1 / 2.0) / (TARGET ** (1 / 2.0)).sum(axis=1, keepdims=True)
    for s in range(3):
        expected = alone(s, lambda _, rows: (X[rows], softened[rows], np.eye(C)[LABELS[rows]]))
        np.testing.assert_allclose(students[s], expected, **ROUNDING)
    unsoftened = alone(0, lambda _, rows: (X[rows], TARGET[rows], np.eye(C)[LABELS[rows]]))
    assert np.abs(unsoftened - students[0]).max() > OTHER


def test_students_on_mixed_rows_are_those_of_a_plain_loop(teacher):
    """Rows and labels mixed by hand, the teacher asked about the mixture at its own temperature and then softened."""
    mixing = Mixing(alpha=0.7, partial=0.8)
    students = train(teacher, mixing=mixing).logits(X)

    def batch_of(level, own=1.5, swapped=False):
        blocks = [mixing.draw(64, 8, seeds.generator(*KEY, "mixing", level, b, shared=True)) for b in range(2)]

        def at(t, rows):
            pairs = blocks[t // 64]
            lam, j = pairs.share[t % 64][:, None], pairs.partner[t % 64]
            mixed = (lam * X[rows] + (1 - lam) * X[rows][j]).astype(np.float32)
            hard = np.eye(C)[LABELS[rows]]
            lam = 1 - lam if swapped else lam
            with torch.no_grad():
                z = teacher.model.student(0)(torch.as_tensor(mixed)).double()
            return mixed, (z / own / 2.0).softmax(-1), lam * hard + (1 - lam) * hard[j]

        return at

    for s in range(3):
        np.testing.assert_allclose(students[s], alone(s, batch_of(s)), **ROUNDING)
    assert np.abs(students[0] - alone(0, batch_of(0, own=1.0))).max() > OTHER  # the teacher's temperature forgotten
    assert np.abs(students[0] - alone(0, batch_of(0, swapped=True))).max() > OTHER  # labels by 1 − λ
    assert np.abs(students[0] - alone(0, batch_of(1))).max() > OTHER  # another student's pairs


def test_targets_of_one_serve_all_students_and_own_ones_are_own():
    shared, each = train(weigh(TARGET, "soft")), train(weigh(np.array(TARGET), "soft", students=3))
    np.testing.assert_array_equal(shared.logits(X), each.logits(X))
    drawn = draw_labels(np.broadcast_to(TARGET, (3, P, C)), 4, key=(*KEY, "drawn"))
    own = train(weigh(drawn, classes=C)).logits(X)
    for s in range(3):
        one = train(weigh(drawn[s : s + 1], classes=C), seed_design=SeedDesign.independent(1, first=s))
        np.testing.assert_allclose(one.logits(X)[0], own[s], **ROUNDING)
    assert np.abs(train(weigh(drawn[:1], classes=C)).logits(X)[1] - own[1]).max() > OTHER


def test_weights_leave_a_part_out():
    target = weigh(TARGET, "soft")
    labels_alone = train(target, objective=Distillation(2.0, 0.0))
    plain = fit_classifiers(
        X,
        one_hot(LABELS, P, C),
        factory=network,
        loss=cross_entropy,
        recipe=RECIPE,
        seed_design=SeedDesign.independent(3),
        key=KEY,
    )
    assert gap(labels_alone, plain) <= ROUNDING["atol"]
    with_labels, without = (train(target, objective=Distillation(2.0, 1.0), labels=y) for y in (LABELS, None))
    np.testing.assert_array_equal(with_labels.logits(X), without.logits(X))
    assert gap(labels_alone, without) > OTHER


def test_a_floor_of_one_is_mixup_of_labels(teacher):
    """With T = 1 and no labels beside, the divergence from mixed labels differs from their cross-entropy by a constant."""
    floored = train(teacher, mixing=Mixing(), floor=1.0, objective=Distillation(1.0, 1.0))
    seed_design = SeedDesign.independent(3)
    plain = fit_classifiers(
        X, one_hot(LABELS, P, C), factory=network, loss=cross_entropy, recipe=RECIPE, seed_design=seed_design, key=KEY,
        transform=MixedBatches(Mixing(), seed_design.order, KEY),
    )  # fmt: skip
    assert gap(floored, plain) <= ROUNDING["atol"]
    assert gap(floored, train(teacher, mixing=Mixing(), objective=Distillation(1.0, 1.0))) > OTHER


def test_students_without_mixing_learn_a_teacher_that_mixed_ones_are_asked_about(teacher):
    """partial=0 mixes nothing: the teacher's answers to the rows themselves."""
    asked = train(teacher, mixing=Mixing(partial=0.0))
    told = train(weigh(teacher.predict_proba(X), "soft"))
    assert gap(asked, told) <= ROUNDING["atol"]


def test_equal_keys_equal_bits_with_and_without_mixing(teacher):
    for options in ({"targets": weigh(TARGET, "soft")}, {"targets": teacher, "mixing": Mixing()}):
        one, again, other = (train(**options, key=k) for k in (KEY, KEY, (*KEY, 1)))
        np.testing.assert_array_equal(one.logits(X), again.logits(X))
        assert gap(one, other) > OTHER


def test_mixing_does_not_depend_on_how_many_students_there_are(teacher):
    whole = train(teacher, mixing=Mixing(), seed_design=SeedDesign.independent(4)).logits(X)
    part = train(teacher, mixing=Mixing(), seed_design=SeedDesign.independent(2, first=2)).logits(X)
    np.testing.assert_allclose(part, whole[2:], **ROUNDING)


def test_students_that_diverge_are_named_or_counted():
    with pytest.raises(DivergedError, match="3 of 3 students diverged: student 0 at step"):
        train(weigh(TARGET, "soft"), recipe=Recipe(steps=5, optimiser="sgd", lr=1e30))
    with pytest.warns(UqkdWarning, match="2 of 3 students are kept"):
        students = train(weigh(TARGET, "soft"), exclude_failed=True, objective=OneFails(2.0, 0.8))
    np.testing.assert_array_equal(students.kept, [0, 2])
    np.testing.assert_array_equal(students.logits(X), train(weigh(TARGET, "soft")).logits(X)[[0, 2]])


class OneFails(Distillation):
    """The objective, but for student 1 of 3."""

    def __call__(self, outputs, targets):
        found = super().__call__(outputs, targets)
        return found * torch.tensor([1.0, torch.inf, 1.0]) if len(found) == 3 else found


# ------------------------------------------------------------------------------------------------------------- targets


def test_soften_by_hand_and_its_limits():
    p = np.array([[0.64, 0.32, 0.04], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(soften(p, 2.0)[0], np.array([8, 32**0.5, 2]) / (10 + 32**0.5), rtol=1e-14)
    np.testing.assert_allclose(soften(p, 1.0), p, rtol=0, atol=1e-15)
    np.testing.assert_allclose(soften(p, 1e9)[0], 1 / 3, rtol=1e-8)
    np.testing.assert_array_equal(soften(p, 1e-4)[0], [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(soften(p, 7.0)[1], [1.0, 0.0, 0.0])  # what has no probability gets none
    with pytest.raises(OptionError, match="'std' needs positive probabilities"):
        soften(p, "std")
    np.testing.assert_array_equal(soften([[0.25] * 4, [0.2, 0.3, 0.4, 0.1]], "std")[0], 0.25)


@given(st.integers(2, 9), st.floats(0.3, 5.0), st.floats(0.3, 5.0), st.integers(0, 10**6))
def test_softening_twice_is_softening_by_the_product(classes, first, second, salt):
    p = seeds.generator(*KEY, "soften", salt).dirichlet(np.ones(classes), 4)
    np.testing.assert_allclose(soften(soften(p, first), second), soften(p, first * second), rtol=0, atol=1e-12)
    np.testing.assert_allclose(soften(soften(p, first), "std"), soften(p, "std"), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(np.argsort(soften(p, first), axis=1)[:, -1], p.argmax(axis=1))


def test_smoothed_labels():
    found = smooth_labels([2, 0], 4, 0.2, students=3)
    np.testing.assert_allclose(found.probabilities[1], [[0.05, 0.05, 0.85, 0.05], [0.85, 0.05, 0.05, 0.05]], atol=1e-15)
    assert found.probabilities.shape == (3, 2, 4)
    np.testing.assert_array_equal(smooth_labels([2, 0], 4, 0.0).probabilities[0], np.eye(4)[[2, 0]])
    np.testing.assert_array_equal(smooth_labels([2, 0], 4, 1.0).probabilities[0], 0.25)


def test_repairs_are_the_projections_they_name():
    draw = seeds.generator(*KEY, "project")
    p = draw.dirichlet(np.ones(C), 60)
    labels = np.concatenate([np.arange(C), draw.integers(C, size=60 - C)])
    known = evidence_from(draw.dirichlet(np.ones(C), 60), labels, bins=2)
    bounds = {"near_min": known.near_min, "wrong_max": known.wrong_max}
    low = np.full(60, 0.3)
    expected = {
        "wclip": (wclip(p, labels), {}),
        "label_first": (project_label_first(p, labels), {}),
        "label_first_l2": (project_label_first_l2(p, labels), {}),
        "groups": (project_groups(p, known.near, known.wrong, **bounds), {"evidence": known}),
        "groups_entropy": (
            project_groups(p, known.near, known.wrong, **bounds, entropy_min=known.entropy_min),
            {"evidence": known},
        ),
    }
    for method, (target, options) in expected.items():
        found = project(p, method, labels=labels, students=2, **options)
        np.testing.assert_array_equal(found.probabilities, np.broadcast_to(target, (2, 60, C)))
        assert found.method == method
    for one, other in (("wclip", "label_first"), ("label_first", "label_first_l2"), ("groups", "groups_entropy")):
        assert np.abs(expected[one][0] - expected[other][0]).max() > OTHER
    for method, target in (
        ("wclip", wclip(p, labels, margin=0.2)),
        ("label_first", project_label_first(p, labels, margin=0.2)),
        ("label_first_l2", project_label_first_l2(p, labels, margin=0.2)),
    ):
        np.testing.assert_array_equal(project(p, method, labels=labels, margin=0.2).probabilities[0], target)
    spread = project(p, "label_first", labels=labels, entropy_min=low).probabilities[0]
    np.testing.assert_array_equal(spread, project_label_first(p, labels, entropy_min=low))


def test_changed_rows_are_those_that_moved_beyond_rounding():
    p = np.full((4, 4), 0.25)
    moved = p + np.array([[0.0], [1e-11], [1e-7], [0.1]]) * np.array([1, -1, 0, 0])
    np.testing.assert_array_equal(changed_rows(p, moved), [False, False, True, True])


# ------------------------------------------------------------------------------- T6: labels and an independent source

ROWS, K, STUDENTS = 2_000, 4, 60


def case(concentration, *, classes=4, rows=ROWS):
    """A teacher's distribution, the same in every row up to the order of classes, and a source about it."""
    draw = seeds.generator(*KEY, "T6", concentration, classes, rows)
    truth = draw.permuted(np.broadcast_to(np.array([0.55, 0.25, 0.15, 0.05])[:classes], (rows, classes)), axis=1)
    noise = draw.standard_gamma(concentration * truth) + 1e-12
    return truth, noise / noise.sum(axis=1, keepdims=True)


def labels_of(truth, students, k=K):
    return draw_labels(
        np.broadcast_to(truth, (students, *truth.shape)), k, key=(*KEY, "labels of", students, k, len(truth))
    )


def squared(q, truth):
    """(S, P) squared distance from the teacher's distribution."""
    return ((q - truth) ** 2).sum(axis=-1)


def test_precision_by_hand():
    truth, source = case(20.0, rows=7)
    drawn = labels_of(truth, 2, 3)
    found = weigh(drawn, "precision", second=source, classes=source.shape[1]).probabilities
    for s in range(2):
        shares = np.stack([np.bincount(row, minlength=4) / 3 for row in drawn[s]])
        differ = [np.mean([a != b for i, a in enumerate(row) for j, b in enumerate(row) if i != j]) for row in drawn[s]]
        labels_error = np.mean(differ) / 3
        source_error = max(
            np.mean([((x - y) ** 2).sum() for x, y in zip(shares, source, strict=True)]) - labels_error, 0.0
        )
        doubt = 1 - (source**2).sum(axis=1)
        own = labels_error * doubt / doubt.mean()
        weight = source_error / (own + source_error)
        np.testing.assert_allclose(
            found[s], weight[:, None] * shares + (1 - weight[:, None]) * source, rtol=0, atol=1e-12
        )


def test_the_squared_error_of_a_source_is_estimated_without_bias():
    """E‖shares − source‖² − E[G]/k is ‖source − p‖²: over 4,000 rows and 60 students, to its standard error."""
    truth, source = case(8.0)
    drawn = labels_of(truth, STUDENTS)
    shares = weigh(drawn, classes=4).probabilities
    each = squared(shares, source).mean(axis=1)
    spread = gini_from_draws(drawn).mean(axis=1) / K
    seen, known = (each - spread), squared(source, truth).mean()
    error = seen.std(ddof=1) / np.sqrt(STUDENTS)
    assert abs(seen.mean() - known) < Z * error
    plug_in = gini(shares).mean(axis=1) / K  # low by the factor 1 − 1/k
    assert abs((each - plug_in).mean() - known) > Z * error
    assert abs(each.mean() - known) > Z * error  # the labels' own error not taken off


@pytest.mark.parametrize("concentration", [5.0, 10.0, 40.0])
def test_a_blend_is_nearer_the_teacher_than_labels_or_source_alone(concentration):
    """z of the paired differences over independent students, given the source; and T6, ab/(a + b).

    A weight off by dw costs dw² (a + b). Rows have one G, but the source's own is only about it: relative to the best
    that is w(1 − w) times the squared coefficient of variation of the doubt. Of the estimated level of the weight it is
    about 1/2,000 rows; 1 % is allowed.
    """
    truth, source = case(concentration)
    drawn = labels_of(truth, STUDENTS)
    shares = weigh(drawn, classes=4).probabilities
    ours = squared(weigh(drawn, "precision", second=source, classes=source.shape[1]).probabilities, truth).mean(axis=1)
    a, b = float(gini(truth).mean()) / K, float(squared(source, truth).mean())
    for alone_ in (squared(shares, truth).mean(axis=1), np.full(STUDENTS, b)):
        better = alone_ - ours
        assert better.mean() / (better.std(ddof=1) / np.sqrt(STUDENTS)) > Z
    error = ours.std(ddof=1) / np.sqrt(STUDENTS)
    best, w = a * b / (a + b), b / (a + b)
    allowed = Z * error + (w * (1 - w) * gini(source).var() / gini(source).mean() ** 2 + 0.01) * best
    assert abs(ours.mean() - best) < allowed
    wrong = {
        "equal weights": 0.5,
        "not inverted": a / (a + b),
        "labels' error counted twice": (a + b) / (2 * a + b),
        "one label's variance": b / (K * a + b),
        "standard errors, not variances": np.sqrt(b) / (np.sqrt(a) + np.sqrt(b)),
    }
    seen = {
        name: squared(other * shares + (1 - other) * source, truth).mean(axis=1).mean()
        for name, other in wrong.items()
        if abs(other - w) > 0.15  # a version that is right by chance here is wrong in the other cases
    }
    assert len(seen) >= 2
    for name, value in seen.items():
        assert value - best > allowed, name


def test_rows_whose_labels_agree_by_chance_are_not_taken_for_certain():
    """With each row's own G from its labels, the third of rows that agree would get no share of the source."""
    truth, source = case(20.0)
    drawn = labels_of(truth, STUDENTS)
    shares = weigh(drawn, classes=4).probabilities
    own = gini_from_draws(drawn) / K
    b = squared(source, truth).mean()
    weight = (b / (own + b))[..., None]
    naive = squared(weight * shares + (1 - weight) * source, truth).mean(axis=1)
    ours = squared(weigh(drawn, "precision", second=source, classes=source.shape[1]).probabilities, truth).mean(axis=1)
    better = naive - ours
    assert better.mean() / (better.std(ddof=1) / np.sqrt(STUDENTS)) > Z


def test_a_perfect_source_is_kept_and_a_useless_one_left():
    truth, _ = case(20.0)
    drawn = labels_of(truth, STUDENTS)
    shares = weigh(drawn, classes=4).probabilities
    found = weigh(drawn, "precision", second=truth, classes=truth.shape[1]).probabilities
    # The source's error is estimated as a mean over rows of zero mean: its standard error bounds the weight on labels.
    each = squared(shares, truth) - gini_from_draws(drawn) / K
    own = gini(truth).mean() / K
    largest = Z * each.std(axis=1).max() / np.sqrt(ROWS) / own
    assert largest < 0.15
    assert np.abs(found - truth).max() <= largest * np.abs(shares - truth).max()
    useless = np.eye(4)[truth.argmin(axis=1)]  # sure of the least probable class: nothing is known of its doubt
    np.testing.assert_allclose(
        weigh(drawn, "precision", second=useless, classes=useless.shape[1]).probabilities, shares, rtol=0, atol=1e-12
    )
    poor = 0.97 * useless + 0.0075
    weight = squared(poor, truth).mean() / (squared(poor, truth).mean() + own)
    found = weigh(drawn, "precision", second=poor, classes=poor.shape[1]).probabilities
    assert weight > 0.85
    assert abs(np.sqrt(squared(found, poor) / squared(shares, poor)).mean() - weight) < 0.01  # 2,000 rows: ± .2 %


def test_equal_targets_of_labels_that_all_agree():
    """No spread at all: labels are certain, whatever the source says."""
    drawn = np.ones((2, 3, 4), dtype=np.int64)
    np.testing.assert_array_equal(
        weigh(drawn, "precision", second=np.full((3, 2), 0.5), classes=2).probabilities[..., 1], 1.0
    )


# ------------------------------------------------------------------------------------------------------ what is asked

SOFT = weigh(TARGET, "soft")
BROKEN = np.where(np.arange(P)[:, None] > 20, np.inf, X)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"targets": SOFT, "labels": None}, OptionError, "weight=0.8 and floor=0.0 needs labels; pass them, or weight=1"),
        ({"targets": SOFT, "mixing": Mixing()}, OptionError, r"such as weigh\(teacher.predict_proba\(X\), 'soft'\)"),
        ({"targets": SOFT, "seed_design": 2}, OptionError, r"seed_design must be SeedDesign; got 2. Pass SeedDesign.independent\("),
        ({"targets": SOFT, "factory": "perceptron:64"}, OptionError, r"factory must be .*; got 'perceptron:64'. Pass by_name\("),
        ({"targets": SOFT, "factory": network()}, OptionError, "so that each begins anew; got a Sequential, which is one"),
        ({"targets": SOFT, "factory": 64}, OptionError, "factory must be a function that builds one network; got 64"),
        ({"targets": SOFT, "factory": lambda: "x"}, OptionError, "factory must build a torch module .*; got 'x'"),
        ({"targets": SOFT, "objective": "kl"}, OptionError, "objective must be Distillation; got 'kl'"),
        ({"targets": SOFT, "recipe": 30}, OptionError, "recipe must be Recipe; got 30"),
        ({"targets": SOFT, "key": "fkey"}, OptionError, r"key must be a tuple of names, such as key=\('fkey',\); got 'fkey'"),
        ({"targets": SOFT, "floor": 0.5}, OptionError, "floor=0.5 is that of mixed pairs; it needs mixing"),
        ({"targets": TARGET}, OptionError, "takes ClassTargets or a Teacher; got ndarray"),
        ({"targets": weigh(TARGET[:4], "soft")}, ShapeError, r"\(S=3 or 1, P=24, C\) .* got \(1, 4, 3\)"),
        ({"targets": weigh(TARGET, "soft", students=2)}, ShapeError, r"got \(2, 24, 3\)"),
        ({"targets": weigh(np.full((P, 4), 0.25), "soft")}, ShapeError, "gives 3 logits a row, but .* of 4 classes"),
        ({"targets": SOFT, "labels": LABELS + 1}, DataError, "labels must lie in 0 to 2; got 3 at index"),
        ({"targets": SOFT, "labels": LABELS * 1.0}, DataError, "labels must be integers"),
        ({"targets": SOFT, "labels": LABELS[:3]}, ShapeError, r"labels needs shape \(P=24,\)"),
        ({"targets": SOFT, "X": BROKEN}, NotFiniteError, "in 3 of 24 rows; the first is row 21"),
        ({"targets": SOFT, "X": X[:0]}, ShapeError, "distill needs targets"),
    ],
)  # fmt: skip
def test_arguments_that_contradict_each_other_are_named(options, error, message):
    with pytest.raises(error, match=message) as caught:
        train(**options)
    assert "\n" not in str(caught.value)


def test_dtype_and_chunk_are_those_of_the_other_layers(teacher):
    single, double = train(SOFT), train(SOFT, dtype="float64")
    assert (single.model.dtype, double.model.dtype) == ("float32", "float64")
    np.testing.assert_allclose(single.logits(X), double.logits(X), atol=1e-3)  # float32, some tens of steps
    np.testing.assert_allclose(train(SOFT, dtype="float64", chunk=1).logits(X), double.logits(X), rtol=0, atol=1e-9)
    with pytest.raises(OptionError, match="got a teacher of float32, dtype='float64'"):
        train(teacher, mixing=Mixing(), dtype="float64")


def test_probabilities_are_not_taken_for_logits(teacher):
    def softened():
        return torch.nn.Sequential(*network(), torch.nn.Softmax(-1))

    for targets, options in (
        (SOFT, {"factory": softened}),
        (teacher, {"factory": softened, "mixing": Mixing()}),
        (Teacher.of(softened()), {"mixing": Mixing()}),
    ):
        with pytest.raises(OptionError, match="Remove the Softmax at its end"):
            train(targets, recipe=Recipe(steps=10**9), **options)  # nothing is trained


def test_a_teacher_needs_mixing_and_numbers(teacher):
    with pytest.raises(OptionError, match="pass the Teacher with mixing"):
        train(teacher)
    with pytest.raises(OptionError, match="weight=1.0 and floor=0.5 needs labels"):
        train(teacher, mixing=Mixing(), labels=None, objective=Distillation(1.0, 1.0), floor=0.5)
    with pytest.raises(OptionError, match=r"a share in \[0, 1\]; got 1.5"):
        train(teacher, mixing=Mixing(), floor=1.5)
    with pytest.raises(DataError, match="takes fractions"):
        train(teacher, mixing=Mixing(), X=(9 * X).astype(int))
    train(teacher, mixing=Mixing(), labels=None, objective=Distillation(1.0, 1.0), recipe=Recipe(steps=2))


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda: soften([[0.5, 0.6]], 2.0), DataError, "must sum to one over classes"),
        (lambda: soften([[1.0]], 2.0), ShapeError, "C >= 2"),
        (lambda: soften([[np.nan, 1.0]], 2.0), NotFiniteError, "probs holds"),
        (lambda: smooth_labels([0, 2], 2), DataError, "labels must lie in 0 to 1; got 2 at index 1"),
        (lambda: smooth_labels([0.0], 2), DataError, "labels must be integers"),
        (lambda: smooth_labels([0], 2, 1.5), OptionError, r"an amount in \[0, 1\]; got 1.5"),
        (lambda: smooth_labels([0], 1), ShapeError, r"classes >= 2 and students >= 1; got \(1,\), 1 and 1"),
        (lambda: smooth_labels(0, 2), ShapeError, r"labels \(P,\)"),
        (lambda: smooth_labels([0], 2, students=0), ShapeError, "students >= 1"),
        (lambda: project(TARGET, "wclp", labels=LABELS), OptionError, "did you mean 'wclip'"),
        (lambda: project(TARGET, "groups", labels=LABELS), OptionError, "need evidence: .* evidence_from"),
        (lambda: project(TARGET, "label_first", labels=LABELS + 1), DataError, "labels must lie in 0 to 2"),
        (lambda: project(2 * TARGET, "wclip", labels=LABELS), DataError, "must sum to one"),
        (lambda: changed_rows(TARGET, TARGET[:3]), ShapeError, "they must be equal"),
        (lambda: changed_rows(TARGET, TARGET * np.nan), NotFiniteError, "targets holds"),
        (
            lambda: weigh(LABELS[None, :, None], "precision", second=TARGET, classes=C),
            VarianceError,
            "k >= 2 labels per prompt; got k=1",
        ),
        (
            lambda: weigh(LABELS[None, :5, None], "precision", second=TARGET, classes=C),
            ShapeError,
            r"got \(1, 5, 1\) and \(24, 3\)",
        ),
        (
            lambda: weigh(LABELS[None], "precision", second=TARGET, classes=C),
            ShapeError,
            r"labels needs axes \(S, P, k\)",
        ),
        (
            lambda: weigh(np.full((1, P, 2), 3), "precision", second=TARGET, classes=C),
            DataError,
            "labels must lie in 0 ... 2; got 3",
        ),
        (lambda: weigh(np.zeros((1, P, 2)), "precision", second=TARGET, classes=C), DataError, "got dtype float64"),
        (
            lambda: weigh(np.zeros((1, P, 2), int), "precision", second=2 * TARGET, classes=C),
            DataError,
            "second must sum to one",
        ),
    ],
)
def test_targets_that_cannot_be_made(ask, error, message):
    with pytest.raises(error, match=message):
        ask()


def test_evidence_of_other_rows_is_refused():
    known = evidence_from(TARGET, np.arange(P) % C)
    with pytest.raises(ShapeError, match="near needs the shape of probs"):
        project(TARGET[:5], "groups", labels=LABELS[:5], evidence=known)


def test_the_level_of_these_checks():
    assert abs(2 * stats.norm.sf(Z) - 1e-5) < 1e-7


def test_one_distribution_for_all_students_is_softened_and_held_once(monkeypatch):
    """A view of S students is trained on as one; targets of each student's own are not."""
    seen = []
    real = students_module.fit_classifiers
    monkeypatch.setattr(
        students_module,
        "fit_classifiers",
        lambda X, targets, **how: seen.append(targets.shape) or real(X, targets, **how),
    )
    X = np.linspace(-1, 1, 8)[:, None]
    p = np.stack([0.5 - 0.4 * X[:, 0], 0.5 + 0.4 * X[:, 0]], axis=1)
    how = {
        "factory": lambda: perceptron(1, 2), "objective": Distillation(2.0, weight=1.0), "recipe": Recipe(steps=3),
        "seed_design": SeedDesign.independent(3), "key": ("test", "held once"),
    }  # fmt: skip
    shared = distill(X, weigh(p, "soft", students=3), **how)
    own = distill(X, ClassTargets(np.stack([p, p, p]), None, "soft"), **how)
    assert seen == [(1, 8, 4), (3, 8, 4)]
    np.testing.assert_allclose(shared.logits(X), own.logits(X), rtol=1e-5)  # three float32 steps on equal numbers
