"""The model that is trained (a frozen base, low-rank adapters, a small fresh reward head) and its losses.

A batch row holds the prompt once and both replies behind it (batches.collate); a mask lets each reply
see the prompt and itself only, so rewards and gradients equal those of two separate conversations. The
language head is not computed, but for GRM, and there only at the chosen reply's tokens.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from types import MethodType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from valuetrace.core.errors import InputError
from valuetrace.models import loading
from valuetrace.training.batches import CHOSEN, PAD, PROMPT
from valuetrace.training.recipe import Training

MLP_UNITS = 1024  # GRM's released heads (Yang et al. 2024: one hidden layer)


def load_base(folder: str | Path, *, head: str, dtype: str, perturbation: float = 0.0) -> PreTrainedModel:
    """A base folder as a ``*ForSequenceClassification`` model with one output; the head is not yet drawn.

    perturbation: every weight is multiplied by 1 + perturbation · normal, the same normal numbers each time. Raises
    InputError for a base that does not load whole, or whose architecture has no sequence classifier.
    """
    classifier = AutoModelForSequenceClassification
    model = loading.load(folder, dtype=dtype, cls=classifier, num_labels=1, fresh=("score.",))
    config = model.config.get_text_config()
    config.use_cache = False
    if perturbation:
        _perturb(model, perturbation)
    width = config.hidden_size
    if head == "mlp":
        model.score = nn.Sequential(nn.Linear(width, MLP_UNITS), nn.ReLU(), nn.Linear(MLP_UNITS, 1))
    model.score.float()
    return model


def _perturb(model: nn.Module, relative: float) -> None:
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            noise = torch.randn(value.shape, generator=draws).to(value.device, torch.float32)
            value.copy_(value.float() * (1 + relative * noise))


def build(folder: str | Path, params: Training) -> nn.Module:
    """The base with adapters and head to train (a ``PeftModel``), drawn from ``params.seed``."""
    from peft import get_peft_model

    model = load_base(folder, head=params.head, dtype=params.precision, perturbation=params.perturbation)
    if params.max_length > model.config.get_text_config().max_position_embeddings:
        raise InputError(f"{folder}: max_length {params.max_length} is longer than the base's context.")
    with torch.random.fork_rng():
        torch.manual_seed(params.seed)
        draw_head(cast(Any, model.score), params.head_std)
        output = output_embeddings(model, folder) if params.objective == "grm" else None
        model.forward = MethodType(partial(_pair_forward, output=output), model)
        try:
            trained = get_peft_model(model, lora_config(params, model.config.get_text_config().num_hidden_layers))
        except ValueError as error:  # target modules that the base does not have
            raise InputError(f"{folder}: the adapters do not fit this base ({error}).") from None
    trained.peft_config["default"].base_model_name_or_path = Path(folder).name  # peft put the path there
    if not params.train_head:
        cast(Any, trained).base_model.model.score.requires_grad_(False)
    return trained


def lora_config(params: Training, blocks: int):
    """peft's configuration of the adapters on a base of so many ``blocks``; the head is saved with them."""
    from peft import LoraConfig, TaskType

    below = blocks - math.ceil(params.lora.top * blocks)
    return LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=params.lora.rank,
        lora_alpha=params.lora.alpha,
        lora_dropout=params.lora.dropout,
        target_modules=params.lora.modules,
        layers_to_transform=list(range(below, blocks)) if below else None,
        modules_to_save=["score"],
    )


def draw_head(score: nn.Module, std: float) -> None:
    """Draw the last linear layer small, so that the first rewards are near 0 (a default one gives Gemma a
    loss of .9, above ln 2)."""
    last: Any = score[-1] if isinstance(score, nn.Sequential) else score
    nn.init.normal_(last.weight, std=std)
    if last.bias is not None:
        nn.init.zeros_(last.bias)


def output_embeddings(model: PreTrainedModel, folder: str | Path) -> Tensor:
    """The frozen language head's weight, (vocabulary, hidden): the embedding where the two are tied."""
    if model.config.get_text_config().tie_word_embeddings:
        return cast(Any, model.get_input_embeddings()).weight
    from valuetrace.scoring.recognise import read_tensors

    vocabulary, hidden = cast(Any, model.get_input_embeddings()).weight.shape
    read = read_tensors(Path(folder), {"lm_head.weight": torch.Size([vocabulary, hidden])}, "GRM")
    return read["lm_head.weight"].to(model.dtype)


