"""The schemas of outputs that are not JSON of our own: rows of CSV, and reports to CI servers."""

from __future__ import annotations

from typing import Final

from vmatrace.schema.parts import INTEGER, TEXT, Schema, array, one_of, record
from vmatrace.schema.shapes import LINE

#: The patterns of audit, in order.
PATTERNS: Final = (
    "thread-stacks", "guard-pages", "glibc-arenas", "reserve-and-commit", "jit-pages",
    "protection", "names", "dontfork", "accounting", "locked", "ksm-flag", "advice", "lookalikes",
    "holes", "scattered", "libraries", "file-pieces", "files", "shared-memory", "devices",
    "kernel", "single",
)  # fmt: skip

_NUMBER: Final = {"type": "string", "pattern": "^[0-9]*$"}


def _row(description: str, columns: tuple[str, ...], **more: Schema) -> Schema:
    """A row as an object, a field for each column in order; every value is text, maybe empty."""
    numbers = {
        "line", "column", "since_line", "vmas", "mergeable", "peak_vmas", "pid", "max_map_count",
        "headroom", "event", "blocked", "peak", "size_class", "bytes", *PATTERNS,
        "ksm_resident", "ksm_merged", "ksm_zeros", "ksm_tracked", "ksm_records", "ksm_apart",
        "page_size", "pages", "read", "unread", "zeros", "swapped", "merged", "saved",
        "saved_error", "added_likely",
        "added_most",
    }  # fmt: skip
    fields = {
        name: _NUMBER if name in numbers or name.endswith(("_from", "_to")) else TEXT
        for name in columns
    }
    return {"description": description, **record({**fields, **more})}


_COUNTS: Final = (
    "vmas", "peak_vmas", "mergeable", "merges", "splits", "blocked", "blocked_only_by_mergeable",
    "errors",
)  # fmt: skip
_CHECK: Final = _row(
    "A row of check --format csv: a model and an expectation.",
    ("path", "trace", "model", "line", "column", "name", "outcome", "what", "expected", "actual",
     "since_line", "since_call", "message"),
    outcome=one_of("passed", "failed", "skipped", "error"),
)  # fmt: skip
_DIFF: Final = _row(
    "A row of diff --format csv: a trace.",
    ("path", "trace", "from", "to", "outcome", "differing_events", "line", "call",
     *(f"{name}_{side}" for name in _COUNTS for side in ("from", "to")), "message"),
    outcome=one_of("equal", "different", "error"),
)  # fmt: skip
_ACROSS: Final = _row(
    "A row of diff --across --format csv: a trace under a model.",
    ("path", "trace", "model", "vmas", "mergeable", "peak_vmas", "differs_from_before", "line",
     "call", "features", "message"),
)  # fmt: skip
_AUDIT: Final = _row(
    "A row of audit --format csv: VMAs of a pattern, kind and size.",
    ("source", "pid", "process", "max_map_count", "pattern", "perms", "mergeable", "backing",
     "name", "size_class", "vmas", "bytes", "ksm_resident", "ksm_merged", "ksm_zeros",
     "ksm_tracked", "ksm_records", "ksm_profit", "ksm_apart"),
    ksm_profit={"type": "string", "pattern": "^(-?[0-9]+)?$"},
)  # fmt: skip
_PAGES: Final = _row(
    "A row of audit --pages --format csv: a process and a model.",
    ("pid", "process", "page_size", "pages", "read", "unread", "zeros", "swapped", "merged",
     "saved", "saved_error", "vmas", "max_map_count", "model", "added_likely", "added_most"),
)  # fmt: skip
_WATCH: Final = _row(
    "A row of audit --every --format csv: a sample.",
    ("source", "pid", "process", "time", "vmas", "max_map_count", "headroom", "mergeable",
     *PATTERNS),
)  # fmt: skip
_COMPARE: Final = _row(
    "A row of audit --compare --format csv: VMAs that differ.",
    ("before", "after", "kind", "start", "end", "pattern", "vmas_before", "vmas_after", "name"),
)
_REPORT: Final = _row(
    "A row of report --format csv: a process after an event.",
    ("path", "trace", "model", "event", "line", "process", "program", "vmas", "mergeable",
     "blocked", "peak"),
)  # fmt: skip

_GITLAB: Final[Schema] = {
    "description": "check and diff --format gitlab: a code quality report of GitLab.",
    **array(
        record(
            {
                "description": TEXT,
                "check_name": {"type": "string", "pattern": "^[a-z-]+$"},
                "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
                "severity": one_of("info", "minor", "major", "critical", "blocker"),
                "location": record({"path": TEXT, "lines": record({"begin": LINE})}),
            }
        )
    ),
}

#: The part of SARIF 2.1.0 that is written; the standard's own schema says more.
_SARIF: Final[Schema] = {
    "description": "check and diff --format sarif: SARIF 2.1.0, as far as it is used.",
    **record(
        {
            "$schema": TEXT,
            "version": {"const": "2.1.0"},
            "runs": array(
                record(
                    {
                        "tool": record({"driver": record({"name": {"const": "vmatrace"}})}),
                        "results": array(
                            record(
                                {
                                    "ruleId": TEXT,
                                    "ruleIndex": INTEGER,
                                    "level": one_of("error", "warning", "note"),
                                    "message": record({"text": TEXT}),
                                    "locations": array({"type": "object"}),
                                    "partialFingerprints": record({"vmatrace/v1": TEXT}),
                                },
                                {"relatedLocations": array({"type": "object"})},
                            )
                        ),
                    }
                )
            ),
        }
    ),
}

REPORTS: Final[dict[str, Schema]] = {
    "check-csv": _CHECK,
    "diff-csv": _DIFF,
    "across-csv": _ACROSS,
    "audit-csv": _AUDIT,
    "pages-csv": _PAGES,
    "watch-csv": _WATCH,
    "compare-csv": _COMPARE,
    "report-csv": _REPORT,
    "gitlab": _GITLAB,
    "sarif": _SARIF,
}
