"""Kinds of tiny random reward models, made by transformers and peft alone, and the rewards that these give them.

``KINDS`` is the table, ``make`` writes a kind as a folder, ``truth`` is what transformers' own forward makes of it.
Nothing of valuetrace is imported here: neither its models nor its tokenisation.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from wordfreq import top_n_list

# ---- families: what config.json has beside SIZES
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
GROUPED = {"num_key_value_heads": 2, "head_dim": 8}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
GEMMA = {**GROUPED, "query_pre_attn_scalar": 8, "sliding_window": 8}  # a window shorter than any conversation
LINEAR = {"layer_types": ["linear_attention", "full_attention"]}
DELTA = {
    **LINEAR,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}
# Cohere, Granite and most state spaces (Mamba, Falcon-H1, Bamba) have no sequence classifier in transformers 5.23.
DECODERS: dict[str, dict[str, Any]] = {
    "llama": GROUPED,
    "mistral": {**GROUPED, "sliding_window": 16},
    "gemma": GROUPED,
    "gemma2": {**GEMMA, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0},  # low enough to bite
    "gemma3_text": {**GEMMA, "layer_types": ["sliding_attention", "full_attention"]},
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": GROUPED,
    "phi": {"num_key_value_heads": 2, "partial_rotary_factor": 0.5},
    "phi3": {"num_key_value_heads": 2, "sliding_window": 16},
    "olmo": {"num_key_value_heads": 2, "clip_qkv": 1.0},
    "olmo2": {"num_key_value_heads": 2},
    "olmo3": {"num_key_value_heads": 2, "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]},
    "gpt_neox": {"rotary_pct": 0.25},
    "gpt2": {},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "falcon": {"new_decoder_architecture": True, "num_kv_heads": 2, "alibi": False},
    "bloom": {},
    "gptj": {"rotary_dim": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 8},
    "gpt_bigcode": {},
    "mixtral": {**GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": {"num_key_value_heads": 2, **EXPERTS, "shared_expert_intermediate_size": 32},
    "qwen3_moe": {**GROUPED, **EXPERTS},
    "gpt_oss": {**GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8},
    "stablelm": {"num_key_value_heads": 2, "partial_rotary_factor": 0.5, "qk_layernorm": True},
    "nemotron": {"num_key_value_heads": 2, "head_dim": 8, "partial_rotary_factor": 0.5},
    "starcoder2": {"num_key_value_heads": 2, "sliding_window": 16},
    "smollm3": {"num_key_value_heads": 2},
    "glm": {**GROUPED, "partial_rotary_factor": 0.5},
    "persimmon": {"partial_rotary_factor": 0.5},
    "diffllama": GROUPED,
    "jamba": {
        "num_key_value_heads": 2,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "num_experts": 2,
        "mamba_d_state": 4,
        "mamba_dt_rank": 4,
        "use_mamba_kernels": False,
    },
    "minimax": {**GROUPED, **LINEAR, "num_local_experts": 2, "num_experts_per_tok": 1, "block_size": 8},
    "qwen3_next": {**GROUPED, **EXPERTS, **DELTA, "shared_expert_intermediate_size": 32},
    "qwen3_5_text": {**GROUPED, **DELTA},
    "mpt": {"attn_config": {"attn_type": "multihead_attention"}},
}
ENCODERS: dict[str, dict[str, Any]] = {
    "deberta-v2": {
        "type_vocab_size": 0,
        "relative_attention": True,
        "position_buckets": 16,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
    },
    "roberta": {"type_vocab_size": 1},
    "bert": {},
    "modernbert": {"local_attention": 8, "global_attn_every_n_layers": 2},
    "electra": {"embedding_size": 16},
    "distilbert": {"dim": 32, "n_heads": 4, "n_layers": 2, "hidden_dim": 48},
}

# ---- templates: (text, BOS, EOS); the tokenizer writes the BOS too, where its post-processor does
TURN = "{% for m in messages %}{% if m['role'] == 'user' %}"
ELSE, END = "{% else %}", "{% endif %}{% endfor %}"
TEMPLATES: dict[str, tuple[str | None, str | None, str]] = {
    "none": (None, "<s>", "</s>"),
    "llama2": (
        TURN
        + "{{ bos_token + '[INST] ' + m['content'] + ' [/INST]' }}"
        + ELSE
        + "{{ ' ' + m['content'] + ' ' + eos_token }}"
        + END,
        "<s>",
        "</s>",
    ),
    "llama3": (
        "{% for m in messages %}{% if loop.first %}{{ bos_token }}{% endif %}{{ '<|start_header_id|>' + m['role'] + "
        "'<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}{% endfor %}",
        "<|begin_of_text|>",
        "<|eot_id|>",
    ),
    "mistral": (
        "{{ bos_token }}"
        + TURN
        + "{{ '[INST] ' + m['content'] + ' [/INST]' }}"
        + ELSE
        + "{{ m['content'] + eos_token }}"
        + END,
        "<s>",
        "</s>",
    ),
    "zephyr": (
        TURN
        + "{{ '<|user|>\n' + m['content'] + eos_token }}"
        + ELSE
        + "{{ '<|assistant|>\n' + m['content'] + eos_token }}{% endif %}{{ '\n' }}{% endfor %}",
        "<s>",
        "</s>",
    ),
    "phi3": (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
        "{{ eos_token }}",
        "<s>",
        "<|endoftext|>",
    ),
    "vicuna": (
        "{{ bos_token + 'A chat between a curious user and an assistant. ' }}"
        + TURN
        + "{{ 'USER: ' + m['content'] + ' ' }}"
        + ELSE
        + "{{ 'ASSISTANT: ' + m['content'] + eos_token }}"
        + END,
        "<s>",
        "</s>",
    ),
    "chatml": (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}",
        None,
        "<|im_end|>",
    ),
    "gemma": (
        "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else "
        "m['role']) + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}",
        "<s>",
        "</s>",
    ),
    "space": (  # ends in a space after the assistant's header
        TURN + "{{ 'Human: ' + m['content'] }}" + ELSE + "{{ '\n\nAssistant: ' + m['content'] + eos_token }}" + END,
        None,
        "<|endoftext|>",
    ),
    "bare": (  # nothing closes the reply
        TURN + "{{ m['content'] + '\n' }}" + ELSE + "{{ m['content'] }}" + END,
        "<s>",
        "</s>",
    ),
}

# ---- tokenizers: (engine, single text, pair of texts)
SPECIAL = (
    *("<unk>", "<pad>", "<s>", "</s>", "<|endoftext|>", "<|begin_of_text|>", "<|start_header_id|>"),
    *("<|end_header_id|>", "<|eot_id|>", "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>", "<|end|>"),
    *("[CLS]", "[SEP]", "[MASK]"),
)
BERT = "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"
TOKENIZERS: dict[str, tuple[str, str, str]] = {
    "bytes": ("bytes", "BOS $A", ""),
    "bytes, no BOS": ("bytes", "$A", ""),
    "bytes, SEP at the end": ("bytes", "$A [SEP]", ""),
    "bytes, EOS at the end": ("bytes", "BOS $A EOS", ""),
    "bytes, one id beyond": ("bytes", "BOS $A", ""),
    "bytes, spare rows": ("bytes", "BOS $A", ""),
    "▁ prepended": ("prepend", "BOS $A", ""),  # Llama 2: by the normalizer, after every special token again
    "▁ always": ("always", "BOS $A", ""),
    "▁ first": ("first", "BOS $A", ""),
    "▁ as space": ("replace", "BOS $A", ""),  # Gemma: nothing is prepended
    "wordpiece": ("wordpiece", *BERT),
    "bytes, pairs": ("bytes", "<s> $A </s>", "<s> $A </s> </s> $B </s>"),
    "▁ pairs": ("always", *BERT),
}
ROWS = 1024


@dataclass(frozen=True)
class Kind:
    """One kind. expected: ``equal``; ``plain``: equal too, by the model's own attention; ``refused`` with ``says``.

    pad: its ``own`` token; ``eos`` that closes a turn, in config and tokenizer; ``none``; ``clash``: the tokenizer's is
    eos, and config.json has none. changes: keys of config.json. output: which of several is the reward.
    """

    name: str
    family: str = "llama"
    template: str = "llama3"
    tokenizer: str = "bytes"
    pad: str = "own"
    head: str = "score"
    adapter: str | None = None
    expected: str = "equal"
    says: str = ""
    changes: dict[str, Any] = field(default_factory=dict)
    output: int | None = None


KINDS: list[Kind] = [
    # every family, with a template and a tokenizer like those that its models are published with
    *[
        Kind(family, family, template, tokenizer, expected=expected)
        for template, tokenizer, expected, families in (
            ("llama3", "bytes", "equal", "llama"),
            ("bare", "bytes", "equal", "mistral phi olmo olmo2 opt mixtral starcoder2 persimmon"),
            ("bare", "bytes", "plain", "stablelm nemotron diffllama jamba"),
            ("chatml", "bytes, no BOS", "equal", "qwen2 qwen3 qwen2_moe qwen3_moe olmo3 smollm3"),
            ("chatml", "bytes, no BOS", "plain", "minimax qwen3_next qwen3_5_text"),
            ("gemma", "▁ as space", "equal", "gemma gemma2 gemma3_text"),
            ("phi3", "bytes", "equal", "phi3 glm"),
            ("phi3", "bytes", "plain", "gpt_oss"),
            ("none", "bytes, no BOS", "equal", "gpt_neox gpt2 gpt_bigcode falcon"),
            ("none", "bytes, no BOS", "plain", "bloom gptj gpt_neo mpt"),
            ("none", "▁ pairs", "plain", "deberta-v2 modernbert"),
            ("none", "bytes, pairs", "plain", "roberta"),
            ("none", "wordpiece", "plain", "bert electra distilbert"),
        )
        for family in families.split()
    ],
    Kind("llama, seen both ways", changes={"is_causal": False}, expected="plain"),
    Kind("falcon, alibi", "falcon", "none", "bytes", changes={"alibi": True}, expected="plain"),
    Kind("deberta-v2, types", "deberta-v2", "none", "▁ pairs", expected="plain", changes={"type_vocab_size": 2}),
    Kind(
        "modernbert, chat", "modernbert", "chatml", "▁ pairs", expected="plain", changes={"classifier_pooling": "mean"}
    ),
    # position
    Kind("pad closes the turn", pad="eos"),
    Kind("pad closes the text", "qwen2", "none", "bytes", pad="eos"),
    Kind("pad closes the turn, ▁", "mistral", "mistral", "▁ prepended", pad="eos"),
    Kind("pad within", "qwen2", "chatml", "bytes, no BOS", pad="eos"),
    Kind("no pad", pad="none"),
    Kind("no pad, gemma", "gemma", "gemma", "▁ as space", pad="none"),
    Kind("no pad, no template", "gpt2", "none", "bytes, no BOS", pad="none"),
    Kind("pad in doubt", pad="clash", expected="refused", says="pad"),
    Kind("pad in doubt, harmless", "qwen2", "chatml", "bytes, no BOS", pad="clash"),
    # ids
    *[
        Kind(f"{template}, {tokenizer}", family, template, tokenizer)
        for family, template, tokenizers in (
            ("llama", "llama2", ("▁ prepended", "▁ always", "▁ first", "bytes")),
            ("mistral", "mistral", ("▁ prepended", "▁ first")),
            ("mistral", "zephyr", ("▁ prepended", "▁ always", "▁ first")),
            ("phi3", "phi3", ("▁ prepended", "▁ first")),
            ("llama", "vicuna", ("▁ prepended", "▁ first")),
            ("llama", "space", ("bytes", "bytes, no BOS", "▁ as space")),
            ("llama", "none", ("▁ prepended", "▁ first")),
            ("llama", "chatml", ("bytes, SEP at the end", "bytes, EOS at the end", "▁ prepended")),
            ("llama", "llama3", ("bytes, SEP at the end", "bytes, one id beyond", "bytes, spare rows")),
            ("llama", "bare", ("bytes, EOS at the end",)),
        )
        for tokenizer in tokenizers
    ],
    # heads
    Kind("v_head", head="v_head"),
    Kind("v_head.summary", head="v_head.summary"),
    Kind("v_head in a file beside", head="beside"),
    Kind("value_head", head="value_head"),
    Kind("reward_head", "qwen2", "chatml", "bytes, no BOS", head="reward_head"),
    Kind("regression_head", "mistral", "mistral", "bytes", head="regression_head"),
    Kind("two layers", head="two layers"),
    Kind("two outputs", head="two", expected="refused", says="output"),
    Kind("two outputs, the second", head="two", output=1),
    Kind("two labels, one row", head="two labels"),
    # adapters
    *[Kind(f"adapter: {how}", adapter=how) for how in ("LoRA", "DoRA", "rsLoRA", "embeddings", "tokens", "score")],
    Kind("adapter on pythia", "gpt_neox", "none", "bytes", adapter="LoRA"),
    Kind("adapter on a language model", adapter="on a language model"),
    Kind("adapter, pad closes the turn", adapter="LoRA", pad="eos"),
    Kind("adapter beside a model", adapter="beside", expected="refused", says="adapter_config.json"),
]

# ---- heads that are no transformers class: (tensors' name, bias, class of the folder, file)
WEIGHTS = "model.safetensors"
HEADS: dict[str, tuple[str, bool, str, str]] = {
    "v_head": ("v_head", False, "ForCausalLM", WEIGHTS),
    "v_head.summary": ("v_head.summary", True, "ForCausalLM", WEIGHTS),  # trl
    "beside": ("v_head.summary", True, "ForCausalLM", "value_head.safetensors"),  # LLaMA-Factory
    "value_head": ("value_head", False, "Model", WEIGHTS),
    "reward_head": ("reward_head", False, "ForCausalLM", WEIGHTS),
    "regression_head": ("regression_head", True, "Model", WEIGHTS),
    "two layers": ("score", True, "ForSequenceClassification", WEIGHTS),  # INF-ORM
}
LORA = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj"], "task_type": "SEQ_CLS"}
ADAPTERS: dict[str, dict[str, Any]] = {
    "LoRA": {"target_modules": "all-linear"},
    "DoRA": {"use_dora": True},
    "rsLoRA": {"use_rslora": True},
    "embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "tokens": {"trainable_token_indices": {"embed_tokens": [8, 300, 301]}},
    "score": {"task_type": None, "modules_to_save": ["score"]},
    "on a language model": {},
    "beside": {},
}


# ---- what writes a folder


def make(kind: Kind, folder: Path) -> Path:
    """Write a kind below ``folder``; returns what is audited: the model's folder, or that of its adapter."""
    torch.manual_seed(0)
    tokenizer, base = make_tokenizer(kind), folder / "model"
    config = make_config(kind, tokenizer)
    if kind.head in HEADS:
        _write_headed(kind, config, base)
    else:
        cls = AutoModelForCausalLM if kind.adapter == "on a language model" else AutoModelForSequenceClassification
        model = _drawn(cls.from_config(config))
        if kind.head == "two labels":
            model.config.id2label = {0: "rejected", 1: "chosen"}
        model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    if kind.adapter is None:
        return base
    adapter = _write_adapter(kind, base, folder / "adapter")
    if kind.adapter == "on a language model":  # whose base has no chat template yet
        tokenizer.save_pretrained(adapter)
        make_tokenizer(replace(kind, template="none")).save_pretrained(base)
    return adapter


