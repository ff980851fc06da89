"""transformers' own `generate` with nothing but what is asked for; prompts that repeat in a batch are computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

PAD = 0  # any token: it is masked
# Rows of a batch cost a pass over their last token more where their prompts are computed once: worth it from this share on.
_WORTH = 0.8


@torch.inference_mode()
def generated(
    model: Any, tokens: Any, mask: Any, *, processors: Sequence[Any] = (), shared: bool = False, **options: Any
) -> Any:
    """What `generate` makes of left-padded ids; a model's own defaults have no say in it, nor its training mode.

    Parameters
    ----------
    model : PreTrainedModel
    tokens, mask : (n, L) int
        Ids, and 0 where they are padding.
    processors : sequence of callables
        From ids and logits to the logits that the next token is the largest of.
    shared : bool
        Compute rows that are equal once, all but their last token.
    **options
        Of transformers' GenerationConfig.

    Examples
    --------
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> model = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=4, n_layer=1, n_head=1)).eval()
    >>> generated(model, [[5, 6], [0, 7]], [[1, 1], [0, 1]], max_new_tokens=3).shape
    torch.Size([2, 5])
    """
    from transformers import LogitsProcessorList

    inputs, attention = (torch.as_tensor(rows, device=model.device) for rows in (tokens, mask))
    with _plain(model):
        begun = _begun(model, inputs, attention) if shared else {}
        return _run(model, inputs, attention, LogitsProcessorList(processors), options=options, **begun)


def _run(model: Any, inputs: Any, attention: Any, processors: Any, *, options: dict[str, Any], **begun: Any) -> Any:
    from transformers import GenerationConfig

    own = {
        "do_sample": False,
        "num_beams": 1,
        "use_cache": True,
        "disable_compile": True,
        "pad_token_id": PAD,
        **options,
    }
    return model.generate(
        inputs, attention_mask=attention, generation_config=GenerationConfig(**own), logits_processor=processors, **begun
    )  # fmt: skip


def _begun(model: Any, inputs: torch.Tensor, attention: torch.Tensor) -> dict[str, Any]:
    """What the model keeps of all but the last token of each row, computed once for equal rows; nothing if it saves little."""
    from transformers import LogitsProcessorList

    if inputs.shape[1] < 2:
        return {}
    distinct, which = torch.unique(torch.stack([inputs, attention], dim=1), dim=0, return_inverse=True)
    rows, length = inputs.shape
    if len(distinct) * (length - 1) + rows > _WORTH * rows * length:
        return {}
    ids, own = distinct[:, :, :-1].unbind(1)
    once = {"max_new_tokens": 1, "return_dict_in_generate": True}  # one pass; the token that it ends with is not used
    cache = _run(model, ids, own, LogitsProcessorList(), options=once).past_key_values
    cache.reorder_cache(which)
    return {"past_key_values": cache}


@contextmanager
def _plain(model: Any) -> Iterator[None]:
    """Inside the block `generate` finds no defaults to fill gaps with, and no dropout; afterwards all is as it was."""
    from transformers import GenerationConfig

    before, training = model.generation_config, model.training
    model.generation_config = GenerationConfig()
    model.eval()
    try:
        yield
    finally:
        model.generation_config = before
        model.train(training)
