"""Loading: a folder that is not whole, or not what its config says, is one line that names what is wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFWriter
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file as save_tensors
from transformers import GgufConfig, GPTJConfig, GPTJForCausalLM

from valuetrace.core.errors import InputError
from valuetrace.models import loading, tiny
from valuetrace.scoring.chat import Format
from valuetrace.scoring.reward_model import load_reward_model
from valuetrace.subjects import cost
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
    "an unknown model type": ("llama", config(model_type="nothing"), r"model_type 'nothing' .*newer transformers"),
    "code of its own": (
        "llama",
        config(model_type="nothing", auto_map={"AutoModelForCausalLM": "own.Model"}),
        r"'nothing' .*its class is code of its own \(auto_map\), and no code of a folder is run",
    ),
    "a null size": ("llama", config(intermediate_size=None), "the model cannot be loaded"),
    "weights cut short": ("llama", cut, r"cannot be loaded \(SafetensorError"),
    "an index that names a missing file": (
        "llama",
        indexed(GONE),
        r"index\.json: names gone\.safetensors, not there: half a model. Save or fetch the whole model again",
    ),
    "an index that is a list": ("llama", indexed([]), "cannot be loaded|weight_map must name"),
    "no weights": (
        "llama",
        lambda f: (f / "model.safetensors").unlink(),
        r"no model\.safetensors: the weights are not there. Save or fetch the whole model again",
    ),
    "weights of another kind": (
        "llama",
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        r"no model\.safetensors, but pytorch_model\.bin. Only safetensors are read; convert",
    ),
    "an adapter beside the model": (
        "llama",
        text("adapter_config.json", "{}"),
        r"holds an adapter .*beside the config\.json of a model. Move the adapter's files out .*or config\.json out",
    ),
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


def gguf(path: Path, left_out: str, words: list[str] | None = None) -> None:
    """A tiny Llama as a GGUF file (float32), but for the tensor ``left_out``; words: the tokenizer's."""
    writer = GGUFWriter(path, "llama")
    if words is not None:
        writer.add_tokenizer_model("llama")
        writer.add_token_list(words)
        writer.add_token_types([1] * len(words))
        writer.add_token_scores([0.0] * len(words))
        writer.add_token_merges([])
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


def test_a_folder_with_a_gguf_file_says_how_it_is_converted(folders, tmp_path):
    """What it says, done: the new folder is the model."""
    packed, made = tmp_path / "packed", tmp_path / "made"
    packed.mkdir()
    gguf(packed / "model.gguf", left_out="", words=[f"w{i}" for i in range(40)])
    with pytest.raises(InputError, match=r"model\.gguf and no config\.json.*python -c") as raised:
        loading.load(packed)
    call = re.search(r'python -c "(.*)"', str(raised.value))[1].replace("FOLDER", str(made))
    subprocess.run([sys.executable, "-c", call], check=True, cwd=Path(__file__).parents[1])
    assert loading.load(made).config.num_hidden_layers == 1
    assert loading.load_tokenizer(made).convert_ids_to_tokens(7) == "w7"


# quant_method in config.json → (what else it says, what the line names); none of these libraries is installed here
PACKED = {
    "bitsandbytes": ({"load_in_4bit": True}, "pip install bitsandbytes"),
    "gptq": ({"bits": 4, "group_size": 128}, "pip install optimum"),
    "awq": ({"bits": 4}, "pip install gptqmodel"),
    "compressed-tensors": ({"format": "dense", "config_groups": {}}, "pip install compressed-tensors"),
    "hqq": ({}, "needs a library that is not installed"),
    "torchao": ({"quant_type": {"default": "int4_weight_only"}}, "pip install torchao"),
    "nvfp4": ({}, r"quantised \(nvfp4\), which this machine may not unpack: take the model's plain weights"),
}


