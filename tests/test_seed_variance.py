"""Seed variance: components, reliability and intervals against simulated truth; tests that should find nothing."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.figures import seed_variance as figures
from valuetrace.figures import style
from valuetrace.measures.dynamics.trajectories import Trajectories
from valuetrace.prompts import value_laden
from valuetrace.report.page import Context
from valuetrace.studies.seed_variance import components
from valuetrace.studies.seed_variance import false_positives as tests

TRUTH = {"base": 0.5, "seed": 0.3, "head": 0.8, "rest": 0.4}  # variances
CHOSEN = components.SeedVariance(reliability=0.8, seeds=[1, 3, 10], draws=200, interval_draws=2_000, seed=1)


def studies(count: int, shape: tuple[int, int, int], seed: int = 0, **truth) -> np.ndarray:
    """(count, bases, seeds, sizes) with normal effects of the variances TRUTH, and a size effect."""
    of, rng = TRUTH | truth, np.random.default_rng(seed)
    b, s, k = shape

    def effect(name: str, *shape: int) -> np.ndarray:
        return np.sqrt(of[name]) * rng.standard_normal((count, *shape))

    mean = effect("base", b, 1, 1) + effect("seed", 1, s, 1) + effect("head", b, s, 1)
    return mean + effect("rest", b, s, k) + np.arange(k)


# --- components, reliability, seeds --------------------------------------------------------------


def test_mean_squares_f_and_p_are_those_of_statsmodels():
    import statsmodels.api as sm
    import statsmodels.formula.api as smf

    (values,) = studies(1, (3, 4, 2))
    found = components.anova(values).set_index("source")
    places = pd.DataFrame(np.argwhere(np.ones(values.shape)), columns=["base", "seed", "size"])
    fit = smf.ols("value ~ C(base) * C(seed) + C(size)", places.assign(value=values.ravel())).fit()
    theirs = sm.stats.anova_lm(fit)
    theirs.index = ["base", "seed", "size", "base × seed", "rest"]
    assert found["df"].to_dict() == theirs["df"].to_dict()
    assert found["mean_square"].to_dict() == pytest.approx(theirs["mean_sq"].to_dict())
    for source in ("base × seed", "size"):
        assert found.loc[source, ["F", "p"]].tolist() == pytest.approx(theirs.loc[source, ["F", "PR(>F)"]].tolist())
    squares, error = found["mean_square"], found.loc["base × seed", "df"]
    f = squares["base"] / squares["base × seed"]
    assert found.loc["base", ["F", "p"]].tolist() == pytest.approx([f, stats.f.sf(f, 2, error)])


def test_components_are_recovered():
    shape = (4, 5, 3)
    squares = np.array([components.anova(values)["mean_square"] for values in studies(3_000, shape)])
    parts = components.components(squares, shape).mean(axis=0)
    assert parts == pytest.approx([0.5, 0.3, 0.8, 1.0, 0.4], abs=0.04)  # of the sizes 0, 1, 2: variance 1
    assert (components.components(squares, shape)[:, 1] < 0).any()  # unbiased: not cut at 0


@pytest.mark.parametrize("seeds", [1, 4])
def test_reliability_is_the_correlation_of_a_study_with_its_repetition(seeds):
    """One base a study: pairs of its own. Two bases a study: the same pairs for both, and their difference."""
    truth = np.array([TRUTH["base"], TRUTH["seed"], TRUTH["head"], 0.0, TRUTH["rest"]])
    one, difference = components.reliability(truth, np.array([seeds]))[:, 0]
    rng = np.random.default_rng(1)
    bases = np.sqrt(TRUTH["base"]) * rng.standard_normal((20_000, 2))

    def study() -> np.ndarray:
        runs = studies(20_000, (2, seeds, 1), rng.integers(1e9), base=0.0)
        return bases + runs[..., 0].mean(axis=2)

    first, second = study(), study()
    assert np.corrcoef(first[:, 0], second[:, 0])[0, 1] == pytest.approx(one, abs=0.02)
    assert np.corrcoef(np.diff(first)[:, 0], np.diff(second)[:, 0])[0, 1] == pytest.approx(difference, abs=0.02)
    assert one < difference


def test_seeds_needed_give_the_reliability():
    truth = np.array([TRUTH["base"], TRUTH["seed"], TRUTH["head"], 0.0, TRUTH["rest"]])
    needed = components.seeds_needed(truth, 0.8)
    assert needed == pytest.approx([4 * 1.5 / 0.5, 4 * 1.2 / 0.5])
    for t in range(2):
        assert components.reliability(truth, needed[t : t + 1])[t, 0] == pytest.approx(0.8)
    assert np.isinf(components.seeds_needed(np.array([-0.1, 0.3, 0.8, 0.0, 0.4]), 0.8)).all()


@pytest.mark.parametrize(("shape", "widest"), [((2, 3, 3), 1.0), ((12, 12, 3), 0.5)])
def test_the_interval_holds_the_true_reliability(shape, widest):
    truth = np.array([TRUTH["base"], TRUTH["seed"], TRUTH["head"], 0.0, TRUTH["rest"]])
    true = components.reliability(truth, np.array([3]))[:, 0]
    held, widths = [], []
    for i, values in enumerate(studies(400, shape, seed=2)):
        drawn = components.components(components.drawn_squares(components.anova(values), 1_000, i), shape)
        low, high = np.quantile(components.reliability(drawn, np.array([3]))[..., 0], [0.025, 0.975], axis=0)
        held.append((low <= true) & (true <= high))
        widths.append(high - low)
    assert (np.mean(held, axis=0) > 0.925).all()  # 95 % less two standard errors of 400 studies
    assert (np.median(widths, axis=0) < widest).all()


def test_runs_that_are_no_block_are_refused():
    with pytest.raises(InputError, match=r"every base with every seed and size.*Add to trained"):
        components.anova(np.full((2, 3, 3), np.nan))
    with pytest.raises(InputError, match=r"\(2, 1, 3\)"):
        components.anova(np.zeros((2, 1, 3)))
    with pytest.raises(ValueError, match="reliability must lie between 0 and 1"):
        components.SeedVariance(1.0, [1], 1, 1, 1)


def test_a_size_with_a_run_that_does_not_read_is_left_out():
    rows = [(size, seed, step, step > 0 and (size, seed) != (2, 1)) for size in (1, 2, 3) for seed in (1, 2)
            for step in (0, size)]  # fmt: skip
    readings = pd.DataFrame(rows, columns=["data_size", "seed", "step", "reads"])
    assert components.sizes_that_read(readings) == [1, 3]
    with pytest.raises(InputError, match="of 2 pairs not every reward model reads"):
        components.sizes_that_read(readings[readings["data_size"] < 3])


# --- the head before training --------------------------------------------------------------------


def test_head_correlation_is_pearson_s_within_bases():
    rng = np.random.default_rng(3)
    first, second = rng.standard_normal((2, 2, 3)) + np.array([[0], [9]])
    found = components.head_correlation(first, second)
    within = [(values - values.mean(axis=1, keepdims=True)).ravel() for values in (first, second)]
    assert found["r"] == pytest.approx(stats.pearsonr(*within).statistic)
    half = stats.norm.ppf(0.975) / np.sqrt(2)  # six heads, two bases
    assert [found["low"], found["high"]] == pytest.approx(np.tanh(np.arctanh(found["r"]) + np.array([-half, half])))
    assert (found["units"], found["shuffled"]["orders"]) == (6, 36)


def test_head_correlation_finds_a_head_that_stays_and_nothing_where_it_does_not():
    rng = np.random.default_rng(4)
    head = rng.standard_normal((3, 5))
    assert components.head_correlation(head, head + 0.1 * rng.standard_normal((3, 5)), 999)["p"] < 0.01
    p = [components.head_correlation(*rng.standard_normal((2, 2, 3)))["p"] for _ in range(1_000)]
    assert 0.02 < np.mean(np.array(p) <= 2 / 36) < 0.08  # of 36 exchanges: two at the most


def test_measures_of_a_ranking_that_follows_the_question():
    """The first construct on top after positive prompts, at the bottom after negative ones: L is ½."""
    member = np.array([[True] * 3 + [False] * 3, [False] * 3 + [True] * 3])
    up, down = np.arange(1.0, 7), np.arange(6.0, 0, -1)
    ranks = np.array([[np.stack([down, down], axis=1), np.stack([up, down], axis=1)]])
    framing = np.array(["positive", "negative"])
    paths = Trajectories(["x"], [0, 5], list("abcdef"), ["one", "two"], member, ["p", "n"], framing, ranks)
    found = components.measured(paths).set_index("when")
    assert found.loc["trained", list(components.MEASURES)].tolist() == [0.5, -3.0, 3.0]
    assert found.loc["untrained", list(components.MEASURES)].tolist() == [0.0, 3.0, 3.0]


# --- tests that should find nothing --------------------------------------------------------------

WORDS = [f"{start}{i}" for start in "ac" for i in range(30)]
LEXICON = pd.DataFrame({"word": WORDS, "construct": ["agency"] * 30 + ["communion"] * 30})
PROMPTS = value_laden().query("adjective in ('greatest', 'worst')").reset_index(drop=True)
STUDY = tests.Study(LEXICON, PROMPTS, ["agency", "communion"], draws=200, seed=1)


def run(rng: np.random.Generator, lean: float = 0.0) -> pd.DataFrame:
    """A run's checkpoint scores: words liked alike under all prompts of a framing, and noise a prompt.

    lean: the standard deviation, over runs, of how much better the first construct's words are liked.
    """
    parts = []
    for step in (0, 10):
        liked = rng.standard_normal((len(WORDS), 2)) + lean * rng.standard_normal(2) * (np.arange(60) < 30)[:, None]
        by_prompt = liked[:, (PROMPTS["framing"] == "negative").to_numpy().astype(int)]
        scores = by_prompt + 0.3 * rng.standard_normal(by_prompt.shape)
        frame = pd.DataFrame(scores, columns=PROMPTS["key"])
        parts.append(frame.assign(step=step, word=WORDS, token_id=pd.array([pd.NA] * len(WORDS), "Int64")))
    return pd.concat(parts, ignore_index=True)


def said(rng: np.random.Generator, *names: str) -> dict[str, pd.DataFrame]:
    shape = len(WORDS), len(PROMPTS)
    return {name: pd.DataFrame(rng.standard_normal(shape), WORDS, PROMPTS["key"]) for name in names}


def shares(lean: float, count: int) -> pd.Series:
    """The share of pairs of such runs that each test calls different, cells together."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(count):
        pair = {"x": run(rng, lean), "y": run(rng, lean)}
        found.append(tests.decisions(pair, said(rng, "x", "y"), STUDY, ("trained",)))
    return pd.concat(found).groupby("test")["different"].mean()


