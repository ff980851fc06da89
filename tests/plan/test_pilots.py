"""Components from pilots: against analyses of variance done elsewhere, and against the truth they were drawn from."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from statsmodels.formula.api import ols

from uqkd import seeds
from uqkd.errors import DataError, OptionError, ShapeError, VarianceError
from uqkd.estimators import two_way_mean, variance_components
from uqkd.plan import (
    Costs,
    Design,
    components_at_several_k,
    components_of_design,
    components_of_draws,
    components_of_table,
    plan,
)
from uqkd.plan.pilots import of_mean_squares
from uqkd.plan.prediction import Question, predict
from uqkd.theory.statements.planning import mean_variance

S, P, R = 5, 6, 3


def draws_of(key, *, parts=(1.0, 0.5, 0.3, 2.0), size=(S, P, R)):
    """Answers with components prompt, student, both and decoding."""
    return draws_from(seeds.generator("test", "plan", "pilot", *key), parts, size)


def draws_from(generator, parts, size):
    prompt, student, both, decoding = np.sqrt(parts)
    cells = prompt * generator.standard_normal(size[1]) + student * generator.standard_normal((size[0], 1))
    return (cells + both * generator.standard_normal(size[:2]))[..., None] + decoding * generator.standard_normal(size)


def test_mean_squares_are_those_of_statsmodels():
    """Its ANOVA of the crossed model with replicates; expectations solved by hand."""
    draws = draws_of(("anova",))
    s, p, _ = np.indices(draws.shape).reshape(3, -1)
    table = sm.stats.anova_lm(ols("y ~ C(s) * C(p)", pd.DataFrame({"y": draws.ravel(), "s": s, "p": p})).fit())
    student, prompt, both, within = (table["sum_sq"] / table["df"]).to_numpy()
    found = components_of_draws(draws)
    expected = [(prompt - both) / (S * R), (student - both) / (P * R), (both - within) / R, within]
    np.testing.assert_allclose(found.estimate, expected, rtol=1e-9)
    assert found.effects == ("prompt", "student", "prompt:student", "decoding")


def test_a_pilot_as_large_as_the_plan_has_the_usual_standard_error():
    """At the pilot's own size it is that of `two_way_mean`, for draws and for tables."""
    draws = draws_of(("usual",))
    for pilot in (components_of_draws(draws), components_of_table(draws.mean(axis=2), draws=R)):
        unbiased = dict(
            zip(pilot.effects, pilot.estimate, strict=True)
        )  # negative ones too: the same sum of mean squares
        error = np.sqrt(mean_variance(unbiased, **Design(1, S, R if "decoding" in unbiased else 1, P).levels()))
        assert error == pytest.approx(two_way_mean(draws.mean(axis=2))[1], rel=1e-9)


def crossed(draws, *, k):
    levels = {"responses": np.repeat([0, 1, 2], 2), "initialisation": np.tile([0, 1], 3)}
    return components_of_design(draws, levels, k=k), levels


def test_a_crossed_design_is_that_of_variance_components():
    """The same components with prompts as one more factor; the teacher's k times as large, for one response."""
    draws = draws_of(("crossed",), size=(6, P, R))
    found, levels = crossed(draws, k=4)
    s, p, _ = np.indices(draws.shape).reshape(3, -1)
    table = {"t": levels["responses"][s], "i": levels["initialisation"][s], "p": p, "value": draws.ravel()}
    other = variance_components(table, ["t", "i", "p"])
    same = {
        "teacher": ("t", 4), "initialisation": ("i", 1), "prompt": ("p", 1), "teacher:initialisation": ("t:i", 4),
        "prompt:teacher": ("t:p", 4), "prompt:initialisation": ("i:p", 1), "prompt:teacher:initialisation": ("t:i:p", 4),
        "decoding": ("residual", 1),
    }  # fmt: skip
    assert set(found.effects) == set(same)
    for effect, (name, times) in same.items():
        assert found.estimate[found.effects.index(effect)] == pytest.approx(times * other.of(name), rel=1e-9, abs=1e-12)


def test_a_crossed_design_of_means_keeps_draws_and_where_they_were_drawn_k():
    means = draws_of(("means",), size=(6, P, 1))
    assert crossed(means, k=4)[0].held == {"draws": 1, "k": 4}
    levels = {"responses": np.repeat([0, 1, 2], 2), "initialisation": np.tile([0, 1], 3)}
    assert components_of_design(means, levels, k=4, decoding=False).held == {"draws": 1}
    with pytest.raises(DataError, match="balanced"):
        components_of_design(means, {**levels, "initialisation": [0, 1, 0, 1, 0, 0]}, k=4)


