"""One line of a strace log: its prefix, its kinds, and the result behind its call.

Knows every spelling that strace has for these; knows no call and keeps no state.
Sources: strace(1), print_leader(), printleader() and syscall_exiting_trace() of strace 4.x to 6.x.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

#: More than any pid: PID_MAX_LIMIT of 64-bit kernels. A larger number at the start is a time.
_PID_MAX: Final = 4194304

_TIME: Final = r"(?:[0-9]{1,2}:[0-9][0-9]:[0-9][0-9](?:\.[0-9]+)?|[0-9]+\.[0-9]+|[0-9]{8,})"
#: pid in brackets or bare, with the name of its process (-Y) and its number inside (pidns); -t,
#: -tt, -ttt or -r; -r beside one of them; -n; -i.
_PREFIX: Final = re.compile(
    r"\s*(?:\[pid\s+(?P<pid>[0-9]+)(?:<[^>]*>)?(?: \[[^\[\]]*\])?(?: /\*.*?\*/)?\]\s+"
    r"|(?P<bare>[0-9]{1,7})(?:<[^>]*>)?(?: \[[a-z_][^\[\]]*:[^\[\]]*\])?(?: /\*.*?\*/)?[ ]+)?"
    rf"(?P<time>{_TIME}\s+)?(?:\(\+\s*[0-9]+\.[0-9]+\)\s+)?"
    r"(?:\[\s*[0-9]+\]\s+)?(?:\[\s*(?:[0-9a-f]{8,16}|\?{8,16})\]\s+)?"
)
_CALL: Final = re.compile(r"([a-z_][a-z0-9_]*)\(")
_WHOLE: Final = re.compile(
    r"[a-z_][a-z0-9_]*\(.*(?:\)\s+=\s+(?:\?|-?[0-9]|0x[0-9a-f])|<(?:unfinished|detached) \.\.\.>"
    r"|Process [0-9]+ (?:attached|detached|suspended|resumed)\b)"
)
_RESUMED: Final = re.compile(r"<\.\.\. (?:([a-z_][a-z0-9_]*) )?resumed>(?: (?=\)))?")
#: What strace says of itself goes to where its log goes, also into the middle of a line. The name
#: in front is that by which it was run; strace before 4.20 has none.
_MESSAGE: Final = re.compile(
    r"(?:(?:\A[^\s(\"={},|]*/|(?<!\*)(?=\.{0,2}/)[^\s\"]*/)?strace[\w.+-]*: |\A[^\s(\"={},]+: )?"
    r"Process (?P<pid>[0-9]+) (?:(?P<attached>attached)(?: with (?P<threads>[0-9]+) threads)?"
    r"(?: \(waiting for parent\))?|detached|suspended|resumed(?: \(parent [0-9]+ ready\))?)"
    r"(?: - interrupt to quit)?\s*\Z"
)
_OTHER_MESSAGE: Final = re.compile(
    r"(?:[^\s(\"={},|]*/)?strace[\w.+-]*: |\[ Process |\[\S* Process PID=|Exit of unknown pid "
)
_SUMMARY: Final = re.compile(
    r"% time +seconds|-{6} -{8,}|System call usage summary"
    r"|\s*[0-9]+\.[0-9]+ +[0-9]+\.[0-9]+ +[0-9]* +[0-9]+ "
)
_SPENT: Final = re.compile(r" <[0-9]+\.[0-9]+>\Z")
#: ``= 12``, ``= 0xc`` (-e raw), ``= 12<name>`` (-Y), ``= 2 /* 12 in strace's PID NS */``
_CHILD: Final = re.compile(
    r" = (0x[0-9a-f]{1,8}|[0-9]{1,10})(?:<[^>]*>)?(?: /\* ([0-9]{1,10}) in strace's PID NS \*/)?\Z"
)
_SUPERSEDED: Final = re.compile(r"\+\+\+ superseded by execve in pid ([0-9]{1,10})")
_A_WORD: Final = re.compile(r"\w{1,200}")
_FIRST: Final = re.compile(r"\w+\((0x[0-9a-f]{1,16}|[0-9]{1,10})\b")
_EXITED: Final = re.compile(r"\+\+\+ exited with ([0-9]{1,9}) ")
_DEAD: Final = re.compile(r"si_code=CLD_(?:EXITED|KILLED|DUMPED), si_pid=([0-9]{1,7})\b")
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
    return (
        number.isascii() and number.isdecimal() and len(number) <= 7 and 0 < int(number) <= _PID_MAX
    )


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


def message(text: str) -> re.Match[str] | None:
    """What strace says of a process at the end of *text*, in groups: pid, attached, threads."""
    return _MESSAGE.search(text) if "Process " in text else None


def is_cut(text: str) -> bool:
    """Whether strace's message interrupts a line, which the next one continues."""
    found = message(text)
    return found is not None and found.start() > 0


def is_message(text: str) -> bool:
    """Whether the line *text* is such a message and nothing else."""
    found = message(text)
    return found is not None and found.start() == 0


def chatter(line: str, text: str) -> str | None:
    """What kind of line this is, where it is nothing that the traced program did.

    *text* is *line* without its prefix.
    """
    if not text:
        return "blank"
    if text.startswith("--- "):
        return "signal"
    if _OTHER_MESSAGE.match(text) or is_message(text):
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


def is_unanswered(text: str) -> bool:
    """Whether strace never learned what became of the call (the process ended in it, or worse)."""
    return text.endswith((" = ?", " = ? <unavailable>"))


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


def dead(text: str) -> str | None:
    """The pid of the child that a siginfo in *text* says has ended."""
    match = _DEAD.search(text) if "CLD_" in text else None
    return match[1] if match else None


