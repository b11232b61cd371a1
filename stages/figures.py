"""Draw every picture of Sections 3 and 4 from its numbers. Nothing is computed here.

In:  plots/{base_preferences,implicit_rewards,dynamics,compare}/*.csv; params.yaml: models, analysis, compare.runs
Out: plots/base_preferences.png  Figure 2: median ranks by construct, framing, model, format
     plots/format_grid.png        the three-way contrast in every format and spelling
     plots/implicit_words.png     Figure 3: implicit reward of two word lists
     plots/implicit_tokens.png    optimal and pessimal tokens (Tables 1, A2, A3), the first pair
     plots/dynamics.png           median ranks, gaps, agreement and survival over training (Figures 4a, A4)
     plots/movers.png             words that move most (Figures 5, A6)
     plots/token_paths.png        words that end first and last (Figures A7, A8)
     plots/figures/compare/<name>/figure_{1,a1,a2}.png  every comparison of compare.runs
Run: python -m stages.figures
"""

import pandas as pd

from valuetrace.core import settings, stage
from valuetrace.figures import base_preferences, compare, dynamics, implicit_rewards, style
from valuetrace.measures.bases.implicit import Analysis
from valuetrace.models.rows import labels as printed
from valuetrace.prompts import value_laden


def main() -> None:
    chosen = settings.get("analysis", Analysis)
    labels = printed()
    style.apply()

    medians = pd.read_csv("plots/base_preferences/medians.csv")
    comparison, case = next(iter(chosen.comparisons)), chosen.cases[0]
    figure = base_preferences.medians_by_construct(medians, labels, comparison, case)
    style.save(figure, "plots/base_preferences.png")

    pairs = {label: sorted(pair) for label, pair in chosen.comparisons.items()}
    grid = pd.read_csv("plots/base_preferences/grid.csv")
    style.save(base_preferences.format_grid(grid, labels, pairs), "plots/format_grid.png")

    tokens = chosen.tokens
    contrast = pd.read_csv("plots/implicit_rewards/contrast.csv")
    text = value_laden().set_index("key")["text"][tokens.prompt]
    figure = implicit_rewards.word_contrast(contrast, labels, tokens.measure, text)
    style.save(figure, "plots/implicit_words.png")

    extremes = pd.read_csv("plots/implicit_rewards/tokens.csv", keep_default_na=False)
    figure = implicit_rewards.extreme_tokens(extremes, labels, tokens.first[0], tokens.second[0])
    style.save(figure, "plots/implicit_tokens.png")

    dynamics.draw("plots/dynamics", labels, "plots")
    for name in settings.get("compare.runs", dict[str, object]):
        compare.draw(f"plots/compare/{name}", f"plots/figures/compare/{name}")


if __name__ == "__main__":
    stage.run(main)
