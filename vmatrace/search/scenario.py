"""A reduced program as a trace file: why it is there, its calls, what each side does with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from vmatrace.calls import CALLS, LIFE
from vmatrace.engine import view
from vmatrace.event import Event, Fd, File, format_result
from vmatrace.kernels import Kernel
from vmatrace.layout import Layout
from vmatrace.replayer.run import Replay
from vmatrace.search.goals import with_events
from vmatrace.trace import writer
from vmatrace.trace.file import Trace

#: Longer layouts are not written down, only counted.
_MOST: Final = 24


def text(
    name: str,
    base: Trace,
    events: Sequence[Event],
    models: Sequence[Kernel],
    about: str,
    ksm: bool | None = None,
    remarks: Mapping[int, str] | None = None,
) -> str:
    """The file. *about* is what stands at its top, *remarks* what stands above single events.

    What it expects is what *models* lead to, which a reader can check with `vmatrace check`.
    """
    process = base.process
    if ksm is not None:
        process = type(process)(ksm, process.brk, process.mmap_base, process.rlimits)
    head = writer.header(
        name, _files(base, events), process, kernel=models[-1].name, page_size=base.page_size,
        arch=base.arch, sysctl=base.sysctl, maps=base.maps, partial=base.partial,
    )  # fmt: skip
    lines = [writer.comment(about) + head.rstrip()]
    outcomes = [_Outcome(base, events, model, ksm) for model in models]
    for i, event in enumerate(events):
        remark = (remarks or {}).get(i, "")
        told = [outcome.results[i] for outcome in outcomes]
        if len(set(told)) > 1 and event.name not in LIFE:
            kind = CALLS[event.name].result
            said = [
                f"{o.model.name} {format_result(r, kind)}"
                for o, r in zip(outcomes, told, strict=True)
            ]
            remark = "; ".join([*([remark] if remark else []), "returns: " + ", ".join(said)])
        if remark:
            lines.append(writer.comment(remark, "  ").rstrip())
        lines.append(writer.event_line(event, result=True))
    lines += _expectations(outcomes)
    return "\n".join(lines) + "\n"


class _Outcome:
    """What *model* makes of the events: each result, and the layouts at the end by process."""

    def __init__(
        self, base: Trace, events: Sequence[Event], model: Kernel, ksm: bool | None
    ) -> None:
        self.model = model
        replay = Replay(with_events(base, events), model, ksm)
        self.results = [step.result for step in replay.steps()]
        self.layouts: dict[str, Layout] = {pid: view.layout(mm) for pid, mm in replay.living()}


def _expectations(outcomes: Sequence[_Outcome]) -> Iterator[str]:
    pids = dict.fromkeys(pid for outcome in outcomes for pid in outcome.layouts)
    for pid in pids:
        layouts = [outcome.layouts.get(pid) for outcome in outcomes]
        if len(layouts) > 1 and all(one == layouts[0] for one in layouts):
            continue
        for outcome, layout in zip(outcomes, layouts, strict=True):
            if layout is None:
                continue
            if len(layout) <= _MOST:
                yield writer.expected_layout(layout, pid, outcome.model.name)
                continue
            mergeable = sum("mg" in mapping.codes for mapping in layout)
            own = "" if pid == "main" else f"pid: {writer.quoted(pid)}, "
            on = writer.quoted(outcome.model.name)
            yield f"  - expect: {{{own}on: {on}, vmas: {len(layout)}, mergeable: {mergeable}}}"


def call_lines(base: Trace, events: Sequence[Event]) -> Iterator[str]:
    """The calls as strace prints them, each with the process that makes it if that is no first."""
    for event in events:
        own = "" if event.pid == "main" else f"{event.pid}: "
        yield own + writer.call_text(event, result=base.partial)


def _files(base: Trace, events: Sequence[Event]) -> dict[int | str, File]:
    files = dict(base.files)
    for event in events:
        for arg in event.args:
            if isinstance(arg, Fd) and arg.file is not None:
                files[arg.key] = arg.file
    return files
