"""Whatever is wrong with the engine: a score is right, slower or refused, never wrong."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from valuetrace import profile
from valuetrace.core.errors import InputError
from valuetrace.models import tiny
from valuetrace.scoring import candidates, chat, heads, reference, search, shared_prefix
from valuetrace.scoring.reward_model import RewardModel, from_whole, load_reward_model
from valuetrace.subjects import scorers
from valuetrace.subjects.inputs import Request, resolve

FORM = chat.Format("chat", space=False)
PROMPTS = {"a": "What is the greatest thing?", "b": "What, in one word, is the worst thing of all?"}
WORDS = [
    "love",
    "freedom",
    "togetherness",
    "unhappiness",
    "a",
    "knowledge",
    "peace",
    "time",
    "war",
    "truth",
    "us",
    "sorrow",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("reference") / "rm"
    tiny.write("gemma2", 3, folder, reward=True)
    return folder


@pytest.fixture(scope="module")
def truth(folder) -> np.ndarray:
    """(words, prompts): transformers' own class on the tokenizer's own encoding; nothing of valuetrace."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = tiny.tokenizer("gemma2")
    rewards = []
    for word in WORDS:
        for prompt in PROMPTS.values():
            messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": word}]
            ids = tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=True).input_ids
            with torch.inference_mode():
                rewards.append(model(ids).logits.item())
    return np.array(rewards).reshape(len(WORDS), len(PROMPTS))


def shifted_position(monkeypatch):
    own = RewardModel.read_at
    monkeypatch.setattr(RewardModel, "read_at", lambda self, ids: own(self, ids) - 1)


def shifted_ids(monkeypatch):
    own = chat.encode_reply
    monkeypatch.setattr(chat, "encode_reply", lambda *given: [i + 1 for i in own(*given)])


def lost_beginning(monkeypatch):
    own = chat.render
    monkeypatch.setattr(chat, "render", lambda *given: chat.Conversation(own(*given).prefix[1:], own(*given).closing))


def shifted_mask(monkeypatch):
    own = shared_prefix._invisible
    monkeypatch.setattr(shared_prefix, "_invisible", lambda length, seen, *rest: own(length, seen, *rest).roll(1, -1))


def forgotten_window(monkeypatch):
    own = shared_prefix._invisible
    monkeypatch.setattr(shared_prefix, "_invisible", lambda length, seen, window, to: own(length, seen, None, to))


def other_head(monkeypatch):
    for kind in (heads.Linear, heads.Copied):
        own = kind.forward
        monkeypatch.setattr(kind, "forward", lambda self, last, gate=None, own=own: own(self, last.roll(1, -1), gate))


BROKEN = [shifted_position, shifted_ids, lost_beginning, shifted_mask, forgotten_window, other_head]


def by_search(folder) -> pd.DataFrame:
    return search.score_prompts(load_reward_model(folder, FORM, device="cpu"), PROMPTS, WORDS, progress=False)


def by_audit(folder) -> pd.DataFrame:
    words, prompts = folder.parent / "words.csv", folder.parent / "prompts.csv"
    pd.DataFrame({"construct": "any", "word": WORDS}).to_csv(words, index=False)
    asked = pd.DataFrame({"key": list(PROMPTS), "text": list(PROMPTS.values()), "framing": ["positive", "negative"]})
    asked.to_csv(prompts, index=False)
    out = folder.parent / "out"
    job = resolve(Request(str(folder), lexicon=str(words), prompts=str(prompts), device="cpu", out=out))
    scored, _ = scorers.load(job).score(folder.parent / ".shards", progress=False)
    return scored.set_index("token_name").loc[WORDS, list(PROMPTS)]


def by_profile(folder) -> pd.DataFrame:
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    words = pd.DataFrame({"word": WORDS, "construct": ["one", "two"] * 6})
    asked = pd.DataFrame({"key": list(PROMPTS), "text": list(PROMPTS.values()), "framing": ["positive", "negative"]})
    found = profile(model, tiny.tokenizer("gemma2"), lexicon=words, prompts=asked)["means"]
    return pd.DataFrame({key: found[framing] for key, framing in (("a", "positive"), ("b", "negative"))}).loc[WORDS]


@pytest.mark.parametrize("entry", [by_search, by_audit, by_profile])
@pytest.mark.parametrize("breaks", [None, *BROKEN], ids=lambda breaks: getattr(breaks, "__name__", "whole"))
def test_no_score_of_a_broken_engine_is_believed(folder, truth, entry, breaks, monkeypatch):
    if breaks is not None:
        breaks(monkeypatch)
    np.testing.assert_allclose(entry(folder).to_numpy(), truth, rtol=0, atol=1e-4 * np.abs(truth).max())


