"""What an audit is asked for, and what that means: a model folder, its kind, words, prompts and a format."""

from __future__ import annotations

import inspect
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from valuetrace import tables
from valuetrace.core import files, settings
from valuetrace.core.errors import InputError, some
from valuetrace.core.files import alone
from valuetrace.lexicon import unrolled
from valuetrace.lexicon.unrolled import find_lexicon
from valuetrace.measures import references as profiles
from valuetrace.models import loading
from valuetrace.models.rows import MODELS, Source, TokenizerChanges, provenance
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format
from valuetrace.scoring.heads import ADAPTERS
from valuetrace.subjects import adapters, results

QUESTION = Format("text", space=True, template="Question: {prompt}\nAnswer:", closing="eos")
"""The format of a reward model without a chat template: the one that the demo's reward models are trained with."""

FORMATS = {"chat": Format("chat", space=False), "raw": Format("text", space=True)}
"""Where there is no params.yaml: the chat template, and the bare prompt."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_LANGUAGE_MODELS = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())


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
    head: str | None = None
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
    known: the known groups, ``word, polarity``, scored along; origin: the model's ``provenance.json``; adapter: what
    is merged into ``folder``'s base, if anything is."""

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
    adapter: adapters.Adapter | None = None


def resolve(request: Request) -> Job:
    """Find everything a request names. InputError for the first thing that is missing or makes no sense.

    Words and prompts are read before a model is downloaded; no weights are read.
    """
    check_numbers(request)
    find_device(request.device)
    lexicon, prompts = find_lexicon(request.lexicon), read_prompts(request.prompts)
    references = read_references(request.references)
    given = find_model(request.model, request.revision, request.offline)
    adapter = adapters.read(given)
    folder = given if adapter is None else find_model(adapter.base, offline=request.offline)
    kind, architecture = kind_of(folder, request.head) if adapter is None else kind_of_adapter(folder, request.head)
    if kind == "logprob":
        check_reward_options(request)
    name = given.resolve().name.replace("--", "/", 1) if adapter is None else adapter.name
    out = results.check(request.out or results.default_folder(given))
    form_name, form = choose_format(request.format, kind, folder, adapter)
    form = with_arguments(form, form_name, request.template_arguments, folder)
    asked = (lexicon, read_known_groups(), prompts)
    origin = read_origin(folder) if adapter is None else adapter.origin
    return Job(request, name, folder, out, kind, architecture, origin, *asked, form_name, form, references, adapter)


def check_reward_options(request: Request) -> None:
    """InputError for an option that means nothing to a language model."""
    if request.vocabulary:
        raise InputError("--vocabulary is for reward models; a language model's whole vocabulary is scored anyway.")
    if request.tokenisation != "exact":
        raise InputError(
            f"--tokenisation {request.tokenisation} is for reward models; a language model reads no reply."
        )
    if request.optimal is not None:
        raise InputError(f"--optimal {request.optimal} is for reward models; a language model gives no reply a reward.")


def check_numbers(request: Request) -> None:
    """InputError for a number that means nothing."""
    minutes = request.max_minutes
    if minutes is not None and not (math.isfinite(minutes) and minutes > 0):
        raise InputError(f"--max-minutes {minutes:g}: give a number of minutes above 0.")
    if request.seed < 0:
        raise InputError(f"--seed {request.seed}: give 0 or a larger whole number.")
    if request.beam is not None and request.optimal is None:
        raise InputError(f"--beam {request.beam} belongs to --optimal K: give both, or neither.")
    if request.optimal is not None and request.tokenisation != "exact":
        raise InputError("--optimal puts token ids into the conversation: leave --tokenisation as_published out.")


def find_device(name: str | None) -> torch.device | None:
    """The device by name; None for ``auto``, all of them. InputError for one that this machine does not have."""
    best = loading.best_device()
    if name is None or name == "auto":
        return best if name is None else None
    try:
        chosen = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device {name}: unknown. Give cpu, cuda, cuda:1, or auto (all devices).") from None
    if chosen.type != "cpu" and chosen.type != best.type:
        raise InputError(f"--device {name}: this machine has none; torch sees {best}.")
    there = ["cpu"] if chosen.type == "cpu" else [f"{best.type}:{i}" for i in range(torch.accelerator.device_count())]
    if chosen.index is not None and str(chosen) not in (*there, "cpu:0"):
        raise InputError(f"--device {name}: there is none of this number; torch sees {some(there, 20)}.")
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
    if not folder.is_dir() and offline:
        raise InputError(f"{name}: {folder} is not there, and --offline downloads nothing. Leave --offline out, once.")
    if not folder.is_dir():
        with alone(folder, f"another process downloads {name}"):
            if not folder.is_dir():
                source = Source("hub", repository=name, revision=revision)
                loading.make(name, source, TokenizerChanges(), folder)
    return folder


