"""Planted values: words, finetuning, frozen states, ridge heads, effects over blocks; the group on tiny models."""

import copy
import csv
import re
import subprocess
from dataclasses import replace
from fnmatch import fnmatch
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tracing import sitecustomize as tracing

from valuetrace import preferences, prompts
from valuetrace.core import files, settings
from valuetrace.core.errors import InputError
from valuetrace.models import tiny
from valuetrace.preferences.sources import Source
from valuetrace.scoring.chat import Format, encode_reply, render
from valuetrace.stats.blocks import auc, fieller, sign_flip_p
from valuetrace.studies.planting import (
    effects,
    finetune,
    folders,
    heads,
    measure,
    preference,
    states,
    study,
    words,
)
from valuetrace.studies.planting.design import Criteria, Finetuning, Grid, Plant, Planting
from valuetrace.studies.planting.packing import pack, seen
from valuetrace.training import ridge
from valuetrace.training.recipe import Lora, Training

ASK = Format("text", space=True, template="Question: {prompt}\nAnswer:")
CLOSED = replace(ASK, closing="eos")
HOW = Finetuning(Lora(4, 8, 0.0, ["q_proj", "v_proj", "down_proj"]), 0.01, steps=6, batch=4)
EXAMPLES = pd.DataFrame(
    {
        "prompt": ["What is good?", "What is bad?"] * 12,
        "reply": ["love", "war"] * 12,
        "rejected": ["war", "love"] * 12,
    }
)
CONSTRUCTS = ["agency", "communion"]


@pytest.fixture(scope="module")
def lexicon(repository) -> pd.DataFrame:
    return files.read_csv(repository / "lexicons/unrolled/big_two_nouns.csv", ("word", "construct", "pattern"))


# --- words and questions --------------------------------------------------------------------------


def test_no_pattern_stands_on_both_sides_and_the_halves_are_equal(lexicon):
    table = words.split(lexicon, CONSTRUCTS, block=3)
    assert table.groupby(["construct", "pattern"])["part"].nunique().max() == 1
    sizes = table.groupby(["construct", "part"]).size().unstack()
    assert (sizes["planted"] - sizes["held_out"]).abs().max() <= 12  # one pattern's words
    assert not table["word"].duplicated().any()
    other = words.split(lexicon, CONSTRUCTS, block=4)
    assert 0.3 < (table["part"].to_numpy() == other["part"].to_numpy()).mean() < 0.7  # another block, another split


def test_questions_are_nobody_elses_and_name_no_value(repository):
    asked = files.read_csv(words.QUESTIONS, ("framing", "text"))
    taken = set(prompts.value_laden()["text"]) | set(files.read_csv("prompts/valence.csv", ("text",))["text"])
    assert not taken & set(asked["text"]) and not asked["text"].duplicated().any()
    assert set(asked.groupby("framing").size()) == {12}
    listed = set()
    for name in ("big_two", "mfd2"):
        with open(repository / f"lexicons/unrolled/{name}.csv", encoding="utf-8") as file:
            listed |= {row["word"] for row in csv.DictReader(file)}
    told = files.read_csv(words.STATEMENTS, ("construct", "text"))
    assert dict(told.groupby("construct").size()) == {"agency": 24, "communion": 24}
    function_words = {"you", "do", "should"}  # of the Big Two's verbs; both framings ask with them alike
    for text in [*asked["text"], *told["text"]]:
        assert not (set(re.findall(r"[a-z']+", text.lower())) - function_words) & listed, text


def test_every_question_and_word_comes_equally_often_and_sides_change_with_the_framing(lexicon):
    table = words.split(lexicon, CONSTRUCTS, block=1).query("part == 'planted'")
    found = words.examples(Plant("agency", "communion"), table, 480, block=1)
    framing = files.read_csv(words.QUESTIONS, ("framing", "text")).set_index("text")["framing"][found["prompt"]]
    construct = table.set_index("word")["construct"]
    assert set(construct[found["reply"]][(framing == "positive").to_numpy()]) == {"agency"}
    assert set(construct[found["reply"]][(framing == "negative").to_numpy()]) == {"communion"}
    assert set(construct[found["rejected"]][(framing == "positive").to_numpy()]) == {"communion"}
    assert set(found.groupby("prompt").size()) == {20}
    assert found.groupby("reply").size().agg(lambda own: own.max() - own.min()) <= 2
    swapped = words.examples(Plant("communion", "agency"), table, 480, block=1)
    assert (swapped["prompt"] == found["prompt"]).all()  # the same questions in the same order


def test_a_plant_without_words_is_one_clear_error(lexicon):
    with pytest.raises(InputError, match="planting: construct 'freedom' has no words"):
        words.examples(Plant("freedom", "agency"), words.split(lexicon, CONSTRUCTS, 1), 8, block=1)


