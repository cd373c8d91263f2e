"""The text of perf trace, which prints calls with the kernel's names of their parameters.

Knows that it leaves out what is zero, cuts the prefixes of constants off, and breaks a call in two
where another one comes between. Source: tools/perf/builtin-trace.c, perf 4.9 to 6.18.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from vmatrace.calls import CALLS
from vmatrace.importers.retold import (
    Halves,
    Passed,
    Told,
    Wrong,
    retold,
    text_of,
)

#: Since the start, and how long.
_TIME: Final = r"\s*(?:[0-9.]{1,30}|\?)\s+\(\s*(?:[0-9.]{1,20}\s*ms|\?)?\s*\):\s+"
_LINE: Final = re.compile(
    rf"{_TIME}(?:(?:.{{1,16}}?/)?(?P<tid>\d{{1,7}})\s)?\s*(?P<rest>.*)", re.ASCII
)
_CALL: Final = re.compile(r"(?P<name>[a-z_]\w*)\((?P<args>.*)\)\s+= ?(?P<result>.*)", re.ASCII)
_BROKEN: Final = re.compile(r"(?P<name>[a-z_]\w*)\((?P<args>.*)\)?\s+\.\.\.\s*", re.ASCII)
_CONTINUED: Final = re.compile(
    r"\s*\.\.\. ?\[continued\]: (?P<name>[a-z_]\w*)\(\)\)?\s+= ?(?P<result>.*)", re.ASCII
)
_RESULT: Final = re.compile(r"(?P<value>-?\d{1,20}|0x[0-9a-f]{1,16})(?P<rest> .*)?", re.ASCII)
_ARGUMENT: Final = re.compile(
    r"\s*(?P<name>\w+): ?(?P<value>(?:\"(?:[^\"\\]|\\.)*\"(?:\.\.\.)?"
    r"|\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}|<[^>]*>"
    r"|\([^()]*\)|\((?![^()]*\))|[^,\"{<(]){0,2000}?)\s*(?:, ?(?=\w+: ?)|,?\s*$)",
    re.ASCII,
)
_OTHER: Final = re.compile(r"\s*(?:[0-9.]{1,30}|\?)\s", re.ASCII)
#: Other lines that options bring, by what they are: --with-summary, --print-sample, --call-graph.
_BESIDE: Final = {
    "summary": re.compile(
        r"\s*(?:Summary of events:|syscall\s+calls|\(msec\)|-{3}|\S+ \(\d+\), "
        r"|[a-z_]\w*(?:\s+[0-9.]+%?){4,8}\s*$|\s+E[A-Z0-9]+: \d+$)",
        re.ASCII,
    ),
    "sample": re.compile(r"\s*(?:raw_)?syscalls:\w+ \d+\.\d+\s.*\d+/\d+ \[\d+\]", re.ASCII),
    "stack": re.compile(r" {30,}\S.* \(\S.*\)\s*$", re.ASCII),
}

#: The kernel's names of the parameters, in order.
FIELDS: Final[dict[str, tuple[str, ...]]] = {
    name: tuple(fields.split())
    for name, fields in {
        "mmap": "addr len prot flags fd off",
        "munmap": "addr len",
        "mprotect": "start len prot",
        "pkey_mprotect": "start len prot pkey",
        "mremap": "addr old_len new_len flags new_addr",
        "madvise": "start len_in behavior",
        "process_madvise": "pidfd vec vlen behavior flags",
        "brk": "brk",
        "mlock": "start len",
        "mlock2": "start len flags",
        "munlock": "start len",
        "mlockall": "flags",
        "munlockall": "",
        "mseal": "start len flags",
        "msync": "start len flags",
        "remap_file_pages": "start size prot pgoff flags",
        "mbind": "start len mode nmask maxnode flags",
        "set_mempolicy_home_node": "start len home_node flags",
        "io_setup": "nr_events ctxp",
        "io_destroy": "ctx",
        "personality": "personality",
        "shmget": "key size shmflg",
        "shmat": "shmid shmaddr shmflg",
        "shmdt": "shmaddr",
        "prctl": "option arg2 arg3 arg4 arg5",
        "ioctl": "fd cmd arg",
        "fork": "",
        "vfork": "",
        "clone": "clone_flags newsp parent_tidptr child_tidptr tls",
        "clone3": "uargs size",
        "execve": "filename argv envp",
        "execveat": "fd filename argv envp flags",
        "exit": "error_code",
        "exit_group": "error_code",
        "open": "filename flags mode",
        "openat": "dfd filename flags mode",
        "openat2": "dfd filename how usize",
        "creat": "pathname mode",
        "memfd_create": "uname flags",
        "close": "fd",
        "close_range": "fd max_fd flags",
        "dup": "fildes",
        "dup2": "oldfd newfd",
        "dup3": "oldfd newfd flags",
        "fcntl": "fd cmd arg",
        "pidfd_open": "pid flags",
        "userfaultfd": "flags",
    }.items()
}
#: The same by other names, of other versions.
_SAME: Final = {
    "length": "len", "offset": "off", "address": "addr", "advice": "behavior", "buf": "filename",
    "uname_ptr": "uname", "request": "cmd", "cmd": "cmd", "flag": "flags", "pathname": "filename",
    "old_address": "addr", "old_size": "old_len", "new_size": "new_len", "new_address": "new_addr",
}  # fmt: skip
#: What perf cuts off the constants of a parameter that is no parameter of CALLS.
_PREFIXES: Final = {
    ("open", "flags"): "O_", ("openat", "flags"): "O_", ("clone", "clone_flags"): "CLONE_",
    ("dup3", "flags"): "O_", ("memfd_create", "flags"): "MFD_", ("fcntl", "cmd"): "F_",
    ("userfaultfd", "flags"): "O_", ("close_range", "flags"): "CLOSE_RANGE_",
}  # fmt: skip
#: The number of an ioctl where perf has no name for it: direction, type, number, size.
_IOCTL: Final = re.compile(r"\((\S+), (0x[0-9a-f]+), (0x[0-9a-f]+|0), (0x[0-9a-f]+|0)\)", re.ASCII)
_STRINGS: Final = ("filename", "pathname", "uname")
_WORD: Final = re.compile(r"[A-Z_][A-Z0-9_]*", re.ASCII)


class PerfTrace(Halves):
    """Tells the lines of one."""

    def tell(self, line: str) -> Told:
        """See Teller."""
        if not line.strip():
            return Passed("blank")
        found = _LINE.fullmatch(line)
        if found is None:
            return self._other(line)
        tid, rest = found["tid"] or "", found["rest"]
        if done := _CONTINUED.fullmatch(rest):
            return self._told(self.returns(tid, done["name"], _result(done["result"])))
        if whole := _CALL.fullmatch(rest):
            arguments = _arguments(whole["name"], whole["args"])
            if arguments is None:
                return Wrong("not the arguments of the call", found.start("rest"))
            result = _result(whole["result"])
            return f"{tid} {whole['name']}({', '.join(arguments)}) = {result}".lstrip()
        if broken := _BROKEN.fullmatch(rest):
            arguments = _arguments(broken["name"], broken["args"].rstrip(") "))
            if arguments is None:
                return Wrong("not the arguments of the call", found.start("rest"))
            return self._told(self.begins(tid, broken["name"], arguments))
        if "(" not in rest or re.match(r"(?:min|maj)fault |[\w-]+:\w+\(", rest):
            return Passed(rest.split(" ")[0].split("(")[0][:40] or "blank")
        what = "the line is cut (expected ' = ' and a result, or ' ...')"
        return Wrong(what, found.start("rest"))

    @staticmethod
    def _told(said: Told) -> Told:
        return said.lstrip() if isinstance(said, str) else said

    def _other(self, line: str) -> Told:
        if loss := self.loss(line):
            return loss
        for kind, pattern in _BESIDE.items():
            if pattern.match(line):
                return Passed(kind)
        what = "not a line of perf trace (expected TIME (DURATION ms): COMM/TID call(…) = RESULT)"
        return Wrong(what, len(line) - len(line.lstrip()))


def _result(text: str) -> str:
    """A result as strace prints it, without the name of the process that it is."""
    text = text.strip()
    found = _RESULT.fullmatch(text)
    if found is not None and not text.startswith("-"):
        return found["value"]
    return text or "0"


def _arguments(name: str, text: str) -> list[str] | None:
    """The arguments of call *name*, None where *text* is none."""
    fields = FIELDS.get(name)
    if fields is None:
        return [text]
    given: dict[str, str] = {}
    at = 0
    while at < len(text.rstrip()):
        found = _ARGUMENT.match(text, at)
        if found is None or found.end() == at:
            return None
        given[found["name"]] = found["value"].strip()
        at = found.end()
    named = {key if key in fields else _SAME.get(key, key): value for key, value in given.items()}
    if "addr" in named and "start" in fields:
        named["start"] = named.pop("addr")
    if not named.keys() <= set(fields):
        return None
    if name == "mmap" and "fd" not in named and "ANON" in named.get("flags", ""):
        named["fd"] = "-1"
    last = len(fields)
    if name in ("mremap", "prctl"):  # what follows is optional
        last = max((fields.index(key) for key in named), default=0) + 1
        last = max(last, 4 if name == "mremap" else 1)
    return [_value(name, i, field, named.get(field, "0")) for i, field in enumerate(fields[:last])]


def _value(name: str, index: int, field: str, value: str) -> str:
    if field in _STRINGS:
        is_text = not value.startswith('"') and not value[:1].isdigit()
        return text_of(value) if is_text and value != "NULL" else value
    if parts := _IOCTL.fullmatch(value):
        kind, number, size = (int(part, 16) for part in parts.group(2, 3, 4))
        way = ("WRITE" in parts[1]) | ("READ" in parts[1]) << 1
        return hex(way << 30 | size << 16 | kind << 8 | number)
    if field == "dfd":
        return "AT_FDCWD" + value[3:] if value.startswith("CWD") else value
    prefix = _PREFIXES.get((name, field))
    call = CALLS.get(name)
    if prefix is None and call is not None and index < len(call.params):
        families = call.params[index].families
        prefix = families[0] if families else None
    if prefix is None:
        return value
    return "|".join(_whole_name(part.strip(), prefix) for part in value.split("|"))


def _whole_name(word: str, prefix: str) -> str:
    return prefix + word if _WORD.fullmatch(word) and not word.startswith(prefix) else word


def _looks(lines: Sequence[str]) -> bool:
    return any(
        (found := _LINE.fullmatch(line)) is not None
        and any(p.fullmatch(found["rest"]) for p in (_CALL, _CONTINUED, _BROKEN))
        for line in lines
    )


FORMAT: Final = retold(
    "perf-trace", "a log of perf trace", "perf trace -o LOG COMMAND", _looks, PerfTrace
)
