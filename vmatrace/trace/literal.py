"""Python values as nodes of a trace, so that one set of checks serves files and programs.

What stands in a file as text stands here as str, what stands there plain as int, bool or None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vmatrace.event import Event, Expectation, File
from vmatrace.trace.yamlstream import MappingNode, Node, Scalar, SequenceNode


class Place(NamedTuple):
    """A Mark: both numbers count from 0; line -1 is no line at all."""

    line: int
    column: int


@dataclass(frozen=True)
class Literal:
    """A Scalar that no text holds."""

    value: str
    style: str | None
    start_mark: Place
    end_mark: Place


def plain(text: str, line: int) -> Scalar:
    """*text* as it stands in *line*, which counts from 1; 0: in none."""
    place = Place(line - 1, 0)
    return Literal(text, None, place, place)


def scalar(value: str | int | None, line: int) -> Scalar:
    """*value* as a scalar in *line*. None is NULL: nothing to YAML, but an address to a call."""
    if isinstance(value, str):
        place = Place(line - 1, 0)
        return Literal(value, '"', place, place)  # in quotes "4096" and "true" stay text
    if value is None:
        return plain("NULL", line)
    return plain(str(value).lower() if isinstance(value, bool) else str(value), line)


def node(value: object, line: int) -> Node:
    """*value* with all that is in it. Raises TypeError for what no trace can hold."""
    if value is None or isinstance(value, (str, int)):
        return scalar(value, line)
    if isinstance(value, File):
        value = {
            "path": value.path, "fs": value.fs, "mode": value.mode, "size": value.size,
            "vmflags": " ".join(value.vmflags) or None,
        }  # fmt: skip
        value = {key: part for key, part in value.items() if part is not None}
    if isinstance(value, Mapping):
        mapping = MappingNode(line, 1)
        for key, part in value.items():
            if not isinstance(key, (str, int)):
                raise TypeError(f"a key is {type(key).__name__} (expected str or int)")
            mapping.pairs.append((scalar(key, line), node(part, line)))
        return mapping
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        sequence = SequenceNode(line, 1)
        sequence.items += [node(part, line) for part in value]
        return sequence
    kinds = "str, int, bool, None, a mapping or a sequence"
    raise TypeError(f"a trace cannot hold {type(value).__name__} (expected {kinds})")


#: What stands for an item of a trace in Python: a call as strace prints it, the mapping that a
#: trace file would have, or the value itself.
ItemLike = str | Mapping[str, object] | Event | Expectation
