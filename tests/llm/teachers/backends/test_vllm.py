"""vLLM on real prompts: seeds and prefills never meet in a crash, the engine is as small as it may be, answers stream."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from uqkd import seeds
from uqkd.errors import WorkerError
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import Request, complete, open_teacher
from uqkd.llm.teachers.backends.vllm import library
from uqkd.llm.teachers.backends.vllm import teacher as module
from uqkd.llm.teachers.backends.vllm.memory import GIB, cache_bytes

SAMPLING = Sampling(max_tokens=6)


def request(i, *, length=2):
    return Request(tuple(4 + (i + j) % 250 for j in range(length)), seeds.seed63("tests", "vllm", i, shared=True))


@pytest.fixture
def opened(tiny, make_model, tmp_path):
    """Open the tiny model, or one of another context, and close it."""
    made = []

    def make(context=None, **options):
        path = tiny if context is None else make_model(tmp_path / str(context), spread=0.2, context=context)
        made.append(open_teacher(path, backend="vllm", dtype="float32", **options))
        return made[-1]

    yield make
    for teacher in made:
        teacher.close()


@pytest.mark.parametrize(
    ("more", "dtype", "context", "free", "gib"),
    [
        (
            {},
            "float32",
            4096,
            100,
            8,
        ),  # 2 x 32 layers x 8 heads x 128 numbers x 4 bytes x 4,096 tokens: 1 GiB a sequence
        ({}, "bfloat16", 4096, 100, 4),
        ({"head_dim": 256}, "float32", 4096, 100, 16),
        ({"num_key_value_heads": None}, "float32", 4096, 100, 32),
        ({}, "float32", 4096, 10, 4),  # 40 % of what is free
        ({}, "float32", 8192, 1, 2),  # one sequence fits in any case
    ],
)
def test_the_cache_is_what_all_sequences_need_within_bounds(more, dtype, context, free, gib):
    config = {"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096, **more}
    assert cache_bytes(config, dtype, context=context, sequences=8, free=free * GIB) == gib * GIB


def test_prompts_that_exceed_one_step_are_drawn(opened):
    """R2: 256 seeded prompts of 37 tokens exceed a step of 8,192 tokens; one was split, and the engine was dead."""
    teacher = opened(context=128)
    drawn = complete(teacher, [request(i, length=40) for i in range(300)], SAMPLING)
    alone = complete(teacher, [request(299, length=40)], SAMPLING)
    assert len(drawn) == 300
    assert alone[0].token_ids == drawn[299].token_ids


def test_the_engine_starts_with_the_first_request_and_grows_when_a_prompt_does(opened, monkeypatch):
    started = []
    start = library.started
    monkeypatch.setattr(library, "started", lambda path, **options: started.append(options) or start(path, **options))
    monkeypatch.setattr(module, "WINDOW", 4)  # the fifth request is not looked at before the engine starts
    teacher = opened(context=1024)
    assert started == []
    wanted = [request(i, length=200 if i == 6 else 3) for i in range(10)]
    drawn = complete(teacher, wanted, SAMPLING)
    assert [options["max_model_len"] for options in started] == [64, 256]
    assert all(options["max_num_batched_tokens"] >= options["max_model_len"] for options in started)
    whole = complete(teacher, wanted, SAMPLING)  # now all in one engine
    assert len(started) == 2
    assert [one.token_ids for one in drawn] == [one.token_ids for one in whole]


def test_sequences_that_are_put_aside_for_lack_of_memory_are_the_same_draws(opened):
    """A forced preemption: the cache holds 24 blocks of 32 tokens, and 32 sequences of 100 want four each."""
    wanted = [request(i, length=60) for i in range(32)]
    sampling = Sampling(max_tokens=40)
    block = 2 * 2 * 2 * 32 * 4 * 32  # key and value, layers, heads, width, bytes, tokens
    small, large = opened(context=256, cache_gib=24 * block / 2**30), opened(context=256)
    aside = []
    stream = small.stream(iter(wanted), sampling)
    first = next(stream)
    scheduler = small.engine.llm.llm_engine.engine_core.engine_core.scheduler
    preempt = scheduler._preempt_request
    scheduler._preempt_request = lambda *given, **more: aside.append(given) or preempt(*given, **more)
    found = dict([first, *stream])
    assert aside  # it did happen
    plain = complete(large, wanted, sampling)
    same = sum(found[i].token_ids == plain[i].token_ids for i in range(32))
    # A recomputed sequence rounds otherwise; where two tokens lie within 1e-6 of one another it may take the other: once in 1e5
    # tokens, of 1,280 here.
    assert same >= 31


def test_an_engine_outlives_another_that_is_closed(opened):
    """vLLM tears its process groups down with any engine of the process; the others were dead."""
    first, second = opened(), opened(max_sequences=8)
    before = complete(first, [request(0)], SAMPLING)
    assert complete(second, [request(0)], SAMPLING)[0].token_ids == before[0].token_ids
    second.close()
    assert complete(first, [request(0)], SAMPLING)[0].token_ids == before[0].token_ids
    first.close()
    assert complete(opened(), [request(0)], SAMPLING)[0].token_ids == before[0].token_ids


@pytest.mark.parametrize("context", [10_485_760])
def test_a_model_with_a_vast_context_starts_in_small_memory(make_model, tmp_path, context):
    code = (
        "import json, sys\n"
        "from uqkd.llm.sampling import Sampling\n"
        "from uqkd.llm.teachers import Request, complete, open_teacher\n"
        "teacher = open_teacher(sys.argv[1], backend='vllm')\n"
        "drawn = complete(teacher, [Request((5, 6), i) for i in range(4)], Sampling(max_tokens=4))\n"
        "status = open('/proc/self/status').read()\n"  # rusage would count the process that started this one
        "peak = int(status.split('VmHWM:')[1].split()[0]) / 2**20\n"
        "print(json.dumps([len(drawn), teacher.engine.context, peak]))\n"
        "teacher.close()\n"
    )
    model = make_model(tmp_path / "m", context=context)
    line = [sys.executable, "-c", code, str(model)]
    done = subprocess.run(line, check=True, capture_output=True, text=True, timeout=300)
    drawn, held, gib = json.loads(done.stdout.splitlines()[-1])
    assert (drawn, held) == (4, 64)
    # The interpreter with torch and vLLM takes 1.1 GiB, the least cache one; a cache for 131,072 tokens of 256 sequences would be
    # 32 GiB, the table of rotary angles for 10,485,760 positions 2.5.
    assert gib < 2.7


def test_answers_come_as_they_are_ready(opened):
    teacher = opened(max_sequences=2)
    places = [place for place, _ in teacher.stream(map(request, range(12)), Sampling(max_tokens=30))]
    assert sorted(places) == list(range(12))
    taken = []
    stream = teacher.stream((taken.append(i) or request(i) for i in range(10**9)), SAMPLING)  # a billion are not held
    next(stream)
    assert len(taken) <= module.WINDOW + 16
    stream.close()
    assert not teacher.engine.llm.llm_engine.has_unfinished_requests()  # what was under way is given up
    again = complete(teacher, [request(3)], SAMPLING)
    assert again[0].token_ids == complete(teacher, [request(2), request(3)], SAMPLING)[1].token_ids


def test_bfloat16_checkpoints_are_drawn_as_they_were_saved(make_model, tmp_path, next_tokens):
    path = make_model(tmp_path / "m", spread=0.2)
    AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16).save_pretrained(path)
    teacher = open_teacher(path, backend="vllm")
    drawn = complete(
        teacher, [Request((4, 9), seeds.seed63("bf16", i, shared=True)) for i in range(1000)], Sampling(max_tokens=1)
    )
    teacher.close()
    assert teacher.about.dtype == "bfloat16"
    exact = next_tokens(path, (4, 9))
    seen = np.bincount([one.token_ids[0] for one in drawn], minlength=256) / 1000
    # Total variation of 1,000 draws of 256 tokens from their law is about sqrt(256 / (2 pi 1000)) = .2; from a flat one .35 more.
    assert np.abs(seen - exact).sum() / 2 < 0.3 < np.abs(exact - 1 / 256).sum() / 2


def test_a_request_that_the_engine_does_not_take_is_refused_alone(opened):
    teacher = opened()
    wanted = [request(0), Request((4, 300), 5), request(1)]  # a token that the model does not have
    answers = dict(teacher.stream(iter(wanted), SAMPLING))
    assert "out of vocabulary" in answers[1].reason
    assert answers[0].token_ids == complete(teacher, [request(0)], SAMPLING)[0].token_ids
    with pytest.raises(WorkerError, match=r"request 1 of 3 was refused: .*vocabulary"):
        complete(teacher, wanted, SAMPLING)


@pytest.fixture
def next_tokens():
    """Exact probabilities of the next token, from one forward pass of transformers."""

    def probabilities(path, ids):
        with torch.inference_mode():
            logits = AutoModelForCausalLM.from_pretrained(path)(torch.tensor([list(ids)])).logits[0, -1]
        return torch.softmax(logits.double(), 0).numpy()

    return probabilities
