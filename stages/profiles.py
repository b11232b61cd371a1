"""The value profile of every base and reward model of the pipeline: what an audit sets its model beside.

In:  data/logprobs/<base>/<format>.parquet, data/rewards/<model>.parquet, lexicons/<lexicon>.csv,
     prompts/value_laden.csv; params.yaml: bases, reward_models, models, formats, analysis.lexicon, draws, seed
Out: metrics/profiles/<model>--<format>.json  the model's profile (valuetrace.analysis.audit.profile): rows of
     construct × framing with median rank, percentile and intervals over words, or why they are refused
Run: python stages/profiles.py
"""

from pathlib import Path

import pandas as pd

from valuetrace import lexicon as lex
from valuetrace import models, settings, stage, tables
from valuetrace.analysis.audit import Subject, profile
from valuetrace.assets import fresh_folder, replace_folder
from valuetrace.scoring.chat import Format

OUT = Path("metrics/profiles")


def main() -> None:
    rows = settings.get("models", dict[str, models.Model])
    formats = settings.get("formats", dict[str, Format])
    name = settings.get("analysis.lexicon", str)
    seeded = {key: settings.get(f"analysis.{key}", int) for key in ("draws", "seed")}
    lexicon = lex.load_lexicon(f"lexicons/{name}.csv")
    prompts = pd.read_csv("prompts/value_laden.csv")
    bases, reward_models = (settings.get(key, list[str]) for key in ("bases", "reward_models"))
    scored = [(m, "logprob", f, f"data/logprobs/{m}/{f}.parquet") for m in bases for f in rows[m].formats]
    scored += [(m, "reward", rows[m].formats[0], f"data/rewards/{m}.parquet") for m in reward_models]
    with fresh_folder(OUT.with_name(f".{OUT.name}.partial")) as temporary:
        for model, kind, form, path in scored:
            subject = Subject(model, kind, name, form, formats[form])
            found = profile(subject, tables.read_scores(path), lexicon, prompts, **seeded)
            tables.write_json(found, temporary / f"{model}--{form}.json")
        replace_folder(temporary, OUT)


if __name__ == "__main__":
    stage.run(main)
