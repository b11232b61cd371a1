"""The paper from its own released data: how files come here, what is read from them, and the table of claims."""

import hashlib
import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from valuetrace import assets, prompts
from valuetrace.core import files, settings
from valuetrace.core.errors import InputError
from valuetrace.figures import published as figures
from valuetrace.measures.bases.implicit import Analysis, Tokens
from valuetrace.measures.published import checkpoints, claims, inputs, logprobs, sources, training
from valuetrace.measures.published.inputs import Comparison, Published
from valuetrace.stats.ranks import kendall

FILES = {"data/corpora/a.csv": b"word\nfreedom\n", "data/reward_model_training/b.csv": b"step\n1000\n"}
REWARDS = {"data/reward_model_training/greatest_ever_one_across_checkpoints_gemma.parquet": b"rewards"}


def git_blob(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@pytest.fixture
def source(tmp_path, monkeypatch) -> sources.Sources:
    """A small upstream below tmp_path/upstream, served by file URLs; the working folder is empty."""
    for path, content in (FILES | REWARDS).items():
        (tmp_path / "upstream" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "upstream" / path).write_bytes(content)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv(assets.MIRROR, raising=False)
    monkeypatch.setattr(assets.time, "sleep", lambda _: None)
    monkeypatch.setattr(sources, "_fetch_from_hub", unreachable_hub)
    return sources.Sources(
        source="s",
        licence="l",
        url=(tmp_path / "upstream").as_uri() + "/",
        files={path: f"sha256:{hashlib.sha256(content).hexdigest()}" for path, content in FILES.items()},
        checkpoints={path: f"git:{git_blob(content)}" for path, content in REWARDS.items()},
        logprobs=sources.Dataset("owner/set", None),
    )


FETCH_FROM_HUB = sources._fetch_from_hub


def unreachable_hub(*_):
    raise sources.Unreachable("data set owner/set cannot be fetched (no network).")


# --- fetching ------------------------------------------------------------------------------------


def test_files_come_by_url_and_stay(source, tmp_path, capsys):
    lacks = sources.fetch(source)
    assert (sources.FETCHED / "corpora/a.csv").read_bytes() == FILES["data/corpora/a.csv"]
    assert (sources.FETCHED / "reward_model_training" / REWARDS_NAME).read_bytes() == b"rewards"
    assert lacks == ["log-probabilities of the language models (12 files)"]
    assert capsys.readouterr().err.count("\n") == 1
    shutil.rmtree(tmp_path / "upstream")  # what is here and whole is not asked for again
    assert sources.fetch(source) == lacks


REWARDS_NAME = next(iter(REWARDS)).rpartition("/")[2]


@pytest.mark.parametrize("path", [*FILES, *REWARDS])
@pytest.mark.parametrize("mirrored", [True, False])
@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b"x" + b[1:], lambda b: b""])
def test_a_changed_file_is_refused_by_name_and_not_kept(source, tmp_path, monkeypatch, path, mirrored, change):
    """From the mirror as by URL; a part that may be lacking, too."""
    target = tmp_path / "upstream" / path
    target.write_bytes(change(target.read_bytes()))
    if mirrored:
        monkeypatch.setenv(assets.MIRROR, str(tmp_path / "upstream"))
    with pytest.raises(InputError, match=re.escape(path)) as error:
        sources.fetch(source)
    assert "not the file that conf/published.yaml names" in str(error.value)
    assert not list(sources.FETCHED.rglob(f"*{target.name}*"))


def test_a_file_that_was_changed_here_is_fetched_again(source):
    sources.fetch(source)
    here = sources.FETCHED / "corpora/a.csv"
    here.write_bytes(b"word\nserfdom\n")
    sources.fetch(source)
    assert here.read_bytes() == FILES["data/corpora/a.csv"]


def test_parts_may_be_lacking_and_needed_files_may_not(source, tmp_path, capsys):
    (tmp_path / "upstream" / next(iter(REWARDS))).unlink()
    lacks = sources.fetch(source)
    assert lacks[0] == "rewards of the whole vocabulary at every checkpoint (1 files)"
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lacks")]
    assert len(said) == 2
    assert assets.MIRROR in said[0] and REWARDS_NAME in said[0] and "make published" in said[0]
    (tmp_path / "upstream/data/corpora/a.csv").unlink()
    shutil.rmtree(sources.FETCHED)
    with pytest.raises(InputError, match=r"a\.csv cannot be fetched"):
        sources.fetch(source)


