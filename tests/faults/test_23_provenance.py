"""Fault 23: other code, versions, data or parameters are another key; mixing them is an error that names them."""

from __future__ import annotations

import ast
import inspect
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import uqkd
from uqkd import estimators, seeds
from uqkd.errors import ProvenanceError
from uqkd.llm.synthetic.testbed import Size
from uqkd.run import Run, load_study, study_names
from uqkd.run.provenance import fingerprint as provenance
from uqkd.run.provenance.definitions import Definition, Module, read_module
from uqkd.run.provenance.reach import Reach
from uqkd.run.provenance.source_files import SourceFiles
from uqkd.store import Inputs, Store

TABLE = pd.DataFrame({"x": [1.0]})
ROOT = Path(__file__).parents[2]
PACKAGE = Path(uqkd.__file__).parent
LINEAR = (
    "teacher_noise",
    "response_averaging",
    "data_bootstrap",
    "estimator_bias",
    "intra_suppression",
    "variance_weighting",
)
CLASSIFIERS = ("classify_calibration", "classify_cud", "classify_temperature", "classify_mixup")
TRACED = {  # a study of each layer, small
    "teacher_noise": {"data": ["diabetes"], "replicates": 20},
    "mlp_teacher_noise": {"replicates": 4, "steps": 10, "initialisations": 2},
    "classify_calibration": {"students": 2, "steps": 5},
    "language_models": {},
}
LANGUAGE_MODELS = f"""
import pandas as pd
from uqkd.estimators import decompose_categorical
from uqkd.llm import Encoder, Recipe, Responses, SeedDesign, World, distill, weigh
from uqkd.run import Options
from {Size.__module__} import Size, tokenizer
PRESETS = {{"quick": Options()}}
def cells(options):
    return [{{"method": "multi"}}, {{"method": "medoid"}}]
def measure(cell):
    world = World.make(groups=2, entities=2, key=("test", "provenance"))
    coder = tokenizer(world)
    encoder = Encoder(coder, False, vocabulary=len(coder), context=64, model_eos=(coder.eos_token_id,))
    prompts = world.prompts(relations=["home"])
    made = [encoder.response(answers[r % len(answers)]) for answers in prompts.answers for r in range(3)]
    targets = weigh(Responses.gather(prompts, made, (1, len(prompts), 3)), cell["method"])
    how = {{"recipe": Recipe(steps=2, batch=4), "seed_design": SeedDesign.independent(2), "key": ("test",)}}
    students = distill(targets, student=Size(16, 32, 2, 2).config(len(coder)), encoder=encoder, **how)
    return pd.DataFrame({{"inter": decompose_categorical(students.predict_proba(prompts)).per_student_inter.ravel()}})
def main(options, run):
    run.cells(cells(options), measure)
"""


def _run(file, root):
    study = load_study(file)
    run = Run(study, Store(root))
    study.main(study.options(), run)
    return run


def test_changed_code_computes_anew_and_is_not_mixed_with_the_old(toy, tmp_path):
    file = tmp_path / "toy_study.py"
    text = toy.file.read_text()
    file.write_text(text)
    assert _run(file, tmp_path / "results").computed == 20
    file.write_text(text.replace("draws.mean(axis=0)", "draws.mean(axis=0) + 1"))
    changed = _run(file, tmp_path / "results")
    assert (changed.computed, changed.reused) == (20, 0)
    store = Store(tmp_path / "results")
    assert len(store.committed("toy_study")) == 40  # nothing committed is touched
    with pytest.raises(ProvenanceError, match=r"2 different fingerprints of method: .* must not be mixed"):
        store.read_study("toy_study")
    method = provenance.method_fingerprint(file)
    assert len(store.read_study("toy_study", method=method)) == 80


def test_what_only_draws_or_explains_recomputes_nothing(toy, tmp_path):
    file = tmp_path / "toy_study.py"
    text = toy.file.read_text()
    file.write_text(text)
    assert _run(file, tmp_path / "results").computed == 20
    file.write_text(text.replace("def plot(run, table):", "# a comment\ndef plot(run, table):\n    str(table)"))
    assert _run(file, tmp_path / "results").reused == 20


@pytest.mark.parametrize(
    "other",
    [
        Inputs("s", {"k": 2}, method="m", data="d"),
        Inputs("s", {"k": 1}, method="n", data="d"),
        Inputs("s", {"k": 1}, method="m", data="e"),
        Inputs("s", {"k": 1.0}, method="m", data="d"),
        Inputs("s", {"k": "1"}, method="m", data="d"),
        Inputs("s", {"k": True}, method="m", data="d"),
    ],
)
def test_any_difference_is_another_unit(other):
    store = Store(f"memory://provenance-{other.key}")
    store.commit(Inputs("s", {"k": 1}, method="m", data="d"), TABLE)
    assert store.read(other) is None


