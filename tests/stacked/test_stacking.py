"""Stacking: students as the factory builds them, taken apart again, and refusals of what cannot be stacked."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from uqkd import seeds
from uqkd.errors import OptionError, SeedReuseError, ShapeError
from uqkd.stacked import Recipe, Stacked, check_stacking, stack, train


class Forward(nn.Module):
    """A linear layer followed by any code."""

    def __init__(self, code, asks="weight"):
        super().__init__()
        self.layer, self.code, self.asks = nn.Linear(3, 3), code, asks

    def forward(self, x):
        getattr(self.layer, self.asks)
        return self.code(self.layer(x))


class Scaled(nn.Module):
    """A parameter outside of layers."""

    def __init__(self, inner):
        super().__init__()
        self.scale, self.inner = nn.Parameter(torch.ones(3)), inner

    def forward(self, x):
        return self.scale * self.inner(x)


class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)


class Recurrent(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x):
        return self.cell(x)[0]


class Bias(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(2, 3))

    def forward(self):
        return self.table[None]


class Biased(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = Bias()

    def forward(self, x):
        return x + self.bias()


class Attending(nn.Module):
    def __init__(self, *, batch_first):
        super().__init__()
        self.attend = nn.MultiheadAttention(4, 2, batch_first=batch_first)

    def forward(self, x):
        return self.attend(x, x, x)[0]


class Weighted(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3))

    def forward(self, x, *, own, common):
        return {"found": (self.weight * x + own, x + common)}


class Offset(nn.Module):
    """Calls with keywords: something of each row and something of all; what comes back is nested."""

    def __init__(self):
        super().__init__()
        self.inner = Weighted()

    def forward(self, x):
        found, more = self.inner(x, own=x.square(), common=torch.arange(3.0)[None])["found"]
        return found + more


def hooked():
    layer = nn.Linear(3, 3)
    layer.register_forward_hook(lambda *_: None)
    return nn.Sequential(nn.ReLU(), layer)


def test_each_student_is_what_the_factory_builds_in_its_stream(kind):
    model = stack(kind.factory, 3, key=("test", "factory"))
    for s in range(3):
        with seeds.torch_stream("test", "factory", s):
            own = kind.factory()
        again = model.student(s)
        assert type(again) is type(own)
        assert list(own.state_dict()) == list(again.state_dict())
        for name, value in own.state_dict().items():
            assert torch.equal(value, again.state_dict()[name])
    assert any(not torch.equal(values[0], values[1]) for values in model.parameters_by_name().values())


def test_stacking_leaves_the_global_random_state_alone_and_does_not_depend_on_it():
    before = torch.random.get_rng_state()
    one = stack(lambda: nn.Linear(2, 2), 2, key=("test", "state"))
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(3)
    two = stack(lambda: nn.Linear(2, 2), 2, key=("test", "state"))
    assert torch.equal(one.parameters_by_name()["weight"], two.parameters_by_name()["weight"])


def test_a_key_used_twice_is_seen():
    with seeds.ledger():
        stack(lambda: nn.Linear(2, 2), 2, key=("test", "twice"))
        with pytest.raises(SeedReuseError, match="first at factories.py"):
            stack(lambda: nn.Linear(2, 2), 2, key=("test", "twice"))


def test_a_stream_used_twice_is_seen():
    with seeds.ledger():
        with seeds.torch_stream("test", "twice"):
            pass
        with pytest.raises(SeedReuseError, match="first at test_stacking.py"), seeds.torch_stream("test", "twice"):
            pass


def test_an_error_in_the_factory_restores_the_random_state():
    before = torch.random.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        stack(lambda: 1 / 0, 2, key=("test", "error"))
    assert torch.equal(before, torch.random.get_rng_state())


def test_parameters_out_and_in_again(kind):
    model, other = (stack(kind.factory, 3, key=("test", word), dtype="float64") for word in ("one", "two"))
    values = model.parameters_by_name(buffers=True)
    assert all(v.shape[0] == 3 for v in values.values())
    assert set(model.parameters_by_name()) == {n for n, _ in model.student(0).named_parameters(remove_duplicate=False)}
    other.load({name: v.numpy() for name, v in values.items()})
    for name, value in other.parameters_by_name(buffers=True).items():
        assert torch.equal(value, values[name])


def test_of_makes_equal_copies_and_leaves_the_module_alone():
    layer = nn.Linear(2, 2)
    model = Stacked.of(layer, 3, dtype="float64")
    weight = model.parameters_by_name()["weight"]
    assert torch.equal(weight, layer.weight.detach().double().expand(3, 2, 2))
    weight[1] = 7
    assert layer.weight.dtype == torch.float32
    assert (layer.weight != 7).all()
    assert (model.parameters_by_name()["weight"][1] == 7).all()


def test_load_says_what_does_not_fit():
    model = Stacked.of(nn.Linear(2, 1), 3)
    with pytest.raises(OptionError, match="did you mean 'weight'"):
        model.load({"weigth": np.zeros((3, 1, 2))})
    with pytest.raises(OptionError, match="bias not given"):
        model.load({"weight": np.zeros((3, 1, 2))})
    with pytest.raises(ShapeError, match=r"weight is \(3, 1, 2\), students first; got \(1, 2\)"):
        model.load({"weight": np.zeros((1, 2)), "bias": np.zeros((3, 1))})


def test_tied_parameters_stay_tied(kinds):
    model = stack(kinds["tied embedding and head"].factory, 2, key=("test", "tied"))
    values = model.parameters_by_name()
    assert values["embed.weight"].data_ptr() == values["head.weight"].data_ptr()
    assert len(list(model.parameters())) == len(values) - 1
    del values["head.weight"]
    model.load(values)  # once is enough
    tokens = torch.zeros(4, 5, dtype=torch.int64)
    train(model, tokens, torch.zeros(1, 4, 2), Recipe(steps=3))
    values = model.parameters_by_name()
    assert values["embed.weight"].data_ptr() == values["head.weight"].data_ptr()
    alone = model.student(1)
    assert alone.embed.weight is alone.head.weight
    assert torch.equal(alone.head.weight, values["head.weight"][1])


def test_a_layer_used_twice_stays_one_layer():
    layer = nn.Linear(3, 3)
    model = Stacked.of(nn.Sequential(layer, nn.Tanh(), layer), 2)
    assert len(list(model.parameters())) == 2
    assert check_stacking(model, torch.randn(4, 3)) < 1e-6


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda: nn.Sequential(nn.BatchNorm3d(3, affine=False)), "'0' of class BatchNorm3d"),
        (lambda: nn.Sequential(nn.Dropout2d(0.5)), "'0' of class Dropout2d: it has random draws"),
        (lambda: nn.Sequential(nn.RReLU()), "'0' of class RReLU: it has random draws"),
        (hooked, "'1' of class Linear: it has forward hooks"),
    ],
)
def test_what_cannot_be_stacked_is_named_by_path_and_class(module, message):
    with pytest.raises(OptionError, match=message) as caught:
        Stacked.of(module(), 2)
    assert "Build students from BatchNorm1d, BatchNorm2d, Conv1d" in str(caught.value)


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (nn.Dropout(0.5), "'0' of class Scaled: it has random draws. Set its dropout to 0"),
        (nn.BatchNorm1d(3), "'0' of class Scaled: it has running statistics"),
    ],
)
def test_what_parameters_outside_of_layers_cannot_have_beside_them(inner, message):
    with pytest.raises(OptionError, match=message):
        Stacked.of(nn.Sequential(Scaled(inner)), 2)
    inner.p, inner.track_running_stats = 0.0, False
    assert check_stacking(Stacked.of(nn.Sequential(Scaled(inner)), 2), torch.randn(4, 3)) < 1e-6


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda: Recurrent(nn.LSTM(3, 3)), "class LSTM: torch's vmap does not run it"),
        (lambda: nn.Sequential(Scaled(Noisy())), "class Scaled: torch's vmap does not run it .*random"),
        (Biased, "class Bias: it makes something of its parameters without rows"),
        (
            lambda: Forward(lambda x: x, asks="nothing_of_the_kind"),
            "cannot stack this architecture: 'Linear' object has no",
        ),
    ],
)
def test_what_cannot_be_run_is_named_by_its_class(module, message):
    model = stack(module, 2, key=("test", "refused"))
    with pytest.raises(OptionError, match=message):
        model(torch.zeros(4, 2, 3))


@pytest.mark.parametrize("batch_first", [True, False])
def test_modules_of_any_kind_mix_rows_within_a_student_at_most(batch_first):
    model = stack(lambda: Attending(batch_first=batch_first), 3, key=("test", "any kind"))
    assert check_stacking(model, torch.randn(5, 3, 4)) < 1e-6


def test_what_is_given_beside_the_rows_belongs_to_the_student_or_to_all():
    model = stack(lambda: Offset(), 2, key=("test", "offset"))
    X = torch.randn(2, 4, 3)
    for s in range(2):
        torch.testing.assert_close(model(X, shared=False)[s], model.student(s)(X[s]))


class Buffered(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.register_buffer("part", part)

    def forward(self, x):
        return x + self.part


def test_a_buffer_under_two_names_is_that_of_the_student_under_both():
    part = torch.tensor([0.5])
    model = Stacked.of(nn.Sequential(Scaled(nn.Sequential(Buffered(part), Buffered(part)))), 3)
    assert check_stacking(model, torch.randn(4, 3)) < 1e-6


def test_layers_can_be_asked_for_their_sizes():
    assert check_stacking(Stacked.of(Forward(lambda x: x, asks="in_features"), 2), torch.ones(4, 3)) < 1e-6


@pytest.mark.parametrize("option", [{"max_norm": 1.0}, {"scale_grad_by_freq": True}, {"sparse": True}])
def test_embeddings_with_rules_of_their_own_are_refused(option):
    with pytest.raises(OptionError, match="max_norm, scale_grad_by_freq or sparse"):
        Stacked.of(nn.Embedding(3, 2, **option), 2)


def test_dropout_needs_a_key():
    with pytest.raises(OptionError, match=r"Dropout at '0' needs key"):
        Stacked.of(nn.Sequential(nn.Dropout(0.5)), 2)


def test_factories_build_one_architecture():
    widths = iter([3, 4])
    with pytest.raises(OptionError, match="student 1 has other parameters than student 0"):
        stack(lambda: nn.Linear(2, next(widths)), 2, key=("test", "widths"))

    def random_features():
        module = nn.Sequential(nn.Linear(2, 2))
        module.register_buffer("features", torch.rand(3))
        return module

    with pytest.raises(OptionError, match="buffer 'features' differs between students 0 and 1"):
        stack(random_features, 2, key=("test", "features"))


def test_options_are_checked():
    with pytest.raises(OptionError, match="at least one student"):
        stack(lambda: nn.Linear(1, 1), 0, key=("test",))
    with pytest.raises(OptionError, match="at least one student"):
        Stacked.of(nn.Linear(1, 1), 0)
    with pytest.raises(OptionError, match="did you mean 'float32'"):
        Stacked.of(nn.Linear(1, 1), 1, dtype="float23")
    with pytest.raises(OptionError, match="student 2 asked of S=2"):
        Stacked.of(nn.Linear(1, 1), 2).student(2)


def test_shared_rows_and_own_rows():
    model = stack(lambda: nn.Linear(3, 1), 2, key=("test", "rows"), dtype="float64")
    X = np.arange(12.0).reshape(4, 3)
    assert torch.equal(model(X), model(np.stack([X, X]), shared=False))
    with pytest.raises(
        ShapeError, match=r"shared=False X holds rows of each student's own, \(S=2, N, ...\); got \(4, 3\)"
    ):
        model(X, shared=False)
    pair = Stacked.of(Forward(lambda x: (x, x)), 2)
    with pytest.raises(ShapeError, match="rows gave tuple"):
        pair(torch.zeros(4, 3))


def test_copies_are_independent():
    model = stack(lambda: nn.Linear(1, 1, bias=False), 2, key=("test", "copies"))
    before = model.parameters_by_name()["weight"].clone()
    train(model, [[1.0]], [[[1.0]]], Recipe(steps=2), engine="eager")  # fills what is cached
    twin = copy.deepcopy(model)
    kept = model.parameters_by_name()["weight"].clone()
    train(twin, [[1.0]], [[[1.0]]], Recipe(steps=5), engine="eager")
    assert torch.equal(model.parameters_by_name()["weight"], kept)
    assert not torch.equal(twin.parameters_by_name()["weight"], kept)
    assert not torch.equal(kept, before)


# --------------------------------------------------------------------------------------------------------- the check


def test_the_check_accepts_every_kind_and_changes_nothing(kind, problem):
    p = problem(kind, dtype="float64")
    before = {n: v.clone() for n, v in p.model.parameters_by_name(buffers=True).items()}
    assert check_stacking(p.model, p.X[0]) < 1e-12
    assert p.model.training
    for name, value in p.model.parameters_by_name(buffers=True).items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    "code",
    [
        lambda x: x - x.mean(0),
        lambda x: x.flip(0),
        lambda x: x.cumsum(0),
        lambda x: F.softmax(x, 0),
        lambda x: torch.cat([x[1:], x[:1]]),
    ],
    ids=["mean over rows", "flip", "cumulative", "softmax over rows", "roll"],
)
def test_the_check_sees_mixed_rows_even_among_equal_students(code):
    model = Stacked.of(Forward(code), 3)
    with pytest.raises(ShapeError, match="does not treat rows independently"):
        check_stacking(model, torch.randn(6, 3))


def test_the_check_sees_draws_from_the_global_state():
    with pytest.raises(ShapeError, match="global random state; use nn.Dropout"):
        check_stacking(Stacked.of(Forward(lambda x: F.dropout(x, 0.5, training=True)), 2), torch.randn(6, 3))


def test_the_check_passes_over_dropout():
    model = Stacked.of(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)), 2, key=("test",))
    assert check_stacking(model, torch.randn(6, 3)) < 1e-6
