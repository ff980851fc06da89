"""The only place that writes results: one unit of work = one immutable, verified Parquet file.

`<root>/units/<study>/<key>-<content>.parquet` for units, `<root>/quarantine/` for files that fail verification, and
whatever `write_bytes` is asked for (figures, tables). "Done" means that the file exists and verifies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd
import pyarrow as pa

from uqkd.errors import OptionError, ProvenanceError, StoreError
from uqkd.store.durable import LocalFolder, open_folder
from uqkd.store.records import write_recorded
from uqkd.store.unit_index import UnitIndex
from uqkd.store.units import Inputs, Unit, concatenate, encode

__all__ = ["Inputs", "Report", "Stock", "Store", "Unit", "refuse_unsafe"]

_RESERVED = ("units", "quarantine", ".tmp", ".uqkd")  # folders of the root that write_bytes leaves alone
_SAFE_FORM = {
    ".pkl": "Parquet, CSV or .npz", ".pickle": "Parquet, CSV or .npz", ".joblib": "Parquet, CSV or .npz",
    ".bin": "safetensors", ".pt": "safetensors", ".pth": "safetensors", ".ckpt": "safetensors",
}  # fmt: skip
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")


def refuse_unsafe(path: str | Path) -> None:
    """Refuse files that run code when they are loaded (pickle in any coat), by their name.

    Raises
    ------
    OptionError
        The message names the safe form.

    Examples
    --------
    >>> refuse_unsafe("wine.parquet")
    >>> refuse_unsafe("model.bin")
    Traceback (most recent call last):
    uqkd.errors.OptionError: 'model.bin' is a pickle (.bin), which can run code when loaded; give it as safetensors.
    """
    suffixes = PurePosixPath(str(path).lower()).suffixes
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    if suffixes and suffixes[-1] in _SAFE_FORM:
        kind = suffixes[-1]
        raise OptionError(
            f"{str(path)!r} is a pickle ({kind}), which can run code when loaded; give it as {_SAFE_FORM[kind]}."
        )


@dataclass(frozen=True)
class Report:
    """What `Store.verify` found: the count of good units, and each bad file with the reason."""

    ok: int
    bad: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Stock:
    """What a study has in a store: units, the files that hold them, and their bytes.

    Examples
    --------
    >>> print(Stock(units=600, files=1, bytes=81_234))
    600 units in 1 file, 81,234 bytes
    """

    units: int
    files: int
    bytes: int

    def __str__(self) -> str:
        units, files = (
            f"{n:,} {what}{'' if n == 1 else 's'}" for n, what in ((self.units, "unit"), (self.files, "file"))
        )
        return f"{units} in {files}, {self.bytes:,} bytes"


class Store:
    """Results under one folder or fsspec URL.

    Parameters
    ----------
    root : path or str
        A local folder, `s3://…`, `memory://…`.
    create : bool
        Make a local folder that does not exist; otherwise it is an error.

    Raises
    ------
    StoreError
        The root cannot be opened.

    Examples
    --------
    >>> store = Store("memory://store-doc")
    >>> name = store.commit(Inputs("demo", {"k": 4}, method="m1"), pd.DataFrame({"x": [1.5]}))
    >>> store.read(Inputs("demo", {"k": 4}, method="m1"))
         x
    0  1.5
    >>> store.verify()
    Report(ok=1, bad=())
    """

    def __init__(self, root: str | Path, *, create: bool = True) -> None:
        self.folder = open_folder(root)
        self.root = str(self.folder.root) if isinstance(self.folder, LocalFolder) else str(root)
        self._shelves: dict[str, UnitIndex] = {}
        if create:
            self.folder.create()
        elif not self.folder.exists():
            raise StoreError(
                f"there is no folder {self.root!r}. Give the --out of an earlier study, or the --bank of an earlier uqkd "
                "sample or uqkd import."
            )

    def commit(
        self,
        inputs: Inputs,
        table: pd.DataFrame | pa.Table,
        *,
        seeds: Iterable[bytes] = (),
        check_twins: bool = True,
    ) -> str:
        """Write one unit, atomically and synced; return its file name.

        Parameters
        ----------
        inputs : Inputs
            Everything that decides the result.
        table : DataFrame or Arrow table
            The result. The index of a frame is not stored.
        seeds : iterable of bytes
            Digests of the seed keys used, from `uqkd.seeds.ledger`.
        check_twins : bool
            Look for other contents under the same key: one listing. A run checks all its units at once instead.

        Raises
        ------
        StoreError
            The unit could not be written; everything earlier is intact.
        ProvenanceError
            The same inputs gave different contents before. Both files are kept.
        """
        name, data = encode(inputs, table, seeds=seeds)
        self._shelf(inputs.study).write(name, data)
        if check_twins:
            self._only_name(inputs, self.committed(inputs.study))
        return name

    def write_bytes(self, relative_path: str, data: bytes, *, recorded: bool = True) -> None:
        """Write a figure, table or page below the root, atomically; an older one of that name is replaced.

        Parameters
        ----------
        relative_path : str
        data : bytes
        recorded : bool
            Keep its hash, so that `uqkd verify` finds what becomes of it; not of what people are meant to change.

        Raises
        ------
        StoreError
            A path that leaves the root or enters the units, or a failed write.
        """
        path = PurePosixPath(relative_path)
        if path.is_absolute() or ".." in path.parts or not path.parts or path.parts[0] in _RESERVED:
            raise StoreError(f"write_bytes got {relative_path!r}; give a path below the root, outside {_RESERVED}.")
        if recorded:
            write_recorded(self.folder, str(path), data)
        else:
            self.folder.write(str(path), data)

    def sweep(self) -> int:
        """Delete the temporary files of dead writers; return how many."""
        return self.folder.sweep()

    def studies(self) -> list[str]:
        """Names of the studies that have units, sorted."""
        return sorted(self.folder.names("units"))

    def committed(self, study: str) -> dict[str, tuple[str, ...]]:
        """Names of the units of a study by their key, from one listing; more than one name is a conflict.

        Examples
        --------
        >>> Store("memory://store-doc-empty").committed("demo")
        {}
        """
        return self._shelf(study).names()

    def read(self, inputs: Inputs) -> pd.DataFrame | None:
        """The verified table of one unit; None if it is missing.

        A corrupt file is moved to quarantine with a line on stderr, and counts as missing.

        Raises
        ------
        ProvenanceError
            Two different results exist for these inputs.
        """
        unit = self.read_units([inputs])[0]
        return None if unit is None else concatenate([unit])

    def read_units(self, inputs: Sequence[Inputs]) -> list[Unit | None]:
        """Many units of one study, in the order asked for; None for each that is missing. See `read`."""
        if not inputs:
            return []
        listing = self.committed(inputs[0].study)
        wanted: dict[str, int] = {}
        for place, one in enumerate(inputs):
            if name := self._only_name(one, listing):
                wanted[name] = place
        units: list[Unit | None] = [None] * len(inputs)
        for name, unit in self._shelf(inputs[0].study).verified(wanted):
            units[wanted[name]] = unit
        return units

    def read_study(self, study: str, *, method: str | None = None, data: str | None = None) -> pd.DataFrame:
        """All tables of a study below one another, in the order of their parameters.

        Parameters
        ----------
        study : str
            Name of the study.
        method, data : str, optional
            Only units of this fingerprint.

        Raises
        ------
        ProvenanceError
            The units come from different code, versions or data, or one unit has two different results.
        """
        listing = self.committed(study)
        names = [name for twins in listing.values() for name in twins]
        units = [unit for _, unit in self._shelf(study).verified(names)]
        units = [u for u in units if method in (None, u.inputs.method) and data in (None, u.inputs.data)]
        _refuse_mixture(study, [unit.inputs for unit in units])
        for unit in units:
            self._only_name(unit.inputs, listing)
        return concatenate(sorted(units, key=lambda unit: unit.inputs.json))

    def verify(self, *, move: bool = False) -> Report:
        """Check every file below `units/` against its name.

        Parameters
        ----------
        move : bool
            Move the bad files to quarantine; otherwise nothing is touched.
        """
        ok = 0
        bad: list[tuple[str, str]] = []
        for study in self.studies():
            good, faults = UnitIndex(self.folder, study).faults(move=move)
            ok += good
            bad += faults
            if not good and not faults and self._is_file(f"units/{study}"):
                bad.append((f"units/{study}", "foreign file: not in the folder of a study"))
        return Report(ok=ok, bad=tuple(bad))

    def stock(self, study: str) -> Stock:
        """How much of a study there is, from its listings: nothing is verified."""
        sizes = self.folder.sizes(f"units/{study}")
        return Stock(sum(map(len, self.committed(study).values())), len(sizes), sum(sizes))

    def compact(self, study: str) -> int:
        """Gather the loose units of a study in packs; return how many. Reads go through the packs as before.

        Each pack is written, read again and compared unit by unit before the loose files are deleted.
        """
        return self._shelf(study).compact()

    def _only_name(self, inputs: Inputs, listing: Mapping[str, tuple[str, ...]]) -> str:
        """The unit's name in a listing, empty if it is not there; two that both verify are an error."""
        names = listing.get(inputs.key, ())
        if len(names) > 1:  # a damaged index can list a name that never was: only what verifies counts
            names = tuple(name for name, _ in self._shelf(inputs.study).verified(names))
        if len(names) > 1:
            raise ProvenanceError(
                f"{inputs.study!r} {dict(inputs.params)} has {len(names)} different results for the same inputs: "
                f"{', '.join(names)}. Both are kept; find what measure() does not reproduce and delete the wrong one."
            )
        return names[0] if names else ""

    def _is_file(self, path: str) -> bool:
        try:
            self.folder.read(path)
        except OSError:
            return False
        return True

    def _shelf(self, study: str) -> UnitIndex:
        if study not in self._shelves:
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", study):
                raise OptionError(f"study name {study!r} names a folder; use letters, digits, '_', '-' and '.'.")
            self._shelves[study] = UnitIndex(self.folder, study)
        return self._shelves[study]


def _refuse_mixture(study: str, inputs: Iterable[Inputs]) -> None:
    """One method for all, and one fingerprint for each named data set: only the parameters may vary."""
    seen: dict[tuple[str, str], set[str]] = {}
    for one in inputs:
        seen.setdefault(("method", ""), set()).add(one.method)
        seen.setdefault(("data", str(one.params.get("data", ""))), set()).add(one.data)
    for (kind, which), values in sorted(seen.items()):
        if len(values) > 1:
            what = f"{kind} of {which!r}" if which else kind
            raise ProvenanceError(
                f"study {study!r} holds units of {len(values)} different fingerprints of {what}: "
                f"{', '.join(sorted(values))}. They must not be mixed; read one with {kind}=..., or use a new folder."
            )
