"""Section 4 from the released medians of every training and, where they are here, the rewards of every checkpoint.

In:  data/published/reward_model_training/, data/published/corpora/; conf/published/training_*.csv;
     params.yaml: published
Out: metrics/published/section_4.json       runs, sizes, ranked rows; checkpoints (None where their files are lacking)
     plots/published/section_4/medians.csv  run, title, source, objective, pairs, base, construct, step, median_rank,
                                            copies, rows_ranked, same_as (the run with the same file): every run
     plots/published/section_4/gaps.csv     run, first, second, step, gap (ranks)
     plots/published/section_4/ends.csv, end_gaps.csv   the last step of each distinct file, at pairs_drawn
     plots/published/section_4/{checkpoint_medians,checkpoint_gaps,movers,kendall,extremes}.csv: of the rewards, where
                                            they are here (valuetrace.measures.published.checkpoints)
Run: python -m stages.published.section_4
"""

from pathlib import Path

from valuetrace.core import files, settings, stage
from valuetrace.measures.published import checkpoints, inputs, training
from valuetrace.measures.published.inputs import Published

PLOTS = Path("plots/published/section_4")


def main() -> None:
    chosen = settings.get("published", Published)
    rows = training.runs()
    medians = training.medians(rows)
    gaps = training.gaps(medians)
    found = training.tables(rows, medians, gaps)
    metrics: dict = {"runs": training.summary(rows, medians, gaps), "by_size": training.by_size(rows, medians, gaps)}
    metrics |= {"ranked": training.ranked(), "checkpoints": None}
    if here := checkpoints.paths(list(chosen.sources.checkpoints)):
        rewards = {base: inputs.read_rewards(path) for base, path in here.items()}
        of_rewards = checkpoints.tables(rewards, chosen)
        released = medians[medians["run"] == chosen.checkpoints_of]
        metrics["checkpoints"] = checkpoints.summary(of_rewards, released)
        found |= of_rewards
    with files.fresh_folder(PLOTS.with_name(f".{PLOTS.name}.partial")) as temporary:
        for name, table in found.items():
            files.write_csv(table, temporary / f"{name}.csv")
        files.replace_folder(temporary, PLOTS)
    files.write_json(metrics, "metrics/published/section_4.json")


if __name__ == "__main__":
    stage.run(main)
