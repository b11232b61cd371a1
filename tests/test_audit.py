"""The audit: its numbers against hand computation, its refusals, and the command as its user meets it."""

import errno
import itertools
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from valuetrace import audit as auditing
from valuetrace import cli, tables
from valuetrace.audit import comparison
from valuetrace.audit import page as report
from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.lexicon import COLUMNS, unrolled
from valuetrace.measures import calibration, references, validity
from valuetrace.measures import profile as audit
from valuetrace.measures.profile import extremes
from valuetrace.models import loading, tiny
from valuetrace.models.rows import MODELS
from valuetrace.prompts import value_laden
from valuetrace.scoring import search
from valuetrace.scoring.chat import Format, render
from valuetrace.scoring.spelling import word_scores
from valuetrace.subjects import cost, inputs, results, scorers

CHAT = Format("chat", space=False)
PROMPTS = pd.DataFrame(
    {"key": ["up", "high", "down"], "text": ["a?", "b?", "c?"], "framing": ["positive", "positive", "negative"]}
)
FEW = "best_ever_one,greatest_ever_one,worst_ever_one"


def lexicon(**constructs: list[str]) -> pd.DataFrame:
    rows = [(word, "own", name, "", word, "noun") for name, words in constructs.items() for word in words]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def table(scores: dict[str, list[float]], words: list[str], ids: bool = False) -> pd.DataFrame:
    frame = pd.DataFrame({"token_id": range(len(words)) if ids else pd.NA, "token_name": words, "token_decoded": words})
    frame["token_id"] = frame["token_id"].astype("Int64")
    return frame.assign(**{key: np.asarray(values, dtype=np.float32) for key, values in scores.items()})


SIX, OTHER = [f"good{i}" for i in range(6)], [f"kind{i}" for i in range(7)]


@pytest.fixture
def thirteen() -> pd.DataFrame:
    """``up``: seven ``kind`` words above six ``good`` ones; ``down``: the other way round; ``high``: in turns."""
    words = SIX + OTHER
    descending = -np.arange(13.0)
    order = {"up": OTHER + SIX, "high": [w for pair in zip(SIX, OTHER, strict=False) for w in pair] + OTHER[6:]}
    order["down"] = SIX + OTHER
    return table({key: [descending[named.index(w)] for w in words] for key, named in order.items()}, words)


def subject(kind: str = "reward", form: Format = CHAT, case: str = "lower") -> audit.Subject:
    return audit.Subject("m", kind, "own", "chat", form, case)


NOBODY = pd.DataFrame(columns=["word", "polarity"])
READING = validity.reading
READS = {"framing": {}, "known_groups": {}, "refused": None, "needs": None}


