"""Details of the projections that hold by proof: bounds of certificates, derivatives, blocks of rows, and near misses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from uqkd import seeds
from uqkd.classify.projections import groups, label_first, projection
from uqkd.classify.projections.certificate import duality_gap, label_first_gap
from uqkd.classify.projections.groups import Groups, Space
from uqkd.classify.projections.label_first import label_first_projection, project_label_first
from uqkd.classify.projections.label_first_family import LabelFirst
from uqkd.classify.projections.pairs import project_pairs
from uqkd.classify.projections.projection import group_projection, project_groups
from uqkd.errors import DataError, UqkdError

ROUNDING = 1e-12  # of sums of ten terms of order one
EVERY = {"near_min": 0.0, "wrong_max": 1.0}


def draw(*key, rows=200, classes=8):
    """Probabilities, near and wrong classes with two of each and a rest in every row."""
    generator = seeds.generator("test", "projection details", *key, shared=True)
    scores = 2.0 * generator.standard_normal((rows, classes))
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    code = generator.permuted(np.tile(np.arange(classes), (rows, 1)), axis=1)
    return p / p.sum(axis=1, keepdims=True), code < 2, (code >= 2) & (code < 4)


def kl(q, p):
    return (q * np.log(q / p)).sum(axis=1)


# ------------------------------------------------------------------------------------------------------ the certificates


def test_a_bound_that_is_touched_from_the_wrong_side_certifies_nothing():
    """p itself meets the bounds, so the gap of any other distribution is at least its divergence from p."""
    p, near, wrong = draw("touched")
    pushed = np.where(near, 0.5, 1.0) * p, np.where(wrong, 2.0, 1.0) * p
    for q, group in zip(pushed, (near, wrong), strict=True):
        q = q / q.sum(axis=1, keepdims=True)
        mass = (q * group).sum(axis=1)
        bounds = {"near_min": mass, "wrong_max": 1.0} if group is near else {"near_min": 0.0, "wrong_max": mass}
        np.testing.assert_array_equal(project_groups(p, near, wrong, **bounds), p)
        assert (duality_gap(p, q, near, wrong, **bounds) >= kl(q, p) - ROUNDING).all()


def test_ties_that_the_label_did_not_need_certify_nothing():
    """Label and runner-up are made equal where the label was ahead: p is nearer, by all of the divergence."""
    p, _, _ = draw("ahead")
    labels, runner = p.argmax(axis=1), np.argsort(p, axis=1)[:, -2]
    rows = np.arange(len(p))
    q = p.copy()
    q[rows, labels] = q[rows, runner] = 0.5 * (p[rows, labels] + p[rows, runner])
    np.testing.assert_array_equal(project_label_first(p, labels), p)
    assert (label_first_gap(p, q, labels) >= kl(q, p) - ROUNDING).all()


def test_what_misses_its_entropy_or_lies_where_p_does_not_has_an_infinite_gap():
    p = [[0.5, 0.25, 0.25]]
    none = [[False] * 3]
    assert np.isinf(duality_gap(p, p, none, none, **EVERY, entropy_max=1.0))
    assert np.isinf(duality_gap(p, p, none, none, **EVERY, entropy_min=1.05))
    assert np.isinf(label_first_gap(p, p, [0], entropy_min=1.05))
    impossible = [[0.5, 0.5, 0.0]]
    assert np.isinf(duality_gap(impossible, p, none, none, **EVERY))
    assert np.isinf(label_first_gap(impossible, p, [0]))


def test_wrong_classes_of_probability_zero_are_no_mass_to_the_certificate():
    p, none = [[0.5, 0.5, 0.0, 0.0]], [[False] * 4]
    wrong = [[False, False, True, True]]
    assert duality_gap(p, p, none, wrong, near_min=0.0, wrong_max=0.5) == pytest.approx(0.0, abs=ROUNDING)


# ------------------------------------------------------------------------------------------------- entropies, derivatives


def assert_derivative(family, power):
    """The slope is the derivative of the entropy. Central differences of width 2e-5 are off by h²·f'''/6, some 1e-9 of
    entropies of order one, and by their rounding over the width, 1e-15 / 1e-5 = 1e-10."""
    b, width = torch.full((200,), power, dtype=torch.float64), 1e-5
    up, down = family.level(b + width).value.clone(), family.level(b - width).value.clone()
    slope = family.level(b).slope
    np.testing.assert_allclose(slope, (up - down) / (2 * width), rtol=0, atol=1e-7)
    assert (slope < -1e-3).any()


@pytest.mark.parametrize("power", [0.3, 1.7])
def test_slopes_of_entropies_are_their_derivatives(power):
    p, near, wrong = (torch.as_tensor(array) for array in draw("slopes"))
    generator = seeds.generator("test", "projection details", "slope bounds", shared=True)
    near_min, wrong_max = torch.as_tensor(generator.random((2, 200)) * 0.5)
    limits = {"near_min": near_min, "wrong_max": wrong_max}
    assert_derivative(Groups.of(p, near, wrong, **limits, space=Space.of(200, p)), power)
    labels = torch.as_tensor(generator.integers(0, 8, (200, 1)))
    logs = (p / p.amax(1, keepdim=True)).log()
    for margin in (torch.as_tensor(generator.random(200) * 0.5), torch.zeros(200, dtype=p.dtype)):
        assert_derivative(LabelFirst.of(logs, labels, margin), power)


def test_classes_that_differ_by_little_are_told_apart_by_a_large_power():
    """Log p differ by 4e-4: an entropy of .1 is that of probabilities .98 and .02, of a power near ln 48 / 4e-4."""
    p, none = [[0.5001, 0.4999]], [[False, False]]
    found = group_projection(p, none, none, **EVERY, entropy_max=0.1)
    assert 9_000 < found.power[0] < 11_000
    q = found.probs[0]
    assert -(q * np.log(q)).sum() == pytest.approx(0.1, abs=1e-9)
    assert found.entropy_active[0]


# ---------------------------------------------------------------------------------------------------------- blocks of rows


def test_results_do_not_depend_on_blocks(monkeypatch):
    """Every row has bounds of its own, so that those of another block would be noticed."""
    p, near, wrong = draw("blocks")
    generator = seeds.generator("test", "projection details", "bounds", shared=True)
    bounds = {"near_min": 0.2 + 0.4 * generator.random(200), "wrong_max": 0.1 + 0.1 * generator.random(200)}
    bounds["entropy_min"] = 0.8 + 0.5 * generator.random(200)
    labels, margin = generator.integers(0, 8, 200), 0.3 * generator.random(200)
    grouped = project_groups(p, near, wrong, **bounds)
    first = project_label_first(p, labels, margin=margin, entropy_min=bounds["entropy_min"])
    monkeypatch.setattr(projection, "BLOCK", 8 * 64)
    monkeypatch.setattr(groups, "PIECE", 8 * 10)
    monkeypatch.setattr(label_first, "BLOCK", 8 * 64)
    # the search stops where entropies are right to 1e-12, at powers that may differ by rounding
    np.testing.assert_allclose(project_groups(p, near, wrong, **bounds), grouped, rtol=0, atol=1e-10)
    again = project_label_first(p, labels, margin=margin, entropy_min=bounds["entropy_min"])
    np.testing.assert_allclose(again, first, rtol=0, atol=1e-10)


@pytest.mark.parametrize("block", [1, 8 * 64])
def test_what_binds_does_not_depend_on_blocks(monkeypatch, block):
    """Blocks of 64 rows, and of one where not even that fits."""
    p, _, _ = draw("blocks")
    generator = seeds.generator("test", "projection details", "what binds")
    labels, margin = generator.integers(0, 8, 200), 0.3 * generator.random(200)
    least = 1.4 + 0.4 * generator.random(200)
    whole = label_first_projection(p, labels, margin=margin, entropy_min=least)
    monkeypatch.setattr(label_first, "BLOCK", block)
    parts = label_first_projection(p, labels, margin=margin, entropy_min=least)
    np.testing.assert_array_equal(parts.pooled, whole.pooled)
    np.testing.assert_array_equal(parts.entropy_active, whole.entropy_active)
    assert len(np.unique(whole.pooled)) > 3
    assert 0.1 < whole.entropy_active.mean() < 0.9


# ----------------------------------------------------------------------------------------------------------- near misses


def test_entropies_just_above_the_largest_are_refused_as_such():
    p, none = np.array([[0.2, 0.3, 0.5]]), [[False] * 3]
    most = np.log(3)
    project_label_first(p, [0], entropy_min=most)
    with pytest.raises(DataError, match="entropy_min exceeds"):
        project_label_first(p, [0], entropy_min=most + 1e-6)
    ahead = -0.6 * np.log(0.6) - 0.4 * np.log(0.2)  # margin .4: label .6, two rivals of .2
    project_label_first(p, [0], margin=0.4, entropy_min=ahead)
    with pytest.raises(DataError, match="entropy_min exceeds"):
        project_label_first(p, [0], margin=0.4, entropy_min=ahead + 1e-6)
    project_groups(p, none, none, **EVERY, entropy_min=most)
    with pytest.raises(DataError, match="entropy_min exceeds"):
        project_groups(p, none, none, **EVERY, entropy_min=most + 1e-6)


def test_rows_that_do_not_sum_to_one_are_refused_and_not_normalised():
    off = [[0.2, 0.3, 0.495]]
    none = [[False] * 3]
    for ask in (
        lambda: project_groups(off, none, none, **EVERY),
        lambda: project_label_first(off, [0]),
        lambda: project_pairs(off, [0], [1], 0.5, floor=0.5),
    ):
        with pytest.raises(UqkdError, match="sum"):
            ask()


def test_either_mixed_class_of_probability_zero_is_refused():
    for one, two in ((0, 2), (2, 0)):
        with pytest.raises(DataError, match="probability is zero in row 0"):
            project_pairs([[0.5, 0.5, 0.0]], [one], [two], 0.5, floor=0.5)


def test_one_pooled_rival_counts_and_a_margin_of_one_pools_every_possible_rival():
    found = label_first_projection([[0.2, 0.5, 0.3], [0.6, 0.2, 0.2]], [0, 0])
    assert found.pooled.tolist() == [1, 0]
    assert found.label_active.tolist() == [True, False]
    alone = label_first_projection([[0.2, 0.5, 0.3, 0.0]], [0], margin=1.0)
    assert (alone.probs.tolist(), alone.pooled.tolist()) == ([[1.0, 0.0, 0.0, 0.0]], [2])
