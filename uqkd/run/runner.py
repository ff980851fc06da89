"""Run a study's cells: those committed are read, those missing are measured and committed, then all are one table.

`Run.cells` may be stopped at any instant and called again; it only ever computes what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any, Self

import pandas as pd

from uqkd.errors import OptionError, SeedReuseError, StoreError, WorkerError, one_of
from uqkd.run import predictions
from uqkd.run.progress import Progress
from uqkd.run.provenance.fingerprint import method_fingerprint
from uqkd.run.study import Study
from uqkd.run.workers import EXECUTORS, Executor, Inline, Outcome, Task, make_executor
from uqkd.store import Inputs, Store, Unit
from uqkd.store.units import canonical_json, concatenate

Cell = Mapping[str, Any]
Measure = Callable[[dict[str, Any]], pd.DataFrame]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM during a run; the message says what is committed and how to continue."""


class Workers:
    """How many workers, of which kind; shared by all runs of a command and started only when work is missing.

    Parameters
    ----------
    count : int
        Workers at a time. One means in this process. The results do not depend on it.
    executor : str
        "local" (processes of this machine) or "ray".
    address : str, optional
        Of a Ray cluster; see `uqkd.run.cluster.connect`.

    Examples
    --------
    >>> with Workers(1) as workers:
    ...     workers.count
    1
    """

    def __init__(self, count: int = 1, *, executor: str = "local", address: str | None = None) -> None:
        if count < 1:
            raise OptionError(f"workers must be at least 1; got {count}.")
        self.count = count
        self.executor = one_of("executor", executor, EXECUTORS)
        self.address = address
        self._started: Executor | None = None

    def get(self, tasks: int, *, root: str = "") -> Executor:
        """The executor for that many tasks; one task is not worth a process, and memory:// lives in this one."""
        if (
            self.executor == "local"
            and self.address is None
            and (min(self.count, tasks) == 1 or root.startswith("memory://"))
        ):
            return Inline()
        if self._started is None:
            self._started = make_executor(self.executor, self.count, address=self.address)
        return self._started

    def close(self, *, now: bool = False) -> None:
        """Let the workers go."""
        started, self._started = self._started, None
        if started is not None:
            started.close(now=now)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(now=kind is not None)


