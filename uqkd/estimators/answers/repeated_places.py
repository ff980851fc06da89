"""Do draws repeat each other more often at equal places than elsewhere? Exact bounds for any distribution, NumPy only."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from uqkd.checking.arrays import unmasked
from uqkd.errors import ShapeError
from uqkd.estimators.answers.collisions import TILTS, Codes, Repeats


def same_places(codes: Codes, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[Repeats]:
    """Whether responses at paired places are equal more often than at other places; no probabilities are needed.

    Independent responses to one prompt are exchangeable: given which ones there are, every assignment to places is equally
    likely, whatever their distribution. The pairs are uncovered one by one. Given those uncovered before, the next two are
    equal with the probability pi = sum n·(n - 1) / (m·(m - 1)), where n counts each response among the m still covered: exact.
    So exp(t·M - sum log(1 - pi + pi·e^t)) is a martingale of mean one for each t, M the pairs that are equal, and
    exp(-t·M + sum log(1 - pi + pi·e^t)) bounds the tail.

    Parameters
    ----------
    codes : (P, R) int
        One code for each distinct response; row p holds all R responses to prompt p.
    pairs : sequence of (first, second)
        Each a test of its own: the places `first` are compared with the places `second`, sequences of one length that name no
        place twice. With R = 2 there are no other places, and a test says nothing (p is 1).

    Returns
    -------
    list of Repeats

    Raises
    ------
    ShapeError
        Codes that are not (P, R), or places that are not there or named twice.

    Notes
    -----
    Freedman (1975), Annals of Probability 3, with the exact conditional moment generating function.

    Examples
    --------
    >>> codes = np.tile(np.arange(4), (40, 2))  # students 0 and 1 have the same four responses
    >>> copied, shifted = same_places(codes, [([0, 1, 2, 3], [4, 5, 6, 7]), ([0, 1, 2], [5, 6, 7])])
    >>> copied.share, copied.p_value < 1e-50, shifted.p_value
    (1.0, True, 1.0)
    """
    codes = np.asarray(unmasked("codes", codes))
    if codes.ndim != 2:
        raise ShapeError(f"same_places needs axes (P, R); got {codes.shape}.")
    labels = _labelled(codes)
    counts = np.zeros(codes.shape, dtype=np.int64)
    np.add.at(counts, (np.arange(len(codes))[:, None], labels), 1)
    return [_at_places(labels, counts.copy(), np.asarray(first), np.asarray(second)) for first, second in pairs]


def _labelled(codes: Codes) -> Codes:
    """The responses of each row numbered 0, 1, 2, ..."""
    order = np.argsort(codes, axis=1, kind="stable")
    ranked = np.take_along_axis(codes, order, axis=1)
    number = np.zeros(codes.shape, dtype=np.int64)
    number[:, 1:] = (ranked[:, 1:] != ranked[:, :-1]).cumsum(axis=1)
    labels = np.empty_like(number)
    np.put_along_axis(labels, order, number, axis=1)
    return labels


def _at_places(labels: Codes, covered: Codes, first: Codes, second: Codes) -> Repeats:
    places = [*first.tolist(), *second.tolist()]
    prompts, left = labels.shape
    if first.shape != second.shape or len(set(places)) < len(places) or not set(places) <= set(range(left)):
        raise ShapeError(
            f"places must be two sequences of one length out of 0 ... {left - 1}, none twice; got {places}."
        )
    rows, tilts = np.arange(prompts), np.array(TILTS)
    twice = (covered * (covered - 1)).sum(axis=1)
    count, expected, log_moment = 0, 0.0, np.zeros(len(tilts))
    for a, b in zip(first, second, strict=True):
        chance = twice / (left * (left - 1))
        expected += float(chance.sum())
        log_moment += np.log1p(chance[:, None] * np.expm1(tilts)).sum(axis=0)
        count += int((labels[:, a] == labels[:, b]).sum())
        for place in (a, b):
            own = covered[rows, labels[:, place]]
            twice -= 2 * (own - 1)
            covered[rows, labels[:, place]] = own - 1
        left -= 2
    exponent = float((log_moment - tilts * count).min(initial=0.0))
    return Repeats(count, prompts * len(first), expected, min(1.0, len(tilts) * math.exp(exponent)))