@pytest.mark.parametrize("method", PACKED)
def test_quantised_weights_name_the_library_that_they_need(folders, tmp_path, method):
    told, message = PACKED[method]
    folder = shutil.copytree(folders("llama", False), tmp_path / "packed")
    config(quantization_config={"quant_method": method, **told})(folder)
    with pytest.raises(InputError, match=message) as raised:
        loading.load(folder)
    assert "\n" not in str(raised.value) and str(folder) in str(raised.value) and "dvc repro" not in str(raised.value)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_weights_of_8_bits_are_unpacked(folders, tmp_path, device):
    """Block-scaled fp8, as DeepSeek and Qwen publish it, needs no library on a CPU."""
    folder = shutil.copytree(folders("llama", False), tmp_path / "packed")
    tensors = load_tensors(folder / "model.safetensors")
    plain = tensors[UP].to(torch.float8_e4m3fn)
    for name in [name for name in tensors if "proj" in name]:
        high, wide = tensors[name].shape
        tensors[name] = tensors[name].to(torch.float8_e4m3fn)
        tensors[f"{name}_scale_inv"] = torch.full((-(-high // 64), -(-wide // 64)), 0.5)
    save_tensors(tensors, folder / "model.safetensors", {"format": "pt"})
    config(quantization_config={"quant_method": "fp8", "weight_block_size": [64, 64]})(folder)
    found = loading.load(folder, device=device)
    torch.testing.assert_close(found.state_dict()[UP], 0.5 * plain.float())
    assert torch.isfinite(found(torch.tensor([[3, 4, 5]])).logits).all()


FAULTS = {
    "a library with its name": (
        ImportError("X requires sentencepiece: `pip install sentencepiece`."),
        "sentencepiece$",
    ),
    "a library without": (
        ModuleNotFoundError("No module named 'mamba_ssm'", name="mamba_ssm"),
        "pip install mamba_ssm$",
    ),
    "attention": (ValueError("X does not support an attention implementation through sdpa"), "implementation='eager'"),
    "a damaged file": (json.JSONDecodeError("cut", "{", 1), r"damaged or cut short. Fetch it again \(dvc repro\)"),
    "a tokenizer that is none": (Exception("data did not match any variant"), r"Fetch it again \(dvc repro\)"),
    "a missing file": (FileNotFoundError("no file merges.txt"), "Check that its files are there"),
    "something else": (TypeError("unsupported operand"), "whether transformers .* is new enough"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_each_fault_has_its_own_remedy(case):
    error, remedy = FAULTS[case]
    library: dict = {"error": error}
    exec(compile("def fail(): raise error", "a library", "exec"), library)
    with pytest.raises(InputError, match=remedy) as raised, loading.reading("folder", "the model"):
        library["fail"]()
    assert ("dvc repro" in str(raised.value)) == ("dvc repro" in remedy)


def test_an_attention_that_a_class_lacks(tmp_path):
    GPTJForCausalLM(GPTJConfig(vocab_size=40, n_embd=32, n_head=4, n_layer=1, rotary_dim=4)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="Its class has no such attention: load it with attn_implementation='eager'"):
        loading.load_whole(tmp_path, attn_implementation="sdpa")
    assert loading.load(tmp_path).config._attn_implementation == "eager"


def test_a_folder_without_a_tokenizer(folders, tmp_path):
    folder = shutil.copytree(folders("llama", False), tmp_path / "bare")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(InputError, match=r"bare: no tokenizer. Put the model's own tokenizer\.json"):
        loading.load_tokenizer(folder)


def test_weights_count_once_where_they_lie_twice(folders, tmp_path):
    """Mistral publishes them also as consolidated.safetensors, which is not read."""
    folder = shutil.copytree(folders("llama", False), tmp_path / "twice")
    alone = cost.stored_parameters(folder)
    shutil.copy(folder / "model.safetensors", folder / "consolidated.safetensors")
    assert cost.stored_parameters(folder) == alone


def test_a_defect_of_ours_keeps_its_traceback():
    with pytest.raises(KeyError), loading.reading("folder", "the model"):
        {}["key"]
    with pytest.raises(InputError, match="folder: the model cannot be loaded"), loading.reading("folder", "the model"):
        json.loads("{")


@pytest.mark.parametrize(
    ("told", "kernel"),
    [
        ({}, None),
        ({"attn_logit_softcapping": None}, None),
        ({"attn_logit_softcapping": 50.0}, "eager"),
        ({"text_config": {"attn_logit_softcapping": 50.0}}, "eager"),
        ({"text_config": {"attn_logit_softcapping": None}, "final_logit_softcapping": 30.0}, None),
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
