"""Language models of every family that transformers has: our log-probabilities are those of their own forward."""

import copy
import inspect
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, GPT2Config, RobertaConfig, RobertaForCausalLM

from valuetrace.core.errors import InputError
from valuetrace.models import loading
from valuetrace.scoring.chat import Format, render
from valuetrace.scoring.logprobs import next_token_logprobs

PLAIN = Format("text", space=True)
PROMPTS = pd.DataFrame({"key": ["a", "b", "c"], "text": ["What is good?", "What is life?", "Who, of all, is great?"]})

# What the families call the same few sizes; a config is given those that it has.
WIDTH = dict.fromkeys(
    ("hidden_size", "n_embd", "d_model", "attention_hidden_size", "lru_width", "word_embed_proj_dim"), 32
)
INNER = dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim", "dff"), 64)
INNER |= dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 32)
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads", "decoder_attention_heads")
CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len", "context_length")
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
STATES = ("ssm_state_size", "state_size", "mamba_d_state", "linear_key_head_dim", "linear_value_head_dim")
SMALL = WIDTH | INNER | dict.fromkeys(LAYERS, 2) | dict.fromkeys(HEADS, 4) | dict.fromkeys(CONTEXT, 64)
SMALL |= dict.fromkeys(EXPERTS, 4) | dict.fromkeys(("num_key_value_heads", "num_experts_per_tok"), 2)
SMALL |= dict.fromkeys(STATES, 8) | {
    "sliding_window": 8,
    "rotary_dim": 4,
    "initializer_range": 0.2,
    "init_std": 0.2,
    "is_decoder": True,
}
SMALL |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1}

NOTHING: dict = {}
HEAD = {"head_dim": 8}
LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
MIXED = ["linear_attention", "full_attention"]
LIKE_LLAMA = (
    *("llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi", "phi3", "cohere", "cohere2", "starcoder2"),
    *("stablelm", "olmo2", "nemotron", "diffllama", "smollm3", "glm4", "gpt_neox"),
    *("mixtral", "olmoe", "qwen2_moe", "qwen3_moe", "gpt_oss"),
)
OTHERS = (
    *(
        "gpt2",
        "gpt_bigcode",
        "gptj",
        "codegen",
        "opt",
        "falcon",
        "bloom",
        "mpt",
        "xglm",
        "biogpt",
        "ctrl",
        "openai-gpt",
    ),
    *("bart", "mamba", "falcon_mamba", "rwkv", "moshi"),
)
FAMILIES: dict[str, dict] = {
    **dict.fromkeys(LIKE_LLAMA, HEAD),
    **dict.fromkeys(OTHERS, NOTHING),
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 8},
    "deepseek_v3": LATENT | {"n_group": 2, "topk_group": 1, "num_key_value_heads": 4, "first_k_dense_replace": 1},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 2},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "mamba_dt_rank": 4},
    "bamba": HEAD | {"attn_layer_indices": [1], "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1},
    "qwen3_next": HEAD | {"layer_types": MIXED, "linear_num_key_heads": 2, "linear_num_value_heads": 4},
    "minimax": HEAD | {"layer_types": MIXED},
    "recurrent_gemma": HEAD | {"block_types": ["recurrent", "attention"], "attention_window_size": 8},
    "lfm2": HEAD | {"layer_types": ["conv", "full_attention"]},
}


