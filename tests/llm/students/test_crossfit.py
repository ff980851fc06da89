"""Cross-fitted answers: no student has seen the responses to the prompts that it answers."""

import numpy as np
import pytest

from uqkd.errors import OptionError
from uqkd.llm import Encoder, Recipe, Responses, Sampling, SeedDesign, World, cross_fitted
from uqkd.llm.synthetic.testbed import Size, tokenizer

STUDENTS, K, ANSWERS, KEY = 2, 2, 3, ("t", "cross")
RECIPE = Recipe(steps=30, batch=4, optimiser="adamw", lr=1e-2)


@pytest.fixture(scope="module")
def world():
    return World.make(groups=2, entities=3, key=("test", "cross"))


@pytest.fixture(scope="module")
def encoder(world):
    coder = tokenizer(world)
    return Encoder(coder, False, vocabulary=len(coder), context=64, model_eos=(coder.eos_token_id,))


def given(world, encoder, *, changed=None):
    """Two responses per student and prompt; all those to prompt `changed` are the last answer instead."""
    prompts = world.prompts(relations=["home"])
    places = [
        [len(options) - 1 if p == changed else (s + r) % len(options) for r in range(K)]
        for s in range(STUDENTS) for p, options in enumerate(prompts.answers)
    ]  # fmt: skip
    texts = [prompts.answers[i % len(prompts)][c] for i, row in enumerate(places) for c in row]
    made = [encoder.response(text) for text in texts]
    return Responses.gather(prompts, made, (STUDENTS, len(prompts), K))


def answers(responses, encoder):
    second, fold = cross_fitted(
        Size(16, 32, 1, 2).config(len(encoder.tokenizer)), responses, answers=ANSWERS, encoder=encoder, recipe=RECIPE,
        seed_design=SeedDesign.independent(STUDENTS), sampling=Sampling(max_tokens=6), key=KEY,
    )  # fmt: skip
    texts = np.array([[second.texts(s, p) for p in range(len(second.prompts))] for s in range(STUDENTS)], dtype=object)
    return texts, fold


def test_other_responses_to_a_prompt_change_no_answer_to_its_part(world, encoder):
    texts, fold = answers(given(world, encoder), encoder)
    assert texts.shape == (STUDENTS, 6, ANSWERS)
    assert np.bincount(fold).tolist() == [3, 3]
    poisoned, again = answers(given(world, encoder, changed=0), encoder)
    assert (again == fold).all()
    held = fold == fold[0]
    assert (
        texts[:, held] == poisoned[:, held]
    ).all()  # to the last letter: trained on the same rows, asked with the same seeds
    assert (texts[:, ~held] != poisoned[:, ~held]).any()  # the students of the other part did see them


def test_two_parts_at_least(world, encoder):
    with pytest.raises(OptionError, match=r"2 <= parts <= P=6; got 1"):
        cross_fitted(None, given(world, encoder), answers=1, parts=1, key=KEY)
    with pytest.raises(OptionError, match=r"2 <= parts <= P=6; got 7"):
        cross_fitted(None, given(world, encoder), answers=1, parts=7, key=KEY)
