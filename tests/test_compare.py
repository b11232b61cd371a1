"""The comparison of bases: the published numbers, joins and exclusions, sizes of the tests, the command."""

import dataclasses
import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmarks import simulation
from valuetrace import cli, prompts, tables
from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.core.settings import ROOT
from valuetrace.figures import compare as figures
from valuetrace.lexicon import unrolled
from valuetrace.measures.compare import effects, inputs, plot_tables, published, random_lexicon, scores
from valuetrace.measures.compare import run as compare
from valuetrace.measures.compare.scores import join
from valuetrace.report import compare as report
from valuetrace.stats import inference

PUBLISHED = ROOT.parent / "shared" / "published"
KEYS = ["best_ever_one", "greatest_ever_one", "worst_ever_one", "bad_ever_one"]
WORDS = ["power", "success", "skill", "love", "family", "friend"]
LEXICON = pd.DataFrame({"word": WORDS, "construct": ["agency"] * 3 + ["communion"] * 3})
GROUPS = {name: inputs.Origin(base) for name, base in (("one", "A"), ("two", "A"), ("three", "B"), ("four", "B"))}


def score_file(folder, name, words=WORDS, keys=KEYS, seed=0):
    """A score file in the authors' CSV form, with distinct random scores."""
    scores = np.random.default_rng([seed, *name.encode()]).permutation(len(words) * len(keys)).reshape(len(words), -1)
    path = folder / f"{name}.csv"
    pd.DataFrame({"response": words} | dict(zip(keys, scores.T, strict=True))).to_csv(path, index=False)
    return path


def read(folder, **changes):
    paths = [score_file(folder, name, **changes.get(name, {})) for name in GROUPS]
    return inputs.read_tables(paths, GROUPS)


# --- the published numbers -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recomputed():
    if not PUBLISHED.is_dir():
        pytest.skip("the authors' score files are not beside the repository")
    files = sorted((PUBLISHED / "big_two_nouns").glob("*.csv"))
    nouns = PUBLISHED / "dict_big2_nouns.csv"
    return compare.compare_files(files, inputs.read_origins(), nouns, lexicon_draws=99).metrics


@pytest.mark.parametrize(
    ("framing", "construct", "gemma", "llama", "d"),
    [
        ("positive", "agency", 132.46, 128.29, -0.42),
        ("positive", "communion", 131.08, 135.27, 0.39),
        ("negative", "agency", 97.46, 103.04, 0.47),
        ("negative", "communion", 154.91, 149.01, -0.82),
    ],
)
def test_published_panels(recomputed, framing, construct, gemma, llama, d):
    (row,) = [p for p in recomputed["panels"] if (p["framing"], p["construct"]) == (framing, construct)]
    assert round(row["means"]["Gemma"], 2) == gemma and round(row["means"]["Llama"], 2) == llama
    assert round(row["cohens_d"], 2) == d
    assert row["p_permutation"] <= 0.0014 and row["p_parametric"] <= 0.0010
    assert row["p_bonferroni"] == pytest.approx(4 * row["p_permutation"])
    assert row["p_model_unit"] > 0.15  # the paper's p < .0001 does not survive models as units
    low, high = row["ci_models_prompts_words"]
    assert low < row["difference"] < high


def test_published_interaction(recomputed):
    row = recomputed["three_way"]
    assert round(row["coefficient"], 2) == 19.83
    assert [round(value, 1) for value in row["ci"]] == [14.9, 24.7]
    assert row["p_mixed"] < 1e-4
    assert row["p_model_unit"] == pytest.approx(16 / 210)  # .076
    assert row["p_model_unit_studentised"] == pytest.approx(12 / 210)  # .057
    assert round(row["p_model_unit_welch"], 3) == 0.049
    assert recomputed["lineages"]["smallest_p"] == 0.1 <= row["p_lineage"]
    assert row["by_adjective"]["p"] == row["by_adjective"]["smallest_p"] == 0.1
    assert row["paired"]["coefficient"] == pytest.approx(row["coefficient"])
    assert row["paired"]["residual_correlation"] < -0.8 and 0.01 < row["paired"]["p"] < 0.1
    assert recomputed["n"]["words_ranked"] == 263
    assert set(recomputed["n"]["excluded"]["texts_not_in_lexicon"].values()) == {2}
    assert all(claim["agrees"] in (True, None) for claim in recomputed["published"])
    assert [claim["explanation"] for claim in recomputed["published"]] == [
        text for text in published.claims()["explanation"] if "2,040" not in text
    ]


# --- joins and exclusions --------------------------------------------------------------------------------


def test_medians_and_panels_by_hand(tmp_path):
    tabs = read(tmp_path)
    joined = join(tabs, LEXICON)
    medians = joined.medians()
    by_hand = pd.read_csv(tmp_path / "three.csv").set_index("response").rank(ascending=False)
    m, p = joined.models.index("three"), joined.prompts.index("worst_ever_one")
    assert medians[1, m, p] == by_hand.loc[WORDS[3:], "worst_ever_one"].median()
    (row,) = [
        r for r in effects.effects(joined, medians, 99, 1) if (r["construct"], r["framing"]) == ("agency", "negative")
    ]
    columns = [joined.prompts.index(key) for key in ("worst_ever_one", "bad_ever_one")]
    own = [
        [medians[0, joined.models.index(name)][columns].mean() for name in pair]
        for pair in (("one", "two"), ("three", "four"))
    ]
    assert row["means"] == pytest.approx({"A": np.mean(own[0]), "B": np.mean(own[1])})
    assert row["difference"] == pytest.approx(np.mean(own[1]) - np.mean(own[0]))
    assert row["p_model_unit"] is None and "below 0.33" in row["model_unit_reason"]


