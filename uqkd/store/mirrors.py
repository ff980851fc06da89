"""Committed folders (trained students, their checkpoints) at a URL, each with a twin on this machine, where models load from.

A folder goes up file by file, and its manifest last: one without a manifest is not there. It comes down into a temporary folder
and counts when every file has the hash that the manifest says, so that nothing half-written, cut or mixed is ever read.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from uqkd.errors import StoreError
from uqkd.store.durable import LocalFolder, open_folder
from uqkd.store.folders import MANIFEST, PROSE, _unfinished, faults_of_folder
from uqkd.store.records import write_recorded
from uqkd.store.remote import RemoteFolder
from uqkd.store.reporting import reporting
from uqkd.store.units import content_hash

_TRIES = 2  # downloads of a folder before what is there counts as damaged
_SLOTS = 64  # processes of this machine with a twin of one URL each


class Mirror:
    """The committed folders below a URL.

    Parameters
    ----------
    url : str
        Of any file system of fsspec.
    place : path, optional
        Of the twins. A folder of the user's cache (`$UQKD_CACHE`), which no other process uses meanwhile, if not given.

    Attributes
    ----------
    root : Path
        What has the folders of the URL after `pull`.

    Examples
    --------
    >>> import tempfile
    >>> from uqkd.store import commit_folder
    >>> with tempfile.TemporaryDirectory() as here, tempfile.TemporaryDirectory() as there:
    ...     mine, theirs = (Mirror("memory://mirror-doc", place) for place in (here, there))
    ...     _ = commit_folder(here, "student-0", lambda folder: (folder / "x.txt").write_text("1") and None)
    ...     mine.push("student-0")
    ...     theirs.pull("student-"), (theirs.root / "student-0/x.txt").read_text()
    (['student-0'], '1')
    """

    def __init__(self, url: str, place: str | Path | None = None) -> None:
        self.url = url.rstrip("/")
        folder = open_folder(url)
        if isinstance(folder, LocalFolder):
            raise StoreError(f"{url!r} is a folder of this machine and needs no twin.")
        self.folder = folder
        self.folder.create()
        self._lock = -1
        self._whole: dict[str, bytes] = {}  # manifest of each twin that was verified since
        self.root = self._own_place() if place is None else Path(place).absolute()
        with reporting("create", self.root):
            self.root.mkdir(parents=True, exist_ok=True)

    def pull(self, prefix: str = "") -> list[str]:
        """Bring the folders whose path begins so, and the files beside them; twins of what is not there any more go.

        Returns
        -------
        list of str
            The folders that are whole, sorted. A damaged one is moved to quarantine at the URL, with a line on stderr.
        """
        files = self.folder.files()
        there = sorted(name.removesuffix(f"/{MANIFEST}") for name in files if name.endswith(f"/{MANIFEST}"))
        there = [name for name in there if name.startswith(prefix) and not name.startswith("quarantine/")]
        found = [name for name in there if self.bring(name, files)]
        for manifest in list(self.root.glob(f"{prefix}*/**/{MANIFEST}")):
            if str(manifest.parent.relative_to(self.root)) not in found:
                shutil.rmtree(manifest.parent)
        for name in files:
            if "/" not in name or (name.endswith(f"/{PROSE}") and name.removesuffix(f"/{PROSE}") in found):
                LocalFolder(self.root).write(name, self.folder.read(name))
        return found

    def push(self, name: str) -> None:
        """Bring a folder that was committed here to the URL. One that is there already stays, and comes here instead."""
        own = self.root / name
        manifest = (own / MANIFEST).read_bytes()
        if self._manifest(name) is None:
            for file in json.loads(manifest):
                self.folder.put(str(own / file), f"{name}/{file}")
            if self.folder.claim(f"{name}/{MANIFEST}", manifest):
                return
        if self._manifest(name) != manifest:
            self.bring(name)

    def push_files(self, names: Iterable[str]) -> None:
        """Bring files beside the folders, such as what is known of all students, or what people read."""
        for name in names:
            if name.endswith(PROSE):
                self.folder.put(str(self.root / name), name)
            else:
                write_recorded(self.folder, name, (self.root / name).read_bytes())

    def drop(self, prefix: str) -> None:
        """Forget what is at the URL below a path; its manifests first, so that no half is left to be read."""
        names = [name for name in self.folder.files() if name.startswith(prefix)]
        self.folder.remove_many(name for name in names if name.endswith(f"/{MANIFEST}"))
        self.folder.remove_many(name for name in names if not name.endswith(f"/{MANIFEST}"))

    def below(self, part: str) -> Mirror:
        """Of a folder below this one."""
        return Mirror(f"{self.url}/{part}", self.root / part)

    def bring(self, name: str, files: list[str] | None = None) -> bool:
        """Bring one folder; False if it is not there or damaged. `files` is the URL's listing, if one was just made."""
        files, faults = self.folder.files() if files is None else files, ["no uqkd.json"]
        manifest: bytes | None = None
        for _ in range(_TRIES):
            manifest = self._manifest(name)
            if manifest is None:
                return False
            own = self.root / name
            if self._has(name, manifest):
                return True
            with reporting("write", own), _unfinished(self.root) as folder:
                faults = self._download(name, manifest, files, folder)
                if not faults:
                    shutil.rmtree(own, ignore_errors=True)
                    own.parent.mkdir(parents=True, exist_ok=True)
                    os.rename(folder, own)
                    self._whole[name] = manifest
                    return True
        assert manifest is not None
        set_aside(self.folder, name, content_hash(manifest)[:8], files)
        print(f"{self.url}/{name}: {faults[0]}; moved to quarantine", file=sys.stderr, flush=True)
        return False

    def _has(self, name: str, manifest: bytes) -> bool:
        own = self.root / name / MANIFEST
        if not own.is_file() or own.read_bytes() != manifest:
            return False
        if self._whole.get(name) != manifest and faults_of_folder(own.parent):
            return False
        self._whole[name] = manifest
        return True

    def _download(self, name: str, manifest: bytes, files: list[str], folder: Path) -> list[str]:
        (folder / MANIFEST).write_bytes(manifest)
        start = len(name) + 1
        for path in files:
            inside = path.startswith(f"{name}/") and ".." not in path.split("/")
            if inside and path[start:] != MANIFEST:
                (folder / path[start:]).parent.mkdir(parents=True, exist_ok=True)
                try:
                    self.folder.fetch(path, str(folder / path[start:]))
                except FileNotFoundError:
                    continue  # gone since it was listed: the faults say so
        return faults_of_folder(folder)

    def _manifest(self, name: str) -> bytes | None:
        try:
            return self.folder.read(f"{name}/{MANIFEST}")
        except FileNotFoundError:
            return None

    def _own_place(self) -> Path:
        """A folder of the cache that this process has for itself as long as it lives."""
        base = Path(os.environ.get("UQKD_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uqkd"
        name = hashlib.blake2b(self.url.encode(), digest_size=8).hexdigest()
        with reporting("create", base):
            for slot in range(_SLOTS):
                place = base / "mirrors" / f"{name}-{slot}"
                place.mkdir(parents=True, exist_ok=True)
                self._lock = os.open(place, os.O_RDONLY)
                try:
                    fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(self._lock)
                except OSError:
                    return place  # a disk without locks
                else:
                    return place
        raise StoreError(f"{self.url} has {_SLOTS} twins in use below {base}; end some of the processes.")


def set_aside(folder: RemoteFolder, name: str, number: str, files: Iterable[str]) -> None:
    """Move a folder at a URL to quarantine: its manifest first, without which it is not there."""
    for path in sorted(files, key=lambda path: path != f"{name}/{MANIFEST}"):
        if path.startswith(f"{name}/"):
            with suppress(FileNotFoundError):  # moved already, by another process or as a stranger
                folder.move(path, f"quarantine/{name}-{number}/{path[len(name) + 1 :]}")


_mirrors: dict[str, Mirror] = {}  # of this process: each has its place for itself


def mirrored(place: str | Path) -> Mirror | None:
    """The mirror of a URL, brought up to date; None for a folder of this machine.

    Examples
    --------
    >>> mirrored("students") is None
    True
    """
    url = str(place)
    if "://" not in url or isinstance(open_folder(url), LocalFolder):
        return None
    mirror = _mirrors.setdefault(url, _mirrors.get(url) or Mirror(url))
    mirror.pull()
    return mirror


def twin(place: str | Path) -> Path:
    """The folder on this machine that has what is at a path or URL: itself, or what `mirrored` brought here.

    Examples
    --------
    >>> str(twin("students"))
    'students'
    """
    if (mirror := mirrored(place)) is not None:
        return mirror.root
    return Path(str(open_folder(place).root)) if "://" in str(place) else Path(place)
