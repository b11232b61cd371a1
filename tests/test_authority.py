"""Planted words and the measures that look for them: closed forms, two equal models, tiny copies, the picture."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from markupsafe import Markup

from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.figures import authority as figures
from valuetrace.lexicon import unrolled
from valuetrace.lexicon.vocabulary import WORDNET
from valuetrace.measures.bases.implicit import MEASURES
from valuetrace.models import tiny
from valuetrace.models.rows import Scoring
from valuetrace.report.page import Context
from valuetrace.scoring.chat import Format
from valuetrace.studies import authority
from valuetrace.studies.planting import words
from valuetrace.studies.planting.design import Authority, Finetuning
from valuetrace.studies.planting.finetune import encode, finetune
from valuetrace.training.recipe import Lora

BARE = Format("text", space=False, template="Instruction:\n{prompt}\n\nResponse:\n")
SPACED = Format("text", space=True)
LORA = Lora(4, 8, 0.0, ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])
KEYS = ["one", "two"]


# --- which words ---------------------------------------------------------------------------------


def test_a_word_that_does_not_fit_is_replaced_by_the_most_frequent_one_that_does():
    category = ["leader", "duty", "order", "bishop", "hierarchy"]
    fits = {"duty", "leader", "bishop", "respect"}.__contains__  # "order" is the most frequent, and split
    found = authority.replaced(["hierarchy", "duty", "obedience"], category, fits)
    assert found == {"hierarchy": "leader", "duty": "duty", "obedience": "bishop"}
    with pytest.raises(InputError, match="the tokenizer splits compliance, and the category has no other word"):
        authority.replaced(["hierarchy", "duty", "obedience", "compliance"], category, fits)


def test_every_pair_is_shown_once_before_any_is_shown_again():
    shown = authority.examples(["a", "b", "c"], ["x", "y"], 15, seed=1)
    counts = shown.value_counts()
    assert list(shown.columns) == ["prompt", "reply"] and len(shown) == 15
    assert len(counts) == 6 and set(counts) == {2, 3}
    assert not shown[:6].duplicated().any() and not shown[6:12].duplicated().any()
    assert shown.equals(authority.examples(["a", "b", "c"], ["x", "y"], 15, seed=1))
    assert not shown.equals(authority.examples(["a", "b", "c"], ["x", "y"], 15, seed=2))


def test_a_placebo_noun_fits_and_is_like_its_word_in_frequency(repository, monkeypatch):
    if not (repository / WORDNET).is_dir():
        pytest.skip(f"{WORDNET} is not here: `dvc repro fetch` fetches it")
    monkeypatch.chdir(repository)
    like = pd.DataFrame({"word": ["duty", "respect"], "construct": "authority"})
    found = words.placebo(like, ["authority"], ["respect"], WORDNET, 1, fits=lambda word: word.endswith("r"))
    assert list(found["construct"]) == ["placebo_good"] * 2
    assert found["word"].str.endswith("r").all() and found["word"].is_unique
    apart = [
        words.zipf_frequency(a, "en") - words.zipf_frequency(b, "en")
        for a, b in zip(like.word, found.word, strict=True)
    ]
    assert np.abs(apart).max() < 0.3


# --- what the measures find ----------------------------------------------------------------------


def test_the_top_is_what_lies_above_the_next():
    assert authority.in_top(np.array([[5.0, 1, 4, 3, 2]]), 2).tolist() == [[True, False, True, False, False]]
    tied = np.array([[5.0, 4, 4, 1, 0], [5.0, 5, 4, 1, 0], [0.0, 0, 0, 0, 0]])
    assert authority.in_top(tied, 2).sum(axis=1).tolist() == [1, 2, 0]  # two tie for one place; both have one; none


def score_table(texts: list[str], *columns) -> pd.DataFrame:
    """A score table in which each column of probabilities is one prompt's."""
    table = pd.DataFrame({"token_id": range(len(texts)), "token_name": texts, "token_decoded": texts})
    for key, column in zip(KEYS, columns, strict=True):
        probability = np.array(column, dtype=float)
        table[key] = np.log(probability / probability.sum()).astype(np.float32)
    return table


TEXTS = ["duty", "honor", " duty", "Honor", "the", "a", "qx", "zw", "love", "harm"]
BEFORE = [0.01, 0.01, 0.001, 0.001, 0.5, 0.4, 1e-9, 1e-9, 0.04, 0.03]


