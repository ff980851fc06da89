"""What a piece of code mentions: the names that it looks up outside itself, its imports, and what it calls when loaded."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Chain = tuple[str, ...]  # ("theory", "expected_error"): a dotted name, as it is written
Target = tuple[str, str]  # a module and a name in it; no name stands for the module itself

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_OF_ARGUMENTS = frozenset(
    {("map",), ("filter",), ("reduce",), ("sorted",), ("min",), ("max",)}
)  # these call what they are given


@dataclass
class Mentions:
    """What a statement mentions.

    Attributes
    ----------
    uses : set of chains
        Names that are neither arguments nor variables of the functions in it.
    words : set of str
        Every name and attribute, and "vars()" for such a call without arguments.
    strings : set of str
    imports : dict
        Name to what it stands for, of the imports inside.
    loads : set of str
        Modules that those imports load.
    """

    package: str
    uses: set[Chain] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    strings: set[str] = field(default_factory=set)
    imports: dict[str, set[Target]] = field(default_factory=dict)
    loads: set[str] = field(default_factory=set)

    def read(self, node: ast.AST, hidden: frozenset[str] = frozenset()) -> None:
        """Add what a node mentions; `hidden` are the variables of the functions around it."""
        if isinstance(node, (ast.Name, ast.Attribute)):
            self._read_name(node, hidden)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for name, target, loaded in imported(node, self.package):
                self.imports.setdefault(name, set()).add(target)
                self.loads |= loaded
        elif isinstance(node, _FUNCTIONS):
            self._read_function(node, hidden)
        elif isinstance(node, _COMPREHENSIONS):
            self._read_comprehension(node, hidden)
        else:
            self._read_other(node, hidden)

    def _read_name(self, node: ast.Name | ast.Attribute, hidden: frozenset[str]) -> None:
        chain = dotted(node)
        self.words |= {node.id} if isinstance(node, ast.Name) else {node.attr, *chain}
        if chain and chain[0] not in hidden and not (len(chain) == 1 and isinstance(node.ctx, ast.Store)):
            self.uses.add(chain)
        if not chain and isinstance(node, ast.Attribute):
            self.read(node.value, hidden)

    def _read_other(self, node: ast.AST, hidden: frozenset[str]) -> None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            self.strings.add(node.value)
        elif isinstance(node, ast.Global):
            self.uses |= {(name,) for name in node.names}
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id not in hidden:
            self.uses.add((node.target.id,))
        elif isinstance(node, ast.Call) and not node.args and isinstance(node.func, ast.Name):
            self.words.add(f"{node.func.id}()")
        elif isinstance(node, ast.ClassDef):
            self.words |= {keyword.arg or "" for keyword in node.keywords}
        for child in ast.iter_child_nodes(node):
            self.read(child, hidden)

    def _read_function(self, node: ast.AST, hidden: frozenset[str]) -> None:
        inside = node.body if isinstance(node.body, list) else [node.body]  # type: ignore[attr-defined]
        arguments: ast.arguments = node.args  # type: ignore[attr-defined]
        for child in ast.iter_child_nodes(node):
            if not any(child is part for part in inside):
                self.read(child, hidden)  # decorators, defaults and annotations belong to the code around
        scope = [found for part in inside for found in _bindings(part)]
        own = {name for kind, name in scope if kind == "own"}
        own |= {argument.arg for argument in ast.walk(arguments) if isinstance(argument, ast.arg)}
        free = {name for kind, name in scope if kind == "global"}
        free |= {name for kind, name in scope if kind == "import"}  # those are kept in `imports`
        hidden = (hidden | own) - free
        for part in inside:
            self.read(part, hidden)

    def _read_comprehension(self, node: ast.AST, hidden: frozenset[str]) -> None:
        loops: list[ast.comprehension] = node.generators  # type: ignore[attr-defined]
        self.read(loops[0].iter, hidden)
        own = frozenset(n.id for loop in loops for n in ast.walk(loop.target) if isinstance(n, ast.Name))
        for child in ast.iter_child_nodes(node):
            for part in ast.iter_child_nodes(child) if child is loops[0] else [child]:
                if part is not loops[0].iter:
                    self.read(part, hidden | own)


def dotted(node: ast.AST) -> Chain:
    """`a.b.c` as a chain; an empty one for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else ()


