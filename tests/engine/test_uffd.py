"""userfaultfd registration: who may, what it changes, and what no longer merges."""

from __future__ import annotations

import pytest
from drawing import BASE, KINDS, PAGE, at, draw, new_mm, strip, vma

from vmatrace import abi
from vmatrace.engine.mm import Mm
from vmatrace.engine.syscalls.mapping import mmap
from vmatrace.engine.syscalls.remapping import mremap
from vmatrace.engine.syscalls.uffd import ioctl, release
from vmatrace.engine.vma import Vma
from vmatrace.engine.vmfile import VmFile
from vmatrace.replayer.processes import fork

MISSING = "UFFDIO_REGISTER_MODE_MISSING"
WP = "UFFDIO_REGISTER_MODE_WP"


def register(mm: Mm, first: int, end: int, mode: str = MISSING, context: int = 1) -> int | None:
    text = f"{{range={{start={at(first):#x}, len={(end - first) * PAGE:#x}}}, mode={mode}}}"
    return ioctl(mm, context, abi.UFFDIO_REGISTER, text)


def unregister(mm: Mm, first: int, end: int, context: int = 1) -> int | None:
    text = f"{{start={at(first):#x}, len={(end - first) * PAGE:#x}}}"
    return ioctl(mm, context, abi.UFFDIO_UNREGISTER, text)


def test_registering_splits_and_unregistering_merges_again() -> None:
    mm = draw("wwwwww")
    assert register(mm, 2, 4) == 0
    assert [v.flags & abi.VM_UFFD_MISSING != 0 for v in mm.vmas] == [False, True, False]
    assert unregister(mm, 2, 4) == 0
    assert strip(mm) == "wwwwww"


@pytest.mark.parametrize(
    ("start", "length"), [(BASE + 1, PAGE), (BASE, PAGE + 1), (BASE, 0), (abi.TASK_SIZE, PAGE)]
)
def test_a_range_is_of_whole_pages_in_the_task(start: int, length: int) -> None:
    """validate_unaligned_range(), validate_range()."""
    text = f"{{range={{start={start:#x}, len={length:#x}}}, mode={MISSING}}}"
    mm = draw("ww")
    assert ioctl(mm, 1, abi.UFFDIO_REGISTER, text) == -abi.EINVAL
    assert ioctl(mm, 1, abi.UFFDIO_UNREGISTER, text[7:].partition("}")[0] + "}") == -abi.EINVAL


def test_modes_are_replaced_unless_all_are_there_already() -> None:
    mm = draw("ww")
    register(mm, 0, 2, f"{MISSING}|{WP}")
    register(mm, 0, 2, MISSING)
    assert vma(mm, 0).flags & abi.VM_UFFD_FLAGS == abi.VM_UFFD_MISSING | abi.VM_UFFD_WP
    assert register(mm, 0, 2, "0") == -abi.EINVAL
    assert register(mm, 0, 2, "0x10") == -abi.EINVAL


def test_the_end_of_a_userfaultfd_frees_all_that_it_watched_and_nothing_else() -> None:
    """userfaultfd_release()."""
    mm = draw("wwwwwwww")
    register(mm, 1, 3)
    register(mm, 5, 6, WP)
    register(mm, 6, 7, context=2)
    release(mm, 1)
    assert [v.flags & abi.VM_UFFD_FLAGS for v in mm.vmas] == [0, abi.VM_UFFD_MISSING, 0]
    release(mm, 1)
    release(mm, 2)
    assert strip(mm) == "wwwwwwww"


@pytest.mark.parametrize(("features", "kept"), [("UFFD_FEATURE_EVENT_FORK", 1), ("0", 0)])
def test_a_child_is_watched_where_forks_are_events(features: str, kept: int) -> None:
    """dup_userfaultfd(): with a context of its own, whose end is not the parent's."""
    mm = draw("wwww")
    mm.contexts["u"] = 1
    api(mm, features)
    register(mm, 1, 2)
    child = fork(mm)
    assert sum(v.flags & abi.VM_UFFD_MISSING != 0 for v in child.vmas) == kept
    assert child.contexts == ({"u": 1} if kept else {})
    release(child, 1)
    assert not any(v.flags & abi.VM_UFFD_FLAGS for v in child.vmas)
    assert sum(v.flags & abi.VM_UFFD_MISSING != 0 for v in mm.vmas) == 1


