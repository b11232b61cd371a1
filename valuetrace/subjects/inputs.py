"""An audit's request, resolved: a model folder, its kind, words, prompts and a format."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch

from valuetrace import tables
from valuetrace.core import files, settings
from valuetrace.core.errors import InputError, some
from valuetrace.lexicon import unrolled
from valuetrace.lexicon.unrolled import find_lexicon
from valuetrace.measures import calibration, profile, references, validity
from valuetrace.models import loading
from valuetrace.models.rows import MODELS, Source, TokenizerChanges, provenance
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format
from valuetrace.scoring.recognise import recognise
from valuetrace.subjects import results
from valuetrace.subjects.adapters import Adapter, read_adapter
from valuetrace.subjects.formats import choose_format, with_arguments

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Request:
    """The options of ``valuetrace audit``, as they were given (see its --help)."""

    model: str
    lexicon: str = "big_two_nouns"
    prompts: str = "value_laden"
    vocabulary: bool = False
    format: str | None = None
    template_arguments: dict[str, str | bool] = field(default_factory=dict)
    case: Literal["lower", "capitalised"] = "lower"
    calibrated: bool = False
    head: str | None = None
    output: int | None = None
    position: Literal["last", "before_padding"] | None = None
    tokenisation: Literal["exact", "as_published"] = "exact"
    revision: str | None = None
    out: Path | None = None
    device: str | None = None
    dtype: str | None = None
    batch_size: int | None = None
    draws: int = 9_999
    seed: int = 1
    max_minutes: float | None = None
    references: Path | None = None
    offline: bool = False
    card: bool = False
    optimal: int | None = None
    beam: int | None = None


@dataclass(frozen=True)
class Job:
    """A request whose every part was found. kind: ``reward`` or ``logprob``; architecture: the class in config.json;
    origin: the model's ``provenance.json``; lexicon: ``word, construct, polarity``; known: the known groups, ``word,
    polarity``, scored along; prompts: ``key, text, framing``; adapter: what is merged into the model in ``folder``;
    neutral: ``key, text`` of the prompts that log-probabilities are calibrated with, asked along."""

    request: Request
    name: str
    folder: Path
    out: Path
    kind: Literal["reward", "logprob"]
    architecture: str
    origin: dict[str, Any]
    lexicon: pd.DataFrame
    known: pd.DataFrame
    prompts: pd.DataFrame
    format: str
    form: Format
    references: list[dict]
    adapter: Adapter | None = None
    neutral: pd.DataFrame | None = None

    def asked(self) -> pd.DataFrame:
        """``key, text`` of all prompts that the model is given."""
        return self.prompts if self.neutral is None else pd.concat([self.prompts, self.neutral], ignore_index=True)

    def about(self) -> dict[str, Any]:
        """What results record of the model."""
        told = {"kind": self.kind, "architecture": self.architecture, "origin": self.origin}
        return told | {"config_sha256": files.sha256(self.folder / "config.json")}

    def profile(self, table: pd.DataFrame, lexicon: pd.DataFrame | None = None) -> dict:
        """The value profile (``measures.profile``) of a score table; lexicon: instead of the job's own."""
        asked = self.request
        tokenisation = asked.tokenisation if self.kind == "reward" else None
        named = (self.name, self.kind, asked.lexicon, self.format, self.form, asked.case, tokenisation)
        words = self.lexicon if lexicon is None else lexicon
        given = (profile.Subject(*named), table, words, self.prompts, self.known, validity.rule())
        return profile.profile(*given, neutral=self.neutral, draws=asked.draws, seed=asked.seed)


