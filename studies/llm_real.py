"""Which claims about distilled language models hold on a real teacher, real questions and real students?

A chat model is asked for capitals, with two worked examples before each question, and each student gets responses of its own.
Students are the same model under adapters, asked without the examples, and trained on weighted responses: the first
("single"), all ("multi"), the one nearest the mean embedding ("medoid", the published averaging of texts), the one nearest
an inverse-variance weighted centre of the teacher's and an undistilled student's ("reranked", the published variance
weighting), or the teacher's with those of cross-fitted students ("precision"). All then answer, trained and held-out questions
alike; a claim holds or does not where the intervals of all its comparisons, students and prompts being samples, say so together.
The preset quick draws the figure from the answers of an earlier run, which lie in docs/llm_real; `make real` asks the models.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
import pydantic
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from uqkd.errors import DataError
from uqkd.estimators import judge_claim
from uqkd.llm.measuring.tables.coded import numbered
from uqkd.llm.measuring.tables.side_by_side import Compared, summary, values_of
from uqkd.report import captions, figures
from uqkd.run import AtLeastTwo, PositiveFloat, PositiveInt, Run
from uqkd.run import Options as Base

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
REDUCED = {
    "unsupported": "averaging and weighting reduce hallucination",
    "repeated": "averaging and weighting reduce systematic noise",
}
SUPPRESSED = "single-response distillation suppresses intra-student variance"
SOURCES = "Questions: capitals of countries (world-countries, ODbL) and of U.S. states (bsdgames, BSD)."
PARTS = ("trained", "held out")
METHODS = ("teacher", "undistilled", "single", "multi", "medoid", "reranked", "precision")
KEY = ("llm real",)
Array = NDArray[np.float64]


class Options(Base):
    recorded: str | None = None  # answers of an earlier run, to draw the figure from: nothing is asked or trained
    folder: str = ".real/llm_real"  # local: the bank and the students stay there
    teacher: str = MODEL
    student: str = MODEL
    train: str = f"{QUESTIONS}/train.jsonl"
    held_out: str = f"{QUESTIONS}/held_out.jsonl"
    examples: tuple[tuple[str, str], ...] = EXAMPLES  # turns before each question to the teacher
    form: str = "{}"  # what is asked of a question; models without a chat template need a cue
    students: Annotated[int, pydantic.Field(ge=3)] = 5
    ks: tuple[PositiveInt, ...] = (4, 8)  # of multi
    k: AtLeastTwo = 8  # of the methods that choose or weigh
    reference: AtLeastTwo = 16  # responses that no student sees: the teacher's distribution
    costed: PositiveInt = 4  # of these, those whose loss is computed under every student
    draws: AtLeastTwo = 8  # answers of each student to each question
    temperature: PositiveFloat = 1.0  # of teacher and students
    max_tokens: PositiveInt = 20
    lora: PositiveInt | None = 8  # rank of the adapters; none: all parameters are trained
    layers: PositiveInt | None = 6  # blocks, from the last, that have them; none: all
    steps: PositiveInt | None = 80  # the same for all methods
    epochs: PositiveFloat | None = None  # instead of steps
    batch: PositiveInt = 8
    lr: PositiveFloat = 1e-3
    schedule: str = "cosine"
    trainer: str = "auto"
    backend: str = "vllm"

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Options:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"give either steps or epochs; got steps={self.steps} and epochs={self.epochs}")
        if self.costed > self.reference:
            raise ValueError(f"costed must be at most reference={self.reference}; got {self.costed}")
        if self.k not in self.ks:
            raise ValueError(
                f"methods are compared with multi of as many responses: ks must hold k={self.k}; got {self.ks}"
            )
        return self


PRESETS = {
    "quick": Options(recorded=RECORDED),
    "real": Options(),
    # The published setting.
    "paper": Options(
        teacher="openai-community/gpt2", student="distilbert/distilgpt2", examples=(), form="Question: {}\nAnswer:",
        lora=None, layers=None, steps=None, epochs=3, batch=10, lr=5e-5, schedule="linear", trainer="sequential",
    ),
    "full": Options(students=16, ks=(2, 4, 8, 16, 32), k=16, reference=64, costed=16, draws=16, steps=400),
}  # fmt: skip


def cells(options: Options, fingerprint: str = "") -> list[dict]:
    """One for each method, and one each for the teacher's unseen responses and the undistilled student."""
    if options.recorded is not None:
        return [{"method": "recorded", "data": options.recorded, "data_fingerprint": fingerprint}]
    every = options.model_dump(mode="json", exclude={"recorded", "ks", "k", "folder"})
    shared = {**every, "data": options.folder, "data_fingerprint": fingerprint, "per_student": most(options)}
    work = [("precision", options.k), ("reranked", options.k), ("medoid", options.k)]  # the longest first
    work += [*(("multi", k) for k in options.ks), ("single", 1), ("undistilled", 0), ("teacher", 0)]
    return [{**shared, "method": method, "k": k} for method, k in work]


