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

from vmatrace.oracle.boot import guest
from vmatrace.oracle.boot.channel import SHARED_BYTES, Channel
from vmatrace.oracle.errors import KernelDied, Unavailable

QEMU: Final = "qemu-system-x86_64"
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
        if _kvm_may_work():
            self.accelerator = "kvm"
            try:
                self._launch()
                return
            except KernelDied:
                if self._saw_kernel():
                    raise
            _kvm_does_not_work()
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
        self.channel = Channel(ours, shared, self._silence)
        self.channel.wait_for_greeting(_BOOT_SECONDS[self.accelerator])

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

    def _saw_kernel(self) -> bool:
        return any(line.startswith("[") for line in self._console)

    def _silence(self, why: str | None) -> NoReturn:
        """Say how the kernel ended, or that it is silent."""
        if why is None:
            time.sleep(0.1)  # the last lines of the console are still under way
            panic = next((line for line in self._console if "Kernel panic" in line), None)
            why = "panicked" if panic is not None else "ended the virtual machine"
        self.dead = KernelDied(why, self.console)
        raise self.dead


def check_image(path: str) -> None:
    """Raise Unavailable unless *path* is a kernel image by Linux's boot protocol ("HdrS")."""
    try:
        with open(path, "rb") as file:
            start = file.read(0x206)
    except OSError as error:
        raise Unavailable(f"{path}: cannot be read: {error.strerror}") from None
    if start[0x202:0x206] != b"HdrS":
        raise Unavailable(f"{path}: no bootable kernel image (expected a bzImage for x86-64)")


def _end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


_kvm_failed = False


def _kvm_may_work() -> bool:
    return not _kvm_failed and os.access("/dev/kvm", os.R_OK | os.W_OK)


def _kvm_does_not_work() -> None:
    global _kvm_failed
    _kvm_failed = True
