"""Nodes of a trace file as Python values, with errors that say what was expected.

Knows the scalars of YAML 1.2's core schema, so neither "yes" nor "1:30" is anything but text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from vmatrace.diagnostic import Collector, quoted, suggestion
from vmatrace.trace.yamlstream import MappingNode, Node, Scalar, SequenceNode, position

_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,30})\Z|0x[0-9a-fA-F]{1,30}\Z|0o[0-7]{1,30}\Z")


def is_null(node: Node | None) -> bool:
    """Whether *node* is the YAML null."""
    value = getattr(node, "value", "x")
    return value in ("", "~", "null", "Null", "NULL") and not getattr(node, "style", "x")


def describe(node: Node) -> str:
    """What *node* is, for "expected a number, got …"."""
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    return "nothing" if is_null(node) else quoted(node.value)


class Values:
    """Typed readings of nodes. Each reports what it cannot read and returns None."""

    def __init__(self, errors: Collector) -> None:
        self.errors = errors

    def wrong(self, node: Node, expected: str) -> None:
        self.errors.add(*position(node), f"expected {expected}, got {describe(node)}")

    def fields(
        self, node: Node | None, allowed: Iterable[str], what: str
    ) -> dict[str, Node | None]:
        """The values of a mapping by key; unknown keys are reported with a suggestion."""
        if node is None:
            return {}
        if not isinstance(node, MappingNode):
            self.wrong(node, f"a mapping for {what}")
            return {}
        allowed = tuple(allowed)
        for key, _ in node.pairs:
            if key.value not in allowed:
                self.unknown_key(key, allowed, what)
        return {key.value: value for key, value in node.pairs if key.value in allowed}

    def unknown_key(self, key: Scalar, allowed: Iterable[str], what: str) -> None:
        hint = suggestion(key.value, allowed)
        if "(" in key.value:
            hint = " (a call that contains ': ' must be in quotes)"
        self.errors.add(*position(key), f"unknown key {quoted(key.value)} in {what}{hint}")

    def text(self, node: Node | None, expected: str = "text") -> str | None:
        """A scalar as written; numbers are text too, nothing is not."""
        if node is None:
            return None
        if isinstance(node, (MappingNode, SequenceNode)) or is_null(node):
            self.wrong(node, expected)
            return None
        return node.value

    def integer(
        self, node: Node | None, least: int = 0, most: int = (1 << 64) - 1, what: str = "a number"
    ) -> int | None:
        """A plain integer from *least* to *most*."""
        if node is None:
            return None
        value = parse_integer(node)
        if value is None:
            self.wrong(node, what)
        elif not least <= value <= most:
            limits = f"at least {least}" if value < least else f"at most {most}"
            self.errors.add(*position(node), f"expected {what}, {limits}")
            return None
        return value

    def boolean(self, node: Node | None) -> bool | None:
        if node is None:
            return None
        value = getattr(node, "value", "")
        if value.lower() in ("true", "false") and not getattr(node, "style", ""):
            return bool(value.lower() == "true")
        self.wrong(node, "true or false")
        return None


def parse_integer(node: Node) -> int | None:
    """The value of a plain scalar that is an integer of YAML 1.2: decimal, 0x, 0o."""
    if isinstance(node, (MappingNode, SequenceNode)) or node.style:
        return None
    return int(node.value, 0) if _INTEGER.match(node.value) else None
