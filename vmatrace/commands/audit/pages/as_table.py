"""The estimate as a table for people: what there is, what would be saved, what it would cost."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.audit.bill import RECORD
from vmatrace.commands.audit.pages.classes import Sharing
from vmatrace.commands.audit.pages.cost import STEP
from vmatrace.commands.audit.pages.question import Contents, Estimate
from vmatrace.commands.form import Form, Pages
from vmatrace.render import words
from vmatrace.render.paper import Paper

SUFFIXES: Final = (".txt",)
FOR_PEOPLE: Final = True
#: So many processes are shown, those that would save most.
_MOST: Final = 20
#: Columns of a name; a process calls itself by at most 15 characters (TASK_COMM_LEN).
_NAME: Final = 15


def form(out: TextIO, count: int) -> Form[Estimate]:
    """One table."""
    return Pages(out, write)


def write(paper: Paper, found: Estimate) -> None:
    """Everything."""
    many = len(found.processes) > 1
    paper.line(
        ("If KSM by default were on in ", "title"),
        (f"{len(found.processes)} processes" if many else who(found.processes[0]), "title"),
    )
    head = ("pages", "zeros", "merged", "saved")
    paper.line(f"{'':<8}{'':<{_NAME}}", *(f"{word:>12}" for word in head))
    for process in found.processes[:_MOST]:
        zeros = round(process.zeros / found.share)
        _row(paper, _named(process), process.pages, zeros, process.sharing)
    _write_more(paper, found)
    if many:
        _row(paper, f"{'together':<{_NAME + 8}}", found.pages, found.zeros.merged, found.sharing)
    paper.line("")
    _saved(paper, found)
    _costs(paper, found)
    for note in _notes(found):
        paper.paragraph(note, "quiet")


def _write_more(paper: Paper, found: Estimate) -> None:
    more = len(found.processes) - _MOST
    if more > 0:
        paper.line((f"  and {more} more (--format json has them all)", "quiet"))


def who(process: Contents) -> str:
    """A process by number and name."""
    return f"{process.pid} {process.name}".rstrip()


def _named(process: Contents) -> str:
    return f"{process.pid:<7} {process.name:<{_NAME}}"


def _row(paper: Paper, name: str, pages: int, zeros: int, found: Sharing) -> None:
    numbers = (pages, zeros, found.merged, found.saved)
    paper.line(name, *(f"{number:>12,}" for number in numbers))


def _saved(paper: Paper, found: Estimate) -> None:
    saved = found.sharing.saved
    about = f" ± {2 * found.sharing.error:,}" if found.sharing.error else ""
    size = words.size(saved * found.page_size)
    parts = []
    if len(found.processes) > 1:
        parts.append(f"{found.within:,} within one process, {saved - found.within:,} across")
    parts.append(f"{found.zeros.saved:,} of them pages of zeros")
    share = 100 * saved / found.pages if found.pages else 0
    paper.paragraph(
        f"{saved:,}{about} of {found.pages:,} pages ({size}, {share:.0f}%): {'; '.join(parts)}",
        "", "saves   ", " " * 8,
    )  # fmt: skip


def _costs(paper: Paper, found: Estimate) -> None:
    left = "loss" if found.profit < 0 else "profit"
    paper.paragraph(
        f"{words.size(found.records)} for ksmd's records ({RECORD} bytes a page), which leaves a "
        f"{left} of {words.size(abs(found.profit))}",
        "", "costs   ", " " * 8,
    )  # fmt: skip
    paper.line("")
    names = [row.kernel for row in found.processes[0].added]
    width = max(13, *map(len, names)) + 2
    paper.line((f"{'VMAs more, under':<{8 + _NAME}}{'now':>9}", "title"),
               *((f"{name:>{width}}", "title") for name in names))  # fmt: skip
    for process in found.processes[:_MOST]:
        cells = []
        for row in process.added:
            over = process.vmas + row.most > process.max_map_count
            cells.append((f"{range_of(row.likely, row.most):>{width}}", "failed" if over else ""))
        paper.line(f"{_named(process)}{process.vmas:>9,}", *cells)
    _write_more(paper, found)
    paper.paragraph(
        f"From the heap alone, which malloc grows by {words.size(STEP)}, up to all anonymous "
        "memory in such calls. A recording says what it is: vmatrace record, then replay --ksm.",
        "quiet",
    )


def range_of(likely: int, most: int) -> str:
    """``+2``, or ``+2 to +90``."""
    return f"+{likely:,}" if likely == most else f"+{likely:,} to +{most:,}"


def _notes(found: Estimate) -> list[str]:
    notes = []
    unread = sum(process.unread for process in found.processes)
    swapped = sum(process.swapped for process in found.processes)
    if found.share < 1:
        notes.append(f"{100 * found.share:g}% of the pages were read; the numbers are estimates.")
    if found.forked:
        forked = _pages(found.forked, "is", "are")
        notes.append(f"{forked} shared by fork(), and counted once together.")
    if unread:
        counted = "counted as unlike all others"
        notes.append(f"{_pages(unread, 'could', 'could')} not be read, and {counted}.")
    if swapped:
        out = _pages(swapped, "is", "are")
        notes.append(f"{out} swapped out, where ksmd does not look either.")
    return notes


def _pages(count: int, one: str, many: str) -> str:
    """So many pages with their verb."""
    return f"1 page {one}" if count == 1 else f"{count:,} pages {many}"
