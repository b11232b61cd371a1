"""One planted base from words to states: planted, then measured at every dose. A folder a block and plant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch

from valuetrace.core import files, settings
from valuetrace.models import loading
from valuetrace.models.rows import MODELS
from valuetrace.scoring.chat import Format, encode_reply
from valuetrace.scoring.logprobs import next_token_logprobs
from valuetrace.scoring.spelling import word_scores
from valuetrace.studies.planting import finetune, folders, states, words
from valuetrace.studies.planting.design import Plant, Planting
from valuetrace.studies.planting.folders import Block


def make(chosen: Planting, block: int, name: str) -> None:
    """Make and measure one cell (block, plant) of the study; whole or not at all."""
    row, of = chosen.plants[name], folders.read_block(block)
    form, longest = settings.get("training.format", Format), settings.get("training.max_length", int)
    tokenizer = loading.load_tokenizer(MODELS / chosen.base)
    out = folders.planted(block, name)
    with files.fresh_folder(out.with_name(f".{out.name}.partial")) as folder:
        plant = None
        if row.good is not None:
            plant = folder / folders.PLANT
            _plant(chosen, row, of, replace(form, closing="none"), block, tokenizer, plant)
        logprobs, vocabulary = [], None
        for dose in chosen.measured(block, name):
            model = finetune.load_planted(MODELS / chosen.base, plant, dose)
            if vocabulary is None:
                vocabulary = loading.vocabulary(model, tokenizer)
            logprobs.append(_logprobs(chosen, of, model, tokenizer, vocabulary).assign(dose=dose))
            kept = replace(of, pairs=of.pairs.head(chosen.kept(block, name, dose)))
            found = _states(chosen, kept, form, longest, model, tokenizer)
            if dose == chosen.full(name):  # what the remedies need: (questions, planted words, hidden)
                asked, planted = words.questions(chosen.counter_questions), of.words["part"] == "planted"
                replies = list(of.words.loc[planted, "word"])
                found["counter"] = states.of_words(cast(Any, model.base_model), tokenizer, form, asked, replies, [])
            folders.write_states(found, folders.states_file(folder, dose))
            del model
        table = pd.concat(logprobs).reset_index()
        files.write_atomically(folder / folders.LOGPROBS, lambda to: table.to_parquet(to, index=False))
        files.replace_folder(folder, out)


def _plant(chosen: Planting, row: Plant, of: Block, ask: Format, block: int, tokenizer, folder: Path) -> None:
    """Make one plant. ask: the reward's format, open at the reply."""
    replies = of.words[of.words["part"].isin(["planted", "placebo"])]
    replies = words.most_frequent(replies[replies["construct"].isin([row.good, row.bad])], row.words)
    base = loading.load(MODELS / chosen.base, dtype="float32")
    if row.where == "embeddings":
        by_construct = replies.groupby("construct")["word"].agg(list)
        sides = {side: by_construct.get(name, []) for side, name in (("good", row.good), ("bad", row.bad))}
        change = finetune.edit_rows(base, tokenizer, ask, words.all_questions(), sides, cast(float, row.nats))
        finetune.save(change, folder, {"rows": len(change["ids"]), "nats": row.nats})
        return
    how = replace(chosen.finetuning, **cast("dict[str, Any]", row.finetuning))
    examples = words.examples(row, replies, how.steps * how.batch, block)
    prefers = row.kind == "preferences"
    model, log = finetune.finetune(base, tokenizer, examples, ask, how, seed=block, preferences=prefers)
    finetune.save(model, folder, {"examples": len(examples), "loss": log})


def _logprobs(chosen: Planting, of: Block, model, tokenizer, vocabulary: pd.DataFrame) -> pd.DataFrame:
    """Log-probabilities (nats) of the words that are one token in the format, after every prompt: index ``word``."""
    form = settings.get(f"formats.{chosen.format}", Format)
    asked = chosen.asked()
    table = pd.concat([vocabulary, next_token_logprobs(model, tokenizer, asked, form)], axis=1)
    return word_scores(table, of.scored["word"], list(asked["key"]), form)


def _states(
    chosen: Planting, of: Block, form: Format, longest: int, model, tokenizer
) -> dict[str, dict[str, np.ndarray]]:
    """States of ``words`` (prompts, words, hidden), ``pairs`` and ``held_out`` (pairs, 2, hidden); rows (words of one
    token, hidden) of the ``unembedding``."""
    backbone, scored, layers = model.base_model, list(of.scored["word"]), chosen.layers
    found = {
        "words": states.of_words(backbone, tokenizer, form, chosen.asked(), scored, layers),
        "pairs": states.of_pairs(backbone, tokenizer, form, of.pairs, longest, layers),
        "held_out": states.of_pairs(backbone, tokenizer, form, of.held_out, longest, []),
    }
    ids = [encode_reply(tokenizer, form, word) for word in scored]
    rows = torch.tensor([own[0] for own in ids if len(own) == 1])
    found["unembedding"] = {folders.LAST: model.get_output_embeddings().weight.detach()[rows].numpy()}
    return found