@pytest.mark.parametrize("breaks", BROKEN)
def test_what_is_broken_is_named(folder, breaks, monkeypatch):
    model = load_reward_model(folder, FORM, device="cpu")
    read = candidates.read_candidates(model, WORDS)
    assert reference.hold(model, PROMPTS, read, "exact").why == ()
    breaks(monkeypatch)
    model = load_reward_model(folder, FORM, device="cpu")
    held = reference.hold(model, PROMPTS, candidates.read_candidates(model, WORDS), "exact")
    part = {"ids": "ids", "beginning": "ids", "mask": "attention", "window": "attention"}
    part |= {"position": "head or position", "head": "head or position"}
    assert any(why.startswith(part[breaks.__name__.split("_")[1]]) for why in held.why)


def test_a_reward_that_no_path_gives_is_refused(folder, monkeypatch):
    """A model without a class of its own: its backbone and head are all that there is."""
    model = load_reward_model(folder, FORM, device="cpu")
    apart = RewardModel(model.backbone, model.head, model.tokenizer, FORM, "apart", pad=model.pad)
    asked = (apart, PROMPTS, candidates.read_candidates(apart, WORDS), "exact")
    assert reference.hold(*asked).path == "shared"
    monkeypatch.setattr(search, "run", lambda model, plan, path: np.zeros(len(plan.rests), dtype=np.float32))
    with pytest.raises(InputError, match=r"apart: no way of scoring gives the rewards of Gemma2Model: attention: .*"):
        reference.hold(*asked)


def test_half_precision_is_held_too(folder):
    model = load_reward_model(folder, FORM, device="cpu", dtype="bfloat16")
    read = candidates.read_candidates(model, WORDS)
    held = reference.hold(model, PROMPTS, read, "exact")
    assert held.path == "shared" and 0 < held.error <= held.tolerance < held.spread / 2


def test_the_shared_prefix_refuses_what_it_does_not_know():
    layer = torch.nn.Module()
    state = torch.zeros(1, 2, 3, 4)
    with pytest.raises(InputError, match="attends with s_aux, which no shared prefix knows"):
        shared_prefix.attend(layer, state, state, state, s_aux=torch.zeros(2))
    with pytest.raises(InputError, match="is not plain causal attention"):
        shared_prefix.attend(layer, state, state, state, is_causal=False)


@pytest.mark.parametrize("auto", [AutoModelForTokenClassification, AutoModelForCausalLM])
def test_a_reward_among_many_outputs_of_every_token(auto, tmp_path):
    """A process reward model's label, a logit of the language head: --output says which is the reward."""
    config = AutoConfig.for_model(**tiny.config("qwen2"), num_labels=3)
    torch.manual_seed(4)
    own = auto.from_config(config).eval()
    own.save_pretrained(tmp_path)
    tokenizer = tiny.tokenizer("qwen2")
    tokenizer.save_pretrained(tmp_path)
    if auto is AutoModelForTokenClassification:
        with pytest.raises(InputError, match=r"the head has 3 outputs.*--output N"):
            load_reward_model(tmp_path, FORM, device="cpu")
    model = load_reward_model(tmp_path, FORM, device="cpu", output=2)
    found = search.score_responses(model, PROMPTS["a"], WORDS, progress=False)
    for word, reward in found.items():
        messages = [{"role": "user", "content": PROMPTS["a"]}, {"role": "assistant", "content": word}]
        ids = tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=True).input_ids
        with torch.inference_mode():
            assert own(ids).logits[0, -1, 2].item() == pytest.approx(reward, abs=1e-5)


def test_token_ids_stay_what_they_are_where_words_are_encoded_in_conversations(folder):
    """After a template that ends in a space a byte-level word has other ids; an id has none but itself."""
    tokenizer = tiny.tokenizer("llama")
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
    model = tiny.model("llama", 3, cls=AutoModelForSequenceClassification, reward=True)
    held = from_whole(model, tokenizer, FORM, "spaced")
    names = ["love", 700, (701, 702)]
    read = candidates.read_candidates(held, names)
    found = reference.hold(held, PROMPTS, read, "exact")
    assert found.tokenisation == "conversation" and found.path == "shared" and "other ids" in found.why[0]
    plan = candidates.prepare(held, PROMPTS["a"], read, "conversation")
    around = chat.render(tokenizer, FORM, PROMPTS["a"])
    assert plan.ids(0) == chat.whole(tokenizer, FORM, PROMPTS["a"], "love")
    assert plan.ids(1) == [*around.prefix, 700, *around.closing]
    assert plan.ids(2) == [*around.prefix, 701, 702, *around.closing]
    alone = reference.hold(held, PROMPTS, candidates.read_candidates(held, [700, 701]), "exact")
    assert alone.tokenisation == "exact" and "typed" in alone.why[0]
