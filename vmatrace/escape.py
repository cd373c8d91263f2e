"""Text from a file made harmless for a screen: control characters, and lines that a CI would obey.

Every other form has its own place for this: render.github, render.markdown, render.csvform,
render.xml; and JSON, which needs none.
"""

from __future__ import annotations

import re
from typing import Final

#: What the runners of CI take for a command of theirs in the log of a job: a line that starts with
#: ``::`` (GitHub Actions; ActionCommand.TryParseV2), and ``##[``, ``##vso[`` and ``##teamcity[``
#: wherever they stand (ActionCommand.TryParse, Azure Pipelines, TeamCity).
_COMMAND: Final = re.compile(r"\A(\s*):(?=:)|#(?=#\w*\[)")


def visible(text: str) -> str:
    """*text* with control characters written out: a name in a trace must not drive a terminal."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def inert(line: str) -> str:
    """A line of output, control characters written out, that no runner takes for a command."""
    line = visible(line)
    return disarmed(line) if "::" in line or "##" in line else line


def disarmed(line: str) -> str:
    """*line* with an escape in place of a character of each command of a runner."""
    return _COMMAND.sub(lambda match: f"{match[1] or ''}\\x{ord(match[0][-1]):x}", line)


def lengthened(line: str, end: int) -> int:
    """By how many characters disarmed() makes *line* longer before character *end*."""
    return 3 * sum(match.end() <= end for match in _COMMAND.finditer(line))
