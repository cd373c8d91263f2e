"""The words of a comparison."""

from __future__ import annotations

from typing import Final

from vmatrace.commands.audit.compare import question

#: What happened, by kind.
KINDS: Final[dict[str, str]] = {
    question.CAME: "came: mapped where nothing was",
    question.WENT: "went: unmapped",
    question.SPLIT: "split: one became several",
    question.MERGED: "merged: several became one",
    question.RESIZED: "resized: one grew or shrank",
    question.CHANGED: "changed: other permissions, flags or name",
    question.RESHAPED: "reshaped: several became several others",
}
STRANGE: Final = (
    "Hardly an address is in both snapshots: these may be of two processes, or of before and after "
    "an exec."
)
