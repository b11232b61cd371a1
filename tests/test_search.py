"""The token search against full forwards, one candidate at a time."""

import copy
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModel

from valuetrace.core.errors import InputError
from valuetrace.models import loading, tiny
from valuetrace.models.rows import MODELS
from valuetrace.scoring import candidates as conversations
from valuetrace.scoring import chat, heads, search, shared_prefix
from valuetrace.scoring.reference import Reference
from valuetrace.scoring.reward_model import RewardModel

CHAT = chat.Format("chat", space=False)
TEXT = chat.Format("text", space=True, template="Question: {prompt}\nAnswer:", closing="eos")
PROMPT = "What, in one word, is the greatest thing ever?"
SHARED = Reference("shared", "exact", 0, 0.0, 0.0, 0.0, None, ())
"""As if it were held already: the search alone runs."""
TOKENIZERS = {name: tiny.tokenizer(name) for name in tiny.ARCHITECTURES}


def make(architecture: str, form: chat.Format = CHAT, seed: int = 0, head: heads.Head | None = None) -> RewardModel:
    backbone = tiny.model(architecture, seed, cls=AutoModel)
    backbone.set_attn_implementation("eager")
    if head is None:
        head = heads.Linear(64)
        with torch.no_grad():
            head.score.weight.copy_(torch.randn(1, 64, generator=torch.Generator().manual_seed(seed)) / 8)
    return RewardModel(backbone, head, TOKENIZERS[architecture], form, architecture)


def full_forward(model: RewardModel, rows: list[list[int]], dtype: torch.dtype) -> np.ndarray:
    """The plain loop: every conversation whole, the reward at its last token."""
    backbone, head = copy.deepcopy(model.backbone).to(dtype), copy.deepcopy(model.head).to(dtype)
    with torch.inference_mode():
        hidden = [backbone(input_ids=torch.tensor([ids])).last_hidden_state[0] for ids in rows]
        pattern = model.head.pattern and list(model.head.pattern)
        gates = [
            h[conversations._last(pattern, ids)][None] if pattern else None for h, ids in zip(hidden, rows, strict=True)
        ]
        return np.array([head(h[-1:], gate).item() for h, gate in zip(hidden, gates, strict=True)])


def whole(model: RewardModel, names: list, prompt: str = PROMPT) -> list[list[int]]:
    plan = conversations.prepare(model, prompt, conversations.read_candidates(model, names), "exact")
    return [plan.prefix + rest for rest in plan.rests]


def errors(model: RewardModel, names: list, **options) -> tuple[float, float]:
    """Largest difference from float64 of the search and of the plain float32 loop."""
    rows = whole(model, names)
    exact = full_forward(model, rows, torch.float64)
    loop = full_forward(model, rows, torch.float32)
    ours = search.score_responses(model, PROMPT, names, progress=False, **options).to_numpy()
    return np.abs(ours - exact).max(), np.abs(loop - exact).max()


@pytest.mark.parametrize("form", [CHAT, TEXT], ids=["chat", "text"])
@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_equals_a_float64_full_forward(architecture, form):
    model = make(architecture, form)
    words = ["freedom", "happiness and love", "a"]
    names = [*range(30), *range(1000, 1020), *words, (5, 6, 7, 8), tuple(range(100, 115))]  # ids 0-5 are special
    ours, loop = errors(model, names)
    assert loop > 0
    assert ours <= 2 * loop
    scores = full_forward(model, whole(model, names), torch.float64)
    assert np.ptp(scores) > 1e4 * loop  # the models tell candidates apart


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_half_precision_is_as_good_as_the_loops(architecture):
    model = make(architecture)
    rows = whole(model, list(range(100, 130)))
    exact, loop = (full_forward(model, rows, dtype) for dtype in (torch.float64, torch.bfloat16))
    model.backbone.to(torch.bfloat16)
    ours = search.score_responses(model, PROMPT, range(100, 130), progress=False)
    assert np.square(ours - exact).mean() ** 0.5 <= 1.2 * np.square(loop - exact).mean() ** 0.5


