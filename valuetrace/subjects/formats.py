"""Which format a model is asked in: by name, an adapter's own, its chat template, or a plain text."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from pathlib import Path

from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from valuetrace.core import settings
from valuetrace.core.errors import InputError, some
from valuetrace.models import loading
from valuetrace.scoring.chat import Format
from valuetrace.subjects.adapters import Adapter

QUESTION = Format("text", space=True, template="Question: {prompt}\nAnswer:", closing="eos")
"""The format of a reward model without a chat template: the one that the demo's reward models are trained with."""

FORMATS = {
    "chat": Format("chat", space=False),
    "raw": Format("text", space=True),
    "pair": Format("pair", space=False),
}
"""Where there is no params.yaml: the chat template, the bare prompt, and prompt and reply as an encoder's pair."""


def choose_format(name: str | None, kind: str, folder: Path, adapter: Adapter | None = None) -> tuple[str, Format]:
    """The format and its name: the one asked for (``formats:`` of params.yaml), the one that an adapter of ours was
    trained with, the tokenizer's chat template, or a plain text format."""
    params = settings.ROOT / settings.PARAMS
    known = FORMATS | (settings.get("formats", dict[str, Format], params) if params.is_file() else {})
    known = {"question": QUESTION, "pair": FORMATS["pair"], **known}
    if name is not None:
        if name not in known:
            raise InputError(f"--format {name}: no such format. There are: {some(known, 20)}.")
        return name, known[name]
    if adapter is not None and adapter.form is not None:
        own = adapter.form
        return next(((name, form) for name, form in known.items() if form == own), ("trained", own))
    model_type = loading.read_config(folder).get("model_type")
    encoder = model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and kind == "reward"
    plain = {"reward": "pair" if encoder else "question", "logprob": "raw"}[kind]
    asks = folder if adapter is None else adapter.tokenizer_folder(folder)
    name = "chat" if loading.load_tokenizer(asks).chat_template else plain
    return name, known[name]


def with_arguments(form: Format, name: str, arguments: dict[str, str | bool], folder: Path) -> Format:
    """The format with arguments for the chat template. InputError for one that the template does not read."""
    if not arguments:
        return form
    if form.kind != "chat":
        raise InputError(f"--template-argument: format {name} has no chat template.")
    tokenizer = loading.load_tokenizer(folder)
    reserved = {"messages", *inspect.signature(tokenizer.apply_chat_template).parameters}
    template = str(tokenizer.chat_template)
    for key in arguments:
        if key in reserved or not re.search(rf"\b{re.escape(key)}\b", template):
            raise InputError(f"--template-argument {key}: the chat template of {folder} takes no such argument.")
    return replace(form, arguments={**form.arguments, **arguments})
