"""The atlas: places by hand, profiles of files in the released layout, the page in a browser, the data set's push."""

import importlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hub_server import TOKEN, Hub
from test_report import Page, resolve, shows, unsourced

from valuetrace import audit as auditing
from valuetrace import cli
from valuetrace.audit import comparison
from valuetrace.audit import page as audit_page
from valuetrace.core import files, settings
from valuetrace.core.errors import InputError
from valuetrace.lexicon import COLUMNS
from valuetrace.measures import atlas, references, validity
from valuetrace.measures.profile import Subject, profile
from valuetrace.measures.published import sources
from valuetrace.models import tiny
from valuetrace.prompts import value_laden
from valuetrace.report import page
from valuetrace.scoring.chat import Format
from valuetrace.subjects import inputs

CHAT = Format("chat", space=False)
AGENCY, COMMUNION = [f"good{i}" for i in range(8)], [f"kind{i}" for i in range(10)]
BASES = {"x/one": "Gemma", "x/two": "Gemma", "y/three": "Llama", "y/four": "Llama"}


def lexicon(**constructs: list[str]) -> pd.DataFrame:
    rows = [(word, "own", name, "", word, "noun") for name, words in constructs.items() for word in words]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def told(model: str, percentile: dict[str, float], **changes) -> dict:
    """A profile by hand: agency words at a percentile in each framing, ±5 over words."""
    rows = [
        {"construct": "agency", "polarity": "", "label": "agency", "framing": framing, "words": 8, "of": 9}
        | {"median_rank": 1.0, "percentile": value, "percentile_interval": [value - 5, value + 5]}
        for framing, value in percentile.items()
    ]
    found = {"model": model, "kind": "reward", "lexicon": "own", "lexicon_sha256": "l", "case": "lower"}
    found |= {"format": {"name": "chat", "kind": "chat"}, "prompts": {"positive": 2}, "prompts_sha256": "p"}
    found |= {
        "tokenisation": "as_published",
        "ranked_words": 8,
        "rows": rows,
        "interval": {"level": 0.95, "unit": "word"},
    }
    found["interval"]["draws"] = 99
    found["groups"] = [{"label": "agency", "words": AGENCY}]
    found["reading"] = {"refused": None, "known_groups": {"difference": {"estimate": 60.0}}}
    base = BASES.get(model, "Gemma")
    return found | {"released": {"base": base, "lineage": model.split("/")[0], "own_list": []}} | changes


@pytest.fixture
def four() -> list[dict]:
    values = zip(BASES, (40.0, 45.0, 55.0, 60.0), (70.0, 60.0, 50.0, 40.0), strict=True)
    return [told(model, {"positive": up, "negative": down}) for model, up, down in values]


# --- places ------------------------------------------------------------------------------------------------------


def test_a_place_by_hand(four):
    place = comparison.place(told("own", {"positive": 55.0, "negative": 65.0}), four)
    up, down = place["rows"]
    assert (up["above"], up["of"], up["lowest"], up["highest"]) == (2, 4, 40.0, 60.0)  # equal is not above
    assert up["above_at_ends"] == [2, 3]  # below 50: 40, 45; below 60: 55 too
    assert (down["above"], down["above_at_ends"]) == (3, [2, 3])  # below 60: 50, 40; of 70 none is below
    assert place["bases"] == {"Gemma": 2, "Llama": 2} and place["lineages"] == {"x": 2, "y": 2}
    assert place["differs"] == [] and [row["model"] for row in place["among"]] == list(BASES)


def test_what_differs_is_said_and_of_how_many(four):
    text = {"name": "question", "kind": "text", "template": "{prompt}", "space": True, "closing": "eos"}
    own = told("own", {"positive": 1.0}, format=text, tokenisation="exact")
    four[0]["tokenisation"] = "exact"
    differs = comparison.place(own, four)["differs"]
    assert differs[0] == "format: here the text format question, there its own chat template"
    assert differs[1] == "tokenisation: here exact, there as_published (3 of 4)"


