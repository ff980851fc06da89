"""What was written by name (figures, tables, pages, facts of students), by the hash that it had then.

A unit's name holds its hash. A figure's cannot: it is replaced under one name. So a record is written first, with the new hash
and the last ones, and the file after it: whenever the writer is killed, the file that is there is one that the record knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote

from uqkd.store.durable import Folder
from uqkd.store.units import content_hash

RECORDS = ".uqkd/hashes"  # below the root
ROOMS = ("figures", "tables")  # where every file is one of ours
_NAME_CHARACTERS = 200  # file systems take 255 bytes
_REMEMBERED = (
    8  # hashes of a file, the newest first: of this version and of those that a killed writer would have replaced
)


@dataclass(frozen=True)
class Fault:
    """A file that is not what was written.

    Attributes
    ----------
    path : str
        Below the root.
    reason : str
    record : str
        Path of its record; empty if it has none.
    """

    path: str
    reason: str
    record: str = ""


def write_recorded(folder: Folder, path: str, data: bytes) -> None:
    """Write a file and, before it, its record.

    Examples
    --------
    >>> from uqkd.store.durable import open_folder
    >>> folder = open_folder("memory://records-doc")
    >>> write_recorded(folder, "figures/a.csv", b"1")
    >>> faults_of_files(folder)
    (1, [])
    >>> folder.write("figures/a.csv", b"2")
    >>> faults_of_files(folder)[1][0].reason
    'does not match what was written (1 bytes)'
    """
    digest = content_hash(data)
    before = _hashes(folder, path)
    if before[:1] != (digest,):
        _write(folder, path, (digest, *before))
    folder.write(path, data)
    if digest not in (after := _hashes(folder, path)):  # another writer of the same file replaced the record meanwhile
        _write(folder, path, (digest, *after))


def faults_of_files(folder: Folder) -> tuple[int, list[Fault]]:
    """Count of the files that are what was written, and the others; in the rooms of figures and tables strangers too."""
    good, faults, known = 0, list[Fault](), set[str]()
    for name in sorted(folder.names(RECORDS)):
        record = f"{RECORDS}/{name}"
        found = _parsed(name, _bytes(folder, record) or b"")
        if found is None:
            whose = unquote(name.removesuffix(".json"))
            faults.append(Fault(record, "damaged record", record))
            if _bytes(folder, whose) is not None:
                known.add(whose)
                faults.append(Fault(whose, "its record is damaged: nobody can tell whether it is what was written"))
            continue
        path, hashes = found
        known.add(path)
        data = _bytes(folder, path)
        if data is not None and content_hash(data) in hashes:
            good += 1
        elif data is None:
            faults.append(Fault(path, "missing", record))
        else:
            reason = f"does not match what was written ({len(data)} bytes)" if data else "empty file"
            faults.append(Fault(path, reason, record))
    return good, [*faults, *_strangers(folder, known)]


def repair_files(folder: Folder) -> list[Fault]:
    """Move what `faults_of_files` finds to quarantine and forget its records, so that a run writes it anew; return it."""
    found: list[Fault] = []
    while faults := faults_of_files(folder)[1]:  # what a damaged record was of is a stranger afterwards
        for fault in faults:
            if fault.path != fault.record and (data := _bytes(folder, fault.path)) is not None:
                folder.move(fault.path, f"quarantine/{fault.path}.{content_hash(data)[:8]}")
            if fault.record:
                folder.remove(fault.record)
        found += faults
    return found


def _strangers(folder: Folder, known: set[str]) -> Iterator[Fault]:
    for room in ROOMS:
        for name in sorted(folder.names(room)):
            if (path := f"{room}/{name}") not in known:
                yield Fault(path, "foreign file, or one of an older version: nothing is recorded of it")


def _place(path: str) -> str:
    """The record's own name says whose it is, even when it is damaged; a very long one by its hash."""
    name = quote(path, safe="", errors="surrogatepass")
    return f"{RECORDS}/{name if len(name) <= _NAME_CHARACTERS else content_hash(name.encode())}.json"


def _write(folder: Folder, path: str, hashes: tuple[str, ...]) -> None:
    kept = list(dict.fromkeys(hashes))[:_REMEMBERED]
    text = json.dumps([path, kept])
    folder.write(_place(path), json.dumps([path, kept, content_hash(text.encode())]).encode())


def _hashes(folder: Folder, path: str) -> tuple[str, ...]:
    place = _place(path)
    found = _parsed(place.rsplit("/", 1)[-1], _bytes(folder, place) or b"")
    return found[1] if found else ()


def _parsed(name: str, data: bytes) -> tuple[str, tuple[str, ...]] | None:
    """Path and hashes of a record; None if it is damaged or of another file."""
    try:
        path, hashes, check = json.loads(data)
        sound = check == content_hash(json.dumps([path, hashes]).encode()) and _place(path).endswith(f"/{name}")
    except (ValueError, TypeError, AttributeError):
        return None
    return (path, tuple(hashes)) if sound else None


def _bytes(folder: Folder, path: str) -> bytes | None:
    try:
        return folder.read(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
