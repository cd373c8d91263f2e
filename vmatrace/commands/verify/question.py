"""What a verification can answer; vmatrace.verify finds it, and here it is put together.

A Verdict of a trace and the Findings of a probe are answers too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Union

from vmatrace.printable import Printable
from vmatrace.verify.campaign import Campaign, Reduced, Total
from vmatrace.verify.findings import Findings
from vmatrace.verify.verdict import Verdict


@dataclass(frozen=True)
class Played(Printable):
    """All that a recording, with its *header*, was compared with: the last of several verdicts."""

    shown_by = "vmatrace.commands.verify.as_table:write_recording"

    header: dict[str, Any]
    verdicts: list[Verdict]
    kernel: str


@dataclass(frozen=True)
class Outcome(Printable):
    """The end of a campaign. ``written``: where the exhibit of the mismatch is."""

    shown_by = "vmatrace.commands.verify.as_table:write_outcome"

    total: Total
    reduced: Reduced | None = None
    written: str | None = None


@dataclass(frozen=True)
class OfRecording(Printable):
    """The verdict about a trace of a recording, one of very many."""

    shown_by = "vmatrace.commands.verify.as_table:write_of_recording"

    verdict: Verdict


#: A Campaign is the announcement of one.
Verified = Union[Verdict, OfRecording, Played, Campaign, Outcome, Findings]
