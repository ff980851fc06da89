"""Families of models as teachers: each engine draws what the model says, or refuses before any work in one line.

The truth is one plain forward pass of transformers' own class: no cache, no padding, no neighbours, attention written out.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from families import CASES, FAMILIES, PARTS, check_docs, save_family
from numpy.typing import NDArray
from scipy import stats

from uqkd import seeds
from uqkd.errors import OptionError
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import Request, complete, open_teacher
from uqkd.llm.teachers.backends.vllm.families import SERVED

ENGINES = ("vllm", "transformers")
# Lengths 1 to 14 in one batch; beyond the sliding window of 8 tokens. Token 3 is the padding of the tokenizer.
PROMPTS = ((4, 9), (20,), (7, 8, 30, 31, 5, 100, 44, 12, 9, 9, 31, 77, 80, 81), (100, 3, 102))
DRAWS = 2000  # 500 of each prompt
CELLS = 20  # of equal probability: 100 draws expected in each
LONG = 24  # tokens of the responses whose log-probabilities are followed to their end
EOS = 2
# Of all families, engines and statistics together at most 1e-6: a false alarm once in a million choices of seeds.
ALPHA = 1e-6 / (len(FAMILIES) * len(ENGINES) * 2)
# float32: a logit goes through some 64 roundings in two layers and the head, each 6e-8 of sums up to 10, and its log-probability
# through as many of the largest one: 2 * 64 * 6e-8 * 10 = 8e-5. A wrong position, neighbour or state changes it by some .1.
BOUND = 8e-5


class Exact:
    """A model's own probabilities."""

    def __init__(self, path: Path) -> None:
        from transformers import AutoModelForCausalLM

        # Written out: the default attention of transformers leaves out what it does not know (the cap of Gemma 2).
        self._model = AutoModelForCausalLM.from_pretrained(
            path, dtype=torch.float32, attn_implementation="eager"
        ).eval()

    def log_probabilities(self, rows: list[list[int]]) -> NDArray[np.float64]:
        """(n, L, V) after each token of rows of one length."""
        inputs = torch.tensor(rows)
        with torch.inference_mode():
            logits = self._model(inputs, attention_mask=torch.ones_like(inputs), use_cache=False).logits
        return torch.log_softmax(logits.double(), -1).numpy()


@dataclass
class Seen:
    """What one engine drew from one family, beside what the model says; or the line that it refused with."""

    refused: str = ""
    ranks: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))  # of the first and the second token
    forgetful: NDArray[np.float64] = field(
        default_factory=lambda: np.zeros(0)
    )  # the second's, if the first were forgotten
    firsts: tuple[NDArray[np.int64], NDArray[np.float64]] = (np.zeros(0, np.int64), np.zeros(0))  # seen, exact
    errors: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))  # of all log-probabilities


def rank(logs: NDArray[np.float64], token: int, uniform: float) -> float:
    """Where a token lies when the most probable come first: uniform on [0, 1) for draws from these probabilities."""
    mass = np.exp(logs)
    before = mass[logs > logs[token]].sum()
    return float(before + uniform * mass[token])


def fit(ranks: NDArray[np.float64]) -> float:
    """p-value of "these are uniform on [0, 1)"."""
    return float(stats.chisquare(np.histogram(ranks, CELLS, (0.0, 1.0 + 1e-9))[0]).pvalue)


def asked(engine: str, count: int, name: str) -> list[Request]:
    return [
        Request(PROMPTS[i % len(PROMPTS)], seeds.seed63("tests", "families", engine, name, i, shared=True))
        for i in range(count)
    ]


def drawn(family: str, engine: str, path: Path) -> Seen:
    """Open, draw, close, and hold it against the model."""
    device = "cpu" if engine == "transformers" else "auto"
    try:
        teacher = open_teacher(path, backend=engine, dtype="float32", device=device)
    except OptionError as refusal:
        return Seen(str(refusal))
    short, long = asked(engine, DRAWS, "short"), asked(engine, 2 * len(PROMPTS), "long")
    answers = complete(teacher, short, Sampling(max_tokens=2)), complete(teacher, long, Sampling(max_tokens=LONG))
    teacher.close()
    exact, jitter = Exact(path), seeds.generator("tests", "families", family, engine, shared=True)
    errors, ranks, forgetful = [], [], []
    after = {ids: exact.log_probabilities([list(ids)])[0, -1] for ids in PROMPTS}
    then = {
        ids: exact.log_probabilities([[*ids, token] for token in range(256)])[:, -1] for ids in PROMPTS
    }  # equal lengths: no padding
    for request, answer in zip(short, answers[0], strict=True):
        ids, (first, *rest) = request.prompt_token_ids, answer.token_ids
        errors.append(answer.token_logprobs[0] - after[ids][first])
        if first == EOS:
            assert (rest, answer.finish_reason) == ([], "stop")
            continue
        uniform = jitter.random(2)
        ranks.append((rank(after[ids], first, uniform[0]), rank(then[ids][first], rest[0], uniform[1])))
        forgetful.append(rank(after[ids], rest[0], uniform[1]))
        errors.append(answer.token_logprobs[1] - then[ids][first][rest[0]])
    for request, answer in zip(long, answers[1], strict=True):
        ids = request.prompt_token_ids
        logs = exact.log_probabilities([[*ids, *answer.token_ids]])[0, len(ids) - 1 : -1]
        errors.extend(answer.token_logprobs - logs[np.arange(len(answer.token_ids)), list(answer.token_ids)])
    of_one = [answer.token_ids[0] for answer in answers[0][:: len(PROMPTS)]]
    firsts = np.bincount(of_one, minlength=256), np.exp(after[PROMPTS[0]])
    gc.collect()
    return Seen("", np.array(ranks), np.array(forgetful), firsts, np.abs(errors))


