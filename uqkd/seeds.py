"""The only place where randomness is born: stateless generators from named keys.

A key names a draw by what it is for, `("linear", "teacher_noise", "diabetes", 0.5, chunk)`, and never by a
counter or by `seed + i`. Equal keys give equal draws on every machine, in any order, under any number of
workers; different keys give independent streams. The key is encoded so that no two different tuples share
an encoding, hashed with BLAKE2b to 128 bits, and the hash seeds NumPy's SFC64 (its fastest generator).

>>> generator("doc", 1).integers(100, size=3)
array([ 9, 43, 87])
>>> generator("doc", 1).integers(100, size=3)
array([ 9, 43, 87])
"""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from uqkd.errors import OptionError, SeedReuseError

if TYPE_CHECKING:
    import torch

_PERSON = b"uqkd-seeds-1"  # BLAKE2b personalisation; a change of scheme is a change of this name


def _encode(part: Any) -> bytes:
    """Type-tagged, length-prefixed bytes: injective over tuples of str, int, float, bool, bytes and None."""
    if isinstance(part, str):
        tag, body = b"s", part.encode("utf-8", "surrogatepass")
    elif isinstance(part, (bool, np.bool_)):
        tag, body = b"b", bytes([bool(part)])
    elif isinstance(part, (int, np.integer)):
        tag, body = b"i", b"%d" % int(part)
    elif isinstance(part, (float, np.floating)):
        tag, body = b"f", struct.pack(">d", float(part) + 0.0)  # + 0.0 makes -0.0 and 0.0 the same key
    elif isinstance(part, bytes):
        tag, body = b"y", part
    elif part is None:
        tag, body = b"n", b""
    elif isinstance(part, (tuple, list)):
        tag, body = b"t", b"".join(map(_encode, part))
    else:
        raise OptionError(
            f"seed keys are made of str, int, float, bool, bytes, None and tuples of them; got {type(part).__name__} "
            f"({part!r}). Name the draw by plain values."
        )
    return tag + struct.pack(">I", len(body)) + body


def _digest(key: tuple[Any, ...]) -> bytes:
    if not key:
        raise OptionError("a seed key needs at least one part that says what the draw is for; got an empty key.")
    return hashlib.blake2b(b"".join(map(_encode, key)), digest_size=16, person=_PERSON).digest()


@dataclass
class Ledger:
    """Which seed keys were used, and where; made by `ledger`."""

    uses: dict[bytes, tuple[tuple[Any, ...], str]] = field(default_factory=dict)

    def record(self, digest: bytes, key: tuple[Any, ...], site: str) -> None:
        """Note one use; raise `SeedReuseError` if the key was used before."""
        if digest in self.uses:
            raise SeedReuseError(
                f"seed key {key!r} was used twice in one run: first at {self.uses[digest][1]}, again at {site}. The two "
                "draws would be identical; give each its own name, or say shared=True where that is meant."
            )
        self.uses[digest] = (key, site)

    def merge(self, other: Ledger) -> None:
        """Take over the uses of another ledger (another unit of work of the same run)."""
        for digest, (key, site) in other.uses.items():
            self.record(digest, key, site)


_LEDGER: ContextVar[Ledger | None] = ContextVar("uqkd_seed_ledger", default=None)


@contextmanager
def ledger() -> Iterator[Ledger]:
    """Watch the keys used inside the block; a key used twice raises `SeedReuseError` naming both uses.

    Examples
    --------
    >>> with ledger() as used:
    ...     _ = generator("doc", "a"), generator("doc", "b")
    >>> len(used.uses)
    2
    """
    watching = Ledger()
    token = _LEDGER.set(watching)
    try:
        yield watching
    finally:
        _LEDGER.reset(token)


def _named(key: tuple[Any, ...], shared: bool, *, depth: int = 2) -> bytes:
    digest = _digest(key)
    watching = _LEDGER.get()
    if watching is not None and not shared:
        frame = sys._getframe(depth)
        watching.record(digest, key, f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno}")
    return digest


def generator(*key: Any, shared: bool = False) -> np.random.Generator:
    """NumPy generator of the stream named by `key`.

    Parameters
    ----------
    *key : str, int, float, bool, bytes, None or tuples of them
        Name of the draw, most general part first. `1`, `1.0`, `True` and `"1"` are four different parts.
    shared : bool
        The same draw is wanted in several places (a data split, common random numbers): not recorded by `ledger`.

    Returns
    -------
    numpy.random.Generator
        Always at the start of the stream; nothing is remembered between calls.

    Raises
    ------
    OptionError
        An empty key, or a part of another type.
    SeedReuseError
        Inside `ledger`, the key was used before.

    Examples
    --------
    >>> float(generator("doc", "noise", 3).random()) == float(generator("doc", "noise", 3).random())
    True
    >>> float(generator("doc", "noise", 3).random()) == float(generator("doc", "noise", "3").random())
    False
    """
    entropy = int.from_bytes(_named(key, shared), "big")
    return np.random.Generator(np.random.SFC64(entropy))


