"""Dimensions: words of many dictionaries, convergence, valence and contrasts against simulated truth, the pictures."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from valuetrace.core import settings
from valuetrace.core.errors import InputError
from valuetrace.figures import dimensions as figures
from valuetrace.lexicon.vocabulary import read_ratings
from valuetrace.measures.profile import Subject
from valuetrace.measures.validity import Rule
from valuetrace.prompts import value_laden
from valuetrace.report.page import Context
from valuetrace.report.sections import dimensions as section
from valuetrace.scoring.chat import Format
from valuetrace.studies.dimensions import convergence, sources, study, valence, words
from valuetrace.studies.dimensions.dictionaries import Dictionary, Dimensions, Ratings
from valuetrace.studies.dimensions.panels import Panel, members, orders, panel, readings

TRAITS = {"a": ["x:a", "y:a"], "b": ["x:b", "y:b"]}
SIZE, LISTS = 30, [name for names in TRAITS.values() for name in names]


# --- words ---------------------------------------------------------------------------------------


@pytest.fixture
def chosen(tmp_path) -> Dimensions:
    """A dictionary in the plain shape, another that shares a word with it, rated words, and one word taught."""
    plain = {"strong_p": ["able", "power", "back burner", "zymotic"], "weak_p": ["weak", "failure"]}
    (tmp_path / "plain.json").write_text(json.dumps(plain))
    (tmp_path / "own.csv").write_text("construct,word\nkind,love\nkind,power\nkind,help\n")
    (tmp_path / "rated.txt").write_text(
        "love\t3.2\t0.4\t[3]\nfailure\t-2.3\t0.5\t[-2]\nable\t1.0\t1\t[1]\n:)\t2.0\t1\t[2]\nLOL\t2\t1\t[2]\n"
    )
    (tmp_path / "taught.csv").write_text("word\nhelp\n")
    rows = {
        "one": Dictionary("One", str(tmp_path / "plain.json"), {"high": "strong_p", "low": "weak_p"}),
        "own": Dictionary("Own", str(tmp_path / "own.csv")),
        "vader": Dictionary("Valence", str(tmp_path / "rated.txt"), None, Ratings(1.3, "pleasant", "unpleasant")),
    }
    made = {"traits": {"a": ["one:high"], "b": ["own:kind"]}, "prompts": ["best_ever_one"], "format": "raw"}
    made |= {"draws": 20, "permutations": 20, "told_overlap": 0.1, "seed": 1}
    return Dimensions(3.2, rows, str(tmp_path / "taught.csv"), "vader", **made)


def test_words_of_all_dictionaries_are_one_lexicon(chosen, tmp_path):
    table = words.combined(chosen)
    kept = table[table["kept"]].groupby("construct")["word"].agg(list).to_dict()
    assert kept == {
        "one:high": ["able", "power"],  # no phrase, no rare word
        "one:low": ["weak", "failure"],
        "own:kind": ["love", "power"],  # help was taught
        "vader:pleasant": ["love"],
        "vader:unpleasant": ["failure"],
    }
    table.to_csv(tmp_path / "lexicon.csv", index=False)
    pd.testing.assert_frame_equal(words.read(tmp_path / "lexicon.csv"), table)
    read_ratings(tmp_path / "rated.txt").rename_axis("word").reset_index().to_csv(tmp_path / "r.csv", index=False)
    assert words.read_ratings(tmp_path / "r.csv").to_dict() == {"love": 3.2, "failure": -2.3, "able": 1.0}
    told = words.counts(table, 3.2).set_index("construct")
    assert told.loc["one:high", ["listed", "common", "taught", "kept"]].tolist() == [4, 2, 0, 2]
    assert told.loc["own:kind", ["listed", "common", "taught", "kept"]].tolist() == [3, 3, 1, 2]
    shared = words.overlaps(table[table["kept"]]).set_index(["first", "second"])
    assert shared.loc[("one:high", "own:kind"), ["shared", "jaccard", "share_of_smaller"]].tolist() == [1, 1 / 3, 1 / 2]
    assert shared["shared"].sum() == 3 and len(shared) == 10


def test_a_user_s_own_list_joins_by_one_row(chosen, tmp_path):
    (tmp_path / "mine.dic").write_text("%\n1 humour\n%\nfunny 1\njoke 1\n")
    more = chosen.dictionaries | {"mine": Dictionary("Mine", str(tmp_path / "mine.dic"))}
    table = words.combined(dataclasses.replace(chosen, dictionaries=more))
    assert table.loc[table["construct"] == "mine:humour", "word"].tolist() == ["funny", "joke"]


def test_a_mistake_is_one_line(chosen, tmp_path):
    with pytest.raises(InputError, match=r"dimensions\.traits\.a: no construct 'one:strong'"):
        words.combined(dataclasses.replace(chosen, traits={"a": ["one:strong"]}))
    (tmp_path / "rated.txt").write_text("love 3.2\n")
    with pytest.raises(InputError, match=r"rated\.txt, line 1: 'love 3.2' is no word and rating"):
        words.combined(chosen)
    with pytest.raises(InputError, match="no such list of rated words"):
        read_ratings(tmp_path / "nothing.txt")
    plain = dataclasses.asdict(chosen)
    for change, message in (
        ({"rated": "one"}, "rated is 'one'; name a dictionary of rated words"),
        ({"traits": {"a": ["two:high"]}}, "traits: two:high; name dictionary:construct"),
        ({"traits": {"a": ["one:high"], "b": ["one:high"]}}, "each in one trait"),
    ):
        with pytest.raises(InputError, match=message):
            settings.build(Dimensions, plain | change, "dimensions")


# --- simulated panels ----------------------------------------------------------------------------


def lexicon(names=LISTS, size=SIZE) -> pd.DataFrame:
    rows = [(f"{name}_{i}", name, "") for name in names for i in range(size)]
    return pd.DataFrame(rows, columns=["word", "construct", "polarity"])


def simulated(load, seed, models=8, prompts=9, others=200, general=0.0) -> Panel:
    """A panel in which list k's words move with ``load[k]``'s latent value in every model and prompt.

    load: construct → name of its latent. general: how far all lists move together (as valence would move them).
    """
    rng = np.random.default_rng(seed)
    listed = lexicon(list(load))
    index = [*listed["word"], *(f"other{i}" for i in range(others))]
    values = rng.normal(size=(len(index), 1, 1)) + rng.normal(size=(len(index), models, prompts))
    shared = general * rng.normal(size=(models, prompts))
    latent = {
        name: rng.normal(size=(models, 1)) + rng.normal(size=(models, prompts)) for name in sorted(set(load.values()))
    }
    for name, of in load.items():
        at = np.flatnonzero(listed["construct"] == name)
        values[at] += latent[of] + shared
    keys = [f"p{i}" for i in range(prompts)]
    scores = {f"m{m}": pd.DataFrame(values[:, m], index, keys) for m in range(models)}
    return panel("simulated", scores, pd.Series("positive", keys))


SHARED = {"x:a": "a", "y:a": "a", "x:b": "b", "y:b": "b"}
APART = {name: name for name in LISTS}  # each list its own latent: dictionaries do not agree


def test_a_panel_ranks_the_common_words_of_every_prompt():
    one = pd.DataFrame({"p": [3.0, 1, 2, 0, -1, -2, -3], "n": range(7)}, list("abcdefg"))
    two = one.iloc[::-1].drop(index="g") * 2
    own = panel("x", {"one": one, "two": two}, pd.Series({"p": "positive", "n": "negative"}))
    assert list(own.words) == list("abcdef")
    assert own.percentiles[:, 0, 0].tolist() == own.percentiles[:, 1, 0].tolist() == [100, 60, 80, 40, 20, 0]
    assert own.of("negative").percentiles[:, 0].ravel().tolist() == [0, 20, 40, 60, 80, 100]
    names, member = members(pd.DataFrame({"word": list("abz"), "construct": "k", "polarity": ""}), own.words)
    assert names == ["k"] and member.tolist() == [[True, True, False, False, False, False]]
    assert readings(own, member)[0, 0].tolist() == [80, 10]
    with pytest.raises(InputError, match="score 0 words in common"):
        panel("x", {"one": one, "two": one.set_axis(list("ABCDEFG"))}, pd.Series({"p": "positive"}))


def test_correlations_are_numpy_s():
    values = np.random.default_rng(1).normal(size=(3, 7, 5))  # lists, models, prompts
    pairs = [(0, 1), (0, 2), (1, 2)]
    over_models = np.corrcoef(values.mean(axis=2))
    assert convergence.correlations(values, pairs, "model") == pytest.approx([over_models[p] for p in pairs])
    each = np.array([[np.corrcoef(values[:, m])[p] for m in range(7)] for p in pairs])
    assert convergence.correlations(values, pairs, "prompt") == pytest.approx(np.tanh(np.arctanh(each).mean(axis=1)))
    values[0] = 4.0
    assert convergence.correlations(values, [(0, 1)], "model") == [0]
    several = convergence.correlations(np.stack([values, values]), pairs, "model")
    assert several.shape == (2, 3) and (several[0] == several[1]).all()


def test_pairs_are_of_four_kinds():
    names = ["x:a", "x:a2", "y:a", "x:b"]
    found = {(i, j): kind for i, j, kind in convergence.kinds(names, {"a": ["x:a", "x:a2", "y:a"], "b": ["x:b"]})}
    assert found[0, 1] == convergence.FACETS and found[0, 2] == convergence.CONVERGENT
    assert found[0, 3] == convergence.SAME_METHOD and found[2, 3] == convergence.OTHER


@pytest.mark.parametrize("unit", ["model", "prompt"])
@pytest.mark.parametrize("general", [0.0, 1.5])
def test_truly_shared_constructs_converge(unit, general):
    own = simulated(SHARED, 3, models=12, general=general)
    both = convergence.multitrait(own, lexicon(), TRAITS, 150, 1)
    pairs, tests = (table[table["unit"] == unit] for table in both)
    kind = pairs.groupby("kind")["r"].mean()
    assert kind[convergence.CONVERGENT] > 0.8 and kind[convergence.CONVERGENT] > kind.drop(convergence.CONVERGENT).max()
    assert (tests["low"] > 0).all() and (tests["p"] < 0.02).all()
    convergent = pairs[pairs["kind"] == convergence.CONVERGENT]
    assert (convergent["low"] > 0).all() and (convergent["p"] < 0.02).all()
    assert (convergent["units"] == (12 if unit == "model" else 9)).all()


@pytest.mark.parametrize("general", [0.0, 1.5])
def test_constructs_that_are_not_shared_do_not(general):
    """A general factor makes every pair agree; the difference of kinds still says that the constructs do not."""
    told = []
    for seed in range(10):
        own = simulated(APART, seed, general=general)
        told.append(convergence.multitrait(own, lexicon(), TRAITS, 80, seed)[1].query("unit == 'prompt'"))
    told = pd.concat(told)
    assert ((told["low"] <= 0) & (told["high"] >= 0)).mean() >= 0.8
    assert abs(told["difference"].mean()) < 0.15
    assert (told["p"] < 0.05).mean() <= 0.25


def test_random_lists_do_not_converge():
    """Lists whose words have nothing in common: what is observed comes from the null's own distribution."""
    p = []
    for seed in range(10):
        own = simulated(dict.fromkeys(LISTS, "none"), seed)
        shuffled = lexicon()
        every = np.random.default_rng(seed).permutation(own.words)[: len(shuffled)]
        pairs, tests = convergence.multitrait(own, shuffled.assign(word=every), TRAITS, 80, seed)
        p += [*pairs["p"], *tests["p"]]
    assert 0.01 < np.mean(np.array(p) < 0.1) < 0.25
    assert stats.kstest(p, "uniform").statistic < 0.25


