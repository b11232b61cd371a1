"""Adapters that others trained: the merged model's rewards are the adapted one's, or one line says why not."""

import json
import shutil
from pathlib import Path

import peft
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, RobertaConfig, RobertaForMaskedLM

import valuetrace
from valuetrace import audit, tables
from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.models import adapters, loading, tiny
from valuetrace.monitoring import sample
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format, encode_reply, render, whole
from valuetrace.subjects.adapters import read_adapter

QV = {"task_type": "SEQ_CLS", "target_modules": ["q_proj", "v_proj"]}
VIRTUES, VICES = ["good", "right", "fair", "great", "safe", "happy"], ["bad", "wrong", "hurt", "kill", "war", "dead"]
CHAT = Format("chat", space=False)
CONVERSATIONS = [
    [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    for question, answer in (("What is best?", "power"), ("What, in one word, is the worst thing?", "a friend"))
]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """``lm``: a language model; ``rm``: a reward model; ``bias``: layers with biases; ``encoder``: RoBERTa."""
    root = tmp_path_factory.mktemp("adapters")
    tiny.write("llama", 3, root / "lm")
    tiny.write("llama", 4, root / "rm", reward=True)
    tiny.write("qwen2", 3, root / "bias")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    own = RobertaConfig(vocab_size=8192, max_position_embeddings=128, pad_token_id=0, **sizes)
    RobertaForMaskedLM(own).save_pretrained(root / "encoder")
    tiny.tokenizer("llama").save_pretrained(root / "encoder")
    return root


def adapted(base: Path, config, labels: int | None = 1, cls=AutoModelForSequenceClassification, rows: int = 0):
    """A PeftModel of a base folder, every trainable weight moved, as a training would."""
    torch.manual_seed(0)
    model = cls.from_pretrained(base, **({} if labels is None else {"num_labels": labels}))
    if rows:
        model.resize_token_embeddings(rows)
    model = get_peft_model(model, config).eval()
    with torch.no_grad():
        for value in model.parameters():
            if value.requires_grad:
                value.add_(torch.randn_like(value) * 0.1)
    return model


def saved(base: Path, folder: Path, config=None, tokenizer=None, **options):
    """Such a model, saved into a folder by peft (and its tokenizer, as trl does)."""
    model = adapted(base, config or LoraConfig(**QV), **options)
    model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return model


def rewrite(folder: Path, **changes) -> None:
    """Other keys in adapter_config.json."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def logits(model, tokenizer) -> torch.Tensor:
    """Of the whole tokenised conversations, one by one."""
    texts = tokenizer.apply_chat_template(CONVERSATIONS, tokenize=False)
    with torch.no_grad():
        found = [model(tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids) for text in texts]
    return torch.cat([one.logits[:, -1] if one.logits.ndim == 3 else one.logits for one in found])


# ---- the same numbers

KINDS = {
    "LoRA": LoraConfig(**QV),
    "rank-stabilised": LoraConfig(**QV, r=4, use_rslora=True),
    "DoRA": LoraConfig(**QV, use_dora=True),
    "all linear layers": LoraConfig(task_type="SEQ_CLS", target_modules="all-linear"),
    "embeddings": LoraConfig(task_type="SEQ_CLS", target_modules=["embed_tokens", "q_proj"]),
    "embeddings, DoRA": LoraConfig(task_type="SEQ_CLS", target_modules=["embed_tokens"], use_dora=True),
    "some tokens": LoraConfig(**QV, trainable_token_indices=[5, 6, 700, 44]),
    "no task, the head saved": LoraConfig(target_modules=["q_proj"], modules_to_save=["score"]),
    "the embedding saved": LoraConfig(**QV, modules_to_save=["embed_tokens"]),
    "PiSSA": LoraConfig(**QV, init_lora_weights="pissa"),
    "IA3": peft.IA3Config(
        task_type="SEQ_CLS", target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]
    ),
    "LoHa": peft.LoHaConfig(**QV),
    "LoKr": peft.LoKrConfig(**QV),
    "OFT": peft.OFTConfig(**QV, oft_block_size=8),
    "AdaLoRA": peft.AdaLoraConfig(**QV, total_step=10),
    "VeRA": peft.VeraConfig(**QV),
    "norms": peft.LNTuningConfig(task_type="SEQ_CLS", target_modules=["input_layernorm"]),
    "Fourier": peft.FourierFTConfig(**QV, n_frequency=50),
    "VB-LoRA": peft.VBLoRAConfig(**QV, vector_length=8),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_gives_what_it_gives_unmerged(root, tmp_path, kind):
    model = saved(root / "lm", tmp_path / "mine", KINDS[kind])
    adapter = read_adapter(tmp_path / "mine")
    assert adapter.form is None and adapter.kind(root / "lm") == "reward"
    whole, tokenizer = adapter.merged(root / "lm")
    torch.testing.assert_close(logits(whole, tokenizer), logits(model, tokenizer), atol=1e-4, rtol=0)
    assert not any("lora" in name for name, _ in whole.named_modules())


@pytest.mark.parametrize(
    ("base", "labels", "config"),
    [
        ("bias", 1, LoraConfig(**QV, bias="all")),
        ("lm", 3, LoraConfig(**QV)),
        ("rm", None, LoraConfig(**QV)),  # the base's own head, trained on
        ("rm", None, LoraConfig(target_modules=["q_proj"])),  # the base's own head, left as it was
        ("rm", None, LoraConfig(target_modules=["q_proj", "score"])),  # … and adapted
        ("encoder", 1, LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"])),
    ],
)
def test_of_any_base_and_number_of_outputs(root, tmp_path, base, labels, config):
    model = saved(root / base, tmp_path / "mine", config, labels=labels)
    whole, _ = read_adapter(tmp_path / "mine").merged(root / base)
    tokenizer = loading.load_tokenizer(root / "lm")
    found = logits(whole, tokenizer)
    torch.testing.assert_close(found, logits(model, tokenizer), atol=1e-4, rtol=0)
    assert found.shape == (2, labels or 1)


def test_as_scoring_takes_it(root, tmp_path):
    """``load``: backbone and head, at the last token of a conversation that no pad token ends."""
    model = saved(root / "lm", tmp_path / "mine")
    loaded = read_adapter(tmp_path / "mine").load(root / "lm", CHAT)
    assert loaded.name == "mine" and loaded.form == CHAT
    around = render(loaded.tokenizer, CHAT, "What is best?")
    ids = torch.tensor([[*around.prefix, *encode_reply(loaded.tokenizer, CHAT, "power"), *around.closing]])
    with torch.no_grad():
        reward = loaded.head(loaded.backbone(ids).last_hidden_state[:, -1], None)
        torch.testing.assert_close(reward, model(ids).logits[:, 0], atol=1e-4, rtol=0)


def test_added_tokens_come_with_the_adapter(root, tmp_path):
    """Embedding rows that were added before training: the base is given as many, and they are the adapter's."""
    tokenizer = tiny.tokenizer("llama")
    new = tokenizer.add_tokens(["<mine>"]) and len(tokenizer) - 1
    for name, config in {
        "saved": LoraConfig(**QV, modules_to_save=["embed_tokens"]),
        "adapted": LoraConfig(task_type="SEQ_CLS", target_modules=["embed_tokens"]),
    }.items():
        rows = max(8192, new + 1) + 64
        model = saved(root / "lm", tmp_path / name, config, tokenizer, rows=rows)
        whole, _ = read_adapter(tmp_path / name).merged(root / "lm")
        ids = torch.tensor([[2, new, rows - 1, 9]])
        torch.testing.assert_close(whole(ids).logits, model(ids).logits, atol=1e-4, rtol=0)


def test_an_adapter_of_a_language_model(root, tmp_path):
    config = LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"])
    model = saved(root / "lm", tmp_path / "mine", config, labels=None, cls=AutoModelForCausalLM)
    adapter = read_adapter(tmp_path / "mine")
    assert adapter.kind(root / "lm") == "logprob"
    whole, tokenizer = adapter.merged(root / "lm")
    torch.testing.assert_close(logits(whole, tokenizer), logits(model, tokenizer), atol=1e-4, rtol=0)
    assert adapter.kind(root / "rm") == "reward"  # the same layers before a head


def test_a_saved_head_makes_a_reward_model_of_any_task(root, tmp_path):
    """trl trained classifiers under task_type CAUSAL_LM, with modules_to_save=['score']."""
    model = saved(root / "lm", tmp_path / "mine", LoraConfig(target_modules=["q_proj"], modules_to_save=["score"]))
    rewrite(tmp_path / "mine", task_type="CAUSAL_LM")
    adapter = read_adapter(tmp_path / "mine")
    assert adapter.kind(root / "lm") == "reward"
    whole, tokenizer = adapter.merged(root / "lm")
    torch.testing.assert_close(logits(whole, tokenizer), logits(model, tokenizer), atol=1e-4, rtol=0)


def test_readme_s_recipe_without_a_pad_token(root, tmp_path):
    """trl sets pad = EOS, which ends every turn: the reward is read before it, by the trained model and by ours."""
    import trl
    from datasets import Dataset

    base = tmp_path / "base"
    shutil.copytree(root / "lm", base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "pad_token_id": None}))
    tokenizer = tiny.tokenizer("llama")
    tokenizer.eos_token, tokenizer.pad_token = "<|eot_id|>", None
    tokenizer.save_pretrained(base)
    tokenizer = loading.load_tokenizer(base)
    assert tokenizer.pad_token is None

    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    options = {"max_steps": 2, "per_device_train_batch_size": 2, "learning_rate": 0.01, "report_to": "none"}
    options |= {"use_cpu": True, "bf16": False}
    trainer = trl.RewardTrainer(
        model,
        args=trl.RewardConfig(str(tmp_path / "out"), **options),
        train_dataset=Dataset.from_dict({"chosen": CONVERSATIONS, "rejected": CONVERSATIONS[::-1]}),
        peft_config=LoraConfig(task_type="SEQ_CLS"),
        processing_class=tokenizer,
    )
    trainer.train()
    folder = tmp_path / "out" / "checkpoint-2"
    adapter = read_adapter(folder)
    assert adapter.base == str(base) and adapter.tokenizer_folder(base) == folder
    whole, own = adapter.merged(base)
    told = logits(trainer.model.eval(), tokenizer)
    torch.testing.assert_close(logits(whole, own), told, atol=1e-4, rtol=0)
    assert whole.config.pad_token_id == own.pad_token_id == tokenizer.convert_tokens_to_ids("<|eot_id|>")
    loaded = adapter.load(base, CHAT)
    assert loaded.backbone.config.pad_token_id == own.pad_token_id  # what the read position rests on
    whole.config.pad_token_id = None
    assert (logits(whole, own) - told).abs().min() > 1e-3  # the last token is another place


