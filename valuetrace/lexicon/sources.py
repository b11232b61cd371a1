"""Readers of dictionaries: the JSON of our sources, LIWC's .dic and .dicx, and CSV.

Each reader returns the entries by (construct, polarity), in the order of the file.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from valuetrace.core.errors import InputError, some
from valuetrace.core.files import read_csv, read_json
from valuetrace.lexicon.entries import COLUMNS, check, clean, table

Groups = dict[tuple[str, str], list[str]]

_POLARITY = re.compile(r"(.+)[._](virtue|vice)", re.IGNORECASE)
_DIC_CATEGORY = re.compile(r"\s*(\d+)\s+(.*?)\s*(?:\(.*\))?\s*")  # 1  posemo (Positive Emotions)
_DIC_CONDITION = re.compile(r"\s*\S+\s+[(<].*\d.*")  # like (02 134)126/253   kind <of>131/125
_DIC_ENTRY = re.compile(r"\s*(.+?)((?:\s+\d+)+)\s*")  # happi*  1  3


def load_lexicon(path: str | Path, name: str | None = None, constructs: Mapping[str, str] | None = None):
    """Read a dictionary in any of these forms, chosen by suffix and header, as a lexicon table.

    - ``.json``: ``{construct: [entries]}`` or ``{construct: {"virtue": [entries], "vice": [entries]}}``
    - ``.dic``: LIWC 2007/2015, category numbers between two ``%`` lines, then an entry and its numbers a line
    - ``.dicx``: LIWC-22, a CSV of ``DicTerm`` and one column a category, ``X`` where the entry belongs
    - ``.csv``: ``construct, word`` and optionally the other columns of a lexicon; or the paper's
      ``Category, token_decoded`` (categories put in lower case)

    ``name``: the lexicon's name (default: the file's). ``constructs``: those to take, as {name to use: name in the
    file} (default: all). Returns ``word, lexicon, construct, polarity, pattern, part_of_speech`` in the order of the
    file, wildcards as they stand (``unroll`` expands them). Raises InputError naming the file and the line or entry.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such dictionary. Check the path, or run the stage that fetches it.")
    name = name or path.name.split(".")[0]
    if path.suffix == ".csv":
        lexicon = _read_csv(path, name)
    elif path.suffix in _READERS:
        lexicon = table(_READERS[path.suffix](path), name, str(path))
    else:
        raise InputError(f"{path}: unknown kind of dictionary. Known: .csv, {', '.join(_READERS)}.")
    return lexicon if constructs is None else _choose(lexicon, constructs, path)


def _choose(lexicon: pd.DataFrame, constructs: Mapping[str, str], path: Path) -> pd.DataFrame:
    have = list(dict.fromkeys(lexicon["construct"]))
    missing = [old for old in constructs.values() if old not in have]
    if missing or not constructs:
        raise InputError(f"{path}: no construct {some(missing)}. It has {some(have, 20)}.")
    new = {old: new for new, old in constructs.items()}
    chosen = lexicon[lexicon["construct"].isin(new)]
    return chosen.assign(construct=chosen["construct"].map(new)).reset_index(drop=True)


def _read_groups_json(path: Path) -> Groups:
    groups: Groups = {}
    source = read_json(path)
    for construct, words in source.items() if isinstance(source, dict) else [("", source)]:
        by_polarity = words if isinstance(words, dict) else {"": words}
        for polarity, listed in by_polarity.items():
            if not construct or not isinstance(listed, list) or not all(isinstance(word, str) for word in listed):
                raise InputError(f"{path}: '{construct}' must hold a list of words, or virtue and vice with one each.")
            groups[construct, polarity] = listed
    return groups


