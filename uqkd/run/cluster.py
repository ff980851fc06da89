"""A Ray cluster: the one of an address, or one of this machine that lives as long as the command."""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from uqkd.errors import OptionError

_ANSWER_SECONDS = 5.0  # for a cluster's head to take a connection; Ray itself would wait for it without an end
_SILENT: dict[str, Any] = {
    "include_dashboard": False,
    "log_to_driver": False,
    "logging_level": logging.CRITICAL,  # a worker that is lost is told by whoever handed out its work
}


@dataclass(frozen=True)
class Machine:
    """What a machine of a cluster gives to engines: cores, and bytes of memory."""

    cores: int
    memory: int


@dataclass(frozen=True)
class Cluster:
    """A connection to Ray; made by `connect`.

    Attributes
    ----------
    ray : module
        The library.
    own : bool
        The connection was made here, and `close` ends it.
    """

    ray: ModuleType
    own: bool

    def machines(self) -> list[Machine]:
        """Those that are alive."""
        alive = (node["Resources"] for node in self.ray.nodes() if node["Alive"])
        return [Machine(int(one.get("CPU", 0)), int(one.get("memory", 0))) for one in alive]

    def gpus(self) -> int:
        """GPUs of all machines together."""
        return int(self.ray.cluster_resources().get("GPU", 0))

    def close(self) -> None:
        """Disconnect, if this connected."""
        if self.own and self.ray.is_initialized():
            self.ray.shutdown()


def usable_cores() -> int:
    """Cores that this process may use.

    Examples
    --------
    >>> usable_cores() >= 1
    True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def connect(cpus: int | None = None, *, address: str | None = None) -> Cluster:
    """Connect to the cluster at an address, to the one that is connected already, or to a new one on this machine.

    Parameters
    ----------
    cpus : int, optional
        Cores of a new one; those of the machine if not given.
    address : str, optional
        "auto" or HOST:PORT of a cluster that was begun with `ray start --head`.

    Raises
    ------
    OptionError
        Ray is not installed, or no cluster answers at that address.

    Examples
    --------
    >>> connect(address="no port")
    Traceback (most recent call last):
    uqkd.errors.OptionError: address got 'no port'; give auto, or HOST:PORT of a cluster begun with ray start --head.
    """
    _check(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no report is sent anywhere
    try:
        import ray
    except ImportError:
        raise OptionError(
            "executor 'ray' needs the package ray, which is not installed: pip install 'uqkd[ray]', or use 'local'."
        ) from None
    own = not ray.is_initialized()
    if own:
        where: dict[str, Any] = {"num_cpus": cpus} if address is None else {"address": address}
        try:
            ray.init(**where, **_SILENT)
        except (ConnectionError, RuntimeError, ValueError) as problem:
            raise _unreachable(address, problem) from None
    return Cluster(ray, own)


def _check(address: str | None) -> None:
    """Refuse an address at which nothing listens."""
    if address is None or address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or "/" in host:
        raise OptionError(f"address got {address!r}; give auto, or HOST:PORT of a cluster begun with ray start --head.")
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS).close()
    except OSError as problem:
        raise _unreachable(address, problem) from None


def _unreachable(address: str | None, problem: Exception) -> OptionError:
    line = (str(problem).splitlines() or [""])[0].rstrip(".")
    return OptionError(
        f"no Ray cluster answers at {address or 'this machine'} ({line}); begin one with ray start --head, or leave address out."
    )
