"""Dynamics against closed forms, simulations, scipy and plain forward passes."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from wordfreq import zipf_frequency

from valuetrace import tables
from valuetrace.core.errors import InputError
from valuetrace.measures import validity
from valuetrace.measures.dynamics import inheritance, movers
from valuetrace.measures.dynamics import trajectories as dynamics
from valuetrace.measures.dynamics.trajectories import overlay, readings, run_summary
from valuetrace.scoring.chat import Format
from valuetrace.stats.ranks import weighted_correlation
from valuetrace.training import study
from valuetrace.training.recipe import Search

CONSTRUCTS = ["agency", "communion"]
PROMPTS = pd.DataFrame({"key": ["p1", "p2", "n1", "n2"], "framing": ["positive"] * 2 + ["negative"] * 2})


def lexicon(agency: int, communion: int) -> pd.DataFrame:
    words = [f"a{i:03d}" for i in range(agency)] + [f"c{i:03d}" for i in range(communion)]
    return pd.DataFrame({"word": words, "construct": ["agency"] * agency + ["communion"] * communion})


def frame(words: pd.DataFrame, values: dict[int, np.ndarray]) -> pd.DataFrame:
    """A checkpoint score table: step → (words, prompts)."""
    parts = []
    for step, of_step in values.items():
        index = pd.DataFrame({"step": step, "word": words["word"]})
        scores = pd.DataFrame(np.asarray(of_step, dtype=np.float32), columns=PROMPTS["key"])
        parts.append(pd.concat([index, scores], axis=1))
    table = pd.concat(parts, ignore_index=True)
    table.insert(2, "token_id", pd.array([pd.NA] * len(table), dtype="Int64"))
    return table


def random_paths(seed=0, agency=20, communion=30, steps=(0, 5, 10), bases=("x", "y")) -> tuple:
    rng, words = np.random.default_rng(seed), lexicon(agency, communion)
    scores = {b: frame(words, {s: rng.normal(size=(len(words), len(PROMPTS))) for s in steps}) for b in bases}
    return dynamics.trajectories(scores, words, PROMPTS, CONSTRUCTS), scores, words


def test_gap_by_hand():
    """Base x: agency holds ranks 1 and 2, communion 3, 4, 5; base y the other way round, negative prompts alike."""
    words = lexicon(2, 3)
    first = np.array([[5.0, 4, 3, 2, 1]] * 4).T
    second = np.array([[1.0, 2, 3, 4, 5]] * 2 + [[5.0, 4, 3, 2, 1]] * 2).T
    scores = {"x": frame(words, {0: first, 8: first}), "y": frame(words, {0: second, 8: second})}
    paths = dynamics.trajectories(scores, words, PROMPTS, CONSTRUCTS)
    observed, drawn = dynamics.construct_medians(paths, 50, 1)
    gaps = dynamics.gap_table(paths, observed, drawn).set_index(["framing", "step"])
    assert observed[:, 0, 0, 0].tolist() == [1.5, 4.0]
    assert gaps.loc[("positive", 8), "gap"] == (4.5 - 2.0) - (1.5 - 4.0)
    assert gaps.loc[("negative", 8), "gap"] == 0
    assert gaps.loc[("positive", 8), "change"] == 0


def test_every_pair_and_the_change_from_the_untrained_head():
    paths, _, _ = random_paths(bases=("z", "x", "y"))
    observed, drawn = dynamics.construct_medians(paths, 40, 1)
    gaps = dynamics.gap_table(paths, observed, drawn)
    assert list(gaps[["first", "second"]].drop_duplicates().itertuples(index=False, name=None)) == [
        ("x", "y"),
        ("x", "z"),
        ("y", "z"),
    ]
    one = gaps[(gaps["first"] == "x") & (gaps["second"] == "y") & (gaps["framing"] == "negative")].set_index("step")
    assert one.loc[10, "change"] == pytest.approx(one.loc[10, "gap"] - one.loc[0, "gap"])
    assert one.loc[5, "change"] != 0
    assert one.loc[0, ["change", "change_low", "change_high"]].tolist() == [0, 0, 0]
    medians = dynamics.rank_table(paths, observed, drawn).set_index(["base", "framing", "construct", "step"])
    of = medians["median_rank"]
    lean = {b: of[b, "negative", "agency", 10] - of[b, "negative", "communion", 10] for b in "xy"}
    assert one.loc[10, "gap"] == pytest.approx(lean["y"] - lean["x"])


def test_bootstrap_interval_covers_no_gap_and_finds_a_planted_one():
    words, covered, found = lexicon(40, 60), 0, 0
    for simulation in range(25):
        rng = np.random.default_rng(simulation)
        own = {b: rng.normal(size=(100, 1)) + 0.3 * rng.normal(size=(100, 4)) for b in "xy"}  # prompts alike
        moved = own["y"] + np.r_[np.full(40, 3.0), np.zeros(60)][:, None]
        for second, planted in ((own["y"], False), (moved, True))[: 1 + (simulation < 5)]:
            scores = {"x": frame(words, {0: own["x"], 1: own["x"]}), "y": frame(words, {0: second, 1: second})}
            paths = dynamics.trajectories(scores, words, PROMPTS, CONSTRUCTS)
            row = dynamics.gap_table(paths, *dynamics.construct_medians(paths, 150, simulation)).iloc[-1]
            if planted:
                found += row["high"] < 0  # agency was moved towards rank 1
            else:
                covered += row["low"] <= 0 <= row["high"]
    assert covered >= 20
    assert found == 5


def test_kendall_is_scipys_and_ends_at_one():
    paths, _, _ = random_paths()
    table = dynamics.kendall_with_final(paths).set_index(["base", "framing", "step"])
    at = [0, 1]
    by_hand = [stats.kendalltau(paths.ranks[0, 1][:, p], paths.ranks[0, 2][:, p]).statistic for p in at]
    row = table.loc[("x", "positive", 5)]
    assert row["kendall"] == pytest.approx(np.mean(by_hand))
    assert (row["low"], row["high"]) == pytest.approx((min(by_hand), max(by_hand)))
    assert table.xs(10, level="step")["kendall"].to_numpy() == pytest.approx(np.ones(4))
    assert dynamics.kendall(np.ones(5), np.arange(5)) == 0


def test_movers_by_hand():
    """One word rises from last to first, so that every other word falls by one."""
    words = lexicon(2, 3)
    start = np.array([[5.0, 4, 3, 2, 1]] * 4).T
    end = start.copy()
    end[4] = 9
    scores = {"x": frame(words, {0: end, 3: start, 7: end})}
    paths = dynamics.trajectories(scores, words, PROMPTS, CONSTRUCTS)
    table = movers.mover_table(paths, 2)
    up = table.query("direction == 'up' and framing == 'positive'")
    assert up["word"].unique().tolist() == ["c002"]  # one word alone moved up
    assert up[["change", "construct"]].iloc[0].tolist() == [4.0, "communion"]
    assert up.set_index("step")["rank"].to_dict() == {0: 1.0, 3: 5.0, 7: 1.0}
    down = table.query("direction == 'down' and framing == 'positive'").drop_duplicates("place")
    assert down[["word", "change"]].to_numpy().tolist() == [["a000", -1.0], ["a001", -1.0]]


def test_extremes_take_the_vocabulary_where_it_was_searched():
    paths, scores, words = random_paths(agency=3, communion=3)
    table = movers.extreme_table(paths, scores, PROMPTS, 2)
    own = table.query("base == 'x' and framing == 'positive' and chosen_at == 'last' and side == 'top' and step == 10")
    mean = paths.ranks[0, 2][:, :2].mean(axis=1)
    assert own["word"].tolist() == [paths.words[i] for i in np.argsort(mean, kind="stable")[:2]]
    assert set(table["set"]) == {"lexicon"}
    tokens = frame(
        pd.DataFrame({"word": ["t0", "t1", "t2"]}), {s: np.diag([1.0, 2, 3])[:, [0, 1, 2, 2]] for s in paths.steps}
    )
    tokens["token_id"] = pd.array([0, 1, 2] * 3, dtype="Int64")
    with_tokens = {base: pd.concat([table, tokens]) for base, table in scores.items()}
    again = dynamics.trajectories(with_tokens, words, PROMPTS, CONSTRUCTS)
    assert np.array_equal(again.ranks, paths.ranks)  # tokens are no words of the lexicon
    table = movers.extreme_table(again, with_tokens, PROMPTS, 1)
    assert set(table["set"]) == {"vocabulary"}
    assert table.query("framing == 'negative' and side == 'top'")["word"].unique().tolist() == ["t2"]


# --- inheritance ----------------------------------------------------------------------------------

ENGLISH = [
    *("house", "water", "school", "river", "green", "music", "family", "doctor", "winter", "garden", "bridge"),
    *("letter", "orange", "silver", "pencil", "rabbit", "kettle", "walnut", "pigeon", "thimble", "lantern"),
    *("gravel", "anvil", "turnip"),
]


def of_english(rewards: dict, logprobs: dict) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``inheritance`` of two bases with these scores of ENGLISH (words,) after every prompt, at steps 0 and 9."""
    words = pd.DataFrame({"word": ENGLISH, "construct": CONSTRUCTS * 12})
    values = {base: np.repeat(np.asarray(own, dtype=float)[:, None], 4, axis=1) for base, own in rewards.items()}
    noise = np.random.default_rng(9).normal(size=(2, 24, 4))
    scores = {base: frame(words, {0: noise[i], 9: values[base]}) for i, base in enumerate("xy")}
    paths = dynamics.trajectories(scores, words, PROMPTS, CONSTRUCTS)
    known = {b: pd.DataFrame(np.repeat(own[:, None], 4, 1), ENGLISH, PROMPTS["key"]) for b, own in logprobs.items()}
    return inheritance.inheritance(paths, known, 200, 1)


