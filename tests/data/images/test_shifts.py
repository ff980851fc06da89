"""Shifted data: hand cases, NumPy and SciPy peers, severities in order, seeds, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal, stats

from uqkd.data import SHIFTS, add_noise, blur, drop_tokens, long_tailed, rotate, shift_pixels, shifted
from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError
from uqkd.seeds import generator


def _images(name="images", shape=(6, 3, 16, 16)):
    return generator("test", "shifts", name).random(shape)


# ------------------------------------------------------------------ images


def test_by_hand():
    image = np.arange(9.0).reshape(1, 1, 3, 3)
    np.testing.assert_array_equal(shift_pixels(image, 1, 0)[0, 0], [[0, 0, 1], [0, 3, 4], [0, 6, 7]])
    np.testing.assert_array_equal(shift_pixels(image, -1, 2, background=9.0)[0, 0], [[9, 9, 9], [9, 9, 9], [1, 2, 9]])
    np.testing.assert_array_equal(shift_pixels(image, 3, 0), np.zeros_like(image))
    np.testing.assert_array_equal(shift_pixels(image, 0, 0), image)
    channels = shift_pixels(np.repeat(image, 2, axis=1), 0, 1, background=[7.0, 8.0])
    np.testing.assert_array_equal(channels[0, :, 0], [[7, 7, 7], [8, 8, 8]])


@pytest.mark.parametrize("size", [(8, 8), (9, 9)])
@pytest.mark.parametrize("background", [0.0, [0.5, -3.0, 2.0]])
def test_right_angles_against_rot90(size, background):
    images = _images("turned", (4, 3, *size))
    for turns in range(-1, 5):
        # bilinear weights of a right angle are whole numbers within 1e-15
        found = rotate(images, 90.0 * turns, background=background)
        np.testing.assert_allclose(found, np.rot90(images, turns, axes=(2, 3)), atol=1e-13)


def test_rotation_is_counter_clockwise_and_filled():
    image = np.zeros((1, 1, 9, 9))
    image[0, 0, 4, 7] = 1.0  # right of the centre
    turned = rotate(image, 45.0)[0, 0]
    assert np.unravel_index(turned.argmax(), (9, 9)) == (2, 6)  # up and right: three pixels away at 45 degrees
    np.testing.assert_allclose(rotate(rotate(image, 30.0), -30.0)[0, 0].argmax(), 4 * 9 + 7)
    constant = np.full((2, 2, 8, 8), 0.7)
    np.testing.assert_allclose(rotate(constant, 33.0, background=0.7), constant, atol=1e-15)
    assert rotate(constant, 33.0)[0, 0, 0, 0] == 0.0  # the corner comes from outside


def test_blur_against_convolution():
    image = np.zeros((1, 1, 33, 33))
    image[0, 0, 16, 16] = 1.0
    width = SHIFTS["blur"][2] * 33
    kernel = np.exp(-0.5 * (np.arange(-8, 9) / width) ** 2)
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    # SciPy cuts the Gaussian at four widths, eight pixels here: the same kernel
    np.testing.assert_allclose(blur(image, 3)[0, 0], signal.convolve2d(image[0, 0], kernel, mode="same"), atol=1e-14)
    images = _images("blurred")
    np.testing.assert_allclose(blur(images, 5).mean(axis=(2, 3)), images.mean(axis=(2, 3)), rtol=1e-12)
    np.testing.assert_allclose(blur(images, 2)[3:4, 1:2], blur(images[3:4, 1:2], 2), rtol=1e-15)  # one by one


def test_noise():
    """30,720 pixels: a standard deviation is known to 1/√(2n) = .4 %, a mean to sd/√n; accepted within 4 of each."""
    images = _images("noisy", (40, 3, 16, 16))
    for severity in range(1, 6):
        spread = SHIFTS["noise"][severity - 1]
        noise = add_noise(images, severity, key="a") - images
        assert noise.std() == pytest.approx(spread, rel=4 * 0.004)
        assert abs(noise.mean()) < 4 * spread / np.sqrt(noise.size)
        assert stats.kstest(noise.ravel() / spread, "norm").pvalue > 1e-4
        np.testing.assert_allclose(
            add_noise(images, severity, key="a", pixel_range=16.0) - images, 16 * noise, atol=1e-13
        )
    np.testing.assert_array_equal(add_noise(images, 2, key="a"), add_noise(images, 2, key="a"))
    np.testing.assert_array_equal(
        add_noise(images, 2, key="a")[:5], add_noise(images[:5], 2, key="a")
    )  # image by image
    other = add_noise(images, 2, key=("a", 1)) - images
    assert abs(np.corrcoef(other.ravel(), noise.ravel())[0, 1]) < 4 / np.sqrt(noise.size)


@pytest.mark.parametrize("name", SHIFTS)
@pytest.mark.parametrize("side", [8, 16, 32])
def test_severities_rise_and_keep_shape(name, side):
    """Smooth images: every severity is further from the original than the one before (or, in small images, as far)."""
    waves = np.sin(np.arange(side) * 2 * np.pi / side)
    images = (waves[:, None] + waves + np.zeros((3, 2, 1, 1))).astype(np.float32)
    before = images.copy()
    levels = [shifted(images, name, severity, key="k") for severity in range(1, 6)]
    distance = [np.sqrt(((level - images) ** 2).mean()) for level in levels]
    assert distance[0] > 0
    assert (np.diff(distance) >= 0).all()
    assert distance[-1] > 1.5 * distance[0]
    assert all(level.shape == images.shape and level.dtype == np.float32 for level in levels)
    np.testing.assert_array_equal(images, before)


def test_shifted_is_what_the_functions_do():
    images = _images()
    np.testing.assert_array_equal(shifted(images, "noise", 3, key="k"), add_noise(images, 3, key="k"))
    np.testing.assert_array_equal(shifted(images, "blur", 3, key="k"), blur(images, 3))
    np.testing.assert_array_equal(
        shifted(images, "rotation", 3, key="k", background=0.5), rotate(images, 30.0, background=0.5)
    )
    np.testing.assert_array_equal(
        shifted(images, "translation", 3, key="k", background=0.5), shift_pixels(images, 3, 3, background=0.5)
    )
    with pytest.raises(TypeError):
        SHIFTS["noise"] = (1.0,)


def test_bad_images():
    images = _images()
    with pytest.raises(OptionError, match="did you mean 'rotation'"):
        shifted(images, "rotatoin", 1, key="k")
    for severity in (0, 6, 1.0, True):
        for name in SHIFTS:
            with pytest.raises(OptionError, match="severity must be a whole number, 1 to 5"):
                shifted(images, name, severity, key="k")
    for call in (lambda x: blur(x, 1), lambda x: rotate(x, 3.0), lambda x: shift_pixels(x, 1, 1)):
        with pytest.raises(ShapeError, match="images needs axes"):
            call(images[0])
        with pytest.raises(ShapeError, match="none empty"):
            call(images[:0])
        with pytest.raises(DataError, match="floating-point"):
            call(images.astype(np.uint8))
        with pytest.raises(NotFiniteError, match=r"nan at index \(0, 0, 0, 0\)"):
            call(images * np.nan)
    with pytest.raises(ShapeError, match="background needs"):
        rotate(images, 3.0, background=[0.0, 1.0])
    with pytest.raises(OptionError, match="degrees"):
        rotate(images, np.inf)
    with pytest.raises(OptionError, match="whole pixels; got 0.5"):
        shift_pixels(images, 0, 0.5)
    with pytest.raises(OptionError, match="pixel_range"):
        add_noise(images, 1, key="k", pixel_range=0.0)


# ------------------------------------------------------------------ tokens

CLS, SEP, PAD = 101, 102, 0


def _tokens(rows=300, length=20):
    rng = generator("test", "shifts", "tokens")
    ids = rng.integers(1000, 2000, size=(rows, length))
    used = rng.integers(3, length + 1, size=rows)
    for row, n in zip(ids, used, strict=True):
        row[0], row[n - 1], row[n:] = CLS, SEP, PAD
    return ids


def test_dropped_tokens():
    """2,900 tokens at 30 %: the share is known to .0085, accepted within 4 of it; kept ones move together in order."""
    ids = _tokens()
    left = drop_tokens(ids, 0.3, key="k", pad=PAD, keep=(CLS, SEP))
    free = ids >= 1000
    many = free.sum(axis=1) > 5  # in short rows the one that must stay counts
    lost = 1 - (left >= 1000)[many].sum() / free[many].sum()
    assert abs(lost - 0.3) < 4 * np.sqrt(0.21 / free[many].sum())
    for before, after in zip(ids, left, strict=True):
        kept = after[after != PAD]
        assert (after[len(kept) :] == PAD).all()  # padding at the end only
        assert kept[0] == CLS
        assert kept[-1] == SEP
        assert (kept >= 1000).any()
        place = iter(before.tolist())
        assert all(token in place for token in kept.tolist())  # a subsequence


def test_shares_of_tokens_are_nested_and_end_at_one_token():
    ids = _tokens()
    counts = [
        (drop_tokens(ids, share, key="k", pad=PAD, keep=(CLS, SEP)) >= 1000).sum(axis=1) for share in (0.2, 0.6, 1)
    ]
    assert (np.diff(counts, axis=0) <= 0).all()
    assert (counts[-1] == 1).all()
    np.testing.assert_array_equal(drop_tokens(ids, 0.0, key="k", pad=PAD), ids)
    assert (drop_tokens(ids, 0.5, key="k", pad=PAD) != drop_tokens(ids, 0.5, key="l", pad=PAD)).any()
    # without `keep`, [CLS] falls as any other
    assert (drop_tokens(ids, 0.5, key="k", pad=PAD)[:, 0] != CLS).any()
    only_kept = drop_tokens([[CLS, SEP, PAD]], 1.0, key="k", pad=PAD, keep=(CLS, SEP))
    np.testing.assert_array_equal(only_kept, [[CLS, SEP, PAD]])
    assert drop_tokens(ids.astype(np.int32), 0.5, key="k", pad=PAD).dtype == np.int32


def test_bad_tokens():
    with pytest.raises(DataError, match="row 1 of tokens holds padding"):
        drop_tokens([[5, 0], [0, 0]], 0.1, key="k", pad=0)
    with pytest.raises(DataError, match="integers"):
        drop_tokens([[5.0, 0.0]], 0.1, key="k", pad=0)
    with pytest.raises(ShapeError, match="tokens needs axes"):
        drop_tokens([5, 0], 0.1, key="k", pad=0)
    for share in (-0.1, 1.1, np.nan):
        with pytest.raises(OptionError, match="share must lie"):
            drop_tokens([[5, 0]], share, key="k", pad=0)


# ------------------------------------------------------------------ long tails


@pytest.mark.parametrize("ratio", [1, 10, 50.0, 100])
def test_long_tail_of_cifar(ratio):
    """The published rule for 100 classes of 500: int(500 · (1/ratio)^(c / 99))."""
    labels = generator("test", "shifts", "labels").permutation(np.repeat(np.arange(100), 500))
    rows = long_tailed(labels, ratio, key="k")
    counts = np.bincount(labels[rows], minlength=100)
    np.testing.assert_array_equal(counts, [int(500 * (1 / ratio) ** (c / 99) * (1 + 1e-12)) for c in range(100)])
    assert counts[0] == 500
    assert counts[-1] == 500 / ratio
    assert (np.diff(rows) > 0).all()
    assert set(long_tailed(labels, 2 * ratio, key="k")) <= set(rows)  # nested
    np.testing.assert_array_equal(long_tailed(labels, ratio, key="k"), rows)
    assert ratio == 1 or set(long_tailed(labels, ratio, key="l")) != set(rows)


def test_long_tail_of_unequal_classes():
    """40, 9, 10 rows at ratio 4, frequencies 1 : 1/2 : 1/4: the second class allows 18, 9, 4."""
    labels = np.repeat([0, 1, 2], [40, 9, 10])
    assert np.bincount(labels[long_tailed(labels, 4.0, key="k")]).tolist() == [18, 9, 4]
    assert np.bincount(labels[long_tailed(labels, 1e9, key="k")])[-1] == 1  # at least one


@given(st.integers(2, 8), st.floats(1.0, 1e4), st.integers(0, 2**32))
def test_long_tail_properties(classes, ratio, seed):
    rng = generator("test", "shifts", "tail", seed)
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=200)])
    rows = long_tailed(labels, ratio, key=seed)
    counts = np.bincount(labels[rows], minlength=classes)
    assert (np.diff(counts) <= 0).all()
    assert counts.min() >= 1
    assert (counts <= np.bincount(labels)).all()


def test_bad_long_tails():
    with pytest.raises(OptionError, match="ratio"):
        long_tailed([0, 1], 0.5, key="k")
    with pytest.raises(OptionError, match="ratio"):
        long_tailed([0, 1], np.inf, key="k")
    with pytest.raises(DataError, match="class 1 of 3 has 0 rows"):
        long_tailed([0, 2], 2.0, key="k")
    with pytest.raises(DataError, match="at least two classes"):
        long_tailed([0, 0], 2.0, key="k")
    with pytest.raises(DataError, match="smallest -1"):
        long_tailed([0, -1], 2.0, key="k")
    with pytest.raises(DataError, match="float64"):
        long_tailed([0.0, 1.0], 2.0, key="k")
    with pytest.raises(ShapeError, match="one axis"):
        long_tailed([[0, 1]], 2.0, key="k")
