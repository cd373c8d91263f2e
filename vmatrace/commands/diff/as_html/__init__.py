"""Diffs as one HTML page that needs nothing else.

Knows what of it is there without scripts: a table of all traces with their counts and causes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TextIO

from vmatrace._version import __version__
from vmatrace.commands.diff.answer import Diff
from vmatrace.commands.diff.as_html.packing import DiffPacker
from vmatrace.commands.diff.words import COUNTS, change
from vmatrace.commands.form import Form
from vmatrace.diagnostic import TraceError
from vmatrace.render import htmlpage, words
from vmatrace.render.htmlpage import commit_url, text

SUFFIXES: Final = htmlpage.SUFFIXES
_SCRIPTS: Final = (*htmlpage.MAPS, "data.js", "lists.js", "main.js")
#: The counts in the table of traces, by name.
_SHOWN: Final = ("vmas", "peak_vmas", "merges", "blocked_only_by_mergeable")
_WIDE: Final = ' class="wide-only"'
_CHOICE: Final = (
    '<label id="process-choice" hidden>Process <select id="process"></select></label>\n'
)


def form(out: TextIO, count: int) -> Form[Diff]:
    """One page about all."""
    return _Page(out, count)


class _Page(Form[Diff]):
    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, count)
        self._packer = DiffPacker()
        self._traces: list[dict[str, Any]] = []
        self._rows: list[str] = []
        self._errors: list[str] = []

    def write(self, answer: Diff) -> None:
        self._rows.append(_row(answer, len(self._traces)))
        self._traces.append(self._packer.trace(answer))

    def refuse(self, error: TraceError) -> None:
        self._errors += str(error).splitlines()

    def finish(self) -> None:
        different = sum(not trace["equal"] for trace in self._traces)
        said = f"{different} of {words.plural(len(self._traces), 'trace')} differ"
        one = len(self._traces) == 1
        title = f"{self._traces[0]['name']}: vmatrace diff" if one else f"vmatrace diff: {said}"
        parts = {
            "top": htmlpage.top("diff", _CHOICE),
            "title": text(self._traces[0]["name"] if one else said),
            "rows": "".join(self._rows),
            "heads": "".join(f'<th scope="col"{_of(name)}>{COUNTS[name]}</th>' for name in _SHOWN),
            "errors": "".join(_errors(self._errors)),
            "maps": htmlpage.maps(
                "Address maps of both sides, lowest address first. Up and down go from VMA to VMA, "
                "left and right to the other map; Enter explains."
            ),
        }
        data = {"version": __version__, "traces": self._traces, **self._packer.tables()}
        htmlpage.write(self.out, __name__, title, _SCRIPTS, parts, data)


def _row(diff: Diff, number: int) -> str:
    totals = {name: (a, b) for name, a, b in diff.totals}
    line = "" if diff.first is None else str(diff.first.line)
    name = ' class="equal"' if diff.equal else ""
    return (
        f'<tr data-trace="{number}"{name}><th scope="row" class="text">{text(diff.trace)}</th>'
        f"<td{_WIDE}>{line}</td>{''.join(_pair(count, *totals[count]) for count in _SHOWN)}"
        f'<td class="text">{"; ".join(_causes(diff)) or ("equal" if diff.equal else "")}</td></tr>'
    )


def _of(name: str) -> str:
    """The class of a column; a narrow screen has room for one count."""
    return "" if name == _SHOWN[0] else _WIDE


def _pair(name: str, a: int | None, b: int | None) -> str:
    """A count on both sides, sorted by how it changes."""
    left, right = ("?" if count is None else f"{count:,}" for count in (a, b))
    by = 0 if a is None or b is None else b - a
    shown = left if a == b else f"{left} → {right}"
    more = f" <small>{change(a, b)}</small>" if by else ""
    return f'<td{_of(name)} data-value="{by}">{shown}{more}</td>'


def _causes(diff: Diff) -> Iterator[str]:
    """The features, each with the way to its commit."""
    for cause in diff.why or ():
        feature = cause.feature
        name = text(feature.name)
        if feature.commit:
            name += (
                f' <a href="{commit_url(feature.commit)}" rel="noreferrer" '
                f'title="{text(feature.subject)}"><code>{text(feature.commit)}</code></a>'
            )
        yield name


def _errors(errors: list[str]) -> Iterator[str]:
    if errors:
        yield '<section aria-labelledby="errors-title"><h2 id="errors-title">Not compared</h2><ul>'
        yield from (f"<li><code>{text(error)}</code></li>" for error in errors)
        yield "</ul></section>"
