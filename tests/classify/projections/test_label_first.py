"""The label put first, in KL and in squared error: against SciPy, certified, guaranteed, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import slsqp
import torch

from uqkd import seeds
from uqkd.classify.projections import label_first
from uqkd.classify.projections.certificate import label_first_gap
from uqkd.classify.projections.label_first import label_first_projection, project_label_first, project_label_first_l2
from uqkd.classify.projections.probabilities import SMALLEST
from uqkd.classify.projections.roots import Root
from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError, UqkdError

# Entropies are met to 1e-12 nats and cost 1/b − 1 of KL each; powers b here are above 1e-3.
CERTIFIED = 1e-9


def entropies(q):
    return -(q * np.log(np.where(q > 0, q, 1.0))).sum(axis=1)


def kl(q, p):
    held = q > 0
    return (q * np.log(np.where(held, q, 1.0) / np.where(held, p, 1.0))).sum(axis=1)


def leading(generator, p, labels):
    """Random distributions whose label is first, on the classes of positive probability."""
    inside = slsqp.within(generator, p)
    rows = np.arange(len(p))
    most = inside.argmax(axis=1)
    inside[rows, labels], inside[rows, most] = inside[rows, most], inside[rows, labels]
    return inside


def leads(q, labels):
    """By how much the label leads the largest rival."""
    own = np.eye(q.shape[1], dtype=bool)[labels]
    return q[own] - np.where(own, -1.0, q).max(axis=1)


def possible_labels(generator, p):
    """Labels of positive probability: the most probable class in a third of the rows, else any."""
    anyone = np.where(p > 0, generator.random(p.shape), -1.0).argmax(axis=1)
    return np.where(np.arange(len(p)) % 3 == 0, p.argmax(axis=1), anyone)


def draw(generator, rows, classes, kind):
    """Probabilities, labels, bounds, and distributions that meet them."""
    p = slsqp.probabilities(generator, rows, classes)
    labels = generator.integers(classes, size=rows) if kind == "l2" else possible_labels(generator, p)
    inside = leading(generator, p if kind != "l2" else np.ones_like(p), labels)
    bounds = {}
    if kind != "label":
        bounds["margin"] = leads(inside, labels) * generator.random(rows)
    if kind == "entropy":
        bounds["entropy_min"] = entropies(inside) * generator.random(rows) ** 0.3
    return p, labels, bounds, inside


def forms(labels, row, classes):
    """Label less each rival."""
    rivals = [k for k in range(classes) if k != labels[row]]
    return np.eye(classes)[labels[row]] - np.eye(classes)[rivals]


def compare(kind, project):
    """All sizes of one kind against SLSQP; also the rows' projections and certificates."""
    tally, found, gaps = slsqp.Tally(), [], []
    for classes, count in slsqp.SIZES.items():
        p, labels, bounds, inside = draw(seeds.generator("test", "label first", kind, classes), count, classes, kind)
        q, gap, active = project(p, labels, bounds)
        found.append(active)
        gaps.append(gap)
        margin, least = bounds.get("margin", np.zeros(count)), bounds.get("entropy_min", [None] * count)
        for row in range(count):
            bound = np.full(classes - 1, margin[row])
            problem = slsqp.Problem(p[row], forms(labels, row, classes), bound, least[row], squared=kind == "l2")
            tally.add(problem, q[row], inside[row])
    return tally, np.concatenate(gaps), np.concatenate(found, axis=1).mean(axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["label", "margin", "entropy"])
def test_equals_slsqp(kind):
    def project(p, labels, bounds):
        found = label_first_projection(p, labels, **bounds)
        active = np.stack([found.label_active, found.entropy_active])
        return found.probs, label_first_gap(p, found.probs, labels, **bounds), active

    tally, gaps, (label, entropy) = compare(kind, project)
    assert np.abs(gaps).max() <= CERTIFIED
    assert (tally.rows, tally.above) == (slsqp.ROWS, 0)
    assert tally.below <= slsqp.ROWS / 100  # SLSQP ends higher from every start; each of these rows is certified above
    assert 0.1 < label < 0.9
    assert (0.1 < entropy < 0.9) if kind == "entropy" else entropy == 0