def test_log_probabilities_come_from_the_mirror(source, tmp_path, monkeypatch):
    names = [sources.logprobs_file(name) for name in sources.language_models()["repository"]]
    assert "google--gemma-2-2b.csv" in names and len(names) == 12
    monkeypatch.setenv(assets.MIRROR, str(tmp_path / "upstream"))
    folder = tmp_path / "upstream/data/logprobs"
    folder.mkdir()
    for name in names[1:]:
        (folder / name).write_text(name)
    assert len(sources.fetch(source)) == 1
    (folder / names[0]).write_text("x")
    assert sources.fetch(source) == []
    assert {path.name for path in (sources.FETCHED / "logprobs").iterdir()} == set(names)


class Hub:
    """A data set of one file a language model, each with its SHA-256, ``wrong`` with another."""

    def __init__(self, wrong: str = ""):
        self.wrong = wrong

    def dataset_info(self, name, revision=None, files_metadata=False):
        names = [sources.logprobs_file(model) for model in sources.language_models()["repository"]]
        sums = {n: hashlib.sha256((n + "!" * (n == self.wrong)).encode()).hexdigest() for n in names}
        listed = [SimpleNamespace(rfilename=n, lfs=SimpleNamespace(sha256=sums[n])) for n in names]
        return SimpleNamespace(sha="a" * 40, siblings=listed)

    @staticmethod
    def download(repository, name, repo_type, revision, local_dir):
        assert (repository, repo_type, revision) == ("owner/set", "dataset", "a" * 40)
        (local_dir / name).write_text(name)


def test_log_probabilities_come_from_the_hub_checked_and_their_revision_is_recorded(source, monkeypatch):
    monkeypatch.setattr(sources, "_fetch_from_hub", FETCH_FROM_HUB)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", Hub.download)
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: Hub("google--gemma-2-9b-it.csv"))
    with pytest.raises(InputError, match=r"data set owner/set: google--gemma-2-9b-it\.csv: expected sha256"):
        sources.fetch(source)
    assert not (sources.FETCHED / "logprobs/google--gemma-2-9b-it.csv").exists()
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    assert sources.fetch(source) == []
    assert len(list((sources.FETCHED / "logprobs").iterdir())) == 12
    assert files.read_json(sources.REVISIONS) == {"owner/set": "a" * 40}


@pytest.mark.parametrize("digest", ["9554", "sha1:" + "0" * 40, "git:" + "0" * 64, "sha256:" + "G" * 64])
def test_a_row_without_a_digest_is_refused(digest):
    with pytest.raises(ValueError, match="neither sha256"):
        sources.Sources("s", "l", "u", {"data/a": digest}, {}, sources.Dataset("x", None))


def test_the_digest_of_a_git_blob_is_git_s(tmp_path):
    (tmp_path / "a").write_bytes(b"hello\n")
    assert sources.is_what(tmp_path / "a", "git:ce013625030ba8dba906f756967f9e9ca394464a")  # git hash-object


# --- readers, on small files of the released form ------------------------------------------------


def test_medians_are_read_from_every_released_form(tmp_path):
    """Rows repeated, an index column with or without a name, one base under several spellings."""
    head = '"","model_id","Category","checkpoint","base_model","sum_value"\n'
    (tmp_path / "a.csv").write_text(
        head
        + '"1","google--gemma-2b-it","Agency",1000,"Gemma",735.5\n' * 3
        + '"2","gemma2b_unified27k_lora","Communion",1000,"NA",700\n'
    )
    found = inputs.read_medians(tmp_path / "a.csv")
    assert found.to_dict("records") == [
        {"base": "Gemma", "construct": "agency", "step": 1000, "median_rank": 735.5, "copies": 3},
        {"base": "Gemma", "construct": "communion", "step": 1000, "median_rank": 700.0, "copies": 1},
    ]
    for line, message in (
        ('"3","other","Agency",1,"x",1\n', "the base of other is not known"),
        ('"3","google--gemma-2b-it","Agency",1000,"Gemma",9\n', "stands with two medians"),
        ('"3","google--gemma-2b-it","Agency",last,"Gemma",9\n', "holds no number"),
    ):
        (tmp_path / "b.csv").write_text((tmp_path / "a.csv").read_text() + line)
        with pytest.raises(InputError, match=message):
            inputs.read_medians(tmp_path / "b.csv")
    with pytest.raises(InputError, match="column model_id"):
        (tmp_path / "c.csv").write_text("a,b\n1,2\n")
        inputs.read_medians(tmp_path / "c.csv")


