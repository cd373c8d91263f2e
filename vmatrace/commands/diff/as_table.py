"""How two sides of a trace differ, as text: where they part, both layouts side by side, totals."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any, Final, TextIO

from vmatrace import abi
from vmatrace.alignment import FlagDifference, align, flag_differences
from vmatrace.calls import CALLS
from vmatrace.commands.diff import sidebyside
from vmatrace.commands.diff.answer import Did, Diff, EventDiff, ProcessDiff
from vmatrace.commands.diff.words import COUNTS, change, labels, limits, reasons
from vmatrace.commands.form import Form
from vmatrace.engine.merge import Blocker
from vmatrace.event import format_result
from vmatrace.render import layouts, steps, words
from vmatrace.render.paper import Paper
from vmatrace.render.streams import on

_INDENT: Final = " " * 9
#: So many VMAs of one event, and so many ranges whose flags differ alike, are shown.
_MOST: Final = 10


SUFFIXES: Final = (".txt",)
FOR_PEOPLE: Final = True


def form(out: TextIO, count: int) -> Form[Diff]:
    """Each trace, and of several the total."""
    return DiffTable(out, count)


class DiffTable(Form[Diff]):
    """Traces one after the other; what differs stands apart."""

    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, count)
        self._paper = on(out)
        self._equal: list[bool] = []

    def write(self, answer: Diff) -> None:
        if self._equal and not (answer.equal and self._equal[-1]):
            self._paper.line("")
        write(self._paper, answer)
        self._equal.append(answer.equal)

    def finish(self) -> None:
        if self.count > 1:
            write_total(self._paper, self._equal, self.count - len(self._equal))


def write(paper: Paper, diff: Diff) -> None:
    """One trace: the first event that differs, or all of them where they are asked for."""
    arrow = paper.glyph("→", "->")
    sides = (f"  {diff.from_.name} {arrow} {diff.to.name}", "model")
    if diff.equal:
        paper.line((diff.trace, "title"), sides, ("  equal", "passed"), f"  ({_size(diff)})")
        _write_limits(paper, diff)
        return
    paper.line((diff.trace, "title"), sides)
    if diff.description:
        paper.paragraph(" ".join(diff.description.split()), "quiet")
    _write_limits(paper, diff)
    _write_events(paper, diff)
    _write_reasons(paper, diff)
    for process in diff.processes:
        _write_process(paper, diff, process)
    _write_totals(paper, diff)


def write_total(paper: Paper, diffs: Iterable[bool], errors: int) -> None:
    """The last line about several traces: how many are *equal*, differ, and are in error."""
    equal = list(diffs)
    text = (
        f"{words.plural(len(equal) + errors, 'trace')}: {sum(equal)} equal, "
        f"{len(equal) - sum(equal)} different"
    )
    bad = f", {errors} in error" if errors else ""
    paper.line("")
    paper.line((text + bad, "passed" if all(equal) and not errors else "failed"))


def _size(diff: Diff) -> str:
    vmas = sum(len(process.from_ or ()) for process in diff.processes)
    events = f"{words.plural(diff.events, 'event')}, " if diff.events is not None else ""
    return events + words.plural(vmas, "VMA")


# --- what cannot be compared ----------------------------------------------------------------------


def _write_reasons(paper: Paper, diff: Diff) -> None:
    found = list(reasons(diff))
    if found:
        paper.line("")
    for text in found:
        paper.paragraph(text, "key")


def _write_limits(paper: Paper, diff: Diff) -> None:
    for text in limits(diff):
        paper.paragraph(text, "warning", "note: ", "      ")


# --- events ---------------------------------------------------------------------------------------


def _write_events(paper: Paper, diff: Diff) -> None:
    if diff.events is None:
        return
    paper.line("")
    if diff.first is None:
        paper.paragraph(f"No event differs of {diff.events}: the sides differ from the start.")
        return
    last = -1
    every = diff.again is not None
    for event in [diff.first] if diff.again is None else diff.again():
        between = event.index - last - 1
        if between and (every or last < 0):
            alike = words.plural(between, "event")
            paper.line((f"{paper.glyph('…', '...'):>6}   {alike} alike", "quiet"))
        _write_event(paper, diff, event)
        last = event.index
    if not every:
        more = (diff.differing or 0) - 1
        if more:
            paper.line((f"{paper.glyph('…', '...'):>6}   {_more_events(more)}", "quiet"))
    elif last < diff.events - 1:
        alike = words.plural(diff.events - 1 - last, "event")
        paper.line((f"{paper.glyph('…', '...'):>6}   {alike} alike", "quiet"))


def _more_events(count: int) -> str:
    return f"{words.plural(count, 'more event differs', 'more events differ')} (--steps shows all)"


def _write_event(paper: Paper, diff: Diff, event: EventDiff) -> None:
    call = event.event
    process = "" if call.pid == "main" else f"[{call.pid}] "
    label = f"{call.label} = " if call.label else ""
    kind = CALLS[call.name].result
    same = event.from_.result == event.to.result
    result = f" = {format_result(event.to.result, kind)}" if same else ""
    text = f"{process}{label}{call.text}{result}"
    paper.paragraph(text, "", f"{event.line:>6}   ", _INDENT + "    ")
    said = [list(_sentences(did)) for did in (event.from_, event.to)]
    for i, (name, did) in enumerate(zip(labels(diff), (event.from_, event.to), strict=True)):
        paper.line(_INDENT, (f"{name}:", "title"))
        indent = _INDENT + "  "
        if not same:
            style = "bad" if did.result < 0 else "good"
            paper.line(f"{indent}returns ", (format_result(did.result, kind), style))
        apart = [sentence for sentence in said[i] if sentence not in said[1 - i]]
        for sentence, style in apart:
            paper.paragraph(sentence, style, indent, indent + "    ")
        _write_change(paper, did, indent)
        if same and not apart and not did.went and not did.came:
            paper.line((f"{indent}changes nothing", "quiet"))
    # Rows leave out flags that are ordinary, which may be all that differs.
    ours, theirs = event.from_, event.to
    blocks = align(ours.came, theirs.came) or align(ours.went, theirs.went)
    _write_flags(paper, flag_differences(blocks), labels(diff), _INDENT)
    if event.healed:
        paper.line(_INDENT, ("after it, both layouts are equal", "good"))


def _sentences(did: Did) -> Iterator[tuple[str, str]]:
    """What merged and what did not, each with a style."""
    for decision in did.decisions:
        yield from steps.sentences(decision, len(did.decisions) == 1)
    if did.record is not None:
        yield from _recorded_sentences(did.record)


def _recorded_sentences(event: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The same of a saved event, in as many words as it has."""
    for merge in event["merges"]:
        place = layouts.address_range(merge["start"], merge["end"])
        yield f"merged with {steps.SIDES.get(merge['kind'], merge['kind'])}: now {place}", "good"
    for blocked in event["blocked"]:
        side = steps.SIDES.get(blocked["side"], blocked["side"])
        flags = [words.flag(_CODES[c]) for c in blocked["flags"] if c in _CODES]
        differing = f": {', '.join(flags)}" * bool(flags)
        why = "; ".join(
            _REASONS.get(code, code) + differing * (code == Blocker.FLAGS.code)
            for code in blocked["reasons"]
        )
        yield f"not merged with {side}, at {blocked['address']:x}: {why}", "warning"


