"""What the search with a reward model is told (``rewards:`` in params.yaml)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Rewards:
    """``lexicons``: whose words are the candidates; none means every token of the vocabulary."""

    lexicons: list[str]
    tokenisation: Literal["exact", "as_published"]
