"""One line of a strace log: its prefix, its kinds, and the result behind its call.

Knows every spelling that strace has for these; knows no call and keeps no state.
Sources: strace(1), print_leader(), printleader() and syscall_exiting_trace() of strace 4.x to 6.x.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

#: More than any pid: PID_MAX_LIMIT of 64-bit kernels. A larger number at the start is a time.
_PID_MAX: Final = 4194304

_TIME: Final = r"(?:\d{1,2}:\d\d:\d\d(?:\.\d+)?|\d+\.\d+|\d{8,})"
#: pid in brackets or bare, with the name of its process (-Y) and its number inside (pidns); -t,
#: -tt, -ttt or -r; -r beside one of them; -n; -i.
_PREFIX: Final = re.compile(
    r"\s*(?:\[pid\s+(?P<pid>\d+)(?:<[^>]*>)?(?: /\*.*?\*/)?\]\s+"
    r"|(?P<bare>\d{1,7})(?:<[^>]*>)?(?: /\*.*?\*/)?\s+)?"
    rf"(?P<time>{_TIME}\s+)?(?:\(\+\s*\d+\.\d+\)\s+)?"
    r"(?:\[\s*\d+\]\s+)?(?:\[\s*(?:[0-9a-f]{8,16}|\?{8,16})\]\s+)?"
)
_CALL: Final = re.compile(r"([a-z_][a-z0-9_]*)\(")
_WHOLE: Final = re.compile(
    r"[a-z_][a-z0-9_]*\(.*(?:\)\s+=\s+(?:\?|-?\d|0x[0-9a-f])|<unfinished \.\.\.>|<detached \.\.\.>"
    r"|strace: Process \d+ attached)"
)
_RESUMED: Final = re.compile(r"<\.\.\. (?:([a-z_][a-z0-9_]*) )?resumed>(?: (?=\)))?")
_ATTACHED: Final = re.compile(r"strace: Process (\d+) attached(?: with (\d+) threads)?\Z")
_SUMMARY: Final = re.compile(
    r"% time +seconds|-{6} -{8,}|\s*\d+\.\d+ +\d+\.\d+ +\d* +\d+ |System call usage summary"
)
_SPENT: Final = re.compile(r" <\d+\.\d+>\Z")
#: ``= 12``, ``= 0xc`` (-e raw), ``= 12<name>`` (-Y), ``= 2 /* 12 in strace's PID NS */``
_CHILD: Final = re.compile(
    r" = (0x[0-9a-f]{1,8}|\d{1,10})(?:<[^>]*>)?(?: /\* (\d{1,10}) in strace's PID NS \*/)?\Z"
)
_SUPERSEDED: Final = re.compile(r"\+\+\+ superseded by execve in pid (\d{1,10})")
_EXITED: Final = re.compile(r"\+\+\+ exited with (\d{1,9}) ")
_COMMENT: Final = re.compile(r" ?/\*.*?\*/")
_FRAME: Final = re.compile(r" > (?P<file>.*?)\((?P<symbol>.*)\+0x[0-9a-f]+\) \[0x[0-9a-f]+\]")
_BARE_FRAME: Final = re.compile(r" > (?P<file>.*?)\(\) \[0x[0-9a-f]+\]")
#: Where a call passes through on its way to the kernel.
_WRAPPERS: Final = re.compile(r"(?:libc|ld|libpthread|ld-linux[\w-]*|ld-musl[\w-]*)[-.]|linux-vdso")

UNFINISHED: Final = " <unfinished ...>"
DETACHED: Final = " <detached ...>"


class Line(NamedTuple):
    """A line without its prefix. ``number`` is the pid it states; ``text`` is all that follows."""

    number: str | None
    bracket: bool
    text: str


def prefix(text: str) -> Line | None:
    """The prefix that is the whole of *text*; None where it is none. Line.text is its time."""
    match = _PREFIX.fullmatch(text)
    if match is None:
        return None
    return Line(*_number(match), match["time"] or "")


def taken_apart(text: str) -> Line:
    """The line *text* and its prefix, which may be empty."""
    match = _PREFIX.match(text)
    assert match is not None
    return Line(*_number(match), text[match.end() :])


def is_pid(number: str) -> bool:
    """Whether a process can have that pid."""
    return number.isdecimal() and len(number) <= 7 and 0 < int(number) <= _PID_MAX


def time_of(text: str) -> str:
    """The time with which the line starts; empty without one."""
    match = _PREFIX.match(text)
    return (match["time"] or "").strip() if match else ""


def _number(match: re.Match[str]) -> tuple[str | None, bool]:
    number = match["pid"] or match["bare"]
    return (number.lstrip("0") or "0") if number else None, match["pid"] is not None


def call_name(text: str) -> str | None:
    """The name of the call that *text*, a line without prefix, starts with."""
    match = _CALL.match(text)
    return match[1] if match else None


def is_whole(text: str) -> bool:
    """Whether *text* is a call as strace prints it, to its result or to its interruption."""
    return _WHOLE.match(text) is not None


def resumed(text: str) -> tuple[str | None, str] | None:
    """Of the second half of a call: its name, where that is said, and what follows."""
    match = _RESUMED.match(text)
    return (match[1], text[match.end() :]) if match else None


def attached(text: str) -> re.Match[str] | None:
    """Strace's announcement at the end of *text*: group 1 the pid, 2 how many threads."""
    return _ATTACHED.search(text)


