"""Which dictionaries are unrolled, and how (``lexicons:`` in params.yaml)."""

from __future__ import annotations

from dataclasses import dataclass, field

from valuetrace.lexicon.known_groups import KnownGroups


@dataclass(frozen=True)
class Source:
    """One dictionary: where it is, which constructs to take and how it is edited and checked."""

    path: str
    constructs: dict[str, str] | None = None  # name to use -> name in the file; all by default
    edits: str | None = None
    contrasts: list[list[str]] = field(default_factory=list)  # constructs that must share no word
    nouns: bool = False


@dataclass(frozen=True)
class Lexicons:
    """The parameter group: WordNet's folder, the rarest word taken (Zipf), the dictionaries, the known groups."""

    wordnet: str
    zipf_floor: float
    sources: dict[str, Source]
    known_groups: KnownGroups

    def __post_init__(self):
        if self.known_groups.source not in self.sources:
            raise ValueError(f"known_groups.source {self.known_groups.source!r} is not among sources")
