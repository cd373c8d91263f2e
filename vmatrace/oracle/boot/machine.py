"""A booted kernel as a machine for sandboxes: what it is asked goes to the guest program.

All decisions are made here; the guest program traces, reads and makes calls. The guest has tmpfs,
memfds, /dev/zero and, where mke2fs is at hand, ext4.
"""

from __future__ import annotations

import contextlib
import signal
import struct
from collections.abc import Iterator, Sequence
from typing import Final

from vmatrace.layout import Layout
from vmatrace.oracle import arch as archs
from vmatrace.oracle.arch import Arch
from vmatrace.oracle.boot import needs
from vmatrace.oracle.boot.qemu import Qemu
from vmatrace.oracle.boot.requests import ENDED, FAILED, STOPPED, WORD, Guest, as_text
from vmatrace.oracle.errors import KernelDied, Unavailable, Unsupported
from vmatrace.oracle.machine import Machine
from vmatrace.oracle.ptrace import CONT, CallRun, Tracee, stack_gone, under_stack
from vmatrace.oracle.segments import IPC_RMID, SEGMENT_SIZE, SHM_RDONLY
from vmatrace.oracle.smaps import MappingCache, anonymous_starts

_SHMGET, _SHMAT, _SHMCTL, _SHMDT = 29, 30, 31, 67
_UNAME, _MKDIR, _MOUNT, _PRLIMIT = 63, 83, 165, 302
#: Where the disk of the virtual machine may have appeared.
_DISKS: Final = ("/dev/nvme0n1", "/dev/vda", "/dev/sda")


class GuestTracee(Tracee):
    """A process of the guest, traced by the guest program."""

    def __init__(self, pid: int, arch: Arch, guest: Guest, stack: int) -> None:
        super().__init__(pid, arch)
        self._guest = guest
        self._stack = stack
        self._stop: tuple[int, ...] = ()
        #: Whether the layout is to come with the answer to the next run.
        self.observed = False

    def _run(self, how: int, program: int, number: int, args: Sequence[int]) -> int:
        observed, self.observed = self.observed, False
        self._stop, births = self._guest.run(self.pid, how, program, number, args, observed)
        self.born += births
        status, detail = self._stop[:2]
        if status == ENDED:
            self.alive = False
            self._lost(detail)
        if status == FAILED:
            self._lost()
        return detail

    def _result(self) -> int:
        result = self._stop[2]
        return result - (1 << 64) if result >> 63 else result

    def _program_counter(self) -> int:
        return self._stop[3]

    def _fault_address(self) -> int | None:
        return self._stop[5] if self._stop[4] else None

    def adopt(self) -> None:
        self._stack = self._guest.adopt(self.pid)

    def born_child(self, pid: int) -> GuestTracee:
        return GuestTracee(pid, self._arch, self._guest, self._guest.adopt(pid))

    def put(self, data: bytes) -> int:
        address = under_stack(self._stack, data)
        error = self._guest.poke(self.pid, address, data)
        if error < 0:
            raise stack_gone(f"error {-error}")
        return address

    def kill(self) -> None:
        if self.alive:
            self.alive = False
            with contextlib.suppress(KernelDied):
                self._guest.kill(self.pid)

    def exit(self, number: int, status: int) -> None:
        arch = self._arch
        stop, _ = self._guest.run(self.pid, CONT, arch.syscall_at, number, (status,), False)
        if stop[0] == STOPPED:
            self._not_executed(signal.Signals(stop[1]))
        self.alive = False


class GuestReader:
    """The layout of a process of the guest."""

    def __init__(self, guest: Guest, tracee: GuestTracee, cache: MappingCache) -> None:
        self._guest = guest
        self._tracee = tracee
        self._cache = cache

    def close(self) -> None:
        """The guest program keeps nothing that has to be given back."""

    def expect(self) -> None:
        self._tracee.observed = True

    def read(self) -> Layout:
        lines = self._guest.smaps(self._tracee.pid).split(b"\n")
        return self._cache.layout(zip(lines[::2], lines[1::2], strict=False))

    def anonymous(self) -> frozenset[int]:
        return anonymous_starts(self._guest.read(f"/proc/{self._tracee.pid}/smaps"))


class GuestSegments:
    """System V segments of the guest, kept by the guest program."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._identifiers: dict[int | str, int] = {}
        self._attached: list[int] = []

    def identifier(self, key: int | str) -> int:
        known = self._identifiers.get(key)
        if known is not None:
            return known
        shmid, _ = self._guest.call(_SHMGET, 0, SEGMENT_SIZE, 0o600)
        if shmid < 0:
            raise Unsupported(f"no System V segment in the guest: error {-shmid}")
        address, _ = self._guest.call(_SHMAT, shmid, 0, SHM_RDONLY)
        self._guest.call(_SHMCTL, shmid, IPC_RMID, 0)
        self._attached.append(address)
        self._identifiers[key] = shmid
        return shmid

    def close(self) -> None:
        with contextlib.suppress(KernelDied):
            while self._attached:
                self._guest.call(_SHMDT, self._attached.pop())
        self._identifiers.clear()


class _NoPin:
    def release(self) -> None:
        """The guest has one processor, and where QEMU runs is the host's affair."""


