"""Whether a tokenizer and a model fit one another, and which tokens steer a model and are no text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from uqkd.errors import PreflightError

# Embeddings are padded to round sizes: Phi-2 has 905 rows that no token uses, DeepSeek-V2 2,400 of 102,400.
_SPARE_ROWS, _SPARE_SHARE = 1024, 0.05
_SPARE_TOKENS = 16  # that a tokenizer may have beyond the rows, as where padding was added to it alone


def check_vocabulary(tokenizer: Any, rows: int, eos: int, model_eos: Sequence[int]) -> None:
    """Refuse a tokenizer that is not the model's.

    Parameters
    ----------
    tokenizer : transformers tokenizer
    rows : int
        Of the model's embedding; 0 where they are not known.
    eos : int
        The token that ends a response in training.
    model_eos : sequence of int
        The tokens that end a response, by the model's configuration.

    Raises
    ------
    PreflightError
        The vocabularies disagree, or what ends a response does.
    """
    size = len(tokenizer)
    extra = tokens_without_row(tokenizer, rows)
    added = set(tokenizer.get_added_vocab())
    unused = len(extra) <= _SPARE_TOKENS or all(token in added for token in extra)
    if rows and (size < rows - max(_SPARE_ROWS, int(_SPARE_SHARE * rows)) or not unused or eos >= rows):
        raise PreflightError(
            f"tokenizer and model disagree: the tokenizer has {size} tokens, the model {rows} rows; use the tokenizer that the "
            "model was trained with."
        )
    if model_eos and eos not in model_eos:
        raise PreflightError(
            f"EOS of the tokenizer is {eos} ({tokenizer.eos_token!r}), but the model ends with {list(model_eos)}; set "
            "eos_token_id in config.json to the token that ends a response."
        )


def tokens_without_row(tokenizer: Any, rows: int) -> list[str]:
    """Tokens of the tokenizer for which the model has no row: harmless while no text holds them."""
    if not rows or len(tokenizer) <= rows:
        return []
    return sorted(token for token, number in tokenizer.get_vocab().items() if number >= rows)


def without_row_note(extra: Sequence[str]) -> str:
    """What to say about `tokens_without_row`."""
    return f"the model has no row for {len(extra)} tokens of the tokenizer ({extra[0]!r}); no prompt uses them"


def steering_tokens(tokenizer: Any, stop_ids: Collection[int]) -> frozenset[int]:
    """Special tokens but the unknown one, unless that is BOS, EOS or the padding too (GPT-2)."""
    others = {tokenizer.bos_token_id, tokenizer.pad_token_id, *stop_ids}
    return frozenset({*tokenizer.all_special_ids, *others} - ({tokenizer.unk_token_id} - others) - {None})


def as_text(rows: Sequence[Sequence[int]], tokenizer: Any, stop_ids: Collection[int]) -> list[tuple[int, ...]]:
    """Token ids of texts without the tokens that steer a model; the unknown token, if there is one, stands for each."""
    steering, unknown = steering_tokens(tokenizer, stop_ids), tokenizer.unk_token_id
    instead = () if unknown is None or unknown in steering else (unknown,)
    return [
        tuple(ids)
        if steering.isdisjoint(ids)
        else tuple(number for own in ids for number in (instead if own in steering else (own,)))
        for ids in rows
    ]


def wrong_with(ids: Sequence[int], tokenizer: Any, stop_ids: Collection[int], *, rows: int, chat: bool) -> str:
    """What is wrong with a rendered prompt, besides its length; empty if nothing is.

    A chat may have BOS at every turn (SmolLM2, Llama 2), but none twice in a row at its beginning, as where the template
    writes one and the tokenizer adds another.
    """
    bos = tokenizer.bos_token_id
    if not ids:
        return "has no tokens"
    again = list(ids[:2]).count(bos) if chat else list(ids).count(bos)
    if bos is not None and bos not in stop_ids and again > 1:
        return f"has BOS {bos} {again} times; take it out of the text or the template, one is added"
    if ids[-1] in stop_ids and not chat:
        return f"ends with the token {ids[-1]} that ends a response; the tokenizer must not add it to a prompt"
    if rows and max(ids) >= rows:
        return f"has the token {max(ids)}, but the model has only {rows}"
    return ""
