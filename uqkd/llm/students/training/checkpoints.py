"""Checkpoints of a training: written on a clock, wholly or not at all, and begun from after a stop."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from uqkd.store import Mirror, commit_folder, verified_folder

EVERY_S = 300.0  # seconds between checkpoints, if writing one takes little
SHARE = 0.05  # of the time that may be spent on writing them
_TENSORS, _ABOUT = "state.safetensors", "about.json"


class FolderCheckpoint:
    """Checkpoints below a folder: one folder each, of which the newest whole one counts.

    Parameters
    ----------
    root : path
        Of the results, on the disk where they will be.
    name : str
        Below it; one training each.
    inputs : str
        Fingerprint of all that decides the training: a checkpoint of another one is not begun from.
    every_s : float
        Seconds between two; longer where writing takes more than a twentieth of the time. Zero writes after every step.
    mirror : Mirror, optional
        Of the URL where they are kept; `root` is its twin here.

    Examples
    --------
    >>> import tempfile
    >>> import torch
    >>> with tempfile.TemporaryDirectory() as root:
    ...     place = FolderCheckpoint(root, "student-0", inputs="a", every_s=0.0)
    ...     place.save({"w": torch.ones(2)}, {"made": 7})
    ...     FolderCheckpoint(root, "student-0", inputs="a").load(), FolderCheckpoint(root, "student-0", inputs="b").load()
    (({'w': tensor([1., 1.])}, {'made': 7}), None)
    """

    def __init__(
        self, root: str | Path, name: str, *, inputs: str, every_s: float = EVERY_S, mirror: Mirror | None = None
    ) -> None:
        self._root, self._name, self._inputs, self._every = Path(root), f".training/{name}", inputs, every_s
        self._last, self._took, self._mirror = time.monotonic(), 0.0, mirror

    def due(self) -> bool:
        """Whether it is time to write one."""
        wait = max(self._every, self._took / SHARE if self._every else 0.0)
        return time.monotonic() - self._last >= wait

    def save(self, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        """Write the state, then forget the one before."""
        from safetensors.torch import save_file

        begun = time.monotonic()
        before = self._written()
        number = 1 + max((int(path.name) for path in before), default=0)

        def write(folder: Path) -> None:
            save_file(_apart(tensors), folder / _TENSORS)
            (folder / _ABOUT).write_text(json.dumps({"inputs": self._inputs, "about": dict(about)}))

        commit_folder(self._root, f"{self._name}/{number:06d}", write)
        if self._mirror is not None:
            self._mirror.push(f"{self._name}/{number:06d}")
            for path in before:
                self._mirror.drop(f"{self._name}/{path.name}/")
        for path in before:
            shutil.rmtree(path, ignore_errors=True)
        self._last = time.monotonic()
        self._took = self._last - begun

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The newest state that is whole and of the same training."""
        from safetensors.torch import load_file

        if self._mirror is not None:
            self._mirror.pull(f"{self._name}/")
        for path in reversed(self._written()):
            folder = verified_folder(self._root, f"{self._name}/{path.name}")
            if folder is None:
                continue
            known = json.loads((folder / _ABOUT).read_text())
            if known["inputs"] == self._inputs:
                return load_file(folder / _TENSORS), known["about"]
        return None

    def clear(self) -> None:
        """Forget all: the training is finished and its result committed."""
        shutil.rmtree(self._root / self._name, ignore_errors=True)
        if self._mirror is not None:
            self._mirror.drop(f"{self._name}/")

    def _written(self) -> list[Path]:
        """The folders of checkpoints, oldest first."""
        return sorted(path for path in (self._root / self._name).glob("[0-9]*") if path.is_dir())


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, none sharing memory with another: safetensors refuses that."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in tensors.items():
        held = value.detach().cpu().contiguous()
        place = held.untyped_storage().data_ptr()
        found[name] = held.clone() if place in seen else held
        seen.add(place)
    return found
