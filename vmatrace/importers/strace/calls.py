"""Calls of memory as strace spells them -> calls as a trace has them.

Knows calls under other names, calls that only sometimes concern memory, and arguments that have to
be looked up: descriptors, segments, pidfds. Lines and processes are the reader's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, cast

from vmatrace import abi, syscalls
from vmatrace.calls import CALLS, Call
from vmatrace.event import Arg, Fd, File, format_flags
from vmatrace.importers.strace import line as logline
from vmatrace.importers.strace.descriptors import Names, Open
from vmatrace.importers.strace.processes import Process

_INT_MAX: Final = 0x7FFFFFFF
#: So many shared memory segments are remembered; a machine has 4096 unless told otherwise (SHMMNI).
_SEGMENTS: Final = 4096

_OTHER_NAMES: Final = {"mmap2": ("mmap", 6), "old_mmap": ("mmap", 6)}
#: Calls that are younger than straces that are still in use.
_YOUNG: Final = ("mseal", "process_madvise", "mlock2", "pkey_mprotect")


def other_names(arch: str | None) -> dict[str, tuple[str, int]]:
    """Names that straces have for a call on *arch*, and how many arguments belong to it."""
    numbers = syscalls.numbers(arch or "x86_64")
    young = {f"syscall_{numbers[name]:#x}": (name, len(CALLS[name].params)) for name in _YOUNG}
    return _OTHER_NAMES | young


_WORD: Final = re.compile(r"\w+")
_PIDFD: Final = re.compile(r"pid:([0-9]+)")
_INT: Final = re.compile(r"0x[0-9a-f]{1,16}\b|[0-9]{1,20}\b")


#: The calls that Adjuster.adjust() has something to do for.
ADJUSTED: Final = frozenset({"mmap", "shmat", "ioctl", "process_madvise", "prctl", "pkey_mprotect"})


class NotShownError(Exception):
    """A call that concerns memory, and the log does not show what it would take to know how."""


def _spellings(call: Call) -> tuple[int, frozenset[str]]:
    """The argument that tells whether a call concerns memory, and how those that do spell it."""
    assert call.select is not None
    at, values = call.select.param, call.select.values
    families = call.params[at].families
    numbers = {text for value in values for text in (str(value), f"{value:#x}")}
    return at, frozenset({format_flags(value, families) for value in values} | numbers)


_SELECTED: Final = {call.name: _spellings(call) for call in CALLS.values() if call.select}


def concerns_memory(name: str, text: str) -> bool:
    """Whether call *text* is one that concerns memory, of a call that only sometimes does."""
    selected = _SELECTED.get(name)
    if selected is None:
        return True
    at, spellings = selected
    _, _, rest = text.partition("(")
    for _ in range(at):
        _, _, rest = rest.partition(", ")
    chosen = _WORD.match(rest)
    return chosen is not None and chosen[0] in spellings


def _offset_in_bytes(parts: list[str]) -> str:
    """The offset of an mmap2: strace prints bytes, but with -e raw units of 4096 (then the length
    is in hex too), as other tracers do.
    """
    try:
        offset = abi.c_integer(parts[-1])
    except ValueError:
        return parts[-1]
    return hex(offset << 12) if parts[1].startswith("0x") or offset & 0xFFF else parts[-1]


class Adjuster:
    """Puts what a log means in place of what it says, for one run through it."""

    def __init__(self, arch: str | None) -> None:
        self.other_names = other_names(arch)
        self._names = Names()
        self._segments: dict[int, Fd] = {}
        self._all_known = False
        self._changes: dict[str, Callable[[tuple[Arg, ...], Process], tuple[Arg, ...]]] = {
            "mmap": self._mmap,
            "shmat": self._shmat,
            "ioctl": self._ioctl,
            "process_madvise": self._process_madvise,
            "prctl": self._prctl,
            "pkey_mprotect": self._pkey_mprotect,
        }

    def renamed(self, text: str, name: str) -> tuple[str, str]:
        """A call under another name: its text and name as a trace has them."""
        own, count = self.other_names[name]
        at = text.rfind(") = ")  # without a result at the parenthesis that is left
        inside, rest = text[len(name) + 1 : at], text[at:]
        parts = inside.split(", ")
        if name.startswith("syscall_"):
            inside = ", ".join(parts[:count])
        elif name == "mmap2" and len(parts) == count:
            inside = ", ".join([*parts[:-1], _offset_in_bytes(parts)])
        return f"{own}({inside}{rest}", own

    def adjust(
        self, name: str, args: tuple[Arg, ...], process: Process, symbolic: bool
    ) -> tuple[Arg, ...]:
        """The arguments of an event. Raises NotShownError."""
        if symbolic:
            raise NotShownError("an argument is neither a number nor a constant")
        change = self._changes.get(name)
        return args if change is None else change(args, process)

    def _fd(self, fd: Arg, process: Process) -> Fd | int:
        # A name in its place is an expression, which adjust() has refused.
        number, path = (cast(int, fd.key), fd.path) if isinstance(fd, Fd) else (cast(int, fd), None)
        if self._all_known and path is None and number not in process.table.opened:
            return number
        return process.table.of(number, path, self._names)

    def _mmap(self, args: tuple[Arg, ...], process: Process) -> tuple[Arg, ...]:
        flags, fd = args[3], args[4]
        if isinstance(flags, int) and flags & abi.MAP_ANONYMOUS:
            # -e raw prints -1 as an unsigned int. What an anonymous mapping is given is ignored.
            return (*args[:4], -1, args[5])
        if isinstance(fd, int) and fd > _INT_MAX:
            fd -= 1 << 32
        if isinstance(fd, int) and fd < 0:
            return (*args[:4], fd, args[5])
        return (*args[:4], self._fd(fd, process), args[5])

    def describe(self, files: Mapping[int, File], complete: bool) -> dict[int, Open]:
        """Take *files* for what is open, or a segment, at the start; *complete*: for all of it.

        Returns the descriptors.
        """
        self._all_known = complete
        opened = {number: Open(file.path, file.mode, shown=True) for number, file in files.items()}
        for number, file in files.items():
            self._segments[number] = opened[number].described(file, self._names)
        return opened

    def _shmat(self, args: tuple[Arg, ...], process: Process) -> tuple[Arg, ...]:
        number = args[0]
        if not isinstance(number, int) or number < 0:
            return args
        if number not in self._segments:
            if self._all_known:
                return args
            self._remember(number, None)
        return (self._segments[number], *args[1:])

    def segment(self, inside: str, result: str) -> None:
        """A successful shmget: the segment and its size."""
        number = _INT.match(result)
        if number is None:
            return
        _, _, rest = inside.partition(", ")
        size = _INT.match(rest)
        identifier = logline.number(number[0])
        known = self._segments.get(identifier)
        given = logline.number(size[0]) if size else 0
        if known is None or known.file is None or (given and known.file.size != given):
            self._remember(identifier, given if 0 < given < 1 << 47 else None)

    def _remember(self, number: int, size: int | None) -> None:
        if len(self._segments) >= _SEGMENTS:
            del self._segments[next(iter(self._segments))]
        path = f"/SYSV00000000 {number} (deleted)"
        self._segments[number] = Fd(self._names.new("shm"), None, File(path, "tmpfs", "rw", size))

    def _ioctl(self, args: tuple[Arg, ...], process: Process) -> tuple[Arg, ...]:
        if isinstance(args[2], int):
            raise NotShownError("the structure is not shown (strace -e raw hides it)")
        return (self._fd(args[0], process), *args[1:])

    def _process_madvise(self, args: tuple[Arg, ...], process: Process) -> tuple[Arg, ...]:
        if isinstance(args[1], int):
            raise NotShownError("the ranges are not shown (strace -e raw hides them)")
        fd = args[0].key if isinstance(args[0], Fd) else args[0]
        shown = _PIDFD.match(args[0].path or "") if isinstance(args[0], Fd) else None
        if shown is not None and isinstance(fd, int):
            process.table.put(fd, Open("anon_inode:[pidfd]", pid=shown[1]), True)
        opened = process.table.opened.get(fd) if isinstance(fd, int) else None
        if opened is None or opened.pid is None:
            return (fd if isinstance(fd, int) else -1, *args[1:])
        # Without a number of its own the caller is the first process: whose else would it be?
        own = process.number is None or any(t.number == opened.pid for t in process.group)
        other = int(opened.pid) if logline.is_pid(opened.pid) else -1
        return (abi.PIDFD_SELF_THREAD if own else other, *args[1:])

    def _prctl(self, args: tuple[Arg, ...], process: Process) -> tuple[Arg, ...]:
        # Of a name only its address, where strings are hidden: any name will do.
        if args[0] == abi.PR_SET_VMA and len(args) > 4 and isinstance(args[4], int) and args[4]:
            return (*args[:4], '"?"')
        return args

    def _pkey_mprotect(self, args: tuple[Arg, ...], process: Process) -> tuple[Arg, ...]:
        pkey = args[3]
        if isinstance(pkey, int) and pkey > _INT_MAX:  # -e raw prints -1 as an unsigned int
            return (*args[:3], pkey - (1 << 32))
        return args
