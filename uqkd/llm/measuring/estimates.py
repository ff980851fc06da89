"""`estimate`: every quantity of the students, beside their teacher, reference answers and the undistilled student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import ShapeError
from uqkd.estimators.answers.agreement import cross_agreement, decompose_agreement, gini_from_draws
from uqkd.estimators.answers.counting import counted
from uqkd.estimators.answers.distance import squared_distance
from uqkd.estimators.answers.semantic import decompose_entropy, entropy_from_counts
from uqkd.estimators.intervals.mean_squares import Interval
from uqkd.estimators.variance.moments import VarianceDecomposition
from uqkd.estimators.variance.prompt_mean import PromptMean
from uqkd.estimators.variance.two_way import ratio_values
from uqkd.llm.measuring.answers.kept import incomplete_shares
from uqkd.llm.measuring.answers.likelihoods import BankLikelihoods
from uqkd.llm.measuring.errors import answered
from uqkd.llm.measuring.likelihoods import add_likelihoods
from uqkd.llm.measuring.losses import HeldOut
from uqkd.llm.measuring.referenced import add_errors, add_truth
from uqkd.llm.measuring.spreads import components_beside
from uqkd.llm.measuring.tables.by_cell import by_cell
from uqkd.llm.measuring.tables.by_prompt import by_prompt
from uqkd.llm.measuring.tables.sheet import Measured, Sheet, Values
from uqkd.llm.responses import Responses
from uqkd.llm.similarity.clusters import Clusters, cluster

Array = NDArray[np.float64]
Index = NDArray[np.int64]

ENTROPIES = ("plug-in", "chao-shen")
_CAPPED = 0.5  # share of sets of answers without a repetition from which entropies are remarked on
KAPPA = "(intra + inter)/G_p; 1 if the students are right on average"
NOTHING_TO_KEEP = "the teacher gave one answer alone to every prompt: nothing to keep"


@dataclass(frozen=True)
class _Sources:
    """The students, and what stands beside them."""

    students: Responses
    teacher: Responses | None
    undistilled: Responses | None

    @property
    def beside(self) -> list[Responses]:
        return [one for one in (self.teacher, self.undistilled) if one is not None]

    def check(self) -> None:
        for name, other, least in (("teacher", self.teacher, 1), ("undistilled student", self.undistilled, 2)):
            if other is not None and other.prompts.ids != self.students.prompts.ids:
                raise ShapeError(f"the {name} must have answered the students' prompts in the same order.")
            if other is not None and other.shape[2] < least:
                raise ShapeError(f"the {name} needs R >= {least} responses to each prompt; got {other.shape[2]}.")
        if self.undistilled is not None and self.undistilled.shape[0] != 1:
            raise ShapeError(f"there is one undistilled student; got responses of {self.undistilled.shape[0]}.")


def estimate(
    draws: Responses,
    teacher: Responses | None = None,
    *,
    undistilled: Responses | None = None,
    held_out: HeldOut | None = None,
    likelihoods: BankLikelihoods | None = None,
    embedding: str = "builtin",
    clusters: str = "normalised",
    model: str | None = None,
    probabilities: Sequence[Sequence[float]] | None = None,
    names: Sequence[str] | None = None,
) -> Measured:
    """Estimate from what S students say, beside their teacher, the undistilled student and reference answers where there are any.

    Parameters
    ----------
    draws : Responses
        (S, P, R), S >= 2, R >= 2. Reference answers are those of its prompts.
    teacher : Responses
        (1 or S, P, k), k >= 2 together: draws of the teacher that no student was trained on; otherwise distances from it
        come out too small.
    undistilled : Responses
        (1, P, R), R >= 2: of the model that the students were before they were distilled.
    held_out : HeldOut
        Losses on responses that no student was trained on, see `held_out_loss`.
    likelihoods : BankLikelihoods
        Of the students' answers and, as the last, of the undistilled student's, see `likelihoods_of`.
    embedding : str
        Of `embed`, for the variance of meanings as vectors.
    clusters, model : str
        `how` and `model` of `cluster`, for meanings as classes.
    probabilities : sequence of P sequences of float
        True probabilities of the reference answers, empty where there are none.
    names : sequence of S str
        Of the students; their numbers if not given.

    Returns
    -------
    Measured

    Raises
    ------
    ShapeError
        Too few students or responses, or a teacher of other prompts.
    DataError
        Probabilities that do not fit the answers.

    Notes
    -----
    T4, T10. Variances and distances are unbiased and may be negative; entropies are not (`entropy_from_counts`). Intervals of Gini
    variances and κ are those of their `.mean.interval`, of other variances and entropies `table_interval`, of the rest
    `two_way_interval`; the undistilled student is one given model, over prompts, with which each student is compared (`compare`).

    Examples
    --------
    >>> from uqkd.llm.responses import Prompts, Response
    >>> prompts = Prompts(("a",), ("capital of Italy ?",), (("Rome",),))
    >>> words = (Response((1,), "Rome"), Response((2,), "Milan"))
    >>> found = estimate(Responses(prompts, words, [[[0, 0]], [[1, 1]]]))
    >>> found.of("inter_gini")[0], found.of("unsupported")[0], found.prompts["answer"]
    (1.0, 0.5, ('Milan',))
    """
    students, sources = draws, _Sources(draws, teacher, undistilled)
    sources.check()
    sheet = Sheet(names or [str(s) for s in range(students.shape[0])], students.shape[1])
    parts, rest = components_beside(students, [undistilled] if undistilled else [], embedding)
    _add_components(sheet, parts, rest[0] if rest else None, f"embedding {embedding}", ("variance", "squared norm"))
    grouped = cluster(students, clusters, beside=sources.beside, model=model)
    base = grouped.beside[-1] if undistilled is not None else None
    agreement, own = decompose_agreement(grouped.ids), None if base is None else gini_from_draws(base)
    _add_components(sheet, agreement, own, f"clusters {clusters}", ("gini", "probability"))
    _add_entropies(sheet, grouped.ids, base)
    _add_incomplete(sheet, students, undistilled)
    if likelihoods is not None:
        add_likelihoods(sheet, likelihoods, undistilled=undistilled is not None)
    if teacher is not None:
        _add_teacher(sheet, grouped, agreement, base)
    places = answered(students.prompts)
    if probabilities is not None:
        add_truth(sheet, students, undistilled, probabilities, how=clusters, model=model)
    wrong = add_errors(sheet, students, teacher, undistilled, places, likelihoods=likelihoods) if places else None
    if held_out is not None:
        _add_held_out(sheet, held_out)
    cells = by_cell(sheet.tables, sheet.names, students.prompts.ids, places)
    return sheet.done(by_prompt(students, grouped, places, wrong), cells)


def _add_components(
    sheet: Sheet, parts: VarianceDecomposition, base: Array | None, note: str, names: tuple[str, str]
) -> None:
    """Intra, inter and total; the undistilled student is one model, so that all its variance is its own."""
    name, unit = names
    own, between = parts.per_student_intra, parts.per_student_inter
    chance = unit == "probability"  # that two responses differ
    one = None if base is None else Values.of(base, chance=chance, positive=True)
    known = {part: _interval(parts.mean, part, own) for part in ("intra", "inter", "total")}

    def values(part: str, table: Array, **more: Any) -> Values:
        return Values.of(table, positive=True, interval=known[part], **more)

    sheet.add(f"intra_{name}", values("intra", own, chance=chance), unit=unit, note=note, base=one)
    sheet.add(f"inter_{name}", values("inter", between, pair=parts.inter), unit=unit, note=note)
    total = values("total", own + between, pair=parts.total, chance=chance)
    sheet.add(f"total_{name}", total, unit=unit, note=note, base=one)
    each = [Values.of(row[None], chance=chance, positive=True) for row in own]
    sheet.add_each(f"intra_{name}", each, unit=unit, base=one)


def _interval(mean: PromptMean, component: str, table: Array, *, whole: Array | None = None) -> Interval | None:
    """Of new students and prompts, where the draws' spread was kept and there is more than one prompt."""
    if mean.spread is None or table.shape[1] < 2:
        return None
    return mean.interval(component, whole=whole)


