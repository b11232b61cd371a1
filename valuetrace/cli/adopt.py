"""``valuetrace adopt``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from valuetrace.cli.options import positive, say


def add(subcommands) -> None:
    about = "Keep a stage's results after a refactoring that was meant to change nothing."
    parser = subcommands.add_parser(
        "adopt",
        help=about,
        description=f"{about} A sample of its cells is run again, with the code as it is; where every byte is equal "
        "the lock files name the code's new key, and metrics/adopted.json says who vouches for it.",
        epilog="Exit status: 0 adopted, or nothing to adopt; 2 a byte differs, or something else has changed.",
    )
    add = parser.add_argument
    add("kernels", nargs="*", metavar="KERNEL", help="a stage's script: train, ablations.train, planting.plant …")
    add("--sample", type=positive, default=1, metavar="N", help="cells to run again (default 1)")
    add("--seed", type=int, default=1, help="which cells (default 1)")
    add("--against", default="HEAD", metavar="REVISION", help="whose code to run beside (default HEAD)")
    add("--unverified", metavar="WHY", help="run nothing, and let metrics/adopted.json say why")
    add("--prune", action="store_true", help="take entries without a stage out of the lock files")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from valuetrace import adopt

    with tempfile.TemporaryDirectory(prefix="valuetrace-adopt-") as scratch:
        for kernel in options.kernels:
            how = (options.sample, options.seed, options.against, Path(scratch), say, options.unverified)
            made = adopt.adopt(kernel, *how)
            told = f"{made['cells']} cells, {len(made['compared'])} compared" if made else "up to date"
            print(f"{kernel}: {told}", flush=True)
    if options.prune:
        print(f"{len(adopt.prune())} lock entries without a stage taken out")
