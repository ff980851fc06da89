"""Correct digits against NIST's Statistical Reference Datasets, and agreement with statsmodels."""

from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm

from uqkd.linear import fit_ols

FOLDER = Path(__file__).parent / "nist"
# Correct digits asked of the worst coefficient, and of the worst standard error where it is certified as non-zero.
DIGITS = {"norris": (12, 12), "longley": (10, 10), "wampler1": (9, None), "wampler2": (10, None)}


def read(name):
    """Design (intercept or powers included), response, certified coefficients and standard deviations."""
    lines = (FOLDER / f"{name}.dat").read_text().splitlines()
    certified = np.array([line.split()[2:] for line in lines if line.startswith("# certified")], dtype=float)
    rows = np.array([line.split() for line in lines if not line.startswith("#")], dtype=float)
    y, x = rows[:, 0], rows[:, 1:]
    X = np.vander(x[:, 0], 6, increasing=True) if name.startswith("wampler") else np.column_stack([np.ones(len(x)), x])
    return X, y, certified[:, 0], certified[:, 1]


def correct_digits(seen, certified):
    """Log relative error, NIST's own measure; 15 where nothing differs."""
    error = np.abs(seen - certified) / np.abs(certified)
    return float(np.min(-np.log10(np.maximum(error, 1e-15))))


@pytest.mark.parametrize("name", DIGITS)
def test_certified_digits(name):
    X, y, coef, sd = read(name)
    fit = fit_ols(X, y)
    asked, asked_sd = DIGITS[name]
    assert correct_digits(fit.coef, coef) >= asked
    if asked_sd is not None:
        seen = np.sqrt(fit.residual_var * np.diag(fit.covariance_unscaled))
        assert correct_digits(seen, sd) >= asked_sd


@pytest.mark.parametrize("name", ["longley", "wampler1"])
def test_the_normal_equations_would_fail(name):
    """The check has teeth: inv(X'X), the method that uqkd never uses, misses the digits asked for."""
    X, y, coef, _ = read(name)
    assert correct_digits(np.linalg.inv(X.T @ X) @ X.T @ y, coef) < DIGITS[name][0]


@pytest.mark.parametrize("name", ["norris", "longley"])
def test_statsmodels_agrees(name):
    X, y, _, _ = read(name)
    ours, theirs = fit_ols(X, y), sm.OLS(y, X).fit(method="qr")
    # statsmodels' own digits are the limit: its QR is not refined, and loses condition·eps = 5e9·2e-16 = 1e-6
    np.testing.assert_allclose(ours.coef, theirs.params, rtol=1e-6)
    np.testing.assert_allclose(ours.covariance_unscaled, theirs.normalized_cov_params, rtol=1e-5)
    assert ours.dof == theirs.df_resid
    np.testing.assert_allclose(ours.residual_var, theirs.scale, rtol=1e-8)
