"""``valuetrace verify``."""

from __future__ import annotations

import argparse


def add(subcommands) -> None:
    about = "Is it reproduced? Compare metrics/, plots/, lexicons/ and prompts/ with what is committed."
    parser = subcommands.add_parser(
        "verify",
        help=about,
        description=f"{about} Text and structure must be equal, numbers agree within the tolerance of their kind "
        "(conf/verify.yaml, each with its reason); rows of the tables of extremes may come and go. Pictures and pages "
        "are drawn from these numbers and are not compared.",
        epilog="Exit status: 0 within tolerance; 1 something differs (a line a file says what); 2 nothing to compare.",
    )
    parser.add_argument("other", nargs="?", metavar="OTHER", help="a git revision (default HEAD), or a folder")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from valuetrace import adopt
    from valuetrace.verify import verify

    result = verify(options.other)
    print("\n".join([*result.lines(), *adopt.summary()]))
    return 1 if result.problems else 0
