"""Section 3 from the released log-probabilities, as far as they are here (Figures 2, 3, Tables 1, A2, A3).

In:  data/published/logprobs/, data/published/corpora/, lexicons/unrolled/known_groups.csv; conf/published/tokens.csv,
     conf/published/language_models.csv; params.yaml: published, analysis, validity
Out: metrics/published/section_3.json        pairs (Figure 2), tables, contrast (Figure 3), None where files are
                                             lacking; printed_out_of_order
     plots/published/section_3/nouns.csv     construct, shared (whether every vocabulary has them), words: how many
     plots/published/section_3/{medians,tokens,contrast}.csv, figure_2_*.png, figure_3.png, table_*.png: as far
Run: python -m stages.published.section_3
"""

from pathlib import Path

import pandas as pd

from valuetrace import tables
from valuetrace.analysis.bases.settings import Analysis
from valuetrace.analysis.published import inputs, logprobs, sources
from valuetrace.analysis.published.settings import Published
from valuetrace.core import files, settings, stage
from valuetrace.figures import base_preferences, implicit_rewards, style
from valuetrace.prompts import value_laden

PLOTS, PRINTED = Path("plots/published/section_3"), Path("conf/published/tokens.csv")


def main() -> None:
    chosen, how = settings.get("published", Published), settings.get("analysis", Analysis)
    nouns, models = inputs.nouns(), sources.language_models()
    metrics: dict = {"pairs": None, "tables": None, "contrast": None}
    printed = files.read_csv(PRINTED, ("table", "side", "place", "token", "score"), dtype=str)
    metrics["printed_out_of_order"] = logprobs.out_of_order(printed)
    shared_nouns = nouns.assign(shared=nouns["word"].isin(set(inputs.shared_tokens())))  # counted: the list is not ours
    found = {"nouns": shared_nouns.groupby(["construct", "shared"]).size().rename("words").reset_index()}
    if pairs := {name: pair for name, pair in chosen.pairs.items() if logprobs.here(pair)}:
        known = tables.read_lexicon(tables.KNOWN_GROUPS)
        of_pairs = {name: logprobs.pair(pair, nouns, known, how) for name, pair in pairs.items()}
        metrics["pairs"] = {name: told for name, (told, _) in of_pairs.items()}
        found["medians"] = pd.concat(
            [
                medians.assign(
                    comparison=name, format=name, case=logprobs.CASE, words=medians["construct"].map(told["words"])
                )
                for name, (told, medians) in of_pairs.items()
            ]
        )
    tuned = models[models["training"] == "instruction-tuned"]
    listed = {name: pair for name, pair in chosen.tables.items() if logprobs.here(pair)}
    whole = logprobs.here(list(tuned["repository"]))
    wanted = list(tuned["repository"]) if whole else [model for pair in listed.values() for model in pair]
    scores = logprobs.of_one_prompt(wanted, how.tokens)
    if listed:
        shared, found["tokens"] = logprobs.optimal_tokens(scores, listed, how.tokens)
        agree = logprobs.printed_tokens(printed[printed["table"].isin(listed)], found["tokens"])
        metrics["tables"] = {name: {"shared_tokens": shared[name]} | agree[name] for name in listed}
    if whole:
        found["contrast"] = logprobs.contrasts(scores, tuned, how.tokens)
        metrics["contrast"] = logprobs.contrast_summary(found["contrast"])
    with files.fresh_folder(PLOTS.with_name(f".{PLOTS.name}.partial")) as temporary:
        for name, table in found.items():
            files.write_csv(table, temporary / f"{name}.csv")
        _draw(found, chosen, how, dict(zip(models["repository"], models["label"], strict=True)), temporary)
        files.replace_folder(temporary, PLOTS)
    files.write_json(metrics, "metrics/published/section_3.json")


def _draw(found: dict, chosen: Published, how: Analysis, labels: dict[str, str], folder: Path) -> None:
    style.apply()
    if "medians" in found:
        for name in found["medians"]["comparison"].unique():
            figure = base_preferences.medians_by_construct(found["medians"], labels, name, logprobs.CASE)
            style.save(figure, folder / f"figure_2_{name}.png")
    if "tokens" in found:
        for name, (first, second) in chosen.tables.items():
            tokens = found["tokens"].assign(format="as released", measure=how.tokens.measure)
            if name in set(tokens["table"]):
                figure = implicit_rewards.extreme_tokens(tokens, labels, first, second, how.tokens.top)
                style.save(figure, folder / f"{name.lower().replace(' ', '_')}.png")
    if "contrast" in found:
        text = value_laden().set_index("key")["text"][how.tokens.prompt]
        contrast = found["contrast"].assign(format="as released")
        style.save(implicit_rewards.word_contrast(contrast, labels, how.tokens.measure, text), folder / "figure_3.png")


if __name__ == "__main__":
    stage.run(main)
