"""Who exists, who shares memory with whom, and what exec and exit leave."""

from __future__ import annotations

import pytest
from drawing import at, draw, strip

from vmatrace import abi
from vmatrace.calls import shares_memory
from vmatrace.engine.limits import Limits
from vmatrace.replayer.processes import Processes, fork


def test_a_fork_copies_and_a_thread_shares() -> None:
    main = draw("ww")
    processes = Processes(main)
    processes.create("main", False, "child", None)
    processes.create("main", True, "thread", None)
    assert processes["child"] is not main
    assert processes["thread"] is main
    assert [name for name, _ in processes] == ["main", "child"]


def test_the_parent_of_what_a_thread_makes_is_its_process() -> None:
    processes = Processes(draw("ww"))
    processes.create("main", True, "thread", None)
    processes.create("thread", False, "child", None)
    processes.create("child", False, "grandchild", None)
    assert processes.parents == {"thread": "main", "child": "main", "grandchild": "child"}


def test_numbers_are_the_recorded_ones_and_then_the_next() -> None:
    main = draw("ww")
    processes = Processes(main)
    assert processes.create("main", False, None, None) == 2
    assert processes.create("main", False, "p", 77) == 77
    assert processes.create("main", False, None, None) == 78
    assert processes["p"] is processes.numbered(77)
    assert processes.numbered(5) is None


def test_the_first_of_all_numbers_can_be_recorded() -> None:
    """Of a container's own first process, say; 0 and less are no process."""
    processes = Processes(draw("ww"))
    assert processes.create("main", False, None, 1) == 1
    assert processes.create("main", False, None, 0) == 3
    assert processes.create("main", False, None, -1) == 4


def test_memory_ends_with_the_last_who_shares_it() -> None:
    main = draw("ww")
    processes = Processes(main)
    processes.create("main", True, "thread", None)
    assert processes.end("main") is None
    assert processes.end("thread") is main
    assert dict(processes) == {}


@pytest.mark.parametrize(("kernel", "kept"), [("6.6", False), ("6.7", True), ("6.18", True)])
def test_exec_empties_the_memory_and_keeps_ksm_by_default_since_6_7(
    kernel: str, kept: bool
) -> None:
    main = draw("ww", kernel)
    main.set_mergeable()
    main.def_flags = abi.VM_LOCKED
    new = Processes(main).execute("main")
    assert strip(new) == ""
    assert new.merge_any is kept
    assert new.def_flags == 0


def test_a_fork_has_what_its_parent_has() -> None:
    """dup_mm() and dup_mmap(): heap, stack, limits, personality, KSM and THP; not MCL_FUTURE."""
    main = draw("ww")
    main.start_brk, main.brk, main.brk_known, main.brk_assumed = 1, 2, False, True
    main.fresh, main.start_stack, main.merge_any, main.mdwe = True, 3, True, 1
    main.limits, main.persona, main.thp_disable = Limits(data=7), 0x40000, 2
    main.def_flags, main.peak_vmas = abi.VM_LOCKED, 9
    child = fork(main)
    assert (child.start_brk, child.brk, child.brk_known, child.brk_assumed) == (1, 2, False, True)
    assert (child.fresh, child.start_stack, child.merge_any, child.mdwe) == (True, 3, True, 1)
    assert (child.limits, child.persona, child.thp_disable) == (Limits(data=7), 0x40000, 2)
    assert (child.def_flags, child.world, child.mmap_base) == (0, main.world, main.mmap_base)
    main.mdwe = abi.PR_MDWE_REFUSE_EXEC_GAIN | abi.PR_MDWE_NO_INHERIT
    assert fork(main).mdwe == 0


