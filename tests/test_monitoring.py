"""Values during training: the numbers against brute force, the training untouched to the bit, its cost, bad input."""

import copy
import dataclasses
import os
import random
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

import valuetrace
from valuetrace.core.errors import InputError
from valuetrace.measures import profile as analysis
from valuetrace.measures import validity
from valuetrace.models import loading, tiny
from valuetrace.models.rows import Source, TokenizerChanges
from valuetrace.monitoring import callback as callbacks
from valuetrace.monitoring import record, sample, scores, subject, summary
from valuetrace.monitoring.callback import RECORD, watch
from valuetrace.monitoring.sample import Monitoring
from valuetrace.scoring.chat import Format, encode_reply, render

PLAIN = "Question: {prompt}\nAnswer:"
# single tokens of the tiny tokenizers
SIX = ["power", "lead", "strong", "master", "win", "success"]
OTHER = ["friend", "friends", "family", "help", "kind", "care"]
VIRTUES, VICES = ["good", "right", "fair", "great", "safe", "happy"], ["bad", "wrong", "hurt", "kill", "war", "dead"]
LEXICON = pd.DataFrame({"word": SIX + OTHER, "construct": ["agency"] * 6 + ["communion"] * 6, "polarity": [""] * 12})
FEW = {"lexicon": LEXICON, "prompts": 1, "words": 6}
LORA = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj"], "bias": "none"}


@pytest.fixture(autouse=True)
def few_words(monkeypatch):
    """Six words a side of the known groups."""
    known = pd.DataFrame({"word": VIRTUES + VICES, "polarity": ["virtue"] * 6 + ["vice"] * 6})
    monkeypatch.setattr(sample, "_known_groups", lambda: known)


@pytest.fixture
def tokenizer(tokenizers):
    return copy.deepcopy(tokenizers["llama"])


def reward_model(architecture: str = "llama", **changes):
    return tiny.model(architecture, 3, AutoModelForSequenceClassification, reward=True, **changes)


def language_model(architecture: str = "llama", **changes):
    return tiny.model(architecture, 3, **changes)


def profile(model, tokenizer, **options):
    return valuetrace.profile(model, tokenizer, **({"format": PLAIN} | FEW | options))


def lora(model, **changes):
    """With adapters that are not nothing: B is 0 when fresh."""
    adapted = get_peft_model(model, LoraConfig(**(LORA | changes)))
    for name, value in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.2, generator=torch.Generator().manual_seed(0))
    return adapted


# ---- words and prompts


def test_a_sample_is_drawn_by_its_seed_and_nested():
    lexicon = pd.DataFrame(
        {"word": [f"w{i}" for i in range(60)], "construct": ["a"] * 40 + ["b"] * 20, "polarity": [""] * 60}
    )
    small, large, whole = (sample.draw(lexicon, n, words) for n, words in ((2, 8), (5, 30), (27, None)))
    assert small.lexicon["construct"].value_counts().to_dict() == {"a": 8, "b": 8}
    assert large.lexicon["construct"].value_counts().to_dict() == {"a": 30, "b": 20}
    assert set(small.lexicon["word"]) < set(large.lexicon["word"]) < set(whole.lexicon["word"]) == set(lexicon["word"])
    assert set(small.prompts["key"]) < set(large.prompts["key"]) and len(whole.prompts) == 54
    assert small.prompts["framing"].tolist() == ["positive"] * 2 + ["negative"] * 2
    adjectives = [key.split("_")[0] for key in large.prompts["key"]]
    assert len(set(adjectives[:3])) == 3  # every adjective in turn
    assert [key.split("_")[1:] for key in large.prompts["key"][:5]] == [
        key.split("_")[1:] for key in large.prompts["key"][5:]
    ]  # the framings differ in nothing else
    assert sample.draw(lexicon, 2, 8).words == small.words != sample.draw(lexicon, 2, 8, seed=2).words


# ---- numbers


