"""What sums of probabilities may be off by: tight for a softmax of every precision; wrong rows have a remedy in their error."""

import inspect

import numpy as np
import pytest
import torch
from scipy import special

from uqkd import seeds
from uqkd.checking import probabilities as module
from uqkd.checking.probabilities import normalised, sum_tolerance
from uqkd.classify import project_groups, project_label_first, project_label_first_l2, project_pairs, wclip
from uqkd.errors import DataError, ShapeError
from uqkd.estimators import (
    brier_score,
    decompose_categorical,
    entropy,
    fit_temperature,
    off_pair_mass,
    signed_gap,
    summarise_classifier,
)
from uqkd.targets import weigh_probabilities

HALVES = {"float16": (torch.float16, 2.0**-10), "bfloat16": (torch.bfloat16, 2.0**-7)}
WAYS = {
    "wclip": lambda p: wclip(p, np.zeros(len(p), int)),
    "label first": lambda p: project_label_first(p, np.zeros(len(p), int)),
    "label first, L2": lambda p: project_label_first_l2(p, np.zeros(len(p), int)),
    "groups": lambda p: project_groups(
        p, np.zeros(p.shape, bool), np.zeros(p.shape, bool), near_min=0.0, wrong_max=1.0
    ),
    "pairs": lambda p: project_pairs(p, np.zeros(len(p), int), np.ones(len(p), int), 0.5, floor=0.25),
    "decompose": lambda p: decompose_categorical([p, p] if isinstance(p, list) else _twice(p)).total,
    "weigh": lambda p: weigh_probabilities(p).probabilities[0],
    "gap": lambda p: signed_gap(p, np.zeros(len(p), int)),
    "mass": lambda p: off_pair_mass(p, np.zeros(len(p), int), np.ones(len(p), int)),
}


def _twice(p):
    return torch.stack([p, p]) if isinstance(p, torch.Tensor) else np.stack([p, p])


def softmaxes(classes, *, rows=400):
    logits = torch.as_tensor(seeds.generator("test", "sums", classes).standard_normal((rows, classes)) * 2.0)
    return logits.float().softmax(-1)


@pytest.mark.parametrize("classes", [2, 3, 10, 150, 1000])
@pytest.mark.parametrize("name", HALVES)
def test_softmaxes_of_half_precision_pass(name, classes):
    kind, step = HALVES[name]
    stored = softmaxes(classes).to(kind)
    inside = softmaxes(classes).log().to(kind).softmax(-1)
    for p in (stored, inside, *([special.softmax(inside.log().numpy(), axis=1)] if name == "float16" else [])):
        for ask in WAYS.values():
            assert np.isfinite(np.asarray(ask(p))).all()
    off = (stored.double().sum(-1) - 1).abs().max().item()
    assert off > 0.05 * step / classes**0.5  # roundings at random: C of them of p·step/4, p about 1/C
    assert off <= sum_tolerance(kind, classes)


@pytest.mark.parametrize("factor", [0.0, 0.5, 0.98, 1.02, 2.0, 3.0])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", HALVES)
def test_rows_that_are_no_distributions_are_refused_whatever_their_precision(name, way, factor):
    """4·C·eps, as it was, lets all of them pass at C = 1000."""
    p = factor * softmaxes(1000, rows=3)
    for given in (p, p.to(HALVES[name][0]), p.numpy(), *([p.numpy().astype(np.float16)] if name == "float16" else [])):
        with pytest.raises(DataError, match="sum to one over classes, within .* sums to") as caught:
            WAYS[way](given)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("factor", [1.02, 0.98])
def test_the_tolerance_of_four_eps_a_class_is_seen(monkeypatch, factor):
    p = (factor * softmaxes(1000, rows=3)).half()
    with pytest.raises(DataError, match="sum to one"):
        decompose_categorical(_twice(p))
    for wrong in (lambda dtype, classes: 4 * classes * 2.0**-10, lambda dtype, classes: 1.0):
        monkeypatch.setattr(module, "sum_tolerance", wrong)
        decompose_categorical(_twice(p))  # passes, as it must not


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_single_precision_has_its_own_bound(classes):
    p = softmaxes(classes).numpy()
    assert (
        np.abs(p.astype(np.float64).sum(axis=1) - 1).max() <= sum_tolerance(p.dtype, classes) == (classes + 4) * 2**-24
    )
    for kind in (np.float32, np.float64):
        WAYS["wclip"](p.astype(kind))
        with pytest.raises(DataError, match="Digits were lost before they came here"):
            WAYS["wclip"]((p * (1 + 2.0**-10 + classes * 2.0**-23)).astype(kind))


