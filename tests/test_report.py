"""The report: every number is the one in the metrics file that it names, and nothing comes from the network."""

import base64
import json
import re
import sys
import types
from decimal import Decimal
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from valuetrace.core import numbers as writing
from valuetrace.core.errors import InputError
from valuetrace.core.settings import load
from valuetrace.measures.bases import implicit
from valuetrace.report import numbers, page
from valuetrace.report.sections import paper_items

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
LOADING = ("src", "srcset", "href", "xlink:href", "data", "poster", "action", "background")


class Page(HTMLParser):
    """``numbers``: (source, title, text) of each; ``loaded``: what the page asks for; ``cells``: bare table cells."""

    def __init__(self, text: str):
        super().__init__()
        self.numbers, self.loaded, self.cells, self._span, self._cell = [], [], [], None, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag != "a":  # a link is followed by the reader, not by the page
            self.loaded += [(tag, value) for key, value in attributes.items() if key in LOADING]
        if tag == "td":
            self._cell = ""
        if tag == "span" and "data-source" in attributes:
            self._span = [attributes["data-source"], attributes["title"], ""]

    def handle_data(self, data):
        if self._span is not None:
            self._span[2] += data
        elif self._cell is not None:
            self._cell += data

    def handle_endtag(self, tag):
        if tag == "span" and self._span is not None:
            self.numbers.append(tuple(self._span))
            self._span = None
        if tag == "td":
            self.cells.append(self._cell)
            self._cell = None


def resolve(metrics: dict, source: str):
    """The value at ``file:a.b.0``."""
    name, _, path = source.partition(":")
    value = metrics[name]
    for part in re.split(r"\.(?!5b)", path):  # the small report has a model m1.5b
        value = value[int(part) if isinstance(value, list) else part]
    return value


def shows(text: str, value) -> bool:
    """Whether ``text`` is ``value`` rounded to the digits that it shows."""
    if value is None or text == "–":
        return value is None and text == "–"
    if isinstance(value, str):
        return text == value
    if isinstance(value, list | dict):
        return text == str(len(value))
    if text.endswith("%"):
        text, value = text.removesuffix("%"), 100 * value
    shown = Decimal(text.replace(",", "").replace("−", "-"))
    half = Decimal(5).scaleb(shown.as_tuple().exponent - 1)
    return abs(shown - Decimal(repr(value))) <= half


def check(text: str, metrics: dict) -> Page:
    found = Page(text)
    for source, title, shown in found.numbers:
        name, _, path = source.partition(":")
        assert title == f"metrics/{name}.json: {path}"
        assert shows(shown, resolve(metrics, source)), (source, shown, resolve(metrics, source))
    assert found.numbers
    check_offline(text, found)
    return found


def check_offline(text: str, found: Page) -> None:
    for tag, value in found.loaded:
        assert value.startswith(("data:", "#")), (tag, value[:80])
    for style in re.findall(r"<style.*?</style>", text, re.DOTALL):
        assert "url(" not in style
        assert "@import" not in style
    assert "<script" not in text


def unsourced(found: Page, tokens: pd.DataFrame) -> set[str]:
    """Numbers in table cells that neither name a metrics file nor stand in the table of tokens."""
    listed = {f"{rank:,}" for rank in tokens["rank"]}
    listed |= {f"{score:+.5f}".replace("-", "−") for score in tokens["score"]}
    listed |= {str(token) for token in tokens["token"]}
    bare = {cell.strip() for cell in found.cells}
    return {cell for cell in bare if re.fullmatch(r"[-+−]?[\d.,]*\d[\d.,]*(e[-+−]?\d+)?%?", cell)} - listed


# --- a small report ------------------------------------------------------------------------------


def panel(construct: str, framing: str) -> dict:
    return {
        "construct": construct,
        "framing": framing,
        "means": {"m1": 12.345, "m1.5b": 7.0},
        "difference": -5.345,
        "ci_words": [-9.96, 1.04],
        "cliffs_delta": -0.555,
        "t": -2.249,
        "p_prompts_fdr": 3.21e-9,
        "p_paired": 0.0007,
        "p_words": 0.0321,
        "p_words_holm": 0.0963,
    }


