"""Resource limits of an address space: RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK, RLIMIT_STACK.

Mirrors may_expand_vm(), is_data_mapping() and mlock_future_ok() in mm/mmap.c and mm/vma.c. Usage is
summed when a limit asks for it, which only processes with limits pay for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from vmatrace import abi
from vmatrace.engine.vma import Vma

STACK_DEFAULT: Final = 8 << 20


@dataclass(frozen=True)
class Limits:
    """Soft limits in bytes, None for no limit. A memlock limit means: without CAP_IPC_LOCK."""

    address_space: int | None = None
    data: int | None = None
    memlock: int | None = None
    stack: int = STACK_DEFAULT

    @classmethod
    def of(cls, soft: Mapping[str, int]) -> Limits:
        """Those of a trace's ``process: {rlimits: …}``."""
        return cls(
            soft.get("as"), soft.get("data"), soft.get("memlock"), soft.get("stack", STACK_DEFAULT)
        )

    def changed(self, resource: int, soft: int) -> Limits:
        """With soft limit *soft* of *resource*, one of calls.LIMITED."""
        if resource == abi.RLIMIT_STACK:
            return replace(self, stack=soft)
        value = None if soft == abi.RLIM_INFINITY else soft
        return Limits(
            value if resource == abi.RLIMIT_AS else self.address_space,
            value if resource == abi.RLIMIT_DATA else self.data,
            value if resource == abi.RLIMIT_MEMLOCK else self.memlock,
            self.stack,
        )

    def may_expand(self, vmas: Iterable[Vma], flags: int, size: int) -> bool:
        """Whether a mapping of *flags* may add *size* bytes, net of what it replaces."""
        if self.address_space is not None:
            used = sum(vma.end - vma.start for vma in vmas)
            if used + size > self.address_space:
                return False
        if self.data is not None and is_data(flags):
            used = sum(vma.end - vma.start for vma in vmas if is_data(vma.flags))
            return used + size <= self.data
        return True

    def may_lock(self, vmas: Iterable[Vma], size: int) -> bool:
        """Whether *size* more bytes may be locked."""
        return self.memlock is None or locked(vmas) + size <= self.memlock


def is_data(flags: int) -> bool:
    """is_data_mapping(): private writable memory that is no stack."""
    kind = flags & (abi.VM_WRITE | abi.VM_SHARED | abi.VM_GROWSDOWN)
    return kind == abi.VM_WRITE


def locked(vmas: Iterable[Vma]) -> int:
    """Bytes of locked memory (mm->locked_vm)."""
    return sum(vma.end - vma.start for vma in vmas if vma.flags & abi.VM_LOCKED)


def overlap(vmas: Iterable[Vma], start: int, end: int) -> int:
    """Bytes of [start, end) that are mapped."""
    return sum(
        min(vma.end, end) - max(vma.start, start)
        for vma in vmas
        if vma.start < end and vma.end > start
    )


UNLIMITED = Limits()