def test_what_a_file_lacks_is_excluded_and_counted(tmp_path):
    tabs = read(
        tmp_path, two={"keys": KEYS[:3]}, three={"words": [*WORDS[1:], "other"]}, four={"keys": [*KEYS, "odd_one"]}
    )
    joined = join(tabs, LEXICON)
    excluded = joined.excluded
    assert list(joined.words) == WORDS[1:] and len(joined.prompts) == 3
    assert excluded["lexicon_words_not_scored"] == {"count": 1, "first": ["power"], "by_model": {"three": 1}}
    assert excluded["prompts_not_in_every_file"]["by_model"] == {"two": ["bad_ever_one"]}
    assert excluded["prompts_of_no_known_framing"]["first"] == ["odd_one"]
    assert excluded["texts_not_in_lexicon"]["three"] == 1
    assert joined.ranks().max() == 5  # every model ranks the same five words


def test_nan_is_excluded_for_all_models_and_counted(tmp_path):
    paths = [score_file(tmp_path, name) for name in GROUPS]
    frame = pd.read_csv(paths[0])
    frame.loc[frame["response"] == "love", "best_ever_one"] = np.nan
    frame.to_csv(paths[0], index=False)
    joined = join(inputs.read_tables(paths, GROUPS), LEXICON)
    assert joined.excluded["lexicon_words_with_nan"] == {"count": 1, "first": ["love"]}
    assert "love" not in joined.words and np.isfinite(joined.values).all()


def test_a_repeated_row_is_counted_and_a_contradiction_refused(tmp_path):
    path = score_file(tmp_path, "one")
    frame = pd.read_csv(path)
    pd.concat([frame, frame.head(1)]).to_csv(path, index=False)
    assert inputs.read_table(path, GROUPS).duplicates == {"same_scores": 1, "lower_scored": 0}
    frame.loc[len(frame)] = ["power", -1, -1, -1, -1]
    frame.to_csv(path, index=False)
    with pytest.raises(InputError, match="power stands twice with different scores"):
        inputs.read_table(path, GROUPS)


def test_tokens_that_decode_alike_keep_the_higher_score_of_each_prompt(tmp_path):
    frame = pd.DataFrame({"token_id": [1, 2, 3], "token_name": list("xyz"), "token_decoded": ["love", "love", " love"]})
    frame[KEYS] = np.array([[1, 9, 0, 0], [5, 2, 0, 0], [99, 99, 99, 99]])
    frame.to_csv(tmp_path / "one.csv", index=False)
    table = inputs.read_table(tmp_path / "one.csv", GROUPS)
    found = table.words(pd.Index(["love"]), KEYS)
    for key in KEYS:
        assert found[key].to_dict() == {"love": tables.best_by_text(table.frame, key)["love"]}
    assert found.loc["love"].tolist() == [5, 9, 0, 0] and table.duplicates["lower_scored"] == 1


def test_a_model_is_known_by_the_metadata_of_its_parquet(tmp_path):
    frame = pd.DataFrame({"token_id": pd.array([1], "Int64"), "token_name": ["x"], "token_decoded": ["love"]})
    frame["best_ever_one"] = np.float32([1.0])
    path = tables.write_scores(frame, tmp_path / "chat.parquet", {"model": "two", "kind": "logprob"})
    table = inputs.read_table(path, GROUPS)
    assert (table.model, table.origin.base, table.made_by["kind"]) == ("two", "A", "logprob")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, p: (p, {"nobody": inputs.Origin("A")}), "its base is unknown"),
        (lambda f, p: (p[:2], GROUPS), "of 1 base"),
        (lambda f, p: ([*p, p[0]], GROUPS), "already given"),
        (lambda f, p: (p, GROUPS | {"one.csv": inputs.Origin("B")}), "two bases"),
        (lambda f, p: ([f / "none.csv"], GROUPS), "no such score file"),
    ],
)
def test_unclear_input_is_an_error_that_says_so(tmp_path, change, message):
    paths, groups = change(tmp_path, [score_file(tmp_path, name) for name in GROUPS])
    with pytest.raises(InputError, match=message):
        inputs.read_tables(paths, groups)


SPACED = {"kind": "text", "template": "{prompt}", "space": True, "closing": "none"}


def token_file(folder, name, texts, made_by, seed=0):
    """A score file over token ids (parquet), with distinct random scores."""
    rng = np.random.default_rng([seed, *name.encode()])
    frame = pd.DataFrame({"token_id": pd.array(range(len(texts)), "Int64"), "token_name": "x", "token_decoded": texts})
    frame[KEYS] = rng.normal(size=(len(texts), len(KEYS))).astype(np.float32)
    return tables.write_scores(frame, folder / f"{name}.parquet", {"model": name} | made_by)


