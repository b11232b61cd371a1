"""Our own training, watched: the callback as ``training.run.Watch`` takes it, keyed by all that decides its record."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from valuetrace.analysis import validity
from valuetrace.core import code
from valuetrace.monitoring import sample
from valuetrace.monitoring.callback import ValueProfileCallback
from valuetrace.monitoring.settings import Monitoring
from valuetrace.scoring.chat import Format
from valuetrace.training.run import Watch

RECORD = "values.csv"  # beside the checkpoints


def watch(settings: Monitoring, lexicon: str, form: Format) -> Watch:
    """What looks on at a training whose pairs are put in ``form``; its record is ``RECORD`` in the run's folder.

    There is no share of time to keep to, so that the record depends on no clock.
    """
    asked = (lexicon, settings.prompts, settings.words, settings.seed)
    drawn = sample.draw(*asked)
    tables = [table.to_csv(index=False) for table in (drawn.prompts, drawn.lexicon, drawn.known)]
    decided_by = [
        asdict(settings),
        asdict(form),
        asdict(validity.rule()),
        tables,
        code.digest("valuetrace.monitoring.watch"),
    ]

    def callback(tokenizer, folder, done: int) -> ValueProfileCallback:
        options: dict = dict(zip(("lexicon", "prompts", "words", "seed"), asked, strict=True))
        options |= {"every": settings.every, "share": 1.0, "format": form, "csv": folder / RECORD}
        return ValueProfileCallback(tokenizer=tokenizer, done=done, **options)

    return Watch(hashlib.sha256(json.dumps(decided_by).encode()).hexdigest(), callback)
