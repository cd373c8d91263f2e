"""A whole result as text: the totals, the layout of each process, and what did not hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, cast

from vmatrace.calls import CALLS
from vmatrace.escape import visible
from vmatrace.event import Event, ExpectedMapping, format_result
from vmatrace.layout import Layout, Mapping
from vmatrace.render import addressspace, layouts, lognotes, words
from vmatrace.render.cells import columns
from vmatrace.render.paper import Paper
from vmatrace.replayer.result import Failure, ProcessResult, Result

#: So many divergences, and so many failed expectations, are shown.
MOST: Final = 100
_LABEL: Final = 9  # columns of the labels of totals


def write_result(paper: Paper, result: Result) -> None:
    """All of it."""
    write_head(paper, result)
    write_layouts(paper, result)
    write_faults(paper, result)


def write_head(paper: Paper, result: Result) -> None:
    """Which trace under which kernel, and what it came to."""
    paper.line((result.trace, "title"), (f"  kernel {result.kernel}", "model"))
    if result.description:
        paper.paragraph(" ".join(result.description.split()), "quiet")
    _write_totals(paper, result)
    lognotes.write(paper, result.notes, result)


def write_layouts(paper: Paper, result: Result, why: str = addressspace.INTERESTING) -> None:
    """The address space of each process; *why*: of which borders the reasons are given."""
    for process in result.processes:
        paper.line("")
        name, text = _process(process, result.max_map_count)
        first, *more = paper.broken(text, columns(name), 4)
        paper.line((name, "title"), first)
        for part in more:
            paper.line("    ", part)
        if process.layout:
            addressspace.write(paper, process.layout, process.borders, why)


def write_processes(paper: Paper, result: Result) -> None:
    """A line for each process, those that it made below it."""
    paper.line("")
    children: dict[str | None, list[ProcessResult]] = {}
    there = {process.pid for process in result.processes}
    for process in result.processes:
        parent = process.parent if process.parent in there else None
        children.setdefault(parent, []).append(process)

    def lines(parent: str | None, depth: int) -> Iterator[tuple[int, ProcessResult]]:
        for process in children.get(parent, ()):
            yield depth, process
            yield from lines(process.pid, depth + 1)

    if paper.drawn and len(result.processes) > 1:
        _write_tree(paper, list(lines(None, 0)), result.max_map_count)
        return
    for depth, process in lines(None, 0):
        name, text = _process(process, result.max_map_count)
        indent = "  " * depth
        first, *more = paper.broken(text, columns(indent + name), len(indent) + 4)
        paper.line(indent, (name, "title"), first)
        for part in more:
            paper.line(indent + "    ", part)


def _write_tree(
    paper: Paper, lines: Sequence[tuple[int, ProcessResult]], max_map_count: int
) -> None:
    from rich.text import Text
    from rich.tree import Tree

    root = Tree("", hide_root=True, guide_style="frame")
    above = [root]
    for depth, process in lines:
        name, text = _process(process, max_map_count)
        node = above[depth].add(Text.assemble((visible(name), "title"), text))
        above[depth + 1 :] = [node]
    paper.add(root)


def _process(process: ProcessResult, max_map_count: int) -> tuple[str, str]:
    """The name of a process, and in short what it came to."""
    layout = process.layout
    mapped = words.size(sum(m.end - m.start for m in layout))
    room = max_map_count - len(layout)
    what = [
        words.plural(len(layout), "VMA"),
        mapped,
        f"{process.mergeable} mergeable",
        f"peak {process.peak_vmas}",
        f"max_map_count {max_map_count} leaves {max(room, 0)}",
    ]
    name = process.pid + (" (exited)" if process.exited else "")
    return name, ": " + ", ".join(what)


def _write_totals(paper: Paper, result: Result) -> None:
    tally = result.tally
    kinds = ", ".join(f"{kind} {count}" for kind, count in tally.merges.items())
    checked = result.passed + len({failure.line for failure in result.failures})
    held = f"{result.passed} of {words.plural(checked, 'expectation')} held"
    blocked = ", ".join(f"{reason} {count}" for reason, count in tally.blocked.items())
    sides = words.plural(tally.blocked_sides, "side")
    divergences = words.plural(result.diverged, "divergence")
    events = ("events", f"{result.events}, {result.errors} failed, {divergences}; {held}")
    vmas = ("VMAs", f"{result.vmas}, {result.mergeable} mergeable, peak {result.peak_vmas}")
    merges = ("merges", f"{tally.total} ({kinds}), {words.plural(result.splits, 'split')}")
    blocks = ("blocked", f"{sides} ({blocked})" if blocked else sides)
    headline = f"blocked by VM_MERGEABLE alone: {tally.only_mergeable}"
    verdict = "failed" if tally.only_mergeable else "passed"
    paper.line("")
    if paper.drawn:
        _write_panel(paper, (vmas, merges), (headline, verdict))
        _write_labelled(paper, (events, blocks))
        return
    _write_labelled(paper, (events, vmas, merges, blocks))
    paper.line((headline, verdict))


def _write_labelled(paper: Paper, rows: Iterable[tuple[str, str]]) -> None:
    for name, text in rows:
        paper.paragraph(text, "", f"{name:<{_LABEL}}", " " * _LABEL)


def _write_panel(paper: Paper, rows: Iterable[tuple[str, str]], headline: tuple[str, str]) -> None:
    """The three numbers that one looks for first."""
    from rich.panel import Panel
    from rich.text import Text

    lines = [f"{name:<{_LABEL}}{text}\n" for name, text in rows]
    paper.add(Panel.fit(Text.assemble(*lines, headline), border_style=headline[1]))


def write_faults(paper: Paper, result: Result) -> None:
    """What is not as the trace has it: divergences, and expectations that failed."""
    _write_divergences(paper, result)
    _write_failures(paper, result)


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
    name = f"{visible(failure.name)}: " if failure.name else ""
    place = f"{path}:{failure.line}: {name}{failure.what}{process}{models}"
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
        paper.paragraph(more, "", f"  {paper.glyph('…', '...')} ", " " * 6)


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
    return f"{place} {have.perms} {have.offset:x} {' '.join(have.codes)} {have.name}"


def _expected_text(want: ExpectedMapping) -> str:
    """What was stated; a ``*`` where nothing was."""
    place = f"{want.start:08x}-{want.end:08x}"
    offset = "*" if want.offset is None else f"{want.offset:x}"
    flags = "*" if want.flags is None else " ".join(want.flags)
    name = "*" if want.name is None else want.name
    return f"{place} {want.perms or '*'} {offset} {flags} {name}"
