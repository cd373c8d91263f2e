"""A report as one HTML page that needs nothing else: no network, no fonts, no framework.

Knows how the data is packed for page.js, which unpacks it (``pack()`` describes the form), and how
the parts become one file. Everything from a trace is data in JSON; the page puts it on the screen
as text and never as markup.
"""

from __future__ import annotations

import base64
import html
import json
import zlib
from importlib.resources import files
from typing import Any, Final, TextIO

from vmatrace._version import __version__
from vmatrace.commands.form import Each, Form
from vmatrace.commands.report import words
from vmatrace.commands.report.as_html.packing import Packer
from vmatrace.commands.report.frames import Film
from vmatrace.commands.report.question import Count, ProcessReport, Report
from vmatrace.render import htmlpage

SUFFIXES: Final = (".html", ".htm")
#: The parts of the script, in order.
_SCRIPTS: Final = (
    "data.js", "chart.js", "maps.js", "overview.js", "fills.js", "detail.js", "links.js", "main.js",
)  # fmt: skip
_MOST_PATTERNS: Final = 50
#: So many characters of data stay as they are, for whoever looks into the file.
_PLAIN: Final = 100_000


def form(out: TextIO, count: int) -> Form[Report]:
    """The page of the one trace. Raises ValueError for several."""
    if count != 1:
        raise ValueError("--format html takes one trace")
    return Each(out, write)


def write(out: TextIO, found: Report) -> None:
    """Write the page of *found*; replays its trace once more. Raises TraceError."""
    scripts = "\n".join(_part(name) for name in _SCRIPTS)
    script = "'use strict';\n(async () => {\n" + scripts + "})();\n"
    title = f"{found.trace.name}: {' → '.join(words.names(found))}"
    kind, data = _data(json.dumps(pack(found), ensure_ascii=False, separators=(",", ":")))
    parts = {
        "head": htmlpage.head(html.escape(title), _part("page.css"), script),
        "script": script,
        "kind": kind,
        "data": data,
        "numbers": _numbers(found),
    }
    out.writelines(htmlpage.filled(_part("page.html"), parts))


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
         *(str(getattr(count, name))
           for name in ("peak", "vmas", "merges", "only") for count in process.counts))
        for process in found.processes
    ]  # fmt: skip
    head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in ("process", *heads))
    body = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in rows
    )
    return f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _data(text: str) -> tuple[str, str]:
    """The data as the page holds it, and the type that says how: as it is, or compressed.

    Compressed it is a fifth, and takes some 30 ms more of a browser to open.
    """
    if len(text) <= _PLAIN:
        return "application/json", _inert(text)
    packed = zlib.compress(text.encode(), 9)
    return "application/zlib;base64", base64.b64encode(packed).decode()


def _inert(data: str) -> str:
    """JSON in which nothing can end the script element or start a comment in it."""
    return data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def pack(found: Report) -> dict[str, Any]:
    """Everything that the page shows. Addresses and sizes of maps are in pages."""
    film = Film(found)
    packer = Packer(found, [process.number for process in film.processes])
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
