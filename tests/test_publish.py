"""Publication: fp16 adapters, model cards, the push to a local Hub, the remote inside the repository."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from hub_server import TOKEN, Hub
from safetensors.torch import load_file, save_file

from valuetrace import cli
from valuetrace.core import files
from valuetrace.core.errors import InputError

BASES = ("tiny-llama", "tiny-gemma2")
FILES = {"README.md", "adapter_config.json", "adapter_model.safetensors", "provenance.json"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, repository) -> Path:
    """A workspace with two tiny bases, a checkpoint of each, and the metrics of their runs."""
    from valuetrace.core import settings
    from valuetrace.models import loading
    from valuetrace.models.rows import Model
    from valuetrace.training import Training, checkpoint, model

    root = tmp_path_factory.mktemp("workspace")
    (root / "params.yaml").write_text(_params(repository), encoding="utf-8")
    params = settings.get("training", Training, root / "params.yaml")
    rows = settings.get("models", dict[str, Model], root / "params.yaml")
    params = replace(params, lora=replace(params.lora, rank=4))
    for base in BASES:
        folder = root / "data/models" / base
        loading.make(base, rows[base].source, rows[base].tokenizer, folder)
        built = model.build(folder, params)
        with torch.no_grad():
            for name, value in built.named_parameters():
                if "lora_B" in name:
                    value.normal_(std=0.01)
        made = {"base": checkpoint.base_identity(folder), "config_hash": "0" * 64, "steps": 2}
        made |= {"training": json.loads(json.dumps(params, default=lambda value: value.__dict__))}
        made |= {"held_out": {"loss": 0.656251234, "accuracy": 0.625}, "versions": {"peft": "0"}}
        _write_checkpoint(root / "data/checkpoints" / base / "step-2", built, {**made, "step": 2})
        row = {"step": 2, "pairs": 32, "held_out_loss": 0.656251234, "held_out_accuracy": 0.625}
        metrics = {"base": base, "pairs": 32, "steps": 2, "held_out": {"pairs": 48}, "checkpoints": [row]}
        files.write_json(metrics, root / f"metrics/training/{base}.json")
    return root


@pytest.fixture
def workspace(trained, tmp_path, monkeypatch) -> Path:
    """A fresh copy, inside a DVC repository whose remote is part of it; no token, no Xet, no waiting."""
    import huggingface_hub

    root = tmp_path / "workspace"
    shutil.copytree(trained, root)
    monkeypatch.chdir(root)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    _repository(root)
    return root


@pytest.fixture
def hub(monkeypatch):
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


def test_publish_refreshes_checkpoints_and_their_dvc_file(workspace, capsys):
    assert cli.main(["publish"]) == 0
    assert set(os.listdir("checkpoints")) >= set(BASES)
    assert {path.name for path in Path("checkpoints/tiny-llama").iterdir()} == FILES
    first = Path("checkpoints.dvc").read_text()
    assert "path: checkpoints" in first and "/checkpoints" in Path(".gitignore").read_text()
    assert cli.main(["publish"]) == 0
    assert Path("checkpoints.dvc").read_text() == first  # the same adapters and cards, byte for byte
    assert "checkpoints.dvc" in capsys.readouterr().err


def test_published_adapter_is_the_checkpoint_rounded_to_fp16_and_loads(workspace):
    from valuetrace.training import checkpoint

    assert cli.main(["publish", "--base", "tiny-llama"]) == 0
    full = load_file("data/checkpoints/tiny-llama/step-2/adapter_model.safetensors")
    half = load_file("checkpoints/tiny-llama/adapter_model.safetensors")
    assert full.keys() == half.keys() and any("score" in name for name in half)
    for name, value in full.items():
        assert half[name].dtype == torch.float16
        # half a unit in the last of 11 bits, or of the smallest subnormal
        bound = torch.clamp(value.abs() * 2.0**-11, min=2.0**-25)
        assert ((half[name].float() - value).abs() <= bound).all()
    loaded = checkpoint.load_trained("data/models/tiny-llama", "checkpoints/tiny-llama")
    before = checkpoint.load_trained("data/models/tiny-llama", "data/checkpoints/tiny-llama/step-2")
    weight, other = loaded.backbone.state_dict(), before.backbone.state_dict()
    assert all((weight[name] - other[name]).abs().max() < 1e-4 for name in weight)


def test_values_that_fp16_cannot_hold_are_refused():
    from valuetrace.publish.adapters import to_half

    for value in (70_000.0, float("inf"), float("nan")):
        with pytest.raises(InputError, match=r"a\.weight"):
            to_half({"a.weight": torch.tensor([1.0, value])}, "here")
    half, rounding = to_half({"a": torch.tensor([1.0 + 2**-12, 65504.0])}, "here")
    assert half["a"].tolist() == [1.0, 65504.0] and rounding == 2**-12


def test_an_adapter_that_does_not_fit_its_base_is_refused(workspace, capsys):
    folder = Path("data/checkpoints/tiny-llama/step-2")
    tensors = load_file(folder / "adapter_model.safetensors")
    name = next(name for name in tensors if "lora_A" in name)
    save_file({**tensors, name: tensors[name][:, :-1].contiguous()}, folder / "adapter_model.safetensors")
    made = files.read_json(folder / "provenance.json")
    made["sha256"]["adapter_model.safetensors"] = files.sha256(folder / "adapter_model.safetensors")
    files.write_json(made, folder / "provenance.json")
    assert _refused(["publish"], capsys).count("does not fit data/models/tiny-llama") == 1
    assert not Path("checkpoints").exists()


def test_an_adapter_of_another_base_is_refused(workspace, capsys):
    shutil.rmtree("data/models/tiny-llama")
    shutil.copytree("data/models/tiny-gemma2", "data/models/tiny-llama")
    assert "which is not data/models/tiny-llama" in _refused(["publish"], capsys)


def test_checkpoints_of_another_run_than_the_metrics_are_refused(workspace, capsys):
    metrics = files.read_json("metrics/training/tiny-llama.json")
    metrics["checkpoints"][-1]["held_out_loss"] = 0.5
    files.write_json(metrics, "metrics/training/tiny-llama.json")
    assert "dvc repro -f -s train@tiny-llama" in _refused(["publish"], capsys)


def test_an_ablation_in_the_scratch_folder_leaves_the_published_adapter(workspace):
    assert cli.main(["publish"]) == 0
    before = Path("checkpoints.dvc").read_text()
    path = "data/checkpoints/tiny-llama/step-2/provenance.json"
    files.write_json({**files.read_json(path), "held_out": {"loss": 0.5, "accuracy": 0.75}}, path)
    assert cli.main(["publish"]) == 0
    assert Path("checkpoints.dvc").read_text() == before


def test_nothing_to_publish_and_damage_are_named(workspace, capsys):
    assert "--base nobody" in _refused(["publish", "--base", "nobody"], capsys)
    with open("data/checkpoints/tiny-llama/step-2/adapter_model.safetensors", "ab") as file:
        file.write(b"x")
    assert "damaged" in _refused(["publish"], capsys)
    shutil.rmtree("data/checkpoints/tiny-llama")
    assert "no trained checkpoint" in _refused(["publish"], capsys)


def test_a_clone_publishes_the_adapters_that_it_pulled(workspace, hub):
    assert cli.main(["publish"]) == 0
    before = files.sha256("checkpoints/tiny-llama/adapter_model.safetensors")
    shutil.rmtree("data")  # neither checkpoints nor bases
    assert cli.main(["publish", "--to", "someone/values"]) == 0
    assert _stored(hub, "someone/values-tiny-llama", "adapter_model.safetensors") == before


def test_card_tells_licence_data_hyperparameters_and_metrics(workspace):
    preferences = {"origin": {"source": "wordnet", "licence": "WordNet licence", "excluded_lexicons": ["big_two"]}}
    part = {"pairs": 32, "length_only_accuracy": 0.4688}
    files.write_json({**preferences, "train": part, "held_out": part}, "metrics/preferences.json")
    gap = {
        "first": "tiny-gemma2",
        "second": "tiny-llama",
        "framing": "positive",
        "gap": -12.25,
        "low": -30.0,
        "high": 4,
    }
    dynamics = {"last_step": 2, "lexicon": "big_two_nouns", "prompts": {"positive": 9}, "refused": {}}
    reading = {"base": "tiny-llama", "step": 2, "positive": 30.25, "negative": -20.0, "within": 0.625, "across": -0.5}
    dynamics |= {"gaps": [gap | {"step": 2}], "readings": [reading], "words": {"agency": 180, "communion": 279}}
    files.write_json(dynamics, "metrics/dynamics.json")
    Path("plots/dynamics").mkdir(parents=True)
    Path("plots/dynamics/ranks.csv").write_text(
        "base,framing,construct,step,median_rank,low,high,words,prompts\n"
        "tiny-llama,positive,agency,2,210.5,190.0,231.25,180,9\ntiny-llama,positive,agency,0,1,1,1,180,9\n"
    )
    assert cli.main(["publish", "--base", "tiny-llama"]) == 0
    header, body = _card("tiny-llama")
    assert header["library_name"] == "peft" and header["license"] == "other" and "datasets" not in header
    for told in (
        "WordNet licence",
        "big_two",
        "| 2 | 32 | 0.6563 | 0.625 |",
        "46.9%",
        "| LoRA rank, alpha, dropout | 4, 32, 0.0 |",
        "| positive | agency | 180 | 210.5 | 190.0 to 231.2 |",
        "| tiny-gemma2 | tiny-llama | positive | -12.2 | -30.0 to 4.0 |",
        "median rank of agency less\nthat of communion",
        "Christian, Brian and Thompson, Jessica A. F.",
        "Question: {prompt}",
        "48 held-out pairs",
    ):
        assert told in body, told
    assert "absent" not in body


def test_card_says_which_numbers_are_absent(workspace):
    assert cli.main(["publish", "--base", "tiny-llama"]) == 0
    body = _card("tiny-llama")[1]
    assert "metrics/preferences.json is absent" in body and "metrics/dynamics.json is absent" in body
    files.write_json({"last_step": 7}, "metrics/dynamics.json")
    assert cli.main(["publish", "--base", "tiny-llama"]) == 0
    assert "tells of another run" in _card("tiny-llama")[1]


def test_gemma_terms_are_inherited_said_and_put_into_a_notice(workspace):
    text = Path("params.yaml").read_text().replace("licence: none", "licence: Gemma Terms of Use")
    Path("params.yaml").write_text(text)
    assert cli.main(["publish", "--base", "tiny-gemma2"]) == 0
    sentence = "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms"
    assert Path("checkpoints/tiny-gemma2/NOTICE").read_text() == sentence + "\n"
    header, body = _card("tiny-gemma2")
    assert header["license"] == "gemma" and sentence in body and "was modified" in body


def test_a_licence_that_is_not_known_is_refused_and_deletes_no_notice(workspace, capsys):
    params, notice = Path("params.yaml"), Path("checkpoints/tiny-gemma2/NOTICE")
    params.write_text(params.read_text().replace("licence: none", "licence: Gemma Terms of Use"))
    assert cli.main(["publish"]) == 0
    before = notice.read_text()
    params.write_text(params.read_text().replace("Gemma Terms of Use", "gemma terms"))
    line = _refused(["publish"], capsys)
    assert "publish.yaml" in line and "'licences' has no 'gemma terms'" in line and "params.yaml" in line
    assert notice.read_text() == before


TRAINING, PREFERENCES = "metrics/training/tiny-llama.json", "metrics/preferences.json"
DYNAMICS, REFERENCE = "metrics/dynamics.json", "metrics/profiles/a.json"
ROW = {"step": 2, "pairs": 32, "held_out_loss": 0.65625, "held_out_accuracy": 0.625}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (TRAINING, []),
        (TRAINING, None),
        (TRAINING, {"checkpoints": []}),
        (TRAINING, {"checkpoints": [None]}),
        (TRAINING, {"checkpoints": [{"step": 2}]}),
        (TRAINING, {"checkpoints": [ROW], "held_out": []}),
        (TRAINING, {"checkpoints": [ROW | {"held_out_loss": "low"}, ROW], "held_out": {"pairs": 3}}),
        (TRAINING, {"checkpoints": [{}, ROW], "held_out": {"pairs": 3}}),
        (PREFERENCES, [1]),
        (PREFERENCES, {"origin": None}),
        (PREFERENCES, {"origin": {"source": "s"}, "train": []}),
        (DYNAMICS, [1]),
        (DYNAMICS, {}),
        (DYNAMICS, {"last_step": 2, "refused": None}),
        (DYNAMICS, {"last_step": 2, "refused": {"tiny-llama": "no"}}),
        (DYNAMICS, {"last_step": 2, "refused": {}, "gaps": [{}]}),
        (DYNAMICS, {"last_step": 2, "refused": {}, "gaps": [], "readings": []}),
        (REFERENCE, []),
        (REFERENCE, {"model": 1}),
    ],
)
def test_broken_metrics_are_one_line_that_names_the_file(workspace, path, value, capsys):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(value))
    assert path in _refused(["publish", "--base", "tiny-llama"], capsys) and not Path("checkpoints").exists()


@pytest.mark.parametrize("value", [[], None, 3, {"step": 2}, "strings"])
def test_a_broken_provenance_is_one_line(workspace, value, capsys):
    path = Path("data/checkpoints/tiny-llama/step-2/provenance.json")
    if value == "strings":
        value = {name: str(told) for name, told in files.read_json(path).items()} | {"step": 2}
    path.write_text(json.dumps(value))
    assert "provenance.json" in _refused(["publish", "--base", "tiny-llama"], capsys)


def test_unfinished_profiles_are_on_no_card(workspace):
    """A killed stage leaves them in a hidden folder."""
    files.write_json({}, "metrics/profiles/.bases.partial/tiny-llama/chat.json")
    assert cli.main(["publish", "--base", "tiny-llama"]) == 0


def test_hub_ids_and_licences_of_the_demo_rows_are_known(repository):
    from valuetrace.core import settings
    from valuetrace.models.rows import Model
    from valuetrace.publish import cards

    rows = settings.get("models", dict[str, Model], repository / "params.yaml")
    chosen = cards.known()
    for base in settings.get("bases", list[str], repository / "params.yaml"):
        row = rows[base]
        header = yaml.safe_load(cards.header(row, chosen.licence(row), chosen.hub(base, row), {"repository": "a/b"}))
        assert header["base_model"].count("/") == 1 and header["license"] in ("gemma", "apache-2.0")
        assert header["datasets"] == ["a/b"]


@pytest.mark.parametrize("part", [None, 2_500], ids=["one PUT", "multipart"])
def test_push_stores_every_file(workspace, hub, part, capfd):
    hub.part = part
    assert cli.main(["publish", "--to", "someone/values", "--private"]) == 0
    for base in BASES:
        name = f"someone/values-{base}"
        assert hub.visibility[name] == "private" and set(hub.repositories[name]) == FILES
        for file in FILES:
            assert _stored(hub, name, file) == files.sha256(f"checkpoints/{base}/{file}")
    assert hub.count("PUT /storage") == (2 if part is None else 8)
    assert hub.count("lfs/verify") == 2 and hub.commits == 2
    out, err = capfd.readouterr()
    assert TOKEN not in out + err and f"{hub.url}/someone/values-tiny-llama/commit/" in out
    assert not any(TOKEN.encode() in data for files in hub.repositories.values() for data in files.values())


def test_pushing_again_sends_nothing_again(workspace, hub):
    for _ in range(2):
        assert cli.main(["publish", "--to", "someone/values"]) == 0
    assert hub.count("PUT /storage") == 2 and hub.commits == 2


def test_a_connection_dropped_in_the_middle_is_taken_up_again(workspace, hub, capfd):
    hub.drops = 2
    assert cli.main(["publish", "--base", "tiny-llama", "--to", "someone/values"]) == 0
    digest = files.sha256("checkpoints/tiny-llama/adapter_model.safetensors")
    assert _stored(hub, "someone/values-tiny-llama", "adapter_model.safetensors") == digest
    assert TOKEN not in "".join(capfd.readouterr())


def test_a_connection_that_stays_broken_is_one_line_and_the_next_publish_completes(workspace, hub, capfd):
    hub.drops = 10_000
    assert cli.main(["publish", "--base", "tiny-llama", "--to", "someone/values"]) == 2
    lines = capfd.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error:")]
    assert len(errors) == 1 and "the same command goes on from there" in errors[0]
    assert hub.repositories["someone/values-tiny-llama"] == {} and hub.commits == 0  # no half folder
    assert not any("Traceback" in line or TOKEN in line for line in lines)
    hub.drops = 0
    assert cli.main(["publish", "--base", "tiny-llama", "--to", "someone/values"]) == 0
    assert set(hub.repositories["someone/values-tiny-llama"]) == FILES


def test_a_file_that_arrives_damaged_is_not_committed(workspace, hub, capsys):
    hub.spoil = True
    assert "422" in _refused(["publish", "--base", "tiny-llama", "--to", "someone/values"], capsys)
    assert hub.commits == 0


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("repos/create", 403, "may not write"),
        ("repos/create", 401, "does not accept the token"),
        ("whoami", 404, "HF_ENDPOINT"),
        ("whoami", 503, "answers 503"),
        ("objects/batch", 413, "storage is full"),
        ("commit/main", 500, "answers 500"),
        ("commit/main", 400, "refuses (400)"),
    ],
)
def test_refusals_of_the_hub_say_what_to_do(workspace, hub, path, status, told, capsys):
    hub.answer = {path: status}
    assert told in _refused(["publish", "--base", "tiny-llama", "--to", "someone/values"], capsys)


@pytest.mark.parametrize("before", range(0, 300, 7))
def test_no_part_of_a_token_that_a_server_echoes_is_told(before):
    """Cut before it is masked, 34 of a token's 36 characters were left, wherever the cut fell."""
    from valuetrace.publish.hub import explain

    error = ValueError("x" * before + f" Authorization: Bearer {TOKEN}")
    line = str(explain("upload", error, "http://user:password@localhost"))
    assert not any(TOKEN[:length] in line for length in range(4, len(TOKEN))) and "\n" not in line


