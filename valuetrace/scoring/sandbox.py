"""Chat templates run guarded: a template is a stranger's program, which may hang, grow or answer by chance."""

from __future__ import annotations

import random
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from valuetrace.core.errors import InputError

# What a chat template may take: seconds, bytes beyond those held, characters of its own.
_SECONDS, _BYTES, _CHARACTERS = 10, 2**30, 2**20
_WORLDS = 16  # it has to write the same text in so many: a random template passes with probability 2^-16
_known: set[tuple] = set()  # (template, arguments) that did, and those with the prompts that kept within the limits


def guarded(write: Callable[[], str], template: tuple[str, str], prompt: str, most: int) -> str:
    """What ``write`` returns, a text of a chat template and its arguments, within limits of time, memory and length.

    The guards stand at the first text of each ``template`` and ``prompt``: a search renders each candidate. ``most``:
    the characters that the template was given. Raises InputError where it fails, or writes by clock or chance.
    """

    def written() -> str:
        text = write()
        if len(text) > most + _CHARACTERS:
            raise MemoryError(f"it writes {len(text):,} characters")
        return text

    asked = (*template, hash(prompt))
    try:
        if asked in _known:
            return written()
        with _limited():
            text = written()
            if template not in _known:
                _check_steady(written, text)
    except InputError:
        raise
    except Exception as error:  # anything may be raised
        raise InputError(f"the chat template failed: {type(error).__name__}: {error}") from error
    _known.update((template, asked))
    return text


def _check_steady(written: Callable[[], str], text: str) -> None:
    """InputError where a template writes another text under another clock or random state."""
    for number in range(_WORLDS):
        with _world(number):
            if written() != text or re.search(r" at 0x[0-9a-f]+>", text):
                raise InputError(
                    "the chat template writes another text each time (the date, chance or an address). Pin what it "
                    'takes (a row\'s scoring.chat_arguments, --template-argument date_string="26 Jul 2024"), or use '
                    "a text format."
                )


@contextmanager
def _world(number: int) -> Iterator[None]:
    """Another day and hour for transformers' ``strftime_now``, another state for Jinja's ``random`` and ``lipsum``."""
    from transformers.utils import chat_template_utils

    clock, state = chat_template_utils.datetime, random.getstate()
    moment = datetime.now() + number * timedelta(days=397, hours=7, minutes=11, seconds=13)
    cast(Any, chat_template_utils).datetime = SimpleNamespace(now=lambda zone=None: moment)
    random.seed(number)
    try:
        yield
    finally:
        cast(Any, chat_template_utils).datetime = clock
        random.setstate(state)


@contextmanager
def _limited() -> Iterator[None]:
    """TimeoutError after ``_SECONDS``, MemoryError beyond ``_BYTES``, inside the block.

    By the process's own alarm and address space, so that every prompt is guarded (0.1 ms) and none pays for a
    process of its own. Outside the main thread there is no alarm, and beyond Linux no limit of memory.
    """

    def stop(*_) -> None:
        raise TimeoutError(f"it runs longer than {_SECONDS} s")

    with _little_memory():
        if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
            yield
            return
        handler = signal.signal(signal.SIGALRM, stop)
        timer = signal.setitimer(signal.ITIMER_REAL, _SECONDS, 1)  # again each second, should one be swallowed
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, *timer)
            signal.signal(signal.SIGALRM, handler)


@contextmanager
def _little_memory() -> Iterator[None]:
    try:
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            held = int(file.read().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = held + _BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most if soft == resource.RLIM_INFINITY else min(soft, most), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