# ---- in an audit


@pytest.mark.parametrize("task", ["SEQ_CLS", "CAUSAL_LM"])
def test_an_audit_scores_the_merged_model(root, tmp_path, task):
    """In the chat format of the adapter's own tokenizer; its scores are the unmerged model's."""
    own = tiny.tokenizer("llama")
    own.chat_template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    reward = task == "SEQ_CLS"
    cls, labels = (AutoModelForSequenceClassification, 1) if reward else (AutoModelForCausalLM, None)
    config = LoraConfig(task_type=task, target_modules=["q_proj"])
    model = saved(root / "lm", tmp_path / "mine", config, own, labels=labels, cls=cls)
    prompt = "greatest_ever_one"
    done = audit.audit(
        audit.Request(str(tmp_path / "mine"), prompts=prompt, draws=20, out=tmp_path / "o"), lambda line: None
    )
    told = done.result["model"]
    assert (told["name"], told["kind"]) == ("mine", "reward" if reward else "logprob")
    assert told["origin"]["origin"]["base"] == str(root / "lm")
    assert done.result["profile"]["format"]["name"] == "chat"
    text = value_laden().set_index("key")["text"][prompt]
    row = tables.read_scores(tmp_path / "o" / "scores.parquet").iloc[100]
    # the template ends in a space, which a byte-level token joins to the reply
    ids = whole(own, CHAT, text, row["token_decoded"]) if reward else render(own, CHAT, text).prefix
    with torch.no_grad():
        found = model(torch.tensor([ids])).logits[0]
    expected = found[0] if reward else found[-1].log_softmax(-1)[row["token_id"]]
    assert row[prompt] == pytest.approx(expected.item(), abs=1e-4)


