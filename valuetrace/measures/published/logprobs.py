"""Section 3 from the released log-probabilities of the language models: Figures 2 and 3, Tables 1, A2 and A3.

The authors ask every model in its own chat template, a pretrained one with the bare prompt, and look words up in lower
case without a space before them. Each part below takes what it needs and is made where those files are here.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from valuetrace.measures.bases import cells, implicit
from valuetrace.measures.bases.contrasts import assess, corrected, panels, paper_anova
from valuetrace.measures.bases.implicit import Analysis, Tokens
from valuetrace.measures.published.sources import FETCHED, logprobs_file
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format
from valuetrace.tables import read_scores

FOLDER = FETCHED / "logprobs"
FORM, CASE = Format("text", space=False), "lower"


def path(repository: str) -> Path:
    """Where the released file of a model lies."""
    return FOLDER / logprobs_file(repository)


def here(repositories: list[str]) -> bool:
    """Whether every model's file is here."""
    return all(path(name).is_file() for name in repositories)


def pair(models: list[str], words: pd.DataFrame, known: pd.DataFrame, chosen: Analysis) -> tuple[dict, pd.DataFrame]:
    """Figure 2: one pair as the paper tests it, and beside that what it does not ask.

    words: ``inputs.nouns``; known: the known groups. Returns the result of ``bases.contrasts.assess`` with the
    paper's own numbers, which stand whether the pair can be read or is refused (``anova, three_way_anova,
    residual_df, largest_p_fdr``: recomputed, not believed), and every prompt's medians (``cells.medians``).
    """
    keys = list(value_laden()["key"])
    asked = {*words["word"], *known["word"]}
    tables = {}
    for name in models:  # a vocabulary of 256,000 tokens is large: only the words are kept
        table = read_scores(path(name), keys)
        tables[name] = table[table["token_decoded"].isin(asked)]
    made = cells.cell(tables, words, value_laden(), FORM, CASE)
    medians = cells.medians(made)
    paper = paper_anova(medians)
    residual = next(row for row in paper["anova"] if row["term"] == "Residual")
    paper |= {"models": list(made.models), "residual_df": float(residual["df"])}
    welch, _ = panels(made, 1, chosen.seed)  # nothing of it that is drawn
    paper["largest_p_fdr"] = max(row["p_prompts_fdr"] for row in welch)
    told, _ = assess(tables, words, known, FORM, CASE, chosen)
    return corrected([told | paper])[0], medians


def of_one_prompt(repositories: list[str], chosen: Tokens) -> dict[str, pd.DataFrame]:
    """Model → its score table for the one prompt of the tables and of Figure 3."""
    return {name: read_scores(path(name), [chosen.prompt]) for name in dict.fromkeys(repositories)}


def optimal_tokens(
    scores: dict[str, pd.DataFrame], tables: dict[str, list[str]], chosen: Tokens
) -> tuple[dict, pd.DataFrame]:
    """Tables 1, A2, A3: ``table, first, second, rank, token, score, log_p, log_q``, and the number of shared tokens."""
    shared, parts = {}, []
    for name, (first, second) in tables.items():
        joined = implicit.join_tokens(scores[first], scores[second], chosen.prompt)
        shared[name] = len(joined)
        parts.append(
            implicit.extremes(joined, chosen.measure, chosen.top).assign(table=name, first=first, second=second)
        )
    columns = ["table", "first", "second", "rank", "token", "score", "log_p", "log_q"]
    return shared, pd.concat(parts, ignore_index=True)[columns]


