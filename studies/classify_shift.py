"""Do the methods hold up where data are not as in training: shifted, ambiguous, long-tailed, or from elsewhere?

Students of every method are judged on test rows as they are, on shifted ones (noise, blur, rotation and translation of images, lost
words of texts), and on ambiguous ones, each apart; on how well confidence tells rows from elsewhere (shuffled pixels, words
at random); and once more when the classes of the training rows grow rare. Teachers are trained several times; the students of one
begin alike under all methods and are held against its students of plain distillation. Class by class, changes of accuracy are
tested with Holm's correction for their number.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pydantic
from matplotlib.figure import Figure
from numpy.typing import NDArray

from uqkd import data
from uqkd.classify import Classifiers, Distillation, Mixing, distill
from uqkd.estimators import LEVEL, adjusted_p_values, out_of_distribution_auroc
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import AtLeastTwo, PositiveInt, Run
from uqkd.testbeds.cells import data_label, task_of
from uqkd.testbeds.classification import cached_target_factory, cell_recipe, network, performance, task_cells
from uqkd.testbeds.options import TaskOptions
from uqkd.testbeds.shifted import doubts, elsewhere, parts
from uqkd.testbeds.tables import tidy
from uqkd.testbeds.teachers import NARROW, WIDE, alike, by_teacher, counted, less, over_teachers, side_by_side

Array = NDArray[np.float64]

METHODS = ("labels", "label smoothing", "teacher", "DUS + W-Clip", "groups, entropy", "teacher, mixup")
PLAIN, MIXED, CUD, BOUNDED = "teacher", "teacher, mixup", "DUS + W-Clip", "groups, entropy"
SHOWN = {
    "accuracy": "accuracy (right: better)",
    "ece": "ECE (left: better)",
    "kl": "KL on ambiguous rows\n(left: better)",
}


BY = ("data", "ratio", "method", "part")
BY_CLASS = "class by class"


class Options(TaskOptions):
    replicates: AtLeastTwo = 5  # independent teachers
    students: PositiveInt = 2  # of each teacher and method
    # frequency of the most to the least frequent class
    ratios: tuple[Annotated[float, pydantic.Field(ge=1)], ...] = (1.0, 10.0)


PRESETS = {
    "quick": Options(),
    "paper": Options(tasks=("digits", "intents:30", "intents:150"), replicates=10, steps=3_000),
    "full": Options(
        tasks=("digits", "intents:30", "intents:150"), ratios=(1.0, 10.0, 50.0), replicates=20, students=5, steps=3_000
    ),
}


def cells(options: Options) -> list[dict]:
    settings = product(range(options.replicates), task_cells(options), options.ratios)
    return [{**task, **options.training, "ratio": ratio, "replicate": replicate} for replicate, task, ratio in settings]


def measure(cell: dict) -> pd.DataFrame:
    """Of one teacher: students of every method, all but those of mixup in one pass, on all kinds of rows."""
    whole, ratio, each = task_of(cell), cell["ratio"], cell["students"]
    kept = data.long_tailed(whole.labels, ratio, key=("classify shift", whole.fingerprint))
    named = f"{whole.fingerprint}, long-tailed {ratio:g}"
    task = replace(whole, X=whole.X[kept], labels=whole.labels[kept], fingerprint=named)
    (of_teacher, of_students), recipe = cell["networks"], cell_recipe(cell)
    views = cached_target_factory(task, network=of_teacher, recipe=recipe, replicate=cell["replicate"])
    trained: dict[str, Any] = {
        "recipe": recipe, "factory": network(of_students, task), "objective": Distillation(2.0, weight=1.0),
        "key": ("classify shift", task.fingerprint, cell["replicate"]),
    }  # fmt: skip
    methods = [method for method in METHODS if method != MIXED]
    targets = side_by_side([views.targets(method) for method in methods], each)
    groups = [(methods, distill(task.X, targets, seed_design=alike(each, len(methods)), **trained))]
    if cell["kind"] == "images":  # words have no average
        groups.append(([MIXED], distill(task.X, views.teacher, seed_design=alike(each), mixing=Mixing(), **trained)))
    found = []
    for names, students in groups:
        for part, numbers in judged(students, whole).items():
            for m, method in enumerate(names):
                own = {name: values[m * each : (m + 1) * each] for name, values in numbers.items()}
                about = {"data": data_label(cell), "ratio": ratio, "method": method, "part": part}
                found += tidy(own, **about, replicate=cell["replicate"], who="student")
    return pd.DataFrame(found)


def judged(students: Classifiers, whole: data.Task) -> dict[str, dict[str, Array]]:
    """What students are like on each kind of rows, class by class too: numbers (S,)."""
    found = {name: performance(students, rows, truth) for name, (rows, truth) in parts(whole).items()}
    q = students.predict_proba(whole.X_test)
    apart = np.asarray(out_of_distribution_auroc(q, students.predict_proba(elsewhere(whole))))
    right, labels = q.argmax(axis=2) == whole.labels_test, whole.labels_test
    by_class = {f"class {c}": right[:, labels == c].mean(axis=1) for c in np.unique(labels)}
    return {**found, "ambiguous": doubts(students, whole), "elsewhere": {"ood_auroc": apart}, BY_CLASS: by_class}


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Means over teachers, and differences from plain distillation of the same teachers."""
    each = by_teacher(table, BY)
    found = over_teachers(each, BY).rename(columns={"half_width": "value_half_width"}).drop(columns="of_teacher")
    plain = each[each["method"] == PLAIN]
    apart = less(each, plain, by=BY, on=["data", "ratio", "part"]).drop(columns=["standard_error", "teachers"])
    return found.merge(apart, on=[*BY, "measure"])


