"""Keys: what decides a number, as one digest. The definitions that run, the libraries beneath, and what they are given.

``kernel`` follows names from an entry through the package and takes every definition that can be reached as its
syntax tree: where a definition stands, how it is laid out, what its docstring, comments and annotations of arguments
say and what a run says when it stops decide no number. Where reachability cannot be told by name the rule is to take
more: a module that is passed about counts whole, one imported by a name that is made up counts with its whole folder,
templates included, and so does whatever runs when a module is imported.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.core.settings import ROOT

OURS = ("valuetrace", "stages")
LOCK = "requirements.lock"
WHOLE, AT_IMPORT = "*", "<import>"  # in place of a definition's name: all of a module, what runs when it is imported
OUTSIDE = ("valuetrace.core.keys", "valuetrace.core.stage")
"""What starts a stage and what names its results take no part in them."""
_BY_NAME = {"importlib.import_module", "pkgutil", "__import__", "globals", "eval", "exec"}
_QUIET = {"dataclass", "property", "setter", "cached_property", "contextmanager", "cache", "lru_cache", "staticmethod"}
_QUIET |= {"classmethod", "wraps", "inference_mode", "no_grad", "abstractmethod"}  # decorators that register nothing
_NO_NUMBER = re.compile(
    "aiohttp|annotated-doc|anyio|certifi|charset-normalizer|click|colorama|filelock|fsspec|h11|hf-xet|httpcore2|httpx2|"
    "idna|markdown-it-py|mdurl|mpmath|networkx|packaging|platformdirs|psutil|pydantic-settings|pygments|python-dotenv|requests|"
    "rich|setuptools|shellingham|six|sympy|tqdm|truststore|typer|typing-.*|urllib3|wcwidth"
)
"""Required by the others, and without a part in a number: they move bytes, wait, parse options and print."""


class Definition(NamedTuple):
    """A module and a name in it."""

    module: str
    name: str


class _Read(NamedTuple):
    """A definition's tree as text pieces, between them what it refers to; the modules and libraries that it imports,
    and whether it imports something by a name that cannot be told from its text."""

    pieces: tuple[str | Definition, ...]
    imported: frozenset[str]
    libraries: frozenset[str]
    by_name: bool


class Kernel(NamedTuple):
    """``reached``: each definition that can run; ``digests``: name → digest, templates too; ``libraries``: versions."""

    reached: frozenset[Definition]
    digests: dict[str, str]
    libraries: dict[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 of the definitions and versions."""
        return hashlib.sha256(json.dumps([self.digests, self.libraries], sort_keys=True).encode()).hexdigest()


def key(entry: str, *decided_by: Any) -> str:
    """SHA-256 of the code behind ``entry`` and of everything else that decides a result.

    decided_by: what JSON holds, dataclasses, tables, arrays; a path counts by its bytes, a folder by its files'.
    """
    return hashlib.sha256(json.dumps([kernel(entry).digest, _plain(decided_by)], sort_keys=True).encode()).hexdigest()


@functools.lru_cache(maxsize=256)
def kernel(entry: str, root: Path = ROOT) -> Kernel:
    """The code behind ``entry``: a module (``stages.train``), or a definition (``valuetrace.training.run.train``).

    Raises ValueError where a name of the package leads nowhere.
    """
    package = _Package.of(root)
    reached, imported = package.reach(entry)
    libraries = {name for module in imported for name in package.modules[module].libraries}
    libraries |= {name for at in reached for name in package.read(at).libraries}
    digests = package.digests(reached)
    for folder in {package.modules[at.module].folder for at in reached if package.read(at).by_name}:
        beside = (path for path in folder.rglob("*") if path.suffix not in (".py", ".pyc") and path.is_file())
        digests |= {path.name: files.sha256(path) for path in beside}
    return Kernel(frozenset(reached), dict(sorted(digests.items())), versions(libraries, root))


def told(entry: str) -> dict[str, Any]:
    """What metrics/code/<stage>.json holds."""
    found = kernel(entry)
    return {"kernel": entry, "key": found.digest, "libraries": found.libraries, "definitions": found.digests}


