"""Call strings, fast: ``munmap(0x7f0000000000, 0x1000) = 0`` -> ParsedCall.

A trace holds a million calls that differ in little more than their addresses. So the usual
spelling is cut at its punctuation, hex numbers are converted where they stand, and every other text
is looked up among those seen before in its place. Whatever is unusual or wrong goes to the grammar,
which alone decides what a text means and what an error says.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, TypeVar, Union

from vmatrace.calls import CALLS, Call, Param
from vmatrace.event import Arg, Expr
from vmatrace.trace.grammar import Grammar, ParsedCall, is_reserved, is_symbolic
from vmatrace.trace.tokens import CallError

__all__ = ["CallError", "CallParser", "ParsedCall", "parse_call"]

_T = TypeVar("_T")
#: Texts remembered per cache; a full one is emptied.
_CACHE: Final = 2048
#: Longer texts are unusual.
_LONG: Final = 4096
_LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
#: NamedTuple's own constructor is a Python function; this is half of what it costs.
_new: Final = tuple.__new__


#: What follows the first argument: the other arguments, the recorded result, its length as text.
_Rest = tuple[tuple[Arg, ...], Union[int, None], int]


class _Known:
    """What was read before of one call: texts of arguments, and of all that follows the first."""

    __slots__ = ("arguments", "bodies", "call", "first", "rests")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.arguments: list[tuple[dict[str, Arg], Param]] = [({}, p) for p in call.params]
        self.first = self.arguments[0][0]
        self.bodies: dict[str, tuple[Arg, ...]] = {}
        self.rests: dict[str, _Rest] = {}


class CallParser:
    """Reads call strings of traces whose page size is *page_size* bytes; holds the caches."""

    def __init__(self, page_size: int = 4096) -> None:
        self.page_size = page_size
        # Variadic calls are rare, and a comma need not end an argument of theirs.
        self._known = {
            call.name: _Known(call) for call in CALLS.values() if call.params and not call.variadic
        }
        self._results: dict[str, int | None] = {"": None}

    def parse(self, text: str) -> ParsedCall:
        """The call in *text*. Raises CallError."""
        try:
            name, _, inside = text.partition("(")
            label = None
            call = text
            known = self._known.get(name)
            if known is None:
                label, _, name = name.partition(" = ")
                known = self._known[name]
                if not _LABEL.match(label) or is_reserved(label):
                    raise ValueError
                call = text[len(label) + 3 :]
            first, comma, rest = inside.partition(", ")
            if comma:
                found = known.rests.get(rest)
                if found is None:
                    # Results that are addresses are hardly ever the same twice.
                    body, address, digits = rest.partition(") = 0x")
                    others = known.bodies.get(body) if address and len(digits) <= 16 else None
                    if others is not None and digits.isalnum() and digits.isascii():
                        recorded: int | None = int(rest[len(body) + 4 :], 16)
                        tail = len(digits) + 5
                    else:
                        others, recorded, tail = self._rest(known, rest)
                else:
                    others, recorded, tail = found
            else:
                first, others, recorded, tail = self._only(known, inside)
            # isalnum() keeps out what int() would also take: blanks, signs, underscores.
            if first[:2] == "0x" and len(first) <= 18 and first.isalnum() and first.isascii():
                value: Arg = int(first, 16)
            else:
                value = self._remembered(first, known.arguments[0])
            if tail:
                call = call[:-tail]
            return _new(ParsedCall, (label, name, (value, *others), recorded, False, call))
        except (KeyError, ValueError):
            pass  # unusual, or wrong: the grammar knows
        return Grammar(text, self.page_size).call()

    def argument(self, param: Param, text: str) -> Arg:
        """The argument that *text* is in the position of *param*. Raises CallError."""
        grammar = Grammar(text, self.page_size)
        value = grammar.argument(param)
        grammar.end()
        return value

    def expression(self, text: str) -> int | Expr:
        """An address or size expression. Raises CallError."""
        return Grammar(text, self.page_size).expression()

    def result(self, text: str) -> int | None:
        """What stands after ``=`` in *text*: a return value, -errno, or None. Raises CallError."""
        return Grammar(text, self.page_size).result()

    def _rest(self, known: _Known, rest: str) -> _Rest:
        """What follows the first argument and its comma."""
        body, closed, tail = rest.partition(")")
        if not closed or len(rest) > _LONG:
            raise ValueError
        others = known.bodies.get(body)
        if others is None:
            parts = body.split(", ")
            if not known.call.required <= 1 + len(parts) <= len(known.call.params):
                raise ValueError
            places = known.arguments[1:]
            others = tuple(map(self._argument, parts, places))
            _remember(known.bodies, body, others)
        found = (others, self._recorded(tail), len(tail))
        return found if tail[:5] == " = 0x" else _remember(known.rests, rest, found)

    def _only(self, known: _Known, inside: str) -> tuple[str, tuple[Arg, ...], int | None, int]:
        """A call with one argument: its text, no others, and the rest."""
        first, closed, tail = inside.partition(")")
        if not closed or known.call.required > 1:
            raise ValueError
        return first, (), self._recorded(tail), len(tail)

    def _argument(self, text: str, place: tuple[dict[str, Arg], Param]) -> Arg:
        if text[:2] == "0x" and len(text) <= 18 and text.isalnum() and text.isascii():
            return int(text, 16)
        return self._remembered(text, place)

    def _remembered(self, text: str, place: tuple[dict[str, Arg], Param]) -> Arg:
        """One argument that is not a hex number and mentions no name."""
        cache, param = place
        value = cache.get(text)
        if value is None:
            if len(text) > _LONG:
                raise ValueError
            value = self.argument(param, text)
            if is_symbolic(value):
                raise ValueError
            _remember(cache, text, value)
        return value

    def _recorded(self, tail: str) -> int | None:
        """The result in *tail*, all that follows the closing parenthesis."""
        if tail[:5] == " = 0x" and len(tail) <= 21 and tail[3:].isalnum() and tail.isascii():
            return int(tail[3:], 16)
        if tail not in self._results:
            if tail[:3] != " = ":
                raise ValueError
            _remember(self._results, tail, self.result(tail[3:]))
        return self._results[tail]


def _remember(cache: dict[str, _T], text: str, value: _T) -> _T:
    if len(text) <= 256:
        if len(cache) >= _CACHE:
            cache.clear()
        cache[text] = value
    return value


def parse_call(text: str, page_size: int = 4096) -> ParsedCall:
    """Read one call string. Raises CallError with the offset of the offending token."""
    return _parser(page_size).parse(text)


@lru_cache(maxsize=8)
def _parser(page_size: int) -> CallParser:
    return CallParser(page_size)
