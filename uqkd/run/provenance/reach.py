"""What a function can reach: definitions, across modules and through the faces of packages, and libraries.

Where a name is looked up while the code runs, everything that it may stand for is reached: all of a module that is handed on
as a value, every file of a folder whose modules are imported by a made-up name. A statement that acts when its module is
loaded is reached wherever that module is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from uqkd.run.provenance.definitions import Definition, Module, with_packages
from uqkd.run.provenance.mentions import Chain, Target, absolute
from uqkd.run.provenance.source_files import SourceFiles

# Words of code that looks up, while it runs: names of its own module, modules, the heirs of a class.
_OWN_NAMES = frozenset({"vars()", "dir()", "locals()", "__globals__", "currentframe", "_getframe"})
_OWN_CHAINS = frozenset({("globals",), ("eval",), ("exec",), ("builtins",), ("__builtins__",), ("sys", "modules")})
_MODULES = frozenset({
    "import_module", "__import__", "iter_modules", "walk_packages", "__path__", "spec_from_file_location", "run_path", "run_module",
})  # fmt: skip
_HEIRS = frozenset({"__subclasses__", "__init_subclass__", "metaclass"})
_OWN_PLACE = frozenset({("__name__",), ("__path__",), ("__package__",), ("__file__",), ("__spec__",)})
_ACTING = frozenset({"setattr", "delattr", "exec", "eval", "globals", "vars", "locals", "__import__"})
_MODULE_NAME = re.compile(r"\.*[A-Za-z_]\w*(\.\w+)*\.?")
_COMPILED_NAME = re.compile(r"[\w-]+\.(c|cc|cpp|cu|cuh|cxx|h|hpp|pyx|so)")
_NOT_MEASURED = frozenset({"main", "plot"})  # parts of a study file that draw and publish


@dataclass(frozen=True)
class Hop:
    """A step from a name to what it stands for: a definition, or all of a module.

    Attributes
    ----------
    module : Module
    definition : Definition, optional
        None for all of the module.
    rest : chain
        The attributes that are left.
    lazy : bool
        The definition is a module's `__getattr__`, and what it hands out is known.
    """

    module: Module
    definition: Definition | None
    rest: Chain = ()
    lazy: bool = False


class Names:
    """Follows dotted names to definitions, through imports, aliases, stars and module-level `__getattr__`."""

    def __init__(self, sources: SourceFiles) -> None:
        self._sources = sources

    def trail(self, module: Module, chain: Chain, within: Definition | None = None) -> Iterator[Hop | str]:
        """Every step from a name in a module to what it may stand for; a text is the name of a library's module."""
        inside = within.mentions.imports.get(chain[0], ()) if within else ()
        if not inside and chain[0] not in module.by_name and "*" not in module.by_name:
            return  # most names: Python's own
        seen: set[tuple[str, Chain]] = set()
        for target in inside:
            yield from self._enter(target, chain[1:], seen)
        yield from self._bound(module, chain, seen)

    def _bound(self, module: Module, chain: Chain, seen: set[tuple[str, Chain]]) -> Iterator[Hop | str]:
        head, rest = chain[0], chain[1:]
        for definition in module.by_name.get(head, ()):
            yield Hop(module, definition, rest)
            targets = definition.mentions.imports.get(head, ()) if not definition.is_function else ()
            for name, attribute in targets:
                own = name == module.name and attribute  # `from package import part` in the package itself
                yield from self._enter((f"{name}.{attribute}", "") if own else (name, attribute), rest, seen)
        for starred in self._stars(module):
            if self._has(starred, head):
                yield from self._attribute(starred, chain, seen)

    def _enter(self, target: Target, rest: Chain, seen: set[tuple[str, Chain]]) -> Iterator[Hop | str]:
        name, attribute = target
        chain = (attribute, *rest) if attribute else rest
        if module := self._sources.get(name):
            yield from self._attribute(module, chain, seen) if chain else [Hop(module, None)]
        elif chain and self._sources.get(below := f"{name}.{chain[0]}"):  # a folder without __init__.py
            yield from self._enter((below, ""), chain[1:], seen)
        elif library := self._sources.library(name):
            yield library

    def _attribute(self, module: Module, chain: Chain, seen: set[tuple[str, Chain]]) -> Iterator[Hop | str]:
        if (module.name, chain) in seen:
            return
        seen.add((module.name, chain))
        below = f"{module.name}.{chain[0]}"
        part = self._sources.get(below) if module.is_package else None
        handed = self._handed_out(module, chain[0])
        if self._has(module, chain[0]):
            yield from self._bound(module, chain, seen)
            bindings = module.by_name.get(chain[0], ())
            if any(name == below for d in bindings for name, _ in d.mentions.imports.get(chain[0], ())):
                return  # `from package.part import part`: the part itself is hidden
        elif not part and not handed:
            yield Hop(module, None, () if chain[0].startswith("__") else chain)
        if part:
            yield from self._enter((below, ""), chain[1:], seen)
        for target in handed:
            yield from self._enter((target, chain[0]), chain[1:], seen)
        if handed:
            yield from (Hop(module, definition, lazy=True) for definition in module.by_name["__getattr__"])

    def _stars(self, module: Module) -> list[Module]:
        names = (name for star in module.by_name.get("*", ()) for name, _ in star.mentions.imports["*"])
        return [found for name in names if (found := self._sources.get(name))]

    def _has(self, module: Module, name: str) -> bool:
        waiting, seen = [module], set[Module]()
        while waiting:
            one = waiting.pop()
            if name in one.by_name:
                return True
            if one not in seen:
                seen.add(one)
                waiting += self._stars(one)
        return False

    def _handed_out(self, module: Module, name: str) -> list[str]:
        """The modules that a table beside a module-level `__getattr__` names for a name."""
        if "__getattr__" not in module.by_name:
            return []
        listed = [table[name] for d in module.definitions if name in (table := d.table)]
        full = [(absolute(text, module.package), f"{module.package}.{text}") for text in listed]
        return [one for pair in full for one in pair if self._sources.get(one)]


