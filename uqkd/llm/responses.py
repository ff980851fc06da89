"""Prompts, responses and weighted responses in text: what the verbs of this layer hand to one another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.errors import DataError, OptionError, ShapeError
from uqkd.llm.prompts.prompts import Prompts
from uqkd.targets import Targets

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Response:
    """One distinct answer.

    Attributes
    ----------
    token_ids : tuple of int, optional
        Without the token that ends it; None where only the text is known.
    text : str
    finished : bool
        The model ended it by itself; otherwise it was cut at max_tokens, and a student must not learn to end there.
    """

    token_ids: tuple[int, ...] | None
    text: str
    finished: bool = True


@dataclass(frozen=True)
class Responses:
    """Responses of S students (or of a teacher to S students) to P prompts, k each.

    Attributes
    ----------
    prompts : Prompts
    distinct : sequence of Response
        Every different response once: a tuple, or columns of a bank (`StoredResponses`) that make each when it is asked for.
    index : (S, P, k) int
        Which of `distinct` each response is.

    Examples
    --------
    >>> prompts = Prompts(("a",), ("heads or tails ?",))
    >>> answers = Responses(prompts, (Response((5,), "heads"), Response((6,), "tails")), [[[0, 1, 0]]])
    >>> answers.shape, answers.texts(0, 0)
    ((1, 1, 3), ['heads', 'tails', 'heads'])
    >>> answers.first(1).texts(0, 0)
    ['heads']
    """

    prompts: Prompts
    distinct: Sequence[Response]
    index: Index

    def __post_init__(self) -> None:
        index = np.asarray(self.index)
        if index.ndim != 3 or index.shape[1] != len(self.prompts) or not index.size:
            raise ShapeError(f"responses need axes (S, P={len(self.prompts)}, k), none empty; got shape {index.shape}.")
        if index.dtype.kind not in "iu" or index.min() < 0 or index.max() >= len(self.distinct):
            raise OptionError(
                f"responses point to one of {len(self.distinct)} distinct ones; got {index.dtype} from {index.min()} to "
                f"{index.max()}."
            )
        object.__setattr__(self, "index", index.astype(np.int64, copy=False))

    @classmethod
    def gather(cls, prompts: Prompts, responses: Sequence[Response], shape: tuple[int, int, int]) -> Responses:
        """From S·P·k responses in the order of (student, prompt, response), equal ones brought together."""
        place: dict[Response, int] = {}
        index = np.array([place.setdefault(r, len(place)) for r in responses], dtype=np.int64)
        return cls(prompts, tuple(place), index.reshape(shape))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(S, P, k)."""
        return self.index.shape  # type: ignore[return-value]

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits of prompts and responses."""
        digest = hashlib.blake2b(self.prompts.fingerprint.encode(), digest_size=16)
        for one in self.distinct:
            digest.update(repr((one.token_ids, one.text, one.finished)).encode("utf-8", "surrogatepass"))
        digest.update(repr(self.index.shape).encode() + np.ascontiguousarray(self.index).tobytes())
        return digest.hexdigest()

    def texts(self, student: int, prompt: int) -> list[str]:
        """The k texts of one student and prompt."""
        return [self.distinct[i].text for i in self.index[student, prompt]]

    def distinct_texts(self, places: Index) -> list[str]:
        """Texts of some of `distinct`; those of a bank without making a `Response` of each."""
        if hasattr(self.distinct, "texts"):
            return self.distinct.texts(places)  # type: ignore[no-any-return]
        return [self.distinct[place].text for place in places.tolist()]

    def first(self, k: int) -> Responses:
        """The first k responses to each prompt: samples of different k are nested."""
        if not 1 <= k <= self.shape[2]:
            raise OptionError(f"first(k) needs 1 <= k <= {self.shape[2]}, the responses there are; got k={k}.")
        return Responses(self.prompts, self.distinct, self.index[:, :, :k])

    def of_prompts(self, places: Iterable[int]) -> Responses:
        """The responses to the prompts at these places."""
        chosen = list(places)
        return Responses(self.prompts.select(chosen), self.distinct, self.index[:, chosen])

    def of_students(self, students: Any) -> Responses:
        """The responses of (or to) some students."""
        return Responses(self.prompts, self.distinct, self.index[np.atleast_1d(students)])


@dataclass(frozen=True)
class TextTargets(Targets):
    """Weighted responses: what each student is trained on; made by `weigh`.

    Attributes
    ----------
    responses : Responses
        (S, P, m): those of the teacher and, with some methods, of a second source behind them.
    weights : (S, P, m) float
        Not negative; they sum to one for each student and prompt.
    method : str

    Examples
    --------
    >>> prompts = Prompts(("a",), ("heads or tails ?",))
    >>> answers = Responses(prompts, (Response((5,), "heads"), Response((6,), "tails")), [[[0, 1]]])
    >>> TextTargets(answers, [[[0.5, 0.4]]], "multi")
    Traceback (most recent call last):
    uqkd.errors.DataError: weights of method 'multi' must be >= 0 and sum to one for every student and prompt; ...
    """

    responses: Responses
    weights: Array
    method: str
    notes: dict[str, ArrayLike] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        weights = np.asarray(self.weights, dtype=np.float64)
        if weights.shape != self.responses.shape:
            raise ShapeError(f"weights must be shaped like the responses {self.responses.shape}; got {weights.shape}.")
        off = np.abs(weights.sum(axis=2) - 1.0)
        # 1e-9: a sum of a few thousand float64 shares is off by far less.
        if not (weights >= 0).all() or not off.max() <= 1e-9:
            raise DataError(
                f"weights of method {self.method!r} must be >= 0 and sum to one for every student and prompt; got a least "
                f"weight of {weights.min():.3g} and sums off by up to {off.max():.3g}."
            )
        object.__setattr__(self, "weights", weights)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(S, P, m)."""
        return self.responses.shape

    @property
    def distinct_per_prompt(self) -> float:
        """Different responses that a student has to learn for a prompt, on average.

        Examples
        --------
        >>> answers = Responses(Prompts(("a",), ("?",)), (Response((5,), "yes"), Response((6,), "no")), [[[0, 1, 1]]])
        >>> TextTargets(answers, [[[0.5, 0.25, 0.25]]], "multi").distinct_per_prompt
        2.0
        """
        rows = zip(self.responses.index, self.weights, strict=True)
        pairs = [pair for of_student in rows for pair in zip(*of_student, strict=True)]
        return float(np.mean([len(np.unique(index[weights > 0])) for index, weights in pairs]))

    def of_prompts(self, places: Iterable[int]) -> TextTargets:
        """Those of the prompts at these places."""
        chosen = list(places)
        return TextTargets(self.responses.of_prompts(chosen), self.weights[:, chosen], self.method)


