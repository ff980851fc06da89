"""`uqkd new …`: a study of one's own, begun from one that runs."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Annotated

import typer

from uqkd.cli.app import STUDIES, app
from uqkd.errors import OptionError


@app.command(epilog=STUDIES)
def new(
    name: Annotated[str, typer.Argument(help="of the study: its file, its results and its random numbers")],
    like: Annotated[str, typer.Option(help="study to begin from: a name of uqkd list, or a file")] = "teacher_noise",
) -> None:
    """Begin a study of your own from one that runs: copy it to ./studies."""
    from uqkd.run import bundled_file, find_study
    from uqkd.store import write_new

    name = name.removesuffix(".py")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) or name == "all":
        raise OptionError(
            f"NAME got {name!r}; begin with a letter, go on with letters, digits, '_' and '-'; not 'all'."
        )
    source, target = find_study(like), Path("studies") / f"{name}.py"
    if not target.exists() and bundled_file(str(target)).exists():
        raise OptionError(
            f"a study {name!r} comes with uqkd, and a file of that name would hide it; choose another NAME."
        )
    try:
        text = renamed(source.read_text(encoding="utf-8"), source.stem, name)
    except (SyntaxError, ValueError) as problem:
        raise OptionError(
            f"--like {like}: {source.name} is no Python file ({problem}); mend it or give another."
        ) from None
    write_new(target, text.encode())
    print(f"{target} begins as {source.stem}; change what it asks, then: uqkd study {name}")


def renamed(text: str, old: str, name: str) -> str:
    r"""The text of a study under another name: its title, its seed keys (so that its draws are its own), its local folder.

    Examples
    --------
    >>> text = "'How far?'\nkey = ('teacher noise', 3)\nfolder = '.real/teacher_noise'"
    >>> print(renamed(text.replace("'", '"'), "teacher_noise", "mine"))
    "mine: How far?"
    key = ("mine", 3)
    folder = ".real/mine"
    """
    title = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    if title:
        text = text.replace(title, f"{name}: {title}", 1)
    spaced = re.escape(old.replace("_", " "))
    text = re.sub(rf'(\(\s*)"{spaced}"(?=\s*,)', rf'\1"{name.replace("_", " ")}"', text)
    return re.sub(rf'(")([\w./-]+/){re.escape(old)}"', rf'\1\2{name}"', text)