def test_common_words_are_left_out():
    """Two lists that agree in their common words alone do not agree."""
    own = simulated(APART, 5, general=0.0)
    table = lexicon()
    more = table[table["construct"] == "x:a"].assign(construct="y:a")
    both = pd.concat([table, more])  # y:a holds all of x:a's words too
    pairs, _ = convergence.multitrait(own, both, TRAITS, 20, 1)
    assert "x:a" not in {*pairs["first"], *pairs["second"]}  # nothing is left of it
    both = pd.concat([table, more.head(20)])
    pairs, _ = convergence.multitrait(own, both, TRAITS, 20, 1)
    row = pairs.query("unit == 'prompt' and first == 'x:a' and second == 'y:a'").iloc[0]
    assert (row["words_first"], row["words_second"]) == (10, 30)
    every = convergence.every_pair(own, both).query("unit == 'prompt'").set_index(["first", "second"])
    assert every.loc[("x:a", "y:a"), ["own_first", "own_second"]].tolist() == [10, 30]
    assert every.loc[("x:a", "y:a"), "r"] == pytest.approx(row["r"])
    assert every.loc[("x:a", "x:b"), ["own_first", "own_second"]].tolist() == [30, 30]


def test_too_few_units_are_not_told():
    own = simulated(SHARED, 1, models=3, prompts=6)
    for table in (*convergence.multitrait(own, lexicon(), TRAITS, 10, 1), convergence.every_pair(own, lexicon())):
        assert set(table["unit"]) == {"prompt"}
    own = simulated(SHARED, 1, models=3, prompts=5)
    assert all(table.empty for table in convergence.multitrait(own, lexicon(), TRAITS, 10, 1))
    assert convergence.every_pair(own, lexicon()).empty


