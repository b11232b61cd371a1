"""Wrong parameters are refused before minutes of work, all of them together.

Each group of params.yaml is built with the type that its stages read; a *rule* then says what groups must hold
together. A rule is a generator of faults whose arguments are the groups that it needs; it is asked where all of these
could be built.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator
from itertools import product
from typing import Any

import yaml

from valuetrace import assets, prompts
from valuetrace.analysis.ablations.runs import Ablations
from valuetrace.analysis.bases.settings import Analysis
from valuetrace.analysis.compare.settings import Compare
from valuetrace.analysis.dynamics.trajectories import Dynamics
from valuetrace.analysis.validity import Rule
from valuetrace.core import settings
from valuetrace.core.errors import InputError, some
from valuetrace.lexicon.settings import Lexicons
from valuetrace.models.rows import Model
from valuetrace.preferences import Preferences, parse_size
from valuetrace.scoring.chat import Format
from valuetrace.scoring.settings import Rewards
from valuetrace.training import Training

GROUPS: dict[str, Any] = {
    "profile": str,
    "models": dict[str, Model],
    "bases": list[str],
    "trained": list[str],
    "reward_models": list[str],
    "assets": dict[str, assets.Asset],
    "lexicons": Lexicons,
    "formats": dict[str, Format],
    "format_notes": dict[str, str],
    "rewards": Rewards,
    "validity": Rule,
    "analysis": Analysis,
    "compare": Compare,
    "data_size": object,
    "preferences": Preferences,
    "training": Training,
    "dynamics": Dynamics,
    "ablations": Ablations,
}
"""Every group of params.yaml and the type that reads it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # a dot parts the keys of params.yaml, a slash folders
_ROWS = ("models", "assets", "formats", "lexicons.sources", "preferences.sources", "compare.runs")
_LABELS = ("analysis.comparisons", "analysis.tokens.contrast")


def check(params: dict[str, Any]) -> None:
    """InputError with one line for each thing that is wrong: file, key and remedy."""
    wrong = [f"{key}: no such group. Known: {some(GROUPS, 20)}." for key in params if key not in GROUPS]
    built: dict[str, Any] = {}
    for key, as_type in GROUPS.items():
        found = list(_faults(as_type, params[key], key)) if key in params else [f"{key} is missing. Add it to conf/."]
        if found:
            wrong += found
        else:
            built[key] = settings.build(as_type, params[key], key)
    wrong += [*_names(params), *_counts(params, "")]
    for rule in (_lists, _formats, _analysis, _lexicons, _compare, _sizes):
        needed = inspect.signature(rule).parameters
        if needed.keys() <= built.keys():
            wrong += rule(**{name: built[name] for name in needed})
    if wrong:
        raise InputError("\n".join(f"params.yaml: {line}" for line in dict.fromkeys(wrong)))