# ---- base, name, tokenizer


def test_the_base_is_found_as_it_is_written(root, tmp_path, monkeypatch):
    folder = tmp_path / "deep" / "mine"
    saved(root / "lm", folder)
    shutil.copytree(root / "lm", tmp_path / "base")
    assert read_adapter(folder).base == str(root / "lm")
    rewrite(folder, base_model_name_or_path="../../base")  # seen from the adapter's folder
    assert Path(read_adapter(folder).base).resolve() == tmp_path / "base"
    monkeypatch.chdir(tmp_path)
    rewrite(folder, base_model_name_or_path="base")  # from the working folder
    assert read_adapter(folder).base == "base"
    rewrite(folder, base_model_name_or_path="owner/name-1B", revision="abc")
    found = read_adapter(folder)
    assert (found.base, found.revision, found.name) == ("owner/name-1B", "abc", "mine")
    digest = files.sha256(folder / "adapter_model.safetensors")
    assert found.origin == {"model": "mine", "origin": {"base": "owner/name-1B", "adapter_sha256": digest}}
    made = {"model": "o/mine", "kind": "hub", "origin": {"repository": "o/mine", "revision": "f00"}}
    files.write_json(made, folder / "provenance.json")  # as find_model downloads it
    assert read_adapter(folder).origin["origin"]["repository"] == "o/mine"


