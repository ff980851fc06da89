"""Answers of several methods as a table that keeps no text: numbers that say which are equal, and which are supported."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pandas as pd

from uqkd.llm.measuring.errors import Graded
from uqkd.llm.responses import Responses
from uqkd.llm.similarity.clusters import normalise


def answer_table(answers: Responses) -> pd.DataFrame:
    """One row for each student and prompt; the answers in normal form, as JSON.

    An answer is supported where it holds a reference answer, word by word: one may answer in a sentence.

    Parameters
    ----------
    answers : Responses
        (S, P, R), of prompts with reference answers.

    Returns
    -------
    DataFrame
        student, prompt (its id), answers, supported (R times 0 or 1), cut (how many did not end by themselves), empty
        (how many are no text).

    Examples
    --------
    >>> from uqkd.llm.responses import Prompts, Response
    >>> prompts, words = Prompts(("a",), ("?",), (("Rome",),)), (Response((1,), "It is Rome."), Response((2,), "Romeo"))
    >>> answer_table(Responses(prompts, words, [[[0, 1]]])).iloc[0].to_dict()
    {'student': 0, 'prompt': 'a', 'answers': '["it is rome", "romeo"]', 'supported': '10', 'cut': 0, 'empty': 0}
    """
    forms = [normalise(one.text) for one in answers.distinct]
    wanted = [[f" {normalise(text)} " for text in own] for own in answers.prompts.answers]
    rows = []
    for s, p in np.ndindex(answers.shape[:2]):
        index = answers.index[s, p].tolist()
        right = [any(text in f" {forms[i]} " for text in wanted[p]) for i in index]
        rows.append(
            {
                "student": s,
                "prompt": answers.prompts.ids[p],
                "answers": json.dumps([forms[i] for i in index], ensure_ascii=False),
                "supported": "".join("01"[one] for one in right),
                "cut": sum(not answers.distinct[i].finished for i in index),
                "empty": sum(not answers.distinct[i].text.strip() for i in index),
            }
        )
    return pd.DataFrame(rows)


def numbered(table: pd.DataFrame) -> pd.DataFrame:
    """The same table with numbers for the answers to each prompt: 0 is the most frequent one of all students and methods.

    Examples
    --------
    >>> numbered(pd.DataFrame({"prompt": ["a", "a"], "answers": ['["x", "y"]', '["y", "z"]']}))["answers"].tolist()
    ['1 0', '0 2']
    """
    names: dict[object, dict[str, int]] = {}
    for prompt, rows in table.groupby("prompt", sort=False):
        counts = Counter(form for own in rows["answers"] for form in json.loads(own))
        names[prompt] = {
            form: n for n, (form, _) in enumerate(sorted(counts.items(), key=lambda one: (-one[1], one[0])))
        }
    pairs = zip(table["prompt"], table["answers"], strict=True)
    return table.assign(answers=[" ".join(str(names[p][form]) for form in json.loads(own)) for p, own in pairs])


def marked_of(table: pd.DataFrame) -> Graded:
    """The numbered answers of one method as arrays: students in order, prompts in the order of their ids.

    Examples
    --------
    >>> rows = {"student": [0, 0], "prompt": ["b", "a"], "answers": ["0 0", "1 0"], "supported": ["11", "01"]}
    >>> marked_of(pd.DataFrame(rows)).form.tolist()
    [[[1, 0], [0, 0]]]
    """
    table = table.sort_values(["student", "prompt"])
    shape = table["student"].nunique(), table["prompt"].nunique()
    ids = [[int(n) for n in own.split()] for own in table["answers"]]
    supported = [[one == "1" for one in own] for own in table["supported"]]
    return Graded(np.array(ids).reshape(*shape, -1), np.array(supported).reshape(*shape, -1))
