"""Model folders: made from a row of parameters, then loaded with every tensor found, used and finite.

No code from a folder is run, and no weight is drawn at random where one is missing. Whatever is wrong with a folder is
one InputError that names it and the tensors or the key.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from valuetrace import assets, hub
from valuetrace.core import files
from valuetrace.core.errors import InputError, some
from valuetrace.models.rows import DTYPES, Scoring, Source, TokenizerChanges

if TYPE_CHECKING:  # torch and transformers take seconds to import
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Tensors that a file may hold and a model need not use: the language head where hidden states are read (a reward
# model's, a base's under a fresh head), position frequencies (computed from the config), a batch norm's counter.
_LEFTOVERS = re.compile(r"(^|\.)(lm_head\.(weight|bias)|embed_out\.weight|rotary_emb\.inv_freq|num_batches_tracked)$")

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


def read_config(folder: str | Path) -> dict[str, Any]:
    """config.json without its nulls (they mean absent); a text model's part stands in ``text_config``, if anywhere.

    Raises InputError for a file that is missing or no JSON object, and for a key that valuetrace reads and whose
    value makes no sense.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
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


def attention(config: dict[str, Any]) -> str:
    """The attention kernel for a configuration: sdpa, but eager where scores are soft-capped (sdpa has no caps)."""
    return "eager" if "attn_logit_softcapping" in config.get("text_config", config) else "sdpa"


@contextmanager
def reading(folder: str | Path, what: str) -> Iterator[None]:
    """Whatever a library raises for a broken folder, as an InputError with the first line of the cause.

    An error that the block's own lines raise is a defect and stays one; safetensors and the file system, which
    raise in the line that calls them, apart.
    """
    from safetensors import SafetensorError

    try:
        yield
    except InputError:
        raise
    except Exception as error:
        _, block, *called = traceback.extract_tb(error.__traceback__)
        ours = not called or called[-1].filename == block.filename
        if ours and not isinstance(error, (OSError, SafetensorError)):
            raise
        cause = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        told = f"{type(error).__name__}: {cause:.300}"
        raise InputError(f"{folder}: {what} cannot be loaded ({told}). Fetch it again (dvc repro).") from error


def make(name: str, source: Source, changes: TokenizerChanges, folder: Path) -> None:
    """Make the folder of one model (convert, download or draw it). A GGUF file takes one or two minutes."""
    temporary = folder.with_name(f".{folder.name}.partial")
    with files.fresh_folder(temporary):
        if source.kind == "hub":
            origin = hub.fetch_hub(cast(str, source.repository), source.revision, temporary)
        elif source.kind == "gguf":
            origin = _convert_gguf(name, source, temporary)
        else:
            from valuetrace.models import tiny

            tiny.write(cast(str, source.architecture), source.seed, temporary, source.reward)
            origin = {"architecture": source.architecture, "seed": source.seed}
        _change_tokenizer(changes, temporary)
        files.write_json({"model": name, "kind": source.kind, "origin": origin}, temporary / "provenance.json")
        files.replace_folder(temporary, folder)


def _convert_gguf(name: str, source: Source, folder: Path) -> dict[str, Any]:
    """Fetch and dequantise a GGUF file. Most of the time goes into its tokenizer."""
    from transformers import AutoTokenizer, GgufConfig

    with files.fresh_folder(folder.with_name(f".{name}.source")) as fetched:
        assets.fetch(name, cast(assets.Asset, source.asset), fetched)
        whole = GgufConfig(dequantize=True)
        load_whole(fetched, gguf_file=source.file, quantization_config=whole).save_pretrained(folder)
        with reading(fetched / cast(str, source.file), "the tokenizer"):
            AutoTokenizer.from_pretrained(fetched, gguf_file=source.file).save_pretrained(folder)
    return {"file": source.file, "sha256": cast(Any, source.asset).files[source.file].sha256}


