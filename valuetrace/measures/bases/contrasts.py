"""Do the base models rank value words differently (Section 3.1)? The paper's tests, and tests of independent units.

In every cell (``cells``): rank the shared words by log-probability, take each construct's median rank a prompt, and
compare two models, unless the cell cannot be read.

The paper's tests take the medians of one ranking for independent observations. Beside them stand tests that do not: one
difference (agency − communion) a prompt, paired between the models; the same with the prompts' adjectives as units; a
permutation of the construct labels over words.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from valuetrace.measures import calibration, validity
from valuetrace.measures.bases.cells import Cell, cell, medians, probability_on_words, with_scores
from valuetrace.measures.bases.implicit import Analysis
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format
from valuetrace.scoring.spelling import word_scores
from valuetrace.stats.bootstrap import CHUNK, FEWEST_WORDS, percentile_interval, word_draws
from valuetrace.stats.inference import Welch, cliffs_delta, fdr_bh, group_permutation, holm, smallest_p, welch_t
from valuetrace.stats.ranks import subset_medians


def paper_anova(medians: pd.DataFrame) -> dict:
    """``anova`` (every term) and ``three_way_anova`` (F and p of the interaction): the paper's test, as it made it."""
    anova = three_way_anova(medians)
    interaction = anova.set_index("term").loc["model × construct × framing", ["F", "p"]].to_dict()
    return {"anova": [row.dropna().to_dict() for _, row in anova.iterrows()], "three_way_anova": interaction}


def three_way_anova(medians: pd.DataFrame) -> pd.DataFrame:
    """Type II ANOVA of ``median_rank ~ model × construct × framing``, every median being an observation.

    Returns ``term, sum_of_squares, df, F, p`` and a residual row (Section 3.1: F(1, 208)). The medians of two
    constructs in one ranking exclude one another, so each ranking counts twice: ``interaction`` counts it once.
    """
    import statsmodels.api as sm
    import statsmodels.formula.api as smf

    fit = smf.ols("median_rank ~ C(model) * C(construct) * C(framing)", medians).fit()
    table = sm.stats.anova_lm(fit, typ=2).reset_index()
    table.columns = ["term", "sum_of_squares", "df", "F", "p"]
    table["term"] = table["term"].str.replace(r"C\((\w+)\)", r"\1", regex=True).str.replace(":", " × ")
    return table


def panels(cell: Cell, draws: int, seed: int) -> tuple[list[dict], dict]:
    """Each construct and framing, model against model, and the three-way contrast.

    A panel: means of the median rank (prompts averaged), ``difference`` = second − first model in alphabetical order;
    over words a bootstrap interval, a permutation p and Cliff's δ of the words' mean ranks; over prompts ``p_paired``
    (the two models answer the same prompts) and the paper's Welch t, as if they did not, with FDR over the panels. The
    contrast is (agency − communion under positive framing) − (the same under negative), second − first model, in
    ranks: an interval and p over words, and ``interaction``.
    """
    positive = (cell.prompts["framing"] == "positive").to_numpy()
    member = cell.members
    observed = subset_medians(cell.ranks, member).reshape(len(member), len(cell.models), -1)
    statistics = _statistics(observed[None], positive)
    rng = np.random.default_rng(seed)

    def of(counts: np.ndarray) -> dict[str, np.ndarray]:
        """The statistics of many draws of words, counts (constructs, draws, words)."""
        values = np.stack([subset_medians(cell.ranks, of_construct) for of_construct in counts], axis=1)
        return _statistics(values.reshape(*values.shape[:2], len(cell.models), -1), positive)

    relabeled = _joined([of(_relabel(member, min(CHUNK, draws - start), rng)) for start in range(0, draws, CHUNK)])
    resampled = _joined([of(counts) for counts in word_draws(member, draws, rng)])

    by_word = cell.ranks.reshape(len(cell.words), len(cell.models), -1)
    rows = []
    for i, construct in enumerate(cell.constructs):
        for j, (framing, chosen) in enumerate({"positive": positive, "negative": ~positive}.items()):
            first, second = observed[i, 0, chosen], observed[i, 1, chosen]
            welch = welch_t(first, second)
            rows.append(
                {
                    "construct": construct,
                    "framing": framing,
                    "means": dict(zip(cell.models, (first.mean(), second.mean()), strict=True)),
                    "difference": second.mean() - first.mean(),
                    "ci_words": list(percentile_interval(resampled["difference"][:, i, j])),
                    "cliffs_delta": cliffs_delta(*by_word[member[i]][:, :, chosen].mean(axis=2).T),
                    **_told(welch),
                    "p_paired": _paired_p(second - first),
                    "p_words": _two_sided(relabeled["difference"][:, i, j], statistics["difference"][0, i, j]),
                }
            )
    for row, p in zip(rows, fdr_bh([row["p_prompts"] for row in rows]), strict=True):
        row["p_prompts_fdr"] = float(p)
    contrast = {
        "contrast": float(statistics["contrast"][0]),
        "ci_words": list(percentile_interval(resampled["contrast"])),
        "p_words": _two_sided(relabeled["contrast"], statistics["contrast"][0]),
    }
    return rows, contrast | interaction(cell, observed)


