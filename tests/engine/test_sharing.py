"""shmat, shmdt, remap_file_pages, msync."""

from __future__ import annotations

import pytest
from drawing import KINDS, PAGE, at, draw, new_mm, vma

from vmatrace import abi
from vmatrace.engine.mm import Mm
from vmatrace.engine.syscalls.mapping import mmap, munmap
from vmatrace.engine.syscalls.protection import mprotect
from vmatrace.engine.syscalls.sharing import msync, remap_file_pages, shmat, shmdt
from vmatrace.engine.vmfile import VmFile

SEGMENT = VmFile("/SYSV00000000", "tmpfs", "legacy", size=4 * PAGE)


def pages(mm: Mm) -> list[tuple[int, int]]:
    return [((v.start - at(0)) // PAGE, (v.end - at(0)) // PAGE) for v in mm.vmas]


# --- System V segments ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("addr", "flags", "result"),
    [
        (at(0) + 1, 0, -abi.EINVAL),
        (at(0) + 1, abi.SHM_RND, at(0)),
        (0, abi.SHM_REMAP, -abi.EINVAL),
        (1, abi.SHM_RND | abi.SHM_REMAP, -abi.EINVAL),
        (at(8), 0, -abi.EINVAL),
        (at(7), 0, -abi.EINVAL),
        (at(8), abi.SHM_REMAP, at(8)),
        (at(4), 0, at(4)),
    ],
)
def test_where_a_segment_may_be_attached(addr: int, flags: int, result: int) -> None:
    assert shmat(draw("........ww"), SEGMENT, addr, flags) == result


def test_no_segment_of_that_identifier_is_einval() -> None:
    assert shmat(new_mm(), None, at(0), 0) == -abi.EINVAL


@pytest.mark.parametrize(
    ("flags", "codes"),
    [
        (0, "rd wr sh mr mw me ms"),
        (abi.SHM_RDONLY, "rd mr me ms"),
        (abi.SHM_EXEC, "rd wr ex sh mr mw me ms"),
    ],
)
def test_the_flags_of_an_attachment(flags: int, codes: str) -> None:
    mm = new_mm()
    shmat(mm, SEGMENT, at(0), flags)
    assert " ".join(abi.vm_flag_codes(vma(mm, 0).flags)) == codes


def test_attachments_never_merge_and_what_is_split_stays_split() -> None:
    mm = new_mm()
    shmat(mm, SEGMENT, at(0), 0)
    shmat(mm, SEGMENT, at(4), 0)
    assert pages(mm) == [(0, 4), (4, 8)]
    for prot in (1, 3):
        mprotect(mm, at(1), PAGE, prot)
    assert pages(mm) == [(0, 1), (1, 2), (2, 4), (4, 8)]


def test_detaching_removes_every_piece_of_that_attachment_and_no_other() -> None:
    mm = new_mm()
    for page in (0, 4):
        shmat(mm, SEGMENT, at(page), 0)
    munmap(mm, at(1), PAGE)
    assert shmdt(mm, at(1)) == -abi.EINVAL
    assert shmdt(mm, at(0)) == 0
    assert pages(mm) == [(4, 8)]
    assert shmdt(mm, at(0)) == -abi.EINVAL


def test_what_is_no_segment_cannot_be_detached() -> None:
    assert shmdt(draw("ww"), at(0)) == -abi.EINVAL


# --- remap_file_pages ----------------------------------------------------------------------------


def shared_file() -> Mm:
    mm = new_mm()
    file = VmFile("/f", "ext4", "mmap_prepare")
    mmap(mm, at(0), 8 * PAGE, 3, abi.MAP_SHARED | abi.MAP_FIXED, file, 0)
    return mm


def test_remapped_pages_are_a_mapping_of_another_offset_until_they_go_on_again() -> None:
    mm = shared_file()
    assert remap_file_pages(mm, at(2), 2 * PAGE, 0, 6, 0) == 0
    assert pages(mm) == [(0, 2), (2, 4), (4, 8)]
    assert vma(mm, 2).start + vma(mm, 2).skew == 6 * PAGE
    assert remap_file_pages(mm, at(2), 2 * PAGE, 0, 2, 0) == 0
    assert pages(mm) == [(0, 8)]


@pytest.mark.parametrize(
    ("addr", "size", "prot"),
    [(at(0), PAGE, 1), (at(0), 0, 0), (at(7), 2 * PAGE, 0), (at(9), PAGE, 0)],
)
def test_what_remap_file_pages_refuses(addr: int, size: int, prot: int) -> None:
    assert remap_file_pages(shared_file(), addr, size, prot, 0, 0) == -abi.EINVAL


@pytest.mark.parametrize(
    ("pgoff", "result"),
    [
        (0x7FFFFFFFFFFFE, 0),
        (0x7FFFFFFFFFFFF, -abi.EOVERFLOW),
        (0x10000000000000, -abi.EOVERFLOW),  # 0 if it were counted in bytes of 64 bits
        (0xFFFFFFFFFFFFFFFE, -abi.EOVERFLOW),
        (0xFFFFFFFFFFFFFFFF, -abi.EINVAL),
    ],
)
def test_an_offset_beyond_what_files_have_is_refused(pgoff: int, result: int) -> None:
    """Measured on 6.18.44."""
    assert remap_file_pages(shared_file(), at(0), PAGE, 0, pgoff, 0) == result


def test_private_memory_has_no_pages_to_remap() -> None:
    assert remap_file_pages(draw("ww"), at(0), PAGE, 0, 0, 0) == -abi.EINVAL


# --- msync ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("addr", "length", "flags", "result"),
    [
        (at(0), PAGE, 8, -abi.EINVAL),
        (at(0) + 1, PAGE, abi.MS_SYNC, -abi.EINVAL),
        (at(0), PAGE, abi.MS_SYNC | abi.MS_ASYNC, -abi.EINVAL),
        (at(0), 0, abi.MS_SYNC, 0),
        (at(0), 2 * PAGE, abi.MS_SYNC, 0),
        (at(0), 3 * PAGE, abi.MS_SYNC, -abi.ENOMEM),
        (at(4), PAGE, abi.MS_INVALIDATE, -abi.EBUSY),
        (at(9), PAGE, abi.MS_ASYNC, -abi.ENOMEM),
    ],
)
def test_msync_checks_and_changes_nothing(addr: int, length: int, flags: int, result: int) -> None:
    mm = draw("ww..l")
    assert msync(mm, addr, length, flags) == result
    assert [v.flags for v in mm.vmas] == [KINDS["w"], KINDS["l"]]
