"""Modules with parameters of their own that are no known leaf: computed for all students by torch's vmap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves, tree_map

from uqkd.errors import OptionError
from uqkd.stacked.layers.basic import Fold, StackedLayer


class WithParameters(StackedLayer):
    """Parameters and buffers of a module and of what it is made of, under the names that they have there."""

    def __init__(self, source: nn.Module, fold: Fold, widen: Callable[[Tensor], Tensor]) -> None:
        super().__init__(source, fold, widen)
        for name, child in source.named_children():
            self.add_module(name, WithParameters(child, fold, widen))


class Mapped(WithParameters):
    """Any module that keeps rows on the first axis of its first tensor and draws nothing at random.

    Vision transformers keep their class token and positions so, ConvNeXt its layer scales. Slower than the known leaves where
    torch has no batched form of an operation.
    """

    def __init__(self, source: nn.Module, fold: Fold, widen: Callable[[Tensor], Tensor]) -> None:
        super().__init__(source, fold, widen)
        self._alone = (source,)  # in a tuple: not a submodule

    def forward(self, *arguments: Any, **options: Any) -> Any:
        """What the module of one student makes of (S·N, ...); tensors of another length are the same for all students."""
        (source,) = self._alone
        source.train(self.training)
        count = next((len(t) for t in tree_leaves((arguments, options)) if isinstance(t, Tensor) and t.ndim), 0)

        def is_rows(value: Any) -> bool:
            return isinstance(value, Tensor) and value.ndim > 0 and len(value) == count

        def alone(values: dict[str, Tensor], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
            return functional_call(source, values, arguments, options, tie_weights=False)

        if not count and self.fold.students > 1:
            raise OptionError(
                f"cannot stack a module of class {type(source).__name__}: it makes something of its parameters without rows, "
                "so that the students' cannot be kept apart."
            )
        given = tree_map(lambda value: self.fold.unfold(value) if is_rows(value) else value, (arguments, options))
        axes = tree_map(lambda value: 0 if is_rows(value) else None, (arguments, options))
        values = {
            **dict(self.named_parameters(remove_duplicate=False)),
            **dict(self.named_buffers(remove_duplicate=False)),
        }
        try:
            found = torch.vmap(alone, in_dims=(0, *axes))(values, *given)
        except RuntimeError as error:
            if not any(word in str(error) for word in ("vmap", "atching rule")):
                raise
            raise OptionError(
                f"cannot stack a module of class {type(source).__name__}: torch's vmap does not run it "
                f"({next(iter(str(error).splitlines()), '')[:160]})."
            ) from error
        return tree_map(lambda value: self.fold.fold(value) if isinstance(value, Tensor) else value, found)
