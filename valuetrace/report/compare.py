"""The comparison in words: an HTML section and a table for the terminal, every number from compare.json."""

from __future__ import annotations

from html import escape

HEAD = "<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title><style>{style}</style><body>"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; font-size: .85rem; margin: 1rem 0 }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: right; vertical-align: top }
th:first-child, td:first-child { text-align: left }
img { max-width: 100% }
.scroll { overflow-x: auto }
"""


def page(metrics: dict, title: str, plots: str = "plots") -> str:
    """A page of its own around ``section``; ``plots`` is the folder of the pictures, seen from the page."""
    return HEAD.format(title=escape(title), style=STYLE) + section(metrics, title, plots) + "</body></html>\n"


def section(metrics: dict, title: str, plots: str | None = None) -> str:
    """An HTML fragment (``<section>``) for one comparison; ``plots`` None leaves out the pictures."""
    parts = [f"<section><h2>{escape(title)}</h2>", f"<p>{escape(summary(metrics))}</p>"]
    if plots is not None:
        parts.append(_figure(f"{plots}/figure_1.png", "Median ranks by base, construct and framing (as Figure 1)."))
    parts += [
        "<h3>Each construct and framing</h3>",
        _panels(metrics),
        f"<p>{escape(three_way(metrics))}</p>",
        f"<p>Random lexicons ({metrics['random_lexicon']['draws']:,}): "
        f"{escape(metrics['random_lexicon']['meaning'])}; matched on "
        f"{escape(metrics['random_lexicon']['matched_on'])}.</p>",
        _published(metrics),
        _top_k(metrics),
        "<h3>Under other choices</h3>",
        _table(
            ["", "words", "models", "three-way contrast", "p, models as units"],
            [
                [
                    row["variant"],
                    number(row.get("words"), 0),
                    number(row.get("models"), 0),
                    number(row.get("three_way", {}).get("coefficient"), 1),
                    p_value(row.get("three_way", {}).get("p_model_unit")),
                ]
                for row in metrics["sensitivity"]
            ],
        ),
        f"<h3>Left out</h3><p>{escape(left_out(metrics))}</p></section>",
    ]
    return "\n".join(part for part in parts if part)


def as_text(metrics: dict) -> str:
    """The panels, the interaction and what was left out, for a terminal."""
    lines = [summary(metrics), ""]
    head = (
        f"{'construct':<14}{'framing':<10}{'difference':>11}{'d':>7}{'p prompts':>11}{'p models':>10}{'p lexicons':>12}"
    )
    lines.append(head)
    for row in metrics["panels"]:
        lines.append(
            f"{row['construct']:<14}{row['framing']:<10}{number(row['difference'], 1):>11}{number(row['cohens_d']):>7}"
            f"{p_value(row['p_bonferroni']):>11}{p_value(row['p_model_unit']):>10}{p_value(row['p_random_lexicon']):>12}"
        )
    return "\n".join([*lines, "", three_way(metrics), left_out(metrics)])


def summary(metrics: dict) -> str:
    """What was compared, in two sentences."""
    n = metrics["n"]
    models = " and ".join(f"{len(names)} of {base}" for base, names in n["models"].items())
    prompts = " and ".join(f"{count} {framing}" for framing, count in n["prompts"].items())
    words = ", ".join(f"{count} of {construct}" for construct, count in n["words"].items())
    reason = metrics["three_way"]["model_unit_reason"]
    sentences = [
        f"Models: {models}; prompts: {prompts}.",
        f"Words ranked: {n['words_ranked']} ({words}; lexicon {metrics['lexicon']}).",
        f"Differences are {metrics['difference']} in median rank (1 = best), so that a negative one means that",
        f"{metrics['bases'][1]} ranks the construct better.",
    ]
    return " ".join(sentences + ([f"No test with models as units: {reason}."] if reason else []))


def three_way(metrics: dict) -> str:
    """The interaction in a sentence."""
    row = metrics["three_way"]
    mixed = f"mixed model, 95% {interval(row['ci'], 2)}, p {p_value(row['p_mixed'])}"
    if row["mixed_reason"]:
        mixed = f"no mixed model: {row['mixed_reason']}"
    models = f"models as units: p {p_value(row['p_model_unit'])}, 95% {interval(row['ci_models_prompts_words'])}"
    lexicons = f"random lexicons: p {p_value(row['p_random_lexicon'])}"
    return f"Base × construct × framing: coefficient {number(row['coefficient'])} ({mixed}); {models}; {lexicons}."


def left_out(metrics: dict) -> str:
    """Every exclusion with its count."""
    excluded = metrics["n"]["excluded"]
    texts = excluded["texts_not_in_lexicon"]
    copies = sum(sum(counts.values()) for counts in excluded["duplicate_rows"].values())
    return (
        f"Left out: {excluded['lexicon_words_not_scored']['count']} lexicon words that some file does not score, "
        f"{excluded['lexicon_words_with_nan']['count']} with NaN, "
        f"{excluded['prompts_not_in_every_file']['count']} prompts that some file lacks, "
        f"{excluded['prompts_of_no_known_framing']['count']} of no known framing, {copies} rows of a text that stands "
        f"twice; {max(texts.values())} texts a file, at most, are not in the lexicon."
    )


def number(value: float | None, digits: int = 2) -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def p_value(value: float | None) -> str:
    """A p-value with two figures below .01."""
    if value is None:
        return "–"
    return f"{value:.3f}" if value >= 0.01 else f"{value:.2g}"


def interval(pair: list[float] | None, digits: int = 1) -> str:
    """``low to high``, or a dash."""
    return "–" if pair is None else f"{number(pair[0], digits)} to {number(pair[1], digits)}"


def _panels(metrics: dict) -> str:
    tests = ("p_permutation", "p_bonferroni", "p_model_unit", "p_random_lexicon")
    rows = [
        [
            f"{row['construct']}, {row['framing']}",
            *(number(row["means"][base], 1) for base in metrics["bases"]),
            number(row["difference"], 1),
            number(row["cohens_d"]),
            *(p_value(row[test]) for test in tests),
            interval(row["ci_models_prompts_words"]),
        ]
        for row in metrics["panels"]
    ]
    names = ["p, prompts as units", "Bonferroni", "p, models as units", "p, random lexicons"]
    return _table(["", *metrics["bases"], "difference", "d", *names, "95% interval, models as units"], rows)


def _published(metrics: dict) -> str:
    rows = [
        [
            f"{row['construct']}, {row['framing']}",
            " ".join(filter(None, [row["published"]["better"], "p", row["published"]["p"]])),
            number(row["recomputed"]["difference"], 1),
            number(row["recomputed"].get("cohens_d")),
            p_value(row["recomputed"].get("p_permutation", row["recomputed"].get("p_mixed"))),
            p_value(row["model_unit"]["p"]),
            {True: "yes", False: "no", None: "–"}[row["agrees"]],
        ]
        for row in metrics["published"]
    ]
    if not rows:
        return ""
    head = ["", "published: better base", "recomputed difference", "d", "p", "p, models as units", "same sign"]
    why = dict.fromkeys(row["explanation"] for row in metrics["published"])
    notes = "".join(f"<li>{escape(text)}</li>" for text in why)
    return f"<h3>Published, recomputed, with the model as the unit</h3>{_table(head, rows)}<ul>{notes}</ul>"


def _top_k(metrics: dict) -> str:
    top = metrics["top_k"]
    if top["texts"] is None:
        return ""
    rows = [
        [f"{row['base']}, {row['construct']}", row["prompts"], number(row["mean_count"]), number(row["mean_rank"])]
        for row in top["rows"]
    ]
    head = ["", "prompts", f"of the top {top['k']}", "mean rank"]
    return f"<h3>The top {top['k']} of the {top['texts']:,} shared texts</h3>{_table(head, rows)}"


def _figure(source: str, caption: str) -> str:
    caption = escape(caption)
    return f"<figure><img src='{escape(source)}' alt='{caption}'><figcaption>{caption}</figcaption></figure>"


def _table(head: list[str], rows: list[list[str]]) -> str:
    def line(cells, tag):
        return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    body = line(head, "th") + "".join(line(row, "td") for row in rows)
    return f'<div class="scroll"><table>{body}</table></div>'