def test_other_words_are_no_place(four):
    own = told("own", {"positive": 50.0}, groups=[{"label": "agency", "words": AGENCY[:7]}])
    (row,) = comparison.place(own, four)["rows"]
    assert row["refused"].startswith("only 88% of the agency words that x/one ranks") and "above" not in row
    own["groups"][0]["words"] = AGENCY
    assert "above" in comparison.place(own, four)["rows"][0]
    four[1]["groups"] = [{"label": "agency", "words": AGENCY[:3]}]
    assert comparison.common_words(four) == set(AGENCY[:3])


def test_a_refused_number_has_no_place_and_counts_for_none(four):
    own = told("own", {"positive": 50.0, "negative": 50.0})
    own["rows"][0] = {"label": "agency", "framing": "positive", "words": 3, "refused": "too few", "needs": "more"}
    four[3]["rows"][1] = {"label": "agency", "framing": "negative", "words": 3, "refused": "too few", "needs": "more"}
    up, down = comparison.place(own, four)["rows"]
    assert up["refused"] == "too few" and "above" not in up
    assert (down["above"], down["of"], down["lowest"]) == (0, 3, 50.0)


def test_why_nothing_compares_names_the_nearest(four):
    four[2] |= {"lexicon": "near", "lexicon_sha256": "l"}
    own = told("own", {"positive": 50.0}, prompts_sha256="other", lexicon_sha256="l")
    for other in (four[0], four[1], four[3]):
        other["lexicon_sha256"] = "far"
    why = comparison.unplaced(own, four)
    assert why["refused"] == "they have another prompts than this audit" and "--lexicon near" in why["needs"]


def test_table_and_summary_by_hand(four):
    four[3]["rows"][0] = {"label": "agency", "framing": "positive", "words": 3, "of": 9, "refused": "few", "needs": "x"}
    four[0]["released"]["own_list"] = [{"label": "agency", "framing": "positive", "percentile": 42.5}]
    four[0]["prompts"] = four[0]["prompts"] | {"negative": 3}
    for profile_ in four[1:]:
        profile_["prompts"]["negative"] = 3
    table = atlas.table(four)
    assert len(table) == 8 and table["percentile"].isna().sum() == 1
    assert table.loc[table["percentile"].isna(), "refused"].tolist() == ["few"]
    assert table[table["framing"] == "negative"]["prompts"].eq(3).all()
    (page,) = atlas.summary(four)["tables"]
    up, down = page["columns"]
    assert up["bases"]["Gemma"] == {"models": 2, "lowest": 40.0, "mean": 42.5, "highest": 45.0}
    assert up["bases"]["Llama"]["models"] == 1 and up["words"] == [3, 8]
    assert down["key"] == "agency.negative"
    assert page["overlapping"] == 0  # 40 to 45 against 55, and 60 to 70 against 40 to 50
    four[0]["rows"][1]["percentile"] = 45.0
    assert atlas.summary(four)["tables"][0]["overlapping"] == 1
    assert page["largest_change"] == 2.5


@pytest.mark.parametrize(("change", "message"), [({"base": 3}, "'base' is 3"), ({"lineage": ...}, "no 'lineage'")])
def test_a_broken_profile_of_the_atlas_is_one_line(four, tmp_path, change, message):
    released = {key: value for key, value in (four[0]["released"] | change).items() if value is not ...}
    files.write_json(four[0] | {"released": released}, tmp_path / "a.json")
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / 'a.json'}: 'released'") + ".*" + message):
        references.read(tmp_path)


# --- from released files ------------------------------------------------------------------------------------------


def scores(words: list[str], seed: int, known: list[str]) -> pd.DataFrame:
    """Scores of words after all 54 prompts: virtues, then the others at random, then vices; after negative ones
    the other way round."""
    rng, prompts = np.random.default_rng(seed), value_laden()
    value = pd.Series(rng.normal(size=len(words)), words) + 10.0 * pd.Series(
        [1 if w.startswith("virtue") else -1 if w.startswith("vice") else 0 for w in words], words
    )
    sign = np.where(prompts["framing"] == "positive", 1, -1)
    return pd.DataFrame(np.outer(value, sign) + 0.1 * rng.normal(size=(len(words), 54)), words, list(prompts["key"]))


