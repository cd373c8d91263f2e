"""What processes share: one supply of anon_vmas, one log of decisions, the kernel's features."""

from __future__ import annotations

import pytest
from drawing import draw

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


@pytest.mark.parametrize("page_size", [4096, 16384, 65536])
def test_the_stack_guard_gap_is_256_pages_of_any_size(page_size: int) -> None:
    world = World(get_kernel("6.18"), page_size)
    assert world.guard == 256 * page_size
    assert 1 << world.page_shift == page_size
    assert world.page_mask == page_size - 1
