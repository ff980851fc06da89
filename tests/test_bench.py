"""The bench's rivals run: a bare loop that stopped would take a row of the table, and all after it, with it."""

from dataclasses import replace

import numpy as np
import pytest

from bench import llm_adapters, llm_training
from bench.measuring import Row, show
from uqkd.llm import Lora
from uqkd.llm.students.networks.initializer import Initializer


@pytest.mark.slow
def test_the_bare_loops_of_language_models_train(smollm2):
    rows = llm_training.some_rows(replace(llm_training.RECIPE, steps=1))
    llm_training.bare(rows)
    initializer = Initializer.of(llm_training.CUT, lora=Lora(rank=2, layers=1))
    model = initializer.alone(initializer.parameters(0, key=("bench",), adapter=0, shared=True)).model.train()
    before = [p.detach().clone() for p in model.parameters() if p.requires_grad]
    llm_adapters.bare(model, rows, 0)
    after = [p.detach() for p in model.parameters() if p.requires_grad]
    assert any(not np.array_equal(a.numpy(), b.numpy()) for a, b in zip(before, after, strict=True))


def test_every_part_is_printed_as_it_is_measured(capsys):
    show([Row("a student-step", "1 s", "a loop 2 s", 2.0, ">= 1", True)], "networks")
    head, _, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["networks", "uqkd", "against", "figure", "goal", "met"]
    assert line.split("  ")[0] == "a student-step"
