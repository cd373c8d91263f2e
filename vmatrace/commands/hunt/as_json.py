"""What a hunt found as JSON, format vmatrace-hunt/1."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.form import Each, Form
from vmatrace.commands.hunt.question import Hunted
from vmatrace.render.jsonform import encode

FORMAT: Final = "vmatrace-hunt/1"
SUFFIXES: Final = (".json", ".jsonl")


def form(out: TextIO, count: int) -> Form[Hunted]:
    """One object."""
    return Each(out, write)


def write(out: TextIO, found: Hunted) -> None:
    """One object on one line."""
    document = {
        "format": FORMAT,
        "from": found.from_,
        "to": found.to,
        "seed": found.seed,
        "programs": found.programs,
        "worse": found.worse,
        "interrupted": found.interrupted,
        "died": found.died,
        "ended": found.ended or None,
        "skipped": found.skipped,
        "finds": [
            {
                "call": find.call,
                "what": find.what,
                "merges": {"from": find.outcomes[0], "to": find.outcomes[1]},
                "features": list(find.causes),
                "together": find.together,
                "program": find.program,
                "calls": list(find.lines),
                "text": find.text,
            }
            for find in found.finds
        ],
        "outputs": found.paths,
    }
    out.write(encode(document) + "\n")
