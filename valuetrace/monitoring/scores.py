"""The scores of a sample's words by a model in memory: the same numbers as an audit's, from the same engines."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import cast

import numpy as np
import pandas as pd
from accelerate import PartialState
from accelerate.utils import DistributedType

from valuetrace.models import loading
from valuetrace.monitoring.sample import Sample
from valuetrace.monitoring.subject import Subject, untouched
from valuetrace.scoring import reference
from valuetrace.scoring.candidates import read_candidates
from valuetrace.scoring.logprobs import NotFinite, next_token_logprobs
from valuetrace.scoring.reward_model import RewardModel, from_whole
from valuetrace.scoring.search import NotANumber, score_prompts
from valuetrace.scoring.spelling import spellings, word_scores


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
            with untouched(subject.model), _one_process():
                model = self._reward_model()
                self.held = reference.hold(model, self.prompts, read_candidates(model, self.words), "exact")

    def score(self) -> tuple[pd.DataFrame, str | None]:
        """One float32 column a prompt key, one row a word; and a message where some are not finite numbers.

        The model comes back as it was (``subject.untouched``).
        """
        with untouched(self.subject.model):
            return self._logprobs() if self.subject.kind == "logprob" else self._rewards()

    def _rewards(self) -> tuple[pd.DataFrame, str | None]:
        with _one_process():
            try:
                model = self._reward_model()
                return score_prompts(model, self.prompts, self.words, progress=False, held=self.held), None
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

    def _reward_model(self) -> RewardModel:
        """The model as it is now."""
        asked = self.subject
        return from_whole(asked.model, asked.tokenizer, asked.form, f"values: {type(asked.model).__name__}")


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