def _change_tokenizer(changes: TokenizerChanges, folder: Path) -> None:
    """Write the row's chat template and padding token into the folder, tokenizer and config alike."""
    if changes == TokenizerChanges():
        return
    tokenizer = load_tokenizer(folder)
    if changes.chat_template is not None:
        tokenizer.chat_template = changes.chat_template
    if changes.pad_token is not None:
        if changes.pad_token not in tokenizer.get_vocab():
            raise InputError(f"{folder}: pad_token {changes.pad_token!r} is not in the vocabulary.")
        tokenizer.pad_token = changes.pad_token
        path = folder / "config.json"
        files.write_json({**files.read_json(path), "pad_token_id": tokenizer.pad_token_id}, path, exact=True)
    tokenizer.save_pretrained(folder)


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder. No code from the folder is run."""
    from transformers import AutoTokenizer

    with reading(folder, "the tokenizer"):
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def load_row(folder: str | Path, how: Scoring) -> PreTrainedModel:
    """Load a model as its row says: on the best device, or spread over all of them."""
    place = {"device_map": "auto"} if how.devices == "all" else {"device": best_device()}
    return load(folder, dtype=how.dtype, **place)


def load(
    folder: str | Path,
    *,
    dtype: str = "float32",
    device: str | torch.device | None = None,
    cls: type | None = None,
    **options: Any,
) -> PreTrainedModel:
    """Load a model folder for scoring: evaluation mode, safetensors only, the attention that its config asks for.

    cls: the class to load (``AutoModelForCausalLM``); ``options`` go to ``load_whole``, whose errors are raised.
    """
    options |= {"attn_implementation": attention(read_config(folder)), "use_safetensors": True}
    model = load_whole(folder, cls, dtype=dtype, **options)
    return (model if device is None else cast(Any, model).to(device)).eval()


def load_whole(
    folder: str | Path,
    cls: type | None = None,
    *,
    dtype: str = "float32",
    elsewhere: Collection[str] = (),
    fresh: tuple[str, ...] = (),
    **options: Any,
) -> PreTrainedModel:
    """``cls.from_pretrained(folder, **options)``; InputError where it does not use exactly the weights of the folder.

    Errors name each tensor that is missing (it would be drawn at random), misshapen, not finite, or unused: then
    config.json names fewer layers or another architecture than that of the weights. elsewhere: the tensors that
    another part reads (a reward head's). fresh: how the names begin that may be missing, for they are drawn later.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    if dtype not in DTYPES:
        raise InputError(f"{folder}: dtype {dtype!r} is not one of {some(DTYPES)}.")
    options |= {"dtype": getattr(torch, dtype), "ignore_mismatched_sizes": True, "trust_remote_code": False}
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # its report is read below
    try:
        with reading(folder, "the model"):
            model, report = cast(Any, cls or AutoModelForCausalLM).from_pretrained(
                folder, output_loading_info=True, **options
            )
    finally:
        logging.set_verbosity(verbosity)
    unused = [name for name in report["unexpected_keys"] if name not in elsewhere and not _LEFTOVERS.search(name)]
    misshapen = [f"{name} {list(found)} for {list(wanted)}" for name, found, wanted in report["mismatched_keys"]]
    faults = {
        "lack": [name for name in report["missing_keys"] if not name.startswith(fresh)],
        "have in another shape": misshapen,
        "hold what the model of config.json does not use:": unused,
    }
    check_finite(folder, model.state_dict())
    told = "; ".join(f"{fault} {some(sorted(names))}" for fault, names in faults.items() if names)
    if told:
        raise InputError(f"{folder}: the weights {told}. They and config.json must be of one model: fetch both again.")
    return model


def check_finite(folder: str | Path, tensors: dict[str, torch.Tensor]) -> None:
    """InputError that names the tensors in which a NaN or an infinity stands.

    Reads all weights once, about 0.2 s a gigabyte: the extremes (a NaN is both) cost a tenth of ``isfinite``.
    """
    import torch

    seen = {name: t for name, t in tensors.items() if t.is_floating_point() and t.numel() and not t.is_meta}
    bad = [name for name, tensor in seen.items() if not torch.isfinite(torch.stack(tensor.aminmax())).all()]
    if bad:
        raise InputError(f"{folder}: the weights hold NaN or infinity in {some(bad)}. Fetch them again.")


def stored(folder: str | Path) -> dict[str, Path]:
    """The safetensors file in which each tensor of a folder lies: the one file, else those of the index."""
    from safetensors import safe_open

    folder = Path(folder)
    index, path = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if path.is_file():
        with reading(path, "the weights"), safe_open(path, "pt") as file:
            return dict.fromkeys(file.keys(), path)
    if not index.is_file():
        raise InputError(f"{folder}: no model.safetensors. Only safetensors are read; convert the weights.")
    found = files.read_json(index)
    places = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise InputError(f"{index}: weight_map must name the file of each tensor. Fetch the file again.")
    return {name: folder / file for name, file in places.items()}


def best_device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    import torch

    return (
        cast("torch.device", torch.accelerator.current_accelerator())
        if torch.accelerator.is_available()
        else torch.device("cpu")
    )


def vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> pd.DataFrame:
    """The rows of a score table: ``token_id, token_name, token_decoded`` of every row of the embedding.

    Ids beyond the tokenizer's own are padding rows that no text yields: they are named ``<unused id>``,
    with an empty text. Raises InputError where the tokenizer has more tokens than the embedding has rows.
    """
    size, known = cast(Any, model.get_input_embeddings()).num_embeddings, len(tokenizer)
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