def check_pins(root: Path = ROOT) -> None:
    """InputError where an installed library is not the one that requirements.lock pins: its numbers would lie."""
    _check_versions(pins(root), LOCK, f"Run pip install -r {LOCK}, or change the pin.")


def check_recorded(path: Path) -> None:
    """InputError where a library is not of the version that a stage's file of metrics/code/ says."""
    if path.is_file():
        _check_versions(files.read_json(path)["libraries"], str(path), "Run dvc repro --force code, or install it.")


def _check_versions(wanted: dict[str, str], where: str, remedy: str) -> None:
    for name, version in wanted.items():
        found = _distribution(name)  # one of another platform is not here: whoever imports it says so
        if found and found[0] != version.partition("+")[0]:
            raise InputError(f"{where} says {name} {version}, {found[0]} is installed. {remedy}")


def versions(names: set[str], root: Path = ROOT) -> dict[str, str]:
    """Installed versions of the distributions that hold the imported ``names`` and of what those require.

    Where the repository pins its environment (requirements.lock), of those that are pinned.
    """
    pinned, found, waiting = pins(root), {}, sorted(names)
    while waiting:
        name = _normal(waiting.pop())
        if name not in pinned:  # ``ruamel`` is ruamel.yaml's
            name = next((pin for pin in pinned if pin.startswith(f"{name}-")), name)
        if name in found or _NO_NUMBER.fullmatch(name) or (pinned and name not in pinned):
            continue
        if distribution := _distribution(name):
            found[name], required = distribution
            waiting += required
    return dict(sorted(found.items()))


@functools.cache
def _distribution(name: str) -> tuple[str, list[str]] | None:
    """The installed version and what it requires, extras apart; None where it is not installed."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    required = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in found.requires or [] if "extra ==" not in line]
    return found.version.partition("+")[0], required


def pins(root: Path = ROOT) -> dict[str, str]:
    """Distribution → version of requirements.lock, empty where there is none."""
    path = root / LOCK
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {_normal(name): version for name, _, version in (line.partition("==") for line in lines) if version}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, pd.DataFrame):
        return hashlib.sha256(value.to_csv(index=False).encode()).hexdigest()
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
    if isinstance(value, Path):
        return files.fingerprint(value) if value.is_dir() else files.sha256(value)
    return value


class _Module:
    """One source file: its definitions by name, what it imports, and what runs when it is imported."""

    def __init__(self, path: Path):
        self.folder = path.parent
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.names: dict[str, str] = {}  # alias → what it stands for, in full
        self.imported: set[str] = set()
        self.effects: list[ast.stmt] = []
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            self._take(statement, path)
        self.libraries = {name.partition(".")[0] for name in self.imported} - set(OURS)

    def _take(self, statement: ast.stmt, path: Path) -> None:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            self.names |= _imports(statement, path)
            self.imported |= set(_imports(statement, path, whole=True).values())
        elif isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            self.definitions.setdefault(statement.name, []).append(statement)
            if not {_last(decorator) for decorator in statement.decorator_list} <= _QUIET:
                self.effects.append(statement)
        elif isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names = [name for target in targets for name in _bound(target)]
            for name in names:
                self.definitions.setdefault(name, []).append(statement)
            plain = all(isinstance(target, (ast.Name, ast.Tuple)) for target in targets)
            if not plain or any(self._own_call(node) for node in ast.walk(statement)):
                self.effects.append(statement)
        elif not _is_text(statement) and not _never_at_import(statement):
            self.effects.append(statement)

    def _own_call(self, node: ast.AST) -> bool:
        """Whether a constant's value calls something of the package."""
        if not isinstance(node, ast.Call):
            return False
        base = node.func
        while isinstance(base, ast.Attribute):
            base = base.value
        known = isinstance(base, ast.Name) and (base.id in self.definitions or _ours(self.names.get(base.id, "")))
        return known or not isinstance(base, ast.Name)


