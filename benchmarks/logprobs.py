"""Log-probabilities of 54 prompts: the stage's way against one plain forward a prompt, in one run.

The plain way is what a user would write: tokenize, run the model, take the last row of logits. Both run on
the same loaded model, in turns; the numbers must agree.

Run: python benchmarks/logprobs.py [MODEL …] [--format FORMAT] [--repeats N]     (after dvc repro)
"""

import argparse
import resource
import time
from dataclasses import replace

import numpy as np
import torch

from valuetrace.core import settings
from valuetrace.models import loading
from valuetrace.models.rows import MODELS, Scoring
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format, render
from valuetrace.scoring.logprobs import next_token_logprobs


@torch.inference_mode()
def plain(model, tokenizer, prompts, form) -> np.ndarray:
    rows = []
    for text in prompts["text"]:
        ids = torch.tensor([render(tokenizer, form, text).prefix])
        rows.append(torch.log_softmax(model(input_ids=ids).logits[0, -1].float(), dim=-1).numpy())
    return np.stack(rows, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=settings.get("bases", list[str]))
    parser.add_argument("--format", default=None, help="one format (default: every format of the model)")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest of so many turns counts")
    arguments = parser.parse_args()
    prompts, formats = value_laden(), settings.get("formats", dict[str, Format])
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {loading.best_device()}")
    print(
        f"{'model':24}{'format':10}{'tokens':>8}{'plain s':>10}{'stage s':>10}{'ratio':>8}{'max difference, nats':>24}"
    )
    for name in arguments.models:
        how = settings.get(f"models.{name}.scoring", Scoring)
        tokenizer, model = loading.load_tokenizer(MODELS / name), loading.load_row(MODELS / name, how)
        for form_name in [arguments.format] if arguments.format else how.formats:
            form = replace(formats[form_name], arguments=how.chat_arguments)
            seconds: dict[str, list[float]] = {"plain": [], "stage": []}
            for _ in range(arguments.repeats):
                start = time.perf_counter()
                theirs = plain(model, tokenizer, prompts, form)
                seconds["plain"].append(time.perf_counter() - start)
                start = time.perf_counter()
                ours = next_token_logprobs(model, tokenizer, prompts, form).to_numpy()
                seconds["stage"].append(time.perf_counter() - start)
            tokens = sum(len(render(tokenizer, form, text).prefix) for text in prompts["text"])
            slow, fast = min(seconds["plain"]), min(seconds["stage"])
            error = np.abs(theirs - ours).max()
            print(
                f"{name:24}{form_name:10}{tokens:8}{slow:10.1f}{fast:10.1f}{slow / fast:8.2f}{error:24.1e}", flush=True
            )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


if __name__ == "__main__":
    main()