def rewards_file(path, tokens, by_step: dict, **extra) -> None:
    columns = {"token_id": range(len(tokens)), "token_decoded": tokens} | extra
    pq.write_table(pa.table(columns | {f"step-{step}": values for step, values in by_step.items()}), path)


def test_rewards_of_checkpoints_are_read_in_the_order_of_the_steps(tmp_path):
    path = tmp_path / "r.parquet"
    rewards_file(path, ["a", " b", "\x00", None], {9578: [1, 2, 3, 4.0], 1000: [4, 3, 2, 1.0]})
    found = inputs.read_rewards(path)
    assert list(found.columns) == [1000, 9578] and list(found.index) == ["a", " b", "\x00"]
    assert found[9578].tolist() == [1, 2, 3]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"r\.parquet: not a parquet file, or damaged"):
        inputs.read_rewards(path)
    rewards_file(path, ["a"], {1: [1.0]})
    with pytest.raises(InputError, match="two step-… columns are needed"):
        inputs.read_rewards(path)
    rewards_file(path, ["a"], {1: [1.0], 2: [float("nan")]})
    with pytest.raises(InputError, match="1 rewards are no finite numbers"):
        inputs.read_rewards(path)
    with pytest.raises(InputError, match="make published"):
        inputs.read_rewards(tmp_path / "none.parquet")


def test_tokens_are_ranked_once_for_each_row_of_their_word():
    words = pd.DataFrame({"word": ["skill", "skill", "love"], "construct": ["agency", "agency", "communion"]})
    tokens = pd.Series([" Skill", "skill", "Love\n", "caf\u00e9", "\u611blove", "", "x"])
    found = inputs.ranked_tokens(tokens, words)
    assert sorted(found["token"]) == sorted([" Skill", " Skill", "skill", "skill", "Love\n", "\u611blove"])


# --- checkpoints ---------------------------------------------------------------------------------

WORDS = pd.DataFrame(
    {"word": [f"{c}{i}" for c in "ac" for i in range(8)], "construct": ["agency"] * 8 + ["communion"] * 8}
)
TOKENS = [form.format(word) for word in WORDS["word"] for form in ("{}", " {}")] + [f"other{i}" for i in range(40)]


def rewards(seed: int, steps=(1000, 2000, 3000)) -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(size=(len(TOKENS), len(steps)))
    return pd.DataFrame(values, index=pd.Index(TOKENS, name="token"), columns=list(steps))


def test_medians_of_checkpoints_are_those_of_a_plain_calculation():
    """A repeated word counts repeatedly in ``median_rank`` and once in ``once``; the gap is the difference of leans."""
    repeated = pd.concat([WORDS, WORDS.head(1)], ignore_index=True)
    given = {"A": rewards(1), "B": rewards(2)}
    table, gaps = checkpoints.medians(given, pd.Series(TOKENS), repeated, draws=50, seed=1)
    for base, frame in given.items():  # noqa: B007 (query reads it)
        listed = [token for word in repeated["word"] for token in (word, f" {word}")]
        ranks = frame.loc[listed].reset_index(drop=True).rank(ascending=False)  # pandas, row by row
        once = frame.loc[TOKENS[:32]].rank(ascending=False)
        for construct, at in (("agency", [*range(16), 32, 33]), ("communion", range(16, 32))):  # noqa: B007 (query reads it)
            own = table.query("base == @base and construct == @construct").set_index("step")
            assert own["median_rank"].tolist() == ranks.iloc[list(at)].median().tolist()
            assert own["once"].tolist() == once.iloc[[i for i in at if i < 32]].median().tolist()
    assert (table["rows"] == 34).all() and (table["tokens"] == 32).all()
    wide = table.pivot(index=["base", "step"], columns="construct", values="median_rank")
    lean = (wide["agency"] - wide["communion"]).unstack(0)
    assert gaps["gap"].tolist() == (lean["B"] - lean["A"]).tolist()


