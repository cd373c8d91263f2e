"""What a kernel has to be built with to be a guest, and how it shows what it was built without.

Known by what the kernel writes before it gives up (init/main.c, init/do_mounts.c), and by what the
guest program finds missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from vmatrace.oracle.boot.requests import Guest, as_text

#: What a guest that cannot be seen or heard lacks.
SILENT: Final = (
    "nothing came over its serial console, which takes CONFIG_PRINTK, CONFIG_TTY, "
    "CONFIG_SERIAL_8250 and CONFIG_SERIAL_8250_CONSOLE"
)
#: What the kernel says, and what that is for want of.
_LAST_WORDS: Final = (
    ("Unable to mount root fs", "the initramfs is not unpacked (CONFIG_BLK_DEV_INITRD)"),
    ("execute /init (error -8)", "no ELF program can be run (CONFIG_BINFMT_ELF)"),
)
_OURS: Final = "vmatrace: "
_MEMFD_CREATE, _MADVISE = 319, 28
_ENOSYS: Final = -38


def on_console(lines: Iterable[str]) -> str | None:
    """What the kernel lacks by the lines of its console; None where they do not say."""
    for line in lines:
        for words, lack in _LAST_WORDS:
            if words in line:
                return lack
        if _OURS in line and "CONFIG_" in line:
            return line.partition(_OURS)[2]
    return None


def lacking(guest: Guest) -> Iterator[str]:
    """What the kernel of a guest that is up lacks of what verification cannot do without."""
    for path, options in (
        ("/proc/self/smaps", "CONFIG_PROC_PAGE_MONITOR"),
        ("/proc/sys/vm/max_map_count", "CONFIG_SYSCTL"),
        ("/sys/devices/system/cpu/possible", "CONFIG_SYSFS"),
    ):
        try:
            guest.read(path)
        except OSError:
            yield f"no {path} ({options})"
    if guest.call(_MEMFD_CREATE, as_text("vmatrace"), 0)[0] == _ENOSYS:
        yield "no memfd_create() (CONFIG_SHMEM, CONFIG_TMPFS)"
    if guest.call(_MADVISE, 0, 0, 0)[0] == _ENOSYS:
        yield "no madvise() (CONFIG_ADVISE_SYSCALLS)"
