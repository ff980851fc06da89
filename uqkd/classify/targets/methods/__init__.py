"""The targets of classifiers that CUD's claims compare, by name.

Every file beside this one holds one or more of them, as `TARGETS`: nothing else has to be changed for another one. What a
target needs to know of the training rows it says in `Target.needs`; nothing is told by how it is called.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import OptionError, one_of
from uqkd.registry import Registry

Array = NDArray[np.float64]

_FILES = Registry("file of targets", __name__, importlib.import_module, ("TARGETS",))
_ORDER = (
    "labels",
    "teacher",
    "wclip",
    "label_first",
    "groups",
    "out_of_fold",
)  # of tables; other files come after these
VIEWS = ("probabilities", "shaped_probabilities", "labels", "temperature", "calibrated", "evidence", "folds")
OF_PROJECT = ("labels", "evidence")  # what `project` gets beside the distributions that it changes


@dataclass(frozen=True)
class Target:
    """One target of students: a distribution for each training row.

    Attributes
    ----------
    name : str
        In tables and figures.
    make : callable
        `make(probs, **needs)` gives (P, C) distributions from those of the teacher and from what it needs.
    needs : tuple of str
        Attributes of `TargetFactory`, which `make` gets by these names.
    begins : {"probabilities", "shaped_probabilities"}
        Whose distributions `make` gets, and are compared with the target to see which rows it changes: those of the teacher, or
        of its shaped copy.
    projection : str or None
        The name by which `project` applies it to distributions of any origin.
    options : tuple of str
        Further keywords of `make`, which `project` passes on.

    Examples
    --------
    >>> Target("mine", lambda probs, *, label: probs, needs=("label",))
    Traceback (most recent call last):
    uqkd.errors.OptionError: a need of target 'mine' got 'label'; did you mean 'labels'? ...
    """

    name: str
    make: Callable[..., Array]
    needs: tuple[str, ...] = ()
    begins: str = "probabilities"
    projection: str | None = None
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        one_of(f"begins of target {self.name!r}", self.begins, VIEWS[:2])
        for need in self.needs:
            one_of(f"a need of target {self.name!r}", need, VIEWS if self.projection is None else OF_PROJECT)


def all_targets() -> Mapping[str, Target]:
    """Every target by its name, in the order of tables.

    Raises
    ------
    OptionError
        Two of one name.

    Examples
    --------
    >>> list(all_targets())[:3], all_targets()["groups"].needs
    (['labels', 'label smoothing', 'teacher'], ('evidence',))
    """
    return _by_name("name")


def projections() -> Mapping[str, Target]:
    """The targets that `project` applies to distributions of any origin, by the names that it gives them.

    Examples
    --------
    >>> list(projections())
    ['wclip', 'label_first_l2', 'label_first', 'groups', 'groups_entropy']
    """
    return _by_name("projection")


def _by_name(field: str) -> dict[str, Target]:
    files = sorted(_FILES.names(), key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
    found: dict[str, Target] = {}
    for file in files:
        for target in _FILES.named(file).TARGETS:
            name = getattr(target, field)
            if name in found:
                raise OptionError(f"two targets are called {name!r}, the second in {file}.py; give it another name.")
            found |= {} if name is None else {name: target}
    return found
