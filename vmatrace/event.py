"""The values a trace is made of, and the spelling of calls.

Which calls there are and what they take is vmatrace.calls'. Knows no rule of any kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Union

from vmatrace import abi
from vmatrace.calls import CALLS, Param
from vmatrace.layout import Layout

# __reduce__() is for copy and pickle, which find nothing in a class that is compiled.

# --- argument values ----------------------------------------------------------------------------


class Expr:
    """An argument that mentions labels: evaluated when the labels' calls have run.

    ``tree`` is an int, a label, or ``(operator, left, right)`` with operator one of ``+ - * |``.
    """

    __slots__ = ("text", "tree")

    def __init__(self, tree: ExprTree, text: str) -> None:
        self.tree = tree
        self.text = text

    @classmethod
    def told(cls, label: str, distance: int, page: int) -> Expr:
        """What is *distance* bytes behind *label*, or before it; in pages of *page* bytes."""
        if not distance:
            return cls(label, label)
        sign, size = ("+", distance) if distance > 0 else ("-", -distance)
        pages, rest = divmod(size, page)
        text = hex(size) if rest else "PAGE_SIZE" if pages == 1 else f"{pages}*PAGE_SIZE"
        return cls((sign, label, size), f"{label} {sign} {text}")

    def __repr__(self) -> str:
        return f"Expr({self.text})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expr) and other.tree == self.tree

    def __hash__(self) -> int:
        return hash(self.tree)

    def evaluate(self, labels: Mapping[str, int]) -> int:
        """The value in bytes, not truncated; every label must be in *labels*."""
        return _evaluate(self.tree, labels)

    def labels(self) -> Iterable[str]:
        """The labels that the expression mentions, left to right."""
        return _labels(self.tree)

    def __reduce__(self) -> tuple[object, ...]:
        return Expr, (self.tree, self.text)


#: Not recursive: mypyc would not end.
ExprTree = Union[int, str, "tuple[str, Any, Any]"]


def _evaluate(tree: ExprTree, labels: Mapping[str, int]) -> int:
    if isinstance(tree, int):
        return tree
    if isinstance(tree, str):
        return labels[tree]
    operator, left, right = tree
    a, b = _evaluate(left, labels), _evaluate(right, labels)
    if operator == "+":
        return a + b
    if operator == "-":
        return a - b
    if operator == "*":
        return a * b
    return a | b


def _labels(tree: ExprTree) -> list[str]:
    if isinstance(tree, int):
        return []
    if isinstance(tree, str):
        return [tree]
    return _labels(tree[1]) + _labels(tree[2])


@dataclass(frozen=True)
class Fd:
    """A descriptor argument other than a plain number.

    ``key`` is the number or name under which the trace's ``files`` may describe it; ``path`` is the
    path that strace -y printed with it, if any. ``file`` describes it where there are no ``files``.
    """

    key: int | str
    path: str | None = None
    file: File | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return str(self.key) if self.path is None else f"{self.key}<{self.path}>"

    def __reduce__(self) -> tuple[object, ...]:
        return Fd, (self.key, self.path, self.file)


#: An argument as parsed: a number, text ("text" and "any" parameters), an expression, a descriptor.
Arg = Union[int, str, Expr, Fd]


# --- what a trace holds -------------------------------------------------------------------------


@dataclass(frozen=True)
class File:
    """What a descriptor refers to: one open file description (the kernel's ``struct file``).

    ``fs`` is the file system's name, ``legacy`` or ``mmap_prepare``. ``mode`` is how it was opened:
    "r", "w" or "rw". ``size`` in bytes, None: large enough for every access. ``vmflags``: codes of
    smaps that its mappings have, empty: nothing is said (abi.driver_flags()).
    """

    path: str
    fs: str = "ext4"
    mode: str = "rw"
    size: int | None = None
    vmflags: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[object, ...]:
        return File, (self.path, self.fs, self.mode, self.size, self.vmflags)


class Event:
    """One call of one process. Slots, immutable by rule: a million of them must be cheap to make.

    ``args`` follow the parameters of ``CALLS[name]``; optional ones that were not given are absent.
    ``symbolic`` says that some argument is an Expr. ``recorded`` is the recorded return value
    (-errno for a failure) or None where there is none. ``line`` and ``column`` count from 1.
    ``maps`` is the layout right after an execve, where the trace holds it; ``caller`` the function
    that made the call, where a log has stacks. ``first_write``: address and length in bytes of what
    a log's reader takes for written to right after the call; Trace.items() makes an event of it.
    """

    __slots__ = (
        "args", "caller", "column", "first_write", "label", "line", "maps", "name", "pid",
        "recorded", "symbolic", "text",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        args: tuple[Arg, ...],
        text: str,
        line: int = 0,
        column: int = 1,
        pid: str = "main",
        label: str | None = None,
        recorded: int | None = None,
        symbolic: bool = False,
        first_write: tuple[int, int] | None = None,
    ) -> None:
        self.name = name
        self.args = args
        self.text = text
        self.line = line
        self.column = column
        self.pid = pid
        self.label = label
        self.recorded = recorded
        self.symbolic = symbolic
        self.first_write = first_write
        self.maps: Layout | None = None
        self.caller: str | None = None

    def __repr__(self) -> str:
        return f"Event({self.pid}: {self.text!r}, line {self.line})"

    def written(self) -> tuple[Event, Event]:
        """The call alone, and the event that its first_write stands for."""
        assert self.first_write is not None
        call = Event(
            self.name, self.args, self.text, self.line, self.column, self.pid, self.label,
            self.recorded, self.symbolic,
        )  # fmt: skip
        call.maps, call.caller = self.maps, self.caller
        start, length = self.first_write
        text = f"fault({start:#x}, {length:#x}, PROT_WRITE)"
        access = (start, length, abi.PROT_WRITE)
        return call, Event("fault", access, text, self.line, 1, self.pid)

    def __reduce__(self) -> tuple[object, ...]:
        made = (
            self.name, self.args, self.text, self.line, self.column, self.pid, self.label,
            self.recorded, self.symbolic, self.first_write,
        )  # fmt: skip
        return _restored, (made, self.maps, self.caller)


def _restored(made: tuple[Any, ...], maps: Layout | None, caller: str | None) -> Event:
    event = Event(*made)
    event.maps = maps
    event.caller = caller
    return event


@dataclass(frozen=True)
class Bound:
    """A condition on a count, such as ``== 1`` or ``<= 5000``; operator one of == != < <= > >=."""

    operator: str
    value: int

    def holds(self, actual: int) -> bool:
        op, value = self.operator, self.value
        return (
            actual == value if op == "=="
            else actual != value if op == "!="
            else actual < value if op == "<"
            else actual <= value if op == "<="
            else actual > value if op == ">"
            else actual >= value
        )  # fmt: skip

    @property
    def shown(self) -> int | str:
        """The number itself where it has to be met, else in words."""
        return self.value if self.operator == "==" else str(self)

    def __str__(self) -> str:
        return str(self.value) if self.operator == "==" else f"{self.operator} {self.value}"

    def __reduce__(self) -> tuple[object, ...]:
        return Bound, (self.operator, self.value)


@dataclass(frozen=True)
class ExpectedMapping:
    """One line of an expected layout; a None field is not compared. Offsets in bytes."""

    start: int | Expr
    end: int | Expr
    perms: str | None = None
    offset: int | None = None
    name: str | None = None
    flags: tuple[str, ...] | None = None

    def __reduce__(self) -> tuple[object, ...]:
        made = (self.start, self.end, self.perms, self.offset, self.name, self.flags)
        return ExpectedMapping, made


@dataclass(frozen=True)
class Expectation:
    """What must hold where it stands in the trace.

    ``on`` holds model names and version ranges such as ``>=6.17``; empty: every model.
    ``counts`` maps those of EXPECTED_COUNTS to a Bound. ``maps`` is the whole layout of
    the process, or None. ``name`` is what the trace calls it, or empty.
    """

    pid: str
    line: int
    column: int
    on: tuple[str, ...] = ()
    counts: Mapping[str, Bound] = field(default_factory=dict)
    maps: tuple[ExpectedMapping, ...] | None = None
    name: str = ""

    def __reduce__(self) -> tuple[object, ...]:
        made = (self.pid, self.line, self.column, self.on, self.counts, self.maps, self.name)
        return Expectation, made


#: The number that stands for the first process, "main", where a call names a process.
FIRST: Final = 1

#: Counts an expectation may state.
EXPECTED_COUNTS: Final = (
    "vmas", "peak_vmas", "mergeable", "merges", "blocked_only_by_mergeable",
)  # fmt: skip


# --- writing calls ------------------------------------------------------------------------------


def format_flags(value: int, families: tuple[str, ...]) -> str:
    """*value* as strace prints it: constants of *families* joined by ``|``, the rest in hex."""
    key = (value, families)
    text = _FLAGS_TEXT.get(key)
    if text is None:
        text = _format_flags(value, families)
        if len(_FLAGS_TEXT) < 4096:
            _FLAGS_TEXT[key] = text
    return text


_FLAGS_TEXT: dict[tuple[int, tuple[str, ...]], str] = {}
#: Families whose constants are numbers, not bits.
_ENUMS: Final = ("MADV_", "PR_", "MPOL_", "UFFDIO_", "RLIMIT_")
_ALIASES: Final = frozenset(
    {"MAP_ANON", "PROT_SAO", "PROT_ADI"}
    | {name for name, value in abi.CONSTANTS.items() if not value and "MAP_" in name}
)
_HUGE_SIZE: Final = abi.MAP_HUGE_MASK << abi.MAP_HUGE_SHIFT


def _format_flags(value: int, families: tuple[str, ...]) -> str:
    names = [
        (name, number)
        for name, number in abi.CONSTANTS.items()
        if name.startswith(families) and name not in _ALIASES
    ]
    if any(f in _ENUMS for f in families):
        return next((name for name, number in names if number == value), str(value))
    if value == abi.PERSONALITY_ASK and "PER_" in families:
        return hex(value)
    parts: list[str] = []
    rest = value
    if families == ("MAP_",):
        kinds = {1: "MAP_SHARED", 2: "MAP_PRIVATE", 3: "MAP_SHARED_VALIDATE", 8: "MAP_DROPPABLE"}
        if value & abi.MAP_TYPE in kinds:
            parts.append(kinds[value & abi.MAP_TYPE])
            rest &= ~abi.MAP_TYPE
    # The size of huge pages is one number, not flags; without them its bits are anything else.
    size = rest & _HUGE_SIZE if families == ("MAP_",) and rest & abi.MAP_HUGETLB else 0
    rest -= size
    for name, number in names:
        if number and number & (number - 1) == 0 and rest & number:
            if number <= abi.MAP_TYPE and families == ("MAP_",):
                continue
            parts.append(name)
            rest &= ~number
    if not parts and rest == 0:
        return next((name for name, number in names if number == 0), "0")
    if size:
        parts.append(next((name for name, number in names if number == size), hex(size)))
    if rest:
        parts.append(hex(rest))
    return "|".join(parts)


def format_arg(param: Param | None, value: Arg) -> str:
    """One argument in the spelling of strace."""
    if isinstance(value, int):
        if param is not None and param.kind == "flags":
            return format_flags(value, param.families)
        if param is not None and param.kind == "addr":
            return "NULL" if value == 0 else hex(value)
        if param is not None and param.kind == "size":
            return hex(value) if value > 9 else str(value)
        return str(value)
    if isinstance(value, Expr):
        return value.text
    if isinstance(value, str) and param is not None and param.kind == "text":
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def format_call(name: str, args: Iterable[Arg]) -> str:
    """``name(arg, …)`` in the spelling of strace; reading it back gives the same call."""
    params = CALLS[name].params
    written = [
        format_arg(params[i] if i < len(params) else None, value) for i, value in enumerate(args)
    ]
    return f"{name}({', '.join(written)})"


def format_result(result: int, kind: str = "int") -> str:
    """A return value as strace prints it: ``0x7f…``, ``0``, ``-1 ENOMEM``."""
    if -4096 < result < 0:
        return f"-1 {abi.ERRNO_NAME.get(-result, f'E{-result}')}"
    return hex(result) if kind == "addr" else str(result)
