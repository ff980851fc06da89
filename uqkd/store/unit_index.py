"""The units of one study, loose or packed: find, verify, set aside what is corrupt, pack."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from uqkd.errors import StoreError
from uqkd.store import packs
from uqkd.store.durable import Folder
from uqkd.store.units import UNIT_NAME, Unit, content_hash, decode, fault_of

_PACK_UNITS, _PACK_BYTES = 10_000, 256 * 2**20  # a pack is held in memory while it is written
_VERIFYING = 2  # threads that hash; one alone hashes some 800 MB/s

Item = TypeVar("Item")
Result = TypeVar("Result")


class UnitIndex:
    """The folder `units/<study>` of a store.

    Parameters
    ----------
    folder : Folder
        The store's root.
    study : str
        Name of the study.

    Examples
    --------
    >>> from uqkd.store.durable import open_folder
    >>> UnitIndex(open_folder("memory://shelf-doc"), "demo").names()
    {}
    """

    def __init__(self, folder: Folder, study: str) -> None:
        self.folder = folder
        self.study = study
        self.path = f"units/{study}"
        self._rows: dict[str, dict[str, int]] = {}  # pack -> unit name -> row; packs never change

    def write(self, name: str, data: bytes) -> None:
        """Write one loose unit."""
        self.folder.write_once(f"{self.path}/{name}", data)

    def names(self) -> dict[str, tuple[str, ...]]:
        """Unit names by key, from one listing (and the index of each pack not seen before)."""
        loose, packed = self._listing()
        found: dict[str, tuple[str, ...]] = {name[:32]: (name,) for name in loose}
        if len(found) < len(loose) or packed:  # twins, or names that may be on both sides
            found = {}
            for names in (loose, *(self._index(pack) for pack in packed)):
                for name in names:
                    others = found.get(name[:32], ())
                    if name not in others:
                        found[name[:32]] = tuple(sorted((*others, name)))
        return found

    def verified(
        self,
        names: Iterable[str],
        *,
        columns: Collection[str] | None = None,
        coded: Collection[str] = (),
        threads: int = 0,
    ) -> Iterator[tuple[str, Unit]]:
        """Read and verify units; missing ones are left out, corrupt ones are moved to quarantine and left out.

        Two passes: what a parallel compaction moved, and what was saved from a corrupt pack, is found by the second.

        Parameters
        ----------
        names : iterable of str
        columns, coded
            As in `decode`: the hash is of the whole file in any case.
        threads : int
            Units are read, hashed and decoded ahead by so many; a few are in memory at a time. 0 reads one when it is asked for.
        """
        pending = set(names)

        opened = partial(_opened, columns=columns, coded=coded)

        def read(name: str) -> tuple[str, Unit | str, bool]:
            data = self._bytes(f"{self.path}/{name}")
            return name, opened(name, data), bool(data)

        for _ in range(2):
            loose, packed = self._listing()
            here = pending.intersection(loose)
            for name, unit, full in _ahead(read, sorted(here), max(threads, self.folder.readers)):
                if isinstance(unit, Unit):
                    pending.discard(name)
                    yield name, unit
                elif full or name in self.folder.names(self.path):  # not just moved by a parallel compaction
                    self._set_aside(name, unit)
            for pack in packed:
                for name, unit in self._read_pack(pack, pending - here, opened, threads):
                    pending.discard(name)
                    yield name, unit
            if not pending:
                return

    def faults(self, *, move: bool = False) -> tuple[int, list[tuple[str, str]]]:
        """Count of good units, and path and reason of each bad file; `move` puts those in quarantine."""
        ok, bad = 0, []

        def checked(name: str) -> tuple[str, int, str]:
            path = f"{self.path}/{name}"
            if packs.PACK_NAME.fullmatch(name):
                return name, *packs.faults_of_pack(self.folder, path)
            reason = fault_of(name, self._bytes(path))
            return name, not reason, reason

        for name, good, reason in _ahead(
            checked, sorted(self.folder.names(self.path)), max(_VERIFYING, self.folder.readers)
        ):
            path = f"{self.path}/{name}"
            ok += good
            if reason:
                bad.append((path, reason))
            if reason and move:
                self._set_aside(name, reason)
        return ok, bad

    def compact(self) -> int:
        """Gather loose units in packs; each pack is read again and compared before its parts are deleted."""
        loose, packed = self._listing()
        left = set(loose)
        for pack in packed:  # an earlier compaction was stopped between a pack and its deletions
            done = {name for name, _ in self._read_pack(pack, left, _opened, 0)}
            if pack not in self._listing()[1]:
                continue  # it was damaged: now it is in quarantine, and its good units are loose once more
            self._remove(done)
            left -= done
        for batch in self._batches(sorted(left)):
            name, data = packs.encode_pack(batch)
            self.folder.write_once(f"{self.path}/{name}", data)
            packs.check_written(self.folder, f"{self.path}/{name}", batch)
            self._remove(batch)
        return len(left)

    def _listing(self) -> tuple[list[str], list[str]]:
        """Names of the loose units and of the packs."""
        names = self.folder.names(self.path)
        packed = sorted(name for name in names if name.startswith("pack-") and packs.PACK_NAME.fullmatch(name))
        return [name for name in names if UNIT_NAME.fullmatch(name)], packed

    def _index(self, pack: str) -> dict[str, int]:
        if pack not in self._rows:
            names = packs.index(self.folder, f"{self.path}/{pack}")
            self._rows[pack] = {name: row for row, name in enumerate(names) if UNIT_NAME.fullmatch(name)}
        return self._rows[pack]

    def _bytes(self, path: str) -> bytes:
        try:
            return self.folder.read(path)
        except (FileNotFoundError, IsADirectoryError):
            return b""
        except OSError as problem:
            raise StoreError(f"could not read {path}: {problem.strerror}. Check the disk and run again.") from problem

    def _read_pack(
        self, pack: str, names: set[str], opened: Callable[[str, bytes], Unit | str], threads: int
    ) -> Iterator[tuple[str, Unit]]:
        index = self._index(pack)
        wanted = names.intersection(index)
        if not wanted and index:
            return
        found = packs.read_rows(self.folder, f"{self.path}/{pack}", [index[name] for name in wanted])
        good = 0
        for name, unit in _ahead(lambda one: (one[0], opened(*one)), found, threads):
            if name in wanted and isinstance(unit, Unit):
                good += 1
                yield name, unit
        if good < len(wanted) or not index:
            self._set_aside(pack, "a unit inside does not verify")

    def _set_aside(self, name: str, reason: str) -> None:
        """Move a file to quarantine, out of the way of its replacement; the good units of a pack stay, loose."""
        path = f"{self.path}/{name}"
        data = self._bytes(path)
        if packs.PACK_NAME.fullmatch(name):
            for unit_name, unit in packs.units_of_bytes(data):
                if not fault_of(unit_name, unit):
                    self.write(unit_name, unit)
        self._rows.pop(name, None)
        self.folder.move(path, f"quarantine/{self.study}/{name}.{content_hash(data)[:8]}")
        print(
            f"warning: {path} is corrupt and was moved to quarantine/: {reason.rstrip('.')}. What it held is missing "
            "until it is made again.",
            file=sys.stderr,
        )

    def _remove(self, names: Iterable[str]) -> None:
        self.folder.remove_many(f"{self.path}/{name}" for name in names)

    def _batches(self, names: Sequence[str]) -> Iterator[dict[str, bytes]]:
        batch: dict[str, bytes] = {}
        size = 0
        read = lambda name: (name, self._bytes(f"{self.path}/{name}"))  # noqa: E731
        for name, data in _ahead(read, names, self.folder.readers):
            if fault_of(name, data):
                self._set_aside(name, "found while packing")
                continue
            batch[name], size = data, size + len(data)
            if len(batch) >= _PACK_UNITS or size >= _PACK_BYTES:
                yield batch
                batch, size = {}, 0
        if batch:
            yield batch


def _opened(
    name: str, data: bytes, *, columns: Collection[str] | None = None, coded: Collection[str] = ()
) -> Unit | str:
    """The verified unit, or why it is none."""
    try:
        return decode(name, data, columns=columns, coded=coded)
    except StoreError as problem:
        return str(problem)


def _ahead(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """The results of `work` in the order of the items: some ahead of time by threads, or each when it is asked for."""
    if not threads:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(threads)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads + 1:  # one for each thread and two done: all that is in memory
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
