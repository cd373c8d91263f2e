"""The same program in simpler terms: bytes at round addresses, names instead of numbers.

Every rewriting is a guess that somebody has to try: it keeps what touches what, and no more. Knows
how addresses stand in the arguments of calls.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from vmatrace import abi, calls
from vmatrace.calls import BIRTHS, CALLS, Range
from vmatrace.event import Arg, Event, Expr, Fd, File
from vmatrace.kernels import Kernel
from vmatrace.replayer.run import Replay
from vmatrace.search.goals import with_events
from vmatrace.trace.file import ProcessState, Trace

#: Where the memory of a reduced program is, and how far apart what does not touch.
BASE: Final = 0x10000000000
_APART: Final = 0x10000000
#: Ranges with less between them keep to each other.
_NEAR: Final = 16
_TEXTS: Final = re.compile(r"\b(start|iov_base)=(0x[0-9a-fA-F]+|\d+), *(len|iov_len)=(0x\w+|\d+)")
_LABELS: Final = "abcdefghijklmnopqrstuvwxyz"


class Reduction(NamedTuple):
    """A program on its way to the smallest: its start, and its calls."""

    base: Trace
    events: list[Event]


def changed(event: Event, **values: object) -> Event:
    """*event* with other values; its text is made when somebody wants to read it."""
    fields = {
        "name": event.name, "args": event.args, "text": "", "line": event.line,
        "column": event.column, "pid": event.pid, "label": event.label,
        "recorded": event.recorded, **values,
    }  # fmt: skip
    args = fields["args"]
    assert isinstance(args, tuple)
    fields["symbolic"] = any(isinstance(arg, Expr) for arg in args)
    new = Event(**fields)  # type: ignore[arg-type]
    new.maps = event.maps
    return new


# --- concrete -------------------------------------------------------------------------------------


def concrete(program: Reduction, kernel: Kernel, ksm: bool | None) -> Reduction:
    """Every address a number and every place given, as *kernel* chose it; nothing recorded."""
    replay = Replay(with_events(*program), kernel, ksm)
    processes = {event.label for event in program.events if event.name in BIRTHS}
    events = []
    for event in program.events:
        step = replay.step(event)
        if step is None:
            break
        args = tuple(
            written if isinstance(written, Expr) and set(written.labels()) & processes else value
            for written, value in zip(event.args, step.args, strict=True)
        )
        birth = event.name in BIRTHS
        recorded = event.recorded if birth and event.label is None else None
        label = event.label if birth else None
        placed = _placed(event.name, args, step.result)
        events.append(changed(event, args=placed, label=label, recorded=recorded))
    base = dataclasses.replace(program.base, partial=False, notes=None)
    return Reduction(base, events)


def _placed(name: str, args: tuple[Arg, ...], result: int) -> tuple[Arg, ...]:
    """The arguments with the place said that the kernel chose."""
    if result < 0:
        return args
    if name == "mmap" and isinstance(args[3], int) and not args[3] & CALLS["mmap"].fixed:
        return (result, *args[1:3], args[3] | abi.MAP_FIXED, *args[4:])
    if name == "mremap" and isinstance(args[3], int) and result != args[0]:
        fixed = args[3] | abi.MREMAP_FIXED
        return (*args[:3], fixed, result)
    if name == "shmat" and not args[1]:
        return (args[0], result, *args[2:])
    return args


# --- where the bytes are --------------------------------------------------------------------------


def _ranges(event: Event, page: int) -> list[Range]:
    """The ranges of whole pages that the arguments of a concrete event name."""
    name, args = event.name, event.args
    found = list(calls.given(name, args) or []) if name != "mmap" else []
    if name in ("mmap", "mremap") and isinstance(args[0], int) and isinstance(args[1], int):
        found.append((args[0], args[0] + args[1]))
    if name == "mremap" and isinstance(args[0], int) and isinstance(args[2], int):
        found.append((args[0], args[0] + args[2]))
        if len(args) > 4 and isinstance(args[4], int):
            found.append((args[4], args[4] + args[2]))
    if name in ("shmat", "shmdt"):
        at = args[1] if name == "shmat" else args[0]
        if isinstance(at, int):
            found.append((at, at + 1))
    return [(start, abi.page_align(end, page - 1)) for start, end in found if 0 < start < end]


def moved(program: Reduction, squeeze: bool) -> Reduction | None:
    """A concrete program at round addresses; *squeeze*: each stretch between two borders one page.

    None where an address is no whole page, and where a start would have to be squeezed.
    """
    base = program.base
    page = base.page_size
    if squeeze and base.maps:
        return None
    ranges = [pair for event in program.events for pair in _ranges(event, page)]
    ranges += [(mapping.start, mapping.end) for mapping in base.maps]
    if base.maps and base.process.brk is not None:
        ranges.append((base.process.brk, base.process.brk))
    points = sorted({end for pair in ranges for end in pair})
    if any(point % page for point in points):
        return None
    move = _mover(points, sorted(ranges), page, squeeze)
    events = [_at_other_place(event, move, page) for event in program.events]
    if base.maps:
        return Reduction(_start_at_other_place(base, move), events)
    return Reduction(base, _offsets(program.events, events, page))


def _start_at_other_place(base: Trace, move: Callable[[int], int]) -> Trace:
    maps = copy.deepcopy(base.maps)
    for mapping in maps:
        mapping.start, mapping.end = move(mapping.start), move(mapping.end)
    brk = base.process.brk
    process = dataclasses.replace(base.process, brk=None if brk is None else move(brk))
    return dataclasses.replace(base, maps=maps, process=process)


def _mover(
    points: Sequence[int], covered: Sequence[Range], page: int, squeeze: bool
) -> Callable[[int], int]:
    """Where each of *points* goes: what touches, or nearly does, stays together."""
    known: dict[int, int] = {}
    at, places, reach = BASE, 0, 0
    waiting = iter([*covered, (points[-1] + 1, 0)] if points else [])
    start, end = next(waiting, (0, 0))
    for before, point in pairwise((None, *points)):
        assert point is not None
        if before is not None:
            distance = point - before
            if before >= reach and distance > _NEAR * page:
                places += 1
                at = BASE + places * _APART
            else:
                at += page if squeeze and distance % page == 0 else distance
        while start <= point and end:
            reach = max(reach, end)
            start, end = next(waiting, (points[-1] + 1, 0))
        known[point] = at
    return lambda address: known.get(address, address)


def _at_other_place(event: Event, move: Callable[[int], int], page: int) -> Event:
    name, args = event.name, event.args
    new = list(args)

    def put(start: int, *lengths: int) -> None:
        """Argument *start* is an address, with the length of what is there in *lengths*."""
        at = args[start]
        if not isinstance(at, int) or not at:
            return
        new[start] = move(at)
        for position in lengths:
            length = args[position]
            if isinstance(length, int) and length:
                new[position] = move(abi.page_align(at + length, page - 1)) - move(at)

    if CALLS[name].ranged or name == "mmap":
        put(0, 1)
    elif name == "mremap":
        put(0, 1, 2)
        if len(args) > 4:
            put(4)
    elif name == "shmat":
        put(1)
    elif name in ("shmdt", "io_destroy"):
        put(0)
    elif name == "prctl" and args[0] == abi.PR_SET_VMA and len(args) > 3:
        put(2, 3)
    elif name in ("ioctl", "process_madvise"):
        new = [_text(arg, move) if isinstance(arg, str) else arg for arg in new]
    return changed(event, args=tuple(new))


def _text(text: str, move: Callable[[int], int]) -> str:
    def other(match: re.Match[str]) -> str:
        start, length = abi.c_integer(match[2]), abi.c_integer(match[4])
        at, size = move(start), move(start + length) - move(start)
        return f"{match[1]}={at:#x}, {match[3]}={size:#x}"

    return _TEXTS.sub(other, text)


def _offsets(old: Sequence[Event], new: Sequence[Event], page: int) -> list[Event]:
    """The moved events *new*, with file offsets that go on where they did."""
    first: dict[tuple[object, int], tuple[int, int]] = {}
    for before, after in zip(old, new, strict=True):
        if skew := _skew(before):
            start = after.args[0]
            assert isinstance(start, int)
            low, number = first.get(skew, (start, len(first)))
            first[skew] = min(low, start), number
    events = []
    for before, after in zip(old, new, strict=True):
        if (skew := _skew(before)) and before.args[5]:
            low, number = first[skew]
            start = after.args[0]
            assert isinstance(start, int)
            offset = start - low + number * _NEAR * page
            after = changed(after, args=(*after.args[:5], offset))
        events.append(after)
    return events


def _skew(event: Event) -> tuple[object, int] | None:
    """Of the mapping of a file: the descriptor, and how far its offset is from its address."""
    if event.name != "mmap" or not isinstance(event.args[4], Fd):
        return None
    start, offset = event.args[0], event.args[5]
    if not isinstance(start, int) or not isinstance(offset, int):
        return None
    return event.args[4].key, start - offset


# --- names ----------------------------------------------------------------------------------------


def labelled(program: Reduction) -> Reduction | None:
    """A label for the first mapping of each place, and what lies there told from it."""
    page = program.base.page_size
    names = (name for name in _names() if name not in _taken(program.events))
    known: dict[int, tuple[str, int]] = {}
    events = []
    for event in program.events:
        args = tuple(_told(event, i, arg, known, page) for i, arg in enumerate(event.args))
        label = event.label
        at = event.args[0] if event.args else None
        if event.name == "mmap" and isinstance(at, int) and at and _place(at) not in known:
            label = next(names)
            known[_place(at)] = label, at
        events.append(changed(event, args=args, label=label))
    return Reduction(program.base, events) if known else None


def _place(address: int) -> int:
    return (address - BASE) // _APART + 1


def _told(
    event: Event, position: int, arg: Arg, known: Mapping[int, tuple[str, int]], page: int
) -> Arg:
    params = CALLS[event.name].params
    is_address = position < len(params) and params[position].kind == "addr"
    if event.name == "prctl" and position == 2 and event.args[0] == abi.PR_SET_VMA:
        is_address = True
    if not is_address or not isinstance(arg, int) or _place(arg) not in known:
        return arg
    name, start = known[_place(arg)]
    return Expr.told(name, arg - start, page)


def _names() -> Iterator[str]:
    yield from _LABELS
    yield from (f"{letter}{n}" for n in range(1, 1000) for letter in _LABELS)


def _taken(events: Iterable[Event]) -> set[str]:
    return {event.label for event in events if event.label is not None}


def processes_named(program: Reduction) -> Reduction | None:
    """Processes called by their numbers get labels."""
    known: dict[str, str] = {}
    events = []
    for event in program.events:
        pid = known.get(event.pid, event.pid)
        label = event.label
        if event.name in BIRTHS and label is None and event.recorded is not None:
            label = known[str(event.recorded)] = f"p{len(known) + 1}"
            events.append(changed(event, pid=pid, label=label, recorded=None))
        else:
            events.append(changed(event, pid=pid))
    return Reduction(program.base, events) if known else None


def _descriptors(program: Reduction) -> dict[int | str, None]:
    """What descriptors are called, in the order in which that is seen."""
    used = [arg.key for event in program.events for arg in event.args if isinstance(arg, Fd)]
    return dict.fromkeys([*program.base.files, *used])


def anonymous(program: Reduction) -> Reduction:
    """Paths and names of nobody: files are /file1, names name1."""
    names: dict[str, str] = {}
    paths: dict[str, str] = {}
    keys: dict[int | str, int | str] = {
        key: f"file{number}"
        for number, key in enumerate(_descriptors(program), 1)
        if isinstance(key, str)
    }

    def unknown(old: File) -> File:
        special = old.path in ("/dev/zero",)
        path = old.path if special else paths.setdefault(old.path, f"/file{len(paths) + 1}")
        return dataclasses.replace(old, path=path)

    def arg(event: Event, position: int, value: Arg) -> Arg:
        if isinstance(value, Fd):
            own = unknown(value.file) if value.file is not None else None
            path = (
                None
                if value.path is None
                else paths.setdefault(value.path, f"/file{len(paths) + 1}")
            )
            return Fd(keys.get(value.key, value.key), path, own)
        if event.name == "execve" and isinstance(value, str):
            return paths.setdefault(value, f"/file{len(paths) + 1}")
        if event.name == "prctl" and position == 4 and isinstance(value, str):
            return names.setdefault(value, f"name{len(names) + 1}")
        return value

    base = program.base
    files = {keys.get(key, key): unknown(value) for key, value in base.files.items()}
    maps = copy.deepcopy(base.maps)
    for mapping in maps:
        if mapping.name.startswith("/") and mapping.name != "/dev/zero":
            mapping.name = paths.setdefault(mapping.name, f"/file{len(paths) + 1}")
    events = [
        changed(event, args=tuple(arg(event, i, value) for i, value in enumerate(event.args)))
        for event in program.events
    ]
    base = dataclasses.replace(
        base, files=files, maps=maps, name="anonymous", description="", notes=None
    )
    return Reduction(base, events)


# --- the start ------------------------------------------------------------------------------------


def simpler_starts(base: Trace) -> Iterator[Trace]:
    """Starts like *base* with one thing less; its mappings stay."""
    plain = ProcessState()
    for name in ("rlimits", "ksm", "brk", "mmap_base"):
        if getattr(base.process, name) != getattr(plain, name):
            default = getattr(plain, name)
            process = dataclasses.replace(base.process, **{name: default})
            yield dataclasses.replace(base, process=process)
    knobs = type(base.sysctl)()
    for knob in dataclasses.fields(knobs):
        if getattr(base.sysctl, knob.name) != (default := getattr(knobs, knob.name)):
            other = dataclasses.replace(base.sysctl, **{knob.name: default})
            yield dataclasses.replace(base, sysctl=other)
    if base.partial:
        yield dataclasses.replace(base, partial=False, notes=None)


def one_process_less(program: Reduction) -> Iterator[Reduction]:
    """Programs in which a child's calls are its parent's."""
    for birth in program.events:
        if birth.name not in BIRTHS:
            continue
        child = birth.label or str(birth.recorded)
        events = [
            changed(event, pid=birth.pid) if event.pid == child else event
            for event in program.events
            if event is not birth and not (event.pid == child and event.name in calls.DEATHS)
        ]
        yield Reduction(program.base, events)