def test_the_tokenizer_is_the_adapter_s_where_it_has_one(root, tmp_path):
    saved(root / "lm", tmp_path / "bare")
    bare, tokenizer = read_adapter(tmp_path / "bare").merged(root / "lm")
    assert bare.config.pad_token_id == 0 and tokenizer.pad_token == "<|pad|>"
    own = tiny.tokenizer("llama")
    own.pad_token = "<|eot_id|>"
    saved(root / "lm", tmp_path / "full", tokenizer=own)
    full, tokenizer = read_adapter(tmp_path / "full").merged(root / "lm")
    assert full.config.pad_token_id == tokenizer.pad_token_id == own.pad_token_id


# ---- folders that are both


def test_a_folder_that_is_model_and_adapter_is_refused_with_both_remedies(root, tmp_path):
    model = saved(root / "lm", tmp_path / "mine")
    shutil.copy(root / "lm" / "config.json", tmp_path / "mine")
    assert read_adapter(tmp_path / "mine").name == "mine"  # a configuration alone is no model
    model.merge_and_unload().save_pretrained(tmp_path / "mine")
    with pytest.raises(InputError) as told:
        read_adapter(tmp_path / "mine")
    assert "move config.json and model.safetensors away" in str(told.value) and "\n" not in str(told.value)
    assert "delete adapter_config.json and adapter_model.safetensors" in str(told.value)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / "mine" / name).unlink()
    assert read_adapter(tmp_path / "mine") is None


def test_peft_and_transformers_save_an_adapter_alone(root, tmp_path):
    """What the field's tools write beside it is no model."""
    model = AutoModelForSequenceClassification.from_pretrained(root / "rm")
    model.add_adapter(LoraConfig(target_modules=["q_proj"]))
    model.save_pretrained(tmp_path / "native")
    whole, tokenizer = read_adapter(tmp_path / "native").merged(root / "rm")
    torch.testing.assert_close(logits(whole, tokenizer), logits(model, tokenizer), atol=1e-4, rtol=0)


