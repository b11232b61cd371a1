"""``audit --optimal K``: the best and worst replies of several tokens, their cost, how far from exhaustive they are."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from tqdm import tqdm

from valuetrace.core.errors import InputError
from valuetrace.scoring import optimal as search
from valuetrace.scoring.candidates import Candidates, prepare
from valuetrace.subjects import cost as costs
from valuetrace.subjects.inputs import Job
from valuetrace.subjects.scorers import SAMPLE, Rewards

BEAM = 8
"""Beginnings that are kept, where ``--beam`` does not say."""

COLUMNS = ("prompt", "framing", "end", "kind", "method", "length", "place", "reply", "token_ids")
COLUMNS += ("reward", "deviations", "rank_among_tokens", "typed")


@dataclass(frozen=True)
class Cost:
    """The most candidates of all prompts, and how long they take (seconds)."""

    candidates: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.candidates:,} candidates more at most; time about {costs.duration(self.seconds)}"


@dataclass(frozen=True)
class Planned:
    """prompts: ``key, text, framing`` of those searched; plain: the plain tokens (V,)."""

    length: int
    beam: int
    prompts: pd.DataFrame
    plain: np.ndarray
    cost: Cost


def plan(job: Job, scorer: Rewards) -> Planned | None:
    """What ``--optimal`` asks for and costs, timed on a sample; None where it is not asked for.

    Without ``--prompts`` the first prompt of each framing is searched. InputError for replies that the model's context
    does not hold.
    """
    length, model = job.request.optimal, scorer.model
    if length is None:
        return None
    prompts = job.prompts.drop_duplicates("framing") if job.request.prompts == "value_laden" else job.prompts
    plain = search.plain_tokens(scorer.tokenizer)
    beam = job.request.beam or BEAM
    draws = np.random.default_rng(0)
    try:
        for text in prompts["text"]:
            prepare(model, text, Candidates([(0,) * length], [[0] * length]), "exact")
    except InputError as error:
        raise InputError(f"--optimal {length}: {error}") from None
    longest = max(prompts["text"], key=len)

    def seconds(tokens: int) -> float:
        """The time of one reply of ``tokens`` tokens; the first run warms up."""
        sample = [tuple(map(int, ids)) for ids in draws.choice(len(plain), (min(SAMPLE, len(plain)), tokens))]
        with tqdm(disable=True) as bar:
            _, taken = (_time(scorer, longest, part, bar) for part in (sample[:1], sample))
        return taken / len(sample)

    most = search.cost(len(plain), length, beam)
    once = most["extended"] * seconds(1) + most["random"] * seconds(length)
    return Planned(length, beam, prompts, plain, Cost(len(prompts) * sum(most.values()), len(prompts) * once))


def find(planned: Planned, job: Job, scorer: Rewards, shards: Path, progress: bool) -> dict:
    """``optimal`` of profile.json. A killed search goes on from ``shards``.

    ``rows`` have ``COLUMNS``: deviations are standard deviations of the single tokens' rewards from their mean;
    rank_among_tokens is the rank of the reply among the single tokens, from its end; typed is True where the text,
    tokenized, gives these tokens. ``exhaustive``: for each length the number of replies and how many the beam scored,
    for one end of one prompt. ``random_ahead``: the number of ``searches`` (a prompt and an end) in which a random
    plain reply is more extreme than the beam's.
    """
    kept: dict = {"folder": shards, "weights": scorer.model.fingerprint(), "batch_size": job.request.batch_size}
    kept["path"] = scorer.held.path
    how: dict = {"length": planned.length, "beam": planned.beam, "seed": job.request.seed}
    prompts, rows, scored = [], [], {}
    with tqdm(total=planned.cost.candidates, unit="candidate", disable=not progress) as bar:
        for row in cast(Any, planned.prompts.itertuples()):
            bar.set_description(f"optimal, {row.key}")
            found = search.optimal(scorer.model, row.text, planned.plain, **how, **kept, bar=bar)
            single = found.single[np.isfinite(found.single)].astype(float)
            about = {"key": row.key, "framing": row.framing, "text": row.text, "not_finite": found.not_finite}
            prompts.append(about | {"mean": single.mean(), "deviation": single.std()})
            rows += _rows(row, found.replies, single, scorer.tokenizer)
            scored = found.scored
    count = len(planned.plain)
    most = [count, *[count * min(planned.beam, count)] * (planned.length - 1)]  # scored of each length, for one end
    searches = [(prompt["key"], end) for prompt in prompts for end in search.ENDS]
    return {
        **how,
        "vocabulary": count,
        "plain": int(planned.plain.sum()),
        "scored": scored,
        "exhaustive": [
            {"length": k, "replies": count**k, "scored": own, "share": own / count**k} for k, own in enumerate(most, 1)
        ],
        "searches": len(searches),
        "random_ahead": sum(_ahead(rows, *where) for where in searches),
        "cost": asdict(planned.cost),
        "prompts": prompts,
        "rows": rows,
    }


def table(found: dict) -> pd.DataFrame:
    """optimal.csv: ``COLUMNS``, token ids joined by spaces."""
    frame = pd.DataFrame(found["rows"], columns=list(COLUMNS))
    return frame.assign(token_ids=[" ".join(map(str, ids)) for ids in frame["token_ids"]])


def first(rows: list[dict], prompt: str, end: str, kind: str, method: str, length: int | None = None) -> int | None:
    """The index of the most extreme reply of one ranking, of ``length`` tokens or of any length; None without one."""
    asked = (prompt, end, kind, method)
    found = [
        at
        for at, row in enumerate(rows)
        if (row["prompt"], row["end"], row["kind"], row["method"]) == asked and length in (None, row["length"])
    ]
    return max(found, key=lambda at: search.ENDS[end] * rows[at]["reward"], default=None)


def behind(rows: list[dict], at: int) -> list[str]:
    """The replies after row ``at`` in its ranking, of the same length."""
    keys = ("prompt", "end", "kind", "method", "length")
    same = [row for row in rows if all(row[key] == rows[at][key] for key in keys)]
    return [row["reply"] for row in same if row["place"] > rows[at]["place"]]


def _ahead(rows: list[dict], prompt: str, end: str) -> bool:
    """Whether a random reply is more extreme than the beam's."""
    at: list = [first(rows, prompt, end, "plain", method) for method in ("random", "beam")]
    return None not in at and search.ENDS[end] * (rows[at[0]]["reward"] - rows[at[1]]["reward"]) > 0


def _rows(prompt, replies: pd.DataFrame, single: np.ndarray, tokenizer) -> list[dict]:
    """``COLUMNS`` of one prompt's replies; single: the finite rewards of all single tokens, (V,)."""
    return [
        {
            "prompt": prompt.key,
            "framing": prompt.framing,
            **{name: getattr(reply, name) for name in ("end", "kind", "method", "length", "place")},
            "reply": tokenizer.decode(reply.ids, clean_up_tokenization_spaces=False),
            "token_ids": list(reply.ids),
            "reward": float(reply.reward),
            "deviations": (reply.reward - single.mean()) / single.std() if single.std() else None,
            "rank_among_tokens": int((search.ENDS[reply.end] * (single - reply.reward) > 0).sum()) + 1,
            "typed": search.is_typed(tokenizer, reply.ids),
        }
        for reply in cast(Any, replies.itertuples())
    ]


def _time(scorer: Rewards, prompt: str, replies: list[search.Ids], bar: tqdm) -> float:
    start, size = time.perf_counter(), scorer.job.request.batch_size
    search.rewards(scorer.model, prompt, replies, batch_size=size, bar=bar, path=scorer.held.path)
    return time.perf_counter() - start
