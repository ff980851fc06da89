"""Likelihood measures in the tables, empty and cut answers beside every entropy, and AUROC against reference answers."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from uqkd import seeds
from uqkd.errors import DataError
from uqkd.estimators import answer_likelihoods
from uqkd.llm.measuring import estimate
from uqkd.llm.measuring.answers.kept import incomplete_shares
from uqkd.llm.measuring.answers.likelihoods import BankLikelihoods, likelihoods_of
from uqkd.llm.measuring.likelihoods import SCORES
from uqkd.llm.measuring.tables.coded import answer_table
from uqkd.llm.measuring.tables.printing import lines
from uqkd.llm.measuring.tables.side_by_side import values_of
from uqkd.llm.responses import Prompts, Response, Responses

WORDS = (Response((1,), "Rome"), Response((2,), "Milan"), Response((), " "), Response((3, 4), "Rome is", False))
ASKED = Prompts(("a", "b"), ("?", "!"), (("Rome",), ("Milan",)))
SHAPE = (3, 2, 4)
GENERATOR = seeds.generator("test", "likelihood rows")
DRAWN = Responses(ASKED, WORDS, GENERATOR.integers(0, 4, SHAPE))
LOGS = [list(-GENERATOR.exponential(1.0, n)) for n in GENERATOR.integers(1, 5, 24)]
FOUND = BankLikelihoods(answer_likelihoods(LOGS, SHAPE), "processed")


class Kept:
    """Rows of a bank, in two units and no order."""

    root = "kept"

    def __init__(self, rows):
        self.rows = rows

    def selected(self, prompts, columns, k):
        assert columns == ("token_logprobs", "logprobs")
        places = [(p, i) for p in range(len(prompts)) for i in range(k)][: len(self.rows)]
        for part in (slice(3, None), slice(0, 3)):
            p, i = (np.array(x) for x in zip(*places[part], strict=True))
            logs = pa.array(self.rows[part], pa.list_(pa.float32()))
            yield p, i, pa.table({"token_logprobs": logs, "logprobs": ["processed"] * len(p)})


def test_banks_give_what_their_rows_hold():
    rows = [LOGS[i : i + 8] for i in (0, 8, 16)]
    found = likelihoods_of([Kept(one) for one in rows], ASKED, 4)
    np.testing.assert_allclose(found.answers.log_likelihood, FOUND.answers.log_likelihood, rtol=1e-6)  # float32
    np.testing.assert_allclose(found.answers.least, FOUND.answers.least, rtol=1e-6)
    np.testing.assert_array_equal(found.answers.tokens, FOUND.answers.tokens)
    assert found.kind == "processed"
    assert likelihoods_of([Kept([*LOGS[:7], None])], ASKED, 4) is None
    with pytest.raises(DataError, match="lacks 1 of 8 responses"):
        likelihoods_of([Kept(LOGS[:7])], ASKED, 4)


def test_quantities_are_those_of_the_answers():
    found = estimate(DRAWN, likelihoods=FOUND)
    every = np.concatenate([np.asarray(row) for row in LOGS])
    nats = -every.sum() / len(every)
    assert found.of("token_entropy")[0] == pytest.approx(nats, rel=1e-12)
    assert found.of("perplexity")[0] == pytest.approx(np.exp(nats), rel=1e-12)
    assert found.of("predictive_entropy")[0] == pytest.approx(-np.mean([sum(row) for row in LOGS]), rel=1e-12)
    assert found.of("predictive_entropy_normalised")[0] == pytest.approx(
        -np.mean([np.mean(r) for r in LOGS]), rel=1e-12
    )
    assert found.of("max_token_uncertainty")[0] == pytest.approx(-np.mean([min(row) for row in LOGS]), rel=1e-12)
    assert found.row("perplexity")["note"] == "exp of the token entropy; processed log-probabilities"
    assert found.of("perplexity")[1] == pytest.approx(np.exp(nats) * found.of("token_entropy")[1], rel=1e-12)


def test_auroc_is_scikit_learns_of_each_student():
    found = estimate(DRAWN, likelihoods=FOUND)
    right = np.array(
        [
            [[DRAWN.distinct[i].text == ASKED.answers[p][0] for i in DRAWN.index[s, p]] for p in range(2)]
            for s in range(3)
        ]
    )
    for name, score in SCORES.items():
        own = [roc_auc_score(right[s].ravel(), score(FOUND.answers)[s].ravel()) for s in range(3)]
        assert found.of(f"auroc_{name}")[0] == pytest.approx(np.mean(own), rel=1e-12)


def test_no_auroc_where_a_student_is_always_wrong_and_it_says_why():
    wrong = Responses(ASKED, WORDS, np.full(SHAPE, 2))
    row = estimate(wrong, likelihoods=FOUND).row("auroc_log_likelihood")
    assert np.isnan(row["estimate"])
    assert "all answers of student 0 are wrong" in row["why"]


def test_the_undistilled_student_is_the_last_and_has_its_own():
    found = estimate(
        DRAWN.of_students([0, 1]), undistilled=DRAWN.of_students(2), likelihoods=FOUND
    ).row("predictive_entropy")  # fmt: skip
    assert found["undistilled"] == pytest.approx(-np.mean([sum(row) for row in LOGS[16:]]), rel=1e-12)
    assert found["estimate"] == pytest.approx(-np.mean([sum(row) for row in LOGS[:16]]), rel=1e-12)


def test_empty_and_cut_answers_stand_beside_every_entropy():
    """In the quantities right after the entropies, in the table of students, and beside the entropies of each prompt."""
    shares = incomplete_shares(DRAWN)
    assert shares["empty"].tolist() == (DRAWN.index == 2).mean(axis=2).tolist()
    assert shares["length_cut"].tolist() == (DRAWN.index == 3).mean(axis=2).tolist()
    found = estimate(DRAWN, likelihoods=FOUND)
    names = [str(name) for name in found.quantities["quantity"]]
    after = [i for i, name in enumerate(names) if name in shares]
    assert after == [names.index("inter_entropy_chao_shen") + 1, names.index("inter_entropy_chao_shen") + 2]
    for name, share in shares.items():
        assert found.of(name)[0] == pytest.approx(share.mean(), rel=1e-12)
        of_prompt = dict(zip(found.prompts["prompt_id"], found.prompts[name], strict=True))
        assert of_prompt == pytest.approx(dict(zip("ab", share.mean(axis=0), strict=True)), rel=1e-12)
    assert {"empty", "length_cut"} <= set(found.students["quantity"])
    columns = list(found.prompts)
    assert columns[columns.index("intra_entropy") + 1 :][:2] == ["empty", "length_cut"]
    printed = "\n".join(lines(found))
    assert printed.index("inter_entropy_chao_shen") < printed.index("empty") < printed.index("predictive_entropy ")


def test_tables_of_methods_have_the_shares_too():
    """Of 4 answers to each of 2 questions one is cut; empty answers are not counted in older tables, and then not listed."""
    rows = {
        "part": "all", "method": ["teacher", "teacher", "single", "single"], "k": [0, 0, 1, 1], "student": 0,
        "prompt": ["a", "b"] * 2, "answers": "0 1 1 2", "supported": "1000", "cut": [0, 2, 1, 1], "nats": 1.0, "tokens": 2.0,
    }  # fmt: skip
    found = values_of(pd.DataFrame(rows))
    assert found["all", "single", 1]["length_cut"].tolist() == [[0.25, 0.25]]
    assert found["all", "teacher", 0]["length_cut"].tolist() == [[0.0, 0.5]]
    assert "empty" not in found["all", "single", 1]
    assert answer_table(DRAWN)["empty"].tolist() == (DRAWN.index == 2).sum(axis=2).ravel().tolist()