def most(options: Options) -> int:
    """Responses set aside for each student."""
    return max(*options.ks, options.k)


def measure(cell: dict) -> pd.DataFrame:
    """One row for each student and question: what it answered, and its loss on responses that no student saw."""
    if cell["method"] == "recorded":
        return pd.read_csv(cell["data"], dtype={"answers": str, "supported": str})
    from uqkd.llm.measuring.experiment import name_of_cell

    experiment, about = asked(cell), {"method": cell["method"], "k": cell["k"]}
    if cell["method"] == "teacher":
        return experiment.of_teacher().assign(**about)
    models = [cell["student"]] if cell["method"] == "undistilled" else distilled(cell, experiment)
    how = {name: cell[name] for name in ("draws", "costed", "backend")}
    names = {"name": f"{cell['method']}-{cell['k']}", "answers": name_of_cell(cell)}
    return experiment.of_models(models, **names, **how).assign(**about)


def asked(cell: dict) -> Experiment:
    """The questions of both parts as the teacher is asked them and as students are, and who answers how often."""
    from uqkd.llm import Prompts, Sampling, read_prompts
    from uqkd.llm.measuring.experiment import Experiment

    to_teacher, to_students = {}, {}
    for part, file in zip(PARTS, (cell["train"], cell["held_out"]), strict=True):
        read = read_prompts(file)
        texts = tuple(cell["form"].format(text) for text in read.texts)
        chats = tuple((*map(tuple, cell["examples"]), ("user", text)) for text in texts) if cell["examples"] else ()
        to_teacher[part] = Prompts(read.ids, texts, read.answers, chats)
        to_students[part] = Prompts(read.ids, texts, read.answers)
    sampling = Sampling(temperature=cell["temperature"], max_tokens=cell["max_tokens"])
    size = {name: cell[name] for name in ("students", "per_student", "reference")}
    return Experiment(Path(cell["data"]), to_teacher, to_students, **size, sampling=sampling)


def distilled(cell: dict, experiment: Experiment) -> list[Path]:
    """Folders of the students of a method."""
    from uqkd.llm import Encoder, Lora, Recipe, SeedDesign, distill
    from uqkd.llm.measuring.experiment import name_of_cell
    from uqkd.llm.students.second_source import targets_of
    from uqkd.llm.students.training.keeping import Keep
    from uqkd.llm.targets import responses_kept

    drawn = experiment.seen(cell["k"])
    rows = len(drawn.prompts) * responses_kept(cell["method"], cell["k"])
    steps = cell["steps"] or int(np.ceil(cell["epochs"] * rows / cell["batch"]))
    recipe = Recipe(
        steps=steps, batch=cell["batch"], optimiser="adamw", lr=cell["lr"], schedule=cell["schedule"],
        warmup=steps // 20, clip_norm=1.0,
    )  # fmt: skip
    how = {
        "encoder": Encoder.of(cell["student"]), "recipe": recipe, "seed_design": SeedDesign.independent(cell["students"]),
        "lora": None if cell["lora"] is None else Lora(rank=cell["lora"], layers=cell["layers"]), "trainer": cell["trainer"],
    }  # fmt: skip
    name, key = name_of_cell(cell), (*KEY, cell["method"], cell["k"])
    how["keep"] = keep = Keep(experiment.folder / "students" / name, {"inputs": name})
    targets = targets_of(cell["method"], drawn, cell["student"], sampling=experiment.sampling, key=key, **how)
    return [keep.root / f"student-{s}" for s in distill(cell["student"], targets, key=key, **how).kept]


def beside_undistilled(values: Compared) -> Compared:
    """With what every student's loss on unseen responses is less that of the undistilled one, question by question."""
    before = {part: own["nats"] for (part, method, _), own in values.items() if method == "undistilled"}
    return {
        (part, method, k): {**own, "nats_more": own["nats"] - before[part]} if method != "undistilled" else own
        for (part, method, k), own in values.items()
    }


def claims(values: Compared) -> pd.DataFrame:
    """The published claims, each a set of differences that are judged together, on trained and on held-out questions."""
    k = next(k for _, method, k in values if method == "medoid")
    rest = [("multi", k), ("medoid", k), ("reranked", k), ("precision", k)]
    rows = []
    for part in PARTS:
        single, teacher = values[part, "single", 1], values[part, "teacher", 0]
        for quantity, claim in REDUCED.items():
            less = {f"{name_of(*one)} less single": values[part, *one][quantity] - single[quantity] for one in rest}
            rows += judged(less, part=part, claim=claim, quantity=quantity)
        less = {"single less the teacher": single["intra"] - teacher["intra"]}
        less[f"single less {name_of('multi', k)}"] = single["intra"] - values[part, "multi", k]["intra"]
        rows += judged(less, part=part, claim=SUPPRESSED, quantity="intra")
    return pd.DataFrame(rows)