@pytest.fixture
def released(tmp_path, monkeypatch, composed) -> Path:
    """Two reward models and one language model in the authors' layout, and the lexicons that the stage reads."""
    monkeypatch.chdir(tmp_path)
    known = [f"virtue{i}" for i in range(10)] + [f"vice{i}" for i in range(10)]
    for name, table in (("own", lexicon(agency=AGENCY, communion=[*COMMUNION, "unscored"])), ("mfd", None)):
        if table is None:
            table = pd.DataFrame({"word": known, "construct": "care", "polarity": ["virtue"] * 10 + ["vice"] * 10})
        files.write_csv(table.reindex(columns=list(COLUMNS), fill_value=""), f"lexicons/unrolled/{name}.csv")
    shutil.copy("lexicons/unrolled/mfd.csv", "lexicons/unrolled/known_groups.csv")
    data = Path("data/published")
    for folder, words in (("nouns", [*AGENCY, *COMMUNION, "extra"]), ("morals", known)):
        for i, model in enumerate(("x/one", "y/three")):
            prefix = "MFD20_rewards" if (folder, i) == ("morals", 1) else "big2_rewards"
            path = data / "reward_model_scores" / folder / f"{prefix}_{model.replace('/', '_')}.csv"
            files.write_csv(scores(words, i, known).rename_axis("response").reset_index(), path)
    files.write_csv(
        pd.DataFrame({"Category": ["Agency"] * 8 + ["Communion"] * 9, "token_decoded": AGENCY + COMMUNION[:9]}),
        data / "corpora" / "nouns.csv",
    )
    dic = pd.DataFrame({"DicTerm": known, "Care_Virtue": ["X"] * 10 + [""] * 10, "Care_Vice": [""] * 10 + ["X"] * 10})
    files.write_csv(dic, data / "corpora" / "morals.dicx")
    whole = scores([*AGENCY, *COMMUNION, *known], 5, known) - 5
    whole = whole.rename_axis("token_decoded").reset_index()
    whole.insert(0, "token_name", whole["token_decoded"])
    whole.insert(0, "token_id", range(len(whole)))
    files.write_csv(whole, data / "logprobs" / "z--base.csv")
    files.write_csv(
        pd.DataFrame({"repository": ["x/one", "y/three"], "base": ["Gemma", "Llama"], "lineage": ["x", "y"]}), "rm.csv"
    )
    lm = {"repository": ["z/base", "z/absent"], "label": "Z", "base": "Gemma", "training": "pretrained", "size": 1}
    files.write_csv(pd.DataFrame(lm), "lm.csv")
    params = composed("demo")
    params["atlas"] |= {"draws": 99}
    params["atlas"]["lexicons"] = {
        "own": {"rewards": "nouns", "words": "nouns.csv"},
        "mfd": {"rewards": "morals", "words": "morals.dicx"},
    }
    files.write_text(json.dumps(params), "params.yaml")
    stage = importlib.import_module("stages.published.profiles")
    monkeypatch.setattr(stage, "PUBLISHED_MODELS", Path("rm.csv"))
    monkeypatch.setattr(sources, "LANGUAGE_MODELS", Path("lm.csv"))
    return tmp_path


def test_profiles_of_released_files(released, capsys):
    importlib.import_module("stages.published.profiles").main()
    assert "lacks the log-probabilities, so the profiles, of z/absent\n" in capsys.readouterr().err
    found = {(p["model"], p["lexicon"]): p for p in atlas.read()}
    assert set(found) == {(m, name) for m in ("x/one", "y/three", "z/base") for name in ("own", "mfd")}
    nouns = found["x/one", "own"]
    assert nouns["tokenisation"] == "as_published" and nouns["ranked_words"] == 18  # "extra" is in no lexicon
    assert [(row["words"], row["of"]) for row in nouns["rows"][::2]] == [(8, 8), (10, 11)]
    assert nouns["reading"]["refused"] is None  # the known groups are in the other file
    assert nouns["reading"]["known_groups"]["virtue"] == 10
    path = "reward_model_scores/nouns/big2_rewards_x_one.csv"
    assert nouns["released"]["files"][path] == files.sha256(Path("data/published", path))
    given = pd.read_csv(Path("data/published", path), index_col=0)
    ranks = (-given.loc[AGENCY + COMMUNION]).rank()
    framing = value_laden().set_index("key")["framing"]
    median = ranks.loc[AGENCY].median()[framing == "positive"].mean()
    assert nouns["rows"][0]["median_rank"] == pytest.approx(median)
    assert found["y/three", "mfd"]["released"]["own_list"]  # the authors' capital letters are the same constructs
    assert found["z/base", "own"]["format"]["name"] == "raw_bare" and found["z/base", "own"]["kind"] == "logprob"
    changes = atlas.largest_change(list(found.values()))
    assert changes["mfd"] == 0 and changes["own"] > 0  # the same words; one noun fewer
    assert "unscored" not in json.dumps(nouns["groups"])


