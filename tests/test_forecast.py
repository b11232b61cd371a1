"""The forecast: closed forms against gradient ascent, enumeration and Monte Carlo; then the command itself."""

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.optimize import brentq

from valuetrace import cli
from valuetrace import forecast as forecasting
from valuetrace.core import files
from valuetrace.forecast import compute, inputs, page, picture, policies, shares
from valuetrace.measures import validity
from valuetrace.measures.bases.implicit import llr
from valuetrace.models import loading, tiny
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format, render
from valuetrace.subjects import inputs as audit_inputs
from valuetrace.subjects import results
from valuetrace.subjects.inputs import Job


def some_case(replies: int = 40, prompts: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    log_reference, _ = policies.normalised(rng.normal(-8, 2, (replies, prompts)))
    return log_reference, rng.normal(0, 3, (replies, prompts))


# --- closed forms -------------------------------------------------------------------------------------------------


def test_the_covered_mass_and_the_conditional_policy():
    log_reference, mass = policies.normalised(np.array([[np.log(0.1), np.log(0.3)], [np.log(0.2), -np.inf]]))
    np.testing.assert_allclose(mass, [0.3, 0.3])
    np.testing.assert_allclose(np.exp(log_reference), [[1 / 3, 1], [2 / 3, 0]])
    with pytest.raises(ValueError, match="probability 0"):
        policies.normalised(np.full((2, 1), -np.inf))


@pytest.mark.parametrize("beta", [0.3, 1.0, 5.0])
def test_gradient_ascent_on_a_categorical_policy_arrives_at_the_forecast(beta):
    """max E[r] − β KL(π ‖ π_ref) by the exact policy gradient, Σ π ∇log π (r − β log π/π_ref), from π_ref."""
    log_reference, rewards = some_case(replies=8, prompts=1)
    reference, reward = log_reference[:, 0], rewards[:, 0]
    logits = reference.copy()
    for _ in range(20_000):
        policy = np.exp(logits - logits.max())
        policy /= policy.sum()
        advantage = reward - beta * (np.log(policy) - reference)
        logits += 0.5 / beta * policy * (advantage - policy @ advantage)
    forecast = np.exp(policies.tilted(log_reference, rewards, np.array([[beta]]))[0, :, 0])
    assert np.abs(np.exp(reference) - forecast).sum() > 0.2  # there was a way to go
    assert np.abs(policy - forecast).sum() < 1e-3


def test_a_trained_transformer_arrives_at_the_forecast_for_every_prompt(tokenizers, tiny_models):
    """RLHF of a tiny language model's head, one set of weights for three prompts: exact objective, gradient ascent."""
    tokenizer, model = tokenizers["llama"], tiny_models["llama"]
    texts = value_laden()["text"].iloc[[0, 20, 40]]
    ids = [tokenizer(f" {word}", add_special_tokens=False).input_ids[0] for word in ("love", "power", "help", "war")]
    form, states = Format("text", space=True), []
    with torch.no_grad():
        for text in texts:
            tokens = torch.tensor([render(tokenizer, form, text).prefix])
            states.append(model.model(tokens).last_hidden_state[0, -1])
    states = torch.stack(states).double()  # (prompts, width)
    head = model.lm_head.weight.detach()[ids].double().clone().requires_grad_()
    reference = torch.log_softmax(states @ head.detach().T, -1)
    rewards = torch.tensor(np.random.default_rng(1).normal(size=(3, 4)))
    beta = 0.25
    optimizer = torch.optim.LBFGS([head], max_iter=300, line_search_fn="strong_wolfe", tolerance_grad=1e-10)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        log_policy = torch.log_softmax(states @ head.T, -1)
        value = -(log_policy.exp() * (rewards - beta * (log_policy - reference))).sum()
        value.backward()
        return value

    optimizer.step(loss)
    trained = torch.softmax(states @ head.T, -1).detach().numpy().T
    log_reference = reference.numpy().T
    forecast = np.exp(policies.tilted(log_reference, rewards.numpy().T, np.full((1, 3), beta)))[0]
    assert np.abs(np.exp(log_reference) - forecast).sum(axis=0).min() > 0.05  # in each prompt a way to go
    np.testing.assert_allclose(trained, forecast, atol=1e-4)


def test_a_budget_is_spent_to_the_last_nat():
    log_reference, rewards = some_case()
    nats = np.arange(0, 8.5, 0.5)
    beta = policies.beta_for(log_reference, rewards, nats)
    spent = policies.divergence(policies.tilted(log_reference, rewards, beta), log_reference)
    reach = policies.reach(log_reference, rewards)
    assert ((reach > 3) & (reach < 8)).any()
    np.testing.assert_allclose(spent, np.minimum(nats[:, None], reach), atol=1e-9)
    assert (np.diff(beta, axis=0)[1:] <= 0).all() and np.isinf(beta[0]).all()
    assert (beta[nats[:, None] > reach + np.zeros_like(beta)] == 0).all()


def test_the_budget_of_two_replies_by_an_independent_root():
    q, nats = 0.2, 0.9
    log_reference, rewards = np.log([[q], [1 - q]]), np.array([[3.0], [1.0]])
    p = brentq(lambda p: p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)) - nats, q, 1 - 1e-12)
    expected = 2.0 / (np.log(p / q) - np.log((1 - p) / (1 - q)))
    assert policies.beta_for(log_reference, rewards, np.array([nats]))[0, 0] == pytest.approx(expected, rel=1e-9)
    assert policies.reach(log_reference, rewards)[0] == pytest.approx(-np.log(q))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4, 1e8])
