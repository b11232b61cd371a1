"""Optimal replies: against brute force over every reply, the plain rewards of the search, and as the user asks."""

import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch

from valuetrace import cli
from valuetrace.audit import optimal
from valuetrace.core import files
from valuetrace.models import tiny
from valuetrace.prompts import value_laden
from valuetrace.scoring import optimal as search
from valuetrace.scoring import reference
from valuetrace.scoring import search as engine
from valuetrace.scoring.chat import Format
from valuetrace.scoring.heads import Linear
from valuetrace.scoring.reward_model import RewardModel, load_reward_model
from valuetrace.scoring.search import score_responses
from valuetrace.subjects import inputs, results, scorers

CHAT, QUESTION = Format("chat", space=False), Format("text", True, "Question: {prompt}\nAnswer:", "eos")
PROMPT = "What, in one word, is the best thing ever?"


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "rm"
    tiny.write("llama", 1, path, reward=True)
    return path


@pytest.fixture(scope="module")
def model(folder) -> RewardModel:
    return load_reward_model(folder, QUESTION, device="cpu")


def small(seed: int, vocabulary: int = 24, architecture: str = "llama") -> RewardModel:
    """A random reward model of a vocabulary so small that every reply can be scored (its tokenizer knows more)."""
    backbone = tiny.model(architecture, seed, vocab_size=8192)
    head = Linear(backbone.config.hidden_size)
    torch.nn.init.normal_(head.score.weight, generator=torch.Generator().manual_seed(seed))
    return RewardModel(backbone.model, head.eval(), tiny.tokenizer(architecture), QUESTION, f"small-{seed}")


def brute_force(model: RewardModel, vocabulary: int, length: int) -> pd.Series:
    replies = list(itertools.product(range(vocabulary), repeat=length))
    return score_responses(model, PROMPT, replies, progress=False)


def found(result: search.Optimal, end: str, method: str, length: int, kind: str = "plain") -> tuple[tuple, float]:
    """The first of a ranking: ids and reward."""
    rows = result.replies
    asked = (rows["end"] == end) & (rows["method"] == method) & (rows["length"] == length) & (rows["kind"] == kind)
    row = rows[asked & (rows["place"] == 1)].iloc[0]
    return row["ids"], row["reward"]


def test_one_token_is_the_exhaustive_search(model):
    """Best, worst and their order, of all 8,192 tokens, against ``score_responses``."""
    plain = search.plain_tokens(model.tokenizer)
    result = search.optimal(model, PROMPT, plain, length=1, beam=1)
    every = score_responses(model, PROMPT, range(len(plain)), progress=False)
    np.testing.assert_array_equal(result.single, every)
    order = every.sort_values(kind="stable")
    for kind, allowed in {"any": every.index, "plain": np.flatnonzero(plain)}.items():
        rows = result.replies[(result.replies["kind"] == kind) & (result.replies["method"] == "beam")]
        ranked = order.index[np.isin(order.index, allowed)].tolist()
        assert [ids[0] for ids in rows.loc[rows["end"] == "worst", "ids"]] == ranked[:5]
        assert [ids[0] for ids in rows.loc[rows["end"] == "best", "ids"]] == ranked[::-1][:5]
    assert set(result.replies["method"]) == {"beam"} and result.scored["beam"] == len(plain)


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_a_beam_in_the_prefix_changes_no_reward(architecture):
    """Children of a beam have the rewards of the whole replies, windows and soft caps honoured."""
    model = small(4, architecture=architecture)
    start, replies = (7, 19, 300), [(token,) for token in range(40)]
    with search.tqdm(disable=True) as bar:
        ours = search.rewards(model, PROMPT, replies, start, bar=bar)
    whole = score_responses(model, PROMPT, [start + reply for reply in replies], progress=False)
    np.testing.assert_allclose(ours, whole, rtol=0, atol=2e-5 * np.abs(whole).max())


