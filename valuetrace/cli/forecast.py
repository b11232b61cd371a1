"""``valuetrace forecast``."""

from __future__ import annotations

import argparse
from pathlib import Path

from valuetrace.cli.options import given, go_offline, key_values, numbers, positive, print_json, say, shared


def add(subcommands) -> None:
    about = "What would RLHF with a reward model, or best-of-n, do to the values of a policy? Nothing is trained."
    parser = subcommands.add_parser(
        "forecast",
        help=about,
        description=f"{about} For one-word replies the optimum of KL-regularised RLHF is known, policy(reply) ∝ "
        "reference(reply) × exp(reward / β), and so is the best of n draws. Models are given as to valuetrace audit. "
        "The replies are the lexicon's words that every policy says as one token; a reward model scores each of them. "
        "Writes forecast.json, forecast.csv, words.csv, forecast.png and forecast.html, with two models of a kind "
        "also attribution.csv.",
        epilog="Exit status: 0 done (what cannot be told is refused, with the reason); 2 something in the command or a "
        "model is wrong (one line says what); 3 done, but some scores are not finite numbers: they are left out; 130 "
        "interrupted: the same command goes on from the rewards kept beside OUT.",
    )
    add = parser.add_argument
    add("reward_models", nargs="+", metavar="REWARD_MODEL", help="one, or two to be set side by side")
    add("--policy", action="append", required=True, metavar="BASE", dest="policies", help="language model; repeatable")
    shared(add, "lexicon", "prompts", "case", "head")
    add("--format", help="of the reward model (default: as in valuetrace audit)")
    add("--policy-format", help="of the policy: one in which it answers with such words (default: as in audit)")
    shared(add, "template-argument")
    add("--policy-template-argument", action="append", metavar="KEY=VALUE", help="the same for the policies")
    add("--budgets", type=numbers(float), dest="nats", help="KL budgets in nats (default 0,0.5 … 8)")
    add("--best-of", type=numbers(int), dest="counts", help="values of n (default 1,2,4 … 4096)")
    add("--beta", type=numbers(float), dest="betas", help="β of a training, one for all prompts, in the reward's units")
    add("--out", type=Path, help="folder for the results, replaced as a whole (default forecast/REWARD_MODEL-on-BASE)")
    shared(add, "device", "dtype", "batch-size", "seed", "dry-run", "max-minutes", "offline")
    add("--draws", type=positive, help="bootstrap draws (default 2000)")
    add("--json", action="store_true", help="print forecast.json (with --dry-run: the cost) on stdout")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.offline:
        go_offline()
    from valuetrace import forecast
    from valuetrace.forecast.page import as_text

    asked = given(options, "dry_run", "json")
    for kind in ("", "policy_"):
        asked[f"{kind}template_arguments"] = key_values(asked.pop(f"{kind}template_argument", []))
    asked |= {key: tuple(asked[key]) for key in ("reward_models", "policies")}
    request = forecast.Request(**asked)
    if options.dry_run:
        planned = forecast.plan(request, say)
        if options.json:
            print_json(planned.as_dict())
        else:
            print(f"Cost: {planned}")
        return 0
    done = forecast.forecast(request, say)
    if options.json:
        print_json(done.result)
    else:
        print(as_text(done.result))
    say(f"Written: {done.out / 'forecast.html'} and forecast.json, forecast.csv, words.csv, forecast.png beside it")
    for problem in done.problems:
        say(f"warning: {problem}")
    return 3 if done.problems else 0
