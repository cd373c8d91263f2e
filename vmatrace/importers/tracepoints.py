"""The tracepoints of system calls, as ftrace, trace-cmd report and perf script print them.

Knows both families: raw_syscalls (a number and six registers) and syscalls (a name and the kernel's
names of the parameters). Sources: print_syscall_enter() of kernel/trace/trace_syscalls.c,
trace_print_context() of kernel/trace/trace_output.c, perf-script(1), trace-cmd-report(1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

from vmatrace import syscalls
from vmatrace.importers.machine import LogMachine
from vmatrace.importers.retold import (
    Halves,
    Passed,
    Told,
    Wrong,
    integer,
    is_followed,
    registers,
    result_of,
    retold,
)

#: Who, where and when: ``prog-123   (  120) [001] d..2.  1.000001: `` of ftrace, its latency format
#: ``prog-123     1d..2.  1us : ``, ``[001]1000001: `` and ``1.000001: (+2) `` of trace-cmd report,
#: with the instance's name before it.
_FTRACE: Final = re.compile(
    r"\s*(?:[\w.-]{1,64}:\s+)?(?P<comm>\S.{0,40}?)-(?P<tid>\d{1,7})\s+"
    r"(?:\(\s*(?P<tgid>\d{1,7}|-+)\)\s+)?"
    r"(?:\[\d{1,5}\]\s*(?:[^\s\d]\S{0,7}\s+|\S{1,8}\s+(?=\d+\.\d))?|\d{1,4}[^\s\d]\S{2,7}\s+)"
    r"(?:\d+\.\d+|\d{6,20}|\d+us ?[+!#*@$]?):\s+(?:\(\+\d+\)\s+)?(?P<event>.*)",
    re.ASCII,
)
#: ``prog 123 [001]  1.000001: `` and ``prog 120/123  1.000001: `` of perf script.
_PERF: Final = re.compile(
    r"\s*(?P<comm>\S.{0,40}?)\s+(?:(?P<tgid>\d{1,7})/)?(?P<tid>\d{1,7})\s+(?:\[\d{1,5}\]\s+)?"
    r"(?:[^\s\d]\S{0,7}\s+)?\d+\.\d+:\s+(?:\d+\s+)?(?P<event>\S.*)",
    re.ASCII,
)
#: The same where -F left out the name, the time, or the name of the event.
_PERF_LESS: Final = re.compile(
    r"\s*(?:(?P<comm>\S.{0,40}?)\s+)?(?:(?P<tgid>\d{1,7})/)?(?P<tid>\d{1,7})\s+(?:\[\d{1,5}\]\s+)?"
    r"(?:\d+\.\d+:\s+(?:\d+\s+)?)?"
    r"(?P<event>(?:raw_)?syscalls:sys_\S.*|NR -?\d{1,19} (?:\(|= ).*)",
    re.ASCII,
)
#: What perf script -F +ip,+sym puts behind an event.
_WHERE: Final = r"(?:\s+[0-9a-f]{8,16}\b.*)?\s*"
_RAW_ENTER: Final = re.compile(
    r"(?:(?:raw_syscalls:)?sys_enter:\s+)?NR (?P<number>-?\d{1,19}) "
    r"\((?P<args>(?:[0-9a-f]{1,16}(?:, [0-9a-f]{1,16}){0,9})?)\)" + _WHERE,
    re.ASCII,
)
_RAW_EXIT: Final = re.compile(
    r"(?:(?:raw_syscalls:)?sys_exit:\s+)?NR (?P<number>-?\d{1,19}) = (?P<result>-?\d{1,20})"
    + _WHERE,
    re.ASCII,
)
_ENTER: Final = re.compile(
    r"(?:(?:syscalls:)?sys_enter_(?P<name>\w+):(?P<args>.*)|sys_(?P<ftrace>\w+)\((?P<rest>.*)\))\s*",
    re.ASCII,
)
_EXIT: Final = re.compile(
    r"(?:(?:syscalls:)?sys_exit_(?P<name>\w+):|sys_(?P<ftrace>\w+) ->)\s+"
    r"(?P<result>0x[0-9a-f]{1,16}|-?\d{1,20})" + _WHERE,
    re.ASCII,
)
#: Fields as they are (trace-cmd report -R): ``sys_enter: id=9 args=ARRAY[00, …]``, ``sys_exit: id=9
#: ret=0``, ``sys_enter_munmap: __syscall_nr=11 addr=0x1000 len=0x2000``.
_FIELDS: Final = re.compile(
    r"(?P<event>sys_(?:enter|exit)\w*:)\s+(?:id|__syscall_nr)=(?P<number>-?\d{1,19})\s?(?P<rest>.*)",
    re.ASCII,
)
_ARRAY: Final = re.compile(r"args=ARRAY\[(?P<bytes>[0-9a-f]{2}(?:, [0-9a-f]{2})*)\]\s*", re.ASCII)
#: Whose longs have the high byte first.
_HIGH_FIRST: Final = ("ppc64", "s390x", "mips64", "sparc64")
_REGISTERS: Final = 6
#: One parameter: its name, a number, the type that options/verbose shows, the string there.
_PARAMETER: Final = re.compile(
    r"""\s*(?:[\w ]+?[ *])?(?P<name>\w+): (?P<value>-?(?:0x)?[0-9a-f]{1,16})"""
    r"""(?: \([^()]*\))?(?:\s*(?P<text>"(?:[^"\\]|\\.)*"(?:\.\.\.)?))?\s*(?:,|$)""",
    re.ASCII,
)
_NAME: Final = re.compile(r"[\w:.-]{1,80}", re.ASCII)
_HEADER: Final = re.compile(r"#|cpus=\d+|version = |CPU \d+ is empty|##### CPU", re.ASCII)
_FRAME: Final = re.compile(r"\s+[0-9a-f]{1,16} .*\(.*\)\s*$| => ", re.ASCII)
#: Numbers of calls that place memory, by the architectures whose tables differ most.
_PLACING: Final = ("mmap", "mmap2", "mremap", "brk")
_GUESSED: Final = ("x86_64", "aarch64", "i686", "ppc64le", "mips64", "sparc64")


