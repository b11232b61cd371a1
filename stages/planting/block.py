"""Draw a block of the planting study: its words in two halves, a placebo's nouns, its preference pairs.

In:  lexicons/unrolled/*.csv, lexicons/valence.csv, prompts/valence.csv, data/assets/wordnet; params.yaml: planting,
     preferences
Out: data/planting/blocks/<block>/
         words.parquet     word, construct, pattern, part (planted, held_out, placebo, known)
         pairs.parquet     the pairs that reward models are trained on, a study's first
         held_out.parquet  those that they are measured on
Run: python -m stages.planting.block BLOCK
"""

import sys

from valuetrace.core import settings, stage
from valuetrace.studies.planting import folders, words
from valuetrace.studies.planting.design import Planting


def main(block: str) -> None:
    folders.write_block(words.draw_block(settings.get("planting", Planting), int(block)), int(block))


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
