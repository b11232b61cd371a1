"""Two trainings side by side: worked numbers, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from valuetrace.core.errors import InputError
from valuetrace.measures import repeatability

WORDS = ["a", "b", "c", "d", "e"]
PROMPTS = pd.DataFrame({"key": ["p", "q", "n"], "framing": ["positive", "positive", "negative"]})


def scores(*columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame(dict(zip(PROMPTS["key"], columns, strict=True)), index=[*WORDS, "other"])


def test_ranks_agreement_and_gap_are_worked_numbers():
    first = scores([5, 4, 3, 2, 1, 9], [4, 5, 3, 2, 1, 9], [1, 2, 3, 4, 5, 9])
    ranks = repeatability.mean_ranks(first, WORDS, PROMPTS)  # the word beside them does not count
    assert ranks["positive"].tolist() == [1.5, 1.5, 3, 4, 5] and ranks["negative"].tolist() == [5, 4, 3, 2, 1]
    same = repeatability.agreement(ranks, ranks)
    assert same == pytest.approx({"positive": 1, "negative": 1, "difference": 1})
    turned = repeatability.mean_ranks(-first, WORDS, PROMPTS)
    assert repeatability.agreement(ranks, turned) == pytest.approx({"positive": -1, "negative": -1, "difference": -1})
    member = np.array([[True, True, False, False, False], [False, False, False, True, True]])
    # medians 1.5 and 4.5 of five words: 3 ranks, 60 points
    assert repeatability.gap(ranks, member) == pytest.approx({"positive": 60, "negative": -60})


def test_a_missing_word_is_named():
    with pytest.raises(InputError, match="'z'"):
        repeatability.mean_ranks(scores([1] * 6, [1] * 6, [1] * 6), [*WORDS, "z"], PROMPTS)
