"""The output of a bpftrace script that this module writes: script().

Knows the form of its lines, which carry system calls by number: the script needs none of the
tracepoints that only some kernels have, and its first line says whose numbers they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from vmatrace import syscalls
from vmatrace.calls import ALIASES, BIRTHS, EXECS, used_by
from vmatrace.importers.machine import LogMachine
from vmatrace.importers.retold import (
    Halves,
    LogHeader,
    Passed,
    Told,
    Wrong,
    registers,
    result_of,
    retold,
    text_of,
)
from vmatrace.structures import format_iovec

_TITLE: Final = "vmatrace bpftrace 1"
_HEADER: Final = re.compile(rf"{_TITLE} (?P<arch>[\w-]{{1,20}})\s*", re.ASCII)
_LINE: Final = re.compile(
    r"(?P<tgid>\d{1,7}) (?P<tid>\d{1,7}) (?:> (?P<begun>\d{1,5})(?P<args>(?: [0-9a-f]{1,16}){6})"
    r"(?: \+ (?P<more>[0-9a-f]{1,16}) (?P<length>[0-9a-f]{1,16}))?(?: \"(?P<text>.*)\")?"
    r"|< (?P<done>\d{1,5}) (?P<result>-?\d{1,20})|(?P<end>end))",
    re.ASCII,
)
_MESSAGE: Final = re.compile(
    r"Attach(?:ing|ed) \d+ probes?|(?:ERROR|WARNING|HINT): |@\w*\[|\s*(?:~+|\^+)$|\S+:\d+:\d+",
    re.ASCII,
)
#: Which argument is the address of a path.
_PATHS: Final = {"open": 0, "openat": 1, "openat2": 1, "creat": 0, "memfd_create": 0, "execve": 0,
                 "execveat": 1}  # fmt: skip
#: Descriptors: what makes, copies and closes them.
_DESCRIPTORS: Final = (
    "open", "openat", "openat2", "creat", "memfd_create", "memfd_secret", "userfaultfd",
    "pidfd_open", "close", "close_range", "dup", "dup2", "dup3", "fcntl", "shmget",
)  # fmt: skip

_SCRIPT: Final = """\
/*
 * {title} {arch}: the calls of a program, of its threads and of what it forks that
 * matter to memory.
 *
 *   vmatrace import --script bpftrace > vmatrace.bt
 *   sudo bpftrace vmatrace.bt -c COMMAND -o run.log
 *   vmatrace replay run.log
 *
 * COMMAND begins with a path where there are several programs of that name.
 * For a program that runs already, write its pid in place of cpid. Paths of more than 64 bytes
 * need the environment variable BPFTRACE_STRLEN (new versions: BPFTRACE_MAX_STRLEN).
 */
BEGIN
{{
	printf("{title} {arch}\\n");
	@in[(uint64)cpid] = (uint64)1;
{wanted}
}}

tracepoint:sched:sched_process_fork /@in[(uint64)tid]/
{{
	@in[(uint64)args->child_pid] = (uint64)1;
}}

tracepoint:raw_syscalls:sys_enter /@in[(uint64)tid] && @want[(uint64)args->id]/
{{
	$text = (uint64)0;
	$more = (uint64)0;
	$length = (uint64)0;
	$kind = @want[(uint64)args->id];
	if ($kind == 2) {{ $text = args->args[0]; }}
	if ($kind == 3) {{ $text = args->args[1]; }}
	if ($kind == 4 && args->args[0] == 0x53564d41) {{ $text = args->args[4]; }}
	if ($kind == 5) {{ $more = *(uint64 *)uptr(args->args[0]); }}
	if ($kind == 6) {{
		$more = *(uint64 *)uptr(args->args[1]);
		$length = *(uint64 *)uptr(args->args[1] + 8);
	}}
	printf("%d %d > %d %lx %lx %lx %lx %lx %lx", pid, tid, args->id, args->args[0],
		args->args[1], args->args[2], args->args[3], args->args[4], args->args[5]);
	if ($kind > 4) {{ printf(" + %lx %lx", $more, $length); }}
	if ($text) {{ printf(" \\"%s\\"", str($text)); }}
	printf("\\n");
}}

