"""The rules of the house that no linter knows: lengths, rooms, and the field's terms. `make check` runs them too."""

from __future__ import annotations

import ast
import subprocess
from collections import Counter
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_FILE, LONGEST_STUDY, MEDIAN_STUDY = 320, 240, 140  # lines; the last without those that state answer and caption
LARGEST_ROOM = 13  # entries: some twelve, and `__init__`
PRIVATE_WORDS = {  # what was said before → the field's term, as in CONTRIBUTING
    "Bed": "Testbed", "bed": "testbed", "clan": "group", "clans": "groups", "members": "entities",
    "Beginning": "Initializer", "Shelf": "UnitIndex", "Leaf": "StackedLayer", "Held": "inventory", "Alike": "Similarities",
    "mark": "grade", "Marked": "Graded", "closeness": "similarity", "alikeness": "similarity", "alikenesses": "similarities",
    "mistakes": "errors", "Sources": "SeedDesign", "Replicates": "AtLeastTwo", "SampledResponses": "AtLeastTwo",
    "TeacherViews": "TargetFactory", "repair": "project", "flattest": "max_entropy", "said_once": "canonical",
    "must_be": "check_type", "known_teacher": "cached_teacher", "known_views": "cached_target_factory",
    "the_name": "normalise_name", "known_law": "known_distribution", "medoid_law": "medoid_distribution",
    "greatest": "max_tokens", "doubt": "uncertainty", "MOST": "a noun with its unit", "FEW": "a noun with its unit",
    "KEPT": "a noun with its unit", "GENTLER": "a noun with its unit", "CERTAIN": "a noun with its unit",
    "ABLE": "a noun with its unit",
}  # fmt: skip
PRIVATE_FUNCTIONS = {
    "whole": "is_int",
    "together": "concatenated",
    "law": "distribution",
}  # fine as words of a sentence


def tracked(*patterns: str) -> list[Path]:
    """Python files of the tree; of a copy without git, those that lie there."""
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.split() if listed.returncode == 0 else []
    found = [ROOT / name for name in names] or [file for pattern in patterns for file in ROOT.rglob(pattern)]
    return [file for file in found if file.suffix == ".py" and file.exists()]


def lines(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def stated(study: Path) -> int:
    """Lines of the functions that put a study's table into words: some forty in most."""
    functions = [one for one in ast.parse(study.read_text(encoding="utf-8")).body if isinstance(one, ast.FunctionDef)]
    return sum(f.end_lineno - f.lineno + 1 for f in functions if f.name in ("answer", "caption"))  # type: ignore[operator]


def defined(tree: ast.Module) -> list[tuple[str, int, bool]]:
    """Names that a module defines for others: functions, classes, parameters, fields, constants; and whether of a function."""
    names: list[tuple[str, int, bool]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append((node.name, node.lineno, not isinstance(node, ast.ClassDef)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            names += [(argument.arg, node.lineno, False) for argument in arguments]
        if isinstance(node, ast.ClassDef):
            fields = [s.target for s in node.body if isinstance(s, ast.AnnAssign)]
            names += [(f.id, f.lineno, False) for f in fields if isinstance(f, ast.Name)]
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        names += [(t.id, statement.lineno, False) for t in targets if isinstance(t, ast.Name)]
    return names


def private_words(source: str) -> list[str]:
    """Definitions that go by a private word, as 'line: word, say term'."""
    found = []
    for name, line, function in defined(ast.parse(source)):
        term = PRIVATE_WORDS.get(name) or (PRIVATE_FUNCTIONS.get(name) if function else None)
        if term:
            found.append(f"{line}: {name}, say {term}")
    return found


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("class Shelf: pass", ["1: Shelf, say UnitIndex"]),
        ("def f(*, clans): pass", ["1: clans, say groups"]),
        ("class A:\n    closeness: float", ["2: closeness, say similarity"]),
        ("MOST = 3", ["1: MOST, say a noun with its unit"]),
        ("def whole(x): pass", ["1: whole, say is_int"]),
        ("def f(whole): return [mark for mark in whole]", []),
    ],
)
def test_private_words_are_found_where_they_are_defined(source, said):
    assert private_words(source) == said


def test_no_identifier_is_a_private_word():
    found = [
        f"{file.relative_to(ROOT)}:{word}"
        for file in tracked("uqkd/*.py", "studies/*.py", "bench/*.py")
        for word in private_words(file.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_no_file_is_longer_than_a_sitting():
    assert [f"{f.relative_to(ROOT)}: {lines(f)}" for f in tracked("uqkd/*.py") if lines(f) > LONGEST_FILE] == []


def test_a_study_reads_like_a_page():
    studies = [file for file in tracked("studies/*.py") if file.parent.name == "studies"]
    assert [f"{f.name}: {lines(f)}" for f in studies if lines(f) > LONGEST_STUDY] == []
    assert median(lines(f) - stated(f) for f in studies) <= MEDIAN_STUDY


def test_a_room_holds_some_twelve_entries():
    rooms = Counter(file.parent for file in tracked("uqkd/*.py"))
    for room in {room.parent for room in rooms if room.name != "uqkd"}:
        rooms[room] += sum(other.parent == room for other in rooms)
    crowded = {str(r.relative_to(ROOT)): n for r, n in rooms.items() if n > LARGEST_ROOM and r.name != "uqkd"}
    assert crowded == {}
