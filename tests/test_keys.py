"""Keys of code: what changes them and what does not, on a small package and on this one."""

import ast
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from valuetrace.core import keys, reach
from valuetrace.core.errors import InputError

START = '''"""What runs."""
import json
import numpy as np
from typing import TYPE_CHECKING, cast
from valuetrace import rooms
from valuetrace.rooms import kitchen as k
from valuetrace.rooms.cellar import wine, beer
if TYPE_CHECKING:
    from valuetrace.rooms import garden

LIMIT = 3

def main(a: int, *, b: float = 1.0) -> float:
    """Says what it does."""
    # and how
    cellar = a  # no module
    if cellar > LIMIT:
        raise ValueError(f"too many: {a}")
    return k.cook(a) + wine(b) + np.sqrt(a)

def other():
    from valuetrace.attic import box
    return box.open_it()
'''
FILES = {
    "valuetrace/__init__.py": "",
    "valuetrace/start.py": START,
    "valuetrace/rooms/__init__.py": "",
    "valuetrace/rooms/kitchen.py": "from valuetrace.rooms import spices\n"
    "def cook(x):\n    return spices.salt(x) * 2\ndef wash(x):\n    return x - 1\n",
    "valuetrace/rooms/spices.py": "SALT = 1\ndef salt(x):\n    return x + SALT\ndef pepper(x):\n    return x * 3\n",
    "valuetrace/rooms/cellar.py": "def wine(x):\n    return x / 2\ndef beer(x):\n    return x / 3\n",
    "valuetrace/rooms/garden.py": "def rake():\n    return 1\n",
    "valuetrace/attic/__init__.py": "",
    "valuetrace/attic/box.py": "def open_it():\n    return 1 + 1\n",
}
MAIN = "valuetrace.start.main"


@pytest.fixture
def package(tmp_path):
    """FILES on disk; ``digest(**edits)`` of a copy in which a text of a file is another."""
    made = iter(range(1000))

    def digest(*edits: tuple[str, str, str], entry: str = MAIN, files: dict[str, str] | None = None) -> str:
        root = tmp_path / str(next(made))
        for name, text in (FILES | (files or {})).items():
            for file, old, new in edits:
                if file == name:
                    assert old in text, (old, text)
                    text = text.replace(old, new)
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return keys.kernel(entry, root).digest

    return digest


START_FILE, KITCHEN, SPICES, CELLAR = (
    f"valuetrace/{n}.py" for n in ("start", "rooms/kitchen", "rooms/spices", "rooms/cellar")
)


@pytest.mark.parametrize(
    "edit",
    [
        (START_FILE, '"""Says what it does."""', '"""Says it better."""'),
        (START_FILE, "    # and how\n", ""),
        (START_FILE, "return k.cook(a) + wine(b)", "return (k.cook(a)\n            + wine(b))"),
        (START_FILE, "a: int, *, b: float = 1.0) -> float", "a, *, b=1.0)"),
        (START_FILE, "too many: {a}", "more than there may be: {a}"),  # what a run says when it stops
        (START_FILE, "return k.cook(a)", "return cast(int, k.cook(a))"),
        (START_FILE, "import numpy as np", "import numpy"),
        (START_FILE, "return box.open_it()", "return 2 * box.open_it()"),  # in the same file, not reached
        (KITCHEN, "return x - 1", "return x - 2"),
        (SPICES, "return x * 3", "return x * 4"),
        (CELLAR, "return x / 3", "return x / 4"),
        ("valuetrace/rooms/garden.py", "return 1", "return 2"),
    ],
    ids=lambda edit: edit[2][:30],
)
def test_what_decides_no_number(package, edit):
    if edit[1].startswith("import numpy"):
        assert package(edit, (START_FILE, "np.sqrt", "numpy.sqrt")) == package()
    else:
        assert package(edit) == package()


@pytest.mark.parametrize(
    "edit",
    [
        (START_FILE, "LIMIT = 3", "LIMIT = 4"),
        (START_FILE, "cellar > LIMIT", "cellar >= LIMIT"),
        (START_FILE, "b: float = 1.0", "b: float = 2.0"),
        (START_FILE, "main(a: int, *, b", "main(*a: int, b"),
        (START_FILE, "np.sqrt", "np.cbrt"),
        (START_FILE, "+ wine(b)", "+ beer(b)"),
        (START_FILE, "too many: {a}", "too many: {k.wash(a)}"),
        (START_FILE, "raise ValueError(f", "print(f"),
        (KITCHEN, "spices.salt(x) * 2", "spices.salt(x) * 3"),
        (KITCHEN, "spices.salt", "spices.pepper"),
        (SPICES, "SALT = 1", "SALT = 2"),
        (SPICES, "x + SALT", "x - SALT"),
        (SPICES, "SALT = 1\n", "SALT = 1\nSALT += 1\n"),
        (CELLAR, "return x / 2", "return x // 2"),
    ],
    ids=lambda edit: edit[2][:30],
)
def test_what_decides_a_number(package, edit):
    assert package(edit) != package()


