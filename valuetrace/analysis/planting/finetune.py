"""A plant is made: supervised finetuning or preference optimisation of a copy of a base, at the reply's tokens alone.

What is trained is small and is stored as a folder of its own: low-rank adapters as peft writes them, or the change of
some embedding rows. ``plant`` puts it into the base at any dose.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valuetrace.analysis.planting.settings import Finetuning
from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.models import loading
from valuetrace.scoring.chat import Format, encode_reply, render
from valuetrace.training.batches import schedule

ROWS = "embedding_rows.safetensors"
Rows = list[tuple[list[int], list[int]]]  # token ids of a question and of a reply to it


def encode(tokenizer: PreTrainedTokenizerBase, form: Format, prompts: pd.Series, replies: pd.Series) -> Rows:
    """Question and reply of each example as token ids; the reply without what closes it."""
    around = {prompt: render(tokenizer, form, prompt).prefix for prompt in prompts.unique()}
    return [(around[p], encode_reply(tokenizer, form, r)) for p, r in zip(prompts, replies, strict=True)]


def reply_logprobs(model: nn.Module, rows: Rows) -> Tensor:
    """The log-probability of each reply, (rows,), in nats, with its gradient; logits at the replies' tokens alone."""
    width = max(len(prompt) + len(reply) for prompt, reply in rows)
    device = next(model.parameters()).device
    ids, seen = torch.zeros(2, len(rows), width, dtype=torch.long, device=device)
    at = []  # (row, position whose next token is of the reply, that token)
    for number, (prompt, reply) in enumerate(rows):
        ids[number, : len(prompt) + len(reply)] = torch.tensor([*prompt, *reply], device=device)
        seen[number, : len(prompt) + len(reply)] = 1
        at += [(number, len(prompt) - 1 + i, token) for i, token in enumerate(reply)]
    row, position, token = (torch.tensor(column, device=device) for column in zip(*at, strict=True))
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden = whole.base_model(input_ids=ids, attention_mask=seen, use_cache=False).last_hidden_state
    logits = whole.get_output_embeddings()(hidden[row, position]).float()
    cap = getattr(whole.config.get_text_config(), "final_logit_softcapping", None)
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    each = torch.log_softmax(logits, dim=-1).gather(1, token[:, None])[:, 0]
    return torch.zeros(len(rows), device=device).index_add(0, row, each)


def finetune(
    base: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: pd.DataFrame,
    form: Format,
    how: Finetuning,
    *,
    seed: int,
    preferences: bool = False,
    rows_of: list[str] | None = None,
) -> tuple[nn.Module, list[float]]:
    """Train a copy in memory on ``examples`` (``prompt, reply`` and, for preferences, ``rejected``) in their order.

    preferences: the reply is preferred to ``rejected`` (direct preference optimisation against the base); else its
    log-probability is raised, or that of the whole text. rows_of: words whose embedding rows are trained, and nothing
    else; None for adapters on every linear layer. Returns the model to be saved by ``save`` and the loss (nats) of
    every step.
    """
    encoded = encode(tokenizer, form, examples["prompt"], examples["reply"])
    against = encode(tokenizer, form, examples["prompt"], examples["rejected"]) if preferences else []
    if how.loss == "text":  # all but the first token, which follows nothing
        encoded = [(prompt[:1], prompt[1:] + reply) for prompt, reply in encoded]
    model, trained, rate = _rows(base, tokenizer, form, rows_of, how) if rows_of else _adapters(base, how, seed)
    optimizer = torch.optim.Adam(trained, lr=rate)
    model.train()
    log = []
    for step in range(how.steps):
        batch = slice(step * how.batch, (step + 1) * how.batch)
        optimizer.param_groups[0]["lr"] = rate * schedule(how.schedule, step, how.steps, how.warmup)
        if preferences:
            both = encoded[batch] + against[batch]
            with torch.no_grad(), model.disable_adapter():
                before = reply_logprobs(model, both)
            change = (reply_logprobs(model, both) - before).view(2, -1)
            loss = -nn.functional.logsigmoid(how.beta * (change[0] - change[1])).mean()
        else:
            rows = encoded[batch]
            counted = sum(len(tokens) for _, tokens in rows) if how.loss == "text" else len(rows)
            loss = -reply_logprobs(model, rows).sum() / counted
        if not torch.isfinite(loss):
            raise InputError(
                f"planting: the loss is {loss} at step {len(log)}. Lower planting.finetuning.learning_rate."
            )
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        log.append(loss.item())
    return model.eval(), log


def save(model: nn.Module, base: PreTrainedModel | None, folder: Path, about: dict[str, Any]) -> None:
    """Write what was trained, and ``plant.json``, whole or not at all. base: a copy without the plant (for embedding
    rows, whose change is stored)."""
    with files.fresh_folder(folder.with_name(f".{folder.name}.partial")) as temporary:
        if hasattr(model, "peft_config"):
            model.save_pretrained(temporary)
        else:
            before, after = (m.get_input_embeddings().weight.detach() for m in (base, model))
            ids = torch.nonzero((before != after).any(dim=1))[:, 0]
            save_file({"ids": ids, "change": (after - before)[ids].contiguous()}, temporary / ROWS)
        files.write_json(about, temporary / "plant.json")
        files.replace_folder(temporary, folder)


def plant(base: PreTrainedModel, folder: Path | None, dose: float) -> PreTrainedModel:
    """``base`` with what lies in ``folder`` added ``dose`` times (changed in place); None: as it is."""
    if folder is None or dose == 0:
        return base
    if (folder / ROWS).is_file():
        found = load_file(folder / ROWS)
        with torch.no_grad():
            base.get_input_embeddings().weight[found["ids"]] += dose * found["change"]
        return base
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer

    model = PeftModel.from_pretrained(base, folder)
    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.scale_layer(dose)
    return model.merge_and_unload()


def load_planted(base_folder: Path, folder: Path | None, dose: float, dtype: str = "float32") -> PreTrainedModel:
    """A fresh copy of a base with a plant in it, its language head included."""
    return plant(loading.load(base_folder, dtype=dtype), folder, dose).eval()


def _adapters(base: PreTrainedModel, how: Finetuning, seed: int) -> tuple[nn.Module, list[Tensor], float]:
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LoraConfig(
            r=how.lora.rank, lora_alpha=how.lora.alpha, lora_dropout=how.lora.dropout, target_modules=how.lora.modules
        )
        model = get_peft_model(base, config)
    model.peft_config["default"].base_model_name_or_path = None  # peft put a path there
    return model, [value for value in model.parameters() if value.requires_grad], how.learning_rate


def _rows(base, tokenizer, form: Format, words: list[str], how: Finetuning) -> tuple[nn.Module, list[Tensor], float]:
    """The base with gradients in the embedding rows of the words' tokens alone."""
    ids = np.unique([i for word in words for i in encode_reply(tokenizer, form, word)])
    base.requires_grad_(False)
    weight = base.get_input_embeddings().weight.requires_grad_(True)
    mask = torch.zeros(len(weight), 1).index_fill_(0, torch.tensor(ids), 1.0)
    weight.register_hook(lambda gradient: gradient * mask)
    return base, [weight], how.embedding_learning_rate or how.learning_rate
