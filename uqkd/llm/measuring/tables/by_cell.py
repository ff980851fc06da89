"""One row for each student and prompt: the numbers whose means are the quantities, by which two methods are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def by_cell(
    tables: Mapping[str, Array], names: Sequence[str], prompts: Sequence[str], places: Sequence[int]
) -> dict[str, tuple[object, ...]]:
    """Columns student, prompt_id and one for each quantity that has a number for each student.

    Parameters
    ----------
    tables : mapping of str to (S, P) or (S, len(places)) float
        Others, such as what there is of the teacher alone, are left out.
    names : sequence of S str
        Of the students.
    prompts : sequence of P str
    places : sequence of int
        Of the prompts that have reference answers; the others' numbers of those quantities are NaN.

    Examples
    --------
    >>> by_cell({"cut": np.array([[0.5, 1.0]]), "wrong": np.array([[1.0]])}, ["a"], ["x", "y"], [1])
    {'student': ('a', 'a'), 'prompt_id': ('x', 'y'), 'cut': (0.5, 1.0), 'wrong': (nan, 1.0)}
    """
    columns: dict[str, tuple[object, ...]] = {
        "student": tuple(name for name in names for _ in prompts),
        "prompt_id": tuple(prompts) * len(names),
    }
    for quantity, table in tables.items():
        if len(table) != len(names) or table.shape[1] not in (len(prompts), len(places)):
            continue
        whole = np.full((len(names), len(prompts)), np.nan)
        whole[:, slice(None) if table.shape[1] == len(prompts) else list(places)] = table
        columns[quantity] = tuple(whole.ravel().tolist())
    return columns
