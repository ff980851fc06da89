"""The uncertainty budget on students really trained: it adds up, statsmodels agrees, the other designs agree."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from uqkd import seeds
from uqkd.estimators import leave_level_out_error, mean_variance_components, variance_components
from uqkd.mlp import SOURCES, SeedDesign
from uqkd.run import load_study

STUDY = load_study(Path(__file__).parents[2] / "studies" / "uncertainty_budget.py").module
LEVELS = {"responses": 6, "initialisation": 5, "order": 3, "bootstrap": 4}


@pytest.fixture(scope="module")
def setting():
    options = STUDY.Options(ks=(2,), alphas=(0.5,), epochs=10, frozen=8, varied=4, independent=300, levels=(6, 5, 3, 4))
    cell = STUDY.cells(options)[0]
    return STUDY.Setting(cell), cell


@pytest.fixture(scope="module")
def crossed(setting):
    seed_design = SeedDesign.crossed(LEVELS)
    return setting[0].answers(seed_design, "crossed"), seed_design.table()


def test_equal_levels_are_equal_students_whatever_the_chunk(setting, crossed):
    """A student depends on its levels alone: the last of the design, trained apart, is the same to the bit."""
    answers, factors = crossed
    last = {name: level[-1:] for name, level in factors.items()}
    alone = setting[0].answers(SeedDesign(**last, recurring=SOURCES), "crossed")
    np.testing.assert_array_equal(alone[0], answers[-1])


def test_components_and_sums_of_squares_add_up(crossed):
    answers, factors = crossed
    parts = mean_variance_components(answers, factors)
    assert len(parts.effects) == 15
    assert parts.total == pytest.approx(parts.estimate.sum(), rel=1e-14)
    # the mean squares times their degrees of freedom are the whole sum of squares about the mean
    whole = ((answers - answers.mean(axis=0)) ** 2).sum(axis=0).mean()
    assert (parts.mean_square * parts.dof).sum() == pytest.approx(whole, rel=1e-10)


def test_statsmodels_mixed_model_agrees_on_a_balanced_subset(crossed):
    """PositiveInt × initialisation, the other two frozen, at the prompt where both matter most; REML is ANOVA there."""
    answers, factors = crossed
    kept = (factors["order"] == 0) & (factors["bootstrap"] == 0)
    table = pd.DataFrame({"t": factors["responses"][kept], "i": factors["initialisation"][kept], "all": 1})
    both = [variance_components(table.assign(value=column), ["t", "i"]) for column in answers[kept].T]
    place = int(np.argmax([min(parts.of("t"), parts.of("i")) for parts in both]))
    parts, scale = both[place], answers[kept][:, place].std()
    table["value"] = answers[kept][:, place] / scale
    model = smf.mixedlm("value ~ 1", table, groups="all", vc_formula={"t": "0 + C(t)", "i": "0 + C(i)"})
    fit = model.fit(reml=True, method="lbfgs")
    theirs = dict(zip(model.exog_vc.names, fit.vcomp * scale**2, strict=True))
    np.testing.assert_allclose([parts.of("t"), parts.of("i")], [theirs["t"], theirs["i"]], rtol=5e-3)
    np.testing.assert_allclose(parts.of("residual"), fit.scale * scale**2, rtol=5e-3)


def test_sums_contain_what_they_say(crossed):
    """The sum of all components that contain a source is the variance over its levels with the others held."""
    answers, factors = crossed
    cube = answers.reshape(*LEVELS.values(), -1)
    found = STUDY.sums(answers, factors)
    for axis in range(4):
        within = cube.var(axis=axis, ddof=1).mean()
        assert found[1 + axis] == pytest.approx(within, rel=1e-10)
    assert found[0] == pytest.approx(mean_variance_components(answers, factors).total, rel=1e-12)


def test_other_designs_agree_and_wrong_ones_do_not(setting):
    table = STUDY.measure(setting[1])
    judged = table[table["statement"] == "T11"].set_index("effect")
    assert set(judged.index) == {"total", *SOURCES}
    assert (judged["z"].abs() < 4.5).all()
    main = table[table["quantity"] == "component"].set_index("effect")["estimate"]
    # the main effect alone is not what freezing all other sources shows: the interactions belong to it
    for source in ("responses", "bootstrap"):
        row = judged.loc[source]
        assert abs(row["simulated"] - main[source]) > 4.5 * row["standard_error"]


def test_a_frozen_source_has_no_component(setting):
    seed_design = SeedDesign.crossed({"responses": 3, "initialisation": 3})
    answers = setting[0].answers(seed_design, "two")
    same = setting[0].answers(SeedDesign.crossed({"responses": 1, "initialisation": 3}), "two")
    np.testing.assert_array_equal(answers[:3], same)
    frozen = SeedDesign.independent(4, freeze=SOURCES)
    assert np.ptp(setting[0].answers(frozen, "frozen"), axis=0).max() == 0.0


def test_jackknife_of_one_source_is_that_of_a_variance():
    """Answers that depend on the responses alone: leaving out levels of the other sources changes nothing."""
    factors = SeedDesign.crossed(LEVELS).table()
    effect = np.array([0.0, 1.0, 5.0, -2.0, 3.0, 3.5])
    answers = np.stack([effect, 2 * effect], axis=1)[factors["responses"]]
    found = STUDY.sums(answers, factors)
    whole = 2.5 * effect.var(ddof=1)  # mean of 1 and 2²
    np.testing.assert_allclose(found, [whole, whole, 0, 0, 0], atol=1e-12)
    without = [2.5 * np.delete(effect, i).var(ddof=1) for i in range(6)]
    expected = np.sqrt(5 / 6 * ((np.array(without) - np.mean(without)) ** 2).sum())
    np.testing.assert_allclose(
        leave_level_out_error(STUDY.sums, answers, factors), [expected, expected, 0, 0, 0], atol=1e-10
    )


def test_designs_draw_what_they_say_and_report_the_students_they_trained(monkeypatch):
    """Read off the calls: which levels met, how noisy the responses were, and what became of the answers."""
    options = STUDY.Options(ks=(3,), alphas=(0.5,), epochs=1, frozen=3, varied=4, independent=30, levels=(3, 3, 3, 3))
    cell, calls, train = STUDY.cells(options)[0], [], STUDY.distill

    def distill(X, targets, **named):
        students = train(X, targets, **named)
        calls.append((named["key"][-1], X, targets, named["seed_design"], students))
        return students

    monkeypatch.setattr(STUDY, "distill", distill)
    with seeds.ledger():
        table = STUDY.measure(cell)
    monkeypatch.undo()
    setting = STUDY.Setting(cell)
    teacher = setting.teacher.predict_mean(setting.X)
    by = {design: [c for c in calls if c[0] == design] for design in dict.fromkeys(c[0] for c in calls)}
    assert list(by) == ["crossed", "independent", *(f"all but {source}" for source in SOURCES)]
    judged = table[table["statement"] == "T11"].set_index("effect")

    [(_, X, targets, seed_design, students)] = by["independent"]
    np.testing.assert_array_equal(X, setting.X)
    for source in SOURCES:
        np.testing.assert_array_equal(getattr(seed_design, source), np.arange(30))
    assert targets.responses.shape[2] == 3
    noise = targets.responses - teacher[:, None]
    assert abs((noise**2).mean() - 0.5) < 5 * 0.5 * np.sqrt(2 / noise.size)  # a variance of so many normal values
    answers = students.predict_mean(setting.X_test)
    square = ((answers - answers.mean(axis=0)) ** 2).mean(axis=1)
    total = judged.loc["total"]
    assert total["simulated"] == pytest.approx(answers.var(axis=0, ddof=1).mean(), rel=1e-9)
    assert total["simulated_se"] == pytest.approx(square.std(ddof=1) / np.sqrt(30), rel=1e-9)

    for source in SOURCES:
        groups, own = by[f"all but {source}"], []
        for frozen, (_, _, _, seed_design, students) in enumerate(groups):
            for other in set(SOURCES) - {source}:
                np.testing.assert_array_equal(getattr(seed_design, other), np.full(4, frozen))
            own.append(students.predict_mean(setting.X_test).var(axis=0, ddof=1).mean())
        varied = np.concatenate([getattr(group[3], source) for group in groups])
        np.testing.assert_array_equal(varied, np.arange(12))
        row = judged.loc[source]
        assert row["simulated"] == pytest.approx(np.mean(own), rel=1e-9)
        assert row["simulated_se"] == pytest.approx(np.std(own, ddof=1) / np.sqrt(3), rel=1e-9)
    crossed = np.concatenate([c[4].predict_mean(setting.X_test) for c in by["crossed"]])
    factors = SeedDesign.crossed(dict(zip(SOURCES, cell["levels"], strict=True))).table()
    parts = mean_variance_components(crossed, factors)
    main = table[table["quantity"] == "component"].set_index("effect")
    np.testing.assert_allclose(main["estimate"], parts.estimate, rtol=1e-9)
    np.testing.assert_allclose(judged["predicted"], STUDY.sums(crossed, factors), rtol=1e-9)
    np.testing.assert_allclose(judged["predicted_se"], leave_level_out_error(STUDY.sums, crossed, factors), rtol=1e-9)
    both = np.hypot(judged["predicted_se"], judged["simulated_se"])
    np.testing.assert_allclose(judged["standard_error"].astype(float), both.astype(float), rtol=1e-9)