def test_what_every_base_says_is_not_inherited():
    """Both reward models follow word frequency alone; one base's log-probabilities follow it more than the other's."""
    zipf, rng = np.array([zipf_frequency(word, "en") for word in ENGLISH]), np.random.default_rng(0)
    logprobs = {"x": zipf + 0.1 * rng.normal(size=24), "y": zipf + 0.8 * rng.normal(size=24)}
    survival, inherited = of_english({"x": zipf, "y": zipf}, logprobs)
    last = survival[survival["step"] == 9].set_index(["base", "logprobs_of", "framing"])
    assert last["spearman"].min() > 0.5  # own and other alike
    assert last.loc[("x", "x", "positive"), "spearman"] > last.loc[("y", "y", "positive"), "spearman"] + 0.1
    assert last["partial"].abs().max() < 1e-6
    rows = inherited[inherited["step"] == 9]
    assert len(rows) == 2 and rows["inherited"].abs().max() < 1e-6
    # what a base adds to everything cancels too: rewards that both follow x's log-probabilities
    survival, inherited = of_english({"x": logprobs["x"], "y": logprobs["x"]}, logprobs)
    own = survival[(survival["step"] == 9) & survival["own"]].set_index("base")["partial"]
    assert own["x"].min() > 0.99 and own["y"].max() < 0.6
    assert inherited[inherited["step"] == 9]["inherited"].abs().max() < 1e-6


