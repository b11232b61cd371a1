"""Do the base models rank value words differently? (Section 3.1)

A *cell* is one prompt format and one spelling of the words. In every cell: rank the shared words by
log-probability, take each construct's median rank a prompt, and compare two models. The paper's
tests take prompts as independent observations; beside them stands a permutation of the construct
labels over words, which does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from valuetrace.analysis import validity
from valuetrace.analysis.bases.settings import Analysis
from valuetrace.core.errors import InputError, some
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format
from valuetrace.scoring.spelling import CASES, word_scores
from valuetrace.stats.bootstrap import CHUNK, FEWEST_WORDS, percentile_interval, word_draws
from valuetrace.stats.inference import cohens_d, fdr_bh, welch_t
from valuetrace.stats.ranks import rank_words, subset_medians

MEDIANS = ["comparison", "format", "case", "construct", "framing", "prompt", "model", "median_rank", "words"]


@dataclass(frozen=True)
class Cell:
    """Scores of the shared words: ``scores`` is (models, words, prompts) in nats, prompts as in ``prompts``."""

    models: tuple[str, str]
    words: pd.DataFrame  # word, construct
    prompts: pd.DataFrame  # key, framing
    scores: np.ndarray

    @property
    def members(self) -> np.ndarray:
        """(constructs, words) booleans; constructs in alphabetical order."""
        return np.array([self.words["construct"] == construct for construct in self.constructs])

    @property
    def constructs(self) -> list[str]:
        return sorted(self.words["construct"].unique())

    @property
    def ranks(self) -> np.ndarray:
        """(words, models × prompts): 1 is the most probable word."""
        return rank_words(np.concatenate(list(self.scores), axis=1))


def cell(
    tables: dict[str, pd.DataFrame], lexicon: pd.DataFrame, prompts: pd.DataFrame, form: Format, case: str
) -> Cell:
    """The words that are single tokens in every vocabulary, in the spelling that the format asks for.

    tables: model → score table. Where two tokens decode alike, the more probable one counts. Raises
    InputError for a word of both constructs: it would stand on both sides of the contrast.
    """
    keys = list(prompts["key"])
    scores = {name: word_scores(table, lexicon["word"], keys, form, case) for name, table in tables.items()}
    for name, frame in scores.items():
        if frame.isna().any(axis=None):
            word = frame.index[frame.isna().any(axis=1)][0]
            raise InputError(f"{name}: the log-probability of {word!r} is missing or NaN. Make its score table again.")
    shared = sorted(set.intersection(*(set(frame.index) for frame in scores.values())))
    words = pd.DataFrame({"word": shared}).merge(lexicon[["word", "construct"]], on="word")
    if (twice := words["word"].duplicated()).any():
        raise InputError(
            f"{some(words['word'][twice])}: a word of both constructs cannot be compared. Exclude it from one in the "
            "lexicon's edits."
        )
    models = tuple(sorted(tables))
    return Cell(models, words, prompts, np.stack([scores[name].loc[shared].to_numpy() for name in models]))


def assess(
    tables: dict[str, pd.DataFrame],
    lexicon: pd.DataFrame,
    known: pd.DataFrame,
    form: Format,
    case: str,
    chosen: Analysis,
) -> tuple[dict, pd.DataFrame | None]:
    """One cell's part of metrics/base_preferences.json, and its medians (None where the cell is refused).

    tables: model → score table; known: the known groups. A cell is refused (``refused``, ``needs``) where it has too
    few words, where they are too improbable, or where a model does not read the prompts (``readings``).
    """
    prompts, rule = value_laden(), validity.rule()
    made = cell(tables, lexicon, prompts, form, case)
    counts = made.words["construct"].value_counts().reindex(chosen.constructs, fill_value=0)
    probability = probability_on_words(made)
    result = {"words": counts.to_dict(), "probability_on_words": probability}
    if counts.min() < FEWEST_WORDS:
        few = f"{counts.min()} words of {counts.idxmin()} are single tokens of both vocabularies"
        return result | {"refused": few, "needs": f"{FEWEST_WORDS} words: another format or spelling"}, None
    framing, keys = prompts.set_index("key")["framing"], list(prompts["key"])
    asked = [*made.words["word"], *known["word"]]
    result["readings"] = {
        model: validity.of_log_probabilities(
            validity.reading(
                word_scores(table, asked, keys, form, case), framing, known, rule, pd.Index(made.words["word"])
            ),
            probability[model],
            rule,
        )
        for model, table in tables.items()
    }
    refused = {model: told["refused"] for model, told in result["readings"].items() if told["refused"]}
    if refused:
        needs = "a format and spelling in which the models answer with such words, and answer the question"
        return result | {"refused": "; ".join(f"{m}: {why}" for m, why in refused.items()), "needs": needs}, None
    of_cell = medians(made)
    anova = three_way_anova(of_cell)
    panels_found, contrast = panels(made, chosen.draws, chosen.seed)
    interaction = anova.set_index("term").loc["model × construct × framing", ["F", "p"]].to_dict()
    result |= {"anova": [row.dropna().to_dict() for _, row in anova.iterrows()], "three_way_anova": interaction}
    of_cell = of_cell.assign(words=of_cell["construct"].map(counts))
    return result | {"panels": panels_found, "three_way": contrast}, of_cell


def probability_on_words(cell: Cell) -> dict[str, dict[str, float]]:
    """Model → ``validity.probability`` of all the cell's words together, by framing."""
    framing = cell.prompts.set_index("key")["framing"]
    frames = (pd.DataFrame(scores, columns=framing.index) for scores in cell.scores)
    return {name: validity.probability(frame, framing) for name, frame in zip(cell.models, frames, strict=True)}


