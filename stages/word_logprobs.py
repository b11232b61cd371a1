"""The bases' log-probabilities of the lexicon's words: what Section 4 needs of their tables, small enough to publish.

In:  data/token_logprobs/<base>/<format>.parquet, lexicons/unrolled/*.csv; params.yaml: trained, formats,
     dynamics.format, case and search
Out: data/word_logprobs.parquet  base, word, then the log-probability (nats, float32) after each prompt, one column a
                                 key; the words that are single tokens in the vocabulary of every trained base
Run: python -m stages.word_logprobs
"""

from pathlib import Path

import pandas as pd

from valuetrace import tables
from valuetrace.core import files, settings, stage
from valuetrace.measures.dynamics.inheritance import LOGPROBS, shared_logprobs
from valuetrace.scoring.chat import Format
from valuetrace.training.recipe import Search


def main() -> None:
    search = settings.get("dynamics.search", Search)
    name = settings.get("dynamics.format", str)
    case = settings.get("dynamics.case", str)
    form = settings.get("formats", dict[str, Format])[name]
    keys = list(search.prompts()["key"])
    scores = {
        base: tables.read_scores(Path("data/token_logprobs", base, f"{name}.parquet"), keys)
        for base in settings.get("trained", list[str])
    }
    shared = shared_logprobs(scores, search.words(), keys, form, case)
    table = pd.concat(shared, names=["base", "word"]).reset_index()
    files.write_atomically(LOGPROBS, lambda to: table.to_parquet(to, index=False))


if __name__ == "__main__":
    stage.run(main)
