"""Is it reproduced? What was made, compared with what is committed: text exactly, numbers by their kind.

A *side* is the text of every compared file by its path, from a folder or a git revision; a *leaf* is one value of a
file by its dotted key (``gaps.4.gap`` of a JSON file, ``12.gap`` for line 12 of a CSV). What may differ by how much,
and why, is data: conf/verify.yaml.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import subprocess
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

from valuetrace.core import settings
from valuetrace.core.errors import InputError

RULES = Path("conf/verify.yaml")
SHOWN = 20  # files named with their first difference

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Kind:
    """Numbers whose file and key match: they may differ by ``absolute`` + ``relative`` × the greater of the two.

    A number that both sides write without a point is a count and equal, unless ``whole``; numbers within a sentence
    are part of the text, and equal, unless ``text``.
    """

    kind: str
    files: list[str]
    keys: list[str]
    reason: str
    absolute: float = 0.0
    relative: float = 0.0
    unit: str = ""
    whole: bool = False
    text: bool = False


@dataclass(frozen=True)
class Ordered:
    """A table of an ordering's first rows: a row is known by its ``key``, and the share ``rows`` may come and go."""

    file: str
    key: list[str]
    rows: float
    reason: str


@dataclass(frozen=True)
class Rules:
    """conf/verify.yaml: the ``files`` compared, keys ``ignored`` (by file), ordered tables, kinds of numbers."""

    files: list[str]
    ignored: dict[str, list[str]]
    ordered: list[Ordered]
    kinds: list[Kind]


_COUNT = Kind("whole number", [], [], "a count is what it is")