def test_random_lists_keep_frequency_and_length():
    common = ["that", "with", "this", "have", "from", "they", "will", "your", "when", "what", "like", "just"]
    own = pd.Index([*common[:5], *(f"zzqx{i:04d}" for i in range(40)), *common[5:]])
    found = orders(own, 50, np.random.default_rng(1))
    assert (np.sort(found, axis=1) == np.arange(len(own))).all()
    assert len(np.unique(found, axis=0)) == 50
    rare = np.char.startswith(np.array(own, dtype=str), "zzqx")
    assert rare[found][:, rare].all() and not rare[found][:, ~rare].any()


# --- valence -------------------------------------------------------------------------------------


def rated_panel(seed=1, bonus=0.0) -> tuple[Panel, pd.DataFrame, np.ndarray]:
    """Words whose scores are their ratings and noise; ``more`` has a bonus of its own, ``only`` just good ratings."""
    rng = np.random.default_rng(seed)
    table = lexicon(["k:only", "k:more", "k:none"], 60)
    index = [*table["word"], *(f"other{i}" for i in range(500))]
    rating = rng.normal(size=len(index))
    rating[:60] += 2
    values = rating[:, None, None] + rng.normal(size=(len(index), 2, 4))
    values[60:120] += bonus
    keys = list("pqrs")
    scores = {f"m{m}": pd.DataFrame(values[:, m], index, keys) for m in range(2)}
    own = panel("simulated", scores, pd.Series("positive", keys))
    return own, table, pd.Series(rating, index).reindex(own.words).to_numpy()


