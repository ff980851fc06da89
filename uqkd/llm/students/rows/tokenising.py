"""Which token ids a student learns: those that the teacher drew, or the text encoded anew with the student's tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import PreflightError
from uqkd.llm.bank.columns.rows import stored_text
from uqkd.llm.models.encoding import Encoder
from uqkd.llm.prompts.prompts import Prompts
from uqkd.llm.prompts.rendering import Ids, listed
from uqkd.llm.responses import Response
from uqkd.llm.students.rows.ids import DrawnIds, EncodedIds

_BLOCK = 8192  # responses encoded or decoded at once
_CHECKED = 2**14  # drawn responses that are decoded, besides those that hold every token that occurs
_EXAMPLES = 3
_SHOWN = 60  # characters of an example


@dataclass(frozen=True)
class StudentTokens:
    """What a student learns of each distinct response; made by `student_tokens`.

    Attributes
    ----------
    ids : sequence of N tuples of int
        Token ids without the end.
    same : (N,) int
        The first response of which a student learns the same: texts can be equal when they are encoded anew.
    reencoded : bool
        The drawn ids are another tokenizer's: all responses were encoded anew from their text.
    encoded : int
        Responses whose ids come from their text: all of them, or those of which only the text is known.
    drifted : float
        Share of the encoded responses whose ids do not decode to their text; 0 where none was encoded.
    examples : tuple of (str, str)
        A few of these: the text, and what its ids decode to.
    """

    distinct: Sequence[Response]
    ids: Sequence[Ids]
    same: NDArray[np.int64]
    reencoded: bool
    encoded: int
    drifted: float
    examples: tuple[tuple[str, str], ...] = ()

    def response(self, place: int) -> Response:
        """A distinct response with the ids that the student learns."""
        one = self.distinct[place]
        return Response(self.ids[place], one.text, one.finished)

    @property
    def longest(self) -> int:
        """Most tokens of a response, its end not counted."""
        return max(map(len, self.ids), default=0)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know, a line each; nothing where the drawn ids are learnt as they are."""
        return (str(self),) if self.encoded else ()

    def __str__(self) -> str:
        """One line for the user."""
        count = len(self.distinct)
        if not self.encoded:
            return f"the student has the teacher's tokenizer: {count} distinct responses are learnt as they were drawn"
        why = (
            "the student has another tokenizer than the teacher"
            if self.reencoded
            else "only the text of some responses is known"
        )
        line = f"{why}: {self.encoded} of {count} distinct responses are encoded from their text"
        if not self.drifted:
            return f"{line}, and all decode to it again"
        shown = "; ".join("{!r} becomes {!r}".format(*_excerpts(text, decoded)) for text, decoded in self.examples)
        lost = round(self.drifted * self.encoded)
        return f"{line}; {lost} of them ({100 * self.drifted:.3g} %) do not decode to it again: {shown}"


def student_tokens(distinct: Sequence[Response], encoder: Encoder) -> StudentTokens:
    """Token ids that a student learns: the drawn ones if they are its tokenizer's, otherwise those of the text.

    A bank does not say whose the ids are. They are the student's own if its tokenizer decodes them to the stored text: all
    responses are decoded, or of very many some that are evenly spaced and some in which every token that occurs is seen once.

    Parameters
    ----------
    distinct : sequence of N Response
    encoder : Encoder
        Of the student.

    Returns
    -------
    StudentTokens

    Raises
    ------
    PreflightError
        A response holds a token for which the student has no row.
    """
    reencoded = not _are_own(distinct, encoder)
    encoded = len(distinct) if reencoded else sum(one.token_ids is None for one in distinct)
    if not encoded:
        ids: Sequence[Ids] = DrawnIds(distinct)
        check_rows(ids, encoder, texts=distinct)
        return StudentTokens(distinct, ids, np.arange(len(distinct)), False, 0, 0.0)
    values: list[NDArray[np.int32]] = []
    lengths: list[int] = []
    lost, examples = 0, list[tuple[str, str]]()
    for block in _blocks(distinct):
        from_text = [n for n, one in enumerate(block) if reencoded or one.token_ids is None]
        texts = [block[n].text for n in from_text]
        rows = [one.token_ids or () for one in block]
        for n, own in zip(from_text, encoder.plain(texts), strict=True):
            rows[n] = own
        decoded = encoder.texts([rows[n] for n in from_text])
        drifts = [(text, back) for text, back in zip(texts, decoded, strict=True) if stored_text(back) != text]
        lost += len(drifts)
        examples += drifts[: _EXAMPLES - len(examples)]
        lengths += map(len, rows)
        values.append(np.fromiter(chain.from_iterable(rows), dtype=np.int32))
    ids = EncodedIds(np.concatenate(values), np.cumsum(lengths))
    check_rows(ids, encoder, texts=distinct)
    return StudentTokens(distinct, ids, _same(ids, distinct), reencoded, encoded, lost / encoded, tuple(examples))


