"""Trained together, every student becomes what plain torch makes of it alone; chunks, orders, rates, early stops."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from uqkd import seeds
from uqkd.errors import DivergedError, OptionError, ShapeError, UqkdError, UqkdWarning
from uqkd.stacked import Recipe, Stacked, Training, stack, train
from uqkd.stacked.engines import chunking, stepping
from uqkd.stacked.losses import cross_entropy, gaussian, mse

# Small networks and rates, so that rounding is not amplified; what remains are some units in the last place.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
RECIPES = {
    "sgd": Recipe(steps=200, batch=6, optimiser="sgd", lr=0.05),
    "momentum": Recipe(steps=200, batch=6, optimiser="sgd", lr=0.02, momentum=0.9),
    "nesterov": Recipe(steps=200, batch=6, optimiser="sgd", lr=0.02, momentum=0.9, nesterov=True),
    "sgd, weight decay": Recipe(steps=200, batch=6, optimiser="sgd", lr=0.05, weight_decay=0.1),
    "adam": Recipe(steps=200, batch=6),
    "adam, other constants": Recipe(steps=200, batch=6, betas=(0.8, 0.95), eps=1e-3),
    "adam, weight decay": Recipe(steps=200, batch=6, weight_decay=0.1),
    "adamw": Recipe(steps=200, batch=6, optimiser="adamw", weight_decay=0.1),
    "clipped": Recipe(steps=200, batch=6, clip_norm=0.3),
    "sgd, clipped": Recipe(steps=200, batch=6, optimiser="sgd", lr=0.1, momentum=0.5, clip_norm=0.3),
    "linear schedule": Recipe(steps=200, batch=6, schedule="linear", warmup=10),
    "cosine schedule": Recipe(steps=200, batch=6, schedule="cosine", warmup=10),
}


def small():
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 2))


def normed():
    return nn.Sequential(nn.Linear(5, 6, bias=False), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2))


def compare(p, recipe, dtype, plainly, difference, **options):
    """Train together and alone; assert that they agree."""
    alone = [p.model.student(s) for s in range(p.model.students)]
    seen = train(p.model, p.X, p.targets, recipe, orders=p.orders, shared=False, **options)
    last = [plainly(a, p.X[s], p.targets[s], recipe, p.orders[s]) for s, a in enumerate(alone)]
    largest, mean = difference(p.model, alone)
    assert largest <= TOLERANCE[dtype], f"largest {largest:.1e}, mean {mean:.1e}"
    np.testing.assert_allclose(seen.loss, last, rtol=0, atol=10 * TOLERANCE[dtype])
    assert (seen.failed_at == -1).all()
    assert (seen.stopped_at == recipe.steps).all()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", ["adam", "momentum"])
def test_every_layer_kind_together_is_plain_torch_alone(kind, problem, plainly, difference, name, dtype):
    compare(problem(kind, dtype=dtype), RECIPES[name], dtype, plainly, difference, engine="eager")


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_recipe_together_is_plain_torch_alone(kinds, problem, plainly, difference, recipe, dtype):
    compare(problem(kinds["linear"], dtype=dtype), recipe, dtype, plainly, difference, engine="eager")


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, None])
def test_chunks_and_one_by_one_are_the_same(kinds, problem, difference, chunk):
    kind = kinds["convolution and batch norm"]
    p = problem(kind, dtype="float64", students=5)
    alone = []
    for s in range(5):
        one = Stacked.of(p.model.student(s), 1, dtype="float64")
        train(one, p.X[s], p.targets[s : s + 1], RECIPES["adam"], orders=p.orders[s : s + 1], engine="eager")
        alone.append(one.student(0))
    train(p.model, p.X, p.targets, RECIPES["adam"], orders=p.orders, shared=False, engine="eager", chunk=chunk)
    assert difference(p.model, alone)[0] <= 1e-12


def test_each_student_has_its_own_rates(kinds, problem, plainly, difference):
    p, recipe = problem(kinds["linear"], dtype="float64"), RECIPES["adamw"]
    rates = seeds.generator("test", "rates").uniform(0.001, 0.03, (3, 200))
    alone = [p.model.student(s) for s in range(3)]
    train(p.model, p.X, p.targets, recipe, orders=p.orders, shared=False, rates=rates, engine="eager")
    for s, student in enumerate(alone):
        plainly(student, p.X[s], p.targets[s], recipe, p.orders[s], rates[s])
    assert difference(p.model, alone)[0] <= 1e-12
    p = problem(kinds["linear"], dtype="float64")
    train(p.model, p.X, p.targets, recipe, orders=p.orders, shared=False, rates=rates[2], engine="eager")
    assert (
        torch.equal(p.model.parameters_by_name()["0.weight"][2], alone[2][0].weight)
        or difference(p.model, alone)[0] > 1e-6
    )  # students 0 and 1 had the rates of student 2


ORDERS = np.array([[[0, 1, 2], [3, 3, 4], [11, 0, 7]], [[5, 6, 7], [8, 9, 0], [1, 1, 1]]])


@pytest.mark.parametrize("own_rows", [False, True])
@pytest.mark.parametrize("own_targets", [False, True])
@pytest.mark.parametrize("orders", [None, ORDERS, ORDERS[:1], ORDERS[:, :1], ORDERS[:1, :1]])
def test_shared_and_own_arrays_in_every_combination(plainly, difference, problem, kinds, own_rows, own_targets, orders):
    p = problem(kinds["linear"], dtype="float64", students=2)
    X = p.X if own_rows else p.X[0]
    targets = p.targets if own_targets else p.targets[:1]
    recipe = Recipe(steps=20, optimiser="sgd", momentum=0.9, lr=0.05)
    alone = [p.model.student(s) for s in range(2)]
    train(p.model, X, targets, recipe, orders=orders, shared=not own_rows, engine="eager", chunk=1)
    for s, student in enumerate(alone):
        own = None if orders is None else orders[s % len(orders)]
        plainly(student, p.X[s] if own_rows else p.X[0], targets[s % len(targets)], recipe, own)
    assert difference(p.model, alone)[0] <= 1e-13


def test_frozen_parameters_stay_and_the_others_train(plainly, difference, problem, kinds):
    def half_frozen():
        network = small()
        network[0].requires_grad_(False)
        return network

    kind = kinds["linear"]
    p = problem(type(kind)(half_frozen, (5,)), dtype="float64")
    before = p.model.parameters_by_name()["0.weight"].clone()
    compare(p, RECIPES["clipped"], "float64", plainly, difference, engine="auto")
    assert torch.equal(p.model.parameters_by_name()["0.weight"], before)
    for parameter in p.model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(OptionError, match="nothing to train"):
        train(p.model, p.X, p.targets, Recipe(steps=1), shared=False)


# ------------------------------------------------------------------------------------------------------------ losses


def test_losses_are_torchs():
    draw = seeds.generator("test", "losses")
    outputs, targets = (torch.as_tensor(draw.standard_normal((3, 7, 2))) for _ in range(2))
    for s in range(3):
        torch.testing.assert_close(mse(outputs, targets)[s], F.mse_loss(outputs[s], targets[s]))
        probabilities = targets.softmax(-1)
        torch.testing.assert_close(
            cross_entropy(outputs, probabilities)[s], F.cross_entropy(outputs[s], probabilities[s])
        )
        responses = torch.as_tensor(draw.standard_normal((7, 4)))
        summary = torch.stack([responses.mean(1), responses.var(1, correction=0)], -1)
        mean, log_var = outputs[s].T
        each = F.gaussian_nll_loss(
            mean[:, None].expand(7, 4), responses, log_var.exp()[:, None].expand(7, 4), reduction="mean"
        )
        torch.testing.assert_close(gaussian(outputs[s : s + 1], summary[None])[0], each)


def test_losses_refuse_what_would_broadcast():
    with pytest.raises(ShapeError, match=r"outputs \(2, 5, 3\) and targets \(2, 5\)"):
        mse(torch.zeros(2, 5, 3), torch.zeros(2, 5))
    with pytest.raises(ShapeError, match="of one shape"):
        mse(torch.zeros(2, 5, 1), torch.zeros(2, 5, 3))
    with pytest.raises(ShapeError, match="of one shape"):
        cross_entropy(torch.zeros(2, 5, 3), torch.zeros(2, 5, 1))
    with pytest.raises(ShapeError, match="two outputs, mean and log-variance"):
        gaussian(torch.zeros(2, 5, 3), torch.zeros(2, 5, 3))


@pytest.mark.parametrize("loss", ["mse", "gaussian", "cross_entropy", lambda o, t: (o - t).abs().mean((1, 2))])
def test_each_loss_goes_down_and_engines_agree(loss):
    draw = seeds.generator("test", "engines", shared=True)
    X, targets = draw.standard_normal((12, 5)), draw.random((4, 12, 2))
    targets /= targets.sum(-1, keepdims=True)
    models = [stack(small, 4, key=("test", "engines"), dtype="float64") for _ in range(3)]
    first, seen, best = (
        train(model, X, targets, Recipe(steps=steps), loss=loss, engine=engine)
        for model, steps, engine in zip(models, (1, 150, 150), ("eager", "eager", "auto"), strict=True)
    )
    assert (seen.loss < first.loss).all()
    assert best.engine == ("eager" if callable(loss) else "fused")
    for name, values in models[1].parameters_by_name().items():
        torch.testing.assert_close(values, models[2].parameters_by_name()[name], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(seen.loss, best.loss, rtol=1e-9)


def test_targets_of_one_output_may_leave_out_its_axis():
    draw = seeds.generator("test", "one output")
    X, targets = draw.standard_normal((6, 3)), draw.standard_normal((4, 6))
    for engine in ("eager", "fused"):
        flat, full = (stack(lambda: nn.Linear(3, 1), 4, key=("test", "one")) for _ in range(2))
        train(flat, X, targets, Recipe(steps=5), engine=engine)
        train(full, X, targets[..., None], Recipe(steps=5), engine=engine)
        assert torch.equal(flat.parameters_by_name()["weight"], full.parameters_by_name()["weight"])


# -------------------------------------------------------------------------------------------------------- early stop


def stop_early(student, X, targets, X_val, targets_val, recipe):
    """The textbook loop; steps made."""
    optimiser = torch.optim.Adam(student.parameters(), lr=recipe.lr)
    best, kept, since = np.inf, None, 0
    for t in range(recipe.steps):
        student.train()
        optimiser.zero_grad()
        F.mse_loss(student(X), targets).backward()
        optimiser.step()
        if (t + 1) % recipe.validate_every == 0:
            with torch.no_grad():
                loss = float(F.mse_loss(student.eval()(X_val), targets_val))
            if loss < best:
                best, kept, since = loss, copy.deepcopy(student.state_dict()), 0
            else:
                since += 1
                if since == recipe.patience:
                    break
    student.load_state_dict(kept)
    return t + 1


@pytest.mark.parametrize("factory", [small, normed])
@pytest.mark.parametrize("engine", ["eager", "auto"])
def test_each_student_stops_where_it_would_alone_and_takes_back_its_best(factory, engine, difference):
    draw = seeds.generator("test", "early", shared=True)
    X, X_val = (torch.as_tensor(draw.standard_normal((n, 5))) for n in (12, 9))
    targets, targets_val = (torch.as_tensor(draw.standard_normal((6, n, 2))) for n in (12, 9))
    recipe = Recipe(steps=150, lr=0.02, patience=3, validate_every=4)
    model = stack(factory, 6, key=("test", "early"), dtype="float64")
    alone = [model.student(s) for s in range(6)]
    seen = train(model, X, targets, recipe, validation=(X_val, targets_val), engine=engine, chunk=4)
    made = [stop_early(a, X, targets[s], X_val, targets_val[s], recipe) for s, a in enumerate(alone)]
    assert seen.stopped_at.tolist() == made
    assert len(set(made)) > 2  # each at a step of its own
    assert difference(model, alone)[0] <= 1e-12


# ----------------------------------------------------------------------------------------------------------- dropout


def test_dropout_is_the_same_in_any_chunks_and_changes_training():
    draw = seeds.generator("test", "dropped", shared=True)
    X, targets = draw.standard_normal((12, 5)), draw.standard_normal((5, 12, 2))

    def trained(p, students=5, chunk=None):
        model = stack(lambda: nn.Sequential(small(), nn.Dropout(p)), students, key=("test", "p"), dtype="float64")
        train(model, X, targets[:students], Recipe(steps=30), chunk=chunk)
        return model.parameters_by_name()["0.0.weight"]

    whole = trained(0.3)
    for part in (trained(0.3, chunk=1), trained(0.3, chunk=2), trained(0.3, students=3)):
        torch.testing.assert_close(part, whole[: len(part)], rtol=1e-12, atol=1e-12)
    assert (trained(0.0) - whole).abs().amax((1, 2)).min() > 1e-3


def test_global_draws_in_a_forward_are_refused():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 2)

        def forward(self, x):
            return F.dropout(self.layer(x), 0.5, self.training)

    for chunk in (None, 1):
        with pytest.raises(OptionError, match="global random state; use nn.Dropout"):
            train(Stacked.of(Noisy(), 2), torch.zeros(4, 5), torch.zeros(1, 4, 2), Recipe(steps=1), chunk=chunk)


# ------------------------------------------------------------------------------------------------------ what is asked


def model_of_two():
    return stack(small, 2, key=("test", "two"), dtype="float64")


X2, T2 = np.zeros((4, 5)), np.zeros((2, 4, 2))


@pytest.mark.parametrize(
    ("X", "targets", "options", "error", "message"),
    [
        (X2, T2[0], {}, ShapeError, r"targets for X must be \(S=2, N=4, ...\), or \(1, N, ...\)"),
        (X2, T2[:, :3], {}, ShapeError, "targets for X"),
        (X2, np.zeros((3, 4, 2)), {}, ShapeError, "targets for X"),
        (X2, np.zeros((2, 4, 3)), {}, ShapeError, r"outputs \(2, 4, 2\) and targets \(2, 4, 3\)|one shape"),
        (X2, T2, {"shared": False}, ShapeError, r"X must be \(S=2, N, ...\) with shared=False; got \(4, 5\)"),
        (X2, T2, {"orders": ORDERS[:1, :, :]}, OptionError, r"integers from 0 to N-1=3; got int64, 0 to 11"),
        (X2, T2, {"orders": ORDERS[0]}, ShapeError, r"orders must be \(S=2 or 1, T, B\)"),
        (X2, T2, {"orders": np.zeros((2, 1, 4))}, OptionError, "orders must be integers"),
        (X2, T2, {"rates": np.zeros((2, 4))}, ShapeError, r"rates must be \(S=2, steps=5\); got \(2, 4\)"),
        (X2, T2, {"loss": "mae"}, OptionError, "did you mean 'mse'"),
        (X2, T2, {"engine": "fast"}, OptionError, "engine got 'fast'"),
        (X2, T2, {"validation": (X2, T2)}, OptionError, "got only one"),
        (X2, T2, {"loss": lambda o, t: (o - t).mean()}, ShapeError, r"one mean per student, \(S=1,\); got \(\)"),
    ],
)
def test_arguments_that_do_not_fit_are_named(X, targets, options, error, message):
    with pytest.raises(error, match=message):
        train(model_of_two(), X, targets, Recipe(steps=5), **options)


def test_batches_and_orders_must_fit():
    with pytest.raises(OptionError, match=r"batches of 3 rows; pass orders \(S or 1, T, 3\)"):
        train(model_of_two(), X2, T2, Recipe(steps=5, batch=3))
    with pytest.raises(ShapeError, match="B=2 rows per step, but the recipe batch=3"):
        train(model_of_two(), X2, T2, Recipe(steps=5, batch=3), orders=np.zeros((1, 2, 2), dtype=int))
    with pytest.raises(OptionError, match="got only one"):
        train(model_of_two(), X2, T2, Recipe(steps=5, patience=2))
    with pytest.raises(OptionError, match="plain multilayer perceptrons"):
        train(Stacked.of(nn.LayerNorm(5), 2), X2, X2[None], Recipe(steps=5), engine="fused")


def test_arrays_that_must_not_be_written_to_are_taken():
    def fixed(array):
        return np.broadcast_to(array, array.shape)

    X, targets = fixed(X2 + 1), fixed(T2[:1])
    model = model_of_two()
    model.load({name: fixed(values.numpy().copy()) for name, values in model.parameters_by_name().items()})
    rates, orders = fixed(np.full((2, 5), 0.1)), fixed(np.zeros((1, 1, 4), dtype=np.int32))
    train(model, X, targets, Recipe(steps=5), rates=rates, orders=orders, engine="eager", chunk=1)


def test_the_model_is_left_in_evaluation_mode():
    model = model_of_two().train()
    train(model, X2, T2, Recipe(steps=1), engine="eager")
    assert not model.training
    assert not any(m.training for m in model.modules())
    with pytest.raises(ShapeError):
        train(model.train(), X2, T2[:, :3], Recipe(steps=1))


def test_failed_students_are_refused_or_excluded():
    seen = Training(np.zeros(3), np.array([-1, 4, -1]), np.array([9, 4, 9]), "eager")
    with pytest.raises(DivergedError, match="1 of 3 students diverged: student 1 at step 4"):
        seen.refuse_failed()
    with pytest.warns(UqkdWarning, match="2 of 3 students are kept; the others diverged"):
        assert seen.refuse_failed(exclude_failed=True).tolist() == [True, False, True]
    many = Training(np.zeros(30), np.arange(30), np.arange(30), "eager")
    with pytest.raises(DivergedError, match="student 19 at step 19 and 10 more"):
        many.refuse_failed()
    assert Training(np.zeros(1), np.array([-1]), np.array([9]), "eager").refuse_failed().all()


# ------------------------------------------------------------------------------------------------------------ memory


@pytest.mark.parametrize("chunk", [None, 4])
@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_out_of_memory_halves_the_chunk_once_and_is_recorded(monkeypatch, chunk, error):
    """Fault 18: a step of more than two students does not fit."""
    whole, halved = (stack(small, 4, key=("test", "memory"), dtype="float64") for _ in range(2))
    expected = train(whole, X2 + 1, T2[:1] + 1, Recipe(steps=5), engine="eager")
    honest, sizes = stepping.Stepper.step, []

    def step(self, carry, *rest):
        sizes.append(len(carry.parameters))
        if len(sizes) > 3 and sizes[-1] > 2:  # some steps in: nothing of them may stay
            raise error
        return honest(self, carry, *rest)

    monkeypatch.setattr(stepping.Stepper, "step", step)
    seen = train(halved, X2 + 1, T2[:1] + 1, Recipe(steps=5), engine="eager", chunk=chunk)
    assert seen.halved
    assert not expected.halved
    assert sizes == [4] * 4 + [2] * 10
    for name, values in whole.parameters_by_name().items():
        torch.testing.assert_close(values, halved.parameters_by_name()[name], rtol=1e-12, atol=1e-12)


def test_out_of_memory_twice_is_a_clean_error(monkeypatch):
    def step(self, *_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(stepping.Stepper, "step", step)
    with pytest.raises(UqkdError, match="a chunk of 2 students does not fit in memory on cpu"):
        train(stack(small, 4, key=("test",), dtype="float64"), X2, T2[:1], Recipe(steps=5), engine="eager")


def test_other_errors_are_not_taken_for_memory(monkeypatch):
    def step(self, *_):
        raise RuntimeError("something else")

    monkeypatch.setattr(stepping.Stepper, "step", step)
    with pytest.raises(RuntimeError, match="something else"):
        train(model_of_two(), X2, T2, Recipe(steps=5), engine="eager")


def test_chunks_fill_the_room_evenly():
    fit = chunking.students_per_chunk
    assert fit(100, 0, students=1000, itemsize=4, room=2800) == 1
    assert fit(100, 0, students=1000, itemsize=4, room=28_000) == 10
    assert fit(100, 0, students=1001, itemsize=4, room=28_000) == 10  # 101 chunks, 9.9 each
    assert fit(100, 0, students=12, itemsize=4, room=28_000) == 6  # not 10 and 2
    assert fit(100, 0, students=12, itemsize=8, room=28_000) == 4
    assert fit(100, 10_000, students=12, itemsize=4, room=1) == 1
    assert fit(10**9, 0, students=1000) == chunking.FEWEST


def test_memory_of_a_chunk_is_measured(kinds, problem):
    p = problem(kinds["linear"], dtype="float64")
    stepper = stepping.Stepper(p.model, Recipe(steps=1), mse)
    carry, frozen, constants = stepper.begin(torch.tensor([0]))
    held = [
        chunking.activation_bytes(stepper, carry, stepping.Data(X, t, frozen, constants), None)
        for X, t in ((p.X[:1], p.targets[:1]), (p.X[:1].repeat(1, 100, 1), p.targets[:1].repeat(1, 100, 1)))
    ]
    assert 12 * (5 + 6 + 2) * 8 <= held[0] <= 12 * 40 * 8
    assert held[1] > 50 * held[0]
