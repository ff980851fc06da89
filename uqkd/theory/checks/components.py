"""Checks of conservation for discrete answers and of the variance components (T4, T10, T11)."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.estimators import decompose_categorical, decompose_variance, gini, variance_components, variance_of_means
from uqkd.theory.checks.check import Check, Key, Simulation
from uqkd.theory.statements.memorising import memorised_gini

Array = NDArray[np.float64]

TEACHER_PROBS = np.array([0.45, 0.25, 0.15, 0.10, 0.05])
STUDENTS, K, SHRINKAGE = 4, 3, 0.3


def _memorised(n: int, key: Key, *, k: int = K, shrinkage: float = 0.0, shared: bool = False) -> Array:
    """Class probabilities (S, n, C) of students that memorise k samples; `shared` draws are a wrong version."""
    counts = seeds.generator(*key).multinomial(k, TEACHER_PROBS, size=(1 if shared else STUDENTS, n))
    memory = np.broadcast_to(counts / k, (STUDENTS, n, len(TEACHER_PROBS)))
    return np.asarray((1 - shrinkage) * memory + shrinkage * TEACHER_PROBS)


def _gini_part(n: int, key: Key, *, part: str, shrinkage: float = 0.0, shared: bool = False) -> Array:
    return np.asarray(getattr(decompose_categorical(_memorised(n, key, shrinkage=shrinkage, shared=shared)), part))


def _sharpened(n: int, key: Key) -> Array:
    """Total Gini of students biased towards the mode (probabilities squared): conservation must fail."""
    q = _memorised(n, key, shrinkage=SHRINKAGE) ** 2
    return decompose_categorical(q / q.sum(axis=-1, keepdims=True)).total


def categorical_checks() -> list[Check]:
    """T4: what memorising students keep and spread, with and without shrinkage, and what is conserved."""
    spread = float(gini(TEACHER_PROBS))
    checks = []
    for shrinkage in (0.0, SHRINKAGE):
        expected = memorised_gini(TEACHER_PROBS, K, shrinkage=shrinkage)
        who = "that memorise" if shrinkage == 0 else f"with shrinkage {shrinkage}"
        part: partial[Array] = partial(_gini_part, shrinkage=shrinkage)
        inter, intra = float(expected.inter), float(expected.intra)
        checks += [
            Check(
                "T4",
                f"inter-student Gini of students {who}",
                inter,
                partial(part, part="inter"),
                wrong_theory={"ddof 0": inter * (STUDENTS - 1) / STUDENTS, "forgets k": inter * K},
                wrong_simulation={"same draws for all students": partial(part, part="inter", shared=True)},
            ),
            Check(
                "T4",
                f"intra-student Gini of students {who}",
                intra,
                partial(part, part="intra"),
                wrong_theory={"nothing is lost": spread, "1/k is kept": spread / K},
                bias=0.03,
            ),
        ]
    checks.append(
        Check(
            "T4",
            "intra + inter of mean-unbiased students (conservation)",
            spread,
            partial(_gini_part, part="total", shrinkage=SHRINKAGE),
            wrong_theory={
                "ddof 0": spread - float(memorised_gini(TEACHER_PROBS, K, shrinkage=SHRINKAGE).inter) / STUDENTS
            },
            wrong_simulation={"students sharpened towards the mode": _sharpened},
            bias=0.02,
        )
    )
    return checks


INTER, INTRA = 1.0, 4.0


def _draws(n: int, key: Key, *, students: int = 4, responses: int = 2, shared: bool = False) -> Array:
    """Normal draws (S, n, R) with the true components; `shared` noise over students is a wrong version."""
    generator = seeds.generator(*key)
    centre = np.sqrt(INTER) * generator.standard_normal((students, n, 1))
    noise = generator.standard_normal((1 if shared else students, n, responses))
    return np.asarray(centre + np.sqrt(INTRA) * noise)


def _component(n: int, key: Key, *, part: str, shared: bool = False) -> Array:
    return np.asarray(getattr(decompose_variance(_draws(n, key, shared=shared)), part))


def one_way_checks() -> list[Check]:
    """T10: unbiased inter-, intra-student and total variance."""
    return [
        Check(
            "T10",
            "inter-student variance from draws",
            INTER,
            partial(_component, part="inter"),
            wrong_theory={"nothing to subtract": INTER + INTRA / 2, "ddof 0": INTER * 3 / 4},
            wrong_simulation={
                "plug-in": lambda n, key: variance_of_means(_draws(n, key)),
                "same noise for all students": partial(_component, part="inter", shared=True),
            },
        ),
        Check(
            "T10",
            "intra-student variance from draws",
            INTRA,
            partial(_component, part="intra"),
            wrong_theory={"ddof 0": INTRA / 2, "includes inter": INTRA + INTER},
        ),
        Check(
            "T10",
            "total variance from draws",
            INTER + INTRA,
            partial(_component, part="total"),
            wrong_theory={"variance of the means": INTER + INTRA / 2, "intra alone": INTRA},
        ),
    ]


LEVELS = {"teacher": 5, "init": 4}
TRUE = {"teacher": 3.0, "init": 2.0, "teacher:init": 1.5, "residual": 1.0}
REPEATS = 2


def _crossed(n: int, key: Key) -> Array:
    """n crossed designs (n, teacher, init, repeats) with the true components."""
    generator = seeds.generator(*key)
    a, b = LEVELS.values()
    shapes = {
        "teacher": (n, a, 1, 1),
        "init": (n, 1, b, 1),
        "teacher:init": (n, a, b, 1),
        "residual": (n, a, b, REPEATS),
    }
    return np.asarray(sum(np.sqrt(TRUE[e]) * generator.standard_normal(shape) for e, shape in shapes.items()))


def _crossed_component(n: int, key: Key, *, effect: str) -> Array:
    teacher, init, _ = np.meshgrid(*(range(m) for m in (*LEVELS.values(), REPEATS)), indexing="ij")
    table = {"teacher": teacher.ravel(), "init": init.ravel()}
    return np.array(
        [
            variance_components({**table, "value": values.ravel()}, list(LEVELS)).of(effect)
            for values in _crossed(n, key)
        ]
    )


def _frozen(n: int, key: Key) -> Array:
    """Variance over teacher samples with initialisation and repeat frozen: teacher + interaction + residual."""
    return np.asarray(_crossed(n, key)[:, :, 0, 0].var(axis=1, ddof=1))


def crossed_checks() -> list[Check]:
    """T11: every component of a crossed design, and what freezing all factors but one shows."""
    a, b = LEVELS.values()
    wrong: dict[str, dict[str, float]] = {
        "teacher": {
            "interaction not subtracted": TRUE["teacher"] + TRUE["teacher:init"] / b,
            "forgets levels": TRUE["teacher"] * b,
        },
        "init": {
            "interaction not subtracted": TRUE["init"] + TRUE["teacher:init"] / a,
            "forgets levels": TRUE["init"] * a,
        },
        "teacher:init": {"residual not subtracted": TRUE["teacher:init"] + TRUE["residual"] / REPEATS, "absent": 0.0},
        "residual": {"ddof 0": TRUE["residual"] / 2, "interaction counted in": TRUE["residual"] + TRUE["teacher:init"]},
    }
    checks = []
    for effect, true in TRUE.items():
        simulate: Simulation = partial(_crossed_component, effect=effect)
        checks.append(Check("T11", f"component {effect}", true, simulate, wrong_theory=wrong[effect], bias=0.08))
    frozen = TRUE["teacher"] + TRUE["teacher:init"] + TRUE["residual"]
    checks.append(
        Check(
            "T11",
            "freezing all factors but the teacher sample",
            frozen,
            _frozen,
            wrong_theory={"the main effect alone": TRUE["teacher"], "all components": sum(TRUE.values())},
        )
    )
    return checks


def all_checks() -> list[Check]:
    """Every check of this module."""
    return [*categorical_checks(), *one_way_checks(), *crossed_checks()]
