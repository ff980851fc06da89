"""How much of a teacher's uncertainty about the class survives in one student, and how much moves between students?

Students are networks trained on labels that a classifier drew from its own distribution over classes: one label per prompt,
k of them with weight 1/k, or the distribution itself ("soft"). Of the teacher's Gini variance G_p a student that memorises
k labels keeps 1 − 1/k, and 1/k moves between students (T4); the two add up to G_p wherever students are unbiased. That is
exact for the labels themselves, and these are judged. Networks need not memorise, and off their training prompts they
cannot: they are drawn beside T4 without being judged by it.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pandas as pd
import pydantic
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from uqkd import data
from uqkd.estimators import LEVEL
from uqkd.mlp import ClassTargets, Recipe, SeedDesign, Teacher, distill, weigh
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.report.shares import SHARES, answers_axis, memorised_lines, places_of, share_points, shares_text
from uqkd.run import Fraction, PositiveFloat, PositiveInt, Run
from uqkd.run import Options as Base
from uqkd.testbeds.cells import classes_cell, classes_of, data_label
from uqkd.testbeds.uncertainty import by_answer, of_teacher
from uqkd.theory.statements.memorising import compare_memorised_parts

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

TEACHER, STUDENT = (128,), (64,)  # hidden layers of the published study
TEACHER_EPOCHS, BATCH = 20, 64
STEPS_PER_EPOCH = 20  # at least: students of small data sets are trained to the end too
ROWS = 2_000  # of more prompts an even sample is measured


class Options(Base):
    data: tuple[str, ...] = ("digits", "wine", "breast_cancer")
    target: str | None = None
    temperatures: tuple[PositiveFloat, ...] = (1.0, 4.0)  # of the teacher: as trained, and as is usual in distillation
    ks: tuple[PositiveInt, ...] = (1, 2, 4, 8, 16, 32)
    students: Annotated[int, pydantic.Field(ge=3)] = 20  # the standard error of a variance needs three
    epochs: PositiveInt = 150
    lengths: tuple[Fraction, ...] = (0.01, 0.03, 0.1, 0.3)  # of that training, for students of the fewest labels


PRESETS = {
    "quick": Options(),
    "paper": Options(students=200, epochs=500),
    "full": Options(students=500, epochs=500, temperatures=(1.0, 2.0, 4.0, 8.0), ks=(1, 2, 3, 4, 5, 8, 16, 32, 64)),
}


def cells(options: Options) -> list[dict]:
    trained = [(k, 1.0) for k in (*options.ks, None)] + [(min(options.ks), length) for length in options.lengths]
    shared = options.only("students", "epochs")
    return [
        {**classes_cell(name, options.target), **shared, "temperature": temperature, "k": k, "length": length}
        for name in options.data
        for temperature in options.temperatures
        for k, length in dict.fromkeys(trained)
    ]


def measure(cell: dict) -> pd.DataFrame:
    part, k = data.split_classes(classes_of(cell)), cell["k"]
    name = ("student output", cell["data_fingerprint"])
    teacher = Teacher.fit(
        part.X, part.labels, classes=len(part.classes), hidden=TEACHER, recipe=recipe(len(part.X), TEACHER_EPOCHS),
        temperature=cell["temperature"], key=(*name, "teacher"),
    )  # fmt: skip
    training = recipe(len(part.X), cell["epochs"] * cell["length"])
    key = (*name, cell["temperature"], k, cell["length"])
    some, some_test = (slice(None, None, 1 + (len(X) - 1) // ROWS) for X in (part.X, part.X_test))
    test = part.X_test[some_test], part.labels_test[some_test]
    prompts = {"training": (part.X[some], part.labels[some]), "test": test}
    found: dict[str, list[Array]] = {"labels": [], **{where: [] for where in prompts}}
    values = max(len(part.X) * max(k or 1, len(part.classes)), training.steps * BATCH)
    for seed_design in SeedDesign.in_chunks(cell["students"], values=values):
        targets = drawn(teacher, part.X, k, seed_design, key)
        students = distill(part.X, targets, hidden=STUDENT, recipe=training, seed_design=seed_design, key=key)
        found["labels"].append(targets.probabilities[:, some])
        for where, (X, _) in prompts.items():
            found[where].append(students.predict_proba(X))

    rows, finished = [], cell["length"] == 1.0
    for where, (X, labels) in prompts.items():
        q, p = np.concatenate(found[where]), teacher.predict_proba(X)
        rows += [{"prompts": where, **row} for row in by_answer(q, p, labels, k, finished=finished)]
    if k is not None and finished:
        p = teacher.predict_proba(prompts["training"][0])
        rows += [{"prompts": "training", **row} for row in of_labels(np.concatenate(found["labels"]), p, k)]
    about = {column: cell[column] for column in ("temperature", "students", "length")}
    about |= {"k": float(k or np.inf), "steps": training.steps}
    return pd.DataFrame([{"data": data_label(cell), **about, **row} for row in rows])


def drawn(teacher: Teacher, X: Array, k: int | None, seed_design: SeedDesign, key: tuple) -> ClassTargets:
    """k labels per prompt and student, or the teacher's distribution for all students alike."""
    p = teacher.predict_proba(X)
    if k is None:
        return weigh(p, "soft", students=seed_design.students)
    return weigh(teacher.respond(X, k, students=seed_design, key=key), classes=p.shape[1])


