"""What stands for a tokenizer where only text goes out and comes back."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from uqkd.llm.prompts.prompts import Prompts
from uqkd.llm.prompts.rendering import Rendered, turns_hash


@dataclass(frozen=True)
class TextOnly:
    """The encoder of a teacher whose server renders the prompts itself.

    Attributes
    ----------
    chat : bool
        Always: prompts go out as the turns of a chat.
    stop_ids : tuple
        Empty: which tokens end a response is not told.
    template_args : mapping
        Arguments of the chat template, passed on to servers that take them.
    note : str
        What else is out of sight.

    Examples
    --------
    >>> rendered = TextOnly().render(Prompts(("a",), ("two plus two ?",)), max_tokens=16)
    >>> rendered.ids, rendered.too_long
    (((),), {})
    """

    chat: bool = True
    stop_ids: tuple[int, ...] = ()
    template_args: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    def on_day(self, day: str | datetime.date | None) -> TextOnly:
        """The same: the day is the server's."""
        return self

    def render(self, prompts: Prompts, *, max_tokens: int) -> Rendered:
        """The prompts as they go out; none is too long as far as is known here.

        Parameters
        ----------
        prompts : Prompts
        max_tokens : int
            Not used: the server counts.
        """
        view = "prompts go out as chats: the server renders the template, so its date and system text are out of sight"
        named = [f"{name}={value!r}" for name, value in sorted(self.template_args.items())]
        return Rendered(
            ids=((),) * len(prompts),
            hashes=tuple(turns_hash(prompts.turns(place)) for place in range(len(prompts))),
            too_long={},
            view=f"{view}; {self.note}" if self.note else view,
            identity={"template_args": named} if named else {},
        )

    def decode(self, token_ids: Sequence[int]) -> str:
        """Never asked for: responses come as text.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError("a teacher of text only gives no token ids")
