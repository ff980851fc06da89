"""Tables of the paper: what intervals cover, the claims, the studies' answers."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Formatter

from paper.exact import RATIO_KS, graybill_deal_rows
from paper.results import PaperError, Results, written
from paper.tex import tex
from uqkd.estimators import proportion_interval
from uqkd.report.answers import Answer, Number

COVERAGE = Path(__file__).parents[1] / "docs" / "coverage"
# Of each table of coverage: what its lines of the paper's table are, by column.
KINDS = {
    "variance_means": ("data", "quantity", "S"),
    "variance_each": ("data", "quantity"),
    "averaging": ("design", "quantity"),
    "comparing": ("data", "measure", "paired"),
    "calibration": ("measure", "shape"),
    "ratings": ("estimate",),
    "unbalanced": ("method", "quantity"),
    "planning": ("quantity", "design"),
}
WORDS = {
    ("paired", "True"): "paired",
    ("paired", "False"): "unpaired",
    **{("S", str(n)): f"{n} students" for n in (3, 5, 10, 30)},
}


def rows_of(file: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def tabular(rows: Iterable[Sequence[str]]) -> str:
    r"""Lines of a table; cells are LaTeX.

    Examples
    --------
    >>> tabular([["a", "b"]])
    'a & b \\\\'
    """
    return "\n".join(" & ".join(row) + r" \\" for row in rows)


def least_and_most(rows: list[dict[str, str]]) -> list[str]:
    """Cells, experiments of each, and the least and the most covered, each with the interval of a share; LaTeX."""
    shares = sorted((float(row["covered"]), int(row["experiments"])) for row in rows)
    ends = [_share(*shares[0]), _share(*shares[-1])]
    experiments = sorted({count for _, count in shares})
    return [str(len(rows)), "--".join(dict.fromkeys(f"{n:,}" for n in (experiments[0], experiments[-1]))), *ends]


def _share(covered: float, experiments: int) -> str:
    found = proportion_interval(round(covered * experiments), experiments)
    return tex(str(Number(100 * covered, 100 * float(found.low), 100 * float(found.high), ".1f", "limits")))


def coverage(kind: str) -> str:
    """Lines of one table of coverage, for the columns of `KINDS`."""
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows_of(COVERAGE / f"{kind}.csv"):
        groups.setdefault(tuple(row[column] for column in (*KINDS[kind], "nominal")), []).append(row)
    lines = []
    for key, rows in groups.items():
        *names, nominal = key
        what = ", ".join(WORDS.get((column, name), name) for column, name in zip(KINDS[kind], names, strict=True))
        lines.append([tex(what.replace("_", " ")), f"{100 * float(nominal):g}", *least_and_most(rows)])
    return tabular(lines)


def claims(results: Results) -> str:
    """Lines of the table of claims: claim, source, result with its study, verdict."""
    columns = ("claim", "source", "result", "study", "verdict")
    file = results.folder / "tables" / "claims.csv"
    if not file.exists():
        raise PaperError(f"the paper's table of claims needs {file}; make it: make figures OUT={results.folder}")
    rows = rows_of(file)
    if missing := [column for column in columns if rows and column not in rows[0]]:
        raise PaperError(f"{file} has no column {', '.join(missing)}; the paper's table of claims needs it.")
    lines = []
    for row in rows:
        said = {column: tex(row[column].replace("**", "").replace("`", "")) for column in columns}
        study = said["study"].replace(r"\_", r"\_\allowbreak ")
        result = said["result"] + (rf" (\code{{{study}}})" if study else "")
        lines.append([said["claim"], said["source"], result, said["verdict"]])
    return tabular(lines)


def answers(results: Results) -> str:
    """Lines of the table of answers: study, question, answer with the intervals of its numbers."""
    lines = []
    for file in sorted((results.folder / "figures").glob("*.json")):
        about = results.about(file.stem, named="the question")
        said = answer_text(results.answer(file.stem))
        lines.append([rf"\code{{{tex(file.stem)}}}".replace(r"\_", r"\_\allowbreak "), tex(about["title"]), said])
    return tabular(lines)


def answer_text(answer: Answer | None) -> str:
    """LaTeX of an answer; every number that is not exact stands with its interval."""
    if answer is None:
        return "(these results state no answer)"
    made = ""
    for words, name, _, _ in Formatter().parse(answer.sentence.replace("**", "").replace("`", "")):
        made += tex(words) + (written(answer.numbers[name]) if name is not None else "")
    return made[:1].upper() + made[1:]


def graybill_deal() -> str:
    """Head and lines of T7's table."""
    head = [r"$\sigma_2^2/\sigma_1^2$", "known", *(f"$k={k}$" for k in RATIO_KS)]
    return tabular([head]) + "\\midrule\n" + tabular(graybill_deal_rows())
