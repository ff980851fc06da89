"""Texts and token ids: what the teacher is asked, what a student is trained on, and the check of both before any work."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from uqkd.errors import DataError, LibraryError, OptionError, PreflightError
from uqkd.llm.models.configuration import CONTEXT, configuration
from uqkd.llm.models.revision import base_of, check_model, is_adapter
from uqkd.llm.models.vocabularies import as_text, check_vocabulary, tokens_without_row, without_row_note, wrong_with
from uqkd.llm.prompts.prompts import Prompts
from uqkd.llm.prompts.rendering import (
    Ids,
    Preflight,
    Rendered,
    check_arguments,
    ids_hash,
    refuse_wrong,
    through_template,
)
from uqkd.llm.responses import Response

_SHOWN = 600  # characters of a prompt that are shown


@dataclass(frozen=True)
class Encoder:
    """The tokenizer of a model, and what its configuration says about it.

    Attributes
    ----------
    tokenizer : transformers tokenizer
    chat : bool
        Prompts go through the chat template, as one turn of the user.
    vocabulary : int
        Rows of the model's embedding; 0 where it is not known.
    context : int
        Most tokens that the model takes; 0 where it is not known.
    model_eos : tuple of int
        The tokens that end a response, by the model's configuration.
    day : date
        What a template that prints the date is told.
    template_args : tuple of (str, value)
        Arguments of the chat template, such as ("enable_thinking", False).
    """

    tokenizer: Any
    chat: bool
    vocabulary: int = 0
    context: int = 0
    model_eos: Ids = ()
    day: datetime.date = field(default_factory=datetime.date.today)
    template_args: tuple[tuple[str, Any], ...] = ()
    _decode: Any = field(default=None, repr=False, compare=False)

    @classmethod
    def of(
        cls, model: str | Path, *, chat: bool | None = None, template_args: Mapping[str, Any] | None = None
    ) -> Encoder:
        """The encoder of a model's folder or name; `chat=None` uses the chat template if there is one.

        Raises
        ------
        OptionError
            `chat=True` or arguments of a template where the tokenizer has none, an argument that the template does not know, or
            an unsafe model; see `check_model`.
        DataError
            The tokenizer cannot be loaded.
        """
        try:
            from transformers import AutoTokenizer
        except ImportError:
            raise LibraryError(
                "tokenizers need transformers, which is not installed: pip install transformers."
            ) from None
        path = check_model(model)
        source = path
        if is_adapter(path):
            source = check_model(base_of(path))
        has_own = any((path / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json"))
        try:
            tokenizer = AutoTokenizer.from_pretrained(path if has_own else source, trust_remote_code=False)
        except Exception as problem:  # every tokenizer format has errors of its own: one line for all
            line = (str(problem).splitlines() or [""])[0]
            raise DataError(f"the tokenizer of {path.name!r} cannot be loaded: {line[:200]}") from None
        templated = bool(getattr(tokenizer, "chat_template", None))
        if chat and not templated:
            raise OptionError(f"chat=True, but the tokenizer of {path.name!r} has no chat template; use chat=False.")
        used = templated if chat is None else chat
        check_arguments(tokenizer, template_args or {}, used)
        config = configuration(source)
        return cls(
            tokenizer,
            used,
            vocabulary=int(config.get("vocab_size") or 0),
            context=int(next((config[key] for key in CONTEXT if config.get(key)), 0)),
            model_eos=config["eos"],
            template_args=tuple(sorted((template_args or {}).items())),
        )

    def __post_init__(self) -> None:
        object.__setattr__(self, "_decode", lru_cache(maxsize=2**16)(self._text))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_decode": None}  # a cache of this process

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    @property
    def eos_id(self) -> int:
        """The token that ends a response in training."""
        if self.tokenizer.eos_token_id is None:
            raise PreflightError("the tokenizer has no EOS token; set tokenizer.eos_token and save it with the model.")
        return int(self.tokenizer.eos_token_id)

    @property
    def stop_ids(self) -> Ids:
        """Every token that ends a response: the tokenizer's and the model's, sorted."""
        return tuple(sorted({self.eos_id, *self.model_eos}))

    @property
    def size(self) -> int:
        """One more than the greatest number of a token."""
        return max(max(self.tokenizer.get_vocab().values(), default=-1) + 1, len(self.tokenizer))

    @property
    def rows(self) -> int:
        """Rows of the model's embedding, or the tokens of the tokenizer where they are not known."""
        return self.vocabulary or self.size

    def on_day(self, day: str | datetime.date | None) -> Encoder:
        """The same, but templates that print the date are told this one; None changes nothing."""
        if day is None:
            return self
        return replace(self, day=datetime.date.fromisoformat(day) if isinstance(day, str) else day)

    def encode(self, text: str) -> Ids:
        """Token ids of a prompt that is one text, through the chat template if it is used."""
        return self.encode_prompts(Prompts(("prompt",), (text,)))[0]

    def encode_prompts(self, prompts: Prompts) -> list[Ids]:
        """Token ids of each prompt, through the chat template if it is used.

        Raises
        ------
        DataError
            A prompt of several turns and no template, or a template that refuses it.
        PreflightError
            See `preflight`; but of lengths nothing is asked here.
        """
        return self._checked(prompts)[0]

    def _checked(self, prompts: Prompts) -> tuple[list[Ids], bool]:
        """What `_rendered` makes, if tokenizer and model agree and the model knows every token."""
        check_vocabulary(self.tokenizer, self.vocabulary, self.eos_id, self.model_eos)
        ids, dated = self._rendered(prompts)
        found = (wrong_with(own, self.tokenizer, self.stop_ids, rows=self.vocabulary, chat=self.chat) for own in ids)
        wrong = {place: reason for place, reason in enumerate(found) if reason}
        refuse_wrong(wrong, prompts, ids, self.tokenizer)
        return ids, dated

    def _rendered(self, prompts: Prompts) -> tuple[list[Ids], bool]:
        """Token ids of each prompt, and whether the template asked for the date."""
        if not self.chat:
            if several := [key for key, turns in zip(prompts.ids, prompts.chats, strict=True) if len(turns) > 1]:
                raise DataError(
                    f"{len(several)} of {len(prompts)} prompts are chats of several turns ({several[0]!r} first), and no chat "
                    "template is used; give the folder of a chat model, or prompts of one text each."
                )
            texts = [prompts.turns(place)[0][1] for place in range(len(prompts))]
            encoded = self.tokenizer(texts, add_special_tokens=True, verbose=False)["input_ids"]
            return [tuple(ids) for ids in encoded], False
        made = [
            through_template(self.tokenizer, prompts.turns(place), day=self.day, arguments=dict(self.template_args))
            for place in range(len(prompts))
        ]
        # The template writes its own BOS, and none is added to it.
        encoded = self.tokenizer([text for text, _ in made], add_special_tokens=False, verbose=False)["input_ids"]
        return [tuple(ids) for ids in encoded], any(dated for _, dated in made)

    def render(self, prompts: Prompts, *, max_tokens: int) -> Rendered:
        """All prompts as the model is asked them, and what `preflight` shows.

        Raises
        ------
        PreflightError
            See `preflight`; but prompts that are too long are not an error here.
        """
        ids, dated = self._checked(prompts)
        identity: dict[str, Any] = {"template_day": self.day.isoformat()} if dated else {}
        if self.template_args:
            identity["template_args"] = [f"{name}={value!r}" for name, value in self.template_args]
        too_long = {
            place: f"has {len(own)} tokens, and with max_tokens={max_tokens} goes beyond the context of {self.context}"
            for place, own in enumerate(ids)
            if self.context and len(own) + max_tokens > self.context
        }
        view = self._as_text(prompts, ids, next((p for p in range(len(ids)) if p not in too_long), 0))
        return Rendered(tuple(ids), tuple(map(ids_hash, ids)), too_long, view, identity)

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of a response, without the tokens that stand for no text; remembered, as answers repeat."""
        return str(self._decode(tuple(token_ids)))

    def _text(self, token_ids: Ids) -> str:
        return str(self.tokenizer.decode(list(self.without_end(token_ids)), skip_special_tokens=True))

    def texts(self, rows: Sequence[Ids], *, clean_spaces: bool | None = None) -> list[str]:
        """Texts of responses that are without their ends, as `decode` gives them; nothing is remembered.

        `clean_spaces` takes the spaces before punctuation out or leaves them; the tokenizer's own way if not given.
        """
        if not rows:
            return []
        raw = {} if clean_spaces is None else {"clean_up_tokenization_spaces": False}
        found = self.tokenizer.batch_decode([list(own) for own in rows], skip_special_tokens=True, **raw)
        return [self.tokenizer.clean_up_tokenization(text) for text in found] if clean_spaces else list(found)

    def end_texts(self) -> frozenset[str]:
        """What the tokens that end a response look like where the tokenizer does not know them as special."""
        return frozenset(self.texts([(end,) for end in self.stop_ids])) - {""}

    def without_end(self, token_ids: Sequence[int]) -> Ids:
        """Token ids of a response without the token that ended it."""
        ids = tuple(token_ids)
        return ids[:-1] if ids and ids[-1] in self.stop_ids else ids

    def supervised(self, prompt_ids: Ids, response: Response) -> tuple[Ids, tuple[bool, ...]]:
        """Token ids of prompt and response and the mask of what is learnt: the response, and EOS if the model ended it.

        The mask goes by position, never by token id, so that a padding token that equals EOS hides no EOS.
        """
        end = (self.eos_id,) if response.finished else ()
        said = self.plain([response.text])[0] if response.token_ids is None else response.token_ids
        learnt = (*said, *end)
        return (*prompt_ids, *learnt), (False,) * len(prompt_ids) + (True,) * len(learnt)

    def preflight(self, prompts: Prompts, *, max_tokens: int, example: Response | None = None) -> Preflight:
        """Check tokenizer, model and every prompt before any expensive work; show the first prompt.

        Parameters
        ----------
        prompts : Prompts
        max_tokens : int
            Greatest length of a response.
        example : Response, optional
            The response to show; without one the prompt is shown as its own response.

        Raises
        ------
        PreflightError
            The vocabularies disagree, there is no EOS or it is not the model's, a second BOS, an EOS inside a prompt, a token
            the model does not have, a prompt that leaves no room for the response. Shows ids and mask.
        """
        rendered = self.render(prompts, max_tokens=max_tokens)
        remedy = "; shorten them or lower max_tokens"
        refuse_wrong(rendered.too_long, prompts, rendered.ids, self.tokenizer, remedy)
        return self._view(prompts, rendered.ids[0], max_tokens, example)

    def _as_text(self, prompts: Prompts, ids: Sequence[Ids], place: int) -> str:
        """One prompt as the model sees it, on one line, and what is worth a note."""
        whole = str(self.tokenizer.decode(list(ids[place])))
        shown = whole if len(whole) <= _SHOWN else f"{whole[: _SHOWN // 2]} ... {whole[-_SHOWN // 2 :]}"
        lines = [f"prompt {prompts.ids[place]!r} as the model sees it, {len(ids[place])} tokens: {shown!r}"]
        if extra := tokens_without_row(self.tokenizer, self.vocabulary):
            lines.append(f"note: {without_row_note(extra)}")
        return "\n".join(lines)

    def _view(self, prompts: Prompts, first: Ids, max_tokens: int, example: Response | None = None) -> Preflight:
        """The first prompt with a response."""
        shown = example or Response(self.plain(prompts.texts[:1])[0][:max_tokens], "", finished=True)
        ids, mask = self.supervised(first, shown)
        tokens = tuple(str(token) for token in self.tokenizer.convert_ids_to_tokens(list(ids)))
        notes: tuple[str, ...] = (
            () if example else ("the response shown is the prompt's own text; only its end matters here",)
        )
        if self.tokenizer.pad_token_id in (self.eos_id, None):
            notes += ("pad is EOS or missing; harmless here, the mask goes by position and keeps EOS",)
        if extra := tokens_without_row(self.tokenizer, self.vocabulary):
            notes += (without_row_note(extra),)
        view = Preflight(prompts.ids[0], ids, tokens, mask, notes)
        if ids[-1] != self.eos_id or not mask[-1]:
            raise PreflightError(f"EOS {self.eos_id} is not supervised at the end of a response.\n{view}")
        return view

    def response(self, text: str) -> Response:
        """The response that says this text and ends."""
        return Response(self.plain([text])[0], text)

    def plain(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of texts that somebody said: none is added, and no text becomes a token that steers the model.

        "<|im_end|>" written out is encoded letter by letter, as a text of a web page. Where a tokenizer can only write it as
        that token, it becomes the unknown token, or is left out if there is none.
        """
        if not texts:
            return []
        rows = self.tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False)
        return as_text(rows["input_ids"], self.tokenizer, self.stop_ids)
