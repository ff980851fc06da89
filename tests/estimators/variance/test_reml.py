"""REML against published fits of lme4, statsmodels, the analysis of variance and simulation."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy import stats

from uqkd import seeds
from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError
from uqkd.estimators import reml_components, variance_components

# Davies & Goldsmith (1972), Statistical Methods in Research and Production: §6.4, yields of six batches (lme4's Dyestuff); and
# §6.6, 24 plates × 6 samples of penicillin (lme4's Penicillin).
YIELDS = """1545 1440 1440 1520 1580 1540 1555 1490 1560 1495 1595 1550 1605 1510 1560
            1445 1440 1595 1465 1545 1595 1630 1515 1635 1625 1520 1455 1450 1480 1445"""
DIAMETERS = """27 23 26 23 23 21 27 23 26 23 23 21 25 21 25 24 24 20 26 23 25 23 23 20 25 22 26 22 23 20 24 22 25 23 22 19
               24 20 23 21 22 19 26 22 26 24 24 21 24 21 24 22 22 20 24 21 24 23 22 19 26 23 26 24 24 21 25 22 26 24 24 20
               26 24 26 24 25 22 26 23 26 23 23 20 26 23 25 24 24 22 25 22 25 23 23 20 25 21 24 23 23 20 25 22 24 23 23 19
               24 21 23 21 21 19 26 23 26 24 24 21 25 21 24 22 22 18 25 22 25 22 22 20 24 21 24 22 24 19 24 21 24 22 21 18"""
DYESTUFF, PENICILLIN = (np.array(text.split(), dtype=float) for text in (YIELDS, DIAMETERS))


def batches():
    return {"batch": np.repeat(list("ABCDEF"), 5), "value": DYESTUFF}


def plates():
    return {"plate": np.repeat(np.arange(24), 6), "sample": np.tile(list("ABCDEF"), 24), "value": PENICILLIN}


def test_dyestuff_is_as_published():
    """Bates et al., lme4: batch 1764, residual 2451, REML criterion 319.7 (319.6543)."""
    parts = reml_components(batches(), ["batch"])
    np.testing.assert_allclose(parts.estimate, [1764.05, 2451.25], rtol=1e-6)
    assert parts.criterion == pytest.approx(319.6543, abs=5e-5)


def test_penicillin_is_as_published():
    """lme4's manual, `lmer(diameter ~ (1|plate) + (1|sample))`: sd .8467, 1.9316, .5499; REML criterion 330.8606."""
    parts = reml_components(plates(), ["plate", "sample"])
    np.testing.assert_allclose(np.sqrt(parts.estimate), [0.8467, 1.9316, 0.5499], atol=5e-5)
    assert parts.criterion == pytest.approx(330.8606, abs=5e-5)


def test_balanced_designs_are_those_of_the_analysis_of_variance():
    balanced = variance_components(plates(), ["plate", "sample"])
    np.testing.assert_allclose(reml_components(plates(), ["plate", "sample"]).estimate, balanced.estimate, rtol=1e-5)
    # The standard errors of a balanced one-way design: Var(MS) = 2 MS²/ν, from the observed information of REML.
    parts, between, within = reml_components(batches(), ["batch"]), 11271.5, 2451.25
    np.testing.assert_allclose(
        parts.standard_error,
        [np.sqrt(2 * between**2 / 5 + 2 * within**2 / 24) / 5, within * np.sqrt(2 / 24)],
        rtol=1e-4,
    )


def gapped_table(key):
    """Students × prompts × responses with 40 % missing, effects of all three kinds."""
    generator = seeds.generator(*key)
    shape = (8, 6, 4)
    values = (
        generator.standard_normal((8, 1, 1)) + 3.0 * generator.standard_normal((1, 6, 1))
        + 0.8 * generator.standard_normal((8, 6, 1)) + 0.7 * generator.standard_normal(shape)
    )  # fmt: skip
    s, p, r = np.nonzero(generator.random(shape) < 0.6)
    return {"student": s, "prompt": p, "value": values[s, p, r]}


def test_statsmodels_agrees_on_one_prompt():
    table = gapped_table(("test", "reml", "one"))
    own = table["prompt"] == 0
    frame = pd.DataFrame({name: column[own] for name, column in table.items()})
    fit = smf.mixedlm("value ~ 1", frame, groups="student").fit(reml=True)
    parts = reml_components(frame, ["student"])
    # its optimiser stops at a gradient of 1e-5 to 1e-3: the estimates agree to that, the likelihood to its square
    np.testing.assert_allclose(parts.estimate, [fit.cov_re.iloc[0, 0], fit.scale], rtol=2e-3)
    assert parts.criterion == pytest.approx(-2 * fit.llf, abs=1e-4)
    assert parts.criterion <= -2 * fit.llf + 1e-6  # no worse than theirs


@pytest.mark.slow
def test_statsmodels_agrees_on_crossed_effects_with_fixed_prompts():
    """All values in one group, with variance components for students and for students × prompts."""
    frame = pd.DataFrame(gapped_table(("test", "reml", "crossed")))
    kinds = {"student": "0 + C(student)", "both": "0 + C(student):C(prompt)"}
    model = sm.MixedLM.from_formula("value ~ C(prompt)", frame, groups=np.ones(len(frame)), vc_formula=kinds)
    fit = model.fit(reml=True)
    parts = reml_components(frame, ["student", "student:prompt"], fixed=["prompt"])
    theirs = dict(zip(model.exog_vc.names, fit.vcomp, strict=True))
    np.testing.assert_allclose(parts.estimate, [theirs["student"], theirs["both"], fit.scale], rtol=5e-3)
    assert parts.criterion == pytest.approx(-2 * fit.llf, abs=1e-3)


