"""userfaultfd for the ioctl calls of a trace: contexts by descriptor, structures from text.

A context is made in the first process, with UFFD_FEATURE_SIGBUS, so that an access to missing pages
fails instead of waiting for somebody to handle it. What events wait for is in ``watch``.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Final

from vmatrace import abi
from vmatrace.calls import IOCTL_REQUESTS
from vmatrace.oracle.errors import Unsupported
from vmatrace.oracle.watch import EventReader, ioctl

_USER_MODE_ONLY: Final = 1
_O_NONBLOCK: Final = 0o4000
_O_CLOEXEC: Final = 0o2000000
_FEATURE_SIGBUS: Final = 1 << 7
_EVENTS: Final = 0b1001110  # UFFD_FEATURE_EVENT_FORK, REMAP, REMOVE and UNMAP
_FIELD: Final = re.compile(r"(start|len|mode|features)=([\w|]+)")

#: Makes a call in the process; bytes are passed by address.
Call = Callable[..., int]


class Contexts:
    """The userfaultfd contexts of a sandbox, by process and the trace's descriptor.

    *call* makes a call in the first process, which alone can have one of its own; *everywhere* in
    each process. *pid* is the number of the first one, None where its descriptors cannot be had.
    """

    def __init__(self, call: Call, everywhere: Call, pid: Callable[[], int] | None) -> None:
        self._call = call
        self._everywhere = everywhere
        self._pid = pid
        self._descriptors: dict[int | str, int] = {}
        self._watch: EventReader | None = None

    @property
    def watch(self) -> EventReader | None:
        """Who reads the events of these contexts; None where no context has any."""
        return self._watch

    def leave(self) -> None:
        """The first process gets another image, which has none of its descriptors."""
        for key in list(self._descriptors):
            if self._watch is not None:
                self._watch.drop("main", key)
        self._descriptors.clear()

    def forget(self) -> None:
        """All processes are new."""
        self._descriptors.clear()
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def ioctl(self, own: bool, name: str, key: int | str, request: int, argument: str) -> int:
        """A request of ``abi`` on context *key* of process *name*. Raises Unsupported.

        *own*: that is the first process.
        """
        if request not in IOCTL_REQUESTS:
            raise Unsupported(f"ioctl request {request:#x} is not one of userfaultfd registration")
        if not own:
            inherited = self._watch and self._watch.child(name, key)
            if not inherited:
                raise Unsupported("userfaultfd: only the first process can have one of its own")
            return ioctl(inherited, request, structure(argument))
        if request == abi.UFFDIO_API:
            return self._api(key, _value(dict(_FIELD.findall(argument)).get("features", "0")))
        return self._call("ioctl", self._descriptor(key), request, structure(argument))

    def close(self, own: bool, name: str, key: int | str) -> int:
        """Close all descriptors of context *key* of process *name*; 0, also where there is none."""
        if self._watch is not None:
            self._watch.drop(name, key)
        if own and key in self._descriptors:
            self._everywhere("close", self._descriptors.pop(key))
        return 0

    def _descriptor(self, key: int | str) -> int:
        if key not in self._descriptors and self._api(key, 0) < 0:
            raise Unsupported("no userfaultfd here (CONFIG_USERFAULTFD, or not permitted)")
        return self._descriptors[key]

    def _api(self, key: int | str, features: int) -> int:
        """UFFDIO_API of a context that is made for it, or of one that is there: 0 or -errno."""
        if features & _EVENTS and self._pid is None:
            raise Unsupported("userfaultfd events need somebody who reads them")
        fd = self._descriptors.get(key)
        if fd is None:
            mode = _O_NONBLOCK if features & _EVENTS else _USER_MODE_ONLY
            fd = self._call("userfaultfd", mode | _O_CLOEXEC)
            if fd < 0:
                raise Unsupported("no userfaultfd here (CONFIG_USERFAULTFD, or not permitted)")
        api = struct.pack("<QQQ", 0xAA, features | _FEATURE_SIGBUS, 0)
        result = self._call("ioctl", fd, abi.UFFDIO_API, api)
        if result == 0:
            self._descriptors[key] = fd
            if features & _EVENTS and self._pid is not None:
                self._watch = self._watch or EventReader()
                self._watch.add(key, self._pid(), fd)
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
