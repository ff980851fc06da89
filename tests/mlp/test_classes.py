"""Classifiers: the same identities by cross-entropy, soft and sampled labels, and T4's conservation at memorisation."""

import numpy as np
import pytest

from uqkd import seeds
from uqkd.errors import OptionError
from uqkd.estimators import decompose_categorical
from uqkd.mlp import Answering, Recipe, SeedDesign, Students, distill, weigh
from uqkd.mlp.teacher import ClassAnswers
from uqkd.theory.statements.memorising import memorised_gini

KEY = ("test", "classes")
X = seeds.generator("test", "mlp", "classes").standard_normal((20, 3))
LOGITS = X @ np.array([[1.0, -1.0, 0.0], [0.5, 0.0, -1.0], [0.0, 1.0, 1.0]])
P = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
ROUNDING = {"rtol": 0, "atol": 1e-10}  # as in test_mlp_students


class Known(Answering):
    def at(self, X):
        return ClassAnswers(P)


def labels(k, levels):
    return Known().respond(X, k, students=SeedDesign(levels, levels, levels), key=KEY)


def train(targets, seed_design, **options):
    common = {"hidden": (8,), "recipe": Recipe(steps=60), "key": KEY, "dtype": "float64"}
    return distill(options.pop("X", X), targets, seed_design=seed_design, **{**common, **options})


def test_multi_labels_are_each_row_repeated_with_one_label():
    k, seed_design = 5, SeedDesign.independent(3)
    drawn = labels(k, seed_design.responses)
    multi = train(weigh(drawn, classes=3), seed_design)
    repeated = train(weigh(drawn.reshape(3, -1, 1), classes=3), seed_design, X=np.repeat(X, k, axis=0))
    for name, values in multi.parameters.items():
        np.testing.assert_allclose(values, repeated.parameters[name], **ROUNDING)
    single = train(weigh(drawn, "single", classes=3), seed_design)
    assert np.abs(single.predict_proba(X) - multi.predict_proba(X)).max() > 0.05


def test_soft_labels_train_towards_the_teacher_and_hard_ones_beyond():
    seed_design, recipe = SeedDesign.independent(3), Recipe(steps=600, lr=0.02)
    soft = train(weigh(P, "soft", students=3), seed_design, recipe=recipe, hidden=(16,)).predict_proba(X)
    hard = train(weigh(P, "hard"), seed_design, recipe=recipe, hidden=(16,)).predict_proba(X)
    assert np.abs(soft - P).mean() < 0.02
    assert hard.max(axis=-1).mean() > 0.97 > P.max(axis=-1).mean()
    np.testing.assert_allclose(soft.sum(axis=-1), 1.0, rtol=1e-13)


def test_answers_are_labels_drawn_from_the_probabilities():
    students = train(weigh(P, "soft"), SeedDesign.independent(2))
    drawn = students.predict(X, 4_000, key=(*KEY, "answers"))
    assert drawn.shape == (2, 20, 4_000)
    share = np.stack([(drawn == c).mean(axis=2) for c in range(3)], axis=-1)
    np.testing.assert_allclose(share, students.predict_proba(X), atol=5 * np.sqrt(0.25 / 4_000))
    shared = (drawn[0] == drawn[1]).mean()  # of independent draws: Σ p·q
    expected = np.einsum("pc,pc->p", *students.predict_proba(X)).mean()
    assert abs(shared - expected) < 5 * np.sqrt(0.25 / 80_000)


def test_t4_students_that_memorise_conserve_the_gini_variance():
    """One row per prompt and a network that fits it: intra (1 − 1/k)·G, inter G/k, together G.

    40 students of 20 prompts: the standard error of either share is about 1/√(40·20)·½ = 2 %; fits stop at about 1 %.
    """
    k, seed_design = 2, SeedDesign.independent(40)
    one_hot = np.eye(20) * 3.0  # prompts that have nothing in common
    students = train(
        weigh(labels(k, seed_design.responses), classes=3),
        seed_design,
        X=one_hot,
        hidden=(32,),
        recipe=Recipe(steps=800, lr=0.02),
        dtype="float32",
    )
    parts = decompose_categorical(students.predict_proba(one_hot))
    expected = memorised_gini(P, k)
    np.testing.assert_allclose(parts.mean.intra, expected.intra.mean(), rtol=0.12)
    np.testing.assert_allclose(parts.mean.inter, expected.inter.mean(), rtol=0.12)
    np.testing.assert_allclose(parts.mean.total, (1 - (P**2).sum(axis=1)).mean(), rtol=0.05)


def test_levels_work_as_for_regression():
    frozen = SeedDesign.independent(3, freeze=["responses", "initialisation"])
    students = train(weigh(labels(2, frozen.responses), classes=3), frozen)
    for values in students.parameters.values():
        assert (values == values[0]).all()
    parts = [SeedDesign.independent(2), SeedDesign.independent(1, first=2)]
    joined = Students.joined([train(weigh(labels(2, p.responses), classes=3), p) for p in parts])
    whole = SeedDesign.independent(3)
    together = train(weigh(labels(2, whole.responses), classes=3), whole)
    np.testing.assert_allclose(joined.predict_proba(X), together.predict_proba(X), atol=1e-10)


def test_classifiers_have_no_means():
    students = train(weigh(P, "soft"), SeedDesign.independent(1))
    for ask in (students.predict_mean, students.variances):
        with pytest.raises(OptionError, match="classifiers and have no means and variances"):
            ask(X)
