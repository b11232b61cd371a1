"""How a word is spelt as a reply, and the one join of words with the rows of a score table."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from valuetrace.scoring.chat import Format

CASES = {"lower": str.lower, "capitalised": str.capitalize}


def token_form(form: Format, word: str) -> str:
    """The decoded text that stands for ``word`` as the first token of a reply in this format."""
    return f" {word}" if form.space else word


def spellings(words: Iterable[str], form: Format | None, case: str = "lower") -> dict[str, str]:
    """Text → word: how each word reads in a score table. form: of a table of tokens; None for a table of words."""
    spell = CASES[case]
    return {spell(word) if form is None else token_form(form, spell(word)): word for word in dict.fromkeys(words)}


def is_words(table: pd.DataFrame) -> bool:
    """Whether a score table holds candidate words (no ``token_id``) and not the tokens of a vocabulary."""
    return bool(table["token_id"].isna().all())


def word_scores(
    table: pd.DataFrame, words: Iterable[str], keys: list[str], form: Format, case: str = "lower"
) -> pd.DataFrame:
    """Scores of ``words`` (index ``word``, in their order) by prompt key; absent words are left out.

    In a table of tokens a word is the single token that the format asks for (``token_form``), the higher-scored of
    those that decode alike; words of several tokens are absent.
    """
    spelt = spellings(words, None if is_words(table) else form, case)
    best = table[table["token_decoded"].isin(spelt)].groupby("token_decoded", sort=False)[keys].max()
    best.index = pd.Index([spelt[text] for text in best.index], name="word", dtype=object)
    return best.loc[[word for word in spelt.values() if word in best.index]]