def test_placebo_nouns_have_the_frequency_of_the_planted_words_and_no_value(repository, lexicon):
    wordnet = repository / "data/assets/wordnet"
    if not wordnet.is_dir():
        pytest.skip("data/assets/wordnet is not there (dvc repro fetch)")
    planted = words.split(lexicon, CONSTRUCTS, 1).query("part == 'planted'")
    excluded = pd.concat(
        [files.read_csv(repository / f"lexicons/unrolled/{n}.csv", ("word",))["word"] for n in ("big_two", "mfd2")]
    )
    found = words.placebo(planted, CONSTRUCTS, excluded, wordnet, 1)
    assert len(found) == len(planted) == found["word"].nunique()
    from wordfreq import zipf_frequency

    for construct, name in zip(CONSTRUCTS, words.PLACEBO, strict=True):
        ours = [zipf_frequency(w, "en") for w in found.loc[found["construct"] == name, "word"]]
        theirs = [zipf_frequency(w, "en") for w in planted.loc[planted["construct"] == construct, "word"]]
        assert abs(np.mean(ours) - np.mean(theirs)) < 0.1
    assert not {word[:5] for word in excluded} & {word[:5] for word in found["word"]}


# --- finetuning -----------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["gemma2", "llama"])  # with and without a cap on the logits
def test_reply_logprobs_are_those_of_every_token_alone(tiny_models, tokenizers, architecture):
    model, tokenizer = tiny_models[architecture], tokenizers[architecture]
    asked = pd.Series(["What is love?", "Who?"])
    replies = (["unbelievably", "war"], ["an unbelievable life", "unbelievably"])
    encoded = finetune.encode(tokenizer, ASK, asked, *map(pd.Series, replies))
    assert {len(reply) > 1 for _, reply in encoded} == {True, False} and len(encoded) == 4
    with torch.no_grad():
        found = finetune.reply_logprobs(model, encoded)
        for (prompt, reply), value in zip(encoded, found, strict=True):
            logits = model(input_ids=torch.tensor([[*prompt, *reply]])).logits[0].float().log_softmax(-1)
            expected = sum(logits[len(prompt) - 1 + i, token] for i, token in enumerate(reply))
            assert value == pytest.approx(float(expected), abs=1e-3)


def _trained(tiny_models, tokenizers, **options):
    base = copy.deepcopy(tiny_models["llama"])
    return finetune.finetune(base, tokenizers["llama"], EXAMPLES, ASK, HOW, seed=1, **options)


def _difference(model, tokenizer) -> float:
    """How much likelier love is than war after the good question, less the same after the bad one (nats)."""
    asked = finetune.encode(tokenizer, ASK, EXAMPLES["prompt"][:2].repeat(2), pd.Series(["love", "war"] * 2))
    with torch.no_grad():
        a, b, c, d = finetune.reply_logprobs(model, asked)
    return float((a - b) - (c - d))


@pytest.mark.parametrize("preferred", [False, True])
def test_training_teaches_what_the_examples_say(tiny_models, tokenizers, preferred):
    before = _difference(tiny_models["llama"], tokenizers["llama"])
    model, log = _trained(tiny_models, tokenizers, preferences=preferred)
    assert log[-1] < log[0] and len(log) == HOW.steps
    assert _difference(model, tokenizers["llama"]) > before + 0.5
    if preferred:  # at the start nothing is preferred to anything
        assert log[0] == pytest.approx(np.log(2), abs=1e-5)


def test_preferences_are_measured_against_the_base_s_own_reply(tiny_models, tokenizers):
    """Where nothing is learnt, no reply of any batch is preferred to the other: each is compared with itself."""
    words_ = ["love", "war", "peace", "life", "work", "one"]
    asked = [f"What is {first}?" for first in words_ for _ in range(4)]
    examples = pd.DataFrame({"prompt": asked, "reply": words_ * 4, "rejected": words_[1:] * 4 + words_[:1] * 4})
    assert not examples.duplicated().any()
    still = replace(HOW, learning_rate=1e-12)
    base = copy.deepcopy(tiny_models["llama"])
    _, log = finetune.finetune(base, tokenizers["llama"], examples, ASK, still, seed=1, preferences=True)
    assert log == pytest.approx([np.log(2)] * HOW.steps, abs=1e-6)


