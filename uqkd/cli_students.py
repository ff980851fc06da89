"""The commands of language-model students: `uqkd distill …` and `uqkd measure …`. Heavy libraries load when a command runs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from uqkd.cli import _stoppable, app
from uqkd.errors import OptionError, ProvenanceError

_KEY = ("llm", "distill")


@app.command()
@_stoppable
def distill(
    bank: Annotated[str, typer.Option(help="responses drawn by uqkd sample")],
    student: Annotated[str, typer.Option(help="folder of a model, or its name on the hub")],
    out: Annotated[str, typer.Option(help="folder of the students")],
    students: Annotated[int, typer.Option(help="how many; each gets responses of its own")] = 4,
    weights: Annotated[str, typer.Option(help="single, multi, medoid, reranked or precision")] = "multi",
    k: Annotated[int | None, typer.Option("--k", help="responses to each prompt; default: all there are")] = None,
    steps: Annotated[int, typer.Option(help="optimiser steps, the same for all weights")] = 500,
    batch: Annotated[int, typer.Option(help="responses per step")] = 32,
    lr: Annotated[float, typer.Option(help="learning rate; falls to zero along a cosine")] = 1e-4,
    fresh: Annotated[bool, typer.Option("--fresh", help="use the architecture, not the parameters")] = False,
    lora: Annotated[int | None, typer.Option(help="rank of adapters on the frozen model")] = None,
    perturbation: Annotated[float, typer.Option(help="begin at θ + ε·|θ|·N(0, 1)")] = 0.0,
    bootstrap: Annotated[bool, typer.Option("--bootstrap", help="draw prompts with replacement")] = False,
    freeze: Annotated[list[str] | None, typer.Option(help="initialisation or order: the same for all")] = None,
    trainer: Annotated[str, typer.Option(help="stacked (all in one pass) or transformers")] = "stacked",
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    chat: Annotated[bool | None, typer.Option("--chat/--no-chat", help="default: if there is a template")] = None,
    seed_key: Annotated[str, typer.Option(help="another text gives independent students")] = "students",
    exclude_failed: Annotated[bool, typer.Option("--exclude-failed", help="go on without diverged ones")] = False,
) -> None:
    """Distil students from a bank; those that are there already are kept."""
    from uqkd.llm import Encoder, Lora, Recipe, Sources
    from uqkd.llm import distill as train
    from uqkd.llm.bank import Bank
    from uqkd.llm.revision import check_model, model_revision

    held = Bank(bank, create=False)
    prompts, drawn = held.prompts()
    per_student = drawn // students
    if per_student < (k or 1):
        raise OptionError(
            f"the bank {bank!r} has {drawn} responses to each prompt, {per_student} for each of {students} students; draw "
            f"{students * (k or 1)} (uqkd sample --k {k or 1} --students {students}), or ask for fewer."
        )
    responses = held.responses(prompts, students=students, k=k or per_student, per_student=per_student)
    encoder = Encoder.of(student, chat=chat)
    ended = next((one for one in responses.distinct if one.finished), None)  # one that was cut shows no end
    print(encoder.preflight(prompts, max_tokens=_longest(responses) + 1, example=ended), flush=True)
    options: dict[str, Any] = {
        "students": students, "weights": weights, "k": responses.shape[2], "per_student": per_student, "steps": steps,
        "batch": batch, "lr": lr, "fresh": fresh, "lora": lora, "perturbation": perturbation, "bootstrap": bootstrap,
        "freeze": sorted(freeze or []), "trainer": trainer, "seed_key": seed_key, "bank": held.fingerprint,
        "model": model_revision(check_model(student)),
    }  # fmt: skip
    about = {**options, "inputs": _digest(options)}
    if _there(Path(out), students, about):
        print(f"{out}: all {students} students are there already")
        return
    recipe = Recipe(
        steps=steps, batch=batch, optimiser="adamw", lr=lr, schedule="cosine", warmup=steps // 20, clip_norm=1.0
    )
    how: dict[str, Any] = {
        "encoder": encoder, "recipe": recipe, "fresh": fresh, "lora": None if lora is None else Lora(rank=lora),
        "perturbation": perturbation, "trainer": trainer, "device": device,
        "sources": Sources.independent(students, freeze=freeze or [], bootstrap=bootstrap),
    }  # fmt: skip
    key = (*_KEY, seed_key)
    targets = _weighed(responses, weights, student, how, key)
    print(f"distilling {students} students of {len(prompts)} prompts, k = {responses.shape[2]}, {weights}", flush=True)
    made = train(student, targets, key=key, exclude_failed=exclude_failed, **how)
    folders = made.save(out, about=about)
    mean = float(made.loss[made.kept].mean())
    print(f"{out}: {len(folders)} students saved, mean loss {mean:.4g}, trained {made.engine}")


def _weighed(responses: Any, weights: str, student: str, how: dict[str, Any], key: tuple[Any, ...]) -> Any:
    """Targets of a method, with the second source that it needs: an undistilled student, or cross-fitted ones."""
    from uqkd.llm import Students, cross_fitted, weigh

    if weights == "reranked":
        undistilled = Students.untrained(student, encoder=how["encoder"], fresh=how["fresh"], device=how["device"])
        sampling = _sampling(_longest(responses) + 1)
        second = undistilled.predict(
            responses.prompts, responses.shape[2], sampling=sampling, key=(*key, "undistilled")
        )
        return weigh(responses, weights, second=second)
    if weights == "precision":
        second, fold = cross_fitted(
            student, responses, answers=responses.shape[2], sampling=_sampling(_longest(responses) + 1), key=key, **how
        )
        return weigh(responses, weights, second=second, fold=fold)
    return weigh(responses, weights)


def _sampling(max_tokens: int) -> Any:
    from uqkd.llm import Sampling

    return Sampling(max_tokens=max_tokens)


def _longest(responses: Any) -> int:
    return max(len(response.token_ids) for response in responses.distinct)


def _digest(options: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(options, sort_keys=True).encode(), digest_size=16).hexdigest()


def _there(root: Path, students: int, about: dict[str, Any]) -> bool:
    """Whether all students of these inputs are saved; students of other inputs must not be mixed with them."""
    from uqkd.store import verified_folder

    found = 0
    for folder in sorted(root.glob("student-*")):
        if verified_folder(root, folder.name) is None:
            continue
        known = json.loads((folder / "distilled.json").read_text())
        if known.get("inputs") != about["inputs"]:
            differing = [name for name in about if name != "inputs" and known.get(name) != about[name]]
            what = "; ".join(f"{name}: {known.get(name)!r} there, {about[name]!r} now" for name in differing)
            raise ProvenanceError(f"{root} holds students of other inputs ({what}); use another folder.")
        found += 1
    return found >= students


@app.command()
@_stoppable
def measure(
    students: Annotated[str, typer.Option(help="folder of uqkd distill")],
    prompts: Annotated[str, typer.Option(help=".jsonl, .csv or .parquet with 'prompt' (id, answers); or a data set")],
    out: Annotated[str, typer.Option(help="table to write: .csv; the prompts go to NAME.prompts.csv")],
    draws: Annotated[int, typer.Option(help="responses to each prompt by each student")] = 8,
    teacher_bank: Annotated[
        str | None, typer.Option(help="a teacher's responses that no student was trained on")
    ] = None,
    backend: Annotated[str, typer.Option(help="transformers or vllm")] = "transformers",
    temperature: Annotated[float, typer.Option(help="of the students' answers")] = 1.0,
    max_tokens: Annotated[int, typer.Option(help="greatest length of a response")] = 16,
    clusters: Annotated[str, typer.Option(help="exact, normalised or nli")] = "normalised",
    nli: Annotated[str | None, typer.Option(help="model of clusters nli")] = None,
    embedding: Annotated[str, typer.Option(help="builtin, or a sentence-transformers model")] = "builtin",
    max_flagged: Annotated[float, typer.Option(help="greatest share of flagged responses")] = 1.0,
) -> None:
    """Draw answers of every student, kept beside the table, and measure what they still do not know."""
    from uqkd.llm import Sampling, open_teacher, read_prompts, respond
    from uqkd.llm import measure as estimate
    from uqkd.llm.bank import Bank
    from uqkd.llm.responses import Responses

    folders = sorted(Path(students).glob("student-*"), key=lambda folder: int(folder.name.split("-")[1]))
    if len(folders) < 2:
        raise OptionError(f"measure needs two students at least; {students!r} has {len(folders)}. Distil more.")
    if not out.endswith(".csv"):
        raise OptionError(f"--out got {out!r}; give a file that ends in .csv.")
    wanted, sampling = read_prompts(prompts), Sampling(temperature=temperature, max_tokens=max_tokens)
    answers = []
    for folder in folders:
        bank = Bank(f"{out.removesuffix('.csv')}.draws/{folder.name}")
        if bank.held(wanted, draws).missing.size:
            opened = open_teacher(folder, backend=backend)
            try:
                print(f"{folder.name}: drawing {draws} answers to each of {len(wanted)} prompts", flush=True)
                respond(
                    opened, wanted, draws, bank=bank, sampling=sampling, key=("llm", "measure", folder.name),
                    max_flagged=max_flagged,
                )  # fmt: skip
            finally:
                opened.close()
        own = bank.responses(wanted, students=1, k=draws, per_student=draws)
        answers += [own.distinct[i] for i in own.index.ravel()]
    ours = Responses.gather(wanted, answers, (len(folders), len(wanted), draws))
    teacher = None
    if teacher_bank is not None:
        drawn = Bank(teacher_bank, create=False)
        every = drawn.prompts()[1]
        teacher = drawn.responses(wanted, students=1, k=every, per_student=every)
    found = estimate(ours, teacher, embedding=embedding, clusters=clusters, model=nli)
    _write(out, found)
    for name, value, error in zip(
        *(found.quantities[c] for c in ("quantity", "estimate", "standard_error")), strict=True
    ):
        print(f"{name:30} {value:10.4f} ± {error:.4f}")
    print(f"{out}: {len(folders)} students, {len(wanted)} prompts, {draws} answers each")


def _write(out: str, found: Any) -> None:
    """Two CSV files; a text that a spreadsheet would take for a formula is quoted with an apostrophe."""
    import pandas as pd

    from uqkd.store import Store

    path = Path(out).absolute()
    store = Store(path.parent)
    for name, columns in ((path.name, found.quantities), (f"{path.stem}.prompts.csv", found.prompts)):
        table = pd.DataFrame(columns)
        for column in table.columns:
            table[column] = [
                f"'{v}" if isinstance(v, str) and v[:1] in ("=", "+", "-", "@", "\t", "\r") else v
                for v in table[column]
            ]
        store.write_bytes(name, table.to_csv(index=False).encode("utf-8", "surrogatepass"))
