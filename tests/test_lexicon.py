"""Dictionaries, unrolling, checks: on small files made here, and on the real sources where they are fetched."""

import importlib.util
import json
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from valuetrace import lexicon as lex
from valuetrace.core.errors import InputError
from valuetrace.core.files import write_csv
from valuetrace.core.settings import build
from valuetrace.lexicon import unrolled

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "data" / "assets"
PUBLISHED_NOUNS = ROOT / ".." / "shared" / "published" / "dict_big2_nouns.csv"
BIG_TWO = {"agency": "big2a_agen", "communion": "big2a_comm"}


# ---------------------------------------------------------------- fixtures


def synset(offset, part, words, pointers=()):
    """A line of a WordNet data file; ``pointers``: (symbol, offset, part, source and target as four hex digits)."""
    members = " ".join(f"{word} 0" for word in words)
    links = "".join(f" {' '.join(pointer)}" for pointer in pointers)
    return f"{offset:08d} 00 {part} {len(words):02x} {members} {len(pointers):03d}{links} | a gloss  \n"


@pytest.fixture(scope="module")
def small_wordnet(tmp_path_factory):
    """A WordNet of a few words, in the format of the real one."""
    folder = tmp_path_factory.mktemp("wordnet")
    nouns = [
        synset(1, "n", ["winner", "victor"], [("+", "00000020", "v", "0101")]),
        synset(2, "n", ["wing"]),
        synset(3, "n", ["winter", "wintertime"]),
        synset(4, "n", ["Winfield"], [("@i", "00000001", "n", "0000")]),
        synset(5, "n", ["win"]),
        synset(6, "n", ["help"]),
        synset(7, "n", ["common_sense"]),
        synset(8, "n", ["thought"]),
    ]
    verbs = [synset(20, "v", ["win"], [("+", "00000001", "n", "0101")]), synset(21, "v", ["help"])]
    adjectives = [synset(30, "s", ["galore(ip)"]), synset(31, "a", ["kind"])]
    adverbs = [synset(40, "r", ["kindly"], [("\\", "00000031", "a", "0101")])]
    licence = "  1 This software and database is being provided to you\n"
    for part, lines in zip(("noun", "verb", "adj", "adv"), (nouns, verbs, adjectives, adverbs), strict=True):
        (folder / f"data.{part}").write_text(licence + "".join(lines))
    (folder / "index.sense").write_text(
        "win%1:11:00:: 00000005 1 2\nwin%2:33:00:: 00000020 1 71\nwin%2:33:01:: 00000020 3 2\n"
        "help%1:04:00:: 00000006 1 5\nhelp%2:41:00:: 00000021 1 80\nthought%1:09:00:: 00000008 1 9\n"
        "kind%3:00:00:: 00000031 1 4\nwing%1:05:00:: 00000002 1 0\n"
    )
    return folder


@pytest.fixture(scope="module")
def words():
    """The vocabulary on the whole WordNet."""
    return lex.load_vocabulary(need(ASSETS / "wordnet" / "data.noun").parent)


@pytest.fixture(scope="module")
def big_two(words):
    """The Big Two dictionary, unrolled with the repository's edits."""
    dictionary = lex.load_lexicon(need(ASSETS / "big_two" / "big_two.json"), "big_two", BIG_TWO)
    edits = lex.read_edits(ROOT / "lexicons" / "big_two.edits.csv")
    return lex.unroll(dictionary, edits, wordnet=words)


def need(path):
    if not path.exists():
        pytest.skip(f"{path.relative_to(ROOT)} is not here: `dvc repro fetch` fetches it")
    return path


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def entries(lexicon):
    """(construct, polarity, word) of each row, in order."""
    return list(lexicon[["construct", "polarity", "word"]].itertuples(index=False, name=None))


# ---------------------------------------------------------------- WordNet


def test_wordnet_reads_readings_counts_and_links(small_wordnet):
    wordnet = lex.read_wordnet(small_wordnet)
    assert wordnet.readings["win"] == {"noun": 2, "verb": 73}
    assert wordnet.readings["galore"] == {"adjective": 0}
    assert wordnet.related == {"win": {"winner"}, "winner": {"win"}, "kind": {"kindly"}, "kindly": {"kind"}}


