"""The bank: top-up, resume and order change nothing; nothing is mixed; what it holds loads as it is."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from toys import ToyEncoder, ToyTeacher, dice, throw

from uqkd import seeds
from uqkd.errors import DataError, OptionError, PreflightError, ProvenanceError
from uqkd.llm.bank import STUDY, Bank, filling
from uqkd.llm.bank.filling import KEY, fill_bank
from uqkd.llm.bank.inventory import without_gap
from uqkd.llm.bank.left_out import LeftOut
from uqkd.llm.prompts.prompts import Prompts
from uqkd.llm.requests import Completion, Refusal
from uqkd.llm.sampling import Sampling
from uqkd.store import Inputs, durable
from uqkd.store.durable import LocalFolder

SAMPLING = Sampling(max_tokens=4)
EXACT = ["prompt_id", "response_index", "seed", "token_ids", "text", "finish_reason"]


def some_prompts(count):
    return Prompts(tuple(f"q{i}" for i in range(count)), tuple(f"question {i}" for i in range(count)))


@pytest.fixture
def made(tmp_path):
    """Make a bank in steps of k, in a new folder."""
    number = itertools.count()

    def make(*steps, teacher=None, prompts=None, **options):
        bank = Bank(tmp_path / f"bank-{next(number)}")
        for k in steps:
            fill_bank(teacher or dice(), prompts or some_prompts(6), k, bank=bank, sampling=SAMPLING, **options)
        return bank

    return make


def test_top_up_draws_only_the_difference_and_ends_the_same(made):
    teacher = dice()
    stepwise = made(2, 5, teacher=teacher)
    assert teacher.asked == [12, 18]
    at_once = made(5)
    assert stepwise.fingerprint == at_once.fingerprint
    pd.testing.assert_frame_equal(stepwise.table(some_prompts(6)), at_once.table(some_prompts(6)))
    made_again = fill_bank(teacher, some_prompts(6), 5, bank=stepwise, sampling=SAMPLING)
    assert teacher.asked == [12, 18]
    assert made_again.rows == 30


def test_more_prompts_draw_only_theirs(made):
    teacher = dice()
    bank = made(3, teacher=teacher)
    fill_bank(teacher, some_prompts(8), 3, bank=bank, sampling=SAMPLING)
    assert teacher.asked == [18, 6]
    assert bank.fingerprint == made(3, prompts=some_prompts(8)).fingerprint


def test_chunk_size_changes_nothing(made):
    assert made(4, chunk=1).fingerprint == made(4, chunk=7).fingerprint == made(4).fingerprint


def test_fingerprint_sees_each_change(made):
    base = made(2)
    others = [
        made(3),
        made(2, key=("llm", "other")),
        made(2, prompts=some_prompts(7)),
        made(2, teacher=dice(revision="rev-2")),
    ]
    assert len({bank.fingerprint for bank in (base, *others)}) == 5
    assert base.fingerprint == made(2).fingerprint


def test_seeds_are_those_of_the_key(made):
    table = made(2).table(some_prompts(6))
    assert table["seed"].tolist() == [
        seeds.seed63(*KEY, "rev-1", f"q{i}", j, shared=True) for i in range(6) for j in range(2)
    ]
    assert table["seed"].nunique() == 12


def test_a_row_names_no_seed_where_the_teacher_was_sent_none(made):
    assert made(2, teacher=dice(seeds="unknown")).table()["seed"].isna().all()
    assert made(2).table()["seed"].notna().all()


def test_rows_load_into_pandas_and_datasets_as_they_are(made, tmp_path):
    import datasets

    bank = made(3)
    files = sorted((tmp_path / "bank-0" / "units" / "bank").glob("*.parquet"))
    frame = pd.concat(map(pd.read_parquet, files))
    columns = [
        "prompt_id", "prompt", "messages", "prompt_hash", "response_index", "seed", "token_ids", "text", "token_logprobs",
        "tokens", "finish_reason", "flags",
        "teacher", "revision", "backend", "engine_version", "dtype", "logprobs", "temperature", "top_p", "top_k", "min_p",
        "repetition_penalty", "max_tokens",
    ]  # fmt: skip
    assert list(frame.columns) == columns
    assert len(frame) == bank.rows == 18
    names = [str(file) for file in files]
    loaded = datasets.load_dataset("parquet", data_files=names, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.column_names == columns
    assert sorted(zip(loaded["prompt_id"], loaded["response_index"], strict=True)) == [
        (f"q{i}", j) for i in range(6) for j in range(3)
    ]


def test_a_chunk_of_empty_responses_has_the_same_column_types(made, tmp_path):
    made(1, teacher=dice(lambda _request: Completion((), "", (), "stop")))
    made(1)
    schemas = [pq.read_schema(file) for file in tmp_path.glob("bank-*/units/bank/*.parquet")]
    assert len(schemas) == 2
    assert schemas[0].remove_metadata() == schemas[1].remove_metadata()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (dice(revision="rev-2"), "revision: 'rev-1' there, 'rev-2' now"),
        (dice(dtype="bfloat16"), "dtype: 'float64' there, 'bfloat16' now"),
        (dice(engine_version="2"), "engine_version: '1' there, '2' now"),
        (dice(chat=True), "chat: False there, True now"),
        (dice(backend="server"), "backend: 'toy' there, 'server' now"),
        (dice(logprobs="raw"), "logprobs: 'processed' there, 'raw' now"),
        (Sampling(max_tokens=4, temperature=0.7), "temperature: 1.0 there, 0.7 now"),
        (("llm", "again"), "key: ['llm', 'bank'] there, ['llm', 'again'] now"),
    ],
)
def test_another_teacher_sampling_or_key_is_refused_and_nothing_is_touched(made, changed, named):
    bank = made(2)
    before = bank.fingerprint
    options = {"sampling": SAMPLING, "key": KEY}
    teacher = changed if isinstance(changed, ToyTeacher) else dice()
    if not isinstance(changed, ToyTeacher):
        options["sampling" if isinstance(changed, Sampling) else "key"] = changed
    with pytest.raises(ProvenanceError) as caught:
        fill_bank(teacher, some_prompts(6), 3, bank=bank, **options)
    assert named in str(caught.value)
    assert (bank.fingerprint, teacher.asked) == (before, [])


def test_other_tokens_that_end_a_response_are_another_way_of_drawing(made):
    longer = dice(encoder=ToyEncoder((2, 3)))
    with pytest.raises(ProvenanceError, match=r"stop_ids: \[2\] there, \[2, 3\] now"):
        fill_bank(longer, some_prompts(6), 2, bank=made(1), sampling=SAMPLING)


def test_a_folder_of_another_name_is_the_same_teacher(made):
    bank = made(1)
    fill_bank(dice(name="renamed"), some_prompts(6), 2, bank=bank, sampling=SAMPLING)
    assert bank.rows == 12


def test_a_prompt_id_that_stands_for_another_text_is_refused(made):
    bank = made(1)
    with pytest.raises(ProvenanceError, match=r"prompt id 'q0' stands for 'question 0' in the bank .* 'another' now"):
        fill_bank(dice(), Prompts(("q0",), ("another",)), 1, bank=bank, sampling=SAMPLING)


def test_students_get_disjoint_responses_nested_in_k(made):
    prompts, bank = some_prompts(6), made(8)
    four = bank.responses(prompts, students=2, k=4, per_student=4)
    two = bank.responses(prompts, students=2, k=2, per_student=4)
    table = bank.table(prompts)
    texts = table.set_index(["prompt_id", "response_index"])["text"]
    for s, p, j in itertools.product(range(2), range(6), range(4)):
        assert four.texts(s, p)[j] == texts[f"q{p}", s * 4 + j]
    assert two.index.shape == (2, 6, 2)
    assert [two.texts(s, p) for s in range(2) for p in range(6)] == [
        four.texts(s, p)[:2] for s in range(2) for p in range(6)
    ]
    assert all(len(one.token_ids) == 3 and one.finished for one in four.distinct)  # without EOS
    assert four.index.ravel()[0] == 0  # numbered as they first appear, whatever the order of the files
    shuffled = made(8, chunk=5).responses(prompts, students=2, k=4, per_student=4)
    assert shuffled.distinct == four.distinct
    assert np.array_equal(shuffled.index, four.index)


def test_responses_that_are_missing_are_named(made):
    with pytest.raises(DataError, match=r"lacks 12 of 24 responses .* draw 4 responses to each of the 6 prompts"):
        made(2).responses(some_prompts(6), students=2, k=2, per_student=2)
    with pytest.raises(OptionError, match="k <= per_student"):
        made(2).responses(some_prompts(6), students=1, k=2, per_student=1)
    with pytest.raises(DataError, match="is empty"):
        Bank("memory://nothing-here").table()


def test_wrong_options(made):
    for options in ({"max_flagged": 1.5}, {"max_flagged": -0.1}, {"chunk": 0}):
        with pytest.raises(OptionError, match="fill_bank needs"):
            made(1, **options)
    with pytest.raises(OptionError, match="fill_bank needs"):
        made(0)
    assert made(1, max_flagged=0.0).rows == 6


def test_progress_counts_what_is_committed(made):
    seen = []
    made(2, chunk=5, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(5, 12), (10, 12), (12, 12)]


def test_progress_of_a_top_up_starts_from_what_is_there(made):
    seen, bank = [], made(1)
    options = {"chunk": 4, "progress": lambda done, total: seen.append((done, total))}
    fill_bank(dice(), some_prompts(6), 2, bank=bank, sampling=SAMPLING, **options)
    assert seen == [(10, 12), (12, 12)]


def test_chunks_of_the_same_prompts_are_units_of_their_own(made):
    """One response a chunk: only its index tells it from the others to its prompt."""
    seen = []
    bank = made(3, chunk=1, progress=lambda done, total: seen.append(done))
    assert seen == list(range(1, 19))
    assert [len(names) for names in bank.store.committed("bank").values()] == [1] * 18


@pytest.mark.parametrize(("tokens", "seen"), [(20, [5, 10, 12]), (7, [2, 4, 6, 8, 10, 12]), (3, list(range(1, 13)))])
def test_so_many_tokens_are_committed_at_once(made, monkeypatch, tokens, seen):
    """Responses of four tokens."""
    monkeypatch.setattr(filling, "CHUNK_TOKENS", tokens)
    counted = []
    made(2, chunk=100, progress=lambda done, _total: counted.append(done))
    assert counted == seen


def test_the_seconds_between_two_commits_are_counted_from_the_last_one(made, monkeypatch):
    """Every look at the clock is four seconds later: the third answer after a commit is beyond ten of them."""
    clock = itertools.count(0, 4)
    monkeypatch.setattr(filling, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    seen = []
    made(2, chunk=100, progress=lambda done, _total: seen.append(done))
    assert seen == [3, 6, 9, 12]


def test_a_unit_is_the_same_file_whichever_answer_came_first(made):
    class Backwards(ToyTeacher):
        def stream(self, requests, sampling):
            yield from reversed(list(super().stream(requests, sampling)))

    names = [[file.name for file in unit_files(made(2, teacher=one))] for one in (dice(), Backwards(throw))]
    assert names[0] == names[1]


def test_each_request_is_the_rendered_prompt_and_the_seed_of_its_response(made):
    teacher = dice()
    table = made(2, teacher=teacher).table(some_prompts(6))
    assert [(one.prompt_token_ids, one.seed) for one in teacher.requests] == [
        (tuple(prompt.encode()), seed) for prompt, seed in zip(table["prompt"], table["seed"], strict=True)
    ]


def test_unfinished_files_of_dead_writers_are_swept(made, tmp_path):
    bank = made(1)
    left = tmp_path / "bank-0" / ".tmp" / f"{durable._PREFIX}dead"
    left.write_bytes(b"half of a unit")
    fill_bank(dice(), some_prompts(6), 1, bank=bank, sampling=SAMPLING)
    assert not left.exists()


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "foreign"])
def test_a_corrupt_unit_is_found_and_drawn_again(made, tmp_path, damage, capsys):
    bank = made(3, chunk=4)
    before = bank.fingerprint
    file = sorted((tmp_path / "bank-0" / "units" / "bank").glob("*.parquet"))[1]
    rows, data = pq.read_metadata(file).num_rows, bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes({"flip": bytes(data), "truncate": bytes(data[:100]), "empty": b"", "foreign": b"hello"}[damage])
    report = bank.verify()
    assert [path for path, _ in report.bad] == [f"units/bank/{file.name}"]
    assert report.ok == 4
    teacher = dice()
    fill_bank(teacher, some_prompts(6), 3, bank=bank, sampling=SAMPLING)
    assert teacher.asked == [rows]
    assert bank.fingerprint == before
    assert bank.verify().bad == ()
    assert "quarantine" in capsys.readouterr().err


def while_drawing(work):
    """A teacher that throws dice, and beside whom another process works before its first answer comes."""
    teacher = dice(lambda request: (work() if len(teacher.requests) == 1 else None, throw(request))[1])
    return teacher


def test_two_processes_that_draw_the_same_are_one_bank(made):
    """Overlapping chunks of other sizes, and the same chunk with probabilities that differ by rounding."""

    def rounded(request):
        one = throw(request)
        return dataclasses.replace(one, token_logprobs=tuple(log + 1e-5 for log in one.token_logprobs))

    for chunk in (4, 7):
        bank = made()

        def other(bank=bank, chunk=chunk):
            fill_bank(dice(rounded), some_prompts(6), 3, bank=bank, sampling=SAMPLING, chunk=chunk)

        fill_bank(while_drawing(other), some_prompts(6), 3, bank=bank, sampling=SAMPLING, chunk=4)
        assert bank.rows == 36
        assert bank.fingerprint == made(3).fingerprint
        assert len(bank.table(some_prompts(6))) == 18
        assert bank.responses(some_prompts(6), students=1, k=3, per_student=3).shape == (1, 6, 3)
        assert bank.prompts()[1] == 3


def test_two_different_responses_of_one_index_are_an_error(made):
    def other():
        another = dice(lambda request: throw(dataclasses.replace(request, seed=request.seed // 2)))
        fill_bank(another, some_prompts(6), 1, bank=bank, sampling=SAMPLING)

    bank = made()
    fill_bank(while_drawing(other), some_prompts(6), 1, bank=bank, sampling=SAMPLING)
    for read in (
        lambda: bank.inventory(some_prompts(6), 1),
        lambda: bank.responses(some_prompts(6), students=1, k=1, per_student=1),
    ):
        with pytest.raises(ProvenanceError, match="two different responses 0 to prompt"):
            read()


def test_the_same_prompt_in_another_form_is_refused_and_nothing_is_drawn(made):
    bank = made(1)
    other = dice(encoder=ToyEncoder(form="Answer in one word. {}"))
    with pytest.raises(ProvenanceError, match=r"prompt 'q0' was asked in another form .*--system.*--template-arg"):
        fill_bank(other, some_prompts(6), 2, bank=bank, sampling=SAMPLING)
    assert other.asked == []
    system = some_prompts(6).with_system("Answer in one word.")
    with pytest.raises(ProvenanceError, match="prompt 'q0' was asked in another form"):
        fill_bank(dice(), system, 2, bank=bank, sampling=SAMPLING)
    with pytest.raises(ProvenanceError, match="prompt 'q0' was asked with other turns"):
        bank.responses(system, students=1, k=1, per_student=1)
    one_turn = dataclasses.replace(some_prompts(6), chats=tuple((("user", text),) for text in some_prompts(6).texts))
    assert len(bank.inventory(one_turn, 2).missing) == 6  # the same as the text alone


def test_chats_come_back_with_their_turns(made):
    chats = (
        (("system", "Be short."), ("user", "one ?")),
        (("user", "two ?"), ("assistant", "2"), ("user", "three\n<b> ?")),
        (),
    )
    prompts = Prompts(("a", "b", "c"), ("one ?", "three\n<b> ?", "four ?"), chats=chats)
    bank = made(2, prompts=prompts)
    assert bank.prompts() == (prompts, 2)
    assert bank.responses(bank.prompts()[0], students=2, k=1, per_student=1).prompts == prompts
    assert bank.fingerprint != made(2, prompts=dataclasses.replace(prompts, chats=())).fingerprint


def test_one_response_with_two_contents_is_enough(made):
    bank = made(1)
    (unit,) = made(
        1, teacher=dice(lambda request: throw(dataclasses.replace(request, seed=1))), prompts=some_prompts(1)
    ).units()
    bank.store.commit(Inputs(STUDY, {**unit[0], "first": "another"}, method="m"), unit[1], check_twins=False)
    with pytest.raises(ProvenanceError, match="two different responses 0 to prompt 'q0'"):
        bank.inventory(some_prompts(6), 1)


def test_a_prompt_that_lacks_its_first_response_has_none():
    assert without_gap(np.array([[0, 0], [1, 1]]), 2) == 0
    assert without_gap(np.array([[0, 0], [0, 1]]), 2) == 0


def test_what_stands_behind_a_gap_does_not_count(made):
    prompts = some_prompts(3)
    bank = made(4, prompts=prompts, chunk=1)
    (file,) = (
        f for f in unit_files(bank) if (pd.read_parquet(f)[["prompt_id", "response_index"]] == ["q1", 2]).all(axis=None)
    )
    file.unlink()
    assert bank.prompts() == (prompts, 2)
    assert bank.inventory(prompts, 4).missing.tolist() == [[1, 2]]


def test_one_id_for_two_prompts_in_a_bank_is_seen(made):
    bank = made(1)
    for file in unit_files(made(1, prompts=Prompts(("q3",), ("another",)))):
        (unit_files(bank)[0].parent / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ProvenanceError, match="prompt id 'q3' stands for two prompts in the bank"):
        bank.prompts()


def test_identity_is_read_from_one_unit_and_mixtures_are_refused(made, monkeypatch):
    bank = made(3, chunk=1)
    read = []
    monkeypatch.setattr(
        LocalFolder, "read", lambda self, path, own=LocalFolder.read: (read.append(path), own(self, path))[1]
    )
    assert bank.identity["revision"] == "rev-1"
    assert len(read) == 1
    for file in unit_files(made(1, teacher=dice(revision="rev-2"))):
        (unit_files(bank)[0].parent / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ProvenanceError, match="revision: "):
        list(bank.scan(["text"]))


def test_what_a_run_left_out_is_listed(made):
    def choosy(request):
        return Refusal("too hot") if bytes(request.prompt_token_ids) == b"question 2" else throw(request)

    bank = made(2, teacher=dice(choosy))
    assert bank.left_out() == tuple(LeftOut("q2", j, "too hot") for j in range(2))
    fill_bank(dice(), some_prompts(6), 2, bank=bank, sampling=SAMPLING)
    assert bank.left_out() == ()
    assert bank.rows == 12


def test_prompts_that_are_too_long_and_refused_requests_are_listed_together(made):
    prompts = Prompts(("q0", "q1", "q2"), ("question 0", "question 1 that is long", "question 2"))

    def choosy(request):
        return Refusal("too hot") if bytes(request.prompt_token_ids) == b"question 2" else throw(request)

    bank = made(1, teacher=dice(choosy, encoder=ToyEncoder(context=20)), prompts=prompts, too_long="skip")
    assert bank.left_out() == (LeftOut("q1", -1, "has 23 tokens"), LeftOut("q2", 0, "too hot"))
    assert bank.rows == 1


def test_a_run_of_which_every_prompt_is_too_long_is_an_error_also_where_they_may_be_skipped(made):
    teacher = dice(encoder=ToyEncoder(context=5))
    with pytest.raises(PreflightError, match="6 of 6 prompts are too long"):
        made(1, teacher=teacher, too_long="skip")
    assert teacher.asked == []


def unit_files(bank):
    return sorted(Path(bank.root).glob("units/bank/*.parquet"))


@pytest.mark.parametrize("engine", ["transformers_teacher", "vllm_teacher"])
def test_topped_up_equals_one_made_in_one_go_with_a_real_engine(request, engine, tmp_path):
    teacher = request.getfixturevalue(engine)
    prompts = Prompts(tuple(f"q{i}" for i in range(20)), tuple(f"w{i} w{i + 1}" + " w9" * (i % 5) for i in range(20)))
    sampling = Sampling(max_tokens=8)
    stepwise, at_once = Bank(tmp_path / "steps"), Bank(tmp_path / "once")
    for k in (1, 4):
        fill_bank(teacher, prompts, k, bank=stepwise, sampling=sampling, chunk=13)
    fill_bank(teacher, prompts, 4, bank=at_once, sampling=sampling)
    a, b = stepwise.table(prompts), at_once.table(prompts)
    # Rounding flips a token where two are within 1e-6: some 600 tokens, once in a thousand choices of seeds.
    pd.testing.assert_frame_equal(a[EXACT], b[EXACT])
    assert stepwise.fingerprint == at_once.fingerprint
    for first, second in zip(a["token_logprobs"], b["token_logprobs"], strict=True):
        assert first == pytest.approx(second, abs=1e-4)  # float32 with other batches
