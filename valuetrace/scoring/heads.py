"""Reward heads: one small adapter a published class, from hidden states to the scalar reward.

An adapter is a torch module whose tensor names are those of the released files, so that loading is
matching names. ``forward(last, gate)`` takes the hidden state after the final norm at the last token,
(B, D), and, where the head has a ``pattern``, that at the first token of the pattern's last match, (B, D);
it returns (B,) rewards. Heads compute in float32 whatever the backbone's dtype. What the real weights
have not confirmed is written in ``unverified`` and printed when such a head is loaded.

Formulas: ArmoRM, RLHFlow/RLHF-Reward-Modeling; QRM and GRM, allenai/reward-bench (rewardbench/models);
URM, sgl-project/sglang (llama_reward.py). The adapters are written from them, none of their code is run.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

# Where a gating head reads the prompt: the tokens of the assistant's header.
LLAMA3_ASSISTANT = (128009, 128006, 78191, 128007, 271)  # <|eot_id|> header "assistant" header "\n\n"
GEMMA2_ASSISTANT = (107, 108, 106, 2516, 108)  # <end_of_turn> "\n" <start_of_turn> "model" "\n"


class Head(nn.Module):
    """What every adapter has: the gating pattern (None where the prompt is not read) and what is unverified."""

    pattern: tuple[int, ...] | None = None
    unverified: str = ""

    @property
    def dtype(self) -> torch.dtype:
        """That of the weights."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """That of the weights."""
        return next(self.parameters()).device


class Linear(Head):
    """``score.weight`` (outputs, D): one linear output, no bias (transformers' sequence classification).

    ``output`` says which of several is the reward.
    """

    def __init__(self, hidden: int, outputs: int = 1, output: int = 0):
        super().__init__()
        self.score = nn.Linear(hidden, outputs, bias=False)
        self.output = output

    def forward(self, last: Tensor, gate: Tensor | None = None) -> Tensor:
        """Rewards (B,) from ``last`` (B, D)."""
        return self.score(last)[:, self.output]


class Layers(Head):
    """Linear layers with ReLU between them, with or without biases: one, or an MLP (INF-ORM, GRM, value heads).

    sizes: of the states between the layers, hidden size first, outputs last. ``output`` says which is the reward.
    """

    def __init__(self, sizes: Sequence[int], biases: Sequence[bool], output: int = 0):
        super().__init__()
        steps: list[nn.Module] = []
        for (size, width), bias in zip(pairwise(sizes), biases, strict=True):
            steps += [nn.ReLU(), nn.Linear(size, width, bias=bias)]
        self.layers, self.output = nn.Sequential(*steps[1:]), output

    def forward(self, last: Tensor, gate: Tensor | None = None) -> Tensor:
        """Rewards (B,) from ``last`` (B, D)."""
        return self.layers(last)[:, self.output]


class Copied(Head):
    """A model's own ``score`` module as it is now, copied in float32 (the copy is the small one)."""

    def __init__(self, score: nn.Module, output: int = 0):
        super().__init__()
        self.score, self.output = copy.deepcopy(score).float().eval(), output

    def forward(self, last: Tensor, gate: Tensor | None = None) -> Tensor:
        """Rewards (B,) from ``last`` (B, D)."""
        return self.score(last)[:, self.output]


class Gating(nn.Module):
    """A softmax over objectives read from the prompt: s · softmax(layers(p) / temperature)."""

    def __init__(self, layers: list, temperature: float):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.logit_scale = nn.Parameter(torch.ones(1))
        self.temperature = temperature

    def forward(self, prompt: Tensor) -> Tensor:
        """The weights of the objectives (B, objectives) from the state at the gate (B, D)."""
        for layer in self.layers:
            prompt = layer(prompt)
        return self.logit_scale * torch.softmax(prompt / self.temperature, dim=-1)


class _ReluLinear(nn.Linear):
    """A linear layer that rectifies its input (so that layer numbers stay the released ones)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.relu(x))


class ArmoRM(Head):
    """R·h for 19 objectives, decorrelated by M, weighted by the prompt's gate: Σ g ⊙ (R·h M)."""

    pattern = LLAMA3_ASSISTANT
    unverified = "gating_temperature: 10 (the code's default) unless the config has it"

    def __init__(self, hidden: int, objectives: int, width: int, depth: int, temperature: float):
        super().__init__()
        self.regression_layer = nn.Linear(hidden, objectives, bias=False)
        self.reward_transform_matrix = nn.Parameter(torch.eye(objectives))
        sizes = [hidden, *[width] * depth, objectives]
        kinds = [nn.Linear, *[_ReluLinear] * depth]
        layers = [kind(i, o) for kind, (i, o) in zip(kinds, pairwise(sizes), strict=True)]
        self.gating = Gating(layers, temperature)

    def forward(self, last: Tensor, gate: Tensor | None = None) -> Tensor:
        """Rewards (B,) from ``last`` (B, D) and ``gate`` (B, D)."""
        return (self.gating(gate) * (self.regression_layer(last) @ self.reward_transform_matrix)).sum(-1)


class QRM(Head):
    """Quantiles of each objective, averaged, weighted by the prompt's gate.

    Llama: three blocks Linear (no bias) → ReLU → BatchNorm, and the means are decorrelated by M. Gemma:
    the blocks hold a dropout (nothing at evaluation) and there is no M.
    """

    def __init__(self, gemma: bool, hidden: int, objectives: int, quantiles: int, width: int, depth: int, temperature):
        super().__init__()
        self.pattern = GEMMA2_ASSISTANT if gemma else LLAMA3_ASSISTANT
        self.unverified = (
            "layout and formula from a third-party port; 5 objectives and 19 quantiles unless the config has them"
            if gemma
            else "19 objectives and 19 quantiles unless the config has them; the class name in the released config"
        )
        self.shape = (objectives, quantiles)
        self.regression_layer = nn.Linear(hidden, objectives * quantiles, bias=False)
        self.reward_transform_matrix = None if gemma else nn.Parameter(torch.eye(objectives))
        layers: list[nn.Module] = []
        for size in [hidden, *[width] * (depth - 1)]:
            layers += [nn.Linear(size, width, bias=False), nn.ReLU(), nn.BatchNorm1d(width)]
            layers += [nn.Dropout()] if gemma else []
        if gemma:
            layers.pop()  # nothing is dropped after the last block
        self.gating = Gating([*layers, nn.Linear(width, objectives)], temperature)

    def forward(self, last: Tensor, gate: Tensor | None = None) -> Tensor:
        """Rewards (B,) from ``last`` (B, D) and ``gate`` (B, D)."""
        means = self.regression_layer(last).unflatten(-1, self.shape).mean(-1)  # (B, objectives)
        if self.reward_transform_matrix is not None:
            means = means @ self.reward_transform_matrix
        return (self.gating(gate) * means).sum(-1)


class URM(Head):
    """Five attributes' means (outputs 0, 2, 4, 6, 8; the odd ones are spreads) weighted by a network of h."""

    unverified = (
        "the paper's released URM scores were most likely made without this class: "
        "head='first_output' gives the first attribute's mean, as they have it"
    )

    def __init__(self, hidden: int, attributes: int = 5):
        super().__init__()
        self.score = nn.Linear(hidden, 2 * attributes, bias=False)
        self.weights = nn.Module()
        steps = [nn.Linear(hidden, hidden), nn.SELU(), nn.Linear(hidden, hidden), nn.SELU()]
        self.weights.fc = nn.Sequential(*steps, nn.Linear(hidden, attributes))

    def forward(self, last: Tensor, gate: Tensor | None = None) -> Tensor:
        """Rewards (B,) from ``last`` (B, D)."""
        return (self.score(last)[:, ::2] * cast(Any, self.weights).fc(last)).sum(-1)


class GRM(Head):
    """A value head beside the kept language head: one linear layer, or an MLP with ReLU (``v_head.summary``)."""

    unverified = "the class name in the released '-sftreg' configs"

    def __init__(self, hidden: int, kind: str, width: int, depth: int):
        super().__init__()
        self.v_head = nn.Module()
        if kind == "linear":
            self.v_head.summary = nn.Linear(hidden, 1)
        else:
            sizes = [hidden, *[width] * depth]
            steps = [step for i, o in pairwise(sizes) for step in (nn.Linear(i, o), nn.ReLU())]
            self.v_head.summary = nn.Sequential(*steps, nn.Linear(width, 1))

    def forward(self, last: Tensor, gate: Tensor | None = None) -> Tensor:
        """Rewards (B,) from ``last`` (B, D)."""
        return cast(Any, self.v_head).summary(last)[:, 0]


def _armorm(config: dict) -> Head:
    return ArmoRM(config["hidden_size"], config.get("num_objectives", 19), *_gating(config, temperature=10))


def _qrm(gemma: bool) -> Callable[[dict], Head]:
    def build(config: dict) -> Head:
        objectives = config.get("num_objectives", 5 if gemma else 19)
        quantiles = config.get("num_quantiles", 19)
        return QRM(gemma, config["hidden_size"], objectives, quantiles, *_gating(config, 1 if gemma else 10))

    return build


def _gating(config: dict, temperature: float) -> tuple[int, int, float]:
    width, depth = config.get("gating_hidden_dim", 1024), config.get("gating_n_hidden", 3)
    return width, depth, config.get("gating_temperature", temperature)


def _grm(config: dict) -> Head:
    kind = config.get("vhead_layer_type", "mlp")
    return GRM(config["hidden_size"], kind, config.get("vhead_num_neurons", 1024), config.get("vhead_num_layers", 1))


# The published heads that are more than linear layers → the adapter, built from the config. Keys: the class names in
# released configs, for --head and where the tensors alone do not decide (``recognise``).
PUBLISHED: dict[str, Callable[[dict], Head]] = {
    "LlamaForRewardModelWithGating": _armorm,
    "LlamaForRewardModelWithGating3": _qrm(gemma=False),
    "LlamaForRewardModelWithGating31": _qrm(gemma=False),
    "Gemma2ForQuantileSequenceClassification": _qrm(gemma=True),
    "LlamaForSequenceClassificationWithNormal_Weights": lambda config: URM(config["hidden_size"]),
    "GRewardModel": _grm,
}
