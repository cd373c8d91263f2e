"""What descriptors refer to while a log is read: open, dup, close, fork and exec followed.

Every successful open is an open file of its own, because the kernel compares open files and not
paths. Knows strace's spelling of these calls; knows nothing of memory.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable
from typing import Final

from vmatrace import abi
from vmatrace.event import Fd, File
from vmatrace.importers.strace.line import number as number_of
from vmatrace.trace.grammar import is_reserved, shown_path
from vmatrace.trace.header import file_system
from vmatrace.trace.tokens import unescaped

_O_CLOEXEC: Final = 0o2000000
#: So many names are remembered; a file that comes later is only numbered.
_NAMES: Final = 4096

_STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_RESULT: Final = re.compile(
    r"(0x[0-9a-f]{1,16}|[0-9]{1,20})(?:<(.*)>(\(deleted\))?(?: \[[^\[\]]*\])?)?\Z"
)
_NUMBER: Final = re.compile(r"(0x[0-9a-fA-F]{1,16}\b|-?[0-9]{1,20}\b)")
_AT: Final = re.compile(r"(?:AT_FDCWD|(-100|0xffffff9c|[0-9]+)(?: /\*.*?\*/)?)(?:<(.*?)>)?, ")
_WORD: Final = re.compile(r"\W+")
_DELETED: Final = " (deleted)"
#: What is no file: TCP:[…], socket:[…], pipe:[…], anon_inode:…, {eventfd-count=0x1}
_NO_FILE: Final = re.compile(r"[\w+-]+:\[|anon_inode:|\{|pid:")


def first_string(text: str) -> str:
    """The first string among the arguments in *text*; ``?`` where none is shown."""
    match = _STRING.search(text)
    return unescaped(match[1]) if match else "?"


def guessed_file_system(path: str) -> str:
    """What a file system the file called *path* is likely to be on: its path is all a log has."""
    if path.startswith("/dev/shm/"):
        return "tmpfs"
    if path.startswith(("/dev/hugepages/", "/anon_hugepage")):
        return "hugetlbfs"
    if path.startswith("/proc/"):
        return "proc"
    if path == "/secretmem" or path.startswith("/secretmem "):
        return "secretmem"
    if (path.startswith("/dev/") and path != "/dev/zero") or _NO_FILE.match(path):
        return "legacy"  # drivers that were never converted are the rule
    return file_system(path)


class Open:
    """One open file description: its path, how it was opened, and the Fd of its mappings.

    ``shown``: the path is the one that strace -y prints, not the one that was given to open.
    """

    __slots__ = ("_fd", "mode", "path", "pid", "shown")

    def __init__(
        self, path: str, mode: str = "rw", pid: str | None = None, shown: bool = False
    ) -> None:
        self.path = path
        self.mode = mode
        self.shown = shown
        self.pid = pid  # of a pidfd: whose
        self._fd: Fd | None = None

    @property
    def mapped(self) -> bool:
        """Whether a mapping of it has been seen: its name stays what it was then."""
        return self._fd is not None

    def described(self, file: File, names: Names) -> Fd:
        """The same, of a file that somebody has described."""
        self._fd = Fd(names.new(self.path), None, file)
        return self._fd

    def fd(self, names: Names) -> Fd:
        """The argument that stands for it, the same each time."""
        if self._fd is None:
            file = File(self.path, guessed_file_system(self.path), self.mode)
            self._fd = Fd(names.new(self.path), None, file)
        return self._fd


class Names:
    """Names of open files in a trace: from the path, and no two alike."""

    def __init__(self) -> None:
        self._count: dict[str, int] = {"file": 1}

    def new(self, path: str) -> str:
        """A name for another open file at *path*."""
        stem = _WORD.sub("_", os.path.basename(path.removesuffix(" (deleted)")))[:40].strip("_")
        stem = stem if stem.isascii() and stem[:1].isalpha() and not is_reserved(stem) else "file"
        if stem not in self._count and len(self._count) >= _NAMES:
            stem = "file"
        count = self._count.get(stem, 0) + 1
        name = stem if count == 1 else f"{stem}_{count}"
        while name in self._count:  # a file has just that name
            count += 1
            name = f"{stem}_{count}"
        self._count[stem] = count
        if len(self._count) < _NAMES:
            self._count.setdefault(name, 1)
        return name


class Table:
    """The descriptors of one process; threads share one (``struct files_struct``)."""

    def __init__(self, opened: dict[int, Open] | None = None, cloexec: set[int] | None = None):
        self.opened = {} if opened is None else opened
        self.cloexec: set[int] = set() if cloexec is None else cloexec

    def copy(self) -> Table:
        """What a fork's child has: the same open files."""
        return Table(self.opened.copy(), self.cloexec.copy())

    def after_exec(self) -> Table:
        """What an exec leaves."""
        kept = {n: o for n, o in self.opened.items() if n not in self.cloexec}
        return Table(kept)

    def put(self, number: int, file: Open, cloexec: bool = False) -> None:
        """Let *number* refer to *file*."""
        self.opened[number] = file
        (self.cloexec.add if cloexec else self.cloexec.discard)(number)

    def drop(self, number: int) -> None:
        """Close *number*."""
        self.opened.pop(number, None)
        self.cloexec.discard(number)

    def of(self, number: int, path: str | None, names: Names) -> Fd:
        """The Fd that stands for descriptor *number*, which strace -y shows to be at *path*.

        One whose opening is not in the log is taken for one file as long as it has that number.
        """
        file = self.opened.get(number)
        if file is None:
            file = Open(f"fd:{number}" if path is None else path, shown=path is not None)
            self.put(number, file)
        elif path is not None and file.path != path:
            if not _same(file, path):
                file = Open(path, shown=True)
                self.put(number, file)
            elif not file.mapped:
                file.path, file.shown = path, True
        return file.fd(names)


