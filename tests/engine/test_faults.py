"""What touching memory does: anon_vmas, stack growth, population, and where it is refused."""

from __future__ import annotations

import pytest
from drawing import BASE, KINDS, PAGE, at, draw, forked, new_mm, strip, vma

from vmatrace import abi
from vmatrace.engine.faults import fault, populate
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import Vma
from vmatrace.engine.vmfile import VmFile

READ, WRITE, EXEC = abi.PROT_READ, abi.PROT_WRITE, abi.PROT_EXEC


def touch(mm: Mm, page: int, access: int = WRITE, pages: int = 1) -> int:
    return fault(mm, at(page), pages * PAGE, access)


# --- who gets an anon_vma ------------------------------------------------------------------------


def test_a_write_gives_the_whole_vma_an_anon_vma_and_a_read_gives_none() -> None:
    mm = draw("wwww")
    assert touch(mm, 2, READ) == 0
    assert strip(mm) == "wwww"
    assert touch(mm, 2) == 0
    assert strip(mm) == "WWWW"
    anon = vma(mm, 0).anon
    assert touch(mm, 0) == 0
    assert vma(mm, 0).anon == anon


def test_writing_shared_memory_gives_no_anon_vma() -> None:
    mm = new_mm()
    file = VmFile("/dev/zero (deleted)", "tmpfs", "shmem")
    mm.insert(Vma(at(0), at(1), KINDS["w"] | abi.VM_SHARED, -BASE, file), None)
    assert touch(mm, 0) == 0
    assert vma(mm, 0).anon == 0


def test_writing_a_private_file_mapping_gives_one() -> None:
    mm = new_mm()
    file = VmFile("/f", "ext4", "mmap_prepare")
    mm.insert(Vma(at(0), at(1), KINDS["w"], -BASE, file), None)
    assert touch(mm, 0) == 0
    assert vma(mm, 0).anon


@pytest.mark.parametrize(
    ("kind", "access", "result"),
    [
        ("p", READ, -abi.EFAULT), ("p", WRITE, -abi.EFAULT), ("r", READ, 0),
        ("r", WRITE, -abi.EFAULT), ("r", EXEC, -abi.EFAULT), ("x", EXEC, 0), ("w", WRITE, 0),
        (".", READ, -abi.EFAULT),
    ],
)  # fmt: skip
def test_an_access_needs_a_vma_that_permits_it(kind: str, access: int, result: int) -> None:
    assert touch(draw(kind + ".w"), 0, access) == result


def test_what_lies_before_a_failing_page_has_been_touched() -> None:
    mm = draw("ww|rr|xx")
    assert touch(mm, 0, WRITE, 6) == -abi.EFAULT
    assert strip(mm) == "WW|rr|xx"


def test_an_access_beyond_the_end_of_the_file_fails() -> None:
    mm = new_mm()
    file = VmFile("/f", "ext4", "mmap_prepare", size=PAGE + 1)
    mm.insert(Vma(at(0), at(3), KINDS["r"], -BASE, file), None)
    assert touch(mm, 0, READ, 2) == 0
    assert touch(mm, 2, READ) == -abi.EFAULT


# --- whose anon_vma ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drawing", "shares"),
    [
        ("XX|ww|..", 0),  # the VMA before
        ("..|ww|XX", 4),  # the VMA behind
        ("XX|ww|XX", 4),  # both: the one behind
        ("XX|ww|xx", 0),  # the one behind has none to lend
        ("XX|nn|..", None),  # differs in ac and nr
        ("MM|ww|..", None),  # differs in mg
        ("XX|ww|HH", 0),  # differs in hg, so the one before
    ],
)
def test_a_first_write_reuses_a_neighbours_anon_vma_when_only_protections_differ(
    drawing: str, shares: int | None
) -> None:
    mm = draw(drawing)
    before = mm.world.last_anon
    assert touch(mm, 2) == 0
    if shares is None:
        assert vma(mm, 2).anon == before + 1
    else:
        assert vma(mm, 2).anon == vma(mm, shares).anon
        assert mm.world.last_anon == before
    assert vma(mm, 2).chain == 1


def test_a_neighbour_of_a_fork_a_displaced_or_a_distant_one_lends_nothing() -> None:
    of_fork, displaced, distant = draw("XX|ww"), draw("XX|ww"), draw("X.|ww")
    forked(of_fork, 0)
    vma(displaced, 0).skew = 0x4000
    for mm in (of_fork, displaced, distant):
        touch(mm, 2)
        assert vma(mm, 2).anon != vma(mm, 0).anon


def test_a_shared_anon_vma_lets_the_two_merge_later() -> None:
    mm = draw("XX|ww", "6.12")
    touch(mm, 2)
    mm.modify(vma(mm, 2), at(2), at(4), KINDS["x"], None)
    assert strip(mm) == "XXXX"


# --- stacks --------------------------------------------------------------------------------------


def stack(prev: str, prev_end: int) -> Mm:
    """A stack of two pages at page 600 and before it one page that ends at *prev_end*."""
    return draw("." * (prev_end - 1) + prev + "." * (600 - prev_end) + "gg")


@pytest.mark.parametrize(
    ("prev", "prev_end", "page", "grows"),
    [
        ("w", 304, 560, True),  # 256 pages away
        ("w", 304, 559, False),  # 255
        ("p", 599, 599, True),  # inaccessible: a guard page may be touched by the stack
        ("g", 599, 599, True),  # another stack
        ("r", 599, 599, False),
    ],
)
def test_a_stack_keeps_256_pages_from_an_accessible_vma(
    prev: str, prev_end: int, page: int, grows: bool
) -> None:
    mm = stack(prev, prev_end)
    assert touch(mm, page) == (0 if grows else -abi.EFAULT)
    assert mm.vmas.count == 2
    assert mm.vmas.last is not None
    assert mm.vmas.last.start == at(page if grows else 600)
    assert bool(mm.vmas.last.anon) is grows
    assert mm.vmas.last.skew == 0
    mm.vmas.check()


def test_a_stack_that_reaches_another_does_not_merge_with_it() -> None:
    mm = draw("gg.gg")
    assert touch(mm, 2) == 0
    assert strip(mm) == "gg|GGG"


def test_no_stack_grows_below_mmap_min_addr() -> None:
    mm = new_mm()
    mm.insert(Vma(20 * PAGE, 21 * PAGE, KINDS["g"]), None)
    assert fault(mm, 15 * PAGE, 1, WRITE) == -abi.EFAULT
    assert fault(mm, 16 * PAGE, 1, WRITE) == 0


def test_an_ordinary_vma_does_not_grow() -> None:
    mm = draw("..ww")
    assert touch(mm, 1) == -abi.EFAULT
    assert strip(mm) == "..ww"


# --- population ----------------------------------------------------------------------------------


def test_population_writes_to_private_writable_memory_and_reads_the_rest() -> None:
    mm = draw("ww|rr|xx|oo")
    populate(mm, at(0), at(8))
    assert strip(mm) == "WW|rr|XX|oo"


def test_population_for_mmap_goes_on_behind_what_it_cannot_access() -> None:
    mm = draw("ww|pp|xx")
    populate(mm, at(0), at(6))
    assert strip(mm) == "WW|pp|XX"


def test_neighbours_populated_together_share_an_anon_vma() -> None:
    mm = draw("ww|xx")
    populate(mm, at(0), at(4))
    assert vma(mm, 0).anon == vma(mm, 2).anon
