"""Section 3.1: cells, medians, ANOVA, Welch's t and the permutation over words, against plain computations."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from valuetrace.core.errors import InputError
from valuetrace.measures import calibration, validity
from valuetrace.measures.bases import cells, contrasts
from valuetrace.measures.bases import contrasts as section
from valuetrace.measures.bases.implicit import Analysis, Tokens
from valuetrace.measures.compare import run
from valuetrace.measures.compare.inputs import Origin, Table
from valuetrace.measures.compare.scores import join
from valuetrace.measures.dynamics import inheritance
from valuetrace.measures.profile import Subject, profile
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format
from valuetrace.scoring.spelling import word_scores
from valuetrace.stats.inference import fdr_bh, holm
from valuetrace.stats.ranks import FEW, rank_words, subset_medians

SPACED = Format("text", space=True)

# --- medians of many subsets ---------------------------------------------------------------------


@given(st.data())
def test_subset_medians_are_medians_of_repeated_values(data):
    """On both sides of FEW, with many ties and lopsided subsets."""
    words, columns = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 3))
    ranks = data.draw(arrays.arrays(np.float64, (words, columns), elements=st.integers(-4, 4) | st.floats(-1e3, 1e3)))
    subsets = data.draw(st.sampled_from([1, FEW - 1, FEW, FEW + 9]))
    counts = data.draw(arrays.arrays(np.int64, (subsets, words), elements=st.integers(0, 3)))
    counts[counts.sum(axis=1) == 0, -1] = 1
    expected = [np.median(np.repeat(ranks, row, axis=0), axis=0) for row in counts]
    np.testing.assert_array_equal(subset_medians(ranks, counts), expected)


@pytest.mark.parametrize("end", [slice(0, 9), slice(-9, None)], ids=["first", "last"])
def test_subset_medians_far_from_where_most_lie(end):
    """Among many subsets of many words, one of the first or the last words only."""
    rng = np.random.default_rng(0)
    ranks = rng.permuted(np.tile(np.arange(600.0), (3, 1)), axis=1).T
    counts = rng.multinomial(300, np.full(600, 1 / 600), size=2 * FEW)
    counts[5] = 0
    counts[5, np.argsort(ranks[:, 1])[end]] = 30
    expected = [np.median(np.repeat(ranks, row, axis=0), axis=0) for row in counts]
    np.testing.assert_array_equal(subset_medians(ranks, counts), expected)


def test_rank_one_is_the_highest_score_and_ties_share():
    scores = np.array([[-1.0, 5.0], [-3.0, 5.0], [-2.0, 7.0], [-9.0, 5.0]])
    assert rank_words(scores).tolist() == [[1, 3], [3, 3], [2, 1], [4, 3]]


# --- a cell --------------------------------------------------------------------------------------

PROMPTS = pd.DataFrame({"key": ["p1", "p2", "n1"], "framing": ["positive", "positive", "negative"]})
LEXICON = pd.DataFrame({"word": ["power", "skill", "care", "love"], "construct": ["agency"] * 2 + ["communion"] * 2})


def vocabulary(rows: dict[str, tuple], repeated: tuple[str, tuple] | None = None) -> pd.DataFrame:
    rows = [*rows.items(), *([repeated] if repeated else [])]
    texts, scores = zip(*rows, strict=True)
    return pd.DataFrame(np.array(scores, dtype=np.float32), columns=["p1", "p2", "n1"]).assign(
        token_decoded=texts, token_id=pd.array(range(len(texts)), dtype="Int64")
    )


@pytest.mark.parametrize(
    ("space", "case", "spelling"),
    [
        (False, "lower", "{}"),
        (True, "lower", " {}"),
        (False, "capitalised", "{}"),
        (True, "capitalised", " {}"),
    ],
)
def test_cell_takes_the_shared_words_in_the_spelling_of_the_format(space, case, spelling):
    def spell(word):
        return spelling.format(word.capitalize() if case == "capitalised" else word)

    decoys = {word: (0, 0, 0) for word in ("power", " power", "Power", " Power") if word != spell("power")}
    first = vocabulary(
        {spell("power"): (-1, -2, -3), spell("care"): (-4, -4, -4), spell("love"): (-5, -6, -7), **decoys},
        repeated=(spell("care"), (-9, -3, -9)),  # two tokens that decode alike: the more probable, prompt by prompt
    )
    second = vocabulary({spell("love"): (-1, -1, -1), spell("care"): (-2, -2, -2), spell("skill"): (-3, -3, -3)})
    second = pd.concat([second, vocabulary({spell("power"): (-8, -7, -6)})])
    cell = cells.cell({"zeta": second, "alpha": first}, LEXICON, PROMPTS, Format("text", space=space), case)
    assert cell.models == ("alpha", "zeta")
    by_word = {word: cell.scores[:, i].tolist() for i, word in enumerate(cell.words["word"])}
    assert by_word == {
        "power": [[-1, -2, -3], [-8, -7, -6]],
        "care": [[-4, -3, -4], [-2, -2, -2]],
        "love": [[-5, -6, -7], [-1, -1, -1]],
    }  # "skill" is no single token of the first vocabulary
    assert dict(zip(cell.words["word"], cell.words["construct"], strict=True)) == {
        "power": "agency",
        "care": "communion",
        "love": "communion",
    }


def test_a_word_of_both_constructs_is_named():
    lexicon = pd.concat([LEXICON, pd.DataFrame({"word": ["care"], "construct": ["agency"]})])
    table = vocabulary(dict.fromkeys(LEXICON["word"], (-1, -2, -3)))
    with pytest.raises(InputError, match="care: a word of both constructs"):
        cells.cell({"a": table, "b": table}, lexicon, PROMPTS, Format("text", space=False), "lower")


def random_cell(seed: int, words: tuple[int, int] = (7, 8), prompts: int = 6) -> cells.Cell:
    """Scores with an effect of the word, which both models and all prompts share, and noise."""
    rng = np.random.default_rng(seed)
    n = sum(words)
    labels = np.array(["agency"] * words[0] + ["communion"] * words[1])
    scores = rng.normal(size=(1, n, 1)) + rng.normal(size=(2, n, 1)) + rng.normal(size=(2, n, 2 * prompts))
    framing = ["positive", "negative"] * prompts  # in no order that a computation may rely on
    keys = pd.DataFrame({"key": [f"k{i}" for i in range(2 * prompts)], "framing": framing})
    keys["adjective"] = keys["framing"] + pd.Series(["1", "1", "2", "2", "3", "3"] * prompts).head(2 * prompts)
    return cells.Cell(("a", "b"), pd.DataFrame({"word": range(n), "construct": labels}), keys, scores)


def plain_medians(cell: cells.Cell) -> dict:
    """(construct, framing, model) → the medians of its prompts, one rank list at a time."""
    found = {}
    for m, (k, key) in itertools.product(range(2), enumerate(cell.prompts.itertuples())):
        ranks = stats.rankdata(-cell.scores[m, :, k])
        for construct in ("agency", "communion"):
            median = np.median(ranks[(cell.words["construct"] == construct).to_numpy()])
            found.setdefault((construct, key.framing, cell.models[m]), []).append(median)
    return found


def test_medians_are_of_each_construct_s_ranks_prompt_by_prompt():
    cell = random_cell(0)
    found = cells.medians(cell)
    assert len(found) == 2 * 2 * 12
    expected = plain_medians(cell)
    groups = {key: list(g["median_rank"]) for key, g in found.groupby(["construct", "framing", "model"])}
    assert groups == expected
    assert (found["prompt"].map(cell.prompts.set_index("key")["framing"]) == found["framing"]).all()


def test_probability_on_words_adds_words_and_averages_prompts():
    cell = cells.Cell(("a", "b"), LEXICON.head(2), PROMPTS, np.log([[[0.1] * 3, [0.2, 0.3, 0.4]], [[0.01] * 3] * 2]))
    framing = list(PROMPTS["framing"])
    a = {name: np.mean([m for m, f in zip((0.3, 0.4, 0.5), framing, strict=True) if f == name]) for name in framing}
    found = cells.probability_on_words(cell)
    assert found["a"] == pytest.approx(a) and found["b"] == pytest.approx(dict.fromkeys(framing, 0.02))


# --- ANOVA and Welch's t -------------------------------------------------------------------------


def test_anova_of_the_balanced_design_by_orthogonal_contrasts():
    """2 × 2 × 2 cells of 27: an effect is a ± contrast L of the cell means, its sum of squares n L² / 8."""
    rng = np.random.default_rng(4)
    levels = {"model": ["a", "b"], "construct": ["agency", "communion"], "framing": ["negative", "positive"]}
    n = 27
    values = rng.normal(50, 6, size=(2, 2, 2, n)) + rng.normal(0, 3, size=(2, 2, 2, 1))
    rows = [
        dict(zip(levels, names, strict=True)) | {"median_rank": value}
        for place, names in zip(itertools.product((0, 1), repeat=3), itertools.product(*levels.values()), strict=True)
        for value in values[place]
    ]
    found = contrasts.three_way_anova(pd.DataFrame(rows).sample(frac=1, random_state=1)).set_index("term")

    within = ((values - values.mean(axis=-1, keepdims=True)) ** 2).sum()
    df = 8 * (n - 1)
    signs = dict(zip(levels, np.meshgrid([-1, 1], [-1, 1], [-1, 1], indexing="ij"), strict=True))
    effects = [names for size in (1, 2, 3) for names in itertools.combinations(levels, size)]
    for names in effects:
        contrast = np.prod([signs[name] for name in names], axis=0)
        squares = n * (contrast * values.mean(axis=-1)).sum() ** 2 / 8
        f = squares / (within / df)
        row = found.loc[" × ".join(names)]
        assert (row["sum_of_squares"], row["F"]) == pytest.approx((squares, f))
        assert row["p"] == pytest.approx(stats.f.sf(f, 1, df))
        assert row["df"] == 1
    assert len(found) == len(effects) + 1
    assert found.loc["Residual", "df"] == df == 208  # F(1, 208), as in the paper
    assert found.loc["Residual", "sum_of_squares"] == pytest.approx(within)


def test_panels_hold_means_welch_and_d_by_their_formulas():
    cell = random_cell(1)
    rows, _ = contrasts.panels(cell, draws=99, seed=1)
    plain = plain_medians(cell)
    order = [(row["construct"], row["framing"]) for row in rows]
    assert order == [(c, f) for c in ("agency", "communion") for f in ("positive", "negative")]
    for row in rows:
        a, b = (np.array(plain[row["construct"], row["framing"], model]) for model in "ab")
        va, vb, n = a.var(ddof=1), b.var(ddof=1), len(a)
        t = (b.mean() - a.mean()) / np.sqrt(va / n + vb / n)
        df = (va / n + vb / n) ** 2 / ((va / n) ** 2 / (n - 1) + (vb / n) ** 2 / (n - 1))
        assert row["means"] == pytest.approx({"a": a.mean(), "b": b.mean()})
        assert row["difference"] == pytest.approx(b.mean() - a.mean())
        assert (row["t"], row["df"]) == pytest.approx((t, df))
        assert row["p_prompts"] == pytest.approx(2 * stats.t.sf(abs(t), df))
        assert row["p_paired"] == pytest.approx(stats.ttest_rel(b, a).pvalue)
        at = {m: ranks_by_word(cell, m, row["construct"], row["framing"]) for m in (0, 1)}
        pairs = [np.sign(y - x) for x in at[0] for y in at[1]]
        assert row["cliffs_delta"] == pytest.approx(np.mean(pairs))
        low, high = row["ci_words"]
        assert low <= high
    assert [row["p_prompts_fdr"] for row in rows] == pytest.approx(list(fdr_bh([row["p_prompts"] for row in rows])))


def ranks_by_word(cell: cells.Cell, model: int, construct: str, framing: str) -> np.ndarray:
    """Mean rank of each of the construct's words over the framing's prompts."""
    own, asked = (cell.words["construct"] == construct).to_numpy(), (cell.prompts["framing"] == framing).to_numpy()
    return np.stack([stats.rankdata(-column) for column in cell.scores[model].T[asked]], axis=1)[own].mean(axis=1)


def test_contrast_is_agency_minus_communion_positive_minus_negative_second_minus_first():
    cell = random_cell(3)
    mean = {key: np.mean(values) for key, values in plain_medians(cell).items()}
    expected = sum(
        sign_c * sign_f * (mean[construct, framing, "b"] - mean[construct, framing, "a"])
        for construct, sign_c in (("agency", 1), ("communion", -1))
        for framing, sign_f in (("positive", 1), ("negative", -1))
    )
    _, contrast = contrasts.panels(cell, draws=99, seed=1)
    assert contrast["contrast"] == pytest.approx(expected)


def test_the_interaction_counts_each_ranking_once():
    """Against scipy: one number a prompt, positive against negative prompts, and every assignment of adjectives."""
    cell = random_cell(3, prompts=9)
    plain = {key: np.array(values) for key, values in plain_medians(cell).items()}
    gaps = {
        f: (plain["agency", f, "b"] - plain["agency", f, "a"])
        - (plain["communion", f, "b"] - plain["communion", f, "a"])
        for f in ("positive", "negative")
    }
    _, found = contrasts.panels(cell, draws=9, seed=1)
    expected = stats.ttest_ind(gaps["positive"], gaps["negative"], equal_var=False)
    assert (found["t"], found["df"], found["p_prompts"]) == pytest.approx(
        (expected.statistic, expected.df, expected.pvalue)
    )
    assert found["contrast"] == pytest.approx(gaps["positive"].mean() - gaps["negative"].mean())
    own = [gaps[f].reshape(3, 3).mean(axis=0) for f in ("positive", "negative")]  # prompts go round the adjectives
    values, signs = np.concatenate(own), [set(chosen) for chosen in itertools.combinations(range(6), 3)]
    far = [abs(sum(values[i] * (1 if i in chosen else -1) for i in range(6))) for chosen in signs]
    assert found["by_adjective"]["smallest_p"] == pytest.approx(0.1)
    assert found["by_adjective"]["p"] == pytest.approx(np.mean(np.array(far) >= far[0] - 1e-9))


def test_the_paper_s_anova_takes_two_medians_of_one_ranking_for_two_observations():
    """No interaction, words of fixed effects, one ranking's noise in both its medians: the ANOVA is too sure of it."""
    old, new = [], []
    for i in range(150):
        rng = np.random.default_rng(i)
        cell = random_cell(0, prompts=9)
        common = rng.normal(size=(2, 1, 18)) * (cell.words["construct"] == "agency").to_numpy()[None, :, None]
        scores = rng.normal(size=cell.scores.shape) + 2 * common  # a prompt moves all words of one construct
        cell = cells.Cell(cell.models, cell.words, cell.prompts, scores)
        old.append(contrasts.paper_anova(cells.medians(cell))["three_way_anova"]["p"] < 0.05)
        new.append(contrasts.panels(cell, draws=1, seed=1)[1]["p_prompts"] < 0.05)
    assert np.mean(old) > 0.1
    assert np.mean(new) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 150)


