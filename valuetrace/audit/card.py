"""``audit --card``: the value profile as ``model-index`` metadata and a section of a model card.

card.md is the audited folder's README.md (or an empty card) with two additions, which replace those of an earlier
audit: metadata entries of data set type ``valuetrace``, and a section between two markers. Refused numbers are in the
section, with their reasons, and not in the metadata. huggingface_hub reads, writes and checks the card (``ModelCard``,
``EvalResult``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from valuetrace.audit.page import refused_rows
from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.publish.cards import citation, profile_rows
from valuetrace.report.page import template
from valuetrace.subjects.inputs import Job

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCard

BEGIN, END = "<!-- valuetrace audit: begin -->", "<!-- valuetrace audit: end -->"
OURS = "valuetrace"
_TASKS = {"reward": "text-classification", "logprob": "text-generation"}


def read(job: Job) -> ModelCard:
    """The card of the audited folder; without a README.md, a card of the model's name alone.

    InputError where its metadata are not those of a model card, or one of our markers is missing.
    """
    from huggingface_hub import ModelCard

    path = (job.folder if job.adapter is None else job.adapter.folder) / "README.md"
    text = f"# {job.name}\n"
    try:
        if path.is_file():
            text = path.read_text(encoding="utf-8-sig")
        card = ModelCard(text if text.lstrip().startswith("---") else f"---\n\n---\n{text}")
    except (ValueError, TypeError, KeyError, AttributeError, OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not a model card ({' '.join(str(error).split())}). Correct its metadata.") from None
    if re.findall(f"{BEGIN}|{END}", card.text) not in ([], [BEGIN, END]):
        raise InputError(f"{path}: must hold {BEGIN} and then {END}, once each, or neither. Correct it.")
    return card


def write(card: Any, result: dict, folder: Path) -> None:
    """card.md: ``card`` with the profile of ``result`` (profile.json) in its text and metadata."""
    others = [found for found in card.data.eval_results or [] if found.dataset_type != OURS]
    entries = [*others, *evaluations(result["profile"])]
    card.data.eval_results = entries or None
    if entries and card.data.model_name is None:
        card.data.model_name = result["model"]["name"]
    before, _, rest = card.text.partition(BEGIN)
    after = rest.partition(END)[2] or "\n"
    card.text = f"{before.rstrip()}\n\n{BEGIN}\n{section(result)}\n{END}{after}"
    files.write_text(str(card), folder / "card.md")


def evaluations(profile: dict) -> list[EvalResult]:
    """One entry a supported number: the percentile of a construct under a framing, with its interval."""
    from huggingface_hub import EvalResult

    lexicon = Path(profile["lexicon"]).stem
    return [
        EvalResult(
            task_type=_TASKS[profile["kind"]],
            task_name="value profile",
            dataset_type=OURS,
            dataset_name=f"{lexicon}, {row['framing']} prompts",
            dataset_config=lexicon,
            dataset_split=row["framing"],
            dataset_revision=profile["lexicon_sha256"],
            dataset_args={
                "prompts": profile["prompts"][row["framing"]],
                "prompts_sha256": profile["prompts_sha256"],
                "format": profile["format"]["name"],
                "case": profile["case"],
            },
            metric_type="percentile",
            metric_name=f"{row['label']}: percentile of the median word (100 is best, 50 is chance)",
            metric_value=round(row["percentile"], 1),
            metric_args={
                "construct": row["label"],
                "words": row["words"],
                "interval": [round(end, 1) for end in row["percentile_interval"]],
                "level": profile["interval"]["level"],
                "unit": profile["interval"]["unit"],
            },
        )
        for row in profile["rows"]
        if "refused" not in row
    ]


def section(result: dict) -> str:
    """The section in Markdown."""
    profile = result["profile"]
    given = {"r": result, "p": profile, "lexicon": Path(profile["lexicon"]).stem}
    given |= {"rows": profile_rows(profile["rows"]), "refused": refused_rows(profile), "citation": citation()}
    return template("card.md.j2", "valuetrace.audit", escape=False).render(given).strip()
