"""T8 where it is exact: networks without a hidden layer, against the engine's own training and against T1."""

import numpy as np
import pytest

from uqkd.errors import OptionError, ShapeError, VarianceError
from uqkd.linear import Design
from uqkd.mlp import Recipe, fitting
from uqkd.seeds import generator
from uqkd.theory.checks import networks
from uqkd.theory.statements import networks as theory

X = generator("test", "mlp theory", "train").standard_normal((30, 4))
POINTS = generator("test", "mlp theory", "points").standard_normal((5, 4))


def trained(weight, bias, y, *, lr, steps):
    begin = {"0.weight": np.array(weight)[None, None, :], "0.bias": np.array([[bias]])}
    recipe = Recipe(steps=steps, optimiser="sgd", lr=lr)
    p = fitting.fit(begin, X, y[:, None], recipe, loss="mse", dtype="float64").parameters
    return POINTS @ p["0.weight"][0, 0] + p["0.bias"][0, 0]


@pytest.mark.parametrize("steps", [1, 7, 200])
def test_memory_and_sensitivity_are_what_training_does(steps):
    """Training is linear in where it begins and in the labels: unit vectors read both off the engine, to rounding."""
    about = theory.gradient_descent(X, POINTS, lr=0.1, steps=steps)
    for i in range(5):
        unit = np.eye(5)[i]
        np.testing.assert_allclose(
            trained(unit[:4], unit[4], np.zeros(30), lr=0.1, steps=steps), about.memory[:, i], atol=1e-13
        )
    for row in (0, 13, 29):
        y = np.eye(30)[row]
        np.testing.assert_allclose(
            trained(np.zeros(4), 0.0, y, lr=0.1, steps=steps), about.sensitivity[:, row], atol=1e-13
        )


def test_after_long_training_it_is_least_squares():
    about = theory.gradient_descent(X, POINTS, lr=0.2, steps=20_000)
    leverage = Design.of(np.column_stack([X, np.ones(30)])).leverage_at(np.column_stack([POINTS, np.ones(5)]))
    np.testing.assert_allclose(about.slope(2.5), 2.5 * leverage, rtol=1e-10)
    assert np.abs(about.memory).max() < 1e-10


def test_a_direction_without_data_keeps_its_memory():
    """A constant zero feature: its weight is never trained; the sensitivity does not divide by zero."""
    rows = np.column_stack([X, np.zeros(30)])
    points = np.column_stack([POINTS, np.ones(5)])
    about = theory.gradient_descent(rows, points, lr=0.1, steps=300)
    np.testing.assert_allclose(about.memory[:, 4], 1.0, rtol=1e-12)
    plain = theory.gradient_descent(X, POINTS, lr=0.1, steps=300)
    np.testing.assert_allclose(about.sensitivity, plain.sensitivity, atol=1e-12)


def test_floor_and_slope_add_up():
    about = theory.gradient_descent(X, POINTS, lr=0.1, steps=7)
    np.testing.assert_allclose(
        about.inter_student_variance(2.0, 4, initial_var=0.3), about.floor(0.3) + about.slope(2.0) / 4, rtol=1e-15
    )
    np.testing.assert_allclose(about.floor(np.full(5, 0.3)), 0.3 * (about.memory**2).sum(axis=1), rtol=1e-14)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: theory.gradient_descent(X, POINTS, lr=9.0, steps=3), OptionError, "diverges; got steps=3, lr=9.0"),
        (lambda: theory.gradient_descent(X, POINTS, lr=0.1, steps=0), OptionError, "steps >= 1"),
        (lambda: theory.gradient_descent(X, POINTS[:, :2], lr=0.1, steps=1), ShapeError, "4 features but X_test has 2"),
        (lambda: theory.default_initial_var(0), OptionError, "at least one feature"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_the_largest_rate_is_the_one_at_which_training_stops_to_converge():
    """A direction is multiplied by 1 − 2·lr·λ/n per step: refused where that is below −1, and not before."""
    design = np.column_stack([X, np.ones(30)])
    most = 30 / np.linalg.eigvalsh(design.T @ design).max()
    assert np.abs(theory.gradient_descent(X, POINTS, lr=0.99 * most, steps=10_000).memory).max() < 1e-10
    with pytest.raises(OptionError, match="diverges"):
        theory.gradient_descent(X, POINTS, lr=1.01 * most, steps=3)


def test_bad_variances_are_refused():
    about = theory.gradient_descent(X, POINTS, lr=0.1, steps=7)
    with pytest.raises(VarianceError, match="noise_var"):
        about.slope(-1.0)
    with pytest.raises(VarianceError, match="initial_var"):
        about.floor([np.nan] * 5)
    with pytest.raises(OptionError, match="k=0"):
        about.inter_student_variance(1.0, 0, initial_var=1.0)


@pytest.mark.parametrize(
    "options", [{}, {"noise_var": 0.0}, {"freeze": ("initialisation",)}], ids=["both", "initialisation", "noise"]
)
def test_the_checks_of_t8_train_every_student_once(monkeypatch, options):
    """Students come in blocks. Were the draws of a block those of the one before, the variance would stay right and its
    standard error, which counts students, would be too small."""
    monkeypatch.setattr(networks, "BLOCK", 3)
    assert len(np.unique(networks._students(**options)(8, ("test", "blocks", *options)))) == 8
