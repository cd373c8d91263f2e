"""The final layouts as /proc/PID/maps has them, and nothing else.

One process is printed bare, as the kernel would. Several are told apart by headers like those of
head(1), ``==> TRACE: PID <==``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TextIO

from vmatrace.commands.form import Form
from vmatrace.commands.replay.question import Replayed
from vmatrace.escape import visible
from vmatrace.layout import Layout, maps_text

SUFFIXES: Final = (".maps",)
FOR_PEOPLE: Final = True


def form(out: TextIO, count: int) -> Form[Replayed]:
    """Every process of every trace."""
    return Proc(out, count, lambda layout, _: maps_text(layout))


class Proc(Form[Replayed]):
    """Layouts as *text* has them, of a layout and a page size."""

    def __init__(self, out: TextIO, count: int, text: Callable[[Layout, int], str]) -> None:
        super().__init__(out, count)
        self._text = text

    def write(self, answer: Replayed) -> None:
        result = answer.result
        bare = self.count == 1 and len(result.processes) == 1
        for process in result.processes:
            if not bare:
                self.out.write(f"==> {visible(result.trace)}: {visible(process.pid)} <==\n")
            self.out.write(self._text(process.layout, result.page_size))
            if not bare:
                self.out.write("\n")
