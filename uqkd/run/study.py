"""A study file: one question, its options and presets, its cells, how one cell is measured, and the figure.

>>> Options.model_config["extra"]
'forbid'
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import pydantic

from uqkd.errors import OptionError, UqkdError, missing_library, nearest
from uqkd.run.bundled import bundled_file
from uqkd.store.units import canonical_json

_PARTS = ("Options", "PRESETS", "cells", "measure", "main")  # what every study file has


# Ranges that the options of several studies share.
AtLeastTwo = Annotated[int, pydantic.Field(ge=2)]  # a variance needs two
PositiveInt = Annotated[int, pydantic.Field(ge=1)]
PositiveFloat = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, pydantic.Field(gt=0, le=1)]


class Options(pydantic.BaseModel):
    """Base of every study's options: unknown fields are errors, values never change.

    Examples
    --------
    >>> class Mine(Options):
    ...     k: int = 4
    >>> Mine(k=8).json_text
    '{"k":8}'
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    @property
    def json_text(self) -> str:
        """Canonical JSON, the fingerprint of the options."""
        return canonical_json(self.model_dump(mode="json"), name=type(self).__name__)


@dataclass(frozen=True)
class Study:
    """A loaded study file; made by `load_study`."""

    name: str
    file: Path
    module: ModuleType

    @property
    def question(self) -> str:
        """First line of the file's docstring."""
        return (self.module.__doc__ or self.name).strip().splitlines()[0]

    @property
    def main(self) -> Callable[..., Any]:
        """The study's `main(options, run)`."""
        return self.module.main  # type: ignore[no-any-return]

    def options(self, preset: str = "quick", overrides: Mapping[str, Any] | None = None) -> Options:
        """Options of a preset, with single fields replaced; one value stands for a list of one.

        Raises
        ------
        OptionError
            Unknown preset or field (names the nearest), or a value that does not fit.
        """
        presets: dict[str, Options] = self.module.PRESETS
        if preset not in presets:
            raise OptionError(f"study {self.name!r} has no preset {preset!r}; {nearest(preset, presets)}.")
        base, changes = presets[preset], dict(overrides or {})
        for field in changes:
            if field not in type(base).model_fields:
                fields = nearest(field, type(base).model_fields)
                raise OptionError(f"study {self.name!r} has no option {field!r}; {fields}.")
            if isinstance(getattr(base, field), tuple) and not isinstance(changes[field], (tuple, list)):
                changes[field] = (changes[field],)  # `--data wine` where a study takes several
        try:
            return type(base).model_validate({**base.model_dump(), **changes})
        except pydantic.ValidationError as problem:
            raise OptionError(f"study {self.name!r}: {one_line(problem)}") from None


def one_line(problem: pydantic.ValidationError) -> str:
    """A validation error in one line: each field, the value seen, the reason.

    Examples
    --------
    >>> try:
    ...     pydantic.TypeAdapter(int).validate_python("x")
    ... except pydantic.ValidationError as problem:
    ...     print(one_line(problem))
    value got 'x': Input should be a valid integer, unable to parse string as an integer
    """
    lines = []
    for error in problem.errors(include_url=False):
        field, given = ".".join(map(str, error["loc"])), f"got {error['input']!r}: {error['msg']}"
        ours = error.get("ctx", {}).get("error")  # what a check of several options together says
        lines.append(f"option {field!r} {given}" if field else f"value {given}" if ours is None else str(ours))
    return "; ".join(lines)


def find_study(name_or_file: str | Path, *, folder: str | Path | None = None) -> Path:
    """Path of a study file; a bare name is a file in `folder`, or in ./studies, or one that comes with uqkd.

    Raises
    ------
    OptionError
        No such file; names the nearest study.
    """
    text = str(name_or_file)
    path = Path(text)
    if path.suffix == ".py" and path.is_file():
        return path.resolve()
    if "/" not in text:
        for place in study_folders(folder):
            bare = place / f"{text.removesuffix('.py')}.py"
            if bare.is_file():
                return bare.resolve()
    if path.suffix == ".py" or "/" in text:
        raise OptionError(f"there is no study file {text!r}; a study is a .py file. Check the path.")
    where = "./studies or with uqkd" if folder is None else f"{folder}/"
    if not study_names(folder):
        raise OptionError(f"there is no study {text!r}: no studies in {where}. Run where they are, or give a file.")
    raise OptionError(f"there is no study {text!r} in {where}; {nearest(text, study_names(folder))}.")


def study_folders(folder: str | Path | None = None) -> tuple[Path, ...]:
    """Where bare names are looked up, in this order: `folder` alone, or ./studies and then those that come with uqkd."""
    return (Path("studies"), bundled_file("studies")) if folder is None else (Path(folder),)


def study_names(folder: str | Path | None = None) -> list[str]:
    """Names of the studies where `find_study` looks, sorted; files that begin with '_' are not studies."""
    files = (file for place in study_folders(folder) for file in place.glob("*.py"))
    return sorted({file.stem for file in files if not file.stem.startswith("_")})


def load_study(name_or_file: str | Path, *, folder: str | Path | None = None) -> Study:
    """Load a study file and check that it has all its parts.

    Parameters
    ----------
    name_or_file : str or path
        A file, or the name of one in `folder`.
    folder : path, optional
        Where bare names are looked up, instead of ./studies and what comes with uqkd.

    Raises
    ------
    OptionError
        There is no such study, it does not load, or a part is missing; `LibraryError` if that is a library.

    Examples
    --------
    >>> load_study("no_such_study", folder="no_such_folder")
    Traceback (most recent call last):
    uqkd.errors.OptionError: there is no study 'no_such_study': no studies in no_such_folder/. Run where they are, or give a file.
    """
    file = find_study(name_or_file, folder=folder)
    return _load(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _load(file: Path, _modified: int) -> Study:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", file.stem):
        raise OptionError(f"study file {file.name!r} names a folder of results; use letters, digits, '_', '-' and '.'.")
    module_name = f"uqkd_study_{file.stem}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    assert spec is not None  # a .py file always has one
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # pydantic looks its annotations up there
    try:
        spec.loader.exec_module(module)
    except UqkdError:
        raise
    except pydantic.ValidationError as problem:
        raise OptionError(f"study file {file.name} has bad presets: {one_line(problem)}") from None
    except ModuleNotFoundError as problem:
        if explained := missing_library(f"study {file.stem!r}", problem):
            raise explained from None
        raise OptionError(f"study file {file.name} does not load: ModuleNotFoundError: {problem}") from problem
    except Exception as problem:
        raise OptionError(f"study file {file.name} does not load: {type(problem).__name__}: {problem}") from problem
    if missing := [part for part in _PARTS if not hasattr(module, part)]:
        raise OptionError(f"study file {file.name} lacks {', '.join(missing)}; a study has {', '.join(_PARTS)}.")
    return Study(name=file.stem, file=file, module=module)