class _Package:
    """The modules of ``OURS`` beneath a root, read as they are asked for."""

    def __init__(self, root: Path):
        self.root = root
        self.modules: dict[str, _Module] = {}
        self._read: dict[Definition, _Read] = {}

    @classmethod
    @functools.lru_cache(maxsize=4)
    def of(cls, root: Path) -> _Package:
        """One for each root: sources that change while a process runs are not what runs."""
        return cls(root)

    def module(self, name: str) -> _Module | None:
        if name not in self.modules:
            place = self.root / name.replace(".", "/")
            paths = [path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()]
            if not paths:
                return None
            self.modules[name] = _Module(paths[0])
        return self.modules[name]

    def resolve(self, dotted: str) -> tuple[Definition, list[str]]:
        """What a name of the package stands for, and the attributes that are left of it."""
        parts = dotted.split(".")
        length = next((n for n in range(len(parts), 0, -1) if self.module(".".join(parts[:n]))), 0)
        where, rest = ".".join(parts[:length]), parts[length:]
        module = self.module(where)
        if not rest or (rest[0].startswith("__") and module is not None and rest[0] not in module.definitions):
            return Definition(where, WHOLE), rest
        if module is not None and rest[0] in module.definitions:
            return Definition(where, rest[0]), rest[1:]
        if module is not None and _ours(module.names.get(rest[0], "")):
            return self.resolve(".".join([module.names[rest[0]], *rest[1:]]))
        if module is not None and "__getattr__" in module.definitions:
            return Definition(where, "__getattr__"), rest[1:]
        if module is not None and (self.root / where.replace(".", "/")).is_dir():
            return Definition(where, WHOLE), rest  # a folder without an __init__ of its own
        raise ValueError(f"{dotted}: nothing of this name in {self.root}")

    def reach(self, entry: str) -> tuple[set[Definition], set[str]]:
        """Every definition that ``entry`` can reach, and every module that is imported on the way."""
        waiting, reached, imported = [self.resolve(entry)[0]], set[Definition](), set[str]()
        while waiting:
            at = waiting.pop()
            if at in reached or at.module in OUTSIDE:
                continue
            module = self.module(at.module)
            if module is None:
                raise ValueError(f"{at.module}: no such module in {self.root}")
            waiting += self._imported(at.module, imported)
            if at.name == WHOLE:
                waiting += [Definition(at.module, name) for name in [*module.definitions, AT_IMPORT]]
                continue
            reached.add(at)
            read = self.read(at)
            waiting += [piece for piece in read.pieces if isinstance(piece, Definition)]
            waiting += [found for name in read.imported for found in self._imported(name, imported)]
            if read.by_name:
                waiting += [Definition(name, WHOLE) for name in self._beneath(module.folder)]
        return {at for at in reached if self.read(at).pieces}, imported

    def read(self, at: Definition) -> _Read:
        if at not in self._read:
            module = self.modules[at.module]
            statements = module.effects if at.name == AT_IMPORT else module.definitions[at.name]
            self._read[at] = _Reader(self, at.module).read(statements)
        return self._read[at]

    def digests(self, reached: set[Definition]) -> dict[str, str]:
        """Each definition's name → the digest of its tree. Of definitions of one name the tree tells which is meant."""
        names = {at: at.name for at in reached}
        for depth in (1, 8):  # told by its own tree, or by the trees of what it refers to
            shared = Counter(names.values())
            if unclear := [at for at in reached if shared[names[at]] > 1]:
                trees = self._trees(reached, depth)
                names |= {at: f"{at.name}~{trees[at]}" for at in unclear}
        pieces = {at: self.read(at).pieces for at in reached}
        return {
            names[at]: _hash(p if isinstance(p, str) else names.get(p, p.name) for p in pieces[at]) for at in reached
        }

    def _trees(self, reached: set[Definition], depth: int) -> dict[Definition, str]:
        """The digest of each definition's tree, ``depth`` definitions deep: names in it are bare, trees follow them."""
        found = {at: at.name for at in reached}
        for _ in range(depth):
            found = {
                at: _hash(p if isinstance(p, str) else found.get(p, p.name) for p in self.read(at).pieces)
                for at in reached
            }
        return found

    def _imported(self, name: str, imported: set[str]) -> Iterator[Definition]:
        """What runs when a module is imported: its own statements, its packages' and those of all that it imports."""
        waiting = [name]
        while waiting:
            parts = waiting.pop().split(".")
            if parts[0] not in OURS:
                continue
            for length in range(1, len(parts) + 1):
                where = ".".join(parts[:length])
                if where not in imported and (module := self.module(where)):
                    imported.add(where)
                    waiting += module.imported
                    yield Definition(where, AT_IMPORT)

    def _beneath(self, folder: Path) -> list[str]:
        paths = (path.relative_to(self.root).with_suffix("") for path in folder.rglob("*.py"))
        return sorted(".".join(path.parts).removesuffix(".__init__") for path in paths)


