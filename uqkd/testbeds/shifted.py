"""Rows of a task that are not as in training: shifted, ambiguous, or from elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd import data, seeds
from uqkd.classify.classifiers import Classifiers
from uqkd.data.tasks import Task
from uqkd.estimators import entropy, kl_divergence

Array = NDArray[np.float64]

SEVERITY = 3  # of 5
LOST = 0.3  # share of the words of a text
ROUNDING = 1e-12  # probabilities below it count as it


def parts(task: Task) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Test rows as they are, and shifted in each way."""
    X, labels, key = task.X_test, task.labels_test, ("classify shift", task.fingerprint)
    found = {"as trained": (X, labels)}
    if task.pad is None:
        scale = {"background": float(X.min()), "pixel_range": float(np.ptp(X))}
        return found | {name: (data.shifted(X, name, SEVERITY, key=key, **scale), labels) for name in data.SHIFTS}
    return found | {"words lost": (data.drop_tokens(X, LOST, key=key, pad=task.pad), labels)}


def doubts(students: Classifiers, task: Task) -> dict[str, Array]:
    """On ambiguous rows, (S,) each: divergence from what is known of them, entropy, and the entropy that it should be."""
    if task.posterior_test is not None:  # the third of the texts whose true posterior is most spread
        spread = entropy(task.posterior_test)
        rows = np.argsort(-spread)[: len(spread) // 3]
        X, truth = task.X_test[rows], task.posterior_test[rows]
    else:  # averages of two images: the classes of both, as two annotators would have it
        key = ("classify shift", task.fingerprint)
        both = data.ambiguous(task.X_test, task.labels_test, key=key, pairs=500, shared=True)
        X, truth = both.images, np.eye(len(task.classes))[both.annotators].mean(axis=1)
    q = students.predict_proba(X)
    known = np.full(len(q), entropy(truth).mean())
    return {
        "kl": kl_divergence(truth, q, least=ROUNDING).mean(axis=1),
        "entropy": entropy(q).mean(axis=1),
        "true_entropy": known,
    }


def elsewhere(task: Task) -> NDArray[Any]:
    """Rows of no class: images whose pixels are shuffled, all alike; texts of words at random."""
    rng = seeds.generator("classify shift", "elsewhere", task.fingerprint, shared=True)
    X = task.X_test
    if task.pad is None:
        return X.reshape(len(X), -1)[:, rng.permutation(X[0].size)].reshape(X.shape)
    words = rng.integers(1, task.vocabulary, size=X.shape)
    return np.where(task.X_test == task.pad, task.pad, words)
