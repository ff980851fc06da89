"""The facts behind cards: which prompts were learnt, what is no number, and examples that show every side's answers."""

import json

import pytest

from uqkd.estimators.intervals.level import LEVEL
from uqkd.llm.measuring import estimate
from uqkd.llm.measuring.facts import EXAMPLES, examples, measuring_facts
from uqkd.llm.responses import Prompts, Response, Responses
from uqkd.llm.students.facts import prompt_keys

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
WORDS = tuple(Response((i,), word) for i, word in enumerate(NUMBERS))


def said(prompts, index):
    return Responses(prompts, WORDS, index)


def named(count, answers=()):
    ids = tuple(f"p{i}" for i in range(count))
    return Prompts(ids, tuple(f"what of {name} ?" for name in ids), answers)


def test_facts_are_json_and_count_what_was_learnt():
    prompts = named(3, ((), ("two",), ()))
    students = said(prompts, [[[0, 1], [1, 1], [2, 2]], [[0, 0], [1, 2], [2, 3]]])
    keys = prompt_keys(prompts)
    answers = {"student-0": students.of_students(0), "student-1": students.of_students(1)}
    found = measuring_facts(
        estimate(students), prompts, learnt=[keys[0], keys[2], "other"], answers=answers, teacher=None, draws=2
    )
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["prompts"] == {"fingerprint": prompts.fingerprint, "count": 3, "learnt": 2, "answered": 1}
    assert (found["level"], found["draws"]) == (LEVEL, 2)
    rows = {row["quantity"]: row for row in found["quantities"]}
    assert rows["inter_gini"]["undistilled"] is None  # NaN in the table
    unknown = measuring_facts(estimate(students), prompts, learnt=None, answers=answers, teacher=None)
    assert unknown["prompts"]["learnt"] is None


def test_a_prompt_is_known_by_what_it_asks_and_not_by_its_id():
    one, other = Prompts(("a",), ("hello",)), Prompts(("b",), ("hello",))
    chat = Prompts(("c",), ("hello",), chats=((("user", "hello"),),))
    assert prompt_keys(one) == prompt_keys(other) == prompt_keys(chat)
    assert prompt_keys(one) != prompt_keys(one.with_system("Be brief."))


def test_every_source_shows_its_most_frequent_answers():
    """The teacher's two come in although students give eight others more often."""
    prompts = named(1)
    answers = {
        "teacher": said(prompts, [[[0, 0, 0, 1]]]),
        "student-0": said(prompts, [[[2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9]]]),
    }
    (one,) = examples(["p0"], prompts, answers)
    assert {"one", "two"} <= set(one["answers"])
    assert one["answers"][0] == "one"
    for name, drawn in answers.items():
        assert sum(one["counts"][name]) + one["others"][name] == drawn.shape[2]
    assert one["others"]["teacher"] == 0
    assert one["others"]["student-0"] > 0


@pytest.mark.parametrize("count", [1, 4, 5, EXAMPLES, 30])
def test_examples_are_the_first_and_some_of_the_rest_each_once(count):
    prompts = named(count)
    answers = {"student-0": said(prompts, [[[0, 1]] * count])}
    shown = [one["prompt"] for one in examples(prompts.ids[::-1], prompts, answers)]
    assert len(shown) == len(set(shown)) == min(count, EXAMPLES)
    assert shown[0] == f"what of p{count - 1} ?"
    if count > EXAMPLES:
        assert shown[-1] == "what of p0 ?"


def test_long_texts_are_cut_and_half_characters_written_out():
    prompts = Prompts(("a",), ("?" * 1000,))
    answers = {"student-0": Responses(prompts, (Response(None, "\ud800" + "x" * 999),), [[[0, 0]]])}
    (one,) = examples(["a"], prompts, answers)
    assert len(one["prompt"]) == 300
    json.dumps(one, ensure_ascii=False).encode()
    assert one["answers"][0].startswith("\\ud800x")
