"""Values that the data of a page holds once each, by number."""

from __future__ import annotations

from typing import Any, Final

from vmatrace.layout import Mapping
from vmatrace.replayer.assumptions import NAME as ASSUMED

#: Where the name is among the attributes of a VMA.
NAME: Final = 2


class ValueTable:
    """Values, each once, by number."""

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}
        self.rows: list[Any] = []

    def number(self, key: object, row: Any) -> int:
        """The number of *key*, whose value is *row*."""
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.rows)
            self.rows.append(row)
        return found


class AttributeTable(ValueTable):
    """The attributes of VMAs: permissions, VmFlags, name, and the kind that a map colours."""

    def of(self, mapping: Mapping) -> int:
        """The number of those of *mapping*."""
        name = mapping.name
        key = mapping.vm_flags, name
        found = self._numbers.get(key)
        if found is None:  # VMAs are many and kinds few, and a row takes ten times as long
            row = [mapping.perms, " ".join(mapping.codes), name, _kind(name)]
            found = self.number(key, row)
        return found


def _kind(name: str) -> str:
    if name == ASSUMED:
        return "assumed"
    if name == "[heap]":
        return "heap"
    if name.startswith("[stack"):
        return "stack"
    if not name or name.startswith("[anon"):
        return "anon"
    return "special" if name.startswith("[") else "file"
