"""Draw the ablation's pictures from its tables. Nothing is computed here.

In:  plots/{ablations,seed_variance}/*.csv; params.yaml: models
Out: plots/ablations.png      gaps by data size and seed (Figures 4b, A5)
     plots/inheritance.png    what reward models share with their own base alone
     plots/seed_variance.png  L by run before and after training; what the tests say of two seeds
Run: python -m stages.ablations.figures
"""

from valuetrace.core import stage
from valuetrace.figures import ablations, seed_variance, style
from valuetrace.models.rows import labels


def main() -> None:
    style.apply()
    ablations.draw("plots/ablations", labels(), "plots")
    seed_variance.draw("plots/seed_variance", labels(), "plots/seed_variance.png")


if __name__ == "__main__":
    stage.run(main)
