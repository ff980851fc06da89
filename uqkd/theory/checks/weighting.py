"""Checks of inverse-variance weighting, with known and with estimated variances (T6, T7)."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.errors import FewResponsesWarning
from uqkd.estimators import blue, graybill_deal, inverse_variance_weight
from uqkd.estimators.weighting.exact_variance import claimed_variance_expected, graybill_deal_variance
from uqkd.linear import Design, Teacher, distill, weigh
from uqkd.theory import statements as theory
from uqkd.theory.checks.check import Check, Key, Simulation

Array = NDArray[np.float64]

FIRST_VAR, SECOND_VAR, COVARIANCE = 1.0, 2.5, 0.6  # two sources, as variances of their estimates
BIAS = 1.2  # of the second source, in the biased statement


def _sources(n: int, key: Key, *, covariance: float = 0.0, bias: float = 0.0) -> Array:
    """n pairs of estimates of 0, as (2, n)."""
    root = np.linalg.cholesky([[FIRST_VAR, covariance], [covariance, SECOND_VAR]])
    return root @ seeds.generator(*key).standard_normal((2, n)) + np.array([[0.0], [bias]])


def _combined(n: int, key: Key, *, covariance: float = 0.0, told: float | None = None) -> Array:
    """Combinations by `blue`, told the true covariance unless `told` says otherwise."""
    c = covariance if told is None else told
    return np.asarray(blue(_sources(n, key, covariance=covariance), [[FIRST_VAR, c], [c, SECOND_VAR]]).value)


def _fixed_weight(n: int, key: Key, *, weight: float) -> Array:
    first, second = _sources(n, key)
    return weight * first + (1 - weight) * second


def _squared_error(n: int, key: Key, *, told: float = BIAS) -> Array:
    """Squared errors of combining an unbiased and a biased source, told the bias."""
    estimates = _sources(n, key, bias=BIAS)
    return np.asarray(inverse_variance_weight(estimates, [FIRST_VAR, SECOND_VAR], biases=[0.0, told]).value) ** 2


def _in_rounds(n: int, key: Key, *, precisions: tuple[float, float, float] = (1.0, 2.0, 3.0), k: int = 4) -> Array:
    """Three rounds of k responses each, folded in one round at a time by inverse variance."""
    means = seeds.generator(*key).standard_normal((3, n, k)).mean(axis=2)
    running = means[0]
    for rounds, fresh in enumerate(means[1:], start=1):
        variances = [1 / precisions[rounds - 1], 1.0]
        running = np.asarray(inverse_variance_weight(np.stack([running, fresh]), variances).value)
    return running


def known_checks() -> list[Check]:
    """T6: known variances, independent and correlated sources."""
    best = theory.combine(FIRST_VAR, SECOND_VAR)
    correlated = theory.combine(FIRST_VAR, SECOND_VAR, covariance=COVARIANCE)
    by_sd = SECOND_VAR**0.5 / (FIRST_VAR**0.5 + SECOND_VAR**0.5)
    return [
        Check(
            "T6",
            "variance of the best combination",
            best.variance,
            _combined,
            "variance",
            wrong_theory={"mean of the variances / 2": (FIRST_VAR + SECOND_VAR) / 4},
            wrong_simulation={
                "weights swapped": partial(_fixed_weight, weight=1 - best.weight),
                "weights by standard deviation": partial(_fixed_weight, weight=by_sd),
            },
            bias=0.03,
        ),
        Check(
            "T6",
            "variance of the best combination of correlated sources",
            correlated.variance,
            partial(_combined, covariance=COVARIANCE),
            "variance",
            wrong_theory={
                "forgets the covariance": best.variance,
                "forgets c²": FIRST_VAR * SECOND_VAR / (FIRST_VAR + SECOND_VAR - 2 * COVARIANCE),
            },
            wrong_simulation={"weights ignore the covariance": partial(_combined, covariance=COVARIANCE, told=0.0)},
            bias=0.02,
        ),
    ]


def biased_and_repeated_checks() -> list[Check]:
    """T6: a biased source, and rounds of combining."""
    biased = theory.combine(FIRST_VAR, SECOND_VAR + BIAS**2)
    unbiased = theory.combine(FIRST_VAR, SECOND_VAR)
    return [
        Check(
            "T6",
            "mean squared error with a biased source",
            biased.variance,
            _squared_error,
            wrong_theory={"forgets the bias": unbiased.variance},
            wrong_simulation={"weights ignore the bias": partial(_squared_error, told=0.0)},
            bias=0.02,
        ),
        Check(
            "T6",
            "three rounds of k equal averaging 3k",
            1.0 / 12,
            _in_rounds,
            "variance",
            wrong_theory={"rounds do not help": 1.0 / 4},
            wrong_simulation={"every round weighs the same": partial(_in_rounds, precisions=(1.0, 1.0, 1.0))},
        ),
    ]


ROWS, K, NOISE_VAR = 16, 4, 2.0
X = np.column_stack([np.ones(ROWS), np.linspace(-1, 1, ROWS) ** 3 * 2])
DESIGN, TEACHER, ROW = Design.of(X), Teacher(np.array([1.0, -0.5]), NOISE_VAR), 0
V = NOISE_VAR / K  # variance of a mean of k responses


def _labels(n: int, key: Key, *, source: str) -> Array:
    """Labels at one training row: k responses blended with a second source by `weigh`, as (n,)."""
    responses = TEACHER.respond(X, K, students=n, key=(*key, "responses"))
    if source == "oracle":
        return weigh(responses, "oracle", second=TEACHER.predict_mean(X), second_var=NOISE_VAR).values[:, ROW]
    other = TEACHER.respond(X, K, students=n, key=(*key, "fresh")) if source == "fresh" else responses
    student = distill(DESIGN, weigh(other)).predict_mean(X)
    blended = weigh(responses, "known", second=student, second_var=V * DESIGN.leverage, response_var=NOISE_VAR)
    return blended.values[:, ROW]


def label_checks() -> list[Check]:
    """T6: labels blended with a student's predictions (fresh or same draws) and with the noise-free mean."""
    h = DESIGN.leverage[ROW]
    fresh, same = (float(theory.precision_variance([h], V, draws=d)[0]) for d in ("fresh", "same"))
    return [
        Check(
            "T6",
            "label blended with a student of fresh draws",
            fresh,
            partial(_labels, source="fresh"),
            "variance",
            wrong_theory={"no gain over the student": V * h, "forgets k": fresh * K},
            wrong_simulation={"student of the same draws": partial(_labels, source="same")},
        ),
        Check(
            "T6",
            "label blended with a student of the same draws",
            same,
            partial(_labels, source="same"),
            "variance",
            wrong_theory={"taken for independent": fresh, "no loss": V * h},
        ),
        Check(
            "T6",
            "published label, blended with the noise-free mean",
            V * theory.oracle_label_variance(K),
            partial(_labels, source="oracle"),
            "variance",
            wrong_theory={"equal weights": V / 4, "Graybill–Deal without the oracle": V * (K + 1) / (2 * K)},
        ),
    ]


