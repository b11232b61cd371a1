"""Tiny random models of each family, with real tokenizers: the plumbing of a full run in seconds.

Their scores mean nothing. They serve the tests and the ``tiny`` profile.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)
from wordfreq import top_n_list

from valuetrace.errors import InputError, some

_SIZES = {
    "vocab_size": 8192,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,  # wide, so that scores differ by more than rounding
    "tie_word_embeddings": True,
}
_GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 8}
ARCHITECTURES = {
    "llama": (LlamaConfig, {"rope_theta": 500000.0}),
    "qwen2": (Qwen2Config, {}),
    # windows shorter than any prompt, and caps low enough to bite: what a search must respect
    "gemma2": (Gemma2Config, {**_GEMMA, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0}),
    "gemma3": (Gemma3TextConfig, {**_GEMMA, "sliding_window_pattern": 2}),
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


def config(architecture: str, **changes) -> PretrainedConfig:
    """The configuration of a tiny model; ``changes`` override its sizes."""
    if architecture not in ARCHITECTURES:
        raise InputError(f"architecture {architecture!r} is unknown; there are {some(ARCHITECTURES)}.")
    cls, extra = ARCHITECTURES[architecture]
    return cls(**{**_SIZES, **extra, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2, **changes})


def model(architecture: str, seed: int = 0, cls: type = AutoModelForCausalLM, **changes) -> torch.nn.Module:
    """A random model (float32, evaluation mode) drawn from ``seed`` without touching torch's global state."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return cls.from_config(config(architecture, **changes)).eval()


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
        trainers.BpeTrainer(
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
    if reward:
        made = model(architecture, seed, AutoModelForSequenceClassification, num_labels=1)
    else:
        made = model(architecture, seed)
    made.save_pretrained(folder)
    tokenizer(architecture).save_pretrained(folder)
