"""Many dimensions side by side: fingerprints, convergence of dictionaries, overlap, valence, one family of tests.

In:  data/dimensions/, data/token_logprobs/<base>/<format>.parquet, data/published/reward_model_scores/,
     conf/published/reward_models.csv, lexicons/unrolled/known_groups.csv; params.yaml: dimensions, trained, formats,
     validity, profile
Out: metrics/dimensions.json            what the page shows (valuetrace.studies.dimensions.study.summary)
     plots/dimensions/words.csv         construct, words listed, common, taught, kept
     plots/dimensions/overlaps.csv      first, second, shared words, jaccard, share_of_smaller
     plots/dimensions/fingerprint.csv   a reading a row: percentile, low, high (95 % over words), refused
     plots/dimensions/{pairs,tests}.csv the multitrait table (valuetrace.studies.dimensions.convergence)
     plots/dimensions/{correlations,contrasts,valence,variance}.csv
Run: python -m stages.dimensions.collect
"""

from pathlib import Path

from valuetrace.core import files, settings, stage
from valuetrace.lexicon import unrolled
from valuetrace.measures import validity
from valuetrace.scoring.chat import Format
from valuetrace.studies.dimensions import sources, study, words
from valuetrace.studies.dimensions.dictionaries import Dimensions

PLOTS = Path("plots/dimensions")


def main() -> None:
    chosen, bases = settings.get("dimensions", Dimensions), settings.get("trained", list[str])
    form = settings.get("formats", dict[str, Format])[chosen.format]
    every = words.read()
    lexicon, known = every[every["kept"]], unrolled.read_lexicon(unrolled.KNOWN_GROUPS)
    measured = sources.read(bases, chosen.format, form)
    found = study.profiles(measured, lexicon, known, validity.rule(), chosen)
    made = study.study(measured, found, lexicon, words.read_ratings(), chosen)
    made |= {"words": words.counts(every, chosen.zipf_floor), "overlaps": words.overlaps(lexicon)}
    made["fingerprint"] = study.fingerprint(measured, found)
    with files.fresh_folder(PLOTS.with_name(f".{PLOTS.name}.partial")) as temporary:
        for name, table in made.items():
            files.write_csv(table, temporary / f"{name}.csv")
        files.replace_folder(temporary, PLOTS)
    metrics = study.summary(measured, found, made["words"], made["overlaps"], made, chosen)
    files.write_json({"profile": settings.get("profile", str), "bases": bases} | metrics, "metrics/dimensions.json")


if __name__ == "__main__":
    stage.run(main)