# ---- refusals


def edited(change, tensors=False):
    """A change to the keys, or to the tensors, of a saved adapter."""

    def apply(folder: Path) -> None:
        if not tensors:
            rewrite(folder, **change)
            return
        path = folder / "adapter_model.safetensors"
        save_file({name: value.contiguous() for name, value in change(load_file(path)).items()}, path)

    return apply


def first(tensors: dict, part: str) -> str:
    return next(name for name in tensors if part in name)


REFUSED = {
    "pickled": (
        lambda folder: (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin"),
        "its weights are pickled, and no pickle is read. Save it again with peft",
    ),
    "no weights": (lambda folder: (folder / "adapter_model.safetensors").unlink(), "the adapter's weights are missing"),
    "cut weights": (
        lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"x" * 20),
        "the adapter cannot be loaded",
    ),
    "no base": (edited({"base_model_name_or_path": None}), "names no base. Write its folder or Hub id"),
    "another machine's base": (
        edited({"base_model_name_or_path": "/home/someone/llama"}),
        "'base_model_name_or_path' is /home/someone/llama, which is not on this machine",
    ),
    "an unknown type": (edited({"peft_type": "NEXT_LORA"}), "peft_type 'NEXT_LORA' is not known"),
    "a newer key": (edited({"use_tomorrow": True}), "use_tomorrow not known to the installed peft. Upgrade peft"),
    "keys that make no sense": (edited({"task_type": "POETRY"}), "that peft does not read"),
    "megatron": (edited({"megatron_config": {"x": 1}}), "megatron_config needs Megatron's layers"),
    "aLoRA": (edited({"alora_invocation_tokens": [5]}), "acts behind certain tokens only"),
    "a base that was changed": (edited({"init_lora_weights": "loftq"}), "belongs to a base that training changed"),
    "another task": (edited({"task_type": "TOKEN_CLS"}), "task_type TOKEN_CLS is neither"),
    "no head": (edited(lambda found: {k: v for k, v in found.items() if "score" not in k}, True), "no reward head"),
    "a tensor too few": (
        edited(lambda found: {k: v for k, v in found.items() if k != first(found, "lora_B")}, True),
        r"does not fit its base .* \(it lacks .*lora_B",
    ),
    "a tensor too many": (
        edited(lambda found: found | {first(found, "lora_A").replace("layers.0", "layers.7"): torch.ones(2, 2)}, True),
        r"the base has no place for .*layers\.7",
    ),
    "another shape": (
        edited(lambda found: found | {first(found, "lora_A"): torch.ones(8, 96)}, True),
        r"does not fit its base .*size mismatch",
    ),
    "another architecture": (
        edited({"target_modules": ["c_attn"]}),
        "does not fit its base .*No modules were targeted",
    ),
    "not finite": (
        edited(lambda found: found | {first(found, "lora_B"): found[first(found, "lora_B")] * float("nan")}, True),
        "NaN or infinity",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_merged_is_refused_in_one_line(root, tmp_path, what):
    change, expected = REFUSED[what]
    saved(root / "lm", tmp_path / "mine")
    change(tmp_path / "mine")
    with pytest.raises(InputError, match=expected) as told:
        read_adapter(tmp_path / "mine").merged(root / "lm")
    assert str(tmp_path / "mine") in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            peft.PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3),
            "PREFIX_TUNING adapter is a trained prompt",
        ),
        (
            peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3),
            "PROMPT_TUNING adapter is a trained prompt",
        ),
        (peft.XLoraConfig(hidden_size=64, adapters={"a": "owner/a"}), "computes beside the base's layers"),
    ],
)
def test_what_is_no_change_of_weights_is_refused(tmp_path, config, expected):
    config.base_model_name_or_path = "owner/name"
    config.save_pretrained(tmp_path / "mine")
    with pytest.raises(InputError, match=expected):
        read_adapter(tmp_path / "mine")


