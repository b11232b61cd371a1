"""The scores of a sample's words by a model in memory: the same numbers as an audit's, from the same engines."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from torch import Tensor, nn

from valuetrace.core.errors import InputError
from valuetrace.models import loading
from valuetrace.monitoring.sample import Sample
from valuetrace.monitoring.subject import Subject, untouched
from valuetrace.scoring.chat import encode_reply, render
from valuetrace.scoring.heads import Head
from valuetrace.scoring.logprobs import NotFinite, next_token_logprobs
from valuetrace.scoring.reward_model import RewardModel
from valuetrace.scoring.search import NotANumber, score_prompts
from valuetrace.scoring.spelling import spellings, word_scores

CHECKED = 4
"""Words whose rewards are computed a second time, without the shared prefix, when a model is first seen."""


class Scorer:
    """Scores ``sample`` with ``subject``, whose weights may change between two calls.

    ``words``: those that it can score: all of them with a reward model, with a language model the single tokens of its
    vocabulary. InputError for a model whose rewards the search cannot compute.
    """

    def __init__(self, subject: Subject, sample: Sample):
        self.subject, self.sample, self.words = subject, sample, sample.words
        self.prompts = dict(zip(sample.prompts["key"], sample.prompts["text"], strict=True))
        if subject.kind == "logprob":
            rows = loading.vocabulary(subject.model, subject.tokenizer)
            spelt = spellings(sample.words, subject.form)
            self.rows = rows[rows["token_decoded"].isin(spelt)]
            self.words = [word for text, word in spelt.items() if text in set(self.rows["token_decoded"])]
        else:
            self._check_engine()

    def score(self) -> tuple[pd.DataFrame, str | None]:
        """One float32 column a prompt key, one row a word; and a message where some are not finite numbers.

        The model comes back as it was (``subject.untouched``).
        """
        with untouched(self.subject.model):
            return self._logprobs() if self.subject.kind == "logprob" else self._rewards()

    def _rewards(self) -> tuple[pd.DataFrame, str | None]:
        with _one_process():
            try:
                return score_prompts(_reward_model(self.subject), self.prompts, self.words, progress=False), None
            except NotANumber as error:
                return cast(pd.DataFrame, error.scores), str(error)

    def _logprobs(self) -> tuple[pd.DataFrame, str | None]:
        model, problem = self.subject.model, None
        asked = (model, self.subject.tokenizer, self.sample.prompts, self.subject.form)
        with contextlib.redirect_stderr(_NoTerminal()):
            try:
                table = next_token_logprobs(*asked)
            except NotFinite as error:
                table, problem = error.scores, str(error)
        own = pd.concat([self.rows, table.loc[self.rows.index]], axis=1)
        own["token_id"] = own["token_id"].astype("Int64")
        scores = word_scores(own, self.words, list(self.prompts), self.subject.form)
        return scores, None if np.isfinite(scores.to_numpy()).all() else problem

    def _check_engine(self) -> None:
        """The search must agree with a plain forward pass: layers that are not plain attention (a state space, say)
        do not see the shared prefix."""
        key, prompt = next(iter(self.prompts.items()))
        few = self.words[:: max(1, len(self.words) // CHECKED)][:CHECKED]
        with untouched(self.subject.model), torch.inference_mode():
            model = _reward_model(self.subject)
            around = render(model.tokenizer, model.form, prompt)
            plain = []
            for word in few:
                ids = [*around.prefix, *encode_reply(model.tokenizer, model.form, word), *around.closing]
                ids = torch.tensor([ids], device=model.backbone.device)
                hidden = model.backbone(input_ids=ids, use_cache=False).last_hidden_state[:, -1]
                plain.append(float(model.head(hidden.to(model.head.device, model.head.dtype))))
            with _one_process(), contextlib.suppress(NotANumber):
                found = score_prompts(model, {key: prompt}, few, progress=False)[key].to_numpy()
                rounding = 8 * torch.finfo(model.backbone.dtype).eps * np.abs(plain).max()
                if np.abs(found - plain).max() > np.std(plain) / 2 + rounding:
                    raise InputError(
                        f"values: {type(self.subject.model).__name__} gives other rewards than the search finds; its "
                        "layers are no plain causal attention. Profile another architecture."
                    )


class _LiveHead(Head):
    """The model's own ``score`` module as it is now, copied in float32 (the copy is the small one)."""

    def __init__(self, score: nn.Module):
        super().__init__()
        self.score = copy.deepcopy(score).float().eval()

    def forward(self, last: Tensor, gate: Tensor | None = None) -> Tensor:
        return self.score(last)[..., 0]


def _reward_model(subject: Subject) -> RewardModel:
    model: Any = subject.model
    return RewardModel(model.base_model, _LiveHead(model.score), subject.tokenizer, subject.form, type(model).__name__)


@contextlib.contextmanager
def _one_process() -> Iterator[None]:
    """The search as of one process, whatever accelerate has set up here: the others are not in it."""
    shared = PartialState._shared_state
    kept = dict(shared)
    shared.clear()
    shared.update(num_processes=1, process_index=0, local_process_index=0, distributed_type=DistributedType.NO)
    try:
        yield
    finally:
        shared.clear()
        shared.update(kept)


class _NoTerminal:
    """stderr, where no progress bar is drawn between the trainer's own."""

    def __init__(self):
        self._to = sys.stderr

    def __getattr__(self, name: str):
        return getattr(self._to, name)

    def isatty(self) -> bool:
        return False
