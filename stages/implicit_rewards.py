"""Section 3.2: the difference between two base models, read as a reward for every shared token.

In:  data/token_logprobs/<model>/<format>.parquet; params.yaml: analysis.tokens
Out: metrics/implicit_rewards.json       pairs × formats: shared tokens, the two word lists' mean scores
     plots/implicit_rewards/tokens.csv   first, second, format, measure, rank, token, score (nats, second
                                         model's preference), log_p, log_q: optimal and pessimal tokens
     plots/implicit_rewards/contrast.csv first, second, format, measure, label, score, variants
Run: python -m stages.implicit_rewards
"""

from itertools import product
from pathlib import Path
from typing import Any, cast

import pandas as pd

from valuetrace import tables
from valuetrace.core import files, settings, stage
from valuetrace.measures.bases import implicit
from valuetrace.measures.bases.implicit import Tokens

LOGPROBS = Path("data/token_logprobs")
PLOTS = Path("plots/implicit_rewards")


def main() -> None:
    chosen = settings.get("analysis.tokens", Tokens)
    pairs, tokens, contrasts = [], [], []
    for first, second in product(chosen.first, chosen.second):
        for name, paths in tables.score_files(LOGPROBS / first, LOGPROBS / second).items():
            p, q = (tables.read_scores(path, [chosen.prompt]) for path in paths)
            joined = implicit.join_tokens(p, q, chosen.prompt)
            where = {"first": first, "second": second, "format": name}
            tokens.append(implicit.extremes(joined, chosen.measure, chosen.top).assign(**where, measure=chosen.measure))
            # every measure is reported; the parameter only says which one the pictures show
            of_pair = [implicit.contrast(joined, m, chosen.contrast).assign(measure=m) for m in implicit.MEASURES]
            contrasts.append(pd.concat(of_pair).assign(**where))
            pairs.append(where | {"shared_tokens": len(joined), "contrast": _by_measure(contrasts[-1])})
    where = ["first", "second", "format", "measure"]
    for parts, name in ((tokens, "tokens"), (contrasts, "contrast")):
        frame = pd.concat(parts)
        files.write_csv(frame[where + [c for c in frame.columns if c not in where]], PLOTS / f"{name}.csv")
    metrics = {"prompt": chosen.prompt, "measure": chosen.measure, "words": chosen.contrast, "pairs": pairs}
    files.write_json(metrics, "metrics/implicit_rewards.json")


def _by_measure(frame: pd.DataFrame) -> dict:
    """measure → label → {score, variants}; a list without a shared variant has the score null."""
    return {
        measure: {
            row.label: {"score": None if pd.isna(row.score) else row.score, "variants": row.variants}
            for row in cast(Any, of_measure.itertuples())
        }
        for measure, of_measure in frame.groupby("measure", sort=False)
    }


if __name__ == "__main__":
    stage.run(main)
