"""What intervals for means over prompts of variances cover: the faults that they mend, and wrong versions that a band rejects.

Of 1,500 experiments the share that an interval of .95 covers has sd √(.95 · .05 / 1,500) = .0056; the band .925 to .99 is what the
table in docs/coverage/variance_means.csv has for these sizes (.94 to .975) and 2.7 sd to either side.
"""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from uqkd.estimators import LEVEL, decompose_variance, normal_quantile, variance_interval
from uqkd.estimators.intervals.each_prompt import LEAST_COVERED
from uqkd.estimators.intervals.prompt_means.limits import mean_limits, summed
from uqkd.estimators.intervals.prompt_means.shown import COVERED
from uqkd.estimators.intervals.prompt_means.spread import StudentSpread
from uqkd.seeds import generator
from uqkd.theory.coverage.variance_means import spans

TABLES = Path(__file__).parents[3] / "docs/coverage"
EXPERIMENTS = 1_500
LOW, HIGH = 0.925, 0.99


def in_band(share):
    return LOW <= share <= HIGH


def experiments(shape, *, common=1.0, unequal=False, key=(), inter=1.0):
    """Draws (E, S, P, R) with variances 1 within and, on average, `inter` between, and the latter at each prompt (E, P)."""
    rng, (students, prompts, _) = generator("test", "mean coverage", *shape, common, unequal, *key), shape
    of_prompt = rng.gamma(2.0, 0.5, (EXPERIMENTS, 1, prompts)) if unequal else np.ones((EXPERIMENTS, 1, prompts))
    shared = rng.normal(size=(EXPERIMENTS, students, 1))
    own = rng.normal(size=(EXPERIMENTS, students, prompts))
    effects = np.sqrt(inter * of_prompt) * (np.sqrt(common) * shared + np.sqrt(1 - common) * own)
    return effects[..., None] + rng.normal(size=(EXPERIMENTS, *shape)), inter * of_prompt[:, 0]


def spread_of(draws, responses=None):
    means = draws.mean(axis=-1)
    centred = means - means.mean(axis=1, keepdims=True)
    return StudentSpread(centred[..., None], draws.var(axis=-1, ddof=1), responses or draws.shape[-1])


def share(limits, truth):
    _, low, high = limits
    return float(np.mean((low <= truth) & (truth <= high)))


def covered(draws, truth, component="inter", *, random=True, responses=None):
    groups = np.arange(draws.shape[2]) if random else None
    return share(mean_limits(spread_of(draws, responses), component, level=LEVEL, groups=groups), truth)


def test_the_core_is_the_interval_of_the_decomposition_experiment_by_experiment():
    draws, _ = experiments((5, 4, 2))
    for component in ("inter", "intra", "total", "share"):
        _, low, high = mean_limits(spread_of(draws[:3]), component, level=LEVEL, groups=np.arange(4))
        each = [decompose_variance(one).mean.interval(component) for one in draws[:3]]
        np.testing.assert_allclose([[one.low, one.high] for one in each], np.stack([low, high], axis=1), rtol=1e-10)


@pytest.mark.parametrize(("shape", "by_error"), [((3, 5, 8), 0.75), ((5, 5, 8), 0.81), ((10, 20, 8), 0.88)])
def test_s1_an_effect_common_to_all_prompts(shape, by_error):
    """± the normal quantile of the standard error covers less than `by_error` (seen .70, .76, .83; 3 sd = .03 above)."""
    draws, _ = experiments(shape)
    assert in_band(covered(draws, 1.0, random=False))
    means = [decompose_variance(one).mean for one in draws[:400]]
    wide = normal_quantile() * np.array([mean.inter_se for mean in means])
    assert np.mean(np.abs(np.array([mean.inter for mean in means]) - 1.0) <= wide) < by_error + 0.03  # 400: sd .02


def test_s1_prompts_are_the_bottleneck():
    """Thirty students, five prompts of unequal variance: the band holds for random prompts, and for these five if fixed."""
    draws, of_prompt = experiments((30, 5, 2), common=0.0, unequal=True)
    assert 0.91 <= covered(draws, 1.0) <= HIGH  # 92-96 % in the table: few prompts hide how skewed they are
    assert in_band(covered(draws, of_prompt.mean(axis=1), random=False))
    assert covered(draws, 1.0, random=False) < 0.85  # mutant: fixed instead of random prompts