@pytest.fixture
def metrics() -> dict:
    names = ["model", "construct", "framing", "model × construct", "model × framing", "construct × framing"]
    anova = [{"term": term, "F": 1.0, "p": 0.5} for term in names]
    three_way = {"F": 12.34, "p": 0.00049}
    anova.append({"term": "model × construct × framing"} | three_way)
    words = {"agency": 30, "communion": 31}
    probability = {m: {"positive": p, "negative": p / 3} for m, p in (("m1", 0.00021), ("m1.5b", 0.0149))}
    cell = {"format": "raw", "case": "lower", "reading": "calibrated", "words": words, "anova": anova}
    cell["probability_on_words"] = probability
    cell["three_way_anova"] = three_way
    cell |= {"panels": [panel(c, f) for c in ("agency", "communion") for f in ("positive", "negative")]}
    cell |= {"three_way": {"contrast": -12.349, "ci_words": [-20.0, 4.449], "p_words": 0.0616, "p_words_holm": 0.0617}}
    cell["three_way"] |= {"p_prompts": 0.0123, "by_adjective": {"p": 0.2, "smallest_p": 0.1}}
    level = {"estimate": 4.32, "low": -1.234, "high": 9.87}
    cell["by_model"] = {m: dict.fromkeys(("positive", "negative", "contrast"), level) for m in ("m1", "m1.5b")}
    cell["by_set"] = {"all": cell["by_model"], "plain": cell["by_model"]}
    refused = {key: cell[key] for key in ("format", "case", "reading", "words", "probability_on_words")}
    refused |= {"refused": "fewer than 5 words of <agency>", "needs": "another format", "case": "capitalised"}
    known = {"difference": {"estimate": 31.4}}
    cell["readings"] = {m: {"known_groups": known} for m in ("m1", "m1.5b")}
    summary = {
        "cells": 1,
        "of": 2,
        "negative_contrast": 1,
        "level": 0.05,
        "anova_below_level": 1,
        "prompts_below_level": 1,
        "words_below_level": 0,
        "words_below_level_holm": 0,
    }
    row = {"words": 100, "bare": 31, "space": 77, "bare_capitalised": 12, "space_capitalised": 40}
    contrast = {
        m: {"Freedom": {"score": 1.25e-4, "variants": 3}, "Love": {"score": None, "variants": 0}}
        for m in implicit.MEASURES
    }
    return {
        "lexicons": {"big_two": {"nouns": 263}},
        "base_preferences": {
            "draws": 9999,
            "seed": 1,
            "comparisons": [
                {"comparison": "x", "models": ["m1", "m1.5b"], "summary": summary, "cells": [refused, cell]}
            ],
            "coverage": [{"model": m, "lexicon": "big_two", "construct": "agency", **row} for m in ("m1", "m1.5b")],
        },
        "implicit_rewards": {
            "prompt": "greatest_ever_one",
            "measure": "mwlr",
            "words": {"Freedom": ["freedom"], "Love": ["love"]},
            "pairs": [
                {"first": "m1", "second": "m1.5b", "format": "raw", "shared_tokens": 123456, "contrast": contrast}
            ],
        },
    }


TOKENS = pd.DataFrame(
    {
        "first": "m1",
        "second": "m1.5b",
        "format": "raw",
        "measure": "mwlr",
        "rank": [1, 123456],
        "token": ["<script>alert(1)</script>", " Love\n"],
        "score": [0.031251, -0.2],
    }
)


PARAMS = """
profile: tiny
profile_note: These <models> are random.
bases: [m1, m1.5b]
format_notes: {raw: the bare <prompt>}
compare: {runs: {}}
models:
  m1: &row
    label: <m1>
    family: family
    training: random
    licence: none
    source: {kind: random, architecture: llama}
    tokenizer: {}
    scoring: {dtype: float32, formats: [raw]}
    note: made of <noise>
  m1.5b:
    <<: *row
    label: <m2>
"""


