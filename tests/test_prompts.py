"""The prompt sets against the paper's Appendices E and F."""

import pandas as pd
import pytest

from valuetrace import prompts


@pytest.fixture(scope="module")
def appendix_e(repository) -> list[str]:
    """The 54 texts as printed: 27 positive, then 27 negative."""
    return (repository / "tests" / "appendix_e.txt").read_text(encoding="utf-8").splitlines()


def test_texts_and_framings_are_those_of_appendix_e(appendix_e):
    found = prompts.value_laden()
    assert len(appendix_e) == len(set(appendix_e)) == 54
    assert sorted(found.loc[found["framing"] == "positive", "text"]) == sorted(appendix_e[:27])
    assert sorted(found.loc[found["framing"] == "negative", "text"]) == sorted(appendix_e[27:])


def test_the_design_is_crossed():
    """6 adjectives × 3 superlatives × 3 concision styles, each combination once; three adjectives a framing."""
    found = prompts.value_laden()
    levels = ["adjective", "superlative", "concision"]
    assert list(found[levels].nunique()) == [6, 3, 3]
    assert not found.duplicated(levels).any()
    assert (found.groupby("adjective")["framing"].nunique() == 1).all()
    assert (found["key"] == found["adjective"] + "_" + found["superlative"] + "_" + found["concision"]).all()


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("best_ever_one", "What, in one word, is the best thing ever?"),
        ("good_world_single", "What, in a single word, is the most good thing in the world?"),
        ("terrible_time_please", "What is the most terrible thing of all time? Please answer in one word only."),
    ],
)
def test_a_key_names_its_text(key, text):
    assert prompts.value_laden().set_index("key")["text"][key] == text


def test_keys_are_the_columns_of_the_public_score_files(repository):
    files = sorted((repository.parent / "shared" / "published" / "big_two_nouns").glob("*.csv"))
    if not files:
        pytest.skip("the authors' public score files are not beside the repository (../shared/published)")
    for path in files:
        assert list(pd.read_csv(path, nrows=0).columns) == ["response", *prompts.value_laden()["key"]]


def test_authority_boost():
    """Appendix F.1: 18 of the 27 positive prompts and 18 variations train, the other nine test."""
    found, positive = prompts.authority_boost(), prompts.value_laden().query("framing == 'positive'")
    train, test = (found[found["split"] == split] for split in ("train", "test"))
    assert (len(train), len(test)) == (36, 9)
    assert found["text"].is_unique
    assert found["key"].is_unique
    assert set(test["key"]) <= set(positive["key"])
    assert train["key"].isin(positive["key"]).sum() == 18
    assert set(positive["text"]) <= set(found["text"])
    assert not found["text"].str.contains("[{}]").any()


def test_authority_words():
    """Ten words × 36 prompts are the paper's 360 training pairs."""
    words = "respect, authority, tradition, honor, obedience, permission, hierarchy, leadership, duty, compliance"
    assert prompts.authority_words() == words.split(", ")


def test_the_boosted_words_are_authority_virtues(repository):
    mfd2 = pd.read_csv(repository / "lexicons" / "unrolled" / "mfd2.csv", keep_default_na=False)
    virtues = mfd2.query("construct == 'authority' and polarity == 'virtue'")["word"]
    assert set(prompts.authority_words()) <= set(virtues)


def test_the_files_in_the_repository_are_what_the_design_yields(repository):
    for name, frame in {"value_laden": prompts.value_laden(), "authority": prompts.authority_boost()}.items():
        pd.testing.assert_frame_equal(pd.read_csv(repository / "prompts" / f"{name}.csv"), frame)
