"""Moments of a stream of replicates in memory that does not grow with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.checking.arrays import same_shape, shaped
from uqkd.checking.variation import raisable
from uqkd.errors import ShapeError, VarianceError

Array = NDArray[np.float64]

# Squared distance of centre and mean, in variances, up to which squares about the centre give the variance's standard
# error: a distance of √.05 sd adds at most 4·.05 to the square of a Gaussian's, 10 % to the error itself.
OFF_CENTRE = 0.05


@dataclass(frozen=True)
class Moments:
    """Central sums of a stream of replicates, per point; begun by `Moments.about`, grown by `add`.

    Sums are taken about the stream's own running mean, so no digits are lost to an offset, wherever the centre lies; adding
    up blocks in any grouping agrees to rounding. The centre is what `mean_square` is about.

    Attributes
    ----------
    count : int
        Replicates so far.
    centre : (P,) float
    offset : (P,) float
        Mean of x − centre.
    powers : (3, P) float
        Sums over replicates of (x − mean)², (x − mean)³ and (x − mean)⁴.
    row_squares : (2,) float
        Of u, a replicate's mean over points of (x − centre)²: its mean, and the sum of its squared deviations.
    """

    count: int
    centre: Array
    offset: Array
    powers: Array
    row_squares: Array

    @classmethod
    def about(cls, centre: ArrayLike) -> Moments:
        """An empty stream about a centre (P,)."""
        fixed = shaped("centre", centre, "P")
        return cls(0, fixed, np.zeros(len(fixed)), np.zeros((3, len(fixed))), np.zeros(2))

    @classmethod
    def of(cls, values: ArrayLike) -> Moments:
        """All replicates (B, P) at once, about their own mean, for what has no known centre.

        Examples
        --------
        >>> Moments.of([[1.0, 2.0], [3.0, 2.0]]).mean_variance
        1.0
        """
        block = raisable("values", shaped("values", values, "B P"), 4)
        return cls.about(block.mean(axis=0)).add(block)

    def add(self, values: ArrayLike) -> Moments:
        """The stream with one more block of replicates (B, P).

        Raises
        ------
        ShapeError
            Wrong axes or another number of points.
        NotFiniteError
            Any NaN or inf: a replicate is never dropped.
        DataError
            Values whose fourth powers leave float64.

        Examples
        --------
        >>> stream = Moments.about([0.0]).add([[1.0], [3.0]]).add([[5.0]])
        >>> stream.mean, stream.variance
        (array([3.]), array([4.]))
        """
        block = raisable("values", shaped("values", values, "B P"), 4)
        same_shape("centre", self.centre, "one replicate", block[0])
        n, d = len(block), block - self.centre
        ones = np.ones(n)  # sums over replicates as products: several times faster than reductions
        per_row = np.square(d) @ np.full(d.shape[1], 1.0 / d.shape[1])
        offset = ones @ d / n
        d -= offset
        left = ones @ d / n  # what rounding left of the mean
        d -= left
        squared = np.square(d)
        powers = np.stack([ones @ squared, ones @ (squared * d), ones @ np.square(squared)])
        of_row = np.array([per_row.mean(), ((per_row - per_row.mean()) ** 2).sum()])
        return self.merge(Moments(n, self.centre, offset + left, powers, of_row))

    def merge(self, other: Moments) -> Moments:
        """Moments of both streams; they must share the centre.

        Notes
        -----
        Chan, Golub & LeVeque (1983); third and fourth powers by Pébay (2008).
        """
        if not np.array_equal(self.centre, other.centre):
            raise ShapeError("moments about different centres cannot be merged; begin both about one centre.")
        if not self.count or not other.count:
            return other if other.count else self
        n = self.count + other.count
        a, b = self.count / n, other.count / n
        gap = other.offset - self.offset
        (second, third, fourth), (second_b, third_b, fourth_b) = self.powers, other.powers
        between = n * a * b * gap**2
        powers = np.stack([
            second + second_b + between,
            third + third_b + between * gap * (a - b) + 3.0 * gap * (a * second_b - b * second),
            fourth + fourth_b + between * gap**2 * (a * a - a * b + b * b)
            + 6.0 * gap**2 * (a * a * second_b + b * b * second) + 4.0 * gap * (a * third_b - b * third),
        ])  # fmt: skip
        rise = other.row_squares[0] - self.row_squares[0]
        of_row = self.row_squares[1] + other.row_squares[1] + n * a * b * rise**2
        rows = np.array([self.row_squares[0] + b * rise, of_row])
        return Moments(n, self.centre, self.offset + b * gap, powers, rows)

    @property
    def mean(self) -> Array:
        """(P,) mean."""
        return np.asarray(self.centre + self.offset)

    @property
    def mean_se(self) -> Array:
        """(P,) standard error of `mean`."""
        return np.sqrt(self.variance / self.count)

    @property
    def variance(self) -> Array:
        """(P,) variance over replicates, ddof 1."""
        self._enough()
        return np.asarray(self.powers[0] / (self.count - 1))

    @property
    def variance_se(self) -> Array:
        """(P,) standard error of `variance`, from the fourth moment: no distribution is assumed."""
        return np.sqrt(np.maximum(self.powers[2] / self.count - self.variance**2, 0.0) / self.count)

    @property
    def mean_variance(self) -> float:
        """Variance over replicates, averaged over points."""
        return float(self.variance.mean())

    @property
    def mean_variance_se(self) -> float:
        """Standard error of `mean_variance` over replicates; points of one replicate may be dependent.

        Raises
        ------
        VarianceError
            The centre is too far from the mean: squares about it say nothing of the variance's own error.
        """
        self._enough()
        off = float((self.offset**2).mean())
        rounding = 1e-20 * float((self.centre**2).mean())
        if off > (OFF_CENTRE + 10 / self.count) * self.mean_variance + rounding:
            raise VarianceError(
                f"mean_variance_se needs a centre near the mean: their mean squared distance is {off:.3g}, the variance "
                f"{self.mean_variance:.3g}. Begin the stream about the replicates' own mean, or that of a first block."
            )
        return self.mean_square_se

    @property
    def mean_square_se(self) -> float:
        """Standard error of `mean_square` over replicates; points of one replicate may be dependent."""
        self._enough()
        return float(np.sqrt(self.row_squares[1] / (self.count - 1) / self.count))

    @property
    def mean_square(self) -> float:
        """Mean over replicates and points of (x − centre)²: the mean squared error, where the centre is the truth."""
        return float(self.row_squares[0])

    def _enough(self) -> None:
        if self.count < 2:
            raise ShapeError(f"a variance needs at least 2 replicates; got {self.count}.")