def test_two_models_of_which_no_prompt_says_anything_have_no_t():
    """Every ranking the same: medians without spread, which a file of one column written 54 times would give."""
    cell = random_cell(1)
    scores = np.repeat(cell.scores[:1, :, :1], 12, axis=2).repeat(2, axis=0)
    rows, contrast = contrasts.panels(cells.Cell(cell.models, cell.words, cell.prompts, scores), 9, 1)
    for row in rows:
        assert (row["t"], row["p_prompts"], row["p_prompts_fdr"], row["p_paired"]) == (None, 1, 1, None)
    assert (contrast["t"], contrast["p_prompts"], contrast["contrast"]) == (None, 1, 0)


def test_one_family_holds_every_contrast_that_is_shown():
    shown = [contrasts.panels(random_cell(i), 49, seed=i) for i in (1, 2, 3)]
    made = [{"panels": rows, "three_way": contrast} for rows, contrast in shown] + [{"refused": "few words"}]
    contrasts.corrected(made)
    for old, new in (
        ([c["p_words"] for _, c in shown], [c["p_words_holm"] for _, c in shown]),
        ([r["p_words"] for rows, _ in shown for r in rows], [r["p_words_holm"] for rows, _ in shown for r in rows]),
    ):
        assert new == pytest.approx(list(holm(old))) and max(new) <= 1 and new != pytest.approx(old)


