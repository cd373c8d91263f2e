"""The building blocks of schemas: shorthand for what JSON Schema says at length.

Patterns are written in the part of regular expressions that ECMA 262 and Python share.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
FLAG: Final[Schema] = {"type": "boolean"}
INTEGER: Final[Schema] = {"type": "integer"}
#: A count, a size, an address: bytes where it measures memory.
NUMBER: Final[Schema] = {"type": "integer", "minimum": 0}
REAL: Final[Schema] = {"type": "number"}


def array(items: Schema, **more: Any) -> Schema:
    """A list of *items*."""
    return {"type": "array", "items": items, **more}


def nullable(schema: Schema) -> Schema:
    """*schema* or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def one_of(*words: str) -> Schema:
    """One of *words*."""
    return {"enum": list(words)}


def table(values: Schema) -> Schema:
    """An object whose keys are names and whose values are *values*."""
    return {"type": "object", "additionalProperties": values}


def record(
    required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, **more: Any
) -> Schema:
    """An object of an output: fields that are always there, and fields that may be.

    Open: a field may be added within a version of a format, never renamed or removed.
    """
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        **more,
    }


def closed(properties: Mapping[str, Schema], required: Iterable[str] = (), **more: Any) -> Schema:
    """An object of an input: no other keys than *properties*."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


def matching(pattern: str, expected: str) -> Schema:
    """Text that matches *pattern*; what was *expected* is what editors say of any other."""
    # The keyword is that of the JSON and YAML language servers; validators pass over it.
    message = f"Expected {expected}."
    return {"type": "string", "pattern": pattern, "patternErrorMessage": message}


def words(names: Iterable[str]) -> str:
    """A pattern for one of *names* as a whole word."""
    return f"(?:{'|'.join(map(re.escape, names))})(?![A-Za-z0-9_])"
