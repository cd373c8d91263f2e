"""The log of qemu-user's own strace (qemu-ARCH -strace).

Knows that it separates arguments by a comma alone, prints errors by number, and writes calls and
results as they come: those of another process may stand between a call and its result. Source:
linux-user/strace.c.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from vmatrace.calls import BIRTHS
from vmatrace.importers.machine import LogMachine
from vmatrace.importers.retold import (
    EXECS,
    Passed,
    Teller,
    Told,
    Wrong,
    failure,
    most_arguments,
    retold,
)

_CALL: Final = re.compile(r"\s*(?:(?P<pid>\d{1,7}) )?(?P<name>[a-z_]\w*)\((?P<rest>.*)", re.ASCII)
#: Another call that begins where the result of one is missing.
_CUT: Final = re.compile(
    r"(?P<first>.*?\))\s*(?=\d{1,7} (?:[a-z_]\w*\(|Unknown syscall ))", re.ASCII
)
_RESULT: Final = re.compile(
    r" = (?:(?P<value>-?\d{1,20}|0x[0-9a-f]{1,16})|(?P<many>0x[0-9a-f]+,.*))"
    r"(?P<error> errno=(?P<errno>\d{1,4}))?(?: \(.*\))?\s*",
    re.ASCII,
)
_UNKNOWN: Final = re.compile(r"\s*(?:\d{1,7} )?Unknown syscall -?\d+\s*", re.ASCII)
_SIGNAL: Final = re.compile(r"\s*(?:\d{1,7} )?--- SIG", re.ASCII)
_MESSAGE: Final = re.compile(
    r"\s*(?:qemu(?:-\w+)?: |Locating guest|guest_base|\w+: warning)", re.ASCII
)
#: An argument ends at a comma outside of quotes and brackets.
_ARGUMENT: Final = re.compile(
    r"\s*((?:\"(?:[^\"\\]|\\.)*\"(?:\.\.\.)?|\{[^{}]*\}|\[[^\[\]]*\]|[^,\"])*),?", re.ASCII
)
#: Calls that are printed with names before their arguments.
_STRUCTURED: Final = ("clone", "clone3", *EXECS)


class QemuUser(Teller):
    """Tells the lines of one; ``_waiting``: calls whose results have not come yet."""

    def __init__(self, machine: LogMachine, head: Sequence[str] = ()) -> None:
        super().__init__(machine)
        self._waiting: list[tuple[str, str, str]] = []

    def tell(self, line: str) -> Told:
        """See Teller."""
        text = line
        while (cut := _CUT.match(text)) is not None and (first := _CALL.match(cut["first"])):
            self._wait(first["pid"] or "", first["name"], first["rest"].rstrip().removesuffix(")"))
            text = text[cut.end() :]
        found = _CALL.fullmatch(text)
        if found is None:
            return self._other(line, text)
        pid, name, rest = found["pid"] or "", found["name"], found["rest"]
        if name == "exit":
            return Passed("exit")  # of a thread, and all threads have the pid of their process
        if name == "exit_group":
            return f"{pid} exit_group({rest.partition(')')[0]}) = ?".lstrip()
        inside, closed, result = _parted(rest)
        if not closed:
            return Wrong("the line is cut (expected ')')", len(line))
        if not result.strip():
            self._wait(pid, name, inside)
            begun = f"{pid} {name}({', '.join(_arguments(name, inside))} <unfinished ...>"
            return begun.lstrip()
        shown = _RESULT.fullmatch(result)
        if shown is None:
            return Wrong("not a result (expected ' = ' and a number)", len(line) - len(result))
        return self._call(pid, name, inside, _shown(shown))

    def _call(self, pid: str, name: str, inside: str, result: str) -> str:
        if name in EXECS and not result.startswith("-"):
            result = "0"  # it has none: what stands there is another call's
        return f"{pid} {name}({', '.join(_arguments(name, inside))}) = {result}".lstrip()

    def _wait(self, pid: str, name: str, inside: str) -> None:
        self._waiting.append((pid, name, inside))
        del self._waiting[:-64]

    def _other(self, line: str, text: str) -> Told:
        if not text.strip():
            return Passed("blank")
        result = _RESULT.fullmatch(text)
        if result is not None:
            return self._late(_shown(result))
        if _UNKNOWN.fullmatch(text):
            return Passed("unknown system call")
        if _SIGNAL.match(text):
            return Passed("signal")
        if _MESSAGE.match(text):
            return Passed("qemu's messages")
        what = "not a line of qemu (expected PID call(…) = RESULT)"
        return Wrong(what, len(line) - len(text.lstrip()))

    def _late(self, result: str) -> Told:
        """A result on a line of its own: of the call that waits longest, if it could be its."""
        for i, (pid, name, inside) in enumerate(self._waiting):
            if name in BIRTHS and result == "0":
                continue
            del self._waiting[i]
            return self._call(pid, name, inside, result)
        return Passed("birth's return in the child" if result == "0" else "result")


def _parted(rest: str) -> tuple[str, bool, str]:
    """What is inside of a call's parentheses, whether they close, and what follows."""
    at = rest.rfind(") = ")
    if at >= 0:
        return rest[:at], True, rest[at + 1 :]
    inside, closed, after = rest.rpartition(")")
    return inside, bool(closed), after


def _shown(result: re.Match[str]) -> str:
    if result["error"] is not None:
        return failure(int(result["errno"]))
    return result["value"] or "0"


def _arguments(name: str, inside: str) -> list[str]:
    arguments: list[str] = []
    at = 0
    while at < len(inside):
        found = _ARGUMENT.match(inside, at)
        if found is None or found.end() == at:
            arguments.append(inside[at:])
            break
        arguments.append(found[1].strip())
        at = found.end()
    return arguments if name in _STRUCTURED else arguments[: most_arguments(name)]


def _looks(lines: Sequence[str]) -> bool:
    return any(map(_OWN.match, lines))


#: What qemu alone prints: no blank behind a comma, addresses of 16 digits, errors by number.
_OWN: Final = re.compile(
    r"\s*\d{1,7} (?:\w+\((?:[^, ]+,)+[^ ,]*\) = |\w+\(.*\) = -1 errno=\d|Unknown syscall \d"
    r"|brk\((?:NULL|0x[0-9a-f]{8,16})\) = 0x0[0-9a-f]{7,15}\b)"
    # cut off its pid, as people do
    r"|\s*(?:\w+\(\S*\) = (?:0x0[0-9a-f]{15}\s*$|-1 errno=\d)"
    r"|mmap2?\(\w+,\d+,PROT_\S*,MAP_\S*,-?\d+,\w+\) = 0x[0-9a-f]{8,16}\s*$)",
    re.ASCII,
)
FORMAT: Final = retold(
    "qemu", "a log of qemu-user's strace", "qemu-ARCH -strace PROGRAM 2> LOG", _looks, QemuUser
)
