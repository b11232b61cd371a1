"""The difference between two bases as a reward for every shared token (Section 3.2)."""

import pandas as pd
from markupsafe import Markup

from valuetrace.prompts import value_laden
from valuetrace.report.page import Context

TITLE, ORDER = "Implicit reward (Section 3.2)", 40
ABSENT = "No implicit reward was computed."
TOKENS = "plots/implicit_rewards/tokens.csv"
NEEDS = ("metrics/implicit_rewards.json", TOKENS, "plots/implicit_words.png", "plots/implicit_tokens.png")


def render(context: Context) -> Markup:
    told = context.metrics["implicit_rewards"]
    tokens = pd.read_csv(TOKENS, keep_default_na=False).to_dict("records")
    prompt = value_laden().set_index("key")["text"][told["prompt"]]
    return context.fill("sections/implicit_rewards.html.j2", told=told, tokens=tokens, prompt=prompt)