def test_wordnet_leaves_out_names_and_phrases(small_wordnet):
    readings = lex.read_wordnet(small_wordnet).readings
    assert not {"Winfield", "winfield", "common_sense", "common sense"} & set(readings)


def test_wordnet_missing_or_broken_files_are_named(small_wordnet, tmp_path):
    with pytest.raises(InputError, match=r"data\.noun"):
        lex.read_wordnet(tmp_path)
    for file in small_wordnet.iterdir():
        write(tmp_path / file.name, file.read_text())
    write(tmp_path / "data.verb", "no database\n")
    with pytest.raises(InputError, match=r"data\.verb: not a WordNet database"):
        lex.read_wordnet(tmp_path)
    write(tmp_path / "data.verb", "")
    write(tmp_path / "index.sense", "win 3\n")
    with pytest.raises(InputError, match=r"index\.sense"):
        lex.read_wordnet(tmp_path)


# ---------------------------------------------------------------- unrolling, small


def test_unroll_keeps_the_family_and_drops_words_that_start_alike(small_wordnet):
    unrolled = lex.unroll(["win*"], wordnet=small_wordnet)
    assert unrolled["word"].tolist() == ["win", "winner", "winners", "winning", "wins"]
    assert unrolled.columns.tolist() == list(lex.COLUMNS)
    assert set(unrolled["pattern"]) == {"win*"}
    parts = unrolled.set_index("word")["part_of_speech"]
    assert parts["win"] == "noun|verb" and parts["winners"] == "noun" and parts["winning"] == "verb"


def test_zipf_floor_is_a_floor(small_wordnet):
    words = lex.load_vocabulary(small_wordnet)
    common = lex.unroll(["win*"], zipf_floor=4.5, wordnet=words)["word"]
    assert set(common) == {w for w in lex.unroll(["win*"], wordnet=words)["word"] if words.zipf(w) >= 4.5}
    assert 0 < len(common) < 5


def test_entries_without_wildcard_stay_however_rare(small_wordnet):
    kept = lex.unroll({"a": ["qzxv", "common good", "open-hearted", "won't"]}, wordnet=small_wordnet)
    assert set(kept["word"]) == {"qzxv", "common good", "open-hearted", "won't"}
    assert set(kept["part_of_speech"]) == {"other"}
    assert lex.nouns(kept, small_wordnet).empty


def test_overlapping_patterns_give_a_word_once_to_the_most_specific(small_wordnet):
    unrolled = lex.unroll(["win*", "winner*", "winners"], wordnet=small_wordnet)
    assert not unrolled["word"].duplicated().any()
    assert unrolled.set_index("word")["pattern"][["win", "winner", "winners"]].tolist() == [
        "win*",
        "winner*",
        "winners",
    ]


def test_nouns_follow_the_stated_rule(small_wordnet):
    # won: a form of win, mostly a verb; thought: a noun of its own; winners: a form of a noun; help: 5 of 85
    found = lex.nouns(
        lex.unroll(["won", "wins", "thought", "winners", "help", "you"], wordnet=small_wordnet), small_wordnet
    )
    assert found["word"].tolist() == ["thought", "winners"]


def test_unroll_is_deterministic_and_ignores_the_order_of_entries(small_wordnet):
    patterns = {"a": ["win*", "help*"], "b": ["kind*", "wing"]}
    again = {"b": ["wing", "kind*"], "a": ["help*", "win*"]}
    pd.testing.assert_frame_equal(lex.unroll(patterns, wordnet=small_wordnet), lex.unroll(again, wordnet=small_wordnet))


@pytest.mark.parametrize("bad", ["*", "*win", "w*n", "win**", "a*", "", " ", "win *", "-*"])
def test_malformed_wildcards_are_refused(bad, small_wordnet):
    with pytest.raises(InputError, match="malformed entry"):
        lex.unroll(["help", bad], wordnet=small_wordnet)


