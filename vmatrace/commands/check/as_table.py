"""What came of checks as a table of traces and models, then what failed, then the totals."""

from __future__ import annotations

import io
import os
import shlex
from collections.abc import Iterator, Sequence
from typing import Final, TextIO

from vmatrace.commands.check.question import Checked, UnderModel
from vmatrace.commands.check.words import columns, totals, uncovered_text
from vmatrace.commands.form import Form
from vmatrace.escape import visible
from vmatrace.render import streams, summary, words
from vmatrace.render.paper import Paper, Span

SUFFIXES: Final = (".txt",)
FOR_PEOPLE: Final = True
#: More traces than this are shown as one row for each folder, and those with something to say.
_ROWS: Final = 40
_GAP: Final = "  "


def form(out: TextIO, count: int) -> Form[Checked]:
    """One table of all."""
    return _Table(out, streams.on(out))


def write(paper: Paper, checked: Checked) -> None:
    """The table of one trace."""
    table = _Table(io.StringIO(), paper)
    table.write(checked)
    table.finish()


class _Table(Form[Checked]):
    def __init__(self, out: TextIO, paper: Paper) -> None:
        super().__init__(out)
        self._paper = paper
        self._all: list[Checked] = []
        self._begun = False

    def write(self, answer: Checked) -> None:
        self._all.append(answer)

    def finish(self) -> None:
        names = columns(self._all)
        if names:
            self._begin()
            _write_grid(self._paper, names, list(_rows(self._all, names)))
        self._write_failures()
        self._write_uncovered()
        self._write_totals(len(names))

    def _begin(self) -> None:
        """Keep the next block apart from what has been written."""
        if self._begun:
            self._paper.line("")
        self._begun = True

    def _write_failures(self) -> None:
        paper = self._paper
        found = [(one, *failure) for one in self._all for failure in one.failures()]
        if not found:
            return
        self._begin()
        for one, failure, under in found[: summary.MOST]:
            summary.write_failure(paper, one.path, failure, under)
        summary.write_rest(paper, len(found))
        one, _, under = found[0]
        why = f"vmatrace replay {shlex.quote(one.path)} --kernel {under[0]} --steps"
        paper.paragraph(why, "", "  to see why: ", "    ")

    def _write_uncovered(self) -> None:
        if any(one.uncovered for one in self._all):
            self._begin()
        for one in self._all:
            for lost in one.uncovered:
                place = f"  {visible(one.path)}:{lost.line}: "
                self._paper.paragraph(uncovered_text(lost.on), "warning", place, " " * 6)

    def _write_totals(self, models: int) -> None:
        self._begin()
        for text, style in totals(self._all, models):
            self._paper.paragraph(text, style, "", "  ")


# --- the table ------------------------------------------------------------------------------------

Row = tuple[str, Sequence[Span]]


def _rows(all_: Sequence[Checked], names: Sequence[str]) -> Iterator[Row]:
    """A row for each trace; of very many, for each folder and for those that did not hold."""
    if len(all_) <= _ROWS:
        yield from ((one.path, _cells(one, names)) for one in all_)
        return
    folders: dict[str, list[Checked]] = {}
    for one in all_:
        folders.setdefault(os.path.dirname(one.path), []).append(one)
    for folder, members in folders.items():
        yield (
            f"{folder or '.'}{os.sep} ({words.plural(len(members), 'trace')})",
            [_sum([m for one in members for m in one.models if m.kernel == n]) for n in names],
        )
        for one in members:
            if one.failed or not one.held:
                yield "  " + os.path.basename(one.path), _cells(one, names)


def _cells(one: Checked, names: Sequence[str]) -> list[Span]:
    if one.error is not None:
        return [("error", "failed")]
    by_name = {model.kernel: model for model in one.models}
    return [_cell(by_name.get(name)) for name in names]


def _cell(model: UnderModel | None) -> Span:
    """How many expectations held or failed; blank for a model that the trace was not asked of."""
    if model is None:
        return ""
    if not model.checks:
        return "-", "warning"
    return (f"{model.failed} FAIL", "failed") if model.failed else (str(model.held), "good")


def _sum(models: Sequence[UnderModel]) -> Span:
    if not any(model.checks for model in models):
        return ("-", "warning") if models else ""
    failed = sum(model.failed for model in models)
    return str(sum(model.held for model in models)), "bad" if failed else "good"


def _write_grid(paper: Paper, names: Sequence[str], rows: Sequence[Row]) -> None:
    """Rows of cells under *names*; what is too wide goes on in another grid below."""
    widths = [
        max(len(name), *(len(_text(cells[i])) for _, cells in rows if i < len(cells)), 0)
        for i, name in enumerate(names)
    ]
    longest = max(len(visible(label)) for label, _ in rows)
    label = longest if paper.width is None else min(longest, max(paper.width // 2, 20))
    first = 0
    while first < len(names):
        end, used = first, label
        while end < len(names) and (
            paper.width is None or end == first or used + 2 + widths[end] <= paper.width
        ):
            used += 2 + widths[end]
            end += 1
        if first:
            paper.line("")
        _write_block(paper, names, rows, widths, label, slice(first, end))
        first = end


def _write_block(
    paper: Paper, names: Sequence[str], rows: Sequence[Row], widths: Sequence[int], label: int,
    part: slice,
) -> None:  # fmt: skip
    heads = (
        _GAP + name.rjust(width) for name, width in zip(names[part], widths[part], strict=True)
    )
    paper.line(" " * label, *((head, "title") for head in heads))
    for name, cells in rows:
        if not any(map(_text, cells[part])):
            continue
        spans: list[Span] = []
        for cell, width in zip(cells[part], widths[part], strict=False):
            style = "" if isinstance(cell, str) else cell[1]
            spans.append((_GAP + _text(cell).rjust(width), style))
        pieces = paper.folded(name, 0)
        *above, last = pieces if len(pieces[-1]) <= label else [*pieces, ""]
        for piece in above:
            paper.line(piece)
        paper.line(last.ljust(label), *spans)


def _text(cell: Span) -> str:
    return cell if isinstance(cell, str) else cell[0]
