"""Diffs as a comment for a pull request: a table of all traces, folded details for each.

GitHub-flavoured Markdown. What a trace may name (paths, calls) is quoted so that it cannot break
out of its place, and the whole stays within what a comment may hold: what does not fit is counted.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterable, Sequence
from typing import Final

from vmatrace.commands.diff import as_text
from vmatrace.commands.diff.diff import Diff, EventDiff
from vmatrace.render import words
from vmatrace.render.paper import Paper, visible

#: The most characters that a comment on GitHub may have.
LIMIT: Final = 65536
#: Kept free for the lines that say what was left out.
_RESERVE: Final = 400
#: The counts in the table, by name.
_SHOWN: Final = ("vmas", "peak_vmas", "merges", "blocked_only_by_mergeable")
_WIDTH: Final = 100


def code(text: str) -> str:
    """*text* as a code span, whatever backticks it holds. Not for a cell of a table."""
    text = visible(text)
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


def folded_diff(diff: Diff, differences: Iterable[EventDiff] | None) -> str:
    """Everything about one trace that differs, folded."""
    out = io.StringIO()
    as_text.write(Paper(out, _WIDTH), diff, differences)
    text = out.getvalue().split("\n", 1)[1]
    first = f"first in line {diff.first.line} of " if diff.first is not None else ""
    place = f"<code>{html.escape(visible(diff.path))}</code>"
    return details(f"<code>{html.escape(visible(diff.trace))}</code>: {first}{place}", block(text))


def row(diff: Diff) -> list[str]:
    """The row of one trace."""
    totals = {name: (a, b) for name, a, b in diff.totals}
    line = str(diff.first.line) if diff.first is not None else ""
    return [cell(diff.trace), line, *(_pair(*totals[name]) for name in _SHOWN)]


def write(found: Sequence[tuple[Diff, str]], errors: int) -> str:
    """The comment about all traces: each diff with its folded text ("" for an equal one)."""
    differing = [(diff, text) for diff, text in found if not diff.equal]
    equal = len(found) - len(differing)
    title = "vmatrace diff"
    if found:
        first = found[0][0]
        title += f": {code(first.from_.name)} → {code(first.to.name)}"
    total = (
        f"{words.plural(len(found) + errors, 'trace')}: {equal} equal, "
        f"**{len(differing)} different**"
    )
    total += f", **{errors} in error**" if errors else ""
    notes = dict.fromkeys(note for diff, _ in found for note in as_text.limits(diff))
    total += "".join(f"\n\n> {code(note)}" for note in notes)
    rows = []
    if differing:
        heads = ["trace", "line", *(as_text.COUNTS[name] for name in _SHOWN)]
        rows = table(heads, (row(diff) for diff, _ in differing))
    return comment(title, rows, [text for _, text in differing], total)


def _pair(a: int | None, b: int | None) -> str:
    if a == b:
        return "?" if a is None else str(a)
    change = as_text.change(a, b)
    left, right = ("?" if count is None else str(count) for count in (a, b))
    return f"{left} → {right}" + (f" ({change})" if change != "?" else "")


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
