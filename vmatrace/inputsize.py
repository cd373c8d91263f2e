"""How much of an input is held in memory at once: a limit that messages name and users can raise.

What is read as a stream (logs, the events of a trace) has none.
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


def too_large(what: str, limit: int) -> str:
    """The message where *what* is larger than *limit* bytes, which most() gave."""
    return f"{what} is larger than {limit >> 20} MiB (expected less; {VARIABLE}=BYTES raises it)"