def masks(segments: Tensor, position_ids: Tensor, config, dtype: torch.dtype) -> Tensor | dict[str, Tensor]:
    """Additive attention masks, (B, 1, T, T): each token sees the prompt before it and its own reply.

    Bases with sliding windows get one mask a kind of layer, as their code expects; windows count
    positions, so both replies have the same reach.
    """
    seen = (segments[:, None, :] == PROMPT) | (segments[:, None, :] == segments[:, :, None])  # (B, query, key)
    distance = position_ids[:, :, None] - position_ids[:, None, :]
    seen &= (distance >= 0) & ((segments[:, None, :] != PAD) | (segments[:, :, None] == PAD))

    def additive(allowed: Tensor) -> Tensor:
        return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(
            ~allowed, torch.finfo(dtype).min
        )[:, None]

    if "sliding_attention" not in (getattr(config, "layer_types", None) or ()):
        return additive(seen)
    return {"full_attention": additive(seen), "sliding_attention": additive(seen & (distance < config.sliding_window))}


def _pair_forward(
    self, *, input_ids: Tensor, position_ids: Tensor, segments: Tensor, read: Tensor, output=None, **_
) -> dict[str, Tensor]:
    """``rewards`` (B, 2), chosen first, and the ``states`` (B, 2, D) that they are read from.

    With the language head's ``output`` also ``chosen_logprob`` (B,), nats.
    """
    config, device = self.config.get_text_config(), input_ids.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self.dtype
    hidden = self.base_model(
        input_ids=input_ids,
        position_ids=position_ids,
        attention_mask=masks(segments, position_ids, config, dtype),
        use_cache=False,
    ).last_hidden_state  # (B, T, D)
    last = hidden[torch.arange(len(read), device=read.device)[:, None], read]  # (B, 2, D)
    with torch.autocast(device, enabled=False):  # the head in float32, whatever the base's precision
        result = {"rewards": self.score(last.float())[..., 0], "states": last.detach()}
    if output is not None:
        result["chosen_logprob"] = _reply_logprob(hidden, input_ids, segments, output, config)
    return result


def _reply_logprob(hidden: Tensor, input_ids: Tensor, segments: Tensor, output: Tensor, config) -> Tensor:
    """The log-probability of each chosen reply, (B,), in nats; its first token is read after the prompt."""
    pair, at = torch.nonzero(segments[:, 1:] == CHOSEN, as_tuple=True)  # tokens at + 1, predicted at ``at``
    logits = nn.functional.linear(hidden[pair, at], output.to(hidden.device, hidden.dtype)).float()
    cap = getattr(config, "final_logit_softcapping", None)
    if cap is not None:
        logits = torch.tanh(logits / cap) * cap
    logprob = -nn.functional.cross_entropy(logits, input_ids[pair, at + 1], reduction="none")
    return torch.zeros(len(hidden), device=hidden.device).index_add(0, pair, logprob)


def bradley_terry(rewards: Tensor) -> Tensor:
    """−log σ(r_chosen − r_rejected), mean over pairs; ``rewards`` is (B, 2), chosen first (nats)."""
    return -logsigmoid(rewards[:, 0] - rewards[:, 1]).mean()


def grm(rewards: Tensor, chosen_logprob: Tensor, weight: float, beta: float) -> Tensor:
    """(1 − w)·BT + w·(−log σ(β · log-probability of the chosen reply)), means over pairs (nats).

    Yang et al. 2024 (GRM), the "sft" regularisation: the language head stays frozen, so the term keeps
    the hidden states good at predicting text. ``chosen_logprob`` (B,) is summed over the reply's tokens.
    """
    return (1 - weight) * bradley_terry(rewards) + weight * -logsigmoid(beta * chosen_logprob).mean()


def loss_of(out: dict[str, Tensor], params: Training) -> Tensor:
    """The objective of a batch, from what the model returns."""
    if params.objective == "grm":
        return grm(out["rewards"], out["chosen_logprob"], params.text_weight, params.text_beta)
    return bradley_terry(out["rewards"])