def _write_headed(kind: Kind, config, folder: Path) -> None:
    """A language model, or one without a head, whose weights hold a head under a name of its own."""
    name, bias, cls, file = HEADS[kind.head]
    model = _drawn((AutoModelForCausalLM if cls == "ForCausalLM" else AutoModel).from_config(config))
    model.save_pretrained(folder)
    width = config.hidden_size
    layers = [nn.Linear(width, 1, bias)]
    if kind.head == "two layers":
        layers = [nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)]
    names = [name] if len(layers) == 1 else [f"{name}.{number}" for number in range(len(layers))]
    tensors = {
        f"{at}.{key}": nn.init.normal_(value, std=0.2).detach()
        for at, layer in zip(names, layers, strict=True)
        for key, value in layer.named_parameters()
    }
    own = load_file(folder / WEIGHTS)
    if kind.head == "two layers":
        own = {f"model.{key}": value for key, value in own.items()}
        path = folder / "config.json"
        path.write_text(
            json.dumps(json.loads(path.read_text()) | {"architectures": ["INFORMForSequenceClassification"]})
        )
    save_file({**tensors, **(own if file == WEIGHTS else {})}, folder / file, metadata={"format": "pt"})


def _write_adapter(kind: Kind, base: Path, folder: Path) -> Path:
    """An adapter as peft trains and saves it; ``beside``: into the folder of its model."""
    model = get_peft_model(_classifier(base), LoraConfig(**(LORA | ADAPTERS[str(kind.adapter)])))
    trained = [value for value in model.parameters() if value.requires_grad]
    for value in trained:  # B is 0 when fresh
        value.data.add_(torch.randn_like(value), alpha=0.2)
    model.save_pretrained(base if kind.adapter == "beside" else folder)
    return base if kind.adapter == "beside" else folder


