"""The atlas as a data set for the Hugging Face Hub: the table of plots/atlas.csv and a card, in ``data/atlas/``."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import yaml

from valuetrace.core import files
from valuetrace.publish import hub
from valuetrace.publish.adapters import CARD, as_written
from valuetrace.publish.cards import citation
from valuetrace.report.page import template

TABLE, METRICS = Path("plots/atlas.csv"), Path("metrics/atlas.json")
FOLDER = Path("data/atlas")
SOURCES = Path("metrics/published/sources.json")
HEADER = {  # the metadata that the Hub reads
    "license": "apache-2.0",
    "pretty_name": "Value profiles of released reward models",
    "language": "en",
    "tags": ["reward-model", "human-values", "valuetrace"],
    "size_categories": ["n<1K"],
    "configs": [{"config_name": "default", "data_files": TABLE.name}],
}


def publish(repository: str, private: bool, dry_run: bool, say: Callable[[str], None]) -> str:
    """Write ``data/atlas/`` and push it; returns the commit's address (the folder, of a dry run).

    All is read, checked and logged in before anything is written. InputError names what is missing.
    """
    hub.check_name("--atlas", repository)
    text = card(repository)
    say(f"{TABLE}: {TABLE.stat().st_size / 1e3:.0f} kB, to data set {repository}")
    if dry_run:
        say("dry run: nothing is written or pushed")
        return str(FOLDER)
    api = hub.login(say)
    with files.fresh_folder(FOLDER.with_name(f".{FOLDER.name}.partial")) as temporary:
        shutil.copyfile(TABLE, temporary / TABLE.name)
        files.write_text(text, temporary / CARD)
        files.replace_folder(temporary, FOLDER)
    return hub.push(FOLDER, repository, private, api, say, kind="dataset")


def card(repository: str) -> str:
    """The data set's card; InputError where the table, its metrics or the list of sources is missing or broken."""
    rows = files.read_csv(TABLE, ("model", "kind", "base", "lineage", "lexicon"), dtype=str)
    told, sources = files.read_json(METRICS), files.read_json(SOURCES)
    given = {"rows": len(rows), "repository": repository, "citation": citation()}
    given["header"] = yaml.safe_dump(HEADER, sort_keys=False)
    with as_written(METRICS):
        interval = {key: told["interval"][key] for key in ("level", "draws")}
        of_rewards = [row for table in told["tables"] if table["kind"] == "reward" for row in table["rows"]]
        lineages = {row["model"]: row["lineage"] for row in of_rewards}
        given |= {"lineages": len(set(lineages.values())), "reward_models": len(lineages)}
    with as_written(SOURCES):
        given |= {"tables": told["tables"], "interval": interval, "url": sources["url"]}
    return template("atlas.md.j2", "valuetrace.publish", escape=False).render(given)