def _add_entropies(sheet: Sheet, ids: Index, base: Index | None) -> None:
    remark = _capped(ids)
    for rule in ENTROPIES:
        parts, short = decompose_entropy(ids, rule), rule.replace("-", "_")
        of_total = parts.per_student + parts.per_student_information
        one = None
        if base is not None:
            own = np.concatenate([entropy_from_counts(counts, rule) for counts in counted(base)], axis=-1)
            one = Values.of(own, positive=True)
        for name, table, pair, theirs in (
            ("total", of_total, parts.total, one),
            ("intra", parts.per_student, None, one),
            ("inter", parts.per_student_information, parts.mutual_information, None),
        ):
            found = _centred(Values.of(table, pair=pair, positive=True), pair)
            sheet.add(f"{name}_entropy_{short}", found, unit="nats", note=rule, base=theirs, remark=remark)


def _capped(ids: Index) -> str:
    """A remark where most entropies are as large as so few draws let them be."""
    draws = ids.shape[2]
    own = np.sort(ids, axis=2)
    share = float((np.diff(own, axis=2) != 0).all(axis=2).mean())
    if share <= _CAPPED:
        return ""
    return (
        f"{share:.0%} of the students' {draws} answers to a prompt have no two alike: these entropies tell how many were drawn; "
        "draw more, or compare meanings (--clusters nli)"
    )