def planted(seed: int) -> cells.Cell:
    """The second model puts agency first where the framing is positive: the paper's direction (Llama − Gemma)."""
    cell = random_cell(seed, words=(12, 12))
    agency = (cell.words["construct"] == "agency").to_numpy()
    positive = (cell.prompts["framing"] == "positive").to_numpy()
    scores = cell.scores.copy()
    scores[1] += 8 * np.outer(agency, positive)
    return cells.Cell(cell.models, cell.words, cell.prompts, scores)


def test_a_planted_effect_is_found_with_the_paper_s_sign():
    rows, contrast = contrasts.panels(planted(5), draws=199, seed=1)
    assert contrast["contrast"] < 0
    assert contrast["ci_words"][1] < 0
    assert contrast["p_words"] <= 0.01
    p = {(row["construct"], row["framing"]): row["p_words"] for row in rows}
    assert p["agency", "positive"] < 0.05
    assert p["agency", "negative"] > 0.05


def test_the_permutation_over_words_is_calibrated_where_labels_mean_nothing():
    """p ≤ α in a share α of data sets, within four standard errors (words with effects of their own)."""
    sets, draws = 100, 99
    p = np.array([contrasts.panels(random_cell(100 + i), draws, seed=i)[1]["p_words"] for i in range(sets)])
    assert p.min() >= 1 / (draws + 1)
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        assert abs((p <= level).mean() - level) < 4 * np.sqrt(level * (1 - level) / sets)


