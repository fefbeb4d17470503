"""Renames in one module, as edits of its text at the places that its syntax tree names."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from template_update.codemods.code import (
    Code,
    Function,
    Module,
    arguments,
    bound_names,
    dotted,
    imported,
    imported_from,
)
from template_update.codemods.registry import Renames

# Functions that take an object and the name of one of its attributes.
BY_NAME: Final = {"getattr", "setattr", "hasattr", "delattr", "object"}


@dataclass
class Scope:
    """What names mean inside a function: the class of a variable, or None if it is unknown.

    owner: the class around a method. function: its dotted name.
    """

    owner: str | None
    function: str
    variables: dict[str, str | None] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


def rewrite(module: Module, code: Code, renames: Renames) -> str:
    """Return the text of a module with the names that it should use now."""
    mentioned = {part for old in renames.names for part in old.split(".")[-1:]}
    mentioned |= {name for names in renames.parameters.values() for name in names}
    if not any(name in module.source for name in mentioned):
        return module.source
    rewriter = _Rewriter(module, code, renames)
    rewriter.visit(module.tree)
    return rewriter.result()


class _Rewriter(ast.NodeVisitor):
    def __init__(self, module: Module, code: Code, renames: Renames) -> None:
        self._module = module
        self._code = code
        self._renames = renames
        self._edits: dict[tuple[int, int], str] = {}
        self._imports: set[tuple[str, str]] = set()
        self._scopes: list[Scope] = []
        self._class: str | None = None
        self._lines = [0]
        for line in module.source.encode().splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._members = {old.rpartition(".")[2] for old in renames.names if self._is_member(old)}
        # Names that cannot be taken in this module, because something of its own has them.
        self._taken = {name for name, full in module.names.items() if self._new_name(full) == full}

    def result(self) -> str:
        """Return the text with all edits."""
        text = self._module.source.encode()
        for (start, end), new in sorted(self._edits.items(), reverse=True):
            text = text[:start] + new.encode() + text[end:]
        result = text.decode()
        for origin, name in sorted(self._imports):
            result = _add_import(result, f"from {origin} import {name}\n")
        return result

    # Imports

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            new = self._new_module(alias.name)
            if new != alias.name:
                self._replace(alias, new + (f" as {alias.asname}" if alias.asname else ""))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        origin = self._module.origin(node)
        groups: dict[str, list[str]] = {}
        changed = False
        for alias in node.names:
            full = f"{origin}.{alias.name}"
            new_origin, name = self._new_module(origin), alias.name
            if full in self._renames.names:
                new_origin, _, name = self._renames.names[full].rpartition(".")
            elif (new := self._new_name(full)) != full:  # through a module that imports it
                name = new.rpartition(".")[2]
            changed |= (new_origin, name) != (origin, alias.name)
            bound = alias.asname or (alias.name if self._collides(alias.name, name) else name)
            groups.setdefault(new_origin, []).append(
                name if bound == name else f"{name} as {bound}"
            )
        if changed:
            indent = " " * node.col_offset
            lines = [f"from {it} import {', '.join(names)}" for it, names in groups.items()]
            self._replace(node, f"\n{indent}".join(lines))

    # Definitions

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        outer, full = self._class, f"{self._class or self._module.name}.{node.name}"
        self._rename_definition(node, full)
        for decorator in node.decorator_list:
            self.visit(decorator)
        for base in [*node.bases, *node.keywords]:
            self.visit(base)
        self._class = full
        for statement in node.body:
            self.visit(statement)
        self._class = outer

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_function(node)

    def _visit_function(self, node: Function) -> None:
        inside = self._scopes[-1].function if self._scopes else self._class or self._module.name
        full = f"{inside}.{node.name}"
        if not self._scopes:
            self._rename_definition(node, full)
        for outer in [
            *node.decorator_list,
            *node.args.defaults,
            *filter(None, node.args.kw_defaults),
        ]:
            self.visit(outer)
        owner = self._class if not self._scopes else None
        scope = Scope(owner, full)
        self._scopes.append(scope)
        parameters = self._parameters(full, owner)
        for argument in arguments(node):
            kind = self._code.annotation(self._module, argument.annotation)
            scope.variables[argument.arg] = kind
            if argument.annotation:
                self._visit_annotation(argument.annotation)
            if argument.arg in parameters:
                self._edit(argument, len(argument.arg.encode()), parameters[argument.arg])
        if owner and node.args.args and not _is_static(node):
            scope.variables[node.args.args[0].arg] = owner
        if node.returns:
            self._visit_annotation(node.returns)
        self._collect(node, scope)
        outer_class, self._class = self._class, None
        for statement in node.body:
            self.visit(statement)
        self._class = outer_class
        self._scopes.pop()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._visit_annotation(node.annotation)
        self.visit(node.target)
        if node.value:
            self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(it, ast.Name) and it.id == "__all__" for it in node.targets):
            for element in getattr(node.value, "elts", []):
                if isinstance(element, ast.Constant) and isinstance(element.value, str):
                    self._rename_string(element, self._module.names.get(element.value, ""))
        self.generic_visit(node)

    # Uses

    def visit_Name(self, node: ast.Name) -> None:
        for scope in reversed(self._scopes):
            parameters = self._parameters(scope.function, scope.owner)
            if node.id in scope.variables:
                if node.id in parameters:
                    self._edit(node, len(node.id.encode()), parameters[node.id])
                return
        full = self._module.names.get(node.id)
        if self._class and isinstance(node.ctx, ast.Store):
            full = f"{self._class}.{node.id}"
        if full is None:
            return
        new = self._new_name(full).rpartition(".")[2]
        if node.id == full.rpartition(".")[2] and not self._collides(node.id, new):
            self._edit(node, len(node.id.encode()), new)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        full = self._reference(node)
        if full is not None and self._code.is_module(full.rpartition(".")[0]):
            module = full.rpartition(".")[0]
            new_module, _, new = self._new_name(full).rpartition(".")
            if self._code.is_module(full):
                self._rename_module_expression(node, full)
                return
            if self._new_name(full) != full and new_module != self._new_module(module):
                self._replace(node, new)
                self._imports.add((new_module, new))
                return
            self._rename_attribute(node, new)
            self.visit(node.value)
            return
        if node.attr in self._members:
            owner = full.rpartition(".")[0] if full else None
            owner = owner if owner in self._code.classes else self._type(node.value)
            self._rename_attribute(node, self._new_member(owner, node.attr))
        self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        function = self._called(node.func)
        for keyword in node.keywords:
            if keyword.arg is None or function is None:
                continue
            new = self._parameters(function, None).get(keyword.arg, keyword.arg)
            if function in self._code.classes:
                new = self._new_member(function, keyword.arg, default=new)
            self._edit(keyword, len(keyword.arg.encode()), new)
        name = (dotted(node.func) or "").rpartition(".")[2]
        if name in BY_NAME and len(node.args) > 1:
            self._rename_named_attribute(node.args[0], node.args[1])
        self.generic_visit(node)

    def _visit_annotation(self, node: ast.expr) -> None:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                self._rename_string(inner, self._module.names.get(inner.value, ""))
        self.visit(node)

    def _rename_named_attribute(self, subject: ast.expr, name: ast.expr) -> None:
        if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
            return
        full = self._reference(subject)
        if full and self._code.is_module(full):
            self._rename_string(name, f"{full}.{name.value}")
            return
        owner = full if full in self._code.classes else self._type(subject)
        self._rename_text(name, name.value, self._new_member(owner, name.value))

    # What expressions are

    def _reference(self, node: ast.expr) -> str | None:
        """Return the module, class, function or member that a chain of names refers to."""
        text = dotted(node)
        if text is None:
            return None
        root, _, rest = text.partition(".")
        if any(root in scope.variables for scope in self._scopes):
            return None
        name = self._module.names.get(root)
        if name is None:
            return None
        full = f"{name}.{rest}" if rest else name
        return self._code.target(full) if not self._code.is_module(full) else full

    def _type(self, node: ast.expr) -> str | None:
        """Return the class of an expression's value, or None if it is not known."""
        if isinstance(node, ast.Await):
            return self._type(node.value)
        if isinstance(node, ast.Name):
            for scope in reversed(self._scopes):
                if node.id in scope.variables:
                    return scope.variables[node.id]
            return None
        if isinstance(node, ast.Attribute):
            owner = self._type(node.value)
            found = self._code.attribute(owner, node.attr) if owner else None
            return found[1] if found else None
        if isinstance(node, ast.Call):
            called = self._called(node.func)
            if called in self._code.classes:
                return called
            return self._code.functions.get(called) if called else None
        return None

    def _called(self, node: ast.expr) -> str | None:
        """Return the dotted name of the function, method or class that is called."""
        full = self._reference(node)
        if full is not None:
            owner, _, name = full.rpartition(".")
            found = self._code.attribute(owner, name) if owner in self._code.classes else None
            return f"{found[0]}.{name}" if found else full
        if isinstance(node, ast.Attribute):
            owner_type = self._type(node.value)
            found = self._code.attribute(owner_type, node.attr) if owner_type else None
            return f"{found[0]}.{node.attr}" if found else None
        return None

    def _collect(self, node: Function, scope: Scope) -> None:
        """Note what the variables of a function are."""
        for inner in _own_statements(node):
            if isinstance(inner, ast.Import):
                scope.names |= imported(inner)
            elif isinstance(inner, ast.ImportFrom):
                scope.names |= imported_from(self._module, inner)
            elif isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
                kind = self._code.annotation(self._module, inner.annotation)
                scope.variables[inner.target.id] = kind
            elif isinstance(inner, ast.Assign):
                for target, value in _pairs(inner.targets[0], inner.value):
                    kind = self._type(value) if value else None
                    scope.variables.setdefault(target.id, kind)
            elif isinstance(inner, ast.With | ast.AsyncWith):
                for item in inner.items:
                    if isinstance(item.optional_vars, ast.Name):
                        kind = self._type(item.context_expr)
                        scope.variables.setdefault(item.optional_vars.id, kind)
            elif isinstance(inner, ast.stmt) and not isinstance(inner, ast.ClassDef | Function):
                for name in bound_names(inner):
                    scope.variables.setdefault(name, None)

    # New names

    def _new_name(self, full: str) -> str:
        return self._renames.names.get(full) or self._renames.names.get(
            self._code.target(full), full
        )

    def _new_module(self, name: str) -> str:
        """Return the new name of a module: its own, or by that of a package around it."""
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            new = self._renames.names.get(".".join(parts[:length]))
            if new:
                return ".".join([new, *parts[length:]])
        return name

    def _new_member(self, owner: str | None, name: str, default: str | None = None) -> str:
        """Return the new name of an attribute of a class, which may inherit it."""
        found = self._code.attribute(owner, name) if owner else None
        full = f"{found[0] if found else owner}.{name}"
        new = self._renames.names.get(full)
        return new.rpartition(".")[2] if new else default or name

    def _parameters(self, function: str, owner: str | None) -> dict[str, str]:
        names = dict(self._renames.parameters.get(function, {}))
        if owner and function.endswith(".__init__"):
            names |= self._renames.parameters.get(owner, {})
        return names

    def _is_member(self, name: str) -> bool:
        return name.rpartition(".")[0] in self._code.classes

    def _collides(self, old: str, new: str) -> bool:
        """Return whether this module uses the new name for something else."""
        return new != old and new in self._taken

    # Edits

    def _rename_definition(self, node: Function | ast.ClassDef, full: str) -> None:
        new = self._renames.names.get(full, full).rpartition(".")[2]
        if new == node.name:
            return
        start = self._offset(node.lineno, node.col_offset)
        text = self._module.source.encode()[start:]
        match = re.match(rb"(?:async\s+)?(?:def|class)\s+", text)
        if match:
            begin = start + match.end()
            self._edits[begin, begin + len(node.name.encode())] = new

    def _rename_module_expression(self, node: ast.Attribute, full: str) -> None:
        text, new = dotted(node), self._new_module(full)
        if text == full and new != full:
            self._replace(node, new)

    def _rename_attribute(self, node: ast.Attribute, new: str) -> None:
        if new != node.attr:
            end = self._end(node)
            self._edits[end - len(node.attr.encode()), end] = new

    def _rename_string(self, node: ast.Constant, full: str) -> None:
        if full and isinstance(node.value, str):
            new = self._new_name(full).rpartition(".")[2]
            if not self._collides(node.value, new):
                self._rename_text(node, node.value, new)

    def _rename_text(self, node: ast.Constant, old: str, new: str) -> None:
        if new != old:
            start = self._offset(node.lineno, node.col_offset)
            quote = self._module.source.encode()[start : start + 1]
            if quote in (b'"', b"'"):
                self._edits[start + 1, start + 1 + len(old.encode())] = new

    def _edit(self, node: ast.expr | ast.arg | ast.keyword, length: int, new: str) -> None:
        start = self._offset(node.lineno, node.col_offset)
        if self._module.source.encode()[start : start + length].decode() != new:
            self._edits[start, start + length] = new

    def _replace(self, node: ast.expr | ast.stmt | ast.alias, new: str) -> None:
        start = self._offset(node.lineno, node.col_offset)
        self._edits[start, self._end(node)] = new

    def _end(self, node: ast.expr | ast.stmt | ast.alias) -> int:
        # Optional in the types, because a tree that code has made may lack them.
        return self._offset(node.end_lineno or 0, node.end_col_offset or 0)

    def _offset(self, line: int, column: int) -> int:
        return self._lines[line - 1] + column


