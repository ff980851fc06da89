"""What a study will take: some of its missing cells measured in a folder that is thrown away."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from uqkd import seeds
from uqkd.errors import WorkerError
from uqkd.run import predictions
from uqkd.run.cluster import usable_cores
from uqkd.run.predictions import Prediction, spread_of
from uqkd.run.runner import Cell, Measure, Run, Workers
from uqkd.run.study import Options, Study
from uqkd.run.workers import Inline
from uqkd.store import Store
from uqkd.store.units import canonical_json

if TYPE_CHECKING:
    import pandas as pd

PILOT_SECONDS = 30.0  # of measuring, at most, once two cells are measured
_FEWEST, _MOST, _SHARE = 5, 40, 8  # cells of a pilot, where there are so many: an eighth of them, within these limits


class _Predicted(BaseException):
    """Ends a study's `main` where its cells would be measured."""

    def __init__(self, prediction: Prediction) -> None:
        self.prediction = prediction


class _DryRun(Run):
    """A run whose cells are not measured but for a few; `store` is one that is thrown away, `there` the real one."""

    def __init__(self, study: Study, store: Store, there: Store, workers: Workers) -> None:
        super().__init__(study, store, workers=workers)
        self._there, self._began = there, predictions.clock()

    def cells(self, cells: Sequence[Cell], measure: Measure) -> pd.DataFrame:
        """See `Run.cells`; ends with the prediction."""
        tasks = self._tasks(cells, measure)
        prepared = predictions.clock() - self._began
        committed = self._there.committed(self.study)
        missing = [task for task in tasks if task.inputs.key not in committed]
        raise _Predicted(self._predicted(missing, prepared))

    def _predicted(self, missing: list[Any], prepared: float) -> Prediction:
        if not missing:
            return Prediction("cells", 0, 0, 0.0, 0.0, 1, 0.0)
        count = min(max(_FEWEST, len(missing) // _SHARE), _MOST, len(missing))
        places = spread_out([dict(task.inputs.params) for task in missing], count)
        order = (
            seeds.generator("run", "pilot", self.study).permutation(count).tolist()
        )  # the budget may end it anywhere
        first = self._seconds(missing[places[order[0]]])
        took = dict[int, float]()
        for turn in order:
            if len(took) < 2 or sum(took.values()) < PILOT_SECONDS:
                took[turn] = self._seconds(missing[places[turn]])
        seconds = [took[turn] for turn in sorted(took)]
        at_once = min(self.workers.count, len(missing), usable_cores())
        return Prediction(
            "cells",
            len(missing),
            len(took),
            before_s=prepared + max(first - took[order[0]], 0.0) + (self._start_s() if at_once > 1 else 0.0),
            each_s=float(np.mean(seconds)),
            workers=at_once,
            bytes=self.store.stock(self.study).bytes / len(took) * len(missing),
            error=spread_of(seconds, len(missing)),
        )

    def _seconds(self, task: Any) -> float:
        began = predictions.clock()
        [outcome] = Inline().outcomes([task])
        if outcome.error:
            raise WorkerError(f"study {self.study!r}: cell {self._cells[outcome.key]} failed with {outcome.error}")
        return predictions.clock() - began

    def _start_s(self) -> float:
        """Until a worker process has read the study."""
        code = f"from uqkd.run.workers import load_study; load_study({str(self.file)!r})"
        began = predictions.clock()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        return predictions.clock() - began


def spread_out(cells: Sequence[Mapping[str, Any]], count: int) -> list[int]:
    """Places of some cells that stand for all: evenly spaced where all are sorted by what varies least, so by their kinds.

    Examples
    --------
    >>> cells = [{"size": size, "replicate": r} for r in range(4) for size in (10, 1000)]
    >>> sorted(cells[place]["size"] for place in spread_out(cells, 4))
    [10, 10, 1000, 1000]
    """
    columns = {name: [canonical_json({"": cell.get(name)}, name=name) for cell in cells] for name in cells[0]}
    distinct = {name: sorted(set(values), key=lambda text: (len(text), text)) for name, values in columns.items()}
    kinds = sorted((name for name in columns if len(distinct[name]) > 1), key=lambda name: len(distinct[name]))
    ranks = [{value: rank for rank, value in enumerate(distinct[name])} for name in kinds]
    keys = [tuple(rank[columns[name][n]] for name, rank in zip(kinds, ranks, strict=True)) for n in range(len(cells))]
    order = sorted(range(len(cells)), key=lambda n: keys[n])
    return [order[int((turn + 0.5) * len(cells) / count)] for turn in range(count)]


def predict(study: Study, options: Options, store: Store, workers: Workers) -> Prediction:
    """What the cells of a study that a store lacks will take.

    What `main` does before its cells, and the cells of the pilot, are done in a temporary folder; nothing goes to `store`. Figures
    and tables made after the cells are not counted, nor is the start of a Ray cluster.

    Parameters
    ----------
    study : Study
    options : Options
    store : Store
        Of the run that is predicted.
    workers : Workers
        That it will have.

    Raises
    ------
    WorkerError
        A cell of the pilot failed.
    """
    with tempfile.TemporaryDirectory(prefix="uqkd-dry-run-") as place:
        run = _DryRun(study, Store(place), store, workers)
        try:
            study.main(options, run)
        except _Predicted as ended:
            return ended.prediction
    return Prediction("cells", 0, 0, 0.0, 0.0, 1, 0.0)  # a study without cells


def study_key(study: Study, options: Options, workers: Workers) -> str:
    """Of the predictions of a study with these options, by these workers."""
    how = {"executor": workers.executor, "workers": workers.count}
    return predictions.key_of(study=study.name, options=options.model_dump(mode="json"), **how)
