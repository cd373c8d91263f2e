"""The schemas of the outputs, by the name in their format: ``vmatrace-NAME/1``.

Written by hand, so that they say what was promised and not what happens to be printed: the fields
and types of version 1. Integers are bytes where they measure memory. Outputs are open for more
fields.
"""

from __future__ import annotations

from typing import Final

from vmatrace.schema import comparisons, explanations, searches
from vmatrace.schema.parts import (
    FLAG,
    INTEGER,
    NUMBER,
    REAL,
    TEXT,
    Schema,
    array,
    nullable,
    one_of,
    record,
    table,
)
from vmatrace.schema.shapes import (
    BLOCKED,
    CALLED,
    CODES,
    ERRNO,
    LAYOUT,
    LINE,
    LOG,
    MERGES,
    PERMS,
    REASONS,
)


def _output(name: str, description: str, schema: Schema) -> Schema:
    """*schema* with the field that says which format it is."""
    properties = {"format": {"const": f"vmatrace-{name}/1"}, **schema["properties"]}
    return {
        "description": description,
        **schema,
        "properties": properties,
        "required": ["format", *schema["required"]],
    }


# --- replay ---------------------------------------------------------------------------------------

_EVENT: Final = record(
    {
        "index": NUMBER, **CALLED, "result": INTEGER, "errno": ERRNO, "merges": MERGES,
        "blocked": BLOCKED, "layout": LAYOUT,
    },
    {"label": nullable(TEXT), "splits": NUMBER},
)  # fmt: skip

_PROCESS: Final = record(
    {"pid": TEXT, "layout": LAYOUT},
    {
        "exited": FLAG,
        "peak_vmas": NUMBER,
        "borders": array(
            record(
                {"address": NUMBER, "reasons": REASONS, "flags": CODES},
                {"refused_in_line": nullable(LINE)},
            ),
            description="Where two VMAs touch, and what keeps them apart now.",
        ),
    },
)

#: A mapping as an expectation states it: only what it compares.
_STATED: Final = record(
    {"start": INTEGER, "end": INTEGER},
    {"perms": PERMS, "offset": NUMBER, "name": TEXT, "vmflags": CODES},
)
_SINCE: Final = "The event at which a number went wrong; of a peak, the call that reached it."
_FAILURE: Final = record(
    {
        "line": LINE,
        "what": TEXT,
        "expected": {"anyOf": [NUMBER, TEXT, array(_STATED)]},
        "actual": {"anyOf": [NUMBER, LAYOUT]},
    },
    {"pid": TEXT, "since": nullable(record(CALLED, description=_SINCE))},
)
_DIVERGENCE: Final = record(
    {"index": NUMBER, "line": LINE, "call": TEXT, "recorded": TEXT, "modelled": TEXT},
    {"pid": TEXT},
)
_COUNTS: Final = record({"prev": NUMBER, "next": NUMBER, "both": NUMBER})
_SUMMARY: Final = record(
    {
        "events": NUMBER, "errors": NUMBER, "divergences": NUMBER, "vmas": NUMBER,
        "peak_vmas": NUMBER, "mergeable": NUMBER, "merges": _COUNTS, "splits": NUMBER,
        "blocked": table(NUMBER), "blocked_only_by_mergeable": NUMBER,
    },
    {
        "assumed": NUMBER, "cleared": NUMBER, "max_map_count": NUMBER, "blocked_sides": NUMBER,
        "believed": NUMBER,
        "at_limit": nullable(
            record(
                {"line": LINE, "call": TEXT, "maps": NUMBER, "unseen": NUMBER,
                 "max_map_count": NUMBER}
            )
        ),
    },
)  # fmt: skip

_REPLAY: Final = record(
    {
        "trace": TEXT,
        "kernel": TEXT,
        "processes": array(_PROCESS),
        "divergences": array(_DIVERGENCE),
        "expectations": record({"passed": NUMBER, "failed": array(_FAILURE)}),
        "summary": _SUMMARY,
    },
    {
        "path": TEXT,
        "page_size": NUMBER,
        "version": {**TEXT, "description": "In a baseline: the vmatrace that wrote it."},
        "ksm": {
            **nullable(FLAG),
            "description": "In a baseline: whether --ksm or --no-ksm was asked for.",
        },
        "events": array(_EVENT, description="With --steps."),
        "log": LOG,
    },
)

# --- check ----------------------------------------------------------------------------------------

_IDENTITY: Final = {
    **TEXT,
    "description": "What the expectation is called, wherever it moves; no other of the trace is.",
}
_CHECK: Final = record(
    {
        "trace": TEXT,
        "path": TEXT,
        "models": array(
            record(
                {
                    "kernel": TEXT,
                    "passed": NUMBER,
                    "failed": NUMBER,
                    "expectations": array(
                        record(
                            {
                                "line": LINE, "column": LINE, "passed": FLAG,
                                "failures": array(_FAILURE),
                            },
                            {"name": _IDENTITY},
                        )
                    ),
                }
            )
        ),
        "uncovered": array(
            record({"line": LINE, "on": TEXT}, {"name": _IDENTITY}),
            description="Expectations that are about no model that there is.",
        ),
        "summary": record(
            {"passed": NUMBER, "failed": NUMBER, "nothing_expected": array(TEXT)},
            {"missing": NUMBER},
        ),
    }
)  # fmt: skip

