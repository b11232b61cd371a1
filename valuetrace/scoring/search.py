"""Exhaustive token search: the reward of every candidate reply to a prompt.

The prompt runs once; candidates run in large batches of one length, without padding, each computing only
its own tokens and the closing ones (``shared_prefix``). First a few of them are held against the model's own
class (``reference``), which decides how all are scored. A run in a folder writes shards and resumes from them.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm import tqdm

from valuetrace.core import files, keys
from valuetrace.core.errors import InputError, some
from valuetrace.models.configs import sizes
from valuetrace.scoring import reference, shared_prefix
from valuetrace.scoring.candidates import Candidate, Conversations, Tokenisation, prepare, read_candidates
from valuetrace.scoring.reference import Reference
from valuetrace.scoring.reward_model import RewardModel

CPU_TOKENS, GPU_TOKENS = 1024, 65_536
"""New tokens a batch, when the caller sets no batch size: on a CPU, and at most on an accelerator."""
_CHECKSUM = 8  # bytes at the end of a shard


class NotANumber(InputError):
    """Some rewards are NaN or infinite; ``scores`` holds the whole run, finite rewards and others."""

    def __init__(self, message: str, scores: pd.Series | pd.DataFrame):
        super().__init__(message)
        self.scores = scores


def score_responses(
    model: RewardModel,
    prompt: str,
    candidates: Iterable[int | str | Sequence[int]] | None = None,
    **options: Any,
) -> pd.Series:
    """The reward of each candidate as the reply to ``prompt``: float32, in the model's units, index = candidates.

    candidates and ``options`` (tokenisation, batch_size, folder, shard_size, progress) as in ``score_prompts``.
    """
    return score_prompts(model, {prompt: prompt}, candidates, **options)[prompt].rename("reward")


def score_prompts(
    model: RewardModel,
    prompts: Mapping[str, str],
    candidates: Iterable[int | str | Sequence[int]] | None = None,
    *,
    tokenisation: Tokenisation = "exact",
    batch_size: int | None = None,
    folder: str | Path | None = None,
    shard_size: int = 4096,
    progress: bool = True,
    held: Reference | None = None,
) -> pd.DataFrame:
    """The reward of each candidate as the reply to each prompt, in the model's units.

    prompts: key → text. Returns one float32 column a key, in their order; index: the candidates.

    candidates: token ids, words (of any number of tokens) or id sequences (tuples in the index); by default every token
    id of the vocabulary. tokenisation: ``exact`` puts the candidate's own ids into the conversation; ``as_published``
    decodes the candidate, renders the template as text and tokenizes that again, as the authors' released scores were
    made (a doubled BOS and trimmed replies included). batch_size: candidates a batch; by default as many as the device
    takes well. It is halved whenever memory runs out. held: what ``reference.hold`` found of this model, form and
    tokenisation; by default it is found first, and what is slower than usual is said on stderr. folder: where shards
    are kept, ``shard_size`` candidates each. A killed run continues after its last whole shard; shards of other
    weights, prompts or candidates are never read.

    Under ``accelerate launch`` the shards are dealt out to the processes and every process returns all rewards, equal
    to the bit to those of one process (of the same batch size, device and thread count). Raises InputError for what
    cannot be scored, before anything runs, and ``NotANumber`` after everything has run.
    """
    if shard_size < 1 or (batch_size is not None and batch_size < 1):
        raise InputError("batch_size and shard_size must be 1 or more")
    read = read_candidates(model, candidates)
    names, longest = read.names, read.longest()
    for prompt in prompts.values():  # a prompt that cannot run is known before the first one does
        prepare(model, prompt, longest, tokenisation)
    if held is None:
        held = reference.hold(model, prompts, read, tokenisation)
        for why in held.why:
            print(f"{model.name}: {why}.", file=sys.stderr)
    tokenisation = held.tokenisation
    weights = model.fingerprint() if folder is not None else ""
    state = _processes(model)
    sizes = [min(shard_size, len(names) - start) for start in range(0, len(names), shard_size)]
    total = len(prompts) * sum(sizes[state.process_index :: state.num_processes])
    bar = tqdm(total=total, unit="candidate", disable=not progress or not state.is_main_process)
    columns = {}
    with bar, torch.inference_mode(), reference.engine(model, held.path):
        for key, prompt in prompts.items():
            bar.set_description(key)
            plan = prepare(model, prompt, read, tokenisation)
            work = None if folder is None else _work_folder(Path(folder), weights, plan, shard_size, held.path)
            columns[key] = _score(model, plan, batch_size, work, shard_size, bar, held.path)
    frame = pd.DataFrame(columns, index=pd.Index(names, tupleize_cols=False, name="candidate"), dtype=np.float32)
    _check_finite(model, frame, names)
    return frame


def run(model: RewardModel, plan: Conversations, path: reference.Way) -> np.ndarray:
    """float32 rewards of a plan's conversations, inside ``reference.engine``."""
    with tqdm(disable=True) as bar:
        return _score(model, plan, None, None, len(plan.rests), bar, path)