class Run:
    """One run of one study: what `main(options, run)` gets.

    Parameters
    ----------
    study : Study
        From `load_study`.
    store : Store
        Where units and figures go.
    workers : Workers, optional
        One worker, in this process, if not given.
    settings : mapping of str, optional
        What the page says of the run: preset, options, version.

    Attributes
    ----------
    study : str
        Name of the study.
    file : Path
        Its file.
    question : str
        What it asks.
    reused, computed : int
        Units read from the store, and units measured, by the calls of `cells` so far.
    seconds : float
        From the beginning of the run to the end of its last call of `cells`.
    """

    def __init__(
        self,
        study: Study,
        store: Store,
        *,
        workers: Workers | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.study = study.name
        self.file = study.file
        self.question = study.question
        self.store = store
        self.workers = workers or Workers(1)
        self.settings = dict(settings or {})
        self.reused = 0
        self.computed = 0
        self.seconds = 0.0
        self._began = predictions.clock()
        self._module = study.module
        self._users: dict[bytes, str] = {}  # digest of a seed key -> unit that used it
        self._cells: dict[str, str] = {}  # unit -> its cell, for messages

    def cells(self, cells: Sequence[Cell], measure: Measure) -> pd.DataFrame:
        """Tables of all cells below one another, in the order of the cells.

        Parameters
        ----------
        cells : sequence of mappings
            What varies: JSON types. `data_fingerprint`, if present, is the fingerprint of the cell's input data.
        measure : callable
            A function of the study file: takes a cell, returns a DataFrame, draws only from `uqkd.seeds`.

        Raises
        ------
        OptionError
            No cells, two equal cells, or a measure that is not a function of the study file.
        WorkerError
            A cell failed or a worker was killed. The other units are committed.
        SeedReuseError
            Two units drew from the same seed key.
        Interrupted
            Ctrl-C or SIGTERM; finished units are committed.
        """
        tasks = self._tasks(cells, measure)
        self.store.sweep()
        units = self.store.read_units([task.inputs for task in tasks])
        for unit in units:
            if unit is not None:
                self._note_seeds(unit.inputs.key, dict.fromkeys(unit.seeds, (None, "")))
        missing = [place for place, unit in enumerate(units) if unit is None]
        self.reused += len(tasks) - len(missing)
        if missing:
            self._measure([tasks[place] for place in missing], total=len(tasks))
            self.store.sweep()
            fresh = self.store.read_units([tasks[place].inputs for place in missing])
            for place, unit in zip(missing, fresh, strict=True):
                units[place] = unit
        self.seconds = predictions.clock() - self._began
        return concatenate(self._complete(units))

    def _tasks(self, cells: Sequence[Cell], measure: Measure) -> list[Task]:
        name = getattr(measure, "__name__", repr(measure))
        if not callable(getattr(self._module, name, None)):
            raise OptionError(f"{name} is not a function of {self.file.name}; workers load it from there by its name.")
        if not cells:
            raise OptionError(f"study {self.study!r} got no cells to run. Check the options that make them.")
        method = method_fingerprint(self.file, name)
        tasks: list[Task] = []
        places: dict[str, int] = {}
        for place, cell in enumerate(cells):
            text = canonical_json(cell, name=f"cell {place}")
            inputs = _inputs(self.study, json.loads(text), method)
            if (first := places.setdefault(inputs.key, place)) != place:
                raise OptionError(f"study {self.study!r}: cells {first} and {place} are equal, {text}; drop one.")
            self._cells[inputs.key] = json.dumps(dict(inputs.params), ensure_ascii=False)
            # The cell as its JSON says it: equal keys are equal inputs, whatever types the study used.
            tasks.append(Task(self.file, name, self.store.root, inputs, json.loads(text)))
        return tasks

    def _measure(self, tasks: list[Task], *, total: int) -> None:
        failed: dict[str, Outcome] = {}
        try:
            with Progress(self.study, total=total, done=total - len(tasks)) as progress:
                for outcome in self.workers.get(len(tasks), root=self.store.root).outcomes(tasks):
                    if outcome.error:
                        failed[outcome.key] = outcome
                        continue
                    self._note_seeds(outcome.key, outcome.uses)
                    self.computed += 1
                    progress.advance()
        except KeyboardInterrupt:
            self.workers.close(now=True)
            standing = self._standing(tasks, total)
            raise Interrupted(f"interrupted: {standing}; run the same command again to continue.") from None
        except WorkerError as problem:
            raise WorkerError(
                f"study {self.study!r}: {problem}; {self._standing(tasks, total)}. Run the same command again to "
                "continue, with fewer workers if memory ran out."
            ) from None
        except BaseException:
            self.workers.close(now=True)
            raise
        self._report_failures(tasks, failed, total)

    def _report_failures(self, tasks: list[Task], failed: Mapping[str, Outcome], total: int) -> None:
        if not failed:
            return
        first = next(task.inputs.key for task in tasks if task.inputs.key in failed)
        kind = SeedReuseError if failed[first].seed_reuse else WorkerError
        raise kind(
            f"study {self.study!r}: cell {self._cells[first]} failed with {failed[first].error.rstrip('.')}; "
            f"{len(failed)} of {len(tasks)} cells failed; {self._standing(tasks, total)}. Mend it and run again: only "
            "what is missing is computed."
        )

    def _standing(self, tasks: list[Task], total: int) -> str:
        """How far the run has come, from the store itself."""
        committed = self.store.committed(self.study)
        left = sum(task.inputs.key not in committed for task in tasks)
        return f"{total - left} of {total} units are committed, {left} remain"

    def _note_seeds(self, unit: str, uses: Mapping[bytes, tuple[Any, str]]) -> None:
        for digest, (key, site) in uses.items():
            other = self._users.setdefault(digest, unit)
            if other != unit:
                what = f"seed key {key!r} ({site})" if site else f"the seed key of digest {digest.hex()}"
                raise SeedReuseError(
                    f"study {self.study!r}: {what} was used by two units of one run, {self._cells[other]} and "
                    f"{self._cells[unit]}; their draws are identical. Put what tells them apart into the key, "
                    "or say shared=True where that is meant."
                )

    def _complete(self, units: Sequence[Unit | None]) -> list[Unit]:
        found = [unit for unit in units if unit is not None]
        if len(found) < len(units):
            raise StoreError(
                f"study {self.study!r}: {len(units) - len(found)} of {len(units)} units vanished or were damaged while "
                "it ran; run the same command again to compute them."
            )
        return found


def _inputs(study: str, cell: dict[str, Any], method: str) -> Inputs:
    """A data file counts by its contents and its name, not by the folder it lies in."""
    data = str(cell.pop("data_fingerprint", ""))
    if isinstance(cell.get("data"), str):
        cell["data"] = PurePosixPath(cell["data"]).name
    return Inputs(study, cell, method, data)
