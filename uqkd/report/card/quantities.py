"""The quantities of a card in words, in their order, and what was not measured, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from uqkd.report.card.facts import Facts

_BETWEEN = " | "  # of several reasons in the column `why`


@dataclass(frozen=True)
class Line:
    """A quantity of a table: what it is, and what was found.

    Attributes
    ----------
    quantity, label : str
        Its name in the table of `uqkd measure`, and in words.
    found, beside : str
        Estimate and interval of the students and of the undistilled one; empty where there is none.
    unit : str
    why : str
        What cannot be estimated, and why.
    """

    quantity: str
    label: str
    found: str
    beside: str
    unit: str
    why: str


LABELS = {
    "intra_gini": "within a student (intra): chance that two of its answers differ",
    "inter_gini": "between students (inter): what their answers differ by beyond that",
    "total_gini": "total: intra + inter",
    "teacher_gini": "the teacher's: chance that two of its answers differ",
    "share_kept": "share of the teacher's uncertainty that one student keeps: intra / teacher's",
    "kappa": "κ: total / teacher's; 1 if the students are right on average",
    "distance_from_teacher": "squared distance of a student's answers from the teacher's",
    "bias_from_teacher": "the part of it that is common to all students",
    "held_out_loss": "loss on responses of the teacher that no student was trained on",
    "calibration_gap": "calibration: agreement of a student's answers less the share that is right; above 0 surer than right",
    "auroc_length_normalised": "chance that a right answer has the higher likelihood than a wrong one",
    "accuracy": "most frequent answer is a reference answer",
    "unsupported": "unsupported: answers that are not, but for form, a reference answer",
    "teacher_unsupported": "unsupported answers of the teacher",
    "shared_errors": "unsupported answers that the teacher gave too",
    "empty": "answers without text",
    "length_cut": "answers cut at the greatest length",
}
CORE = ("inter_gini", "intra_gini", "total_gini", "share_kept", "kappa", "calibration_gap", "unsupported")
# What a set of prompts lacks, by a quantity that would be there.
_NO_TEACHER = (
    "share of the teacher's uncertainty kept, κ, distance from the teacher, loss on its unseen responses: there were no responses "
    "of the teacher beside the students (--teacher-bank)"
)
_NO_REFERENCE = "accuracy, unsupported answers, calibration: the prompts have no reference answers"
_NO_LIKELIHOOD = "likelihoods of the answers: what drew them does not tell log-probabilities"
_WORDING = (
    "whether answers of different wording mean the same: they were not compared by an entailment model (--clusters nli)"
)
_ALL_DIFFER = 0.9  # chance that two answers of a student differ from which its wording, not its doubt, is what is seen
ALWAYS = (
    "what another teacher, or the same teacher trained anew, would have given: all students learnt from one",
    "other prompts, languages, temperatures and lengths than those named here",
    "safety, bias towards groups of people, and abilities on other tasks",
)


def lines(measured: Mapping[str, Any]) -> list[Line]:
    """The rows of a card's table; quantities that are not there are left out."""
    rows = {row["quantity"]: row for row in measured["quantities"]}
    return [_line(name, rows[name]) for name in LABELS if name in rows]


def _line(name: str, row: Mapping[str, Any]) -> Line:
    found = number(row, "estimate", "low", "high")
    beside = number(row, *(f"undistilled{end}" for end in ("", "_low", "_high")))
    return Line(
        name, LABELS[name], found, beside, str(row["unit"]), str(row["why"] or "").replace(_BETWEEN, "; ").rstrip(".")
    )


def number(row: Mapping[str, Any], estimate: str, low: str, high: str) -> str:
    """An estimate with its interval, or empty.

    Examples
    --------
    >>> number({"x": 0.5, "l": 0.4, "h": 0.625}, "x", "l", "h"), number({"x": 0.5}, "x", "l", "h"), number({}, "x", "l", "h")
    ('0.500 [0.400, 0.625]', '0.500', '')
    """
    if row.get(estimate) is None:
        return ""
    limits = "" if row.get(low) is None or row.get(high) is None else f" [{_digits(row[low])}, {_digits(row[high])}]"
    return f"{_digits(row[estimate])}{limits}"


