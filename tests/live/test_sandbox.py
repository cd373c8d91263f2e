"""The sandbox on the running kernel: its start, its calls, its layouts, its processes."""

from __future__ import annotations

import os
import resource

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmatrace import abi, layout
from vmatrace.event import Event, Expectation, Expr, Fd, File
from vmatrace.layout import Layout
from vmatrace.oracle import Observation, Sandbox, SandboxLost, Unsupported

PAGE = os.sysconf("SC_PAGE_SIZE")
BASE = 0x100_0000_0000
RW = abi.PROT_READ | abi.PROT_WRITE
ANON = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
KERNEL_OWN = {"[stack]", "[vdso]", "[vvar]", "[vvar_vclock]", "[sigpage]"}


def map_pages(sandbox: Sandbox, page: int, count: int, prot: int = RW, pid: str = "main") -> int:
    return sandbox.call("mmap", (BASE + page * PAGE, count * PAGE, prot, ANON, -1, 0), pid)


def pages(seen: Layout) -> list[tuple[int, int, str]]:
    """(first page, page behind the last, perms) of what was mapped from BASE on."""
    return [
        ((m.start - BASE) // PAGE, (m.end - BASE) // PAGE, m.perms)
        for m in seen
        if BASE <= m.start < 2 * BASE
    ]


def test_the_address_space_starts_with_the_image_and_what_the_kernel_adds(sandbox: Sandbox) -> None:
    names = {m.name for m in sandbox.start.layout}
    assert names - KERNEL_OWN == {"/memfd:vmatrace (deleted)"}
    assert "[stack]" in names


def test_two_sandboxes_start_alike(sandbox: Sandbox) -> None:
    with Sandbox() as other:
        assert other.start == sandbox.start


def test_the_start_does_not_depend_on_the_limits_of_the_caller(sandbox: Sandbox) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (16 << 20, hard))
    try:
        with Sandbox() as other:
            assert other.start == sandbox.start
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))


def test_brk_starts_where_it_is_reported_and_grows_a_heap(sandbox: Sandbox) -> None:
    brk = sandbox.start.brk
    assert sandbox.call("brk", (0,)) == brk
    assert sandbox.call("brk", (brk + 3 * PAGE,)) == brk + 3 * PAGE
    assert [(m.start, m.end) for m in sandbox.layout() if m.name == "[heap]"] == [
        (brk, brk + 3 * PAGE)
    ]


def test_a_free_choice_of_address_ends_at_the_lowest_start_mapping(sandbox: Sandbox) -> None:
    kernel_own = [m for m in sandbox.start.layout if m.name in KERNEL_OWN - {"[stack]"}]
    flags = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS
    address = sandbox.call("mmap", (0, PAGE, RW, flags, -1, 0))
    assert address + PAGE == min(m.start for m in kernel_own)


def test_failures_are_negative_errno(sandbox: Sandbox) -> None:
    assert sandbox.call("munmap", (BASE + 1, PAGE)) == -abi.EINVAL
    assert sandbox.call("mprotect", (BASE, PAGE, RW)) == -abi.ENOMEM
    assert sandbox.call("mmap", (BASE, PAGE, RW, abi.MAP_PRIVATE, 77, 0)) == -abi.EBADF


def test_every_call_without_a_story_of_its_own_reaches_the_kernel(sandbox: Sandbox) -> None:
    """Each succeeds here, on a kernel that has it; ENOSYS stands for an older one."""
    map_pages(sandbox, 0, 4)
    shared = abi.MAP_SHARED | abi.MAP_ANONYMOUS | abi.MAP_FIXED
    sandbox.call("mmap", (BASE + 8 * PAGE, 4 * PAGE, RW, shared, -1, 0))
    area = f"[{{iov_base={BASE:#x}, iov_len={PAGE}}}]"
    for name, args, result in (
        ("pkey_mprotect", (BASE, PAGE, abi.PROT_READ, -1), 0),
        ("mremap", (BASE, 4 * PAGE, 2 * PAGE, 0), BASE),
        ("madvise", (BASE, PAGE, abi.MADV_DONTFORK), 0),
        ("process_madvise", ("main", area, 1, abi.MADV_COLD, 0), PAGE),
        ("mlock", (BASE, PAGE), 0),
        ("mlock2", (BASE, PAGE, abi.MLOCK_ONFAULT), 0),
        ("munlock", (BASE, PAGE), 0),
        ("mlockall", (abi.MCL_CURRENT | abi.MCL_ONFAULT,), 0),
        ("munlockall", (), 0),
        ("msync", (BASE, PAGE, abi.MS_ASYNC), 0),
        ("remap_file_pages", (BASE + 8 * PAGE, PAGE, 0, 1, 0), 0),
        ("mbind", (BASE, PAGE, abi.MPOL_BIND, "[0x1]", 64, 0), 0),
        ("mseal", (BASE, PAGE, 0), 0),
        ("prctl", (abi.PR_SET_THP_DISABLE, 1), 0),
    ):
        assert sandbox.call(name, args) in (result, -abi.ENOSYS), name


