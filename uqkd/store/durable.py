"""Durable files: a write either happens wholly and stays, or leaves no trace.

Local folder: a temporary file in the same file system, written, synced, renamed, and the folder synced. The writer
holds a lock on its temporary file for as long as it lives, so that a dead writer's file can be told and swept.
Any other fsspec path (object stores, memory): one call that puts the whole object.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

from uqkd.errors import LibraryError, StoreError
from uqkd.store.remote import RemoteFolder
from uqkd.store.reporting import reporting as _reporting

_TEMPORARY = ".tmp"  # folder of the unfinished files, inside the root: one place to sweep, one file system
_PREFIX = "unfinished-"


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _take_lock(descriptor: int, *, without_locks: bool) -> bool:
    """Take the lock without waiting; False if another has it. `without_locks` is the answer of disks that lack them."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return without_locks
    return True


class LocalFolder:
    """A folder of this machine.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as place:
    ...     folder = LocalFolder(place)
    ...     folder.write("tables/a.csv", b"x")
    ...     folder.read("tables/a.csv"), folder.names("tables")
    (b'x', ['a.csv'])
    """

    readers = 0  # threads that read ahead of who reads: a disk is fast enough without

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute()  # workers may have another working directory

    def create(self) -> None:
        """Make the root folder if it is not there."""
        with _reporting("create", self.root):
            if not self.root.is_dir():
                self.root.mkdir(parents=True, exist_ok=True)
                _sync_folder(self.root.parent)

    def exists(self) -> bool:
        """Whether the root folder is there."""
        return self.root.is_dir()

    def names(self, folder: str) -> list[str]:
        """Names in `folder`, unsorted, from one listing; empty if there is no such folder."""
        try:
            return os.listdir(self.root / folder)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def sizes(self, folder: str) -> list[int]:
        """Bytes of each file in `folder`; empty if there is no such folder."""
        try:
            with os.scandir(self.root / folder) as found:
                return [entry.stat().st_size for entry in found if entry.is_file()]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def files(self) -> list[str]:
        """Every file below the root, by its path there."""
        start = len(str(self.root)) + 1
        return [f"{place}/{name}"[start:] for place, _, names in os.walk(self.root) for name in names]

    def read(self, path: str) -> bytes:
        """The bytes of a file; `FileNotFoundError` if there is none."""
        return (self.root / path).read_bytes()

    def open(self, path: str) -> IO[bytes]:
        """The file, to read parts of it."""
        return open(self.root / path, "rb")

    def write(self, path: str, data: bytes) -> None:
        """Write `data` to `path`, atomically and synced; an older file of that name is replaced."""
        final = self.root / path
        with _reporting("write", final, len(data)):
            self._make(final.parent)
            descriptor, temporary = self._temporary()
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
                os.rename(temporary, final)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise
            finally:
                os.close(descriptor)
            _sync_folder(final.parent)

    def write_once(self, path: str, data: bytes) -> None:
        """Write a file whose name says what is in it: one of that name is replaced by its equal."""
        self.write(path, data)

    def move(self, source: str, target: str) -> None:
        """Rename a file inside the root."""
        with _reporting("move", self.root / source):
            self._make((self.root / target).parent)
            os.rename(self.root / source, self.root / target)

    def remove(self, path: str) -> None:
        """Delete a file."""
        with _reporting("delete", self.root / path):
            os.unlink(self.root / path)

    def remove_many(self, paths: Iterable[str]) -> None:
        """Delete several files."""
        for path in paths:
            self.remove(path)

    def sweep(self) -> int:
        """Delete the unfinished files of dead writers; return how many. Those of living writers stay."""
        swept = 0
        for name in self.names(_TEMPORARY):
            path = self.root / _TEMPORARY / name
            if not name.startswith(_PREFIX):
                continue
            with suppress(FileNotFoundError):
                swept += self._sweep_one(path)
        return swept

    @staticmethod
    def _sweep_one(path: Path) -> bool:
        descriptor = os.open(path, os.O_RDWR)
        try:
            # The writer may have renamed its file while we took the lock; then the name no longer leads to it.
            if not _take_lock(descriptor, without_locks=False) or os.fstat(descriptor).st_ino != path.stat().st_ino:
                return False
            path.unlink()
            return True
        finally:
            os.close(descriptor)

    def _make(self, folder: Path) -> None:
        """Create `folder` inside the root, but never the root: if that vanished, a disk may have been unmounted."""
        if folder.is_dir():
            return
        path = self.root
        for part in folder.relative_to(self.root).parts:
            parent, path = path, path / part
            with suppress(FileExistsError):
                path.mkdir()
                _sync_folder(parent)

    def _temporary(self) -> tuple[int, str]:
        """A new locked file. A sweeper may catch it between its creation and its lock: then make another."""
        folder = self.root / _TEMPORARY
        self._make(folder)
        while True:
            descriptor, path = tempfile.mkstemp(prefix=_PREFIX, dir=folder)
            if _take_lock(descriptor, without_locks=True) and os.fstat(descriptor).st_nlink:
                os.fchmod(descriptor, 0o644)  # mkstemp makes it private; results are to be shared
                return descriptor, path
            os.close(descriptor)