def classes_changed(found: pd.DataFrame) -> pd.DataFrame:
    """Of each method: classes that it predicts better and worse, after Holm's correction in each setting, at three levels."""
    rows = []
    for (_, _, method), part in found[found["part"] == BY_CLASS].groupby(["data", "ratio", "method"], sort=False):
        p = adjusted_p_values(part["p"].fillna(1.0).to_numpy(), "holm")
        for level in (WIDE, LEVEL, NARROW):
            up = part["difference"].to_numpy()[p <= 1 - level] > 0
            rows.append({"method": method, "level": level, "better": int(up.sum()), "worse": int((~up).sum())})
    return pd.DataFrame(rows).groupby(["method", "level"], sort=False).sum()


def plot(found: pd.DataFrame) -> Figure:
    """Every method less plain distillation: left of the line is lower."""
    apart = found[found["measure"].isin(SHOWN) & (found["method"] != PLAIN)]
    figure, axes = figures.panels(1, len(SHOWN), height=5.0, width_ratios=[1, 1, 1])
    for axis, (measure, label) in zip(axes[0], SHOWN.items(), strict=True):
        rows = apart[apart["measure"] == measure]
        rows = rows[rows["part"] == "ambiguous"] if measure == "kl" else rows[rows["part"] != "ambiguous"]
        places = list(dict.fromkeys(zip(rows["data"], rows["ratio"], rows["part"], strict=True)))
        methods = [method for method in METHODS if method != PLAIN]
        for n, (method, style) in enumerate(zip(methods, figures.series_styles(len(methods)), strict=True)):
            own = rows[rows["method"] == method]
            at = [places.index(one) for one in zip(own["data"], own["ratio"], own["part"], strict=True)]
            aside = np.asarray(at) + 0.15 * (n - (len(methods) - 1) / 2)
            figures.intervals(
                axis, own["difference"], aside, xerr=own["half_width"], label=captions.method_name(method), **style
            )
        axis.axvline(0.0, color="0.25", linewidth=1)
        figures.named_rows(axis, [_place(*one, parts=measure != "kl") for one in places], fontsize=7.5)
        for n in range(1, len(places)):
            new = places[n][:2] != places[n - 1][:2]
            axis.axhline(n - 0.5, color="0.5" if new else "0.9", linewidth=0.9 if new else 0.5)
        axis.grid(axis="y", visible=False)
        axis.set_title(label)
    axes[0, 1].tick_params(labelleft=False)
    figures.legend_below(figure, axes[0, 0], f"less plain distillation; bars: {captions.INTERVALS} over teachers")
    return figure


