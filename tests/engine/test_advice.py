"""madvise: which advice sets what on whom, and how the walk over a range ends."""

from __future__ import annotations

import pytest
from drawing import BASE, KINDS, PAGE, at, draw, new_mm, strip, vma

from vmatrace import abi
from vmatrace.engine.mm import Mm
from vmatrace.engine.syscalls.advice import madvise
from vmatrace.engine.vma import Vma
from vmatrace.engine.vmfile import VmFile

ADVICE = {name[5:]: number for name, number in abi.CONSTANTS.items() if name.startswith("MADV_")}


def advise(mm: Mm, start: int, end: int, advice: str) -> int:
    return madvise(mm, at(start), (end - start) * PAGE, ADVICE[advice])


def one(
    flags: int, file: VmFile | None = None, kernel: str = "post-patch", anon: bool = False
) -> Mm:
    mm = new_mm(kernel)
    mm.insert(Vma(at(0), at(4), flags, -BASE if file else 0, file, int(anon), int(anon)), None)
    return mm


SHMEM = VmFile("/dev/zero (deleted)", "tmpfs", "shmem")
EXT4 = VmFile("/f", "ext4", "mmap_prepare")
SHARED = KINDS["r"] | abi.VM_WRITE | abi.VM_SHARED | abi.VM_MAYSHARE


@pytest.mark.parametrize(
    ("before", "advice", "after"),
    [
        ("w", "SEQUENTIAL", "sr"), ("w", "RANDOM", "rr"), ("z", "RANDOM", "rr"),
        ("z", "NORMAL", ""), ("z", "SEQUENTIAL", "sr"),
        ("w", "DONTFORK", "dc"), ("c", "DOFORK", ""),
        ("w", "MERGEABLE", "mg"), ("m", "UNMERGEABLE", ""),
        ("w", "HUGEPAGE", "hg"), ("h", "NOHUGEPAGE", "nh"), ("w", "NOHUGEPAGE", "nh"),
        ("w", "DONTDUMP", "dd"), ("d", "DODUMP", ""),
        ("w", "WIPEONFORK", "wf"), ("f", "KEEPONFORK", ""),
        ("w", "WILLNEED", ""), ("w", "DONTNEED", ""), ("w", "FREE", ""), ("w", "COLD", ""),
        ("w", "PAGEOUT", ""), ("w", "DONTNEED_LOCKED", ""), ("w", "POPULATE_READ", ""),
    ],
)  # fmt: skip
def test_what_an_advice_sets_and_clears(before: str, advice: str, after: str) -> None:
    mm = draw(before)
    assert advise(mm, 0, 1, advice) == 0
    codes = set(abi.vm_flag_codes(vma(mm, 0).flags))
    assert codes - {"rd", "wr", "mr", "mw", "me", "ac"} == set(after.split())
    assert not vma(mm, 0).anon


@pytest.mark.parametrize(
    ("flags", "file", "advice", "error"),
    [
        (KINDS["w"] | abi.VM_IO, None, "DOFORK", abi.EINVAL),
        (KINDS["w"], EXT4, "WIPEONFORK", abi.EINVAL),
        (SHARED, SHMEM, "WIPEONFORK", abi.EINVAL),
        (KINDS["y"], None, "KEEPONFORK", abi.EINVAL),
        (KINDS["y"], None, "DODUMP", abi.EINVAL),
        (KINDS["w"] | abi.VM_DONTEXPAND, None, "DODUMP", abi.EINVAL),
        (KINDS["l"], None, "DONTNEED", abi.EINVAL),
        (KINDS["l"], None, "REMOVE", abi.EINVAL),
        (KINDS["w"], None, "REMOVE", abi.EINVAL),
        (KINDS["w"], EXT4, "REMOVE", abi.EACCES),
        (KINDS["w"], EXT4, "FREE", abi.EINVAL),
        (SHARED, SHMEM, "FREE", abi.EINVAL),
        (KINDS["p"], None, "POPULATE_READ", abi.EINVAL),
        (KINDS["r"], None, "POPULATE_WRITE", abi.EINVAL),
    ],
)
def test_what_an_advice_refuses(flags: int, file: VmFile | None, advice: str, error: int) -> None:
    mm = one(flags, file)
    assert advise(mm, 0, 4, advice) == -error
    assert vma(mm, 0).flags == flags


@pytest.mark.parametrize(
    ("flags", "file"),
    [(SHARED, SHMEM), (KINDS["y"], None), (KINDS["r"] | abi.VM_DONTEXPAND, None)],
)
def test_mergeable_is_ignored_by_what_cannot_be_merged(flags: int, file: VmFile | None) -> None:
    mm = one(flags, file)
    assert advise(mm, 0, 2, "MERGEABLE") == 0
    assert mm.vmas.count == 1
    assert vma(mm, 0).flags == flags


@pytest.mark.parametrize(
    ("addr", "length", "advice", "result"),
    [
        (at(0) + 1, PAGE, 99, -abi.EINVAL),
        (at(0) + 1, 0, 0, -abi.EINVAL),
        (at(0), 0, 99, -abi.EINVAL),
        (at(0), 0, 5, -abi.EINVAL),
        (at(0), 0, 7, -abi.EINVAL),
        (at(0), 0, 0, 0),
        (at(0), abi.ULONG_MAX, 0, -abi.EINVAL),
        (abi.ULONG_MAX & ~(PAGE - 1), 2 * PAGE, 0, -abi.EINVAL),
    ],
)
def test_advice_is_checked_before_alignment_and_alignment_before_length(
    addr: int, length: int, advice: int, result: int
) -> None:
    assert madvise(draw("ww"), addr, length, advice) == result