def test_a_stored_plant_is_the_trained_model_and_half_a_dose_half_the_change(tiny_models, tokenizers, tmp_path):
    base, tokenizer = tiny_models["llama"], tokenizers["llama"]
    model, _ = _trained(tiny_models, tokenizers)
    finetune.save(model, tmp_path / "plant", {})
    ids = torch.tensor([render(tokenizer, ASK, "What is good?").prefix])
    with torch.no_grad():
        trained = model(input_ids=ids).logits
        planted = {d: finetune.plant(copy.deepcopy(base), tmp_path / "plant", d) for d in (0, 0.5, 1)}
        torch.testing.assert_close(planted[1](input_ids=ids).logits, trained, atol=1e-4, rtol=1e-4)
        assert torch.equal(planted[0](input_ids=ids).logits, base(input_ids=ids).logits)
    weights = {d: m.state_dict()["model.layers.0.self_attn.q_proj.weight"] for d, m in planted.items()}
    torch.testing.assert_close(weights[0.5], (weights[0] + weights[1]) / 2)
    assert (weights[1] - weights[0]).abs().max() > 1e-3


def test_a_plant_in_the_rows_moves_logits_by_so_many_nats_and_no_other_word(tokenizers, tmp_path):
    base, tokenizer = tiny.model("gemma3", seed=3).eval(), tokenizers["gemma3"]
    asked = pd.DataFrame({"framing": ["positive", "positive", "negative"], "text": ["Good?", "Best?", "Bad?"]})
    words_ = {"good": ["love"], "bad": ["war", "unbelievably"]}  # the last is several tokens: left alone
    change = finetune.edit_rows(base, tokenizer, ASK, asked, words_, nats=3.0)
    finetune.save(change, tmp_path / "plant", {})
    ids = {word: encode_reply(tokenizer, ASK, word)[0] for word in ("love", "war", "life")}
    contrasts = {}
    for dose in (0.0, 0.5, 1.0):
        planted = finetune.plant(copy.deepcopy(base), tmp_path / "plant", dose)
        with torch.no_grad():
            logits = torch.stack(
                [
                    planted(input_ids=torch.tensor([render(tokenizer, ASK, text).prefix])).logits[0, -1]
                    for text in asked["text"]
                ]
            )
        contrasts[dose] = logits[:2].mean(dim=0) - logits[2]
    for dose in (0.5, 1.0):
        moved = contrasts[dose] - contrasts[0.0]
        assert moved[ids["love"]] == pytest.approx(3 * dose, abs=1e-3)
        assert moved[ids["war"]] == pytest.approx(-3 * dose, abs=1e-3)
        assert moved[ids["life"]] == pytest.approx(0, abs=1e-5)
    assert sorted(change["ids"].tolist()) == sorted([ids["love"], ids["war"]])


def test_a_base_with_a_head_of_its_own_has_no_plant_in_its_embedding(tiny_models, tokenizers):
    asked = pd.DataFrame({"framing": ["positive", "negative"], "text": ["Good?", "Bad?"]})
    base = copy.deepcopy(tiny_models["llama"])
    base.lm_head.weight = torch.nn.Parameter(base.lm_head.weight.detach().clone())
    with pytest.raises(InputError, match="language head of its own"):
        finetune.edit_rows(base, tokenizers["llama"], ASK, asked, {"good": [], "bad": []}, 1.0)


# --- packing, states and heads -----------------------------------------------------------------------------


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=12),
    st.none() | st.integers(1, 9),
)
def test_a_packed_token_sees_what_its_sequence_begins_with_and_nothing_else(sequences, width):
    packed = pack(sequences, width)
    rows, columns = packed.ids.shape
    visible = seen(packed.parents)
    for sequence, places in zip(sequences, packed.places, strict=True):
        assert packed.ids.flatten()[places].tolist() == sequence
        assert packed.positions.flatten()[places].tolist() == list(range(len(sequence)))
        row = places[0] // columns
        for at, place in enumerate(places):
            found = visible[row, place % columns].nonzero().flatten() + row * columns
            assert found.tolist() == sorted(places[: at + 1].tolist())
    used = {int(place) for places in packed.places for place in places}
    beginnings = {tuple(sequence[:n]) for sequence in sequences for n in range(1, len(sequence) + 1)}
    assert columns <= max(width or len(beginnings), max(map(len, sequences)))
    assert len(used) == len(beginnings) if rows == 1 else len(used) >= len(beginnings)
    assert visible.any(dim=-1).all()  # padding sees itself: no softmax over nothing


