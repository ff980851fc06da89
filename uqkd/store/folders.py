"""A folder of files, such as a trained model, that is there wholly or not at all, and is verified before it is used."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from uqkd.store.durable import _reporting, _sync_folder
from uqkd.store.units import file_hash

MANIFEST = "uqkd.json"  # name → hash of every file
PROSE = "README.md"  # people and later commands may change it: it decides nothing
_TEMPORARY, _PREFIX = ".tmp", "folder-"


def commit_folder(root: str | Path, name: str, write: Callable[[Path], None]) -> Path:
    """Fill a temporary folder, sync it, and rename it to `root/name`; return that.

    If another process was first, its folder is kept.

    Parameters
    ----------
    root : path
        A local folder.
    name : str
        Path below it.
    write : callable
        Gets an empty folder and puts files into it.

    Raises
    ------
    StoreError
        The folder could not be written; whatever was there before is intact.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as root:
    ...     made = commit_folder(root, "models/a", lambda folder: (folder / "x.txt").write_text("1") and None)
    ...     verified_folder(root, "models/a") == made, sorted(path.name for path in made.iterdir())
    (True, ['uqkd.json', 'x.txt'])
    """
    final = Path(root).absolute() / name
    with _reporting("write", final):
        final.parent.mkdir(parents=True, exist_ok=True)
        _sweep(Path(root).absolute())
        with _unfinished(Path(root).absolute()) as folder:
            write(folder)
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            manifest = {str(path.relative_to(folder)): file_hash(path) for path in files}
            (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
            for path in [*files, folder / MANIFEST]:
                with open(path, "rb") as handle:
                    os.fsync(handle.fileno())
            _sync_folder(folder)
            if verified_folder(root, name) is None:
                os.rename(folder, final)
                _sync_folder(final.parent)
    return final


def verified_folder(root: str | Path, name: str) -> Path | None:
    """The folder `root/name` if it is whole; None if it is missing. A damaged one is moved to `root/quarantine`.

    Examples
    --------
    >>> verified_folder("no-such-root", "a") is None
    True
    """
    root = Path(root).absolute()
    final = root / name
    if not final.is_dir():
        return None
    if not (faults := faults_of_folder(final)):
        return final
    aside = root / "quarantine"
    with _reporting("move", final):
        aside.mkdir(exist_ok=True)
        target = Path(tempfile.mkdtemp(prefix=f"{final.name}-", dir=aside))
        os.rename(final, target / final.name)
    print(f"{name}: {faults[0]}; moved to quarantine", file=sys.stderr, flush=True)
    return None


def faults_of_folder(folder: Path) -> list[str]:
    """What is wrong with a committed folder: missing, changed and foreign files; empty if it is whole.

    Its README.md is not a part of what is verified.

    Examples
    --------
    >>> faults_of_folder(Path("no-such-folder"))
    ['no uqkd.json']
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return [f"no {MANIFEST}"]
    if not manifest or not isinstance(manifest, dict):
        return [f"{MANIFEST} lists no files"]
    found = []
    for name, digest in manifest.items():
        path = folder / name
        if name == PROSE:
            continue
        if not path.is_file():
            found.append(f"{name} is missing")
        elif file_hash(path) != digest:
            found.append(f"{name} does not match its hash")
    return found


def is_untouched(folder: Path, name: str) -> bool:
    """Whether a file of a committed folder is as it was committed: nobody wrote into it since.

    Examples
    --------
    >>> is_untouched(Path("no-such-folder"), "README.md")
    False
    """
    try:
        return bool(json.loads((folder / MANIFEST).read_bytes()).get(name) == file_hash(folder / name))
    except (OSError, ValueError):
        return False


@contextmanager
def _unfinished(root: Path) -> Iterator[Path]:
    """A new temporary folder, locked for as long as its writer lives; gone afterwards unless it was renamed."""
    place = root / _TEMPORARY
    place.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    os.chmod(folder, 0o755)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # disks without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(root: Path) -> int:
    """Delete the temporary folders of dead writers; return how many."""
    swept = 0
    for folder in (root / _TEMPORARY).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
                swept += 1
            finally:
                os.close(descriptor)
    return swept