def resolve(request: Request) -> Job:
    """Find everything that a request names. InputError for the first thing that is missing or invalid.

    Words and prompts are read before a model is downloaded; no weights are read.
    """
    check_options(request)
    find_device(request.device)
    lexicon, prompts = find_lexicon(request.lexicon), read_prompts(request.prompts)
    others = read_references(request.references)
    given = find_model(request.model, request.revision, request.offline)
    adapter = read_adapter(given)
    folder = given if adapter is None else find_model(adapter.base, adapter.revision, request.offline)
    kind, architecture = kind_of(folder, request.head, adapter, request.output)
    check_options(request, kind)
    name = given.resolve().name.replace("--", "/", 1) if adapter is None else adapter.name
    out = results.check(request.out or results.default_folder(given))
    asks = folder if adapter is None else adapter.tokenizer_folder(folder)
    form_name, form = choose_format(request.format, kind, folder, adapter)
    form = with_arguments(form, form_name, request.template_arguments, asks)
    asked = (lexicon, read_known_groups(), prompts)
    origin = read_origin(folder) if adapter is None else adapter.origin
    neutral = _neutral(prompts) if request.calibrated else None
    return Job(
        request, name, folder, out, kind, architecture, origin, *asked, form_name, form, others, adapter, neutral
    )


def _neutral(prompts: pd.DataFrame) -> pd.DataFrame:
    found = calibration.neutral()[["key", "text"]]
    if twice := sorted(set(found["key"]) & set(prompts["key"])):
        raise InputError(f"--calibrated: {some(twice)} is the key of a neutral prompt, too. Give yours another.")
    return found


def check_options(request: Request, kind: str | None = None) -> None:
    """InputError for a number that means nothing, and for options that exclude each other or the kind of model.

    kind: None where it is not known yet.
    """
    minutes, only = request.max_minutes, "is for reward models; a language model"
    if minutes is not None and not (math.isfinite(minutes) and minutes > 0):
        raise InputError(f"--max-minutes {minutes:g}: give a number of minutes above 0.")
    if request.seed < 0:
        raise InputError(f"--seed {request.seed}: give 0 or a larger whole number.")
    if request.beam is not None and request.optimal is None:
        raise InputError(f"--beam {request.beam} belongs to --optimal K: give both, or neither.")
    if request.optimal is not None and request.tokenisation != "exact":
        raise InputError("--optimal puts token ids into the conversation: run without --tokenisation as_published.")
    if kind == "reward" and request.calibrated:
        raise InputError("--calibrated is for language models; a reward model's rewards are read as they are.")
    if kind == "logprob" and request.vocabulary:
        raise InputError(f"--vocabulary {only}'s whole vocabulary is scored anyway.")
    if kind == "logprob" and request.tokenisation != "exact":
        raise InputError(f"--tokenisation {request.tokenisation} {only} reads no reply.")
    if kind == "logprob" and request.optimal is not None:
        raise InputError(f"--optimal {request.optimal} {only} gives no reply a reward.")


def find_device(name: str | None) -> torch.device | None:
    """The device by name; None for ``auto``, all of them. InputError for one that this machine does not have."""
    best = loading.best_device()
    if name is None:
        return best
    if name == "auto":
        return None
    try:
        chosen = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device {name}: unknown. Give cpu, cuda, cuda:1, or auto (all devices).") from None
    count = 0 if best.type == "cpu" else torch.accelerator.device_count()
    there = ["cpu", *(f"{best.type}:{i}" for i in range(count))]
    if str(chosen) not in (*there, "cpu:0", best.type):
        raise InputError(f"--device {name}: no such device; available: {some(there, 20)}.")
    return chosen


def find_model(name: str, revision: str | None = None, offline: bool = False) -> Path:
    """The folder of a model: a path, a name in data/models/, or a Hub id (downloaded once into data/models/).

    InputError for what is none of these; offline: for a Hub id that is not in data/models/.
    """
    path = Path(name)
    if path.is_file():
        raise InputError(f"{name}: a file. Give the folder that holds config.json, tokenizer and safetensors.")
    for folder in (path, MODELS / name, settings.ROOT / MODELS / name):
        if folder.is_dir():
            if revision is not None:
                raise InputError(f"--revision {revision}: {folder} is a folder; only a model of the Hub has revisions.")
            return folder
    params = settings.ROOT / settings.PARAMS
    if params.is_file() and name in settings.load(params).get("models", {}):
        raise InputError(f"{name}: its folder is not made yet. Run: dvc repro models@{name}")
    if not _HUB_ID.fullmatch(name):
        raise InputError(f"{name}: no such folder, no model in {MODELS}/, and no Hub id (owner/name).")
    folder = MODELS / (name + (f"@{revision}" if revision else "")).replace("/", "--")
    if folder.is_dir():
        return folder
    if offline:
        raise InputError(f"{name}: {folder} is not there, and --offline downloads nothing. Run once without --offline.")
    with files.alone(folder, f"another process downloads {name}"):
        if not folder.is_dir():
            loading.make(name, Source("hub", repository=name, revision=revision), TokenizerChanges(), folder)
    return folder


