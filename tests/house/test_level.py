"""One constant is the level of every interval: nothing else names it, and changing it changes figures, tables and captions."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
LEVEL_FILE = "uqkd/estimators/intervals/level.py"
QUANTILE_CALLS = {"quantile", "ndtri", "ppf", "isf", "stdtrit", "axhline"}
QUANTILE_LIKE = re.compile(r"\b1\.9[56]\d*\b|\b95 ?%|\b0?\.975\b")
# What was measured at 95 % stays so whatever the level is.
MEASURED = {("uqkd/estimators/intervals/each_prompt.py", "_coverage_note")}
MEASURED_TEXT = re.compile(r"(intervals of|at) 95 % covers? \d")


def _is_level(value: object) -> bool:
    return isinstance(value, float) and round(value, 9) in (0.95, 0.975, 0.025)


def _docstrings(tree: ast.AST) -> set[int]:
    bodies = [
        node.body for node in ast.walk(tree) if hasattr(node, "body") and isinstance(node.body, list) and node.body
    ]
    return {id(body[0].value) for body in bodies if isinstance(body[0], ast.Expr)}


def levels_in(source: str, name: str = "") -> list[str]:
    """Places that fix a level, as 'line: what': quantiles as numbers or texts, and levels as defaults, arguments, constants."""
    tree, found = ast.parse(source), []
    texts = _docstrings(tree)
    kept = {
        id(n)
        for f in ast.walk(tree)
        if isinstance(f, ast.FunctionDef) and (name, f.name) in MEASURED
        for n in ast.walk(f)
    }
    for node in ast.walk(tree):
        values: list[ast.expr | None] = []
        if isinstance(node, ast.Constant) and id(node) not in texts | kept:
            number = isinstance(node.value, (int, float)) and not isinstance(node.value, bool)
            if number and (
                1.955 < node.value < 1.965 or 195.5 < node.value < 196.5 or round(node.value, 9) in (0.975, 0.025)
            ):
                found.append(f"{node.lineno}: {node.value}")
            if isinstance(node.value, str) and QUANTILE_LIKE.search(MEASURED_TEXT.sub("", node.value)):
                found.append(f"{node.lineno}: {node.value!r}")
        if isinstance(node, ast.FunctionDef):
            both = [*zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]
            positional = [*node.args.posonlyargs, *node.args.args]
            both += zip(positional[::-1], node.args.defaults[::-1], strict=False)
            values += [default for argument, default in both if argument.arg == "level"]
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            values += [keyword.value for keyword in node.keywords if keyword.arg == "level"]
            values += node.args if called in QUANTILE_CALLS else []
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            values += [node.value] if any(isinstance(t, ast.Name) and t.id == "LEVEL" for t in targets) else []
        found += [f"{v.lineno}: {v.value}" for v in values if isinstance(v, ast.Constant) and _is_level(v.value)]
    return sorted(set(found))


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("bar = 1.96 * error", 1),
        ("bar = 196 * error", 1),
        ("np.quantile(values, 0.975)", 1),
        ("def f(*, level=0.95): pass", 1),
        ("def f(level=0.95): pass", 1),
        ("f(level=0.95)", 1),
        ("LEVEL = 0.95", 1),
        ("axis.axhline(0.95)", 1),
        ("note = f'± 1.96 standard errors'", 1),
        ("note = f'beyond 95 % intervals {x}'", 1),
        ("def f():\n    'Covers 95 % within 1.96 standard errors.'", 0),
        ("x = 0.95 * y + 2.0", 0),
        ("note = 'intervals of 95 % cover 87 to 94 % here'", 0),
        ("note = 'at 95 % covers 89 %; bars of 95 %'", 1),
        ("f(level=LEVEL)", 0),
    ],
)
def test_a_level_is_found_where_it_is_fixed(source, count):
    assert len(levels_in(source)) == count


def test_no_file_but_one_fixes_a_level():
    files = [*(ROOT / "uqkd").rglob("*.py"), *(ROOT / "studies").glob("*.py")]
    names = {str(file.relative_to(ROOT)): file for file in files}
    found = {name: levels_in(file.read_text(encoding="utf-8"), name) for name, file in names.items()}
    assert {name: places for name, places in found.items() if places and name != LEVEL_FILE} == {}
    assert len(found[LEVEL_FILE]) == 1


def run_with(level: str, folder: Path) -> Path:
    """A copy of the package whose level is another, and its results of two small studies."""
    shutil.copytree(ROOT / "uqkd", folder / "uqkd", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "studies", folder / "studies", ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / LEVEL_FILE
    file.write_text(re.sub(r"^LEVEL = .*$", f"LEVEL = {level}", file.read_text(), flags=re.MULTILINE))
    small = ["--set", "replicates=40", "--set", "ks=[1,2,4,8]", "--set", "alphas=[0.5]"]
    command = [
        sys.executable,
        "-m",
        "uqkd",
        "study",
        "response_averaging",
        *small,
        "--out",
        "results",
        "--workers",
        "1",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "results"


@pytest.mark.slow
@pytest.mark.process
def test_another_level_in_one_place_changes_bars_tables_and_captions(tmp_path):
    usual, narrow = (run_with(level, tmp_path / level) for level in ("0.95", "0.90"))
    about = [
        json.loads((results / "figures/response_averaging.json").read_text())["caption"] for results in (usual, narrow)
    ]
    assert "95 % intervals" in about[0]
    assert "90 % intervals" in about[1]
    assert "95 %" not in about[1]
    measured, other = (pd.read_csv(results / "tables/response_averaging.csv") for results in (usual, narrow))
    pd.testing.assert_frame_equal(measured, other, check_exact=True)  # what is measured does not depend on it
    fits = [pd.read_csv(results / "tables/response_averaging.fits.csv") for results in (usual, narrow)]
    width = [(table["high"] - table["low"]).to_numpy() for table in fits]
    assert (
        (width[1] / width[0] > 0.4) & (width[1] / width[0] < 0.9)
    ).all()  # t quantiles: .50 of 1 degree of freedom, .84 of many
    pictures = [(results / "figures/response_averaging.png").read_bytes() for results in (usual, narrow)]
    assert pictures[0] != pictures[1]
    pages = [(results / "index.html").read_text() for results in (usual, narrow)]
    assert "simulation with 95 % intervals" in pages[0]
    assert "simulation with 90 % intervals" in pages[1]
    assert "1.96" not in pages[1]
