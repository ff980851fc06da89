"""Which distillation targets bring a student nearer to what people say, and do they where people disagree?

The truth is human: every text was rated by 20 people or more. Teachers are trained on majority labels alone, students on every kind
of target that is made of a teacher, and, as a ceiling, on the shares of the raters themselves. Each method gets the same grid of
temperature and loss weight and is chosen on validation texts by one rule. What counts is KL(raters ‖ student) on test texts, with
the raters' own sampling error taken off; where people disagree is told by one half of a text's raters and measured by the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from uqkd.classify import METHODS, ClassTargets, Distillation, Mixing, SeedDesign, TargetFactory, by_name, distill
from uqkd.data import load_ratings
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import AtLeastTwo, Fraction, PositiveFloat, PositiveInt, Run, here_or_bundled
from uqkd.run import Options as Base
from uqkd.testbeds import rated
from uqkd.testbeds.cells import data_label
from uqkd.testbeds.classification import cell_recipe
from uqkd.testbeds.rated import GROUPS, RatedTask, losses, shown
from uqkd.testbeds.teachers import alike, counted

Array = NDArray[np.float64]

PLAIN, TEMPERED, CUD, MIXED, CEILING = "teacher", "teacher, temperature", "DUS + W-Clip", "teacher, mixup", "raters"
STUDENTS = (*METHODS, MIXED, CEILING)
ITSELF, SCALED, BASE, LABEL = "the teacher itself", "the teacher, temperature", "base rate", "majority label"
ALL = "all"
NAMES = {CEILING: "raters' own shares", BASE: "base rates"}
RULES = ("labels", "raters")  # by which validation texts choose: likelihood of the majority labels, or of all ratings


class Options(Base):
    ratings: tuple[str, ...] = ("studies/ratings/tweets.csv", "studies/ratings/editorials.csv")
    dimensions: AtLeastTwo = 150  # of the features: TF-IDF of pieces of words, its leading components
    teacher: str = "perceptron:64"
    student: str = "perceptron:16"
    replicates: AtLeastTwo = 6  # independent teachers
    students: PositiveInt = 1  # of each teacher and setting
    temperatures: tuple[PositiveFloat, ...] = (1.0, 3.0)  # these three are the grid
    weights: tuple[Fraction, ...] = (0.5, 1.0)
    lengths: tuple[AtLeastTwo, ...] = (50, 150)  # steps of a student
    steps: AtLeastTwo = 120  # of a teacher
    batch: AtLeastTwo = 64
    lr: PositiveFloat = 5e-3


LONG = {
    "dimensions": 300, "student": "perceptron:32", "students": 3, "temperatures": (1.0, 1.5, 2.0, 4.0, 8.0),
    "weights": (0.2, 0.5, 0.8, 1.0), "lengths": (30, 60, 120, 240, 480),
}  # fmt: skip

PRESETS = {
    "quick": Options(),
    "paper": Options.model_validate({**LONG, "replicates": 20}),
    "full": Options.model_validate({**LONG, "replicates": 50}),
}


def cells(options: Options) -> list[dict]:
    how = options.only("teacher", "student", "students", "temperatures", "weights", "lengths", "steps", "batch", "lr")
    each = [rated.rated_cell(path, dimensions=options.dimensions) for path in options.ratings]
    for name in (options.teacher, options.student):
        by_name(name, row=(options.dimensions,), classes=2)  # a misspelt network is refused before any work
    return [{**one, **how, "replicate": r} for r, one in product(range(options.replicates), each)]


def measure(cell: dict) -> pd.DataFrame:
    """A row for each test text, method and rule: distances of the setting that the rule chose, for this teacher."""
    task = rated.rated_of(cell)
    key = ("classify human", *(str(cell[name]) for name in sorted(cell) if name != "data"))  # wherever the file lies
    factory = by_name(cell["teacher"], row=task.X.shape[1:], classes=len(task.train.classes))
    labels, recipe = task.train.majority, cell_recipe(cell)
    views = TargetFactory.fit(task.X, labels, classes=len(task.train.classes), factory=factory, recipe=recipe, key=key)
    best: dict[tuple[str, str], tuple[float, str, Array]] = {}
    for method, setting, held, test in (*trained(cell, task, views, key), *untrained(task, views)):
        for rule, loss in losses(held, task).items():
            if (rule, method) not in best or loss < best[rule, method][0]:
                best[rule, method] = (loss, setting, test)
    groups, judging = rated.thirds(task.test.counts, key=("classify human", cell["data_fingerprint"]))
    told = [(rule, method, setting, test, task.test.counts) for (rule, method), (_, setting, test) in best.items()]
    # The label is of raters who do not judge.
    label = np.eye(len(task.train.classes))[(task.test.counts - judging).argmax(axis=1)][None]
    told += [(rule, LABEL, "", label, judging) for rule in RULES]
    about = {"data": data_label(cell), "replicate": cell["replicate"], "group": groups}
    return pd.concat([
        rated.text_distances(probabilities, counts, judging).assign(**about, rule=rule, method=method, setting=setting)
        for rule, method, setting, probabilities, counts in told
    ])  # fmt: skip


def trained(cell: dict, task: RatedTask, views: TargetFactory, key: tuple) -> Iterator[tuple[str, str, Array, Array]]:
    """Students (S, P, C) on validation and test texts: all methods in one pass, which begin alike and see the same batches."""
    targets = [views.targets(method).probabilities[0] for method in METHODS] + [task.train.shares]
    names, each = (*METHODS, CEILING), cell["students"]
    design = alike(each, len(names))
    how: dict[str, Any] = {
        "labels": task.train.majority,
        "factory": by_name(cell["student"], row=task.X.shape[1:], classes=len(task.train.classes)),
    }  # fmt: skip
    for temperature, weight, steps in product(cell["temperatures"], cell["weights"], cell["lengths"]):
        own = (*key, "students", temperature, weight, steps)
        setting = f"T={temperature:g}, weight {weight:g}, {steps} steps"
        how |= {"objective": Distillation(temperature, weight), "recipe": cell_recipe({**cell, "steps": steps})}
        stacked = ClassTargets(np.repeat(np.stack(targets), each, axis=0), None, "all")
        students = distill(task.X, stacked, seed_design=design, key=own, **how)
        held, test = (students.predict_proba(X) for X in (task.X_held, task.X_test))
        for m, name in enumerate(names):
            yield name, setting, held[m * each : (m + 1) * each], test[m * each : (m + 1) * each]
        alone = SeedDesign.independent(each)
        mixed = distill(task.X, views.teacher, seed_design=alone, mixing=Mixing(), key=(*own, "mixed"), **how)
        yield MIXED, setting, mixed.predict_proba(task.X_held), mixed.predict_proba(task.X_test)


def untrained(task: RatedTask, views: TargetFactory) -> Iterator[tuple[str, str, Array, Array]]:
    """What needs no student: the teacher, as it is and at the temperature fitted out of fold, and base rates."""
    for name, temperature in ((ITSELF, 1.0), (SCALED, views.temperature)):
        own = replace(views.teacher, temperature=temperature)
        yield name, f"T={temperature:.2f}", own.predict_proba(task.X_held)[None], own.predict_proba(task.X_test)[None]
    rate = task.train.shares.mean(axis=0)
    yield BASE, "", np.tile(rate, (1, len(task.X_held), 1)), np.tile(rate, (1, len(task.X_test), 1))


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Means over teachers and test texts, both of them samples, and paired differences from plain distillation, with Holm."""
    return rated.rated_means(table, (PLAIN, TEMPERED), tested=STUDENTS)


