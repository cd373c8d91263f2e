"""What reading somebody else's log leaves to say: what was passed over or not understood.

Values, filled while the log is read; every line of it is counted once, under one of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from vmatrace.diagnostic import Diagnostic

#: So many lines that were not understood are kept; the others are counted.
MAX_KEPT: Final = 100


@dataclass
class Notes:
    """Of one run through a log. ``form`` says what the log is, its first word the name of the
    Format; ``faulted`` what of it counts as written to: "none", "writable", "recorded" as it says.

    ``lines`` is ``events`` (lines that became one) + all in ``passed`` (lines that mean nothing to
    memory, by kind: "read", "signal", …) + ``joined`` (lines that are a part of a call whose other
    part is counted) + ``misread_count`` (lines not understood, the first of them in ``misread``).
    ``supplied`` counts events for which the log has no line. ``assumed`` states in words what the
    reader took for granted.
    """

    form: str
    faulted: str = "none"
    lines: int = 0
    events: int = 0
    joined: int = 0
    supplied: int = 0
    passed: dict[str, int] = field(default_factory=dict)
    misread: list[Diagnostic] = field(default_factory=list)
    misread_count: int = 0
    assumed: list[str] = field(default_factory=list)

    @property
    def format(self) -> str:
        """The name of the log's Format."""
        return self.form.partition(" ")[0]

    def reset(self) -> None:
        """Forget everything: the log is read anew."""
        self.lines = self.events = self.joined = self.supplied = self.misread_count = 0
        self.passed.clear()
        self.misread.clear()
        self.assumed.clear()

    def passed_over(self, kind: str) -> None:
        """Count one line that means nothing to memory."""
        self.passed[kind] = self.passed.get(kind, 0) + 1

    def misunderstood(self, diagnostic: Diagnostic) -> None:
        """Note one line that was not understood."""
        self.misread_count += 1
        if len(self.misread) < MAX_KEPT:
            self.misread.append(diagnostic)
