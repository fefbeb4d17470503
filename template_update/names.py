"""Names that an update removes, but that the project's own code still uses."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from template_update.codemods.code import dotted
from template_update.package import Package

WILDCARDS: Final = {"__getattr__", "*"}


@dataclass(frozen=True)
class MissingName:
    """A name that a file uses, but that its module does not define."""

    file: str
    line: int
    name: str

    @property
    def place(self) -> tuple[str, str]:
        """The file and the name. The line is left out, because lines move."""
        return self.file, self.name

    def __str__(self) -> str:
        """Return `file:line: name`."""
        return f"{self.file}:{self.line}: {self.name}"


class Names:
    """The names that the modules of a package define, and the names that files use.

    backend: the folder that contains the package, the tests and the migrations.
    """

    def __init__(self, backend: Path, package: Package) -> None:
        self._package = package
        self._backend = backend
        self._trees = dict(_parsed(backend))
        self._modules = {
            module: _defined(tree)
            for file, tree in self._trees.items()
            if (module := self._package.module(file)) is not None
        }
        for file in _python_files(backend):
            module = self._package.module(file)
            if module is not None:
                # Nobody knows what a file defines that does not parse, such as one in conflict.
                self._modules.setdefault(module, set(WILDCARDS))
        for module in list(self._modules):
            parent, _, name = module.rpartition(".")
            if parent:
                self._modules.setdefault(parent, set()).add(name)

    def missing(self) -> set[MissingName]:
        """Return the names of the package that files use and that no module defines."""
        found = set()
        for file, tree in self._trees.items():
            for line, name in self._used(file, tree):
                if not self._exists(name):
                    found.add(MissingName(file, line, name))
        return found

    def _used(self, file: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
        """Yield the dotted names of the package that a file imports, or reads from a module."""
        modules: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if self._is_ours(alias.name):
                        yield node.lineno, alias.name
                        if alias.asname:
                            modules[alias.asname] = alias.name
                        else:
                            modules[self._package.name] = self._package.name
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(file, node)
                if not self._is_ours(origin):
                    continue
                for alias in node.names:
                    name = f"{origin}.{alias.name}"
                    yield node.lineno, name
                    if name in self._modules:
                        modules[alias.asname or alias.name] = name
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                root, _, rest = (dotted(node) or "").partition(".")
                name = f"{modules.get(root)}.{rest}"
                if name.rpartition(".")[0] in self._modules:
                    yield node.lineno, name

    def _origin(self, file: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        module = self._package.module(file) or ""
        parts = module.split(".") + ([""] if file.endswith("__init__.py") else [])
        return ".".join([*parts[: -node.level], *([node.module] if node.module else [])])

    def _is_ours(self, name: str) -> bool:
        return f"{name}.".startswith(f"{self._package.name}.")

    def _exists(self, name: str) -> bool:
        if name in self._modules:
            return True
        module, _, attribute = name.rpartition(".")
        if module not in self._modules:
            return not module or not self._is_ours(module)
        defined = self._modules[module]
        return attribute in defined or attribute in WILDCARDS or not WILDCARDS.isdisjoint(defined)


def removed_members(
    before: Path, after: Path, package: Package, renamed: Iterable[str]
) -> Mapping[str, str]:
    """Return the public methods and attributes that classes of a package have lost.

    The keys are the names of these members, and the values are `module.Class`. Names that some
    class still has are left out. renamed: dotted names that the update renames. They are included,
    because the update may miss some uses: it knows the class of a value only from annotations.
    """
    old, new = _members(before / package.folder), _members(after / package.folder)
    still = {member for members in new.values() for member in members}
    found = {
        name.rpartition(".")[2]: name.rpartition(".")[0].removeprefix(f"{package.name}.")
        for name in renamed
        if name.split(".")[-2][:1].isupper()
    }
    return {member: owner for member, owner in found.items() if member not in still} | {
        member: owner
        for owner, members in old.items()
        if owner in new
        for member in members - still
        if not member.startswith("_")
    }


def uses_of_members(
    backend: Path, files: list[str], members: Mapping[str, str]
) -> list[MissingName]:
    """Return the places where files use one of these members, as an attribute of any object."""
    found = []
    for file, tree in _parsed(backend):
        if file not in files:
            continue
        found += [
            MissingName(file, node.lineno, f"{members[node.attr]}.{node.attr}")
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr in members
        ]
    return found


def _members(folder: Path) -> dict[str, set[str]]:
    """Return the names that the classes below a folder define in their bodies."""
    found: dict[str, set[str]] = {}
    for file, tree in _parsed(folder):
        module = file.removesuffix(".py").replace("/", ".")
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                found[f"{module}.{node.name}"] = _defined(ast.Module(node.body, []))
    return found


def _parsed(folder: Path) -> Iterator[tuple[str, ast.Module]]:
    """Yield the path and the syntax tree of each Python file below a folder that parses."""
    for file in _python_files(folder):
        try:
            yield file, ast.parse((folder / file).read_bytes())
        except (SyntaxError, ValueError):
            continue


def _python_files(folder: Path) -> Iterator[str]:
    """Yield the path of each Python file below a folder, except those in hidden folders."""
    for file in sorted(folder.rglob("*.py")):
        relative = file.relative_to(folder)
        if not any(part.startswith(".") for part in relative.parts):
            yield relative.as_posix()


def _defined(tree: ast.Module) -> set[str]:
    """Return the names that a module binds, including those in blocks such as `if` and `try`."""
    found: set[str] = set()
    for node in _statements(tree.body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        else:
            found |= {
                it.id
                for it in ast.walk(node)
                if isinstance(it, ast.Name) and isinstance(it.ctx, ast.Store)
            }
    return found


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While):
            for block in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(node, block, []))
            for handler in getattr(node, "handlers", []):
                yield from _statements(handler.body)
