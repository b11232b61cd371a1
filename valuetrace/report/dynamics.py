"""The report's Section 4, from metrics/dynamics.json, metrics/ablations.json and their pictures."""

from __future__ import annotations

from itertools import groupby

from markupsafe import Markup

from valuetrace.report import page


def section(metrics: dict[str, dict], labels: dict[str, str], picture=page.picture) -> Markup:
    """An HTML fragment; every number names its metrics file.

    metrics: ``dynamics`` and, where runs have been collected, ``ablations``; labels: base → its name in
    print. ``picture`` embeds a PNG (path, description).
    """
    told = metrics["dynamics"]
    text = page.template("dynamics.html.j2").render(
        n=page.Numbers(metrics),
        metrics=metrics,
        d=told,
        names=labels,
        rows=_gaps(told),
        survival=_survival(told["survival"]),
        picture=picture,
    )
    return Markup(text)


def _gaps(told: dict) -> list[dict]:
    """Pair and framing, with the positions of the early and the last row in ``gaps``."""
    at = {(row["first"], row["second"], row["framing"], row["step"]): i for i, row in enumerate(told["gaps"])}
    return [
        {
            "first": first,
            "second": second,
            "framing": framing,
            "early": at[first, second, framing, told["early_step"]],
            "last": at[first, second, framing, told["last_step"]],
        }
        for first, second, framing in dict.fromkeys(key[:3] for key in at)
    ]


def _survival(rows: list[dict]) -> list[dict]:
    """Reward model, log-probabilities and framing, with the positions of its steps in ``survival``."""

    def of(item: tuple[int, dict]) -> tuple:
        row = item[1]
        return row["base"], row["logprobs_of"], row["framing"]

    names = ("base", "logprobs_of", "framing")
    groups = [(key, [i for i, _ in items]) for key, items in groupby(enumerate(rows), of)]
    return [dict(zip(names, key, strict=True)) | {"own": key[0] == key[1], "at": at} for key, at in groups]