def test_windows_and_caps_bite():
    """Without its windows or its cap Gemma 2 gives other rewards, so the comparison above is a test of them."""
    model, options = make("gemma2"), {"progress": False, "held": SHARED}
    right = search.score_responses(model, PROMPT, range(20), **options)
    for attribute, value in (("attn_logit_softcapping", None), ("sliding_window", None)):
        other = copy.deepcopy(model)
        for layer in other.backbone.layers:
            setattr(layer.self_attn, attribute, value)
        assert np.abs(search.score_responses(other, PROMPT, range(20), **options) - right).max() > 1e-2


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batch_size_does_not_matter(batch_size):
    model = make("gemma2")
    names = [*range(100, 150), "one two three"]
    auto = search.score_responses(model, PROMPT, names, progress=False)
    sized = search.score_responses(model, PROMPT, names, batch_size=batch_size, progress=False)
    np.testing.assert_allclose(sized, auto, rtol=0, atol=2e-6 * np.ptp(auto))
    assert auto.dtype == np.float32
    assert auto.index.tolist() == names


def test_whole_vocabulary_by_default_and_own_attention_restored():
    model = make("llama")
    scores = search.score_responses(model, PROMPT, progress=False)
    assert scores.index.tolist() == list(range(8192))
    assert model.backbone.config._attn_implementation == "eager"
    some = [17, 8191]
    np.testing.assert_allclose(scores[some], full_forward(model, whole(model, some), torch.float64), atol=1e-5)


def test_prompts_become_columns():
    model = make("qwen2")
    frame = search.score_prompts(model, {"a": "Yes?", "b": "A much longer question?"}, ["yes", (3, 4)], progress=False)
    assert frame.columns.tolist() == ["a", "b"]
    assert frame.index.tolist() == ["yes", (3, 4)]
    assert (frame.dtypes == np.float32).all()


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_as_published_equals_a_full_forward_of_the_published_ids(architecture):
    model = make(architecture)
    names = [*range(100), "freedom", "\n\nlove"]
    replies = [n if isinstance(n, str) else model.tokenizer.decode([n]) for n in names]
    rows = [chat.as_published(model.tokenizer, CHAT, PROMPT, reply) for reply in replies]
    expected = full_forward(model, rows, torch.float64)
    scores = search.score_responses(model, PROMPT, names, tokenisation="as_published", progress=False)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5 * np.ptp(expected))


def test_where_the_two_tokenisations_differ():
    gemma = make("gemma2")
    bos = gemma.tokenizer.bos_token_id
    space = gemma.tokenizer.convert_tokens_to_ids("▁the")
    bare = gemma.tokenizer.convert_tokens_to_ids("the")
    read = conversations.read_candidates(gemma, [space, bare])
    exact, published = (conversations.prepare(gemma, PROMPT, read, kind) for kind in ("exact", "as_published"))
    assert exact.prefix[:2] != [bos, bos]
    assert published.prefix[:2] == [bos, bos]  # the template writes one, the tokenizer another
    assert exact.rests[0] != exact.rests[1]
    assert published.rests[0] == published.rests[1]  # the template trims the reply: "▁the" becomes "the"
    scores = {
        kind: search.score_responses(gemma, PROMPT, [space, bare], tokenisation=kind, progress=False)
        for kind in ("exact", "as_published")
    }
    assert abs(scores["exact"][space] - scores["exact"][bare]) > 1e-4
    assert scores["as_published"][space] == pytest.approx(scores["as_published"][bare], rel=1e-6)  # rows of one batch
    assert abs(scores["exact"][bare] - scores["as_published"][bare]) > 1e-4
    qwen = make("qwen2")  # no BOS, nothing trimmed: a plain word is the same either way
    word = qwen.tokenizer.convert_tokens_to_ids("the")
    alike = [search.score_responses(qwen, PROMPT, [word], tokenisation=k, progress=False) for k in scores]
    np.testing.assert_allclose(*alike, rtol=1e-5)


