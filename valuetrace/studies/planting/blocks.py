"""A block of the study is drawn: its words in two halves, a placebo's nouns, its preference pairs."""

from __future__ import annotations

import pandas as pd

from valuetrace import preferences
from valuetrace.core import settings
from valuetrace.lexicon import unrolled
from valuetrace.lexicon.vocabulary import WORDNET
from valuetrace.studies.planting import words
from valuetrace.studies.planting.design import Planting
from valuetrace.studies.planting.folders import Block


def draw(chosen: Planting, number: int) -> Block:
    """The words and pairs of a block; a placebo's nouns are no word that is scored."""
    drawn = preferences.draw(settings.get("preferences", preferences.Preferences), max(chosen.sizes), number)
    lexicon, known = (unrolled.read_lexicon(name) for name in (chosen.lexicon, unrolled.KNOWN_GROUPS))
    table = words.split(lexicon, chosen.constructs, number)
    known = known.rename(columns={"polarity": "construct", "construct": "kind"}).assign(part="known")
    scored = pd.concat([table, known]).drop_duplicates("word")
    placebo = pd.DataFrame()
    if any(plant.good in words.PLACEBO for plant in chosen.plants.values()):
        taken = pd.concat([scored["word"], *(unrolled.read_lexicon(name)["word"] for name in ("big_two", "mfd2"))])
        planted = table[table["part"] == "planted"]
        placebo = words.placebo(planted, chosen.constructs, taken, WORDNET, number).assign(part="placebo")
    every = pd.concat([scored, placebo])[["word", "construct", "pattern", "part"]].fillna("")
    return Block(every.reset_index(drop=True), drawn.train, spared(drawn.held_out, chosen.held_out_pairs))


def spared(held_out: pd.DataFrame, count: int) -> pd.DataFrame:
    """Evenly spaced held-out pairs, ``count`` at most: so of every kind."""
    return held_out.iloc[:: -(-len(held_out) // count)].reset_index(drop=True)