# --- verify ---------------------------------------------------------------------------------------

_MISMATCH: Final = record(
    {
        "index": NUMBER, "line": NUMBER, "pid": TEXT, "call": TEXT, "field": TEXT,
        "modelled": INTEGER, "modelled_errno": ERRNO,
        "actual": INTEGER, "actual_errno": ERRNO,
        "model_layout": LAYOUT, "kernel_layout": LAYOUT,
    }
)  # fmt: skip
_VERIFIED: Final = record(
    {"kernel": TEXT, "verdict": one_of("exact", "mismatch", "died", "skipped"),
     "events": NUMBER, "mismatch": nullable(_MISMATCH),
     "died": nullable(record({"how": TEXT, "console": array(TEXT)}))},
    {
        # of a trace
        "trace": TEXT, "path": TEXT, "skipped": nullable(TEXT),
        # of random programs
        "seed": TEXT, "programs": NUMBER, "cut": NUMBER, "seconds": REAL,
        "program": nullable(NUMBER), "exhibit": nullable(TEXT),
    },
)  # fmt: skip
_VERIFY: Final = {
    **_VERIFIED,
    "anyOf": [{"required": ["trace", "path", "skipped"]}, {"required": ["seed", "programs"]}],
}
_PROBE: Final = record(
    {
        "nearest": TEXT, "kernel": TEXT, "differing": array(TEXT),
        "features": table(nullable(FLAG)),
    }
)  # fmt: skip

_COST: Final = record({"vmas": NUMBER, "peak": NUMBER, "headroom": INTEGER})
_WHATIF: Final = record(
    {
        "trace": TEXT, "path": TEXT, "kernel": TEXT, "now": _COST,
        "changes": array(
            record({"name": TEXT, "rule": TEXT, "meaning": TEXT, "calls": NUMBER, "cost": _COST})
        ),
        "together": nullable(_COST), "combined": array(TEXT),
    }
)  # fmt: skip

# --- kernels --------------------------------------------------------------------------------------

_CHANGES: Final = array(record({"feature": TEXT, "added": FLAG}))
_KERNELS: Final = record(
    {
        "default": TEXT,
        "kernels": array(
            record(
                {
                    "name": TEXT, "release": TEXT, "summary": TEXT,
                    "changes": _CHANGES,
                    "features": array(TEXT),
                    "stable": array(record({"name": TEXT, "changes": _CHANGES})),
                }
            )
        ),
        "features": array(
            record(
                {
                    "name": TEXT, "summary": TEXT, "commit": nullable(TEXT), "subject": TEXT,
                    "release": nullable(TEXT), "backports": array(TEXT), "until": array(TEXT),
                    "kind": one_of("release", "configuration", "proposal"), "where": TEXT,
                    "note": TEXT,
                }
            )
        ),
        "file_systems": array(
            record({"name": TEXT, "hooks": array(record({"since": TEXT, "hook": TEXT}))})
        ),
    }
)  # fmt: skip

OUTPUTS: Final[dict[str, Schema]] = {
    name: _output(name, description, schema)
    for name, description, schema in (
        ("replay", "A trace replayed under a model: one object per trace.", _REPLAY),
        ("check", "What a trace expects, under every model it is about.", _CHECK),
        ("diff", "A trace under two models, or beside a saved outcome.", comparisons.DIFF),
        ("across", "A trace under several models (diff --across).", comparisons.ACROSS),
        ("explain", "Why the VMAs at an address, or all, are apart.", explanations.EXPLAIN),
        ("pages", "What KSM by default would save (audit --pages).", explanations.PAGES),
        (
            "audit",
            "What fills the map of a process, and what looks alike.",
            explanations.AUDIT,
        ),
        ("watch", "Samples of a process over time (audit --every).", explanations.WATCH),
        ("compare", "Two snapshots of a process (audit --compare).", explanations.COMPARE),
        ("report", "What a trace costs in VMAs under two models.", comparisons.REPORT),
        ("hunt", "The kinds of difference between two models.", searches.HUNT),
        ("shrink", "A trace reduced to the smallest that meets a condition.", searches.SHRINK),
        ("verify", "A trace, or random programs, on a real kernel and in the model.", _VERIFY),
        ("probe", "Which model a real kernel is (verify --probe).", _PROBE),
        ("whatif", "What changes to a program would save in VMAs.", _WHATIF),
        ("kernels", "The models and the features.", _KERNELS),
    )
}