def _graybill_deal(n: int, key: Key, *, k: int, ratio: float, part: str = "value") -> Array:
    """n Graybill–Deal combinations of two sources of k draws each; the second source's variance is `ratio`."""
    generator = seeds.generator(*key)
    samples = [generator.standard_normal((n, k)), np.sqrt(ratio) * generator.standard_normal((n, k))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FewResponsesWarning)  # few responses are the point here
        return np.asarray(getattr(graybill_deal(samples), part))


def _oracle_weights(n: int, key: Key, *, k: int, ratio: float) -> Array:
    means = seeds.generator(*key).standard_normal((2, n, k)).mean(axis=2) * np.array([[1.0], [np.sqrt(ratio)]])
    return np.asarray(inverse_variance_weight(means, [1.0 / k, ratio / k]).value)


def estimated_checks() -> list[Check]:
    """T7: Graybill–Deal with k draws per source."""
    checks = []
    for k, ratio in ((3, 1.0), (3, 4.0), (10, 2.0), (5, 30.0)):
        simulate: Simulation = partial(_graybill_deal, k=k, ratio=ratio)
        predicted = graybill_deal_variance([k, k], [1.0, ratio])
        wrong = {"equal weights": (1 + ratio) / 4 / k} if ratio > 1 else {"forgets the sampling of s²": 0.5 / k}
        checks.append(
            Check(
                "T7",
                f"variance of Graybill–Deal, k={k}, variance ratio {ratio:g}",
                predicted,
                simulate,
                "variance",
                wrong_theory=wrong,
                wrong_simulation={"weights known": partial(_oracle_weights, k=k, ratio=ratio)},
                bias=0.015 if (k, ratio) == (10, 2.0) else 0.03,  # equal weights come within 2.3 % there
            )
        )
    claimed = claimed_variance_expected([2, 2], [1.0, 1.0])
    checks.append(
        Check(
            "T7",
            "variance that Graybill–Deal claims at k=2",
            claimed,
            partial(_graybill_deal, k=2, ratio=1.0, part="claimed_variance"),
            wrong_theory={"it claims the truth": 0.375, "it claims the best": 0.25},
        )
    )
    checks.append(
        Check(
            "T7",
            "Graybill–Deal is unbiased",
            0.0,
            partial(_graybill_deal, k=3, ratio=4.0),
            wrong_theory={"a tenth of a standard deviation high": 0.06, "low": -0.06},
            scale=1.0,
        )
    )
    return checks


def all_checks() -> list[Check]:
    """Every check of this module."""
    return [*known_checks(), *biased_and_repeated_checks(), *label_checks(), *estimated_checks()]
