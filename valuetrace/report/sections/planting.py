"""Validation with planted values, a page of its own."""

from markupsafe import Markup

from valuetrace.report.page import Context

TITLE, ORDER = "Validation with planted values", 80
PAGE, MADE_BY = "planting.html", "make planting"
NOTE = (
    "One small base, planted by preference optimisation (in three blocks by other ways, too), two "
    "constructs. The way, the dose and the penalty of the ridge heads were chosen on the first block, one of those "
    "that count; the rest was fixed before it."
)
PICTURES = ("transmission", "nulls", "dose", "detection", "where", "specificity", "mitigation")
NEEDS = (
    *(f"metrics/{name}.json" for name in ("planting/study", "planting/authority", "seed_variance")),
    *(f"plots/planting/{name}.png" for name in (*PICTURES, "authority")),
    "plots/seed_variance.png",
)
REWARD_MODELS = {"ridge": "ridge head", "lora": "LoRA", "lora_untrained": "LoRA, before training"}


def render(context: Context) -> Markup:
    study = context.metrics["planting/study"]
    return context.fill("sections/planting.html.j2", s=study, reward_models=REWARD_MODELS)
