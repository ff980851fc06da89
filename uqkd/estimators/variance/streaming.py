"""Moments of a stream of replicates in memory that does not grow with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.checking.arrays import same_shape, shaped
from uqkd.errors import ShapeError, VarianceError

Array = NDArray[np.float64]

# Squared distance of centre and mean, in variances, up to which squares about the centre give the variance's standard
# error: a distance of √.05 sd adds at most 4·.05 to the square of a Gaussian's, 10 % to the error itself.
OFF_CENTRE = 0.05


@dataclass(frozen=True)
class Moments:
    """Sums of powers of deviations from a fixed centre, per point; begun by `Moments.about`, grown by `add`.

    Choose the centre near the mean (a teacher's answer, the first replicate): then the sums lose no digits to a
    large offset, and adding up blocks in any grouping agrees to rounding.

    Attributes
    ----------
    count : int
        AtLeastTwo so far.
    centre : (P,) float
    powers : (4, P) float
        Sums over replicates of (x − centre)¹ ... (x − centre)⁴.
    row_squares : (2,) float
        Sums over replicates of u and u², u the replicate's mean over points of (x − centre)².
    """

    count: int
    centre: Array
    powers: Array
    row_squares: Array

    @classmethod
    def about(cls, centre: ArrayLike) -> Moments:
        """An empty stream about a centre (P,)."""
        fixed = shaped("centre", centre, "P")
        return cls(0, fixed, np.zeros((4, len(fixed))), np.zeros(2))

    @classmethod
    def of(cls, values: ArrayLike) -> Moments:
        """All replicates (B, P) at once, about their own mean, for what has no known centre.

        Examples
        --------
        >>> Moments.of([[1.0, 2.0], [3.0, 2.0]]).mean_variance
        1.0
        """
        block = shaped("values", values, "B P")
        return cls.about(block.mean(axis=0)).add(block)

    def add(self, values: ArrayLike) -> Moments:
        """The stream with one more block of replicates (B, P).

        Raises
        ------
        ShapeError
            Wrong axes or another number of points.
        NotFiniteError
            Any NaN or inf: a replicate is never dropped.

        Examples
        --------
        >>> stream = Moments.about([0.0]).add([[1.0], [3.0]]).add([[5.0]])
        >>> stream.mean, stream.variance
        (array([3.]), array([4.]))
        """
        block = shaped("values", values, "B P")
        same_shape("centre", self.centre, "one replicate", block[0])
        d = block - self.centre
        squared = d * d
        ones = np.ones(len(block))  # sums over replicates as products: several times faster than reductions
        powers = np.stack([ones @ d, ones @ squared, ones @ (squared * d), ones @ (squared * squared)])
        per_row = squared @ np.full(d.shape[1], 1.0 / d.shape[1])
        return self.merge(Moments(len(block), self.centre, powers, np.array([per_row.sum(), per_row @ per_row])))

    def merge(self, other: Moments) -> Moments:
        """Moments of both streams; they must share the centre."""
        if not np.array_equal(self.centre, other.centre):
            raise ShapeError("moments about different centres cannot be merged; begin both about one centre.")
        return Moments(
            self.count + other.count, self.centre, self.powers + other.powers, self.row_squares + other.row_squares
        )

    @property
    def mean(self) -> Array:
        """(P,) mean."""
        return np.asarray(self.centre + self.powers[0] / self.count)

    @property
    def mean_se(self) -> Array:
        """(P,) standard error of `mean`."""
        return np.sqrt(self.variance / self.count)

    @property
    def variance(self) -> Array:
        """(P,) variance over replicates, ddof 1."""
        self._enough()
        first, second = self.powers[:2]
        return np.asarray((second - first**2 / self.count) / (self.count - 1))

    @property
    def variance_se(self) -> Array:
        """(P,) standard error of `variance`, from the fourth moment: no distribution is assumed."""
        n, shift = self.count, self.powers[0] / self.count
        fourth = self.powers[3] / n - 4 * shift * self.powers[2] / n + 6 * shift**2 * self.powers[1] / n - 3 * shift**4
        return np.sqrt(np.maximum(fourth - self.variance**2, 0.0) / n)

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
        off = float((self.powers[0] ** 2).mean()) / self.count**2
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
        total, squares = self.row_squares
        return float(np.sqrt(max(squares - total**2 / self.count, 0.0) / (self.count - 1) / self.count))

    @property
    def mean_square(self) -> float:
        """Mean over replicates and points of (x − centre)²: the mean squared error, where the centre is the truth."""
        return float(self.row_squares[0] / self.count)

    def _enough(self) -> None:
        if self.count < 2:
            raise ShapeError(f"a variance needs at least 2 replicates; got {self.count}.")
