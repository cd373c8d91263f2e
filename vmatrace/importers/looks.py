"""What an input looks like that is neither a trace nor of a known format, for the error about it.

Knows how other files of the trade begin. Also which text is a trace, with whatever is wrong in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import islice, pairwise
from typing import Final, NamedTuple

from vmatrace.diagnostic import quoted
from vmatrace.snapshots import is_snapshot
from vmatrace.trace.yamlstream import is_collection

_TRACE_KEY: Final = re.compile(r"""\s*\{?\s*["']?vmatrace["']?[ \t]*:(?:\s|$)""")
_EVENTS: Final = re.compile(r"""["']?events["']?[ \t]*:\s*(?:#.*)?$""")
#: A key at the start of a line, or of a mapping in braces.
_TOP_KEY: Final = re.compile(r"""\{?\s*["']?([\w-]{4,20})["']?[ \t]*(?::|$)""")
_TOP_EVENTS: Final = re.compile(r"""\{?\s*["']?events["']?[ \t]*:""")
#: An event as no other YAML has one; looked for in so many lines.
_EVENT: Final = re.compile(
    r"""[-\[,{] *["']?(?:[\w.]+ = )?(?:\{?call["']?: |\{?expect["']?:|"""
    r"""(?:mmap|munmap|mprotect|mremap|madvise|brk|prctl|fault|fork|clone|execve|exit)\()"""
)
_ITEMS: Final = 200
#: How YAML starts that is no plain text: a key, a list, JSON.
_YAML_START: Final = re.compile(r"""[\[{]|- |---\s*$|["']?[\w.-]+["']?[ \t]*:(?:\s|$)""")


class Look(NamedTuple):
    """What an input is, and what is to be done with it where another was expected; both in words.

    ``kind`` is "program", "core", "saved" (an answer of vmatrace's), "samples" or "snapshot", of
    which there is more to ask; else empty.
    """

    what: str
    then: str = ""
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.what} ({self.then})" if self.then else self.what


_SQLITE: Final = b"SQLite format 3\0"
#: By the first bytes: what a binary file is, and what is to be done with it.
_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"PERFILE2", "data of perf record (expected text: perf script, or perf trace)"),
    (b"tracing", "data of trace-cmd (expected text: trace-cmd report)"),
    (b"\xd4\xc3\xb2\xa1", "a packet capture"),
    (b"PK\x03\x04", "a zip archive (expected what is in it)"),
    (b"BZh", "compressed with bzip2 (expected gzip, xz, zstd, or text)"),
    (b"\x04\x22\x4d\x18", "compressed with lz4 (expected gzip, xz, zstd, or text)"),
    (b"7z\xbc\xaf", "a 7z archive (expected what is in it)"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "an image"),
    (_SQLITE, "a database of SQLite"),
)
#: What a file of samples has as its application_id, and where SQLite keeps that.
SAMPLES_ID: Final = b"VMAS"
_ID: Final = slice(68, 72)
_SAMPLES: Final = Look(
    "samples of a process (audit --every)", "vmatrace report, diff and audit read it", "samples"
)
_LOG_IT: Final = "expected a log of it: strace -f -y -o LOG PROGRAM"
_ELF: Final = {
    4: Look("a core file", "expected its memory map as text, which audit reads", "core"),
    2: Look("a program", _LOG_IT, "program"),
    3: Look("a program or shared library", _LOG_IT, "program"),
    1: Look("an object file"),
}
_AUDIT: Final = "vmatrace audit reads it; in a trace it stands under maps:"
_SNAPSHOT: Final = "a snapshot of a process, without calls"
#: By a line of the text, the first that matches: what it is.
_TEXT: Final[tuple[tuple[re.Pattern[str], Look], ...]] = tuple(
    (re.compile(pattern), look if isinstance(look, Look) else Look(look))
    for pattern, look in (
        (r'\s*\{\s*"format"\s*:\s*"vmatrace-',
         Look("a saved answer of vmatrace", "a side for diff", "saved")),
        (r'.*"MESSAGE"\s*:.*"__REALTIME', "the journal as JSON (expected journalctl -o cat)"),
        (r"__CURSOR=", "the journal's export format (expected journalctl -o cat)"),
        (r"\s*Address\s+Perm\s", Look("the output of pmap", "vmatrace audit reads it", "snapshot")),
        (r"\s*Address\s+Kbytes\s", "the output of pmap (vmatrace audit reads pmap -XX)"),
        (r"memory map \(\d+ entr",
         Look("an Android tombstone", "vmatrace audit reads its memory map", "snapshot")),
        (r"% time +seconds +usecs/call|-+ -+ -+ -+ -+ -+$",
         "strace's table of counts (-c), which has no calls (expected a log without -c, or -C)"),
        (r"\s+\d+\.\d+ \(.*\): .*(?:min|maj)fault ",
         "page faults of perf trace, without calls (expected it without -F)"),
        (r"\s*Summary of events:",
         "a summary of perf trace, which has no calls (expected it without -s, or with -S)"),
        (r"(?:.*\s)?(?:\d+\.\d+:\s+)?(?:raw_)?syscalls:sys_(?:enter|exit)\w*: ",
         "perf script without threads (expected -F comm,pid,tid,time,event,trace)"),
        (r".*\s\d+\s+(?:\[\d+\]\s+)?\d+\.\d+:\s+[a-z]\w*: 0x[0-9a-f]{8}",
         "perf script without the names of events (expected -F +event)"),
        (r'\{"type": "(?:attached_probes|printf|map|lost_events|time)", "data": ',
         "the output of bpftrace -f json (expected it as text, without -f)"),
        (r"Attaching \d+ probes?\.\.\.",
         "the output of bpftrace (expected that of `vmatrace import --script bpftrace`)"),
        (r"\s*\d+ +\S+ +(?:CALL|RET|NAMI|PSIN) ", "a log of ktrace (BSD)"),
        (r"(?:\d+: )?\w+\(.*\)\s+(?:= -?\d+ \(0x[0-9a-f]+\)|ERR#\d+)", "a log of truss"),
        (r"SYSCALL\(args\)\s+= return|\s*PID/THRD\s+", "a log of dtruss (macOS)"),
        (r"(?:\[pid \d+\] |\d+ )?(?:[\d:.]+ )?(?:\[0x[0-9a-f]+\] )?SYS_\w+\(",
         "a log of ltrace -S, which shows four arguments of mmap (expected strace)"),
        (r"(?:\[pid \d+\] |\d+ )?(?:[\d:.]+ )?(?:__libc_start_main|[\w.+-]+->\w+|\w+@[\w.+-]+)\(",
         "a log of ltrace, which has calls of libraries (expected strace)"),
        (r"(?:r\d+ = )?[a-z]\w*(?:\$\w+)?\(.*&\(0x7f[0-9a-f]+",
         "a program of syzkaller (expected a log of it: strace -f -o LOG syz-execprog …)"),
        (r".*\)\s+=3D (?:0|-1|0x)",
         "a log in quoted-printable (expected it decoded: python3 -m quopri -d)"),
        (r"==\d+==", "a report of Valgrind or a sanitizer"),
        (r"type=SYSCALL msg=audit\(", "the log of auditd, which lacks arguments of mmap"),
        (r"(?:\(gdb\)|#\d+ +0x[0-9a-f]+ in )", "a session of gdb"),
        (r"(?i)<!doctype html|<html", "a page in HTML (expected the text itself)"),
        (r"\{.*\}\s*$", "JSON (expected a trace: {\"vmatrace\": 1, \"events\": […]})"),
    )
)  # fmt: skip
#: A call with its result behind something else on the line.
_BEHIND: Final = re.compile(
    r"(?P<prefix>.{1,80}?)\b(?:mmap2?|munmap|mprotect|brk|madvise|mremap|execve|openat)"
    r"\([^()]*\)\s+= (?:0|-1|0x)"
)


