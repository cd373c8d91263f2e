"""GitHub-flavoured Markdown: a comment that holds what a trace may name, and never breaks.

What a trace may name (paths, calls) is quoted so that it cannot break out of its place, and the
whole stays within what a comment may hold: what does not fit is counted.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Final

from vmatrace.escape import inert
from vmatrace.render import words

#: The most characters that a comment on GitHub may have.
LIMIT: Final = 65536
#: Kept free for the lines that say what was left out.
_RESERVE: Final = 400


def code(text: str) -> str:
    """*text* as a code span, whatever backticks it holds. Not for a cell of a table."""
    text = inert(text)
    fence = "`" * (_longest_run(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def cell(text: str) -> str:
    """*text* as a code span within a table, where ``|`` would end the cell."""
    return code(text).replace("|", "\\|")


def block(text: str) -> str:
    """*text* as a block of code, whatever backticks it holds."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}text\n{text.rstrip()}\n{fence}"


def html_code(text: str) -> str:
    """*text* as code in HTML."""
    return f"<code>{html.escape(inert(text))}</code>"


def details(summary: str, body: str) -> str:
    """*body* folded under *summary*, which is HTML."""
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; the first column to the left, the others to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return ["| " + " | ".join(line) + " |\n" for line in lines]


def comment(title: str, rows: list[str], folded: list[str], total: str) -> str:
    """Title, the lines of a table, what is folded below it, and a total, within LIMIT."""
    text = f"### {title}\n\n{total}\n\n"
    room = LIMIT - _RESERVE - len(text)
    for lines, what in ((rows, "row of the table"), (folded, "trace's details")):
        shown = 0
        while shown < len(lines) and len(lines[shown]) + 1 <= room:
            text += lines[shown]
            room -= len(lines[shown])
            shown += 1
        left = len(lines) - shown
        if left:
            many = "rows of the table" if lines is rows else "traces' details"
            text += f"\n_{words.plural(left, what, many)} left out: a comment holds {LIMIT} "
            text += "characters._\n"
        text += "\n"
    return text.rstrip("\n") + "\n"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
