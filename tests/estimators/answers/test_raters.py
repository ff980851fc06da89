"""Distances to raters: every expectation by enumeration of all outcomes of n raters, and simulations that reject wrong versions."""

from itertools import combinations, combinations_with_replacement

import numpy as np
import pytest
from scipy import special, stats

from uqkd import seeds
from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError
from uqkd.estimators import distance_to_raters, entropy_from_counts, half_width, kl_divergence
from uqkd.estimators.answers.raters import entropy_bias
from uqkd.theory.checks.check import Check, evaluate

P = (0.6, 0.35, 0.05)
Q = (0.3, 0.3, 0.4)


def outcomes(n, classes):
    """All counts of n raters, (M, C)."""
    drawn = list(combinations_with_replacement(range(classes), n))
    return np.stack([np.bincount(one, minlength=classes) for one in drawn])


def expectations(n, p, q):
    """Exact expectations of every field, from SciPy's multinomial probabilities."""
    counts = outcomes(n, len(p))
    mass = stats.multinomial.pmf(counts, n, p)
    assert mass.sum() == pytest.approx(1.0, rel=1e-12)
    found = distance_to_raters(np.tile(q, (len(counts), 1)), counts)
    return {
        name: float(mass @ getattr(found, name)) for name in ("kl", "squared", "kl_plugin", "squared_plugin", "entropy")
    }


@pytest.mark.parametrize("n", [2, 3, 5, 12, 20])
@pytest.mark.parametrize(
    ("p", "q"), [(P, Q), ((0.5, 0.5), (0.9, 0.1)), ((1.0, 0.0), (0.7, 0.3)), ((0.97, 0.02, 0.01), Q)]
)
def test_expectations_over_all_outcomes(n, p, q):
    """Rounding is all that is allowed: sums of at most 231 terms of size below 10."""
    p, q = np.array(p), np.array(q)
    seen = expectations(n, p, q)
    entropy = stats.entropy(p)
    bias = sum(pk * sum((1 - pk) ** v / v for v in range(n, 20_000)) for pk in p if pk > 0)  # (1 − .01)^20,000 < 1e-87
    assert seen["squared"] == pytest.approx(((p - q) ** 2).sum(), abs=1e-12)
    assert seen["squared_plugin"] == pytest.approx(((p - q) ** 2).sum() + (1 - (p**2).sum()) / n, abs=1e-12)
    assert seen["entropy"] == pytest.approx(entropy - bias, abs=1e-12)
    assert float(entropy_bias(p, n)) == pytest.approx(bias, abs=1e-12)
    assert seen["kl"] == pytest.approx(stats.entropy(p, q) + bias, abs=1e-12)
    assert seen["kl_plugin"] > seen["kl"] or p.max() == 1.0
    # two classifiers on the same texts: the raters' entropy, and all of its bias, cancels
    other = expectations(n, p, np.full(len(p), 1 / len(p)))
    gap = stats.entropy(p, q) - stats.entropy(p, np.full(len(p), 1 / len(p)))
    assert seen["kl"] - other["kl"] == pytest.approx(gap, abs=1e-12)


def test_by_hand():
    """Raters 1 and 1 of two classes, q = (¼, ¾): entropy ψ(2) − ψ(1) = 1, Σ p² estimated as 0."""
    found = distance_to_raters([[0.25, 0.75]], [[1, 1]])
    assert found.entropy[0] == pytest.approx(1.0)
    assert found.kl[0] == pytest.approx(-0.5 * np.log(0.25 * 0.75) - 1.0)
    assert found.squared[0] == pytest.approx(0.0625 + 0.5625 - 1.0)
    assert found.raters.tolist() == [2]


def test_entropy_is_that_of_all_orders_of_the_raters():
    """The estimate is a U-statistic: 1/v times the share of the (v + 1)-subsets with a first draw unlike all others, summed."""
    rated = [0, 0, 0, 1, 1, 2]
    n = len(rated)
    by_subsets = 0.0
    for v in range(1, n):
        alone = [
            np.mean([rated[i] not in [rated[j] for j in rest] for rest in combinations(sorted({*range(n)} - {i}), v)])
            for i in range(n)
        ]
        by_subsets += np.mean(alone) / v
    assert entropy_from_counts([[3, 2, 1]])[0] == pytest.approx(by_subsets, rel=1e-12)


