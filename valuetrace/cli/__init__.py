"""The command line: argument parsing and printing only; the work is done by the library."""

from __future__ import annotations

import argparse
import sys

from valuetrace.cli import adopt, audit, compare, forecast, publish, verify
from valuetrace.core.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    """Run ``valuetrace SUBCOMMAND …``. Exit status 0, or 2 with one line on stderr for a user's mistake.

    A subcommand may return another status (``audit``: 3 for scores that are not numbers).
    """
    parser = argparse.ArgumentParser(prog="valuetrace", description="Which human values reward models prefer.")
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (adopt, audit, compare, forecast, publish, verify):
        command.add(subcommands)
    options = parser.parse_args(arguments)
    try:
        return options.run(options) or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