def scored(orders: dict[str, list[str]]) -> pd.DataFrame:
    """Scores that put the words of each prompt in the order given, the best first."""
    words = sorted(next(iter(orders.values())))
    return pd.DataFrame({key: [-float(order.index(word)) for word in words] for key, order in orders.items()}, words)


def test_the_numbers_are_the_profile_s():
    """Known truth, by hand and as ``measures.profile`` has it: agency first where good is asked for, last where bad."""
    drawn = sample.draw(LEXICON, 1)
    up, down = drawn.prompts["key"]
    order = SIX + VIRTUES + VICES + OTHER
    table = scored({up: order, down: order[::-1]}).astype(np.float32)
    rule = validity.rule()
    found = summary.summarise(table, drawn, "reward", rule)
    by = {(row["construct"], row["framing"]): row for row in found["rows"]}
    assert by["agency", "positive"]["median_rank"] == 3.5
    assert by["agency", "positive"]["percentile"] == pytest.approx(100 * 8.5 / 11)
    assert by["communion", "positive"]["percentile"] == pytest.approx(100 * 2.5 / 11)
    assert by["agency", "negative"]["percentile"] == by["communion", "positive"]["percentile"]
    assert found["refused"] is None and found["words"] == 12
    assert found["reading"]["known_groups"]["positive"] == pytest.approx(100 * 6 / 23)
    assert found["reading"]["known_groups"]["difference"] == pytest.approx(200 * 6 / 23)
    assert found["reading"]["framing"]["across"] == pytest.approx(-1)
    form = Format("text", space=True, template=PLAIN)
    whole = table.reset_index(names="token_decoded").assign(token_id=pd.NA, token_name="")
    told = analysis.profile(
        analysis.Subject("m", "reward", "own", "own", form), whole, LEXICON, drawn.prompts, drawn.known, rule, draws=9
    )
    assert {(r["label"], r["framing"]): r["percentile"] for r in told["rows"]} == pytest.approx(
        {key: row["percentile"] for key, row in by.items()}
    )
    assert told["reading"]["known_groups"]["difference"]["estimate"] == found["reading"]["known_groups"]["difference"]

    blind = summary.summarise(table.assign(**{down: table[up]}), drawn, "reward", rule)
    assert "the prompts are not read" in blind["refused"] and blind["reading"]["known_groups"]["difference"] == 0


def test_correlation_with_the_start():
    start = {side: dict(zip("abcd", (1.0, 2, 3, 4), strict=True)) for side in validity.FRAMINGS}
    assert summary.correlation(start, start) == pytest.approx(1)
    turned = {"positive": start["positive"], "negative": {word: -value for word, value in start["negative"].items()}}
    assert summary.correlation(turned, start) == pytest.approx(0)
    swapped = {side: {"a": 2.0, "b": 1.0, "c": 30.0, "d": 40.0} for side in validity.FRAMINGS}
    assert summary.correlation(swapped, start) == pytest.approx(0.8)  # 1 − 6·2/(4·15)
    assert np.isnan(summary.correlation(start, {side: {"a": 1.0} for side in validity.FRAMINGS}))
    assert summary.correlation(start, {side: dict.fromkeys("abcd", 0.0) for side in validity.FRAMINGS}) == 0


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gemma2", "qwen2"])
@pytest.mark.parametrize("adapted", [False, True])
def test_rewards_are_those_of_the_model_s_own_forward(tokenizers, architecture, adapted):
    """Every word's conversation through transformers' own classifier; adapters unmerged."""
    tokenizer, model = tokenizers[architecture], reward_model(architecture)
    model = lora(model, task_type="SEQ_CLS") if adapted else model
    found = profile(model, tokenizer)
    form = Format("text", space=True, template=PLAIN, closing="eos")
    drawn = sample.draw(LEXICON, 1, 6)
    for text, framing in zip(drawn.prompts["text"], drawn.prompts["framing"], strict=True):
        around = render(tokenizer, form, text)
        ids = [[*around.prefix, *encode_reply(tokenizer, form, word), *around.closing] for word in SIX]
        with torch.no_grad():
            told = [model.eval()(input_ids=torch.tensor([own])).logits.item() for own in ids]
        assert [found["means"][framing][word] for word in SIX] == pytest.approx(told, abs=1e-4)
    assert {row["words"] for row in found["rows"]} == {6} and found["kind"] == "reward"


