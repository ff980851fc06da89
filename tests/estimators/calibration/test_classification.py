"""The summary of a classifier: hand cases, torchmetrics and scikit-learn, temperatures that do not exist, refusals."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch
from scipy import optimize, special
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score
from torchmetrics.functional.classification import multiclass_calibration_error

from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError
from uqkd.estimators import (
    MEASURES,
    Measure,
    accuracy,
    expected_calibration_error,
    negative_log_likelihood,
    overconfidence_error,
    signed_gap,
    summarise_classifier,
)
from uqkd.estimators.calibration import summary as summary_module
from uqkd.seeds import generator

PROBS = np.array([[[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]], [[0.9, 0.1], [0.1, 0.9], [0.4, 0.6]]])
LABELS = np.array([0, 1, 1])
PLAIN = (
    "accuracy", "nll", "brier", "ece", "ece_debiased", "ece_mass", "signed_gap", "overconfidence", "correctness_auroc", "aurc",
)  # fmt: skip
SCALED = ("temperature", "nll_scaled", "ece_scaled", "signed_gap_scaled")


def _drawn(name, students=3, points=2000, classes=10, sharpness=2.0):
    """Students that are overconfident by `sharpness`: labels are drawn from the softer probabilities of the first."""
    rng = generator("test", "classification", name)
    logits = 1.5 * rng.normal(size=(points, classes)) + 0.3 * rng.normal(size=(students, points, classes))
    calm = special.softmax(logits[0], axis=-1)
    labels = (rng.random(points)[:, None] > calm.cumsum(axis=1)[:, :-1]).sum(axis=1)
    return special.softmax(sharpness * logits, axis=-1), labels


def test_by_hand():
    summary = summarise_classifier(PROBS, LABELS)
    np.testing.assert_allclose(summary.accuracy, [2 / 3, 1.0], rtol=1e-15)
    np.testing.assert_allclose(
        summary.nll, [-np.log([0.9, 0.2, 0.6]).mean(), -np.log([0.9, 0.9, 0.6]).mean()], rtol=1e-13
    )
    np.testing.assert_allclose(summary.brier, [(0.02 + 1.28 + 0.32) / 3, (0.02 + 0.02 + 0.32) / 3], rtol=1e-13)
    # confidences .9 .8 .6 in bins of their own
    np.testing.assert_allclose(summary.ece, [(0.1 + 0.8 + 0.4) / 3, (0.1 + 0.1 + 0.4) / 3], rtol=1e-13)
    np.testing.assert_allclose(summary.overconfidence, [0.8 * 0.8 / 3, 0.0], rtol=1e-13)
    np.testing.assert_allclose(summary.signed_gap, [2.3 / 3 - 2 / 3, 2.4 / 3 - 1], rtol=1e-13)
    np.testing.assert_array_equal(summary.correctness_auroc, [0.5, np.nan])  # wrong at .8, right at .9 and .6
    np.testing.assert_allclose(summary.aurc, [(0 + 1 / 2 + 1 / 3) / 3, 0.0], rtol=1e-15)
    assert summary.temperature is summary.nll_scaled is summary.without_temperature is None
    assert summary.undefined == {"correctness_auroc": 1}
    table = summary.table()
    assert tuple(table) == PLAIN
    assert table["accuracy"] == pytest.approx((5 / 6, 1 / 6), rel=1e-14)  # standard error of two: half their distance
    assert table["correctness_auroc"] == pytest.approx((0.5, np.nan), nan_ok=True)


@pytest.mark.parametrize("classes", [2, 10])
def test_against_torchmetrics_and_scikit_learn(classes):
    """20,000 random points, none of them on an edge of a bin, where torchmetrics' [low, high) differs from ours.

    torchmetrics sums in single precision: 20,000 roundings of 6e-8 of a share, as a random walk 1e-5.
    """
    probs, labels = _drawn(("peers", classes), students=2, points=20_000, classes=classes)
    doubt = 0.9 * probs.max(axis=-1, keepdims=True) ** 4  # under-confident where they are surest, over-confident
    probs = (1 - doubt) * probs + doubt / classes  # elsewhere: gaps of one sign would add up to the same in any bins
    summary = summarise_classifier(probs, labels)
    for s, one in enumerate(probs):
        peer = float(
            multiclass_calibration_error(torch.from_numpy(one), torch.from_numpy(labels), classes, n_bins=15, norm="l1")
        )
        assert summary.ece[s] == pytest.approx(peer, abs=1e-5)
        for wrong in (overconfidence_error(one, labels), expected_calibration_error(one, labels, bins=2)):
            assert abs(wrong - peer) > 1e-4
        assert summary.accuracy[s] == accuracy_score(labels, one.argmax(axis=1))
        assert summary.nll[s] == pytest.approx(log_loss(labels, one), rel=1e-11)
        peer = brier_score_loss(labels, one, labels=range(classes), scale_by_half=False)
        assert summary.brier[s] == pytest.approx(peer, rel=1e-11)
        right = one.argmax(axis=1) == labels
        assert summary.correctness_auroc[s] == pytest.approx(roc_auc_score(right, one.max(axis=1)), rel=1e-11)
        assert summary.signed_gap[s] == pytest.approx(one.max(axis=1).mean() - right.mean(), abs=1e-13)


def test_edges_of_bins_differ_from_torchmetrics_and_only_there():
    """Confidence 1/2 is an edge of two bins: (low, high] here as in Guo et al. (2017), [low, high) there."""
    probs, labels = np.array([[0.5, 0.5], [0.1, 0.9]]), np.array([0, 0])
    peer = multiclass_calibration_error(torch.from_numpy(probs), torch.from_numpy(labels), 2, n_bins=2, norm="l1")
    assert expected_calibration_error(probs, labels, bins=2) == pytest.approx((0.5 + 0.9) / 2, rel=1e-14)  # apart
    assert float(peer) == pytest.approx(abs(0.7 - 0.5), abs=1e-6)  # together; single precision
    moved = np.array([[0.5 - 2**-20, 0.5 + 2**-20], [0.1, 0.9]])
    peer = multiclass_calibration_error(torch.from_numpy(moved), torch.from_numpy(labels), 2, n_bins=2, norm="l1")
    assert expected_calibration_error(moved, labels, bins=2) == pytest.approx(float(peer), abs=1e-6)


def test_scaling_uses_the_calibration_part_alone():
    probs, labels = _drawn("test part")
    held, held_labels = _drawn("calibration part", points=3000)
    summary = summarise_classifier(probs, labels, calibration_probs=held, calibration_labels=held_labels)
    assert tuple(summary.table()) == PLAIN + SCALED
    assert summary.without_temperature == 0
    assert summary.undefined == {}
    for s in range(3):

        def loss(log_t, s=s):
            return log_loss(held_labels, special.softmax(np.log(held[s]) / np.exp(log_t), axis=1))

        best = optimize.minimize_scalar(loss, bounds=(-2, 3), method="bounded", options={"xatol": 1e-9})
        # a minimiser found from values of the loss, at rounding 1e-16, is good to their root
        assert summary.temperature[s] == pytest.approx(np.exp(best.x), rel=1e-6)
        after = special.softmax(np.log(probs[s]) / summary.temperature[s], axis=1)
        assert summary.nll_scaled[s] == pytest.approx(negative_log_likelihood(after, labels), rel=1e-11)
        assert summary.ece_scaled[s] == pytest.approx(expected_calibration_error(after, labels), abs=1e-11)
        assert summary.signed_gap_scaled[s] == pytest.approx(signed_gap(after, labels), abs=1e-12)
    # students were made overconfident by a factor of 2; labels are those of the first, so scaling all but repairs it
    assert summary.temperature[0] == pytest.approx(2.0, rel=0.1)
    assert (summary.signed_gap > 0.1).all()
    assert (np.abs(summary.signed_gap_scaled) < 0.05).all()
    assert (summary.nll_scaled < summary.nll).all()
    # wrong version: fitted on the test part
    wrong = summarise_classifier(probs, labels, calibration_probs=probs, calibration_labels=labels)
    assert (np.abs(wrong.temperature / summary.temperature - 1) > 1e-3).all()


def test_students_without_a_temperature_are_counted():
    right = [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]
    chance = [[0.1, 0.9], [0.8, 0.2], [0.6, 0.4]]
    sound = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]]
    summary = summarise_classifier(
        np.stack([PROBS[0]] * 4), LABELS, calibration_probs=[right, sound, chance, sound], calibration_labels=LABELS
    )
    assert summary.without_temperature == 2
    for name in SCALED:
        np.testing.assert_array_equal(np.isnan(getattr(summary, name)), [True, False, True, False])
    assert summary.undefined == dict.fromkeys(SCALED, 2)
    assert summary.table()["temperature"] == (summary.temperature[1], 0.0)  # the mean of those that have one
    none = summarise_classifier(PROBS[0], LABELS, calibration_probs=right, calibration_labels=LABELS)
    assert none.without_temperature == 1
    assert none.table()["ece_scaled"] == pytest.approx((np.nan, np.nan), nan_ok=True)


def test_other_errors_are_not_swallowed():
    with pytest.raises(DataError, match="got 2 at index 1"):
        summarise_classifier(PROBS, LABELS, calibration_probs=PROBS, calibration_labels=[0, 2, 1])
    with pytest.raises(DataError, match="sum to one"):
        summarise_classifier(PROBS, LABELS, calibration_probs=0.9 * PROBS, calibration_labels=LABELS)


def test_one_student_has_a_mean_and_no_error():
    one = summarise_classifier(PROBS[0], LABELS)
    for name, (mean, error) in one.table().items():
        assert mean == getattr(one, name)[0] == getattr(summarise_classifier(PROBS, LABELS), name)[0]
        assert np.isnan(error)


def test_zeros_and_half_precision():
    """A softmax in float32 leaves zeros: the likelihood is infinite as it must be, the temperature is still found."""
    logits = np.array([[200.0, 0.0], [0.0, 3.0], [2.0, 0.0], [4.0, 0.0]], dtype=np.float32)
    probs = special.softmax(logits, axis=1)
    assert probs.dtype == np.float32
    assert probs.min() == 0.0
    summary = summarise_classifier(probs, [1, 1, 0, 0], calibration_probs=probs, calibration_labels=[0, 1, 0, 1])
    assert summary.nll[0] == np.inf
    assert np.isfinite(summary.temperature[0])
    two = summarise_classifier(np.stack([probs, probs]), [1, 1, 0, 0]).table()["nll"]
    assert two == pytest.approx((np.inf, np.nan), nan_ok=True)
    rough, labels = _drawn("half", students=1)
    low = summarise_classifier(
        rough.astype(np.float16), labels, calibration_probs=rough.astype(np.float16), calibration_labels=labels
    )
    fine = summarise_classifier(rough, labels, calibration_probs=rough, calibration_labels=labels)
    for name in ("accuracy", "nll", "signed_gap", "temperature"):
        # float16 keeps 11 bits and loses probabilities below 6e-8, which are rare here and count for a part of T
        np.testing.assert_allclose(getattr(low, name), getattr(fine, name), rtol=0.05)


def test_the_summary_is_frozen_and_complete():
    summary = summarise_classifier(PROBS, LABELS, calibration_probs=PROBS[:, ::-1], calibration_labels=LABELS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        summary.nll = 0
    assert tuple(summary.per_student()) == PLAIN + SCALED
    for name in PLAIN + SCALED:
        assert getattr(summary, name) is summary.values[name]
    with pytest.raises(AttributeError, match="no measure 'ece_scald'; did you mean 'ece_scaled'"):
        summary.ece_scald  # noqa: B018
    again = pickle.loads(pickle.dumps(summary))
    np.testing.assert_array_equal(again.nll, summary.nll)
    assert copy.deepcopy(summary).without_temperature == summary.without_temperature


def test_a_measure_is_one_entry_of_the_registry_and_stands_in_every_table(monkeypatch):
    """The largest error of one point, as it is and after scaling; the others keep their bits."""

    def worst(probs, labels):
        p = np.asarray(probs)
        return (1.0 - p[..., np.arange(p.shape[-2]), labels]).max(axis=-1)

    held = {"calibration_probs": PROBS[:, ::-1], "calibration_labels": LABELS}
    before = summarise_classifier(PROBS, LABELS, **held)
    monkeypatch.setattr(summary_module, "MEASURES", {**MEASURES, "worst": Measure(worst, scaled=True)})
    after = summarise_classifier(PROBS, LABELS, **held)
    assert tuple(after.table()) == (*PLAIN, "worst", *SCALED, "worst_scaled")
    np.testing.assert_allclose(after.worst, [0.8, 0.4], rtol=1e-15)
    assert summarise_classifier(PROBS, LABELS).worst_scaled is None
    for name, values in before.per_student().items():
        np.testing.assert_array_equal(values, getattr(after, name))


def test_bad_input():
    for measure in (accuracy, summarise_classifier):
        with pytest.raises(ShapeError, match="C >= 2"):
            measure([[1.0]], [0])
        with pytest.raises(ShapeError, match="empty"):
            measure(np.zeros((0, 2)), [])
        with pytest.raises(NotFiniteError, match="probs"):
            measure([[np.nan, 1.0]], [0])
        with pytest.raises(DataError, match="got 2 at index 0"):
            measure([[0.5, 0.5]], [2])
        with pytest.raises(ShapeError, match="labels needs shape"):
            measure(PROBS, [0, 1])
    for half in ({"calibration_probs": PROBS}, {"calibration_labels": LABELS}):
        with pytest.raises(OptionError, match="go together"):
            summarise_classifier(PROBS, LABELS, **half)
    for held in (PROBS[:1], PROBS[0], np.full((2, 3, 3), 1 / 3)):
        with pytest.raises(ShapeError, match="calibration_probs needs the students and classes"):
            summarise_classifier(PROBS, LABELS, calibration_probs=held, calibration_labels=LABELS)
