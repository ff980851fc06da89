"""Neural teachers: they fit, they are the same wherever they are fitted, and they answer as they say."""

import numpy as np
import pytest

from uqkd import seeds
from uqkd.errors import DataError, DivergedError, OptionError, ShapeError, VarianceError
from uqkd.mlp import Recipe, SeedDesign, Teacher
from uqkd.mlp.teacher import labels_at

X = np.linspace(-1.5, 1.5, 40)[:, None]
Y = np.sin(2 * X[:, 0])
KEY = ("test", "teacher")
RECIPE = Recipe(steps=400, lr=0.02)


def fitted(**options):
    return Teacher.fit(X, Y, **{"noise_var": 0.5, "recipe": RECIPE, "key": KEY, **options})


def test_it_learns_what_no_line_can():
    residual = Y - fitted().predict_mean(X)
    line = Y - np.polyval(np.polyfit(X[:, 0], Y, 1), X[:, 0])
    assert (residual**2).mean() < 0.05 * (line**2).mean()


def test_equal_arguments_are_one_teacher_and_another_key_is_another():
    first, again, other = fitted(), fitted(noise_var=0.1), fitted(key=("another",))
    for name, values in first.parameters.items():
        np.testing.assert_array_equal(values, again.parameters[name])
    assert not np.array_equal(first.predict_mean(X), other.predict_mean(X))
    with seeds.ledger():  # several cells of a study fit the same teacher: no reuse of randomness
        fitted()
        fitted(recipe=Recipe(steps=20, batch=8))
        fitted(recipe=Recipe(steps=20, batch=8))


def test_responses_scatter_about_its_mean():
    """20,000 per prompt: 5 standard errors of a mean are .025, of the variance over all prompts .005."""
    teacher = fitted()
    responses = teacher.respond(X, 50, students=400, key=(*KEY, "answers"))
    assert responses.shape == (400, 40, 50)
    np.testing.assert_allclose(responses.mean(axis=(0, 2)), teacher.predict_mean(X), atol=0.025)
    noise = responses - teacher.predict_mean(X)[:, None]
    assert abs(noise.var() - 0.5) < 0.005
    shared = np.corrcoef(noise[:, :2].reshape(400, -1), rowvar=False)[np.triu_indices(100, 1)]
    assert np.abs(shared).max() < 5.5 / np.sqrt(
        400
    )  # 4,950 correlations: neither prompts nor responses share their noise
    sample = teacher.respond(X, 3, students=SeedDesign.independent(2), key=KEY)
    assert sample.shape == (2, 40, 3)
    np.testing.assert_array_equal(
        fitted(noise_var=0.0).respond(X, 2, students=2, key=KEY)[1, :, 1], teacher.predict_mean(X)
    )


def test_labels_are_picked_by_inversion():
    p = np.array([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]])
    uniform = np.array([[0.0, 0.0], [0.199, 0.5], [0.2, 0.999], [0.69, 0.1], [0.71, 0.2]])
    np.testing.assert_array_equal(labels_at(p, uniform), [[0, 1], [0, 1], [1, 1], [1, 1], [2, 1]])


def test_class_teacher_learns_and_answers_by_its_probabilities():
    labels = np.searchsorted([-0.5, 0.5], X[:, 0])
    teacher = Teacher.fit(X, labels, classes=3, hidden=(16,), recipe=RECIPE, key=KEY)
    assert (teacher.predict_proba(X).argmax(axis=1) == labels).mean() > 0.9
    np.testing.assert_allclose(teacher.predict_proba(X).sum(axis=1), 1.0, rtol=1e-14)
    drawn = teacher.respond(X, 50, students=200, key=(*KEY, "labels"))
    assert drawn.shape == (200, 40, 50)
    share = np.stack([(drawn == c).mean(axis=(0, 2)) for c in range(3)], axis=1)
    np.testing.assert_allclose(share, teacher.predict_proba(X), atol=5 * np.sqrt(0.25 / 10_000))


def test_temperature_divides_the_logits():
    """Twice the temperature: the square roots of the probabilities, normalised."""
    labels = (X[:, 0] > 0).astype(int)
    cold, warm = (
        Teacher.fit(X, labels, classes=2, recipe=RECIPE, key=KEY, temperature=t).predict_proba(X) for t in (1.0, 2.0)
    )
    root = np.sqrt(cold)
    np.testing.assert_allclose(warm, root / root.sum(axis=1, keepdims=True), rtol=1e-12)


def test_a_teacher_is_trained_and_answers_with_its_activation():
    def outputs(p, act):
        return act(X @ p["0.weight"][0].T + p["0.bias"][0]) @ p["2.weight"][0].T + p["2.bias"][0]

    labels = np.searchsorted([-0.5, 0.5], X[:, 0])
    line = Y - np.polyval(np.polyfit(X[:, 0], Y, 1), X[:, 0])
    for name, act in (("tanh", np.tanh), ("relu", lambda z: np.maximum(z, 0))):
        teacher = fitted(activation=name)
        np.testing.assert_allclose(
            teacher.predict_mean(X), outputs(teacher.parameters, act)[:, 0], rtol=1e-6, atol=1e-6
        )
        assert ((Y - teacher.predict_mean(X)) ** 2).mean() < 0.05 * (line**2).mean()  # it answers by what was trained
        classes = Teacher.fit(
            X, labels, classes=3, hidden=(16,), recipe=RECIPE, key=KEY, activation=name, temperature=2.0
        )
        odds = np.exp(outputs(classes.parameters, act) / 2.0)
        np.testing.assert_allclose(classes.predict_proba(X), odds / odds.sum(axis=1, keepdims=True), atol=1e-6)
        assert (classes.predict_proba(X).argmax(axis=1) == labels).mean() > 0.9
    assert not np.array_equal(fitted(activation="tanh").predict_mean(X), fitted().predict_mean(X))


def test_bad_teachers_are_refused():
    for both in ({}, {"noise_var": 1.0, "classes": 2}):
        with pytest.raises(OptionError, match="needs noise_var, one of labels needs classes"):
            Teacher.fit(X, Y, key=KEY, **both)
    with pytest.raises(OptionError, match="has no probabilities; call predict_mean"):
        fitted().predict_proba(X)
    labelling = Teacher.fit(X, (X[:, 0] > 0).astype(int), classes=2, recipe=RECIPE, key=(*KEY, "labels"))
    with pytest.raises(OptionError, match="has no mean; call predict_proba"):
        labelling.predict_mean(X)
    with pytest.raises(VarianceError, match="noise_var"):
        fitted(noise_var=-1.0)
    with pytest.raises(ShapeError, match="X has 40 rows but y has 39"):
        Teacher.fit(X, Y[:-1], noise_var=0.0, key=KEY)
    with pytest.raises(ShapeError, match=r"labels has shape \(39,\)"):
        Teacher.fit(X, np.zeros(39, dtype=int), classes=2, key=KEY)
    with pytest.raises(DataError, match="no row has label 1 of 2"):
        Teacher.fit(X, np.zeros(40, dtype=int), classes=2, key=KEY)
    with pytest.raises(OptionError, match="temperature"):
        Teacher.fit(X, (X[:, 0] > 0).astype(int), classes=2, key=KEY, temperature=0.0)
    with pytest.raises(OptionError, match="students=0"):
        fitted().respond(X, 1, students=0, key=KEY)
    with pytest.raises(DivergedError):
        Teacher.fit(X, Y * 1e30, noise_var=0.0, key=KEY)  # squares beyond float32
