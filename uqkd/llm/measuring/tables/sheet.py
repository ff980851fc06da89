"""What was measured as tidy columns: each quantity of the students, beside it the undistilled student's, and the change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import DataError
from uqkd.estimators.comparing.claims import two_way_interval
from uqkd.estimators.comparing.differences import compare
from uqkd.estimators.intervals.level import LEVEL, percent
from uqkd.estimators.intervals.mean_squares import Interval
from uqkd.estimators.intervals.prompt_means.tables import table_interval
from uqkd.estimators.variance.two_way import two_way_standard_error

Array = NDArray[np.float64]
Columns = dict[str, tuple[object, ...]]

COLUMNS = (
    "quantity", "estimate", "standard_error", "low", "high", "over", "undistilled", "undistilled_standard_error",
    "undistilled_low", "undistilled_high", "change", "change_standard_error", "change_low", "change_high", "unit", "n_students",
    "n_prompts", "note", "why",
)  # fmt: skip
EACH = ("student", "quantity", "estimate", "standard_error", "low", "high", "unit", "n_prompts", "why")
UNDISTILLED = "undistilled"
PAIR = "2 students have one difference: its interval is over prompts, for these two; what another pair would show takes 3 students"
SAME = "no variation: nothing to estimate a standard error from"
BETWEEN = " | "  # several reasons
_ROUNDING = 1e-12  # sums of some thousand float64 terms in another order differ by less
ONE = "one value: nothing to estimate a standard error from"
NEVER = f"never seen: the interval is a one-sided bound of {percent()} from one trial a prompt"
FEWER = f"never seen: the interval is a one-sided bound of {percent()} from as many trials as students or prompts, the fewer"
ALWAYS = f"always seen: the interval is a one-sided bound of {percent()} from one trial a prompt"
UNVARIED = (NEVER, FEWER, ALWAYS, SAME, ONE)  # without a standard error


@dataclass(frozen=True)
class Measured:
    """Tidy columns of what was measured; made by `estimate`.

    Attributes
    ----------
    quantities : dict of str to tuple
        Columns quantity, estimate, standard_error, low and high (an interval at `LEVEL`), over (what is a sample: "students,
        prompts", "prompts" or "students"), the same of the undistilled student (undistilled, ...) and of the students less it
        (change, ...), unit, n_students, n_prompts, note, and why: what is NaN, and why.
    students : dict of str to tuple
        Columns student, quantity, estimate, standard_error, low, high, unit, n_prompts, why: one row for each student and the
        undistilled one, over prompts.
    prompts : dict of str to tuple
        One row for each prompt, those first on which the students differ most: where more responses would help.
    cells : dict of str to tuple
        One row for each student and prompt: columns student, prompt_id and one for each quantity, whose mean is its estimate. By
        them two methods are compared (`uqkd compare`).
    """

    quantities: Columns
    students: Columns
    prompts: Columns
    cells: Columns

    def of(self, quantity: str) -> tuple[float, float]:
        """Estimate and standard error of one quantity."""
        row = self.row(quantity)
        return row["estimate"], row["standard_error"]  # type: ignore[return-value]

    def row(self, quantity: str) -> dict[str, object]:
        """All columns of one quantity.

        Raises
        ------
        DataError
            It was not measured.
        """
        names = self.quantities["quantity"]
        if quantity not in names:
            raise DataError(f"{quantity!r} was not measured; there is {', '.join(map(str, names))}.")
        place = names.index(quantity)
        return {name: column[place] for name, column in self.quantities.items()}


@dataclass(frozen=True)
class Values:
    """A quantity as numbers per student and prompt, whose mean is the estimate and whose spread is that of the estimate.

    Attributes
    ----------
    table : (S, P) float, or (1, P)
        Of one student, or where only prompts are a sample.
    estimate : float
    why : str
        What cannot be estimated, and why.
    positive : bool
        A variance, an entropy, or a ratio of them: estimates of few students are skewed, and so are their intervals.
    interval : Interval, optional
        Of the quantity as a whole, where its spread is known better than from the table.
    error : float, optional
        The standard error that belongs to the interval, where it is not the two-way one of the table.

    Examples
    --------
    >>> Values.of([[1.0, 2.0], [3.0, 4.0]]).columns()["standard_error"].__round__(3)
    1.118
    >>> Values.of([[0.5], [0.5]]).why
    'no variation: nothing to estimate a standard error from'
    """

    table: Array
    estimate: float
    why: str = ""
    positive: bool = False
    interval: Interval | None = None
    error: float | None = None

    @classmethod
    def of(
        cls,
        table: object,
        *,
        pair: object = None,
        chance: bool = False,
        positive: bool = False,
        interval: Interval | None = None,
    ) -> Values:
        """From numbers per student and prompt.

        Parameters
        ----------
        table : (S, P) float
            NaN where S = 2 for what takes three students.
        pair : (P,) float, optional
            What stands for it then: the quantity itself, prompt by prompt.
        chance : bool
            The mean is the chance of an event that one response, or one pair of them, shows: where it was always seen or never,
            there is a one-sided bound, from one independent trial a prompt.
        positive, interval
            As of the class; no interval stands for a pair.
        """
        values = np.asarray(table, dtype=np.float64)
        why = ""
        if pair is not None and np.isnan(values).all():
            values, why, interval = np.asarray(pair, dtype=np.float64)[None], PAIR, None
        first = float(values.flat[0])
        if values.size == 1 or (np.abs(values - first) <= _ROUNDING * max(abs(first), 1.0)).all():
            why = SAME if values.size > 1 else ONE
            if chance and round(first, 12) in (0.0, 1.0):
                never = NEVER if interval is None else FEWER
                why = never if round(first, 12) == 0.0 else ALWAYS
        return cls(values, float(values.mean()), why, positive, interval)

    @classmethod
    def missing(cls, why: str) -> Values:
        """A quantity that cannot be estimated."""
        return cls(np.full((1, 1), math.nan), math.nan, why)

    def less(self, other: Values) -> Values:
        """The difference from one fixed student, each student compared with it prompt by prompt (`compare`).

        Examples
        --------
        >>> change = Values.of([[1.0, 2.5], [3.0, 4.0]]).less(Values.of([[1.0, 1.0]]))
        >>> change.estimate, change.interval.method
        (1.625, 'paired')
        """
        if math.isnan(self.estimate) or math.isnan(other.estimate):
            return Values.missing("")
        found = Values.of(self.table - other.table)
        if found.why in UNVARIED:
            return found
        own = compare(self.table, other.table)
        return replace(
            found,
            interval=Interval(own.difference, own.low, own.high, own.level, "paired", own.note),
            error=own.standard_error,
        )

    def columns(self, prefix: str = "") -> dict[str, float]:
        """Estimate, standard error and interval; NaN for what cannot be estimated."""
        error, low, high = math.nan, math.nan, math.nan
        if self.why not in UNVARIED and not math.isnan(self.estimate):
            error = two_way_standard_error(self.table) if self.error is None else self.error
        found = self._interval()
        if found is not None:
            low, high = float(found.low), float(found.high)
        elif self.why in (NEVER, ALWAYS):
            bound = -math.expm1(math.log1p(-LEVEL) / self.table.shape[1])  # (1 − bound)^P = 1 − level
            low, high = (0.0, bound) if self.why == NEVER else (1.0 - bound, 1.0)
        first = prefix or "estimate"
        names = ("standard_error", "low", "high") if not prefix else [
            f"{prefix}_{name}" for name in ("standard_error", "low", "high")
        ]  # fmt: skip
        return {first: self.estimate, **dict(zip(names, (error, low, high), strict=True))}

    def _interval(self) -> Interval | None:
        """The interval of the quantity, or one from the table; none where nothing varies and nothing bounds what was not seen."""
        if self.interval is not None and math.isfinite(self.interval.high) and self.why != ALWAYS:
            return self.interval
        if math.isnan(self.estimate) or self.why in UNVARIED:
            return None
        if self.positive:
            return table_interval(self.table, prompts="random" if self.table.shape[1] > 1 else "fixed", positive=True)
        return two_way_interval(self.table)

    @property
    def over(self) -> str:
        """What is a sample in the standard error."""
        students, prompts = self.table.shape
        return ", ".join(name for name, count in (("students", students), ("prompts", prompts)) if count > 1)


@dataclass
class Sheet:
    """Collects rows; `names` are the students'."""

    names: Sequence[str]
    prompts: int
    rows: list[dict[str, object]] = field(default_factory=list)
    each: list[dict[str, object]] = field(default_factory=list)
    tables: dict[str, Array] = field(default_factory=dict)

    def add(
        self,
        quantity: str,
        ours: Values,
        *,
        unit: str,
        note: str,
        base: Values | None = None,
        prompts: int | None = None,
        remark: str = "",
    ) -> None:
        """One quantity of the students, and of the undistilled one where that makes sense; a remark goes with the reasons."""
        count = self.prompts if prompts is None else prompts
        theirs = base or Values.missing("")
        change = ours.less(theirs)
        if not math.isnan(ours.estimate):
            self.tables[quantity] = ours.table
        why = [part for part in (ours.why, remark) if part]
        if theirs.why and theirs.why != ours.why:
            why.append(f"undistilled: {theirs.why}")
        if change.why and not ours.why:
            why.append(f"change: {change.why}")
        row = {
            "quantity": quantity, **ours.columns(), "over": ours.over, **theirs.columns(UNDISTILLED), **change.columns("change"),
            "unit": unit, "n_students": len(self.names), "n_prompts": count, "note": note, "why": BETWEEN.join(why),
        }  # fmt: skip
        self.rows.append({name: row[name] for name in COLUMNS})

    def add_each(self, quantity: str, tables: Sequence[Values], *, unit: str, base: Values | None = None) -> None:
        """The same quantity of each student alone."""
        pairs = [*zip(self.names, tables, strict=True), *([(UNDISTILLED, base)] if base else [])]
        for name, own in pairs:
            row = {
                "student": name,
                "quantity": quantity,
                **own.columns(),
                "unit": unit,
                "n_prompts": own.table.shape[1],
            }
            self.each.append({column: {**row, "why": own.why}[column] for column in EACH})

    def done(self, prompts: Columns, cells: Columns) -> Measured:
        """All that was collected."""
        return Measured(_columns(COLUMNS, self.rows), _columns(EACH, self.each), prompts, cells)


def _columns(names: Sequence[str], rows: Sequence[dict[str, object]]) -> Columns:
    return {name: tuple(row[name] for row in rows) for name in names}