@pytest.fixture(scope="module")
def outcome(make_model, tmp_path_factory) -> Callable[[str, str], Seen]:
    """What each engine did with each family; every engine is started once for it."""
    folder, known = tmp_path_factory.mktemp("families"), {}

    def find(family: str, engine: str) -> Seen:
        if (family, engine) not in known:
            path = folder / family.replace(" ", "-")
            if not path.is_dir():
                save_family(family, path, make_model)
            with warnings.catch_warnings():  # of architectures' own code, which a test cannot mend
                warnings.simplefilter("ignore")
                known[family, engine] = drawn(family, engine, path)
        return known[family, engine]

    return find


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("family", CASES)
def test_each_family_draws_what_its_model_says_or_is_refused_in_one_line(outcome, family, engine):
    seen = outcome(family, engine)
    if seen.refused:
        assert engine == "vllm"  # transformers draws from all of them
        assert "\n" not in seen.refused
        assert seen.refused.endswith("use backend='transformers'.")
        return
    assert seen.errors.max() < BOUND
    first, second = seen.ranks.T
    assert len(first) > 0.8 * DRAWS  # the others ended at once
    assert fit(second) > ALPHA
    assert fit(seen.forgetful) < ALPHA  # a cache without the first token
    assert fit(first**1.3) < ALPHA  # more probable tokens too often
    counts, exact = seen.firsts
    frequent = (
        exact * counts.sum() >= 5.0
    )  # below an expected count of five chi-square does not hold; those are one cell
    observed, expected = (
        np.append(values[frequent], values[~frequent].sum()) for values in (counts, exact * counts.sum())
    )
    assert len(observed) > 5
    assert stats.chisquare(observed, expected).pvalue > ALPHA
    sharper = exact**2 / (exact**2).sum()  # the mutant: temperature one half
    sharper = np.append(sharper[frequent], sharper[~frequent].sum()) * counts.sum()
    assert stats.chisquare(observed, sharper).pvalue < ALPHA


def table(outcome) -> str:
    """The part of docs/families.md that is about teachers, as this run makes it."""
    lines = [
        PARTS[0], "",
        "Made by `tests/llm/teachers/test_families.py`, which saves a tiny model of every family and draws from it. *Passes*: the",
        "frequencies of first and second tokens and all log-probabilities are those of one plain forward pass, whatever was",
        "batched together, and nothing of the model's `generation_config.json` is followed. Otherwise the line that is printed",
        "before any work. Engines: vLLM on a CPU, transformers.", "",
        "| family | architecture | vLLM | transformers |", "|---|---|---|---|",
    ]  # fmt: skip
    for family, (stem, _) in FAMILIES.items():
        cells = [outcome(family, engine).refused or "passes" for engine in ENGINES]
        lines.append(f"| {family} | `{architecture(stem)}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def architecture(stem: str) -> str:
    return "GPT2LMHeadModel" if stem == "GPT2" else f"{stem}ForCausalLM"


@pytest.mark.wide
@pytest.mark.engine
def test_the_table_in_the_docs_is_what_is_seen(outcome):
    check_docs(table(outcome))


@pytest.mark.engine
@pytest.mark.parametrize("family", CASES)
def test_the_architectures_that_vllm_is_not_asked_about_are_those_that_pass(outcome, family):
    passes, served = not outcome(family, "vllm").refused, architecture(FAMILIES[family][0]) in SERVED
    assert passes == served or (passes and torch.cuda.is_available())


def test_every_architecture_that_vllm_is_not_asked_about_is_of_a_family_here():
    assert {architecture(stem) for stem, _ in FAMILIES.values()} >= SERVED


@pytest.mark.engine
def test_vllm_leaves_the_classes_of_transformers_as_they_were(outcome, make_model, tmp_path):
    """It changes those that it runs itself; loading such a model failed afterwards."""
    from transformers import AutoModelForCausalLM

    assert not outcome("SmolLM3", "vllm").refused
    model = AutoModelForCausalLM.from_pretrained(save_family("SmolLM3", tmp_path / "m", make_model))
    assert "vllm" not in repr(type(model.model).__mro__)


def test_students_of_a_family_with_capped_attention_compute_the_cap(make_model, tmp_path):
    """The default attention of transformers leaves it out: a student would begin as another model than it is."""
    from uqkd.llm.students.networks.initializer import Initializer

    path = save_family("Gemma 2", tmp_path / "m", make_model)
    assert Initializer.of(path).template.model.config._attn_implementation == "eager"
