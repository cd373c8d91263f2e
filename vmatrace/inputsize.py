"""How much of an input is held in memory at once: a limit that messages name and users can raise.

What is read as a stream (logs, the events of a trace) has none, but in a pipe, which cannot be read
twice and is kept in a temporary file.
"""

from __future__ import annotations

import os
from typing import Final

VARIABLE: Final = "VMATRACE_MAX_INPUT"
DEFAULT: Final = 256 << 20


def most() -> int:
    """Bytes of text that are held at once: those of the environment's VMATRACE_MAX_INPUT."""
    given = os.environ.get(VARIABLE, "")
    return int(given) if given.isascii() and given.isdecimal() else DEFAULT


def most_kept() -> int:
    """Bytes of a pipe that are kept in a temporary file: 64 times as many as are held in memory."""
    return 64 * most()


def too_large(what: str, limit: int) -> str:
    """The message where *what* is larger than *limit* bytes, which most() gave."""
    return f"{what} is larger than {limit >> 20} MiB (expected less; {VARIABLE}=BYTES raises it)"
