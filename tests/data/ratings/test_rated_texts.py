"""Ratings from files: what is read, what is refused, and halves of raters."""

import csv

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.inter_rater import fleiss_kappa

from uqkd.data import load_ratings, split_raters, split_ratings
from uqkd.data.ratings.dataset import rated_texts
from uqkd.errors import DataError, OptionError
from uqkd.run import here_or_bundled

HEADER = "text,n_bad,n_good\n"


def file(folder, body, name="r.csv", **how):
    path = folder / name
    path.write_text(body, **{"encoding": "utf-8", **how})
    return path


def test_a_mark_at_the_start_quotes_line_breaks_and_numbers_as_texts(tmp_path):
    path = file(tmp_path, HEADER + '"a, ""b""\nc",2,1\n007,0,3\nNA,3.0,0\n', encoding="utf-8-sig")
    found = load_ratings(path)
    assert found.texts == ('a, "b"\nc', "007", "NA")
    assert found.counts.tolist() == [[2, 1], [0, 3], [3, 0]]
    assert found.classes == ("bad", "good")


@pytest.mark.parametrize(
    ("body", "options", "message"),
    [
        ("", {}, "no column 'text'"),
        (HEADER, {}, "has no rows"),
        ("txt,n_bad,n_good\na,1,2\n", {}, "no column 'text'; did you mean 'txt'"),
        ("text,bad,good\na,1,2\n", {}, "no columns that begin with 'n_'"),
        ("text,bad,good\na,1,2\n", {"counts": ["bad", "goood"]}, "no column 'goood'; did you mean 'good'"),
        ("text,n_bad\na,2\n", {}, "at least two classes"),
        (HEADER + "a,3,1\nb,-1,4\n", {}, "column 'n_bad' .* holds '-1' in row 2"),
        (HEADER + "a,3,1.5\n", {}, "column 'n_good' .* holds '1.5' in row 1"),
        (HEADER + "a,3,\n", {}, "column 'n_good' .* holds '' in row 1"),
        (HEADER + "a,3,nan\n", {}, "'nan' in row 1"),
        (HEADER + "a,3,1e300\n", {}, "'1e300' in row 1"),
        (HEADER + "a,3,1\nb,0,0\nc,0,1\n", {}, "text 2 .* has 0 raters \\(2 of 3"),
        (HEADER + "a,3,1\nb,2,2\na,0,9\n", {}, "text of row 1 again in row 3"),
        (HEADER + "a,3,1\n ,2,2\n", {}, "empty text in row 2"),
        (HEADER + "a,3,1\nb,2\n", {}, "line 3 has 2 columns and the header 3"),
        (HEADER + 'a,3,1\n"b,2,1\n', {}, "cannot be read as csv"),
        ("text,n_bad,n_good,n_raters\na,1,2,3\nb,1,2,4\n", {}, "'n_raters' is 4 in row 2, .* add up to 3"),
        ("text,n_bad,n_bad\na,1,2\n", {}, "column 'n_bad' twice"),
        ("text,rating\na,x\na,y\n", {"rating": "rating", "classes": ["x", "z"]}, "'y' in row 2, which is none"),
        ("text,rating\na,x\na,\n", {"rating": "rating"}, "no rating in row 2"),
        ("text,who,rating\na,1,x\nb,1,x\na,1,y\n", {"rating": "rating", "rater": "who"}, "'1' rated .* row 1 again in row 3"),
        ("text,rating\na,x\nb,x\n", {"rating": "rating", "classes": ["x", "y"]}, "text 1 .* has 1 raters \\(2 of 2"),
        ("text,rating\na,x\na,x\n", {"rating": "rating"}, "at least two classes"),
    ],
)  # fmt: skip
def test_bad_files_are_refused_in_one_line(tmp_path, body, options, message):
    with pytest.raises((DataError, OptionError), match=message) as seen:
        load_ratings(file(tmp_path, body), **options)
    assert "\n" not in str(seen.value)


def test_options_that_contradict_each_other_are_refused(tmp_path):
    path = file(tmp_path, HEADER + "a,3,1\n")
    with pytest.raises(OptionError, match="not both"):
        load_ratings(path, counts=["n_bad", "n_good"], rating="text")
    with pytest.raises(OptionError, match="classes go with rating"):
        load_ratings(path, classes=["x", "y"])
    with pytest.raises(OptionError, match="repeated got 'add'"):
        load_ratings(path, repeated="add")
    with pytest.raises(DataError, match="does not exist"):
        load_ratings(tmp_path / "none.csv")