def levels(cell: Cell, draws: int, seed: int) -> dict[str, dict]:
    """Model → ``positive``, ``negative`` and ``contrast`` (their difference) of agency − communion, percentile points.

    The first construct in alphabetical order less the second; above 0 where its words are the more probable. Each is
    {estimate, low, high}: medians of ranks, prompts averaged, 95 % over words.
    """
    positive, member = (cell.prompts["framing"] == "positive").to_numpy(), cell.members

    def of(counts: np.ndarray) -> np.ndarray:
        """(models, 3) of one draw of words, counts (constructs, words)."""
        medians = subset_medians(cell.ranks, counts).reshape(len(member), len(cell.models), -1)
        gaps = (medians[1] - medians[0]) * 100 / len(cell.words)
        both = np.stack([gaps[:, own].mean(axis=1) for own in (positive, ~positive)], axis=1)
        return np.concatenate([both, both[:, :1] - both[:, 1:]], axis=1)

    observed, rng = of(member), np.random.default_rng(seed)
    drawn = np.stack([of(own) for counts in word_draws(member, draws, rng) for own in counts.swapaxes(0, 1)])
    found: dict[str, dict] = {}
    for (i, model), (j, name) in product(enumerate(cell.models), enumerate(("positive", "negative", "contrast"))):
        low, high = percentile_interval(drawn[:, i, j])
        found.setdefault(model, {})[name] = {"estimate": float(observed[i, j]), "low": low, "high": high}
    return found


def interaction(cell: Cell, observed: np.ndarray) -> dict:
    """The three-way interaction with one number a prompt: agency − communion, second − first model.

    observed: medians (constructs, models, prompts). ``t, df, p_prompts``: Welch's test of the positive prompts' numbers
    against the negative ones'. ``by_adjective``: framing is a few adjectives against a few others, so the exact p over
    all assignments of framings to adjectives, and the smallest that so many allow (three against three: .10).
    """
    gaps = observed[:, 1] - observed[:, 0]
    gaps = pd.Series(gaps[0] - gaps[1], index=cell.prompts["key"])
    framing = cell.prompts.set_index("key")["framing"]
    welch = welch_t(gaps[framing == "negative"], gaps[framing == "positive"])
    by_adjective = (
        cell.prompts.assign(gap=gaps.to_numpy()).groupby(["adjective", "framing"])["gap"].mean().reset_index()
    )
    second = (by_adjective["framing"] == "positive").to_numpy()
    adjectives = {
        "p": group_permutation(by_adjective["gap"], second),
        "smallest_p": smallest_p(int((~second).sum()), int(second.sum())),
    }
    return _told(welch) | {"by_adjective": adjectives}


def corrected(cells: list[dict]) -> list[dict]:
    """The cells with ``p_words_holm`` beside ``p_words``: a family of all contrasts that are shown, one of all panels.

    cells: of the whole grid (every comparison, format, spelling); refused ones, which hold no test, do not count.
    """
    read = [found for found in cells if "refused" not in found]
    for family in ([row["three_way"] for row in read], [panel for row in read for panel in row["panels"]]):
        for row, p in zip(family, holm([row["p_words"] for row in family]), strict=True):
            row["p_words_holm"] = float(p)
    return cells


MEDIANS = ["comparison", "format", "case", "reading", "construct", "framing", "prompt", "model", "median_rank", "words"]


