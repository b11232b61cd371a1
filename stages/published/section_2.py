"""Section 2 from the released rewards of the ten reward models: as published, and with the model as the unit.

In:  data/published/reward_model_scores/, data/published/corpora/; params.yaml: published.comparisons.<name>, compare,
     models, validity; conf/published/*.csv
Out: metrics/published/section_2/<name>.json, plots/published/section_2/<name>/*.csv
Run: python -m stages.published.section_2 NAME
"""

import sys

from valuetrace.core import files, settings, stage
from valuetrace.measures.compare.inputs import read_origins, read_tables
from valuetrace.measures.compare.run import compare
from valuetrace.measures.published.inputs import Comparison


def main(name: str) -> None:
    chosen = settings.get(f"published.comparisons.{name}", Comparison)
    origins = read_origins()
    known = read_tables(chosen.files(chosen.known), origins) if chosen.known else None
    draws = {key: settings.get(f"compare.{key}", int) for key in ("seed", "draws", "lexicon_draws")}
    found = compare(read_tables(chosen.files(), origins), chosen.words(), chosen.lexicon, known=known, **draws)
    files.write_json({"title": chosen.title} | found.metrics, f"metrics/published/section_2/{name}.json")
    found.write_plots(f"plots/published/section_2/{name}")


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