def test_words_are_looked_for_in_the_form_that_the_format_asks_for(tmp_path):
    """Bare and spaced tokens have scores of their own; ranks, pool and words come from the spaced ones."""
    other = [word for word in _common_words(60) if word not in WORDS and len(word) > 2]
    texts = [*WORDS, *(f" {word}" for word in WORDS[1:]), *other[:5], *(f" {word}" for word in other[5:])]
    paths = [token_file(tmp_path, name, texts, {"form": SPACED}) for name in ("one", "three")]
    read_in = inputs.read_tables(paths, GROUPS)
    joined = join(read_in, LEXICON)
    assert list(joined.words) == WORDS[1:]  # "power" has no spaced token
    spaced = read_in[0].frame.set_index("token_decoded").loc[[f" {word}" for word in joined.words], KEYS]
    found = pd.DataFrame(joined.values[0].T, columns=joined.prompts)
    np.testing.assert_array_equal(found[KEYS], spaced)
    pool, values = scores.other_words(read_in, LEXICON, KEYS)
    assert sorted(pool) == sorted(other[5:]) and values.shape == (2, len(KEYS), len(other) - 5)
    bare = [token_file(tmp_path, name, texts, {}) for name in ("one", "three")]
    assert list(join(inputs.read_tables(bare, GROUPS), LEXICON).words) == WORDS


def _copied(folder, name):
    one = folder / "one.csv"
    (folder / f"{name}.csv").write_bytes(one.read_bytes())


def _saved_again(folder, name):
    pd.read_csv(folder / "one.csv").iloc[::-1].assign(extra=1).to_csv(folder / f"{name}.csv", index=False)


def _one_column(folder, name):
    frame = pd.read_csv(folder / f"{name}.csv").assign(best_ever_one=pd.read_csv(folder / "one.csv")["best_ever_one"])
    frame.to_csv(folder / f"{name}.csv", index=False)


@pytest.mark.parametrize("name", ["two", "four"])
@pytest.mark.parametrize("copy", [_copied, _saved_again, _one_column])
def test_the_same_scores_under_two_names_are_refused(tmp_path, copy, name):
    paths = [score_file(tmp_path, name) for name in GROUPS]
    copy(tmp_path, name)
    with pytest.raises(InputError, match=rf"{name}\.csv: the .*one\.csv under another name.*own scores"):
        join(inputs.read_tables(paths, GROUPS), LEXICON)


@pytest.mark.parametrize(
    ("one", "three", "key"),
    [
        ({"kind": "logprob"}, {"kind": "reward"}, "kind"),
        ({"format": "chat"}, {"format": "solved"}, "format"),
        ({"form": SPACED}, {"form": SPACED | {"space": False}}, "form"),
        ({"tokenisation": "exact"}, {"tokenisation": "as_published"}, "tokenisation"),
    ],
)
def test_files_made_in_different_ways_are_not_mixed(tmp_path, one, three, key):
    paths = [token_file(tmp_path, "one", WORDS, one), token_file(tmp_path, "three", WORDS, three)]
    with pytest.raises(InputError, match=rf"three\.parquet: {key} .*one\.parquet: .*Compare files of one {key}\."):
        inputs.read_tables(paths, GROUPS)


def test_files_that_do_not_say_how_they_were_made_go_with_any(tmp_path):
    paths = [token_file(tmp_path, "one", WORDS, {"format": "chat"}), score_file(tmp_path, "three")]
    assert len(inputs.read_tables(paths, GROUPS)) == 2


def test_a_form_of_another_shape_names_the_file(tmp_path):
    path = token_file(tmp_path, "one", WORDS, {"form": {"kind": "text"}})
    with pytest.raises(InputError, match=r"one\.parquet: 'form' of its metadata\.space is missing"):
        inputs.read_table(path, GROUPS)