def plot(found: pd.DataFrame) -> Figure:
    names = list(found["data"].unique())
    methods = [*METHODS, MIXED, CEILING, ITSELF, SCALED, BASE]  # the label itself is infinitely far
    figure, axes = figures.panels(len(names), 2, height=3.6, sharey=True)
    colour, *of_groups = figures.colours(1 + len(GROUPS))
    for (left, right), name in zip(axes, names, strict=True):
        part = found[found["rule"] == RULES[0]]
        level = shown(part, data=name, group=ALL, measure="kl").reindex(methods)
        figures.intervals(left, level["value"], range(len(methods)), xerr=level["half_width"], color=colour)
        left.axvline(level.loc[PLAIN, "value"], color="0.5", linewidth=0.8)
        left.set_title(f"{name}: KL(raters ‖ student), nats")
        for n, (group, one) in enumerate(zip(GROUPS, of_groups, strict=True)):
            rows = shown(part, data=name, group=group, measure="kl").reindex(STUDENTS)
            at = np.arange(len(STUDENTS)) + 0.24 * (n - 1)
            bars = {"xerr": rows["difference_half_width"], "color": one, "label": f"{group} texts"}
            figures.intervals(right, rows["difference"], at, **bars)
        right.axvline(0.0, color="0.5", linewidth=0.8)
        right.set_title("difference from plain distillation, nats")
        figures.named_rows(left, [NAMES.get(method, captions.method_name(method)) for method in methods])
        for axis in (left, right):
            axis.axhline(len(STUDENTS) - 0.5, color="0.7", linewidth=0.8)
    figures.legend_below(figure, axes[0, 1], f"bars: {captions.INTERVALS} over teachers and texts, for one comparison")
    return figure


