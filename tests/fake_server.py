"""A real HTTP server on this machine whose model answers with what it was asked and seeded with, and that fails on demand."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


def said(asked: object, seed: int | None) -> str:
    """The answer to these messages or token ids with this seed: no other request has the same."""
    return hashlib.blake2b(json.dumps([asked, seed]).encode(), digest_size=8).hexdigest()


def drawn(prompt_ids: list[int], seed: int) -> list[int]:
    """The same as token ids of the tiny model, and the token that ends it."""
    return [4 + byte % 250 for byte in bytes.fromhex(said(prompt_ids, seed))] + [2]


@dataclass
class Fake:
    """What the server was asked, and what it shall do.

    Attributes
    ----------
    fault : callable
        Given the number of a request (from 0) and its body, what happens to it: None, an answer's status, "cut", "hang",
        "garbage", "page", "empty", "none", "filtered", "abort", or a dict of what is changed in the answer.
    pause_s : callable
        Given the same, how long the answer takes.
    key : str
        What the server wants to hear; empty for nothing.
    models : list
        Of GET /models; None for a server without it.
    """

    url: str = ""
    asked: list[Body] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    fault: Callable[[int, Body], Any] = lambda _number, _asked: None
    pause_s: Callable[[int, Body], float] = lambda _number, _asked: 0.0
    reply: dict[str, Any] = field(default_factory=dict)  # "headers" and "line" of faults that are a status
    key: str = ""
    models: list[Body] | None = field(
        default_factory=lambda: [{"id": "toy", "object": "model", "created": 1, "owned_by": "us"}]
    )
    under_way: int = 0
    most: int = 0
    lock: Any = field(default_factory=threading.Lock)
    ended: Any = field(default_factory=threading.Event)


class _Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every answer takes the 40 ms of a delayed acknowledgement

    @property
    def fake(self) -> Fake:
        return self.server.fake  # type: ignore[attr-defined,no-any-return]

    def send(self, body: Any, code: int = 200, *, kind: str = "application/json", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(data)), "Content-Type": kind, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def refused(self) -> bool:
        self.fake.headers.append({name.lower(): value for name, value in self.headers.items()})
        if self.fake.key and self.headers["Authorization"] != f"Bearer {self.fake.key}":
            self.send({"error": {"message": f"wrong key: {self.headers['Authorization']}"}}, 401)
            return True
        return False

    def do_GET(self) -> None:
        if self.refused():
            return
        if self.fake.models is None or not self.path.endswith("/models"):
            return self.send({"error": {"message": "not here"}}, 404)
        self.send({"object": "list", "data": self.fake.models})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.refused():
            return
        fake = self.fake
        with fake.lock:
            number = len(fake.asked)
            fake.asked.append(asked)
            fake.paths.append(self.path)
            fake.under_way += 1
            fake.most = max(fake.most, fake.under_way)
        try:
            time.sleep(fake.pause_s(number, asked))
            self.answer(asked, fake.fault(number, asked))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has gone
        finally:
            with fake.lock:
                fake.under_way -= 1

    def answer(self, asked: Body, fault: Any) -> None:
        whole = (self.chat if self.path.endswith("/chat/completions") else self.completion)(asked, fault)
        if isinstance(fault, int):
            line = self.fake.reply.get("line", "no")
            error = line if isinstance(line, dict) else {"message": line}
            return self.send({"error": error}, fault, **self.fake.reply.get("headers", {}))
        if fault == "hang":
            self.fake.ended.wait(60.0)
        if fault in ("cut", "hang"):
            self.close_connection = True
            if fault == "cut":  # in the middle of an answer
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b'{"id"')
        elif fault == "garbage":
            self.send(b'{"id": "1", "choices": [{')
        elif fault == "page":
            self.send(b"<html>busy</html>", kind="text/html")
        else:
            self.send({**whole, **fault} if isinstance(fault, dict) else whole)

    def chat(self, asked: Body, fault: Any) -> Body:
        text: str | None = said(asked["messages"], asked.get("seed"))
        text = {"empty": "", "none": None, "filtered": None}.get(str(fault), text)
        reason = {"filtered": "content_filter", "abort": "abort"}.get(str(fault), "stop")
        choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37}
        return {
            "id": "1", "object": "chat.completion", "created": 1, "model": asked["model"], "choices": [choice], "usage": usage,
        }  # fmt: skip

    def completion(self, asked: Body, fault: Any) -> Body:
        ids = drawn(asked["prompt"], asked["seed"])
        ids = ids[-1:] if fault == "empty" else ids
        logs = {
            "tokens": ["a"] * len(ids), "token_logprobs": [-1.5] * len(ids), "top_logprobs": None,
            "text_offset": list(range(len(ids))),
        }  # fmt: skip
        choice = {"index": 0, "text": "?", "finish_reason": "stop", "token_ids": ids, "logprobs": logs}
        usage = {"prompt_tokens": len(asked["prompt"]), "completion_tokens": len(ids), "total_tokens": 0}
        return {
            "id": "1", "object": "text_completion", "created": 1, "model": asked["model"], "choices": [choice], "usage": usage,
        }  # fmt: skip

    def log_message(self, *_arguments: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # connections may come all at once

    def handle_error(self, *_what: object) -> None:
        pass  # connections that the client cut


@contextmanager
def fake_server() -> Iterator[Fake]:
    """The server, until the block ends."""
    fake = Fake()
    server = _Server(("127.0.0.1", 0), _Endpoint)
    server.fake = fake  # type: ignore[attr-defined]
    fake.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        fake.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
