"""``valuetrace.profile`` of a model in memory, and ``valuetrace.ValueProfileCallback``, which takes it during training.

The sample of words and prompts is drawn once, so that all steps are comparable. A profile is taken at the start, at the
end, and in between every ``every`` steps. The time spent on profiles stays within ``share`` of the time since training
began: a profile that would exceed it waits.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import nn
from transformers import Trainer, TrainerCallback

from valuetrace.core import keys
from valuetrace.core.errors import InputError
from valuetrace.measures import validity
from valuetrace.monitoring import sample as samples
from valuetrace.monitoring.record import Record
from valuetrace.monitoring.sample import Monitoring
from valuetrace.monitoring.scores import Scorer
from valuetrace.monitoring.subject import subject
from valuetrace.monitoring.summary import summarise
from valuetrace.scoring.chat import Format

if TYPE_CHECKING:  # seconds to import
    from valuetrace.training.run import Watch

WORDS = {"reward": 24, "logprob": None}
"""Words a construct by default; more words cost a language model nothing, more prompts do."""

RECORD = "values.csv"
"""The record of a training, beside its checkpoints."""


def profile(
    model: nn.Module,
    tokenizer: Any,
    *,
    format: Format | str | None = None,
    lexicon: str | Path | pd.DataFrame = "big_two_nouns",
    prompts: int | pd.DataFrame = 3,
    words: int | None = None,
    seed: int = 1,
) -> dict:
    """The value profile of ``model``: a reward model with one output or a causal language model, adapted (PEFT) or not.

    format: how a question is put to it (``scoring.chat.Format``, or a text with ``{prompt}``); by default its chat
    template, or ``Question: …`` where it has none. lexicon: by name, file, or a table ``word, construct``. prompts: so
    many of the 54 a framing (27: all of them), or a table ``key, text, framing``. words: at most so many a construct.

    Returns ``rows`` (construct × framing: median_rank, percentile), ``reading`` (framing agreement, known groups),
    ``refused`` and ``needs`` (None where the model reads the prompts: read no percentile otherwise), ``means`` (word →
    mean score, by framing) and what they are of. The model comes back as it was. InputError for what has no profile.
    """
    asked = subject(model, tokenizer, format)
    drawn = samples.draw(lexicon, prompts, words, seed)
    scores, problem = Scorer(asked, drawn).score()
    if problem:
        warnings.warn(problem, stacklevel=2)
    return summarise(scores, drawn, asked.kind, validity.rule())


class ValueProfileCallback(TrainerCallback):
    """Logs ``values/<construct>/<framing>`` (percentile of the median word, 50 is chance), ``values/known_groups``
    (virtues less vices, positive less negative prompts: how far the model reads the question at all; look here
    first), ``values/framing_across``, ``values/correlation_with_start`` and ``values/seconds``.

    ::

        trainer.add_callback(ValueProfileCallback(trainer, every=50))

    trainer: whose reporting (tensorboard, wandb, trackio) is used; without one there is the CSV alone. share: of the
    training's time, in (0, 1]; 1 is no limit, and the record then depends on no clock. tokenizer: the trainer's
    ``processing_class`` by default. format, lexicon, prompts, words, seed: as for ``valuetrace.profile``. csv: by
    default ``values.csv`` in the trainer's output_dir. done: steps behind a training that counts anew.

    The model, its gradients and all random states come back untouched: weights end the same to the bit. Of several
    processes the main one profiles. What cannot be profiled is an InputError before training starts; what goes wrong
    later is warned of once, and the training goes on.
    """

    def __init__(
        self,
        trainer: Trainer | None = None,
        *,
        every: int = 50,
        share: float = 0.02,
        tokenizer: Any = None,
        format: Format | str | None = None,
        lexicon: str | Path | pd.DataFrame = "big_two_nouns",
        prompts: int | pd.DataFrame = 3,
        words: int | None = None,
        seed: int = 1,
        csv: str | Path | None = None,
        done: int = 0,
    ):
        if every < 1:
            raise InputError(f"every={every}: give 1 step or more.")
        if trainer is not None and not isinstance(trainer, Trainer):
            raise InputError(f"trainer: expected a transformers.Trainer, got {type(trainer).__name__}.")
        if not 0 < share <= 1:
            raise InputError(f"share={share}: give a part of the training's time above 0 and up to 1 (no limit).")
        self.trainer, self.every, self.share, self.tokenizer, self.format = trainer, every, share, tokenizer, format
        self.asked = (lexicon, prompts, words, seed)
        self.csv, self.done = csv, done
        self.rule = validity.rule()

    def on_train_begin(self, args, state, control, model=None, processing_class=None, **_):
        """Draw the sample and take the first profile. InputError for what cannot be profiled."""
        tokenizer = self.tokenizer if self.tokenizer is not None else processing_class
        who = subject(model, tokenizer, self.format)  # in every process: all of them end here, or none
        if not state.is_world_process_zero:
            return
        lexicon, prompts, words, seed = self.asked
        sample = samples.draw(lexicon, prompts, WORDS[who.kind] if words is None else words, seed)
        self.record = Record(Path(self.csv or Path(args.output_dir, RECORD)), self.done + state.global_step)
        self.began, self.spent, self.taken, self.failed = time.perf_counter(), 0.0, 0, False
        self.scorer, self.due, self.last = Scorer(who, sample), False, None
        self._profile(state, control, self.began)
        apart = "" if self.share == 1 else f", so at most one in {self.cost / self.share:.0f} s (share {self.share:g})"
        size = f"{len(sample.prompts)} prompts × {len(self.scorer.words)} words every {self.every} steps"
        _say(f"{size}, into {self.record.path}; the first took {self.cost:.1f} s{apart}")

    def on_step_end(self, args, state, control, **_):
        """Take a profile where one is due and affordable, and after the last step."""
        if not state.is_world_process_zero:
            return
        self.due |= (self.done + state.global_step) % self.every == 0
        ends = control.should_training_stop or state.global_step >= state.max_steps
        if ends or (self.due and self._affordable()):
            self._try(state, control)

    def on_train_end(self, args, state, control, **_):
        """Take the last profile where training stopped between two steps, and print the time spent."""
        if not state.is_world_process_zero:
            return
        if self.last != state.global_step and not args.load_best_model_at_end:  # stopped where no step could know
            self._try(state, control)
        took = time.perf_counter() - self.began
        _say(f"{self.taken} profiles took {self.spent:.1f} s, {100 * self.spent / took:.1f} % of {took:.0f} s")

    def _affordable(self) -> bool:
        """Whether another profile, as long as the last, keeps within the share."""
        took = time.perf_counter() - self.began
        return self.share == 1 or self.spent + self.cost <= self.share * (took + self.cost)

    def _try(self, state, control) -> None:
        try:
            self._profile(state, control, time.perf_counter())
        except Exception as error:  # hours of somebody's training hang on it
            if not self.failed:
                why = f"{type(error).__name__}: {error}"
                warnings.warn(
                    f"values: no profile at step {state.global_step} ({why}). Training goes on.", stacklevel=2
                )
            self.failed, self.due, self.last = True, False, state.global_step

    def _profile(self, state, control, began: float) -> None:
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()  # the time of a training step is not ours
        scores, problem = self.scorer.score()
        if problem:
            warnings.warn(f"values: step {state.global_step}: {problem}", stacklevel=2)
        found = summarise(scores, self.scorer.sample, self.scorer.subject.kind, self.rule)
        self.cost = time.perf_counter() - began
        self.spent, self.taken = self.spent + self.cost, self.taken + 1
        self.due, self.last = False, state.global_step
        self._log(self.record.add(self.done + state.global_step, found, self.cost), control)

    def _log(self, scalars: dict[str, float], control) -> None:
        """By transformers' own ``log``: trl's closes its running means at each call, and a call clears the flag that
        makes the trainer log this step's loss."""
        if self.trainer is not None:
            wanted = control.should_log
            Trainer.log(self.trainer, scalars)
            control.should_log = wanted


def watch(settings: Monitoring, lexicon: str, form: Format) -> Watch:
    """The callback of our own training (``training.run``), with a key of everything that decides its record.

    form: the format of the training's pairs. The record is ``RECORD`` in the run's folder. ``share`` is 1, so that the
    record depends on no clock.
    """
    from valuetrace.training.run import Watch

    asked: dict = {"lexicon": lexicon, "prompts": settings.prompts, "words": settings.words, "seed": settings.seed}
    drawn = samples.draw(**asked)
    decided_by = (settings, form, validity.rule(), drawn.prompts, drawn.lexicon, drawn.known)

    def callback(tokenizer, folder, done: int) -> ValueProfileCallback:
        options: dict = {"every": settings.every, "share": 1.0, "format": form, "csv": folder / RECORD}
        return ValueProfileCallback(tokenizer=tokenizer, done=done, **asked, **options)

    return Watch(keys.key("valuetrace.monitoring.callback", *decided_by), callback)


def _say(text: str) -> None:
    print(f"values: {text}", file=sys.stderr, flush=True)