def test_wildcards_of_a_lexicon_are_unrolled_or_refused(command, tmp_path, capsys, monkeypatch):
    (tmp_path / "lexicon.csv").write_text("construct,word\nagency,pow*\nagency,skill\ncommunion,love\n")
    monkeypatch.setattr(unrolled, "find_wordnet", lambda: None)
    assert cli.main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "1 entries end in * (pow*); unrolling them needs WordNet" in capsys.readouterr().err
    monkeypatch.setattr(unrolled, "find_wordnet", lambda: tmp_path)
    monkeypatch.setattr(unrolled, "unroll", lambda lexicon, *_: lexicon.replace("pow*", "power"))
    assert cli.main([*command, "--out", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"]["words"] == {"agency": 2, "communion": 1}


def test_groups_follow_from_params_and_the_published_models(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text(
        "models:\n"
        "  small: {family: SmolLM2 (Llama architecture), source: {kind: gguf}}\n"
        "  ours: {family: Llama 3, source: {kind: hub, repository: LxzGordon/URM-LLaMa-3.1-8B}}\n"
    )
    groups = inputs.read_origins(params)
    assert groups["small"] == ("SmolLM2", "") and groups["ours"] == ("Llama", "Skywork")
    path = score_file(tmp_path, "big2_rewards_Skywork_Skywork-Reward-Gemma-2-27B-v0.2")
    table = inputs.read_table(path, groups)
    assert table.origin == ("Gemma", "Skywork") and table.model == "Skywork_Skywork-Reward-Gemma-2-27B-v0.2"
    names = {key.replace("/", "_") for key in pd.read_csv(inputs.PUBLISHED_MODELS)["repository"]}
    assert len(names) == 10 and names <= set(groups)


# --- the manipulation check ------------------------------------------------------------------------------


@pytest.mark.parametrize(("reads", "probable"), [(True, True), (False, True), (True, False)])
def test_a_model_that_does_not_read_the_prompts_is_refused(tmp_path, reads, probable):
    words = [f"w{i}" for i in range(40)]
    lexicon = pd.DataFrame({"word": words, "construct": ["a", "b"] * 20, "polarity": ["virtue"] * 20 + ["vice"] * 20})
    paths = []
    for name in ("one", "three"):
        frame = pd.DataFrame({"token_id": pd.NA, "token_name": words, "token_decoded": words})
        for key in KEYS:
            side = 1 if key in KEYS[:2] or not reads else -1
            virtue = side * np.where(lexicon["polarity"] == "virtue", 3, -3)
            noise = np.random.default_rng([*name.encode(), *key.encode()]).normal(size=40)
            frame[key] = (virtue + noise - (5 if probable else 40)).astype(np.float32)
        made_by = {"model": name, "kind": "logprob"}
        paths.append(tables.write_scores(frame, tmp_path / f"{name}.parquet", made_by))
    metrics = compare.compare(inputs.read_tables(paths, GROUPS), lexicon, "x", draws=9, lexicon_draws=9).metrics
    if reads and probable:
        assert metrics["refused"] is None and metrics["readings"]["one"]["note"] is None
        return
    assert set(metrics["refused"]) == {"one", "three"} and metrics["refused"]["one"]["needs"]
    assert ("not read" if probable else "probability") in metrics["refused"]["one"]["reason"]


def test_a_file_without_the_known_groups_says_that_nothing_was_checked(tmp_path):
    metrics = compare.compare(read(tmp_path), LEXICON, "x", draws=9, lexicon_draws=9).metrics
    assert metrics["refused"] is None
    assert {row["note"] for row in metrics["readings"].values()} == {compare.NOT_CHECKED}
    assert set(metrics["readings"]["one"]["framing"]) == {"within", "across"}


def test_another_file_of_a_model_may_score_the_known_groups(tmp_path):
    """Only the check of the readings sees it; a word that both files score counts as the compared one has it."""
    known, own = unrolled.read_lexicon(unrolled.KNOWN_GROUPS), read(tmp_path)
    words = [*known["word"], WORDS[0]]
    side = np.r_[np.where(known["polarity"] == "virtue", 3, -3), 1000]
    paths = []
    for name, sign in (("one", -1), ("three", 0)):  # three answers the negative prompts as the positive ones
        frame = pd.DataFrame({"token_id": pd.NA, "token_name": words, "token_decoded": words})
        for at, key in enumerate(KEYS):
            noise = np.random.default_rng(at).normal(size=len(words))
            frame[key] = ((1 if key in KEYS[:2] else sign or 1) * side + noise).astype(np.float32)
        paths.append(tables.write_scores(frame, tmp_path / "known" / f"{name}.parquet", {"model": name}))
    also = inputs.read_tables(paths, GROUPS)
    plain, found = (
        compare.compare(own, LEXICON, "x", draws=9, lexicon_draws=9, known=more).metrics for more in (None, also[:1])
    )
    assert found["panels"] == plain["panels"] and plain["readings"]["one"]["note"] == compare.NOT_CHECKED
    found = compare.compare(own, LEXICON, "x", draws=9, lexicon_draws=9, known=also).metrics
    assert set(found["refused"]) == {"three"} and "not read" in found["refused"]["three"]["reason"]
    one = found["readings"]["one"]
    assert one["note"] is None and one["known_groups"]["virtue"] == (known["polarity"] == "virtue").sum()


def test_a_construct_without_a_scored_word_is_an_error(tmp_path):
    with pytest.raises(InputError, match="No word of communion"):
        join(read(tmp_path, two={"words": WORDS[:3]}), LEXICON)


def test_groups_with_two_bases_for_a_model(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_text("model,base\nx,A\nx,B\n")
    with pytest.raises(InputError, match="line 3: x is given to A and to B"):
        inputs.read_groups(path)


# --- bootstrap, random lexicons, top-k -------------------------------------------------------------------


def test_the_bootstrap_spreads_as_a_plain_loop_does():
    joined = simulation.simulate(simulation.Truth(words=40, prompts=6), np.random.default_rng(3))
    ranks = joined.ranks()
    fast = effects.bootstrap_differences(joined, ranks, 4_000, seed=1)[:, 1, 0]
    cells = ranks.reshape(len(joined.words), len(joined.models), -1)
    rng, plain = np.random.default_rng(2), []
    for _ in range(1_500):
        own = rng.choice(np.flatnonzero(joined.member[1]), joined.member[1].sum())
        asked = rng.choice(np.flatnonzero(joined.framing == "positive"), 3)
        first, second = (
            np.median(
                cells[own][:, rng.choice(np.flatnonzero(joined.is_second == side), n)][:, :, asked], axis=0
            ).mean()
            for side, n in ((False, 4), (True, 6))
        )
        plain.append(second - first)
    assert fast.mean() == pytest.approx(np.mean(plain), abs=4 * np.std(plain) / np.sqrt(1_500))
    assert fast.std() == pytest.approx(np.std(plain), rel=0.1)


def test_exchanged_labels_keep_sizes_and_strata():
    member = np.array([[1, 1, 0, 0, 0, 1], [0, 0, 1, 1, 1, 1]], dtype=bool)
    strata = np.array([0, 0, 0, 1, 1, 1])
    labels = random_lexicon.exchange_labels(member, strata, 300, np.random.default_rng(0))
    for stratum in (0, 1):
        own = strata == stratum
        assert (labels[:, :, own].sum(axis=2) == member[:, own].sum(axis=1)).all()
        assert ((labels[:, :, own].sum(axis=1) == 2).sum(axis=1) == (member[:, own].sum(axis=0) == 2).sum()).all()
    np.testing.assert_allclose(labels[:, 0, :3].mean(axis=0), 2 / 3, atol=0.1)


def test_random_words_match_in_frequency_and_length():
    words = pd.Index(["love", "family", "friendship", "power", "success", "accomplishment"])
    pool = pd.Index(_common_words(1_500))
    pool = pool[~pool.isin(words)]
    own, others = random_lexicon.match_strata(words, pool)
    picks = random_lexicon.draw_words(own, others, 50, np.random.default_rng(0))
    assert all(len(set(row)) == len(words) for row in picks)
    assert (others[picks] == own).all()
    assert np.abs(pool[picks[:, 0]].str.len() - 4).max() < 4  # love stands for words of its own length


def test_random_lexicons_from_other_words_are_ranked_within_themselves():
    rng = np.random.default_rng(0)
    member = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]], dtype=bool)
    scores = rng.integers(0, 9, size=(3, 40)).astype(np.float32)  # with ties
    picks = np.array([rng.permutation(40)[:5] for _ in range(20)])
    fast = random_lexicon._medians_of_picks(picks, scores, member)
    for draw, pick in enumerate(picks):
        ranks = pd.DataFrame(scores[:, pick].T).rank(ascending=False)
        for k, row in enumerate(member):
            np.testing.assert_allclose(fast[draw, k], ranks[row].median())


def test_the_pool_is_the_other_words_where_there_are_enough(tmp_path):
    other = [word for word in _common_words(80) if word not in WORDS]
    tabs = read(tmp_path, **{name: {"words": [*WORDS, *other, "Xq", "zzqx"]} for name in GROUPS})
    result = compare.compare(tabs, LEXICON, "made up", draws=99, lexicon_draws=50).metrics
    assert result["random_lexicon"]["pool"] == "other words"
    assert result["random_lexicon"]["pool_words"] == len([word for word in other if len(word) > 2])
    few = compare.compare(read(tmp_path), LEXICON, "made up", draws=99, lexicon_draws=50).metrics
    assert few["random_lexicon"]["pool"] == "lexicon" and few["random_lexicon"]["pool_words"] == len(WORDS)


def test_top_k_counts_every_spelling_of_a_word():
    joined = dataclasses.replace(
        simulation.simulate(simulation.Truth(models=(1, 1), prompts=2, words=4), np.random.default_rng(0)),
        constructs=["agency", "communion"],
    )
    texts = pd.Index([" Love", "LOVE", "Power", "x", "y", "friend"])
    scores = np.zeros((2, 2, 6), dtype=np.float32)
    scores[0, :] = [9, 7, 1, 8, 0, 6]
    scores[1, :] = [0, 1, 9, 8, 7, 2]
    _, about = plot_tables.top_k(joined, (texts, scores), LEXICON, k=3)
    rows = {(row["base"], row["construct"]): row for row in about["rows"] if row["prompts"] == "positive"}
    assert rows["A", "communion"]["mean_count"] == 2 and rows["A", "communion"]["mean_rank"] == 2  # ranks 1 and 3
    assert rows["A", "agency"]["mean_count"] == 0 and rows["A", "agency"]["mean_rank"] is None
    assert rows["B", "agency"]["mean_rank"] == 1


def test_top_k_needs_whole_vocabularies(tmp_path):
    result = compare.compare(read(tmp_path), LEXICON, "made up", draws=9, lexicon_draws=9).metrics
    assert result["top_k"]["rows"] == [] and "lists of words" in result["top_k"]["reason"]


def test_whole_vocabularies_are_joined_on_decoded_text_and_reported(tmp_path, monkeypatch):
    words = [*WORDS, " Love", "zzqx", *(word for word in _common_words(1_100) if word not in WORDS)]
    paths = []
    for name, order in (("one", 1), ("three", -1)):
        frame = pd.DataFrame({"token_id": range(len(words)), "token_name": words, "token_decoded": words}).iloc[::order]
        frame[KEYS] = np.random.default_rng(order + 1).normal(size=(len(words), len(KEYS))).astype(np.float32)
        frame.loc[frame["token_decoded"] == " Love", KEYS] = np.float32(99)
        frame["token_id"] = frame["token_id"].astype("Int64")
        paths.append(tables.write_scores(frame, tmp_path / f"{name}.parquet", {"model": name}))
    given = inputs.read_tables(paths, GROUPS), LEXICON, "made up"
    unread = compare.compare(*given, draws=99, lexicon_draws=20)  # random scores read nothing
    (tmp_path / "figure_1.png").write_bytes(b"")
    page = report.page(unread.metrics, "A & B", tmp_path)
    assert "Refused: one: the prompts are not read" in page and "compare:panels" not in page
    assert "Refused: one" in (text := report.as_text(unread.metrics)) and "agency        positive" not in text
    assert not set(compare.NUMBERS) & set(unread.metrics) and unread.plots == {}  # nor in a file
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "panels.csv").write_text("of an earlier comparison")
    unread.write_plots(tmp_path / "plots")
    figures.draw(tmp_path / "plots")
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"figure_1.png", "figure_a1.png", "refused.csv"}
    monkeypatch.setattr(compare, "refused", lambda _: None)
    result = compare.compare(*given, draws=99, lexicon_draws=20)
    top = result.metrics["top_k"]
    assert top["texts"] == len(words) and result.metrics["random_lexicon"]["pool"] == "other words"
    best = [row for row in top["rows"] if row["construct"] == "communion"]
    assert all(row["mean_count"] >= 1 and row["mean_rank"] >= 1 for row in best)
    html = report.page(result.metrics, "A & B", tmp_path)
    assert "<h3>A &amp; B</h3>" in html and f">{len(words):,}</span> shared texts" in html
    assert "these of A and B" in html  # no explanation of the paper's numbers for other models than its own


