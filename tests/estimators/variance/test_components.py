"""Variance components of crossed designs: by hand, against statsmodels, by algebra."""

import itertools

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.stats.anova import anova_lm

from uqkd import seeds
from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError
from uqkd.estimators import chi_square_interval, decompose_variance, mean_square_interval, variance_components


def crossed(levels, replicates, name="test"):
    """A long table of a crossed design with noise on every effect."""
    generator = seeds.generator("test", "components", name, shared=True)
    rows = list(itertools.product(*(range(n) for n in levels.values()), range(replicates)))
    table = pd.DataFrame(rows, columns=[*levels, "repeat"])
    value = generator.standard_normal(len(table))
    for size in range(1, len(levels) + 1):
        for names in itertools.combinations(levels, size):
            effect = generator.standard_normal([levels[n] for n in names]) * 2.0
            value += effect[tuple(table[n] for n in names)]
    return table.assign(value=value)


def test_two_factors_by_hand():
    """[[1, 2], [5, 8]]: MS_t = 25, MS_i = 4, MS_residual = 1, so (25−1)/2, (4−1)/2 and 1."""
    parts = variance_components({"t": [0, 0, 1, 1], "i": [0, 1, 0, 1], "value": [1.0, 2.0, 5.0, 8.0]}, ["t", "i"])
    assert parts.effects == ("t", "i", "residual")
    np.testing.assert_allclose(parts.mean_square, [25, 4, 1])
    np.testing.assert_allclose(parts.estimate, [12, 1.5, 1])
    assert parts.total == 14.5
    assert list(parts.dof) == [1, 1, 1]


def test_one_factor_is_the_one_way_decomposition():
    draws = seeds.generator("test", "one way").standard_normal((6, 1, 3))
    table = {"student": np.repeat(np.arange(6), 3), "value": draws.ravel()}
    parts, one_way = variance_components(table, ["student"]), decompose_variance(draws)
    np.testing.assert_allclose(
        [parts.of("student"), parts.of("residual")], [one_way.inter[0], one_way.intra[0]], rtol=1e-12
    )


@pytest.mark.parametrize("replicates", [1, 2])
def test_mean_squares_are_those_of_statsmodels(replicates):
    table = crossed({"a": 3, "b": 4, "c": 2}, replicates)
    formula = "value ~ C(a)*C(b)*C(c)" + (" - C(a):C(b):C(c)" if replicates == 1 else "")
    anova = anova_lm(smf.ols(formula, table).fit())
    names = ["a", "b", "c", "a:b", "a:c", "b:c"] + (["a:b:c"] if replicates == 2 else []) + ["Residual"]
    rows = [":".join(f"C({n})" for n in name.split(":")) if name != "Residual" else name for name in names]
    parts = variance_components(table, ["a", "b", "c"])
    np.testing.assert_allclose(parts.mean_square, anova.loc[rows, "mean_sq"], rtol=1e-9)
    np.testing.assert_array_equal(parts.dof, anova.loc[rows, "df"])


def test_mixed_model_of_statsmodels_agrees_on_a_balanced_design():
    """Crossed random effects by REML equal the analysis of variance where all components are positive."""
    table = crossed({"teacher": 8, "init": 7}, 1, "mixed").assign(all=1)
    parts = variance_components(table, ["teacher", "init"])
    assert (parts.estimate > 0).all()
    model = smf.mixedlm("value ~ 1", table, groups="all", vc_formula={"t": "0 + C(teacher)", "i": "0 + C(init)"})
    fit = model.fit(reml=True, method="lbfgs")
    theirs = dict(zip(model.exog_vc.names, fit.vcomp, strict=True))
    np.testing.assert_allclose(parts.of("teacher"), theirs["t"], rtol=2e-3)  # the optimiser's tolerance
    np.testing.assert_allclose(parts.of("init"), theirs["i"], rtol=2e-3)
    np.testing.assert_allclose(parts.of("residual"), fit.scale, rtol=2e-3)


def test_components_add_up_and_row_order_does_not_matter():
    table = crossed({"a": 3, "b": 4}, 2)
    parts = variance_components(table, ["a", "b"])
    assert parts.effects == ("a", "b", "a:b", "residual")
    np.testing.assert_allclose(parts.total, parts.estimate.sum(), rtol=1e-15)
    shuffled = variance_components(table.sample(frac=1, random_state=1), ["a", "b"])
    np.testing.assert_allclose(shuffled.estimate, parts.estimate, rtol=1e-10)


def test_the_interaction_is_reported_not_dropped():
    """A pure interaction a·b of signs: no main effect, all in a:b."""
    table = pd.DataFrame([(a, b, r, (-1.0) ** (a + b)) for a in range(2) for b in range(2) for r in range(2)])
    parts = variance_components(dict(zip(["a", "b", "r", "value"], table.to_numpy().T, strict=True)), ["a", "b"])
    np.testing.assert_allclose(parts.of("a:b"), 4.0)  # MS 8 over 2 replicates
    assert parts.of("residual") == 0


def test_limits_hold_the_estimates_and_carry_their_level():
    parts = variance_components(crossed({"a": 5, "b": 4}, 2), ["a", "b"], level=0.9)
    assert parts.level == 0.9
    assert ((parts.low <= parts.estimate) & (parts.estimate <= parts.high)).all()


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_limits_are_those_of_the_mean_squares_above(level):
    """3 × 4 levels, one value a cell: a = (MS_a − MS_res)/4 on 2 and 6 degrees of freedom, b = (MS_b − MS_res)/3 on 3, 6."""
    parts = variance_components(crossed({"a": 3, "b": 4}, 1), ["a", "b"], level=level)
    ms_a, ms_b, ms_residual = parts.mean_square
    expected = [
        mean_square_interval([ms_a, ms_residual], [2, 6], [1 / 4, -1 / 4], level=level),
        mean_square_interval([ms_b, ms_residual], [3, 6], [1 / 3, -1 / 3], level=level),
        chi_square_interval(ms_residual, 6, level=level),
    ]
    np.testing.assert_allclose(np.transpose([parts.low, parts.high]), [[*one] for one in expected], rtol=1e-12)


def test_bad_input():
    table = crossed({"a": 2, "b": 2}, 2)
    with pytest.raises(DataError, match=r"cell \(a=0, b=0\) holds 1 values where others hold 2"):
        variance_components(table.iloc[1:], ["a", "b"])
    with pytest.raises(DataError, match=r"cell \(a=0, b=1\) holds 0 values"):
        variance_components(table[(table["a"] == 1) | (table["b"] == 0)], ["a", "b"])
    with pytest.raises(DataError, match="no column 'aa'; did you mean 'a'"):
        variance_components(table, ["aa"])
    with pytest.raises(ShapeError, match="'a' has one level"):
        variance_components(table[table["a"] == 0], ["a", "b"])
    with pytest.raises(ShapeError, match="leaves nothing for the residual"):
        variance_components({"a": [0, 1], "value": [1.0, 2.0]}, ["a"])
    with pytest.raises(NotFiniteError, match="value"):
        variance_components(table.assign(value=np.where(table["a"] == 1, np.nan, table["value"])), ["a"])
    with pytest.raises(OptionError, match="distinct"):
        variance_components(table, ["a", "a"])
    with pytest.raises(OptionError, match="did you mean 'residual'"):
        variance_components(table, ["a", "b"]).of("residuals")
