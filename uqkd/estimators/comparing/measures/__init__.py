"""What two methods are compared by: every file is one measure, called by the file's name.

Each holds all that the measure is:

- `WHAT`: what a sentence calls it;
- `NEEDS`: which of "labels" and "teacher" it takes;
- `LIMIT`: the largest size of the difference of two of its values; infinite where there is none or where a value is not of one
  student and prompt alone;
- `values(data, labels, teacher)`: numbers (S, P) per student and prompt whose mean is the measure and whose spread is that of its
  estimate: what is seen there, or pseudo-values;
- `REMARK`, if there is one: where the interval covers less than it says.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from uqkd.registry import Registry

__all__ = ["measure_file", "measure_names"]

_FILES = Registry("measure", __name__, importlib.import_module, ("WHAT", "NEEDS", "LIMIT", "values"))


def measure_names() -> tuple[str, ...]:
    """The names of the measures, none of them imported.

    Examples
    --------
    >>> measure_names()  # doctest: +NORMALIZE_WHITESPACE
    ('accuracy', 'brier', 'distance', 'ece', 'inter', 'inter_gini', 'intra', 'intra_gini', 'kl', 'nll', 'score', 'total')
    """
    return _FILES.names()


@cache
def measure_file(name: str) -> Any:
    """The file of that name, looked for once.

    Raises
    ------
    OptionError
        There is none; names the nearest.

    Examples
    --------
    >>> measure_file("nll").WHAT
    'negative log-likelihood'
    """
    return _FILES.named(name)