def test_memory_that_runs_out_halves_the_batch(monkeypatch):
    model = make("llama")
    expected = search.score_responses(model, PROMPT, range(100), progress=False)
    run, sizes = shared_prefix.run_continuations, []

    def small_memory(backbone, prefix, ids):
        sizes.append(len(ids))
        if len(ids) > 12:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(backbone, prefix, ids)

    monkeypatch.setattr(shared_prefix, "run_continuations", small_memory)
    scores = search.score_responses(model, PROMPT, range(100), batch_size=64, progress=False, held=SHARED)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)
    assert sizes[:4] == [64, 32, 16, 8]
    assert sizes[4:].count(8) == 11
    monkeypatch.setattr(shared_prefix, "run_continuations", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(InputError, match="memory does not hold one candidate"):
        search.score_responses(model, PROMPT, range(4), progress=False, held=SHARED)


def test_shards_resume_and_stale_ones_are_not_believed(tmp_path, monkeypatch):
    model = make("llama")
    options = {"folder": tmp_path, "shard_size": 16, "progress": False, "held": SHARED}
    first = search.score_responses(model, PROMPT, range(64), **options)
    shards = sorted(tmp_path.rglob("*.shard"))
    assert len(shards) == 4
    shards[2].unlink()
    computed = []
    run = shared_prefix.run_continuations
    monkeypatch.setattr(
        shared_prefix, "run_continuations", lambda b, p, ids: computed.append(len(ids)) or run(b, p, ids)
    )
    pd.testing.assert_series_equal(search.score_responses(model, PROMPT, range(64), **options), first)
    assert computed == [16]
    for other in (
        lambda: search.score_responses(make("llama", seed=1), PROMPT, range(64), **options),
        lambda: search.score_responses(make("llama", TEXT), PROMPT, range(64), **options),
        lambda: search.score_responses(model, PROMPT + "?", range(64), **options),
        lambda: search.score_responses(model, PROMPT, range(1, 65), **options),
    ):
        computed.clear()
        assert not np.array_equal(other(), first)
        assert sum(computed) == 64


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: bytes([data[0] ^ 1]) + data[1:],  # one bit of a reward
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),  # one bit of the checksum
        lambda data: data + b"more",
        lambda data: b"\x93NUMPY" + data,
    ],
    ids=["cut", "half", "empty", "reward", "checksum", "longer", "other"],
)
def test_a_damaged_shard_is_named_and_computed_again(tmp_path, monkeypatch, capfd, damage):
    model, options = make("llama"), {"folder": tmp_path, "shard_size": 16, "progress": False, "held": SHARED}
    first = search.score_responses(model, PROMPT, range(32), **options)
    shard = sorted(tmp_path.rglob("*.shard"))[1]
    whole = shard.read_bytes()
    shard.write_bytes(damage(whole))
    computed, run = [], shared_prefix.run_continuations
    monkeypatch.setattr(
        shared_prefix, "run_continuations", lambda b, p, ids: computed.append(len(ids)) or run(b, p, ids)
    )
    capfd.readouterr()
    pd.testing.assert_series_equal(search.score_responses(model, PROMPT, range(32), **options), first)
    assert computed == [16] and shard.read_bytes() == whole
    assert capfd.readouterr().err == f"{shard}: damaged; it is computed again.\n"


def test_shards_of_other_code_are_not_believed(tmp_path, monkeypatch):
    model, options = make("llama"), {"folder": tmp_path, "shard_size": 16, "progress": False, "held": SHARED}
    first = search.score_responses(model, PROMPT, range(32), **options)
    for shard in tmp_path.rglob("*.shard"):  # whole, but of code that scored otherwise
        search._write_shard(shard, np.full(16, 7, dtype=np.float32))
    assert (search.score_responses(model, PROMPT, range(32), **options) == 7).all()
    mended = search.keys.kernel("valuetrace.scoring.search")._replace(digests={"score_prompts": "mended"})
    monkeypatch.setattr(search.keys, "kernel", lambda entry: mended)
    pd.testing.assert_series_equal(search.score_responses(model, PROMPT, range(32), **options), first)


