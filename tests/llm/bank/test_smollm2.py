"""From a real chat model to a bank, in one engine: SmolLM2-135M-Instruct through its template, seeds, top-ups, the audit.

What is drawn is the whole model's; how prompts are handed out, topped up and audited is shown on six of its thirty layers.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from toys import deaf

from uqkd import seeds
from uqkd.errors import IndependenceError
from uqkd.llm.bank import Bank
from uqkd.llm.bank.auditing import audit
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.prompts import Prompts
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import open_teacher

DRAWS = 2000  # of the first token of one prompt


@pytest.fixture(scope="module")
def teacher(smollm2):
    teacher = open_teacher(smollm2, backend="vllm")
    yield teacher
    teacher.close()


@pytest.fixture(scope="module")
def six_layers(smollm2):
    teacher = open_teacher(smollm2.parent / "smollm2-6layers", backend="vllm")
    yield teacher
    teacher.close()


def questions(count):
    """Questions of some forty tokens with the template."""
    lands = ("France", "Japan", "Kenya", "Peru", "Norway", "India", "Chile", "Egypt", "Ghana", "Nepal")
    things = ("capital", "largest city", "longest river", "highest mountain", "national dish", "currency", "neighbour")
    asked = [
        f"What is the {thing} of {land}, in one word, number {n}?"
        for n in range(9)
        for thing in things
        for land in lands
    ]
    return Prompts(tuple(f"q{i}" for i in range(count)), tuple(asked[:count]))


def one_beyond_a_block(encoder):
    """A prompt of 32 n + 1 tokens: its blocks are computed once, and each draw costs one token."""
    for extra in range(32):
        prompt = Prompts(("coin",), ("Name a colour" + " please" * extra + ".",))
        if len(encoder.encode_prompts(prompt)[0]) % 32 == 1:
            return prompt
    raise AssertionError("no such prompt")


@pytest.mark.slow
@pytest.mark.engine
def test_more_prompts_than_one_step_holds_are_drawn_in_one_call_and_audited(six_layers, tmp_path):
    """R1, R2, R3: refused for its BOS; a crash with 0 of 800 drawn; an error after sampling because answers were cut."""
    prompts, bank = questions(200), Bank(tmp_path)
    assert sum(len(ids) for ids in six_layers.encoder.encode_prompts(prompts)) > 8192
    fill_bank(six_layers, prompts, 2, bank=bank, sampling=Sampling(max_tokens=3))
    assert bank.rows == 400
    assert bank.inventory(prompts, 2).flags["length"] > 40  # far more than 1 % are cut, and that stops nothing
    found = audit(bank, prompts, students=2, k=1, per_student=1)
    assert found.tests == 3  # one pair of students; neighbouring prompts, twice
    table = bank.table(prompts)
    assert table["seed"].nunique() == 400
    assert (table["tokens"] == table["token_ids"].map(len)).all()
    assert all(len(a) == len(b) for a, b in zip(table["token_ids"], table["token_logprobs"], strict=True))


@pytest.fixture(scope="module")
def exact(smollm2, teacher):
    """Probabilities of the first token of the answer, from one forward pass of transformers."""
    from transformers import AutoModelForCausalLM

    ids = teacher.encoder.encode_prompts(one_beyond_a_block(teacher.encoder))[0]
    with torch.inference_mode():
        logits = AutoModelForCausalLM.from_pretrained(smollm2)(torch.tensor([list(ids)])).logits[0, -1]
    return torch.softmax(logits.double(), 0).numpy()


def p_value(seen, exact):
    """Chi-square of counts against probabilities, tokens expected fewer than five times taken together."""
    frequent = exact * DRAWS >= 5.0
    expected = np.append(exact[frequent], exact[~frequent].sum()) * DRAWS
    observed = np.append(seen[frequent], seen[~frequent].sum())
    assert len(expected) > 10
    return stats.chisquare(observed, expected).pvalue


@pytest.mark.slow
@pytest.mark.engine
def test_first_tokens_follow_the_model_across_top_ups_chunks_and_batches(teacher, smollm2, exact, tmp_path):
    prompt, sampling, bank = one_beyond_a_block(teacher.encoder), Sampling(max_tokens=1), Bank(tmp_path / "a")
    fill_bank(teacher, prompt, DRAWS // 2, bank=bank, sampling=sampling, chunk=300)
    small = open_teacher(smollm2, backend="vllm", max_sequences=48)
    fill_bank(small, prompt, DRAWS, bank=bank, sampling=sampling)
    small.close()
    table = bank.table(prompt)
    assert len(table) == DRAWS
    first = np.array([ids[0] for ids in table["token_ids"]])
    seen = np.bincount(first, minlength=len(exact))
    assert p_value(seen, exact) > 1e-6  # one choice of seeds, which was not chosen; a false alarm once in a million
    colder = exact**1.25 / (exact**1.25).sum()  # a temperature of 0.8
    assert p_value(seen, colder) < 1e-6
    logs = np.array([logs[0] for logs in table["token_logprobs"]])
    # float32 logits of two libraries, thirty layers deep: seen 2e-5; a raw or warmer distribution is off by tenths.
    assert np.abs(logs - np.log(exact[first])).max() < 1e-3


BROKEN = {
    "one seed for all prompts": (lambda p, j: j, "neighbouring prompts"),
    "the engine's default": (lambda p, j: 0, "are the same in"),
    "students at consecutive seeds": (lambda p, j: 1000 * p + j // 2 + j % 2, r"students \d and \d are the same"),
}


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize("broken", BROKEN)
def test_broken_seedings_are_rejected(six_layers, tmp_path, broken):
    """The rows say that every response had a seed of its own; the draws say otherwise."""
    seed_of, named = BROKEN[broken]

    bank, prompts = Bank(tmp_path), questions(30)
    fill_bank(
        deaf(six_layers, lambda i: seed_of(i // 8, i % 8)), prompts, 8, bank=bank, sampling=Sampling(max_tokens=6)
    )
    with pytest.raises(IndependenceError, match=named):
        audit(bank, prompts, students=4, k=2, per_student=2)


@pytest.mark.slow
@pytest.mark.engine
def test_the_same_rows_whether_in_one_go_or_topped_up(six_layers, tmp_path):
    prompts, sampling = questions(12), Sampling(max_tokens=8)
    whole = fill_bank(six_layers, prompts, 4, bank=Bank(tmp_path / "a"), sampling=sampling)
    half = fill_bank(six_layers, prompts, 1, bank=Bank(tmp_path / "b"), sampling=sampling, key=("llm", "bank"))
    fill_bank(six_layers, prompts, 4, bank=half, sampling=sampling, chunk=5)
    a, b = whole.table(prompts), half.table(prompts)
    exact = ["prompt_id", "prompt_hash", "response_index", "seed"]
    assert a[exact].equals(b[exact])
    same = sum(list(x) == list(y) for x, y in zip(a["token_ids"], b["token_ids"], strict=True))
    # Rounding differs with the batch; a token flips where two lie within 1e-5 of one another: in 384 tokens hardly ever.
    assert same >= 47
    assert seeds.seed63("llm", "bank", six_layers.about.revision, "q0", 0, shared=True) == a["seed"][0]
