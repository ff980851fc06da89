"""Evidence of the projection: confusion, neighbourhoods and bounds by hand, their coverage, and that they can always be met."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from uqkd import seeds
from uqkd.classify import evidence_from, project, project_groups
from uqkd.classify.targets.evidence import FEWEST, soft_confusion
from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError
from uqkd.estimators import entropy

KEY = ("test", "evidence")
Z = 4.417  # standard errors: a false alarm of 1e-5, that is 1e-3 over a family of a hundred
SLACK = 1e-9  # what projections promise, in probability and nats


def cases(rows, classes, concentration=1.0, *salt):
    """Predictions and labels in which every class occurs."""
    draw = seeds.generator(*KEY, rows, classes, concentration, *salt)
    labels = np.concatenate([np.arange(classes), draw.integers(classes, size=rows - classes)])
    weight = concentration * (0.2 + 2.0 * np.eye(classes)[labels])
    p = draw.standard_gamma(weight) + 1e-300
    return p / p.sum(axis=1, keepdims=True), labels


# ----------------------------------------------------------------------------------------------- confusion, neighbours


def test_soft_confusion_by_hand():
    p = [[0.5, 0.3, 0.2], [0.7, 0.1, 0.2], [0.2, 0.6, 0.2], [0.0, 0.0, 1.0]]
    expected = [[0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.0, 0.0, 1.0]]
    np.testing.assert_allclose(soft_confusion(p, [0, 0, 1, 2]), expected, rtol=0, atol=1e-15)


def test_soft_confusion_is_the_mean_row_of_each_label():
    p, labels = cases(80, 6)
    expected = np.stack([p[labels == y].mean(axis=0) for y in range(6)])
    np.testing.assert_allclose(soft_confusion(p, labels), expected, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(evidence_from(p, labels).confusion, soft_confusion(p, labels))


def fewest(row, label, coverage):
    """Size of the smallest set with the label in it that holds the share, by trying all of them."""
    others = [c for c in range(len(row)) if c != label]
    for size in range(len(row)):
        for more in itertools.combinations(others, size):
            if row[[label, *more]].sum() >= coverage - 1e-12:
                return size + 1
    return len(row)


def is_neighbourhood(near, row, label, coverage):
    return bool(near[label]) and row[near].sum() >= coverage - 1e-12 and near.sum() == fewest(row, label, coverage)


@pytest.mark.parametrize("coverage", [0.3, 0.6, 0.95, 1.0])
def test_neighbourhoods_are_the_smallest_sets_with_the_label_in_them(coverage):
    for salt in range(20):
        p, labels = cases(30, 6, 1.0, salt)
        labels = (labels + salt % 3) % 6  # also labels whose rows look like another class
        found = evidence_from(p, labels, coverage=coverage)
        for i, y in enumerate(labels):
            assert is_neighbourhood(found.near[i], found.confusion[y], y, coverage)


def test_neighbourhoods_by_hand_where_masses_are_equal():
    """Halves and quarters are exact: a set that holds just the share is enough, and the label is in it with no mass at all."""
    p = np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    near = evidence_from(p, [0, 1, 2], coverage=0.75, bins=1).near
    np.testing.assert_array_equal(near, [[True, True, False], [True, True, False], [False, True, True]])
    near = evidence_from(p, [0, 1, 2], coverage=0.5, bins=1).near
    np.testing.assert_array_equal(near, [[True, False, False], [True, True, False], [False, False, True]])


def test_wrong_neighbourhoods_are_seen():
    row = np.array([0.1, 0.5, 0.3, 0.1])
    by_mass = np.array([False, True, True, False])  # the label itself forgotten
    one_short = np.array([True, True, False, False])
    one_too_many = np.array([True, True, True, True])
    assert is_neighbourhood(np.array([True, True, True, False]), row, 0, 0.8)
    for wrong in (by_mass, one_short, one_too_many):
        assert not is_neighbourhood(wrong, row, 0, 0.8)


def test_wrong_classes_are_rare_ones_outside_the_neighbourhood():
    p, labels = cases(60, 8, 0.3)
    for rare in (0.0, 0.1, 0.5, 8.0):
        found = evidence_from(p, labels, rare=rare, coverage=0.9)
        for i, y in enumerate(labels):
            np.testing.assert_array_equal(found.wrong[i], (found.confusion[y] < rare / 8) & ~found.near[i])
        assert not (found.near & found.wrong).any()
    assert not evidence_from(p, labels, rare=0.0).wrong.any()
    assert (evidence_from(p, labels, rare=8.0).wrong == ~evidence_from(p, labels).near).all()


# -------------------------------------------------------------------------------------------------------------- bounds


def test_bounds_by_hand():
    """Per label and bin of difficulty: the Student bound of its rows, or where they are few that of the bin."""
    p, labels = cases(120, 4, 2.0)
    found = evidence_from(p, labels, level=0.8, bins=3)
    np.testing.assert_allclose(found.difficulty, 1 - p[np.arange(120), labels], rtol=0, atol=1e-15)
    cuts = np.sort(found.difficulty)[[40, 80]]
    bin_ = (found.difficulty[:, None] >= cuts).sum(axis=1)
    np.testing.assert_array_equal(np.bincount(bin_), [40, 40, 40])
    few = 0
    for i in range(120):
        rows = np.flatnonzero((bin_ == bin_[i]) & (labels == labels[i]))
        if len(rows) < FEWEST:
            few, rows = few + 1, np.flatnonzero(bin_ == bin_[i])
        near = np.array([p[r, found.near[r]].sum() for r in rows])
        wrong = np.array([p[r, found.wrong[r]].sum() for r in rows])
        reach = stats.t.ppf(0.8, len(rows) - 1) / np.sqrt(len(rows))
        assert abs(found.near_min[i] - max(near.mean() - reach * near.std(ddof=1), 0.0)) < 1e-12
        assert abs(found.wrong_max[i] - min(wrong.mean() + reach * wrong.std(ddof=1), 1.0)) < 1e-12
    assert 0 < few < 60  # both kinds are in the case


CLASSES, ROWS, CALLS = 100, 5, 100


def masses():
    """Calls of `evidence_from` on neighbourhood masses that are normal about .9, and the rest wrong: about .1."""
    labels = np.repeat(np.arange(CLASSES), ROWS)
    own, next_to = np.eye(CLASSES)[labels], np.eye(CLASSES)[(labels + 1) % CLASSES]
    for call in range(CALLS):
        e = seeds.generator(*KEY, "coverage", call).normal(0.0, 0.01, (len(labels), 1))
        p = (0.6 + e) * own + 0.3 * next_to + (0.1 - e) / (CLASSES - 2) * (1 - own - next_to)
        found = evidence_from(p / p.sum(axis=1, keepdims=True), labels, coverage=0.85, rare=0.2, level=0.9, bins=1)
        assert (found.near.sum(axis=1) == 2).all()
        assert (found.wrong.sum(axis=1) == CLASSES - 2).all()
        yield e.reshape(CLASSES, ROWS), found.near_min[::ROWS], found.wrong_max[::ROWS]


@pytest.mark.slow
def test_the_mean_mass_is_within_its_bound_as_often_as_stated():
    """10,000 bounds from 5 normal masses each: 90 % hold, with a standard error of √(.9 · .1/10,000) = .003, so ± .0133.

    Bounds by the normal quantile hold 86.5 % of the time, with ddof 0 87.9 %, two-sided ones 95 %, of the single mass
    about 50 % or 100 %: all are outside.
    """
    tolerance = Z * np.sqrt(0.9 * 0.1 / (CLASSES * CALLS))
    within, share = {"near": [], "wrong": []}, {}
    others = {"normal quantile": [], "ddof 0": [], "two-sided": [], "no bound": []}
    student = stats.t.ppf(0.9, ROWS - 1) / np.sqrt(ROWS)
    for e, near_min, wrong_max in masses():
        within["near"].append(near_min <= 0.9)
        within["wrong"].append(wrong_max >= 0.1)
        mean, sd = e.mean(axis=1), e.std(axis=1, ddof=1)
        np.testing.assert_allclose(near_min, 0.9 + mean - student * sd, rtol=0, atol=1e-12)
        others["normal quantile"].append(mean - stats.norm.ppf(0.9) / np.sqrt(ROWS) * sd <= 0)
        others["ddof 0"].append(mean - student * e.std(axis=1) <= 0)
        others["two-sided"].append(mean - stats.t.ppf(0.95, ROWS - 1) / np.sqrt(ROWS) * sd <= 0)
        others["no bound"].append(mean <= 0)
    share = {name: np.mean(values) for name, values in (within | others).items()}
    for name in within:
        assert abs(share[name] - 0.9) <= tolerance, (name, share[name])
    for name in others:
        assert abs(share[name] - 0.9) > tolerance, (name, share[name])


def test_entropy_is_that_of_the_prediction_or_the_most_that_the_bounds_leave():
    p, labels = cases(90, 5, 3.0)
    found = evidence_from(p, labels)
    own = entropy(p)
    np.testing.assert_array_equal(found.entropy_min[~found.lowered], own[~found.lowered])
    even = np.full(p.shape, 0.2)
    most = entropy(project_groups(even, found.near, found.wrong, near_min=found.near_min, wrong_max=found.wrong_max))
    assert (found.entropy_min <= most).all()
    assert (found.entropy_min[found.lowered] < own[found.lowered]).all()
    np.testing.assert_allclose(found.entropy_min[found.lowered], most[found.lowered], rtol=2e-6, atol=0)
    assert (found.lowered == (own > most * (1 - 1e-6))).all()


# ------------------------------------------------------------------------------------------------- always to be met


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([2, 3, 5, 20, 150]),
    st.integers(0, 40),
    st.sampled_from([0.01, 0.1, 1.0, 20.0]),
    st.booleans(),
    st.sampled_from([1.0, 10.0, 30.0]),
    st.sampled_from([(0.95, 0.1, 0.9, 3), (0.5, 1.0, 0.5, 1), (1.0, 0.0, 0.99, 7), (0.8, 4.0, 0.9, 2)]),
    st.integers(0, 10**6),
)
def test_every_projection_with_this_evidence_succeeds(classes, more, concentration, certain, scale, options, salt):
    """Two classes and many, certain predictions, single rows of a class, teachers sure of the wrong class."""
    p, labels = cases(classes + more, classes, concentration, salt)
    if certain:
        p = np.eye(classes)[p.argmax(axis=1)]
    coverage, rare, level, bins = options
    found = evidence_from(p, labels, coverage=coverage, rare=rare, level=level, bins=bins)
    draw = seeds.generator(*KEY, "teacher", salt)
    teacher = special.softmax(draw.normal(0.0, scale, p.shape), axis=1)
    for method in ("groups", "groups_entropy"):
        q = project(teacher, method, labels=labels, evidence=found).probabilities[0]
        np.testing.assert_allclose(q.sum(axis=1), 1.0, rtol=0, atol=SLACK)
        assert q.min() >= 0
        assert ((q * found.near).sum(axis=1) >= found.near_min - SLACK).all()
        assert ((q * found.wrong).sum(axis=1) <= found.wrong_max + SLACK).all()
        if method == "groups_entropy":
            assert (entropy(q) >= found.entropy_min - SLACK).all()


def test_bounds_that_do_not_come_from_evidence_can_fail():
    """The test above would see it: an entropy that the bounds do not leave is an error."""
    p, labels = cases(40, 5, 0.1)
    found = evidence_from(p, labels)
    with pytest.raises(DataError, match="entropy_min exceeds what the groups .* allow in row 0"):
        project_groups(
            np.full(p.shape, 0.2), found.near, found.wrong, near_min=1.0, wrong_max=0.0, entropy_min=np.log(5.0)
        )


# ------------------------------------------------------------------------------------------------------ what is asked

GOOD, LABELS = cases(12, 3)


@pytest.mark.parametrize(
    ("probs", "labels", "error", "message"),
    [
        (2 * GOOD, LABELS, DataError, "must sum to one over classes, .* row .* sums to 2"),
        (GOOD - 0.5, LABELS, DataError, "negative probability"),
        (np.where(GOOD > 0.5, np.nan, GOOD), LABELS, NotFiniteError, "probs holds"),
        (GOOD[:, :1] * 0 + 1, LABELS * 0, ShapeError, "C >= 2"),
        (GOOD[0], LABELS, ShapeError, r"predictions \(P, C\); got shape \(3,\)"),
        (GOOD[None], LABELS, ShapeError, r"predictions \(P, C\); got shape \(1, 12, 3\)"),
        (GOOD[:0], LABELS[:0], ShapeError, "empty"),
        (GOOD, LABELS + 1, DataError, "labels must lie in 0 to 2; got 3 at index"),
        (GOOD, LABELS * 1.0, DataError, "labels must be integers"),
        (GOOD, LABELS[:5], ShapeError, r"labels needs shape \(P=12,\)"),
        (GOOD, np.minimum(LABELS, 1), DataError, "class 2 of 3 has no row"),
    ],
)
def test_predictions_that_are_none_are_named(probs, labels, error, message):
    for ask in (soft_confusion, evidence_from):
        with pytest.raises(error, match=message):
            ask(probs, labels)


@pytest.mark.parametrize(
    "options", [{"coverage": 0.0}, {"coverage": 1.1}, {"rare": -0.1}, {"level": 0.4}, {"level": 1.0}, {"bins": 0},
                {"coverage": np.nan}],
)  # fmt: skip
def test_options_outside_their_range(options):
    with pytest.raises(
        OptionError, match=r"bounds need coverage in \(0, 1\], level in \[.5, 1\), bins >= 1, rare >= 0; got"
    ):
        evidence_from(GOOD, LABELS, **options)


def test_more_bins_than_rows_leave_one_row_a_bin():
    found = evidence_from(GOOD, LABELS, bins=50)
    np.testing.assert_allclose(found.near_min, (GOOD * found.near).sum(axis=1), rtol=0, atol=1e-12)
