"""Do reward models of two bases rank a value's words differently? Section 2, and the same done right.

Every score is a rank within model and prompt over the lexicon's words (1 = best); a construct's
value is the median rank of its words, by model and prompt. Beside the paper's tests, whose unit is
one prompt of one model, stand tests whose unit is the model: prompts of one model are not
independent, so the paper's p-values say less about *bases* than they seem to.

A difference is always *second base − first base* in alphabetical order; a negative one means that
the second base's models rank the construct better.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from valuetrace.analysis.compare import plot_tables, published, random_lexicon, top_k
from valuetrace.analysis.compare.effects import FRAMINGS, bootstrap_differences, model_unit_reason, panels, three_way
from valuetrace.analysis.compare.scores import Cube, Table, build_cube, other_words, read_tables, whole_vocabulary
from valuetrace.analysis.compare.sensitivity import sensitivity
from valuetrace.core.errors import InputError
from valuetrace.core.files import write_csv
from valuetrace.core.settings import ROOT
from valuetrace.lexicon.sources import load_lexicon

DRAWS = 9_999
"""Draws of each permutation test and of the bootstrap (Section 2's figure script uses as many)."""

LEXICON_DRAWS = 1_000
"""Random lexicons."""


class Comparison(NamedTuple):
    """``metrics`` is what compare.json holds; ``plots`` are the tables that figures are drawn from, by name."""

    metrics: dict
    plots: dict[str, pd.DataFrame]

    def write_plots(self, folder: str | Path) -> None:
        """Write each plot table as ``folder/NAME.csv``."""
        for name, frame in self.plots.items():
            write_csv(frame, Path(folder) / f"{name}.csv")


def compare(
    tables: list[Table],
    lexicon: pd.DataFrame,
    name: str,
    variants: dict[str, pd.DataFrame] | None = None,
    seed: int = 1,
    draws: int = DRAWS,
    lexicon_draws: int = LEXICON_DRAWS,
) -> Comparison:
    """The whole comparison of Section 2 over score tables (``cube.read_tables``) and a lexicon.

    lexicon: columns ``word``, ``construct``; with ``polarity`` and ``part_of_speech`` the sensitivity
    to each is added. ``variants`` are further lexicons for the sensitivity table. Every random
    number derives from ``seed``. InputError as ``cube.build_cube``.
    """
    cube = build_cube(tables, lexicon)
    seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(3)]
    ranks = cube.ranks()
    medians = cube.medians(ranks)
    boot = bootstrap_differences(cube, ranks, draws, seeds[0]) if model_unit_reason(cube) is None else None
    pool, pool_scores = other_words(tables, lexicon, cube.prompts)
    null, about_null = random_lexicon.random_medians(cube, ranks, pool, pool_scores, lexicon_draws, seeds[1])
    cells = panels(cube, medians, boot, null, draws, seeds[2])
    interaction = three_way(cube, medians, boot, null, draws, seeds[2])
    shared = whole_vocabulary(tables, cube.prompts)
    top = None if shared is None else top_k.top_k(cube, *shared, lexicon)
    metrics = {
        "bases": cube.bases,
        "difference": f"{cube.bases[1]} − {cube.bases[0]}",
        "panels": cells,
        "three_way": interaction,
        "published": published.compare_with(cube, cells, interaction),
        "sensitivity": sensitivity(cube, medians, tables, lexicon, variants or {}, draws, seeds[2]),
        "top_k": {"k": top_k.K, "texts": None, "rows": [], "reason": "the score files are lists of words"}
        if top is None
        else {"k": top_k.K, "texts": len(shared[0]), "rows": top_k.summary(top), "reason": None},
        "random_lexicon": about_null,
        "n": sizes(cube),
        "units": {
            "p_permutation, p_parametric, cohens_d": "one prompt of one model",
            "p_model_unit": "model; all assignments of bases to models",
            "ci_model_unit": "models within base, prompts within framing and words within construct, each resampled",
            "p_random_lexicon": "word list",
        },
        "seed": seed,
        "draws": draws,
        "lexicon": name,
        "files": {table.file: table.sha256 for table in tables},
    }
    plots = plot_tables.tables(cube, medians, cells, metrics["sensitivity"])
    if top is not None:
        plots["top_k"] = top
    return Comparison(metrics, plots)


def compare_files(
    scores: list[str | Path],
    groups: dict[str, str],
    lexicon: str | Path,
    also: list[str | Path] | None = None,
    **options,
) -> Comparison:
    """``compare`` on files: score files, base by model, and lexicons by name (``lexicons/NAME.csv``) or file.

    ``also``: lexicons for the sensitivity table. ``options`` (seed, draws, lexicon_draws) as in
    ``compare``. InputError names the file that cannot be read or joined.
    """
    variants = {str(other): find_lexicon(other) for other in also or []}
    return compare(read_tables(scores, groups), find_lexicon(lexicon), str(lexicon), variants, **options)


def find_lexicon(lexicon: str | Path) -> pd.DataFrame:
    """A lexicon by file, or by the name of one in ``lexicons/``."""
    named = ROOT / "lexicons" / f"{lexicon}.csv"
    if not Path(lexicon).is_file() and not named.is_file():
        raise InputError(f"{lexicon}: neither a lexicon file nor the name of one in lexicons/. Check the spelling.")
    return load_lexicon(lexicon if Path(lexicon).is_file() else named)


def sizes(cube: Cube) -> dict:
    """How many models, prompts and words stand behind the numbers, and what was left out."""
    return {
        "models": {
            base: [m for m, b in zip(cube.models, cube.base_of, strict=True) if b == base] for base in cube.bases
        },
        "prompts": {framing: int((cube.framing == framing).sum()) for framing in FRAMINGS},
        "words": {name: int(row.sum()) for name, row in zip(cube.constructs, cube.member, strict=True)},
        "words_ranked": len(cube.words),
        "words_in_several_constructs": int((cube.member.sum(axis=0) > 1).sum()),
        "excluded": cube.excluded,
    }
