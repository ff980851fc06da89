"""Embeddings: fixed to the bit, unit norm, offline, nothing unpickled; a tiny model made here stands for real ones."""

import hashlib
import json
import re

import numpy as np
import pytest
import tiny_models

from uqkd import seeds
from uqkd.errors import DataError, LibraryError, OptionError
from uqkd.llm.similarity.embeddings import DIMENSIONS, builtin, embed, folded


def test_rows_have_norm_one_and_equal_texts_one_vector():
    texts = [
        "Paris",
        "",
        "paris",
        "  PARIS ",
        "the capital of France",
        "Paris",
        "!",
        "a\ud800b",
        "<b>x</b>\n\\frac{1}{2}",
        "日本",
    ]
    vectors = embed(texts)
    assert vectors.shape == (len(texts), DIMENSIONS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-14)
    for same in (2, 3, 5):
        np.testing.assert_array_equal(vectors[0], vectors[same])
    assert len(np.unique(vectors.round(12), axis=0)) == 7


def test_is_the_same_on_every_machine():
    """Hashes, not Python's salted ones: where the text of one word puts its weight is fixed for good."""
    vector = embed(["ab"])[0]
    # features: the word "ab" and the 3-grams " ab", "ab "
    expected = {}
    for feature in (b"w:ab", b"c: ab", b"c:ab "):
        digest = hashlib.blake2b(feature, digest_size=8, person=b"uqkd-embedding-1").digest()
        expected[digest[-1]] = 1 if digest[0] >= 128 else -1
    found = {int(i): int(np.sign(vector[i])) for i in np.flatnonzero(vector)}
    assert found == expected == {97: -1, 151: -1, 220: -1}


def by_hand(text):
    """Feature by feature: words and 3-grams with a blank at either side; an empty text has one feature of its own."""
    plain, vector = folded(text), np.zeros(DIMENSIONS)
    padded = f" {plain} "
    features = [
        *(f"w:{word}" for word in re.findall(r"\w+", plain)),
        *(f"c:{padded[i : i + 3]}" for i in range(len(plain))),
    ]

    def add(feature):
        digest = hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8, person=b"uqkd-embedding-1")
        vector[digest.digest()[-1]] += 1 if digest.digest()[0] >= 128 else -1

    for feature in features if plain else ["empty"]:
        add(feature)
    if not vector.any():
        add(f"t:{plain}")
    return vector / np.sqrt((vector**2).sum())


@pytest.mark.parametrize(
    "alphabet", ["ab ", "abc déf,漢字😀 \ud800", "".join(map(chr, range(0x4E00, 0x4F00))) + "  "], ids=len
)
def test_many_texts_at_once_are_each_by_hand(monkeypatch, alphabet):
    """Alphabets whose 3-grams are looked up in a table and one whose are sorted; in one go and cut into many."""
    draw = seeds.generator("test", "embedding", len(alphabet), shared=True)
    texts = ["".join(draw.choice(list(alphabet), size=size)) for size in [*draw.integers(0, 30, size=200), 0, 1, 2000]]
    expected = np.stack([by_hand(text) for text in texts])
    np.testing.assert_array_equal(embed(texts), expected)
    monkeypatch.setattr(builtin, "_CHARACTERS", 50)
    np.testing.assert_array_equal(embed(texts), expected)


def test_nearness_follows_spelling_and_empty_is_far_from_all():
    vectors = embed(["the capital of France", "a capital of France", "seventeen", ""])
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert near > 0.6
    assert abs(far) < 0.3  # chance collisions: sd 1/√256 = .06 a pair of features, some 20 features
    assert np.abs(vectors[:3] @ vectors[3]).max() < 0.3


def test_order_and_company_change_nothing():
    texts = [f"answer {i % 7}" for i in range(30)]
    together = embed(texts)
    for i in (0, 11, 29):
        np.testing.assert_array_equal(together[i], embed([texts[i]])[0])


def test_folding():
    assert folded("ＡＢＣ  straße\n ﬁn") == "abc strasse fin"


def test_bad_input():
    with pytest.raises(DataError, match="got NoneType"):
        embed(["a", None])
    with pytest.raises(DataError, match="at least one text"):
        embed([])


def write(folder, **files):
    folder.mkdir()
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(folder)


def test_pickled_weights_and_foreign_code_are_refused(tmp_path):
    pickled = write(tmp_path / "pickled", config__json={}, pytorch_model__bin="")
    with pytest.raises(OptionError, match=r"holds pickled weights \(pytorch_model.bin\)"):
        embed(["a"], pickled)
    remote = write(tmp_path / "remote", config__json={"auto_map": {"AutoModel": "mine.Model"}})
    with pytest.raises(OptionError, match="brings code of its own"):
        embed(["a"], remote)
    module = write(tmp_path / "module", modules__json=[{"type": "mine.Module", "path": ""}])
    with pytest.raises(OptionError, match="mine.Module in modules.json"):
        embed(["a"], module)
    both = write(tmp_path / "both", config__json={}, pytorch_model__bin="", model__safetensors="")
    with pytest.raises(OptionError, match="could not be loaded"):  # the safe file is there, so it is read: and is empty
        embed(["a"], both)


def test_says_how_to_install_what_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(LibraryError, match="pip install sentence-transformers, or use embedding='builtin'"):
        embed(["a"], "some-model")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of the library's own parts
def test_a_local_model_works_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    vectors = embed(["paris rome", "rome", "paris rome"], str(tiny_models.save_sentence_model(tmp_path)))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert abs(vectors[0] @ vectors[1]) < 1 - 1e-6