@pytest.mark.parametrize("echo", [0, 160, 190, 220])
@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_server_that_echoes_the_token(workspace, hub, echo, status, capsys):
    hub.answer, hub.echo = {"commit/main": status}, echo
    line = _refused(["publish", "--base", "tiny-llama", "--to", "someone/values"], capsys)
    assert TOKEN[:5] not in line and (status == 500 or "refuses" in line)


def test_no_token_and_a_wrong_one(workspace, hub, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrongwrong")
    told = _refused(["publish", "--to", "someone/values"], capsys)
    assert "does not accept the token (401)" in told and "wrongwrong" not in told
    monkeypatch.delenv("HF_TOKEN")
    assert "hf auth login" in _refused(["publish", "--to", "someone/values"], capsys)
    assert not Path("checkpoints").exists() and not hub.repositories


def test_names_are_checked_before_anything_is_read(workspace, capsys):
    for name in ("values", "a/b/c", "/values", "some one/values"):
        assert "--to" in _refused(["publish", "--to", name], capsys)


def test_a_server_that_is_away_is_an_input_error(workspace, monkeypatch, capsys):
    with Hub() as server:
        url = server.url
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert f"the connection to {url} failed" in _refused(["publish", "--to", "someone/values"], capsys)


def test_dry_run_writes_nothing(workspace, hub, capsys):
    assert cli.main(["publish", "--to", "someone/values", "--remote", "--dry-run"]) == 0
    assert not Path("checkpoints").exists() and not hub.requests
    assert "someone/values-tiny-llama" in capsys.readouterr().err


def test_runs_are_held_under_the_limit_current_ones_first():
    from valuetrace.publish.remote import Run, within

    runs = [Run(str(n), "v", "train", {f"f{n}": size, "shared": 10}, n == 0) for n, size in enumerate((50, 20, 40))]
    kept, left_out = within(runs, {"own": 10}, 95)
    assert [run.key for run in kept] == ["0", "1"] and [run.key for run in left_out] == ["2"]
    assert within(runs, {"own": 10}, None) == (runs, [])


def test_the_remote_of_this_repository_is_verified_and_under_20_mb(repository):
    from valuetrace.publish.remote import LIMIT

    config = (repository / ".dvc/config").read_text()
    assert "remote = published" in config and "url = published" in config and "verify = true" in config
    assert ".dvc/published/** -text" in (repository / ".gitattributes").read_text()
    files = [path for path in (repository / ".dvc/published").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LIMIT


PIPELINE = """
stages:
  fetch:
    cmd: python make.py fetch
    deps: [make.py]
    outs:
      - data/source: {cache: false, push: false}
    metrics:
      - metrics/source.json: {cache: false}
  table:
    cmd: python make.py table
    deps: [make.py, data/source]
    outs:
      - data/table: {cache: false, push: false}
      - plots/table.csv: {cache: false}
  preferences:
    cmd: python make.py preferences
    deps: [make.py, metrics/source.json]
    params: [data_size]
    outs: [data/preferences]
    metrics:
      - metrics/pairs.json: {cache: false}
  train:
    matrix: {base: "${trained}"}
    cmd: python make.py train ${item.base}
    deps: [make.py, data/preferences, metrics/source.json]
    outs: ["data/scores/${item.base}.txt"]
    metrics:
      - metrics/runs/${item.base}.json: {cache: false}
    plots:
      - plots/runs/${item.base}.csv: {cache: false}
  dynamics:
    cmd: python make.py dynamics
    deps: [make.py, data/scores]
    metrics:
      - metrics/end.json: {cache: false}
"""
MAKE = """
import json, sys
from pathlib import Path

def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)

stage, base = [*sys.argv[1:], ""][:2]
print("RUNNING", stage, base)
if stage == "fetch":
    write("data/source", "source")
    write("metrics/source.json", "1")
elif stage == "table":
    write("data/table", Path("data/source").read_text())
    write("plots/table.csv", "a,b")
elif stage == "preferences":
    size = next(line for line in open("params.yaml") if line.startswith("data_size")).split(":")[1].strip()
    write("data/preferences/train", f"pairs {size}")
    write("metrics/pairs.json", json.dumps({"size": size}))
elif stage == "train":
    assert Path("data/source").is_file(), "no base to train on"
    pairs = Path("data/preferences/train").read_text()
    write(f"data/scores/{base}.txt", f"{base} on {pairs}")
    write(f"metrics/runs/{base}.json", json.dumps({"pairs": pairs}))
    write(f"plots/runs/{base}.csv", "step,loss")
else:
    write("metrics/end.json", json.dumps([path.read_text() for path in sorted(Path("data/scores").iterdir())]))
"""


@pytest.mark.slow
def test_a_fresh_clone_pulls_is_up_to_date_and_answers_an_ablation(workspace, tmp_path):
    """The pipeline's flags on stages of a moment: publish here, pull there, offline but for the clone."""
    (workspace / ".gitignore").write_text("/data/\n")
    (workspace / "dvc.yaml").write_text(PIPELINE)
    (workspace / "make.py").write_text(MAKE)
    (workspace / "conf").mkdir()
    params = {"data_size": 480, **yaml.safe_load((workspace / "params.yaml").read_text())}
    (workspace / "params.yaml").write_text(yaml.safe_dump(params))
    (workspace / "conf/config.yaml").write_text(yaml.safe_dump(params))
    assert _dvc(workspace, "repro").count("RUNNING") == 6
    _commit(workspace)
    assert "RUNNING train" in _dvc(workspace, "exp", "run", "-S", "data_size=2k")
    ablated = (workspace / "metrics/end.json").read_text()
    subprocess.run(["git", "checkout", "-q", "."], cwd=workspace, check=True)
    _dvc(workspace, "checkout")
    for _ in range(2):  # the second finds everything there
        assert cli.main(["publish", "--remote"]) == 0
    _commit(workspace)

    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", workspace, clone], check=True)
    _dvc(clone, "pull")
    for base in BASES:
        name = f"checkpoints/{base}/adapter_model.safetensors"
        assert files.sha256(clone / name) == files.sha256(workspace / name)
    assert not (clone / "data/source").exists() and not (clone / "data/table").exists()
    assert "Data and pipelines are up to date." in _dvc(clone, "repro", "--allow-missing")
    said = _dvc(clone, "exp", "run", "--pull", "--allow-missing", "-S", "data_size=2k")
    assert "RUNNING" not in said and said.count("is cached - skipping run") == 4
    assert (clone / "metrics/end.json").read_text() == ablated != (workspace / "metrics/end.json").read_text()
    for path in ("metrics/runs/tiny-llama.json", "plots/runs/tiny-llama.csv", "metrics/pairs.json"):
        assert (clone / path).is_file()

    weights = (workspace / "checkpoints/tiny-llama/adapter_model.safetensors").read_bytes()
    digest = hashlib.md5(weights).hexdigest()
    stored = workspace / ".dvc/published/files/md5" / digest[:2] / digest[2:]
    stored.chmod(0o644)
    stored.write_bytes(weights[:-1] + b"?")
    _commit(workspace)
    subprocess.run(["git", "clone", "-q", workspace, tmp_path / "damaged"], check=True)
    done = subprocess.run([*DVC, "pull"], cwd=tmp_path / "damaged", capture_output=True)
    assert done.returncode != 0  # the remote's ``verify``


DVC = (sys.executable, "-m", "dvc")


def _dvc(folder: Path, *arguments: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run([*DVC, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _commit(folder: Path) -> None:
    subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
    subprocess.run(["git", "commit", "-q", "-m", "state"], cwd=folder, check=True)


def _write_checkpoint(folder: Path, built, made: dict) -> None:
    """A checkpoint as ``training.checkpoint`` reads it."""
    from peft import get_peft_model_state_dict

    folder.mkdir(parents=True)
    state = get_peft_model_state_dict(built, save_embedding_layers=False)
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "adapter_model.safetensors")
    built.peft_config["default"].save_pretrained(folder)
    digests = {name: files.sha256(folder / name) for name in ("adapter_model.safetensors", "adapter_config.json")}
    files.write_json({**made, "sha256": digests}, folder / "provenance.json")


def _params(repository: Path) -> str:
    """The repository's training parameters on two random bases."""
    from valuetrace.core import settings

    params = {"trained": list(BASES), "training": settings.load(repository / "conf/training.yaml")["training"]}
    row = {"family": "tiny", "training": "random", "licence": "none", "tokenizer": {}}
    for base in BASES:
        source = {"kind": "random", "architecture": base.removeprefix("tiny-"), "seed": 1}
        how = {"dtype": "float32", "formats": ["chat"]}
        params.setdefault("models", {})[base] = {"label": base, "source": source, "scoring": how, **row}
    return yaml.safe_dump(params)


def _repository(root: Path) -> None:
    """git and DVC, set up as this repository is."""
    for command in (
        ["git", "init", "-q"],
        ["git", "config", "user.email", "nobody@example.org"],
        ["git", "config", "user.name", "nobody"],
    ):
        subprocess.run(command, cwd=root, check=True)
    (root / ".dvc").mkdir()
    source = Path(__file__).resolve().parents[1]
    shutil.copy(source / ".dvc/config", root / ".dvc/config")
    (root / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
    shutil.copy(source / ".gitattributes", root / ".gitattributes")


def _refused(arguments: list[str], capsys) -> str:
    """The one line of an input error (exit status 2)."""
    capsys.readouterr()
    assert cli.main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and TOKEN not in lines[0]
    return lines[0]


def _card(base: str) -> tuple[dict, str]:
    _, header, body = Path("checkpoints", base, "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(header), body


def _stored(hub: Hub, name: str, file: str) -> str:
    return hashlib.sha256(hub.repositories[name][file]).hexdigest()
