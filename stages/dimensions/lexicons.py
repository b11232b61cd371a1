"""Put the words of all dictionaries into one lexicon, and the ratings that are the covariate beside it.

In:  data/assets/, lexicons/ (the dictionaries' paths); params.yaml: dimensions
Out: data/dimensions/lexicon.csv  word, lexicon, construct (dictionary:construct), polarity, pattern, part_of_speech,
     zipf, taught, kept. Not in git: not every dictionary may be passed on (NOTICE)
     data/dimensions/ratings.csv  word, rating
Run: python -m stages.dimensions.lexicons
"""

from valuetrace.core import files, settings, stage
from valuetrace.lexicon.vocabulary import read_ratings
from valuetrace.studies.dimensions import words
from valuetrace.studies.dimensions.dictionaries import Dimensions


def main() -> None:
    chosen = settings.get("dimensions", Dimensions)
    files.write_csv(words.combined(chosen), words.LEXICON)
    rated = read_ratings(chosen.dictionaries[chosen.rated].path)
    files.write_csv(rated.rename_axis("word").reset_index(), words.RATINGS)


if __name__ == "__main__":
    stage.run(main)