@pytest.mark.parametrize("adapted", [False, True])
def test_log_probabilities_are_the_language_model_s(tokenizers, adapted):
    tokenizer, model = tokenizers["gemma3"], language_model("gemma3")
    model = lora(model, task_type="CAUSAL_LM") if adapted else model
    found = profile(model, tokenizer)
    prompts = sample.draw(LEXICON, 1, 6).prompts
    for text, framing in zip(prompts["text"], prompts["framing"], strict=True):
        ids = torch.tensor([render(tokenizer, Format("text", space=True, template=PLAIN), text).prefix])
        with torch.no_grad():
            logprob = model.eval()(input_ids=ids).logits[0, -1].log_softmax(-1)
        token = tokenizer(" friend", add_special_tokens=False).input_ids
        assert len(token) == 1 and found["means"][framing]["friend"] == pytest.approx(
            logprob[token[0]].item(), abs=1e-4
        )
    assert found["kind"] == "logprob"


def test_the_head_s_dtype_and_the_chat_template(tokenizer):
    half = reward_model().to(torch.bfloat16)
    found = profile(half, tokenizer, format=None)  # the tokenizer's chat template
    assert half.score.weight.dtype == torch.bfloat16
    values = list(found["means"]["positive"].values())
    assert len(set(values)) == len(values)  # rewards in float32: no ties of eight bits
    whole = profile(reward_model(), tokenizer, format=None)
    assert np.corrcoef(values, list(whole["means"]["positive"].values()))[0, 1] > 0.95


def test_a_search_that_does_not_fit_the_model_is_not_believed(tokenizer, monkeypatch):
    """Layers that do not see the shared prefix, as those of a state space: whole conversations are scored."""
    right = profile(reward_model(), tokenizer)
    run = scores.score_prompts.__globals__["shared_prefix"].run_continuations
    monkeypatch.setattr(
        scores.score_prompts.__globals__["shared_prefix"], "run_continuations", lambda b, prefix, ids: run(b, None, ids)
    )
    found = profile(reward_model(), tokenizer)
    for framing, means in right["means"].items():
        assert found["means"][framing] == pytest.approx(means, abs=1e-5)


# ---- the model comes back


class Fails(Exception):
    pass


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("make", [reward_model, language_model])
def test_everything_is_as_it_was(tokenizer, make, fails, monkeypatch):
    model = lora(make(attention_dropout=0.1), task_type="SEQ_CLS" if make is reward_model else "CAUSAL_LM")
    model.train()
    model.base_model.model.model.layers[0].eval()  # each module has a mode of its own
    inner = model.get_base_model()
    inner.gradient_checkpointing_enable()
    inner.enable_input_require_grads()
    inner.forward = inner.forward  # what accelerate and trl put there

    def state():
        own = [(name, value.requires_grad, value.dtype, value.grad) for name, value in model.named_parameters()]
        configs = [inner.config._attn_implementation, inner.model.config._attn_implementation, inner.config.use_cache]
        draws = [random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()]
        return own, [module.training for module in model.modules()], configs, draws, inner.__dict__["forward"]

    weights = {name: value.clone() for name, value in model.state_dict().items()}
    before = state()
    if fails:
        monkeypatch.setattr(type(inner.model.layers[1].mlp), "forward", lambda *_: (_ for _ in ()).throw(Fails))
        with pytest.raises(Fails):
            profile(model, tokenizer)
    else:
        profile(model, tokenizer)
    assert state() == before
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert not any(value.is_inference() for value in model.state_dict().values())


