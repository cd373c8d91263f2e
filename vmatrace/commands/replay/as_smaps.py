"""The final layouts as /proc/PID/smaps has them, and nothing else; several are told apart."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.form import Form
from vmatrace.commands.replay.as_maps import Proc
from vmatrace.commands.replay.question import Replayed
from vmatrace.layout import smaps_text

SUFFIXES: Final = (".smaps",)
FOR_PEOPLE: Final = True


def form(out: TextIO, count: int) -> Form[Replayed]:
    """Every process of every trace."""
    return Proc(out, count, smaps_text)
