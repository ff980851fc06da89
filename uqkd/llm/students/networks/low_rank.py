"""PEFT's low-rank adapters in fewer passes over memory: the adapter's product is added to that of its frozen layer in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from uqkd.llm.students.networks.forwards import forwards_replaced
from uqkd.stacked import Stacked
from uqkd.stacked.layers.basic import Linear


@contextmanager
def adapters_in_place(model: Any) -> Iterator[int]:
    """Within, plain LoRA layers on frozen linear layers compute y = Wx + b + s·B(Ax) and its gradient without copies of y.

    Layers with dropout before the adapter, of another kind, or that somebody listens to are left as they are, and so is all
    that is computed in mixed precision or traced. The same sums in another order.

    Parameters
    ----------
    model : Stacked or nn.Module

    Yields
    ------
    int
        Number of such layers.
    """
    module = model.body if isinstance(model, Stacked) else model
    layers = [part for part in module.modules() if _is_plain(part)]
    with forwards_replaced({layer: _quick(layer, layer.forward) for layer in layers}):
        yield len(layers)


def _is_plain(part: Any) -> bool:
    """Whether this is a LoRA layer with one adapter and nothing more on a frozen linear layer."""
    try:
        from peft.tuners.lora import Linear as LoraLinear
    except ImportError:
        return False
    if type(part) is not LoraLinear or "forward" in vars(part) or type(part.base_layer) is not nn.Linear:
        return False
    name, *others = part.active_adapters
    if others or part.merged or part.disable_adapters or name not in part.lora_A or name in part.lora_variant:
        return False
    down, up, drop = part.lora_A[name], part.lora_B[name], part.lora_dropout[name]
    inside = (part.base_layer, down, up, drop)
    listened = any(one._forward_hooks or one._forward_pre_hooks or "forward" in vars(one) for one in inside)
    frozen = not any(p.requires_grad for p in part.base_layer.parameters())
    linear = type(down) is type(up) and type(down) in (nn.Linear, Linear) and down.bias is None and up.bias is None
    return bool(frozen and linear and not listened and not getattr(drop, "p", 0.0))


def _quick(layer: Any, usual: Callable[..., Any]) -> Callable[..., Any]:
    (name,) = layer.active_adapters
    base, down, up, scale = layer.base_layer, layer.lora_A[name], layer.lora_B[name], float(layer.scaling[name])

    def forward(x: Tensor, *given: Any, **named: Any) -> Any:
        mixed = torch.is_autocast_enabled(x.device.type) or x.dtype != down.weight.dtype
        if given or named or mixed or type(x) is not Tensor:
            return usual(x, *given, **named)
        a, b = down.weight, up.weight
        if a.ndim == 2:
            a, b = a[None], b[None]
        return _LowRank.apply(x, base.weight, base.bias, a, b, scale)

    return forward


class _LowRank(torch.autograd.Function):
    """Rows of S students through one frozen layer and each student's own adapter."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
    ) -> Tensor:
        """(S·N, ..., in), (out, in), (out,), (S, r, in) and (S, out, r) to (S·N, ..., out)."""
        rows = x.reshape(len(down), -1, x.shape[-1])
        inner = torch.bmm(rows, down.transpose(1, 2))
        made = nn.functional.linear(rows.flatten(0, 1), weight, bias).view(*rows.shape[:2], -1)
        made.baddbmm_(inner, up.transpose(1, 2), alpha=scale)
        ctx.save_for_backward(rows, inner, weight, down, up)
        ctx.scale, ctx.shape = scale, x.shape
        return made.view(*x.shape[:-1], -1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Of x and of the adapter."""
        rows, inner, weight, down, up = ctx.saved_tensors
        slope = gradients[0].reshape(len(down), -1, len(weight))
        deeper = torch.bmm(slope, up).mul_(ctx.scale)
        of_up = torch.bmm(slope.transpose(1, 2), inner).mul_(ctx.scale)
        of_down = torch.bmm(deeper.transpose(1, 2), rows)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = torch.mm(slope.flatten(0, 1), weight).view(rows.shape).baddbmm_(deeper, down).view(ctx.shape)
        return of_x, None, None, of_down, of_up, None
