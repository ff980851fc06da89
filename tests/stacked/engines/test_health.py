"""A student that diverges is seen, keeps its last finite parameters, and changes no bit of any other."""

import os

import numpy as np
import pytest
import torch
from torch import nn

from uqkd import seeds
from uqkd.stacked import Recipe, stack, train
from uqkd.stacked.engines import stepping

RECIPES = {
    "sgd": Recipe(steps=30, batch=6, optimiser="sgd", lr=0.02, momentum=0.9),
    "adam": Recipe(steps=30, batch=6, clip_norm=0.5),
    "adamw": Recipe(steps=30, batch=6, optimiser="adamw", weight_decay=0.1),
}
STUDENTS, SICK = 5, 2


def network():
    """Leaves of every sort that keep something per student: batch norm statistics, dropout calls."""
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, bias=False), nn.BatchNorm1d(4), nn.Tanh(), nn.Flatten(1),
        nn.Linear(8, 6), nn.LayerNorm(6), nn.Dropout(0.2), nn.Linear(6, 2),
    )  # fmt: skip


def run(recipe, engine, *, poison=None, rate=1.0, dtype="float32", chunk=None):
    """Train five students, of which one may have a poisoned target or another learning rate."""
    draw = seeds.generator("test", "health", shared=True)
    X, targets = draw.standard_normal((12, 2, 4)), draw.standard_normal((STUDENTS, 12, 2))
    orders = np.stack([draw.permutation(12)[:6] for _ in range(STUDENTS * 7)]).reshape(STUDENTS, 7, 6)
    orders[SICK][orders[SICK] == 3] = 4
    orders[SICK, 5, 0] = 3  # the poisoned row comes at step 5 and not before
    if poison is not None:
        targets[SICK, 3] = poison
    rates = np.tile(recipe.rates(), (STUDENTS, 1))
    rates[SICK] *= rate
    model = stack(network, STUDENTS, key=("test", "health"), dtype=dtype)
    seen = train(model, X, targets, recipe, orders=orders, rates=rates, engine=engine, chunk=chunk)
    return model, seen


def everything(model):
    """All that is kept per student, dropout calls included."""
    found = dict(model.parameters_by_name(buffers=True))
    return found | {name: b for name, b in model.named_buffers() if "calls" in name}


FULL = os.environ.get("UQKD_FAULTS") == "full"  # every recipe compiled too; `make test` compiles one


@pytest.mark.parametrize(
    ("engine", "name"),
    [*(("eager", name) for name in RECIPES), *(("compiled", n) for n in RECIPES if FULL or n == "adam")],
)
@pytest.mark.parametrize(
    "illness", [{"poison": np.nan}, {"poison": np.inf}, {"poison": -np.inf}, {"rate": 1e12}, {"rate": 1e45}]
)
def test_a_diverged_student_changes_no_bit_of_the_others(engine, name, illness):
    healthy, before = run(RECIPES[name], engine)
    model, seen = run(RECIPES[name], engine, **illness)
    assert seen.engine == before.engine == engine
    others = [s for s in range(STUDENTS) if s != SICK]
    for key, values in everything(model).items():
        assert torch.equal(values[others], everything(healthy)[key][others]), key
        assert torch.isfinite(values).all(), key
    np.testing.assert_array_equal(seen.loss[others], before.loss[others])
    assert (seen.failed_at[others] == -1).all()
    assert (seen.stopped_at[others] == 30).all()
    assert before.healthy.all()
    if "poison" in illness:
        assert seen.failed_at[SICK] == seen.stopped_at[SICK] == 5
        assert not np.isfinite(seen.loss[SICK])


@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_the_failed_student_is_what_it_was_after_its_last_good_step(engine):
    recipe = RECIPES["adam"]
    model, seen = run(recipe, engine, poison=np.nan)
    five, _ = run(Recipe(steps=5, batch=6, clip_norm=0.5), engine, poison=np.nan)
    assert seen.failed_at.tolist() == [-1, -1, 5, -1, -1]
    for key, values in everything(model).items():
        assert torch.equal(values[SICK], everything(five)[key][SICK]), key


def test_parameters_stay_finite_where_the_update_itself_overflows():
    """Finite loss and gradient, but a step beyond the largest number: not made."""
    recipe = Recipe(steps=30, batch=6, optimiser="sgd", lr=0.02)
    model, seen = run(recipe, "eager", rate=1e45)
    assert seen.failed_at[SICK] == 0
    start = stack(network, STUDENTS, key=("test", "health"))
    assert torch.equal(model.parameters_by_name()["4.weight"][SICK], start.parameters_by_name()["4.weight"][SICK])


def test_an_infinite_gradient_of_a_finite_loss_is_a_failure():
    def root(outputs, targets):
        off = (outputs - targets).square().mean((1, 2))
        return torch.stack([(off[0] - off[0].detach()).sqrt() + 1.0, *off[1:]])  # the slope of √ at 0 is infinite

    model = stack(lambda: nn.Linear(3, 1), 2, key=("test", "root"))
    before = model.parameters_by_name()["weight"].clone()
    seen = train(model, torch.ones(4, 3), torch.zeros(1, 4, 1), Recipe(steps=3), loss=root, chunk=2)
    assert seen.failed_at.tolist() == [0, -1]
    assert np.isfinite(seen.loss).all()
    after = model.parameters_by_name()["weight"]
    assert torch.equal(after[0], before[0])
    assert not torch.equal(after[1], before[1])


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_failures_are_counted_at_the_right_student_in_any_chunks(chunk):
    model, seen = run(RECIPES["adam"], "eager", poison=np.nan, chunk=chunk)
    assert seen.failed_at.tolist() == [-1, -1, 5, -1, -1]
    whole, _ = run(RECIPES["adam"], "eager", poison=np.nan)
    for key, values in everything(model).items():
        torch.testing.assert_close(values, everything(whole)[key], rtol=1e-5, atol=1e-5)


def test_training_ends_when_no_student_is_left(monkeypatch):
    honest, made = stepping.Stepper.step, []

    def step(*arguments):
        made.append(1)
        return honest(*arguments)

    monkeypatch.setattr(stepping.Stepper, "step", step)
    model = stack(lambda: nn.Linear(3, 1), 2, key=("test", "none"))
    seen = train(model, torch.full((4, 3), torch.nan), torch.zeros(1, 4, 1), Recipe(steps=1000), engine="eager")
    assert seen.failed_at.tolist() == seen.stopped_at.tolist() == [0, 0]
    assert len(made) < 100


def test_a_student_that_fails_while_others_stop_early_keeps_its_last_parameters():
    draw = seeds.generator("test", "both", shared=True)
    X, targets = draw.standard_normal((12, 3)), draw.standard_normal((3, 12, 1))
    rates = np.full((3, 40), 0.01)
    rates[1, 7:] = np.inf

    def trained(steps):
        model = stack(lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), 3, key=("test", "both"))
        recipe = Recipe(steps=steps, patience=5, validate_every=2)
        seen = train(model, X, targets, recipe, rates=rates[:, :steps], validation=(-X, targets), engine="eager")
        return model.parameters_by_name()["0.weight"], seen

    ended, seen = trained(40)
    assert seen.failed_at.tolist() == [-1, 7, -1]
    assert seen.stopped_at[1] == 7
    assert (seen.stopped_at[[0, 2]] < 40).all()
    model = stack(lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), 3, key=("test", "both"))
    train(model, X, targets, Recipe(steps=7), rates=rates[:, :7], engine="eager")
    assert torch.equal(ended[1], model.parameters_by_name()["0.weight"][1])
