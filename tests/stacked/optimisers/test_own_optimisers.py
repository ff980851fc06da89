"""An optimiser is one file: dropped into the folder it trains by every engine, and is nowhere taken for another."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from uqkd import seeds
from uqkd.errors import OptionError
from uqkd.stacked import Recipe, Stacked, optimisers, train
from uqkd.stacked.engines import compiled, fused

S, N, STEPS, RATE = 3, 12, 40, 0.02
BETAS, EPS = (0.8, 0.6), 0.1  # an eps that keeps small gradients from blowing rounding up
# Relative to max(1, |parameter|): 40 steps of some ten roundings of 1e-16, of which the later steps make 2.3 times as much
# (a start moved by 1e-13 shows it) are 1e-13; another optimiser is 1e-2 off.
BOUND = 1e-12

RMSPROP = '''
"""RMSprop, as torch.optim.RMSprop with alpha = betas[1]."""
import torch
from uqkd.stacked.optimisers import State, along

OPTIONS = ("betas", "eps")
KERNEL = {kernel}

def slots(recipe):
    return 1

def propose(recipe, parameters, gradients, state, rate):
    share = recipe.betas[1]
    squares = tuple(share * v + (1 - share) * g * g for v, g in zip(state.slots[0], gradients))
    new = tuple(p - along(rate, p) * g / (v.sqrt() + recipe.eps) for p, g, v in zip(parameters, gradients, squares))
    return new, State(state.step + 1, (squares,))

def alone(parameters, recipe):
    return torch.optim.RMSprop(parameters, lr=recipe.lr, alpha=recipe.betas[1], eps=recipe.eps)
'''
RMSPROP_KERNEL = """
const T share = job.beta2, eps = job.eps, lr = rate;
for (int i = 0; i < parameters; i++) {
    const T d = g[i] * scale;
    v[i] = share * v[i] + (1 - share) * d * d;
    p[i] -= lr * d / (std::sqrt(v[i]) + eps);
}
"""
AMSGRAD = '''
"""Adam with the largest second moment so far: three slots."""
import torch
from uqkd.stacked.optimisers import State, along

OPTIONS = ("betas", "eps")
KERNEL = None

def slots(recipe):
    return 3

def propose(recipe, parameters, gradients, state, rate):
    (b1, b2), step = recipe.betas, state.step + 1
    first = tuple(b1 * m + (1 - b1) * g for m, g in zip(state.slots[0], gradients))
    second = tuple(b2 * v + (1 - b2) * g * g for v, g in zip(state.slots[1], gradients))
    most = tuple(torch.maximum(w, v) for w, v in zip(state.slots[2], second))
    stride, root = rate / (1 - b1 ** step.double()), (1 - b2 ** step.double()).sqrt()
    new = tuple(p - along(stride, p) * m / (w.sqrt() / along(root, w) + recipe.eps)
                for p, m, w in zip(parameters, first, most))
    return new, State(step, (first, second, most))

def alone(parameters, recipe):
    return torch.optim.Adam(parameters, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, amsgrad=True)
'''


def rmsprop_by_hand():
    square = 0.0

    def move(gradient):
        nonlocal square
        square = BETAS[1] * square + (1 - BETAS[1]) * gradient**2
        return -RATE * gradient / (np.sqrt(square) + EPS)

    return move


def amsgrad_by_hand():
    mean, square, most, step = 0.0, 0.0, 0.0, 0

    def move(gradient):
        nonlocal mean, square, most, step
        step += 1
        mean, square = BETAS[0] * mean + (1 - BETAS[0]) * gradient, BETAS[1] * square + (1 - BETAS[1]) * gradient**2
        most = np.maximum(most, square)
        return -RATE / (1 - BETAS[0] ** step) * mean / (np.sqrt(most / (1 - BETAS[1] ** step)) + EPS)

    return move


OWN = {"rmsprop": (RMSPROP.format(kernel=None), rmsprop_by_hand), "amsgrad": (AMSGRAD, amsgrad_by_hand)}


@pytest.fixture
def dropped(tmp_path, monkeypatch):
    """Puts a file into a folder that belongs to the package until the test ends."""

    def drop(name, text):
        (tmp_path / f"{name}.py").write_text(text)

    monkeypatch.setattr(optimisers, "__path__", [*optimisers.__path__, str(tmp_path)])
    known = set(optimisers.optimiser_names())
    yield drop
    for name in set(optimisers.optimiser_names()) - known:
        sys.modules.pop(f"{optimisers.__name__}.{name}", None)
        vars(optimisers).pop(name, None)
    optimisers.optimiser_named.cache_clear()
    fused.kernel.cache_clear()


def problem():
    draw = seeds.generator("test", "own optimisers", shared=True)
    return draw.standard_normal((N, 4)), draw.standard_normal((S, N, 2)), draw.standard_normal((S, 2, 5))


def recipe(name):
    return Recipe(steps=STEPS, optimiser=name, lr=RATE, betas=BETAS, eps=EPS)


def model_of(start):
    with torch.random.fork_rng(devices=[]):
        model = Stacked.of(nn.Linear(4, 2), S, dtype="float64")
    model.load({"weight": start[:, :, :4], "bias": start[:, :, 4]})
    return model


def by_hand(rule):
    """Linear regression in NumPy: weights and bias of each student, (S, 2, 5)."""
    X, targets, start = problem()
    design, found = np.c_[X, np.ones(N)], []
    for s in range(S):
        weights, move = start[s].copy(), rule()
        for _ in range(STEPS):
            weights = weights + move((design @ weights.T - targets[s]).T @ design * (2 / (N * 2)))
        found.append(weights)
    return np.stack(found)


def gap(model, wanted):
    held = model.parameters_by_name()
    found = np.concatenate([held["weight"].numpy(), held["bias"].numpy()[..., None]], axis=2)
    return float((np.abs(found - wanted) / np.maximum(1, np.abs(wanted))).max())


needs_compiler = pytest.mark.skipif(not compiled.available(torch.device("cpu")), reason="no C++ compiler")


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        *((name, engine) for name in OWN for engine in ("auto", "eager", "sequential")),
        pytest.param("amsgrad", "compiled", marks=needs_compiler),  # one compilation: 7 s
    ],
)
def test_a_file_in_the_folder_trains_stacked_students(dropped, name, engine):
    text, rule = OWN[name]
    dropped(name, text)
    X, targets, start = problem()
    model = model_of(start)
    seen = train(model, X, targets, recipe(name), engine=engine)
    # "auto" takes the kernel for what it has, and this it does not have
    assert seen.engine == ("eager" if engine == "auto" else engine)
    assert gap(model, by_hand(rule)) <= BOUND
    other = model_of(start)
    train(other, X, targets, recipe("adam"), engine="eager")
    assert gap(other, by_hand(rule)) > 1e-2  # what an optimiser that is taken for another would be off by


@pytest.mark.parametrize("name", OWN)
def test_and_one_student_alone_in_place(dropped, name):
    text, rule = OWN[name]
    dropped(name, text)
    X, targets, start = map(torch.as_tensor, problem())
    model = model_of(start)
    for s in range(S):
        student = model.student(s)
        optimiser = optimisers.torch_optimiser(recipe(name), student.parameters())
        for _ in range(STEPS):
            optimiser.zero_grad()
            nn.functional.mse_loss(student(X), targets[s]).backward()
            optimiser.step()
        for part, value in student.state_dict().items():
            model.parameters_by_name()[part][s].copy_(value)
    assert gap(model, by_hand(rule)) <= BOUND


def test_the_kernel_refuses_what_it_does_not_have(dropped):
    dropped("amsgrad", AMSGRAD)
    X, targets, start = problem()
    assert fused.supports(model_of(start), recipe("adam"), "mse") is not None
    assert fused.supports(model_of(start), recipe("amsgrad"), "mse") is None
    assert fused.kernel(fused.Shape((4, 2), "relu", "mse", "amsgrad", "float64")) is None
    with pytest.raises(OptionError, match="engine='fused'"):
        train(model_of(start), X, targets, recipe("amsgrad"), engine="fused")


@needs_compiler
def test_a_file_may_bring_its_step_for_the_kernel(dropped):
    dropped("rmsprop", RMSPROP.format(kernel=repr(RMSPROP_KERNEL)))
    X, targets, start = problem()
    model = model_of(start)
    assert train(model, X, targets, recipe("rmsprop")).engine == "fused"
    assert gap(model, by_hand(rmsprop_by_hand)) <= BOUND


def test_names_are_those_of_the_files_and_options_those_they_use(dropped):
    assert optimisers.optimiser_names() == ("adam", "adamw", "sgd")
    dropped("rmsprop", RMSPROP.format(kernel=None))
    assert optimisers.optimiser_names() == ("adam", "adamw", "rmsprop", "sgd")
    assert f"{optimisers.__name__}.rmsprop" not in sys.modules  # listed, not imported
    with pytest.raises(OptionError, match="optimiser got 'rmspop'; did you mean 'rmsprop'"):
        recipe("rmspop")
    with pytest.raises(OptionError, match=r"optimiser 'rmsprop' has no option 'weight_decay'; it uses betas, eps\."):
        Recipe(steps=1, optimiser="rmsprop", weight_decay=0.1)
