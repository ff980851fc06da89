"""Coverage of every reported 95 % interval over 10,000 simulated experiments.

Band: the share covered among 10,000 experiments of an interval that covers .95 has sd √(.95 · .05 / 10,000) = .00218;
the required band .9415 to .9585 is .0085, or 3.9 sd, to either side (false alarm 1e-4 each). An interval outside the
band must say so in its note, and then the simulation must confirm the range in the note, give or take 3.9 sd.
"""

import re

import numpy as np
import pytest
from scipy import stats

from uqkd.estimators.averaging.laws import fit_averaging_law, fit_power_law
from uqkd.estimators.intervals.bootstrap import bootstrap_interval
from uqkd.estimators.intervals.each_prompt import variance_interval
from uqkd.estimators.intervals.mean_squares import chi_square_interval, mean_square_interval
from uqkd.estimators.intervals.pivotal import pivotal_cdf
from uqkd.seeds import generator

EXPERIMENTS = 10_000
LOW, HIGH = 0.9415, 0.9585
SLACK = 0.0085
RATIOS = (0.1, 0.3, 1.0, 3.0, 10.0)  # inter / intra


def _draws(students, responses, ratio, count=EXPERIMENTS):
    """(S, P, R) draws of `count` independent prompts: inter variance `ratio`, intra variance 1."""
    rng = generator("test", "coverage", students, responses, ratio)
    centre = np.sqrt(ratio) * rng.normal(size=(students, count, 1))
    return centre + rng.normal(size=(students, count, responses))


def _share(interval, truth):
    return float(np.mean(interval.covers(truth)))


def _stated(note):
    low, high = re.search(r"covers ([\d.]+)-([\d.]+) %", note).groups()
    return float(low) / 100, float(high) / 100


def _in_band(share):
    return LOW <= share <= HIGH


@pytest.mark.parametrize("responses", [2, 8])
@pytest.mark.parametrize("students", [5, 10, 30])
def test_default_variance_intervals(students, responses):
    """All defaults lie in the band, but for totals of fewer than ten students, whose note says up to 96.3 %."""
    for ratio in RATIOS:
        draws = _draws(students, responses, ratio)
        for component, truth in (("intra", 1.0), ("inter", ratio), ("total", 1.0 + ratio)):
            interval = variance_interval(draws, component=component)
            share = _share(interval, truth)
            if component == "total" and students < 10:
                low, high = _stated(interval.note)
                assert low - SLACK <= share <= high + SLACK, (component, ratio, share)
            else:
                assert _in_band(share), (component, ratio, share)


@pytest.mark.parametrize(("students", "responses"), [(2, 2), (3, 3)])
def test_default_variance_intervals_of_few_students_keep_their_note(students, responses):
    for ratio in (0.1, 1.0, 20.0):
        draws = _draws(students, responses, ratio)
        for component, truth in (("inter", ratio), ("total", 1.0 + ratio)):
            interval = variance_interval(draws, component=component)
            low, high = _stated(interval.note)
            assert low - SLACK <= _share(interval, truth) <= high + SLACK, (component, ratio)


@pytest.mark.parametrize(("students", "responses", "ratio"), [(5, 2, 1.0), (10, 8, 0.3), (3, 2, 3.0)])
@pytest.mark.parametrize("component", ["inter", "total"])
def test_generalized_intervals(students, responses, ratio, component):
    """The limits are quantiles of the pivotal quantity, so a truth is covered when its chance lies between the tails.

    That is used for the 10,000 (one evaluation instead of a search); the limits themselves must agree on the first 300.
    """
    draws = _draws(students, responses, ratio)
    truth, second = (ratio, -1 / responses) if component == "inter" else (1 + ratio, 1 - 1 / responses)
    terms = np.stack([draws.mean(axis=2).var(axis=0, ddof=1), second * draws.var(axis=2, ddof=1).mean(axis=0)])
    dof, at = np.array([students - 1.0, students * (responses - 1.0)]), np.full(EXPERIMENTS, truth)
    covered = (pivotal_cdf(at, terms, dof, near=0.025) >= 0.025) & (pivotal_cdf(at, terms, dof, near=0.975) <= 0.975)
    interval = variance_interval(draws[:, :300], component=component, method="generalized")
    np.testing.assert_array_equal(interval.covers(truth), covered[:300])
    share, (low, high) = covered.mean(), _stated(interval.note)
    assert low - SLACK <= share <= high + SLACK, share
    if students >= 10:
        assert _in_band(share)


