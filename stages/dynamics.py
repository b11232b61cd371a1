"""How values move while reward models are trained, and how far apart their bases stay (Section 4.2).

In:  data/checkpoint_scores/<base>.parquet, data/word_logprobs.parquet, metrics/training/<base>.json,
     lexicons/unrolled/*.csv; params.yaml: trained, dynamics, validity, profile, preferences.source and seed,
     training.objective and seed
Out: metrics/dynamics.json           do the reward models read the prompts, gaps, inheritance, agreement with the end
     plots/dynamics/readings.csv     base, step, within, across, positive, negative, difference …, reads, refused, needs
     plots/dynamics/ranks.csv        base, framing, construct, step, median_rank, low, high (1 = highest reward)
     plots/dynamics/kendall.csv      base, framing, step, kendall with the final ranks, low, high (prompts)
     plots/dynamics/survival.csv     base, logprobs_of, own, framing, step, spearman, partial, low, high (words)
     plots/dynamics/inherited.csv    first, second, framing, step, inherited, low, high (words)
     plots/dynamics/movers.csv       base, framing, direction, place, word, construct, change (ranks), words, early (its
                                     step), step, rank
     plots/dynamics/extremes.csv     base, framing, set, chosen_at, side, place, word, construct, step, rank
     plots/dynamics/gaps.csv         first, second, framing, step, gap (ranks), low, high, change … (words)
     plots/dynamics/overlay.csv      a row a step of the first pair: gap_<framing>, kendall_, survival_ (dvc plots diff)
Run: python -m stages.dynamics
"""

from pathlib import Path

from valuetrace import tables
from valuetrace.core import files, settings, stage
from valuetrace.lexicon import unrolled
from valuetrace.measures import validity
from valuetrace.measures.dynamics import inheritance, movers, trajectories

PLOTS = Path("plots/dynamics")


def main() -> None:
    chosen = settings.get("dynamics", trajectories.Dynamics)
    bases = settings.get("trained", list[str])
    prompts = chosen.search.prompts()
    lexicon, known = (unrolled.read_lexicon(name) for name in (chosen.search.lexicon, unrolled.KNOWN_GROUPS))
    scores = {base: tables.read_checkpoints(f"data/checkpoint_scores/{base}.parquet") for base in bases}
    paths = trajectories.trajectories(scores, lexicon, prompts, chosen.constructs)
    logprobs = inheritance.read_logprobs(inheritance.LOGPROBS, bases, paths.words, paths.prompts)

    observed, drawn = trajectories.construct_medians(paths, chosen.draws, chosen.seed)
    rule = validity.rule()
    unread = inheritance.unread(inheritance.LOGPROBS, bases, lexicon, known, prompts, rule)
    survival, inherited = inheritance.inheritance(paths, logprobs, chosen.draws, chosen.seed)
    survival, inherited = inheritance.readable(survival, inherited, unread)
    found = {
        "readings": trajectories.readings(scores, lexicon, known, prompts, paths.steps, rule),
        "ranks": trajectories.rank_table(paths, observed, drawn),
        "gaps": trajectories.gap_table(paths, observed, drawn),
        "kendall": trajectories.kendall_with_final(paths),
        "survival": survival,
        "inherited": inherited,
        "movers": movers.mover_table(paths, chosen.movers),
        "extremes": movers.extreme_table(paths, scores, prompts, chosen.extremes),
    }
    found["overlay"] = trajectories.overlay(found["gaps"], found["kendall"], survival)
    for name, table in found.items():
        files.write_csv(table, PLOTS / f"{name}.csv")

    training = {base: files.read_json(f"metrics/training/{base}.json") for base in bases}
    run = {"profile": settings.get("profile", str), "source": settings.get("preferences.source", str)}
    run |= {"data_size": next(iter(training.values()))["pairs"], "objective": settings.get("training.objective", str)}
    run |= {"seed": settings.get("training.seed", int), "data_seed": settings.get("preferences.seed", int)}
    words = dict(zip(paths.constructs, paths.member.sum(axis=1), strict=True))
    metrics = {"run": run, "lexicon": chosen.search.lexicon, "words": words, "steps": paths.steps}
    metrics |= {"prompts": prompts["framing"].value_counts(sort=False).to_dict(), "format": chosen.format}
    metrics |= {"case": chosen.case, "draws": chosen.draws, "seed": chosen.seed, "early_step": paths.steps[paths.early]}
    metrics["log_probabilities_refused"] = unread
    files.write_json(metrics | trajectories.run_summary(found, training), "metrics/dynamics.json")


if __name__ == "__main__":
    stage.run(main)
