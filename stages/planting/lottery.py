"""What do one training's values owe to its seed, and which tests see that? From the runs of the ablation.

In:  data/ablations/runs/<size>-<seed>/<base>.parquet, data/word_logprobs.parquet, plots/ablations/readings.csv,
     lexicons/unrolled/*.csv, params.yaml: trained, ablations, dynamics, lottery, models
Out: metrics/planting/lottery.json             variance, reliability and seeds needed by measure; tests by pair of runs
     plots/planting/lottery_runs.csv           base, data_size, seed, when, lean, gap_positive, gap_negative (ranks)
     plots/planting/lottery_components.csv, lottery_reliability.csv, lottery_needed.csv, lottery_heads.csv
                                               valuetrace.analysis.planting.lottery
     plots/planting/lottery_decisions.csv, lottery_rates.csv   valuetrace.analysis.planting.false_positives
     plots/planting/lottery.png
Run: python -m stages.planting.lottery
"""

from itertools import product
from pathlib import Path
from typing import cast

import pandas as pd

from valuetrace import tables
from valuetrace.analysis.ablations.runs import Ablations
from valuetrace.analysis.dynamics import inheritance
from valuetrace.analysis.dynamics.trajectories import Dynamics, trajectories
from valuetrace.analysis.planting import false_positives, lottery
from valuetrace.analysis.planting.reliability import Lottery
from valuetrace.core import files, settings, stage
from valuetrace.figures import lottery as figures
from valuetrace.figures import style
from valuetrace.models.rows import Model

RUNS, READINGS, PLOTS = Path("data/ablations/runs"), Path("plots/ablations/readings.csv"), Path("plots/planting")


def main() -> None:
    chosen, dynamics = settings.get("lottery", Lottery), settings.get("dynamics", Dynamics)
    ablations, bases = settings.get("ablations", Ablations), settings.get("trained", list[str])
    prompts, lexicon = dynamics.search.prompts(), tables.read_lexicon(dynamics.search.lexicon)
    lexicon = lexicon[lexicon["construct"].isin(dynamics.constructs)]
    logprobs = inheritance.read_logprobs(inheritance.LOGPROBS, bases, list(lexicon["word"]), list(prompts["key"]))
    read = lottery.sizes_that_read(files.read_csv(READINGS, ("base", "step", "reads", "data_size", "seed")))
    runs, measured, left_out = cast("dict[tuple[str, int, int], pd.DataFrame]", {}), [], set()
    for size, seed in product(ablations.sizes, ablations.seeds):
        row = RUNS / f"{size}-{seed}"
        pairs = files.read_json(row / f"{bases[0]}.json")["pairs"]
        if pairs not in read:
            left_out.add(pairs)
            continue
        of_run = {base: tables.read_checkpoints(row / f"{base}.parquet") for base in bases}
        found = lottery.measured(trajectories(of_run, lexicon, prompts, dynamics.constructs))
        measured.append(found.assign(data_size=pairs, seed=seed))
        runs |= {(base, pairs, seed): table for base, table in of_run.items()}
    measured = pd.concat(measured, ignore_index=True)
    found = lottery.split(measured, chosen) | {"heads": lottery.heads(measured, chosen)}
    study = false_positives.Study(lexicon, prompts, dynamics.constructs, chosen.draws, chosen.seed)
    tested = false_positives.every_pair(runs, logprobs, study)
    rates = false_positives.rates(tested)
    told = {
        "bases": bases,
        "constructs": dynamics.constructs,
        "runs": len(runs),
        "sizes": read,
        "left_out": sorted(left_out),
    }
    told |= {"seeds": ablations.seeds, "prompts": len(prompts), "words": lexicon["word"].nunique()}
    told |= lottery.summary(found, chosen) | false_positives.summary(rates, study, runs)
    files.write_json(told, "metrics/planting/lottery.json")
    for name, table in (found | {"runs": measured, "decisions": tested, "rates": rates}).items():
        files.write_csv(table, PLOTS / f"lottery_{name}.csv")
    style.apply()
    labels = {name: row.label for name, row in settings.get("models", dict[str, Model]).items()}
    figures.draw(PLOTS, labels, PLOTS / "lottery.png")


if __name__ == "__main__":
    stage.run(main)