# ---- trainings that end in the same bits


TEXTS = [f"{' '.join(random.Random(i).choices(SIX + OTHER, k=6))}" for i in range(16)]
FAST = {"max_steps": 4, "per_device_train_batch_size": 2, "learning_rate": 0.01, "report_to": "none", "seed": 5}
FAST |= {"use_cpu": True, "save_strategy": "no", "disable_tqdm": True, "logging_steps": 2, "bf16": False}


def _trainer(kind: str, folder: Path, adapted: bool, checkpointing: bool):
    import trl
    from datasets import Dataset

    torch.manual_seed(0)  # of the plain trainer's fresh adapters
    tokenizer = tiny.tokenizer("llama")
    options = FAST | {"output_dir": str(folder), "gradient_checkpointing": checkpointing}
    task = "SEQ_CLS" if kind == "reward" else "CAUSAL_LM"
    peft = {"peft_config": LoraConfig(task_type=task, **LORA)} if adapted else {}
    model = (reward_model if kind == "reward" else language_model)(attention_dropout=0.2)
    if kind == "plain":
        model = lora(model, task_type=task) if adapted else model
        ids = tokenizer(TEXTS, padding="max_length", max_length=12, truncation=True).input_ids
        rows = [{"input_ids": own, "labels": own} for own in ids]
        if adapted and checkpointing:
            model.enable_input_require_grads()
        return Trainer(model, TrainingArguments(**options), train_dataset=rows, processing_class=tokenizer)
    pairs = {"chosen": TEXTS, "rejected": TEXTS[::-1]}
    data = {"reward": pairs, "dpo": {"prompt": ["Say: "] * 16, **pairs}, "sft": {"text": TEXTS}}[kind]
    made = {
        "reward": (trl.RewardTrainer, trl.RewardConfig, {"disable_dropout": False}),
        "sft": (trl.SFTTrainer, trl.SFTConfig, {}),
        "dpo": (trl.DPOTrainer, trl.DPOConfig, {"disable_dropout": False}),
    }
    trainer, arguments, own = made[kind]
    if kind == "dpo" and not adapted:
        peft = {"ref_model": language_model()}
    rows = Dataset.from_dict(data)
    return trainer(
        model, args=arguments(**options, **own, max_length=64), train_dataset=rows, processing_class=tokenizer, **peft
    )


def _trained(trainer) -> tuple[dict, list]:
    trainer.train()
    logged = [row for row in trainer.state.log_history if "values/seconds" not in row]
    clocks = ("runtime", "per_second")
    logged = [{k: v for k, v in row.items() if not k.endswith(clocks)} for row in logged]
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}, logged


@pytest.mark.parametrize(
    ("kind", "adapted", "checkpointing"),
    [
        ("reward", True, True),
        ("sft", False, True),
        ("dpo", True, False),
        ("plain", False, False),
        *(
            pytest.param(*rest, marks=pytest.mark.slow)
            for rest in (
                ("reward", False, False),
                ("sft", True, False),
                ("dpo", False, True),
                ("dpo", True, True),
                ("plain", True, True),
            )
        ),
    ],
)
def test_a_training_with_the_callback_ends_in_the_same_bits(tmp_path, kind, adapted, checkpointing):
    alone, logged = _trained(_trainer(kind, tmp_path / "alone", adapted, checkpointing))
    trainer = _trainer(kind, tmp_path / "watched", adapted, checkpointing)
    trainer.add_callback(valuetrace.ValueProfileCallback(trainer, every=1, share=1, format=PLAIN, **FEW))
    fresh = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    watched, still_logged = _trained(trainer)
    assert all(torch.equal(alone[name], watched[name]) for name in alone)
    assert any(not torch.equal(fresh[name], watched[name]) for name in fresh)
    assert still_logged == logged  # the trainer's own records, means of several steps among them, are the same
    values = [row for row in trainer.state.log_history if "values/seconds" in row]
    assert [row["step"] for row in values] == [0, 1, 2, 3, 4]
    assert set(values[0]) == {
        *(f"values/{construct}/{framing}" for construct in ("agency", "communion") for framing in validity.FRAMINGS),
        *(f"values/{name}" for name in ("known_groups", "framing_across", "correlation_with_start", "seconds")),
        "epoch",
        "step",
    }
    assert values[0]["values/correlation_with_start"] == pytest.approx(1) != values[-1]["values/correlation_with_start"]
    told = record.read(tmp_path / "watched/values.csv")
    assert told["step"].tolist() == [step for step in range(5) for _ in range(4)]
    assert told["percentile"].tolist()[0] == pytest.approx(values[0]["values/agency/positive"], rel=1e-5)


