"""When does weighting a student's answers against the teacher's by inverse variance help, and when does it hurt?

Labels blend the mean of k responses with a second source: the teacher's noise-free mean (the published scripts: an
oracle), a student trained on the same draws, a student of fresh draws with known or with estimated variances, or a
student that lacks the strongest feature and is therefore biased. Judged by the mean squared error of the label and of the
student distilled from it, around the teacher's mean and relative to plain averaging of k responses. A student of fresh
draws costs k more responses, so averaging 2k is the fair rival.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd import data, seeds
from uqkd.errors import FewResponsesWarning
from uqkd.estimators import Moments, comparison
from uqkd.linear import Design, NumberTargets, Teacher, distill, weigh
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import AtLeastTwo, NonNegativeFloat, Run
from uqkd.run import Options as Base
from uqkd.testbeds.cells import data_label, regression_cell, regression_of
from uqkd.theory import statements as theory


class Options(Base):
    data: tuple[str, ...] = ("diabetes", "ccard", "statecrime")
    target: str | None = None
    ks: tuple[AtLeastTwo, ...] = (2, 3, 4, 5, 7, 10, 20, 50)
    alpha: NonNegativeFloat = 0.5
    replicates: AtLeastTwo = 2_000


PRESETS = {
    "quick": Options(),
    "paper": Options(replicates=10_000),
    "full": Options(data=data.REGRESSIONS, replicates=20_000),
}

METHODS = {
    "average": "average of k",
    "average of 2k": "average of 2k",
    "oracle": "noise-free mean, weighted as if of variance σ_T² (published)",
    "same draws": "student of the same draws",
    "fresh, known": "fresh student, inverse variance",
    "fresh, estimated": "fresh student, inverse of estimated variance",
    "fresh, shrunk": "fresh student, inverse of shrunk variance",
    "fresh, equal": "fresh student, equal weights",
    "biased, ignored": "biased fresh student, bias ignored",
    "biased, counted": "biased fresh student, bias counted",
}
DRAWN = [m for m in METHODS if m not in ("average", "average of 2k", "fresh, shrunk")]  # lines at 1 and ½; as "known"


def cells(options: Options) -> list[dict]:
    return [
        {**regression_cell(name, options.target), **options.only("alpha", "replicates"), "k": k}
        for name in options.data
        for k in options.ks
    ]


def omitted_bias(teacher: Teacher, design: Design, weak: Design) -> np.ndarray:
    """Bias at the training rows of a student that lacks a feature."""
    truth = teacher.predict_mean(design.X)
    return truth @ weak.projector @ weak.X.T - truth


def labels(
    teacher: Teacher, design: Design, weak: Design, cell: dict, chunk: int, size: int
) -> dict[str, NumberTargets]:
    """The blended labels of every method, all from the same k responses per prompt."""
    k, v = cell["k"], teacher.noise_var / cell["k"]
    key = ("variance weighting", cell["data_fingerprint"], cell["alpha"], k, chunk)
    mine = teacher.respond(design.X, k, students=size, key=(*key, "responses"))
    fresh = teacher.respond(design.X, k, students=size, key=(*key, "fresh"))
    same_student = distill(design, weigh(mine)).predict_mean(design.X)
    student = distill(design, weigh(fresh)).predict_mean(design.X)
    biased = distill(weak, weigh(fresh)).predict_mean(weak.X)
    bias = omitted_bias(teacher, design, weak)
    v_student, v_biased = v * design.leverage, v * weak.leverage
    known: dict[str, Any] = {"response_var": teacher.noise_var}
    return {
        "average": weigh(mine, "average"),
        "average of 2k": weigh(np.concatenate([mine, fresh], axis=2), "average"),
        "oracle": weigh(mine, "oracle", second=teacher.predict_mean(design.X), second_var=teacher.noise_var),
        "same draws": weigh(mine, "known", second=same_student, second_var=v_student, **known),
        "fresh, known": weigh(mine, "known", second=student, second_var=v_student, **known),
        "fresh, estimated": weigh(mine, "estimated", second=student, second_var=v_student),
        "fresh, shrunk": weigh(mine, "shrunk", second=student, second_var=v_student),
        "fresh, equal": weigh(mine, "known", second=student, second_var=v, **known),
        "biased, ignored": weigh(mine, "known", second=biased, second_var=v_biased, **known),
        "biased, counted": weigh(mine, "known", second=biased, second_var=v_biased + bias**2, **known),
    }


def biased_label_error(v: float, student_var: np.ndarray, bias: np.ndarray, *, counted: bool) -> float:
    """Mean squared error of a label blended with a biased student, weights told of the bias or not (T6)."""
    told = student_var + bias**2 if counted else student_var
    weight = told / (v + told)
    return float((weight**2 * v + (1 - weight) ** 2 * (student_var + bias**2)).mean() / v)


def predicted(part: data.Split, design: Design, weak: Design, bias: np.ndarray, k: int, v: float) -> dict:
    """Label and student error of the methods where theory has them, averaged over rows, relative to averaging."""
    h, at_test = design.leverage, design.leverage_at(part.X_test).mean()

    def student(draws: str) -> float:
        return float(theory.blended_student_variance(part.X, part.X_test, v, draws=draws).mean() / (v * at_test))

    oracle = theory.oracle_label_variance(k)
    return {
        "average": (1.0, 1.0),
        "average of 2k": (0.5, 0.5),
        "oracle": (oracle, oracle),
        "same draws": (float(theory.precision_variance(h, 1.0, draws="same").mean()), student("same")),
        "fresh, known": (float(theory.precision_variance(h, 1.0, draws="fresh").mean()), student("fresh")),
        "fresh, estimated": (float(theory.estimated_label_variance(h, k).mean()), np.nan),
        "fresh, equal": (float((1 + h).mean() / 4), 0.5),
        "biased, ignored": (biased_label_error(v, v * weak.leverage, bias, counted=False), np.nan),
        "biased, counted": (biased_label_error(v, v * weak.leverage, bias, counted=True), np.nan),
    }


def measure(cell: dict) -> pd.DataFrame:
    part, k = data.split(regression_of(cell)), cell["k"]
    teacher = Teacher.fit(part.X, part.y, noise_var=cell["alpha"] * float(part.y.var()))
    design = Design.of(part.X)
    strongest = 1 + int(np.argmax(np.abs(teacher.coef[1:])))
    weak = Design.of(np.delete(part.X, strongest, axis=1))
    at_train, at_test = teacher.predict_mean(part.X), teacher.predict_mean(part.X_test)

    label = {method: Moments.about(at_train) for method in METHODS}
    student = {method: Moments.about(at_test) for method in METHODS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FewResponsesWarning)  # what few responses cost is the question
        for chunk, size in seeds.chunks(cell["replicates"], values=2 * k * len(part.X)):
            for method, targets in labels(teacher, design, weak, cell, chunk, size).items():
                label[method] = label[method].add(targets.values)
                student[method] = student[method].add(distill(design, targets).predict_mean(part.X_test))

    v = teacher.noise_var / k
    scale = {"label error": v, "student error": v * float(design.leverage_at(part.X_test).mean())}
    expected, rows = predicted(part, design, weak, omitted_bias(teacher, design, weak), k, v), []
    for method in METHODS:
        known = expected.get(method, (np.nan, np.nan))
        for (quantity, unit), stream, of_theory in zip(
            scale.items(), (label[method], student[method]), known, strict=True
        ):
            numbers = of_theory, stream.mean_square / unit, stream.mean_square_se / unit
            rows.append({"method": method, **comparison("T6", quantity, *numbers, variance_of=cell["replicates"])})
    bias_share = float((omitted_bias(teacher, design, weak) ** 2).mean() / teacher.noise_var)
    about = {
        "data": data_label(cell),
        **{name: cell[name] for name in ("alpha", "k", "replicates")},
        "bias_share": bias_share,
    }
    return pd.DataFrame([{**about, **row} for row in rows])


def plot(table: pd.DataFrame) -> Figure:
    figure, axes = figures.panels(1, 2, height=4.2, sharey=True)
    rows = table[table["data"] == table["data"].iloc[0]]
    for axis, quantity in zip(axes[0], ("label error", "student error"), strict=True):
        for n, (method, style) in enumerate(zip(DRAWN, figures.series_styles(len(DRAWN)), strict=True)):
            part = rows[(rows["method"] == method) & (rows["quantity"] == quantity)]
            figures.theory(axis, part["k"], part["predicted"], color=style["color"])
            if part["predicted"].isna().all():
                axis.plot(
                    part["k"], part["simulated"], ":", color=style["color"], linewidth=0.8
                )  # no closed form: a guide
            beside = part["k"] * 1.02 ** (n - (len(DRAWN) - 1) / 2)  # side by side, so that none hides another
            figures.points(axis, part, beside, label=METHODS[method], **style)
        for height, text in ((1.0, "average of k"), (0.5, "average of 2k")):
            axis.axhline(height, color="0.25", linestyle="--", linewidth=1, zorder=1)
            where = {"xycoords": ("axes fraction", "data"), "ha": "center", "va": "bottom"}  # where no line passes
            axis.annotate(text, (0.6, height), fontsize=7, color="0.25", **where)
        axis.set(yscale="log", xlabel="teacher responses per prompt, k")
        figures.k_axis(axis, (2, 3, 5, 10, 20, 50))
    judged = "squared error around the teacher's mean,\nrelative to averaging k responses"
    figures.log_ticks(axes[0, 0], steps=(1, 3))  # both panels share the axis
    axes[0, 0].set(title=f"{rows['data'].iloc[0]}: error of the label", ylabel=judged)
    axes[0, 1].set(title="error of the student distilled from it")
    note = f"lines: theory (dotted: a guide to the eye); points: simulation {captions.BARS}"
    figures.legend_below(figure, axes[0, 1], note, columns=2)
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    first = table[table["data"] == table["data"].iloc[0]]
    student = first[first["quantity"] == "student error"].set_index(["method", "k"])["simulated"]
    few, last = min(options.ks), max(options.ks)
    caption = (
        f"{first['data'].iloc[0]}, α = {options.alpha:g}, {options.replicates:,} students per point. Blending a student's answers "
        f"in makes the label far better (left), but a least-squares student smooths its labels anyway (right): with the weights "
        f"that are best for the label its error is {student['fresh, known', last]:.2f} of averaging's, with equal weights "
        f"{student['fresh, equal', last]:.2f}, the same as averaging all 2k responses. Weights estimated from k = {few} responses "
        f"do better ({student['fresh, estimated', few]:.2f}): by error they come out nearer to equal. A student of the "
        f"same draws adds nothing ({student['same draws', last]:.2f}). The published gain ({student['oracle', last]:.2f} at k = "
        f"{last}) comes from blending in the noise-free mean. A biased student (strongest feature missing, mean bias² "
        f"{first['bias_share'].iloc[0]:.3f} of σ_T²) costs {student['biased, ignored', few]:.1f} to "
        f"{student['biased, ignored', last]:.0f} times averaging's error, and {student['biased, counted', few]:.1f} to "
        f"{student['biased, counted', last]:.1f} times when its bias is counted in the weights."
    )
    said: Any = {"caption": caption, "answer": answer(table)}
    figures.publish(run, plot(table), table=table, **said, group="linear", place=30)


def answer(table: pd.DataFrame) -> Answer | None:
    """Errors relative to averaging, for each data set the mean over k."""

    def left(method: str, quantity: str = "student error") -> list[Number | None]:
        rows = table[(table["method"] == method) & (table["quantity"] == quantity)].groupby("data", sort=False)
        found = [(one["simulated"].mean(), np.sqrt((one["standard_error"] ** 2).sum()) / len(one)) for _, one in rows]
        return [measured.positive(*one) for one in found]

    label = [measured.changed(one, lambda v: 1.0 / v, ".0f") for one in left("fresh, known", "label error")]
    fresh = (left(method) for method in ("fresh, known", "fresh, equal"))
    student, equal = ([measured.changed(one, lambda v: 1.0 - v, ".0%") for one in some] for some in fresh)
    biased = {"ignored": left("biased, ignored"), "counted": left("biased, counted")}
    found = {"label": label, "student": student, "equal": equal, "oracle": left("oracle"), "same": left("same draws")}
    texts, numbers = measured.spans(found | biased)
    sides = {measured.side(one) for one in student}
    helps = "and" if sides == {"above"} else "not everywhere" if "above" in sides else "not"
    more = {bool(one and other and one.low > other.high) for one, other in zip(equal, student, strict=True)}
    rival = "less than" if more == {True} else "on some data less than" if True in more else "no less than"
    bias = [measured.side(numbers[f"{which}_least"], 1.0) == "above" for which in biased]
    hurts = ("may help", "hurts unless its bias is counted", "hurts, even when its bias is counted")[sum(bias)]
    sentence = (
        f"for the label, whose error falls {texts['label']} times, {helps} for the student distilled from it ({texts['student']}, "
        f"{rival} with equal weights: {{equal_most}}); the published gain comes from blending in the noise-free mean; a biased "
        f"source {hurts}"
    )
    return measured.stated(sentence, numbers)
