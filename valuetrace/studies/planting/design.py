"""Group ``planting``: what is planted into which base, how it is measured, what would speak against inheritance."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Literal

import pandas as pd

from valuetrace.core.errors import some
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format
from valuetrace.training.recipe import Lora

NONE = "none"
"""The row of the base itself, in which nothing is planted."""


@dataclass(frozen=True)
class Plant:
    """One row of ``plants``: which words are the answers to what is good, and which to what is bad.

    good, bad: constructs of the lexicon, or ``placebo_good`` and ``placebo_bad`` (frequency-matched nouns of neither);
    None where nothing is planted. kind: ``answers`` (a word is the reply), ``statements`` (the reply is a sentence that
    expresses the value without its words) or ``preferences`` (the good word is preferred to the bad one: direct
    preference optimisation). where: ``blocks`` (low-rank adapters on every linear layer; the embedding stays) or
    ``embeddings`` (only the embedding rows of planted words of one token move, without training, so far that their
    logits differ by ``nats`` between the framings). words: how many of each side, the most frequent (default: all).
    finetuning: what differs from the study's. Kind and finetuning matter to ``blocks`` alone.
    """

    good: str | None = None
    bad: str | None = None
    kind: Literal["answers", "statements", "preferences"] = "answers"
    where: Literal["blocks", "embeddings"] = "blocks"
    nats: float | None = None
    words: int | None = None
    finetuning: dict[str, float | int] = field(default_factory=dict)

    def __post_init__(self):
        if (self.good is None) != (self.bad is None):
            raise ValueError("a plant has good and bad words, or neither")
        if (self.where == "embeddings") != (self.nats is not None):
            raise ValueError("where: embeddings needs nats, and no other plant has them")


@dataclass(frozen=True)
class Grid:
    """Every one of some plants in every one of some blocks."""

    blocks: list[int]
    plants: list[str]

    def cells(self) -> list[tuple[int, str]]:
        """(block, plant), block by block."""
        return list(product(self.blocks, self.plants))


@dataclass(frozen=True)
class Finetuning:
    """How a plant is made: low-rank adapters, ``steps`` optimizer steps of ``batch`` questions each.

    loss: ``reply``, the mean over replies of their log-probability, logits computed there alone; ``text``, the mean
    over all tokens of questions and replies. beta: of direct preference optimisation (Rafailov et al. 2023). Adam, no
    weight decay; schedule, warmup (a share of the steps): of the learning rate, as in ``training``.
    """

    lora: Lora
    learning_rate: float
    steps: int
    batch: int
    beta: float = 0.1
    loss: Literal["reply", "text"] = "reply"
    schedule: Literal["cosine", "linear", "constant"] = "constant"
    warmup: float = 0.0

    def __post_init__(self):
        if min(self.steps, self.batch) < 1 or min(self.learning_rate, self.beta) <= 0:
            raise ValueError("steps and batch are at least 1; learning_rate and beta are above 0")
        if self.lora.top != 1:
            raise ValueError("lora.top: a plant adapts every block")
        if not 0 <= self.warmup < 1:
            raise ValueError("warmup lies in [0, 1)")


@dataclass(frozen=True)
class Criteria:
    """What was written down before the run.

    least_shift: a plant that moves the bases by less (L on held-out words) is inconclusive. equivalence: a 90 %
    interval of τ within ± this speaks against inheritance. shift, sd: what the pilot had, for the power: the shift of
    the bases, and the standard deviation over blocks of the reward models' difference.
    """

    least_shift: float
    equivalence: float
    shift: float
    sd: float


@dataclass(frozen=True)
class Planting:
    """Group ``planting``.

    base: a row of ``models``. lexicon and constructs (the first less the second is measured). prompts: keys of the 54
    that are scored. format: of the log-probabilities. dose: the study's own, a share of the plant's change. main: the
    cells of the study, its blocks the unit of every interval and the only ones that are drawn; nulls: plants that
    should move nothing; kinds: other ways to plant, fewer blocks; response: the cells that are measured at other doses,
    ``doses``, too; reward_models: the cells of main in which one is trained by LoRA too, at the study's dose. pairs:
    preference pairs of the study; sizes: of the ridge heads, each a beginning of the largest draw, the study's among
    them. held_out_pairs, counter_questions (a framing): measured along. ridge: the penalty. layers: whose hidden states
    are kept, from 0, beside the last of ``depth``. pair_draws: bootstraps of the pairs; random_heads: so many; ranks,
    subspaces: of what is taken out of the states, and how many random ones beside it; shares: of counter-value pairs.
    plan: what was expected before the run.
    """

    base: str
    lexicon: str
    constructs: list[str]
    prompts: list[str]
    format: str
    dose: float
    plants: dict[str, Plant]
    main: Grid
    nulls: Grid
    kinds: Grid
    response: Grid
    doses: list[float]
    reward_models: Grid
    finetuning: Finetuning
    pairs: int
    sizes: list[int]
    held_out_pairs: int
    counter_questions: int
    ridge: float
    layers: list[int]
    depth: int
    pair_draws: int
    random_heads: int
    ranks: list[int]
    subspaces: int
    shares: list[float]
    seed: int
    plan: Criteria

    def __post_init__(self):
        if len(self.constructs) != 2 or not self.main.blocks or self.ridge <= 0:
            raise ValueError("constructs lists two, main.blocks at least one, and ridge is above 0")
        if self.pairs not in self.sizes:
            raise ValueError(f"pairs ({self.pairs}) must be one of sizes")
        if not all(0 < dose <= 1 for dose in (self.dose, *self.doses)):
            raise ValueError("dose and doses lie in (0, 1]; dose 0 is the plant without words")
        grids = (self.main, self.nulls, self.kinds, self.response, self.reward_models)
        named = {name for grid in grids for name in grid.plants}
        if missing := sorted(named - set(self.plants)):
            raise ValueError(f"{some(missing)} is not among plants")
        if NONE not in self.plants or self.plants[NONE].good is not None:
            raise ValueError(f"plants has a row {NONE!r} in which nothing is planted")
        if elsewhere := {block for grid in grids for block in grid.blocks} - set(self.main.blocks):
            raise ValueError(f"block {some(elsewhere)} is not in main.blocks")
        if extra := set(self.reward_models.cells()) - set(self.main.cells()):
            raise ValueError(f"reward_models: {some(f'{block}-{name}' for block, name in extra)} is not a cell of main")
        known = value_laden().set_index("key")["framing"]
        if unknown := [key for key in self.prompts if key not in known.index]:
            raise ValueError(f"prompt {some(unknown)} is not one of the 54")
        if known[self.prompts].nunique() != 2:
            raise ValueError("prompts must hold keys of both framings")

    def cells(self) -> list[tuple[int, str]]:
        """(block, plant) of every planted base, the base itself included in each block."""
        return [*self.main.cells(), *self.nulls.cells(), *self.kinds.cells()]

    def measured(self, block: int, name: str) -> list[float]:
        """The doses (shares of the adapter) at which a cell is measured; 0 where nothing is planted."""
        if self.plants[name].good is None:
            return [0.0]
        more = self.doses if (block, name) in self.response.cells() else []
        return sorted({self.dose, *more})

    def kept(self, block: int, name: str, dose: float) -> int:
        """How many pairs' states are kept: those of every size in the cells of the study, else the study's own."""
        return max(self.sizes) if (block, name) in self.main.cells() and dose == self.full(name) else self.pairs

    def full(self, name: str) -> float:
        """The study's dose of a plant, 0 where nothing is planted."""
        return 0.0 if self.plants[name].good is None else self.dose

    def asked(self) -> pd.DataFrame:
        """The prompts that are scored: ``key, text, framing``."""
        return value_laden().set_index("key").loc[self.prompts].reset_index()[["key", "text", "framing"]]


@dataclass(frozen=True)
class Authority:
    """Group ``authority``: ten words are planted, eight measures look for them (Appendix F.1, Figure A3).

    bases: rows of ``models``. lexicon, construct, polarity: what the words are of, and those that take the place of a
    word that a tokenizer splits. trained_with: the template of the finetuning. templates: formats in which the words
    are looked for beside it, each where the base's row has it. settings: ways to finetune. top: so many tokens count
    as found. draws: of the bootstraps over words and over prompts.
    """

    bases: list[str]
    lexicon: str
    construct: str
    polarity: str
    trained_with: Format
    templates: list[str]
    settings: dict[str, Finetuning]
    top: int
    draws: int
    seed: int

    def __post_init__(self):
        if self.trained_with.closing != "none":
            raise ValueError("trained_with closes the reply; the planted word is the last token of an example")
