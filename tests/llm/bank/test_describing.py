"""A bank in numbers for a report: counted by hand, and against the estimators."""

import math

import numpy as np
import pytest

from uqkd.estimators import gini_from_draws
from uqkd.llm.bank import STUDY, Bank
from uqkd.llm.bank.columns.rows import Wanted, table_of
from uqkd.llm.bank.describing import describe, histogram
from uqkd.llm.requests import Completion, TeacherInfo
from uqkd.llm.sampling import Sampling
from uqkd.report.standalone import bank_report
from uqkd.store import Inputs

ABOUT = TeacherInfo("tiny", "abc", "vllm", "0.32", "float32", "processed", True)
SAMPLING = Sampling(max_tokens=9).columns()


def bank_of(root, said, *, reasons=None):
    """A bank of (prompt, response index, text)."""
    wanted = [Wanted(p, f"what of {p} ?", None, "", n, 1000 + i) for i, (p, n, _) in enumerate(said)]
    ends = reasons or ["stop"] * len(said)
    completions = [
        Completion(tuple(range(len(text))), text, (-0.5,) * len(text), end) for (*_, text), end in zip(said, ends, strict=True)
    ]  # fmt: skip
    identity = {"revision": "abc", "backend": "vllm", "key": ["llm", "x"], "stop_ids": [], **SAMPLING}
    bank = Bank(root)
    table = table_of(wanted, completions, about=ABOUT, sampling=SAMPLING)
    bank.store.commit(Inputs(STUDY, {"bank": identity, "part": 0}, method="m"), table)
    return bank


def test_numbers_are_those_of_the_rows(tmp_path):
    said = [(p, n, text) for p, texts in (("a", "xxy"), ("b", "xyz"), ("c", "xxx")) for n, text in enumerate(texts)]
    found = describe(bank_of(tmp_path / "bank", said, reasons=["stop"] * 7 + ["length", None]), prompts=1)
    assert found.reasons == {"stop": 7, "length": 1, "unknown": 1}
    assert (found.common, found.lengths) == (3, ((1, 1, 9),))
    gini = gini_from_draws(np.array([[0, 0, 1], [0, 1, 2], [0, 0, 0]]))
    by_name = {one.name.split(":")[0]: one for one in found.spread}
    assert by_name["Gini variance"].estimate == pytest.approx(gini.mean())
    assert by_name["Gini variance"].low < gini.mean() < by_name["Gini variance"].high
    assert by_name["agreement"].estimate == pytest.approx(1 - gini.mean())
    assert by_name["agreement"].high == pytest.approx(1 - by_name["Gini variance"].low)
    assert found.unsure == (1, 0, 0, 0, 0, 0, 1, 0, 0, 1)
    assert [one.prompt_id for one in found.divided] == ["b"]
    assert [one.prompt_id for one in found.others] == ["a"]


def test_incomplete_banks_are_told(tmp_path):
    found = describe(bank_of(tmp_path / "bank", [("a", 0, "x"), ("a", 1, "y"), ("b", 0, "x")]))
    assert found.common == 1
    assert all(math.isnan(one.estimate) and "the least has 1" in one.why for one in found.spread)
    assert found.unsure == ()
    text = bank_report(found).decode()
    assert "Prompts differ in how many they have: 1 to 2." in text
    assert "the least has 1" in text
    gap = describe(bank_of(tmp_path / "gap", [("a", 1, "x"), ("a", 2, "y")]))
    assert gap.common == 0


def test_a_teacher_of_whom_no_two_answers_are_alike_is_remarked_on(tmp_path):
    found = describe(bank_of(tmp_path / "bank", [("a", 0, "x"), ("a", 1, "y"), ("b", 0, "p"), ("b", 1, "q")]))
    assert "no two of the 2 answers are alike" in found.spread[2].why
    assert found.spread[1].why.startswith("never seen")


def test_a_histogram_counts_everything_once():
    lengths = np.random.default_rng(0).integers(0, 1000, size=5000)
    bars = histogram(lengths)
    assert sum(count for *_, count in bars) == 5000
    assert all(count == ((lengths >= low) & (lengths <= high)).sum() for low, high, count in bars)
    assert len(bars) <= 12
    assert histogram(np.zeros(0, dtype=np.int64)) == ()
