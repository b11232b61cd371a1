"""The value profile of every base, or of one reward model: what an audit sets its model beside.

In:  data/token_logprobs/<base>/<format>.parquet and data/neutral_logprobs/<base>/<format>.parquet, or
     data/rewards/<model>.parquet; lexicons/unrolled/*.csv; params.yaml: bases, formats, analysis.lexicon, draws, seed,
     validity
Out: metrics/profiles/bases/<base>/<format>.json, the same calibrated: <format>_calibrated.json;
     metrics/profiles/reward_models/<model>/<format>.json
     valuetrace.measures.profile.profile: rows of construct × framing with median rank, percentile and intervals
     over words, or why they are refused
Run: python -m stages.profiles [REWARD_MODEL]
"""

import sys
from pathlib import Path

from valuetrace import tables
from valuetrace.core import files, settings, stage
from valuetrace.lexicon import unrolled
from valuetrace.measures import validity
from valuetrace.measures.calibration import neutral
from valuetrace.measures.profile import Subject, profile
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format

OUT, NEUTRAL = Path("metrics/profiles"), Path("data/neutral_logprobs")


def main(reward_model: str | None = None) -> None:
    if reward_model is None:
        bases = settings.get("bases", list[str])
        paths = [path for base in bases for (path,) in tables.score_files(f"data/token_logprobs/{base}").values()]
        out = OUT / "bases"
    else:
        paths, out = [Path("data/rewards", f"{reward_model}.parquet")], OUT / "reward_models" / reward_model
    formats, lexicon = settings.get("formats", dict[str, Format]), settings.get("analysis.lexicon", str)
    seeded = {key: settings.get(f"analysis.{key}", int) for key in ("draws", "seed")}
    asked = unrolled.read_lexicon(lexicon), value_laden(), unrolled.read_lexicon(unrolled.KNOWN_GROUPS), validity.rule()
    with files.fresh_folder(out.with_name(f".{out.name}.partial")) as temporary:
        for path in paths:
            scores = tables.read_scores(path)
            model, kind, form = (scores.attrs[key] for key in ("model", "kind", "format"))
            subject = Subject(model, kind, lexicon, form, formats[form], tokenisation=scores.attrs.get("tokenisation"))
            found = {form: profile(subject, scores, *asked, **seeded)}
            if kind == "logprob":
                after_neutral = tables.read_scores(NEUTRAL / model / path.name, list(neutral()["key"]))
                after_neutral = after_neutral.drop(columns=["token_name", "token_decoded"])
                scores = scores.merge(after_neutral, on="token_id", validate="one_to_one")
                found[f"{form}_calibrated"] = profile(subject, scores, *asked, neutral=neutral(), **seeded)
            for name, told in found.items():
                files.write_json(told, temporary / ("" if reward_model else model) / f"{name}.json")
        files.replace_folder(temporary, out)


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
