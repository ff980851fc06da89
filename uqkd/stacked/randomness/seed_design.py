"""Which level of which source of randomness every student gets (T11).

A source is a family of draws (`batch_orders`, an initialisation); level l of it is always the same draw. Students of other levels
are independent in that source, students of equal level share it: independent students, frozen sources and crossed
designs are all a matter of levels.

A further source is a field of `SeedDesign`, with None as its default, and its name in `refuse_others` where it is drawn from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.errors import OptionError, one_of

Levels = NDArray[np.int64]


@dataclass(frozen=True)
class SeedDesign:
    """The level of each source for each of S students; made by `independent` or `crossed`.

    Attributes
    ----------
    responses : (S,) int
        Which sample of teacher responses.
    initialisation : (S,) int
    order : (S,) int
        Which order of the batches; of no effect where every step takes all rows.
    bootstrap : (S,) int or None
        Which resample of the training rows; None where students train on the rows as they are.
        The same holds of every source that is None by default: a design has it where it is asked for.
    recurring : tuple of str
        Sources whose levels recur on purpose, from chunk to chunk: `uqkd.seeds.ledger` does not take their second use for
        a mistake.
    """

    responses: Levels
    initialisation: Levels
    order: Levels
    bootstrap: Levels | None = None
    recurring: tuple[str, ...] = ()

    @classmethod
    def independent(cls, students: int, *, first: int = 0, freeze: Iterable[str] = (), **drawn: bool) -> SeedDesign:
        """Students that share nothing but what is frozen.

        Parameters
        ----------
        students : int
            S.
        first : int
            Level of the first one; a later chunk of students begins where the chunk before it ended.
        freeze : names of `SOURCES`
            Sources of which all students, of every chunk, get level 0.
        **drawn : bool
            Whether students differ in a source that not every design has: `bootstrap=True` trains each on a resample of the
            rows.

        Examples
        --------
        >>> some = SeedDesign.independent(3, first=10, freeze=["order"])
        >>> some.responses, some.order, some.bootstrap
        (array([10, 11, 12]), array([0, 0, 0]), None)
        """
        if students < 1 or first < 0:
            raise OptionError(f"independent needs students >= 1 and first >= 0; got {students} and {first}.")
        frozen = tuple(one_of("freeze", name, SOURCES) for name in ([freeze] if isinstance(freeze, str) else freeze))
        wanted = {one_of("source", name, _OPTIONAL) for name, value in drawn.items() if value or name not in _OPTIONAL}
        levels = np.arange(first, first + students)
        given: dict[str, Any] = {
            name: levels * (name not in frozen) for name in SOURCES if name in wanted or name not in _OPTIONAL
        }
        return cls(**given, recurring=frozen)

    @classmethod
    def in_chunks(cls, students: int, *, values: int, **how: Any) -> Iterator[SeedDesign]:
        """Independent students, chunk by chunk, so that memory stays flat; the same students whatever the chunks are.

        Parameters
        ----------
        students : int
            Of all chunks together.
        values : int
            Numbers that one student needs at a time; see `uqkd.seeds.chunks`.
        **how
            As for `independent`.

        Examples
        --------
        >>> [design.students for design in SeedDesign.in_chunks(5, values=2**21)], next(SeedDesign.in_chunks(2, values=1)).order
        ([4, 1], array([0, 1]))
        """
        first = 0
        for _, size in seeds.chunks(students, values=values):
            yield cls.independent(size, first=first, **how)
            first += size

    @classmethod
    def crossed(cls, levels: Mapping[str, int]) -> SeedDesign:
        """Every combination of the levels 0 ... n − 1 of the named sources, one student each; the others are frozen.

        Parameters
        ----------
        levels : mapping of name of `SOURCES` to int
            Number of levels; S is their product. The last name varies fastest.

        Examples
        --------
        >>> both = SeedDesign.crossed({"responses": 2, "initialisation": 3})
        >>> both.responses, both.initialisation
        (array([0, 0, 0, 1, 1, 1]), array([0, 1, 2, 0, 1, 2]))
        """
        for name, count in levels.items():
            if count < 1:
                raise OptionError(
                    f"crossed needs at least one level of {one_of('source', name, SOURCES)!r}; got {count}."
                )
        names = [one_of("source", name, SOURCES) for name in levels]
        grid = np.indices(tuple(levels.values())).reshape(len(names), -1)
        frozen = np.zeros(grid.shape[1], dtype=np.int64)
        given: dict[str, Any] = {name: frozen for name in SOURCES if name not in _OPTIONAL}
        return cls(**(given | dict(zip(names, grid, strict=True))), recurring=SOURCES)

    @property
    def students(self) -> int:
        """S."""
        return len(self.responses)

    def part(self, first: int, students: int) -> SeedDesign:
        """The sources of some students in a row: one chunk of a crossed design.

        Examples
        --------
        >>> SeedDesign.crossed({"responses": 2, "initialisation": 3}).part(2, 2).initialisation
        array([2, 0])
        """
        own = slice(first, first + students)
        chunk: dict[str, Any] = {name: level[own] for name, level in self._levels().items()}
        return SeedDesign(**chunk, recurring=self.recurring)

    def table(self) -> dict[str, Levels]:
        """Columns of the sources that vary, by name: the factors of `uqkd.estimators.variance_components`.

        Examples
        --------
        >>> SeedDesign.crossed({"responses": 1, "initialisation": 2}).table()
        {'initialisation': array([0, 1])}
        """
        return {name: level for name, level in self._levels().items() if np.ptp(level) > 0}

    def recurs(self, name: str) -> bool:
        """Whether the levels of a source recur on purpose."""
        return one_of("source", name, SOURCES) in self.recurring

    def refuse_others(self, who: str, drawn: Iterable[str]) -> None:
        """Raise `OptionError` if the design has a source that `who` does not draw from, whose levels would change nothing.

        Parameters
        ----------
        who : str
            What messages call the caller.
        drawn : names of `SOURCES`
            The sources it draws from.

        Examples
        --------
        >>> SeedDesign.independent(2, bootstrap=True).refuse_others("a layer", ["order"])
        Traceback (most recent call last):
        uqkd.errors.OptionError: a layer draws from order alone, and this design has levels of 'bootstrap'; leave it out.
        """
        known = [one_of("source", name, SOURCES) for name in drawn]
        for name in self._levels():
            if name in _OPTIONAL and name not in known:
                raise OptionError(
                    f"{who} draws from {', '.join(known)} alone, and this design has levels of {name!r}; leave it out."
                )

    def _levels(self) -> dict[str, Levels]:
        """The levels of the sources that this design has."""
        return {name: getattr(self, name) for name in SOURCES if getattr(self, name) is not None}


_FIELDS = {field.name: field for field in fields(SeedDesign) if field.name != "recurring"}
SOURCES = tuple(_FIELDS)
_OPTIONAL = tuple(name for name, field in _FIELDS.items() if field.default is None)  # a design may lack them
