"""The wire format of Protocol Buffers, as much of it as a writer needs: numbers, text, messages.

A field is a tag and a value, a message the fields one after the other (protobuf.dev, "Encoding").
"""

from __future__ import annotations

_VARINT = 0
_BYTES = 2


def varint(value: int) -> bytes:
    """A number from 0 up to 64 bits, seven bits to the byte, the lowest first."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """An integer, a bool or an enum; a negative one in two's complement of 64 bits (int64)."""
    return varint(field << 3 | _VARINT) + varint(value & 0xFFFF_FFFF_FFFF_FFFF)


def text(field: int, value: str) -> bytes:
    """A string."""
    return message(field, value.encode("utf-8", "backslashreplace"))


def message(field: int, *parts: bytes) -> bytes:
    """A message within a message."""
    inner = b"".join(parts)
    return varint(field << 3 | _BYTES) + varint(len(inner)) + inner