def test_a_valid_test_keeps_its_size_and_a_test_over_prompts_does_not():
    """Runs that like words at random and no construct: words are a valid unit, the prompts of a run are none."""
    found = shares(lean=0.0, count=40)
    for name in ("labels", "labels_contrast", "random_lexicon", "random_lexicon_contrast", "gap", "inherited"):
        assert found[name] <= 6 / 40, name  # .05 of 40 pairs, were the cells of a pair one: 7 or more have p .003
    assert found[["permutation", "welch", "anova"]].min() > 0.5


def test_words_are_no_valid_unit_where_each_run_leans_somewhere():
    """The lottery: every run has a lean of its own, of its seed and not of its base."""
    found = shares(lean=1.0, count=15)
    assert found[["labels", "random_lexicon", "gap", "permutation"]].min() > 0.25  # five times too often


def test_student_s_t_over_seeds_keeps_its_size_and_finds_what_is_there():
    rng = np.random.default_rng(6)

    def gaps(mean: float) -> pd.DataFrame:
        head = {"test": "gap", "differs": "base", "first": "x", "second": "y", "framing": "positive", "when": "trained"}
        rows = [head | {"of": f"seed {s}", "data_size": i, "difference": mean + rng.standard_normal()}
                for i in range(1_500) for s in (1, 2, 3)]  # fmt: skip
        return tests.over_labels(pd.DataFrame(rows))

    null, effect = gaps(0.0), gaps(10.0)
    assert len(null) == 1_500 * (4 + 1)
    for differs in ("base", "seed"):
        assert null.loc[null["differs"] == differs, "different"].mean() == pytest.approx(0.05, abs=0.017)
    assert effect.loc[effect["differs"] == "base", "different"].mean() > 0.9
    assert effect.loc[effect["differs"] == "seed", "different"].mean() < 0.3  # of four exchanges the real one


