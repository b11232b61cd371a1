"""A model in somebody's memory: what it is, how a question is put to it, and how to leave it as it was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from accelerate.utils import extract_model_from_parallel
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)

from valuetrace.core.errors import InputError
from valuetrace.scoring.chat import Format

TEMPLATES = {"reward": "Question: {prompt}\nAnswer:", "logprob": "{prompt}"}
"""How a model without a chat template is asked: as ``valuetrace audit`` asks it."""


@dataclass(frozen=True)
class Subject:
    """kind: ``reward`` (one output after each text) or ``logprob`` (a language model); model: the transformers model
    itself, beneath what compiles, replicates or adapts it (adapters stay where they are, in its layers)."""

    kind: Literal["reward", "logprob"]
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    form: Format


def subject(model: nn.Module, tokenizer: Any, format: Format | str | None = None) -> Subject:
    """What is to be profiled. tokenizer: a tokenizer, or a processor that has one. format: a ``Format``, a text with
    ``{prompt}``, or None for the chat template (``TEMPLATES`` where there is none).

    InputError for no tokenizer, a sharded model, and a model that is neither a reward nor a causal language model.
    """
    tokenizer = getattr(tokenizer, "tokenizer", tokenizer)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise InputError(
            "values: there is no tokenizer. Pass one (tokenizer=…), or give the trainer processing_class=…."
        )
    fsdp = any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules())
    if fsdp or any(hasattr(p, "ds_id") or type(p).__name__ == "DTensor" for p in model.parameters()):
        raise InputError(
            "values: the model is sharded (FSDP, ZeRO-3 or tensor parallel), and no process holds it whole. Train "
            "replicated (DDP, ZeRO-1, ZeRO-2), or profile saved checkpoints with `valuetrace audit`."
        )
    inner = _beneath(model)
    kind = _kind(inner)
    encoder = kind == "reward" and inner.config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if format is None and encoder and not tokenizer.chat_template:
        return Subject(kind, inner, tokenizer, Format("pair", space=False))
    return Subject(kind, inner, tokenizer, _format(format, tokenizer, kind))


def _beneath(model: nn.Module) -> Any:
    from peft import PeftModel

    model = extract_model_from_parallel(model, keep_torch_compile=False)
    if not isinstance(model, PeftModel):
        return model
    if any(config.is_prompt_learning for config in model.peft_config.values()):
        raise InputError("values: a trained prompt is no part of the model's layers. Train adapters (LoRA) or weights.")
    return model.get_base_model()


def _kind(model: nn.Module) -> Literal["reward", "logprob"]:
    name = type(model).__name__
    classes = {cls.__name__ for cls in type(model).__mro__} if isinstance(model, PreTrainedModel) else set()
    if classes & set(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES.values()):
        if (labels := cast(Any, model.config).num_labels) != 1:
            raise InputError(f"values: {name} has {labels} labels. A reward model has one (num_labels=1).")
        return "reward"
    if classes & set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()):
        return "logprob"
    raise InputError(
        f"values: {name} is neither a reward model (a …ForSequenceClassification of transformers with one label) nor "
        "a causal language model. Pass such a model."
    )


def _format(format: Format | str | None, tokenizer: PreTrainedTokenizerBase, kind: str) -> Format:
    if isinstance(format, Format):
        return format
    if format is None and tokenizer.chat_template:
        return Format("chat", space=False)
    template = TEMPLATES[kind] if format is None else format
    try:  # a reply follows a space, unless the template ends with white space itself
        space = not template[-1:].isspace()
        return Format("text", space=space, template=template, closing="eos" if kind == "reward" else "none")
    except ValueError as error:
        raise InputError(f"format={template!r}: {error}. Write 'Question: {{prompt}}\\nAnswer:', say.") from None


@contextmanager
def untouched(model: PreTrainedModel) -> Iterator[None]:
    """Evaluation mode and the class's own forward inside the block; afterwards everything is as it was, to the bit.

    That is each module's mode, every attention implementation, a forward that others have put in its place (what
    accelerate, trl and our own training do), and the random states of python, numpy, torch and the accelerator.
    """
    modes = [(module, module.training) for module in model.modules()]
    models = [module for module in model.modules() if isinstance(module, PreTrainedModel)]
    attention = [(own.config, own.config._attn_implementation_internal) for own in models]
    python, numpy = random.getstate(), np.random.get_state()
    devices = {value.device for value in model.parameters() if value.device.type not in ("cpu", "meta")}
    forward = model.__dict__.pop("forward", None)
    try:
        kind = next((device.type for device in devices), None)
        with torch.random.fork_rng([device.index for device in devices], device_type=kind):
            model.eval()
            yield
    finally:
        if forward is not None:
            model.__dict__["forward"] = forward
        for config, implementation in attention:
            config._attn_implementation_internal = implementation
        for module, training in modes:
            module.training = training
        random.setstate(python)
        np.random.set_state(numpy)