def test_the_interval_of_a_gap_holds_nothing_where_there_is_none():
    """Two bases whose rewards are independent of the construct: a 95 % interval over words misses 0 about as rarely."""
    missed = 0
    for seed in range(60):
        given = {"A": rewards(2 * seed, (1, 2)), "B": rewards(2 * seed + 1, (1, 2))}
        _, gaps = checkpoints.medians(given, pd.Series(TOKENS), WORDS, draws=200, seed=seed)
        missed += int(gaps["low"].iloc[-1] > 0 or gaps["high"].iloc[-1] < 0)
    assert missed <= 9  # P(more than 9 of 60 at 5 %) is .001


def test_movers_average_the_spellings_of_a_word():
    frame = rewards(3)
    found = checkpoints.movers({"A": frame}, WORDS, 3)
    by_word = pd.DataFrame({word: frame.loc[[word, f" {word}"]].mean() for word in WORDS["word"]}).T
    ranks = by_word.rank(ascending=False)
    change = (ranks[1000] - ranks[3000]).sort_values()
    top = found.drop_duplicates(["direction", "place"]).set_index(["direction", "place"])
    assert top.loc[("up", 1), "change"] == change.iloc[-1] and top.loc[("down", 1), "change"] == change.iloc[0]
    assert (found["words"] == 16).all()
    path = found.query("direction == 'up' and place == 1").set_index("step")["rank"]
    assert path.to_dict() == ranks.loc[top.loc[("up", 1), "word"]].to_dict()


def test_agreement_and_extremes():
    frame = rewards(4)
    tau = checkpoints.agreement({"A": frame}).set_index("step")["kendall"]
    assert tau[3000] == pytest.approx(1) and tau[1000] == kendall(frame[1000], frame[3000])
    ends = checkpoints.extremes({"A": frame}, 2).drop_duplicates(["chosen_at", "side", "place"])
    ends = ends.set_index(["chosen_at", "side", "place"])["token"]
    assert ends["last", "top", 1] == frame[3000].idxmax() and ends["first", "bottom", 1] == frame[1000].idxmin()


def test_the_stage_s_pictures_are_drawn_from_their_tables(tmp_path, upstream):
    chosen = settings.get("published", Published, settings.ROOT / settings.PARAMS)
    given = {"Gemma": rewards(1), "Llama": rewards(2), "Qwen": rewards(3)}
    found = {
        "movers": checkpoints.movers(given, WORDS, chosen.movers),
        "kendall": checkpoints.agreement(given),
        "extremes": checkpoints.extremes(given, chosen.extremes),
    }
    rows = training.runs()
    medians = training.medians(rows)
    for name, table in (found | training.tables(rows, medians, training.gaps(medians))).items():
        files.write_csv(table, tmp_path / f"{name}.csv")
    drawn = {path.name for path in figures.draw(tmp_path, tmp_path)}
    assert drawn == {"figure_4a.png", "figure_4b.png", "movers.png", "kendall.png", "token_paths.png"}


# --- log-probabilities ---------------------------------------------------------------------------

SIGN = np.where(prompts.value_laden()["framing"] == "positive", 1, -1)


@pytest.fixture
def released_logprobs(tmp_path, monkeypatch):
    """Four small files of the released form: a Gemma pair and a Llama pair that prefer other words."""
    monkeypatch.setattr(logprobs, "FOLDER", tmp_path)
    keys = list(prompts.value_laden()["key"])
    texts = [
        *WORDS["word"],
        "Freedom",
        " freedom",
        "Love",
        "love",
        *(f"v{i}" for i in range(12)),
        *(f"w{i}" for i in range(12)),
    ]
    made = {}
    for at, name in enumerate(("g/small", "g/large", "l/small", "l/large")):
        values = np.random.default_rng(at).normal(-7, 1, (len(texts), len(keys)))
        values += np.outer([3 * text.startswith("v") - 3 * text.startswith("w") for text in texts], SIGN)
        values[:8] += 2 if name.startswith("l") else 0
        values[texts.index("Freedom")] = -1 if name.startswith("l") else -6 - at
        values[texts.index("Love")] = -1 - at if name.startswith("g") else -6 - at
        frame = pd.DataFrame({"token_id": range(len(texts)), "token_name": texts, "token_decoded": texts})
        frame = pd.concat([frame, pd.DataFrame(values, columns=keys)], axis=1)
        frame.to_csv(tmp_path / sources.logprobs_file(name), index=False)
        made[name] = frame.set_index("token_decoded")
    return made


