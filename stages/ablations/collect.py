"""Does more preference data close the gap between bases? All rows of the ablation, within seeds (Figures 4b, A5).

In:  data/ablations/runs/<size>-<seed>/<base>.{parquet,json}, data/word_logprobs.parquet, lexicons/unrolled/*.csv;
     params.yaml: trained, ablations, dynamics, validity, profile, preferences.source, training.objective
Out: metrics/ablations.json           rows, which of them read the prompts, levels, fits, held-out accuracy
     plots/ablations/gaps.csv         data_size, seed, first, second, framing, step, gap, low, high (words), reads
     plots/ablations/inherited.csv    the same of half the sum of (own − other), partial correlations
     plots/ablations/survival.csv, readings.csv   as in plots/dynamics, with data_size and seed
     plots/ablations/{gap,inherited}_{levels,fit,curve}.csv   over seeds: valuetrace.measures.ablations
     plots/ablations/accuracy.csv     base, data_size, seed, accuracy, accuracy_<kind of pair>
Run: python -m stages.ablations.collect
"""

from itertools import product
from pathlib import Path

import pandas as pd

from valuetrace import tables
from valuetrace.core import files, settings, stage
from valuetrace.lexicon import unrolled
from valuetrace.measures import ablations, validity
from valuetrace.measures.dynamics import inheritance
from valuetrace.measures.dynamics.trajectories import Dynamics

RUNS, PLOTS = Path("data/ablations/runs"), Path("plots/ablations")


def main() -> None:
    chosen, dynamics = settings.get("ablations", ablations.Ablations), settings.get("dynamics", Dynamics)
    bases, rule = settings.get("trained", list[str]), validity.rule()
    lexicon, known = (unrolled.read_lexicon(name) for name in (dynamics.search.lexicon, unrolled.KNOWN_GROUPS))
    keys = list(dynamics.search.prompts()["key"])
    logprobs = inheritance.read_logprobs(inheritance.LOGPROBS, bases, list(lexicon["word"]), keys)
    unread = inheritance.unread(inheritance.LOGPROBS, bases, lexicon, known, dynamics.search.prompts(), rule)
    parts: dict[str, list[pd.DataFrame]] = {}
    training: dict[tuple[str, int, int], dict] = {}
    for size, seed in product(chosen.sizes, chosen.seeds):
        row = RUNS / f"{size}-{seed}"
        scores = {base: tables.read_checkpoints(row / f"{base}.parquet") for base in bases}
        made = {(base, size, seed): files.read_json(row / f"{base}.json") for base in bases}
        training |= made
        pairs = next(iter(made.values()))["pairs"]
        found = ablations.run_tables(scores, lexicon, known, logprobs, dynamics, rule, chosen.draws, unread)
        for name, table in found.items():
            parts.setdefault(name, []).append(table.assign(data_size=pairs, seed=seed))
    found = {name: pd.concat(part, ignore_index=True) for name, part in parts.items()}
    found["accuracy"] = ablations.accuracies(training)
    for value, table in (("gap", found["gaps"]), ("inherited", found["inherited"])):
        found[f"{value}_levels"] = ablations.levels(table, value)
        found[f"{value}_fit"], found[f"{value}_curve"] = ablations.fits(table, value)
    for name, table in found.items():
        files.write_csv(table, PLOTS / f"{name}.csv")

    metrics = {"profile": settings.get("profile", str), "source": settings.get("preferences.source", str)}
    metrics |= {"objective": settings.get("training.objective", str), "bases": bases, "draws": chosen.draws}
    metrics |= {"format": dynamics.format, "log_probabilities_refused": unread}
    files.write_json(metrics | ablations.summary(found), "metrics/ablations.json")


if __name__ == "__main__":
    stage.run(main)
