"""Model cards: what an adapter is, from what it was made and what it measured; every number from a metrics file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml

from valuetrace.core import files, settings
from valuetrace.core.errors import InputError, some
from valuetrace.measures import references
from valuetrace.models.rows import Model
from valuetrace.publish.adapters import PROVENANCE, Adapter, as_written
from valuetrace.report.page import template

PUBLISH = settings.ROOT / "conf" / "publish.yaml"
CITATION = settings.ROOT / "CITATION.cff"
OBJECTIVES = {"bradley_terry": "Bradley–Terry", "grm": "GRM (Yang et al. 2024)"}
METRICS, PLOTS = Path("metrics"), Path("plots")


@dataclass(frozen=True)
class Licence:
    """What a licence asks of a derivative. id, name, link: the card's header; notice: the text of the file NOTICE."""

    id: str
    link: str = ""
    name: str = ""
    notice: str = ""
    text: str = ""


@dataclass(frozen=True)
class Known:
    """conf/publish.yaml: Hub repositories of bases that come from files, and licences by the rows' wording."""

    bases: dict[str, str]
    licences: dict[str, Licence] = field(default_factory=dict)

    def hub(self, name: str, row: Model) -> str | None:
        """The Hub repository of a base; None where none is known."""
        return row.source.repository or self.bases.get(name)

    def licence(self, row: Model) -> Licence:
        """The licence of a row. InputError for an unknown wording, whose demands would be left out."""
        if row.licence not in self.licences:
            raise InputError(
                f"{PUBLISH}: 'licences' has no {row.licence!r}, the licence of {row.label} in params.yaml. Use a "
                f"wording of its ({some(self.licences)}), or add this one with the notice that it asks for."
            )
        return self.licences[row.licence]


def known(path: Path = PUBLISH) -> Known:
    """conf/publish.yaml, typed."""
    return settings.build(Known, settings.load(path), str(path))


def render(context: Mapping[str, Any]) -> str:
    """The card's text; InputError for a value that ``context`` lacks, so that no place stays empty."""
    try:
        return template("card.md.j2", "valuetrace.publish", escape=False).render(context).rstrip() + "\n"
    except (TypeError, ValueError, jinja2.UndefinedError) as error:
        where = f"{METRICS}/training/{context['base']}.json, {METRICS}/dynamics.json or {PLOTS}/dynamics/ranks.csv"
        raise InputError(f"{where}: a number of the card is missing or none ({error}). Make it again.") from None


def context(adapter: Adapter, row: Model, chosen: Known, repository: str | None = None) -> dict[str, Any]:
    """What a card says of ``adapter``, from metrics/, plots/ and params.yaml; absent files leave their part out."""
    base, made = adapter.base, adapter.provenance
    licence, hub = chosen.licence(row), chosen.hub(base, row)
    path = METRICS / "training" / f"{base}.json"
    training = _read(path) or {}
    with as_written(path):
        held_out, pairs = training.get("checkpoints", []), training.get("held_out", {}).get("pairs")
        start = "held_out_accuracy_"
        last = held_out[-1] if held_out else {}
        kinds = [name.removeprefix(start) for name in last if name.startswith(start)]  # that have an accuracy
    with as_written(METRICS / "preferences.json"):
        data = _data(_read(METRICS / "preferences.json"), training)
    with as_written(f"{PROVENANCE} of {base}"):
        trained = made["training"]
        provenance = {
            "objective": OBJECTIVES[trained["objective"]],
            "origin": _origin(made["base"]),
            "hyperparameters": hyperparameters(adapter, made),
            "versions": ", ".join(f"{name} {version}" for name, version in made.get("versions", {}).items()),
            "rounding": f"{made['published']['largest_rounding']:.2g}",
            "linear": trained["head"] == "linear",
            "template": _template(trained["format"]),
        }
    return {
        "base": base,
        "title": f"{row.label}: reward model ({provenance['objective']})",
        **provenance,
        "header": header(row, licence, hub, data),
        "label": row.label,
        "training_kind": row.training,
        "hub": hub,
        "licence": row.licence,
        "licence_link": licence.link,
        "licence_text": licence.text,
        "notice": licence.notice,
        "data": data,
        "held_out": held_out,
        "kinds": kinds,
        "held_out_pairs": pairs,
        **value_profile(base, made["step"]),
        "profiles": _profiles(base),
        "repository": repository,
        "citation": citation(),
    }


def header(row: Model, licence: Licence, hub: str | None, data: dict | None) -> str:
    """The YAML metadata that the Hub reads."""
    fields: dict[str, Any] = {"license": licence.id}
    if licence.id == "other":
        fields |= {"license_name": licence.name} | ({"license_link": licence.link} if licence.link else {})
    fields |= {"base_model": hub, "base_model_relation": "adapter"} if hub else {}
    fields |= {"library_name": "peft", "pipeline_tag": "text-classification", "language": "en"}
    fields["tags"] = ["reward-model", "lora", "preference-learning", "valuetrace"]
    if data and data["repository"]:
        fields["datasets"] = [data["repository"]]
    fields["metrics"] = ["accuracy"]
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)


