"""A definition's syntax tree as text and references, without what decides no number.

Layout, docstrings, comments, annotations of arguments, ``cast`` and the words of what a run says when it stops are left
out; names are resolved to the definitions and libraries that they stand for, however they were imported.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Container, Iterable
from typing import Any, NamedTuple

OURS = ("valuetrace", "stages")
_BY_NAME = ("importlib.import_module", "pkgutil", "__import__", "globals", "eval", "exec")
_FUNCTIONS, _COMPREHENSIONS = (ast.FunctionDef, ast.Lambda), (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

Scope = dict[str, str | None]  # names bound inside a definition → what they stand for, None where that is a value


class Definition(NamedTuple):
    """A module and a name in it."""

    module: str
    name: str


class Tree(NamedTuple):
    """A definition as text, between it what the text refers to; the modules and libraries that it imports itself, and
    whether it imports anything by a name that its text does not tell."""

    pieces: tuple[str | Definition, ...]
    imported: frozenset[str]
    libraries: frozenset[str]
    by_name: bool


Resolve = Callable[[str], tuple[Definition, list[str]]]  # a dotted name → what it stands for, attributes left of it


class Reader:
    """Reads the statements of one definition: what decides nothing is left out, names are resolved."""

    def __init__(self, name: str, definitions: Container[str], names: dict[str, str], resolve: Resolve):
        """name: the module's; definitions: the names that it defines; names: alias → what it stands for."""
        self.name, self.definitions, self.names, self.resolve = name, definitions, names, resolve
        self.pieces: list[str | Definition] = []
        self.imported: set[str] = set()
        self.libraries: set[str] = set()
        self.by_name = False

    def read(self, statements: Iterable[ast.stmt]) -> Tree:
        """The tree of the statements that bind one name."""
        for statement in statements:
            self._node(statement, {}, False)
        joined: list[str | Definition] = []
        for text, run in itertools.groupby(self.pieces, lambda piece: isinstance(piece, str)):
            joined += ["\0".join(map(str, run))] if text else run  # noqa: B031
        return Tree(tuple(joined), frozenset(self.imported), frozenset(self.libraries), self.by_name)

    def _node(self, node: Any, scope: Scope, silent: bool) -> None:
        """silent: inside what a run says when it stops, of which the words do not count."""
        node = _uncast(node)
        if isinstance(node, list):
            self.pieces.append("[")
            for item in node:
                self._node(item, scope, silent)
            self.pieces.append("]")
        elif not isinstance(node, ast.AST):
            self.pieces.append(f"{type(node).__name__}:{node!r};")
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            self.imported |= {name for name in imports(node) if ours(name)}
            self.libraries |= {name.partition(".")[0] for name in imports(node) if not ours(name)}
        elif isinstance(node, ast.AnnAssign) and scope:  # in a function: its type is a comment
            self._node(node.value and ast.Assign([node.target], node.value), scope, silent)
        elif isinstance(node, ast.Constant) and silent and isinstance(node.value, str):
            self.pieces.append("text;")
        elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load):
            self._name(node, scope, silent)
        elif not says_nothing(node):
            self._fields(node, scope, silent or isinstance(node, ast.Raise) or _to_stderr(node))

    def _fields(self, node: ast.AST, scope: Scope, silent: bool) -> None:
        inner = scope
        if isinstance(node, _FUNCTIONS):
            inner = scope | _scope(node)
        elif isinstance(node, _COMPREHENSIONS):
            self._node(node.generators[0].iter, scope, silent)  # runs outside
            inner = scope | dict.fromkeys(name for part in node.generators for name in stored(part.target))
        self.pieces.append(f"{type(node).__name__}(")
        for field, value in ast.iter_fields(node):
            if value in (None, []) or field in ("ctx", "kind", "type_comment", "type_params", "returns"):
                continue
            if field == "annotation" and isinstance(node, ast.arg):
                continue
            self.pieces.append(f"{field}=")
            outside = field in ("args", "decorator_list") and isinstance(node, _FUNCTIONS)
            self._node(value, scope if outside else inner, silent)
        self.pieces.append(")")

    def _name(self, node: ast.Name | ast.Attribute, scope: Scope, silent: bool) -> None:
        base: ast.AST = node
        attributes: list[str] = []
        while isinstance(base, ast.Attribute):
            attributes.insert(0, base.attr)
            base = _uncast(base.value)
        name = base.id if isinstance(base, ast.Name) else ""
        if name in scope:
            meant = scope[name]
        else:
            meant = f"{self.name}.{name}" if name in self.definitions else self.names.get(name)
            self.by_name |= name in _BY_NAME
        if meant is None and name:
            self.pieces.append(name)
        elif meant is None:
            self._node(base, scope, silent)
        elif ours(meant):
            target, attributes = self.resolve(".".join([meant, *attributes]))
            self.pieces.append(target)
        else:
            whole = ".".join([meant, *attributes, ""])
            self.libraries.add(whole.partition(".")[0])
            # importlib passed about may import by name, too; importlib.metadata may not
            self.by_name |= any(f"{name}.".startswith(whole) or whole.startswith(f"{name}.") for name in _BY_NAME)
            self.pieces.append(f"library:{meant}")
        self.pieces.append(".".join(["", *attributes, ";"]))


