"""Wrong parameters are refused before minutes of work, all of them together.

Each group of params.yaml is built with the type that its stages read. What groups must hold together is read from the
plain values, so that a fault in one group hides none in another. A *path* is a dotted key, ``*`` for every key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import yaml

from valuetrace import assets, prompts
from valuetrace.core import settings
from valuetrace.core.errors import InputError, some
from valuetrace.lexicon.unrolled import KNOWN_GROUPS, Lexicons
from valuetrace.measures.ablations import Ablations
from valuetrace.measures.atlas import Atlas
from valuetrace.measures.bases.implicit import Analysis
from valuetrace.measures.compare.inputs import LISTS, Compare
from valuetrace.measures.dynamics.trajectories import Dynamics
from valuetrace.measures.published.inputs import Published
from valuetrace.measures.repeatability import Stability
from valuetrace.measures.validity import Rule
from valuetrace.models.rows import Model, Rewards
from valuetrace.monitoring.sample import Monitoring
from valuetrace.preferences import Preferences, parse_size
from valuetrace.scoring.chat import Format
from valuetrace.studies.dimensions.dictionaries import Dimensions
from valuetrace.studies.planting.design import Authority, Planting
from valuetrace.studies.seed_variance.components import SeedVariance
from valuetrace.training import Training

GROUPS: dict[str, Any] = {
    "profile": str,
    "profile_note": str,
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
    "monitoring": Monitoring,
    "ablations": Ablations,
    "seed_variance": SeedVariance,
    "planting": Planting,
    "stability": Stability,
    "atlas": Atlas,
    "published": Published,
    "authority": Authority,
    "dimensions": Dimensions,
}
"""Every group of params.yaml and the type that reads it."""

_USES = {
    "models": "bases trained reward_models compare.runs.*.models authority.bases",
    "bases": "trained analysis.comparisons.* analysis.tokens.first analysis.tokens.second",
    "formats": "models.*.scoring.formats dynamics.format format_notes compare.runs.*.format authority.templates "
    "dimensions.format",
    "lexicons": "rewards.lexicons analysis.lexicon dynamics.search.lexicon preferences.sources.*.exclude "
    "compare.runs.*.lexicon compare.runs.*.also atlas.lexicons authority.lexicon",
    "prompts": "analysis.tokens.prompt dimensions.prompts",
}
"""What is named → the paths that name it."""

_NOT_EMPTY = (
    "bases models.*.scoring.formats ablations.sizes ablations.seeds analysis.cases authority.bases authority.settings "
    "analysis.comparisons analysis.tokens.first analysis.tokens.second analysis.tokens.contrast.*"
)
_ONCE = (
    "bases trained reward_models models.*.scoring.formats ablations.sizes ablations.seeds authority.bases "
    "authority.templates dimensions.prompts"
)
_COUNTS = ("draws", "interval_draws", "permutations", "lexicon_draws", "top", "movers", "extremes")
_LEAST = {"seed": 0, "seeds": 0} | dict.fromkeys(_COUNTS, 1)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # a dot parts the keys of params.yaml, a slash folders
_ROWS = (
    "models assets formats lexicons.sources preferences.sources compare.runs published.comparisons authority.settings "
    "dimensions.dictionaries"
)
_LABELS = (
    "analysis.comparisons analysis.tokens.contrast lexicons.sources.*.constructs dimensions.dictionaries.*.constructs"
)


def check(params: dict[str, Any]) -> None:
    """InputError with one line for each thing that is wrong: file, key and remedy."""
    wrong = [f"{key}: no such group. Known: {some(GROUPS, 20)}." for key in params if key not in GROUPS]
    for key, as_type in GROUPS.items():
        try:
            settings.build(as_type, params[key], key)
        except KeyError:
            wrong.append(f"{key} is missing. Add it to conf/.")
        except InputError as error:
            wrong += str(error).splitlines()
    for rule in (_names, _counts, _lists, _uses, _trained, _shared_formats, _constructs, _sizes):
        wrong += rule(params)
    if wrong:
        raise InputError("\n".join(f"params.yaml: {line}" for line in dict.fromkeys(wrong)))


def _at(value: Any, path: str, where: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything at ``path`` that is there."""
    if not path:
        yield where.removeprefix("."), value
    elif isinstance(value, dict):
        first, _, rest = path.partition(".")
        for key in value if first == "*" else {first} & value.keys():
            yield from _at(value[key], rest, f"{where}.{key}")


def _all(params: dict[str, Any], paths: str) -> list[tuple[str, Any]]:
    """``_at`` of every one of ``paths``, which are parted by spaces."""
    return [found for path in paths.split() for found in _at(params, path)]


def _words(value: Any) -> list[str]:
    """The names that a value lists: a list's items, a mapping's keys, or itself; what is no text is told elsewhere."""
    return [name for name in (value if isinstance(value, (list, dict)) else [value]) if isinstance(name, str)]


def _named(params: dict[str, Any], path: str) -> list[str]:
    return [name for _, value in _at(params, path) for name in _words(value)]


