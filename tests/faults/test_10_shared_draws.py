"""Fault 10: draws that share their noise stop a run, with the real engine's seed traps and through the real command."""

from __future__ import annotations

import json

import numpy as np
import pytest

from uqkd import seeds
from uqkd.cli import main
from uqkd.errors import IndependenceError
from uqkd.llm.bank.auditing import Draws, audit_draws
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import Request, complete

P, S, K = 40, 4, 4


def engine_of(teacher):
    """vLLM itself, which starts when it is first asked."""
    complete(teacher, [Request((4, 10), 1)], Sampling(max_tokens=6))
    return teacher.engine.llm


def drawn_by_vllm(engine, seed_of, *, n):
    """Draws of a real engine, with one request for n responses and the seed that seed_of(p, s, j) gives."""
    from vllm import SamplingParams
    from vllm.inputs import TokensPrompt

    requests = [(p, s, j) for p in range(P) for s in range(S) for j in range(0, K, n)]
    prompts = [TokensPrompt(prompt_token_ids=[4 + p, 10, 5 + p]) for p, _, _ in requests]
    wanted = [
        SamplingParams(n=n, seed=seed_of(*one), temperature=1.0, max_tokens=6, logprobs=0, ignore_eos=True)
        for one in requests
    ]
    outputs = [one for output in engine.generate(prompts, wanted, use_tqdm=False) for one in output.outputs]
    ids = np.array([one.token_ids for one in outputs]).reshape(P, S * K, 6)
    logs = np.array([[step[t].logprob for step, t in zip(one.logprobs, one.token_ids, strict=True)] for one in outputs])
    logs = logs.reshape(P, S * K, 6)
    codes = (ids * 256 ** np.arange(6)).sum(axis=2)
    return Draws(codes, logs.sum(axis=2), ids[..., 0], logs[..., 0], np.arange(P * S * K).reshape(P, -1))


TRAPS = {
    "n=4 and consecutive seeds": (lambda p, s, j: 1000 * p + s, 4, r"students \d and \d are the same"),
    "one seed for all prompts": (lambda p, s, j: 100 * s + j, 1, "neighbouring prompts"),
    "no seed, a fixed default": (lambda p, s, j: 0, 1, "are the same in"),
}


@pytest.mark.engine
@pytest.mark.parametrize("trap", TRAPS)
def test_traps_of_the_real_engine(vllm_teacher, trap):
    seed_of, n, named = TRAPS[trap]
    draws = drawn_by_vllm(engine_of(vllm_teacher), seed_of, n=n)
    with pytest.raises(IndependenceError, match=named):
        audit_draws(draws, students=S, k=K, per_student=K)


@pytest.mark.engine
def test_keyed_draws_of_the_real_engine_pass(vllm_teacher):
    def keyed(p, s, j):
        return seeds.seed63("tests", "fault 10", p, s, j, shared=True)

    assert audit_draws(drawn_by_vllm(engine_of(vllm_teacher), keyed, n=1), students=S, k=K, per_student=K).tests == 18


def test_the_command_stops(tiny, tmp_path, monkeypatch, capsys):
    """An engine that ignores the seed of a request: the responses stay, the command ends with an error."""
    from uqkd.llm.teachers.backends.transformers import TransformersTeacher

    honest = TransformersTeacher.stream

    def deaf(self, requests, sampling):
        return honest(self, (Request(one.prompt_token_ids, 7) for one in requests), sampling)

    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("\n".join(json.dumps({"prompt": f"w{i} w{i + 1}"}) for i in range(20)))
    arguments = [
        "sample", "--teacher", str(tiny), "--prompts", str(prompts), "--bank", str(tmp_path / "bank"), "--backend",
        "transformers", "--k", "2", "--students", "2", "--max-tokens", "16", "--device", "cpu",
    ]  # fmt: skip
    monkeypatch.setattr(TransformersTeacher, "stream", deaf)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "are the same in 40 of 40 draws (100.0%)" in capsys.readouterr().err.splitlines()[-1]
    monkeypatch.setattr(TransformersTeacher, "stream", honest)
    arguments[arguments.index(str(tmp_path / "bank"))] = str(tmp_path / "honest")
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
