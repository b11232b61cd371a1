"""Pairs a second of reward-model training, beside trl's RewardTrainer on the same pairs, in one run.

Three ways, the same base, adapters, first weights, learning rate and 16 pairs a step, float32 weights:
  defaults  trl as it comes: random order, two padded conversations a pair, bfloat16 autocast, gradient
            checkpointing
  plain     trl with both turned off and our order of pairs, so that its losses can be held against ours step
            by step
  ours      minibatches of 4 pairs of like length, the prompt shared by both replies

The first step of each is left out. Beside wall time stands the time of all cores ("CPU"), which other
programs on the machine change less; set OMP_NUM_THREADS=1 there. Needs data/preferences/ (stages/preferences.py).
Run: python benchmarks/training.py [MODEL_FOLDER [STEPS]]
"""

import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import RewardConfig, RewardTrainer

from valuetrace.core import settings
from valuetrace.models import loading
from valuetrace.tables import evenly_spaced
from valuetrace.training import Lora, Training, batches, model
from valuetrace.training.trainer import PairTrainer

TEMPLATE = "Question: {prompt}\nAnswer:"
PARAMS = settings.build(
    Training,
    {
        "format": {"kind": "text", "template": TEMPLATE, "space": True, "closing": "eos"},
        "objective": "bradley_terry",
        "lora": dataclasses.asdict(Lora(16, 32, 0.0, ["q_proj", "k_proj", "v_proj", "o_proj"])),
        "learning_rate": 0.0005,
        "warmup": 0.0,
        "schedule": "constant",
        "batch": 16,
        "minibatch": 4,
        "epochs": 1,
        "max_length": 256,
        "checkpoint_every": 1000,
        "held_out_pairs": 1,
        "max_hours": 100.0,
    },
    "benchmark",
)


class Clock(TrainerCallback):
    """Wall and CPU seconds at the end of every step, and trl's losses."""

    def __init__(self):
        self.ends, self.losses = [], []

    def on_step_end(self, *_, **__):
        self.ends.append((time.perf_counter(), time.process_time()))

    def on_log(self, args, state, control, logs=None, **_):
        if "loss" in (logs or {}):
            self.losses.append(logs["loss"])


def ours(base: Path, pairs: pd.DataFrame, plan: np.ndarray) -> Clock:
    tokenizer = loading.load_tokenizer(base)
    built = model.build(base, PARAMS)
    encoded, _ = batches.encode(pairs, tokenizer, PARAMS.format, PARAMS.max_length)
    optimizer = torch.optim.AdamW(
        [p for p in built.parameters() if p.requires_grad], lr=PARAMS.learning_rate, weight_decay=0
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    clock = Clock()
    with tempfile.TemporaryDirectory() as scratch:
        trainer = PairTrainer(
            built,
            Dataset.from_dict(encoded).select(plan.ravel()),
            PARAMS,
            optimizer=optimizer,
            scheduler=scheduler,
            done=0,
            after_step=lambda step, record: clock.losses.append(record["loss"]),
            scratch=scratch,
        )
        trainer.add_callback(clock)
        trainer.train()
    return clock


def trls(base: Path, pairs: pd.DataFrame, plan: np.ndarray, **options) -> Clock:
    from peft import get_peft_model

    tokenizer = loading.load_tokenizer(base)
    with torch.random.fork_rng():  # the same first weights as model.build draws
        plain = model.load_base(base, head="linear", dtype="float32")
        torch.manual_seed(PARAMS.seed)
        model.draw_head(cast(Any, plain.score), PARAMS.head_std)
        built = get_peft_model(plain, model.lora_config(PARAMS, plain.config.num_hidden_layers))
    chosen = pairs.iloc[plan.ravel()]
    texts = {"prompt": [TEMPLATE.format(prompt=prompt) for prompt in chosen["prompt"]]}
    texts |= {name: [f" {text}" for text in chosen[name]] for name in ("chosen", "rejected")}
    clock = Clock()
    with tempfile.TemporaryDirectory() as scratch:
        arguments = RewardConfig(
            output_dir=scratch,
            per_device_train_batch_size=PARAMS.batch,
            max_steps=len(plan),
            learning_rate=PARAMS.learning_rate,
            lr_scheduler_type="constant",
            max_grad_norm=PARAMS.max_grad_norm,
            logging_steps=1,
            save_strategy="no",
            use_cpu=not torch.accelerator.is_available(),  # or trl refuses its own bfloat16 default
            report_to="none",
            disable_tqdm=True,
            **options,
        )
        RewardTrainer(
            built, arguments, train_dataset=Dataset.from_dict(texts), processing_class=tokenizer, callbacks=[clock]
        ).train()
    return clock


def main(folder: str = "data/models/smollm2-135m-instruct", steps: str = "8") -> None:
    base, count = Path(folder), int(steps) * PARAMS.batch
    pairs = pd.read_parquet("data/preferences/train.parquet")
    pairs = pairs.iloc[evenly_spaced(len(pairs), count)].reset_index(drop=True)
    plan = batches.plan(batches.characters(pairs), PARAMS.batch, 1, PARAMS.length_window, PARAMS.seed)
    plain = {"bf16": False, "gradient_checkpointing": False, "train_sampling_strategy": "sequential"}
    clocks = {
        "defaults": trls(base, pairs, plan),
        "plain": trls(base, pairs, plan, **plain),
        "ours": ours(base, pairs, plan),
    }
    print(f"{base.name}, {count} pairs, {torch.get_num_threads()} threads")
    print(f"{'':10}{'pairs/s':>10}{'CPU s/pair':>12}{'ratio':>8}{'CPU ratio':>11}   loss: first, last quarter")
    speeds = {}
    for name, clock in clocks.items():
        wall, cpu = np.subtract(clock.ends[-1], clock.ends[0]) / (PARAMS.batch * (len(plan) - 1))
        speeds[name] = wall, cpu
        quarter = max(1, len(plan) // 4)
        first, last = np.mean(clock.losses[:quarter]), np.mean(clock.losses[-quarter:])
        ratios = [speeds["defaults"][i] / speeds[name][i] for i in (0, 1)]
        print(f"{name:10}{1 / wall:10.2f}{cpu:12.3f}{ratios[0]:8.2f}{ratios[1]:11.2f}   {first:.4f}, {last:.4f}")
    apart = np.abs(np.subtract(clocks["plain"].losses, clocks["ours"].losses)).max()
    print(f"largest difference of a step's loss, plain and ours: {apart:.1e}")


if __name__ == "__main__":
    main(*sys.argv[1:])