def number(text: str) -> int:
    """The value of decimal or 0x digits; zeros may lead, which Python's own base 0 refuses."""
    return int(text, 16 if text.startswith("0x") else 10)


def first_number(text: str) -> int | None:
    """The first argument of a call, None where it is no number."""
    match = _FIRST.match(text)
    return number(match[1]) if match else None


def place_in(shown: str, text: str, offset: int) -> int:
    """Where in *shown* the word stands that is at *offset* of *text*, the same in strace's words;
    its first letter where there is none such.
    """
    start = len(shown) - len(shown.lstrip())
    word = _A_WORD.match(text, offset)
    if word is None:
        return start
    before = len(re.findall(rf"\b{re.escape(word[0])}\b", text[:offset]))
    places = [found.start() for found in re.finditer(rf"\b{re.escape(word[0])}\b", shown)]
    return places[min(before, len(places) - 1)] if places else start


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
    return _COMMENT.sub("", text)


def frame(text: str) -> tuple[str, bool] | None:
    """A line of a stack as ``file(symbol)``, and whether it is of the C library or the loader."""
    match = _FRAME.match(text) or _BARE_FRAME.match(text)
    if match is None:
        return None
    file = match["file"].rpartition("/")[2]
    symbol = match.groupdict().get("symbol")
    return (f"{file}({symbol})" if symbol else file), _WRAPPERS.match(file) is not None


# --- names of arguments ---------------------------------------------------------------------------

_NAMED: Final = re.compile(
    r"(?:mmap2?|mprotect|munmap|brk|mremap|madvise)\((?:old_)?addr(?:ess)?="
    r"|(?:open|openat|execve|access|stat)\((?:dirfd|pathname|filename|path)=|(?:close|read|write)\(fd="
)
#: What brackets and quotes hold is no argument of the call itself.
_PIECE: Final = re.compile(
    r'"(?:[^"\\]|\\.)*"|[0-9]<[^>]*>|/\*.*?\*/|[\[{]|[\]}]|(?<=[(,])( ?)[a-z_][a-z0-9_]*=(?!>)'
)


def has_names(lines: Sequence[str]) -> bool:
    """Whether *lines* are of strace -N (--arg-names), which calls arguments by name."""
    return any(_NAMED.match(taken_apart(line).text) for line in lines)


def unnamed(line: str) -> str:
    """*line* without the names of the call's arguments; those in structures stay."""
    if "clone" in line or "=" not in line:
        return line  # there everybody has them
    if "{" not in line and '"' not in line and "<" not in line:
        return _PIECE.sub(r"\1", line) if "[" not in line else _unnamed(line)
    return _unnamed(line)


def _unnamed(line: str) -> str:
    depth = 0
    parts: list[str] = []
    last = 0
    for piece in _PIECE.finditer(line):
        if piece[0] in "[{":
            depth += 1
        elif piece[0] in "]}":
            depth -= 1
        elif piece[1] is not None and not depth:
            parts += line[last : piece.start()], piece[1]
            last = piece.end()
    return "".join(parts) + line[last:]


# --- recognising a log ----------------------------------------------------------------------------


def looks_like_log(lines: Sequence[str]) -> bool:
    """Whether some of *lines* is one that only strace prints."""
    texts = [taken_apart(line).text for line in lines]
    if any(map(_LIBRARY.match, texts)) and not any(map(_KERNEL.match, texts)):
        return False  # ltrace's calls look the same
    if any(map(_LTRACE.match, texts)) or any(map(_DTRUSS.match, lines)):
        return False
    return any(map(_is_strace, texts))


_LIBRARY: Final = re.compile(r"__libc_start_main\(|[a-z][\w.+-]*->\w+\(|\w+@[\w.+-]+\(")
_LTRACE: Final = re.compile(r"SYS_\w+\(")  # of ltrace -S, among calls of libraries
_DTRUSS: Final = re.compile(r"SYSCALL\(args\)\s+= return|\s*PID/THRD\s+SYSCALL")
_KERNEL: Final = re.compile(r"(?:mmap2?|munmap|mprotect|brk|execve|openat|read|write|close)\(.* = ")


def _is_strace(text: str) -> bool:
    return (
        is_whole(text) or resumed(text) is not None or text.startswith(("+++ exited", "+++ kill"))
    )


def options(lines: Sequence[str]) -> str:
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
        note("-t", bool(re.fullmatch(r"[0-9:]+", time)) and ":" in time)
        note("-tt", ":" in time and "." in time)
        note("-ttt", bool(re.fullmatch(r"[0-9]{8,}(\.[0-9]+)?", time)))
        note("-r", "(+" in match[0] or bool(re.fullmatch(r"[0-9]{1,7}\.[0-9]+", time)))
        note("-n", bool(re.search(r"\[\s*[0-9]{1,4}\] ", match[0])))
        note("-i", bool(re.search(r"\[([0-9a-f]{16}|\?{16})\] ", match[0])))
        note("-Y", bool(re.match(r"\s*(\[pid\s+)?[0-9]+<", match[0])))
        text = line[match.end() :]
        note("-T", bool(_SPENT.search(text)))
        note("-y", bool(re.search(r"\b[0-9]+</", text)))
        note("-k", frame(line) is not None)
        note("-N", _NAMED.match(text) is not None)
        note("-X verbose", bool(re.match(r"\w+\(.*0x[0-9a-f]+ /\* [A-Z_]+(\||[ ]\*/)", text)))
        raw = re.match(r"mmap\((NULL|0x[0-9a-f]+|0), \w+, 0x", text)
        note("-X raw", raw is not None and "/*" not in text)
    return " ".join(found)
