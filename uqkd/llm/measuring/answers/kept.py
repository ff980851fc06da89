"""What several students said, kept in a bank each, as the responses of all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import DataError
from uqkd.llm.bank.bank import Bank
from uqkd.llm.bank.inventory import put
from uqkd.llm.bank.stored import Gathering
from uqkd.llm.prompts.prompts import Prompts
from uqkd.llm.responses import Responses


def answers_of(banks: Sequence[Bank], prompts: Prompts, draws: int) -> Responses:
    """The responses 0 ... R-1 of S students; those that are equal are held once, as columns, whoever gave them.

    Parameters
    ----------
    banks : sequence of S Bank
        One for each student.
    prompts : Prompts
    draws : int
        R.

    Returns
    -------
    Responses
        (S, P, R).

    Raises
    ------
    DataError
        A bank lacks some; says which.
    """
    gathering = Gathering((banks[0].identity or {}).get("stop_ids", ()))
    index = np.zeros((len(banks), len(prompts), draws), dtype=np.int64)  # number of the response and 1
    for own, bank in zip(index, banks, strict=True):
        for places, indices, table in bank.selected(prompts, ("token_ids", "text", "finish_reason"), draws):
            put(own, (places, indices), gathering.numbers(table) + 1, root=bank.root, prompts=prompts)
        if missing := int((own == 0).sum()):
            raise DataError(f"the bank {bank.root!r} lacks {missing} of {own.size} responses; draw them first.")
    return Responses(prompts, *gathering.in_order(index - 1))


def finished(responses: Responses) -> NDArray[np.bool_]:
    """(S, P, R) whether the model ended a response by itself."""
    own = getattr(responses.distinct, "finished", None)
    flags = np.array([one.finished for one in responses.distinct], dtype=bool) if own is None else own
    return np.asarray(flags[responses.index])


def empty(responses: Responses) -> NDArray[np.bool_]:
    """(S, P, R) whether a response is no text.

    Examples
    --------
    >>> from uqkd.llm.responses import Response
    >>> words = (Response((1,), "Rome"), Response((), " "))
    >>> empty(Responses(Prompts(("a",), ("?",)), words, [[[0, 1]]]))
    array([[[False,  True]]])
    """
    distinct = responses.distinct
    texts = distinct.texts(np.arange(len(distinct))) if hasattr(distinct, "texts") else [one.text for one in distinct]
    return np.asarray(np.array([not text.strip() for text in texts], dtype=bool)[responses.index])


def incomplete_shares(responses: Responses) -> dict[str, NDArray[np.float64]]:
    """Shares (S, P) of responses that are empty, and of those cut at max_tokens: what stands beside every entropy of answers.

    To an entropy, empty answers are one answer, and answers that were cut are other ones than what they would have become.

    Examples
    --------
    >>> from uqkd.llm.responses import Response
    >>> words = (Response((1,), "Rome is", False), Response((), ""))
    >>> incomplete_shares(Responses(Prompts(("a",), ("?",)), words, [[[0, 1, 1, 1]]]))
    {'empty': array([[0.75]]), 'length_cut': array([[0.25]])}
    """
    return {"empty": empty(responses).mean(axis=2), "length_cut": np.asarray(1.0 - finished(responses).mean(axis=2))}
