"""Results kept after a refactoring: equal bytes, and nothing else, let a lock file name the new key."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_pipeline import clone, edit, named, run  # noqa: F401

from valuetrace import adopt

KEY = 'f"{adjective}_{superlative}_{concision}"'


def adopted(clone: Path, *arguments: str) -> subprocess.CompletedProcess:  # noqa: F811
    command = [sys.executable, "-m", "valuetrace.cli", "adopt", "prompts", *arguments]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True)


@pytest.mark.slow
def test_equal_bytes_are_kept_and_others_are_not(clone):  # noqa: F811
    lock, source = clone / "dvc.lock", clone / "valuetrace/prompts.py"
    before, records = lock.read_text(encoding="utf-8"), json.loads((clone / adopt.RECORD).read_text(encoding="utf-8"))
    assert "prompts: up to date" in adopted(clone).stdout

    edit(source, KEY, '"_".join((adjective, superlative, concision))')  # the same by other means
    run(clone, "dvc", "repro", "code")
    assert "prompts" in run(clone, "dvc", "status", "prompts")
    made = adopted(clone)
    assert made.returncode == 0 and "prompts: 1 cells, 1 compared" in made.stdout, made.stderr
    assert not named(run(clone, "dvc", "repro", "prompts"))
    run(clone, "git", "add", str(adopt.RECORD))
    *kept, record = json.loads((clone / adopt.RECORD).read_text(encoding="utf-8"))
    assert kept == records
    assert record["compared"] == [{"cell": "prompts", "equal_to": "recorded"}]
    assert record["old_key"] != record["key"] and record["cells"] == 1
    run(clone, "git", "-c", "user.name=x", "-c", "user.email=x@y", "commit", "--quiet", "--all", "-m", "adopted")
    cells = sum(row["cells"] for row in records) + 1
    kernels = len({row["kernel"] for row in records}) + 1
    assert f"adopted: {cells} cells of {kernels} kernels" in run(
        clone, sys.executable, "-m", "valuetrace.cli", "verify"
    )
    assert lock.read_text(encoding="utf-8") != before

    edit(source, '"_".join((adjective', '"-".join((adjective')
    run(clone, "dvc", "repro", "code")
    kept = lock.read_text(encoding="utf-8")
    refused = adopted(clone)
    assert refused.returncode == 2 and "prompts/value_laden.csv" in refused.stderr
    assert "differ from what HEAD writes; nothing is adopted" in refused.stderr
    assert lock.read_text(encoding="utf-8") == kept

    edit(clone / "prompts/design.yaml", "best: best", "best: finest")
    assert "prompts/design.yaml has changed, too" in adopted(clone).stderr


@pytest.mark.slow
def test_what_no_stage_makes_leaves_the_locks(clone):  # noqa: F811
    text = (clone / "dvc.lock").read_text(encoding="utf-8")
    gone = "  gone@1:\n    cmd: echo\n"
    (clone / "dvc.lock").write_text(text + gone, encoding="utf-8")
    run(clone, sys.executable, "-m", "valuetrace.cli", "adopt", "--prune")
    assert (clone / "dvc.lock").read_text(encoding="utf-8") == text


def test_a_hash_is_dvc_s(tmp_path):
    """Of a file, and of a folder with one below it: as DVC's own builder has them."""
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.db.local import LocalHashFileDB
    from dvc_objects.fs.local import LocalFileSystem

    (tmp_path / "folder/below").mkdir(parents=True)
    for name in ("folder/b.csv", "folder/a.csv", "folder/below/c.csv"):
        (tmp_path / name).write_text(name)
    fs = LocalFileSystem()
    odb = LocalHashFileDB(fs, str(tmp_path / "cache"), tmp_dir=str(tmp_path / "tmp"))
    for name in ("folder/a.csv", "folder"):
        _, _, found = build(odb, str(tmp_path / name), fs, "md5")
        assert adopt._hash(tmp_path / name) == found.hash_info.value