TOKEN_SETTINGS = Tokens("greatest_ever_one", "mwlr", 5, {"Freedom": ["freedom"], "Love": ["love"]})


def test_figure_2_is_that_of_the_log_probabilities(released_logprobs):
    known = pd.DataFrame(
        {"word": [f"{c}{i}" for c in "vw" for i in range(12)], "polarity": ["virtue"] * 12 + ["vice"] * 12}
    )
    chosen = Analysis("big_two_nouns", ["agency", "communion"], ["lower"], 99, 1, {}, TOKEN_SETTINGS)
    found, medians = logprobs.pair(["g/small", "l/small"], WORDS, known, chosen)
    assert found["residual_df"] == 208 and found["words"] == {"agency": 8, "communion": 8}
    frame = released_logprobs["l/small"].loc[WORDS["word"]]
    expected = frame["best_ever_one"].astype("float32").rank(ascending=False).iloc[:8].median()
    own = medians.query("model == 'l/small' and prompt == 'best_ever_one' and construct == 'agency'")
    assert own["median_rank"].tolist() == [expected]
    panel = next(row for row in found["panels"] if (row["construct"], row["framing"]) == ("agency", "positive"))
    assert panel["difference"] < 0 and found["largest_p_fdr"] < 0.01  # the Llama files prefer agency
    assert set(found["readings"]) == {"g/small", "l/small"} and "refused" not in found
    assert found["three_way"]["p_words_holm"] == found["three_way"]["p_words"]  # a family of one


def test_a_pair_that_does_not_read_the_prompts_keeps_the_paper_s_numbers_alone(released_logprobs):
    """Known groups that do not turn with the framing: the paper's tests are recomputed, what we add is refused."""
    known = pd.DataFrame({"word": list(WORDS["word"]), "polarity": ["virtue", "vice"] * 8})
    chosen = Analysis("big_two_nouns", ["agency", "communion"], ["lower"], 99, 1, {}, TOKEN_SETTINGS)
    found, _ = logprobs.pair(["g/small", "l/small"], WORDS, known, chosen)
    assert "the prompts are not read" in found["refused"]
    assert found["three_way_anova"]["F"] > 0 and found["residual_df"] == 208 and found["largest_p_fdr"] <= 1
    assert not {"panels", "three_way"} & set(found)


def test_tables_and_figure_3_are_those_of_the_log_probabilities(released_logprobs):
    names = list(released_logprobs)
    scores = logprobs.of_one_prompt(names, TOKEN_SETTINGS)
    shared, tokens = logprobs.optimal_tokens(scores, {"Table 1": ["g/small", "l/small"]}, TOKEN_SETTINGS)
    assert shared == {"Table 1": 44}
    assert tokens["token"].iloc[0] == "Freedom" and tokens["token"].iloc[-1] == "Love"
    p, q = np.exp(-6), np.exp(-1)
    assert tokens["score"].iloc[0] == pytest.approx((p + q) / 2 * 5, rel=1e-5)
    printed = pd.DataFrame(
        [
            ("Table 1", "top", "1", "Freedom", f"{tokens['score'].iloc[0]:.5f}"),
            ("Table 1", "bottom", "1", "_Love", "0.1"),
        ],
        columns=["table", "side", "place", "token", "score"],
    )
    assert logprobs.printed_tokens(printed, tokens) == {"Table 1": {"rows": 2, "same_score": 1, "same_token": 1}}
    models = pd.DataFrame({"repository": names, "base": ["G", "G", "L", "L"], "size": [2.0, 9.0, 1.0, 70.0]})
    table = logprobs.contrasts(scores, models, TOKEN_SETTINGS)
    found = logprobs.contrast_summary(table)
    assert found["pairs"] == found["first_label_higher"] == found["first_label_at_the_top"] == 4
    assert found["second_label_among_last_two"] == 4 and found["first_of"] == found["second_of"] == 2
    # Love's probability falls with the number of the Gemma file, so the larger Gemma's gap is the smaller one
    assert found["first_not_larger"] == 2


