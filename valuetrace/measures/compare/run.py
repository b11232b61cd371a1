"""Do reward models of two bases rank a value's words differently? Section 2, and the same done right.

Every score is a rank within model and prompt over the lexicon's words (1 = best); a construct's
value is the median rank of its words, by model and prompt. Beside the paper's tests, whose unit is
one prompt of one model, stand tests whose unit is the model, and the lineage: prompts of one model are
not independent, so the paper's p-values say less about *bases* than they seem to.

A difference is always *second base − first base* in alphabetical order; a negative one means that
the second base's models rank the construct better.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from valuetrace.core.errors import InputError
from valuetrace.core.files import write_csv
from valuetrace.core.settings import ROOT
from valuetrace.lexicon.unrolled import KNOWN_GROUPS, find_lexicon, lexicon_path
from valuetrace.measures import validity
from valuetrace.measures.compare import effects, plot_tables, published, random_lexicon
from valuetrace.measures.compare.inputs import Origin, Table, read_tables
from valuetrace.measures.compare.scores import Scores, join, other_words, whole_vocabulary
from valuetrace.stats.bootstrap import FEWEST_WORDS

DRAWS = 9_999
"""Draws of each permutation test and of the bootstrap (Section 2's figure script uses as many)."""

LEXICON_DRAWS = 1_000
"""Random lexicons."""

UNITS = {
    "p_permutation, p_parametric, cohens_d": "one prompt of one model",
    "p_model_unit, p_model_unit_studentised, p_model_unit_welch": "model; all assignments of bases to models",
    "p_lineage": "the models of one lineage within one base; all assignments of bases to them",
    "ci_models_prompts_words": "models within base, prompts within framing and words within construct, each resampled",
    "cliffs_delta": "word, by its mean rank over a base's models and a framing's prompts",
    "p_random_lexicon": "word list; both tails around the middle of the random lists",
    "paired": "one prompt of one model, both constructs' medians as one difference; a slope a model",
    "by_adjective": "adjective of the prompts",
}


PAPERS_FAMILY = "the paper's family is 40 tests, its criterion .00125 = .05/40 (Section 2)"

NUMBERS = ("panels", "three_way", "published", "sensitivity", "top_k", "random_lexicon", "families")
"""Keys of ``compare``'s metrics that a refused comparison does not have."""


class Comparison(NamedTuple):
    """``metrics`` is what compare.json holds; ``plots`` are the tables that figures are drawn from, by name."""

    metrics: dict
    plots: dict[str, pd.DataFrame]

    def write_plots(self, folder: str | Path) -> None:
        """Write each plot table as ``folder/NAME.csv``; of a comparison that is refused only why (``refused.csv``)."""
        for name in (*plot_tables.NAMES, "top_k", "refused"):
            Path(folder, f"{name}.csv").unlink(missing_ok=True)
        refused = pd.DataFrame(self.metrics.get("refused") or {}).T.rename_axis("model").reset_index()
        for name, frame in (self.plots or {"refused": refused}).items():
            write_csv(frame, Path(folder) / f"{name}.csv")


def compare(
    tables: list[Table],
    lexicon: pd.DataFrame,
    name: str,
    variants: dict[str, pd.DataFrame] | None = None,
    seed: int = 1,
    draws: int = DRAWS,
    lexicon_draws: int = LEXICON_DRAWS,
    known: list[Table] | None = None,
) -> Comparison:
    """The whole comparison of Section 2 over score tables (``inputs.read_tables``) and a lexicon.

    lexicon: columns ``word``, ``construct``; with ``polarity`` and ``part_of_speech`` the sensitivity to each is added.
    ``variants`` are further lexicons for the sensitivity table; ``known`` further tables of the models, for the check
    of their readings alone. Every random number derives from ``seed``. InputError as ``scores.join``.
    """
    scores = join(tables, lexicon)
    seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(3)]
    ranks = scores.ranks()
    medians = scores.medians(ranks)
    testable = effects.model_unit_reason(scores) is None
    boot = effects.bootstrap_differences(scores, ranks, draws, seeds[0]) if testable else None
    pool = other_words(tables, lexicon, scores.prompts)
    null, about_null = random_lexicon.random_medians(scores, ranks, lexicon, *pool, lexicon_draws, seeds[1])
    cells = effects.cells(scores, ranks, medians, boot, null, draws, seeds[2])
    interaction = effects.three_way(scores, medians, boot, null, draws, seeds[2])
    top, about_top = plot_tables.top_k(scores, whole_vocabulary(tables, scores.prompts), lexicon)
    read = readings(tables, lexicon, scores, known)
    grid = f"the {len(cells)} cells of this comparison (construct × framing)"  # that a correction takes together
    metrics: dict = {
        "bases": scores.bases,
        "difference": f"{scores.bases[1]} − {scores.bases[0]}",
        "readings": read,
        "refused": refused(read),
        "panels": cells,
        "three_way": interaction,
        "published": published.compare_with(scores, cells, interaction),
        "sensitivity": sensitivity(scores, medians, tables, lexicon, variants or {}, draws, seeds[2]),
        "top_k": about_top,
        "random_lexicon": about_null,
        "lineages": effects.lineages(scores),
        "families": {"p_bonferroni": f"{grid}; {PAPERS_FAMILY}", "p_model_unit_holm, p_random_lexicon_holm": grid},
        "n": sizes(scores),
        "units": UNITS,
        "seed": seed,
        "draws": draws,
        "lexicon": name,
        "files": {table.file: table.sha256 for table in tables},
    }
    if metrics["refused"]:  # no number of what cannot be read
        return Comparison({key: value for key, value in metrics.items() if key not in NUMBERS}, {})
    plots = plot_tables.tables(scores, medians, cells, metrics["sensitivity"])
    return Comparison(metrics, plots if top is None else plots | {"top_k": top})


