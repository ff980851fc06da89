"""Images that differ from those of the training: noise, blur, rotation, translation, each at five severities."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uqkd.data.synthetic.thinning import stream
from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError, one_of

Images = NDArray[np.floating[Any]]

# Strength at severities 1 ... 5. Noise: that of ImageNet-C (Hendrycks & Dietterich 2019), for pixels in [0, 1]. The others are
# ours, and in shares of the image's height where a length is meant, so that they also serve images of 8 or of 224 pixels.
SHIFTS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "noise": (0.08, 0.12, 0.18, 0.26, 0.38),  # standard deviation, in units of a pixel's range
        "blur": (0.02, 0.04, 0.06, 0.08, 0.12),  # standard deviation of the Gaussian, share of the height
        "rotation": (10.0, 20.0, 30.0, 45.0, 60.0),  # degrees
        "translation": (0.06, 0.12, 0.18, 0.25, 0.32),  # share of the height, both right and down
    }
)


def shifted(
    images: Any, name: str, severity: int, *, key: Any, background: Any = 0.0, pixel_range: float = 1.0
) -> Images:
    """Shift images by name and severity.

    Parameters
    ----------
    images : (N, channels, H, W) float
    name : str
        One of `SHIFTS`.
    severity : int
        1 ... 5, the place in `SHIFTS[name]`.
    key : str or tuple
        Names the draw; only noise draws.
    background : float or (channels,) array_like
        What comes in from outside the image; the value of black if pixels are standardised.
    pixel_range : float
        White minus black, the unit of the noise: 1 for pixels in [0, 1], 16 for the digits of scikit-learn.

    Returns
    -------
    array of the shape and dtype of `images`
        Pixels are not clipped.

    Raises
    ------
    ShapeError, NotFiniteError, DataError
        Not (N, channels, H, W), nothing at all, NaN, integers.
    OptionError
        Unknown name or severity.

    Examples
    --------
    >>> image = np.zeros((1, 1, 4, 4)); image[0, 0, 1, 1] = 1.0
    >>> np.argwhere(shifted(image, "translation", 4, key="doc")[0, 0])  # one pixel of four, right and down
    array([[2, 2]])
    """
    one_of("name", name, SHIFTS)
    if name == "noise":
        return add_noise(images, severity, key=key, pixel_range=pixel_range)
    if name == "blur":
        return blur(images, severity)
    strength = _strength(name, severity)
    if name == "rotation":
        return rotate(images, strength, background=background)
    step = max(1, round(strength * _images(images).shape[-2]))
    return shift_pixels(images, step, step, background=background)


def add_noise(images: Any, severity: int, *, key: Any, pixel_range: float = 1.0) -> Images:
    """Add independent Gaussian noise to every pixel; not clipped, so its mean stays zero.

    Parameters
    ----------
    images, severity, key, pixel_range
        As in `shifted`. One key gives one pattern of noise, scaled by severity; image i's depends on i alone, not on N.

    Returns
    -------
    array of the shape and dtype of `images`

    Examples
    --------
    >>> noisy = add_noise(np.zeros((50, 1, 8, 8)), 3, key="doc")
    >>> round(float(noisy.std()), 2)
    0.18
    """
    array = _images(images)
    if not (np.isfinite(pixel_range) and pixel_range > 0):
        raise OptionError(f"pixel_range must be positive, white minus black; got {pixel_range!r}.")
    spread = _strength("noise", severity) * pixel_range
    noise = stream("noise", key).standard_normal(array.shape)
    return (array + spread * noise).astype(array.dtype)


def blur(images: Any, severity: int) -> Images:
    """Blur every image with a Gaussian; mirrored at the borders, so the mean of an image stays.

    Parameters
    ----------
    images, severity
        As in `shifted`.

    Returns
    -------
    array of the shape and dtype of `images`

    Examples
    --------
    >>> image = np.zeros((1, 1, 9, 9)); image[0, 0, 4, 4] = 1.0
    >>> blurred = blur(image, 5)
    >>> round(float(blurred.sum()), 6), bool(blurred.max() < 0.2)
    (1.0, True)
    """
    array = _images(images)
    width = _strength("blur", severity) * array.shape[-2]
    return np.asarray(ndimage.gaussian_filter(array, width, axes=(-2, -1), mode="reflect"), dtype=array.dtype)


def rotate(images: Any, degrees: float, *, background: Any = 0.0) -> Images:
    """Turn every image about its centre, counter-clockwise where row 0 is at the top; bilinear, same size.

    Parameters
    ----------
    images, background
        As in `shifted`.
    degrees : float

    Returns
    -------
    array of the shape and dtype of `images`

    Examples
    --------
    >>> rotate(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), 90.0)[0, 0].round(12)
    array([[2., 4.],
           [1., 3.]])
    """
    array = _images(images)
    if not np.isfinite(degrees):
        raise OptionError(f"degrees must be a finite angle; got {degrees!r}.")
    fill = _background(background, array)
    # grid-constant interpolates across the border: by 90 degrees, rounding does not put border pixels outside
    turned = ndimage.rotate(array - fill, degrees, axes=(-1, -2), reshape=False, order=1, mode="grid-constant")
    return np.asarray(turned + fill, dtype=array.dtype)


def shift_pixels(images: Any, dx: int, dy: int, *, background: Any = 0.0) -> Images:
    """Move every image by whole pixels, dx to the right and dy down.

    Parameters
    ----------
    images, background
        As in `shifted`.
    dx, dy : int
        Negative: left, up.

    Returns
    -------
    array of the shape and dtype of `images`

    Examples
    --------
    >>> shift_pixels(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), 1, 0)[0, 0]
    array([[0., 1.],
           [0., 3.]])
    """
    array = _images(images)
    for step in (dx, dy):
        if isinstance(step, bool) or not isinstance(step, (int, np.integer)):
            raise OptionError(f"dx and dy must be whole pixels; got {step!r}.")
    fills = np.broadcast_to(_background(background, array).reshape(-1), array.shape[1])
    moved = [ndimage.shift(array[:, c], (0, dy, dx), order=0, cval=fill) for c, fill in enumerate(fills)]
    return np.stack(moved, axis=1)


def _strength(name: str, severity: int) -> float:
    levels = SHIFTS[name]
    if isinstance(severity, bool) or not isinstance(severity, (int, np.integer)) or not 1 <= severity <= len(levels):
        raise OptionError(f"severity must be a whole number, 1 to {len(levels)}; got {severity!r}.")
    return levels[severity - 1]


def _images(images: Any) -> Images:
    array = np.asarray(images)
    if array.ndim != 4 or array.size == 0:
        raise ShapeError(f"images needs axes (N, channels, H, W), none empty; got shape {array.shape}.")
    if array.dtype.kind != "f":
        raise DataError(f"images must hold floating-point pixels; got dtype {array.dtype}. Convert them first.")
    if not np.isfinite(array).all():
        first = tuple(int(i) for i in np.unravel_index(int(np.argmin(np.isfinite(array))), array.shape))
        raise NotFiniteError(f"images holds {array[first]} at index {first}. Find out where it comes from.")
    return array


def _background(background: Any, array: Images) -> Any:
    """Fill as (channels, 1, 1) or a scalar array, of the images' dtype."""
    fill = np.asarray(background, dtype=array.dtype)
    if fill.shape not in ((), (array.shape[1],)):
        raise ShapeError(f"background needs one number or one per channel ({array.shape[1]},); got shape {fill.shape}.")
    return fill if fill.ndim == 0 else fill[:, None, None]
