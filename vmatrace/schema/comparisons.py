"""The schemas of what compares models: diff and report."""

from __future__ import annotations

from typing import Final

from vmatrace.calls import CALLS
from vmatrace.schema.parts import (
    FLAG,
    INTEGER,
    NUMBER,
    TEXT,
    array,
    nullable,
    one_of,
    record,
    table,
)
from vmatrace.schema.shapes import BLOCKED, CALLED, CODES, ERRNO, LAYOUT, LINE, MERGES, SPAN, pair

# --- diff -----------------------------------------------------------------------------------------

_SIDE: Final = record(
    {
        "name": TEXT, "kind": one_of("model", "kernel", "result", "trace", "snapshot"),
        "kernel": nullable(TEXT),
        "lacks": array(TEXT),
    }
)  # fmt: skip
_DID: Final = record(
    {
        "result": INTEGER, "errno": ERRNO, "merges": nullable(MERGES), "blocked": nullable(BLOCKED),
        "went": LAYOUT, "came": LAYOUT,
    }
)  # fmt: skip
_EVENT: Final = record(
    {"index": NUMBER, **CALLED, "label": nullable(TEXT), **pair(_DID), "equal_after": FLAG}
)
_PROCESS: Final = record(
    {
        "pid": TEXT,
        "equal": FLAG,
        "vmas": record(pair(nullable(NUMBER))),
        "blocks": array(
            record({**SPAN["properties"], **pair(LAYOUT)}),
            description="Where the layouts differ: the VMAs of both sides.",
        ),
        "flags": array(record({**SPAN["properties"], "only_from": CODES, "only_to": CODES})),
    }
)
DIFF: Final = record(
    {
        "trace": TEXT,
        "path": TEXT,
        **pair(_SIDE),
        "equal": FLAG,
        "changed_calls": FLAG,
        "compared_events": nullable(NUMBER),
        "differing_events": nullable(NUMBER),
        "first": nullable(_EVENT),
        "features": nullable(array(TEXT)),
        "processes": array(_PROCESS),
        "totals": table(record({**pair(nullable(NUMBER)), "change": nullable(INTEGER)})),
    },
    {
        "only_addresses_differ": FLAG,
        "with_ksm": nullable(table(record(pair(nullable(NUMBER))))),
        "events": array(_EVENT, description="With --steps: those that differ."),
    },
)

# --- across ---------------------------------------------------------------------------------------

_PARTING: Final = record(
    {
        "index": NUMBER,
        **CALLED,
        "results": array(record({"result": INTEGER, "errno": ERRNO}), minItems=2, maxItems=2),
    }
)
ACROSS: Final = record(
    {
        "trace": TEXT,
        "path": TEXT,
        "equal": FLAG,
        "rows": array(
            record(
                {
                    "models": array(TEXT), "vmas": NUMBER, "mergeable": NUMBER,
                    "peak_vmas": NUMBER, "first": nullable(_PARTING),
                    "causes": array(
                        record(
                            {
                                "feature": TEXT, "added": FLAG, "alone": FLAG,
                                "line": nullable(LINE), "index": nullable(NUMBER),
                                "summary": TEXT, "commit": nullable(TEXT), "subject": TEXT,
                                "release": nullable(TEXT), "where": TEXT, "note": TEXT,
                            }
                        )
                    ),
                }
            ),
            description="Models that do the same, with what sets them apart from the row before.",
        ),
    }
)  # fmt: skip

# --- report ---------------------------------------------------------------------------------------


_DECIDED: Final = {
    "merges": NUMBER, "blocked_sides": NUMBER, "blocked_only_by_mergeable": NUMBER,
}  # fmt: skip
_MOMENT: Final = record({"event": NUMBER, "line": NUMBER, "call": TEXT})
_COUNT: Final = record(
    {
        "vmas": NUMBER, "peak_vmas": NUMBER, "peak_at": _MOMENT, "headroom": NUMBER,
        "limit_at": nullable(_MOMENT), **_DECIDED,
    }
)  # fmt: skip
_PATTERN: Final = record(
    {
        "call": TEXT, "size": nullable(record({"min": NUMBER, "max": NUMBER})),
        "backing": nullable(TEXT), "caller": nullable(TEXT), "calls": NUMBER,
        "first_line": NUMBER, "cost": INTEGER, "added": record(pair(INTEGER)),
        "blocked_only_by_mergeable": record(pair(NUMBER)),
    },
    # The flags that tell kinds apart, by the parameter's name: prot, flags, advice, …
    {p.name: TEXT for call in CALLS.values() for p in call.params if p.kind == "flags"},
)  # fmt: skip
REPORT: Final = record(
    {
        "trace": TEXT,
        "path": TEXT,
        "from": TEXT,
        "to": TEXT,
        "ksm": record({"in_force": FLAG, "forced": nullable(FLAG)}),
        "max_map_count": NUMBER,
        "page_size": NUMBER,
        "processes": array(
            record(
                {
                    "pid": TEXT, "program": TEXT, "exited": FLAG, "events": NUMBER, **pair(_COUNT),
                    "series": record(
                        {
                            "width": NUMBER,
                            "points": array(
                                array(NUMBER, minItems=5, maxItems=5),
                                description="Event, and the fewest and most VMAs from there on: "
                                "two numbers for each model.",
                            ),
                        }
                    ),
                }
            )
        ),
        "others": record(
            {
                "processes": NUMBER, "events": NUMBER,
                **pair(record({"peak_vmas": NUMBER, **_DECIDED})),
            }
        ),
        "patterns": array(_PATTERN),
        "summary": record(
            {
                "events": NUMBER,
                **pair(
                    record(
                        {
                            "errors": NUMBER, "divergences": NUMBER, "assumed": NUMBER,
                            "vmas": NUMBER, "peak_vmas": NUMBER, **_DECIDED,
                        }
                    )
                ),
            }
        ),
        "remarks": array(TEXT),
    }
)  # fmt: skip