def assess(
    tables: dict[str, pd.DataFrame],
    lexicon: pd.DataFrame,
    known: pd.DataFrame,
    form: Format,
    case: str,
    chosen: Analysis,
    neutral: dict[str, pd.DataFrame] | None = None,
) -> tuple[dict, pd.DataFrame | None]:
    """One cell's part of metrics/base_preferences.json, and its medians (None where the cell is refused).

    tables: model → score table; known: the known groups. neutral: model → its table after the neutral prompts; with
    them the log-probabilities are calibrated, and ``by_set`` has ``levels`` by each set of them. A cell is refused
    (``refused``, ``needs``) where it has too few words, where they are too improbable, or where a model does not read
    the prompts (``readings``).
    """
    prompts, rule = value_laden(), validity.rule()
    made = cell(tables, lexicon, prompts, form, case)
    counts = made.words["construct"].value_counts().reindex(chosen.constructs, fill_value=0)
    probability = probability_on_words(made)
    result: dict = {"words": counts.to_dict(), "probability_on_words": probability}
    if counts.min() < FEWEST_WORDS:
        few = f"{counts.min()} words of {counts.idxmin()} are single tokens of both vocabularies"
        return result | {"refused": few, "needs": f"{FEWEST_WORDS} words: another format or spelling"}, None
    framing, keys = prompts.set_index("key")["framing"], list(prompts["key"])
    asked = [*made.words["word"], *known["word"]]
    scores = {model: word_scores(table, asked, keys, form, case) for model, table in tables.items()}
    by_set = {}
    if neutral is not None:
        by_set = {
            name: {
                model: calibration.calibrated(raw, word_scores(neutral[model], asked, own, form, case), own)
                for model, raw in scores.items()
            }
            for name, own in calibration.sets().items()
        }
        scores = by_set[calibration.ALL]
        made = with_scores(made, scores)
    result["readings"] = {
        model: validity.of_log_probabilities(
            validity.reading(table, framing, known, rule, pd.Index(made.words["word"])), probability[model], rule
        )
        for model, table in scores.items()
    }
    refused = {model: told["refused"] for model, told in result["readings"].items() if told["refused"]}
    if refused:
        needs = "a format and spelling in which the models answer with such words, and answer the question"
        return result | {"refused": "; ".join(f"{m}: {why}" for m, why in refused.items()), "needs": needs}, None
    of_cell = medians(made)
    panels_found, contrast = panels(made, chosen.draws, chosen.seed)
    result["by_model"] = levels(made, chosen.draws, chosen.seed)
    if by_set:
        result["by_set"] = {
            name: levels(with_scores(made, own), chosen.draws, chosen.seed) for name, own in by_set.items()
        }
    of_cell = of_cell.assign(words=of_cell["construct"].map(counts))
    return result | paper_anova(of_cell) | {"panels": panels_found, "three_way": contrast}, of_cell


def summary(cells: list[dict], level: float = 0.05) -> dict:
    """How far the cells agree: signs of the three-way contrast, and how many tests fall below ``level``.

    cells: those that can be read, of one comparison, ``corrected``.
    """
    three_way = [cell["three_way"] for cell in cells]
    return {
        "cells": len(cells),
        "negative_contrast": sum(row["contrast"] < 0 for row in three_way),  # the paper's direction, Llama − Gemma
        "level": level,
        "anova_below_level": sum(cell["three_way_anova"]["p"] < level for cell in cells),
        "prompts_below_level": sum(row["p_prompts"] < level for row in three_way),
        "words_below_level": sum(row["p_words"] < level for row in three_way),
        "words_below_level_holm": sum(row["p_words_holm"] < level for row in three_way),
    }


def grid_row(result: dict) -> dict:
    """``assess``'s result as a row of the grid: words, probability, known groups, the contrast or why it is refused."""
    readings = result.get("readings", {}).values()
    known = [
        told["known_groups"]["difference"]["estimate"] for told in readings if "difference" in told["known_groups"]
    ]
    least = min(mass for of in result["probability_on_words"].values() for mass in of.values())
    row = {"words": sum(result["words"].values()), "probability": least}
    row |= {"known": min(known, default=None), "refused": result.get("refused", "")}
    contrast, anova = result.get("three_way", {}), result.get("three_way_anova", {})
    low, high = contrast.get("ci_words", (None, None))
    row |= {"contrast": contrast.get("contrast"), "low": low, "high": high}
    row |= {name: contrast.get(name) for name in ("p_words", "p_words_holm", "p_prompts")}
    return row | {"p_anova": anova.get("p"), "F": anova.get("F")}


def _told(welch: Welch) -> dict[str, float | None]:
    """``t, df, p_prompts``; where no prompt differs from another there is no t, and p is 1."""
    if np.isfinite(welch.t):
        return {"t": float(welch.t), "df": float(welch.df), "p_prompts": float(welch.p)}
    return {"t": None, "df": None, "p_prompts": 1.0 if np.isnan(welch.t) else 0.0}


def _paired_p(differences: np.ndarray) -> float | None:
    """Two-sided p of a paired t test; None where every prompt has the same difference."""
    spread = differences.std(ddof=1)
    if not spread > 0:
        return None
    t = differences.mean() / spread * np.sqrt(len(differences))
    return float(2 * student_t.sf(abs(t), len(differences) - 1))


def _statistics(values: np.ndarray, positive: np.ndarray) -> dict[str, np.ndarray]:
    """From medians (draws, constructs, models, prompts): difference (draws, constructs, framings) and contrast."""
    means = np.stack([values[..., own].mean(axis=-1) for own in (positive, ~positive)], axis=-1)
    difference = means[:, :, 1] - means[:, :, 0]
    by_framing = difference[:, 0] - difference[:, 1]
    return {"difference": difference, "contrast": by_framing[:, 0] - by_framing[:, 1]}


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _relabel(member: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Construct labels dealt out anew over the words, sizes kept: (constructs, draws, words)."""
    order = rng.permuted(np.tile(np.arange(member.shape[1]), (draws, 1)), axis=1)
    return member[:, order]


def _two_sided(draws: np.ndarray, observed: float) -> float:
    """(b + 1) / (m + 1), b of m draws at least as far from 0 as the data."""
    return float((1 + (np.abs(draws) >= abs(observed) - 1e-9).sum()) / (1 + len(draws)))