def _same(file: Open, shown: str) -> bool:
    """Whether *file* may be what -y shows to be at the path *shown*.

    The path given to open may be relative, and a symbolic link may lie between the two; an open
    file's own path changes where it is deleted.
    """
    if file.shown:
        return file.path.removesuffix(_DELETED) == shown.removesuffix(_DELETED)
    if file.path.startswith("fd:"):
        return True
    return not file.path.startswith("/memfd:") and not shown.startswith(("/memfd:", "anon_"))


# --- calls ----------------------------------------------------------------------------------------


def follow(table: Table, name: str, inside: str, result: str) -> None:
    """Do to *table* what the call *name* did; *inside* its parentheses is its arguments as text.

    A call that failed, or one that is not understood, does nothing.
    """
    done = _RESULT.match(result)
    if done is not None:
        shown = None if done[2] is None else shown_path(done[2], done[3])
        _CALLS[name](table, inside, number_of(done[1]), shown)


def _path(inside: str, shown: str | None) -> str:
    """The path in the arguments of an open; the one that -y printed with the result, if any."""
    if shown is not None:
        return shown
    string = _STRING.search(inside)
    if string is None:
        return "?"
    path = unescaped(string[1])
    at = _AT.match(inside)
    if at is not None and at[2] is not None and not path.startswith("/"):
        return os.path.normpath(os.path.join(unescaped(at[2]), path))
    return path


def _open(table: Table, inside: str, number: int, shown: str | None) -> None:
    flags = inside[string.end() :] if (string := _STRING.search(inside)) else inside
    mode, cloexec = _mode(flags)
    table.put(number, Open(_path(inside, shown), mode, shown=shown is not None), cloexec)


def _openat2(table: Table, inside: str, number: int, shown: str | None) -> None:
    _, _, flags = inside.partition("flags=")
    mode, cloexec = _mode(", " + flags)
    table.put(number, Open(_path(inside, shown), mode, shown=shown is not None), cloexec)


def _mode(flags: str) -> tuple[str, bool]:
    """How a file is opened, and whether exec closes it, from what follows the path."""
    if "O_" in flags:
        word = "rw" if "O_RDWR" in flags else "w" if "O_WRONLY" in flags else "r"
        return word, "O_CLOEXEC" in flags
    numbers = _NUMBER.findall(flags)
    if not numbers:
        return "rw", False
    # With a path that is only an address, the flags are the last but one or the last number.
    value = number_of(numbers[0])
    return ("r", "w", "rw", "rw")[value & 3], bool(value & _O_CLOEXEC)


def _open_raw(table: Table, inside: str, number: int, shown: str | None, first: int) -> None:
    """As _open(), where -e raw hides the path: the flags are argument *first*."""
    arguments = inside.split(", ")
    flags = arguments[first] if first < len(arguments) else "2"
    mode, cloexec = _mode(flags)
    path = f"fd:{number}" if shown is None else shown
    table.put(number, Open(path, mode, shown=shown is not None), cloexec)


def _opened(flags_at: int) -> Callable[[Table, str, int, str | None], None]:
    def call(table: Table, inside: str, number: int, shown: str | None) -> None:
        if '"' in inside:
            _open(table, inside, number, shown)
        else:
            _open_raw(table, inside, number, shown, flags_at)

    return call