@pytest.fixture
def folder(metrics, tmp_path, monkeypatch):
    """A folder with params.yaml, the metrics, the table of tokens and the pictures of Section 3."""
    (tmp_path / "plots" / "implicit_rewards").mkdir(parents=True)
    (tmp_path / "metrics").mkdir()
    for name in ("base_preferences", "format_grid", "implicit_words", "implicit_tokens"):
        (tmp_path / "plots" / f"{name}.png").write_bytes(PIXEL)
    for name, told in metrics.items():
        (tmp_path / "metrics" / f"{name}.json").write_text(json.dumps(told))
    TOKENS.to_csv(tmp_path / "plots" / "implicit_rewards" / "tokens.csv", index=False)
    (tmp_path / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def rendered(folder) -> str:
    return page.report()


def test_every_number_of_a_small_report_is_its_metric(rendered, metrics):
    found = check(rendered, metrics)
    sources = {source for source, _, _ in found.numbers}
    at = "base_preferences:comparisons.0.cells.1"
    assert {f"{at}.three_way.contrast", f"{at}.three_way.ci_words.1", f"{at}.panels.3.p_words"} <= sources
    assert {f"{at}.panels.0.means.m1.5b", "implicit_rewards:pairs.0.contrast.mwlr.Love.score"} <= sources
    assert {f"{at}.by_set.plain.m1.5b.contrast.low", "lexicons:big_two.nouns"} <= sources
    assert unsourced(found, TOKENS) == set()


def test_what_is_text_is_escaped(rendered):
    for text in ("&lt;script&gt;alert(1)", "&lt;m1&gt;", "&lt;models&gt; are random", "made of &lt;noise&gt;"):
        assert text in rendered
    for text in ("<m1>", "<models>", "<noise>", "<agency>", "bare <prompt>"):
        assert text not in rendered


def test_a_cell_that_was_refused_says_why_and_shows_no_contrast(rendered):
    assert "refused: fewer than 5 words of &lt;agency&gt;" in rendered and "it needs another format" in rendered
    assert "cells.0.three_way" not in rendered


def test_a_section_whose_files_are_absent_says_so_in_one_line_or_is_left_out(folder):
    (folder / "plots" / "implicit_words.png").unlink()
    (folder / "metrics" / "lexicons.json").unlink()
    text = page.report()
    assert "No implicit reward was computed. (plots/implicit_words.png is not there.)" in text
    assert "No reward model was trained. (metrics/dynamics.json is not there.)" in text
    assert "<h2>The words</h2>" not in text  # declares nothing for its absence
    assert text.index("<h2>The models</h2>") < text.index("<h2>Preferences of the bases") < text.index("<h2>Implicit")


def test_a_section_registers_itself_by_being_there(folder, monkeypatch):
    made = types.ModuleType("valuetrace.report.sections.planted")
    made.TITLE, made.ORDER, made.needs = "Planted <values>", 35, lambda: ["metrics/planted.json"]
    made.render = lambda context: context.n("planted:found", ".1f")
    (folder / "metrics" / "planted.json").write_text('{"found": -1.25}')
    (folder / "planted.py").write_text("")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    monkeypatch.setattr(page.sections, "__path__", [*page.sections.__path__, str(folder)])
    text = page.report()
    assert "<h2>Planted &lt;values&gt;</h2>" in text and 'data-source="planted:found"' in text
    assert text.index("<h2>Preferences of the bases") < text.index("Planted") < text.index("<h2>Implicit reward")


def test_a_page_of_its_own_is_linked_and_names_what_it_lacks(rendered):
    assert '<a href="ablations.html">' in rendered
    with pytest.raises(InputError, match=r"metrics/ablations\.json: no such file; plots/ablations\.html needs it"):
        page.single("ablations")


def test_the_ablations_fill_a_page_of_their_own(folder):
    pair = {"first": "m1", "second": "m1.5b", "framing": "positive"}
    level = pair | {
        "data_size": 120,
        "when": "trained",
        "estimate": 1.25,
        "low": 0.5,
        "high": 2.0,
        "p": 0.01,
        "seeds": 3,
    }
    fit = pair | {"parameter": "per_doubling", "estimate": -0.5, "low": -1.5, "high": 0.5, "p": 0.2, "seeds": 3}
    fit |= {"sizes": 2, "left_out": 1, "refused": ""}
    refused = dict.fromkeys(fit) | pair | {"refused": "1 seed with <2> sizes", "parameter": ""}
    told = {"runs": 6, "bases": ["m1", "m1.5b"], "sizes": [120, 240], "seeds": [1, 2, 3], "source": "wordnet"}
    told |= {"objective": "bradley_terry", "reads": [{"base": "m1", "data_size": 120, "reads": 2, "runs": 3}]}
    told |= {"accuracy": [{"base": "m1.5b", "data_size": 120, "accuracy": 0.875, "accuracy_valence": None}]}
    told |= {"format": "raw", "log_probabilities_refused": {"m1": {"negative": "the <words> are improbable"}}}
    told |= {"gap_levels": [level], "gap_fit": [fit, refused], "inherited_levels": [level], "inherited_fit": [refused]}
    (folder / "metrics" / "ablations.json").write_text(json.dumps(told))
    for name in ("ablations", "inheritance"):
        (folder / "plots" / f"{name}.png").write_bytes(PIXEL)
    text = page.single("ablations")
    found = check(text, {"ablations": told})
    assert unsourced(found, TOKENS) == set()
    assert "refused: 1 seed with &lt;2&gt; sizes" in text and "gap_fit.1.estimate" not in text
    assert "After negative prompts nothing is held against &lt;m1&gt;'s log-probabilities" in text


def test_dynamics_show_no_gap_of_a_base_that_is_refused(folder):
    at = [{"step": step, "low": -2.5, "high": 1.5} for step in (0, 5, 10)]
    pair = {"first": "m1", "second": "m1.5b", "framing": "positive"}
    size = {"gap": -0.75, "change": 0.5, "change_low": 0.25, "change_high": 1.0}
    run = {"data_size": 480, "source": "wordnet", "objective": "bradley_terry", "seed": 1}
    told = {"run": run, "words": {"agency": 12}, "lexicon": "<nouns>", "prompts": {"positive": 9}, "steps": [0, 5, 10]}
    told |= {
        "draws": 2000,
        "seed": 1,
        "early_step": 5,
        "last_step": 10,
        "format": "raw",
        "case": "lower",
        "refused": {},
        "log_probabilities_refused": {"m1.5b": {"negative": "the <words> are improbable"}},
    }
    told |= {"held_out": {m: {"accuracy": 0.875} for m in ("m1", "m1.5b")}, "gaps": [pair | size | row for row in at]}
    told["readings"] = [{"base": "m1", "step": 10, "within": 0.5, "positive": -20.0}]
    told["inherited"] = [pair | {"inherited": 0.125} | row for row in at]
    own = {"base": "m1", "logprobs_of": "m1", "framing": "positive", "partial": 0.25, "words": 354}
    told["survival"] = [own | row for row in at]
    for name in ("dynamics", "movers", "token_paths"):
        (folder / "plots" / f"{name}.png").write_bytes(PIXEL)

    def text() -> str:
        (folder / "metrics" / "dynamics.json").write_text(json.dumps(told))
        return page.report()

    metrics = {path.stem: json.loads(path.read_text()) for path in (folder / "metrics").glob("*.json")}
    found = check(text(), metrics | {"dynamics": told})
    sources = {source for source, _, _ in found.numbers}
    assert {"dynamics:gaps.2.gap", "dynamics:inherited.2.inherited", "dynamics:survival.2.partial"} <= sources
    assert "negative prompts, &lt;m2&gt;'s log-probabilities: the &lt;words&gt; are improbable" in text()
    assert unsourced(found, TOKENS) == set()
    told["refused"] = {"m1.5b": {"refused": "the <prompts> are not read", "needs": "a larger base"}}
    assert "the &lt;prompts&gt; are not read" in text() and "refused: &lt;m2&gt;, see above" in text()
    assert "dynamics:gaps" not in text() and "dynamics:inherited" not in text()
    told["refused"] = {"m1": {"refused": "the <prompts> are not read", "needs": "a larger base"}}
    assert "dynamics:survival.2.partial" not in text()


@pytest.mark.parametrize("path", ["big_two.verbs", "big_two.nouns.0", "other"])
def test_a_number_that_is_not_there_is_an_error(metrics, path):
    with pytest.raises(InputError, match=re.escape(f"metrics/lexicons.json has no {path}")):
        numbers.Numbers(metrics)(f"lexicons:{path}")


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.0123, "p", ".012"),
        (3.4e-9, "p", "3e−9"),
        (1.0, "p", "1.000"),
        (0.0004, "p", "4e−4"),
        (-1.25, "+.1f", "−1.2"),
        (2e-14, "p", "2e−14"),
        (None, "p", "–"),
        ([1, 2], "count", "2"),
        ("<.0001", "", "<.0001"),
        (123456, ",", "123,456"),
        (7, "", "7"),
        (None, ".2f", "–"),
    ],
)
def test_numbers_are_written(value, form, text):
    (number,) = Page(str(numbers.Numbers({"f": {"x": value}})("f:x", form))).numbers
    assert number == ("f:x", "metrics/f.json: x", text)
    assert shows(text, value)