def check_rows(ids: Iterable[Ids], encoder: Encoder, *, texts: Sequence[Response]) -> None:
    """Refuse token ids for which the student's embedding has no row.

    Raises
    ------
    PreflightError
        Says how many responses hold such a token, and which token.
    """
    rows, beyond, first = encoder.rows, 0, None
    for place, own in enumerate(ids):
        if own and (max(own) >= rows or min(own) < 0):
            beyond, first = beyond + 1, (place, own) if first is None else first
    if first is None:
        return
    place, own = first
    token = next(number for number in own if not 0 <= number < rows)
    name = encoder.tokenizer.convert_ids_to_tokens(token) if token >= 0 else None
    raise PreflightError(
        f"{beyond} of {len(texts)} distinct responses hold a token for which the student has no row: token {token} ({name!r}) "
        f"in {_cut(texts[place].text)!r}, and the student has {rows} rows; use the tokenizer that the student was trained with, "
        "or give it rows (model.resize_token_embeddings) and save it anew."
    )


def check_lengths(lengths: Iterable[int], owners: Iterable[int], prompts: Prompts, encoder: Encoder) -> None:
    """Refuse rows of prompt, response and end that are longer than the student's context.

    Parameters
    ----------
    lengths, owners : N ints
        Tokens of each row, and the place of its prompt.
    prompts : Prompts
    encoder : Encoder
        Of the student.

    Raises
    ------
    PreflightError
        One line that names the prompts.
    """
    if not encoder.context:
        return
    wrong: dict[int, str] = {}
    for length, owner in zip(lengths, owners, strict=True):
        if length > encoder.context:
            wrong.setdefault(
                int(owner), f"has {length} tokens with a response, and the student's context is {encoder.context}"
            )
    if wrong:
        remedy = "shorten or leave them out, draw with a lower max_tokens, or take a student with a longer context"
        raise PreflightError(f"{listed('are too long for the student', wrong, prompts)}; {remedy}.")


def check_embedding(tokens: NDArray[np.int32], model: Any) -> None:
    """Refuse token ids beyond the embedding of the very model that is trained, whatever its configuration or encoder says.

    Raises
    ------
    PreflightError
    """
    rows, greatest = int(model.get_input_embeddings().weight.shape[0]), int(tokens.max(initial=0))
    if greatest >= rows:
        raise PreflightError(
            f"the rows hold token {greatest}, and the student's embedding has {rows} rows; give distill the encoder of the student "
            "(Encoder.of(student))."
        )


def _are_own(distinct: Sequence[Response], encoder: Encoder) -> bool:
    """Whether the student's tokenizer decodes the drawn ids to the stored texts."""
    places = _to_check(distinct, bound=max(encoder.rows, encoder.size))
    if places is None:
        return False
    ends = encoder.end_texts()
    for start in range(0, len(places), _BLOCK):
        block = [distinct[int(place)] for place in places[start : start + _BLOCK]]
        for spaces in (None, False, True):  # the tokenizer's own way; another version may have had another
            if not block:
                break
            decoded = encoder.texts([one.token_ids or () for one in block], clean_spaces=spaces)
            block = [
                one
                for one, text in zip(block, map(stored_text, decoded), strict=True)
                if one.text != text and not (one.finished and one.text.removeprefix(text) in ends)
            ]
        if block:
            return False
    return True


def _to_check(distinct: Sequence[Response], *, bound: int) -> NDArray[np.int64] | None:
    """Places of responses to decode: all that have ids, or evenly spaced ones and for every token one that holds it.

    None where an id is not in [0, bound): then the ids are not of this tokenizer.
    """
    first = np.full(bound, -1, dtype=np.int64)
    with_ids: list[NDArray[np.int64]] = []
    start = 0
    for block in _blocks(distinct):
        places = np.array([n for n, one in enumerate(block) if one.token_ids is not None], dtype=np.int64)
        rows = [block[n].token_ids or () for n in places]
        values = np.fromiter(chain.from_iterable(rows), dtype=np.int64)
        if values.size and (values.min() < 0 or values.max() >= bound):
            return None
        holders = np.repeat(places + start, [len(own) for own in rows])
        new = first[values] < 0
        first[values[new]] = holders[new]
        with_ids.append(places + start)
        start += len(block)
    every = np.concatenate(with_ids) if with_ids else np.zeros(0, dtype=np.int64)
    if len(every) <= 2 * _CHECKED:
        return every
    spaced = every[np.linspace(0, len(every) - 1, _CHECKED).round().astype(np.int64)]
    return np.union1d(spaced, first[first >= 0])


def _same(ids: Iterable[Ids], distinct: Sequence[Response]) -> NDArray[np.int64]:
    """For each response the place of the first with the same ids and the same kind of end."""
    known: dict[tuple[bytes, bool], int] = {}
    found = np.empty(len(distinct), dtype=np.int64)
    for place, (own, one) in enumerate(zip(ids, distinct, strict=True)):
        key = np.asarray(own, dtype=np.int32).tobytes(), one.finished
        found[place] = known.setdefault(key, place)
    return found


def _blocks(distinct: Sequence[Response]) -> Iterator[list[Response]]:
    source = iter(distinct)
    while block := list(islice(source, _BLOCK)):
        yield block


def _excerpts(one: str, other: str) -> tuple[str, str]:
    """Two texts, cut to where they begin to differ.

    Examples
    --------
    >>> _excerpts("Paris " * 20 + "is", "Paris " * 20 + "was")
    ('...s Paris Paris is', '...s Paris Paris was')
    """
    alike = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    start = max(alike - 15, 0) if alike + 15 > _SHOWN else 0
    before = "..." if start else ""
    return before + _cut(one[start:]), before + _cut(other[start:])


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