def test_duplicates_and_empty_constructs_are_refused(small_wordnet):
    with pytest.raises(InputError, match="duplicate 'win\\*' in agency"):
        lex.unroll({"agency": ["win*", "Win*"]}, wordnet=small_wordnet)
    with pytest.raises(InputError, match="construct communion has no words"):
        lex.unroll({"agency": ["win*"], "communion": []}, wordnet=small_wordnet)
    with pytest.raises(InputError, match="no words"):
        lex.unroll([], wordnet=small_wordnet)
    with pytest.raises(InputError, match="construct b has no words left"):
        lex.unroll({"a": ["win*"], "b": ["qzxv*"]}, wordnet=small_wordnet)


def test_contrasted_constructs_share_no_word(small_wordnet):
    unrolled = lex.unroll({"a": ["win*"], "b": ["winner"], "c": ["help"]}, wordnet=small_wordnet)
    lex.check_contrasts(unrolled, [["a", "c"], ["b", "c"]], "mine")
    with pytest.raises(InputError, match=r"mine: contrasted constructs share 'winner' \(a, from win\*\)"):
        lex.check_contrasts(unrolled, [["a", "b"]], "mine")
    with pytest.raises(InputError, match="contrast names d"):
        lex.check_contrasts(unrolled, [["a", "d"]], "mine")
    assert lex.overlaps(unrolled) == {"a & b": 1}


def test_counts_by_construct_and_pattern(small_wordnet, tmp_path):
    source = write(tmp_path / "mine.csv", "construct,word\na,win*\na,kind*\na,qzxv*\na,winner\nb,help\n")
    dictionary = lex.load_lexicon(source)
    unrolled = lex.unroll(dictionary, wordnet=small_wordnet)
    assert lex.words_per_construct(unrolled) == {"a": len(unrolled) - 1, "b": 1}
    counts = lex.words_per_pattern(dictionary, unrolled)
    assert counts["wildcards"] == 3 and counts["no_word"] == ["a qzxv*"]
    assert counts["most"] == (unrolled["pattern"] == "win*").sum() == 4  # winner has an entry of its own
    assert counts["mean"] == round((len(unrolled) - 2) / 3, 2)


# ---------------------------------------------------------------- edits


HEADER = "action,construct,pattern,word,reason\n"


def edited(tmp_path, wordnet, *lines):
    edits = lex.read_edits(write(tmp_path / "edits.csv", HEADER + "\n".join(lines) + "\n"))
    return lex.unroll({"a": ["win*", "help*"]}, edits, wordnet=wordnet)


def test_edits_exclude_and_include(small_wordnet, tmp_path):
    plain = lex.unroll({"a": ["win*", "help*"]}, wordnet=small_wordnet)
    result = edited(tmp_path, small_wordnet, "exclude,a,win*,winn*,too many", "include,a,help*,helpmeet,quaint")
    changed = set(plain["word"]) ^ set(result["word"])
    assert changed == {"winner", "winners", "winning", "helpmeet"}
    row = result.set_index("word").loc["helpmeet"]
    assert (row["pattern"], row["construct"], row["part_of_speech"]) == ("help*", "a", "other")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["exclude,a,win*,winter,why"], "line 2: stale: win. .a. gives no 'winter'"),
        (["exclude,a,help*,winner,why"], "line 2: stale"),
        (["exclude,b,win*,winner,why"], "line 2: stale"),
        (["include,a,win*,winner,why"], "line 2: stale: a has 'winner' without this edit"),
        (["include,a,winn*,winnow,why"], "line 2: stale: a has no pattern winn"),
        (["include,a,win*,loser,why"], "line 2: cannot include 'loser'"),
        (["include,a,win*,wind*,why"], "line 2: cannot include"),
        (["exclude,a,win*,wins,why", "exclude,a,win*,wins,why"], "line 3: 'wins' repeats .*line 2"),
        (["exclude,a,win*,win*,why", "include,a,win*,window,why"], "line 3: include 'window' contradicts .*line 2"),
        (["include,a,win*,wing,why", "exclude,a,win*,wing,why"], "line 3: exclude 'wing' contradicts .*line 2"),
        (["drop,a,win*,wins,why"], "line 2: action 'drop'"),
        (["exclude,a,win*,wins,"], "line 2: an edit needs a word and a reason"),
        (["exclude,a,win*,wi*,why", "exclude,a,help*,he*,why"], "construct a has no words left"),
    ],
)
def test_bad_edits_name_their_line(lines, message, small_wordnet, tmp_path):
    with pytest.raises(InputError, match=message):
        edited(tmp_path, small_wordnet, *lines)


