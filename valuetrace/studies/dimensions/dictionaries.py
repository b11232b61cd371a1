"""The parameter group ``dimensions``: which dictionaries are read side by side, and how (conf/dimensions.yaml)."""

from __future__ import annotations

from dataclasses import dataclass

from valuetrace.core.errors import some


@dataclass(frozen=True)
class Ratings:
    """Two constructs from a list of rated words (VADER's file): those rated ``least`` or more on either side of 0."""

    least: float
    above: str
    below: str


@dataclass(frozen=True)
class Dictionary:
    """Any file that ``lexicon.load_lexicon`` reads, or rated words. constructs: {name here: name there}; None: all."""

    title: str
    path: str
    constructs: dict[str, str] | None = None
    ratings: Ratings | None = None


@dataclass(frozen=True)
class Dimensions:
    """Group ``dimensions``.

    zipf_floor: of every word that is read. taught: words of the preference pairs, left out everywhere. rated: the
    dictionary whose ratings are the covariate. traits: trait → the constructs (``dictionary:construct``) that are meant
    to measure it. prompts: those that the trained reward models answer; format: of the log-probabilities. draws: of
    words and units; permutations: random lists a test. told_overlap: the least overlap of a pair that the page shows.
    """

    zipf_floor: float
    dictionaries: dict[str, Dictionary]
    taught: str
    rated: str
    traits: dict[str, list[str]]
    prompts: list[str]
    format: str
    draws: int
    permutations: int
    told_overlap: float
    seed: int

    def __post_init__(self):
        if self.rated not in self.dictionaries or self.dictionaries[self.rated].ratings is None:
            raise ValueError(f"rated is {self.rated!r}; name a dictionary of rated words (with 'ratings')")
        named = [name for names in self.traits.values() for name in names]
        unknown = [name for name in named if name.partition(":")[0] not in self.dictionaries]
        if unknown or len(set(named)) < len(named):
            wrong = unknown or [name for name in named if named.count(name) > 1]
            raise ValueError(f"traits: {some(wrong)}; name dictionary:construct, each in one trait")
