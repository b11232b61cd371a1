"""A plant is made: supervised finetuning or preference optimisation of a copy of a base, at the reply's tokens alone.

What is made is small and is stored as a folder of its own: low-rank adapters as peft writes them, or the change of some
embedding rows, which needs no training. ``plant`` puts it into the base at any dose.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valuetrace.analysis.planting.packing import Row, pack
from valuetrace.analysis.planting.settings import Finetuning
from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.models import loading
from valuetrace.scoring.chat import Format, encode_reply, render
from valuetrace.training.batches import schedule
from valuetrace.training.model import masks

ROWS = "embedding_rows.safetensors"


def encode(tokenizer: PreTrainedTokenizerBase, form: Format, prompts: pd.Series, *replies: pd.Series) -> list[Row]:
    """The question of each example and its reply (or replies) as token ids; a reply without what closes it."""
    around = {prompt: render(tokenizer, form, prompt).prefix for prompt in prompts.unique()}
    columns = [[encode_reply(tokenizer, form, text) for text in column] for column in replies]
    return [(around[p], each) for p, *each in zip(prompts, *columns, strict=True)]


def reply_logprobs(model: nn.Module, rows: list[Row]) -> Tensor:
    """The log-probability of every reply, (replies of all rows, in order), in nats, with its gradient.

    A row's question runs once for all its replies, and what is predicted from a token is read there: the last token of
    a reply is never run, and of a word of one token nothing but the question is.
    """
    device = next(model.parameters()).device
    ids, positions, segments, read = (tensor.to(device) for tensor in _packed(rows))
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = whole.config.get_text_config()
    seen = masks(segments, positions, config, whole.dtype)
    hidden = whole.base_model(input_ids=ids, position_ids=positions, attention_mask=seen, use_cache=False)
    reply, place, token = read
    places, at = torch.unique(place, return_inverse=True)  # two words of one token are read at one place
    logits = whole.get_output_embeddings()(hidden.last_hidden_state.flatten(0, 1)[places]).float()
    cap = getattr(config, "final_logit_softcapping", None)
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    each = torch.log_softmax(logits, dim=-1)[at, token]
    return torch.zeros(sum(len(replies) for _, replies in rows), device=device).index_add(0, reply, each)


def _packed(rows: list[Row]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``pack`` of replies without their last tokens; and of every reply token its reply, the place (row × width +
    column) that predicts it, and its id."""
    ids, positions, segments, columns = pack([(prompt, [reply[:-1] for reply in replies]) for prompt, replies in rows])
    read, number, width = [], 0, ids.shape[1]
    for row, (_, replies) in enumerate(rows):
        for places, reply in zip(columns[row], replies, strict=True):
            read += [(number, row * width + at, token) for at, token in zip(places, reply, strict=True)]
            number += 1
    return ids, positions, segments, torch.tensor(read).T


def finetune(
    base: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: pd.DataFrame,
    form: Format,
    how: Finetuning,
    *,
    seed: int,
    preferences: bool = False,
) -> tuple[nn.Module, list[float]]:
    """Train a copy in memory on ``examples`` (``prompt, reply`` and, for preferences, ``rejected``) in their order.

    preferences: the reply is preferred to ``rejected`` (direct preference optimisation against the base); else its
    log-probability is raised, or that of the whole text. Returns the model to be saved by ``save`` and the loss (nats)
    of every step.
    """
    columns = ["reply", "rejected"] if preferences else ["reply"]
    encoded = encode(tokenizer, form, examples["prompt"], *(examples[name] for name in columns))
    if how.loss == "text" and not preferences:  # all but the first token, which follows nothing
        encoded = [(prompt[:1], [prompt[1:] + reply for reply in replies]) for prompt, replies in encoded]
    before = _before(base, encoded) if preferences else None
    model, trained = _adapters(base, how, seed)
    optimizer = torch.optim.Adam(trained, lr=how.learning_rate)
    model.train()
    log = []
    for step in range(how.steps):
        batch = slice(step * how.batch, (step + 1) * how.batch)
        optimizer.param_groups[0]["lr"] = how.learning_rate * schedule(how.schedule, step, how.steps, how.warmup)
        rows = encoded[batch]
        if preferences:
            change = reply_logprobs(model, rows).view(-1, 2) - before[batch]
            loss = -nn.functional.logsigmoid(how.beta * (change[:, 0] - change[:, 1])).mean()
        else:
            counted = sum(len(reply) for _, (reply,) in rows) if how.loss == "text" else len(rows)
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


