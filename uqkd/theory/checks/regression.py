"""Checks of the closed-form student: its spread, its test error, what it reports, and the data bootstrap (T1–T3, T9)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.linear import Design, Students, Teacher, distill, weigh
from uqkd.linear.bootstrap import bootstrap_students
from uqkd.theory import statements as theory
from uqkd.theory.checks.check import Check, Key, Simulation

Array = NDArray[np.float64]

ROWS, WIDTH, K, NOISE_VAR, LABEL_VAR = 24, 4, 3, 1.7, 0.9
BLOCK = 2_000  # students distilled at a time, so that memory stays flat


def _design(rows: int, name: str) -> Array:
    generator = seeds.generator("checks", "regression", name, shared=True)
    skewed = generator.standard_normal((rows, WIDTH - 1)) @ np.array([[1.0, 0.6, 0.0], [0, 1.0, 0.4], [0, 0, 1.0]])
    return np.column_stack([np.ones(rows), skewed])


X = _design(ROWS, "train")
X_TEST = _design(40, "test")
COEF = np.array([0.5, -1.0, 2.0, 0.25])
DESIGN = Design.of(X)
POINT = X_TEST[:1]
TEACHER = Teacher(COEF, NOISE_VAR)
RESIDUAL = 0.6 * seeds.generator("checks", "regression", "residual", shared=True).standard_normal(len(X_TEST))


def _blocks(replicates: int) -> Iterator[tuple[int, int]]:
    for start in range(0, replicates, BLOCK):
        yield start // BLOCK, min(BLOCK, replicates - start)


def _students(replicates: int, key: Key, *, k: int = K, head: str = "point", draws: str = "own") -> Iterator[Students]:
    """Students from the code under test; `draws` other than "own" are wrong versions."""
    for block, size in _blocks(replicates):
        responses = TEACHER.respond(X, k, students=size, key=(*key, block))
        if draws == "same for all students":
            responses = np.broadcast_to(responses[:1], responses.shape)
        elif draws == "same for all responses":
            responses = np.broadcast_to(responses[:, :, :1], responses.shape)
        yield distill(DESIGN, weigh(responses), head=head)


def _prediction(**options: Any) -> Simulation:
    return lambda n, key: np.concatenate([s.predict_mean(POINT)[:, 0] for s in _students(n, key, **options)])


def _slope(n: int, key: Key) -> Array:
    return np.concatenate([s.coef[:, 1] for s in _students(n, key)])


def _mean_square_on_training_rows(n: int, key: Key) -> Array:
    centre = X @ COEF
    return np.concatenate([((s.predict_mean(X) - centre) ** 2).mean(axis=1) for s in _students(n, key)])


def _unconditional(n: int, key: Key) -> Array:
    """Teachers refitted to fresh labels, one student each: prediction at the point."""
    values = []
    for block, size in _blocks(n):
        labels = X @ COEF + np.sqrt(LABEL_VAR) * seeds.generator(*key, "labels", block).standard_normal((size, ROWS))
        teachers = labels @ DESIGN.projector
        noise = Teacher(np.zeros(WIDTH), NOISE_VAR).respond(X, K, students=size, key=(*key, "responses", block))
        students = distill(DESIGN, weigh(noise + (teachers @ X.T)[:, :, None]))
        values.append(students.predict_mean(POINT)[:, 0])
    return np.concatenate(values)


def spread_checks() -> list[Check]:
    """T1: variance of predictions and coefficients over students."""
    h, v = float(DESIGN.leverage_at(POINT)[0]), NOISE_VAR / K
    G = DESIGN.covariance_unscaled
    return [
        Check(
            "T1",
            "inter-student variance at a point",
            float(theory.inter_student_variance(X, POINT, NOISE_VAR, K)[0]),
            _prediction(),
            "variance",
            wrong_theory={"forgets k": NOISE_VAR * h, "trace instead of the point's leverage": v * WIDTH / ROWS},
            wrong_simulation={
                "same draws for all students": _prediction(draws="same for all students"),
                "same noise for every response": _prediction(draws="same for all responses"),
            },
        ),
        Check(
            "T1",
            "variance of a coefficient",
            float(theory.coef_covariance(X, NOISE_VAR, K)[1, 1]),
            _slope,
            "variance",
            wrong_theory={
                "inverse of the diagonal instead of diagonal of the inverse": v / float(X[:, 1] @ X[:, 1]),
                "forgets k": NOISE_VAR * float(G[1, 1]),
            },
        ),
        Check(
            "T1",
            "variance including the teacher's own error",
            float((POINT @ theory.coef_covariance(X, NOISE_VAR, K, label_var=LABEL_VAR) @ POINT.T)[0, 0]),
            _unconditional,
            "variance",
            wrong_theory={"k divides the teacher's error too": (LABEL_VAR + NOISE_VAR) / K * h, "forgets it": v * h},
        ),
        Check(
            "T1",
            "mean over the training points",
            v * WIDTH / ROWS,
            _mean_square_on_training_rows,
            wrong_theory={"forgets the intercept": v * (WIDTH - 1) / ROWS, "q/(n−q)": v * WIDTH / (ROWS - WIDTH)},
        ),
    ]


def error_checks() -> list[Check]:
    """T2: mean and variance over students of the test error."""
    labels = X_TEST @ COEF + RESIDUAL
    teacher_error = float(RESIDUAL @ RESIDUAL / len(RESIDUAL))

    def excess(n: int, key: Key) -> Array:
        return (
            np.concatenate([((s.predict_mean(X_TEST) - labels) ** 2).mean(axis=1) for s in _students(n, key)])
            - teacher_error
        )

    moments = theory.expected_error(X, X_TEST, RESIDUAL, NOISE_VAR, K)
    v, G = NOISE_VAR / K, DESIGN.covariance_unscaled
    A, b = X_TEST.T @ X_TEST / len(X_TEST), X_TEST.T @ RESIDUAL / len(X_TEST)
    return [
        Check(
            "T2",
            "mean test error above the teacher's",
            moments.mean - teacher_error,
            excess,
            wrong_theory={
                "training trace q/n instead of tr(AG)": v * WIDTH / ROWS,
                "forgets k": NOISE_VAR * float(np.trace(A @ G)),
                "product of traces": v * float(np.trace(A) * np.trace(G)) / WIDTH,
            },
        ),
        Check(
            "T2",
            "variance of the test error",
            moments.variance,
            excess,
            "variance",
            wrong_theory={
                "forgets the cross term": float(2 * v**2 * np.trace(A @ G @ A @ G)),
                "k instead of k² in the square": float(4 * v * b @ G @ b + 2 * v * NOISE_VAR * np.trace(A @ G @ A @ G)),
            },
            bias=0.1,
        ),
    ]


def head_checks() -> list[Check]:
    """T3: predictive variance that students report, by head, and that their draws show."""

    def reported(head: str) -> Simulation:
        return lambda n, key: np.concatenate([s.head_var for s in _students(n, key, head=head)])

    def drawn(n: int, key: Key) -> Array:
        students = list(_students(n, key, head="carried"))
        return np.concatenate(
            [s.predict(POINT, 4, key=(*key, "draws", i)).var(axis=2, ddof=1)[:, 0] for i, s in enumerate(students)]
        )

    dof = ROWS - WIDTH
    averaged = theory.reported_variance("targets", NOISE_VAR, K)
    return [
        Check(
            "T3",
            "variance reported after training on averages",
            averaged,
            reported("targets"),
            wrong_theory={"forgets k": NOISE_VAR, "ddof 0": averaged * dof / ROWS},
        ),
        Check(
            "T3",
            "variance reported from all raw responses",
            theory.reported_variance("responses", NOISE_VAR, K),
            reported("responses"),
            wrong_theory={"ddof 0": NOISE_VAR * (1 - WIDTH / (ROWS * K)), "divided by k": NOISE_VAR / K},
            bias=0.02,
        ),
        Check(
            "T3",
            "variance carried along with the average",
            theory.reported_variance("carried", NOISE_VAR, K),
            reported("carried"),
            wrong_theory={"ddof 0": NOISE_VAR * (K - 1) / K, "divided by k": NOISE_VAR / K},
        ),
        Check(
            "T3",
            "intra-student variance of draws from the carried head",
            NOISE_VAR,
            drawn,
            wrong_theory={"divided by k": NOISE_VAR / K, "adds the inter-student variance": NOISE_VAR * (1 + 1 / K)},
        ),
    ]


def bootstrap_checks() -> list[Check]:
    """T9: sandwich variance of students trained on bootstrap resamples of ground-truth labels."""
    rows = 1_200
    design = _design(rows, "bootstrap")[:, :2]
    generator = seeds.generator("checks", "regression", "bootstrap labels", shared=True)
    labels = design @ COEF[:2] + generator.standard_normal(rows) * (0.3 + np.abs(design[:, 1]))  # spread grows with x
    factor = Design.of(design)
    residual = labels - design @ (labels @ factor.projector)
    point = np.array([[1.0, 1.5]])

    def predictions(drawn: int) -> Simulation:
        def simulate(n: int, key: Key) -> Array:
            blocks = (
                bootstrap_students(design, labels, drawn=drawn, students=size, key=(*key, block))
                for block, size in _blocks(n)
            )
            return np.concatenate([s.predict_mean(point)[:, 0] for s in blocks])

        return simulate

    homoskedastic = float(residual @ residual / rows * factor.leverage_at(point)[0])
    checks = []
    for drawn in (rows, rows // 2):
        predicted = float(theory.bootstrap_variance(design, residual, point, drawn=drawn)[0])
        checks.append(
            Check(
                "T9",
                f"bootstrap variance with {'all' if drawn == rows else 'half the'} rows drawn",
                predicted,
                predictions(drawn),
                "variance",
                wrong_theory={
                    "one variance for all rows": homoskedastic * rows / drawn,
                    "n/m upside down" if drawn < rows else "forgets the leverage": predicted * (drawn / rows) ** 2
                    if drawn < rows
                    else float(residual @ residual / rows**2),
                },
                bias=0.1,  # the sandwich itself is off by O(q/m) = 0.2–0.3 %
            )
        )
    return checks


def all_checks() -> list[Check]:
    """Every check of this module."""
    return [*spread_checks(), *error_checks(), *head_checks(), *bootstrap_checks()]