def test_neither_the_constant_nor_the_scale_of_a_reward_matters_to_a_budget(scale):
    log_reference, rewards = some_case()
    points = shares.grid([0, 1, 4], [1, 16, 4096])
    found = shares.follow("p", "r", log_reference, rewards, points)
    other = shares.follow("p", "r", log_reference, scale * rewards + [[1e3, -1e4, 0.0]], points)
    np.testing.assert_allclose(np.exp(other.log_policy), np.exp(found.log_policy), atol=2e-6)


def test_the_limits_of_beta_with_ties_and_impossible_replies():
    reference = np.array([[0.5], [0.1], [0.3], [0.1], [0.0]])
    with np.errstate(divide="ignore"):
        log_reference = np.log(reference)
    for high in (1.0, 1e4):
        rewards = high * np.array([[-1.0], [1.0], [1.0], [0.0], [9.0]])  # the best of all is never said
        betas = np.array([[0.0], [1e-300], [1e-9], [np.inf], [1e300]])
        found = np.exp(policies.tilted(log_reference, rewards, betas))[:, :, 0]
        np.testing.assert_allclose(found[:3], [[0, 0.25, 0.75, 0, 0]] * 3, atol=1e-12)
        np.testing.assert_allclose(found[3:], [reference[:, 0]] * 2, atol=1e-12)
        assert policies.reach(log_reference, rewards)[0] == pytest.approx(-np.log(0.4))
        assert np.isfinite(policies.divergence(policies.tilted(log_reference, rewards, betas), log_reference)).all()
        best = np.exp(policies.best_of(log_reference, rewards, [1, 4096]))[:, :, 0]
        np.testing.assert_allclose(best, [reference[:, 0], [0, 0.25, 0.75, 0, 0]], atol=1e-9)


def test_a_reward_that_tells_no_reply_from_another_moves_nothing():
    log_reference, _ = some_case()
    found = shares.follow("p", "r", log_reference, np.full((40, 3), 7.0), shares.grid([0, 2], [1, 64], [0.1]))
    np.testing.assert_allclose(found.log_policy, np.repeat(log_reference[None], 5, axis=0), atol=1e-12)
    np.testing.assert_allclose(found.reach, 0, atol=1e-12)
    assert not found.reached[1].any() and found.reached[0].all()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_best_of_n_by_enumeration_with_ties(n):
    reference, reward = np.array([0.35, 0.05, 0.2, 0.1, 0.3]), np.array([0.0, 2.0, 1.0, 2.0, 1.0])
    expected = np.zeros(5)
    for drawn in itertools.product(range(5), repeat=n):
        best = [y for y in drawn if reward[y] == max(reward[list(drawn)])]
        for y in best:
            expected[y] += np.prod(reference[list(drawn)]) / len(best)
    found = policies.best_of(np.log(reference)[:, None], reward[:, None], np.array([n]))
    np.testing.assert_allclose(np.exp(found)[0, :, 0], expected, atol=1e-13)


