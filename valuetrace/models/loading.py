"""From a model folder to a loaded model: safetensors only, no code from the folder, nothing drawn at random."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from valuetrace.core.errors import InputError, some
from valuetrace.models.rows import DTYPES, Scoring

if TYPE_CHECKING:  # torch and transformers take seconds to import
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder. No code from the folder is run."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: no tokenizer can be loaded ({error}).") from None


def load_row(folder: str | Path, how: Scoring) -> PreTrainedModel:
    """Load a model as its row says: on the best device, or spread over all of them."""
    place = {"device_map": "auto"} if how.devices == "all" else {"device": best_device()}
    return load(folder, dtype=how.dtype, attention=how.attention, **place)


def load(
    folder: str | Path,
    *,
    dtype: str = "float32",
    attention: str = "sdpa",
    device: str | torch.device | None = None,
    cls: type | None = None,
    **options: Any,
) -> PreTrainedModel:
    """Load a model folder for scoring: evaluation mode, safetensors only, no code from the folder.

    cls: the class to load (``AutoModelForCausalLM``); ``options`` go to its ``from_pretrained``.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if dtype not in DTYPES:
        raise InputError(f"{folder}: dtype {dtype!r} is not one of {some(DTYPES)}.")
    try:
        model = (cls or AutoModelForCausalLM).from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            attn_implementation=attention,
            use_safetensors=True,
            trust_remote_code=False,
            **options,
        )
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder}: the model cannot be loaded ({error}). Make it again (dvc repro).") from None
    if device is not None:
        model = model.to(device)
    return model.eval()


def best_device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    import torch

    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")


def vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> pd.DataFrame:
    """The rows of a score table: ``token_id, token_name, token_decoded`` of every row of the embedding.

    Ids beyond the tokenizer's own are padding rows that no text yields: they are named ``<unused id>``,
    with an empty text. Raises InputError where the tokenizer has more tokens than the embedding has rows.
    """
    size, known = model.get_input_embeddings().num_embeddings, len(tokenizer)
    if known > size:
        raise InputError(
            f"the tokenizer has {known} tokens but the embedding only {size} rows: "
            "tokenizer and model do not belong together."
        )
    names = tokenizer.convert_ids_to_tokens(list(range(known)))
    names = [f"<unused {i}>" if name is None else name for i, name in enumerate(names)]
    texts = tokenizer.batch_decode([[i] for i in range(known)], clean_up_tokenization_spaces=False)
    padding = range(known, size)
    return pd.DataFrame(
        {
            "token_id": range(size),
            "token_name": names + [f"<unused {i}>" for i in padding],
            "token_decoded": texts + ["" for _ in padding],
        }
    )
