"""Unroll the dictionaries into word lists: the Big Two (full and nouns) and the MFD2.

The paper's Appendix B: wildcards of the Big Two dictionary (version a) become plausible words, then hand edits are
applied (lexicons/big_two.edits.csv). MFD2 has whole words already.

In:  params.yaml: lexicons; the dictionary and the edits of each of its sources; WordNet 3.0 (data/assets/wordnet/)
Out: lexicons/unrolled/<source>.csv        word, lexicon, construct, polarity (virtue, vice or empty), pattern (the
                                           dictionary's entry), part_of_speech (joined by |); a row a word and construct
     lexicons/unrolled/<source>_nouns.csv  the same for single words that read well as nouns, where ``nouns`` is true
     lexicons/unrolled/known_groups.csv    frequent virtues and vices: what the check of a reading needs
     metrics/lexicons.json                 words a construct and a pattern, shared words, edits (counts)
Run: python -m stages.lexicons
"""

import pandas as pd

from valuetrace import lexicon as lex
from valuetrace.core import files, settings, stage
from valuetrace.lexicon import unrolled
from valuetrace.lexicon.unrolled import Lexicons, Source

OUT = unrolled.lexicon_path("").parent


def main() -> None:
    params = settings.get("lexicons", Lexicons)
    words = lex.load_vocabulary(params.wordnet)
    made = {name: unroll(name, source, params.zipf_floor, words) for name, source in params.sources.items()}
    lexicons = {name: lexicon for own, _ in made.values() for name, lexicon in own.items()}
    known = params.known_groups
    others = [lexicon for name, lexicon in lexicons.items() if name != known.source]
    lexicons[unrolled.KNOWN_GROUPS] = lex.known_groups(lexicons[known.source], others, known.words)
    with files.fresh_folder(OUT.with_name(f".{OUT.name}.partial")) as temporary:
        for name, lexicon in lexicons.items():
            files.write_csv(lexicon, temporary / f"{name}.csv")
        files.replace_folder(temporary, OUT)
    files.write_json({name: metrics for name, (_, metrics) in made.items()}, "metrics/lexicons.json")


def unroll(name: str, source: Source, zipf_floor: float, words: lex.Vocabulary) -> tuple[dict[str, pd.DataFrame], dict]:
    """One dictionary unrolled and checked, its nouns beside it where asked for, and its metrics."""
    dictionary = lex.load_lexicon(source.path, name, source.constructs)
    edits = lex.read_edits(source.edits) if source.edits else None
    unrolled = lex.unroll(dictionary, edits, zipf_floor, words)
    lex.check_contrasts(unrolled, source.contrasts, name)
    metrics = {
        "words": len(unrolled),
        "words_per_construct": lex.words_per_construct(unrolled),
        "words_per_pattern": lex.words_per_pattern(dictionary, unrolled),
        "shared_words": lex.overlaps(unrolled),
    }
    lexicons = {name: unrolled}
    if source.nouns:
        nouns = lexicons[f"{name}_nouns"] = lex.nouns(unrolled, words)
        metrics |= {"nouns": len(nouns), "nouns_per_construct": lex.words_per_construct(nouns)}
    if edits is not None:
        metrics["edits"] = edits["action"].value_counts().sort_index().to_dict()
    return lexicons, metrics


if __name__ == "__main__":
    stage.run(main)
