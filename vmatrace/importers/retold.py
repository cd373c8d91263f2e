"""Logs of other tracers, told line by line as strace would have printed them.

What a call is, who its process is and where its descriptors lead is the same whoever wrote it down.
So a module of a tracer knows its spelling alone: it makes each line one of strace's, and strace's
reader does the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Union

from vmatrace import abi
from vmatrace.calls import BIRTHS, CALLS
from vmatrace.event import Event
from vmatrace.importers.format import Format, Reading, stem
from vmatrace.importers.machine import LogMachine
from vmatrace.importers.prefixes import PART
from vmatrace.importers.strace.line import UNFINISHED
from vmatrace.importers.strace.reader import Reader
from vmatrace.importers.text import LogText
from vmatrace.layout import Layout
from vmatrace.notes import Notes
from vmatrace.trace.file import Trace

_ULONG: Final = 1 << 64
_MAX_ERRNO: Final = 4095


class Passed(NamedTuple):
    """A line that means nothing to memory, and of which kind."""

    kind: str


class Wrong(NamedTuple):
    """A line that was not understood: why, and at which offset in it."""

    why: str
    offset: int = 0


Told = Union[str, Passed, Wrong]


class Teller:
    """Tells the lines of one log, one after the other.

    ``groups``: the thread group of each thread, where the log shows it (Processes.groups). ``lost``
    counts events that the tracer says it has lost. ``caller`` is the function that made the call of
    the line told last, where that is shown, and ``maps`` the layout after its exec.
    """

    def __init__(self, machine: LogMachine, head: Sequence[str] = ()) -> None:
        """*head* are the first lines of the log."""
        self.machine = machine
        self.groups: dict[str, str] = {}
        self.lost = 0
        self.caller: str | None = None
        self.maps: Layout | None = None

    def tell(self, line: str) -> Told:
        """*line* as one of strace's, or what else it is."""
        raise NotImplementedError

    def loss(self, line: str) -> Passed | None:
        """*line*, counted, where the tracer says in it that it has lost events."""
        lost = lost_events(line)
        self.lost += lost
        return Passed("lost events") if lost else None


class Halves(Teller):
    """A teller of lines that are one half of a call each: where it starts, where it returns."""

    def __init__(self, machine: LogMachine, head: Sequence[str] = ()) -> None:
        super().__init__(machine)
        self._begun: dict[str, str] = {}

    def begins(self, tid: str, name: str, arguments: Sequence[str]) -> str:
        """Thread *tid* makes the call."""
        call = f"{tid} {name}({', '.join(arguments)}"
        if name in NEVER_RETURN:
            return f"{call}) = ?"
        self._begun[tid] = name
        return call + UNFINISHED

    def returns(self, tid: str, name: str, result: str) -> Told:
        """What thread *tid* called has returned *result*, in strace's spelling."""
        begun = self._begun.pop(tid, None)
        if begun is None and result == "0":
            if name in EXECS:
                return f'{tid} execve("?") = 0'
            if name in BIRTHS:
                return Passed("birth's return in the child")
        return f"{tid} <... {name} resumed>) = {result}"


#: The system calls that do not return; some tracers say that they do.
NEVER_RETURN: Final = ("exit", "exit_group")
#: The system calls that make a new image.
EXECS: Final = ("execve", "execveat")


def failure(number: int) -> str:
    """A call that failed with errno *number* as strace prints its result."""
    return f"-1 {abi.ERRNO_NAME.get(number, f'E{number}')}"


def result_of(value: int, name: str) -> str:
    """A register that call *name* returned as strace prints it: 0, 0x7f…, -1 ENOMEM."""
    value %= _ULONG
    if value >= _ULONG - _MAX_ERRNO:
        return failure(_ULONG - value)
    call = CALLS.get(name)
    return hex(value) if call is not None and call.result == "addr" else str(value)


def integer(text: str) -> int:
    """The value of 0x hex or decimal digits, which zeros may lead."""
    return int(text, 16 if "0x" in text else 10)


def registers(name: str, values: Sequence[int]) -> list[str]:
    """The arguments of call *name* in registers, as strace -e raw prints them."""
    return [hex(value) for value in values[: most_arguments(name)]]


def is_followed(name: str) -> bool:
    """Whether the arguments of call *name* mean anything."""
    return name in CALLS or name in _COUNTS


def most_arguments(name: str) -> int:
    """How many arguments call *name* has at most; registers behind them hold anything."""
    call = CALLS.get(name)
    return _COUNTS.get(name, len(call.params) if call is not None else 6)


