"""Everything below a folder or URL held against its hashes: units, banks, figures, tables, trained students, checkpoints."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from uqkd.store.durable import Folder, LocalFolder, open_folder
from uqkd.store.folders import MANIFEST, PROSE, verified_folder
from uqkd.store.mirrors import set_aside
from uqkd.store.records import RECORDS, faults_of_files, repair_files
from uqkd.store.results import Store
from uqkd.store.units import content_hash

_BLOCK_BYTES = 2**20  # of a model, hashed at once
_STUDENT = re.compile(r"(.*/)?student-\d+")  # what is committed as a folder even where its manifest is gone
_ASIDE = re.compile(r"(^|/)(quarantine|\.tmp)/")


@dataclass(frozen=True)
class Verdict:
    """What `verify_all` found.

    Attributes
    ----------
    units, files, folders : int
        Whole ones: units of work, files recorded by name, trained models.
    bad : tuple of (str, str)
        Path below the root and reason.
    """

    units: int
    files: int
    folders: int
    bad: tuple[tuple[str, str], ...]

    @property
    def nothing(self) -> bool:
        """There is nothing that could be verified."""
        return not (self.units or self.files or self.folders or self.bad)


def verify_all(root: str, *, quarantine: bool = False) -> Verdict:
    """Check everything below a results folder, a bank, or a folder of students, and of what lies inside it.

    Parameters
    ----------
    root : str
        Folder or fsspec URL.
    quarantine : bool
        Move what is damaged or foreign to quarantine, so that the next run makes it anew; otherwise nothing is touched.

    Examples
    --------
    >>> store = Store("memory://verifying-doc")
    >>> store.write_bytes("tables/a.csv", b"1")
    >>> verify_all("memory://verifying-doc")
    Verdict(units=0, files=1, folders=0, bad=())
    """
    store = Store(root, create=False)
    files = [path for path in store.folder.files() if not _ASIDE.search(path)]
    units, good, whole, bad = 0, 0, 0, list[tuple[str, str]]()
    for place in _places(files, "units"):
        report = Store(_join(store.root, place), create=False).verify(move=quarantine)
        units += report.ok
        bad += [(f"{place}{path}", reason) for path, reason in report.bad]
    for place in sorted(
        {"", *_places(files, RECORDS)}
    ):  # strangers among figures are found where nothing is recorded too
        below = open_folder(_join(store.root, place))
        sound, found = faults_of_files(below)
        good += sound
        bad += [(f"{place}{one.path}", one.reason) for one in (repair_files(below) if quarantine else found)]
    for name in sorted(_folders(files)):
        faults = faults_of_committed(store.folder, name, files)
        whole += not faults
        bad += [(path, reason) for path, reason in faults]
        if faults and quarantine:
            _repair_folder(store.folder, name, faults, files)
    return Verdict(units, good, whole, tuple(bad))


def faults_of_committed(folder: Folder, name: str, files: Sequence[str]) -> list[tuple[str, str]]:
    """Path and reason of all that is missing, changed or foreign in a committed folder, here or at a URL.

    Parameters
    ----------
    folder : Folder
        The root.
    name : str
        Path of the committed folder below it.
    files : sequence of str
        Every file below the root.
    """
    try:
        manifest = json.loads(folder.read(f"{name}/{MANIFEST}"))
    except (FileNotFoundError, ValueError):
        manifest = None
    if not manifest or not isinstance(manifest, dict):
        return [(f"{name}/{MANIFEST}", "missing or damaged: the folder was not finished, or its manifest is lost")]
    here = {path[len(name) + 1 :] for path in files if path.startswith(f"{name}/")}
    found = [(f"{name}/{one}", "missing") for one in sorted({*manifest} - here - {PROSE})]
    for one in sorted(here & {*manifest} - {PROSE}):
        if _hash(folder, f"{name}/{one}") != manifest[one]:
            found.append((f"{name}/{one}", "does not match its hash"))
    return found + [(f"{name}/{one}", "foreign file") for one in sorted(here - {*manifest, MANIFEST, PROSE})]


def _repair_folder(folder: Folder, name: str, faults: Sequence[tuple[str, str]], files: Sequence[str]) -> None:
    """A folder with a foreign file loses that; a damaged one goes to quarantine as a whole."""
    for path, reason in faults:
        if reason == "foreign file":
            folder.move(path, f"quarantine/{path}")
    if all(reason == "foreign file" for _, reason in faults):
        return
    if isinstance(folder, LocalFolder):
        verified_folder(folder.root, name)
    else:
        set_aside(folder, name, content_hash(repr(faults).encode())[:8], files)


def _folders(files: Sequence[str]) -> set[str]:
    """Paths of the committed folders, and of students that have lost their manifest."""
    banks = {
        place.rstrip("/") for room in ("units", RECORDS) for place in _places(files, room)
    }  # of what students said
    inside = {path.rpartition("/")[0] for path in files} - banks
    return {path.removesuffix(f"/{MANIFEST}") for path in files if path.endswith(f"/{MANIFEST}")} | {
        name for name in inside if _STUDENT.fullmatch(name)
    }


def _places(files: Sequence[str], room: str) -> list[str]:
    """What is before a folder in the paths that have it, with its slash: "" for the root itself."""
    parted = (f"/{path}".partition(f"/{room}/") for path in files)
    return sorted({f"{before}/".removeprefix("/") for before, inside, _ in parted if inside})


def _join(root: str, place: str) -> str:
    return f"{root}/{place}".rstrip("/")


def _hash(folder: Folder, path: str) -> str:
    digest = blake2b(digest_size=16)
    try:
        with folder.open(path) as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except FileNotFoundError:
        return ""
    return digest.hexdigest()