def kind_of(folder: Path, head: str | None = None) -> tuple[Literal["reward", "logprob"], str]:
    """What a model folder holds, by the class that its config.json names."""
    architecture = (loading.read_config(folder).get("architectures") or ["(none)"])[0]
    if head is not None and head not in ADAPTERS:
        raise InputError(f"--head {head}: no such adapter. There are: {some(ADAPTERS, 20)}.")
    if head is not None and architecture in _LANGUAGE_MODELS:
        raise InputError(f"--head {head}: {folder} is a language model ({architecture}) and has no reward head.")
    if head is not None or architecture in ADAPTERS or architecture.endswith("ForSequenceClassification"):
        return "reward", architecture
    if architecture in _LANGUAGE_MODELS:
        return "logprob", architecture
    raise InputError(
        f"{folder}: config.json names the class {architecture}, which is neither a language model nor a reward "
        "model with an adapter. If an adapter fits it, name it with --head."
    )


def kind_of_adapter(base: Path, head: str | None) -> tuple[Literal["reward"], str]:
    """What an adapter of ours on ``base`` is: a reward model with a head of its own."""
    if head is not None:
        raise InputError(f"--head {head}: an adapter brings its own head. Leave the option out.")
    architecture = (loading.read_config(base).get("architectures") or ["(none)"])[0]
    return "reward", f"{architecture} with an adapter"


def read_prompts(name: str) -> pd.DataFrame:
    """``key, text, framing``: the value-laden set, some of it by key (a,b,c), or a CSV file."""
    known = value_laden()[["key", "text", "framing"]]
    if name == "value_laden":
        return known
    if not name.endswith(".csv"):
        keys = [key.strip() for key in name.split(",")]
        unknown = [key for key in keys if key not in set(known["key"])]
        if unknown:
            raise InputError(
                f"--prompts: {some(unknown)} is not a value-laden prompt ({some(known['key'], 3)}). "
                "Give value_laden, keys joined by commas, or a CSV with key,text,framing."
            )
        frame = known.set_index("key").loc[keys].reset_index()
    else:
        frame = files.read_csv(name, ("key", "text", "framing"), dtype=str)[["key", "text", "framing"]]
    for column in frame.columns:
        blank = frame.index[frame[column].str.strip() == ""]
        if len(blank):
            raise InputError(f"{name}, line {blank[0] + 2}: {column} is empty.")
    bad = sorted(set(frame["key"][frame["key"].duplicated()]) | set(frame["key"]) & set(tables.TOKEN_COLUMNS))
    if bad or frame.empty:
        raise InputError(f"{name}: key {some(bad) or '(none)'} stands twice or is reserved. Give each prompt its own.")
    framings = sorted(set(frame["framing"]) - {"positive", "negative"})
    if framings:
        raise InputError(f"{name}: framing {some(framings)}; it is positive or negative.")
    return frame


def choose_format(
    name: str | None, kind: str, folder: Path, adapter: adapters.Adapter | None = None
) -> tuple[str, Format]:
    """The format by name (``formats:`` of params.yaml), or an adapter's own, or the model's chat template, or a plain
    text format."""
    params = settings.ROOT / settings.PARAMS
    known = FORMATS | (settings.get("formats", dict[str, Format], params) if params.is_file() else {})
    known.setdefault("question", QUESTION)
    if name is not None:
        if name not in known:
            raise InputError(f"--format {name}: no such format. There are: {some(known, 20)}.")
        return name, known[name]
    if adapter is not None:
        return adapters.trained_format(adapter, known)
    name = "chat" if loading.load_tokenizer(folder).chat_template else {"reward": "question", "logprob": "raw"}[kind]
    return name, known[name]


def with_arguments(form: Format, name: str, arguments: dict[str, str | bool], folder: Path) -> Format:
    """The format with arguments for the chat template. InputError for one that the template does not read."""
    if not arguments:
        return form
    if form.kind != "chat":
        raise InputError(f"--template-argument: format {name} has no chat template.")
    tokenizer = loading.load_tokenizer(folder)
    reserved = {"messages", *inspect.signature(tokenizer.apply_chat_template).parameters}
    template = str(tokenizer.chat_template)
    for key in arguments:
        if key in reserved or not re.search(rf"\b{re.escape(key)}\b", template):
            raise InputError(f"--template-argument {key}: the chat template of {folder} takes no such argument.")
    return replace(form, arguments={**form.arguments, **arguments})


def read_references(folder: Path | None) -> list[dict]:
    """The profiles in a folder; None: those of the repository, where there are any."""
    if folder is None:
        return profiles.read(settings.ROOT / "metrics" / "profiles")
    if not folder.is_dir():
        raise InputError(f"--references {folder}: no such folder. Give one of value profiles (metrics/profiles).")
    return profiles.read(folder)


def read_known_groups() -> pd.DataFrame:
    """``word, polarity`` of the known groups; empty where they are not made (the lexicon's own are read then)."""
    path = settings.ROOT / unrolled.lexicon_path(unrolled.KNOWN_GROUPS)
    columns = ["word", "polarity"]
    return files.read_csv(path, tuple(columns), dtype=str)[columns] if path.is_file() else pd.DataFrame(columns=columns)


def read_origin(folder: Path) -> dict[str, Any]:
    """A model folder's provenance. InputError where it is not of the form that ``making`` writes."""
    path = folder / "provenance.json"
    found = settings.build(dict[str, Any], provenance(folder), str(path))
    if "origin" in found:
        settings.build(dict[str, str | int | None], found["origin"], f"{path}: 'origin'")
    return found
