"""Models: rows of data that become safetensors folders, and folders that become loaded models.

Every model of the pipeline is one folder, ``data/models/<name>/``: safetensors weights, config,
tokenizer, and ``provenance.json`` (source, revision or sha256, licence). Where it came from (a GGUF
file, the Hub, a seed) matters only here.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from valuetrace import assets, tables, tiny
from valuetrace.errors import InputError, some

MODELS = Path("data/models")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Source:
    """Where a model's bytes come from.

    gguf: ``file`` of the fetched ``asset``, dequantised to float32. hub: ``repository`` at ``revision``
    (null: resolved and recorded in the lock file at first use). random: tiny weights of an
    ``architecture`` drawn from ``seed``.
    """

    kind: Literal["gguf", "hub", "random"]
    asset: str | None = None
    file: str | None = None
    repository: str | None = None
    revision: str | None = None
    architecture: str | None = None
    seed: int = 0

    def __post_init__(self):
        needs = {"gguf": ("asset", "file"), "hub": ("repository",), "random": ("architecture",)}[self.kind]
        missing = [name for name in needs if getattr(self, name) is None]
        if missing:
            raise ValueError(f"a {self.kind} source needs {some(missing)}")


@dataclass(frozen=True)
class Model:
    """One row of ``models:`` in params.yaml."""

    label: str
    family: str
    training: Literal["pretrained", "instruction-tuned", "random"]
    licence: str
    source: Source
    dtype: Literal["float32", "bfloat16", "float16"]
    attention: Literal["sdpa", "eager"] = "sdpa"
    formats: list[str] = field(default_factory=list)
    chat_template: str | None = None
    chat_arguments: dict[str, str] = field(default_factory=dict)
    pad_token: str | None = None
    parameters: str = ""


def make(name: str, row: Model, folder: Path) -> None:
    """Make the folder of one model (convert, download or draw it). Minutes for a GGUF file."""
    temporary = folder.with_name(f".{folder.name}.partial")
    with assets.fresh_folder(temporary):
        source = row.source
        if source.kind == "hub":
            origin = assets.fetch_hub(source.repository, source.revision, temporary)
        elif source.kind == "gguf":
            origin = _convert_gguf(row, temporary)
        else:
            tiny.write(source.architecture, source.seed, temporary)
            origin = {"architecture": source.architecture, "seed": source.seed}
        _set_tokenizer(row, temporary)
        provenance = {"model": name, **asdict(row), "origin": origin}
        tables.write_json(provenance, temporary / "provenance.json")
        assets.replace_folder(temporary, folder)


def provenance(folder: str | Path) -> dict[str, Any]:
    """What a model folder was made from; just its name for a folder that valuetrace did not make."""
    path = Path(folder) / "provenance.json"
    return tables.read_json(path) if path.is_file() else {"model": Path(folder).name}


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder. No code from the folder is run."""
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: no tokenizer can be loaded ({error}).") from None


def load(
    folder: str | Path,
    *,
    dtype: str = "float32",
    attention: str = "sdpa",
    device: str | torch.device | None = None,
    cls: type = AutoModelForCausalLM,
    **options: Any,
) -> PreTrainedModel:
    """Load a model folder for scoring: evaluation mode, safetensors only, no code from the folder."""
    if dtype not in DTYPES:
        raise InputError(f"{folder}: dtype {dtype!r} is not one of {some(DTYPES)}.")
    try:
        model = cls.from_pretrained(
            folder,
            dtype=DTYPES[dtype],
            attn_implementation=attention,
            use_safetensors=True,
            trust_remote_code=False,
            **options,
        )
    except OSError as error:
        raise InputError(f"{folder}: the model cannot be loaded ({error}). Make it again (dvc repro).") from None
    if device is not None:
        model = model.to(device)
    return model.eval()


def best_device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")


def vocabulary(tokenizer: PreTrainedTokenizerBase, size: int) -> tuple[list[str], list[str]]:
    """Names and decoded texts of the token ids 0 … size-1 (``token_name``, ``token_decoded``).

    ``size`` is the number of rows of the embedding; ids beyond the tokenizer's own are padding rows that
    no text yields, and are named ``<unused id>`` with an empty text.
    """
    known = len(tokenizer)
    if known > size:
        raise InputError(
            f"the tokenizer has {known} tokens but the embedding only {size} rows: "
            "tokenizer and model do not belong together."
        )
    names = tokenizer.convert_ids_to_tokens(list(range(known)))
    texts = tokenizer.batch_decode([[i] for i in range(known)], clean_up_tokenization_spaces=False)
    padding = range(known, size)
    return [name if name is not None else f"<unused {i}>" for i, name in enumerate(names)] + [
        f"<unused {i}>" for i in padding
    ], texts + ["" for _ in padding]


def _convert_gguf(row: Model, folder: Path) -> dict[str, str]:
    from transformers import GgufConfig

    asset = assets.FETCHED / row.source.asset
    path = asset / row.source.file
    if not path.is_file():
        raise InputError(f"{path}: not fetched yet. Run the fetch stage (dvc repro fetch).")
    model = AutoModelForCausalLM.from_pretrained(
        asset, gguf_file=path.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    model.save_pretrained(folder)
    del model
    AutoTokenizer.from_pretrained(asset, gguf_file=path.name).save_pretrained(folder)
    return {"file": path.name, "sha256": tables.sha256(path)}


def _set_tokenizer(row: Model, folder: Path) -> None:
    """Write the row's chat template and padding token into the folder, tokenizer and config alike."""
    if row.chat_template is None and row.pad_token is None:
        return
    tokenizer = load_tokenizer(folder)
    if row.chat_template is not None:
        tokenizer.chat_template = row.chat_template
    if row.pad_token is not None:
        if row.pad_token not in tokenizer.get_vocab():
            raise InputError(f"{folder}: pad_token {row.pad_token!r} is not in the vocabulary.")
        tokenizer.pad_token = row.pad_token
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        tables.write_json({**config, "pad_token_id": tokenizer.pad_token_id}, path)
    tokenizer.save_pretrained(folder)