def _drawn(model: PreTrainedModel) -> PreTrainedModel:
    """With wide weights, biases that are not 0, and what a class draws itself (norms, decays) left alone."""
    for name, value in model.named_parameters():
        if name.endswith(".bias") or (value.ndim > 1 and not name.endswith(("A_log", "conv1d.weight"))):
            nn.init.normal_(value, std=0.2)
    return model.eval()


def make_config(kind: Kind, tokenizer: PreTrainedTokenizerFast):
    """The configuration of a kind, with the ids of its tokenizer."""
    rows = len(tokenizer) + {"bytes, one id beyond": -1, "bytes, spare rows": 36}.get(kind.tokenizer, 0)
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    pad = tokenizer.pad_token_id if kind.pad in ("own", "eos") else None
    if kind.tokenizer == "bytes, one id beyond":
        pad = None  # that id is the pad
    own = (DECODERS | ENCODERS)[kind.family]
    given = {**SIZES, **ids, **own, "vocab_size": rows, "pad_token_id": pad, **kind.changes}
    if HEADS.get(kind.head, ("",) * 3)[2] not in ("ForCausalLM", "Model") and kind.adapter != "on a language model":
        given["num_labels"] = 2 if kind.head == "two" else 1
    return AutoConfig.for_model(kind.family, **given)


