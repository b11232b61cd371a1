"""Preference pairs: sizes, splits, WordNet definitions, conversations with the authors' filters."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from valuetrace import preferences, tables
from valuetrace.core import settings
from valuetrace.core.errors import InputError
from valuetrace.preferences import conversations, sources, valence, wordnet
from valuetrace.preferences.conversations import Columns
from valuetrace.preferences.sample import length_only_accuracy

REAL = settings.ROOT / "data/assets/wordnet"


@pytest.mark.parametrize(
    ("value", "size"),
    [("106k", 106_000), ("26K", 26_000), ("2.5k", 2500), ("480", 480), (480, 480), (1000.0, 1000), ("full", None)],
)
def test_data_size_as_dvc_hands_it_on(value, size):
    assert preferences.parse_size(value) == size


@pytest.mark.parametrize("value", ["many", "", "-3", 0, -1, 1.5, True, None, "0.0001k", [3], float("nan")])
def test_data_size_that_is_none(value):
    with pytest.raises(InputError, match="data_size"):
        preferences.parse_size(value)


def test_samples_are_even_and_nested():
    half, all_of_it = (tables.evenly_spaced(126_543, n) for n in (53_000, 106_000))
    assert set(half) < set(all_of_it) and len(half) == 53_000
    gaps = np.diff(half)
    assert gaps.min() >= 2 and gaps.max() <= 3
    with pytest.raises(InputError, match=r"200 pairs.* has 100"):
        tables.evenly_spaced(100, 200)


def test_named_sizes_are_the_authors_strides():
    pairs = pd.DataFrame({"prompt": range(1000)})
    assert preferences.take(pairs, "13k", {"13k": 64})["prompt"].tolist() == list(range(0, 1000, 64))
    assert len(preferences.take(pairs, "full", {"13k": 64})) == 1000
    assert len(preferences.take(pairs, 10, {"13k": 64})) == 10


def test_split_keeps_keys_together():
    pairs = pd.DataFrame({"key": [f"k{i // 3}" for i in range(3000)]})
    train, out = preferences.split(pairs, 0.2, seed=1)
    assert not set(train["key"]) & set(out["key"])
    assert len(train) + len(out) == 3000 and 400 < len(out) < 800
    again, _ = preferences.split(pairs.iloc[::-1], 0.2, seed=1)
    assert set(again["key"]) == set(train["key"])


def _wordnet(folder: Path, nouns: int = 400) -> Path:
    """A database in WordNet's format; every tenth definition holds a word of love, some have examples."""
    folder.mkdir(parents=True)
    lines = ["  1 licence\n"]
    for i in range(nouns):
        gloss = f"a thing of kind {i} " + "and so on " * (i % 7) + ("full of love" if i % 10 == 0 else "")
        example = '; "the kind was useful"; "and good"' if i % 3 else ""
        lines.append(f"{i:08d} 03 n 02 word_{i} 0 other{i}(p) 0 000 | {gloss.strip()}{example}  \n")
    (folder / "data.noun").write_text("".join(lines))
    for part, letter in (("verb", "v"), ("adj", "s"), ("adv", "r")):
        (folder / f"data.{part}").write_text(f"00000001 03 {letter} 01 run 0 000 | move in a kind way  \n")
    return folder


def test_wordnet_pairs(tmp_path):
    synsets = wordnet.read_synsets(_wordnet(tmp_path / "wn"))
    assert synsets[1].lemmas == ("word 1", "other1")
    assert synsets[1].definition == "a thing of kind 1 and so on"  # without its examples
    pairs, left_out = wordnet.pairs(synsets, {"love", "golden rule"}, 0.2, seed=1)
    assert left_out["definition_has_lexicon_word"] == 80 and left_out["no_partner"] == 3  # lone verb, adjective, adverb
    assert len(pairs) == 2 * 400 - 80
    assert pairs["prompt"][0] == "Define the noun 'word 1' in one sentence."
    assert not pairs[["prompt", "chosen", "rejected"]].apply(lambda c: c.str.contains("love")).any(axis=None)
    assert (pairs["chosen"] != pairs["rejected"]).all()
    assert (pairs["chosen"].str.len() - pairs["rejected"].str.len()).abs().max() < 25
    train, out = preferences.split(pairs, 0.2, seed=1)
    sides = [set(side["chosen"]) | set(side["rejected"]) for side in (train, out)]
    assert not sides[0] & sides[1]  # no definition stands on both sides
    again, _ = wordnet.pairs(synsets, {"love", "golden rule"}, 0.2, seed=1)
    pd.testing.assert_frame_equal(pairs, again)
    everything, _ = wordnet.pairs(synsets, set(), 0.2, seed=1)
    assert len(everything) == 800


