"""The optimisers are torch.optim's, student by student; those that are not active keep every bit."""

from itertools import chain

import pytest
import torch

from uqkd import seeds
from uqkd.stacked import Recipe
from uqkd.stacked.optimisers import begin, clip, norms, torch_optimiser, update

SHAPES = ((4, 3), (4,), (2, 4))
RATES = torch.tensor([0.1, 0.02, 0.005], dtype=torch.float64)
RECIPES = {
    "sgd": Recipe(steps=1, optimiser="sgd"),
    "momentum": Recipe(steps=1, optimiser="sgd", momentum=0.9),
    "nesterov": Recipe(steps=1, optimiser="sgd", momentum=0.9, nesterov=True),
    "sgd, weight decay": Recipe(steps=1, optimiser="sgd", momentum=0.5, weight_decay=0.1),
    "adam": Recipe(steps=1),
    "adam, other constants": Recipe(steps=1, betas=(0.5, 0.9), eps=0.1),
    "adam, weight decay": Recipe(steps=1, weight_decay=0.1),
    "adamw": Recipe(steps=1, optimiser="adamw", weight_decay=0.1),
}


def drawn(*key, students=3, dtype=torch.float64):
    draw = seeds.generator("test", "optimisers", *key, shared=True)
    return [torch.as_tensor(draw.standard_normal((students, *shape))).to(dtype) for shape in SHAPES]


def plain(recipe, parameters, rate):
    """torch.optim's own loop over parameters."""
    common = {"lr": rate, "weight_decay": recipe.weight_decay, "foreach": False}
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(parameters, momentum=recipe.momentum, nesterov=recipe.nesterov, **common)
    kind = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    return kind(parameters, betas=recipe.betas, eps=recipe.eps, **common)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 2e-6)])
def test_two_hundred_updates_are_torchs(recipe, dtype, tolerance):
    """Gradients of sizes from 1e-9 (below eps) to 1; rounding alone separates the two (about one unit per update)."""
    parameters = drawn("start", dtype=dtype)
    alone = [[torch.nn.Parameter(p[s].clone()) for p in parameters] for s in range(3)]
    optimisers = [plain(recipe, own, float(RATES[s])) for s, own in enumerate(alone)]
    state = begin(recipe, parameters)
    for t in range(200):
        gradients = [g * 10.0 ** -(9 * (t % 7) / 6) for g in drawn(t, dtype=dtype)]
        parameters, state = update(
            recipe, parameters, gradients, state, rate=RATES, active=torch.ones(3, dtype=torch.bool)
        )
        for s, optimiser in enumerate(optimisers):
            for own, gradient in zip(alone[s], gradients, strict=True):
                own.grad = gradient[s].clone()
            optimiser.step()
    for s, own in enumerate(alone):
        for stacked, parameter in zip(parameters, own, strict=True):
            torch.testing.assert_close(stacked[s], parameter.detach(), rtol=tolerance * 10, atol=tolerance * 10)
    assert state.step.tolist() == [200] * 3


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("poison", [0.0, torch.nan, torch.inf])
def test_students_that_are_not_active_keep_every_bit(recipe, poison):
    parameters, state = drawn("start"), begin(recipe, drawn("start"))
    everyone = torch.ones(3, dtype=torch.bool)
    parameters, state = update(recipe, parameters, drawn("one"), state, rate=RATES, active=everyone)
    gradients = drawn("two")
    clean, _ = update(recipe, parameters, gradients, state, rate=RATES, active=everyone)
    for gradient in gradients:
        gradient[1] += poison
    only = torch.tensor([True, False, True])
    after, later = update(recipe, parameters, gradients, state, rate=RATES, active=only)
    for new, old, healthy in zip(after, parameters, clean, strict=True):
        assert torch.equal(new[1], old[1])
        assert torch.equal(new[[0, 2]], healthy[[0, 2]])
        assert not torch.equal(new[0], old[0])
    for new, old in zip(chain(*later.slots), chain(*state.slots), strict=True):
        assert torch.equal(new[1], old[1])
    assert later.step.tolist() == [2, 1, 2]


def test_state_holds_only_what_the_optimiser_needs():
    def sizes(recipe):
        return tuple(map(len, begin(recipe, drawn("start")).slots))

    assert sizes(RECIPES["sgd"]) == ()
    assert sizes(RECIPES["momentum"]) == (3,)
    assert sizes(RECIPES["adamw"]) == (3, 3)


@pytest.mark.parametrize("limit", [0.1, 5.0, 100.0])
def test_clipping_is_torchs_student_by_student(limit):
    gradients = drawn("clip")
    gradients[0][1] *= 1e-3
    norm = norms(gradients)
    clipped = clip(gradients, norm, limit)
    for s in range(3):
        own = [torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64)) for shape in SHAPES]
        for parameter, gradient in zip(own, gradients, strict=True):
            parameter.grad = gradient[s].clone()
        total = torch.nn.utils.clip_grad_norm_(own, limit)
        torch.testing.assert_close(norm[s], total, rtol=1e-14, atol=0)
        for parameter, stacked in zip(own, clipped, strict=True):
            torch.testing.assert_close(stacked[s], parameter.grad, rtol=1e-14, atol=0)


LAYOUTS = {
    "whole": lambda values: values.clone(),
    "transposed": lambda values: values.T.contiguous().T,
    "a slice": lambda values: torch.nn.functional.pad(values, (1, 1))[:, 1:-1],
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_one_student_in_place_whatever_the_layout_of_its_parameters(recipe, layout, dtype):
    """torch's fused step moves the wrong numbers where layouts differ, and is wrong for SGD in bfloat16."""
    draw = seeds.generator("test", "optimisers", "in place", shared=True)
    start = torch.as_tensor(draw.standard_normal((40, 40))).to(dtype)
    student = torch.nn.Parameter(LAYOUTS[layout](start))
    reference = torch.nn.Parameter(start.double())
    pair = torch_optimiser(recipe, [student]), plain(recipe, [reference], recipe.lr)
    for _ in range(20):
        gradient = torch.as_tensor(draw.standard_normal((40, 40))).to(dtype)
        student.grad, reference.grad = gradient.clone(), gradient.double()
        for optimiser in pair:
            optimiser.step()
    # Each step rounds a parameter below 4 twice (decay and move) by half a unit, which is eps at most: 20 steps, 40 eps. The
    # moments round moves of some 0.1 a few times each: 10 eps. Layouts mixed up are 1e6 eps off in float32; SGD with
    # momentum, fused in bfloat16, is 120 off.
    assert float((student - reference).detach().abs().max()) <= 50 * torch.finfo(dtype).eps
