"""Out-of-fold predictions: folds that are balanced, networks that have not seen what they are asked about, one temperature."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from uqkd import seeds
from uqkd.classify import Mixing, out_of_fold, perceptron
from uqkd.classify.crossfit import OutOfFold, split_folds
from uqkd.errors import DataError, DivergedError, NotFiniteError, OptionError, ShapeError
from uqkd.estimators import negative_log_likelihood
from uqkd.stacked import Recipe

KEY = ("test", "class crossfit")
P, C = 60, 3
X = seeds.generator(*KEY, "X").standard_normal((P, 4))
SCORES = 2.0 * X @ seeds.generator(*KEY, "scores").standard_normal((4, C))
LABELS = (SCORES + seeds.generator(*KEY, "noise").gumbel(size=SCORES.shape)).argmax(axis=1)
RECIPE = Recipe(steps=150, batch=16, lr=0.02)
ALPHA = 1e-5  # false alarms of one test by chance: 1e-3 over a family of a hundred


def fit(X=X, labels=LABELS, **options):
    common = {"classes": C, "factory": lambda: perceptron(4, C, hidden=(6,)), "recipe": RECIPE, "key": KEY}
    return out_of_fold(X, labels, **{**common, **options})


@pytest.fixture(scope="module")
def found():
    return fit()


# --------------------------------------------------------------------------------------------------------------- folds


def balanced(place, labels, folds):
    """Every class is spread to one row over the folds, and so are all rows."""
    sizes = np.stack([np.bincount(place[labels == c], minlength=folds) for c in np.unique(labels)])
    return np.ptp(sizes, axis=1).max() <= 1 and np.ptp(sizes.sum(axis=0)) <= 1


@given(st.lists(st.integers(2, 9), min_size=1, max_size=12), st.integers(2, 6), st.integers(0, 10**6))
def test_folds_are_stratified_and_balanced(counts, folds, salt):
    labels = seeds.generator(*KEY, "shuffled", salt).permutation(np.repeat(np.arange(len(counts)), counts))
    if folds > len(labels):
        return
    place = split_folds(labels, folds=folds, key=(*KEY, salt))
    assert place.shape == labels.shape
    assert balanced(place, labels, folds)


def test_wrong_splits_are_seen():
    labels = np.repeat(np.arange(7), 3)
    started_anew = np.concatenate([np.arange(3) % 5 for _ in range(7)])  # every class begins with fold 0
    in_blocks = np.repeat(np.arange(5), [5, 4, 4, 4, 4])  # rows one after another, which are sorted by class
    at_random = seeds.generator(*KEY, "at random").integers(5, size=21)
    assert balanced(split_folds(labels, folds=5, key=KEY), labels, 5)
    assert not balanced(started_anew, labels, 5)
    assert not balanced(in_blocks, labels, 5)
    assert not balanced(at_random, labels, 5)


def test_rows_fall_into_folds_at_random():
    """30 rows of two classes into 3 folds, 600 keys: each row is in each fold a third of the time; chi-square per row."""
    labels = np.arange(30) % 2
    place = np.stack([split_folds(labels, folds=3, key=(*KEY, "random", i)) for i in range(600)])
    counts = np.stack([(place == f).sum(axis=0) for f in range(3)])
    p = stats.chi2.sf(((counts - 200.0) ** 2 / 200.0).sum(axis=0), 2)
    assert p.min() > ALPHA / 30
    together = (place[:, 0] == place[:, 2]).mean()  # two of one class of 15: 4 others of 14 in the same fold
    assert abs(together - 4 / 14) < stats.norm.isf(ALPHA / 2) * np.sqrt(0.25 / 600)
    np.testing.assert_array_equal(split_folds(labels, folds=3, key=KEY), split_folds(labels, folds=3, key=KEY))


# --------------------------------------------------------------------------------------- what a network has not seen


def test_a_row_is_predicted_by_the_network_of_its_own_fold(found):
    every = found.folds.logits(X)
    for row in range(P):
        np.testing.assert_array_equal(found.logits[row], every[found.fold[row], row])
    assert len(found.folds.kept) == 5
    assert np.abs(every[0] - every[1]).max() > 1e-2


def test_rows_of_a_fold_have_no_effect_on_its_network(found):
    """To the bit; the networks of all other folds do see them."""
    for fold in (0, 3):
        changed = np.where((found.fold == fold)[:, None], X + 5.0, X)
        other = fit(X=changed)
        np.testing.assert_array_equal(other.fold, found.fold)
        same = [
            all(
                torch.equal(a, b)
                for a, b in zip(found.folds.alone(f).parameters(), other.folds.alone(f).parameters(), strict=True)
            )
            for f in range(5)
        ]
        assert same == [f == fold for f in range(5)]


def test_a_network_that_memorises_is_at_chance_out_of_fold():
    """Rows that have nothing in common and labels at random: a network that saw a row knows its label, another guesses.

    160 rows of two classes; of labels that are held out no more than a half is guessed, by chance up to the quantile.
    """
    rows = 160
    labels = seeds.generator(*KEY, "memorised").permutation(np.arange(rows) % 2)
    found = fit(
        X=3.0 * np.eye(rows), labels=labels, classes=2, factory=lambda: perceptron(rows, 2, hidden=(16,)),
        recipe=Recipe(steps=300, batch=32, lr=0.02),
    )  # fmt: skip
    right = found.probabilities.argmax(axis=1) == labels
    assert right.sum() < stats.binom.isf(ALPHA, rows, 0.5)
    every = found.folds.logits(3.0 * np.eye(rows)).argmax(axis=-1) == labels
    for shift in (1, 2):  # networks that saw the row
        assert every[(found.fold + shift) % 5, np.arange(rows)].mean() > 0.95


def test_equal_keys_give_equal_predictions(found):
    np.testing.assert_array_equal(fit().logits, found.logits)
    other = fit(key=(*KEY, "other"))
    assert (other.fold != found.fold).any()
    assert np.abs(other.logits - found.logits).max() > 1e-2


def test_mixing_is_that_of_the_teacher(found):
    assert np.abs(fit(mixing=Mixing()).logits - found.logits).max() > 1e-2


# --------------------------------------------------------------------------------------------------------- temperature


def test_probabilities_are_those_of_the_logits(found):
    np.testing.assert_allclose(found.probabilities, special.softmax(found.logits, axis=1), rtol=1e-14, atol=0)


def test_calibrated_predictions_minimise_the_log_loss_over_temperatures(found):
    best = found.temperature(LABELS).temperature
    calibrated = found.calibrated(LABELS)
    np.testing.assert_allclose(calibrated, special.softmax(found.logits / best, axis=1), rtol=1e-13, atol=0)
    lowest = negative_log_likelihood(calibrated, LABELS)
    for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0, 1.0 / best):
        assert negative_log_likelihood(special.softmax(found.logits / (best * factor), axis=1), LABELS) > lowest
    # and the derivative in 1/T, the mean of E[z] − z_y, is 0 to the rounding of a mean of logits of size 10
    slope = ((calibrated * found.logits).sum(axis=1) - found.logits[np.arange(P), LABELS]).mean()
    assert abs(slope) < 1e-12


def test_the_temperature_finds_the_one_that_labels_were_drawn_at():
    """Labels drawn from softmax(z/3): the maximum-likelihood temperature is within its standard error, (Σ Var z)^-½ · T²."""
    draw = seeds.generator(*KEY, "drawn")
    logits = draw.normal(0.0, 3.0, (4_000, C))
    labels = (logits / 3.0 + draw.gumbel(size=logits.shape)).argmax(axis=1)
    seen = OutOfFold(logits, np.zeros(4_000, dtype=np.int64), None).temperature(labels).temperature
    p = special.softmax(logits / 3.0, axis=1)
    information = (p * logits**2).sum() - ((p * logits).sum(axis=1) ** 2).sum()  # of 1/T
    error = 3.0**2 / np.sqrt(information)
    assert abs(seen - 3.0) < stats.norm.isf(ALPHA / 2) * error
    assert (
        stats.norm.isf(ALPHA / 2) * error < 1.0
    )  # temperature 1, that of a network that is not calibrated, is far outside


# ------------------------------------------------------------------------------------------------------ what is asked


def with_one_row_of(label):
    return np.where(np.arange(P) == 0, label, LABELS % label)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"folds": 1}, OptionError, "2 <= folds <= rows; got folds=1, 60 rows"),
        ({"folds": 61}, OptionError, "folds=61"),
        ({"recipe": Recipe(steps=3)}, OptionError, "folds of different sizes; give the recipe a batch size"),
        ({"labels": with_one_row_of(2)}, DataError, "class 2 has one row: .* Bring another row of it, or drop it"),
        ({"labels": LABELS + 1}, DataError, "labels must lie in 0 to 2; got 3"),
        ({"labels": LABELS * 1.0}, DataError, "labels must be integers"),
        ({"labels": LABELS[:9]}, ShapeError, r"labels needs shape \(P=60,\)"),
        ({"classes": 1}, OptionError, "classes >= 2; got classes=1"),
        ({"X": np.where(np.arange(P)[:, None] == 4, np.nan, X)}, NotFiniteError, "in 1 of 60 rows; the first is row 4"),
        ({"X": X[:0], "labels": LABELS[:0]}, OptionError, "0 rows"),
        ({"recipe": Recipe(steps=3, batch=50)}, OptionError, "batch=50, rows=48"),
    ],
)
def test_what_cannot_be_cross_fitted_is_named(options, error, message):
    with pytest.raises(error, match=message) as caught:
        fit(**options)
    assert "\n" not in str(caught.value)


def test_folds_that_diverge_are_called_folds():
    with pytest.raises(
        DivergedError, match=r"of 5 folds diverged: fold 0 at step \d+.* Lower the learning rate or clip.$"
    ):
        fit(recipe=Recipe(steps=9, batch=16, optimiser="sgd", lr=1e30))
    with pytest.raises(OptionError, match="key must be a tuple of names"):
        fit(key="fkey")
    with pytest.raises(OptionError, match="got folds=2.5"):
        fit(folds=2.5)