def _names(params: dict[str, Any]) -> Iterator[str]:
    """Names become folders, stages and keys of YAML: words that every reader takes for words."""
    named = [("profile", params.get("profile"))]
    for where, found in _all(params, f"{_ROWS} {_LABELS}"):
        named += [(where, name) for name in found] if isinstance(found, dict) else []
    for where, name in named:
        if not isinstance(name, str) or not _is_word(name):
            yield f"{where}: {name!r} reads as a number, a truth value or nothing in YAML. Give it a name with letters."
        elif where in ("profile", *_ROWS.split()) and not _NAME.fullmatch(name):
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


def _counts(value: Any, where: str = "") -> Iterator[str]:
    """Seeds from 0, draws and other counts from 1, wherever they stand."""
    for key, item in value.items() if isinstance(value, dict) else ():
        for number in item if isinstance(item, list) else [item]:
            if key in _LEAST and isinstance(number, int) and number < _LEAST[key]:
                yield f"{where}{key} is {number}. Give {_LEAST[key]} or more."
        yield from _counts(item, f"{where}{key}.")


def _lists(params: dict[str, Any]) -> Iterator[str]:
    yield from (f"{key} is empty; list at least one." for key, value in _all(params, _NOT_EMPTY) if value in ([], {}))
    for key, value in _all(params, _ONCE):
        if isinstance(value, list) and len(set(map(str, value))) < len(value):
            yield f"{key} names one more than once ({some(value, 8)}). Name each once."


def _uses(params: dict[str, Any]) -> Iterator[str]:
    """Whatever is named is there, and every model is named."""
    known = {what: _named(params, what) for what in ("models", "bases", "formats")}
    known |= {"lexicons": _lexicons(params), "prompts": list(prompts.value_laden()["key"])}
    for what, paths in _USES.items():
        for key, value in _all(params, paths):
            for name in _words(value) if value not in LISTS else ():
                is_file = key.startswith("compare.") and what == "lexicons" and "." in name
                if name not in known[what] and not is_file:
                    yield f"{key}: {name!r} is not among {what} ({some(known[what])}). Correct it, or add it there."
    used = {*_named(params, "bases"), *_named(params, "reward_models")}
    yield from (
        f"models.{name} is neither in bases nor in reward_models. Name it there, or remove the row."
        for name in known["models"]
        if name not in used
    )


def _lexicons(params: dict[str, Any]) -> list[str]:
    """The word lists that ``stages/lexicons.py`` writes."""
    sources = _named(params, "lexicons.sources")
    nouns = [f"{key.split('.')[2]}_nouns" for key, yes in _at(params, "lexicons.sources.*.nouns") if yes is True]
    return [*sources, *nouns, KNOWN_GROUPS]


def _trained(params: dict[str, Any]) -> Iterator[str]:
    trained = _named(params, "trained")
    if len(set(trained)) < 2:
        yield "trained names fewer than two different bases. Name two or more: their gap is what Section 4 measures."
    for form in _named(params, "dynamics.format"):
        for key, formats in (found for name in trained for found in _at(params, f"models.{name}.scoring.formats")):
            if form not in _words(formats):
                yield f"dynamics.format is {form}, which {key} lacks. Add it there."


def _shared_formats(params: dict[str, Any]) -> Iterator[str]:
    pairs = [(key, _words(pair)) for key, pair in _at(params, "analysis.comparisons.*")]
    first, second = (_named(params, f"analysis.tokens.{side}") for side in ("first", "second"))
    for key, pair in [*pairs, *(("analysis.tokens", pair) for pair in product(first, second))]:
        rows = [set(_named(params, f"models.{name}.scoring.formats")) for name in pair]
        if len(rows) == 2 and all(rows) and not rows[0] & rows[1]:
            yield f"{key}: {' and '.join(pair)} share no format. Give their rows' scoring.formats one in common."


def _constructs(params: dict[str, Any]) -> Iterator[str]:
    for group, path in (("analysis", "analysis.lexicon"), ("dynamics", "dynamics.search.lexicon")):
        for name in _named(params, path):
            known = _named(params, f"lexicons.sources.{name.removesuffix('_nouns')}.constructs")
            for construct in _named(params, f"{group}.constructs") if known else ():
                if construct not in known:
                    yield f"{group}.constructs: {construct!r} is no construct of {name} ({some(known)}). Correct it."


def _sizes(params: dict[str, Any]) -> Iterator[str]:
    source = "".join(_named(params, "preferences.source"))
    named = _named(params, f"preferences.sources.{source}.strides")
    batch = dict(_at(params, "training.batch")).get("training.batch")
    listed = dict(_at(params, "ablations.sizes")).get("ablations.sizes")
    sizes = {f"ablations.sizes[{i}]": size for i, size in enumerate(listed if isinstance(listed, list) else ())}
    for key, size in (dict(_at(params, "data_size")) | sizes).items():
        try:
            pairs = None if size in named else parse_size(size)
        except InputError:
            yield f"{key} is {size!r}. Give a number of pairs (480, 13k, 106k) or 'full'."
            continue
        if pairs is not None and isinstance(batch, int) and pairs < batch:
            yield f"{key} is {size}, less than one batch ({batch} pairs). Raise it, or lower training.batch."