def test_a_run_yields_each_event_with_its_result_and_layout(sandbox: Sandbox) -> None:
    a = Expr(("+", "a", PAGE), "a + PAGE_SIZE")
    events: list[Event | Expectation] = [
        Event("mmap", (BASE, 2 * PAGE, RW, ANON, -1, 0), "", label="a"),
        Expectation("main", 2, 1),
        Event("munmap", (a, PAGE), "", symbolic=True),
    ]
    first, second = sandbox.run(events)
    assert first == Observation(first.event, BASE, first.layout)
    assert [first.event, second.event] == [events[0], events[2]]
    assert pages(first.layout) == [(0, 2, "rw-p")]
    assert (second.result, pages(second.layout)) == (0, [(0, 1, "rw-p")])


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["map", "unmap", "protect", "fault", "lock", "advise"]),
            st.integers(0, 15),
            st.integers(1, 6),
            st.integers(0, 7),
        ),
        max_size=12,
    )
)
def test_the_fast_reader_reads_what_the_layout_parser_reads(
    steps: list[tuple[str, int, int, int]],
) -> None:
    with Sandbox() as sandbox:
        for what, page, count, number in steps:
            address, size = BASE + page * PAGE, count * PAGE
            if what == "map":
                sandbox.call("mmap", (address, size, number, ANON, -1, 0))
            elif what == "unmap":
                sandbox.call("munmap", (address, size))
            elif what == "protect":
                sandbox.call("mprotect", (address, size, number))
            elif what == "fault":
                sandbox.call("fault", (address, size, 1 + number % 2))
            elif what == "lock":
                sandbox.call("mlock2", (address, size, abi.MLOCK_ONFAULT))
            else:
                sandbox.call("madvise", (address, size, abi.MADV_DONTFORK + number))
            with open(f"/proc/{sandbox.kernel_pid()}/smaps") as smaps:
                assert sandbox.layout() == layout.parse_layout(smaps.read())


def test_the_reader_copes_with_counters_of_nine_digits(sandbox: Sandbox) -> None:
    sandbox.call("mmap", (BASE, 1 << 39, 0, ANON, -1, 0))
    map_pages(sandbox, 1 << 27, 1)
    with open(f"/proc/{sandbox.kernel_pid()}/smaps") as smaps:
        assert sandbox.layout() == layout.parse_layout(smaps.read())
    assert len(pages(sandbox.layout())) == 2


# --- processes ------------------------------------------------------------------------------------


def test_a_child_has_its_own_address_space_and_ends_by_exit(sandbox: Sandbox) -> None:
    map_pages(sandbox, 0, 4)
    pid = sandbox.call("fork", child="child")
    assert pid == sandbox.kernel_pid("child")
    map_pages(sandbox, 1, 1, abi.PROT_READ, pid="child")
    assert pages(sandbox.layout("child")) == [(0, 1, "rw-p"), (1, 2, "r--p"), (2, 4, "rw-p")]
    assert pages(sandbox.layout()) == [(0, 4, "rw-p")]
    assert sandbox.call("exit", (3,), "child") == 0
    assert sandbox.layout("child") == []
    with pytest.raises(Unsupported, match="'child'"):
        sandbox.call("munmap", (BASE, PAGE), "child")
    assert not os.path.exists(f"/proc/{pid}")


def test_a_grandchild_goes_on_after_its_parent(sandbox: Sandbox) -> None:
    sandbox.call("fork", child="child")
    sandbox.call("fork", (), "child", child="grandchild")
    sandbox.call("exit_group", (), "child")
    assert map_pages(sandbox, 0, 1, pid="grandchild") == BASE
    assert pages(sandbox.layout("grandchild")) == [(0, 1, "rw-p")]
    assert map_pages(sandbox, 0, 2) == BASE


def test_processes_are_named_by_label_then_by_record_then_by_the_kernel(sandbox: Sandbox) -> None:
    sandbox.run_event(Event("fork", (), "", label="a", recorded=7))
    sandbox.run_event(Event("fork", (), "", recorded=8))
    number = sandbox.run_event(Event("fork", (), ""))
    assert sandbox.layout("a") == sandbox.layout("8") == sandbox.layout(str(number))


@pytest.mark.parametrize(
    ("name", "args"),
    [("vfork", ()), ("clone", ("child_stack=NULL", "flags=CLONE_VM|CLONE_VFORK|SIGCHLD"))],
)
def test_a_child_may_share_the_address_space(
    sandbox: Sandbox, name: str, args: tuple[str, ...]
) -> None:
    sandbox.call(name, args, child="child")
    map_pages(sandbox, 0, 1, pid="child")
    sandbox.call("exit", (), "child")
    assert pages(sandbox.layout()) == [(0, 1, "rw-p")]