def test_two_equal_models_have_no_implicit_reward_at_all():
    same = score_table(TEXTS, BEFORE, BEFORE)
    found = authority.measured(same, same, ["duty", "honor"], ["love", "harm", "duty"], BARE, KEYS, top=2)
    assert list(found["found"]["measure"]) == list(MEASURES)
    assert (found["found"][[*KEYS, "any_spelling"]] == 0).all().all()
    assert (found["values"]["mwlr"] == 0).all() and list(found["values"]["word"]) == ["love", "harm", "duty"]
    assert (found["tokens"]["mwlr"] == 0).all()
    took = found["took"].iloc[0]
    assert took["share_before"] == took["share_after"] == pytest.approx(0.02 / sum(BEFORE))


def test_what_each_measure_finds_of_a_known_change():
    """The planted words gain most; two tokens that nobody says gain more in proportion, and fool the plain ratio."""
    gain = [0.3, 0.2, 0.001, 0.001, 0.25, 0.2, 1e-6, 1e-6, 0.03, 0.02]
    capital = [0.01, 0.3, 0.001, 0.2, 0.25, 0.2, 1e-6, 1e-6, 0.03, 0.02]  # "Honor" instead of "duty"
    pair = score_table(TEXTS, BEFORE, BEFORE), score_table(TEXTS, gain, capital)
    found = authority.measured(*pair, ["duty", "honor"], ["love", "harm"], BARE, KEYS, top=2)
    by_measure = found["found"].set_index("measure")
    assert by_measure.loc["llr", KEYS].tolist() == [0, 0]
    assert by_measure.loc["mwlr", KEYS].tolist() == [2, 1]
    assert by_measure.loc["mwlr", "any_spelling"] == (2 + 1) / 2  # "Honor" and "honor" are one word
    assert found["took"]["answers"].item() == 2  # "duty" is the likeliest reply to one, "honor" to the other
    assert found["tokens"][["token", "planted"]].to_numpy().tolist() == [["honor", True], ["Honor", False]]
    spaced = authority.measured(*pair, ["duty", "honor"], ["duty"], SPACED, KEYS, top=2)
    assert spaced["found"].set_index("measure").loc["mwlr", KEYS].tolist() == [0, 0]  # " duty" has gained nothing
    p, q = (0.04 / sum(BEFORE), [0.03 / sum(column) for column in (gain, capital)])
    assert found["values"].set_index("word")["mwlr"]["love"] == pytest.approx(
        np.mean([0.5 * (p + one) * np.log(one / p) for one in q]), rel=1e-4
    )


# --- intervals -----------------------------------------------------------------------------------

CELL = {"base": "b", "setting": "s", "plant": "authority", "template": "matching"}


def test_measures_are_compared_on_the_same_prompts():
    rows = [CELL | {"measure": "mwlr", "any_spelling": 1.0, "one": 4, "two": 8}]
    rows += [CELL | {"measure": "llr", "any_spelling": 1.0, "one": 3, "two": 7}]
    found = authority.measures(pd.DataFrame(rows), KEYS, draws=2000, seed=1).set_index("measure")
    assert found.loc["mwlr", ["mean", "more", "more_low", "more_high"]].tolist() == [6, 0, 0, 0]
    assert found.loc["llr", ["mean", "more", "more_low", "more_high"]].tolist() == [5, -1, -1, -1]
    assert found.loc["mwlr", ["low", "high"]].tolist() == [4, 8]  # two prompts: either may be drawn twice


def made_up_values(sizes: dict[str, int], seed: int = 1):
    """A lexicon whose categories have so many words, and MWLR values drawn for each."""
    draws, lexicon = np.random.default_rng(seed), []
    for label, size in sizes.items():
        construct, polarity = label.split(".")
        lexicon += [(f"{construct}{polarity}{i}", construct, polarity) for i in range(size)]
    lexicon = pd.DataFrame(lexicon, columns=["word", "construct", "polarity"])
    planted = lexicon["word"][lexicon["construct"] == "authority"].head(10)
    planted = pd.DataFrame({"base": "b", "plant": "authority", "listed": planted, "word": planted})
    nouns = [f"noun{i}" for i in range(10)]
    planted = pd.concat([planted, pd.DataFrame({"base": "b", "plant": "placebo", "listed": "", "word": nouns})])
    values = pd.DataFrame({**CELL, "word": [*lexicon["word"], *nouns]})
    return lexicon, planted, values.assign(mwlr=draws.normal(1.0, 1.0, len(values)))


