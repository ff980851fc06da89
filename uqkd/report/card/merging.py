"""A README that holds a card between two marks: what people wrote around it stays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from uqkd.errors import DataError
from uqkd.report.card.card import Card

BEGIN = (
    "<!-- uqkd card: what stands from here to the next such line is written anew by uqkd distill and uqkd measure -->"
)
END = "<!-- uqkd card: end; what stands before and after is yours -->"
_HEAD = re.compile(r"\A\s*---[ \t]*\n(.*?\n)??---[ \t]*(?:\n|\Z)", re.DOTALL)
_ONCE = ("base_model", "library_name", "pipeline_tag")  # written where nobody has said it
_KEY = re.compile(r"""^(?P<quote>["']?)(?P<name>[\w-]+)(?P=quote)\s*:""")


def merged(card: Card, old: str = "") -> str:
    """The README with this card in it.

    Parameters
    ----------
    card : Card
    old : str
        As it is; empty where there is none. Its text outside of the marks stays to the letter, its metadata as they are but for
        `teacher`, `teacher_revision` and `uqkd`, which are the card's, and tags that the card adds.

    Raises
    ------
    DataError
        Marks that do not pair, or metadata that are no YAML mapping.

    Examples
    --------
    >>> card = Card({"tags": ["uqkd"]}, "student-0", "Not measured.")
    >>> first = merged(card)
    >>> first.splitlines()[:5]
    ['---', 'tags:', '- uqkd', '---', '']
    >>> merged(card, first) == first
    True
    >>> merged(Card({"tags": ["uqkd"]}, "", "Measured."), first + "Mine.\\n").splitlines()[-3:] == ["Measured.", END, "Mine."]
    True
    """
    crlf = "\r\n" in old and "\n" not in old.replace("\r\n", "")
    text = (old.replace("\r\n", "\n") if crlf else old).removeprefix("\ufeff")
    head, rest = _split(text)
    part = f"{BEGIN}\n{card.body.strip()}\n{END}"
    if not rest.strip():
        body = f"\n# {card.title}\n\n{part}\n"
    else:
        body = _replaced(rest, part)
    whole = f"---\n{_metadata(card.metadata, head).rstrip()}\n---\n{body}"
    return whole.replace("\n", "\r\n") if crlf else whole


def _split(text: str) -> tuple[str, str]:
    """The YAML of the head, and the rest."""
    found = _HEAD.match(text)
    return (
        ("", text if not text or text.startswith("\n") else f"\n{text}")
        if found is None
        else (found[1] or "", text[found.end() :])
    )


def _replaced(rest: str, part: str) -> str:
    lines = rest.split("\n")
    begins, ends = ([n for n, line in enumerate(lines) if line.strip() == mark] for mark in (BEGIN, END))
    if not begins and not ends:
        return f"{rest.rstrip()}\n\n{part}\n"
    if len(begins) != 1 or len(ends) != 1 or begins[0] > ends[0]:
        raise DataError(
            f"README.md needs one line that begins the card and one after it that ends it; it has {len(begins)} and {len(ends)}. "
            "Put them right, or delete both with what is between: then the card is added at the end."
        )
    return "\n".join([*lines[: begins[0]], *part.split("\n"), *lines[ends[0] + 1 :]])


def _metadata(ours: Mapping[str, Any], head: str) -> str:
    """The YAML of the head: what people wrote stays line by line, what is ours is put in its place or at the end."""
    known = _mapping(head)
    wanted = {name: value for name, value in ours.items() if name not in _ONCE or known.get(name) is None}
    if known.get("tags") is not None:
        had = known["tags"] if isinstance(known["tags"], list) else [known["tags"]]
        wanted["tags"] = [*had, *(tag for tag in ours["tags"] if tag not in had)]
    wanted = {name: value for name, value in wanted.items() if name not in known or known[name] != value}
    gone = [name for name in ("teacher", "teacher_revision") if name in known and name not in ours]
    whole = {name: value for name, value in {**known, **wanted}.items() if name not in gone}
    if whole == known:
        return head
    parts: list[tuple[str, str]] = []
    for line in head.splitlines():
        key = _KEY.match(line)
        if key or not parts or line.startswith("#"):  # a remark of people goes with nothing that is replaced
            parts.append((key["name"] if key else "", line))
        else:
            parts[-1] = (parts[-1][0], f"{parts[-1][1]}\n{line}")
    kept = [
        (name, _dumped({name: wanted.pop(name)}) if name in wanted else text)
        for name, text in parts
        if name not in gone
    ]
    text = "\n".join([*(text for _, text in kept), *([_dumped(wanted)] if wanted else [])]).strip("\n")
    return text if _mapping_or_none(text) == whole else _dumped(whole)


def _dumped(value: Mapping[str, Any]) -> str:
    """As `huggingface_hub` writes metadata."""
    return yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True).strip()


def _mapping(head: str) -> dict[str, Any]:
    found = _mapping_or_none(head)
    if found is None:
        raise DataError(
            "README.md begins with metadata between two lines of --- that are no YAML mapping; put them right."
        )
    return found


def _mapping_or_none(head: str) -> dict[str, Any] | None:
    try:
        found = yaml.safe_load(head) if head.strip() else {}
    except yaml.YAMLError:
        return None
    return found if isinstance(found, dict) else {} if found is None else None
