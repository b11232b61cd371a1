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
from valuetrace.figures import atlas as figures
from valuetrace.measures import atlas
from valuetrace.report import page


def main() -> None:
    profiles = atlas.read()
    files.write_csv(atlas.table(profiles), "plots/atlas.csv")
    files.write_json(atlas.summary(profiles), "metrics/atlas.json")
    figures.draw("plots/atlas.csv", "plots/atlas.png")
    files.write_text(page.single("atlas"), "plots/atlas.html")


if __name__ == "__main__":
    stage.run(main)