def _read_dic(path: Path) -> Groups:
    lines = _read_text(path).splitlines()
    marks = [at for at, line in enumerate(lines) if line.strip() == "%"]
    if len(marks) != 2:
        raise InputError(f"{path}: {len(marks)} lines hold a single %; a .dic file lists its categories between two.")
    names: dict[str, tuple[str, str]] = {}
    for at in range(marks[0] + 1, marks[1]):
        if not lines[at].strip():
            continue
        category = _DIC_CATEGORY.fullmatch(lines[at])
        if not category or not category[2]:
            raise InputError(f"{path}, line {at + 1}: {lines[at].strip()!r} is no category (a number, then a name).")
        if str(int(category[1])) in names or _with_polarity(category[2]) in names.values():
            raise InputError(f"{path}, line {at + 1}: category {lines[at].strip()!r} stands twice.")
        names[str(int(category[1]))] = _with_polarity(category[2])
    groups: Groups = {group: [] for group in names.values()}
    conditional = []
    for at in range(marks[1] + 1, len(lines)):
        if not lines[at].strip():
            continue
        if _DIC_CONDITION.fullmatch(lines[at]):
            conditional.append(lines[at].strip())
            continue
        entry = _DIC_ENTRY.fullmatch(lines[at])
        if not entry:
            raise InputError(f"{path}, line {at + 1}: {lines[at].strip()!r} is not an entry and its category numbers.")
        for number in entry[2].split():
            if str(int(number)) not in names:
                raise InputError(f"{path}, line {at + 1}: category {number} of {entry[1]!r} is not in the header.")
            groups[names[str(int(number))]].append(entry[1])
    if conditional:  # their category depends on the words beside them, and a reply has none
        warnings.warn(
            f"{path}: left out {len(conditional)} conditional entries: {some(map(repr, conditional))}", stacklevel=2
        )
    return groups


def _read_dicx(path: Path) -> Groups:
    frame = read_csv(path, ("DicTerm",), dtype=str)
    groups: Groups = {}
    for column in frame.columns.drop("DicTerm"):
        marks = frame[column].str.strip().str.upper()
        other = frame.index[~marks.isin(["", "X"])]
        if len(other):
            raise InputError(
                f"{path}, line {other[0] + 2}: {column} is {frame[column][other[0]]!r}; mark membership with X "
                "(weighted dictionaries are not supported)."
            )
        groups[_with_polarity(column)] = frame["DicTerm"][marks == "X"].tolist()
    return groups


def _read_csv(path: Path, name: str) -> pd.DataFrame:
    frame = read_csv(path, (), dtype=str)
    if {"Category", "token_decoded"} <= set(frame.columns):
        frame = frame.rename(columns={"Category": "construct", "token_decoded": "word"})
        frame["construct"] = frame["construct"].str.lower()
    missing = [column for column in ("construct", "word") if column not in frame.columns]
    if missing:
        raise InputError(
            f"{path}: column {some(missing)} is missing (found: {some(frame.columns, 8)}). "
            "A lexicon has construct and word, or Category and token_decoded."
        )
    if "weight" in frame.columns:
        raise InputError(f"{path}: has a column weight, but words are not weighted here. Take the column out.")
    blank = [column for column in ("construct", "word") if (frame[column].str.strip() == "").all()]
    if blank and len(frame) > 1:
        raise InputError(f"{path}: column {some(blank)} is empty in every line.")
    frame["word"] = frame["word"].map(clean)
    defaults: dict = {"lexicon": name, "polarity": "", "pattern": frame["word"], "part_of_speech": ""}
    frame = frame.assign(**{column: value for column, value in defaults.items() if column not in frame.columns})
    nameless = frame.index[frame["construct"].str.strip() == ""]
    if len(nameless):
        raise InputError(f"{path}, line {nameless[0] + 2}: the construct of '{frame['word'][nameless[0]]}' is empty.")
    check(frame, str(path))
    return frame[list(COLUMNS)]


def _with_polarity(name: str) -> tuple[str, str]:
    """``care.virtue`` is construct care, polarity virtue; other names have no polarity."""
    name = name.strip()
    found = _POLARITY.fullmatch(name)
    return (found[1], found[2].lower()) if found else (name, "")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text. Save it as UTF-8.") from None


_READERS = {".json": _read_groups_json, ".dic": _read_dic, ".dicx": _read_dicx}
