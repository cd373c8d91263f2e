"""Who exists, who shares memory with whom, and what exec and exit leave."""

from __future__ import annotations

import pytest
from drawing import draw, strip

from vmatrace import abi
from vmatrace.calls import shares_memory
from vmatrace.replayer.processes import Processes


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
