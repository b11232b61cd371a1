"""Draw the pictures of many dimensions from their tables. Nothing is computed here.

In:  plots/dimensions/*.csv; params.yaml: models, dimensions
Out: plots/dimensions.png             percentile of every construct, by model and kind of score
     plots/dimensions_multitrait.png  correlations within and between constructs
Run: python -m stages.dimensions.figures
"""

from valuetrace.core import settings, stage
from valuetrace.figures import dimensions, style
from valuetrace.models.rows import labels
from valuetrace.studies.dimensions.dictionaries import Dimensions
from valuetrace.studies.dimensions.sources import SOURCES


def main() -> None:
    titles = {name: row.title for name, row in settings.get("dimensions", Dimensions).dictionaries.items()}
    style.apply()
    dimensions.draw("plots/dimensions", labels(), titles, SOURCES, "plots")


if __name__ == "__main__":
    stage.run(main)