def _digits(value: float) -> str:
    return f"{round(value, 3) + 0.0:.3f}"  # a rounded zero has no sign


def not_measured(facts: Facts) -> list[str]:
    """What a reader must not take for known, each in a clause."""
    if not facts.measured:
        return ["anything: these students have not been measured (uqkd measure)", *_of_training(facts), *ALWAYS[:1]]
    return [*_of_sets(facts), *_of_training(facts), *ALWAYS]


def _of_sets(facts: Facts) -> Iterator[str]:
    every = facts.measured
    names = [{row["quantity"] for row in one["quantities"] if row["estimate"] is not None} for one in every]
    for name, clause in (("share_kept", _NO_TEACHER), ("unsupported", _NO_REFERENCE), ("perplexity", _NO_LIKELIHOOD)):
        lacking = [one for one, own in zip(every, names, strict=True) if name not in own]
        why = next((str(row["why"]) for one in lacking for row in one["quantities"] if row["quantity"] == name), "")
        if lacking:
            some = "" if len(lacking) == len(every) else f" (on {', '.join(map(asked, lacking))})"
            yield (f"{name.replace('_', ' ')}: {why}" if why else clause) + some
    seen = [(one["prompts"]["learnt"], one["prompts"]["count"]) for one in every]
    if any(learnt is None for learnt, _ in seen):
        yield "which of the prompts the students were trained on: that is not recorded"
    elif all(learnt == count for learnt, count in seen):
        yield "prompts that the students were not trained on: every prompt here is one of those they learnt"
    elif not any(learnt for learnt, _ in seen):
        yield "the prompts that the students were trained on: none of them was asked here"
    if any((one.get("teacher") or {}).get("learnt") for one in every):
        yield "distance from the teacher without the responses learnt: those beside are the students' own: it is too small"
    if any(one["clusters"] != "nli" for one in every):
        unsure = (row["estimate"] for one in every for row in one["quantities"] if row["quantity"] == "intra_gini")
        capped = any(value is not None and value >= _ALL_DIFFER for value in unsure)
        yield _WORDING + (
            "; hardly two answers of a student are alike here, so that intra tells of wording" if capped else ""
        )
    if any("unsupported" in own for own in names):
        yield "whether a longer answer holds a reference answer: it is right only where it is one, but for form"
    if len(facts.folders) == 2:
        yield "what a third student would be: of two there is one difference, and intervals between students are over prompts alone"
    if all(one.get("undistilled") is None for one in every):
        yield "what the model said before it was distilled"


def _of_training(facts: Facts) -> Iterator[str]:
    if facts.lost:
        steps = facts.trained.get("failed") or {}
        named = ", ".join(f"student-{s} at step {step}" for s, step in steps.items())
        gone = f"diverged ({named}) and were left out" if named else "are not there"
        yield (
            f"{facts.lost} of {facts.trained['students']} students, which {gone}: variances are those of the "
            f"{len(facts.folders)} that are left, and students that diverge are not a random part"
        )
    identity = facts.bank.get("identity") or {}
    if identity.get("seeds", "keyed") != "keyed":
        yield "whether the teacher's responses are independent: their seeds are unknown"
    if facts.bank.get("teacher") is None:
        yield "who the teacher was, and how it was asked: these students are older than their card"
    if frozen := facts.trained.get("freeze"):
        yield f"what differing {' and '.join(frozen)} would add between students: it was the same for all"


def asked(measured: Mapping[str, Any]) -> str:
    """The set of prompts in a few words.

    Examples
    --------
    >>> asked({"prompts": {"count": 12, "learnt": 12}}), asked({"prompts": {"count": 9, "learnt": 4}})
    ('12 prompts, all of them learnt', '9 prompts, 4 of them learnt')
    """
    count, learnt = measured["prompts"]["count"], measured["prompts"]["learnt"]
    if learnt is None:
        part = ""
    else:
        part = f", {'none' if not learnt else 'all' if learnt == count else f'{learnt:,}'} of them learnt"
    return f"{count:,} prompt{'s' * (count != 1)}{part}"
