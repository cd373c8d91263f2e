"""What became of a trace that was reduced as JSON, format vmatrace-shrink/1."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.form import Each, Form
from vmatrace.commands.shrink.question import Shrunk
from vmatrace.render.jsonform import encode

FORMAT: Final = "vmatrace-shrink/1"
SUFFIXES: Final = (".json", ".jsonl")


def form(out: TextIO, count: int) -> Form[Shrunk]:
    """One object."""
    return Each(out, write)


def write(out: TextIO, found: Shrunk) -> None:
    """One object on one line."""
    document = {
        "format": FORMAT,
        "trace": found.trace,
        "path": found.source,
        "keep": found.keep,
        "kernels": list(found.models),
        "events": {"before": found.before, "after": found.after},
        "processes": {"before": found.processes[0], "after": found.processes[1]},
        "tries": found.tries,
        "minimal": found.minimal,
        "output": found.path,
        "text": found.text,
    }
    out.write(encode(document) + "\n")
