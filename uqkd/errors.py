"""Typed errors. Each message says what was asked, what was seen and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable

_DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "pyyaml"}  # libraries that are imported under another name


class UqkdError(Exception):
    """Base of every error that uqkd raises on purpose; the command line shows it in one line."""


class ShapeError(UqkdError, ValueError):
    """An array has the wrong number of axes, too few entries on one, or does not fit another array."""


class NotFiniteError(UqkdError, ValueError):
    """NaN or infinity where numbers are needed."""


class OptionError(UqkdError, ValueError):
    """An unknown option, preset, method or field, or a value outside its range."""


class DataError(UqkdError, ValueError):
    """A data set, prompts file or table cannot be used as it is."""


class RankError(DataError):
    """A design matrix is rank-deficient or too close to it."""


class LibraryError(OptionError):
    """A library that this part needs is not installed."""


class VarianceError(UqkdError, ValueError):
    """A variance that must be positive or estimable is not."""


class SeedReuseError(UqkdError):
    """The same seed key was used twice in one run."""


class IndependenceError(UqkdError):
    """Draws that must be independent are not."""


class StoreError(UqkdError):
    """A result could not be written or read; everything committed before is intact."""


class ProvenanceError(StoreError):
    """Results of different code, versions, data or parameters would be mixed."""


class PreflightError(UqkdError):
    """Tokenizer, model and prompts do not fit; shown with token ids and mask before any expensive work."""


class WorkerError(UqkdError):
    """A worker process died or a unit of work failed; finished units are committed."""


class DivergedError(UqkdError):
    """Students whose loss or gradient was no longer finite would be used as if they were trained."""


class UqkdWarning(UserWarning):
    """Base of the warnings: the result stands, but the reader must know something about it."""


class FewResponsesWarning(UqkdWarning):
    """Variances estimated from so few responses that the weights cost accuracy."""


class UnidentifiedWarning(UqkdWarning):
    """Prompts whose responses are too few to estimate something; means over prompts leave them out."""


def nearest(value: object, valid: Iterable[object]) -> str:
    """A hint listing the valid names, with the nearest one first.

    Examples
    --------
    >>> nearest("quik", ["quick", "paper"])
    "did you mean 'quick'? Valid: 'paper', 'quick'"
    """
    names = sorted(str(v) for v in valid)
    close = difflib.get_close_matches(str(value), names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}Valid: {', '.join(repr(n) for n in names)}"


def one_of(argument: str, value: str, valid: Iterable[str]) -> str:
    """Return `value` if it is one of `valid`; otherwise raise `OptionError` naming the nearest.

    Examples
    --------
    >>> one_of("method", "mls", ["mls", "chi2"])
    'mls'
    """
    names = list(valid)
    if value not in names:
        raise OptionError(f"{argument} got {value!r}; {nearest(value, names)}.")
    return value


def extra_of(library: str) -> str:
    """The extra of uqkd that brings a library, as the installed package declares it; empty if none does.

    Examples
    --------
    >>> extra_of("sklearn"), extra_of("torch"), extra_of("numpy")
    ('studies', 'torch', '')
    """
    import importlib.metadata  # slow to load, and only needed where something is missing

    try:
        declared = importlib.metadata.requires("uqkd") or []
    except importlib.metadata.PackageNotFoundError:
        return ""
    wanted = _DISTRIBUTIONS.get(library, library.replace("_", "-")).lower()
    for line in declared:  # such as: pandas>=2.2; extra == "studies"
        found = re.match(r"""([\w.-]+)[^;]*;.*\bextra == ["']([\w-]+)["']""", line)
        if found and found[1].lower() == wanted:
            return found[2]
    return ""


def missing_library(what: str, problem: ModuleNotFoundError, *, together: Collection[str] = ()) -> LibraryError | None:
    """The error that says which extra brings what could not be imported; None if no extra of uqkd does.

    Parameters
    ----------
    what : str
        What needs the library.
    problem : ModuleNotFoundError
        Of its import.
    together : collection of str
        Extras that `what` needs in any case: if the library is in one of them, all are named at once.

    Examples
    --------
    >>> print(missing_library("uqkd study", ModuleNotFoundError(name="pandas")))
    uqkd study needs pandas, which is not installed: pip install 'uqkd[studies]'.
    >>> missing_library("uqkd study", ModuleNotFoundError(name="pandas.nothing")) is None
    True
    """
    library = problem.name or ""  # with a dot it is a part that an installed library lacks: no extra brings that
    if not (extra := extra_of(library)):
        return None
    extras = ",".join(together) if extra in together else extra
    return LibraryError(f"{what} needs {library}, which is not installed: pip install 'uqkd[{extras}]'.")