def test_prompts_as_the_unit_are_not_calibrated_there():
    """Why the permutation stands beside the ANOVA: the same data, prompts taken for independent."""
    below = []
    for i in range(20):
        table = contrasts.three_way_anova(cells.medians(random_cell(100 + i))).set_index("term")
        below.append(table.loc["model × construct", "p"] < 0.05)
    assert np.mean(below) > 0.3


def test_draws_are_seeded():
    cell = random_cell(6)
    once = contrasts.panels(cell, draws=130, seed=2)
    assert contrasts.panels(cell, draws=130, seed=2) == once
    assert contrasts.panels(cell, draws=130, seed=3) != once


def test_relabelling_deals_the_labels():
    cell, rng = random_cell(7), np.random.default_rng(0)
    relabelled = contrasts._relabel(cell.members, 50, rng)
    assert relabelled.shape == (2, 50, 15)
    assert (relabelled.sum(axis=0) == 1).all()  # every word has one label
    assert (relabelled.sum(axis=2) == [[7], [8]]).all()
    assert (relabelled != relabelled[:, :1]).any()


# --- a cell's result and its refusals -------------------------------------------------------------


def drawn(shift: float = 3.0, agency: int = 8, level: float = -4.0, known: int = 12, tokens: bool = True) -> tuple:
    """Two models' log-probabilities of value words and of virtues and vices, which move by ``shift`` as they are asked.

    level: mean log-probability; known: virtues (and vices) scored. Returns model → table, lexicon, known groups.
    """
    prompts = value_laden()
    sign = np.where(prompts["framing"] == "positive", 1, -1)
    lexicon = pd.DataFrame({"construct": ["agency"] * agency + ["communion"] * 8})
    lexicon["word"] = [f"v{i}" for i in range(len(lexicon))]
    of_known = pd.DataFrame({"polarity": ["virtue"] * known + ["vice"] * known})
    of_known["word"] = [f"k{i}" for i in range(2 * known)]
    words = [*lexicon["word"], *of_known["word"]]
    side = np.r_[np.zeros(len(lexicon)), np.ones(known), -np.ones(known)][:, None]
    tables = {}
    for seed, name in enumerate(("a", "b")):
        scores = level + np.random.default_rng(seed).normal(size=(len(words), 54)) + shift * side * sign
        table = pd.DataFrame(scores.astype(np.float32), columns=prompts["key"])
        ids = pd.array(range(len(words)) if tokens else [pd.NA] * len(words), dtype="Int64")
        tables[name] = table.assign(token_decoded=[f" {w}" if tokens else w for w in words], token_id=ids)
    return tables, lexicon, of_known