def test_what_a_reward_model_has_from_its_own_base_is_found():
    rng = np.random.default_rng(0)
    own = {base: rng.normal(size=24) for base in "xy"}
    _, inherited = of_english({base: own[base] + 0.1 * rng.normal(size=24) for base in "xy"}, own)
    rows = inherited.set_index(["framing", "step"])
    assert rows.loc[("positive", 9), "low"] > 0.5
    assert rows.loc[("positive", 0), "low"] < 0 < rows.loc[("positive", 0), "high"]  # an untrained head has nothing


def test_partial_correlation_is_that_of_regressions_of_ranks_and_their_interaction():
    rng = np.random.default_rng(3)
    rewards, logprobs = ({base: rng.normal(size=24) for base in "xy"} for _ in range(2))
    survival, inherited = of_english(rewards, logprobs)
    design = np.stack([np.ones(24), stats.rankdata([zipf_frequency(word, "en") for word in ENGLISH])], axis=1)

    def left(values) -> np.ndarray:
        ranks = stats.rankdata(values)
        return ranks - design @ np.linalg.lstsq(design, ranks, rcond=None)[0]

    partial, rows = {}, survival[survival["step"] == 9].set_index(["base", "logprobs_of", "framing"])
    for base in "xy":
        for other in "xy":
            partial[base, other] = np.corrcoef(left(rewards[base]), left(logprobs[other]))[0, 1]
            row = rows.loc[(base, other, "negative")]
            assert row["partial"] == pytest.approx(partial[base, other])
            assert row["spearman"] == pytest.approx(stats.spearmanr(rewards[base], logprobs[other])[0])
            assert row["low"] < row["partial"] < row["high"] and row["own"] == (base == other) and row["words"] == 24
    half = (partial["x", "x"] - partial["x", "y"] + partial["y", "y"] - partial["y", "x"]) / 2
    row = inherited[(inherited["step"] == 9) & (inherited["framing"] == "positive")].iloc[0]
    assert row["inherited"] == pytest.approx(half) and row["low"] < half < row["high"]