def test_another_version_of_the_api_is_refused() -> None:
    mm = draw("ww")
    assert ioctl(mm, 1, abi.UFFDIO_API, "{api=0xab, features=0}") == -abi.EINVAL
    assert ioctl(mm, 1, abi.UFFDIO_API, "{api=UFFD_API, features=0}") == 0


def api(mm: Mm, features: str, context: int = 1) -> int | None:
    return ioctl(mm, context, abi.UFFDIO_API, f"{{api=0xaa, features={features}}}")


def test_a_context_is_asked_for_once_and_with_features_that_there_are() -> None:
    mm = draw("ww")
    assert api(mm, "0x8000000000000000") == -abi.EINVAL
    assert api(mm, "UFFD_FEATURE_EVENT_REMAP => features=0x1ffff, ioctls=0x8000000000000003") == 0
    assert api(mm, "0") == -abi.EINVAL
    assert api(mm, "0", context=2) == 0


def test_a_context_that_took_a_registration_had_been_asked_for() -> None:
    mm = draw("ww")
    assert register(mm, 0, 1) == 0
    assert api(mm, "0") == -abi.EINVAL


def test_read_protection_has_to_be_asked_for() -> None:
    rwp = "UFFDIO_REGISTER_MODE_RWP"
    mm = draw("ww", "7.3")
    assert api(mm, "0") == 0
    assert register(mm, 0, 1, rwp) == -abi.EINVAL
    assert api(mm, "UFFD_FEATURE_RWP", context=2) == 0
    assert register(mm, 0, 1, rwp, context=2) == 0
    assert api(draw("ww", "7.2"), "UFFD_FEATURE_RWP") == -abi.EINVAL


def test_two_contexts_never_merge_and_one_does() -> None:
    mm = draw("wwww")
    assert register(mm, 0, 2, context=1) == 0
    assert register(mm, 2, 4, context=2) == 0
    assert len(mm.vmas) == 2
    assert register(mm, 0, 4, context=1) == -abi.EBUSY
    assert unregister(mm, 2, 4, context=2) == 0
    assert register(mm, 2, 4, context=1) == 0
    assert len(mm.vmas) == 1


def test_every_check_comes_before_any_change() -> None:
    mm = new_mm()
    disk = VmFile("/f", "ext4", "mmap_prepare")
    first = mm.insert(Vma(at(0), at(2), KINDS["w"]), None)
    mm.insert(Vma(at(2), at(4), KINDS["w"], -BASE, disk), first)
    assert register(mm, 0, 4) == -abi.EINVAL
    assert not vma(mm, 0).flags & abi.VM_UFFD_FLAGS


@pytest.mark.parametrize(("kernel", "result"), [("6.16", 0), ("6.17", -abi.EINVAL)])
def test_unregistering_another_context_is_refused_since_6_17(kernel: str, result: int) -> None:
    mm = draw("ww", kernel)
    register(mm, 0, 2, context=1)
    assert unregister(mm, 0, 2, context=2) == result
    assert bool(vma(mm, 0).flags & abi.VM_UFFD_MISSING) is (result != 0)


def test_a_range_without_a_vma_is_refused() -> None:
    mm = draw("ww")
    assert register(mm, 8, 9) == unregister(mm, 8, 9) == -abi.EINVAL


def test_a_move_loses_the_registration_and_a_new_neighbour_stays_apart() -> None:
    mm = draw("ww")
    register(mm, 0, 2)
    flags = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
    assert mmap(mm, at(2), PAGE, abi.PROT_READ | abi.PROT_WRITE, flags, None, 0) == at(2)
    assert len(mm.vmas) == 2
    to = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED
    assert mremap(mm, at(0), 2 * PAGE, 2 * PAGE, to, at(20)) == at(20)
    assert not vma(mm, 20).flags & abi.VM_UFFD_FLAGS
    assert vma(mm, 20).extra is None


def test_other_requests_are_not_modelled() -> None:
    assert ioctl(draw("w"), 1, 0x1234, "{start=0, len=0}") is None
