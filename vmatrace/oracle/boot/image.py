"""Whether a file is a kernel image that can be booted here, by its header alone.

Source: Documentation/arch/x86/boot.rst; the marks of other images: their boot protocols.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO, Final

from vmatrace.oracle.errors import Unavailable

_HEADER_BYTES: Final = 0x264
_SECTOR: Final = 512
#: Fields of the setup header: sectors of the setup code, paragraphs of the rest, version, flags.
_SETUP_SECTS, _SYSSIZE, _MAGIC, _VERSION, _XLOADFLAGS = 0x1F1, 0x1F4, 0x202, 0x206, 0x236
_XLF_KERNEL_64: Final = 1
#: The version that brought xloadflags.
_HAS_XLOADFLAGS: Final = 0x20C
#: What else may be taken for a kernel image: its mark, and where that stands.
_OTHERS: Final = (
    (0, b"\x7fELF", "an ELF file, such as vmlinux"),
    (0x38, b"ARM\x64", "a kernel for arm64"),
    (0x38, b"RSC\x05", "a kernel for RISC-V"),
    (0, b"\x27\x05\x19\x56", "an image for U-Boot"),
    (0, b"\x1f\x8b", "compressed by gzip"),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (0, b"\xfd7zXZ\0", "compressed by xz"),
)


def check_image(path: str) -> None:
    """Raise Unavailable unless *path* is a whole bzImage for x86-64."""
    try:
        with open(path, "rb") as file:
            reason = _fault(file)
    except OSError as error:
        raise Unavailable(f"{path}: cannot be read: {error.strerror}") from None
    if reason is not None:
        raise Unavailable(f"{path}: {reason}")


def _fault(file: BinaryIO) -> str | None:
    """What is wrong with the image, if anything."""
    head = file.read(_HEADER_BYTES)
    if head[_MAGIC : _MAGIC + 4] != b"HdrS":
        return f"no bootable kernel image{_what(head)} (expected a bzImage for x86-64)"
    version, flags = (int.from_bytes(head[at : at + 2], "little") for at in (_VERSION, _XLOADFLAGS))
    if version >= _HAS_XLOADFLAGS and not flags & _XLF_KERNEL_64:
        return "a kernel for 32-bit x86 (expected one built with CONFIG_64BIT)"
    (paragraphs,) = struct.unpack_from("<I", head, _SYSSIZE)
    expected = ((head[_SETUP_SECTS] or 4) + 1) * _SECTOR + paragraphs * 16
    size = os.fstat(file.fileno()).st_size
    if size < expected:
        return f"truncated: {size:,} bytes, of {expected:,} that its header speaks of"
    return None


def _what(head: bytes) -> str:
    if not head:
        return ": it is empty"
    for at, mark, meaning in _OTHERS:
        if head[at : at + len(mark)] == mark:
            return f", but {meaning}"
    return ""
