"""The pipeline: what dvc.yaml declares against what the stages touch; the tiny profile from end to end."""

import ast
import itertools
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from tracing import sitecustomize as tracing

import valuetrace
from valuetrace import tables
from valuetrace.core import keys, reach, settings, trees
from valuetrace.lexicon import unrolled
from valuetrace.measures import validity
from valuetrace.measures.dynamics.trajectories import readings
from valuetrace.training.recipe import Search

HOLE = "ANY"
PIPELINES = (
    "dvc.yaml",
    *(f"stages/{group}/dvc.yaml" for group in ("ablations", "dimensions", "planting", "published")),
)


def stages() -> dict[str, dict]:
    """Stage name → its command, dependencies and parameters, of every pipeline; ``${…}`` is written ``ANY``."""
    found = {}
    for path in PIPELINES:
        text = (Path(__file__).parents[1] / path).read_text(encoding="utf-8")
        group = "" if path == "dvc.yaml" else f"{Path(path).parent.name}."
        listed = yaml.safe_load(re.sub(r"\$\{[^}]*\}", HOLE, text))["stages"]
        found |= {group + name: stage.get("do", stage) for name, stage in listed.items()}
    return found


STAGES = pytest.mark.parametrize(("name", "stage"), stages().items(), ids=list(stages()))


def script(stage: dict) -> str:
    """The stage's file: a stage runs as a module, so that it imports the code of the tree that it stands in."""
    command = stage["cmd"].split()
    assert command[:2] == ["python", "-m"]
    return command[2].replace(".", "/") + ".py"


def covers(dep: str, path: str) -> bool:
    return path == dep or path.startswith(f"{dep.rstrip('/')}/")


# --- dvc.yaml ------------------------------------------------------------------------------------


def plots() -> list[tuple[str, dict]]:
    """Every table that ``dvc plots`` draws and how, a path of one base a row."""
    trained = settings.get("trained", list[str])
    found = {}
    for stage in stages().values():
        for entry in stage.get("plots", []):
            ((path, how),) = entry.items()
            if path.endswith(".csv"):
                found |= {path.replace(HOLE, base): how for base in trained} if HOLE in path else {path: how}
    return list(found.items())


def test_every_plot_has_a_template_and_its_columns(repository):
    """A template of ours finds the fields that it names in every table that it draws, and tells bases and revisions."""
    ours = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (repository / ".dvc/plots").glob("*")}
    used = set()
    for path, how in plots():
        columns = set(pd.read_csv(repository / path, nrows=5).columns)
        assert {how["x"], how["y"]} <= columns, path
        if how["template"] not in ours:
            assert how["template"] in {"linear", "bar_horizontal"}, path
            continue
        template, used = ours[how["template"]], used | {how["template"]}
        made = {*re.findall(r'"as": "(\w+)"', json.dumps(template)), "rev"}
        fields = set(re.findall(r'"field": "(\w+)"', json.dumps(template)))
        assert fields <= columns | made, path
        named = set(re.findall(r"datum\.(\w+)", json.dumps(template)))
        assert not named or named & columns, path  # by_base reads what a table has
        encoding = template.get("spec", template)["encoding"]
        of_revision = {channel for channel, told in encoding.items() if told.get("field") == "rev"}
        assert "color" in encoding and of_revision & {"strokeDash", "opacity"}, path
    assert used == set(ours)


def test_the_package_itself_is_no_dependency(repository):
    """No stage names valuetrace/__init__.py: it holds a docstring, imports, constants, and public names
    that are looked up elsewhere at first use."""
    body = ast.parse((repository / "valuetrace/__init__.py").read_text(encoding="utf-8")).body
    functions = [node.name for node in body if isinstance(node, ast.FunctionDef)]
    assert functions == ["__getattr__"]
    assert all(isinstance(node, ast.Expr | ast.ImportFrom | ast.Assign | ast.FunctionDef) for node in body)


@STAGES
def test_a_stage_depends_on_the_key_of_its_code_and_on_no_source_file(name, stage):
    """What that key covers is tests/test_keys.py's to say; only the stage that writes the keys reads sources."""
    own = script(stage).removeprefix("stages/").replace(".py", ".json")
    sources = [dep for dep in stage["deps"] if dep.startswith(("stages", "valuetrace"))]
    keyed = [dep for dep in stage["deps"] if dep.startswith("metrics/code")]
    assert (sources, keyed) == ([], [f"metrics/code/{own}"]) or name == "code"


