"""What an audit costs, known before it runs: candidates, tokens, memory, and time from a short calibration."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
import transformers
from safetensors import safe_open

from valuetrace.core.errors import InputError
from valuetrace.models import loading
from valuetrace.models.rows import DTYPES
from valuetrace.subjects import scorers
from valuetrace.subjects.inputs import Job
from valuetrace.subjects.scorers import LogProbabilities, Rewards, dtype_of

_PAGE_SECONDS = 5.0  # the reading of the known groups, the picture, the page
_DRAW_SECONDS = 5e-9  # a word, prompt and draw of the bootstrap


@dataclass(frozen=True)
class Cost:
    """Bytes are on ``device``; on a CPU they include the process itself. seconds: of the scoring and of what comes
    after it (intervals, picture, page: ``after_seconds``), loading apart."""

    candidates: int
    prompts: int
    tokens: int
    memory_bytes: int
    weights_bytes: int
    seconds: float
    after_seconds: float
    device: str
    dtype: str

    def __str__(self) -> str:
        return (
            f"{self.candidates:,} candidates × {self.prompts} prompts, {self.tokens:,} tokens; memory about "
            f"{size(self.memory_bytes)} on {self.device} (weights {size(self.weights_bytes)}, {self.dtype}); "
            f"time about {duration(self.seconds)}, {duration(self.after_seconds)} of it after the scoring"
        )


def check_memory(job: Job) -> None:
    """InputError where the weights alone exceed the free memory; no weights are read."""
    needed = stored_parameters(job.folder) * DTYPES[dtype_of(job)]
    if job.request.device == "cpu" or loading.best_device().type == "cpu":
        free = psutil.virtual_memory().available
    elif loading.best_device().type == "cuda":
        devices = range(torch.cuda.device_count()) if job.request.device == "auto" else [job.request.device]
        free = sum(torch.cuda.mem_get_info(device)[0] for device in devices)
    else:
        return
    if needed > free:
        raise InputError(
            f"{job.name}: its weights take {size(needed)} in {dtype_of(job)}, but only {size(free)} of memory are "
            "free. Take a smaller --dtype (bfloat16), another --device, or a larger machine."
        )


def load(job: Job) -> tuple[Rewards | LogProbabilities, Cost]:
    """The loaded model of a job, and what its run costs. InputError where memory does not hold the weights."""
    check_memory(job)
    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()
    process = psutil.Process().memory_info().rss
    scorer = scorers.load(job)
    return scorer, estimate(job, scorer, process)


def check_time(what: str, seconds: float, limit: float | None, smaller: str) -> None:
    """InputError where ``what`` takes longer than ``limit`` (minutes); smaller: what would take less."""
    if limit is not None and seconds > 60 * limit:
        raise InputError(
            f"{what}: it would take about {duration(seconds)}, more than --max-minutes {limit:g}. Raise the limit, or "
            f"score {smaller}."
        )


def estimate(job: Job, scorer: Rewards | LogProbabilities, process: int) -> Cost:
    """The cost of a loaded scorer's run. process: bytes that the process held before the model was loaded."""
    weights = sum(p.numel() * p.element_size() for p in scorer.backbone.parameters())
    device = scorer.backbone.device
    memory = weights + scorer.activations()
    if device.type == "cpu":
        memory += process + scorer.table_bytes()
    return Cost(
        candidates=scorer.candidates,
        prompts=len(job.prompts),
        tokens=scorer.tokens,
        memory_bytes=int(memory),
        weights_bytes=int(weights),
        seconds=scorer.seconds() + (after := after_seconds(job)),
        after_seconds=after,
        device=str(device),
        dtype=str(scorer.backbone.dtype).removeprefix("torch."),
    )


def after_seconds(job: Job) -> float:
    """About how long everything after the scoring takes, by rates measured on one core of a server of 2023."""
    words = len(set(job.lexicon["word"]))
    return _PAGE_SECONDS + _DRAW_SECONDS * job.request.draws * words * len(job.prompts)


def stored_parameters(folder: Path) -> int:
    """Numbers in the safetensors files that a folder's weights are read from, by their headers. InputError as
    ``loading.stored``, and for a file that is not whole."""
    total = 0
    for path in sorted(set(loading.stored(folder).values())):
        with loading.reading(path, "the weights"), safe_open(path, "pt") as file:
            total += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return total


def peak_bytes(device: torch.device) -> int | None:
    """The most memory held so far: of the accelerator, or of this process; None where that is not known."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def duration(seconds: float) -> str:
    """``8 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: int) -> str:
    """Bytes as ``1.2 GB`` or ``340 MB``."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
