"""``valuetrace publish``."""

from __future__ import annotations

import argparse

from valuetrace.cli.options import given, say


def add(subcommands) -> None:
    about = "Publish trained adapters with model cards: checkpoints/, the DVC remote, the Hugging Face Hub."
    parser = subcommands.add_parser(
        "publish",
        help=about,
        description=f"{about} Without --to and --remote only checkpoints/ and checkpoints.dvc are refreshed. The Hub "
        "takes its token from HF_TOKEN or `hf auth login`, and its address from HF_ENDPOINT.",
        epilog="Exit status: 0 done; 2 something is wrong (one line says what; the same command goes on from there).",
    )
    add = parser.add_argument
    add("--base", dest="bases", nargs="+", default=[], metavar="NAME", help="bases (default: all of params.yaml)")
    add("--to", metavar="OWNER/PREFIX", help="push each adapter to OWNER/PREFIX-<base> on the Hub")
    add(
        "--atlas",
        metavar="OWNER/NAME",
        help="push the atlas (plots/atlas.csv) as a data set to the Hub, and no adapter",
    )
    add("--remote", action="store_true", help="bring the default DVC remote up to date, the run cache included")
    add("--private", action="store_true", help="make new repositories on the Hub private")
    add("--dry-run", action="store_true", help="check everything and say what would be published")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from valuetrace.publish import Request, publish

    for place in publish(Request(**given(options)), say).values():
        print(place)
