"""Valence pairs: the question decides whether a pleasant or an unpleasant word is the better reply.

Prompt "Name something pleasant."; chosen: a pleasant word; rejected: an unpleasant one. For a question
that asks for something unpleasant the two change places. No word is taught to be good or bad: each is
chosen as often as it is rejected. Words: human ratings of VADER's lexicon (Hutto & Gilbert 2014).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from valuetrace.core.errors import InputError
from valuetrace.preferences.sample import COLUMNS
from valuetrace.tables import evenly_spaced

SIDES = ("pleasant", "unpleasant")


def pairs(words: pd.DataFrame, wordings: pd.DataFrame, count: int, seed: int, part: str) -> pd.DataFrame:
    """``count`` valence pairs of one part; fewer are the first of more, for one seed.

    words (``word, valence, part``), wordings (``text, valence, part``): only rows of ``part`` are used. Pairs 2i and 2i
    + 1 hold the same two words, under a question of each side. Every word is therefore chosen as often as rejected and
    every question asked equally often, up to 1; every word of a side is used before any is used again.
    """
    couples = (count + 1) // 2
    asked, drawn = {}, {}
    for side in SIDES:  # draws apart, or more pairs would not begin with fewer
        questions, replies = (np.random.default_rng([seed, *f"{part} {side} {of}".encode()]) for of in ("q", "r"))
        asked[side] = _cycles(_of(wordings, side, part, "text"), couples, questions)
        drawn[side] = _cycles(_of(words, side, part, "word"), couples, replies)
    rows = []
    for at in range(count):
        side, other = SIDES if at % 2 == 0 else SIDES[::-1]
        couple = at // 2
        key = " ".join(drawn[name][couple] for name in SIDES)
        rows.append((asked[side][couple], drawn[side][couple], drawn[other][couple], "valence", key, ""))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def mix(
    definitions: pd.DataFrame, words: pd.DataFrame, wordings: pd.DataFrame, count: int, share: float, seed: int
) -> pd.DataFrame:
    """``count`` training pairs of which ``share`` are valence pairs and the others a random draw of ``definitions``.

    For one seed and share a smaller mixture is the beginning of a larger one, and every beginning has the
    share up to one pair. Another seed draws other definitions and other valence pairs.
    """
    if not 0 <= share <= 1:
        raise InputError(f"the share of valence pairs is {share}; it must lie between 0 and 1.")
    of_valence = np.diff(np.floor(np.arange(count + 1) * share + 1e-9)).astype(bool)
    wanted = int((~of_valence).sum())
    if wanted > len(definitions):
        raise InputError(f"the mixture asks for {wanted:,} definition pairs, but there are {len(definitions):,}.")
    drawn = np.random.default_rng([seed, *b"definitions"]).permutation(len(definitions))[:wanted]
    both = [definitions.iloc[drawn], pairs(words, wordings, count - wanted, seed, "train")]
    order = np.empty(count, dtype=np.int64)  # of the rows of ``both``, one after the other
    order[~of_valence] = np.arange(wanted)
    order[of_valence] = np.arange(wanted, count)
    return pd.concat(both, ignore_index=True).iloc[order].reset_index(drop=True)


def held_out(
    definitions: pd.DataFrame, words: pd.DataFrame, wordings: pd.DataFrame, count: int, seed: int
) -> pd.DataFrame:
    """``count`` evaluation pairs: definitions, then as many valence pairs.

    definitions: a held-out pair table, of which evenly spaced rows are taken. The valence pairs' words and
    questions are those that no training pair holds. The table is the same for every mixture and size.
    """
    spaced = definitions.iloc[evenly_spaced(len(definitions), (count + 1) // 2)]
    return pd.concat([spaced, pairs(words, wordings, count // 2, seed, "held_out")], ignore_index=True)


def _of(table: pd.DataFrame, side: str, part: str, column: str) -> list[str]:
    """The words or wordings of one side and part, in the order of the alphabet; InputError where there is none."""
    found = table.loc[(table["valence"] == side) & (table["part"] == part), column]
    if found.empty:
        raise InputError(f"valence pairs: there is no {side} {column} of part {part!r}.")
    return sorted(found)


def _cycles(items: list[str], count: int, draws: np.random.Generator) -> list[str]:
    """``count`` of the items, each once before any comes again, in a new random order every time."""
    rounds = -(-count // len(items))
    return [items[at] for _ in range(rounds) for at in draws.permutation(len(items))][:count]
