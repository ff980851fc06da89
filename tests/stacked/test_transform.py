"""Batches that are changed before they are trained on."""

import numpy as np
import pytest
import torch
from torch import nn

from uqkd.errors import OptionError
from uqkd.stacked import Recipe, Stacked, batch_orders, stack, train
from uqkd.stacked.engines.compiled import available

RECIPE = Recipe(steps=12, batch=4, optimiser="sgd", lr=0.1)


def factory():
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))


def data(students=5):
    rng = np.random.default_rng(0)
    X, targets = rng.normal(size=(16, 3)), rng.normal(size=(students, 16, 2))
    return X, targets, batch_orders(16, 4, 12, np.arange(students), key=("transform", students), shared=True)


def moved(step, students, X, targets):
    """Another batch for every step and student."""
    by = torch.as_tensor(students, dtype=X.dtype)[:, None, None] + 0.1 * step
    return X + by, targets * (1 + by)


def students(count=5, **options):
    model = stack(factory, count, key=("transform", "students"), **options)
    return model


def test_each_student_is_trained_on_what_the_transform_makes_of_its_batch():
    X, targets, orders = data()
    model = students(dtype="float64")
    alone = [model.student(s) for s in range(5)]
    train(model, X, targets, RECIPE, orders=orders, transform=moved, engine="eager")
    for s, module in enumerate(alone):
        optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
        for t in range(12):
            rows = torch.as_tensor(X[orders[s, t]])[None], torch.as_tensor(targets[s, orders[s, t]])[None]
            x, y = moved(t, np.array([s]), *rows)
            optimiser.zero_grad()
            (module(x[0]) - y[0]).square().mean().backward()
            optimiser.step()
        for name, value in module.named_parameters():
            # 12 steps of double precision on numbers of order one: rounding far below 1e-12
            assert torch.allclose(model.parameters_by_name()[name][s], value, atol=1e-12, rtol=0), name


def test_results_do_not_depend_on_chunks():
    X, targets, orders = data()
    found = []
    for chunk in (5, 2):
        model = students(dtype="float64")
        train(model, X, targets, RECIPE, orders=orders, transform=moved, engine="eager", chunk=chunk)
        found.append(model.parameters_by_name())
    for name in found[0]:
        assert torch.allclose(found[0][name], found[1][name], atol=1e-12, rtol=0)  # rounding of batched products


def test_a_transform_may_make_targets_of_another_form():
    """Rows carry one target each; the loss gets two, as where a teacher answers on the way."""
    X, _, orders = data()
    model = students()

    def widened(step, numbers, rows, targets):
        return rows, torch.cat([targets, -targets], -1)

    labels = np.ones((1, 16, 1))
    done = train(
        model, X, labels, Recipe(steps=400, batch=4, lr=0.05), orders=orders, transform=widened, engine="eager"
    )
    assert done.healthy.all()
    assert np.allclose(model(torch.as_tensor(X)).detach().mean((0, 1)), [1.0, -1.0], atol=0.05)  # fitted, roughly


@pytest.mark.skipif(not available(torch.device("cpu")), reason="no C++ compiler")
def test_compiled_steps_are_fed_the_same_batches():
    X, targets, orders = data()
    found = []
    for engine in ("eager", "compiled"):
        model = students()
        assert train(model, X, targets, RECIPE, orders=orders, transform=moved, engine=engine).engine == engine
        found.append(model.parameters_by_name())
    for name in found[0]:
        assert torch.allclose(found[0][name], found[1][name], atol=2e-5)  # 12 float32 steps, as in test_compiled


def test_the_kernel_that_takes_no_transform_is_not_used():
    X, targets, orders = data()
    model = students()
    assert train(model, X, targets, RECIPE, orders=orders, transform=moved).engine == "eager"
    with pytest.raises(OptionError, match="fused"):
        train(model, X, targets, RECIPE, orders=orders, transform=moved, engine="fused")


def test_without_orders_the_whole_set_passes_through_the_transform_at_every_step():
    X, targets, _ = data()
    seen = []

    def noting(step, numbers, rows, labels):
        seen.append((step, rows.shape, labels.shape))
        return rows, labels

    model = Stacked.of(factory(), 5)
    train(model, X, targets, Recipe(steps=3), transform=noting, engine="eager")
    assert (0, (5, 16, 3), (5, 16, 2)) in seen
    assert {step for step, _, _ in seen} == {0, 1, 2}


def test_validation_rows_do_not_pass_through_the_transform():
    X, targets, orders = data()
    seen = []

    def noting(step, numbers, rows, labels):
        seen.append(rows.shape[1])
        return rows, labels

    train(
        students(), X, targets, Recipe(steps=12, batch=4, patience=3), orders=orders, transform=noting, engine="eager",
        validation=(X[:7], targets[:, :7]),
    )  # fmt: skip
    assert set(seen) == {4}
