"""Classification data: names, files, bad input with one clear line each, stratified split, scaling."""

import numpy as np
import pandas as pd
import pytest

from uqkd import data
from uqkd.errors import DataError, OptionError, ProvenanceError
from uqkd.testbeds.cells import classes_cell, classes_of, data_label


@pytest.fixture
def frame():
    x = np.arange(20.0)
    return pd.DataFrame({"a": x, "b": (x - 5) ** 2, "kind": ["ash", "birch", "ash", "elm"] * 5})


@pytest.mark.parametrize(
    ("name", "rows", "classes"), [("digits", 1797, 10), ("wine", 178, 3), ("breast_cancer", 569, 2)]
)
def test_every_offline_set_loads(name, rows, classes):
    dataset = data.load_classes(name)
    assert dataset.X.shape == (rows, len(dataset.columns))
    assert dataset.labels.dtype == np.int64
    assert len(dataset.classes) == classes
    assert sorted(set(dataset.labels.tolist())) == list(range(classes))


def test_labels_are_the_places_of_the_names(frame):
    dataset = data.classes_from_frame(frame, name="toy", target="kind")
    assert dataset.classes == ("ash", "birch", "elm")
    assert [dataset.classes[i] for i in dataset.labels] == frame["kind"].tolist()
    np.testing.assert_array_equal(dataset.X, frame[["a", "b"]])
    cancer = data.load_classes("breast_cancer")
    assert (cancer.classes, cancer.classes[cancer.labels[0]]) == (("benign", "malignant"), "malignant")


def test_numbered_classes_are_sorted_as_numbers(frame):
    numbered = frame.assign(kind=[10, 2, -1, 100] * 5)
    expected = [2, 1, 0, 3] * 5
    for kind in (numbered["kind"], numbered["kind"].astype(float), numbered["kind"].astype(str)):
        dataset = data.classes_from_frame(numbered.assign(kind=kind), name="toy", target="kind")
        assert dataset.classes == ("-1", "2", "10", "100")
        assert dataset.labels.tolist() == expected
    flags = data.classes_from_frame(frame.assign(kind=[True, False] * 10), name="toy", target="kind")
    assert flags.classes == ("False", "True")


def test_csv_parquet_and_categories_give_the_same_data(frame, tmp_path):
    frame.to_csv(tmp_path / "d.csv", index=False)
    turned = pd.Categorical(frame["kind"], categories=["elm", "birch", "ash", "oak"])  # another order, an unused name
    frame.assign(kind=turned).to_parquet(tmp_path / "d.parquet")
    csv, parquet = (data.load_classes(str(tmp_path / name), target="kind") for name in ("d.csv", "d.parquet"))
    assert csv.fingerprint == parquet.fingerprint
    np.testing.assert_array_equal(csv.labels, parquet.labels)


def test_the_fingerprint_follows_the_contents(frame):
    def fingerprint(changed, target="kind"):
        return data.classes_from_frame(changed, name="any", target=target).fingerprint

    base = fingerprint(frame)
    assert fingerprint(frame.assign(a=frame["a"] + 1e-12)) != base
    assert fingerprint(frame.rename(columns={"a": "c"})) != base
    assert fingerprint(frame.assign(kind=frame["kind"].replace("elm", "oak"))) != base  # a name, not a label
    assert fingerprint(frame.assign(kind=frame["kind"].iloc[::-1].to_numpy())) != base
    assert fingerprint(frame.rename(columns={"kind": "sort"}), target="sort") != base


BAD = {
    "one class": (lambda f: f.assign(kind="ash"), r"'kind' of data .* holds one class only \('ash'\)"),
    "a lonely class": (lambda f: f.assign(kind=["oak", *f["kind"][1:]]), r"class 'oak' .* has one row \(1 such of 4"),
    "no class": (
        lambda f: f.assign(kind=f["kind"].where(~f.index.isin([3, 7]))),
        r"'kind' .* has no class in row 4 \(2 such rows of 20\)",
    ),
    "a missing number": (
        lambda f: f.assign(a=f["a"].where(f.index != 4)),
        r"'a' .* missing or infinite value in row 5",
    ),
    "an infinite number": (lambda f: f.assign(b=np.where(f.index == 1, np.inf, 1.0)), r"'b' .* missing or infinite"),
    "text": (lambda f: f.assign(b=["many"] + ["1"] * 19), r"'b' .* text \('many'\) in row 1"),
    "fractions": (lambda f: f.assign(kind=f["a"] / 4), r"'kind' .* holds 0\.25; classes are names or whole numbers"),
    "no rows": (lambda f: f.iloc[:0], r"n=0 rows and 2 feature columns"),
    "no features": (lambda f: f[["kind"]], r"n=20 rows and 0 feature columns"),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_columns_are_named(frame, tmp_path, fault):
    spoil, message = BAD[fault]
    spoil(frame).to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(DataError, match=message) as caught:
        data.load_classes(str(tmp_path / "d.csv"), target="kind")
    assert len(str(caught.value).splitlines()) == 1


def test_bad_names_and_files(frame, tmp_path):
    frame.to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(OptionError, match="did you mean 'digits'"):
        data.load_classes("digit")
    with pytest.raises(OptionError, match=r"--target; it has \['a', 'b', 'kind'\]"):
        data.load_classes(str(tmp_path / "d.csv"))
    with pytest.raises(DataError, match="no column 'kinds'; did you mean 'kind'"):
        data.load_classes(str(tmp_path / "d.csv"), target="kinds")
    with pytest.raises(DataError, match=r"no\.csv does not exist"):
        data.load_classes(str(tmp_path / "no.csv"), target="kind")
    with pytest.raises(OptionError, match="pickle"):
        data.load_classes(str(tmp_path / "d.pkl"), target="kind")


def test_what_needs_a_network_says_so_and_what_does_not(monkeypatch):
    def refuse(**_options):
        raise OSError("no network")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", refuse)
    monkeypatch.setattr("sklearn.datasets.fetch_covtype", refuse)
    for name in ("openml:mnist_784", "covtype"):
        with pytest.raises(
            DataError, match=r"could not be fetched \(OSError: no network\).* Offline: digits, wine"
        ) as caught:
            data.load_classes(name)
        assert len(str(caught.value).splitlines()) == 1


def test_openml_target_is_the_one_that_openml_names(frame, monkeypatch):
    from types import SimpleNamespace

    bunch = SimpleNamespace(frame=frame[["kind", "a", "b"]], target=frame["kind"])
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda **_options: bunch)
    assert data.load_classes("openml:toy").target == "kind"


