"""Which machine a log is of, as far as its lines prove it."""

from __future__ import annotations

import pytest

from vmatrace.importers.machine import LogMachine, guessed

MMAP = "mmap(NULL, {}, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = {:#x}"


@pytest.mark.parametrize(
    ("line", "arch"),
    [
        ("brk(NULL) = 0x560000", None),
        ('openat(AT_FDCWD, "/lib/ld-linux-x86-64.so.2") = 3', "x86_64"),
        ("arch_prctl(ARCH_SET_FS, 0x7f00) = 0", "x86_64"),
        ('openat(AT_FDCWD, "/lib/aarch64-linux-gnu/libc.so.6") = 3', "aarch64"),
        ("mprotect(0x1000, 4096, PROT_READ|PROT_BTI) = 0", "aarch64"),
        ('openat(AT_FDCWD, "/lib64/ld64.so.2") = 3', "ppc64le"),
        ('openat(AT_FDCWD, "/lib64/ld64.so.1") = 3', "ppc64"),
        ("set_tls(0xb6f0) = 0", "armv7l"),
        ("set_thread_area({entry_number=-1}) = 0", "i686"),
        ("brk(NULL) = 0xaaaad0000000", "aarch64"),
        ("brk(NULL) = 0x7fffffffe000", None),
        ("mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = 0x7ffffffff000", "aarch64"),
        ("mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = 0xffff8000000", None),
        ("mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = 0xffff80000000", "aarch64"),
        ("mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = 0x1000000000000", None),
    ],
)
def test_a_mark_or_an_address_shows_the_architecture(line: str, arch: str | None) -> None:
    assert guessed(["brk(NULL) = 0x550000", line]) == LogMachine(arch, 4096)


def mmaps(count: int, step: int, length: object = 4096, start: int = 0x7F0000000000) -> list[str]:
    return [MMAP.format(length, start + i * step) for i in range(count)]


@pytest.mark.parametrize(
    ("lines", "size"),
    [
        (mmaps(4, 65536), 65536),
        (mmaps(3, 65536), 4096),
        (mmaps(4, 65536, 1), 65536),
        (mmaps(4, 65536, 0), 4096),
        (mmaps(6, 16384), 16384),
        (mmaps(5, 16384), 4096),
        (mmaps(9, 4096), 4096),
        (mmaps(6, 16384, "0x1000"), 16384),
        (mmaps(4, 65536, 12288), 65536),
        (mmaps(6, 65536, 65536), 4096),  # they say nothing of smaller pages
        (mmaps(6, 65536, "length=4096"), 65536),
        (mmaps(6, 65536, "x"), 4096),
        (mmaps(4, 65536) * 3, 65536),
        (mmaps(1, 65536) * 9, 4096),  # but one place
        ([*mmaps(4, 65536), "munmap(0x7f0000001000, 4096) = 0"], 4096),
        ([*mmaps(4, 65536), "munmap(addr=0x7f0000001000, 4096) = 0"], 4096),
        ([*mmaps(4, 65536), "munmap(0x7f0000001000, 4096) = -1 EINVAL"], 65536),
        ([*mmaps(6, 65536), "mprotect(0x7f0000004000, 4096, 0x1) = 0"], 16384),
        ([*mmaps(4, 65536), "brk(NULL) = 0x560000"], 65536),
        ([*mmaps(4, 65536), "brk(NULL) = 0x561000"], 4096),
        ([*mmaps(4, 65536), "shmat(1, NULL, 0) = 0x7f0000001000"], 4096),
        # Where the program says where, the address is its own choice.
        ([line.replace("NULL", "0x7f0000000000") for line in mmaps(6, 65536)], 4096),
        ([line.replace("NULL", "addr=0x7f0000000000") for line in mmaps(6, 65536)], 4096),
        ([f"mremap(0x1000, 4096, 4096, MREMAP_MAYMOVE) = {1 << 40 | i << 16:#x}"
          for i in range(6)], 65536),
        ([f"mremap(0x1000, 65536, 4096, MREMAP_MAYMOVE) = {1 << 40 | i << 16:#x}"
          for i in range(6)], 65536),
        ([f"mmap2(NULL, 4096, PROT_READ, 2, 3, 0) = {1 << 40 | i << 16:#x}" for i in range(6)],
         65536),
        ([], 4096),
    ],
)  # fmt: skip
def test_places_of_small_mappings_show_the_size_of_pages(lines: list[str], size: int) -> None:
    assert guessed(lines) == LogMachine(None, size)