def _common_words(count):
    from wordfreq import top_n_list

    return [word for word in top_n_list("en", 3 * count) if word.isascii() and word.isalpha()][:count]


# --- interactions and sensitivity ------------------------------------------------------------------------


def test_the_interaction_of_more_than_two_constructs_is_tested_jointly():
    joined = simulation.simulate(simulation.Truth(words=90), np.random.default_rng(1))
    thirds = np.arange(90) % 3
    joined = dataclasses.replace(joined, constructs=["a", "b", "c"], member=np.array([thirds == k for k in range(3)]))
    medians = joined.medians()
    row = effects.three_way(joined, medians, None, np.repeat(medians[None], 99, axis=0), 99, 1)
    assert row["coefficient"] is None and [c["construct"] for c in row["coefficients"]] == ["b", "c"]
    effect = effects.framing_means(joined, medians)
    effect = effect[..., 0] - effect[..., 1]
    gap = effect[:, joined.is_second].mean(axis=1) - effect[:, ~joined.is_second].mean(axis=1)
    np.testing.assert_allclose([c["coefficient"] for c in row["coefficients"]], gap[1:] - gap[0])
    assert row["p_random_lexicon"] == 1  # the one "random" lexicon is the lexicon itself


def test_sensitivity_covers_polarity_nouns_ties_and_models(monkeypatch):
    monkeypatch.setattr(compare, "refused", lambda _: None)
    joined = simulation.simulate(simulation.Truth(words=40), np.random.default_rng(1))
    tabs = []
    for model, base, values in zip(joined.models, joined.base_of, joined.values, strict=True):
        frame = pd.DataFrame(values.T, columns=joined.prompts).assign(token_id=pd.NA, token_decoded=joined.words)
        tabs.append(inputs.Table(model, inputs.Origin(base), model, "", {}, inputs.BARE, frame, {}))
    lexicon = pd.DataFrame({"word": joined.words, "construct": np.where(joined.member[0], "a", "b")})
    lexicon["polarity"] = np.where(np.arange(40) < 30, "virtue", "vice")
    lexicon["part_of_speech"] = np.where(np.arange(40) % 4 < 2, "noun|verb", "verb")
    result = compare.compare(tabs, lexicon, "x", {"small": lexicon.head(10)}, draws=99, lexicon_draws=9).metrics
    words = {row["variant"]: row["words"] for row in result["sensitivity"] if row["kind"] == "lexicon"}
    assert words == {"as given": 40, "virtue only": 30, "vice only": 10, "nouns only": 20, "small": 10}
    models = [row for row in result["sensitivity"] if row["kind"] == "model"]
    assert len(models) == 10 and all(row["models"] == 9 for row in models)
    assert {row["kind"] for row in result["sensitivity"]} == {"lexicon", "ties", "model"}


