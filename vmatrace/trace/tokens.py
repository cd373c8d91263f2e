"""The tokens of a call string: numbers, names, strings, and structures that nobody interprets.

Knows how C writes them and how strace abbreviates them; knows no call and no constant.
"""

from __future__ import annotations

import re
from typing import Final

from vmatrace import abi
from vmatrace.diagnostic import quoted

#: Longest call string in characters.
MAX_TEXT: Final = 65536
_SPACE: Final = re.compile(r"(?:[ \t\r\n]+|/\*.*?\*/)*", re.DOTALL)
TOKEN: Final = re.compile(
    r"""(?P<number>[0-9][0-9A-Za-z_]*)
      |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
      |(?P<string>"(?:[^"\\]|\\.)*")(?:\.\.\.)?
      |(?P<op><<|\.\.\.|/\*|.)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPES: Final = re.compile(rf"(?:{_ESCAPE.pattern})+", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "v": "\v", "f": "\f", "a": "\a", "b": "\b"}
_BRACKETS: Final = {"(": ")", "[": "]", "{": "}"}


class CallError(ValueError):
    """A call string that cannot be read; ``offset`` counts characters from the text's start."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset
        self.message = message


class Tokens:
    """Reads one text; ``position`` is where the next token starts."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_TEXT:
            raise CallError(0, f"the call is longer than {MAX_TEXT} characters")
        self.text = text
        self.position = 0

    def end(self) -> None:
        """Nothing but white space may follow."""
        self._space()
        if self.position < len(self.text):
            raise CallError(self.position, f"unexpected {quoted(self._peek())}")

    def _string(self) -> str:
        start = self.position
        kind, token = self._next()
        if kind != "string":
            raise CallError(start, "the string has no closing quote")
        return unescaped(token[1:-1])

    def _opaque(self) -> str:
        """Text up to the comma or parenthesis that ends the argument; brackets must balance."""
        self._space()
        start = self.position
        closers: list[str] = []
        while self.position < len(self.text):
            at = self.position
            char = self.text[at]
            if not closers and char in ",)":
                break
            if char == '"':
                self._string()
                continue
            self._space()
            if self.position > at:
                continue
            self.position += 1
            if char in _BRACKETS:
                closers.append(_BRACKETS[char])
            elif char in ")]}" and (not closers or closers.pop() != char):
                raise CallError(at, f"unbalanced {char!r}")
            elif self.text.startswith("/*", at):
                raise CallError(at, "the comment is not closed")
        text = self.text[start : self.position].strip()
        if closers:
            raise CallError(start, f"expected {closers[-1]!r} before the end")
        if not text:
            raise CallError(start, "expected an argument")
        return text

    def _space(self) -> None:
        match = _SPACE.match(self.text, self.position)
        assert match is not None
        self.position = match.end()

    def _next(self) -> tuple[str, str]:
        """The token here: its kind (number, name, string, op) and text; both empty at the end."""
        match = TOKEN.match(self.text, self.position)
        if match is None:
            return "", ""
        self.position = match.end()
        kind = match.lastgroup or ""
        return kind, match[kind]

    def _peek(self) -> str:
        self._space()
        match = TOKEN.match(self.text, self.position)
        return match[0] if match else ""

    def _accept(self, operator: str) -> bool:
        if self._peek() != operator:
            return False
        self.position += len(operator)
        return True

    def _expect(self, operator: str, message: str = "") -> None:
        if not self._accept(operator):
            found = quoted(self._peek()) if self._peek() else "the end"
            raise CallError(self.position, f"{message or f'expected {operator!r}'}, found {found}")

    def _name(self, message: str) -> tuple[int, str]:
        self._space()
        start = self.position
        kind, token = self._next()
        if kind != "name":
            raise CallError(start, message)
        return start, token


def number(token: str, start: int) -> int:
    """A C integer: decimal, 0x hex, 0 octal."""
    try:
        value = abi.c_integer(token)
    except ValueError:
        raise CallError(start, f"{quoted(token)} is not a number") from None
    return check_range(value, start)


def check_range(value: int, start: int) -> int:
    """*value*, which must fit a 64-bit register, signed or unsigned."""
    if not -(1 << 63) <= value <= abi.ULONG_MAX:
        raise CallError(start, "the value does not fit in 64 bits")
    return value


def unescaped(text: str) -> str:
    """A string as C and strace write it, without its quotes, as it was: bytes in UTF-8.

    Bytes that are no UTF-8 stay escapes (``\\xff``), as everywhere that names are shown.
    """
    if "\\" not in text:
        return text
    return _ESCAPES.sub(lambda run: _decoded(run[0]), text)


def _decoded(escapes: str) -> str:
    """Escapes in a row: together they may be one character."""
    codes = [match[1] for match in _ESCAPE.finditer(escapes)]
    return b"".join(map(_byte, codes)).decode("utf-8", "backslashreplace")


def _byte(code: str) -> bytes:
    if code[0] == "x" and len(code) > 1:
        return bytes([int(code[1:], 16)])
    if code[0] in "01234567":
        return bytes([int(code, 8) & 0xFF])
    return _ESCAPED.get(code, code).encode("utf-8", "surrogatepass")