def _creat(table: Table, inside: str, number: int, shown: str | None) -> None:
    table.put(number, Open(_path(inside, shown), "w", shown=shown is not None))


def _memfd(table: Table, inside: str, number: int, shown: str | None) -> None:
    path = _path(inside, shown) if shown is not None else f"/memfd:{_path(inside, None)} (deleted)"
    flags = inside.rpartition(", ")[2]
    bits = number_of(flags) if _NUMBER.fullmatch(flags) else 0
    if "MFD_HUGETLB" in flags or bits & abi.CONSTANTS["MFD_HUGETLB"]:
        path = "/anon_hugepage (deleted)"
    table.put(
        number,
        Open(path, shown=True),
        "MFD_CLOEXEC" in flags or bool(bits & abi.CONSTANTS["MFD_CLOEXEC"]),
    )


def _special(path: str) -> Callable[[Table, str, int, str | None], None]:
    def call(table: Table, inside: str, number: int, shown: str | None) -> None:
        table.put(number, Open(path), "CLOEXEC" in inside)

    return call


def _pidfd_open(table: Table, inside: str, number: int, shown: str | None) -> None:
    pid = _NUMBER.match(inside)
    table.put(number, Open("anon_inode:[pidfd]", pid=pid[1] if pid else None), True)


def _close(table: Table, inside: str, number: int, shown: str | None) -> None:
    if given := _NUMBER.match(inside):
        table.drop(number_of(given[1]))


def _dup(table: Table, inside: str, number: int, shown: str | None) -> None:
    """dup, dup2, dup3: the result is the new descriptor of the open file in the first argument."""
    given = _NUMBER.match(inside)
    if given is not None:
        flags = inside.rpartition(", ")[2]
        cloexec = "O_CLOEXEC" in flags or flags.startswith("0x80000")
        _duplicate(table, number_of(given[1]), number, cloexec)


def _duplicate(table: Table, old: int, new: int, cloexec: bool) -> None:
    if old == new:
        return
    file = table.opened.get(old)
    if file is None:
        file = Open(f"fd:{old}")
        table.put(old, file)
    table.put(new, file, cloexec)


def _fcntl(table: Table, inside: str, number: int, shown: str | None) -> None:
    given, command = _NUMBER.match(inside), inside.split(", ")[1:3]
    if given is None or not command:
        return
    old, what = number_of(given[1]), command[0]
    if what.startswith(("F_DUPFD_CLOEXEC", "0x406")):
        _duplicate(table, old, number, True)
    elif what.startswith("F_DUPFD") or what == "0":
        _duplicate(table, old, number, False)
    elif what.startswith(("F_SETFD", "0x2")) and old in table.opened:
        cloexec = "FD_CLOEXEC" in command[-1] or command[-1] == "0x1"
        (table.cloexec.add if cloexec else table.cloexec.discard)(old)


def _close_range(table: Table, inside: str, number: int, shown: str | None) -> None:
    numbers = inside.split(", ")
    bounds = [_NUMBER.match(text) for text in numbers[:2]]
    if len(bounds) < 2 or bounds[0] is None or bounds[1] is None:
        return
    first, last = number_of(bounds[0][1]), number_of(bounds[1][1])
    last = abi.ULONG_MAX if last < 0 else last
    flags = numbers[2] if len(numbers) > 2 else ""
    for each in [n for n in table.opened if first <= n <= last]:
        if "CLOEXEC" in flags or flags.startswith("0x4"):
            table.cloexec.add(each)
        else:
            table.drop(each)


_CALLS: Final[dict[str, Callable[[Table, str, int, str | None], None]]] = {
    "open": _opened(1),
    "openat": _opened(2),
    "openat2": _openat2,
    "creat": _creat,
    "memfd_create": _memfd,
    "memfd_secret": _special("/secretmem (deleted)"),
    "userfaultfd": _special("anon_inode:[userfaultfd]"),
    "io_uring_setup": _special("anon_inode:[io_uring]"),
    "perf_event_open": _special("anon_inode:[perf_event]"),
    "pidfd_open": _pidfd_open,
    "close": _close,
    "dup": _dup,
    "dup2": _dup,
    "dup3": _dup,
    "fcntl": _fcntl,
    "close_range": _close_range,
    **dict.fromkeys(("socket", "accept", "accept4", "eventfd2", "epoll_create1", "timerfd_create",
                     "signalfd4", "inotify_init1"), _special("?")),
}  # fmt: skip
#: The calls that follow() knows.
NAMES: Final = frozenset(_CALLS)
