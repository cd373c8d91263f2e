"""One format for every result of a run: table, json, maps or smaps on one stream."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.render.paper import set_encoding
from vmatrace.replayer.result import Result
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Trace

FORMATS: Final = ("table", "json", "maps", "smaps")


class Printer:
    """Writes results in *form* to *out*. *alone*: there will be no more than one.

    JSON is UTF-8 whatever the locale; elsewhere a character that the stream lacks is escaped.
    """

    def __init__(self, form: str, out: TextIO, alone: bool = True) -> None:
        set_encoding(out, form)
        self._form = form
        self._out = out
        self._alone = alone
        self._first = True

    def write(self, trace: Trace, result: Result, steps: Replay | None = None) -> None:
        """Write *result*; with *steps*, a fresh replay of the same, also what every call did."""
        if self._form == "json":
            from vmatrace.render import jsonform

            if steps is None:
                jsonform.write(self._out, result, None, trace.notes)
            else:
                jsonform.write(self._out, steps.result, steps.steps(), trace.notes)
        elif self._form == "table":
            self._write_table(trace, result, steps)
        else:
            from vmatrace.commands.replay import as_proc

            as_proc.write(self._out, result, self._form, self._alone)
        self._first = False

    def _write_table(self, trace: Trace, result: Result, steps: Replay | None) -> None:
        from vmatrace.render import paper, summary
        from vmatrace.render import steps as stepwise

        page = paper.on(self._out)
        if not self._first:
            page.line("")
        summary.write_title(page, result)
        if steps is not None:
            page.line("")
            stepwise.write(page, steps)
        summary.write(page, result)
