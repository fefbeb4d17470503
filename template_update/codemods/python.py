"""Applying renames to one module, as edits of its text at positions from its syntax tree."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping
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
IMPORTED_MODULE: Final = re.compile(rb"from[\s\\]*(?P<name>[^#]+?)[\s\\]*\bimport\b")
# The text before a statement that begins its line. After a backslash, it does not begin one.
LINE_START: Final = re.compile(rb"(?:\A|(?<![\\\r])\r?\n)(?P<indent>[ \t\f]*)\Z")
DEFINITION: Final = re.compile(rb"(?:async\s+)?(?:def|class)\s+")
REST_OF_LINE: Final = re.compile(rb"[ \t]*(#[^\r\n]*)?\r?\n")
COMMENT: Final = re.compile(rb"[ \t]*#[^\r\n]*")

# The comments in an import. The key is the imported name, and whether the comment is on the same
# line or above it. Comments on the first line of the import have no name.
Comments = dict[tuple[ast.alias | None, bool], list[str]]


@dataclass
class Scope:
    """The scope of a function.

    owner: the class that contains the method, if it is one. function: its dotted name. variables:
    the class of each variable, or None if it is unknown.
    """

    owner: str | None
    function: str
    variables: dict[str, str | None] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


def rewrite(module: Module, code: Code, renames: Renames) -> str:
    """Return the text of a module with the new names."""
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
        self._imports: set[str] = set()
        self._scopes: list[Scope] = []
        self._class: str | None = None
        self._text = module.source.encode()
        self._newline = "\r\n" if b"\r\n" in self._text else "\n"
        self._lines = [0]
        for line in self._text.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._members = {old.rpartition(".")[2] for old in renames.names if self._is_member(old)}
        # The new names, by module and old name.
        self._bindings: dict[tuple[str, str], str] = {}

    def result(self) -> str:
        """Return the text with all edits, or the original text if the result does not parse."""
        text = self._text
        for (start, end), new in sorted(self._edits.items(), reverse=True):
            text = text[:start] + new.encode() + text[end:]
        try:
            result = text.decode()
            for line in sorted(self._imports):
                result = _add_import(result, line + self._newline.rstrip("\n"))
            ast.parse(result)
        except (SyntaxError, ValueError):
            return self._module.source
        return result

    # Imports

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._edit(alias, alias.name, self._new_module(alias.name))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        origin = self._module.origin(node)
        groups: dict[str, dict[ast.alias, str]] = {}
        for alias in node.names:
            new_origin, name = self._new_import(origin, alias.name)
            own = alias.asname in (None, alias.name)
            bound = self._binding(self._module, alias.name) if own else alias.asname
            new = name if bound == name != alias.asname else f"{name} as {bound}"
            groups.setdefault(new_origin, {})[alias] = new
        # What moves into this module is defined in it by the new template.
        here = self._new_module(self._module.name)
        moved_here = here in groups and origin != self._module.name
        if moved_here:
            del groups[here]
        if not groups:
            self._remove_statement(node)
            return
        if moved_here or len(groups) > 1:
            self._split_import(node, groups)
            return
        for new_origin, names in groups.items():
            if new_origin != origin:
                self._rename_origin(node, new_origin)
            for alias, new in names.items():
                self._rename_alias(alias, new)

    def _new_import(self, origin: str, name: str) -> tuple[str, str]:
        """Return the module from which a name is imported now, and its new name."""
        full = f"{origin}.{name}"
        if full in self._renames.names:
            new_origin, _, new = self._renames.names[full].rpartition(".")
            return new_origin, new
        module = self._code.module(origin)
        return self._new_module(origin), self._binding(module, name) if module else name

    def _rename_alias(self, alias: ast.alias, new: str) -> None:
        if alias.asname is None:
            self._edit(alias, alias.name, new)
        elif " as " in new:
            self._edit(alias, alias.name, new.partition(" ")[0])
        else:
            self._edits[self._offset(alias.lineno, alias.col_offset), self._end(alias)] = new

    def _rename_origin(self, node: ast.ImportFrom, new: str) -> None:
        start = self._offset(node.lineno, node.col_offset)
        match = IMPORTED_MODULE.match(self._text, start)
        if match:
            begin, end = match.span("name")
            # In `from.x import y`, an absolute name needs a space before it.
            self._edits[begin, end] = new if begin > start + len("from") else f" {new}"

    def _split_import(
        self, node: ast.ImportFrom, groups: Mapping[str, Mapping[ast.alias, str]]
    ) -> None:
        """Replace an import with one import for each module that contains its names now."""
        start, end = self._offset(node.lineno, node.col_offset), self._end(node)
        begins_line = LINE_START.search(self._text[:start])
        indent = begins_line["indent"].decode() if begins_line else ""
        newline = f"{self._newline}{indent}"
        comments = _comments(node, self._text[start:end].decode())
        statements = [
            _import_statement(origin, names, comments, newline) for origin, names in groups.items()
        ]
        # A comment after the statement may be for a linter, and apply to each of its names.
        behind = COMMENT.match(self._text, end)
        separator = f"{behind[0].decode() if behind else ''}{newline}" if begins_line else "; "
        self._edits[start, end] = separator.join(statements)

    def _remove_statement(self, node: ast.stmt) -> None:
        """Remove a statement, and its line if there is nothing else on it."""
        start, end = self._offset(node.lineno, node.col_offset), self._end(node)
        rest = REST_OF_LINE.match(self._text, end)
        if rest and LINE_START.search(self._text[:start]):
            start, end = self._offset(node.lineno, 0), rest.end()
        self._edits[start, end] = ""

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
        # Annotations are outside the function's scope: `session: session.Session` is valid.
        for annotation in [*(it.annotation for it in arguments(node)), node.returns]:
            if annotation:
                self._visit_annotation(annotation)
        owner = self._class if not self._scopes else None
        scope = Scope(owner, full)
        self._scopes.append(scope)
        parameters = self._parameters(full)
        for argument in arguments(node):
            kind = self._code.annotation(self._module, argument.annotation)
            scope.variables[argument.arg] = kind
            self._edit(argument, argument.arg, parameters.get(argument.arg, argument.arg))
        if owner and node.args.args and not _is_static(node):
            scope.variables[node.args.args[0].arg] = owner
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
                    self._rename_text(element, self._binding(self._module, element.value))
        self.generic_visit(node)

    # Uses

    def visit_Name(self, node: ast.Name) -> None:
        for scope in reversed(self._scopes):
            if node.id in scope.variables:
                new = self._parameters(scope.function).get(node.id, node.id)
                self._edit(node, node.id, new)
                return
        if self._class and isinstance(node.ctx, ast.Store):
            self._edit(node, node.id, self._new_member(self._class, node.id))
        else:
            self._edit(node, node.id, self._binding(self._module, node.id))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        owner = self._reference(node.value)
        module = self._code.module(owner) if owner else None
        if module:
            self._visit_name_in_module(node, module)
            return
        if node.attr in self._members:
            owner = owner if owner in self._code.classes else self._owner(node)
            self._rename_attribute(node, self._new_member(owner, node.attr))
        self.visit(node.value)

    def _visit_name_in_module(self, node: ast.Attribute, module: Module) -> None:
        own = f"{module.name}.{node.attr}"
        origin, _, new = self._renames.names.get(own, own).rpartition(".")
        full = self._code.target(own)
        if self._code.is_module(full):
            self._rename_module_expression(node, full)
        elif own in self._renames.names and origin != self._new_module(module.name):
            self._import_instead(node, origin, new)
        else:
            self._rename_attribute(node, self._binding(module, node.attr))
            self.visit(node.value)

    def _import_instead(self, node: ast.Attribute, origin: str, name: str) -> None:
        """Import a name from its new module, because its old module no longer has it."""
        full = f"{origin}.{name}"
        free = self._new_name(self._module.names.get(name, full)) == full
        own = name if free else f"{origin.rpartition('.')[2]}_{name}"
        self._edit(node, dotted(node) or "", own)
        self._imports.add(f"from {origin} import {name if free else f'{name} as {own}'}")

    def visit_Call(self, node: ast.Call) -> None:
        function = self._called(node.func)
        for keyword in node.keywords:
            if keyword.arg is None or function is None:
                continue
            new = self._parameters(function).get(keyword.arg, keyword.arg)
            if function in self._code.classes:
                new = self._new_member(function, keyword.arg, default=new)
            self._edit(keyword, keyword.arg, new)
        name = (dotted(node.func) or "").rpartition(".")[2]
        if name in BY_NAME and len(node.args) > 1:
            self._rename_named_attribute(node.args[0], node.args[1])
        if name == "cast" and node.args and isinstance(node.args[0], ast.Constant):
            self._visit_annotation(node.args[0])
        self.generic_visit(node)

    def _visit_annotation(self, node: ast.expr) -> None:
        for text in _quoted(node):
            self._visit_quoted(text)
        self.visit(node)

    def _visit_quoted(self, node: ast.Constant) -> None:
        """Rename inside a quoted annotation. Its positions count from its first character."""
        if not self._is_plain(node):
            return
        try:
            inner = ast.parse(str(node.value), mode="eval")
        except SyntaxError:
            return
        outer, self._lines = self._lines, [self._offset(node.lineno, node.col_offset) + 1]
        self._visit_annotation(inner.body)
        self._lines = outer

    def _rename_named_attribute(self, subject: ast.expr, name: ast.expr) -> None:
        if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
            return
        full = self._reference(subject)
        module = self._code.module(full) if full else None
        if module:
            self._rename_text(name, self._binding(module, name.value))
            return
        owner = full if full in self._code.classes else self._type(subject)
        self._rename_text(name, self._new_member(owner, name.value))

    # What expressions are

    def _reference(self, node: ast.expr) -> str | None:
        """Return the module, class, function or member that a dotted expression refers to."""
        root = (dotted(node) or "").partition(".")[0]
        if any(root in scope.variables for scope in self._scopes):
            return None
        return self._code.resolve(self._module, node)

    def _type(self, node: ast.expr) -> str | None:
        """Return the class of an expression's value, or None if it is not known."""
        if isinstance(node, ast.Await):
            return self._type(node.value)
        if isinstance(node, ast.Name):
            for scope in reversed(self._scopes):
                if node.id in scope.variables:
                    return scope.variables[node.id]
        full = self._reference(node)
        if full in self._code.variables:
            return self._code.variables[full]
        if isinstance(node, ast.Attribute):
            owner = self._owner(node)
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
        owner = full.rpartition(".")[0] if full else None
        if not isinstance(node, ast.Attribute):
            return full
        owner = owner if owner in self._code.classes else self._owner(node)
        found = self._code.attribute(owner, node.attr) if owner else None
        return f"{found[0]}.{node.attr}" if found else full

    def _owner(self, node: ast.Attribute) -> str | None:
        """Return the class of the object that has an attribute."""
        if not _is_super(node.value):
            return self._type(node.value)
        own = next((it.owner for it in reversed(self._scopes) if it.owner), None)
        bases = self._code.classes[own].bases if own in self._code.classes else []
        return next((it for it in bases if self._code.attribute(it, node.attr)), None)

    def _collect(self, node: Function, scope: Scope) -> None:
        """Record the classes of a function's variables, and the names that it imports."""
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
        """Return the new name of a module, which a rename of its package may also change."""
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            new = self._renames.names.get(".".join(parts[:length]))
            if new:
                return ".".join([new, *parts[length:]])
        return name

    def _new_member(self, owner: str | None, name: str, default: str | None = None) -> str:
        """Return the new name of an attribute of a class, which may inherit or override it."""
        for current in self._code.hierarchy(owner) if owner else ():
            if new := self._renames.names.get(f"{current}.{name}"):
                return new.rpartition(".")[2]
        return default or name

    def _parameters(self, function: str) -> dict[str, str]:
        """Return the new names of the parameters of a function or class, by their old names."""
        owner, _, name = function.rpartition(".")
        owners = [function]
        if function in self._code.classes:
            found = self._code.attribute(function, "__init__")
            owners += [found[0]] if found else []
        elif owner in self._code.classes and name == "__init__":
            owners.append(owner)
        elif owner in self._code.classes:
            owners = [f"{it}.{name}" for it in self._code.hierarchy(owner)]
        return {
            old: new for it in owners for old, new in self._renames.parameters.get(it, {}).items()
        }

    def _is_member(self, name: str) -> bool:
        return name.rpartition(".")[0] in self._code.classes

    def _binding(self, module: Module, name: str) -> str:
        """Return the new name of a name that a module binds."""
        key = module.name, name
        if key not in self._bindings:
            self._bindings[key] = name  # for imports in a circle
            self._bindings[key] = self._new_binding(module, name)
        return self._bindings[key]

    def _new_binding(self, module: Module, name: str) -> str:
        full = module.names.get(name, f"{module.name}.{name}")
        origin, _, attribute = full.rpartition(".")
        if attribute != name or name in module.kept:
            return name
        source = self._code.module(origin)
        if full in self._renames.names:
            new = self._renames.names[full].rpartition(".")[2]
        else:
            new = self._binding(source, name) if source and source is not module else name
        # Keep the old name if the module uses the new name for something else.
        other = module.names.get(new)
        return name if other and self._new_name(other) == other else new

    # Edits

    def _rename_definition(self, node: Function | ast.ClassDef, full: str) -> None:
        owner = full.rpartition(".")[0]
        new = self._renames.names.get(full, full).rpartition(".")[2]
        new = self._new_member(owner, node.name, default=new)
        if new == node.name:
            return
        start = self._offset(node.lineno, node.col_offset)
        match = DEFINITION.match(self._text, start)
        if match:
            self._edits[match.end(), match.end() + len(node.name.encode())] = new

    def _rename_module_expression(self, node: ast.Attribute, full: str) -> None:
        text, new = dotted(node), self._new_module(full)
        if text == full and new != full:
            self._edit(node, full, new)

    def _rename_attribute(self, node: ast.Attribute, new: str) -> None:
        end = self._end(node)
        start = end - len(node.attr.encode())
        if new != node.attr and self._text[start:end] == node.attr.encode():
            self._edits[start, end] = new

    def _rename_text(self, node: ast.Constant, new: str) -> None:
        if new != node.value and self._is_plain(node):
            start = self._offset(node.lineno, node.col_offset)
            self._edits[start + 1, self._end(node) - 1] = new

    def _is_plain(self, node: ast.Constant) -> bool:
        """Return whether a literal is its value between two quotes, without prefix or escapes."""
        text = self._text[self._offset(node.lineno, node.col_offset) : self._end(node)]
        value = str(node.value)
        return text.decode(errors="replace") in (f'"{value}"', f"'{value}'")

    def _edit(self, node: ast.expr | ast.arg | ast.keyword | ast.alias, old: str, new: str) -> None:
        """Replace the name at the beginning of a node."""
        start = self._offset(node.lineno, node.col_offset)
        end = start + len(old.encode())
        # Some versions of Python report wrong positions inside f-strings.
        if new != old and self._text[start:end] == old.encode():
            self._edits[start, end] = new

    def _end(self, node: ast.expr | ast.stmt | ast.alias) -> int:
        # Optional in the type hints, because a generated tree may lack positions.
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
    """Yield the statements of a function, except those of nested functions and classes."""
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        current = waiting.pop(0)
        yield current
        if not isinstance(current, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            waiting = [*ast.iter_child_nodes(current), *waiting]


def _is_static(node: Function) -> bool:
    return any(isinstance(it, ast.Name) and it.id == "staticmethod" for it in node.decorator_list)


def _is_super(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and dotted(node.func) == "super" and not node.args


def _quoted(node: ast.AST) -> Iterator[ast.Constant]:
    """Yield the strings in an annotation that are quoted annotations."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node
    elif isinstance(node, ast.Subscript):
        name = (dotted(node.value) or "").rpartition(".")[2]
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        length = {"Literal": 0, "Annotated": 1}.get(name, len(parts))
        for part in parts[:length]:
            yield from _quoted(part)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _quoted(child)


def _comments(node: ast.ImportFrom, text: str) -> Comments:
    found: Comments = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            line = node.lineno + token.start[0] - 1
            is_beside = bool(token.line[: token.start[1]].strip())
            before = [it for it in node.names if it.lineno <= line]
            after = [it for it in node.names if it.lineno > line]
            nearest = before[-1:] if is_beside or not after else after[:1]
            key = (nearest[0] if nearest else None), is_beside
            found.setdefault(key, []).append(token.string)
    return found


def _import_statement(
    origin: str, names: Mapping[ast.alias, str], comments: Comments, newline: str
) -> str:
    """Return an import statement, on several lines if it has comments."""
    if {alias for alias, _ in comments}.isdisjoint([None, *names]):
        return f"from {origin} import {', '.join(names.values())}"

    def beside(alias: ast.alias | None) -> str:
        return "".join(f"  {it}" for it in comments.get((alias, True), []))

    lines = [f"from {origin} import ({beside(None)}"]
    for alias, name in names.items():
        lines += [f"    {it}" for it in comments.get((alias, False), [])]
        lines.append(f"    {name},{beside(alias)}")
    return newline.join([*lines, ")"])


def _add_import(text: str, line: str) -> str:
    """Add an import before the first import; the formatter sorts it later.

    If there is no import, add it after the first comments, the docstring and `__future__`.
    """
    lines = text.split("\n")
    head = next((at for at, it in enumerate(lines) if not it.startswith("#")), 0)
    body = ast.parse(text).body
    for node in body:
        is_import = isinstance(node, ast.Import | ast.ImportFrom)
        if is_import and getattr(node, "module", "") != "__future__":
            head = max(head, node.lineno - 1)
            break
        is_docstring = node is body[0] and ast.get_docstring(ast.Module([node], [])) is not None
        if is_docstring or is_import:
            head = node.end_lineno or 0
    return "\n".join([*lines[:head], line, *lines[head:]])