def test_nothing_moves_where_nothing_is_learned(tmp_path):
    trainer = _trainer("sft", tmp_path, True, False)
    trainer.args.learning_rate = 0.0
    trainer.add_callback(valuetrace.ValueProfileCallback(trainer, every=2, share=1, format=PLAIN, **FEW))
    trainer.train()
    told = record.read(tmp_path / "values.csv")
    assert (told["correlation_with_start"] == 1).all()
    assert told.groupby(["construct", "framing"])["percentile"].nunique().max() == 1


PARAMS = {"every": 1, "prompts": 1, "words": 6, "seed": 1}


@pytest.mark.parametrize(
    ("objective", "head"), [("bradley_terry", "linear"), pytest.param("grm", "mlp", marks=pytest.mark.slow)]
)
def test_our_own_training(tmp_path, monkeypatch, objective, head):
    """The same weights with and without; killed and run again: the same record."""
    from test_training import PARAMS as training
    from test_training import _pairs, _weights

    from valuetrace.training import run
    from valuetrace.training.trainer import PairTrainer

    base = tmp_path / "llama"
    loading.make("llama", Source("random", architecture="llama"), TokenizerChanges(), base)
    monkeypatch.setattr(sample, "find_lexicon", lambda _: LEXICON)
    params = dataclasses.replace(training, objective=objective, head=head)
    look = watch(Monitoring(**PARAMS), "own", params.format)
    others = [watch(Monitoring(**PARAMS | {"every": 2}), "own", params.format)]
    others += [watch(Monitoring(**PARAMS), "own", dataclasses.replace(params.format, closing="none"))]
    assert len({look.key, watch(Monitoring(**PARAMS), "own", params.format).key, *(o.key for o in others)}) == 3
    given = (base, _pairs(16), _pairs(6, seed=1), params)
    run.train(*given, tmp_path / "alone")
    run.train(*given, tmp_path / "watched", look)
    assert _weights(tmp_path / "watched") == _weights(tmp_path / "alone")
    told = record.read(tmp_path / "watched" / RECORD).drop(columns="seconds")
    assert told["step"].unique().tolist() == [0, 1, 2, 3, 4]

    class Killed(BaseException):
        pass

    end_of_step = PairTrainer.end_of_step

    def stop(self, rate):
        if self.done + self.state.global_step == 3:
            raise Killed
        end_of_step(self, rate)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(PairTrainer, "end_of_step", stop)
        run.train(*given, tmp_path / "killed", look)
    assert record.read(tmp_path / "killed" / RECORD)["step"].max() == 3
    run.train(*given, tmp_path / "killed", look)
    assert _weights(tmp_path / "killed") == _weights(tmp_path / "alone")
    pd.testing.assert_frame_equal(record.read(tmp_path / "killed" / RECORD).drop(columns="seconds"), told)