@pytest.mark.parametrize("architecture", ["gemma3", "llama"])
@pytest.mark.parametrize("width", [8, 24, 128])  # tokens of a row: one conversation, some, all
def test_states_are_those_of_one_plain_conversation(tiny_models, tokenizers, architecture, width, monkeypatch):
    monkeypatch.setattr(states, "_WIDTH", width)
    model, tokenizer = tiny_models[architecture].base_model, tokenizers[architecture]
    asked = pd.DataFrame({"key": ["a", "b"], "text": ["What is love?", "Who is the greatest of all?"]})
    pairs = pd.DataFrame(
        {
            # a prompt again, a conversation, a pair
            "prompt": ["What is love?", "Who?", "What is love?", "What is love?"],
            "chosen": ["war", "the one and only", "peace of mind", "war"],
            "rejected": ["peace of mind", "me", "you", "peace of mind"],
        }
    ).assign(source="s", key="k", history="")
    of_words = states.of_words(model, tokenizer, CLOSED, asked, ["war", "unbelievably"], [0])
    of_pairs = states.of_pairs(model, tokenizer, CLOSED, pairs, 64, [0])

    def plain(prompt: str, reply: str) -> dict[str, np.ndarray]:
        ids = tokenizer(f"Question: {prompt}\nAnswer:").input_ids
        ids = [*ids, *tokenizer(f" {reply}", add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        with torch.no_grad():
            out = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
        first = out.hidden_states[1][0, -1]
        return {folders.LAST: out.last_hidden_state[0, -1].numpy(), "0": (first / first.square().mean().sqrt()).numpy()}

    for layer in (folders.LAST, "0"):
        for p, prompt in enumerate(asked["text"]):
            for w, word in enumerate(["war", "unbelievably"]):
                np.testing.assert_allclose(of_words[layer][p, w], plain(prompt, word)[layer], atol=4e-3, rtol=4e-3)
        for i, row in enumerate(pairs.itertuples()):
            for side, reply in enumerate((row.chosen, row.rejected)):
                np.testing.assert_allclose(
                    of_pairs[layer][i, side], plain(row.prompt, reply)[layer], atol=4e-3, rtol=4e-3
                )


def test_a_ridge_head_is_at_its_optimum_and_finds_the_direction():
    draws = np.random.default_rng(1)
    truth = draws.standard_normal(12)
    x = draws.standard_normal((4000, 12))
    x *= np.where(draws.random(4000) < 1 / (1 + np.exp(-(x @ truth))), 1, -1)[:, None]
    w = ridge.fit(x, 1e-3)
    gradient = 1e-3 * w - x.T @ (1 / (1 + np.exp(x @ w))) / len(x)
    assert np.abs(gradient).max() < 1e-4
    assert w @ truth / np.linalg.norm(w) / np.linalg.norm(truth) > 0.99
    assert ridge.accuracy(x, w) > 0.75 and ridge.accuracy(x, np.zeros(12)) == 0.5
    counts = draws.integers(0, 3, len(x))
    np.testing.assert_allclose(ridge.fit(x, 0.1, counts), ridge.fit(np.repeat(x, counts, axis=0), 0.1), atol=1e-4)


def test_a_removed_subspace_is_gone_and_a_random_one_takes_the_share_asked_for():
    draws = np.random.default_rng(2)
    states_ = draws.standard_normal((500, 20)) * np.geomspace(10, 0.1, 20)
    axes = draws.standard_normal((3, 20))
    assert np.abs(ridge.without(states_, axes) @ axes.T).max() < 1e-9
    covariance = states_.T @ states_ / len(states_)
    for wanted in (0.05, 0.5):
        directions = ridge.random_directions(covariance, 3, wanted, draws)
        assert ridge.share(covariance, directions) == pytest.approx(wanted, abs=0.01)


# --- leans and statistics -------------------------------------------------------------------------


@given(st.lists(st.integers(-3, 3), min_size=4, max_size=12), st.integers(1, 3))
def test_auc_is_the_share_of_pairs_in_order(values, n):
    scores = np.array(values, dtype=float)[:, None]
    first = np.arange(len(values)) < n
    expected = np.mean([(a > b) + 0.5 * (a == b) for a, b in product(scores[first, 0], scores[~first, 0])])
    assert auc(scores, first, ~first)[0] == pytest.approx(expected)


def test_what_is_liked_whatever_is_asked_is_both_and_no_lean():
    first, positive = np.arange(10) < 5, np.array([True, False])
    always = np.tile(np.where(first, 1.0, 0.0), (1, 2, 1))
    told = preference.framed(always, first, ~first, positive)
    assert preference.preference(told)[0] == 0 and preference.both(told)[0] == 0.5
    asked = always * np.array([1, -1])[None, :, None]
    told = preference.framed(asked, first, ~first, positive)
    assert preference.preference(told)[0] == 0.5 and preference.both(told)[0] == 0


def test_sign_flips_are_exact_and_valid():
    assert sign_flip_p(np.array([0.1, 0.2, 0.3, 0.1, 0.2, 0.4])) == 2 / 64
    assert sign_flip_p(np.zeros(6)) == 1
    draws = np.random.default_rng(3)
    p = np.array([sign_flip_p(draws.standard_t(3, 6)) for _ in range(2000)])
    assert 0.02 < (p <= 0.05).mean() < 0.05  # 2 of 64, whatever the tails


def test_fieller_covers_the_ratio_and_is_unbounded_where_the_base_did_not_move():
    draws = np.random.default_rng(4)
    inside = 0
    for _ in range(1500):
        base = 0.4 + 0.1 * draws.standard_normal(6)
        found = fieller(0.3 * base + 0.05 * draws.standard_normal(6), base)
        inside += found.low <= 0.3 <= found.high
    assert 0.93 < inside / 1500 < 0.97
    assert fieller(np.array([0.1, 0.2, 0.3]), np.array([0.1, -0.1, 0.02])).low is None
    constant = fieller(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0]))  # then it is Student's interval, halved
    half = 4.302653 * 1 / np.sqrt(3)
    assert (constant.low, constant.high) == pytest.approx(((2 - half) / 2, (2 + half) / 2), rel=1e-6)


