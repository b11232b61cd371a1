"""From a row to a model folder: convert a GGUF file, download from the Hub, draw random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from valuetrace import assets, hub
from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.models import loading
from valuetrace.models.rows import Source, TokenizerChanges


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
        loading.load_whole(fetched, gguf_file=source.file, quantization_config=whole).save_pretrained(folder)
        with loading.reading(fetched / cast(str, source.file), "the tokenizer"):
            AutoTokenizer.from_pretrained(fetched, gguf_file=source.file).save_pretrained(folder)
    return {"file": source.file, "sha256": cast(Any, source.asset).files[source.file].sha256}


def _change_tokenizer(changes: TokenizerChanges, folder: Path) -> None:
    """Write the row's chat template and padding token into the folder, tokenizer and config alike."""
    if changes == TokenizerChanges():
        return
    tokenizer = loading.load_tokenizer(folder)
    if changes.chat_template is not None:
        tokenizer.chat_template = changes.chat_template
    if changes.pad_token is not None:
        if changes.pad_token not in tokenizer.get_vocab():
            raise InputError(f"{folder}: pad_token {changes.pad_token!r} is not in the vocabulary.")
        tokenizer.pad_token = changes.pad_token
        path = folder / "config.json"
        files.write_json({**files.read_json(path), "pad_token_id": tokenizer.pad_token_id}, path, exact=True)
    tokenizer.save_pretrained(folder)
