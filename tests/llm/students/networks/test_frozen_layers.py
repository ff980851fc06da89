"""Frozen layers below the adapters are computed once a row: the same likelihoods, gradients and students, in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import FAMILIES, save_family
from test_heads import FLOAT32, ROUNDING, begun, gradients, some_rows

from uqkd import seeds
from uqkd.errors import OptionError
from uqkd.llm.students.networks.adapters import Lora
from uqkd.llm.students.networks.frozen import frozen_layers_cached, needed
from uqkd.llm.students.networks.initializer import Initializer
from uqkd.llm.students.networks.likelihood import know_leaves, weighted_loss
from uqkd.llm.students.rows.training_rows import TrainingRows
from uqkd.llm.students.training.ways_to_train import Compute, Split, stacked_of, train_sequential, train_stacked
from uqkd.stacked import Recipe, Stacked, train

LAST = Lora(rank=2, layers=1)
# Families whose configuration drops at random unless it is told not to.
STILL = {
    "GPT-2": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "OPT": {"dropout": 0.0, "attention_dropout": 0.0},
}


def family_of(family, folder, make_model, **more):
    """A saved tiny model of three layers."""
    layers = {"num_hidden_layers": 3, **({"n_layer": 3} if family == "GPT-2" else {})}
    if FAMILIES[family][1].get("layer_types"):
        layers["layer_types"] = ["sliding_attention", "full_attention", "sliding_attention"]
    if FAMILIES[family][1].get("no_rope_layers"):
        layers["no_rope_layers"] = [1, 0, 1]
    return save_family(family, folder, make_model, **layers, **more)


@pytest.fixture(scope="module")
def llama(make_model, tmp_path_factory):
    return family_of("Llama", tmp_path_factory.mktemp("llama") / "m", make_model)


def calls(layer):
    """A list that grows by the shape of every hidden state that a layer really computes on."""
    seen = []
    inside = next(
        part for part in layer.modules() if isinstance(part, torch.nn.Linear) or "Conv1D" in type(part).__name__
    )
    inside.register_forward_pre_hook(lambda module, given: seen.append(tuple(given[0].shape)))
    return seen


def blocks(student):
    return next(part for part in student.modules() if isinstance(part, torch.nn.ModuleList) and len(part) == 3)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_blocks_alone_get_adapters(family, make_model, tmp_path):
    path = family_of(family, tmp_path / "m", make_model)
    trained = [
        any(p.requires_grad for p in layer.parameters()) for layer in blocks(Initializer.of(path, lora=LAST).template)
    ]
    assert trained == [False, False, True]
    everywhere = Initializer.of(path, lora=Lora(rank=2)).template
    counts = [
        sum(p.numel() for p in one.parameters() if p.requires_grad)
        for one in (Initializer.of(path, lora=Lora(rank=2, layers=3)).template, everywhere)
    ]
    assert counts[0] == counts[1]
    with pytest.raises(OptionError, match="layers=4 of Lora are more than the 3 blocks"):
        Initializer.of(path, lora=Lora(layers=4))


def test_layers_that_are_asked_for_by_name_are_looked_for_in_the_last_blocks(llama):
    student = Initializer.of(llama, lora=Lora(rank=2, layers=2, modules=("q_proj", "down_proj"))).template
    trained = {name.rsplit(".lora_", 1)[0] for name, p in student.named_parameters() if p.requires_grad}
    assert {name.split("layers.", 1)[1] for name in trained} == {
        f"{layer}.{part}" for layer in (1, 2) for part in ("self_attn.q_proj", "mlp.down_proj")
    }
    with pytest.raises(OptionError, match="positive number of blocks, or None for all; got 0"):
        Lora(layers=0)
    with pytest.raises(OptionError, match=r"none of the layers layers\.0\.self_attn\.q_proj lies in the last 1 blocks"):
        Initializer.of(llama, lora=Lora(layers=1, modules=("layers.0.self_attn.q_proj",)))


@pytest.mark.parametrize("family", FAMILIES)
def test_likelihoods_and_gradients_are_the_same_and_every_row_is_computed_once(family, make_model, tmp_path):
    student = begun(family_of(family, tmp_path / "m", make_model, **STILL.get(family, {})), LAST).train()
    table = some_rows(6, 150)
    table[4] = table[1]  # of six rows one comes twice, and one supervises nothing
    rows = torch.from_numpy(table)
    expected = student(rows)
    slopes = gradients(expected, student)
    seen = calls(blocks(student)[1])
    with frozen_layers_cached(student) as frozen:
        for _ in range(3):
            found = student(rows)
            np.testing.assert_allclose(found.detach(), expected.detach(), rtol=ROUNDING)
            moved = gradients(found, student)
            assert float((moved - slopes).norm() / slopes.norm()) < (FLOAT32 if "Gemma" in family else ROUNDING)
            before = len(seen)
        assert frozen.why_not == ""
        assert frozen.computed == 5
        student(rows.flip(0))
        assert len(seen) == before
    assert frozen.held == 0


def test_a_kept_state_does_not_depend_on_the_rows_it_was_computed_with(llama):
    """A training that is begun again after a stop meets rows in other company, and must end with the same bytes."""
    student = begun(llama, LAST)
    rows = torch.from_numpy(some_rows(12, 150))

    def after(*batches):
        with frozen_layers_cached(student):
            return [student(rows[batch]).detach() for batch in batches][-1]

    last = [3, 7, 1, 9]
    expected = after(last)
    for batches in ([[0, 1, 2, 3, 4], [7, 8, 9, 10], last], [[9], [3], [7, 1], last], [list(range(12)), last]):
        assert torch.equal(after(*batches), expected)


def test_the_cache_keeps_to_its_bytes_and_changes_nothing_where_it_is_full(llama):
    student, table = begun(llama, LAST), some_rows(20, 150)
    rows = torch.from_numpy(table)
    lengths = np.array(needed(rows)[1])
    whole = int(lengths.sum()) * 64 * 8  # hidden states of 64 numbers in float64

    def trained(budget):
        with frozen_layers_cached(student, budget_bytes=budget) as frozen:
            found = [student(rows[start : start + 5]).detach() for start in (0, 5, 10, 15) * 2]
            return torch.cat(found), frozen.held, frozen.computed, frozen.budget

    expected, held, computed, _ = trained(None)
    assert held == whole
    assert computed == 20
    for budget in (0, 1, int(lengths[:3].max()) * 64 * 8, whole // 2, whole - 1, whole):
        found, held, computed, bound = trained(budget)
        assert torch.equal(found, expected)
        assert held <= budget == bound
        if budget >= whole // 2:
            assert held > budget - int(lengths.max()) * 64 * 8  # no room is left that a row of any length would fit in
        assert (computed == 20) == (budget == whole)
        assert budget or computed == 39  # the row that needs nothing takes no bytes
    with (
        pytest.raises(OptionError, match="budget_bytes must be a number of bytes >= 0; got -1"),
        frozen_layers_cached(student, budget_bytes=-1),
    ):
        pass


def stacked_students(llama, students=3):
    """Students on one base, their adapters apart, in float64 but for the base that they share."""
    template = begun(llama, LAST)
    know_leaves(template)
    model = Stacked.of(template, students, dtype="float64", share_frozen=True)
    with seeds.torch_stream("tests", "apart", shared=True), torch.no_grad():
        for value in model.parameters_by_name().values():
            value.copy_(torch.randn_like(value) * 0.1)
    return template, model


def test_students_in_one_pass_share_what_is_computed(llama):
    table = some_rows(12, 150)[:10]
    recipe = Recipe(steps=8, batch=4, optimiser="adamw", lr=1e-2, clip_norm=1.0)
    draw = seeds.generator("tests", "orders", shared=True)
    orders = np.stack([np.stack([draw.permutation(10)[:4] for _ in range(8)]) for _ in range(3)])
    weights = draw.uniform(0.5, 2.0, size=(3, 10))

    def trained(cached):
        _, model = stacked_students(llama)
        seen = calls(blocks(model.body)[0])
        if not cached:
            done = train(model, table, weights, recipe, loss=weighted_loss, orders=orders)
            return model.parameters_by_name(), done.loss, seen
        with frozen_layers_cached(model) as frozen:
            done = train(model, table, weights, recipe, loss=weighted_loss, orders=orders)
            assert frozen.why_not == ""
            assert frozen.computed == len(np.unique(orders))
        return model.parameters_by_name(), done.loss, seen

    (plain, loss, every), (quick, same, fewer) = trained(False), trained(True)
    np.testing.assert_allclose(same, loss, rtol=1e-9)  # eight steps of Adam from sums that differ by 1e-12
    for name, value in plain.items():
        assert float((quick[name] - value).abs().max()) < 1e-9, name
    tokens = [sum(shape[0] * shape[1] for shape in shapes) for shapes in (fewer, every)]
    assert tokens[0] < 0.5 * tokens[1]


@pytest.mark.parametrize("together", [True, False])
def test_training_computes_what_lies_below_the_adapters_once_a_row(llama, together):
    """In both ways to train: without the cache every step of every student passes through the lower layers, 64 rows in all."""
    table, (students, steps, batch) = some_rows(12, 150)[:10], (2, 8, 4)
    lengths = 1 + np.array([int(one[1].nonzero()[0].max()) for one in table])
    draw = seeds.generator("tests", "orders", shared=True)
    orders = np.stack([np.stack([draw.permutation(10)[:batch] for _ in range(steps)]) for _ in range(students)])
    shares = np.ones((students, 10))
    rows = TrainingRows(
        np.concatenate([one[0, :length] for one, length in zip(table, lengths, strict=True)]).astype(np.int32),
        np.r_[0, np.cumsum(lengths)], table[:, 1].argmax(axis=1), shares, shares, orders, pad=3,
    )  # fmt: skip
    recipe = Recipe(steps=steps, batch=batch, optimiser="adamw", lr=1e-2)
    initializer = Initializer.of(llama, lora=LAST)
    if together:
        begin = [initializer.parameters(s, key=("t",), adapter=s, shared=True) for s in range(students)]
        model = stacked_of(initializer, begin, key=("t",), dropout=range(students), device="cpu")
        seen = calls(blocks(model.body)[0])
        train_stacked(model, Split(rows), recipe)
    else:
        seen = calls(blocks(initializer.template)[0])
        train_sequential(
            initializer, Split(rows), recipe, levels=[(s, s, s) for s in range(students)], key=("t",), compute=Compute(),
            finish=lambda *_: None, shared=True,
        )  # fmt: skip
    assert 10 <= sum(shape[0] for shape in seen) < 32  # ten rows, and some on which the cache is tried


def test_the_base_under_adapters_is_one_for_all_and_perturbation_leaves_it_alone(llama):
    initializer = Initializer.of(llama, lora=LAST, perturbation=0.5)
    template = initializer.template
    base = {name: p for name, p in template.named_parameters() if not p.requires_grad}
    before = {name: p.clone() for name, p in base.items()}
    drawn = [initializer.parameters(s, key=("t",), adapter=0, shared=True) for s in range(2)]
    assert set(drawn[0]) == {name for name, p in template.named_parameters() if p.requires_grad}
    assert not all(torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])
    know_leaves(template)
    together = dict(Stacked.of(template, 2, share_frozen=True).body.named_parameters())
    apart = dict(initializer.alone(drawn[1]).named_parameters())
    for name, p in base.items():
        assert together[name].data_ptr() == apart[name].data_ptr() == p.data_ptr()
        assert torch.equal(p, before[name])


@pytest.mark.parametrize(
    ("family", "lora", "more", "why"),
    [
        ("Llama", Lora(rank=2), {}, "the first layer is trained"),
        ("Llama", None, {}, "what is trained lies not all in one row of layers"),
        ("Llama", LAST, {"attention_dropout": 0.2}, "the frozen layers draw at random"),
        ("GPT-2", LAST, {}, "the frozen layers draw at random"),
        ("OPT", LAST, {}, "the frozen layers draw at random"),
    ],
)
def test_where_it_cannot_every_layer_computes_as_before(family, lora, more, why, make_model, tmp_path):
    student = begun(family_of(family, tmp_path / "m", make_model, **more), lora).train()
    rows = torch.from_numpy(some_rows(6, 150))
    seen = calls(blocks(student)[0])
    student(rows)

    def drawn():
        with seeds.torch_stream("tests", "dropout", shared=True):
            return student(rows).detach()

    expected, before = drawn(), len(seen)
    with frozen_layers_cached(student) as frozen:
        student(rows)
        assert frozen.why_not == why
        assert torch.equal(drawn(), expected)  # trying drew nothing from the stream, and left the mode of training
        assert len(seen) >= before + 2
        assert (frozen.held, frozen.computed) == (0, 0)


def test_dropout_of_the_adapters_alone_is_above(llama):
    student = begun(llama, Lora(rank=2, layers=1, dropout=0.5)).train()
    rows = torch.from_numpy(some_rows(6, 150))

    def drawn():
        with seeds.torch_stream("tests", "dropout", shared=True):
            return student(rows).detach()

    expected = drawn()
    assert not torch.equal(student(rows), expected)
    with frozen_layers_cached(student) as frozen:
        np.testing.assert_allclose(drawn(), expected, rtol=ROUNDING)
        assert frozen.why_not == ""


class Aside(torch.nn.Module):
    """A layer that hands something to a later one by another way than the hidden state."""

    def __init__(self, layer, place):
        super().__init__()
        self.layer, self.place = layer, place
        self.attention_type = getattr(layer, "attention_type", None)

    def forward(self, hidden_states, **named):
        found = self.layer(hidden_states, **named)
        if self.place == 0:
            Aside.said = hidden_states.mean(1, keepdim=True)
        return found + Aside.said[: len(found)] if self.place == 2 and len(Aside.said) == len(found) else found


def test_a_state_that_goes_by_another_way_is_noticed(llama):
    student = begun(llama, LAST)
    layers = blocks(student)
    for place in range(3):
        layers[place] = Aside(layers[place], place)
    rows = torch.from_numpy(some_rows(6, 150))
    expected = student(rows).detach()
    with frozen_layers_cached(student) as frozen:
        assert torch.equal(student(rows), expected)
        assert "need more of the frozen ones than a hidden state" in frozen.why_not


def test_a_layer_that_gives_more_than_a_hidden_state_is_noticed(llama):
    student = begun(llama, LAST)
    first = blocks(student)[0]
    usual = first.forward
    first.forward = lambda *given, **named: (usual(*given, **named), torch.ones(1))
    second = blocks(student)[1]
    usual_second = second.forward
    second.forward = lambda pair, **named: usual_second(pair[0], **named)
    rows = torch.from_numpy(some_rows(6, 150))
    expected = student(rows).detach()
    with frozen_layers_cached(student) as frozen:
        assert torch.equal(student(rows), expected)
        assert frozen.why_not == "the frozen layers give more than a hidden state to those above"
    assert vars(first)["forward"](torch.zeros(1, 2, 64).double(), position_embeddings=places(student, 2))[1] == 1.0


def places(student, count):
    model = student.model.get_base_model().model
    return model.rotary_emb(torch.zeros(1, count, 64).double(), torch.arange(count)[None])


def test_a_frozen_parameter_that_is_written_to_is_not_answered_from_before(llama):
    student = begun(llama, LAST)
    rows = torch.from_numpy(some_rows(6, 150))
    with frozen_layers_cached(student) as frozen:
        before = student(rows).detach()
        with torch.no_grad():
            blocks(student)[0].mlp.down_proj.weight.mul_(1.5)
        found = student(rows).detach()
        assert frozen.computed == 12
    np.testing.assert_allclose(found, student(rows).detach(), rtol=ROUNDING)
    assert not torch.allclose(found, before)


def test_the_model_is_as_before_also_after_an_error(llama):
    student = begun(llama, LAST).train()
    layers = blocks(student)
    rows, names = torch.from_numpy(some_rows(6, 150)), list(student.state_dict())
    forwards = [layer.forward for layer in layers]

    def broken(*given, **named):
        raise RuntimeError("out of order")

    def used(inside, late):
        with frozen_layers_cached(student):
            if late:
                student(rows[:3])
            inside.forward = broken
            student(rows)

    for layer in layers:
        for late in (False, True):  # at the first rows, while it is tried; or when it is in use
            with pytest.raises(RuntimeError, match="out of order"):
                used(layer.mlp, late)
            del layer.mlp.forward
            assert [one.forward for one in layers] == forwards
            assert not any("forward" in vars(one) for one in layers)
            assert student.below is None
            assert all(part.training for part in student.modules())
            assert list(student.state_dict()) == names


def test_in_use_the_model_keeps_its_names_and_can_be_saved_and_evaluated(llama):
    student = begun(llama, LAST).train()
    rows = torch.from_numpy(some_rows(6, 150))
    state = {name: value.clone() for name, value in student.state_dict().items()}
    with frozen_layers_cached(student) as frozen:
        student(rows)
        for name, value in student.state_dict().items():
            assert torch.equal(value, state[name])
        ids = rows[:1, 0]
        logits = student.model(input_ids=ids).logits  # a call that is not one of training
        assert frozen.computed == 6
    assert torch.equal(student.model(input_ids=ids).logits, logits)


def test_activation_checkpointing_goes_with_it(llama):
    student = begun(llama, LAST).train()
    rows = torch.from_numpy(some_rows(6, 150))
    expected = gradients(student(rows), student)
    student.model.gradient_checkpointing_enable({"use_reentrant": False})
    with frozen_layers_cached(student) as frozen:
        for _ in range(2):
            found = gradients(student(rows), student)
            assert float((found - expected).norm() / expected.norm()) < ROUNDING
        assert frozen.why_not == ""
        assert frozen.computed == 6


def test_needed_tokens():
    table = torch.from_numpy(some_rows(5, 150))
    ids, lengths = needed(table)
    assert lengths[-1] == 0
    for n, length in enumerate(lengths[:-1]):
        assert table[n, 1, length] == 1
        assert not table[n, 1, length + 1 :].any()
    assert ids.shape[1] == max(lengths)