def test_a_released_file_that_is_not_there_is_named(released):
    Path("data/published/reward_model_scores/nouns/big2_rewards_y_three.csv").unlink()
    with pytest.raises(InputError, match=r"nouns/big2_rewards_y_three\.csv: no such score file"):
        importlib.import_module("stages.published.profiles").main()
    assert not Path("metrics/profiles/published").exists()


# --- the audit ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "random-rm"
    tiny.write("llama", 1, folder, reward=True)
    return folder


@pytest.fixture
def asked(model, tmp_path, monkeypatch):
    """An audit of a random reward model on a few words and prompts, beside three released ones; every table reads."""
    reads = {"framing": {}, "known_groups": {}, "refused": None, "needs": None}
    monkeypatch.setattr(validity, "reading", lambda *_: reads)
    monkeypatch.setattr(inputs, "read_known_groups", lambda: pd.DataFrame(columns=["word", "polarity"]))
    words = lexicon(
        agency=["power", "work", "win", "goal", "plan", "money", "control"],
        communion=["love", "family", "friend", "home", "help", "group", "care", "togetherness"],
    )
    files.write_csv(words, tmp_path / "words.csv")
    few = (
        value_laden()
        .set_index("key")
        .loc[["best_ever_one", "worst_ever_one"]]
        .reset_index()[["key", "text", "framing"]]
    )
    rng = np.random.default_rng(0)
    ranked = [word for word in words["word"] if word not in ("power", "help")]  # what the released files hold
    for name in ("a/1", "a/2", "b/3"):
        frame = pd.DataFrame({"token_id": pd.NA, "token_name": ranked, "token_decoded": ranked})
        frame[list(few["key"])] = rng.normal(size=(len(ranked), 2)).astype(np.float32)
        subject = Subject(name, "reward", "own", "chat", CHAT, tokenisation="as_published")
        made = profile(subject, frame, words, few, words.head(0), validity.rule(), draws=20)
        made["released"] = {"base": "Gemma", "lineage": name[0]}
        files.write_json(made, tmp_path / "references" / f"{name.replace('/', '--')}.json")

    def run(**changes) -> dict:
        given = {"lexicon": str(tmp_path / "words.csv"), "prompts": "best_ever_one,worst_ever_one", "draws": 50}
        given |= {"references": tmp_path / "references", "out": tmp_path / "out"} | changes
        return auditing.audit(auditing.Request(str(model), **given), lambda line: None).result

    return run


def test_an_audit_says_where_its_model_stands_and_what_differs(asked, tmp_path):
    found = asked()
    place, rows = found["place"], {(r["label"], r["framing"]): r for r in found["profile"]["rows"]}
    assert place["words"] == 13 and found["profile"]["ranked_words"] == 15  # ranked anew, on their words
    assert place["differs"] == ["tokenisation: here exact, there as_published"]
    for row in place["rows"]:
        theirs = [
            r["percentile"]
            for other in place["among"]
            for r in other["rows"]
            if (r["label"], r["framing"]) == (row["label"], row["framing"])
        ]
        assert row["above"] == sum(value < row["percentile"] for value in theirs) and row["of"] == 3
        assert (row["lowest"], row["highest"]) == (min(theirs), max(theirs))
    assert place["rows"][0]["percentile"] != rows["agency", "positive"]["percentile"]
    text = audit_page.as_text(found)
    assert "Among the 3 released models (Gemma 3), ranked on the same 13 words:" in text
    assert re.search(r"agency +positive +percentile \d+ \(.*\), above \d of 3 \(\d to \d\); theirs \d+ to \d+", text)
    assert "3 models of few lineages (a 2, b 1) are not independent draws" in text
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "Among the released models" in page and "--tokenisation\nas_published" in page
    assert found["references_not_comparable"] == [] and "No reference model stands beside" in page
    table = pd.read_csv(tmp_path / "out" / "profile.csv")
    assert table["role"].value_counts().to_dict() == {"audited": 4, "placed": 4, "released": 12}


