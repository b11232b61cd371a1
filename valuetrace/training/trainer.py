"""trl's RewardTrainer on our batches: its loop, its optimizer step, its processes; our order and loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import torch
from transformers import TrainerCallback
from trl import RewardConfig, RewardTrainer

from valuetrace.core.errors import InputError
from valuetrace.training.batches import collate
from valuetrace.training.model import loss_of
from valuetrace.training.recipe import Training

# trl asks for a tokenizer with a padding token and writes into it; our pairs are encoded and padded without one.
_NO_TOKENIZER = SimpleNamespace(pad_token="pad", pad_token_id=0, eos_token=None, get_vocab=lambda: {"pad": 0})


class PairTrainer(RewardTrainer):
    """Trains ``model`` (model.build) on encoded pairs in the order in which they come.

    The first ``done`` of the run's optimizer steps lie behind it: ``pairs`` hold what is left. Dropout is
    seeded by the absolute step, so a resumed run draws what an undisturbed one does. ``after_step(step,
    record)`` is called after every optimizer step with the mean loss, accuracy and margin of its pairs.
    """

    def __init__(
        self,
        model: Any,
        pairs,
        params: Training,
        *,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LambdaLR,
        done: int,
        after_step: Callable[[int, dict[str, float]], None],
        scratch: str,
        callbacks: Sequence[TrainerCallback] = (),
    ):
        self.params, self.done, self.after_step = params, done, after_step
        self._seen, self._micro = cast("list[torch.Tensor]", []), 0
        super().__init__(
            model=model,
            args=_arguments(params, len(pairs) // params.batch, scratch),
            train_dataset=pairs,
            processing_class=cast(Any, _NO_TOKENIZER),
            data_collator=collate,
            optimizers=(optimizer, scheduler),
            callbacks=[*callbacks, _AfterStep(self)],  # what they record of a step is there before its checkpoint
        )

    def training_step(self, *arguments, **options):
        """trl's step, its dropout seeded by what lies behind it: the seed, the minibatch and the process."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        micro = self.done * self.params.batch // self.params.minibatch // world + self._micro
        torch.manual_seed((self.params.seed * 1_000_003 + micro) * world + rank)
        self._micro += 1
        return super().training_step(*arguments, **options)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The objective's mean over the pairs of a batch, a scalar (nats); loss, accuracy and margin are kept."""
        out = model(**inputs)
        loss = loss_of(out, self.params)
        margin = (out["rewards"][:, 0] - out["rewards"][:, 1]).detach()
        self._seen.append(torch.stack([loss.detach(), (margin > 0).float().mean(), margin.mean()]))
        return (loss, out) if return_outputs else loss

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        """Nothing: every step is recorded by ``after_step``."""

    def end_of_step(self, learning_rate: float) -> None:
        """Average what this step's passes saw over all processes and hand it on."""
        seen = torch.stack(self._seen).mean(0)
        self._seen.clear()
        loss, accuracy, margin = self.accelerator.reduce(seen, "mean").tolist()
        if not math.isfinite(loss):
            raise InputError(
                f"the loss is {loss} at step {self.done + self.state.global_step}. Lower training.learning_rate, or "
                "train in float32; earlier checkpoints are whole."
            )
        record = {"loss": loss, "accuracy": accuracy, "margin": margin, "learning_rate": learning_rate}
        self.after_step(self.done + self.state.global_step, record)


class _AfterStep(TrainerCallback):
    def __init__(self, trainer: Any):
        self.trainer = trainer

    def on_step_end(self, args, state, control, **_):
        # the scheduler has moved on: the rate that this step used is the one before
        self.trainer.end_of_step(self.trainer.used_rate)

    def on_pre_optimizer_step(self, args, state, control, **_):
        self.trainer.used_rate = self.trainer.optimizer.param_groups[0]["lr"]


def _arguments(params: Training, steps: int, scratch: str) -> RewardConfig:
    """trl's arguments; what trl 1.16 turns on by default (bf16, gradient checkpointing, dropping long pairs,
    no dropout) is set to what the parameters say."""
    from accelerate import PartialState

    world = PartialState().num_processes
    return RewardConfig(
        output_dir=scratch,
        use_cpu=not torch.accelerator.is_available(),
        per_device_train_batch_size=params.minibatch,
        gradient_accumulation_steps=params.batch // params.minibatch // world,
        max_steps=steps,
        max_grad_norm=params.max_grad_norm,
        bf16=params.precision == "bfloat16",
        gradient_checkpointing=params.gradient_checkpointing,
        max_length=None,
        disable_dropout=False,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        save_strategy="no",
        eval_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=params.seed,
        dataloader_num_workers=0,
        dataloader_pin_memory=torch.accelerator.is_available(),
        ddp_find_unused_parameters=False,
    )
