"""When does weighting a network's answers against the teacher's by inverse variance help, and when does it hurt?

Labels blend the mean of k responses with a second source: the teacher's noise-free mean (the published scripts: an oracle), a
network distilled from k fresh responses (cross-fitted), or one distilled from the very same responses. The variance of the second
source is estimated from a pilot of independent networks; a network is biased too, which its weights may count or ignore. Judged by
the mean squared error of the label and of the network distilled from it, around the teacher's mean and relative to plain averaging
of k. A cross-fitted source costs k more responses, so averaging 2k is the fair rival.
"""

from __future__ import annotations

import warnings
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pydantic
from matplotlib.figure import Figure

from uqkd import data, seeds
from uqkd.errors import FewResponsesWarning, one_of
from uqkd.estimators import Moments, comparison
from uqkd.mlp import Recipe, SeedDesign, Teacher, distill, weigh
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import AtLeastTwo, NonNegativeFloat, Run
from uqkd.run import Options as Base
from uqkd.targets import NumberTargets
from uqkd.testbeds.cells import data_label, regression_cell, regression_of
from uqkd.testbeds.tables import relative_to

METHODS = {
    "average": "average of k",
    "average of 2k": "average of 2k",
    "oracle": "noise-free mean, weighted as if of variance σ_T² (published)",
    "same draws": "network of the same draws",
    "fresh, known": "cross-fitted network, bias ignored",
    "fresh, bias counted": "cross-fitted network, bias counted",
    "fresh, estimated": "the same, variance of the responses estimated",
}
Method = Annotated[str, pydantic.AfterValidator(lambda name: one_of("method", name, METHODS))]


class Options(Base):
    data: tuple[str, ...] = ("diabetes",)
    target: str | None = None
    ks: tuple[AtLeastTwo, ...] = (2, 3, 5, 10, 20, 50)
    alphas: tuple[NonNegativeFloat, ...] = (0.5,)
    methods: tuple[Method, ...] = tuple(METHODS)  # plain averaging is always among them
    hidden: tuple[int, ...] = (16,)
    steps: int = 200
    pilot: AtLeastTwo = 128
    replicates: AtLeastTwo = 256


PRESETS = {
    "quick": Options(),
    "paper": Options(
        ks=(2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50), alphas=(0.01, 0.1, 0.5, 1.0), replicates=1_000
    ),
    "full": Options(data=("diabetes", "ccard", "statecrime"), alphas=(0.1, 0.5, 1.0), replicates=2_000),
}


def cells(options: Options) -> list[dict]:
    shared = options.only("hidden", "steps", "pilot", "replicates")
    methods = tuple(method for method in METHODS if method in ("average", *options.methods))
    return [
        {**regression_cell(name, options.target), **shared, "methods": methods, "alpha": alpha, "k": k}
        for name in options.data
        for alpha in options.alphas
        for k in options.ks
    ]


class Setting:
    """One cell: the rows, the teacher, and how its students are trained."""

    def __init__(self, cell: dict) -> None:
        part = data.split(regression_of(cell))
        self.X, self.X_test = part.features, part.features_test
        self.hidden, self.recipe = tuple(cell["hidden"]), Recipe(steps=cell["steps"])
        self.key = ("mlp variance weighting", cell["data_fingerprint"], cell["alpha"], cell["k"])
        self.k = cell["k"]
        teacher = ("mlp", "teacher", cell["data_fingerprint"])
        self.teacher = Teacher.fit(
            self.X, part.y_standard, noise_var=cell["alpha"], hidden=self.hidden, recipe=self.recipe, key=teacher
        )
        self.at_train, self.at_test = self.teacher.predict_mean(self.X), self.teacher.predict_mean(self.X_test)
        self.network_var, self.network_bias = self.pilot(cell["pilot"])

    def responses(self, seed_design: SeedDesign, name: str) -> np.ndarray:
        return self.teacher.respond(self.X, self.k, students=seed_design, key=(*self.key, name))

    def answers(self, targets: NumberTargets, seed_design: SeedDesign, name: str, X: np.ndarray) -> np.ndarray:
        """Predictive means at X of students distilled from the targets."""
        key = (*self.key, name)
        students = distill(self.X, targets, hidden=self.hidden, recipe=self.recipe, seed_design=seed_design, key=key)
        return students.predict_mean(X)

    def pilot(self, students: int) -> tuple[np.ndarray, np.ndarray]:
        """Variance at the training prompts of a network distilled from k responses, and its squared bias.

        The bias is that against the mean of the pilot's own responses, as one without the noise-free mean would estimate it.
        """
        seed_design = SeedDesign.independent(students)
        responses = self.responses(seed_design, "pilot responses")
        means = self.answers(weigh(responses), seed_design, "pilot", self.X)
        gaps = means - responses.mean(axis=2)
        bias_square = gaps.mean(axis=0) ** 2 - gaps.var(axis=0, ddof=1) / students
        return means.var(axis=0, ddof=1), np.maximum(bias_square, 0.0)