def main(options: Options, run: Run) -> None:
    found = means(run.cells(cells(options), measure))
    said: Any = {"caption": caption(found, options), "answer": answer(found)}
    figures.publish(run, plot(found), table=found, **said, group="classify", place=480)


TOLD = {"cud": CUD, "bounded": "groups, entropy", "smooth": "label smoothing", "scale": TEMPERED, "clip": "W-Clip"}
AGAINST, WHERE = {"plain": PLAIN, "scale": TEMPERED}, {"": ALL, "ambiguous_": GROUPS[-1]}


def answer(found: pd.DataFrame) -> Answer | None:
    """How many methods come nearer to the raters than plain distillation, and CUD against it and temperature scaling."""
    names, sides = list(found["data"].unique()), {"below": "nearer", "above": "farther", "open": "not told apart"}
    numbers: dict[str, Number | None] = {
        "methods": Number.exact(len(STUDENTS) - 2, "d")
    }  # but plain distillation and the ceiling
    for (n, name), place, other in product(enumerate(names), WHERE, AGAINST):
        own = shown(found, data=name, rule=RULES[0], group=WHERE[place], measure="kl", other=AGAINST[other])
        near = counted(own[own.index.isin(STUDENTS[:-1])].assign(p=lambda rows: rows["p_holm"]), "below")
        numbers[f"{place}nearer_{other}_{n}"] = Number.measured(*near, ".0f")
        for short, method in TOLD.items():
            apart = own.loc[method, ["difference", "difference_half_width"]]
            numbers[f"{place}{short}_less_{other}_{n}"] = measured.around(*measured.pair(apart), "+.3f")

    def each(form: str, key: str = "methods") -> str:
        told = [(sides[measured.side(numbers[key.replace("#", str(n))])], n, name) for n, name in enumerate(names)]
        return ", ".join(form.replace("%", side).replace("#", str(n)).replace("@", name) for side, n, name in told)

    some = any(numbers[f"ambiguous_nearer_plain_{n}"] != Number.exact(0, ".0f") for n in range(len(names)))
    sentence = (
        f"{'where people disagree, those that spread mass' if some else 'none'}: over all texts {each('{nearer_plain_#} (@)')} of "
        f"{{methods}} come nearer than plain distillation, on the most divided third {each('{ambiguous_nearer_plain_#}')}, CUD by "
        f"{each('{ambiguous_cud_less_plain_#}')} nats of KL(raters ‖ student); than temperature scaling CUD is there "
        + each("% on @ ({ambiguous_cud_less_scale_#})", "ambiguous_cud_less_scale_#")
    )
    return measured.stated(sentence, numbers)


def caption(found: pd.DataFrame, options: Options) -> str:
    facts = {data_label({"data": path}): load_ratings(here_or_bundled(path)).facts for path in options.ratings}
    said = [f"{facts[name]} {told(found[found['data'] == name])}" for name in found["data"].unique()]
    grid = [captions.listed(values) for values in (options.temperatures, options.weights, options.lengths)]
    return (
        f"{options.replicates} teachers {options.teacher} of majority labels, students {options.student}; every method at the "
        f"temperature (of {grid[0]}), weight ({grid[1]}) and length ({grid[2]} steps) of best likelihood of validation labels. "
        f"± {captions.INTERVALS} over teachers and test texts; nearer and farther: with Holm's correction. {' '.join(said)}"
    )


def told(found: pd.DataFrame) -> str:
    """What one data set says."""

    def level(method: str) -> str:
        row = shown(found, rule=RULES[0], group=ALL, measure="kl").loc[method]
        return f"{row['value']:.3f} ± {row['half_width']:.3f}"

    def apart(row: Any) -> str:
        return captions.minus(f"{row['difference']:+.3f} ± {row['difference_half_width']:.3f}")

    def against(rule: str, group: str) -> str:
        rows = shown(found, rule=rule, group=group, measure="kl").drop(index=CEILING)
        said = {
            s: [f"'{m}' ({apart(row)})" for m, row in rows[rows["sign"] == s].iterrows()] for s in ("below", "above")
        }
        return f"nearer {', '.join(said['below']) or 'none'}; farther {', '.join(said['above']) or 'none'}"

    best = shown(found, rule=RULES[1], group=ALL, measure="kl").loc[CEILING]
    return (
        f"KL(raters ‖ student): plain distillation {level(PLAIN)} nats, the teacher itself {level(ITSELF)}, at a temperature "
        f"{level(SCALED)}, base rates {level(BASE)}. Than plain distillation: {against(RULES[0], ALL)}. On ambiguous texts: "
        f"{against(RULES[0], GROUPS[-1])}. Chosen by validation ratings instead: {against(RULES[1], ALL)}; then the raters' shares "
        f"as targets, the ceiling, {apart(best)}."
    )
