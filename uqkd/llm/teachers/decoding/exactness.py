"""What `generate` computes as a model's plain forward pass does, measured: padding, neighbours, prompts computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from uqkd.errors import DataError
from uqkd.llm.teachers.decoding.generating import PAD, generated

_PROBE = 8  # tokens, and as much padding, that exactness is measured on
# The same sums in another order: measured 1 to 12 roundings of the largest logit in float32 and 1 to 3 in bfloat16 (models of 2
# to 30 layers). A wrong state or position changes the logits by as much as they are.
_ROUNDINGS, _SHARE = 256, 0.125


@dataclass(frozen=True)
class Exactness:
    """Which ways of computing a batch leave a model's logits as they are, but for rounding; made by `exactness`.

    Attributes
    ----------
    pads : bool
        Padding may stand before a row.
    shares : bool
        Equal prompts may be computed once.
    """

    pads: bool
    shares: bool


def exactness(model: Any, name: str) -> Exactness:
    """Measure what `generate` computes as the model's plain forward pass does.

    Two rows together, three tokens with their cache, and a prompt of one token after others, each against one pass without
    cache, padding or neighbours; then the same with padding, and with prompts that are computed once.

    Raises
    ------
    DataError
        The plain way differs by more than rounding: draws would not be the model's own.

    Examples
    --------
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> model = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=4, n_layer=1, n_head=1)).eval()
    >>> exactness(model, "tiny")
    Exactness(pads=True, shares=True)
    """
    try:
        what = _inexact_for(model)
    except Exception as problem:  # an architecture's own code may raise anything: one line for all
        what = f"all ({type(problem).__name__}: {(str(problem).splitlines() or [''])[0][:200]})"
    if what:
        import transformers

        raise DataError(
            f"transformers {transformers.__version__} does not compute {type(model).__name__} ({name!r}) for {what} as in one "
            "plain pass, so its draws would not be the model's own; use a model of another family (docs/families.md)."
        )
    return Exactness(_pads(model), _shares(model))


def _pads(model: Any) -> bool:
    """Whether logits stay the same when padding stands before a row.

    Attention masks padding out; a recurrent model has to keep it out of its state, and not every one does.
    """
    row = _probe(model)
    mask = [[0] * _PROBE + [1] * _PROBE]
    first, other = (_logits(model, [[token] * _PROBE + row], mask, steps=1)[0, 0] for token in (PAD, row[-1]))
    # Another token as padding runs the same sums, but for experts that take more rows or fewer: 1 rounding seen.
    return _same(model, first, other, roundings=4) and _same(model, first, _alone(model, row)[-1])


def _shares(model: Any) -> bool:
    """Whether logits stay the same when equal prompts are computed once; False for what a family's code cannot do."""
    row = _probe(model)
    rows = [row, row[::-1], row, row, row[::-1]]
    try:
        found = _logits(model, rows, [[1] * _PROBE] * len(rows), steps=3, shared=True)
    except Exception:  # no cache that can be taken apart, or code that does not go on from one
        return False
    return _follows(model, rows, found)


def _inexact_for(model: Any) -> str:
    """What `generate` computes in another way than a plain pass; empty for nothing."""
    row = _probe(model)
    rows = [row, row[::-1]]
    found = _logits(model, rows, [[1] * _PROBE] * 2, steps=3)
    short = _logits(model, [row[:1]] * 2, [[1]] * 2, steps=1)[0, 0]  # a state that is left over would show here
    if not _follows(model, rows, found):
        return "two prompts together"
    return "" if _same(model, short, _alone(model, row)[0]) else "a prompt of one token"


def _follows(model: Any, rows: list[list[int]], found: torch.Tensor) -> bool:
    """Whether logits (steps, n, V) are those of a plain pass over each row and the tokens that they chose."""
    return all(
        _same(model, seen, _alone(model, [*own, *seen.argmax(-1).tolist()[:-1]])[_PROBE - 1 :])
        for own, seen in zip(rows, found.unbind(1), strict=True)
    )


def _probe(model: Any) -> list[int]:
    """Ids of a text that says nothing, spread over the vocabulary."""
    size = model.config.get_text_config().vocab_size
    return [number * size // (_PROBE + 1) for number in range(1, _PROBE + 1)]


def _logits(model: Any, tokens: Any, mask: Any, *, steps: int, shared: bool = False) -> torch.Tensor:
    """(steps, n, V) logits of the next tokens, the most probable one taken each time."""
    result = generated(
        model, tokens, mask, shared=shared, max_new_tokens=steps, output_logits=True, return_dict_in_generate=True
    )
    return torch.stack(result.logits).double().cpu()


@torch.inference_mode()
def _alone(model: Any, row: list[int]) -> torch.Tensor:
    """(L, V) logits after each token of a row, from one pass without cache."""
    inputs = torch.tensor([row], device=model.device)
    training = model.training
    model.eval()
    logits = model(inputs, attention_mask=torch.ones_like(inputs), use_cache=False).logits[0]
    model.train(training)
    return logits.double().cpu()  # type: ignore[no-any-return]


def _same(model: Any, one: torch.Tensor, other: torch.Tensor, *, roundings: int = _ROUNDINGS) -> bool:
    """Whether logits differ by no more than so many roundings of the largest one, nor by more than a share of it."""
    limit = min(roundings * torch.finfo(model.dtype).eps, _SHARE) * one.abs().max()
    return bool((one - other).abs().max() <= limit)
