"""The head on supervised tokens alone gives the losses and gradients of the table of all logits, in a fraction of its memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import FAMILIES, save_family

from uqkd import seeds
from uqkd.llm.students.networks import heads
from uqkd.llm.students.networks.adapters import Lora
from uqkd.llm.students.networks.initializer import Initializer
from uqkd.llm.students.networks.likelihood import row_table

# In float64 the two differ in the order of sums of at most 256 numbers in a dozen products one after another: some 1e-12
# relative, and a hundred times that where numbers cancel. The norms of Gemma sum the gradients of their weights in float32,
# which rounds to 6e-8.
ROUNDING, FLOAT32 = 1e-10, 6e-8


def some_rows(count, vocabulary, *, longest=14, key="rows"):
    """Rows of several lengths; the last one supervises nothing."""
    draw = seeds.generator("tests", key, shared=True)
    rows = []
    for n in range(count):
        length = int(draw.integers(6, longest))
        first = int(draw.integers(2, 5)) if n < count - 1 else length
        rows.append((draw.integers(4, vocabulary, size=length).tolist(), [t >= first for t in range(length)]))
    return row_table(rows, pad=3)


def plain(student, table):
    """Log-likelihoods from all logits of transformers' own forward pass."""
    ids, learnt = torch.from_numpy(table).unbind(1)
    logs = torch.log_softmax(student.model(input_ids=ids, use_cache=False).logits[:, :-1] / student.temperature, -1)
    return (logs.gather(2, ids[:, 1:, None])[..., 0] * learnt[:, 1:]).sum(1)


def gradients(likelihoods, student):
    """Of likelihoods weighted unevenly, all in one row."""
    weights = torch.linspace(0.3, 2.0, len(likelihoods), dtype=likelihoods.dtype)
    trained = [p for p in student.parameters() if p.requires_grad]
    found = torch.autograd.grad((likelihoods * weights).sum(), trained, allow_unused=True)
    return torch.cat(
        [torch.zeros_like(p).flatten() if g is None else g.flatten() for g, p in zip(found, trained, strict=True)]
    )


def begun(path, lora):
    """A student in float64 whose adapters are not the zeros that they begin at."""
    student = Initializer.of(path, lora=lora).template.double()
    with seeds.torch_stream("tests", "heads", shared=True), torch.no_grad():
        for p in student.parameters():
            if lora is not None and p.requires_grad:
                p.copy_(torch.randn_like(p) * 0.1)
    return student.eval()


@pytest.mark.parametrize("lora", [None, Lora(rank=2)], ids=["all parameters", "LoRA"])
@pytest.mark.parametrize("family", FAMILIES)
def test_losses_and_gradients_are_those_of_all_logits(family, lora, make_model, tmp_path, monkeypatch):
    student, table = begun(save_family(family, tmp_path / "m", make_model), lora), some_rows(5, 150)
    monkeypatch.setattr(heads, "LOGITS", 256 * 7)  # seven tokens at a time
    for temperature in (1.0, 0.7):
        student.temperature = temperature
        expected = plain(student, table)
        for turn in ("first", "second"):  # only the first pass shows whether anything follows the head
            found = student(torch.from_numpy(table))
            np.testing.assert_allclose(found.detach(), expected.detach(), rtol=ROUNDING, err_msg=turn)
            a, b = gradients(found, student), gradients(plain(student, table), student)
            assert float((a - b).norm() / b.norm()) < (FLOAT32 if "Gemma" in family else ROUNDING), turn
    # One caps its logits, and two bring those of float64 to float32.
    assert student._head.bare == (family not in ("Gemma 2", "Mamba", "Mamba-2"))


def test_a_frozen_head_keeps_hidden_states_for_the_backward_pass_and_no_logits(make_model, tmp_path):
    student = begun(save_family("Llama", tmp_path / "m", make_model), Lora(rank=2))
    rows = torch.from_numpy(some_rows(40, 150))
    student(rows)

    def kept():
        sizes = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.update({t.data_ptr(): t.numel()}) or t, lambda t: t
        ):
            student(rows).sum().backward()
        return max(sizes.values())

    tokens = int(rows[:, 1, 1:].sum())
    packed = kept()
    student._head.bare = False  # as if something followed the head
    assert kept() >= tokens * 256
    assert packed < tokens * 256


def test_mixed_precision_keeps_the_losses_in_float32(make_model, tmp_path):
    student = begun(save_family("Llama", tmp_path / "m", make_model), Lora(rank=2)).float()
    rows = torch.from_numpy(some_rows(5, 150))
    expected = student(rows)
    slopes = gradients(expected, student)
    with torch.autocast("cpu", torch.bfloat16):
        found = student(rows)
    assert found.dtype == torch.float32
    # Eight bits: each of some ten products one after another rounds to 4e-3, and gradients pass through them twice.
    np.testing.assert_allclose(found.detach(), expected.detach(), rtol=0.04)
    assert float((gradients(found, student) - slopes).norm() / slopes.norm()) < 0.08


def test_a_head_that_somebody_listens_to_is_called(make_model, tmp_path):
    """Hooks, such as those of libraries that move layers between devices, see the supervised tokens pass."""
    student, rows = begun(save_family("Llama", tmp_path / "m", make_model), Lora(rank=2)), some_rows(5, 150)
    expected, seen = student(torch.from_numpy(rows)), []
    head = student.model.get_base_model().lm_head
    head.register_forward_hook(lambda module, given, logits: seen.append(logits.shape[:-1].numel()) or 2.0 * logits)
    doubled = student(torch.from_numpy(rows))
    assert seen == [rows[:, 1, 1:].sum()]
    student.temperature = 0.5
    np.testing.assert_allclose(doubled.detach(), begun_again(student, head, rows), rtol=ROUNDING)
    assert not torch.allclose(doubled, expected)


def begun_again(student, head, rows):
    """What a halved temperature makes of the head as it was."""
    head._forward_hooks.clear()
    return student(torch.from_numpy(rows)).detach()
