"""The one exception that a user's mistake raises."""

from collections.abc import Iterable


class InputError(ValueError):
    """Bad input, explained in one message that names the file, the key and the remedy.

    Commands print the message without a traceback and exit with status 2; everything else that is
    raised is a defect and keeps its traceback.
    """


def some(items: Iterable, limit: int = 5) -> str:
    """The first ``limit`` items as text, and how many more there are (for error messages)."""
    items = [str(item) for item in items]
    shown = ", ".join(items[:limit])
    return shown if len(items) <= limit else f"{shown} and {len(items) - limit} more"