def test_as_published_tokenisation_leaves_nothing_that_differs(asked):
    assert asked(tokenisation="as_published")["place"]["differs"] == []


def test_other_prompts_are_no_place_and_the_audit_says_so(asked):
    found = asked(prompts="best_ever_one,best_ever_single,worst_ever_one")
    assert found["place"]["refused"] == "they have another prompts than this audit"
    assert "No place among the released models: they have another prompts" in audit_page.as_text(found)


def test_a_model_that_is_itself_in_the_atlas_stands_among_the_others(asked, tmp_path):
    path = tmp_path / "references" / "a--1.json"
    files.write_json(files.read_json(path) | {"model": "random-rm"}, path)
    assert {row["of"] for row in asked()["place"]["rows"]} == {2}


def test_a_random_model_has_no_place_among_the_real_ten(model, tmp_path, repository):
    """The whole path, with the committed profiles, lexicon and known groups: it does not read the question."""
    request = auditing.Request(str(model), draws=20, out=tmp_path / "out", references=repository / "metrics/profiles")
    found = auditing.audit(request, lambda line: None).result
    assert found["place"]["refused"].startswith("the prompts are not read") and "rows" not in found["place"]
    text = audit_page.as_text(found)
    assert "No place among the released models: the prompts are not read" in text and "above" not in text
    assert "<strong>No place:</strong> the prompts are not read" in (tmp_path / "out" / "audit.html").read_text()


def test_tokenisation_means_nothing_to_a_language_model(tmp_path, capsys):
    tiny.write("llama", 1, tmp_path / "lm")
    status = cli.main(["audit", str(tmp_path / "lm"), "--tokenisation", "as_published", "--out", str(tmp_path / "o")])
    assert status == 2 and "--tokenisation as_published is for reward models" in capsys.readouterr().err


# --- what is committed --------------------------------------------------------------------------------------------


def test_the_committed_atlas_is_that_of_the_committed_profiles(repository, tmp_path):
    profiles = atlas.read(repository / atlas.PROFILES)
    reward = {p["model"] for p in profiles if p["kind"] == "reward"}
    listed = files.read_csv(repository / "conf/published/reward_models.csv", ("repository",))
    assert reward == set(listed["repository"])
    for name in ("big_two_nouns", "mfd2"):  # an audit's words have the same digest
        digest = {p["lexicon_sha256"] for p in profiles if p["lexicon"] == name}
        request = auditing.Request("", lexicon=name)
        words = inputs.find_lexicon(request.lexicon)
        one = profile(
            Subject("m", "reward", name, "chat", CHAT),
            pd.DataFrame({"token_id": pd.NA, "token_name": ["x"], "token_decoded": ["x"]}).assign(
                **dict.fromkeys(value_laden()["key"], np.float32(0))
            ),
            words,
            value_laden(),
            words.head(0),
            validity.rule(),
            draws=1,
        )
        assert digest == {one["lexicon_sha256"]}
    files.write_csv(atlas.table(profiles), tmp_path / "atlas.csv")
    assert (tmp_path / "atlas.csv").read_bytes() == (repository / "plots/atlas.csv").read_bytes()
    files.write_json(atlas.summary(profiles), tmp_path / "atlas.json")
    assert (tmp_path / "atlas.json").read_bytes() == (repository / "metrics/atlas.json").read_bytes()


@pytest.fixture
def atlas_page(repository, tmp_path, monkeypatch) -> Path:
    """The page as the present templates make it from the committed numbers."""
    monkeypatch.chdir(repository)
    return files.write_text(page.single("atlas"), tmp_path / "atlas.html")


def test_every_number_of_the_page_is_its_metric_and_nothing_is_loaded(repository, atlas_page):
    text = atlas_page.read_text(encoding="utf-8")
    metrics = {"atlas": json.loads((repository / "metrics/atlas.json").read_text(encoding="utf-8"))}
    found = Page(text)
    assert len(found.numbers) > 500 and unsourced(found, pd.DataFrame({"rank": [], "score": [], "token": []})) == set()
    for source, _, shown in found.numbers:
        assert shows(shown, resolve(metrics, source)), source
    assert all(value.startswith("data:") for _, value in found.loaded)
    assert not re.search(r"<script[^>]+src=|<link\b|url\(|@import|fetch\(|XMLHttp", text)