class _Reader:
    """Turns the statements of one definition into a ``_Read``: what decides nothing is left out, names are resolved."""

    def __init__(self, package: _Package, module: str):
        self.package, self.module = package, package.modules[module]
        self.name = module
        self.pieces: list[str | Definition] = []
        self.imported: set[str] = set()
        self.libraries: set[str] = set()
        self.by_name = False

    def read(self, statements: list[ast.stmt]) -> _Read:
        for statement in statements:
            self._node(statement, {})
        joined: list[str | Definition] = []
        for text, run in itertools.groupby(self.pieces, lambda piece: isinstance(piece, str)):
            pieces = list(run)
            joined += ["\0".join(map(str, pieces))] if text else pieces
        return _Read(tuple(joined), frozenset(self.imported), frozenset(self.libraries), self.by_name)

    def _node(self, node: Any, scope: dict[str, str | None], silent: bool = False) -> None:
        """scope: names bound inside the definition → what they stand for, None where that is a value."""
        if isinstance(node, list):
            self.pieces.append("[")
            for item in node:
                self._node(item, scope, silent)
            self.pieces.append("]")
        elif not isinstance(node, ast.AST):
            self.pieces.append(f"{type(node).__name__}:{node!r};")
        elif isinstance(node, ast.stmt) and (_is_text(node) or _never_at_import(node)):
            pass
        elif isinstance(node, ast.AnnAssign) and scope:  # in a function: its type is a comment
            self._node(node.value and ast.Assign([node.target], node.value), scope, silent)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = set(_imports(node, Path(self.name), whole=True).values())
            self.imported |= {name for name in names if _ours(name)}
            self.libraries |= {name.partition(".")[0] for name in names if not _ours(name)}
        elif isinstance(node, ast.Constant) and silent and isinstance(node.value, str):
            self.pieces.append("text;")
        elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load):
            self._name(node, scope, silent)
        elif (inside := _uncast(node)) is not node:
            self._node(inside, scope, silent)
        else:
            self._tree(node, scope, silent)

    def _tree(self, node: ast.AST, scope: dict[str, str | None], silent: bool) -> None:
        silent = silent or isinstance(node, ast.Raise) or _to_stderr(node)
        self.pieces.append(f"{type(node).__name__}(")
        inner = scope
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            inner = scope | _scope(node)
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            self._node(node.generators[0].iter, scope, silent)  # runs outside
            inner = scope | dict.fromkeys(name for part in node.generators for name in _bound(part.target))
        for field, value in ast.iter_fields(node):
            if value is None or value == [] or field in ("ctx", "kind", "type_comment", "type_params"):
                continue
            if field == "returns" or (field == "annotation" and (isinstance(node, ast.arg) or scope)):
                continue
            self.pieces.append(f"{field}=")
            outside = field in ("args", "decorator_list") and isinstance(node, (ast.FunctionDef, ast.Lambda))
            self._node(value, scope if outside else inner, silent)
        self.pieces.append(")")

    def _name(self, node: ast.Name | ast.Attribute, scope: dict[str, str | None], silent: bool) -> None:
        base, attributes = node, list[str]()
        while isinstance(base, ast.Attribute):
            attributes.insert(0, base.attr)
            base = _uncast(base.value)
        known = base.id if isinstance(base, ast.Name) else None
        stands_for = None
        if known is not None and known in scope:
            stands_for = scope[known]
        elif known is not None and known in self.module.definitions:
            stands_for = f"{self.name}.{known}"
        elif known is not None:
            stands_for = self.module.names.get(known)
            self.by_name |= known in _BY_NAME
        if stands_for is None:
            self.pieces.append(f"{type(base).__name__}:")
            if known is None:
                self._node(base, scope, silent)
            else:
                self.pieces.append(known)
        elif _ours(stands_for):
            target, attributes = self.package.resolve(".".join([stands_for, *attributes]))
            self.pieces.append(target)
        else:
            whole = ".".join([stands_for, *attributes])
            self.libraries.add(whole.partition(".")[0])
            self.by_name |= any(whole == name or whole.startswith(f"{name}.") for name in _BY_NAME)
            self.pieces.append(f"library:{stands_for}")
        self.pieces += [f".{attribute}" for attribute in attributes] + [";"]