tracepoint:raw_syscalls:sys_exit /@in[(uint64)tid] && @want[(uint64)args->id]/
{{
	printf("%d %d < %d %ld\\n", pid, tid, args->id, args->ret);
}}

tracepoint:sched:sched_process_exit /@in[(uint64)tid]/
{{
	printf("%d %d end\\n", pid, tid);
	delete(@in[(uint64)tid]);
}}

END
{{
	clear(@in);
	clear(@want);
}}
"""


def _kind(name: str) -> int:
    """What the script prints of a call beside its registers ($kind)."""
    if name in _PATHS:
        return 2 + _PATHS[name]
    return {"prctl": 4, "clone3": 5, "process_madvise": 6}.get(name, 1)


def script(arch: str) -> str:
    """The script for *arch*, a key of abi.TASK_SIZES."""
    wanted = {call.name for call in used_by("log")} | {*_DESCRIPTORS, *ALIASES} | BIRTHS | EXECS
    numbers = syscalls.numbers(arch)
    lines = [
        f"\t@want[(uint64){numbers[name]}] = (uint64){_kind(name)}; // {name}"
        for name in sorted(wanted & numbers.keys())
    ]
    return _SCRIPT.format(title=_TITLE, arch=arch, wanted="\n".join(lines))


class BpfTrace(Halves):
    """Tells the lines of one."""

    def __init__(self, machine: LogMachine, head: Sequence[str]) -> None:
        super().__init__(machine)
        self._names = syscalls.names(machine.arch or "x86_64")

    def tell(self, line: str) -> Told:
        """See Teller."""
        found = _LINE.fullmatch(line)
        if found is None:
            return self._other(line)
        tid = found["tid"]
        self.groups.setdefault(tid, found["tgid"])
        if found["end"] is not None:
            return f"{tid} +++ ended +++"
        number = int(found["begun"] or found["done"])
        name = self._names.get(number, f"syscall_{number}")
        if found["done"] is not None:
            return self.returns(tid, name, result_of(int(found["result"]), name))
        values = [int(part, 16) for part in found["args"].split()]
        return self.begins(tid, name, _arguments(name, registers(name, values), values, found))

    def _other(self, line: str) -> Told:
        if loss := self.loss(line):
            return loss
        if not line.strip():
            return Passed("blank")
        if _HEADER.fullmatch(line) or _MESSAGE.match(line):
            return Passed("bpftrace's messages")
        return Wrong("not a line of the script (expected PID TID > NUMBER … or < NUMBER RESULT)")


def _arguments(
    name: str, arguments: list[str], values: Sequence[int], found: re.Match[str]
) -> list[str]:
    more = int(found["more"] or "0", 16)
    if found["text"] and name in _PATHS:  # it is empty where the page was not there yet
        arguments[_PATHS[name]] = text_of(found["text"])
    elif found["text"] and name == "prctl" and len(arguments) > 4:
        arguments[4] = text_of(found["text"])
    elif found["more"] is not None and name == "clone3":
        arguments = [f"{{flags={more:#x}}}"]
    elif found["more"] is not None and name == "process_madvise" and values[2] == 1:
        arguments[1] = format_iovec([(more, int(found["length"], 16))])
    return arguments


def _header(lines: Sequence[str]) -> LogHeader:
    titles = (found["arch"] for line in lines if (found := _HEADER.fullmatch(line)))
    arch = next((name for name in titles if name in syscalls.ARCHES), None)
    return LogHeader(arch=arch)


def _looks(lines: Sequence[str]) -> bool:
    return any(map(_HEADER.fullmatch, lines)) or any(
        found["end"] is None for line in lines if (found := _LINE.fullmatch(line))
    )


FORMAT: Final = retold(
    "bpftrace", "the output of vmatrace's bpftrace script",
    "bpftrace vmatrace.bt -c COMMAND -o LOG (see import --script)",
    _looks, BpfTrace, _header,
)  # fmt: skip
