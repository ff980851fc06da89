"""Durable files: a write either happens wholly and stays, or leaves no trace.

Local folder: a temporary file in the same file system, written, synced, renamed, and the folder synced. The writer
holds a lock on its temporary file for as long as it lives, so that a dead writer's file can be told and swept.
Any other fsspec path (object stores, memory): one call that puts the whole object.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from uqkd.errors import StoreError

_TEMPORARY = ".tmp"  # folder of the unfinished files, inside the root: one place to sweep, one file system
_PREFIX = "unfinished-"


@contextmanager
def _reporting(action: str, path: object, size: int | None = None) -> Iterator[None]:
    """Turn the operating system's refusals into one clear line."""
    try:
        yield
    except OSError as problem:
        what = f"{path} ({size} bytes)" if size is not None else str(path)
        raise StoreError(
            f"could not {action} {what}: {problem.strerror or problem}. Everything written before is intact; "
            "make the place writable or free some space, and run again."
        ) from problem


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

    def move(self, source: str, target: str) -> None:
        """Rename a file inside the root."""
        with _reporting("move", self.root / source):
            self._make((self.root / target).parent)
            os.rename(self.root / source, self.root / target)

    def remove(self, path: str) -> None:
        """Delete a file."""
        with _reporting("delete", self.root / path):
            os.unlink(self.root / path)

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


class RemoteFolder:
    """A folder of any fsspec file system; atomic where the file system's put is (object stores, memory).

    Examples
    --------
    >>> folder = open_folder("memory://durable-doc")
    >>> folder.write("a.csv", b"x")
    >>> folder.read("a.csv"), folder.names(""), folder.sweep()
    (b'x', ['a.csv'], 0)
    """

    def __init__(self, filesystem: Any, root: str) -> None:
        self.filesystem = filesystem
        self.root = root.rstrip("/")

    def _path(self, path: str) -> str:
        return f"{self.root}/{path}".rstrip("/")

    def create(self) -> None:
        """Object stores need no folders."""

    def exists(self) -> bool:
        """Whether anything is there."""
        return bool(self.names(""))

    def names(self, folder: str) -> list[str]:
        """Names in `folder`, unsorted, from one fresh listing."""
        path = self._path(folder)
        self.filesystem.invalidate_cache(path)
        try:
            found = self.filesystem.ls(path, detail=False)
        except FileNotFoundError:
            return []
        return [name.rstrip("/").rsplit("/", 1)[-1] for name in found]

    def sizes(self, folder: str) -> list[int]:
        """Bytes of each object in `folder`."""
        path = self._path(folder)
        self.filesystem.invalidate_cache(path)
        try:
            return [int(one["size"]) for one in self.filesystem.ls(path, detail=True) if one["type"] == "file"]
        except FileNotFoundError:
            return []

    def read(self, path: str) -> bytes:
        """The bytes of an object; `FileNotFoundError` if there is none."""
        return bytes(self.filesystem.cat_file(self._path(path)))

    def open(self, path: str) -> IO[bytes]:
        """The object, to read parts of it."""
        return self.filesystem.open(self._path(path), "rb")  # type: ignore[no-any-return]

    def write(self, path: str, data: bytes) -> None:
        """Put the whole object in one call."""
        with _reporting("write", self._path(path), len(data)):
            self.filesystem.pipe_file(self._path(path), data)

    def move(self, source: str, target: str) -> None:
        """Copy, then delete: object stores do not rename."""
        with _reporting("move", self._path(source)):
            self.filesystem.mv(self._path(source), self._path(target))

    def remove(self, path: str) -> None:
        """Delete an object."""
        with _reporting("delete", self._path(path)):
            self.filesystem.rm_file(self._path(path))

    def sweep(self) -> int:
        """Nothing to sweep: there are no temporary files."""
        return 0


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


def open_folder(root: str | Path) -> Folder:
    """The folder at a path or URL.

    Raises
    ------
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

    try:
        filesystem, path = fsspec.core.url_to_fs(text)
    except (ValueError, ImportError) as problem:
        raise StoreError(f"cannot open {text!r}: {problem}. Give a local folder or an installed fsspec URL.") from None
    return LocalFolder(path) if text.startswith(("file://", "local://")) else RemoteFolder(filesystem, path)