def test_library_versions_count(toy, monkeypatch):
    before = provenance._fingerprint(toy.file, "measure", -1)
    version = provenance._version
    monkeypatch.setattr(provenance, "_version", lambda name: "0.0" if name == "scipy" else version(name))
    assert provenance._fingerprint(toy.file, "measure", -2) != before
    monkeypatch.setattr(provenance, "_version", version)
    assert provenance._fingerprint(toy.file, "measure", -3) == before


def test_mixed_data_of_one_name_is_refused_and_different_names_are_not(tmp_path):
    store = Store(tmp_path)
    store.commit(Inputs("s", {"data": "wine", "k": 1}, method="m", data="d1"), TABLE)
    store.commit(Inputs("s", {"data": "iris", "k": 1}, method="m", data="d2"), TABLE)
    assert len(store.read_study("s")) == 2
    store.commit(Inputs("s", {"data": "wine", "k": 2}, method="m", data="d3"), TABLE)
    with pytest.raises(ProvenanceError, match="2 different fingerprints of data of 'wine': d1, d3"):
        store.read_study("s")
    assert len(store.read_study("s", data="d3")) == 1


def test_a_kernel_beside_a_module_counts(tmp_path):
    (tmp_path / "beside.py").write_text("def value():\n    return 1\n")
    study = tmp_path / "kernel_study.py"
    study.write_text("import beside\n\ndef measure(cell):\n    return beside.value()\n")
    without = provenance.method_fingerprint(study)
    (tmp_path / "beside.cpp").write_text("int value() { return 1; }\n")
    provenance._fingerprint.cache_clear()
    first = provenance.method_fingerprint(study)
    (tmp_path / "beside.cpp").write_text("int value() { return 2; }\n")
    provenance._fingerprint.cache_clear()
    assert len({without, first, provenance.method_fingerprint(study)}) == 3


def reach(study: Path, package: Path = PACKAGE) -> Reach:
    """What the study's `measure` reaches."""
    return Reach(SourceFiles(package, study.parent), read_module("", study, study.read_bytes()), "measure")


def fingerprint(study: Path) -> str:
    """Computed anew."""
    return provenance._fingerprint.__wrapped__(study, "measure", 0)


def of_studies(names: tuple[str, ...]) -> dict[str, str]:
    return {name: fingerprint(ROOT / "studies" / f"{name}.py") for name in names}


@pytest.fixture
def copy(tmp_path, monkeypatch) -> Path:
    """A copy of the package's code, which the fingerprints are computed from."""
    package = shutil.copytree(PACKAGE, tmp_path / "copied" / "uqkd", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "_PACKAGE", package)
    return package


@pytest.fixture(scope="module")
def study_files(tmp_path_factory) -> dict[str, Path]:
    own = tmp_path_factory.mktemp("own") / "language_models.py"
    own.write_text(LANGUAGE_MODELS)
    return {name: ROOT / "studies" / f"{name}.py" for name in TRACED if name != own.stem} | {own.stem: own}


