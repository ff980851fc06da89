"""Which claims about distilled language models hold on a real teacher, real questions and real students?

A chat model is asked for capitals, with two worked examples before each question, and each student gets responses of its own.
Students are the same model under adapters, asked without the examples, and trained on the first response ("single"), on all
("multi"), on the one nearest the mean embedding ("medoid"), on the one nearest an inverse-variance weighted centre of the
teacher's and an undistilled student's ("reranked"), or on the teacher's with those of cross-fitted students ("precision").
Preset quick draws the answers kept in docs/llm_real; `make real` asks the models.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pydantic
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from uqkd.llm.measuring.tables.coded import numbered
from uqkd.llm.measuring.tables.side_by_side import Compared, beside_undistilled, judged, name_of, summary, values_of
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, elsewhere, measured
from uqkd.run import AtLeastTwo, PositiveInt, Run, here_or_bundled
from uqkd.testbeds.cells import file_fingerprint
from uqkd.testbeds.options import ModelOptions

if TYPE_CHECKING:
    from uqkd.llm.measuring.experiment import Experiment

RECORDED = "docs/llm_real/answers.csv"
MODEL = ".real/smollm2-135m-instruct"
QUESTIONS = "studies/questions"
EXAMPLES = (
    ("user", "What is the capital of Italy?"),
    ("assistant", "The capital of Italy is Rome."),
    ("user", "What is the capital of the U.S. state of Massachusetts?"),
    ("assistant", "The capital of Massachusetts is Boston."),
)
REDUCED = {"unsupported": "hallucination", "repeated": "systematic noise"}  # by averaging and weighting
SUPPRESSED = "single-response distillation suppresses intra-student variance"
SOURCES = "Questions: capitals of countries (world-countries, ODbL) and of U.S. states (bsdgames, BSD)."
PARTS = ("trained", "held out")
STATED = ("intra", "inter", "total", "kappa", "accuracy", "unsupported", "repeated", "nats_more")
METHODS = ("teacher", "undistilled", "single", "multi", "medoid", "reranked", "precision")
KEY = ("llm real",)
Array = NDArray[np.float64]


class Options(ModelOptions):
    recorded: str | None = None  # answers of an earlier run, to draw the figure from: nothing is asked or trained
    folder: str = ".real/llm_real"  # local: the bank and the students stay there
    teacher: str = MODEL
    student: str = MODEL
    train: str = f"{QUESTIONS}/train.jsonl"
    held_out: str = f"{QUESTIONS}/held_out.jsonl"
    examples: tuple[tuple[str, str], ...] = EXAMPLES  # turns before each question to the teacher
    form: str = "{}"  # what is asked of a question; models without a chat template need a cue
    ks: tuple[PositiveInt, ...] = (4, 8)  # of multi
    k: AtLeastTwo = 8  # of the methods that choose or weigh
    reference: AtLeastTwo = 16  # responses that no student sees: the teacher's distribution
    costed: PositiveInt = 4  # of these, those whose loss is computed under every student
    draws: AtLeastTwo = 8  # answers of each student to each question

    @property
    def per_student(self) -> int:  # responses set aside for each student
        return max(*self.ks, self.k)

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Options:
        if self.costed > self.reference:
            raise ValueError(f"costed must be at most reference={self.reference}; got {self.costed}")
        if self.k not in self.ks:
            raise ValueError(f"methods are compared with multi of as many: ks must hold k={self.k}; got {self.ks}")
        return self


PRESETS = {
    "quick": Options(recorded=RECORDED),
    "real": Options(),
    "paper": Options(  # the published setting
        teacher="openai-community/gpt2", student="distilbert/distilgpt2", examples=(), form="Question: {}\nAnswer:",
        lora=None, layers=None, steps=None, epochs=3, batch=10, lr=5e-5, schedule="linear", engine="sequential",
    ),
    "full": Options(students=16, ks=(2, 4, 8, 16, 32), k=16, reference=64, costed=16, draws=16, steps=400),
}  # fmt: skip


def cells(options: Options, fingerprint: str = "") -> list[dict]:
    """One for each method, and one each for the teacher's unseen responses and the undistilled student."""
    if options.recorded is not None:
        return [{"method": "recorded", "data": options.recorded, "data_fingerprint": fingerprint}]
    every = options.model_dump(mode="json", exclude={"recorded", "ks", "k", "folder"})
    shared = {**every, "data": options.folder, "data_fingerprint": fingerprint, "per_student": options.per_student}
    work = [("precision", options.k), ("reranked", options.k), ("medoid", options.k)]  # the longest first
    work += [*(("multi", k) for k in options.ks), ("single", 1), ("undistilled", 0), ("teacher", 0)]
    return [{**shared, "method": method, "k": k} for method, k in work]


