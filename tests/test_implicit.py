"""Implicit reward: the eight measures of Table A1 against their formulas in high precision, and their joins."""

import mpmath
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from valuetrace.core.errors import InputError
from valuetrace.measures.bases import implicit

LOG = st.floats(-1e4, 0)
mpmath.mp.dps = 60


def exact(name: str, log_p: float, log_q: float) -> mpmath.mpf:
    """Table A1, written from the paper; p₁ = p, p₂ = q."""
    lp, lq = mpmath.mpf(log_p), mpmath.mpf(log_q)
    p, q = mpmath.exp(lp), mpmath.exp(lq)
    m = (p + q) / 2
    return {
        "llr": lambda: lq - lp,
        "lr20": lambda: max(lq, mpmath.mpf(-20)) - max(lp, mpmath.mpf(-20)),
        "lr10": lambda: max(lq, mpmath.mpf(-10)) - max(lp, mpmath.mpf(-10)),
        "p1lr": lambda: p * (lq - lp),
        "p2lr": lambda: q * (lq - lp),
        "mwlr": lambda: (p + q) / 2 * (lq - lp),
        "gmlr": lambda: mpmath.sqrt(p * q) * (lq - lp),
        "jsr": lambda: (q * mpmath.log(q / m) - p * mpmath.log(p / m)) / 2,
    }[name]()


def close(found: float, expected: mpmath.mpf, log_p: float, log_q: float) -> bool:
    """Within the rounding of a log-probability times the weight it gets, and of the result."""
    weight = mpmath.exp(log_p) + mpmath.exp(log_q) + mpmath.mpf("1e-308")  # below that floats lose digits
    allowed = 1e-14 * weight * (1 + abs(log_p) + abs(log_q)) + 1e-11 * abs(expected)
    return abs(mpmath.mpf(found) - expected) <= allowed


NAMES = pytest.mark.parametrize("name", implicit.MEASURES)


def test_the_eight_measures():
    assert list(implicit.MEASURES) == ["llr", "lr20", "lr10", "p1lr", "p2lr", "mwlr", "gmlr", "jsr"]


@NAMES
@given(LOG, LOG)
def test_equals_table_a1(name, log_p, log_q):
    found = float(implicit.MEASURES[name](log_p, log_q))
    assert np.isfinite(found)
    assert close(found, exact(name, log_p, log_q), log_p, log_q)


@NAMES
@given(log_p=st.floats(-25, 0), difference=st.floats(-3, 3))
def test_equals_table_a1_where_probabilities_matter(name, log_p, difference):
    log_q = min(log_p + difference, 0.0)
    found = float(implicit.MEASURES[name](log_p, log_q))
    assert close(found, exact(name, log_p, log_q), log_p, log_q)


@NAMES
@given(log_p=LOG, log_q=LOG)
def test_exchanging_the_models_flips_the_sign_of_the_antisymmetric_ones(name, log_p, log_q):
    one_way, other = (float(implicit.MEASURES[name](*pair)) for pair in ((log_p, log_q), (log_q, log_p)))
    if name in implicit.ANTISYMMETRIC:
        assert one_way == pytest.approx(-other, rel=1e-12, abs=1e-300)
    mirrored = {"p1lr": "p2lr", "p2lr": "p1lr"}.get(name, name)
    assert float(implicit.MEASURES[mirrored](log_q, log_p)) == pytest.approx(-one_way, rel=1e-12, abs=1e-300)


def test_the_other_two_are_not_antisymmetric():
    log_p, log_q = np.log(0.1), np.log(0.5)
    for name in set(implicit.MEASURES) - set(implicit.ANTISYMMETRIC):
        measure = implicit.MEASURES[name]
        assert abs(measure(log_p, log_q) + measure(log_q, log_p)) > 0.5


@NAMES
@given(log_p=LOG, log_q=LOG)
def test_the_sign_says_which_model_prefers_the_token(name, log_p, log_q):
    found = float(implicit.MEASURES[name](log_p, log_q))
    if name == "jsr":  # q log q/m − p log p/m has the sign of q − p too, but for rounding beside equality
        assert found * (log_q - log_p) >= -1e-12
    else:
        assert np.sign(found) in (0, np.sign(log_q - log_p))
    assert float(implicit.MEASURES[name](log_p, log_p)) == 0


@NAMES
@pytest.mark.parametrize(("log_p", "log_q"), [(-np.inf, -2.0), (-2.0, -np.inf), (-np.inf, -np.inf), (-np.inf, 0.0)])
def test_a_probability_of_zero_is_no_nan(name, log_p, log_q):
    found = float(implicit.MEASURES[name](np.float32(log_p), np.float32(log_q)))
    assert not np.isnan(found)
    if log_p == log_q:
        assert found == 0
    else:
        assert found == 0 or (found > 0) == (log_q > log_p)


