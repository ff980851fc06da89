"""One row for each prompt, those first on which the students differ most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from uqkd.estimators.answers.agreement import decompose_agreement
from uqkd.estimators.answers.semantic import decompose_entropy
from uqkd.llm.measuring.answers.kept import incomplete_shares
from uqkd.llm.responses import Responses
from uqkd.llm.similarity.clusters import Clusters

Array = NDArray[np.float64]

RULE = "miller-madow"  # prompts with many answers would come first by the plug-in's bias alone


def by_prompt(
    students: Responses, grouped: Clusters, places: Sequence[int], wrong: Array | None
) -> dict[str, tuple[object, ...]]:
    """Columns of the table of prompts.

    Parameters
    ----------
    students : Responses
    grouped : Clusters
        Of the students' responses.
    places : sequence of int
        Of the prompts that have reference answers.
    wrong : (len(places),) float, optional
        Share of unsupported responses to these.
    """
    parts, spread = decompose_entropy(grouped.ids, RULE), decompose_agreement(grouped.ids)
    unsupported = np.full(len(students.prompts), np.nan)
    if wrong is not None:
        unsupported[list(places)] = wrong
    order = np.lexsort((-spread.inter, -parts.mutual_information))
    texts = [
        names[int(np.bincount(grouped.ids[:, p].ravel()).argmax())] for p, names in enumerate(grouped.representatives)
    ]
    columns: dict[str, Sequence[object]] = {
        "prompt_id": students.prompts.ids,
        "prompt": students.prompts.texts,
        "answer": texts,
        "inter_entropy": parts.mutual_information.tolist(),
        "intra_entropy": parts.expected.tolist(),
        **{name: share.mean(axis=0).tolist() for name, share in incomplete_shares(students).items()},
        "inter_gini": spread.inter.tolist(),
        "intra_gini": spread.intra.tolist(),
        "unsupported": unsupported.tolist(),
    }
    return {name: tuple(column[p] for p in order) for name, column in columns.items()}
