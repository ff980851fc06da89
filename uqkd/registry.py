"""Folders in which every file is one thing of a kind, called by the file's name: optimisers, backends, ways to weigh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from uqkd.errors import OptionError, one_of


@dataclass(frozen=True)
class Registry:
    """Every file of a package, by name; what begins with "_" is none of them.

    Attributes
    ----------
    kind : str
        What messages call one of them.
    package : str
        Dotted name of the package whose files they are.
    load : callable (dotted name) -> module
        `importlib.import_module`. The package itself passes it, so that whoever reads the code sees there that its files are
        imported by made-up names.
    parts : tuple of str
        What every file must define.

    Examples
    --------
    >>> import importlib
    >>> found = Registry("optimiser", "uqkd.stacked.optimisers", importlib.import_module)
    >>> found.names()
    ('adam', 'adamw', 'sgd')
    >>> found.named("adm")
    Traceback (most recent call last):
    uqkd.errors.OptionError: optimiser got 'adm'; did you mean 'adam'? Valid: 'adam', 'adamw', 'sgd'.
    """

    kind: str
    package: str
    load: Callable[[str], ModuleType]
    parts: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """All names, sorted; no file is imported."""
        folders = vars(self.load(self.package))["__path__"]
        entries = [entry for folder in folders if Path(folder).is_dir() for entry in Path(folder).iterdir()]
        files = {entry.stem for entry in entries if entry.suffix == ".py"}
        packages = {entry.name for entry in entries if (entry / "__init__.py").is_file()}
        return tuple(sorted(name for name in files | packages if not name.startswith("_")))

    def named(self, name: str) -> Any:
        """The module of that name.

        Raises
        ------
        OptionError
            There is no such file, with the nearest name; or it lacks a part.
        """
        module = self.load(f"{self.package}.{one_of(self.kind, name, self.names())}")
        if missing := [part for part in self.parts if not hasattr(module, part)]:
            raise OptionError(
                f"{self.kind} {name!r} lacks {', '.join(missing)} ({module.__file__}); such a file has {', '.join(self.parts)}."
            )
        return module