def test_satterthwaite_undercovers_as_its_note_says():
    draws = _draws(2, 30, 1.0)
    squares = np.stack([30 * draws.mean(axis=2).var(axis=0, ddof=1), draws.var(axis=2, ddof=1).mean(axis=0)])
    interval = mean_square_interval(squares, [1, 58], [1 / 30, 29 / 30], method="satterthwaite")
    assert "69 %" in interval.note
    assert _share(interval, 2.0) < 0.8


def test_mutant_variance_intervals_are_rejected():
    """Wrong versions that the band must reject at S = 10, R = 2, inter / intra = 1."""
    draws = _draws(10, 2, 1.0)
    means = draws.mean(axis=2)
    within, between = draws.var(axis=2, ddof=1).mean(axis=0), 2 * means.var(axis=0, ddof=1)
    squares = np.stack([between, within])

    def share(squares, dof, coefficients):
        return _share(mean_square_interval(squares, dof, coefficients), 1.0)

    assert _in_band(share(squares, [9, 10], [0.5, -0.5]))
    assert not _in_band(share(squares, [9, 10], [0.5, 0.0]))  # noise within not subtracted
    assert not _in_band(share(squares, [10, 20], [0.5, -0.5]))  # degrees of freedom of ddof 0
    assert not _in_band(share(squares, [9, 10], [1.0, -1.0]))  # forgets R
    half = stats.norm.isf(0.025) * np.sqrt((between**2 / 9 + within**2 / 10) / 2)  # large-sample normal limits
    estimate = (between - within) / 2
    assert not _in_band(float(np.mean(np.abs(estimate - 1.0) <= half)))
    assert not _in_band(_share(chi_square_interval(between / 2, 9), 1.0))


# ------------------------------------------------------------------ averaging laws

K = np.array([1.0, 2.0, 5.0, 10.0, 20.0, 50.0])


def _law_shares(fit, values, truths):
    hits = np.zeros(len(truths))
    for row in values:
        hits += [interval.covers(truth) for interval, truth in zip(fit(row), truths, strict=True)]
    return hits / len(values)


@pytest.mark.slow
def test_averaging_law_with_known_errors():
    error = np.array([0.3, 0.2, 0.1, 0.1, 0.05, 0.05])
    values = 0.2 + 2.0 / K + error * generator("test", "coverage", "law").normal(size=(EXPERIMENTS, K.size))

    def fit(row, factor=1.0):
        law = fit_averaging_law(K, row, factor * error)
        return law.floor_interval, law.slope_interval

    assert all(map(_in_band, _law_shares(fit, values, (0.2, 2.0))))
    # mutants: errors too small by a tenth; a standard error taken for a variance
    assert not any(map(_in_band, _law_shares(lambda row: fit(row, 0.9), values[:10_000:2], (0.2, 2.0))))
    assert not any(map(_in_band, _law_shares(lambda row: fit(row, np.sqrt(error)), values[:2000], (0.2, 2.0))))