def compare_files(
    files: list[str | Path],
    groups: dict[str, Origin],
    lexicon: str | Path,
    also: list[str | Path] | None = None,
    **options,
) -> Comparison:
    """``compare`` on files: score files, base and lineage by model, and lexicons by name or file.

    ``also``: lexicons for the sensitivity table. ``options`` (seed, draws, lexicon_draws) as in
    ``compare``. InputError names the file that cannot be read or joined.
    """
    variants = {str(other): find_lexicon(other) for other in also or []}
    return compare(read_tables(files, groups), find_lexicon(lexicon), str(lexicon), variants, **options)


NOT_CHECKED = "not checked: the file does not score the known groups"


def readings(
    tables: list[Table], lexicon: pd.DataFrame, scores: Scores, also: list[Table] | None = None
) -> dict[str, dict]:
    """Model → ``validity.reading`` of its file on the lexicon's words and the known groups that it scores.

    also: further tables of the same models, asked for the words of the known groups that a file lacks.
    Log-probabilities are refused, too, where the lexicon's words together are improbable after the prompts of a
    framing. A model with too few words of the known groups, the lexicon's own virtues and vices among them, is not
    refused: its ``note`` says NOT_CHECKED.
    """
    rule = validity.rule()
    there = any((root / lexicon_path(KNOWN_GROUPS)).is_file() for root in (Path(), ROOT))
    groups = [find_lexicon(KNOWN_GROUPS)] if there else []
    parts = [part.reindex(columns=["word", "polarity"]) for part in (*groups, lexicon)]
    known = validity.with_own(pd.concat(parts[:-1] or [parts[0].head(0)]), parts[-1])
    framing, more = pd.Series(scores.framing, index=scores.prompts), {table.model: table for table in also or []}
    result = {}
    for table, values in zip(tables, scores.values, strict=True):
        asked = pd.Index([*scores.words, *known["word"]]).unique()
        found = table.words(asked, scores.prompts).dropna()
        if table.model in more:
            rest = more[table.model].words(asked.difference(found.index, sort=False), scores.prompts)
            found = pd.concat([found, rest.dropna()])
        told = validity.reading(found, framing, known, rule, scores.words) | {"note": None}
        if min(told["known_groups"][name] for name in validity.POLARITIES) < FEWEST_WORDS:
            told |= {"refused": None, "needs": None, "note": NOT_CHECKED}
        if table.made_by.get("kind") == "logprob":
            ranked = pd.DataFrame(values.T, index=scores.words, columns=scores.prompts)
            told = validity.of_log_probabilities(told, validity.probability(ranked, framing), rule)
        result[table.model] = told
    return result


