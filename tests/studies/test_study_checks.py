"""What the studies of language models judge, on draws of known laws: right ones pass, and named wrong ones are rejected."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from uqkd import seeds
from uqkd.llm import Prompts, Response, Responses, embed
from uqkd.report.page import threshold
from uqkd.run import load_study
from uqkd.theory.statements.memorising import compare_memorised

STUDIES = Path(__file__).parents[2] / "studies"
STUDENTS, PROMPTS, BLOCKS, SIZE = 6, 5, 400, 4
TEXTS = ("rome", "milan", "red rome", "pisa")


def drawn(law, shape, *key):
    """Classes of independent draws, (*law.shape[:-1], *shape)."""
    upper = law.cumsum(axis=-1)[..., :-1]
    uniform = seeds.generator("tests", "study checks", *key, shared=True).random((*law.shape[:-1], *shape))
    return (uniform[..., None] >= upper.reshape(*upper.shape[:-1], *(1,) * len(shape), -1)).sum(axis=-1)


@pytest.fixture(scope="module")
def estimates():
    """The study's table for students and a teacher of known laws."""
    study = load_study("llm_sampled_estimates", folder=STUDIES).module
    rng = seeds.generator("tests", "study checks", "laws", shared=True)
    q, p = rng.dirichlet(np.ones(4), (STUDENTS, PROMPTS)), rng.dirichlet(np.ones(4), PROMPTS)
    found = study.estimates(
        drawn(q, (BLOCKS, SIZE), "students"), drawn(p, (BLOCKS, SIZE), "teacher"), p,
        shared=study.consecutive(q, BLOCKS, SIZE, key=("tests", "study checks", "shared")),
    )  # fmt: skip
    known = study.exact(q, p)
    about = {"k": 1, "students": STUDENTS, "prompts": PROMPTS, "responses": SIZE}
    rows = [
        pd.DataFrame({"measure": name, "block": np.arange(BLOCKS), "estimate": v, "exact": known[study.truth_of(name)]})
        for name, v in found.items()
    ]
    return study.compared(pd.concat(rows).assign(**about))


def test_unbiased_estimates_pass_and_every_wrong_version_is_rejected(estimates):
    by_kind = estimates.groupby("kind")["rejected"]
    assert estimates["kind"].value_counts().to_dict() == {"biased": 9, "unbiased": 8, "wrong": 6}
    assert not by_kind.get_group("unbiased").any()
    assert by_kind.get_group("wrong").all()


def medoids(k, law, *, kept):
    """Rows of T5 for 2,000 students whose medoid is `kept` of (law, draws)."""
    study = load_study("llm_student_output", folder=STUDIES).module
    prompts = Prompts(("a", "b"), ("?", "??"), (TEXTS, TEXTS))
    classes = drawn(np.broadcast_to(law, (2_000, *law.shape)), (k,), "medoid", k)
    labels = np.eye(5)[kept(classes)]
    answers = Responses(prompts, tuple(Response((i,), text) for i, text in enumerate(TEXTS)), classes)
    return study.of_medoids(labels, classes, np.pad(law, ((0, 0), (0, 1))), answers)


def nearest(classes):
    """The first response nearest the mean embedding."""
    near = embed(TEXTS) @ embed(TEXTS).T
    similarity = np.eye(4)[classes].mean(axis=2) @ near
    of_each = np.take_along_axis(similarity, classes, axis=2)
    return np.take_along_axis(
        classes, (of_each >= of_each.max(axis=2, keepdims=True) - 1e-9).argmax(axis=2)[..., None], 2
    )[..., 0]


def test_medoids_follow_their_law_and_single_responses_do_not():
    law = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])
    (right,) = medoids(5, law, kept=nearest)
    (single,) = medoids(5, law, kept=lambda classes: classes[..., 0])
    assert right["statement"] == single["statement"] == "T5"
    assert abs(right["z"]) < 3.9 < abs(single["z"])  # one row, wrong once in 10,000; the other is beyond 10


@pytest.mark.parametrize("k", [1, 4])
def test_memorised_shares_pass_and_shares_of_other_k_do_not(k):
    law = np.broadcast_to([0.5, 0.3, 0.2], (100, 40, 3))
    labels = np.eye(3)[drawn(law, (k,), "shares", k)].mean(axis=2)
    limit = threshold(3)
    for row in compare_memorised(labels, law[0], k):
        assert row["statement"] == "T4"
        assert not abs(row["z"]) > limit
    assert all(abs(row["z"]) > limit for row in compare_memorised(labels, law[0], k + 1)[:2])