def kind_of(
    folder: Path, head: str | None, adapter: Adapter | None, output: int | None = None
) -> tuple[Literal["reward", "logprob"], str]:
    """The kind of a model folder, or of an adapter over it, and the class that its config.json names.

    InputError for what is of no kind, and for ``head`` or ``output`` where they name none of this model
    (``scoring.recognise``).
    """
    if adapter is not None and head is not None:
        raise InputError(f"--head {head}: an adapter brings its own head. Run without --head.")
    if adapter is not None:
        architecture = (loading.read_config(folder).get("architectures") or ["(none)"])[0]
        return adapter.kind(folder), f"{architecture} with an adapter"
    found = recognise(folder, head, output)
    return found.kind, found.architecture


def read_prompts(name: str) -> pd.DataFrame:
    """``key, text, framing``: the value-laden set, some of it by key (a,b,c), or a CSV file."""
    columns = ["key", "text", "framing"]
    known = value_laden()[columns]
    if name == "value_laden":
        return known
    if not name.endswith(".csv"):
        keys = [key.strip() for key in name.split(",")]
        if unknown := [key for key in keys if key not in set(known["key"])]:
            raise InputError(
                f"--prompts: {some(unknown)} is not a value-laden prompt ({some(known['key'], 3)}). "
                "Give value_laden, keys joined by commas, or a CSV with key,text,framing."
            )
        frame = known.set_index("key").loc[keys].reset_index()
    else:
        frame = files.read_csv(name, tuple(columns), dtype=str)[columns]
    for column in columns:
        blank = frame.index[frame[column].str.strip() == ""]
        if len(blank):
            raise InputError(f"{name}, line {blank[0] + 2}: {column} is empty.")
    bad = sorted(set(frame["key"][frame["key"].duplicated()]) | set(frame["key"]) & set(tables.TOKEN_COLUMNS))
    if bad or frame.empty:
        raise InputError(f"{name}: key {some(bad) or '(none)'} is given twice or reserved. Give each prompt its own.")
    if framings := sorted(set(frame["framing"]) - set(validity.FRAMINGS)):
        raise InputError(f"{name}: framing {some(framings)}; it is positive or negative.")
    return frame


def read_references(folder: Path | None) -> list[dict]:
    """The profiles in a folder; None: those of the repository, where there are any."""
    if folder is not None and not folder.is_dir():
        raise InputError(f"--references {folder}: no such folder. Give one of value profiles (metrics/profiles).")
    return references.read(folder or settings.ROOT / "metrics" / "profiles")


def read_known_groups() -> pd.DataFrame:
    """``word, polarity`` of the known groups; empty where their file is missing (the lexicon's own then count)."""
    path = settings.ROOT / unrolled.lexicon_path(unrolled.KNOWN_GROUPS)
    columns = ["word", "polarity"]
    return files.read_csv(path, tuple(columns), dtype=str)[columns] if path.is_file() else pd.DataFrame(columns=columns)


def read_origin(folder: Path) -> dict[str, Any]:
    """A model folder's provenance. InputError where it is not of the form that ``models.loading`` writes."""
    path = folder / "provenance.json"
    found = settings.build(dict[str, Any], provenance(folder), str(path))
    if "origin" in found:
        settings.build(dict[str, str | int | None], found["origin"], f"{path}: 'origin'")
    return found
