"""Reading a bank in columns gives what reading it value by value gives, whatever it holds, faster and in bounded memory."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toys import INFO

from uqkd import seeds
from uqkd.llm.bank import STUDY, Bank
from uqkd.llm.bank.auditing import collect
from uqkd.llm.bank.columns.rows import Wanted, table_of
from uqkd.llm.bank.columns.scan import kinds, rows_of
from uqkd.llm.prompts.prompts import Prompts
from uqkd.llm.requests import Completion
from uqkd.llm.responses import Response
from uqkd.llm.sampling import Sampling
from uqkd.store import Inputs

K, P = 8, 30
IDENTITY = {"revision": "r", "stop_ids": [2]}
TEXTS = (
    "", " ", "four", "four ", "line\nnext\t", "\x00", "w1\ufffd", "\ud800 half", "漢字 😀 é e\u0301", "=1+1", "<b>&amp;</b>",
    "\u202eright to left", '"quoted", {}', "x" * 3000,
)  # fmt: skip
LATER = ("messages", "prompt_hash", "tokens")  # columns that older banks lack


def prompts(count=P):
    return Prompts(tuple(f"q{i}" for i in range(count)), tuple(f"question {i} 漢" for i in range(count)))


def random_rows(key, *, text_only=0.3, count=P):
    """All K responses to each prompt, in random order: with and without ids, empty ones, any text, seeds or none."""
    draw = seeds.generator("tests", "bank reading", key, shared=True)
    rows = []
    for p, name in enumerate(prompts(count).ids):
        for j in range(K):
            n = int(draw.integers(0, 6))
            ids = (
                None
                if draw.random() < text_only
                else (*draw.integers(0, 5, size=n).tolist(), *((2,) * int(draw.integers(0, 2))))
            )
            logs = None if ids is None or draw.random() < 0.1 else (-draw.exponential(size=len(ids))).tolist()
            reason = ("stop", "length", None, "content_filter")[int(draw.integers(0, 4))]
            seed = None if draw.random() < 0.1 else int(draw.integers(2**63))
            text = TEXTS[int(draw.integers(len(TEXTS)))]
            rows.append((Wanted(name, prompts(count).texts[p], None, "", j, seed), Completion(ids, text, logs, reason)))
    return [rows[place] for place in draw.permutation(len(rows))]


def bank_of(place, rows, *, cut=50, without=(), identity=IDENTITY):
    """A bank with these rows, so many in a unit; `without` some columns, as older banks are."""
    bank = Bank(place)
    for start in range(0, len(rows), cut):
        wanted, answers = zip(*rows[start : start + cut], strict=True)
        table = table_of(wanted, answers, about=INFO, sampling=Sampling().columns())
        inputs = Inputs(STUDY, {"bank": identity, "first": start}, method="m")
        bank.store.commit(inputs, table.drop_columns(list(without)), check_twins=False)
    return bank


def value_by_value(bank):
    """Every row as Python objects, by (prompt id, response index)."""
    tables = [pq.ParquetFile(file).read() for file in Path(bank.root).glob("units/bank/*.parquet")]
    return {(row["prompt_id"], row["response_index"]): row for table in tables for row in table.to_pylist()}


def slow_code(row):
    if row["token_ids"] is not None:
        digest = hashlib.blake2b(np.asarray(row["token_ids"], dtype="<i4").tobytes(), digest_size=8).digest()
    else:
        digest = hashlib.blake2b(row["text"].encode(), digest_size=8, person=b"text").digest()
    return int.from_bytes(digest, "little") | 1


def slow_response(row):
    ids, reason = row["token_ids"], row["finish_reason"]
    if ids and (reason == "stop" or (reason is None and ids[-1] == 2)):
        ids = ids[:-1]
    return Response(None if ids is None else tuple(ids), row["text"], reason in ("stop", None))


@pytest.fixture(params=["today", "older", "text only", "tokens only"])
def bank(request, tmp_path):
    share = {"text only": 1.0, "tokens only": 0.0}.get(request.param, 0.3)
    rows = random_rows(request.param, text_only=share)
    return bank_of(tmp_path / "bank", rows, without=LATER if request.param == "older" else ())


def test_inventory_is_that_of_the_rows_one_by_one(bank):
    rows = value_by_value(bank)
    held = bank.inventory(prompts(), K + 2)
    for (p, j), code in np.ndenumerate(held.codes):
        assert int(code) == (slow_code(rows[f"q{p}", j]) if j < K else 0)
    assert held.missing.tolist() == [[p, j] for p in range(P) for j in (K, K + 1)]
    flags = [row["flags"] for row in rows.values() if row["flags"]]
    assert held.flagged == len(flags)
    assert held.flags == Counter(name for own in flags for name in own.split(","))


def test_the_flags_of_a_response_that_is_there_twice_count_once(tmp_path):
    rows = random_rows("twice", count=4)
    once, twice = bank_of(tmp_path / "once", rows), bank_of(tmp_path / "twice", [*rows, *rows], cut=len(rows))
    held, again = (bank.inventory(prompts(4), K) for bank in (once, twice))
    assert held.flagged > 0
    assert (again.flagged, again.flags) == (held.flagged, held.flags)


def test_responses_are_those_of_the_rows_one_by_one(bank):
    rows = value_by_value(bank)
    found = bank.responses(prompts(), students=2, k=3, per_student=4)
    number = {}
    for s, p, j in np.ndindex(2, P, 3):
        one = slow_response(rows[f"q{p}", 4 * s + j])
        assert found.distinct[found.index[s, p, j]] == one
        assert found.index[s, p, j] == number.setdefault(one, len(number))  # numbered as they first appear
    assert found.distinct == tuple(number) == tuple(found.distinct)
    assert len(found.distinct) == len(number)
    assert found.distinct[-1] == list(number)[-1]
    assert found.distinct[3:9:2] == tuple(number)[3:9:2]
    assert found.distinct != tuple(number)[:-1]
    again = dataclasses.replace(found, distinct=tuple(number))
    assert again.fingerprint == found.fingerprint


def test_units_that_hold_no_used_response_change_nothing(tmp_path):
    """As small units of a slow machine do: of responses set aside for a student, for k = 1, all are behind the first."""
    rows = sorted(random_rows("set aside", count=4), key=lambda row: (row[0].response_index, row[0].prompt_id))
    whole, cut = bank_of(tmp_path / "whole", rows, cut=len(rows)), bank_of(tmp_path / "cut", rows, cut=4)
    for k in (1, 3):
        one, other = (bank.responses(prompts(4), students=2, k=k, per_student=4) for bank in (whole, cut))
        assert one.index.shape == (2, 4, k)
        np.testing.assert_array_equal(one.index, other.index)
        assert list(one.distinct) == list(other.distinct)


def test_what_the_audit_collects_is_that_of_the_rows_one_by_one(bank):
    rows = value_by_value(bank)
    draws = collect(bank, prompts(), K)
    for p, j in np.ndindex(P, K):
        row = rows[f"q{p}", j]
        assert int(draws.codes[p, j].astype(np.uint64)) == slow_code(row)
        if row["token_ids"] is not None:
            assert draws.first[p, j] == (row["token_ids"] or [-1])[0]
    every = list(rows.values())
    assert (draws.seeds is None) == any(row["seed"] is None for row in every)
    assert (draws.log_q is None) == any(row["token_logprobs"] is None for row in every)


def test_sums_and_seeds_of_whole_columns_are_collected(tmp_path):
    rows = [
        (
            want._replace(seed=i),
            dataclasses.replace(one, token_logprobs=[-0.1 * (t + i % 7) for t in range(len(one.token_ids))]),
        )
        for i, (want, one) in enumerate(random_rows("whole", text_only=0.0))
    ]
    bank = bank_of(tmp_path, rows)
    draws = collect(bank, prompts(), K)
    for (name, j), row in value_by_value(bank).items():
        at, logs = (int(name[1:]), j), row["token_logprobs"]
        assert draws.seeds[at] == row["seed"]
        assert draws.log_q[at] == pytest.approx(math.fsum(logs), rel=1e-14)  # six float64 additions: below 6·2^-53
        assert draws.first_log_q[at] == (logs[0] if logs else 0.0)


def test_prompts_rows_and_tables_are_those_of_the_rows_one_by_one(bank):
    rows = value_by_value(bank)
    assert bank.prompts() == (
        Prompts(tuple(sorted(prompts().ids)), tuple(prompts().texts[int(i[1:])] for i in sorted(prompts().ids))),
        K,
    )
    assert bank.rows == len(rows) == P * K
    table = bank.table(prompts(), k=5)
    assert len(table) == P * 5
    for row in table.to_dict("records"):
        slow = rows[row["prompt_id"], row["response_index"]]
        assert row["text"] == slow["text"]
        assert (None if row["token_ids"] is None else list(row["token_ids"])) == slow["token_ids"]
        expected = float("nan") if slow["token_ids"] is None else len(slow["token_ids"])
        assert row["tokens"] == pytest.approx(expected, nan_ok=True)


def test_kinds_of_many_columns_with_many_values_each_are_told_apart():
    """With a null 2**16 values in each of four columns: one number of 64 bits would forget the column before them."""
    values = [f"v{i}" for i in range(2**16 - 1)]
    table = pa.table({"a": ["x"] * len(values) + ["y"], **{name: [*values, values[0]] for name in "bcde"}})
    found, which = kinds(table, list("abcde"))
    assert len(found) == len(values) + 1
    assert [found[which[place]] for place in (0, -1)] == [("x", *["v0"] * 4), ("y", *["v0"] * 4)]


def test_rows_of_a_slice_are_those_of_the_whole():
    texts = ["a", "bcd", "", "漢字", None, "e"]
    for start in range(len(texts)):
        for made in (pa.array(texts), pa.array(texts, pa.large_string()), pa.array(texts).dictionary_encode()):
            rows = rows_of(made[start:])
            read = [rows.values[a:b].tobytes().decode() for a, b in zip(rows.starts, rows.ends, strict=True)]
            assert read == [text or "" for text in texts[start:]]
            assert rows.there.tolist() == [text is not None for text in texts[start:]]


def test_scanned_columns_are_those_asked_for_in_that_order(bank):
    rows = value_by_value(bank)
    found = {}
    for table in bank.scan(["tokens", "prompt_id", "messages", "response_index", "flags"]):
        assert table.column_names == ["tokens", "prompt_id", "messages", "response_index", "flags"]
        found |= {(row["prompt_id"], row["response_index"]): row for row in table.to_pylist()}
    assert found.keys() == rows.keys()
    for key, row in found.items():
        ids = rows[key]["token_ids"]
        assert (row["tokens"], row["messages"], row["flags"]) == (
            None if ids is None else len(ids),
            None,
            rows[key]["flags"],
        )


def test_fingerprint_is_that_of_the_rows_whatever_their_order_and_cut(tmp_path):
    rows = random_rows("fingerprint")
    base = bank_of(tmp_path / "base", rows).fingerprint
    assert bank_of(tmp_path / "cut", rows, cut=7).fingerprint == base
    assert bank_of(tmp_path / "turned", rows[::-1], cut=31).fingerprint == base
    assert bank_of(tmp_path / "twice", [*rows, *rows[:20]], cut=len(rows)).fingerprint == base
    assert bank_of(tmp_path / "older", rows, without=("tokens",)).fingerprint == base


CHANGES = {
    "prompt id": lambda want, one: (want._replace(prompt_id="other"), one),
    "prompt": lambda want, one: (want._replace(prompt="other"), one),
    "turns": lambda want, one: (want._replace(messages='[{"role": "user", "content": "x"}]'), one),
    "rendering": lambda want, one: (want._replace(prompt_hash="0123"), one),
    "index": lambda want, one: (want._replace(response_index=99), one),
    "seed": lambda want, one: (want._replace(seed=12), one),
    "no seed": lambda want, one: (want._replace(seed=None), one),
    "ids": lambda want, one: (want, dataclasses.replace(one, token_ids=(9, 9, 9))),
    "no ids": lambda want, one: (want, dataclasses.replace(one, token_ids=None)),
    "text": lambda want, one: (want, dataclasses.replace(one, text="another")),
    "end": lambda want, one: (want, dataclasses.replace(one, finish_reason="stop, but otherwise")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_fingerprint_sees_one_changed_value(tmp_path, change):
    rows = random_rows("changes", count=4)
    rows[5] = (rows[5][0]._replace(seed=0), Completion((), "", (), "length"))
    other = [*rows[:5], CHANGES[change](*rows[5]), *rows[6:]]
    assert bank_of(tmp_path / "a", rows).fingerprint != bank_of(tmp_path / "b", other).fingerprint


def test_fingerprint_sees_the_identity_and_bytes_that_move_between_columns(tmp_path):
    rows = random_rows("changes", count=4)
    base = bank_of(tmp_path / "a", rows).fingerprint
    assert bank_of(tmp_path / "b", rows, identity={**IDENTITY, "revision": "s"}).fingerprint != base
    abcd = int.from_bytes(b"abcd", "little")  # the four bytes are a token's here, and the text's there
    as_id, as_text = (
        [(rows[0][0], Completion(ids, text, None, "stop")), *rows[1:]] for ids, text in (((abcd,), ""), ((), "abcd"))
    )
    assert bank_of(tmp_path / "c", as_id).fingerprint != bank_of(tmp_path / "d", as_text).fingerprint


def long_bank(place, *, responses, tokens, unit=1024):
    """Random ids, 16 responses to each prompt."""
    bank = Bank(place)
    for start in range(0, responses, unit):
        draw = seeds.generator("tests", "long bank", start, shared=True)
        ends = pa.array(np.arange(unit + 1, dtype=np.int32) * tokens)
        lists = {"token_ids": draw.integers(3, 49_152, size=unit * tokens, dtype=np.int32)}
        lists["token_logprobs"] = -draw.standard_exponential(unit * tokens, dtype=np.float32)
        place = np.arange(start, start + unit)
        table = pa.table(
            {
                "prompt_id": [f"q{i // 16}" for i in place],
                "prompt": [f"question {i // 16}" for i in place],
                "response_index": place % 16,
                "seed": place,
                **{name: pa.ListArray.from_arrays(ends, pa.array(values)) for name, values in lists.items()},
                "text": [f"{i} " * 40 for i in place],
                "finish_reason": ["length"] * unit,
                "flags": ["length"] * unit,
            }
        )
        bank.store.commit(Inputs(STUDY, {"bank": IDENTITY, "first": start}, method="m"), table, check_twins=False)
    return bank


def cpu_seconds(work):
    """Of two runs the quicker one, in the time of the processor: others may work beside."""

    def once():
        started = time.process_time()
        work()
        return time.process_time() - started

    return min(once(), once())


@pytest.mark.slow
def test_eight_million_tokens_are_read_many_times_faster_than_value_by_value(tmp_path):
    """32,000 responses of 256 tokens. Value by value each reading takes as long as `slow`, or longer; measured on an eighth."""
    bank = long_bank(tmp_path, responses=32 * 1024, tokens=256)
    asked, whole = bank.prompts()
    assert (len(asked), whole) == (2048, 16)
    files = sorted(tmp_path.glob("units/bank/*.parquet"))[:4]

    def value_by_value():
        for file in files:
            for row in pq.ParquetFile(file).read(["prompt_id", "response_index", "token_ids", "flags"]).to_pylist():
                hashlib.blake2b(repr(row["token_ids"]).encode()).digest()

    slow = 8 * cpu_seconds(value_by_value)
    held = cpu_seconds(lambda: bank.inventory(asked, 16))
    given = cpu_seconds(lambda: bank.responses(asked, students=4, k=4, per_student=4))
    hashed = cpu_seconds(lambda: bank.fingerprint)
    # Seen: 0.25, 0.35 and 0.3 of it; before reading in columns 1.1, 0.95 and 1.1.
    assert held < 0.6 * slow
    assert given < 0.6 * slow
    assert hashed < 0.6 * slow


def test_few_units_are_in_memory_at_a_time(tmp_path):
    bank = long_bank(tmp_path, responses=40 * 1024, tokens=64)
    before, seen, largest = pa.total_allocated_bytes(), [], 0
    for table in bank.scan(["token_ids", "token_logprobs", "text"]):
        seen.append(pa.total_allocated_bytes() - before)
        largest = max(largest, table.nbytes)
    assert len(seen) == 40
    # Four done or under way and the one in hand; each may need as much again while it is decoded.
    assert max(seen) <= 2 * 5 * largest
    assert max(seen) < 40 * largest / 3


def test_a_reading_that_is_given_up_leaves_no_thread(tmp_path):
    import threading

    bank = long_bank(tmp_path, responses=20 * 1024, tokens=8)
    before = threading.active_count()
    scan = bank.scan(["token_ids"])
    next(scan)
    assert threading.active_count() > before
    scan.close()
    assert threading.active_count() == before


def test_a_packed_bank_reads_the_same(tmp_path):
    bank = bank_of(tmp_path, random_rows("packed"), cut=20)
    before, held = bank.fingerprint, bank.inventory(prompts(), K)
    assert bank.store.compact(STUDY) == 12
    packed = Bank(tmp_path)
    assert packed.fingerprint == before
    assert (packed.inventory(prompts(), K).codes == held.codes).all()
    assert (packed.rows, packed.identity, packed.verify().ok, packed.verify().bad) == (P * K, IDENTITY, 12, ())