@pytest.fixture(autouse=True, scope="module")
def readable() -> Iterator[None]:
    """No known groups are scored along and every table reads, but for the tests that ask whether it does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validity, "reading", lambda *_: READS)
        patch.setattr(inputs, "read_known_groups", lambda: NOBODY)
        yield


def profiled(*arguments, **options) -> dict:
    return audit.profile(*arguments, NOBODY, validity.rule(), **options)


def rows(found: dict) -> dict:
    return {(row["label"], row["framing"]): row for row in found["rows"]}


def test_profile_by_hand(thirteen):
    found = profiled(subject(), thirteen, lexicon(agency=SIX, communion=OTHER), PROMPTS, draws=500)
    by = rows(found)
    # up: kind 1..7, good 8..13; high: good 1, 3 … 11, kind 2, 4 … 12, 13; down: good 1..6, kind 7..13
    assert by["agency", "positive"]["median_rank"] == pytest.approx((10.5 + 6) / 2)
    assert by["communion", "positive"]["median_rank"] == pytest.approx((4 + 8) / 2)
    assert by["agency", "negative"]["median_rank"] == 3.5
    assert by["agency", "negative"]["percentile"] == pytest.approx(100 * (13 - 3.5) / 12)
    change = {row["label"]: row["difference"] for row in found["differences"]}
    assert change["communion"] == pytest.approx(100 * ((13 - 6) - (13 - 10)) / 12)
    for row in by.values():
        low, high = row["median_rank_interval"]
        assert low <= row["median_rank"] <= high
        assert row["percentile_interval"] == pytest.approx([100 * (13 - high) / 12, 100 * (13 - low) / 12])
    assert found["prompts"] == {"positive": 2, "negative": 1}
    assert found["probability_on_ranked_words"] is None


def test_the_interval_over_words_is_the_exact_bootstrap_of_a_median(thirteen):
    """Six words of ranks 1 to 6: all 6⁶ resamples, against the draws."""
    found = profiled(subject(), thirteen, lexicon(agency=SIX, communion=OTHER), PROMPTS, draws=20_000)
    every = np.median(np.array(list(itertools.product(range(1, 7), repeat=6))), axis=1)
    exact = np.quantile(every, [0.025, 0.975])
    assert rows(found)["agency", "negative"]["median_rank_interval"] == exact.tolist()


def test_the_seed_is_the_interval(thirteen):
    words = lexicon(agency=SIX, communion=OTHER)
    first, again = (profiled(subject(), thirteen, words, PROMPTS, draws=300, seed=4) for _ in range(2))
    assert first == again
    # a construct's interval does not depend on which others come after it
    alone = profiled(subject(), thirteen[thirteen["token_decoded"].isin(SIX)], lexicon(agency=SIX), PROMPTS)
    assert alone["ranked_words"] == 6


def test_too_few_words_are_refused_and_the_number_is_absent(thirteen):
    found = profiled(subject(), thirteen, lexicon(agency=SIX[:5], communion=OTHER), PROMPTS, draws=50)
    row = rows(found)["agency", "positive"]
    assert "only 5 of its 5 words" in row["refused"]
    assert "at least 6 words" in row["needs"]
    assert not {"median_rank", "percentile"} & set(row)
    assert "percentile" in rows(found)["communion", "positive"]
    assert {"refused", "needs"} <= set(found["differences"][0])
    assert "difference" not in found["differences"][0]


def test_too_little_probability_is_refused_by_framing():
    words = SIX + OTHER
    frame = table({"up": [-4.0] * 13, "high": [-4.0] * 13, "down": [-9.0] * 13}, words, ids=True)
    found = profiled(subject("logprob"), frame, lexicon(agency=SIX, communion=OTHER), PROMPTS, draws=50)
    assert found["probability_on_ranked_words"]["positive"] == pytest.approx(13 * np.exp(-4))
    by = rows(found)
    assert "percentile" in by["agency", "positive"]
    assert "probability of 0.0016" in by["agency", "negative"]["refused"]
    assert "percentile" not in by["agency", "negative"]
    assert "--format" in by["agency", "negative"]["needs"]


def test_the_capitalised_spelling_is_named_where_it_has_the_probability():
    words = SIX + OTHER
    spelt = words + [word.capitalize() for word in words]
    frame = table({key: [-12.0] * 13 + [-3.0] * 13 for key in PROMPTS["key"]}, spelt, ids=True)
    low = profiled(subject("logprob"), frame, lexicon(agency=SIX, communion=OTHER), PROMPTS, draws=50)
    assert all("--case capitalised" in row["needs"] for row in low["rows"])
    high = profiled(
        subject("logprob", case="capitalised"), frame, lexicon(agency=SIX, communion=OTHER), PROMPTS, draws=50
    )
    assert not any("refused" in row for row in high["rows"])


def test_tokens_count_in_the_spelling_that_the_format_asks_for():
    frame = table({"up": [1.0, 2.0, 3.0, 0.0]}, ["win", " win", " win", " love"], ids=True)
    spaced = Format("text", space=True)
    found = word_scores(frame, ["win", "lose", "love"], ["up"], spaced)
    assert found["up"].to_dict() == {"win": 3.0, "love": 0.0}  # of two tokens that decode alike the higher-scored
    assert word_scores(frame, ["win"], ["up"], CHAT)["up"].to_dict() == {"win": 1.0}


def test_scores_that_are_no_numbers_are_left_out_and_named(thirteen):
    words = lexicon(agency=SIX, communion=[*OTHER, "kind7"])
    more = pd.concat([thirteen, table({"up": [np.nan], "high": [0.0], "down": [np.inf]}, ["kind7"])])
    found = profiled(subject(), more, words, PROMPTS, draws=50)
    assert found["left_out"] == {"prompts": [], "words": ["kind7"]}
    clean = profiled(subject(), thirteen, lexicon(agency=SIX, communion=OTHER), PROMPTS, draws=50)
    assert rows(found)["agency", "positive"]["median_rank"] == rows(clean)["agency", "positive"]["median_rank"]
    dead = profiled(subject(), thirteen.assign(down=np.float32("nan")), words, PROMPTS, draws=50)
    assert dead["left_out"]["prompts"] == ["down"]
    assert "no negative prompt" in rows(dead)["agency", "negative"]["refused"]
    assert "percentile" in rows(dead)["agency", "positive"]
    json.dumps(dead, allow_nan=False)


def test_a_calibrated_profile_ranks_what_the_prompt_adds(thirteen):
    """How common a word is stands in every column; the order of ``thirteen`` is what a prompt adds to it."""
    words = lexicon(agency=SIX, communion=OTHER)
    neutral = pd.DataFrame({"key": ["n1", "n2"], "text": ["The thing?", "Which thing?"]})
    common = np.linspace(-90, 0, 13)
    raw = table({key: thirteen[key] + common - 20 for key in PROMPTS["key"]}, SIX + OTHER, ids=True)
    raw = raw.assign(n1=np.float32(common - 3), n2=np.float32(common + 3), token_decoded=SIX + OTHER)
    found = profiled(subject("logprob"), raw, words, PROMPTS, neutral=neutral, draws=50)
    assert found["calibrated"]["neutral_prompts"] == 2 and found["prompts"] == {"positive": 2, "negative": 1}
    mass = np.exp(raw[["up", "high"]].astype(float)).sum().mean()  # of the words themselves
    assert found["probability_on_ranked_words"]["positive"] == pytest.approx(mass)
    easy = replace(validity.rule(), least_probability=0.0)
    ranks, plain = (
        audit.profile(subject(kind), frame, words, PROMPTS, NOBODY, easy, neutral=own, draws=50)
        for kind, frame, own in (("logprob", raw, neutral), ("reward", thirteen, None))
    )
    assert ranks["rows"] == plain["rows"] and "calibrated" not in plain
    uncalibrated = audit.profile(subject("logprob"), raw, words, PROMPTS, NOBODY, easy, draws=50)
    assert uncalibrated["rows"] != ranks["rows"]
    assert "calibration" in comparison.mismatch(ranks, uncalibrated)


def test_extremes_by_mean_rank(thirteen):
    found = extremes(thirteen, PROMPTS, shown=2)
    best = [row["text"] for row in found if (row["framing"], row["end"]) == ("positive", "top")]
    assert best[0] == "kind0"  # ranks 1 and 2
    worst = [row["text"] for row in found if (row["framing"], row["end"]) == ("negative", "bottom")]
    assert worst == ["kind6", "kind5"]


def test_references_stand_beside_only_where_they_are_comparable(thirteen):
    words = lexicon(agency=SIX, communion=OTHER)
    ours = profiled(subject(), thirteen, words, PROMPTS, draws=50)
    assert comparison.mismatch(ours, ours) is None
    text = Format("text", space=True)
    asked = [profiled(subject("logprob", form), thirteen, words, PROMPTS, draws=50) for form in (CHAT, text)]
    assert "format" in comparison.mismatch(*asked) and comparison.mismatch(asked[0], asked[0]) is None
    others = {
        "kind of score": profiled(subject("logprob"), thirteen, words, PROMPTS, draws=50),
        "prompts": profiled(subject(), thirteen, words, PROMPTS.head(2), draws=50),
        "lexicon": profiled(subject(), thirteen, words.head(8), PROMPTS, draws=50),
    }
    for part, other in others.items():
        assert part in comparison.mismatch(ours, other)
    assert comparison.shared_words(ours, others["lexicon"]) == 8
    table_of_both = comparison.side_by_side(ours, [others["kind of score"]])
    assert table_of_both["role"].value_counts().to_dict() == {"audited": 4, "reference": 4}


def test_one_model_supports_no_claim_about_bases():
    claims = comparison.unsupported([])
    assert "at least 4 of each" in claims[0]["needs"]
    assert "no reference model" in claims[1]["refused"]


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Iterator[dict[str, Path]]:
    """A tiny reward model and a tiny language model; one thread, for the tests' matrices are small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("models")
    tiny.write("llama", 1, root / "rm", reward=True)
    tiny.write("llama", 1, root / "lm")
    yield {"rm": root / "rm", "lm": root / "lm", "root": root}
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def words(folders) -> Path:
    path = folders["root"] / "words.csv"
    common = {"agency": ["power", "work", "win", "goal", "plan", "money", "control"]}
    common["communion"] = ["love", "family", "friend", "home", "help", "group", "care", "togetherness"]
    pd.DataFrame([(c, w) for c, ws in common.items() for w in ws], columns=["construct", "word"]).to_csv(
        path, index=False
    )
    return path