def test_the_criterion_is_that_of_the_whole_covariance_matrix():
    """−2 log restricted likelihood from V itself, at the estimates and off them."""
    table = gapped_table(("test", "reml", "dense"))
    parts = reml_components(table, ["student", "student:prompt"], fixed=["prompt"])
    s, p, y = table["student"], table["prompt"], table["value"]
    x = (p[:, None] == np.arange(6)).astype(float)
    same = s[:, None] == s
    both = same & (p[:, None] == p)

    def criterion(student, interaction, residual):
        v = student * same + interaction * both + residual * np.eye(len(y))
        inverse = np.linalg.inv(v)
        inner = x.T @ inverse @ x
        centred = y - x @ np.linalg.solve(inner, x.T @ inverse @ y)
        logs = np.linalg.slogdet(v)[1] + np.linalg.slogdet(inner)[1]
        return logs + centred @ inverse @ centred + (len(y) - 6) * np.log(2 * np.pi)

    # log|XᵀV⁻¹X| of the prompts' indicators, of which ours (intercept and five) are a transformation of determinant 1
    assert parts.criterion == pytest.approx(criterion(*parts.estimate), abs=1e-8)
    for step in np.vstack([np.eye(3), -np.eye(3)]):
        assert criterion(*(parts.estimate * (1 + 0.02 * step))) > parts.criterion


def test_limits_are_where_the_profile_has_risen_by_chi_square():
    """The residual's of a balanced one-way design, and the batches', from the likelihood of two mean squares.

    −2 log likelihood is Σ ν(log E + MS/E) with E = residual, residual + 5·batch, ν = 24, 5.
    """
    parts = reml_components(batches(), ["batch"])

    def criterion(batch, residual):
        expected = np.array([residual, residual + 5 * batch])
        return float((np.array([24, 5]) * (np.log(expected) + np.array([2451.25, 11271.5]) / expected)).sum())

    least = criterion(*parts.estimate)
    for at in range(2):
        for limit in (parts.low[at], parts.high[at]):
            if limit == 0.0:
                continue
            others = [criterion(*((limit, x) if at == 0 else (x, limit))) for x in np.geomspace(1e-3, 1e6, 20_001)]
            assert min(others) - least == pytest.approx(stats.chi2.ppf(0.95, 1), abs=2e-3)
    assert parts.low[1] > 0


def test_sums_of_components_have_the_error_of_the_sum():
    parts = reml_components(gapped_table(("test", "reml", "sum")), ["student", "student:prompt"], fixed=["prompt"])
    both, error = parts.of("student", "student:prompt")
    assert both == pytest.approx(parts.estimate[:2].sum(), rel=1e-15)
    assert error == pytest.approx(np.sqrt(parts.covariance[:2, :2].sum()), rel=1e-12)
    assert error < parts.standard_error[:2].sum()
    with pytest.raises(OptionError, match="did you mean 'student'"):
        parts.of("students")


def test_a_component_of_zero_has_a_one_sided_interval():
    """Students whose means are equal: REML says 0, and the likelihood bounds it from above."""
    table = {"s": [0, 0, 1, 1, 2, 2, 2], "value": [-1.0, 1.0, -2.0, 2.0, -1.5, 0.0, 1.5]}
    parts = reml_components(table, ["s"])
    assert parts.estimate[0] == 0.0
    assert np.isnan(parts.standard_error[0])
    assert parts.low[0] == 0.0
    assert 0.0 < parts.high[0] < np.inf
    np.testing.assert_allclose(parts.estimate[1], np.var(table["value"], ddof=1), rtol=1e-9)


def test_units_and_shifts():
    table = gapped_table(("test", "reml", "units"))
    parts = reml_components(table, ["student"], fixed=["prompt"])
    moved = reml_components({**table, "value": 1e6 + 1e3 * table["value"]}, ["student"], fixed=["prompt"])
    np.testing.assert_allclose(moved.estimate, 1e6 * parts.estimate, rtol=1e-5)


def test_bad_input_says_what_to_do():
    table = {"s": [0, 0, 1, 1], "value": [1.0, 3.0, 5.0, 7.0]}
    with pytest.raises(DataError, match="no column 'student'"):
        reml_components(table, ["student"])
    with pytest.raises(OptionError, match="distinct effects"):
        reml_components(table, ["s", "s"])
    with pytest.raises(OptionError, match="distinct effects"):
        reml_components(table, [])
    with pytest.raises(ShapeError, match="one level only"):
        reml_components({**table, "s": [0, 0, 0, 0]}, ["s"])
    with pytest.raises(ShapeError, match="a level for each of 4 values"):
        reml_components({**table, "s": [0, 1, 2, 3]}, ["s"])
    with pytest.raises(DataError, match="all 4 values are 1"):
        reml_components({**table, "value": [1.0, 1.0, 1.0, 1.0]}, ["s"])
    with pytest.raises(NotFiniteError):
        reml_components({**table, "value": [1.0, np.nan, 1.0, 1.0]}, ["s"])
    with pytest.raises(ShapeError, match="one 's' for each of 4"):
        reml_components({**table, "s": [0, 1]}, ["s"])
    with pytest.raises(OptionError, match="level"):
        reml_components(table, ["s"], level=95)