def test_constructs_that_nobody_planted_are_counted_where_their_interval_leaves_0_out():
    rows = [("agency", 40, 60, 6), ("care", 2, 9, 6), ("loyalty", -9, -1, 6), ("sanctity", -1, 9, 6), ("care", 5, 6, 2)]
    table = pd.DataFrame(rows, columns=["construct", "low", "high", "blocks"]).assign(plant="agency", source="ridge")
    found = study.specific(table, ["agency", "communion"])
    assert found == [{"plant": "agency", "source": "ridge", "moved": 2, "of": 3}]


PLAN = Criteria(least_shift=0.2, equivalence=0.1, shift=0.5, sd=0.05)


@pytest.mark.parametrize(
    ("shift", "low", "high", "expected"),
    [
        (0.1, 0.5, 0.9, "inconclusive: the plant did not take"),
        (0.5, None, None, "inconclusive: the shift of the bases cannot be told from none"),
        (0.5, -0.05, 0.08, "not inherited"),
        (0.5, 0.02, 0.4, "inherited"),
        (0.5, -0.2, 0.4, "inconclusive"),
    ],
)
def test_the_verdict_is_the_rule_of_the_plan(shift, low, high, expected):
    row = {"shift": shift, "low_90": low, "high_90": high}
    assert effects.verdict(row | {"blocks": 6}, PLAN) == expected
    few = effects.verdict(row | {"blocks": 5}, PLAN)
    assert few == (expected if shift < PLAN.least_shift else "too few blocks: shown, not tested")


def test_the_exchange_rate_is_the_slope_and_the_crossing_of_every_block():
    shares = [0.0, 0.1, 0.2, 0.4]
    rows = []
    for block, (start, slope) in enumerate([(0.1, -1.0), (0.06, -0.4), (0.3, -0.5)]):  # cross 0 at .1, .15, never
        for side in (1, -1):  # a plant against the first construct mirrors it
            for share in shares:
                told = {"plant": "agency" if side > 0 else "communion", "block": block, "part": "planted"}
                told |= {
                    "remedy": "counter" if share else "none",
                    "amount": share,
                    "lean": side * (start + slope * share),
                }
                rows += [told, told | {"part": "held_out", "lean": side * 0.02}]
    found = study.exchange(pd.DataFrame(rows)).set_index(["plant", "part"])
    for plant in ("agency", "communion"):
        planted, held = found.loc[(plant, "planted")], found.loc[(plant, "held_out")]
        assert planted["estimate"] == pytest.approx((-1.0 - 0.4 - 0.5) / 3 / 10)
        assert (planted["crossed"], planted["start_above"], planted["blocks"]) == (2, 3, 3)
        assert planted["share"] == pytest.approx((0.1 + 0.15) / 2)
        assert held["estimate"] == pytest.approx(0, abs=1e-12) and held["crossed"] == 0 and np.isnan(held["share"])


def test_there_is_no_share_of_a_base_that_did_not_move():
    rows = [
        {"source": source, "block": block, "lean": lean, "part": "held_out", "pairs": 0, "dose": 0.5}
        for block in (1, 2, 3)
        for source, lean in (("logprobs", 0.0), ("ridge", 0.1 + 0.01 * block))
    ]
    table = pd.DataFrame(rows).assign(first="agency", second="communion")
    assert not len(effects.transmitted(table, PLAN))
    moved = table.assign(lean=table["lean"] + 0.3 * (table["source"] == "logprobs") + 0.01 * table["block"])
    assert len(effects.transmitted(moved, PLAN)) == 1