def test_a_gate_is_read_in_the_prompt_wherever_the_beam_ends(model):
    """A head that reads the prompt: the pattern's position does not move with the beam."""

    class Gated(Linear):
        pattern = (5, 5)

        def forward(self, last, gate=None):
            return super().forward(last) + 100 * super().forward(gate)

    head = Gated(model.backbone.config.hidden_size)
    gated = RewardModel(model.backbone, head.eval(), model.tokenizer, QUESTION)
    start = (9, 5, 5)  # the pattern's last match lies in the beam
    with search.tqdm(disable=True) as bar:
        ours = search.rewards(gated, PROMPT, [(3,), (8,)], start, bar=bar)
    whole = score_responses(gated, PROMPT, [(*start, 3), (*start, 8)], progress=False)
    np.testing.assert_allclose(ours, whole, rtol=1e-4)


def test_against_every_reply_of_two_tokens():
    """A beam as wide as the vocabulary is exact; a narrower one finds the optimum in most cases, and never more than
    it; a beam is at least as good as greedy growth."""
    size, hits = 24, {1: 0, 4: 0, 24: 0}
    for seed in range(6):
        model = small(seed)
        every = brute_force(model, size, 2)
        best, worst = every.idxmax(), every.idxmin()
        reached = {}
        for beam in hits:
            result = search.optimal(model, PROMPT, np.ones(size, bool), length=2, beam=beam, seed=seed)
            for end, (ids, reward) in {e: found(result, e, "beam", 2) for e in search.ENDS}.items():
                sign = search.ENDS[end]
                assert sign * reward <= sign * every[best if end == "best" else worst] + 1e-4
                assert reward == pytest.approx(every[ids], abs=1e-4)
                hits[beam] += ids == (best if end == "best" else worst)
                reached[beam, end] = sign * reward
                assert sign * reward >= sign * found(result, end, "greedy", 2)[1] - 1e-6
        assert all(reached[1, end] <= reached[4, end] + 1e-6 <= reached[24, end] + 2e-6 for end in search.ENDS)
    print(f"optimum found, of 12, by beam: {hits}")
    assert hits[24] == 12  # exact
    assert hits[1] <= hits[4] and 6 <= hits[4] < 24


def test_three_tokens_and_kinds_by_brute_force():
    """Of three tokens, a beam that holds every plain beginning: plain replies, and those whose last token is any."""
    model, size = small(3), 7
    plain = np.arange(size) < 4
    result = search.optimal(model, PROMPT, plain, length=3, beam=16)
    for length in (1, 2, 3):
        every = brute_force(model, size, length)
        starts = np.array([all(plain[list(ids[:-1])]) for ids in every.index])
        ends = np.array([plain[ids[-1]] for ids in every.index])
        for kind, allowed in {"plain": starts & ends, "any": starts}.items():
            of_kind = every[allowed].sort_values()
            assert found(result, "best", "beam", length, kind)[0] == of_kind.index[-1]
            assert found(result, "worst", "beam", length, kind)[0] == of_kind.index[0]


def test_random_replies_are_of_equal_cost_plain_and_not_better_than_the_optimum():
    model, size = small(2), 60
    plain = np.arange(size) % 2 == 0
    result = search.optimal(model, PROMPT, plain, length=2, beam=3, seed=5)
    assert result.scored == {"beam": 4 * size, "greedy": 2 * size, "random": pytest.approx(4 * size, rel=0.25)}
    rows = result.replies[result.replies["method"] == "random"]
    assert all(plain[list(ids)].all() and len(ids) == 2 for ids in rows["ids"])
    assert rows.groupby("end")["reward"].is_monotonic_increasing.to_dict() == {"best": False, "worst": True}
    again = search.optimal(model, PROMPT, plain, length=2, beam=3, seed=5)
    pd.testing.assert_frame_equal(result.replies, again.replies)
    other = search.optimal(model, PROMPT, plain, length=2, beam=3, seed=6).replies
    assert set(other.loc[other["method"] == "random", "ids"]) != set(rows["ids"])


def test_no_effect_the_beam_finds_nothing_that_is_not_there():
    """A head of zeros: every reply has the same reward, so no method is better than another."""
    model = small(1)
    torch.nn.init.zeros_(model.head.score.weight)
    replies = search.optimal(model, PROMPT, np.ones(30, bool), length=2, beam=3).replies
    assert (replies["reward"] == 0).all()