def furthest(p, q, labels, margin):
    """Frank–Wolfe gap max ⟨p − q, v − q⟩ over the vertices v of the feasible set: zero for the nearest point only.

    The vertices: margin on the label, the rest of the mass shared evenly by the label and some rivals.
    """
    slope, rows = p - q, np.arange(len(p))
    rivals = -np.sort(-np.where(np.eye(p.shape[1], dtype=bool)[labels], -np.inf, slope), axis=1)[:, :-1]
    sums = slope[rows, labels][:, None] + np.concatenate([np.zeros((len(p), 1)), rivals.cumsum(axis=1)], axis=1)
    best = (sums / np.arange(1, p.shape[1] + 1)).max(axis=1)
    return (1 - margin) * best + margin * slope[rows, labels] - (slope * q).sum(axis=1)


@pytest.mark.slow
def test_squared_error_equals_slsqp():
    def project(p, labels, bounds):
        q = project_label_first_l2(p, labels, **bounds)
        assert (leads(q, labels) >= bounds["margin"] - 1e-12).all()
        assert (np.abs(q.sum(axis=1) - 1) <= 1e-12).all()
        assert q.min() >= 0
        return q, furthest(p, q, labels, bounds["margin"]), [(q != p).any(axis=1)]

    tally, gaps, (moved,) = compare("l2", project)
    assert np.abs(gaps).max() <= 1e-13  # sums of 150 numbers below 1
    assert (tally.rows, tally.above, tally.below) == (slsqp.ROWS, 0, 0)
    assert 0.1 < moved < 0.95


@pytest.mark.slow
@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_20000_rows_of_150_classes_are_certified(margin):
    generator = seeds.generator("test", "label first", "many", margin)
    logits = 3.0 * generator.standard_normal((20_000, 150))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (p.cumsum(axis=1) > generator.random((20_000, 1))).argmax(axis=1)
    least = entropies(project_label_first(p, labels, margin=margin)) + 0.3
    found = label_first_projection(p, labels, margin=margin, entropy_min=least)
    gaps = label_first_gap(p, found.probs, labels, margin=margin, entropy_min=least)
    assert found.entropy_active.all()
    assert 0.3 < found.label_active.mean() < 0.9
    assert np.abs(gaps).max() <= CERTIFIED
    np.testing.assert_allclose(entropies(found.probs), least, rtol=0, atol=2e-12)
    assert (leads(found.probs, labels) >= margin - 1e-12).all()
    l2 = project_label_first_l2(p, labels, margin=margin)
    assert np.abs(furthest(p, l2, labels, margin)).max() <= 1e-13


def no_entropy(p, labels, bounds):
    return project_label_first(p, labels, margin=bounds["margin"])


def no_margin(p, labels, bounds):
    return project_label_first(p, labels, entropy_min=bounds["entropy_min"])


def of_the_other_distance(p, labels, bounds):
    """The projection in squared error, which meets the margin."""
    return project_label_first_l2(p, labels, margin=bounds["margin"])


def lifted(p, labels, bounds):
    """The label raised to the largest rival and the margin, and everything divided by the sum."""
    q = p.copy()
    q[np.arange(len(p)), labels] = p.max(axis=1) + bounds["margin"] * 2.0
    return q / q.sum(axis=1, keepdims=True)


def nudged(p, labels, bounds):
    """The right answer with a thousandth of the label's lead given to the last rival."""
    q = project_label_first(p, labels, **bounds)
    rows = np.arange(len(q))
    q[rows, labels] += 1e-3
    q[rows, q.argsort(axis=1)[:, -2]] -= 1e-3
    return q


@pytest.mark.parametrize("wrong_solution", [no_entropy, no_margin, of_the_other_distance, lifted, nudged])
def test_the_certificate_rejects(wrong_solution):
    generator = seeds.generator("test", "label first", "rejects", wrong_solution.__name__)
    p = generator.dirichlet(np.ones(12), 500) + 1e-3
    p /= p.sum(axis=1, keepdims=True)
    labels = p.argmin(axis=1)
    bounds = {"margin": 0.1}
    if wrong_solution in (no_entropy, no_margin, nudged):
        flat = entropies(np.full((1, 12), 0.9 / 12) + 0.1 * np.eye(12)[:1])
        bounds["entropy_min"] = 0.5 * (entropies(project_label_first(p, labels, **bounds)) + flat)
    right = label_first_gap(p, project_label_first(p, labels, **bounds), labels, **bounds)
    assert np.abs(right).max() <= CERTIFIED
    # A thousandth moved costs at least its square: 1e-6 nats.
    assert (label_first_gap(p, wrong_solution(p, labels, bounds), labels, **bounds) > 1e-6).all()


