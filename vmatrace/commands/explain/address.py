"""What a question calls an address: as a table prints it, as a trace writes it; why it is none.

A table, maps and smaps print addresses in hexadecimal without 0x, so that is what digits alone are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from vmatrace.commands.explain.survey import Moment
from vmatrace.diagnostic import quoted, suggestion
from vmatrace.event import Expr, format_result
from vmatrace.trace.callstring import CallError, CallParser

_HEX: Final = re.compile(r"[0-9][0-9a-fA-F]{0,15}\Z")
#: Both ends as maps has them, in eight digits or more; a-1000 is an expression.
_RANGE: Final = re.compile(r"(?:0x)?([0-9a-f]{8,16})-(?:0x)?[0-9a-f]{8,16}\Z", re.IGNORECASE)
#: It may be a label too.
_WORD: Final = re.compile(r"[a-fA-F][0-9a-fA-F]{7,15}\Z")
_DECIMAL: Final = re.compile(r"0d([0-9]{1,20})\Z")


class UnknownName(ValueError):  # noqa: N818
    """A name that nothing has. ``kind`` is "label" or "process"; the message has the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"no {kind} {quoted(name)}{suggestion(name, known)}")
        self.kind = kind
        self.name = name


class NoAddress(ValueError):  # noqa: N818
    """A label or expression that stands for no address.

    ``result`` is its value, negative where the label's call failed; ``process``: it names one.
    """

    def __init__(self, name: str, result: int, process: bool) -> None:
        what = f"{quoted(name)} is {result}, which is no address"
        if process:
            what = f"{quoted(name)} is a process, not an address (expected --pid {name})"
        elif -4096 < result < 0:
            failure = format_result(result)[3:]
            what = f"{quoted(name)} is no address: its call failed with {failure}"
        super().__init__(what)
        self.name = name
        self.result = result
        self.process = process


class Ended(ValueError):  # noqa: N818
    """A process whose memory went with it, at ``moment``."""

    def __init__(self, name: str, moment: Moment) -> None:
        super().__init__(f"process {quoted(name)} has no memory any more: it ended in {moment}")
        self.name = name
        self.moment = moment


def parse_address(text: str, page_size: int) -> int | Expr:
    """The address that *text* means, in bytes, or an expression of labels; of a range its start.

    Digits alone are hexadecimal; ``0d`` says that they are decimal. In an expression numbers are
    those of a trace: decimal, or with 0x. Raises ValueError.
    """
    if match := _DECIMAL.match(text):
        return _within(int(match[1]), text)
    if match := _RANGE.match(text):
        return int(match[1], 16)
    if _HEX.match(text):
        return int(text, 16)
    try:
        where = CallParser(page_size).expression(text)
    except CallError as error:
        raise ValueError(f"address {text!r}: {error.message}") from None
    return _within(where, text) if isinstance(where, int) else where


def _within(value: int, text: str) -> int:
    if not 0 <= value < 1 << 64:
        raise ValueError(f"address {text!r} is {value}, which is no address")
    return value


def instead_of_label(label: str) -> int | None:
    """The address that a word is which is no label, None if it looks like none."""
    return int(label, 16) if _WORD.match(label) else None


def as_decimal(text: str) -> int | None:
    """What *text*, read as hexadecimal, is as a decimal number; None if it cannot be one."""
    return int(text) if text.isascii() and text.isdecimal() else None
