"""Seeding an engine: the study's statistics on draws of a known law, and what the real engine shares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from uqkd import seeds
from uqkd.estimators import expected_share_variances, share_variances
from uqkd.llm.responses import Prompts, Response
from uqkd.llm.sampling import Sampling
from uqkd.llm.synthetic.questions import answer_ids, first_words
from uqkd.run import load_study

STUDY = load_study("llm_seed_traps", folder=Path(__file__).parents[2] / "studies").module
PROMPTS, STUDENTS, K = 12, 4, 4
WORDS = np.array([[p % 3, 3 + p % 2, 5, 6] for p in range(PROMPTS)])  # prompts share the words that answers begin with
LAW = np.array([[0.5, 0.3, 0.19, 0.01] if p % 2 else [0.2, 0.45, 0.3, 0.05] for p in range(PROMPTS)])


def answers(noise):
    """The word whose exponential noise, divided by its probability, is least: how vLLM draws. Noise (..., P, words)."""
    by_class = np.take_along_axis(noise, np.broadcast_to(WORDS, (*noise.shape[:-1], WORDS.shape[1])), axis=-1)
    return (by_class / LAW).argmin(axis=-1)


def simulated(seeding, experiments):
    """Classes (E, S, P, k) as an engine gives them with this seeding."""
    rng = seeds.generator("tests", "seed traps", seeding, shared=True)
    words = int(WORDS.max()) + 1
    if seeding == "engine default":
        return np.repeat(simulated("keyed", experiments)[:, :1], 2, axis=1)
    if seeding == "keyed":
        return np.moveaxis(answers(rng.exponential(size=(experiments, STUDENTS, K, PROMPTS, words))), 2, 3)
    if seeding == "broadcast":
        noise = rng.exponential(size=(experiments, STUDENTS, K, 1, words))
    else:
        stream = rng.exponential(size=(experiments, STUDENTS + K - 1, 1, words))
        noise = np.stack([stream[:, s : s + K] for s in range(STUDENTS)], axis=1)
    return np.moveaxis(answers(np.broadcast_to(noise, (*noise.shape[:3], PROMPTS, words))), 2, 3)


@pytest.fixture(scope="module")
def table():
    sizes = {"keyed": 400, "consecutive": 60, "broadcast": 60, "engine default": 60}
    return STUDY.compared({name: simulated(name, count) for name, count in sizes.items()}, LAW, WORDS)


def test_keyed_seeds_pass_and_the_others_are_rejected(table):
    rejected = table.groupby("seeding")["rejected"].any()
    assert rejected.to_dict() == {"keyed": False, "consecutive": True, "broadcast": True, "engine default": True}
    keyed = table[table["seeding"] == "keyed"]
    # 3.9 standard errors: two ratios at a chance of 1e-4 each.
    assert ((keyed["simulated"] - 1.0).abs() < 3.9 * keyed["standard_error"]).all()
    assert (keyed["standard_error"] < 0.03).all()
    assert (keyed["statement"] == "T4").all()
    assert (table.loc[table["seeding"] != "keyed", "statement"] == "").all()


def test_each_seeding_fails_in_its_own_way(table):
    rows = table.set_index(["seeding", "quantity"])
    assert not rows.loc[("broadcast", "per prompt"), "rejected"]  # one prompt alone does not show it
    assert rows.loc[("broadcast", "prompt average"), "simulated"] > 1.5
    assert (rows.loc["engine default", "simulated"] == 0.0).all()
    assert (rows.loc["engine default", "z"] == -np.inf).all()
    known = rows["by construction"].dropna()
    seen, error = rows.loc[known.index, "simulated"], rows.loc[known.index, "standard_error"]
    # 4.2 standard errors: six ratios at 3e-5 each, with room for the skew of a mean of 60 variances.
    assert ((seen - known).abs() <= 4.2 * error).all()


@pytest.mark.parametrize(
    ("students", "k", "exact"),
    [(2, 4, 1 / 4), (2, 1, 1.0), (3, 2, 1 - (2 * 1 / 2) / 3), (4, 4, 1 - (3 * 0.75 + 2 * 0.5 + 0.25) / 6)],
)
def test_consecutive_seeds_by_hand(students, k, exact):
    assert STUDY.understood("consecutive", "per prompt", students, k) == pytest.approx(exact, rel=1e-12)


def test_variances_by_hand():
    """Two students, two prompts, k = 1: they differ at the first prompt only, where the words differ too."""
    classes = np.array([[[[0], [1]], [[1], [1]]]])
    words = np.array([[0, 1, 2], [0, 1, 2]])
    seen = share_variances(classes, words)
    assert seen.per_prompt == pytest.approx([0.5])  # (½ + ½) at one of two prompts
    assert seen.prompt_average == pytest.approx([0.25])  # shares (½, ½) and (0, 1): variance ⅛ of each word
    same_word = np.array([[0, 0, 2], [0, 1, 2]])
    assert share_variances(classes, same_word).prompt_average == pytest.approx([0.0])


def test_expected_variances_by_hand():
    p, words = np.array([[0.5, 0.5, 0.0], [0.5, 0.25, 0.25]]), np.array([[0, 1, 2], [0, 0, 2]])
    exact = expected_share_variances(p, words, 2)
    assert exact.per_prompt == pytest.approx((0.5 + 0.625) / 2 / 2)
    assert exact.prompt_average == pytest.approx((0.5 + 0.375) / 2 / (2 * 2))  # the second prompt's words: ¾ and ¼


def test_missing_draws_are_refused():
    import pandas as pd

    rows = [(0, 0, 0, 0, 1, "keyed"), (0, 1, 0, 1, 1, "keyed")]
    table = pd.DataFrame(rows, columns=["experiment", "student", "prompt", "response", "answer", "seeding"])
    with pytest.raises(ValueError, match="2 of 4 rows are missing"):
        STUDY.counted(table)


def test_first_words_and_listed_answers():
    prompts = Prompts(("a", "b"), ("x", "y"), (("red fox", "blue"), ("red",)))
    assert first_words(prompts).tolist() == [[1, 0, 2], [1, 2, 2]]

    class Encoder:
        stop_ids = (9,)

        @staticmethod
        def response(text):
            return Response(tuple(len(word) for word in text.split()), text)

    assert answer_ids(Encoder, ("red fox", "blue")) == {(3, 3, 9): 0, (4, 9): 1}


def test_without_vllm_only_keyed_seeds_are_planned():
    options = STUDY.Options(backend="transformers", keyed=5)
    planned = STUDY.cells(options)
    assert [cell["experiments"] for cell in planned] == [[("keyed", 3)], [("keyed", 2)]]
    real = STUDY.cells(STUDY.Options())
    assert all(cell["experiments"][0][0] == "engine default" for cell in real)  # a fresh engine: nothing drawn before


def test_the_engine_shares_draws_as_documented(vllm_teacher):
    """Response j of a request is seeded seed + j; one seed for many prompts repeats the noise; no seed goes on from zero."""
    prompt, sampling = (4, 9), Sampling(max_tokens=4)

    def drawn(prompts, given, n):
        return [
            [one.token_ids for one in several]
            for several in vllm_teacher.complete_with(prompts, sampling, n=n, seeds=given)
        ]

    first, second = drawn([prompt] * 2, [100, 101], 4)
    assert len(set(first)) == 4
    assert first[1:] == second[:-1]
    assert first[0] != second[3]
    apart = drawn([prompt] * 2, [100, 5_000], 4)
    assert not set(apart[0]) & set(apart[1])
    # One seed for many prompts is one noise: the least of it wins at most of them, whatever the prompt.
    prompts = [(4 + i, 50 + i) for i in range(40)]
    apart_seeds = [seeds.seed63("tests", "seed traps", "engine", i, shared=True) for i in range(40)]
    shared, own = (len({answer[0][0] for answer in drawn(prompts, given, 1)}) for given in ([7] * 40, apart_seeds))
    assert shared < own / 2
    # Without a seed draws go on from the engine's own state, which no user's global state changes.
    unseeded = [drawn([prompt] * 10, [None] * 10, 1) for _ in range(2)]
    assert unseeded[0] != unseeded[1]