class Reach:
    """All that the functions of a study file reach.

    Parameters
    ----------
    sources : SourceFiles
    study : Module
        The study file.
    function : str
        Where to begin.

    Attributes
    ----------
    reached : dict
        The reached definitions of each module.
    libraries : set of str
    loaded : dict
        The modules that are loaded on the way, as keys, in some order.
    """

    def __init__(self, sources: SourceFiles, study: Module, function: str) -> None:
        self._sources, self._names, self._study = sources, Names(sources), study
        self.reached: dict[Module, set[Definition]] = {}
        self.libraries: set[str] = set()
        self.loaded: dict[Module, None] = {}
        self._whole: set[Module] = set()
        self._taken: set[tuple[Definition, bool]] = set()
        self._heirs_count = False
        self._waiting: list[Hop] = []
        self._load(study)
        self._resolve(study, (function,))
        while self._waiting:
            self._follow(self._waiting.pop())

    def texts(self) -> dict[str, str]:
        """The code of what is reached: a text per module, in the order of the file, and the compiled kernels beside it."""
        found = {}
        for module, definitions in self.reached.items():
            ordered = sorted(definitions, key=lambda definition: definition.place)
            found[module.name] = "\n".join(definition.text for definition in ordered)
            named = {text for one in ordered for text in one.mentions.strings if _COMPILED_NAME.fullmatch(text)}
            for path in {module.path.with_suffix(".cpp"), *map(module.path.with_name, named)}:
                if path.is_file():
                    found[f"{module.name}/{path.name}"] = path.read_bytes().decode("utf-8", "surrogateescape")
        return found

    def _resolve(self, module: Module, chain: Chain, within: Definition | None = None) -> None:
        for hop in self._names.trail(module, chain, within):
            if isinstance(hop, str):
                self.libraries.add(hop)
            elif hop.definition is None:
                self._take_whole(hop.module, folder=not hop.rest)
            else:
                self._take(hop)

    def _take(self, hop: Hop) -> None:
        definitions = self.reached.setdefault(hop.module, set())
        if hop.definition is not None and (hop.definition, hop.lazy) not in self._taken:
            self._taken.add((hop.definition, hop.lazy))
            definitions.add(hop.definition)
            self._waiting.append(hop)

    def _take_whole(self, module: Module, *, folder: bool = False) -> None:
        """Everything in a module; of a package that is handed on, what lies below it too."""
        if folder and module.is_package and module.name != self._sources.package:
            for below in self._sources.around(module):
                self._take_whole(below)
        if module in self._whole:
            return
        self._whole.add(module)
        for definition in module.definitions:
            if module is self._study and definition.names & _NOT_MEASURED:
                continue
            self._take(Hop(module, definition))
            for name in definition.names - {"*"}:
                self._resolve(module, (name,))
            for name, _ in definition.mentions.imports.get("*", ()):
                if starred := self._sources.get(name):
                    self._take_whole(starred)

    def _follow(self, hop: Hop) -> None:
        module, definition = hop.module, hop.definition
        assert definition is not None
        self._load(module)
        mentions = definition.mentions
        tables = {name for d in module.definitions if d.table for name in d.names} if hop.lazy else set()
        for chain in mentions.uses:
            if chain[0] not in tables:
                self._resolve(module, chain, definition)
        if not definition.is_import:
            self._load_all(mentions.loads)
            self.libraries |= {library for name in mentions.loads if (library := self._sources.library(name))}
        if not hop.lazy:
            self._follow_lookups(module, definition)

    def _follow_lookups(self, module: Module, definition: Definition) -> None:
        mentions = definition.mentions
        if not _OWN_NAMES.isdisjoint(mentions.words) or any({c[:1], c[:2]} & _OWN_CHAINS for c in mentions.uses):
            self._take_whole(module)
        if not _HEIRS.isdisjoint(mentions.words) and not self._heirs_count:
            self._heirs_count = True
            for loaded in self.loaded:
                self._take_acting(loaded)
        made_up = not _MODULES.isdisjoint(mentions.words)
        named = [found for text in mentions.strings if (found := self._named(text, module, relative=made_up))]
        for found in named:
            self._take_whole(found, folder=True)
        own_place = _OWN_PLACE & mentions.uses and (
            made_up or module.is_package
        )  # others may import by the package's name
        if own_place or (made_up and not named and not self._hands_on_modules(module, definition)):
            for found in self._sources.around(module):
                self._take_whole(found)

    def _hands_on_modules(self, module: Module, definition: Definition) -> bool:
        hops = (hop for chain in definition.mentions.uses for hop in self._names.trail(module, chain, definition))
        return any(not isinstance(hop, str) and hop.definition is None for hop in hops)

    def _named(self, text: str, module: Module, *, relative: bool) -> Module | None:
        """The module that a text names; only a full dotted name counts unless modules are imported by made-up names."""
        if not _MODULE_NAME.fullmatch(text) or not (relative or "." in text.strip(".")):
            return None
        return self._sources.get(absolute(text.rstrip("."), module.package))

    def _load_all(self, names: set[str]) -> None:
        for name in with_packages(names):
            if module := self._sources.get(name):
                self._load(module)

    def _load(self, module: Module) -> None:
        waiting = [module]
        while waiting:
            module = waiting.pop()
            if module in self.loaded:
                continue
            self.loaded[module] = None
            self._take_acting(module)
            waiting += [found for name in module.loads if (found := self._sources.get(name))]

    def _take_acting(self, module: Module) -> None:
        for definition in module.definitions:
            calls, acts = definition.on_load
            heir = self._heirs_count and definition.bases
            if acts or heir or any(self._acts(module, chain, set()) for chain in calls):
                self._take(Hop(module, definition))

    def _acts(self, module: Module, chain: Chain, seen: set[tuple[Module, Chain]]) -> bool:
        """Whether a call, made when a module is loaded, may change something beyond its result.

        Our own functions, methods and objects may, and classes that run code of their own when they are made; of the
        libraries' only what says that it sets or registers.
        """
        if (module, chain) in seen:
            return False
        seen.add((module, chain))
        hops = list(self._names.trail(module, chain))
        for hop in hops:
            if isinstance(hop, str):
                if chain[-1].startswith(("register", "set")):
                    return True
            elif hop.definition is None or (not hop.definition.is_import and hop.rest):
                return True
            elif hop.definition.is_class:
                bases = hop.definition.bases
                if hop.definition.runs_when_made or any(self._acts(hop.module, base, seen) for base in bases):
                    return True
            elif not hop.definition.is_import:
                return True
        return not hops and chain[0] in _ACTING
