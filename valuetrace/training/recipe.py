"""The parameters of a training run and of the search over its checkpoints (``training``, ``dynamics.search``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from valuetrace.core.errors import some
from valuetrace.lexicon import unrolled
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (Hu et al. 2022) on the linear layers named in ``modules``.

    top: in which share of the blocks, counted from the last.
    """

    rank: int
    alpha: int
    dropout: float
    modules: list[str]
    top: float = 1.0

    def __post_init__(self):
        if self.rank < 1 or self.alpha < 1 or not 0 <= self.dropout < 1 or not self.modules:
            raise ValueError("lora needs rank and alpha of at least 1, a dropout in [0, 1) and modules")
        if not 0 < self.top <= 1:
            raise ValueError("lora.top is a share of the blocks, above 0 and at most 1")


@dataclass(frozen=True)
class Training:
    """One run; everything but ``max_hours`` decides the weights.

    format: how a pair is put before the model; the reward is read at the last token of the conversation. objective:
    ``bradley_terry``, or ``grm`` (Yang et al. 2024) with ``text_weight`` w and ``text_beta`` β. head: ``linear``, or
    ``mlp`` (1,024 units, GRM's). start: what the head is at step 0: ``random`` with standard deviation ``head_std``, or
    ``ridge``, the linear head that is best on the frozen base under ``penalty`` (training.ridge; linear probing, then
    finetuning: Kumar et al. 2022). train_head: whether it moves with the adapters. perturbation: every weight of the
    base is multiplied by 1 + perturbation · normal first, to see whether a training repeats. batch: pairs an optimizer
    step, over all processes; minibatch: pairs a forward pass. length_window: 1 for steps of random pairs; see
    batches.plan for more. max_length: tokens of prompt and reply; longer ones lose their end, and are counted.
    checkpoint_every: optimizer steps (step 0 and the last are always kept); powers_of_two: at 1, 2, 4 … too.
    held_out_pairs: evaluated at every checkpoint. max_hours: a run that would take longer is refused.
    """

    format: Format
    objective: Literal["bradley_terry", "grm"]
    lora: Lora
    learning_rate: float
    warmup: float
    batch: int
    minibatch: int
    epochs: int
    max_length: int
    checkpoint_every: int
    held_out_pairs: int
    max_hours: float
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: float = 0.0
    max_grad_norm: float = 5.0
    head: Literal["linear", "mlp"] = "linear"
    head_std: float = 0.002
    start: Literal["random", "ridge"] = "random"
    penalty: float = 0.1
    train_head: bool = True
    perturbation: float = 0.0
    text_weight: float = 0.01
    text_beta: float = 0.1
    length_window: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    gradient_checkpointing: bool = False
    powers_of_two: bool = False
    seed: int = 1

    def __post_init__(self):
        for name in ("batch", "minibatch", "epochs", "max_length", "checkpoint_every", "held_out_pairs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.length_window < 1 or self.learning_rate <= 0 or self.max_hours <= 0:
            raise ValueError("length_window must be at least 1, learning_rate and max_hours above 0")
        if self.start == "ridge" and self.head != "linear":
            raise ValueError("start ridge needs a linear head")
        if self.penalty <= 0 or self.perturbation < 0:
            raise ValueError("penalty must be above 0, perturbation not below it")
        if not (0 <= self.warmup < 1 and 0 <= self.text_weight < 1):
            raise ValueError("warmup and text_weight lie in [0, 1)")
        if self.batch % self.minibatch:
            raise ValueError(f"batch ({self.batch}) must be a multiple of minibatch ({self.minibatch})")


@dataclass(frozen=True)
class Search:
    """What is searched (group ``dynamics.search``).

    lexicon: by name; adjectives: every prompt with one of these; checkpoints: how many in
    all, at least 2; vocabulary: every token id is scored too, for every prompt.
    """

    lexicon: str
    adjectives: list[str]
    checkpoints: int
    vocabulary: bool = False

    def __post_init__(self):
        if self.checkpoints < 2:
            raise ValueError("checkpoints must be at least 2: step 0 and the last")
        prompts = self.prompts()
        framings = prompts.drop_duplicates("adjective")["framing"].value_counts()
        unknown = [adjective for adjective in self.adjectives if adjective not in set(prompts["adjective"])]
        if unknown:
            raise ValueError(f"adjective {some(unknown)} is not in prompts/design.yaml")
        if len(framings) != 2 or framings.nunique() != 1:
            raise ValueError("adjectives must hold as many of positive as of negative framing")

    def prompts(self) -> pd.DataFrame:
        """The prompts with one of the adjectives: ``key, text, framing, …`` (``prompts.value_laden``)."""
        prompts = value_laden()
        return prompts[prompts["adjective"].isin(self.adjectives)].reset_index(drop=True)

    def words(self) -> list[str]:
        """The lexicon's words, then those of the known groups (``measures.validity``), once each."""
        listed = [unrolled.read_lexicon(name)["word"] for name in (self.lexicon, unrolled.KNOWN_GROUPS)]
        return list(dict.fromkeys(pd.concat(listed)))
