"""The pipeline: what dvc.yaml declares against what the stages touch; the tiny profile from end to end."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

import valuetrace

EVERYWHERE = {f"valuetrace/{name}.py" for name in ("errors", "settings", "tables", "stage")}  # no stage names these
HOLE = "ANY"


def stages() -> dict[str, dict]:
    """Stage name → its command, dependencies and parameters; ``${…}`` is written ``ANY``."""
    text = (Path(__file__).parents[1] / "dvc.yaml").read_text(encoding="utf-8")
    found = yaml.safe_load(re.sub(r"\$\{[^}]*\}", HOLE, text))["stages"]
    return {name: stage.get("do", stage) for name, stage in found.items()}


STAGES = pytest.mark.parametrize(("name", "stage"), stages().items(), ids=list(stages()))


def script(stage: dict) -> str:
    command = stage["cmd"].split()
    assert command[0] == "python"
    return command[1]


def imports(path: Path, root: Path) -> set[str]:
    """The files of valuetrace (``/`` at the end: a package) that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            while len(parts) > 1 and parts[0] == "valuetrace":
                base = "/".join(parts)
                if (root / f"{base}.py").is_file():
                    found.add(f"{base}.py")
                    break
                if (root / base).is_dir():
                    found.add(f"{base}/")
                    break
                parts.pop()  # the name of something inside a module
    return found


# --- dvc.yaml ------------------------------------------------------------------------------------


@STAGES
def test_a_stage_depends_on_its_script_and_on_the_modules_that_it_imports(repository, name, stage):
    deps = set(stage["deps"])
    path = script(stage)
    assert (repository / path).is_file()
    assert path in deps
    needed = imports(repository / path, repository) - EVERYWHERE
    missing = {n for n in needed if not any(n == dep or n.startswith(dep.rstrip("/") + "/") for dep in deps)}
    assert not missing, f"stage {name} of dvc.yaml lacks {sorted(missing)} among its deps"


@STAGES
def test_code_that_a_stage_depends_on_exists(repository, name, stage):
    code = [dep for dep in stage["deps"] if dep.startswith(("stages/", "valuetrace/"))]
    assert code
    assert all((repository / dep).exists() for dep in code)