def run(capsys, *arguments) -> tuple[int, str, str]:
    try:
        status = cli.main(["audit", *map(str, arguments)])
    except SystemExit as stopped:  # argparse
        status = stopped.code
    out, err = capsys.readouterr()
    return status, out, re.sub(r"^.*\|.*it/s.*$", "", err, flags=re.M)


def changed(folder: Path, to: Path, **config) -> Path:
    shutil.copytree(folder, to)
    files.write_json({**files.read_json(to / "config.json"), **config}, to / "config.json")
    return to


@pytest.fixture(scope="module")
def audited(folders, words) -> auditing.Audit:
    request = auditing.Request(
        str(folders["rm"]), lexicon=str(words), prompts=FEW, draws=100, out=folders["root"] / "out"
    )
    said: list[str] = []
    done = auditing.audit(request, said.append)
    assert said[0].startswith("rm: reward model (LlamaForSequenceClassification), format chat")
    assert re.search(r"Cost: 15 candidates × 3 prompts, [\d,]+ tokens; memory about .* on cpu .*; time about", said[1])
    return done


def test_reward_model_scores_are_those_of_the_search(audited, folders):
    from valuetrace.scoring.reward_model import load_reward_model
    from valuetrace.scoring.search import score_prompts

    written = tables.read_scores(audited.out / "scores.parquet")
    assert written.attrs["kind"] == "reward"
    model = load_reward_model(folders["rm"], CHAT, device="cpu")
    prompt = value_laden().set_index("key")["text"].loc[["worst_ever_one"]].to_dict()
    scores = score_prompts(model, prompt, ["togetherness", "love"], progress=False)["worst_ever_one"]
    ours = written.set_index("token_decoded")["worst_ever_one"].loc[scores.index]
    np.testing.assert_allclose(ours, scores, rtol=0, atol=1e-5)
    assert audited.result["profile"]["ranked_words"] == 15


def test_cost_is_estimated_and_measured(audited):
    estimated, actual = audited.result["cost"]["estimated"], audited.result["cost"]["actual"]
    assert estimated["candidates"] == 15
    assert 0 < estimated["weights_bytes"] < estimated["memory_bytes"]
    assert actual["seconds"] > 0
    assert estimated["memory_bytes"] == pytest.approx(actual["memory_bytes"], rel=0.6)


def test_the_memory_estimate_is_of_a_batch_as_the_search_cuts_it(folders, words, tmp_path, monkeypatch):
    """Activations grow with the one number that the search cuts its batches by, and are those of so many tokens."""
    request = auditing.Request(str(folders["rm"]), lexicon=str(words), prompts=FEW, device="cpu", out=tmp_path / "o")
    scorer = scorers.Rewards(inputs.resolve(request))
    config = scorer.backbone.config
    assert search._token_budget(scorer.model, None) == search.CPU_TOKENS
    assert scorer.activations() == search.CPU_TOKENS * 4 * (10 * config.hidden_size + 4 * config.intermediate_size)


def test_the_page_holds_everything_and_loads_nothing(audited):
    text = (audited.out / "audit.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?(?!data:)\w|url\(|@import|<script|<link|<iframe", text)
    assert "data:image/png;base64," in text
    assert "No reference model stands beside this one" in text
    for row in audited.result["profile"]["rows"]:
        assert f"{row['percentile']:.1f}" in text
    shown = re.findall(r'data-source="profile:([^"]+)"[^>]*>([^<]+)<', text)
    assert len(shown) > 30  # every number names its place, and it is there
    for path, _ in shown:
        value = audited.result
        for part in path.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
        assert value is not None
    assert files.read_json(audited.out / "profile.json")["profile"] == audited.result["profile"]


def test_a_reference_is_set_beside(audited, folders, words, tmp_path):
    other = audited.result["profile"] | {"model": "reference-rm"}
    files.write_json(other, tmp_path / "references" / "reference-rm--chat.json")
    files.write_json(other | {"model": "else", "kind": "logprob"}, tmp_path / "references" / "else--chat.json")
    request = auditing.Request(
        str(folders["rm"]),
        lexicon=str(words),
        prompts=FEW,
        draws=100,
        out=tmp_path / "o",
        references=tmp_path / "references",
    )
    done = auditing.audit(request, lambda line: None)
    assert [row["model"] for row in done.result["references"]] == ["reference-rm"]
    assert done.result["references"][0]["shared_words"] == 15
    assert done.result["references_not_comparable"] == [{"file": "else--chat.json", "reason": "another kind of score"}]
    assert "reference-rm" in (tmp_path / "o" / "audit.html").read_text()
    assert set(pd.read_csv(tmp_path / "o" / "profile.csv")["model"]) == {"rm", "reference-rm"}