def test_the_check_of_squared_error_rejects_the_other_distance():
    p = seeds.generator("test", "label first", "l2 rejects").dirichlet(np.ones(12), 500)
    labels = p.argsort(axis=1)[:, -3]
    assert (furthest(p, project_label_first(p, labels), labels, 0.0) > 1e-6).all()
    assert np.abs(furthest(p, project_label_first_l2(p, labels), labels, 0.0)).max() <= 1e-13


def excess(r, p, q):
    """Gain in expected log-loss over what is guaranteed, by true posterior r."""
    return (r * np.log(q / p)).sum(axis=1) - kl(q, p)


@pytest.mark.parametrize("kind", ["label", "margin", "entropy"])
def test_log_loss_falls_by_the_divergence_where_the_truth_meets_the_bounds(kind):
    generator = seeds.generator("test", "label first", "log-loss", kind)
    p = generator.dirichlet(np.full(6, 0.5), 20_000) + 1e-6
    p /= p.sum(axis=1, keepdims=True)
    truth, other = generator.dirichlet(np.ones(6), (2, 20_000))
    labels, tight = truth.argmax(axis=1), generator.random((2, 20_000))
    bounds = {"label": {}, "margin": {"margin": leads(truth, labels) * tight[0]}}.get(kind)
    if bounds is None:
        bounds = {"margin": leads(truth, labels) * tight[0], "entropy_min": entropies(truth) * tight[1] ** 0.2}
    q = project_label_first(p, labels, **bounds)
    moved = kl(q, p) > 1e-6
    assert moved.mean() > 0.3
    assert excess(truth, p, q).min() >= -1e-9  # bounds are met to 1e-12 and multipliers stay below 1e3
    broken = moved & (leads(other, labels) < 0)
    assert (excess(other, p, q)[broken] < -1e-3).mean() > 0.2  # and this check can fail


def test_by_hand():
    p = np.array([[0.1, 0.4, 0.3, 0.2]])
    pooled = (0.1 * 0.4 * 0.3 * 0.2) ** 0.25  # all four: the mean of the first three, .229, exceeds .2, so three only
    three = (0.1 * 0.4 * 0.3) ** (1 / 3)
    assert pooled > 0.2
    q = project_label_first(p, [0])
    np.testing.assert_allclose(q, [np.array([three, three, three, 0.2]) / (3 * three + 0.2)], rtol=0, atol=1e-15)
    found = label_first_projection(p, [0])
    assert (found.pooled[0], found.label_active[0], found.power[0]) == (2, True, 1.0)
    np.testing.assert_allclose(project_label_first_l2(p, [0]), [[0.8 / 3, 0.8 / 3, 0.8 / 3, 0.2]], rtol=0, atol=1e-15)
    np.testing.assert_allclose(
        project_label_first_l2(p, [2], margin=0.3), [[0.1, 0.2, 0.5, 0.2]], rtol=0, atol=1e-15
    )  # t = (.3 − .3 + .4)/2 = .2 meets the next rival exactly


def test_bounds_that_do_not_bind_change_nothing():
    p = seeds.generator("test", "label first", "slack").dirichlet(np.ones(9), 500)
    labels = p.argmax(axis=1)
    found = label_first_projection(p, labels, margin=0.9 * leads(p, labels), entropy_min=0.9 * entropies(p))
    np.testing.assert_allclose(found.probs, p, rtol=0, atol=1e-15)
    assert not (found.label_active | found.entropy_active | (found.pooled > 0)).any()
    np.testing.assert_allclose(project_label_first_l2(p, labels), p, rtol=0, atol=1e-15)


def test_margin_goes_to_the_label_alone():
    p = np.array([[0.1, 0.4, 0.3, 0.2], [0.5, 0.5, 0.0, 0.0]])
    for project in (project_label_first, project_label_first_l2):
        np.testing.assert_array_equal(project(p, [0, 1], margin=1.0), [[1, 0, 0, 0], [0, 1, 0, 0]])
        near = project(p, [0, 1], margin=1 - 1e-9)
        np.testing.assert_allclose(near, [[1, 0, 0, 0], [0, 1, 0, 0]], rtol=0, atol=1e-9)
    gaps = label_first_gap(p, project_label_first(p, [0, 1], margin=1.0), [0, 1], margin=1.0)
    assert np.abs(gaps).max() <= 1e-11  # multipliers of 80 a class stand for infinity