@pytest.mark.slow
def test_averaging_law_and_power_law_from_variance_estimates():
    """Variances with 200 degrees of freedom, se = V √(2 / dof): their likelihood covers, plain weights do not.

    500 experiments for the likelihood, whose limits are searched: sd .0098, and 3.9 of them are allowed.
    """
    dof, floor = 200, 0.2
    chi = generator("test", "coverage", "proportional").chisquare(dof, size=(EXPERIMENTS, K.size)) / dof
    relative = np.sqrt(2 / dof)

    def fit(row):
        law = fit_averaging_law(K, row, relative * row, proportional=True)
        return law.floor_interval, law.slope_interval

    def plain(row):
        law = fit_averaging_law(K, row, relative * row)
        return law.floor_interval, law.slope_interval

    def power(row):
        law = fit_power_law(K, row, relative * row)
        return law.exponent_interval, law.scale_interval

    assert np.abs(_law_shares(fit, (floor + 2.0 / K) * chi[:500], (floor, 2.0)) - 0.95).max() <= 3.9 * 0.0098
    assert not all(map(_in_band, _law_shares(plain, (floor + 2.0 / K) * chi, (floor, 2.0))))
    assert all(map(_in_band, _law_shares(power, 2.0 / K * chi, (-1.0, 2.0))))
    assert not all(
        map(_in_band, _law_shares(power, (floor + 2.0 / K) * chi[:2000], (-1.0, 2.0)))
    )  # a floor is no power


# ------------------------------------------------------------------ bootstrap

CHUNKS = 40  # experiments within a chunk share their bootstrap indices: that adds .007 / √40 = .001 to the sd


def _mean(sample):
    return sample.mean(axis=0)


def _mean_both(sample):
    return sample.mean(axis=(0, 1))


def _se(sample):
    return sample.std(axis=0, ddof=1) / np.sqrt(len(sample))


def _bootstrap_share(name, draw, truth, statistic=_mean, resample=0, **options):
    hits = 0
    for chunk in range(CHUNKS):
        rng = generator("test", "coverage", "bootstrap", name, chunk)
        data = draw(rng, EXPERIMENTS // CHUNKS)
        interval = bootstrap_interval(data, statistic, generator=rng, resample=resample, **options)
        hits += int(np.sum(interval.covers(truth)))
    return hits / EXPERIMENTS, interval.note


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 20, 50])
def test_bootstrap_default_and_studentized_for_means(n):
    def draw(rng, count):
        return rng.normal(size=(n, count))

    assert _in_band(_bootstrap_share(("default", n), draw, 0.0)[0])
    assert _in_band(_bootstrap_share(("t", n), draw, 0.0, method="studentized", standard_error=_se)[0])


@pytest.mark.parametrize(("method", "stated"), [("percentile", 0.926), ("basic", 0.929), ("bca", 0.932)])
def test_other_bootstraps_miss_by_what_their_note_says(method, stated):
    share, note = _bootstrap_share(method, lambda rng, count: rng.normal(size=(20, count)), 0.0, method=method)
    assert f"{100 * stated:.1f}" in note
    assert share == pytest.approx(stated, abs=SLACK)
    assert share < LOW


def test_bootstrap_misses_for_skewed_data_as_its_note_says():
    share, note = _bootstrap_share("skewed", lambda rng, count: rng.exponential(size=(20, count)), 1.0)
    assert "92.4 %" in note
    assert share == pytest.approx(0.924, abs=SLACK)


@pytest.mark.parametrize(("effects", "low", "high"), [((1.0, 1.0, 1.0), 0.958, 0.985), ((0.0, 0.0, 1.0), 0.997, 1.0)])
def test_pigeonhole_is_conservative_as_its_note_says(effects, low, high):
    student, prompt, cell = effects

    def draw(rng, count):
        table = cell * rng.normal(size=(10, 30, count))
        return table + student * rng.normal(size=(10, 1, count)) + prompt * rng.normal(size=(1, 30, count))

    share, note = _bootstrap_share(effects, draw, 0.0, statistic=_mean_both, resample=(0, 1), replicates=399)
    assert "95.8-98.5 %" in note
    assert low - SLACK <= share <= high + SLACK
