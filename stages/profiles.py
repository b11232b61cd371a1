"""The value profile of one base or reward model in each of its formats: what an audit sets its model beside.

In:  data/logprobs/<model>/<format>.parquet or data/rewards/<model>.parquet, lexicons/<lexicon>.csv;
     params.yaml: models.<model>, formats, analysis.lexicon, draws, seed
Out: metrics/profiles/<model>/<format>.json  valuetrace.analysis.audit.profile: rows of construct × framing
     with median rank, percentile and intervals over words, or why they are refused
Run: python stages/profiles.py MODEL
"""

import sys
from pathlib import Path

from valuetrace import lexicon as lex
from valuetrace import models, settings, stage, tables
from valuetrace.analysis.audit import Subject, profile
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format

OUT = Path("metrics/profiles")


def main(model: str) -> None:
    row = settings.get(f"models.{model}", models.Model)
    formats = settings.get("formats", dict[str, Format])
    name = settings.get("analysis.lexicon", str)
    seeded = {key: settings.get(f"analysis.{key}", int) for key in ("draws", "seed")}
    lexicon = lex.load_lexicon(f"lexicons/{name}.csv")
    if model in settings.get("reward_models", list[str]):
        kind, scored = "reward", {row.formats[0]: f"data/rewards/{model}.parquet"}
    else:
        kind, scored = "logprob", {form: f"data/logprobs/{model}/{form}.parquet" for form in row.formats}
    with tables.fresh_folder(OUT / f".{model}.partial") as temporary:
        for form, path in scored.items():
            subject = Subject(model, kind, name, form, formats[form])
            found = profile(subject, tables.read_scores(path), lexicon, value_laden(), **seeded)
            tables.write_json(found, temporary / f"{form}.json")
        tables.replace_folder(temporary, OUT / model)


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
