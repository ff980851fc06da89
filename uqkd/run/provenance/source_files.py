"""Our own modules, found by name: those of the package, and those beside a study file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from uqkd.run.provenance.definitions import Module, read_module


class SourceFiles:
    """Finds and parses modules; everything else is a library.

    Parameters
    ----------
    package : Path
        Folder of the package.
    beside : Path
        Folder of the study file.

    Examples
    --------
    >>> import uqkd
    >>> sources = SourceFiles(Path(uqkd.__file__).parent, Path("."))
    >>> [name for name in ("uqkd.seeds", "numpy", "uqkd.estimators.no_such") if sources.get(name)]
    ['uqkd.seeds']
    """

    def __init__(self, package: Path, beside: Path) -> None:
        self.package = package.name
        self._roots = {self.package: package.parent}
        self._beside = beside
        self._known: dict[str, Module | None] = {}
        self._libraries: dict[str, str] = {}

    def get(self, name: str) -> Module | None:
        """One of our modules; None for a library, and for a name of no module."""
        if name not in self._known:
            path = self._path(name)
            self._known[name] = None if path is None else read_module(name, path, path.read_bytes())
        return self._known[name]

    def library(self, name: str) -> str:
        """The first name of a module that is neither ours nor Python's own; empty for those."""
        top = name.partition(".")[0]
        if top not in self._libraries:
            own = top in (self.package, *sys.stdlib_module_names) or self._path(top)
            self._libraries[top] = "" if own else top
        return self._libraries[top]

    def around(self, module: Module) -> Iterator[Module]:
        """The modules of the folder in which a module lies, with all folders below; of a study's folder the files alone."""
        folder = module.path.parent
        for path in sorted(folder.rglob("*.py") if module.package else folder.glob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            parts = (*module.package.split("."), *(parts[:-1] if path.name == "__init__.py" else parts))
            if path != module.path and (found := self.get(".".join(part for part in parts if part))):
                yield found

    def _path(self, name: str) -> Path | None:
        parts = name.split(".")
        above = self.get(".".join(parts[:-1])) if len(parts) > 1 else None
        if not name or parts[0] in sys.stdlib_module_names or (above and not above.is_package):
            return None
        stem = os.path.join(self._roots.get(parts[0], self._beside), *parts)
        for path in (f"{stem}.py", os.path.join(stem, "__init__.py")):
            if os.path.isfile(path):
                return Path(path)
        return None
