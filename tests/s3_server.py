"""An S3 server on loopback (moto), which counts its requests and, where it is told so, misbehaves like one far away.

Faults come from a keyed stream: refusals (503, 429), connections dropped before and after the request was done, answers cut in
the middle, and slow ones.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from uqkd import seeds

FAULTS = ("503", "429", "slow", "dropped before", "dropped after", "cut upload", "cut answer")
_ERROR = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{code} here</Message></Error>"
_STATUS = {
    "SlowDown": "503 Slow Down",
    "TooManyRequests": "429 Too Many Requests",
    "NotImplemented": "501 Not Implemented",
}
_REFUSED = {"503": "SlowDown", "429": "TooManyRequests"}
_SLOW_S = 0.05


def _has_none(_proxy: Any, name: str) -> Any:
    raise AttributeError(name)


@dataclass
class Server:
    """A running server."""

    url: str
    bucket: str = "bucket"
    root: str = ""  # a URL for one test
    requests: Counter[str] = field(default_factory=Counter)  # by method, and "list" for listings
    faults: Counter[str] = field(default_factory=Counter)  # that were done, by kind
    share: float = 0.0  # of requests with a fault
    code: str = ""  # every request is refused with it
    unconditional: bool = False  # conditional writes are not known
    stream: Any = None

    @contextmanager
    def counted(self) -> Iterator[Counter[str]]:
        """Requests of what happens inside."""
        before, found = Counter(self.requests), Counter[str]()
        yield found
        found.update(self.requests - before)

    @contextmanager
    def faulty(self, *key: object, share: float) -> Iterator[Counter[str]]:
        """Faults from here to the end of the block, in a share of the requests."""
        self.stream, self.share, self.faults = seeds.generator("tests", "s3", *key), share, Counter()
        try:
            yield self.faults
        finally:
            self.share = 0.0

    @contextmanager
    def refusing(self, code: str) -> Iterator[None]:
        """Every request is answered with this error."""
        self.code = code
        try:
            yield
        finally:
            self.code = ""

    def keys(self) -> dict[str, bytes]:
        """Every object, without a request."""
        from moto.s3.models import s3_backends

        found = s3_backends["123456789012"]["global"].buckets[self.bucket].keys
        return {name: key.value for name, key in found.items()}

    def keys_below(self, root: str) -> list[str]:
        """Names of the objects below a URL."""
        return [name for name in self.keys() if name.startswith(root.removeprefix(f"s3://{self.bucket}/") + "/")]

    def stamp(self, name: str) -> object:
        """What changes when an object is written anew."""
        from moto.s3.models import s3_backends

        return id(s3_backends["123456789012"]["global"].buckets[self.bucket].keys[name])

    def place(self, name: str, data: bytes) -> None:
        """Put an object, without a request."""
        from moto.s3.models import s3_backends

        s3_backends["123456789012"]["global"].put_object(self.bucket, name, data)

    def clear(self, root: str) -> None:
        """Forget what is below a URL: every listing goes over all there is."""
        for name in self.keys_below(root):
            self.delete(name)

    def delete(self, name: str) -> None:
        """Delete an object, without a request."""
        from moto.s3.models import s3_backends

        s3_backends["123456789012"]["global"].delete_object(self.bucket, name)


class _Unwell:
    """moto's application with the faults before it."""

    def __init__(self, inner: Callable[..., Iterable[bytes]], server: Server) -> None:
        self.inner, self.server, self.lock = inner, server, threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        server, method = self.server, environ["REQUEST_METHOD"]
        with self.lock:
            server.requests["list" if "list-type" in environ.get("QUERY_STRING", "") else method] += 1
            ill = server.share > 0 and server.stream.random() < server.share
            kind = FAULTS[server.faults.total() % len(FAULTS)] if ill else ""  # each in its turn: all of them are met
            if kind:
                server.faults[kind] += 1
        code = server.code or _REFUSED.get(kind, "")
        if server.unconditional and "HTTP_IF_NONE_MATCH" in environ:
            code = "NotImplemented"
        if code:
            return _refuse(environ, start, code)
        if kind == "slow":
            time.sleep(_SLOW_S)
        if kind in ("dropped before", "cut upload"):
            if kind == "cut upload":
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0) // 2)
            return _drop(environ)
        with self.lock:  # moto's memory is not made for several threads
            answer = b"".join(self.inner(environ, start))
        if kind == "dropped after":
            return _drop(environ)
        return _cut(environ, answer) if kind == "cut answer" else [answer]


def _refuse(environ: dict[str, Any], start: Callable[..., Any], code: str) -> Iterable[bytes]:
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start(_STATUS.get(code, "403 Forbidden"), [("Content-Type", "application/xml")])
    return [_ERROR.format(code=code).encode()]


def _drop(environ: dict[str, Any]) -> Iterable[bytes]:
    with suppress(OSError):
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError


def _cut(environ: dict[str, Any], answer: bytes) -> Iterator[bytes]:
    yield answer[: len(answer) // 2]
    with suppress(OSError):
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


@contextmanager
def serving() -> Iterator[Server]:
    """A server with one bucket, on a free port of this machine."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from moto.s3.models import s3_backends
    from werkzeug.local import LocalProxy
    from werkzeug.serving import WSGIRequestHandler, make_server

    # vLLM, as it starts, asks every value of every module of the process whether it has a __dict__: Flask's would end it.
    vars(LocalProxy)["__getattr__"].fallback = _has_none

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are kept, as those of a real store are

        def log(self, *arguments: object) -> None:
            """Nothing: faults are on purpose."""

    server = Server("")
    app = _Unwell(DomainDispatcherApplication(create_backend_app), server)
    running = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    running.daemon_threads = True
    server.url = f"http://127.0.0.1:{running.server_port}"
    s3_backends["123456789012"]["global"].create_bucket(server.bucket, "us-east-1")
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        running.shutdown()
        running.server_close()
        thread.join()
        s3_backends["123456789012"]["global"].reset()
