"""How names, texts and calls of a trace are spelled in C."""

from __future__ import annotations

import re
from typing import Final

from vmatrace.escape import visible
from vmatrace.event import Event

CONSTANT: Final = re.compile(r"\b[A-Z][A-Z0-9_]{2,}\b")
_PLAIN: Final = re.compile(r"[\w\s+*|()-]+")
#: Words that C or runtime.c has already.
TAKEN: Final = frozenset({
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else",
    "enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "register",
    "restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch",
    "typedef", "union", "unsigned", "void", "volatile", "while", "call", "fault", "look",
    "mapped", "main", "mergeable", "now", "own", "owned", "peak", "r", "skip", "start",
    "tests", "failed", "verdict", "wait", "stdin", "stdout", "errno", "signal",
})  # fmt: skip


def quoted(text: str) -> str:
    """*text* as a C string."""
    data = text.encode("utf-8", "surrogateescape")
    return '"' + "".join(
        chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03o}" for b in data
    ).replace("??", "?\\077") + '"'  # fmt: skip


def function(pid: str) -> str:
    """The C function that is the life of a process."""
    return "process_" + re.sub(r"\W", "_", pid)


def is_kernels(name: str) -> bool:
    """Whether the kernel prints this name as it is; files have other paths in the program."""
    return not name or name.startswith("[anon")


def comment(event: Event) -> str:
    """The line and the call of an event, for a comment."""
    label = f"{event.label} = " if event.label else ""
    text = f"line {event.line}: {label}{event.text}"
    return harmless(text)


def harmless(text: str) -> str:
    """*text* as it may stand in a comment of C."""
    apart = visible(text).replace("*/", "* /").replace("/*", "/ *")
    return apart.encode("ascii", "backslashreplace").decode()


def arguments(event: Event) -> list[str] | None:
    """The arguments as they are written, where C reads them the same way."""
    inner = event.text[event.text.find("(") + 1 : event.text.rfind(")")]
    parts = [part.strip() for part in inner.split(",")] if inner.strip() else []
    if len(parts) != len(event.args) or not all(_PLAIN.fullmatch(part) for part in parts):
        return None
    return parts if event.text.startswith(f"{event.name}(") else None