@pytest.mark.parametrize("n", [2, 5, 20, 99])
def test_what_is_left_of_the_bias_lies_below_its_bound(n):
    """Two classes over a grid of p: below 2/(e·n), and for many raters near the largest x·E1(x)/n = .2815/n, at p = .4348/n.

    For p = x/n the sum Σ_{v >= n} (1 − p)^v/v tends to E1(x); at x = 4, where 4·E1(4) = .0151, next to nothing is left.
    """
    p = np.linspace(1e-4, 0.5, 2_001)
    left = entropy_bias(np.stack([p, 1 - p], axis=1), n)
    assert left.min() >= 0
    assert left.max() < 2 / (np.e * n)
    if n == 99:
        assert left.max() == pytest.approx(0.2815 / n, rel=0.02)
        assert p[left.argmax()] == pytest.approx(0.4348 / n, rel=0.1)
    if n > 8:
        assert float(entropy_bias([1 - 4 / n, 4 / n], n)) < 0.0152 / n


def texts(n, replicates, key, *, classes=3):
    """Counts of `replicates` texts of one distribution."""
    return seeds.generator(*key).multinomial(n, P[:classes], size=replicates)


def value(field, n=20):
    def simulate(replicates, key):
        counts = texts(n, replicates, key)
        return np.asarray(getattr(distance_to_raters(np.tile(Q, (replicates, 1)), counts), field))

    return simulate


def miller_madow_twice(replicates, key):
    """(C − 1)/(2n) taken off twice."""
    return value("kl_plugin")(replicates, key) - 2 / 20


def with_replacement(replicates, key):
    """Σ p² from all pairs of raters, each with itself too."""
    return value("squared_plugin")(replicates, key)


def wrong_way(replicates, key):
    """KL(classifier ‖ raters) of smoothed shares."""
    share = (texts(20, replicates, key) + 0.5) / 21.5
    return kl_divergence(np.tile(Q, (replicates, 1)), share)


def corrected_by_n(replicates, key):
    """(1 − Σp̂²)/n taken off, and not /(n − 1)."""
    share = texts(20, replicates, key) / 20
    plain = ((share - np.array(Q)) ** 2).sum(axis=1)
    return plain - (1 - (share**2).sum(axis=1)) / 20


@pytest.mark.parametrize(
    "check",
    [
        Check(
            "raters", "KL to raters", float(kl_divergence(P, Q) + entropy_bias(P, 20)), value("kl"), bias=0.05,
            wrong_simulation={"plug-in": value("kl_plugin"), "corrected twice": miller_madow_twice, "wrong way round": wrong_way},
            wrong_theory={"forgets what is left of rare classes, and doubles it": float(kl_divergence(P, Q)) - 0.05},
        ),
        Check(
            "raters", "squared distance", float(((np.array(P) - Q) ** 2).sum()), value("squared"), bias=0.05,
            wrong_simulation={"raters paired with themselves": with_replacement},
            wrong_theory={"one rater instead of all": float(((np.array(P) - Q) ** 2).sum() + 1 - (np.array(P) ** 2).sum())},
        ),
        Check(
            "raters", "squared distance, five raters", float(((np.array(P) - Q) ** 2).sum()), value("squared", 5), bias=0.05,
            wrong_simulation={"plug-in": value("squared_plugin", 5), "plug-in of ten": value("squared_plugin", 10)},
        ),
    ],
    ids=lambda check: check.quantity,
)  # fmt: skip
def test_simulations_agree_and_reject_wrong_versions(check):
    true, *wrong = evaluate(check)
    assert not true.rejected, true
    assert [one.version for one in wrong if not one.rejected] == []


def test_dividing_the_correction_by_n_is_seen_with_few_raters():
    """n = 5: the wrong divisor leaves a fifth of the correction, (1 − Σp²)/25 = .0207: sized by its own pilot."""
    truth = float(((np.array(P) - Q) ** 2).sum())

    def simulate(replicates, key):
        share = texts(5, replicates, key) / 5
        return ((share - np.array(Q)) ** 2).sum(axis=1) - (1 - (share**2).sum(axis=1)) / 5

    check = Check(
        "raters", "divisor n − 1", truth, value("squared", 5), bias=0.05, wrong_simulation={"divisor n": simulate}
    )
    true, wrong = evaluate(check)
    assert not true.rejected
    assert wrong.rejected