def test_bootstrap_correlation_is_that_of_the_repeated_words():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 12, 1))
    counts = rng.multinomial(12, np.full(12, 1 / 12), size=3)
    found = weighted_correlation(x, y, counts)[:, 0]
    repeated = [np.corrcoef(np.repeat(x[:, 0], row), np.repeat(y[:, 0], row))[0, 1] for row in counts]
    assert found == pytest.approx(repeated)


def test_shared_words_follow_the_format():
    texts = [f" w{i}" for i in range(12)]
    tables = {}
    for base, own in (("x", [*texts, "w0", " w1"]), ("y", texts[1:])):
        scores = {key: np.arange(len(own), dtype=np.float32) for key in PROMPTS["key"]}
        tables[base] = pd.DataFrame({"token_decoded": own, "token_id": range(len(own)), **scores})
    words, keys = [f"w{i}" for i in range(12)], list(PROMPTS["key"])
    found = inheritance.shared_logprobs(tables, words, keys, Format("text", True), "lower")
    assert list(found["x"].index) == words[1:]
    assert found["x"].loc["w1", "p1"] == 13  # of two tokens that decode alike the more probable
    with pytest.raises(InputError, match="only 0 words"):
        inheritance.shared_logprobs(tables, words, keys, Format("text", False), "capitalised")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="p2"), "no checkpoint scores of p2"),
        (lambda t: t[t["word"] != "a001"], "no checkpoint scores of a001"),
        (lambda t: t[t["step"] == 0], "fewer than two steps in common"),
        (lambda t: t.assign(n1=t["n1"].where(t.index != 3)), "y, step 0: 1 rewards are not finite"),
    ],
)
def test_tables_that_do_not_fit_are_refused(change, message):
    _, scores, words = random_paths()
    with pytest.raises(InputError, match=message):
        dynamics.trajectories({**scores, "y": change(scores["y"])}, words, PROMPTS, CONSTRUCTS)