def test_the_picture_says_n_and_has_every_model(repository):
    from valuetrace.figures import atlas as figures

    frame = pd.read_csv(repository / "plots/atlas.csv", keep_default_na=False, na_values=[""])
    frame = frame[(frame["kind"] == "reward") & (frame["lexicon"] == figures.LEXICON)]
    frame.loc[frame.index[0], ["percentile", "low", "high"]] = np.nan  # as if refused
    figure = figures.profiles(frame)
    (legend,) = figure.legends
    assert "n = 10 reward models of 3 lineages; 27 positive + 27 negative prompts" in legend.get_title().get_text()
    assert [text.get_text() for text in legend.get_texts()] == ["Gemma, 4 models", "Llama, 6 models"]
    assert len(figure.axes) == 4 and len(figure.axes[0].get_yticklabels()) == 10
    assert [t.get_text() for axis in figure.axes for t in axis.texts] == ["refused"]


def test_the_readme_s_numbers_are_the_atlas_s(repository):
    text = " ".join((repository / "README.md").read_text(encoding="utf-8").split())
    frame = pd.read_csv(repository / "plots/atlas.csv")
    frame = frame[(frame["kind"] == "reward") & (frame["lexicon"] == "big_two_nouns")]

    def span(values) -> str:
        return f"{values.min():.0f} to {values.max():.0f}"

    of = frame.groupby(["construct", "framing"])["percentile"]
    cells = {key: span(values) for key, values in of}
    assert f"agency has {cells['agency', 'negative']} and communion {cells['communion', 'negative']}," in text
    assert f"after positive ones {cells['agency', 'positive']} and {cells['communion', 'positive']}." in text
    assert f"intervals over words are {span(frame['high'] - frame['low'])} points wide" in text
    means = frame.groupby(["base", "construct", "framing"])["percentile"].mean()
    apart = (means["Gemma"] - means["Llama"]).abs()
    assert f"their means differ by {apart.min():.1f} to {apart.max():.1f} points" in text
    tables = json.loads((repository / "metrics/atlas.json").read_text(encoding="utf-8"))["tables"]
    assert all(table["overlapping"] == len(table["columns"]) for table in tables if table["kind"] == "reward")
    assert f"among {frame.drop_duplicates('construct')['words'].sum():.0f} nouns" in text


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")


class Table(Page):
    """``rows``: (model, base, hidden) in the order of the first table; ``sorts``: aria-sort by key."""

    def __init__(self, text: str):
        self.rows, self.sorts, self.status, self._in, self.columns = [], {}, "", False, {}
        super().__init__(text)

    def handle_starttag(self, tag, attributes):
        super().handle_starttag(tag, attributes)
        given = dict(attributes)
        self._in = given.get("id") == "shown" or (self._in and tag == "p")
        if tag == "tr" and "data-model" in given:
            self.rows.append((given["data-model"], given["data-base"], "hidden" in given))
        if tag == "th" and "data-key" in given:
            self.sorts.setdefault(given["data-key"], given["aria-sort"])
            self.columns.setdefault(given["data-key"], "hidden" in given)

    def handle_data(self, data):
        super().handle_data(data)
        if self._in:
            self.status, self._in = data, False


def browsed(page: Path, fragment: str) -> Table:
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000", "--dump-dom"]
    done = subprocess.run([*command, f"file://{page}#{fragment}"], capture_output=True, text=True, timeout=120)
    return Table(done.stdout)


