"""Losses of classifiers against plain torch and plain NumPy, value and gradient, with wrong versions that must be seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchmetrics.functional import kl_divergence

from uqkd import seeds
from uqkd.classify import Distillation, Shaping, soften
from uqkd.classify.targets.objectives import checked_temperature, rescaled
from uqkd.errors import OptionError, ShapeError

S, B, C = 3, 7, 5
# Float64 sums of C·B terms of size up to 30 (T² = 16): some hundred units in the last place, 30 · 2e-16 · 100 = 6e-13.
ROUNDING = {"rtol": 0, "atol": 1e-12}
# The nearest wrong version below is off by 1e-3 or more; a gap below this would be a case that shows nothing.
SEEN = 1e-4


def draw(*key):
    generator = seeds.generator("test", "objectives", *key, shared=True)
    logits, teacher = (torch.as_tensor(generator.normal(0.0, 2.0, (S, B, C))) for _ in range(2))
    labels = torch.as_tensor(generator.integers(C, size=(S, B)))
    return logits, teacher, labels


def by(logits, temperature):
    if temperature == "std":
        return logits / torch.std(logits, dim=-1, keepdim=True)
    return logits / temperature


def plain(logits, teacher, labels, temperature, weight):
    """Student by student with torch's own losses: softmax(z/T), T² · batch mean of KL, cross-entropy of class numbers."""
    scale = 1.0 if temperature == "std" else temperature**2
    found = []
    for z, t, y in zip(logits, teacher, labels, strict=True):
        apart = F.kl_div(
            F.log_softmax(by(z, temperature), -1), F.softmax(by(t, temperature), -1), reduction="batchmean"
        )
        found.append(weight * scale * apart + (1 - weight) * F.cross_entropy(z, y))
    return torch.stack(found)


def aims(teacher, labels, temperature):
    return torch.cat([by(teacher, temperature).softmax(-1), F.one_hot(labels, C).double()], -1)


def value_and_gradient(loss, logits):
    z = logits.clone().requires_grad_()
    value = loss(z)
    (gradient,) = torch.autograd.grad(value.sum(), z)
    return value.detach().numpy(), gradient.numpy()


# ------------------------------------------------------------------------------------------------------ distillation


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 4.0, "std"])
@pytest.mark.parametrize("weight", [0.0, 0.3, 0.8, 1.0])
def test_distillation_is_torchs_own_losses(temperature, weight):
    logits, teacher, labels = draw("plain")
    objective, target = Distillation(temperature, weight), aims(teacher, labels, temperature)
    seen = value_and_gradient(lambda z: objective(z, target), logits)
    expected = value_and_gradient(lambda z: plain(z, teacher, labels, temperature, weight), logits)
    np.testing.assert_allclose(seen[0], expected[0], **ROUNDING)
    np.testing.assert_allclose(seen[1], expected[1], **ROUNDING)


def softened_student_only(z, teacher, labels, temperature):
    return 0.8 * temperature**2 * _kl(teacher.softmax(-1), by(z, temperature)) + 0.2 * _ce(z, labels)


def temperature_once(z, teacher, labels, temperature):
    return 0.8 * temperature * _kl(by(teacher, temperature).softmax(-1), by(z, temperature)) + 0.2 * _ce(z, labels)


def reversed_divergence(z, teacher, labels, temperature):
    own = by(z, temperature)
    return 0.8 * temperature**2 * _kl(own.softmax(-1), by(teacher, temperature)) + 0.2 * _ce(z, labels)


def labels_at_the_temperature(z, teacher, labels, temperature):
    apart = _kl(by(teacher, temperature).softmax(-1), by(z, temperature))
    return 0.8 * temperature**2 * apart + 0.2 * _ce(by(z, temperature), labels)


def weights_swapped(z, teacher, labels, temperature):
    apart = _kl(by(teacher, temperature).softmax(-1), by(z, temperature))
    return 0.2 * temperature**2 * apart + 0.8 * _ce(z, labels)


def summed_over_rows(z, teacher, labels, temperature):
    return B * plain(z, teacher, labels, temperature, 0.8)


