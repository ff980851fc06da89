"""The compiled kernel against plain PyTorch: every loss, optimiser, activation and number type, 200 steps."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from uqkd import seeds
from uqkd.errors import UqkdError
from uqkd.stacked import building, fused
from uqkd.stacked.recipe import Recipe

STEPS = 200
S, N = 3, 45  # rows that are no multiple of a vector


def draw(*key):
    return seeds.generator("test", "fused", *key)


def initial(widths, students, dtype, *key):
    parameters = []
    for layer, (n, o) in enumerate(itertools.pairwise(widths)):
        rng = draw(*key, layer)
        parameters += [rng.uniform(-1, 1, (students, o, n)) / n**0.5, rng.uniform(-1, 1, (students, o)) / n**0.5]
    return [p.astype(dtype) for p in parameters]


def problem(shape, *key, rows=N, students=S):
    rng = draw("data", *key)
    X = rng.standard_normal((rows, shape.widths[0]))
    if shape.loss == "cross_entropy":
        y = rng.dirichlet(np.ones(shape.widths[-1]), (students, rows))
    else:
        y = rng.standard_normal((students, rows, shape.targets))
        if shape.loss == "gaussian":
            y[..., 1] = y[..., 1] ** 2
    return X.astype(shape.dtype), y.astype(shape.dtype)


def loss_of(shape, out, y):
    if shape.loss == "mse":
        return ((out - y) ** 2).mean()
    if shape.loss == "gaussian":
        square = (out[:, 0] - y[:, 0]) ** 2 + y[:, 1]
        return 0.5 * (out[:, 1] + square * torch.exp(-out[:, 1])).mean()
    return torch.nn.functional.cross_entropy(out, y)


def optimiser_of(recipe, parameters):
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(
            parameters, recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, weight_decay=recipe.weight_decay
        )
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimiser]
    return kind(parameters, recipe.lr, betas=recipe.betas, eps=recipe.eps, weight_decay=recipe.weight_decay)


def alone(shape, parameters, X, y, recipe, orders=None):
    """One student at a time by torch.nn.functional and torch.optim; its parameters after the last step."""
    act = {"relu": torch.relu, "tanh": torch.tanh}[shape.activation]
    finished = []
    for s in range(len(parameters[0])):
        own = [torch.tensor(p[s], requires_grad=True) for p in parameters]
        optimiser = optimiser_of(recipe, own)
        for t, rate in enumerate(recipe.rates()):
            rows = slice(None) if orders is None else orders[s % len(orders), t % orders.shape[1]]
            h = torch.as_tensor(X[rows])
            for layer in range(0, len(own), 2):
                h = torch.nn.functional.linear(h, own[layer], own[layer + 1])
                h = act(h) if layer + 2 < len(own) else h
            optimiser.zero_grad()
            loss = loss_of(shape, h, torch.as_tensor(y[s][rows]))
            loss.backward()
            if recipe.clip_norm:
                torch.nn.utils.clip_grad_norm_(own, recipe.clip_norm)
            optimiser.param_groups[0]["lr"] = rate
            optimiser.step()
        finished.append([p.detach().numpy() for p in own])
    return [np.stack(layer) for layer in zip(*finished, strict=True)]


def gap(ours, theirs):
    return max(float((np.abs(a - b) / np.maximum(1, np.abs(b))).max()) for a, b in zip(ours, theirs, strict=True))


RECIPES = {
    "sgd": Recipe(STEPS, optimiser="sgd", lr=0.05),
    "momentum": Recipe(STEPS, optimiser="sgd", lr=0.02, momentum=0.9),
    "nesterov": Recipe(STEPS, optimiser="sgd", lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": Recipe(STEPS, lr=0.002),
    "adam, decay": Recipe(STEPS, lr=0.002, weight_decay=0.01, betas=(0.8, 0.99), eps=1e-6),
    "adamw": Recipe(STEPS, lr=0.002, optimiser="adamw", weight_decay=0.1, schedule="cosine", warmup=10),
    "clipped": Recipe(STEPS, optimiser="sgd", lr=0.2, clip_norm=0.1, schedule="linear"),
}
# Relative to max(1, |parameter|): the bounds of the agreement. They need problems that do not amplify rounding, which the
# test of the reference against itself, with its rows in another order, makes sure of.
BOUND = {"float64": 1e-12, "float32": 1e-5}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("loss", fused.LOSSES)
def test_equals_pytorch_in_float64(recipe, loss):
    shape = fused.Shape((5, 7, 3 if loss == "cross_entropy" else 2), "tanh", loss, recipe.optimiser, "float64")
    X, y = problem(shape, loss)
    start = initial(shape.widths, S, shape.dtype, loss)
    ours, reference = fused.fit(shape, start, X, y, recipe), alone(shape, start, X, y, recipe)
    assert gap(alone(shape, start, X[::-1].copy(), y[:, ::-1].copy(), recipe), reference) < BOUND["float64"] / 4
    assert gap(ours.parameters, reference) < BOUND["float64"]
    assert (ours.failed_at == -1).all()
    assert (ours.stopped_at == STEPS).all()


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("activation", fused.ACTIVATIONS)
@pytest.mark.parametrize("widths", [(13, 16, 1), (8, 64, 64, 1), (3, 1, 2), (20, 33, 17, 6, 4), (64, 40, 10)])
def test_every_width_and_number_type(widths, activation, dtype):
    # A rectified unit that rounding carries over its kink changes its gradient at once; in float32 that happens within
    # 200 steps of these sizes (about one of 10⁶ inputs lies that near to zero), so the comparison is made earlier.
    steps = 20 if (activation, dtype) == ("relu", "float32") else STEPS
    recipe = Recipe(steps, optimiser="sgd", lr=0.01, momentum=0.9)
    shape = fused.Shape(widths, activation, "mse", "sgd", dtype)
    X, y = problem(shape, widths, rows=211)  # several tiles of rows
    start = initial(widths, S, dtype, widths)
    ours = fused.fit(shape, start, X, y, recipe)
    assert gap(ours.parameters, alone(shape, start, X, y, recipe)) < BOUND[dtype]


@pytest.mark.parametrize("batch", [1, 16, 31, 64])
def test_batches_follow_their_own_orders(batch):
    shape = fused.Shape((6, 20, 1), "relu", "mse", "adam", "float64")
    X, y = problem(shape, batch)
    start = initial(shape.widths, S, shape.dtype, batch)
    orders = draw("orders", batch).integers(0, N, (S, 50, batch))
    recipe = Recipe(STEPS, batch=batch)
    ours = fused.fit(shape, start, X, y, recipe, orders=orders)
    assert gap(ours.parameters, alone(shape, start, X, y, recipe, orders)) < BOUND["float64"]
    swapped = fused.fit(shape, start, X, y, recipe, orders=orders[::-1])
    assert gap(ours.parameters, swapped.parameters) > 1e-3


def test_own_inputs_and_own_rates():
    shape = fused.Shape((6, 20, 1), "relu", "mse", "sgd", "float64")
    X, y = problem(shape, "own")
    start = initial(shape.widths, S, shape.dtype, "own")
    recipe = Recipe(STEPS, optimiser="sgd", lr=0.02)
    own = np.stack([X, X[::-1], 2 * X])
    together = fused.fit(shape, start, own, y, recipe, rates=np.stack([recipe.rates() * f for f in (1, 2, 3)]))
    for s, factor in enumerate((1, 2, 3)):
        single = [p[s : s + 1] for p in start]
        reference = alone(shape, single, own[s], y[s : s + 1], dataclasses.replace(recipe, lr=0.02 * factor))
        assert gap([p[s : s + 1] for p in together.parameters], reference) < BOUND["float64"]


@pytest.mark.parametrize("dtype", BOUND)
def test_company_and_threads_change_no_bit(dtype):
    shape = fused.Shape((13, 16, 1), "relu", "mse", "adam", dtype)
    X, y = problem(shape, "bits", students=9)
    start, recipe = initial(shape.widths, 9, dtype, "bits"), Recipe(STEPS)
    together = fused.fit(shape, start, X, y, recipe, threads=2)
    for s in range(9):
        single = fused.fit(shape, [p[s : s + 1] for p in start], X, y[s : s + 1], recipe)
        for all_of_them, one in zip(together.parameters, single.parameters, strict=True):
            assert np.array_equal(all_of_them[s], one[0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_a_diverged_student_changes_no_bit_of_the_others(bad):
    """Fault 17: a target of one student is NaN, infinite or so large that its square overflows."""
    shape = fused.Shape((13, 16, 1), "relu", "mse", "adam", "float32")
    X, y = problem(shape, "diverged", students=5)
    start, recipe = initial(shape.widths, 5, "float32", "diverged"), Recipe(STEPS)
    healthy = fused.fit(shape, start, X, y, recipe)
    y[2, 7] = bad
    ill = fused.fit(shape, start, X, y, recipe)
    assert ill.failed_at.tolist() == [-1, -1, 0, -1, -1]
    assert ill.stopped_at.tolist() == [200, 200, 0, 200, 200]
    for sound, after, before in zip(healthy.parameters, ill.parameters, start, strict=True):
        assert np.array_equal(np.delete(sound, 2, axis=0), np.delete(after, 2, axis=0))
        assert np.array_equal(after[2], before[2])  # the last finite parameters


def test_divergence_is_dated():
    shape = fused.Shape((6, 20, 1), "relu", "mse", "sgd", "float32")
    X, y = problem(shape, "dated")
    start, recipe = initial(shape.widths, S, "float32", "dated"), Recipe(STEPS, optimiser="sgd", lr=0.01)
    rates = np.stack([recipe.rates(), recipe.rates() * 1e4, recipe.rates()])
    ours = fused.fit(shape, start, X, y, recipe, rates=rates)
    assert ours.failed_at[0] == ours.failed_at[2] == -1
    assert 0 < ours.failed_at[1] == ours.stopped_at[1] < 50
    assert all(np.isfinite(p).all() for p in ours.parameters)


def test_early_stop_takes_back_the_best_parameters():
    shape = fused.Shape((6, 20, 1), "tanh", "mse", "adam", "float64")
    X, y = problem(shape, "stop")
    X_val, y_val = problem(shape, "stop, validation")
    start = initial(shape.widths, S, shape.dtype, "stop")
    recipe = Recipe(2_000, lr=0.02, patience=3, validate_every=5)
    ours = fused.fit(shape, start, X, y, recipe, validation=(X_val, y_val))
    assert (ours.stopped_at < 2_000).all()
    assert (ours.stopped_at % 5 == 0).all()
    for s, stopped in enumerate(ours.stopped_at):
        # the same student, cut at each evaluation: the best of them is three evaluations before the stop
        single, lowest = [p[s : s + 1] for p in start], []
        for steps in range(5, stopped + 1, 5):
            cut = dataclasses.replace(recipe, steps=steps, patience=None)
            parameters = fused.fit(shape, single, X, y[s : s + 1], cut).parameters
            lowest.append(np.mean((np.tanh(X_val @ parameters[0][0].T + parameters[1][0]) @ parameters[2][0].T
                                   + parameters[3][0] - y_val[s]) ** 2))  # fmt: skip
        assert int(np.argmin(lowest)) == len(lowest) - 4
        best = dataclasses.replace(recipe, steps=int(stopped) - 15, patience=None)
        for kept, cut in zip(ours.parameters, fused.fit(shape, single, X, y[s : s + 1], best).parameters, strict=True):
            assert np.array_equal(kept[s], cut[0])


def test_the_loss_is_that_of_the_last_step():
    shape = fused.Shape((4, 5, 3), "relu", "cross_entropy", "sgd", "float64")
    X, y = problem(shape, "loss")
    start = initial(shape.widths, S, shape.dtype, "loss")
    ours = fused.fit(shape, start, X, y, Recipe(1, optimiser="sgd"))
    h = np.maximum(np.einsum("ni,soi->sno", X, start[0]) + start[1][:, None], 0)
    logits = np.einsum("sno,sco->snc", h, start[2]) + start[3][:, None]
    expected = -(y * (logits - np.log(np.exp(logits).sum(-1, keepdims=True)))).sum(-1).mean(-1)
    np.testing.assert_allclose(ours.loss, expected, rtol=1e-13)


def test_without_a_compiler(monkeypatch):
    monkeypatch.setattr(building, "compiler", lambda: None)
    fused.kernel.cache_clear()
    shape = fused.Shape((4, 5, 3), "relu", "mse", "sgd", "float64")
    assert fused.kernel(shape) is None
    with pytest.raises(UqkdError, match="use engine='eager' or 'compiled'"):
        fused.fit(shape, initial(shape.widths, S, "float64", 0), *problem(shape, 0), Recipe(1))
    fused.kernel.cache_clear()


def test_the_kernel_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("UQKD_CACHE", str(tmp_path))
    fused.kernel.cache_clear()
    shape = fused.Shape((2, 3, 1), "relu", "mse", "sgd", "float64")
    assert fused.kernel(shape) is not None
    files = list((tmp_path / "uqkd").iterdir())
    assert len(files) == 1
    made = files[0].stat().st_mtime_ns
    fused.kernel.cache_clear()
    assert fused.kernel(shape) is not None
    assert files[0].stat().st_mtime_ns == made
    fused.kernel.cache_clear()


@pytest.mark.parametrize("damage", [b"", b"no library", None])
def test_a_damaged_kernel_is_made_anew(monkeypatch, tmp_path, damage):
    monkeypatch.setenv("UQKD_CACHE", str(tmp_path))
    source = tmp_path / "answer.cpp"
    source.write_text('extern "C" int answer() { return ANSWER; }')
    name = next(iter((tmp_path / "uqkd").glob("answer-*")), None)
    assert name is None
    first = building.build(source, ["ANSWER=41"])
    assert first.answer() == 41
    (file,) = (tmp_path / "uqkd").glob("answer-*.so")
    sound = file.read_bytes()
    broken = tmp_path / "uqkd" / "broken.so"
    broken.write_bytes(sound[: len(sound) // 3] if damage is None else damage)
    broken.replace(file)  # another inode: the library in memory stays as it was
    assert building.build(source, ["ANSWER=41"]).answer() == 41
    assert building.build(source, ["ANSWER=42"]).answer() == 42


def test_a_cache_that_cannot_be_written_to(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UQKD_CACHE", str(tmp_path / "file"))  # a folder cannot be made below a file
    source = tmp_path / "answer.cpp"
    source.write_text('extern "C" int answer() { return 7; }')
    assert building.build(source).answer() == 7


def test_a_file_that_does_not_compile(monkeypatch, tmp_path):
    monkeypatch.setenv("UQKD_CACHE", str(tmp_path))
    (tmp_path / "wrong.cpp").write_text("this is no C++")
    assert building.build(tmp_path / "wrong.cpp") is None
    assert list((tmp_path / "uqkd").iterdir()) == []