def test_valence_alone_is_told_from_more():
    own, table, rating = rated_panel(bonus=1.5)
    found = valence.decompose(own, table, rating, 400, 1)
    assert (found["distance"] - found["explained"] - found["rest"]).abs().max() < 1e-9
    both = valence.tables(own, table, rating * (np.arange(len(rating)) % 2), 50, 1).groupby("based_on")
    assert both.ngroups == 2 and (both.get_group(valence.RATED)["words"] < 60).all()
    assert (both.get_group(valence.ALL)["words"] == 60).all()
    told = found.groupby("construct")["verdict"].agg(set).to_dict()
    assert told["k:more"] == {valence.MORE} and valence.MORE not in told["k:none"] | told["k:only"]
    assert (found.loc[found["construct"] == "k:none", ["distance", "rest"]].abs() < 10).all(axis=None)
    only = found[found["construct"] == "k:only"]
    assert (only["distance_low"] > 10).all() and (only["rest"].abs() < 6).all()
    assert only["explained"].to_numpy() == pytest.approx(only["distance"].to_numpy(), abs=6)
    values = own.percentiles.mean(axis=2)
    theirs = np.stack([np.polyval(np.polyfit(rating, values[:, i], 3), rating) for i in range(2)], axis=1)
    assert valence.fitted(values, rating) == pytest.approx(theirs - values.mean(axis=0), abs=1e-6)
    assert valence.explained_variance(values, rating) == pytest.approx(theirs.var(axis=0) / values.var(axis=0))
    assert abs(valence.fitted(values, np.zeros(len(rating)))).max() == 0


def test_verdicts_follow_the_intervals():
    names = ("distance_low", "distance_high", "rest_low", "rest_high")
    for ends, expected in (
        ((-1, 1, -1, 1), valence.CHANCE),
        ((1, 2, -1, 1), valence.ONLY),
        ((1, 2, 1, 2), valence.MORE),
    ):
        assert valence.verdict(dict(zip(names, ends, strict=True))) == expected
    assert valence.verdict(dict(zip(names, (-1, 1, -2, -1), strict=True))) == valence.MORE


def test_without_valence_nothing_of_it_is_left():
    own, _, rating = rated_panel()
    left = valence.without(own, rating).percentiles
    assert abs(np.einsum("wmp,w->mp", left, rating - rating.mean())).max() < 1e-6
    column = own.percentiles[:, 1, 2]
    by_hand = column - np.polyval(np.polyfit(rating, column, 3), rating) + column.mean()
    assert left[:, 1, 2] == pytest.approx(by_hand)


