"""Likelihood measures of answers that are kept in banks, and their rows in the tables of quantities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from uqkd.errors import DataError
from uqkd.estimators.answers.likelihoods import AnswerLikelihoods, likelihoods_of_rows
from uqkd.llm.bank.bank import Bank
from uqkd.llm.bank.columns.scan import rows_of
from uqkd.llm.prompts.prompts import Prompts


@dataclass(frozen=True)
class BankLikelihoods:
    """Likelihoods of the answers of S students, and what their log-probabilities are of.

    Attributes
    ----------
    answers : AnswerLikelihoods
        (S, P, R).
    kind : str
        "processed": of the distribution that was sampled from; "raw": of the model at temperature one; or both.
    """

    answers: AnswerLikelihoods
    kind: str

    def of_students(self, students: slice) -> AnswerLikelihoods:
        """Those of some students."""
        one = self.answers
        return AnswerLikelihoods(one.log_likelihood[students], one.tokens[students], one.least[students])


def likelihoods_of(banks: Sequence[Bank], prompts: Prompts, draws: int) -> BankLikelihoods | None:
    """Likelihoods of the responses 0 … R−1 of S students to prompts; None where a response has no log-probabilities.

    Parameters
    ----------
    banks : sequence of S Bank
        One for each student.
    prompts : Prompts
    draws : int
        R.

    Raises
    ------
    DataError
        A bank lacks responses; says how many.
    """
    shape = len(banks), len(prompts), draws
    total, least, tokens = np.zeros(shape), np.zeros(shape), np.full(shape, -1, dtype=np.int64)
    kinds: set[str] = set()
    for s, bank in enumerate(banks):
        for places, indices, table in bank.selected(prompts, ("token_logprobs", "logprobs"), draws):
            if not table.num_rows:
                continue
            rows = rows_of(table["token_logprobs"])
            if not rows.there.all():
                return None
            kinds |= set(table["logprobs"].unique().to_pylist())
            values = [rows.values[a:b].astype(np.float64) for a, b in zip(rows.starts, rows.ends, strict=True)]
            own = likelihoods_of_rows(np.concatenate(values), rows.lengths, None)
            at = (s, places, indices)
            total[at], least[at], tokens[at] = own.log_likelihood, own.least, own.tokens
        if missing := int((tokens[s] < 0).sum()):
            raise DataError(f"the bank {bank.root!r} lacks {missing} of {tokens[s].size} responses; draw them first.")
    return BankLikelihoods(AnswerLikelihoods(total, tokens, least), " and ".join(sorted(map(str, kinds))))
