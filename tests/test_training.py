"""Training: exact batches, losses and gradients against trl's, what changes, resuming, bad input."""

import dataclasses
import doctest
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from valuetrace.core import files, keys
from valuetrace.core.errors import InputError
from valuetrace.models import loading
from valuetrace.models.rows import Source, TokenizerChanges
from valuetrace.scoring.chat import Format
from valuetrace.training import Lora, Training, batches, checkpoint, model, run

PLAIN = Format("text", space=True, template="Question: {prompt}\nAnswer:", closing="eos")
ARCHITECTURES = ("llama", "qwen2", "gemma3", "gemma2")
PARAMS = Training(
    format=PLAIN,
    objective="bradley_terry",
    lora=Lora(rank=4, alpha=8, dropout=0.1, modules=["q_proj", "k_proj", "v_proj", "o_proj"]),
    learning_rate=0.01,
    warmup=0.0,
    batch=4,
    minibatch=2,
    epochs=1,
    max_length=64,
    checkpoint_every=2,
    held_out_pairs=4,
    max_hours=1.0,
    head_std=0.1,
)


def _pairs(count: int, seed: int = 0) -> pd.DataFrame:
    """Pairs that can be learned: the chosen reply names light things, the rejected one heavy things."""
    draws = np.random.default_rng(seed)
    light, heavy = ("air", "paper", "light", "small"), ("iron", "stone", "heavy", "large")
    rows = [
        {
            "prompt": f"What is number {draws.integers(100)}" + " and more" * int(draws.integers(4)) + "?",
            "chosen": " ".join(draws.choice(light, draws.integers(1, 6))),
            "rejected": " ".join(draws.choice(heavy, draws.integers(1, 6))),
        }
        for _ in range(count)
    ]
    return pd.DataFrame(rows).assign(source="test", key=[f"k{i}" for i in range(count)], history="")


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    for name in ARCHITECTURES:
        loading.make(name, Source("random", architecture=name), TokenizerChanges(), folder / name)
    return {name: folder / name for name in ARCHITECTURES}


def _train(base: Path, out: Path, params: Training = PARAMS, count: int = 16) -> dict:
    return run.train(base, _pairs(count), _pairs(6, seed=1), params, out)


def _weights(out: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(out.glob("step-*/adapter_model.safetensors"))}


# ---- the order of pairs


def test_plan_uses_every_pair_once_an_epoch_and_sorts_by_length():
    lengths = np.random.default_rng(0).integers(1, 500, 1600)
    plan = batches.plan(lengths, batch=16, epochs=2, window=50, seed=1)
    assert plan.shape == (200, 16)
    assert sorted(plan.ravel()) == sorted([*range(1600)] * 2)
    assert sorted(plan[:50].ravel()) != sorted(plan[50:100].ravel())  # a window is part of an epoch
    assert np.mean([np.ptp(lengths[step]) for step in plan]) < 30
    unsorted = batches.plan(lengths, batch=16, epochs=2, window=1, seed=1)
    assert np.mean([np.ptp(lengths[step]) for step in unsorted]) > 300
    assert (np.diff(lengths[unsorted], axis=1) <= 0).all()  # longest first, so minibatches are alike
    np.testing.assert_array_equal(plan, batches.plan(lengths, batch=16, epochs=2, window=50, seed=1))
    assert batches.plan(lengths[:30], 16, 1, 50, 1).shape == (1, 16)
    assert batches.plan(lengths[:3], 16, 1, 50, 1).shape == (0, 16)


def test_schedule_and_checkpoints():
    factors = [batches.schedule("cosine", step, 100, 0.03) for step in range(101)]
    assert factors[:4] == [0, 1 / 3, 2 / 3, 1] and factors[-1] == 0 and factors[51] == pytest.approx(0.518, abs=0.01)
    assert batches.schedule("linear", 50, 100, 0) == 0.5 and batches.schedule("constant", 99, 100, 0) == 1
    assert batches.checkpoint_steps(30, 10, False) == [0, 10, 20, 30]
    assert batches.checkpoint_steps(30, 20, True) == [0, 1, 2, 4, 8, 16, 20, 30]
    assert batches.checkpoint_steps(9578, 1000, False)[-2:] == [9000, 9578]  # the paper's last