def refused(read: dict[str, dict]) -> dict[str, dict[str, str]] | None:
    """Model → ``reason`` and ``needs`` of those that do not read; None where all do, or were not checked."""
    rows = {name: {"reason": row["refused"], "needs": row["needs"]} for name, row in read.items() if row["refused"]}
    return rows or None


def sensitivity(
    scores: Scores,
    medians: np.ndarray,
    tables: list[Table],
    lexicon: pd.DataFrame,
    variants: dict[str, pd.DataFrame],
    draws: int,
    seed: int,
) -> list[dict]:
    """The differences and model-unit p-values again: other lexicons, other treatment of ties, each model left out.

    Lexicons: ``variants``, and the parts of ``lexicon`` by polarity (virtue, vice) and part of
    speech (nouns) where it names them. A variant that cannot be joined has the reason in its row.
    """
    rows = [_variant("as given", "lexicon", scores, medians, draws, seed)]
    for label, part in (lexicon_parts(lexicon) | variants).items():
        try:
            other = join(tables, part)
        except InputError as error:
            rows.append({"variant": label, "kind": "lexicon", "reason": str(error)})
            continue
        rows.append(_variant(label, "lexicon", other, other.medians(), draws, seed))
    for ties in ("min", "max"):
        retied = scores.medians(scores.ranks(ties))
        rows.append(_variant(f"tied words take their {ties}imum rank", "ties", scores, retied, draws, seed))
    for m, model in enumerate(scores.models):
        rest = scores.without_model(model)
        if len(set(rest.base_of)) < 2:
            rows.append({"variant": f"without {model}", "kind": "model", "reason": "no other model of its base"})
        else:
            rows.append(_variant(f"without {model}", "model", rest, np.delete(medians, m, axis=1), draws, seed))
    return rows


def lexicon_parts(lexicon: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Parts of a lexicon that say something else than the whole: virtue only, vice only, words that can be nouns."""
    parts = {}
    for column, value, label in (
        ("polarity", "virtue", "virtue only"),
        ("polarity", "vice", "vice only"),
        ("part_of_speech", "noun", "nouns only"),
    ):
        if column in lexicon.columns:
            mask = lexicon[column].astype(str).str.split("|").map(lambda values, value=value: value in values)
            if mask.any() and not mask.all():
                parts[label] = lexicon[mask]
    return parts


def _variant(label: str, kind: str, scores: Scores, medians: np.ndarray, draws: int, seed: int) -> dict:
    rows = effects.effects(scores, medians, draws, seed, permute=False)
    interaction = effects.three_way_model_unit(scores, medians, draws, seed)
    keep = ("construct", "framing", "difference", "p_model_unit", "p_model_unit_studentised", "p_lineage")
    return {
        "variant": label,
        "kind": kind,
        "words": len(scores.words),
        "models": len(scores.models),
        "panels": [{key: row[key] for key in keep} for row in rows],
        "three_way": {key: interaction[key] for key in ("coefficient", *keep[3:])},
        "reason": interaction["model_unit_reason"],
    }


def sizes(scores: Scores) -> dict:
    """How many models, prompts and words stand behind the numbers, and what was left out."""
    return {
        "models": {
            base: [m for m, b in zip(scores.models, scores.base_of, strict=True) if b == base] for base in scores.bases
        },
        "prompts": {framing: int((scores.framing == framing).sum()) for framing in effects.FRAMINGS},
        "words": {name: int(row.sum()) for name, row in zip(scores.constructs, scores.member, strict=True)},
        "words_ranked": len(scores.words),
        "words_in_several_constructs": int((scores.member.sum(axis=0) > 1).sum()),
        "excluded": scores.excluded,
    }
