"""The Python code of a project: its modules, and what their names refer to."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from template_update.package import Package

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Module:
    """A module, or another Python file, such as a script.

    names: its top-level names, and the dotted names that they refer to. kept: the names that an
    import binds with `as`, which are not renamed.
    """

    name: str
    file: Path
    source: str
    tree: ast.Module
    is_package: bool
    names: dict[str, str] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)

    def origin(self, node: ast.ImportFrom) -> str:
        """Return the absolute name of the module in a `from … import`."""
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        parts = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*parts, *([node.module] if node.module else [])])


@dataclass
class Class:
    """A class: its bases and the types of its attributes, as dotted names of classes."""

    bases: list[str]
    attributes: dict[str, str | None]


class Code:
    """All Python files below a folder.

    package: the project's package. Files outside of it also have names, such as `tests.conftest`.
    """

    def __init__(self, backend: Path, package: Package) -> None:
        self._backend = backend
        self._package = package
        self.modules = list(self._load())
        self._by_name = {module.name: module for module in self.modules}
        self.classes: dict[str, Class] = {}
        self._class_names: set[str] = set()
        self.functions: dict[str, str | None] = {}
        self.variables: dict[str, str | None] = {}
        self.aliases: dict[str, str] = {}
        self._defined: dict[str, set[str]] = {}
        for module in self.modules:
            self._bind(module)
        for module in self.modules:
            self._describe(module)
        for module in self.modules:
            self._describe_variables(module)

    def module(self, name: str) -> Module | None:
        """Return the project's module with a dotted name, or None if there is none."""
        return self._by_name.get(name)

    def file_of(self, name: str) -> Path | None:
        """Return the file of a module or the folder of a package, or None if there is none."""
        module = self._by_name.get(name)
        if module is None:
            return None
        return module.file.parent if module.is_package else module.file

    def path_of(self, name: str) -> Path | None:
        """Return the path that a module of the package would have."""
        root, _, rest = name.partition(".")
        if root != self._package.name or not rest:
            return None
        path = self._backend / self._package.folder / rest.replace(".", "/")
        return path.with_name(path.name + ".py")

    def definitions(self, name: str) -> set[str]:
        """Return the dotted names of all definitions in the project with this name."""
        return self._defined.get(name, set())

    def is_module(self, name: str) -> bool:
        """Return whether a dotted name is a module of the project."""
        return name in self._by_name

    def target(self, name: str) -> str:
        """Return what a dotted name refers to, after following imports in other modules."""
        for _ in range(10):
            module, _, attribute = name.rpartition(".")
            found = self._by_name.get(module)
            if found is None or self.is_module(name):
                return name
            bound = found.names.get(attribute)
            if bound is None or bound == name:
                return name
            name = bound
        return name

    def resolve(self, module: Module, node: ast.expr) -> str | None:
        """Return what a dotted expression in a module refers to."""
        root, *parts = (dotted(node) or "").split(".")
        full = module.names.get(root)
        if full is None:
            return None
        full = self.target(full)
        for part in parts:
            full = self.target(f"{full}.{part}")
        return full

    def attribute(self, owner: str, name: str) -> tuple[str, str | None] | None:
        """Return the class that defines an attribute of `owner`, and the attribute's type."""
        for current in self.hierarchy(owner):
            attributes = self.classes[current].attributes
            if name in attributes:
                return current, attributes[name]
        return None

    def hierarchy(self, owner: str) -> Iterator[str]:
        """Yield a class of the project and its base classes, the nearest first."""
        seen = set()
        waiting = [owner]
        while waiting:
            current = self.target(waiting.pop(0))
            if current in self.classes and current not in seen:
                yield current
                seen.add(current)
                waiting += self.classes[current].bases

    def annotation(self, module: Module, node: ast.expr | None) -> str | None:
        """Return the class in an annotation, such as `X | None`, `Annotated[X, …]` or `"X"`."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                return self.annotation(module, ast.parse(node.value, mode="eval").body)
            except SyntaxError:
                return None
        if isinstance(node, ast.BinOp):
            sides = [self.annotation(module, side) for side in (node.left, node.right)]
            return next((side for side in sides if side), None)
        if isinstance(node, ast.Subscript):
            name = (dotted(node.value) or "").rpartition(".")[2]
            if name in {"Annotated", "Optional", "Mapped", "type", "Final", "ClassVar"}:
                inner = node.slice
                first = inner.elts[0] if isinstance(inner, ast.Tuple) else inner
                return self.annotation(module, first)
            return None
        full = self.resolve(module, node) if node else None
        return self.aliases.get(full, full) if full else None

    def _load(self) -> Iterator[Module]:
        for file in sorted(self._backend.rglob("*.py")):
            relative = file.relative_to(self._backend)
            if any(part.startswith(".") or part == "node_modules" for part in relative.parts):
                continue
            if not is_inside(file, self._backend):
                continue
            try:
                source = file.read_bytes().decode("utf-8")
                tree = ast.parse(source)
            except (SyntaxError, ValueError):
                continue
            path = relative.as_posix()
            # A file outside of the package also has a name, such as tests.conftest.
            name = self._package.module(path) or Package("").module(f"/{path}") or path
            yield Module(name.lstrip("."), file, source, tree, relative.name == "__init__.py")

    def _bind(self, module: Module) -> None:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                module.names |= imported(node)
                module.kept |= {it.asname for it in node.names if it.asname}
            elif isinstance(node, ast.ImportFrom):
                module.names |= imported_from(module, node)
                module.kept |= {
                    it.asname for it in node.names if it.asname and it.asname != it.name
                }
        for statement in module.tree.body:
            for name in bound_names(statement):
                module.names[name] = f"{module.name}.{name}"
                self._defined.setdefault(name, set()).add(f"{module.name}.{name}")
            if isinstance(statement, ast.ClassDef):
                self._class_names.add(f"{module.name}.{statement.name}")
                for inner in statement.body:
                    for name in bound_names(inner):
                        full = f"{module.name}.{statement.name}.{name}"
                        self._defined.setdefault(name, set()).add(full)

    def _describe(self, module: Module) -> None:
        for node in module.tree.body:
            if isinstance(node, Function):
                self.functions[f"{module.name}.{node.name}"] = self.annotation(module, node.returns)
            elif isinstance(node, ast.ClassDef):
                self._describe_class(module, node)
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                target = self.annotation(module, node.value)
                if target and isinstance(node.value, ast.Subscript):
                    self.aliases[f"{module.name}.{node.targets[0].id}"] = target

    def _describe_variables(self, module: Module) -> None:
        for node in module.tree.body:
            if isinstance(node, ast.AnnAssign):
                target: ast.expr = node.target
                kind = self.annotation(module, node.annotation)
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                target, called = node.targets[0], self.annotation(module, node.value.func) or ""
                kind = called if called in self.classes else self.functions.get(called)
            else:
                continue
            if isinstance(target, ast.Name):
                self.variables[f"{module.name}.{target.id}"] = kind

    def _describe_class(self, module: Module, node: ast.ClassDef) -> None:
        full = f"{module.name}.{node.name}"
        bases = [base for it in node.bases if (base := self.annotation(module, it))]
        attributes: dict[str, str | None] = {}
        for inner in node.body:
            if isinstance(inner, Function):
                returns = self.annotation(module, inner.returns)
                own = isinstance(inner.returns, ast.Name) and inner.returns.id == "Self"
                attributes[inner.name] = full if own else returns
                self.functions[f"{full}.{inner.name}"] = attributes[inner.name]
                if inner.name == "__init__":
                    attributes |= self._assigned_to_self(module, inner)
            elif isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
                attributes[inner.target.id] = self.annotation(module, inner.annotation)
            else:
                attributes |= dict.fromkeys(bound_names(inner))
        self.classes[full] = Class(bases, attributes)

    def _assigned_to_self(self, module: Module, node: Function) -> dict[str, str | None]:
        parameters = {it.arg: self.annotation(module, it.annotation) for it in arguments(node)}
        found: dict[str, str | None] = {}
        for inner in ast.walk(node):
            target: ast.expr
            if isinstance(inner, ast.AnnAssign):
                target, kind = inner.target, self.annotation(module, inner.annotation)
            elif isinstance(inner, ast.Assign):
                target, value = inner.targets[0], inner.value
                kind = parameters.get(value.id) if isinstance(value, ast.Name) else None
                if isinstance(value, ast.Call):
                    kind = self.annotation(module, value.func)
                    # The class may be in a module that has not been described yet.
                    kind = kind if kind in self._class_names else None
            else:
                continue
            if isinstance(target, ast.Attribute) and dotted(target.value) == "self":
                found[target.attr] = kind
        return found


def is_inside(file: Path, folder: Path) -> bool:
    """Return whether the path from a folder to a file contains no symbolic link."""
    depth = len(file.relative_to(folder).parts)
    return not any(it.is_symlink() for it in [file, *file.parents][:depth])


def dotted(node: ast.expr) -> str | None:
    """Return `a.b.c` for an expression of this form, and None for any other expression."""
    parts: list[str] = []
    inner = node
    while isinstance(inner, ast.Attribute):
        parts.append(inner.attr)
        inner = inner.value
    return ".".join([inner.id, *reversed(parts)]) if isinstance(inner, ast.Name) else None


def arguments(node: Function) -> list[ast.arg]:
    """Return the parameters of a function."""
    every = node.args
    rest = [it for it in (every.vararg, every.kwarg) if it]
    return [*every.posonlyargs, *every.args, *every.kwonlyargs, *rest]


def imported(node: ast.Import) -> dict[str, str]:
    """Return the names that an `import` binds, with what they refer to."""
    return {
        alias.asname or alias.name.partition(".")[0]: (
            alias.name if alias.asname else alias.name.partition(".")[0]
        )
        for alias in node.names
    }


def imported_from(module: Module, node: ast.ImportFrom) -> dict[str, str]:
    """Return the names that a `from … import` binds, with what they refer to."""
    origin = module.origin(node)
    return {alias.asname or alias.name: f"{origin}.{alias.name}" for alias in node.names}


def bound_names(statement: ast.stmt) -> set[str]:
    """Return the names that a statement defines or assigns; imports do not count."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return set()
    return {
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
