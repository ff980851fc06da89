"""The sample bank: every response of a teacher, drawn once and kept. The stored draws are the reproducible object."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import DataError, OptionError, ProvenanceError
from uqkd.llm.responses import Prompts, Response, Responses
from uqkd.store import Report, Store
from uqkd.store.shelf import Shelf

if TYPE_CHECKING:
    import pandas as pd

STUDY = "bank"  # folder of the units inside the store


@dataclass
class Held:
    """Which of the wanted responses a bank has; eight bytes each, whatever their length.

    Attributes
    ----------
    codes : (P, k) uint64
        Hash of the response's tokens, 0 where it is missing.
    flagged : int
        Responses with any flag.
    flags : Counter
        Responses by flag.
    """

    codes: NDArray[np.uint64]
    flagged: int = 0
    flags: Counter[str] = field(default_factory=Counter)

    def note(self, flags: str) -> None:
        """Count the flags of one response."""
        if flags:
            self.flagged += 1
            self.flags.update(flags.split(","))

    @property
    def missing(self) -> NDArray[np.int64]:
        """(M, 2) prompt and response index of what is missing, prompt by prompt."""
        return np.argwhere(self.codes == 0)


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

    def units(self) -> Iterator[tuple[dict[str, Any], Any]]:
        """The parameters of each unit and its verified Arrow table, one in memory at a time.

        A corrupt unit is moved to quarantine; its responses count as missing.

        Raises
        ------
        ProvenanceError
            Units of different teachers, sampling parameters or seed keys.
        """
        names = [name for twins in self.store.committed(STUDY).values() for name in twins]
        first: dict[str, Any] | None = None
        for _, unit in Shelf(self.store.folder, STUDY).verified(names):
            params = dict(unit.inputs.params)
            first = first or params["bank"]
            refuse_other(self.root, first, params["bank"])
            yield params, unit.table

    @property
    def identity(self) -> dict[str, Any] | None:
        """Teacher, sampling parameters and seed key; None while the bank is empty."""
        return next((dict(params["bank"]) for params, _ in self.units()), None)

    @property
    def rows(self) -> int:
        """Count of responses."""
        return sum(table.num_rows for _, table in self.units())

    def prompts(self) -> tuple[Prompts, int]:
        """The prompts of this bank, in the order of their ids, and how many responses there are to every one of them.

        Raises
        ------
        DataError
            The bank is empty.
        """
        texts: dict[str, str] = {}
        counts: dict[str, set[int]] = {}
        for _, table in self.units():
            for row in table.select(["prompt_id", "prompt", "response_index"]).to_pylist():
                texts[row["prompt_id"]] = row["prompt"]
                counts.setdefault(row["prompt_id"], set()).add(row["response_index"])
        if not texts:
            raise DataError(f"the bank {self.root!r} is empty; draw responses first (uqkd sample).")
        ids = tuple(sorted(texts))
        # Responses are used from the first one on: what stands behind a gap does not count.
        whole = min(next(n for n in range(len(own) + 1) if n not in own) for own in counts.values())
        return Prompts(ids, tuple(texts[name] for name in ids)), whole

    def held(self, prompts: Prompts, k: int) -> Held:
        """Which responses 0 ... k-1 to these prompts are there.

        Raises
        ------
        ProvenanceError
            A prompt id that stands for another text here, or one response with two different contents.
        """
        held = Held(np.zeros((len(prompts), k), dtype=np.uint64))
        for place, row in self.rows_of(prompts, ("token_ids", "flags"), k):
            code = token_code(row["token_ids"])
            before = held.codes[place, row["response_index"]]
            if before and before != code:
                raise ProvenanceError(
                    f"the bank {self.root!r} holds two different responses {row['response_index']} to prompt "
                    f"{prompts.ids[place]!r}. Both are kept; find the unit that is wrong and delete it."
                )
            if not before:
                held.note(row["flags"])
            held.codes[place, row["response_index"]] = code
        return held

    def rows_of(self, prompts: Prompts, columns: tuple[str, ...], k: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Place of the prompt and some columns of each row that is asked for, in the order of the files."""
        places = {key: place for place, key in enumerate(prompts.ids)}
        for _, table in self.units():
            wanted = table.select(["prompt_id", "prompt", "response_index", *columns])
            for batch in wanted.to_batches():
                for row in batch.to_pylist():
                    place = places.get(row["prompt_id"])
                    if place is None:
                        continue
                    if row["prompt"] != prompts.texts[place]:
                        raise ProvenanceError(
                            f"prompt id {row['prompt_id']!r} stands for {row['prompt'][:60]!r} in the bank {self.root!r}, but "
                            f"for {prompts.texts[place][:60]!r} now; give the changed prompt another id."
                        )
                    if row["response_index"] < k:
                        yield place, row

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

        tables = [table for _, table in self.units()]
        if not tables:
            raise DataError(f"the bank {self.root!r} is empty; draw responses first (uqkd sample).")
        whole = pa.concat_tables(tables)
        if prompts is not None:
            whole = whole.filter(pc.is_in(whole["prompt_id"], pa.array(prompts.ids)))
        if k is not None:
            whole = whole.filter(pc.less(whole["response_index"], k))
        frame = whole.to_pandas()
        order = {key: place for place, key in enumerate(prompts.ids if prompts else sorted(set(frame["prompt_id"])))}
        frame = frame.assign(_place=frame["prompt_id"].map(order)).sort_values(
            ["_place", "response_index"], kind="stable"
        )
        return frame.drop(columns="_place").drop_duplicates(["prompt_id", "response_index"]).reset_index(drop=True)

    def responses(self, prompts: Prompts, *, students: int, k: int, per_student: int) -> Responses:
        """The teacher's responses for each student: disjoint between students, nested in k.

        Student s gets the responses s·per_student ... s·per_student+k-1 of every prompt.

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
        distinct: dict[Response, int] = {}
        index = np.full((students, len(prompts), k), -1, dtype=np.int64)
        columns = ("token_ids", "text", "finish_reason")
        for place, row in self.rows_of(prompts, columns, students * per_student):
            student, turn = divmod(row["response_index"], per_student)
            if turn < k:
                index[student, place, turn] = distinct.setdefault(_response(row), len(distinct))
        if missing := int((index < 0).sum()):
            raise DataError(
                f"the bank {self.root!r} lacks {missing} of {index.size} responses for {students} students with k={k} each, "
                f"{per_student} apart; draw {students * per_student} responses to each of the {len(prompts)} prompts."
            )
        return _in_order(prompts, distinct, index)

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits of identity, prompts, seeds and responses, whatever the order and the cut into units.

        Logarithms of probabilities are left out: they differ by rounding with what a request was batched with.
        """
        keys, identity = [np.zeros((0, 2), dtype=np.uint64)], ""
        for params, table in self.units():
            identity = repr(sorted(params["bank"].items()))
            columns = table.select(
                ["prompt_id", "response_index", "prompt", "seed", "token_ids", "text", "finish_reason"]
            )
            digests = b"".join(_digest(list(row.values())) for row in columns.to_pylist())
            keys.append(np.frombuffer(digests, dtype=np.uint64).reshape(-1, 2))
        unique = np.unique(np.concatenate(keys), axis=0)
        return hashlib.blake2b(identity.encode() + unique.tobytes(), digest_size=16).hexdigest()

    def verify(self) -> Report:
        """Check every unit against its hash; nothing is moved. See `Store.verify`."""
        return self.store.verify()


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(repr(value).encode("utf-8"), digest_size=16).digest()


