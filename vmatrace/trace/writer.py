"""Events as a trace file: the format's spelling, for whoever makes traces and does not read them.

What is written can be loaded again and gives the same events. Knows the format; knows nothing of
where the events come from.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

from vmatrace.calls import CALLS
from vmatrace.event import (
    Event,
    Expectation,
    ExpectedMapping,
    Expr,
    File,
    format_call,
    format_result,
)
from vmatrace.layout import Layout, maps_line
from vmatrace.layout import Mapping as Vma
from vmatrace.trace.header import ProcessState, Sysctl

_SPECIAL = frozenset("#:{}[]\"'&*!>%@`\\\n\t")

#: Plain, these are no text to readers of YAML 1.1.
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"})


def scalar(text: str) -> str:
    """*text* as a YAML scalar: plain where that is safe."""
    if (
        text
        and text.isprintable()
        and not _SPECIAL.intersection(text)
        and text.strip() == text
        and not text[0].isdigit()
        and text[0] not in "-?,|"
        and text.lower() not in _WORDS
    ):
        return text
    return quoted(text)


def quoted(text: str) -> str:
    """*text* in double quotes, whatever it holds."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def comment(text: str, indent: str = "") -> str:
    """*text* as comment lines; paragraphs are broken, those that start with a blank are kept."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        kept = not paragraph or paragraph[0].isspace()
        lines += [paragraph] if kept else textwrap.wrap(paragraph, 98 - len(indent))
    return "".join(f"{indent}# {line}".rstrip() + "\n" for line in lines)


# --- the keys above the events --------------------------------------------------------------------


def header(
    name: str,
    files: Mapping[int | str, File],
    process: ProcessState,
    *,
    description: str = "",
    kernel: str | None = None,
    page_size: int = 4096,
    arch: str | None = None,
    sysctl: Sysctl | None = None,
    maps: Layout | None = None,
    partial: bool = False,
    recorded: bool = False,
    cpus: int = 1,
) -> str:
    """Everything above the first event, the line ``events:`` included."""
    lines = ["vmatrace: 1", f"name: {scalar(name)}"]
    if description:
        lines.append(f"description: {scalar(description)}")
    if kernel is not None:
        lines.append(f"kernel: {kernel}")
    if page_size != 4096:
        lines.append(f"page_size: {page_size}")
    if arch is not None:
        lines.append(f"arch: {arch}")
    if sysctl is not None and (knobs := _knobs(sysctl)):
        lines.append(f"sysctl: {{{knobs}}}")
    if state := _state(process):
        lines.append(f"process: {{{state}}}")
    if files:
        lines.append("files:")
        lines += [f"  {key}: {{{_file(file)}}}" for key, file in files.items()]
    if maps:
        lines.append("maps: |")
        lines += [f"  {line}" for line in snapshot(maps)]
    if cpus != 1:
        lines.append(f"cpus: {cpus}")
    if partial:
        lines.append("partial: true")
    if recorded:
        lines.append("recorded: true")
    return "\n".join([*lines, "events:", ""])


def _knobs(sysctl: Sysctl) -> str:
    default = Sysctl()
    names = ("max_map_count", "overcommit_memory", "mmap_min_addr", "nr_hugepages")
    values = [(name, getattr(sysctl, name)) for name in names]
    return ", ".join(f"{n}: {value}" for n, value in values if value != getattr(default, n))


def _state(process: ProcessState) -> str:
    state = ["ksm: true"] if process.ksm else []
    if process.brk is not None:
        state.append(f"brk: {process.brk:#x}")
    if process.mmap_base is not None:
        state.append(f"mmap_base: {process.mmap_base:#x}")
    if process.rlimits:
        limits = ", ".join(f"{name}: {value}" for name, value in process.rlimits.items())
        state.append(f"rlimits: {{{limits}}}")
    return ", ".join(state)


def _file(file: File) -> str:
    size = "" if file.size is None else f", size: {file.size:#x}"
    mode = "" if file.mode == "rw" else f", mode: {file.mode}"
    codes = f", vmflags: {' '.join(file.vmflags)}" if file.vmflags else ""
    return f"path: {quoted(file.path)}, fs: {file.fs}{mode}{size}{codes}"


def snapshot(layout: Layout) -> Iterator[str]:
    """Lines of smaps text that hold what a trace needs: range, VmFlags, whether it was written to.

    Source of the form: show_smap(), fs/proc/task_mmu.c.
    """
    for vma in layout:
        yield maps_line(vma).rstrip()
        if vma.faulted:
            yield "Anonymous: 4 kB"
        if vma.flags_known:
            yield f"VmFlags: {' '.join(vma.codes)}"


# --- events ---------------------------------------------------------------------------------------


def call_text(event: Event, result: bool = False) -> str:
    """The call as strace prints it, with its label.

    *result*: with what it returned, where that is recorded. A birth without a label always has its
    number, which names the process.
    """
    call = CALLS[event.name]
    text = format_call(event.name, event.args)
    if event.label is not None:
        text = f"{event.label} = {text}"
    if event.recorded is not None and (result or (call.result == "pid" and event.label is None)):
        text += f" = {format_result(event.recorded, call.result)}"
    return text


def event_line(event: Event, result: bool = False) -> str:
    """The item of ``events``, without a line break at its end: a call string where that will do.

    *result* as in call_text(). With Event.maps it has several lines.
    """
    text = call_text(event, result)
    if event.maps is not None:
        own = "" if event.pid == "main" else f"    pid: {scalar(event.pid)}\n"
        lines = "\n".join(f"      {line}" for line in snapshot(event.maps))
        return f"  - call: {quoted(text)}\n{own}    maps: |\n{lines}"
    if event.pid != "main":
        return f"  - {{pid: {scalar(event.pid)}, call: {quoted(text)}}}"
    return f"  - {scalar(text)}"


def item_line(item: Event | Expectation) -> str:
    """The item of ``events``, with what is recorded, without a line break at its end."""
    return event_line(item, result=True) if isinstance(item, Event) else expectation_line(item)


def expectation_line(expected: Expectation) -> str:
    """The item of ``events`` on one line."""
    parts = [f"name: {quoted(expected.name)}"] if expected.name else []
    if expected.on:
        parts.append(f"on: [{', '.join(map(quoted, expected.on))}]")
    if expected.pid != "main":
        parts.append(f"pid: {quoted(expected.pid)}")
    parts += [
        f"{what}: {bound.value if bound.operator == '==' else quoted(str(bound))}"
        for what, bound in expected.counts.items()
    ]
    if expected.maps is not None:
        parts.append(f"maps: [{', '.join(map(_as_expected, expected.maps))}]")
    return f"  - expect: {{{', '.join(parts)}}}"


def _as_expected(wanted: ExpectedMapping) -> str:
    """What is stated of it, and no more."""
    ends = [wanted.start, wanted.end]
    start, end = (quoted(at.text) if isinstance(at, Expr) else f"{at:#x}" for at in ends)
    stated = {
        "perms": wanted.perms,
        "offset": None if wanted.offset is None else f"{wanted.offset:#x}",
        "name": None if wanted.name is None else quoted(wanted.name),
        "flags": None if wanted.flags is None else quoted(" ".join(wanted.flags)),
    }
    more = "".join(f", {key}: {text}" for key, text in stated.items() if text is not None)
    return f"{{start: {start}, end: {end}{more}}}"


def expected_layout(layout: Layout, pid: str = "main", on: str | None = None) -> str:
    """An expectation that *pid* has exactly *layout*, without a line break at its end."""
    lines = ["  - expect:"]
    if on is not None:
        lines.append(f"      on: {scalar(on) if on[0] not in '<>=!' else quoted(on)}")
    if pid != "main":
        lines.append(f"      pid: {scalar(pid)}")
    lines.append("      maps:" if layout else "      maps: []")
    return "\n".join([*lines, *(f"        - {expected_mapping(vma)}" for vma in layout)])


def expected_mapping(vma: Vma) -> str:
    """One VMA as an expectation states it, on one line."""
    offset = f", offset: {vma.offset:#x}" if vma.offset else ""
    name = f", name: {quoted(vma.name)}" if vma.name else ""
    return (
        f"{{start: {vma.start:#x}, end: {vma.end:#x}, perms: {vma.perms}{offset}{name},"
        f" flags: {' '.join(vma.codes)}}}"
    )
