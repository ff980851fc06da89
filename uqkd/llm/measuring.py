"""What is measured of distilled students: how unsure each is, how they differ, how far and how wrong they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import DataError, ShapeError
from uqkd.estimators.agreement import decompose_agreement, from_spreads, gini_from_draws
from uqkd.estimators.distance import conservation_from_draws, squared_distance
from uqkd.estimators.semantic import decompose_entropy
from uqkd.estimators.two_way import two_way_standard_error
from uqkd.estimators.variance import VarianceDecomposition
from uqkd.llm.alikeness import alikenesses
from uqkd.llm.clusters import Clusters, cluster
from uqkd.llm.mistakes import answered, error_correlation, mark, references, shared_mistakes, true_distributions
from uqkd.llm.responses import Responses

Array = NDArray[np.float64]
Index = NDArray[np.int64]

COLUMNS = ("quantity", "estimate", "standard_error", "n_students", "n_prompts", "note")
PROMPT_RULE = "miller-madow"  # prompts with many answers would come first by the plug-in's bias alone


@dataclass(frozen=True)
class Measured:
    """Tidy columns of what was measured; made by `measure`.

    Attributes
    ----------
    quantities : dict of str to tuple
        Columns quantity, estimate, standard_error (students × prompts), n_students, n_prompts, note.
    prompts : dict of str to tuple
        One row for each prompt, those first on which the students differ most: where more responses would help.
    """

    quantities: dict[str, tuple[object, ...]]
    prompts: dict[str, tuple[object, ...]]

    def of(self, quantity: str) -> tuple[float, float]:
        """Estimate and standard error of one quantity."""
        names = self.quantities["quantity"]
        if quantity not in names:
            raise DataError(f"{quantity!r} was not measured; there is {', '.join(map(str, names))}.")
        row = names.index(quantity)
        return self.quantities["estimate"][row], self.quantities["standard_error"][row]  # type: ignore[return-value]


@dataclass
class _Rows:
    students: int
    prompts: int
    rows: list[tuple[object, ...]] = field(default_factory=list)

    def add(self, quantity: str, found: tuple[float, float], note: str, *, prompts: int | None = None) -> None:
        self.rows.append((quantity, *found, self.students, self.prompts if prompts is None else prompts, note))


def measure(
    students: Responses,
    teacher: Responses | None = None,
    *,
    embedding: str = "builtin",
    clusters: str = "normalised",
    model: str | None = None,
    probabilities: Sequence[Sequence[float]] | None = None,
) -> Measured:
    """Measure what S students say, beside their teacher and reference answers where there are any.

    Parameters
    ----------
    students : Responses
        (S, P, R), S >= 2, R >= 2. Reference answers are those of its prompts.
    teacher : Responses
        (1 or S, P, k), k >= 2 together: draws of the teacher that no student was trained on; otherwise distances from it
        come out too small.
    embedding : str
        Of `embed`, for the variance of meanings as vectors.
    clusters, model : str
        `how` and `model` of `cluster`, for meanings as classes.
    probabilities : sequence of P sequences of float
        True probabilities of the reference answers, empty where there are none.

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
    T4, T10. Variances and distances are unbiased and may be negative; entropies are not (`entropy_from_counts`).

    Examples
    --------
    >>> from uqkd.llm.responses import Prompts, Response
    >>> prompts = Prompts(("a",), ("capital of Italy ?",), (("Rome",),))
    >>> words = (Response((1,), "Rome"), Response((2,), "Milan"))
    >>> found = measure(Responses(prompts, words, [[[0, 0]], [[1, 1]]]))
    >>> found.of("inter_gini")[0], found.of("unsupported")[0], found.prompts["answer"]
    (1.0, 0.5, ('Milan',))
    """
    if teacher is not None and teacher.prompts.ids != students.prompts.ids:
        raise ShapeError("the teacher must have answered the students' prompts in the same order.")
    grouped = cluster(students, clusters, beside=[teacher] if teacher else [], model=model)
    rows = _Rows(*students.shape[:2])
    _add_components(rows, embedding_components(students, embedding), f"embedding {embedding}", "variance")
    _add_components(rows, decompose_agreement(grouped.ids), f"clusters {clusters}", "gini")
    _add_entropies(rows, grouped.ids)
    if teacher is not None:
        _add_teacher(rows, grouped.ids, _pooled(grouped.beside[0]))
    places = answered(students.prompts)
    if probabilities is not None:
        _add_truth(rows, students, probabilities, how=clusters, model=model)
    wrong = _add_mistakes(rows, students, teacher, places) if places else None
    cut = np.array([not r.finished for r in students.distinct])[students.index].mean(axis=2)
    rows.add("length_cut", _mean(cut), "share of responses cut at the greatest length")
    columns = {name: tuple(row[i] for row in rows.rows) for i, name in enumerate(COLUMNS)}
    return Measured(columns, _by_prompt(students, grouped, places, wrong))


def embedding_components(responses: Responses, embedding: str = "builtin") -> VarianceDecomposition:
    """Inter- and intra-student variance of the embeddings, as `decompose_variance` of the (S, P, R, D) array never built.

    Parameters
    ----------
    responses : Responses
        (S, P, R), S >= 2, R >= 2.
    embedding : str

    Returns
    -------
    VarianceDecomposition
        Units: squared norm; total at most 1 in expectation, 1 − ‖mean embedding‖².

    Notes
    -----
    T4, T10. Norms are one, so all follows from inner products of the texts of each prompt.

    Examples
    --------
    >>> from uqkd.llm.responses import Prompts, Response
    >>> words = (Response((1,), "Rome"), Response((2,), "Milan"))
    >>> embedding_components(Responses(Prompts(("a",), ("?",)), words, [[[0, 0]], [[1, 1]]]), "exact").inter
    array([1.])
    """
    students, _, draws = responses.shape
    if students < 2 or draws < 2:
        raise ShapeError(
            f"variance within and between students needs S >= 2 and R >= 2; got (S={students}, R={draws}). Draw more."
        )
    within, about = [], []
    for block in alikenesses([responses], embedding):
        shares = block.shares(0)
        norm = ((shares @ block.closeness) * shares).sum(axis=-1)
        within.append(((1.0 - norm) * draws / (draws - 1)).T)
        apart = shares - shares.mean(axis=1, keepdims=True)
        about.append(((apart @ block.closeness) * apart).sum(axis=-1).T)
    return from_spreads(np.concatenate(within, axis=1), np.concatenate(about, axis=1), draws)


def _mean(table: Array) -> tuple[float, float]:
    return float(table.mean()), two_way_standard_error(table)


def _pooled(ids: Index) -> Index:
    """(P, S·k) draws of the teacher to all students together."""
    return ids.transpose(1, 0, 2).reshape(ids.shape[1], -1)


def _add_components(rows: _Rows, parts: VarianceDecomposition, note: str, unit: str) -> None:
    mean = parts.mean
    for name in ("intra", "inter", "total"):
        rows.add(f"{name}_{unit}", (getattr(mean, name), getattr(mean, f"{name}_se")), note)


def _add_entropies(rows: _Rows, ids: Index) -> None:
    for rule in ("plug-in", "chao-shen"):
        parts, short = decompose_entropy(ids, rule), rule.replace("-", "_")
        of_total = parts.per_student + parts.per_student_information
        for name, values, table in (
            ("total_entropy", parts.total, of_total),
            ("intra_entropy", parts.per_student, parts.per_student),
            ("inter_entropy", parts.mutual_information, parts.per_student_information),
        ):
            rows.add(f"{name}_{short}", (float(values.mean()), two_way_standard_error(table)), f"nats, {rule}")


def _add_teacher(rows: _Rows, ids: Index, drawn: Index) -> None:
    spread = gini_from_draws(drawn)
    k = drawn.shape[1]
    rows.add("teacher_gini", _mean(spread[None]), f"G_p from {k} draws")
    kappa = conservation_from_draws(ids, teacher=drawn) if spread.mean() > 0 else (math.nan, math.nan)
    rows.add("kappa", kappa, "(intra + inter)/G_p; 1 if the students are right on average")
    mean, error, bias, bias_error = squared_distance(ids, teacher=drawn).mean()
    rows.add("distance_from_teacher", (mean, error), f"mean ‖q − p‖², p from {k} draws")
    rows.add("bias_from_teacher", (bias, bias_error), "‖E q − p‖², common to all students")


def _add_truth(
    rows: _Rows, students: Responses, probabilities: Sequence[Sequence[float]], *, how: str, model: str | None
) -> None:
    if len(probabilities) != len(students.prompts):
        raise DataError(f"probabilities needs one row for each of P={len(students.prompts)}; got {len(probabilities)}.")
    places = [p for p in answered(students.prompts) if len(probabilities[p])]
    if not places:
        raise DataError("probabilities were given for no prompt that has reference answers.")
    some = students.of_prompts(places)
    grouped = cluster(some, how, beside=[references(some.prompts)], model=model)
    known = true_distributions(some.prompts, grouped.beside[0][0], [probabilities[p] for p in places])
    mean, error, bias, bias_error = squared_distance(grouped.ids, probs=known).mean()
    rows.add("distance_from_truth", (mean, error), "mean ‖q − p‖², p known", prompts=len(places))
    rows.add("bias_from_truth", (bias, bias_error), "‖E q − p‖², common to all students", prompts=len(places))


def _add_mistakes(rows: _Rows, students: Responses, teacher: Responses | None, places: list[int]) -> Array:
    sources = [students.of_prompts(places), *([teacher.of_prompts(places)] if teacher else [])]
    ours, *theirs = mark(*sources)
    n = len(places)
    rows.add("unsupported", _mean(ours.wrong), "share of responses that no reference answer supports", prompts=n)
    rows.add("accuracy", _mean(ours.accuracy()), "most frequent answer of a student is supported", prompts=n)
    for marked in theirs:
        rate = marked.wrong.mean(axis=0, keepdims=True)
        rows.add("teacher_unsupported", _mean(rate), "share of the teacher's responses", prompts=n)
        note = f"unsupported answers that the teacher gave too in {_pooled(marked.form).shape[1]} draws"
        rows.add("shared_mistakes", shared_mistakes(ours, marked), note, prompts=n)
        note = "of unsupported rates over prompts, cleared of sampling noise"
        rows.add("error_correlation", error_correlation(ours, marked), note, prompts=n)
    return ours.wrong.mean(axis=0)


def _by_prompt(
    students: Responses, grouped: Clusters, places: list[int], wrong: Array | None
) -> dict[str, tuple[object, ...]]:
    parts, spread = decompose_entropy(grouped.ids, PROMPT_RULE), decompose_agreement(grouped.ids)
    unsupported = np.full(len(students.prompts), np.nan)
    if wrong is not None:
        unsupported[places] = wrong
    order = np.lexsort((-spread.inter, -parts.mutual_information))
    texts = [
        names[int(np.bincount(grouped.ids[:, p].ravel()).argmax())] for p, names in enumerate(grouped.representatives)
    ]
    columns: dict[str, Sequence[object]] = {
        "prompt_id": students.prompts.ids,
        "prompt": students.prompts.texts,
        "answer": texts,
        "inter_entropy": parts.mutual_information.tolist(),
        "intra_entropy": parts.expected.tolist(),
        "inter_gini": spread.inter.tolist(),
        "intra_gini": spread.intra.tolist(),
        "unsupported": unsupported.tolist(),
    }
    return {name: tuple(column[p] for p in order) for name, column in columns.items()}
