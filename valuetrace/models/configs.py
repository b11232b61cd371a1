"""config.json of a model folder: read and checked, and what a model's sizes are whatever its family calls them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from valuetrace.core import files
from valuetrace.core.errors import InputError, some
from valuetrace.models.rows import DTYPES

# The keys of config.json that are read here and not by transformers alone → what they must be.
_SIZES = dict.fromkeys(
    (
        *("hidden_size", "vocab_size", "num_attention_heads", "max_position_embeddings", "num_labels"),
        *("num_objectives", "num_quantiles", "gating_hidden_dim", "vhead_num_neurons"),
    ),
    10**8,
)
_SIZES |= dict.fromkeys(("num_hidden_layers", "gating_n_hidden", "vhead_num_layers"), 1000)
_NUMBERS = ("attn_logit_softcapping", "gating_temperature")
_STORED = {*DTYPES, "float64", "float8_e4m3fn", "float8_e5m2", "auto"}

# What the families call a size, beside the names that a config's own ``attribute_map`` translates.
_CALLED = {
    "hidden": ("hidden_size", "d_model"),
    "inner": (
        *("intermediate_size", "n_inner", "ffn_dim", "decoder_ffn_dim", "ffn_hidden_size", "d_inner", "dim_ff", "dff"),
        "moe_intermediate_size",
    ),
    "heads": ("num_attention_heads", "num_heads"),
    "context": ("max_position_embeddings", "max_target_positions", "max_seq_len"),
}


class Sizes(NamedTuple):
    """A model's widths (hidden state, inner layer), attention heads, and the tokens that it reads at most."""

    hidden: int
    inner: int
    heads: int
    context: int | None


def sizes(config: Any) -> Sizes:
    """The sizes of a transformers config, by the names that its family gives them: the largest where layers differ.

    inner: four times hidden where nothing says; heads: 1 where there are none (state-space models); context: None
    where nothing bounds it. Raises InputError for a config without a hidden size.
    """
    text = config.get_text_config()
    told = text.to_dict()
    nested = {key: value for part in told.values() if isinstance(part, dict) for key, value in part.items()}
    told = nested | {key: value for key, value in told.items() if value is not None}

    def first(what: str) -> int | None:
        for name in _CALLED[what]:
            value = told.get(text.attribute_map.get(name, name))
            value = max((n for n in value if isinstance(n, int)), default=None) if isinstance(value, list) else value
            if isinstance(value, int) and value > 0:
                return value
        return None

    hidden = first("hidden")
    if hidden is None:
        raise InputError(f"config.json of {text.model_type} names no hidden_size. Give the folder of a text model.")
    return Sizes(hidden, first("inner") or 4 * hidden, first("heads") or 1, first("context"))


def read_config(folder: str | Path) -> dict[str, Any]:
    """config.json without its nulls (they mean absent); a text model's part stands in ``text_config``, if anywhere.

    Raises InputError for a file that is missing or no JSON object, and for a key that valuetrace reads and whose
    value makes no sense.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        packed = sorted(file.name for file in Path(folder).glob("*.gguf"))
        if packed:
            call = f"from valuetrace.models import loading; loading.convert_gguf('{Path(folder, packed[0])}', 'FOLDER')"
            raise InputError(
                f"{folder}: {some(packed)} and no config.json. Convert the GGUF file, give the new folder: python -c "
                f'"{call}"; or write a row of kind gguf (conf/models).'
            )
        raise InputError(f"{folder}: no config.json. Give the folder of a model.")
    return _checked(files.read_json(path), path)


def _checked(found: Any, path: Path) -> dict[str, Any]:
    def wrong(key: str, must: str) -> InputError:
        return InputError(f"{path}: {key} must be {must}, not {found[key]!r:.60}. Fetch the file again.")

    if not isinstance(found, dict):
        raise InputError(f"{path}: holds a {type(found).__name__}, not the keys of a model. Fetch the file again.")
    found = {key: value for key, value in found.items() if value is not None}
    for key, largest in _SIZES.items():
        if key in found and (type(found[key]) is not int or not 1 <= found[key] <= largest):
            raise wrong(key, f"a whole number from 1 to {largest}")
    for key in _NUMBERS:
        if key in found and (type(found[key]) not in (int, float) or not 0 < found[key] < float("inf")):
            raise wrong(key, "a number above 0")
    names = found.get("architectures", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise wrong("architectures", "a list of names")
    if not isinstance(found.get("id2label", {}), dict):
        raise wrong("id2label", "an object")
    for key in {"dtype", "torch_dtype"} & set(found):
        if not isinstance(found[key], str) or found[key].removeprefix("torch.") not in _STORED:
            raise wrong(key, f"one of {some(sorted(_STORED), 10)}")
    if "text_config" in found:
        found["text_config"] = _checked(found["text_config"], path)
    return found


def attention(config: dict[str, Any]) -> str | None:
    """The attention kernel for a configuration: eager where scores are soft-capped (sdpa has no caps), else None:

    transformers' own choice by the flags of the class, sdpa where the class has it and eager where it has not.
    """
    return "eager" if "attn_logit_softcapping" in config.get("text_config", config) else None