@dataclass
class Result:
    """What a comparison found: ``problems`` by file, ``worst`` the largest share of its tolerance and what it is."""

    against: str
    files: int = 0
    numbers: int = 0
    beyond: int = 0
    moved: int = 0  # rows of ordered tables that came or went
    worst: tuple[float, str] = (0.0, "none")
    problems: dict[str, list[str]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """One line a file with differences, at most ``SHOWN``, then the verdict."""
        more = {path: f" (and {len(found) - 1:,} more)" if found[1:] else "" for path, found in self.problems.items()}
        shown = [f"{path}: {found[0]}{more[path]}" for path, found in self.problems.items()]
        if len(shown) > SHOWN:
            shown[SHOWN:] = [f"… and {len(shown) - SHOWN:,} more files"]
        verdict = f"verify: {self.numbers:,} numbers in {self.files:,} files against {self.against}: "
        verdict += f"{self.numbers - self.beyond:,} within tolerance; largest difference {self.worst[1]}"
        if self.moved:
            verdict += f"; {self.moved:,} rows of ordered tables came or went"
        return [*shown, verdict + (f"; {len(self.problems):,} files differ" if shown else "")]


def verify(other: str | None = None, folder: str | Path = ".") -> Result:
    """Compare ``folder`` with a git revision of it (default HEAD), or with another folder.

    InputError: no git or no such revision, nothing to compare on one side, a file that cannot be read.
    """
    rules = settings.build(Rules, settings.load(Path(folder, RULES)), str(RULES))
    named = other or "HEAD"
    ours = read_folder(folder, rules.files)
    theirs = read_folder(named, rules.files) if other and Path(other).is_dir() else read_git(named, folder, rules.files)
    for side, where in ((ours, folder), (theirs, named)):
        if not side:
            raise InputError(f"{where} has no results ({', '.join(rules.files)}). Run from the root of the repository.")
    return compare(ours, theirs, rules, named)


def read_folder(folder: str | Path, patterns: list[str]) -> dict[str, str]:
    """The side of a folder; what begins with a dot is left out."""
    side = {}
    for top in sorted({pattern.split("/")[0] for pattern in patterns}):
        for path in sorted(Path(folder, top).rglob("*")):
            name = path.relative_to(folder).as_posix()
            if _compared(name, patterns) and path.is_file():
                side[name] = _text(path.read_bytes(), path)
    return side


def read_git(revision: str, folder: str | Path, patterns: list[str]) -> dict[str, str]:
    """The side of a git revision, of the part of it that ``folder`` shows."""
    tree = _git(folder, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{tree}}").decode().strip()
    tops = sorted({pattern.split("/")[0] for pattern in patterns})
    listed = _git(folder, "ls-tree", "-r", "-z", "--name-only", tree, "--", *tops).decode().split("\0")
    if not (names := [name for name in listed if _compared(name, patterns)]):
        return {}
    with cast(Any, tarfile.open(fileobj=io.BytesIO(_git(folder, "archive", tree, "--", *names)))) as archive:
        return {m.name: _text(archive.extractfile(m).read(), f"{revision}:{m.name}") for m in archive if m.isfile()}


def compare(ours: dict[str, str], theirs: dict[str, str], rules: Rules, against: str) -> Result:
    """Every leaf of every file that either side has."""
    result = Result(against, files=len(ours | theirs))
    for path in sorted(ours | theirs):
        if path not in ours or path not in theirs:
            result.problems[path] = [f"missing here, {against} has it" if path in theirs else f"not in {against}"]
        elif found := _compare_file(path, ours[path], theirs[path], rules, result):
            result.problems[path] = found
    return result


def _compare_file(path: str, ours: str, theirs: str, rules: Rules, result: Result) -> list[str]:
    table = next((table for table in rules.ordered if fnmatchcase(path, table.file)), None)
    ignored = [key for name, keys in rules.ignored.items() if fnmatchcase(path, name) for key in keys]
    key = table.key if table else []
    mine, other = _leaves(path, ours, key), _leaves(f"{result.against}:{path}", theirs, key)
    problems = []
    if table is not None:
        rows, known = ({_row(key) for key in side} - {""} for side in (mine, other))
        gone = max(len(rows - known), len(known - rows))
        result.moved += gone
        if gone > table.rows * len(known):
            problems.append(f"{gone} rows came or went, {table.rows:.0%} of {len(known)} may")
        both = rows & known | {""}  # and the header
        mine, other = ({k: v for k, v in side.items() if _row(k) in both} for side in (mine, other))
    for key in mine | other:
        if _matches(f".{key}", ignored):
            continue
        if key not in mine or key not in other:
            problems.append(f"{key} is missing here" if key in other else f"{key} is not in {result.against}")
        elif problem := _compare_leaf(path, key, mine[key], other[key], rules, result):
            problems.append(problem)
    return problems


def _compare_leaf(path: str, key: str, ours: str, theirs: str, rules: Rules, result: Result) -> str | None:
    """Count a leaf, and say what is wrong with it."""
    number = bool(_NUMBER.fullmatch(ours) and _NUMBER.fullmatch(theirs))
    result.numbers += number
    if ours == theirs:
        return None
    said = f"{key} is {ours or 'empty'}, in {result.against} {theirs or 'empty'}"
    whole = number and ours.lstrip("+-").isdigit() and theirs.lstrip("+-").isdigit()
    kind = next((kind for kind in rules.kinds if _fits(kind, path, key, number, whole)), _COUNT)
    if not number and (kind is _COUNT or _NUMBER.sub("#", ours) != _NUMBER.sub("#", theirs)):
        return said
    pairs = zip(*([float(found[0]) for found in _NUMBER.finditer(text)] for text in (ours, theirs)), strict=True)
    difference, allowed = max((abs(a - b), kind.absolute + kind.relative * max(abs(a), abs(b))) for a, b in pairs)
    share = difference / allowed if allowed else math.inf
    told = f"{difference:.3g}{kind.unit and ' '}{kind.unit} ({kind.kind}: {allowed:.3g} allowed)"
    result.worst = max(result.worst, (share, f"{told}, {path}: {key}"))
    result.beyond += share > 1
    return f"{said}: they differ by {told}" if share > 1 else None


def _fits(kind: Kind, path: str, key: str, number: bool, whole: bool) -> bool:
    if number == kind.text or (whole and not kind.whole):
        return False
    return _matches(path, kind.files) and _matches(f".{key}", kind.keys)


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _row(key: str) -> str:
    return key.rpartition(".")[0]  # no column's name has a dot


def _leaves(path: str, text: str, key: list[str]) -> dict[str, str]:
    """Every value of a file as text, by its dotted key. InputError where the file cannot be read."""
    try:
        if path.endswith(".csv"):
            return _csv_leaves(text, key)
        return dict(_json_leaves(json.loads(text, parse_int=_Number, parse_float=_Number), ""))
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error}). Make it again (dvc repro).") from None


class _Number(str):
    """A number as a JSON file writes it."""


def _json_leaves(value, key: str):
    if isinstance(value, (dict, list)) and value:
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _json_leaves(item, f"{key}.{name}" if key else str(name))
    else:
        yield key, str(value) if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False)


def _csv_leaves(text: str, key: list[str]) -> dict[str, str]:
    header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    leaves, seen = {"header": ",".join(header)}, cast("Counter[str]", Counter())
    for line, row in enumerate(rows, start=2):
        cells = dict(zip(header, row, strict=True))
        name = "/".join(cells[column] for column in key) if key else str(line)
        seen[name] += 1
        name += f"#{seen[name]}" if seen[name] > 1 else ""
        leaves |= {f"{name}.{column}": cell for column, cell in cells.items()}
    return leaves


def _compared(name: str, patterns: list[str]) -> bool:
    hidden = any(part.startswith(".") for part in name.split("/"))
    return not hidden and _matches(name, patterns)


def _text(content: bytes, where: str | Path) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: cannot be read ({error}). Make it again (dvc repro).") from None


def _git(folder: str | Path, *arguments: str) -> bytes:
    try:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=True).stdout
    except FileNotFoundError:
        said = "git is not installed"
    except subprocess.CalledProcessError as error:
        said = (error.stderr.decode(errors="replace").strip().splitlines() or ["no such revision"])[0]
    raise InputError(f"git cannot give what to compare with ({said}). Name a revision, or a folder with another copy.")