def draw(family: str, folder: Path, tokenizer) -> None:
    """A tiny random language model of a family, with a tokenizer, as transformers saves it."""
    made = CONFIG_MAPPING[family]
    known = {*inspect.signature(made.__init__).parameters, *getattr(made, "__dataclass_fields__", {})}
    changes = {key: value for key, value in SMALL.items() if key in known} | FAMILIES[family]
    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(made(**{"vocab_size": len(tokenizer)} | changes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def plain(folder: Path, tokenizer, text: str) -> np.ndarray:
    """The log-probabilities by transformers alone: its own loading and forward, one prompt."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(torch.tensor([render(tokenizer, PLAIN, text).prefix])).logits[0, -1].log_softmax(-1).numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_log_probabilities_are_those_of_the_models_own_forward(family, tokenizers, tmp_path):
    """Two prompts of equal length share a batch, also through a state-space model; the third stands alone."""
    tokenizer = tokenizers["llama"]
    draw(family, tmp_path, tokenizer)
    model = loading.load(tmp_path)
    found = next_token_logprobs(model, tokenizer, PROMPTS, PLAIN)
    lengths = [len(render(tokenizer, PLAIN, text).prefix) for text in PROMPTS["text"]]
    assert lengths[0] == lengths[1] != lengths[2]
    for key, text in zip(PROMPTS["key"], PROMPTS["text"], strict=True):
        np.testing.assert_allclose(found[key], plain(tmp_path, tokenizer, text), atol=1e-5, rtol=1e-5)
    assert found.std().min() > 0.05 and np.abs(found["a"] - found["b"]).max() > 1e-3
    assert len(loading.vocabulary(model, tokenizer)) == len(found)


@pytest.mark.parametrize(
    ("family", "told", "expected"),
    [
        ("llama", {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}, (32, 48, 4, 2048)),
        ("gpt2", {"n_embd": 32, "n_head": 4, "n_positions": 64}, (32, 128, 4, 64)),
        ("opt", {"hidden_size": 32, "ffn_dim": 48, "num_attention_heads": 4}, (32, 48, 4, 2048)),
        ("falcon", {"hidden_size": 32, "num_attention_heads": 4}, (32, 128, 4, 2048)),
        ("bloom", {"hidden_size": 32, "n_head": 4}, (32, 128, 4, None)),
        ("mpt", {"d_model": 32, "n_heads": 4, "max_seq_len": 64}, (32, 128, 4, 64)),
        ("xlm", {"emb_dim": 32, "n_heads": 4}, (32, 128, 4, 512)),
        ("dbrx", {"d_model": 32, "n_heads": 4, "ffn_config": {"ffn_hidden_size": 48}}, (32, 48, 4, 2048)),
        ("mamba", {"hidden_size": 32}, (32, 64, 1, None)),
        (
            "gemma3n_text",
            {"hidden_size": 32, "intermediate_size": [48, 96], "num_hidden_layers": 2},
            (32, 96, 8, 32768),
        ),
        ("whisper", {"d_model": 32, "decoder_attention_heads": 4, "encoder_attention_heads": 4}, (32, 1536, 4, 448)),
    ],
)
def test_sizes_by_what_a_family_calls_them(family, told, expected):
    assert tuple(loading.sizes(CONFIG_MAPPING[family](**told))) == expected


def test_sizes_of_a_config_that_has_none():
    with pytest.raises(InputError, match="resnet names no hidden_size"):
        loading.sizes(CONFIG_MAPPING["resnet"](hidden_sizes=[1]))


def test_a_roberta_reads_fewer_tokens_than_its_config_says(tokenizers):
    """Its positions begin after the padding row: the last two of 66 are beyond the table."""
    told = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "num_hidden_layers": 1}
    config = RobertaConfig(**told, vocab_size=8192, max_position_embeddings=66, pad_token_id=1, is_decoder=True)
    model = RobertaForCausalLM(config).eval()
    assert loading.context(model) == 64
    model(torch.full((1, 64), 7))
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, 65), 7))
    long = pd.DataFrame({"key": ["long"], "text": [" freedom" * 64]})
    with pytest.raises(InputError, match="prompt long: 65 tokens, but the model reads at most 64"):
        next_token_logprobs(model, tokenizers["llama"], long, PLAIN)


# --- a tokenizer with more tokens than the embedding has rows --------------------------------------


@pytest.fixture
def padded(tokenizers):
    """A model, and its tokenizer with a pad token that was added and never trained."""
    tokenizer = copy.deepcopy(tokenizers["qwen2"])
    rows = len(tokenizer)
    tokenizer.add_special_tokens({"pad_token": "<never trained>"})
    torch.manual_seed(1)
    config = GPT2Config(vocab_size=rows, n_embd=32, n_head=4, n_layer=1, n_positions=64, bos_token_id=1, eos_token_id=1)
    return AutoModelForCausalLM.from_config(config).eval(), tokenizer


def test_a_token_that_was_never_trained_is_left_out(padded):
    model, tokenizer = padded
    size = len(tokenizer) - 1
    assert loading.unembedded(model, tokenizer) == {size: "<never trained>"}
    assert list(loading.vocabulary(model, tokenizer)["token_id"]) == list(range(size))
    assert len(next_token_logprobs(model, tokenizer, PROMPTS, PLAIN)) == size


def test_a_text_that_has_the_token_is_refused(padded):
    model, tokenizer = padded
    prompts = PROMPTS.assign(text=[*PROMPTS["text"][:2], "Who <never trained>?"])
    with pytest.raises(InputError, match=r"prompt c: token \d+ \(<never trained>\) has no row"):
        next_token_logprobs(model, tokenizer, prompts, PLAIN)


# --- chat templates ---------------------------------------------------------------------------------

TURN = "{% for message in messages %}<{{ message['content'] }}>{% endfor %}"


def saved(tokenizer, folder: Path, template) -> Path:
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder


def test_the_template_of_an_old_processor_is_read(tokenizers, tmp_path):
    folder = saved(tokenizers["llama"], tmp_path, None)
    assert loading.load_tokenizer(folder).chat_template is None
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": TURN}))
    assert loading.load_tokenizer(folder).chat_template == TURN
    saved(tokenizers["llama"], folder, "its own {{ messages }}")  # comes first
    assert loading.load_tokenizer(folder).chat_template == "its own {{ messages }}"


def test_a_broken_template_of_an_old_processor_is_named(tokenizers, tmp_path):
    (saved(tokenizers["llama"], tmp_path, None) / "chat_template.json").write_text("[1]")
    with pytest.raises(InputError, match=r"chat_template\.json: chat_template must be a template"):
        loading.load_tokenizer(tmp_path)


def test_named_templates(tokenizers, tmp_path):
    """The default is taken, or the only one; of several without a default none is guessed."""
    two = {"rag": "a", "tool_use": "b"}
    assert loading.load_tokenizer(saved(tokenizers["llama"], tmp_path / "one", {"rag": TURN})).chat_template == TURN
    default = loading.load_tokenizer(saved(tokenizers["llama"], tmp_path / "default", two | {"default": TURN}))
    assert default.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False) == "<x>"
    with pytest.raises(InputError, match=r"are named rag, tool_use, and none of them 'default'.*chat_template\.jinja"):
        loading.load_tokenizer(saved(tokenizers["llama"], tmp_path / "two", two))
    (tmp_path / "two" / "chat_template.jinja").write_text(TURN)  # the remedy
    assert loading.load_tokenizer(tmp_path / "two").apply_chat_template([{"content": "x"}], tokenize=False) == "<x>"
