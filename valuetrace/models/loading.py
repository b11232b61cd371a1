"""Model folders: made from a row of parameters, then loaded with every tensor found, used and finite.

No code from a folder is run, and no weight is drawn at random where one is missing. Whatever is wrong with a folder is
one InputError that names it and the tensors or the key.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from valuetrace import assets, hub
from valuetrace.core import files
from valuetrace.core.errors import InputError, some
from valuetrace.models.configs import attention, read_config, sizes
from valuetrace.models.faults import reading
from valuetrace.models.rows import DTYPES, Scoring, Source, TokenizerChanges
from valuetrace.models.weights import check_finite, check_folder, stored

if TYPE_CHECKING:  # torch and transformers take seconds to import
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Tensors that a file may hold and a model need not use: the language head where hidden states are read (a reward
# model's, a base's under a fresh head), position frequencies (computed from the config), a batch norm's counter.
_LEFTOVERS = re.compile(r"(^|\.)(lm_head\.(weight|bias)|embed_out\.weight|rotary_emb\.inv_freq|num_batches_tracked)$")
_TOKENIZER_FILES = ("tokenizer*", "vocab*", "*.model", "merges.txt", "*.tiktoken", "tekken.json")


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
    with files.fresh_folder(folder.with_name(f".{name}.source")) as fetched:
        assets.fetch(name, cast(assets.Asset, source.asset), fetched)
        convert_gguf(fetched / cast(str, source.file), folder)
    return {"file": source.file, "sha256": cast(Any, source.asset).files[source.file].sha256}


def convert_gguf(file: str | Path, folder: str | Path) -> None:
    """Dequantise a GGUF file into a model folder (float32). Most of the time goes into its tokenizer."""
    from transformers import AutoTokenizer, GgufConfig

    file, whole = Path(file), GgufConfig(dequantize=True)
    load_whole(file.parent, gguf_file=file.name, quantization_config=whole).save_pretrained(folder)
    with reading(file, "the tokenizer"):
        AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)


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
    """The tokenizer of a model folder, with the chat template that lies beside it. No code from the folder is run.

    Raises InputError for several named templates of which none is the default; the only one is taken.
    """
    from transformers import AutoTokenizer

    folder = Path(folder)
    if folder.is_dir() and not any(any(folder.glob(name)) for name in _TOKENIZER_FILES):
        raise InputError(f"{folder}: no tokenizer. Put the model's own tokenizer.json and its like into the folder.")
    with reading(folder, "the tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    template, legacy = tokenizer.chat_template, folder / "chat_template.json"  # the file of older processors
    if not template and legacy.is_file():
        found = files.read_json(legacy)
        template = found.get("chat_template") if isinstance(found, dict) else None
        if not isinstance(template, (str, dict)):
            raise InputError(f"{legacy}: chat_template must be a template. Fetch the file again.")
    if isinstance(template, dict) and "default" not in template:
        if len(template) != 1:
            raise InputError(
                f"{folder}: its chat templates are named {some(sorted(template), 20)}, and none of them 'default'. "
                "Write the right one into chat_template.jinja."
            )
        (template,) = template.values()
    tokenizer.chat_template = template
    return tokenizer


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
    config = read_config(folder)
    options |= {"attn_implementation": attention(config), "use_safetensors": True}
    if device is not None and "quantization_config" in config:  # packed weights are unpacked where they are to stay
        options, device = options | {"device_map": {"": device}}, None
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
    if "gguf_file" not in options:
        check_folder(Path(folder))
        stored(folder)  # the weights are there
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


def best_device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    import torch

    return (
        cast("torch.device", torch.accelerator.current_accelerator())
        if torch.accelerator.is_available()
        else torch.device("cpu")
    )


def rows(model: PreTrainedModel) -> int:
    """How many token ids a model's embedding has, also where an adapter wraps it."""
    return cast(Any, model.get_input_embeddings()).weight.shape[0]


def spoken(model: PreTrainedModel) -> int:
    """How many of these a model can answer with: all, but for those at the end that its output layer lacks.

    Llama 3.2 Vision's image tokens are such; a backbone has no output layer and lacks none.
    """
    layer = cast(Any, model).get_output_embeddings()
    return rows(model) if layer is None else min(rows(model), layer.weight.shape[0])


def context(model: PreTrainedModel) -> int | None:
    """The most tokens that a model reads; None where nothing bounds them.

    RoBERTa and its like count positions from their padding row on, and so read fewer than their config says.
    """
    from torch.nn import Embedding

    most = sizes(model.config).context
    tables = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
    skipped = [t.padding_idx + 1 for t in tables if isinstance(t, Embedding) and t.padding_idx is not None]
    return most if most is None else most - max(skipped, default=0)


def unembedded(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """Id → token of those that were added to the tokenizer and never to the embedding (an untrained pad token).

    Raises InputError where another token of the tokenizer has no row: it is that of another model.
    """
    size, added = rows(model), tokenizer.get_added_vocab()
    beyond = {i: token for token, i in tokenizer.get_vocab().items() if i >= size}
    if any(token not in added for token in beyond.values()):
        raise InputError(
            f"the tokenizer has {len(tokenizer)} tokens but the embedding only {size} rows: "
            "tokenizer and model do not belong together."
        )
    return dict(sorted(beyond.items()))


def check_ids(ids: Collection[int], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, what: str) -> None:
    """InputError, opened by ``what`` has these ids, where the embedding has no row for one of them."""
    beyond = [i for i in ids if i >= rows(model)]
    if beyond:
        named = some(f"{i} ({tokenizer.convert_ids_to_tokens(i)})" for i in dict.fromkeys(beyond))
        raise InputError(f"{what}: token {named} has no row in the model's embedding of {rows(model)}. Leave it out.")


def vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> pd.DataFrame:
    """The rows of a score table: ``token_id, token_name, token_decoded`` of every row of the embedding (``spoken``).

    Ids beyond the tokenizer's own are padding rows that no text yields: they are named ``<unused id>``, with an empty
    text. Tokens that have no row (``unembedded``) are left out; raises InputError as it does.
    """
    unembedded(model, tokenizer)
    size = spoken(model)
    known = min(len(tokenizer), size)
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