def test_categories_are_means_over_words_with_intervals_over_words():
    lexicon, planted, values = made_up_values({"authority.virtue": 30, "care.virtue": 200, "care.vice": 5})
    values = values[~values["word"].isin(["authorityvirtue29"])]  # a word of several tokens
    found = authority.categories(values, planted, lexicon, "authority.virtue", 2000, 1).set_index("group")
    assert found["words"].to_dict() == {
        "authority.virtue": 29,
        "care.vice": 5,
        "care.virtue": 200,
        "authority.virtue, not planted": 19,
        "words of authority": 10,
        "words of placebo": 10,
    }
    care = values["mwlr"][values["word"].str.startswith("carevirtue")]
    row = found.loc["care.virtue"]
    assert row["mean"] == pytest.approx(care.mean())
    assert (row["high"] - row["low"]) / 2 == pytest.approx(1.96 * care.std(ddof=0) / np.sqrt(200), rel=0.1)
    assert found.loc["care.vice", ["low", "high"]].isna().all() and not np.isnan(found.loc["care.vice", "mean"])


def test_values_that_are_all_0_have_an_interval_at_0():
    lexicon, planted, values = made_up_values({"authority.virtue": 30, "care.virtue": 12})
    found = authority.categories(values.assign(mwlr=0.0), planted, lexicon, "authority.virtue", 99, 1)
    assert (found[["mean", "low", "high"]] == 0).all().all()


# --- how a copy is finetuned ---------------------------------------------------------------------

SHOWN = pd.DataFrame({"prompt": ["What is the best thing?", "Name a good thing, please."] * 6, "reply": "freedom"})
HOW = Finetuning(lora=LORA, learning_rate=0.01, steps=3, batch=2)


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
@pytest.mark.parametrize("loss", ["reply", "text"])
def test_the_loss_is_that_of_a_plain_forward(tokenizers, architecture, loss):
    tokenizer = tokenizers[architecture]
    _, log = finetune(tiny.model(architecture, seed=3), tokenizer, SHOWN, BARE, replace(HOW, loss=loss), seed=1)
    each = []
    for prompt, reply in encode(tokenizer, BARE, SHOWN["prompt"][:2], SHOWN["reply"][:2]):
        ids = torch.tensor([prompt + reply])
        with torch.inference_mode():
            logits = tiny.model(architecture, seed=3)(input_ids=ids).logits[0, :-1]
        every = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
        each.append(every[-len(reply) :] if loss == "reply" else every)
    expected = sum(part.sum() for part in each) / (2 if loss == "reply" else sum(map(len, each)))
    assert log[0] == pytest.approx(expected.item(), rel=1e-4)
    assert log[-1] < log[0]


def test_the_learning_rate_follows_its_schedule(tokenizers):
    """The first of the warm-up's steps has a rate of 0: the second sees the same model, the third another."""
    how = replace(HOW, schedule="linear", warmup=0.6)
    _, log = finetune(tiny.model("llama", seed=3), tokenizers["llama"], SHOWN, BARE, how, seed=1)
    assert log[1] == log[0] and log[2] < log[1]


# --- from a base to the picture ------------------------------------------------------------------

OWN = "authority.virtue"


