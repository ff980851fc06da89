"""A folder of files as a registry: what counts as one, what an incomplete file says, and that every registry has this shape."""

import importlib
import sys

import pytest

from uqkd.errors import OptionError
from uqkd.registry import Registry


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A package of our own with five entries, two of which are things of the kind."""
    package = tmp_path / "drinks"
    (package / "tea").mkdir(parents=True)
    (package / "tea" / "__init__.py").write_text("POUR = 1\n")
    (package / "cups").mkdir()  # no package
    for name, text in (("__init__", ""), ("_kettle", "1 / 0"), ("coffee", "POUR = 2\nCUP = 3\n")):
        (package / f"{name}.py").write_text(text)
    (package / "notes.txt").write_text("not code")
    monkeypatch.syspath_prepend(tmp_path)
    yield Registry("drink", "drinks", importlib.import_module, ("POUR", "CUP"))
    for name in [name for name in sys.modules if name.split(".")[0] == "drinks"]:
        del sys.modules[name]


def test_files_and_packages_count_and_are_listed_without_being_imported(folder):
    assert folder.names() == ("coffee", "tea")
    assert [name for name in sys.modules if name.startswith("drinks.")] == []
    assert folder.named("coffee").POUR == 2


@pytest.mark.parametrize("name", ["cofee", "_kettle", "cups", "notes", "__init__", "drinks.coffee", ""])
def test_what_is_none_of_them_is_refused_with_their_names(folder, name):
    with pytest.raises(OptionError, match=r"drink got .*Valid: 'coffee', 'tea'"):
        folder.named(name)


def test_a_file_that_lacks_a_part_is_named_with_what_it_lacks(folder):
    with pytest.raises(OptionError, match=r"drink 'tea' lacks CUP \(.*tea/__init__\.py\); such a file has POUR, CUP\."):
        folder.named("tea")


def test_a_file_that_comes_later_is_seen(folder, tmp_path):
    (tmp_path / "drinks" / "water.py").write_text("POUR = CUP = 0\n")
    assert folder.names() == ("coffee", "tea", "water")
    importlib.invalidate_caches()
    assert folder.named("water").CUP == 0
