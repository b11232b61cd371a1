"""Fit ridge reward heads on the planted bases of one block: every table of the study, a row a head or draw.

In:  data/planting/bases/<block>-*/, lexicons/unrolled/mfd2.csv; params.yaml: planting
Out: data/planting/heads/<block>/*.csv  leans, draws, random_heads, layers, subspaces, mitigation, specificity
     (columns: valuetrace.analysis.planting.readout and heads)
Run: python -m stages.planting.heads BLOCK
"""

import sys
from pathlib import Path

from valuetrace.analysis.planting import heads
from valuetrace.analysis.planting.settings import Planting
from valuetrace.core import files, settings, stage


def main(block: str) -> None:
    for name, table in heads.block_tables(settings.get("planting", Planting), int(block)).items():
        files.write_csv(table, Path("data/planting/heads", block, f"{name}.csv"))


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