def test_a_fork_leaves_out_what_is_not_to_be_copied_and_unlocks_the_rest() -> None:
    child = fork(draw("WW|cc|ll|FF|oo"))
    assert [(v.start, v.flags & abi.VM_LOCKED_MASK) for v in child.vmas] == [
        (at(page), 0) for page in (0, 4, 6, 8)
    ]
    assert [v.anon > 0 for v in child.vmas] == [True, False, False, False]
    assert [v.chain for v in child.vmas] == [2, 0, 0, 0]


def test_markers_of_guards_go_with_what_is_copied() -> None:
    main = draw("WW|ww|FF")
    for page in (0, 2, 4):
        main.guards.add(at(page), at(page + 1))
    for vma in main.vmas:
        vma.flags |= abi.VM_MAYBE_GUARD if vma.start == at(2) else 0
    child = fork(main)
    assert child.guards.within(0, abi.ULONG_MAX) == [(at(0), at(1)), (at(2), at(3))]


def test_exec_has_a_fresh_heap_and_keeps_limits_and_personality() -> None:
    main = draw("ww")
    main.limits, main.thp_disable = Limits(memlock=5), 1
    main.persona = abi.READ_IMPLIES_EXEC | 0x40000
    main.brk_known = True
    new = Processes(main).execute("main")
    assert (new.brk_known, new.fresh, new.limits) == (False, True, Limits(memlock=5))
    assert (new.persona, new.thp_disable) == (0x40000, 1)


def test_a_limit_of_one_who_shares_memory_is_kept_for_its_exec() -> None:
    main = draw("ww")
    processes = Processes(main)
    processes.create("main", True, "t", None)
    processes.limit("t", abi.RLIMIT_DATA, 7)
    processes.limit("t", abi.RLIMIT_MEMLOCK, 8)
    assert main.limits == Limits()
    assert processes.execute("t").limits == Limits(data=7, memlock=8)
    processes.limit("t", abi.RLIMIT_DATA, 9)  # now its own
    assert processes["t"].limits == Limits(data=9, memlock=8)
    processes.limit("main", abi.RLIMIT_DATA, 3)
    assert main.limits == Limits(data=3)


def test_a_personality_is_ones_own_although_memory_is_shared() -> None:
    main = draw("ww")
    processes = Processes(main)
    processes.set_persona("main", 1)
    assert (main.persona, processes.personas) == (1, {})
    processes.create("main", True, "t", None)
    processes.set_persona("t", 2)
    assert processes.personas == {"main": 1, "t": 2}
    processes.create("t", True, "u", None)
    assert processes.personas["u"] == main.persona == 2
    processes.execute("t")
    assert "t" not in processes.personas


def test_who_has_ended_had_a_number() -> None:
    processes = Processes(draw("ww"))
    processes.create("main", False, "c", 77)
    assert (processes.has_ended(77), processes.has_ended(78)) == (False, False)
    assert processes.name_of(77) == "c"
    assert processes.numbered(1) is processes["main"]
    processes.end("c")
    assert processes.has_ended(77)
    assert processes.numbered(77) is None
    assert processes.get("c") is None


@pytest.mark.parametrize(("mode", "kept"), [(1, 1), (3, 0)])
def test_exec_keeps_mdwe_unless_it_is_not_to_be_inherited(mode: int, kept: int) -> None:
    main = draw("ww")
    main.mdwe = mode
    assert Processes(main).execute("main").mdwe == kept


@pytest.mark.parametrize(
    ("name", "args", "shares"),
    [
        ("fork", (), False), ("vfork", (), True),
        ("clone", (abi.CLONE_VM | abi.CLONE_VFORK,), True), ("clone", (17,), False),
        ("clone", ("child_stack=NULL, flags=CLONE_VM|SIGCHLD",), True),
        ("clone3", ("{flags=CLONE_VM|CLONE_FS}",), True), ("clone3", ("{flags=0}",), False),
        ("clone", ("CLONE_VMX",), False),
    ],
)  # fmt: skip
def test_clone_vm_and_vfork_share_memory(name: str, args: tuple[object, ...], shares: bool) -> None:
    assert shares_memory(name, args) is shares
