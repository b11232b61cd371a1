"""How values move while reward models are trained (Section 4.2, Figures 4a, 5, A4, A6 to A8, Table A4).

Ranks are those of the lexicon's words within one base, step and prompt; 1 is the highest reward. A
prompt's median rank of a construct is averaged over the prompts of a framing, as ``log_probabilities``
does. Uncertainty has the word as its unit: words are drawn with replacement within each construct, one
draw for all bases, steps and prompts, ranks staying those of the whole lexicon.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal

import numpy as np
import pandas as pd

from valuetrace.core.errors import InputError, some
from valuetrace.measures import validity
from valuetrace.stats.bootstrap import percentile_interval, word_draws
from valuetrace.stats.ranks import kendall, rank_words, subset_medians
from valuetrace.training.recipe import Search

FRAMINGS = ("positive", "negative")


@dataclass(frozen=True)
class Dynamics:
    """Group ``dynamics`` of params.yaml. format, case: of the log-probabilities that ``survival`` follows."""

    search: Search
    constructs: list[str]
    format: str
    case: Literal["lower", "capitalised"]
    movers: int
    extremes: int
    draws: int
    seed: int

    def __post_init__(self):
        if len(self.constructs) != 2:
            raise ValueError("constructs names two constructs of the lexicon")
        if min(self.movers, self.extremes, self.draws) < 1:
            raise ValueError("movers, extremes and draws must be at least 1")


@dataclass(frozen=True)
class Trajectories:
    """``ranks`` (bases, steps, words, prompts); bases in alphabetical order; ``member`` (2, words) booleans."""

    bases: list[str]
    steps: list[int]
    words: list[str]
    constructs: list[str]
    member: np.ndarray
    prompts: list[str]
    framing: np.ndarray
    ranks: np.ndarray

    @property
    def early(self) -> int:
        """The first trained checkpoint (the paper's "early", step 1000), or step 0 where one alone follows it."""
        return min(1, len(self.steps) - 2)

    def by_framing(self, values: np.ndarray) -> np.ndarray:
        """The mean over each framing's prompts: (..., prompts) to (..., framings)."""
        return np.stack([values[..., self.framing == framing].mean(axis=-1) for framing in FRAMINGS], axis=-1)

    def label(self, word: str) -> str:
        """The construct of a word, or both joined by ``|``."""
        at = self.words.index(word)
        return "|".join(name for name, row in zip(self.constructs, self.member, strict=True) if row[at])


def trajectories(
    scores: dict[str, pd.DataFrame], lexicon: pd.DataFrame, prompts: pd.DataFrame, constructs: list[str]
) -> Trajectories:
    """Ranks of the lexicon's words at every step that all bases have.

    scores: base → ``training.study.score_checkpoints``; prompts: ``key, framing``. InputError where a base lacks a word
    or prompt, where a score is not finite, or where bases share fewer than two trained steps and step 0.
    """
    bases = sorted(scores)
    lexicon = lexicon[lexicon["construct"].isin(constructs)]
    words = list(dict.fromkeys(lexicon["word"]))
    of_construct = [set(lexicon.loc[lexicon["construct"] == construct, "word"]) for construct in constructs]
    member = np.array([[word in own for word in words] for own in of_construct])
    if not member.any(axis=1).all():
        raise InputError(f"the lexicon has no word of {some(constructs)}")
    steps = sorted(set.intersection(*(set(frame["step"]) for frame in scores.values())))
    if len(steps) < 2:
        raise InputError(f"{some(bases)}: fewer than two steps in common. Train them with the same parameters.")
    keys = list(prompts["key"])
    ranks = np.empty((len(bases), len(steps), len(words), len(keys)))
    for i, base in enumerate(bases):
        frame = scores[base]
        missing = [key for key in keys if key not in frame.columns]
        frame = frame[frame["token_id"].isna()]
        missing += [] if missing else sorted(set(words) - set(frame["word"]))
        if missing:
            raise InputError(f"{base}: no checkpoint scores of {some(missing)}. Train it again (dvc repro).")
        for j, step in enumerate(steps):
            values = frame[frame["step"] == step].set_index("word").loc[words, keys].to_numpy()
            if not np.isfinite(values).all():
                raise InputError(f"{base}, step {step}: {(~np.isfinite(values)).sum()} rewards are not finite numbers.")
            ranks[i, j] = rank_words(values)
    return Trajectories(bases, steps, words, constructs, member, keys, prompts["framing"].to_numpy(), ranks)


def readings(
    scores: dict[str, pd.DataFrame],
    lexicon: pd.DataFrame,
    known: pd.DataFrame,
    prompts: pd.DataFrame,
    steps: list[int],
    rule: validity.Rule,
) -> pd.DataFrame:
    """A row a base and step: agreement of the framings, known groups, and whether the scores can be read.

    scores: base → table of checkpoint scores. Columns ``base, step, within, across`` (Spearman), ``positive, negative,
    difference`` (percentile points, virtue − vice) each with ``_low, _high``, ``reads, refused, needs``.
    """
    framing = prompts.set_index("key")["framing"]
    rows = []
    for base, table in sorted(scores.items()):
        words = table[table["token_id"].isna()]
        for step in steps:
            frame = words[words["step"] == step].set_index("word")[list(framing.index)]
            found = validity.reading(frame, framing, known, rule, pd.Index(lexicon["word"].unique()))
            row = {"base": base, "step": step}
            for name, part in (found["framing"] | found["known_groups"]).items():
                if isinstance(part, dict):
                    row |= {name: part["estimate"], f"{name}_low": part["low"], f"{name}_high": part["high"]}
            refused, needs = found["refused"] or "", found["needs"] or ""
            rows.append(row | {"reads": not refused, "refused": refused, "needs": needs})
    return pd.DataFrame(rows)


def construct_medians(paths: Trajectories, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Median ranks (constructs, bases, steps, framings), and the same of bootstrap draws (draws, …)."""
    flat = np.moveaxis(paths.ranks, 2, 0).reshape(len(paths.words), -1)
    shape = (len(paths.bases), len(paths.steps), len(paths.prompts))
    observed = paths.by_framing(subset_medians(flat, paths.member).reshape(-1, *shape))
    drawn = [
        [paths.by_framing(subset_medians(flat, own).reshape(len(own), *shape)) for own in counts]
        for counts in word_draws(paths.member, draws, np.random.default_rng(seed))
    ]
    return observed, np.concatenate([np.stack(part, axis=1) for part in drawn])


def rank_table(paths: Trajectories, observed: np.ndarray, drawn: np.ndarray) -> pd.DataFrame:
    """Figure 4a: ``base, framing, construct, step, median_rank, low, high`` (ranks), ``words, prompts``."""
    rows = []
    for (c, construct), (b, base), (s, step), (f, framing) in _cells(
        paths.constructs, paths.bases, paths.steps, FRAMINGS
    ):
        low, high = percentile_interval(drawn[:, c, b, s, f])
        row = {"base": base, "framing": framing, "construct": construct, "step": step}
        row |= {"median_rank": observed[c, b, s, f], "low": low, "high": high}
        rows.append(row | {"words": paths.member[c].sum(), "prompts": (paths.framing == framing).sum()})
    return pd.DataFrame(rows).sort_values(["base", "framing", "construct", "step"], ignore_index=True)


def gap_table(paths: Trajectories, observed: np.ndarray, drawn: np.ndarray) -> pd.DataFrame:
    """The gap of every pair of bases: (median rank of the first construct − of the second), second − first base.

    Columns ``first, second, framing, step, gap, low, high`` (ranks; 95% over words), and, from the untrained head
    (step 0, the null) to the row's step, ``change, change_low, change_high`` of the gap. Negative gap: the second base
    prefers the first construct more than the first base does. Intervals over words say nothing of another seed: an
    untrained head's gap is as clear by them as a trained one's (``analysis.ablations`` draws seeds).
    """
    lean, lean_drawn = observed[0] - observed[1], drawn[:, 0] - drawn[:, 1]  # (bases, steps, framings), (draws, …)
    rows = []
    for (a, first), (b, second) in combinations(enumerate(paths.bases), 2):
        gap, gap_drawn = lean[b] - lean[a], lean_drawn[:, b] - lean_drawn[:, a]
        for (f, framing), (s, step) in _cells(FRAMINGS, paths.steps):
            row = {"first": first, "second": second, "framing": framing, "step": step, "gap": gap[s, f]}
            row["low"], row["high"] = percentile_interval(gap_drawn[:, s, f])
            row["change"] = gap[s, f] - gap[0, f]
            row["change_low"], row["change_high"] = percentile_interval(gap_drawn[:, s, f] - gap_drawn[:, 0, f])
            rows.append(row)
    return pd.DataFrame(rows)


def kendall_with_final(paths: Trajectories) -> pd.DataFrame:
    """Figure A4: Kendall's τ-b of the words' ranks at each step with those at the last, prompt by prompt.

    Columns ``base, framing, step, kendall`` (mean over prompts), ``low, high`` (the least and the greatest
    prompt), ``words, prompts``. A prompt in which all words tie counts as 0.
    """
    rows = []
    for (b, base), (s, step) in _cells(paths.bases, paths.steps):
        now, last = paths.ranks[b, s], paths.ranks[b, -1]
        tau = np.array([kendall(now[:, p], last[:, p]) for p in range(len(paths.prompts))])
        for framing in FRAMINGS:
            own = tau[paths.framing == framing]
            row = {"base": base, "framing": framing, "step": step, "kendall": own.mean()}
            row |= {"low": own.min(), "high": own.max(), "words": len(paths.words), "prompts": len(own)}
            rows.append(row)
    return pd.DataFrame(rows).sort_values(["base", "framing", "step"], ignore_index=True)


def run_summary(found: dict[str, pd.DataFrame], training: dict[str, dict]) -> dict[str, object]:
    """The findings of metrics/dynamics.json.

    found: the tables of ``stages/dynamics.py``; training: base → its metrics/training/<base>.json. ``refused``: base →
    why its last checkpoint cannot be read; a gap with such a base is no reading.
    """
    last, checked = int(found["gaps"]["step"].max()), found["readings"]
    unread = checked[(checked["step"] == last) & ~checked["reads"]]
    final_gap: dict[str, dict[str, float]] = {}
    for row in found["gaps"][found["gaps"]["step"] == last].to_dict("records"):
        final_gap.setdefault(f"{row['second']} - {row['first']}", {})[row["framing"]] = row["gap"]
    told = {name: found[name].to_dict("records") for name in ("kendall", "gaps", "survival", "inherited", "readings")}
    ends = {base: made["checkpoints"][-1] for base, made in training.items()}
    return {
        "last_step": last,
        "refused": unread.set_index("base")[["refused", "needs"]].to_dict("index"),
        "final_gap": final_gap,
        "held_out": {
            base: {name.removeprefix("held_out_"): value for name, value in end.items() if "held_out" in name}
            for base, end in ends.items()
        },
        **told,
    }


def overlay(gaps: pd.DataFrame, kendall: pd.DataFrame, survival: pd.DataFrame) -> pd.DataFrame:
    """One row a step, for ``dvc plots diff``: the first pair's gaps and its two bases' curves.

    Columns ``step, gap_positive, gap_negative`` (ranks), ``kendall_first, kendall_second`` (τ with the final
    ranks) and ``survival_first, survival_second`` (partial ρ with the own base), the last four means over framings.
    """
    first, second = gaps[["first", "second"]].iloc[0]
    pair = gaps[(gaps["first"] == first) & (gaps["second"] == second)]
    table = pair.pivot(index="step", columns="framing", values="gap")[list(FRAMINGS)].add_prefix("gap_")
    for name, frame, value in (("kendall", kendall, "kendall"), ("survival", survival[survival["own"]], "partial")):
        for which, base in (("first", first), ("second", second)):
            table[f"{name}_{which}"] = frame[frame["base"] == base].groupby("step")[value].mean()
    return table.reset_index()


def _cells(*axes):
    """Every combination of the axes' (position, name) pairs."""
    return product(*map(enumerate, axes))