def _imports(statement: ast.Import | ast.ImportFrom, path: Path, whole: bool = False) -> dict[str, str]:
    """The names that an import binds → what they stand for; ``whole``: every part of ``import a.b`` counts."""
    if isinstance(statement, ast.Import):
        bound = {a.asname or a.name: a.name for a in statement.names}
        return (
            bound
            if whole
            else {
                (a.asname or a.name.split(".")[0]): (a.name if a.asname else a.name.split(".")[0])
                for a in statement.names
            }
        )
    if statement.level:
        raise ValueError(f"{path}, line {statement.lineno}: imports are written in full")
    return {alias.asname or alias.name: f"{statement.module}.{alias.name}" for alias in statement.names}


def _scope(function: ast.FunctionDef | ast.Lambda) -> dict[str, str | None]:
    """The names that a function binds: arguments and what it assigns or imports, not what lies in a scope within."""
    arguments = [node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)]
    found: dict[str, str | None] = dict.fromkeys(arguments)
    if isinstance(function, ast.Lambda):
        return found
    waiting: list[ast.AST] = list(function.body)
    elsewhere: set[str] = set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= _imports(node, Path(function.name))
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = None
            continue
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            elsewhere |= set(node.names)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found[node.name] = None
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.setdefault(node.id, None)
        elif isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            walrus = (part.target.id for part in ast.walk(node) if isinstance(part, ast.NamedExpr))
            found |= dict.fromkeys(walrus)
            continue
        elif isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name:
            found[node.name] = None
        waiting += ast.iter_child_nodes(node)
    return {name: value for name, value in found.items() if name not in elsewhere}


def _bound(target: ast.AST) -> list[str]:
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)]


def _last(node: ast.AST) -> str:
    """The last part of a dotted name, called or not."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _uncast(node: ast.AST) -> ast.AST:
    """``x`` of ``cast(T, x)``, which says a type and computes nothing."""
    if isinstance(node, ast.Call) and _last(node.func) == "cast" and len(node.args) == 2:
        return node.args[1]
    return node


def _ours(name: str) -> bool:
    return name.partition(".")[0] in OURS


def _is_text(statement: ast.stmt) -> bool:
    """A docstring, or a text that documents an attribute."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _never_at_import(statement: ast.stmt) -> bool:
    """``if TYPE_CHECKING``, which no interpreter runs."""
    return isinstance(statement, ast.If) and _last(statement.test) == "TYPE_CHECKING"


def _to_stderr(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or _last(node.func) != "print":
        return False
    return any(word.arg == "file" and _last(word.value) == "stderr" for word in node.keywords)


def _hash(pieces: Any) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for piece in pieces:
        digest.update(piece.encode() + b"\0")
    return digest.hexdigest()