def test_where_a_definition_stands_decides_nothing(package):
    """A module that moves, a definition that moves into another module, a name imported another way."""
    moved = {"valuetrace/cupboard.py": FILES[SPICES], SPICES: "from valuetrace.cupboard import salt\n"}
    assert package(files=moved) == package()
    imports = (KITCHEN, "from valuetrace.rooms import spices", "import valuetrace.cupboard")
    assert package(imports, (KITCHEN, "spices.salt", "valuetrace.cupboard.salt"), files=moved) == package()


def test_two_definitions_of_one_name_are_told_apart(package):
    both = {
        "valuetrace/a.py": "def read(x):\n    return x + 1\n",
        "valuetrace/b.py": "def read(x):\n    return x + 2\n",
        "valuetrace/both.py": "from valuetrace import a, b\ndef main(x):\n    return a.read(x) - b.read(x)\n",
    }
    entry, swap = "valuetrace.both.main", ("valuetrace/both.py", "a.read(x) - b.read(x)", "b.read(x) - a.read(x)")
    assert package(files=both, entry=entry) != package(swap, files=both, entry=entry)


@pytest.mark.parametrize(
    ("files", "counts"),
    [
        # a module that is passed about counts whole
        ({KITCHEN: "from valuetrace.rooms import spices\ndef cook(x):\n    return getattr(spices, x)(1)\n"}, SPICES),
        # one imported by a made-up name counts with its folder, what is no Python too
        (
            {
                KITCHEN: "import importlib\ndef cook(x):\n    return importlib.import_module(x)\n",
                "valuetrace/rooms/menu.j2": "return x * 3",
            },
            "valuetrace/rooms/menu.j2",
        ),
        ({KITCHEN: "from importlib import import_module as get\ndef cook(x):\n    return get(x)\n"}, SPICES),
        ({KITCHEN: "def cook(x):\n    return eval(x)\n"}, SPICES),
        ({KITCHEN: "import importlib\ndef cook(x):\n    return getattr(importlib, 'import_module')(x)\n"}, SPICES),
        # what runs at import, wherever it is imported: a registration, a decorator that may be one, a patch
        ({KITCHEN: "from valuetrace.rooms import spices\nspices.pepper(1)\ndef cook(x):\n    return 1\n"}, SPICES),
        ({KITCHEN: "from valuetrace.rooms.spices import pepper\n@pepper\ndef f(): 1\ncook = len\n"}, SPICES),
        ({KITCHEN: "import json\nfrom valuetrace.rooms.spices import pepper as p\njson.loads = p\ncook = 1\n"}, SPICES),
        ({KITCHEN: "from valuetrace.rooms.spices import pepper\nX = pepper(2)\ndef cook(x):\n    return 1\n"}, SPICES),
        # a name of the same spelling inside a comprehension is no local of the function
        (
            {
                KITCHEN: "from valuetrace.rooms.spices import pepper\n"
                "def cook(x):\n    y = [pepper for pepper in x]\n    return pepper(y)\n"
            },
            SPICES,
        ),
        # nor is the argument of a lambda among its defaults
        (
            {
                KITCHEN: "from valuetrace.rooms.spices import pepper\n"
                "def cook(x, f=lambda pepper: 1):\n    return pepper(x)\n"
            },
            SPICES,
        ),
        # base classes, defaults, decorators, annotations of fields
        ({KITCHEN: "from valuetrace.rooms.spices import pepper\ndef cook(x, f=pepper):\n    return f(x)\n"}, SPICES),
        ({KITCHEN: "from valuetrace.rooms.spices import pepper\nclass cook:\n    x: pepper\n"}, SPICES),
    ],
)  # fmt: skip
def test_where_reachability_cannot_be_told_more_counts(package, files, counts):
    files = {name: files.get(name, FILES.get(name)) for name in {*FILES, *files}}
    changed = (counts, "return x * 3", "return x * 4")
    assert package(changed, files=files) != package(files=files)


def test_a_name_that_leads_nowhere_is_an_error(package):
    with pytest.raises(ValueError, match=r"valuetrace\.rooms\.spices\.sugar: nothing of this name"):
        package((KITCHEN, "spices.salt", "spices.sugar"))
    with pytest.raises(ValueError, match="line 2: imports are written in full"):
        package((START_FILE, "import json", "from . import rooms"))


# --- this package --------------------------------------------------------------------------------


def kernels(root: Path) -> list[str]:
    scripts = sorted((root / "stages").rglob("*.py"))
    return [".".join(path.relative_to(root).with_suffix("").parts) for path in scripts]


def digests(root: Path) -> dict[str, str]:
    return {name: keys.kernel(name, root).digest for name in kernels(root)}


@pytest.fixture(scope="module")
def copied(repository, tmp_path_factory):
    """copied() → a copy of the sources: (its root)."""

    def copy() -> Path:
        root = tmp_path_factory.mktemp("copy")
        for name in ("stages", "valuetrace"):
            shutil.copytree(repository / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "dvc.*"))
        shutil.copy(repository / keys.LOCK, root)
        return root

    return copy