def hyperparameters(adapter: Adapter, made: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The rows of the table of hyperparameters, as the checkpoint recorded them."""
    told, lora = made["training"], made["training"]["lora"]
    rows = [
        ("objective", OBJECTIVES[told["objective"]]),
        ("head", told["head"]),
        ("LoRA rank, alpha, dropout", f"{lora['rank']}, {lora['alpha']}, {lora['dropout']}"),
        ("LoRA modules", ", ".join(lora["modules"])),
        ("trained parameters", f"{adapter.parameters:,}"),
        ("learning rate, schedule", f"{told['learning_rate']}, {told['schedule']}"),
        ("warm-up (share of the steps)", told["warmup"]),
        ("weight decay", told["weight_decay"]),
        ("largest gradient norm", told["max_grad_norm"]),
        ("pairs a step, steps, epochs", f"{told['batch']}, {made['steps']}, {told['epochs']}"),
        ("longest conversation (tokens)", told["max_length"]),
        ("precision of the base", told["precision"]),
        ("seed", told["seed"]),
    ]
    if told["objective"] == "grm":
        rows.insert(1, ("GRM text weight, beta", f"{told['text_weight']}, {told['text_beta']}"))
    return rows


@as_written(METRICS / "dynamics.json")
def value_profile(base: str, step: int) -> dict[str, Any]:
    """Median ranks and gaps of the run that ended at ``step``, or ``no_profile``: why there are none."""
    nothing: dict[str, Any] = {"ranks": [], "gaps": [], "lexicon": "", "prompts": "", "constructs": [], "reading": None}
    found = _read(METRICS / "dynamics.json")
    if found is None:
        return nothing | {"no_profile": "metrics/dynamics.json is absent: no value profile can be given."}
    if found["last_step"] != step:
        return nothing | {"no_profile": "metrics/dynamics.json tells of another run: no value profile can be given."}
    if base in found["refused"]:
        why = found["refused"][base]
        return nothing | {"no_profile": f"Refused: {why['refused']}. Needed: {why['needs']}."}
    ranks: list[dict] = []
    path = PLOTS / "dynamics" / "ranks.csv"
    if path.is_file():
        frame = pd.read_csv(path)
        ranks = frame[(frame["base"] == base) & (frame["step"] == step)].to_dict("records")
    pairs = [(row, {row["first"], row["second"]}) for row in found["gaps"] if row["step"] == step]
    return {
        "ranks": ranks,
        "gaps": [row for row, pair in pairs if base in pair and not pair & set(found["refused"])],
        "reading": next(row for row in found["readings"] if (row["base"], row["step"]) == (base, step)),
        "lexicon": found["lexicon"],
        "prompts": " and ".join(f"{count} {framing} prompts" for framing, count in found["prompts"].items()),
        "constructs": list(found["words"]),
        "no_profile": f"metrics/dynamics.json says nothing of {base}.",
    }


def citation(path: Path = CITATION) -> str:
    """The BibTeX entry of the paper that CITATION.cff prefers."""
    cited = settings.load(path)["preferred-citation"]
    authors = " and ".join(f"{author['family-names']}, {author['given-names']}" for author in cited["authors"])
    key = f"{cited['authors'][0]['family-names']}{cited['year']}".lower()
    lines = {
        "title": cited["title"],
        "author": authors,
        "booktitle": cited["conference"]["name"],
        "year": cited["year"],
    }
    return "\n".join([f"@inproceedings{{{key},", *(f"  {name} = {{{value}}}," for name, value in lines.items()), "}"])


def _data(found: dict | None, training: dict) -> dict[str, Any] | None:
    """What metrics/preferences.json tells of the pairs, beside the counts that the training saw."""
    if found is None:
        return None
    origin = found["origin"]
    return {
        "source": origin.get("repository") or origin["source"],
        "licence": origin.get("licence", "licence not recorded"),
        "repository": origin.get("repository"),
        "revision": origin.get("revision"),
        "pairs": training.get("pairs", found["train"]["pairs"]),
        "held_out": training.get("held_out", found["held_out"])["pairs"],
        "excluded": origin.get("excluded_lexicons", []),
        "length_only": found["train"].get("length_only_accuracy"),
    }


def _profiles(base: str) -> list[dict[str, Any]]:
    """Audits of the trained model in metrics/profiles/ (kind reward, named after the base or a step of it)."""
    return [
        {"model": found["model"], "lexicon": found["lexicon"], "format": found["format"]["name"]}
        | {"rows": profile_rows(found["rows"])}
        for found in references.read(METRICS / "profiles")
        if found["kind"] == "reward" and found["model"].split("/")[0] == base
    ]


def profile_rows(rows: list[dict]) -> list[dict]:
    """The rows of a value profile with ``percentile`` and ``interval`` as a card writes them."""
    return [
        row
        | {"percentile": f"{row['percentile']:.1f}", "interval": "{:.1f} to {:.1f}".format(*row["percentile_interval"])}
        if "percentile" in row
        else row | {"percentile": "–", "interval": "refused"}
        for row in rows
    ]


def _origin(base: Mapping[str, Any]) -> str:
    """What the checkpoint recorded of its base, in words."""
    if (origin := base.get("origin")) is None:
        return "SHA-256 " + ", ".join(base["sha256"])
    if "repository" in origin:
        return f"{origin['repository']} at revision {origin['revision']}"
    if "file" in origin:
        return (
            f"the quantised file {origin['file']} (SHA-256 {origin['sha256']}), dequantised to float32; on the base's "
            "original weights the rewards differ a little"
        )
    return ", ".join(f"{name} {value}" for name, value in origin.items()) + " (random weights: a plumbing test)"


def _template(form: Mapping[str, Any]) -> str:
    if form["kind"] == "chat":
        return "the base's own chat template has it"
    closing = " and the closing EOS" if form.get("closing") == "eos" else ""
    space = " a space," if form.get("space") else ""
    return f"`{form['template']!r}`, then{space} the reply{closing}"


def _read(path: Path) -> dict | None:
    return files.read_json(path) if path.is_file() else None
