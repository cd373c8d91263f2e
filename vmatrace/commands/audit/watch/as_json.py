"""A series as JSON, format vmatrace-watch/1: one object on one line."""

from __future__ import annotations

from typing import Any, Final, TextIO

from vmatrace.commands.audit import as_json
from vmatrace.commands.audit.watch.forecast import Forecast
from vmatrace.commands.audit.watch.question import VmaSeries
from vmatrace.commands.form import Each, Form
from vmatrace.render.jsonform import encode

FORMAT: Final = "vmatrace-watch/1"
SUFFIXES: Final = (".json", ".jsonl")


def form(out: TextIO, count: int) -> Form[VmaSeries]:
    """One line each."""
    return Each(out, write)


def write(out: TextIO, found: VmaSeries) -> None:
    """One series, with the audit of its last sample."""
    document = {
        "format": FORMAT,
        "source": found.path,
        "pid": found.about.pid,
        "process": found.about.process,
        "kernel": found.about.kernel,
        "samples": [sample._asdict() for sample in found.samples],
        "forecast": _forecast(found.forecast),
        "ratchets": [{**r._asdict(), "there": r.there} for r in found.ratchets],
        "last": as_json.document(found.last),
    }
    out.write(encode(document) + "\n")


def _forecast(found: Forecast | None) -> dict[str, Any] | None:
    return None if found is None else found._asdict()
