"""Log-probabilities of the whole vocabulary after all 54 prompts and the neutral ones, for one model and its formats.

In:  data/models/<name>/, prompts/design.yaml, prompts/neutral.yaml; params.yaml: models.<name>.scoring, formats
Out: data/token_logprobs/<name>/<format>.parquet  token_id, token_name, token_decoded, best_ever_one …
     (float32, nats), one file a format that the model's row lists
     data/neutral_logprobs/<name>/<format>.parquet  the same after the neutral prompts: plain_ever_one …
Run: python -m stages.token_logprobs NAME
"""

import sys
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from valuetrace import __version__, tables
from valuetrace.core import files, settings, stage
from valuetrace.measures import calibration
from valuetrace.models import loading
from valuetrace.models.rows import MODELS, Scoring, provenance
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format
from valuetrace.scoring.logprobs import next_token_logprobs

LOGPROBS, NEUTRAL = Path("data/token_logprobs"), Path("data/neutral_logprobs")


def main(name: str) -> None:
    how = settings.get(f"models.{name}.scoring", Scoring)
    formats = settings.get("formats", dict[str, Format])
    source = MODELS / name
    tokenizer = loading.load_tokenizer(source)
    model = loading.load_row(source, how)
    tokens = loading.vocabulary(model, tokenizer)
    for folder, prompts in {LOGPROBS: value_laden(), NEUTRAL: calibration.neutral()}.items():
        with files.fresh_folder(folder / f".{name}.partial") as temporary:
            for format_name in how.formats:
                form = replace(formats[format_name], arguments=how.chat_arguments)
                made_by = {"model": name, "kind": "logprob", "format": format_name, "form": asdict(form)}
                made_by |= {"dtype": how.dtype, "origin": provenance(source)["origin"], "valuetrace": __version__}
                scores = next_token_logprobs(model, tokenizer, prompts, form)
                tables.write_scores(pd.concat([tokens, scores], axis=1), temporary / f"{format_name}.parquet", made_by)
            files.replace_folder(temporary, folder / name)


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
