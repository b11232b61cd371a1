"""The paper from its own released data. A page of its own; what was lacking is named, and its pictures are left out."""

from pathlib import Path

import pandas as pd
from markupsafe import Markup

from valuetrace.core import settings
from valuetrace.report import compare
from valuetrace.report.page import Context, picture

TITLE, ORDER = "The paper from its own released data", 75
PAGE, MADE_BY = "published.html", "make published"
NOTE = (
    "The paper's own data, models and prompts; nothing is trained or scored here. The 54 prompts of one model are "
    "variations of one question, and models that share data or weights are not independent: a test that counts either "
    "as independent says less about bases than its p-value seems to."
)
ORIGINS = "conf/published/reward_models.csv"
PICTURES = "plots/figures/published"
METRICS = ("sources", "section_3", "section_4", "claims")
SHOWN = {  # beside PICTURES: what a picture shows
    "section_3/figure_2_instruction-tuned.png": "Figure 2a: log-probabilities of the instruction-tuned pair",
    "section_3/figure_2_pretrained.png": "Figure 2b: log-probabilities of the pretrained pair",
    "section_3/table_1.png": "Table 1: optimal and pessimal tokens",
    "section_3/figure_3.png": "Figure 3: implicit reward of two words, every pair of models",
    "section_4/movers.png": "Figures 5, A6 and A7: the words that move most",
    "section_4/kendall.png": "Figure A4: agreement with the last checkpoint",
    "section_4/token_paths.png": "Figure A8: where the last checkpoint's extreme tokens came from",
}


def needs() -> list[str]:
    found = [f"metrics/published/{name}.json" for name in METRICS]
    found += [f"metrics/published/section_2/{name}.json" for name in _comparisons()]
    found += [f"{PICTURES}/section_2/{name}/figure_{n}.png" for name in _comparisons() for n in ("1", "a1")]
    return [*found, *(f"{PICTURES}/section_4/figure_4{n}.png" for n in "ab")]


def render(context: Context) -> Markup:
    told = {name: context.metrics[f"published/{name}"] for name in METRICS}
    parts = {name: _part(context, name) for name in _comparisons()}
    models = {name: _models(f"plots/published/section_2/{name}/models.csv") for name in parts}
    there = {path: text for path, text in SHOWN.items() if Path(PICTURES, path).is_file()}
    shown = {path: picture(f"{PICTURES}/{path}", text) for path, text in there.items()}
    owner, name, commit = told["sources"]["url"].rstrip("/").split("/")[-3:]
    given: dict = {"told": told, "parts": parts, "models": models, "shown": shown, "captions": SHOWN}
    given |= {"repository": f"{owner}/{name}", "commit": commit}
    origins = pd.read_csv(settings.ROOT / ORIGINS, dtype=str)
    given["data_known"] = origins["preference_data"].notna().sum()
    given["with_skywork"] = origins["preference_data"].str.contains("Skywork", na=False).sum()
    given["origins"] = origins.fillna("not known").to_dict("records")
    panels = context.metrics["published/section_2/big_two"]["panels"]
    given["p_values"] = {
        "panels": len(panels),
        "printed": sum(row["p_parametric"] < 0.0001 for row in panels),
        "criterion": sum(row["p_parametric"] < 0.00125 for row in panels),
        "model_unit": sum(row["p_model_unit"] < 0.05 for row in panels),
    }
    return context.fill("sections/published.html.j2", **given)


def _comparisons() -> dict[str, object]:
    return settings.get("published.comparisons", dict[str, object])


def _part(context: Context, name: str) -> Markup:
    title = context.metrics[f"published/section_2/{name}"]["title"]
    return compare.section(context.n, f"published/section_2/{name}", title, f"{PICTURES}/section_2/{name}")


def _models(path: str) -> pd.DataFrame:
    """Each model's median rank (mean over prompts), a column a construct and framing."""
    frame = pd.read_csv(path)
    wide = frame.pivot(index=["base", "model"], columns=["framing", "construct"], values="mean")
    return wide.sort_index(axis=1, ascending=[False, True])