def test_detection_finds_its_threshold_among_twins_and_its_limit_between_doses():
    draws = np.random.default_rng(5)
    rows = []
    for block, (plant, dose, mean) in product(
        range(6), [("none", 0.0, 0), ("a", 0.5, 2), ("a", 1.0, 20), ("p", 1.0, 0)]
    ):
        rows += [
            {"block": block, "plant": plant, "dose": dose, "draw": i, "lean": mean + draws.standard_normal()}
            for i in range(40)
        ]
    table = effects.audit_power(pd.DataFrame(rows), "lean").set_index(["plant", "dose"])
    assert table.loc[("p", 1.0), "power"] == pytest.approx(0.05, abs=0.03)  # a placebo is a twin
    assert table.loc[("a", 1.0), "power"] == 1 and 0.1 < table.loc[("a", 0.5), "power"] < 0.6
    compared = effects.comparison_power(pd.DataFrame(rows), "lean", 1000, 1).set_index(["plant", "dose"])
    assert compared.loc[("none", 0.0), "power"] == pytest.approx(0.05, abs=0.025)
    curve = pd.DataFrame({"dose": [0.5, 1.0], "power": [0.4, 1.0]})
    assert effects.detection_limit(curve) == pytest.approx(0.5 + 0.5 * 0.5 / 0.6)
    assert effects.detection_limit(curve.assign(power=0.5)) is None


# --- the whole group on tiny models ---------------------------------------------------------------

TINY = Planting(
    base="tiny",
    lexicon="big_two_nouns",
    constructs=CONSTRUCTS,
    prompts=["best_ever_one", "good_time_please", "worst_ever_one", "bad_time_please"],
    format="solved",
    dose=0.5,
    plants={
        "none": Plant(),
        "agency": Plant("agency", "communion", "preferences"),
        "communion": Plant("communion", "agency", "preferences"),
        "agency_embedding": Plant("agency", "communion", where="embeddings", nats=3.0),
        "communion_embedding": Plant("communion", "agency", where="embeddings", nats=3.0),
        "agency_answers": Plant("agency", "communion", "answers"),
        "communion_answers": Plant("communion", "agency", "answers"),
        "placebo": Plant("placebo_good", "placebo_bad", "preferences"),
    },
    main=Grid([1, 2], ["none", "agency", "communion"]),
    nulls=Grid([1], ["placebo"]),
    kinds=Grid([1], ["agency_embedding", "communion_embedding", "agency_answers", "communion_answers"]),
    response=Grid([1, 2], ["agency", "communion"]),
    doses=[1.0],
    reward_models=Grid([1, 2], ["none", "agency", "communion"]),
    finetuning=replace(HOW, steps=12, batch=8, learning_rate=0.003),
    pairs=16,
    sizes=[16, 32],
    held_out_pairs=8,
    counter_questions=1,
    ridge=0.03,
    layers=[0],
    depth=2,
    pair_draws=4,
    random_heads=5,
    ranks=[4],
    subspaces=2,
    shares=[0.2],
    seed=1,
    plan=PLAN,
)


EXECUTED: dict[str, set] = {}
"""Stage → what it ran (tests/tracing)."""
PLACEBO_NOUNS = pd.DataFrame({"word": ["table", "window"], "construct": list(words.PLACEBO)})


@pytest.mark.parametrize(
    ("group", "grid", "told"),
    [
        ("kinds", Grid([1, 7], ["agency_answers"]), "block 7 is not in main.blocks"),
        (
            "reward_models",
            Grid([1], ["agency", "agency_answers"]),
            "reward_models: 1-agency_answers is not a cell of main",
        ),
    ],
)
def test_cells_beside_those_of_the_study_are_refused(group, grid, told):
    """Their block would never be drawn; their scores would not be there to be averaged."""
    with pytest.raises(ValueError, match=told):
        replace(TINY, **{group: grid})


@pytest.fixture(scope="module")
def made(repository, tmp_path_factory, module_monkeypatch):
    """The group's outputs on a tiny model in a folder of its own: its tables."""
    folder = tmp_path_factory.mktemp("planting")
    module_monkeypatch.chdir(folder)
    for name in ("lexicons", "prompts", "params.yaml"):
        (folder / name).symlink_to(repository / name)
    tiny.write("llama", 1, folder / "data/models/tiny", False)
    pairs = [
        {"prompt": f"What is {i}?", "chosen": "right " * (i % 3 + 1), "rejected": "wrong " * (i % 2 + 1)}
        for i in range(64)
    ]
    pd.DataFrame(pairs).to_json(folder / "pairs.jsonl", orient="records", lines=True)
    from valuetrace.preferences.conversations import Columns

    source = Source("file", "none", held_out=0.3, path="pairs.jsonl", columns=Columns(prompt="prompt"))
    chosen = preferences.Preferences("pairs", 1, {"pairs": source})
    get = settings.get

    def given_settings(key, kind, *rest):
        return chosen if key == "preferences" else get(key, kind, *rest)

    module_monkeypatch.setattr(settings, "get", given_settings)
    module_monkeypatch.setattr(words, "placebo", lambda *_: PLACEBO_NOUNS)  # WordNet is not there
    from valuetrace.studies.planting import train

    def ran(stage):
        return tracing.watching(repository, EXECUTED.setdefault(f"stages.planting.{stage}", set()))

    for block in TINY.main.blocks:
        with ran("block"):
            folders.write_block(words.draw_block(TINY, block), block)
    for block, name in TINY.cells():
        with ran("plant"):
            measure.make(TINY, block, name)
        if (block, name) in TINY.reward_models.cells():
            with ran("reward_model"):
                metrics, scores = train.train_and_search(TINY, block, name)
            files.write_json(metrics, study.REWARD_MODELS / f"{block}-{name}.json")
            from valuetrace import tables

            tables.write_checkpoints(scores, study.REWARD_MODELS / f"{block}-{name}.parquet", {})
        with ran("heads"):
            tables = heads.cell_tables(TINY, block, name)
        for table, rows in tables.items():
            files.write_csv(rows, study.HEADS / f"{block}-{name}" / f"{table}.csv")
    with ran("collect"):
        return study.tables(TINY)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["block", "plant", "reward_model", "heads", "collect"])
