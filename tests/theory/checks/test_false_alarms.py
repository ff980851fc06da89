"""With fresh seeds the suite's z are standard normal, so its false alarms are those of the stated family-wise error."""

import os

import numpy as np
from scipy import stats

from uqkd.theory.checks import THRESHOLD, evaluate, register

FULL = os.environ.get("UQKD_FAULTS") == "full"
SALTS = 30 if FULL else 3


def test_z_of_fresh_repetitions_are_standard_normal():
    """Shape (Kolmogorov–Smirnov) and spread (Σz²), each at 1e-3; the slow crossed designs join in the full run."""
    z = [
        evaluate(check, salt=f"fresh {salt}")[0].z
        for salt in range(SALTS)
        for check in (c.without_wrong_versions() for c in register().values())
        if FULL or check.statement != "T11"
    ]
    assert len(z) >= 99
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert np.abs(z).max() < THRESHOLD  # chance of any alarm: under 1e-3 a salt
    assert spread_p(np.array(z)) > 1e-3
    for wrong in (1.5, 1 / 1.5):  # standard errors too small or too large by a half are noticed
        assert spread_p(np.array(z) * wrong) < 1e-3


def spread_p(z):
    """Two-sided p-value of Σz² as χ² on len(z) degrees of freedom."""
    one_sided = stats.chi2.cdf((z**2).sum(), len(z))
    return 2 * min(one_sided, 1 - one_sided)
