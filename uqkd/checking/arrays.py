"""Argument checks shared by the estimators: whatever comes in leaves as finite float64 of the shape asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError

Array = NDArray[np.float64]

# What an axis letter stands for, in the words of an error message.
AXES = {
    "S": "students",
    "P": "prompts",
    "R": "responses per prompt",
    "k": "teacher responses per prompt",
    "D": "output dimensions",
    "C": "classes",
    "m": "sources",
    "n": "points",
}


def finite(name: str, value: Any) -> Array:
    """Return `value` as a float64 array, or refuse it.

    Parameters
    ----------
    name : str
        The argument's name as the caller typed it; every message begins with it.
    value : array_like
        Any shape; bool, integer or floating; masked entries are refused as NaN is.

    Returns
    -------
    float64 array
        Same shape. The input itself where it is a float64 array already (estimators never write to it).

    Raises
    ------
    NotFiniteError
        Any NaN, infinity or masked entry; names the count, and the first index.
    ShapeError
        A ragged or an empty array.
    DataError
        Entries that are not real numbers.

    Examples
    --------
    >>> finite("draws", [1, 2])
    array([1., 2.])
    >>> finite("draws", [[1.0, float("nan")]])
    Traceback (most recent call last):
        ...
    uqkd.errors.NotFiniteError: draws holds 1 value that is not finite among 2; the first is nan at index (0, 1). ...
    """
    array = _numeric(name, value)
    _refuse(name, array, np.isfinite(array))
    return array


def gapped(name: str, value: Any) -> Array:
    """Return `value` as a float64 array in which NaN stands for what is missing (masked entries too); infinities are refused.

    Raises
    ------
    As `finite`, except of NaN.

    Examples
    --------
    >>> gapped("draws", np.ma.masked_equal([1, 2, 0], 0))
    array([ 1.,  2., nan])
    """
    if isinstance(value, np.ma.MaskedArray):  # what others refuse: here a mask has a meaning
        value = np.ma.filled(value.astype(np.float64), np.nan)
    array = _numeric(name, value)
    _refuse(name, array, ~np.isinf(array))
    return array


def _refuse(name: str, array: Array, good: NDArray[np.bool_]) -> None:
    if array.size == 0:
        raise ShapeError(f"{name} is empty (shape {array.shape}); at least one value is needed.")
    if not good.all():
        count = int(array.size - np.count_nonzero(good))
        first = tuple(int(i) for i in np.unravel_index(int(np.argmin(good)), array.shape))
        where = f"at index {first}" if len(first) != 1 else f"at index {first[0]}"
        raise NotFiniteError(
            f"{name} holds {count} value{'s' * (count > 1)} that {'are' if count > 1 else 'is'} not finite among "
            f"{array.size}; the first is {array[first]} {where}. Find out where they come from; none is dropped here."
        )


def unmasked(name: str, value: Any) -> Any:
    """Return `value` unless entries of it are masked, of a list of masked arrays too: NumPy drops masks without a word.

    Examples
    --------
    >>> unmasked("draws", np.ma.array([1, 2], mask=[False, True]))
    Traceback (most recent call last):
        ...
    uqkd.errors.NotFiniteError: draws holds 1 masked value among 2. Leave such rows out, or fill them with what ...
    """
    parts = _masked_parts(value)
    count = sum(int(np.ma.getmaskarray(part).sum()) for part in parts)
    if count:
        size = sum(part.size for part in parts)
        raise NotFiniteError(
            f"{name} holds {count} masked value{'s' * (count > 1)} among {size}. Leave such rows out, or fill them with "
            "what they stand for; none is dropped here."
        )
    return value


def _masked_parts(value: Any) -> list[Any]:
    """The masked arrays in nested lists; the first entry says whether a list is one of arrays."""
    if isinstance(value, np.ma.MaskedArray):
        return [value]
    if isinstance(value, list | tuple) and any(isinstance(part, list | tuple | np.ma.MaskedArray) for part in value):
        return [found for part in value for found in _masked_parts(part)]
    return []


def numpy_of(value: Any, name: str = "the array") -> Any:
    """The NumPy array of a torch tensor, whatever its precision and device and with a gradient too; anything else as it is.

    Masked entries are refused, see `unmasked`.
    """
    unmasked(name, value)
    if not callable(getattr(value, "detach", None)):
        return value
    held = value.detach()
    if str(held.dtype) == "torch.bfloat16":  # which NumPy does not have
        held = held.float()
    return held.cpu().numpy()


def _numeric(name: str, value: Any) -> Array:
    try:
        raw = np.asarray(numpy_of(value, name))
    except NotFiniteError:
        raise
    except ValueError as error:
        raise ShapeError(f"{name} is ragged: its rows differ in length ({error}). Pass equal lengths.") from error
    except (TypeError, RuntimeError) as error:  # such as a list of tensors that require a gradient
        raise DataError(
            f"{name} does not become an array ({one_line(error)}). Pass one NumPy array or one tensor."
        ) from error
    if raw.dtype.kind == "O":
        try:
            raw = raw.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"{name} holds something that is not a number ({error}). Pass real numbers.") from error
    if raw.dtype.kind not in "biuf":
        raise DataError(f"{name} must hold real numbers; got dtype {raw.dtype}. Convert it first.")
    return raw.astype(np.float64, copy=False)


def known_or_nan(name: str, value: Any) -> Array:
    """Return `value` as float64, NaN where it is unknown; masked, infinite and missing values and words are refused.

    For what is drawn as a bar or averaged over students: an unknown standard error stays unknown, and is not drawn.

    Examples
    --------
    >>> known_or_nan("values", [1, float("nan")])
    array([ 1., nan])
    >>> known_or_nan("values", [1.0, float("inf")])
    Traceback (most recent call last):
        ...
    uqkd.errors.NotFiniteError: values holds an infinite number at index (1,). Find out where it comes from.
    """
    array = _numeric(name, value)
    if array.size == 0:
        raise ShapeError(f"{name} is empty (shape {array.shape}); at least one value is needed.")
    if (endless := np.isinf(array)).any():
        place = tuple(int(i) for i in np.unravel_index(int(endless.argmax()), array.shape))
        raise NotFiniteError(f"{name} holds an infinite number at index {place}. Find out where it comes from.")
    return array


def one_line(error: Exception) -> str:
    """The first line of what another library says."""
    return next(iter(str(error).splitlines()), "")[:120]


def shaped(name: str, value: Any, *layouts: str, need: dict[str, int] | None = None) -> Array:
    """Return `value` as finite float64 whose axes fit one of `layouts`, such as ``"S P R"`` or ``"m P"``.

    Parameters
    ----------
    name : str
        The argument's name.
    value : array_like
        The array to check.
    *layouts : str
        Axis letters separated by blanks; the number of axes decides which layout is meant.
    need : dict of str to int, optional
        Least length by axis letter, ``{"S": 2}``.

    Returns
    -------
    float64 array
        Same shape.

    Raises
    ------
    ShapeError
        Wrong number of axes, or an axis that is too short; names the axes and the lengths seen.
    NotFiniteError
        See `finite`.

    Examples
    --------
    >>> shaped("estimates", [1, 2], "m", "m P", need={"m": 2})
    array([1., 2.])
    >>> shaped("estimates", [1], "m", "m P", need={"m": 2})
    Traceback (most recent call last):
        ...
    uqkd.errors.ShapeError: estimates needs m >= 2 sources; got shape (m=1).
    """
    array = finite(name, value)
    fits = [layout.split() for layout in layouts if len(layout.split()) == array.ndim]
    if not fits:
        wanted = " or ".join(f"({', '.join(layout.split())})" for layout in layouts)
        raise ShapeError(f"{name} needs axes {wanted}; got {array.ndim} axes of shape {array.shape}.")
    axes = fits[0]
    seen = ", ".join(f"{letter}={length}" for letter, length in zip(axes, array.shape, strict=True))
    for letter, length in zip(axes, array.shape, strict=True):
        least = (need or {}).get(letter, 1)
        if length < least:
            raise ShapeError(f"{name} needs {letter} >= {least} {AXES.get(letter, 'entries')}; got shape ({seen}).")
    return array


def draws(name: str, array: Any, *, need_students: int = 2, need_responses: int = 2) -> Array:
    """Return draws (S, P, R[, D]) as finite float64 with enough students and responses.

    Parameters
    ----------
    name : str
        The argument's or the function's name; every message begins with it.
    array : (S, P, R) or (S, P, R, D) array_like
        Response r of student s to prompt p.
    need_students, need_responses : int
        Least S and R.

    Returns
    -------
    float64 array
        Same shape.

    Raises
    ------
    ShapeError
        Not three or four axes, or too few students or responses.
    NotFiniteError
        See `finite`.

    Examples
    --------
    >>> draws("draws", [[[1, 3]], [[5, 7]]]).shape
    (2, 1, 2)
    >>> draws("draws", [[[1], [2]], [[5], [7]]])
    Traceback (most recent call last):
        ...
    uqkd.errors.ShapeError: draws needs R >= 2 responses per prompt; got shape (S=2, P=2, R=1).
    """
    try:
        return shaped(name, array, "S P R", "S P R D", need={"S": need_students, "R": need_responses})
    except NotFiniteError as error:
        raise NotFiniteError(
            f"{error} If NaN stands for a response that was not given: decompose_unbalanced."
        ) from None


def same_shape(name: str, array: Array, other_name: str, other: Array) -> None:
    """Raise `ShapeError` unless the two arrays have one shape."""
    if array.shape != other.shape:
        raise ShapeError(f"{name} has shape {array.shape} but {other_name} has {other.shape}; they must be equal.")


def confidence_level(level: float) -> float:
    """Return `level` as a float if 0 < level < 1; otherwise raise `OptionError`.

    Examples
    --------
    >>> confidence_level(0.95)
    0.95
    """
    if isinstance(level, bool) or not isinstance(level, (int, float, np.floating)) or not 0.0 < level < 1.0:
        raise OptionError(f"level must lie strictly between 0 and 1, such as 0.95; got {level!r}.")
    return float(level)


def float_or_array(value: Any) -> Any:
    """A number of one model as float, numbers of several as an array."""
    return float(value) if np.ndim(value) == 0 else np.asarray(value)
