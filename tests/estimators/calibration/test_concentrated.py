"""Calibration errors that few bins carry: the interval's lower limit, and the wrong version that spreads them."""

from __future__ import annotations

import numpy as np
import pytest

from uqkd.estimators.calibration.binned import bin_of
from uqkd.estimators.calibration.uncertainty.binned_gaps import BinnedGaps, binned_gaps, concentrated_sizes
from uqkd.estimators.calibration.uncertainty.limits import chance_below, error_limits
from uqkd.estimators.intervals.level import LEVEL, tails
from uqkd.seeds import generator
from uqkd.theory.coverage import calibration as coverage


def test_sizes_by_hand():
    """Gaps of .2, .4 and none at an empty bin; the second is four standard errors, the first one: it goes first."""
    gaps = BinnedGaps(np.array([0.5, 0.5, 0.0]), np.array([-0.2, 0.4, 0.0]), np.full(3, 0.5), np.zeros(3), np.ones(3))
    variance = np.array([0.04, 0.01, 1.0])
    for error, sizes in ((0.0, (0, 0)), (0.1, (0, 0.2)), (0.25, (0.1, 0.4)), (0.3, (0.2, 0.4)), (0.35, (0.25, 0.45))):
        found = concentrated_sizes(gaps, np.array(error), variance)
        np.testing.assert_allclose(found, [*sizes, 0.0], atol=1e-15)
        assert (gaps.weight * found).sum() == pytest.approx(error, abs=1e-15)


@pytest.mark.slow
def test_an_error_of_the_most_confident_fifth_alone():
    """Of 600 samples the lower limit is above the truth in .06; a wrong version, without the concentrated way, in .10 (sd .012).

    Its plug-in is larger than one that spreads over bins has: noise adds to all the others in full.
    """
    rows = coverage.with_error(2, "fifth", "ece", 0.05)
    truth = coverage.true_error(rows, "ece")
    draw = generator("test", "confident fifth")
    picked, chance = draw.integers(coverage.ROWS, size=(600, 200)), draw.random((600, 200))
    confidence, correct = rows.confidence[picked], (chance < rows.right[picked]).astype(float)
    index = np.arange(600)[:, None] * 15 + bin_of(confidence, bins=15, binning="equal_width")
    sums = [np.bincount(index.ravel(), w.ravel(), 9_000).reshape(600, 15) for w in (
        np.ones_like(confidence), confidence, confidence**2, correct,
    )]  # fmt: skip
    gaps = binned_gaps(*sums)
    low, _ = error_limits(gaps, norm="l1", level=LEVEL)
    seen, at = gaps.plug_in(1), np.full(600, truth)
    wrong = chance_below(gaps, at, seen, norm="l1") >= tails(LEVEL)[1]  # then its lower limit is above the truth
    assert (low > truth).mean() < 0.087
    assert wrong.mean() > (low > truth).mean() + 0.02