def judged(differences: dict[str, Array], **about: str) -> list[dict]:
    """One row for each comparison of a claim that says "lower", with the verdict on it and on the whole."""
    found = judge_claim(differences, says="lower")
    rows = []
    for name, own in found.parts.items():
        ends = {"estimate": own.estimate, "low": own.low, "high": own.high}
        verdicts = {"verdict": found.verdicts[name], "claim_verdict": found.verdict}
        rows.append({**about, "comparison": name, **ends, **verdicts})
    return rows


def name_of(method: str, k: int) -> str:
    """As figures and tables call a method."""
    return method if method in ("teacher", "undistilled", "single") else f"{method} {k}"


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
    """Points with intervals, and what the teacher has as a line."""
    teacher, own = (rows[chosen] for chosen in (rows["method"] == "teacher", rows["method"] != "teacher"))
    for estimate in teacher["estimate"]:
        figures.theory(axis, [-0.5, len(names) - 0.5], [estimate] * 2, color=shown["color"], linestyle="--")
    x = [names.index(name_of(*one)) + shift for one in zip(own["method"], own["k"], strict=True)]
    figures.intervals(axis, x, own["estimate"], yerr=np.abs(figures.limits(own)), elinewidth=0.9, **shown)


def main(options: Options, run: Run) -> None:
    fingerprint = draw(options) if options.recorded is None else of_file(options.recorded)
    answers = run.cells(cells(options, fingerprint), measure)
    if options.recorded is None:
        place = answers["method"].map(METHODS.index)
        answers = numbered(answers.iloc[np.lexsort([answers["k"], place])].reset_index(drop=True))
    values = beside_undistilled(values_of(answers))
    table, decided = summary(values), claims(values)
    said, more = caption(table, decided, options), {"claims": decided, "answers": answers}
    figures.publish(run, plot(table), table=table, caption=said, more=more, place=240)


def of_file(path: str) -> str:
    """Fingerprint of a file."""
    try:
        return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
    except OSError as problem:
        raise DataError(
            f"recorded answers {path!r} cannot be read ({problem.strerror}); run where that file is."
        ) from None


def draw(options: Options) -> str:
    """Draw what the bank lacks, audit it, and return the fingerprint of models, questions and responses."""
    from uqkd.llm import open_teacher
    from uqkd.llm.models.revision import check_model, model_revision

    experiment = asked({**options.model_dump(), "data": options.folder, "per_student": most(options)})
    drawn = experiment.fill(
        lambda: open_teacher(options.teacher, backend=options.backend, dtype="float32"), key=(*KEY, "teacher")
    )
    models = [model_revision(check_model(model)) for model in (options.teacher, options.student)]
    return hashlib.blake2b("".join([*models, drawn]).encode(), digest_size=16).hexdigest()


def caption(table: pd.DataFrame, decided: pd.DataFrame, options: Options) -> str:
    """What is seen, from the same tables."""
    rows = table.set_index(["part", "method", "k", "quantity"])
    multi = table[table["method"] == "multi"]
    students, most_k = int(multi["students"].iloc[0]), int(multi["k"].max())
    counts = ", ".join(f"{table[table['part'] == part]['prompts'].iloc[0]} {part}" for part in PARTS)

    def said(*where: Any, sign: str = "") -> str:
        return captions.limits(rows.loc[where], f"{sign}.2f")

    source = "" if options.recorded is None else f"Drawn from the recorded answers in {options.recorded}: "
    text = f"{source}{students} students per method, questions: {counts}. "
    text += f"Points with {captions.INTERVALS} over students and questions; dashed lines: the teacher. "
    for part in PARTS:
        text += (
            f"On {part} questions students of one response keep {said(part, 'single', 1, 'intra')} of Gini variance within, "
            f"those of {most_k} {said(part, 'multi', most_k, 'intra')}, the teacher has {said(part, 'teacher', 0, 'intra')}; "
            f"κ = {said(part, 'single', 1, 'kappa')} and {said(part, 'multi', most_k, 'kappa')}; "
            f"their loss on unseen responses is that of the undistilled student "
            f"{said(part, 'single', 1, 'nats_more', sign='+')} and {said(part, 'multi', most_k, 'nats_more', sign='+')} nats a "
            f"token. "
        )
    groups: dict[Any, pd.DataFrame] = dict(iter(decided.groupby(["part", "claim"], sort=False)))
    for (part, claim), own in groups.items():
        parts = "; ".join(f"{row['comparison']} {captions.limits(row)}" for _, row in own.iterrows())
        text += f'"{claim}", {part}: {own["claim_verdict"].iloc[0]} ({parts}). '
    return text + SOURCES
