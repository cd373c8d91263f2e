"""A kernel image booted in QEMU, its console watched, its end noticed.

Knows QEMU's options, KVM where it works, and the console; not what is said to the guest program.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from typing import Final, NoReturn

from vmatrace.escape import visible
from vmatrace.oracle.boot import guest, needs
from vmatrace.oracle.boot.channel import SHARED_BYTES, Channel
from vmatrace.oracle.boot.image import check_image
from vmatrace.oracle.errors import KernelDied, Unavailable

QEMU: Final = "qemu-system-x86_64"
KVM: Final = "/dev/kvm"
#: Enough for heuristic overcommit to grant what traces map; taken from the host when touched.
_MEMORY: Final = "4G"
#: Seconds until the guest program has to say its first word. With KVM it takes about one.
_BOOT_SECONDS: Final = {"tcg": 120.0, "kvm": 30.0}
#: What the kernel says when it finds fault with itself.
_COMPLAINTS: Final = ("WARNING: ", "BUG: ", "KASAN: ")
_LAST_WORDS: Final = ("Kernel panic", "BUG: ", "Oops: ", "vmatrace: ")
_CONSOLE_LINES: Final = 200
_SHOWN_LINES: Final = 24
_PR_SET_PDEATHSIG: Final = 1
#: A kernel that oopses goes on as it can; here that is the end, and QEMU ends with it.
_PARAMETERS: Final = (
    "console=ttyS0 loglevel=5 panic=-1 oops=panic softlockup_panic=1 hung_task_panic=1 "
    "rdinit=/init no5lvl nokaslr mitigations=off random.trust_cpu=on no_timer_check"
)
#: Without it the guest program answers on the serial port.
SHARED_DEVICE: tuple[str, ...] = ("-device", "ivshmem-plain,memdev=shared")
#: Debian's cloud kernels have NVMe built in, a defconfig AHCI, many others virtio.
_DISKS: Final = {
    "nvme": "nvme,serial=vmatrace", "virtio": "virtio-blk-pci", "ide": "ide-hd",
}  # fmt: skip
_libc = ctypes.CDLL(None)


class Qemu:
    """A running virtual machine; ``channel`` leads to its guest program.

    Raises Unavailable where something is missing, KernelDied for a kernel that does not come up.
    """

    def __init__(self, image: str) -> None:
        self.image = image
        self.program = shutil.which(QEMU)
        if self.program is None:
            raise Unavailable(f"no {QEMU} (Debian: apt install qemu-system-x86)")
        check_image(image)
        self._archive = guest.archive()
        self._process: subprocess.Popen[bytes] | None = None
        self._console: deque[str] = deque(maxlen=_CONSOLE_LINES)
        self.dead: KernelDied | None = None
        #: Why KVM is not used although it is there; None where it is used, or not there.
        self.why_emulated: str | None = None
        self._is_up = False
        #: Warnings that the kernel printed: "WARNING: …", "BUG: …".
        self.warnings: list[str] = []
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the virtual machine. May be called again."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
            self._reader.join(timeout=5)
            self.channel.close()

    @property
    def pid(self) -> int:
        """The number of QEMU's process, 0 if it has been ended."""
        return 0 if self._process is None else self._process.pid

    @property
    def console(self) -> list[str]:
        """The last lines that the kernel wrote, from where it began to die if it says so."""
        lines = list(self._console)
        fatal = [i for i, line in enumerate(lines) if any(word in line for word in _LAST_WORDS)]
        if not fatal:
            return lines[-_SHOWN_LINES:]
        last = lines[fatal[0] :]
        return last if len(last) <= _SHOWN_LINES else [*last[: _SHOWN_LINES - 2], "…", last[-1]]

    # --- starting -------------------------------------------------------------------------------

    def _start(self) -> None:
        self.why_emulated = _why_no_kvm()
        if self.why_emulated is None and os.path.exists(KVM):
            self.accelerator = "kvm"
            try:
                self._launch()
                return
            except KernelDied as died:
                if self._saw_kernel():
                    raise
                self.why_emulated = _kvm_does_not_work(died)
            self.close()
            self._console.clear()
            self.dead = None
        self.accelerator = "tcg"
        self._launch()

    def _launch(self) -> None:
        ours, theirs = socket.socketpair()
        memory, archive = os.memfd_create("vmatrace-shared"), os.memfd_create("vmatrace-initramfs")
        os.ftruncate(memory, SHARED_BYTES)
        os.write(archive, self._archive)
        try:
            self._process = subprocess.Popen(
                self._command(theirs.fileno(), memory, archive),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(), memory, archive),
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
            shared = mmap.mmap(memory, SHARED_BYTES)
        finally:
            theirs.close()
            os.close(memory)
            os.close(archive)
        self._reader = threading.Thread(
            target=self._read_console, args=(self._process,), daemon=True
        )
        self._reader.start()
        self._waited = 0.0
        self.channel = Channel(ours, shared, self._silence, self._clock)
        self.channel.wait_for_greeting(_BOOT_SECONDS[self.accelerator])
        self._is_up = True

    def _command(self, line: int, memory: int, archive: int) -> list[str]:
        assert self.program is not None
        cpu = "max,-la57" if self.accelerator == "tcg" else "host,-la57"
        return [
            self.program, "-accel", self.accelerator, "-cpu", cpu, "-machine", "pc", "-smp", "1",
            "-m", _MEMORY, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-kernel", self.image, "-initrd", f"/proc/self/fd/{archive}",
            "-append", _PARAMETERS,
            "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
            "-chardev", f"socket,id=line,fd={line}", "-serial", "chardev:line",
            "-object",
            f"memory-backend-file,id=shared,share=on,size={SHARED_BYTES},"
            f"mem-path=/proc/self/fd/{memory}",
            *SHARED_DEVICE, *self._disk(),
        ]  # fmt: skip

    @staticmethod
    def _disk() -> list[str]:
        """The disk with ext4, on controllers that kernels have built in; all writes are lost."""
        image = guest.disk()
        if image is None:
            return []
        options = []
        for name, device in _DISKS.items():
            drive = f"if=none,id={name},format=raw,snapshot=on,file={image}"
            options += ["-drive", drive, "-device", f"{device},drive={name}"]
        return options

    # --- watching -------------------------------------------------------------------------------

    def _read_console(self, process: subprocess.Popen[bytes]) -> None:
        stream = process.stdout
        assert stream is not None
        with stream:
            for raw in stream:
                self._note(raw.decode(errors="replace").rstrip(), process)

    def _note(self, line: str, process: subprocess.Popen[bytes]) -> None:
        if line:
            self._console.append(line)
        if any(word in line for word in _COMPLAINTS):
            self.warnings.append(line)
        if "KVM internal error" in line and self.accelerator == "kvm":
            process.kill()

    def _clock(self) -> float:
        """Seconds in which the emulator ran or slept: a busy machine is no silent kernel."""
        self._waited = max(self._waited, waited_to_run(self.pid))
        return time.monotonic() - self._waited

    def _saw_kernel(self) -> bool:
        return any(line.startswith("[") or "Kernel panic" in line for line in self._console)

    def _silence(self, why: str | None) -> NoReturn:
        """Say how the kernel ended, or that it is silent."""
        if why is None:
            time.sleep(0.1)  # the last lines of the console are still under way
            panic = next((line for line in self._console if "Kernel panic" in line), None)
            why = "panicked" if panic is not None else "ended the virtual machine"
        lines = self.console
        if not self._is_up and (lack := needs.on_console(self._console)) is not None:
            shown = "".join(f"\n    {visible(line)}" for line in lines)
            raise Unavailable(f"{self.image}: the kernel cannot be a guest: {lack}{shown}")
        if not self._is_up and not lines:
            why += f"; {needs.SILENT}"
        self.dead = KernelDied(why, lines)
        raise self.dead


def _end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def waited_to_run(pid: int) -> float:
    """Seconds that a process was ready and had no processor: its thread that waited longest.

    0 for one that has ended, and where the kernel keeps no such statistics.
    """
    longest = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                longest = max(longest, int(file.read().split()[1]))
    return longest / 1e9


#: What KVM failed with in this process, so that it is not tried for every machine.
_kvm_failed: str | None = None


def _why_no_kvm() -> str | None:
    """Why KVM is there and of no use; None where it may work, and where there is none."""
    if _kvm_failed is not None or not os.path.exists(KVM):
        return _kvm_failed
    try:
        os.close(os.open(KVM, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{KVM}: {error.strerror}"
    return None


def _kvm_does_not_work(died: KernelDied) -> str:
    global _kvm_failed
    said = next((line for line in died.console if "vm" in line.lower()), f"the kernel {died.how}")
    _kvm_failed = f"{KVM}: {said.removeprefix(f'{QEMU}: ')}"
    return _kvm_failed
