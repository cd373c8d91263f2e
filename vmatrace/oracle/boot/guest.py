"""The guest program, compiled and cached, and the archive that a kernel unpacks it from.

Knows the system's C compiler, the cache and the format of initramfs (Documentation/
driver-api/early-userspace/buffer-format.rst). What the program does, ``guest.c`` says.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from vmatrace import cache
from vmatrace.oracle.errors import Unavailable

_SOURCE: Final = Path(__file__).with_name("guest.c")
_FLAGS: Final = (
    "-O2", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie",
    "-fcf-protection=none", "-Wl,--build-id=none",
)  # fmt: skip
#: Traces' files are sparse, so little is enough.
_DISK_BYTES: Final = 16 << 20
_COMPILERS: Final = ("cc", "gcc", "clang")


def archive() -> bytes:
    """An initramfs with the guest program as /init. Raises Unavailable without a compiler."""
    return _cpio(
        [
            ("dev", 0o040755, b""), ("proc", 0o040755, b""), ("sys", 0o040755, b""),
            ("tmp", 0o041777, b""), ("dev/console", 0o020600, b""), ("init", 0o100755, _program()),
        ]
    )  # fmt: skip


def disk() -> Path | None:
    """A disk image with an empty ext4 file system, made once; None without mke2fs or a cache."""
    place = cache.folder() / "guest" / "ext4.img"
    if place.exists():
        return place
    program = shutil.which("mke2fs", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        return None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
            file.truncate(_DISK_BYTES)
        command = [program, "-q", "-F", "-t", "ext4", "-O", "^has_journal", file.name]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            os.unlink(file.name)
            return None
        os.replace(file.name, place)
    except OSError:
        return None
    return place


def _program() -> bytes:
    source = _SOURCE.read_bytes()
    key = hashlib.sha256(source + " ".join(_FLAGS).encode()).hexdigest()[:16]
    place = cache.folder() / "guest" / key
    with contextlib.suppress(OSError):
        return place.read_bytes()
    program = _compile()
    with contextlib.suppress(OSError):  # without a cache it is compiled every time
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
            file.write(program)
        os.replace(file.name, place)
    return program


def _compile() -> bytes:
    wanted = os.environ.get("CC")
    compiler = next(filter(None, map(shutil.which, [wanted] if wanted else _COMPILERS)), None)
    if compiler is None:
        raise Unavailable(
            "no C compiler, which the program for booted kernels is made with "
            f"({wanted or ', '.join(_COMPILERS)}; Debian: apt install gcc)"
        )
    with tempfile.TemporaryDirectory(prefix="vmatrace-") as directory:
        out = os.path.join(directory, "init")
        command = [compiler, *_FLAGS, "-o", out, str(_SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise Unavailable(f"{compiler} cannot compile {_SOURCE.name}: {lines[0]}")
        return Path(out).read_bytes()


def _cpio(entries: list[tuple[str, int, bytes]]) -> bytes:
    """A cpio archive in the format newc; the one device among the entries is the console's."""
    made = bytearray()
    for inode, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        path = name.encode() + b"\0"
        device = (5, 1) if mode & 0o170000 == 0o020000 else (0, 0)
        fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(path), 0)
        made += b"070701" + b"".join(b"%08X" % field for field in fields) + path
        made += bytes(-len(made) % 4)
        made += content
        made += bytes(-len(made) % 4)
    return bytes(made)
