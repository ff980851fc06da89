"""Fault 14: empty, cut and broken responses are kept, flagged and counted; above a share that the user declares the run stops."""

from __future__ import annotations

import pytest
from toys import ToyEncoder, ToyTeacher

from uqkd.errors import DataError
from uqkd.llm.bank import Bank
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.prompts import Prompts
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import Completion

ODD = {
    "empty": ((2,), "", "stop"),
    "length": ((5, 6), "w1 w2", "length"),
    "control": ((5, 2), "w1\x00", "stop"),
    "surrogate": ((5, 2), "w1\ud800", "stop"),
    "replacement": ((5, 2), "w1\ufffd", "stop"),
}
FINE = ((5, 2), "line\nnext\ttab  é 漢 😀", "stop")
PROMPTS = Prompts(tuple(f"q{i}" for i in range(100)), tuple(f"w{i}" for i in range(100)))


def odd_teacher(odd):
    """Answers well but for a few prompts."""

    def answer(request):
        ids, text, reason = odd.get(request.prompt_token_ids[0], FINE)
        return Completion(ids, text, (-0.5,) * len(ids), reason)

    return ToyTeacher(answer, encoder=ToyEncoder(ids=lambda text: (int(text[1:]),)))


def drawn(bank, odd, **options):
    return fill_bank(odd_teacher(odd), PROMPTS, 1, bank=bank, sampling=Sampling(), **options)


@pytest.mark.parametrize("kind", ODD)
def test_one_percent_is_kept_flagged_and_counted(tmp_path, kind):
    bank = drawn(Bank(tmp_path), {7: ODD[kind]})
    table = bank.table(PROMPTS)
    assert table["flags"].tolist() == ["" if i != 7 else kind for i in range(100)]
    assert table["token_ids"][7].tolist() == list(ODD[kind][0])
    held = bank.inventory(PROMPTS, 1)
    assert (held.flagged, dict(held.flags)) == (1, {kind: 1})
    assert table["text"][0] == FINE[1]


def test_a_lone_surrogate_is_written_out_and_the_file_still_loads(tmp_path):
    table = drawn(Bank(tmp_path), {7: ODD["surrogate"]}).table(PROMPTS)
    assert table["text"][7] == "w1\\ud800"


@pytest.mark.parametrize("kind", ODD)
def test_two_percent_stop_the_run_and_everything_stays(tmp_path, kind):
    bank = Bank(tmp_path)
    with pytest.raises(DataError) as caught:
        drawn(bank, {7: ODD[kind], 11: ODD[kind]}, chunk=10, max_flagged=0.01)
    assert str(caught.value).startswith(
        f"2 of 20 responses are flagged (2 {kind}); of 100 wanted at most 1.00% may be."
    )
    assert bank.rows == 20  # as soon as the share is certain to be exceeded, and no later
    with pytest.raises(DataError, match="2 of 20 responses are flagged"):
        drawn(bank, {}, max_flagged=0.01)  # again: nothing is drawn before it is allowed
    drawn(bank, {}, max_flagged=0.02)
    assert bank.rows == 100


def test_each_kind_is_counted_for_itself(tmp_path):
    with pytest.raises(DataError, match=r"5 of 100 .* \(1 control, 1 empty, 1 length, 1 replacement, 1 surrogate\)"):
        drawn(Bank(tmp_path), dict(enumerate(ODD.values())), max_flagged=0.01)


def test_by_default_flags_are_reported_and_stop_nothing(tmp_path):
    """R3: the first chat model ended with an error after sampling, as a tenth of its answers were cut."""
    bank = drawn(Bank(tmp_path), dict.fromkeys(range(100), ODD["length"]))
    assert (bank.rows, bank.inventory(PROMPTS, 1).flagged) == (100, 100)
