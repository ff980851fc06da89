"""Fault 23: other code, versions, data or parameters are another key; mixing them is an error that names them."""

from __future__ import annotations

import pandas as pd
import pytest

from uqkd.errors import ProvenanceError
from uqkd.run import Run, load_study, provenance
from uqkd.store import Inputs, Store

TABLE = pd.DataFrame({"x": [1.0]})


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
