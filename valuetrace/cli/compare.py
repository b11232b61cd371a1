"""``valuetrace compare``."""

from __future__ import annotations

import argparse
from pathlib import Path

from valuetrace.cli.options import positive


def add(subcommands) -> None:
    about = "Compare how models of two bases rank a value's words (Section 2), with the model as the unit beside it."
    parser = subcommands.add_parser("compare", help=about, description=about)
    add = parser.add_argument
    add("scores", nargs="+", type=Path, metavar="SCORES", help="score files, one a model (CSV, parquet)")
    add("--lexicon", required=True, help="big_two_nouns, big_two, mfd2, or a lexicon file")
    add("--groups", type=Path, help="CSV model,base[,lineage] of each file or model (default: params.yaml's models)")
    add("--out", required=True, type=Path, help="folder for compare.json, compare.html and plots/")
    add("--also", nargs="*", default=[], metavar="LEXICON", help="lexicons for the sensitivity table")
    add("--seed", type=int, default=1, help="seed of every random draw (default 1)")
    add("--draws", type=positive, default=9_999, help="permutations and bootstrap draws (default 9999)")
    add("--lexicon-draws", type=positive, default=1_000, help="random lexicons (default 1000)")
    add("--json", action="store_true", help="print compare.json instead of the table")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from valuetrace.core.files import write_json, write_text
    from valuetrace.figures import compare as figures
    from valuetrace.measures.compare.inputs import read_groups, read_origins
    from valuetrace.measures.compare.run import compare_files
    from valuetrace.report import compare as report

    draws = {"seed": options.seed, "draws": options.draws, "lexicon_draws": options.lexicon_draws}
    groups = read_groups(options.groups) if options.groups else read_origins()
    comparison = compare_files(options.scores, groups, options.lexicon, options.also, **draws)
    write_json(comparison.metrics, options.out / "compare.json")
    comparison.write_plots(options.out / "plots")
    figures.draw(options.out / "plots")
    write_text(report.page(comparison.metrics, options.out.name, options.out / "plots"), options.out / "compare.html")
    if options.json:
        print((options.out / "compare.json").read_text(encoding="utf-8"), end="")
    else:
        print(report.as_text(comparison.metrics))
