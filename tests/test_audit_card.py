"""What an audit hands on: the card, several models side by side, an adapter, and a run without a network."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from test_audit import FEW, NOBODY, changed, run

from valuetrace import audit as auditing
from valuetrace import tables
from valuetrace.audit import card, compare
from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.measures import validity
from valuetrace.models import loading, tiny
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format
from valuetrace.scoring.search import score_responses
from valuetrace.subjects import inputs, results, scorers
from valuetrace.training import checkpoint

READS = {"framing": {}, "known_groups": {}, "refused": None, "needs": None}


@pytest.fixture(autouse=True)
def readable(monkeypatch):
    monkeypatch.setattr(validity, "reading", lambda *_: READS)
    monkeypatch.setattr(inputs, "read_known_groups", lambda: NOBODY)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two tiny reward models, a language model and a lexicon: agency has eight words, communion too few."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("rm", "other")):
        tiny.write("llama", seed, root / name, reward=True)
    tiny.write("llama", 1, root / "lm")
    listed = {"agency": ["power", "work", "win", "goal", "plan", "money", "control"], "communion": ["love", "family"]}
    rows = [(construct, word) for construct, words in listed.items() for word in words]
    pd.DataFrame(rows, columns=["construct", "word"]).to_csv(root / "words.csv", index=False)
    yield root
    torch.set_num_threads(threads)


def asked(root: Path, *more) -> tuple:
    return ("--lexicon", root / "words.csv", "--prompts", FEW, "--draws", 50, *more)


# --- the card -----------------------------------------------------------------------------------------------------

README = """---
license: apache-2.0
tags:
- reward-model
custom: {a: 1}
model-index:
- name: Theirs
  results:
  - task: {type: text-classification}
    dataset: {name: RewardBench, type: allenai/reward-bench, split: test}
    metrics:
    - {type: accuracy, value: 0.75}
---

# Theirs

Text with a | bar.
"""


@pytest.fixture(scope="module")
def stored(root) -> dict:
    """profile.json of an audit, once for all cards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validity, "reading", lambda *_: READS)
        patch.setattr(inputs, "read_known_groups", lambda: NOBODY)
        request = auditing.Request(
            str(root / "rm"), str(root / "words.csv"), FEW, draws=50, out=root / "stored", card=True
        )
        done = auditing.audit(request, lambda line: None)
    assert (done.out / "card.md").is_file()
    return done.result


def read(root: Path, folder: Path) -> ModelCard:
    return card.read(inputs.resolve(auditing.Request(str(folder), str(root / "words.csv"), FEW, out=root / "nowhere")))


def written(found: ModelCard, result: dict, to: Path) -> str:
    to.mkdir(exist_ok=True)
    card.write(found, result, to)
    return (to / "card.md").read_text(encoding="utf-8")


def test_supported_numbers_and_no_others_are_in_the_model_index(stored, root):
    text = (root / "stored" / "card.md").read_text(encoding="utf-8")
    found = ModelCard(text)
    supported = {(r["label"], r["framing"]): r for r in stored["profile"]["rows"] if "refused" not in r}
    assert {label for label, _ in supported} == {"agency"} and len(supported) == 2
    entries = {(e.metric_args["construct"], e.dataset_split): e for e in found.data.eval_results}
    assert entries.keys() == supported.keys()
    for key, entry in entries.items():
        row = supported[key]
        assert entry.metric_value == round(row["percentile"], 1) and entry.metric_args["words"] == row["words"] == 7
        assert entry.metric_args["interval"] == [round(end, 1) for end in row["percentile_interval"]]
        assert (entry.task_type, entry.dataset_type, entry.dataset_config) == (
            "text-classification",
            "valuetrace",
            "words",
        )
    assert found.data.model_name == "rm"
    assert "Refused (communion, positive; communion, negative): only 2 of its 2 words" in text
    assert str(root) not in text  # no path of this machine


def test_the_round_trip_through_hugging_face_s_classes_is_the_identity(stored, root):
    text = (root / "stored" / "card.md").read_text(encoding="utf-8")
    found = ModelCard(text)
    assert str(found) == text
    assert found.data.eval_results == card.evaluations(stored["profile"])