def token_code(token_ids: list[int]) -> int:
    """63 bits and a one that stand for a response's tokens.

    Examples
    --------
    >>> token_code([5, 7]) == token_code([5, 7]), token_code([5, 7]) == token_code([57])
    (True, False)
    """
    return int.from_bytes(_digest(token_ids)[:8], "big") | 1  # never 0, which means missing


def _response(row: dict[str, Any]) -> Response:
    finished = row["finish_reason"] == "stop"
    ids = tuple(row["token_ids"])
    return Response(ids[:-1] if finished else ids, row["text"], finished)


def _in_order(prompts: Prompts, distinct: dict[Response, int], index: NDArray[np.int64]) -> Responses:
    """Distinct responses numbered as they first appear by (student, prompt, response), whatever the order of the files."""
    _, first = np.unique(index, return_index=True)
    order = np.argsort(first)
    number = np.empty(len(distinct), dtype=np.int64)
    number[order] = np.arange(len(distinct))
    listed = list(distinct)
    return Responses(prompts, tuple(listed[place] for place in order), number[index])


def refuse_other(root: str, held: dict[str, Any], asked: dict[str, Any]) -> None:
    """Raise `ProvenanceError` naming what differs, if these are not the same teacher, sampling and key."""
    differing = [name for name in sorted({*held, *asked}) if held.get(name) != asked.get(name)]
    if differing:
        what = "; ".join(f"{name}: {held.get(name)!r} there, {asked.get(name)!r} now" for name in differing)
        raise ProvenanceError(
            f"the bank {root!r} holds draws of one teacher, sampling and key, and these are others ({what}). They must not be "
            "mixed; use another folder."
        )
