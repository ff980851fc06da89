"""Fault 35: servers that refuse, stumble, hang, cut and vanish. No response is lost, none stands under a neighbour's id."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from contextlib import closing, contextmanager

import pytest
from fake_server import drawn, fake_server, said

from uqkd.errors import OptionError, WorkerError
from uqkd.llm.bank import Bank
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.bank.left_out import read_left_out
from uqkd.llm.prompts.prompts import Prompts, messages
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import Request, open_teacher

COUNT, K = 50, 4
PROMPTS = Prompts(tuple(f"q{i}" for i in range(COUNT)), tuple(f"w{i} w{i + 1}" for i in range(COUNT)))
SAMPLING = Sampling(max_tokens=16)
ONE = Request((5,), 1, (("user", "w1"),))


@pytest.fixture
def fake():
    with fake_server() as server:
        yield server


@pytest.fixture(params=["openai", "server"])
def opened(request, fake, tiny):
    """Open a teacher of either backend."""

    @contextmanager
    def open_one(**options):
        name = tiny if request.param == "server" else "toy"
        with closing(open_teacher(name, backend=request.param, **{"url": fake.url, **options})) as teacher:
            yield teacher

    return open_one


def fill(teacher, bank, prompts=PROMPTS, k=K, **options):
    return fill_bank(teacher, prompts, k, bank=bank, sampling=SAMPLING, **options)


def check_rows(teacher, bank, prompts=PROMPTS):
    """Every row holds what the server says to its prompt with its seed, and to no other; return them."""
    table = bank.table(prompts)
    place = {name: i for i, name in enumerate(prompts.ids)}
    ids = teacher.encoder.render(prompts, max_tokens=16).ids
    for row in table.itertuples():
        if row.backend == "server":
            assert list(row.token_ids) == drawn(list(ids[place[row.prompt_id]]), row.seed)
        elif row.text:
            assert row.text == said(messages(prompts.turns(place[row.prompt_id])), row.seed)
    assert len(set(zip(table["prompt_id"], table["response_index"], strict=True))) == len(table)
    assert table["seed"].is_unique
    return table


def left_out(bank):
    return {(one.prompt_id, one.response_index): one.reason for one in read_left_out(bank.store)}


def first_time(kinds):
    """A fault for the first request of some seeds; each is answered when it is asked again."""
    seen = {}
    lock = threading.Lock()

    def fault(_number, asked):
        with lock:
            if asked["seed"] in seen:
                return None
            seen[asked["seed"]] = kind = kinds[len(seen) % len(kinds)]
        return kind

    return fault


def test_a_server_that_refuses_one_of_200_requests_costs_that_one_alone(fake, opened, tmp_path):
    bad, shown = [], []

    def refuse(number, asked):
        if number == 149:
            bad.append(asked["seed"])
        return 400 if asked["seed"] in bad else None

    fake.fault, fake.reply["line"] = refuse, "this prompt is not allowed"
    with opened() as teacher:
        bank = fill(teacher, Bank(tmp_path / "bank"), show=shown.append)
        assert len(check_rows(teacher, bank)) == 199
        (((name, index), reason),) = left_out(bank).items()
        assert reason == "the server refused it (400: this prompt is not allowed)"
        assert f"1 of 200 responses were refused: 1 ({reason}; prompt {name!r}, response {index})" in shown[-1]
        assert len(fake.asked) == 200  # a refusal is not asked again ...
        fake.fault = lambda _number, _asked: None
        fill(teacher, bank)  # ... but by a rerun
        assert len(fake.asked) == 201
        table = check_rows(teacher, bank)
    assert fake.asked[-1]["seed"] == bad[0]
    assert len(table) == 200
    assert left_out(bank) == {}


def test_everything_that_can_go_wrong_at_once_loses_no_row_and_mixes_none(fake, opened, tmp_path):
    """Each request fails in some way the first time, its answer takes its own time, and one prompt is refused for good."""
    fault = first_time([429, 500, 503, "cut", "hang", "garbage", None, None, None, None])
    refused = PROMPTS.ids.index("q7")

    with opened(concurrency=24, timeout_s=1.0) as teacher:
        turns, ids = messages(PROMPTS.turns(refused)), list(teacher.encoder.render(PROMPTS, max_tokens=16).ids[refused])

        def all_at_once(number, asked):
            return (
                413 if turns == asked.get("messages") or (ids and ids == asked.get("prompt")) else fault(number, asked)
            )

        fake.fault, fake.reply["headers"] = all_at_once, {"Retry-After": "0.05"}
        fake.pause_s = lambda number, _asked: (number * 37 % 11) / 200
        bank = fill(teacher, Bank(tmp_path / "bank"), chunk=30)
        missing = left_out(bank)
        assert {index for name, index in missing if name == "q7"} == set(range(K))
        garbage = [reason for (name, _), reason in missing.items() if name != "q7"]
        assert all("the server's answer is no JSON" in reason for reason in garbage)
        assert len(garbage) >= 10  # one request in ten, of 196
        assert len(check_rows(teacher, bank)) == COUNT * K - len(missing)
        assert teacher.spent.retries >= 90  # five in ten
        fill(teacher, bank)
        assert set(left_out(bank)) == {("q7", index) for index in range(K)}
        fake.fault = lambda _number, _asked: None
        fill(teacher, bank)
        assert len(check_rows(teacher, bank)) == COUNT * K
        assert left_out(bank) == {}
        clean = fill(teacher, Bank(tmp_path / "clean"))
    assert bank.fingerprint == clean.fingerprint


def test_an_empty_answer_is_kept_and_flagged(fake, tmp_path):
    fake.fault = lambda number, _asked: {3: "empty", 5: "none", 8: "filtered"}.get(number)
    with closing(open_teacher("toy", backend="openai", url=fake.url)) as teacher:
        table = check_rows(teacher, fill(teacher, Bank(tmp_path)))
    assert len(table) == 200
    assert sorted(flag for flag in table["flags"] if flag) == ["content_filter,empty", "empty", "empty"]


def test_the_pause_that_a_server_names_is_kept(fake, opened):
    times = []

    def fault(number, _asked):
        times.append(time.monotonic())
        return 429 if number == 0 else None

    fake.fault, fake.reply["headers"] = fault, {"Retry-After": "1.5"}
    with opened() as teacher:
        assert len(list(teacher.stream([ONE], SAMPLING))) == 1
    assert len(times) == 2
    assert times[1] - times[0] >= 1.5  # without the header the first pause is at most half a second


def test_a_request_whose_retries_are_used_up_is_left_out_and_the_others_go_on(fake, opened, tmp_path):
    bad = []

    def fault(number, asked):
        if number in (20, 21, 22):
            bad.append(asked["seed"])
        return 503 if asked["seed"] in bad else None

    fake.fault, fake.reply["line"] = fault, "overloaded"
    with opened(retries=1) as teacher:
        bank = fill(teacher, Bank(tmp_path))
        assert len(check_rows(teacher, bank)) == 197
        assert set(left_out(bank).values()) == {"the server failed (503: overloaded)"}
        assert (teacher.spent.requests, teacher.spent.retries, teacher.spent.refused) == (203, 3, 3)


def test_a_server_that_fails_half_of_the_time_is_not_gone(fake, opened, tmp_path):
    fake.fault = lambda number, _asked: 500 if number % 2 else None
    with opened(retries=0, concurrency=1) as teacher:
        bank = fill(teacher, Bank(tmp_path))
        assert len(check_rows(teacher, bank)) == len(left_out(bank)) == 100


def test_many_refused_prompts_in_a_row_do_not_end_the_work(fake, opened, tmp_path):
    fake.fault = lambda number, _asked: 422 if 10 <= number < 60 else None
    with opened() as teacher:
        bank = fill(teacher, Bank(tmp_path))
        assert len(check_rows(teacher, bank)) == 150
    assert len(left_out(bank)) == 50


@pytest.mark.parametrize("concurrency", [1, 64])
def test_a_server_that_vanishes_ends_the_work_and_what_it_answered_stays(fake, opened, tmp_path, concurrency):
    fake.fault = lambda number, _asked: "cut" if number >= 60 else None
    bank = Bank(tmp_path)
    with opened(retries=0, concurrency=concurrency) as teacher:
        with pytest.raises(WorkerError) as caught:
            fill(teacher, bank)
        assert str(caught.value).startswith(
            f"the server at {fake.url} failed 8 times in a row, at last: the server did not answer"
        )
        assert "60 of 200 responses are committed, 140 remain; run the same again to draw those." in str(caught.value)
        assert len(check_rows(teacher, bank)) == 60
        fake.fault, before = (lambda _number, _asked: None), len(fake.asked)
        fill(teacher, bank)
        assert len(check_rows(teacher, bank)) == 200
    assert len(fake.asked) - before == 140
    assert left_out(bank) == {}


def test_a_server_that_answers_with_a_web_page_is_as_good_as_gone(fake, opened, tmp_path):
    fake.fault = lambda number, _asked: "page" if number >= 60 else None
    gone = pytest.raises(WorkerError, match=r"failed 8 times in a row, .*: 60 of 200 responses are committed")
    with opened(retries=0) as teacher, gone:
        fill(teacher, Bank(tmp_path))


@pytest.mark.parametrize(
    ("status", "what"),
    [
        (401, "refuses the key"),
        (403, "refuses the key"),
        (402, "wants to be paid"),
        (404, "does not know the model, or the url is not right"),
    ],
)
def test_what_every_further_request_would_meet_ends_the_work_in_one_line(fake, opened, tmp_path, status, what):
    fake.fault, fake.reply["line"] = (lambda number, _asked: status if number >= 60 else None), "no more"
    with opened(concurrency=8) as teacher:
        bank = Bank(tmp_path)
        with pytest.raises(WorkerError) as caught:
            fill(teacher, bank)
        line = str(caught.value)
        assert f"the server at {fake.url} {what} ({status}: no more); " in line
        assert line.endswith("60 of 200 responses are committed, 140 remain; run the same again to draw those.")
        assert "\n" not in line
        assert len(check_rows(teacher, bank)) == 60
    assert len(fake.asked) <= 60 + 8  # nothing more was asked for


def test_a_parameter_that_the_server_does_not_take_ends_the_work_and_names_the_options(fake):
    fake.reply["line"] = {"message": "use max_completion_tokens", "code": "unsupported_parameter"}

    def fault(_number, asked):
        return 400 if "max_tokens" in asked else None

    fake.fault = fault
    with (
        closing(open_teacher("toy", backend="openai", url=fake.url)) as teacher,
        pytest.raises(
            WorkerError, match=r"\(400: use max_completion_tokens\); see the options seeds and max_tokens_field"
        ),
    ):
        list(teacher.stream([ONE], SAMPLING))
    options = {"url": fake.url, "max_tokens_field": "max_completion_tokens"}
    with closing(open_teacher("toy", backend="openai", **options)) as teacher:
        assert len(list(teacher.stream([ONE], SAMPLING))) == 1


def test_a_wrong_key_is_told_before_any_work_and_the_right_one_is_in_no_file(
    fake, opened, tmp_path, monkeypatch, capfd, caplog
):
    """The server repeats the key that it is sent, in its refusals and as the reason why it refuses a prompt."""
    fake.key, secret = "sk-0123456789", "sk-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    monkeypatch.setenv("OUR_KEY", "sk-mistyped")
    with (
        pytest.raises(
            WorkerError, match="refuses the key .*; check the key in the environment variable OUR_KEY"
        ) as wrong,
        opened(api_key_env="OUR_KEY"),
    ):
        pass
    assert "sk-mistyped" not in str(wrong.value)
    monkeypatch.setenv("OUR_KEY", secret)
    fake.fault, fake.reply["line"] = (lambda number, _asked: 400 if number % 50 == 3 else None), f"{secret} may not"
    with caplog.at_level("DEBUG"), opened(api_key_env="OUR_KEY") as teacher:
        bank = fill(teacher, Bank(tmp_path / "bank"), show=print)
        print(teacher.spent, teacher.about, repr(teacher))
        assert set(left_out(bank).values()) == {"the server refused it (400: *** may not)"}
        assert len(check_rows(teacher, bank)) == 196
    told = capfd.readouterr()
    texts = [told.out, told.err, caplog.text, *(str(one) for one in tmp_path.rglob("*"))]
    files = [one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()]
    assert files
    assert "*** may not" in told.out
    assert not any(secret in text for text in texts)
    assert not any(secret.encode() in data for data in files)
    table = bank.table(PROMPTS)  # whose files are compressed
    assert not table.astype(str).apply(lambda column: column.str.contains(secret)).to_numpy().any()
    assert secret not in json.dumps(bank.identity)


def test_ctrl_c_works_at_once_and_what_was_answered_stays(fake, opened, tmp_path):
    fake.fault = lambda number, _asked: "hang" if number >= 60 else None
    bank, pressed = Bank(tmp_path), []

    def press():
        while len(fake.asked) < 60 + 64:  # then 60 answers have come, and 64 requests hang
            time.sleep(0.01)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    with opened() as teacher:
        threading.Thread(target=press, daemon=True).start()
        with pytest.raises(KeyboardInterrupt, match="interrupted: 60 of 200 responses are committed, 140 remain"):
            fill(teacher, bank)
        assert time.monotonic() - pressed[0] < 10.0  # the answers hang for 60 s, and are waited for 600 s
        assert not any(one.name == "uqkd requests" for one in threading.enumerate())
        assert len(check_rows(teacher, bank)) == 60


def test_half_of_a_surrogate_pair_is_refused_without_asking(fake):
    odd = Request((), 2, (("user", "w\ud800"),))
    with closing(open_teacher("toy", backend="openai", url=fake.url)) as teacher:
        answers = dict(teacher.stream([ONE, odd, ONE], SAMPLING))
    assert "half of a surrogate pair" in answers[1].reason
    assert answers[0].text == answers[2].text != ""
    assert len(fake.asked) == 2


def test_a_server_that_is_not_there_or_has_another_model(fake, opened):
    silent = pytest.raises(WorkerError, match=r"does not answer .*; check the url and that it is running")
    with silent, opened(url="http://127.0.0.1:9/v1", retries=0):
        pass
    with pytest.raises(OptionError, match="has no model 'other'; Valid: 'toy'"), opened(model="other"):
        pass
    fake.models = [{"name": "no id"}]
    with pytest.raises(WorkerError, match="sends no list of models; check that the url ends with /v1"), opened():
        pass


def test_a_response_that_a_server_gave_up_is_none(fake, opened):
    """vLLM ends what is under way with "abort" when it is shut down: a part of a response must not stand for a whole one."""

    def abort(_number, asked):
        said_so = {
            "index": 0,
            "finish_reason": "abort",
            "text": "hal",
            "message": {"role": "assistant", "content": "hal"},
        }
        return {"choices": [{**said_so, "logprobs": None}]}

    fake.fault = abort
    with opened() as teacher:
        ((_, answer),) = teacher.stream([ONE], SAMPLING)
    assert answer.reason == "the server's answer holds no response"
