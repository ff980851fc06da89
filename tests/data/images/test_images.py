"""Images with classes: arrays, folders and the hub give the same data; scaling by channel; inputs with two plausible classes."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from uqkd import data
from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError, UqkdWarning

CLASSES = ["ash", "ash", "ash", "elm", "elm", "elm", "oak", "oak"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))


@pytest.fixture
def pixels():
    """Eight colour pictures, 5 high and 6 wide."""
    return np.random.Generator(np.random.SFC64(1)).integers(0, 256, size=(8, 3, 5, 6), dtype=np.uint8)


def picture(one):
    return Image.fromarray(one[0] if len(one) == 1 else one.transpose(1, 2, 0))


def write_folder(pixels, classes, root, *, kind=".png"):
    for number, (one, name) in enumerate(zip(pixels, classes, strict=True)):
        (root / name).mkdir(parents=True, exist_ok=True)
        picture(one).save(root / name / f"{number:03}{kind}")
    return str(root)


def write_npz(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


def table_of(pixels, classes, names=("unused", "oak", "elm", "ash")):
    import datasets

    datasets.disable_progress_bars()
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(names))})
    numbers = [-1 if name is None else names.index(name) for name in classes]
    return datasets.Dataset.from_dict({"image": [picture(one) for one in pixels], "label": numbers}, features=features)


def test_digits_load_offline_as_shares_of_full_brightness():
    digits = data.load_images("digits")
    assert digits.images.shape == (1797, 1, 8, 8)
    assert digits.images.dtype == np.float32
    assert (digits.images.min(), digits.images.max()) == (0, 1)
    assert digits.classes == tuple("0123456789")
    tabular = data.load_classes("digits")
    np.testing.assert_array_equal(digits.labels, tabular.labels)
    np.testing.assert_array_equal(digits.images.reshape(1797, 64) * 16, tabular.X)


def test_every_form_gives_the_same_data(pixels, tmp_path):
    folder = write_folder(pixels, CLASSES, tmp_path / "pictures")
    (tmp_path / "pictures" / ".hidden").write_text("of the system")
    table_of(pixels, CLASSES).save_to_disk(str(tmp_path / "saved"))
    labels = np.array(CLASSES)
    sources = [
        folder,
        str(tmp_path / "saved"),
        write_npz(tmp_path / "a.npz", images=pixels, labels=labels),
        write_npz(tmp_path / "b.npz", images=pixels.transpose(0, 2, 3, 1), labels=labels),
        write_npz(tmp_path / "c.npz", images=pixels, labels=[2, 2, 2, 0, 0, 0, 1, 1], classes=["elm", "oak", "ash"]),
        write_folder(pixels, CLASSES, tmp_path / "bitmaps", kind=".bmp"),
    ]
    found = [data.load_images(source) for source in sources]
    for one in found:
        np.testing.assert_array_equal(one.images, pixels)
        assert one.images.dtype == np.uint8
        assert one.classes == ("ash", "elm", "oak")
        assert [one.classes[place] for place in one.labels] == CLASSES
        assert one.held_out is one.annotators is None
    assert len({one.fingerprint for one in found}) == 1
    sized = [data.load_images(source, size=4) for source in sources]
    assert len({one.fingerprint for one in sized}) == 1
    assert sized[0].images.shape == (8, 3, 4, 4)


def test_grey_pictures_have_one_channel_unless_one_has_colour(pixels, tmp_path):
    grey = data.load_images(write_folder(pixels[:, :1], CLASSES, tmp_path / "grey"))
    np.testing.assert_array_equal(grey.images, pixels[:, :1])
    arrays = data.load_images(write_npz(tmp_path / "g.npz", images=pixels[:, 0], labels=np.array(CLASSES)))
    assert arrays.fingerprint == grey.fingerprint
    picture(pixels[0]).save(tmp_path / "grey" / "ash" / "000.png")
    mixed = data.load_images(str(tmp_path / "grey"))
    np.testing.assert_array_equal(mixed.images[0], pixels[0])
    np.testing.assert_array_equal(mixed.images[1], np.tile(pixels[1, :1], (3, 1, 1)))


def test_the_fingerprint_follows_the_contents(pixels):
    def fingerprint(images=pixels, labels=CLASSES, **options):
        return data.images_from_arrays(images, labels, name="any", **options).fingerprint

    other = pixels.copy()
    other[3, 1, 2, 2] ^= 1
    made = [
        fingerprint(),
        fingerprint(other),
        fingerprint(pixels.astype(np.float32)),  # other units
        fingerprint(pixels.reshape(8, 3, 6, 5)),
        fingerprint(labels=CLASSES[::-1]),
        fingerprint(labels=[c.upper() for c in CLASSES]),
        fingerprint(annotators=np.array(CLASSES)[:, None]),
        fingerprint(held_out=np.arange(8) % 3 == 2),
    ]
    assert len(set(made)) == len(made)
    assert fingerprint(pixels.astype(np.float64)) == fingerprint(pixels.astype(np.float32))


def test_further_annotators_and_a_test_part_in_an_array_file(pixels, tmp_path):
    held_out = np.array([0, 0, 1, 0, 0, 1, 0, 1], dtype=bool)
    said = np.array([[0, 1], [0, -1], [0, 0], [1, 1], [2, 1], [1, 1], [2, 2], [2, 2]])
    options = {"images": pixels, "labels": np.array([0, 0, 0, 1, 1, 1, 2, 2]), "held_out": held_out, "annotators": said}
    found = data.load_images(write_npz(tmp_path / "a.npz", **options))
    np.testing.assert_array_equal(found.annotators, said)
    part = data.split_images(found)
    assert part.rows_test.tolist() == [2, 5, 7]
    np.testing.assert_array_equal(part.labels_test, [0, 1, 2])
    assert part.rows.tolist() == [0, 1, 3, 4, 6]
    assert len(data.split_images(found, test_fraction=0.5).rows_test) == 5
    named = data.load_images(write_npz(tmp_path / "b.npz", **options, classes=["c", "b", "a"]))
    np.testing.assert_array_equal(named.annotators, np.where(said < 0, -1, 2 - said))  # "a" is the first class now
    with pytest.raises(DataError, match="annotator 2 of data .* says '7' in images.0."):
        data.load_images(
            write_npz(tmp_path / "c.npz", **{**options, "annotators": np.where(np.arange(2) == 1, 7, said)})
        )
    with pytest.raises(ShapeError, match="one bool per image"):
        data.load_images(write_npz(tmp_path / "d.npz", **{**options, "held_out": held_out[:3]}))
    with pytest.raises(DataError, match="names 2 classes; labels must then be whole numbers 0 ... 1"):
        data.load_images(write_npz(tmp_path / "e.npz", **options, classes=["a", "b"]))


OWN_PARTS = [
    "test_images",
    "X_test",
    "x_val",
    "y_test",
    "labels_test",
    "testX",
    "valid",
    "dev_labels",
    "validation_images",
]


def test_arrays_of_an_array_file_that_are_not_read(pixels, tmp_path):
    """Rows of a part of their own would be lost in silence, and a slip in a name would be too."""
    whole = {"images": pixels, "labels": np.array(CLASSES)}
    for name in OWN_PARTS:
        path = write_npz(tmp_path / "a.npz", **whole, **{name: pixels})
        with pytest.raises(
            DataError, match=rf"look like a part of their own \({name}\).*mark them in held_out"
        ) as caught:
            data.load_images(path)
        assert "read are images and labels, and if there classes, held_out, annotators." in str(caught.value)
    for name in ("heldout", "latest", "contest_ids", "values", "device", "tests"):
        path = write_npz(
            tmp_path / "a.npz", **whole, **{name: np.arange(8).astype(object)}
        )  # and are not opened either
        with pytest.warns(UqkdWarning, match=rf"has arrays that are not read \({name}\); read are images") as caught:
            data.load_images(path)
        assert caught[0].filename == __file__
    parts = {f"{kind}_{part}": pixels for kind in "xy" for part in ("train", "test")}
    with pytest.raises(DataError, match="no array 'images'.* Rows of a test part belong to the same arrays"):
        data.load_images(write_npz(tmp_path / "a.npz", **parts))


def test_names_of_bytes_are_text(pixels, tmp_path):
    names = ["Ähre", "elm"]
    labels, coded = np.array(names * 4), np.array([name.encode() for name in names])
    found = [
        data.load_images(write_npz(tmp_path / "a.npz", images=pixels, labels=labels, annotators=labels[:, None])),
        data.load_images(
            write_npz(tmp_path / "b.npz", images=pixels, labels=coded[[0, 1] * 4], annotators=labels[:, None])
        ),
        data.load_images(
            write_npz(tmp_path / "c.npz", images=pixels, labels=labels, annotators=coded[[0, 1] * 4, None])
        ),
        data.load_images(
            write_npz(
                tmp_path / "d.npz", images=pixels, labels=[0, 1] * 4, classes=coded, annotators=np.array([[0], [1]] * 4)
            )
        ),
    ]
    assert [one.classes for one in found] == [("elm", "Ähre")] * 4
    assert len({one.fingerprint for one in found}) == 1
    with pytest.raises(DataError, match=r"classes of data .* are not UTF-8 \(.* in b'\\xff'\); save them as text"):
        data.load_images(write_npz(tmp_path / "e.npz", images=pixels, labels=[0, 1] * 4, classes=[b"a", b"\xff"]))
    numbered = {"images": pixels, "labels": [0, -1] * 4}
    for more in ({}, {"classes": names}):
        with pytest.raises(DataError, match=r"label −1, which stands for no class, at images\[1\]"):
            data.load_images(write_npz(tmp_path / "f.npz", **numbered, **more))


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev"])
def test_a_validation_part_has_several_names(pixels, tmp_path, name):
    import datasets

    order = {"train": [0, 1, 3, 4, 6, 7], "validation": [2], "test": [5]}
    for part, rows in order.items():
        write_folder(
            pixels[rows], [CLASSES[r] for r in rows], tmp_path / "all" / (name if part == "validation" else part)
        )
        if part != "test":
            write_folder(
                pixels[rows], [CLASSES[r] for r in rows], tmp_path / "two" / (name if part == "validation" else part)
            )
    tables = {
        name if part == "validation" else part: table_of(pixels[rows], [CLASSES[r] for r in rows])
        for part, rows in order.items()
    }
    datasets.DatasetDict(tables).save_to_disk(str(tmp_path / "saved"))
    found = [data.load_images(str(tmp_path / folder)) for folder in ("all", "saved")]
    for one in found:
        np.testing.assert_array_equal(one.images, pixels[[0, 1, 3, 4, 6, 7, 2, 5]])
        assert np.flatnonzero(one.held_out).tolist() == [7]  # beside a test part it is for training
    assert np.flatnonzero(data.load_images(str(tmp_path / "two")).held_out).tolist() == [
        6
    ]  # and is it where there is none
    with pytest.raises(DataError, match="holds one class only"):
        data.load_images(str(tmp_path / "all"), split=name)
    if name != "validation":
        (tmp_path / "all" / "validation").mkdir()
        with pytest.raises(DataError, match="has both parts '.*' and '.*'; keep one of them"):
            data.load_images(str(tmp_path / "all"))


def test_parts_in_folders(pixels, tmp_path):
    import datasets

    order = [0, 1, 3, 4, 6, 7, 2, 5]
    train, test = order[:6], order[6:]
    for part, rows in (("train", train), ("test", test)):
        write_folder(pixels[rows], [CLASSES[r] for r in rows], tmp_path / "pictures" / part)
    tables = {p: table_of(pixels[rows], [CLASSES[r] for r in rows]) for p, rows in (("test", test), ("train", train))}
    datasets.DatasetDict(tables).save_to_disk(str(tmp_path / "saved"))
    found = [data.load_images(str(tmp_path / name)) for name in ("pictures", "saved")]
    assert found[0].fingerprint == found[1].fingerprint
    np.testing.assert_array_equal(found[0].images, pixels[order])
    assert data.split_images(found[0]).rows_test.tolist() == [6, 7]
    for name in ("pictures", "saved"):
        one = data.load_images(str(tmp_path / name), split="train")
        np.testing.assert_array_equal(one.images, pixels[train])
        assert one.held_out is None
        with pytest.raises(OptionError, match="no part 'validation'"):
            data.load_images(str(tmp_path / name), split="validation")


def test_an_unlabelled_test_part_of_the_hub_is_left_out(pixels, monkeypatch):
    parts = {
        "test": table_of(pixels[:3], [None] * 3),
        "validation": table_of(pixels[4:5], ["elm"]),
        "train": table_of(pixels, CLASSES),
    }
    monkeypatch.setattr("datasets.load_dataset", lambda path, split=None, **_: parts[split] if split else parts)
    found = data.load_images("imagenet", size=5)
    assert np.flatnonzero(found.held_out).tolist() == [8]
    assert found.images.shape == (9, 3, 5, 5)
    assert len(data.split_images(found).labels) == 8
    with pytest.raises(DataError, match=r"has no class at images\[0\] \(3 such of 3\); leave those rows out"):
        data.load_images("imagenet", size=5, split="test")


def test_memory_of_the_largest_set_is_stated_before_it_is_fetched(monkeypatch):
    monkeypatch.setattr("datasets.load_dataset", lambda **_: pytest.fail("fetched"))
    with pytest.raises(OptionError, match="1,331,167 images of many sizes; .* size=224 takes 200 GB as uint8"):
        data.load_images("imagenet")


def test_split_is_stratified_keyed_by_the_data_and_uses_every_row_once():
    digits = data.load_images("digits")
    part, again = data.split_images(digits), data.split_images(digits)
    np.testing.assert_array_equal(part.rows_test, again.rows_test)
    np.testing.assert_array_equal(np.sort([*part.rows, *part.rows_test]), np.arange(1797))
    counts = np.bincount(digits.labels)
    np.testing.assert_array_equal(np.bincount(part.labels_test), [round(0.2 * n) for n in counts])
    np.testing.assert_array_equal(part.labels_test, digits.labels[part.rows_test])
    other = data.images_from_arrays(digits.images * 2, digits.labels, name="twice as bright")
    assert not np.array_equal(data.split_images(other).rows_test, part.rows_test)
    for fraction in (0.0, 1.0, np.nan):
        with pytest.raises(OptionError, match="test_fraction"):
            data.split_images(digits, test_fraction=fraction)


def test_split_scales_each_channel_by_the_training_part_only():
    rng = np.random.Generator(np.random.SFC64(2))
    shift = np.array([0.0, 1e4, -3.0])[:, None, None]
    images = (rng.normal(size=(2500, 3, 2, 2)) * np.array([1.0, 20.0, 0.01])[:, None, None] + shift).astype(np.float32)
    dataset = data.images_from_arrays(images, np.arange(2500) % 2, name="toy")
    part = data.split_images(dataset)
    assert part.X.dtype == part.X_test.dtype == np.float32
    train, test = (images[rows].astype(np.float64) for rows in (part.rows, part.rows_test))
    mean, sd = train.mean(axis=(0, 2, 3)), train.std(axis=(0, 2, 3))
    np.testing.assert_allclose(part.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(part.sd, sd, rtol=1e-9)
    for found, given in ((part.X, train), (part.X_test, test)):
        expected = (given - mean[:, None, None]) / sd[:, None, None]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)  # float32 of values of size 1
    np.testing.assert_array_equal(part.standardised(images[part.rows_test]), part.X_test)
    per_pixel = (train - train.mean(axis=0)) / train.std(axis=0)
    assert np.abs(per_pixel - part.X).max() > 1e-2
    everything = (train - images.mean(axis=(0, 2, 3), dtype=np.float64)[:, None, None]) / sd[:, None, None]
    assert np.abs(everything - part.X).max() > 1e-3


def test_a_channel_that_is_constant_in_training_is_zero():
    images = np.random.Generator(np.random.SFC64(3)).random((10, 3, 2, 2)).astype(np.float32)
    images[:, 1] = 0.1
    held_out = np.arange(10) >= 8
    images[held_out, 1] = 0.7
    dataset = data.images_from_arrays(images, np.arange(10) % 2, name="toy", held_out=held_out)
    part = data.split_images(dataset)
    assert not part.X[:, 1].any()
    assert not part.X_test[:, 1].any()
    assert np.isinf(part.sd[1])
    assert np.isfinite(part.X).all()


def test_ambiguous_images_are_averages_of_two_classes():
    digits = data.load_images("digits")
    made = data.ambiguous(digits.images, digits.labels, key=("tests", "pairs"), pairs=500)
    np.testing.assert_array_equal(made.annotators, digits.labels[made.rows])
    assert (made.annotators[:, 0] != made.annotators[:, 1]).all()
    first, second = digits.images[made.rows].transpose(1, 0, 2, 3, 4)
    np.testing.assert_allclose(made.images, (first + second) / 2, rtol=1e-6)
    assert made.images.dtype == np.float32
    again = data.ambiguous(digits.images, digits.labels, key=("tests", "pairs"), pairs=500)
    other = data.ambiguous(digits.images, digits.labels, key=("tests", "more pairs"), pairs=500)
    np.testing.assert_array_equal(made.rows, again.rows)
    assert not np.array_equal(made.rows, other.rows)
    bright = data.ambiguous((digits.images * 255).astype(np.uint8), digits.labels, key=("tests",), pairs=50)
    assert bright.images.max() > 150  # bytes are not added as bytes
    assert data.split_images(digits).standardised(made.images).shape == (500, 1, 8, 8)


def test_ambiguous_pairs_are_drawn_alike():
    """Five images of three classes: the 16 ordered pairs of unlike classes; chi-square at 1e-4, fixed keys."""
    labels = np.array([2, 0, 1, 0, 2])
    images = np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1)
    made = data.ambiguous(images, labels, key=("tests", "alike"), pairs=16_000)
    seen = np.zeros((5, 5))
    np.add.at(seen, tuple(made.rows.T), 1)
    other = np.array([(labels != one).sum() for one in labels])
    expected = (labels[:, None] != labels[None, :]) * 16_000 / 5 / other[:, None]
    assert (seen[expected == 0] == 0).all()
    assert stats.chisquare(seen[expected > 0], expected[expected > 0]).pvalue > 1e-4
    assert stats.chisquare(seen[expected > 0]).pvalue < 1e-8  # not the same for every pair


def test_ambiguous_refuses_what_it_cannot_do():
    images = np.zeros((4, 1, 2, 2), dtype=np.float32)
    with pytest.raises(DataError, match="two classes; all 4 labels are equal"):
        data.ambiguous(images, np.zeros(4, dtype=int), key=("tests",), pairs=1)
    with pytest.raises(OptionError, match="pairs must be 1 or more; got 0"):
        data.ambiguous(images, np.arange(4), key=("tests",), pairs=0)
    with pytest.raises(ShapeError, match=r"\(4, 1, 2, 2\) and \(3,\)"):
        data.ambiguous(images, np.arange(3), key=("tests",), pairs=1)


def test_arrays_that_are_no_images(pixels):
    def load(images, labels=CLASSES):
        return data.images_from_arrays(images, labels, name="toy")

    for shape in ((8, 2, 5, 6), (8, 30), (8, 3, 0, 6), (0, 3, 5, 6), (8, 1, 3, 5, 6)):
        with pytest.raises(ShapeError, match="images of data toy have shape"):
            load(np.zeros(shape))
    with pytest.raises(DataError, match="hold int64; uint8"):
        load(pixels.astype(np.int64))
    for bad in (np.nan, np.inf):
        spoilt = pixels.astype(np.float64)
        spoilt[[2, 5], 0, 1, 1] = bad
        with pytest.raises(NotFiniteError, match=r"images\[2\] of data toy holds NaN or inf \(2 such images of 8\)"):
            load(spoilt)
    with pytest.raises(NotFiniteError, match=r"images\[0\] of data toy"):
        load(np.full((8, 5, 6), 1e39))  # beyond float32
    with pytest.raises(ShapeError, match=r"8 images and labels of shape \(7,\)"):
        load(pixels, CLASSES[1:])
    with pytest.raises(ShapeError, match=r"annotators of data toy have shape \(8,\); \(8, A\)"):
        data.images_from_arrays(pixels, CLASSES, name="toy", annotators=CLASSES)
    for labels, message in (
        (["ash"] * 8, "one class only"),
        ([*CLASSES[:-1], "fir"], "class 'fir' .* one row"),
        ([None, *CLASSES[1:]], r"no class at images\[0\] \(1 such of 8\)"),
        (np.array([0.0, np.nan] * 4), r"no class at images\[1\] \(4 such of 8\)"),
        (
            [0, 1, 0, -1, 1, 0, -1, 1],
            r"label −1, which stands for no class, at images\[3\] \(2 such of 8\); leave those rows",
        ),
        ([0.0, 1.0, 0.0, -1.0, 1.0, 0.0, 1.0, 1.0], r"label −1, .* at images\[3\]"),
        ([b"ash", b"\xff"] * 4, "labels of data toy are not UTF-8"),
        (
            np.arange(8) / 2,
            r"a fraction for a label at images\[1\] \(4 such of 8\); classes are names or whole numbers",
        ),
        ([0.0, np.inf] * 4, r"a fraction for a label at images\[1\]"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            load(pixels, labels)
        assert "column" not in str(caught.value)
        assert "--target" not in str(caught.value)
    assert load(pixels, np.array([-2, 3] * 4)).classes == ("-2", "3")
    for same, value in ((np.full((8, 5, 6), 0.5), r" \(every value is 0.5\)"), (np.stack([pixels[0]] * 8), "")):
        with pytest.raises(
            DataError, match=f"^all 8 images of data toy are equal{value}; nothing tells their classes apart"
        ):
            load(same)
        same[7, 0, 0] += 1
        load(same)  # one pixel of the last


def test_array_files_that_do_not_fit(pixels, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "trace"), "w"))

    hidden = write_npz(tmp_path / "bomb.npz", images=pixels, labels=np.array([Bomb()] * 8, dtype=object))
    (tmp_path / "none.npz").write_bytes(b"no zip")
    whole = tmp_path / "whole.npz"
    write_npz(whole, images=pixels, labels=np.array(CLASSES))
    (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[:-200])
    (tmp_path / "a.npy").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as file:
        file.writestr("images.npy", "hello")
        file.writestr("labels.npy", "hello")
    cases = [
        (
            hidden,
            DataError,
            r"cannot be read as npz: Object arrays cannot be loaded .*Array 'labels' .* labels.astype\(str\)",
        ),
        ("none.npz", DataError, "cannot be read as npz"),
        ("cut.npz", DataError, "cannot be read as npz"),
        ("text.npz", ShapeError, "images of data .* have shape"),
        (
            write_npz(tmp_path / "a.npz", image=pixels),
            DataError,
            "no array 'images'; did you mean 'image'.*read are images and",
        ),
        ("missing.npz", DataError, r"missing\.npz does not exist"),
        ("a.pkl", OptionError, "pickle"),
        ("b.npy", DataError, r"b\.npy does not exist"),
        ("a.npy", DataError, r"images come as digits, an \.npz file"),
        ("digts", OptionError, "did you mean 'digits'"),
    ]
    for name, error, message in cases:
        with pytest.raises(error, match=message) as caught:
            data.load_images(name if "/" in name or "." not in name else str(tmp_path / name))
        assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "trace").exists()
    with pytest.raises(OptionError, match="one file, which has no part 'train'"):
        data.load_images(str(whole), split="train")
    with pytest.raises(OptionError, match="size must be 1 or more pixels; got 0"):
        data.load_images("digits", size=0)


def test_pictures_that_do_not_fit(pixels, tmp_path):
    root = tmp_path / "pictures"
    write_folder(pixels, CLASSES, root)

    def refused(message, **options):
        with pytest.raises(DataError, match=message) as caught:
            data.load_images(str(root), **options)
        assert len(str(caught.value).splitlines()) == 1

    picture(pixels[1][:, :4]).save(root / "ash" / "001.png")
    refused("picture ash/001.png of data .* is 6×4 and the first one 6×5; say to which size")
    assert data.load_images(str(root), size=5).images.shape == (8, 3, 5, 5)
    (root / "ash" / "001.png").write_bytes(b"no picture")
    refused("picture ash/001.png of data .* cannot be read", size=5)
    buffer = io.BytesIO()
    picture(pixels[1]).save(buffer, format="png")
    (root / "ash" / "001.png").write_bytes(buffer.getvalue()[:-40])
    refused("picture ash/001.png of data .* cannot be read")
    Image.fromarray(np.zeros((5, 6), dtype=np.uint16)).save(root / "ash" / "001.png")
    refused("picture ash/001.png of data .* has more than 8 bits")
    picture(pixels[1]).save(root / "ash" / "001.png")
    (root / "ash" / "notes.txt").write_text("about ash")
    refused("holds ash/notes.txt, which is no picture")
    (root / "ash" / "notes.txt").rename(root / "notes.txt")
    refused("holds 'notes.txt' beside the folders of its classes")
    (root / "notes.txt").unlink()
    look = r"; one folder of pictures per class is needed \(CLASS/NAME.png\), or such folders within train, test and perhaps val"
    picture(pixels[1]).save(root / "a.PNG")
    refused(f"holds the picture 'a.PNG' outside of any class{look}")
    (root / "a.PNG").unlink()
    write_folder(pixels, CLASSES, root / "train")
    refused(f"holds the folder 'ash' beside its parts{look}")
    for name in ("ash", "elm", "oak"):
        (root / name).rename(root / "train" / name / "more")
    refused(f"holds the folder ash/more within a class{look}")
    (root / "train").rename(root / "test")
    refused(f"holds the folder test/ash within a class{look}")
    write_folder(pixels, ["train", "bus"] * 4, tmp_path / "traffic")
    assert data.load_images(str(tmp_path / "traffic")).classes == ("bus", "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        data.load_images(str(tmp_path / "empty"))


def test_a_picture_that_unpacks_to_gigabytes_is_refused(pixels, tmp_path, monkeypatch):
    root = write_folder(pixels, CLASSES, tmp_path / "pictures")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # Pillow warns above it and stops at twice as many
    with pytest.raises(DataError, match="cannot be read .DecompressionBomb"):
        data.load_images(root)


def test_tables_without_pictures(pixels, tmp_path):
    import datasets

    table = table_of(pixels, CLASSES)
    cases = [
        (table.remove_columns("label"), "no column 'label'"),
        (table.rename_column("image", "photo"), "no column 'image'"),
        (table.remove_columns("image").add_column("image", [1] * 8), "column 'image' .* holds no pictures"),
    ]
    for number, (spoilt, message) in enumerate(cases):
        spoilt.save_to_disk(str(tmp_path / str(number)))
        with pytest.raises(DataError, match=message):
            data.load_images(str(tmp_path / str(number)))
    secret = tmp_path / "secret.png"
    picture(pixels[0]).save(secret)
    features = datasets.Features({"image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}})
    held = datasets.Dataset.from_dict({"image": [{"bytes": None, "path": str(secret)}] * 8}, features=features)
    held = held.add_column("label", CLASSES).cast_column("image", datasets.Image(decode=False))
    from uqkd.data.images.files import decoded, table_of_images

    with pytest.raises(DataError, match="no picture in row 1, or only a path"):
        decoded([table_of_images(held.cast_column("image", datasets.Image()), "toy", None)], name="toy", size=None)


def test_resizing_averages_where_it_shrinks():
    step = np.zeros((1, 1, 8, 8), dtype=np.float32)
    step[..., 4:] = 1
    from uqkd.data.images.files import resized

    images = np.repeat(step, 4, axis=0)
    small = resized(images, 2)
    assert small.shape == (4, 1, 2, 2)
    assert small[0, 0, 0, 0] + small[0, 0, 0, 1] == pytest.approx(1)
    assert small[0, 0, 0, 0] < 0.2
    assert resized(images, 8) is images
    assert data.load_images("digits", size=16).images.shape == (1797, 1, 16, 16)
