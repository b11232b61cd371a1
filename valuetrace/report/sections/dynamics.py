"""Values while a reward model is trained (Section 4)."""

from itertools import groupby

from markupsafe import Markup

from valuetrace.report.page import Context

TITLE, ORDER = "Values while a reward model is trained (Section 4)", 60
ABSENT = "No reward model was trained."
NEEDS = ("metrics/dynamics.json", "plots/dynamics.png", "plots/movers.png", "plots/token_paths.png")


def render(context: Context) -> Markup:
    told = context.metrics["dynamics"]
    refused = set(told["refused"])
    last = context.n.rows("dynamics:inherited", step=told["last_step"])
    inherited = [(v, row) for v, row in last if not refused & {row["first"], row["second"]}]
    survival = [row for row in _survival(told["survival"]) if row["base"] not in refused]
    given = {"gaps": _gaps(told), "survival": survival, "inherited": inherited}
    return context.fill("sections/dynamics.html.j2", d=told, **given)


def _gaps(told: dict) -> list[dict]:
    """Pair and framing, with the positions of the untrained and the last row in ``gaps``, and who is refused."""
    at = {(row["first"], row["second"], row["framing"], row["step"]): i for i, row in enumerate(told["gaps"])}
    return [
        {
            "first": key[0],
            "second": key[1],
            "framing": key[2],
            "untrained": at[*key, 0],
            "last": at[*key, told["last_step"]],
            "refused": [base for base in key[:2] if base in told["refused"]],
        }
        for key in dict.fromkeys(key[:3] for key in at)
    ]


def _survival(rows: list[dict]) -> list[dict]:
    """Reward model, log-probabilities and framing, with the positions of its steps in ``survival``."""
    names = ("base", "logprobs_of", "framing")
    groups = groupby(range(len(rows)), lambda i: tuple(rows[i][name] for name in names))
    return [dict(zip(names, key, strict=True)) | {"own": key[0] == key[1], "at": list(at)} for key, at in groups]
