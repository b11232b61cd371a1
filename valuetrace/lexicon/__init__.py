"""Words from psycholinguistic dictionaries: read them, unroll their wildcards, check and count them."""

from valuetrace.lexicon.entries import (
    COLUMNS,
    check_contrasts,
    overlaps,
    read_edits,
    words_per_construct,
    words_per_pattern,
)
from valuetrace.lexicon.sources import load_lexicon
from valuetrace.lexicon.unrolled import known_groups
from valuetrace.lexicon.vocabulary import Vocabulary, load_vocabulary
from valuetrace.lexicon.wildcards import ZIPF_FLOOR, nouns, unroll
from valuetrace.lexicon.wordnet import read_wordnet

__all__ = [
    "COLUMNS",
    "ZIPF_FLOOR",
    "Vocabulary",
    "check_contrasts",
    "known_groups",
    "load_lexicon",
    "load_vocabulary",
    "nouns",
    "overlaps",
    "read_edits",
    "read_wordnet",
    "unroll",
    "words_per_construct",
    "words_per_pattern",
]
