"""Folders of any fsspec file system: one call puts a whole object, and there is nothing to sweep."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

from uqkd.store.reporting import reporting


class RemoteFolder:
    """A folder of any fsspec file system; atomic where the file system's put is (object stores, memory).

    Examples
    --------
    >>> from uqkd.store.durable import open_folder
    >>> folder = open_folder("memory://durable-doc")
    >>> folder.write("a.csv", b"x")
    >>> folder.read("a.csv"), folder.names(""), folder.sweep()
    (b'x', ['a.csv'], 0)
    """

    readers = 0  # threads that read ahead: what is in memory needs none

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

    def files(self) -> list[str]:
        """Every object below the root, by its path there."""
        path = self._path("")
        self.filesystem.invalidate_cache(path)
        start = len(self.filesystem._strip_protocol(path)) + 1
        try:
            return [name[start:] for name in self.filesystem.find(path)]
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
        with reporting("write", self._path(path), len(data)):
            self.filesystem.pipe_file(self._path(path), data)

    def write_once(self, path: str, data: bytes) -> None:
        """Put an object whose name says what is in it: an equal one that is there may stay."""
        self.write(path, data)

    def claim(self, path: str, data: bytes) -> bool:
        """Put an object unless something is there; whether what is there now is `data`. Two at once may both write."""
        try:
            return self.read(path) == data
        except FileNotFoundError:
            self.write(path, data)
            return True

    def put(self, source: str, path: str) -> None:
        """Copy a local file to an object."""
        with open(source, "rb") as file:
            self.write(path, file.read())

    def fetch(self, path: str, target: str) -> None:
        """Copy an object to a local file."""
        with open(target, "wb") as file:
            file.write(self.read(path))

    def move(self, source: str, target: str) -> None:
        """Copy, then delete: object stores do not rename."""
        with reporting("move", self._path(source)):
            self.filesystem.mv(self._path(source), self._path(target))

    def remove(self, path: str) -> None:
        """Delete an object."""
        with reporting("delete", self._path(path)):
            self.filesystem.rm_file(self._path(path))

    def remove_many(self, paths: Iterable[str]) -> None:
        """Delete several objects."""
        for path in paths:
            self.remove(path)

    def sweep(self) -> int:
        """Nothing to sweep: there are no temporary files."""
        return 0
