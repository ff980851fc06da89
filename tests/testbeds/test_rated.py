"""Rated texts in a study's cells: parts, features, and groups that are not sorted by the raters who judge."""

import numpy as np
import pytest

from tests.rated_files import rated_file
from uqkd import seeds
from uqkd.errors import DataError, ProvenanceError
from uqkd.estimators import distance_to_raters, entropy_from_counts, kl_divergence
from uqkd.testbeds.rated import GROUPS, rated_cell, rated_of, text_distances, text_features, thirds


def test_training_texts_have_a_majority_and_the_others_need_none(tmp_path):
    task = rated_of(rated_cell(rated_file(tmp_path), dimensions=5))
    assert (task.train.majority >= 0).all()
    assert {len(task.validation.texts), len(task.test.texts)} == {12}
    assert (task.validation.majority < 0).any() or (task.test.majority < 0).any()
    assert task.X.shape == (len(task.train.texts), 5)
    assert task.X_test.shape == (12, 5)
    assert task.X.mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-12)
    assert (task.X**2).mean() == pytest.approx(1.0)


def test_features_know_nothing_of_other_parts():
    first = ("good day", "good way", "bad day", "bad way", "fine day", "poor way")
    one, test = text_features((first, ("good bad",)), dimensions=3)
    other, same = (
        text_features((first, ("good bad",)), dimensions=3)[0],
        text_features((first, ("zzz", "good bad")), dimensions=3),
    )
    assert np.array_equal(one, other)
    assert np.array_equal(same[0], one)
    assert same[1][1] == pytest.approx(test[0])


def test_a_file_that_changed_is_noticed_and_a_class_that_is_never_the_majority_refused(tmp_path):
    path = rated_file(tmp_path)
    cell = rated_cell(path, dimensions=4)
    path.write_text(path.read_text().replace("10,0", "9,1"))
    with pytest.raises(ProvenanceError, match="changed during the run"):
        rated_of(cell)
    path.write_text("text,n_bad,n_good\n" + "".join(f"t{n},9,1\n" for n in range(20)))
    with pytest.raises(DataError, match="class 'good' is the majority of 0 texts"):
        rated_cell(path, dimensions=4)


def test_groups_sorted_by_the_raters_who_judge_are_misjudged_and_halves_are_not():
    """All texts alike, 20 raters divided 60 : 40: any third is as far from an even classifier as any other.

    6,000 texts. Sorted by one half of the raters the thirds agree within 4.4 standard errors; sorted by those who judge the third
    that happened to be divided seems far nearer to an even split.
    """
    counts = seeds.generator("test", "rated", "alike").multinomial(20, (0.6, 0.4), size=6_000)
    even = np.full((1, 6_000, 2), 0.5)
    group, judging = thirds(counts, key=("test", "rated", "thirds"))
    values = text_distances(even, counts, judging)["kl_half"].to_numpy()
    truth = float(kl_divergence([0.6, 0.4], [0.5, 0.5]))
    sorted_by_all = np.argsort(np.argsort(entropy_from_counts(counts), kind="stable"), kind="stable") * 3 // 6_000
    own = distance_to_raters(even[0], counts).kl
    for n, name in enumerate(GROUPS):
        part = values[group == name]
        assert len(part) == 2_000
        assert abs(part.mean() - truth) < 4.4 * part.std(ddof=1) / np.sqrt(2_000)
        wrong = own[sorted_by_all == n]
        if name != "medium":
            assert abs(wrong.mean() - truth) > 10 * wrong.std(ddof=1) / np.sqrt(2_000)


def test_thirds_go_by_agreement_in_the_other_half_and_are_dealt_alike_again():
    counts = seeds.generator("test", "rated", "sorted").multinomial(20, (0.7, 0.2, 0.1), size=90)
    group, judging = thirds(counts, key=("test", "rated", "sorted"))
    again, same = thirds(counts, key=("test", "rated", "sorted"))
    assert (group == again).all()
    assert (judging == same).all()
    sorting = counts - judging
    assert (sorting.sum(axis=1) == 10).all()
    pairs = (sorting * (sorting - 1)).sum(axis=1)
    place = np.array([GROUPS.index(name) for name in group])
    assert np.bincount(place).tolist() == [30, 30, 30]
    for less in range(3):
        for more in range(less + 1, 3):
            assert pairs[place == less].min() >= pairs[place == more].max()