def make_tokenizer(kind: Kind) -> PreTrainedTokenizerFast:
    """The tokenizer of a kind: an engine, a post-processor, a chat template, special tokens."""
    template, bos, eos = TEMPLATES[kind.template]
    name, single, pair = TOKENIZERS[kind.tokenizer]
    engine = Tokenizer.from_str(_engine(name))
    single = single.replace("BOS ", f"{bos} " if bos else "").replace("EOS", eos)
    special = [(token, engine.token_to_id(token)) for token in SPECIAL]
    engine.post_processor = processors.TemplateProcessing(
        single=single, pair=pair or f"{single} {single.replace('$A', '$B')}", special_tokens=special
    )
    pad = {"own": "<pad>", "eos": eos, "none": None, "clash": eos}[kind.pad]
    encoder = kind.family in ENCODERS
    types = ["token_type_ids"] if encoder and kind.family not in ("modernbert", "distilbert", "roberta") else []
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=engine,
        bos_token=bos,
        eos_token=eos,
        unk_token="<unk>",
        pad_token=pad,
        **({"cls_token": "[CLS]", "sep_token": "[SEP]"} if encoder else {}),
        chat_template=template,
        model_input_names=["input_ids", *types, "attention_mask"],
    )
    if kind.tokenizer == "bytes, one id beyond":
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    return tokenizer