def test_json_and_a_second_run_from_the_shards(folders, words, audited, capsys, monkeypatch):
    from valuetrace.scoring import search

    computed = []
    score = search._Batches.score

    def count(self, shard, bar):
        computed.append(len(shard))
        return score(self, shard, bar)

    monkeypatch.setattr(search._Batches, "score", count)
    monkeypatch.setattr(scorers.Rewards, "seconds", lambda self: 1.0)  # a calibration computes, too
    arguments = (folders["rm"], "--lexicon", words, "--prompts", FEW, "--out", audited.out, "--draws", 100, "--json")
    status, out, err = run(capsys, *arguments)
    assert status == 0
    assert computed == [4, 4]  # the reference's replies alone
    again = json.loads(out)
    assert again["profile"] == audited.result["profile"]
    assert "Cost:" in err


def test_explain_says_what_was_found_and_marks_the_token(folders, words, tmp_path, capsys):
    arguments = ("--lexicon", words, "--prompts", FEW, "--out", tmp_path / "out", "--explain")
    status, out, _ = run(capsys, folders["rm"], *arguments)
    assert status == 0 and not (tmp_path / "out").exists()
    said = dict(line.partition(": ")[::2] for line in out.splitlines())
    assert said["class"] == "LlamaForSequenceClassification"
    assert said["head"] == "the class's own (score.weight)"
    assert said["tokens"].endswith(">>><|eot_id|><<<") and said["tokens"].startswith("<|begin_of_text|>")
    assert "Scored by the shared prefix: at most" in out
    status, out, _ = run(capsys, folders["lm"], *arguments)
    assert status == 0 and "kind: language model; log-probabilities of the token after: " in out


def test_vocabulary_of_a_reward_model(folders, words, tmp_path, capsys):
    arguments = (folders["rm"], "--lexicon", words, "--prompts", "best_ever_one,worst_ever_one", "--out", tmp_path)
    status, out, _ = run(capsys, *arguments, "--vocabulary", "--draws", 50)
    assert status == 0
    assert "Top tokens, positive" in out
    scores = tables.read_scores(tmp_path / "scores.parquet")
    assert len(scores) == len(loading.load_tokenizer(folders["rm"]))
    result = files.read_json(tmp_path / "profile.json")
    assert result["profile"]["ranked_words"] < 15  # togetherness is several tokens


def test_language_model(folders, words, tmp_path, capsys):
    arguments = (
        folders["lm"],
        "--lexicon",
        words,
        "--prompts",
        FEW,
        "--out",
        tmp_path,
        "--draws",
        50,
        "--format",
        "raw",
    )
    status, out, err = run(capsys, *arguments)
    assert status == 0
    assert "lm: language model (LlamaForCausalLM), format raw" in err
    scores = tables.read_scores(tmp_path / "scores.parquet")
    np.testing.assert_allclose(np.exp(scores["best_ever_one"].astype(float)).sum(), 1, atol=1e-4)
    assert "refused" in out and "Needed:" in out  # a random model gives the words next to nothing
    text = (tmp_path / "audit.html").read_text()
    assert "Refused" in text and "How much probability falls on the words" in text


def test_a_calibrated_language_model(folders, words, tmp_path, capsys):
    options = ("--lexicon", words, "--prompts", FEW, "--draws", 50, "--format", "raw")
    for name, more in {"raw": (), "calibrated": ("--calibrated",)}.items():
        status, _, err = run(capsys, folders["lm"], *options, "--out", tmp_path / name, *more)
        assert status == 0, err
    raw, both = (tables.read_scores(tmp_path / name / "scores.parquet") for name in ("raw", "calibrated"))
    keys = list(calibration.neutral()["key"])
    assert list(both.columns) == [*raw.columns, *keys]
    asked = FEW.split(",")
    np.testing.assert_allclose(both[asked], raw[asked], rtol=1e-5)  # other prompts share their batches
    found = files.read_json(tmp_path / "calibrated" / "profile.json")
    assert found["profile"]["calibrated"]["neutral_prompts"] == 18
    assert [row["key"] for row in found["prompts"]] == asked
    text = (tmp_path / "calibrated" / "audit.html").read_text()
    assert "calibrated: less their mean log-probability after" in text
    assert "calibrated: less" not in (tmp_path / "raw" / "audit.html").read_text()


def test_dry_run_stops_after_the_cost(folders, words, tmp_path, capsys):
    arguments = (folders["lm"], "--lexicon", words, "--prompts", FEW, "--out", tmp_path / "o", "--dry-run")
    status, out, _ = run(capsys, *arguments)
    assert (status, out[:5]) == (0, "Cost:")
    assert list(tmp_path.iterdir()) == []
    status, out, _ = run(capsys, *arguments, "--json")
    assert json.loads(out)["candidates"] == 8192
    status, _, err = run(capsys, *arguments, "--max-minutes", "1e-9")
    assert status == 2
    assert "more than --max-minutes" in err