def test_rewards_that_are_no_numbers_are_in_no_ranking_and_counted():
    model = small(5)
    with torch.no_grad():
        model.backbone.get_input_embeddings().weight[3] = torch.nan
    result = search.optimal(model, PROMPT, np.ones(12, bool), length=2, beam=2)
    assert not any(3 in ids for ids in result.replies["ids"]) and np.isfinite(result.replies["reward"]).all()
    assert np.isnan(result.single[3]) and result.not_finite > 3


def test_the_estimate_is_what_is_scored_at_most(monkeypatch):
    """Counted at the engine: replies that are really scored, of beams, greedy growth and random draws."""
    counted, score = [0], engine._score
    monkeypatch.setattr(
        engine, "_score", lambda model, plan, *rest: (counted.append(len(plan.rests)), score(model, plan, *rest))[1]
    )
    for length, beam in ((1, 8), (2, 1), (2, 3), (3, 2)):
        del counted[:]
        search.optimal(small(0), PROMPT, np.ones(20, bool), length=length, beam=beam)
        most = search.cost(20, length, beam)
        assert most["extended"] + most["random"] >= sum(counted) >= most["extended"] - 2 * 20 * max(length - 2, 0)


def test_plain_tokens(tokenizers):
    tokenizer = tokenizers["llama"]
    plain = search.plain_tokens(tokenizer)
    text = dict(enumerate(tokenizer.batch_decode([[i] for i in range(len(tokenizer))])))
    assert not plain[tokenizer.all_special_ids].any() and plain.sum() > 7000
    assert {" family", "ing"} <= {text[i] for i in np.flatnonzero(plain)}
    assert not any(re.search(r"[0-9<>|\n\ufffd]", text[i]) for i in np.flatnonzero(plain))
    known = {"don't": True, " well-being": True, "größe": True, "नमस्ते": True, "  x": False, "": False, " ": False}
    known |= {"-x": False, "x1": False, "a b": False, "\ufffd": False, "<s>": False, "x\n": False, "'": False}
    assert {word: search._is_word(word) for word in known} == known


def test_typed_tells_whether_a_text_is_these_tokens(tokenizers):
    tokenizer = tokenizers["llama"]
    whole = tuple(tokenizer(" love family", add_special_tokens=False).input_ids)
    letters = tuple(tokenizer(letter, add_special_tokens=False).input_ids[0] for letter in "love")
    assert search.is_typed(tokenizer, whole) and not search.is_typed(tokenizer, letters)


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def known_groups(monkeypatch):
    monkeypatch.setattr(inputs, "read_known_groups", lambda: pd.DataFrame(columns=["word", "polarity"]))


@pytest.fixture(scope="module")
def words(folder):
    path = folder.parent / "words.csv"
    listed = ["power", "work", "win", "goal", "plan", "money", "control"]
    path.write_text("construct,word\n" + "".join(f"agency,{word}\n" for word in listed))
    return path