def _place(name: str, ratio: float, part: str, *, parts: bool) -> str:
    setting = name if ratio == 1 else f"{name}, tail 1/{ratio:g}"
    return f"{setting}: {part}" if parts else setting.replace(", ", "\n")


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    found = means(table)
    said: Any = {"caption": caption(found, options), "answer": answer(found)}
    figures.publish(run, plot(found), table=found, **said, more={"students": table}, group="classify", place=470)


TOLD = {"bounded": BOUNDED, "cud": CUD, "smooth": "label smoothing", "mixup": MIXED}


def answer(found: pd.DataFrame) -> Answer | None:
    """Parts in which the methods do better and worse than plain distillation, and the largest loss of accuracy."""
    numbers: dict[str, Number | None] = {}
    counts: dict[str, Number] = {}
    by_class = classes_changed(found)
    for (short, method), measure in product(TOLD.items(), SHOWN):
        rows = found[(found["method"] == method) & (found["measure"] == measure)]
        numbers[f"{short}_{measure}_of"] = Number.exact(len(rows), "d")
        for sign in ("below", "above"):
            count, low, high = counted(rows, sign)
            counts[f"{short}_{measure}_{sign}"] = Number.measured(count, low, high, ".0f")
        if measure == "accuracy" and len(rows):
            decided = rows[rows["difference"] < -rows["half_width"]]  # if any is told from zero, the worst of these
            worst = (decided if len(decided) else rows).sort_values("difference").iloc[0]
            loss, reach = -100 * worst["difference"], 100 * worst["half_width"]
            numbers[f"{short}_loss"] = measured.within(loss, loss - reach, loss + reach, ".1f", shows="reach")
        for kind in ("better", "worse"):
            if method in by_class.index:
                low, count, high = (int(by_class[kind].to_dict()[method, level]) for level in (WIDE, LEVEL, NARROW))
                numbers[f"{short}_classes_{kind}"] = Number.measured(count, low, high, ".0f")

    def sure(
        short: str,
    ) -> bool:  # better in more parts, also where counts are less favourable, and nowhere less accurate
        fewer, more, lost = (counts[f"{short}_{one}"] for one in ("ece_below", "ece_above", "accuracy_below"))
        return fewer.low > more.high and lost.value == 0

    good = [captions.method_name(method) for short, method in TOLD.items() if sure(short)]
    lead = f"{' and '.join(good)} without a sure price" if good else "none without a price"
    sentence = (
        f"{lead}: against plain distillation ECE falls in {{bounded_ece_below}} of {{bounded_ece_of}} parts (rises in "
        "{bounded_ece_above}) with the projection of bounded entropy and in {cud_ece_below} ({cud_ece_above}) with CUD, KL to the "
        "truth on ambiguous rows in {bounded_kl_below} of {bounded_kl_of} ({bounded_kl_above}) and {cud_kl_below} "
        "({cud_kl_above}), accuracy in {bounded_accuracy_below}, by {bounded_loss} points at most, and "
        "{cud_accuracy_below}, by {cud_loss}"
    )
    return measured.stated(sentence, {**numbers, **counts})


def caption(found: pd.DataFrame, options: Options) -> str:
    def against(method: str, measure: str) -> str:
        kinds = found.loc[(found["method"] == method) & (found["measure"] == measure), "sign"]
        return f"lower in {(kinds == 'below').sum()} and higher in {(kinds == 'above').sum()} of {len(kinds)}"

    told = [
        f"'{m}' ECE {against(m, 'ece')}, accuracy {against(m, 'accuracy')}, KL to the truth {against(m, 'kl')}"
        for m in METHODS
        if m != PLAIN
    ]
    counts = classes_changed(found).xs(LEVEL, level="level").drop(index=PLAIN, errors="ignore")
    classes = ", ".join(f"'{m}' {row['better']} better and {row['worse']} worse" for m, row in counts.iterrows())
    return (
        f"{options.replicates} teachers, {options.students} students of each per method, distilled at T = 2 without labels. "
        f"Against plain distillation of the same teachers, beyond {captions.INTERVALS} over teachers, over tasks, class "
        f"frequencies and shifts (KL on ambiguous rows): {'; '.join(told)}. Classes whose accuracy differs after Holm's "
        f"correction, over tasks and frequencies: {classes}."
    )
