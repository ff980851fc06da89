"""Do two sets of draws repeat each other more often than independent draws would? Exact bounds, NumPy only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.checking.arrays import finite, unmasked
from uqkd.errors import OptionError, ShapeError

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Repeats:
    """How often draws repeat others.

    Attributes
    ----------
    count, of : int
        Repeats seen, and draws that could have been one.
    expected : float
        Repeats that independent draws make in expectation (for `same_noise` an upper bound of it).
    p_value : float
        Upper bound of the probability of so many under independence.
    """

    count: int
    of: int
    expected: float
    p_value: float

    @property
    def share(self) -> float:
        """Repeats seen by draws."""
        return self.count / self.of if self.of else 0.0


def upper_tail(probabilities: ArrayLike, count: int) -> float:
    """Upper bound of P(N >= count) for a sum N of independent events of known probabilities (Poisson-binomial).

    Chernoff's bound with the exact moment generating function, min over t >= 0 of exp(-t·count)·prod(1 - p + p·exp(t));
    exact where all events must occur, never below the truth.

    Parameters
    ----------
    probabilities : (n,) float
    count : int

    Returns
    -------
    float

    Raises
    ------
    OptionError
        A probability outside [0, 1].

    Notes
    -----
    Chernoff (1952), Annals of Mathematical Statistics 23.

    Examples
    --------
    >>> upper_tail([0.5, 0.25], 2)
    0.125
    >>> upper_tail([0.5] * 10, 5)
    1.0
    >>> upper_tail([0.5] * 10, 9) >= 11 / 1024
    True
    """
    p = finite("probabilities", probabilities).ravel()
    if p.min() < 0 or p.max() > 1:
        raise OptionError(f"probabilities must lie in [0, 1]; got values from {p.min():.3g} to {p.max():.3g}.")
    p = p[p > 0]
    if count <= p.sum():
        return 1.0
    if count > len(p):
        return 0.0
    if count == len(p):
        return float(np.prod(p))
    low, high = 0.0, 1.0
    while _tilted(p, high).sum() < count and high < _STEEPEST:
        high *= 2.0
    for _ in range(60):  # bisection to the last bit; any t gives a valid bound
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _tilted(p, middle).sum() < count else (low, middle)
    t = 0.5 * (low + high)
    # log(1 - p + p·e^t) = t + log(p + (1 - p)·e^-t), which does not overflow
    log_bound = float(np.log(p + (1.0 - p) * math.exp(-t)).sum()) + t * (len(p) - count)
    return min(1.0, math.exp(min(0.0, log_bound)))


_STEEPEST = 700.0  # exp(-t) is still a normal number


def _tilted(p: NDArray[np.float64], t: float) -> NDArray[np.float64]:
    """Probabilities under the tilted measure."""
    return np.asarray(p / (p + (1.0 - p) * math.exp(-t)))


def repeated_responses(first: Codes, second: Codes, log_probability: ArrayLike, *, anywhere: bool = False) -> Repeats:
    """Whether the second set of responses repeats the first.

    Given the first set, each response of an independent second set equals x with the probability q(x) that the model gave x:
    the events are independent and their probabilities known, so that the test is exact and estimates nothing.
    (In expectation over x that is the collision rate, E q(X) = sum q²: T4's 1 - G.)

    Parameters
    ----------
    first, second : (P, k) int
        One code for each distinct response; equal codes, equal responses. Row p holds responses to prompt p.
    log_probability : (P, k) float
        Natural logarithm of the probability of each response of the first set.
    anywhere : bool
        Count responses of the second set that are found anywhere among the first's to that prompt, not only at the same
        position.

    Returns
    -------
    Repeats

    Raises
    ------
    ShapeError
        Arrays of different shapes (with `anywhere` the second may have another k).
    OptionError
        A probability above one.

    Examples
    --------
    >>> first, log_q = np.arange(40).reshape(40, 1), np.full((40, 1), np.log(0.01))
    >>> repeated_responses(first, first, log_q).p_value < 1e-70
    True
    >>> repeated_responses(first, first + 40, log_q).p_value
    1.0
    """
    first, second = np.asarray(unmasked("first", first)), np.asarray(unmasked("second", second))
    logs = finite("log_probability", log_probability)
    if first.ndim != 2 or logs.shape != first.shape or len(second) != len(first) or second.ndim != 2:
        raise ShapeError(f"repeats need axes (P, k); got {first.shape}, {second.shape} and {logs.shape}.")
    if not anywhere and second.shape != first.shape:
        raise ShapeError(f"responses at the same position need one shape; got {first.shape} and {second.shape}.")
    if logs.max() > _ROUNDING:
        raise OptionError(f"log_probability must be <= 0; got {logs.max():.3g}.")
    # Engines round: a float32 sum over some hundred tokens is off by less than 1e-3, and the bound stays one.
    q = np.exp(np.minimum(0.0, logs + _ROUNDING))
    if not anywhere:
        equal = first == second
        return Repeats(int(equal.sum()), equal.size, float(q.sum()), upper_tail(q, int(equal.sum())))
    order = np.argsort(first, axis=1, kind="stable")
    ranked = np.take_along_axis(first, order, axis=1)
    fresh = np.ones(first.shape, dtype=bool)
    fresh[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    mass = np.minimum(1.0, np.where(fresh, np.take_along_axis(q, order, axis=1), 0.0).sum(axis=1))
    found = (second[:, :, None] == first[:, None, :]).any(axis=2)
    chance = np.repeat(mass, second.shape[1])
    return Repeats(int(found.sum()), found.size, float(chance.sum()), upper_tail(chance, int(found.sum())))


_ROUNDING = 1e-3


def same_noise(token: Codes, log_probability: ArrayLike) -> Repeats:
    """Whether different prompts got the same noise: their first tokens agree more often than independent ones can.

    For neighbouring prompts a and b with first-token distributions q_a and q_b let M = [X_a = X_b] and
    W = (q_a(X_a) + q_b(X_b))/2. Independence gives E M = sum q_a·q_b <= (sum q_a² + sum q_b²)/2 = E W, and more:
    E exp(t·M - (e^t - 1)·W) <= 1 for every t >= 0 and all distributions, as if M were Poisson with the mean W. Disjoint pairs
    of prompts, and response indices, are independent, so that exp(-t·sum M + (e^t - 1)·sum W) bounds the tail for each t.

    Parameters
    ----------
    token : (P, k) int
        First token of response j to prompt p. Prompts 0 and 1, 2 and 3, ... are compared.
    log_probability : (P, k) float
        Natural logarithm of its probability.

    Returns
    -------
    Repeats

    Raises
    ------
    ShapeError
        Arrays that are not both (P, k).

    Notes
    -----
    Proof. With a = e^t - 1 and f(v) = q(v)·exp(-a·q(v)/2), E exp(tM - aW) = sum f_a · sum f_b + a · sum f_a·f_b, which is at
    most the mean over both of (sum f)² + a · sum f². Let u = 1 - exp(-a·q(V)/2) with V drawn from q. Then sum f = 1 - E u, and
    a · sum f² = E[x·e^(-x)] with x = a·q(V). Pointwise x·e^(-x) <= 1 - e^(-x) = u(2 - u), which is concave in u, so that
    (sum f)² + a · sum f² <= (1 - E u)² + E u·(2 - E u) = 1.

    Examples
    --------
    >>> token = np.tile(np.arange(50), (40, 1))  # one seed for all prompts
    >>> same_noise(token, np.full((40, 50), np.log(0.01))).p_value < 1e-100
    True
    """
    token, logs = np.asarray(unmasked("token", token)), finite("log_probability", log_probability)
    if token.ndim != 2 or logs.shape != token.shape:
        raise ShapeError(f"same_noise needs axes (P, k); got {token.shape} and {logs.shape}.")
    pairs = len(token) // 2
    if pairs == 0:
        return Repeats(0, 0, 0.0, 1.0)
    q = np.exp(np.minimum(0.0, logs + _ROUNDING))
    equal = token[0 : 2 * pairs : 2] == token[1 : 2 * pairs : 2]
    bound = 0.5 * (q[0 : 2 * pairs : 2] + q[1 : 2 * pairs : 2])
    count, expected = int(equal.sum()), float(bound.sum())
    exponent = min(-t * count + math.expm1(t) * expected for t in TILTS)
    return Repeats(count, equal.size, expected, min(1.0, len(TILTS) * math.exp(min(0.0, exponent))))


# Chosen before the data; the factor of their number pays for the choice.
TILTS = (0.125, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0)


def shuffled_noise(token: Codes) -> Repeats:
    """The same question where no probabilities are known: is agreement at equal indices above that at other indices?

    Responses to one prompt are exchangeable. Given the responses to both prompts of a pair, and the token at index j of the
    first, an independent second prompt has it at index j with the probability (its count there)/k: exact, and independent
    over disjoint pairs of prompts. One index for each pair is used, in turn.

    Parameters
    ----------
    token : (P, k) int
        First token of response j to prompt p. Needs k >= 2 to say anything.

    Returns
    -------
    Repeats

    Examples
    --------
    >>> shuffled_noise(np.tile(np.arange(4), (100, 1))).p_value < 1e-25
    True
    """
    token = np.asarray(unmasked("token", token))
    if token.ndim != 2:
        raise ShapeError(f"shuffled_noise needs axes (P, k); got {token.shape}.")
    pairs = len(token) // 2
    if pairs == 0:
        return Repeats(0, 0, 0.0, 1.0)
    first, second = token[0 : 2 * pairs : 2], token[1 : 2 * pairs : 2]
    at = np.arange(pairs) % token.shape[1]
    wanted = first[np.arange(pairs), at]
    chance = (second == wanted[:, None]).mean(axis=1)
    equal = second[np.arange(pairs), at] == wanted
    return Repeats(int(equal.sum()), pairs, float(chance.sum()), upper_tail(chance, int(equal.sum())))
