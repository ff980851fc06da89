"""Likelihood measures of answers: by hand, against torchmetrics' perplexity, unbiased by simulation, wrong versions, bad input."""

import numpy as np
import pytest
import torch
from torchmetrics.text import Perplexity

from uqkd import seeds
from uqkd.errors import DataError, ShapeError
from uqkd.estimators import answer_likelihoods
from uqkd.theory.checks import THRESHOLD


def test_by_hand():
    """Two answers of ½·½ and ¼, of two tokens and one."""
    found = answer_likelihoods([np.log([0.5, 0.5]), np.log([0.25])])
    two = np.log(2.0)
    np.testing.assert_allclose(found.log_likelihood, [-2 * two, -2 * two], rtol=1e-15)
    np.testing.assert_allclose(found.length_normalised, [-two, -2 * two], rtol=1e-15)
    np.testing.assert_allclose(found.perplexity, [2.0, 4.0], rtol=1e-14)
    np.testing.assert_allclose(found.max_token_uncertainty, [two, 2 * two], rtol=1e-15)
    np.testing.assert_allclose(found.predictive_entropy, 2 * two, rtol=1e-15)
    np.testing.assert_allclose(found.predictive_entropy_normalised, 1.5 * two, rtol=1e-15)
    np.testing.assert_allclose(found.token_entropy, 4 / 3 * two, rtol=1e-15)


def test_empty_answers_are_certain_and_do_not_shift_the_others():
    found = answer_likelihoods([[-1.0, -2.0], [], [-4.0], []], (2, 1, 2))
    assert found.log_likelihood.tolist() == [[[-3.0, 0.0]], [[-4.0, 0.0]]]
    assert found.tokens.tolist() == [[[2, 0]], [[1, 0]]]
    assert found.length_normalised.tolist() == [[[-1.5, 0.0]], [[-4.0, 0.0]]]
    assert answer_likelihoods([[], []]).token_entropy == 0.0


def test_perplexity_is_that_of_torchmetrics():
    """One answer: exp of the mean cross-entropy of its tokens; of many, by all their tokens, exp of the token entropy."""
    generator = seeds.generator("test", "likelihood", "torchmetrics")
    logits = generator.standard_normal((3, 6, 5))
    target = generator.integers(0, 5, (3, 6))
    lengths = [6, 2, 4]
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    rows = [logs[i, np.arange(n), target[i, :n]] for i, n in enumerate(lengths)]
    found = answer_likelihoods(rows)
    for i, n in enumerate(lengths):
        own = Perplexity()(torch.tensor(logits[i : i + 1, :n]), torch.tensor(target[i : i + 1, :n]))
        np.testing.assert_allclose(found.perplexity[i], float(own), rtol=1e-5)  # it sums in single precision
    padded = np.where(np.arange(6)[None, :] < np.array(lengths)[:, None], target, -100)
    every = Perplexity(ignore_index=-100)(torch.tensor(logits), torch.tensor(padded))
    np.testing.assert_allclose(np.exp(found.token_entropy), float(every), rtol=1e-5)


def chain(replicates, key):
    """Answers of a two-state chain that ends with chance ½ after each token; log-probabilities as a bank keeps them (R = 4)."""
    generator = seeds.generator(*key)
    rows = []
    for _ in range(replicates * 4):
        row = [np.log(0.8) if generator.random() < 0.8 else np.log(0.2)]
        while True:
            end = generator.random() < 0.5
            row.append(np.log(0.5))
            if end:
                break
            row.append(np.log(0.8) if generator.random() < 0.8 else np.log(0.2))
        rows.append(row)
    return answer_likelihoods(rows, (replicates, 4))


def test_predictive_entropy_is_unbiased_and_wrong_versions_are_not():
    """Entropy of the chain: 2 words on average of H(.8) and as many coins of log 2."""
    word = -(0.8 * np.log(0.8) + 0.2 * np.log(0.2))
    truth = 2.0 * (word + np.log(2.0))
    found = chain(2_000, ("test", "likelihood", "chain"))
    versions = {
        "ours": found.predictive_entropy,
        "by length": found.predictive_entropy_normalised,
        "that of the likeliest draw": -found.log_likelihood.max(axis=1),
        "of the renormalised draws": np.array(
            [
                -(w * np.log(w)).sum()
                for w in np.exp(found.log_likelihood) / np.exp(found.log_likelihood).sum(1)[:, None]
            ]
        ),
    }
    for name, values in versions.items():
        z = abs(values.mean() - truth) / (values.std(ddof=1) / np.sqrt(len(values)))
        assert (z > THRESHOLD) == (name != "ours"), (name, z)
    # A token's mean −log p is the entropy it was drawn from: (H + log 2)/2 of words and coins in turn.
    tokens = -found.log_likelihood.sum() / found.tokens.sum()
    assert tokens == pytest.approx(
        (word + np.log(2.0)) / 2, abs=0.02
    )  # sd of a token some .5, 32,000 tokens: 7 standard errors


def test_bad_input_says_what_to_do():
    with pytest.raises(DataError, match=r"answer 1 holds 0\.5"):
        answer_likelihoods([[-1.0], [0.5]])
    with pytest.raises(DataError, match="answer 0 holds nan"):
        answer_likelihoods([[np.nan]])
    with pytest.raises(ShapeError, match=r"2 answers and the shape \(3,\)"):
        answer_likelihoods([[-1.0], [-2.0]], (3,))
    with pytest.raises(ShapeError, match="one sequence of numbers"):
        answer_likelihoods([])
