"""What the reading of a log leaves to say: how its lines were counted, and what was assumed."""

from __future__ import annotations

from typing import Any, Final

from vmatrace.diagnostic import Diagnostic
from vmatrace.notes import Notes
from vmatrace.render import words
from vmatrace.render.paper import Paper
from vmatrace.replayer.result import Result

#: So many kinds of lines that were passed over are named, and so many misread lines shown.
_KINDS: Final = 6
_LINES: Final = 10
_FAULTED: Final = {
    "writable": "private memory counts as written to as soon as it is writable",
    "none": "no memory counts as written to",
    "recorded": "what was written to is as the log says",
}


def write(paper: Paper, notes: Notes | None, result: Result) -> None:
    """The end of a summary: nothing for a trace that is neither a log nor made of one."""
    said = _assumptions(notes, result)
    if notes is None and not said:
        return
    if notes is not None:
        paper.paragraph(_counts(paper, notes), "", "log      ", " " * 9)
    if said:
        paper.paragraph("; ".join(said), "", "assumed  ", " " * 9)
    if notes is not None and notes.misread_count:
        paper.line("")
        _write_misread(paper, notes)


def write_import(paper: Paper, notes: Notes, output: str | None) -> None:
    """What there is to say when a log has been written as a trace to *output*."""
    if output is not None:
        paper.paragraph(f"{output}: {_counts(paper, notes)}", "", "", "  ")
    if notes.misread_count:
        _write_misread(paper, notes)


def as_json(notes: Notes) -> dict[str, Any]:
    """The ``log`` object of a result."""
    return {
        "form": notes.form,
        "lines": notes.lines,
        "events": notes.events,
        "supplied": notes.supplied,
        "joined": notes.joined,
        "passed": dict(sorted(notes.passed.items())),
        "misread": notes.misread_count,
        "misread_lines": [_line(found) for found in notes.misread],
        "assume_faulted": notes.faulted,
        "assumed": list(notes.assumed),
    }


def _line(found: Diagnostic) -> dict[str, Any]:
    return {
        "path": found.path,
        "line": found.line,
        "column": found.column,
        "message": found.message,
        "text": found.source,
    }


def _counts(paper: Paper, notes: Notes) -> str:
    kinds = sorted(notes.passed.items(), key=lambda item: (-item[1], item[0]))
    passed = ", ".join(f"{kind} {count}" for kind, count in kinds[:_KINDS])
    more = f", {paper.glyph('…', '...')}" if len(kinds) > _KINDS else ""
    parts = [f"{words.plural(notes.lines, 'line')} of {notes.form}"]
    parts.append(f"{words.plural(notes.events, 'event')}")
    if notes.joined:
        parts.append(f"{words.plural(notes.joined, 'other half', 'other halves')} of calls")
    total = sum(notes.passed.values())
    parts.append(f"{total} passed over" + (f" ({passed}{more})" if passed else ""))
    if notes.misread_count:
        parts.append(f"{notes.misread_count} not understood")
    return ", ".join(parts)


def _assumptions(notes: Notes | None, result: Result) -> list[str]:
    said = []
    if result.assumed:
        said.append(f"{words.plural(result.assumed, 'mapping')} that no call made ([assumed])")
    if result.cleared:
        said.append(f"{words.plural(result.cleared, 'mapping')} gone that no call removed")
    said += failures(result)
    if notes is not None:
        said.append(_FAULTED[notes.faulted])
        said += [text.rstrip(".") for text in notes.assumed]
    return said


def failures(result: Result) -> list[str]:
    """What is to be said of calls that failed and that the model would have granted."""
    said = []
    if result.believed:
        calls = words.plural(result.believed, "call")
        said.append(f"{calls} that failed, which the model would have granted (believed)")
    where = result.at_limit
    if where is not None:
        unseen = f", {where.unseen} of them not in the log" if where.unseen else ""
        said.append(
            f"refused at about {where.maps} of {where.limit} maps{unseen}:"
            f" line {where.event.line}: {where.event.text}"
        )
    if result.beyond_limit:
        said.append(
            f"vm.max_map_count was larger than {result.max_map_count}: a call succeeded with"
            f" {result.beyond_limit} maps"
        )
    return said


def _write_misread(paper: Paper, notes: Notes) -> None:
    verb = "was" if notes.misread_count == 1 else "were"
    paper.line((f"{words.plural(notes.misread_count, 'line')} {verb} not understood", "failed"))
    for found in notes.misread[:_LINES]:
        paper.paragraph(found.message, "", f"  {found.path}:{found.line}: ", " " * 6)
        text = found.source if len(found.source) <= 200 else found.source[:199] + "…"
        for part in paper.folded(text.strip(), 6):
            paper.line(" " * 6, (part, "quiet"))
    if notes.misread_count > _LINES:
        more = f"and {notes.misread_count - _LINES} more (--format json has the first 100)"
        paper.paragraph(more, "", f"  {paper.glyph('…', '...')} ", " " * 6)
