"""What a teacher is asked: prompts as one text each, or as the turns of a chat."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from uqkd.errors import DataError

Turn = tuple[str, str]  # role, content
Turns = tuple[Turn, ...]
ROLES = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True)
class Prompts:
    """P prompts, each with an id of its own and, where they are known, its reference answers.

    Attributes
    ----------
    ids : tuple of P str
    texts : tuple of P str
        Of a chat the last turn of the user.
    answers : tuple of P tuples of str
        Reference answers; an empty tuple where there are none.
    chats : tuple of P tuples of (role, content)
        The turns of each prompt; an empty tuple where the prompt is its text alone.

    Raises
    ------
    DataError
        No prompts, an empty one, or the same id twice.

    Examples
    --------
    >>> prompts = Prompts(("a", "b"), ("capital of France ?", "two plus two ?"), (("Paris",), ()))
    >>> len(prompts), prompts.select([1]).texts
    (2, ('two plus two ?',))
    >>> prompts.with_system("Answer in one word.").turns(1)
    (('system', 'Answer in one word.'), ('user', 'two plus two ?'))
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    answers: tuple[tuple[str, ...], ...] = ()
    chats: tuple[Turns, ...] = ()

    def __post_init__(self) -> None:
        for name in ("answers", "chats"):
            if not getattr(self, name):
                object.__setattr__(self, name, ((),) * len(self.ids))
        if not self.ids or not len(self.ids) == len(self.texts) == len(self.answers) == len(self.chats):
            raise DataError(
                f"prompts need one id, text and tuple of answers each, and at least one prompt; got {len(self.ids)} ids, "
                f"{len(self.texts)} texts, {len(self.answers)} answers and {len(self.chats)} chats."
            )
        if len(set(self.ids)) < len(self.ids):
            seen: set[str] = set()
            twice = next(i for i in self.ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
            raise DataError(f"prompt id {twice!r} stands for two prompts; every prompt needs an id of its own.")
        if blank := [i for i, text in zip(self.ids, self.texts, strict=True) if not text.strip()]:
            raise DataError(f"prompt {blank[0]!r} is empty ({len(blank)} of {len(self.ids)}); leave it out.")

    def __len__(self) -> int:
        return len(self.ids)

    def turns(self, place: int) -> Turns:
        """The turns of a prompt; a prompt that is a text alone is one turn of the user."""
        return self.chats[place] or (("user", self.texts[place]),)

    def select(self, places: Iterable[int]) -> Prompts:
        """The prompts at these places, in that order."""
        chosen = list(places)
        ids, texts = (tuple(column[p] for p in chosen) for column in (self.ids, self.texts))
        return Prompts(ids, texts, tuple(self.answers[p] for p in chosen), tuple(self.chats[p] for p in chosen))

    def with_system(self, text: str) -> Prompts:
        """The same prompts with this turn of the system before each; the ids stay.

        Raises
        ------
        DataError
            A prompt has a system turn of its own.
        """
        whole = tuple(self.turns(place) for place in range(len(self)))
        if own := [key for key, turns in zip(self.ids, whole, strict=True) if turns[0][0] in ("system", "developer")]:
            raise DataError(
                f"a system text was given, but {len(own)} prompts have a {whole[0][0][0]} turn of their own ({own[0]!r} first); "
                "give one or the other."
            )
        return replace(self, chats=tuple((("system", text), *turns) for turns in whole))

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits of ids, texts, answers and turns."""
        digest = hashlib.blake2b(digest_size=16)
        for row in zip(self.ids, self.texts, self.answers, self.chats, strict=True):
            digest.update(repr(row if row[3] else row[:3]).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def chat_json(turns: Turns) -> str:
    """The turns as the JSON that chat APIs and the bank's column `messages` hold; empty for none.

    Examples
    --------
    >>> chat_json((("user", "two plus two ?"),))
    '[{"role": "user", "content": "two plus two ?"}]'
    >>> chat_json(())
    ''
    """
    return json.dumps(messages(turns), ensure_ascii=False) if turns else ""


def messages(turns: Turns) -> list[dict[str, str]]:
    """The turns as chat templates and APIs take them."""
    return [{"role": role, "content": content} for role, content in turns]


def turns_of(text: str) -> Turns:
    """The turns in such a JSON text.

    Examples
    --------
    >>> turns_of('[{"role": "user", "content": "hello"}]'), turns_of("")
    ((('user', 'hello'),), ())
    """
    return tuple((turn["role"], turn["content"]) for turn in json.loads(text)) if text else ()