# ---------------------------------------------------------------- readers


def test_json_with_and_without_polarity(tmp_path):
    plain = write(tmp_path / "plain.json", '{"agency": ["Win*", "able"], "other": ["x1"]}')
    assert entries(lex.load_lexicon(plain)) == [("agency", "", "win*"), ("agency", "", "able"), ("other", "", "x1")]
    chosen = lex.load_lexicon(plain, "big", {"power": "agency"})
    assert entries(chosen) == [("power", "", "win*"), ("power", "", "able")]
    assert set(chosen["lexicon"]) == {"big"}
    moral = write(tmp_path / "moral.json", '{"care": {"virtue": ["kind"], "vice": ["harm"]}}')
    assert entries(lex.load_lexicon(moral)) == [("care", "virtue", "kind"), ("care", "vice", "harm")]
    assert set(lex.load_lexicon(moral)["lexicon"]) == {"moral"}


def test_dic_with_header_tabs_spaces_and_phrases(tmp_path):
    text = (
        "\ufeffMy dictionary, 2015\n\n%\n1\tposemo (Positive Emotions)\n02   care.virtue\n\n%\n"
        "happi*\t1\t2\r\nkind of  2\nyou’ll\t\t1\n  19 1\n\n"
    )
    read = lex.load_lexicon(write(tmp_path / "mine.dic", text))
    assert entries(read) == [
        ("posemo", "", "happi*"),
        ("posemo", "", "you'll"),
        ("posemo", "", "19"),
        ("care", "virtue", "happi*"),
        ("care", "virtue", "kind of"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 a\nwin 1\n", "0 lines hold a single %"),
        ("%\n1 a\nwin 1\n", "1 lines hold a single %"),
        ("%\none a\n%\nwin 1\n", "line 2: 'one a' is no category"),
        ("%\n1\n%\nwin 1\n", "line 2: '1' is no category"),
        ("%\n1 a\n1 b\n%\nwin 1\n", "line 3: category '1 b' stands twice"),
        ("%\n1 a\n%\nwin 1 3\n", "line 4: category 3 of 'win'"),
        ("%\n1 a\n%\nwin\n", "line 4: 'win' is not an entry"),
        ("%\n1 a\n2 b\n%\nlike\tmany\n", "line 5: .*is not an entry and its category numbers"),
        ("%\n1 a\n2 b\n%\nwin 1\n", "construct b has no words"),
        ("%\n1 a\n%\nwin 1\nwin 1\n", "duplicate 'win' in a"),
        ("%\n1 a\n%\nw*n 1\n", "malformed entry 'w\\*n'"),
    ],
)
def test_bad_dic_files(text, message, tmp_path):
    with pytest.raises(InputError, match=message):
        lex.load_lexicon(write(tmp_path / "bad.dic", text))


def test_dicx(tmp_path):
    text = "DicTerm,posemo,care.vice\nhappi*,X,\nnull,x, X \n"
    read = lex.load_lexicon(write(tmp_path / "mine.dicx", text))
    assert entries(read) == [("posemo", "", "happi*"), ("posemo", "", "null"), ("care", "vice", "null")]
    with pytest.raises(InputError, match=r"line 3: posemo is '0\.7'"):
        lex.load_lexicon(write(tmp_path / "weights.dicx", "DicTerm,posemo\nhappy,X\njoy,0.7\n"))
    with pytest.raises(InputError, match="construct negemo has no words"):
        lex.load_lexicon(write(tmp_path / "empty.dicx", "DicTerm,posemo,negemo\nhappy,X,\n"))
    with pytest.raises(InputError, match="no construct"):
        lex.load_lexicon(write(tmp_path / "none.dicx", "DicTerm\nhappy\n"))


