"""The atlas of released models: one table, one picture, one page. Needs none of the released files.

In:  metrics/profiles/published/** (stages/published/profiles.py); params.yaml: profile, profile_note, models
Out: plots/atlas.csv     model, kind, base, lineage, lexicon, construct, framing, prompts, words, of, percentile,
                         low, high, median_rank, known_groups, refused (valuetrace.measures.atlas.table)
     metrics/atlas.json  the page's tables, and the range of each base (valuetrace.measures.atlas.summary)
     plots/atlas.png     the reward models' profiles on the Big Two nouns, README's first picture
     plots/atlas.html    every model and construct, to sort and to filter
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
