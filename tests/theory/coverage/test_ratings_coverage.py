"""Coverage of distances from raters, cheaply: what theory expects of the bias, and which intervals hold the truth."""

import numpy as np
from scipy import stats

from uqkd.theory.coverage import ratings

EXPERIMENTS = 1_000


def test_biases_are_those_of_theory_and_intervals_hold_the_truth_but_those_of_plug_ins():
    """20 raters, five classes, 100 texts. Biases within 4.4 standard errors.

    Coverage: the mean of 100 skewed values by Student's t holds the truth in .93 or more; the exact binomial 99.9 % points of .93
    and .97 bound what 1,000 experiments show.
    """
    found = {row["estimate"]: row for row in ratings.cell(20, 5, 100, experiments=EXPERIMENTS)}
    for name in ("kl", "squared", "squared_plugin", "difference of kl"):
        row = found[name]
        assert abs(row["bias"] - row["expected_bias"]) < 4.4 * row["standard_error"], name
    low, high = stats.binom.ppf(1e-3, EXPERIMENTS, 0.93), stats.binom.isf(1e-3, EXPERIMENTS, 0.97)
    for name in ("kl", "squared", "difference of kl"):
        assert low <= found[name]["covered"] * EXPERIMENTS <= high, name
    for name in ("kl_plugin", "squared_plugin"):  # as wide, and beside the truth
        assert found[name]["covered"] < 0.1
        assert found[name]["median_width"] < 1.2 * found[name.removesuffix("_plugin")]["median_width"]


def test_every_cell_has_its_rows():
    found = ratings.rows(20)
    assert len(found) == 3 * 2 * 2 * len(ratings.ESTIMATES)
    assert len({(row["raters"], row["classes"], row["texts"], row["estimate"]) for row in found}) == len(found)
    assert {row["experiments"] for row in found} == {20}
    assert all(np.isfinite(row["covered"]) and row["median_width"] > 0 for row in found)
