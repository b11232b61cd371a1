"""The forecast in words: a self-contained page and a table for the terminal, every number from forecast.json."""

from __future__ import annotations

from pathlib import Path

from valuetrace.core.numbers import number
from valuetrace.forecast.shares import KINDS
from valuetrace.report.numbers import Numbers
from valuetrace.report.page import picture, refusal_lines, refusals, template
from valuetrace.subjects import cost

SHOWN = {"kl": (0.0, 0.5, 1.0, 2.0, 4.0, 8.0), "best_of_n": (1.0, 4.0, 16.0, 64.0, 256.0, 4096.0)}
"""The points that tables show where they are among the forecast's; else as many, evenly spaced among them."""

EFFECTS = {
    "difference": "difference",
    "policy": "of the policy",
    "reward": "of the reward model",
    "interaction": "interaction",
}


def page(result: dict, image: Path) -> str:
    """The page (forecast.html): nothing in it comes from the network."""
    cells = result["cells"]
    return template("forecast.html.j2", "valuetrace.forecast").render(
        n=Numbers({"forecast": result}, folder=""),
        r=result,
        tables=[
            [
                (framing, kind, KINDS[kind], table(cell["rows"], framing, kind), header(cell["budgets"], framing, kind))
                for framing in framings(cell)
                for kind in dict.fromkeys(row["kind"] for row in cell["budgets"])
            ]
            for cell in cells
        ],
        gained=[{framing: gains(cell["gainers"], framing) for framing in framings(cell)} for cell in cells],
        ranks=ranks,
        attributed=attributed(result),
        effects=EFFECTS,
        refused=refused(result),
        picture=picture(image, "Each construct's share of the policy's probability against the KL budget"),
        duration=cost.duration,
    )


def framings(cell: dict) -> list[str]:
    """The framings that were not refused."""
    return [name for name in dict.fromkeys(row["framing"] for row in cell["budgets"]) if name not in cell["refused"]]


def shown(budgets: list[float], kind: str) -> list[float]:
    """Those of a forecast's budgets that a table has room for."""
    chosen = [budget for budget in SHOWN.get(kind, ()) if budget in budgets]
    return chosen if len(chosen) >= min(4, len(budgets)) else budgets[:: max(1, -(-len(budgets) // 6))]


def header(budgets: list[dict], framing: str, kind: str) -> list[int]:
    """Where in a cell's ``budgets`` the columns of a table stand."""
    of = {row["budget"]: at for at, row in enumerate(budgets) if (row["framing"], row["kind"]) == (framing, kind)}
    return [of[budget] for budget in shown(list(of), kind)]


def table(rows: list[dict], framing: str, kind: str) -> dict[str, list[int]]:
    """Construct → where in a cell's ``rows`` its shares stand, a column each."""
    found: dict[str, dict[float, int]] = {}
    for at, row in enumerate(rows):
        if (row["framing"], row["kind"]) == (framing, kind):
            found.setdefault(row["construct"], {})[row["budget"]] = at
    return {label: [of[budget] for budget in shown(list(of), kind)] for label, of in found.items()}


def gains(rows: list[dict], framing: str, words: int = 5) -> dict[float, list[int]]:
    """KL budget → where in a cell's ``gainers`` the words that gain most stand."""
    found: dict[float, list[int]] = {}
    for at, row in enumerate(rows):
        if (row["framing"], row["kind"]) == (framing, "kl"):
            found.setdefault(row["budget"], []).append(at)
    return {budget: found[budget][:words] for budget in shown(list(found), "kl") if budget > 0}


def ranks(result: dict, reward_model: str, framing: str) -> dict[str, int]:
    """Construct → where its percentile stands in the rows of the reward model's own profile."""
    rows = enumerate(result["profiles"][reward_model]["rows"])
    return {row["label"]: at for at, row in rows if row["framing"] == framing and "percentile" in row}


def attributed(result: dict) -> list[tuple]:
    """(framing, budgets, construct → effect → where in the rows) of the KL budgets."""
    listed = result["attribution"]["rows"] if result["attribution"] else []
    rows = [(at, row) for at, row in enumerate(listed) if row["kind"] == "kl"]
    found = []
    for framing in dict.fromkeys(row["framing"] for _, row in rows):
        of = [(at, row) for at, row in rows if row["framing"] == framing]
        budgets = shown(list(dict.fromkeys(row["budget"] for _, row in of)), "kl")
        places: dict[str, dict[str, list[int]]] = {}
        for at, row in of:
            if row["budget"] in budgets:
                places.setdefault(row["construct"], {}).setdefault(row["effect"], []).append(at)
        found.append((framing, budgets, places))
    return found


def refused(result: dict) -> list[dict]:
    """What no forecast is given of: ``where, refused, needs``, those of one reason joined."""
    cells = [
        (f"{cell['reward_model']} on {cell['policy']}, {framing} prompts", why)
        for cell in result["cells"]
        for framing, why in cell["refused"].items()
    ]
    return refusals(cells + [(group["label"], group) for group in result["constructs"] if "refused" in group])


def as_text(result: dict) -> str:
    """Shares, words and refusals for a terminal."""
    lines = [
        "{covered} of {listed} words of {0} are covered replies.".format(result["lexicon"], **result["words"]),
        *(
            f"Probability on them, {name}: " + ", ".join(f"{framing} {value:.2g}" for framing, value in of.items())
            for name, of in result["probability"].items()
        ),
    ]
    for cell in result["cells"]:
        lines.append(f"{cell['reward_model']} on {cell['policy']}: share of the covered replies' probability, percent")
        for framing in framings(cell):
            for kind, unit in (("kl", "nats"), ("best_of_n", "best of"), ("beta", "β")):
                lines += _text_table(cell, framing, kind, unit)
            lines += _text_words(cell, framing)
    return "\n".join(lines + refusal_lines(refused(result)))


def _text_table(cell: dict, framing: str, kind: str, unit: str) -> list[str]:
    places, width = table(cell["rows"], framing, kind), max([len(r["construct"]) for r in cell["rows"]] + [20])
    if not places:
        return []
    budgets = [cell["rows"][at]["budget"] for at in next(iter(places.values()))]
    lines = [f"  {framing + ', ' + unit:<{width}}" + "".join(f"{budget:>8g}" for budget in budgets)]
    for label, of in places.items():
        lines.append(f"  {label:<{width}}" + "".join(f"{number(100 * cell['rows'][at]['share'], 1):>8}" for at in of))
    return lines


def _text_words(cell: dict, framing: str) -> list[str]:
    found = gains(cell["gainers"], framing)
    lines = []
    for budget, places in list(found.items())[-1:]:
        rows = [cell["gainers"][at] for at in places]
        told = ", ".join(f"{r['word']} ({100 * r['reference']:.1f} to {100 * r['probability']:.1f})" for r in rows)
        lines.append(f"  {framing}, gain most at {budget:g} nats (percent): {told}")
    for row in cell["first_changes"]:
        if row["framing"] == framing and row["changing"]:
            lines.append(
                f"  {framing}: the most probable word changes in {row['changing']} of {row['prompts']} prompts, first "
                f"at {row['median']:.2f} nats (median; {row['lowest']:.2f} to {row['highest']:.2f})"
            )
    return lines
