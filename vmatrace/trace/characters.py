"""The characters that a YAML file may hold, in UTF-8. Knows nothing of its grammar."""

from __future__ import annotations

import re
from typing import Final

from vmatrace.diagnostic import Collector, Source

#: What an editor may put before a text in UTF-8.
BOM: Final = b"\xef\xbb\xbf"
_ALLOWED_ASCII: Final = bytes([9, 10, 13, *range(0x20, 0x7F)])
#: YAML's printable characters without the line breaks that only YAML 1.1 knows, and without BOM.
_FORBIDDEN: Final = (
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


def decode_errors(source: Source, errors: Collector) -> None:
    """Report the first that is not UTF-8, or a character that no YAML file may hold."""
    for start, block in source.windows():
        found = _decode_error(block)
        if found is not None:
            offset, what = found
            errors.add(*source.position(start + offset), what)
            return


def _decode_error(data: bytes) -> tuple[int, str] | None:
    """Where in *data* it is, in bytes, and what."""
    if data.isascii() and not data.translate(None, _ALLOWED_ASCII):
        return None
    found = None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        text = data[: error.start].decode("utf-8")
        found = error.start, f"byte 0x{data[error.start]:02x} is not UTF-8 ({error.reason})"
    match = re.search(_FORBIDDEN, text)  # compiled only here: it takes 3 ms
    if match is None:
        return found
    code = ord(match[0])
    control = f"control character 0x{code:02x}"
    what = control if code < 0x80 else f"character U+{code:04X} is not allowed here"
    return len(text[: match.start()].encode()), what