def test_execve_starts_afresh(sandbox: Sandbox) -> None:
    map_pages(sandbox, 0, 4)
    assert sandbox.call("execve", ("/bin/true",)) == 0
    assert sandbox.layout() == sandbox.start.layout
    assert map_pages(sandbox, 0, 1) == BASE


def test_ksm_can_be_in_force_from_the_start() -> None:
    try:
        opened = Sandbox(ksm=True)
    except Unsupported as reason:
        pytest.skip(str(reason))
    with opened as sandbox:
        assert sandbox.call("prctl", (abi.PR_GET_MEMORY_MERGE,)) in (0, 1)
        map_pages(sandbox, 0, 1)
        (mapping,) = (m for m in sandbox.layout() if m.start == BASE)
        assert mapping.vm_flags & abi.VM_MERGEABLE


def test_a_limit_holds_in_the_sandbox_alone() -> None:
    with Sandbox(rlimits={resource.RLIMIT_AS: 1 << 30}) as sandbox:
        assert map_pages(sandbox, 0, (2 << 30) // PAGE) == -abi.ENOMEM
        assert map_pages(sandbox, 0, 1) == BASE


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("prctl", (abi.PR_SET_MEMORY_MERGE, 1, 0, 0, 0)),
        ("prctl", (abi.PR_SET_MDWE, 1, 0, 0, 0)),
        ("prctl", (abi.PR_SET_THP_DISABLE, 1, 0, 0, 0)),
        ("mlockall", (abi.MCL_FUTURE,)),
        ("munmap", (0, abi.TASK_SIZE)),
        ("exit", ()),
        ("vfork", ()),
    ],
)
def test_a_reset_leaves_no_trace(sandbox: Sandbox, name: str, args: tuple[int, ...]) -> None:
    sandbox.run_event(Event(name, args, "", label="label"))
    sandbox.reset()
    assert (sandbox.layout(), sandbox.labels) == (sandbox.start.layout, {})
    assert map_pages(sandbox, 0, 1, abi.PROT_READ) == BASE
    assert sandbox.call("mprotect", (BASE, PAGE, abi.PROT_EXEC)) == 0
    with Sandbox() as other:
        map_pages(other, 0, 1, abi.PROT_READ)
        assert other.call("mprotect", (BASE, PAGE, abi.PROT_EXEC)) == 0
        assert sandbox.layout() == other.layout()


def test_a_reset_keeps_the_files() -> None:
    with Sandbox({3: File("/memfd:f", "tmpfs")}) as sandbox:
        for end in ((), (0, abi.TASK_SIZE)):
            if end:
                sandbox.call("munmap", end)
            sandbox.reset()
            args = (BASE, PAGE, RW, abi.MAP_SHARED | abi.MAP_FIXED, 3, 0)
            assert sandbox.call("mmap", args) == BASE


# --- what cannot be done --------------------------------------------------------------------------


def test_unmapping_everything_is_observed_and_then_the_process_is_lost(sandbox: Sandbox) -> None:
    assert sandbox.call("munmap", (0, abi.TASK_SIZE)) == 0
    assert sandbox.layout() == []
    with pytest.raises(SandboxLost, match="from which calls are made"):
        sandbox.call("munmap", (BASE, PAGE))


def test_a_lost_process_leaves_the_others_usable(sandbox: Sandbox) -> None:
    sandbox.call("fork", child="child")
    sandbox.call("munmap", (0, abi.TASK_SIZE), "child")
    with pytest.raises(SandboxLost):
        sandbox.call("fault", (BASE, PAGE, abi.PROT_READ), "child")
    assert map_pages(sandbox, 0, 1) == BASE


def test_text_needs_the_stack(sandbox: Sandbox) -> None:
    (stack,) = (m for m in sandbox.start.layout if m.name == "[stack]")
    sandbox.call("munmap", (stack.start, stack.end - stack.start))
    with pytest.raises(SandboxLost, match="the stack"):
        sandbox.call("execve", ("/bin/true",))
    assert map_pages(sandbox, 0, 1) == BASE


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("madvise", (BASE, PAGE, abi.MADV_HWPOISON)),
        ("madvise", (BASE, PAGE, abi.MADV_SOFT_OFFLINE)),
        ("prctl", (22, 1, 0, 0, 0)),
        ("fault", (BASE, 1 << 40, abi.PROT_WRITE)),
        ("mmap", (0, PAGE, RW, abi.MAP_PRIVATE, Fd("nothing"), 0)),
    ],
)
def test_what_reaches_beyond_the_process_is_refused(
    sandbox: Sandbox, name: str, args: tuple[int | Fd, ...]
) -> None:
    with pytest.raises(Unsupported):
        sandbox.call(name, args)
    assert map_pages(sandbox, 0, 1) == BASE