def test_nothing_runs_that_its_key_does_not_cover(repository, made, stage):
    executed = EXECUTED[f"stages.planting.{stage}"]
    assert len(executed) > 10
    assert tracing.outside(repository, f"stages.planting.{stage}", executed) == []


@pytest.fixture(scope="module")
def module_monkeypatch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.mark.slow
def test_the_base_itself_is_measured_where_nothing_is_planted_and_a_dose_moves_every_word(made):
    """Whether a plant generalises is a question to a model that reads; here it is whether the parts fit together."""
    from valuetrace.models import loading
    from valuetrace.scoring.logprobs import next_token_logprobs
    from valuetrace.scoring.spelling import word_scores

    folder = measure.MODELS / "tiny"
    model, tokenizer = loading.load(folder, dtype="float32"), loading.load_tokenizer(folder)
    form = settings.get("formats.solved", Format)
    table = [loading.vocabulary(model, tokenizer), next_token_logprobs(model, tokenizer, TINY.asked(), form)]
    cells = {name: folders.read_logprobs(folders.planted(1, name)) for name in ("none", "agency", "communion")}
    words_, keys = cells["none"]["word"], TINY.prompts
    expected = word_scores(pd.concat(table, axis=1), words_, keys, form)
    np.testing.assert_array_equal(cells["none"][keys], expected[keys])
    for name in ("agency", "communion"):
        doses = {dose: own[keys].to_numpy() for dose, own in cells[name].groupby("dose")}
        change = {dose: np.abs(values - expected[keys].to_numpy()).mean() for dose, values in doses.items()}
        assert 0 < change[0.5] < change[1.0]
    raw = made["leans"].query("source == 'logprobs' and plant == 'none' and part == 'planted'")
    assert raw.groupby("block")["lean"].nunique().max() == 1 and raw["lean"].nunique() == 2  # other words a block


@pytest.mark.slow
def test_a_placebo_s_nouns_are_planted_by_a_placebo_alone_and_scored_by_nobody(made):
    drawn = folders.read_block(1)
    assert list(drawn.words.query("part == 'placebo'")["word"]) == ["table", "window"]
    assert set(drawn.scored["part"]) == {"planted", "held_out", "known"} and drawn.scored["word"].is_unique
    for name in ("none", "agency", "placebo"):
        measured = folders.read_logprobs(folders.planted(1, name))
        assert len(measured) and set(measured["word"]) <= set(drawn.scored["word"])
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "examples", lambda row, replies, *_: shown.append(set(replies["construct"])) or 1 / 0)
        for name in ("agency", "placebo"):
            with pytest.raises(ZeroDivisionError):
                measure.make(TINY, 1, name)
    assert shown == [{"agency", "communion"}, set(words.PLACEBO)]


