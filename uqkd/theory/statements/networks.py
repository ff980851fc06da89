"""What a trained network inherits from where it began and from its labels: the linearisation of T8, and where it is exact.

Near its training path a network's answer is f(x) ≈ m(x)ᵀθ₀ + s(x)ᵀy: a memory of its initial parameters and a
sensitivity to its labels. Then Var f(x) = V_init(x) + (σ_T²/k)·‖s(x)‖², a floor in k and a slope in 1/k. For a network
without a hidden layer, trained by gradient descent on all rows, both are exact and in closed form. With hidden layers the
answer is no linear function of its labels, and the slope has a covariance of the floor with that curvature: `small_noise`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.checking.arrays import shaped
from uqkd.errors import OptionError, ShapeError, VarianceError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Linearised:
    """How answers at m points depend on initial parameters and labels; made by `gradient_descent`.

    Attributes
    ----------
    memory : (m, q) float
        Derivative of the answers with respect to the initial weights and the initial bias (last).
    sensitivity : (m, n) float
        Derivative with respect to the labels of the training rows.
    """

    memory: Array
    sensitivity: Array

    def floor(self, initial_var: ArrayLike) -> Array:
        """V_init at each point, (m,): what no averaging of labels removes.

        Parameters
        ----------
        initial_var : float or (q,) float
            Variance of each initial parameter, independent ones.
        """
        spread = np.asarray(initial_var, dtype=np.float64)
        if not (np.isfinite(spread).all() and (spread >= 0).all()):
            raise VarianceError(f"initial_var must be finite and >= 0; got {spread}.")
        return np.asarray((self.memory**2 * spread).sum(axis=1))

    def slope(self, noise_var: float) -> Array:
        """Variance at each point that one response per prompt causes, (m,); k averaged responses cause 1/k of it."""
        if not (np.isfinite(noise_var) and noise_var >= 0):
            raise VarianceError(f"noise_var must be finite and >= 0; got {noise_var}.")
        return np.asarray(noise_var * (self.sensitivity**2).sum(axis=1))

    def inter_student_variance(self, noise_var: float, k: int, *, initial_var: ArrayLike) -> Array:
        """Variance between students at each point, (m,), on the mean of k responses of variance `noise_var` (T8)."""
        if k < 1:
            raise OptionError(f"inter_student_variance needs k >= 1 responses; got k={k}.")
        return self.floor(initial_var) + self.slope(noise_var) / k


def default_initial_var(features: int) -> float:
    """Variance of a weight or bias of torch's linear layer: uniform on ±1/√fan_in.

    Examples
    --------
    >>> round(default_initial_var(4), 6)
    0.083333
    """
    if features < 1:
        raise OptionError(f"a layer has at least one feature; got {features}.")
    return 1.0 / (3.0 * features)


def gradient_descent(X: ArrayLike, X_test: ArrayLike, *, lr: float, steps: int) -> Linearised:
    """Memory and sensitivity of a network without a hidden layer after gradient descent on the mean squared error.

    Parameters
    ----------
    X : (n, p) float
        Training rows, without an intercept column: the network has a bias.
    X_test : (m, p) float
        Points.
    lr : float
        Learning rate of `Recipe(optimiser="sgd")` without momentum, all rows at every step.
    steps : int

    Returns
    -------
    Linearised
        After many steps the memory is 0 and the sensitivity that of least squares, xᵀGXᵀ, so that ‖s(x)‖² = h(x) (T1).

    Raises
    ------
    OptionError
        A learning rate at which gradient descent diverges.

    Notes
    -----
    T8. With λ the eigenvalues of XᵀX (bias column included) every direction is multiplied by (1 − 2·lr·λ/n) per step.

    Examples
    --------
    >>> one = gradient_descent([[1.0], [-1.0]], [[1.0]], lr=0.25, steps=1)
    >>> one.memory, one.sensitivity
    (array([[0.5, 0.5]]), array([[0.5, 0. ]]))
    """
    rows, points = shaped("X", X, "n p"), shaped("X_test", X_test, "m p")
    if rows.shape[1] != points.shape[1]:
        raise ShapeError(f"X has {rows.shape[1]} features but X_test has {points.shape[1]}; they must be equal.")
    design, at = (np.column_stack([a, np.ones(len(a))]) for a in (rows, points))
    value, vector = np.linalg.eigh(design.T @ design)
    value = value.clip(min=0.0)
    n, most = len(design), float(value.max())
    if steps < 1 or not 0 < lr < n / most:
        raise OptionError(
            f"gradient descent on these rows needs steps >= 1 and 0 < lr < {n / most:.3g} (n over the largest eigenvalue of "
            f"XᵀX), or it diverges; got steps={steps}, lr={lr}."
        )
    kept = (1.0 - 2.0 * lr * value / n) ** steps
    flat = value <= most * np.finfo(np.float64).eps * n
    learnt = np.where(flat, 2.0 * lr * steps / n, (1.0 - kept) / np.where(flat, 1.0, value))
    basis = at @ vector
    return Linearised(memory=(basis * kept) @ vector.T, sensitivity=(basis * learnt) @ vector.T @ design.T)


@dataclass(frozen=True)
class SmallNoise:
    """What students that differ in their start and in their labels' noise vary by, for small noise; made by `small_noise`.

    Attributes
    ----------
    floor : (m,) float
        Var f₀: variance over starts of the answers to noise-free labels.
    sensitivity : (m,) float
        E‖s‖²: squared derivative with respect to the labels, on average over starts.
    covariance : (m,) float
        Cov(f₀, tr Q), Q the second derivatives with respect to the labels. Of either sign; 0 where answers are affine in them.
    """

    floor: Array
    sensitivity: Array
    covariance: Array

    def inter_student_variance(self, noise_var: float, k: int) -> Array:
        """Variance between students at each point, (m,): floor + (noise_var/k)·(sensitivity + covariance) (T8b)."""
        if k < 1:
            raise OptionError(f"inter_student_variance needs k >= 1 responses; got k={k}.")
        if not (np.isfinite(noise_var) and noise_var >= 0):
            raise VarianceError(f"noise_var must be finite and >= 0; got {noise_var}.")
        return np.asarray(self.floor + noise_var / k * (self.sensitivity + self.covariance))


def small_noise(
    train: Callable[[Array], Array], labels: ArrayLike, *, weights: ArrayLike, step: float = 1e-3
) -> SmallNoise:
    """Floor, sensitivity and covariance with curvature of networks that are trained from given starts.

    Parameters
    ----------
    train : callable (n,) -> (N, m)
        Answers at m points of N networks, each from its own start, always the same one, after training on these labels.
    labels : (n,) float
        Noise-free ones.
    weights : (N,) float
        Chance of each start: of a quadrature, or 1/N each.
    step : float
        Of the central differences, in units of the labels; training must be smooth at that scale (no rectified units).

    Returns
    -------
    SmallNoise

    Notes
    -----
    T8b, by 2n + 1 trainings. Noise of mean zero moves the mean answer of a start by (σ_T²/2k)·tr Q; where that draws together
    starts that lie apart, the covariance is negative and the inter-student variance grows less than by sensitivity.

    Examples
    --------
    Two starts, one of which bends: f = 1 + y + y²/2 and f = −1 + y, at y = 0.

    >>> about = small_noise(lambda y: np.array([1 + y + y**2 / 2, -1 + y]), [0.0], weights=[0.5, 0.5])
    >>> about.floor, about.sensitivity.round(6), about.covariance.round(6)
    (array([1.]), array([1.]), array([0.5]))
    """
    at, chance = shaped("labels", labels, "n"), shaped("weights", weights, "N")
    if not (chance >= 0).all() or abs(chance.sum() - 1.0) > 1e-9:
        raise OptionError(f"weights must be chances that add up to 1; got a sum of {chance.sum():.6g}.")
    if not step > 0:
        raise OptionError(f"step must be above 0; got {step}.")
    middle = train(at)
    squared, trace = np.zeros_like(middle), np.zeros_like(middle)
    for move in step * np.eye(len(at)):
        up, down = train(at + move), train(at - move)
        squared += ((up - down) / (2.0 * step)) ** 2
        trace += (up + down - 2.0 * middle) / step**2
    centred = middle - chance @ middle
    return SmallNoise(floor=chance @ centred**2, sensitivity=chance @ squared, covariance=chance @ (centred * trace))
