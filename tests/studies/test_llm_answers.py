"""Answers of the studies of language models: made from tables, their words follow the numbers, and nothing unknown is said."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from uqkd.run import load_study

STUDIES = Path(__file__).parents[2] / "studies"
KINDS = ("home", "food")


def module(name):
    return load_study(name, folder=STUDIES).module


def row(quantity, simulated, standard_error=0.01, **about):
    return {"students": 8, "prompts": 48, "quantity": quantity, "predicted": 0.0, "simulated": simulated,
            "standard_error": standard_error, **about}  # fmt: skip


def resampled(values, error=0.01):
    settings = [(False, "same"), (False, "own"), (True, "same"), (True, "own")]
    return pd.DataFrame([
        row("inter", value, error, bootstrap=bootstrap, responses=responses, relation=relation, k=4)
        for (bootstrap, responses), value in zip(settings, values, strict=True) for relation in KINDS
    ])  # fmt: skip


def begun(values):
    levels = (0.1, -1.0)
    return pd.DataFrame([
        row("inter", value, 0.001, when="after", perturbation=level, k=4) for level, value in zip(levels, values, strict=True)
    ])  # fmt: skip


def sampled(cold, hot, outside):
    every = [(0.5, cold, outside), (1.5, hot, outside)]
    return pd.DataFrame([
        {**row(quantity, value), "predicted": expected, "of": "students", "temperature": t, "k": k}
        for t, inter, invalid in every for k in (1, 4)
        for quantity, value, expected in (
            ("inter", inter, inter), ("κ", 1.0, 1.0), ("outside the valid answers", invalid, 0.1),
        )
    ])  # fmt: skip


def weighted(precision):
    less = {"medoid": 0.6, "reranked": 0.7, "precision": precision, "multi, 2k": -0.1}
    rows = []
    for k in (4, 16):
        rows += [row("distance", 0.25 + less.get(method, 0.0), method=method, k=k, relation=relation, of="students")
                 for method in ("multi", "medoid", "reranked", "precision") for relation in KINDS]  # fmt: skip
        rows += [row("distance, less that of multi", value, method=method, k=k, relation=relation, of="students")
                 for method, value in less.items() for relation in KINDS]  # fmt: skip
    return pd.DataFrame(rows)


def seeded(keyed, rejected):
    names = ("keyed", "consecutive", "broadcast", "engine default")
    return pd.DataFrame([
        row(quantity, keyed if name == "keyed" else 0.5, seeding=name, rejected=name != "keyed" or rejected)
        for name in names for quantity in ("per prompt", "prompt average")
    ])  # fmt: skip


SAID = {
    "more, resampled": ("llm_data_bootstrap", resampled((0.02, 0.24, 0.45, 0.5)), "at least as much as the teacher's"),
    "less, resampled": ("llm_data_bootstrap", resampled((0.02, 0.45, 0.24, 0.5)), "less than the teacher's sampling"),
    "near": ("llm_initialisation", begun((0.01, 0.005)), "hardly at all"),
    "less than others": ("llm_initialisation", begun((0.12, 0.005)), "less than others"),
    "far": ("llm_initialisation", begun((0.3, 0.005)), "as far as others"),
    "wider": ("llm_teacher_noise", sampled(0.4, 0.8, 0.3), "a higher one widens"),
    "narrower": ("llm_teacher_noise", sampled(0.8, 0.4, 0.3), "a higher one narrows"),
    "more invalid": ("llm_teacher_noise", sampled(0.4, 0.8, 0.3), "is not below the teacher's (+0.20"),
    "less invalid": ("llm_teacher_noise", sampled(0.4, 0.8, 0.01), "is below the teacher's (−0.09"),
    "blending hurts": ("llm_variance_weighting", weighted(0.2), "none comes nearer than weight 1/k"),
    "blending helps": ("llm_variance_weighting", weighted(-0.2), "precision comes nearer than weight 1/k"),
    "and is said so": ("llm_variance_weighting", weighted(-0.2), "cross-fitted students helps (−0.20"),
    "keyed passes": ("llm_seed_traps", seeded(1.0, rejected=False), "only one seed per response measures 1.00"),
    "keyed fails": ("llm_seed_traps", seeded(2.0, rejected=True), "2.00 of the exact variance between students, which the check"),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID)
def test_words_follow_the_numbers(case):
    name, table, words = SAID[case]
    answer = module(name).answer(table)
    assert words in answer.text
    assert len(answer.text.split()) <= 60
    json.dumps(answer.to_json())  # no numbers of NumPy


@pytest.mark.parametrize("case", ["more, resampled", "near", "wider", "blending hurts", "keyed passes"])
def test_what_could_not_be_estimated_is_not_said(case):
    name, table, _ = SAID[case]
    assert module(name).answer(table.assign(standard_error=np.nan)) is None


def test_a_flipped_sign_fails_the_sentence_of_before():
    name, table, _ = SAID["blending hurts"]
    before, flipped = (module(name).answer(weighted(value)) for value in (0.2, -0.2))
    assert before.differences(before.text) == []
    assert flipped.differences(before.text)[0].startswith("the sentence is")
    worse = table.assign(simulated=table["simulated"].where(table["quantity"] == "distance", -table["simulated"]))
    assert module(name).answer(worse).differences(before.text)
