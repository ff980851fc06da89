"""Committed folders at a URL: wholly there or not at all, whoever writes, and whatever happens to them there."""

from __future__ import annotations

import pytest

from uqkd import seeds
from uqkd.store import Mirror, commit_folder, mirrored

FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 40, "more/words.txt": b"a b"}


def fill(folder, files=FILES):
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture
def places(s3, tmp_path):
    """Two machines' twins of one URL."""
    return Mirror(s3.root, tmp_path / "here"), Mirror(s3.root, tmp_path / "there")


def test_a_folder_goes_up_and_comes_down_as_it_is(s3, places):
    here, there = places
    commit_folder(here.root, "student-0", fill)
    here.push("student-0")
    (here.root / "card.json").write_text("{}")
    here.push_files(["card.json"])
    assert there.pull("student-") == ["student-0"]
    assert contents(there.root / "student-0") == FILES
    assert (there.root / "card.json").read_text() == "{}"
    with s3.counted() as requests:
        assert there.pull("student-") == ["student-0"]
    assert requests == {"list": 1, "GET": 2}  # what is here is not fetched again: the manifest and the card are


def test_what_is_without_a_manifest_is_not_there(s3, places):
    here, there = places
    commit_folder(here.root, "student-0", fill)
    here.push("student-0")
    (manifest,) = (key for key in s3.keys_below(s3.root) if key.endswith("uqkd.json"))
    s3.delete(manifest)  # as a writer leaves it that is killed before its last request
    assert there.pull("student-") == []
    assert not (there.root / "student-0").exists()
    here.push("student-0")
    assert there.pull() == ["student-0"]


def test_what_is_gone_there_goes_here_too(s3, places):
    here, there = places
    commit_folder(here.root, "student-0", fill)
    here.push("student-0")
    there.pull()
    here.drop("student-0/")
    assert s3.keys_below(s3.root) == []
    assert there.pull() == []
    assert not (there.root / "student-0").exists()


def test_the_first_of_two_writers_is_kept(s3, places):
    here, there = places
    commit_folder(here.root, "a", fill)
    commit_folder(there.root, "a", lambda folder: fill(folder, {**FILES, "config.json": b"[1]"}))
    here.push("a")
    there.push("a")
    assert contents(there.root / "a") == contents(here.root / "a") == FILES
    assert Mirror(s3.root, there.root.parent / "third").pull() == ["a"]


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("model.safetensors", "flip"), ("config.json", "cut"), ("more/words.txt", "empty"), ("config.json", "foreign"),
        ("model.safetensors", "delete"), ("uqkd.json", "flip"), ("uqkd.json", "foreign"), ("uqkd.json", "delete"),
    ],
)  # fmt: skip
def test_a_damaged_folder_is_never_read_and_is_set_aside(s3, places, capsys, name, harm):
    here, there = places
    commit_folder(here.root, "a", fill)
    here.push("a")
    key = f"{s3.root.removeprefix('s3://bucket/')}/a/{name}"
    data = bytearray(s3.keys()[key])
    if harm == "delete":
        s3.delete(key)
    else:
        if harm == "flip":
            data[int(seeds.generator("tests", "mirrors", name).integers(len(data)))] ^= 1 << 3
        s3.place(key, {"cut": bytes(data[:-1]), "empty": b"", "foreign": b'{"x": 1}'}.get(harm, bytes(data)))
    assert there.pull() == []
    assert not (there.root / "a").exists()
    left = [one for one in s3.keys_below(s3.root) if "/quarantine/" not in one]
    if (name, harm) == ("uqkd.json", "delete"):  # as if it had never been finished
        assert len(left) == len(FILES)
    else:
        assert left == []
        assert "moved to quarantine" in capsys.readouterr().err
    here.push("a")  # what is whole here goes up anew
    assert there.pull() == ["a"]
    assert contents(there.root / "a") == FILES


def test_a_name_that_leaves_the_folder_is_not_written(s3, places):
    here, there = places
    commit_folder(here.root, "a", fill)
    here.push("a")
    s3.place(f"{s3.root.removeprefix('s3://bucket/')}/a/../../escaped.txt", b"x")
    there.pull()
    assert not list(there.root.parent.rglob("escaped.txt"))


def test_each_process_has_a_twin_for_itself(s3, tmp_path, monkeypatch):
    monkeypatch.setenv("UQKD_CACHE", str(tmp_path))
    first, second = Mirror(s3.root), Mirror(s3.root)
    assert first.root != second.root
    assert mirrored(str(tmp_path)) is None
    assert mirrored(f"file://{tmp_path}") is None
