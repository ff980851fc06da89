"""Architectures by name: how the options of a study say what is trained."""

from __future__ import annotations

import difflib
import math
from pathlib import Path

from uqkd.classify.networks.from_transformers import pretrained
from uqkd.classify.networks.plain import (
    BagOfWords,
    Factory,
    check_depth,
    check_sizes,
    convolutional,
    perceptron,
    residual,
)
from uqkd.errors import DataError, OptionError

KINDS = ("perceptron", "convolutional", "residual", "bag")


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

    Raises
    ------
    OptionError
        A name that is misspelt, has a size that is none, or does not fit the rows: at once, before anything is built or
        loaded.
    DataError
        A path at which there is nothing: at once, too. A model that does not load: when the factory is called.

    Examples
    --------
    >>> sum(p.numel() for p in by_name("perceptron:32,16", row=(64,), classes=10)().parameters())
    2778
    """
    kind, *sizes = _known(name).split(":")
    check_sizes(classes=classes)
    if kind not in KINDS:
        return lambda: pretrained(name, classes, pad=pad)
    widths = _widths(name, sizes)
    count, image = len(widths), pad is None and len(row) == 3
    if kind == "perceptron" and (image or (pad is None and len(row) == 1)):
        return lambda: perceptron(math.prod(row), classes, hidden=widths)
    if kind == "convolutional" and count == 1 and image and row[1] == row[2]:
        check_sizes(size=row[1])
        return lambda: convolutional(row[0], classes, size=row[1], width=widths[0])
    if kind == "residual" and count in (1, 2) and image:
        check_depth(widths[0])
        return lambda: residual(row[0], classes, depth=widths[0], **({"width": widths[1]} if count == 2 else {}))
    if kind == "bag" and count == 1 and vocabulary is not None and pad is not None:
        return lambda: BagOfWords(vocabulary, classes, pad=pad, width=widths[0])
    of = "texts" if pad is not None else f"rows of shape {row}"
    raise OptionError(
        f"network {name!r} does not fit {of}: perceptron:64, convolutional:16 (square) and residual:8 are for "
        "images, bag:64 for texts."
    )


def _known(name: str) -> str:
    """The name, unless it is a misspelt kind or a path at which there is nothing, which no library should be asked for."""
    if not isinstance(name, str):
        raise OptionError(f"a network goes by a name, such as 'perceptron:64'; got {name!r}.")
    kind, colon, sizes = name.partition(":")
    if kind in KINDS or Path(name).exists():
        return name
    if name.startswith(("/", "./", "../", "~")):
        raise DataError(
            f"network {name!r} is a path at which there is nothing; give the folder of a saved classifier, or perceptron:64, "
            "convolutional:16, residual:8, bag:64."
        )
    # of a name with sizes any likeness is told, of one without, which may be a model's, only what is hardly another word
    close = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.4 if colon else 0.75)
    if colon or (close and "/" not in name):
        hint = f" Did you mean {close[0] + colon + sizes!r}?" if close else ""
        raise OptionError(
            f"network {name!r} is none of perceptron:64, convolutional:16, residual:8, bag:64, and no folder of a transformers "
            f"model.{hint}"
        )
    return name


def _widths(name: str, sizes: list[str]) -> list[int]:
    """The numbers after a kind, all above zero."""
    given = [size for part in sizes for size in part.split(",") if size]
    for size in given:
        if not size.isdecimal() or int(size) < 1:
            raise OptionError(
                f"network {name!r}: the size {size!r} is no whole number above 0. Write such as perceptron:64,32, "
                "convolutional:16, residual:8:4 or bag:64."
            )
    return [int(size) for size in given]
