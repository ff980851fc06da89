"""One unit of work as bytes: the inputs that name it, and the Parquet file that holds its table.

A unit's file is named `<key>-<content>.parquet`: the key is a hash of the inputs, the content a hash of the file's
bytes. Whatever happens to the file afterwards (a flipped bit, a truncation, another file put in its place), bytes
and name no longer agree.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from uqkd.errors import OptionError, StoreError

UNIT_NAME = re.compile(r"([0-9a-f]{32})-([0-9a-f]{32})\.parquet")
_INPUTS, _SEEDS = b"uqkd.inputs", b"uqkd.seeds"  # keys of the Parquet schema metadata
_DIGEST_BYTES = 16  # of a seed key, as in uqkd.seeds


def content_hash(data: bytes) -> str:
    """32 hexadecimal digits of BLAKE2b.

    Examples
    --------
    >>> content_hash(b"")
    'cae66941d9efbd404e4d88758ea67670'
    """
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def file_hash(path: Path) -> str:
    """`content_hash` of a file, read piece by piece: models are larger than what should be held at once.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     file_hash(Path(file.name)) == content_hash(b"")
    True
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _plain(value: Any, where: str) -> Any:
    """Copy of `value` made of JSON types only; NumPy scalars become Python numbers."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if value - value != 0:  # NaN and infinities: JSON has no word for them
            raise OptionError(f"{where} is {value}, which has no canonical JSON. Use None or leave it out.")
        return value + 0.0  # -0.0 and 0.0 are one parameter, as in uqkd.seeds
    if isinstance(value, (list, tuple)):
        return [_plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, Mapping):
        if odd := [k for k in value if not isinstance(k, str)]:
            raise OptionError(f"{where} has the key {odd[0]!r}; keys must be str, or 1 and '1' would be one parameter.")
        return {k: _plain(v, f"{where}.{k}") for k, v in value.items()}
    raise OptionError(
        f"{where} is a {type(value).__name__} ({value!r}); use str, numbers, bool, None, lists and dicts."
    )


def canonical_json(value: Any, *, name: str = "value") -> str:
    """The one JSON text of `value`: sorted keys, no spaces, shortest floats; the same on every machine.

    Raises
    ------
    OptionError
        NaN, infinities, keys that are not text, and types that JSON lacks; names the place.

    Examples
    --------
    >>> canonical_json({"k": (1, 2), "alpha": -0.0})
    '{"alpha":0.0,"k":[1,2]}'
    """
    return json.dumps(_plain(value, name), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True)
class Inputs:
    """Everything that decides the result of one unit of work.

    Attributes
    ----------
    study : str
        Name of the study; a folder of the store.
    params : mapping
        The cell: what varies on purpose. JSON types.
    method : str
        Fingerprint of the code and the library versions that compute it.
    data : str
        Fingerprint of the input data; empty where there is none.

    Examples
    --------
    >>> Inputs("demo", {"k": 4}, method="m1").key
    '13b61080bbd0c9e205d7cb57d81a55bf'
    >>> Inputs("demo", {"k": 4}, method="m2").key
    'a02108d5f3aeab8c6ad96e39c4600f54'
    """

    study: str
    params: Mapping[str, Any] = field(hash=False)
    method: str
    data: str = ""

    @property
    def json(self) -> str:
        """Canonical JSON of the four fields."""
        fields = {"study": self.study, "params": self.params, "method": self.method, "data": self.data}
        return canonical_json(fields, name="inputs")

    @property
    def key(self) -> str:
        """32 hexadecimal digits that name the unit."""
        return content_hash(self.json.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True)
class Unit:
    """One verified unit as read from the store: its inputs, its table, the seed keys (digests) it used."""

    inputs: Inputs
    table: pa.Table
    seeds: tuple[bytes, ...]


def encode(inputs: Inputs, table: pd.DataFrame | pa.Table, *, seeds: Iterable[bytes] = ()) -> tuple[str, bytes]:
    """File name and bytes of a unit; equal arguments give equal bytes.

    Raises
    ------
    StoreError
        A named index, which would be lost, or a column that Parquet cannot hold.

    Examples
    --------
    >>> name, data = encode(Inputs("demo", {"k": 4}, method="m1"), pd.DataFrame({"x": [1.5]}))
    >>> decode(name, data).table.to_pydict()
    {'x': [1.5]}
    """
    if isinstance(table, pa.Table):
        return _encoded(inputs, table, seeds)
    if any(level is not None for level in table.index.names):
        raise StoreError(
            f"a unit of {inputs.study!r} has the index {list(table.index.names)}, which would be lost: reset_index()."
        )
    try:
        arrow = pa.Table.from_pandas(table, preserve_index=False, nthreads=1)
    except (pa.ArrowException, TypeError) as problem:
        reason = " ".join(str(part) for part in problem.args)
        raise StoreError(
            f"the table of {inputs.study!r} {dict(inputs.params)} does not fit Parquet: {reason}"
        ) from None
    return _encoded(inputs, arrow, seeds)


def _encoded(inputs: Inputs, arrow: pa.Table, seeds: Iterable[bytes]) -> tuple[str, bytes]:
    text = inputs.json.encode("utf-8", "surrogatepass")
    # Own metadata only: pandas would add its version, and equal results would differ between installations.
    metadata = {_INPUTS: base64.b64encode(text), _SEEDS: base64.b64encode(b"".join(sorted(seeds)))}
    sink = pa.BufferOutputStream()
    lists = [column.name for column in arrow.schema if _is_numeric_list(column.type)]
    arrow = _without_null_elements(arrow, lists)
    texts = [c.name for c in arrow.schema if not pa.types.is_primitive(c.type) and c.name not in lists]
    pq.write_table(
        arrow.replace_schema_metadata(metadata),
        sink,
        compression="zstd",
        # Dictionaries pay for texts; for random numbers they cost a quarter in size and half the time.
        use_dictionary=texts or False,
        # Of long lists of numbers (token ids, log-probabilities) the bytes apart are smaller by a tenth and read a third faster.
        column_encoding={f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in lists} or None,
    )
    data = sink.getvalue().to_pybytes()
    return f"{content_hash(text)}-{content_hash(data)}.parquet", data


def _is_numeric_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) and (pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type))


def _without_null_elements(arrow: pa.Table, lists: Iterable[str]) -> pa.Table:
    """Lists of numbers of which none is null say so in their type: a quarter of the time of reading them is saved."""
    for name in lists:
        column = arrow[name]
        if not any(chunk.values.null_count for chunk in column.chunks):
            element = pa.field("element", column.type.value_type, nullable=False)
            arrow = arrow.set_column(arrow.schema.get_field_index(name), name, column.cast(pa.list_(element)))
    return arrow


def fault_of(name: str, data: bytes) -> str:
    """Why `data` is not the unit that `name` promises; empty if it is.

    Examples
    --------
    >>> fault_of("notes.txt", b"hello")
    'foreign file: not named like a unit'
    """
    return _checked(name, data)[0]


def _checked(name: str, data: bytes) -> tuple[str, pq.FileMetaData | None]:
    """Why `data` is not the unit that `name` promises (empty if it is), and the footer of its file."""
    match = UNIT_NAME.fullmatch(name)
    if not match:
        return "foreign file: not named like a unit", None
    if content_hash(data) != match[2]:
        return f"contents do not match the name ({len(data)} bytes)" if data else "empty file", None
    try:
        footer = pq.read_metadata(pa.BufferReader(data))
        inputs = base64.b64decode(footer.metadata[_INPUTS])
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return "foreign file: not a Parquet file of uqkd", None
    return ("" if content_hash(inputs) == match[1] else "the inputs inside do not match the name"), footer


def decode(name: str, data: bytes, *, columns: Collection[str] | None = None, coded: Collection[str] = ()) -> Unit:
    """The unit in `data`, verified against `name`.

    Parameters
    ----------
    name : str
    data : bytes
    columns : collection of str, optional
        Decode only these, where the unit has them.
    coded : collection of str
        Columns of texts that repeat, to be read as an Arrow dictionary: each text once, however many rows have it.

    Raises
    ------
    StoreError
        The bytes are not what the name promises.

    Examples
    --------
    >>> name, data = encode(Inputs("demo", {}, method="m"), pd.DataFrame({"x": [1.5], "y": [2]}))
    >>> decode(name, data, columns=["y", "z"]).table.to_pydict()
    {'y': [2]}
    """
    reason, footer = _checked(name, data)
    if reason or footer is None:
        raise StoreError(f"{name}: {reason}.")
    there = footer.schema.to_arrow_schema().names
    dictionary = [column for column in coded if column in there and (columns is None or column in columns)]
    file = pq.ParquetFile(pa.BufferReader(data), metadata=footer, read_dictionary=dictionary or None, pre_buffer=False)
    wanted = None if columns is None else [column for column in columns if column in there]
    table = file.read(columns=wanted, use_threads=False)
    metadata = footer.metadata
    inputs = json.loads(base64.b64decode(metadata[_INPUTS]).decode("utf-8", "surrogatepass"))
    seeds = base64.b64decode(metadata.get(_SEEDS, b""))
    digests = tuple(seeds[i : i + _DIGEST_BYTES] for i in range(0, len(seeds), _DIGEST_BYTES))
    return Unit(inputs=Inputs(**inputs), table=table.replace_schema_metadata(None), seeds=digests)


def concatenate(units: Iterable[Unit]) -> pd.DataFrame:
    """The tables of `units` below one another, in their order.

    Examples
    --------
    >>> concatenate([]).shape
    (0, 0)
    """
    tables = [unit.table for unit in units]
    try:
        joined = pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})
    except pa.ArrowException as problem:
        raise StoreError(f"the units' tables have columns of different kinds: {problem}") from None
    return joined.to_pandas()
