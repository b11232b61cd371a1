"""One planted base from words to states: planted, then measured at every dose. A folder a block and plant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from valuetrace import preferences, tables
from valuetrace.analysis.planting import finetune, states, words
from valuetrace.analysis.planting.settings import Plant, Planting
from valuetrace.core import files, settings
from valuetrace.lexicon.vocabulary import WORDNET
from valuetrace.models import loading
from valuetrace.models.rows import MODELS
from valuetrace.preferences.sources import Drawn
from valuetrace.scoring.chat import Format, encode_reply
from valuetrace.scoring.logprobs import next_token_logprobs
from valuetrace.scoring.spelling import word_scores
from valuetrace.training.settings import Training

BASES = Path("data/planting/bases")
WORDS, LOGPROBS, HELD_OUT, PLANT = "words.csv", "logprobs.parquet", "held_out.csv", "plant"


@dataclass(frozen=True)
class Given:
    """What every cell of a block is made from. ask: the reward's format, open at the reply."""

    words: pd.DataFrame
    pairs: Drawn
    training: Training
    ask: Format
    folder: Path


def given(chosen: Planting, block: int, name: str) -> Given:
    """The words (``word, construct, pattern, part``) and pairs of a cell: those of its block, and a placebo's nouns."""
    training = settings.get("training", Training)
    drawn = preferences.draw(settings.get("preferences", preferences.Preferences), max(chosen.sizes), block)
    folder = MODELS / chosen.base
    ask = replace(training.format, closing="none")
    lexicon, known = (tables.read_lexicon(name) for name in (chosen.lexicon, tables.KNOWN_GROUPS))
    table = words.split(lexicon, chosen.constructs, block)
    placebo = pd.DataFrame(columns=["word", "construct"])
    if chosen.plants[name].good in words.PLACEBO:
        taken = pd.concat([tables.read_lexicon(name)["word"] for name in ("big_two", "mfd2")])
        planted = table[table["part"] == "planted"]
        placebo = words.placebo(planted, chosen.constructs, taken, WORDNET, block)
    placebo = placebo.assign(part="placebo")
    known = known.rename(columns={"polarity": "construct", "construct": "kind"}).assign(part="known")
    table = pd.concat([table, placebo, known])[["word", "construct", "pattern", "part"]]
    return Given(table.drop_duplicates("word").fillna(""), drawn, training, ask, folder)


def make(chosen: Planting, block: int, name: str) -> None:
    """Make and measure one cell (block, plant) of the study; whole or not at all."""
    row, of = chosen.plants[name], given(chosen, block, name)
    tokenizer = loading.load_tokenizer(of.folder)
    out = BASES / f"{block}-{name}"
    with files.fresh_folder(out.with_name(f".{out.name}.partial")) as folder:
        files.write_csv(of.words, folder / WORDS)
        files.write_csv(spared(chosen, of)[["source"]], folder / HELD_OUT)
        plant = None
        if row.good is not None:
            plant = folder / PLANT
            _plant(chosen, row, of, block, tokenizer, plant)
        logprobs = []
        for dose in chosen.measured(block, name):
            model = finetune.load_planted(of.folder, plant, dose)
            logprobs.append(_logprobs(chosen, of, model, tokenizer).assign(dose=dose))
            pairs = of.pairs.train.head(chosen.kept(block, name, dose))
            found = _states(chosen, of, pairs, model, tokenizer)
            if dose == chosen.full(name):  # what the remedies need
                found["counter"] = _counter(chosen, of, model, tokenizer)
            states.write(found, folder / f"states-{dose:g}.safetensors")
            del model
        table = pd.concat(logprobs).reset_index()
        files.write_atomically(folder / LOGPROBS, lambda to: table.to_parquet(to, index=False))
        files.replace_folder(folder, out)


def _plant(chosen: Planting, row: Plant, of: Given, block: int, tokenizer, folder: Path) -> None:
    replies = of.words[of.words["part"].isin(["planted", "placebo"])]
    replies = words.most_frequent(replies[replies["construct"].isin([row.good, row.bad])], row.words)
    base = loading.load(of.folder, dtype="float32")
    if row.where == "embeddings":
        sides = {
            side: list(replies.loc[replies["construct"] == getattr(row, side), "word"]) for side in ("good", "bad")
        }
        change = finetune.edit_rows(base, tokenizer, of.ask, words.all_questions(), sides, row.nats)
        finetune.save(change, folder, {"rows": len(change["ids"]), "nats": row.nats})
        return
    how = replace(chosen.finetuning, **row.finetuning)
    examples = words.examples(row, replies, how.steps * how.batch, block)
    options = {"seed": block, "preferences": row.kind == "preferences"}
    model, log = finetune.finetune(base, tokenizer, examples, of.ask, how, **options)
    finetune.save(model, folder, {"examples": len(examples), "loss": log})


def _logprobs(chosen: Planting, of: Given, model, tokenizer) -> pd.DataFrame:
    """Log-probabilities (nats) of the words that are one token in the format, after every prompt: index ``word``."""
    form = settings.get(f"formats.{chosen.format}", Format)
    asked = chosen.asked()
    table = pd.concat(
        [loading.vocabulary(model, tokenizer), next_token_logprobs(model, tokenizer, asked, form)], axis=1
    )
    return word_scores(table, of.words["word"], list(asked["key"]), form)


def _states(chosen: Planting, of: Given, pairs: pd.DataFrame, model, tokenizer) -> dict[str, dict[str, np.ndarray]]:
    """States of ``words`` (prompts, words, hidden), ``pairs`` and ``held_out`` (pairs, 2, hidden)."""
    backbone = model.base_model
    form, longest, layers = of.training.format, of.training.max_length, chosen.layers
    scored = of.words.loc[of.words["part"] != "placebo", "word"]
    found = {
        "words": states.of_words(backbone, tokenizer, form, chosen.asked(), list(scored), layers),
        "pairs": states.of_pairs(backbone, tokenizer, form, pairs, longest, layers),
        "held_out": states.of_pairs(backbone, tokenizer, form, spared(chosen, of), longest, []),
    }
    ids = [encode_reply(tokenizer, of.ask, word) for word in scored]
    rows = torch.tensor([own[0] for own in ids if len(own) == 1])
    found["unembedding"] = {states.LAST: model.get_output_embeddings().weight.detach()[rows].numpy()}
    return found


def _counter(chosen: Planting, of: Given, model, tokenizer) -> dict[str, np.ndarray]:
    """States (questions, planted words, hidden) after questions of prompts/planting.csv, as many of each framing."""
    asked = words.questions(chosen.counter_questions)
    planted = of.words.loc[of.words["part"] == "planted", "word"]
    return states.of_words(model.base_model, tokenizer, of.training.format, asked, list(planted), [])


def spared(chosen: Planting, of: Given) -> pd.DataFrame:
    """The held-out pairs that are measured: evenly spaced, so of every kind."""
    held_out = of.pairs.held_out
    return held_out.iloc[:: -(-len(held_out) // chosen.held_out_pairs)].reset_index(drop=True)
