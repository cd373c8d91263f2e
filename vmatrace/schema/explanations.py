"""The schemas of what says why VMAs are apart: explain and audit; and of audit --pages."""

from __future__ import annotations

from typing import Final

from vmatrace.schema.parts import (
    FLAG,
    INTEGER,
    NUMBER,
    REAL,
    TEXT,
    array,
    nullable,
    one_of,
    record,
    table,
)
from vmatrace.schema.reports import PATTERNS
from vmatrace.schema.shapes import CALLED, CODES, LOG, MAPPING, REASONS, SPAN

_MOMENT: Final = nullable(record({"index": NUMBER, **CALLED}))
_RANGE: Final = record({**SPAN["properties"], "vmflags": CODES})
_CHANGE: Final = record(
    {
        "kinds": array(TEXT), "times": NUMBER, "first": _MOMENT, "last": _MOMENT,
        "after": nullable(_RANGE), "flags_set": CODES, "flags_cleared": CODES,
    }
)  # fmt: skip
_SIDE: Final = record(
    {
        **_RANGE["properties"], "file": nullable(TEXT),
        "anon_vma": one_of("unfaulted", "own", "shared"), "name": nullable(TEXT),
        "policy": nullable(TEXT), "uffd": NUMBER, "displaced": INTEGER,
    }
)  # fmt: skip
_CONTRAST: Final = record(
    {
        "reasons": REASONS, "flags_below": CODES, "flags_above": CODES, "opened_twice": FLAG,
        "pgoff": record({"continued": nullable(INTEGER), "own": nullable(INTEGER)}),
        "sides": array(_SIDE, minItems=2, maxItems=2),
    }
)  # fmt: skip
_ATTEMPT: Final = record(
    {
        "event": nullable(record(CALLED)), "op": TEXT, "range": one_of("below", "above"),
        **_CONTRAST["properties"],
    }
)  # fmt: skip
_CAUSE: Final = record(
    {
        "before": TEXT,
        "after": TEXT,
        "becomes": TEXT,
        "features": array(
            record(
                {"name": TEXT, "added": FLAG, "commit": nullable(TEXT), "release": nullable(TEXT)}
            )
        ),
    }
)
_BORDER: Final = record(
    {
        "pid": TEXT,
        "address": NUMBER,
        "below": MAPPING,
        "above": MAPPING,
        "touching": record({"since": _MOMENT, "was": TEXT}),
        "attempt": nullable(_ATTEMPT),
        "today": _CONTRAST,
        "models": nullable(table(record({"state": TEXT, "vma": nullable(MAPPING)}))),
        "causes": nullable(array(_CAUSE)),
        "advice": array(TEXT),
    }
)
_ANY: Final = record(
    {"trace": TEXT, "path": TEXT, "kernel": TEXT, "asked": TEXT, "borders": array(_BORDER)},
    {
        # of an address
        "pid": TEXT, "address": NUMBER, "vma": nullable(MAPPING), "anon": nullable(TEXT),
        "history": array(_CHANGE), "before": nullable(_RANGE), "below": nullable(MAPPING),
        "above": nullable(MAPPING),
        # of all borders
        "processes": array(TEXT), "vmas": NUMBER,
        # of both
        "page_size": NUMBER, "divergences": NUMBER, "log": LOG,
    },
)  # fmt: skip
EXPLAIN: Final = {
    **_ANY,
    "anyOf": [
        {"required": ["pid", "address", "vma", "anon", "history", "before", "below", "above"]},
        {"required": ["processes", "vmas"]},
    ],
}

