"""Who is eligible for VM_MERGEABLE, and which files let it be set before the merge."""

from __future__ import annotations

import pytest
from drawing import KINDS

from vmatrace import abi
from vmatrace.engine import ksm
from vmatrace.engine.vmfile import VmFile
from vmatrace.kernels import get_kernel, mmap_hook


@pytest.mark.parametrize("kind", ["p", "r", "w", "x", "n", "l", "g", "s", "h"])
def test_private_anonymous_memory_of_every_protection_is_eligible(kind: str) -> None:
    assert ksm.compatible(KINDS[kind], None)


@pytest.mark.parametrize(
    "flag",
    [
        abi.VM_SHARED, abi.VM_MAYSHARE, abi.VM_PFNMAP, abi.VM_IO, abi.VM_DONTEXPAND,
        abi.VM_MIXEDMAP, abi.VM_HUGETLB, abi.VM_DROPPABLE,
    ],
)  # fmt: skip
def test_shared_special_huge_and_droppable_memory_is_not(flag: int) -> None:
    assert not ksm.compatible(KINDS["w"] | flag, None)


def test_private_file_mappings_are_eligible_unless_the_file_is_dax() -> None:
    assert ksm.compatible(KINDS["r"], VmFile("/bin/true", "ext4", "mmap_prepare"))
    assert not ksm.compatible(KINDS["r"], VmFile("/pmem", "dax", "legacy"))


@pytest.mark.parametrize(
    ("fs", "early"),
    [
        ("ext4", True), ("xfs", True), ("btrfs", True), ("ramfs", True), ("mmap_prepare", True),
        ("tmpfs", True), ("memfd", True),
        ("overlay", False), ("fuse", False), ("devzero", False), ("proc", False),
        ("hugetlbfs", False), ("legacy", False),
    ],
)  # fmt: skip
def test_on_6_17_only_what_has_mmap_prepare_or_is_shmem_can_be_marked_early(
    fs: str, early: bool
) -> None:
    file = VmFile("/x", fs, mmap_hook(fs, get_kernel("6.17")))
    assert ksm.can_set_early(file) is early


def test_anonymous_memory_can_be_marked_early() -> None:
    assert ksm.can_set_early(None)
