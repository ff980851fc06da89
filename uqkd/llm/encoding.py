"""Texts and token ids: what the teacher is asked, what a student is trained on, and the check of both before any work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from uqkd.errors import DataError, LibraryError, OptionError, PreflightError
from uqkd.llm.responses import Prompts, Response
from uqkd.llm.revision import base_of, check_model, is_adapter

Ids = tuple[int, ...]
# Embeddings are padded to round sizes: Phi-2 has 905 rows that no token uses, DeepSeek-V2 2,400 of 102,400.
_SPARE_ROWS, _SPARE_SHARE = 1024, 0.05


@dataclass(frozen=True)
class Preflight:
    """One prompt and response as a student will see them: which tokens are the prompt, which are supervised.

    Attributes
    ----------
    prompt_id : str
    ids : tuple of int
        Prompt, response and the token that ends it.
    tokens : tuple of str
    mask : tuple of bool
        Supervised or not.
    notes : tuple of str
        What the reader should know, and is not wrong.
    """

    prompt_id: str
    ids: Ids
    tokens: tuple[str, ...]
    mask: tuple[bool, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Lines for people: id, token and whether it is prompt or supervised."""
        shown = list(zip(self.ids, self.tokens, self.mask, strict=True))
        lines = [f"preflight: prompt {self.prompt_id!r}, {len(shown)} tokens, {sum(self.mask)} supervised"]
        cut = shown if len(shown) <= _SHOWN else [*shown[: _SHOWN // 2], None, *shown[-_SHOWN // 2 :]]
        for row in cut:
            if row is None:
                lines.append(f"  ... {len(shown) - 2 * (_SHOWN // 2)} tokens not shown")
            else:
                lines.append(f"  {row[0]:>8}  {'supervised' if row[2] else 'prompt    '}  {row[1]!r}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


_SHOWN = 40  # tokens of a preflight that are printed


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
    """

    tokenizer: Any
    chat: bool
    vocabulary: int = 0
    context: int = 0
    model_eos: Ids = ()
    _decode: Any = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, model: str | Path, *, chat: bool | None = None) -> Encoder:
        """The encoder of a model's folder or name; `chat=None` uses the chat template if there is one.

        Raises
        ------
        OptionError
            `chat=True` where the tokenizer has no template, or an unsafe model; see `check_model`.
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
        config = _configuration(source)
        return cls(
            tokenizer,
            templated if chat is None else chat,
            vocabulary=int(config.get("vocab_size") or 0),
            context=int(next((config[key] for key in _CONTEXT if config.get(key)), 0)),
            model_eos=config["eos"],
        )

    def __post_init__(self) -> None:
        object.__setattr__(self, "_decode", lru_cache(maxsize=2**16)(self._text))

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

    def encode(self, text: str) -> Ids:
        """Token ids of a prompt, through the chat template if it is used."""
        if self.chat:
            turn = [{"role": "user", "content": text}]
            ids = self.tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=True, return_dict=True)
            return tuple(ids["input_ids"])  # the template writes its own BOS, and none is added to it
        return tuple(self.tokenizer(text, add_special_tokens=True)["input_ids"])

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of a response, without the tokens that stand for no text; remembered, as answers repeat."""
        return str(self._decode(tuple(token_ids)))

    def _text(self, token_ids: Ids) -> str:
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True))

    def without_end(self, token_ids: Sequence[int]) -> Ids:
        """Token ids of a response without the token that ended it."""
        ids = tuple(token_ids)
        return ids[:-1] if ids and ids[-1] in self.stop_ids else ids

    def supervised(self, prompt_ids: Ids, response: Response) -> tuple[Ids, tuple[bool, ...]]:
        """Token ids of prompt and response and the mask of what is learnt: the response, and EOS if the model ended it.

        The mask goes by position, never by token id, so that a padding token that equals EOS hides no EOS.
        """
        end = (self.eos_id,) if response.finished else ()
        learnt = (*response.token_ids, *end)
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
        self._check_vocabulary()
        first = self.encode(prompts.texts[0])
        shown = example or Response(self._plain(prompts.texts[0])[:max_tokens], "", finished=True)
        ids, mask = self.supervised(first, shown)
        tokens = tuple(str(token) for token in self.tokenizer.convert_ids_to_tokens(list(ids)))
        notes: tuple[str, ...] = (
            () if example else ("the response shown is the prompt's own text; only its end matters here",)
        )
        if self.tokenizer.pad_token_id in (self.eos_id, None):
            notes += ("pad is EOS or missing; harmless here, the mask goes by position and keeps EOS",)
        view = Preflight(prompts.ids[0], ids, tokens, mask, notes)
        for key, text in zip(prompts.ids, prompts.texts, strict=True):
            self._check_prompt(key, self.encode(text), max_tokens)
        if ids[-1] != self.eos_id or not mask[-1]:
            raise PreflightError(f"EOS {self.eos_id} is not supervised at the end of a response.\n{view}")
        return view

    def response(self, text: str) -> Response:
        """The response that says this text and ends."""
        return Response(self._plain(text), text)

    def _plain(self, text: str) -> Ids:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _check_vocabulary(self) -> None:
        size, eos = len(self.tokenizer), self.eos_id
        spare = max(_SPARE_ROWS, int(_SPARE_SHARE * self.vocabulary))
        if self.vocabulary and not size <= self.vocabulary <= size + spare:
            raise PreflightError(
                f"tokenizer and model disagree: the tokenizer has {size} tokens, the model {self.vocabulary} rows; use the "
                "tokenizer that the model was trained with."
            )
        if self.model_eos and eos not in self.model_eos:
            raise PreflightError(
                f"EOS of the tokenizer is {eos} ({self.tokenizer.eos_token!r}), but the model ends with "
                f"{list(self.model_eos)}; set eos_token_id in config.json to the token that ends a response."
            )

    def _check_prompt(self, key: str, ids: Ids, max_tokens: int) -> None:
        bos = self.tokenizer.bos_token_id
        reason = ""
        if not ids:
            reason = "has no tokens"
        elif bos is not None and bos not in self.stop_ids and ids.count(bos) > 1:
            reason = f"has BOS {bos} {ids.count(bos)} times; take it out of the text, the tokenizer adds one"
        elif ids[-1] in self.stop_ids and not self.chat:
            reason = f"ends with the token {ids[-1]} that ends a response; the tokenizer must not add it to a prompt"
        elif self.vocabulary and max(ids) >= self.vocabulary:
            reason = f"has the token {max(ids)}, but the model has only {self.vocabulary}"
        elif self.context and len(ids) + max_tokens > self.context:
            reason = (
                f"has {len(ids)} tokens, and with max_tokens={max_tokens} goes beyond the context of {self.context}; shorten "
                "it or lower max_tokens"
            )
        if reason:
            tokens = tuple(map(str, self.tokenizer.convert_ids_to_tokens(list(ids))))
            view = Preflight(key, ids, tokens, (False,) * len(ids))
            raise PreflightError(f"prompt {key!r} {reason}.\n{view}")


def saved_dtype(path: Path) -> str:
    """The number type that a model was saved in, "float32" if it does not say; engines read "auto" in ways of their own."""
    config = _configuration(path)
    named = config.get("dtype") or config.get("torch_dtype") or "float32"
    return str(named).removeprefix("torch.")


_CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length")


def _configuration(path: Path) -> dict[str, Any]:
    """config.json, that of the text part where there are several, and under 'eos' every token that ends a response."""
    try:
        whole = json.loads((path / "config.json").read_text(encoding="utf-8"))
        generation = path / "generation_config.json"
        more = json.loads(generation.read_text(encoding="utf-8")) if generation.is_file() else {}
    except (OSError, ValueError) as problem:
        raise DataError(f"the configuration of {path.name!r} cannot be read: {problem}.") from None
    config = {**whole, **whole.get("text_config", {})}
    found: set[int] = set()
    for value in (config.get("eos_token_id"), more.get("eos_token_id")):
        found |= set(value) if isinstance(value, list) else {value} if value is not None else set()
    return {**config, "eos": tuple(sorted(found))}
