"""One format for every diff of a run: table, json, markdown or github on one stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from vmatrace.commands.diff import as_across, as_json, as_markdown, as_text
from vmatrace.commands.diff.across import Across
from vmatrace.commands.diff.diff import Diff, EventDiff
from vmatrace.render import github, paper
from vmatrace.render.paper import set_encoding, visible


class Printer:
    """Writes diffs in *form* to *out*; *traces* is how many were asked for.

    All but a table is UTF-8; elsewhere a character that the stream lacks is escaped.
    """

    def __init__(self, form: str, out: TextIO, traces: int) -> None:
        set_encoding(out, form)
        self._form = form
        self._out = out
        self._traces = traces
        self._equal: list[bool] = []
        self._kept: list[tuple[Diff, str]] = []

    def write(self, diff: Diff, differences: Iterable[EventDiff] | None = None) -> None:
        """Write one; *differences* are its events, where all are to be shown."""
        if self._form == "json":
            as_json.write(self._out, diff, differences)
        elif self._form == "github":
            self._annotate(diff, differences)
        elif self._form == "markdown":
            text = "" if diff.equal else as_markdown.folded_diff(diff, differences)
            self._kept.append((diff, text))
        else:
            page = paper.on(self._out)
            if self._equal and not (diff.equal and self._equal[-1]):
                page.line("")
            as_text.write(page, diff, differences)
        self._equal.append(diff.equal)

    def finish(self) -> None:
        """Write what is about all of them."""
        errors = self._traces - len(self._equal)
        if self._form == "markdown":
            self._out.write(as_markdown.write(self._kept, errors))
        elif self._form == "table" and self._traces > 1:
            as_text.write_total(paper.on(self._out), self._equal, errors)

    def _annotate(self, diff: Diff, differences: Iterable[EventDiff] | None) -> None:
        """An annotation at the first event that differs, or at each."""
        if diff.equal:
            return
        title = f"{visible(diff.trace)}: {diff.from_.name} and {diff.to.name} differ"
        events = [diff.first] if differences is None or diff.first is None else differences
        for event in events:
            parts = [] if event is None else as_text.event_text(diff, event)
            if event is None or (diff.first is not None and event.index == diff.first.index):
                parts.append(as_text.changed_totals(diff))
            line = 1 if event is None else event.line
            message = "\n".join(parts)
            self._out.write(github.annotation("warning", diff.path, line, title, message) + "\n")


class AcrossPrinter:
    """The same for comparisons across *models*; table, json or markdown."""

    def __init__(self, form: str, out: TextIO, traces: int, models: list[str]) -> None:
        set_encoding(out, form)
        self._form = form
        self._out = out
        self._traces = traces
        self._models = models
        self._kept: list[Across] = []

    def write(self, found: Across) -> None:
        """Write one."""
        if self._form == "json":
            as_across.write_json(self._out, found)
        elif self._form == "table":
            page = paper.on(self._out)
            if self._kept:
                page.line("")
            as_across.write(page, found)
        self._kept.append(found)

    def finish(self) -> None:
        """Write what is about all of them."""
        errors = self._traces - len(self._kept)
        if self._form == "markdown":
            self._out.write(as_across.comment(self._kept, self._models, errors))
        elif self._form == "table" and self._traces > 1:
            as_text.write_total(paper.on(self._out), [one.equal for one in self._kept], errors)
