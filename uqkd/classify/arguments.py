"""Arguments that the ways to train and to ask share, checked at the edge: one line for what is of another kind."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from uqkd.errors import OptionError
from uqkd.stacked import Stacked


def checked_key(key: Any) -> tuple[Any, ...]:
    """A key as a tuple; a bare string would fall into its letters.

    Examples
    --------
    >>> checked_key("run")
    Traceback (most recent call last):
        ...
    uqkd.errors.OptionError: key must be a tuple of names, such as key=('run',); got 'run'.
    """
    if not isinstance(key, (tuple, list)):
        raise OptionError(f"key must be a tuple of names, such as key=({_shown(key)},); got {_shown(key)}.")
    return tuple(key)


def check_type(name: str, value: Any, kind: type, remedy: str) -> None:
    """Raise `OptionError` unless an argument is of its type.

    Examples
    --------
    >>> check_type("seed_design", 2, dict, "Pass {}.")
    Traceback (most recent call last):
        ...
    uqkd.errors.OptionError: seed_design must be dict; got 2. Pass {}.
    """
    if not isinstance(value, kind):
        raise OptionError(f"{name} must be {kind.__name__}; got {_shown(value)}. {remedy}")


def is_int(value: Any, least: int) -> bool:
    """Whether a value is a whole number of at least so much.

    Examples
    --------
    >>> is_int(2, 1), is_int(np.int64(2), 1), is_int(2.5, 1), is_int(True, 1), is_int(0, 1)
    (True, True, False, False, False)
    """
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= least)


def checked_factory(factory: Any) -> Any:
    """A function that builds one network, or classifiers that are trained further.

    Examples
    --------
    >>> checked_factory("bag:8")
    Traceback (most recent call last):
        ...
    uqkd.errors.OptionError: factory must be a function that builds one network; got 'bag:8'. Pass by_name('bag:8', row=..., ...
    """
    asked = "factory must be a function that builds one network"
    if isinstance(factory, Stacked):
        return factory
    if isinstance(factory, str):
        raise OptionError(f"{asked}; got {factory!r}. Pass by_name({factory!r}, row=X.shape[1:], classes=...).")
    if isinstance(factory, nn.Module):
        raise OptionError(
            f"{asked}, so that each begins anew; got a {type(factory).__name__}, which is one. Pass lambda: "
            f"{type(factory).__name__}(...)."
        )
    if not callable(factory):
        raise OptionError(f"{asked}; got {_shown(factory)}. Pass such as lambda: perceptron(4, 3).")
    return factory


def checked_network(network: Any, who: str) -> nn.Module:
    """A module that gives logits as a tensor; `who` is what took or built it.

    Examples
    --------
    >>> checked_network("x", "Teacher.of takes")
    Traceback (most recent call last):
        ...
    uqkd.errors.OptionError: Teacher.of takes a torch module that turns rows into logits; got 'x'. ...
    """
    if not isinstance(network, nn.Module):
        what = "a function" if callable(network) else _shown(network)
        raise OptionError(
            f"{who} a torch module that turns rows into logits; got {what}. Pass an nn.Module, or let one call it."
        )
    if any(kind.__name__ == "PreTrainedModel" for kind in type(network).__mro__):
        raise OptionError(
            f"{who} a torch module that turns rows into logits; a {type(network).__name__} of the transformers library gives "
            "an object. Save it with save_pretrained(folder) and pass pretrained(folder, classes, pad=...), which wraps it."
        )
    return network


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"a {type(value).__name__}"