def test_csv_in_the_authors_form(tmp_path):
    read = lex.load_lexicon(write(tmp_path / "nouns.csv", '"Category","token_decoded"\n"Agency","Choice"\n'))
    assert entries(read) == [("agency", "", "choice")]
    assert read.columns.tolist() == list(lex.COLUMNS)


def test_csv_in_our_own_form_comes_back_as_it_was_written(small_wordnet, tmp_path):
    unrolled = lex.unroll(["win*", "help"], wordnet=small_wordnet).assign(lexicon="mine", construct="a")
    read = lex.load_lexicon(write_csv(unrolled, tmp_path / "any.csv"))
    pd.testing.assert_frame_equal(read, unrolled)
    pd.testing.assert_frame_equal(lex.unroll(read, wordnet=small_wordnet), unrolled)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "word\nwin\n", "column construct is missing"),
        ("a.csv", "construct,word\n,win\n", "line 2: the construct of 'win' is empty"),
        ("a.csv", "construct,word,polarity\na,win,good\n", "polarity 'good'"),
        ("a.csv", "construct,word\na,win\na,WIN\n", "duplicate 'win' in a"),
        ("a.csv", "construct,word\n", "no words"),
        ("a.json", '{"a": "win"}', "'a' must hold a list"),
        ("a.json", "[1]", "must hold a list"),
        ("a.json", '{"a": []}', "construct a has no words"),
        ("a.json", '{"a": {"good": ["win"]}}', "polarity 'good'"),
        ("a.json", "{}", "no construct"),
        ("a.txt", "win", "unknown kind of dictionary"),
    ],
)
def test_bad_files(name, text, message, tmp_path):
    with pytest.raises(InputError, match=message):
        lex.load_lexicon(write(tmp_path / name, text))


def test_missing_file_and_missing_construct(tmp_path):
    with pytest.raises(InputError, match="no such dictionary"):
        lex.load_lexicon(tmp_path / "none.dic")
    source = write(tmp_path / "a.json", '{"a": ["win"]}')
    with pytest.raises(InputError, match=r"no construct b\. It has a"):
        lex.load_lexicon(source, constructs={"power": "b"})


# ---------------------------------------------------------------- the real sources

# Patterns that the Big Two dictionary does not have: words that must and must not come.
HELD_OUT = {
    "win*": ("win wins winning winner winners", "winter wing wings wine window wind wink windy"),
    "creat*": ("create creates creating creation creative creativity creator", ""),
    "hero*": ("hero heroes heroic heroism", "heroin heron herod"),
    "compass*": ("compass", "compassion compassionate"),
    "happi*": ("happier happiest happily happiness", ""),
    "studi*": ("studied studies", "studio studios"),
    "brav*": ("brave bravely bravest", "bravo"),
    "protect*": ("protect protected protection protective protector", "protectorate"),
    "fair*": ("fair fairer fairest fairly fairness", "fairy fairies fairway"),
    "wis*": ("wise wisely wiser wisest", "wish wishes wisconsin"),
    "sad*": ("sad sadder sadly sadness", "saddle sadist saddam"),
    "cap*": ("cap caps", "capable capital captain cape capture"),
    "part*": ("part parts parted", "party parties partner participate partridge"),
    "mother*": ("mother mothers motherhood motherly", "motherboard"),
    "virtu*": ("virtue virtues virtuous", "virtuoso"),
    "would*": ("would wouldn't would've", "wouldnt"),
    "they'*": ("they're they've they'll they'd", ""),
}


@pytest.mark.parametrize("pattern", HELD_OUT)
def test_held_out_patterns(pattern, words):
    expected, degenerate = (set(text.split()) for text in HELD_OUT[pattern])
    found = set(lex.unroll([pattern], wordnet=words)["word"])
    assert expected <= found
    assert not degenerate & found
    assert degenerate <= set(words.starting_with(pattern[:-1], lex.ZIPF_FLOOR))  # they were there to be taken


