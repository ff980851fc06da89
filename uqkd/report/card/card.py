"""One student's card: metadata as hubs read them, and what people read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from uqkd import __version__
from uqkd.estimators import percent
from uqkd.report.card.facts import Facts
from uqkd.report.card.quantities import CORE, asked, lines, not_measured

METHODS = {
    "single": "the first of them",
    "multi": "all of them, 1/k each",
    "medoid": "the one nearest their mean embedding, which sharpens (T5)",
    "reranked": "the one nearest the mean of teacher and undistilled student",
    "precision": "all of them and those of a cross-fitted student, weighted by their errors (T6)",
}
_PLAIN = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}  # sampling that changes nothing
_TAGS = ("uqkd", "knowledge-distillation", "uncertainty-quantification")


@dataclass(frozen=True)
class Card:
    """A student's card; made by `card_of`.

    Attributes
    ----------
    metadata : dict
        The YAML of the README's head.
    title : str
        Of a README that is begun.
    body : str
        Markdown between the card's marks.
    """

    metadata: dict[str, Any]
    title: str
    body: str


def card_of(facts: Facts, folder: str) -> Card:
    """The card of one student.

    Parameters
    ----------
    facts : Facts
    folder : str
        The student's: one of `facts.folders`.
    """
    trained, bank = facts.trained, facts.bank
    sets = [{"asked": asked(one), "lines": lines(one), "about": one} for one in facts.measured]
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("uqkd", "report/card"), autoescape=False, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False,
    )  # fmt: skip
    pages.filters |= {"code": code, "text": plain}
    body = pages.get_template("card.md.jinja").render(
        facts=facts, trained=trained, bank=bank, folder=folder, sets=sets, missing=not_measured(facts), percent=percent(),
        teacher=teacher_of(bank), sampling=sampling_of(bank.get("identity") or trained.get("sampling") or {}),
        learnt=METHODS.get(str(trained.get("weights")), "by a method of its own"), training=training_of(trained),
        loss=facts.losses.get(folder), base=base_of(trained), commands=commands(facts), version=__version__,
    )  # fmt: skip
    base = base_of(trained)
    title = f"{folder}, distilled{f' from {base}' if base else ''}"
    return Card(_metadata(facts, folder, base), plain(title), re.sub(r"\n{3,}", "\n\n", body))


def base_of(trained: Mapping[str, Any]) -> str | None:
    """The model that students were before, by the name that a hub would know; None where they began with new parameters."""
    given = trained.get("base")
    if given is None or trained.get("fresh"):
        return None
    return Path(str(given)).expanduser().resolve().name if Path(str(given)).expanduser().is_dir() else str(given)


def _metadata(facts: Facts, folder: str, base: str | None) -> dict[str, Any]:
    trained, bank = facts.trained, facts.bank
    adapters = trained.get("lora") is not None
    own = {
        "version": __version__,
        "student": int(folder.rsplit("-", 1)[-1]),
        "students": len(facts.folders),
        "diverged_or_missing": facts.lost,
        "weights": trained.get("weights"),
        "k": trained.get("k"),
        "bank": bank.get("fingerprint"),
        "bank_prompts": bank.get("prompts"),
        "measured": [_set(one) for one in facts.measured],
    }
    return {
        **({"base_model": base} if base else {}),
        "library_name": "peft" if adapters else "transformers",
        "pipeline_tag": "text-generation",
        "tags": [*_TAGS, *(["lora"] if adapters else [])],
        **({"teacher": bank["teacher"]} if bank.get("teacher") else {}),
        **({"teacher_revision": revision} if (revision := (bank.get("identity") or {}).get("revision")) else {}),
        "uqkd": {name: value for name, value in own.items() if value is not None},
    }


def _set(measured: Mapping[str, Any]) -> dict[str, Any]:
    """One set of prompts for machines: [estimate, low, high] of each quantity that was found, low and high where there are any."""
    rows = {row["quantity"]: row for row in measured["quantities"]}
    values = {
        name: [round(rows[name][part], 6) for part in ("estimate", "low", "high") if rows[name][part] is not None]
        for name in CORE
        if name in rows
    }
    about = {"prompts": measured["prompts"]["count"], "learnt_prompts": measured["prompts"]["learnt"]}
    return {
        **{name: value for name, value in about.items() if value is not None},
        "draws": measured["draws"],
        "level": measured["level"],
        **{name: value for name, value in values.items() if value},
    }


def teacher_of(bank: Mapping[str, Any]) -> str:
    """Name and revision, or what is not known of them."""
    if not bank.get("teacher"):
        return "not recorded"
    identity = bank.get("identity") or {}
    revision, backend = str(identity.get("revision") or ""), identity.get("backend")
    if backend == "import":
        return f"{code(bank['teacher'])}, by name only: its responses were imported"
    return code(bank["teacher"]) + (f", revision {code(revision)}" if revision else ", revision unknown")


def sampling_of(identity: Mapping[str, Any]) -> str:
    """How the teacher was asked, as far as that is known."""
    known = [
        f"{name} {identity[name]:g}"
        for name in ("temperature", "max_tokens", *_PLAIN)
        if isinstance(identity.get(name), int | float) and identity[name] != _PLAIN.get(name)
    ]
    seeds = identity.get("seeds", "keyed" if "key" in identity else None)
    known += ["a seed for each response" if seeds == "keyed" else "seeds unknown"] if seeds else []
    if identity.get("logprobs"):
        known.append(
            "no log-probabilities" if identity["logprobs"] == "none" else f"{identity['logprobs']} log-probabilities"
        )
    return ", ".join(known) or "not recorded"


def training_of(trained: Mapping[str, Any]) -> str:
    """Steps, rates and what was trained, in one line."""
    lora, layers = trained.get("lora"), trained.get("lora_layers")
    what = (
        "all parameters"
        if lora is None
        else f"adapters of rank {lora}" + (f" in the last {layers} blocks" if layers else "")
    )
    parts = [what + (", from new parameters" if trained.get("fresh") else "")]
    if trained.get("steps"):
        parts.append(f"{trained['steps']:,} steps of {trained.get('batch')} responses")
        parts.append(f"{trained.get('optimiser')}, rate {trained.get('lr')}, {trained.get('schedule')}")
    parts += ["prompts drawn with replacement"] if trained.get("bootstrap") else []
    parts += [f"{trained['validation']:.0%} of the prompts held out to stop by"] if trained.get("validation") else []
    parts += [f"begun near one another, ε = {trained['perturbation']}"] if trained.get("perturbation") else []
    return ", ".join(parts)


def commands(facts: Facts) -> list[str]:
    """The commands that lead here: the teacher's sampling from what the bank says, the others as they were given."""
    identity, bank = facts.bank.get("identity") or {}, facts.bank
    found = []
    if bank.get("teacher") and identity.get("backend") == "import":
        found.append(_shell(["import", "RESPONSES", "--teacher", bank["teacher"], "--bank", bank["place"]]))
    elif bank.get("teacher"):
        key = (identity.get("key") or ["llm", "bank"])[-1]
        words = [
            "--teacher",
            bank["teacher"],
            "--prompts",
            "PROMPTS",
            "--bank",
            bank["place"],
            "--k",
            bank["responses"],
        ]
        words += ["--backend", identity.get("backend"), "--seed-key", key]
        for name in ("temperature", "max_tokens", *_PLAIN):
            told = identity.get(name) is not None and identity[name] != _PLAIN.get(name)
            words += [f"--{name.replace('_', '-')}", identity[name]] if told else []
        found.append(_shell(["sample", *words]))
    found += [_shell(one["command"]) for one in (facts.trained, *facts.measured) if one.get("command")]
    return found


def _shell(words: Sequence[Any]) -> str:
    return re.sub(r"[\x00-\x1f\x7f]", " ", f"uqkd {shlex.join(map(str, words))}").replace("```", "'''")


def code(value: Any) -> str:
    """A value as code, on one line of a table whatever it holds.

    Examples
    --------
    >>> print(code("a|b"), code("`x`"), code("two\\nlines"), code("<!-- uqkd -->"))
    `a\\|b` `'x'` `two lines` `<! -- uqkd -->`
    """
    plain_text = " ".join(str(value).split()).replace("`", "'").replace("<!--", "<! --").replace("|", "\\|")
    return f"`{''.join(c if c.isprintable() else ' ' for c in plain_text)}`"


def plain(value: Any) -> str:
    """A value as Markdown text that is no markup.

    Examples
    --------
    >>> print(plain("*a* <b> | [c](d)"))
    \\*a\\* &lt;b> \\| \\[c\\](d)
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    marked = re.sub(r"([\\`*\[\]|]|(?<!\w)_|_(?!\w))", r"\\\1", line)
    return marked.replace("&", "&amp;").replace("<", "&lt;")
