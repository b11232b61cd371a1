"""The audit in words: a self-contained page and a table for the terminal, every number from profile.json."""

from __future__ import annotations

from pathlib import Path

from valuetrace.audit import optimal
from valuetrace.core.numbers import interval, number
from valuetrace.report.numbers import Numbers
from valuetrace.report.page import picture, refusal_lines, refusals, template
from valuetrace.scoring.reference import Reference, told
from valuetrace.subjects import cost

KINDS = {"reward": "reward model", "logprob": "language model"}


def page(result: dict, image: Path) -> str:
    """The page (audit.html): nothing in it comes from the network."""
    extremes = list(enumerate(result["extremes"]["rows"]))
    ends = [(name, end) for name in dict.fromkeys(row["framing"] for _, row in extremes) for end in ("top", "bottom")]
    columns = [[(i, row) for i, row in extremes if (row["framing"], row["end"]) == key] for key in ends]
    apart = result["references_not_comparable"]
    return template("audit.html.j2", "valuetrace.audit").render(
        n=Numbers({"profile": result}, folder=""),
        r=result,
        p=result["profile"],
        kind=KINDS[result["model"]["kind"]],
        ends=ends,
        by_rank=list(zip(*columns, strict=False)),
        refused=refused_rows(result["profile"]),
        place=result["place"],
        held=told(Reference(**result["reference"])) if result.get("reference") else None,
        excluded=[(why, [r["file"] for r in apart if r["reason"] == why]) for why in {r["reason"]: 0 for r in apart}],
        optimal=optimal_rows(result.get("optimal")),
        picture=picture(image, "Percentiles by construct and framing, the audited model beside other models"),
        duration=cost.duration,
        size=cost.size,
        optimal_reach=optimal_reach,
        visible=visible,
    )


def as_text(result: dict) -> str:
    """The profile, the refusals and both ends of the ranking, for a terminal."""
    profile = result["profile"]
    width = max(len(row["label"]) for row in profile["rows"]) + 2
    lines = [f"{'construct':<{width}}{'framing':<10}{'words':>11}{'median rank':>13}{'percentile':>12}  95% over words"]
    for row in profile["rows"]:
        told = "     refused"
        if "refused" not in row:
            told = f"{number(row['median_rank'], 1):>11}{number(row['percentile'], 0):>12}"
            told += f"  {interval(row['percentile_interval'], 0)}"
        lines.append(f"{row['label']:<{width}}{row['framing']:<10}{row['words']:>5} of {row['of']:<4}{told}")
    lines.append(f"Ranks are among {profile['ranked_words']} words; percentile: 100 = best, 50 = chance.")
    lines += refusal_lines(refused_rows(profile)) + place_lines(result["place"])
    of = result["extremes"]["of"]
    for framing in dict.fromkeys(row["framing"] for row in result["extremes"]["rows"]):
        for end in ("top", "bottom"):
            rows = [r for r in result["extremes"]["rows"] if (r["framing"], r["end"]) == (framing, end)][:8]
            lines.append(f"{end.capitalize()} {of}, {framing}: " + " ".join(repr(row["text"]) for row in rows))
    lines += optimal_lines(result.get("optimal"))
    count = len(result["references"])
    lines.append(f"Reference models beside it: {count}" + ("" if count else " (none was scored in this way)") + ".")
    return "\n".join(lines)


def place_lines(place: dict | None) -> list[str]:
    """Where the model stands among the released ones, for a terminal; empty where none has this kind of score."""
    if place is None:
        return []
    if "rows" not in place:
        return [f"No place among the released models: {place['refused']}. Needed: {place['needs']}."]
    bases, lineages = (", ".join(f"{name} {n}" for name, n in place[key].items()) for key in ("bases", "lineages"))
    count = len(place["among"])
    lines = [f"Among the {count} released models ({bases}), ranked on the same {place['words']} words:"]
    width = max(len(row["label"]) for row in place["rows"]) + 2
    for row in place["rows"]:
        start = f"  {row['label']:<{width}}{row['framing']:<10}"
        if "refused" in row:
            lines.append(f"{start}no place: {row['refused']}. Needed: {row['needs']}.")
            continue
        ends, theirs = "{} to {}".format(*row["above_at_ends"]), interval([row["lowest"], row["highest"]], 0)
        own = f"percentile {number(row['percentile'], 0)} ({interval(row['percentile_interval'], 0)})"
        lines.append(f"{start}{own}, above {row['above']} of {row['of']} ({ends}); theirs {theirs}")
    lines += [f"  Differs from theirs: {text}." for text in place["differs"]]
    lines.append(
        f"  In brackets: 95% over words. {count} models of few lineages ({lineages}) are not independent draws."
    )
    return lines


def optimal_rows(found: dict | None) -> list[dict]:
    """The rows of ``optimal.rows`` that page and terminal show, of each prompt and end: ``prompt``, ``end``, ``what``,
    ``row`` (its number) and ``then`` (the next replies of its ranking). Empty where nothing was searched."""
    if found is None:
        return []
    one = "one token" if found["length"] > 1 else "one token, exhaustive"
    asked: dict[str, tuple] = {f"{one}, plain": ("plain", "beam", 1), f"{one}, any": ("any", "beam", 1)}
    if found["length"] > 1:
        asked |= {f"beam of {found['beam']}": ("plain", "beam", None), "greedy": ("plain", "greedy", None)}
        asked |= {"random": ("plain", "random", None), "beam, any last token": ("any", "beam", None)}
    rows = found["rows"]
    return [
        {"prompt": prompt, "end": end, "what": what, "row": at, "then": optimal.behind(rows, at)}
        for prompt in found["prompts"]
        for end in ("best", "worst")
        for what, how in asked.items()
        if (at := optimal.first(rows, prompt["key"], end, *how)) is not None
    ]


def optimal_lines(found: dict | None) -> list[str]:
    """The optimal replies, for a terminal; empty where none were searched."""
    if found is None:
        return []
    lines = []
    for shown in optimal_rows(found):
        row = found["rows"][shown["row"]]
        if row["kind"] == "plain" or row["length"] > 1:
            start = f"{shown['end'].capitalize()} reply to {row['prompt']}, {shown['what']}: {row['reply']!r}"
            lines.append(f"{start} {number(row['reward'], 3)}; then " + " ".join(map(repr, shown["then"])))
    return lines and [*lines, optimal_reach(found)]


def optimal_reach(found: dict) -> str:
    """How far the search is from exhaustive, in one sentence."""
    most = found["exhaustive"][-1]
    if found["length"] == 1:
        return f"Exhaustive: all {most['replies']:,} replies of one token were scored."
    share, kept = f"{100 * most['share']:.2g}%", min(found["beam"], found["plain"])
    of = f"{most['replies']:,}" if most["replies"] < 1e12 else f"{most['replies']:.1e}"
    return (
        f"Exhaustive for one token only. Of the {of} replies of {most['length']} tokens {most['scored']:,} ({share}) "
        f"were scored for each end: {kept} of {found['plain']:,} plain beginnings were kept, so the best found is a "
        "lower bound on the best, and the worst found an upper bound on the worst. Random replies of equal cost found "
        f"more than the beam in {found['random_ahead']} of {found['searches']} searches."
    )


def refused_rows(profile: dict) -> list[dict]:
    """The refusals of a profile, those of one reason joined: ``where, refused, needs``."""
    return refusals((f"{row['label']}, {row['framing']}", row) for row in profile["rows"] if "refused" in row)


def visible(text: str) -> str:
    """A token with its line breaks and control characters shown."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
