"""Our own training, watched: the callback as ``training.run.Watch`` takes it, keyed by all that decides its record."""

from __future__ import annotations

from valuetrace.core import keys
from valuetrace.measures import validity
from valuetrace.monitoring import sample
from valuetrace.monitoring.callback import ValueProfileCallback
from valuetrace.monitoring.sample import Monitoring
from valuetrace.scoring.chat import Format
from valuetrace.training.run import Watch

RECORD = "values.csv"  # beside the checkpoints


def watch(settings: Monitoring, lexicon: str, form: Format) -> Watch:
    """What looks on at a training whose pairs are put in ``form``; its record is ``RECORD`` in the run's folder.

    There is no share of time to keep to, so that the record depends on no clock.
    """
    asked = (lexicon, settings.prompts, settings.words, settings.seed)
    drawn = sample.draw(*asked)
    decided_by = (settings, form, validity.rule(), drawn.prompts, drawn.lexicon, drawn.known)

    def callback(tokenizer, folder, done: int) -> ValueProfileCallback:
        options: dict = dict(zip(("lexicon", "prompts", "words", "seed"), asked, strict=True))
        options |= {"every": settings.every, "share": 1.0, "format": form, "csv": folder / RECORD}
        return ValueProfileCallback(tokenizer=tokenizer, done=done, **options)

    return Watch(keys.key("valuetrace.monitoring.watch", *decided_by), callback)
