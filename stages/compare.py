"""Compare two bases over score tables: as published, with the model as the unit, against random lexicons.

In:  the score files and lexicons of params.yaml, compare.runs.<name>; models (family, source), bases, reward_models,
     validity; conf/published/*.csv
Out: metrics/compare/<name>.json, plots/compare/<name>/*.csv
Run: python -m stages.compare NAME
"""

import sys

from valuetrace.core import files, settings, stage
from valuetrace.measures.compare.inputs import Run, read_origins
from valuetrace.measures.compare.run import compare_files


def main(name: str) -> None:
    run = settings.get(f"compare.runs.{name}", Run)
    draws = {key: settings.get(f"compare.{key}", int) for key in ("seed", "draws", "lexicon_draws")}
    comparison = compare_files(run.files(), read_origins(), run.lexicon, run.also, **draws)
    files.write_json({"title": run.title} | comparison.metrics, f"metrics/compare/{name}.json")
    comparison.write_plots(f"plots/compare/{name}")


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