def test_a_readme_is_kept_and_ours_is_replaced(stored, root, tmp_path):
    model = shutil.copytree(root / "rm", tmp_path / "m")
    (model / "README.md").write_text(README, encoding="utf-8")
    once = written(read(root, model), stored, tmp_path / "o")
    first = ModelCard(once)
    assert "Text with a | bar." in once and first.data.license == "apache-2.0" and first.data.custom == {"a": 1}
    assert first.data.model_name == "Theirs" and first.data.tags == ["reward-model"]
    theirs, *ours = first.data.eval_results
    assert (theirs.dataset_type, theirs.metric_value, len(ours)) == ("allenai/reward-bench", 0.75, 2)
    # the card in the README's place, and an audit again: nothing is added twice
    (model / "README.md").write_text(once, encoding="utf-8")
    assert written(read(root, model), stored, tmp_path / "o") == once
    # of an audit in which nothing is supported, our entries and numbers go, theirs stay
    refused = json.loads(json.dumps(stored))
    for row in refused["profile"]["rows"]:
        row.update(refused="it does not read the prompts", needs="another model")
        row.pop("percentile", None)
    last = ModelCard(written(read(root, model), refused, tmp_path / "o"))
    assert [entry.dataset_type for entry in last.data.eval_results] == ["allenai/reward-bench"]
    assert last.text.count(card.BEGIN) == last.text.count(card.END) == 1 and "it does not read" in last.text


def test_text_behind_the_markers_is_kept(stored, root, tmp_path):
    model = shutil.copytree(root / "rm", tmp_path / "m")
    text = f"# T\n\nbefore\n\n{card.BEGIN}\nan earlier text\n{card.END}\n\nafter\n"  # and no metadata at all
    (model / "README.md").write_text(text, encoding="utf-8")
    found = written(read(root, model), stored, tmp_path / "o")
    assert (
        re.search(r"before\n\n<!--.*## Value profile.*-->\n\nafter\n$", found, flags=re.S)
        and "an earlier text" not in found
    )


BROKEN_CARDS = {
    "metadata that are no YAML": "---\na: [\n---\n",
    "metadata that are a list": "---\n- a\n---\n",
    "a model index without a data set": "---\nmodel-index:\n- name: a\n  results:\n  - task: {type: x}\n---\n",
    "one marker": f"---\na: 1\n---\n{card.BEGIN}\n",
    "markers in the wrong order": f"---\na: 1\n---\n{card.END}\n{card.BEGIN}\n",
    "bytes that are no text": b"---\na: \xff\xfe\n---\n",
}


@pytest.mark.parametrize("case", BROKEN_CARDS)
def test_a_readme_that_is_no_card_is_one_line_before_anything_runs(root, tmp_path, capsys, monkeypatch, case):
    model = shutil.copytree(root / "rm", tmp_path / "m")
    content = BROKEN_CARDS[case]
    (model / "README.md").write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setattr(scorers, "load_reward_model", None)  # nothing is loaded
    status, out, err = run(capsys, model, *asked(root, "--card", "--out", tmp_path / "o"))
    assert (status, out) == (2, "") and str(model / "README.md") in err
    assert len([line for line in err.splitlines() if "error: " in line]) == 1 and not (tmp_path / "o").exists()


# --- several models -----------------------------------------------------------------------------------------------


def test_several_models_and_a_bad_one(root, tmp_path, capsys, monkeypatch):
    """Each in its own folder; reward models beside each other, the language model apart, the bad ones named."""
    monkeypatch.chdir(tmp_path)
    broken = changed(root / "rm", tmp_path / "two")
    tensors = load_file(broken / "model.safetensors")
    save_file({**tensors, "score.weight": tensors["score.weight"].repeat(2, 1)}, broken / "model.safetensors")
    given = [root / "rm", "nothing-here", root / "lm", broken, root / "other"]
    status, out, err = run(capsys, *given, *asked(root))
    assert status == 2
    assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 2
    assert "Not audited (nothing-here): nothing-here: no such folder" in out and "the head has 2 outputs" in out
    found = files.read_json("audit/compare/compare.json")
    assert [[model["model"] for model in group["models"]] for group in found["groups"]] == [["rm", "other"], ["lm"]]
    assert found["groups"][0]["apart"] is None and "kind of score" in found["groups"][1]["apart"]
    assert found["groups"][0]["common_words"] == 9
    assert [row["model"] for row in found["failed"]] == ["nothing-here", str(broken)]
    for group in found["groups"]:
        for model in group["models"]:
            own = files.read_json(Path(model["audit"], "profile.json"))
            assert own["profile"]["rows"] == model["rows"]
    frame = files.read_csv("audit/compare/compare.csv", compare.COLUMNS)
    assert frame.groupby("model", sort=False).size().to_dict() == {"rm": 4, "other": 4, "lm": 4}
    assert frame.loc[frame["construct"] == "communion", "refused"].str.contains("only").all()
    page = Path("audit/compare/compare.html").read_text(encoding="utf-8")
    assert not re.search(r"src\s*=\s*[\"']?(?!data:)\w|url\(|@import|<script|<link|<iframe", page)
    links = re.findall(r'href="([^"]+)"', page)
    assert len(links) == 3 and all(Path("audit/compare", link).is_file() for link in links)
    places = re.findall(r'data-source="compare:([^"]+)"', page)
    assert len(places) > 6 and "Not audited" in page and "Refused" in page
    assert {path.name for path in Path("audit/compare").iterdir()} == set(compare.RESULTS)