def test_best_of_n_against_monte_carlo_and_its_bound():
    log_reference, rewards = some_case(replies=30, prompts=1)
    rng, draws = np.random.default_rng(2), 40_000
    reference = np.exp(log_reference[:, 0])
    order = np.argsort(np.argsort(rewards[:, 0]))
    counts = np.array([4, 32, 256])
    found = policies.best_of(log_reference, rewards, counts)
    for n, log_policy in zip(counts, found[:, :, 0], strict=True):
        winners = [order[rng.choice(30, (2000, n), p=reference)].max(axis=1) for _ in range(draws // 2000)]
        seen = np.bincount(np.concatenate(winners), minlength=30)[order] / draws
        error = 5 * np.sqrt(np.exp(log_policy) / draws) + 2e-4
        assert (np.abs(seen - np.exp(log_policy)) < error).all()
    nats, bound = policies.divergence(found, log_reference)[:, 0], policies.best_of_bound(counts)
    assert (nats <= bound).all() and nats[-1] < 0.95 * bound[-1]
    even = np.full((20_000, 1), -np.log(20_000.0))  # no reply is likely and none ties: the bound is met
    all_ = policies.best_of(even, np.arange(20_000.0)[:, None], counts)
    np.testing.assert_allclose(policies.divergence(all_, even)[:, 0], bound, rtol=2e-2)


def test_with_the_implicit_reward_the_forecast_from_one_model_is_the_other():
    """r = log p₂ − log p₁ and β = 1 (the paper's implicit reward, turned round)."""
    first, _ = some_case(seed=3)
    second, _ = some_case(seed=4)
    points = shares.grid([0], [1], [1.0])
    found = shares.follow("first", "second less first", first, llr(first, second), points)
    np.testing.assert_allclose(found.log_policy[-1], second, atol=1e-9)
    spent = policies.divergence(second[None], first)[0]  # and at that many nats the budget finds β = 1
    np.testing.assert_allclose(np.diag(policies.beta_for(first, llr(first, second), spent)), 1.0, rtol=1e-6)


def test_the_leading_reply_by_a_dense_walk():
    for seed in range(20):
        log_reference, rewards = (values[:, 0] for values in some_case(replies=12, prompts=1, seed=seed))
        found = policies.leaders(log_reference, rewards)
        assert found[0] == (int(log_reference.argmax()), 0.0) and found[-1][0] == rewards.argmax()
        starts = [slope for _, slope in found]
        assert starts == sorted(starts)
        for slope in np.linspace(0, 1.2 * starts[-1] + 0.1, 500):
            lead = [reply for reply, start in found if start <= slope + 1e-12][-1]
            scores = log_reference + slope * rewards
            assert scores[lead] == pytest.approx(scores.max(), abs=1e-9)


# --- shares, intervals, attribution -------------------------------------------------------------------------------


def cell_of(log_reference: np.ndarray, rewards: np.ndarray, points: pd.DataFrame) -> shares.Optimum:
    return shares.follow("p", "r", log_reference, rewards, points)


def test_draws_over_words_are_the_exact_bootstrap():
    """Three words of the construct and two others: all 3³ · 2² draws."""
    log_reference, rewards = some_case(replies=5, prompts=1)
    cell = cell_of(log_reference, rewards, shares.grid([0.5], []))
    member = np.array([True, True, False, True, False])
    p = np.exp(cell.log_policy[0, :, 0])
    every = [
        p[list(a)].sum() / (p[list(a)].sum() + p[list(b)].sum())
        for a in itertools.product(np.flatnonzero(member), repeat=3)
        for b in itertools.product(np.flatnonzero(~member), repeat=2)
    ]
    drawn = shares.share_draws(cell, member, 20_000, np.random.default_rng(0))[:, 0, 0]
    assert drawn.mean() == pytest.approx(np.mean(every), abs=0.005)
    assert np.quantile(drawn, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(every, [0.1, 0.5, 0.9]), abs=0.02)
    assert shares.shares(cell.log_policy, member)[0, 0] == pytest.approx(p[member].sum())


def test_beyond_the_reach_a_draw_without_the_best_reply_falls_to_the_next():
    """The limit policy says one word; in 1/e of the draws it is missing, and the second best is of the others."""
    n = 40
    rewards = -np.arange(n, dtype=float)[:, None]
    member = np.arange(n) % 2 == 0
    cell = cell_of(np.full((n, 1), -np.log(n)), 1e4 * rewards, shares.grid([20.0], [4096]))
    drawn = shares.share_draws(cell, member, 4000, np.random.default_rng(0))
    assert np.isfinite(drawn).all() and set(np.unique(drawn[:, 0])) == {0.0, 1.0}
    missing = (1 - 1 / 20) ** 20  # of a word among twenty drawn; the winner alternates between the two groups
    expected = sum((1 - missing) * missing**k for k in range(0, 40, 2))
    assert drawn[:, 0].mean() == pytest.approx(expected, abs=0.03)


@pytest.mark.slow
def test_intervals_over_words_cover_the_share_of_the_population_of_words():
    """Words drawn from a population in which one construct has the higher rewards. Bootstrap intervals of a ratio of
    sums fall short where few words hold everything: at 2 nats, and with few words."""

    def population(rng, n):
        member = np.arange(n) < n // 2
        frequency, reward = rng.normal(size=(n, 1)), rng.normal(size=(n, 1)) + 0.5 * member[:, None]
        rewards = reward + 0.5 * rng.normal(size=(n, 4))
        log_reference, _ = policies.normalised(frequency + 0.3 * rng.normal(size=(n, 4)))
        return log_reference, rewards, member

    points = shares.grid([0, 0.5, 1, 2], [4], [1.0])
    log_reference, rewards, member = population(np.random.default_rng(1), 100_000)
    truth = shares.shares(cell_of(log_reference, rewards, points).log_policy, member).mean(axis=1)
    assert truth[0] == pytest.approx(0.5, abs=0.01) and truth[3] > 0.65
    hits, runs = np.zeros(len(points)), 200
    for seed in range(runs):
        rng = np.random.default_rng(100 + seed)
        log_reference, rewards, member = population(rng, 100)
        drawn = shares.share_draws(cell_of(log_reference, rewards, points), member, 400, rng).mean(axis=-1)
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        hits += (low <= truth) & (truth <= high)
    assert (hits / runs > [0.88, 0.88, 0.86, 0.8, 0.86, 0.86]).all(), hits / runs
    assert (hits / runs < 0.99).all()


def test_intervals_over_prompts_need_six_and_widen_with_their_spread():
    rng = np.random.default_rng(0)
    share = np.stack([0.5 + 0.1 * rng.normal(size=12), np.full(12, 0.5)])  # (points, prompts)
    framing = np.array(["positive"] * 7 + ["negative"] * 5)
    drawn = shares.framing_means(np.repeat(share[None], 500, axis=0), framing)
    found = shares.by_framing(share, drawn, framing, seed=1)
    assert np.isnan(found["negative"]["low_prompts"]).all()
    width = found["positive"]["high_prompts"] - found["positive"]["low_prompts"]
    normal = 2 * 1.96 * share[0, :7].std() / np.sqrt(7)
    assert width[0] == pytest.approx(normal, rel=0.2) and width[1] == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(found["positive"]["low"], share[:, :7].mean(axis=1))


def test_attribution_adds_up_and_finds_what_was_put_in():
    def corner(policy, reward, both):
        return {(i, j): np.array(policy * i + reward * j + both * i * j) for i in (0, 1) for j in (0, 1)}

    found = shares.attribute(corner(0.2, -0.1, 0.0))
    assert {key: round(float(value), 9) for key, value in found.items()} == {
        **{"difference": 0.1, "policy": 0.2, "reward": -0.1, "interaction": 0.0}
    }
    found = shares.attribute(corner(0.2, -0.1, 0.04))
    assert found["policy"] + found["reward"] == pytest.approx(found["difference"])
    assert found["policy"] == pytest.approx(0.22) and found["interaction"] == pytest.approx(0.04)
    assert shares.attribute(corner(0.2, 0.0, 0.0))["reward"] == 0
    one = {key: value for key, value in corner(0.2, -0.1, 0.0).items() if key[0] == 0}
    assert shares.attribute(one).keys() == {"difference", "reward"}
    one = {key: value for key, value in corner(0.2, -0.1, 0.0).items() if key[1] == 0}
    assert shares.attribute(one)["policy"] == pytest.approx(0.2)


def test_gainers_and_leaders_by_hand():
    reference = np.array([[0.6, 0.6], [0.3, 0.3], [0.1, 0.1]])
    rewards = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    points = shares.grid([0.0], [], [1.0])
    cell = cell_of(np.log(reference), rewards, points)
    named = pd.Series(["agency", "communion", "agency"], ["win", "love", "rule"])
    prompts = pd.DataFrame({"key": ["a", "b"], "framing": ["positive", "negative"]})
    gained = shares.gainers(cell, points, named, prompts["framing"].to_numpy(), 5)
    assert set(gained["framing"]) == {"positive"} and set(gained["kind"]) == {"beta"}  # nothing moves elsewhere
    weights = reference[:, 0] * np.exp([0, 1, 2])
    row = gained.iloc[0]
    assert row["word"] == "rule" and row["probability"] == pytest.approx(weights[2] / weights.sum())
    assert row["log_ratio"] == pytest.approx(2 - np.log(weights.sum())) and row["reference"] == pytest.approx(0.1)
    first, second = shares.leaders(cell, named, prompts)
    assert [lead["word"] for lead in first["leads"]] == ["win", "love", "rule"]
    lead = first["leads"][1]  # win and love tie at 1/β = log 2
    tied = reference[:, 0] * 2 ** rewards[:, 0] / (reference[:, 0] * 2 ** rewards[:, 0]).sum()
    assert lead["nats"] == pytest.approx((tied * np.log(tied / reference[:, 0])).sum())
    assert lead["probability"] == pytest.approx(tied[0])
    assert [lead["word"] for lead in second["leads"]] == ["win"] and second["reach"] == pytest.approx(0)
    positive, negative = shares.first_changes([first, second])
    assert positive["changing"] == 1 and positive["median"] == pytest.approx(lead["nats"])
    assert negative == {"framing": "negative", "prompts": 1, "changing": 0, "lowest": None, "median": None} | {
        "highest": None
    }


# --- the command --------------------------------------------------------------------------------------------------

FEW = "best_ever_one,good_ever_one,worst_ever_one"
READS = {"framing": {}, "known_groups": {}, "refused": None, "needs": None}
NO_FLOOR = validity.Rule(least_known=25, least_probability=0, draws=50, seed=1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Iterator[dict[str, Path]]:
    """Tiny models and a lexicon; one thread, for the matrices are small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("models")
    for name, (architecture, seed, reward) in {
        **{"rm": ("llama", 1, True), "rm2": ("llama", 2, True)},
        **{"lm": ("llama", 1, False), "lm2": ("qwen2", 5, False)},
    }.items():
        tiny.write(architecture, seed, root / name, reward=reward)
    listed = {"agency": ["power", "work", "win", "money", "control", "job", "lead", "togetherness"]}
    listed |= {"communion": ["family", "friend", "home", "help", "group", "care", "people"], "few": ["mother", "kind"]}
    rows = [(construct, word) for construct, of in listed.items() for word in of]
    pd.DataFrame(rows, columns=["construct", "word"]).to_csv(root / "words.csv", index=False)
    yield {path.name.removesuffix(".csv"): path for path in root.iterdir()} | {"root": root}
    torch.set_num_threads(threads)


def let_everything_read(patch: pytest.MonkeyPatch) -> None:
    """Every table reads and any probability is enough: random models answer with no word."""
    patch.setattr(validity, "reading", lambda *_: READS)
    patch.setattr(validity, "rule", lambda: NO_FLOOR)
    patch.setattr(audit_inputs, "read_known_groups", lambda: pd.DataFrame(columns=["word", "polarity"]))


@pytest.fixture
def reads(monkeypatch) -> None:
    let_everything_read(monkeypatch)


def request(folders, out: Path, rewards=("rm",), of=("lm",), **options) -> forecasting.Request:
    names = {"reward_models": tuple(str(folders[r]) for r in rewards), "policies": tuple(str(folders[p]) for p in of)}
    asked = {"lexicon": str(folders["words"]), "prompts": FEW, "policy_format": "raw", "draws": 60, "out": out}
    return forecasting.Request(**names | asked | options)


def run(capsys, *arguments) -> tuple[int, str, str]:
    try:
        status = cli.main(["forecast", *map(str, arguments)])
    except SystemExit as stopped:  # argparse
        status = stopped.code
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture(scope="module")
def done(folders) -> forecasting.Done:
    said: list[str] = []
    options = {"nats": (0.0, 1.0), "counts": (1, 8), "betas": (0.5,)}
    with pytest.MonkeyPatch.context() as patch:
        let_everything_read(patch)
        found = forecasting.forecast(request(folders, folders["root"] / "out", **options), said.append)
    assert any("16 of 17 words" in line for line in said)  # togetherness is several tokens
    return found


def test_the_numbers_are_those_of_the_two_models(done, folders):
    """One prompt's shares from the models' own outputs, through nothing of the command."""
    from valuetrace.scoring.reward_model import load_reward_model
    from valuetrace.scoring.search import score_prompts

    assert {path.name for path in done.out.iterdir()} == set(inputs.RESULTS) - {"attribution.csv"}
    assert not done.problems
    listed = pd.read_csv(folders["words"])
    listed = listed[listed["word"] != "togetherness"]
    prompt = value_laden().set_index("key")["text"].loc[["worst_ever_one"]].to_dict()
    model, tokenizer = loading.load(folders["lm"], device="cpu"), loading.load_tokenizer(folders["lm"])
    prefix = render(tokenizer, Format("text", space=True), prompt["worst_ever_one"]).prefix
    with torch.no_grad():
        log_probability = torch.log_softmax(model(torch.tensor([prefix])).logits[0, -1].double(), -1)
    ids = [tokenizer(f" {word}", add_special_tokens=False).input_ids for word in listed["word"]]
    own = log_probability[[i for (i,) in ids]].numpy()[:, None]
    reward_model = load_reward_model(folders["rm"], Format("chat", space=False), device="cpu")
    reward = score_prompts(reward_model, prompt, list(listed["word"]), progress=False).to_numpy(dtype=float)
    log_reference, mass = policies.normalised(own)
    beta = policies.beta_for(log_reference, reward, np.array([0.0, 1.0]))
    expected = [
        *np.exp(policies.tilted(log_reference, reward, beta))[..., 0],
        *np.exp(policies.best_of(log_reference, reward, [1, 8]))[..., 0],
        np.exp(policies.tilted(log_reference, reward, np.array([[0.5]])))[0, :, 0],
    ]
    frame = pd.read_csv(done.out / "forecast.csv", keep_default_na=False)
    found = frame[(frame["prompt"] == "worst_ever_one") & (frame["construct"] == "agency")]
    assert list(found["kind"]) == ["kl", "kl", "best_of_n", "best_of_n", "beta"]
    agency = (listed["construct"] == "agency").to_numpy()
    np.testing.assert_allclose(found["share"].astype(float), [p[agency].sum() for p in expected], atol=2e-4)
    # of a framing with one prompt, the framing's row is the prompt's; JSON and CSV agree
    means = frame[(frame["prompt"] == "") & (frame["framing"] == "negative") & (frame["construct"] == "agency")]
    assert list(means["share"]) == list(found["share"])
    rows = [r for r in done.result["cells"][0]["rows"] if (r["framing"], r["construct"]) == ("negative", "agency")]
    assert [f"{row['share']:.6g}" for row in rows] == [f"{float(value):.6g}" for value in means["share"]]
    assert done.result["probability"]["lm"]["negative"] == pytest.approx(mass[0], rel=1e-3)
    few = next(group for group in done.result["constructs"] if group["label"] == "few")
    assert "only 2 of its 2 words" in few["refused"] and not (frame["share"][frame["construct"] == "few"] != "").any()


def test_the_page_holds_everything_and_loads_nothing(done):
    text = (done.out / "forecast.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?(?!data:)\w|url\(|@import|<script|<link|<iframe", text)
    assert "data:image/png;base64," in text and "up to its scale" in text
    shown = re.findall(r'data-source="forecast:([^"]+)"', text)
    assert len(shown) > 100
    assert "only 2 of its 2 words" in text
    told = page.as_text(done.result)
    assert "16 of 17 words" in told and "gain most at" in told and "best of" in told


def test_two_of_each_are_attributed(folders, reads, tmp_path):
    asked = request(folders, tmp_path / "out", ("rm", "rm2"), ("lm", "lm2"), nats=(0.0, 2.0), counts=(1,))
    done = forecasting.forecast(asked, lambda line: None)
    names = [(cell["policy"], cell["reward_model"]) for cell in done.result["cells"]]
    assert names == [("lm", "rm"), ("lm", "rm2"), ("lm2", "rm"), ("lm2", "rm2")]
    at = {
        (row["effect"], row["budget"]): row
        for row in done.result["attribution"]["rows"]
        if (row["framing"], row["construct"], row["kind"]) == ("positive", "agency", "kl")
    }
    share = {
        name: {row["budget"]: row["share"] for row in cell["rows"] if (row["framing"], row["construct"]) == key}
        for name, cell in zip(names, done.result["cells"], strict=True)
        for key in [("positive", "agency")]
    }
    for budget in (0.0, 2.0):
        total = share["lm2", "rm2"][budget] - share["lm", "rm"][budget]
        assert at["difference", budget]["share"] == pytest.approx(total, abs=1e-5)
        assert at["policy", budget]["share"] + at["reward", budget]["share"] == pytest.approx(total, abs=1e-5)
    assert at["reward", 0.0]["share"] == pytest.approx(0, abs=1e-12)  # nothing was optimised yet
    assert at["reward", 2.0]["low"] <= at["reward", 2.0]["share"] <= at["reward", 2.0]["high"]
    assert "due to the policy" in (done.out / "forecast.html").read_text()
    assert set(pd.read_csv(done.out / "attribution.csv")["effect"]) == {"difference", "policy", "reward", "interaction"}


def test_too_little_probability_and_unread_rewards_are_refused(folders, tmp_path, capsys):
    """Random models: they say none of the words, and read no prompt."""
    done = forecasting.forecast(request(folders, tmp_path / "out"), lambda line: None)
    cell = done.result["cells"][0]
    assert cell["refused"].keys() == {"positive", "negative"} and not cell["rows"] and not cell["gainers"]
    assert "the prompts are not read" in cell["refused"]["positive"]["refused"]
    frame = pd.read_csv(done.out / "forecast.csv")
    assert frame["share"].isna().all() and frame["refused"].notna().all()
    assert "Refused" in (done.out / "forecast.html").read_text() and "Refused" in page.as_text(done.result)
    rule = validity.Rule(25, 0.01, 50, 1)
    little = compute.refusals({"positive": 0.2, "negative": 0.002}, READS, rule)
    assert little.keys() == {"negative"} and "0.002" in little["negative"]["refused"]
    assert "--policy-format" in little["negative"]["needs"]


def test_json_dry_run_and_a_limit(folders, reads, tmp_path, capsys):
    base = [folders["rm"], "--policy", folders["lm"], "--lexicon", folders["words"], "--prompts", FEW]
    base += ["--policy-format", "raw", "--draws", 40, "--out", tmp_path / "o"]
    status, out, err = run(capsys, *base, "--dry-run", "--json")
    assert status == 0 and json.loads(out)["models"]["rm"]["candidates"] == 16
    assert "Cost: time about" in err and not (tmp_path / "o").exists()
    status, _, err = run(capsys, *base, "--max-minutes", "1e-9")
    assert status == 2 and "more than --max-minutes" in err


def test_rewards_that_are_no_numbers_leave_status_3_and_the_rest(folders, reads, tmp_path, capsys):
    broken = tmp_path / "overflowing"
    tiny.write("gemma2", 1, broken, reward=True)
    weights = load_file(broken / "model.safetensors")
    (token,) = loading.load_tokenizer(broken)("power", add_special_tokens=False).input_ids
    weights["model.embed_tokens.weight"][token] = 1e38  # finite, until Gemma scales it
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    arguments = [broken, "--policy", folders["lm"], "--lexicon", folders["words"], "--prompts", FEW, "--draws", 40]
    arguments += ["--policy-format", "raw", "--out", tmp_path / "o", "--json"]
    status, out, err = run(capsys, *arguments, "--budgets", "1,2", "--best-of", "1,3", "--beta", "0.1")
    assert status == 3 and "'power'" in err
    told = json.loads(out)
    assert told == files.read_json(tmp_path / "o" / "forecast.json") and told["left_out"]["words"] == ["power"]
    kinds = {(row["kind"], row["budget"]) for row in told["cells"][0]["budgets"]}
    expected = {("kl", 0.0), ("kl", 1.0), ("kl", 2.0), ("best_of_n", 1.0), ("best_of_n", 3.0), ("beta", 0.1)}
    assert kinds == expected  # budget 0, the policy itself, is always there


def test_each_bad_input_is_one_line_and_status_2(folders, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no.csv").write_text("construct,word\nagency,togetherness\nagency,honourableness\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("")
    rm, lm = folders["rm"], folders["lm"]
    both = [rm, "--policy", lm, "--lexicon", folders["words"], "--prompts", FEW, "--policy-format", "raw"]
    cases = {
        "no shared word": ([*both, "--lexicon", "no.csv"], "none of the 2 words .* single token of every policy"),
        "β of 0": ([*both, "--beta", "0"], "--beta 0: β must be above 0"),
        "a negative β": ([*both, "--beta=-1"], "--beta -1: β must be above 0"),
        "a negative budget": ([*both, "--budgets=-1"], "--budgets -1: a KL divergence is 0 or more"),
        "an infinite budget": ([*both, "--budgets", "inf"], "--budgets inf"),
        "n below 1": ([*both, "--best-of", "0,2"], "--best-of 0: n is a whole number from 1"),
        "no number": ([*both, "--budgets", "much"], "invalid list of float value: 'much'"),
        "policy and reward model exchanged": ([lm, "--policy", rm], "a language model .* give it as --policy"),
        "a reward model as policy": ([rm, "--policy", folders["rm2"]], "a reward model .* where a language model"),
        "unknown format of the policy": ([rm, "--policy", lm, "--policy-format", "x"], "--policy-format x: no such"),
        "unknown format": ([*both, "--format", "x"], "error: --format x: no such"),
        "three reward models": ([rm, folders["rm2"], rm, "--policy", lm], "give one or two, not 3"),
        "one twice": ([rm, "--policy", lm, "--policy", lm], "given twice"),
        "no policy": ([rm], "--policy"),
        "out holds something else": ([*both, "--out", "full"], "holds mine.txt, which is no forecast's"),
        "no such model": (["nothing", "--policy", lm], "nothing: no such folder"),
    }
    for name, (arguments, message) in cases.items():
        status, out, err = run(capsys, *arguments)
        assert (status, out) == (2, ""), f"{name}: {status} {err}"
        assert re.search(message, err), f"{name}: {err}"
        assert len([line for line in err.splitlines() if "error: " in line]) == 1 and "Traceback" not in err, name


def test_a_policy_and_a_reward_model_of_one_name_stay_apart(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, place in (("rm", "a/final"), ("lm", "b/final")):
        shutil.copytree(folders[name], place)
    asked = forecasting.Request(("a/final",), ("b/final",), lexicon=str(folders["words"]), prompts=FEW)
    jobs = inputs.resolve(asked)
    assert [job.name for job in jobs.every] == ["b/final", "a/final"]
    assert re.fullmatch(r"forecast/final-[0-9a-f]{8}-on-final-[0-9a-f]{8}", str(jobs.out))
    assert results.shards(jobs.every[0].out).name == f".{jobs.out.name}.rewards.shards" and not jobs.out.exists()


def job(name: str, kind: str, listed: pd.DataFrame, prompts: pd.DataFrame) -> Job:
    asked = audit_inputs.Request(name, draws=40)
    known = pd.DataFrame(columns=["word", "polarity"])
    form = Format("text", space=False)
    return Job(asked, name, Path(), Path(), kind, "X", {}, listed, known, prompts, "raw", form, [])


def jobs_of(scores: dict[str, pd.DataFrame], listed: pd.DataFrame, prompts: pd.DataFrame, of: list[str]) -> inputs.Jobs:
    made = {name: job(name, "logprob" if name in of else "reward", listed, prompts) for name in scores}
    asked = forecasting.Request(("r",), ("p",), draws=40)
    points = shares.grid([0.0, 2.0], [1, 64])
    rewards = [one for name, one in made.items() if name not in of]
    return inputs.Jobs(asked, Path(), rewards, [made[name] for name in of], listed, points)


@pytest.fixture
def panel() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lexicon (twelve words of each of two constructs) and prompts (six a framing)."""
    named = [(f"{construct}{i}", construct) for construct in ("agency", "communion") for i in range(12)]
    listed = pd.DataFrame(named, columns=["word", "construct"]).assign(polarity="")
    keys = [f"{framing}{i}" for framing in ("positive", "negative") for i in range(6)]
    return listed, pd.DataFrame({"key": keys, "text": keys, "framing": ["positive"] * 6 + ["negative"] * 6})


def scores_of(listed: pd.DataFrame, prompts: pd.DataFrame, values: np.ndarray, token: bool) -> pd.DataFrame:
    frame = pd.DataFrame({"token_id": range(len(listed)) if token else pd.NA, "token_name": listed["word"]})
    frame["token_id"] = frame["token_id"].astype("Int64")
    frame["token_decoded"] = listed["word"]
    return pd.concat([frame, pd.DataFrame(values.astype(np.float32), columns=list(prompts["key"]))], axis=1)


def test_a_planted_reward_is_found_and_no_reward_moves_nothing(reads, panel):
    listed, prompts = panel
    rng = np.random.default_rng(0)
    log_probability = np.log(rng.dirichlet(np.full(30, 3.0), 12).T[:24])  # six thirtieths are said of other words
    agency = (listed["construct"] == "agency").to_numpy()[:, None]
    planted = agency * np.where(prompts["framing"] == "positive", 1.0, -1.0) + 0.1 * rng.normal(size=(24, 12))
    tables = {
        "p": scores_of(listed, prompts, log_probability, token=True),
        "planted": scores_of(listed, prompts, planted, token=False),
        "none": scores_of(listed, prompts, np.zeros((24, 12)), token=False),
    }
    found = compute.compute(jobs_of(tables, listed, prompts, ["p"]), tables)
    share = {
        (cell["reward_model"], row["framing"], row["kind"], row["budget"]): row["share"]
        for cell in found.result["cells"]
        for row in cell["rows"]
        if row["construct"] == "agency"
    }
    start = share["planted", "positive", "kl", 0.0]
    assert share["planted", "positive", "kl", 2.0] > 0.97 and share["planted", "negative", "kl", 2.0] < 0.03
    assert share["planted", "positive", "best_of_n", 1.0] == pytest.approx(start, abs=1e-9)
    for kind, budget in (("kl", 2.0), ("best_of_n", 64.0)):
        assert share["none", "positive", kind, budget] == pytest.approx(start, abs=1e-9)
    budgets = [row for row in found.result["cells"][1]["budgets"] if row["kind"] == "kl" and row["budget"] == 2]
    assert all(row["reached"] == 0 and row["nats"] == pytest.approx(0, abs=1e-9) for row in budgets)
    assert found.result["probability"]["p"]["positive"] == pytest.approx(0.8, abs=0.05)
    effects = found.frames["attribution"]
    assert set(effects["effect"]) == {"difference", "reward"} and effects["low_prompts"].notna().all()
    mean = found.frames["forecast"].query("prompt.isna() and kind == 'kl' and budget == 2 and construct == 'agency'")
    assert (mean["low"] <= mean["share"]).all() and (mean["share"] <= mean["high"]).all()


def test_impossible_replies_and_missing_scores(reads, panel):
    listed, prompts = panel
    log_probability = np.full((24, 12), np.log(1 / 24))
    log_probability[0, 0] = -np.inf  # a score: never said
    log_probability[1, 0] = np.nan
    rewards = np.tile(np.arange(24.0)[:, None], 12)
    rewards[2, 5] = np.inf
    rewards[:, 11] = np.nan
    tables = {"p": scores_of(listed, prompts, log_probability, True), "r": scores_of(listed, prompts, rewards, False)}
    found = compute.compute(jobs_of(tables, listed, prompts, ["p"]), tables)
    assert found.result["left_out"] == {"prompts": ["negative5"], "words": ["agency1", "agency2"]}
    assert found.result["words"] == {"covered": 22, "listed": 24}
    json.dumps(found.result["cells"], allow_nan=False)


def test_names_that_look_like_something_else(reads, panel, tmp_path):
    listed, prompts = panel
    for name in ("7", "$\\frac{$"):
        own = listed.assign(construct=listed["construct"].map({"agency": name, "communion": "nan"}))
        values = np.random.default_rng(0).normal(size=(24, 12))
        tables = {name: scores_of(own, prompts, values, True), "1e5": scores_of(own, prompts, values, False)}
        found = compute.compute(jobs_of(tables, own, prompts, [name]), tables)
        files.write_csv(found.frames["forecast"], tmp_path / "forecast.csv")
        picture.draw(tmp_path / "forecast.csv", tmp_path / "forecast.png")
        assert (tmp_path / "forecast.png").stat().st_size > 10_000