WRONG = (
    softened_student_only, temperature_once, reversed_divergence, labels_at_the_temperature, weights_swapped,
    summed_over_rows,
)  # fmt: skip


def _kl(p, logits):
    return (torch.xlogy(p, p) - p * logits.log_softmax(-1)).sum(-1).mean(1)


def _ce(logits, labels):
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").reshape(S, B).mean(1)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda f: f.__name__)
def test_wrong_versions_of_distillation_are_seen(wrong):
    logits, teacher, labels = draw("wrong")
    seen = value_and_gradient(lambda z: Distillation(2.0, 0.8)(z, aims(teacher, labels, 2.0)), logits)
    other = value_and_gradient(lambda z: wrong(z, teacher, labels, 2.0), logits)
    assert np.abs(seen[0] - other[0]).min() > SEEN
    assert np.abs(seen[1] - other[1]).max() > SEEN


@pytest.mark.parametrize("wrong", ["deviation detached", "population deviation", "deviation of all rows"])
def test_wrong_versions_of_rescaling_by_the_deviation_are_seen(wrong):
    logits, teacher, labels = draw("std")
    forms = {
        "deviation detached": lambda z: z / z.std(-1, keepdim=True).detach(),
        "population deviation": lambda z: z / z.std(-1, keepdim=True, correction=0),
        "deviation of all rows": lambda z: z / z.std(),
    }
    target = aims(teacher, labels, "std")
    seen = value_and_gradient(lambda z: Distillation("std", 1.0)(z, target), logits)
    other = value_and_gradient(lambda z: _kl(target[..., :C], forms[wrong](z)), logits)
    assert np.abs(seen[1] - other[1]).max() > SEEN
    if wrong == "deviation detached":  # the value is the same: only the gradient shows it
        np.testing.assert_allclose(seen[0], other[0], **ROUNDING)


def test_with_the_deviation_logits_have_no_scale():
    """Homogeneous of degree 0: the value does not change with the scale, and the gradient is orthogonal to the logits (Euler)."""
    logits, teacher, labels = draw("scale")
    objective, target = Distillation("std", 1.0), aims(teacher, labels, "std")
    value, gradient = value_and_gradient(lambda z: objective(z, target), logits)
    larger, _ = value_and_gradient(lambda z: objective(z, target), 3.7 * logits)
    np.testing.assert_allclose(value, larger, **ROUNDING)
    np.testing.assert_allclose((gradient * logits.numpy()).sum(-1), 0.0, **ROUNDING)
    detached = value_and_gradient(lambda z: _kl(target[..., :C], z / z.std(-1, keepdim=True).detach()), logits)[1]
    assert np.abs((detached * logits.numpy()).sum(-1)).max() > SEEN


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_divergence_is_torchmetrics(temperature):
    logits, teacher, labels = draw("torchmetrics")
    seen = Distillation(temperature, 1.0)(logits, aims(teacher, labels, temperature))
    for s in range(S):
        p, q = ((x[s] / temperature).softmax(-1) for x in (teacher, logits))
        torch.testing.assert_close(seen[s], temperature**2 * kl_divergence(p, q), rtol=0, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 2.0, "std"])
def test_equal_distributions_leave_nothing_but_the_labels(temperature):
    logits, _, labels = draw("equal")
    target = aims(logits, labels, temperature)
    value, gradient = value_and_gradient(lambda z: Distillation(temperature, 1.0)(z, target), logits)
    np.testing.assert_allclose(value, 0.0, **ROUNDING)
    np.testing.assert_allclose(gradient, 0.0, **ROUNDING)
    mixed = Distillation(temperature, 0.75)(logits, target)
    np.testing.assert_allclose(mixed, 0.25 * _ce(logits, labels), **ROUNDING)


