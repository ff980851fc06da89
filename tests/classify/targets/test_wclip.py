"""W-Clip by hand, its invariants, and what it refuses; that it is a KL projection is tested with the projection."""

from __future__ import annotations

import numpy as np
import pytest
import slsqp
import torch

from uqkd import seeds
from uqkd.classify import project_groups, project_label_first, project_label_first_l2
from uqkd.classify.targets.wclip import wclip, wclip_fired
from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError


def test_by_hand():
    p = np.array([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.4, 0.4, 0.2]])
    labels = np.array([0, 1, 2, 1])
    # Row 1: min(.5·.6, .7·.3) = .21; row 2: min(.3, .35) = .3; row 3 is a tie: nothing to move.
    expected = [[0.6, 0.3, 0.1], [0.39, 0.51, 0.1], [0.3, 0.3, 0.4], [0.4, 0.4, 0.2]]
    np.testing.assert_allclose(wclip(p, labels), expected, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(wclip_fired(p, labels), [False, True, True, False])
    np.testing.assert_allclose(wclip(p, labels, margin=0.1)[1], [0.57, 0.33, 0.1], rtol=0, atol=1e-15)
    np.testing.assert_allclose(wclip(p, labels, budget=0.1)[2], [0.54, 0.3, 0.16], rtol=0, atol=1e-15)


def test_the_label_need_not_come_first():
    """Two rivals: the clipped one falls behind the label, the other stays ahead."""
    q = wclip([[0.42, 0.4, 0.18]], [2])
    assert q[0, 2] >= q[0, 0]
    assert q[0].argmax() == 1


def test_what_holds_for_every_row():
    generator = seeds.generator("test", "wclip")
    p = slsqp.probabilities(generator, 5000, 9)
    labels = generator.integers(9, size=5000)
    q, fired, rows = wclip(p, labels), wclip_fired(p, labels), np.arange(5000)
    assert 0.3 < fired.mean() < 1.0
    np.testing.assert_array_equal(q[~fired], p[~fired])
    np.testing.assert_array_equal((q != p).sum(axis=1), 2 * fired)
    np.testing.assert_allclose(q.sum(axis=1), 1.0, rtol=0, atol=1e-15)
    assert (q[rows, labels] >= q[rows, p.argmax(axis=1)]).all()
    assert q.min() >= 0


def test_nothing_moves_without_labels_or_budget():
    p = np.array([[0.6, 0.3, 0.1]])
    np.testing.assert_array_equal(wclip(p, None), p)
    np.testing.assert_array_equal(wclip_fired(p, None), [False])
    np.testing.assert_array_equal(wclip(p, [2], margin=0.0), p)
    np.testing.assert_array_equal(wclip(p, [2], budget=0), p)
    given = torch.tensor(p)
    wclip(given, [2])
    np.testing.assert_array_equal(given, p)  # the input is left as it was


def test_torch_in_torch_out_in_double():
    single = torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float32)
    q = wclip(single, torch.tensor([1]))
    assert isinstance(q, torch.Tensor)
    assert q.dtype == torch.float64
    np.testing.assert_allclose(q, [[0.39, 0.51, 0.1]], rtol=0, atol=1e-7)
    assert isinstance(wclip_fired(single, torch.tensor([1])), torch.Tensor)


def test_refusals():
    p = [[0.6, 0.3, 0.1], [0.5, 0.5, 0.0]]
    with pytest.raises(DataError, match="labels must lie in 0 to 2; got 3 at index 1"):
        wclip(p, [0, 3])
    with pytest.raises(ShapeError, match=r"labels needs shape \(P=2,\)"):
        wclip(p, [0])
    with pytest.raises(DataError, match="dtype float64"):
        wclip_fired(p, [0.0, 1.0])
    with pytest.raises(DataError, match="row 1 sums to 1.1"):
        wclip([[0.6, 0.3, 0.1], [0.6, 0.5, 0.0]], [0, 1])
    with pytest.raises(NotFiniteError, match="probs"):
        wclip([[0.6, np.nan, 0.1]], [0])
    with pytest.raises(OptionError, match=r"margin must be a number in \[0, 1\]; got 1.5"):
        wclip(p, [0, 1], margin=1.5)
    with pytest.raises(OptionError, match="budget"):
        wclip(p, [0, 1], budget=-0.1)


@pytest.mark.parametrize(
    "kind", [np.float32, np.float64, np.array, torch.tensor, lambda m: torch.tensor(m, requires_grad=True)]
)
def test_numbers_of_any_kind_are_margins(kind):
    p = [[0.5, 0.375, 0.125]]
    np.testing.assert_allclose(wclip(p, [1], margin=kind(0.7)), wclip(p, [1], margin=0.7), rtol=0, atol=1e-8)  # float32
    for projection in (project_label_first, project_label_first_l2):
        np.testing.assert_allclose(projection(p, [1], margin=kind(0.25)), projection(p, [1], margin=0.25), atol=1e-7)


@pytest.mark.parametrize("margin", ["a", "0.5", None, True, [0.5], np.nan, torch.tensor([0.5])])
def test_margins_that_are_no_numbers(margin):
    with pytest.raises(OptionError, match=r"margin must be a number in \[0, 1\]; got"):
        wclip([[0.5, 0.375, 0.125]], [1], margin=margin)


def test_bounds_and_masks_that_are_none():
    p = [[0.5, 0.375, 0.125]]
    for margin in ("a", [0.1, "b"], [[1.0], [1.0, 2.0]]):
        with pytest.raises(OptionError, match=r"margin must be one number or \(P=1,\) numbers; got"):
            project_label_first(p, [1], margin=margin)
    with pytest.raises(DataError, match="near must be a mask of bool, .* got dtype <U1"):
        project_groups(p, "a", [[False] * 3], near_min=0.0, wrong_max=1.0)
