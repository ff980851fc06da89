"""Fingerprint of a method: the code that computes a unit, and the versions of the libraries below it.

What counts is what the measuring function reaches, definition by definition: a change of a figure's colour, or of an
estimator that the study does not use, recomputes nothing. Comments, docstrings and layout are left out too: the parsed code
is hashed, not its text.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from functools import lru_cache
from pathlib import Path

import uqkd
from uqkd.run.provenance.definitions import read_module
from uqkd.run.provenance.reach import Reach
from uqkd.run.provenance.source_files import SourceFiles

_PACKAGE = Path(uqkd.__file__).parent
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "PyYAML", "PIL": "pillow"}  # imported under another name


def method_fingerprint(file: str | Path, function: str = "measure") -> str:
    """Hash of everything in `file` and in uqkd that `function` can reach, and of library versions.

    Parameters
    ----------
    file : path
        The study file.
    function : str
        Name of the function that measures a cell.

    Returns
    -------
    str
        32 hexadecimal digits. The same on every machine with the same code and versions.

    Examples
    --------
    >>> len(method_fingerprint(__file__, "method_fingerprint"))
    32
    """
    path = Path(file)
    return _fingerprint(path, function, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _fingerprint(path: Path, function: str, _modified: int) -> str:
    sources = SourceFiles(_PACKAGE, path.parent)
    found = Reach(sources, read_module("", path, path.read_bytes()), function)
    versions = {name: version for name in found.libraries | {"numpy", "scipy"} if (version := _version(name))}
    digest = hashlib.blake2b(digest_size=16)
    for part in (function, *sorted(found.texts().items()), *sorted(versions.items())):
        digest.update(repr(part).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _version(module: str) -> str:
    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(module, module))
    except importlib.metadata.PackageNotFoundError:
        return ""
