"""What bfloat16 buys and what it costs: the search of the two published adapters beside float32, in turns, in one run.

Speed in candidates a second (wall time, the fastest of the turns); cost in ranks of all words of the Big Two after one
prompt of each framing: Kendall's τ, how many of the hundred highest are the same, the largest move in places.

Run: python -m benchmarks.precision [--device cuda] [--turns N]      (after dvc repro models, dvc pull checkpoints)
"""

import argparse
import time
from pathlib import Path
from typing import cast

import numpy as np
import torch
from scipy.stats import kendalltau, rankdata

from valuetrace.lexicon import unrolled
from valuetrace.models.rows import MODELS
from valuetrace.prompts import value_laden
from valuetrace.scoring import search
from valuetrace.training.checkpoint import load_trained

PROMPTS, TOP = ("best_ever_one", "worst_ever_one"), 100
FULL, HALF = "float32", "bfloat16"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--turns", type=int, default=2)
    arguments = parser.parse_args()
    words = list(unrolled.read_lexicon("big_two")["word"].drop_duplicates())
    texts = value_laden().set_index("key")["text"]
    where = f"{torch.get_num_threads()} threads" if arguments.device == "cpu" else torch.cuda.get_device_name()
    print(f"torch {torch.__version__}, {where}, {len(words)} words, the fastest of {arguments.turns} turns\n")
    print("| model | prompt | float32, candidates/s | bfloat16 | ratio | τ | same of the first 100 | largest move |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for adapter in sorted(path.parent for path in Path("checkpoints").glob("*/provenance.json")):
        base = MODELS / adapter.name
        models = {d: load_trained(base, adapter, dtype=d, device=arguments.device) for d in (FULL, HALF)}
        for prompt in PROMPTS:
            seconds, scores = cast("dict[str, list[float]]", {FULL: [], HALF: []}), {}
            for _ in range(arguments.turns):
                for dtype, model in models.items():
                    start = time.perf_counter()
                    found = search.score_responses(model, texts[prompt], words, progress=False)
                    seconds[dtype].append(time.perf_counter() - start)
                    scores[dtype] = found.to_numpy()
            rates = {dtype: len(words) / min(each) for dtype, each in seconds.items()}
            ranks = {dtype: rankdata(-values) for dtype, values in scores.items()}
            same = len(set(np.argsort(ranks[FULL])[:TOP]) & set(np.argsort(ranks[HALF])[:TOP]))
            print(
                f"| {adapter.name} | {prompt} | {rates[FULL]:.1f} | {rates[HALF]:.1f} "
                f"| {rates[HALF] / rates[FULL]:.2f} | {kendalltau(scores[FULL], scores[HALF]).statistic:.3f} "
                f"| {same} | {np.abs(ranks[FULL] - ranks[HALF]).max():.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
