"""Make system calls in a stopped thread of the recorded program, which then goes on as it was.

Knows ptrace(2) and registers; nothing of what the calls are for. The thread has been seized by the
caller's thread; x86-64 alone.
"""

from __future__ import annotations

import os
import re
import struct
from typing import Final

from vmatrace.abi import MAP_ANONYMOUS, MAP_SHARED, PROT_READ, PROT_WRITE, ULONG_MAX
from vmatrace.oracle.arch import Arch
from vmatrace.record import stops
from vmatrace.record.stops import Gone

_SYSCALL: Final = b"\x0f\x05"
_INTERRUPTED: Final = (-512, -513, -514, -516)  # ERESTARTSYS … ERESTART_RESTARTBLOCK
_RESTART_SYSCALL: Final = 219
_WALL: Final = 0x40000000
_SET_MODE_FILTER: Final = 1
PAGE: Final = 4096


class Borrowed:
    """A stopped thread that makes calls for us until ``give_back``.

    Raises Gone if it is killed, OSError where it cannot be done.

    ``signals`` came meanwhile; whoever resumes the thread owes them to it.
    """

    def __init__(self, tid: int, arch: Arch) -> None:
        if arch.no_restart is None:
            raise OSError(0, f"no calls can be made in others on {arch.name}")
        self._tid = tid
        self._arch = arch
        self.signals: list[int] = []
        self._saved = stops.registers(tid, arch.registers)
        self._entering = stops.at(tid) in (stops.ENTRY, stops.FILTERED)
        counter = int(self._saved[arch.program_counter])
        if self._entering:
            # It begins the call again when it is given back.
            self._set(dict.fromkeys(self._orig(), ULONG_MAX))
            self._step()
            self._syscall_at = counter - 2
            return
        found = self._read(counter - 2, 2) == _SYSCALL
        self._syscall_at = counter - 2 if found else self._in_vdso()

    def call(self, number: int, *args: int) -> int:
        """Make system call *number*; its result, -errno for a failure."""
        arch = self._arch
        changes = {arch.program_counter: self._syscall_at, arch.number: number}
        changes |= dict.fromkeys(self._orig(), ULONG_MAX)
        changes |= dict(zip(arch.arguments, args, strict=False))
        self._set(changes)
        self._step()
        return stops.result(self._tid)[1]

    def give_back(self) -> None:
        """Put everything where it was. A call that it was in is made anew."""
        arch = self._arch
        changes: dict[int, int] = {}
        number, result = (int(self._saved[i]) for i in (*self._orig(), arch.result))
        result -= 1 << 64 if result >> 63 else 0
        again = number if self._entering else None
        if not self._entering and number < 1 << 63 and result in _INTERRUPTED:
            again = _RESTART_SYSCALL if result == _INTERRUPTED[-1] else number
        if again is not None:
            changes = {arch.program_counter: self._syscall_at, arch.number: again}
            if not self._entering:
                changes[arch.program_counter] = int(self._saved[arch.program_counter]) - 2
        self._set(changes | dict.fromkeys(self._orig(), ULONG_MAX))

    def finish(self, result: int) -> None:
        """As give_back(), with the call that it was about to make done, and *result* its result."""
        (orig,) = self._orig()
        self._set({orig: ULONG_MAX, self._arch.result: result})

    def filter(self, code: bytes, flags: int, seccomp: int, mmap: int) -> tuple[int, int]:
        """Install seccomp filter *code*; the result, and the page to unmap afterwards, 0 for none.

        *seccomp* and *mmap* are the numbers of these calls.
        """
        # Shared memory, for it merges with nothing.
        kind = MAP_SHARED | MAP_ANONYMOUS
        page = self.call(mmap, 0, PAGE, PROT_READ | PROT_WRITE, kind, -1, 0)
        if -4096 < page < 0:
            return page, 0
        self.write(page, struct.pack("<QQ", len(code) // 8, page + 16) + code)
        return self.call(seccomp, _SET_MODE_FILTER, flags, page), page

    def write(self, address: int, data: bytes) -> None:
        """Write *data* to its memory."""
        with open(f"/proc/{self._tid}/mem", "r+b", buffering=0) as memory:
            memory.seek(address)
            memory.write(data)

    def _orig(self) -> tuple[int, ...]:
        assert self._arch.no_restart is not None
        return (self._arch.no_restart,)

    def _set(self, changes: dict[int, int]) -> None:
        words = list(self._saved)
        for index, value in changes.items():
            words[index] = value & ULONG_MAX
        stops.set_registers(self._tid, words)

    def _step(self) -> None:
        """On to the end of a call; what else stops it on the way waits."""
        while True:
            stops.resume(self._tid, stops.SYSCALL)
            _, status = os.waitpid(self._tid, _WALL)
            if not os.WIFSTOPPED(status) or status >> 16 == stops.EXIT:
                raise Gone
            sig = os.WSTOPSIG(status)
            if status >> 16 == 0 and sig == stops.AT_CALL:
                if stops.at(self._tid) == stops.LEAVE:
                    return
            elif status >> 16 == 0:
                self.signals.append(sig)

    def _read(self, address: int, size: int) -> bytes:
        with open(f"/proc/{self._tid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(size)

    def _in_vdso(self) -> int:
        """The address of a system call instruction that every process has. Raises OSError."""
        with open(f"/proc/{self._tid}/maps", encoding="utf-8", errors="replace") as table:
            found = re.search(r"^([0-9a-f]+)-([0-9a-f]+) .*\[vdso\]$", table.read(), re.MULTILINE)
        if found is None:
            raise OSError(0, "no vdso")
        start, end = int(found[1], 16), int(found[2], 16)
        return start + self._read(start, end - start).index(_SYSCALL)
