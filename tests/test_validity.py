"""Readings: planted ones, none, reversed ones, a plain loop, a simulation, and the authors' released rewards."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from valuetrace import lexicon, prompts, tables
from valuetrace.measures import validity

RULE = validity.Rule(least_known=25, least_probability=0.01, draws=400, seed=1)
FRAMING = pd.Series(["positive"] * 3 + ["negative"] * 3, index=["p1", "p2", "p3", "n1", "n2", "n3"])
WORDS = [f"w{i:03d}" for i in range(200)]
KNOWN = pd.DataFrame({"word": WORDS[:80], "polarity": ["virtue"] * 40 + ["vice"] * 40})


def planted(shift: float, noise: float = 0.05, seed: int = 0, of_negative: float = -1) -> pd.DataFrame:
    """What is liked under both framings, and ``shift`` towards virtues after positive, away after negative prompts."""
    rng = np.random.default_rng(seed)
    side = np.r_[np.ones(40), -np.ones(40), np.zeros(120)][:, None]
    sign = np.array([1, 1, 1, *[of_negative] * 3])
    scores = rng.normal(size=(200, 1)) + shift * side * sign + noise * rng.normal(size=(200, 6))
    return pd.DataFrame(scores, index=pd.Index(WORDS, name="word"), columns=FRAMING.index)


def reading(scores: pd.DataFrame, known: pd.DataFrame = KNOWN, rule: validity.Rule = RULE, **more) -> dict:
    return validity.reading(scores, FRAMING, known, rule, **more)


def test_a_model_that_ignores_the_prompt_agrees_with_itself_and_is_refused():
    scores = planted(0.0, noise=0.0).add(np.arange(6.0))  # every prompt has another level, and the same order
    found = reading(scores)
    assert found["framing"] == {
        name: pytest.approx({"estimate": 1, "low": 1, "high": 1}) for name in ("within", "across")
    }
    assert found["known_groups"]["difference"] == pytest.approx({"estimate": 0, "low": 0, "high": 0}, abs=1e-9)
    assert found["refused"].startswith("the prompts are not read: virtues less vices")
    assert "\n" not in found["refused"] + found["needs"]


def test_what_a_model_likes_whatever_it_is_asked_is_no_reading():
    """Virtues far above vices after every prompt: a clear gap, and none that the framing makes."""
    groups = reading(planted(1.0, of_negative=1))
    assert groups["known_groups"]["positive"]["low"] > 20 < groups["known_groups"]["negative"]["low"]
    assert groups["refused"]


def test_a_planted_reading_passes_and_its_reverse_is_refused():
    found, reverse = reading(planted(1.0)), reading(planted(-1.0))
    assert found["refused"] is found["needs"] is None
    groups = found["known_groups"]
    assert (groups["virtue"], groups["vice"]) == (40, 40)
    assert groups["positive"]["low"] > 0 > groups["negative"]["high"]
    assert found["framing"]["within"]["low"] > found["framing"]["across"]["high"]
    assert reverse["known_groups"]["difference"]["high"] < -25 and reverse["refused"]


def test_the_threshold_has_two_sides():
    scores = planted(0.6)
    at = reading(scores)["known_groups"]["difference"]["estimate"]
    assert at > 0
    for least, reads in ((at - 0.01, True), (at, True), (at + 0.01, False)):
        rule = validity.Rule(least_known=least, least_probability=0.01, draws=200, seed=1)
        assert (reading(scores, rule=rule)["refused"] is None) == reads


def estimate(value: float, half: float = 5) -> dict:
    return {"estimate": value, "low": value - half, "high": value + half}


@pytest.mark.parametrize(
    ("positive", "negative", "half", "reads"),
    [
        (13, -12, 5, True),
        (13, -11.9, 5, False),  # less than 25 apart
        (30, 1, 5, False),  # far apart, of one sign
        (-1, -30, 5, False),
        (30, 0, 5, False),
        (30, -30, 61, False),  # the words are too few to tell
        (-30, 30, 5, False),
    ],
)
def test_verdict(positive, negative, half, reads):
    groups = {"positive": estimate(positive), "negative": estimate(negative)}
    refused, needs = validity.verdict(groups | {"difference": estimate(positive - negative, half)}, RULE)
    assert (refused is None, needs is None) == (reads, reads)


def test_too_few_known_words_and_one_framing_only_are_refused():
    few = pd.concat([KNOWN.head(45)])  # 40 virtues and 5 vices
    found = reading(planted(1.0), few)
    assert found["refused"] == "only 40 and 5 words of the known groups are scored"
    assert set(found["known_groups"]) == {"virtue", "vice"} and found["framing"]["within"]["estimate"] > 0.5
    assert reading(planted(1.0), KNOWN.head(46))["refused"] is None  # six
    one = reading(planted(1.0)[["p1", "p2", "p3"]])
    assert one["refused"] == "there are no negative prompts" and one["needs"] == "prompts of both framings"
    assert set(one["framing"]) == {"within"} and "difference" not in one["known_groups"]


def test_known_groups_and_agreement_are_those_of_a_plain_loop():
    scores = planted(0.5, noise=0.5, seed=3).round(1)  # ties
    measured = pd.Index(WORDS[80:])
    found = reading(scores, measured=measured)
    ranks = {key: dict(zip(WORDS, stats.rankdata(-scores[key]), strict=True)) for key in scores}
    of_framing = {}
    for framing in ("positive", "negative"):
        sides = {"virtue": [], "vice": []}
        for word, polarity in KNOWN.itertuples(index=False):
            own = [100 * (200 - ranks[key][word]) / 199 for key in FRAMING.index if FRAMING[key] == framing]
            sides[polarity].append(np.mean(own))
        of_framing[framing] = np.mean(sides["virtue"]) - np.mean(sides["vice"])
        assert found["known_groups"][framing]["estimate"] == pytest.approx(of_framing[framing])
    by_hand = of_framing["positive"] - of_framing["negative"]
    assert found["known_groups"]["difference"]["estimate"] == pytest.approx(by_hand)
    pairs = {"within": [], "across": []}
    for i, one in enumerate(FRAMING.index):
        for other in FRAMING.index[i + 1 :]:
            own = [[ranks[key][word] for word in measured] for key in (one, other)]
            pairs["within" if FRAMING[one] == FRAMING[other] else "across"].append(np.corrcoef(own)[0, 1])
    assert {name: of["estimate"] for name, of in found["framing"].items()} == pytest.approx(
        {name: np.mean(values) for name, values in pairs.items()}
    )


def test_intervals_over_words_cover_what_was_planted():
    """Words drawn from one population: the difference in the population lies in about 95 % of intervals."""

    def table(n: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        rng = np.random.default_rng(seed)
        side = np.r_[np.ones(n), -np.ones(n)]
        scores = rng.normal(size=(2 * n, 1)) + 0.5 * side[:, None] * np.array([1, -1]) + rng.normal(size=(2 * n, 2))
        words = pd.DataFrame({"word": [f"w{i}" for i in range(2 * n)], "polarity": ["virtue"] * n + ["vice"] * n})
        return pd.DataFrame(scores, index=words["word"], columns=["p1", "n1"]), words

    truth = reading(*table(20_000, 0), rule=validity.Rule(25, 0.01, 2, 1))["known_groups"]["difference"]["estimate"]
    covered = 0
    for seed in range(1, 121):
        found = reading(*table(30, seed), rule=validity.Rule(25, 0.01, 300, seed))["known_groups"]["difference"]
        covered += found["low"] <= truth <= found["high"]
    assert 105 <= covered <= 119  # ranks among few words make the interval a little wide or narrow


def test_a_lexicon_adds_its_own_virtues_and_vices():
    known = pd.DataFrame({"word": ["love", "hate", "both"], "polarity": ["virtue", "vice", "virtue"]})
    own = pd.DataFrame(
        {"word": ["love", "both", "loyal", "power"], "polarity": ["virtue", "vice", "virtue", ""], "construct": "c"}
    )
    found = validity.with_own(known, own)
    assert dict(found.itertuples(index=False)) == {"love": "virtue", "hate": "vice", "loyal": "virtue"}


def test_words_that_a_language_model_does_not_say_are_refused():
    assert list(validity.improbable({"positive": 0.0099, "negative": 0.01}, RULE)) == ["positive"]


def test_the_rule_of_the_repository_is_read_whatever_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert validity.rule().least_known == 25


# --- the authors' released rewards ---------------------------------------------------------------


@pytest.fixture
def upstream(repository):
    folder = repository.parent / "shared/published/upstream/data"
    if folder.is_dir():
        return folder
    pytest.skip("../shared/published/upstream is not here")


def test_the_ten_published_reward_models_read_their_prompts(upstream):
    """On the words of MFD2, virtue − vice is +27 to +38 after positive and −22 to −38 after negative prompts."""
    known = lexicon.load_lexicon(upstream / "corpora/moral-foundations-dictionary-20.dicx", "mfd2")
    framing = prompts.value_laden().set_index("key")["framing"]
    paths = sorted((upstream / "reward_model_scores/dict_MFD_20").glob("*.csv"))
    assert len(paths) == 10
    for path in paths:
        found = validity.reading(_scores(path, framing), framing, known, RULE)
        groups = found["known_groups"]
        assert found["refused"] is None
        assert (groups["virtue"], groups["vice"]) == (989, 1051)
        assert 26.5 <= groups["positive"]["estimate"] <= 38.5 and -38.5 <= groups["negative"]["estimate"] <= -21.5


def test_the_published_rankings_of_big_two_nouns_depend_on_the_framing(upstream):
    framing = prompts.value_laden().set_index("key")["framing"]
    paths = sorted((upstream / "reward_model_scores/dict_big2_nouns").glob("*.csv"))
    assert len(paths) == 10
    of = partial(validity.reading, framing=framing, known=KNOWN, chosen=RULE)
    found = [of(_scores(path, framing))["framing"] for path in paths]
    within, across = (np.array([row[name]["estimate"] for row in found]) for name in ("within", "across"))
    assert within.min() >= 0.815 and within.max() <= 0.965
    assert across.min() >= -0.115 and across.max() <= 0.355


def _scores(path, framing: pd.Series) -> pd.DataFrame:
    return tables.read_scores(path).drop_duplicates("token_decoded").set_index("token_decoded")[list(framing.index)]
