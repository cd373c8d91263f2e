"""The one table of calls: what each takes, which bytes it works on, what it does to processes.

Who reads, writes, records, imports, replays or asks about calls works from ``CALLS``; nobody else
lists them. Where one of these has no use for a call, the table says why (``Call.without``). Knows
the forms of arguments and no rule of any kernel. Sources: the man pages of section 2, and the
SYSCALL_DEFINE of each call for the widths.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from vmatrace import abi
from vmatrace.structures import iovec, uffdio_range

# --- what a call is -----------------------------------------------------------------------------

#: How a parameter is written and read: an address or size in bytes, a number, flags of a constant
#: family, a file descriptor, text, or something the model has no use for ("any").
KINDS: Final = ("addr", "size", "int", "flags", "fd", "text", "any")
#: Who works from the table, and may be excused from a call (Call.without): log readers, the
#: recorder, the random programs of verify, and what a partial trace's results prove.
USERS: Final = ("log", "record", "random", "assume")

#: A range of bytes [start, end).
Range = tuple[int, int]

BIRTH: Final = "birth"
DEATH: Final = "death"
EXEC: Final = "exec"


@dataclass(frozen=True)
class Param:
    """One parameter: the man page's name, its kind, and for flags the prefixes of constants.

    ``bits`` is how much of it the kernel looks at, 64 or 32; a descriptor is a signed number, and
    so is what is ``signed``.
    """

    name: str
    kind: str
    families: tuple[str, ...] = ()
    optional: bool = False
    bits: int = 64
    signed: bool = False

    def number(self, value: int) -> int:
        """What the kernel sees of *value*."""
        value &= (1 << self.bits) - 1
        return value - (1 << self.bits) if self.signed and value >> self.bits - 1 else value


@dataclass(frozen=True)
class Select:
    """A call that concerns memory only where one argument is one of ``values``."""

    param: int
    values: tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """One call: its parameters in order and what a success returns.

    ``result`` is "addr" (an address), "int" (0 or a number) or "pid" (a new process). ``variadic``
    calls take any further arguments, which are kept as written and not interpreted.

    ``ranged``: the first two parameters are address and length of the bytes that it works on, and
    it changes nothing elsewhere. ``mapped``: if it succeeds, all these were mapped. ``placed`` is
    the parameter that holds the length of what it places at its result, ``fixed`` the flags with
    which the caller says where. ``failure_stands``: it may fail for reasons that a log does not
    show, and could not be undone. ``life`` is BIRTH, DEATH or EXEC. ``select``: it concerns memory
    only with some arguments. ``also`` are system calls that are this one in other words.
    ``without``: who of USERS has no use for it, and why.
    """

    name: str
    params: tuple[Param, ...]
    result: str = "int"
    variadic: bool = False
    ranged: bool = False
    mapped: bool = False
    placed: int | None = None
    fixed: int = 0
    failure_stands: bool = False
    life: str = ""
    select: Select | None = None
    also: tuple[str, ...] = ()
    without: Mapping[str, str] = field(default_factory=dict)
    required: int = field(init=False, default=0)
    #: Which parameters are flags, and which one the flags of the whole call (None: it has none).
    flags: tuple[int, ...] = field(init=False, default=())
    #: Which parameter holds the size of what the call is about, in bytes; None: it has none.
    size: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        flags = tuple(i for i, param in enumerate(self.params) if param.kind == "flags")
        size = 1 if self.ranged else self.placed
        for name, value in (
            ("required", sum(not p.optional for p in self.params)), ("flags", flags),
            ("size", size),
        ):  # fmt: skip
            object.__setattr__(self, name, value)

    def concerns_memory(self, args: Sequence[object]) -> bool:
        """Whether a call with these arguments, or registers, can concern memory."""
        if self.select is None:
            return True
        chosen = args[self.select.param]
        param = self.params[self.select.param]
        return isinstance(chosen, int) and param.number(chosen) in self.select.values


# --- the table ----------------------------------------------------------------------------------


def _p(name: str, kind: str, *families: str, optional: bool = False, bits: int = 64) -> Param:
    signed = kind == "fd"
    return Param(name, kind, families, optional, 32 if signed else bits, signed)


_ADDR, _LENGTH, _LEN = _p("addr", "addr"), _p("length", "size"), _p("len", "size")
_PROT = _p("prot", "flags", "PROT_")
_STATUS = _p("status", "int", optional=True, bits=32)
_HOLES = {"assume": "it succeeds where nothing is mapped"}
_FAREWELL = "a line of its own says that a thread ended, also where a signal did it"
_RESOURCE = _p("resource", "flags", "RLIMIT_", bits=32)
_LIMITS = {
    "log": "it does not show the privileges by which limits are passed over",
    "random": "a sandbox that may not have memory cannot go on",
}
_PLACES = {"assume": "it places memory instead of needing it"}

#: The prctl options that are modelled.
PRCTL_OPTIONS: Final = (
    abi.PR_SET_THP_DISABLE, abi.PR_GET_THP_DISABLE, abi.PR_SET_MDWE, abi.PR_GET_MDWE,
    abi.PR_SET_MEMORY_MERGE, abi.PR_GET_MEMORY_MERGE, abi.PR_SET_VMA,
)  # fmt: skip
#: The resources whose limits decide about memory.
LIMITED: Final = (abi.RLIMIT_AS, abi.RLIMIT_DATA, abi.RLIMIT_MEMLOCK, abi.RLIMIT_STACK)
#: The families of constants that make a personality.
_PERSONA: Final = (
    "PER_", "ADDR_", "READ_IMPLIES_EXEC", "MMAP_PAGE_ZERO", "FDPIC_FUNCPTRS", "UNAME26",
    "SHORT_INODE", "WHOLE_SECONDS", "STICKY_TIMEOUTS",
)  # fmt: skip
#: The ioctl requests that are modelled: those of userfaultfd that change VMAs, or decide which may.
IOCTL_REQUESTS: Final = (abi.UFFDIO_API, abi.UFFDIO_REGISTER, abi.UFFDIO_UNREGISTER)

CALLS: Final[dict[str, Call]] = {
    call.name: call
    for call in (
        Call(
            "mmap",
            (
                _ADDR, _LENGTH, _PROT, _p("flags", "flags", "MAP_"), _p("fd", "fd"),
                _p("offset", "size"),
            ),
            "addr", placed=1, fixed=abi.MAP_FIXED | abi.MAP_FIXED_NOREPLACE, failure_stands=True,
            without=_PLACES,
        ),
        Call("munmap", (_ADDR, _LENGTH), ranged=True, without=_HOLES),
        Call("mprotect", (_ADDR, _LEN, _PROT), ranged=True, mapped=True),
        Call(
            "pkey_mprotect",
            (_ADDR, _LEN, _PROT, Param("pkey", "int", bits=32, signed=True)),
            ranged=True, mapped=True,
        ),
        Call(
            "mremap",
            (
                _p("old_address", "addr"), _p("old_size", "size"), _p("new_size", "size"),
                _p("flags", "flags", "MREMAP_"), _p("new_address", "addr", optional=True),
            ),
            "addr", mapped=True, placed=2, fixed=abi.MREMAP_FIXED, failure_stands=True,
        ),
        Call(
            "madvise", (_ADDR, _LENGTH, _p("advice", "flags", "MADV_", bits=32)),
            ranged=True, mapped=True,
        ),
        Call(
            "process_madvise",
            (
                _p("pidfd", "fd"), _p("iovec", "any"), _p("vlen", "size"),
                _p("advice", "flags", "MADV_", bits=32), _p("flags", "int", bits=32),
            ),
        ),
        Call("brk", (_ADDR,), "addr", without=_PLACES),
        Call("mlock", (_ADDR, _LEN), ranged=True, mapped=True),
        Call(
            "mlock2", (_ADDR, _LEN, _p("flags", "flags", "MLOCK_", bits=32)),
            ranged=True, mapped=True,
        ),
        Call("munlock", (_ADDR, _LEN), ranged=True, mapped=True),
        Call("mlockall", (_p("flags", "flags", "MCL_", bits=32),)),
        Call("munlockall", ()),
        Call("mseal", (_ADDR, _LEN, _p("flags", "int")), ranged=True, mapped=True),
        Call(
            "msync", (_ADDR, _LENGTH, _p("flags", "flags", "MS_", bits=32)),
            ranged=True, mapped=True,
        ),
        Call(
            "remap_file_pages",
            (_ADDR, _p("size", "size"), _PROT, _p("pgoff", "size"), _p("flags", "flags", "MAP_")),
            ranged=True, without={"assume": "it works on shared files, which is never assumed"},
        ),
        Call(
            "mbind",
            (
                _ADDR, _LEN, _p("mode", "flags", "MPOL_", bits=32), _p("nodemask", "any"),
                _p("maxnode", "int"), _p("flags", "flags", "MPOL_MF_", bits=32),
            ),
            ranged=True, mapped=True,
        ),
        Call(
            "set_mempolicy_home_node",
            (_p("start", "addr"), _LEN, _p("home_node", "int"), _p("flags", "int")),
            ranged=True, without={"assume": "it passes over memory without a policy, and holes"},
        ),
        Call(
            "io_setup",
            (_p("nr_events", "int", bits=32), _p("ctx_idp", "any")),
            failure_stands=True,
            without={
                "random": "how large a ring is depends on the processors of the machine",
            },
        ),
        Call(
            "io_destroy", (_p("ctx_id", "addr"),),
            without={
                "random": "there are no rings in random programs",
                "assume": "it works on a ring, whose size it does not say",
            },
        ),
        Call("personality", (_p("persona", "flags", *_PERSONA, bits=32),)),
        Call(
            "setrlimit", (_RESOURCE, _p("rlim", "any")),
            select=Select(0, LIMITED), without=_LIMITS,
        ),
        Call(
            "prlimit64",
            (
                Param("pid", "int", bits=32, signed=True), _RESOURCE, _p("new_limit", "any"),
                _p("old_limit", "any", optional=True),
            ),
            select=Select(1, LIMITED), without=_LIMITS,
        ),
        Call(
            "shmat",
            (_p("shmid", "fd"), _p("shmaddr", "addr"), _p("shmflg", "flags", "SHM_", bits=32)),
            "addr", failure_stands=True, without=_PLACES,
        ),
        Call(
            "shmdt", (_p("shmaddr", "addr"),),
            without={"assume": "it works on segments, whose size it does not say"},
        ),
        Call(
            "prctl",
            (
                _p("option", "flags", "PR_", bits=32), _p("arg2", "int", "PR_", optional=True),
                _p("arg3", "int", optional=True), _p("arg4", "int", optional=True),
                _p("arg5", "any", optional=True),
            ),
            select=Select(0, PRCTL_OPTIONS), failure_stands=True,
        ),
        Call(
            "ioctl",
            (_p("fd", "fd"), _p("request", "flags", "UFFDIO_", bits=32), _p("argp", "any")),
            select=Select(1, IOCTL_REQUESTS),
        ),
        Call(
            "close", (_p("fd", "fd"),),
            without={
                "log": "it does not show whether it was the last descriptor of a userfaultfd",
                "record": "that a userfaultfd is gone is looked for: programs close all the time",
            },
        ),
        Call("fork", (), "pid", life=BIRTH),
        Call("vfork", (), "pid", life=BIRTH),
        Call("clone", (_p("flags", "any", "CLONE_"),), "pid", variadic=True, life=BIRTH),
        Call("clone3", (_p("cl_args", "any", "CLONE_"),), "pid", variadic=True, life=BIRTH),
        Call("execve", (_p("pathname", "text"),), variadic=True, life=EXEC, also=("execveat",)),
        Call(
            "exit", (_STATUS,), life=DEATH,
            without={
                "log": _FAREWELL,
                "record": "threads are not told apart, and the last one's is an exit_group",
                "random": "random programs have no threads that could end alone",
            },
        ),
        Call("exit_group", (_STATUS,), life=DEATH, without={"log": _FAREWELL}),
        Call(
            "fault", (_ADDR, _LENGTH, _p("access", "flags", "PROT_")), ranged=True, mapped=True,
            without={
                "log": "an access is no system call",
                "record": "an access is no system call: what was written to is looked for",
            },
        ),
    )
}  # fmt: skip

#: The calls that make a process; that end one; all that make, replace or end a process.
BIRTHS: Final = frozenset(call.name for call in CALLS.values() if call.life == BIRTH)
DEATHS: Final = frozenset(call.name for call in CALLS.values() if call.life == DEATH)
EXECS: Final = frozenset(call.name for call in CALLS.values() if call.life == EXEC)
LIFE: Final = BIRTHS | DEATHS | EXECS
#: The calls of the table by the other names that they have.
ALIASES: Final = {name: call.name for call in CALLS.values() for name in call.also}


def used_by(user: str) -> list[Call]:
    """The calls of the table that one of USERS has a use for."""
    return [call for call in CALLS.values() if user not in call.without]


# --- processes ----------------------------------------------------------------------------------

_WORD: Final = re.compile(r"\w+")


def shares_memory(name: str, args: Sequence[object]) -> bool:
    """Whether the process that birth *name* makes has its parent's memory; vfork's always has.

    *args*: flags as a number, or texts in which CLONE_VM is named or not.
    """
    if name == "vfork":
        return True
    flags = args[0] if args else 0  # fork has none
    if isinstance(flags, int) and flags & abi.CLONE_VM:
        return True
    return any(isinstance(arg, str) and "CLONE_VM" in _WORD.findall(arg) for arg in args)


# --- which bytes --------------------------------------------------------------------------------

#: Of each parameter the bits that the kernel looks at, and of them the sign, 0 for none.
_WIDTHS: Final = {
    call.name: tuple(((1 << p.bits) - 1, p.signed << p.bits - 1) for p in call.params)
    for call in CALLS.values()
}


def numbers(name: str, args: Sequence[object]) -> list[int]:
    """The arguments as the kernel sees them, 0 for what is no number."""
    widths = zip(_WIDTHS[name], args, strict=False)
    return [(arg & m ^ sign) - sign if isinstance(arg, int) else 0 for (m, sign), arg in widths]


def _range(start: object, length: object) -> Range:
    first = start & abi.ULONG_MAX if isinstance(start, int) else 0
    return first, first + (length & abi.ULONG_MAX if isinstance(length, int) else 0)


def given(name: str, args: Sequence[object]) -> list[Range] | None:
    """The bytes that a call changes by its arguments alone; None: it says not which.

    What a call places without MAP_FIXED and its like is not in it.
    """
    call = CALLS[name]
    if call.ranged:
        return [_range(args[0], args[1])]
    if name == "prctl" and args[0] == abi.PR_SET_VMA and len(args) > 3:
        return [_range(args[2], args[3])]
    if name == "prctl":
        return None if args[0] == abi.PR_SET_MEMORY_MERGE else []
    if name == "ioctl":
        area = uffdio_range(args[2])
        return [(area[0], area[0] + area[1])] if area is not None else []
    if name == "process_madvise":
        return [(base, base + length) for base, length in iovec(args[1])]
    if name in ("setrlimit", "prlimit64", "personality"):
        return []
    return [] if call.life in (BIRTH, DEATH) else None


def touched(
    name: str, args: Sequence[object], result: int, recorded: int | None = None
) -> list[Range] | None:
    """The bytes at which a call that returned *result* can have changed VMAs; None: anywhere.

    That is in the address space that it works on. *recorded* is the result that a log has of it,
    where memory was cleared. Of brk() and of a stack that grows the memory knows more.
    """
    call = CALLS[name]
    if call.placed is None:
        return [_range(args[0], args[1])] if call.ranged else given(name, args)
    # An address not taken is only a hint; MAP_FIXED that fails may have unmapped there.
    size = args[call.placed]
    ranges = [_range(args[0] if result < 0 else result, size)]
    longest = ranges[0]
    if name == "mremap":
        ranges += [longest := max(_range(args[0], args[1]), _range(args[0], size))]
        if result < 0 and len(args) > 4:
            ranges.append(_range(args[4], size))
    if recorded is not None and recorded >= 0 and recorded != result:
        ranges.append((recorded, recorded + longest[1] - longest[0]))
    return ranges