def test_byte_order_and_torch_have_the_same_names():
    for one, other in ((np.dtype(">f2"), torch.float16), (np.dtype("f4"), torch.float32), (np.dtype(int), None)):
        assert sum_tolerance(one, 7) == sum_tolerance(other, 7)
    assert sum_tolerance(torch.bfloat16, 7) > 7 * sum_tolerance(torch.float16, 7)


def test_targets_sum_to_one_in_float64_and_are_otherwise_as_they_were():
    for kind in (torch.float16, torch.bfloat16):
        p = softmaxes(1000).to(kind)
        for method in ("soft", "hard"):
            found = weigh_probabilities(p, method).probabilities
            np.testing.assert_allclose(found.sum(axis=-1), 1.0, rtol=0, atol=1000 * 2.0**-52)  # rounding of the sum
        weigh_probabilities(weigh_probabilities(p).probabilities[0])
        np.testing.assert_allclose(weigh_probabilities(p).probabilities[0], p.double(), rtol=2.0**-6)  # of bfloat16
    exact = seeds.generator("test", "sums", "exact").dirichlet(np.ones(5), 40)
    np.testing.assert_array_equal(weigh_probabilities(exact).probabilities[0], exact)
    assert normalised(exact) is exact


def test_tensors_of_any_kind_are_taken():
    """bfloat16, and those that require a gradient: NumPy takes neither by itself."""
    p = softmaxes(4)
    labels = torch.where(torch.arange(400) % 5 > 0, p.argmax(1), torch.arange(400) % 4)
    expected = summarise_classifier(p.numpy(), labels.numpy(), calibration_probs=p, calibration_labels=labels)
    for given, accuracy in ((p.requires_grad_(), 1e-12), (p.detach().bfloat16(), 0.05), (p.detach().double(), 1e-12)):
        found = summarise_classifier(given, labels, calibration_probs=given, calibration_labels=labels)
        for name, value in found.per_student().items():
            np.testing.assert_allclose(value, getattr(expected, name), rtol=0, atol=accuracy)  # 8 bits of bfloat16
    assert entropy(p).dtype == np.float64
    logits = p.log().bfloat16()
    assert fit_temperature(logits, labels).temperature > 0
    double = torch.tensor([[0.1, 0.9]], dtype=torch.float64, requires_grad=True)
    np.testing.assert_array_equal(weigh_probabilities(double).probabilities[0], [[0.1, 0.9]])  # not through float32
    with pytest.raises(DataError, match="probs does not become an array .*Pass one NumPy array or one tensor"):
        entropy([torch.tensor([0.5, 0.5], requires_grad=True), torch.tensor([0.5, 0.5])])
    with pytest.raises((DataError, ShapeError), match="labels"):
        brier_score([[0.5, 0.5]], [[0], [0, 1]])


def test_estimators_do_not_know_torch():
    assert "import torch" not in inspect.getsource(module)


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        ([[30.0, 70.0], [0.0, 100.0]], "row 0 sums to 100. These look like percentages: divide by 100."),
        ([[0.5, 0.5], [33.3, 66.6]], "row 1 sums to 99.9. Pass softmax"),
        (
            [[[0.5, 0.25], [0.5, 0.75]]],
            r"row \(0, 0\) sums to 0.75. They sum to one over axis 1: put the classes on the last",
        ),
        ([[1, 2], [3, 0]], "sums to 3. These look like counts: divide each row by its sum."),
        (
            [[0.33, 0.33, 0.33]],
            "row 0 sums to 0.99. Digits were lost before they came here: keep them in float32, or divide",
        ),
        ([[2.0, 0.5], [1.0, 0.25]], "row 0 sums to 2.5. Pass softmax"),
    ],
)
def test_the_remedy_is_the_one_for_what_was_seen(probs, message):
    with pytest.raises(DataError, match=message) as caught:
        entropy(probs)
    assert "\n" not in str(caught.value)
