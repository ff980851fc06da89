"""transformers' own `generate` with nothing but what is asked for, and measurements of what it keeps exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from uqkd.errors import DataError

PAD = 0  # any token: it is masked
_PROBE = 8  # tokens, and as much padding, that exactness is measured on
# The same sums in another order: measured 1 to 12 roundings of the largest logit in float32 and 1 to 3 in bfloat16 (models of 2
# to 30 layers). A wrong state or position changes the logits by as much as they are.
_ROUNDINGS, _SHARE = 256, 0.125


@torch.inference_mode()
def generated(model: Any, tokens: Any, mask: Any, *, processors: Sequence[Any] = (), **options: Any) -> Any:
    """What `generate` makes of left-padded ids; a model's generation_config has no say in it, see `neutral`.

    Parameters
    ----------
    model : PreTrainedModel
    tokens, mask : (n, L) int
        Ids, and 0 where they are padding.
    processors : sequence of callables
        From ids and logits to the logits that the next token is the largest of.
    **options
        Of transformers' GenerationConfig.

    Examples
    --------
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> model = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=4, n_layer=1, n_head=1)).eval()
    >>> generated(neutral(model), [[5, 6], [0, 7]], [[1, 1], [0, 1]], max_new_tokens=3).shape
    torch.Size([2, 5])
    """
    from transformers import GenerationConfig, LogitsProcessorList

    own = {
        "do_sample": False,
        "num_beams": 1,
        "use_cache": True,
        "disable_compile": True,
        "pad_token_id": PAD,
        **options,
    }
    inputs, attention = (torch.as_tensor(rows, device=model.device) for rows in (tokens, mask))
    return model.generate(
        inputs, attention_mask=attention, generation_config=GenerationConfig(**own),
        logits_processor=LogitsProcessorList(processors),
    )  # fmt: skip


def neutral(model: Any) -> Any:
    """The model without the defaults of its own generation_config, which `generate` puts where a caller leaves a gap.

    Examples
    --------
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> model = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=4, n_layer=1, n_head=1))
    >>> model.generation_config.top_k = 1
    >>> neutral(model).generation_config.top_k is None
    True
    """
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig()
    return model


def pads_exactly(model: Any) -> bool:
    """Whether logits stay the same, but for rounding, when padding stands before a row.

    Attention masks padding out; a recurrent model has to keep it out of its state, and not every one does.

    Examples
    --------
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> model = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=4, n_layer=1, n_head=1)).eval()
    >>> pads_exactly(neutral(model))
    True
    """
    row = _probe(model)
    mask = [[0] * _PROBE + [1] * _PROBE]
    first, other = (_logits(model, [[token] * _PROBE + row], mask, steps=1)[0, 0] for token in (PAD, row[-1]))
    # Another token as padding runs the same sums, but for experts that take more rows or fewer: 1 rounding seen.
    return _same(model, first, other, roundings=4) and _same(model, first, _alone(model, row)[-1])


def refuse_inexact(model: Any, name: str) -> None:
    """Refuse a model that `generate` does not compute as its plain forward pass does: its draws would not be the model's.

    Two rows together, three tokens with their cache, and a prompt of one token after others, each against one pass without
    cache, padding or neighbours.

    Raises
    ------
    DataError
        It differs by more than rounding.

    Examples
    --------
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> model = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=4, n_layer=1, n_head=1)).eval()
    >>> refuse_inexact(neutral(model), "tiny")
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


def _inexact_for(model: Any) -> str:
    """What `generate` computes in another way than a plain pass; empty for nothing."""
    row = _probe(model)
    rows = [row, row[::-1]]
    found = _logits(model, rows, [[1] * _PROBE] * 2, steps=3)
    short = _logits(model, [row[:1]] * 2, [[1]] * 2, steps=1)[0, 0]  # a state that is left over would show here
    for own, seen in zip(rows, found.unbind(1), strict=True):
        chosen = seen.argmax(-1).tolist()
        if not _same(model, seen, _alone(model, [*own, *chosen[:-1]])[_PROBE - 1 :]):
            return "two prompts together"
    return "" if _same(model, short, _alone(model, row)[0]) else "a prompt of one token"


def _probe(model: Any) -> list[int]:
    """Ids of a text that says nothing, spread over the vocabulary."""
    size = model.config.get_text_config().vocab_size
    return [number * size // (_PROBE + 1) for number in range(1, _PROBE + 1)]


def _logits(model: Any, tokens: Any, mask: Any, *, steps: int) -> torch.Tensor:
    """(steps, n, V) logits of the next tokens, the most probable one taken each time."""
    result = generated(model, tokens, mask, max_new_tokens=steps, output_logits=True, return_dict_in_generate=True)
    return torch.stack(result.logits).double().cpu()


@torch.inference_mode()
def _alone(model: Any, row: list[int]) -> torch.Tensor:
    """(L, V) logits after each token of a row, from one pass without cache."""
    inputs = torch.tensor([row], device=model.device)
    logits = model(inputs, attention_mask=torch.ones_like(inputs), use_cache=False).logits[0]
    return logits.double().cpu()  # type: ignore[no-any-return]


def _same(model: Any, one: torch.Tensor, other: torch.Tensor, *, roundings: int = _ROUNDINGS) -> bool:
    """Whether logits differ by no more than so many roundings of the largest one, nor by more than a share of it."""
    limit = min(roundings * torch.finfo(model.dtype).eps, _SHARE) * one.abs().max()
    return bool((one - other).abs().max() <= limit)
