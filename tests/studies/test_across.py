"""What the figures across layers make of their tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from uqkd.run import load_study

STUDIES = Path(__file__).parents[2] / "studies"


def study(name):
    return load_study(name, folder=STUDIES).module


def paired(differences, measure):
    """Teachers whose method differs from plain distillation by these."""
    rows = [("teacher", n, 0.5) for n in range(len(differences))]
    rows += [("labels", n, 0.5 + one) for n, one in enumerate(differences)]
    table = pd.DataFrame(rows, columns=["method", "teacher", "value"])
    return table.assign(data="digits", measure=measure)


@pytest.mark.parametrize(
    ("differences", "measure", "verdict"),
    [
        ([-0.1, -0.11, -0.12], "nll", "helps"),
        ([0.1, 0.11, 0.12], "nll", "hurts"),
        ([0.1, 0.11, 0.12], "accuracy", "helps"),
        ([-0.1, -0.11, -0.12], "accuracy", "hurts"),
        ([0.1, -0.11, 0.12], "ece", "undecided"),
        (
            [0.1, 0.1, 0.1],
            "ece",
            "undecided",
        ),  # teachers that agree to the digit say nothing about how far others would
    ],
)
def test_a_method_helps_where_the_interval_over_teachers_says_so(differences, measure, verdict):
    (row,) = study("across_methods").compared(paired(differences, measure)).itertuples()
    assert row.verdict == verdict
    assert row.teachers == 3
    assert row.difference == pytest.approx(np.mean(differences))


def test_variances_of_every_k_are_held_against_the_first():
    table = pd.DataFrame({"layer": "networks", "k": [1, 4, 0], "quantity": "inter", "students": 50})
    table = table.assign(simulated=[2.0, 0.5, 0.0], standard_error=[0.02, 0.005, 0.0])
    found = study("across_averaging").relative(table).set_index("k")
    assert found["ratio"].tolist() == [1.0, 0.25, 0.0]
    assert found["ratio_se"].tolist() == pytest.approx([0.0, 0.25 * np.hypot(0.01, 0.01), 0.0])
    assert (found.loc[0, ["low", "high"]].abs() < 1e-12).all()


def test_the_best_k_follows_the_square_root_rule_and_its_limits_the_opposite_ends():
    law = {"floor_estimate": 0.01, "floor_low": 0.005, "floor_high": 0.02, "slope_estimate": 0.04, "slope_low": 0.03}
    best = study("across_costs").best_k(pd.Series({**law, "slope_high": 0.05}), 9.0)
    assert best == pytest.approx({"estimate": 6.0, "low": (9 * 0.03 / 0.02) ** 0.5, "high": (9 * 0.05 / 0.005) ** 0.5})
    assert (
        study("across_costs").best_k(pd.Series({**law, "slope_high": 0.05, "floor_estimate": 0.0}), 9.0)["estimate"]
        == np.inf
    )


def test_examples_are_of_both_kinds_of_questions():
    p = np.array([[0.5, 0.5], [1.0, 0.0], [0.9, 0.1], [0.6, 0.4]])
    assert study("across_examples").unsure(p, ("home/a", "home/b", "food/a", "food/b"), 4) == [0, 3, 1, 2]