Folder = LocalFolder | RemoteFolder


def write_new(path: Path, data: bytes) -> None:
    """Write a local file that is not there yet, in a folder that may not be.

    Raises
    ------
    StoreError
        The file exists, and is left as it is; or it could not be written.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as place:
    ...     write_new(Path(place) / "studies" / "mine.py", b"x")
    ...     write_new(Path(place) / "studies" / "mine.py", b"y")
    Traceback (most recent call last):
    uqkd.errors.StoreError: ...mine.py exists, and is not overwritten; choose another name.
    """
    with _reporting("write", path, len(data)):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(path, "xb") as file:
                file.write(data)
        except FileExistsError:
            raise StoreError(f"{path} exists, and is not overwritten; choose another name.") from None
        except OSError:
            path.unlink(missing_ok=True)
            raise


def apart(file: str | Path) -> tuple[str, str]:
    """Folder and name of a file that is to be written, given by its path or URL.

    Examples
    --------
    >>> apart("s3://bucket/a/table.csv"), apart("/tmp/table.csv")
    (('s3://bucket/a', 'table.csv'), ('/tmp', 'table.csv'))
    """
    text = os.fspath(file)
    if "://" in text:
        folder, _, name = text.rpartition("/")
        return folder, name
    path = Path(text).absolute()
    return str(path.parent), path.name


def open_folder(root: str | Path) -> Folder:
    """The folder at a path or URL.

    Raises
    ------
    LibraryError
        s3://… without what the extra brings.
    StoreError
        A URL whose file system fsspec does not know or whose package is not installed.

    Examples
    --------
    >>> open_folder("results").root.name
    'results'
    """
    text = os.fspath(root)
    if "://" not in text:
        return LocalFolder(text)
    import fsspec

    is_s3 = text.startswith(("s3://", "s3a://"))
    # Listings are always fresh: other processes write too. A request is tried so often, half a minute in all.
    how = {"use_listings_cache": False, "config_kwargs": {"retries": {"max_attempts": 6}}} if is_s3 else {}
    try:
        filesystem, path = fsspec.core.url_to_fs(text, **how)
    except (ValueError, ImportError) as problem:
        if is_s3 and isinstance(problem, ImportError):
            raise LibraryError(f"{text} needs s3fs, which is not installed: pip install 'uqkd[s3]'.") from None
        raise StoreError(f"cannot open {text!r}: {problem}. Give a local folder or an installed fsspec URL.") from None
    if is_s3:
        from uqkd.store.s3 import S3Folder

        return S3Folder(filesystem, path)
    return LocalFolder(path) if text.startswith(("file://", "local://")) else RemoteFolder(filesystem, path)