def _work_folder(folder: Path, weights: str, plan: Conversations, shard_size: int, path: reference.Way) -> Path:
    """One subfolder a search, named by everything that determines its scores, code included: stale shards lie
    elsewhere."""
    lengths = np.fromiter((len(rest) for rest in plan.rests), np.int64)
    ids = np.fromiter((i for rest in plan.rests for i in rest), np.int64)
    decided_by = (weights, shard_size, plan.prefix, plan.shared, lengths, ids, plan.reads, path)
    return folder / keys.key("valuetrace.scoring.search", *decided_by)[:32]


def _processes(model: RewardModel) -> PartialState:
    """accelerate's processes; whoever asks first decides whether they run on the CPU."""
    return PartialState(cpu=model.backbone.device.type == "cpu")


def _score(
    model: RewardModel,
    plan: Conversations,
    batch_size: int | None,
    work: Path | None,
    shard_size: int,
    bar: tqdm,
    path: reference.Way = "shared",
) -> np.ndarray:
    """The rewards of a plan, computed by all processes, known to all."""
    state = _processes(model)
    lengths = np.array([len(rest) for rest in plan.rests])
    order = np.lexsort((lengths, plan.shared))  # stable: neighbours have one shape
    shards = [order[i : i + shard_size] for i in range(0, len(order), shard_size)]
    budget = _token_budget(model, plan)
    if state.num_processes > 1:  # batches are cut alike everywhere
        budget = min(gather_object([budget]))
    batches = _Batches(model, plan, lengths, batch_size, budget, path)
    done: dict[int, np.ndarray] = {}
    for number in range(state.process_index, len(shards), state.num_processes):
        kept = None if work is None else work / f"{number:06d}.shard"
        scores = _read_shard(kept, len(shards[number]))
        if scores is None:
            scores = batches.score(shards[number], bar)
            if kept is not None:
                _write_shard(kept, scores)
        elif not bar.disable:
            bar.initial += len(scores)  # read, not computed: it counts for no rate
            bar.update(len(scores))
        done[number] = scores
    parts = gather_object([done]) if state.num_processes > 1 else [done]
    rewards = np.empty(len(order), dtype=np.float32)
    for part in parts:
        for number, scores in part.items():
            rewards[shards[number]] = scores
    return rewards


def _write_shard(path: Path, scores: np.ndarray) -> None:
    """The float32 rewards, little-endian, and a checksum of them."""
    data = scores.astype("<f4").tobytes()
    files.write_atomically(path, lambda to: to.write_bytes(data + _checksum(data)))


def _read_shard(path: Path | None, size: int) -> np.ndarray | None:
    """What ``_write_shard`` wrote of ``size`` rewards; None where there is nothing, or nothing to believe."""
    if path is None or not path.is_file():
        return None
    data, told = path.read_bytes()[:-_CHECKSUM], path.read_bytes()[-_CHECKSUM:]
    if len(data) == 4 * size and told == _checksum(data):
        return np.frombuffer(data, "<f4").astype(np.float32)
    print(f"{path}: damaged; it is computed again.", file=sys.stderr, flush=True)
    return None


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:_CHECKSUM]