def test_search_settings_and_steps():
    search = Search("big_two_nouns", ["greatest", "worst"], 4)
    assert search.prompts()["framing"].value_counts().to_dict() == {"positive": 9, "negative": 9}
    for adjectives in (["greatest"], ["greatest", "best", "worst"], ["greatest", "dull"]):
        with pytest.raises(ValueError, match="adjective"):
            Search("big_two_nouns", adjectives, 4)
    assert study.evenly_spaced_steps([0, 10, 20, 30], 4) == [0, 10, 20, 30]
    assert study.evenly_spaced_steps([0, 1, 2, 4, 8, 16, 32, 64, 96], 4) == [0, 32, 64, 96]
    assert study.evenly_spaced_steps([0, 7], 4) == [0, 7]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A tiny base and two checkpoints with random adapters and heads."""
    import torch

    from valuetrace.models import tiny
    from valuetrace.training import checkpoint, model
    from valuetrace.training.recipe import Lora, Training

    folder = tmp_path_factory.mktemp("dynamics")
    tiny.write("llama", 3, folder / "base")
    form = Format("text", True, "Question: {prompt}\nAnswer:", "eos")
    lora = Lora(4, 8, 0.0, ["q_proj", "v_proj"])
    params = Training(form, "bradley_terry", lora, 1e-3, 0.0, 2, 2, 1, 64, 1, 2, 1.0)
    trained = model.build(folder / "base", params)
    provenance = {"base": checkpoint.base_identity(folder / "base"), "config_hash": "-"}
    provenance |= {"training": dataclasses.asdict(params)}
    optimizer = torch.optim.AdamW([value for value in trained.parameters() if value.requires_grad])
    for step in (0, 6):
        torch.manual_seed(step)
        for value in trained.parameters():
            if value.requires_grad:
                torch.nn.init.normal_(value, std=0.3)
        checkpoint.write(folder / "run", step, trained, optimizer, provenance, pd.DataFrame())
    return folder, form


def test_checkpoint_scores_equal_plain_forwards(checkpoints, tmp_path):
    import torch

    from valuetrace.models import loading
    from valuetrace.training.checkpoint import load_reward_model_parts

    folder, form = checkpoints
    words, prompts = (
        ["love", "freedom", "extraordinariness"],
        {"p1": "What is best?", "n1": "And what is worst of all?"},
    )
    found = study.score_checkpoints(folder / "base", folder / "run", words, prompts, form, [0, 6], progress=False)
    assert found["word"].tolist() == words * 2
    assert found["step"].tolist() == [0] * 3 + [6] * 3
    tokenizer = loading.load_tokenizer(folder / "base")
    for step in (0, 6):
        merged = load_reward_model_parts(folder / "base", folder / "run" / f"step-{step}").to("cpu")
        for key, prompt in prompts.items():
            rewards = []
            for word in words:
                before = tokenizer(f"Question: {prompt}\nAnswer:").input_ids  # with the BOS
                reply = tokenizer(f" {word}", add_special_tokens=False).input_ids
                ids = torch.tensor([[*before, *reply, tokenizer.eos_token_id]])
                with torch.no_grad():
                    rewards.append(merged(ids).logits.item())
            own = found.loc[found["step"] == step, key].to_numpy()
            assert own == pytest.approx(rewards, abs=2e-5)
            assert np.std(rewards) > 1e-2  # not all alike
    path = tables.write_checkpoints(found, tmp_path / "scores.parquet", {"base": "base"})
    pd.testing.assert_frame_equal(tables.read_checkpoints(path), found)


def test_vocabulary_rows_follow_the_words(checkpoints):
    folder, form = checkpoints
    found = study.score_checkpoints(
        folder / "base", folder / "run", ["love"], {"p1": "Best?"}, form, [6], vocabulary=True, progress=False
    )
    assert found["token_id"].isna().tolist() == [True] + [False] * (len(found) - 1)
    assert found["token_id"].iloc[1:].tolist() == list(range(len(found) - 1))
    assert found["p1"].dtype == np.float32
    with pytest.raises(InputError, match="no checkpoint at step 5"):
        study.score_checkpoints(folder / "base", folder / "run", ["love"], {"p1": "Best?"}, form, [5])


def test_readings_of_every_step_and_base():
    """Base x reads from step 5 on, base y never does; its words' known groups are no words of the lexicon."""
    words = lexicon(12, 15)
    known = pd.DataFrame({"word": [f"k{i:02d}" for i in range(30)], "polarity": ["virtue"] * 15 + ["vice"] * 15})
    every = pd.concat([words, known], ignore_index=True)
    side = np.r_[np.zeros(27), np.ones(15), -np.ones(15)][:, None] * np.array([1, 1, -1, -1])
    rng = np.random.default_rng(1)
    scores = {
        base: frame(every, {s: 5 * (base == "x" and s > 0) * side + rng.normal(size=(57, 4)) for s in (0, 5, 10)})
        for base in "xy"
    }
    token = scores["x"].head(1).assign(word="k00", token_id=pd.array([3], dtype="Int64"))  # of the vocabulary
    scores["x"] = pd.concat([scores["x"], token], ignore_index=True)
    found = readings(scores, words, known, PROMPTS, [0, 5, 10], validity.Rule(25, 0.01, 100, 1))
    by_base = found.groupby("base")["reads"].apply(list)
    assert by_base.to_dict() == {"x": [False, True, True], "y": [False] * 3}
    assert (found["refused"] == "").tolist() == found["reads"].tolist() == (found["needs"] == "").tolist()
    row = found.set_index(["base", "step"]).loc[("x", 10)]
    plain = scores["x"].query("step == 10 and token_id.isna()").set_index("word")[list(PROMPTS["key"])]
    whole = validity.reading(
        plain, PROMPTS.set_index("key")["framing"], known, validity.Rule(25, 0.01, 100, 1), pd.Index(words["word"])
    )
    assert row["difference"] == whole["known_groups"]["difference"]["estimate"]
    assert row["across_high"] == whole["framing"]["across"]["high"]