# --- what the corrections mend ---------------------------------------------------------------------------


def test_lineages_are_units_of_their_own():
    """Three near copies in each base: models as units reject too often, lineages do not."""
    truth = simulation.Truth(models=(6, 6), lineages=((3,), (3,)), prompts=4, words=30, model=0.0, lineage_word=3.0)
    tests = {name: partial(simulation.three_way_p, name=name) for name in ("p_model_unit", "p_lineage")}
    sizes = list((simulation.p_values(truth, tests, 250, seed=4) <= 0.05).mean())
    assert sizes[0] > 0.15 and sizes[1] < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 250)
    joined = simulation.simulate(truth, np.random.default_rng(0))
    row = effects.lineages(joined)
    assert [sorted(map(len, own.values())) for own in row["models"].values()] == [[1, 1, 1, 3]] * 2
    assert row["smallest_p"] == pytest.approx(2 / 70)
    alone = effects.lineages(simulation.simulate(simulation.Truth(), np.random.default_rng(0)))
    assert alone["smallest_p"] is None and alone["reason"]


def test_a_prompt_counts_once_and_models_have_slopes_of_their_own():
    """Models of one base differ in what framing does: the paper's mixed model takes that for the base."""
    truth = simulation.Truth(models=(5, 5), prompts=8, words=40, model_word=1.5)
    sizes = [
        simulation.rejection_rate(truth, test, 12, seed=5)
        for test in (simulation.three_way_mixed_p, simulation.three_way_paired_p)
    ]
    assert sizes[0] > 0.3 > sizes[1]