def test_the_largest_entropy_leaves_the_rivals_flat():
    p = np.array([[0.1, 0.4, 0.3, 0.2]])
    most = entropies(np.array([[0.4, 0.2, 0.2, 0.2]]))
    q = project_label_first(p, [0], margin=0.2, entropy_min=most)
    np.testing.assert_allclose(q, [[0.4, 0.2, 0.2, 0.2]], rtol=0, atol=1e-5)  # entropy to 1e-12: q to its root
    flat = project_label_first(p, [0], entropy_min=np.log(4))
    np.testing.assert_allclose(flat, 0.25, rtol=0, atol=1e-5)


def test_ties_and_zeros():
    p = np.array([[0.2, 0.4, 0.4, 0.0], [0.5, 0.5, 0.0, 0.0]])
    q = project_label_first(p, [0, 1], margin=0.1, entropy_min=0.1)
    np.testing.assert_array_equal(q[:, 3], 0.0)
    np.testing.assert_allclose(q[0], [1.2 / 3, 0.9 / 3, 0.9 / 3, 0], rtol=0, atol=1e-14)
    np.testing.assert_allclose(q[1], [0.45, 0.55, 0, 0], rtol=0, atol=1e-14)
    np.testing.assert_array_equal(project_label_first(p, [1, 0]), p)
    np.testing.assert_allclose(project_label_first_l2(p, [3, 0]), [[0.2, 0.8 / 3, 0.8 / 3, 0.8 / 3], p[1]], atol=1e-15)


def test_the_order_of_rows_and_classes_does_not_matter():
    generator = seeds.generator("test", "label first", "order")
    p, labels, bounds, _ = draw(generator, 600, 9, "entropy")
    q = project_label_first(p, labels, **bounds)
    by_class, by_row = generator.permutation(9), generator.permutation(600)
    moved = np.argsort(by_class)[labels][by_row]
    again = project_label_first(p[by_row][:, by_class], moved, **{k: v[by_row] for k, v in bounds.items()})
    np.testing.assert_allclose(again, q[by_row][:, by_class], rtol=0, atol=1e-11)  # entropies agree to 1e-12
    l2 = project_label_first_l2(p[by_row][:, by_class], moved)
    np.testing.assert_allclose(l2, project_label_first_l2(p, labels)[by_row][:, by_class], rtol=0, atol=1e-15)


def test_torch_in_torch_out_in_double():
    single = torch.tensor([[0.125, 0.5, 0.375]], dtype=torch.float32)
    for project in (project_label_first, project_label_first_l2):
        q = project(single, torch.tensor([0]), margin=0.1)
        assert isinstance(q, torch.Tensor)
        assert q.dtype == torch.float64
        np.testing.assert_array_equal(q, project(single.numpy(), np.array([0]), margin=0.1))


GOOD = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8], [1.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("labels", "bounds", "error", "message"),
    [
        ([0, 1, 1], {}, DataError, r"label has probability zero, .* in row 2 \(1 row of 3\)"),
        ([0, 1, 3], {}, DataError, "labels must lie in 0 to 2; got 3 at index 2"),
        ([0, 1], {}, ShapeError, r"labels needs shape \(P=3,\)"),
        ([0, 1, 0], {"margin": [0.1, 1.1, -0.1]}, OptionError, r"margin leaves \[0, 1\] in row 1 \(2 rows of 3\)"),
        ([0, 1, 0], {"entropy_min": 0.1}, DataError, r"entropy_min exceeds what .* row 2 \(1 row of 3\)"),
        ([0, 1, 0], {"margin": 0.9, "entropy_min": [0.6, 0, 0]}, DataError, r"entropy_min exceeds what .* row 0"),
        ([0, 1, 0], {"margin": 1.0, "entropy_min": [0, 0.1, 0]}, DataError, r"entropy_min exceeds what .* row 1"),
        ([0, 1, 0], {"margin": np.nan}, NotFiniteError, "margin"),
        ([0, 1, 0], {"entropy_min": [0.1, np.inf, 0.1]}, NotFiniteError, "entropy_min .* row 1"),
        ([0, 1, 0], {"margin": np.zeros((3, 1))}, ShapeError, r"margin must be one number or have shape \(P=3,\)"),
    ],
)
def test_what_cannot_be_is_refused_by_row(labels, bounds, error, message):
    with pytest.raises(error, match=message):
        project_label_first(GOOD, labels, **bounds)


