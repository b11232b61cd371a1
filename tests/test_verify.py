"""``valuetrace verify``: what is equal, what may differ, what is named; git, folders and bad input."""

import json
import re
import shutil
import subprocess
from fnmatch import fnmatchcase

import pytest

from valuetrace import cli
from valuetrace.core import settings
from valuetrace.core.errors import InputError
from valuetrace.verify import _NUMBER, RULES, Result, Rules, _fits, _leaves, compare, read_folder, verify

DYNAMICS, MOVERS, CURVE = "metrics/dynamics.json", "plots/dynamics/movers.csv", "plots/training/b/curve.csv"
TOKENS = "plots/implicit_rewards/tokens.csv"


@pytest.fixture(scope="module")
def rules(repository) -> Rules:
    return settings.build(Rules, settings.load(repository / RULES), "rules")


def movers(**rank) -> str:
    """Five words of one side, their places in the order given."""
    lines = [f"b,positive,up,{i},{w},agency,9.5,10,{r}" for i, (w, r) in enumerate(rank.items(), start=1)]
    return "\n".join(["base,framing,direction,place,word,construct,change,step,rank", *lines, ""])


FIVE = movers(a=1.5, b=2.5, c=3.5, d=4.5, e=5.5)


@pytest.mark.parametrize(
    ("path", "ours", "theirs"),
    [
        ("metrics/x.json", '{"a": 1, "b": [0.1, null]}', '{"b": [1e-1, null], "a": 1}'),
        ("metrics/x.json", '{"a": 0.333333}', '{"a": 0.3333333333333333}'),
        ("metrics/x.json", '{"a": 36}', '{"a": 36.0}'),
        ("plots/x.csv", "a,b\n0.333333,\n", "a,b\n0.3333333333333333,\n"),
        (DYNAMICS, '{"gaps": [{"gap": -121.5}]}', '{"gaps": [{"gap": -113.0}]}'),
        (DYNAMICS, '{"held_out": {"b": {"accuracy": 0.921875}}}', '{"held_out": {"b": {"accuracy": 0.9140625}}}'),
        ("metrics/training/b.json", '{"seconds": 3.5, "torch_version": "a"}', '{"seconds": 9, "torch_version": "b"}'),
        ("metrics/compare/x.json", '{"files": {"data/a.parquet": "ab"}}', '{"files": {"data/a.parquet": "cd"}}'),
        (CURVE, "step,loss\n1,0.69\n", "step,loss\n1,0.70\n"),
        (DYNAMICS, '{"b": {"refused": "not read: +21 after"}}', '{"b": {"refused": "not read: +24 after"}}'),
    ],
)
def test_equal_or_within_the_tolerance_of_its_kind(rules, path, ours, theirs):
    result = compare({path: ours}, {path: theirs}, rules, "HEAD")
    assert not result.problems and not result.beyond


