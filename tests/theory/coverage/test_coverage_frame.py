"""The frame of the coverage tables: files, page, errors."""

import types

import pytest

from uqkd.errors import DataError
from uqkd.theory.coverage import __main__ as command
from uqkd.theory.coverage import kinds, tables

CELL = {"data": "normal", "S": 3, "nominal": 0.95, "covered": 0.1 + 0.2, "experiments": 10, "median_width": 1.0}


@pytest.fixture
def a_kind(monkeypatch):
    """A kind 'some' of as many cells as asked for."""

    def rows(experiments=None):
        return [{**CELL, "S": s, "experiments": experiments or 10} for s in range(module.cells)]

    module = types.SimpleNamespace(__name__="uqkd.theory.coverage.some", __doc__="About some.", rows=rows, cells=2)
    for place in (tables, command):
        monkeypatch.setattr(place, "kinds", lambda: ("some",))
        monkeypatch.setattr(place, "kind", lambda name: module)
    return module


def test_every_kind_has_rows_and_a_sentence():
    for name in kinds():
        assert tables.kind(name).__doc__.strip(), name


def test_the_command_writes_the_table_and_the_page(a_kind, tmp_path):
    assert command.main(["some", "--experiments", "7", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "coverage/some.csv").read_text().splitlines() == [
        "data,S,nominal,covered,experiments,median_width",
        "normal,0,0.95,0.3,7,1",
        "normal,1,0.95,0.3,7,1",
    ]
    page = (tmp_path / "coverage.md").read_text()
    assert "About some." in page
    assert "| normal | 1 | 0.95 | 0.3 | 7 | 1 |" in page
    (tmp_path / "coverage.md").unlink()
    assert command.main(["--page", "--out", str(tmp_path)]) == 0  # the same page, and nothing simulated
    assert (tmp_path / "coverage.md").read_text() == page


def test_a_long_table_is_gathered(a_kind, tmp_path):
    a_kind.cells = tables.LONGEST_TABLE + 1
    assert command.main(["--out", str(tmp_path)]) == 0
    page = (tmp_path / "coverage.md").read_text()
    assert f"| normal | 0.95 | {a_kind.cells} | 10 | 30.0 % | 30.0 % | 1 | S 0 |" in page


def test_an_unknown_kind_is_an_error(capsys, tmp_path):
    assert command.main(["no_such_kind", "--out", str(tmp_path)]) == 2
    assert "no_such_kind" in capsys.readouterr().err


def test_rows_that_are_none_are_refused(tmp_path):
    for rows, said in (([], "no rows"), ([{"a": 1}], "are missing"), ([CELL, {**CELL, "more": 1}], "row 1")):
        with pytest.raises(DataError, match=said):
            tables.write_table(rows, tmp_path, "bad")
    assert list(tmp_path.iterdir()) == []