SCRIPT = """
import sys
from pathlib import Path
import pandas as pd
import test_monitoring as t
from valuetrace.monitoring import sample
import valuetrace
from safetensors.torch import save_file
known = pd.DataFrame({"word": t.VIRTUES + t.VICES, "polarity": ["virtue"] * 6 + ["vice"] * 6})
sample._known_groups = lambda: known
folder = Path(sys.argv[1])
trainer = t._trainer("reward", folder, True, False)
trainer.args.ddp_find_unused_parameters = False
if "watched" in folder.name:
    trainer.add_callback(valuetrace.ValueProfileCallback(trainer, every=1, share=1, format=t.PLAIN, **t.FEW))
trainer.train()
assert trainer.accelerator.num_processes == 2
if trainer.accelerator.is_main_process:
    save_file(trainer.model.state_dict(), folder / "weights.safetensors")
"""


@pytest.mark.slow
def test_two_processes_end_in_the_same_bits(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    for name in ("alone", "watched"):
        (tmp_path / name).mkdir()
        subprocess.run([*launch, str(tmp_path / "script.py"), str(tmp_path / name)], env=environment, check=True)
    alone, watched = (load_file(tmp_path / name / "weights.safetensors") for name in ("alone", "watched"))
    assert all(torch.equal(alone[name], watched[name]) for name in alone)
    assert record.read(tmp_path / "watched/values.csv")["step"].unique().tolist() == [0, 1, 2, 3, 4]


# ---- the callback's own life


class Control:
    should_training_stop = should_log = False


def _life(monkeypatch, tmp_path, *, step_seconds=10.0, profile_seconds=3.0, steps=200, start=0, stop=None, **options):
    """Steps at which profiles are taken when a step and a profile take so long on a clock that stands still else."""
    now, taken = [0.0], []

    class Fake:
        words = SIX

        def __init__(self, who, drawn):
            self.subject, self.sample = who, drawn

        def score(self):
            now[0] += profile_seconds
            return "scores", None

    found = {"rows": [], "words": 12}

    class Kept:
        path = "values.csv"

        def __init__(self, path, step):
            self.step = step

        def add(self, step, found, seconds):
            taken.append(step)
            return {}

    monkeypatch.setattr(callbacks, "Scorer", Fake)
    monkeypatch.setattr(callbacks, "summarise", lambda *_: found)
    monkeypatch.setattr(callbacks, "Record", Kept)
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(callbacks, "subject", lambda *_: subject.Subject("reward", None, None, None))
    looker = valuetrace.ValueProfileCallback(lexicon=LEXICON, **options)
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)

    class State:
        is_world_process_zero, max_steps, global_step = True, steps, start

    state = State()
    looker.on_train_begin(args, state, Control())
    for step in range(start + 1, (stop or steps) + 1):
        now[0] += step_seconds
        state.global_step = step
        looker.on_step_end(args, state, Control())
    looker.on_train_end(args, state, Control())
    return taken, looker.spent / now[0]


def test_profiles_keep_to_their_share_of_the_time(monkeypatch, tmp_path, capsys):
    taken, share = _life(monkeypatch, tmp_path, every=40)  # 3 s every 400 s
    assert taken == list(range(0, 201, 40)) and share < 0.02
    assert "6 prompts × 6 words every 40 steps" in (told := capsys.readouterr().err)
    assert (
        "the first took 3.0 s, so at most one in 150 s (share 0.02)" in told
        and "6 profiles took 18.0 s, 0.9 % of 2018 s" in told
    )
    taken, share = _life(monkeypatch, tmp_path, every=1)  # too often: each waits until it can be paid
    assert taken[:3] == [0, 30, 45] and taken[-1] == 200 and share < 0.0225  # the end is always taken
    steps = np.array(taken[1:-1])
    assert all((3 * (i + 2)) / (3 * (i + 2) + 10 * step) <= 0.02 for i, step in enumerate(steps))
    taken, _ = _life(monkeypatch, tmp_path, every=20, profile_seconds=30, steps=60)
    assert taken == [0, 60]
    taken, share = _life(monkeypatch, tmp_path, every=20, profile_seconds=30, steps=60, share=1)
    assert taken == [0, 20, 40, 60] and share > 0.1  # no limit was asked for