def test_the_check_finds_a_number_that_is_not_its_metric():
    assert not shows("0.13", 0.124)
    assert not shows("–", 0.0)
    assert not shows("1,235", 1234)
    assert shows("1.2e-04", 0.000124)


def test_intervals_are_written():
    assert writing.interval([-1.26, 2], 1) == "−1.3 to 2.0" and writing.interval(None) == "–"
    n = numbers.Numbers({"f": {"ci": [-1.26, 2.0], "none": None, "x": {"low": 0, "high": 1}}}, plain=True)
    assert n.interval("f:ci", "+.1f") == "−1.3 to +2.0" and n.interval("f:none", ".1f") == "–"
    assert n.interval("f:x", ".0f", ("low", "high")) == "0 to 1"


# --- the paper, item by item -----------------------------------------------------------------------

FIGURES = [f"Figure {name}" for name in ("1", "2", "3", "4a", "4b", "5", *(f"A{i}" for i in range(1, 9)))]
ITEMS = [*FIGURES, *(f"Table {name}" for name in ("1", "A1", "A2", "A3", "A4"))]


def test_every_item_of_the_paper_is_there_once(repository):
    found = paper_items.items(repository / paper_items.ITEMS)
    names = [row.item for row in found]
    assert len(set(names)) == len(names)
    assert sorted(name for name in names if not name.startswith("Section")) == sorted(ITEMS)
    assert {"Section 2, permutation tests", "Section 2, mixed model", "Section 2, top-k"} <= set(names)
    assert all(bool(row.where) == (row.status != "missing") and row.how for row in found)


