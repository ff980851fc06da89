"""Fault 30: pickle in any coat is refused with the safe form, and uqkd itself loads none."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import uqkd
from uqkd.errors import OptionError
from uqkd.store import refuse_unsafe

LOADERS = {"pickle", "cPickle", "_pickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        ("a.pkl", "Parquet"),
        ("dir/a.PICKLE", "Parquet"),
        ("a.pkl.gz", "Parquet"),
        ("a.joblib", "Parquet"),
        ("pytorch_model.bin", "safetensors"),
        (Path("last.pt"), "safetensors"),
        ("last.pth", "safetensors"),
        ("s3://bucket/epoch.ckpt", "safetensors"),
    ],
)
def test_refused_with_the_safe_form(path, safe):
    with pytest.raises(OptionError, match=f"can run code when loaded; give it as {safe}"):
        refuse_unsafe(path)


@pytest.mark.parametrize("path", ["a.parquet", "a.csv.gz", "model.safetensors", "a.npz", "bin", "a.bin.csv", ""])
def test_safe_forms_pass(path):
    assert refuse_unsafe(path) is None


def _unsafe_places(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [name for name in names if name.split(".")[0] in LOADERS]
        if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "trust_remote_code"):
            found += [node.arg] if not (isinstance(node.value, ast.Constant) and node.value.value is False) else []
        if isinstance(node, ast.Attribute) and node.attr in ("read_pickle", "to_pickle"):
            found.append(node.attr)
    return found


def test_no_module_of_uqkd_loads_pickle():
    files = sorted(Path(uqkd.__file__).parent.rglob("*.py"))
    assert len(files) > 10
    assert {file.name: _unsafe_places(ast.parse(file.read_bytes())) for file in files} == {
        file.name: [] for file in files
    }


@pytest.mark.parametrize(
    "mutant", ["import pickle", "from joblib import load", "np.load(f, allow_pickle=True)", "pandas.read_pickle(f)"]
)
def test_the_check_itself_can_fail(mutant):
    assert _unsafe_places(ast.parse(mutant)) != []
