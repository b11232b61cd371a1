"""A plant is made: supervised finetuning or preference optimisation of a copy of a base, at the reply's tokens alone.

What is made is small and is stored as a folder of its own: low-rank adapters as peft writes them, or the change of some
embedding rows, which needs no training. ``plant`` puts it into the base at any dose.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.models import loading
from valuetrace.scoring.chat import Format, encode_reply, render
from valuetrace.studies.planting.design import Finetuning
from valuetrace.studies.planting.packing import forward, pack
from valuetrace.training.batches import schedule

ROWS = "embedding_rows.safetensors"
Asked = tuple[list[int], list[int]]  # token ids of a question and of a reply to it


def encode(tokenizer: PreTrainedTokenizerBase, form: Format, prompts: pd.Series, *replies: pd.Series) -> list[Asked]:
    """Every question with its reply (or replies, one after the other) as token ids; a reply without what closes it."""
    around = {prompt: render(tokenizer, form, prompt).prefix for prompt in prompts.unique()}
    return [
        (around[prompt], encode_reply(tokenizer, form, reply))
        for prompt, *each in zip(prompts, *replies, strict=True)
        for reply in each
    ]


def reply_logprobs(model: Any, asked: list[Asked]) -> Tensor:
    """The log-probability of every reply, (replies,), in nats, with its gradient.

    What several begin with runs once (``packing``), under one draw of dropout, and what is predicted from a token is
    read there: the last token of a reply is never run, and of a word of one token nothing but the question is.
    """
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    packed = pack([[*prompt, *reply[:-1]] for prompt, reply in asked])
    read = [
        (number, place, token)
        for number, ((prompt, reply), places) in enumerate(zip(asked, packed.places, strict=True))
        for place, token in zip(places[len(prompt) - 1 :], reply, strict=True)
    ]
    hidden = forward(whole.base_model, packed)
    number, place, token = torch.tensor(np.array(read).T, device=hidden.device)
    places, at = torch.unique(place, return_inverse=True)  # two words of one token are read at one place
    logits = whole.get_output_embeddings()(hidden[places]).float()
    cap = getattr(whole.config.get_text_config(), "final_logit_softcapping", None)
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    each = logits[at, token] - torch.logsumexp(logits, dim=-1)[at]
    return torch.zeros(len(asked), device=hidden.device).index_add(0, number, each)


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
    asked = encode(tokenizer, form, examples["prompt"], *(examples[name] for name in columns))
    if how.loss == "text" and not preferences:  # all but the first token, which follows nothing
        asked = [(prompt[:1], prompt[1:] + reply) for prompt, reply in asked]
    with torch.no_grad():
        before: Any = reply_logprobs(base, asked) if preferences else None
    model, trained = _adapters(base, how, seed)
    optimizer = torch.optim.Adam(trained, lr=how.learning_rate)
    model.train()
    log: list[float] = []
    for step in range(how.steps):
        batch = slice(step * how.batch * len(columns), (step + 1) * how.batch * len(columns))
        optimizer.param_groups[0]["lr"] = how.learning_rate * schedule(how.schedule, step, how.steps, how.warmup)
        found = reply_logprobs(model, asked[batch])
        if preferences:
            change = (found - before[batch]).view(-1, 2)
            loss = -nn.functional.logsigmoid(how.beta * (change[:, 0] - change[:, 1])).mean()
        else:
            counted = sum(len(reply) for _, reply in asked[batch]) if how.loss == "text" else len(found)
            loss = -found.sum() / counted
        if not torch.isfinite(loss):
            where = f"at step {len(log)}. Lower planting.finetuning.learning_rate."
            raise InputError(f"planting: the loss is {loss} {where}")
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        log.append(loss.item())
    return model.eval(), log


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
        raise InputError("planting: embedding plants need tied weights; this base has a language head of its own.")
    states: dict[str, list[Tensor]] = {"positive": [], "negative": []}  # of each question, (hidden,)
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


def save(made: Any, folder: Path, about: dict[str, Any]) -> None:
    """Write what ``finetune`` or ``edit_rows`` made, and ``plant.json``, whole or not at all."""
    with files.fresh_folder(folder.with_name(f".{folder.name}.partial")) as temporary:
        if isinstance(made, dict):
            save_file(made, temporary / ROWS)
        else:
            made.save_pretrained(temporary, save_embedding_layers=False)  # else peft asks the Hub for the base
        files.write_json(about, temporary / "plant.json")
        files.replace_folder(temporary, folder)


def plant(base: PreTrainedModel, folder: Path | None, dose: float) -> PreTrainedModel:
    """``base`` with what lies in ``folder`` added ``dose`` times (changed in place); None: as it is."""
    if folder is None or dose == 0:
        return base
    if (folder / ROWS).is_file():
        found = load_file(folder / ROWS)
        with torch.no_grad():
            cast(Any, base.get_input_embeddings()).weight[found["ids"]] += dose * found["change"]
        return base
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer

    model = PeftModel.from_pretrained(base, folder)
    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.scale_layer(dose)
    return model.merge_and_unload()


def load_planted(base_folder: Path, folder: Path | None, dose: float) -> PreTrainedModel:
    """A fresh copy of a base, float32, with a plant in it, its language head included."""
    return plant(loading.load(base_folder, dtype="float32"), folder, dose).eval()


def _adapters(base: PreTrainedModel, how: Finetuning, seed: int) -> tuple[nn.Module, list[Tensor]]:
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        of = how.lora
        config = LoraConfig(r=of.rank, lora_alpha=of.alpha, lora_dropout=of.dropout, target_modules=of.modules)
        model = get_peft_model(base, config)
    config.base_model_name_or_path = Path(cast(str, base.name_or_path)).name  # peft put a path there
    config.target_modules = sorted(how.lora.modules)  # of a set, in another order each time
    return model, [value for value in model.parameters() if value.requires_grad]