def measure(cell: dict) -> pd.DataFrame:
    """One row for each student and question: what it answered, and its loss on responses that no student saw."""
    if cell["method"] == "recorded":
        return pd.read_csv(here_or_bundled(cell["data"]), dtype={"answers": str, "supported": str})
    from uqkd.llm.measuring.experiment import name_of_cell

    experiment, name, about = asked(cell), name_of_cell(cell), {"method": cell["method"], "k": cell["k"]}
    if cell["method"] == "teacher":
        return experiment.of_teacher().assign(**about)
    models = [cell["student"]] if cell["method"] == "undistilled" else distilled(cell, experiment, name)
    how = {option: cell[option] for option in ("draws", "costed", "backend")} | {"answers": name}
    return experiment.of_models(models, name=f"{cell['method']}-{cell['k']}", **how).assign(**about)


def asked(cell: dict) -> Experiment:
    """The questions of both parts, as the teacher is asked them and as students are, and who answers how often."""
    from uqkd.llm import Sampling
    from uqkd.llm.measuring.experiment import Experiment

    files = {"trained": here_or_bundled(cell["train"]), "held out": here_or_bundled(cell["held_out"])}
    sampling = Sampling(temperature=cell["temperature"], max_tokens=cell["max_tokens"])
    how = {name: cell[name] for name in ("examples", "form", "students", "per_student", "reference")}
    return Experiment.read(cell["data"], files, **how, sampling=sampling)