# --- the walk ------------------------------------------------------------------------------------


def test_holes_are_skipped_and_end_in_enomem_with_every_mapped_part_advised() -> None:
    mm = draw("ww..ww..")
    assert advise(mm, 1, 5, "DONTFORK") == -abi.ENOMEM
    assert strip(mm) == "w|c..c|w"
    assert advise(mm, 5, 8, "DONTFORK") == -abi.ENOMEM
    assert strip(mm) == "w|c..cc"
    assert advise(mm, 2, 4, "DONTFORK") == -abi.ENOMEM


def test_an_error_stops_the_walk_and_wins_over_the_hole() -> None:
    mm = draw("d.y|d")
    assert advise(mm, 0, 4, "DODUMP") == -abi.EINVAL
    assert strip(mm) == "w.y|d"


def test_a_split_without_room_is_eagain() -> None:
    mm = draw("wwww", max_map_count=1)
    assert advise(mm, 1, 2, "DONTFORK") == -abi.EAGAIN


def test_advice_splits_and_its_undoing_merges() -> None:
    mm = draw("wwwwww")
    advise(mm, 2, 4, "DONTFORK")
    assert strip(mm) == "ww|cc|ww"
    advise(mm, 0, 6, "DOFORK")
    assert strip(mm) == "wwwwww"


def test_mergeable_advice_is_independent_of_the_prctl() -> None:
    mm = draw("wwwwww")
    for start, end, vmas in ((2, 4, "ww|mm|ww"), (0, 2, "mmmm|ww"), (4, 6, "mmmmmm")):
        advise(mm, start, end, "MERGEABLE")
        assert strip(mm) == vmas
    assert not mm.merge_any
    advise(mm, 0, 6, "UNMERGEABLE")
    assert strip(mm) == "wwwwww"


# --- population, guards, seals -------------------------------------------------------------------


def test_populate_write_gives_an_anon_vma_and_a_hole_is_enomem() -> None:
    mm = draw("ww.")
    assert advise(mm, 0, 3, "POPULATE_READ") == -abi.ENOMEM
    assert strip(mm) == "ww"
    assert advise(mm, 0, 2, "POPULATE_WRITE") == 0
    assert strip(mm) == "WW"


def test_dontneed_and_free_do_not_take_the_anon_vma_away() -> None:
    mm = draw("WW")
    for advice in ("DONTNEED", "FREE"):
        assert advise(mm, 0, 2, advice) == 0
    assert strip(mm) == "WW"


@pytest.mark.parametrize(
    ("kernel", "result", "marked"),
    [("6.12", -abi.EINVAL, False), ("6.18", 0, False), ("6.18.44", 0, True)],
)
def test_a_guard_region_gives_an_anon_vma_and_lately_marks_the_whole_vma(
    kernel: str, result: int, marked: bool
) -> None:
    mm = draw("wwww", kernel)
    assert advise(mm, 1, 2, "GUARD_INSTALL") == result
    assert mm.vmas.count == 1
    assert bool(vma(mm, 0).anon) is (result == 0)
    assert bool(vma(mm, 0).flags & abi.VM_MAYBE_GUARD) is marked
    assert advise(mm, 1, 2, "GUARD_REMOVE") == result
    assert bool(vma(mm, 0).flags & abi.VM_MAYBE_GUARD) is marked


def test_guards_in_files_and_read_only_memory_came_later_than_guards() -> None:
    for kernel, result in (("6.13", -abi.EINVAL), ("6.15", 0)):
        assert advise(one(SHARED, SHMEM, kernel), 0, 1, "GUARD_INSTALL") == result


@pytest.mark.parametrize("flag", [abi.VM_LOCKED, abi.VM_HUGETLB, abi.VM_PFNMAP, abi.VM_IO])
def test_no_guards_in_locked_huge_or_special_memory(flag: int) -> None:
    assert advise(one(KINDS["w"] | flag), 0, 1, "GUARD_INSTALL") == -abi.EINVAL


@pytest.mark.parametrize(
    "advice", ["DONTNEED", "FREE", "DONTNEED_LOCKED", "REMOVE", "DONTFORK", "WIPEONFORK"]
)
def test_a_sealed_read_only_vma_cannot_be_discarded(advice: str) -> None:
    assert advise(one(KINDS["r"] | abi.VM_SEALED), 0, 4, advice) == -abi.EPERM


@pytest.mark.parametrize("advice", ["MERGEABLE", "HUGEPAGE", "DONTDUMP", "RANDOM", "COLD"])
def test_other_advice_to_a_sealed_vma_is_taken(advice: str) -> None:
    assert advise(one(KINDS["r"] | abi.VM_SEALED), 0, 4, advice) == 0


def test_a_sealed_writable_vma_can_be_discarded() -> None:
    assert advise(one(KINDS["w"] | abi.VM_SEALED), 0, 4, "DONTNEED") == 0


@pytest.mark.parametrize(("kernel", "after"), [("6.16", ""), ("6.18", "sl")])
def test_asking_not_to_merge_dropped_the_flags_above_before_6_18(kernel: str, after: str) -> None:
    """As 6.16.12 does, and 6.12.90, 6.17.8 and 6.18.15 do not (ksm_madvise())."""
    mm = one(KINDS["w"] | abi.VM_MERGEABLE | abi.VM_SEALED, kernel=kernel)
    assert advise(mm, 0, 4, "UNMERGEABLE") == 0
    assert vma(mm, 0).flags == KINDS["w"] | (abi.VM_SEALED if after else 0)
