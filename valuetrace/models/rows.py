"""Models as rows of data: where the bytes come from, how the model is asked, what people call it.

Every model of the pipeline is one folder, ``data/models/<name>/``: safetensors weights, config, tokenizer, and
``provenance.json`` (source, revision or sha256).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from valuetrace import assets
from valuetrace.core import files, settings
from valuetrace.core.errors import some

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


def labels() -> dict[str, str]:
    """Model → its name in print, of every row in params.yaml."""
    return {name: row.label for name, row in settings.get("models", dict[str, Model]).items()}


def provenance(folder: str | Path) -> dict[str, Any]:
    """What a model folder was made from; just its name for a folder that valuetrace did not make."""
    path = Path(folder) / "provenance.json"
    return files.read_json(path) if path.is_file() else {"model": Path(folder).name}


@dataclass(frozen=True)
class Rewards:
    """``lexicons``: whose words are the candidates; none means every token of the vocabulary."""

    lexicons: list[str]
    tokenisation: Literal["exact", "as_published"]