def side_by_side(first: Responses, second: Responses) -> Responses:
    """The k responses of one source, behind them the m of another, (S, P, k + m); what both said is one distinct response.

    Parameters
    ----------
    first : Responses
        (S, P, k).
    second : Responses
        (S or 1, P, m), to the same prompts.

    Examples
    --------
    >>> from uqkd.llm.responses import Prompts
    >>> prompts, yes, no = Prompts(("a",), ("?",)), Response((1,), "yes"), Response((2,), "no")
    >>> both = side_by_side(Responses(prompts, (yes,), [[[0, 0]]]), Responses(prompts, (no, yes), [[[0, 1]]]))
    >>> both.texts(0, 0), both.index.tolist(), len(both.distinct)
    (['yes', 'yes', 'no', 'yes'], [[[0, 0, 1, 0]]], 2)
    """
    place = _places(first.distinct, second.distinct)
    new = np.flatnonzero(place < 0)
    place[new] = len(first.distinct) + np.arange(len(new))
    of_second = place[second.index]
    index = np.concatenate([first.index, np.broadcast_to(of_second, (len(first.index), *of_second.shape[1:]))], axis=2)
    return Responses(first.prompts, Joined(first.distinct, second.distinct, new), index)


def _places(known: Sequence[Response], asked: Sequence[Response]) -> Index:
    """Where each response asked for is among those known, -1 if it is not; found by hashes, of which 8 bytes are held."""
    hashes = np.fromiter((hash(one) for one in known), dtype=np.int64, count=len(known))
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    place = np.full(len(asked), -1, dtype=np.int64)
    wanted = np.fromiter((hash(one) for one in asked), dtype=np.int64, count=len(asked))
    starts, ends = (np.searchsorted(hashes, wanted, side=side) for side in ("left", "right"))
    for at in np.flatnonzero(ends > starts):
        same = (i for i in order[starts[at] : ends[at]].tolist() if known[i] == asked[int(at)])
        place[at] = next(same, -1)
    return place


class Joined(Sequence[Response]):
    """All distinct responses of one sequence, behind them some of another.

    Parameters
    ----------
    first, second : sequence of Response
    chosen : (n,) int64
        Which of `second`.
    """

    def __init__(self, first: Sequence[Response], second: Sequence[Response], chosen: Index) -> None:
        self._first, self._second, self._chosen = first, second, chosen

    def __len__(self) -> int:
        return len(self._first) + len(self._chosen)

    def __getitem__(self, place):  # type: ignore[no-untyped-def]
        """A response, or those of a slice as a tuple."""
        if isinstance(place, slice):
            return tuple(self[i] for i in range(*place.indices(len(self))))
        at = range(len(self))[place]
        own = at < len(self._first)
        return self._first[at] if own else self._second[int(self._chosen[at - len(self._first)])]

    def __iter__(self) -> Iterator[Response]:
        return chain(self._first, (self._second[int(place)] for place in self._chosen))