def test_pictures_overlay_and_summary(tmp_path):
    from valuetrace.figures import dynamics as figures
    from valuetrace.figures import style

    style.apply()
    paths, scores, words = random_paths(agency=12, communion=15)
    observed, drawn = dynamics.construct_medians(paths, 20, 1)
    rng = np.random.default_rng(1)
    logprobs = {b: pd.DataFrame(rng.normal(size=(27, 4)), index=paths.words, columns=PROMPTS["key"]) for b in "xy"}
    known = pd.DataFrame({"word": paths.words[:20], "polarity": ["virtue"] * 10 + ["vice"] * 10})
    survival, inherited = inheritance.inheritance(paths, logprobs, 20, 1)
    found = {
        "readings": readings(scores, words, known, PROMPTS, paths.steps, validity.Rule(25, 0.01, 50, 1)),
        "ranks": dynamics.rank_table(paths, observed, drawn),
        "gaps": dynamics.gap_table(paths, observed, drawn),
        "kendall": dynamics.kendall_with_final(paths),
        "survival": survival,
        "inherited": inherited,
        "movers": movers.mover_table(paths, 2),
        "extremes": movers.extreme_table(paths, scores, PROMPTS, 2),
    }
    for name, table in found.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    figures.draw(tmp_path, {"x": "Base X", "y": "Base Y"}, tmp_path)
    assert {path.name for path in tmp_path.glob("*.png")} == {"dynamics.png", "movers.png", "token_paths.png"}

    curves = overlay(found["gaps"], found["kendall"], survival)
    assert curves["step"].tolist() == [0, 5, 10]
    assert curves["kendall_second"].iloc[-1] == pytest.approx(1)
    own = survival.query("own and base == 'y' and step == 5")["partial"]
    assert curves["survival_second"].iloc[1] == pytest.approx(own.mean())
    training = {base: {"checkpoints": [{}, {"step": 10, "held_out_accuracy": 0.9}]} for base in "xy"}
    told = run_summary(found, training)
    assert set(told["refused"]) == {"x", "y"} and told["last_step"] == 10  # random scores read nothing
    assert told["held_out"] == {"x": {"accuracy": 0.9}, "y": {"accuracy": 0.9}}
    gap = found["gaps"].query("framing == 'negative' and step == 10")["gap"].iloc[0]
    assert told["final_gap"]["y - x"]["negative"] == gap
    found["readings"]["reads"] |= found["readings"]["base"] == "x"
    assert set(run_summary(found, training)["refused"]) == {"y"}


def test_published_word_logprobs_are_read_back_for_the_words_at_hand(tmp_path):
    path, keys = tmp_path / "words.parquet", ["p1", "p2"]
    rng = np.random.default_rng(0)
    tables = {base: pd.DataFrame(rng.normal(size=(3, 2)), index=["a", "b", "c"], columns=keys) for base in "xy"}
    pd.concat(tables, names=["base", "word"]).reset_index().to_parquet(path, index=False)
    found = inheritance.read_logprobs(path, ["x"], ["c", "a", "unknown"], keys)
    pd.testing.assert_frame_equal(found["x"], tables["x"].loc[["c", "a"]], check_names=False)
    with pytest.raises(InputError, match="no log-probabilities of z"):
        inheritance.read_logprobs(path, ["x", "z"], ["a"], keys)
    with pytest.raises(InputError, match="dvc pull"):
        inheritance.read_logprobs(tmp_path / "none.parquet", ["x"], ["a"], keys)


def test_a_run_with_only_its_two_ends_is_followed_from_step_0():
    from valuetrace.figures import dynamics as figures

    words = lexicon(4, 4)
    rising = np.repeat(np.arange(8)[:, None], 4, axis=1)
    scores = {base: frame(words, {0: rising, 7: rising[::-1]}) for base in "xy"}
    paths = dynamics.trajectories(scores, words, PROMPTS, CONSTRUCTS)
    assert paths.steps[paths.early] == 0
    table = movers.mover_table(paths, 2)
    up = table.query("base == 'x' and framing == 'positive' and direction == 'up'")
    assert up["word"].unique().tolist() == ["a000", "a001"]
    assert figures.movers(table, {"x": "X", "y": "Y"}).get_suptitle() == (
        "Words that move most, step 0 to step 7 (2 a side of 8)"
    )