def labels(setting: Setting, cell: dict, seed_design: SeedDesign) -> dict[str, NumberTargets]:
    """The blended labels of every method, all from the same k responses per prompt."""
    wanted, mine = cell["methods"], setting.responses(seed_design, "responses")
    known: dict[str, Any] = {"response_var": setting.teacher.noise_var}
    found = {"average": weigh(mine, "average")}
    found["oracle"] = weigh(mine, "oracle", second=setting.at_train, second_var=setting.teacher.noise_var)
    if not set(wanted) <= set(found):
        variance, told = setting.network_var, setting.network_var + setting.network_bias
        fresh = setting.responses(seed_design, "fresh responses")
        second = setting.answers(weigh(fresh), seed_design, "cross-fitted", setting.X)
        same = setting.answers(found["average"], seed_design, "same draws", setting.X)
        found["average of 2k"] = weigh(np.concatenate([mine, fresh], axis=2), "average")
        found["same draws"] = weigh(mine, "known", second=same, second_var=variance, **known)
        found["fresh, known"] = weigh(mine, "known", second=second, second_var=variance, **known)
        found["fresh, bias counted"] = weigh(mine, "known", second=second, second_var=told, **known)
        found["fresh, estimated"] = weigh(mine, "estimated", second=second, second_var=told)
    return {method: found[method] for method in METHODS if method in wanted}


