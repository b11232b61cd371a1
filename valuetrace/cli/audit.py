"""``valuetrace audit``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from valuetrace.cli.options import key_values, positive


def add(subcommands) -> None:
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
    add("--batch-size", type=positive, help="candidates a batch (reward models) or prompts a batch (language models)")
    add("--draws", type=positive, default=9_999, help="bootstrap draws over words (default 9999)")
    add("--seed", type=int, default=1, help="seed of the bootstrap (default 1)")
    add("--dry-run", action="store_true", help="stop after the estimate of candidates, tokens, memory and time")
    add("--max-minutes", type=float, help="refuse to run (status 2) where the estimate is longer")
    add("--json", action="store_true", help="print profile.json (with --dry-run: the cost) on stdout")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from valuetrace import audit
    from valuetrace.audit.page import as_text

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    given = {key: value for key, value in vars(options).items() if value is not None}
    for key in ("run", "dry_run", "json"):
        given.pop(key)
    request = audit.Request(template_arguments=key_values(given.pop("template_argument", [])), **given)
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