def assessed(**given) -> tuple:
    """``assess``'s result and medians of tables that are ``drawn``."""
    return assess(*drawn(**given))


def assess(tables: dict, lexicon: pd.DataFrame, known: pd.DataFrame, neutral: dict | None = None) -> tuple:
    chosen = Analysis("own", ["agency", "communion"], ["lower"], 199, 1, {}, Tokens("p", "llr", 1, {"x": [], "y": []}))
    return section.assess(tables, lexicon, known, SPACED, "lower", chosen, neutral)


def test_one_rule_refuses_a_framing_whose_words_are_improbable_wherever_it_is_read(tmp_path, monkeypatch):
    """The same tables through the comparison of bases, of models, the profile and what inheritance is held against."""
    tables, lexicon, known = drawn()
    prompts, rule = value_laden(), validity.rule()
    negative = list(prompts.loc[prompts["framing"] == "negative", "key"])
    tables["a"][negative] -= np.float32(6)  # the ranks are what they were
    lexicon["polarity"] = ""
    reason = "after negative prompts all ranked words together have a probability of"
    assert assess(tables, lexicon, known)[0]["refused"].startswith(f"a: {reason}")

    made = {name: profile(Subject(name, "logprob", "x", "f", SPACED), t, lexicon, prompts, known, rule, draws=20)
            for name, t in tables.items()}  # fmt: skip
    unread = {(name, row["framing"]) for name, of in made.items() for row in of["rows"] if "refused" in row}
    assert unread == {("a", "negative")}
    assert all(("refused" in row) == (name == "a") for name, of in made.items() for row in of["differences"])

    monkeypatch.setattr(run, "find_lexicon", lambda _: known)
    files = [Table(name, Origin(name), name, "", {"kind": "logprob"}, SPACED, t, {}) for name, t in tables.items()]
    found = run.refused(run.readings(files, lexicon, join(files, lexicon)))
    assert list(found) == ["a"] and found["a"]["reason"].startswith(reason)

    words = {name: word_scores(t, [*lexicon["word"], *known["word"]], list(prompts["key"]), SPACED, "lower")
             for name, t in tables.items()}  # fmt: skip
    pd.concat(words, names=["base", "word"]).reset_index().to_parquet(tmp_path / "words.parquet", index=False)
    against = inheritance.unread(tmp_path / "words.parquet", ["a", "b"], lexicon, known, prompts, rule)
    assert {base: list(why) for base, why in against.items()} == {"a": ["negative"]}


