"""What a reduced trace has to keep: the expression of `vmatrace shrink --keep`, read.

Knows the grammar and the names; whether one holds, search.goals finds out.

    condition := all {"or" all}            all := one {"and" one}
    one  := "not" one | "(" condition ")" | "differs" | "limit_hit" | "mismatch"
          | "expectation" | "line" N ("fails" [ERRNO] | "succeeds")
          | sum ("==" | "!=" | "<" | "<=" | ">" | ">=") sum
    sum  := term {("+" | "-") term}        term := N | [("from" | "to") "."] COUNT
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Union

from vmatrace import abi
from vmatrace.diagnostic import quoted, suggestion
from vmatrace.engine.merge import NOTHING_THERE, Blocker

#: Counts that only grow while a trace goes on: an event that counts can be pointed at.
_REASONS: Final = tuple(
    "blocked." + reason.code.replace("-", "_") for reason in Blocker if not reason & NOTHING_THERE
)
GROWING: Final = (
    "merges", "merges.prev", "merges.next", "merges.both", "splits", "blocked", *_REASONS,
    "blocked_only_by_mergeable", "errors", "divergences", "events",
)  # fmt: skip
#: Every count that a condition may name.
COUNTS: Final = ("vmas", "peak_vmas", "mergeable", *GROWING)
_COMPARE: Final[dict[str, Callable[[int, int], bool]]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_OPERATORS: Final = tuple(_COMPARE)
_SIDES: Final = ("from", "to")
_TOKEN: Final = re.compile(
    r"\s*(?P<number>0x[0-9a-f]+|\d+)|\s*(?P<word>[A-Za-z_][\w.]*)|\s*(?P<sign>[<>=!]=|[-<>+()])"
)
_WORDS: Final = (
    "differs", "limit_hit", "mismatch", "expectation", "line", "not", *COUNTS,
)  # fmt: skip


class ConditionError(ValueError):
    """The text is no condition. ``column`` counts from 1."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.column = column


@dataclass(frozen=True)
class SideCount:
    """A count of one side: "from", "to", or "" where there is one side only."""

    side: str
    name: str

    def __str__(self) -> str:
        return f"{self.side}.{self.name}" if self.side else self.name


#: A sum: its parts, each with +1 or -1.
Sum = tuple[tuple[int, Union[int, SideCount]], ...]


@dataclass(frozen=True)
class Compared:
    """``left operator right``."""

    left: Sum
    operator: str
    right: Sum

    def holds(self, left: int, right: int) -> bool:
        """Whether it does for these values of the two sums."""
        return _COMPARE[self.operator](left, right)

    def counts(self) -> Iterator[SideCount]:
        """The counts that it names."""
        return (part for _, part in (*self.left, *self.right) if isinstance(part, SideCount))


@dataclass(frozen=True)
class Named:
    """A condition that is one word: differs, limit_hit, mismatch or expectation."""

    word: str


@dataclass(frozen=True)
class OfLine:
    """What the call in line ``line`` of the input returned: an error (0: any), or (None) none."""

    line: int
    errno: int | None


@dataclass(frozen=True)
class Not:
    """The opposite of ``part``."""

    part: Condition


@dataclass(frozen=True)
class Several:
    """All (``word`` "and") or one (``word`` "or") of ``parts``."""

    word: str
    parts: tuple[Condition, ...]


Condition = Union[Compared, Named, OfLine, Not, Several]


def leaves(condition: Condition) -> Iterator[Compared | Named | OfLine]:
    """The parts that are not made of others."""
    if isinstance(condition, Not):
        yield from leaves(condition.part)
    elif isinstance(condition, Several):
        for part in condition.parts:
            yield from leaves(part)
    else:
        yield condition


def has(condition: Condition, word: str) -> bool:
    """Whether a part of it is that one word."""
    return any(isinstance(leaf, Named) and leaf.word == word for leaf in leaves(condition))


