"""How values move while reward models are trained, and how far apart their bases stay (Section 4.2).

In:  data/checkpoint_scores/<base>.parquet, data/word_logprobs.parquet, metrics/training/<base>.json, lexicons/*.csv;
     params.yaml: trained, dynamics, profile, preferences.source and seed, training.objective and seed
Out: metrics/dynamics.json           gaps, survival and agreement with the end; ``final``: what an ablation collects
     plots/dynamics/ranks.csv        base, framing, construct, step, median_rank, low, high (1 = highest reward)
     plots/dynamics/kendall.csv      base, framing, step, kendall with the final ranks, low, high (prompts)
     plots/dynamics/survival.csv     base, logprobs_of, own, framing, step, kendall, spearman, low, high (words)
     plots/dynamics/movers.csv       base, framing, direction, place, word, construct, change (ranks), words, early (its
                                     step), step, rank
     plots/dynamics/extremes.csv     base, framing, set, chosen_at, side, place, word, construct, step, rank
     plots/dynamics/gaps.csv         first, second, framing, step, gap (ranks), low, high, change … (words)
     plots/dynamics/overlay.csv      a row a step of the first pair: gap_<framing>, kendall_, survival_ (dvc plots diff)
Run: python stages/dynamics.py
"""

from pathlib import Path

from valuetrace import tables
from valuetrace.analysis.ablations import fit as ablations
from valuetrace.analysis.dynamics import inheritance as survival
from valuetrace.analysis.dynamics import movers
from valuetrace.analysis.dynamics import trajectories as dynamics
from valuetrace.core import files, settings, stage
from valuetrace.core.errors import InputError

PLOTS = Path("plots/dynamics")


def main() -> None:
    chosen = settings.get("dynamics", dynamics.Dynamics)
    bases = settings.get("trained", list[str])
    prompts = chosen.search.prompts()
    lexicon = files.read_csv(f"lexicons/{chosen.search.lexicon}.csv", ("word", "construct"))
    scores = {base: tables.read_checkpoints(SCORES / f"{base}.parquet") for base in bases}
    paths = dynamics.trajectories(scores, lexicon, prompts, chosen.constructs)
    logprobs = survival.read_logprobs(survival.LOGPROBS, bases, paths.words, paths.prompts)

    observed, drawn = dynamics.construct_medians(paths, chosen.draws, chosen.seed)
    found = {
        "ranks": dynamics.rank_table(paths, observed, drawn),
        "gaps": dynamics.gap_table(paths, observed, drawn),
        "kendall": dynamics.kendall_with_final(paths),
        "survival": survival.survival_table(paths, logprobs, chosen.draws, chosen.seed),
        "movers": movers.mover_table(paths, chosen.movers),
        "extremes": movers.extreme_table(paths, scores, prompts, chosen.extremes),
    }
    found["overlay"] = ablations.overlay(found["gaps"], found["kendall"], found["survival"])
    for name, table in found.items():
        files.write_csv(table, PLOTS / f"{name}.csv")

    training = {base: files.read_json(f"metrics/training/{base}.json") for base in bases}
    run = {"profile": settings.get("profile", str), "source": settings.get("preferences.source", str)}
    run |= {"data_size": _pairs(training), "objective": settings.get("training.objective", str)}
    run |= {"seed": settings.get("training.seed", int), "data_seed": settings.get("preferences.seed", int)}
    words = dict(zip(paths.constructs, paths.member.sum(axis=1), strict=True))
    metrics = {"run": run, "lexicon": chosen.search.lexicon, "words": words, "steps": paths.steps}
    metrics |= {"prompts": prompts["framing"].value_counts(sort=False).to_dict(), "format": chosen.format}
    metrics |= {"case": chosen.case, "draws": chosen.draws, "seed": chosen.seed}
    metrics |= ablations.run_summary(found, paths.steps[paths.early], run, training)
    files.write_json(metrics, "metrics/dynamics.json")


def _pairs(training: dict[str, dict]) -> int:
    """The number of pairs that every base was trained on."""
    pairs = {made["pairs"] for made in training.values()}
    if len(pairs) > 1:
        raise InputError(f"the bases were trained on {sorted(pairs)} pairs. Train them again (dvc repro).")
    return pairs.pop()


if __name__ == "__main__":
    stage.run(main)
