"""`uqkd compare`: tables side by side, from the answers of real students, and one clear line for what cannot be compared."""

import numpy as np
import pandas as pd
import pytest

from uqkd.cli import main
from uqkd.estimators import compare, compare_methods
from uqkd.llm.measuring.tables.by_cell import by_cell
from uqkd.llm.measuring.tables.side_by_side import values_of
from uqkd.seeds import generator


def uqkd(*words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return stop.value.code


def table(values, path, *, students=None, prompts=None, quantity="accuracy", **more):
    """A file as `uqkd measure` leaves it beside its table."""
    names = students or [f"student-{s}" for s in range(len(values))]
    ids = prompts or [f"p{p}" for p in range(values.shape[1])]
    pd.DataFrame(by_cell({quantity: values}, names, ids, [])).assign(**more).to_csv(path, index=False)
    return path


@pytest.fixture
def values():
    return generator("test", "cli", "compare").normal(size=(3, 4, 6))


def test_real_students(tmp_path, capsys):
    """The recorded answers of a real model's students (docs/llm_real): what compare says of their arrays."""
    answers = pd.read_csv("docs/llm_real/answers.csv", dtype={"answers": str, "supported": str})
    some = answers[
        (answers["part"] == "held out") & answers["method"].isin(["teacher", "single", "multi"]) & (answers["k"] != 4)
    ]
    ids, found = sorted(some["prompt"].unique()), values_of(some)
    for method, k in (("single", 1), ("multi", 8)):
        own = found["held out", method, k]
        cells = by_cell(own, [f"student-{s}" for s in range(5)], ids, [])
        pd.DataFrame(cells).to_csv(tmp_path / f"{method}.cells.csv", index=False)
        (tmp_path / f"{method}.csv").write_text("quantity,estimate\n")  # the table of quantities itself
    assert uqkd("compare", tmp_path / "multi.csv", tmp_path / "single.csv", "--out", tmp_path / "both.csv") == 0
    out = capsys.readouterr().out
    both = pd.read_csv(tmp_path / "both.csv").set_index("quantity")
    for quantity, row in both.iterrows():
        one = compare(found["held out", "multi", 8][quantity], found["held out", "single", 1][quantity])
        np.testing.assert_allclose(
            row[["difference", "low", "high", "p_value"]].astype(float),
            [one.difference, one.low, one.high, one.p_value],
            rtol=1e-6,
        )
    assert "The accuracy of multi is 0.165 higher than that of single [" in out
    assert "(95 %, 5 pairs of students, 24 prompts; p = .0" in out
    assert "Not decided whether the intra of multi differs from that of single" in out


def test_several_are_held_against_the_last(values, tmp_path, capsys):
    names = ("a", "b", "base")
    files = [table(own + shift, tmp_path / f"{n}.csv") for n, own, shift in zip(names, values, (3, 0, 0), strict=True)]
    assert uqkd("compare", *files, "--level", 0.9) == 0
    out = capsys.readouterr().out
    assert "interval of 90 %" in out
    assert "Holm's p" in out
    peer = compare_methods(
        dict(zip(names, values + np.array([3, 0, 0])[:, None, None], strict=True)), baseline="base", level=0.9
    )
    for one in peer.values():
        assert f"{one.difference:.4f} [{one.low:.4f}, {one.high:.4f}]" in out


def test_independent_students_and_quantities_of_some_prompts(values, tmp_path, capsys):
    values[:, :, 2] = np.nan  # a prompt without a reference answer
    first = table(values[0], tmp_path / "a.csv")
    second = table(values[1], tmp_path / "b.csv", students=["x", "y", "z", "w"])
    assert uqkd("compare", first, second) == 2
    assert "students of a and b do not pair by name" in capsys.readouterr().err
    assert uqkd("compare", first, second, "--unpaired", "--prompts", "fixed") == 0
    kept = np.delete(values, 2, axis=2)
    peer = compare(kept[0], kept[1], paired=False, prompts="fixed")
    assert f"{peer.difference:.4f} [{peer.low:.4f}, {peer.high:.4f}]" in capsys.readouterr().out


def test_what_is_refused_in_one_line(values, tmp_path, capsys):
    first, plain = table(values[0], tmp_path / "a.csv"), tmp_path / "plain.csv"
    plain.write_text("quantity,estimate\naccuracy,0.5\n")
    other = table(values[1], tmp_path / "other.csv", prompts=[f"q{p}" for p in range(6)])
    one, two = (table(own[:1], tmp_path / f"{n}.csv") for n, own in zip(("one", "two"), values, strict=False))
    twice, short = tmp_path / "twice.csv", tmp_path / "short.csv"
    whole = pd.read_csv(first)
    pd.concat([whole, whole[:1]]).to_csv(twice, index=False)
    whole[1:].to_csv(short, index=False)
    hole = tmp_path / "hole.csv"
    whole.assign(accuracy=whole["accuracy"].where(whole.index != 3)).to_csv(hole, index=False)
    near, far = (
        table(own, tmp_path / f"{t}.csv", quantity="kappa", teacher=t)
        for own, t in zip(values, ("near", "far"), strict=False)
    )
    named = table(values[1], tmp_path / "named.csv", quantity="intra")
    for words, said in (
        ((first,), "needs two tables or more; got 1"),
        ((first, tmp_path / "none.csv"), "is no file"),
        ((first, plain), "holds no numbers per student and prompt"),
        ((first, other), "answer different prompts (accuracy): 6 and 6, 0 of them in both"),
        ((one, two), "have one student each"),
        ((first, twice), "has two rows of student 'student-0'"),
        ((first, short), "has 23 rows and needs 24"),
        ((first, hole), "hole lacks accuracy of student 'student-0' at prompt 'p3'"),
        ((near, far), "measured from different teachers' answers: near near, far far"),
        ((first, named), "no quantity is in all of"),
        ((first, first), "two files of one name"),
        ((first, other, "--quantity", "acuracy"), "did you mean 'accuracy'"),
        ((first, first.parent / "a.csv", "--out", "x.txt"), "ends in .csv"),
    ):
        assert uqkd("compare", *words) == 2, words
        err = capsys.readouterr().err
        assert said in err, err
        assert err.count("\n") == 1
