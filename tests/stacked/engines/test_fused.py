"""The compiled kernel against plain PyTorch: every loss, optimiser, activation and number type, 200 steps."""

import dataclasses
import itertools
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from uqkd import seeds
from uqkd.errors import UqkdError
from uqkd.stacked.engines import building, fused
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
FULL = os.environ.get("UQKD_FAULTS") == "full"  # `make test` takes three shapes, each a kernel to compile
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
@pytest.mark.parametrize(
    "widths", [(13, 16, 1), (3, 1, 2), *([(8, 64, 64, 1), (64, 40, 10)] if FULL else []), (20, 33, 17, 6, 4)]
)
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


@pytest.mark.parametrize("vector", [16, 32, 64])
@pytest.mark.parametrize("dtype", BOUND)
def test_vectors_of_every_length_find_the_same(dtype, vector):
    """Those of other machines: slower here where the compiler has to split them."""
    shape = fused.Shape((20, 33, 17, 4), "tanh", "cross_entropy", "adam", dtype, vector)
    X, y = problem(shape, "vectors", rows=211)
    start, recipe = initial(shape.widths, S, dtype, "vectors"), Recipe(50, lr=0.002)
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


def test_each_student_is_validated_on_its_own_rows():
    """With validation rows of their own, students stop where each would stop alone, and not all at one place."""
    shape = fused.Shape((6, 20, 1), "tanh", "mse", "adam", "float64")
    X, y = problem(shape, "stop")
    X_val, y_val = (np.stack([problem(shape, "own", s)[part] for s in range(S)]) for part in (0, 1))
    y_val = y_val[:, 0]
    start = initial(shape.widths, S, shape.dtype, "stop")
    recipe = Recipe(2_000, lr=0.02, patience=3, validate_every=5)
    together = fused.fit(shape, start, X, y, recipe, validation=(X_val, y_val))
    for s in range(S):
        own = X_val[s], y_val[s : s + 1]
        alone_ = fused.fit(shape, [p[s : s + 1] for p in start], X, y[s : s + 1], recipe, validation=own)
        assert together.stopped_at[s] == alone_.stopped_at[0] < 2_000
        assert all(np.array_equal(a[s], b[0]) for a, b in zip(together.parameters, alone_.parameters, strict=True))
    shared = fused.fit(shape, start, X, y, recipe, validation=(X_val[0], y_val))
    assert gap(together.parameters, shared.parameters) > 1e-3  # the rows matter


@pytest.mark.parametrize("activation", fused.ACTIVATIONS)
@pytest.mark.parametrize("loss", fused.LOSSES)
@pytest.mark.parametrize("layer", [0, 2])
def test_a_nan_in_the_network_is_seen_behind_every_activation(loss, activation, layer):
    """A rectifier that turned NaN into 0 would let a broken student pass as a healthy one with a dead unit."""
    shape = fused.Shape((5, 7, 2), activation, loss, "sgd", "float32")
    start = initial(shape.widths, S, shape.dtype, "nan")
    start[layer][1, 0, 0] = np.nan
    ours = fused.fit(shape, start, *problem(shape, "nan", loss), Recipe(3, optimiser="sgd"))
    assert ours.failed_at.tolist() == [-1, 0, -1]


def test_the_loss_is_that_of_the_last_step():
    shape = fused.Shape((4, 5, 3), "relu", "cross_entropy", "sgd", "float64")
    X, y = problem(shape, "loss")
    start = initial(shape.widths, S, shape.dtype, "loss")
    ours = fused.fit(shape, start, X, y, Recipe(1, optimiser="sgd"))
    h = np.maximum(np.einsum("ni,soi->sno", X, start[0]) + start[1][:, None], 0)
    logits = np.einsum("sno,sco->snc", h, start[2]) + start[3][:, None]
    expected = -(y * (logits - np.log(np.exp(logits).sum(-1, keepdims=True)))).sum(-1).mean(-1)
    np.testing.assert_allclose(ours.loss, expected, rtol=1e-13)


@pytest.mark.parametrize("loss", fused.LOSSES)
@pytest.mark.parametrize("rows", [N, 211])
def test_the_loss_counts_each_row_once_and_none_that_pads(loss, rows):
    """Of neither training nor validation rows: with cross-entropy padded rows have no mass, so only the others tell."""
    shape = fused.Shape((4, 5, 2), "tanh", loss, "sgd", "float64")
    X, y = problem(shape, "each row", loss, rows=rows)
    start = initial(shape.widths, S, shape.dtype, "each row")
    ours = fused.fit(shape, start, X, y, Recipe(1, optimiser="sgd"))
    for s in range(S):
        own = [torch.as_tensor(p[s]) for p in start]
        out = torch.tanh(torch.as_tensor(X) @ own[0].T + own[1]) @ own[2].T + own[3]
        assert ours.loss[s] == pytest.approx(float(loss_of(shape, out, torch.as_tensor(y[s]))), rel=1e-12)


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


