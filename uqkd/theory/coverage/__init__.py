"""How often intervals cover: one module a kind of interval, whose `rows(experiments=None)` are the cells of its table.

`python -m uqkd.theory.coverage [kind ...]` (`make coverage`) writes them to docs/coverage and makes the page from them.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from uqkd.errors import one_of


def kinds() -> tuple[str, ...]:
    """Names of the kinds of intervals that have a table: every module of this room with a function `rows`.

    Examples
    --------
    >>> "tables" in kinds()
    False
    """
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    return tuple(name for name in names if hasattr(importlib.import_module(f"{__name__}.{name}"), "rows"))


def kind(name: str) -> ModuleType:
    """The module of a kind by its name.

    Raises
    ------
    OptionError
        An unknown kind; names the nearest.
    """
    return importlib.import_module(f"{__name__}.{one_of('kind', name, kinds())}")
