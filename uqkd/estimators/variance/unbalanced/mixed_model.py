"""The restricted likelihood of a linear mixed model with independent random intercepts, from sums of products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from uqkd.checking.arrays import finite, unmasked
from uqkd.checking.variation import raisable
from uqkd.errors import DataError, OptionError, ShapeError, nearest

Array = NDArray[np.float64]

_LARGEST = 1e8  # of a variance relative to the residual's: beyond it sums of products cancel


@dataclass(frozen=True)
class MixedModel:
    """y = Xβ + Σ Z_i u_i + e with u_i ~ N(0, σ_i²) and e ~ N(0, σ²), kept as sums of products; made by `mixed_model`.

    Attributes
    ----------
    count : int
        N, values.
    effects : int
        Random effects, in the order that they were asked for.
    largest : int
        The one of most levels, which is eliminated in closed form.
    repeats : (q,) float
        Values at each of its levels.
    crossed : (q, m) float
        Its products with the other columns: indicators of the other effects, then X, then y.
    products : (m, m) float
        Of these among themselves.
    effect_of : (m,) int
        Which effect an indicator belongs to; −1 for X and y.
    """

    count: int
    effects: int
    largest: int
    repeats: Array
    crossed: Array
    products: Array
    effect_of: NDArray[np.int64]

    def _reduced(self, ratio: Array) -> tuple[float, float, float, int]:
        """log|V|, log|XᵀV⁻¹X|, the residual sum of squares and N − p, for variances relative to the residual's."""
        ratio = np.minimum(ratio, _LARGEST)
        scale = ratio[self.largest]
        weight = scale / (1.0 + scale * self.repeats)
        inner = self.products - self.crossed.T @ (weight[:, None] * self.crossed)
        log_v = float(np.log1p(scale * self.repeats).sum())
        random = self.effect_of >= 0
        own, rest = int(random.sum()), inner[~random][:, ~random]
        if own:
            root = np.sqrt(ratio[self.effect_of[random]])
            factor = np.linalg.cholesky(np.eye(own) + root[:, None] * inner[random][:, random] * root)
            solved = np.linalg.solve(factor, root[:, None] * inner[random][:, ~random])
            rest = rest - solved.T @ solved
            log_v += 2.0 * float(np.log(np.diag(factor)).sum())
        upper = np.linalg.cholesky(rest)  # of [X y]ᵀV⁻¹[X y]: the last entry is the root of the residual
        diagonal = np.diag(upper)
        fixed = len(rest) - 1
        return log_v, 2.0 * float(np.log(diagonal[:-1]).sum()), float(diagonal[-1] ** 2), self.count - fixed

    def profiled(self, ratio: Array) -> tuple[float, float]:
        """The residual variance that fits best, and −2 log restricted likelihood there."""
        log_v, log_x, square, dof = self._reduced(ratio)
        return square / dof, log_v + log_x + dof * (1.0 + np.log(2.0 * np.pi * square / dof))

    def criterion(self, components: Array) -> float:
        """−2 log restricted likelihood at all components, the residual last."""
        residual = components[-1]
        log_v, log_x, square, dof = self._reduced(components[:-1] / residual)
        return log_v + log_x + dof * float(np.log(2.0 * np.pi * residual)) + square / residual


def mixed_model(table: Mapping[str, Any], effects: Sequence[str], *, fixed: Sequence[str], value: str) -> MixedModel:
    """Sums of products of a table in long form.

    Raises
    ------
    DataError, ShapeError
        As `reml_components`.

    Examples
    --------
    >>> model = mixed_model({"s": [0, 0, 1], "value": [1.0, 3.0, 5.0]}, ["s"], fixed=(), value="value")
    >>> model.count, model.repeats
    (3, array([2., 1.]))
    """
    if not effects or len({*effects, *fixed}) != len(effects) + len(fixed) or "residual" in effects:
        raise OptionError(
            "reml_components needs distinct effects, none of them 'residual' or fixed; got "
            f"effects {list(effects)} and fixed {list(fixed)}."
        )
    y = raisable(value, finite(value, _column(table, value)))
    if y.ndim != 1:
        raise ShapeError(f"reml_components needs one axis of values; got shape {y.shape}.")
    codes = [_levels(table, effect, len(y)) for effect in effects]
    _check(codes, effects, y)
    largest = int(np.argmax([code.max() for code in codes]))
    others = [i for i in range(len(codes)) if i != largest]
    x = [sparse.csr_matrix(np.ones((len(y), 1)))]
    x += [_indicator(_levels(table, name, len(y)))[:, 1:] for name in fixed]
    centre = float(y.mean())  # so that sums of squares do not cancel
    columns = sparse.hstack(
        [*[_indicator(codes[i]) for i in others], *x, sparse.csr_matrix((y - centre)[:, None])]
    ).tocsr()
    effect_of = np.concatenate(
        [np.full(codes[i].max() + 1, i) for i in others] + [np.full(sum(b.shape[1] for b in x) + 1, -1)]
    )
    first = _indicator(codes[largest])
    return MixedModel(
        len(y), len(codes), largest, np.bincount(codes[largest]).astype(np.float64),
        (first.T @ columns).toarray(), (columns.T @ columns).toarray(), effect_of.astype(np.int64),
    )  # fmt: skip


def _column(table: Mapping[str, Any], name: str) -> NDArray[Any]:
    columns = [str(key) for key in table.keys()]  # noqa: SIM118 - a data frame iterates like this too
    if name not in columns:
        raise DataError(f"reml_components found no column {name!r}; {nearest(name, columns)}.")
    return np.asarray(unmasked(name, table[name]))


def _levels(table: Mapping[str, Any], effect: str, count: int) -> NDArray[np.int64]:
    """Numbers 0, 1, … of the levels of a factor, or of an interaction that are there."""
    code = np.zeros(count, dtype=np.int64)
    for name in effect.split(":"):
        column = _column(table, name)
        if column.shape != (count,):
            raise ShapeError(
                f"reml_components needs one {name!r} for each of {count} values; got shape {column.shape}."
            )
        own = np.unique(column, return_inverse=True)[1]
        code = np.unique(code * (int(own.max()) + 1) + own, return_inverse=True)[1]
    return code.astype(np.int64)


def _indicator(code: NDArray[np.int64]) -> Any:
    rows = np.arange(len(code))
    return sparse.csr_matrix((np.ones(len(code)), (rows, code)), shape=(len(code), int(code.max()) + 1))


def _check(codes: Sequence[NDArray[np.int64]], effects: Sequence[str], y: Array) -> None:
    for code, effect in zip(codes, effects, strict=True):
        levels = int(code.max()) + 1
        if levels < 2:
            raise ShapeError(f"effect {effect!r} has one level only; a variance needs two or more.")
        if levels == len(y):
            raise ShapeError(
                f"effect {effect!r} has a level for each of {len(y)} values, which leaves nothing for the residual; leave it out."
            )
    if np.ptp(y) == 0:
        raise DataError(f"all {len(y)} values are {y[0]:g}: there is no variance to share out.")
