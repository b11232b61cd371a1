"""``valuetrace.ValueProfileCallback``: how values move while anyone's model is trained.

What it costs. The sample of words and prompts is drawn once, so that all steps are comparable; a profile is taken at
the start and at the end, and in between every ``every`` steps, as long as the time spent on profiles stays within
``share`` of the time since training began: one that would exceed it waits until it does not.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import Trainer, TrainerCallback

from valuetrace.core.errors import InputError
from valuetrace.measures import validity
from valuetrace.monitoring import sample as samples
from valuetrace.monitoring.record import Record
from valuetrace.monitoring.scores import Scorer
from valuetrace.monitoring.subject import subject
from valuetrace.monitoring.summary import summarise
from valuetrace.scoring.chat import Format

WORDS = {"reward": 24, "logprob": None}
"""Words a construct unless said otherwise; a language model's cost nothing, its prompts do."""


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
            raise InputError(f"trainer: {type(trainer).__name__} is none of transformers'. Leave it out (CSV alone).")
        if not 0 < share <= 1:
            raise InputError(f"share={share}: give a part of the training's time above 0 and up to 1 (no limit).")
        self.trainer, self.every, self.share, self.tokenizer, self.format = trainer, every, share, tokenizer, format
        self.asked = (lexicon, prompts, words, seed)
        self.csv, self.done = csv, done
        self.rule = validity.rule()

    def on_train_begin(self, args, state, control, model=None, processing_class=None, **_):
        tokenizer = self.tokenizer if self.tokenizer is not None else processing_class
        who = subject(model, tokenizer, self.format)  # in every process: all of them end here, or none
        if not state.is_world_process_zero:
            return
        lexicon, prompts, words, seed = self.asked
        sample = samples.draw(lexicon, prompts, WORDS[who.kind] if words is None else words, seed)
        self.record = Record(Path(self.csv or Path(args.output_dir, "values.csv")), self.done + state.global_step)
        self.began, self.spent, self.taken, self.failed = time.perf_counter(), 0.0, 0, False
        self.scorer, self.due, self.last = Scorer(who, sample), False, None
        self._profile(state, control, self.began)
        apart = "" if self.share == 1 else f", so at most one in {self.cost / self.share:.0f} s (share {self.share:g})"
        size = f"{len(sample.prompts)} prompts × {len(self.scorer.words)} words every {self.every} steps"
        _say(f"{size}, into {self.record.path}; the first took {self.cost:.1f} s{apart}")

    def on_step_end(self, args, state, control, **_):
        if not state.is_world_process_zero:
            return
        self.due |= (self.done + state.global_step) % self.every == 0
        ends = control.should_training_stop or state.global_step >= state.max_steps
        if ends or (self.due and self._affordable()):
            self._try(state, control)

    def on_train_end(self, args, state, control, **_):
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


def _say(text: str) -> None:
    print(f"values: {text}", file=sys.stderr, flush=True)
