"""The text behind nodes of a trace file: where they stand in it, and scalars spelled anew.

Knows offsets, quotes and line breaks; knows no key of a trace.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple, cast

from vmatrace.trace.writer import quoted
from vmatrace.trace.yamlstream import MappingNode, Node, Scalar, SequenceNode, position

_BREAK: Final = re.compile(r"\r\n|\r|\n")
#: What may stand between the last value of a flow collection and its end.
_TO_CLOSER: Final = re.compile(r"(?:[\s,]|#[^\r\n]*)*")
#: Plain scalars, in flow collections and elsewhere: a part of what YAML allows.
_PLAIN_FLOW: Final = re.compile(r"(?:[\w/.(]|-(?=\S))(?:[\w/.()+*|@=~ -]|:(?=\w))*(?<! )\Z", re.A)
_PLAIN: Final = re.compile(
    r"(?:[\w/.(]|-(?=\S))(?:[\w/.()+*|@=~,{}\[\] -]|:(?=[\w\[]))*(?<! )\Z", re.A
)


class Edit(NamedTuple):
    """The characters from *start* to *end* become *text*."""

    start: int
    end: int
    text: str


class Text:
    """The text of a trace, and where in it nodes stand; offsets are in characters."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts = [0, *(match.end() for match in _BREAK.finditer(text))]
        first = _BREAK.search(text)
        self.newline = first[0] if first else "\n"

    def start(self, node: Node | None) -> int:
        """Where *node* starts; for a block list, where its first ``-`` stands."""
        line, column = position(node)
        return self._starts[line - 1] + column - 1

    def end(self, node: Node | None) -> int:
        """The end of *node*, without a line break."""
        if isinstance(node, (MappingNode, SequenceNode)):
            last = node.pairs[-1][1] if isinstance(node, MappingNode) else node.items[-1:]
            if isinstance(last, list):
                last = last[0] if last else None
            end = self.start(node) + 1 if last is None else self.end(last)
            if self.is_flow(node):
                match = _TO_CLOSER.match(self.text, end)
                assert match is not None
                return match.end() + 1
            return end
        mark = cast(Scalar, node).end_mark
        end = self._starts[mark.line] + mark.column
        return self.start(node) + len(self.text[self.start(node) : end].rstrip())

    def is_flow(self, node: Node) -> bool:
        """Whether *node* is a collection in brackets or braces."""
        return not hasattr(node, "style") and self.text[self.start(node)] in "[{"

    def line_start(self, offset: int) -> int:
        """Where the line of *offset* starts."""
        return max(self.text.rfind("\n", 0, offset), self.text.rfind("\r", 0, offset)) + 1

    def line_end(self, offset: int, after: bool = False) -> int:
        """Where the line of *offset* ends, or *after* its line break."""
        match = _BREAK.search(self.text, offset)
        return len(self.text) if match is None else match.end() if after else match.start()

    def column(self, offset: int) -> int:
        """How many characters of its line come before *offset*."""
        return offset - self.line_start(offset)

    def edited(self, edits: Iterable[Edit], start: int = 0, end: int | None = None) -> str:
        """The text from *start* to *end* with *edits*, which do not overlap."""
        parts = []
        for edit in sorted(edits, key=lambda edit: edit.start):
            parts += [self.text[start : edit.start], edit.text]
            start = edit.end
        return "".join([*parts, self.text[start:end]])

    def spelled(self, node: Scalar, value: str, flow: bool) -> str:
        """*value* in place of the scalar *node* and quoted as that is; *flow*: inside brackets."""
        start, end = self.start(node), self.end(node)
        if node.style == "'" and value.isprintable():
            return "'" + value.replace("'", "''") + "'"
        plain = not node.style and (_PLAIN_FLOW if flow else _PLAIN).match(value)
        # Where nothing stood, the colon needs a blank behind it.
        blank = " " if start == end and self.text[start - 1] == ":" else ""
        return blank + (value if plain else quoted(value))
