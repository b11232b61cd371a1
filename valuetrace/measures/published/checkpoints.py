"""Section 4 from the released rewards of the whole vocabulary by checkpoint (Figures 4a, 5, A4, A6 to A8, Table A4).

One prompt, one training a base: a word is the only unit that there is, and intervals over words say nothing of another
seed. ``rewards``: base → table of ``inputs.read_rewards``.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from valuetrace.measures.published import inputs
from valuetrace.measures.published.inputs import Published
from valuetrace.stats.bootstrap import percentile_interval, word_draws
from valuetrace.stats.ranks import kendall, rank_words, subset_medians

Rewards = dict[str, pd.DataFrame]


def paths(listed: list[str]) -> dict[str, Path]:
    """Base → released file of those that are here; a file's name ends in its base."""
    found = {Path(path).stem.rpartition("_")[2].capitalize(): inputs.TRAINING / Path(path).name for path in listed}
    return {base: path for base, path in found.items() if path.is_file()}


def tables(rewards: Rewards, chosen: Published) -> dict[str, pd.DataFrame]:
    """Every table below by name, as ``chosen`` has it."""
    of_steps = medians(rewards, inputs.shared_tokens(), inputs.dictionary(), chosen.draws, chosen.seed)
    return {
        **dict(zip(("checkpoint_medians", "checkpoint_gaps"), of_steps, strict=True)),
        "movers": movers(rewards, inputs.nouns(), chosen.movers),
        "kendall": agreement(rewards),
        "extremes": extremes(rewards, chosen.extremes),
    }


def summary(found: dict[str, pd.DataFrame], released: pd.DataFrame) -> dict:
    """What metrics/published/section_4.json holds of ``tables``. released: the same training's ``training.medians``."""
    last = found["checkpoint_gaps"].groupby(["first", "second"]).tail(1)
    moved = found["movers"].drop_duplicates(["base", "direction", "place"])
    ends = found["extremes"].drop_duplicates(["base", "chosen_at", "side", "place"])
    tau = found["kendall"]
    return {
        "largest_difference_from_released_medians": largest_difference(found["checkpoint_medians"], released),
        "gaps": {
            f"{row.second} − {row.first}": {key: getattr(row, key) for key in ("gap", "once", "low", "high")}
            for row in last.itertuples()
        },
        "kendall": {base: {str(r.step): r.kendall for r in own.itertuples()} for base, own in tau.groupby("base")},
        "movers": {
            base: {way: list(of["word"]) for way, of in own.groupby("direction")} for base, own in moved.groupby("base")
        },
        "extremes": {
            base: {f"{side}, {at} step": list(of["token"]) for (at, side), of in own.groupby(["chosen_at", "side"])}
            for base, own in ends.groupby("base")
        },
    }