def test_printed_scores_out_of_order_are_counted():
    rows = [("T", "top", "1", "a", "0.5"), ("T", "top", "2", "b", "0.2"), ("T", "bottom", "3", "c", "-0.1")]
    rows += [("T", "bottom", "2", "d", "-0.9"), ("T", "bottom", "1", "e", "-0.4")]
    printed = pd.DataFrame(rows, columns=["table", "side", "place", "token", "score"])
    assert logprobs.out_of_order(printed) == {"T": 1}
    assert logprobs.out_of_order(printed[printed["token"] != "d"]) == {"T": 0}


# --- claims --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "value", "agrees"),
    [
        ("= 88.8", 88.84, True),
        ("= 88.8", 88.86, False),
        ("= 82", 82, True),
        ("< 0.0001", 0.0005, False),
        ("> 0", 3.2, True),
        ("±0.395 to 0.435", -0.42, True),
        ("0.70 to 0.80", -0.75, False),
        ("is true", False, False),
        ("has sonder", ["x", " sonder"], True),
        ("has sonder, LIFE", ["sonder", "x"], False),
    ],
)
def test_what_is_expected_of_a_value(expected, value, agrees):
    assert claims.agrees(expected, value, "row") is agrees


def claim(**changes) -> pd.DataFrame:
    row = dict.fromkeys(claims.COLUMNS, "") | {"item": "Figure 1", "expected": "> 0", "source": "a: cells c=x~y f=p d"}
    return pd.DataFrame([row | changes])


def test_a_claim_is_looked_up_and_says_why_it_does_not_agree():
    metrics = {"a": {"cells": [{"c": "x y", "f": "p", "d": 1.0}, {"c": "x y", "f": "n", "d": -1.0}], "part": None}}
    (found,) = claims.check(claim(), metrics)
    assert found["recomputed"] == 1.0 and found["agrees"] is True
    (found,) = claims.check(claim(source="a: cells c=x~y f=n d", explanation="why"), metrics)
    assert found["agrees"] is False
    assert found["explanation"] == "why"
    (found,) = claims.check(claim(source="a: cells c=x~y f=n d"), metrics)
    assert found["explanation"] == claims.UNEXPLAINED
    (found,) = claims.check(claim(source="a: part c=x d"), metrics)
    assert (found["recomputed"], found["agrees"], found["explanation"]) == (None, None, claims.NOT_HERE)
    for changes, message in (
        ({"source": "b: d"}, "b.json is not there"),
        ({"source": "a: cells c=x~y d"}, "2 rows have"),
        ({"source": "a: missing"}, "has no 'missing'"),
        ({"expected": "more"}, "cannot be asked of"),
    ):
        with pytest.raises(InputError, match=message):
            claims.check(claim(**changes), metrics)


def test_every_claim_of_the_repository_has_its_source_and_every_difference_its_sentence(repository):
    """The committed metrics hold what every row asks for."""
    folder = repository / claims.METRICS
    metrics = {
        p.relative_to(folder).with_suffix("").as_posix(): json.loads(p.read_text()) for p in folder.rglob("*.json")
    }
    committed = metrics.pop("claims")
    found = claims.check(claims.rows(), metrics)
    assert [row["agrees"] for row in found] == [row["agrees"] for row in committed["claims"]]
    assert claims.counts(found) == committed["counts"]
    assert not [row for row in found if row["explanation"] == claims.UNEXPLAINED]


# --- the released files themselves ---------------------------------------------------------------


@pytest.fixture
def upstream(repository, monkeypatch):
    folder = repository.parent / "shared/published/upstream/data"
    if not folder.is_dir():
        pytest.skip("../shared/published/upstream is not here: the released files cannot be read")
    for module, name in ((inputs, "TRAINING"), (inputs, "CORPORA")):
        monkeypatch.setattr(module, name, folder / getattr(module, name).name)
    return folder


