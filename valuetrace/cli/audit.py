"""``valuetrace audit``."""

from __future__ import annotations

import argparse
from pathlib import Path

from valuetrace.cli.options import given, go_offline, key_values, positive, print_json, say, shared


def add(subcommands) -> None:
    about = "Audit a model: which values does it prefer? Says first what that will cost."
    parser = subcommands.add_parser(
        "audit",
        help=about,
        description=f"{about} MODEL is a folder, an adapter (checkpoints/NAME), a name in data/models/, or a Hub id "
        "(owner/name; downloaded into data/models/, its revision noted in conf/revisions.lock.json). A reward model "
        "scores every word of the lexicon as the reply to every prompt; for a language model the words that are single "
        "tokens are ranked by their probability. Writes scores.parquet, profile.json, profile.csv, profile.png and "
        "audit.html. Several models are audited one after the other, each into audit/MODEL, and set side by side: "
        "compare.json, compare.csv, compare.png and compare.html.",
        epilog="Exit status: 0 done; 2 something in the command or a model is wrong (one line says what; of several "
        "models the others are done); 3 done, but some scores are not finite numbers: they are named and left out of "
        "the profile; 130 interrupted: the same command goes on from the shards beside OUT (reward models).",
    )
    add = parser.add_argument
    add("models", metavar="MODEL", nargs="+", help="folder, name in data/models/, or Hub id")
    shared(add, "lexicon", "prompts", "template-argument", "case")
    add(
        "--calibrated",
        action="store_true",
        help="rank words by what a prompt adds to their log-probability, beside 18 neutral ones (language models)",
    )
    add("--vocabulary", action="store_true", help="score every token id, not the lexicon's words (reward models)")
    add("--format", help="a format of params.yaml, or 'question' (default: the model's chat template where it has one)")
    add(
        "--tokenisation",
        choices=("exact", "as_published"),
        default="exact",
        help="exact (default): one BOS, each word the same ids; as_published: as the paper's released scores were made",
    )
    add(
        "--optimal",
        type=positive,
        metavar="K",
        help="also the best and worst replies of up to K tokens, by beam search over the whole vocabulary (reward "
        "models; one prompt a framing, or those of --prompts), into optimal.csv",
    )
    add("--beam", type=positive, metavar="N", help="beginnings that --optimal keeps (default 8)")
    add("--card", action="store_true", help="also card.md: the model's README.md with the profile and its model-index")
    shared(
        add, "head", "output", "position", "offline", "device", "dtype", "batch-size", "seed", "dry-run", "max-minutes"
    )
    add("--explain", action="store_true", help="print what was found (class, head, ids, position), and stop")
    add("--revision", help="revision of a Hub id (default: the newest, then the one noted in the lock file)")
    add(
        "--out",
        type=Path,
        help="folder for the results, replaced as a whole (default audit/MODEL; of several models the comparison's "
        "folder, default audit/compare)",
    )
    add("--references", type=Path, help="folder of value profiles to set beside it (default metrics/profiles)")
    add("--draws", type=positive, help="bootstrap draws over words (default 9999)")
    add("--json", action="store_true", help="print profile.json, or compare.json (with --dry-run: the cost) on stdout")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.offline:
        go_offline()
    from valuetrace import audit

    asked = given(options, "dry_run", "explain", "json", "models")
    asked["template_arguments"] = key_values(asked.pop("template_argument", []))
    request = audit.Request(options.models[0], **asked)
    return _one(request, options) if len(options.models) == 1 else _several(request, options)


def _one(request, options: argparse.Namespace) -> int:
    from valuetrace import audit
    from valuetrace.audit.page import as_text

    if options.explain:
        from valuetrace.audit.explain import explain

        print(explain(audit.plan(request, say)))
        return 0
    if options.dry_run:
        planned = audit.plan(request, say)
        if options.json:
            print_json(planned.costs())
        else:
            print(f"Cost: {planned.cost}" + (f"\nOptimal replies: {planned.optimal.cost}" if planned.optimal else ""))
        return 0
    done = audit.audit(request, say)
    if options.json:
        print_json(done.result)
    else:
        print(as_text(done.result))
    names = ["profile.json", "profile.csv", "profile.png", "scores.parquet"]
    names += ["optimal.csv"] * bool(request.optimal) + ["card.md"] * request.card
    say(f"Written: {done.out / 'audit.html'} and {', '.join(names)} beside it")
    if done.problem is not None:
        say(f"warning: {done.problem}")
    return 0 if done.problem is None else 3


def _several(request, options: argparse.Namespace) -> int:
    from valuetrace.audit import compare

    if options.dry_run:
        costs, failed = compare.plan_each(options.models, request, say)
        if options.json:
            print_json(costs)
        return 2 if failed else 0
    compared = compare.audit_each(options.models, request, say)
    if compared.result is None:
        say(f"Nothing to compare: {len(compared.done)} of {len(options.models)} models were audited.")
    elif options.json:
        print_json(compared.result)
    else:
        print(compare.as_text(compared.result))
    for done in compared.done.values():
        say(f"Written: {done.out / 'audit.html'}" + (f"; warning: {done.problem}" if done.problem else ""))
    if compared.result is not None:
        say(f"Written: {compared.out / 'compare.html'} and compare.json, compare.csv, compare.png beside it")
    if compared.failed:
        return 2
    return 3 if any(done.problem for done in compared.done.values()) else 0
