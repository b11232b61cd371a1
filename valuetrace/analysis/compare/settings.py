"""What the comparisons of Section 2 are told (``compare:`` in params.yaml)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """One comparison: score files of ``folder``, the base of each model, the lexicon and others beside it."""

    title: str
    lexicon: str
    also: list[str]
    folder: str
    files: list[str]
    groups: dict[str, str]  # model → base

    def __post_init__(self):
        if not self.files or len(set(self.files)) < len(self.files):
            raise ValueError("files names the score files, once each")
        if len(set(self.groups.values())) != 2:
            raise ValueError("groups sorts the models under two bases")


@dataclass(frozen=True)
class Compare:
    """The group: the comparisons by name, and the draws of all."""

    seed: int
    draws: int
    lexicon_draws: int
    runs: dict[str, Run]