@pytest.mark.parametrize("tokens", [True, False])
def test_a_cell_that_can_be_read_has_its_contrast_and_a_row_of_the_grid(tokens):
    told, medians = assessed(tokens=tokens)
    assert "refused" not in told and told["words"] == {"agency": 8, "communion": 8}
    assert {model: reading["refused"] for model, reading in told["readings"].items()} == {"a": None, "b": None}
    anova = {row["term"]: row for row in told["anova"]}
    assert told["three_way_anova"]["p"] == anova["model × construct × framing"]["p"]
    assert len(medians) == 2 * 54 * 2 and set(medians["words"]) == {8}
    row = section.grid_row(told)
    assert (row["words"], row["refused"], row["contrast"]) == (16, "", told["three_way"]["contrast"])
    assert row["low"] <= row["contrast"] <= row["high"] and row["p_anova"] == told["three_way_anova"]["p"]
    masses = [mass for of in told["probability_on_words"].values() for mass in of.values()]
    assert row["known"] > 25 and row["probability"] == min(masses)
    assert section.summary(contrasts.corrected([told]))["cells"] == 1


@pytest.mark.parametrize(
    ("change", "reason", "known"),
    [
        ({"agency": 5}, "5 words of agency are single tokens", None),
        ({"level": -12.0}, "a: after positive prompts all ranked words together have a probability of", True),
        ({"shift": 0.0}, "a: the prompts are not read", True),
        ({"shift": -3.0}, "b: the prompts are not read", True),
        ({"known": 5}, "only 5 and 5 words of the known groups", None),
    ],
)
def test_a_cell_that_cannot_be_read_says_why(change, reason, known):
    told, medians = assessed(**change)
    assert reason in told["refused"] and told["needs"] and medians is None
    assert not {"panels", "three_way", "anova"} & set(told)
    row = section.grid_row(told)
    assert row["refused"] == told["refused"] and row["contrast"] is row["p_words"] is row["F"] is None
    assert (row["known"] is not None) == bool(known)


# --- calibrated log-probabilities -----------------------------------------------------------------


def test_neutral_prompts_are_the_wordings_without_a_value():
    texts = dict(calibration.neutral()[["key", "text"]].itertuples(index=False))
    assert texts["plain_ever_one"] == "What, in one word, is the thing ever?"
    assert texts["ordinary_time_please"].startswith("What is the most ordinary thing of all time? Please answer")
    asked = value_laden()
    for adjective, plain in {"best": "", "most good": "most ordinary"}.items():
        made = {text.replace(f"{adjective} ", f"{plain} " if plain else "") for text in asked["text"]}
        assert sum(text in made for text in texts.values()) == 9
    keys = calibration.sets()
    assert keys["all"] == [*keys["plain"], *keys["ordinary"]] == list(texts)