def medians(cell: Cell) -> pd.DataFrame:
    """Median rank by ``construct, framing, prompt, model`` (1 = most probable of the cell's words)."""
    values = subset_medians(cell.ranks, cell.members)  # (constructs, models × prompts)
    keys = pd.MultiIndex.from_product([cell.models, cell.prompts["key"]], names=["model", "prompt"])
    tidy = pd.DataFrame(values.T, index=keys, columns=pd.Index(cell.constructs, name="construct")).stack()
    tidy = tidy.rename("median_rank").reset_index()
    tidy["framing"] = tidy["prompt"].map(cell.prompts.set_index("key")["framing"])
    return tidy[["construct", "framing", "prompt", "model", "median_rank"]]


def three_way_anova(medians: pd.DataFrame) -> pd.DataFrame:
    """Type II ANOVA of ``median_rank ~ model × construct × framing``, a prompt being an observation.

    Returns ``term, sum_of_squares, df, F, p`` and a residual row (Section 3.1: F(1, 208)).
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

    A panel: means of the median rank (prompts averaged), ``difference`` = second − first model in
    alphabetical order, Welch's t over prompts with FDR over the panels, Cohen's d over prompts, and,
    with words as the unit, a bootstrap interval of difference and d and a permutation p. The
    contrast is (agency − communion under positive framing) − (the same under negative), second −
    first model, in ranks.
    """
    positive = (cell.prompts["framing"] == "positive").to_numpy()
    member = cell.members
    observed = _by_panel(subset_medians(cell.ranks, member), len(cell.models))  # (constructs, models, prompts)
    statistics = _statistics(observed[None], positive)
    rng = np.random.default_rng(seed)

    def of(counts: np.ndarray) -> dict[str, np.ndarray]:
        return _statistics_of_draws(cell, positive, counts)

    relabeled = _joined([of(_relabel(member, min(CHUNK, draws - start), rng)) for start in range(0, draws, CHUNK)])
    resampled = _joined([of(counts) for counts in word_draws(member, draws, rng)])

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
                    "cohens_d": cohens_d(first, second),
                    "cohens_d_ci_words": list(percentile_interval(resampled["d"][:, i, j])),
                    "t": float(welch.t),
                    "df": float(welch.df),
                    "p_prompts": float(welch.p),
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
    return rows, contrast


