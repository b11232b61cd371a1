"""A reward model that was deliberately made blind to the prompts (definitions only): refused wherever it is shown."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from valuetrace import audit as auditing
from valuetrace import preferences, tables
from valuetrace.core import files, settings
from valuetrace.lexicon import unrolled
from valuetrace.measures import validity
from valuetrace.measures.compare import inputs, run
from valuetrace.measures.compare.inputs import Origin
from valuetrace.measures.dynamics.trajectories import readings
from valuetrace.models.rows import Scoring
from valuetrace.report import compare as comparison_page
from valuetrace.report import page
from valuetrace.training.recipe import Search, Training
from valuetrace.training.study import train_and_search

BASE, PAIRS = "smollm2-135m-instruct", 240
REASON = "the prompts are not read: virtues less vices"


@pytest.mark.slow
def test_definitions_alone_are_refused_by_dynamics_audit_compare_and_report(repository, tmp_path, monkeypatch):
    for needed in (f"data/models/{BASE}", "data/assets/wordnet"):
        if not (repository / needed).is_dir():
            pytest.skip(f"{needed} is not made: dvc repro models@{BASE} preferences")
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    for name in ("data/models", "data/assets", "lexicons", "prompts", "conf"):
        Path(name).symlink_to(repository / name)
    for name in ("params.yaml", "metrics", "plots"):
        copy = shutil.copytree if (repository / name).is_dir() else shutil.copy
        copy(repository / name, name)

    drawn = preferences.draw(
        replace(settings.get("preferences", preferences.Preferences), source="wordnet"), str(PAIRS), 1
    )
    preferences.write({"train": drawn.train, "held_out": drawn.held_out}, Path("pairs"))
    search = replace(settings.get("dynamics.search", Search), checkpoints=2)
    how, params = settings.get(f"models.{BASE}.scoring", Scoring), settings.get("training", Training)
    made = train_and_search(BASE, how, Path("pairs/train.parquet"), Path("pairs/held_out.parquet"), params, search)
    last = int(made.scores["step"].max())
    assert made.metrics["checkpoints"][-1]["held_out_accuracy"] > 0.6  # it has learnt what it was taught

    lexicon, known = (unrolled.read_lexicon(name) for name in (search.lexicon, unrolled.KNOWN_GROUPS))
    checked = readings({BASE: made.scores}, lexicon, known, search.prompts(), [last], validity.rule()).iloc[0]
    assert checked["refused"].startswith(REASON) and checked["across"] > 0.6

    keys = list(search.prompts()["key"])
    request = auditing.Request(
        f"data/checkpoints/{BASE}/step-{last}", prompts=",".join(keys), draws=20, out=Path("audit"), offline=True
    )
    audited = auditing.audit(request, lambda line: None).result["profile"]
    assert audited["reading"]["refused"].startswith(REASON)
    assert all(row["refused"].startswith(REASON) and "percentile" not in row for row in audited["rows"])
    assert REASON in Path("audit/audit.html").read_text(encoding="utf-8")

    scores = tables.read_scores("audit/scores.parquet")
    like = scores.copy()  # nearly the same model: a copy would be refused for being one
    like[keys] += np.random.default_rng(1).normal(0, 0.05 * scores[keys].to_numpy().std(), scores[keys].shape)
    like[keys] = like[keys].astype(np.float32)
    other = tables.write_scores(like, "other.parquet", {"model": "other"})
    groups = {"blind": Origin("Blind"), "other": Origin("Other")}
    blind = tables.write_scores(scores, "blind.parquet", {"model": "blind"})
    compared = run.compare(inputs.read_tables([blind, other], groups), lexicon, "x", draws=9, lexicon_draws=9)
    assert set(compared.metrics["refused"]) == {"blind", "other"} and compared.plots == {}
    assert compared.metrics["refused"]["blind"]["reason"] == audited["reading"]["refused"]
    assert REASON in comparison_page.as_text(compared.metrics)

    dynamics = files.read_json("metrics/dynamics.json")
    dynamics["refused"] = {BASE: {"refused": checked["refused"], "needs": checked["needs"]}}
    files.write_json(dynamics, "metrics/dynamics.json")
    shown = page.report()
    assert REASON in shown and "dynamics:gaps" not in shown
    gaps = pd.DataFrame(dynamics["gaps"])
    assert len(gaps) and "dynamics:gaps" in (repository / "plots/report.html").read_text(encoding="utf-8")