@STAGES
def test_a_stage_declares_the_parameters_that_it_reads(repository, name, stage):
    declared = stage.get("params", [])
    for node in ast.walk(ast.parse((repository / script(stage)).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "settings.get":
            parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else [node.args[0]]
            key = "".join(part.value if isinstance(part, ast.Constant) else HOLE for part in parts)
            start = key.partition(HOLE)[0].rstrip(".")
            # the group that is declared, or a part of it where the stage's output depends on no more
            known = any(f"{key}.".startswith(f"{d}.") or d.startswith(f"{start}.") for d in declared)
            assert known, f"{script(stage)} reads {key}, which stage {name} of dvc.yaml does not declare ({declared})"


def test_every_stage_file_is_in_the_pipeline(repository):
    files = {path.relative_to(repository).as_posix() for path in (repository / "stages").glob("*.py")}
    assert {script(stage) for stage in stages().values()} == files


def unpushed() -> dict[str, dict]:
    """The outputs that no remote holds, with their options."""
    outs = [out for stage in stages().values() for out in stage.get("outs", []) if isinstance(out, dict)]
    return {path: options for out in outs for path, options in out.items() if options.get("push") is False}


def test_what_anyone_can_make_again_is_no_one_s_to_pull():
    """``dvc pull`` fails on a cached output that is never pushed (valuetrace/publish/remote.py)."""
    assert unpushed()
    assert all(options.get("cache") is False for options in unpushed().values())


def test_a_broken_download_survives_until_the_next_run():
    """It lies beside the assets' folders (valuetrace/assets.py), and DVC empties an output that does not persist."""
    assert unpushed()["data/assets"]["persist"] is True


def test_ablations_can_be_answered_where_no_model_is():
    """Of what a data size changes, no stage depends on a file that is not in git, the remote or another such stage."""
    absent = {path.partition(HOLE)[0] for path in unpushed()}
    for name in ("preferences", "train", "dynamics", "figures", "report"):
        for dep in stages()[name]["deps"]:
            assert not any(dep.startswith(path) or path.startswith(f"{dep}/") for path in absent), (name, dep)


def test_no_stage_imports_another(repository):
    for path in (repository / "stages").glob("*.py"):
        modules = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules |= {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            modules |= {node.module} if isinstance(node, ast.ImportFrom) else set()
        others = {other.stem for other in (repository / "stages").glob("*.py")}
        assert not {module.split(".")[0] for module in modules} & {"stages", "importlib", *others - {"models"}}


def test_a_user_s_mistake_is_one_line_and_status_2(repository):
    """Every stage starts through ``stage.run``, which sees to it."""
    for path in (repository / "stages").glob("*.py"):
        assert "    stage.run(main" in path.read_text(encoding="utf-8"), path
    done = subprocess.run(
        [sys.executable, "stages/models.py", "nothing"], cwd=repository, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: params.yaml: 'models.nothing' is missing (found: gemma3-270m, smollm2-135m-instruct"
    )
    assert len(done.stderr.splitlines()) == 1


# --- floors --------------------------------------------------------------------------------------


def floors() -> dict[str, int]:
    """Room → floor, as valuetrace's docstring has it."""
    table = valuetrace.__doc__.partition("Floors")[2].partition(":")[2]
    return {room: int(part.split()[0]) for part in table.split("·") for room in re.findall(r"``(\w+)``", part)}


def room(path: str) -> str:
    return path.split("/")[1].removesuffix(".py")


def modules(repository) -> list[Path]:
    return [
        path
        for path in sorted((repository / "valuetrace").rglob("*.py"))
        if path.parent.name != "valuetrace" or path.name != "__init__.py"
    ]


def test_every_room_has_a_floor(repository):
    rooms = {room(path.relative_to(repository).as_posix()) for path in modules(repository)}
    assert rooms == set(floors()), "valuetrace/__init__.py names the floor of every room"


def test_imports_only_go_down(repository):
    floor = floors()
    for path in modules(repository):
        here = room(path.relative_to(repository).as_posix())
        for target in imports(path, repository):
            if room(target):  # the package itself holds nothing but a name for InputError
                assert floor[room(target)] <= floor[here], f"{path.relative_to(repository)} imports {target}"


def test_figures_compute_nothing_and_analysis_draws_nothing(repository):
    for folder, forbidden in {"analysis": {"matplotlib"}, "figures": {"scipy", "statsmodels"}}.items():
        for path in (repository / "valuetrace" / folder).glob("*.py"):
            tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            names = [n for node in tree if isinstance(node, ast.Import) for n in [alias.name for alias in node.names]]
            tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            names += [node.module for node in tree if isinstance(node, ast.ImportFrom)]
            assert not {name.split(".")[0] for name in names} & forbidden, path


# --- from end to end -----------------------------------------------------------------------------


def run(clone: Path, *command: str) -> str:
    """Run a command in the clone with this interpreter first in the path; its output, stdout and stderr."""
    env = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(clone),
    }
    env |= {"DVC_NO_ANALYTICS": "1", "MPLBACKEND": "Agg", "HF_HUB_OFFLINE": "1"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # bytecode lands in folders that stages depend on, and must not count
    done = subprocess.run(command, cwd=clone, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode and "cannot be downloaded" in done.stdout:
        pytest.skip("the package registry is out of reach: " + done.stdout[-500:])
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def named(output: str) -> set[str]:
    """The stages that DVC says it runs (of a group, the group's name)."""
    return set(re.findall(r"Running stage '([\w-]+)", output))


@pytest.fixture
def clone(repository, tmp_path) -> Path:
    """A fresh clone of the repository as it is committed."""
    if not (repository / ".git").exists():
        pytest.skip("not a git clone: DVC's experiments need git")
    run(tmp_path, "git", "clone", "--quiet", str(repository), str(tmp_path / "clone"))
    return tmp_path / "clone"


@pytest.mark.slow
def test_the_tiny_profile_from_end_to_end(clone):
    run(clone, "dvc", "pull", "checkpoints.dvc")  # what is published is no stage's; its absence is told by dvc status
    first = run(clone, "dvc", "exp", "run", "-S", "profile=tiny")
    # words and prompts are those of every profile: the lock file answers for them
    assert {"fetch", "models", "logprobs", "log_probabilities", "rewards", "compare"} <= named(first)
    assert {"preferences", "train", "word_logprobs", "dynamics", "figures", "report"} <= named(first)

    params = yaml.safe_load((clone / "params.yaml").read_text(encoding="utf-8"))
    tiny = set(params["bases"])
    assert params["profile"] == "tiny"
    assert {row["source"]["kind"] for row in params["models"].values()} == {"random"}

    lock = yaml.safe_load((clone / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    listed = run(clone, "dvc", "stage", "list", "--name-only").split()  # the lock file holds other profiles' stages too
    assert set(listed) <= set(lock)
    for name in listed:
        assert all((clone / out["path"]).exists() for out in lock[name].get("outs", []))
    (comparison,) = json.loads((clone / "metrics" / "log_probabilities.json").read_text())["comparisons"]
    assert set(comparison["models"]) == tiny
    assert any("three_way" in cell for cell in comparison["cells"])
    pairs = json.loads((clone / "metrics" / "implicit_rewards.json").read_text())["pairs"]
    assert {pair[key] for pair in pairs for key in ("first", "second")} == tiny
    dynamics = json.loads((clone / "metrics" / "dynamics.json").read_text())
    assert dynamics["run"]["data_size"] == params["data_size"]
    assert set(dynamics["held_out_accuracy"]) == set(params["trained"]) == tiny
    medians = pd.read_csv(clone / "plots" / "log_probabilities" / "medians.csv")
    assert set(medians["model"]) == tiny
    report = (clone / "plots" / "report.html").read_text(encoding="utf-8")
    assert "These models are random" in report
    assert all(params["models"][name]["label"] in report for name in tiny)

    # nothing is left to do, and a second run does nothing
    assert "up to date" in run(clone, "dvc", "status")
    again = run(clone, "dvc", "repro")
    assert "up to date" in again
    assert not named(again)

    # a hand-made exclusion runs the lexicons again and what follows, and no model
    words = pd.read_csv(clone / "lexicons" / "big_two.csv", keep_default_na=False)
    word = words[words["pattern"].str.endswith("*") & (words["word"] + "*" != words["pattern"])].iloc[0]
    edits = clone / "lexicons" / "big_two.edits.csv"
    with open(edits, "a", encoding="utf-8") as file:
        file.write(f"exclude,{word['construct']},{word['pattern']},{word['word']},a test\n")
    changed = json.loads(run(clone, "dvc", "status", "--json"))
    assert list(changed) == ["lexicons"]
    dry = named(run(clone, "dvc", "repro", "--dry"))
    assert "lexicons" in dry
    assert not dry & {"fetch", "prompts", "models", "logprobs"}
    run(clone, "dvc", "repro", "lexicons")
    after = pd.read_csv(clone / "lexicons" / "big_two.csv", keep_default_na=False)
    assert len(after) == len(words) - 1
    assert word["word"] not in set(after.loc[after["construct"] == word["construct"], "word"])
    following = {stage.split("@")[0] for stage in json.loads(run(clone, "dvc", "status", "--json"))}
    assert "log_probabilities" in following
    assert not following & {"fetch", "prompts", "models", "logprobs"}


@pytest.mark.slow
def test_a_fresh_clone_pulls_is_up_to_date_and_answers_a_published_ablation(clone):
    """The README's commands for those who do not want to train."""
    run(clone, "dvc", "pull")
    for base in yaml.safe_load((clone / "params.yaml").read_text(encoding="utf-8"))["trained"]:
        assert (clone / "checkpoints" / base / "adapter_model.safetensors").is_file()
        assert (clone / "data" / "checkpoint_scores" / f"{base}.parquet").is_file()
    again = run(clone, "dvc", "repro", "--allow-missing")
    assert "up to date" in again
    assert not named(again)

    answered = run(clone, "dvc", "exp", "run", "--pull", "--allow-missing", "-S", "data_size=240")
    cached = set(re.findall(r"Stage '([\w-]+)[^']*' is cached - skipping run", answered))
    assert {"preferences", "train", "dynamics"} <= cached
    assert named(answered) <= {"figures", "report"}
    assert json.loads((clone / "metrics" / "dynamics.json").read_text())["run"]["data_size"] == 240
    assert not (clone / "data" / "models").exists()
