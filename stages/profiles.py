"""The value profile of every base, or of one reward model: what an audit sets its model beside.

In:  data/logprobs/<base>/<format>.parquet or data/rewards/<model>.parquet, lexicons/<lexicon>.csv; params.yaml:
     bases, formats, analysis.lexicon, draws, seed
Out: metrics/profiles/bases/<base>/<format>.json, metrics/profiles/reward_models/<model>/<format>.json
     valuetrace.analysis.audit.profile: rows of construct × framing with median rank, percentile and intervals
     over words, or why they are refused
Run: python stages/profiles.py [REWARD_MODEL]
"""

import sys
from pathlib import Path

from valuetrace import lexicon as lex
from valuetrace import tables
from valuetrace.analysis.profile import Subject, profile
from valuetrace.core import settings, stage
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format

OUT = Path("metrics/profiles")


def main(reward_model: str | None = None) -> None:
    if reward_model is None:
        bases = settings.get("bases", list[str])
        files = [path for base in bases for (path,) in tables.score_files(f"data/logprobs/{base}").values()]
        out = OUT / "bases"
    else:
        files, out = [Path("data/rewards", f"{reward_model}.parquet")], OUT / "reward_models" / reward_model
    formats = settings.get("formats", dict[str, Format])
    name = settings.get("analysis.lexicon", str)
    seeded = {key: settings.get(f"analysis.{key}", int) for key in ("draws", "seed")}
    lexicon, prompts = lex.load_lexicon(f"lexicons/{name}.csv"), value_laden()
    with files.fresh_folder(out.with_name(f".{out.name}.partial")) as temporary:
        for path in files:
            scores = tables.read_scores(path)
            model, kind, form = (scores.attrs[key] for key in ("model", "kind", "format"))
            found = profile(Subject(model, kind, name, form, formats[form]), scores, lexicon, prompts, **seeded)
            files.write_json(found, temporary / ("" if reward_model else model) / f"{form}.json")
        files.replace_folder(temporary, out)


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
