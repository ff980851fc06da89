"""Architectures by name: how the options of a study say what is trained."""

from __future__ import annotations

import math

from uqkd.classify.from_transformers import pretrained
from uqkd.classify.networks import BagOfWords, Factory, convolutional, perceptron, residual
from uqkd.errors import OptionError

IMAGE_NETWORKS = ("perceptron", "convolutional", "residual")


def by_name(
    name: str, *, row: tuple[int, ...], classes: int, pad: int | None = None, vocabulary: int | None = None
) -> Factory:
    """Factory of an architecture, as an option of a study names it.

    Parameters
    ----------
    name : str
        "perceptron:64" (widths with commas, or none for a logistic regression), "convolutional:16", "residual:8" (depth) or
        "residual:8:4" (depth and width) for images; "bag:64" for texts; anything else is the path or name of a
        transformers model.
    row : tuple of int
        Shape of one row.
    classes : int
    pad, vocabulary : int, optional
        Of texts.

    Examples
    --------
    >>> sum(p.numel() for p in by_name("perceptron:32,16", row=(64,), classes=10)().parameters())
    2778
    """
    kind, *sizes = name.split(":")
    given = [size for part in sizes for size in part.split(",") if size]
    widths = [int(size) for size in given if size.isdecimal()]
    count = len(widths) if len(widths) == len(given) else -1  # a size that is no number fits nothing
    image = pad is None and len(row) == 3
    if kind == "perceptron" and count >= 0 and (image or (pad is None and len(row) == 1)):
        return lambda: perceptron(math.prod(row), classes, hidden=widths)
    if kind == "convolutional" and count == 1 and image and row[1] == row[2]:
        return lambda: convolutional(row[0], classes, size=row[1], width=widths[0])
    if kind == "residual" and count in (1, 2) and image:
        return lambda: residual(row[0], classes, depth=widths[0], **({"width": widths[1]} if count == 2 else {}))
    if kind == "bag" and count == 1 and vocabulary is not None and pad is not None:
        return lambda: BagOfWords(vocabulary, classes, pad=pad, width=widths[0])
    if kind in (*IMAGE_NETWORKS, "bag"):
        of = "texts" if pad is not None else f"rows of shape {row}"
        raise OptionError(
            f"network {name!r} does not fit {of}: perceptron:64, convolutional:16 (square) and residual:8 are for "
            "images, bag:64 for texts."
        )
    return lambda: pretrained(name, classes, pad=pad)
