"""What came of checks: a table of traces and models, JSON (vmatrace-check/1), GitHub annotations.

Each class takes one trace after the other by ``write()`` and is told the end by ``finish()``;
render/ktap.py and render/junit.py have two more.
"""

from __future__ import annotations

import io
import os
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final, Protocol, TextIO

from vmatrace.commands.check.checks import Checked, UnderModel
from vmatrace.render import jsonform, summary, words
from vmatrace.render import paper as papers
from vmatrace.render.github import annotation
from vmatrace.render.paper import Paper, Span
from vmatrace.replayer.result import Failure

FORMAT: Final = "vmatrace-check/1"
#: More traces than this are shown as one row for each folder, and those with something to say.
_ROWS: Final = 40
_GAP: Final = "  "


class Writer(Protocol):
    """What takes the results of checks."""

    def write(self, checked: Checked) -> None:
        """Take one trace."""

    def finish(self) -> None:
        """There are no more."""


def failure_text(path: str, failure: Failure, under: Sequence[str] = ()) -> str:
    """What did not hold, in one line or, for a layout, several; *under*: the models."""
    text = io.StringIO()
    summary.write_failure(Paper(text), path, failure, under)
    return textwrap.dedent(text.getvalue()).rstrip("\n")


def nothing_expected(model: str) -> str:
    """Said where a trace has no expectation for a model."""
    return f"nothing is expected of {model}"


def uncovered_text(on: str) -> str:
    """Said of an expectation that is about no model; *on* is its range."""
    return f"no kernel model is in {on}, so nothing was checked"


def updated_text(path: str, values: int, files: int = 1) -> str:
    """What was rewritten in the file at *path*, or if that is empty in all *files*."""
    what = words.plural(values, "expected value")
    if path:
        return f"{path}: {what} rewritten"
    return f"{what} rewritten in {words.plural(files, 'file')}" if values else "nothing rewritten"


class Table:
    """Traces by models, then what failed, then the totals."""

    def __init__(self, out: TextIO) -> None:
        self._paper = papers.on(out)
        self._all: list[Checked] = []
        self._begun = False

    def write(self, checked: Checked) -> None:
        """Keep one trace for the table."""
        self._all.append(checked)

    def finish(self) -> None:
        """Write everything."""
        names = _columns(self._all)
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
            for line, _, on in one.uncovered:
                place = f"  {papers.visible(one.path)}:{line}: "
                self._paper.paragraph(uncovered_text(on), "yellow", place, " " * 6)

    def _write_totals(self, models: int) -> None:
        self._begin()
        for text, style in totals(self._all, models):
            self._paper.paragraph(text, style, "", "  ")


def totals(all_: Sequence[Checked], models: int) -> Iterator[tuple[str, str]]:
    """The closing lines, each with a style."""
    held, failed = sum(one.held for one in all_), sum(one.failed for one in all_)
    what = f"{words.plural(len(all_), 'trace')}, {words.plural(models, 'model')}"
    yield (
        f"{what}: {held} of {words.plural(held + failed, 'check')} held",
        "bold red" if failed else "bold green" if held else "bold",
    )
    empty = sum(len(one.empty) for one in all_)
    if empty:
        yield f"nothing to check (-): {words.plural(empty, 'time')}", "yellow"
    uncovered = sum(len(one.uncovered) for one in all_)
    if uncovered:
        yield f"about no model: {words.plural(uncovered, 'expectation')}", "yellow"
    wrong = sum(one.error is not None for one in all_)
    if wrong:
        yield f"in error: {words.plural(wrong, 'trace')}", "bold red"


# --- the table ------------------------------------------------------------------------------------

Row = tuple[str, Sequence[Span]]


def _columns(all_: Sequence[Checked]) -> list[str]:
    """Every model that a trace was checked under, in the order of the models."""
    from vmatrace.kernels import get_kernel, in_order

    names = {model.kernel for one in all_ for model in one.models}
    return [kernel.name for kernel in in_order(map(get_kernel, names))]


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
        return [("error", "bold red")]
    by_name = {model.kernel: model for model in one.models}
    return [_cell(by_name.get(name)) for name in names]


def _cell(model: UnderModel | None) -> Span:
    """How many expectations held or failed; blank for a model that the trace was not asked of."""
    if model is None:
        return ""
    if not model.checks:
        return "-", "yellow"
    return (f"{model.failed} FAIL", "bold red") if model.failed else (str(model.held), "green")


def _sum(models: Sequence[UnderModel]) -> Span:
    if not any(model.checks for model in models):
        return ("-", "yellow") if models else ""
    failed = sum(model.failed for model in models)
    return str(sum(model.held for model in models)), "red" if failed else "green"


def _write_grid(paper: Paper, names: Sequence[str], rows: Sequence[Row]) -> None:
    """Rows of cells under *names*; what is too wide goes on in another grid below."""
    widths = [
        max(len(name), *(len(_text(cells[i])) for _, cells in rows if i < len(cells)), 0)
        for i, name in enumerate(names)
    ]
    longest = max(len(papers.visible(label)) for label, _ in rows)
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
    paper.line(" " * label, *((head, "bold") for head in heads))
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


# --- JSON and annotations -------------------------------------------------------------------------


class Json:
    """One object for each trace that could be read, one on a line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, checked: Checked) -> None:
        """Write the object of one trace."""
        if checked.error is not None:
            return
        models = [
            {
                "kernel": model.kernel,
                "passed": model.held,
                "failed": model.failed,
                "expectations": [
                    {
                        "line": check.line,
                        "column": check.column,
                        "passed": not check.failures,
                        "failures": list(map(jsonform.failure_json, check.failures)),
                    }
                    for check in model.checks
                ],
            }
            for model in checked.models
        ]
        summed = {
            "passed": checked.held,
            "failed": checked.failed,
            "nothing_expected": checked.empty,
        }
        document = {
            "format": FORMAT,
            "trace": checked.trace,
            "path": checked.path,
            "models": models,
            "uncovered": [{"line": line, "on": on} for line, _, on in checked.uncovered],
            "summary": summed,
        }
        self._out.write(jsonform.encode(document) + "\n")

    def finish(self) -> None:
        """Nothing comes after the traces."""


class Annotations:
    """An annotation of GitHub for everything that is not as it should be, then the totals."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._all: list[Checked] = []

    def write(self, checked: Checked) -> None:
        """Write the annotations of one trace."""
        self._all.append(checked)
        for line in self._annotations(checked):
            self._out.write(line + "\n")

    def _annotations(self, checked: Checked) -> Iterator[str]:
        path = checked.path
        for wrong in checked.error.diagnostics if checked.error else ():
            yield annotation("error", wrong.path, wrong.line, "not a valid trace", wrong.message)
        for failure, under in checked.failures():
            place = f"{path}:{failure.line}: "
            text = failure_text(path, failure, under).removeprefix(papers.visible(place))
            yield annotation("error", path, failure.line, "expectation failed", text)
        for line, _, on in checked.uncovered:
            yield annotation("warning", path, line, "nothing checked", uncovered_text(on))
        if checked.empty:
            text = nothing_expected(", ".join(checked.empty))
            yield annotation("notice", path, 1, "nothing to check", text)

    def finish(self) -> None:
        """Write the totals, which GitHub shows in the log."""
        for text, _ in totals(self._all, len(_columns(self._all))):
            self._out.write(text + "\n")