@pytest.mark.parametrize(
    ("path", "ours", "theirs", "problem"),
    [
        ("metrics/x.json", '{"a": 1}', '{"a": 2}', "a is 1, in HEAD 2: they differ by 1 (whole number: 0 allowed)"),
        ("metrics/x.json", '{"a": 0.5}', '{"a": 0.5001}', "a is 0.5, in HEAD 0.5001: they differ by 0.0001 "),
        ("metrics/x.json", '{"a": "5"}', '{"a": 5}', 'a is "5", in HEAD 5'),
        ("metrics/x.json", '{"a": null}', '{"a": 0.5}', "a is null, in HEAD 0.5"),
        ("metrics/x.json", '{"a": true}', '{"a": 1}', "a is true, in HEAD 1"),
        ("metrics/x.json", '{"a": {"b": 1}}', '{"a": {}}', "a.b is not in HEAD (and 1 more)"),
        ("metrics/x.json", '{"a": [1]}', '{"a": [1, 2]}', "a.1 is missing here"),
        ("metrics/x.json", '{"a": "ß"}', '{"a": "ss"}', 'a is "ß", in HEAD "ss"'),
        ("plots/x.csv", "word\nlove\n", "word\nfear\n", "2.word is love, in HEAD fear"),
        ("plots/x.csv", "a\n1.5\n", "a\n\n1.5\n", None),
        ("plots/x.csv", "a,b\n1,2\n", "b,a\n2,1\n", "header is a,b, in HEAD b,a"),
        ("plots/x.csv", "a\n1\n", "a\n1\n2\n", "3.a is missing here"),
        ("plots/x.csv", "a\n1\n", "a\n\n", None),
        ("plots/x.csv", "a,b\n1,0.5\n", "a,b\n1,\n", "2.b is 0.5, in HEAD empty"),
        (
            DYNAMICS,
            '{"gaps": [{"gap": -121.5}]}',
            '{"gaps": [{"gap": 113.0}]}',
            "gaps.0.gap is -121.5, in HEAD 113",
        ),
        (DYNAMICS, '{"gaps": [{"step": 10}]}', '{"gaps": [{"step": 11}]}', "gaps.0.step is 10, in HEAD 11: "),
        (
            DYNAMICS,
            '{"held_out": {"accuracy": 0.92}}',
            '{"held_out": {"accuracy": 0.9}}',
            "accuracy: 0.016",
        ),
        (CURVE, "step,loss\n1,0.6\n", "step,loss\n1,0.7\n", "2.loss is 0.6, in HEAD 0.7: they differ by 0.1 nats"),
        (
            DYNAMICS,
            '{"b": {"refused": "+1, +21"}}',
            '{"b": {"refused": "+1, +28"}}',
            "they differ by 7 percentile",
        ),
        (
            DYNAMICS,
            '{"b": {"refused": "only 3"}}',
            '{"b": {"refused": "just 3"}}',
            'refused is "only 3", in HEAD "j',
        ),
        (DYNAMICS, '{"b": {"refused": "+1, +2"}}', '{"b": {"refused": "+1"}}', 'b.refused is "+1, +2", in HEAD "+1"'),
        (DYNAMICS, '{"b": {"refused": "+1+2"}}', '{"b": {"refused": "+1"}}', 'b.refused is "+1+2", in HEAD "+1"'),
        ("metrics/x.json", '{"a": "3 words"}', '{"a": "4 words"}', 'a is "3 words", in HEAD "4 words"'),
        (MOVERS, FIVE, FIVE.replace("a,agency", "a,communion"), "b/positive/up/a/10.construct is agency, in HEAD comm"),
        (MOVERS, FIVE, FIVE.replace(",1.5", ",201.5"), "they differ by 200 ranks (rank of a word after training: 60 "),
    ],
)
def test_what_differs_is_named(rules, path, ours, theirs, problem):
    if problem is None:  # rows that are no rows
        with pytest.raises(InputError, match=rf"^HEAD:{path}: cannot be read .*Make it again"):
            compare({path: ours}, {path: theirs}, rules, "HEAD")
        return
    first, verdict = compare({path: ours}, {path: theirs}, rules, "HEAD").lines()
    assert first.startswith(f"{path}: ") and problem in first
    assert verdict.endswith("1 files differ")


def test_neighbours_of_an_ordering_may_change_place_and_a_few_words_come_and_go(rules):
    swapped = movers(b=2.5, a=1.5, c=3.5, d=4.5, f=6.5)
    result = compare({MOVERS: swapped}, {MOVERS: FIVE}, rules, "HEAD")
    assert not result.problems and result.moved == 1
    assert result.lines()[-1].endswith("; 1 rows of ordered tables came or went")
    others = compare({MOVERS: movers(a=1.5, f=2.5, g=3.5, h=4.5, b=5.5)}, {MOVERS: FIVE}, rules, "HEAD")
    assert others.problems == {MOVERS: ["3 rows came or went, 40% of 5 may"]}
    fewer = compare({MOVERS: movers(a=1.5)}, {MOVERS: FIVE}, rules, "HEAD")
    assert fewer.problems == {MOVERS: ["4 rows came or went, 40% of 5 may"]}


def test_a_file_that_one_side_lacks_is_a_difference(rules):
    result = compare({"metrics/a.json": "{}"}, {"metrics/b.json": "{}"}, rules, "HEAD")
    assert result.problems == {"metrics/a.json": ["not in HEAD"], "metrics/b.json": ["missing here, HEAD has it"]}


def test_the_verdict_counts_and_names_the_largest_share_of_a_tolerance(rules):
    ours = {DYNAMICS: '{"gaps": [{"gap": 3.0}], "held_out": {"b": {"accuracy": 0.5}}}', "metrics/x.json": "3"}
    theirs = {
        DYNAMICS: '{"gaps": [{"gap": 5.0}], "held_out": {"b": {"accuracy": 0.508}}}',
        "metrics/x.json": "3",
    }
    assert compare(ours, theirs, rules, "HEAD").lines() == [
        "verify: 3 numbers in 2 files against HEAD: 3 within tolerance; largest difference 0.008 "
        f"(held-out accuracy: 0.016 allowed), {DYNAMICS}: held_out.b.accuracy"
    ]


def test_at_most_twenty_files_are_shown():
    lines = Result("HEAD", problems={f"metrics/{i}.json": ["x", "y"] for i in range(30)}).lines()
    assert len(lines) == 22
    assert lines[0] == "metrics/0.json: x (and 1 more)" and lines[20] == "… and 10 more files"