#: Sentences by the codes that a saved event has, which does not say whether both have an anon_vma.
_REASONS: Final = {
    **{reason.code: sentence for reason, sentence in words.SENTENCES.items()},
    Blocker.ANON_VMA.code: "the one has not the anon_vma of the other",
}
_CODES: Final = abi.CODE_TO_VM_FLAG


def _write_change(paper: Paper, did: Did, indent: str) -> None:
    """The VMAs that went (-) and came (+) on this side alone, in address order."""
    changes = [("-", m) for m in did.went] + [("+", m) for m in did.came]
    changes.sort(key=lambda change: (change[1].start, change[0] == "+"))
    shown = changes[:_MOST]
    columns = layouts.Columns([m for _, m in shown])
    for sign, mapping in shown:
        style = "bad" if sign == "-" else "good"
        layouts.write_row(paper, columns, mapping, indent, style, sign + " ")
    if len(changes) > _MOST:
        paper.line((f"{indent}{paper.glyph('…', '...')} and {len(changes) - _MOST} more", "quiet"))


# --- layouts --------------------------------------------------------------------------------------


def _write_process(paper: Paper, diff: Diff, process: ProcessDiff) -> None:
    counts = [None if side is None else len(side) for side in (process.from_, process.to)]
    paper.line("")
    if process.equal:
        paper.line((process.pid, "title"), f": equal, {words.plural(counts[0] or 0, 'VMA')}")
        return
    said = [f"{words.plural(n, 'VMA')}" if n is not None else "no such process" for n in counts]
    names = labels(diff)
    paper.line((process.pid, "title"), f": {said[0]} in {names[0]}, {said[1]} in {names[1]}")
    if None not in counts:
        sidebyside.LayoutTable(paper, process.blocks, names).write()
        _write_flags(paper, process.flags, names, "  ")


def _write_flags(
    paper: Paper, differences: Iterable[FlagDifference], names: tuple[str, str], indent: str
) -> None:
    """Which flags differ, and where."""
    where = (f"in {names[0]}", f"in {names[1]}")
    alike: dict[tuple[int, int], list[str]] = {}
    for start, end, left, right in differences:
        alike.setdefault((left, right), []).append(layouts.address_range(start, end))
    for (left, right), places in alike.items():
        text = f"{words.flag_difference(left | right, left, right, where)}: "
        text += ", ".join(places[:_MOST])
        if len(places) > _MOST:
            text += f" and {words.plural(len(places) - _MOST, 'more range')}"
        paper.paragraph(text, "warning", f"{indent}flags: ", f"{indent}  ")


# --- totals ---------------------------------------------------------------------------------------


def _write_totals(paper: Paper, diff: Diff) -> None:
    names = labels(diff)
    rows = [
        (COUNTS[name], *(_count(value) for value in (a, b)), change(a, b))
        for name, a, b in diff.totals
        if (a, b) != (None, None) and (name != "errors" or a or b)
    ]
    first = max(len(row[0]) for row in rows)
    widths = [max(len(name), 6) for name in names]
    paper.line("")
    heads = "  ".join(name.rjust(width) for name, width in zip(names, widths, strict=True))
    paper.line((f"{'totals':<{first}}  {heads}  change", "quiet"))
    for name, a, b, by in rows:
        style = "" if by in ("", "?") else "title"
        paper.line(f"{name:<{first}}  {a:>{widths[0]}}  {b:>{widths[1]}}  ", (f"{by:>6}", style))


def _count(value: int | None) -> str:
    return "?" if value is None else str(value)


def event_text(diff: Diff, event: EventDiff) -> list[str]:
    """What an event did on both sides, as plain lines."""
    out = io.StringIO()
    _write_event(Paper(out), diff, event)
    first, *rest = out.getvalue().splitlines()
    return [first.split(maxsplit=1)[1], *(line.removeprefix(_INDENT) for line in rest)]