def taken(*layers, loss="mse", device="cpu"):
    model = SimpleNamespace(template=torch.nn.Sequential(*layers), device=torch.device(device), dtype="float64")
    return fused.supports(model, Recipe(1), loss)


def linear(n, o, **options):
    with torch.random.fork_rng(devices=[]):
        return torch.nn.Linear(n, o, **options)


def test_the_kernel_takes_over_what_it_can_train_and_nothing_else():
    """Whatever it took by mistake would be trained as another network than was asked for."""
    relu, tanh, twice, hooked = torch.nn.ReLU, torch.nn.Tanh, linear(4, 4), linear(3, 4)
    hooked.register_forward_hook(lambda module, inputs, output: 2 * output)
    found = taken(linear(3, 4), tanh(), linear(4, 4), tanh(), linear(4, 1))
    assert (found.widths, found.activation, found.dtype) == ((3, 4, 4, 1), "tanh", "float64")
    assert taken(linear(3, 2), loss="gaussian").widths == (3, 2)
    refused = {
        "two activations": taken(linear(3, 4), relu(), linear(4, 4), tanh(), linear(4, 1)),
        "an activation that it does not know": taken(linear(3, 4), torch.nn.GELU(), linear(4, 1)),
        "an activation at the end": taken(linear(3, 4), relu()),
        "no activation between": taken(linear(3, 4), linear(4, 4), linear(4, 1)),
        "no bias": taken(linear(3, 4), relu(), linear(4, 1, bias=False)),
        "one layer twice": taken(linear(3, 4), relu(), twice, relu(), twice),
        "a hook": taken(hooked, relu(), linear(4, 1)),
        "too wide": taken(linear(3, fused.WIDEST + 1), relu(), linear(fused.WIDEST + 1, 1)),
        "a mean without its variance": taken(linear(3, 3), loss="gaussian"),
        "a loss of one's own": taken(linear(3, 1), loss=loss_of),
        "another device": taken(linear(3, 1), device="meta"),
    }
    assert [name for name, shape in refused.items() if shape is not None] == []


def test_validation_rows_without_patience_change_nothing():
    shape = fused.Shape((4, 5, 1), "relu", "mse", "adam", "float64")
    X, y = problem(shape, "no patience")
    start = initial(shape.widths, S, shape.dtype, "no patience")
    plain, with_rows = (fused.fit(shape, start, X, y, Recipe(40), validation=v) for v in (None, (X, -y)))
    assert gap(plain.parameters, with_rows.parameters) == 0


def test_a_thread_without_memory_is_an_error():
    library = SimpleNamespace(train_students=lambda job, first, last: int(first > 0))
    with pytest.raises(UqkdError, match=r"no memory .*\(2 threads\)"):
        fused._spread(library, fused._Job(), 4, 2)


@pytest.mark.parametrize(("optimiser", "steps"), [("sgd", 1), ("sgd", 4), ("adam", 3), ("adamw", 3)])
def test_an_update_that_overflows_is_not_made(optimiser, steps):
    """Loss and gradient are finite, the step is not: the parameters stay the last finite ones, at the last step too."""
    shape = fused.Shape((2, 1), "relu", "mse", optimiser, "float32")
    X, y = np.ones((4, 2), "f"), np.full((2, 4, 1), 5.0, "f")
    start = initial(shape.widths, 2, "float32", "overflow")
    rates = np.full((2, steps), 1e-3)
    rates[1, -1] = 3e39
    ill = fused.fit(shape, start, X, y, Recipe(steps, optimiser=optimiser), rates=rates)
    assert ill.failed_at.tolist() == [-1, steps - 1]
    assert ill.stopped_at.tolist() == [steps, steps - 1]
    before = start
    if steps > 1:
        before = fused.fit(shape, start, X, y, Recipe(steps - 1, optimiser=optimiser), rates=rates[:, :-1]).parameters
    for after, kept in zip(ill.parameters, before, strict=True):
        assert np.array_equal(after[1], kept[1])


def test_parameters_begin_at_a_whole_vector():
    """The kernel loads and stores them as aligned vectors: at another address it is a crash, on some machines only."""
    held = [fused._aligned((3, 5 * n), dtype) for n in range(1, 40) for dtype in ("float32", "float64")]
    assert {values.ctypes.data % 64 for values in held} == {0}
    assert all(values.flags.c_contiguous and values.flags.writeable and not values.any() for values in held)