@pytest.fixture(scope="module")
def small() -> tuple[dict, pd.DataFrame]:
    """Two bases, two sizes, three seeds: runs, and every pair's decisions."""
    rng = np.random.default_rng(7)
    runs = {(base, size, seed): run(rng, 1.0) for base in "xy" for size in (10, 20) for seed in (1, 2, 3)}
    for base, seed in [(base, seed) for base in "xy" for seed in (1, 2, 3)]:  # a head has one step 0
        first, second = (runs[base, size, seed] for size in (10, 20))
        second.loc[second["step"] == 0] = first[first["step"] == 0]
    study = tests.Study(LEXICON, PROMPTS, ["agency", "communion"], draws=40, seed=1)
    return runs, tests.every_pair(runs, said(rng, "x", "y"), study)


def test_every_pair_is_tested_once(small):
    _, table = small
    counts = table.groupby(["test", "framing", "construct", "differs", "when"]).size()
    gap = counts["gap", "positive", ""]
    assert gap.to_dict() == {
        ("seed", "trained"): 12,
        ("seed", "untrained"): 6,
        ("base", "trained"): 6,
        ("base", "untrained"): 3,
    }
    assert counts["over_seeds", "positive", ""].to_dict() == {
        ("base", "trained"): 2,
        ("base", "untrained"): 1,
        ("seed", "trained"): 8,
        ("seed", "untrained"): 4,
    }
    assert set(table["test"]) == set(tests.TESTS)
    assert not ((table["test"] == "change") & (table["when"] == "untrained")).any()
    seeds = table[(table["differs"] == "seed") & (table["test"] == "welch")]
    assert set(seeds["of"]) == {"x", "y"} and set(seeds["first"]) == {"seed 1", "seed 2"}