def medians(
    rewards: Rewards, tokens: pd.Series, words: pd.DataFrame, draws: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Figures 4a and A5a: every base's medians at every step, and the gaps between bases.

    tokens: those that all vocabularies share; words: ``inputs.dictionary``. Medians: ``base, construct, step,
    median_rank`` (a repeated word ranked repeatedly, as the authors do), ``once`` (each token ranked once), ``low,
    high`` (95 % of ``once``, words drawn with replacement within their construct, all tokens of a word together),
    ``rows, tokens``. Gaps: ``first, second, step, gap, once, low, high``, the second base's agency − communion less the
    first's; the draws are the same for all bases.
    """
    known = words.drop_duplicates()
    constructs = sorted(known["construct"].unique())
    member = np.array([known["construct"] == name for name in constructs])
    counts = np.concatenate(list(word_draws(member, draws, np.random.default_rng(seed))), axis=1)
    shared, rows, drawn = set(tokens), [], {}
    for base, frame in rewards.items():
        frame = frame[frame.index.isin(shared)]
        as_released, once = (_ranked(frame, of) for of in (words, known))
        at = pd.MultiIndex.from_frame(known).get_indexer(pd.MultiIndex.from_frame(once[0]))
        lean = []
        for c, construct in enumerate(constructs):
            released, single = (ranks[of["construct"] == construct] for of, ranks in (as_released, once))
            drawn_rows = counts[c][:, at]
            some = drawn_rows.sum(axis=1) > 0
            of_draws = np.full((draws, frame.shape[1]), np.nan)
            of_draws[some] = subset_medians(once[1], drawn_rows[some])
            lean.append((np.median(released, axis=0), np.median(single, axis=0), of_draws))
            for s, step in enumerate(frame.columns):
                low, high = percentile_interval(of_draws[some, s])
                row = {"base": base, "construct": construct, "step": step, "median_rank": lean[-1][0][s]}
                row |= {"once": lean[-1][1][s], "low": low, "high": high}
                rows.append(row | {"rows": len(as_released[0]), "tokens": len(once[0])})
        drawn[base] = [first - second for first, second in zip(*lean, strict=True)]
    return pd.DataFrame(rows), _gaps(drawn, {base: list(frame.columns) for base, frame in rewards.items()})


def movers(rewards: Rewards, words: pd.DataFrame, count: int) -> pd.DataFrame:
    """Figures 5, A6 and A7: the ``count`` words a side that change rank most from the first to the last step.

    words: ``inputs.nouns``; a word's reward is the mean over all tokens of its plain text. Columns ``base, direction``
    (up: towards rank 1), ``place, word, construct, change`` (ranks, first − last), ``words`` (ranked), ``step, rank``.
    """
    rows = []
    for base, frame in rewards.items():
        text = inputs.plain(pd.Series(frame.index))
        mean = frame.set_index(text.rename("word").to_numpy()).groupby(level=0).mean()
        mean = mean[mean.index.isin(words["word"])]
        ranks = pd.DataFrame(rank_words(mean.to_numpy()), mean.index, mean.columns)
        change = ranks.iloc[:, 0] - ranks.iloc[:, -1]
        construct = words.drop_duplicates("word").set_index("word")["construct"]
        for direction, towards in (("up", change), ("down", -change)):
            chosen = towards[towards > 0].sort_index().sort_values(ascending=False, kind="stable").head(count)
            for place, word in enumerate(chosen.index, start=1):
                head = {"base": base, "direction": direction, "place": place, "word": word}
                head |= {"construct": construct[word], "change": change[word], "words": len(ranks)}
                rows += [head | {"step": step, "rank": rank} for step, rank in ranks.loc[word].items()]
    return pd.DataFrame(rows)


def agreement(rewards: Rewards) -> pd.DataFrame:
    """Figure A4: Kendall's τ-b of all tokens at each step with the last: ``base, step, kendall, tokens``."""
    rows = [
        {"base": base, "step": step, "kendall": kendall(frame[step], frame.iloc[:, -1]), "tokens": len(frame)}
        for base, frame in rewards.items()
        for step in frame.columns
    ]
    return pd.DataFrame(rows)


def extremes(rewards: Rewards, count: int) -> pd.DataFrame:
    """Table A4 and Figure A8: the first and last ``count`` tokens at the first and the last step, and their paths.

    Columns ``base, tokens, chosen_at`` (first, last), ``side`` (top, bottom), ``place`` (1 = the extreme), ``token,
    step, rank``; tied tokens stand in the order of the file.
    """
    rows = []
    for base, frame in rewards.items():
        ranks = rank_words(frame.to_numpy())
        for chosen_at, column in (("first", 0), ("last", -1)):
            order = np.argsort(ranks[:, column], kind="stable")
            for side, chosen in (("top", order[:count]), ("bottom", order[::-1][:count])):
                for place, at in enumerate(chosen, start=1):
                    head = {"base": base, "tokens": len(frame), "chosen_at": chosen_at, "side": side, "place": place}
                    head |= {"token": frame.index[at]}
                    rows += [head | {"step": s, "rank": r} for s, r in zip(frame.columns, ranks[at], strict=True)]
    return pd.DataFrame(rows)


def largest_difference(table: pd.DataFrame, released: pd.DataFrame) -> float | None:
    """How far recomputed medians are from the released ones at most, in ranks; None where they share no cell."""
    both = table.merge(released, on=["base", "construct", "step"], suffixes=("", "_released"))
    return float((both["median_rank"] - both["median_rank_released"]).abs().max()) if len(both) else None


def _ranked(frame: pd.DataFrame, words: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """``word, construct`` of every row that is ranked, and the ranks (rows, steps)."""
    rows = pd.DataFrame({"at": np.arange(len(frame)), "word": inputs.plain(pd.Series(frame.index))})
    rows = rows[rows["word"] != ""].merge(words, on="word")
    return rows[["word", "construct"]], rank_words(frame.to_numpy()[rows["at"]])


def _gaps(leans: dict[str, list[np.ndarray]], steps: dict[str, list]) -> pd.DataFrame:
    """leans: base → agency − communion as released (steps,), once (steps,), of draws (draws, steps)."""
    rows = []
    for first, second in combinations(sorted(leans), 2):
        for step in [step for step in steps[first] if step in steps[second]]:
            a, b = steps[first].index(step), steps[second].index(step)
            gap, once, of_draws = (y[..., b] - x[..., a] for x, y in zip(leans[first], leans[second], strict=True))
            low, high = percentile_interval(of_draws[np.isfinite(of_draws)])
            row = {"first": first, "second": second, "step": step, "gap": float(gap), "once": float(once)}
            rows.append(row | {"low": low, "high": high})
    return pd.DataFrame(rows, columns=["first", "second", "step", "gap", "once", "low", "high"])
