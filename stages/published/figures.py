"""Draw the paper's figures from its own released data, as far as it is here. Nothing is computed here.

In:  plots/published/**/*.csv, plots/atlas.csv; conf/published/language_models.csv; params.yaml: published, analysis
Out: plots/atlas.png     the reward models' profiles on the Big Two nouns, README's first picture
     plots/figures/published/section_2/<name>/figure_{1,a1,a2}.png
     plots/figures/published/section_3/{figure_2_<pair>,figure_3,table_<n>}.png
     plots/figures/published/section_4/{figure_4a,figure_4b,movers,kendall,token_paths}.png
Run: python -m stages.published.figures
"""

from pathlib import Path

import pandas as pd

from valuetrace.core import files, settings, stage
from valuetrace.figures import atlas, base_preferences, compare, implicit_rewards, published, style
from valuetrace.measures.bases.implicit import Analysis
from valuetrace.measures.published import sources
from valuetrace.measures.published.inputs import Published
from valuetrace.measures.published.logprobs import CASE
from valuetrace.prompts import value_laden

TABLES, OUT = Path("plots/published"), Path("plots/figures/published")


def main() -> None:
    chosen, how = settings.get("published", Published), settings.get("analysis", Analysis)
    atlas.draw("plots/atlas.csv", "plots/atlas.png")
    with files.fresh_folder(OUT.with_name(f".{OUT.name}.partial")) as temporary:
        for name in chosen.comparisons:
            compare.draw(TABLES / "section_2" / name, temporary / "section_2" / name)
        _section_3(chosen, how, temporary / "section_3")
        published.draw(TABLES / "section_4", temporary / "section_4")
        files.replace_folder(temporary, OUT)


def _section_3(chosen: Published, how: Analysis, out: Path) -> None:
    style.apply()
    found = {path.stem: pd.read_csv(path, keep_default_na=False) for path in (TABLES / "section_3").glob("*.csv")}
    models = sources.language_models()
    labels = dict(zip(models["repository"], models["label"], strict=True))
    if "medians" in found:
        for name in found["medians"]["comparison"].unique():
            medians = found["medians"].assign(reading="raw")
            figure = base_preferences.medians_by_construct(medians, labels, name, CASE)
            style.save(figure, out / f"figure_2_{name}.png")
    if "tokens" in found:
        tokens = found["tokens"].assign(format="as released", measure=how.tokens.measure)
        for name in [name for name in chosen.tables if name in set(tokens["table"])]:
            first, second = chosen.tables[name]
            figure = implicit_rewards.extreme_tokens(tokens, labels, first, second, how.tokens.top)
            style.save(figure, out / f"{name.lower().replace(' ', '_')}.png")
    if "contrast" in found:
        text = value_laden().set_index("key")["text"][how.tokens.prompt]
        contrast = found["contrast"].assign(format="as released")
        style.save(implicit_rewards.word_contrast(contrast, labels, how.tokens.measure, text), out / "figure_3.png")


if __name__ == "__main__":
    stage.run(main)
