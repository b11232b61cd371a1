"""Reward models and language models with one interface: load, count, time a sample, score.

A scorer has ``candidates`` (how many), ``tokens`` (all that the run puts through the model), ``activations()`` and
``table_bytes()``. ``seconds()`` runs a part of the work and estimates how long all of it takes. ``score()`` returns the
score table and a message where some scores are not finite.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch

from valuetrace.core.errors import InputError, some
from valuetrace.models import loading
from valuetrace.models.configs import sizes
from valuetrace.models.rows import DTYPES
from valuetrace.scoring import reference
from valuetrace.scoring.candidates import read_candidates
from valuetrace.scoring.chat import render
from valuetrace.scoring.logprobs import NotFinite, cut_batches, next_token_logprobs
from valuetrace.scoring.reward_model import load_reward_model
from valuetrace.scoring.search import CPU_TOKENS, GPU_TOKENS, NotANumber, score_prompts
from valuetrace.scoring.spelling import CASES
from valuetrace.subjects.inputs import Job, find_device

BATCH_TOKENS = 1024  # of prompts, a batch of a language model
SAMPLE = 512  # candidates scored to time a reward model


class Rewards:
    """A reward model and the words, or token ids, that it scores as replies."""

    def __init__(self, job: Job):
        self.job, request = job, job.request
        asked: dict = {"output": request.output, "position": request.position, **_options(job)}
        if job.adapter is None:
            self.model = load_reward_model(job.folder, job.form, head=request.head, **asked)
        else:
            self.model = job.adapter.load(job.folder, job.form, **asked)
        self.backbone, self.tokenizer = self.model.backbone, self.model.tokenizer
        self.unnamed = _unnamed_rows(job, self.backbone, self.tokenizer)
        if job.request.vocabulary:
            self.rows = loading.vocabulary(self.backbone, self.tokenizer).head(len(self.tokenizer))
            self.names = list(self.rows["token_id"])
        else:
            words = [*job.lexicon["word"], *job.known["word"]]  # the known groups are read, but not ranked
            self.names = list(dict.fromkeys(map(CASES[job.request.case], words)))
            self.rows = pd.DataFrame({"token_id": pd.NA, "token_name": self.names, "token_decoded": self.names})
        read = read_candidates(self.model, self.names)
        lengths = np.array([len(ids) for ids in read.ids])
        around = _conversations(job, self.tokenizer)
        prefixes = {key: len(conversation.prefix) for key, conversation in around.items()}
        closing = max(len(conversation.closing) for conversation in around.values())
        _check_context(job, {key: n + int(lengths.max()) + closing for key, n in prefixes.items()}, self.model.context)
        self.prompts = dict(zip(job.prompts["key"], job.prompts["text"], strict=True))
        self.held = reference.hold(self.model, self.prompts, read, request.tokenisation)
        self.how: dict = {"batch_size": request.batch_size, "tokenisation": request.tokenisation, "held": self.held}
        self.longest = max(prefixes, key=cast(Any, prefixes.get))
        self.tokens = sum(prefixes.values()) + len(prefixes) * int((lengths + closing).sum())

    @property
    def candidates(self) -> int:
        """How many words or token ids are scored."""
        return len(self.names)

    def activations(self) -> int:
        """Bytes of a batch as the search cuts it (``scoring.search``): on a GPU at most half of what is free."""
        size, device = sizes(self.backbone.config), self.backbone.device
        token = 4 * (10 * size.hidden + 4 * size.inner)
        if device.type != "cuda":
            return CPU_TOKENS * token
        return min(GPU_TOKENS * token, torch.cuda.mem_get_info(device)[0] // 2)

    def table_bytes(self) -> int:
        """Bytes of the score table and its copies."""
        return 12 * self.candidates * len(self.job.prompts)

    def seconds(self) -> float:
        """An estimate from the longest prompt: all of a few candidates, or a sample of many.

        What a prompt costs before its candidates is taken from a run of one candidate, the first run warms up.
        """
        prompt = {self.longest: self.prompts[self.longest]}
        sample = self.names
        if len(sample) > SAMPLE:
            sample = [sample[i] for i in np.random.default_rng(0).choice(len(sample), SAMPLE, replace=False)]
        self._run(prompt, sample[:1])
        one, many = self._run(prompt, sample[:1]), self._run(prompt, sample)
        each = max(many - one, 0) / max(len(sample) - 1, 1)
        return len(self.job.prompts) * (one + each * (len(self.names) - 1))

    def score(self, shards: Path, progress: bool) -> tuple[pd.DataFrame, str | None]:
        """Rows of ``tables.read_scores``, a float32 column a prompt; ``shards``: the folder that a killed run reads."""
        problem = None
        try:
            scores = score_prompts(self.model, self.prompts, self.names, folder=shards, progress=progress, **self.how)
        except NotANumber as error:
            scores, problem = cast(pd.DataFrame, error.scores), str(error)
        table = pd.concat([self.rows, scores.reset_index(drop=True)], axis=1)
        return table.astype({"token_id": "Int64"}), problem

    def _run(self, prompt: dict[str, str], names: list) -> float:
        start = time.perf_counter()
        with contextlib.suppress(NotANumber):  # the run itself reports it
            score_prompts(self.model, prompt, names, progress=False, **self.how)
        return time.perf_counter() - start


class LogProbabilities:
    """A language model, whose whole vocabulary gets a log-probability after each prompt."""

    def __init__(self, job: Job):
        self.job = job
        if job.adapter is None:
            self.backbone: Any = loading.load(job.folder, **_options(job))
            self.tokenizer: Any = loading.load_tokenizer(job.folder)
        else:
            self.backbone, self.tokenizer = job.adapter.merged(job.folder, **_options(job))
        self.unnamed = _unnamed_rows(job, self.backbone, self.tokenizer)
        self.lengths = {key: len(around.prefix) for key, around in _conversations(job, self.tokenizer).items()}
        context = loading.context(self.backbone)
        _check_context(job, {key: length + 1 for key, length in self.lengths.items()}, context)
        self.tokens = sum(self.lengths.values())
        size = job.request.batch_size
        self.batch_tokens = BATCH_TOKENS if size is None else size * max(self.lengths.values())

    @property
    def candidates(self) -> int:
        """How many tokens the vocabulary has."""
        return loading.rows(self.backbone)

    def activations(self) -> int:
        """Bytes of the largest batch's layers and logits."""
        size, item = sizes(self.backbone.config), self.backbone.dtype.itemsize
        batches = cut_batches(self.lengths, self.batch_tokens)
        tokens = max(len(batch) * self.lengths[batch[0]] for batch in batches)
        logits = max(map(len, batches)) * self.candidates * (item + 8)
        return tokens * item * (10 * size.hidden + 4 * size.inner) + logits

    def table_bytes(self) -> int:
        """Bytes of the score table, its copies, the ranks of one framing and the tokens' names."""
        return self.candidates * (20 * len(self.job.asked()) + 300)

    def seconds(self) -> float:
        """An estimate from the largest batch, after one prompt to warm up."""
        batch = max(cut_batches(self.lengths, self.batch_tokens), key=lambda keys: len(keys) * self.lengths[keys[0]])
        self._run(batch[:1])
        start = time.perf_counter()
        self._run(batch)
        return (time.perf_counter() - start) * self.tokens / (len(batch) * self.lengths[batch[0]])

    def score(self, shards: Path, progress: bool) -> tuple[pd.DataFrame, str | None]:
        """As of ``Rewards``: a row a token, log-probabilities in nats; nothing is kept in ``shards``."""
        rows = loading.vocabulary(self.backbone, self.tokenizer)
        scores = self._run(list(self.job.asked()["key"]))
        table = pd.concat([rows, scores], axis=1).head(len(self.tokenizer)).astype({"token_id": "Int64"})
        bad = ~np.isfinite(table[scores.columns].to_numpy())
        if not bad.any():
            return table, None
        where = [f"{table['token_decoded'].iloc[r]!r} to prompt {scores.columns[c]!r}" for r, c in np.argwhere(bad)[:5]]
        return table, (
            f"{self.job.name}: {int(bad.sum())} of {bad.size} log-probabilities are not finite numbers: candidate "
            f"{some(where)}. The others are kept; try dtype float32 or bfloat16."
        )

    def _run(self, keys: list[str]) -> pd.DataFrame:
        prompts = self.job.asked().set_index("key").loc[keys].reset_index()
        form, size = self.job.form, self.batch_tokens
        try:
            return next_token_logprobs(self.backbone, self.tokenizer, prompts, form, batch_tokens=size)
        except NotFinite as error:  # ``score`` names them, in the tokenizer's words
            return error.scores


