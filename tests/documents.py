"""What the tests of the README and of the pages share: their code, their commands, and a folder as a reader has it."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import typer

from uqkd import cli, seeds
from uqkd.cli.app import app

ROOT = Path(__file__).parents[1]


def python_blocks(text: str) -> list[str]:
    """The fenced blocks of Python code, in order."""
    return [step.text for step in steps(text) if step.language == "python"]


def commands(text: str) -> list[str]:
    """The lines that call `uqkd`, without their comments."""
    return [line.split("#")[0].strip() for line in re.findall(r"^\.venv/bin/uqkd .*$", text, re.MULTILINE)]


def call(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run such a line in a folder, through this Python."""
    words = [sys.executable, "-m", "uqkd", *shlex.split(command)[1:]]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def make_targets() -> set[str]:
    """The verbs of the Makefile."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def reader_folder(folder: Path) -> Path:
    """Put into a folder what a reader has: the studies, the pages, the real model, and a table `my.csv` of one's own."""
    shutil.copytree(ROOT / "studies", folder / "studies")
    shutil.copytree(ROOT / "docs", folder / "docs")
    (folder / ".real").symlink_to(ROOT / ".real")  # as `make models` leaves it
    generator = seeds.generator("test", "reader", "table")
    size, rooms = generator.standard_normal(80), generator.integers(1, 9, size=80)
    price = 3 * size + rooms + generator.standard_normal(80)
    pd.DataFrame({"size": size, "rooms": rooms, "price": price}).to_csv(folder / "my.csv", index=False)
    return folder


def save_images_and_texts(folder: Path) -> None:
    """Images `my.npz`, texts `texts.csv` and a small BERT `my-bert` that reads them, of three classes."""
    generator = seeds.generator("test", "reader", "classes")
    classes = np.arange(240) % 3
    images = generator.random((240, 8, 8)) + (np.arange(8)[:, None] // 3 == classes[:, None, None])
    np.savez(folder / "my.npz", images=images, labels=np.array(["up", "middle", "down"])[classes])
    words = np.array(["red", "green", "blue", "dog", "cat", "tree", "sun", "rain"])
    rows = [" ".join(generator.permutation([words[c], *generator.choice(words, 4)])) for c in classes]
    pd.DataFrame({"text": rows, "label": words[classes]}).to_csv(folder / "texts.csv", index=False)
    _save_bert(folder / "my-bert", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])


def _save_bert(folder: Path, vocabulary: list[str]) -> None:
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    BertTokenizer(vocab={word: n for n, word in enumerate(vocabulary)}).save_pretrained(folder)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    with seeds.torch_stream("test", "readme", "bert"):
        BertForSequenceClassification(BertConfig(vocab_size=len(vocabulary), **size)).save_pretrained(folder)


@dataclass(frozen=True)
class Step:
    """A fenced block of a page: its language, its text, and why it is not run, if it is not."""

    language: str
    text: str
    skipped: str


def steps(text: str) -> list[Step]:
    """The fenced blocks of Python code and of commands, in order. `<!-- skip: reason -->` before one skips it."""
    pattern = r"(?:<!-- skip: ([^>]*\S) -->\n+)?^```(python|bash)\n(.*?)^```"
    return [
        Step(language, code, why or "") for why, language, code in re.findall(pattern, text, re.DOTALL | re.MULTILINE)
    ]


def command_line() -> Any:
    """The group of all commands."""
    for file in pkgutil.walk_packages(cli.__path__, f"{cli.__name__}."):
        importlib.import_module(file.name)
    return typer.main.get_command(app)


def parse(words: list[str]) -> None:
    """Parse the words after `uqkd` as the command line does, and run nothing; it raises what the command line would say."""
    group = command_line()
    context = group.make_context("uqkd", ["list"])
    name, command, rest = group.resolve_command(context, words)
    command.make_context(name, rest, parent=context)


WIDTH = 100  # columns of the help texts


def command_line_page() -> str:
    """docs/command_line.md, from the help of every command."""
    group = command_line()
    context = group.make_context("uqkd", ["list"])
    parts = [
        "# Command line\n\nMade by `tests/test_docs.py` from what `uqkd --help` and `uqkd COMMAND --help` print.\n",
        _help("uqkd", group, type(context)),
    ]
    for name in sorted(group.commands):
        parts.append(f"## `uqkd {name}`\n\n{_help(f'uqkd {name}', group.commands[name], type(context))}")
    return "\n".join(parts)


def _help(name: str, command: Any, context: Any) -> str:
    text = command.get_help(context(command, info_name=name, terminal_width=WIDTH))
    return "```text\n" + "\n".join(line.rstrip() for line in text.splitlines()) + "\n```\n"
