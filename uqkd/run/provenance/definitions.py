"""The definitions of a module: every function, class, constant and import of its top level, and every statement that acts.

A definition is the unit of provenance: an edit elsewhere in its file is no edit of it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from uqkd.run.provenance.mentions import Chain, Mentions, bound, called_on_load, dotted, imported

_MAKERS = frozenset({"__init__", "__new__", "__post_init__", "__init_subclass__", "__set_name__", "__call__"})


@dataclass(frozen=True, eq=False)
class Definition:
    """A statement of a module's top level, or one name of an import.

    Attributes
    ----------
    place : int
        Where it stands in its module.
    statement : ast.stmt
        Its code, without docstrings.
    package : str
        What relative imports in it start from.
    names : set of str
        What it binds; "*" for all the names of another module.
    """

    place: int
    statement: ast.stmt
    package: str
    names: frozenset[str]

    @property
    def is_import(self) -> bool:
        """Whether it is a name of an import, which is then all of `names`."""
        return isinstance(self.statement, (ast.Import, ast.ImportFrom))

    @property
    def is_class(self) -> bool:
        """Whether it is a class."""
        return isinstance(self.statement, ast.ClassDef)

    @property
    def is_function(self) -> bool:
        """Whether it is a function."""
        return isinstance(self.statement, (ast.FunctionDef, ast.AsyncFunctionDef))

    @cached_property
    def mentions(self) -> Mentions:
        """What it needs; of an import, the name and what it stands for."""
        if isinstance(self.statement, (ast.Import, ast.ImportFrom)):
            every = imported(self.statement, self.package)
            ours = [(name, target, loads) for name, target, loads in every if name in self.names]
            return Mentions(
                self.package, imports={n: {t} for n, t, _ in ours}, loads=set().union(*(x for *_, x in ours))
            )
        found = Mentions(self.package)
        found.read(self.statement)
        return found

    @cached_property
    def text(self) -> str:
        """Its code without docstrings, comments and layout."""
        if self.is_import:
            return ", ".join(f"{name} = {':'.join(*targets)}" for name, targets in self.mentions.imports.items())
        return ast.unparse(self.statement)

    @cached_property
    def on_load(self) -> tuple[set[Chain], bool]:
        """What it calls when the module is loaded, and whether it may act without a call, as `x[0] = 1` does."""
        calls, acts = called_on_load(self.statement)
        return calls, acts or "*" in self.names

    @cached_property
    def bases(self) -> set[Chain]:
        """Of a class."""
        nodes = self.statement.bases if isinstance(self.statement, ast.ClassDef) else []
        return {chain for node in nodes if (chain := dotted(node))}

    @cached_property
    def runs_when_made(self) -> bool:
        """Of a class: whether code of its own runs where an instance or an heir is made."""
        assert isinstance(self.statement, ast.ClassDef)
        names = {name for part in self.statement.body for name in bound(part)}
        return bool(names & _MAKERS) or any(keyword.arg == "metaclass" for keyword in self.statement.keywords)

    @cached_property
    def table(self) -> dict[str, str]:
        """Of a constant: the dict of texts that it is; empty for anything else."""
        value = self.statement.value if isinstance(self.statement, (ast.Assign, ast.AnnAssign)) else None
        try:
            found = ast.literal_eval(value) if isinstance(value, ast.Dict) else {}
        except ValueError:
            return {}
        return found if all(isinstance(text, str) for pair in found.items() for text in pair) else {}


@dataclass(frozen=True, eq=False)
class Module:
    """A parsed module.

    Attributes
    ----------
    name : str
        Dotted; empty for a study file.
    path : Path
    definitions : tuple of Definition
    by_name : mapping
        The definitions of each name, and those of stars under "*".
    """

    name: str
    path: Path
    definitions: tuple[Definition, ...]
    by_name: Mapping[str, tuple[Definition, ...]]

    @property
    def is_package(self) -> bool:
        """Whether other modules may lie below it."""
        return self.path.name == "__init__.py"

    @property
    def package(self) -> str:
        """What relative imports in it start from."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @cached_property
    def loads(self) -> set[str]:
        """The modules that are loaded with it, if they are there."""
        names = {name for one in self.definitions if one.is_import for name in one.mentions.loads}
        return with_packages(names | {self.package})


def with_packages(names: set[str]) -> set[str]:
    """Names of modules and of the packages in which they lie, which are loaded first.

    Examples
    --------
    >>> sorted(with_packages({"a.b.c"}))
    ['a', 'a.b', 'a.b.c']
    """
    return {".".join(parts[: i + 1]) for name in names for parts in [name.split(".")] for i in range(len(parts))}


@lru_cache(maxsize=2048)
def read_module(name: str, path: Path, code: bytes) -> Module:
    """The definitions of a module, each file parsed once per process and content.

    Examples
    --------
    >>> module = read_module("m", Path("m.py"), b"from a import b, c; x: int = c(1)  # why")
    >>> [definition.text for definition in module.definitions]
    ['b = a:b', 'c = a:c', 'x: int = c(1)']
    """
    package = Module(name, path, (), {}).package
    definitions: list[Definition] = []
    by_name: dict[str, tuple[Definition, ...]] = {}
    for statement in _statements(_without_docstrings(ast.parse(code, filename=path.name))):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            parts = [{one} for one, *_ in imported(statement, package)]
        else:
            parts = [bound(statement)]
        for names in parts:
            definition = Definition(len(definitions), statement, package, frozenset(names))
            definitions.append(definition)
            for one in names:
                by_name[one] = (*by_name.get(one, ()), definition)
    return Module(name, path, tuple(definitions), by_name)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in _scopes(tree):
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            node.body[0] = ast.Pass()
    return tree


def _scopes(node: ast.AST) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """All that may have a docstring; expressions hold none."""
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        yield node
    for blocks in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, blocks, ()) if not isinstance(node, ast.expr) else ():
            yield from _scopes(child)


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """The top level, without what only a type checker reads."""
    for statement in tree.body:
        if isinstance(statement, ast.If) and dotted(statement.test)[-1:] == ("TYPE_CHECKING",):
            yield from statement.orelse
        elif not isinstance(statement, ast.Pass):
            yield statement