def test_a_part_of_weight_zero_is_left_out_even_where_it_is_not_finite():
    logits, teacher, labels = draw("left out")
    target = aims(teacher, labels, 2.0)
    without_labels, without_teacher = target.clone(), target.clone()
    without_labels[..., C:] = torch.nan
    without_teacher[..., :C] = torch.nan
    assert torch.equal(Distillation(2.0, 1.0)(logits, without_labels), Distillation(2.0, 1.0)(logits, target))
    assert torch.equal(Distillation(2.0, 0.0)(logits, without_teacher), Distillation(2.0, 0.0)(logits, target))
    assert Distillation(2.0, 0.5)(logits, without_labels).isnan().all()


def test_one_hot_targets_give_a_finite_loss_and_gradient():
    """0 · log 0 is 0, in the value and in the gradient."""
    logits, _, labels = draw("one-hot")
    hard = F.one_hot(labels, C).double()
    value, gradient = value_and_gradient(lambda z: Distillation(1.0, 1.0)(z, torch.cat([hard, hard], -1)), logits)
    np.testing.assert_allclose(value, _ce(logits, labels), **ROUNDING)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("temperature", [0.5, 3.0, "std"])
def test_students_logits_are_rescaled_as_the_targets_are(temperature):
    """`soften` of probabilities is `rescaled` of their logits: for "std", whatever constant the logits differ by."""
    logits, _, _ = draw("soften")
    expected = rescaled(logits, temperature).softmax(-1)
    np.testing.assert_allclose(soften(logits.softmax(-1).numpy(), temperature), expected, rtol=1e-12, atol=0)


# ----------------------------------------------------------------------------------------------------------- shaping

SHAPES = {
    "published": {},
    "everything": {
        "ce": 0.7,
        "focal": 1.3,
        "alpha": 0.6,
        "gamma": 3.0,
        "entropy": 0.4,
        "gate": 0.3,
        "rho": 2.0,
        "beta": 2.5,
    },
    "no gate": {"gate": 0.0, "rho": 0.5, "beta": 0.5, "entropy": 1.0},
    "gate alone": {"rho": 0.0, "entropy": 1.0, "gate": 0.4},
}


def shaped(logits, labels, *, gamma=10.0, entropy=0.1, ce=0.0, focal=1.0, alpha=1.0, gate=0.5, rho=1.0, beta=1.0):
    """The formula of classifiers.md, row by row in NumPy."""
    found = np.zeros((S, B))
    for place in np.ndindex(S, B):
        z = logits[place]
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        py = p[labels[place]]
        w = float(py < gate) + rho * (1 - py) ** beta
        spread = -sum(x * np.log(x) for x in p)
        found[place] = -ce * np.log(py) - focal * alpha * (1 - py) ** gamma * np.log(py) - entropy * w * spread
    return found.mean(axis=1)


@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES)
def test_shaping_is_its_formula(options):
    logits, _, labels = draw("shaping")
    seen = Shaping(**options)(logits, F.one_hot(labels, C).double())
    np.testing.assert_allclose(seen, shaped(logits.numpy(), labels.numpy(), **options), **ROUNDING)


def test_without_focus_and_entropy_it_is_the_cross_entropy():
    logits, _, labels = draw("cross-entropy")
    target = F.one_hot(labels, C).double()
    for objective in (Shaping(gamma=0.0, entropy=0.0), Shaping(ce=1.0, focal=0.0, entropy=0.0)):
        seen = value_and_gradient(lambda z, objective=objective: objective(z, target), logits)
        expected = value_and_gradient(lambda z: _ce(z, labels), logits)
        np.testing.assert_allclose(seen[0], expected[0], **ROUNDING)
        np.testing.assert_allclose(seen[1], expected[1], **ROUNDING)


def with_gate(gate, *, sign=-1.0, focus=lambda p: 1.0 - p):
    """Shaping at its published settings, with a gate of one's own."""

    def loss(z, labels):
        logs = z.log_softmax(-1)
        own = logs.gather(-1, labels[..., None])[..., 0]
        spread = -(logs.exp() * logs).sum(-1)
        return (-own * focus(own.exp()) ** 10 + sign * 0.1 * gate(own.exp()) * spread).mean(1)

    return loss


def free_gate(p):
    return (p < 0.5) + (1.0 - p)