def test_the_stage_of_keys_reads_every_script_and_the_pins(repository):
    """Each by name: a folder of stages holds lock files, too, which a run writes."""
    scripts = {path.relative_to(repository).as_posix() for path in (repository / "stages").rglob("*.py")}
    assert set(stages()["code"]["deps"]) == {*scripts, "valuetrace", keys.LOCK}


def test_the_committed_keys_are_those_of_the_code(repository):
    """And each says which definitions and versions it is made of."""
    for path in sorted((repository / "stages").rglob("*.py")):
        name = path.relative_to(repository).with_suffix("")
        written = json.loads(
            (repository / "metrics/code" / name.relative_to("stages")).with_suffix(".json").read_text()
        )
        assert written == keys.told(".".join(name.parts)), f"{name}: dvc repro code"


def test_no_lock_entry_is_without_a_stage(repository):
    """What `valuetrace adopt --prune` takes out: entries of stages that are gone, and of other profiles."""
    listed = run(repository, "dvc", "stage", "list", "--all", "--name-only").split()
    for path in PIPELINES:
        lock = (repository / path).with_suffix(".lock").read_text(encoding="utf-8")
        group = "" if path == "dvc.yaml" else f"{path}:"
        named = {name.removeprefix(group) for name in listed if name.startswith(group)}
        assert set(re.findall(r"^  (\S+):$", lock, flags=re.MULTILINE)) <= named, path


def test_the_locks_are_short(repository):
    lines = sum(len((repository / path).with_suffix(".lock").read_text().splitlines()) for path in PIPELINES)
    assert lines < 20_000


def test_every_benchmark_can_be_imported(repository):
    names = sorted(f"benchmarks.{path.stem}" for path in (repository / "benchmarks").glob("*.py"))
    run(repository, sys.executable, "-c", f"import {', '.join(names)}")