def _faults(as_type: Any, value: Any, where: str) -> Iterator[str]:
    """Why ``value`` is no ``as_type``: every part that is wrong, not the first alone."""
    try:
        settings.build(as_type, value, where)
    except InputError as error:
        yield str(error)
        origin, arguments = typing.get_origin(as_type), typing.get_args(as_type)
        types = typing.get_type_hints(as_type) if dataclasses.is_dataclass(as_type) else {}
        if origin is list and isinstance(value, list):
            parts = [(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
        elif isinstance(value, dict):
            types |= dict.fromkeys(value, arguments[1]) if origin is dict else {}
            parts = [(types[key], item, f"{where}.{key}") for key, item in value.items() if key in types]
        else:
            parts = []
        for part in parts:
            yield from _faults(*part)


def _names(params: dict[str, Any]) -> Iterator[str]:
    """Names become folders, stages and keys of YAML: words that every reader takes for words."""
    labels = [*_LABELS, *(f"lexicons.sources.{name}.constructs" for name in _keys(params, "lexicons.sources"))]
    named = [(where, name) for where in (*_ROWS, *labels) for name in _keys(params, where)]
    for where, name in [("profile", params.get("profile")), *named]:
        if not isinstance(name, str) or not _is_word(name):
            yield f"{where}: {name!r} reads as a number, a truth value or nothing in YAML. Give it a name with letters."
        elif where not in labels and not _NAME.fullmatch(name):
            yield f"{where}: {name!r} is no name. Use letters, digits, - and _ alone."


def _is_word(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        try:
            return isinstance(yaml.safe_load(name), str)  # YAML 1.1, which takes more for values: yes, off, 12:30
        except yaml.YAMLError:
            return True
    return False


def _keys(params: Any, where: str) -> list[Any]:
    for part in where.split("."):
        params = params.get(part) if isinstance(params, dict) else None
    return list(params) if isinstance(params, dict) else []


def _counts(value: Any, where: str) -> Iterator[str]:
    """Seeds from 0, draws and other counts from 1, wherever they stand."""
    for key, item in value.items() if isinstance(value, dict) else ():
        least = {"seed": 0, "seeds": 0, "draws": 1, "lexicon_draws": 1, "top": 1, "movers": 1, "extremes": 1}.get(key)
        here = f"{where}.{key}" if where else str(key)
        for number in item if isinstance(item, list) else [item]:
            if least is not None and isinstance(number, int) and number < least:
                yield f"{here} is {number}. Give {least} or more."
        yield from _counts(item, here)


def _lists(models, bases, trained, reward_models) -> Iterator[str]:
    for key, names in (("bases", bases), ("trained", trained), ("reward_models", reward_models)):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            yield f"{key} names {some(twice)} more than once. Name each once."
        yield from _unknown(key, names, models, "models")
    if not bases:
        yield "bases is empty. Name rows of models."
    if len(set(trained)) < 2:
        yield "trained names fewer than two different bases. Name two or more: their gap is what Section 4 measures."
    yield from _unknown("trained", [name for name in trained if name in models], bases, "bases")
    for name in models:
        if name not in (*bases, *reward_models):
            yield f"models.{name} is neither in bases nor in reward_models. Name it there, or remove the row."


def _formats(models, formats, format_notes, dynamics, trained) -> Iterator[str]:
    for name, row in models.items():
        if not row.scoring.formats:
            yield f"models.{name}.scoring.formats is empty. Name rows of formats ({some(formats)})."
        yield from _unknown(f"models.{name}.scoring.formats", row.scoring.formats, formats, "formats")
    yield from _unknown("dynamics.format", [dynamics.format], formats, "formats")
    yield from _unknown("format_notes", format_notes, formats, "formats")
    for name in trained:
        if name in models and dynamics.format in formats and dynamics.format not in models[name].scoring.formats:
            yield f"dynamics.format is {dynamics.format}, which models.{name}.scoring.formats lacks. Add it there."


def _analysis(models, bases, analysis) -> Iterator[str]:
    tokens = analysis.tokens
    lists = {"analysis.cases": analysis.cases, "analysis.comparisons": analysis.comparisons}
    lists |= {"analysis.tokens.first": tokens.first, "analysis.tokens.second": tokens.second}
    lists |= {f"analysis.tokens.contrast.{label}": words for label, words in tokens.contrast.items()}
    yield from (f"{key} is empty. Name one at the least." for key, value in lists.items() if not value)
    pairs = [(f"analysis.comparisons.{label}", pair) for label, pair in analysis.comparisons.items()]
    for key, names in [*pairs, ("analysis.tokens.first", tokens.first), ("analysis.tokens.second", tokens.second)]:
        yield from _unknown(key, names, bases, "bases")
    for key, pair in [*pairs, *(("analysis.tokens", pair) for pair in product(tokens.first, tokens.second))]:
        rows = [set(models[name].scoring.formats) for name in pair if name in models]
        if len(rows) == 2 and all(rows) and not set.intersection(*rows):
            yield f"{key}: {' and '.join(pair)} share no format. Give their rows' scoring.formats one in common."
    yield from _unknown("analysis.tokens.prompt", [tokens.prompt], prompts.value_laden()["key"].tolist(), "the prompts")


def _lexicons(lexicons, rewards, analysis, dynamics, preferences) -> Iterator[str]:
    named = {"rewards.lexicons": rewards.lexicons, "analysis.lexicon": [analysis.lexicon]}
    named |= {"dynamics.search.lexicon": [dynamics.search.lexicon]}
    named |= {f"preferences.sources.{name}.exclude": source.exclude for name, source in preferences.sources.items()}
    for key, names in named.items():
        yield from _unknown(key, names, lexicons.names(), "the unrolled lexicons")
    for key, group in (("analysis", analysis), ("dynamics", dynamics)):
        name = group.lexicon if key == "analysis" else group.search.lexicon
        source = lexicons.sources.get(name.removesuffix("_nouns"))
        if source is not None and source.constructs is not None:
            yield from _unknown(f"{key}.constructs", group.constructs, source.constructs, f"the constructs of {name}")


def _compare(lexicons, models, compare) -> Iterator[str]:
    for name, run in compare.runs.items():
        own = [lexicon for lexicon in (run.lexicon, *run.also) if "." not in lexicon]  # the others are files
        yield from _unknown(f"compare.runs.{name}", own, lexicons.names(), "the unrolled lexicons")
        yield from _unknown(f"compare.runs.{name}.groups", run.groups, models, "models")


def _sizes(data_size, preferences, training, ablations) -> Iterator[str]:
    named = preferences.sources[preferences.source].strides
    sizes = [("data_size", data_size), *((f"ablations.sizes[{i}]", size) for i, size in enumerate(ablations.sizes))]
    for key, size in sizes:
        try:
            pairs = None if isinstance(size, str) and size in named else parse_size(size)
        except InputError:
            yield f"{key} is {size!r}. Give a number of pairs (480, 13k, 106k) or 'full'."
            continue
        if pairs is not None and pairs < training.batch:
            yield f"{key} is {size}, less than one batch ({training.batch} pairs). Raise it, or lower training.batch."
    for key, values in (("sizes", ablations.sizes), ("seeds", ablations.seeds)):
        if len(set(values)) < len(values):
            yield f"ablations.{key} names one more than once. Name each once."


def _unknown(key: str, names, known, what: str) -> Iterator[str]:
    for name in names:
        if name not in known:
            yield f"{key}: {name!r} is not among {what} ({some(known, 8)}). Correct the name, or add it there."
