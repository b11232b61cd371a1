"""Tell the story on one self-contained page.

In:  metrics/*.json, plots/*.png, plots/implicit_rewards/tokens.csv; params.yaml: models, formats, profile
Out: plots/report.html  (no network; every number names its metrics file)
Run: python stages/report.py
"""

import pandas as pd

from valuetrace import models, settings, stage, tables
from valuetrace.prompts import value_laden
from valuetrace.report import page
from valuetrace.scoring.chat import Format

METRICS = ("lexicons", "log_probabilities", "implicit_rewards")


def main() -> None:
    metrics = {name: tables.read_json(f"metrics/{name}.json") for name in METRICS}
    every = settings.get("models", dict[str, models.Model])
    rows = {name: every[name] for name in settings.get("bases", list[str])}
    tokens = pd.read_csv("plots/implicit_rewards/tokens.csv", keep_default_na=False)
    text = page.render(
        metrics,
        {"tokens": tokens},
        rows=rows,
        labels={name: row.label for name, row in rows.items()},
        profile=settings.get("profile", str),
        formats=settings.get("formats", dict[str, Format]),
        prompt=value_laden().set_index("key")["text"][metrics["implicit_rewards"]["prompt"]],
        sections=[],
    )
    tables.write_text(text, "plots/report.html")


if __name__ == "__main__":
    stage.run(main)