def test_rates_count_what_was_called_different(small):
    _, table = small
    found = tests.rates(table).set_index(["test", "differs", "when", "construct", "framing"])
    own = table[(table["test"] == "labels") & (table["differs"] == "seed") & (table["when"] == "trained")]
    own = own[(own["construct"] == "agency") & (own["framing"] == "positive")]
    row = found.loc["labels", "seed", "trained", "agency", "positive"]
    assert (row["pairs"], row["called"]) == (12, int((own["p"] <= 0.05).sum()))
    assert [row["low"], row["high"]] == pytest.approx(list(stats.binomtest(row["called"], 12).proportion_ci()))
    assert row["called_paper"] == int((own["p"] <= 0.00125).sum())
    assert pd.isna(found.loc["gap", "seed", "trained", "", "positive"]["called_paper"])


def test_a_run_does_not_differ_from_itself():
    rng = np.random.default_rng(8)
    one = run(rng, 1.0)
    logprobs = said(rng, "x")
    found = tests.decisions({"x": one, "y": one.copy()}, logprobs | {"y": logprobs["x"]}, STUDY)
    assert not found["different"].any()


def test_the_swap_of_bases_is_the_difference_of_two_seeds(small):
    """``inherited`` of two seeds held against two bases: half of the first's (own − other), less the second's."""
    from valuetrace.measures.dynamics.inheritance import inheritance
    from valuetrace.measures.dynamics.trajectories import trajectories

    runs, _ = small
    logprobs = said(np.random.default_rng(9), "x", "y")
    pair = {"seed 1": runs["x", 10, 1], "seed 2": runs["x", 10, 2]}
    swapped = {"seed 1": logprobs["x"], "seed 2": logprobs["y"]}
    found = tests.decisions(pair, swapped, STUDY, ("trained",))
    value = found.query("test == 'inherited' and framing == 'positive'")["difference"].item()
    contrasts = []
    for name, frame in pair.items():  # each run of base x beside one of y, whose part is not asked for
        paths = trajectories({"x": frame, "y": runs["y", 10, 1]}, LEXICON, PROMPTS, ["agency", "communion"])
        table, _ = inheritance(paths, logprobs, 10, 1)
        own = table[(table["base"] == "x") & (table["framing"] == "positive") & (table["step"] == 10)]
        own = own.set_index("logprobs_of")["partial"]
        contrasts.append(own["x"] - own["y"])
        assert name in found.iloc[0][["first", "second"]].tolist()
    assert value == pytest.approx((contrasts[0] - contrasts[1]) / 2)


# --- what is told --------------------------------------------------------------------------------


def test_metrics_picture_and_page(small, tmp_path, monkeypatch):
    runs, table = small
    measured = pd.concat([
        pd.DataFrame({"base": base, "data_size": size, "seed": seed, "when": when, "lean": values[0],
                      "gap_positive": values[1], "gap_negative": values[2]}, index=[0])
        for (base, size, seed) in runs for when in components.WHEN
        for values in [np.random.default_rng([ord(base), size, seed, len(when)]).standard_normal(3)]
    ])  # fmt: skip
    found = components.split(measured, CHOSEN) | {"heads": components.heads(measured, CHOSEN)}
    rates = tests.rates(table)
    told = {"bases": ["x", "y"], "seeds": [1, 2, 3], "sizes": [10, 20], "left_out": [40], "runs": len(runs)}
    told |= components.summary(found, CHOSEN) | tests.summary(rates, STUDY, runs)
    assert set(told["no_test"]) == {"mixed model (Section 2)", "models as units", "adjectives as units"}
    assert told["by_unit"]["seeds"]["tests"] == 2
    exact = components.anova(components.block(measured, "lean", "trained"))["mean_square"].to_numpy()
    variance = components.components(exact, (2, 3, 2))
    assert [row["variance"] for row in told["lean"]["components"].values()] == pytest.approx(variance.tolist())
    monkeypatch.chdir(tmp_path)
    files.write_json(told, "metrics/seed_variance.json")
    for name, part in (found | {"runs": measured, "rates": rates}).items():
        files.write_csv(part, f"plots/seed_variance/{name}.csv")
    style.apply()
    figures.draw("plots/seed_variance", {"x": "X", "y": "Y"}, "plots/seed_variance.png")
    assert (tmp_path / "plots/seed_variance.png").read_bytes().startswith(b"\x89PNG")
    context = Context()
    context.metrics["seed_variance"] = files.read_json("metrics/seed_variance.json")
    monkeypatch.setattr(Context, "labels", {})
    page = context.fill("sections/seed_variance.html.j2")
    assert page.count("data-source") > 200
    assert "of 12" not in page and "sizes left out because a reward model does not read the\nprompts: 40" in page
