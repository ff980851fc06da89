"""Distances to raters: every expectation by enumeration of all outcomes of n raters, and simulations that reject wrong versions."""

from itertools import combinations, combinations_with_replacement

import numpy as np
import pytest
from scipy import optimize, special, stats

from uqkd import seeds
from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError
from uqkd.estimators import distance_to_raters, half_width, kl_divergence
from uqkd.estimators.answers import raters
from uqkd.estimators.answers.raters import PENALTY, PROBABILITIES, entropy_bias, entropy_terms
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
    bias = entropy - sum(sum(stats.binom.pmf(c, n, pk) * entropy_terms(n)[c] for c in range(n + 1)) for pk in p)
    assert seen["squared"] == pytest.approx(((p - q) ** 2).sum(), abs=1e-12)
    assert seen["squared_plugin"] == pytest.approx(((p - q) ** 2).sum() + (1 - (p**2).sum()) / n, abs=1e-12)
    assert seen["entropy"] == pytest.approx(entropy - bias, abs=1e-12)
    assert entropy_bias([p], n)[0] == pytest.approx(bias, abs=1e-12)
    assert seen["kl"] == pytest.approx(stats.entropy(p, q) + bias, abs=1e-12)
    assert abs(bias) < (0.1 if n > 3 else 0.2) * len(p) / n
    if p.max() < 1.0 and n > 3:  # the plug-in is too large by far more
        assert seen["kl_plugin"] - stats.entropy(p, q) > 2 * abs(bias)
    # two classifiers on the same texts: the raters' entropy, and all of its bias, cancels
    other = expectations(n, p, np.full(len(p), 1 / len(p)))
    gap = stats.entropy(p, q) - stats.entropy(p, np.full(len(p), 1 / len(p)))
    assert seen["kl"] - other["kl"] == pytest.approx(gap, abs=1e-12)


def test_by_hand():
    """Raters 1 and 1 of two classes, q = (¼, ¾): Σ p² estimated as 0; with two raters one weight h of a single choice is fitted.

    ½ is its unbiased part, and what is added is Σ b·m/(Σ b² + 3·mean b) for b = 2p(1 − p), m = −p·log p − b/2: least squares in one
    unknown.
    """
    found = distance_to_raters([[0.25, 0.75]], [[1, 1]])
    p = PROBABILITIES
    b, m = 2 * p * (1 - p), -p * np.log(p) - p * (1 - p)
    once = 0.5 + (b @ m) / (b @ b + 3 * b.mean())
    assert found.entropy[0] == pytest.approx(2 * once, rel=1e-12)
    assert found.kl[0] == pytest.approx(-0.5 * np.log(0.25 * 0.75) - 2 * once)
    assert found.squared[0] == pytest.approx(0.0625 + 0.5625 - 1.0)
    assert found.raters.tolist() == [2]


def test_the_part_without_bias_is_that_of_all_subsets_of_the_raters(monkeypatch):
    """It is a U-statistic: 1/v times the share of the (v + 1)-subsets with a first rater unlike all others, summed over v."""
    rated, n = [0, 0, 0, 1, 1, 2], 6
    by_subsets = 0.0
    for v in range(1, n):
        alone = [
            np.mean([rated[i] not in [rated[j] for j in rest] for rest in combinations(sorted({*range(n)} - {i}), v)])
            for i in range(n)
        ]
        by_subsets += np.mean(alone) / v
    monkeypatch.setattr(raters, "MANY", 0)
    assert entropy_terms.__wrapped__(n)[[3, 2, 1]].sum() == pytest.approx(by_subsets, rel=1e-12)


def test_what_is_added_is_the_least_squares_solution():
    """Against a general minimiser of the same sum, from SciPy's own binomial probabilities: equal to its tolerance."""
    n, p = 5, PROBABILITIES
    chance = stats.binom.pmf(np.arange(n + 1)[None], n, p[:, None])
    plain = np.array([c / n * (special.digamma(n) - special.digamma(c)) if c else 0.0 for c in range(n + 1)])

    def loss(added):
        terms = plain + np.concatenate([[0.0], added, [0.0]])
        return ((chance @ terms + p * np.log(p)) ** 2).sum() + PENALTY * (chance.mean(axis=0)[1:n] * added**2).sum()

    best = optimize.minimize(loss, np.zeros(n - 1), tol=1e-14)
    assert entropy_terms(n)[1:n] - plain[1:n] == pytest.approx(best.x, abs=1e-5)
    assert entropy_terms(n)[[0, n]].tolist() == [0.0, 0.0]


def left(terms, p):
    """Bias of an estimate with these terms at each p of a class, by SciPy's binomial probabilities."""
    n = len(terms) - 1
    return special.entr(p) - stats.binom.pmf(np.arange(n + 1)[None], n, p[:, None]) @ terms


@pytest.mark.parametrize(("n", "bound"), [(2, 0.2), (3, 0.12), (4, 0.1), (5, 0.1), (20, 0.1), (99, 0.1), (200, 0.1)])
def test_the_bias_of_a_class_lies_below_its_bound_and_that_of_others_above(n, bound):
    """Over probabilities between those that it was fitted at; the bounds are the page's. Wrong versions: n/10 and more."""
    p = np.concatenate([np.geomspace(1e-6, 0.5, 700), np.linspace(0.5, 1.0, 301)])
    assert np.abs(left(entropy_terms(n), p)).max() < bound / n
    share = np.arange(n + 1) / n
    times = np.arange(1, n + 1)
    plain = np.concatenate([[0.0], times / n * (special.digamma(n) - special.digamma(times))])
    plug_in = special.entr(share)
    seen_once = (
        plug_in + (share > 0) * 0.5 / n - share * 0.5 / n
    )  # Miller and Madow: half a class more for each that was seen
    for wrong in (plug_in, seen_once, plain):
        assert np.abs(left(wrong, p)).max() > (bound if n > 2 else 0.16) / n


def test_entropies_of_twenty_and_of_a_hundred_raters_grow_with_the_minority():
    for n in (20, 99, 200):
        terms = entropy_terms(n)
        assert (np.diff((terms + terms[::-1])[: n // 2 + 1]) > 0).all()


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
            "raters", "KL to raters", float(kl_divergence(P, Q)), value("kl"), bias=0.05,
            wrong_simulation={"plug-in": value("kl_plugin"), "corrected twice": miller_madow_twice, "wrong way round": wrong_way},
            wrong_theory={"forgets the entropy": float(-(np.array(P) @ np.log(Q)))},
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