# --- contrasts -----------------------------------------------------------------------------------


def two_models(shift: dict[str, float], seed: int, lists: int = 40) -> tuple[Panel, pd.DataFrame]:
    """Two models that agree on words up to noise; ``shift`` moves a list in the second one's positive prompts."""
    rng = np.random.default_rng(seed)
    table = lexicon([f"k:{i}" for i in range(lists)], 12)
    common = rng.normal(size=(len(table), 1, 1)) + rng.normal(size=(len(table), 2, 1))
    values = common + 0.3 * rng.normal(size=(len(table), 2, 4))
    for name, by in shift.items():
        values[table["construct"] == name, 1, :2] += by
    keys = list("pqnm")
    scores = {f"m{m}": pd.DataFrame(values[:, m], table["word"], keys) for m in range(2)}
    framing = pd.Series(["positive", "positive", "negative", "negative"], keys)
    return panel("two", scores, framing), table


def test_no_difference_is_called_one_at_its_rate():
    p = np.concatenate([study.contrasts(*two_models({}, seed), 2, 199, 1)["p"] for seed in range(4)])
    assert len(p) == 4 * 80 and (p < 0.05).mean() < 0.1
    assert stats.kstest(p, "uniform").statistic < 0.12


def test_a_planted_difference_survives_correction():
    own, table = two_models({"k:3": 4.0}, 1, lists=20)
    found = study.family(study.contrasts(own, table, 200, 1999, 1))
    row = found[(found["construct"] == "k:3") & (found["framing"] == "positive")].iloc[0]
    assert row["difference"] > 20 and row["low"] > 0 and row["p_bh"] < 0.05 and row["p"] == found["p"].min()
    other = found[(found["construct"] == "k:3") & (found["framing"] == "negative")].iloc[0]
    assert abs(other["difference"]) < 35 and other["p_holm"] > 0.05
    for name, method in (("p_holm", "holm"), ("p_bh", "fdr_bh")):
        assert found[name].to_numpy() == pytest.approx(multipletests(found["p"], method=method)[1])


def test_contrasts_are_second_minus_first_of_the_medians():
    own, table = two_models({}, 2)
    found = study.contrasts(own, table, 5, 5, 1).set_index(["construct", "framing"])
    at = own.words.isin(table.loc[table["construct"] == "k:7", "word"])
    medians = np.median(own.percentiles[at], axis=0)[:, own.framing == "negative"].mean(axis=1)
    assert found.loc[("k:7", "negative"), "difference"] == pytest.approx(medians[1] - medians[0])


# --- sources, study, pictures, page --------------------------------------------------------------


