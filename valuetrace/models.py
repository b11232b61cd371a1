"""Models: rows of data that become safetensors folders, and folders that become loaded models.

Every model of the pipeline is one folder, ``data/models/<name>/``: safetensors weights, config,
tokenizer, and ``provenance.json`` (source, revision or sha256, licence). Where it came from (a GGUF
file, the Hub, a seed) matters only here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from valuetrace import assets, tables
from valuetrace.errors import InputError, some

if TYPE_CHECKING:  # torch and transformers take seconds to import, and half of the stages only read the rows
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MODELS = Path("data/models")
DTYPES = {"float32": 4, "bfloat16": 2, "float16": 2}  # bytes a number


@dataclass(frozen=True)
class Source:
    """Where a model's bytes come from.

    gguf: ``file`` of ``asset``, dequantised to float32. hub: ``repository`` at ``revision``
    (null: resolved and recorded in the lock file at first use). random: tiny weights of an
    ``architecture`` drawn from ``seed``, a reward model's where ``reward`` is true.
    """

    kind: Literal["gguf", "hub", "random"]
    asset: assets.Asset | None = None
    file: str | None = None
    repository: str | None = None
    revision: str | None = None
    architecture: str | None = None
    seed: int = 0
    reward: bool = False

    def __post_init__(self):
        needs = {"gguf": ("asset", "file"), "hub": ("repository",), "random": ("architecture",)}[self.kind]
        missing = [name for name in needs if getattr(self, name) is None]
        if missing:
            raise ValueError(f"a {self.kind} source needs {some(missing)}")


@dataclass(frozen=True)
class TokenizerChanges:
    """What a row adds to the tokenizer that came with the weights."""

    chat_template: str | None = None
    pad_token: str | None = None


@dataclass(frozen=True)
class Scoring:
    """How a model is loaded and asked: what its scores depend on beside its folder."""

    dtype: Literal["float32", "bfloat16", "float16"]
    formats: list[str]
    attention: Literal["sdpa", "eager"] = "sdpa"
    devices: Literal["one", "all"] = "one"
    head: str | None = None  # a reward model's adapter, where its config does not name the right one
    chat_arguments: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """One row of ``models:`` in params.yaml.

    ``source`` and ``tokenizer`` decide the model folder's bytes, ``scoring`` what is computed from it. The rest is
    for people: a stage that depends on ``scoring`` alone is not run again for a label.
    """

    label: str
    family: str
    training: Literal["pretrained", "instruction-tuned", "reward model", "random"]
    licence: str
    source: Source
    tokenizer: TokenizerChanges
    scoring: Scoring
    note: str = ""  # what is known or unsure about the row


def make(name: str, source: Source, changes: TokenizerChanges, folder: Path) -> None:
    """Make the folder of one model (convert, download or draw it). A GGUF file takes one or two minutes."""
    temporary = folder.with_name(f".{folder.name}.partial")
    with tables.fresh_folder(temporary):
        if source.kind == "hub":
            origin = assets.fetch_hub(source.repository, source.revision, temporary)
        elif source.kind == "gguf":
            origin = _convert_gguf(name, source, temporary)
        else:
            from valuetrace import tiny

            tiny.write(source.architecture, source.seed, temporary, source.reward)
            origin = {"architecture": source.architecture, "seed": source.seed}
        _change_tokenizer(changes, temporary)
        tables.write_json({"model": name, "kind": source.kind, "origin": origin}, temporary / "provenance.json")
        tables.replace_folder(temporary, folder)


def provenance(folder: str | Path) -> dict[str, Any]:
    """What a model folder was made from; just its name for a folder that valuetrace did not make."""
    path = Path(folder) / "provenance.json"
    return tables.read_json(path) if path.is_file() else {"model": Path(folder).name}


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


def _convert_gguf(name: str, source: Source, folder: Path) -> dict[str, str]:
    """Fetch and dequantise a GGUF file. Most of the time goes into its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with tables.fresh_folder(folder.with_name(f".{name}.source")) as fetched:
        assets.fetch(name, source.asset, fetched)
        model = AutoModelForCausalLM.from_pretrained(
            fetched, gguf_file=source.file, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
        )
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(fetched, gguf_file=source.file).save_pretrained(folder)
    return {"file": source.file, "sha256": source.asset.files[source.file].sha256}


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
        tables.write_json({**tables.read_json(path), "pad_token_id": tokenizer.pad_token_id}, path)
    tokenizer.save_pretrained(folder)