def test_rows_of_ratings_and_counts_are_the_same_data(tmp_path):
    counts = load_ratings(file(tmp_path, HEADER + "a,2,1\nb,0,3\n"))
    said = [("a", "bad"), ("b", "good"), ("a", "good"), ("b", "good"), ("a", "bad"), ("b", "good")]
    body = "text,who,rating\n" + "".join(f"{text},{n},{one}\n" for n, (text, one) in enumerate(said))
    ratings = load_ratings(file(tmp_path, body, "long.csv"), rating="rating", rater="who")
    assert (ratings.counts == counts.counts).all()
    assert ratings.fingerprint == counts.fingerprint
    swapped = load_ratings(tmp_path / "long.csv", rating="rating", classes=["good", "bad"])
    assert (swapped.counts == counts.counts[:, ::-1]).all()
    assert swapped.fingerprint != counts.fingerprint


def test_merged_rows_have_the_raters_of_both_and_other_formats_hold_the_same(tmp_path):
    body = HEADER + "a,3,1\nb,2,2\na,0,9\n"
    merged = load_ratings(file(tmp_path, body), repeated="merge")
    assert (merged.texts, merged.counts.tolist()) == (("a", "b"), [[3, 10], [2, 2]])
    frame = pd.DataFrame({"text": ["a", "b"], "n_bad": [3, 2], "n_good": [10, 2]})
    frame.to_parquet(tmp_path / "r.parquet")
    frame.to_json(tmp_path / "r.jsonl", orient="records", lines=True)
    for name in ("r.parquet", "r.jsonl"):
        assert load_ratings(tmp_path / name).fingerprint == merged.fingerprint


def test_agreement_is_fleiss():
    """Fleiss (1971), table 1, as statsmodels computes it; and by hand: 2 of 3 agree in one pair of three."""
    table = np.array([[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
                      [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]])  # fmt: skip
    rated = rated_texts("fleiss", [str(n) for n in range(10)], table, list("abcde"))
    assert rated.kappa == pytest.approx(fleiss_kappa(table), rel=1e-12)
    assert rated.kappa == pytest.approx(0.210, abs=5e-4)
    assert rated_texts("toy", ["a"], [[2, 1]], ["x", "y"]).agreement == pytest.approx(1 / 3)
    assert rated.majority.tolist() == [4, 2, 4, 2, 2, -1, 2, 1, 0, 4]


def test_parts_share_no_text_and_do_not_depend_on_where_the_file_lies(tmp_path):
    body = HEADER + "".join(f"t{n},{n % 3 + 1},2\n" for n in range(50))
    (tmp_path / "b").mkdir()
    one, other = (split_ratings(load_ratings(file(folder, body))) for folder in (tmp_path, tmp_path / "b"))
    parts = [part.texts for part in (one.train, one.validation, one.test)]
    assert [len(part) for part in parts] == [30, 10, 10]
    assert len(set().union(*parts)) == 50
    assert parts == [part.texts for part in (other.train, other.validation, other.test)]
    with pytest.raises(OptionError, match="sum below 1"):
        split_ratings(load_ratings(tmp_path / "r.csv"), validation=0.5, test=0.5)
    with pytest.raises(DataError, match="too few for a text in each"):
        split_ratings(load_ratings(tmp_path / "r.csv").take([0, 1]))


def test_halves_of_raters_are_drawn_without_replacement():
    """Each class by its hypergeometric law, as SciPy has it: 4,000 texts of counts (6, 3, 1).

    The chi-square statistic of the first class has 4 degrees of freedom; its 99.99 % point is the bound.
    """
    whole = np.tile([6, 3, 1], (4_000, 1))
    first, second = split_raters(whole, key=("test", "halves"))
    assert (first + second == whole).all()
    assert (first.sum(axis=1) == 5).all()
    assert first.min() >= 0
    for c, bound in ((0, 4), (1, 3), (2, 1)):
        law = stats.hypergeom(10, whole[0, c], 5)
        values = np.arange(max(0, whole[0, c] - 5), min(5, whole[0, c]) + 1)
        expected = 4_000 * law.pmf(values)
        seen = np.array([(first[:, c] == value).sum() for value in values])
        assert len(values) - 1 == bound
        assert ((seen - expected) ** 2 / expected).sum() < stats.chi2.isf(1e-4, bound)
    with pytest.raises(DataError, match="four raters"):
        split_raters([[2, 1]], key=("test", "few"))


@pytest.mark.parametrize(("name", "texts", "raters"), [("tweets", 4_200, (20, 99)), ("editorials", 5_119, (20, 40))])
def test_the_files_of_the_study_are_what_their_page_says(name, texts, raters):
    found = load_ratings(here_or_bundled(f"studies/ratings/{name}.csv"))
    assert len(found.texts) == texts
    assert (found.raters.min(), found.raters.max()) == raters
    assert found.classes == ("negative", "neutral", "positive")
    with open(here_or_bundled(f"studies/ratings/{name}.csv"), encoding="utf-8", newline="") as lines:
        assert sum(1 for _ in csv.reader(lines)) == texts + 1