class BootedKernel(Machine):
    """The kernel of *image*, a bzImage for x86-64, booted in QEMU.

    Raises Unavailable where something is missing, KernelDied if it does not come up.
    """

    is_distant = True

    def __init__(self, image: str) -> None:
        self.image = image
        self.arch = archs.x86_64()
        self.page = 4096
        self.privileged = True
        self._boot()

    def _boot(self) -> None:
        self._sysctls: dict[str, int] = {}
        self._directories: dict[str, list[str]] = {}
        self._qemu = Qemu(self.image)
        try:
            self._guest = Guest(self._qemu.channel)
            self._prepare()
        except BaseException:
            self.close()
            raise
        self.known_as = f"the kernel {self.release}"

    def close(self) -> None:
        self._qemu.close()

    def ready(self) -> None:
        if self._qemu.dead is not None:
            self.close()
            self._boot()

    @property
    def accelerator(self) -> str:
        """What the virtual machine runs with: kvm, or tcg."""
        return self._qemu.accelerator

    @property
    def why_emulated(self) -> str | None:
        """Why KVM is not used although it is there; None where it is used, or not there."""
        return self._qemu.why_emulated

    @property
    def warnings(self) -> list[str]:
        """What the kernel has complained about on its console."""
        return self._qemu.warnings

    @property
    def in_shared_memory(self) -> bool:
        """Whether answers come through memory shared with the guest, and not its serial port."""
        return self._qemu.channel.in_memory

    @property
    def process(self) -> int:
        """QEMU's process number."""
        return self._qemu.pid

    def write(self, path: str, text: str) -> bool:
        """Write to an existing file of the guest; whether that worked. Raises KernelDied."""
        return self._guest.write(path, text.encode())

    def ask_for_life(self, seconds: float) -> None:
        """Raise KernelDied unless the guest program answers within *seconds*."""
        self._guest.ask_for_life(seconds)

    def _prepare(self) -> None:
        _, name = self._guest.call(_UNAME, bytes(390), wanted=390)
        self.release = name[130:195].split(b"\0")[0].decode(errors="replace")
        if lack := list(needs.lacking(self._guest)):
            raise Unavailable(
                f"{self.image}: the kernel {self.release} cannot be verified: {', '.join(lack)}"
            )
        many = struct.pack("<2Q", 1 << 16, 1 << 16)
        self._guest.call(_PRLIMIT, 0, 7, many, 0)  # the guest program keeps smaps of each process
        self._mount("tmpfs", "tmpfs", "/tmp")
        for disk in _DISKS:
            if self._mount("ext4", disk, "/ext4"):
                break

    def _mount(self, fs: str, source: str, directory: str) -> bool:
        place, texts = as_text(directory), (as_text(source), as_text(directory), as_text(fs))
        self._guest.call(_MKDIR, place, 0o777)
        if self._guest.call(_MOUNT, *texts, 0, 0)[0] != 0:
            return False
        self._directories.setdefault(fs, []).append(directory)
        return True

    # --- what a sandbox needs -------------------------------------------------------------------

    def spawn(self) -> Tracee:
        pid, stack = self._guest.spawn(self.arch.image)
        return GuestTracee(pid, self.arch, self._guest, stack)

    def reader(self, tracee: Tracee, cache: MappingCache) -> GuestReader:
        assert isinstance(tracee, GuestTracee)
        return GuestReader(self._guest, tracee, cache)

    def segments(self) -> GuestSegments:
        return GuestSegments(self._guest)

    def limit(self, pid: int, kind: int) -> tuple[int, int]:
        _, found = self._guest.call(_PRLIMIT, pid, kind, 0, bytes(16), wanted=16)
        soft, hard = (-1 if n == WORD else n for n in struct.unpack("<2Q", found))
        return soft, hard

    def set_limit(self, pid: int, kind: int, soft: int, hard: int) -> None:
        limits = struct.pack("<2Q", soft & WORD, hard & WORD)
        self._guest.call(_PRLIMIT, pid, kind, limits, 0)

    def directories(self, fs: str) -> Iterator[str]:
        yield from self._directories.get(fs, ())

    def filesystem(self) -> str:
        return "tmpfs"

    def is_noexec(self, path: str) -> bool:
        return False

    def read(self, path: str) -> str:
        return self._guest.read(path).decode(errors="surrogateescape")

    def set_sysctl(self, name: str, value: int) -> None:
        path = f"/proc/sys/vm/{name}"
        before = int(self.read(path).split()[0])
        if self._guest.write(path, str(value).encode()):
            self._sysctls.setdefault(name, before)

    def restore_sysctls(self) -> None:
        with contextlib.suppress(KernelDied):
            for name, value in self._sysctls.items():
                self._guest.write(f"/proc/sys/vm/{name}", str(value).encode())
        self._sysctls.clear()

    def foresee(self, runs: Sequence[CallRun]) -> None:
        self._guest.foresee(runs)

    def forget(self) -> None:
        with contextlib.suppress(KernelDied):
            self._guest.forget()

    def pin(self) -> _NoPin:
        return _NoPin()
