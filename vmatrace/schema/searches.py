"""The schemas of what searches: shrink and hunt."""

from __future__ import annotations

from typing import Final

from vmatrace.schema.parts import FLAG, NUMBER, TEXT, array, nullable, record

_CHANGED: Final = record({"before": NUMBER, "after": NUMBER})
HUNT: Final = record(
    {
        "from": TEXT,
        "to": TEXT,
        "seed": TEXT,
        "programs": NUMBER,
        "worse": FLAG,
        "interrupted": FLAG,
        "died": NUMBER,
        "ended": nullable(TEXT),
        "skipped": array(TEXT),
        "finds": array(
            record(
                {
                    "call": TEXT, "what": TEXT, "merges": record({"from": TEXT, "to": TEXT}),
                    "features": array(TEXT), "together": FLAG, "program": NUMBER,
                    "calls": array(TEXT), "text": TEXT,
                }
            )
        ),
        "outputs": array(TEXT),
    }
)  # fmt: skip
SHRINK: Final = record(
    {
        "trace": TEXT,
        "path": TEXT,
        "keep": TEXT,
        "kernels": array(TEXT),
        "events": _CHANGED,
        "processes": _CHANGED,
        "tries": NUMBER,
        "minimal": FLAG,
        "output": nullable(TEXT),
        "text": TEXT,
    }
)
