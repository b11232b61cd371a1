"""Fit ridge reward heads on one planted base: every table of the study, a row a head or draw.

In:  data/planting/{blocks/<block>,bases/<block>-<plant>}/, lexicons/unrolled/mfd2.csv, prompts/planting.csv;
     params.yaml: planting
Out: data/planting/heads/<block>-<plant>/*.csv  leans, draws, random_heads, layers, subspaces, mitigation,
     specificity; of the study's own cells scores (columns: valuetrace.studies.planting.readout and heads)
Run: python -m stages.planting.heads BLOCK PLANT
"""

import sys
from pathlib import Path

from valuetrace.core import files, settings, stage
from valuetrace.studies.planting import heads
from valuetrace.studies.planting.design import Planting


def main(block: str, plant: str) -> None:
    for name, table in heads.cell_tables(settings.get("planting", Planting), int(block), plant).items():
        files.write_csv(table, Path("data/planting/heads", f"{block}-{plant}", f"{name}.csv"))


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