@pytest.mark.parametrize("common", [0.0, 0.5, 1.0])
def test_inter_intra_and_total_whatever_effects_have_in_common(common):
    draws, of_prompt = experiments((10, 20, 2), common=common, unequal=True)
    inter = of_prompt.mean(axis=1)
    for component, truth, population in (("inter", inter, 1.0), ("intra", 1.0, 1.0), ("total", 1.0 + inter, 2.0)):
        assert in_band(covered(draws, truth, component, random=False)), component
        assert in_band(covered(draws, population, component)), component
    assert in_band(covered(draws, inter / (1.0 + inter), "share", random=False))


def test_effects_that_go_up_at_some_prompts_and_down_at_others():
    """Slopes of students, answers of any code: no direction is theirs at all prompts, but the degrees of freedom are S − 1."""
    draws, _ = experiments((5, 100, 2))
    turned = draws * np.where(np.arange(100) % 3 == 0, -1.0, 1.0)[:, None]
    assert in_band(covered(turned, 1.0, random=False))
    spread = spread_of(turned)
    parts = spread.between
    assert parts[1].value.mean() > 0.5
    alone = mean_square_limits(parts[0], parts[2], parts[1])
    assert not in_band(alone)  # mutant: degrees of freedom from the spectrum of five students alone


def mean_square_limits(first, rest, second):
    """Coverage of the mean square between students, 1 + 1/2, where the second part counts with the third."""
    whole = replace(rest, value=rest.value + second.value)
    none = np.zeros_like(first.value), np.zeros_like(first.value, dtype=bool)
    low, high = summed(first.value + whole.value, [(1.0, first), (1.0, whole)], none, students=5, level=LEVEL)
    return np.mean((low <= 1.5) & (high >= 1.5))


def test_a_variance_of_nothing_is_covered():
    """Truth 0: the band from above does not count, as a bound on one side may always cover."""
    draws, _ = experiments((5, 20, 2), inter=0.0)
    for random in (False, True):
        assert covered(draws, 0.0, random=random) >= LOW


def test_wrong_versions_are_rejected():
    draws, _ = experiments((10, 20, 2), common=0.0)
    assert in_band(covered(draws, 1.0, random=False))
    assert not in_band(covered(draws, 1.0, random=False, responses=np.inf))  # mutant: intra/R is not subtracted
    shared, _ = experiments((10, 20, 8))
    between = spread_of(shared).about.sum(axis=-2).mean(axis=-1) / 9  # of mean 1 + 1/8
    for dof, right in ((9, True), (9 * 20, False)):  # mutant: students counted anew at each prompt
        low, high = dof * between / stats.chi2.ppf([[0.975], [0.025]], dof)
        assert in_band(float(np.mean((low <= 1.125) & (high >= 1.125)))) == right


def test_s2_students_with_variances_of_their_own():
    """Of ten students whose variances are Gamma(½) chi-square limits of equal ones cover .47 of the mean (3 sd = .05)."""
    rng = generator("test", "mean coverage", "s2")
    noise = np.sqrt(rng.gamma(0.5, 2.0, (10, 1_000, 1))) * rng.normal(size=(10, 1_000, 8))
    found = variance_interval(noise, component="intra")
    assert np.mean(variance_interval(noise, component="intra", method="mls").covers(1.0)) < 0.55
    assert np.mean(found.covers(1.0)) > 0.84
    assert found.method == "stretched"
    assert "own variances differ" in found.note
    assert "Use method='stretched'" in variance_interval(noise, component="intra", method="mls").note


@pytest.mark.parametrize(("students", "least", "before"), [(10, 0.85, 0.83), (30, 0.88, 0.78)])
def test_s3_exponential_effects(students, least, before):
    """Normal theory covers .79 of exponential effects at S = 10 and .73 at 30, worse with more students; 1,000: sd .01."""
    rng = generator("test", "mean coverage", "s3", students)
    draws = rng.exponential(size=(students, 1_000, 1)) + rng.normal(size=(students, 1_000, 8))
    assert np.mean(variance_interval(draws, method="mls").covers(1.0)) < before
    found = variance_interval(draws)
    assert np.mean(found.covers(1.0)) > least - 0.03
    assert found.method == "stretched"
    normal = rng.normal(size=(students, 1_000, 1)) + rng.normal(size=(students, 1_000, 8))
    assert variance_interval(normal).method == "mls"


