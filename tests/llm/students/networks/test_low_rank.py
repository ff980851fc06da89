"""Adapters computed in place give what PEFT's own layers give, for one student and for students in one pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import FAMILIES, save_family
from test_frozen_layers import stacked_students
from test_heads import FLOAT32, ROUNDING, begun, gradients, some_rows

from uqkd.llm.students.networks.adapters import Lora
from uqkd.llm.students.networks.low_rank import adapters_in_place

# Layers of one block that PEFT gives a plain adapter; those of GPT-2 and Falcon are no `nn.Linear`.
PLAIN = {"Phi-3": 4, "GPT-2": 0, "OPT": 6, "GPT-NeoX": 4, "Falcon": 0, "Mamba": 1, "Mamba-2": 1}


@pytest.fixture(scope="module")
def llama(make_model, tmp_path_factory):
    return save_family("Llama", tmp_path_factory.mktemp("llama") / "m", make_model, num_hidden_layers=3)


@pytest.mark.parametrize("family", FAMILIES)
def test_likelihoods_and_gradients_are_those_of_peft(family, make_model, tmp_path):
    student = begun(save_family(family, tmp_path / "m", make_model), Lora(rank=2))
    rows = torch.from_numpy(some_rows(6, 150))
    expected = student(rows)
    slopes = gradients(expected, student)
    with adapters_in_place(student) as layers:
        found = student(rows)
        moved = gradients(found, student)
    assert layers == 2 * PLAIN.get(family, 7)
    np.testing.assert_allclose(found.detach(), expected.detach(), rtol=ROUNDING)
    assert float((moved - slopes).norm() / slopes.norm()) < (FLOAT32 if "Gemma" in family else ROUNDING)
    assert not any("forward" in vars(part) for part in student.modules())


def test_students_in_one_pass_keep_their_own_adapters(llama):
    _, model = stacked_students(llama, students=3)
    rows = torch.from_numpy(some_rows(12, 150)).unflatten(0, (3, 4))
    trained = [p for p in model.parameters() if p.requires_grad]

    def both():
        likelihoods = model(rows, shared=False)
        scale = torch.linspace(0.5, 2.0, 12, dtype=torch.float64).view(3, 4)
        return likelihoods.detach(), torch.autograd.grad((likelihoods * scale).sum(), trained)

    expected, slopes = both()
    with adapters_in_place(model) as layers:
        found, moved = both()
    assert layers == 7
    np.testing.assert_allclose(found, expected, rtol=ROUNDING)
    for a, b in zip(moved, slopes, strict=True):
        assert float((a - b).norm() / b.norm()) < ROUNDING


def test_what_is_not_plain_stays_with_peft(llama):
    rows = torch.from_numpy(some_rows(4, 150))
    for lora in (Lora(rank=2, dropout=0.1), None):
        with adapters_in_place(begun(llama, lora)) as layers:
            assert layers == 0
    listened = begun(llama, Lora(rank=2, modules=("q_proj",)))
    seen = []
    first = next(part for part in listened.modules() if type(part).__name__ == "Linear" and hasattr(part, "lora_A"))
    first.lora_A["default"].register_forward_hook(lambda *given: seen.append(1))
    with adapters_in_place(listened) as layers:
        assert layers == 2
        listened(rows)
    assert seen
    disabled = begun(llama, Lora(rank=2))
    with disabled.model.disable_adapter(), adapters_in_place(disabled) as layers:
        assert layers == 0


def test_mixed_precision_is_peft_s_own(llama):
    student = begun(llama, Lora(rank=2)).float()
    rows = torch.from_numpy(some_rows(4, 150))
    with torch.autocast("cpu", torch.bfloat16):
        expected = student(rows).detach()
        with adapters_in_place(student) as layers:
            assert layers == 21
            assert torch.equal(student(rows).detach(), expected)
    assert not torch.equal(student(rows).detach(), expected)
