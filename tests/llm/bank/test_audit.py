"""The audit sees every seed trap of real engines on simulated draws, and lets independent draws pass."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from toys import ToyTeacher, deaf, dice

from uqkd import seeds
from uqkd.errors import DataError, IndependenceError, OptionError
from uqkd.llm.bank import Bank
from uqkd.llm.bank.auditing import UNKNOWN, Draws, audit, audit_draws, audit_rerun
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.prompts.prompts import Prompts
from uqkd.llm.requests import Completion
from uqkd.llm.sampling import Sampling

P, S, K, V, LENGTH = 100, 4, 4, 40, 3


def simulated(seed_of, *, prompts=P, students=S, k=K, sharpness=1.0, key="law"):
    """Three tokens of a teacher whose noise comes from seed_of(p, s, j) as vLLM's does: the largest of q/exponential."""
    logits = seeds.generator("tests", "audit", key, shared=True).standard_normal((prompts, LENGTH, V))
    law = special.softmax(sharpness * logits, axis=2)
    numbers = np.array([[seed_of(p, s, j) for s in range(students) for j in range(k)] for p in range(prompts)])
    noise = np.stack([[seeds.drawn_from(int(n)).exponential(size=(LENGTH, V)) for n in row] for row in numbers])
    tokens = (law[:, None] / noise).argmax(axis=3)  # (P, R, LENGTH)
    log_q = np.log(np.take_along_axis(law[:, None].repeat(tokens.shape[1], 1), tokens[..., None], axis=3))[..., 0]
    codes = (tokens * V ** np.arange(LENGTH)).sum(axis=2)
    return Draws(codes, log_q.sum(axis=2), tokens[..., 0], log_q[..., 0], numbers)


def keyed(*name):
    return lambda p, s, j: seeds.seed63("tests", "audit", *name, p, s, j, shared=True)


def different_seeds(draws):
    """The same draws as if their seeds were different: the audit must not need them to see what is wrong."""
    return Draws(draws.codes, draws.log_q, draws.first, draws.first_log_q, np.arange(draws.seeds.size).reshape(P, -1))


def judge(draws, *, students=S, k=K, identity=None):
    return audit_draws(draws, students=students, k=k, per_student=k, identity=identity)