def test_rewards_that_are_not_numbers():
    model = make("llama")
    expected = search.score_responses(model, PROMPT, range(200, 260), progress=False)
    with torch.no_grad():
        model.backbone.embed_tokens.weight[230] = torch.nan
    with pytest.raises(
        search.NotANumber, match=r"2 of 120 .* candidate 230 to prompt 'good', 230 to prompt 'best'"
    ) as caught:
        search.score_prompts(model, {"good": "Why?", "best": PROMPT}, range(200, 260), progress=False)
    scores = caught.value.scores["best"]
    assert scores.isna().sum() == 1
    np.testing.assert_allclose(scores.drop(230), expected.drop(230), rtol=0, atol=1e-5)


def test_input_errors():
    model = make("llama")

    def score(*arguments, **options):
        return search.score_responses(*arguments, progress=False, **options)

    for candidates, message in (
        ([], "no candidate"),
        (["good", ""], "candidate '' tokenizes to nothing"),
        ([(1, 2), ()], r"candidate \(\) tokenizes to nothing"),
        ([8191, 8192], "candidate 8192 lies outside the embedding's 8192 rows"),
    ):
        with pytest.raises(InputError, match=message):
            score(model, PROMPT, candidates)
    with pytest.raises(InputError, match=r"has \d+ tokens with its reply; the context 512"):
        score(model, "why " * 600, ["yes"])
    with pytest.raises(InputError, match="tokenisation 'other'"):
        score(model, PROMPT, ["yes"], tokenisation="other")
    for rows, remedy in ((8000, r"range\(8000\) for the ids"), (8200, r"range\(8200\) to score the unnamed")):
        backbone = tiny.model("llama", cls=AutoModel, vocab_size=rows)
        with pytest.raises(InputError, match=f"8192 tokens and the embedding {rows} rows.*{remedy}"):
            score(RewardModel(backbone, model.head, model.tokenizer, CHAT), PROMPT)
    broken = copy.deepcopy(model.tokenizer)
    broken.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(InputError, match=r"the chat template failed: .*roles must alternate"):
        score(RewardModel(model.backbone, model.head, broken, CHAT), PROMPT, ["yes"])
    broken.chat_template = None
    with pytest.raises(InputError, match="no chat template"):
        score(RewardModel(model.backbone, model.head, broken, CHAT), PROMPT, ["yes"])


def test_a_prompt_that_cannot_run_is_known_before_any_runs(monkeypatch):
    monkeypatch.setattr(shared_prefix, "run_prefix", lambda *_: pytest.fail("a prompt has run"))
    with pytest.raises(InputError, match="the context 512"):
        search.score_prompts(make("llama"), {"a": "Short?", "b": "long " * 600}, ["yes"], progress=False)


def test_gating_heads_read_the_prompt():
    """The gate's hidden state lies in the shared prefix, or in a candidate that ends the prefix early."""
    tokenizer = TOKENIZERS["gemma2"]
    header = chat.render(tokenizer, CHAT, PROMPT).prefix[-4:]
    head = heads.ArmoRM(64, objectives=5, width=16, depth=3, temperature=1.0)
    head.pattern = tuple(header)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(parameter.numel()))
    model = make("gemma2", head=head)
    names = [*range(20), tuple(header), (9, *header, 9)]
    rows = whole(model, names)
    expected = full_forward(model, rows, torch.float64)
    scores = search.score_responses(model, PROMPT, names, progress=False)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5 * np.ptp(expected))
    with pytest.raises(InputError, match=r"ArmoRM reads the prompt at the tokens .*candidate 3 does not hold"):
        search.score_responses(make("gemma2", TEXT, head=head), PROMPT, [3], progress=False)


