"""The projection onto groups and entropy: against SciPy, certified, guaranteed, and where it must refuse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import slsqp
import torch

from uqkd import seeds
from uqkd.classify.projections import projection
from uqkd.classify.projections.certificate import duality_gap
from uqkd.classify.projections.projection import group_projection, project_groups
from uqkd.classify.projections.roots import Root
from uqkd.classify.targets.wclip import wclip
from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError, UqkdError, UqkdWarning

# Entropies are met to 1e-12 nats and cost |1/b − 1| of KL each; powers b here are above 1e-3.
CERTIFIED = 1e-9
EVERY = {"near_min": 0.0, "wrong_max": 1.0}


def entropies(q):
    return -(q * np.log(np.where(q > 0, q, 1.0))).sum(axis=1)


def kl(q, p):
    held = q > 0
    return (q * np.log(np.where(held, q, 1.0) / np.where(held, p, 1.0))).sum(axis=1)


def groups(generator, rows, classes):
    """Masks of two disjoint groups; either may be empty, and so may what is left."""
    code = generator.integers(0, 3, (rows, classes))
    code[: rows // 10][code[: rows // 10] == 2] = 0  # no rest
    return code == 0, code == 1


@dataclass
class Rows:
    """Rows with bounds that a distribution `inside` meets."""

    p: np.ndarray
    near: np.ndarray
    wrong: np.ndarray
    bounds: dict
    inside: np.ndarray

    @classmethod
    def draw(cls, generator, rows, classes, kind):
        p = slsqp.probabilities(generator, rows, classes)
        near, wrong = groups(generator, rows, classes)
        inside = slsqp.within(generator, p)
        tight = generator.random((2, rows)) ** 0.25
        bounds = {
            "near_min": (inside * near).sum(1) * tight[0],
            "wrong_max": 1.0 - (1.0 - (inside * wrong).sum(1)) * tight[1],
        }
        if kind == "entropy_min":
            bounds["entropy_min"] = entropies(inside) * generator.random(rows) ** 0.3
        if kind == "entropy_max":  # entropies of sharpened p, so that they can be reached; a third of them do not bind
            power = np.where(np.arange(rows) % 3 == 0, 0.5, 1.0 + 3.0 * generator.random(rows))[:, None]
            bounds["entropy_max"] = entropies(project_groups(raised(p, power), near, wrong, **bounds)) + 1e-9
            inside = project_groups(raised(p, power + 0.5), near, wrong, **bounds)
        return cls(p, near, wrong, bounds, inside)

    def problem(self, row):
        forms = np.stack([self.near[row], -1.0 * self.wrong[row]])
        b = {name: float(value[row]) for name, value in self.bounds.items()}
        least = np.array([b.pop("near_min"), -b.pop("wrong_max")])
        return slsqp.Problem(self.p[row], forms, least, **b)


def raised(p, power):
    with np.errstate(divide="ignore"):
        q = np.where(p > 0, p ** np.broadcast_to(power, p.shape), 0.0)
    return q / q.sum(axis=1, keepdims=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["groups", "entropy_min", "entropy_max"])
def test_equals_slsqp(kind):
    tally, active, gaps = slsqp.Tally(), [], []
    for classes, count in slsqp.SIZES.items():
        rows = Rows.draw(seeds.generator("test", "projection", kind, classes), count, classes, kind)
        found = group_projection(rows.p, rows.near, rows.wrong, **rows.bounds)
        gaps.append(duality_gap(rows.p, found.probs, rows.near, rows.wrong, **rows.bounds))
        active.append([found.near_active, found.wrong_active, found.entropy_active])
        for row in range(count):
            tally.add(rows.problem(row), found.probs[row], rows.inside[row])
    assert np.abs(np.concatenate(gaps)).max() <= CERTIFIED
    assert (tally.rows, tally.above) == (slsqp.ROWS, 0)
    assert (
        tally.below <= slsqp.ROWS / 100
    )  # SLSQP ends higher from all three starts; each of these rows is certified above
    near, wrong, entropy = np.concatenate(active, axis=1).mean(axis=1)
    assert 0.1 < near < 0.9
    assert 0.1 < wrong < 0.9
    assert (0.1 < entropy < 0.9) if kind != "groups" else entropy == 0


def labelled(generator, rows, classes):
    """Peaked probabilities, a label near the top, its neighbours, and half of the others known wrong."""
    logits = 3.0 * generator.standard_normal((rows, classes))
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    near = generator.random((rows, classes)) < 0.04
    near[np.arange(rows), generator.integers(classes, size=rows)] = True
    return p, near, (generator.random((rows, classes)) < 0.5) & ~near


@pytest.mark.slow
@pytest.mark.parametrize("bound", ["entropy_min", "entropy_max"])
def test_20000_rows_of_150_classes_are_certified(bound):
    p, near, wrong = labelled(seeds.generator("test", "projection", "many", bound), 20_000, 150)
    bounds = {"near_min": np.maximum((p * near).sum(1), 0.3), "wrong_max": 0.7 * (p * wrong).sum(1)}
    start = entropies(project_groups(p, near, wrong, **bounds))
    sharp = entropies(project_groups(raised(p, 2.0), near, wrong, **bounds))
    bounds[bound] = start + 0.5 if bound == "entropy_min" else 0.5 * (start + sharp)
    found = group_projection(p, near, wrong, **bounds)
    gaps = duality_gap(p, found.probs, near, wrong, **bounds)
    assert found.entropy_active.mean() > 0.99
    assert np.abs(gaps).max() <= CERTIFIED
    reached = entropies(found.probs)[found.entropy_active]
    np.testing.assert_allclose(reached, bounds[bound][found.entropy_active], rtol=0, atol=2e-12)
    np.testing.assert_array_equal(found.power > 1, found.entropy_active & (bound == "entropy_max"))


def sequential(p, near, wrong, bounds):
    """The entropy first, by temperature, and the groups afterwards."""
    tempered = project_groups(p, near, wrong, **EVERY, entropy_min=bounds["entropy_min"])
    return project_groups(tempered, near, wrong, near_min=bounds["near_min"], wrong_max=bounds["wrong_max"])


def clipped(p, near, wrong, bounds):
    """Masses set to their bounds, then everything divided by the sum."""
    q = np.where(near, p * np.maximum(1, bounds["near_min"][:, None] / (p * near).sum(1, keepdims=True)), p)
    q = np.where(wrong, p * np.minimum(1, bounds["wrong_max"][:, None] / (p * wrong).sum(1, keepdims=True)), q)
    return q / q.sum(axis=1, keepdims=True)


def no_entropy(p, near, wrong, bounds):
    return project_groups(p, near, wrong, near_min=bounds["near_min"], wrong_max=bounds["wrong_max"])


def nudged(p, near, wrong, bounds):
    """The right answer with a thousandth moved between two of the classes near the label, towards equality."""
    q = project_groups(p, near, wrong, **bounds)
    order = np.argsort(np.where(near, q, np.nan), axis=1)  # the classes near the label first, by what they hold
    low, high = order[:, 0], order[np.arange(len(q)), near.sum(1) - 1]
    q[np.arange(len(q)), low] += 1e-3
    q[np.arange(len(q)), high] -= 1e-3
    return q


@pytest.mark.parametrize("wrong_solution", [sequential, clipped, no_entropy, nudged])
def test_the_certificate_rejects(wrong_solution):
    generator = seeds.generator("test", "projection", "rejects", wrong_solution.__name__)
    p, near, wrong = labelled(generator, 500, 20)
    near[:, :3], wrong[:, :3] = True, False  # three near ones, and a wrong one, in every row
    near[:, 3], wrong[:, 3] = False, True
    held = (p * near).sum(1), (p * wrong).sum(1)
    bounds = {"near_min": held[0] + 0.5 * (1 - held[0]), "wrong_max": 0.5 * held[1]}
    bounds["entropy_min"] = entropies(project_groups(p, near, wrong, **bounds)) + 0.2
    right = duality_gap(p, project_groups(p, near, wrong, **bounds), near, wrong, **bounds)
    assert np.abs(right).max() <= CERTIFIED
    gaps = duality_gap(p, wrong_solution(p, near, wrong, bounds), near, wrong, **bounds)
    # A thousandth moved costs at least its square: 1e-6 nats.
    assert (gaps > 1e-6).all()


def test_the_certificate_rejects_wclip_where_the_bound_leaves_a_choice():
    """Mass for the label may come from every class; W-Clip takes it from one."""
    p, _, _ = labelled(seeds.generator("test", "projection", "wclip choice"), 500, 10)
    labels = np.argsort(p, axis=1)[:, -2]
    clipped_ = wclip(p, labels)
    near = np.eye(10, dtype=bool)[labels]
    bounds = {"near_min": clipped_[near], "wrong_max": 1.0}
    gaps = duality_gap(p, clipped_, near, np.zeros_like(near), **bounds)
    assert np.isfinite(gaps).all()
    assert (gaps > 1e-6).mean() > 0.99
    exact = project_groups(p, near, np.zeros_like(near), **bounds)
    assert np.abs(duality_gap(p, exact, near, np.zeros_like(near), **bounds)).max() <= CERTIFIED


def test_wclip_is_this_projection():
    generator = seeds.generator("test", "projection", "wclip")
    p = slsqp.probabilities(generator, 5000, 12)
    p = (p + 1e-9) / (p + 1e-9).sum(axis=1, keepdims=True)  # the label must have support
    labels = generator.integers(12, size=5000)
    target = wclip(p, labels)
    near, wrong = np.eye(12, dtype=bool)[labels], np.eye(12, dtype=bool)[p.argmax(axis=1)]
    fired = p[np.arange(5000), labels] < p.max(axis=1)
    wrong[~fired] = False
    limits = {"near_min": target[near], "wrong_max": np.where(fired, target[np.arange(5000), p.argmax(1)], 1.0)}
    assert 0.5 < fired.mean() < 1.0
    np.testing.assert_allclose(project_groups(p, near, wrong, **limits), target, rtol=0, atol=1e-12)


def excess(r, p, q):
    """Gain in expected log-loss over what is guaranteed, by true posterior r."""
    return (r * np.log(q / p)).sum(axis=1) - kl(q, p)


@pytest.mark.parametrize("kind", ["groups", "entropy_min"])
def test_log_loss_falls_by_the_divergence_where_the_truth_meets_the_bounds(kind):
    generator = seeds.generator("test", "projection", "log-loss", kind)
    rows, classes = 20_000, 6
    p = generator.dirichlet(np.full(classes, 0.5), rows) + 1e-6
    p /= p.sum(axis=1, keepdims=True)
    near, wrong = groups(generator, rows, classes)
    truth, other = generator.dirichlet(np.ones(classes), (2, rows))
    tight = generator.random((3, rows))
    bounds = {"near_min": (truth * near).sum(1) * tight[0], "wrong_max": 1 - (1 - (truth * wrong).sum(1)) * tight[1]}
    if kind == "entropy_min":
        bounds["entropy_min"] = entropies(truth) * tight[2] ** 0.2
    q = project_groups(p, near, wrong, **bounds)
    moved = kl(q, p) > 1e-6
    assert moved.mean() > 0.3
    assert excess(truth, p, q).min() >= -1e-9  # bounds are met to 1e-12 and multipliers stay below 1e3
    broken = ((other * near).sum(1) < bounds["near_min"]) | ((other * wrong).sum(1) > bounds["wrong_max"])
    assert (excess(other, p, q)[broken & moved] < -1e-3).mean() > 0.2  # and this check can fail


def test_bounds_that_do_not_bind_change_nothing():
    p, near, wrong = labelled(seeds.generator("test", "projection", "slack"), 1000, 30)
    loose = {"near_min": 0.9 * (p * near).sum(1), "wrong_max": 1.1 * (p * wrong).sum(1)}
    found = group_projection(p, near, wrong, **loose, entropy_min=0.9 * entropies(p), entropy_max=1.1 * entropies(p))
    np.testing.assert_allclose(found.probs, p, rtol=0, atol=1e-15)
    assert not (found.near_active | found.wrong_active | found.entropy_active).any()
    np.testing.assert_array_equal(found.power, 1.0)


def test_a_vanishing_entropy_leaves_the_most_probable_class():
    p = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    none = np.zeros_like(p, dtype=bool)
    q = project_groups(p, none, none, **EVERY, entropy_max=0.0)
    np.testing.assert_allclose(q, [[0, 1, 0], [1, 0, 0]], rtol=0, atol=1e-9)
    # With half of the mass held by a group, half of it goes to the best class there.
    near = np.array([[True, False, True], [False, True, True]])
    q = project_groups(p, near, none, near_min=0.75, wrong_max=1.0, entropy_max=0.57)
    np.testing.assert_allclose(entropies(q), 0.57, rtol=0, atol=1e-11)


def test_the_largest_entropy_leaves_flat_groups():
    p, near, wrong = np.array([[0.7, 0.1, 0.1, 0.1]]), np.eye(4, dtype=bool)[[0]], np.eye(4, dtype=bool)[[3]]
    most = -0.5 * np.log(0.5) - 0.5 * np.log(0.5 / 3)
    q = project_groups(p, near, wrong, near_min=0.5, wrong_max=1.0, entropy_min=most)
    np.testing.assert_allclose(q, [[0.5, 1 / 6, 1 / 6, 1 / 6]], rtol=0, atol=1e-5)  # entropy to 1e-12: q to its root
    assert duality_gap(p, q, near, wrong, near_min=0.5, wrong_max=1.0, entropy_min=most) == 0


def test_every_case_of_masses_by_hand():
    p = np.array([[0.2, 0.4, 0.3, 0.1]])
    near, wrong = np.array([[True, False, False, False]]), np.array([[False, True, False, False]])
    cases = {
        (0.1, 0.5): [0.2, 0.4, 0.3, 0.1],
        (0.1, 0.1): [0.3, 0.1, 0.45, 0.15],
        (0.6, 0.5): [0.6, 0.2, 0.15, 0.05],
        (0.6, 0.1): [0.6, 0.1, 0.225, 0.075],
        (1.0, 0.5): [1, 0, 0, 0],
        (0.6, 0.0): [0.6, 0.0, 0.3, 0.1],
    }
    for (near_min, wrong_max), q in cases.items():
        bounds = {"near_min": near_min, "wrong_max": wrong_max}
        np.testing.assert_allclose(project_groups(p, near, wrong, **bounds), [q], rtol=0, atol=1e-15)
        assert abs(duality_gap(p, [q], near, wrong, **bounds)[0]) < 1e-12
    no_rest = np.array([[False, True, True, True]])  # then wrong_max says what the label holds
    for bounds in ({"near_min": 0.0, "wrong_max": 0.4}, {"near_min": 0.6, "wrong_max": 0.9}):
        q = project_groups(p, near, no_rest, **bounds)
        np.testing.assert_allclose(q, [[0.6, 0.2, 0.15, 0.05]], rtol=0, atol=1e-15)
        assert abs(duality_gap(p, q, near, no_rest, **bounds)[0]) < 1e-12


def test_classes_of_probability_zero_keep_it():
    p = np.array([[0.5, 0.0, 0.5, 0.0]])
    near, wrong = np.array([[True, True, False, False]]), np.array([[False, False, False, True]])
    q = project_groups(p, near, wrong, near_min=0.8, wrong_max=0.1, entropy_min=0.1)
    np.testing.assert_allclose(q, [[0.8, 0, 0.2, 0]], rtol=0, atol=1e-15)


def test_the_order_of_rows_and_classes_does_not_matter():
    generator = seeds.generator("test", "projection", "order")
    rows = Rows.draw(generator, 700, 9, "entropy_min")
    q = project_groups(rows.p, rows.near, rows.wrong, **rows.bounds)
    by_class, by_row = generator.permutation(9), generator.permutation(700)
    shuffled = [x[by_row][:, by_class] for x in (rows.p, rows.near, rows.wrong)]
    again = project_groups(*shuffled, **{name: value[by_row] for name, value in rows.bounds.items()})
    np.testing.assert_allclose(again, q[by_row][:, by_class], rtol=0, atol=1e-11)  # entropies agree to 1e-12


def test_torch_in_torch_out_in_double():
    p, near, wrong = labelled(seeds.generator("test", "projection", "torch"), 50, 8)
    single = torch.tensor(p, dtype=torch.float32)
    bounds = {"near_min": 0.3, "wrong_max": 0.4}
    q = project_groups(single, torch.tensor(near), torch.tensor(wrong), **bounds)
    assert isinstance(q, torch.Tensor)
    assert q.dtype == torch.float64
    np.testing.assert_allclose(q.sum(1), 1.0, rtol=0, atol=1e-14)  # rows rounded to single precision are normalised
    np.testing.assert_array_equal(q, project_groups(single.numpy(), near, wrong, **bounds))
    np.testing.assert_allclose(q, project_groups(p, near, wrong, **bounds), rtol=0, atol=1e-6)
    found = group_projection(p, near, wrong, **bounds)
    assert all(isinstance(value, np.ndarray) for value in vars(found).values())


def test_rows_that_cannot_reach_the_entropy_are_named_or_dropped():
    p = np.array([[0.7, 0.2, 0.1], [0.4, 0.4, 0.2], [0.3, 0.35, 0.35]])
    none = np.zeros_like(p, dtype=bool)
    with pytest.raises(DataError, match=r'in row 1 \(2 rows of 3\).*unreachable="drop"'):
        project_groups(p, none, none, **EVERY, entropy_max=0.5)
    with pytest.warns(UqkdWarning, match="2 of 3 rows, the first 1"):
        found = group_projection(p, none, none, **EVERY, entropy_max=0.5, unreachable="drop")
    np.testing.assert_array_equal(found.probs[1:], p[1:])
    np.testing.assert_array_equal(found.entropy_active, [True, False, False])
    with pytest.raises(OptionError, match="did you mean 'drop'"):
        project_groups(p, none, none, **EVERY, unreachable="dorp")


GOOD = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8], [1.0, 0.0, 0.0]])
ONE, TWO, NONE = (np.tile(np.array(mask, dtype=bool), (3, 1)) for mask in ([1, 0, 0], [0, 1, 1], [0, 0, 0]))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"near_min": [0.1, 1.2, -0.1]}, OptionError, r"row 1 \(2 rows of 3\) asks for a near_min"),
        ({"wrong_max": [0.1, 0.2, -0.1]}, OptionError, r"row 2 \(1 row of 3\) asks for a negative wrong_max"),
        ({"near": NONE, "near_min": [0.0, 0.1, 0.1]}, DataError, r"near holds no class .* row 1 \(2 rows of 3\)"),
        ({"near": TWO, "wrong": NONE, "near_min": 0.1}, DataError, r"near holds no class .* row 2 \(1 row of 3\)"),
        ({"near": NONE, "wrong": ONE, "wrong_max": 0.9}, DataError, r"wrong holds every .* row 2 \(1 row of 3\)"),
        ({"near": ONE, "wrong": ONE}, DataError, r"share a class in row 0 \(3 rows of 3\)"),
        ({"entropy_min": 0.1}, DataError, r"entropy_min exceeds what .* row 2 \(1 row of 3\)"),
        ({"entropy_min": [1.2, 0.0, 0.0]}, DataError, r"entropy_min exceeds what .* row 0 \(1 row of 3\)"),
        ({"near_min": 1.0, "entropy_min": [0.0, 0.1, 0.0]}, DataError, r"entropy_min exceeds what .* row 1 "),
        ({"entropy_min": 0.5, "entropy_max": [0.6, 0.4, 0.6]}, OptionError, r"exceeds entropy_max in row 1 "),
        ({"entropy_max": [0.6, 0.4, -0.1]}, OptionError, r"entropy_max is negative in row 2 "),
        ({"near_min": [0.1, 0.1]}, ShapeError, r"near_min must be one number or have shape \(P=3,\); got \(2,\)"),
        ({"near_min": [0.1, np.nan, 0.1]}, NotFiniteError, "near_min .* row 1"),
        ({"near": ONE[:2]}, ShapeError, r"near needs the shape of probs, \(P, C\) = \(3, 3\); got \(2, 3\)"),
        ({"near": ONE.astype(int)}, DataError, "near must be a mask of bool"),
        ({"probs": GOOD[:, :1] * 0 + 1}, ShapeError, "C >= 2"),
        ({"probs": GOOD[0]}, ShapeError, r"needs shape \(P, C\)"),
        ({"probs": GOOD[:0]}, ShapeError, "empty"),
        ({"probs": GOOD * [[1], [0.9], [1]]}, DataError, "row 1 sums to 0.9"),
        ({"probs": GOOD * [[1], [-1], [1]] + [[0], [0.6], [0]]}, DataError, "negative probability -0.2"),
        ({"probs": np.where(GOOD == 0.8, np.nan, GOOD)}, NotFiniteError, r"index \(1, 2\)"),
    ],
)
def test_what_cannot_be_is_refused_by_row(arguments, error, message):
    whole = {"probs": GOOD, "near": ONE, "wrong": NONE, "near_min": 0.0, "wrong_max": 1.0} | arguments
    with pytest.raises(error, match=message):
        project_groups(whole.pop("probs"), whole.pop("near"), whole.pop("wrong"), **whole)


def test_a_solver_that_misses_is_caught(monkeypatch):
    """The bounds are checked on the answer itself, so that a wrong root cannot pass."""
    monkeypatch.setattr(
        projection, "power_of_entropy", lambda family, target, start, **bracket: Root(start.power * 0.9, target > 0)
    )
    with pytest.raises(UqkdError, match="fault of the solver"):
        project_groups(GOOD[:2], ONE[:2], NONE[:2], **EVERY, entropy_max=0.5)