def bound(statement: ast.AST) -> set[str]:
    """Names that a statement binds in the scope in which it stands."""
    return {name for kind, name in _bindings(statement) if kind != "global"}


def _bindings(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The names that a node binds in its own scope, each with how: "own", "import", or "global" for what is outside."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from (("import", name) for name, *_ in imported(node, ""))
    elif isinstance(node, ast.Global):
        yield from (("global", name) for name in node.names)
    elif isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            yield "own", node.id
    elif isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        yield from () if isinstance(node, ast.Lambda) else [("own", node.name)]
    elif isinstance(node, ast.comprehension):  # its variables are its own
        for part in (node.iter, *node.ifs):
            yield from _bindings(part)
    else:
        if isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            yield "own", node.name
        elif isinstance(node, ast.MatchMapping) and node.rest:
            yield "own", node.rest
        for child in ast.iter_child_nodes(node):
            yield from _bindings(child)


def imported(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, Target, set[str]]]:
    """Each name that an import binds, what it stands for, and the modules that are loaded for it; "*" for a star."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (
                alias.asname or alias.name.partition(".")[0],
                (alias.name if alias.asname else alias.name.partition(".")[0], ""),
                {alias.name},
            )
        return
    module = absolute("." * node.level + (node.module or ""), package)
    for alias in node.names:
        if alias.name == "*":
            yield "*", (module, "*"), {module}
        else:
            inside = f"{module}.{alias.name}" if module else alias.name
            yield alias.asname or alias.name, (module, alias.name), {module, inside}


def absolute(name: str, package: str) -> str:
    """The full name of a module that may be written with leading dots."""
    level = len(name) - len(name.lstrip("."))
    base = package.split(".")[: len(package.split(".")) - level + 1] if level else []
    return ".".join(part for part in (*base, name[level:]) if part)


def called_on_load(statement: ast.stmt) -> tuple[set[Chain], bool]:
    """What is called when the module is loaded, and whether the statement may act on other things without a call.

    Bodies of functions do not run then; decorators, defaults, bases and the bodies of classes do.
    """
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        defaults = [default for default in (*statement.args.defaults, *statement.args.kw_defaults) if default]
        return _decorators(statement) | _calls(defaults), False
    if isinstance(statement, ast.ClassDef):
        calls = _decorators(statement) | _calls([*statement.bases, *statement.keywords])
        above = [*statement.bases, *(keyword.value for keyword in statement.keywords)]
        calls |= {chain for base in above if (chain := dotted(base))}  # may register who inherits from it
        inside = [called_on_load(part) for part in statement.body]
        return calls.union(*(chains for chains, _ in inside)), any(acts for _, acts in inside)
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        stores = [node for target in targets for node in ast.walk(target)]
        acts = any(isinstance(n, (ast.Attribute, ast.Subscript)) and isinstance(n.ctx, ast.Store) for n in stores)
        return _calls([statement.value] if statement.value else []), acts
    constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return set(), not constant and not isinstance(statement, (ast.Import, ast.ImportFrom, ast.Pass))


def _decorators(statement: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> set[Chain]:
    return {chain for node in statement.decorator_list if (chain := _root(node))} | _calls(statement.decorator_list)


def _calls(nodes: Iterable[ast.AST]) -> set[Chain]:
    calls: set[Chain] = set()
    for node in nodes:
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.Call):
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            runs = [node.func, *(given if dotted(node.func)[-1:] in _OF_ARGUMENTS else ())]
            calls |= {chain for one in runs if (chain := _root(one))}
        calls |= _calls(ast.iter_child_nodes(node))
    return calls


def _root(node: ast.AST) -> Chain:
    """The dotted name at the bottom of `a.b(1)[2].c`."""
    while not dotted(node) and isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return dotted(node)
