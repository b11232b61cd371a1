"""Score every lexicon word (or the whole vocabulary) as the reply to every prompt with one reward model.

In:  data/models/<name>/, prompts/design.yaml, lexicons/unrolled/*.csv; params.yaml: models.<name>.scoring, formats,
     rewards
Out: data/rewards/<name>.parquet  token_id, token_name, token_decoded, best_ever_one … (float32, the
     model's own units; words of several tokens have no token_id)
     Scratch: data/shards/<name>/, what a killed run goes on from
Run: python -m stages.rewards NAME      (accelerate launch -m stages.rewards NAME splits the candidates)
"""

import sys
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
from accelerate import PartialState

from valuetrace import __version__, tables
from valuetrace.core import settings, stage
from valuetrace.lexicon import unrolled
from valuetrace.models import loading
from valuetrace.models.rows import MODELS, Rewards, Scoring, provenance
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format
from valuetrace.scoring.reward_model import load_reward_model
from valuetrace.scoring.search import score_prompts


def main(name: str) -> None:
    how = settings.get(f"models.{name}.scoring", Scoring)
    chosen = settings.get("rewards", Rewards)
    form = replace(settings.get("formats", dict[str, Format])[how.formats[0]], arguments=how.chat_arguments)
    place: dict = {"device_map": "auto"} if how.devices == "all" else {}
    folder = MODELS / name
    model = load_reward_model(folder, form, dtype=how.dtype, head=how.head, **place)
    if chosen.lexicons:
        lists = [unrolled.read_lexicon(lexicon)["word"] for lexicon in (*chosen.lexicons, unrolled.KNOWN_GROUPS)]
        candidates = list(dict.fromkeys(pd.concat(lists)))
        tokens = pd.DataFrame({"token_id": pd.NA, "token_name": candidates, "token_decoded": candidates})
    else:
        tokens = loading.vocabulary(model.backbone, model.tokenizer).head(len(model.tokenizer))
        candidates = list(tokens["token_id"])
    prompts: dict[str, str] = dict(value_laden()[["key", "text"]].itertuples(index=False))
    shards = Path("data/shards", name)  # what a killed run goes on from
    scores = score_prompts(model, prompts, candidates, tokenisation=chosen.tokenisation, folder=shards)
    scores = scores.reset_index(drop=True)
    if not PartialState().is_main_process:  # every process has all scores; one writes them
        return
    made_by = {"model": name, "kind": "reward", "format": how.formats[0], "form": asdict(form)}
    made_by["tokenisation"] = chosen.tokenisation
    made_by |= {"dtype": how.dtype, "origin": provenance(folder).get("origin"), "valuetrace": __version__}
    tables.write_scores(pd.concat([tokens, scores], axis=1), f"data/rewards/{name}.parquet", made_by)


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
