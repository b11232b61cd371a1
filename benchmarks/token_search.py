"""Exhaustive token search beside the loop that a user would write instead, in turns, in one run.

The loop: decode the candidate, render the chat template, tokenize, pad, full forward, 32 conversations a
batch. Both read the same loaded weights and their rewards must agree; a matrix product of the model's own
shape is timed between them as the machine's own speed. Wall time and, on a CPU, processor time are given:
on a shared machine only the latter, with one thread, repeats.

Run: python benchmarks/token_search.py [FOLDER …] [--threads 1]                        (after dvc repro)
GPU: python benchmarks/token_search.py --device cuda --dtype bfloat16 --shape gemma2-2b
     python benchmarks/token_search.py --device cuda --dtype bfloat16 --shape llama32-3b
Both end with what the paper's searches cost at the measured rate; --rate prints that table alone.
"""

import argparse
import resource
import statistics
import time
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModel

from valuetrace.models import loading, tiny
from valuetrace.models.rows import DTYPES, MODELS
from valuetrace.scoring import candidates as conversations
from valuetrace.scoring import chat, heads, search
from valuetrace.scoring.reward_model import RewardModel

PROMPT = "What, in one word, is the greatest thing ever?"
CHAT = chat.Format("chat", space=False)
RAW = chat.Format("text", space=True, closing="eos")
# The released configurations' sizes (google/gemma-2-2b-it, meta-llama/Llama-3.2-3B-Instruct)
SHAPES = {
    "gemma2-2b": (
        "gemma2",
        {
            "vocab_size": 256000,
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "num_hidden_layers": 26,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "query_pre_attn_scalar": 256,
            "sliding_window": 4096,
            "attn_logit_softcapping": 50.0,
        },
    ),
    "llama32-3b": (
        "llama",
        {
            "vocab_size": 128256,
            "hidden_size": 3072,
            "intermediate_size": 8192,
            "num_hidden_layers": 28,
            "num_attention_heads": 24,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "rope_theta": 500000.0,
        },
    ),
}
# The paper's searches: (what, parameters outside the embedding, models or checkpoints, prompts, candidates, new tokens)
_VOCABULARY = {"Llama": 128_256, "Gemma": 256_000, "Qwen": 151_936}
_TRAINED = {"Llama": 2.8e9, "Gemma": 2.0e9, "Qwen": 2.8e9}
_NEW = {"Llama": 2, "Gemma": 3, "Qwen": 3}  # the token and what closes its turn


