"""Score the words of all dictionaries with the trained reward model of one base: its published last checkpoint.

In:  data/models/<base>/, checkpoints/<base>/, data/dimensions/lexicon.csv, lexicons/unrolled/known_groups.csv;
     params.yaml: dimensions.prompts, models.<base>.scoring
Out: data/dimensions/rewards/<base>.parquet  token_id (missing), token_name, token_decoded, then a column a prompt
     (float32, the model's own units)
     Scratch: data/shards/dimensions/<base>/, what a killed run goes on from
Run: python -m stages.dimensions.rewards BASE
"""

import sys
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from valuetrace import __version__, tables
from valuetrace.core import settings, stage
from valuetrace.lexicon import unrolled
from valuetrace.models import loading
from valuetrace.models.rows import MODELS, Scoring
from valuetrace.prompts import value_laden
from valuetrace.scoring.search import score_prompts
from valuetrace.studies.dimensions import words
from valuetrace.training import checkpoint


def main(base: str) -> None:
    how = settings.get(f"models.{base}.scoring", Scoring)
    keys = settings.get("dimensions.prompts", list[str])
    texts = value_laden().set_index("key")["text"].loc[keys].to_dict()
    lexicon, known = words.read(), unrolled.read_lexicon(unrolled.KNOWN_GROUPS)
    names = list(dict.fromkeys([*lexicon.loc[lexicon["kept"], "word"], *known["word"]]))
    model = checkpoint.load_trained(
        MODELS / base, Path("checkpoints", base), dtype=how.dtype, device=loading.best_device()
    )
    scores = score_prompts(model, texts, names, folder=Path("data/shards/dimensions", base))
    rows = pd.DataFrame({"token_id": pd.array([pd.NA] * len(names), "Int64"), "token_name": names})
    frame = pd.concat([rows.assign(token_decoded=names), scores.reset_index(drop=True)], axis=1)
    made_by = {"model": base, "kind": "reward", "format": "training", "form": asdict(model.form)}
    made_by |= {"tokenisation": "exact", "dtype": how.dtype, "valuetrace": __version__}
    tables.write_scores(frame, f"data/dimensions/rewards/{base}.parquet", made_by)


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
