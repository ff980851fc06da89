"""Where a testbed's models lie on this machine, and where its banks do: beside them, or at the URL of the results."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from uqkd.store import Mirror
from uqkd.store.durable import LocalFolder, open_folder

_URL = "url.txt"  # beside the models of a testbed that lies at a URL


class Place:
    """The results folder of a testbed.

    Parameters
    ----------
    root : path or URL
        Models of a URL have twins in the user's cache, one set for each URL, whatever processes use them.

    Examples
    --------
    >>> Place("results").root.name, bank_of(Path("results/embedded/world"), "bank-1")
    ('results', 'results/embedded/world/bank-1')
    """

    def __init__(self, root: str | Path) -> None:
        folder = open_folder(root)
        self._mirror: Mirror | None = None
        if isinstance(folder, LocalFolder):
            self.root = folder.root
            return
        base = os.environ.get("UQKD_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        name = hashlib.blake2b(str(root).encode(), digest_size=8).hexdigest()
        self._mirror = Mirror(str(root), Path(base) / "uqkd/testbeds" / name)
        self.root = self._mirror.root

    def bring(self, name: str, part: str) -> None:
        """What the URL has of a model comes here; what it lacks is to be made."""
        if self._mirror is not None:
            LocalFolder(self.root).write(f"{name}/{_URL}", f"{self._mirror.url}/{name}".encode())
            self._mirror.bring(f"{name}/{part}")

    def push(self, name: str, part: str) -> None:
        """Bring a model that is here to the URL, where it lacks it."""
        if self._mirror is not None:
            self._mirror.push(f"{name}/{part}")


def bank_of(folder: Path, bank: str) -> str:
    """Folder or URL of a bank of the testbed whose models lie in a folder."""
    url = folder / _URL
    return f"{url.read_text() if url.is_file() else folder}/{bank}"