def test_squared_error_refuses_what_is_no_margin_and_no_label():
    with pytest.raises(OptionError, match=r"margin leaves \[0, 1\] in row 1 \(1 row of 3\)"):
        project_label_first_l2(GOOD, [0, 1, 0], margin=[0.1, 1.1, 0.1])
    with pytest.raises(DataError, match="got -1 at index 1"):
        project_label_first_l2(GOOD, [0, -1, 0])


def test_a_solver_that_misses_is_caught(monkeypatch):
    """The bounds are checked on the answer itself, so that a wrong root cannot pass."""
    monkeypatch.setattr(
        label_first, "power_of_entropy", lambda family, target, start, **bracket: Root(start.power, target > 0)
    )
    with pytest.raises(UqkdError, match=r"fault of the solver"):
        project_label_first(GOOD[:2], [0, 1], entropy_min=1.09)


def behind(probs, label, margin, least):
    """Rows as they were: the label still trails."""
    return probs, torch.ones_like(margin), torch.ones_like(label[:, 0])


def heavy(probs, label, margin, least):
    """Every class 2/3: the label leads, and the entropy is large, but the sum is 2."""
    return torch.full_like(probs, 2 / 3), torch.ones_like(margin), torch.ones_like(label[:, 0])


@pytest.mark.parametrize("wrong", [behind, heavy])
@pytest.mark.parametrize("block", [3, 12])
def test_leads_and_sums_are_checked_and_the_row_is_named_in_whichever_block(monkeypatch, wrong, block):
    monkeypatch.setattr(label_first, "BLOCK", block)
    monkeypatch.setattr(label_first, "_solve", wrong)
    p = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.5, 0.25], [0.5, 0.25, 0.25]])
    with pytest.raises(UqkdError, match=r"misses its bounds by more than 1e-9 in row 1 \(2 rows of 4\)"):
        project_label_first(p, [0, 0, 0, 0])


def test_misses_below_the_slack_are_mended():
    tiny = 2.0**-31  # 4.7e-10
    found = label_first_projection([[0.375 - tiny, 0.375, 0.25 + tiny]], [0])
    assert (leads(found.probs, [0])[0], found.pooled[0], found.label_active[0]) == (0.0, 1, True)
    half, missing = np.log(2), 5e-10
    found = label_first_projection([[0.5, 0.25, 0.25]], [0], entropy_min=1.5 * half + missing)
    assert found.entropy_active[0]
    # The entropy falls by the variance of log p, (ln 2)²/4 = .12, a unit of power; it is met to 1e-12, so b to 9e-12.
    assert found.power[0] == pytest.approx(1 - missing / (half**2 / 4), rel=0, abs=1e-11)


def test_leads_that_are_just_large_enough_leave_every_bit():
    p = seeds.generator("test", "label first", "touched").dirichlet(np.ones(9), 500)
    p /= p.sum(axis=1, keepdims=True)
    labels = p.argmax(axis=1)
    found = label_first_projection(p, labels, margin=leads(p, labels))
    np.testing.assert_array_equal(found.probs, p)
    assert not found.label_active.any()
    np.testing.assert_array_equal(project_label_first_l2(p, labels, margin=leads(p, labels)), p)


def test_a_rival_that_ties_with_the_label_is_not_held_down():
    p = [[0.4, 0.4, 0.2], [0.5, 0.25, 0.25]]
    for margin in (0.0, [0.0, 0.5]):  # without any margin, and beside a row that has one
        found = label_first_projection(p, [0, 0], margin=margin, entropy_min=[1.09, 0.0])
        assert (found.entropy_active[0], found.label_active[0], found.pooled[0]) == (True, False, 0)