def test_s7_answers_of_two_kinds_that_never_vary():
    """0/1 answers of sure students: never 0 ± 0, and the bound holds (Beta(.1, .1) students, .35 before)."""
    rng = generator("test", "mean coverage", "s7")
    draws = (rng.random((10, 1_000, 8)) < rng.beta(0.1, 0.1, (10, 1_000, 1))).astype(float)
    found = variance_interval(draws, component="intra")
    assert (found.high > found.low).all()
    assert np.mean(found.covers(0.25 - 0.25 / 1.2)) > 0.92


def table():
    with (TABLES / "variance_means.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["effects"] != "none"]


def test_notes_say_what_the_table_shows():
    assert spans(table()) == COVERED


def test_the_table_reaches_what_is_asked_of_it():
    """93.5 % of normal and 0/1 data, 90 % of t5, 88 % of exponential effects; a cell's own sampling error, 4 sd, allowed for.

    Short of it, and notes say so: three students whose effects turn between prompts, of which two degrees of freedom know little.
    """
    goals = {"normal": 0.935, "binary": 0.935, "t5": 0.9, "exponential": 0.88}
    short = {"normal": 0.9, "binary": 0.9, "t5": 0.86, "exponential": 0.82}
    for row in table():
        if row["quantity"] == "inter" and row["data"] in goals:
            goal = (short if (row["effects"], row["S"]) == ("turned", "3") else goals)[row["data"]]
            slack = 4 * np.sqrt(goal * (1 - goal) / int(row["experiments"]))
            assert float(row["covered"]) >= goal - slack, row


def test_the_page_says_how_much_too_wide_they_are():
    """Counts over the cells with normal effects, and where they are widest, as docs/estimators.md has them."""
    rows = [
        row for row in table() if (row["quantity"], row["data"]) == ("inter", "normal") and row["effects"] != "turned"
    ]
    covered, ratio = (np.array([float(row[name]) for row in rows]) for name in ("covered", "width_ratio"))
    assert covered.min() >= 0.935
    page = " ".join((TABLES.parent / "estimators.md").read_text(encoding="utf-8").split())
    assert f"Of the {len(rows)} cells" in page
    assert f"but {(covered > 0.97).sum()} more than 97 %" in page
    assert f"their median width is {np.median(ratio):.1f} times" in page
    assert f"1.5 to {ratio.max():.1f} times in four of them" in page
    widest = [(row["prompts"], row["P"]) for row, wide in zip(rows, ratio > 1.5, strict=True) if wide]
    assert widest == [("random", "5")] * 4


def test_the_note_is_of_the_students_at_hand_and_warns():
    rng = generator("test", "mean coverage", "note")
    draws = rng.normal(size=(12, 20, 1)) + rng.normal(size=(12, 20, 4))
    plain, three = decompose_variance(draws).mean.interval(), decompose_variance(draws[:3]).mean.interval()
    assert "S = 10" in plain.note
    assert "S = 3" in three.note
    assert "lognormal" in plain.note
    assert "here" not in plain.note
    heavy = decompose_variance(rng.lognormal(sigma=1.5, size=(12, 100, 1)) + 0.1 * rng.normal(size=(12, 100, 4)))
    assert "heavy tails" in heavy.mean.interval().note
    unequal = decompose_variance(draws * np.linspace(0.1, 3, 12)[:, None, None])
    assert "own variances differ" in unequal.mean.interval("intra").note
    assert "not simulated" in decompose_variance(draws[:2]).mean.interval().note


def test_notes_of_single_prompts_say_what_their_table_shows():
    with (TABLES / "variance_each.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for (quantity, method), sizes in LEAST_COVERED.items():
        column = {"mls": "normal_theory", "stretched": "covered"}[method]
        for students, said in sizes.items():
            for data, least in said.items():
                place = (quantity, str(students), data)
                seen = [float(row[column]) for row in rows if (row["quantity"], row["S"], row["data"]) == place]
                assert len(seen) == 2
                assert 0 <= 100 * min(seen) - least < 1, place
    note = variance_interval(np.arange(24.0).reshape(3, 2, 4)).note
    assert "S = 3 at least 93 % of t" in note
    assert "lognormal" in note


def test_single_prompts_reach_what_is_asked_of_them():
    """Students' heavy tails and unequal variances: 10,000 experiments, so that a cell's sd is below .003."""
    least = {"normal": 0.95, "t5": 0.92, "exponential": 0.9, "unequal": 0.82, "beta": 0.93}
    with (TABLES / "variance_each.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["data"] in least:
                assert float(row["covered"]) > least[row["data"]], row
