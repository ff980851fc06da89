"""Rows that classifiers are trained on and asked about: checked once, and what torch says of those that do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from uqkd.errors import DataError, NotFiniteError, ShapeError, UqkdError
from uqkd.stacked import Stacked
from uqkd.stacked.layers.basic import Embedding


def checked_rows(model: Stacked, X: ArrayLike | Tensor) -> Tensor:
    """X on the model's device, checked once."""
    given = X if isinstance(X, Tensor) else np.asarray(X)
    if isinstance(given, np.ndarray) and given.dtype.kind not in "biuf":
        raise DataError(f"X must hold numbers; got dtype {given.dtype}. Encode texts and categories first.")
    rows = model.tensor(given)
    if rows.ndim < 2 or not rows.numel():
        raise ShapeError(f"X must be (P, ...), at least one row; got {tuple(rows.shape)}.")
    if rows.is_floating_point():
        bad = ~rows.flatten(1).isfinite().all(1)
        if bad.any():
            raise NotFiniteError(
                f"X holds values that are not finite, as {model.dtype}, in {int(bad.sum())} of {len(rows)} rows; the first is "
                f"row {int(bad.int().argmax())}. Find out where they come from; none is dropped here."
            )
    elif not any(isinstance(part, Embedding) for part in model.body.modules()):
        raise DataError(f"X holds {rows.dtype}, but this network takes fractions; pass X as floating-point numbers.")
    return rows


@contextmanager
def refused(
    rows: Tensor, kinds: tuple[type[Exception], ...] = (RuntimeError, IndexError, ValueError, TypeError)
) -> Iterator[None]:
    """Within, what torch says of rows that do not fit the network is one typed error."""
    try:
        yield
    except (torch.OutOfMemoryError, UqkdError):
        raise
    except kinds as error:
        why = next(iter(str(error).splitlines()), "")[:160]
        raise ShapeError(
            f"the network does not take rows of shape {tuple(rows.shape[1:])}, {rows.dtype} from {rows.min().item():g} to "
            f"{rows.max().item():g} ({why}). Give rows as it was built for, token ids within its vocabulary."
        ) from error