@cache
def _engine(name: str) -> str:
    """A tokenizer of ``ROWS`` tokens, trained on frequent words, as tokenizer.json has it."""
    words = [*top_n_list("en", 100), "world", "right", "home"]
    corpus = [form for word in words for form in (word, f" {word}", word.capitalize(), f" {word.capitalize()}")]
    if name == "wordpiece":
        engine = Tokenizer(models.WordPiece(unk_token="<unk>"))
        engine.normalizer, engine.decoder = normalizers.BertNormalizer(), decoders.WordPiece()
        engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(
            vocab_size=ROWS, special_tokens=list(SPECIAL), initial_alphabet=list("?.,:-"), show_progress=False
        )
        engine.train_from_iterator(corpus, trainer)
        return engine.to_str()
    spaced = name != "bytes"
    engine = Tokenizer(models.BPE(byte_fallback=False, unk_token="<unk>" if spaced else None))
    alphabet = [*map(chr, range(33, 127)), "▁", "\n", "é"] if spaced else pre_tokenizers.ByteLevel.alphabet()
    if spaced:
        engine.normalizer = normalizers.Replace(" ", "▁")
        engine.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
        engine.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    else:
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        engine.decoder = decoders.ByteLevel()
    engine.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=ROWS, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
        ),
    )
    if name == "prepend":
        engine.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    elif name in ("always", "first"):
        engine.normalizer = None
        engine.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=name, split=True)
    return engine.to_str()


# ---- what transformers makes of a folder

QUESTION = "Question: {prompt}\nAnswer: {word}"