@pytest.mark.parametrize(
    ("pattern", "expected", "degenerate"),
    [
        ("achiev*", "achieve achieves achieved achieving achiever achievement achievements", ""),
        ("should*", "should shouldn't", "shoulder shoulders shouldnt"),
        ("unif*", "unify unified unification", "uniform uniforms uniformity"),
        ("squad*", "squad squads", "squadron squadrons"),
        ("success*", "success successful", "succession successor successive"),
        ("group*", "group groups grouping", "grouper"),
        ("commun*", "communal community communion communicate", "communism communist communique"),
        ("know*", "know knows knowing knowledge", "knowles"),
    ],
)
def test_big_two_patterns(pattern, expected, degenerate, big_two, words):
    found = set(big_two.loc[big_two["pattern"] == pattern, "word"])
    assert set(expected.split()) <= found
    assert not set(degenerate.split()) & found
    assert set(degenerate.split()) <= set(words.starting_with(pattern[:-1], lex.ZIPF_FLOOR))


def test_big_two_is_whole(big_two):
    assert not big_two.duplicated(["construct", "word"]).any()
    dictionary = lex.load_lexicon(ASSETS / "big_two" / "big_two.json", "big_two", BIG_TWO)
    assert lex.words_per_construct(dictionary) == {"agency": 192, "communion": 184}
    assert lex.words_per_pattern(dictionary, big_two)["no_word"] == []
    literal = set(dictionary.loc[~dictionary["word"].str.endswith("*"), "word"])
    assert literal <= set(big_two["word"])
    lex.check_contrasts(big_two, [["agency", "communion"]], "big_two")
    for row in big_two.itertuples():
        assert row.word == row.pattern or row.word.startswith(row.pattern.removesuffix("*"))


def test_committed_lists_are_what_the_library_makes(big_two, words):
    for name, made in (("big_two", big_two), ("big_two_nouns", lex.nouns(big_two, words))):
        committed = lex.load_lexicon(need(ROOT / "lexicons" / "unrolled" / f"{name}.csv"))
        pd.testing.assert_frame_equal(committed, made)


def test_mfd2_has_ten_categories_without_overlap(words):
    mfd2 = lex.unroll(lex.load_lexicon(need(ASSETS / "mfd2" / "mfd2.json")), wordnet=words)
    counts = lex.words_per_construct(mfd2)
    assert len(counts) == 10 and sum(counts.values()) == 2040
    assert (counts["care.virtue"], counts["loyalty.vice"]) == (170, 34)
    assert lex.overlaps(mfd2) == {}


def test_nouns_agree_with_the_authors_list(big_two, words):
    """Measured: 0.89 of their 263 nouns are in ours; 0.48 of all words that either list has are in both."""
    if not PUBLISHED_NOUNS.exists():
        pytest.skip("the authors' noun list is not beside the repository")
    theirs = {(construct, word) for construct, _, word in entries(lex.load_lexicon(PUBLISHED_NOUNS))}
    ours = {(construct, word) for construct, _, word in entries(lex.nouns(big_two, words))}
    assert len(theirs) == 263
    assert len(ours & theirs) / len(theirs) >= 0.85
    assert len(ours & theirs) / len(ours | theirs) >= 0.45


# ---------------------------------------------------------------- the stage


@pytest.fixture
def stage(monkeypatch):
    spec = importlib.util.spec_from_file_location("lexicons_stage", ROOT / "stages" / "lexicons.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


MORAL = [("good", "virtue"), ("love", "virtue"), ("aloofness", "virtue"), ("hate", "vice"), ("war", "vice")]
KNOWN_VIRTUES = ["good", "love"]


def moral(rows) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["word", "polarity"]).assign(lexicon="moral", construct="c", part_of_speech="")
    return frame.assign(pattern=frame["word"])[list(lex.COLUMNS)]


def test_known_groups_are_the_frequent_words_of_one_polarity_that_nothing_measures():
    more = [("law", "virtue"), ("law", "vice"), ("war crime", "vice"), ("the", "virtue"), ("kill", "vice")]
    twice = moral([("love", "virtue")]).assign(construct="d")  # of two constructs, once
    lexicon, measured = pd.concat([moral([*MORAL, *more]), twice]), moral([("the", "virtue"), ("war", "vice")])
    found = lex.known_groups(lexicon, [measured], 2)
    assert found.groupby("polarity")["word"].apply(sorted).to_dict() == {
        "vice": ["hate", "kill"],
        "virtue": KNOWN_VIRTUES,
    }
    assert set(found["construct"]) == {"known"} and set(found["lexicon"]) == {unrolled.KNOWN_GROUPS}
    with pytest.raises(InputError, match=r"lexicons\.known_groups: .*3 a side are asked for"):
        lex.known_groups(lexicon, [measured], 3)


