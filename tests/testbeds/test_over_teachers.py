"""Intervals over teachers and their students: exact small cases, coverage by simulation, and wrong versions that it rejects."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from uqkd import seeds
from uqkd.estimators import half_width
from uqkd.targets import ClassTargets
from uqkd.testbeds.teachers import alike, by_teacher, counted, less, over_teachers, side_by_side

EXPERIMENTS, TEACHERS, STUDENTS = 2_000, 5, 2
# Binomial: 2,000 intervals of 95 % cover .95 ± 4 standard errors of .0049, which chance leaves once in 16,000 runs.
LEAST, MOST = 0.9305, 0.9695


def simulated(shared):
    """Experiments of teachers and students; two methods whose means differ by 1, alike by as much as is shared."""
    rng = seeds.generator("test", "teachers", shared)
    shape = EXPERIMENTS, TEACHERS
    teacher, tables = rng.normal(size=(*shape, 1)), []
    for method, mean in (("plain", 0.0), ("other", 1.0)):
        own = shared * teacher + (1 - shared**2) ** 0.5 * rng.normal(size=(*shape, 1))
        values = mean + own + rng.normal(size=(*shape, STUDENTS))
        index = pd.MultiIndex.from_product(map(range, values.shape), names=["experiment", "replicate", "student"])
        table = pd.DataFrame({"value": values.ravel()}, index=index).reset_index()
        tables.append(table.assign(method=method, measure="nll", who="student"))
    whole = pd.concat(tables, ignore_index=True)
    return pd.concat([whole, whole[whole["student"] == 0].assign(who="teacher")], ignore_index=True)


@pytest.mark.slow
def test_intervals_over_teachers_cover_and_those_over_students_do_not():
    table = simulated(0.7)
    by = ["experiment", "method"]
    each = by_teacher(table, by)
    found = over_teachers(each, by)
    truth = (found["method"] == "other").astype(float)
    assert LEAST < (abs(found["value"] - truth) <= found["half_width"]).mean() < MOST
    students = table[table["who"] == "student"]
    wrong = {
        "all students are independent": students,
        "students of the first teacher alone": students[students["replicate"] == 0],
    }
    for name, some in wrong.items():
        own = some.groupby(by)["value"].agg(["mean", "sem", "count"])
        covered = abs(own["mean"].to_numpy() - (own.index.get_level_values("method") == "other"))
        assert (covered <= half_width(own["sem"], own["count"])).mean() < LEAST, name


@pytest.mark.slow
def test_differences_teacher_by_teacher_cover_and_others_do_not():
    each = by_teacher(simulated(0.9), ["experiment", "method"])
    other, plain = (each[each["method"] == name] for name in ("other", "plain"))
    found = less(other, plain, by=["experiment"], on=["experiment"])
    covered = (abs(found["difference"] - 1.0) <= found["half_width"]).mean()
    assert LEAST < covered < MOST
    assert ((found["sign"] == "above") == (found["p"] <= 0.05))[found["difference"] > 0].all()
    normal = found["half_width"] / stats.t.ppf(0.975, TEACHERS - 1) * stats.norm.ppf(0.975)
    assert (abs(found["difference"] - 1.0) <= normal).mean() < LEAST  # as if the spread were known
    apart = [over_teachers(one, ["experiment"])["standard_error"].to_numpy() for one in (other, plain)]
    unpaired = half_width(np.hypot(*apart), TEACHERS)
    assert (abs(found["difference"] - 1.0) <= unpaired).mean() > MOST  # as if the teachers were others


def test_two_teachers_by_hand():
    rows = [("T", 0, "student", 0, 1.0), ("T", 0, "student", 1, 3.0), ("T", 1, "student", 0, 6.0)]
    rows += [("T", r, "teacher", 0, 1.5 + r) for r in range(2)]
    table = pd.DataFrame(rows, columns=["name", "replicate", "who", "student", "value"]).assign(measure="nll")
    each = by_teacher(table, ["name"])
    assert each[["value", "students", "of_teacher"]].to_numpy().tolist() == [[2.0, 2.0, 1.5], [6.0, 1.0, 2.5]]
    found = over_teachers(each, ["name"]).iloc[0]
    assert (found["value"], found["teachers"], found["students"], found["of_teacher"]) == (4.0, 2, 3, 2.0)
    assert found["half_width"] == pytest.approx(stats.t.ppf(0.975, 1) * 2.0)
    apart = less(each, "of_teacher", by=["name"]).iloc[0]
    assert apart["difference"] == 2.0
    assert apart["p"] == pytest.approx(2 * stats.t.sf(2.0 / 1.5, 1))


def test_what_has_no_spread_or_one_teacher_is_undecided():
    each = pd.DataFrame({"measure": "nll", "replicate": [0, 1], "value": [1.0, 1.0], "of_teacher": [0.0, 0.0]})
    for some in (each, each[:1]):
        found = less(some, "of_teacher", by=[]).iloc[0]
        assert np.isnan(found["p"])
        assert found["sign"] == "undecided"


def test_counts_have_the_limits_of_a_narrower_and_a_wider_level():
    found = pd.DataFrame({"difference": [1.0] * 4 + [-1.0], "p": [0.005, 0.03, 0.08, 0.5, 0.001]})
    assert counted(found, "above") == (2, 1, 3)
    assert counted(found, "below") == (1, 1, 1)


def test_students_of_methods_side_by_side_have_their_targets_and_begin_alike():
    shared = ClassTargets(np.full((1, 3, 2), 0.5), None, "a")
    own = ClassTargets(np.arange(4.0).repeat(3).reshape(2, 3, 2), None, "b")
    found = side_by_side([shared, own], 2).probabilities
    np.testing.assert_array_equal(found, np.concatenate([np.full((2, 3, 2), 0.5), own.probabilities]))
    design = alike(2, 2)
    assert design.initialisation.tolist() == design.order.tolist() == [0, 1, 0, 1]
    assert design.recurs("initialisation")
    assert design.recurs("order")
