"""The report of a folder of students: the card's numbers, prompts with what everybody answered, and what was not measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uqkd.report.card import Facts, read_facts
from uqkd.report.card.card import METHODS, base_of, commands, sampling_of, teacher_of, training_of
from uqkd.report.card.quantities import asked, lines, not_measured, number
from uqkd.report.standalone.charts import IntervalChart, intervals
from uqkd.report.standalone.frame import page

_COLUMNS = 8  # students that have a column of their own in the examples
_EACH = 64  # students that have a row of their own
_CHART = {
    "intra_gini": "within a student",
    "inter_gini": "between students",
    "total_gini": "both together",
    "teacher_gini": "the teacher",
}


def students_report(root: str | Path) -> bytes:
    """A folder of students as one HTML file.

    Parameters
    ----------
    root : path
        Of `uqkd distill`.

    Raises
    ------
    DataError
        No students, or a file that cannot be read.
    """
    facts = read_facts(root)
    return page(
        "students", title=_title(facts), facts=facts, about=_about(facts),
        sets=[_set(one, facts) for one in facts.measured], missing=not_measured(facts), commands=commands(facts),
    )  # fmt: skip


def _title(facts: Facts) -> str:
    count = len(facts.folders)
    return (
        f"{count} student{'s' if count > 1 else ''} of {facts.bank.get('teacher') or 'a teacher that is not recorded'}"
    )


def _about(facts: Facts) -> list[tuple[str, str]]:
    trained, bank = facts.trained, facts.bank
    begun = f" of {trained['students']} that were begun" if facts.lost else ""
    size = f", {bank['prompts']:,} prompts, {bank['responses']} responses to each" if bank.get("prompts") else ""
    weights = str(trained.get("weights"))
    losses = ", ".join(f"{name} {loss:.3f}" for name, loss in list(facts.losses.items())[:_EACH])
    return [
        ("teacher", teacher_of(bank).replace("`", "")),
        ("how it was asked", sampling_of(bank.get("identity") or trained.get("sampling") or {})),
        ("bank", f"fingerprint {bank.get('fingerprint') or 'not recorded'}{size}"),
        ("base model", base_of(trained) or ("new parameters" if trained.get("fresh") else "not recorded")),
        ("students", f"{len(facts.folders)}{begun}, each with responses of its own"),
        ("weights", f"{weights} of k = {trained.get('k')} responses: {METHODS.get(weights, '')}"),
        ("training", training_of(trained)),
        ("loss at the last step, nats a token", losses or "not recorded"),
    ]  # fmt: skip


def _set(measured: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """One set of prompts."""
    found = lines(measured)
    teacher = measured.get("teacher")
    return {
        "asked": asked(measured),
        "draws": measured["draws"],
        "sampled": measured["sampled"],
        "clusters": measured["clusters"],
        "table": measured["table"],
        "teacher": teacher,
        "lines": found,
        "beside": any(line.beside for line in found),
        "why": list(dict.fromkeys(line.why for line in found if line.why)),
        "chart": _chart(measured),
        "each": _each(measured),
        "examples": [_example(one) for one in measured["examples"]],
    }


def _chart(measured: Mapping[str, Any]) -> IntervalChart | None:
    rows = {row["quantity"]: row for row in measured["quantities"]}
    shown = [(label, rows[name]) for name, label in _CHART.items() if name in rows]
    return intervals(
        [(label, row["estimate"], row["low"], row["high"]) for label, row in shown if row["estimate"] is not None],
        of="Chance that two answers differ",
    )


def _each(measured: Mapping[str, Any]) -> dict[str, Any]:
    """One row a student: estimates with intervals over prompts."""
    names = list(dict.fromkeys(row["quantity"] for row in measured["students"]))
    chosen = [
        name for name in ("intra_gini", "held_out_loss", "accuracy", "unsupported", "perplexity") if name in names
    ]
    found: dict[str, dict[str, str]] = {}
    for row in measured["students"]:
        found.setdefault(row["student"], {})[row["quantity"]] = number(row, "estimate", "low", "high")
    rows = [(student, [own.get(name) or "–" for name in chosen]) for student, own in list(found.items())[:_EACH]]
    return {"names": [name.replace("_", " ") for name in chosen], "rows": rows, "more": len(found) - len(rows)}


def _example(one: Mapping[str, Any]) -> dict[str, Any]:
    """A prompt, and a column for everybody who answered it; the students together where there are several."""
    counts, others = one["counts"], one["others"]
    students = [name for name in counts if name not in ("teacher", "undistilled")]
    columns = {name: [*counts[name], others[name]] for name in counts if name not in students}
    if len(students) > 1:
        columns["all students"] = [sum(own) for own in zip(*([*counts[s], others[s]] for s in students), strict=True)]
    columns |= {name: [*counts[name], others[name]] for name in students[:_COLUMNS]}
    totals = {name: sum(own) for name, own in columns.items()}
    texts = [*one["answers"], *(["further answers"] if any(own[-1] for own in columns.values()) else [])]
    rows = [(text, [(own[n], totals[name]) for name, own in columns.items()]) for n, text in enumerate(texts)]
    return {
        "prompt": one["prompt"],
        "turns": one["turns"],
        "references": one["references"],
        "columns": list(columns),
        "rows": [(text, text in one["answers"], cells) for text, cells in rows],
    }
