"""The command line: argument parsing and printing only; the work is done by the library."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from valuetrace.core.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    """Run ``valuetrace SUBCOMMAND …``. Exit status 0, or 2 with one line on stderr for a user's mistake.

    A subcommand may return another status (``audit``: 3 for scores that are not numbers).
    """
    parser = argparse.ArgumentParser(prog="valuetrace", description="Which human values reward models prefer.")
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_audit, _add_compare, _add_publish, _add_verify):
        add(subcommands)
    options = parser.parse_args(arguments)
    try:
        return options.run(options) or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _add_audit(subcommands) -> None:
    about = "Audit one model: which values does it prefer? Says first what that will cost."
    parser = subcommands.add_parser(
        "audit",
        help=about,
        description=f"{about} MODEL is a folder, a model of data/models/, or a Hub id (owner/name; downloaded into "
        "data/models/, its revision noted in conf/revisions.lock.json). A reward model scores every word of the "
        "lexicon as the reply to every prompt; for a language model the words that are single tokens are ranked by "
        "their probability. Writes scores.parquet, profile.json, profile.csv, profile.png and audit.html.",
        epilog="Exit status: 0 done; 2 something in the command or the model is wrong (one line says what); 3 done, "
        "but some scores are not finite numbers: they are named and left out of the profile; 130 interrupted: the same "
        "command goes on from the shards beside OUT (reward models).",
    )
    parser.add_argument("model", metavar="MODEL", help="folder, name in data/models/, or Hub id")
    add = parser.add_argument
    add(
        "--lexicon",
        default="big_two_nouns",
        help="big_two_nouns (default), big_two, mfd2, or a .csv, .dic, .dicx, .json",
    )
    add(
        "--prompts",
        default="value_laden",
        help="value_laden (default, 54), keys joined by commas, or a CSV key,text,framing",
    )
    add("--vocabulary", action="store_true", help="score every token id, not the lexicon's words (reward models)")
    add("--format", help="a format of params.yaml, or 'question' (default: the model's chat template where it has one)")
    add(
        "--template-argument",
        action="append",
        metavar="KEY=VALUE",
        help="told to the chat template, such as date_string='26 Jul 2024' (true and false are booleans; repeatable)",
    )
    add("--case", choices=("lower", "capitalised"), default="lower", help="spelling of the words (default lower)")
    add(
        "--tokenisation",
        choices=("exact", "as_published"),
        default="exact",
        help="exact (default): one BOS, each word the same ids; as_published: as the paper's released scores were made",
    )
    add("--head", help="reward head: an adapter's name, where config.json does not name it (first_output …)")
    add("--revision", help="revision of a Hub id (default: the newest, then the one noted in the lock file)")
    add("--out", type=Path, help="folder for the results, replaced as a whole (default audit/MODEL)")
    add("--references", type=Path, help="folder of value profiles to set beside it (default metrics/profiles)")
    add("--device", help="cpu, cuda, cuda:1 … or auto for all (default: the accelerator where there is one)")
    add("--dtype", choices=("float32", "bfloat16", "float16"), help="default: float32 on a CPU, else the weights' own")
    add("--batch-size", type=_positive, help="candidates a batch (reward models) or prompts a batch (language models)")
    add("--draws", type=_positive, default=9_999, help="bootstrap draws over words (default 9999)")
    add("--seed", type=int, default=1, help="seed of the bootstrap (default 1)")
    add("--dry-run", action="store_true", help="stop after the estimate of candidates, tokens, memory and time")
    add("--max-minutes", type=float, help="refuse to run (status 2) where the estimate is longer")
    add("--json", action="store_true", help="print profile.json (with --dry-run: the cost) on stdout")
    parser.set_defaults(run=_audit)


def _audit(options: argparse.Namespace) -> int:
    from valuetrace import audit
    from valuetrace.audit.page import as_text

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    given = {key: value for key, value in vars(options).items() if value is not None}
    for key in ("run", "dry_run", "json"):
        given.pop(key)
    request = audit.Request(template_arguments=_pairs(given.pop("template_argument", [])), **given)
    if options.dry_run:
        cost = audit.plan(request, say).cost
        print(json.dumps(cost.as_dict(), indent=2) if options.json else f"Cost: {cost}")
        return 0
    done = audit.audit(request, say)
    print(json.dumps(done.result, indent=2, ensure_ascii=False) if options.json else as_text(done.result))
    say(f"Written: {done.out / 'audit.html'} and profile.json, profile.csv, profile.png, scores.parquet beside it")
    if done.problem is not None:
        say(f"warning: {done.problem}")
        return 3
    return 0


def _add_compare(subcommands) -> None:
    about = "Compare how models of two bases rank a value's words (Section 2), with the model as the unit beside it."
    parser = subcommands.add_parser("compare", help=about, description=about)
    parser.add_argument(
        "scores", nargs="+", type=Path, metavar="SCORES", help="score files, one a model (CSV, parquet)"
    )
    parser.add_argument("--lexicon", required=True, help="big_two_nouns, big_two, mfd2, or a lexicon file")
    parser.add_argument(
        "--groups", type=Path, help="CSV model,base[,lineage] of each file or model (default: params.yaml's models)"
    )
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
    from valuetrace.analysis.compare.inputs import known_groups, read_groups
    from valuetrace.analysis.compare.run import compare_files
    from valuetrace.core.files import write_json, write_text
    from valuetrace.figures import compare as figures
    from valuetrace.report import compare as report

    draws = {"seed": options.seed, "draws": options.draws, "lexicon_draws": options.lexicon_draws}
    groups = read_groups(options.groups) if options.groups else known_groups()
    comparison = compare_files(options.scores, groups, options.lexicon, options.also, **draws)
    write_json(comparison.metrics, options.out / "compare.json")
    comparison.write_plots(options.out / "plots")
    figures.draw(options.out / "plots")
    write_text(report.page(comparison.metrics, options.out.name, options.out / "plots"), options.out / "compare.html")
    if options.json:
        print((options.out / "compare.json").read_text(encoding="utf-8"), end="")
    else:
        print(report.as_text(comparison.metrics))


def _add_publish(subcommands) -> None:
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
    parser.set_defaults(run=_publish)


def _publish(options: argparse.Namespace) -> None:
    from valuetrace.publish import Request, publish

    given = {key: value for key, value in vars(options).items() if key != "run"}
    for place in publish(Request(**given), lambda line: print(line, file=sys.stderr, flush=True)).values():
        print(place)


def _add_verify(subcommands) -> None:
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
    parser.set_defaults(run=_verify)


def _verify(options: argparse.Namespace) -> int:
    from valuetrace.verify import verify

    result = verify(options.other)
    print("\n".join(result.lines()))
    return 1 if result.problems else 0


def _pairs(arguments: list[str]) -> dict[str, str | bool]:
    """KEY=VALUE options by key; true and false as booleans: a template takes the word false for true."""
    found: dict[str, str | bool] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not (key.isidentifier() and equals) or key in found:
            raise InputError(f"--template-argument {argument}: give KEY=VALUE, each key once.")
        found[key] = {"true": True, "false": False}.get(value, value)
    return found


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


if __name__ == "__main__":
    sys.exit(main())
