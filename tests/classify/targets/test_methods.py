"""The targets that CUD's claims compare: each is what its name says, made from one teacher's views that equal keys make equal."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from uqkd import seeds
from uqkd.classify import (
    METHODS,
    Shaping,
    TargetFactory,
    evidence_from,
    out_of_fold,
    perceptron,
    project_groups,
    project_label_first,
    project_label_first_l2,
    soften,
    wclip,
)
from uqkd.classify.crossfit import OutOfFold
from uqkd.classify.teacher import Teacher
from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError, UqkdWarning
from uqkd.estimators import entropy
from uqkd.stacked import Recipe

KEY = ("test", "methods")
P, D, C = 150, 6, 6
X = seeds.generator(*KEY, "X").standard_normal((P, D))
SCORES = 2.0 * X @ seeds.generator(*KEY, "scores").standard_normal((D, C))
LABELS = (SCORES + seeds.generator(*KEY, "noise").gumbel(size=SCORES.shape)).argmax(axis=1)
RECIPE = Recipe(steps=120, batch=32, lr=0.02, schedule="cosine", warmup=12)


def fit(X=X, labels=LABELS, **options):
    common = {"classes": C, "factory": lambda: perceptron(D, C, hidden=(6,)), "recipe": RECIPE, "key": KEY}
    return TargetFactory.fit(X, labels, **{**common, **options})


@pytest.fixture(scope="module")
def views():
    return fit()


# --------------------------------------------------------------------------------------------------------------- views


def test_views_are_the_teacher_its_shaped_copy_and_its_folds(views):
    common = {"classes": C, "factory": lambda: perceptron(D, C, hidden=(6,)), "recipe": RECIPE}
    teacher = Teacher.fit(X, LABELS, key=(*KEY, "teacher"), **common)
    np.testing.assert_array_equal(views.probabilities, teacher.predict_proba(X))
    np.testing.assert_array_equal(views.teacher.predict_proba(X), views.probabilities)
    gentle = replace(RECIPE, steps=40, lr=0.02 / 3, warmup=4)  # a third of the steps at a third of the rate
    shaped = teacher.shaped(X, LABELS, shaping=Shaping(), recipe=gentle, key=KEY)
    np.testing.assert_array_equal(views.shaped_probabilities, shaped.predict_proba(X))
    folds = out_of_fold(X, LABELS, key=KEY, **common)
    np.testing.assert_array_equal(views.folds.logits, folds.logits)
    assert views.temperature == folds.temperature(LABELS).temperature
    expected = evidence_from(folds.calibrated(LABELS), LABELS)
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(getattr(views.evidence, name), value)
    assert np.abs(views.probabilities - views.shaped_probabilities).max() > 1e-3
    assert np.abs(views.probabilities - views.folds.probabilities).max() > 1e-3


def test_equal_keys_make_equal_views_and_others_others(views):
    again, other = fit(), fit(key=(*KEY, 1))
    for method in METHODS:
        np.testing.assert_array_equal(again.targets(method).probabilities, views.targets(method).probabilities)
    assert (other.folds.fold != views.folds.fold).any()
    assert np.abs(other.probabilities - views.probabilities).max() > 1e-3


def test_other_shaping_is_heard(views):
    surer = fit(shaping=Shaping(gamma=0.0, entropy=0.0))
    np.testing.assert_array_equal(surer.probabilities, views.probabilities)
    assert entropy(surer.shaped_probabilities).mean() < entropy(views.shaped_probabilities).mean() - 1e-3


# --------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("method", METHODS)
def test_targets_are_distributions_for_all_students_alike(views, method):
    found = views.targets(method, students=3)
    assert found.method == method
    assert found.probabilities.shape == (3, P, C)
    assert found.probabilities.strides[0] == 0  # the memory of one
    assert found.probabilities.min() >= 0
    # projections promise 1e-9; rounding otherwise
    np.testing.assert_allclose(found.probabilities.sum(axis=-1), 1.0, rtol=0, atol=1e-9)


def expected_of(views):
    """Every method once more, from the functions themselves."""
    p, shaped, known = views.probabilities, views.shaped_probabilities, views.evidence
    bounds = {"near_min": known.near_min, "wrong_max": known.wrong_max}
    return {
        "labels": np.eye(C)[LABELS],
        "label smoothing": 0.9 * np.eye(C)[LABELS] + 0.1 / C,
        "teacher": p,
        "teacher, temperature": soften(p, views.temperature),
        "DUS": shaped,
        "W-Clip": wclip(p, LABELS),
        "DUS + W-Clip": wclip(shaped, LABELS),
        "label first, L2": project_label_first_l2(p, LABELS),
        "label first, KL": project_label_first(p, LABELS),
        "groups": project_groups(p, known.near, known.wrong, **bounds),
        "groups, entropy": project_groups(p, known.near, known.wrong, **bounds, entropy_min=known.entropy_min),
        "out of fold": views.folds.probabilities,
        "out of fold, temperature": views.folds.calibrated(LABELS),
    }


def test_every_method_is_what_its_name_says_and_no_two_are_the_same(views):
    expected = expected_of(views)
    assert set(expected) == set(METHODS)
    names = list(expected)
    for name in names:
        np.testing.assert_allclose(views.targets(name).probabilities[0], expected[name], rtol=0, atol=1e-15)
    for i, one in enumerate(names):
        for other in names[:i]:
            assert np.abs(expected[one] - expected[other]).max() > 1e-4, (one, other)


def test_temperature_is_that_of_the_held_out_labels(views):
    """p^(1/T), fitted out of fold: on the rows that it was trained on the teacher would be made too sure."""
    p = views.probabilities ** (1 / views.temperature)
    np.testing.assert_allclose(
        views.targets("teacher, temperature").probabilities[0], p / p.sum(axis=1, keepdims=True), rtol=1e-12, atol=0
    )
    inside = views.teacher.calibrated(X, LABELS).temperature
    assert inside < views.temperature - 0.05


# --------------------------------------------------------------------------------------- teachers without a temperature

NEEDS_TEMPERATURE = ("teacher, temperature", "groups", "groups, entropy", "out of fold, temperature")
CLASSES = np.arange(P) % C
EASY = 8.0 * np.eye(C)[CLASSES] + 0.1 * X


def easy():
    """Right on every row out of fold: T goes to 0."""
    return fit(X=EASY, labels=CLASSES, recipe=Recipe(steps=300, batch=16, lr=0.03))


def twins():
    """Every row has a twin of another class: where it is asked about, its network knows the twin. T goes to infinity."""
    return fit(
        X=np.repeat(3.0 * X[::2], 2, axis=0), labels=(np.arange(P) // 2 + np.arange(P) % 2) % C,
        factory=lambda: perceptron(D, C, hidden=(32,)), recipe=Recipe(steps=300, batch=16, lr=0.03),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("made", "why"),
    [(easy, "every label has the largest logit"), (twins, "favour the true class no more than chance")],
)
def test_views_without_a_temperature_are_those_of_temperature_one(made, why):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        views = made()
        for name in sorted(set(METHODS) - set(NEEDS_TEMPERATURE)):
            views.targets(name)
            views.firing_rate(name)
    with pytest.raises(DataError, match=why):  # what the views do not do
        views.folds.temperature(views.labels)
    with pytest.warns(UqkdWarning) as seen:
        found = {name: views.targets(name).probabilities[0] for name in (*NEEDS_TEMPERATURE, *NEEDS_TEMPERATURE)}
    assert len(seen) == 1
    assert "targets that need one are those of temperature 1: " in str(seen[0].message)
    assert why in str(seen[0].message)
    assert "\n" not in str(seen[0].message)
    np.testing.assert_allclose(found["teacher, temperature"], views.probabilities, rtol=1e-9, atol=1e-15)
    np.testing.assert_array_equal(found["out of fold, temperature"], views.folds.probabilities)
    expected = evidence_from(views.folds.probabilities, views.labels)
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(getattr(views.evidence, name), value)


def test_a_temperature_is_fitted_once_and_only_where_it_is_needed(monkeypatch):
    calls = []
    fitted = OutOfFold.temperature
    monkeypatch.setattr(OutOfFold, "temperature", lambda self, labels: calls.append(1) or fitted(self, labels))
    views = fit()
    for name in sorted(set(METHODS) - set(NEEDS_TEMPERATURE)):
        views.targets(name)
    assert not calls
    for name in METHODS:
        views.targets(name)
    assert calls == [1]


def test_a_class_without_rows_is_named_where_its_confusions_are_needed():
    views = fit(labels=LABELS % 5)
    views.targets("labels")
    for name in ("groups", "groups, entropy"):
        with pytest.raises(DataError, match="class 5 of 6 has no row"):
            views.targets(name)


# -------------------------------------------------------------------------------------------------------- firing rates


def test_firing_rates_are_shares_of_rows_that_a_method_changes(views):
    assert views.firing_rate("teacher") == 0.0
    assert views.firing_rate("DUS") == 0.0  # of the shaped teacher, with which it begins
    for name in ("labels", "label smoothing", "out of fold"):
        assert views.firing_rate(name) == 1.0
    for name, p in (("W-Clip", views.probabilities), ("DUS + W-Clip", views.shaped_probabilities)):
        assert views.firing_rate(name) == (p[np.arange(len(p)), LABELS] < p.max(axis=1)).mean()
    wrong = views.probabilities.argmax(axis=1) != LABELS
    assert views.firing_rate("W-Clip") == views.firing_rate("label first, KL") == wrong.mean()
    assert 0.0 < wrong.mean() < 1.0
    for name in ("groups", "groups, entropy"):
        moved = np.abs(expected_of(views)[name] - views.probabilities).max(axis=1) > 1e-9
        assert views.firing_rate(name) == moved.mean()
    assert views.firing_rate("groups, entropy") >= views.firing_rate("groups")


@pytest.mark.slow
def test_a_teacher_that_knows_its_rows_leaves_wclip_nothing_to_do():
    """The open question of CUD: a teacher that is right on its training rows."""
    sure = fit(labels=SCORES.argmax(axis=1), recipe=Recipe(steps=600, batch=16, lr=0.03))
    assert (sure.probabilities.argmax(axis=1) == SCORES.argmax(axis=1)).mean() > 0.97
    assert sure.firing_rate("W-Clip") < 0.03
    assert sure.firing_rate("groups, entropy") > 0.5  # what is known of rows that it has not seen still speaks


# ------------------------------------------------------------------------------------------------------ what is asked


@pytest.mark.parametrize(
    ("method", "hint"), [("W-Clp", "W-Clip"), ("groups entropy", "groups, entropy"), ("Teacher", "teacher")]
)
def test_unknown_methods_name_the_nearest(views, method, hint):
    for ask in (views.targets, views.firing_rate):
        with pytest.raises(OptionError, match=f"method got '{method}'; did you mean '{hint}'"):
            ask(method)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"labels": np.where(np.arange(P) == 0, 5, LABELS % 5)}, DataError, "class 5 has one row"),
        ({"labels": LABELS + 1}, DataError, "labels must lie in 0 to 5"),
        ({"labels": LABELS[:4]}, ShapeError, r"labels needs shape \(P=150,\)"),
        ({"X": np.where(X > 2.0, np.nan, X)}, NotFiniteError, "X holds values that are not finite"),
        ({"recipe": Recipe(steps=5)}, OptionError, "give the recipe a batch size"),
        ({"classes": 1}, OptionError, "classes >= 2"),
        ({"key": "fkey"}, OptionError, "key must be a tuple of names"),
    ],
)
def test_data_of_which_no_views_can_be_made(options, error, message):
    with pytest.raises(error, match=message) as caught:
        fit(**options)
    assert "\n" not in str(caught.value)