def test_one_model_alone_is_audited_as_ever_and_compared_with_nothing(root, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, root / "rm", *asked(root, "--out", "o"))
    assert status == 0 and "percentile: 100 = best" in out and not Path("audit").exists()
    assert {path.name for path in Path("o").iterdir()} == set(results.RESULTS) - {"optimal.csv", "card.md"}
    status, out, err = run(capsys, root / "rm", "nothing-here", *asked(root, "--out", "c"))
    assert (status, out) == (2, "") and "Nothing to compare: 1 of 2 models" in err and not Path("c").exists()


def test_a_dry_run_of_several(root, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = (root / "rm", root / "lm", *asked(root, "--dry-run", "--json"))
    status, out, _ = run(capsys, *given)
    assert status == 0 and {name: cost["prompts"] for name, cost in json.loads(out).items()} == {
        str(root / "rm"): 3,
        str(root / "lm"): 3,
    }
    assert list(tmp_path.iterdir()) == []
    assert run(capsys, root / "rm", "nothing-here", *asked(root, "--dry-run"))[0] == 2


def test_models_of_one_name_keep_apart_and_a_model_twice_is_refused(root, stored, tmp_path, capsys):
    found = compare.compare({"a/final": (stored, tmp_path / "a"), "b/final": (stored, tmp_path / "b")}, {})
    assert [model["model"] for model in found["groups"][0]["models"]] == ["a/final", "b/final"]
    assert compare.table(found)["model"].nunique() == 2
    status, _, err = run(capsys, root / "rm", root / "lm", root / "rm", *asked(root))
    assert status == 2 and "given twice" in err and len(err.splitlines()) == 1


def test_the_comparison_s_folder_is_its_own(root, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("full").mkdir()
    Path("full", "mine.txt").write_text("mine")
    status, _, err = run(capsys, root / "rm", root / "lm", *asked(root, "--out", "full"))
    assert status == 2 and "holds mine.txt, which is no comparison's" in err and len(err.splitlines()) == 1


# --- an adapter ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def adapter(root) -> Path:
    """An untrained adapter of ours, with a head, on the tiny language model."""
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from safetensors.torch import save_file

    from valuetrace.training.model import draw_head, load_base

    base = load_base(root / "lm", head="linear", dtype="float32")
    torch.manual_seed(0)
    draw_head(base.score, 1.0)
    config = LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["q_proj"], modules_to_save=["score"])
    config.init_lora_weights = False
    model = get_peft_model(base, config)
    folder = root / "adapter"
    folder.mkdir()
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "adapter_model.safetensors")
    files.write_json(
        checkpoint._json(model.peft_config["default"].to_dict()), folder / "adapter_config.json", exact=True
    )
    made = {"base": checkpoint.base_identity(root / "lm"), "config_hash": "x", "step": 3}
    form = {"kind": "text", "space": True, "template": "Q: {prompt}\nA:", "closing": "eos", "arguments": {}}
    made["training"] = {"head": "linear", "format": form}
    names = ("adapter_model.safetensors", "adapter_config.json")
    made["sha256"] = {name: files.sha256(folder / name) for name in names}
    files.write_json(made, folder / "provenance.json", exact=True)
    return folder


