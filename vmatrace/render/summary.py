"""A whole result as text: header, the layout of each process, totals, and what did not hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, cast

from vmatrace.calls import CALLS
from vmatrace.event import Event, ExpectedMapping, format_result
from vmatrace.layout import Layout, Mapping
from vmatrace.render import layouts, lognotes, words
from vmatrace.render.paper import Paper
from vmatrace.replayer.result import Failure, ProcessResult, Result

#: So many divergences, and so many failed expectations, are shown.
MOST: Final = 100


def write_result(paper: Paper, result: Result) -> None:
    """All of it."""
    write_title(paper, result)
    write(paper, result)


def write_title(paper: Paper, result: Result) -> None:
    """Which trace under which kernel."""
    paper.line((result.trace, "title"), (f"  kernel {result.kernel}", "model"))
    if result.description:
        paper.paragraph(" ".join(result.description.split()), "quiet")


def write(paper: Paper, result: Result) -> None:
    """Everything but the title."""
    for process in result.processes:
        _write_process(paper, result, process)
    _write_totals(paper, result)
    lognotes.write(paper, result.notes, result)
    _write_divergences(paper, result)
    _write_failures(paper, result)


def _write_process(paper: Paper, result: Result, process: ProcessResult) -> None:
    layout = process.layout
    mapped = words.size(sum(m.end - m.start for m in layout))
    room = result.max_map_count - len(layout)
    what = [
        words.plural(len(layout), "VMA"),
        mapped,
        f"{process.mergeable} mergeable",
        f"peak {process.peak_vmas}",
        f"max_map_count {result.max_map_count} leaves {max(room, 0)}",
    ]
    paper.line("")
    name = process.pid + (" (exited)" if process.exited else "")
    first, *more = paper.broken(": " + ", ".join(what), len(name), 4)
    paper.line((name, "title"), first)
    for part in more:
        paper.line("    ", part)
    if layout:
        layouts.write(paper, layout, process.borders)


def _write_totals(paper: Paper, result: Result) -> None:
    tally = result.tally
    kinds = ", ".join(f"{kind} {count}" for kind, count in tally.merges.items())
    checked = result.passed + len({failure.line for failure in result.failures})
    held = f"{result.passed} of {words.plural(checked, 'expectation')} held"
    blocked = ", ".join(f"{reason} {count}" for reason, count in tally.blocked.items())
    sides = words.plural(tally.blocked_sides, "side")
    divergences = words.plural(result.diverged, "divergence")
    paper.line("")
    for name, text in (
        ("events", f"{result.events}, {result.errors} failed, {divergences}; {held}"),
        ("VMAs", f"{result.vmas}, {result.mergeable} mergeable, peak {result.peak_vmas}"),
        ("merges", f"{tally.total} ({kinds}), {words.plural(result.splits, 'split')}"),
        ("blocked", f"{sides} ({blocked})" if blocked else sides),
    ):
        paper.paragraph(text, "", f"{name:<9}", " " * 9)
    headline = f"blocked by VM_MERGEABLE alone: {tally.only_mergeable}"
    paper.line((headline, "failed" if tally.only_mergeable else "passed"))


def _write_divergences(paper: Paper, result: Result) -> None:
    if not result.divergences:
        return
    paper.line("")
    paper.line((words.plural(result.diverged, "divergence") + " from the record", "failed"))
    for divergence in result.divergences[:MOST]:
        event = divergence.event
        kind = CALLS[event.name].result
        place = f"  {result.path}:{event.line}: "
        paper.paragraph(event.text, "", place, " " * 6)
        recorded = format_result(divergence.recorded, kind)
        paper.line(
            f"      recorded {recorded}, modelled ",
            (format_result(divergence.modelled, kind), "bad"),
        )
    write_rest(paper, result.diverged)


def _write_failures(paper: Paper, result: Result) -> None:
    if not result.failures:
        return
    paper.line("")
    paper.line((words.plural(len(result.failures), "expectation") + " failed", "failed"))
    for failure in result.failures[:MOST]:
        write_failure(paper, result.path, failure)
    write_rest(paper, len(result.failures))


def write_failure(paper: Paper, path: str, failure: Failure, under: Sequence[str] = ()) -> None:
    """An expectation of the trace at *path* that did not hold; of a layout, what differs.

    *under* names the models, where there may be several.
    """
    process = "" if failure.pid == "main" else f" of {failure.pid}"
    models = f" under {words.models(under)}" if under else ""
    place = f"{path}:{failure.line}: {failure.what}{process}{models}"
    if failure.what == "maps":
        paper.paragraph(f"{place} differ (- expected, + actual)", "", "  ", " " * 6)
        _write_map_failure(paper, failure)
    else:
        expected, actual = f"{place}: expected {failure.expected}, actual ", str(failure.actual)
        *above, last = paper.broken(expected + actual, 2, 6)
        for i, part in enumerate(above):
            paper.line("      " if i else "  ", part)
        indent = "      " if above else "  "
        paper.line(indent + last.removesuffix(actual), (actual, "bad"))
        if failure.since is not None:
            paper.paragraph(since(failure, failure.since), "", "      ", " " * 8)


def since(failure: Failure, event: Event) -> str:
    """At which *event* the number went wrong: ``since line 3: munmap(a, PAGE_SIZE)``."""
    did = "reached in" if failure.what == "peak_vmas" else "since"
    process = "" if event.pid == failure.pid else f"[{event.pid}] "
    label = f"{event.label} = " if event.label else ""
    return f"{did} line {event.line}: {process}{label}{event.text}"


def write_rest(paper: Paper, count: int) -> None:
    """Say how many of *count* are not among the first MOST, which were shown."""
    if count > MOST:
        more = f"and {count - MOST} more (--format json has them all)"
        paper.line(f"  {paper.glyph('…', '...')} {more}")


def _write_map_failure(paper: Paper, failure: Failure) -> None:
    expected = cast("list[ExpectedMapping]", failure.expected)
    for sign, text in _compared(expected, cast(Layout, failure.actual)):
        style = {"-": "bad", "+": "good"}.get(sign, "")
        paper.paragraph(text, style, f"    {sign} ", " " * 8)


def _compared(expected: list[ExpectedMapping], actual: Layout) -> Iterator[tuple[str, str]]:
    """Lines of a diff in address order; what is the same on both sides is one line."""
    wanted = [(int(want.start), want) for want in expected]  # type: ignore[arg-type]
    have = list(actual)
    while wanted or have:
        if wanted and have and _is(wanted[0][1], have[0]):
            yield " ", _mapping_text(have.pop(0))
            del wanted[0]
        elif wanted and (not have or wanted[0][0] <= have[0].start):
            yield "-", _expected_text(wanted.pop(0)[1])
        else:
            yield "+", _mapping_text(have.pop(0))


def _is(want: ExpectedMapping, have: Mapping) -> bool:
    return (
        (want.start, want.end) == (have.start, have.end)
        and want.perms in (None, have.perms)
        and want.offset in (None, have.offset)
        and want.name in (None, have.name)
        and (want.flags is None or set(want.flags) == set(have.codes))
    )


def _mapping_text(have: Mapping) -> str:
    place = layouts.address_range(have.start, have.end)
    return f"{place} {have.perms} {have.offset:x} {' '.join(have.codes)} {have.name}".rstrip()


def _expected_text(want: ExpectedMapping) -> str:
    """What was stated; a ``*`` where nothing was."""
    place = f"{want.start:08x}-{want.end:08x}"
    offset = "*" if want.offset is None else f"{want.offset:x}"
    flags = "*" if want.flags is None else " ".join(want.flags)
    name = "*" if want.name is None else want.name
    return f"{place} {want.perms or '*'} {offset} {flags} {name}".rstrip()
