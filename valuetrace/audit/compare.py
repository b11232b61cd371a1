"""Several audits side by side: percentiles by construct and framing, of models that can be compared (``beside``)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pandas as pd

from valuetrace.audit import comparison
from valuetrace.audit.page import KINDS, refused_rows, visible
from valuetrace.core import files
from valuetrace.core.numbers import interval, number
from valuetrace.report.numbers import Numbers
from valuetrace.report.page import picture, template

RESULTS = ("compare.json", "compare.csv", "compare.png", "compare.html")
COLUMNS = ("group", "model", "construct", "framing", "words", "percentile", "low", "high", "refused")


def compare(audits: Mapping[str, tuple[dict, Path]], failed: Mapping[str, str]) -> dict:
    """What compare.json holds. audits: model as it was given → what its profile.json holds, and its folder.

    ``groups``: models of one kind of score (of language models: one format, too), in the order given; each with
    ``kind``, ``title``, ``apart`` (why it does not stand beside the first group), ``common_words`` (that all of them
    rank) and ``models``: ``model``, ``audit`` (its folder), ``format``, ``ranked_words``, ``differs`` (from the first),
    ``not_finite``, ``rows`` of its profile. ``failed``: what is wrong with the models that are not there.
    """
    groups: list[list[tuple[str, dict, Path]]] = []
    names = Counter(result["model"]["name"] for result, _ in audits.values())
    for given, (result, out) in audits.items():
        name = result["model"]["name"] if names[result["model"]["name"]] == 1 else given
        home = next((g for g in groups if comparison.mismatch(g[0][1]["profile"], result["profile"]) is None), None)
        groups.append(home := []) if home is None else None
        cast(list, home).append((name, result, out))
    first = groups[0][0][1]["profile"]
    return {
        "lexicon": first["lexicon"],
        "prompts": first["prompts"],
        "interval": first["interval"],
        "groups": [_group(group, first) for group in groups],
        "failed": [{"model": name, "error": error} for name, error in failed.items()],
    }


def table(result: dict) -> pd.DataFrame:
    """compare.csv: ``COLUMNS``; group is its title, a refused number is missing and ``refused`` says why."""
    parts = []
    for group in result["groups"]:
        ours, *others = group["models"]
        parts.append(comparison.side_by_side(ours, others).assign(group=group["title"]))
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)]


def write(result: dict, folder: Path, out: Path) -> dict:
    """RESULTS into ``folder``, which becomes ``out``; returns what compare.json holds, of which the page is made."""
    from valuetrace.audit import picture as pictures  # matplotlib

    stored = files.read_json(files.write_json(result, folder / "compare.json"))
    files.write_csv(table(stored), folder / "compare.csv")
    pictures.draw_several(folder / "compare.csv", folder / "compare.png")
    files.write_text(page(stored, folder / "compare.png", out), folder / "compare.html")
    return stored


def page(result: dict, image: Path, out: Path) -> str:
    """compare.html, self-contained but for its links to the audits' own pages."""
    return template("compare.html.j2", "valuetrace.audit").render(
        n=Numbers({"compare": result}, folder=""),
        r=result,
        refused=refused_rows,
        link=lambda audit: Path(os.path.relpath(Path(audit, "audit.html"), out)).as_posix(),
        picture=picture(image, "Percentiles by construct and framing of every audited model"),
        visible=visible,
    )


def as_text(result: dict) -> str:
    """The percentiles and the refusals, for a terminal."""
    lines = []
    for group in result["groups"]:
        count = len(group["models"])
        lines.append(f"{group['title'].capitalize()} ({count}): {group['common_words']} words are ranked by all")
        lines += [f"  not beside the first: {group['apart']}"] if group["apart"] else []
        for at, row in enumerate(group["models"][0]["rows"]):
            lines.append(f"  {row['label']}, {row['framing']} prompts: percentile (95% over words)")
            for model in group["models"]:
                own = model["rows"][at]
                told = "refused" if "refused" in own else number(own["percentile"], 1)
                span = "" if "refused" in own else f" ({interval(own['percentile_interval'])})"
                lines.append(f"    {model['model']:<40} {told}{span}")
        for model in group["models"]:
            for row in refused_rows(model):
                lines.append(f"  Refused ({model['model']}: {row['where']}): {row['refused']}. Needed: {row['needs']}.")
    return "\n".join(lines + [f"Not audited ({row['model']}): {row['error']}" for row in result["failed"]])


def _group(group: list[tuple[str, dict, Path]], first: dict) -> dict:
    profiles = [result["profile"] for _, result, _ in group]
    ours = profiles[0]
    return {
        "kind": ours["kind"],
        "title": f"{KINDS[ours['kind']]}s"
        + (f", format {ours['format']['name']}" if ours["kind"] == "logprob" else ""),
        "apart": comparison.mismatch(first, ours),
        "common_words": len(comparison.common_words(profiles)),
        "models": [
            {"model": name, "audit": out.as_posix(), "format": result["profile"]["format"]["name"]}
            | {"ranked_words": result["profile"]["ranked_words"], "not_finite": result["not_finite"]}
            | {"differs": comparison.caveats(ours, result["profile"]), "rows": result["profile"]["rows"]}
            for name, result, out in group
        ],
    }