def test_a_training_that_goes_on_and_one_that_stops_early(monkeypatch, tmp_path):
    assert _life(monkeypatch, tmp_path, every=20, share=1, start=30, steps=50)[0] == [30, 40, 50]
    assert _life(monkeypatch, tmp_path, every=20, share=1, done=30, steps=25)[0] == [30, 40, 55]
    assert _life(monkeypatch, tmp_path, every=20, share=1, stop=33)[0] == [0, 20, 33]


def test_rows_after_the_resumed_step_are_dropped(tmp_path):
    means = {side: {"a": 1.0, "b": 2.123456789} for side in validity.FRAMINGS}
    reading = {"known_groups": {"difference": float("nan")}, "framing": {"within": 0.5, "across": 0.25}}
    rows = [
        {"construct": "null", "framing": side, "prompts": 1, "words": 6, "percentile": 40.0}
        for side in validity.FRAMINGS
    ]
    found = {"rows": rows, "means": means, "reading": reading, "refused": "x"}
    path = tmp_path / "values.csv"
    first = record.Record(path, 0)
    for step in (0, 10, 20, 30):
        logged = first.add(step, found, 1.0)
    assert logged["values/correlation_with_start"] == 1 and np.isnan(logged["values/known_groups"])
    again = record.Record(path, 20)
    assert again.add(20, found, 2.0) == logged | {"values/seconds": 2.0} or np.isnan(logged["values/known_groups"])
    told = record.read(path)
    assert told["step"].tolist() == [0, 0, 10, 10, 20, 20] and told["construct"].unique().tolist() == ["null"]
    assert told["seconds"].tolist() == [1.0] * 4 + [2.0] * 2 and told["known_groups"].isna().all()
    (tmp_path / "values.start.csv").unlink()  # the start is lost: no correlation is made up
    assert np.isnan(record.Record(path, 20).add(20, found, 1.0)["values/correlation_with_start"])
    record.Record(path, 0).add(0, found, 1.0)  # a training from the start
    assert record.read(path)["step"].unique().tolist() == [0]
    path.write_text("my,own,table\n1,2,3\n")
    with pytest.raises(InputError, match="column step"):
        record.Record(path, 0)
    assert path.read_text() == "my,own,table\n1,2,3\n"


