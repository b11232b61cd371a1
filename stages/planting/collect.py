"""The planting study over its blocks: what arrives, where it lives, what is detected.

In:  data/planting/heads/<block>-<plant>/*.csv, data/planting/reward_models/<block>-<plant>.{parquet,json};
     params.yaml: planting
Out: metrics/planting/study.json      answers with intervals over blocks (valuetrace.studies.planting.study)
     plots/planting/leans.csv         block, plant, dose, source, pairs, part, lean, both, positive, negative, known …
     plots/planting/contrasts.csv     first, second, dose, source, pairs, part, measure, estimate, low, high, p …
     plots/planting/transmitted.csv   τ with Fieller's intervals and the verdict
     plots/planting/{detection,layers,subspaces,mitigation,specificity,random_heads}.csv
Run: python -m stages.planting.collect
"""

from pathlib import Path

from valuetrace.core import files, settings, stage
from valuetrace.studies.planting import study
from valuetrace.studies.planting.design import Planting

PLOTS = Path("plots/planting")


def main() -> None:
    chosen = settings.get("planting", Planting)
    found = study.tables(chosen)
    for name, table in found.items():
        files.write_csv(table, PLOTS / f"{name}.csv")
    files.write_json(study.summary(chosen, found), "metrics/planting/study.json")


if __name__ == "__main__":
    stage.run(main)