def test_stage_writes_lists_and_metrics(stage, small_wordnet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "mine.json", '{"a1": ["win*"], "b1": ["help*", "you"], "c1": ["unused"]}')
    write(tmp_path / "edits.csv", HEADER + "exclude,power,win*,wins,why\n")
    write(
        tmp_path / "params.yaml",
        f"lexicons:\n  wordnet: {small_wordnet}\n  zipf_floor: 2.5\n  sources:\n    mine:\n      path: mine.json\n"
        "      constructs: {power: a1, warmth: b1}\n      edits: edits.csv\n      contrasts: [[power, warmth]]\n"
        "      nouns: true\n    moral:\n      path: moral.csv\n  known_groups: {source: moral, words: 2}\n",
    )
    write(
        tmp_path / "moral.csv",
        "word,lexicon,construct,polarity,pattern,part_of_speech\n"
        + "".join(f"{w},moral,c,{p},{w},\n" for w, p in MORAL),
    )
    stage.main()
    out = tmp_path / "lexicons" / "unrolled"
    full, nouns = (lex.load_lexicon(out / name) for name in ("mine.csv", "mine_nouns.csv"))
    known = unrolled.read_lexicon(unrolled.KNOWN_GROUPS)
    assert known.groupby("polarity")["word"].apply(list).to_dict() == {"vice": ["hate", "war"], "virtue": KNOWN_VIRTUES}
    assert set(full["construct"]) == {"power", "warmth"} and "wins" not in set(full["word"])
    assert nouns["word"].tolist() == ["winner", "winners"]
    metrics = json.loads((tmp_path / "metrics" / "lexicons.json").read_text())["mine"]
    assert metrics["words"] == len(full) and metrics["nouns"] == 2 and metrics["edits"] == {"exclude": 1}
    assert metrics["words_per_pattern"]["wildcards"] == 2


def test_parameters_of_the_stage_fit_its_dataclass(stage):
    text = (ROOT / "conf" / "lexicons.yaml").read_text(encoding="utf-8")
    params = build(stage.Lexicons, yaml.safe_load(text)["lexicons"], "conf/lexicons.yaml")
    assert set(params.sources) == {"big_two", "mfd2"} and params.sources["big_two"].nouns


def test_conditional_entries_of_liwc_are_left_out_and_named(tmp_path):
    path = tmp_path / "liwc.dic"
    path.write_text("%\n1 a\n2 b\n%\nlike\t(02 134)125/464\nkind <of>131/125\t2\ngood\t1 2\nbad\t2\n")
    with pytest.warns(UserWarning, match=r"left out 2 conditional entries: 'like.*', 'kind"):
        found = lex.load_lexicon(path)
    assert set(zip(found["word"], found["construct"], strict=True)) == {("good", "a"), ("good", "b"), ("bad", "b")}


def test_wildcards_that_match_nothing_are_named(small_wordnet):
    with pytest.warns(UserWarning, match=r"1 wildcards match no word: qqxzj\*"):
        found = lex.unroll({"agency": ["help*", "qqxzj*"]}, wordnet=small_wordnet)
    assert "help" in set(found["word"])


def test_composed_and_decomposed_letters_are_one_word(tmp_path):
    path = tmp_path / "twins.csv"
    path.write_text("construct,word\none,café\none,cafe\u0301\n", encoding="utf-8")
    with pytest.raises(InputError, match="duplicate 'café' in one"):
        lex.load_lexicon(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("construct,word,weight\none,love,0.5\n", "has a column weight"),
        ("construct,word\n,love\n,hate\n", "column construct is empty in every line"),
    ],
)
def test_columns_that_mean_nothing_here_are_named(tmp_path, text, message):
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        lex.load_lexicon(path)