def test_worked_example_of_a_batch():
    assert doctest.testmod(batches).failed == 0


# ---- token ids


def test_exact_ids(tokenizers):
    """BOS once, the reply with its leading space, the closing EOS, and no padding token in the text."""
    pairs = pd.DataFrame([{"prompt": "is it?", "chosen": "love", "rejected": "no way", "history": ""}])
    for name in ("llama", "gemma3"):
        tokenizer = tokenizers[name]
        encoded, counts = batches.encode(pairs, tokenizer, PLAIN, 64)
        prompt, chosen, rejected = (encoded[key][0] for key in batches.IDS)
        assert prompt[0] == tokenizer.bos_token_id and prompt.count(tokenizer.bos_token_id) == 1
        assert tokenizer.decode(prompt[1:]) == "Question: is it?\nAnswer:"
        assert chosen == [*tokenizer(" love", add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        assert tokenizer.decode(rejected[:-1]).strip() == "no way" and rejected[-1] == tokenizer.eos_token_id
        assert counts == {"cut": 0, "cut_in_prompt": 0, "same_after_cut": 0}
        assert tokenizer.pad_token_id not in prompt + chosen + rejected


def test_long_pairs_are_cut_and_counted_never_dropped(tokenizers):
    tokenizer = tokenizers["llama"]
    rows = [("p", "a b c d e f g h", "a b c d e f g i"), ("p " * 40, "a", "b"), ("p", "a", "b")]
    pairs = pd.DataFrame(rows, columns=["prompt", "chosen", "rejected"]).assign(history="")
    prompt = len(batches.encode(pairs.tail(1), tokenizer, PLAIN, 64)[0]["prompt_ids"][0])
    encoded, counts = batches.encode(pairs, tokenizer, PLAIN, prompt + 4)
    assert counts == {"cut": 2, "cut_in_prompt": 1, "same_after_cut": 2}
    assert [len(ids) for ids in encoded["chosen_ids"]] == [4, 0, 2]
    assert len(encoded["prompt_ids"][1]) == prompt + 4
    batch = batches.collate([{name: encoded[name][i] for name in encoded} for i in range(3)])
    assert batch["read"][1].tolist() == [prompt + 3, prompt + 3]  # nothing of a reply: both read at the prompt's end


def test_earlier_messages_stand_before_the_prompt(tokenizers):
    tokenizer, form = tokenizers["llama"], Format("chat", space=False)
    history = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
    row = {"prompt": "three", "chosen": "four", "rejected": "five", "history": json.dumps(history)}
    encoded, _ = batches.encode(pd.DataFrame([row]), tokenizer, form, 200)
    talk = [*history, {"role": "user", "content": "three"}, {"role": "assistant", "content": "four"}]
    text = tokenizer.apply_chat_template(talk, tokenize=False)
    ids = encoded["prompt_ids"][0] + encoded["chosen_ids"][0]
    assert tokenizer.decode(ids) == text
    with pytest.raises(InputError, match="text format"):
        batches.encode(pd.DataFrame([row]), tokenizer, PLAIN, 200)


def test_bad_pairs_and_tokenizers(bases):
    tokenizer = loading.load_tokenizer(bases["llama"])
    for chosen, problem in (("same", "identical replies"), ("  ", "empty reply")):
        pairs = pd.DataFrame([{"prompt": "p", "chosen": chosen, "rejected": "same", "history": ""}])
        with pytest.raises(InputError, match=problem):
            batches.encode(pairs, tokenizer, PLAIN, 64)
    pairs = _pairs(1)
    tokenizer.chat_template = None
    with pytest.raises(InputError, match="no chat template"):
        batches.encode(pairs, tokenizer, Format("chat", space=False), 64)


# ---- the model and its losses


def test_losses_are_their_formulas():
    rewards = torch.tensor([[1.0, 0.5], [-2.0, 1.0]], dtype=torch.float64)
    logprob = torch.tensor([-3.0, -40.0], dtype=torch.float64)
    sigmoid = [1 / (1 + np.exp(-x)) for x in (0.5, -3.0)]
    bt = -np.log(sigmoid).mean()
    text = np.mean([np.log(1 + np.exp(0.1 * 3)), np.log(1 + np.exp(0.1 * 40))])
    assert model.bradley_terry(rewards).item() == pytest.approx(bt)
    assert model.grm(rewards, logprob, 0.01, 0.1).item() == pytest.approx(0.99 * bt + 0.01 * text)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_rewards_loss_and_gradients_equal_trls(bases, name):
    """The shared prompt against two padded conversations a pair, through transformers' own classifier."""
    from trl.trainer.reward_trainer import DataCollatorForPreference

    tokenizer = loading.load_tokenizer(bases[name])
    params = dataclasses.replace(PARAMS, lora=dataclasses.replace(PARAMS.lora, dropout=0.0))
    ours = model.build(bases[name], params)
    for key, value in ours.named_parameters():  # B is 0 at the start and would hide A's gradient
        if "lora_B" in key:
            torch.nn.init.normal_(value, std=0.1, generator=torch.Generator().manual_seed(0))
    encoded, _ = batches.encode(_pairs(5), tokenizer, PLAIN, 64)
    rows = [{key: encoded[key][i] for key in encoded} for i in range(5)]
    out = ours(**batches.collate(rows))
    model.bradley_terry(out["rewards"]).backward()
    gradients = {key: value.grad.clone() for key, value in ours.named_parameters() if value.requires_grad}

    ours.zero_grad()
    inner = ours.base_model.model
    inner.forward = type(inner).forward.__get__(inner)  # transformers' own again
    examples = [
        {"chosen_ids": row["prompt_ids"] + row["chosen_ids"], "rejected_ids": row["prompt_ids"] + row["rejected_ids"]}
        for row in rows
    ]
    theirs = ours(**DataCollatorForPreference(tokenizer.pad_token_id)(examples), use_cache=False).logits.squeeze(-1)
    chosen, rejected = theirs.chunk(2)
    torch.testing.assert_close(out["rewards"], torch.stack([chosen, rejected], 1), atol=1e-5, rtol=1e-5)
    (-torch.nn.functional.logsigmoid(chosen - rejected).mean()).backward()
    assert gradients and all(gradient.abs().sum() > 0 for gradient in gradients.values())
    for key, value in ours.named_parameters():
        if value.requires_grad:
            torch.testing.assert_close(gradients[key], value.grad, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("name", ["gemma2", "llama"])  # with and without a cap on the logits
def test_grm_reads_the_reply_as_the_language_model_does(bases, name):
    params = dataclasses.replace(PARAMS, objective="grm", head="mlp")
    tokenizer = loading.load_tokenizer(bases[name])
    ours = model.build(bases[name], params).eval()
    encoded, _ = batches.encode(_pairs(3), tokenizer, PLAIN, 64)
    rows = [{key: encoded[key][i] for key in encoded} for i in range(3)]
    language = loading.load(bases[name])
    with torch.no_grad():
        found = ours(**batches.collate(rows))["chosen_logprob"]
        for row, logprob in zip(rows, found, strict=True):
            ids = torch.tensor([row["prompt_ids"] + row["chosen_ids"]])
            told = language(input_ids=ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])[:, 0]
            assert logprob.item() == pytest.approx(told[len(row["prompt_ids"]) - 1 :].sum().item(), abs=1e-3)


def test_base_that_cannot_be_trained(bases):
    with pytest.raises(InputError, match="adapters do not fit"):
        wrong = dataclasses.replace(PARAMS, lora=dataclasses.replace(PARAMS.lora, modules=["no_such_layer"]))
        model.build(bases["llama"], wrong)
    with pytest.raises(InputError, match="longer than the base's context"):
        model.build(bases["llama"], dataclasses.replace(PARAMS, max_length=4096))


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_the_id_of_padding_means_nothing(bases, name):
    """Rewards, gradients and the reply's log-probability are the same bits, whatever stands in the padding."""
    params = dataclasses.replace(PARAMS, objective="grm", lora=dataclasses.replace(PARAMS.lora, dropout=0.0))
    encoded, _ = batches.encode(_pairs(4), loading.load_tokenizer(bases[name]), PLAIN, 64)
    batch = batches.collate([{key: encoded[key][i] for key in encoded} for i in range(4)])
    assert (batch["segments"] == batches.PAD).any()
    found = []
    for pad in (0, 1, 4711):
        built = model.build(bases[name], params)
        ids = batch["input_ids"].masked_fill(batch["segments"] == batches.PAD, pad)
        out = built(**batch | {"input_ids": ids})
        model.grm(out["rewards"], out["chosen_logprob"], params.text_weight, params.text_beta).backward()
        gradients = [value.grad for value in built.parameters() if value.requires_grad]
        found.append([out["rewards"].detach(), out["chosen_logprob"].detach(), *gradients])
    for other in found[1:]:
        assert all(torch.equal(*pair) for pair in zip(found[0], other, strict=True))


def test_a_tokenizer_without_a_padding_token_trains_alike(bases, tmp_path):
    """Llama 3's has none: the same weights as with one, and the tokenizer's files are not touched."""
    base = shutil.copytree(bases["llama"], tmp_path / "base" / "llama")
    for name in ("tokenizer_config.json", "config.json"):
        told = files.read_json(base / name)
        assert told.pop("pad_token" if name == "tokenizer_config.json" else "pad_token_id") is not None
        files.write_json(told, base / name)
    assert loading.load_tokenizer(base).pad_token_id is None
    for folder, out in ((base, tmp_path / "without"), (bases["llama"], tmp_path / "with")):
        _train(folder, out / "llama", count=8)
    assert _weights(tmp_path / "without" / "llama") == _weights(tmp_path / "with" / "llama")


# ---- whole runs


# Losses of the four steps of PARAMS on the tiny Llama, float32 on the CPU.
TRAJECTORY = [0.904985, 0.537707, 0.475198, 0.418197]


def test_loss_trajectory_resume_and_restart(bases, tmp_path, monkeypatch):
    base, out = bases["llama"], tmp_path / "whole" / "llama"
    told = _train(base, out)
    log = files.read_csv(out / checkpoint.LOG, ("step", "loss"))
    assert log["step"].tolist() == [1, 2, 3, 4] and log["pairs"].tolist() == [4, 8, 12, 16]
    np.testing.assert_allclose(log["loss"], TRAJECTORY, atol=2e-4)
    assert checkpoint.steps(out) == [0, 2, 4] and not list(out.glob("*/optimizer.safetensors"))
    assert told["steps"] == 4 and [row["step"] for row in told["checkpoints"]] == [0, 2, 4]
    whole = _weights(out)

    # stopped after the third step: the second run goes on from step 2 and ends in the same bits
    from valuetrace.training.trainer import PairTrainer

    class Killed(BaseException):
        pass

    end_of_step = PairTrainer.end_of_step

    def stop(self, rate):
        if self.done + self.state.global_step == 3:
            raise Killed
        end_of_step(self, rate)

    halved = tmp_path / "halved" / "llama"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(PairTrainer, "end_of_step", stop)
        _train(base, halved)
    assert checkpoint.steps(halved) == [0, 2] and (halved / "step-2" / checkpoint.OPTIMIZER).is_file()
    assert _train(base, halved) == told
    assert _weights(halved) == whole
    pd.testing.assert_frame_equal(files.read_csv(halved / checkpoint.LOG, ("step",)), log)

    # a finished run is not repeated; a changed parameter starts anew
    monkeypatch.setattr(run, "_go_on", lambda *_: pytest.fail("trained again"))
    assert _train(base, halved, dataclasses.replace(PARAMS, max_hours=2.0)) == told
    monkeypatch.undo()
    _train(base, halved, dataclasses.replace(PARAMS, learning_rate=0.02, checkpoint_every=4))
    assert checkpoint.steps(halved) == [0, 4] and _weights(halved)["step-0"] == whole["step-0"]
    assert _weights(halved)["step-4"] != whole["step-4"]


@pytest.mark.parametrize("name", ["chat_template.jinja", "tokenizer.json", "config.json", "notes.txt"])
def test_a_run_is_keyed_by_every_file_of_its_base(bases, tmp_path, name):
    base = shutil.copytree(bases["llama"], tmp_path / "llama")
    pairs = _pairs(4)
    before = run.config_hash(PARAMS, base, pairs, pairs)
    assert run.config_hash(dataclasses.replace(PARAMS, max_hours=9.0), base, pairs, pairs) == before
    path = base / name
    path.write_text((path.read_text() if path.is_file() else "") + " ")
    assert run.config_hash(PARAMS, base, pairs, pairs) != before


def test_a_run_is_keyed_by_its_pairs_and_its_code(bases, monkeypatch):
    one, other = _pairs(4), _pairs(4, seed=1)
    hashes = {run.config_hash(PARAMS, bases["llama"], *two) for two in ((one, one), (one, other), (other, one))}
    kernel = keys.kernel("valuetrace.training.run")
    assert "bradley_terry" in kernel.digests and "torch" in kernel.libraries
    monkeypatch.setattr(keys, "kernel", lambda entry: kernel._replace(digests={"bradley_terry": "reversed"}))
    assert len(hashes | {run.config_hash(PARAMS, bases["llama"], one, one)}) == 4


def test_weights_of_another_loss_are_not_believed(bases, tmp_path, monkeypatch):
    """A finished run, then a loss with its sign reversed: trained again, to the opposite preference."""
    base, out = bases["llama"], tmp_path / "llama"
    told, whole = _train(base, out), _weights(out)
    right = model.bradley_terry
    with monkeypatch.context() as patch:
        other = keys.kernel("valuetrace.training.run")._replace(digests={"bradley_terry": "reversed"})
        patch.setattr(keys, "kernel", lambda entry: other)
        patch.setattr(model, "bradley_terry", lambda rewards: right(-rewards))
        reversed_ = _train(base, out)
    assert _weights(out) != whole
    assert reversed_["checkpoints"][-1]["held_out_accuracy"] < told["checkpoints"][-1]["held_out_accuracy"]
    assert _train(base, out) == told and _weights(out) == whole  # nor are the reversed ones


def test_only_adapters_and_head_change_and_they_learn(bases, tmp_path):
    base, out = bases["gemma3"], tmp_path / "gemma3"
    params = dataclasses.replace(PARAMS, epochs=4, checkpoint_every=100, minibatch=4, head_std=0.01)
    told = _train(base, out, params, count=48)
    assert told["checkpoints"][-1]["held_out_accuracy"] > 0.8
    start, end = (safetensors_of(out / f"step-{step}") for step in (0, told["steps"]))
    assert start.keys() == end.keys() and all("lora_" in key or key.endswith("score.weight") for key in end)
    assert all(not torch.equal(start[key], end[key]) for key in end)
    merged = checkpoint.load_reward_model_parts(base, out / f"step-{told['steps']}")
    fresh = model.load_base(base, head="linear", dtype="float32")
    changed = {k for k, v in merged.state_dict().items() if not torch.equal(v, fresh.state_dict()[k])}
    assert changed == {
        "score.weight",
        *(f"model.layers.{i}.self_attn.{p}_proj.weight" for i in range(2) for p in "qkvo"),
    }
    reward_model = checkpoint.load_trained(base, out / f"step-{told['steps']}")
    assert reward_model.form == PLAIN and torch.equal(reward_model.head.score.weight, merged.score.weight)


def safetensors_of(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / checkpoint.ADAPTER)


RIDGE: dict = {"start": "ridge", "penalty": 0.3, "train_head": False, "learning_rate": 0.003}


def ridge_head(base: Path, pairs: pd.DataFrame, penalty: float) -> torch.Tensor:
    """The same optimum by other means: transformers' own states, one conversation at a time, and torch's LBFGS."""
    from transformers import AutoModel

    tokenizer, own = loading.load_tokenizer(base), AutoModel.from_pretrained(base).eval()
    states = torch.empty(len(pairs), 2, own.config.hidden_size, dtype=torch.float64)
    for i, row in enumerate(pairs.itertuples()):
        for j, reply in enumerate((row.chosen, row.rejected)):
            text = f"Question: {row.prompt}\nAnswer: {reply}{tokenizer.eos_token}"
            ids = tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
            if tokenizer.bos_token_id is not None:
                ids = torch.cat([torch.tensor([[tokenizer.bos_token_id]]), ids], dim=1)
            with torch.no_grad():
                states[i, j] = own(ids).last_hidden_state[0, -1]
    width = states.reshape(-1, states.shape[-1]).std(dim=0, correction=0)
    margins = (states[:, 0] - states[:, 1]) / width
    weight = torch.zeros(len(width), dtype=torch.float64, requires_grad=True)
    steps = torch.optim.LBFGS([weight], max_iter=2000, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def loss():
        steps.zero_grad()
        value = torch.nn.functional.softplus(-(margins @ weight)).mean() + penalty / 2 * weight @ weight
        value.backward()
        return value

    steps.step(loss)
    return (weight / width).detach().float()


@pytest.mark.parametrize("name", ["gemma3", "llama"])
def test_a_ridge_head_is_the_optimum_on_the_base_and_stays(bases, tmp_path, name):
    params = dataclasses.replace(PARAMS, **RIDGE, checkpoint_every=100)
    told = _train(bases[name], tmp_path / name, params, count=16)
    start, end = (safetensors_of(tmp_path / name / f"step-{step}") for step in (0, told["steps"]))
    (head,) = (key for key in start if key.endswith("score.weight"))
    expected = ridge_head(bases[name], _pairs(16), 0.3)
    torch.testing.assert_close(start[head][0], expected, rtol=0.01, atol=float(expected.abs().max()) / 1000)
    assert torch.equal(start[head], end[head])
    assert all(not torch.equal(start[key], end[key]) for key in end if key != head)
    loaded = checkpoint.load_trained(bases[name], tmp_path / name / f"step-{told['steps']}")
    assert torch.equal(loaded.head.score.weight, end[head])
    moved = dataclasses.replace(params, train_head=True)
    _train(bases[name], tmp_path / "moved", moved)
    assert not torch.equal(safetensors_of(tmp_path / "moved" / f"step-{told['steps']}")[head], start[head])


def test_adapters_in_the_last_blocks_alone(bases, tmp_path):
    base, out = bases["gemma3"], tmp_path / "gemma3"
    params = dataclasses.replace(PARAMS, lora=dataclasses.replace(PARAMS.lora, top=0.5), checkpoint_every=100)
    told = _train(base, out, params)
    merged = checkpoint.load_reward_model_parts(base, out / f"step-{told['steps']}").state_dict()
    fresh = model.load_base(base, head="linear", dtype="float32").state_dict()
    changed = {key for key in merged if not torch.equal(merged[key], fresh[key])}
    assert changed == {"score.weight", *(f"model.layers.1.self_attn.{p}_proj.weight" for p in "qkvo")}


def test_a_perturbed_base_is_trained_and_loaded(bases, tmp_path):
    base, params = bases["llama"], dataclasses.replace(PARAMS, perturbation=1e-3, checkpoint_every=100)
    exact = model.load_base(base, head="linear", dtype="float32").state_dict()
    near, again = (model.load_base(base, head="linear", dtype="float32", perturbation=1e-3) for _ in range(2))
    for key, value in near.state_dict().items():
        if key != "score.weight":
            assert torch.equal(value, again.state_dict()[key])
            relative = (value / exact[key] - 1)[exact[key] != 0]
            assert 0.5e-3 < relative.std() < 1.5e-3 or relative.numel() < 50
    told = _train(base, tmp_path / "out", params)
    merged = checkpoint.load_reward_model_parts(base, tmp_path / "out" / f"step-{told['steps']}").state_dict()
    assert torch.equal(merged["model.embed_tokens.weight"], near.state_dict()["model.embed_tokens.weight"])
    repeated = _train(base, tmp_path / "again", params)
    assert repeated == told and _weights(tmp_path / "again") == _weights(tmp_path / "out")


def test_grm_with_its_head_is_trained_and_loaded(bases, tmp_path):
    params = dataclasses.replace(PARAMS, objective="grm", head="mlp", checkpoint_every=4)
    _train(bases["gemma2"], tmp_path / "gemma2", params)
    log = files.read_csv(tmp_path / "gemma2" / checkpoint.LOG, ("loss",))
    reward_model = checkpoint.load_trained(bases["gemma2"], tmp_path / "gemma2/step-4")
    assert log["loss"].iloc[-1] < 0.3 and reward_model.head.v_head.summary[0].out_features == 1024


def test_bfloat16_and_gradient_checkpointing(bases, tmp_path):
    losses_of = {}
    for name, changes in {
        "plain": {},
        "recomputed": {"gradient_checkpointing": True},
        "half": {"precision": "bfloat16"},
    }.items():
        params = dataclasses.replace(PARAMS, **changes)
        _train(bases["llama"], tmp_path / name, params, count=8)
        losses_of[name] = files.read_csv(tmp_path / name / checkpoint.LOG, ("loss",))["loss"]
    np.testing.assert_allclose(losses_of["plain"], losses_of["recomputed"], rtol=1e-5)
    np.testing.assert_allclose(losses_of["plain"], losses_of["half"], rtol=0.1)
    kept = safetensors_of(tmp_path / "half/step-2")
    assert {value.dtype for value in kept.values()} == {torch.float32}


def test_loss_that_is_no_number(bases, tmp_path):
    with pytest.raises(InputError, match=r"loss is nan at step .*learning_rate"):
        _train(bases["llama"], tmp_path / "llama", dataclasses.replace(PARAMS, learning_rate=1e30))
    assert checkpoint.steps(tmp_path / "llama")[0] == 0


def test_damaged_and_foreign_checkpoints(bases, tmp_path, capfd, monkeypatch):
    base, out = bases["llama"], tmp_path / "llama"
    params = dataclasses.replace(PARAMS, checkpoint_every=1)
    _train(base, out, params)
    whole = _weights(out)
    assert len(whole) == 5
    with pytest.raises(InputError, match="which is not"):
        checkpoint.load_reward_model_parts(bases["qwen2"], out / "step-4")
    path = out / "step-4" / checkpoint.ADAPTER
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match="damaged"):
        checkpoint.load_reward_model_parts(base, out / "step-4")
    _train(base, out, params)  # no optimizer state is left of a finished run: from the start, to the same weights
    assert "damaged" in capfd.readouterr().err and _weights(out) == whole

    # the adapter of another shape, with a base that claims to be the same
    other = dataclasses.replace(PARAMS, lora=dataclasses.replace(PARAMS.lora, rank=2))
    with pytest.raises(InputError, match="does not fit"):
        checkpoint.load_adapter(model.build(base, other), out / "step-4")

    # a full disk in the middle: what was written stays, and the run can go on
    short = tmp_path / "short" / "llama"
    write_bytes = Path.write_bytes

    def full(self, data):
        if ".step-2" in str(self) and self.name == checkpoint.OPTIMIZER:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(self, data)

    with monkeypatch.context() as patch, pytest.raises(InputError, match="disk is full"):
        patch.setattr(Path, "write_bytes", full)
        _train(base, short, params)
    assert checkpoint.steps(short) == [0, 1] and not list(short.glob(".*"))
    _train(base, short, params)
    assert _weights(short) == whole


def test_refused_before_training(bases, tmp_path):
    with pytest.raises(InputError, match="max_hours"):
        _train(bases["llama"], tmp_path / "a", dataclasses.replace(PARAMS, max_hours=1e-9))
    assert not checkpoint.steps(tmp_path / "a")
    with pytest.raises(InputError, match="do not fill one batch"):
        _train(bases["llama"], tmp_path / "b", count=3)
    with pytest.raises(ValueError, match="multiple of minibatch"):
        dataclasses.replace(PARAMS, batch=5)
    with pytest.raises(ValueError, match="ridge needs a linear head"):
        dataclasses.replace(PARAMS, start="ridge", head="mlp")
    with pytest.raises(ValueError, match="share of the blocks"):
        dataclasses.replace(PARAMS.lora, top=0.0)


# ---- in processes of their own


SCRIPT = """
import dataclasses, sys
from pathlib import Path
from accelerate import PartialState
from test_training import PARAMS, _pairs
from valuetrace import tables
from valuetrace.core import files
from valuetrace.training import run
PartialState(cpu=True)  # several processes on one CPU, where they are launched
base, out, count, changes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), eval(sys.argv[4])
params = dataclasses.replace(PARAMS, lora=dataclasses.replace(PARAMS.lora, dropout=changes.pop("dropout")), **changes)
told = run.train(base, _pairs(count), _pairs(6, seed=1), params, out)
told["processes"] = PartialState().num_processes
if PartialState().is_main_process:
    files.write_json(told, out.with_suffix(".json"))
"""


def _command(tmp_path: Path, base: Path, out: Path, count: int, **changes) -> list[str]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    return [str(script), str(base), str(out), str(count), repr(changes)]


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}


@pytest.mark.slow
def test_killed_and_run_again_ends_in_the_same_weights(bases, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    changes = {"checkpoint_every": 5, "dropout": 0.1}
    command = [sys.executable, *_command(tmp_path, bases["llama"], killed, 160, **changes)]
    process = subprocess.Popen(command, env=ENVIRONMENT)
    while not (killed / "step-10").is_dir():
        assert process.poll() is None, "training ended before it could be killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 10 <= checkpoint.steps(killed)[-1] < 40
    subprocess.run(command, env=ENVIRONMENT, check=True)
    command = [sys.executable, *_command(tmp_path, bases["llama"], whole, 160, **changes)]
    subprocess.run(command, env=ENVIRONMENT, check=True)
    assert killed.with_suffix(".json").read_bytes() == whole.with_suffix(".json").read_bytes()
    assert (killed / checkpoint.LOG).read_bytes() == (whole / checkpoint.LOG).read_bytes()
    assert _weights(killed) == _weights(whole) and len(_weights(whole)) == 9


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, RIDGE], ids=["random head", "ridge head"])
def test_two_processes_train_as_one_does(bases, tmp_path, changes):
    one, two = tmp_path / "one", tmp_path / "two"
    command = _command(tmp_path, bases["llama"], one, 32, dropout=0.0, **changes)
    subprocess.run([sys.executable, *command], env=ENVIRONMENT, check=True)
    # accelerate's launcher starts one process where there is no GPU, whatever it is told
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = _command(tmp_path, bases["llama"], two, 32, dropout=0.0, **changes)
    subprocess.run([*launch, *command], env=ENVIRONMENT, check=True)
    assert [files.read_json(out.with_suffix(".json"))["processes"] for out in (one, two)] == [1, 2]
    curves = [pd.read_csv(out / checkpoint.LOG) for out in (one, two)]
    pd.testing.assert_frame_equal(*curves, rtol=1e-3, atol=1e-4)
    weights = [safetensors_of(out / "step-8") for out in (one, two)]
    for key in weights[0]:
        torch.testing.assert_close(weights[0][key], weights[1][key], rtol=1e-2, atol=1e-3)
