"""Loading: a folder that is not whole, or not what its config says, is one line that names what is wrong."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from safetensors.numpy import load_file, save_file
from transformers import GgufConfig

from valuetrace.core.errors import InputError
from valuetrace.models import loading, tiny
from valuetrace.scoring.chat import Format
from valuetrace.scoring.reward_model import load_reward_model
from valuetrace.training import model as training

CHAT = Format("chat", space=False)
# Everybody who loads a folder, and whether it is that of a reward model.
LOADERS: dict[str, tuple[bool, Callable[[Path], object]]] = {
    "log-probabilities": (False, loading.load),
    "training": (False, lambda folder: training.load_base(folder, head="linear", dtype="float32")),
    "rewards": (True, lambda folder: load_reward_model(folder, CHAT, device="cpu")),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Callable[[str, bool], Path]:
    """A tiny model of each architecture and kind, drawn when first asked for; copy it before changing it."""
    root = tmp_path_factory.mktemp("models")

    def folder(architecture: str, reward: bool) -> Path:
        made = root / f"{architecture}-{reward}"
        if not made.is_dir():
            tiny.write(architecture, 1, made, reward)
        return made

    return folder


def config(**changes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def weights(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return rewrite


def text(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def poisoned(value: float) -> Callable[[dict], object]:
    def change(tensors: dict) -> None:
        tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = value

    return change


def indexed(content: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "part.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps(content))

    return change


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


UP, NORM = "model.layers.1.mlp.up_proj.weight", "model.norm.weight"
GONE = {"metadata": {}, "weight_map": {NORM: "gone.safetensors", "score.weight": "gone.safetensors"}}
# what is broken → (architecture, how, what the line names); each of these raised nothing or a traceback
HOSTILE = {
    "a missing tensor": ("llama", weights(lambda t: t.pop(NORM)), r"lack .*norm\.weight"),
    "a missing layer": ("llama", config(num_hidden_layers=3), r"lack .*layers\.2\."),
    "fewer layers in the config": ("llama", config(num_hidden_layers=1), r"does not use: .*layers\.1\."),
    "an architecture without its biases": ("qwen2", config(model_type="llama"), r"does not use: .*k_proj\.bias"),
    "a tensor of another shape": (
        "llama",
        weights(lambda t: t.update({UP: t[UP][:-1]})),
        r"another shape .*up_proj\.weight \[127, 64\] for \[128, 64\]",
    ),
    "a foreign tensor": ("llama", weights(lambda t: t.update(adapter=t[NORM])), "does not use: adapter"),
    "NaN": ("llama", weights(poisoned(np.nan)), r"NaN or infinity in .*layers\.1\.mlp\.up_proj\.weight"),
    "infinity": ("llama", weights(poisoned(np.inf)), r"NaN or infinity in .*layers\.1\.mlp\.up_proj\.weight"),
    "a larger vocabulary": ("llama", config(vocab_size=9000), r"embed_tokens\.weight \[8192, 64\] for \[9000, 64\]"),
    "a config that is a list": ("llama", text("config.json", "[1]"), r"config\.json: holds a list"),
    "a config that is no JSON": ("llama", text("config.json", "{"), r"config\.json: not valid JSON"),
    "architectures that are a name": ("llama", config(architectures="Llama"), "architectures must be a list"),
    "a size in words": ("llama", config(hidden_size="64"), "hidden_size must be a whole number .* not '64'"),
    "no heads": ("llama", config(num_attention_heads=0), "num_attention_heads must be a whole number"),
    "layers without end": ("llama", config(num_hidden_layers=10**9), "num_hidden_layers must be a whole number"),
    "an unknown dtype": ("llama", config(dtype="float99"), "dtype must be one of .*bfloat16.* not 'float99'"),
    "labels that are a list": ("llama", config(id2label=["r"]), "id2label must be an object"),
    "caps in words": ("gemma2", config(attn_logit_softcapping="high"), "attn_logit_softcapping must be a number"),
    "an unknown model type": ("llama", config(model_type="nothing"), "the model cannot be loaded .*nothing"),
    "a null size": ("llama", config(intermediate_size=None), "the model cannot be loaded"),
    "weights cut short": ("llama", cut, r"cannot be loaded \(SafetensorError"),
    "an index that names a missing file": (
        "llama",
        indexed(GONE),
        r"cannot be loaded .*gone\.safetensors",
    ),
    "an index that is a list": ("llama", indexed([]), "cannot be loaded|weight_map must name"),
    "no safetensors": ("llama", lambda f: (f / "model.safetensors").unlink(), "no .*model.safetensors"),
}


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("case", HOSTILE)
def test_a_folder_that_is_not_whole(folders, tmp_path, case, loader):
    architecture, change, message = HOSTILE[case]
    reward, load = LOADERS[loader]
    broken = shutil.copytree(folders(architecture, reward), tmp_path / "broken")
    change(broken)
    with pytest.raises(InputError, match=message) as raised:
        load(broken)
    assert "\n" not in str(raised.value)
    assert str(broken) in str(raised.value)


def lone_head(folder: Path) -> None:
    weights(lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].copy()}))(folder)


LEFTOVERS = {
    "a language head": lone_head,
    "rotary buffers": weights(
        lambda t: t.update({"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(8, np.float32)})
    ),
    "null architectures": config(architectures=None),
    "null labels": config(id2label=None, label2id=None),
}


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("case", LEFTOVERS)
def test_known_leftovers_and_nulls_are_no_fault(folders, tmp_path, case, loader):
    reward, load = LOADERS[loader]
    if reward and case.startswith("null"):
        pytest.skip("a reward model needs its class and its outputs")
    folder = shutil.copytree(folders("llama", reward), tmp_path / "changed")
    LEFTOVERS[case](folder)
    load(folder)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"model": 3}', '{"version": "1.0", "model": {"type": "BPE", "vocab": {}}}', "\ud800{"]
)
def test_a_broken_tokenizer(folders, tmp_path, content):
    folder = shutil.copytree(folders("llama", False), tmp_path / "broken")
    (folder / "tokenizer.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError, match="the tokenizer cannot be loaded") as raised:
        loading.load_tokenizer(folder)
    assert "\n" not in str(raised.value)


def gguf(path: Path, left_out: str) -> None:
    """A tiny Llama as a GGUF file (float32), but for the tensor ``left_out``."""
    writer = GGUFWriter(path, "llama")
    sizes = {"block_count": 1, "embedding_length": 32, "feed_forward_length": 48, "head_count": 4, "head_count_kv": 2}
    for name, value in (sizes | {"context_length": 64, "vocab_size": 40}).items():
        getattr(writer, f"add_{name}")(value)
    writer.add_layer_norm_rms_eps(1e-5)
    shapes = {"token_embd": (40, 32), "output_norm": (32,), "blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,)}
    shapes |= {f"blk.0.attn_{name}": (size, 32) for name, size in {"q": 32, "k": 16, "v": 16, "output": 32}.items()}
    shapes |= {"blk.0.ffn_gate": (48, 32), "blk.0.ffn_up": (48, 32), "blk.0.ffn_down": (32, 48)}
    for name, shape in shapes.items():
        if name != left_out:
            writer.add_tensor(f"{name}.weight", np.ones(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_converted_gguf_lacks_no_tensor(tmp_path):
    """transformers would draw what the file lacks at random, and the folder would be whole."""
    options = {"gguf_file": "model.gguf", "quantization_config": GgufConfig(dequantize=True)}
    gguf(tmp_path / "model.gguf", left_out="")
    assert loading.load_whole(tmp_path, **options).config.num_hidden_layers == 1
    gguf(tmp_path / "model.gguf", left_out="blk.0.ffn_up")
    with pytest.raises(InputError, match=r"lack .*layers\.0\.mlp\.up_proj\.weight"):
        loading.load_whole(tmp_path, **options)
    (tmp_path / "model.gguf").write_bytes(b"GGUF\3\0\0\0")
    with pytest.raises(InputError, match="the model cannot be loaded"):
        loading.load_whole(tmp_path, **options)


def test_a_defect_of_ours_keeps_its_traceback():
    with pytest.raises(KeyError), loading.reading("folder", "the model"):
        {}["key"]
    with pytest.raises(InputError, match="folder: the model cannot be loaded"), loading.reading("folder", "the model"):
        json.loads("{")


@pytest.mark.parametrize(
    ("told", "kernel"),
    [
        ({}, "sdpa"),
        ({"attn_logit_softcapping": None}, "sdpa"),
        ({"attn_logit_softcapping": 50.0}, "eager"),
        ({"text_config": {"attn_logit_softcapping": 50.0}}, "eager"),
        ({"text_config": {"attn_logit_softcapping": None}, "final_logit_softcapping": 30.0}, "sdpa"),
    ],
)
def test_attention_follows_the_config(tmp_path, told, kernel):
    (tmp_path / "config.json").write_text(json.dumps(told))
    assert loading.attention(loading.read_config(tmp_path)) == kernel


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_everybody_loads_with_the_attention_of_the_config(folders, architecture):
    expected = "eager" if architecture == "gemma2" else "sdpa"
    for reward, load in LOADERS.values():
        loaded = load(folders(architecture, reward))
        found = getattr(loaded, "backbone", loaded)
        assert found.config._attn_implementation == expected
        assert not found.training


def test_two_processes_make_one_model(tmp_path):
    """The second waits, and says so; both end well, and the folder is whole."""
    row = {"label": "x", "family": "x", "training": "random", "licence": "none", "tokenizer": {}}
    row |= {"source": {"kind": "random", "architecture": "llama", "seed": 1}}
    row |= {"scoring": {"dtype": "float32", "formats": ["chat"]}}
    (tmp_path / "params.yaml").write_text(json.dumps({"models": {"m": row}}))
    command = [sys.executable, "-m", "stages.models", "m"]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    both = [subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert not any("Traceback" in text for text in said)
    assert (tmp_path / "data/models/m/model.safetensors").is_file()
    assert json.loads((tmp_path / "metrics/models/m.json").read_text())["files"]
