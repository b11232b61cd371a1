"""Section 3 from the released log-probabilities, as far as they are here (Figures 2, 3, Tables 1, A2, A3).

In:  data/published/logprobs/, data/published/corpora/, lexicons/unrolled/known_groups.csv; conf/published/tokens.csv,
     conf/published/language_models.csv; params.yaml: published, analysis, validity
Out: metrics/published/section_3.json        pairs (Figure 2), tables, contrast (Figure 3), None where files are
                                             lacking; printed_out_of_order
     plots/published/section_3/nouns.csv     construct, shared (whether every vocabulary has them), words: how many
     plots/published/section_3/{medians,tokens,contrast}.csv: as far
Run: python -m stages.published.section_3
"""

from pathlib import Path

import pandas as pd

from valuetrace.core import files, settings, stage
from valuetrace.lexicon import unrolled
from valuetrace.measures.bases.implicit import Analysis
from valuetrace.measures.published import inputs, logprobs, sources
from valuetrace.measures.published.inputs import Published

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
        known = unrolled.read_lexicon(unrolled.KNOWN_GROUPS)
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
        files.replace_folder(temporary, PLOTS)
    files.write_json(metrics, "metrics/published/section_3.json")


if __name__ == "__main__":
    stage.run(main)