@STAGES
def test_a_stage_declares_the_parameters_that_it_reads(repository, name, stage):
    declared = [d for d in stage.get("params", []) if isinstance(d, str)]
    if len(declared) < len(stage.get("params", [])):
        return  # the whole file
    for node in ast.walk(ast.parse((repository / script(stage)).read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        key = {"validity.rule": "validity", "read_origins": "models", "labels": "models"}.get(called)
        if called == "settings.get":
            parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else [node.args[0]]
            key = "".join(part.value if isinstance(part, ast.Constant) else HOLE for part in parts)
        if key is not None:
            start = key.partition(HOLE)[0].rstrip(".")
            # the group that is declared, or a part of it where the stage's output depends on no more
            known = any(f"{key}.".startswith(f"{d}.") or d.startswith(f"{start}.") for d in declared)
            assert known, f"{script(stage)} reads {key}, which stage {name} does not declare ({declared})"


def test_every_stage_file_is_in_the_pipeline(repository):
    files = {path.relative_to(repository).as_posix() for path in (repository / "stages").rglob("*.py")}
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


def test_training_can_be_answered_where_no_model_is():
    """Of what a data size changes, no stage depends on a file that is not in git, the remote or another such stage."""
    absent = {path.partition(HOLE)[0] for path in unpushed()}
    ablations = [name for name in stages() if name.startswith("ablations.")]
    for name in ("preferences", "train", "dynamics", "figures", "report", *ablations):
        for dep in stages()[name]["deps"]:
            assert not any(dep.startswith(path) or path.startswith(f"{dep}/") for path in absent), (name, dep)


def test_no_stage_imports_another(repository):
    for path in (repository / "stages").rglob("*.py"):
        modules = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules |= {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            modules |= {node.module} if isinstance(node, ast.ImportFrom) else set()
        assert not {module.split(".")[0] for module in modules} & {"stages", "importlib"}


def test_a_user_s_mistake_is_one_line_and_status_2(repository):
    """Every stage starts through ``stage.run``, which sees to it."""
    for path in (repository / "stages").rglob("*.py"):
        assert "    stage.run(main" in path.read_text(encoding="utf-8"), path
    for arguments, message in (
        (["nothing"], "error: params.yaml: 'models.nothing' is missing (found: gemma3-270m, smollm2-135m-instruct"),
        ([], "error: models.py: missing a required argument: 'name'. Its first lines say how it is run."),
    ):
        command = [sys.executable, "-m", "stages.models", *arguments]
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
        assert done.returncode == 2
        assert done.stderr.startswith(message)
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
        own = floor[room(path.relative_to(repository).as_posix())]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for name in trees.imports(node) if isinstance(node, ast.Import | ast.ImportFrom) else []:
                if name.startswith("valuetrace.") and name.split(".")[1] in floor:
                    assert floor[name.split(".")[1]] <= own, f"{path} imports {name}"


def test_no_room_holds_more_than_a_fifth_of_the_library(repository):
    lines = Counter()
    for path in modules(repository):
        lines[room(path.relative_to(repository).as_posix())] += len(path.read_text(encoding="utf-8").splitlines())
    ((largest, most),) = lines.most_common(1)
    assert most <= lines.total() / 5, largest


def test_a_reader_sees_a_module_and_a_function_whole(repository):
    """No module over 300 lines, no function over 60, a stage's script in one screen."""
    for path in [*modules(repository), *(repository / "stages").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= (100 if "stages" in path.parts else 300), path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{path}: {node.name}"


def test_figures_compute_nothing_and_measures_draw_nothing(repository):
    rooms = {"measures": {"matplotlib"}, "studies": {"matplotlib"}, "figures": {"scipy", "statsmodels"}}
    for folder, forbidden in rooms.items():
        for path in (repository / "valuetrace" / folder).rglob("*.py"):
            tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            names = [n for node in tree if isinstance(node, ast.Import) for n in [alias.name for alias in node.names]]
            tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            names += [node.module for node in tree if isinstance(node, ast.ImportFrom)]
            assert not {name.split(".")[0] for name in names} & forbidden, path


# --- from end to end -----------------------------------------------------------------------------


def run(clone: Path, *command: str, trace: Path | None = None) -> str:
    """Run a command in the clone with this interpreter first in the path; its output, stdout and stderr.

    trace: a folder for what each stage executes (tests/tracing/sitecustomize.py).

    No PYTHONPATH: the installed package is the repository under test, and a stage of the clone must not run its code.
    """
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    env |= {"DVC_NO_ANALYTICS": "1", "MPLBACKEND": "Agg", "HF_HUB_OFFLINE": "1"}
    for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):  # bytecode lands in folders that stages depend on
        env.pop(name, None)
    if trace is not None:
        env |= {"VALUETRACE_TRACE": str(trace), "PYTHONPATH": str(Path(__file__).with_name("tracing"))}
    done = subprocess.run(command, cwd=clone, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode and "cannot be downloaded" in done.stdout:
        pytest.skip("the package registry is out of reach: " + done.stdout[-500:])
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def named(output: str) -> set[str]:
    """The stages that DVC says it runs (of a group, the group's name)."""
    return set(re.findall(r"Running stage '(?:[\w./]*:)?([\w-]+)", output))


@pytest.fixture
def clone(repository, tmp_path) -> Path:
    """A fresh clone of the repository as it is committed."""
    if not (repository / ".git").exists():
        pytest.skip("not a git clone: DVC's experiments need git")
    run(tmp_path, "git", "clone", "--quiet", str(repository), str(tmp_path / "clone"))
    return tmp_path / "clone"


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that the file holds."""
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path} does not hold {old!r}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def unseen(clone: Path, trace: Path) -> dict[str, list[str]]:
    """Stage → what it ran beyond the definitions that its key covers; of every stage that was traced."""
    executed: dict[str, set] = {}
    for path in trace.iterdir():
        lines = (line.rpartition(":") for line in path.read_text(encoding="utf-8").splitlines())
        executed.setdefault(path.name.partition("~")[0], set()).update((name, int(at)) for name, _, at in lines)
    assert all(executed.values())
    reach.package.cache_clear()  # the clone's files are edited between two traces
    return {stage: tracing.outside(clone, stage, ran) for stage, ran in executed.items()}


def reword(clone: Path) -> None:
    """Another docstring in every module, and a comment."""
    for path in [*(clone / "valuetrace").rglob("*.py"), *(clone / "stages").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        if text.startswith('"""'):
            path.write_text("# a comment\n" + text.replace('"""', '"""Another word. ', 1), encoding="utf-8")


def rerun(clone: Path) -> set[str]:
    """``dvc repro``, and the stages that it ran; a second one has nothing to do."""
    ran = named(run(clone, "dvc", "repro"))
    assert not named(run(clone, "dvc", "repro"))
    return ran


@pytest.mark.slow
def test_the_tiny_profile_from_end_to_end_and_after_each_edit(clone, tmp_path):
    (tmp_path / "trace").mkdir()
    first = named(run(clone, "dvc", "exp", "run", "-S", "profile=tiny", trace=tmp_path / "trace"))
    # prompts are those of every profile: the lock file answers for them
    assert {"fetch", "models", "token_logprobs", "base_preferences", "rewards", "compare"} <= first
    assert {"preferences", "train", "word_logprobs", "dynamics", "figures", "report"} <= first
    params = yaml.safe_load((clone / "params.yaml").read_text(encoding="utf-8"))
    tiny = set(params["bases"])
    assert params["profile"] == "tiny"
    assert {row["source"]["kind"] for row in params["models"].values()} == {"random"}
    lock = yaml.safe_load((clone / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    listed = run(clone, "dvc", "stage", "list", "--name-only").split()  # the lock file holds other profiles' stages too
    assert set(listed) <= set(lock)
    for name in listed:
        assert all((clone / out["path"]).exists() for out in lock[name].get("outs", []))
    (comparison,) = json.loads((clone / "metrics/base_preferences.json").read_text())["comparisons"]
    assert set(comparison["models"]) == tiny
    assert all("refused" in cell for cell in comparison["cells"])  # random models read nothing
    dynamics = json.loads((clone / "metrics/dynamics.json").read_text())
    assert dynamics["run"]["data_size"] == params["data_size"]
    assert set(dynamics["held_out"]) == set(params["trained"]) == tiny
    assert set(dynamics["refused"]) == tiny
    report = (clone / "plots/report.html").read_text(encoding="utf-8")
    assert all(params["models"][name]["label"] in report for name in tiny)
    assert not named(run(clone, "dvc", "repro"))

    # nothing ran that its key does not cover, and words change no key
    traced = unseen(clone, tmp_path / "trace")
    assert len(traced) > 12 and {"stages.train", "stages.rewards", "stages.token_logprobs", "stages.report"} <= set(
        traced
    )
    assert not any(traced.values()), traced
    reword(clone)
    assert rerun(clone) == {"code"}

    # an edit changes what follows from it, and nothing else
    def weights() -> list[bytes]:
        """The first and the last adapter of every base."""
        found = [sorted((clone / "data/checkpoints" / base).glob("step-*/adapter_model.safetensors")) for base in tiny]
        return [path.read_bytes() for paths in found for path in (paths[0], paths[-1])]

    before = weights()
    edit(
        clone / "valuetrace/training/model.py",
        "-logsigmoid(rewards[:, 0] - rewards[:, 1])",
        "-logsigmoid(rewards[:, 1] - rewards[:, 0])",
    )
    ran = rerun(clone)
    assert {"code", "train", "dynamics", "figures", "report"} == ran
    same = [old == new for old, new in zip(before, weights(), strict=True)]
    assert same == [True, False] * len(tiny)  # the untrained adapters are the same, and no old weight is believed

    edit(
        clone / "valuetrace/scoring/heads.py",
        "return self.score(last)[:, self.output]",
        "return 2 * self.score(last)[:, self.output]",
    )
    ran = rerun(clone)
    assert {"rewards", "reward_profiles", "train"} <= ran
    assert not ran & {
        "fetch",
        "lexicons",
        "prompts",
        "models",
        "token_logprobs",
        "base_preferences",
        "implicit_rewards",
        "preferences",
    }

    edit(
        clone / "params.yaml",
        "    tokenizer: {}\n",
        "    tokenizer: {chat_template: \"{% for m in messages %}{{ m['content'] }} {% endfor %}\"}\n",
    )
    ran = rerun(clone)
    assert {"models", "token_logprobs", "rewards", "train"} <= ran
    assert not ran & {"fetch", "lexicons", "prompts", "preferences"}

    edit(clone / "prompts/design.yaml", "best: best", "best: finest")
    ran = rerun(clone)
    assert {"prompts", "token_logprobs", "rewards"} <= ran
    assert not ran & {"fetch", "lexicons", "models", "preferences"}

    words = pd.read_csv(clone / "lexicons/unrolled/big_two.csv", keep_default_na=False)
    word = words[words["pattern"].str.endswith("*") & (words["word"] + "*" != words["pattern"])].iloc[0]
    with open(clone / "lexicons/big_two.edits.csv", "a", encoding="utf-8") as file:
        file.write(f"exclude,{word['construct']},{word['pattern']},{word['word']},a test\n")
    ran = rerun(clone)
    after = pd.read_csv(clone / "lexicons/unrolled/big_two.csv", keep_default_na=False)
    assert len(after) == len(words) - 1
    assert {"lexicons", "preferences"} <= ran
    assert not ran & {"fetch", "prompts", "models", "token_logprobs", "implicit_rewards"}

    edit(clone / "params.yaml", "  chat: the model's chat template", "  chat: another note")
    assert rerun(clone) <= {"parameters", "report"}

    trace = tmp_path / "ablations"
    trace.mkdir()
    again = run(clone, "dvc", "repro", "stages/ablations/dvc.yaml:collect", trace=trace)
    assert {"pairs", "train", "collect"} <= named(again)
    assert not any(unseen(clone, trace).values())
    ablations = json.loads((clone / "metrics/ablations.json").read_text())
    assert (ablations["sizes"], ablations["seeds"]) == (params["ablations"]["sizes"], params["ablations"]["seeds"])


@pytest.mark.slow
def test_a_temporary_experiment_runs_its_own_code(clone):
    """Its folder is a copy of the tree; the installed package is another tree."""
    edit(clone / "valuetrace/prompts.py", '"""The 54 prompts', '"""Not the 54 prompts')
    edit(
        clone / "valuetrace/prompts.py",
        'f"{adjective}_{superlative}_{concision}"',
        'f"{adjective}-{superlative}-{concision}"',
    )
    run(clone, "dvc", "exp", "run", "--temp", "--name", "own", "prompts")
    commit = run(clone, "git", "for-each-ref", "--format=%(objectname)", "refs/exps/**/own").strip()
    made = run(clone, "git", "show", f"{commit}:prompts/value_laden.csv").splitlines()
    assert made[1].startswith("best-ever-one,")


@pytest.mark.slow
def test_a_fresh_clone_pulls_and_is_up_to_date(clone):
    """The README's commands for those who do not want to train."""
    run(clone, "dvc", "pull")
    params = yaml.safe_load((clone / "params.yaml").read_text(encoding="utf-8"))
    search = settings.get("dynamics.search", Search)
    for base in params["trained"]:
        assert (clone / "checkpoints" / base / "adapter_model.safetensors").is_file()
        assert (clone / "data/checkpoint_scores" / f"{base}.parquet").is_file()
        for size, seed in itertools.product(params["ablations"]["sizes"], params["ablations"]["seeds"]):
            assert (clone / f"data/ablations/runs/{size}-{seed}/{base}.parquet").is_file()
    for base in params["trained"]:  # what was pulled reads the prompts, computed anew
        prompts = search.prompts()
        scores = {base: tables.read_checkpoints(clone / "data/checkpoint_scores" / f"{base}.parquet")}
        last = int(scores[base]["step"].max())
        lexicon, known = (pd.read_csv(clone / "lexicons/unrolled" / f"{name}.csv", keep_default_na=False)
                          for name in (search.lexicon, unrolled.KNOWN_GROUPS))  # fmt: skip
        row = readings(scores, lexicon, known, prompts, [last], validity.rule()).iloc[0]
        assert row["reads"] and row["across"] <= min(0.6, row["within"] - 0.3)
    for pipeline in PIPELINES:
        assert not named(run(clone, "dvc", "repro", "--allow-missing", pipeline))
    assert not (clone / "data/models").exists()