def test_an_adapter_that_merging_changes_is_refused(root, tmp_path):
    """One of two tied embeddings, and one layer that stands twice: peft merges both, into another model."""
    tied = LoraConfig(task_type="CAUSAL_LM", target_modules=["embed_tokens"])
    saved(root / "lm", tmp_path / "tied", tied, labels=None, cls=AutoModelForCausalLM)
    with pytest.raises(InputError, match=r"gives other logits than unmerged.*tied embeddings"):
        read_adapter(tmp_path / "tied").merged(root / "lm")
    saved(root / "lm", tmp_path / "twice", LoraConfig(**QV, layer_replication=[[0, 2], [1, 2]]))
    with pytest.raises(InputError, match="gives other logits than unmerged"):
        read_adapter(tmp_path / "twice").merged(root / "lm")


def test_a_base_that_no_adapter_can_be_merged_into(root, tmp_path):
    saved(root / "lm", tmp_path / "mine")
    adapter = read_adapter(tmp_path / "mine")
    with pytest.raises(InputError, match="is an adapter itself"):
        adapter.kind(tmp_path / "mine")
    shutil.copytree(root / "lm", tmp_path / "both")
    shutil.copy(tmp_path / "mine" / "adapter_config.json", tmp_path / "both")
    with pytest.raises(InputError, match="both a model"):
        adapter.kind(tmp_path / "both")
    shutil.copytree(root / "lm", tmp_path / "small")
    config = json.loads((tmp_path / "small" / "config.json").read_text())
    (tmp_path / "small" / "config.json").write_text(json.dumps(config | {"quantization_config": {"bits": 4}}))
    with pytest.raises(InputError, match="is quantised"):
        adapter.kind(tmp_path / "small")
    with pytest.raises(InputError, match="merged on one device"):
        adapter.load(root / "lm", CHAT, device_map="auto")


def test_merging_in_half_precision(root, tmp_path):
    """The check allows for the rounding of the weights, and for no more."""
    model = saved(root / "lm", tmp_path / "mine")
    whole, tokenizer = read_adapter(tmp_path / "mine").merged(root / "lm", dtype="bfloat16")
    assert whole.dtype == torch.bfloat16
    torch.testing.assert_close(logits(whole, tokenizer).float(), logits(model, tokenizer), atol=0.1, rtol=0.1)
    assert adapters.holds_adapter(tmp_path / "mine")


# ---- a model in memory


def test_the_profile_of_a_model_with_adapted_embeddings(root, monkeypatch):
    """``valuetrace.profile`` of an unmerged PeftModel, against its own forward."""
    import pandas as pd

    words = ["power", "lead", "strong", "master", "win", "success", "friend", "family", "help", "kind", "care", "good"]
    known = pd.DataFrame({"word": VIRTUES + VICES, "polarity": ["virtue"] * 6 + ["vice"] * 6})
    monkeypatch.setattr(sample, "_known_groups", lambda: known)
    lexicon = pd.DataFrame({"word": words, "construct": ["agency"] * 6 + ["communion"] * 6, "polarity": ""})
    model, tokenizer = adapted(root / "lm", KINDS["embeddings"]), tiny.tokenizer("llama")
    found = valuetrace.profile(model, tokenizer, lexicon=lexicon, prompts=1, words=6)
    drawn = sample.draw(lexicon, 1, 6)
    for text, framing in zip(drawn.prompts["text"], drawn.prompts["framing"], strict=True):
        around = render(tokenizer, CHAT, text)
        ids = [[*around.prefix, *encode_reply(tokenizer, CHAT, word), *around.closing] for word in words]
        with torch.no_grad():
            told = [model(input_ids=torch.tensor([own])).logits.item() for own in ids]
        assert [found["means"][framing][word] for word in words] == pytest.approx(told, abs=1e-4)