def load(job: Job) -> Rewards | LogProbabilities:
    """The model of a job, loaded."""
    return Rewards(job) if job.kind == "reward" else LogProbabilities(job)


def _options(job: Job) -> dict:
    """How weights are loaded: dtype, and one device or all."""
    device = find_device(job.request.device)
    return {"dtype": dtype_of(job)} | ({"device_map": "auto"} if device is None else {"device": device})


def dtype_of(job: Job) -> str:
    """The dtype asked for; else the weights' own on an accelerator, float32 on a CPU."""
    if job.request.dtype is not None:
        return job.request.dtype
    config = loading.read_config(job.folder)
    own = config.get("dtype", config.get("torch_dtype", "float32")).removeprefix("torch.")
    on_cpu = job.request.device == "cpu" or loading.best_device().type == "cpu"
    return own if own in DTYPES and not on_cpu else "float32"


def _conversations(job: Job, tokenizer) -> dict:
    try:
        return {row.key: render(tokenizer, job.form, row.text) for row in cast(Any, job.asked().itertuples())}
    except InputError as error:
        raise InputError(f"{job.name}: {error}. Choose a text format (--format raw).") from None


def _check_context(job: Job, lengths: dict[str, int], context: int | None) -> None:
    for key, length in lengths.items():
        if context is not None and length > context:
            raise InputError(
                f"{job.name}: prompt {key} has {length} tokens with its longest reply, but the model reads at most "
                f"{context}. Shorten the prompt, or run without it."
            )


def _unnamed_rows(job: Job, model, tokenizer) -> int:
    """Rows of the embedding that no token has. InputError as of ``loading.unembedded``."""
    try:
        loading.unembedded(model, tokenizer)
    except InputError as error:
        raise InputError(f"{job.name}: {error} Put the model's own tokenizer into {job.folder}.") from None
    return max(loading.rows(model) - len(tokenizer), 0)
