"""Sampled responses in the classes of exact probabilities: by token ids and the end, never by looks."""

import numpy as np
import pytest

from uqkd.llm import Encoder, Prompts, Response, Responses, TextTargets, answer_classes, answer_shares, weigh
from uqkd.llm.synthetic.testbed import tokenizer
from uqkd.llm.synthetic.world import World


@pytest.fixture(scope="module")
def encoder():
    coder = tokenizer(World.make(groups=2, entities=2, key=("test", "exact")))
    return Encoder(coder, False, vocabulary=len(coder), context=64, model_eos=(coder.eos_token_id,))


@pytest.fixture(scope="module")
def drawn(encoder):
    """Two prompts of one and two answers, "a" and "a b" of which one begins the other; one student, four responses."""
    words = [w for w in encoder.tokenizer.get_vocab() if not w.startswith("[")][:2]
    a, b = (encoder.tokenizer.get_vocab()[w] for w in words)
    prompts = Prompts(("one", "two"), ("?", "??"), ((words[0],), (" ".join(words), words[0])))
    made = [
        Response((a,), words[0]), Response((a, b), " ".join(words)), Response((b,), words[0]), Response((a,), words[0], False),
    ]  # fmt: skip
    return Responses(prompts, tuple(made), [[[0, 1, 2, 3], [0, 1, 2, 3]]])


def test_an_answer_is_its_tokens_and_its_end(drawn, encoder):
    assert answer_classes(drawn, encoder).tolist() == [[[0, 2, 2, 2], [1, 0, 2, 2]]]


def test_shares_are_the_weights_of_each_class(drawn, encoder):
    np.testing.assert_allclose(
        answer_shares(weigh(drawn, "multi"), encoder), [[[0.25, 0, 0.75], [0.25, 0.25, 0.5]]], rtol=1e-12
    )
    uneven = TextTargets(drawn, np.broadcast_to([0.5, 0.25, 0.0, 0.25], (1, 2, 4)), "mine")
    np.testing.assert_allclose(answer_shares(uneven, encoder), [[[0.5, 0, 0.5], [0.25, 0.5, 0.25]]], rtol=1e-12)