def imports(statement: ast.Import | ast.ImportFrom) -> list[str]:
    """What an import names, in full. ValueError for a relative one."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    if statement.level:
        raise ValueError(f"line {statement.lineno}: imports are written in full")
    return [f"{statement.module}.{alias.name}" for alias in statement.names]


def bound_by(statement: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """The names that an import binds → what they stand for: of ``import a.b`` that is ``a``."""
    found = {}
    for alias, name in zip(statement.names, imports(statement), strict=True):
        first = isinstance(statement, ast.Import) and not alias.asname
        found[alias.asname or alias.name.partition(".")[0]] = name.partition(".")[0] if first else name
    return found


def _scope(function: ast.FunctionDef | ast.Lambda) -> Scope:
    """The names that a function binds: arguments and what it assigns or imports, not what lies in a scope within."""
    own = function.args  # not those of a lambda among the defaults
    arguments = [*own.posonlyargs, *own.args, *own.kwonlyargs, own.vararg, own.kwarg]
    found: Scope = {argument.arg: None for argument in arguments if argument}
    waiting: list[ast.AST] = list(function.body) if isinstance(function, ast.FunctionDef) else []
    elsewhere: set[str] = set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = None
        elif isinstance(node, (ast.Lambda, *_COMPREHENSIONS)):
            found |= {part.target.id: None for part in ast.walk(node) if isinstance(part, ast.NamedExpr)}
        else:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                found |= bound_by(node)
            elif isinstance(node, (ast.Global, ast.Nonlocal)):
                elsewhere |= set(node.names)
            elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
                found[node.name] = None
            elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                found.setdefault(node.id, None)
            waiting += ast.iter_child_nodes(node)
    return {name: meant for name, meant in found.items() if name not in elsewhere}


def stored(target: ast.AST) -> list[str]:
    """The names that an assignment binds."""
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)]


def last(node: ast.AST) -> str:
    """The last part of a dotted name, called or not."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _uncast(node: Any) -> Any:
    """``x`` of ``cast(T, x)``, which says a type and computes nothing."""
    return node.args[1] if isinstance(node, ast.Call) and last(node) == "cast" and len(node.args) == 2 else node


def ours(name: str) -> bool:
    """Whether a dotted name is one of the package or its stages."""
    return name.partition(".")[0] in OURS


def says_nothing(node: ast.AST) -> bool:
    """A docstring, a text that documents an attribute, ``if TYPE_CHECKING``: nothing that an interpreter runs."""
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return text or (isinstance(node, ast.If) and last(node.test) == "TYPE_CHECKING")


def _to_stderr(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or last(node) != "print":
        return False
    return any(word.arg == "file" and last(word.value) == "stderr" for word in node.keywords)