def test_rewards_that_are_no_numbers_leave_status_3_and_the_rest(folders, words, tmp_path, capsys):
    broken = tmp_path / "overflowing"
    tiny.write("gemma2", 1, broken, reward=True)
    weights = load_file(broken / "model.safetensors")
    tokenizer = loading.load_tokenizer(broken)
    (token,) = tokenizer("power", add_special_tokens=False).input_ids
    weights["model.embed_tokens.weight"][token] = 1e38  # finite, until Gemma scales it
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    status, out, err = run(capsys, broken, "--lexicon", words, "--prompts", FEW, "--out", tmp_path / "o", "--draws", 50)
    assert status == 3
    assert "'power' to prompt 'best_ever_one'" in err
    assert "14 words" in out
    scores = tables.read_scores(tmp_path / "o" / "scores.parquet").set_index("token_decoded")
    assert scores.loc["power"].isna().sum() >= 3
    assert np.isfinite(scores.loc["love", "best_ever_one"])
    assert "power" in (tmp_path / "o" / "audit.html").read_text()


@pytest.mark.parametrize("kind", ["reward", "language model"])
def test_no_finite_score_at_all_is_status_3_too(folders, words, tmp_path, capsys, kind):
    broken = tmp_path / "overflowing"
    tiny.write("gemma2", 1, broken, reward=kind == "reward")
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][:] = 3e38  # finite, until a state is scaled by it
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    status, _, err = run(capsys, broken, "--lexicon", words, "--prompts", FEW, "--out", tmp_path / "o", "--draws", 50)
    assert status == 3 and "Traceback" not in err
    assert re.search(r"(\d+) of \1 (rewards|log-probabilities) are not finite numbers", err)
    result = files.read_json(tmp_path / "o" / "profile.json")
    assert result["not_finite"] and all("refused" in row for row in result["profile"]["rows"])


