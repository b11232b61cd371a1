"""States of preference pairs: what the planting study runs once, against one row a pair and one a conversation.

All ways run on the same loaded base, in turns; their states must agree (the study's are kept in float16).

Run: python -m benchmarks.planting [--pairs N] [--repeats N]     (after dvc repro; one thread: OMP_NUM_THREADS=1)
"""

import argparse
import time
from typing import Any, cast

import numpy as np
import torch

from valuetrace import preferences
from valuetrace.core import settings
from valuetrace.models import loading
from valuetrace.models.rows import MODELS
from valuetrace.studies.planting import folders, states
from valuetrace.studies.planting.design import Planting
from valuetrace.training import batches
from valuetrace.training.model import masks
from valuetrace.training.recipe import Training

AT_ONCE = 16


@torch.inference_mode()
def by_conversation(backbone, encoded) -> np.ndarray:
    """What a user would write: every conversation by itself, padded, 16 at once, of like length."""
    texts = [[*p, *reply] for p, c, r in zip(*encoded.values(), strict=True) for reply in (c, r)]
    order = np.argsort([len(ids) for ids in texts], kind="stable")
    found = np.empty((len(texts), backbone.config.get_text_config().hidden_size), np.float32)
    for start in range(0, len(order), AT_ONCE):
        at = order[start : start + AT_ONCE]
        width = max(len(texts[i]) for i in at)
        ids, seen = torch.zeros(2, len(at), width, dtype=torch.long)
        for row, i in enumerate(at):
            ids[row, : len(texts[i])], seen[row, : len(texts[i])] = torch.tensor(texts[i]), 1
        hidden = backbone(input_ids=ids, attention_mask=seen, use_cache=False).last_hidden_state
        found[at] = hidden[torch.arange(len(at)), seen.sum(dim=1) - 1].numpy()
    return found.reshape(len(texts) // 2, 2, -1)


@torch.inference_mode()
def by_pair(backbone, encoded) -> np.ndarray:
    """The prompt once for both replies, as in training."""
    config, parts = backbone.config.get_text_config(), cast("dict[int, np.ndarray]", {})
    order = np.argsort(batches.tokens(encoded), kind="stable")
    for start in range(0, len(order), AT_ONCE // 2):
        at = order[start : start + AT_ONCE // 2]
        batch = batches.collate([{name: encoded[name][i] for name in encoded} for i in at])
        mask = masks(batch["segments"], batch["position_ids"], config, backbone.dtype)
        hidden = backbone(
            input_ids=batch["input_ids"], position_ids=batch["position_ids"], attention_mask=mask, use_cache=False
        ).last_hidden_state
        parts |= dict(zip(at, hidden[torch.arange(len(at))[:, None], batch["read"]].numpy(), strict=True))
    return np.stack([parts[i] for i in range(len(order))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=480)
    parser.add_argument("--repeats", type=int, default=3, help="the fastest of so many turns counts")
    arguments = parser.parse_args()
    chosen, training = settings.get("planting", Planting), settings.get("training", Training)
    drawn = preferences.draw(settings.get("preferences", preferences.Preferences), arguments.pairs, 1)
    folder = MODELS / chosen.base
    tokenizer, backbone = loading.load_tokenizer(folder), cast(Any, loading.load(folder, dtype="float32").base_model)
    encoded, _ = batches.encode(drawn.train, tokenizer, training.format, training.max_length)

    def shared() -> np.ndarray:
        of = states.of_pairs(backbone, tokenizer, training.format, drawn.train, training.max_length, [])
        return of[folders.LAST].astype(np.float32)

    ways = {
        "one row a conversation": lambda: by_conversation(backbone, encoded),
        "one row a pair": lambda: by_pair(backbone, encoded),
        "trees of beginnings (the study's)": shared,
    }
    seconds, found = cast("dict[str, list[float]]", {name: [] for name in ways}), {}
    for _ in range(arguments.repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            found[name] = way()
            seconds[name].append(time.perf_counter() - start)
    print(f"{len(drawn.train)} pairs, {chosen.base}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    fastest = {name: min(taken) for name, taken in seconds.items()}
    first = next(iter(fastest))
    for name, taken in fastest.items():
        error = np.abs(found[name] - found[first]).max() / found[first].std()
        print(f"{name:34}{taken:8.1f} s   ratio {fastest[first] / taken:5.2f}   largest difference {error:.1e} sd")


if __name__ == "__main__":
    main()