def recipe(rows: int, epochs: float) -> Recipe:
    batch = min(BATCH, rows)
    steps = round(epochs * max(STEPS_PER_EPOCH, -(-rows // batch)))
    return Recipe(steps=max(1, steps), batch=batch, schedule="cosine")


def of_labels(labels: Array, p: Array, k: int) -> list[dict]:
    """The labels themselves (S, P, C), which are what a student that memorises answers: T4 is exact for them."""
    about = {"student": "the labels", "answered": "all", **of_teacher(p)}
    return [{**about, **row} for row in compare_memorised_parts(labels, p, k)]


def plot(table: pd.DataFrame) -> Figure:
    """Shares over k on training and on test prompts, and over training; other temperatures and entropies are in the table."""
    rows = table[
        (table["data"] == table["data"].iloc[0]) & (table["student"] == "network") & (table["answered"] == "all")
    ]
    rows = rows[rows["temperature"] == rows["temperature"].max()]
    figure, axes = figures.panels(1, 3, height=3.3, sharey=True)
    finished = rows["length"] == 1.0
    for axis, where in zip(axes[0], ("training", "test"), strict=False):
        here = rows[(rows["prompts"] == where) & finished]
        memorised_lines(axis, *answers_axis(axis, here["k"], "labels per prompt, k"))
        share_points(axis, here, lambda part: places_of(part["k"]))
        axis.set_title(f"{where} prompts\n($G_p$ = {here['teacher_gini'].iloc[0]:.2g})")
    axes[0, 0].set_ylabel("share of the teacher's $G_p$")
    _lengths(axes[0, 2], rows[(rows["prompts"] == "training") & (rows["k"] == rows["k"].min())])
    note = f"{rows['data'].iloc[0]}, temperature {rows['temperature'].iloc[0]:g}; points: networks {captions.BARS}\n"
    note += "lines: T4 of students that memorise; soft: trained on the teacher's distribution itself"
    figures.legend_below(figure, axes[0, 0], note)
    return figure


def _lengths(axis: Axes, rows: pd.DataFrame) -> None:
    rows = rows.sort_values("steps")
    share_points(axis, rows, "steps", label=None)
    for quantity, style in zip(SHARES, figures.series_styles(3), strict=True):
        own = rows[rows["quantity"] == quantity]
        axis.plot(own["steps"], own["simulated"], ":", color=style["color"], linewidth=0.8)  # a guide to the eye
    steps = sorted(rows["steps"].unique())
    axis.set(
        xscale="log",
        xlabel="training steps",
        title=f"training prompts, k = {rows['k'].iloc[0]:g}:\nwhile training goes on",
    )
    figures.ticks(axis, "x", steps, [f"{one:,}" for one in steps])
    axis.tick_params(axis="x", labelsize=7)


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    said: Any = {"caption": caption(table), "answer": answer(table)}
    figures.publish(run, plot(table), table=table, **said, group="mlp", place=160)


def caption(table: pd.DataFrame) -> str:
    name, hot, few = table["data"].iloc[0], table["temperature"].max(), table["k"].min()
    many = table.loc[np.isfinite(table["k"]), "k"].max()
    rows = table[(table["student"] == "network") & (table["answered"] == "all") & (table["temperature"] == hot)]
    by = rows[rows["length"] == 1.0].set_index(["data", "k", "prompts", "quantity"]).sort_index()
    tested = by.loc[name].xs("test", level="prompts")
    accuracy = ", ".join(f"{tested['simulated'][k, 'accuracy']:.1%}" for k in (few, many, np.inf))
    longer = rows[(rows["data"] == name) & (rows["prompts"] == "training") & (rows["quantity"] == "intra")]
    longer = longer[longer["k"] == few].sort_values("steps").set_index("steps")["simulated"]
    judged = table.loc[(table["statement"] == "T4") & table["z"].notna(), "z"].abs()
    sentences = [
        f"{name}, {table['students'].iloc[0]} students per point, temperature {hot:g} (G_p = {tested['teacher_gini'].iloc[0]:.2f} "
        f"at test prompts). Shares of G_p within one student / between students / together (κ {captions.BARS}): "
        f"k = {few:g}, {shares_text(by.loc[name, few])}; k = {many:g}, {shares_text(by.loc[name, many])}; soft, "
        f"{shares_text(by.loc[name, np.inf])}.",
        f"Accuracy of these students at test prompts {accuracy}, of the teacher {tested['teacher_accuracy'].iloc[0]:.1%}.",
        f"At training prompts and k = {few:g} one student keeps {longer.iloc[0]:.2f} after {longer.index[0]:,} steps of training, "
        f"{longer.iloc[-1]:.2f} after {longer.index[-1]:,}.",
        *(f"{other}, k = {few:g}: {shares_text(by.loc[other, few])}." for other in table["data"].unique()[1:]),
        f"{len(judged)} comparisons of the labels themselves with T4, largest |z| {judged.max() if len(judged) else 0.0:.2f}.",
    ]
    return " ".join(sentences)


def answer(table: pd.DataFrame) -> Answer | None:
    """Shares of G_p that one student keeps, on the first data set at the highest temperature."""
    here = (table["data"] == table["data"].iloc[0]) & (table["temperature"] == table["temperature"].max())
    rows = table[here & (table["student"] == "network") & (table["answered"] == "all") & (table["length"] == 1.0)]
    by = rows.set_index(["prompts", "quantity", "k"])[["simulated", "standard_error", "students"]].sort_index()
    few, many = int(rows["k"].min()), int(rows.loc[np.isfinite(rows["k"]), "k"].max())
    numbers: dict[str, Number | None] = {"few": Number.exact(few, "d"), "many": Number.exact(many, "d")}
    for end, k in (("few", few), ("many", many), ("soft", np.inf)):
        for where, part in ((where, part) for where in ("training", "test") for part in ("intra", "inter")):
            numbers[f"{part}_{where}_{end}"] = measured.simulated(by.loc[(where, part, k)], ".0%")
    numbers["kappa"] = measured.simulated(by.loc[("training", "total", few)], shows="reach")
    tested = [row for _, row in by.loc[("test", "total")].iterrows()]
    texts, named = measured.spans({"kappa_test": map(measured.simulated, tested)})
    sides = {measured.side(measured.simulated(row, level=1 - (1 - LEVEL) / len(tested)), 1.0) for row in tested}
    biased = "are not shown to be biased" if sides == {"open"} else "are biased"
    rest = "not all of the rest moves" if measured.side(numbers["kappa"], 1.0) == "below" else "the rest moves"
    sentence = (
        f"{{intra_training_few}} when it memorises k = {{few}} sampled labels per prompt, {rest} between students (κ = {{kappa}}); "
        "{intra_training_many} from {many} labels, {intra_training_soft} from soft ones; off the training prompts students "
        f"{biased} (κ {texts['kappa_test']})"
    )
    return measured.stated(sentence, numbers | named)