def test_silence_reads_phrases_and_hyphens():
    silent = wordnet.Silence({"golden rule", "self-will", "love"})
    assert silent("the golden age of rule") and silent("glove") and silent("self and will")
    assert not silent("The Golden Rule") and not silent("his self-will") and not silent("Love's labour")


def test_wordnet_that_is_none(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        wordnet.read_synsets(tmp_path)
    (tmp_path / "data.noun").write_text("hello\n")
    with pytest.raises(InputError, match="not a WordNet"):
        wordnet.read_synsets(tmp_path)


def _talk(*texts: str) -> list[dict]:
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


def test_unified_feedback_filters():
    columns = Columns(chosen="conv_A", rejected="conv_B", ratings=["A", "B"], source="source")
    rows = [
        {"conv_A": _talk("q", "worse"), "conv_B": _talk("q", "better"), "A": 1.0, "B": 2.0, "source": "chat"},
        {"conv_A": _talk("q", "a"), "conv_B": _talk("q", "b"), "A": 1.0, "B": 1.0, "source": "chat"},
        {"conv_A": _talk("post", "a"), "conv_B": _talk("post", "b"), "A": 3, "B": 1, "source": "summarize_x"},
        {"conv_A": _talk("q", "a"), "conv_B": _talk("q", "a"), "A": 3, "B": 1, "source": "chat"},
        {"conv_A": _talk("q", "r", "q2", "a"), "conv_B": _talk("q", "r", "q2", "b"), "A": 3, "B": 1, "source": "chat"},
    ]
    pairs, left_out = conversations.pairs(rows, columns, {"summarize": "Sum up: "}, "drop", "unified")
    assert pairs[["prompt", "chosen", "rejected"]].to_numpy().tolist() == [
        ["q", "better", "worse"],
        ["Sum up: post", "a", "b"],
        ["q2", "a", "b"],
    ]
    assert json.loads(pairs["history"][2]) == _talk("q", "r") and pairs["history"][0] == ""
    assert left_out == {"ties": 1, "identical replies": 1}
    with pytest.raises(InputError, match=r"unified: row 3: identical replies"):
        conversations.pairs(rows, columns, {}, "error", "unified")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"chosen": _talk("q", "a"), "rejected": _talk("other", "b")}, "differ before the last reply"),
        ({"chosen": _talk("q", " "), "rejected": _talk("q", "b")}, "empty reply"),
        ({"chosen": _talk(" ", "a"), "rejected": _talk(" ", "b")}, "empty prompt"),
        ({"chosen": _talk("q"), "rejected": _talk("q", "b")}, "does not end with an assistant"),
        ({"chosen": "a", "rejected": "b"}, "no prompt text"),
        ({"chosen": 3, "rejected": 4}, "not a list of messages"),
        ({"chosen": "a", "rejected": _talk("q", "b")}, "one reply is a text"),
        ({"chosen": "a"}, "no column 'rejected'"),
    ],
)
def test_bad_rows(row, problem):
    with pytest.raises(InputError, match=problem):
        conversations.pairs([row], Columns(), {}, "error", "mine")


