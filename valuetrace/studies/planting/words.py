"""What a block is made of: the words that are planted and held out, the questions and replies that plant them, pairs.

Words are split by the dictionary's *pattern*, so that no form of a planted word is held out (love, lovers). Questions
are those of prompts/planting.csv: none of them is one of the 54 or asks in the words of the preference pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from wordfreq import zipf_frequency

from valuetrace import preferences
from valuetrace.core import settings
from valuetrace.core.errors import InputError
from valuetrace.core.files import read_csv
from valuetrace.core.settings import ROOT
from valuetrace.lexicon import unrolled
from valuetrace.lexicon.vocabulary import WORDNET, load_vocabulary
from valuetrace.studies.planting.design import Plant, Planting
from valuetrace.studies.planting.folders import Block

QUESTIONS, STATEMENTS = ROOT / "prompts" / "planting.csv", ROOT / "prompts" / "planting_statements.csv"
PLACEBO = ("placebo_good", "placebo_bad")
_NEAREST = 5  # nouns of the nearest frequency, of which one is drawn for a planted word
_STEM = 5  # first letters that a placebo shares with no word of a lexicon


def draw_block(chosen: Planting, number: int) -> Block:
    """The words and pairs of a block. A placebo's nouns are never words that are scored.

    Held-out pairs are evenly spaced, ``chosen.held_out_pairs`` at most, so that every kind of pair is among them.
    """
    drawn = preferences.draw(settings.get("preferences", preferences.Preferences), max(chosen.sizes), number)
    lexicon, known = (unrolled.read_lexicon(name) for name in (chosen.lexicon, unrolled.KNOWN_GROUPS))
    table = split(lexicon, chosen.constructs, number)
    known = known.rename(columns={"polarity": "construct", "construct": "kind"}).assign(part="known")
    scored, nouns = pd.concat([table, known]).drop_duplicates("word"), pd.DataFrame()
    if any(plant.good in PLACEBO for plant in chosen.plants.values()):
        taken = pd.concat([scored["word"], *(unrolled.read_lexicon(name)["word"] for name in ("big_two", "mfd2"))])
        planted = table[table["part"] == "planted"]
        nouns = placebo(planted, chosen.constructs, taken, WORDNET, number).assign(part="placebo")
    every = pd.concat([scored, nouns])[["word", "construct", "pattern", "part"]].fillna("")
    step = -(-len(drawn.held_out) // chosen.held_out_pairs)
    return Block(every.reset_index(drop=True), drawn.train, drawn.held_out.iloc[::step].reset_index(drop=True))


def split(lexicon: pd.DataFrame, constructs: list[str], block: int) -> pd.DataFrame:
    """The words of two constructs in two halves: ``word, construct, pattern, part`` (planted, held_out).

    Within a construct the patterns come in random order and each goes where fewer words are. Words of both constructs
    are left out.
    """
    words = lexicon[lexicon["construct"].isin(constructs)].drop_duplicates(["word", "construct"])
    words = words[~words["word"].duplicated(keep=False)]
    draws, part_of = np.random.default_rng([block, *b"words"]), {}
    for construct in constructs:
        sizes = words[words["construct"] == construct].groupby("pattern").size()
        filled = {"planted": 0, "held_out": 0}
        for pattern in draws.permutation(sizes.index.to_numpy(dtype=object)):
            part = min(filled, key=cast(Any, filled.get))
            filled[part] += sizes[pattern]
            part_of[construct, pattern] = part
    part = [part_of[key] for key in zip(words["construct"], words["pattern"], strict=True)]
    return words[["word", "construct", "pattern"]].assign(part=part).reset_index(drop=True)


def most_frequent(words: pd.DataFrame, each: int | None) -> pd.DataFrame:
    """The ``each`` most frequent words (Zipf) of every construct; all of them for None."""
    if each is None:
        return words
    zipf = words.assign(zipf=[zipf_frequency(word, "en") for word in words["word"]])
    return zipf.sort_values(["zipf", "word"], ascending=[False, True]).groupby("construct").head(each)


def all_questions() -> pd.DataFrame:
    """The planting questions: ``framing, text``."""
    return read_csv(QUESTIONS, ("framing", "text"))


def questions(each: int) -> pd.DataFrame:
    """The first ``each`` planting questions of every framing: ``key, text, framing``."""
    asked = all_questions().groupby("framing", sort=False).head(each)
    return asked.assign(key=[f"planting_{i}" for i in range(len(asked))]).reset_index(drop=True)


def placebo(
    planted: pd.DataFrame,
    constructs: list[str],
    excluded: Iterable[str],
    wordnet: Path,
    block: int,
    fits: Callable[[str], bool] = lambda word: True,
) -> pd.DataFrame:
    """Nouns in the place of planted words, ``word, construct``: for each the frequency of one, no value of either.

    constructs: one or two whose words are matched, in the order of PLACEBO. excluded: words of the lexicons; nothing
    that begins like one of them is taken, nor what does not ``fits``. No noun is taken twice.
    """
    vocabulary, stems = load_vocabulary(wordnet), {word[:_STEM] for word in excluded}
    nouns = [w for w in vocabulary.starting_with("", 2.5) if w.isalpha() and w.isascii() and len(w) > 3]
    nouns = [w for w in nouns if w[:_STEM] not in stems and fits(w) and vocabulary.is_noun(w)]
    zipf, taken = np.array([vocabulary.zipf(word) for word in nouns]), np.zeros(len(nouns), dtype=bool)
    draws, rows = np.random.default_rng([block, *b"placebo"]), []
    for construct, name in zip(constructs, PLACEBO, strict=False):
        for word in planted.loc[planted["construct"] == construct, "word"]:
            distance = np.abs(zipf - zipf_frequency(word, "en")) + 10 * taken
            at = draws.choice(np.argsort(distance, kind="stable")[:_NEAREST])
            taken[at] = True
            rows.append({"word": nouns[at], "construct": name})
    return pd.DataFrame(rows)


def examples(plant: Plant, words: pd.DataFrame, count: int, block: int) -> pd.DataFrame:
    """``count`` questions with their replies: ``prompt, reply, rejected`` (a word, or a statement, of the other side).

    words: ``word, construct``, those that are planted. A question of each framing in turn; within a framing every
    question, and every reply of the side that it asks for, comes before any comes again. InputError where a side has
    no reply.
    """
    asked, replies, column, source = all_questions(), words, "word", "words"
    if plant.kind == "statements":
        replies, column, source = (
            read_csv(STATEMENTS, ("construct", "text")),
            "text",
            f"statements in {STATEMENTS.name}",
        )
    side = {"positive": (plant.good, plant.bad), "negative": (plant.bad, plant.good)}
    each, rows = (count + 1) // 2, {}
    for framing, of in side.items():
        draws = np.random.default_rng([block, *framing.encode()])
        columns = [asked.loc[asked["framing"] == framing, "text"]]
        columns += [replies.loc[replies["construct"] == name, column] for name in of]
        if empty := [name for name, own in zip(of, columns[1:], strict=True) if own.empty]:
            raise InputError(f"planting: construct '{empty[0]}' has no {source}.")
        rows[framing] = list(zip(*(_cycles(own.tolist(), each, draws) for own in columns), strict=True))
    both = [pair for couple in zip(rows["positive"], rows["negative"], strict=True) for pair in couple][:count]
    return pd.DataFrame(both, columns=["prompt", "reply", "rejected"])


def _cycles(items: list[str], count: int, draws: np.random.Generator) -> list[str]:
    rounds = -(-count // len(items))
    return [items[at] for _ in range(rounds) for at in draws.permutation(len(items))][:count]