TRAPS = {
    # response j of a request with n=k is seeded seed + j; students at consecutive seeds share k-1 of k
    "n=k and consecutive seeds": (lambda p, s, j: 1000 * p + 100 + s + j, "students . and ."),
    "every student gets the same draws": (lambda p, s, j: seeds.seed63("a", p, j, shared=True), "students 0 and 1"),
    "one seed for all prompts": (lambda p, s, j: seeds.seed63("b", s, j, shared=True), "neighbouring prompts"),
    "the engine's default, always seed 0": (lambda p, s, j: 0, "the same in"),
    "one seed for a prompt's responses": (
        lambda p, s, j: seeds.seed63("c", p, s, shared=True),
        "halves of the responses",
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_traps_are_seen_by_their_draws_alone(trap):
    seed_of, named = TRAPS[trap]
    with pytest.raises(IndependenceError, match=named) as caught:
        judge(different_seeds(simulated(seed_of)))
    assert "%" in str(caught.value)


@pytest.mark.parametrize("trap", TRAPS)
def test_traps_are_seen_by_their_seeds_too(trap):
    with pytest.raises(IndependenceError, match=r"responses have a seed that another has too: response \d+ to prompt"):
        judge(simulated(TRAPS[trap][0]))


def test_traps_are_seen_at_one_response_and_one_student():
    broadcast = simulated(lambda p, s, j: 77, students=1, k=1, prompts=P)
    with pytest.raises(IndependenceError, match="neighbouring prompts"):
        judge(different_seeds(broadcast), students=1, k=1)


@pytest.mark.parametrize("known", [True, False], ids=["by their probabilities", "by their places"])
def test_the_last_student_is_looked_at_too(known):
    alone = simulated(lambda p, s, j: seeds.seed63("d", p, s, j if s < S - 1 else 0, shared=True))
    copied = simulated(lambda p, s, j: seeds.seed63("e", p, min(s, S - 2), j, shared=True))
    for draws, who in (
        (alone, f"halves of the responses of student {S - 1}"),
        (copied, f"students {S - 2} and {S - 1}"),
    ):
        logs = (draws.log_q, draws.first_log_q) if known else (None, None)
        seen = Draws(draws.codes, logs[0], draws.first, logs[1], different_seeds(draws).seeds)
        with pytest.raises(IndependenceError, match=who):
            judge(seen)


def test_a_quarter_of_shared_responses_is_enough():
    def seed_of(p, s, j):
        return seeds.seed63("quarter", p, 0 if j == 0 else s, j, shared=True)

    with pytest.raises(IndependenceError, match=r"students \d and \d are the same in"):
        judge(different_seeds(simulated(seed_of)))


@pytest.mark.parametrize("sharpness", [50.0, 5.0, 1.0, 0.0])
def test_no_false_alarms(sharpness):
    """Each audit alarms with a probability below 1e-6; 100 of them, from sure teachers to uniform ones, below 1e-4."""
    for i in range(100):
        draws = simulated(keyed(sharpness, i), prompts=20, key=f"{sharpness}-{i}", sharpness=sharpness)
        assert judge(draws).tests == 2 + 2 * 6 + 4


def test_a_sure_teacher_repeats_itself_and_passes():
    draws = simulated(keyed("sure"), sharpness=50.0)
    assert (draws.codes[:, :K] == draws.codes[:, K : 2 * K]).mean() > 0.8
    judge(draws)


def test_temperature_zero_says_that_there_is_no_randomness():
    same = Draws(
        np.ones((P, 8), int), np.zeros((P, 8)), np.ones((P, 8), int), np.zeros((P, 8)), np.arange(8 * P).reshape(P, 8)
    )
    found = judge(same, students=2, k=4, identity=Sampling(temperature=0.0).columns())
    assert "temperature 0 or top_k 1" in str(found)
    assert found.tests == 0


def test_raw_logprobs_are_used_only_where_they_are_those_of_the_draws():
    draws = simulated(keyed("raw"))
    plain = {**Sampling().columns(), "logprobs": "raw"}
    assert judge(draws, identity=plain).tests == 18
    warm = judge(draws, identity={**Sampling(temperature=0.7).columns(), "logprobs": "raw"})
    assert warm.tests == 1 + 6 * 3 + 4  # by places: pairs of students at three shifts, and halves
    assert warm.notes == (
        "logprobs are raw, before temperature and cuts: repeats between students were judged by their places alone",
    )
    with pytest.raises(IndependenceError, match="neighbouring prompts"):
        judge(
            different_seeds(simulated(TRAPS["one seed for all prompts"][0], sharpness=0.5)),
            identity={**Sampling(temperature=0.7).columns(), "logprobs": "raw"},
        )


def bare(draws):
    """The same draws as somebody's samples: no probabilities, no seeds."""
    return Draws(draws.codes, None, draws.first, None, None)


SEEN_BY_PLACES = [trap for trap in TRAPS if "seed 0" not in trap]


@pytest.mark.parametrize("trap", SEEN_BY_PLACES)
def test_traps_are_seen_without_seeds_and_probabilities(trap):
    seed_of, named = TRAPS[trap]
    with pytest.raises(IndependenceError, match=named):
        judge(bare(simulated(seed_of, sharpness=0.5)), identity={"seeds": "unknown"})


def test_what_cannot_be_judged_without_seeds_and_probabilities_is_said():
    by_places = "probabilities are unknown: repeats between students were judged by their places alone"
    good = judge(bare(simulated(keyed("bare"))), identity={"seeds": "unknown", "temperature": None})
    assert good.notes == (UNKNOWN, by_places)
    assert good.tests == 1 + 6 * 3 + 4
    same = judge(bare(simulated(TRAPS["the engine's default, always seed 0"][0])), identity={"seeds": "unknown"})
    assert "a sure teacher and draws that share one seed look alike" in str(same)
    pair = judge(bare(simulated(keyed("pair"), students=2, k=1)), students=2, k=1)
    assert "two responses to each prompt: whether students repeat each other could not be judged" in str(pair)
    one = judge(bare(simulated(keyed("one"), students=1, k=1)), students=1, k=1)
    assert (one.tests, str(one)) == (0, f"audit: no test of independence; {UNKNOWN}; {by_places}")


@pytest.mark.parametrize("sharpness", [50.0, 5.0, 1.0, 0.0])
def test_no_false_alarms_without_probabilities(sharpness):
    """As above: 100 audits that alarm with a probability below 1e-6 each, from sure teachers to uniform ones."""
    for i in range(100):
        draws = simulated(keyed(sharpness, i), prompts=20, key=f"{sharpness}-{i}", sharpness=sharpness)
        assert judge(bare(draws), identity={"seeds": "unknown"}).tests == 1 + 6 * 3 + 4


def text_bank(place, answer, *, prompts, k, name="llm"):
    """A bank of a teacher that gives text only, without seeds and probabilities."""

    def said(request):
        return Completion(None, answer(request.seed), None, "stop", tokens=2)

    teacher = ToyTeacher(said, seeds="unknown", logprobs="none")
    return fill_bank(teacher, prompts, k, bank=Bank(place), sampling=Sampling(), key=(name,))


def test_a_bank_of_texts_is_audited_by_its_words(tmp_path):
    prompts = some_prompts(60)

    def throws(seed):
        return " and ".join(map(str, seeds.drawn_from(seed).integers(20, size=2)))

    def ignoring_seeds(noise):
        turn = iter(range(10**6))
        return lambda _seed: throws(noise(next(turn)))

    def made(name, answer):
        return text_bank(tmp_path / name, answer, prompts=prompts, k=8, name=name)

    honest = made("honest", throws)
    found = audit(honest, prompts, students=2, k=4, per_student=4)
    assert found.tests == 1 + 3 + 2
    assert found.notes[0] == UNKNOWN
    assert audit_rerun(honest, made("second", throws), prompts, k=8).tests == 1
    with pytest.raises(IndependenceError, match="neighbouring prompts"):
        audit(made("one for all prompts", ignoring_seeds(lambda i: i % 8)), prompts, students=2, k=4, per_student=4)
    with pytest.raises(IndependenceError, match=r"students 0 and 1 are the same in 240 of 240 draws \(100.0%\)"):
        audit(made("copied", ignoring_seeds(seed_of_place)), prompts, students=2, k=4, per_student=4)
    once, again = (made(name, ignoring_seeds(lambda i: i)) for name in ("once", "again"))
    with pytest.raises(IndependenceError, match=r"the banks .* are the same in 480 of 480 draws \(100.0%\)"):
        audit_rerun(once, again, prompts, k=8)


def seed_of_place(place):
    """The responses 4 ... 7 to each prompt have the seeds of 0 ... 3."""
    prompt, response = divmod(place, 8)
    return 4 * prompt + response % 4


def some_prompts(count=12):
    return Prompts(tuple(f"q{i}" for i in range(count)), tuple(f"w{i} w{i + 3}" for i in range(count)))


@pytest.fixture
def real_bank(transformers_teacher, tmp_path):
    def make(name, *key, k=4):
        options = {"sampling": Sampling(max_tokens=6), "key": key or ("llm", "bank")}
        return fill_bank(transformers_teacher, some_prompts(), k, bank=Bank(tmp_path / name), **options)

    return make


def test_a_real_bank_passes_and_says_what_it_lacks(real_bank):
    bank = real_bank("a")
    assert audit(bank, some_prompts(), students=2, k=2, per_student=2).tests == 2 + 2 + 2
    with pytest.raises(DataError, match="lacks 24 of 72"):
        audit(bank, some_prompts(), students=3, k=2, per_student=2)


def test_reruns_must_not_repeat_each_other(real_bank):
    first, other = real_bank("a"), real_bank("b", "llm", "second")
    assert audit_rerun(first, other, some_prompts(), k=4).tests == 2
    with pytest.raises(IndependenceError, match="48 of 48 seeds are the same in both banks"):
        audit_rerun(first, real_bank("c"), some_prompts(), k=4)


def test_reruns_of_an_engine_that_ignores_seeds_are_seen(transformers_teacher, tmp_path):
    def same_each_time(place):
        return seeds.seed63("deaf", place, shared=True)  # as an engine with its default seed in each new process

    options = {"sampling": Sampling(max_tokens=6)}
    banks = [
        fill_bank(
            deaf(transformers_teacher, same_each_time),
            some_prompts(),
            4,
            bank=Bank(tmp_path / key),
            key=(key,),
            **options,
        )
        for key in ("first", "second")
    ]
    with pytest.raises(IndependenceError, match=r"the banks .* are the same in 48 of 48 draws \(100.0%\)"):
        audit_rerun(*banks, some_prompts(), k=4)


@pytest.mark.parametrize("name", ["revision", "dtype", "logprobs"])
def test_reruns_of_another_teacher_are_not_compared(tmp_path, name):
    options = {"k": 1, "sampling": Sampling(max_tokens=4)}
    one, two = (
        fill_bank(dice(**about), some_prompts(), bank=Bank(tmp_path / f"{key}"), key=(key,), **options)
        for key, about in enumerate(({}, {name: "another"}))
    )
    with pytest.raises(OptionError, match=f"these differ in {name}"):
        audit_rerun(one, two, some_prompts(), k=1)


def test_reruns_of_other_sampling_are_not_compared(real_bank, transformers_teacher, tmp_path):
    warm = Sampling(max_tokens=6, temperature=2.0)
    other = fill_bank(
        transformers_teacher,
        some_prompts(),
        1,
        bank=Bank(tmp_path / "warm"),
        sampling=warm,
        key=("x",),
    )
    with pytest.raises(OptionError, match="these differ in temperature"):
        audit_rerun(real_bank("a"), other, some_prompts(), k=1)