class Tracepoints(Halves):
    """Tells the lines of either program. Without thread groups, those with a name are one."""

    def __init__(self, machine: LogMachine, head: Sequence[str]) -> None:
        arch = machine.arch or _guessed(head)
        super().__init__(LogMachine(arch, machine.page_size))
        self._names = syscalls.names(arch)

    def tell(self, line: str) -> Told:
        """See Teller."""
        if not line.strip():
            return Passed("blank")
        found = _match(line)
        if found is None:
            return self._other(line)
        event, tid = found["event"], found["tid"]
        if "sys_" not in event[:24] and not event.startswith("NR "):
            name = _NAME.match(event)
            return Passed(name[0].rstrip(":") if name else "event")
        if tid not in self.groups:
            known = found["tgid"]
            comm = found["comm"] if found["comm"] not in (None, "<...>") else tid  # nobody knows it
            self.groups[tid] = known if known and known.isdecimal() else f"{comm} by name"
        return self._half(event, tid, line)

    def _half(self, event: str, tid: str, line: str) -> Told:
        if raw := _FIELDS.fullmatch(event):
            return self._fields(raw, tid, line)
        if raw := _RAW_EXIT.fullmatch(event):
            name = self._named(raw["number"])
            return self.returns(tid, name, result_of(int(raw["result"]), name))
        if raw := _RAW_ENTER.fullmatch(event):
            name = self._named(raw["number"])
            values = [int(part, 16) for part in raw["args"].split(", ") if part]
            return self.begins(tid, name, registers(name, values))
        if done := _EXIT.fullmatch(event):
            name = _plain(done["name"] or done["ftrace"])
            return self.returns(tid, name, result_of(integer(done["result"]), name))
        if begun := _ENTER.fullmatch(event):
            name = _plain(begun["name"] or begun["ftrace"])
            return self._named_call(tid, name, begun["args"] or begun["rest"] or "", line)
        what = "not a system call's tracepoint (expected sys_enter: NR …, or sys_mmap(…))"
        return Wrong(what, len(line) - len(event))

    def _fields(self, raw: re.Match[str], tid: str, line: str) -> Told:
        """A line of fields as their other spelling."""
        event, rest, name = raw["event"], raw["rest"], raw["event"][:-1]
        if array := _ARRAY.fullmatch(rest):
            data = bytes.fromhex(array["bytes"].replace(", ", ""))
            size = len(data) // _REGISTERS
            order: Literal["big", "little"] = (
                "big" if self.machine.arch in _HIGH_FIRST else "little"
            )
            values = [
                int.from_bytes(data[i : i + size], order) for i in range(0, size * _REGISTERS, size)
            ]
            listed = ", ".join(f"{value:x}" for value in values)
            return self._half(f"{event} NR {raw['number']} ({listed})", tid, line)
        if rest.startswith("ret="):
            result = f"NR {raw['number']} = {rest[4:]}" if name == "sys_exit" else rest[4:]
            return self._half(f"{event} {result}", tid, line)
        if name == "sys_enter":
            return Wrong("not the fields of a system call", len(line) - len(rest))
        listed = ", ".join(rest.split()).replace("=", ": ")
        return self._half(f"{event} {listed}", tid, line)

    def _named_call(self, tid: str, name: str, text: str, line: str) -> Told:
        if not is_followed(name):
            return self.begins(tid, name, ())
        values: list[int] = []
        texts: dict[int, str] = {}
        at = 0
        while at < len(text.rstrip()):
            found = _PARAMETER.match(text, at)
            if found is None:
                offset = line.find(text) + at
                return Wrong(
                    "not a parameter (expected its name and a number: len: 0x1000)", offset
                )
            if found["text"]:
                texts[len(values)] = found["text"].removesuffix("...")
            values.append(int(found["value"], 16))
            at = found.end()
        arguments = registers(name, values)
        shown = [texts.get(i, argument) for i, argument in enumerate(arguments)]
        return self.begins(tid, name, shown)

    def _other(self, line: str) -> Told:
        if loss := self.loss(line):
            return loss
        if _HEADER.match(line):
            return Passed("header")
        if _FRAME.match(line):
            return Passed("stack")
        what = "not a line of a tracepoint (expected TASK-PID [CPU] TIME: EVENT)"
        return Wrong(what, len(line) - len(line.lstrip()))

    def _named(self, number: str) -> str:
        return self._names.get(int(number), f"syscall_{number.replace('-', 'n')}")


