"""The shapes that several outputs share: VMAs, merge attempts, events."""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.schema.parts import NUMBER, TEXT, Schema, array, nullable, one_of, record, table

#: A line of the trace, from 1.
LINE: Final[Schema] = {"type": "integer", "minimum": 1}
PERMS: Final[Schema] = {"type": "string", "pattern": "^[r-][w-][x-][sp]$"}
#: The name of an errno, null for a success.
ERRNO: Final = nullable({"type": "string", "pattern": "^E[A-Z0-9]+$"})
CODES: Final = array(one_of(*abi.CODE_TO_VM_FLAG))
_RANGE: Final = {"start": NUMBER, "end": NUMBER}
SPAN: Final = record(_RANGE)
MAPPING: Final = record(
    {**_RANGE, "perms": PERMS, "offset": NUMBER, "name": TEXT, "vmflags": CODES}
)
LAYOUT: Final = array(MAPPING, description="The VMAs in address order.")
REASONS: Final = array(TEXT, description="Codes of the reasons not to merge.")
#: The merge attempts of an event.
MERGES: Final = array(record({"kind": one_of("prev", "next", "both"), **_RANGE}))
BLOCKED: Final = array(
    record(
        {"side": one_of("prev", "next"), "address": NUMBER, "reasons": REASONS, "flags": CODES},
        {"neighbour": SPAN},
    )
)
#: Which event of the trace.
CALLED: Final = {"line": LINE, "pid": TEXT, "call": TEXT}


def pair(values: Schema) -> dict[str, Schema]:
    """Fields with the values on the two sides that are compared."""
    return {"from": values, "to": values}


#: What reading a log leaves to say.
LOG: Final = record(
    {
        "form": TEXT, "lines": NUMBER, "events": NUMBER, "supplied": NUMBER, "joined": NUMBER,
        "passed": table(NUMBER), "misread": NUMBER,
        "misread_lines": array(
            record({"path": TEXT, "line": NUMBER, "column": NUMBER, "message": TEXT, "text": TEXT})
        ),
        "assume_faulted": nullable(TEXT), "assumed": array(TEXT),
    }
)  # fmt: skip
