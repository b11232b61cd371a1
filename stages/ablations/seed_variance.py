"""What do one training's values owe to its seed, and which tests see that? From the runs of the ablation.

In:  data/ablations/runs/<size>-<seed>/<base>.parquet, data/word_logprobs.parquet, plots/ablations/readings.csv,
     lexicons/unrolled/*.csv, params.yaml: trained, ablations, dynamics, seed_variance
Out: metrics/seed_variance.json             variance, reliability and seeds needed by measure; tests by pair of runs
     plots/seed_variance/runs.csv           base, data_size, seed, when, lean, gap_positive, gap_negative (ranks)
     plots/seed_variance/{components,reliability,needed,heads}.csv
                                               valuetrace.studies.seed_variance.components
     plots/seed_variance/{decisions,rates}.csv   valuetrace.studies.seed_variance.false_positives
Run: python -m stages.ablations.seed_variance
"""

from itertools import product
from pathlib import Path
from typing import cast

import pandas as pd

from valuetrace import tables
from valuetrace.core import files, settings, stage
from valuetrace.lexicon import unrolled
from valuetrace.measures.ablations import Ablations
from valuetrace.measures.dynamics import inheritance
from valuetrace.measures.dynamics.trajectories import Dynamics, trajectories
from valuetrace.studies.seed_variance import components, false_positives

RUNS, READINGS, PLOTS = Path("data/ablations/runs"), Path("plots/ablations/readings.csv"), Path("plots/seed_variance")


def main() -> None:
    chosen, dynamics = settings.get("seed_variance", components.SeedVariance), settings.get("dynamics", Dynamics)
    ablations, bases = settings.get("ablations", Ablations), settings.get("trained", list[str])
    prompts, lexicon = dynamics.search.prompts(), unrolled.read_lexicon(dynamics.search.lexicon)
    lexicon = lexicon[lexicon["construct"].isin(dynamics.constructs)]
    logprobs = inheritance.read_logprobs(inheritance.LOGPROBS, bases, list(lexicon["word"]), list(prompts["key"]))
    read = components.sizes_that_read(files.read_csv(READINGS, ("base", "step", "reads", "data_size", "seed")))
    runs, measured, left_out = cast("dict[tuple[str, int, int], pd.DataFrame]", {}), [], set()
    for size, seed in product(ablations.sizes, ablations.seeds):
        row = RUNS / f"{size}-{seed}"
        pairs = files.read_json(row / f"{bases[0]}.json")["pairs"]
        if pairs not in read:
            left_out.add(pairs)
            continue
        of_run = {base: tables.read_checkpoints(row / f"{base}.parquet") for base in bases}
        found = components.measured(trajectories(of_run, lexicon, prompts, dynamics.constructs))
        measured.append(found.assign(data_size=pairs, seed=seed))
        runs |= {(base, pairs, seed): table for base, table in of_run.items()}
    measured = pd.concat(measured, ignore_index=True)
    found = components.split(measured, chosen) | {"heads": components.heads(measured, chosen)}
    study = false_positives.Study(lexicon, prompts, dynamics.constructs, chosen.draws, chosen.seed)
    tested = false_positives.every_pair(runs, logprobs, study)
    rates = false_positives.rates(tested)
    metrics = {"bases": bases, "constructs": dynamics.constructs, "runs": len(runs), "sizes": read}
    metrics |= {"left_out": sorted(left_out), "seeds": ablations.seeds, "prompts": len(prompts)}
    metrics |= {"words": lexicon["word"].nunique()} | components.summary(found, chosen)
    files.write_json(metrics | false_positives.summary(rates, study, runs), "metrics/seed_variance.json")
    for name, table in (found | {"runs": measured, "decisions": tested, "rates": rates}).items():
        files.write_csv(table, PLOTS / f"{name}.csv")


if __name__ == "__main__":
    stage.run(main)