def test_variance_components_are_recovered():
    truth = simulation.Truth((8, 8), 10, 400, 2.0, 0.5, 0.5, 1.5, 1.0, ((4,), (4,)), 1.2)
    rng = np.random.default_rng(0)
    found = pd.DataFrame([simulation.components(simulation.simulate(truth, rng)) for _ in range(8)])
    for name, mean in np.sqrt((found**2).mean()).items():
        assert mean == pytest.approx(getattr(truth, name), rel=0.2), name


def test_the_published_components_are_those_of_the_files():
    if not PUBLISHED.is_dir():
        pytest.skip("the authors' score files are not beside the repository")
    files = sorted((PUBLISHED / "big_two_nouns").glob("*.csv"))
    lexicon = unrolled.find_lexicon(PUBLISHED / "dict_big2_nouns.csv")
    found = simulation.components(join(inputs.read_tables(files, inputs.read_origins()), lexicon))
    truth = simulation.Truth.published()
    assert {name: round(value, 2) for name, value in found.items()} == {name: getattr(truth, name) for name in found}


def test_random_words_match_in_part_of_speech(monkeypatch):
    every = pd.Index([word for word in _common_words(1_500) if len(word) > 2])
    kind = dict(zip(every, np.where(np.arange(len(every)) % 2 == 0, "noun", "verb"), strict=True))
    words, pool = every[10:600:15], every.delete(range(10, 600, 15))
    lexicon = pd.DataFrame({"word": words, "part_of_speech": [kind[word] + "|other" for word in words]})
    vocabulary = SimpleNamespace(parts_of_speech=lambda word: [kind[word]])
    monkeypatch.setattr(random_lexicon, "load_vocabulary", lambda _: vocabulary)
    monkeypatch.setattr(random_lexicon, "find_wordnet", lambda: "there")
    speech = random_lexicon.Trait("part of speech", *random_lexicon.parts_of_speech(lexicon, words, pool))
    form = random_lexicon.traits_of_form(words, pool)

    def same(known: list) -> float:
        return random_lexicon.shared(*random_lexicon.match_strata(words, pool, known), [speech])[0]["same"]

    assert same([speech, *form]) > 0.95 and same(form) < 0.7
    monkeypatch.setattr(random_lexicon, "find_wordnet", lambda: None)
    assert random_lexicon.parts_of_speech(lexicon, words, pool) is None


def test_stand_ins_share_valence_and_field_of_meaning(monkeypatch, tmp_path):
    """Every third word is rated pleasant, every third unpleasant; fields of meaning come in blocks of five words."""
    every = pd.Index([word for word in _common_words(3_000) if word.isalpha() and len(word) > 2])
    words, pool = every[10:1_200:30], every.delete(range(10, 1_200, 30))
    rating = [(3.0, -3.0, 0.5)[i % 3] for i in range(len(every))]
    rated = [f"{word}\t{value}\t0.5\t[1]" for word, value in zip(every, rating, strict=True)]
    (tmp_path / "rated.txt").write_text("\n".join(rated), encoding="utf-8")
    senses = [f"{word}%1:{i // 5 % 4:02d}:00:: 00000001 1 {i % 7}" for i, word in enumerate(every)]
    senses += [f"{word}%1:09:01:: 00000002 2 0" for word in every]  # a rarer sense, which must not count
    (tmp_path / "index.sense").write_text("\n".join(senses), encoding="utf-8")
    monkeypatch.setattr(random_lexicon, "find_ratings", lambda: tmp_path / "rated.txt")
    monkeypatch.setattr(random_lexicon, "find_wordnet", lambda: tmp_path)
    monkeypatch.setattr(
        random_lexicon, "load_vocabulary", lambda _: SimpleNamespace(lemmas=lambda word: {word: {"noun"}})
    )
    known = random_lexicon.traits(pd.DataFrame({"word": words}), words, pool)
    assert [trait.name.partition(" ")[0] for trait in known] == ["valence", "Zipf", "field", "length"]
    assert set(known[2].pool) == {0, 1, 2, 3} and set(known[0].pool) == {-1, 0, 1}
    matched = {
        row["trait"]: row["same"]
        for row in random_lexicon.shared(*random_lexicon.match_strata(words, pool, known), known)
    }
    form = random_lexicon.traits_of_form(words, pool)
    loose = {
        row["trait"]: row["same"]
        for row in random_lexicon.shared(*random_lexicon.match_strata(words, pool, form), known)
    }
    valence, frequency, field = (trait.name for trait in known[:3])
    assert matched[valence] > 0.95 > 0.5 > loose[valence]
    assert matched[field] > 0.7 > 0.4 > loose[field]
    assert matched[frequency] > 0.9
    monkeypatch.setattr(random_lexicon, "find_ratings", lambda: None)
    monkeypatch.setattr(random_lexicon, "find_wordnet", lambda: None)
    names = [trait.name for trait in random_lexicon.traits(pd.DataFrame({"word": words}), words, pool)]
    assert names == [trait.name for trait in form]  # what was not fetched is not claimed


def test_multiplicity_is_corrected_over_every_cell_shown(tmp_path):
    rows = compare.compare(read(tmp_path), LEXICON, "x", draws=99, lexicon_draws=30).metrics["panels"]
    p = [row["p_random_lexicon"] for row in rows]
    np.testing.assert_allclose([row["p_random_lexicon_holm"] for row in rows], inference.holm(p))
    assert all(row["p_model_unit_holm"] is None for row in rows)  # two against two: no such test


