"""Explanations as text: one place, or every border of a trace grouped by reason."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.explain import advice
from vmatrace.commands.explain.address import as_decimal
from vmatrace.commands.explain.borders import BorderLife
from vmatrace.commands.explain.lives import LifeEvent
from vmatrace.commands.explain.question import (
    DELIBERATE,
    Account,
    Attempt,
    BorderAccount,
    Contrast,
    Group,
    Overview,
    deliberate,
    grouped,
)
from vmatrace.commands.explain.survey import Moment
from vmatrace.commands.explain.words import contrasted, told
from vmatrace.commands.form import Form, Pages
from vmatrace.event import Event
from vmatrace.layout import Mapping
from vmatrace.render import layouts, lognotes, words
from vmatrace.render.paper import Paper

_LABELS: Final = 15  # columns of the labels at the left
#: So many changes of a history, and so many examples of a group, are shown.
_MOST_CHANGES: Final = 12
_EXAMPLES: Final = 3

#: What happened to the VMA at an address, for each of lives.KINDS.
CHANGES: Final[dict[str, str]] = {
    "started": "was there from the start",
    "mapped": "mapped",
    "replaced": "mapped over what was there",
    "moved-here": "moved here",
    "forked": "inherited by fork",
    "grew": "grew",
    "split": "cut: the rest is another VMA now",
    "shrank": "cut: the rest is not mapped any more",
    "flags": "flags changed",
    "written": "got an anon_vma (written to)",
    "attributes": "name, policy or page offset changed",
    "unmapped": "unmapped",
    "moved-away": "moved away",
}
ANON: Final = {
    "unfaulted": "not written to, no anon_vma",
    "own": "written to, an anon_vma of its own",
    "shared": "written to before a fork, its anon_vma is shared with another process",
}
_OPS: Final = {
    "new": "a new range",
    "modify": "a range whose attributes were to change",
    "brk": "what the heap grew by",
    "copy": "a range that mremap() moved",
    "grow": "what mremap() added in place",
}
#: What two differ in that nobody wants to be one, for each of explain.DELIBERATE.
PURPOSES: Final = {
    "protection": "of different protection",
    "file": "of different files, or of a file and none",
    "sharing": "shared and private",
    "special": "special mappings, which never merge",
}


SUFFIXES: Final = (".txt",)
FOR_PEOPLE: Final = True


def form(out: TextIO, count: int) -> Form[Account | Overview]:
    """One place, or every border."""
    return Pages(out, write)


def write(paper: Paper, what: Account | Overview) -> None:
    """One place, or every border."""
    if isinstance(what, Account):
        _write_account(paper, what)
    else:
        _write_overview(paper, what)


def _write_account(paper: Paper, account: Account) -> None:
    _write_title(paper, account)
    place = f"{account.address:08x} in {account.pid}"
    said = account.asked.lower().removeprefix("0x").lstrip("0")
    asked = "" if said == f"{account.address:x}".lstrip("0") else f"{account.asked} = "
    paper.line("")
    if account.mapping is None:
        _write_hole(paper, account, asked + place)
    else:
        paper.line((asked + place, "title"))
        _write_place(paper, account, account.mapping)
    _write_end(paper, account)


def _write_overview(paper: Paper, overview: Overview) -> None:
    _write_title(paper, overview)
    several = len(overview.processes) > 1
    on_purpose: dict[str, list[BorderAccount]] = {what: [] for what in DELIBERATE}
    others: list[BorderAccount] = []
    for border in overview.borders:
        on_purpose.get(deliberate(border) or "", others).append(border)
    groups = grouped(others)
    count = words.plural(len(overview.borders), "border")
    of = words.plural(overview.vmas, "VMA")
    who = f"{len(overview.processes)} processes" if several else "".join(overview.processes)
    paper.paragraph(f"{of} of {who}; {count} where two touch")
    for group in groups:
        paper.line("")
        _write_group(paper, group, several)
    if len(others) < len(overview.borders):
        paper.line("")
        _write_deliberate(paper, on_purpose, several)
    _write_end(paper, overview)


# --- parts ----------------------------------------------------------------------------------------


def _write(paper: Paper, label: str, text: str, style: str = "") -> None:
    """A paragraph behind a label."""
    margin = " " * (_LABELS + 2)
    first, *rest = paper.broken(text, _LABELS + 2, _LABELS + 2)
    paper.line(("  " + label.ljust(_LABELS), "quiet"), (first, style))
    for part in rest:
        paper.line(margin, (part, style))


def _write_title(paper: Paper, what: Account | Overview) -> None:
    paper.line((what.result.trace, "title"), (f"  kernel {what.result.kernel}", "model"))


def _write_end(paper: Paper, what: Account | Overview) -> None:
    """What makes the explanation less sure: what a log left open, where the record differs."""
    if what.result.diverged:
        many = words.plural(what.result.diverged, "divergence")
        paper.line("")
        paper.paragraph(f"{many} from the record: this is what the model did", "failed")
    if what.notes is not None:
        paper.line("")
        lognotes.write(paper, what.notes, what.result)


def _write_place(paper: Paper, account: Account, mapping: Mapping) -> None:
    _write_mapping(paper, mapping, "  ")
    _write(paper, "flags", words.flags(mapping.vm_flags))
    assert account.anon is not None
    _write(paper, "memory", ANON[account.anon])
    paper.line("")
    paper.line(("How it came to be", "title"))
    _write_history(paper, account)
    paper.line("")
    if account.lower is None:
        _write_nothing_beside(paper, "Below", mapping, account.below)
    else:
        paper.line((f"Below it, up to {account.lower.address:08x}", "title"))
        _write_mapping(paper, account.lower.below, "  ")
        _write_border(paper, account.lower, told=False)
    paper.line("")
    if account.upper is None:
        _write_nothing_beside(paper, "Above", mapping, account.above)
    else:
        paper.line((f"Above it, from {account.upper.address:08x} on", "title"))
        _write_mapping(paper, account.upper.above, "  ")
        told = account.lower is not None and len(grouped([account.lower, account.upper])) == 1
        _write_border(paper, account.upper, told)


def _write_mapping(paper: Paper, mapping: Mapping, indent: str) -> None:
    layouts.write_row(paper, layouts.Columns([mapping]), mapping, indent)


def when(event: Event | None, nth: int | None = None) -> str:
    """Where an event stands: ``line 12``; where the input has no lines, its number or its text."""
    if event is None:
        return "the start"
    if event.line:
        return f"line {event.line}"
    return f"event {nth + 1}" if nth is not None else event.text


def _at(moment: Moment | None) -> str:
    return when(moment.event, moment.nth) if moment is not None else "the start"


def _call(moment: Moment | None) -> str:
    return str(moment) if moment is not None else "the start"


def _write_hole(paper: Paper, account: Account, place: str) -> None:
    paper.line((f"{place}: nothing is mapped there", "title"))
    if account.before is not None:
        was, gone = account.before, account.history[-1]
        what = f"{layouts.address_range(was.start, was.end)} was there until {_call(gone.last)}"
        _write(paper, "before", what)
    else:
        _write(paper, "before", "nothing ever was")
    below, above = account.below, account.above
    if below is not None:
        gap = account.address - below.end
        away = f"{words.size(gap)} below" if gap else "there"
        _write(paper, "nearest below", f"{_named(below)}, ends {away}")
    if above is not None:
        away = words.size(above.start - account.address)
        _write(paper, "nearest above", f"{_named(above)}, starts {away} above")
    if below is None and above is None:
        _write(paper, "nearest", f"nothing: {account.pid} has no memory at all")
    decimal = as_decimal(account.asked)
    layouts_here = (p.layout for p in account.result.processes if p.pid == account.pid)
    for mapping in (m for layout in layouts_here for m in layout):
        if decimal is not None and mapping.start <= decimal < mapping.end:
            there = f"0d{account.asked} is {decimal:08x}, in {_named(mapping)}"
            _write(paper, "decimal", there, "warning")


def _named(mapping: Mapping) -> str:
    return f"{layouts.address_range(mapping.start, mapping.end)} {mapping.name or 'anonymous'}"


def _write_nothing_beside(paper: Paper, name: str, mapping: Mapping, other: Mapping | None) -> None:
    text = f"{name} it: nothing"
    if other is not None:
        gap = mapping.start - other.end if name == "Below" else other.start - mapping.end
        text += f" for {words.size(gap)}, then {_named(other)}"
    paper.paragraph(text, "title", "", "  ")


def _write_history(paper: Paper, account: Account) -> None:
    changes = account.history
    if account.before is not None:
        was = layouts.address_range(account.before.start, account.before.end)
        paper.paragraph(f"there was another one before, {was}", "quiet", "  ", "  ")
    head, tail = changes, []
    if len(changes) > _MOST_CHANGES:
        head, tail = changes[: _MOST_CHANGES // 2], changes[-_MOST_CHANGES // 2 :]
    for change in head:
        _write_change(paper, change)
    if tail:
        left_out = len(changes) - len(head) - len(tail)
        paper.line("  ", (f"and {left_out} more changes (--format json has them all)", "quiet"))
    for change in tail:
        _write_change(paper, change)


def _write_change(paper: Paper, change: LifeEvent) -> None:
    said = [CHANGES[kind] for kind in change.kinds]
    if change.set or change.cleared:
        said[change.kinds.index("flags")] = ", ".join(
            f"{verb} {words.flags(mask)}"
            for verb, mask in (("got", change.set), ("lost", change.cleared))
            if mask
        )
    text = "; ".join(said)
    if change.after is not None and set(change.kinds) & {"grew", "split", "shrank"}:
        text += f": now {layouts.address_range(change.after.start, change.after.end)}"
    label = _at(change.last)
    if change.times > 1 and change.first is not None:
        text = f"{change.times} times since {_at(change.first)}: {text}"
    _write(paper, label, text)
    if change.last is not None and change.times == 1:
        _write(paper, "", change.last.event.text, "quiet")


def _write_border(paper: Paper, border: BorderAccount, told: bool) -> None:
    """*told*: what is to be said of the reasons has been, of the other border."""
    _write(paper, "touching", _since(border.life))
    if border.life.since is not None:
        _write(paper, "", border.life.since.event.text, "quiet")
    _write(paper, "last attempt", _attempt_words(border.attempt))
    _write_today(paper, border)
    if told:
        models = "other kernels, " if border.answer is not None else ""
        _write(paper, "otherwise", f"as below it: {models}what to do")
    else:
        _write_outlook(paper, border)


def _write_today(paper: Paper, border: BorderAccount) -> None:
    _write(paper, "today", _today(border.today), "warning" if border.today.mask else "key")


def _write_outlook(paper: Paper, border: BorderAccount) -> None:
    """What other models make of it, and what can be done."""
    if border.answer is not None:
        for label, text in told(border.answer):
            _write(paper, label, text)
    for i, text in enumerate(advice.advice(border)):
        _write(paper, "" if i else "what to do", text, "good")


def _since(life: BorderLife) -> str:
    if life.since is None:
        return "from the start"
    what = "mapped one beside the other" if life.placed else "drew the border there"
    return f"since {_at(life.since)}, which {what}"


def _attempt_words(attempt: Attempt | None) -> str:
    if attempt is None:
        return "none: no call has tried to merge them"
    where = "the upper one" if attempt.upper else "the lower one"
    reasons = "; ".join(contrasted(attempt.then))
    return f"in {when(attempt.event)}, of {_OPS[attempt.op]} ({where}): {reasons}"


def _today(contrast: Contrast) -> str:
    if contrast.mask == 0:
        return "alike: they would be one VMA if a call tried to merge them"
    return "apart: " + "; ".join(contrasted(contrast))


# --- all borders ----------------------------------------------------------------------------------


def _write_deliberate(
    paper: Paper, on_purpose: dict[str, list[BorderAccount]], several: bool
) -> None:
    """The borders that nobody would miss one without."""
    count = sum(map(len, on_purpose.values()))
    paper.line((words.plural(count, "border"), "title"), " between memory that is not the same")
    for what, borders in on_purpose.items():
        if borders:
            first = borders[0]
            pid = f"{first.pid}: " if several else ""
            such = "at" if len(borders) == 1 else "such as"
            text = f"{PURPOSES[what]}, {such} {pid}{first.address:08x}"
            _write(paper, str(len(borders)), text)


def _write_group(paper: Paper, group: Group, several: bool) -> None:
    first = group.first
    paper.line((words.plural(len(group.borders), "border"), "title"))
    for border in group.borders[:_EXAMPLES]:
        pid = f"{border.pid}: " if several else ""
        label = "at" if border is first else ""
        text = f"{pid}{border.address:08x}, {_since(border.life)}"
        _write(paper, label, text)
    if len(group.borders) > _EXAMPLES:
        more = len(group.borders) - _EXAMPLES
        _write(paper, "", f"and {more} more (--format json has them all)", "quiet")
    place = f"at {first.address:08x} " if first.attempt and len(group.borders) > 1 else ""
    _write(paper, "last attempt", place + _attempt_words(first.attempt))
    _write_today(paper, first)
    _write_outlook(paper, first)