@pytest.fixture(scope="module")
def executed(study_files) -> dict[str, list[tuple[str, int, str]]]:
    """The functions of uqkd that run while each of the traced studies measures a cell, in a process of its own."""
    found = {}
    for name, overrides in TRACED.items():
        line = [sys.executable, Path(__file__).with_name("traced.py"), study_files[name], json.dumps(overrides)]
        env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(line, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found[name] = [tuple(one) for one in json.loads(done.stdout.splitlines()[-1])]
    return found


def holds(definition: Definition, line: int) -> bool:
    """Whether a line of the file is in a definition."""
    decorators = getattr(definition.statement, "decorator_list", [])
    first = min([definition.statement.lineno, *(node.lineno for node in decorators)])
    return not definition.is_import and first <= line <= (definition.statement.end_lineno or first)


def mutate(definition: Definition, file: Path, generator) -> None:
    """Change one number, operator or returned value of a definition, or, where it has none, add a statement."""
    tree = ast.parse(file.read_bytes())
    (statement,) = (
        s for s in tree.body if (s.lineno, type(s)) == (definition.statement.lineno, type(definition.statement))
    )
    nodes = list(ast.walk(statement))
    numbers = [n for n in nodes if isinstance(n, ast.Constant) and type(n.value) in (int, float)]
    operators = [n for n in nodes if isinstance(n, ast.BinOp) and not isinstance(n.op, (ast.BitOr, ast.Mod))]
    returns = [n for n in nodes if isinstance(n, ast.Return) and n.value]
    candidates = [*numbers, *operators, *returns]
    chosen = candidates[generator.integers(len(candidates))] if candidates else statement
    if isinstance(chosen, ast.Constant):
        chosen.value += 1
    elif isinstance(chosen, ast.BinOp):
        chosen.op = ast.Sub() if isinstance(chosen.op, ast.Add) else ast.Add()
    elif isinstance(chosen, ast.Return):
        chosen.value = ast.Tuple([chosen.value], ast.Load())
    elif isinstance(chosen, (ast.ClassDef, ast.FunctionDef)):
        chosen.body.append(ast.parse("changed = 1").body[0])
    else:
        chosen.value = ast.Tuple([chosen.value], ast.Load())  # of a constant
    file.write_text(ast.unparse(tree))


@pytest.mark.slow
def test_a_changed_calibration_measure_recomputes_classifiers_and_no_linear_study(copy):
    """Whichever of the functions of that file is changed."""
    source = Path(inspect.getsourcefile(estimators.expected_calibration_error))
    file = copy / source.relative_to(PACKAGE)
    before = of_studies(LINEAR + CLASSIFIERS)
    file.write_text(file.read_text() + "\n# a comment\n")
    assert of_studies(LINEAR + CLASSIFIERS) == before
    changed = 0
    for definition in read_module("", source, source.read_bytes()).definitions:
        if definition.names & {"expected_calibration_error", "brier_score", "signed_gap"}:
            mutate(definition, file, seeds.generator("test", "calibration", shared=True))
            after = of_studies(LINEAR + CLASSIFIERS)
            shutil.copy(source, file)
            changed += 1
            assert {name for name in after if after[name] != before[name]} == set(CLASSIFIERS)
    assert changed == 3


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("name", TRACED)
def test_every_function_that_runs_is_reached(executed, study_files, name):
    found = reach(study_files[name]).reached
    by_file = {str(module.path): definitions for module, definitions in found.items()}
    missed = [one for one in executed[name] if not any(holds(d, one[1]) for d in by_file.get(one[0], ()))]
    assert len(executed[name]) > 30
    assert missed == []


@pytest.mark.slow
@pytest.mark.process
def test_a_change_of_what_ran_is_never_taken_for_the_old(executed, study_files, copy):
    """Of the definitions that ran, and of the constants that are reached, a hundred: none is stale."""
    generator = seeds.generator("test", "mutated", shared=True)
    ran: list[tuple[str, Path, Definition]] = []
    for name, study in study_files.items():
        for module, definitions in reach(study).reached.items():
            lines = [line for file, line, _ in executed[name] if file == str(module.path)]
            for one in sorted(definitions, key=lambda definition: definition.place):
                constant = isinstance(one.statement, (ast.Assign, ast.AnnAssign)) and module.name
                if constant or any(holds(one, line) for line in lines):
                    ran.append((name, module.path, one))
    assert len(ran) > 400
    before = {name: fingerprint(study) for name, study in study_files.items()}
    stale = []
    for place in generator.permutation(len(ran))[:100]:
        name, source, definition = ran[place]
        file = copy / source.relative_to(PACKAGE)
        mutate(definition, file, generator)
        if fingerprint(study_files[name]) == before[name]:
            stale.append((name, file.name, sorted(definition.names)))
        shutil.copy(source, file)
    assert stale == []


@pytest.mark.slow
def test_a_change_of_what_is_not_reached_recomputes_nothing(study_files, copy):
    """Fifty definitions of the modules that are loaded, reached or not."""
    generator = seeds.generator("test", "not reached", shared=True)
    others: list[tuple[str, Module, Definition]] = []
    for name, study in study_files.items():
        found = reach(study)
        loaded = [module for module in found.loaded if module.name]
        others += [
            (name, module, one)
            for module in sorted(loaded, key=lambda module: module.name)
            for one in module.definitions
            if one not in found.reached.get(module, ()) and not one.is_import and not one.table
        ]
    before = {name: fingerprint(study) for name, study in study_files.items()}
    recomputed = []
    for place in generator.permutation(len(others))[:50]:
        name, module, definition = others[place]
        file = copy / module.path.relative_to(PACKAGE)
        mutate(definition, file, generator)
        if fingerprint(study_files[name]) != before[name]:
            recomputed.append((name, module.name, sorted(definition.names)))
        shutil.copy(module.path, file)
    assert recomputed == []


def seconds(call) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def compiled_once() -> None:
    """Every file of the package and every study read and compiled: what a machine needs for that is its pace."""
    for file in [*PACKAGE.rglob("*.py"), *(ROOT / "studies").glob("*.py")]:
        compile(ast.parse(file.read_text(encoding="utf-8")), str(file), "exec")


@pytest.mark.slow
def test_the_fingerprints_of_all_studies_read_what_they_share_once():
    """Some six times what it takes to compile all files once, whatever the pace of the machine."""
    assert seconds(lambda: of_studies(tuple(study_names(ROOT / "studies")))) < 15.0 * seconds(compiled_once)
