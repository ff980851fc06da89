"""Write what the paper's LaTeX takes from results: `python -m paper RESULTS`, called by `make paper`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from paper import exact, tables
from paper.cells import CELLS
from paper.results import PaperError, Results, written
from paper.tex import tex
from uqkd.errors import UqkdError

HERE = Path(__file__).parent
NAMED = re.compile(r"\\(Num|Exact|Answer|Figure|Covered)(?:\[[^\]]*\])?\{([^{}]*)\}(?:\{([^{}]*)\})?")


def named(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """What the text names, by command, in order: studies with numbers' names."""
    found: dict[str, dict[tuple[str, str], None]] = {}
    for file in sorted(folder.glob("sections/*.tex")):
        for command, first, second in NAMED.findall(re.sub(r"(?<!\\)%.*", "", file.read_text(encoding="utf-8"))):
            found.setdefault(command, {})[first, second] = None
    return {command: list(pairs) for command, pairs in found.items()}


def _define(key: str, text: str) -> str:
    return rf"\expandafter\gdef\csname {key}\endcsname{{{text}}}"


def definitions(results: Results, wanted: dict[str, list[tuple[str, str]]]) -> Iterator[str]:
    """One line of LaTeX for each number, answer, caption and line of the text's tables; all that is missing is one error."""
    missing = []
    makers: dict[str, Callable[[str, str], str]] = {
        "Num": lambda study, name: written(results.number(study, name)),
        "Exact": lambda name, _: exact.number(name),
        "Answer": lambda study, _: tables.answer_text(results.answer(study)),
        "Figure": lambda study, _: _caption(results, study),
    }
    for command, make in makers.items():
        for first, second in wanted.get(command, []):
            try:
                key = "@".join(part for part in (command.lower(), first, second) if part)
                yield _define(key, make(first, second))
            except PaperError as error:
                missing.append(str(error))
    if missing:
        raise PaperError("\n".join(missing))


def _caption(results: Results, study: str) -> str:
    about = results.about(study, named="the figure")
    if not (results.folder / "figures" / f"{study}.pdf").exists():
        raise PaperError(f"the paper draws the figure of study {study!r}, whose .pdf is not in {results.folder}.")
    return rf"\textbf{{{tex(about['title'])}}} {tex(about['caption'])}"


def write(results: Results, out: Path) -> None:
    """Write the generated files into a folder."""
    wanted = named(HERE)
    pictures = Path(os.path.relpath(results.folder / "figures", HERE)).as_posix()
    files = {
        "numbers": "\n".join([rf"\graphicspath{{{{{pictures}/}}}}", *definitions(results, wanted)]),
        "claims": tables.claims(results),
        "answers": tables.answers(results),
        "graybill_deal": tables.graybill_deal(),
        **{f"coverage_{kind}": tables.coverage(kind) for kind, _ in wanted.get("Covered", [])},
    }
    out.mkdir(exist_ok=True)
    for name, text in files.items():
        (out / f"{name}.tex").write_text(text + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Exit status: 0, or 1 with what is missing on standard error."""
    folder = Path(arguments[0] if arguments else "results")
    if not (folder / "figures").is_dir():
        print(f"{folder} holds no results; make them: make figures OUT={folder}", file=sys.stderr)
        return 1
    try:
        write(Results(folder, CELLS), HERE / "generated")
    except (UqkdError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