def test_every_tolerance_has_a_reason_and_a_file_that_the_pipeline_writes(rules, repository):
    assert all(entry.reason for entry in [*rules.kinds, *rules.ordered])
    assert all(kind.absolute or kind.relative for kind in rules.kinds)
    pipelines = [
        path.read_text(encoding="utf-8") for path in (repository / "dvc.yaml", *repository.glob("stages/*/dvc.yaml"))
    ]
    written = re.findall(r"(?:metrics|plots)/[\w/.-]+", re.sub(r"[$][{].*?[}]", "x", "\n".join(pipelines)))
    named = {name for kind in rules.kinds for name in kind.files} | {table.file for table in rules.ordered}
    missing = [pattern for pattern in named if not any(fnmatchcase(path, pattern) for path in written)]
    assert not [pattern for pattern in missing if not any(pattern.startswith(f"{folder}/") for folder in written)]


# --- git and folders ------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path, repository, monkeypatch):
    """A repository of two result files, its first commit tagged ``first``; the place to stand in."""
    folder = tmp_path / "clone"
    for name in (str(RULES), DYNAMICS, "prompts/value_laden.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / name, folder / name)
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"], ["tag", "first"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.chdir(folder)
    return folder


def change_gap(folder, by: float) -> None:
    path = folder / DYNAMICS
    found = json.loads(path.read_text(encoding="utf-8"))
    found["gaps"][4]["gap"] += by
    path.write_text(json.dumps(found), encoding="utf-8")


@pytest.mark.parametrize("other", [[], ["first"], ["copy"]])
def test_a_number_changed_by_hand_is_named(clone, capsys, other):
    for name in ("metrics", "prompts"):
        shutil.copytree(clone / name, clone / "copy" / name)
    assert cli.main(["verify", *other]) == 0
    equal = capsys.readouterr().out
    assert equal.startswith("verify: ") and f"in 2 files against {(*other, 'HEAD')[0]}: " in equal
    change_gap(clone, 8.5)  # what another number of threads does; not committed
    assert cli.main(["verify", *other]) == 0
    assert "largest difference 8.5 ranks" in capsys.readouterr().out
    change_gap(clone, 50)
    assert cli.main(["verify", *other]) == 1
    first, verdict = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{DYNAMICS}: gaps.4.gap is ") and "58.5 ranks" in first and "1 files differ" in verdict


def test_what_a_killed_stage_left_is_not_compared(clone):
    (clone / "metrics" / ".bases.partial").mkdir()
    (clone / "metrics" / ".bases.partial" / "x.json").write_text("{", encoding="utf-8")
    assert not verify().problems


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("no-such", r"git cannot give .* Name a revision, or a folder"),
        ("--output=x", r"git cannot give .* Name a revision, or a folder"),
        ("empty", r"^empty has no results .*Run from the root"),
        ("broken", r"^broken:metrics/dynamics.json: cannot be read"),
        ("bytes", r"^bytes/metrics/dynamics.json: cannot be read"),
    ],
)
def test_bad_input_is_one_line(clone, other, message):
    (clone / "empty").mkdir()
    for name, content in (("broken", b"{"), ("bytes", b"\xff")):
        (clone / name / "metrics").mkdir(parents=True)
        (clone / name / DYNAMICS).write_bytes(content)
    with pytest.raises(InputError, match=message):
        verify(other)
    assert not (clone / "x").exists()


@pytest.mark.parametrize("outer", [False, True])
def test_without_git_it_says_what_to_do(clone, monkeypatch, capsys, outer):
    """A downloaded archive, by itself or unpacked inside some other repository."""
    shutil.rmtree(clone / ".git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(clone.parent))
    if outer:
        subprocess.run(["git", "-C", str(clone.parent), "init", "-q"], check=True)
        monkeypatch.delenv("GIT_CEILING_DIRECTORIES")
    assert cli.main(["verify"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: git cannot give what to compare with") and told.count("\n") == 1


def test_outside_the_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"verify.yaml: no such file. Run from the root of the repository."):
        verify()


COPIED = ("*.data_size", "*.smallest_p", "*.level", "*.same_part_of_speech")
"""Numbers with a point that no last digit moves: settings, counts of labellings, shares of words."""


@pytest.mark.parametrize("group", ["compare", "base_preferences", "dynamics", "ablations"])
def test_every_computed_number_has_a_kind_of_its_own(rules, repository, group):
    """What would be held to six digits on another machine, as Cliff's δ once was, is named here."""
    exact = set()
    where = [f"metrics/{group}*.json", f"plots/{group}*.csv"]
    for path, text in read_folder(repository, where).items():
        for key, value in _leaves(path, text, []).items():
            if _NUMBER.fullmatch(value) and not value.lstrip("+-").isdigit():
                kind = next(kind for kind in rules.kinds if _fits(kind, path, key, True, False))
                if kind.kind == "rounding" and not any(fnmatchcase(f".{key}", name) for name in COPIED):
                    exact.add(f"{path}: {key}")
    assert not exact