def test_rows_with_and_without_margin_do_not_touch_each_other():
    generator = seeds.generator("test", "label first", "some margins")
    p, labels = generator.dirichlet(np.ones(9), 400), generator.integers(9, size=400)
    margin = np.where(np.arange(400) % 2 == 0, 0.0, 0.3 * generator.random(400))
    flat = (1 - margin)[:, None] / 9 + margin[:, None] * np.eye(9)[labels]
    least = entropies(flat) * generator.random(400) ** 0.3
    found = label_first_projection(p, labels, margin=margin, entropy_min=least)
    assert 0.1 < found.entropy_active.mean() < 0.9
    for part in (slice(0, None, 2), slice(1, None, 2)):
        alone = label_first_projection(p[part], labels[part], margin=margin[part], entropy_min=least[part])
        np.testing.assert_array_equal(found.pooled[part], alone.pooled)
        # the search stops where entropies are right to 1e-12, at powers that may differ by rounding
        np.testing.assert_allclose(found.probs[part], alone.probs, rtol=0, atol=1e-10)


def test_probabilities_below_the_smallest_normal_number_count_as_zero():
    p = np.array([[0.2, 0.8, 1e-310], [0.8, 0.2, 1e-310]])
    q = project_label_first(p, [0, 0], entropy_min=0.69)  # two classes: at most ln 2 = .693
    np.testing.assert_array_equal(q[:, 2], 0.0)
    with pytest.raises(DataError, match=r"entropy_min exceeds what .* row 0 \(2 rows of 2\)"):
        project_label_first(p, [0, 0], entropy_min=0.7)
    with pytest.raises(DataError, match=r"label has probability zero, .* row 1 \(1 row of 2\)"):
        project_label_first(p, [0, 2])


def test_the_common_value_of_label_and_rivals_is_a_root_to_the_last_digits(monkeypatch):
    """q_label·(product of the pooled q) is c^(1 + pooled) times the same of p, where c = q/p of a class that is free."""
    monkeypatch.setattr(label_first, "BLOCK", 1)  # one row at a time: the search ends where its last row has arrived
    generator = seeds.generator("test", "label first", "root")
    p, labels = generator.dirichlet(np.ones(8), 300), generator.integers(8, size=300)
    found = label_first_projection(p, labels, margin=0.02 + 0.3 * generator.random(300))
    ratio = np.log(found.probs / p)
    own, rank = np.eye(8, dtype=bool)[labels], np.arange(7)
    rivals = np.argsort(np.where(own, -1.0, p), axis=1)[:, :0:-1]
    held = rank < found.pooled[:, None]
    excess_of_held = np.take_along_axis(ratio, rivals, axis=1) - ratio[np.arange(300), rivals[:, -1]][:, None]
    sums = (excess_of_held * held).sum(axis=1) + (ratio[own] - ratio[np.arange(300), rivals[:, -1]])
    used = (found.pooled > 0) & (found.pooled < 7)
    assert used.sum() > 100
    # Up to 14 logs of numbers above 1e-5, each to 2e-15 with the rounding of q: 3e-14. The root, of size 12 at most, is met
    # to 13 · 4e-16 and counts up to seven times: 4e-14.
    assert np.abs(sums[used]).max() <= 1e-13


def test_a_rival_that_is_zero_as_a_share_of_the_row_only_is_zero_to_all():
    """It lies below the smallest normal number, though divided by the largest of its row it does not."""
    tiny = 0.9 * SMALLEST
    p = [[0.3, 0.5, 0.2, tiny]]
    for bounds in ({"entropy_min": 1.098}, {"margin": 0.1}, {"margin": 1.0}):
        found = label_first_projection(p, [0], **bounds)
        assert found.probs[0, 3] == 0.0
        assert found.pooled[0] <= 2
        if bounds != {"margin": 1.0}:
            assert label_first_gap(p, found.probs, [0], **bounds)[0] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("below", [0.0, 1e-10])
def test_the_only_distribution_left_is_certified(below):
    p, answer, margin = [[0.3, 0.5, 0.2]], [[0.6, 0.2, 0.2]], 0.4
    least = -0.6 * np.log(0.6) - 0.4 * np.log(0.2) - below
    assert label_first_gap(p, answer, [0], margin=margin, entropy_min=least)[0] == 0.0
    assert np.isinf(label_first_gap(p, [[0.7, 0.15, 0.15]], [0], margin=margin, entropy_min=least)[0])
    assert label_first_gap(p, answer, [0], margin=margin)[0] > 1e-3  # without that entropy there are better ones