def test_an_adapter_is_audited_on_its_base_in_its_own_format(root, adapter, tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "find_model", lambda name, *_, **__: root / "lm" if name == "lm" else Path(name))
    request = auditing.Request(str(adapter), str(root / "words.csv"), FEW, draws=50, out=tmp_path / "o")
    done = auditing.audit(request, lambda line: None)
    assert done.result["model"]["name"] == "lm/step-3" and done.result["model"]["kind"] == "reward"
    assert done.result["profile"]["format"]["name"] == "trained"
    assert done.result["model"]["origin"]["origin"]["base"] == "lm"
    model = checkpoint.load_trained(root / "lm", adapter, device="cpu")
    text = value_laden().set_index("key")["text"]["worst_ever_one"]
    scores = score_responses(model, text, ["love", "power"], progress=False)
    ours = tables.read_scores(tmp_path / "o" / "scores.parquet").set_index("token_decoded")["worst_ever_one"]
    np.testing.assert_allclose(ours.loc[scores.index], scores, atol=1e-4)
    raw = inputs.resolve(auditing.Request(str(adapter), str(root / "words.csv"), FEW, format="raw", out=tmp_path / "p"))
    assert (raw.format, raw.form) == ("raw", Format("text", space=True))


def test_an_adapter_with_a_head_of_others(root, adapter, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(inputs, "find_model", lambda name, *_, **__: root / "lm" if name == "lm" else Path(name))
    status, _, err = run(capsys, adapter, *asked(root, "--head", "first_output", "--out", tmp_path / "o"))
    assert status == 2 and "an adapter brings its own head" in err


# --- without a network, and other devices -------------------------------------------------------------------------


def test_offline_opens_no_socket(root, tmp_path, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: opened.append(address))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, "owner/model-1B", *asked(root, "--offline"))
    assert status == 2 and "--offline downloads nothing" in err and len(err.splitlines()) == 1
    assert run(capsys, root / "rm", *asked(root, "--offline", "--card"))[0] == 0
    assert os.environ["HF_HUB_OFFLINE"] == "1" and opened == []
    shutil.copytree(root / "rm", "data/models/owner--model-1B")
    assert inputs.find_model("owner/model-1B", offline=True) == Path("data/models/owner--model-1B")


@pytest.mark.slow
def test_offline_is_set_before_the_hub_s_client_reads_it(root, tmp_path):
    """In a process of its own, whose sockets end it."""
    code = (
        "import socket, sys\n"
        "def connect(self, address): sys.exit(f'connected to {address}')\n"
        "socket.socket.connect = connect\n"
        "from valuetrace import cli\n"
        f"status = cli.main(['audit', {str(root / 'rm')!r}, '--offline', '--dry-run', '--prompts', 'best_ever_one',\n"
        f"                   '--lexicon', {str(root / 'words.csv')!r}])\n"
        "from huggingface_hub import constants\n"
        "sys.exit(0 if status == 0 and constants.HF_HUB_OFFLINE else 'not offline')\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_device_that_is_not_there(monkeypatch):
    assert inputs.find_device(None) == loading.best_device() and inputs.find_device("auto") is None
    monkeypatch.setattr(loading, "best_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert inputs.find_device("cuda:1") == torch.device("cuda:1")
    assert inputs.find_device("cuda") == torch.device("cuda")
    with pytest.raises(InputError, match=r"--device cuda:99: no such device; available: cpu, cuda:0, cuda:1\.$"):
        inputs.find_device("cuda:99")
    with pytest.raises(InputError, match=r"--device cpu:7: no such device; available: cpu, cuda:0, cuda:1\.$"):
        inputs.find_device("cpu:7")
    monkeypatch.setattr(loading, "best_device", lambda: torch.device("cpu"))
    with pytest.raises(InputError, match=r"--device cuda:0: no such device; available: cpu\.$"):
        inputs.find_device("cuda:0")


@pytest.mark.slow
def test_a_published_adapter(repository, tmp_path):
    """The merged adapter's scores are those of the pipeline's last checkpoint, but for the float16 it is stored in."""
    folder = repository / "checkpoints" / "smollm2-135m-instruct"
    table = repository / "data" / "checkpoint_scores" / "smollm2-135m-instruct.parquet"
    if not ((repository / "data/models/smollm2-135m-instruct").is_dir() and folder.is_dir() and table.is_file()):
        pytest.skip("the demo's base, adapter or scores are not made: dvc repro")
    request = auditing.Request(str(folder), prompts="greatest_ever_one", draws=20, out=tmp_path / "o")
    done = auditing.audit(request, lambda line: None)
    ours = tables.read_scores(done.out / "scores.parquet").set_index("token_decoded")["greatest_ever_one"]
    theirs = pd.read_parquet(table)
    theirs = theirs[theirs["step"] == theirs["step"].max()].set_index("word")["greatest_ever_one"]
    both = ours.index.intersection(theirs.index)
    assert len(both) > 200
    np.testing.assert_allclose(ours.loc[both], theirs.loc[both], atol=0.05 * theirs.std())
