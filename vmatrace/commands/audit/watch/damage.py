"""What is wrong with the tables of a file of samples: ``check()``. A cell may hold anything."""

from __future__ import annotations

import sqlite3
from typing import Final

_INTEGER: Final = ("integer",)
_TEXT: Final = ("text",)
_REAL: Final = ("real", "integer")
_MAYBE: Final = ("integer", "null")
#: What each column may hold, by its typeof().
_TYPES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "about": {"key": _TEXT, "value": _TEXT},
    "samples": {
        "number": _INTEGER, "at": _REAL, "took": _REAL, "vmas": _INTEGER, "mergeable": _INTEGER,
        "max_map_count": _INTEGER,
    },
    "patterns": {"sample": _INTEGER, "pattern": _TEXT, "vmas": _INTEGER},
    "kinds": {
        "kind": _INTEGER, "flags": _INTEGER, "flags_known": _INTEGER, "codes": _TEXT, "name": _TEXT,
        "device": _TEXT, "inode": _INTEGER,
    },
    "vmas": {
        "vma": _INTEGER, "start": _INTEGER, "end": _INTEGER, "kind": _INTEGER, "offset": _INTEGER,
        "anonymous": _INTEGER, "came": _INTEGER, "gone": _MAYBE,
    },
    "cuts": {
        "address": _INTEGER, "pattern": _TEXT, "came": _INTEGER, "gone": _MAYBE, "healed": _MAYBE,
    },
}  # fmt: skip
#: What there may not be, and how it is said.
_NEVER: Final = {
    "samples are not numbered from 1 on":
        "SELECT 1 FROM (SELECT min(number) AS low, max(number) AS high, count(*) AS n FROM samples)"
        " WHERE n AND (low <> 1 OR high <> n)",
    "a sample has counts that cannot be":
        "SELECT 1 FROM samples WHERE vmas NOT BETWEEN 0 AND 1 << 31"
        " OR mergeable NOT BETWEEN 0 AND vmas OR max_map_count NOT BETWEEN 1 AND 1 << 31"
        " OR took < 0",
    "the patterns of a sample are not as many as its VMAs":
        "SELECT 1 FROM samples LEFT JOIN (SELECT sample, sum(vmas) AS n, min(vmas) AS least FROM"
        " patterns GROUP BY sample) ON sample = number"
        " WHERE vmas <> coalesce(n, 0) OR least < 0",
    "the VMAs of the last sample are not as many as it says":
        "SELECT 1 FROM samples WHERE number = (SELECT max(number) FROM samples) AND vmas <>"
        " (SELECT count(*) FROM vmas JOIN kinds USING (kind) WHERE gone IS NULL)",
    "a VMA or a cut is gone before it came":
        "SELECT 1 FROM (SELECT came, gone FROM vmas UNION ALL SELECT came, gone FROM cuts)"
        " WHERE came < 1 OR gone <= came",
    "a VMA is of no kind":
        "SELECT 1 FROM vmas WHERE kind NOT IN (SELECT kind FROM kinds)",
}  # fmt: skip


def check(db: sqlite3.Connection) -> None:
    """Raises ValueError for what no sampling writes, sqlite3.Error for a table that is missing."""
    for table, columns in _TYPES.items():
        for column, types in columns.items():
            known = ", ".join(f"'{name}'" for name in types)
            query = f"SELECT typeof({column}) FROM {table} WHERE typeof({column}) NOT IN ({known})"
            found = db.execute(f"{query} LIMIT 1").fetchone()
            if found is not None:
                raise ValueError(f"{table}.{column} is {found[0]} (expected {' or '.join(types)})")
    for what, query in _NEVER.items():
        if db.execute(f"{query} LIMIT 1").fetchone() is not None:
            raise ValueError(what)