def paper_searches() -> list[tuple[str, float, int, int, int, int]]:
    steps = {pairs: 2 * pairs * 1000 // 16 for pairs in (13, 26, 53, 106)}
    runs = {"Skywork 80k": 9578 // 1000 + 2, "Unified-Feedback 13k-106k": sum(s // 1000 + 2 for s in steps.values())}
    rows = [
        ("Section 2: 10 models, 54 prompts, 2,040 words: Gemma 27B", 26e9, 3, 54, 2040, 4),
        ("  Gemma 2B", 2.0e9, 1, 54, 2040, 4),
        ("  Llama 8B", 7.0e9, 5, 54, 2040, 3),
        ("  Llama 3B", 2.8e9, 1, 54, 2040, 3),
        ("Appendix D: vocabulary, 2 prompts: Gemma 27B", 26e9, 3, 2, _VOCABULARY["Gemma"], 3),
        ("  Gemma 2B", 2.0e9, 1, 2, _VOCABULARY["Gemma"], 3),
        ("  Llama 8B", 7.0e9, 5, 2, _VOCABULARY["Llama"], 2),
        ("  Llama 3B", 2.8e9, 1, 2, _VOCABULARY["Llama"], 2),
    ]
    for run, checkpoints in runs.items():
        for base, parameters in _TRAINED.items():
            label = f"Section 4, Appendix H: vocabulary, checkpoints of {run}: {base}"
            rows.append((label, parameters, checkpoints, 1, _VOCABULARY[base], _NEW[base]))
    return rows


def print_paper(rate: float, where: str) -> None:
    print(f"\nThe paper's searches at {rate / 1e12:.3g} TFLOP/s ({where}); training is not counted:\n")
    print("| what | candidates | hours |\n|---|---:|---:|")
    total = 0.0
    for label, parameters, count, prompts, candidates, new in paper_searches():
        scored = count * prompts * candidates
        hours = 2 * parameters * scored * new / rate / 3600
        total += hours
        print(f"| {label.strip()} | {scored:,} | {hours:.3g} |")
    print(f"| **all** | | **{total:.3g}** |")


def random_shape(shape: str, dtype: torch.dtype, device: str) -> RewardModel:
    """Random weights in a released model's exact shape, under a small tokenizer of its family."""
    family, sizes = SHAPES[shape]
    tokenizer = tiny.tokenizer(family)
    model_type = cast(Any, tiny.ARCHITECTURES[family])["model_type"]
    config = AutoConfig.for_model(model_type, **sizes, pad_token_id=0, bos_token_id=2, eos_token_id=1)
    with torch.device(device):
        backbone = AutoModel.from_config(config, dtype=dtype).eval()
    backbone.set_attn_implementation("eager" if family == "gemma2" else "sdpa")
    return RewardModel(backbone, heads.Linear(config.hidden_size).to(device), tokenizer, CHAT, shape)


def demo_base(folder: Path, dtype: str, device: str) -> RewardModel:
    """A model folder with a random head: chat format where it has a template, else the bare prompt."""
    tokenizer = loading.load_tokenizer(folder)
    backbone = loading.load(folder, dtype=dtype, device=device, cls=AutoModel)
    head = heads.Linear(backbone.config.hidden_size).to(device)
    return RewardModel(backbone, head, tokenizer, CHAT if tokenizer.chat_template else RAW, folder.name)


def text(model: RewardModel, candidate: int) -> str:
    return chat._conversation_text(model.tokenizer, model.form, PROMPT, cast(str, model.tokenizer.decode([candidate])))


def tokenize(model: RewardModel, texts: list[str], **options):
    return model.tokenizer(texts, add_special_tokens=model.form.kind == "text", **options)


@torch.inference_mode()
def loop(model: RewardModel, ids: list[int], batch: int = 32) -> list[float]:
    """What a user would write: every conversation whole, padded, the reward at its last real token."""
    rewards = []
    for start in range(0, len(ids), batch):
        texts = [text(model, i) for i in ids[start : start + batch]]
        inputs = tokenize(model, texts, padding=True, padding_side="right", return_tensors="pt")
        inputs = inputs.to(model.backbone.device)
        mask = inputs["attention_mask"]
        hidden = model.backbone(input_ids=inputs["input_ids"], attention_mask=mask).last_hidden_state
        last = hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(-1) - 1]
        rewards += model.apply(last).tolist()
    return rewards


def matrix_product(model: RewardModel, tokens: int) -> float:
    """Floating-point operations of one feed-forward matrix product over ``tokens`` rows, done ten times."""
    weight = cast(Any, model.backbone.layers)[0].mlp.up_proj.weight
    rows = torch.randn(tokens, weight.shape[1], dtype=weight.dtype, device=weight.device)
    for _ in range(10):
        rows @ weight.T
    return 10 * 2 * tokens * weight.numel()


class Timer:
    """Work done and the seconds it took, a turn at a time; peak memory of its own turns."""

    def __init__(self, device: str):
        self.cuda, self.rates, self.cpu_rates, self.peak = (
            device.startswith("cuda"),
            cast("list[float]", []),
            cast("list[float]", []),
            0.0,
        )

    def turn(self, work, call):
        self._reset_peak()
        wall, cpu = time.perf_counter(), time.process_time()
        result = call()
        if self.cuda:
            torch.cuda.synchronize()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        done = result if work is None else work
        self.rates.append(done / wall)
        self.cpu_rates.append(done / cpu)
        self.peak = max(self.peak, self._peak())
        return result

    def _reset_peak(self):
        if self.cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        elif (path := Path("/proc/self/clear_refs")).exists():
            path.write_text("5")  # Linux: the high-water mark starts again

    def _peak(self) -> float:
        if self.cuda:
            return torch.cuda.max_memory_allocated() / 2**30
        status = Path("/proc/self/status")
        if status.exists():
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
            return int(lines["VmHWM"].split()[0]) / 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(model: RewardModel, arguments: argparse.Namespace) -> float:
    """Print one model's row; the search's floating-point rate (FLOP/s of wall time)."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randperm(len(model.tokenizer), generator=generator)[: arguments.candidates].tolist()
    sample = ids[: arguments.loop]
    plan = conversations.prepare(model, PROMPT, conversations.read_candidates(model, ids[:1]), "exact")
    prefix, new = len(plan.prefix), len(plan.rests[0])
    timers = {name: Timer(arguments.device) for name in ("product", "loop", "search")}
    options = {"batch_size": arguments.batch_size, "progress": False}
    matrix_product(model, 1024), loop(model, sample[:4]), search.score_responses(model, PROMPT, ids[:64], **options)
    for _ in range(arguments.rounds):
        timers["product"].turn(None, lambda: matrix_product(model, arguments.product_rows))
        theirs = timers["loop"].turn(len(sample), lambda: loop(model, sample))
        ours = timers["search"].turn(len(ids), lambda: search.score_responses(model, PROMPT, ids, **options))
    parameters = sum(p.numel() for layer in cast(Any, model.backbone.layers) for p in layer.parameters())
    middle = {name: statistics.median(t.rates) for name, t in timers.items()}
    cpu = {name: statistics.median(t.cpu_rates) for name, t in timers.items()}
    flops = 2 * parameters * new
    # bytes, and words that a template trims, are other ids when decoded and tokenized again: not compared
    exact = conversations.prepare(model, PROMPT, conversations.read_candidates(model, sample), "exact")
    read = tokenize(model, [text(model, i) for i in sample]).input_ids
    same = [i for i, rest in enumerate(exact.rests) if exact.prefix + rest == read[i]]
    gap = max((abs(theirs[i] - ours.iloc[i]) for i in same), default=float("nan"))
    bound = (prefix + new) / new
    print(f"\n{model.name}: prefix {prefix}, candidate and closing {new}; token-count ratio {bound:.1f}")
    print(f"rewards: largest |search - loop| {gap:.1e} ({len(same)} with the same ids), deviation {ours.std():.2g}")
    print("| clock | loop, candidates/s | search, candidates/s | ratio | of the token-count ratio | search, GFLOP/s |"
          " matrix product, GFLOP/s |\n|---|---:|---:|---:|---:|---:|---:|")  # fmt: skip
    for clock, rates in (("wall", middle), ("processor", cpu)):
        if clock == "wall" or arguments.device == "cpu":
            ratio = rates["search"] / rates["loop"]
            print(
                f"| {clock} | {rates['loop']:.1f} | {rates['search']:.1f} | {ratio:.1f} | {ratio / bound:.0%} "
                f"| {rates['search'] * flops / 1e9:.0f} | {rates['product'] / 1e9:.0f} |"
            )
    print(f"peak memory: loop {timers['loop'].peak:.2f} GiB, search {timers['search'].peak:.2f} GiB", flush=True)
    return middle["search"] * flops


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    demo = [MODELS / name for name in ("smollm2-135m-instruct", "gemma3-270m")]
    parser.add_argument("folders", nargs="*", type=Path, help="model folders (default: both demo bases)")
    parser.add_argument("--shape", choices=SHAPES, help="random weights in this shape instead of a folder")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=DTYPES)
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    parser.add_argument("--rounds", type=int, default=3, help="turns; the median counts")
    parser.add_argument("--candidates", type=int, help="candidates of the search, a turn")
    parser.add_argument("--loop", type=int, help="candidates of the loop, a turn")
    parser.add_argument("--batch-size", type=int, help="of the search (default: it finds its own)")
    parser.add_argument("--rate", type=float, help="only print what the paper costs at so many TFLOP/s")
    arguments = parser.parse_args()
    if arguments.rate:
        print_paper(arguments.rate * 1e12, "given")
        return
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    cuda = arguments.device.startswith("cuda")
    arguments.product_rows = 16384 if cuda else 1024
    arguments.candidates = arguments.candidates or (8192 if cuda else 1024)
    arguments.loop = arguments.loop or (512 if cuda else 64)
    name = torch.cuda.get_device_name() if cuda else f"{torch.get_num_threads()} CPU threads"
    print(f"torch {torch.__version__}, {name}, {arguments.dtype}, {arguments.rounds} rounds")
    if arguments.shape:
        rate = measure(random_shape(arguments.shape, getattr(torch, arguments.dtype), arguments.device), arguments)
    else:
        bases = arguments.folders or demo
        rate = min(measure(demo_base(base, arguments.dtype, arguments.device), arguments) for base in bases)
    print_paper(rate, f"the slowest rate measured above: {name}, {arguments.dtype}")


if __name__ == "__main__":
    main()
