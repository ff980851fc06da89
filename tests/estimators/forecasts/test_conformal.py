"""Conformal sets: by hand, the exact chance in finite samples, classes one by one, wrong versions, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from uqkd.classify import conformal_sets
from uqkd.errors import DataError, OptionError, ShapeError
from uqkd.seeds import generator

PROBS = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.35, 0.25], [0.05, 0.9, 0.05]])
LABELS = np.array(
    [0, 2, 1, 0]
)  # scores: lac .5 .3 .65 .95; aps .5 .7 .75 .95 (class 0 of the last row: .9 + .05, first of its tie)


def world(*name, points, classes=5):
    """Probabilities of a bad classifier (true logits times 2, and noise) and labels of the true one."""
    rng = generator("test", "conformal", *name)
    logits = rng.normal(size=(points, classes))
    claimed = 2.0 * logits + 0.7 * rng.normal(size=(points, classes))
    true, claimed = (np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in (logits, claimed))
    return claimed, (rng.random(points)[:, None] > true.cumsum(axis=1)[:, :-1]).sum(axis=1)


def test_by_hand():
    # (4 + 1) · .8 = the 4th smallest; · .6 = the 3rd
    assert conformal_sets(PROBS, PROBS, LABELS, level=0.8).threshold == pytest.approx(0.95)
    # · .75 = 3.75, the 4th; a wrong version, the 4 · .75 = 3rd of the four there are, would be .65
    assert conformal_sets(PROBS, PROBS, LABELS, level=0.75).threshold == pytest.approx(0.95)
    found = conformal_sets(PROBS, PROBS, LABELS, level=0.6)
    assert found.threshold == pytest.approx(0.65)
    np.testing.assert_array_equal(found.sets, PROBS >= 0.35)
    found = conformal_sets(PROBS, PROBS, LABELS, level=0.6, score="aps")
    assert found.threshold == pytest.approx(0.75)
    np.testing.assert_array_equal(found.sets, [[1, 0, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0]])
    assert conformal_sets(PROBS, PROBS, LABELS, level=0.9).sets.all()  # the fifth of four: nothing can be left out


# MAPIE 1.6.0: SplitConformalClassifier(prefit=True, conformity_score="lac"), conformalize and predict_set, of these probabilities.
# Thousandths; four classes. Thresholds, and classes of each set as bits, class 0 the highest. Its "aps" always draws.
MAPIE_CALIBRATION = """
355 211 168 266 3  154 431 297 118 2  70 206 286 438 2  9 318 537 136 3  604 41 34 321 3  457 519 8 16 1  124 36 834 6 2
116 866 17 1 1  787 103 106 4 0  91 129 611 169 3  2 636 355 7 1  40 74 429 457 1  16 344 1 639 1  17 141 751 91 2
9 68 620 303 2  556 11 281 152 0  391 455 72 82 1  7 831 0 162 3  84 473 20 423 3  298 166 442 94 1
"""
MAPIE_POINTS = """
46 511 149 294  127 461 410 2  35 464 151 350  63 275 610 52  14 729 99 158  282 208 484 26  68 306 566 60  508 66 181 245
25 114 77 784  613 111 28 248  9 416 289 286  635 24 219 122
"""
MAPIE = {
    0.6: (0.703, [4, 6, 5, 2, 4, 2, 6, 8, 1, 8, 4, 8]),
    0.8: (0.834, [5, 6, 5, 6, 4, 14, 6, 11, 1, 9, 7, 10]),
    0.9: (0.864, [7, 6, 7, 6, 5, 14, 6, 11, 1, 9, 7, 10]),
}


def test_sets_are_those_of_mapie():
    calibration = np.array(MAPIE_CALIBRATION.split(), dtype=float).reshape(20, 5)
    points = np.array(MAPIE_POINTS.split(), dtype=float).reshape(12, 4) / 1_000
    for level, (threshold, sets) in MAPIE.items():
        found = conformal_sets(points, calibration[:, :4] / 1_000, calibration[:, 4].astype(int), level=level)
        assert found.threshold == pytest.approx(threshold, abs=1e-12)
        np.testing.assert_array_equal(found.sets @ [8, 4, 2, 1], sets)


@pytest.mark.slow
@pytest.mark.parametrize("score", ["lac", "aps"])
@pytest.mark.parametrize("points", [19, 50])
def test_the_chance_is_exact_in_finite_samples(score, points):
    """One fresh point for each of 2,000 calibration parts: held with chance ⌈(n + 1) .9⌉/(n + 1), accepted at 3.9 sd.

    Wrong versions: the plain quantile of n (at n = 19 the 17.1th for the 18th of 20), and sets of the classifier's own .9.
    """
    share, naive, own = np.zeros(2_000), np.zeros(2_000), np.zeros(2_000)
    claimed, labels = world(score, points, points=2_000 * (points + 1))
    claimed, labels = claimed.reshape(2_000, points + 1, -1), labels.reshape(2_000, points + 1)
    for k, (p, y) in enumerate(zip(claimed, labels, strict=True)):
        draw = generator("test", "conformal draws", score, points, k) if score == "aps" else None
        found = conformal_sets(p[-1:], p[:-1], y[:-1], level=0.9, score=score, generator=draw)
        share[k] = found.sets[0, y[-1]]
        naive[k] = 1 - p[-1, y[-1]] <= np.quantile(1 - p[np.arange(points), y[:-1]], 0.9)
        own[k] = p[-1][p[-1] > p[-1, y[-1]]].sum() < 0.9
    exact = np.ceil((points + 1) * 0.9 - 1e-9) / (points + 1)
    reach = 3.9 * np.sqrt(exact * (1 - exact) / 2_000)
    assert share.mean() == pytest.approx(exact, abs=reach)
    assert own.mean() < exact - reach
    if points == 19:
        assert naive.mean() < exact - reach


@pytest.mark.slow
def test_coverage_over_points_is_beta_distributed():
    """For one calibration part of n = 99 at .9 the coverage over all points is Beta(90, 10) (Vovk 2012): its mean and spread."""
    pool, truth = world("pool", points=20_000)
    covered = []
    for k in range(200):
        p, y = world("beta", k, points=99)
        covered.append(float(conformal_sets(pool, p, y, level=0.9).coverage(truth).estimate))
    peer = stats.beta(90, 10)
    assert np.mean(covered) == pytest.approx(peer.mean(), abs=3.9 * peer.std() / np.sqrt(200))
    assert np.std(covered, ddof=1) == pytest.approx(
        peer.std(), rel=3.9 / np.sqrt(2 * 199)
    )  # sd of a standard deviation


def test_each_class_has_its_own_chance_where_asked():
    """A classifier blind to class 0: marginal sets hold it too rarely, those by class in .9 or more (3.9 sd of 2,000 points)."""
    rng = generator("test", "blind")

    def drawn(points):
        logits = 1.5 * rng.normal(size=(points, 3))
        true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        labels = (rng.random(points)[:, None] > true.cumsum(axis=1)[:, :-1]).sum(axis=1)
        wrong = np.exp(logits - [2.0, 0.0, 0.0])
        return wrong / wrong.sum(axis=1, keepdims=True), labels

    (p, y), (q, z) = drawn(6_000), drawn(6_000)
    marginal, own = (conformal_sets(q, p, y, level=0.9, per_class=by) for by in (False, True))
    assert float(marginal.coverage(z).estimate) == pytest.approx(0.9, abs=3.9 * np.sqrt(2 * 0.09 / 6_000))
    assert marginal.class_coverage(z)[0] < 0.85
    np.testing.assert_allclose(own.class_coverage(z), 0.9, atol=3.9 * np.sqrt(2 * 0.09 / 1_800))
    assert own.threshold.shape == (3,)
    assert np.isnan(own.class_coverage(np.where(z == 0, 1, z))[0])  # a class without points


def test_without_draws_aps_of_few_classes_holds_everything():
    """Seen on people's ratings in three classes: the least probable class, true in over a tenth, always scores 1."""
    probs = np.repeat([[0.5, 0.3, 0.2], [0.4, 0.35, 0.25]], 50, axis=0)
    labels = np.tile([0, 0, 1, 1, 2], 20)
    assert conformal_sets(probs, probs, labels, level=0.9, score="aps").sets.all()
    drawn = conformal_sets(probs, probs, labels, level=0.9, score="aps", generator=generator("test", "few classes"))
    assert not drawn.sets.all()


