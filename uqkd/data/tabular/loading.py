"""Where regression data come from: the libraries, a file, OpenML."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

from uqkd.data.tabular.dataset import Dataset, from_frame
from uqkd.errors import DataError, OptionError, UqkdWarning, nearest

# Data sets that the libraries carry, so that they load without a network; the target is the library's own.
STATSMODELS = ("ccard", "copper", "engel", "fair", "longley", "randhie", "scotland", "stackloss", "statecrime")
OFFLINE = ("diabetes", *STATSMODELS)
REGRESSIONS = ("diabetes", "ccard", "statecrime", "fair", "engel", "randhie")  # large enough to be split


def normalise_name(name: object) -> str:
    """A name or path as text. A `Path` of one part is written with its folder, so that it is no name of a data set.

    Raises
    ------
    OptionError
        Neither text nor a path, or empty.

    Examples
    --------
    >>> normalise_name("digits"), normalise_name(Path("digits"))
    ('digits', './digits')
    >>> normalise_name(None)
    Traceback (most recent call last):
    uqkd.errors.OptionError: data must be the name of a data set or a path; got None (NoneType).
    """
    if isinstance(name, PurePath):
        text = str(name)
        return text if "/" in text or text in (".", "..") else f"./{text}"
    if not isinstance(name, str) or not name.strip():
        raise OptionError(f"data must be the name of a data set or a path; got {name!r} ({type(name).__name__}).")
    return name


def short_name(name: str) -> str:
    """A file's name without its folder, for tables and figures; any other name as it is.

    Examples
    --------
    >>> short_name("some/folder/mine.csv"), short_name("diabetes")
    ('mine.csv', 'diabetes')
    """
    return PurePath(name).name or name


def local_path(name: str) -> Path | None:
    """The path that a name means: one that exists, or one that is written as a path is; None for any other name.

    Raises
    ------
    OptionError
        A pickle.
    DataError
        A path, and nothing is there.

    Examples
    --------
    >>> local_path("digits") is None
    True
    >>> local_path("no/such.csv")
    Traceback (most recent call last):
    uqkd.errors.DataError: data no/such.csv does not exist (looked in ...); check the path.
    """
    from uqkd.store import refuse_unsafe

    path = Path(name).expanduser()
    if path.exists():
        refuse_unsafe(name)
        return path
    if "." not in name and "/" not in name:
        return None
    refuse_unsafe(name)
    raise DataError(f"data {name} does not exist (looked in {path.resolve().parent}); check the path.")


def warn_of_namesake(name: str, known: Iterable[str]) -> None:
    """A name of a data set stays one where a file or folder of that name lies in the folder worked in; a warning says so."""
    if name in known and Path(name).exists():
        warnings.warn(
            f"data {name!r} is the data set of that name; to read what lies in {Path.cwd()} under it, give './{name}'.",
            UqkdWarning,
            stacklevel=3,
        )


def load(name: str, *, target: str | None = None) -> Dataset:
    """Load a data set by name, by path, or from OpenML.

    Parameters
    ----------
    name : str
        One of `OFFLINE`; the path of a `.csv` or `.parquet` file; or "openml:NAME", which needs a network once.
    target : str, optional
        Column to predict. Needed for a file; every other column is a feature and must be numeric.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        Missing file or column, text in a numeric column, NaN or inf, a constant column, no rows, n <= p: one line
        that names the place.
    OptionError
        Unknown name.

    Examples
    --------
    >>> dataset = load("diabetes")
    >>> dataset.X.shape, dataset.target
    ((442, 10), 'target')
    """
    if name in OFFLINE:
        return _bundled(name, target)
    if name.startswith("openml:"):
        frame, found = from_openml(name.removeprefix("openml:"))
    elif "." in name or "/" in name:
        frame, found = read_file(Path(name).expanduser()), None
    else:
        raise OptionError(f"data got {name!r}; {nearest(name, OFFLINE)}, a .csv or .parquet path, or openml:NAME.")
    return from_frame(frame, name=name, target=target or found)


@lru_cache(maxsize=32)
def _bundled(name: str, target: str | None) -> Dataset:
    import pandas as pd

    if name == "diabetes":
        from sklearn.datasets import load_diabetes

        frame, found = load_diabetes(as_frame=True, scaled=False).frame, "target"
    else:
        import statsmodels.datasets as bundled

        package = getattr(bundled, name).load_pandas()
        endog = pd.Series(package.endog)
        frame, found = pd.concat([package.exog, endog], axis=1), str(endog.name)
    return from_frame(frame, name=name, target=target or found)


def read_file(path: Path) -> Any:
    """A `.csv` or `.parquet` file as a data frame; what only looks like one is refused in one line."""
    import pandas as pd

    from uqkd.store import refuse_unsafe

    refuse_unsafe(str(path))
    readers: dict[str, Callable[[Path], Any]] = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    kind = path.suffix.lower()
    if kind not in readers:
        raise DataError(f"data {path} ends in {path.suffix!r}; a .csv or a .parquet file is needed.")
    if not path.is_file():
        raise DataError(f"data {path} does not exist (looked in {path.resolve().parent}); check the path.")
    try:
        frame = readers[kind](path)
        names = _header(path) if kind == ".csv" else [str(c) for c in frame.columns]
    except UnicodeDecodeError as error:
        raise DataError(
            f"data {path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8."
        ) from error
    except (ValueError, OSError) as error:  # parser and Arrow errors are all of these kinds
        raise DataError(f"data {path} cannot be read as {kind[1:]}: {str(error).splitlines()[0]}") from error
    if len(names) == 1 and any(mark in names[0] for mark in ";\t"):
        raise DataError(
            f"data {path} has one column named {names[0]!r}: it seems to be separated by ';' or tabs. Save it with commas "
            "between columns and points in decimals."
        )
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise DataError(f"data {path} names the column {twice[0]!r} twice; rename one.")
    return frame


def _header(path: Path) -> list[str]:
    """Column names as they stand in a CSV file; pandas would rename repeated ones."""
    with path.open(newline="", encoding="utf-8-sig") as lines:
        return next(csv.reader(lines), [])


def from_openml(name: str, *, offline: Sequence[str] = OFFLINE) -> tuple[Any, str]:
    """A data frame from OpenML and the name of its target; the error names what is there `offline`."""
    from sklearn.datasets import fetch_openml

    try:
        bunch = fetch_openml(name=name, version="active", as_frame=True, parser="auto")
    except Exception as error:  # network, server and parsing errors of many libraries: one line for all
        raise DataError(
            f"OpenML data {name!r} could not be fetched ({type(error).__name__}: {str(error).splitlines()[0][:120]}); "
            f"it needs a network the first time. Offline: {', '.join(offline)}."
        ) from error
    return bunch.frame, str(bunch.target.name)
