"""Losses of a reward model: Bradley–Terry, and the generalizable reward model's text regularisation."""

from torch import Tensor
from torch.nn.functional import logsigmoid


def bradley_terry(rewards: Tensor) -> Tensor:
    """−log σ(r_chosen − r_rejected), mean over pairs; ``rewards`` is (B, 2), chosen first (nats)."""
    return -logsigmoid(rewards[:, 0] - rewards[:, 1]).mean()


def grm(rewards: Tensor, chosen_logprob: Tensor, weight: float, beta: float) -> Tensor:
    """(1 − w)·BT + w·(−log σ(β · log-probability of the chosen reply)), means over pairs (nats).

    Yang et al. 2024 (GRM), the "sft" regularisation: the language head stays frozen, so the term keeps
    the hidden states good at predicting text. ``chosen_logprob`` (B,) is summed over the reply's tokens.
    """
    return (1 - weight) * bradley_terry(rewards) + weight * -logsigmoid(beta * chosen_logprob).mean()
