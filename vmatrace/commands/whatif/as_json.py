"""What could be changed as JSON, format vmatrace-whatif/1."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final, TextIO

from vmatrace.commands.form import Each, Form
from vmatrace.commands.whatif.question import WhatIf
from vmatrace.render.jsonform import encode

FORMAT: Final = "vmatrace-whatif/1"
SUFFIXES: Final = (".json", ".jsonl")


def form(out: TextIO, count: int) -> Form[WhatIf]:
    """One object."""
    return Each(out, write)


def write(out: TextIO, found: WhatIf) -> None:
    """One object on one line."""
    document = {
        "format": FORMAT,
        "trace": found.trace,
        "path": found.path,
        "kernel": found.kernel,
        "now": asdict(found.now),
        "changes": [asdict(change) for change in found.changes],
        "together": None if found.together is None else asdict(found.together),
        "combined": found.combined,
    }
    out.write(encode(document) + "\n")
