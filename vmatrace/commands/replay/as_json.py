"""A replay as JSON, format vmatrace-replay/1: one object on one line."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.form import Each, Form
from vmatrace.commands.replay.question import Replayed
from vmatrace.render import jsonform

SUFFIXES: Final = (".json", ".jsonl")


def form(out: TextIO, count: int) -> Form[Replayed]:
    """One line each."""
    return Each(out, write)


def write(out: TextIO, replayed: Replayed) -> None:
    """One trace; every event as it happens, where they are wanted."""
    notes = replayed.trace.notes
    steps = None if replayed.again is None else replayed.again().steps()
    jsonform.write(out, replayed.result, steps, notes)
