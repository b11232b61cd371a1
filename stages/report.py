"""Tell the story on one self-contained page.

In:  metrics/*.json, metrics/compare/*.json, plots/*.png, plots/compare/*/figure_1.png,
     plots/implicit_rewards/tokens.csv; params.yaml: models, formats, profile, compare.runs
Out: plots/report.html  (no network; every number names its metrics file)
Run: python -m stages.report
"""

import pandas as pd

from valuetrace.core import files, settings, stage
from valuetrace.models.rows import Model
from valuetrace.prompts import value_laden
from valuetrace.report import compare, dynamics, page
from valuetrace.scoring.chat import Format

METRICS = ("lexicons", "log_probabilities", "implicit_rewards", "dynamics")


def main() -> None:
    metrics = {name: files.read_json(f"metrics/{name}.json") for name in METRICS}
    every = settings.get("models", dict[str, Model])
    rows = {name: every[name] for name in settings.get("bases", list[str])}
    tokens = pd.read_csv("plots/implicit_rewards/tokens.csv", keep_default_na=False)
    labels = {name: row.label for name, row in every.items()}
    profile = settings.get("profile", str)
    sections = [_comparison(name) for name in settings.get("compare.runs", dict[str, object])]
    runs = files.read_json("metrics/ablations.json")
    if profile in {group["profile"] for group in runs["groups"]}:  # collected from runs of this profile
        metrics["ablations"] = runs
    sections.append(dynamics.section(metrics, labels))
    text = page.render(
        metrics,
        {"tokens": tokens},
        rows=rows,
        labels={name: labels[name] for name in rows},
        profile=profile,
        formats=settings.get("formats", dict[str, Format]),
        prompt=value_laden().set_index("key")["text"][metrics["implicit_rewards"]["prompt"]],
        sections=sections,
    )
    files.write_text(text, "plots/report.html")


def _comparison(name: str) -> str:
    """One comparison of Section 2 as a part of the page, its picture inside."""
    metrics = files.read_json(f"metrics/compare/{name}.json")
    figure = page.picture(f"plots/compare/{name}/figure_1.png", f"Median ranks by base, construct and framing: {name}")
    source = f'<p class="note">Every number of this section is in metrics/compare/{name}.json.</p>'
    return compare.section(metrics, metrics["title"]) + f"<figure>{figure}</figure>" + source


if __name__ == "__main__":
    stage.run(main)