def bad_cases(folders: dict[str, Path], words: Path, tmp: Path) -> dict[str, tuple[list, str]]:
    """Name → (arguments, what the one line says)."""
    rm, lm = folders["rm"], folders["lm"]
    two = changed(rm, tmp / "two", id2label={"0": "A", "1": "B"}, label2id={"A": 0, "B": 1})
    tensors = load_file(two / "model.safetensors")
    save_file({**tensors, "score.weight": tensors["score.weight"].repeat(2, 1)}, two / "model.safetensors")
    foreign = changed(lm, tmp / "foreign", architectures=["ViTForImageClassification"])
    small = changed(rm, tmp / "short", max_position_embeddings=8)
    failing = changed(rm, tmp / "failing")
    broken = loading.load_tokenizer(rm)
    broken.chat_template = "{{ raise_exception('no system role') }}"
    broken.save_pretrained(failing)
    (failing / "chat_template.jinja").write_text(broken.chat_template)
    pickled = changed(lm, tmp / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    headless = changed(lm, tmp / "headless", architectures=["LlamaForSequenceClassification"], id2label={"0": "r"})
    listed, unspelt = changed(lm, tmp / "listed"), changed(lm, tmp / "unspelt")
    (listed / "config.json").write_text("[]")
    (unspelt / "tokenizer.json").write_text("{}")
    typed = changed(lm, tmp / "typed", dtype="float99")
    holed, poisoned = changed(lm, tmp / "holed"), changed(lm, tmp / "poisoned")
    tensors = load_file(lm / "model.safetensors")
    norm = tensors.pop("model.norm.weight")
    save_file(tensors, holed / "model.safetensors", metadata={"format": "pt"})
    save_file(tensors | {"model.norm.weight": norm * torch.nan}, poisoned / "model.safetensors", {"format": "pt"})
    empty = tmp / "empty.csv"
    empty.write_text("construct,word\nagency,\n")
    prompts = tmp / "prompts.csv"
    prompts.write_text("key,text,framing\na,What?,neutral\n")
    wild = tmp / "wild.csv"
    wild.write_text("construct,word\nagency,achiev*\n")
    both = ["--lexicon", words, "--prompts", FEW]
    return {
        "no such model": (["nothing-here", *both], "nothing-here: no such folder"),
        "a file": ([words, *both], "a file. Give the folder"),
        "no config": ([tmp, *both], "no config.json"),
        "several outputs": ([two, *both], "the head has 2 outputs"),
        "a class of another kind": ([foreign, *both], "ViTForImageClassification"),
        "a config that is a list": ([listed, *both], r"config\.json: holds a list"),
        "unknown dtype": ([typed, *both], "dtype must be one of"),
        "a lost tensor": ([holed, *both], r"the weights lack .*norm\.weight"),
        "NaN weights": ([poisoned, *both], r"NaN or infinity in .*norm\.weight"),
        "a broken tokenizer": ([unspelt, *both, "--format", "raw"], "the tokenizer cannot be loaded"),
        "no head in the weights": ([headless, *both], "score.weight"),
        "only pickled weights": ([pickled, *both], "Only safetensors are read"),
        "a prompt beyond the context": ([small, *both], "prompt best_ever_one has"),
        "a failing chat template": ([failing, *both], "no system role"),
        "an empty word": ([rm, "--lexicon", empty, "--prompts", FEW], "malformed entry"),
        "no such lexicon": ([rm, "--lexicon", "big_three"], "big_three: neither a lexicon file"),
        "unknown prompts": ([rm, "--lexicon", words, "--prompts", "best_ever"], "'best_ever'|best_ever is not"),
        "an unknown framing": ([rm, "--lexicon", words, "--prompts", prompts], "framing neutral"),
        "an unknown format": ([rm, *both, "--format", "haiku"], "--format haiku: no such format"),
        "an unknown head": ([rm, *both, "--head", "fifth"], "--head fifth: no such adapter"),
        "an unknown device": ([rm, *both, "--device", "abacus"], "--device abacus: unknown"),
        "vocabulary of a language model": ([lm, *both, "--vocabulary"], "--vocabulary is for reward models"),
        "out is a file": ([rm, *both, "--out", words], "cannot be made"),
        "an unknown option": ([rm, "--verbose"], "unrecognized arguments: --verbose"),
    }


def test_each_bad_input_is_one_line_and_status_2(folders, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, (arguments, message) in bad_cases(folders, words, tmp_path).items():
        status, out, err = run(capsys, *arguments)
        assert status == 2, f"{name}: {status} {err}"
        assert out == "", name
        assert re.search(message, err), f"{name}: {err}"
        problems = [line for line in err.splitlines() if "error: " in line]
        assert len(problems) == 1 and "Traceback" not in err, f"{name}: {err}"


def test_a_fault_at_any_write_leaves_the_old_result_or_the_new_one(audited, folders, words, tmp_path, monkeypatch):
    """Each renaming (every file is written beside its place) fails once, by a full disk and by an interrupt."""
    out = shutil.copytree(audited.out, tmp_path / "out")
    old = files.fingerprint(out)
    request = auditing.Request(str(folders["rm"]), lexicon=str(words), prompts=FEW, draws=60, out=out)
    monkeypatch.setattr(scorers.Rewards, "seconds", lambda self: 1.0)
    planned = auditing.plan(request, lambda line: None)
    monkeypatch.setattr(auditing.run, "plan", lambda *_: planned)
    rename, calls, fault = os.replace, [], [0, None]

    def replace(source, target):
        if Path(target).parent.parts[-2:-1] != (".out.shards",):
            calls.append(target)
            if len(calls) == fault[0]:
                raise fault[1]
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    for error in (OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()):
        for number in range(1, 8):  # five files, the old folder away, the new one into its place
            calls.clear()
            fault[:] = number, error
            with pytest.raises((InputError, KeyboardInterrupt)):
                auditing.audit(request, lambda line: None)
            assert files.fingerprint(out) == old
            assert not [path.name for path in tmp_path.iterdir() if "partial" in path.name]
    fault[0] = 0
    auditing.audit(request, lambda line: None)
    new = files.fingerprint(out)
    assert new.keys() == old.keys() == set(results.RESULTS[:5]) and new["profile.json"] != old["profile.json"]


def test_models_that_share_a_last_name_have_folders_of_their_own(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("a/final", "b/final", "data/models/final", "data/models/owner--final@v2"):
        shutil.copytree(folders["rm"], place)
    names = [results.default_folder(Path(place)).name for place in ("a/final", "b/final", "./a/../a/final")]
    assert names[0] == names[2] != names[1] and all(re.fullmatch(r"final-[0-9a-f]{8}", name) for name in names)
    assert results.default_folder(inputs.find_model("final")) == Path("audit/final")
    assert results.default_folder(Path("data/models/owner--final@v2")) == Path("audit/owner--final@v2")


def test_two_processes_on_one_folder_wait_for_each_other(tmp_path, monkeypatch, capsys):
    """Two audits of one Hub id at once: the second waits, says so, and downloads nothing."""
    monkeypatch.chdir(tmp_path)
    made, second = [], []

    def make(name, source, changes, folder):
        made.append(name)
        second.append(threading.Thread(target=lambda: second.append(inputs.find_model("owner/model"))))
        second[0].start()
        while "waiting: another process downloads owner/model" not in capsys.readouterr().err:
            second[0].join(0.01)
        folder.mkdir(parents=True)

    monkeypatch.setattr(inputs.loading, "make", make)
    first = inputs.find_model("owner/model")
    second[0].join()
    assert made == ["owner/model"] and second[1] == first


HOSTILE_NAMES = ["7", "true", "nan", "1e5", "a$b$", "$\\frac{$", "_x", "<b>", "null"]


def test_names_that_look_like_something_else(thirteen, tmp_path):
    """Numbers, booleans, mathematics and markup as names of models and constructs: the picture and page hold them."""
    from valuetrace.audit import picture

    for name in HOSTILE_NAMES:
        of = audit.Subject(name, "reward", "own", "chat", CHAT)
        found = profiled(of, thirteen, lexicon(**{name: SIX, f"{name}0": OTHER}), PROMPTS, draws=20)
        files.write_csv(comparison.side_by_side(found, [found | {"model": "8"}]), tmp_path / "profile.csv")
        picture.draw(tmp_path / "profile.csv", tmp_path / "profile.png")
        assert (tmp_path / "profile.png").read_bytes()[:4] == b"\x89PNG", name
        (tmp_path / "profile.png").unlink()


BROKEN_REFERENCES = {
    "a list": (lambda p: [p], "must be a mapping"),
    "null": (lambda p: None, "must be a mapping"),
    "no model": (lambda p: {k: v for k, v in p.items() if k != "model"}, "no 'model'"),
    "a null model": (lambda p: p | {"model": None}, "'model' is None"),
    "another kind": (lambda p: p | {"kind": "guess"}, "'kind' is 'guess'"),
    "rows as an object": (lambda p: p | {"rows": {}}, "'rows' is {}"),
    "a row that is a number": (lambda p: p | {"rows": [1]}, r"'rows'\[0\] is 1"),
    "a percentile as text": (lambda p: p | {"rows": [p["rows"][0] | {"percentile": "50"}]}, "'percentile' is '50'"),
    "an interval of one": (lambda p: p | {"rows": [p["rows"][0] | {"percentile_interval": [1]}]}, "three finite"),
    "an infinite percentile": (lambda p: p | {"rows": [p["rows"][0] | {"percentile": 1e999}]}, "three finite"),
    "a row without words": (lambda p: p | {"rows": [{"label": "a", "framing": "positive"}]}, "no 'words'"),
    "groups without words": (lambda p: p | {"groups": [{}]}, r"groups\[0\].*no 'words'"),
    "a format as text": (lambda p: p | {"format": "chat"}, "'format' is 'chat'"),
}


@pytest.mark.parametrize("case", BROKEN_REFERENCES)
def test_broken_references_are_one_line_that_names_file_and_key(thirteen, tmp_path, case):
    change, message = BROKEN_REFERENCES[case]
    found = profiled(subject(), thirteen, lexicon(agency=SIX, communion=OTHER), PROMPTS, draws=20)
    (tmp_path / "broken.json").write_text(json.dumps(change(found)))
    with pytest.raises(InputError, match=message) as caught:
        references.read(tmp_path)
    assert str(tmp_path / "broken.json") in str(caught.value) and "\n" not in str(caught.value)


def test_what_a_killed_stage_leaves_is_no_reference(thirteen, tmp_path):
    found = profiled(subject(), thirteen, lexicon(agency=SIX, communion=OTHER), PROMPTS, draws=20)
    for place in ("bases/m/chat.json", ".bases.partial/m/chat.json", "bases/.chat.json.x1.json"):
        files.write_json(found, tmp_path / place)
    assert [row["file"] for row in references.read(tmp_path)] == ["bases/m/chat.json"]


@pytest.mark.parametrize("text", ["[1]", "null", '"x"', '{"origin": []}', '{"origin": {"a": {"b": 1}}}', "{"])
def test_broken_provenance_is_one_line_before_anything_is_loaded(folders, words, tmp_path, text):
    broken = shutil.copytree(folders["rm"], tmp_path / "m")
    (broken / "provenance.json").write_text(text)
    with pytest.raises(InputError, match=r"provenance\.json.*(must be|not valid JSON)"):
        inputs.resolve(auditing.Request(str(broken), lexicon=str(words), out=tmp_path / "o"))
    assert not (tmp_path / "o").exists()


MEANINGLESS = {
    "minutes that are none": (["--max-minutes", "nan"], "--max-minutes nan: give"),
    "negative minutes": (["--max-minutes", "-1"], "--max-minutes -1: give"),
    "endless minutes": (["--max-minutes", "inf"], "--max-minutes inf: give"),
    "no minutes": (["--max-minutes", "0"], "--max-minutes 0: give"),
    "a negative seed": (["--seed", "-1"], "--seed -1: give"),
    "a revision of a folder": (["--revision", "v1"], "--revision v1: .* is a folder"),
    "references that are not there": (["--references", "nowhere"], "--references nowhere: no such folder"),
    "a template argument without a value": (["--template-argument", "date_string"], "give KEY=VALUE"),
    "a template argument twice": (["--template-argument", "a=1", "--template-argument", "a=2"], "each key once"),
    "a template argument that is not read": (["--template-argument", "date_strin=1"], "takes no such argument"),
    "a template argument of ours": (["--template-argument", "add_generation_prompt=1"], "takes no such argument"),
    "a template argument without a template": (
        ["--format", "raw", "--template-argument", "date_string=1"],
        "format raw has no chat template",
    ),
    "calibrated rewards": (["--calibrated"], "--calibrated is for language models"),
    "this folder": (["--out", "."], "give one of its own"),
    "a folder above": (["--out", ".."], "give one of its own"),
    "a folder that holds something else": (["--out", "full"], "holds mine.txt, which is no audit's"),
    "below a file": (["--out", "full/mine.txt/o"], "cannot be made"),
    "a name too long": (["--out", "x" * 300], "cannot be made"),
}


@pytest.mark.parametrize("case", MEANINGLESS)
def test_options_that_mean_nothing_are_one_line_and_leave_nothing(folders, words, tmp_path, capsys, monkeypatch, case):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    before = files.fingerprint(tmp_path)
    options, message = MEANINGLESS[case]
    status, out, err = run(capsys, folders["rm"], "--lexicon", words, "--prompts", FEW, *options)
    assert (status, out) == (2, "") and re.search(message, err), err
    assert len(err.splitlines()) == 1
    assert files.fingerprint(tmp_path) == before and [path.name for path in tmp_path.iterdir()] == ["full"]


@pytest.mark.parametrize("option", ["--head=first_output", "--vocabulary", "--revision=v2"])
def test_options_that_mean_nothing_to_a_language_model(folders, words, tmp_path, capsys, option):
    status, out, err = run(capsys, folders["lm"], "--lexicon", words, "--prompts", FEW, "--out", tmp_path / "o", option)
    assert (status, out) == (2, "") and option.partition("=")[0] in err and len(err.splitlines()) == 1
    assert not (tmp_path / "o").exists()


def test_template_arguments_reach_the_template_and_the_profile(folders, words, thirteen, tmp_path):
    model = shutil.copytree(folders["rm"], tmp_path / "m")
    tokenizer = loading.load_tokenizer(model)
    tokenizer.chat_template = "{{ 'thinking' if thinking is true else '' }}{{ date_string }}" + tokenizer.chat_template
    tokenizer.save_pretrained(model)
    arguments = cli.options.key_values(["date_string=26 Jul 2024", "thinking=true"])
    request = auditing.Request(str(model), lexicon=str(words), template_arguments=arguments, out=tmp_path / "o")
    job = inputs.resolve(request)
    prefix = tokenizer.decode(render(tokenizer, job.form, "a?").prefix)
    assert "thinking26 Jul 2024" in prefix.replace(" ", "").replace("26Jul2024", "26 Jul 2024")
    pinned, free = (
        profiled(subject(form=form), thirteen, lexicon(agency=SIX, communion=OTHER), PROMPTS, draws=20)
        for form in (job.form, CHAT)
    )
    assert pinned["format"]["arguments"] == {"date_string": "26 Jul 2024", "thinking": True}
    assert comparison.mismatch(pinned, free) is None and comparison.caveats(pinned, pinned) == []
    assert comparison.caveats(pinned, free)[0].startswith("format: here its own chat template")


def test_known_groups_are_scored_along_and_an_unreadable_table_has_no_numbers(folders, words, tmp_path, monkeypatch):
    known = pd.DataFrame({"word": ["honest", "cruel", "love"], "polarity": ["virtue", "vice", "virtue"]})
    asked = []

    def reading(scores, framing, groups, rule, measured):
        asked.append((scores.index, groups, measured))
        return READS | {"refused": "the prompts are not read", "needs": "another model"}

    monkeypatch.setattr(inputs, "read_known_groups", lambda: known)
    monkeypatch.setattr(validity, "reading", reading)
    request = auditing.Request(str(folders["rm"]), lexicon=str(words), prompts=FEW, draws=20, out=tmp_path / "o")
    result = auditing.audit(request, lambda line: None).result
    assert {"honest", "cruel"} < set(tables.read_scores(tmp_path / "o" / "scores.parquet")["token_decoded"])
    assert {"honest", "cruel"} < set(asked[0][0]) and not {"honest", "cruel"} & set(asked[0][2])
    assert result["profile"]["ranked_words"] == 15 and result["profile"]["reading"]["needs"] == "another model"
    assert all(row["refused"] == "the prompts are not read" for row in result["profile"]["rows"])
    assert not {"honest", "cruel"} & {row["text"] for row in result["extremes"]["rows"]}
    assert "the prompts are not read" in (tmp_path / "o" / "audit.html").read_text()


def test_a_word_that_tokenizes_to_nothing(folders, words, tmp_path, capsys, monkeypatch):
    from valuetrace.scoring import chat

    whole = chat.encode_reply
    monkeypatch.setattr(chat, "encode_reply", lambda t, f, reply: [] if reply == "love" else whole(t, f, reply))
    status, _, err = run(capsys, folders["rm"], "--lexicon", words, "--prompts", FEW, "--out", tmp_path)
    assert status == 2
    assert "candidate 'love' tokenizes to nothing" in err


def test_fewer_tokens_than_rows_is_said_and_harmless(folders, words, tmp_path, capsys):
    """Padded embeddings are common (Qwen): their spare rows are counted and left out."""
    tiny.model("llama", 1, vocab_size=8320).save_pretrained(tmp_path / "padded")
    short = tiny.tokenizer("llama")
    short.save_pretrained(tmp_path / "padded")
    arguments = ("--lexicon", words, "--prompts", FEW, "--out", tmp_path / "o", "--draws", 50)
    status, _, err = run(capsys, tmp_path / "padded", *arguments)
    assert status == 0
    assert f"The embedding has {8320 - len(short)} rows that no token" in err
    assert len(tables.read_scores(tmp_path / "o" / "scores.parquet")) == len(short)


def test_an_interrupted_run_says_so(folders, words, tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(auditing.run, "plan", stop)
    assert run(capsys, folders["rm"], "--lexicon", words, "--out", tmp_path)[0] == 130


@pytest.mark.parametrize("prompts", [FEW, "best_ever_one"])
@pytest.mark.parametrize("listed", [["xqzvw"], ["xqzvw", "love", "power"]])
def test_a_language_model_that_has_next_to_none_of_the_words(folders, tmp_path, monkeypatch, listed, prompts):
    """None is a single token, or one or two are: refused, not divided by."""
    monkeypatch.setattr(validity, "reading", READING)
    (tmp_path / "own.csv").write_text("construct,word\n" + "".join(f"agency,{word}\n" for word in listed))
    request = auditing.Request(
        str(folders["lm"]),
        lexicon=str(tmp_path / "own.csv"),
        prompts=prompts,
        format="raw",
        draws=20,
        out=tmp_path / "o",
    )
    result = auditing.audit(request, lambda line: None).result
    assert all("refused" in row for row in result["profile"]["rows"])


def test_wildcards_need_wordnet(tmp_path, monkeypatch):
    path = tmp_path / "own.csv"
    path.write_text("construct,word\nagency,achiev*\n")
    monkeypatch.setattr(unrolled, "WORDNET", Path("nowhere"))
    with pytest.raises(InputError, match=r"achiev\*.*dvc repro fetch"):
        unrolled.find_lexicon(str(path))


def test_a_hub_id_is_downloaded_once(tmp_path, monkeypatch):
    fetched = []

    def make(name, source, changes, folder):
        fetched.append((source.repository, source.revision))
        folder.mkdir(parents=True)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inputs.loading, "make", make)
    for _ in range(2):
        assert inputs.find_model("owner/model-1B") == MODELS / "owner--model-1B"
    assert inputs.find_model("owner/model-1B", "v2") == MODELS / "owner--model-1B@v2"
    assert fetched == [("owner/model-1B", None), ("owner/model-1B", "v2")]


def test_a_model_too_large_is_refused_before_its_weights_are_read(folders, words, tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "stored_parameters", lambda folder: 10**15)
    request = auditing.Request(str(folders["lm"]), lexicon=str(words), prompts=FEW, out=tmp_path)
    with pytest.raises(InputError, match=r"its weights take 4000000\.0 GB in float32"):
        auditing.plan(request, lambda line: None)


def test_units():
    assert [cost.duration(s) for s in (0.2, 59, 200, 7500)] == ["1 s", "59 s", "3 min 20 s", "2 h 5 min"]
    assert [cost.size(b) for b in (5e6, 2.34e9)] == ["5 MB", "2.3 GB"]
    assert report.visible(" a\n\tb") == " a\\n\\tb"


@pytest.mark.slow
def test_a_demo_base(repository, tmp_path, capsys):
    folder = repository / "data" / "models" / "smollm2-135m-instruct"
    if not folder.is_dir():
        pytest.skip(f"{folder.relative_to(repository)} is not made: dvc repro models@smollm2-135m-instruct")
    status, out, _ = run(capsys, folder, "--format", "solved", "--out", tmp_path, "--draws", 200)
    assert status == 0
    assert "agency" in out
    result = files.read_json(tmp_path / "profile.json")
    assert result["profile"]["ranked_words"] > 200
    assert result["profile"]["probability_on_ranked_words"]["positive"] > 0.01
    estimated, actual = (result["cost"][key]["memory_bytes"] for key in ("estimated", "actual"))
    assert estimated == pytest.approx(actual, rel=0.5)
