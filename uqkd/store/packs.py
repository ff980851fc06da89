"""Packs: many small units in one Parquet file, each with the very bytes and name it had as a file of its own.

A pack has two columns, `name` and `unit`, and is itself named by its contents, `pack-<content>.parquet`. Because
a unit inside keeps its name, it is verified in the same way as a loose one.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import accumulate

import pyarrow as pa
import pyarrow.parquet as pq

from uqkd.errors import StoreError
from uqkd.store.durable import Folder
from uqkd.store.units import content_hash, fault_of

PACK_NAME = re.compile(r"pack-([0-9a-f]{32})\.parquet")
_ROWS_PER_GROUP = 256  # one unit is read by decoding one group: about 1 MB of small units
_GROUP_BYTES = 8 * 2**20  # fewer of large ones, so that a pack is read in bounded memory
_BLOCK_BYTES = 2**20  # hashed at once
_SCHEMA = pa.schema([("name", pa.string()), ("unit", pa.binary())])


def encode_pack(units: dict[str, bytes]) -> tuple[str, bytes]:
    """Name and bytes of the pack that holds `units`; equal units give equal bytes.

    Examples
    --------
    >>> name, data = encode_pack({"b": b"2", "a": b"1"})
    >>> bool(PACK_NAME.fullmatch(name)), list(units_of(pa.BufferReader(data)))
    (True, [('a', b'1'), ('b', b'2')])
    """
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, _SCHEMA, compression="zstd") as writer:
        for names in _groups(units):
            writer.write_table(pa.table({"name": names, "unit": [units[name] for name in names]}, schema=_SCHEMA))
    data = sink.getvalue().to_pybytes()
    return f"pack-{content_hash(data)}.parquet", data


def _groups(units: dict[str, bytes]) -> Iterator[list[str]]:
    """The names in their order, in row groups of bounded count and size."""
    group: list[str] = []
    size = 0
    for name in sorted(units):
        if len(group) == _ROWS_PER_GROUP or (group and size + len(units[name]) > _GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(name)
        size += len(units[name])
    yield group


def index(folder: Folder, path: str) -> list[str]:
    """Names of the units in a pack, in row order; empty if the pack cannot be read."""
    try:
        with folder.open(path) as source:
            # By this thread alone: a process that ends just after Arrow's threads have begun is aborted, its work done.
            names = (
                pq.ParquetFile(source, pre_buffer=False)
                .read(columns=["name"], use_threads=False)
                .column("name")
                .to_pylist()
            )
            return [name or "" for name in names]
    except (pa.ArrowException, OSError, ValueError, UnicodeDecodeError, TypeError):
        return []


def units_of(source: object, *, rows: Iterable[int] | None = None) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of the units in an open pack: all of them, or those in `rows`.

    A row group that cannot be decoded is passed over: its units count as missing, the others are still read.
    """
    try:
        file = pq.ParquetFile(source, pre_buffer=False)
    except (pa.ArrowException, OSError):
        return
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
    starts = list(accumulate(sizes, initial=0))
    wanted: dict[int, list[int]] = {}
    for row in range(starts[-1]) if rows is None else rows:
        if row < starts[-1]:  # beyond it: the pack was damaged since its index was read
            group = bisect_right(starts, row) - 1
            wanted.setdefault(group, []).append(row - starts[group])
    for group, places in sorted(wanted.items()):
        try:
            table = file.read_row_group(group, use_threads=False)
            pairs = [(table["name"][place].as_py(), table["unit"][place].as_py()) for place in places]
        except (pa.ArrowException, OSError, ValueError, IndexError, KeyError):
            continue
        yield from pairs


def units_of_bytes(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The units that can still be read from the bytes of a pack."""
    for name, unit in units_of(pa.BufferReader(data)):
        if name is not None and unit is not None:
            yield name, unit


def read_rows(folder: Folder, path: str, rows: Iterable[int]) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of the units in `rows` of the pack at `path`; those that cannot be read are left out."""
    try:
        with folder.open(path) as source:
            yield from units_of(source, rows=rows)
    except FileNotFoundError:
        return


def faults_of_pack(folder: Folder, path: str) -> tuple[int, str]:
    """Count of good units in a pack, and why the pack is bad (empty if it is good)."""
    match = PACK_NAME.fullmatch(path.rsplit("/", 1)[-1])
    with folder.open(path) as source:
        digest, size = blake2b(digest_size=16), 0
        while block := source.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
        sound = match is not None and digest.hexdigest() == match[1]
        source.seek(0)
        good = sum(not fault_of(name, unit) for name, unit in units_of(source) if name is not None and unit is not None)
    return good, "" if sound else f"contents do not match the name ({size} bytes; {good} units still verify)"


def check_written(folder: Folder, path: str, units: dict[str, bytes]) -> None:
    """Re-read a pack and compare every unit with its original.

    Raises
    ------
    StoreError
        Any difference: the loose files must stay.
    """
    with folder.open(path) as source:
        found = dict(units_of(source))
    if found != units:
        bad = sorted(name for name in units if found.get(name) != units[name])
        raise StoreError(
            f"the pack {path} reads back differently ({len(bad)} of {len(units)} units); nothing was deleted."
        )
