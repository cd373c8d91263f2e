"""What booting a kernel takes, and what is said where it is missing: exit status 2."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from program import ROOT, RunProgram

from vmatrace.oracle import Unavailable
from vmatrace.oracle.boot import guest, needs, qemu
from vmatrace.oracle.boot.image import check_image
from vmatrace.oracle.boot.requests import Guest


def test_a_file_that_is_no_kernel_is_said_to_be_none(run: RunProgram, tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(b"\x7fELF" + bytes(4096))
    done = run("verify", "--boot", str(path), "--probe")
    assert (done.status, done.out) == (2, "")
    expected = (
        "no bootable kernel image, but an ELF file, such as vmlinux (expected a bzImage for x86-64)"
    )
    assert done.err in (
        f"vmatrace: error: {path}: {expected}\n",
        f"vmatrace: error: no {qemu.QEMU} (Debian: apt install qemu-system-x86)\n",
    )


def test_an_image_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="vmlinuz: cannot be read: No such file"):
        check_image(str(tmp_path / "vmlinuz"))


def header(size: int, flags: int = 1, version: int = 0x20F) -> bytearray:
    """The start of a bzImage of *size* bytes, three sectors of them setup code."""
    head = bytearray(0x264)
    head[0x1F1] = 2
    head[0x1F4:0x1F8] = ((size - 3 * 512) // 16).to_bytes(4, "little")
    head[0x202:0x206] = b"HdrS"
    head[0x206:0x208] = version.to_bytes(2, "little")
    head[0x236:0x238] = flags.to_bytes(2, "little")
    return head


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "no bootable kernel image: it is empty (expected a bzImage for x86-64)"),
        (b"x" * 600, "no bootable kernel image (expected a bzImage for x86-64)"),
        (
            b"MZ" + bytes(0x36) + b"ARM\x64" + bytes(600),
            "no bootable kernel image, but a kernel for arm64 (expected a bzImage for x86-64)",
        ),
        (
            b"\x1f\x8b" + bytes(600),
            "no bootable kernel image, but compressed by gzip (expected a bzImage for x86-64)",
        ),
        (
            header(8192) + bytes(4096),
            "truncated: 4,708 bytes, of 8,192 that its header speaks of",
        ),
        (
            header(8192, flags=0) + bytes(8192),
            "a kernel for 32-bit x86 (expected one built with CONFIG_64BIT)",
        ),
    ],
    ids=["empty", "garbage", "arm64", "gzip", "truncated", "32-bit"],
)
def test_what_cannot_boot_is_told_by_its_header(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    with pytest.raises(Unavailable, match=f"^{re.escape(f'{path}: {expected}')}$"):
        check_image(str(path))


@pytest.mark.parametrize("flags", [{}, {"flags": 0, "version": 0x20B}], ids=["now", "before 3.8"])
def test_a_whole_image_is_one(tmp_path: Path, flags: dict[str, int]) -> None:
    path = tmp_path / "bzImage"
    path.write_bytes(header(8192, **flags).ljust(8192 + 100))
    check_image(str(path))


@pytest.mark.parametrize(
    ("lines", "lack"),
    [
        (
            ["[ 1.0] VFS: Cannot open root device", "[ 1.0] Kernel panic - not syncing: VFS: "
             "Unable to mount root fs on unknown-block(0,0)"],
            "CONFIG_BLK_DEV_INITRD",
        ),
        (
            ["[ 1.0] Failed to execute /init (error -8)", "[ 1.0] Run /sbin/init as init process",
             "[ 1.0] Kernel panic - not syncing: No working init found."],
            "CONFIG_BINFMT_ELF",
        ),
        (["vmatrace: /proc cannot be mounted (CONFIG_PROC_FS)"], "CONFIG_PROC_FS"),
        (["[ 1.0] Kernel panic - not syncing: Attempted to kill init!"], None),
        ([], None),
    ],
    ids=["initrd", "elf", "ours", "another panic", "silence"],
)  # fmt: skip
def test_a_console_says_what_a_kernel_was_built_without(lines: list[str], lack: str | None) -> None:
    found = needs.on_console(lines)
    assert found is None if lack is None else found is not None and lack in found


class _Poor(Guest):
    """A guest whose kernel has neither procfs's files nor the system calls asked for."""

    def __init__(self, result: int) -> None:
        self._result = result

    def read(self, path: str) -> bytes:
        if self._result < 0:
            raise OSError(2, f"{path} cannot be opened in the guest")
        return b""

    def call(self, number: int, *args: int | bytes, wanted: int = 0) -> tuple[int, bytes]:
        return self._result, b""


def test_a_guest_that_is_up_is_asked_for_what_verification_takes() -> None:
    assert list(needs.lacking(_Poor(0))) == []
    assert list(needs.lacking(_Poor(-38))) == [
        "no /proc/self/smaps (CONFIG_PROC_PAGE_MONITOR)",
        "no /proc/sys/vm/max_map_count (CONFIG_SYSCTL)",
        "no /sys/devices/system/cpu/possible (CONFIG_SYSFS)",
        "no memfd_create() (CONFIG_SHMEM, CONFIG_TMPFS)",
        "no madvise() (CONFIG_ADVISE_SYSCALLS)",
    ]


def test_what_a_kernel_can_lack_is_in_the_fragment_of_the_documentation() -> None:
    page = (ROOT / "docs" / "commands" / "verify.md").read_text()
    asked = set()
    for module in ("needs.py", "guest.c"):
        asked |= set(re.findall(r"CONFIG_\w+", (Path(needs.__file__).parent / module).read_text()))
    assert asked
    assert asked <= set(re.findall(r"^(CONFIG_\w+)=y$", page, re.MULTILINE))


def test_without_qemu_it_is_said_how_to_get_it(
    run: RunProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("verify", "--boot", "vmlinuz", "--random", "1")
    assert (done.status, done.out) == (2, "")
    assert "no qemu-system-x86_64" in done.err


def test_without_a_compiler_it_is_said_what_it_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(Unavailable, match="no C compiler"):
        guest.archive()


def test_a_compiler_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "broken-cc"
    compiler.write_text("#!/bin/sh\necho cannot find as >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(Unavailable, match=r"cannot compile guest\.c: cannot find as"):
        guest.archive()


def test_boot_goes_with_no_recording(run: RunProgram) -> None:
    assert run("verify", "--boot", "x", "--replay-recording", "y").status == 2
