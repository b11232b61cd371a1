"""Draw the pictures of the planting study from its tables. Nothing is computed here.

In:  plots/planting/*.csv; params.yaml: planting, authority.top, models
Out: plots/planting/{transmission,nulls,dose,detection,where,specificity,mitigation}.png
     plots/planting/authority.png  Figure A3
Run: python -m stages.planting.figures
"""

from pathlib import Path

from valuetrace.core import settings, stage
from valuetrace.figures import authority, planting, style
from valuetrace.models.rows import labels
from valuetrace.studies.planting.design import Planting

PLOTS = Path("plots/planting")


def main() -> None:
    chosen = settings.get("planting", Planting)
    style.apply()
    planting.draw(PLOTS, chosen.constructs, chosen.dose, chosen.pairs)
    style.save(authority.draw(PLOTS, labels(), settings.get("authority.top", int)), PLOTS / "authority.png")


if __name__ == "__main__":
    stage.run(main)
