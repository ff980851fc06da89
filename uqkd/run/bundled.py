"""The studies that come with uqkd, and the files that they read, wherever it is installed."""

from __future__ import annotations

from pathlib import Path

import uqkd


def bundled_file(path: str) -> Path:
    """A file or folder that comes with uqkd, by its path in the project: in a wheel under `_bundled`, else beside the package.

    Examples
    --------
    >>> bundled_file("studies/teacher_noise.py").is_file()
    True
    """
    package = Path(uqkd.__file__).resolve().parent
    inside = package / "_bundled"
    return (inside if inside.is_dir() else package.parent) / path


def here_or_bundled(path: str) -> str:
    """The path as given where there is such a file, otherwise that of the one that comes with uqkd, if it does.

    Examples
    --------
    >>> here_or_bundled("no/such/file.csv")
    'no/such/file.csv'
    """
    bundled = bundled_file(path)
    return path if Path(path).exists() or not bundled.exists() else str(bundled)
