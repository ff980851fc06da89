"""Folders of S3 and of what speaks like it: bounded requests, conditional writes, and refusals as one clear line.

Repeating what a store refuses for a moment (503, 429, a dropped connection) is left to botocore and s3fs. What they do not do
is here: telling "no such bucket" from "nothing there", reading an object in one request that is repeated as a whole, writing
only what is not there yet, deleting a thousand objects at a time.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from uqkd.errors import StoreError
from uqkd.store.remote import RemoteFolder

_DELETED_AT_ONCE = 1000  # keys, the most that S3 takes in one request
_READ_BYTES = 2**20  # of an open object, at least, in one request
_CONFLICTS = 5  # times that a conditional write is repeated when another one is under way
_INTACT = "Everything written before is intact; run the same command again to go on."
_RIGHTS = (
    "Check the credentials (AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) and what the bucket allows."
)


class S3Folder(RemoteFolder):
    """A prefix of a bucket.

    Parameters
    ----------
    filesystem : s3fs.S3FileSystem
        Without a cache of listings: other processes write too.
    root : str
        Bucket and prefix.
    """

    readers = 16  # a request waits for the store, not for this machine

    def __init__(self, filesystem: Any, root: str) -> None:
        super().__init__(filesystem, root)
        self.bucket, _, self.prefix = self.root.partition("/")
        self._conditional = True  # until the store says that it has no conditional writes

    def create(self) -> None:
        """Nothing to make; but a bucket that is not there, missing rights and a wrong clock show now, not after hours."""
        self.exists()

    def exists(self) -> bool:
        """Whether anything is there: one request."""
        with self._guarded("list", ""):
            return bool(self._call("list_objects_v2", Prefix=self._key(""), MaxKeys=1).get("KeyCount"))

    def names(self, folder: str) -> list[str]:
        """Names in `folder`, unsorted: one request for each thousand."""
        start = len(self._key(folder))
        found: list[str] = []
        for page in self._pages(folder, Delimiter="/"):
            found += [one["Key"][start:] for one in page.get("Contents", ())]
            found += [one["Prefix"][start:-1] for one in page.get("CommonPrefixes", ())]
        return [name for name in found if name]

    def sizes(self, folder: str) -> list[int]:
        """Bytes of each object in `folder`."""
        return [int(one["Size"]) for page in self._pages(folder, Delimiter="/") for one in page.get("Contents", ())]

    def files(self) -> list[str]:
        """Every object below the root, by its path there: one request for each thousand."""
        start = len(self._key(""))
        return [one["Key"][start:] for page in self._pages("") for one in page.get("Contents", ())]

    def read(self, path: str) -> bytes:
        """The bytes of an object, from one request; `FileNotFoundError` if there is none."""
        with self._guarded("read", path):
            # With more connections s3fs asks for the size first, and takes a piece that was cut short for the whole.
            return bytes(self.filesystem.cat_file(self._path(path), max_concurrency=1))

    def open(self, path: str) -> IO[bytes]:
        """The object, to read parts of it."""
        with self._guarded("read", path):
            return io.BufferedReader(_Parts(self, path), _READ_BYTES)

    def write(self, path: str, data: bytes) -> None:
        """Put the whole object; an older one of that name is replaced."""
        with self._guarded("write", path, len(data)):
            self.filesystem.pipe_file(self._path(path), data)

    def write_once(self, path: str, data: bytes) -> None:
        """Put an object whose name says what is in it, only if it is not there (If-None-Match).

        Where one is there already (another writer's, or our own of which the answer was lost) it stays if it is equal; one that is
        damaged is replaced. Stores that know no conditional write get a plain one.
        """
        if not self._conditional or not self.claim(path, data):
            self.write(path, data)

    def claim(self, path: str, data: bytes) -> bool:
        """Put an object unless something is there; whether what is there now is `data`."""
        for attempt in range(_CONFLICTS):
            if not self._conditional:
                break
            try:
                with self._guarded("write", path, len(data)):
                    self.filesystem.pipe_file(self._path(path), data, mode="create")
                return True
            except StoreError as problem:
                code = _code(problem)
                if code in ("PreconditionFailed", "412"):
                    return super().claim(path, data)
                if code in ("NotImplemented", "501"):
                    self._conditional = False
                elif code in ("ConditionalRequestConflict", "409"):  # another one is under way: soon it is there or not
                    time.sleep(0.1 * 2**attempt)
                else:
                    raise
        return super().claim(path, data)

    def fetch(self, path: str, target: str) -> None:
        """Copy an object to a local file, piece by piece."""
        with self._guarded("read", path):
            self.filesystem.get_file(self._path(path), target, max_concurrency=1)

    def put(self, source: str, path: str) -> None:
        """Copy a local file to an object, piece by piece; it is there when it is whole."""
        with self._guarded("write", path):
            self.filesystem.put_file(source, self._path(path), max_concurrency=2)

    def move(self, source: str, target: str) -> None:
        """Copy inside the store, then delete: object stores do not rename."""
        with self._guarded("move", source):
            self.filesystem.cp_file(self._path(source), self._path(target))
        self.remove(source)

    def remove(self, path: str) -> None:
        """Delete an object."""
        self.remove_many([path])

    def remove_many(self, paths: Iterable[str]) -> None:
        """Delete objects, a thousand at a time."""
        keys = [self._key(path).rstrip("/") for path in paths]
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            some = keys[start : start + _DELETED_AT_ONCE]
            with self._guarded("delete", some[0]):
                done = self._call("delete_objects", Delete={"Objects": [{"Key": key} for key in some], "Quiet": True})
            if failed := done.get("Errors"):
                one = failed[0]
                raise StoreError(
                    f"could not delete s3://{self.bucket}/{one.get('Key')} and {len(failed) - 1} more: {one.get('Code')}. "
                    f"{_RIGHTS}"
                )

    def _key(self, path: str) -> str:
        """What is listed for a folder: with a slash at the end, or nothing for a whole bucket."""
        parts = [part for part in (self.prefix, path) if part]
        return "/".join([*parts, ""]) if parts else ""

    def _pages(self, folder: str, **how: str) -> Iterator[dict[str, Any]]:
        next_page: dict[str, str] = {}
        while True:
            with self._guarded("list", folder):
                page = self._call("list_objects_v2", Prefix=self._key(folder), **how, **next_page)
            yield page
            if not page.get("IsTruncated"):
                return
            next_page = {"ContinuationToken": page["NextContinuationToken"]}

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return self.filesystem.call_s3(operation, Bucket=self.bucket, **arguments)  # type: ignore[no-any-return]

    @contextmanager
    def _guarded(self, action: str, path: str, size: int | None = None) -> Iterator[None]:
        """Turn what the store or botocore says into one line; "not there" stays what it is."""
        try:
            yield
        except Exception as problem:
            of_botocore = type(problem).__module__.partition(".")[0] in ("botocore", "aiobotocore", "aiohttp")
            if not isinstance(problem, OSError) and not of_botocore:
                raise
            code = _code(problem)
            if isinstance(problem, FileNotFoundError) and code != "NoSuchBucket":
                raise
            place = f"s3://{self._path(path)}" + (f" ({size} bytes)" if size is not None else "")
            raise StoreError(_line(problem, code, f"could not {action} {place}", self.bucket)) from problem


class _Parts(io.RawIOBase):
    """An open object. What fails while it is read is an error, and no reason to take the object for a damaged one."""

    def __init__(self, folder: S3Folder, path: str) -> None:
        self._folder, self._of = folder, path
        self._file = folder.filesystem.open(folder._path(path), "rb", cache_type="none")

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go there; costs no request."""
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        """Where the next read begins."""
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        """The next bytes, from one request."""
        with self._folder._guarded("read", self._of):
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _line(problem: Exception, code: str, failed: str, bucket: str) -> str:
    """What went wrong and what to do, in one line."""
    if code == "NoSuchBucket":
        return f"{failed}: there is no bucket {bucket!r}. Mend the URL, or make it: aws s3 mb s3://{bucket}."
    if code == "RequestTimeTooSkewed":
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        return f"{failed}: this machine's clock is wrong ({now} UTC; {code}). Set it (NTP) and run again."
    if isinstance(problem, PermissionError) or "Credential" in type(problem).__name__:
        return f"{failed}: no rights ({code or ' '.join(str(problem).split())}). {_RIGHTS}"
    said = code or type(problem).__name__
    return f"{failed}: {said}: {' '.join(str(problem).split()).rstrip('.')}. {_INTACT}"


def _code(problem: BaseException | None) -> str:
    """The store's own word for what is wrong, such as NoSuchBucket; empty if it said none."""
    seen: Sequence[BaseException] = ()
    while problem is not None and problem not in seen:
        answer = getattr(problem, "response", None)
        if isinstance(answer, dict):
            return str(answer.get("Error", {}).get("Code", ""))
        seen = (*seen, problem)
        problem = problem.__cause__ or problem.__context__
    return ""
