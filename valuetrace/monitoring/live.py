"""``valuetrace.profile``: the value profile of a model in memory, whatever was done to it since it was loaded."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from valuetrace.measures import validity
from valuetrace.monitoring import sample as samples
from valuetrace.monitoring.scores import Scorer
from valuetrace.monitoring.subject import subject
from valuetrace.monitoring.summary import summarise
from valuetrace.scoring.chat import Format


def profile(
    model: nn.Module,
    tokenizer: Any,
    *,
    format: Format | str | None = None,
    lexicon: str | Path | pd.DataFrame = "big_two_nouns",
    prompts: int | pd.DataFrame = 3,
    words: int | None = None,
    seed: int = 1,
) -> dict:
    """The value profile of ``model``: a reward model with one output or a causal language model, adapted (PEFT) or not.

    format: how a question is put to it (``scoring.chat.Format``, or a text with ``{prompt}``); by default its chat
    template, or ``Question: …`` where it has none. lexicon: by name, file, or a table ``word, construct``. prompts: so
    many of the 54 a framing (27: all of them), or a table ``key, text, framing``. words: at most so many a construct.

    Returns ``rows`` (construct × framing: median_rank, percentile), ``reading`` (framing agreement, known groups),
    ``refused`` and ``needs`` (None where the model reads the prompts: read no percentile otherwise), ``means`` (word →
    mean score, by framing) and what they are of. The model comes back as it was. InputError for what has no profile.
    """
    asked = subject(model, tokenizer, format)
    drawn = samples.draw(lexicon, prompts, words, seed)
    scores, problem = Scorer(asked, drawn).score()
    if problem:
        warnings.warn(problem, stacklevel=2)
    return summarise(scores, drawn, asked.kind, validity.rule())