class _Batches:
    """Scores shards batch by batch; remembers how often memory has run out."""

    def __init__(
        self,
        model: RewardModel,
        plan: Conversations,
        lengths: np.ndarray,
        size: int | None,
        budget: int,
        path: reference.Way,
    ):
        self.model, self.plan, self.lengths, self.size, self.budget = model, plan, lengths, size, budget
        self.path = path
        self.halvings = 0
        self.prefix: shared_prefix.Prefix | None = None

    def score(self, shard: np.ndarray, bar: tqdm) -> np.ndarray:
        """float32 rewards of the candidates ``shard`` (ordered, so that equal shapes are neighbours)."""
        if self.path == "shared" and self.prefix is None and self.plan.prefix:
            self.prefix = shared_prefix.run_prefix(self.model.backbone, self.plan.prefix)
        shapes = np.stack([self.plan.shared[shard], self.lengths[shard]])
        edges = np.flatnonzero((shapes[:, 1:] != shapes[:, :-1]).any(axis=0)) + 1
        rewards = [self._bucket(bucket, bar) for bucket in np.split(shard, edges)]
        return np.concatenate(rewards)

    def _bucket(self, bucket: np.ndarray, bar: tqdm) -> np.ndarray:
        rewards, done = [], 0
        while done < len(bucket):
            again = 0 if self.path == "shared" else int(self.plan.shared[bucket[0]])
            size = self.size or max(1, self.budget // (again + int(self.lengths[bucket[0]])))
            size = max(1, size >> self.halvings)
            try:
                rewards.append(self._run(bucket[done : done + size]))
            except (RuntimeError, MemoryError) as error:
                if not _out_of_memory(error):
                    raise
                if size == 1:
                    raise InputError(f"{self.model.name}: memory does not hold one candidate ({error}).") from None
                self.halvings += 1
                continue  # the traceback, and with it the batch's tensors, is gone here
            finally:
                if self.halvings and self.model.backbone.device.type == "cuda":
                    torch.cuda.empty_cache()
            done += len(rewards[-1])
            bar.update(len(rewards[-1]))
        return np.concatenate(rewards)

    def _run(self, batch: np.ndarray) -> np.ndarray:
        """Rewards (B,) of conversations of one shape."""
        model, plan, start = self.model, self.plan, int(self.plan.shared[batch[0]])
        prefix = None if self.prefix is None else self.prefix.first(start)
        own = [plan.rests[i] for i in batch] if self.path == "shared" else [plan.ids(i) for i in batch]
        ids = torch.tensor(own, device=model.backbone.device)  # (B, L)
        if self.path == "own" and model.whole is not None:  # one by one: some classes take no batch without padding
            parts = [model.own(row[None], int(plan.second[i])) for i, row in zip(batch, ids, strict=True)]
            return torch.cat(parts).cpu().numpy()
        if self.path == "shared":
            hidden = shared_prefix.run_continuations(model.backbone, prefix, ids)  # (B, L, D)
        else:
            start, hidden = 0, model.backbone(input_ids=ids, use_cache=False).last_hidden_state
        gate = None if model.pattern is None else _states_at(plan.gates[batch], start, prefix, hidden)
        return model.apply(_states_at(plan.reads[batch], start, prefix, hidden), gate).cpu().numpy()


def _states_at(positions: np.ndarray, start: int, prefix: shared_prefix.Prefix | None, hidden: torch.Tensor):
    """(B, D): the hidden state of each conversation at its position, in the shared prefix or in its own part."""
    at = torch.as_tensor(positions, device=hidden.device)
    states = hidden[torch.arange(len(at), device=hidden.device), (at - start).clamp(min=0)]
    if prefix is None or not len(prefix):
        return states
    return torch.where((at < start)[:, None], prefix.hidden.to(hidden.device)[at.clamp(max=start - 1)], states)


def _token_budget(model: RewardModel, plan: Conversations) -> int:
    """New tokens a batch, when the caller sets no batch size.

    On a CPU as many as keep its matrix products busy and its caches warm; on an accelerator as many as
    fill half of the free memory by a rough count of a layer's activations, at most ``GPU_TOKENS``.
    """
    device = model.backbone.device
    if device.type != "cuda":
        return CPU_TOKENS
    size = sizes(model.backbone.config)
    free, _ = torch.cuda.mem_get_info(device)
    width = 10 * size.hidden + 4 * size.inner
    scores = size.heads * (len(plan.prefix) + max(map(len, plan.rests)))
    return int(np.clip(free // 2 // (4 * width + 12 * scores), 512, GPU_TOKENS))


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return any(words in str(error).lower() for words in ("out of memory", "can't allocate memory", "not enough memory"))


def _check_finite(model: RewardModel, frame: pd.DataFrame, names: list[Candidate]) -> None:
    bad = ~np.isfinite(frame.to_numpy())
    if not bad.any():
        return
    rows, columns = np.nonzero(bad)
    where = [f"{names[r]!r} to prompt {frame.columns[c]!r}" for r, c in zip(rows, columns, strict=True)]  # type: ignore[call-overload]
    count = f"{len(where)} of {frame.size}"
    raise NotANumber(
        f"{model.name}: {count} rewards are not finite numbers: candidate {some(where)}. "
        "The others are kept; try dtype float32 or bfloat16.",
        frame,
    )