def test_split_is_stratified_keyed_by_the_data_and_uses_every_row_once():
    dataset = data.load_classes("wine")
    part, again = data.split_classes(dataset), data.split_classes(dataset)
    np.testing.assert_array_equal(part.labels_test, again.labels_test)
    counts = np.bincount(dataset.labels)
    np.testing.assert_array_equal(np.bincount(part.labels_test), [round(0.2 * n) for n in counts])
    np.testing.assert_array_equal(np.bincount(part.labels) + np.bincount(part.labels_test), counts)


def test_each_part_has_each_class_even_where_it_has_two_rows(frame):
    rare = frame.assign(kind=["oak", "oak", *frame["kind"][2:]])
    dataset = data.classes_from_frame(rare, name="toy", target="kind")
    for fraction in (0.05, 0.5, 0.95):
        part = data.split_classes(dataset, test_fraction=fraction)
        assert set(part.labels) == set(part.labels_test) == {0, 1, 2, 3}


def test_split_scales_by_the_training_part_only(frame):
    dataset = data.classes_from_frame(frame, name="toy", target="kind")
    part = data.split_classes(dataset)
    np.testing.assert_allclose(part.X.mean(axis=0), 0, atol=1e-12)  # rounding of 16 values of size 1
    np.testing.assert_allclose(part.X.std(axis=0), 1, rtol=1e-12)
    back = part.X_test[:, 0]  # column a holds 0 ... 19, so the split can be read off it
    train = np.setdiff1d(np.arange(20.0), _rows(part, dataset))
    np.testing.assert_allclose(back, (_rows(part, dataset) - train.mean()) / train.std(), rtol=1e-12)


def test_rows_keep_their_labels_in_both_parts(frame):
    dataset = data.classes_from_frame(frame, name="toy", target="kind")
    part = data.split_classes(dataset)
    held_out = _rows(part, dataset).astype(int)  # column a is the number of the row
    np.testing.assert_array_equal(part.labels_test, dataset.labels[held_out])
    np.testing.assert_array_equal(part.labels, np.delete(dataset.labels, held_out))
    assert (np.diff(part.X[:, 0]) > 0).all()


def test_split_is_drawn_at_random_by_what_the_data_are(frame):
    """20 rows of classes of 10, 5 and 5: 1,125 splits, of which the first rows of each class are one."""
    splits = []
    for b in range(4):  # the same rows and classes, other values in another column
        dataset = data.classes_from_frame(frame.assign(b=frame["b"] + b), name="toy", target="kind")
        splits.append(tuple(sorted(_rows(data.split_classes(dataset), dataset).astype(int).tolist())))
    assert len(set(splits)) == 4
    assert (0, 1, 2, 3) not in splits
    assert all(len(set(s)) == 4 for s in splits)


def _rows(part, dataset):
    """Values of column a on the test rows: 0 ... 19, spaced by one, scaled linearly."""
    a = np.concatenate([part.X[:, 0], part.X_test[:, 0]])
    step = (a.max() - a.min()) / 19
    return ((part.X_test[:, 0] - a.min()) / step).round()


def test_columns_that_are_constant_in_training_are_zero_and_named(frame):
    lonely = frame.assign(dark=0.0, once=np.eye(20)[0])
    dataset = data.classes_from_frame(lonely, name="toy", target="kind")
    part = data.split_classes(dataset, test_fraction=0.5)
    seen = set(part.constant)
    assert "dark" in seen
    for column in seen:
        place = part.columns.index(column)
        assert not part.X[:, place].any()
        assert not part.X_test[:, place].any()  # also where the test rows differ
    held_out = [f for f in np.linspace(0.1, 0.9, 9) if "once" in data.split_classes(dataset, test_fraction=f).constant]
    assert held_out, "some split holds out the only differing row"
    assert not data.split_classes(dataset, test_fraction=held_out[0]).X_test[:, -1].any()


def test_split_refuses_shares_that_are_none(frame):
    dataset = data.classes_from_frame(frame, name="toy", target="kind")
    for fraction in (0.0, 1.0, np.nan):
        with pytest.raises(OptionError, match="test_fraction"):
            data.split_classes(dataset, test_fraction=fraction)


def test_a_file_that_changes_after_planning_is_noticed(frame, tmp_path):
    path = tmp_path / "d.csv"
    frame.to_csv(path, index=False)
    cell = classes_cell(str(path), "kind")
    assert classes_of(cell).classes == ("ash", "birch", "elm")
    assert data_label(cell) == "d.csv"
    frame.assign(a=frame["a"] + 1).to_csv(path, index=False)
    with pytest.raises(ProvenanceError, match="changed during the run"):
        classes_of(cell)
