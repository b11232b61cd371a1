"""Tiny random models of each family, with real tokenizers: the plumbing of a full run in seconds.

Their scores mean nothing. They serve the tests and the ``tiny`` profile. The weights are drawn by numpy, since
importing torch and transformers takes longer than everything else about them.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast
from wordfreq import top_n_list

from valuetrace.core.errors import InputError, some

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SIZES = {
    "vocab_size": 8192,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,  # wide, so that scores differ by more than rounding
    "tie_word_embeddings": True,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
}
_GEMMA = {"query_pre_attn_scalar": 16, "sliding_window": 8}
_GEMMA_NORMS = ("pre_feedforward_layernorm", "post_feedforward_layernorm")
ARCHITECTURES = {
    "llama": {"model_type": "llama", "rope_theta": 500000.0},
    "qwen2": {"model_type": "qwen2"},
    # windows shorter than any prompt, and caps low enough to bite: what a search must respect
    "gemma2": {"model_type": "gemma2", **_GEMMA, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0},
    "gemma3": {"model_type": "gemma3_text", **_GEMMA, "sliding_window_pattern": 2},
}
_CLASSES = {
    "llama": ("LlamaForCausalLM", "LlamaForSequenceClassification"),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2ForSequenceClassification"),
    "gemma2": ("Gemma2ForCausalLM", "Gemma2ForSequenceClassification"),
    "gemma3": ("Gemma3ForCausalLM", "Gemma3TextForSequenceClassification"),
}
_GEMMA_TURNS = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n'"
    " + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
_LLAMA_TURNS = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_QWEN_TURNS = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def config(architecture: str, reward: bool = False, **changes: Any) -> dict[str, Any]:
    """config.json of a tiny language model, or reward model (one output); ``changes`` override its sizes."""
    if architecture not in ARCHITECTURES:
        raise InputError(f"architecture {architecture!r} is unknown; there are {some(ARCHITECTURES)}.")
    labels = {"id2label": {"0": "reward"}, "label2id": {"reward": 0}} if reward else {}
    head = {"architectures": [_CLASSES[architecture][reward]], "dtype": "float32", **labels}
    return {**head, **_SIZES, **cast(Any, ARCHITECTURES[architecture]), **changes}


def weights(architecture: str, seed: int, reward: bool = False, **changes: Any) -> dict[str, np.ndarray]:
    """Every tensor of a tiny model (float32) by its name in transformers: normal, but for norms and biases.

    Gemma's norms multiply by 1 + their weight, so theirs are 0.
    """
    made = config(architecture, reward, **changes)
    draws, gemma = np.random.default_rng(seed), architecture.startswith("gemma")

    def normal(*shape: int) -> np.ndarray:
        return draws.standard_normal(shape, dtype=np.float32) * np.float32(made["initializer_range"])

    def norm(size: int) -> np.ndarray:
        return np.full(size, 0 if gemma else 1, dtype=np.float32)

    width, inner, head = made["hidden_size"], made["intermediate_size"], made["head_dim"]
    out = {"q": made["num_attention_heads"] * head}
    out["k"] = out["v"] = made["num_key_value_heads"] * head
    tensors = {"model.embed_tokens.weight": normal(made["vocab_size"], width), "model.norm.weight": norm(width)}
    for number in range(made["num_hidden_layers"]):
        layer = {f"self_attn.{name}_proj.weight": normal(size, width) for name, size in out.items()}
        layer["self_attn.o_proj.weight"] = normal(width, out["q"])
        layer |= {f"mlp.{name}_proj.weight": normal(inner, width) for name in ("gate", "up")}
        layer["mlp.down_proj.weight"] = normal(width, inner)
        for name in ("input_layernorm", "post_attention_layernorm", *(_GEMMA_NORMS if gemma else ())):
            layer[f"{name}.weight"] = norm(width)
        if architecture == "gemma3":
            layer |= {f"self_attn.{name}_norm.weight": norm(head) for name in ("q", "k")}
        if architecture == "qwen2":
            layer |= {f"self_attn.{name}_proj.bias": np.zeros(size, dtype=np.float32) for name, size in out.items()}
        tensors |= {f"model.layers.{number}.{name}": tensor for name, tensor in layer.items()}
    if reward:
        tensors["score.weight"] = normal(1, width)
    return tensors


def model(
    architecture: str, seed: int = 0, cls: type | None = None, reward: bool = False, **changes: Any
) -> PreTrainedModel:
    """A tiny model as transformers loads it (float32, evaluation mode; a language model by default)."""
    from transformers import AutoModelForCausalLM

    with tempfile.TemporaryDirectory() as folder:
        _save(Path(folder), architecture, seed, reward, **changes)
        load = cast(Any, cls or AutoModelForCausalLM).from_pretrained
        return load(folder, attn_implementation="eager").eval()  # sdpa ignores Gemma 2's soft caps


def tokenizer(architecture: str) -> PreTrainedTokenizerFast:
    """A byte-pair tokenizer trained on frequent English words, with the family's special tokens.

    Gemma's marks a space by ▁ and puts a BOS before every text; Llama's puts one too, by bytes; Qwen's
    has none. All three chat templates follow the families' own.
    """
    gemma = architecture.startswith("gemma")
    turns = {
        "gemma": (["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"], _GEMMA_TURNS),
        "llama": (
            [
                "<|pad|>",
                "<|end_of_text|>",
                "<|begin_of_text|>",
                "<|start_header_id|>",
                "<|end_header_id|>",
                "<|eot_id|>",
            ],
            _LLAMA_TURNS,
        ),
        "qwen2": (["<|endoftext|>", "<|im_end|>", "<|im_start|>"], _QWEN_TURNS),
    }
    special, template = turns["gemma" if gemma else architecture]
    engine = Tokenizer(models.BPE(byte_fallback=gemma, unk_token=special[0] if gemma else None))
    if gemma:
        engine.normalizer = normalizers.Replace(" ", "▁")
        engine.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
        engine.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        alphabet = [chr(c) for c in range(32, 127)] + ["▁", "\n"]
    else:
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        engine.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    words = top_n_list("en", 2000)
    corpus = [form for word in words for form in (word, f" {word}", word.capitalize(), f" {word.capitalize()}")]
    engine.train_from_iterator(
        corpus,
        cast(Any, trainers).BpeTrainer(
            vocab_size=_SIZES["vocab_size"], special_tokens=special, initial_alphabet=alphabet, show_progress=False
        ),
    )
    if architecture != "qwen2":
        engine.post_processor = processors.TemplateProcessing(
            single=f"{special[2]} $A", special_tokens=[(special[2], 2)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=engine,
        pad_token=special[0],
        eos_token=special[1],
        bos_token=None if architecture == "qwen2" else special[2],
        additional_special_tokens=special[3:],
        chat_template=template,
    )


def write(architecture: str, seed: int, folder: Path, reward: bool = False) -> None:
    """Save a random language model, or reward model (one output), and its tokenizer as a model folder."""
    _save(folder, architecture, seed, reward)
    tokenizer(architecture).save_pretrained(folder)


def _save(folder: Path, architecture: str, seed: int, reward: bool, **changes: Any) -> None:
    made = config(architecture, reward, **changes)  # first: it refuses an unknown architecture
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(made, indent=2), encoding="utf-8")
    save_file(weights(architecture, seed, reward, **changes), folder / "model.safetensors", metadata={"format": "pt"})