_AMOUNT: Final = {"vmas": NUMBER, "bytes": NUMBER, "share": REAL}
_PATTERN: Final = record(
    {
        "pattern": one_of(*PATTERNS), "title": TEXT, **_AMOUNT, "runs": NUMBER,
        "longest": array(record({"start": NUMBER, "end": NUMBER, "vmas": NUMBER})),
        "made_by": TEXT, "remedy": TEXT, "rewriting": nullable(TEXT),
    }
)  # fmt: skip
_GROUP: Final = record(
    {
        "perms": TEXT, "mergeable": nullable(FLAG), "backing": TEXT, "name": TEXT, **_AMOUNT,
        "sizes": array(record({"size": NUMBER, "vmas": NUMBER})),
    }
)  # fmt: skip
AUDIT: Final = record(
    {
        "source": TEXT,
        "pid": nullable(NUMBER),
        "process": nullable(TEXT),
        "kernel": nullable(TEXT),
        "flags_known": FLAG,
        "anonymous_known": FLAG,
        "vmas": NUMBER,
        "mergeable": nullable(NUMBER),
        "max_map_count": NUMBER,
        "max_map_count_assumed": FLAG,
        "headroom": NUMBER,
        "savable": NUMBER,
        "differ_by_mergeable": NUMBER,
        "special": NUMBER,
        "ksm": record(
            {
                "ksmd": nullable(FLAG), "by_default": nullable(FLAG),
                "resident": nullable(NUMBER), "apart": NUMBER,
                "merged": nullable(NUMBER), "zeros": nullable(NUMBER), "tracked": nullable(NUMBER),
                "records": nullable(NUMBER), "profit": nullable(INTEGER),
            }
        ),
        "patterns": array(_PATTERN, description="Each VMA is of one; the largest first."),
        "groups": array(_GROUP, description="Each VMA is in one; the largest first."),
        "runs": array(
            record(
                {
                    **SPAN["properties"], "savable": NUMBER,
                    "causes": array(
                        record({"cause": TEXT, "confidence": one_of("likely", "possible")})
                    ),
                    "vmas": array(record({**MAPPING["properties"], "anonymous": nullable(FLAG)})),
                }
            ),
            description="VMAs beside each other that look alike.",
        ),
    }
)  # fmt: skip
_SHARING: Final = {"merged": NUMBER, "saved": NUMBER, "saved_error": NUMBER}
PAGES: Final = record(
    {
        "page_size": NUMBER,
        "max_page_sharing": NUMBER,
        "use_zero_pages": FLAG,
        "pages": NUMBER,
        "read": NUMBER,
        **_SHARING,
        "saved_within": NUMBER,
        "saved_zeros": NUMBER,
        "forked": NUMBER,
        "records": NUMBER,
        "profit": INTEGER,
        "processes": array(
            record(
                {
                    "pid": NUMBER, "name": TEXT, "pages": NUMBER, "read": NUMBER,
                    "unread": NUMBER, "zeros": NUMBER, "swapped": NUMBER, **_SHARING,
                    "vmas": NUMBER, "max_map_count": NUMBER,
                    "added": array(record({"kernel": TEXT, "likely": NUMBER, "most": NUMBER})),
                }
            )
        ),
    }
)  # fmt: skip
_TIME: Final = nullable({"type": "number", "minimum": 0})
WATCH: Final = record(
    {
        "source": TEXT,
        "pid": NUMBER,
        "process": TEXT,
        "kernel": TEXT,
        "samples": array(
            record(
                {
                    "at": REAL, "took": REAL, "vmas": NUMBER, "mergeable": NUMBER,
                    "max_map_count": NUMBER, "patterns": table(NUMBER),
                }
            ),
            minItems=1,
        ),
        "forecast": nullable(
            record(
                {
                    "rate": REAL, "low": REAL, "high": REAL, "seconds": _TIME, "earliest": _TIME,
                    "latest": _TIME,
                },
                description="VMAs per second, and seconds from the last sample to the limit.",
            )
        ),
        "ratchets": array(
            record(
                {
                    "pattern": one_of(*PATTERNS), "came": NUMBER, "healed": NUMBER,
                    "unmapped": NUMBER, "there": NUMBER,
                }
            ),
            description="What became of the cuts that came after the first sample.",
        ),
        "last": record(
            {"format": {"const": "vmatrace-audit/1"}, **AUDIT["properties"]},
            description="The audit of the last sample.",
        ),
    }
)  # fmt: skip
_SNAPSHOT: Final = record(
    {"source": TEXT, "vmas": NUMBER, "max_map_count": NUMBER, "headroom": NUMBER}
)
COMPARE: Final = record(
    {
        "before": _SNAPSHOT,
        "after": _SNAPSHOT,
        "equal": FLAG,
        "kinds": table(record({"times": NUMBER, "vmas": INTEGER})),
        "patterns": array(
            record({"pattern": one_of(*PATTERNS), "before": NUMBER, "after": NUMBER})
        ),
        "changes": array(
            record(
                {
                    "kind": one_of(
                        "came", "went", "split", "merged", "resized", "changed", "reshaped"
                    ),
                    "start": NUMBER, "end": NUMBER, "pattern": one_of(*PATTERNS),
                    "before": array(MAPPING), "after": array(MAPPING),
                }
            ),
            description="Each VMA that is not as it was is in one of these.",
        ),
    }
)  # fmt: skip
