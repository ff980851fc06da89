"""Modules that compute something else for a while, or are listened to, and stay what they are: names, attributes, parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def forwards_replaced(functions: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Within, these modules compute these functions.

    Examples
    --------
    >>> layer = nn.Identity()
    >>> with forwards_replaced({layer: lambda x: 2 * x}):
    ...     layer(3)
    6
    >>> layer(3)
    3
    """
    before = {module: vars(module).get("forward") for module in functions}
    try:
        for module, function in functions.items():
            module.forward = function  # type: ignore[method-assign]
        yield
    finally:
        for module, own in before.items():
            vars(module).pop("forward", None)
            if own is not None:
                module.forward = own  # type: ignore[method-assign]


@contextmanager
def outputs_noted(modules: Sequence[nn.Module]) -> Iterator[list[Any]]:
    """Within, the list holds what each of the modules returned last.

    Examples
    --------
    >>> layer = nn.Identity()
    >>> with outputs_noted([layer]) as made:
    ...     _ = layer(3)
    >>> made
    [3]
    """
    made: list[Any] = [None] * len(modules)

    def note(place: int) -> Callable[..., None]:
        def hear(module: nn.Module, given: Any, output: Any) -> None:
            made[place] = output

        return hear

    handles = [module.register_forward_hook(note(place)) for place, module in enumerate(modules)]
    try:
        yield made
    finally:
        for handle in handles:
            handle.remove()
