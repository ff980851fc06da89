"""`uqkd distill …`: students of a bank. Heavy libraries load when the command runs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from uqkd.cli.app import app, stoppable
from uqkd.errors import OptionError, ProvenanceError

_KEY = ("llm", "distill")


@app.command()
@stoppable
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
    encoder = Encoder.of(student, chat=chat).on_day((held.identity or {}).get("template_day"))
    ended = next((one for one in responses.distinct if one.finished), None)  # one that was cut shows no end
    print(encoder.preflight(prompts, max_tokens=_longest(responses, encoder) + 1, example=ended), flush=True)
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

    sampling = _sampling(_longest(responses, how["encoder"]) + 1)
    if weights == "reranked":
        undistilled = Students.untrained(student, encoder=how["encoder"], fresh=how["fresh"], device=how["device"])
        second = undistilled.predict(
            responses.prompts, responses.shape[2], sampling=sampling, key=(*key, "undistilled")
        )
        return weigh(responses, weights, second=second)
    if weights == "precision":
        second, fold = cross_fitted(student, responses, answers=responses.shape[2], sampling=sampling, key=key, **how)
        return weigh(responses, weights, second=second, fold=fold)
    return weigh(responses, weights)


def _sampling(max_tokens: int) -> Any:
    from uqkd.llm import Sampling

    return Sampling(max_tokens=max_tokens)


def _longest(responses: Any, encoder: Any) -> int:
    """Tokens of the longest response; of one that is text alone those of the student."""
    own = (encoder.response(one.text) if one.token_ids is None else one for one in responses.distinct)
    return max(len(one.token_ids) for one in own)


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