def test_calibration_takes_out_what_is_said_whatever_is_asked():
    """How common a word is stands in every log-probability; what a question adds to it does not."""
    tables, lexicon, known = drawn(shift=1.0)
    agency = tables["a"].index < 8  # model a: 1 nat more for agency after positive prompts than after negative ones
    prompts = value_laden()
    positive = list(prompts.loc[prompts["framing"] == "positive", "key"])
    tables["a"].loc[agency, positive] += np.float32(1)
    common = np.random.default_rng(9).normal(0, 20, size=len(tables["a"])).astype(np.float32)
    keys, neutral = calibration.neutral()["key"], {}
    for name, table in tables.items():
        noise = np.random.default_rng(5).normal(-4, 1, size=(len(table), len(keys))) + common[:, None]
        neutral[name] = table[["token_id", "token_decoded"]].join(pd.DataFrame(noise.astype(np.float32), columns=keys))
        table[prompts["key"]] += common[:, None]
    raw, _ = assess(tables, lexicon, known)
    assert "are not read" in raw["refused"] and "by_set" not in raw
    told, _ = assess(tables, lexicon, known, neutral)
    assert "refused" not in told and list(told["by_set"]) == ["all", "plain", "ordinary"]
    assert told["by_set"]["all"] == told["by_model"]
    assert told["probability_on_words"] == raw["probability_on_words"]  # of the words themselves
    contrast = {model: own["contrast"] for model, own in told["by_model"].items()}
    assert contrast["a"]["estimate"] > 10 > abs(contrast["b"]["estimate"]) and contrast["a"]["low"] > 0
    assert told["three_way"]["contrast"] > 0  # model b less a, in ranks: 1 is the most probable

    words = list(lexicon["word"])
    by_hand = {}
    for name, table in tables.items():
        rows = table.assign(word=table["token_decoded"].str.strip()).set_index("word")[prompts["key"]].astype(float)
        own = neutral[name].assign(word=neutral[name]["token_decoded"].str.strip()).set_index("word")
        by_hand[name] = rows.sub(own[calibration.sets()["ordinary"]].astype(float).mean(axis=1), axis=0)
    for name, scores in by_hand.items():
        ranks = scores.loc[words].rank(ascending=False)
        gap = 100 / len(words) * (ranks.iloc[8:].median() - ranks.iloc[:8].median())
        level = told["by_set"]["ordinary"][name]
        assert level["positive"]["estimate"] == pytest.approx(gap[positive].mean())
        assert level["contrast"]["estimate"] == pytest.approx(gap[positive].mean() - gap.drop(positive).mean())


# --- summary and coverage ------------------------------------------------------------------------


def result(contrast: float, p_words: float, p_anova: float) -> dict:
    three_way = {"contrast": contrast, "p_words": p_words, "p_words_holm": 2 * p_words, "p_prompts": p_anova + 0.02}
    return {"three_way": three_way, "three_way_anova": {"F": 1.0, "p": p_anova}}


def test_summary_counts_signs_and_tests():
    made = [result(-3, 0.2, 0.01), result(4, 0.04, 0.03), result(-0.5, 0.05, 0.2), result(0, 1, 0.05)]
    assert section.summary(made) == {
        "cells": 4,
        "negative_contrast": 2,
        "level": 0.05,
        "anova_below_level": 2,
        "prompts_below_level": 1,
        "words_below_level": 1,
        "words_below_level_holm": 0,
    }


def test_coverage_counts_spellings():
    lexicon = pd.DataFrame(
        {"word": ["power", "skill", "care", "power"], "construct": ["agency", "agency", "communion", "communion"]}
    )
    texts = {"power", " power", " Power", "Skill", " care", "careful", " CARE"}
    found = cells.coverage(lexicon, texts, {"model": "m"})
    assert found == [
        {
            "model": "m",
            "construct": "agency",
            "words": 2,
            "bare": 1,
            "space": 1,
            "bare_capitalised": 1,
            "space_capitalised": 1,
        },
        {
            "model": "m",
            "construct": "communion",
            "words": 2,
            "bare": 1,
            "space": 2,
            "bare_capitalised": 0,
            "space_capitalised": 1,
        },
    ]