def test_what_goes_wrong_later_is_said_once_and_training_goes_on(tmp_path, monkeypatch):
    trainer = _trainer("sft", tmp_path, True, False)
    trainer.add_callback(valuetrace.ValueProfileCallback(trainer, every=1, share=1, format=PLAIN, **FEW))

    class Breaks(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            if state.global_step == 1:
                monkeypatch.setattr(scores, "next_token_logprobs", lambda *_: (_ for _ in ()).throw(Fails("no memory")))

    trainer.add_callback(Breaks())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        trainer.train()
    told = [str(warning.message) for warning in told if "values:" in str(warning.message)]
    assert told == ["values: no profile at step 2 (Fails: no memory). Training goes on."]
    assert trainer.state.global_step == 4 and record.read(tmp_path / "values.csv")["step"].max() == 1


def test_scores_that_are_no_numbers(tokenizer, tmp_path):
    model = reward_model()
    trainer = _trainer("reward", tmp_path, False, False)
    trainer.add_callback(valuetrace.ValueProfileCallback(trainer, every=1, share=1, format=PLAIN, **FEW))

    class Diverges(TrainerCallback):
        def on_step_begin(self, args, state, control, model=None, **_):
            if state.global_step == 2:
                model.score.weight.data.fill_(float("nan"))

    trainer.add_callback(Diverges())
    with pytest.warns(UserWarning, match="not finite"):
        trainer.train()
    told = record.read(tmp_path / "values.csv")
    assert told.groupby("step")["percentile"].count().to_dict() == {0: 4, 1: 4, 2: 4, 3: 0, 4: 0}
    assert not told["reads"].any() and told["step"].max() == 4
    model.score.weight.data.fill_(float("inf"))
    with pytest.warns(UserWarning, match="not finite"):
        assert "not finite" in profile(model, tokenizer)["refused"]


def test_bad_input_is_one_line(tokenizer, tmp_path):
    model = reward_model()
    with pytest.raises(InputError, match="there is no tokenizer"):
        profile(model, None)
    with pytest.raises(InputError, match="LlamaForSequenceClassification has 3 labels"):
        profile(AutoModelForSequenceClassification.from_config(_labels(model.config, 3)), tokenizer)
    with pytest.raises(InputError, match="LlamaModel is neither a reward model"):
        profile(model.model, tokenizer)
    with pytest.raises(InputError, match="a trained prompt is no part"):
        profile(
            get_peft_model(language_model(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)), tokenizer
        )
    for lexicon in (LEXICON.head(0), LEXICON.drop(columns="construct")):
        with pytest.raises(InputError, match="the table has no words of a construct"):
            profile(model, tokenizer, lexicon=lexicon)
    with pytest.raises(InputError, match=r"communion \(2\) has fewer than 6 words. Add some"):
        profile(model, tokenizer, lexicon=LEXICON.head(8))
    with pytest.raises(InputError, match="this model can score"):
        strange = LEXICON.assign(word=[f"qzx{i}zqx" for i in range(12)])
        profile(language_model(), tokenizer, lexicon=strange)
    with pytest.raises(InputError, match="prompts=28: give 1 to 27"):
        profile(model, tokenizer, prompts=28)
    with pytest.raises(InputError, match="both framings are needed"):
        profile(model, tokenizer, prompts=pd.DataFrame({"key": ["a"], "text": ["b?"], "framing": ["positive"]}))
    with pytest.raises(InputError, match="words=5"):
        profile(model, tokenizer, words=5)
    with pytest.raises(InputError, match=r"format='Answer:'.*\{prompt\} exactly once"):
        profile(model, tokenizer, format="Answer:")
    for options, message in (({"every": 0}, "every=0"), ({"share": 0}, "share=0"), ({"share": 1.5}, "share=1.5")):
        with pytest.raises(InputError, match=message):
            valuetrace.ValueProfileCallback(**options)
    with pytest.raises(InputError, match=r"expected a transformers\.Trainer, got LlamaForSequenceClassification"):
        valuetrace.ValueProfileCallback(model)


def _labels(config, count: int):
    changed = copy.deepcopy(config)
    changed.num_labels = count
    return changed


def test_a_trainer_without_a_tokenizer_and_a_sharded_model(tmp_path):
    trainer = _trainer("plain", tmp_path, False, False)
    trainer.callback_handler.processing_class = None
    trainer.add_callback(valuetrace.ValueProfileCallback(trainer, format=PLAIN, **FEW))
    with pytest.raises(InputError, match=r"no tokenizer.*processing_class"):
        trainer.train()
    assert trainer.state.global_step == 0
    next(trainer.model.parameters()).ds_id = 0  # as ZeRO-3 marks what it has shared out
    trainer.callback_handler.processing_class = tiny.tokenizer("llama")
    with pytest.raises(InputError, match="sharded"):
        trainer.train()


def test_the_picture(tmp_path):
    from valuetrace.figures import monitoring

    rows = [
        (step, construct, side, 3, 24, 50 + step, step, 0.1, 0.1, 1 - step / 50, step > 20, 1.0)
        for step in range(0, 50, 10)
        for construct in ("agency", "communion")
        for side in validity.FRAMINGS
    ]
    pd.DataFrame(rows, columns=list(record.COLUMNS)).to_csv(tmp_path / "values.csv", index=False)
    monitoring.draw(tmp_path / "values.csv", tmp_path / "values.png")
    assert (tmp_path / "values.png").stat().st_size > 10_000
