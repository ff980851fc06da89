"""What commands share that compute: where their work is done, and what it would take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uqkd.errors import OptionError, one_of

if TYPE_CHECKING:
    from uqkd.run.actors import Actors

ExecutorOption = Annotated[str, typer.Option("--executor", help="local, or ray: engines on many machines, or this one")]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", help="of a Ray cluster: auto or HOST:PORT; default: a new one on this machine"),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", help="engines on Ray; default: one for each GPU, or else for each machine")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="measure a small part, say what the whole would take, and keep nothing of it")
]
PriceOption = Annotated[
    float | None, typer.Option("--price-hour", help="with --dry-run: of an hour of a worker (an engine, a machine)")
]


@dataclass(frozen=True)
class Executor:
    """Where engines run.

    Attributes
    ----------
    name : str
        "local" or "ray".
    address : str or None
    workers : int or None

    Examples
    --------
    >>> Executor("rey")
    Traceback (most recent call last):
    uqkd.errors.OptionError: executor got 'rey'; did you mean 'ray'? Valid: 'local', 'ray'.
    >>> Executor("local", workers=2)
    Traceback (most recent call last):
    uqkd.errors.OptionError: --workers got 2, which is of Ray; say --executor ray too, or leave it out.
    """

    name: str
    address: str | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        from uqkd.run.workers import EXECUTORS

        if one_of("executor", self.name, EXECUTORS) == "ray":
            return
        for option in ("address", "workers"):
            if (value := getattr(self, option)) is not None:
                raise OptionError(f"--{option} got {value}, which is of Ray; say --executor ray too, or leave it out.")

    @property
    def is_local(self) -> bool:
        """The command does its work in its own process."""
        return self.name == "local"

    def actors(self, make: Callable[[], Any], *, device: str, what: str, memory: int = 0) -> Actors:
        """Engines on Ray, made by `make`; see `Actors`."""
        from uqkd.run.actors import Actors

        return Actors(make, workers=self.workers, address=self.address, gpu=device != "cpu", memory=memory, what=what)


def show(prediction: Any, store: Any, key: str, price_hour: float | None) -> None:
    """Print a prediction, and keep it for the run that it is of."""
    from uqkd.run.predictions import FILE

    print("\n".join(prediction.lines(price_hour)))
    if prediction.count:
        prediction.keep(store, key)
        print(f"nothing was kept but this prediction, in {store.root}/{FILE}")


def compare(store: Any, key: str, *, count: int, seconds: float) -> None:
    """Say how far a run was from its prediction, where there was one."""
    from uqkd.run.predictions import happened

    if line := happened(store, key, count=count, seconds=seconds):
        print(line)
