"""Is the instrument true? Values of known truth planted into bases, a page of its own."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from valuetrace.report.page import Context

TITLE, ORDER = "Is the instrument true?", 80
PAGE, MADE_BY = "planting.html", "make planting"
NOTE = (
    "One small base, planted by preference optimisation (in three blocks by other ways, too), two "
    "constructs. The way, the dose and the penalty of the ridge heads were chosen on the first block, one of those "
    "that count; the rest was fixed before it."
)
PICTURES = ("transmission", "nulls", "dose", "detection", "where", "specificity", "mitigation")
PARTS = {
    "authority": "planting/authority",
    "seed_variance": "seed_variance",
}  # part → its metrics
REWARD_MODELS = {"ridge": "ridge head", "lora": "LoRA", "lora_untrained": "LoRA, before training"}


def needs() -> list[str]:
    metrics = [f"metrics/{name}.json" for name in ("planting/study", *PARTS.values())]
    return [*metrics, *(f"plots/planting/{name}.png" for name in (*PICTURES, "authority")), "plots/seed_variance.png"]


def render(context: Context) -> Markup:
    told = context.metrics["planting/study"]

    def rows(name: str, **wanted: Any) -> list[tuple[str, dict]]:
        """Rows of a table with these values, each with where it stands."""
        return [
            (f"planting/study:{name}.{i}", row)
            for i, row in enumerate(told[name])
            if all(row[key] in (value if isinstance(value, tuple) else (value,)) for key, value in wanted.items())
        ]

    return context.fill("sections/planting.html.j2", s=told, rows=rows, reward_models=REWARD_MODELS)