def is_cut(text: str) -> bool:
    """Whether strace's announcement interrupts a line, which the next one continues."""
    match = attached(text) if text.endswith((" attached", " threads")) else None
    return match is not None and match.start() > 0


def chatter(line: str, text: str) -> str | None:
    """What kind of line this is, where it is nothing that the traced program did.

    *text* is *line* without its prefix.
    """
    if not text:
        return "blank"
    if text.startswith("--- "):
        return "signal"
    if text.startswith(("strace: ", "[ Process PID=", "[ Process ")):
        return "strace's messages"
    return "summary" if _SUMMARY.match(line) else None


def cleaned(text: str) -> str:
    """A whole call without what surrounds it: time spent, padding, notes of tampering."""
    if text[-1] == ">":
        text = _SPENT.sub("", text)
    text = text.removesuffix(" (DELAYED)")
    at = text.rfind(")  ")
    if at < 0:
        return text
    result = text[at + 1 :].lstrip(" ")
    padded = result[:2] == "= " and '"' not in result  # and not the end of a string
    return f"{text[: at + 1]} {result}" if padded else text


def is_injected(text: str) -> bool:
    """Whether strace answered the call instead of the kernel."""
    return text.endswith(" (INJECTED)")


def child(text: str) -> str | None:
    """The number of the process that a birth made, as the log has it; None where it made none."""
    match = _CHILD.search(text)
    if match is None:
        return None
    pid = number(match[2] or match[1])
    return str(pid) if 0 < pid <= _PID_MAX else None


def number(text: str) -> int:
    """The value of decimal or 0x digits; zeros may lead, which Python's own base 0 refuses."""
    return int(text, 16 if text.startswith("0x") else 10)


def superseding(text: str) -> str | None:
    """The thread that takes this one's place by an exec; None for every other end."""
    match = _SUPERSEDED.match(text)
    return match[1] if match else None


def exit_status(text: str) -> int | None:
    """Of a line about an end: the status, None for a signal."""
    match = _EXITED.match(text)
    return int(match[1]) if match else None


def split(text: str) -> tuple[str, str]:
    """Of a whole call: what is between its parentheses, and its result."""
    body, _, result = text.rpartition(" = ")
    return body.rstrip()[body.find("(") + 1 : -1], result


def without_comments(text: str) -> str:
    """*text* without the comments of -X verbose."""
    return _COMMENT.sub("", text) if "/*" in text else text


def frame(text: str) -> tuple[str, bool] | None:
    """A line of a stack as ``file(symbol)``, and whether it is of the C library or the loader."""
    match = _FRAME.match(text) or _BARE_FRAME.match(text)
    if match is None:
        return None
    file = match["file"].rpartition("/")[2]
    symbol = match.groupdict().get("symbol")
    return (f"{file}({symbol})" if symbol else file), _WRAPPERS.match(file) is not None


# --- recognising a log ----------------------------------------------------------------------------


def looks_like_log(lines: list[str]) -> bool:
    """Whether some of *lines* is one that only strace prints, and none starts a trace file."""
    if any(line.startswith(("vmatrace:", '"vmatrace"', "{")) for line in lines):
        return False
    return any(_is_strace(taken_apart(line).text) for line in lines)


def _is_strace(text: str) -> bool:
    return (
        is_whole(text) or resumed(text) is not None or text.startswith(("+++ exited", "+++ kill"))
    )


def options(lines: list[str]) -> str:
    """The options that strace was given, as far as *lines* show them: ``-f -tt -T``."""
    found: list[str] = []

    def note(option: str, when: bool) -> None:
        if when and option not in found:
            found.append(option)

    for line in lines:
        match = _PREFIX.match(line)
        assert match is not None
        time = (match["time"] or "").strip()
        note("-f", bool(match["pid"]))
        note("-f -o", bool(match["bare"]))
        note("-t", bool(re.fullmatch(r"[\d:]+", time)) and ":" in time)
        note("-tt", ":" in time and "." in time)
        note("-ttt", bool(re.fullmatch(r"\d{8,}(\.\d+)?", time)))
        note("-r", "(+" in match[0] or bool(re.fullmatch(r"\d{1,7}\.\d+", time)))
        note("-n", bool(re.search(r"\[\s*\d{1,4}\] ", match[0])))
        note("-i", bool(re.search(r"\[([0-9a-f]{16}|\?{16})\] ", match[0])))
        note("-Y", bool(re.match(r"\s*(\[pid\s+)?\d+<", match[0])))
        text = line[match.end() :]
        note("-T", bool(_SPENT.search(text)))
        note("-y", bool(re.search(r"\b\d+</", text)))
        note("-k", frame(line) is not None)
        note("-X verbose", bool(re.match(r"\w+\(.*0x[0-9a-f]+ /\* [A-Z_]+(\||[ ]\*/)", text)))
        raw = re.match(r"mmap\((NULL|0x[0-9a-f]+|0), \w+, 0x", text)
        note("-X raw", raw is not None and "/*" not in text)
    return " ".join(found)
