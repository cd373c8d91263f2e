"""The log of gVisor's strace (runsc --strace): a line where a call starts, one where it returns.

Knows how gVisor prints arguments: every number in hex, a path as its address and its bytes, a
descriptor with its path. Source: pkg/sentry/strace/strace.go, pkg/log/glog.go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from vmatrace.importers.machine import LogMachine
from vmatrace.importers.prefixes import PART
from vmatrace.importers.retold import (
    EXECS,
    NEVER_RETURN,
    Halves,
    Passed,
    Told,
    Wrong,
    failure,
    integer,
    result_of,
    retold,
    text_of,
)

#: ``I0705 23:27:43.245972  1 strace.go:567] [ 1: 1] registry E brk(0x0)``; the thread group first.
_LEADER: Final = (
    r"\s*(?:[IWDEF]\d{4} [\d:.]+\s+\d+ )?(?:\S+\.go:\d+\] )?"
    r"(?:time=\S+ level=\S+ msg=\"?)?"
)
_DATED: Final = re.compile(r"[IWDEF]\d{4} \d\d:\d\d:\d\d[\d.]*\s+\d+ \w+\.go:\d+\] ", re.ASCII)
_LINE: Final = re.compile(
    _LEADER + r"\[\s*(?P<tgid>\d{1,7})(?:\(\s*\d+\))?:\s*(?P<tid>\d{1,7})(?:\(\s*\d+\))?\] "
    r"(?P<comm>.{0,80}?) (?P<half>[EX]) (?P<name>[a-z_]\w*)\((?P<args>.*)",
    re.ASCII,
)
_EXIT: Final = re.compile(
    r"(?P<args>.*)\) = (?P<result>-?\d{1,20}|0x[0-9a-f]{1,16})(?: \((?P<hex>0x[0-9a-f]{1,16})\))?"
    r"(?: errno=(?P<errno>\d{1,4}) \((?P<why>.*?)\))?(?: \([^()]*\))?\s*",
    re.ASCII,
)
_OTHER: Final = re.compile(
    r"\s*(?:[IWDEF]\d{4} \d\d:\d\d:\d\d|(?!strace)\S+\.go:\d+\] |goroutine |\*\*\*\*)", re.ASCII
)
#: What is left of a call's line where it is damaged.
_DAMAGED: Final = re.compile(
    r"strace\.go:\d|(?:^|[\s\]])[EX] [a-z_]\w*\(|\]\s.*\(.*\) = \d", re.ASCII
)
#: ``0x3 /lib/x.so``, ``0xffffffffffffffff (bad FD)``, ``AT_FDCWD /``
_DESCRIPTOR: Final = re.compile(
    r"(?P<number>0x[0-9a-f]{1,16}|AT_FDCWD) (?:(?P<path>[^(].*?)|\(bad FD\)|host:.*?)", re.ASCII
)
_SEPARATOR: Final = re.compile(r", (?=0x|0o|[A-Z]+_|\d|null|\"|\{|\[)", re.ASCII)
#: Which argument is a descriptor, and which one a path.
_FDS: Final = {"mmap": 4, "close": 0, "dup": 0, "dup2": 0, "dup3": 0, "fcntl": 0, "openat": 0}
_PATHS: Final = {"open": 0, "openat": 1, "creat": 0, "execve": 0, "execveat": 1, "memfd_create": 0}


class GVisor(Halves):
    """Tells the lines of one."""

    def __init__(self, machine: LogMachine, head: Sequence[str] = ()) -> None:
        super().__init__(machine)
        #: Whether each message starts with its date, so that other lines go on with it.
        self._dated = False
        #: What each thread called last.
        self._called: dict[str, str] = {}

    def tell(self, line: str) -> Told:
        """See Teller."""
        found = _LINE.fullmatch(line)
        if found is None:
            if not line.strip():
                return Passed("blank")
            if _DAMAGED.search(line) is None:
                self._dated = self._dated or _DATED.match(line) is not None
                if self._dated or _OTHER.match(line):
                    return Passed("gVisor's messages")
            return Wrong("not a line of gVisor (expected [PID: TID] NAME E call(…), or X)")
        tid, name = found["tid"], found["name"]
        self.groups.setdefault(tid, found["tgid"])
        if found["half"] == "E":
            inside, closed, _ = found["args"].rpartition(")")
            if not closed:
                return Wrong("the line is cut (expected ')')", len(line))
            self._called[tid] = name
            return self.begins(tid, name, _arguments(name, inside))
        done = _EXIT.fullmatch(found["args"])
        if done is None:
            return Wrong("the line is cut (expected ' = ' and a result)", len(line))
        if name in NEVER_RETURN and self._called.get(tid) == name:
            return PART
        result = _result(done, name)
        if self._begun.get(tid) != name and not (name in EXECS and result == "0"):
            arguments = ", ".join(_arguments(name, done["args"]))
            return f"{tid} {name}({arguments}) = {result}"
        return self.returns(tid, name, result)


def _result(done: re.Match[str], name: str) -> str:
    if done["errno"] is not None:
        return failure(int(done["errno"]))
    return result_of(integer(done["hex"] or done["result"]), name)


def _arguments(name: str, text: str) -> list[str]:
    """The arguments of call *name* as strace prints them."""
    arguments = _SEPARATOR.split(text) if text else []
    fd, path = _FDS.get(name), _PATHS.get(name)
    for i, argument in enumerate(arguments):
        if i == fd:
            arguments[i] = _descriptor(argument)
        elif i == path:
            address, _, shown = argument.partition(" ")
            arguments[i] = text_of(shown) if shown and "error decoding" not in shown else address
        elif argument.startswith("0o"):
            arguments[i] = "0" + argument[2:]
        elif name == "clone" and i == 0:
            arguments[i] = argument.replace("|0x0", "")
    return arguments


def _descriptor(text: str) -> str:
    found = _DESCRIPTOR.fullmatch(text)
    if found is None:
        return text
    number = found["number"]
    if number.startswith("0x"):
        value = int(number, 16)
        number = str(value - (1 << 64) if value >> 63 else value)
    return f"{number}<{found['path']}>" if found["path"] else number


def _looks(lines: Sequence[str]) -> bool:
    return any(map(_LINE.fullmatch, lines))


FORMAT: Final = retold(
    "gvisor", "a log of gVisor's strace",
    "runsc --strace --debug --debug-log=DIR/ run ID (the file *.boot.txt)", _looks, GVisor,
)  # fmt: skip