def distilled(cell: dict, experiment: Experiment, name: str) -> list[Path]:
    """Folders of the students of a method, each trained on weighted responses of its own."""
    from uqkd.llm import Encoder, Lora, Recipe, SeedDesign
    from uqkd.llm.targets import responses_kept

    method, k = cell["method"], cell["k"]
    rows = len(experiment.to_students["trained"]) * responses_kept(method, k)
    steps = cell["steps"] or int(np.ceil(cell["epochs"] * rows / cell["batch"]))
    shown = {name: cell[name] for name in ("batch", "lr", "schedule")}
    recipe = Recipe(steps=steps, optimiser="adamw", warmup=steps // 20, clip_norm=1.0, **shown)
    lora = None if cell["lora"] is None else Lora(rank=cell["lora"], layers=cell["layers"])
    return experiment.distil(
        method, k, student=cell["student"], name=name, key=(*KEY, method, k), encoder=Encoder.of(cell["student"]),
        recipe=recipe, seed_design=SeedDesign.independent(cell["students"]), lora=lora, engine=cell["engine"],
    )  # fmt: skip


def claims(values: Compared) -> pd.DataFrame:
    """The published claims, each a set of differences that are judged together, on trained and on held-out questions."""
    k = next(k for _, method, k in values if method == "medoid")
    rest = [("multi", k), ("medoid", k), ("reranked", k), ("precision", k)]
    rows = []
    for part in PARTS:
        single, teacher, multi = (values[part, *one] for one in (("single", 1), ("teacher", 0), ("multi", k)))
        for quantity, what in REDUCED.items():
            less = {f"{name_of(*one)} less single": values[part, *one][quantity] - single[quantity] for one in rest}
            rows.append(judged(less, part=part, claim=f"averaging and weighting reduce {what}", quantity=quantity))
        less = {"single less the teacher": single["intra"] - teacher["intra"]}
        less[f"single less {name_of('multi', k)}"] = single["intra"] - multi["intra"]
        rows.append(judged(less, part=part, claim=SUPPRESSED, quantity="intra"))
    return pd.concat(rows, ignore_index=True)


PANELS = (
    ({"intra": "intra", "inter": "inter", "total": "total"}, "Gini variance"),
    ({"unsupported": "unsupported", "repeated": "the teacher's too"}, "share of answers"),
    ({"nats_more": "less the undistilled student"}, "nats a token, unseen"),
)


def plot(table: pd.DataFrame) -> Figure:
    figure, axes = figures.panels(2, 3, height=2.5)
    names = list(dict.fromkeys(map(name_of, table["method"], table["k"])))[1:]
    for line, part in zip(axes, PARTS, strict=True):
        for axis, (quantities, unit) in zip(line, PANELS, strict=True):
            rows = table[table["part"] == part]
            for i, ((quantity, label), colour) in enumerate(zip(quantities.items(), figures.colours(3), strict=False)):
                own = rows[rows["quantity"] == quantity]
                _points(axis, own, names, shift=0.22 * (i - (len(quantities) - 1) / 2), color=colour, label=label)
            axis.set_title(f"{part}: {unit}")
            axis.set_xticks(range(len(names)), labels=names, rotation=50, ha="right", rotation_mode="anchor")
            low, high = axis.get_ylim()
            axis.set_ylim(low, high + 0.15 * (high - low))  # room for the legend
            axis.legend(fontsize=6.5, loc="upper left", ncols=len(quantities), columnspacing=1.0, handletextpad=0.3)
    return figure


def _points(axis: Axes, rows: pd.DataFrame, names: list[str], *, shift: float, **shown: Any) -> None:
    own = rows[rows["method"] != "teacher"]
    for estimate in rows.loc[rows["method"] == "teacher", "estimate"]:
        figures.theory(axis, [-0.5, len(names) - 0.5], [estimate] * 2, color=shown["color"], linestyle="--")
    x = [names.index(name_of(*one)) + shift for one in zip(own["method"], own["k"], strict=True)]
    figures.intervals(axis, x, own["estimate"], yerr=np.abs(figures.limits(own)), elinewidth=0.9, **shown)


def main(options: Options, run: Run) -> None:
    fingerprint = draw(options) if options.recorded is None else file_fingerprint(here_or_bundled(options.recorded))
    answers = run.cells(cells(options, fingerprint), measure)
    if options.recorded is None:
        order = np.lexsort([answers["k"], answers["method"].map(METHODS.index)])
        answers = numbered(answers.iloc[order].reset_index(drop=True))
    values = beside_undistilled(values_of(answers))
    table, decided = summary(values), claims(values)
    said: Any = {"caption": caption(table, decided, options), "answer": answer(table, decided), "group": "llm"}
    figures.publish(run, plot(table), table=table, more={"claims": decided, "answers": answers}, place=240, **said)


def draw(options: Options) -> str:
    """Draw what the bank lacks, audit it, and return the fingerprint of models, questions and responses."""
    from uqkd.llm import open_teacher

    experiment = asked({**options.model_dump(), "data": options.folder, "per_student": options.per_student})
    how: dict[str, Any] = {"backend": options.backend, "dtype": "float32"}
    experiment.fill(lambda: open_teacher(options.teacher, **how), key=(*KEY, "teacher"))
    return experiment.fingerprint(options.teacher, options.student)


def answer(table: pd.DataFrame, decided: pd.DataFrame) -> Answer | None:
    """What becomes of the published claims, in words that the limits of their comparisons choose."""
    about = table[table["k"].isin({0, 1, table["k"].max()}) & table["quantity"].isin(STATED)]
    numbers = elsewhere.counts(k=table["k"].max()) | elsewhere.named(about, ["part", "method", "quantity"])
    less, says = decided["comparison"].str.replace(r" \d+|the ", "", regex=True), {}
    for of, rows in decided.assign(less=less).groupby(["part", "quantity"]):
        numbers |= (own := elsewhere.named(rows, ["part", "quantity", "less"], "+.2f"))
        sides = {measured.side(number) for number in own.values()}
        says[of] = "holds" if sides == {"below"} else "does not hold" if "above" in sides else "is not decided"
    sentence = (
        f"**that one response suppresses intra-student variance {says['trained', 'intra']}** on questions trained on "
        "({trained_single_intra}, the teacher {trained_teacher_intra}; κ = {trained_single_kappa}), on held-out ones it "
        f"{says['held out', 'intra']}; **that averaging and weighting reduce systematic noise {says['trained', 'repeated']}** "
        f"(medoid {{trained_repeated_medoid_less_single}}), hallucination {says['trained', 'unsupported']}; held-out loss changes "
        "by {held_out_multi_nats_more} nats a token with all {k} responses, by {held_out_single_nats_more} with one"
    )
    return measured.stated(sentence, numbers)


def caption(table: pd.DataFrame, decided: pd.DataFrame, options: Options) -> str:
    source = "" if options.recorded is None else f"Drawn from the recorded answers in {options.recorded}: "
    counts = ", ".join(f"{table[table['part'] == part]['prompts'].iloc[0]} {part}" for part in PARTS)
    text = f"{source}{table['students'].max()} students per method, questions: {counts}. "
    for (said_of, claim), own in decided.groupby(["part", "claim"], sort=False):
        parts = "; ".join(f"{row['comparison']} {captions.limits(row)}{row['needed']}" for _, row in own.iterrows())
        text += f'"{claim}", {said_of}: {own["claim_verdict"].iloc[0]} ({parts}). '
    return text + SOURCES