def test_the_mirror_works_as_it_lies(upstream, tmp_path, monkeypatch):
    monkeypatch.setenv(assets.MIRROR, str(upstream.parent))
    monkeypatch.setattr(sources, "_fetch_from_hub", unreachable_hub)
    monkeypatch.setattr(sources, "_download", unreachable_hub)
    rows = settings.get("published.sources", sources.Sources, settings.ROOT / settings.PARAMS)
    assert len(sources.fetch(rows, tmp_path)) == 2
    assert len(list(tmp_path.rglob("*.csv"))) == len(rows.files) - 1  # one is a .dicx


def test_the_released_medians_say_what_was_found(upstream):
    rows = training.runs()
    medians = training.medians(rows)
    found = training.summary(rows, medians, training.gaps(medians))
    gaps = {name: run["gap"]["Llama − Gemma"]["last"] for name, run in found.items() if not run["same_file_as"]}
    assert gaps == {"uf_27": -194, "uf_53": -232.5, "uf_106": 56, "skywork": -133.5, "grm": -120}
    assert found["uf_13"]["same_file_as"] == "uf_27"
    assert found["uf_13"]["sha256"] == "905dbc2fa37577b7f69901d967c445c4df0699176dc2e4c540b938b4256347ba"
    assert found["uf_27"]["medians"]["Qwen"] == {"agency": 858, "communion": 559}
    assert [found[name]["pairs_from_last_step"] for name in ("uf_27", "uf_53", "uf_106")] == [26512, 53024, 106064]
    assert found["uf_106"]["rows_ranked"] == {"Gemma": 1452, "Llama": 1452, "Qwen": 1450}
    (sizes,) = training.by_size(rows, medians, training.gaps(medians))
    assert not sizes["narrows_at_every_step"] and sizes["changes_sign"] and sizes["smallest_p"] == pytest.approx(1 / 3)


def test_the_rows_that_the_released_medians_rank(upstream):
    """The released medians' file repeats a row once a ranked token: the same number, found in another way."""
    found = training.ranked()
    assert (found["rows"], found["texts"], found["shared_tokens"]) == (1452, 1365, 85524)
    assert found["by_construct"] == {"agency": 723, "communion": 729}
    copies = inputs.read_medians(inputs.TRAINING / "rank_results_uf_100.csv").query("base == 'Gemma'")
    assert copies.groupby("construct")["copies"].unique().map(list).to_dict() == {"agency": [723], "communion": [729]}
    assert found["dictionary"]["constructs"] == {"agency": 426, "communion": 474}
    assert (found["nouns"], found["nouns_that_are_shared_tokens"]) == (263, 82)


def test_moral_foundations_as_the_facts_and_as_the_script_rank_them(upstream, repository, monkeypatch):
    """Llama − Gemma over all words, and without the vices of sanctity; from the committed comparison."""
    expected = {
        "mfd2": {
            "positive": {"Authority": -71.6, "Care": 36.0, "Fairness": -71.7, "Loyalty": 112.6, "Sanctity": 57.0},
            "negative": {"Authority": -12.7, "Care": -63.0, "Fairness": 19.2, "Loyalty": 93.7, "Sanctity": -6.7},
        },
        "mfd2_as_drawn": {"negative": {"Authority": -17.5, "Sanctity": 31.0}},
    }
    monkeypatch.setattr("valuetrace.measures.published.inputs.FETCHED", upstream)
    for name, framings in expected.items():
        metrics = json.loads((repository / f"metrics/published/section_2/{name}.json").read_text())
        cells = {(row["framing"], row["construct"]): row["difference"] for row in metrics["panels"]}
        for framing, values in framings.items():
            assert {c: round(cells[framing, c], 1) for c in values} == values
        chosen = settings.get(f"published.comparisons.{name}", Comparison, repository / settings.PARAMS)
        assert len(chosen.words()) == metrics["n"]["words_ranked"] == {"mfd2": 2040, "mfd2_as_drawn": 1652}[name]
        assert len(chosen.files()) == 10
