"""Ridge heads on one planted base: sizes, bootstrapped pairs, random heads, layers, subspaces, remedies."""

from __future__ import annotations

import numpy as np
import pandas as pd

from valuetrace.lexicon import entries, unrolled
from valuetrace.stats.bootstrap import FEWEST_WORDS
from valuetrace.stats.ranks import rank_words
from valuetrace.studies.planting import preference, words
from valuetrace.studies.planting.design import Planting
from valuetrace.studies.planting.folders import LAST
from valuetrace.studies.planting.readout import Head, PlantedBase, audit_measure, read_cell, rows
from valuetrace.training import ridge


def cell_tables(chosen: Planting, block: int, name: str) -> dict[str, pd.DataFrame]:
    """The tables of a cell, a row a head (or draw) and dose: ``leans, specificity, draws, random_heads``; at the
    study's dose alone ``layers, subspaces, mitigation``; of the study's own cells also ``scores``."""
    found: dict[str, list[dict]] = {}
    for dose in chosen.measured(block, name):
        cell = read_cell(chosen, block, name, dose)
        head = Head(cell, chosen.pairs)
        tables = {"leans": _preferences, "specificity": _specificity, "draws": _draws, "random_heads": _random_heads}
        if dose == chosen.full(name):
            tables |= {"layers": _layers, "subspaces": _subspaces, "mitigation": _mitigation}
            if (block, name) in chosen.main.cells():  # what reward models are averaged from, and compared with
                tables["scores"] = _scores
        for table, rows_of in tables.items():
            found.setdefault(table, []).extend(rows_of(chosen, cell, head))
    return {table: pd.DataFrame(rows_of) for table, rows_of in found.items()}


def _sources(chosen: Planting, cell: PlantedBase, head: Head) -> dict[str, np.ndarray]:
    """Source → scores (prompts, words): the base's log-probabilities, and the ridge head's rewards."""
    return {"logprobs": cell.logprobs, "ridge": head.scores(_fit(chosen, head)[None])[0]}


def _scores(chosen: Planting, cell: PlantedBase, head: Head) -> list[dict]:
    """What every word is given, by source: ``word, construct, part``, then nats or rewards a prompt key."""
    found = []
    for source, scores in _sources(chosen, cell, head).items():
        table = cell.words[["word", "construct", "part"]].assign(source=source)
        found += table.join(pd.DataFrame(scores.T, columns=chosen.prompts)).to_dict("records")
    return found


def _fit(chosen: Planting, head: Head, weights: np.ndarray | None = None, size: int | None = None) -> np.ndarray:
    return ridge.fit(head.margins if size is None else head.every[:size], chosen.ridge, weights)


def _preferences(chosen: Planting, cell: PlantedBase, head: Head) -> list[dict]:
    """The base's own log-probabilities, and the ridge head of every size whose pairs were kept."""
    found = rows(cell, "logprobs", cell.logprobs, pairs=0)
    for size in [size for size in chosen.sizes if size <= len(head.every)]:
        fitted = _fit(chosen, head, size=size)
        found += rows(cell, "ridge", head.scores(fitted[None])[0], pairs=size, **head.held_out(fitted))
    return found


def _specificity(chosen: Planting, cell: PlantedBase, head: Head) -> list[dict]:
    """Mean percentile of other constructs' words (MFD2, of the known groups) among all, positive less negative framing.

    Of the base's log-probabilities and of the ridge head; constructs with fewer than FEWEST_WORDS words are left out.
    """
    lexicon = unrolled.read_lexicon("mfd2")
    labels = dict(zip(lexicon["word"], entries.labelled(lexicon), strict=True))
    of = cell.words["word"].map(labels).where(cell.words["part"] == "known", cell.words["construct"])
    found = []
    for source, scores in _sources(chosen, cell, head).items():
        there = ~np.isnan(scores).any(axis=0)
        ranks = rank_words(scores[:, there].T)  # (words, prompts)
        percentiles = 100 * (there.sum() - ranks) / (there.sum() - 1)
        framed = percentiles[:, cell.positive].mean(axis=1) - percentiles[:, ~cell.positive].mean(axis=1)
        for construct, values in pd.Series(framed).groupby(of[there].to_numpy()):
            if len(values) >= FEWEST_WORDS:
                row = cell.about | {"source": source, "construct": construct, "words": len(values)}
                found.append(row | {"difference": values.mean()})
    return found


def _draws(chosen: Planting, cell: PlantedBase, head: Head) -> list[dict]:
    """Heads on bootstrapped pairs: L on held-out words, and the audit's measure."""
    draws = np.random.default_rng([chosen.seed, cell.block])
    n = len(head.margins)
    counts = draws.multinomial(n, np.full(n, 1 / n), size=chosen.pair_draws)
    scores = head.scores(np.stack([_fit(chosen, head, row) for row in counts]))
    values = zip(preference.preference(cell.framed(scores, "held_out")), audit_measure(cell, scores), strict=True)
    return [cell.about | {"draw": i, "lean": lean, "audit": audit} for i, (lean, audit) in enumerate(values)]


