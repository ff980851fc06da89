"""Where does the variance between students come from: the teacher's answers, the start, the batches or the rows?

Every level of four sources of randomness (teacher responses, initialisation, batch order, bootstrap of the rows) meets
every level of the others: a balanced crossed design, whose variance components, interactions included, add up to the
variance of a student with everything drawn anew (T11). Two other designs check it: independent students, and students
for which all sources but one are frozen, whose variance is the sum of all components that contain that source.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pydantic
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uqkd import data, seeds
from uqkd.estimators import (
    comparison,
    leave_level_out_error,
    mean_and_error,
    mean_variance_components,
    variance_half_widths,
)
from uqkd.mlp import Recipe, SeedDesign, Teacher, distill, weigh
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.report.answers.involved import involved
from uqkd.run import AtLeastTwo, NonNegativeFloat, PositiveInt, Run
from uqkd.run import Options as Base
from uqkd.testbeds.cells import data_label, regression_cell, regression_of

SOURCES = ("responses", "initialisation", "order", "bootstrap")
NAMES = {name: name for name in SOURCES} | {"responses": "teacher responses", "order": "batch order"}
Levels = Annotated[int, pydantic.Field(ge=3)]  # leaving one out must leave a variance


class Options(Base):
    data: tuple[str, ...] = ("diabetes",)
    target: str | None = None
    ks: tuple[PositiveInt, ...] = (1, 5, 20)
    alphas: tuple[NonNegativeFloat, ...] = (0.1, 0.5)
    levels: tuple[Levels, Levels, Levels, Levels] = (8, 8, 6, 6)  # of SOURCES, in that order
    frozen: AtLeastTwo = 24  # frozen settings per source; in each, `varied` students differ in that source alone
    varied: AtLeastTwo = 8
    independent: AtLeastTwo = 512  # students with everything drawn anew
    hidden: tuple[int, ...] = (16,)
    batch: int = 32
    epochs: int = 50


PRESETS = {
    "quick": Options(),
    "paper": Options(ks=(1, 2, 5, 10, 20, 50), levels=(10, 10, 8, 8), frozen=48, epochs=200),
    "full": Options(data=("diabetes", "ccard", "statecrime"), levels=(12, 12, 10, 10), frozen=96, epochs=200),
}


def cells(options: Options) -> list[dict]:
    shared = options.only("levels", "frozen", "varied", "independent", "hidden", "batch", "epochs")
    return [
        {**regression_cell(name, options.target), **shared, "alpha": alpha, "k": k}
        for name in options.data
        for alpha in options.alphas
        for k in options.ks
    ]


class Setting:
    """One cell: the rows, the teacher, and how its students are trained."""

    def __init__(self, cell: dict) -> None:
        part = data.split(regression_of(cell))
        self.X, self.X_test = part.features, part.features_test
        self.k, self.hidden = cell["k"], tuple(cell["hidden"])
        self.batch = min(cell["batch"], len(self.X))
        self.recipe = Recipe(steps=cell["epochs"] * len(self.X) // self.batch, batch=self.batch)
        self.key = ("uncertainty budget", cell["data_fingerprint"], cell["alpha"], cell["k"])
        teacher = ("mlp", "teacher", cell["data_fingerprint"])
        self.teacher = Teacher.fit(self.X, part.y_standard, noise_var=cell["alpha"], hidden=self.hidden, key=teacher)

    def answers(self, seed_design: SeedDesign, design: str) -> np.ndarray:
        """Mean answers (S, P) at the test prompts of students with these levels; chunk by chunk."""
        key, done, found = (*self.key, design), 0, []
        for _, size in seeds.chunks(seed_design.students, values=self.recipe.steps * self.batch):
            part, done = seed_design.part(done, size), done + size
            responses = self.teacher.respond(self.X, self.k, students=part, key=key)
            how: dict[str, Any] = {"hidden": self.hidden, "recipe": self.recipe, "seed_design": part, "key": key}
            found.append(distill(self.X, weigh(responses), **how).predict_mean(self.X_test))
        return np.concatenate(found)


def sums(answers: np.ndarray, factors: Mapping[str, Any]) -> np.ndarray:
    """The sum of all components, then for each source the sum of those that contain it.

    The latter is the variance over the levels of that source with all others held, averaged over their levels.
    """
    parts = mean_variance_components(answers, factors)
    own = [[e == "residual" or source in e.split(":") for e in parts.effects] for source in SOURCES]
    return np.array([parts.total, *(float(parts.estimate[keep].sum()) for keep in own)])


def freeze_all_but(setting: Setting, source: str, cell: dict) -> tuple[float, float]:
    """Variance of students that differ in one source alone, averaged over frozen settings; its standard error."""
    found = []
    for frozen in range(cell["frozen"]):
        one = np.full(cell["varied"], frozen)
        level = dict.fromkeys(SOURCES, one) | {source: np.arange(cell["varied"]) + cell["varied"] * frozen}
        answers = setting.answers(SeedDesign(**level, recurring=SOURCES), f"all but {source}")
        found.append(answers.var(axis=0, ddof=1).mean())
    return mean_and_error(found)


def measure(cell: dict) -> pd.DataFrame:
    setting = Setting(cell)
    seed_design = SeedDesign.crossed(dict(zip(SOURCES, cell["levels"], strict=True)))
    answers, factors = setting.answers(seed_design, "crossed"), seed_design.table()
    parts = mean_variance_components(answers, factors)
    rows = [
        {"effect": effect, "estimate": estimate, "low": low, "high": high, "quantity": "component", "statement": ""}
        for effect, estimate, low, high in zip(parts.effects, parts.estimate, parts.low, parts.high, strict=True)
    ]

    independent = setting.answers(SeedDesign.independent(cell["independent"], bootstrap=True), "independent")
    square = ((independent - independent.mean(axis=0)) ** 2).mean(axis=1)
    simulated = [(independent.var(axis=0, ddof=1).mean(), mean_and_error(square)[1])]
    simulated += [freeze_all_but(setting, source, cell) for source in SOURCES]
    predicted = zip(sums(answers, factors), leave_level_out_error(sums, answers, factors), strict=True)
    for effect, (known, predicted_se), (seen, simulated_se) in zip(
        ["total", *SOURCES], predicted, simulated, strict=True
    ):
        what = "independent students" if effect == "total" else f"all frozen but {effect}"
        row = comparison("T11", what, known, seen, float(np.hypot(predicted_se, simulated_se)))
        rows.append({"effect": effect, "predicted_se": predicted_se, "simulated_se": simulated_se, **row})
    about = {"data": data_label(cell), "alpha": cell["alpha"], "k": cell["k"], "students": len(answers)}
    return pd.DataFrame([{**about, **row} for row in rows])


def groups(parts: pd.DataFrame) -> dict[str, float]:
    """Main effects one by one, interactions of two and of more sources summed."""
    estimate = parts.set_index("effect")["estimate"]
    pairs = [":".join(pair) for pair in combinations(SOURCES, 2)]
    main = {NAMES[source]: float(estimate[source]) for source in SOURCES}
    rest = estimate.drop([*SOURCES, *pairs])
    return {**main, "two sources together": float(estimate[pairs].sum()), "three or four": float(rest.sum())}


def bars(axis: Axes, table: pd.DataFrame) -> None:
    """One stacked bar per setting; a negative estimate hangs below zero."""
    settings = list(table.groupby(["alpha", "k"], sort=False))
    shades = dict(zip(groups(settings[0][1]), [*figures.colours(4), "0.45", "0.75"], strict=True))
    hatches = dict(zip(shades, ("", "////", "....", "xxxx", "", ""), strict=True))  # told apart in grey too
    for place, (_, parts) in enumerate(settings):
        up = down = 0.0
        for kind, value in groups(parts).items():
            look: dict[str, Any] = {"color": shades[kind], "hatch": hatches[kind], "edgecolor": "white", "width": 0.7}
            axis.bar(place, value, bottom=up if value >= 0 else down, label=kind if place == 0 else None, **look)
            up, down = up + max(value, 0.0), down + min(value, 0.0)
    axis.set_xticks(range(len(settings)), labels=[str(k) for (_, k), _ in settings])
    alphas = [alpha for (alpha, _), _ in settings]
    for alpha in dict.fromkeys(alphas):
        middle = np.mean([place for place, other in enumerate(alphas) if other == alpha])
        below: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "top", "fontsize": 8}
        axis.annotate(f"α = {alpha:g}", (middle, -0.13), **below)
    axis.set(ylabel="variance between students (Var y)", title="what it is made of")
    axis.set_xlabel("responses averaged, k", labelpad=19)  # below the levels of noise
    axis.grid(axis="x", visible=False)


def plot(table: pd.DataFrame) -> Figure:
    figure, axes = figures.panels(2, 2, height=2.5, height_ratios=[1.1, 1])
    (left, far), right = axes[:, 0], figure.add_subplot(axes[0, 1].get_gridspec()[:, 1])
    for axis in axes[:, 1]:
        axis.remove()
    first = table[table["data"] == table["data"].iloc[0]]
    parts = first[first["quantity"] == "component"]
    bars(left, parts)
    alpha, k = parts["alpha"].iloc[-1], parts["k"].iloc[0]
    one = parts[(parts["alpha"] == alpha) & (parts["k"] == k)]
    names = [effect.replace(":", " × ").replace("residual", "all four") for effect in one["effect"]]
    shades = [*figures.colours(4), *("0.45" if name.count("×") == 1 else "0.65" for name in names[4:])]
    figures.interval_rows(right, one, names, colours=shades)
    right.set(title=f"each component at α = {alpha:g}, k = {k}", xlabel=f"Var y, {captions.INTERVALS}")

    judged = first[first["statement"] == "T11"]
    for style, effect in zip(figures.series_styles(5), [*SOURCES, "total"], strict=True):
        rows = judged[judged["effect"] == effect]
        across, along = (variance_half_widths(rows[of], rows[f"{of}_se"]) for of in ("predicted", "simulated"))
        label = "all four" if effect == "total" else f"{NAMES[effect]} alone"
        figures.intervals(far, rows["predicted"], rows["simulated"], xerr=across, yerr=along, label=label, **style)
    low, high = 0.8 * judged["simulated"].min(), 1.25 * judged["simulated"].max()
    figures.theory(far, [low, high], [low, high], color="0.5", linestyle="--")
    far.set(xlabel="sum of components (Var y)", ylabel="variance (Var y)", xscale="log", yscale="log")
    far.set_title("the same from students that differ in …")
    for axis in (far, left):
        axis.legend(fontsize=6.5, loc="upper left", handlelength=1.2, labelspacing=0.3)
    left.set_xlim(-2.2, None)  # room for the legend
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    said: Any = {"caption": caption(table, options), "answer": answer(table)}
    figures.publish(run, plot(table), table=table, **said, group="mlp", place=170)


def caption(table: pd.DataFrame, options: Options) -> str:
    first = table[table["data"] == table["data"].iloc[0]]
    parts = first[(first["quantity"] == "component") & (first["alpha"] == options.alphas[-1])]
    judged = table.loc[table["statement"] == "T11", "z"].abs()

    def shares(k: int) -> str:
        found = groups(parts[parts["k"] == k])
        each = [f"{name} {round(100 * value / sum(found.values())) + 0} %" for name, value in found.items()]
        return f"At k = {k}: {', '.join(each)} of {sum(found.values()):.3f} Var y"

    few, many = (shares(end(options.ks)) for end in (min, max))
    return (
        f"{first['data'].iloc[0]}, {first['students'].iloc[0]:,} students per setting ({' × '.join(map(str, options.levels))} "
        f"levels), batches of {options.batch}, {options.epochs} epochs, α = {options.alphas[-1]:g}. {few}. {many}. Right: sums of "
        "all components that a source is part of against students for which all other sources are frozen, and the total against "
        f"independent students; {len(judged)} comparisons, largest |z| {judged.max():.1f}."
    )


def answer(table: pd.DataFrame) -> Answer | None:
    """Shares of the components that each source is part of, at the most noise, with the fewest and the most responses."""
    parts = table[(table["quantity"] == "component") & (table["data"] == table["data"].iloc[0])]
    parts = parts[parts["alpha"] == parts["alpha"].iloc[-1]]
    numbers: dict[str, Number | None] = {}
    for end, k in (("", int(parts["k"].min())), ("_many", int(parts["k"].max()))):
        found = involved(parts[parts["k"] == k], SOURCES)
        numbers |= {f"k{end}": Number.exact(k, "d"), **{f"{name}{end}": number for name, number in found.items()}}
    sentence = "at k = {k} the teacher's answers are part of {responses} of it, the rows of {bootstrap}, the start of "
    sentence += "{initialisation}, the batches of {order}; they overlap, for interactions are {interactions}"
    return measured.stated(sentence, numbers)
