"""The table of the planner's coverage, a few experiments of it: every cell is there, and its truth is that of its pilots."""

import numpy as np
import pytest

from uqkd import seeds
from uqkd.theory.coverage import planning


def test_every_cell_is_there():
    rows = planning.rows(2)
    cells = {(row["setting"], row["students"], row["quantity"], row["design"]) for row in rows}
    assert len(cells) == len(rows) == 8 * 3 + 6 * 3 + 6
    assert all(0 <= row["covered"] <= 1 and row["median_width"] > 0 for row in rows)


@pytest.mark.parametrize("case", list(planning.cases()), ids=lambda case: case.setting)
def test_pilots_have_the_stated_truth(case):
    """The mean of unbiased estimates over 300 pilots of 10 students, within five of its standard errors."""
    name = ("test", "coverage", "planning", case.setting)
    found = np.array([case.draw(seeds.generator(*name, i), 10).estimate for i in range(300)])
    error = found.std(axis=0, ddof=1) / np.sqrt(300)
    assert (np.abs(found.mean(axis=0) - list(case.truth.values())) < 5 * error).all()
    assert case.draw(seeds.generator(*name, 0), 10).effects == tuple(case.truth)
