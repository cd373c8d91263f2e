"""A report as one HTML page that needs nothing else.

Knows how the data is packed for the scripts, which unpack it (``pack()`` describes the form).
"""

from __future__ import annotations

from typing import Any, Final, TextIO

from vmatrace._version import __version__
from vmatrace.commands.form import Each, Form
from vmatrace.commands.report import words
from vmatrace.commands.report.as_html.packing import Packer
from vmatrace.commands.report.frames import Film
from vmatrace.commands.report.question import Count, ProcessReport, Report
from vmatrace.commands.underway import few_collections
from vmatrace.render import htmlpage

SUFFIXES: Final = htmlpage.SUFFIXES
#: The parts of the script, in order.
_SCRIPTS: Final = (
    *htmlpage.MAPS, "data.js", "chart.js", "fills.js", "detail.js", "links.js", "main.js",
)  # fmt: skip
_MOST_PATTERNS: Final = 50
_CHOICE: Final = (
    '<label id="process-choice" hidden>Process <select id="process"></select></label>\n'
)


def form(out: TextIO, count: int) -> Form[Report]:
    """The page of the one trace. Raises ValueError for several."""
    if count != 1:
        raise ValueError("--format html takes one trace")
    return Each(out, write)


def write(out: TextIO, found: Report) -> None:
    """Write the page of *found*; replays its trace once more. Raises TraceError."""
    parts = {
        "top": htmlpage.top("report", _CHOICE),
        "numbers": _numbers(found),
        "maps": htmlpage.maps(
            "Address maps of both models, lowest address first. Up and down go from border to "
            "border, left and right to the other map; Enter explains."
        ),
    }
    title = f"{found.trace.name}: {' → '.join(words.names(found))}"
    htmlpage.write(out, __name__, title, _SCRIPTS, parts, pack(found))


def _numbers(found: Report) -> str:
    """The counts of every process as a plain table, for readers without scripts."""
    models = words.names(found)
    heads = [
        f"{what}, {model}"
        for what in ("peak", "at the end", "merges", "blocked by VM_MERGEABLE alone")
        for model in models
    ]
    rows = [
        (words.title(process) + ", exited" * process.exited,
         *(getattr(count, name)
           for name in ("peak", "vmas", "merges", "only") for count in process.counts))
        for process in found.processes
    ]  # fmt: skip
    return htmlpage.table(["process", *heads], rows)


def pack(found: Report) -> dict[str, Any]:
    """Everything that the page shows. Addresses and sizes of maps are in pages."""
    film = Film(found)
    packer = Packer(found, [process.number for process in film.processes])
    with few_collections():
        frames = [packer.frame(frame) for frame in film.frames()]
    return {
        "version": __version__,
        "trace": found.trace.name,
        "path": found.trace.path,
        "description": " ".join(found.trace.description.split()),
        "models": list(words.names(found)),
        "page_size": found.trace.page_size,
        "limit": found.max_map_count,
        "events": found.events,
        "every": film.every,
        "remarks": [said for said in words.remarks(found) if said != words.OFF],
        "off": not found.ksm,
        "unlisted": len(found.processes) - len(film.processes) + found.others.processes,
        "processes": [_process(process) for process in film.processes],
        "patterns": [
            {
                "call": words.call_words(pattern),
                "caller": pattern.caller,
                "calls": pattern.calls,
                "cost": pattern.cost,
                "added": pattern.added,
                "line": pattern.line,
            }
            for pattern in found.patterns[:_MOST_PATTERNS]
            if pattern.cost > 0
        ],
        "frames": frames,
        **packer.tables(),
    }


def _process(process: ProcessReport) -> dict[str, Any]:
    return {
        "name": words.title(process),
        "exited": process.exited,
        "exit_at": None if process.exit_at is None else list(process.exit_at[:2]),
        "events": process.events,
        "counts": [_count(count) for count in process.counts],
        "curve": [
            [p.at, p.low[0], p.high[0], p.last[0], p.low[1], p.high[1], p.last[1]]
            for p in process.curve
        ],
    }


def _count(count: Count) -> dict[str, Any]:
    return {
        "vmas": count.vmas,
        "peak": count.peak,
        "peak_at": list(count.peak_at),
        "limit_at": None if count.limit_at is None else list(count.limit_at),
        "merges": count.merges,
        "blocked": count.blocked,
        "only": count.only,
    }