def _match(line: str) -> re.Match[str] | None:
    return _FTRACE.fullmatch(line) or _PERF.fullmatch(line) or _PERF_LESS.fullmatch(line)


def _plain(name: str) -> str:
    """The call that the tracepoint *name* is of; mmap_pgoff counts pages as mmap2 does."""
    return {"newuname": "uname", "mmap_pgoff": "mmap2"}.get(name, name)


def _guessed(lines: Sequence[str]) -> str:
    """Whose numbers those are that placed memory."""
    placed: dict[int, int] = {}
    for line in lines:
        done = _RAW_EXIT.search(line)
        if done is not None and int(done["result"]) >= 1 << 16:
            number = int(done["number"])
            placed[number] = placed.get(number, 0) + 1
    score = {
        arch: sum(placed.get(syscalls.numbers(arch).get(name, -1), 0) for name in _PLACING)
        for arch in _GUESSED
    }
    return max(_GUESSED, key=lambda arch: score[arch])


def _has_calls(lines: Sequence[str], pattern: re.Pattern[str]) -> bool:
    return any(
        (found := pattern.fullmatch(line)) is not None and _CALL.match(found["event"]) is not None
        for line in lines
    )


_CALL: Final = re.compile(
    r"(?:raw_syscalls:|syscalls:)?sys_\w+(?::\s|\(| -> )|NR \d+ (?:\(|= )", re.ASCII
)


def _is_ftrace(lines: Sequence[str]) -> bool:
    return any(line.startswith("# tracer: ") for line in lines) or _has_calls(lines, _FTRACE)


def _is_perf(lines: Sequence[str]) -> bool:
    return _has_calls(lines, _PERF) or _has_calls(lines, _PERF_LESS)


FTRACE: Final = retold(
    "ftrace", "the text of ftrace",
    "trace-cmd record -e raw_syscalls -F -c COMMAND; trace-cmd report > LOG",
    _is_ftrace, Tracepoints,
)  # fmt: skip
PERF_SCRIPT: Final = retold(
    "perf-script", "the text of perf script",
    "perf record -e 'raw_syscalls:*' COMMAND; perf script -F +pid > LOG",
    _is_perf, Tracepoints,
)  # fmt: skip
