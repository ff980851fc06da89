"""Tasks of studies of classifiers: their parts do not touch, rows stay with their labels, and posteriors are of their rows."""

import numpy as np
import pytest
from scipy import ndimage

from uqkd import data
from uqkd.data import tasks
from uqkd.errors import ProvenanceError
from uqkd.testbeds.cells import task_cell, task_of

DIGITS, TEXTS = data.load_task("digits"), data.load_task("intents:6")


def test_the_parts_of_digits_are_every_image_once_with_its_label():
    whole, parts = data.load_images("digits"), data.split_images(data.load_images("digits"), test_fraction=0.7)
    scaled = {row.tobytes(): label for row, label in zip(parts.standardised(whole.images), whole.labels, strict=True)}
    named = ((DIGITS.X, DIGITS.labels), (DIGITS.X_held, DIGITS.labels_held), (DIGITS.X_test, DIGITS.labels_test))
    seen = [row.tobytes() for X, _ in named for row in X]
    assert sorted(seen) == sorted(row.tobytes() for row in parts.standardised(whole.images))
    for X, labels in named:
        assert [scaled[row.tobytes()] for row in X] == labels.tolist()
    np.testing.assert_array_equal(DIGITS.X, parts.X)  # trained on 30 of 100, as the statement says
    # a part of each class in proportion, up to one image of each of the ten
    assert abs(len(DIGITS.X_held) - 0.3 * len(parts.X_test)) <= 10
    assert np.bincount(DIGITS.labels_held).min() > 0.25 * np.bincount(parts.labels_test).min()


def test_parts_of_texts_are_drawn_apart_and_keep_their_posteriors():
    world = data.IntentWorld.make(classes=6, key=("data", "intents"))
    for X, posterior in ((TEXTS.X, TEXTS.posterior), (TEXTS.X_test, TEXTS.posterior_test)):
        np.testing.assert_array_equal(posterior, world.posterior(X - TEXTS.pad - 1))  # a word's id is its place and one
    assert TEXTS.classes == world.classes
    for X, labels in ((TEXTS.X, TEXTS.labels), (TEXTS.X_held, TEXTS.labels_held), (TEXTS.X_test, TEXTS.labels_test)):
        assert X.min() == TEXTS.pad
        assert X.max() < TEXTS.vocabulary
        posterior = world.posterior(X - 1)
        # Labels are drawn from the posterior, so the best guess is right with its own probability: a mean of 2000 rows,
        # whose standard error is below .5/√2000 = .011.
        right = (posterior.argmax(axis=1) == labels).mean()
        assert right == pytest.approx(posterior.max(axis=1).mean(), abs=5 * 0.011)
    for one, other in ((TEXTS.X, TEXTS.X_held), (TEXTS.X, TEXTS.X_test), (TEXTS.X_held, TEXTS.X_test)):
        assert not np.array_equal(one, other)


def test_the_fingerprint_of_texts_is_that_of_every_part(monkeypatch):
    drawn = data.IntentWorld.draw
    for changed in ("train", "calibration", "test"):

        def other(self, n, *, key, changed=changed, **options):
            return drawn(self, n, key=(*key, "other") if key[-1] == changed else key, **options)

        monkeypatch.setattr(data.IntentWorld, "draw", other)
        tasks._loaded.cache_clear()
        assert data.load_task("intents:6").fingerprint != TEXTS.fingerprint
    monkeypatch.undo()
    tasks._loaded.cache_clear()
    assert data.load_task("intents:6").fingerprint == TEXTS.fingerprint


def test_a_cell_is_read_as_it_was_planned():
    cell = task_cell("digits", length=7, tokenizer="any", text="q", target="k")
    assert (cell["kind"], cell["reading"]) == ("images", {})  # what is said of texts does not change images
    assert task_of(cell).fingerprint == DIGITS.fingerprint
    sized = task_cell("digits", size=4)
    assert sized["reading"] == {"size": 4}
    assert task_of(sized).X.shape[2:] == (4, 4)
    with pytest.raises(ProvenanceError, match="changed during the run"):
        task_of({**cell, "data_fingerprint": "another"})


def test_classes_of_one_family_share_its_name_and_its_words():
    """Classes are sorted by name; families and words follow them. Sizes differ, and names past `TOPICS` are in no order."""
    world = data.IntentWorld.make(classes=99, family=2, overlap=0.0, key=("test", "tasks", "families"))
    heads = np.array([name.split("_")[0] for name in world.classes])
    np.testing.assert_array_equal(heads[:, None] == heads, world.families[:, None] == world.families)
    place = {word: n for n, word in enumerate(world.vocabulary)}
    own = world.word_probs[:, [place[head] for head in heads]]  # each class, the name of each family
    np.testing.assert_array_equal(own > 2 * own.min(), heads[:, None] == heads)


def test_blur_is_in_shares_of_the_height():
    images = np.zeros((1, 1, 20, 40))
    images[0, 0, 10, 20] = 1.0
    expected = ndimage.gaussian_filter(images[0, 0], 0.08 * 20, mode="reflect")
    np.testing.assert_array_equal(data.shifted(images, "blur", 4, key="shape")[0, 0], expected)


def test_noise_is_in_units_of_the_pixels_range():
    images = np.zeros((2, 1, 6, 6))
    for severity in (1, 5):
        unit = data.shifted(images, "noise", severity, key="range")
        np.testing.assert_allclose(data.shifted(images, "noise", severity, key="range", pixel_range=16.0), 16.0 * unit)
