"""Checks of weighted answers in text: the central answer sharpens, an independent student helps (T5, T6)."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.estimators import gini
from uqkd.llm.responses import Prompts, Response, Responses, TextTargets
from uqkd.llm.similarity.embeddings import embed
from uqkd.llm.targets import weigh
from uqkd.theory.checks.check import Check, Key
from uqkd.theory.checks.components import TEACHER_PROBS
from uqkd.theory.statements.medoid import medoid_distribution

Array = NDArray[np.float64]
Index = NDArray[np.int64]

WORDS = ("a stone", "a small stone", "rain", "the sea", "rain at sea")  # alike in part, so that nearness matters
ANSWERS = tuple(Response((i,), word) for i, word in enumerate(WORDS))
SECOND_PROBS = np.full(5, 0.2)  # of an independent student that is biased towards the uniform law
K, M = 3, 6


def _responses(index: Index) -> Responses:
    """Answers (S, n, k) to n prompts, each of them a replicate."""
    names = tuple(str(i) for i in range(index.shape[1]))
    return Responses(Prompts(names, names), ANSWERS, index)


def _drawn(n: int, key: Key, *, k: int, students: int = 1, probs: Array = TEACHER_PROBS) -> Index:
    return seeds.generator(*key).choice(len(probs), p=probs, size=(students, n, k))


def _kept(n: int, key: Key, *, k: int, embedding: str = "exact", method: str = "medoid") -> Index:
    """Answers (2, n) that two students of independent draws are trained on."""
    return weigh(_responses(_drawn(n, key, k=k, students=2)), method, embedding=embedding).responses.index[:, :, 0]


def _disagree(n: int, key: Key, *, k: int, embedding: str = "exact", method: str = "medoid") -> Array:
    """1 where two independent students are given different answers: its mean is the Gini variance of the law kept."""
    first, second = _kept(n, key, k=k, embedding=embedding, method=method)
    return (first != second).astype(np.float64)


def _is_mode(n: int, key: Key, *, k: int, embedding: str = "exact", method: str = "medoid") -> Array:
    return (_kept(n, key, k=k, embedding=embedding, method=method)[0] == 0).astype(np.float64)


def _last_of_ties(n: int, key: Key, *, k: int) -> Array:
    """A wrong version: of answers drawn equally often the one with the last number is kept, not the first drawn."""
    index = _drawn(n, key, k=k)[0]
    counts = (index[:, :, None] == np.arange(len(WORDS))).sum(axis=1)
    return (len(WORDS) - 1 - counts[:, ::-1].argmax(axis=1) == 0).astype(np.float64)


def medoid_checks() -> list[Check]:
    """T5: the law of the central answer, for texts that have nothing in common and for real embeddings."""
    spread = float(gini(TEACHER_PROBS))
    sharp = {k: float(gini(medoid_distribution(TEACHER_PROBS, k))) for k in (3, 5, 10)}
    alike = medoid_distribution(TEACHER_PROBS, 5, embed(WORDS))
    return [
        Check(
            "T5",
            "Gini of the answer drawn most often of k=5",
            sharp[5],
            partial(_disagree, k=5),
            wrong_theory={"the law is kept": spread, "forgets k": sharp[10], "only the mode is left": 0.0},
            wrong_simulation={"all responses kept, one trained on": partial(_disagree, k=5, method="single")},
        ),
        Check(
            "T5",
            "Gini of the central answer of k=2",
            spread,
            partial(_disagree, k=2, embedding="builtin"),
            wrong_theory={"two sharpen like five": sharp[5]},
            wrong_simulation={"three answers": partial(_disagree, k=3, embedding="exact")},
            bias=0.03,
        ),
        Check(
            "T5",
            "share of the mode, kept of k=10",
            float(medoid_distribution(TEACHER_PROBS, 10)[0]),
            partial(_is_mode, k=10),
            wrong_theory={"the law is kept": float(TEACHER_PROBS[0]), "the mode is certain": 1.0},
            wrong_simulation={"ties to the last": partial(_last_of_ties, k=10)},
            bias=0.02,
        ),
        Check(
            "T5",
            "share of the mode, kept of k=5 by texts that are alike",
            float(alike[0]),
            partial(_is_mode, k=5, embedding="builtin"),
            wrong_theory={"nothing in common": float(medoid_distribution(TEACHER_PROBS, 5)[0])},
            wrong_simulation={"exact texts": partial(_is_mode, k=5, embedding="exact")},
            bias=0.02,
        ),
    ]


def shares(targets: TextTargets) -> Array:
    """Target distribution over the five answers (S, P, 5)."""
    index, weights = targets.responses.index, targets.weights
    place = {answer: i for i, answer in enumerate(ANSWERS)}
    number = np.array([place[r] for r in targets.responses.distinct])[index]
    return (weights[..., None] * (number[..., None] == np.arange(len(ANSWERS)))).sum(axis=2)


def _target_error(n: int, key: Key, *, second: str = "fresh", method: str = "precision") -> Array:
    """‖target − p‖² of n prompts; the second source is independent, or has memorised the draws it is combined with."""
    index = _drawn(n, (*key, "teacher"), k=K)
    if second == "fresh":
        theirs = _drawn(n, (*key, "second"), k=M, probs=SECOND_PROBS)
    else:
        pick = seeds.generator(*key, "memory").integers(K, size=(1, n, M))
        theirs = np.take_along_axis(index, pick, axis=2)
    more = {"second": _responses(theirs), "independent": True} if method == "precision" else {}
    targets = weigh(_responses(index), method, embedding="exact", **more)  # type: ignore[arg-type]
    return ((shares(targets) - TEACHER_PROBS) ** 2).sum(axis=-1)[0]


def _blend(weight: float, first: float, second: float) -> float:
    return weight**2 * first + (1 - weight) ** 2 * second


def precision_checks() -> list[Check]:
    """T6 for answers: squared error of the target; prompts share one law, so that the estimated weight is exact."""
    spread = float(gini(TEACHER_PROBS))
    first, bias, noise = spread / K, float(((SECOND_PROBS - TEACHER_PROBS) ** 2).sum()), float(gini(SECOND_PROBS)) / M
    second = bias + noise
    best = first * second / (first + second)
    same = first + (1 - 1 / K) * spread / M
    return [
        Check(
            "T6",
            "answers weighted with those of an independent student",
            best,
            _target_error,
            wrong_theory={
                "forgets the student's bias": _blend(noise / (first + noise), first, second),
                "forgets the student's draws": _blend(bias / (first + bias), first, second),
                "forgets k": _blend(second / (spread + second), first, second),
            },
            wrong_simulation={
                "student of the same draws": partial(_target_error, second="same"),
                "the teacher alone": partial(_target_error, method="multi"),
            },
            bias=0.04,
        ),
        Check(
            "T6",
            "answers weighted with those of a student that memorised them",
            same,
            partial(_target_error, second="same"),
            wrong_theory={
                "taken for independent": best,
                "no loss": first,
                "the student's spread forgotten": first + bias,
            },
            wrong_simulation={"fresh draws": _target_error},
        ),
    ]


def all_checks() -> list[Check]:
    """Every check of this module."""
    return [*medoid_checks(), *precision_checks()]
