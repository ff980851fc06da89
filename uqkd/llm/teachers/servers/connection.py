"""Where a server is and how it is addressed. Its key and headers are in no message, file, representation or log."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from uqkd.errors import LibraryError, OptionError

NO_KEY = "none"  # the client sends something in any case
_CONNECT_S = 10.0
_SHOWN = 200  # characters of a server's line
_LEAST_SECRET = 4  # characters; shorter ones would black out parts of words
_VARIABLE = re.compile(r"\$([A-Za-z_]\w*)")


@dataclass(frozen=True)
class Connection:
    """A server's address and what it wants to hear with every request.

    Attributes
    ----------
    url : str
        With its /v1.
    key_name : str
        Environment variable that holds the key; empty for none.
    retries : int
        Of one request after 408, 409, 429, 5xx, a timeout or a cut connection; the pauses grow, or are what the server says.
    timeout_s : float
        For one answer.
    """

    url: str = field(repr=False)  # may hold a password
    key_name: str
    retries: int
    timeout_s: float
    _key: str = field(default=NO_KEY, repr=False)
    _headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        url: str | None,
        *,
        key_name: str | None,
        headers: Mapping[str, str] | None,
        retries: int,
        timeout_s: float,
    ) -> Connection:
        """The connection, its key and headers read from the environment.

        Parameters
        ----------
        url : str, optional
            If not given, the client library's own, or what OPENAI_BASE_URL names.
        key_name : str, optional
            Environment variable that holds the key.
        headers : mapping, optional
            "$NAME" in a value stands for an environment variable.
        retries, timeout_s
            See the class.

        Raises
        ------
        LibraryError
            The client library is not installed.
        OptionError
            A bad URL, or an environment variable that is not set.

        Examples
        --------
        >>> there = Connection.of("http://ann:secret@host:80/v1", key_name=None, headers=None, retries=5, timeout_s=600.0)
        >>> there.shown
        'http://host:80/v1'
        """
        try:
            from openai import OpenAI
        except ImportError:
            raise LibraryError("teachers behind servers need the library openai: pip install openai.") from None
        if url is None:
            with OpenAI(api_key=NO_KEY) as client:
                url = str(client.base_url)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OptionError(f"url got {_shown(url)!r}; write it as http://host:port/v1.")
        key = _variable(key_name, "api_key_env") if key_name else NO_KEY
        told = {name: _filled(name, value) for name, value in (headers or {}).items()}
        return cls(url, key_name or "", retries, timeout_s, key, told)

    @property
    def shown(self) -> str:
        """The URL without user, password and query."""
        return _shown(self.url)

    def client(self, *, timeout_s: float, retries: int) -> Any:
        """A client for what is asked once."""
        from openai import OpenAI

        return OpenAI(**self._common(min(self.timeout_s, timeout_s)), max_retries=min(self.retries, retries))

    def async_client(self, before: Callable[[Any], Awaitable[None]]) -> Any:
        """A client for many requests; `before` is awaited before each that goes out, also before those sent again."""
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        http = DefaultAsyncHttpxClient(event_hooks={"request": [before]})
        return AsyncOpenAI(**self._common(self.timeout_s), max_retries=self.retries, http_client=http)

    def _common(self, timeout_s: float) -> dict[str, Any]:
        from openai import Timeout

        patience = Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S))
        return {"base_url": self.url, "api_key": self._key, "default_headers": dict(self._headers), "timeout": patience}

    def line(self, problem: Exception) -> str:
        """What went wrong, as the server says it where it does, in one line without secrets."""
        told = getattr(problem, "body", None)
        while isinstance(told, dict):
            told = next((told[name] for name in ("message", "detail", "error") if told.get(name)), None)
        cause = (problem.__cause__ if type(problem).__name__ == "APIConnectionError" else None) or problem
        text = str(told) if told else f"{type(cause).__name__}: {cause}"
        return self.without_secrets(" ".join(text.split()))[:_SHOWN].rstrip(". ")

    def without_secrets(self, text: str) -> str:
        """The text with the key and the headers' values blacked out, in case a server repeats them."""
        words = {self._key, *self._headers.values()}
        words |= {word for value in self._headers.values() for word in value.split()}
        for word in sorted(words - {NO_KEY}, key=len, reverse=True):
            if len(word) >= _LEAST_SECRET:
                text = text.replace(word, "***")
        return text


def _variable(name: str, option: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise OptionError(
            f"{option} names the environment variable {_name(name)!r}, which is not set; export it first."
        )
    if not _is_header(value):
        raise OptionError(
            f"the environment variable {_name(name)!r} must hold one line of ASCII text; it has other characters."
        )
    return value


def _is_header(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable()


def _name(name: str) -> str:
    """The name of a variable; but people put the key itself there, and then it must not be shown."""
    return name if re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", name) else f"{name[:2]}***"


def _filled(name: str, value: Any) -> str:
    if not _is_header(value):
        raise OptionError(f"header {name!r} must be a line of ASCII text, or $NAME for an environment variable.")
    return _VARIABLE.sub(lambda found: _variable(found[1], f"header {name!r}"), value)


def _shown(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rsplit("@", 1)[-1]
    return f"{parts.scheme}://{host}{parts.path}".rstrip("/") if parts.scheme and host else url[:_SHOWN]