def is_trace(lines: Sequence[str]) -> bool:
    """Whether text that starts with *lines* is meant for a trace, whatever is wrong in it."""
    if any(map(_TRACE_KEY.match, lines)):
        return True
    return any(
        _EVENTS.match(line) and following.lstrip().startswith("-")
        for line, following in pairwise(lines)
    )


def is_database(path: str) -> bool:
    """Whether the file at *path* is one of SQLite, as files of samples are."""
    try:
        if not os.path.isfile(path):
            return False  # what is read from a pipe is gone
        with open(path, "rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except (OSError, ValueError):
        return False


#: So many bytes of a file say whether it is meant for a trace.
HEAD: Final = 1 << 20


def is_meant(data: bytes) -> bool:
    """Whether the content *data* of a file among others' YAML is meant for a trace.

    That is so if it has the key of traces, or one nearly like it, at the start of a line, or events
    that are calls, or expectations; whatever is wrong in it beside that, and in any encoding.
    """
    data = data.replace(b"\0", b"").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")
    lines = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").splitlines()
    keys = {match[1] for match in map(_TOP_KEY.match, lines) if match}
    if "vmatrace" in keys or get_close_matches("vmatrace", keys, 1, 0.8):
        return True
    start = next((i for i, line in enumerate(lines) if _TOP_EVENTS.match(line)), None)
    items = () if start is None else islice(lines, start, start + _ITEMS)
    return any(_EVENT.search(line) for line in items)


def starts_as_yaml(lines: Sequence[str]) -> bool:
    """Whether the first line that is no comment may be YAML's."""
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    return _YAML_START.match(first) is not None


def is_yaml(lines: Sequence[str], cut: bool) -> bool:
    """Whether text that starts with *lines* is YAML, and more than a word: that is no log.

    *cut*: the text goes on.
    """
    if not starts_as_yaml(lines):
        return False
    return is_collection("\n".join(lines).encode("utf-8", "surrogatepass"), cut)


def what(start: bytes, lines: Sequence[str]) -> Look | None:
    """What an input looks like that starts with the bytes *start*, the text *lines*; None: nothing.

    For a message: "it looks like …".
    """
    if start.startswith(b"\x7fELF") and len(start) > 17:
        return _ELF.get(start[16] or start[17], Look("a binary file"))
    if start.startswith(_SQLITE) and start[_ID] == SAMPLES_ID:
        return _SAMPLES
    for magic, name in _MAGIC:
        if start.startswith(magic):
            return Look(name)
    if b"\0" in start[:512]:
        return Look("a binary file")
    for pattern, look in _TEXT:
        if any(map(pattern.match, lines)):
            return look
    return Look(_SNAPSHOT, _AUDIT, "snapshot") if is_snapshot(list(lines)) else None


def behind(lines: Sequence[str]) -> str | None:
    """As what(): a log of strace's whose lines start with something that nobody knows."""
    for line in lines:
        found = _BEHIND.match(line)
        if found is not None:
            before = quoted(found["prefix"])
            return f"a log of strace with {before} before its calls (expected it cut off)"
    return None