def measure(cell: dict) -> pd.DataFrame:
    setting = Setting(cell)
    label = {method: Moments.about(setting.at_train) for method in cell["methods"]}
    student = {method: Moments.about(setting.at_test) for method in cell["methods"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FewResponsesWarning)  # what few responses cost is the question
        for _, size in seeds.chunks(cell["replicates"], values=2 * cell["k"] * len(setting.X)):
            seed_design = SeedDesign.independent(size, first=next(iter(label.values())).count)
            for method, targets in labels(setting, cell, seed_design).items():
                label[method] = label[method].add(targets.values)
                distilled = setting.answers(targets, seed_design, f"student, {method}", setting.X_test)
                student[method] = student[method].add(distilled)

    rows = []
    for method in label:
        for quantity, stream in (("label error", label[method]), ("student error", student[method])):
            row = comparison("", quantity, np.nan, stream.mean_square, stream.mean_square_se)
            rows.append({"method": method, **row, "inter_var": stream.mean_variance})
    about = {"data": data_label(cell), "alpha": cell["alpha"], "k": cell["k"], "replicates": cell["replicates"]}
    share = {"bias_share": float(setting.network_bias.mean() / setting.network_var.mean())}
    return pd.DataFrame([{**about, **share, **row} for row in rows])


def plot(found: pd.DataFrame) -> Figure:
    figure, axes = figures.panels(1, 2, height=3.9)
    first = found[(found["data"] == found["data"].iloc[0])]
    alpha = 0.5 if (first["alpha"] == 0.5).any() else first["alpha"].iloc[-1]
    first, shown = first[first["alpha"] == alpha], [m for m in METHODS if m in set(found["method"]) - {"average"}]
    for axis, quantity in zip(axes[0], ("label error", "student error"), strict=True):
        for i, (method, colour) in enumerate(zip(shown, figures.colours(len(shown)), strict=True)):
            rows = first[(first["method"] == method) & (first["quantity"] == quantity)]
            beside = rows["k"] * 1.02 ** (i - len(shown) / 2)  # side by side, so that no bar hides another
            axis.plot(beside, rows["ratio"], ":", color=colour, linewidth=0.8)
            shown_as = {"color": colour, "fmt": "os^Dvp"[i], "label": METHODS[method]}
            figures.points(axis, rows, beside, y="ratio", error="ratio_se", **shown_as)
        axis.axhline(1.0, color="0.25", linestyle="--", linewidth=1, zorder=1)
        axis.annotate("average of k", (2.05, 0.985), fontsize=7, color="0.25", va="top")
        axis.set(yscale="log", xlabel="teacher responses per prompt, k")
        figures.k_axis(axis, tuple(k for k in (2, 3, 5, 10, 20, 50) if k <= first["k"].max()))
        low, high = axis.get_ylim()
        dense = (1, 2, 3, 5, 7) if high > 3 * low else (1, 1.1, 1.2, 1.5, 2, 3, 5, 6, 7, 8, 9)
        figures.log_ticks(axis, steps=(1, 2, 5) if high > 10 * low else dense)
    axes[0, 0].set(
        title=f"{first['data'].iloc[0]}, α = {alpha:g}: error of the label",
        ylabel="squared error around the teacher's mean,\nrelative to averaging k responses",
    )
    axes[0, 1].set(title="error of the network distilled from it (own scale)")
    figures.legend_below(figure, axes[0, 1], f"points: simulation {captions.BARS}", columns=2)
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    found = relative_to(table, ["data", "alpha", "k", "quantity"], method="average")
    alpha = 0.5 if 0.5 in options.alphas else options.alphas[-1]
    first = found[(found["data"] == found["data"].iloc[0]) & (found["alpha"] == alpha)]
    said: Any = {"caption": caption(first, options), "answer": answer(first)}
    figures.publish(run, plot(found), table=table, **said, more={"relative": found}, group="mlp", place=130)


def caption(first: pd.DataFrame, options: Options) -> str:
    ratio = first.set_index(["quantity", "method", "k"]).sort_index()["ratio"]
    few, last = min(options.ks), max(options.ks)

    def both(method: str, quantity: str = "student error") -> str:
        found = [ratio.get((quantity, method, k), np.nan) for k in (few, last)]
        return f"{found[0]:.2f} at k = {few} and {found[1]:.2f} at k = {last}"

    sentences = {
        "oracle": f"Blending in the noise-free mean, as published, leaves {both('oracle')} of the student's error. ",
        "fresh, bias counted": f"A cross-fitted network leaves {both('fresh, bias counted', 'label error')} of the label's error. ",
        "fresh, known": f"With its bias ignored it leaves {both('fresh, known')} of the student's. ",
    }
    plain = first[(first["method"] == "average") & (first["quantity"] == "student error")].set_index("k")
    own = 1.0 - plain["inter_var"] / plain["simulated"]
    return (
        f"{first['data'].iloc[0]}, α = {first['alpha'].iloc[0]:g}, {options.replicates:,} networks per point; averaging k is 1. "
        f"{''.join(text for method, text in sentences.items() if method in options.methods)}At training prompts the bias² of a "
        f"network is {first.loc[first['k'] == last, 'bias_share'].iloc[0]:.2f} of its variance at k = {last}. At test prompts "
        f"bias² is {own[few]:.0%} (k = {few}) and {own[last]:.0%} (k = {last}) of the error of students of averages."
    )


def answer(first: pd.DataFrame) -> Answer | None:
    """Errors relative to averaging k, on one data set at one level of noise; None without the methods that it compares."""
    at: Any = first.set_index(["quantity", "method", "k"]).sort_index()[["ratio", "ratio_se"]]
    names = {"counted": "fresh, bias counted", "double": "average of 2k", "same": "same draws", "oracle": "oracle"}
    if not set(names.values()) <= set(first["method"]):
        return None
    numbers: dict[str, Number | None] = {}
    for end, k in (("few", first["k"].min()), ("last", first["k"].max())):
        numbers[f"k_{end}"] = Number.exact(int(k), "d")
        for name, method in names.items():
            found = measured.pair(at.loc[("student error", method, k)])
            numbers[f"{name}_{end}"] = measured.positive(*found, shows="reach")
    labels = [measured.positive(*measured.pair(row)) for _, row in at.loc[("label error", names["counted"])].iterrows()]
    numbers["label"] = measured.changed(measured.least(labels), lambda v: 1.0 / v, ".1f")
    said = {"below": "helps", "above": "hurts", "open": "makes no sure difference"}
    few, last = (said[measured.side(numbers[f"same_{end}"], 1.0)] for end in ("few", "last"))
    counted, double = (at.loc[("student error", names[name])] for name in ("counted", "double"))
    rivals = [measured.ratio(measured.pair(counted.loc[k]), measured.pair(double.loc[k])) for k in counted.index]
    rival = "at some k less" if "below" in [measured.side(one, 1.0) for one in rivals] else "nowhere less"
    sentence = (
        "for the label, whose error falls up to {label} times; the network distilled from it keeps {counted_few} of averaging's "
        f"at k = {{k_few}}, {{counted_last}} at {{k_last}}, {rival} than averaging 2k leaves; a source of the same draws {few} at "
        f"{{k_few}} ({{same_few}}), {last} at {{k_last}} ({{same_last}})"
    )
    return measured.stated(sentence, numbers)