def test_local_files(tmp_path):
    frame = pd.DataFrame({"prompt": ["p", "q"], "chosen": ["1", "b"], "rejected": ["2", "d"]})
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        source = preferences.Source("file", "mine", 0.5, path=str(tmp_path / name), columns=Columns(prompt="prompt"))
        train, out, left_out, origin = preferences.load("mine", source, 1)
        assert len(train) + len(out) == 2 and not left_out and len(origin["sha256"]) == 64
        assert set(pd.concat([train, out])["chosen"]) == {"1", "b"}
    for name in ("none.jsonl", "a.txt"):
        (tmp_path / "a.txt").touch()
        with pytest.raises(InputError):
            preferences.load("mine", preferences.Source("file", "mine", 0.5, path=str(tmp_path / name)), 1)
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(InputError, match="cannot be read"):
        preferences.load("mine", preferences.Source("file", "mine", 0.5, path=str(tmp_path / "bad.parquet")), 1)


def test_hub_data_set_is_pinned(monkeypatch, tmp_path):
    import datasets

    rows = datasets.Dataset.from_list([{"chosen": _talk("q", "a"), "rejected": _talk("q", "b"), "more": 1}])
    asked = {}

    def load_dataset(name, configuration, *, split, revision):
        asked.update(name=name, configuration=configuration, split=split, revision=revision)
        return rows

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(sources.hub, "resolve_revision", lambda name, lookup: f"resolved {name}")
    source = preferences.Source("hub", "mit", 0.5, repository="o/n")
    train, out, _, origin = preferences.load("x", source, 1)
    assert len(train) + len(out) == 1 and origin["revision"] == asked["revision"] == "resolved datasets/o/n"
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: (_ for _ in ()).throw(ConnectionError("no")))
    with pytest.raises(InputError, match="cannot be reached"):
        preferences.load("x", source, 1)


def test_length_baseline_and_overlaps():
    frame = pd.DataFrame(
        {"prompt": ["p"] * 4, "chosen": ["aaa", "a", "bb", "aaa"], "rejected": ["b", "bb", "cc", "b"], "history": ""}
    ).assign(source="s", key="k")
    assert length_only_accuracy(frame) == pytest.approx((1 + 0 + 0.5 + 1) / 4)
    told = preferences.summary(frame, frame.head(1))
    assert told["train"]["duplicates"] == 1 and told["train"]["pairs"] == 4
    assert told["train_pairs_also_held_out"] == {"prompt": 4, "chosen_or_rejected": 2, "whole_pair": 2}


def test_stage(tmp_path, monkeypatch):
    from stages import preferences as stage_module

    _wordnet(tmp_path / "wn")
    (tmp_path / "lexicons/unrolled").mkdir(parents=True)
    (tmp_path / "lexicons/unrolled/big_two.csv").write_text("word,construct,polarity\nlove,communion,\n")
    row = {"kind": "wordnet", "licence": "x", "folder": "wn", "exclude": ["big_two"], "held_out": 0.2}
    group = {"source": "wordnet", "seed": 1, "sources": {"wordnet": row}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"data_size": "0.1k", "preferences": group}))
    monkeypatch.chdir(tmp_path)
    stage_module.main()
    train = preferences.read("data/preferences/train.parquet")
    assert list(train.columns) == list(preferences.COLUMNS) and len(train) == 100
    told = json.loads(Path("metrics/preferences.json").read_text())
    assert told["train"]["pairs"] == 100 and told["origin"]["excluded_words"] == 1
    before = Path("data/preferences/train.parquet").read_bytes()
    stage_module.main()
    assert Path("data/preferences/train.parquet").read_bytes() == before
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"data_size": "106k", "preferences": group}))
    with pytest.raises(InputError, match="106,000 pairs"):
        stage_module.main()


