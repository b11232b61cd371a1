"""Which definitions of the package an entry can reach, and a digest of each one's syntax tree (``core.trees``).

Names are followed from the entry through modules; where a definition stands decides nothing. Where reachability cannot
be told from names the rule is to take more: a module that is passed about counts whole, one that is imported by a
made-up name counts with its whole folder, templates included, and so does whatever runs when a module is imported.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from valuetrace.core import trees
from valuetrace.core.trees import Definition, Reader, Tree

OUTSIDE = tuple(f"valuetrace.core.{name}" for name in ("keys", "reach", "stage", "trees"))
"""What starts a stage and what names its results take no part in them."""
WHOLE, AT_IMPORT = "*", "<import>"  # in place of a definition's name: all of a module, what runs when it is imported
_QUIET = {"dataclass", "property", "setter", "cached_property", "contextmanager", "cache", "lru_cache", "staticmethod"}
_QUIET |= {"classmethod", "wraps", "inference_mode", "no_grad", "abstractmethod"}  # decorators that register nothing


class Module:
    """One source file: its definitions by name, what it imports, and what runs when it is imported."""

    def __init__(self, path: Path):
        self.folder = path.parent
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.names: dict[str, str] = {}  # alias → what it stands for, in full
        self.imported: set[str] = set()
        self.effects: list[ast.stmt] = []
        for statement in ast.parse(path.read_text(encoding="utf-8"), str(path)).body:
            self._take(statement)
        self.libraries = {name.partition(".")[0] for name in self.imported} - set(trees.OURS)

    def _take(self, statement: ast.stmt) -> None:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            self.names |= trees.bound_by(statement)
            self.imported |= set(trees.imports(statement))
        elif isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            self.definitions.setdefault(statement.name, []).append(statement)
            if not {trees.last(decorator) for decorator in statement.decorator_list} <= _QUIET:
                self.effects.append(statement)
        elif isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for name in (name for target in targets for name in trees.stored(target)):
                self.definitions.setdefault(name, []).append(statement)
            plain = all(isinstance(target, (ast.Name, ast.Tuple)) for target in targets)
            if not plain or any(isinstance(node, ast.Call) and self._is_own(node) for node in ast.walk(statement)):
                self.effects.append(statement)
        elif not trees.says_nothing(statement):
            self.effects.append(statement)

    def _is_own(self, call: ast.Call) -> bool:
        base: ast.AST = call.func
        while isinstance(base, ast.Attribute):
            base = base.value
        if not isinstance(base, ast.Name):
            return True  # cannot be told
        return base.id in self.definitions or trees.ours(self.names.get(base.id, ""))


class Package:
    """The modules of ``trees.OURS`` beneath a root, each read once, when it is asked for."""

    def __init__(self, root: Path):
        self.root = root
        self.modules: dict[str, Module] = {}
        self._trees: dict[Definition, Tree] = {}

    def module(self, name: str) -> Module | None:
        """A module by its dotted name; None where there is no such file."""
        if name not in self.modules:
            place = self.root / name.replace(".", "/")
            path = next((p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()), None)
            if path is None:
                return None
            self.modules[name] = Module(path)
        return self.modules[name]

    def resolve(self, dotted: str) -> tuple[Definition, list[str]]:
        """What a name of the package stands for, and the attributes that are left of it. ValueError for nothing."""
        parts = dotted.split(".")
        length = next((n for n in range(len(parts), 0, -1) if self.module(".".join(parts[:n]))), 0)
        where, rest = ".".join(parts[:length]), parts[length:]
        module = self.module(where)
        if module is None:
            raise ValueError(f"{dotted}: nothing of this name in {self.root}")
        if not rest or (rest[0].startswith("__") and rest[0] not in module.definitions):
            return Definition(where, WHOLE), rest
        if rest[0] in module.definitions:
            return Definition(where, rest[0]), rest[1:]
        if trees.ours(module.names.get(rest[0], "")):
            return self.resolve(".".join([module.names[rest[0]], *rest[1:]]))
        if "__getattr__" in module.definitions:
            return Definition(where, "__getattr__"), rest[1:]
        raise ValueError(f"{dotted}: nothing of this name in {self.root}")

    def tree(self, at: Definition) -> Tree:
        """A definition's tree, of all statements that bind its name."""
        if at not in self._trees:
            module = self.modules[at.module]
            statements = module.effects if at.name == AT_IMPORT else module.definitions[at.name]
            self._trees[at] = Reader(at.module, module.definitions, module.names, self.resolve).read(statements)
        return self._trees[at]

    def reach(self, entry: str) -> tuple[set[Definition], set[str]]:
        """Every definition that ``entry`` (a module, or one in it) can reach, and every module that is imported."""
        waiting, reached, imported = [self.resolve(entry)[0]], set[Definition](), set[str]()
        while waiting:
            at = waiting.pop()
            if at in reached or at.module in OUTSIDE:
                continue
            waiting += self._run_by_import(at.module, imported)
            module = self.modules[at.module]
            if at.name == WHOLE:
                waiting += [Definition(at.module, name) for name in [*module.definitions, AT_IMPORT]]
                continue
            reached.add(at)
            tree = self.tree(at)
            waiting += [piece for piece in tree.pieces if isinstance(piece, Definition)]
            waiting += [found for name in tree.imported for found in self._run_by_import(name, imported)]
            if tree.by_name:
                waiting += [Definition(name, WHOLE) for name in self._beneath(module.folder)]
        return {at for at in reached if self.tree(at).pieces}, imported

    def digests(self, reached: set[Definition]) -> dict[str, str]:
        """Each definition's name → the digest of its tree. Of definitions of one name the tree tells which is meant."""
        names = {at: at.name for at in reached}
        for depth in (1, 8):  # told by its own tree, or by the trees of what it refers to
            shared = Counter(names.values())
            if unclear := [at for at in reached if shared[names[at]] > 1]:
                deep = {at: at.name for at in reached}
                for _ in range(depth):
                    deep = {at: self._hash(at, deep) for at in reached}
                names |= {at: f"{at.name}~{deep[at]}" for at in unclear}
        return {names[at]: self._hash(at, names) for at in reached}

    def _hash(self, at: Definition, names: dict[Definition, str]) -> str:
        pieces = (piece if isinstance(piece, str) else names.get(piece, piece.name) for piece in self.tree(at).pieces)
        return hashlib.blake2b("\0".join(pieces).encode(), digest_size=8).hexdigest()

    def _run_by_import(self, name: str, imported: set[str]) -> Iterator[Definition]:
        """What an import runs: a module's own statements, its packages' and those of all that they import."""
        waiting = [name]
        while waiting:
            parts = waiting.pop().split(".")
            for where in itertools.accumulate(parts if parts[0] in trees.OURS else [], "{}.{}".format):
                if where not in imported and (module := self.module(where)):
                    imported.add(where)
                    waiting += module.imported
                    yield Definition(where, AT_IMPORT)

    def _beneath(self, folder: Path) -> list[str]:
        paths = (path.relative_to(self.root).with_suffix("") for path in folder.rglob("*.py"))
        return sorted(".".join(path.parts).removesuffix(".__init__") for path in paths)


@functools.lru_cache(maxsize=4)
def package(root: Path) -> Package:
    """One package for each root: sources that change while a process runs are not what runs."""
    return Package(root)