def test_where_an_item_is_is_an_output_of_the_pipeline(repository):
    outputs = []
    for file in (
        "dvc.yaml",
        *(f"stages/{group}/dvc.yaml" for group in ("ablations", "dimensions", "planting", "published")),
    ):
        for stage in load(repository / file)["stages"].values():
            stage = stage.get("do", stage)
            for listed in ("outs", "metrics", "plots"):
                outputs += [out if isinstance(out, str) else next(iter(out)) for out in stage.get(listed, [])]
    patterns = [re.compile(re.sub(r"\\\$\\\{.*?\\\}", "[^/]+", re.escape(out)) + "(/.*)?") for out in outputs]
    for row in paper_items.items(repository / paper_items.ITEMS):
        for path in row.where:
            assert any(pattern.fullmatch(path) for pattern in patterns), (row.item, path)


def test_a_wrong_status_of_an_item_is_one_line(tmp_path):
    path = tmp_path / "items.yaml"
    path.write_text("items: [{item: Figure 1, what: x, where: [], status: fine, how: y}]")
    with pytest.raises(InputError, match=r"'items'\[0\].status is 'fine'"):
        paper_items.items(path)


# --- the report in the repository ----------------------------------------------------------------


def test_the_report_in_the_repository(repository):
    report, folder = repository / "plots" / "report.html", repository / "metrics"
    if not report.is_file():
        pytest.skip("plots/report.html is not there; `dvc repro` makes it")
    files = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.json"))}
    metrics = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in files.items()}
    text = report.read_text(encoding="utf-8")
    found = check(text, metrics)
    tokens = pd.read_csv(repository / "plots" / "implicit_rewards" / "tokens.csv", keep_default_na=False)
    assert unsourced(found, tokens) == set()
    assert np.isfinite(
        [float(t.replace(",", "").replace("−", "-")) for _, _, t in found.numbers if re.fullmatch(r"[-−+\d.,e]+", t)]
    ).all()


def test_the_page_of_dvc_plots_needs_no_network(repository):
    text = (repository / ".dvc" / "plots.html").read_text(encoding="utf-8")
    assert "{plot_divs}" in text
    assert [value for _, value in Page(text).loaded] == []
    assert not re.search(r"<script[^>]+src=|<link\b", text)