def encode(folder: Path, prompt: str, word: str) -> dict[str, list[int]]:
    """The whole conversation as the tokenizer renders it: ``input_ids`` and what else the model reads."""
    tokenizer = read_tokenizer(folder)
    if tokenizer.chat_template:
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": word}]
        found = tokenizer(tokenizer.apply_chat_template(messages, tokenize=False))
    elif _config(folder).model_type in ENCODERS:
        found = tokenizer(prompt, word)
    else:
        found = tokenizer(QUESTION.format(prompt=prompt, word=word) + tokenizer.eos_token)
    bos = tokenizer.bos_token_id
    twice = bos is not None and found["input_ids"][:2] == [bos, bos]  # by the template and by the tokenizer
    return {key: value[twice:] for key, value in found.items()}


def truth(folder: Path, prompt: str, words: list[str], output: int = 0) -> list[float]:
    """The reward of each word: one conversation at a time, without padding, through the model's own forward."""
    return [_reward(folder, prompt, word, output) for word in words]


@cache
def _reward(folder: Path, prompt: str, word: str, output: int) -> float:
    given = {key: torch.tensor([value]) for key, value in encode(folder, prompt, word).items()}
    with torch.inference_mode():
        return float(read_model(folder)(**given)[0, output])


def padded(folder: Path, prompt: str, words: list[str], output: int = 0) -> list[float]:
    """The same in one batch, padded on the right with the pad token of config.json."""
    rows = [encode(folder, prompt, word) for word in words]
    longest = max(len(row["input_ids"]) for row in rows)
    fill = {"input_ids": _config(folder).pad_token_id}
    batch = {
        key: torch.tensor([row[key] + [fill.get(key, 0)] * (longest - len(row[key])) for row in rows])
        for key in rows[0]
    }
    with torch.inference_mode():
        return read_model(folder)(**batch)[:, output].tolist()


@cache
def read_model(folder: Path):
    """A function of the model's inputs that returns its logits (B, outputs), in float32."""
    model = _loaded(folder)
    if model is not None:
        return lambda **given: model(**given).logits
    backbone, head = AutoModel.from_pretrained(folder).eval(), _read_head(folder)

    def last(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return head(hidden[torch.arange(len(hidden)), attention_mask.sum(1) - 1])

    return last


def in_memory(folder: Path) -> nn.Module | None:
    """The model as transformers and peft load it (a copy); None for a head that is no class of theirs."""
    return copy.deepcopy(_loaded(folder))


@cache
def _loaded(folder: Path) -> nn.Module | None:
    if _base(folder) != folder:
        return PeftModel.from_pretrained(_classifier(_base(folder)), folder).eval()
    if any(name.endswith(_HEAD) for name in _tensors(folder)):
        return None
    return _classifier(folder).eval()


@cache
def read_tokenizer(folder: Path):
    """The tokenizer of a folder; of an adapter without one, its base's."""
    return AutoTokenizer.from_pretrained(folder if (folder / "tokenizer.json").is_file() else _base(folder))


@cache
def _config(folder: Path):
    return AutoConfig.from_pretrained(_base(folder))


_HEAD = ("head.weight", "v_head.summary.weight", "score.0.weight")


def _base(folder: Path) -> Path:
    """The folder of the weights: an adapter's base, else ``folder``."""
    if (folder / "config.json").is_file():
        return folder
    return Path(json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"])


def _classifier(folder: Path) -> PreTrainedModel:
    """With as many outputs as the stored head has rows; one where none is stored."""
    rows = [value.shape[0] for key, value in _tensors(folder).items() if key in ("score.weight", "classifier.weight")]
    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=(rows or [1])[0])


def _tensors(folder: Path) -> dict[str, Tensor]:
    return {key: value for file in folder.glob("*.safetensors") for key, value in load_file(file).items()}


def _read_head(folder: Path) -> nn.Module:
    """The linear layers of a folder's head, ReLU between."""
    tensors = _tensors(folder)
    names = sorted(
        {key.rpartition(".")[0] for key in tensors if key.endswith((*_HEAD, "score.2.weight"))} - {"lm_head"}
    )
    layers: list[nn.Module] = []
    for name in names:
        weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
        layer = nn.Linear(*weight.shape[::-1], bias=bias is not None)
        layer.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
        layers += [nn.ReLU(), layer] if layers else [layer]
    return nn.Sequential(*layers).eval()
