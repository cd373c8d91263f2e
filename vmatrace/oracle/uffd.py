"""userfaultfd for the ioctl calls of a trace: contexts by descriptor, structures from text.

A context is made in the process that first uses its descriptor, with UFFD_FEATURE_SIGBUS, so that
an access to missing pages fails instead of waiting for somebody to handle it. Events that would
wait for somebody, too, are refused.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Final

from vmatrace import abi
from vmatrace.calls import IOCTL_REQUESTS
from vmatrace.oracle.errors import Unsupported

_USER_MODE_ONLY: Final = 1
_O_CLOEXEC: Final = 0o2000000
_FEATURE_SIGBUS: Final = 1 << 7
_EVENTS: Final = 0b1001110  # UFFD_FEATURE_EVENT_FORK, REMAP, REMOVE and UNMAP
_FIELD: Final = re.compile(r"(start|len|mode|features)=([\w|]+)")

#: Makes a call in the process; bytes are passed by address.
Call = Callable[..., int]


class Contexts:
    """The userfaultfd contexts of a sandbox's first process, by the trace's descriptor."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._descriptors: dict[int | str, int] = {}

    def ioctl(self, key: int | str, request: int, argument: str) -> int:
        """A request of ``abi`` on context *key*. Raises Unsupported."""
        if request == abi.UFFDIO_API:
            return self._api(key, _value(dict(_FIELD.findall(argument)).get("features", "0")))
        if request not in IOCTL_REQUESTS:
            raise Unsupported(f"ioctl request {request:#x} is not one of userfaultfd registration")
        return self._call("ioctl", self._descriptor(key), request, structure(argument))

    def _descriptor(self, key: int | str) -> int:
        if key not in self._descriptors and self._api(key, 0) < 0:
            raise Unsupported("no userfaultfd here (CONFIG_USERFAULTFD, or not permitted)")
        return self._descriptors[key]

    def _api(self, key: int | str, features: int) -> int:
        """UFFDIO_API of a context that is made for it, or of one that is there: 0 or -errno."""
        if features & _EVENTS:
            raise Unsupported("userfaultfd events need somebody who reads them")
        fd = self._descriptors.get(key)
        if fd is None:
            fd = self._call("userfaultfd", _USER_MODE_ONLY | _O_CLOEXEC)
            if fd < 0:
                raise Unsupported("no userfaultfd here (CONFIG_USERFAULTFD, or not permitted)")
        api = struct.pack("<QQQ", 0xAA, features | _FEATURE_SIGBUS, 0)
        result = self._call("ioctl", fd, abi.UFFDIO_API, api)
        if result == 0:
            self._descriptors[key] = fd
        return result


def structure(argument: str) -> bytes:
    """Struct uffdio_register from strace's text; struct uffdio_range is its beginning."""
    fields = dict(_FIELD.findall(argument))
    return struct.pack(
        "<QQQQ", *(_value(fields.get(name, "0")) for name in ("start", "len", "mode")), 0
    )


def _value(text: str) -> int:
    return sum(
        abi.CONSTANTS[word] if word in abi.CONSTANTS else abi.c_integer(word)
        for word in text.split("|")
    )
