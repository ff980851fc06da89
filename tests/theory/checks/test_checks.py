"""Every statement against simulation; every wrong version must be rejected; the tool itself must be able to fail."""

import numpy as np
import pytest
from scipy import stats

from uqkd import seeds
from uqkd.errors import OptionError
from uqkd.theory.checks import (
    CHECKS,
    FAMILY_ALPHA,
    THRESHOLD,
    Check,
    Outcome,
    components,
    evaluate,
    moment,
    register,
    replicates_needed,
)
from uqkd.theory.checks.check import PILOT

REGISTER = register()
STATEMENTS = {"T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T10", "T11", "T12"}


@pytest.mark.parametrize("name", REGISTER)
def test_theory_holds_and_wrong_versions_are_rejected(name):
    check = REGISTER[name]
    theory, *wrong = evaluate(check)
    assert [outcome.version for outcome in (theory, *wrong)] == ["theory", *check.wrong_theory, *check.wrong_simulation]
    assert not theory.rejected, f"z = {theory.z:.2f}"
    accepted = [outcome.version for outcome in wrong if not outcome.rejected]
    assert not accepted, f"wrong versions that passed: {accepted}"


def test_every_statement_has_checks_with_two_wrong_versions():
    assert {check.statement for check in REGISTER.values()} == STATEMENTS
    for check in REGISTER.values():
        assert len(check.wrong_theory) + len(check.wrong_simulation) >= 2, check.name
        assert check.predicted not in check.wrong_theory.values(), check.name


def test_the_family_wise_error_is_shared():
    assert len(REGISTER) <= CHECKS
    np.testing.assert_allclose(2 * stats.norm.sf(THRESHOLD) * CHECKS, FAMILY_ALPHA, rtol=1e-12)


def normal(n, key):
    return seeds.generator(*key).standard_normal(n)


@pytest.mark.parametrize(("bias", "replicates"), [(0.10, 9_100), (0.05, 36_400)])
def test_a_gaussian_variance_is_sized_as_stated(bias, replicates):
    """The pilot of 2,000 knows the fourth moment to about 8 % (sd of a sample kurtosis √(24/n) of 2), so n to 16 % at 2 sd."""
    needed = replicates_needed(Check("T0", "variance", 1.0, normal, "variance", bias=bias))
    assert abs(needed / replicates - 1) < 0.16


@pytest.mark.parametrize("bias", [0.05, 0.1])
def test_power_is_as_stated(bias):
    """A prediction that is wrong by exactly the bias is rejected: 20 independent checks at power .99 lose one at most."""
    wrong = [
        evaluate(Check("T0", f"variance {i}", 1.0 + bias, normal, "variance", bias=bias))[0].rejected for i in range(20)
    ]
    assert sum(wrong) >= 18  # fewer has probability 1e-3 at power .99


def test_moments_by_hand_assume_no_distribution():
    """0, 0, 0, 4: deviations −1, −1, −1, 3; variance 12/3, fourth moment 84/4 = 21. Normal theory would say √(2/4)·4."""
    values = np.array([0.0, 0.0, 0.0, 4.0])
    np.testing.assert_allclose(moment(values, "mean"), [1.0, 1.0], rtol=1e-15)
    np.testing.assert_allclose(moment(values, "variance"), [4.0, np.sqrt((21 - 16) / 4)], rtol=1e-15)


def test_a_salt_names_other_draws_of_pilot_and_simulation():
    """Fresh salts are independent repetitions: nothing is shared, and one salt repeats itself to the bit."""
    check = Check("T0", "salted", 1.0, normal, "variance", wrong_simulation={"other": normal}, bias=10.0)
    first, second = evaluate(check, salt="a"), evaluate(check, salt="b")
    assert first == evaluate(check, salt="a")
    assert {outcome.replicates for outcome in (*first, *second)} == {PILOT}  # so that only the draws can differ
    assert len({outcome.simulated for outcome in (*first, *second)}) == 4
    sized = Check("T0", "salted", 1.0, normal, "variance", bias=0.1)
    assert replicates_needed(sized, salt="a") != replicates_needed(sized, salt="b")


def test_the_standard_errors_are_calibrated():
    """z over 400 independent checks of a true statement is standard normal (Kolmogorov–Smirnov at 1e-3)."""
    z = []
    for i in range(400):
        simulated, standard_error = moment(normal(3_000, ("test", "calibration", i)), "variance")
        z.append((simulated - 1.0) / standard_error)
    assert stats.kstest(z, "norm").pvalue > 1e-3
    halved = stats.kstest(np.array(z) * 2, "norm").pvalue  # a tool that halves its standard errors is caught
    assert halved < 1e-3


def test_a_wrong_version_without_spread_is_rejected_and_a_right_one_is_not():
    assert Outcome("c", "v", 1.0, 0.0, 0.0, 10).rejected
    assert not Outcome("c", "v", 1.0, 1.0, 0.0, 10).rejected


def test_no_check_runs_on_fewer_replicates_than_the_pilot_and_no_two_share_a_name(monkeypatch):
    assert replicates_needed(Check("T0", "mean", 1.0, normal, bias=10.0)) == PILOT
    twice = components.one_way_checks()[:1] * 2
    monkeypatch.setattr(components, "all_checks", lambda: twice)
    with pytest.raises(OptionError, match="distinct names"):
        register()


def test_a_zero_prediction_needs_a_scale_and_an_impossible_bias_is_refused():
    with pytest.raises(OptionError, match="scale="):
        replicates_needed(Check("T0", "mean", 0.0, normal))
    with pytest.raises(OptionError, match="allow a larger bias"):
        replicates_needed(Check("T0", "variance", 1.0, normal, "variance", bias=1e-4))