def _pairs(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[ast.Name, ast.expr | None]]:
    """Yield the variables that an assignment binds, each with its value, or None if unknown."""
    if isinstance(target, ast.Name):
        yield target, value
    elif isinstance(target, ast.Starred):
        yield from _pairs(target.value, None)
    elif isinstance(target, ast.Tuple | ast.List):
        known = isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts)
        values = value.elts if known and isinstance(value, ast.Tuple) else [None] * len(target.elts)
        for inner, its_value in zip(target.elts, values, strict=True):
            yield from _pairs(inner, its_value)


def _own_statements(node: Function) -> Iterator[ast.AST]:
    """Yield the statements of a function, without those of functions and classes in it."""
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        current = waiting.pop(0)
        yield current
        if not isinstance(current, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            waiting = [*ast.iter_child_nodes(current), *waiting]


def _is_static(node: Function) -> bool:
    return any(isinstance(it, ast.Name) and it.id == "staticmethod" for it in node.decorator_list)


def _add_import(text: str, line: str) -> str:
    """Add an import before the first one, where sorting finds its place."""
    for node in ast.parse(text).body:
        if (
            isinstance(node, ast.Import | ast.ImportFrom)
            and getattr(node, "module", "") != "__future__"
        ):
            lines = text.splitlines(keepends=True)
            return "".join([*lines[: node.lineno - 1], line, *lines[node.lineno - 1 :]])
    return line + text
