"""The atlas of released models in one table. Needs none of the released files.

In:  metrics/profiles/published/** (stages/published/profiles.py)
Out: plots/atlas.csv     model, kind, base, lineage, lexicon, construct, framing, prompts, words, of, percentile,
                         low, high, median_rank, known_groups, refused (valuetrace.measures.atlas.table)
     metrics/atlas.json  the page's tables, and the range of each base (valuetrace.measures.atlas.summary)
Run: python -m stages.published.atlas
"""

from valuetrace.core import files, stage
from valuetrace.measures import atlas


def main() -> None:
    profiles = atlas.read()
    files.write_csv(atlas.table(profiles), "plots/atlas.csv")
    files.write_json(atlas.summary(profiles), "metrics/atlas.json")


if __name__ == "__main__":
    stage.run(main)