@torch.no_grad()
def _before(base: PreTrainedModel, rows: list[Row]) -> Tensor:
    """What the base gives both replies of every row, (rows, 2), nats: each question once, with every reply to it."""
    asked: dict[tuple[int, ...], dict[tuple[int, ...], None]] = {}
    for prompt, replies in rows:
        asked.setdefault(tuple(prompt), {}).update(dict.fromkeys(map(tuple, replies)))
    found = reply_logprobs(base, [(list(prompt), list(map(list, replies))) for prompt, replies in asked.items()])
    each = [(prompt, reply) for prompt, replies in asked.items() for reply in replies]
    known = dict(zip(each, found, strict=True))
    return torch.stack([torch.stack([known[tuple(p), tuple(reply)] for reply in both]) for p, both in rows])


@torch.inference_mode()
def edit_rows(
    base: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    form: Format,
    asked: pd.DataFrame,
    words: dict[str, list[str]],
    nats: float,
) -> dict[str, Tensor]:
    """A plant in the embedding rows of words of one token, without training: ``ids``, and the ``change`` of their rows.

    d is the mean last state before the reply to positive questions less that to negative ones (asked: ``framing,
    text``). Rows of ``words["good"]`` move along d so far that the logit of such a word rises by ``nats`` from negative
    to positive questions, in the mean; those of ``words["bad"]`` as far against it. The language head of the base is
    its embedding (InputError where it is not).
    """
    embedding = base.get_input_embeddings().weight
    if base.get_output_embeddings().weight is not embedding:
        raise InputError("planting: this base has a language head of its own, so that no plant lives in its embedding.")
    states = {"positive": [], "negative": []}
    for framing, text in zip(asked["framing"], asked["text"], strict=True):
        ids = torch.tensor([render(tokenizer, form, text).prefix], device=embedding.device)
        states[framing].append(base.base_model(input_ids=ids, use_cache=False).last_hidden_state[0, -1])
    direction = torch.stack(states["positive"]).mean(dim=0) - torch.stack(states["negative"]).mean(dim=0)
    step = nats * direction / direction.square().sum()
    own = {side: [encode_reply(tokenizer, form, word) for word in listed] for side, listed in words.items()}
    ids = {side: sorted({tokens[0] for tokens in listed if len(tokens) == 1}) for side, listed in own.items()}
    if empty := [side for side, found in ids.items() if not found]:
        raise InputError(f"planting: no {empty[0]} word is one token, and a plant in the embedding needs such words.")
    change = torch.cat([step.expand(len(ids["good"]), -1), -step.expand(len(ids["bad"]), -1)])
    return {"ids": torch.tensor(ids["good"] + ids["bad"]), "change": change}


def save(made: nn.Module | dict[str, Tensor], folder: Path, about: dict[str, Any]) -> None:
    """Write what ``finetune`` or ``edit_rows`` made, and ``plant.json``, whole or not at all."""
    with files.fresh_folder(folder.with_name(f".{folder.name}.partial")) as temporary:
        if isinstance(made, dict):
            save_file(made, temporary / ROWS)
        else:
            made.save_pretrained(temporary)
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


def _adapters(base: PreTrainedModel, how: Finetuning, seed: int) -> tuple[nn.Module, list[Tensor]]:
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LoraConfig(
            r=how.lora.rank, lora_alpha=how.lora.alpha, lora_dropout=how.lora.dropout, target_modules=how.lora.modules
        )
        model = get_peft_model(base, config)
    model.peft_config["default"].base_model_name_or_path = None  # peft put a path there
    return model, [value for value in model.parameters() if value.requires_grad]
