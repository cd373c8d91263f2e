"""What each call did: its result, what merged or did not and why, and the VMAs that changed."""

from __future__ import annotations

from collections.abc import Iterator

from vmatrace.calls import CALLS
from vmatrace.engine import view
from vmatrace.engine.merge import MergeDecision, Side
from vmatrace.engine.refusal import Refusal
from vmatrace.event import format_result
from vmatrace.layout import Layout, Mapping
from vmatrace.render import layouts, words
from vmatrace.render.paper import Paper
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay

_INDENT = " " * 9
#: How the neighbours of an attempt are called, by the kind of a merge or its side.
SIDES = {
    "prev": "the VMA before it",
    "next": "the VMA after it",
    "both": "the VMAs before and after it",
}


def write(paper: Paper, replay: Replay) -> None:
    """Run *replay* and write every step as it happens."""
    before = {"main": view.layout(replay.process("main"))}
    for step in replay.steps():
        _write_call(paper, step)
        for decision in step.decisions:
            _write_decision(paper, decision, len(step.decisions) == 1)
        after = step.layout
        _write_change(paper, before[step.pid], after)
        before[step.pid] = after
        if step.born is not None:
            before[step.born] = view.layout(replay.process(step.born))


def _write_call(paper: Paper, step: Step) -> None:
    event = step.event
    kind = CALLS[event.name].result
    process = "" if step.pid == "main" else f"[{step.pid}] "
    label = f"{event.label} = " if event.label else ""
    result = format_result(step.result, kind)
    first = f"{event.line:>6}   "
    text = f"{process}{label}{event.text}"
    *whole, last = paper.broken(f"{text} = {result}", len(first), len(_INDENT) + 4)
    for part in whole:
        paper.line((first, "quiet"), part)
        first = _INDENT + "    "
    style = "bad" if step.result < 0 else "good"
    if last.endswith(result):
        paper.line((first, "quiet"), last.removesuffix(result), (result, style))
    else:
        paper.line((first, "quiet"), last)
    if event.recorded is not None and event.recorded != step.result:
        recorded = format_result(event.recorded, kind)
        paper.line(_INDENT, (f"diverges: recorded {recorded}", "failed"))


def _write_decision(paper: Paper, decision: MergeDecision, alone: bool) -> None:
    for text, style in sentences(decision, alone):
        paper.paragraph(text, style, _INDENT, _INDENT + "    ")


def write_step(paper: Paper, step: Step) -> None:
    """One step of those that were followed (Step.came and Step.went)."""
    _write_call(paper, step)
    for decision in step.decisions:
        _write_decision(paper, decision, len(step.decisions) == 1)
    _write_change(paper, step.went, step.came)


def write_refusal(paper: Paper, refusal: Refusal) -> None:
    """Which neighbour was refused, and why."""
    why = _why(refusal.decision, refusal.neighbour, refusal.blockers)
    paper.paragraph(f"not merged with {SIDES[refusal.side]}, {why}", "warning")


def sentences(decision: MergeDecision, alone: bool) -> Iterator[tuple[str, str]]:
    """What merged and what did not, each with a style.

    *alone*: the call tried no other merge, so it need not be said which range this was.
    """
    subject = "" if alone else layouts.address_range(decision.start, decision.end) + " "
    if decision.kind is not None:
        merged = layouts.address_range(decision.merged_start, decision.merged_end)
        size = words.size(decision.merged_end - decision.merged_start)
        yield f"{subject}merged with {SIDES[decision.kind]}: now {merged} ({size})", "good"
    for side, neighbour, mask in decision.blocked():
        why = _why(decision, neighbour, mask)
        yield f"{subject}not merged with {SIDES[side]}, {why}", "warning"


def _why(decision: MergeDecision, neighbour: Side, mask: int) -> str:
    here, there = decision.proposed, neighbour.attributes
    difference = words.flag_difference(
        decision.flag_difference(neighbour), there.flags, here.flags, ("there", "here")
    )
    same = here.file is not None and there.file is not None and here.file.path == there.file.path
    place = layouts.address_range(neighbour.start, neighbour.end)
    return f"{place}: {words.reasons(mask, difference, (there.anon, here.anon), same)}"


def _write_change(paper: Paper, before: Layout, after: Layout) -> None:
    """The VMAs that went (-) and came (+), in address order."""
    old, new = set(before), set(after)
    changes = [("-", m) for m in before if m not in new] + [("+", m) for m in after if m not in old]
    changes.sort(key=lambda change: (change[1].start, change[0] == "+"))
    columns = layouts.Columns([m for _, m in changes])
    for sign, mapping in changes:
        _write_mapping(paper, columns, sign, mapping)


def _write_mapping(paper: Paper, columns: layouts.Columns, sign: str, mapping: Mapping) -> None:
    style = "bad" if sign == "-" else "good"
    layouts.write_row(paper, columns, mapping, _INDENT, style, sign + " ")
