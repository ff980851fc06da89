"""Which rows of a bank belong to the prompts that are asked for; a prompt's id must not stand for another prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import ProvenanceError
from uqkd.llm.bank.columns.scan import kinds
from uqkd.llm.prompts.prompts import Prompts, turns_of

if TYPE_CHECKING:
    import pyarrow as pa

NAMES = ("prompt_id", "prompt", "messages", "prompt_hash")  # the columns that say what was asked

Asked = tuple[str, str, str | None, str | None]


class Matching:
    """Finds the rows of some prompts.

    Parameters
    ----------
    root : str
        Of the bank, for messages.
    prompts : Prompts
    hashes : sequence of P str
        Of the rendered prompts; none where they are not known.

    Examples
    --------
    >>> import pyarrow as pa
    >>> rows = {"prompt_id": ["b", "c"], "prompt": ["y", "z"], "messages": [None, None], "prompt_hash": ["1", "2"]}
    >>> Matching("bank", Prompts(("a", "b"), ("x", "y"))).places(pa.table(rows))
    array([ 1, -1])
    """

    def __init__(self, root: str, prompts: Prompts, hashes: Sequence[str] = ()) -> None:
        self._root, self._prompts, self._hashes = root, prompts, hashes
        self._places = {key: place for place, key in enumerate(prompts.ids)}
        self._known: dict[Asked, int] = {}

    def places(self, table: pa.Table) -> NDArray[np.int64]:
        """The place of each row's prompt, -1 where it is not asked for.

        Raises
        ------
        ProvenanceError
            The id of a row stands for another prompt: its text, its turns, or the form in which the teacher saw it differ.
        """
        asked, which = kinds(table, NAMES)
        return np.array([self._place(one) for one in asked], dtype=np.int64)[which]  # type: ignore[arg-type]

    def _place(self, asked: Asked) -> int:
        if asked not in self._known:
            place = self._places.get(asked[0], -1)
            if place >= 0:
                self._refuse_other(place, asked)
            self._known[asked] = place
        return self._known[asked]

    def _refuse_other(self, place: int, asked: Asked) -> None:
        name, text, chat, rendered = asked
        own = self._prompts.texts[place]
        if text != own:
            raise ProvenanceError(
                f"prompt id {name!r} stands for {text[:60]!r} in the bank {self._root!r}, but for {own[:60]!r} now; give the "
                "changed prompt another id."
            )
        now = self._hashes[place] if len(self._hashes) else ""
        if rendered and now:
            if rendered != now:
                raise ProvenanceError(
                    f"prompt {name!r} was asked in another form in the bank {self._root!r}: the chat template, the system text "
                    "(--system) or the template's arguments (--template-arg) differ from those of now. Give the same ones, or "
                    "draw into another folder."
                )
        elif (turns_of(chat or "") or (("user", text),)) != self._prompts.turns(place):
            raise ProvenanceError(
                f"prompt {name!r} was asked with other turns in the bank {self._root!r}: its system text (--system) or its "
                "earlier turns differ from those of now. Give the same ones, or draw into another folder."
            )