def test_layers_on_other_devices():
    """accelerate's hooks move a layer's arguments to its device: keys and values must survive them."""
    from accelerate import dispatch_model

    model = make("gemma3")
    expected = search.score_responses(model, PROMPT, range(30), progress=False)
    places = dict.fromkeys(("embed_tokens", "layers.0", "layers.1", "norm", "rotary_emb"), "cpu")
    dispatch_model(model.backbone, places, main_device="cpu", force_hooks=True)
    pd.testing.assert_series_equal(search.score_responses(model, PROMPT, range(30), progress=False), expected)


RUN = """
import sys, torch
from test_search import PROMPT, make
from valuetrace.scoring import search
torch.set_num_threads(1)
scores = search.score_responses(make("gemma2"), PROMPT, range({count}), batch_size=32, shard_size=64, folder={folder!r})
if {write!r}:
    import accelerate
    scores.to_frame().to_parquet({write!r} + str(accelerate.PartialState().process_index))
"""


def script(folder: Path, count: int, shards: str | None, write: str) -> Path:
    path = folder / f"run_{Path(write).name}.py"
    path.write_text(RUN.format(count=count, folder=shards, write=write))
    return path


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_two_processes_give_the_same_bits(tmp_path, one_thread):
    write = str(tmp_path / "of2_")
    # --multi_gpu is how accelerate starts several processes of one machine; without a GPU they run on its CPU
    launch = "-m accelerate.commands.launch --multi_gpu --num_processes=2 --num_machines=1 --mixed_precision=no"
    launch += " --dynamo_backend=no --main_process_port=0"
    command = [sys.executable, *launch.split(), str(script(tmp_path, 1000, None, write))]
    subprocess.run(command, check=True, env=environment(), timeout=300)
    one = search.score_responses(make("gemma2"), PROMPT, range(1000), batch_size=32, shard_size=64, progress=False)
    for process in range(2):
        other = pd.read_parquet(f"{write}{process}")["reward"]
        assert np.array_equal(other.to_numpy().view(np.int32), one.to_numpy().view(np.int32))


@pytest.mark.slow
def test_a_killed_run_resumes(tmp_path, one_thread):
    shards = tmp_path / "shards"
    command = [sys.executable, str(script(tmp_path, 8192, str(shards), str(tmp_path / "scores")))]
    run = subprocess.Popen(command, env=environment())
    deadline = time.monotonic() + 120
    while len(list(shards.rglob("[0-9]*.shard"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    run.wait()
    kept = {path: path.stat().st_mtime_ns for path in shards.rglob("[0-9]*.shard")}
    assert 2 <= len(kept) < 128
    again = subprocess.run(command, env=environment(), check=True, stderr=subprocess.PIPE, text=True)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert re.search(r"candidate/s", again.stderr)
    resumed = pd.read_parquet(tmp_path / "scores0")["reward"]
    expected = search.score_responses(make("gemma2"), PROMPT, range(8192), batch_size=32, shard_size=64, progress=False)
    np.testing.assert_allclose(resumed, expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "gemma3-270m"])
def test_demo_bases_equal_a_float64_full_forward(name):
    folder = MODELS / name
    if not (folder / "config.json").is_file():
        pytest.skip(f"{folder} has not been made (dvc repro)")
    backbone = loading.load(folder, cls=AutoModel, device="cpu")
    head = heads.Linear(backbone.config.hidden_size)
    torch.nn.init.normal_(head.score.weight, std=0.05, generator=torch.Generator().manual_seed(0))
    form = CHAT if name.startswith("smollm2") else TEXT
    model = RewardModel(backbone, head, loading.load_tokenizer(folder), form, name)
    rng = np.random.default_rng(0)
    names = [*range(8), *rng.choice(model.rows, 40, replace=False).tolist(), "freedom", "peace of mind"]
    ours, loop = errors(model, names)
    print(f"\n{name}: largest error from float64: search {ours:.2e}, plain float32 loop {loop:.2e}")
    assert ours <= 2 * loop
