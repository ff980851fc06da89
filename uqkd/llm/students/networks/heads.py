"""The head of a language model on the tokens that are supervised alone, a few at a time: no table of all logits is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uqkd.stacked.layers.basic import StackedLayer

LOGITS = 2**25  # held at a time: 128 MiB in float32, of enough tokens for the products to run at full speed


def shared_head(model: Any) -> nn.Module | None:
    """The module that makes logits of hidden states; None where every stacked student has its own."""
    base = getattr(model, "get_base_model", lambda: model)()  # under adapters
    head = base.get_output_embeddings()
    return None if isinstance(head, StackedLayer) else head


def is_frozen(head: nn.Module) -> bool:
    """Whether a head is a plain linear layer that is not trained and that nobody listens to."""
    listened = (head._forward_hooks, head._forward_pre_hooks, head._backward_hooks, head._backward_pre_hooks)
    plain = type(head) is nn.Linear and "forward" not in vars(head) and not any(listened)
    return plain and not any(p.requires_grad for p in head.parameters())


class Head:
    """How one model makes logits: whether they are what its head gives, or that and something after it.

    Attributes
    ----------
    bare : bool or None
        Nothing follows the head (Gemma caps its logits); None until `look` has seen it.
    """

    def __init__(self) -> None:
        self.bare: bool | None = None

    @torch.no_grad()
    def look(self, head: nn.Module, run: Callable[[], Any]) -> None:
        """See in a forward pass whether anything follows the head.

        Before the first step, not in it: a step after a stop must round as one that was not stopped.
        """
        made: list[Tensor] = []
        handle = head.register_forward_hook(lambda _, __, logits: made.append(logits))
        try:
            logits = run().logits
        finally:
            handle.remove()
        self.bare = logits is made[0] and logits._version == 0

    def losses(
        self, head: nn.Module, run: Callable[[], Any], *, learnt: Tensor, wanted: Tensor, temperature: float
    ) -> Tensor:
        """Negative log-likelihood of M tokens, (M,).

        Parameters
        ----------
        head : nn.Module
        run : callable
            The model's forward pass, which calls the head with hidden states (B, L, H).
        learnt : (B, L) bool
            Which of them predict one of the tokens.
        wanted : (M,) int
            The tokens, in the order of the places.
        temperature : float
            Logits are divided by it.
        """
        skips = bool(self.bare) and is_frozen(head)
        hidden: list[Tensor] = []

        def picked(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
            hidden.append(given[0][learnt])
            return (hidden[0][None, :0] if skips else hidden[0][None], *given[1:])

        handle = head.register_forward_pre_hook(picked)
        try:
            logits = run().logits
        finally:
            handle.remove()
        if skips:
            weight, bias = head.weight, head.bias
            return cast(Tensor, _FrozenLosses.apply(hidden[0], wanted, weight, bias, temperature))
        logits = logits[0] if temperature == 1.0 else logits[0] / temperature
        return F.cross_entropy(logits, wanted, reduction="none")


class _FrozenLosses(torch.autograd.Function):
    """Losses and, at once, their gradient with respect to the hidden states: a frozen head needs no other."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, wanted: Tensor, weight: Tensor, bias: Tensor | None, temperature: float
    ) -> Tensor:
        """(M, H) to (M,)."""
        losses, slopes = [], []
        pieces = max(-(-len(hidden) * len(weight) // LOGITS), 1)
        rows = max(-(-len(hidden) // pieces), 1)
        space = hidden.new_empty(rows, len(weight))
        for states, own in zip(hidden.split(rows), wanted.split(rows), strict=True):
            logits = _logits(states, weight, bias, space=space[: len(states)])
            if temperature != 1.0:
                logits /= temperature
            logits -= logits.amax(-1, keepdim=True)
            said = logits.gather(1, own[:, None])[:, 0]
            odds = logits.exp_()
            total = odds.sum(-1)
            losses.append(total.log() - said)
            if ctx.needs_input_grad[0]:
                mean = (odds.to(weight.dtype) @ weight).to(hidden.dtype) / total[:, None]
                slopes.append((mean - weight[own]) / temperature)
        if slopes:
            ctx.save_for_backward(torch.cat(slopes))
        return torch.cat(losses)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """(M,) to (M, H)."""
        (slopes,) = ctx.saved_tensors
        return (slopes * gradients[0][:, None]).to(slopes.dtype), None, None, None, None


def _logits(states: Tensor, weight: Tensor, bias: Tensor | None, *, space: Tensor) -> Tensor:
    """(m, V) after (m, H), in memory that all pieces use: to map it anew took longer than the products."""
    if torch.is_autocast_enabled(states.device.type) or states.dtype in (torch.bfloat16, torch.float16):
        return F.linear(states, weight, bias).float()
    logits = torch.mm(states, weight.t(), out=space)
    return logits if bias is None else logits.add_(bias)