@pytest.fixture(scope="module")
def few_tokens():
    """A vocabulary of 60 tokens for the search: the commands below take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        whole = search.plain_tokens
        patch.setattr(search, "plain_tokens", lambda tokenizer: whole(tokenizer)[300:360])
        yield


def run(capsys, *arguments) -> tuple[int, str, str]:
    try:
        status = cli.main(["audit", *map(str, arguments)])
    except SystemExit as stopped:
        status = stopped.code
    return status, *capsys.readouterr()


def test_the_command_writes_csv_json_and_page(folder, words, tmp_path, capsys, few_tokens, monkeypatch):
    out = tmp_path / "o"
    asked = (folder, "--lexicon", words, "--format", "question", "--draws", 20, "--out", out)
    asked += ("--prompts", "best_ever_one,worst_ever_one", "--optimal", 2, "--beam", 3)
    status, printed, said = run(capsys, *asked)
    assert status == 0, said
    assert "Optimal replies: " in said and "optimal.csv" in said and "Best reply to best_ever_one, beam of 3" in printed
    stored = files.read_json(out / "profile.json")["optimal"]
    assert (stored["length"], stored["beam"], stored["vocabulary"]) == (2, 3, 60)
    assert stored["exhaustive"][1] == {"length": 2, "replies": 3600, "scored": 180, "share": 0.05}
    frame = files.read_csv(out / "optimal.csv", optimal.COLUMNS)
    assert len(frame) == len(stored["rows"]) and set(frame["method"]) == {"beam", "greedy", "random"}
    of = {m: frame[(frame["method"] == m) & (frame["kind"] == "plain")] for m in ("beam", "random")}
    best = {m: rows[rows["end"] == "best"].groupby("prompt")["reward"].max() for m, rows in of.items()}
    worst = {m: rows[rows["end"] == "worst"].groupby("prompt")["reward"].min() for m, rows in of.items()}
    ahead = (best["random"] > best["beam"]).sum() + (worst["random"] < worst["beam"]).sum()
    assert (stored["random_ahead"], stored["searches"]) == (ahead, 4)
    model = load_reward_model(folder, QUESTION, device="cpu")
    row = frame[(frame["length"] == 2) & (frame["end"] == "worst") & (frame["prompt"] == "worst_ever_one")].iloc[0]
    ids = tuple(map(int, row["token_ids"].split()))
    text = value_laden().set_index("key")["text"]["worst_ever_one"]
    assert row["reward"] == pytest.approx(score_responses(model, text, [ids], progress=False).iloc[0], abs=1e-4)
    single = score_responses(model, text, range(60), progress=False)
    assert row["rank_among_tokens"] == (single < row["reward"]).sum() + 1
    page = (out / "audit.html").read_text(encoding="utf-8")
    assert "lower bound on the best" in page and "5%" in page and 'data-source="profile:optimal.rows.' in page
    assert set(results.RESULTS) - {path.name for path in out.iterdir()} == {"card.md"}
    # a second run reads every reward from the shards, and computes the reference's replies alone
    computed, own = [], engine._Batches.score
    monkeypatch.setattr(scorers.Rewards, "seconds", lambda self: 1.0)
    monkeypatch.setattr(optimal, "_time", lambda *_: 1.0)
    monkeypatch.setattr(engine._Batches, "score", lambda *given: computed.extend(given[1]) or own(*given))
    assert run(capsys, *asked)[0] == 0 and len(computed) == 2 * reference.REPLIES
    again = files.read_json(out / "profile.json")["optimal"]
    assert again["rows"] == stored["rows"]


def test_one_prompt_a_framing_by_default_and_the_cost_first(folder, words, tmp_path, capsys, few_tokens):
    asked = (folder, "--lexicon", words, "--format", "question", "--out", tmp_path / "o", "--dry-run", "--json")
    status, printed, _ = run(capsys, *asked, "--optimal", 3, "--beam", 2)
    cost = json.loads(printed)["optimal"]
    each = sum(search.cost(60, 3, 2).values())
    assert status == 0 and cost["candidates"] == 2 * each and cost["seconds"] > 0  # one positive, one negative prompt
    assert "optimal" not in json.loads(run(capsys, *asked)[1])


BAD = {
    "more tokens than the context": (["--optimal", 600], r"--optimal 600: .*prompt .* has \d+ tokens with its reply"),
    "longer than the limit": (["--optimal", 9, "--beam", 500, "--max-minutes", 0.1], "a smaller --optimal or --beam"),
    "no tokens": (["--optimal", 0], "0 is not a positive number"),
    "a beam of nothing": (["--beam", 2], "--beam 2 belongs to --optimal"),
    "another tokenisation": (["--optimal", 2, "--tokenisation", "as_published"], "run without --tokenisation"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(folder, words, tmp_path, capsys, few_tokens, case):
    options, message = BAD[case]
    asked = (folder, "--lexicon", words, "--format", "question", "--out", tmp_path / "o")
    status, printed, said = run(capsys, *asked, "--prompts", "best_ever_one", *options)
    assert (status, printed) == (2, "") and re.search(message, said), said
    assert len([line for line in said.splitlines() if "error: " in line]) == 1
    assert not (tmp_path / "o").exists()


def test_a_language_model_has_no_optimal_replies(words, tmp_path, capsys):
    tiny.write("llama", 1, tmp_path / "lm")
    status, _, said = run(capsys, tmp_path / "lm", "--lexicon", words, "--optimal", 2, "--out", tmp_path / "o")
    assert status == 2 and "--optimal 2 is for reward models" in said