#: How many arguments the calls have that are followed and are not in CALLS, or vary there.
_COUNTS: Final = {
    "open": 3, "openat": 4, "openat2": 4, "creat": 2, "memfd_create": 2, "memfd_secret": 1,
    "close": 1, "dup": 1, "dup2": 2, "dup3": 3, "fcntl": 3, "close_range": 3, "shmget": 3,
    "userfaultfd": 1, "pidfd_open": 2, "mmap2": 6, "old_mmap": 1, "clone": 5, "clone3": 2,
    "execve": 3, "execveat": 5,
}  # fmt: skip


def text_of(path: str) -> str:
    """*path* as strace prints a string."""
    return '"' + "".join(map(_escaped, path)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogatepass"))


# --- formats --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LogHeader:
    """What a log says of itself: as Reading's, and ``accesses``: it has fault() events.

    ``start``: a trace without events that says how the first process starts; with it nothing is
    assumed that the log does not show, unless it is partial.
    """

    page_size: int | None = None
    arch: str | None = None
    accesses: bool = False
    start: Trace | None = None


def retold(
    name: str,
    what: str,
    made: str,
    looks_like: Callable[[Sequence[str]], bool],
    teller: Callable[[LogMachine, Sequence[str]], Teller],
    header: Callable[[Sequence[str]], LogHeader] = lambda _: LogHeader(),
) -> Format:
    """The Format of a tracer; *teller* gives what tells a log of that machine, which starts so."""

    def read(text: LogText, reading: Reading) -> Trace:
        return _open(name, text, reading, teller, header(_first_lines(text)))

    return Format(name, what, made, looks_like, read)


def _first_lines(text: LogText) -> Sequence[str]:
    """The head of a text; of one whose first line is longer than that, this line."""
    return text.head if len(text.head) > 1 or not text.cut else next(text.chunks(), [])[:1]


def _open(
    form: str,
    text: LogText,
    reading: Reading,
    make: Callable[[LogMachine, Sequence[str]], Teller],
    header: LogHeader,
) -> Trace:
    faulted = reading.faulted if not header.accesses or reading.assume_faulted else "recorded"
    notes = Notes(form + text.dressed, faulted)
    guessed = reading.machine(text.head)
    machine = LogMachine(
        reading.arch or header.arch or guessed.arch,
        reading.page_size or header.page_size or guessed.page_size,
    )
    machine = make(machine, text.head).machine  # it may know more
    start = header.start or Trace(text.name, "", lambda: iter(()), partial=True)

    def read() -> Iterator[Event]:
        notes.reset()
        if header == LogHeader():
            notes.assumed += reading.remarks(machine)
        told = make(machine, text.head)
        reader = Reader(text.name, notes, faulted == "writable", machine, told.groups)
        if header.accesses:
            reader.take_accesses()
        files = {n: f for n, f in start.files.items() if isinstance(n, int)}
        reader.start_with(files, complete=not start.partial)
        for chunk in text.chunks():
            for line in chunk:
                events = _read(reader, line if line == PART else told.tell(line), line)
                if told.maps is not None and events and events[-1].name in EXECS:
                    events[-1].maps = told.maps
                if told.caller is not None and events:
                    events[-1].caller = told.caller
                yield from events
        if told.lost:
            notes.assumed.append(f"The tracer lost {told.lost} events, which are missing here.")
        yield from reader.end()

    return replace(
        start, path=text.name, name=stem(text.name), read=read, page_size=machine.page_size,
        arch=machine.arch, files={}, notes=notes,
    )  # fmt: skip


def _read(reader: Reader, said: Told, line: str) -> Sequence[Event]:
    if isinstance(said, str):
        return reader.retold(said, line)
    if isinstance(said, Passed):
        reader.passed(said.kind)
    else:
        reader.wrong(said.why, line, said.offset)
    return ()


# --- what several tracers print -------------------------------------------------------------------

_LOST: Final = re.compile(
    r"\W*(?:CPU:?\s*\d+ \[?)?(?:.*: )?lost (?P<count>\d+) ", re.IGNORECASE | re.ASCII
)


def lost_events(line: str) -> int:
    """How many events the tracer says in *line* that it has lost; 0: it says something else."""
    found = _LOST.match(line) if len(line) < 200 else None
    return int(found["count"]) if found is not None and len(found["count"]) < 16 else 0
