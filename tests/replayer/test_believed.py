"""Recorded failures of a partial trace: what each leaves, and what is said of it."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmatrace import abi
from vmatrace.engine import view
from vmatrace.engine.mm import Mm
from vmatrace.engine.syscalls import advice, mapping, protection, remapping
from vmatrace.engine.world import World
from vmatrace.kernels import get_kernel
from vmatrace.replayer.believed import Checkpoint, settle
from vmatrace.replayer.result import Result
from vmatrace.replayer.run import Replay, replay
from vmatrace.trace.file import load_trace

FIVE = "mmap(NULL, 5*PAGE_SIZE, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"
A = 0x7F0000000000


def run(events: Iterable[str], head: str = "", kernel: str = "6.18") -> Result:
    text = f"vmatrace: 1\npartial: true\n{head}events:\n"
    text += "".join(f"  - {event}\n" for event in events)
    return replay(load_trace(text.encode(), "t.yaml"), get_kernel(kernel))


def layout(result: Result) -> list[tuple[int, int, str]]:
    return [(m.start - A >> 12, m.end - A >> 12, m.perms) for m in result.processes[0].layout]


@pytest.mark.parametrize(
    "call",
    [
        f"mprotect({A:#x}, 4096, PROT_READ) = -1 ENOMEM",
        f"mprotect({A + 8192:#x}, 4096, PROT_READ) = -1 EACCES",
        f"munmap({A + 4096:#x}, 4096) = -1 ENOMEM",
        f"munmap({A:#x}, 20480) = -1 EPERM",
        f"madvise({A:#x}, 8192, MADV_MERGEABLE) = -1 EINVAL",
        f"madvise({A:#x}, 20480, MADV_DONTFORK) = -1 EINVAL",
        f"mlock({A:#x}, 4096) = -1 ENOMEM",
        f"mlock2({A:#x}, 4096, MLOCK_ONFAULT) = -1 EPERM",
        "mlockall(MCL_CURRENT|MCL_FUTURE) = -1 EPERM",
        f"mseal({A:#x}, 4096, 0) = -1 EPERM",
        f"mbind({A:#x}, 4096, MPOL_BIND, [0x1], 64, 0) = -1 EPERM",
        f"mremap({A:#x}, 20480, 40960, MREMAP_MAYMOVE) = -1 ENOMEM",
        f"mremap({A:#x}, 8192, 4096, MREMAP_MAYMOVE) = -1 ENOMEM",
        f"mremap({A:#x}, 4096, 4096, MREMAP_MAYMOVE|MREMAP_FIXED, {A + 0x10000:#x}) = -1 ENOMEM",
        f"mmap({A:#x}, 4096, PROT_READ, MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS, -1, 0) = -1 EPERM",
        "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = -1 ENOMEM",
        "prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0) = -1 EINVAL",
        f'prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, {A:#x}, 4096, "x") = -1 EINVAL',
        f"pkey_mprotect({A:#x}, 4096, PROT_READ, -1) = -1 ENOSYS",
        f"process_madvise(-10000, [{{iov_base={A:#x}, iov_len=4096}}], 1, MADV_COLD, 0) = -1 EPERM",
        "brk(0x555555600000) = 0x555555559000",
    ],
)
def test_a_call_that_failed_changes_nothing_whatever_the_model_would_do(call: str) -> None:
    result = run([f"{FIVE} = {A:#x}", call], "process: {brk: 0x555555559000}\n")
    assert layout(result) == [(0, 5, "rw-p")]
    assert (result.mergeable, result.diverged, result.splits) == (0, 0, 0)
    flags = result.processes[0].layout[0].codes
    assert flags == ("rd", "wr", "mr", "mw", "me", "ac")


def test_what_could_have_been_moved_is_where_it_was() -> None:
    """The model finds a place for it that is as it was, too, all of it."""
    wall = f"mmap({A + 20480:#x}, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)"
    before = [f"{FIVE} = {A:#x}", f"{wall} = {A + 20480:#x}"]
    refused = run([*before, f"mremap({A:#x}, 20480, 40959, MREMAP_MAYMOVE) = -1 ENOMEM"])
    assert layout(refused) == layout(run(before)) == [(0, 5, "rw-p"), (5, 6, "r--p")]
    assert refused.believed == 1


def test_what_the_model_would_have_granted_is_counted() -> None:
    events = [f"{FIVE} = {A:#x}", f"madvise({A:#x}, 8192, MADV_DONTFORK) = -1 EINVAL"]
    assert run(events).believed == 1
    assert run([*events, "munmap(1, 1) = -1 EINVAL"]).believed == 1  # the model agrees


def test_before_the_vma_that_could_not_be_split_a_failed_mprotect_stays() -> None:
    two = "mmap({:#x}, 8192, {}, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED{}, -1, 0) = {:#x}"
    events = [
        two.format(A, "PROT_READ", "", A),
        two.format(A + 8192, "PROT_READ|PROT_WRITE", "|MAP_NORESERVE", A + 8192),
        f"mprotect({A:#x}, 12288, PROT_NONE) = -1 ENOMEM",
    ]  # fmt: skip
    assert layout(run(events)) == [(0, 2, "---p"), (2, 4, "rw-p")]


def test_over_a_hole_a_failed_madvise_is_done_to_what_is_mapped() -> None:
    events = [
        f"{FIVE} = {A:#x}", f"munmap({A + 4096:#x}, 4096) = 0",
        f"madvise({A:#x}, 20480, MADV_DONTFORK) = -1 ENOMEM",
    ]  # fmt: skip
    result = run(events)
    assert ["dc" in m.codes for m in result.processes[0].layout] == [True, True]
    assert result.believed == 0


@pytest.mark.parametrize("name", ["mmap", "mprotect", "munmap", "mremap"])
def test_a_refusal_at_the_limit_is_named(name: str) -> None:
    pages = 40
    events = [f"mmap(NULL, {pages * 4096}, PROT_READ, MAP_PRIVATE|MAP_ANON, -1, 0) = {A:#x}"]
    events += [f"mprotect({A + i * 4096:#x}, 4096, PROT_NONE) = 0" for i in range(1, pages - 6, 2)]
    call = {
        "mmap": "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)",
        "mprotect": f"mprotect({A + 36 * 4096:#x}, 4096, PROT_WRITE)",
        "munmap": f"munmap({A + 36 * 4096:#x}, 4096)",
        "mremap": f"mremap({A + 34 * 4096:#x}, 4096, 8192, MREMAP_MAYMOVE)",
    }[name]
    result = run([*events, f"{call} = -1 ENOMEM (Cannot allocate memory)"],
                 "sysctl: {max_map_count: 60}\n")  # fmt: skip
    assert result.believed == 1
    where = result.at_limit
    assert where is not None
    assert (where.event.text, where.event.line, where.limit) == (call, 5 + len(events), 60)
    assert where.maps == result.vmas + where.unseen


def test_far_from_every_limit_nothing_is_said_of_one() -> None:
    events = [f"{FIVE} = {A:#x}", f"mprotect({A:#x}, 4096, PROT_READ) = -1 ENOMEM"]
    result = run(events)
    assert (result.believed, result.at_limit) == (1, None)


def test_a_success_beyond_the_limit_proves_a_larger_one() -> None:
    events = [f"mmap(NULL, 80*PAGE_SIZE, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = {A:#x}"]
    events += [f"mprotect({A + i * 4096:#x}, 4096, PROT_NONE) = 0" for i in range(1, 79, 2)]
    result = run(events, "sysctl: {max_map_count: 40}\n")
    assert (result.vmas, result.diverged) == (79, 0)
    assert result.beyond_limit >= 39


def test_a_trace_that_is_whole_is_not_believed() -> None:
    text = f"vmatrace: 1\nevents:\n  - {FIVE} = {A:#x}\n  - munmap({A:#x}, 4096) = -1 ENOMEM\n"
    result = replay(load_trace(text.encode()), get_kernel("6.18"))
    assert (result.diverged, result.believed) == (1, 0)
    assert layout(result) == [(1, 5, "rw-p")]


def whole(mm: Mm) -> tuple[object, ...]:
    vmas = [(v.start, v.end, v.flags, v.skew, v.file, v.anon, v.chain, v.extra) for v in mm.vmas]
    return vmas, mm.brk, mm.start_brk, mm.guards.within(0, abi.ULONG_MAX), mm.world.splits


CALLS = st.tuples(
    st.sampled_from(["mmap", "munmap", "mprotect", "madvise", "guard", "mremap"]),
    st.integers(0, 20), st.integers(1, 8), st.integers(0, 7), st.integers(0, 20),
)  # fmt: skip


def do(mm: Mm, call: tuple[str, int, int, int, int]) -> list[tuple[int, int]]:
    """Make a call; the ranges that it is about."""
    name, page, pages, prot, other = call
    start, length, target = A + page * 4096, pages * 4096, A + (other + 30) * 4096
    spans = [(start, start + length)]
    if name == "mremap":
        spans.append((target, target + length))
    before = Checkpoint(mm, spans)
    state = copy.deepcopy(whole(mm))
    if name == "mmap":
        flags = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
        mapping.mmap(mm, start, length, prot, flags, None, 0)
    elif name == "munmap":
        mapping.munmap(mm, start, length)
    elif name == "mprotect":
        protection.mprotect(mm, start, length, prot)
    elif name == "madvise":
        advice.madvise(mm, start, length, abi.MADV_DONTFORK)
    elif name == "guard":
        advice.madvise(mm, start, length, abi.MADV_GUARD_INSTALL)
    else:
        fixed = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED
        remapping.mremap(mm, start, length, length, fixed, target)
    before.restore()
    mm.vmas.check()
    assert whole(mm) == state
    return spans


@pytest.mark.parametrize(("whole_known", "left"), [(False, "r--p"), (True, "rw-p")])
def test_a_limit_explains_a_refusal_only_where_not_all_memory_is_known(
    whole_known: bool, left: str
) -> None:
    """A log does not show the VMA too many: what lies before it is changed. A recording would."""
    mm = Mm(World(get_kernel("6.18")), 0x7FFFF7FFF000, 0x555555559000)
    flags = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
    rw = abi.PROT_READ | abi.PROT_WRITE
    mapping.mmap(mm, A, 4096, rw, flags, None, 0)
    shared = abi.MAP_SHARED | abi.MAP_ANONYMOUS | abi.MAP_FIXED
    mapping.mmap(mm, A + 4096, 8192, rw, shared, None, 0)
    settled = settle(
        mm, "mprotect", (A, 8192, abi.PROT_READ), -abi.ENOMEM,
        lambda where: protection.mprotect(where, A, 8192, abi.PROT_READ), whole=whole_known,
    )  # fmt: skip
    assert (settled.granted, settled.crowded) == (True, not whole_known)
    assert view.layout(mm)[0].perms == left


@settings(max_examples=200, deadline=None)
@given(st.lists(CALLS, max_size=12), CALLS)
def test_every_call_can_be_undone(
    made: list[tuple[str, int, int, int, int]], tried: tuple[str, int, int, int, int]
) -> None:
    mm = Mm(World(get_kernel("6.18")), 0x7FFFF7FFF000, 0x555555559000)
    for name, page, pages, prot, _ in made:
        start, length = A + page * 4096, pages * 4096
        if name == "munmap":
            mapping.munmap(mm, start, length)
        elif name == "mprotect":
            protection.mprotect(mm, start, length, prot)
        else:
            flags = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
            mapping.mmap(mm, start, length, prot, flags, None, 0)
    do(mm, tried)


@pytest.mark.parametrize("result", ["0", "-1 EINVAL"])
def test_a_name_without_a_range_is_for_no_memory(result: str) -> None:
    assert run([f"prctl(PR_SET_VMA, 0) = {result}"]).vmas == 0


def test_a_mode_that_is_nothing_is_none() -> None:
    call = "ioctl(5, UFFDIO_REGISTER, {range={start=0x10000, len=4096}, mode=|}) = -1 EINVAL"
    assert run([call]).diverged == 0


def program(events: Iterable[str], head: str = "recorded: true\n") -> Result:
    state = "{brk: 0x555555559000, rlimits: {as: 0x100000}}"
    text = f"vmatrace: 1\nprocess: {state}\n{head}events:\n"
    text += "".join(f"  - {event}\n" for event in events)
    return replay(load_trace(text.encode(), "t.yaml"), get_kernel("6.18"))


@pytest.mark.parametrize(
    "call",
    [
        f"mprotect({A:#x}, 4096, PROT_READ) = -1 EACCES",
        f"madvise({A:#x}, 8192, MADV_DONTFORK) = -1 ENOMEM",
        f"mlock({A:#x}, 4096) = -1 EPERM",
        f"munmap({A:#x}, 4096) = -1 ENOSYS",
        f"mremap({A:#x}, 20480, 40960, MREMAP_MAYMOVE) = -1 ENOMEM",
        "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = -1 ENOMEM",
        f"mbind({A:#x}, 4096, MPOL_BIND, [0x1], 64, 0) = -1 EIO",
        "brk(0x555555560000) = 0x555555559000",
    ],
)
def test_of_a_recording_what_was_refused_is_believed_and_counted(call: str) -> None:
    result = program([f"{FIVE} = {A:#x}", call])
    assert (layout(result), result.diverged, result.believed) == ([(0, 5, "rw-p")], 0, 1)
    other = program([f"{FIVE} = {A:#x}", call], head="")
    assert (other.diverged, other.believed) == (1, 0)


@pytest.mark.parametrize("error", ["EINVAL", "EFAULT", "EBADF", "EEXIST"])
def test_of_a_recording_errors_of_arguments_are_not_believed(error: str) -> None:
    result = program([f"{FIVE} = {A:#x}", f"munmap({A:#x}, 4096) = -1 {error}"])
    assert (result.diverged, result.believed) == (1, 0)


def test_what_a_known_limit_explains_is_not_counted_as_believed() -> None:
    call = "mmap(NULL, 0x200000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = -1 ENOMEM"
    result = program([f"{FIVE} = {A:#x}", call])
    assert (layout(result), result.diverged, result.believed) == ([(0, 5, "rw-p")], 0, 0)


def test_limits_of_a_process_follow_it_and_not_its_parent() -> None:
    large = "mmap(NULL, 0x200000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"
    more = "{rlim_cur=1024*1024*1024, rlim_max=RLIM64_INFINITY}"
    result = program([
        f"{large} = -1 ENOMEM",
        "child = vfork()",
        f"{{pid: child, call: 'setrlimit(RLIMIT_AS, {more}) = 0'}}",
        f"{large} = -1 ENOMEM",
        "{pid: child, call: 'execve(\"/bin/a\")'}",
        f"{{pid: child, call: '{large} = 0x7ffff7c00000'}}",
        f"{large} = -1 ENOMEM",
        f"'prlimit64(0, RLIMIT_AS, {more}, NULL) = 0'",
        f"{large} = 0x7ffff7d00000",
        "prlimit64(4000, RLIMIT_AS, NULL, NULL) = -1 ESRCH",
    ], head="")  # fmt: skip
    assert (result.diverged, result.believed) == (0, 0)


def test_who_has_ended_is_no_process_any_more() -> None:
    area = "[{iov_base=0x10000, iov_len=4096}]"
    result = program([
        "fork() = 77",
        f"'process_madvise(77, {area}, 1, MADV_COLD, 0) = -1 ENOMEM'",
        "{pid: 77, call: exit_group(0)}",
        f"'process_madvise(77, {area}, 1, MADV_COLD, 0) = -1 ESRCH'",
        f"'process_madvise(78, {area}, 1, MADV_COLD, 0) = -1 EBADF'",
        f"'process_madvise(77, {area}, 1025, MADV_COLD, 0) = -1 EINVAL'",
        "process_madvise(77, 0x1000, 1, MADV_COLD, 0) = -1 EFAULT",
    ], head="")  # fmt: skip
    assert result.diverged == 0, result.divergences


def test_every_call_of_a_log_is_counted_and_those_that_fail_again() -> None:
    """Those believed too; and where one parts from what was recorded, its number is said."""
    grown = "brk(0x555555600000) = 0x555555559000"
    refused = f"mprotect({A:#x}, 4096, PROT_NONE) = -1 EPERM"
    calls = [
        f"a = {FIVE} = {A:#x}",
        grown,
        refused,
        "munlockall() = 0",
        refused,
        "munlockall() = 0",
    ]
    made = run(calls)
    assert (made.events, made.errors, made.diverged) == (6, 2, 0)
    text = "vmatrace: 1\npartial: true\nevents:\n" + "".join(f"  - {call}\n" for call in calls)
    steps = list(Replay(load_trace(text.encode(), "t.yaml"), get_kernel("6.18")).steps())
    assert [step.index for step in steps] == [0, 1, 2, 3, 4, 5]
    assert [step.result for step in steps] == [step.event.recorded for step in steps]
    unmapped = "mlock(0x10000000, 4096) = -1 EFAULT"
    found = program([calls[0], grown, refused, unmapped, refused, unmapped])
    assert [(d.index, d.recorded, d.modelled) for d in found.divergences] == [
        (3, -14, -12), (5, -14, -12),
    ]  # fmt: skip
    assert (found.events, found.errors, found.believed) == (6, 4, 3)