def test_the_gate_passes_no_gradient():
    """The gradient is that of a loss whose gate is a table of numbers, fixed beforehand."""
    logits, _, labels = draw("gate")
    constant = free_gate(logits.softmax(-1).gather(-1, labels[..., None])[..., 0]).clone()
    seen = value_and_gradient(lambda z: Shaping()(z, F.one_hot(labels, C).double()), logits)
    expected = value_and_gradient(lambda z: with_gate(lambda _: constant)(z, labels), logits)
    np.testing.assert_allclose(seen[0], expected[0], **ROUNDING)
    np.testing.assert_allclose(seen[1], expected[1], **ROUNDING)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("gate not detached", with_gate(free_gate)),
        ("entropy penalised", with_gate(lambda p: free_gate(p).detach(), sign=1.0)),
        ("focus on the easy rows", with_gate(lambda p: free_gate(p).detach(), focus=lambda p: p)),
        ("no gate", with_gate(lambda p: torch.ones_like(p))),
        ("gate the other way", with_gate(lambda p: ((p >= 0.5) + p).detach())),
    ],
)
def test_wrong_versions_of_shaping_are_seen(name, wrong):
    logits, _, labels = draw("wrong shaping")
    seen = value_and_gradient(lambda z: Shaping()(z, F.one_hot(labels, C).double()), logits)
    other = value_and_gradient(lambda z: wrong(z, labels), logits)
    assert np.abs(seen[1] - other[1]).max() > SEEN
    if name == "gate not detached":
        np.testing.assert_allclose(seen[0], other[0], **ROUNDING)
    else:
        assert np.abs(seen[0] - other[0]).max() > SEEN


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 10.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_label_of_probability_one_gives_finite_numbers(gamma, dtype):
    """(1 − p)^gamma has an infinite slope at p = 1 for gamma < 1, and rounding may push p above 1."""
    z = torch.tensor([[[1000.0, 0.0, 0.0], [30.0, 0.0, -5.0], [0.0, 1000.0, 0.0]]], dtype=dtype)
    target = torch.tensor([[[1.0, 0, 0], [1.0, 0, 0], [1.0, 0, 0]]], dtype=dtype)
    value, gradient = value_and_gradient(lambda x: Shaping(gamma=gamma, beta=0.5)(x, target), z)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()


# ------------------------------------------------------------------------------------------------------ what is asked


@pytest.mark.parametrize("temperature", [0, -1.0, np.nan, np.inf, "auto", "2", None, [2.0]])
def test_temperatures_that_are_none_are_named(temperature):
    for ask in (checked_temperature, Distillation, lambda t: soften([[0.5, 0.5]], t)):
        with pytest.raises(OptionError, match="temperature must be a positive number or 'std'; got "):
            ask(temperature)


@pytest.mark.parametrize("weight", [-0.1, 1.1, np.nan])
def test_weights_outside_their_range_are_named(weight):
    with pytest.raises(OptionError, match=rf"a weight in \[0, 1\]; got {weight}"):
        Distillation(weight=weight)


@pytest.mark.parametrize("name", ["gamma", "entropy", "ce", "focal", "alpha", "gate", "rho", "beta"])
@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_shaping_names_the_number_that_is_off(name, value):
    with pytest.raises(OptionError, match=f"shaping needs {name} finite and >= 0; got {value}"):
        Shaping(**{name: value})


def test_targets_of_another_shape_are_refused_not_broadcast():
    with pytest.raises(ShapeError, match=r"\(S, B, 2C\), softened and labels; got \(3, 7, 5\) and \(3, 7, 5\)"):
        Distillation()(torch.zeros(S, B, C), torch.zeros(S, B, C))
    with pytest.raises(ShapeError, match="distillation compares"):
        Distillation()(torch.zeros(S, B, C), torch.zeros(1, B, 2 * C))
    with pytest.raises(ShapeError, match=r"same shape; got \(3, 7, 5\) and \(3, 7, 1\)"):
        Shaping()(torch.zeros(S, B, C), torch.zeros(S, B, 1))
