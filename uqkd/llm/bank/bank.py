"""The sample bank: every response of a teacher, drawn once and kept. The stored draws are the reproducible object."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import DataError, OptionError, ProvenanceError
from uqkd.llm.bank.columns.fingerprint import FINGERPRINTED, fingerprint_of
from uqkd.llm.bank.columns.matching import NAMES, Matching
from uqkd.llm.bank.columns.scan import CODED, THREADS, completed, kinds, response_codes
from uqkd.llm.bank.inventory import Inventory, put, without_gap
from uqkd.llm.bank.left_out import LeftOut, read_left_out
from uqkd.llm.bank.stored import Gathering
from uqkd.llm.prompts.prompts import Prompts, turns_of
from uqkd.llm.responses import Responses
from uqkd.store import Report, Store
from uqkd.store.unit_index import UnitIndex

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["STUDY", "Bank", "Inventory", "refuse_other", "response_codes"]

STUDY = "bank"  # folder of the units inside the store


class Bank:
    """Responses of one teacher, with one way of sampling and one seed key.

    Parameters
    ----------
    root : path or str
        A folder or fsspec URL. It is a store: `uqkd verify` checks it, and its Parquet files load into pandas and `datasets`
        as they are.
    create : bool
        Make the folder if it is not there.

    Examples
    --------
    >>> bank = Bank("memory://bank-doc")
    >>> bank.rows, bank.identity
    (0, None)
    """

    def __init__(self, root: str | Path, *, create: bool = True) -> None:
        self.store = Store(root, create=create)

    @property
    def root(self) -> str:
        """The folder or URL."""
        return self.store.root

    def units(
        self, columns: Collection[str] | None = None, *, threads: int = THREADS
    ) -> Generator[tuple[dict[str, Any], pa.Table], None, None]:
        """The parameters of each unit and its verified Arrow table, a few in memory at a time; see `scan`."""
        names = [name for twins in self.store.committed(STUDY).values() for name in twins]
        first: dict[str, Any] | None = None
        wanted = None if columns is None else {*columns, *(("token_ids",) if "tokens" in columns else ())}
        coded = CODED if columns is not None else ()
        shelf = UnitIndex(self.store.folder, STUDY)
        for _, unit in shelf.verified(names, columns=wanted, coded=coded, threads=threads):
            params = dict(unit.inputs.params)
            first = first or params["bank"]
            refuse_other(self.root, first, params["bank"])
            yield params, completed(unit.table, columns)

    def scan(self, columns: Collection[str]) -> Iterator[pa.Table]:
        """Some columns of the bank, unit by unit in no particular order; only these are decoded.

        The hash of each file is checked. A corrupt unit is moved to quarantine; its responses count as missing. Texts that
        repeat (`CODED`) come as Arrow dictionaries. Columns that an older bank lacks are null.

        Raises
        ------
        ProvenanceError
            Units of different teachers, sampling parameters or seed keys.

        Examples
        --------
        >>> sum(table["tokens"].sum().as_py() for table in Bank("memory://bank-doc").scan(["tokens"]))
        0
        """
        for _, table in self.units(columns):
            yield table

    @property
    def identity(self) -> dict[str, Any] | None:
        """Teacher, sampling parameters and seed key, as the first unit has them; None while the bank is empty."""
        with closing(self.units((), threads=0)) as units:
            return next((dict(params["bank"]) for params, _ in units), None)

    @property
    def rows(self) -> int:
        """Count of responses."""
        return sum(table.num_rows for table in self.scan(("response_index",)))

    def left_out(self) -> tuple[LeftOut, ...]:
        """The prompts and requests that the last run left out, and why."""
        return read_left_out(self.store)

    def prompts(self) -> tuple[Prompts, int]:
        """The prompts of this bank, in the order of their ids, and how many responses there are to every one of them.

        Raises
        ------
        DataError
            The bank is empty.
        ProvenanceError
            A prompt id stands for two prompts.
        """
        asked: dict[str, tuple[str, str | None]] = {}
        number: dict[str, int] = {}
        found = [np.zeros((0, 2), dtype=np.int64)]
        for table in self.scan(("prompt_id", "prompt", "messages", "response_index")):
            kinds_here, which = kinds(table, ("prompt_id", "prompt", "messages"))
            for name, *what in kinds_here:
                if asked.setdefault(name, tuple(what)) != tuple(what):
                    raise ProvenanceError(
                        f"prompt id {name!r} stands for two prompts in the bank {self.root!r}: {asked[name][0][:60]!r} and "
                        f"{what[0][:60]!r}, or their turns differ. Find the unit that is wrong and delete it."
                    )
            places = np.array([number.setdefault(name, len(number)) for name, *_ in kinds_here], dtype=np.int64)[which]
            found.append(np.stack([places, np.asarray(table["response_index"])], axis=1))
        if not asked:
            raise DataError(f"the bank {self.root!r} is empty; draw responses first (uqkd sample).")
        ids = tuple(sorted(asked))
        chats = tuple(turns_of(asked[name][1] or "") for name in ids)
        return Prompts(ids, tuple(asked[name][0] for name in ids), chats=chats), without_gap(
            np.concatenate(found), len(ids)
        )

    def inventory(self, prompts: Prompts, k: int, *, hashes: Sequence[str] = ()) -> Inventory:
        """Which responses 0 ... k-1 to these prompts are there.

        Parameters
        ----------
        prompts : Prompts
        k : int
        hashes : sequence of P str
            Of the rendered prompts, see `Rendered`; without them the turns are compared.

        Raises
        ------
        ProvenanceError
            A prompt id that stands for another prompt here, or one response with two different contents.
        """
        held = Inventory(np.zeros((len(prompts), k), dtype=np.uint64))
        for places, indices, table in self.selected(prompts, ("token_ids", "text", "flags"), k, hashes=hashes):
            new = put(held.codes, (places, indices), response_codes(table), root=self.root, prompts=prompts)
            flags, which = kinds(table, ("flags",))
            for (own,), count in zip(flags, np.bincount(which[new], minlength=len(flags)).tolist(), strict=True):
                held.count_flags(own, count)
        return held

    def selected(
        self, prompts: Prompts, columns: Collection[str], k: int, *, hashes: Sequence[str] = ()
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], pa.Table]]:
        """The rows that are the responses 0 ... k-1 to some prompts: place of the prompt, response index, and columns.

        Raises
        ------
        ProvenanceError
            A prompt id that stands for another prompt here.
        """
        matching = Matching(self.root, prompts, hashes)
        for table in self.scan((*NAMES, "response_index", *columns)):
            places, indices = matching.places(table), np.asarray(table["response_index"])
            wanted = (places >= 0) & (indices >= 0) & (indices < k)
            if wanted.all():
                yield places, indices, table
            elif wanted.any():
                yield places[wanted], indices[wanted], table.filter(wanted)

    def table(self, prompts: Prompts | None = None, *, k: int | None = None) -> pd.DataFrame:
        """All columns, sorted by prompt (in the order of `prompts`, or by id) and response index.

        Parameters
        ----------
        prompts : Prompts, optional
            Only these.
        k : int, optional
            Only responses 0 ... k-1.

        Raises
        ------
        DataError
            The bank has no such responses.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        tables = []
        for _, table in self.units():
            if prompts is not None:
                table = table.filter(pc.is_in(table["prompt_id"], pa.array(prompts.ids)))
            tables.append(table if k is None else table.filter(pc.less(table["response_index"], k)))
        if not tables:
            raise DataError(f"the bank {self.root!r} is empty; draw responses first (uqkd sample).")
        frame = pa.concat_tables(tables, promote_options="permissive").to_pandas()
        order = {key: place for place, key in enumerate(prompts.ids if prompts else sorted(set(frame["prompt_id"])))}
        frame = frame.assign(_place=frame["prompt_id"].map(order)).sort_values(
            ["_place", "response_index"], kind="stable"
        )
        return frame.drop(columns="_place").drop_duplicates(["prompt_id", "response_index"]).reset_index(drop=True)

    def responses(self, prompts: Prompts, *, students: int, k: int, per_student: int) -> Responses:
        """The teacher's responses for each student: disjoint between students, nested in k.

        Student s gets the responses s·per_student ... s·per_student+k-1 of every prompt. The variances between students at
        several k of one bank therefore err together: `uqkd.estimators.averaging_law_of` with design="nested" counts that.

        Parameters
        ----------
        prompts : Prompts
        students, k : int
        per_student : int
            Responses set aside for each student, at least k; the same for every k that is to be nested.

        Returns
        -------
        Responses
            (S, P, k); token ids without the token that ended a response.

        Raises
        ------
        DataError
            Responses are missing; says how many to draw.
        """
        if not 1 <= k <= per_student or students < 1:
            raise OptionError(
                f"responses needs students >= 1 and 1 <= k <= per_student; got students={students}, k={k}, "
                f"per_student={per_student}."
            )
        gathering = Gathering((self.identity or {}).get("stop_ids", ()))
        index = np.zeros((len(prompts), students * per_student), dtype=np.int64)  # number of the response and 1
        columns = ("token_ids", "text", "finish_reason")
        for places, indices, table in self.selected(prompts, columns, students * per_student):
            used = indices % per_student < k
            at = places[used], indices[used]
            numbers = gathering.numbers(table if used.all() else table.filter(used))
            put(index, at, numbers + 1, root=self.root, prompts=prompts)
        index = index.reshape(len(prompts), students, per_student)[:, :, :k].transpose(1, 0, 2) - 1
        if missing := int((index < 0).sum()):
            raise DataError(
                f"the bank {self.root!r} lacks {missing} of {index.size} responses for {students} students with k={k} each, "
                f"{per_student} apart; draw {students * per_student} responses to each of the {len(prompts)} prompts."
            )
        return Responses(prompts, *gathering.in_order(index))

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits of identity, prompts, seeds and responses, whatever the order and the cut into units.

        Logarithms of probabilities are left out: they differ by rounding with what a request was batched with.
        """
        return fingerprint_of(self.units(FINGERPRINTED))

    def verify(self) -> Report:
        """Check every unit against its hash; nothing is moved. See `Store.verify`."""
        return self.store.verify()


def refuse_other(root: str, held: dict[str, Any], asked: dict[str, Any]) -> None:
    """Raise `ProvenanceError` naming what differs, if these are not the same teacher, sampling and key."""
    differing = [name for name in sorted({*held, *asked}) if held.get(name) != asked.get(name)]
    if differing:
        what = "; ".join(f"{name}: {held.get(name)!r} there, {asked.get(name)!r} now" for name in differing)
        raise ProvenanceError(
            f"the bank {root!r} holds draws of one teacher, sampling and key, and these are others ({what}). They must not be "
            "mixed; use another folder."
        )