def test_students_one_by_one():
    both = np.stack([PROBS, PROBS[::-1]])
    found = conformal_sets(both, both, LABELS, level=0.6, per_class=False)
    for s in range(2):
        alone = conformal_sets(both[s], both[s], LABELS, level=0.6)
        np.testing.assert_array_equal(found.sets[s], alone.sets)
        assert found.threshold[s] == alone.threshold
    assert found.size.shape == (2,)
    assert found.coverage(LABELS).estimate.shape == (2,)


def test_refusals():
    with pytest.raises(OptionError, match="score got 'raps'"):
        conformal_sets(PROBS, PROBS, LABELS, score="raps")
    with pytest.raises(OptionError, match="a generator belongs"):
        conformal_sets(PROBS, PROBS, LABELS, generator=generator("test", "none"))
    with pytest.raises(ShapeError, match="same students and classes"):
        conformal_sets(PROBS[:, :2] / PROBS[:, :2].sum(axis=1, keepdims=True), PROBS, LABELS)
    with pytest.raises(DataError, match="calibration_labels: labels must lie in 0 to 2"):
        conformal_sets(PROBS, PROBS, [0, 1, 2, 3])
    with pytest.raises(DataError, match="sum to one"):
        conformal_sets(2 * PROBS, PROBS, LABELS)
    with pytest.raises(OptionError, match="level"):
        conformal_sets(PROBS, PROBS, LABELS, level=1.0)
