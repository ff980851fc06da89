"""What a server says about its models and about itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from uqkd.errors import OptionError, WorkerError, nearest
from uqkd.llm.models.revision import model_revision
from uqkd.llm.teachers.servers.connection import Connection
from uqkd.llm.teachers.servers.problems import stop_of

LISTS_ALL = ("vllm", "llamacpp")  # who list every model that they have
_FEW = 8  # models of a server that has not many, and lists them
_PATIENCE_S = 30.0
_RETRIES = 2
_VERSIONS = (("/version", "version"), ("/props", "build_info"))  # vLLM's; llama.cpp's
_NO_LIST = (404, 405, 501)  # of a server that does not list its models


@dataclass(frozen=True)
class Card:
    """What a server says about a model.

    Attributes
    ----------
    name : str
        As the server knows it.
    owner : str
        "vllm" and "llamacpp" from these two; others say what they like, or nothing.
    revision : str
        Fingerprint of the model's folder if the server's lies here; otherwise unknown, with the name.
    context : int
        Most tokens of prompt and response; 0 where it is not told.
    """

    name: str
    owner: str = ""
    revision: str = ""
    context: int = 0

    @property
    def short(self) -> str:
        """The name without the folders of a server that names its model by its place."""
        return Path(self.name.rstrip("/")).name if self.name.startswith((".", "/", "~")) else self.name


def cards(connection: Connection) -> list[Card]:
    """The models of a server; none where it does not list them.

    Raises
    ------
    WorkerError
        It does not answer, or refuses the key.
    """
    from openai import APIStatusError, OpenAIError

    try:
        with connection.client(timeout_s=_PATIENCE_S, retries=_RETRIES) as client:
            listed = getattr(client.models.list(), "data", None)
    except (OpenAIError, ValueError) as problem:
        if isinstance(problem, APIStatusError) and problem.status_code in _NO_LIST:
            return []
        said = f"the server at {connection.shown} does not answer ({connection.line(problem)})"
        raise stop_of(problem, connection) or WorkerError(f"{said}; check the url and that it is running.") from None
    if not isinstance(listed, list) or any(not getattr(card, "id", None) for card in listed):
        raise WorkerError(
            f"the server at {connection.shown} sends no list of models; check that the url ends with /v1."
        )
    return [_card(card) for card in listed]


def _card(card: Any) -> Card:
    name, root = str(card.id), str(getattr(card, "root", None) or "")
    here = bool(root) and (Path(root) / "config.json").is_file()
    context = getattr(card, "max_model_len", None)
    return Card(
        name,
        str(getattr(card, "owned_by", None) or ""),
        model_revision(root) if here else f"unknown:{name}",
        context if isinstance(context, int) else 0,
    )


def chosen(known: list[Card], name: str, connection: Connection) -> Card:
    """The model of this name; where a server lists none, or not all as hosted ones do, it is taken as it is given.

    Raises
    ------
    OptionError
        A server that lists all its models has none of this name.

    Examples
    --------
    >>> there = Connection("http://host/v1", "", retries=5, timeout_s=600.0)
    >>> chosen([], "some-model", there).revision
    'unknown:some-model'
    >>> chosen([Card("llama")], "lama", there)
    Traceback (most recent call last):
    uqkd.errors.OptionError: the server at http://host/v1 has no model 'lama'; did you mean 'llama'? Valid: 'llama'.
    """
    found = next((card for card in known if card.name == name), None)
    if found is not None:
        return found
    if known and (len(known) <= _FEW or all(card.owner in LISTS_ALL for card in known)):
        names = [card.name for card in known]
        raise OptionError(f"the server at {connection.shown} has no model {name!r}; {nearest(name, names)}.")
    return Card(name, revision=f"unknown:{name}")


def version_of(connection: Connection) -> str:
    """The server's version where it tells it, as vLLM and llama.cpp do beside /v1."""
    from openai import OpenAIError

    parts = urlsplit(connection.url)
    with connection.client(timeout_s=_PATIENCE_S, retries=0) as client:
        for path, name in _VERSIONS:
            try:
                answer: Any = client.get(f"{parts.scheme}://{parts.netloc}{path}", cast_to=object)
            except (OpenAIError, ValueError):
                continue
            if isinstance(answer, dict) and answer.get(name):
                return str(answer[name])
    return "unknown"
