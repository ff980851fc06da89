"""How many more it takes to decide: against statsmodels' power of the t test, and by doing it."""

import math

import numpy as np
import pytest
from statsmodels.stats.power import TTestIndPower, TTestPower

from uqkd.estimators import compare
from uqkd.estimators.comparing.crossed import Side, Spread
from uqkd.estimators.comparing.deciding import more_needed, power_of
from uqkd.seeds import generator
from uqkd.theory.coverage.comparing import Cell, simulated


@pytest.mark.parametrize("effect", [0.3, 0.5, 1.2])
def test_one_prompt_is_the_t_tests_sample_size(effect):
    """Of one sample, and of two independent ones of equal size."""
    one = Spread(1 / 5, 4.0, (Side(5, 1.0, 0.0),), math.nan, 1)
    needed = 5 + more_needed(effect, one, "students", level=0.95)
    assert needed == max(5, math.ceil(TTestPower().solve_power(effect, power=0.8, alpha=0.05)))
    theirs = TTestPower().power(effect, 5, 0.025, alternative="larger")  # on the side of the difference
    assert power_of(effect, one, level=0.95) == pytest.approx(theirs, rel=1e-6)
    two = Spread(2 / 5, 8.0, (Side(5, 1.0, 0.0), Side(5, 1.0, 0.0)), math.nan, 1)
    theirs = TTestIndPower().solve_power(effect, power=0.8, alpha=0.05)
    assert 5 + more_needed(effect, two, "students", level=0.95) == max(5, math.ceil(theirs))


def test_the_bottleneck_is_named():
    prompts = Spread(0.1, 19.0, (Side(5, 0.0, 0.01),), 2.0, 20)
    assert more_needed(0.1, prompts, "students", level=0.95) == math.inf
    assert 1_000 < more_needed(0.1, prompts, "prompts", level=0.95) < 10_000  # (2.8/.1)²·2 = 1,570
    students = Spread(0.1, 4.0, (Side(5, 0.5, 0.01),), 0.0, 200)
    assert more_needed(0.1, students, "prompts", level=0.95) == math.inf
    assert 300 < more_needed(0.1, students, "students", level=0.95) < 500  # (2.8/.1)²·.5 = 392
    both = Spread(0.1, 4.0, (Side(5, 0.5, 0.01),), 2.0, 20)
    assert {more_needed(0.1, both, axis, level=0.95) for axis in ("students", "prompts")} == {math.inf}
    assert math.isnan(more_needed(0.1, Spread(0.1, 4.0, (Side(5, 0.5, 0.0),), 0.0, 9, True), "prompts", level=0.95))
    assert math.isnan(more_needed(0.1, Spread(0.1, 4.0, (Side(1, math.nan, 0.5),), 1.0, 9), "students", level=0.95))


def test_sentences_say_what_it_takes():
    rng = generator("test", "comparing", "sentences")
    prompts = rng.normal(0.2, 1, (1, 20)) + 0.01 * rng.normal(size=(5, 20))
    said = compare(prompts, np.zeros((5, 20)), names=("multi", "single")).sentence()
    assert said.startswith("Not decided whether the score of multi differs from that of single: ")
    assert (
        "more prompts would decide it (power 80 %); more students alone would not: prompts are the bottleneck." in said
    )
    students = rng.normal(0.2, 1, (5, 1)) + 0.01 * rng.normal(size=(5, 20))
    said = compare(students, np.zeros((5, 20)), paired=False).sentence()
    assert (
        "more students of each would decide it (power 80 %); more prompts alone would not: students are the bottleneck."
        in said
    )
    clear = compare(prompts + 5, np.zeros((5, 20)), names=("multi", "single"))
    assert clear.decided
    assert clear.more_students == 0
    assert clear.sentence().startswith(
        "The score of multi is 4.91 higher than that of single [4.41, 5.42] (95 %, 5 pairs"
    )
    equal = compare([[1.0, -1.0], [-1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]])
    assert "came out equal" in equal.sentence()
    assert math.isinf(equal.more_students)
    assert math.isfinite(equal.more("students", difference=1.0))


def power_at(more):
    """Share of experiments that find a difference of .5 with 5 + `more` students, ρ = .7, student effects common to all prompts."""
    return simulated(Cell("score", "normal", "students", True, 5 + more, 50, 0.7, 0.5), 1_000)["rejected"]


@pytest.mark.slow
def test_so_many_more_students_decide_it_with_the_power_that_is_said():
    """With true components .6/S + .1/P (students 2·(1 − ρ), prompts twice .05). 1,000 experiments at .8 have a standard error of
    1.3 points; Satterthwaite's size of at most 7 % adds 2: .8 within 7 points. A fifth as many, or the normal quantile's number,
    do not.
    """
    true = Spread(0.6 / 5 + 0.1 / 50, 4.0, (Side(5, 0.6, 0.0),), 0.1, 50)
    more = int(more_needed(0.5, true, "students", level=0.95))
    assert abs(power_at(more) - 0.8) <= 0.07
    assert power_at(more // 5) < 0.73
