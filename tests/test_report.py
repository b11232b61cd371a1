"""The report: every number is the one in the metrics file that it names, and nothing comes from the network."""

import base64
import json
import re
from decimal import Decimal
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup

from valuetrace.analysis.bases import implicit
from valuetrace.core.errors import InputError
from valuetrace.models.rows import Model, Scoring, Source, TokenizerChanges
from valuetrace.report import compare, page
from valuetrace.scoring.chat import Format

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
    for part in path.split("."):
        value = value[int(part) if isinstance(value, list) else part]
    return value


def shows(text: str, value) -> bool:
    """Whether ``text`` is ``value`` rounded to the digits that it shows."""
    if value is None or text == "–":
        return value is None and text == "–"
    if isinstance(value, str):
        return text == value
    shown = Decimal(text.replace(",", ""))
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
    listed = {f"{rank:,}" for rank in tokens["rank"]} | {f"{score:+.5f}" for score in tokens["score"]}
    listed |= {str(token) for token in tokens["token"]}
    bare = {cell.strip() for cell in found.cells}
    return {cell for cell in bare if re.fullmatch(r"[-+−]?[\d.,]*\d[\d.,]*(e[-+]?\d+)?%?", cell)} - listed


# --- a small report ------------------------------------------------------------------------------


def panel(construct: str, framing: str) -> dict:
    return {
        "construct": construct,
        "framing": framing,
        "means": {"m1": 12.345, "m2": 7.0},
        "difference": -5.345,
        "ci_words": [-9.96, 1.04],
        "cohens_d": -0.555,
        "cohens_d_ci_words": [-1.25, 0.35],
        "t": -2.249,
        "p_prompts_fdr": 3.21e-9,
        "p_words": 0.0321,
    }


@pytest.fixture
def metrics() -> dict:
    names = ["model", "construct", "framing", "model × construct", "model × framing", "construct × framing"]
    anova = [{"term": term, "F": 1.0, "p": 0.5} for term in names]
    three_way = {"F": 12.34, "p": 0.00049}
    anova.append({"term": "model × construct × framing"} | three_way)
    words, probability = {"agency": 30, "communion": 31}, {"m1": 0.00021, "m2": 0.0149}
    cell = {"format": "raw", "case": "lower", "words": words, "probability_on_words": probability, "anova": anova}
    cell["three_way_anova"] = three_way
    cell |= {"panels": [panel(c, f) for c in ("agency", "communion") for f in ("positive", "negative")]}
    cell |= {"three_way": {"contrast": -12.349, "ci_words": [-20.0, 4.449], "p_words": 0.0616}}
    refused = {key: cell[key] for key in ("format", "case", "words", "probability_on_words")}
    refused |= {"refused": "fewer than 5 shared single-token words of agency", "case": "capitalised"}
    summary = {"cells": 1, "negative_contrast": 1, "level": 0.05, "anova_below_level": 1, "words_below_level": 0}
    row = {"words": 100, "bare": 31, "space": 77, "bare_capitalised": 12, "space_capitalised": 40}
    contrast = {
        m: {"Freedom": {"score": 1.25e-4, "variants": 3}, "Love": {"score": None, "variants": 0}}
        for m in implicit.MEASURES
    }
    return {
        "lexicons": {"big_two": {"nouns": 263}},
        "log_probabilities": {
            "prompts": 54,
            "draws": 9999,
            "seed": 1,
            "comparisons": [{"comparison": "x", "models": ["m1", "m2"], "summary": summary, "cells": [refused, cell]}],
            "coverage": [{"model": m, "lexicon": "big_two", "construct": "agency", **row} for m in ("m1", "m2")],
        },
        "implicit_rewards": {
            "prompt": "greatest_ever_one",
            "measure": "mwlr",
            "words": {"Freedom": ["freedom"], "Love": ["love"]},
            "pairs": [{"first": "m1", "second": "m2", "format": "raw", "shared_tokens": 123456, "contrast": contrast}],
        },
    }


TOKENS = pd.DataFrame(
    {
        "first": "m1",
        "second": "m2",
        "format": "raw",
        "measure": "mwlr",
        "rank": [1, 123456],
        "token": ["<script>alert(1)</script>", " Love\n"],
        "score": [0.031251, -0.2],
    }
)


