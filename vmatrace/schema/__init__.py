"""JSON Schemas (2020-12) of the trace file and of every output for programs.

Knows shapes, not meanings: what a schema cannot say (a label that nothing binds, a call that is not
modelled) is the reader's to find. Refuses to know who prints what.
"""

from __future__ import annotations

from typing import Final

from vmatrace.schema import outputs, reports, tracefile
from vmatrace.schema.parts import Schema

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
TRACE: Final = "trace"
#: Each schema's name, that of the trace file first; the others are named after their command.
NAMES: Final = (TRACE, *outputs.OUTPUTS, *reports.REPORTS)


_ALL: Final = {**outputs.OUTPUTS, **reports.REPORTS}


def schema(name: str = TRACE) -> Schema:
    """The schema called *name*, one of NAMES, as a document of its own."""
    if name == TRACE:
        return {"$schema": DIALECT, **tracefile.schema()}
    return {"$schema": DIALECT, "title": f"Output of vmatrace {name}", **_ALL[name]}


def about(name: str) -> str:
    """One line about what the schema called *name* describes."""
    return str(schema(name)["description"])
