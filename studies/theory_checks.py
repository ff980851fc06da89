"""Does every statement hold in simulation, and would the check notice a wrong one?

Each check compares a prediction with a simulation sized to see the stated bias with power .99, at a family-wise error of
one in a thousand for the whole page. Beside it stand named wrong versions of the statement, which must be rejected.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from uqkd.estimators import comparison
from uqkd.report import figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import Options as Base
from uqkd.run import Run
from uqkd.theory import checks


class Options(Base):
    salt: str = ""  # another salt repeats the whole suite with fresh seeds


PRESETS = {"quick": Options(), "paper": Options(), "full": Options(salt="full")}


def cells(options: Options) -> list[dict]:
    return [{"check": name, "salt": options.salt} for name in checks.register()]


def measure(cell: dict) -> pd.DataFrame:
    check = checks.register()[cell["check"]]
    rows = []
    for outcome in checks.evaluate(check, salt=cell["salt"]):
        numbers = (outcome.predicted, outcome.simulated, outcome.standard_error)
        true = outcome.version == "theory"
        # wrong versions keep an empty statement, so that the gallery's table of checks holds the true ones only
        row = comparison(check.statement if true else "", check.quantity, *numbers)
        version = {"check": check.name, "version": outcome.version, "rejected": outcome.rejected, "bias": check.bias}
        rows.append({**version, "replicates": outcome.replicates, **row, "z": outcome.z})
    return pd.DataFrame(rows)


def plot(table: pd.DataFrame) -> Figure:
    names = sorted(table["check"].unique(), key=lambda name: int(name.split()[0][1:]))  # T1, T2, ..., T11
    figure, ((axis,),) = figures.panels(1, 1, height=0.19 * len(names) + 1.1)
    place = table["check"].map({name: i for i, name in enumerate(names)})
    size = table["z"].abs().clip(upper=1000)  # a wrong version without any spread has an infinite z
    true = table["version"] == "theory"
    blue, orange = figures.colours(2)
    axis.axvspan(0, checks.THRESHOLD, color="0.93", zorder=0)
    axis.axvline(checks.THRESHOLD, color="0.4", linestyle="--", linewidth=1)
    axis.plot(size[~true], place[~true], "x", color=orange, label="wrong version", zorder=3, alpha=0.8)
    axis.plot(size[true], place[true], "o", color=blue, label="theory", zorder=3)
    axis.set_xscale("symlog", linthresh=checks.THRESHOLD, linscale=1.2)
    axis.set_xlim(-0.1, 1300)
    axis.set_xticks([0, 1, 2, 3, 4, 10, 100, 1000], labels=["0", "1", "2", "3", "4", "10", "100", "≥ 1000"])
    axis.set_xlabel("|z|, linear in the grey band, logarithmic beyond")
    figures.named_rows(axis, names, fontsize=7)
    axis.set_title(f"accepted below {checks.THRESHOLD:.2f} (dashed), rejected above")
    figures.legend_below(figure, axis, "")
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    true = table["version"] == "theory"
    wrong = table[~true]
    caption = (
        f"{true.sum()} checks of the {table.loc[true, 'statement'].nunique()} statements (docs/theory.md; T8 for "
        "networks without a hidden layer, where it is exact); "
        f"largest |z| of the true versions {table.loc[true, 'z'].abs().max():.2f}, threshold {checks.THRESHOLD:.2f}: with fresh "
        f"seeds at most one run of this page in a thousand has a false alarm. {wrong['rejected'].sum()} of {len(wrong)} wrong "
        f"versions are rejected, the closest at |z| = {wrong['z'].abs().min():.1f}."
    )
    said: Any = {"caption": caption, "answer": answer(table)}
    figures.publish(run, plot(table), table=table, **said, group="across", place=70)


def answer(table: pd.DataFrame) -> Answer | None:
    """How many statements and wrong versions are as they should be."""
    true, wrong = table[table["version"] == "theory"], table[table["version"] != "theory"]
    numbers = {
        "checks": Number.exact(len(true), "d"), "wrong": Number.exact(len(wrong), "d"),
        "failed": Number.exact(int(true["rejected"].sum()), "d"), "kept": Number.exact(int((~wrong["rejected"]).sum()), "d"),
        "statements": Number.exact(int(true["statement"].nunique()), "d"),
        "closest": measured.mean(wrong["z"].abs().min(), 1.0, ".1f"),
        "z": measured.largest_z(true["z"]), "allowed": Number.exact(checks.THRESHOLD, ".1f"),
    }  # fmt: skip
    hold = "hold (largest |z| {z} of {allowed} allowed)" if not true["rejected"].any() else "but for {failed} hold"
    noticed = "all rejected" if wrong["rejected"].all() else "rejected but for {kept}"
    return measured.stated(
        f"{{checks}} checks, {{wrong}} wrong versions: the statements {hold}, the wrong versions are {noticed}", numbers
    )
