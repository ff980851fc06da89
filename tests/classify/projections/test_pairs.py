"""Targets of mixed inputs: against SciPy, certified, by hand, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import slsqp
import torch

from uqkd import seeds
from uqkd.classify.projections.pairs import project_pairs
from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError


def draw(generator, rows, classes):
    """Probabilities, two classes with support each (in a tenth of the rows the same one), shares and floors."""
    p = slsqp.probabilities(generator, rows, classes)
    possible = np.where(p > 0, generator.random(p.shape), -1.0)
    first, second = possible.argsort(axis=1)[:, -1], possible.argsort(axis=1)[:, -2]
    second = np.where((np.arange(rows) % 10 == 0) | (p[np.arange(rows), second] == 0), first, second)
    return p, first, second, generator.random(rows), 0.98 * generator.random(rows)


def forms(first, second, share, floor, *, classes):
    """The bounds as linear forms and their least values, row by row."""
    eye = np.eye(classes)
    same = first == second
    least = np.stack([np.where(same, floor, floor * share), np.where(same, 0.0, floor * (1 - share))], axis=1)
    return np.stack([eye[first], eye[second]], axis=1), least


def gap(p, q, linear, least):
    """KL(q‖p) less its dual bound, with multipliers read off q: zero for the minimiser only."""
    ratio = np.where(q > 0, np.log(np.where(q > 0, q, 1.0) / np.where(p > 0, p, 1.0)), 0.0)
    outside = (p > 0) & (linear.sum(axis=1) == 0)
    free = np.where(outside, ratio, np.inf).min(axis=1)  # log of what all the classes without a bound were scaled by
    lone = ~outside.any(axis=1)
    free[lone] = np.where(p > 0, ratio, np.inf).min(axis=1)[lone]
    pull = np.maximum(np.einsum("pfc,pc->pf", linear, ratio) - free[:, None], 0.0)
    pull[:, 1] = np.where((linear[:, 0] == linear[:, 1]).all(axis=1), 0.0, pull[:, 1])  # one class, one bound
    norm = np.log((p * np.exp(np.einsum("pf,pfc->pc", pull, linear))).sum(axis=1))
    return (q * ratio).sum(axis=1) - ((pull * least).sum(axis=1) - norm)


@pytest.mark.slow
def test_equals_slsqp():
    tally, lifted, gaps = slsqp.Tally(), [], []
    for classes, count in slsqp.SIZES.items():
        p, first, second, share, floor = draw(seeds.generator("test", "pairs", classes), count, classes)
        q = project_pairs(p, first, second, share, floor=floor)
        linear, least = forms(first, second, share, floor, classes=classes)
        held = np.einsum("pfc,pc->pf", linear, q)
        assert (held >= least - 1e-12).all()
        lifted.append(held <= least + 1e-12)
        gaps.append(gap(p, q, linear, least))
        for row in range(count):
            inside = 0.01 * (p[row] > 0) / (p[row] > 0).sum() + 0.99 * q[row]
            inside = inside + linear[row].sum(axis=0) * 0.2
            tally.add(slsqp.Problem(p[row], linear[row], least[row]), q[row], inside / inside.sum())
    # q is a scaling of p: rounding only, a few hundred units in the last place of logarithms up to 20.
    assert np.abs(np.concatenate(gaps)).max() <= 1e-12
    assert (tally.rows, tally.above) == (slsqp.ROWS, 0)
    assert tally.below <= slsqp.ROWS / 100  # rows where SLSQP ends higher from every start
    active = np.concatenate(lifted).mean(axis=0)
    assert (active > 0.1).all()
    assert (active < 0.9).all()


def test_the_certificate_rejects_what_is_not_nearest():
    p, first, second, share, floor = draw(seeds.generator("test", "pairs", "rejects"), 400, 6)
    linear, least = forms(first, second, share, floor, classes=6)
    q = project_pairs(p, first, second, share, floor=floor)
    low = (np.einsum("pfc,pc->pf", linear, p) < least - 0.01).any(axis=1)
    mixed = np.eye(6)[first] * share[:, None] + np.eye(6)[second] * (1 - share)[:, None]
    blend = floor[:, None] * mixed + (1 - floor[:, None]) * p  # meets the bounds, and goes too far
    assert low.sum() > 100
    assert (gap(p, blend, linear, least)[low] > 1e-6).all()
    assert np.abs(gap(p, q, linear, least)[low]).max() <= 1e-12


def test_by_hand():
    p = np.array([[0.1, 0.2, 0.3, 0.4]])
    cases = [
        (0, 1, 0.5, 0.1, [0.1, 0.2, 0.3, 0.4]),  # both hold enough
        (0, 1, 0.5, 0.2, [0.1, 0.2, 0.3, 0.4]),
        (0, 3, 0.5, 0.4, [0.2, 0.2 * 8 / 9, 0.3 * 8 / 9, 0.4 * 8 / 9]),
        (0, 1, 0.5, 0.8, [0.4, 0.4, 0.3 * 2 / 7, 0.4 * 2 / 7]),
        (0, 1, 0.6, 0.4, [0.24, 0.2 * 0.76 / 0.9, 0.3 * 0.76 / 0.9, 0.4 * 0.76 / 0.9]),
        (0, 1, 0.5, 0.39, [0.195, 0.195, 0.61 * 3 / 7, 0.61 * 4 / 7]),  # the second only once the first was lifted
        (2, 2, 0.1, 0.65, [0.05, 0.1, 0.65, 0.2]),
        (2, 2, 0.1, 0.2, [0.1, 0.2, 0.3, 0.4]),
    ]
    for first, second, share, floor, expected in cases:
        q = project_pairs(p, [first], [second], share, floor=floor)
        np.testing.assert_allclose(q, [expected], rtol=0, atol=1e-15)
        swapped = project_pairs(p, [second], [first], 1 - share, floor=floor)
        np.testing.assert_allclose(swapped, [expected], rtol=0, atol=1e-15)


def test_floor_goes_from_the_teacher_to_the_mixed_labels():
    p, first, second, share, _ = draw(seeds.generator("test", "pairs", "ends"), 500, 7)
    np.testing.assert_array_equal(project_pairs(p, first, second, share, floor=0.0), p)
    labels = np.eye(7)[first] * share[:, None] + np.eye(7)[second] * (1 - share)[:, None]
    np.testing.assert_allclose(project_pairs(p, first, second, share, floor=1.0), labels, rtol=0, atol=1e-12)


def test_torch_in_torch_out_in_double():
    single = torch.tensor([[0.125, 0.375, 0.5]], dtype=torch.float32)
    q = project_pairs(single, torch.tensor([0]), torch.tensor([1]), torch.tensor([0.5]), floor=0.5)
    assert isinstance(q, torch.Tensor)
    assert q.dtype == torch.float64
    np.testing.assert_allclose(q, [[0.25, 0.75 * 3 / 7, 0.75 * 4 / 7]], rtol=0, atol=1e-15)


def test_refusals():
    p = [[0.6, 0.4, 0.0], [0.5, 0.5, 0.0]]
    with pytest.raises(DataError, match=r"probability is zero in row 1 \(1 row of 2\)"):
        project_pairs(p, [0, 2], [1, 1], 0.5, floor=0.5)
    project_pairs(p, [0, 2], [1, 1], 0.0, floor=0.5)  # asked to hold nothing
    with pytest.raises(OptionError, match=r"share leaves \[0, 1\] in row 1 \(1 row of 2\)"):
        project_pairs(p, [0, 1], [1, 1], [0.5, 1.5], floor=0.5)
    with pytest.raises(OptionError, match=r"floor leaves \[0, 1\] in row 0 \(2 rows of 2\)"):
        project_pairs(p, [0, 1], [1, 1], 0.5, floor=-0.5)
    with pytest.raises(NotFiniteError, match="share"):
        project_pairs(p, [0, 1], [1, 1], [0.5, np.nan], floor=0.5)
    with pytest.raises(DataError, match="second must lie in 0 to 2; got 3 at index 1"):
        project_pairs(p, [0, 1], [1, 3], 0.5, floor=0.5)
    with pytest.raises(ShapeError, match=r"first needs shape \(P=2,\)"):
        project_pairs(p, [0], [1, 1], 0.5, floor=0.5)
    with pytest.raises(DataError, match="negative"):
        project_pairs([[-0.1, 1.1]], [0], [1], 0.5, floor=0.5)