def test_means_count_students_and_texts():
    """Two-way: four students that differ by a constant each, over texts that differ; by hand from the analysis of variance."""
    rng = seeds.generator("test", "raters", "means")
    counts = rng.multinomial(20, P, size=30)
    probs = np.stack([np.tile(softened, (30, 1)) for softened in rng.dirichlet(np.full(3, 20.0), size=4)])
    found = distance_to_raters(probs, counts)
    assert found.kl.shape == (4, 30)
    table = found.kl
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    both = table - rows[:, None] - columns + table.mean()
    expected = 30 * rows.var(ddof=1) + 4 * columns.var(ddof=1) - (both**2).sum() / (3 * 29)
    assert found.mean.kl == pytest.approx(table.mean())
    assert found.mean.kl_se == pytest.approx(np.sqrt(expected / 120))
    alone = distance_to_raters(probs[0], counts)
    assert np.allclose(alone.kl, table[0], rtol=0, atol=0)
    assert alone.mean.squared_se == pytest.approx(alone.squared.std(ddof=1) / np.sqrt(30))


def test_intervals_over_texts_hold_the_truth_and_those_of_the_plug_in_do_not():
    """100 texts of their own distributions, 20 raters each: 600 experiments; the exact binomial 99.9 % bounds of .95 are 552, 588.

    A finite population of texts is drawn from, so that the truth is known: 500 distributions.
    """
    rng = seeds.generator("test", "raters", "coverage")
    population = rng.dirichlet((2.0, 2.0, 1.0), size=500)
    asked = special.softmax(0.6 * np.log(population + 0.02), axis=1)
    truth = float(((population - asked) ** 2).sum(axis=1).mean())
    low, high = stats.binom.interval(0.999, 600, 0.95)
    hits = {"squared": 0, "squared_plugin": 0}
    for _ in range(600):
        drawn = rng.integers(500, size=100)
        found = distance_to_raters(asked[drawn], rng.multinomial(20, population[drawn]))
        for name in hits:
            values = getattr(found, name)
            reach = half_width(values.std(ddof=1) / 10, 100)
            hits[name] += bool(abs(values.mean() - truth) <= reach)
    assert low <= hits["squared"] <= high
    assert hits["squared_plugin"] < 300


@pytest.mark.parametrize(
    ("probs", "counts", "options", "error", "message"),
    [
        ([[0.5, 0.5]], [[1, 0]], {}, DataError, "at least 2 raters of each text; row 0 has 1"),
        ([[0.5, 0.5]], [[3, -1]], {}, DataError, "got -1 at index \\(0, 1\\)"),
        ([[0.5, 0.5]], [[2.5, 1]], {}, DataError, "got 2.5 at index \\(0, 0\\)"),
        ([[0.5, 0.5]], [[np.nan, 1]], {}, NotFiniteError, "counts"),
        ([[0.5, 0.5]], [[3, 1], [2, 2]], {}, ShapeError, "P=2 texts"),
        ([[0.5, 0.5]], [[3, 1, 1]], {}, ShapeError, "C=3 classes"),
        ([[0.5, 0.5]], [3, 1], {}, ShapeError, "axes \\(P texts"),
        ([[0.5, 0.6]], [[3, 1]], {}, DataError, "sum to one"),
        ([[0.5, 0.5]], [[3, 1]], {"least": -0.1}, OptionError, "least"),
    ],
)
def test_what_is_no_rating_is_refused(probs, counts, options, error, message):
    with pytest.raises(error, match=message):
        distance_to_raters(probs, counts, **options)


def test_a_class_that_a_rater_chose_and_a_classifier_excludes_is_infinitely_far():
    found = distance_to_raters([[1.0, 0.0], [1.0, 0.0]], [[9, 1], [9, 0]])
    assert found.kl[0] == np.inf
    assert found.kl[1] == 0.0
    assert distance_to_raters([[1.0, 0.0]], [[9, 1]], least=1e-3).kl[0] == pytest.approx(
        0.1 * np.log(1000) - found.entropy[0]
    )