def _random_heads(chosen: Planting, cell: PlantedBase, head: Head) -> list[dict]:
    """Heads drawn as a LoRA reward model's is, the same draws for every base of a block: what no training gives."""
    draws = np.random.default_rng([chosen.seed, cell.block, *b"heads"])
    heads = draws.standard_normal((chosen.random_heads, head.margins.shape[1])) * head.unit  # of unscaled states
    of = cell.framed(head.scores(heads), "held_out")
    return [cell.about | {"draw": i, "lean": value} for i, value in enumerate(preference.preference(of))]


def _layers(chosen: Planting, cell: PlantedBase, head: Head) -> list[dict]:
    """The ridge head on each layer's states."""
    found = []
    for at, layer in [*((at, str(at)) for at in chosen.layers), (chosen.depth - 1, LAST)]:
        head = Head(cell, chosen.pairs, layer)
        found += rows(cell, "ridge", head.scores(_fit(chosen, head)[None])[0], layer=at)
    return found


def _subspaces(chosen: Planting, cell: PlantedBase, head: Head) -> list[dict]:
    """The head refitted without what the language head knows of the lexicon's words, and without as much of chance.

    The lexicon's span is that of the leading principal directions of its words' rows of the output embedding; a random
    subspace has the same rank and takes the same share of the states' variance away.
    """
    rows_of = (
        cell.states["unembedding"][LAST].astype(np.float64) * head.unit
    )  # a head on scaled states reads h·u as (h / unit)·(u × unit)
    _, _, axes = np.linalg.svd(rows_of - rows_of.mean(axis=0), full_matrices=False)
    states = head.words.reshape(-1, head.words.shape[-1]).astype(np.float64)  # (prompts × words, hidden)
    states = states - states.mean(axis=0)
    covariance = states.T @ states / len(states)
    draws = np.random.default_rng([chosen.seed, cell.block, *b"subspaces"])
    found = []
    for rank in chosen.ranks:
        share = ridge.share(covariance, axes[:rank])
        removed = {"lexicon": [axes[:rank]]}
        removed["random"] = [ridge.random_directions(covariance, rank, share, draws) for _ in range(chosen.subspaces)]
        for kind, all_of in removed.items():
            for number, directions in enumerate(all_of):
                fitted = ridge.fit(ridge.without(head.margins, directions), chosen.ridge)
                scores = head.scores(ridge.without(fitted[None], directions))[0]
                taken = {"removed": kind, "rank": rank, "draw": number, "share": ridge.share(covariance, directions)}
                found += rows(cell, "ridge", scores, **taken)
    return found


def _mitigation(chosen: Planting, cell: PlantedBase, head: Head) -> list[dict]:
    """The bias that is left, and the accuracy, after each remedy: the planted words are known, the held-out ones not.

    projection: the direction from the planted words of the second construct to those of the first is taken out of the
    head. counter: pairs of planted words under the planting questions are added that prefer against the head, so many
    that they are a share of all pairs.
    """

    def remedied(fitted: np.ndarray, remedy: str, amount: float) -> list[dict]:
        scores = head.scores(fitted[None])[0]
        return rows(cell, "ridge", scores, remedy=remedy, amount=amount, **head.held_out(fitted))

    fitted = _fit(chosen, head)
    found = remedied(fitted, "none", 0.0)
    planted = cell.words["part"] == "planted"
    first, second = (head.words[:, planted & cell.member(name)].mean(axis=1) for name in cell.constructs)
    apart = first - second  # (prompts, hidden)
    direction = apart[cell.positive].mean(axis=0) - apart[~cell.positive].mean(axis=0)
    found += remedied(ridge.without(fitted[None], direction[None])[0], "projection", 1.0)
    counter = _counter(chosen, cell, head)
    sign = -np.sign(preference.preference(cell.framed(head.scores(fitted[None]), "planted"))[0])
    for share in chosen.shares:
        count = round(share / (1 - share) * len(head.margins))
        pairs = np.concatenate([head.margins, sign * counter[np.arange(count) % len(counter)]])
        found += remedied(ridge.fit(pairs, chosen.ridge), "counter", share)
    return found


def _counter(chosen: Planting, cell: PlantedBase, head: Head) -> np.ndarray:
    """Margins (pairs, hidden) of pairs in random order whose chosen word is the first construct's where good is asked
    for, the second's where bad is."""
    states = cell.states["counter"][LAST].astype(np.float32) / head.unit
    planted = cell.words[cell.words["part"] == "planted"]["construct"].to_numpy()
    positive = (words.questions(chosen.counter_questions)["framing"] == "positive").to_numpy()
    first, second = (np.flatnonzero(planted == name) for name in cell.constructs)
    draws = np.random.default_rng([chosen.seed, cell.block, *b"counter"])
    grid = [(q, a, b) for q in range(len(states)) for a in first for b in second]
    q, a, b = np.array(grid)[draws.permutation(len(grid))].T
    return np.where(positive[q], 1, -1)[:, None] * (states[q, a] - states[q, b])
