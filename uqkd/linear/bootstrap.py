"""Students trained on bootstrap resamples of the training rows (T9)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd import seeds
from uqkd.checking.arrays import shaped
from uqkd.errors import OptionError, RankError, ShapeError
from uqkd.linear.students import Students
from uqkd.theory.statements.design import CONDITION_LIMIT

Array = NDArray[np.float64]
BLOCK_VALUES = 4_000_000  # float64 values of resampled design held at a time (32 MB), so that memory stays flat


def bootstrap_students(
    X: ArrayLike, y: ArrayLike, *, drawn: int, students: int, key: tuple[Any, ...], deficient: str = "error"
) -> Students:
    """Least-squares students, each on its own resample (with replacement) of the rows; batched Householder QR.

    Parameters
    ----------
    X : (n, q) float
    y : (n,) float
        Labels of the rows: ground truth, or the teacher's answers.
    drawn : int
        Rows in each resample, > q.
    students : int
    key : tuple
        Names the stream; see `uqkd.seeds.generator`.
    deficient : {"error", "exclude"}
        What to do with resamples whose design is rank-deficient: refuse, or leave them out (fewer students come back).

    Returns
    -------
    Students
        `students` point students, fewer where deficient resamples were excluded.

    Raises
    ------
    RankError
        Deficient resamples, and they were not to be excluded: says how many.
    OptionError
        drawn <= q.

    Examples
    --------
    >>> X = np.column_stack([np.ones(6), np.arange(6.0)])
    >>> bootstrap_students(X, X @ [1.0, 2.0], drawn=6, students=2, key=("doc",)).coef.round(9)
    array([[1., 2.],
           [1., 2.]])
    """
    design, labels = shaped("X", X, "n q"), shaped("y", y, "n")
    if len(design) != len(labels):
        raise ShapeError(f"X has {len(design)} rows but y has {len(labels)} values; they must be equal.")
    width = design.shape[1]
    if drawn <= width or students < 1:
        raise OptionError(
            f"bootstrap_students needs drawn > q={width} rows and students >= 1; got {drawn}, {students}."
        )
    parts = []
    for chunk, size in seeds.chunks(students, values=drawn):
        rows = seeds.generator(*key, chunk).integers(len(design), size=(size, drawn))
        block = max(1, BLOCK_VALUES // (drawn * width))
        parts += [_solve(design[index], labels[index]) for index in np.array_split(rows, range(block, size, block))]
    coef, condition = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    full = condition < CONDITION_LIMIT
    if not full.all() and deficient != "exclude":
        raise RankError(
            f"{(~full).sum()} of {students} resamples of {drawn} rows have a rank-deficient design (q={width}); draw more "
            "rows, or pass deficient='exclude' and report how many are left."
        )
    return Students(coef[full], np.zeros(int(full.sum())))


def _solve(design: Array, labels: Array) -> tuple[Array, Array]:
    """Coefficients and condition numbers of a stack of least-squares problems (b, m, q), (b, m)."""
    q, r = np.linalg.qr(design)
    singular = np.linalg.svd(r, compute_uv=False)
    with np.errstate(divide="ignore"):
        condition = singular[:, 0] / singular[:, -1]
    safe = np.where((condition < CONDITION_LIMIT)[:, None, None], r, np.eye(r.shape[-1]))
    right = np.einsum("bmq,bm->bq", q, labels)
    return np.linalg.solve(safe, right[..., None])[..., 0], condition
