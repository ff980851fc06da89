"""Fault 23, the hard part: names that are looked up in ways that only running the code shows.

Each case is a small package beside a study, and an edit of it. Where the edit changes what is measured, the fingerprint must
change; where it changes nothing that is reached, it should not.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

import pytest

from uqkd.run.provenance import fingerprint as provenance

Case = tuple[dict[str, str], str, str, str, str]

STUDY = "import pkg\nfrom pkg import a, b\ndef measure(cell):\n    return {}\ndef plot(table):\n    return 1\n"
B = "def f(x=1): return x + 1\ndef g(): return 5\nC = 3\n"

# name: files, what `measure` returns, the file that is edited, its old and new text
MATTERS: dict[str, Case] = {
    "a function of a module": ({}, "b.f()", "b", "x + 1", "x + 2"),
    "a constant of a function": ({"b": "K = 1\ndef f(): return K\n"}, "b.f()", "b", "K = 1", "K = 2"),
    "a default argument": ({"b": "K = 1\ndef f(x=K): return x\n"}, "b.f()", "b", "K = 1", "K = 2"),
    "a default of a keyword": ({"b": "def h(): return 1\ndef f(*, x=h()): return x\n"}, "b.f()", "b", "return 1", "return 2"),
    "getattr on a module": ({}, "getattr(b, 'f'[:])()", "b", "x + 1", "x + 2"),
    "a module handed on": ({"a": "def call(m, n): return getattr(m, n)()\n"}, "a.call(b, 'g')", "b", "return 5", "return 6"),
    "a module under another name": ({"a": "from pkg import b\nthe = b\n"}, "getattr(a.the, 'g')()", "b", "return 5", "return 6"),
    "a module in a dict": ({"a": "from pkg import b\nM = {'b': b}\n"}, "a.M['b'].g()", "b", "return 5", "return 6"),
    "a decorator": (
        {"a": "from pkg.b import twice\n@twice\ndef f(): return 1\n",
         "b": "def twice(h):\n    def inner(): return 2 * h()\n    return inner\n"},
        "a.f()", "b", "2 * h()", "3 * h()",
    ),
    "a factory of decorators": (
        {"a": "from pkg import b\n@b.times(2)\ndef f(): return 1\n",
         "b": "def times(n):\n    def wrap(h): return lambda: n * h()\n    return wrap\n"},
        "a.f()", "b", "n * h()", "n + h() + 7",
    ),
    "a chain of exports": (
        {"__init__": "from pkg.a import f\n", "a": "from .c import f\n", "c": "from .b import g as f\n"},
        "pkg.f()", "b", "return 5", "return 6",
    ),
    "an import as": ({"a": "import pkg.b as y\ndef h(): return y.g()\n"}, "a.h()", "b", "return 5", "return 6"),
    "two names exchanged": (
        {"a": "from pkg.b import f as one, g as two\n", "b": "def f(): return 1\ndef g(): return 2\n"},
        "10 * a.one() + a.two()", "a", "f as one, g as two", "g as one, f as two",
    ),
    "an import of a dotted name": ({"a": "import pkg.b\ndef h(): return pkg.b.g()\n"}, "a.h()", "b", "return 5", "return 6"),
    "an import that may fail": (
        {"a": "try:\n    from pkg.none import f\nexcept ImportError:\n    from pkg.b import g as f\n"},
        "a.f()", "b", "return 5", "return 6",
    ),
    "an import under a condition": (
        {"a": "import sys\nif sys.maxsize > 1:\n    from pkg.b import g as f\nelse:\n    f = None\n"},
        "a.f()", "b", "return 5", "return 6",
    ),
    "an import in a function": ({"a": "def h():\n    from pkg.b import g\n    return g()\n"}, "a.h()", "b", "return 5", "return 6"),
    "a module imported in a function": (
        {"a": "def h():\n    from . import b as y\n    return y.g()\n"}, "a.h()", "b", "return 5", "return 6",
    ),
    "a variable that hides nothing": (
        {"a": "from pkg.b import C\ndef h(): return [C for C in ()] or C\n"}, "a.h()", "b", "C = 3", "C = 4",
    ),
    "a name made global": (
        {"a": "N = 0\ndef up():\n    global N\n    N = N + 1\ndef h():\n    up()\n    return N\n"}, "a.h()", "a", "N + 1", "N + 2",
    ),
    "an attribute of a class": ({"b": "class K:\n    size = 2\n"}, "b.K.size", "b", "size = 2", "size = 3"),
    "a method": ({"b": "class K:\n    def m(self): return 1\n"}, "b.K().m()", "b", "return 1", "return 2"),
    "a method of a base": (
        {"a": "from pkg.b import Base\nclass K(Base): pass\n", "b": "class Base:\n    def m(self): return 1\n"},
        "a.K().m()", "b", "return 1", "return 2",
    ),
    "an heir that registers itself": (
        {"a": "from pkg.b import Base\nclass K(Base):\n    size = 2\n",
         "b": "KINDS = []\nclass Base:\n    def __init_subclass__(cls): KINDS.append(cls)\n"},
        "sum(k.size for k in b.KINDS)", "a", "size = 2", "size = 3",
    ),
    "the heirs of a class": (
        {"a": "from pkg.b import Base\nclass K(Base):\n    size = 2\n", "b": "class Base: pass\n"},
        "sum(k.size for k in b.Base.__subclasses__())", "a", "size = 2", "size = 3",
    ),
    "a metaclass": (
        {"a": "from pkg.b import Meta\nclass K(metaclass=Meta):\n    size = 2\n",
         "b": "KINDS = []\nclass Meta(type):\n    def __init__(cls, *given): KINDS.append(cls)\n"},
        "sum(k.size for k in b.KINDS)", "a", "size = 2", "size = 3",
    ),
    "functions in a dict": (
        {"a": "from pkg.b import f, g\nTABLE = {'f': f, 'g': g}\n"}, "a.TABLE['g']()", "b", "return 5", "return 6",
    ),
    "a dict that is filled later": (
        {"a": "from pkg import b\nb.TABLE['h'] = lambda: 1\n", "b": "TABLE = {}\n"},
        "b.TABLE['h']()", "a", "lambda: 1", "lambda: 2",
    ),
    "a registry filled by a decorator": (
        {"a": "from pkg.b import register\n@register\ndef h(): return 1\n",
         "b": "TABLE = {}\ndef register(f):\n    TABLE[f.__name__] = f\n    return f\n"},
        "b.TABLE['h']()", "a", "return 1", "return 2",
    ),
    "a registry filled by a call": (
        {"a": "from pkg.b import register\ndef h(): return 1\ndone = register(h)\n",
         "b": "TABLE = {}\ndef register(f):\n    TABLE[f.__name__] = f\n"},
        "b.TABLE['h']()", "a", "return 1", "return 2",
    ),
    "a registry filled by a method": (
        {"a": "from pkg.b import TABLE\ndef h(): return 1\ndone = TABLE.setdefault('h', h)\n", "b": "TABLE = {}\n"},
        "b.TABLE['h']()", "a", "return 1", "return 2",
    ),
    "a registry filled by an instance": (
        {"a": "from pkg.b import Entry\ndone = Entry(1)\n",
         "b": "ALL = []\nclass Entry:\n    def __init__(self, n): ALL.append(n)\n"},
        "sum(b.ALL)", "a", "Entry(1)", "Entry(2)",
    ),
    "a registry filled by map": (
        {"a": "from pkg.b import register\ndef h(): return 1\ndone = list(map(register, [h]))\n",
         "b": "TABLE = {}\ndef register(f):\n    TABLE[f.__name__] = f\n"},
        "b.TABLE['h']()", "a", "return 1", "return 2",
    ),
    "a registry filled inside a class": (
        {"a": "from pkg.b import TABLE\nclass K:\n    TABLE['h'] = 1\n", "b": "TABLE = {}\n"}, "b.TABLE['h']", "a", "= 1", "= 2",
    ),
    "a name replaced from outside": (
        {"a": "from pkg import b\ndef h(): return 1\nb.g = h\n"}, "b.g()", "a", "return 1", "return 2",
    ),
    "a name replaced by setattr": (
        {"a": "from pkg import b\ndef h(): return 1\nsetattr(b, 'g', h)\n"}, "b.g()", "a", "return 1", "return 2",
    ),
    "a name bound twice": ({"b": "K = 1\nK = 2\n"}, "b.K", "b", "K = 1\nK = 2", "K = 2\nK = 1"),
    "a name that a loop binds": ({"b": "for K in (1, 2): pass\n"}, "b.K", "b", "(1, 2)", "(1, 3)"),
    "functools.partial": (
        {"a": "from functools import partial\nfrom pkg.b import f\nh = partial(f, 2)\n"}, "a.h()", "b", "+ 1", "+ 2",
    ),
    "a closure": (
        {"b": "def k(): return 1\ndef make():\n    def inner(): return k()\n    return inner\n"},
        "b.make()()", "b", "return 1", "return 2",
    ),
    "modules that import one another": (
        {"a": "from pkg import b\ndef one(): return b.two()\ndef three(): return 1\n",
         "b": "from pkg import a\ndef two(): return a.three()\n"},
        "a.one()", "a", "return 1", "return 2",
    ),
    "a star": ({"a": "from pkg.b import *\n"}, "a.g()", "b", "return 5", "return 6"),
    "a star behind a star": ({"a": "from pkg.c import *\n", "c": "from pkg.b import *\n"}, "a.g()", "b", "return 5", "return 6"),
    "a star that replaces a name": (
        {"a": "def g(): return 1\nfrom pkg.b import *\n"}, "a.g()", "b", "return 5", "return 6",
    ),
    "globals()": ({"b": "K = 1\ndef f(n): return globals()[n]\n"}, "b.f('K')", "b", "K = 1", "K = 2"),
    "eval": ({"b": "K = 1\ndef f(): return eval('K')\n"}, "b.f()", "b", "K = 1", "K = 2"),
    "vars() of a module": ({}, "vars(b)['g']()", "b", "return 5", "return 6"),
    "the __dict__ of a module": ({}, "b.__dict__['g']()", "b", "return 5", "return 6"),
    "sys.modules": (
        {"b": "import sys\nK = 1\ndef f(): return sys.modules[__name__].K\n"}, "b.f()", "b", "K = 1", "K = 2",
    ),
    "importlib with a name": (
        {"a": "import importlib\ndef f(): return importlib.import_module('pkg.b').g()\n"}, "a.f()", "b", "return 5", "return 6",
    ),
    "importlib with a name that is made up": (
        {"a": "from importlib import import_module\ndef f(n): return import_module('pk' + 'g.' + n).g()\n"},
        "a.f('b')", "b", "return 5", "return 6",
    ),
    "a folder that is scanned": (
        {"a": "import importlib, pkgutil\nfrom pkg import kinds\ndef f():\n"
              "    names = [m.name for m in pkgutil.iter_modules(kinds.__path__)]\n"
              "    return sum(importlib.import_module(f'{kinds.__name__}.{n}').size for n in names)\n",
         "kinds/__init__": "", "kinds/one": "size = 1\n", "kinds/two": "from pkg.b import C as size\n"},
        "a.f()", "b", "C = 3", "C = 4",
    ),
    "a folder whose name is handed on": (
        {"a": "from pkg.kinds import get\n",
         "tools/__init__": "", "tools/load": "import importlib\ndef load(p, n): return importlib.import_module(p + '.' + n)\n",
         "kinds/__init__": "from pkg.tools.load import load\ndef get(n): return load(__name__, n)\n",
         "kinds/one": "size = 1\n"},
        "a.get('one').size", "kinds/one", "size = 1", "size = 2",
    ),
    "a lazy face": (
        {"__init__": "import importlib\n_HOME = {'g': 'pkg.b', 'f': 'pkg.b'}\ndef __getattr__(name):\n"
                     "    if name not in _HOME: raise AttributeError(name)\n"
                     "    return getattr(importlib.import_module(_HOME[name]), name)\n"},
        "pkg.g()", "b", "return 5", "return 6",
    ),
    "a lazy face without a table": (
        {"__init__": "import importlib\ndef __getattr__(name):\n    if name != 'g': raise AttributeError(name)\n"
                     "    return importlib.import_module('pkg.' + 'b').g\n"},
        "pkg.g()", "b", "return 5", "return 6",
    ),
    "a face that is made otherwise": (
        {"__init__": "def __getattr__(name):\n    if name[:2] == '__' or name in 'ab': raise AttributeError(name)\n"
                     "    return lambda: 1\n"},
        "pkg.g()", "__init__", "lambda: 1", "lambda: 2",
    ),
    "a lazy face that does more": (
        {"__init__": "import importlib\n_HOME = {'f': 'pkg.b'}\ndef __getattr__(name):\n"
                     "    if name[0] == '_' or name in 'ab': raise AttributeError(name)\n"
                     "    return getattr(importlib.import_module(_HOME.get(name, 'pkg.' + 'c')), name)\n",
         "c": "def h(): return 1\n"},
        "pkg.f() + pkg.h()", "c", "return 1", "return 2",
    ),
    "a lazy name that is a file too": (
        {"__init__": "import importlib\n_HOME = {'g': 'pkg.b'}\ndef __getattr__(name):\n"
                     "    if name not in _HOME: raise AttributeError(name)\n"
                     "    return getattr(importlib.import_module(_HOME[name]), name)\n",
         "g": ""},
        "pkg.g()", "b", "return 5", "return 6",
    ),
    "a part of a package": ({"sub/__init__": "", "sub/c": "def h(): return 1\n", "a": "from pkg.sub import c\n"},
                            "a.c.h()", "sub/c", "return 1", "return 2"),
    "a with and a walrus": ({"b": "if (K := 1):\n    pass\ndef f(): return K\n"}, "b.f()", "b", "(K := 1)", "(K := 2)"),
    "a match": (
        {"b": "K = 1\nclass P:\n    k = 1\ndef f(x):\n    match x:\n        case P.k: return K\n"},
        "b.f(1)", "b", "K = 1", "K = 2",
    ),
    "an annotated constant": ({"b": "K: int = 1\ndef f(): return K\n"}, "b.f()", "b", "K: int = 1", "K: int = 2"),
    "a dataclass field": (
        {"b": "from dataclasses import dataclass, field\ndef fresh(): return 1\n@dataclass\nclass P:\n"
              "    x: int = field(default_factory=fresh)\n"},
        "b.P().x", "b", "return 1", "return 2",
    ),
}  # fmt: skip

# The same, of edits that change nothing that is reached.
MATTERS_NOT: dict[str, Case] = {
    "another function": ({}, "b.f()", "b", "return 5", "return 6"),
    "another constant": ({}, "b.f()", "b", "C = 3", "C = 4"),
    "another name of a face": (
        {"__init__": "from pkg.b import f, g\n"}, "pkg.f()", "b", "return 5", "return 6",
    ),
    "another name of a lazy face": (
        {"__init__": "import importlib\n_HOME = {'g': 'pkg.b', 'f': 'pkg.b'}\ndef __getattr__(name):\n"
                     "    if name not in _HOME: raise AttributeError(name)\n"
                     "    return getattr(importlib.import_module(_HOME[name]), name)\n"},
        "pkg.f()", "b", "return 5", "return 6",
    ),
    "one more name of a lazy face": (
        {"__init__": "import importlib\n_HOME = {'f': 'pkg.b'}\ndef __getattr__(name):\n"
                     "    if name not in _HOME: raise AttributeError(name)\n"
                     "    return getattr(importlib.import_module(_HOME[name]), name)\n"},
        "pkg.f()", "__init__", "'f': 'pkg.b'", "'f': 'pkg.b', 'g': 'pkg.b'",
    ),
    "a variable of the same name": (
        {"a": "from pkg import b\ndef h(b): return getattr(b, 'real')\n"}, "a.h(1)", "b", "return 5", "return 6",
    ),
    "a field of the same name": (
        {"a": "from pkg import b\nclass K:\n    b: int = 1\n"}, "a.K.b", "b", "return 5", "return 6",
    ),
    "what a type checker reads": (
        {"a": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pkg.b import f\ndef h(): return 1\n"},
        "a.h()", "b", "x + 1", "x + 2",
    ),
    "a docstring": ({"b": "def f():\n    '''One.'''\n    return 1\n"}, "b.f()", "b", "One.", "Two."),
    "a comment": ({"b": "def f():\n    return 1  # one\n"}, "b.f()", "b", "# one", "# two"),
    "a module that is not loaded": ({"c": "print(1)\n"}, "b.f()", "c", "print(1)", "print(2)"),
    "a class that is not made": ({"b": "class K:\n    size = 1\ndef f(): return 1\n"}, "b.f()", "b", "size = 1", "size = 2"),
}  # fmt: skip


@pytest.fixture
def both(tmp_path, monkeypatch) -> Callable[[Case], tuple[list[str], list[object]]]:
    """Fingerprints and measured values of a case, before the edit and after it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two edits within a second may have one size

    def run(case: Case) -> tuple[list[str], list[object]]:
        files, returned, edited, old, new = case
        package = tmp_path / "pkg"
        for name, text in ({"__init__": "", "a": "", "b": B} | files).items():
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            (package / f"{name}.py").write_text(text)
        study = tmp_path / "measured.py"
        study.write_text(STUDY.format(returned))
        fingerprints, values = [], []
        for _ in range(2):
            fingerprints.append(provenance._fingerprint.__wrapped__(study, "measure", 0))
            values.append(_measured())
            text = (package / f"{edited}.py").read_text()
            (package / f"{edited}.py").write_text(text.replace(old, new))
        return fingerprints, values

    yield run
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("pkg", "measured")]:
        del sys.modules[name]
    importlib.invalidate_caches()


def _measured() -> object:
    """What the study measures with the code as it is now."""
    _forget()
    return importlib.import_module("measured").measure({})


@pytest.mark.parametrize("name", MATTERS)
def test_what_changes_the_numbers_changes_the_fingerprint(name, both):
    fingerprints, values = both(MATTERS[name])
    assert values[0] != values[1], "the case itself shows nothing"
    assert fingerprints[0] != fingerprints[1]


@pytest.mark.parametrize("name", MATTERS_NOT)
def test_what_is_not_reached_does_not(name, both):
    fingerprints, values = both(MATTERS_NOT[name])
    assert values[0] == values[1]
    assert fingerprints[0] == fingerprints[1]