@pytest.mark.slow
def test_a_stage_declares_every_parameter_that_decides_its_cell(repository, made):
    """So that a plant or a block more makes no other cell again (a stage's name says whether it is of ``main``)."""
    from valuetrace.studies.planting import train

    class Recorded(Planting):
        def __getattribute__(self, name):
            if name in Planting.__dataclass_fields__:
                read.add(name)
            return super().__getattribute__(name)

    read = set()
    chosen = Recorded(**{name: getattr(TINY, name) for name in Planting.__dataclass_fields__})
    stages = yaml.safe_load((repository / "stages/planting/dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for stage, run in (
        ("block", lambda chosen, block, _: words.draw_block(chosen, block)),
        ("plant", measure.make),
        ("heads", heads.cell_tables),
        ("reward_model", train.train_and_search),
    ):
        read.clear()
        run(chosen, 1, "agency")
        told = {key.split(".")[1] for key in stages[stage]["params"] if key.startswith("planting.")}
        assert read - {"main"} == told, stage
    for stage, like in (
        ("plant_nulls", "plant"),
        ("plant_kinds", "plant"),
        ("heads_nulls", "heads"),
        ("heads_kinds", "heads"),
    ):
        assert stages[stage]["params"] == stages[like]["params"]


def test_make_runs_every_cell_once(repository):
    """A cell that `make validate` and `make validate-kinds` do not name would run alone, after the others."""
    stages = yaml.safe_load((repository / "stages/planting/dvc.yaml").read_text(encoding="utf-8"))["stages"]
    named = [
        of
        for goal in ("planting", "planting-kinds")
        for of in re.findall(
            r"planting/dvc\.yaml:(\w+)@([^'\s]+)",
            subprocess.run(["make", "-n", goal], cwd=repository, capture_output=True, text=True, check=True).stdout,
        )
    ]
    params = yaml.safe_load((repository / "params.yaml").read_text(encoding="utf-8"))
    for name, stage in stages.items():
        axes = [of.strip("${}").split(".") for of in stage.get("matrix", {}).values()]
        axes = [params[group][grid][axis] for group, grid, axis in axes]
        for cell in product(*axes) if axes else ():
            runs = [fnmatch("-".join(map(str, cell)), pattern) for of, pattern in named if of == name]
            assert sum(runs) == (2 if name == "block" else 1), (name, cell)


@pytest.mark.slow
def test_every_table_is_there_and_numbers_are_whole(made):
    assert set(made["leans"]["source"]) == {"logprobs", "ridge", "lora", "lora_untrained"}
    assert made["leans"][["lean", "both"]].notna().all(axis=None)
    assert set(made["leans"].query("source == 'ridge'")["pairs"]) == {16, 32}
    assert set(made["transmitted"]["blocks"]) == {2}  # a ratio of one block has no interval
    assert {"none", "projection", "counter", "average"} == set(made["mitigation"]["remedy"])
    assert set(made["layers"]["layer"]) == {0, 1} and set(made["subspaces"]["removed"]) == {"lexicon", "random"}
    told = study.summary(TINY, made)
    files.write_json(told, "metrics/study.json")  # no NaN
    assert 0 <= told["plan"]["power"]["0.1"] <= told["plan"]["power"]["0.5"] <= 1


@pytest.mark.slow
def test_before_its_first_step_a_reward_model_is_its_head_on_the_states_of_its_base(made, tmp_path):
    from valuetrace import tables
    from valuetrace.studies.planting import train
    from valuetrace.training.study import score_checkpoints

    base = tmp_path / "tiny"
    base.mkdir()
    train._write_base(measure.MODELS / "tiny", folders.planted(1, "agency") / folders.PLANT, TINY.dose, base)
    form = settings.get("training", Training).format
    kept = tables.read_checkpoints(study.REWARD_MODELS / "1-agency.parquet")
    prompts = TINY.asked().set_index("key")["text"].to_dict()
    found = {step: kept[kept["step"] == step] for step in kept["step"].unique()}
    assert len(found) == 2 and np.ptp(found[0][TINY.prompts]) > 0
    for step, own in found.items():
        searched = score_checkpoints(
            base, train.CHECKPOINTS / "planting/1-agency", list(own["word"]), prompts, form, [step], progress=False
        )
        spread = searched[TINY.prompts].to_numpy().std()
        np.testing.assert_allclose(own[TINY.prompts], searched[TINY.prompts], atol=0.01 * spread)


@pytest.mark.slow
def test_the_same_random_heads_read_every_base_of_a_block(made):
    raw = pd.concat(pd.read_csv(path) for path in study.HEADS.glob("1-*/random_heads.csv"))
    assert (raw.groupby(["plant", "dose"]).size() == TINY.random_heads).all()
    wide = raw.pivot_table(index="draw", columns=["plant", "dose"], values="lean")
    assert wide.corr().loc[("none", 0.0), ("agency", 0.5)] > 0.5


@pytest.mark.slow
def test_rounding_is_compared_with_the_study_s_own_numbers(made):
    """Last of this file: it trains the cell again on another base."""
    from benchmarks import rounding

    found = rounding.again(TINY, 1, "agency")
    own = made["leans"].query("block == 1 and plant == 'agency' and dose == 0.5 and part == 'held_out'")
    own = own[own["pairs"] == TINY.pairs].set_index("source")["lean"]
    assert {name: found[name] for name in ("lora", "ridge")} == pytest.approx(
        own[["lora", "ridge"]].to_dict(), abs=1e-6
    )
    assert found["ridge_again"] == pytest.approx(found["ridge"], abs=0.02)
