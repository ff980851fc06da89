"""What is published in a folder of results, as the page shows it: one study after another, by layer."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pandas as pd

from uqkd.errors import DataError
from uqkd.report.figures import GROUPS
from uqkd.report.page.audit import Comparisons, compared, comparisons, numbers
from uqkd.report.page.tables import Table, first_rows
from uqkd.store import Store

OTHER = "own"  # group of studies that name no group, or one that is not known
LAST = 1_000  # place of studies that name none
PNG_HEADER = 24  # bytes, to the end of width and height
LEAD = 320  # characters of a caption that stand open; what follows is folded
STATEMENT = re.compile(r"(?<!\w)T(?:1[0-2]|[1-9])(?!\w)")


@dataclass(frozen=True)
class Published:
    """One published figure, its answer and its tables."""

    name: str
    title: str
    caption: str
    table: pd.DataFrame
    files: tuple[str, ...]
    place: int
    group: str = OTHER
    answer: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    size: tuple[int, int] | None = None
    source: str = ""

    @property
    def checks(self) -> pd.DataFrame:
        """The rows that hold a statement against a simulation with something random in it."""
        return compared(self.table, judged=True)

    @property
    def picture(self) -> str:
        """Path of the figure in the results, if it is there."""
        path = f"figures/{self.name}.png"
        return path if path in self.files else ""

    @property
    def alt(self) -> str:
        """What is seen, for those who do not see the figure: how the caption begins, or the answer."""
        return leading(self.caption, 200)[0] or self.answer or f"Figure of the study {self.name}"

    @property
    def statements(self) -> list[str]:
        """Statements of the theory that the table is held against, and those that the texts name."""
        judged = {str(text) for text in self.table.get("statement", pd.Series(dtype=object)).dropna().unique()}
        found = {one for text in (*judged, self.caption, self.answer) for one in STATEMENT.findall(text)}
        return sorted(found, key=lambda statement: int(statement[1:]))

    @property
    def preset(self) -> str:
        """Preset of the run, if it is known."""
        return str(self.settings.get("preset") or "")

    @property
    def version(self) -> str:
        """Version of the package that ran the study, if it is known."""
        return str(self.settings.get("version") or "")

    @property
    def options(self) -> list[tuple[str, str]]:
        """Options of the run as texts; of a path only the last part, for folders are nobody's business."""
        options = self.settings.get("options") or {}
        return [(str(key), _option(value)) for key, value in sorted(options.items())]

    def numbers(self, limit: float) -> list[str]:
        """What the summary of the audit says of the study."""
        return numbers(self.table, limit)

    def comparisons(self, limit: float) -> list[Comparisons]:
        """Tables of the study's audit."""
        return comparisons(self.table, limit)


def published(store: Store) -> list[Published]:
    """Every figure in the store: by layer, and in a layer in the order of the gallery.

    Raises
    ------
    DataError
        What a study wrote cannot be read; names the file.
    """
    files = [f"{room}/{file}" for room in ("figures", "tables") for file in store.folder.names(room)]
    abouts = [path for path in files if path.startswith("figures/") and path.endswith(".json")]
    found = []
    for path in abouts:
        try:
            found.append(_published(store, path.removeprefix("figures/").removesuffix(".json"), files))
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as problem:
            raise DataError(f"{path} of {store.root!r} cannot be read: {problem!r}. Run the study again.") from None
    layers = list(GROUPS)
    return sorted(found, key=lambda item: (layers.index(item.group), item.place, item.name))


def leading(text: str, length: int = LEAD) -> tuple[str, str]:
    """A text's first sentences of about this length together (at least one), and the rest.

    Examples
    --------
    >>> leading("A student learns. It keeps .97 of the doubt. And more.", 45)
    ('A student learns. It keeps .97 of the doubt.', 'And more.')
    """
    sentences = re.split(r"(?<=[a-zé0-9)\]%²][.!?])\s+(?=[A-Z\"“\[(κ])", text.strip())
    lead = sentences[0]
    for number, sentence in enumerate(sentences[1:], 1):
        if len(lead) + len(sentence) >= length:
            return lead, " ".join(sentences[number:])
        lead = f"{lead} {sentence}"
    return lead, ""


def beside(store: Store, path: str) -> str:
    """A project's file as a link from the page, where the results lie in that project's folder; empty elsewhere.

    Parameters
    ----------
    store : Store
        The results.
    path : str
        From the project's folder, such as "docs/theory.md".
    """
    root = getattr(store.folder, "root", None)
    project = root.resolve().parent if isinstance(root, Path) else None
    return f"../{path}" if project is not None and (project / path).is_file() else ""


def said(answer: str) -> str:
    """An answer as a sentence of its own, without the signs that the README's table needs.

    Examples
    --------
    >>> said("**all of it**, largest \\\\|z\\\\| 2.7"), said("κ is 1"), said("k is 2"), said("")
    ('All of it, largest |z| 2.7.', 'κ is 1.', 'k is 2.', '')
    """
    text = answer.replace("**", "").replace("`", "").replace("\\|", "|").strip()
    letter = re.match(r"(?![a-z]\b)[a-z]|a ", text) is None  # a letter of a formula stays small
    return (text if letter else text[:1].upper() + text[1:]) + ("" if text[-1:] in (".", "!", "?", "") else ".")


def png_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels from a PNG file's header; None of anything else.

    Examples
    --------
    >>> png_size(bytes.fromhex("89504e470d0a1a0a0000000d49484452000000100000000a")), png_size(b"GIF89a")
    ((16, 10), None)
    """
    if data[:8] != b"\x89PNG\r\n\x1a\n" or len(data) < PNG_HEADER:
        return None
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _published(store: Store, name: str, files: list[str]) -> Published:
    about = json.loads(store.folder.read(f"figures/{name}.json"))
    own = [path for path in files if path.split("/", 1)[1].split(".", 1)[0] == name and not path.endswith(".json")]
    data = {path: store.folder.read(path) for path in sorted(own) if path.endswith(".csv")}
    group = about.get("group")
    return Published(
        name,
        about["title"],
        about["caption"],
        pd.read_csv(io.BytesIO(data[main])) if (main := f"tables/{name}.csv") in data else pd.DataFrame(),
        tuple(sorted(own)),
        about.get("place", LAST),
        group=group if group in GROUPS else OTHER,
        answer=said((about.get("answer") or {}).get("text") or ""),
        settings=about.get("settings") or {},
        tables=tuple(first_rows(path, one) for path, one in data.items()),
        size=_size(store, f"figures/{name}.png") if f"figures/{name}.png" in own else None,
        source=beside(store, f"studies/{name}.py") if name.isidentifier() else "",
    )


def _size(store: Store, path: str) -> tuple[int, int] | None:
    with store.folder.open(path) as file:
        return png_size(file.read(PNG_HEADER))


def _option(value: Any) -> str:
    if isinstance(value, str):
        path = value[:1] in "~." or PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute()
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1] if path else value
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_option(one)}" for key, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(_option(one) for one in value) or "none"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
