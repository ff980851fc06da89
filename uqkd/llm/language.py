"""Causal language models of the transformers library as students that can be stacked.

A student is wrapped so that it turns token ids into the log-probability of every next token. Rows are padded on the
right: with causal attention nothing that counts looks at the padding, so no mask is needed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uqkd.errors import OptionError
from uqkd.stacked.leaves import Leaf
from uqkd.stacked.norms import LEAVES

# Classes that scale by `weight` after dividing by the root mean square, in float32; those of other models (Gemma adds one
# to the weight) compute something else and are refused.
_RMS_NORMS = (
    "LlamaRMSNorm",
    "MistralRMSNorm",
    "Qwen2RMSNorm",
    "Qwen3RMSNorm",
    "Phi3RMSNorm",
    "OlmoeRMSNorm",
    "GraniteRMSNorm",
)


class LlamaNorm(Leaf):
    """The root-mean-square norm of Llama and its relatives."""

    def read(self, source: Any) -> None:
        """Epsilon."""
        self.eps = source.variance_epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        return self.scaled((wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype))


class NextToken(nn.Module):
    """Log-probability of every next token: ids (B, L) to (B, L − 1).

    Parameters
    ----------
    model : transformers PreTrainedModel
        A causal language model.
    temperature : float
        Logits are divided by it.
    """

    def __init__(self, model: nn.Module, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.model, self.temperature = model, temperature

    def forward(self, ids: Tensor) -> Tensor:
        """ids (B, L) to log-probabilities (B, L − 1)."""
        before = ids[:, :-1]
        places = torch.arange(before.shape[1], device=ids.device).expand(len(ids), -1)
        logits = self.model(input_ids=before, position_ids=places, use_cache=False).logits
        if self.temperature != 1.0:
            logits = logits / self.temperature
        losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        return -losses.view(len(ids), -1)


def know_leaves(model: nn.Module) -> None:
    """Teach stacking the norms of this model's family; refuse families that were not checked.

    Raises
    ------
    OptionError
        A norm with a formula that is not known.
    """
    for path, part in model.named_modules():
        kind = type(part)
        if kind.__name__.endswith("RMSNorm") and kind not in LEAVES:
            if kind.__name__ not in _RMS_NORMS or not hasattr(part, "variance_epsilon"):
                raise OptionError(
                    f"cannot stack {path!r} of class {kind.__name__}: its formula was not checked. Known: "
                    f"{', '.join(_RMS_NORMS)}; or train with trainer='transformers'."
                )
            LEAVES[kind] = LlamaNorm


def weighted_loss(outputs: Tensor, weights: Tensor) -> Tensor:
    """Weighted negative log-likelihood of sequences, mean over rows.

    Parameters
    ----------
    outputs, weights : (S, B, L − 1) float
        Log-probabilities of the next tokens; weight of each, zero where it is not supervised.

    Returns
    -------
    (S,) float

    Examples
    --------
    >>> weighted_loss(torch.tensor([[[-1.0, -2.0], [-4.0, -9.0]]]), torch.tensor([[[1.0, 1.0], [0.5, 0.0]]]))
    tensor([2.5000])
    """
    return -(outputs * weights).flatten(1).sum(1) / outputs.shape[1]
