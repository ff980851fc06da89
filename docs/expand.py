"""Hook of MkDocs: two kinds of comments in the pages become text when the site is built, so that nothing is written twice.

`<!-- api: uqkd.linear -->` becomes a table of the public names of a module and the entry of each, from its docstring.
`<!-- include: README.md, What the studies find -->` becomes a section of a file of the repository, or all of the file.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SITE = "docs/"  # where the pages lie in the repository
FACES = {
    "uqkd.linear": "linear",
    "uqkd.mlp": "mlp",
    "uqkd.classify": "classify",
    "uqkd.llm": "llm",
    "uqkd.estimators": "estimators",
    "uqkd.theory.statements": "statements",
    "uqkd.targets": "targets",
    "uqkd.stacked": "stacked",
    "uqkd.data": "data",
    "uqkd.seeds": "seeds",
    "uqkd.plan": "plan",
    "uqkd.store": "store",
    "uqkd.run": "run",
}  # public modules, and their pages in docs/api


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Called by MkDocs with the text of every page."""
    markdown = re.sub(r"<!-- api: ([\w.]+) -->", lambda found: api(found[1]), markdown)
    up = "../" * page.file.src_uri.count("/")
    return re.sub(
        r"<!-- include: ([\w./]+)(?:, ([^>]+))? -->", lambda found: included(found[1], found[2], up), markdown
    )


def included(file: str, section: str | None, up: str) -> str:
    """A section of a file without its heading, or all of the file; links to pages of the site lead there."""
    text = (ROOT / file).read_text(encoding="utf-8")
    if section is not None:
        found = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
        if found is None:
            raise ValueError(f"{file} has no section {section!r}")
        text = found[1]
    return re.sub(r"\]\(docs/([^)#]+)", lambda link: f"]({up}{_page(link[1])}", text)


def _page(path: str) -> str:
    return f"{path}/README.md" if (ROOT / SITE / path).is_dir() else path


def api(face: str) -> str:
    """Table and entries of a module's public names; a name that belongs to another public module is a link to its page."""
    own: dict[str, list[str]] = {}
    rows = []
    for name, home in public_names(face).items():
        owner = owner_of(home, face)
        page = f"{FACES[owner]}.md"
        if _is_module(home):
            rows.append(f"| [`{name}`]({page}) | the module `{home}` |")
            continue
        if (value := constant(home)) is not None:
            rows.append(f"| `{name}` | {_cell(value)} |")
            continue
        rows.append(
            f"| [`{name}`][{owner}.{name}] | {_cell(first_line(home))}{'' if owner == face else f' (of `{owner}`)'} |"
        )
        if owner == face:
            group = own.setdefault(_group(home, face), [])
            group += [entry for entry in (f"{face}.{name}", *results(home, face)) if entry not in group]
    parts = ["| name | what |\n|---|---|\n" + "\n".join(rows)]
    for group, names in own.items():
        parts.append(f"## {group}")
        parts += [f"::: {entry}" for entry in names]
    return "\n\n".join(parts)


@cache
def public_names(face: str) -> dict[str, str]:
    """The names in `__all__` of a module, or else its public functions and classes, each with where it is defined."""
    tree = _tree(face)
    listed = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"
    ]
    defined = [node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    names = listed[0] if listed else [name for name in defined if not name.startswith("_")]
    return {name: _home(face, name) for name in names}


def _home(module: str, name: str) -> str:
    """Follow imports to the module that defines a name."""
    if name not in _imported(module):
        return f"{module}.{name}"
    source, original = _imported(module)[name]
    path = f"{source}.{original}"
    return path if _is_module(path) else _home(source, original)


@cache
def _imported(module: str) -> dict[str, tuple[str, str]]:
    """Names that a module imports from the package, each with the module and its name there."""
    found: dict[str, tuple[str, str]] = {}
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "uqkd":
            found |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    return found


def owner_of(home: str, face: str) -> str:
    """The public module on whose page a name stands: the one that it is defined below, or else the one asked for."""
    above = [
        other
        for other in FACES
        if home == other or (home.startswith(f"{other}.") and home in public_names(other).values())
    ]
    return face if face in above or not above else max(above, key=len)


def first_line(home: str) -> str:
    """First paragraph of the docstring of a class or function by its full path; empty where there is none."""
    module, name = home.rsplit(".", 1)
    nodes = [
        node for node in _tree(module).body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name
    ]
    said = ast.get_docstring(nodes[-1]) if nodes else None  # the last: overloads stand before it
    return (said or "").split("\n\n")[0].replace("\n", " ")


def results(home: str, face: str) -> list[str]:
    """Classes beside a function that it returns, and that no public module has: they are described after it."""
    module, name = home.rsplit(".", 1)
    known = {node.name for node in _tree(module).body if isinstance(node, ast.ClassDef)}
    returned = [node.returns for node in _tree(module).body if isinstance(node, ast.FunctionDef) and node.name == name]
    words = {word for node in returned if node is not None for word in re.findall(r"\w+", ast.unparse(node))}
    return [
        f"{module}.{word}" for word in sorted(words & known) if f"{module}.{word}" not in public_names(face).values()
    ]


def constant(home: str) -> str | None:
    """What a name that is no class and no function stands for: its value, or the keys of a mapping."""
    module, name = home.rsplit(".", 1)
    for node in _tree(module).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = node.value  # type: ignore[union-attr]
            if isinstance(value, ast.Dict):
                return "mapping with the keys " + ", ".join(f"`{ast.unparse(key)}`" for key in value.keys if key)
            return f"`{ast.unparse(value)}`"
    return None


def _group(home: str, face: str) -> str:
    """Heading under which a name stands: of a room of estimators what the room is about."""
    rest = home.removeprefix(f"{face}.").split(".")
    if face != "uqkd.estimators" or len(rest) < 3:
        return "Reference"
    return rest[0].capitalize()


def _cell(text: str) -> str:
    """Text for a cell of a table: no bar splits it, no bracket is read as a link."""
    return re.sub(r"(?<!`)([\[\]|*_<>])(?!`)", r"\\\1", text) if "`" not in text else text.replace("|", "\\|")


def _is_module(path: str) -> bool:
    place = ROOT / path.replace(".", "/")
    return place.is_dir() or place.with_suffix(".py").is_file()


@cache
def _tree(module: str) -> ast.Module:
    place = ROOT / module.replace(".", "/")
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))