@needs_browser
def test_the_page_sorts_and_filters_in_a_browser(repository, atlas_page):
    frame = pd.read_csv(repository / "plots/atlas.csv")
    cell = (frame["construct"] == "communion") & (frame["framing"] == "positive")
    ordered = frame[cell].sort_values("percentile", ascending=False)["model"].tolist()
    found = browsed(atlas_page, "sort=communion.positive&base=Gemma&framing=positive")
    first = found.rows[:10]
    assert [model for model, _, _ in first] == ordered
    assert {(base, hidden) for _, base, hidden in first} == {("Gemma", False), ("Llama", True)}
    assert found.sorts["communion.positive"] == "descending" and found.sorts["agency.positive"] == "none"
    assert found.columns["agency.negative"] and not found.columns["agency.positive"]
    assert found.status == "4 of 10 models shown, sorted by communion, positive prompts."
    other = browsed(atlas_page, "sort=model&find=GRM")
    assert [model for model, _, _ in other.rows[:10]] == sorted(ordered, key=str.lower)
    assert sum(not hidden for _, _, hidden in other.rows[:10]) == 3 and other.sorts["model"] == "ascending"


@needs_browser
def test_a_heading_is_pressed_by_a_browser(repository, atlas_page, tmp_path):
    """The buttons in the headings do what the address does; a second press turns the order round."""
    text = atlas_page.read_text(encoding="utf-8")
    press = "document.querySelector('th[data-key=\"agency.negative\"] button').click();"
    (tmp_path / "page.html").write_text(text.replace("</body>", f"<script>{press}{press}</script></body>"))
    found = browsed(tmp_path / "page.html", "")
    frame = pd.read_csv(repository / "plots/atlas.csv")
    cell = (frame["construct"] == "agency") & (frame["framing"] == "negative")
    assert [model for model, _, _ in found.rows[:10]] == frame[cell].sort_values("percentile")["model"].tolist()
    assert found.sorts["agency.negative"] == "ascending"


# --- the data set -------------------------------------------------------------------------------------------------


@pytest.fixture
def workspace(repository, tmp_path, monkeypatch) -> Path:
    for path in ("plots/atlas.csv", "metrics/atlas.json", "metrics/published/sources.json"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / path, tmp_path / path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def hub(monkeypatch):
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


def test_the_atlas_is_pushed_as_a_data_set(workspace, hub, capsys):
    assert cli.main(["publish", "--atlas", "me/atlas", "--private"]) == 0
    assert set(hub.repositories["me/atlas"]) == {"README.md", "atlas.csv"} and hub.visibility["me/atlas"] == "private"
    assert hub.repositories["me/atlas"]["atlas.csv"] == (workspace / "plots/atlas.csv").read_bytes()
    assert hub.count("POST /api/datasets/me/atlas/commit") == 1 and hub.count("/api/models/") == 0
    assert "/me/atlas/commit/" in capsys.readouterr().out
    assert not (workspace / "checkpoints").exists()


def test_the_card_says_whose_numbers_they_are(workspace):
    from valuetrace.publish import atlas as pushed

    text = pushed.card("me/atlas")
    header = settings.YAML(typ="safe").load(text.split("---\n")[1])
    assert header["license"] == "apache-2.0" and header["configs"][0]["data_files"] == "atlas.csv"
    assert "brchristian/reward_models_inherit_value_biases_from_pretraining" in text
    assert "They state no licence" in text and "only numbers computed from them" in text
    assert "10 reward models of 3 lineages are not so many independent draws" in text
    columns = pd.read_csv(workspace / "plots/atlas.csv", nrows=0).columns
    assert all(f"`{column}`" in text for column in columns)


def test_a_dry_run_writes_nothing_and_mistakes_are_one_line(workspace, hub, capsys):
    assert cli.main(["publish", "--atlas", "me/atlas", "--dry-run"]) == 0
    assert not (workspace / "data").exists() and hub.requests == []
    for arguments, message in (
        (["--atlas", "atlas"], "--atlas atlas: give OWNER/NAME"),
        (["--atlas", "me/atlas", "--to", "me/values"], "--atlas goes alone"),
    ):
        capsys.readouterr()
        assert cli.main(["publish", *arguments]) == 2
        assert message in capsys.readouterr().err
    files.write_json({"tables": None}, "metrics/atlas.json")
    assert cli.main(["publish", "--atlas", "me/atlas"]) == 2
    assert "metrics/atlas.json: not as its stage writes it" in capsys.readouterr().err
    Path("plots/atlas.csv").unlink()
    assert cli.main(["publish", "--atlas", "me/atlas"]) == 2
    assert "plots/atlas.csv: no such file" in capsys.readouterr().err
