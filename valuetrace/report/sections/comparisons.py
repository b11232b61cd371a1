"""Two bases compared over score tables: a part for every row of compare.runs (Section 2)."""

from markupsafe import Markup

from valuetrace.core import settings
from valuetrace.report import compare
from valuetrace.report.page import Context

TITLE, ORDER = "Bases compared over score tables (Section 2)", 50
ABSENT = "A comparison was not made."
PICTURES = "plots/figures/compare"


def needs() -> list[str]:
    names = settings.get("compare.runs", dict[str, object])
    return [path for name in names for path in (f"metrics/compare/{name}.json", f"{PICTURES}/{name}/figure_1.png")]


def render(context: Context) -> Markup:
    return Markup("\n").join(
        compare.section(context.n, f"compare/{name}", context.metrics[f"compare/{name}"]["title"], f"{PICTURES}/{name}")
        for name in settings.get("compare.runs", dict[str, object])
    )
