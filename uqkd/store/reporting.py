"""Refusals of the operating system as one clear line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from uqkd.errors import StoreError


@contextmanager
def reporting(action: str, path: object, size: int | None = None) -> Iterator[None]:
    """Turn the operating system's refusals into one clear line.

    Examples
    --------
    >>> with reporting("write", "a.csv", 3):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    uqkd.errors.StoreError: could not write a.csv (3 bytes): No space left on device. Everything written before is intact; ...
    """
    try:
        yield
    except OSError as problem:
        what = f"{path} ({size} bytes)" if size is not None else str(path)
        raise StoreError(
            f"could not {action} {what}: {problem.strerror or problem}. Everything written before is intact; "
            "make the place writable or free some space, and run again."
        ) from problem
