"""What reading somebody else's log leaves to say: what was passed over or not understood.

Values, filled while the log is read; every line of it is counted under one of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from vmatrace.diagnostic import Diagnostic

#: So many lines that were not understood are kept; the others are counted.
MAX_KEPT: Final = 100


@dataclass
class Notes:
    """Of one run through a log. ``lines`` is their number, ``events`` the events made of them.

    ``passed`` counts the lines that mean nothing to memory, by kind ("read", "signal", …);
    ``misread`` holds the first lines that were not understood, of ``misread_count``. ``assumed``
    states in words what the reader took for granted, such as which memory has been written to.
    """

    form: str
    lines: int = 0
    events: int = 0
    passed: dict[str, int] = field(default_factory=dict)
    misread: list[Diagnostic] = field(default_factory=list)
    misread_count: int = 0
    assumed: list[str] = field(default_factory=list)

    def reset(self) -> None:
        """Forget everything: the log is read anew."""
        self.lines = self.events = self.misread_count = 0
        self.passed.clear()
        self.misread.clear()
        self.assumed.clear()

    def misunderstood(self, diagnostic: Diagnostic) -> None:
        """Note one line that was not understood."""
        self.misread_count += 1
        if len(self.misread) < MAX_KEPT:
            self.misread.append(diagnostic)