def test_several_k_tell_apart_what_stays_exactly():
    """Mean squares put to their expectations give the components back, whatever the weights."""
    truth = dict(zip(("p", "s", "t", "ps", "pt", "d", "dt"), (0.9, 0.2, 1.6, 0.3, 2.4, 1.0, -0.8), strict=True))
    pilots = {k: draws_of(("k", k)) for k in (1, 2, 8)}
    found = components_at_several_k(pilots)
    rows, squares = [], []
    for k in pilots:
        cell = np.array([0, 0, 0, 1, 1 / k, 1 / R, 1 / (k * R)])
        rows += [P * np.array([0, 1, 1 / k, 0, 0, 0, 0]) + cell, cell, np.array([0, 0, 0, 0, 0, 1, 1 / k])]
    rows.append(np.array([1, 0, 0, *(np.array(rows[1::3])[:, 3:].sum(axis=0) / (9 * S))]))
    squares = np.array(rows) @ np.array(list(truth.values()))
    np.testing.assert_allclose(found.contrasts @ squares, list(truth.values()), rtol=1e-8, atol=1e-9)
    assert found.effects[2] == "teacher"
    assert not found.held


def test_one_k_is_held_and_said():
    found = plan(components_of_draws(draws_of(("held",)), k=8), Costs(0.1, 10.0, draw=0.1), budget=999.0)
    assert found.design.k == 8
    assert any("held at the pilot's 8" in note for note in found.notes)
    with pytest.raises(OptionError, match="the pilot had k=8 alone"):
        plan(components_of_draws(draws_of(("held",)), k=8), Costs(0.1, 10.0, draw=0.1), budget=999.0, limits={"k": 4})


def test_what_is_below_zero_is_said_taken_as_zero_and_stays_in_the_interval():
    """Prompts that are alike: the estimate is negative, the plan's is not, and the upper limit still reckons with some."""
    draws = draws_of(("negative",), parts=(0.0, 1.0, 0.0, 4.0))
    found = components_of_draws(draws)
    assert found.estimate.min() < 0 <= found.used.min()
    best = plan(found, Costs(student=10.0, draw=0.1, prompt=0.1), budget=999.0)
    assert any("estimated below zero and taken as zero" in note for note in best.notes)
    assert best.standard_error.low <= best.standard_error.estimate <= best.standard_error.high


def test_a_cautious_plan_reckons_with_students_that_the_pilot_did_not_see_differ():
    """Mean squares of students and of both alike: the plan takes the fewest students; a cautious one does not."""
    pilot = of_mean_squares([1.0, 9.0, 1.0], students=5, prompts=20)
    costs = Costs(student=10.0, draw=0.01, prompt=0.05)
    plain, cautious = (plan(pilot, costs, budget=200.0, cautious=how) for how in (False, True))
    assert plain.design.students < 5 < cautious.design.students
    assert cautious.standard_error.high < plain.standard_error.high
    assert any("upper end" in note for note in cautious.notes)
    assert plan({"student": 1.0}, Costs(student=1.0), budget=9.0, cautious=True).design.students == 9


@pytest.mark.parametrize(("shape", "said"), [((1, 6, 3), "one student"), ((5, 1, 3), "P >= 2 prompts")])
def test_a_pilot_that_shows_too_little_is_refused(shape, said):
    with pytest.raises(ShapeError, match=said):
        components_of_draws(np.zeros(shape))


def test_a_pilot_without_variation_is_refused():
    with pytest.raises(VarianceError, match="do not vary at all"):
        components_of_draws(np.full((5, 6, 3), 0.1))
    with pytest.raises(VarianceError, match="do not vary at all"):
        of_mean_squares([0.0, 0.0, 0.0], students=5, prompts=6)


def test_several_k_must_fit_together():
    with pytest.raises(OptionError, match="two or more k"):
        components_at_several_k({4: draws_of(("one",))})
    with pytest.raises(ShapeError, match="the same P prompts"):
        components_at_several_k({1: draws_of(("a",)), 4: draws_of(("b",))[:, :3]})


def test_fixed_prompts_stay_and_their_differences_are_no_error():
    pilot = components_of_draws(draws_of(("fixed",), parts=(100.0, 0.5, 0.3, 2.0)))
    found = plan(pilot, Costs(student=10.0, draw=0.1), budget=999.0, prompts="fixed")
    assert found.design.prompts == P
    sample = plan(pilot, Costs(student=10.0, draw=0.1), budget=999.0, limits={"prompts": P})
    assert found.standard_error.estimate < sample.standard_error.estimate / 3


ALL = {"prompt": 0.5, "student": 0.3, "prompt:student": 0.4, "decoding": 1.0}


@pytest.mark.parametrize(
    ("quantity", "truth"), [("mean", ALL), ("mean", {**ALL, "prompt": 0.0, "student": 0.0}), ("inter", ALL)]
)
@pytest.mark.slow
def test_the_interval_covers(quantity, truth):
    """Pilots of 5 students; the table of `make coverage` has more. Of 800 pilots a share of .95 lies within 2.5 points with chance
    1 − 1e-3 (3.3 standard errors of .77 %). Components cut off at zero one by one would cover 61–75 % of the second truth."""
    design, question, hits = Design(1, 8, 2, 40), Question(quantity), []
    true = float(np.sqrt(question.variance(truth, **design.levels())))
    generator = seeds.generator("test", "plan", "covers", quantity, *truth.values())
    for _ in range(800):
        pilot = components_of_draws(draws_from(generator, list(truth.values()), (5, 20, 2)))
        own = predict(pilot, design, question)
        hits.append(own.low <= true <= own.high)
    assert abs(np.mean(hits) - 0.95) < 0.025