class _Reworded(ast.NodeTransformer):
    """Every docstring and message another, every annotation of an argument gone."""

    def visit_Expr(self, node):
        return ast.Expr(ast.Constant("Another text.")) if isinstance(node.value, ast.Constant) else node

    def visit_arg(self, node):
        return ast.arg(node.arg)


def test_a_docstring_a_comment_or_the_layout_changes_no_kernel(repository, copied):
    """Every module at once: other docstrings, no comments, ast's own layout, no annotations of arguments."""
    root = copied()
    for path in root.rglob("*.py"):
        tree = _Reworded().visit(ast.parse(path.read_text(encoding="utf-8")))
        path.write_text("# another\n\n" + ast.unparse(ast.fix_missing_locations(tree)), encoding="utf-8")
    assert digests(root) == digests(repository)


SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Lt: ast.LtE, ast.Gt: ast.GtE}


class _Operator(ast.NodeTransformer):
    """One operator of a tree another: a sum a difference, a product a quotient, < ≤."""

    def __init__(self):
        self.done = False

    def generic_visit(self, node):
        if not self.done and isinstance(node, ast.BinOp) and type(node.op) in SWAPS:
            node.op, self.done = SWAPS[type(node.op)](), True
        elif not self.done and isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            node.ops[0], self.done = SWAPS[type(node.ops[0])](), True
        return super().generic_visit(node)


def with_another_operator(root: Path, at: reach.Definition) -> str | None:
    """The source of a definition's module with one of its operators changed; None where it has none."""
    place = root / at.module.replace(".", "/")
    path = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
    tree, swap = ast.parse(path.read_text(encoding="utf-8")), _Operator()
    for node in tree.body:
        if getattr(node, "name", None) == at.name:
            swap.visit(node)
    return ast.unparse(ast.fix_missing_locations(tree)) if swap.done else None


@pytest.mark.slow
def test_an_operator_changes_exactly_the_kernels_that_reach_it(repository, tmp_path):
    """For every kernel an operator of a definition that it reaches, drawn at random: both ways."""
    package = reach.Package(repository)
    reached = {name: package.reach(name)[0] for name in kernels(repository)}
    before = {name: package.digests(own) for name, own in reached.items()}
    drawn, seen = random.Random(1), set()
    for name, own in reached.items():
        candidates = sorted(at for at in own if at not in seen and not at.name.startswith("<"))
        for at in drawn.sample(candidates, len(candidates)):
            if source := with_another_operator(repository, at):
                break
        seen.add(at)
        (tmp_path / "changed.py").write_text(source, encoding="utf-8")
        known = package.modules[at.module], dict(package._trees)
        package.modules[at.module] = reach.Module(tmp_path / "changed.py")
        package._trees = {where: tree for where, tree in package._trees.items() if where.module != at.module}
        told = {other for other in before if package.digests(package.reach(other)[0]) != before[other]}
        package.modules[at.module], package._trees = known
        assert told == {other for other in before if at in reached[other]}, at
        assert name in told


def test_every_number_follows_its_libraries(repository):
    """A changed pin of what computes makes every kernel that rests on it another; every kernel of numbers has one."""
    for name in kernels(repository):
        found = keys.kernel(name, repository)
        assert {"numpy", "pandas"} <= set(found.libraries)
        assert set(found.libraries) <= set(keys.pins(repository)), name
        other = found._replace(libraries=found.libraries | {"numpy": "0"})
        assert other.digest != found.digest
    trains = keys.kernel("stages.train", repository).libraries
    assert {"torch", "transformers", "peft", "trl", "accelerate", "tokenizers", "safetensors"} <= set(trains)


def test_what_is_installed_and_what_is_recorded_agree(tmp_path):
    (tmp_path / keys.LOCK).write_text("numpy==0.1\n")
    with pytest.raises(InputError, match=rf"numpy 0.1, {re.escape(np.__version__)} is installed"):
        keys.check_pins(tmp_path)
    recorded = tmp_path / "train.json"
    keys.check_recorded(recorded)  # outside a pipeline there is none
    recorded.write_text('{"libraries": {"numpy": "0.1"}}')
    with pytest.raises(InputError, match="dvc repro --force code"):
        keys.check_recorded(recorded)


def test_a_key_follows_everything_that_it_is_given(tmp_path):
    (tmp_path / "f").write_text("1")
    table, array = pd.DataFrame({"a": [1]}), np.arange(3)
    given = [{"a": 1}, table, array, tmp_path, tmp_path / "f", None]
    same = keys.key("valuetrace.scoring.search", *given)
    assert keys.key("valuetrace.scoring.search", *given) == same
    others = [{"a": 2}, table + 1, array.astype(np.int32), tmp_path / "f", tmp_path, 0]
    for place, other in enumerate(others):
        assert keys.key("valuetrace.scoring.search", *given[:place], other, *given[place + 1 :]) != same
    assert keys.key("valuetrace.training.run", *given) != same
    (tmp_path / "f").write_text("2")
    assert keys.key("valuetrace.scoring.search", *given) != same
