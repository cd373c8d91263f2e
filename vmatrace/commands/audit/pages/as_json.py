"""The estimate as JSON, format vmatrace-pages/1: one object on one line."""

from __future__ import annotations

from typing import Any, Final, TextIO

from vmatrace.commands.audit.pages.classes import Sharing
from vmatrace.commands.audit.pages.question import Contents, Estimate
from vmatrace.commands.form import Each, Form
from vmatrace.render.jsonform import encode

FORMAT: Final = "vmatrace-pages/1"
SUFFIXES: Final = (".json", ".jsonl")


def form(out: TextIO, count: int) -> Form[Estimate]:
    """One object about all processes."""
    return Each(out, write)


def write(out: TextIO, found: Estimate) -> None:
    """Numbers of pages, but for ``records`` and ``profit``, which are bytes."""
    document = {
        "format": FORMAT,
        "page_size": found.page_size,
        "max_page_sharing": found.settings.max_page_sharing,
        "use_zero_pages": found.settings.zero_pages,
        "pages": found.pages,
        "read": sum(process.read for process in found.processes),
        **_sharing(found.sharing),
        "saved_within": found.within,
        "saved_zeros": found.zeros.saved,
        "forked": found.forked,
        "records": found.records,
        "profit": found.profit,
        "processes": [_process(process) for process in found.processes],
    }
    out.write(encode(document) + "\n")


def _sharing(found: Sharing) -> dict[str, Any]:
    return {"merged": found.merged, "saved": found.saved, "saved_error": found.error}


def _process(process: Contents) -> dict[str, Any]:
    return {
        "pid": process.pid,
        "name": process.name,
        "pages": process.pages,
        "read": process.read,
        "unread": process.unread,
        "zeros": process.zeros,
        "swapped": process.swapped,
        **_sharing(process.sharing),
        "vmas": process.vmas,
        "max_map_count": process.max_map_count,
        "added": [row._asdict() for row in process.added],
    }
