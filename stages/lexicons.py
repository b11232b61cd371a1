"""Unroll the dictionaries into word lists: the Big Two (full and nouns) and the MFD2.

Purpose: the paper's Appendix B. Wildcards of the Big Two dictionary (version a) become plausible words;
a short file of hand edits, lexicons/big_two.edits.csv, is applied on top. MFD2 has whole words already.

Inputs: the group ``lexicons`` of params.yaml; for each of its sources the dictionary and its edits; the
WordNet 3.0 database files; wordfreq's and lemminflect's tables.

Outputs, for each source NAME:
  lexicons/NAME.csv        word, lexicon, construct, polarity (virtue, vice or empty), pattern (the
                           dictionary's entry), part_of_speech (joined by |); one row a word and construct
  lexicons/NAME_nouns.csv  the same for single words that read well as nouns, where ``nouns`` is true
  metrics/lexicons.json    words a construct and a pattern, shared words a pair of constructs, edits (counts)

Command: python stages/lexicons.py
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from valuetrace import lexicon as lex
from valuetrace.core import files, settings, stage


@dataclass(frozen=True)
class Source:
    """One dictionary: where it is, which constructs to take and how it is edited and checked."""

    path: str
    constructs: dict[str, str] | None = None  # name to use -> name in the file; all by default
    edits: str | None = None
    contrasts: list[list[str]] = field(default_factory=list)  # constructs that must share no word
    nouns: bool = False


@dataclass(frozen=True)
class Lexicons:
    """The parameter group: WordNet's folder, the rarest word taken (Zipf), the dictionaries by name."""

    wordnet: str
    zipf_floor: float
    sources: dict[str, Source]


def main() -> None:
    params = settings.get("lexicons", Lexicons)
    words = lex.load_vocabulary(params.wordnet)
    metrics = {name: write_lexicon(name, source, params.zipf_floor, words) for name, source in params.sources.items()}
    files.write_json(metrics, "metrics/lexicons.json")


def write_lexicon(name: str, source: Source, zipf_floor: float, words: lex.Vocabulary) -> dict:
    """Unroll, check and write one dictionary; its metrics are returned."""
    dictionary = lex.load_lexicon(source.path, name, source.constructs)
    edits = lex.read_edits(source.edits) if source.edits else None
    unrolled = lex.unroll(dictionary, edits, zipf_floor, words)
    lex.check_contrasts(unrolled, source.contrasts, name)
    files.write_csv(unrolled, Path("lexicons") / f"{name}.csv")
    metrics = {
        "words": len(unrolled),
        "words_per_construct": lex.words_per_construct(unrolled),
        "words_per_pattern": lex.words_per_pattern(dictionary, unrolled),
        "shared_words": lex.overlaps(unrolled),
    }
    if source.nouns:
        nouns = lex.nouns(unrolled, words)
        files.write_csv(nouns, Path("lexicons") / f"{name}_nouns.csv")
        metrics |= {"nouns": len(nouns), "nouns_per_construct": lex.words_per_construct(nouns)}
    if edits is not None:
        metrics["edits"] = edits["action"].value_counts().sort_index().to_dict()
    return metrics


if __name__ == "__main__":
    stage.run(main)
