"""Ablations: levels and lines over seeds, runs that do not read the prompts, refusals, the pictures."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.measures import ablations
from valuetrace.measures.dynamics.trajectories import Dynamics
from valuetrace.measures.validity import Rule
from valuetrace.training.recipe import Search

SIZES, SEEDS = (100, 200, 400), (1, 2, 3)
GROUP = {"first": "x", "second": "y"}


def table(gap, reads=lambda size, seed: True) -> pd.DataFrame:
    """One pair of bases, a row a framing, size, seed and step: ``gap`` (size, seed, framing, step) → number."""
    rows = []
    for framing, size, seed, step in itertools.product(("negative", "positive"), SIZES, SEEDS, (0, 10, 30)):
        value = gap(size, seed, framing, step)
        row = GROUP | {"framing": framing, "data_size": size, "seed": seed, "step": step, "gap": value}
        rows.append(row | {"low": value - 1, "high": value + 1, "reads": step > 0 and reads(size, seed)})
    return pd.DataFrame(rows).sample(frac=1, random_state=1)  # in no order that a computation may rely on


def noisy(size, seed, framing, step):
    """Another level and another slope for every seed at the last step; nothing at the steps before."""
    return (10 * seed + (seed + 1) * np.log2(size / 200)) * (1 if framing == "positive" else -1) * (step == 30)


def test_lines_are_fitted_within_seeds_and_tested_over_them():
    fit, curve = ablations.fits(table(noisy), "gap")
    found = fit[fit["framing"] == "positive"].set_index("parameter")
    for name, values in (("at_mean", [10, 20, 30]), ("per_doubling", [2, 3, 4])):
        theirs = stats.ttest_1samp(values, 0)
        expected = [np.mean(values), *theirs.confidence_interval(), theirs.pvalue]
        assert found.loc[name, ["estimate", "low", "high", "p"]].tolist() == pytest.approx(expected)
    assert found.loc["per_doubling", ["seeds", "sizes", "left_out", "refused"]].tolist() == [3, 3, 0, ""]
    of_positive = curve[curve["framing"] == "positive"]
    ends, middle = of_positive.iloc[[0, -1]], of_positive.iloc[16]
    assert ends[["data_size", "estimate"]].to_numpy() == pytest.approx(np.array([[100, 17.0], [400, 23.0]]))
    at_mean = found.loc["at_mean", ["estimate", "low", "high"]].tolist()
    assert middle[["estimate", "low", "high"]].tolist() == pytest.approx(at_mean)


def test_runs_that_do_not_read_are_left_out_and_counted():
    def wild(size, seed, framing, step):
        return 1e6 if (size, seed) == (400, 3) else noisy(size, seed, framing, step)

    three = (*SIZES, 800)
    more = pd.concat([table(wild, lambda size, seed: (size, seed) != (400, 3))])
    extra = table(noisy).query("data_size == 400").assign(data_size=800)
    extra["gap"] = [noisy(800, *row) for row in extra[["seed", "framing", "step"]].itertuples(index=False)]
    fit, _ = ablations.fits(pd.concat([more, extra]), "gap")
    row = fit[(fit["framing"] == "positive") & (fit["parameter"] == "per_doubling")].iloc[0]
    assert row[["estimate", "left_out", "sizes", "seeds"]].tolist() == pytest.approx([3, 1, len(three), 3])
    level = ablations.levels(pd.concat([more, extra]), "gap").query("when == 'trained' and framing == 'positive'")
    at = level.set_index("data_size")
    assert at["seeds"].to_dict() == {100: 3, 200: 3, 400: 2, 800: 3}
    assert at.loc[400, "estimate"] == pytest.approx((12 + 23) / 2)


@pytest.mark.parametrize(
    ("reads", "seeds"),
    [
        (lambda size, seed: False, 0),
        (lambda size, seed: seed == 1, 1),
        (lambda size, seed: size < 400, 0),
        (lambda size, seed: (size, seed) not in ((100, 2), (400, 3)), 1),
    ],
)
def test_too_few_runs_are_refused(reads, seeds):
    fit, curve = ablations.fits(table(noisy, reads), "gap")
    assert fit["refused"].str.endswith(f"reads the prompts: {seeds}; a fit within seeds needs 2").all()
    assert fit["left_out"].tolist() == [9 - 3 * seeds] * 2  # one row a framing
    assert fit["estimate"].isna().all() and curve.empty


def test_a_seed_with_too_few_sizes_is_left_out_whole():
    fit, _ = ablations.fits(table(noisy, lambda size, seed: (size, seed) != (100, 3)), "gap")
    row = fit[(fit["framing"] == "positive") & (fit["parameter"] == "per_doubling")].iloc[0]
    assert row[["seeds", "sizes", "left_out"]].tolist() == [2, 3, 3]


def test_levels_hold_the_untrained_heads_that_read_nothing():
    own = table(lambda size, seed, framing, step: {0: seed, 10: 99.0, 30: 10.0 * seed}[step], lambda *_: False)
    found = ablations.levels(own, "gap")
    assert set(found["when"]) == {"untrained"} and found["estimate"].tolist() == [2.0] * 6
    theirs = stats.ttest_1samp([1, 2, 3], 0)
    assert found.iloc[0][["low", "high", "p"]].tolist() == pytest.approx([*theirs.confidence_interval(), theirs.pvalue])
    alone = ablations.levels(own[own["seed"] == 1], "gap").iloc[0]
    assert (alone["seeds"], alone["estimate"], alone["p"]) == (1, 1.0, None)


def test_a_trained_gap_is_held_against_the_untrained_head_of_its_own_seed():
    """Heads that lean before training and nothing else: a test against 0 finds a gap, the change finds none."""
    own = table(lambda size, seed, framing, step: 50.0 + seed + (0.1 * (seed - 2) if step else 0), lambda *_: True)
    found = ablations.levels(own, "gap").groupby("when").first()
    assert found.loc["trained", "p"] < 0.001 and found.loc["untrained", "p"] < 0.001
    assert found.loc["change", "p"] == pytest.approx(stats.ttest_1samp([-0.1, 0, 0.1], 0).pvalue)
    assert found.loc["change", "low"] < 0 < found.loc["change", "high"] and found.loc["change", "seeds"] == 3


def test_accuracies_are_those_of_the_last_step_by_kind():
    last = {"step": 9, "held_out_accuracy": 0.9, "held_out_accuracy_wordnet": 0.8, "held_out_loss": 0.3}
    made = {"pairs": 480, "checkpoints": [last | {"step": 0, "held_out_accuracy": 0.5}, last]}
    found = ablations.accuracies({("y", 480, 1): made, ("x", 480, 1): made})
    assert found.to_dict("records") == [
        {"base": base, "data_size": 480, "seed": 1, "accuracy": 0.9, "accuracy_wordnet": 0.8} for base in "xy"
    ]
    with pytest.raises(InputError, match="metrics of x, 480 pairs, seed 2 hold no checkpoints"):
        ablations.accuracies({("x", 480, 2): {"pairs": 480}})


# --- from checkpoint scores to the summary and the pictures ---------------------------------------

KNOWN = pd.DataFrame({"word": [f"k{i}" for i in range(24)], "polarity": ["virtue"] * 12 + ["vice"] * 12})
LEXICON = pd.DataFrame({"word": [f"w{i}" for i in range(24)], "construct": ["agency"] * 12 + ["communion"] * 12})


def checkpoints(keys, sign: np.ndarray, seed: int, reads: bool) -> pd.DataFrame:
    """Scores at step 0 (noise), 10 and 20; a model that reads puts virtues up where ``sign`` is 1, else down."""
    rng, words = np.random.default_rng(seed), [*LEXICON["word"], *KNOWN["word"]]
    side = np.r_[np.zeros(24), np.ones(12), -np.ones(12)][:, None]
    parts = []
    for step in (0, 10, 20):
        values = rng.normal(size=(48, len(keys))) + (6 * side * sign if reads and step else 0)
        index = pd.DataFrame({"step": step, "word": words, "token_id": pd.array([pd.NA] * 48, dtype="Int64")})
        parts.append(pd.concat([index, pd.DataFrame(values.astype(np.float32), columns=keys)], axis=1))
    return pd.concat(parts, ignore_index=True)


def test_from_scores_to_summary_and_pictures(tmp_path):
    from valuetrace.figures import ablations as figures
    from valuetrace.figures import style

    chosen = Dynamics(Search("own", ["greatest", "worst"], 3), ["agency", "communion"], "raw", "lower", 2, 2, 20, 1)
    prompts = chosen.search.prompts()
    keys, sign = list(prompts["key"]), np.where(prompts["framing"] == "positive", 1, -1)
    rng, parts = np.random.default_rng(0), {}
    logprobs = {b: pd.DataFrame(rng.normal(size=(24, 18)), index=LEXICON["word"], columns=keys) for b in "xy"}
    for size, seed in itertools.product(SIZES, SEEDS):
        scores = {"x": checkpoints(keys, sign, seed, True), "y": checkpoints(keys, sign, size + seed, size > 100)}
        unread = {"y": {"negative": "the words are improbable"}}
        found = ablations.run_tables(scores, LEXICON, KNOWN, logprobs, chosen, Rule(25, 0.01, 100, 1), 20, unread)
        assert set(found["inherited"]["framing"]) == {"positive"}  # which takes both bases
        against = found["survival"].groupby("logprobs_of")["framing"].unique()
        assert set(against["x"]) == {"positive", "negative"} and set(against["y"]) == {"positive"}
        for name, made in found.items():
            parts.setdefault(name, []).append(made.assign(data_size=size, seed=seed))
    found = {name: pd.concat(part, ignore_index=True) for name, part in parts.items()}
    for name in ("gaps", "inherited"):  # a run is read where all its reward models read
        last = found[name].query("step == 20")
        assert (last["reads"] == (last["data_size"] > 100)).all() and not found[name].query("step == 0")["reads"].any()
    made = {"checkpoints": [{"held_out_accuracy": 0.75}]}
    sizes = itertools.product("xy", SIZES, SEEDS)
    found["accuracy"] = ablations.accuracies({(base, size, seed): made | {"pairs": size} for base, size, seed in sizes})
    for name, source in (("gap", "gaps"), ("inherited", "inherited")):
        found[f"{name}_levels"] = ablations.levels(found[source], name)
        found[f"{name}_fit"], found[f"{name}_curve"] = ablations.fits(found[source], name)
    told = ablations.summary(found)
    assert (told["sizes"], told["seeds"], told["runs"]) == ([100, 200, 400], [1, 2, 3], 9)
    counts = {(row["base"], row["data_size"]): (row["reads"], row["runs"]) for row in told["reads"]}
    assert counts == {(b, size): (0 if (b, size) == ("y", 100) else 3, 3) for b in "xy" for size in SIZES}
    assert len(told["readings"]) == 18 and {row["accuracy"] for row in told["accuracy"]} == {0.75}
    assert (
        told["gap_fit"][0]["refused"].endswith("reads the prompts: 0; a fit within seeds needs 2")
        and told["gap_fit"][0]["p"] is None
    )
    for name, own in found.items():
        files.write_csv(own, tmp_path / f"{name}.csv")
    style.apply()
    figures.draw(tmp_path, {"x": "X", "y": "Y"}, tmp_path)
    assert all((tmp_path / f"{name}.png").stat().st_size > 10_000 for name in ("ablations", "inheritance"))


def test_where_no_base_can_be_read_the_picture_says_so(tmp_path):
    """A base whose log-probabilities are refused under both framings leaves no pair of bases: tables of headings."""
    from valuetrace.figures import ablations as figures

    runs_table = pd.DataFrame(columns=["first", "second", "framing", "seed", "data_size", "step", "inherited", "reads"])
    empty = pd.DataFrame(columns=["first", "second", "framing"])
    title = "What do reward models have from their own base alone?"
    drawn = figures.by_size(runs_table, empty, empty, empty, {}, "inherited", title, "½ Σ (own − other base)")
    assert "every pair of bases is refused" in drawn.texts[0].get_text() and not drawn.axes


@pytest.mark.parametrize(
    ("change", "message"), [({"sizes": []}, "name one"), ({"draws": 0}, "draws"), ({"checkpoints": 1}, "checkpoints")]
)
def test_settings(change, message):
    with pytest.raises(ValueError, match=message):
        ablations.Ablations(**{"sizes": [100], "seeds": [1], "checkpoints": 2, "draws": 10, "seed": 1} | change)