def test_limits_at_a_probability_of_zero():
    """p log p → 0 as p → 0: what each measure tends to, q = ½."""
    found = {name: float(measure(-np.inf, np.log(0.5))) for name, measure in implicit.MEASURES.items()}
    ln2 = np.log(2)
    expected = {"llr": np.inf, "lr20": 20 - ln2, "lr10": 10 - ln2, "p1lr": 0, "p2lr": np.inf, "mwlr": np.inf, "gmlr": 0}
    assert found == pytest.approx(expected | {"jsr": 0.25 * ln2})


@NAMES
def test_float32_columns_give_float64(name):
    log_p, log_q = np.float32([-3.3, -0.1, -50]), np.float32([-1.7, -9, -49])
    found = implicit.MEASURES[name](log_p, log_q)
    assert found.dtype == np.float64
    assert list(found) == [float(implicit.MEASURES[name](p, q)) for p, q in zip(log_p, log_q, strict=True)]


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), min_size=2, max_size=30))
def test_sums_are_divergences(weights):
    """Over a whole vocabulary the weighted measures add up to Kullback–Leibler divergences."""
    p, q = (column / column.sum() for column in np.array(weights).T)
    m = (p + q) / 2
    total = {name: implicit.MEASURES[name](np.log(p), np.log(q)).sum() for name in ("p1lr", "p2lr", "mwlr", "jsr")}
    expected = {
        "p1lr": -entropy(p, q),
        "p2lr": entropy(q, p),
        "mwlr": (entropy(q, p) - entropy(p, q)) / 2,
        "jsr": (entropy(q, m) - entropy(p, m)) / 2,
    }
    assert total == pytest.approx(expected, abs=1e-12)


# --- joins, extremes, contrasts ------------------------------------------------------------------


def table(scores: list[tuple[str, float]]) -> pd.DataFrame:
    texts, values = zip(*scores, strict=True)
    return pd.DataFrame({"token_id": range(len(texts)), "token_name": texts, "token_decoded": texts, "k": values})


def test_shared_texts_are_joined_and_of_duplicates_the_more_probable_stays():
    first = table([("a", -3), ("b", -1), ("a", -2), ("only first", -1), ("", -0.1), (" a", -4)])
    second = table([("", -5), ("b", -7), ("only second", -1), ("a", -6), (" a", -1), ("b", -8)])
    joined = implicit.join_tokens(first, second, "k")
    assert joined.to_dict("list") == {"token": ["b", "a", " a"], "log_p": [-1, -2, -4], "log_q": [-7, -6, -1]}


def test_a_prompt_that_is_no_column_is_named():
    frame = table([("a", -1.0)])
    for pair in ((frame, frame.rename(columns={"k": "other"})), (frame.rename(columns={"k": "other"}), frame)):
        with pytest.raises(InputError, match="prompt 'k' is not a column"):
            implicit.join_tokens(*pair, "k")


def joined(log_q: dict[str, float]) -> pd.DataFrame:
    """log p = −1 for every token, so that the log ratio is log q + 1."""
    return pd.DataFrame({"token": list(log_q), "log_p": -1.0, "log_q": list(log_q.values())})


def test_extremes_are_the_best_and_the_worst_with_their_ranks():
    found = implicit.extremes(joined({"c": -3, "e": -5, "a": -1, "d": -4, "b": -2}), "llr", top=2)
    assert found.to_dict("list") == {
        "rank": [1, 2, 4, 5],
        "token": ["a", "b", "d", "e"],
        "score": [0, -1, -3, -4],
        "log_p": [-1.0] * 4,
        "log_q": [-1, -2, -4, -5],
    }


@pytest.mark.parametrize("top", [2, 3, 9])
def test_extremes_name_no_token_twice(top):
    found = implicit.extremes(joined({"b": -2, "a": -2, "c": -1, "d": -9}), "llr", top)
    assert list(found["token"]) == ["c", "a", "b", "d"]  # equal scores in alphabetical order
    assert list(found["rank"]) == [1, 2, 3, 4]


def test_contrast_averages_case_and_white_space_variants():
    tokens = joined({"Love": -2, " love": -3, "LOVE": -4, "lovely": -20, "freedom\n": -1, "glove": -30, "liberty": -4})
    found = implicit.contrast(tokens, "llr", {"Freedom": ["freedom", "Liberty"], "Love": ["love"], "Duty": ["duty"]})
    assert list(found["label"]) == ["Freedom", "Love", "Duty"]
    assert list(found["variants"]) == [2, 3, 0]
    np.testing.assert_array_equal(found["score"], [(0 - 3) / 2, (-1 - 2 - 3) / 3, np.nan])