def test_cohens_d_stands_only_where_the_paper_printed_it(tmp_path):
    bases = {"one": "Gemma", "two": "Gemma", "three": "Llama", "four": "Llama"}
    paths = [score_file(tmp_path, name) for name in bases]
    for groups, printed in (({name: inputs.Origin(base) for name, base in bases.items()}, True), (GROUPS, False)):
        rows = compare.compare_files(paths, groups, _saved(LEXICON, tmp_path), draws=9, lexicon_draws=9).metrics[
            "panels"
        ]
        assert all((row["cohens_d"] is not None) == printed and -1 <= row["cliffs_delta"] <= 1 for row in rows)


def _saved(lexicon, folder):
    lexicon.to_csv(folder / "lexicon.csv", index=False)
    return folder / "lexicon.csv"


# --- the size and power of the tests ---------------------------------------------------------------------


def test_models_as_units_keep_the_nominal_rate_and_prompts_as_units_do_not():
    truth, runs = simulation.Truth(), 300
    nominal = 10 / 210  # the largest attainable level up to .05
    bound = 3 * np.sqrt(nominal * (1 - nominal) / runs)
    assert abs(simulation.rejection_rate(truth, simulation.model_unit_p, runs, seed=1) - nominal) < bound
    assert simulation.rejection_rate(truth, simulation.prompt_unit_p, runs, seed=1) > 3 * 0.05


def test_power_rises_with_the_number_of_models():
    rates = [
        simulation.rejection_rate(
            simulation.Truth(models=(n, n), prompts=6, words=40, effect=0.7), simulation.model_unit_p, 100, seed=2
        )
        for n in (4, 6, 8)
    ]
    assert rates[0] + 0.1 < rates[1] and rates[1] < rates[2] and rates[2] > 0.4


def test_random_lexicons_forgive_a_difference_that_any_list_shows():
    """Bases that differ word by word: the paper's test rejects, random lexicons do so at the nominal rate."""
    truth, runs = simulation.Truth(models=(3, 4), prompts=18, words=40, model=0.0, base_word=1.0), 60
    assert simulation.rejection_rate(truth, simulation.prompt_unit_p, runs, seed=1) > 0.3
    assert simulation.rejection_rate(truth, simulation.random_lexicon_p, runs, seed=1) < 0.05 + 3 * np.sqrt(
        0.05 * 0.95 / runs
    )


@pytest.mark.slow
def test_sizes_of_the_interaction_and_the_interval():
    truth, runs = simulation.Truth(prompts=12, words=60), 300
    bound = 3 * np.sqrt(0.05 * 0.95 / runs)
    assert simulation.rejection_rate(truth, simulation.three_way_p, runs, seed=3) < 0.05 + bound
    assert simulation.rejection_rate(truth, simulation.three_way_mixed_p, 100, seed=3) > 0.15
    assert simulation.rejection_rate(truth, simulation.bootstrap_excludes_zero, runs, seed=3) < 0.15


# --- the command -----------------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path):
    paths = [score_file(tmp_path, name, keys=list(prompts.value_laden()["key"])) for name in ("one", "three")]
    LEXICON.to_csv(tmp_path / "lexicon.csv", index=False)
    (tmp_path / "groups.csv").write_text("model,base\none,A\nthree.csv,B\n")
    options = ["--lexicon", str(tmp_path / "lexicon.csv"), "--groups", str(tmp_path / "groups.csv")]
    return ["compare", *map(str, paths), *options, "--draws", "99", "--lexicon-draws", "20"]


def test_the_command_writes_numbers_tables_and_pictures(command, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main([*command, "--out", str(out), "--json"]) == 0
    metrics = json.loads((out / "compare.json").read_text())
    assert json.loads(capsys.readouterr().out) == metrics
    assert metrics["difference"] == "B − A" and len(metrics["panels"]) == 4
    assert set(metrics["files"].values()) == {
        files.sha256(tmp_path / "one.csv"),
        files.sha256(tmp_path / "three.csv"),
    }
    for row in metrics["panels"]:
        assert row["p_model_unit"] is None and row["ci_models_prompts_words"] is None
        assert "with 1 of A" in row["model_unit_reason"]
    assert metrics["three_way"]["p_mixed"] is None and "cannot be told" in metrics["three_way"]["mixed_reason"]
    for name in ("figure_1", "figure_a1", "figure_a2"):
        assert (out / "plots" / f"{name}.png").stat().st_size > 10_000
    page = (out / "compare.html").read_text()
    assert f"{metrics['panels'][0]['difference']:.1f}".replace("-", "−") in page


def test_the_seed_fixes_every_number(tmp_path):
    tabs = read(tmp_path)
    a, b, c = (compare.compare(tabs, LEXICON, "x", seed=seed, draws=99, lexicon_draws=20).metrics for seed in (7, 7, 8))
    assert a == b
    assert [row["p_random_lexicon"] for row in a["panels"]] != [row["p_random_lexicon"] for row in c["panels"]]


def test_a_mistake_is_one_line_and_status_2(command, tmp_path, capsys):
    assert cli.main([*command[:1], "absent.csv", *command[3:], "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: absent.csv: no such score file") and error.count("\n") == 1
    assert not Path(tmp_path / "out").exists()
