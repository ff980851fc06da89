"""AUROC as numbers per student and prompt: scikit-learn's value, DeLong's variance, intervals by simulation, bad input."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from uqkd import seeds
from uqkd.errors import DataError, NotFiniteError, ShapeError
from uqkd.estimators import auroc_values
from uqkd.estimators.variance.two_way import two_way_standard_error

GENERATOR = seeds.generator("test", "auroc values")
SCORES = GENERATOR.integers(0, 6, (3, 20, 4)).astype(float)  # with ties
RIGHT = GENERATOR.random((3, 20, 4)) < 0.2 + 0.1 * SCORES


def test_the_mean_is_scikit_learns():
    for s, values in enumerate(auroc_values(SCORES, RIGHT)):
        np.testing.assert_allclose(values.mean(), roc_auc_score(RIGHT[s].ravel(), SCORES[s].ravel()), rtol=1e-12)


def test_the_spread_of_independent_answers_is_delongs():
    """One answer to a prompt: Σ influence² is DeLong's variance but for n in place of n − 1 (here within 3 %)."""
    scores, right = SCORES[:1].reshape(1, 80, 1), RIGHT[:1].reshape(1, 80, 1)
    values = auroc_values(scores, right)
    x, y = scores[right], scores[~right]
    wins = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
    delong = wins.mean(axis=1).var(ddof=1) / len(x) + wins.mean(axis=0).var(ddof=1) / len(y)
    np.testing.assert_allclose(two_way_standard_error(values) ** 2, delong, rtol=0.05)


def test_its_error_counts_answers_to_a_prompt_as_alike():
    """300 tables of 2 × 30 × 4: the stated variance is within 33 %, four times what such a variance is known to (8 %).

    Wrong: answers as if they were independent, when those to a hard prompt are wrong together.
    """
    generator = seeds.generator("test", "auroc", "clustered")
    hard = generator.standard_normal((300, 1, 30, 1))
    scores = hard + generator.standard_normal((300, 2, 30, 4))
    right = hard + generator.standard_normal((300, 2, 30, 4)) > 0
    tables = np.array([auroc_values(*one) for one in zip(scores, right, strict=True)])
    found = tables.mean(axis=(1, 2))
    stated = np.mean([two_way_standard_error(table) ** 2 for table in tables])
    assert abs(stated / found.var() - 1) < 0.33
    flat = np.array(
        [auroc_values(a.reshape(2, -1, 1), b.reshape(2, -1, 1)) for a, b in zip(scores, right, strict=True)]
    )
    alone = np.mean([(table.var(axis=1, ddof=1) / 120).sum() / 4 for table in flat])
    assert abs(alone / found.var() - 1) > 0.33


def test_bad_input_says_what_to_do():
    with pytest.raises(DataError, match="all answers of student 1 are right"):
        auroc_values(SCORES[:2], np.stack([RIGHT[0], np.ones_like(RIGHT[0])]))
    with pytest.raises(DataError, match="true and false; got dtype int"):
        auroc_values(SCORES, RIGHT.astype(int))
    with pytest.raises(ShapeError, match="must be equal"):
        auroc_values(SCORES, RIGHT[:, :, :2])
    with pytest.raises(NotFiniteError):
        auroc_values(np.where(RIGHT, np.nan, SCORES), RIGHT)
