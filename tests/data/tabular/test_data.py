"""Data sets: names, files, checks with one clear line each, split and scaling."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from uqkd import data, seeds
from uqkd.errors import DataError, OptionError, ProvenanceError
from uqkd.testbeds.cells import regression_cell, regression_of


@pytest.fixture
def frame():
    x = np.arange(12.0)
    return pd.DataFrame({"a": x, "b": (x - 5) ** 2, "y": 3 * x + 1})


@pytest.mark.parametrize("name", data.OFFLINE)
def test_every_offline_set_loads(name):
    dataset = data.load(name)
    assert dataset.X.shape == (len(dataset.y), len(dataset.columns))
    assert np.isfinite(dataset.X).all()


def test_csv_and_parquet_give_the_same_data(frame, tmp_path):
    frame.to_csv(tmp_path / "d.csv", index=False)
    frame.to_parquet(tmp_path / "d.parquet")
    csv, parquet = (data.load(str(tmp_path / name), target="y") for name in ("d.csv", "d.parquet"))
    assert csv.fingerprint == parquet.fingerprint
    np.testing.assert_array_equal(csv.X, frame[["a", "b"]])
    np.testing.assert_array_equal(csv.y, frame["y"])


def test_the_fingerprint_follows_the_contents(frame):
    base = data.from_frame(frame, name="a", target="y").fingerprint
    changed = frame.copy()
    changed.loc[3, "b"] += 1e-12
    assert data.from_frame(frame, name="b", target="y").fingerprint == base
    assert data.from_frame(changed, name="a", target="y").fingerprint != base
    assert data.from_frame(frame.rename(columns={"a": "c"}), name="a", target="y").fingerprint != base
    assert data.from_frame(frame.assign(y=frame["y"] + 1), name="a", target="y").fingerprint != base
    assert data.from_frame(frame.rename(columns={"y": "z"}), name="a", target="z").fingerprint != base
    split_names = (frame.set_axis(names, axis=1) for names in (["ab", "c", "y"], ["a", "bc", "y"]))
    assert len({data.from_frame(f, name="a", target="y").fingerprint for f in split_names}) == 2


def test_bundled_sets_are_in_their_own_units_and_any_column_may_be_the_target():
    diabetes = data.load("diabetes")
    assert (diabetes.X[0, 0], diabetes.y[0]) == (59.0, 151.0)  # years and the score, not scikit-learn's scaled ones
    engel, turned = data.load("engel"), data.load("engel", target=data.load("engel").columns[0])
    assert (turned.target, turned.columns) == (engel.columns[0], (engel.target,))
    np.testing.assert_array_equal(turned.X[:, 0], engel.y)
    np.testing.assert_array_equal(turned.y, engel.X[:, 0])


def test_openml_target_is_the_one_that_openml_names(frame, monkeypatch):
    bunch = SimpleNamespace(frame=frame[["y", "a", "b"]], target=frame["y"])  # not the last column
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda **_options: bunch)
    assert data.load("openml:toy").target == "y"
    assert data.load("openml:toy", target="a").target == "a"


BAD = {
    "text": (lambda f: f.assign(b=["x"] + ["1"] * 11), r"column 'b' .* text \('x'\) in row 1 \(1 such rows of 12\)"),
    "nan": (lambda f: f.assign(a=f["a"].where(f["a"] != 4)), r"column 'a' .* missing or infinite value in row 5"),
    "infinite": (lambda f: f.assign(a=f["a"].replace(4, np.inf)), r"column 'a' .* missing or infinite"),
    "constant": (lambda f: f.assign(b=7), r"column 'b' .* constant \(7\); drop it"),
    "constant target": (lambda f: f.assign(y=1.0), r"column 'y' .* constant"),
    "too few rows": (lambda f: f.iloc[:3], r"n=3 rows and 2 feature columns"),
    "no rows": (lambda f: f.iloc[:0], r"n=0 rows"),
    "no features": (lambda f: f[["y"]], r"0 feature columns"),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_columns_are_named(frame, tmp_path, fault):
    spoil, message = BAD[fault]
    spoil(frame).to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(DataError, match=message):
        data.load(str(tmp_path / "d.csv"), target="y")


def test_files_that_only_look_right_are_refused(frame, tmp_path):
    (tmp_path / "euro.csv").write_text("Fläche;Preis\n1,5;2\n2,5;3\n3,5;5\n4,5;4\n")
    with pytest.raises(DataError, match="separated by ';' or tabs"):
        data.load(str(tmp_path / "euro.csv"), target="Preis")
    (tmp_path / "latin.csv").write_bytes("Fläche,y\n1,2\n".encode("latin-1"))
    with pytest.raises(DataError, match="is not UTF-8"):
        data.load(str(tmp_path / "latin.csv"), target="y")
    (tmp_path / "twice.csv").write_text("a,a,y\n" + "".join(f"{i},{i * i},{i + 1}\n" for i in range(9)))
    with pytest.raises(DataError, match="'a' twice"):
        data.load(str(tmp_path / "twice.csv"), target="y")
    frame.assign(when=pd.date_range("2026-01-01", periods=12)).to_parquet(tmp_path / "dates.parquet")
    with pytest.raises(DataError, match=r"'when' .* holds datetime64"):
        data.load(str(tmp_path / "dates.parquet"), target="y")


def test_umlauts_capital_suffixes_booleans_and_whole_numbers_are_fine(tmp_path):
    flags = pd.DataFrame({"Fläche in m²": np.arange(9.0) ** 2, "neu": [True, False, True] * 3, "y": range(9)})
    flags.to_csv(tmp_path / "D.CSV", index=False)
    flags.to_parquet(tmp_path / "d.parquet")
    upper, parquet = (data.load(str(tmp_path / name), target="y") for name in ("D.CSV", "d.parquet"))
    assert upper.fingerprint == parquet.fingerprint
    np.testing.assert_array_equal(upper.X[:, 1], [1, 0, 1] * 3)


def test_dependent_columns_are_named_when_the_study_is_planned(frame, tmp_path):
    frame.assign(a2=frame["a"] * 2 + 1).to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(DataError, match=r"columns 'a', 'a2' of data .*d\.csv are linearly dependent"):
        regression_cell(str(tmp_path / "d.csv"), "y")


def test_bad_names_and_files(frame, tmp_path):
    with pytest.raises(OptionError, match="did you mean 'diabetes'"):
        data.load("diabets")
    with pytest.raises(DataError, match=r"no\.csv does not exist"):
        data.load(str(tmp_path / "no.csv"), target="y")
    frame.to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(DataError, match="no column 'yy'; did you mean 'y'"):
        data.load(str(tmp_path / "d.csv"), target="yy")
    with pytest.raises(OptionError, match=r"--target; it has \['a', 'b', 'y'\]"):
        data.load(str(tmp_path / "d.csv"))
    (tmp_path / "d.parquet").write_bytes(b"not parquet")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        data.load(str(tmp_path / "d.parquet"), target="y")
    (tmp_path / "e.csv").write_text("")
    with pytest.raises(DataError, match="cannot be read as csv"):
        data.load(str(tmp_path / "e.csv"), target="y")
    with pytest.raises(DataError, match=r"ends in '\.txt'"):
        data.load(str(tmp_path / "d.txt"), target="y")
    with pytest.raises(OptionError, match="pickle"):
        data.load(str(tmp_path / "d.pkl"), target="y")
    with pytest.raises(DataError, match="'a' twice"):
        data.from_frame(pd.DataFrame(np.arange(12.0).reshape(6, 2), columns=["a", "a"]), name="d", target="a")


def test_openml_without_a_network_is_one_clear_line(tmp_path):
    """A process without sockets: the message names the set and what works offline."""
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise OSError('no network')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "from uqkd import data\n"
        "from uqkd.errors import DataError\n"
        "import sklearn.datasets._openml as o\n"
        "o.time.sleep = lambda s: None\n"
        "try: data.load('openml:boston')\n"
        "except DataError as e: print(e)\n"
    )
    env = {**os.environ, "SCIKIT_LEARN_DATA": str(tmp_path), "PYTHONWARNINGS": "ignore"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert out.stdout.startswith("OpenML data 'boston' could not be fetched")
    assert "Offline: diabetes" in out.stdout


def test_split_scales_by_the_training_part_only():
    dataset = data.load("diabetes")
    part = data.split(dataset)
    np.testing.assert_allclose(part.X[:, 1:].mean(axis=0), 0, atol=1e-12)  # rounding of 354 values of size 1
    np.testing.assert_allclose(part.X[:, 1:].std(axis=0), 1, rtol=1e-12)
    order = seeds.generator("data", "split", dataset.fingerprint, 0.2, shared=True).permutation(442)
    train, test = np.sort(order[88:]), np.sort(order[:88])
    own = (dataset.X[test] - dataset.X[train].mean(axis=0)) / dataset.X[train].std(axis=0)
    leaked = (dataset.X[test] - dataset.X.mean(axis=0)) / dataset.X.std(axis=0)
    np.testing.assert_allclose(part.X_test[:, 1:], own, rtol=1e-12)
    assert np.abs(part.X_test[:, 1:] - leaked).max() > 1e-3  # a scaler fitted on all rows is told apart
    np.testing.assert_array_equal(part.y, dataset.y[train])
    assert (part.X[:, 0] == 1).all()


def test_networks_get_features_without_intercept_and_labels_in_units_of_the_training_part():
    part = data.split(data.load("diabetes"))
    np.testing.assert_array_equal(np.column_stack([np.ones(len(part.y)), part.features]), part.X)
    np.testing.assert_array_equal(part.features_test, part.X_test[:, 1:])
    np.testing.assert_allclose([part.y_standard.mean(), part.y_standard.var()], [0, 1], atol=1e-12)
    np.testing.assert_allclose(part.y_test_standard * part.y.std() + part.y.mean(), part.y_test, rtol=1e-12)


def test_split_is_keyed_by_the_data_and_every_row_is_used_once():
    dataset = data.load("statecrime")
    first, second = data.split(dataset), data.split(dataset)
    np.testing.assert_array_equal(first.y_test, second.y_test)
    np.testing.assert_array_equal(np.sort(np.concatenate([first.y, first.y_test])), np.sort(dataset.y))


def test_the_test_part_is_the_nearest_whole_number_of_rows(frame):
    dataset = data.from_frame(frame, name="toy", target="y")
    sizes = [len(data.split(dataset, test_fraction=f).y_test) for f in (0.01, 0.2, 0.3)]
    assert sizes == [1, 2, 4]  # of 12 rows: .12 but at least one, 2.4, 3.6


def test_split_refuses_what_leaves_too_few_rows(frame):
    dataset = data.from_frame(frame, name="toy", target="y")
    with pytest.raises(DataError, match="leaves 3 training rows for 3 coefficients"):
        data.split(dataset, test_fraction=0.75)
    with pytest.raises(OptionError, match="test_fraction"):
        data.split(dataset, test_fraction=1.0)
    lonely = data.from_frame(frame.assign(b=np.eye(12)[0]), name="lonely", target="y")
    alone = [f for f in np.linspace(0.1, 0.7, 13) if _is_constant_on_training(lonely, f)]
    assert alone, "some split holds out the only differing row"
    with pytest.raises(DataError, match="'b' of data lonely is constant on the training part"):
        data.split(lonely, test_fraction=alone[0])


def _is_constant_on_training(dataset, fraction):
    try:
        data.split(dataset, test_fraction=fraction)
    except DataError:
        return True
    return False


def test_a_file_that_changes_after_planning_is_noticed(frame, tmp_path):
    path = tmp_path / "d.csv"
    frame.to_csv(path, index=False)
    cell = regression_cell(str(path), "y")
    regression_of(cell)
    frame.assign(a=frame["a"] + 1).to_csv(path, index=False)
    with pytest.raises(ProvenanceError, match="changed during the run"):
        regression_of(cell)