def two_sided(condition: Condition) -> bool:
    """Whether it compares two sides: differs, from.COUNT or to.COUNT."""
    counts = (c for leaf in leaves(condition) if isinstance(leaf, Compared) for c in leaf.counts())
    return has(condition, "differs") or any(count.side for count in counts)


#: Conditions are no deeper, so that whoever walks one can.
_DEEPEST: Final = 50


def parse(text: str) -> Condition:
    """The condition that *text* is. Raises ConditionError."""
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, int]] = []
        self._next = 0
        self._depth = 0
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                column = at + len(text[at:]) - len(text[at:].lstrip()) + 1
                raise ConditionError(f"unexpected {quoted(text[column - 1])}", column)
            found = match[match.lastgroup or ""]
            self._tokens.append((found, match.end() - len(found) + 1))
            at = match.end()

    def whole(self) -> Condition:
        condition = self._several("or")
        if self._peek():
            raise self._error("'and', 'or' or the end")
        return condition

    def _several(self, word: str) -> Condition:
        parts = []
        while True:
            parts.append(self._several("and") if word == "or" else self._one())
            if not self._take(word):
                return parts[0] if len(parts) == 1 else Several(word, tuple(parts))

    def _one(self) -> Condition:
        """One part. What stands in parentheses or behind a not is deeper by one."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(f"at most {_DEEPEST} parentheses and nots in each other")
        try:
            return self._part()
        finally:
            self._depth -= 1

    def _part(self) -> Condition:
        if self._take("not"):
            return Not(self._one())
        if self._take("("):
            inside = self._several("or")
            if not self._take(")"):
                raise self._error("')'")
            return inside
        word = self._peek()
        if word in ("differs", "limit_hit", "mismatch", "expectation"):
            self._next += 1
            return Named(word)
        if self._take("line"):
            return self._line()
        return self._comparison()

    def _line(self) -> OfLine:
        line = self._number("the number of a line")
        if self._take("succeeds"):
            return OfLine(line, None)
        if not self._take("fails"):
            raise self._error("'fails', 'fails ERRNO' or 'succeeds'")
        name = self._peek()
        if not name.startswith("E"):
            return OfLine(line, 0)
        for number, known in abi.ERRNO_NAME.items():
            if known == name:
                self._next += 1
                return OfLine(line, number)
        raise self._error("the name of an error", suggestion(name, abi.ERRNO_NAME.values()))

    def _comparison(self) -> Compared:
        left = self._sum()
        operator = self._peek()
        if operator not in _OPERATORS:
            raise self._error(f"one of {' '.join(_OPERATORS)}")
        self._next += 1
        return Compared(left, operator, self._sum())

    def _sum(self) -> Sum:
        parts = [(1, self._term())]
        while (sign := self._peek()) in ("+", "-"):
            self._next += 1
            parts.append((1 if sign == "+" else -1, self._term()))
        return tuple(parts)

    def _term(self) -> int | SideCount:
        text = self._peek()
        if text[:1].isdigit():
            return self._number("")
        side, dot, name = text.partition(".")
        if not dot or side not in _SIDES:
            side, name = "", text
        if name not in COUNTS:
            raise self._error("a condition such as 'differs' or 'vmas >= 100'",
                              suggestion(name, _WORDS))  # fmt: skip
        self._next += 1
        return SideCount(side, name)

    def _number(self, what: str) -> int:
        text = self._peek()
        if not text[:1].isdigit():
            raise self._error(what)
        self._next += 1
        return int(text, 0) if text.startswith("0x") else int(text)

    def _peek(self) -> str:
        return self._tokens[self._next][0] if self._next < len(self._tokens) else ""

    def _take(self, word: str) -> bool:
        if self._peek() != word:
            return False
        self._next += 1
        return True

    def _error(self, expected: str, hint: str = "") -> ConditionError:
        found = quoted(self._peek()) if self._peek() else "the end"
        at = self._tokens[self._next][1] if self._peek() else len(self._text) + 1
        return ConditionError(f"unexpected {found}{hint or f' (expected {expected})'}", at)