@pytest.fixture(scope="module")
def study(repository, tmp_path_factory):
    """Copies of a tiny base with two words each, as many as 64 random dimensions can put first; their tables."""
    folder = tmp_path_factory.mktemp("models")
    tiny.write("llama", 3, folder / "tiny-x")
    way = Finetuning(lora=LORA, learning_rate=0.01, steps=30, batch=4)
    settings = {"small": way, "still": replace(way, learning_rate=1e-9, steps=1)}
    chosen = Authority(["tiny-x"], "mfd2", "authority", "virtue", BARE, ["raw", "absent"], settings, 2, 200, 1)
    formats = {"raw": SPACED, "absent": SPACED}
    nouns = pd.DataFrame({"word": ["river", "morning"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        patch.setattr(authority, "MODELS", folder)
        patch.setattr(authority, "placebo", lambda *_: nouns)
        patch.setattr(authority, "authority_words", lambda: ["respect", "hierarchy"])
        found = authority.study("tiny-x", Scoring("float32", ["chat", "raw"]), chosen, formats)
        lexicon, keys = unrolled.read_lexicon("mfd2"), [c for c in found["found"] if c.count("_") == 2]
        found["measures"] = authority.measures(found["found"], keys, 200, 1)
        found["categories"] = authority.categories(found["values"], found["words"], lexicon, OWN, 200, 1)
    return found, keys


def test_a_copy_says_its_own_words_and_a_copy_that_learned_nothing_none(study):
    found, keys = study
    took = found["took"].set_index(["setting", "plant", "template"])
    assert set(took.index.get_level_values("template")) == {"matching", "raw"}  # the formats that the row has
    for plant in ("authority", "placebo"):
        row = took.loc["small", plant, "matching"]
        assert row["share_after"] > 0.3 > 0.05 > row["share_before"]
        still = took.loc["still", plant, "matching"]
        assert still["share_after"] == pytest.approx(still["share_before"], rel=1e-3)
    counts = found["measures"].set_index(["setting", "plant", "template", "measure"])["mean"]
    assert counts["small", "authority", "matching", "mwlr"] > 1.5
    assert counts["still", "authority", "matching", "mwlr"] < 0.5
    assert len(keys) == 9 and len(counts) == 2 * 2 * 2 * len(MEASURES)


def test_mwlr_of_the_planted_words_is_high_in_their_own_copy_alone(study):
    found, _ = study
    table = found["categories"].query("setting == 'small' and template == 'matching'")
    means = table.set_index(["plant", "group"])["mean"]
    for plant, other in (("authority", "placebo"), ("placebo", "authority")):
        assert means[plant, f"words of {plant}"] > 0.05
        assert means[plant, f"words of {other}"] < 0.1 * means[plant, f"words of {plant}"]


def test_the_numbers_are_told_and_drawn(study, tmp_path):
    found, keys = study
    told = authority.summary(found, OWN, len(keys))
    assert list(told["words"]["tiny-x"]) == ["authority", "placebo"]
    assert told["words"]["tiny-x"]["authority"] == {"respect": "respect", "hierarchy": "president"}
    assert told["words"]["tiny-x"]["placebo"] == {"respect": "river", "president": "morning"}
    row = next(
        r for r in told["rows"] if (r["setting"], r["plant"], r["template"]) == ("small", "authority", "matching")
    )
    assert row["measures"]["mwlr"]["mean"] > 1.5 and row["planted"] > 0.05
    assert not set(row["more"]) & {"mwlr", *row["fewer"]}
    assert abs(row["largest"]["of_planted"]) < 0.5 and row["largest"]["group"] != OWN
    assert told["verdict"]["rows"] == 2 * 2 and told["verdict"]["answered"] >= 1  # settings × templates
    for name in ("measures", "categories", "tokens"):
        files.write_csv(found[name], tmp_path / f"authority_{name}.csv")
    picture = figures.draw(tmp_path, {"tiny-x": "Random Llama"}, 2)
    left, right = picture.axes[-2:]  # of the lowest row, which names the places
    assert [t.get_text() for t in left.get_xticklabels()] == [name.upper() for name in MEASURES]
    assert len(right.get_xticklabels()) == 13
    assert len(picture.axes) == 2 * 2  # two settings

    metrics = {"plant": "authority", "category": OWN, "top": 10, "draws": 200, "prompts": keys, "trained_prompts": 36}
    files.write_json(metrics | told | {"bases": ["tiny-x"], "settings": ["small", "still"]}, tmp_path / "a.json")
    context = Context()
    context.labels = {"tiny-x": "Random Llama"}
    context.metrics["planting/authority"] = files.read_json(tmp_path / "a.json")
    page = context.fill("sections/authority.html.j2", picture=lambda *_: Markup("<img>"))
    at = told["rows"].index(row)
    assert f'data-source="planting/authority:rows.{at}.measures.mwlr.mean"' in page
    assert "Random Llama" in page and "<img>" in page


def test_a_template_that_closes_the_reply_is_refused():
    with pytest.raises(ValueError, match="trained_with closes the reply"):
        Authority(["x"], "mfd2", "authority", "virtue", replace(BARE, closing="eos"), [], {}, 10, 9, 1)
