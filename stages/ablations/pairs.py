"""Draw the preference pairs of every data size for one seed; a smaller size lies inside a larger one.

In:  params.yaml: preferences, ablations.sizes; what stages/preferences.py reads
Out: data/ablations/pairs/<seed>/<size>.parquet, held_out.parquet   columns as in stages/preferences.py
Run: python -m stages.ablations.pairs SEED
"""

import sys
from pathlib import Path

from valuetrace import preferences
from valuetrace.core import settings, stage


def main(seed: str) -> None:
    params = settings.get("preferences", preferences.Preferences)
    sizes = settings.get("ablations.sizes", list[object])
    drawn = {size: preferences.draw(params, size, int(seed)) for size in sizes}
    named = {str(size): found.train for size, found in drawn.items()}
    preferences.write(named | {"held_out": drawn[sizes[0]].held_out}, Path("data/ablations/pairs", seed))


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