def _by_panel(values: np.ndarray, models: int) -> np.ndarray:
    """(constructs, models × prompts) → (constructs, models, prompts)."""
    return values.reshape(len(values), models, -1)


def _statistics(values: np.ndarray, positive: np.ndarray) -> dict[str, np.ndarray]:
    """From medians (draws, constructs, models, prompts): difference, d (draws, constructs, framings), contrast."""
    split = [values[..., positive], values[..., ~positive]]
    means = np.stack([part.mean(axis=-1) for part in split], axis=-1)  # (draws, constructs, models, framings)
    variances = np.stack([part.var(axis=-1, ddof=1) for part in split], axis=-1)
    difference = means[:, :, 1] - means[:, :, 0]
    spread = np.sqrt(variances.mean(axis=2))  # equal numbers of prompts: the pooled standard deviation
    d = np.divide(difference, spread, out=np.zeros_like(difference), where=spread > 0)
    by_framing = difference[:, 0] - difference[:, 1]
    return {"difference": difference, "d": d, "contrast": by_framing[:, 0] - by_framing[:, 1]}


def _statistics_of_draws(cell: Cell, positive: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """The statistics of many draws of words, counts (constructs, draws, words)."""
    values = np.stack([subset_medians(cell.ranks, of_construct) for of_construct in counts], axis=1)
    return _statistics(values.reshape(*values.shape[:2], len(cell.models), -1), positive)


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _relabel(member: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Construct labels dealt out anew over the words, sizes kept: (constructs, draws, words)."""
    order = rng.permuted(np.tile(np.arange(member.shape[1]), (draws, 1)), axis=1)
    return member[:, order]


def _two_sided(draws: np.ndarray, observed: float) -> float:
    """(b + 1) / (m + 1), b of m draws at least as far from 0 as the data."""
    return float((1 + (np.abs(draws) >= abs(observed) - 1e-9).sum()) / (1 + len(draws)))


def summary(cells: list[dict], level: float = 0.05) -> dict:
    """How far the cells agree: signs of the three-way contrast, and how many tests fall below ``level``."""
    contrasts = [cell["three_way"]["contrast"] for cell in cells]
    interaction = [cell["three_way_anova"] for cell in cells]
    return {
        "cells": len(cells),
        "negative_contrast": sum(value < 0 for value in contrasts),  # the paper's direction, Llama − Gemma
        "level": level,
        "anova_below_level": sum(row["p"] < level for row in interaction),
        "words_below_level": sum(cell["three_way"]["p_words"] < level for cell in cells),
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
    row |= {"contrast": contrast.get("contrast"), "low": low, "high": high, "p_words": contrast.get("p_words")}
    return row | {"p_anova": anova.get("p"), "F": anova.get("F")}


def coverage(lexicon: pd.DataFrame, texts: set[str], where: dict) -> list[dict]:
    """How many words of each construct are single tokens of a vocabulary, by spelling.

    texts: the decoded texts of the vocabulary. Returns rows of ``where`` + construct, words and the
    counts ``bare``, ``space`` (lower case), ``bare_capitalised``, ``space_capitalised``.
    """
    rows = []
    for construct, words in lexicon.groupby("construct")["word"]:
        words = words.unique()
        spellings = {"": CASES["lower"], "_capitalised": CASES["capitalised"]}
        counts = {
            f"{start}{case}": sum(space + spell(word) in texts for word in words)
            for case, spell in spellings.items()
            for start, space in {"bare": "", "space": " "}.items()
        }
        rows.append(where | {"construct": construct, "words": len(words)} | counts)
    return rows
