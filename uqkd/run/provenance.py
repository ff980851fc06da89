"""Fingerprint of a method: the code that computes a unit, and the versions of the libraries below it.

What only draws, writes or starts work is left out, so that a change of a figure's colour recomputes nothing.
Comments, docstrings and layout are left out too: the parsed code is hashed, not its text.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import sys
from functools import lru_cache
from pathlib import Path

import uqkd

_PACKAGE = Path(uqkd.__file__).parent
# Modules that cannot change a number: drawing, storing, running, messages.
_NO_METHOD = frozenset({"errors", "figures", "gallery", "cli", "__main__", "run", "store"})
_DYNAMIC = frozenset({"globals", "locals", "vars", "eval", "exec", "getattr", "__import__"})
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "PyYAML", "PIL": "pillow"}  # imported under another name


def method_fingerprint(file: str | Path, function: str = "measure") -> str:
    """Hash of everything in `file` and in uqkd that `function` can reach, and of library versions.

    Parameters
    ----------
    file : path
        The study file.
    function : str
        Name of the function that measures a cell.

    Returns
    -------
    str
        32 hexadecimal digits. The same on every machine with the same code and versions.

    Examples
    --------
    >>> len(method_fingerprint(__file__, "method_fingerprint"))
    32
    """
    path = Path(file)
    return _fingerprint(path, function, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _fingerprint(path: Path, function: str, _modified: int) -> str:
    reached = _reachable(_parsed(path), function)
    texts = {f"study:{function}": "\n".join(map(ast.unparse, reached))}
    libraries = {"numpy", "scipy"}
    queue = _imports(reached, package="")
    while queue:
        name = queue.pop()
        source = _source_of(name, beside=path.parent)
        if source is None:
            libraries.add(name.split(".")[0])
        elif name not in texts:
            tree = _parsed(source)
            texts[name] = ast.unparse(tree)
            if (compiled := source.with_suffix(".cpp")).is_file():  # a kernel beside the module that builds it
                texts[compiled.name] = compiled.read_text()
            parent = name if source.name == "__init__.py" else name.rpartition(".")[0]
            queue |= _imports(tree.body, package=parent)
    versions = {name: version for name in libraries if (version := _version(name))}
    digest = hashlib.blake2b(digest_size=16)
    for part in (*sorted(texts.items()), *sorted(versions.items())):
        digest.update(repr(part).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _parsed(path: Path) -> ast.Module:
    """The code of a file without its docstrings."""
    tree = ast.parse(path.read_bytes(), filename=path.name)
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) or not node.body:
            continue
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            node.body[0] = ast.Pass()
    return tree


def _reachable(tree: ast.Module, function: str) -> list[ast.stmt]:
    """Top-level statements that `function` needs, by name; all but main and plot if names are looked up by text."""
    defined = [(statement, _names_defined(statement)) for statement in tree.body]
    if any(isinstance(node, ast.Name) and node.id in _DYNAMIC for node in ast.walk(tree)):
        return [statement for statement, names in defined if not names & {"main", "plot"}]
    wanted, kept = {function}, set[int]()
    grown = True
    while grown:
        grown = False
        for place, (statement, names) in enumerate(defined):
            if place not in kept and (names & wanted or _always_runs(statement)):
                kept.add(place)
                wanted |= {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
                grown = True
    return [statement for place, (statement, _) in enumerate(defined) if place in kept]


def _names_defined(statement: ast.stmt) -> set[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _always_runs(statement: ast.stmt) -> bool:
    """Statements that may act on others without naming a result: calls, loops, `x[0] = 1`, `from m import *`."""
    if isinstance(statement, ast.ImportFrom):
        return statement.names[0].name == "*"
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        return not _names_defined(statement)
    return not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.Pass))


def _imports(statements: list[ast.stmt], *, package: str) -> set[str]:
    """Dotted names of the modules that the statements import, at any depth."""
    found = set()
    for node in (node for statement in statements for node in ast.walk(statement)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from uqkd import seeds` imports a module, `from uqkd.linear import fit_ols` a name of one.
            inside = {f"{module}.{a.name}" for a in node.names if _source_of(f"{module}.{a.name}", beside=None)}
            found |= inside | ({module} if len(inside) < len(node.names) else set())
    return {name for name in found if name.split(".")[0] not in sys.stdlib_module_names and not _is_excluded(name)}


def _is_excluded(name: str) -> bool:
    parts = name.split(".")
    return parts[0] == "uqkd" and len(parts) > 1 and parts[1] in _NO_METHOD


def _source_of(name: str, *, beside: Path | None) -> Path | None:
    """The file of a module of uqkd, or of one that lies beside the study; None for a library."""
    parts = name.split(".")
    root = _PACKAGE.parent if parts[0] == "uqkd" else beside
    if root is None:
        return None
    for path in (root.joinpath(*parts).with_suffix(".py"), root.joinpath(*parts, "__init__.py")):
        if path.is_file():
            return path
    return None


def _version(module: str) -> str:
    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(module, module))
    except importlib.metadata.PackageNotFoundError:
        return ""
