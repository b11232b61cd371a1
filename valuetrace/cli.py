"""The command line: argument parsing and printing only; the work is done by the library."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from valuetrace.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    """Run ``valuetrace SUBCOMMAND …``. Exit status 0, or 2 with one line on stderr for a user's mistake."""
    parser = argparse.ArgumentParser(prog="valuetrace", description="Which human values reward models prefer.")
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_compare,):
        add(subcommands)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _add_compare(subcommands) -> None:
    about = "Compare how models of two bases rank a value's words (Section 2), with the model as the unit beside it."
    parser = subcommands.add_parser("compare", help=about, description=about)
    parser.add_argument(
        "scores", nargs="+", type=Path, metavar="SCORES", help="score files, one a model (CSV, parquet)"
    )
    parser.add_argument("--lexicon", required=True, help="big_two_nouns, big_two, mfd2, or a lexicon file")
    parser.add_argument("--groups", required=True, type=Path, help="CSV model,base: the base of each file or model")
    parser.add_argument("--out", required=True, type=Path, help="folder for compare.json, compare.html and plots/")
    parser.add_argument("--also", nargs="*", default=[], metavar="LEXICON", help="lexicons for the sensitivity table")
    parser.add_argument("--seed", type=int, default=1, help="seed of every random draw (default 1)")
    parser.add_argument(
        "--draws", type=_positive, default=9_999, help="permutations and bootstrap draws (default 9999)"
    )
    parser.add_argument("--lexicon-draws", type=_positive, default=1_000, help="random lexicons (default 1000)")
    parser.add_argument("--json", action="store_true", help="print compare.json instead of the table")
    parser.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> None:
    from valuetrace.analysis.compare import compare_files
    from valuetrace.analysis.cube import read_groups
    from valuetrace.figures import compare as figures
    from valuetrace.report import compare as report
    from valuetrace.tables import write_json, write_text

    draws = {"seed": options.seed, "draws": options.draws, "lexicon_draws": options.lexicon_draws}
    comparison = compare_files(options.scores, read_groups(options.groups), options.lexicon, options.also, **draws)
    write_json(comparison.metrics, options.out / "compare.json")
    comparison.write_plots(options.out / "plots")
    figures.draw(options.out / "plots")
    write_text(report.page(comparison.metrics, options.out.name), options.out / "compare.html")
    if options.json:
        print(json.dumps(comparison.metrics, indent=2, ensure_ascii=False))
    else:
        print(report.as_text(comparison.metrics))


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


if __name__ == "__main__":
    sys.exit(main())