def seed63(*key: Any, shared: bool = False) -> int:
    """Non-negative 63-bit seed named by `key`, for engines that take an integer (torch, vLLM).

    Collisions among m keys are expected m²/2⁶⁴ times: 5e-6 for ten million keys.

    Examples
    --------
    >>> 0 <= seed63("llm", "doc", "prompt-7", 0) < 2**63
    True
    """
    return int.from_bytes(_named(key, shared)[:8], "big") >> 1


def drawn_from(seed: int) -> np.random.Generator:
    """NumPy generator of a stored `seed63`, at its start: all 63 bits count (torch's CPU generator keeps the low 32).

    Examples
    --------
    >>> float(drawn_from(2**32 + 5).random()) == float(drawn_from(5).random())
    False
    """
    return np.random.Generator(np.random.SFC64(seed))


@contextmanager
def global_states_kept() -> Iterator[None]:
    """Inside the block a library may seed the global random states of Python, NumPy and torch; afterwards they are as before.

    For libraries that seed them whether asked or not (vLLM seeds all three when an engine starts in this process).

    Examples
    --------
    >>> import torch
    >>> before = torch.random.get_rng_state()
    >>> with global_states_kept():
    ...     _ = torch.rand(3)
    >>> torch.equal(before, torch.random.get_rng_state())
    True
    """
    import random

    import torch

    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def torch_generator(*key: Any, device: str = "cpu", shared: bool = False) -> torch.Generator:
    """torch generator of the stream named by `key`, at its start; torch is imported here and not before.

    Examples
    --------
    >>> import torch
    >>> drawn = [torch.rand(3, generator=torch_generator("doc", "torch")) for _ in range(2)]
    >>> bool((drawn[0] == drawn[1]).all())
    True
    """
    import torch

    seed = int.from_bytes(_named(key, shared)[:8], "big") >> 1
    return torch.Generator(device=device).manual_seed(seed)


@contextmanager
def torch_stream(*key: Any, shared: bool = False) -> Iterator[None]:
    """Inside the block torch's global random state is the stream named by `key`; afterwards it is as it was before.

    For code that cannot be given a generator, above all the constructors of `torch.nn` modules.

    Examples
    --------
    >>> import torch
    >>> before = torch.random.get_rng_state()
    >>> with torch_stream("doc", "layer", 0):
    ...     layer = torch.nn.Linear(2, 1)
    >>> with torch_stream("doc", "layer", 0):
    ...     again = torch.nn.Linear(2, 1)
    >>> torch.equal(layer.weight, again.weight), torch.equal(before, torch.random.get_rng_state())
    (True, True)
    """
    import torch

    seed = int.from_bytes(_named(key, shared, depth=3)[:8], "big") >> 1
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()):
        torch.random.default_generator.manual_seed(seed)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)
        yield


def torch_global_state() -> Any:
    """torch's global random state as it is: equal before and after a block that draws nothing from it.

    Examples
    --------
    >>> bool((torch_global_state() == torch_global_state()).all())
    True
    """
    import torch

    return torch.random.get_rng_state()


CHUNK = 128  # replicates per generator: 128 × 400 float64 responses stay in a core's second-level cache
CHUNK_VALUES = 2**23  # float64 values that a chunk may hold (64 MB), so that memory stays flat for any number of rows


def chunks(total: int, *, values: int = 1) -> Iterator[tuple[int, int]]:
    """Chunks of replicates, as (index, length); the last one may be shorter.

    All others hold `CHUNK` replicates, or fewer where one replicate holds so many `values` that a chunk would exceed
    `CHUNK_VALUES`: a size that depends on the problem alone, never on the machine or the number of workers.

    Give each chunk a generator of its own, `generator(*key, index)`: results then do not depend on how chunks are
    spread over workers, and the first m replicates are the same however many follow in whole chunks.

    Examples
    --------
    >>> list(chunks(300))
    [(0, 128), (1, 128), (2, 44)]
    >>> list(chunks(300, values=2**16))[0], list(chunks(300, values=2**22))[0]
    ((0, 128), (0, 2))
    """
    size = min(CHUNK, max(1, CHUNK_VALUES // values))
    for index, start in enumerate(range(0, total, size)):
        yield index, min(size, total - start)