def contrasts(scores: dict[str, pd.DataFrame], models: pd.DataFrame, chosen: Tokens) -> pd.DataFrame:
    """Figure 3: every pair of instruction-tuned models of the two bases, first base to second.

    models: rows of ``published.language_models`` that are compared. Columns ``first, second, size_first, size_second,
    measure, label, score`` (mean over a word's spellings), ``variants, place`` (of the label's best-placed spelling
    among all shared tokens, 1 = most preferred by the second model), ``from_end`` (of its worst-placed, 1 = the last).
    """
    size, rows = models.set_index("repository")["size"], []
    by_base = [list(own["repository"]) for _, own in models.groupby("base")]
    for first, second in product(*by_base):
        joined = implicit.join_tokens(scores[first], scores[second], chosen.prompt)
        order = np.argsort(-implicit.MEASURES[chosen.measure](*joined[["log_p", "log_q"]].to_numpy().T), kind="stable")
        text = joined["token"].str.strip().str.lower().to_numpy()[order]
        for row in cast(Any, implicit.contrast(joined, chosen.measure, chosen.contrast).itertuples()):
            listed = [word.lower() for word in chosen.contrast[row.label]]
            places = np.flatnonzero(np.isin(text, listed)) + 1
            about = {"first": first, "second": second, "size_first": size[first], "size_second": size[second]}
            about |= {"measure": chosen.measure, "label": row.label, "score": row.score, "variants": row.variants}
            ends = (places[0], len(text) + 1 - places[-1]) if len(places) else (None, None)
            rows.append(about | dict(zip(("place", "from_end"), ends, strict=True)))
    return pd.DataFrame(rows)


def contrast_summary(table: pd.DataFrame) -> dict:
    """What Section 3.2 counts: pairs in which the first label scores above the second, and whether the gap grows.

    *_not_larger: of two models of one base, unequal in size and compared with one model of the other base, how often
    the larger one's gap is not the larger; ``*_of`` how many such there are.
    """
    labels = list(dict.fromkeys(table["label"]))
    wide = table.pivot(index=["first", "second", "size_first", "size_second"], columns="label", values="score")
    gap = (wide[labels[0]] - wide[labels[1]]).rename("gap").reset_index()
    found = {
        "pairs": len(gap),
        "first_label_higher": int((gap["gap"] > 0).sum()),
        "first_label_at_the_top": int((table[table["label"] == labels[0]]["place"] == 1).sum()),
        "second_label_among_last_two": int((table[table["label"] == labels[1]]["from_end"] <= 2).sum()),
    }
    for side, other in (("first", "second"), ("second", "first")):
        ordered = [
            (small.gap, large.gap)
            for _, own in gap.groupby(other)
            for small in own.itertuples()
            for large in own.itertuples()
            if getattr(small, f"size_{side}") < getattr(large, f"size_{side}")
        ]
        found[f"{side}_not_larger"] = sum(small >= large for small, large in ordered)
        found[f"{side}_of"] = len(ordered)
    return found


def printed_tokens(printed: pd.DataFrame, made: pd.DataFrame) -> dict[str, dict]:
    """Table → how many of its printed rows agree: ``rows, same_score`` (to the printed digits), ``same_token``.

    printed: ``table, side`` (top, bottom), ``place`` (1 = the extreme), ``token, score`` as printed (text); made:
    ``optimal_tokens``. A leading space is printed as ``_``.
    """
    made = made.assign(side=np.where(made["score"] > 0, "top", "bottom"))
    from_end = made.groupby(["table", "side"])["rank"].transform("max") + 1 - made["rank"]
    made["place"] = np.where(made["side"] == "top", made["rank"], from_end).astype(int)
    printed = printed.assign(place=printed["place"].astype(int))
    both = printed.merge(made, on=["table", "side", "place"], how="left", suffixes=("_printed", ""))
    found = {}
    for name, own in cast(Any, both.groupby("table", sort=False)):
        same = [
            abs(float(text) - score) <= 0.51 * 10.0 ** -len(text.partition(".")[2])
            for text, score in zip(own["score_printed"], own["score"], strict=True)
        ]
        spelt = own["token_printed"].str.replace("_", " ", regex=False) == own["token"]
        found[name] = {"rows": len(own), "same_score": int(sum(same)), "same_token": int(spelt.sum())}
    return found


def out_of_order(printed: pd.DataFrame) -> dict[str, int]:
    """Table → how many of its printed scores, from best to worst, have to be removed for the rest to be in order."""
    found = {}
    for name, own in cast(Any, printed.groupby("table", sort=False)):
        place = own["place"].astype(int)
        own = own.assign(at=np.where(own["side"] == "top", place, 10**6 - place)).sort_values("at")
        scores, longest = own["score"].astype(float).to_list(), cast("list[float]", [])
        for score in scores:  # the longest run that never rises, by the least negated end of each length
            at = bisect_right(longest, -score)
            longest[at : at + 1] = [-score]
        found[name] = len(scores) - len(longest)
    return found