def test_released_rewards_of_several_lists_are_one_table(tmp_path):
    for folder, rows in (("big", "power,1.5\nlove,2\n"), ("mfd", "love,2\ncare,3\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x_rewards_me_model.csv").write_text("response,best_ever_one\n" + rows)
    found = sources.released("me/model", tmp_path)
    assert found["token_decoded"].tolist() == ["power", "love", "care"]
    assert found["best_ever_one"].tolist() == [1.5, 2, 3]
    with pytest.raises(InputError, match="no rewards of me/other"):
        sources.released("me/other", tmp_path)


def simulated_models(table: pd.DataFrame, known: pd.DataFrame) -> list[sources.Measured]:
    """Two bases with log-probabilities and reward models, seven released; one released model reads nothing."""
    prompts, found = value_laden(), []
    names = list(dict.fromkeys([*table["word"], *known["word"]]))
    good = pd.Series(0.0, names)
    good[known["word"]] = known["polarity"].map({"virtue": 1.5, "vice": -1.5}).to_numpy()
    kinds = [("logprob", "G"), ("logprob", "S"), ("reward", "G"), ("reward", "S")] + [
        ("released", f"R{i}") for i in range(7)
    ]
    for at, (source, base) in enumerate(kinds):
        rng = np.random.default_rng(at)
        sign = prompts["framing"].map({"positive": 1.0, "negative": -1.0}).to_numpy() * (base != "R6")
        values = np.outer(good + 0.7 * rng.normal(size=len(names)), sign) + rng.normal(size=(len(names), len(prompts)))
        if source == "logprob":
            values = values - np.log(np.exp(values).sum(axis=0))
        scores = pd.DataFrame(values.astype(np.float32), columns=prompts["key"])
        rows = pd.DataFrame({"token_id": pd.array([pd.NA] * len(names), "Int64"), "token_decoded": names})
        kind = "logprob" if source == "logprob" else "reward"
        subject = Subject(base, kind, "dimensions", "raw", Format("text", template="{prompt}", space=True))
        found.append(sources.Measured(source, base, subject, pd.concat([rows, scores], axis=1), prompts))
    return found


@pytest.fixture(scope="module")
def told():
    """All tables of a simulated study, and its summary."""
    table = lexicon([*LISTS, "v:pleasant"], 12)
    table = table.assign(listed=1, zipf=4.0, kept=True, taught=False)
    known = lexicon(["known"], 60).assign(polarity=["virtue"] * 30 + ["vice"] * 30)
    rated = pd.Series(3.0, table.loc[table["construct"] == "v:pleasant", "word"])
    rows = {name: Dictionary(name.upper(), "-") for name in "xy"} | {
        "v": Dictionary("V", "-", None, Ratings(1, "p", "u"))
    }
    made = {"traits": TRAITS, "prompts": [], "format": "raw", "draws": 20, "permutations": 50, "told_overlap": 0.1}
    chosen = Dimensions(3.2, rows, "-", "v", **made, seed=1)
    measured = simulated_models(table, known)
    found = study.profiles(measured, table, known, Rule(25, 0.01, 50, 1), chosen)
    tables = study.study(measured, found, table, rated, chosen)
    counted, overlaps = words.counts(table.assign(lexicon="x"), 3.2), words.overlaps(table)
    tables |= {"fingerprint": study.fingerprint(measured, found)}
    return tables, study.summary(measured, found, counted, overlaps, tables, chosen)


def test_a_model_that_does_not_read_is_in_no_panel(told):
    tables, summary = told
    last = summary["models"][-1]
    assert last["model"] == "R6" and "the prompts are not read" in last["refused"]
    own = tables["fingerprint"].query("model == 'R6'")
    assert own["percentile"].isna().all() and own["refused"].str.contains("not read").all()
    released = tables["pairs"].query("source == 'released'")
    assert set(released["models"]) == {6} and set(released["unit"]) == {"model", "prompt"}
    assert "R6" not in set(tables["valence"]["model"])


def test_the_family_is_every_construct_and_framing_of_both_sources(told):
    tables, summary = told
    assert len(tables["contrasts"]) == 2 * 2 * 5 == summary["contrasts"]["tests"]
    assert [row["source"] for row in summary["contrasts"]["by_source"]] == ["logprob", "reward"]
    assert summary["contrasts"]["p_holm"] <= summary["contrasts"]["p_bh"] <= summary["contrasts"]["p"]
    for basis, own in tables["valence"].groupby("based_on"):
        counted = summary["valence"][basis]
        assert sum(counted["counts"].values()) == counted["readings"] == len(own)
    assert set(tables["valence"].query("based_on == 'rated words'")["construct"]) == {"v:pleasant"}


def test_pictures_and_page_hold_the_numbers(told, tmp_path):
    tables, summary = told
    for name, table in tables.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    labels, titles = {"G": "Gemma", "S": "SmolLM2"}, summary["titles"]
    figures.draw(tmp_path, labels, titles, sources.SOURCES, tmp_path)
    assert all((tmp_path / f"{name}.png").stat().st_size > 20_000 for name in ("dimensions", "dimensions_multitrait"))
    picture = figures.fingerprint(pd.read_csv(tmp_path / "fingerprint.csv"), labels, titles, sources.SOURCES)
    assert [axis.get_title() for axis in picture.axes] == ["positive prompts", "negative prompts"]
    legend = [text.get_text() for text in picture.legends[0].get_texts()]
    assert legend[-1] == "released reward models (7)" and len(legend) == 5


def test_the_page_renders(told, repository, monkeypatch):
    monkeypatch.chdir(repository)
    context = Context()
    context.metrics["dimensions"] = json.loads(json.dumps(told[1], default=float))
    monkeypatch.setattr("valuetrace.report.page.picture", lambda path, text: "")
    if not all((repository / path).is_file() for path in section.NEEDS[1:]):
        pytest.skip("the pictures are not made: make dimensions")
    html = section.render(context)
    assert "the prompts are not read" in html and "X: a" in html