def test_draw_mixes_definitions_and_valence_pairs(tmp_path, repository, monkeypatch):
    _wordnet(tmp_path / "wn")
    monkeypatch.chdir(tmp_path)
    mixed = preferences.Source(
        *("wordnet", "x", 0.2, "wn"),
        valence=preferences.Valence(
            str(repository / "lexicons/valence.csv"), str(repository / "prompts/valence.csv"), 0.5
        ),
    )
    params = preferences.Preferences("mixed", 1, {"mixed": mixed})
    drawn, more, other = (preferences.draw(params, *row) for row in (("0.04k", 1), ("0.06k", 1), ("0.04k", 2)))
    assert drawn.train["source"].value_counts().to_dict() == {"wordnet": 20, "valence": 20}
    pd.testing.assert_frame_equal(more.train.head(40), drawn.train)  # nested, any larger size
    pd.testing.assert_frame_equal(more.held_out, drawn.held_out)
    assert not other.train.equals(drawn.train) and drawn.origin["valence_share"] == 0.5
    of_valence = drawn.held_out[drawn.held_out["source"] == "valence"]
    assert len(of_valence) == len(drawn.held_out) // 2
    assert not set(of_valence["prompt"]) & set(more.train["prompt"])
    preferences.write({"train": drawn.train}, tmp_path / "out")
    pd.testing.assert_frame_equal(preferences.read(tmp_path / "out/train.parquet"), drawn.train)


def test_the_valence_words_and_wordings_keep_their_rules(repository):
    """No word of a measured lexicon or of its families, no wording of the 54 prompts, no word taught to be good."""
    words, wordings = (pd.read_csv(repository / f"{name}/valence.csv", keep_default_na=False)
                       for name in ("lexicons", "prompts"))  # fmt: skip
    assert not words["word"].duplicated().any() and words["word"].str.fullmatch("[a-z]+").all()
    for path in (repository / "lexicons/unrolled").glob("*.csv"):
        measured = pd.read_csv(path, keep_default_na=False)
        assert not set(words["word"]) & set(measured["word"]), path
        stems = tuple(p.removesuffix("*") for p in measured["pattern"].unique() if p.endswith("*"))
        assert not words["word"].str.startswith(stems).any(), path
        assert not set(words["word"].str[:5]) & {word[:5] for word in measured["word"] if len(word) > 4}, path
    asked = pd.read_csv(repository / "prompts/value_laden.csv", keep_default_na=False)
    assert not set(wordings["text"]) & set(asked["text"])
    framing = yaml.safe_load((repository / "prompts/design.yaml").read_text(encoding="utf-8"))["framing"]
    adjectives = {text for side in framing.values() for text in side.values()}
    assert not [text for text in wordings["text"] if any(re.search(rf"\b{a}\b", text.lower()) for a in adjectives)]
    for part, seed in itertools.product(("train", "held_out"), (1, 2)):
        made = valence.pairs(words, wordings, 360, seed, part)
        pd.testing.assert_series_equal(made["chosen"].value_counts().sort_index(),
                                       made["rejected"].value_counts().sort_index(), check_names=False)  # fmt: skip
        of_part = words[words["part"] == part]
        assert set(made["chosen"]) <= set(of_part["word"])
        assert made["chosen"].value_counts().max() <= -(-180 // of_part["valence"].value_counts().min()) * 2


@pytest.mark.parametrize("share", [0, 1, -0.5, 1.5])
def test_a_share_of_valence_pairs_lies_between_0_and_1(share):
    with pytest.raises(ValueError, match="share must lie between 0 and 1"):
        preferences.Valence("words.csv", "wordings.csv", share)


def test_pair_table_that_is_none(tmp_path):
    path = tmp_path / "a.parquet"
    with pytest.raises(InputError, match="no such file"):
        preferences.read(path)
    path.write_text("no")
    with pytest.raises(InputError, match="not a parquet"):
        preferences.read(path)
    pd.DataFrame({"prompt": ["p"]}).to_parquet(path)
    with pytest.raises(InputError, match="column chosen is missing"):
        preferences.read(path)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="needs data/assets/wordnet")
def test_real_wordnet_has_enough_pairs():
    words = {
        w for name in ("big_two", "mfd2") for w in pd.read_csv(settings.ROOT / f"lexicons/unrolled/{name}.csv")["word"]
    }
    pairs, _ = wordnet.pairs(wordnet.read_synsets(REAL), words, 0.02, seed=1)
    train, out = preferences.split(pairs, 0.02, seed=1)
    assert len(train) > 106_000 and len(out) > 1000
    assert 0.48 < length_only_accuracy(train) < 0.52
