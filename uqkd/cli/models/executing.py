"""Where the engines of `uqkd sample`, `distill` and `measure` run: the options that they share, and what comes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uqkd.errors import OptionError, one_of

if TYPE_CHECKING:
    from uqkd.run.actors import Actors

Executor = Annotated[str, typer.Option(help="local, or ray: engines on this machine's cores or on a cluster")]
Address = Annotated[
    str | None, typer.Option(help="of a Ray cluster: auto or HOST:PORT; default: a new one on this machine")
]
EngineCount = Annotated[
    int | None, typer.Option("--workers", help="engines on Ray; default: one for each GPU, or else for each machine")
]


def actors(
    make: Callable[[], Any], *, executor: str, address: str | None, workers: int | None, device: str, what: str
) -> Actors | None:
    """Engines on Ray, made by `make`; None where the command does its work in its own process.

    Examples
    --------
    >>> actors(list, executor="rey", address=None, workers=None, device="cpu", what="units")
    Traceback (most recent call last):
    uqkd.errors.OptionError: executor got 'rey'; did you mean 'ray'? Valid: 'local', 'ray'.
    >>> actors(list, executor="local", address=None, workers=2, device="cpu", what="units")
    Traceback (most recent call last):
    uqkd.errors.OptionError: --workers got 2, which is of Ray; say --executor ray too, or leave it out.
    """
    from uqkd.run.workers import EXECUTORS

    if one_of("executor", executor, EXECUTORS) == "ray":
        from uqkd.run.actors import Actors

        return Actors(make, workers=workers, address=address, gpu=device != "cpu", what=what)
    for name, value in (("--address", address), ("--workers", workers)):
        if value is not None:
            raise OptionError(f"{name} got {value}, which is of Ray; say --executor ray too, or leave it out.")
    return None
