"""What processes share: one supply of anon_vmas, one log of decisions, the kernel's features."""

from __future__ import annotations

import pytest
from drawing import draw

from vmatrace import abi
from vmatrace.engine.limits import Limits
from vmatrace.engine.mm import Mm
from vmatrace.engine.world import World
from vmatrace.kernels import get_kernel
from vmatrace.replayer.processes import fork


def test_anon_vmas_are_numbered_across_processes_and_never_0() -> None:
    mm = draw("WW|RR")
    child = fork(mm)
    anons = [v.anon for v in (*mm.vmas, *child.vmas)]
    assert len(set(anons)) == 4
    assert 0 not in anons


@pytest.mark.parametrize(
    ("kernel", "ksm_early", "unfaulted_target"),
    [
        ("6.12", False, False), ("6.16", False, True), ("pre-patch", False, True),
        ("post-patch", True, True), ("6.18.44", True, True),
    ],
)  # fmt: skip
def test_a_world_behaves_as_its_kernel_has_features(
    kernel: str, ksm_early: bool, unfaulted_target: bool
) -> None:
    world = World(get_kernel(kernel))
    assert (world.ksm_early, world.unfaulted_target) == (ksm_early, unfaulted_target)


def test_a_machine_is_as_linux_starts_it_on_x86() -> None:
    world = World(get_kernel("6.18"))
    assert (world.page_size, world.max_map_count, world.overcommit_memory) == (4096, 65530, 0)
    assert (world.min_addr, world.huge_pages, world.arch, world.cpus) == (65536, 0, "x86_64", 1)
    assert world.task_size == abi.TASK_SIZES["x86_64"]
    assert (world.decisions, world.event, world.assumed) == ([], None, None)
    assert (world.splits, world.last_anon) == (0, 0)
    assert (world.anon_flags, world.uffd_features) == ({}, {})
    assert [world.new_anon(), world.new_anon(), world.last_anon] == [1, 2, 2]
    assert World(get_kernel("6.18"), arch=None).task_size == abi.ANY_TASK_SIZE


@pytest.mark.parametrize(("arch", "has"), [("aarch64", True), (None, True), ("x86_64", False)])
def test_protections_of_arm_are_known_there_and_where_nobody_says(
    arch: str | None, has: bool
) -> None:
    world = World(get_kernel("6.18"), arch=arch)
    both = abi.PROT_BTI | abi.PROT_MTE
    assert world.arch_prot(both | abi.PROT_READ) == (both if has else 0)
    assert world.arch_flags(both) == (abi.VM_ARM64_BTI | abi.VM_MTE if has else 0)
    assert world.arch_flags(abi.PROT_BTI | 3) == (abi.VM_ARM64_BTI if has else 0)
    assert world.arch_flags(abi.PROT_MTE | 3) == (abi.VM_MTE if has else 0)
    assert world.arch_flags(3) == 0


def test_memory_starts_empty_and_with_nothing_asked_for() -> None:
    mm = Mm(World(get_kernel("6.18")), 0x7FFFF7FFF000, 0x5000)
    assert (mm.start_brk, mm.brk, mm.mmap_base) == (0x5000, 0x5000, 0x7FFFF7FFF000)
    assert (mm.brk_known, mm.brk_assumed, mm.fresh, mm.merge_any) == (True, False, False, False)
    assert (mm.start_stack, mm.def_flags, mm.mdwe, mm.thp_disable, mm.peak_vmas) == (0,) * 5
    assert (mm.vmas.count, list(mm.vmas), mm.contexts) == (0, [], {})
    assert mm.guards.within(0, abi.ULONG_MAX) == []
    assert mm.limits == Limits()
    assert mm.persona == 0x40000  # ADDR_NO_RANDOMIZE


@pytest.mark.parametrize("page_size", [4096, 16384, 65536])
def test_the_stack_guard_gap_is_256_pages_of_any_size(page_size: int) -> None:
    world = World(get_kernel("6.18"), page_size)
    assert world.guard == 256 * page_size
    assert 1 << world.page_shift == page_size
    assert world.page_mask == page_size - 1