@pytest.fixture
def rendered(metrics, tmp_path, monkeypatch) -> str:
    (tmp_path / "plots").mkdir()
    for name in ("log_probabilities", "format_grid", "implicit_words", "implicit_tokens"):
        (tmp_path / "plots" / f"{name}.png").write_bytes(PIXEL)
    monkeypatch.chdir(tmp_path)
    source = Source("random", architecture="llama")
    made = (source, TokenizerChanges(), Scoring("float32", ["raw"]))
    rows = {name: Model(f"<{name}>", "family", "random", "none", *made) for name in ("m1", "m2")}
    return page.render(
        metrics,
        {"tokens": TOKENS},
        rows=rows,
        labels={name: row.label for name, row in rows.items()},
        profile="tiny",
        formats={"raw": Format("text", space=True, note="the bare prompt")},
        prompt="What is it?",
        sections=["<section><h2>As text</h2></section>", Markup("<section><h2>As markup</h2></section>")],
    )


def test_every_number_of_a_small_report_is_its_metric(rendered, metrics):
    found = check(rendered, metrics)
    sources = {source for source, _, _ in found.numbers}
    at = "log_probabilities:comparisons.0.cells.1"
    assert {f"{at}.three_way.contrast", f"{at}.three_way.ci_words.1", f"{at}.panels.3.p_words"} <= sources
    assert {"lexicons:big_two.nouns", "implicit_rewards:pairs.0.contrast.mwlr.Love.score"} <= sources
    assert unsourced(found, TOKENS) == set()


def test_sections_stand_in_the_page_as_html(rendered):
    for name in ("text", "markup"):
        assert f"<section><h2>As {name}</h2></section>" in rendered


def test_what_is_text_is_escaped(rendered):
    assert "&lt;script&gt;alert(1)" in rendered
    assert "&lt;m1&gt;" in rendered
    assert "<m1>" not in rendered


def test_the_tiny_profile_says_that_it_means_nothing(rendered):
    assert "These models are random" in rendered


def test_a_cell_that_was_refused_says_why(rendered):
    assert "not computed: fewer than 5 shared single-token words of agency" in rendered


@pytest.mark.parametrize("path", ["big_two.verbs", "big_two.nouns.0", "other"])
def test_a_number_that_is_not_there_is_an_error(metrics, path):
    with pytest.raises(InputError, match=re.escape(f"metrics/lexicons.json has no {path}")):
        page.Numbers(metrics)(f"lexicons:{path}")


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.0123, "p", ".012"),
        (3.4e-9, "p", "3e-09"),
        (1.0, "p", "1.000"),
        (0.0004, "p", "4e-04"),
        (-1.25, "+.1f", "-1.2"),
        (123456, ",", "123,456"),
        (7, "", "7"),
        (None, ".2f", "–"),
    ],
)
def test_numbers_are_written(value, form, text):
    (number,) = Page(str(page.Numbers({"f": {"x": value}})("f:x", form))).numbers
    assert number == ("f:x", "metrics/f.json: x", text)
    assert shows(text, value)


def test_the_check_finds_a_number_that_is_not_its_metric():
    assert not shows("0.13", 0.124)
    assert not shows("–", 0.0)
    assert not shows("1,235", 1234)
    assert shows("1.2e-04", 0.000124)


# --- the report in the repository ----------------------------------------------------------------


def test_the_report_in_the_repository(repository):
    report, folder = repository / "plots" / "report.html", repository / "metrics"
    if not report.is_file():
        pytest.skip("plots/report.html is not there; `dvc repro` makes it")
    files = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.json"))}
    metrics = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in files.items()}
    text = report.read_text(encoding="utf-8")
    for name, file in metrics.items():  # a comparison's section is, to the letter, what its metrics file renders to
        if name.startswith("compare/"):
            text = text.replace(section := compare.section(file, file["title"]), "")
            assert section not in text
    assert "<section>" not in text
    found = check(text, metrics)
    tokens = pd.read_csv(repository / "plots" / "implicit_rewards" / "tokens.csv", keep_default_na=False)
    assert unsourced(found, tokens) == set()
    assert np.isfinite([float(t.replace(",", "")) for _, _, t in found.numbers if re.fullmatch(r"[-+\d.,e]+", t)]).all()


def test_the_page_of_dvc_plots_needs_no_network(repository):
    text = (repository / ".dvc" / "plots.html").read_text(encoding="utf-8")
    assert "{plot_divs}" in text
    assert [value for _, value in Page(text).loaded] == []
    assert not re.search(r"<script[^>]+src=|<link\b", text)