def _centred(values: Values, exact: Array | None) -> Values:
    """The estimate itself where the mean of pseudo-values is not quite it: entropies have a bias that a jackknife changes."""
    if exact is None:
        return values
    shifted = values.table + (float(exact.mean()) - values.estimate)
    return Values(shifted, float(exact.mean()), values.why, values.positive)


def _add_teacher(sheet: Sheet, grouped: Clusters, parts: VarianceDecomposition, base: Index | None) -> None:
    drawn = pooled(grouped.beside[0])
    spread, k = gini_from_draws(drawn), drawn.shape[1]
    sheet.add(
        "teacher_gini",
        Values.of(spread[None], chance=True, positive=True),
        unit="probability",
        note=f"G_p from {k} draws",
    )
    _add_shares(sheet, parts, spread, None if base is None else gini_from_draws(base))
    apart = squared_distance(grouped.ids, teacher=drawn)
    one = (
        None
        if base is None
        else Values.of(1.0 - gini_from_draws(base) - 2.0 * cross_agreement(base, drawn) + 1.0 - spread)
    )
    note, unit = f"mean ‖q − p‖², p from {k} draws", "probability²"
    sheet.add("distance_from_teacher", Values.of(apart.per_student), unit=unit, note=note, base=one)
    sheet.add_each("distance_from_teacher", [Values.of(row[None]) for row in apart.per_student], unit=unit, base=one)
    bias = Values.of(apart.per_student_bias, pair=apart.bias_square)
    sheet.add("bias_from_teacher", bias, unit=unit, note="‖E q − p‖², common to all students")


def _add_shares(sheet: Sheet, parts: VarianceDecomposition, spread: Array, base: Array | None) -> None:
    """What one student keeps of the teacher's uncertainty, and what all of them together do."""
    unknown = None if base is None else Values.missing(NOTHING_TO_KEEP)
    own = parts.per_student_intra
    for name, part, table, pair, note in (
        ("share_kept", "intra", own, None, "intra/G_p; what one student alone keeps of the teacher's uncertainty"),
        ("kappa", "total", own + parts.per_student_inter, parts.total, KAPPA),
    ):
        found, one = Values.missing(NOTHING_TO_KEEP), unknown
        if spread.mean() > 0:
            known = _interval(parts.mean, part, table, whole=spread)
            both = None if pair is None else ratio_values(pair[None], spread)[0]
            found = Values.of(ratio_values(table, spread), pair=both, positive=True, interval=known)
            one = None if base is None else Values.of(ratio_values(base, spread), positive=True)
        sheet.add(name, found, unit="ratio", note=note, base=one)


def _add_held_out(sheet: Sheet, found: HeldOut) -> None:
    ours = Values.of(ratio_values(found.students, found.tokens))
    base = None if found.undistilled is None else Values.of(ratio_values(found.undistilled[None], found.tokens[:1]))
    unit = "nats a token"
    sheet.add("held_out_loss", ours, unit=unit, note=found.note, base=base)
    each = [
        Values.of(ratio_values(nats[None], tokens[None]))
        for nats, tokens in zip(found.students, found.tokens, strict=True)
    ]
    sheet.add_each("held_out_loss", each, unit=unit, base=base)


def _add_incomplete(sheet: Sheet, students: Responses, undistilled: Responses | None) -> None:
    """Shares of empty and of cut answers, beside the entropies."""
    notes = {"empty": "responses without text", "length_cut": "responses cut at max_tokens"}
    base = None if undistilled is None else incomplete_shares(undistilled)
    for name, share in incomplete_shares(students).items():
        one = None if base is None else Values.of(base[name], chance=True)
        sheet.add(name, Values.of(share, chance=True), unit="share", note=notes[name], base=one)
        sheet.add_each(name, [Values.of(row[None], chance=True) for row in share], unit="share", base=one)


def pooled(ids: Index) -> Index:
    """(P, S·k) draws of the teacher to all students together."""
    return ids.transpose(1, 0, 2).reshape(ids.shape[1], -1)
