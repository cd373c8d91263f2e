"""A replay: labels, processes, descriptors, recorded results, expectations, what is missing."""

from __future__ import annotations

import pytest
from drawing import PAGE

from vmatrace import abi
from vmatrace.diagnostic import TraceError
from vmatrace.kernels import get_kernel
from vmatrace.replayer.lockstep import Lockstep
from vmatrace.replayer.result import Result
from vmatrace.replayer.run import DEFAULT_BRK, DEFAULT_MMAP_BASE, Replay, replay
from vmatrace.trace.file import Trace, load_trace

MAP = "mmap({}, {}, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS{}, -1, 0)"
BASE = 0x10000000
KSM = "process: {ksm: true}"


def trace(*events: str, header: str = "") -> Trace:
    lines = "".join(f"  - {event}\n" for event in events)
    return load_trace(f"vmatrace: 1\n{header}\nevents:\n{lines}".encode(), "t.yaml")


def run(
    *events: str, kernel: str = "post-patch", header: str = "", ksm: bool | None = None
) -> Result:
    return replay(trace(*events, header=header), get_kernel(kernel), ksm)


def fixed(page: int, pages: int = 1) -> str:
    return MAP.format(hex(BASE + page * PAGE), f"{pages}*PAGE_SIZE", "|MAP_FIXED")


def ranges(result: Result, process: int = 0) -> list[tuple[int, int]]:
    layout = result.processes[process].layout
    return [((m.start - BASE) // PAGE, (m.end - BASE) // PAGE) for m in layout]


# --- results and labels --------------------------------------------------------------------------


def test_a_label_is_the_result_of_its_call() -> None:
    result = run("a = " + fixed(0, 4), "munmap(a + PAGE_SIZE, 2*PAGE_SIZE)")
    assert ranges(result) == [(0, 1), (3, 4)]


def test_a_label_may_be_given_again_and_of_a_failed_call_is_its_errno() -> None:
    events = ["a = " + fixed(0, 2), "a = munmap(a + 1, 1)", "a = " + fixed(4), "munmap(a, 1)"]
    result = run(*events)
    assert (ranges(result), result.errors) == ([(0, 2)], 1)


def test_a_process_starts_where_an_unrandomized_x86_process_does() -> None:
    result = run("a = " + MAP.format("NULL", 1, ""), "brk(NULL)", f"brk({DEFAULT_BRK + PAGE:#x})")
    heap, top = result.processes[0].layout
    assert (top.end, heap.start, heap.name) == (DEFAULT_MMAP_BASE, DEFAULT_BRK, "[heap]")


def test_the_header_says_where_a_process_starts() -> None:
    header = "process: {mmap_base: 0x20000000, brk: 0x1000000, ksm: true}"
    result = run(MAP.format("NULL", 1, ""), "brk(0x1001000)", header=header)
    heap, top = result.processes[0].layout
    assert (heap.start, top.end) == (0x1000000, 0x20000000)
    assert result.mergeable == 2


@pytest.mark.parametrize(("in_trace", "asked", "marked"), [
    ("true", None, 1), ("false", None, 0), ("true", False, 0), ("false", True, 1),
])  # fmt: skip
def test_the_caller_overrides_whether_ksm_is_on_at_the_start(
    in_trace: str, asked: bool | None, marked: int
) -> None:
    result = run(fixed(0), header=f"process: {{ksm: {in_trace}}}", ksm=asked)
    assert result.mergeable == marked


def test_replays_of_one_trace_do_not_disturb_each_other() -> None:
    loaded = trace(fixed(0), fixed(1), header="process: {ksm: true}")
    vmas = [replay(loaded, get_kernel(k)).vmas for k in ("pre-patch", "post-patch", "pre-patch")]
    assert vmas == [2, 1, 2]


def test_steps_and_a_run_come_to_the_same_result() -> None:
    events = ["a = " + fixed(0, 4), "mprotect(a + PAGE_SIZE, PAGE_SIZE, PROT_READ)", "p = fork()"]
    events += ["munmap(1, 1)"]
    stepped = Replay(trace(*events), get_kernel("6.18"))
    steps = [(s.index, s.event.name, s.result, s.vmas, s.splits) for s in stepped.steps()]
    assert steps == [
        (0, "mmap", BASE, 1, 0),
        (1, "mprotect", 0, 3, 2),
        (2, "fork", 2, 3, 0),
        (3, "munmap", -abi.EINVAL, 3, 0),
    ]
    whole = run(*events, kernel="6.18")
    for result in (stepped.result, whole):
        assert (result.events, result.errors, result.splits, result.vmas) == (4, 1, 2, 6)
    assert stepped.result.tally.merges == whole.tally.merges


def test_a_step_has_the_decisions_of_its_own_call() -> None:
    stepped = Replay(trace(fixed(0), fixed(2), fixed(1)), get_kernel("6.18"))
    assert [[d.kind for d in s.decisions] for s in stepped.steps()] == [[None], [None], ["both"]]


def test_the_peak_is_counted_after_events() -> None:
    result = run("a = " + fixed(0, 5), "mprotect(a + 4096, 4096, PROT_READ)", "munmap(a, 5*4096)")
    assert (result.vmas, result.peak_vmas) == (0, 3)


# --- recorded results ----------------------------------------------------------------------------


def test_a_recorded_address_is_authoritative_where_the_kernel_chose() -> None:
    result = run(f"a = {MAP.format('NULL', 4096, '')} = {BASE:#x}", "munmap(a, 4096) = 0")
    assert result.divergences == []
    assert result.vmas == 0


def test_what_the_model_disagrees_with_is_a_divergence_and_the_replay_goes_on() -> None:
    result = run(f"{fixed(0)} = -1 ENOMEM", "munmap(1, 1) = 0", fixed(4))
    assert [(d.index, d.recorded, d.modelled) for d in result.divergences] == [
        (0, -abi.ENOMEM, BASE),
        (1, 0, -abi.EINVAL),
    ]
    assert ranges(result) == [(0, 1), (4, 5)]


def test_a_recorded_address_that_is_taken_here_is_a_divergence() -> None:
    result = run(fixed(0, 2), f"{MAP.format('NULL', 4096, '')} = {BASE:#x}")
    assert [d.modelled for d in result.divergences] == [DEFAULT_MMAP_BASE - PAGE]


def test_the_first_recorded_break_is_where_the_heap_starts() -> None:
    result = run("brk(NULL) = 0x1000000", "brk(0x1002000) = 0x1002000")
    assert result.divergences == []
    assert result.processes[0].layout[0].start == 0x1000000


# --- processes -----------------------------------------------------------------------------------


def test_a_child_goes_its_own_way_from_the_fork_on() -> None:
    events = [fixed(0, 2), "p = fork()", '{pid: p, call: "munmap(0x10000000, 4096)"}', fixed(2)]
    result = run(*events)
    assert [p.pid for p in result.processes] == ["main", "p"]
    assert (ranges(result, 0), ranges(result, 1)) == ([(0, 3)], [(1, 2)])


def test_a_child_may_be_called_by_its_recorded_pid() -> None:
    result = run(fixed(0), "fork() = 77", '{pid: 77, call: "munmap(0x10000000, 4096)"}')
    assert [(p.pid, len(p.layout)) for p in result.processes] == [("main", 1), ("77", 0)]
    assert result.divergences == []


def test_what_exits_is_gone_but_the_last_layout_of_the_first_process_stays() -> None:
    result = run(fixed(0), "p = fork()", '{pid: p, call: "exit_group(0)"}', "exit(0)")
    assert [(p.pid, p.exited, len(p.layout)) for p in result.processes] == [("main", True, 1)]


def test_the_first_process_lives_on_in_its_threads() -> None:
    thread = "clone(child_stack=NULL, flags=CLONE_VM|CLONE_THREAD) = 7"
    later = [f"{{pid: '7', call: '{fixed(4)}'}}", "{pid: '7', call: exit_group(0)}"]
    result = run(fixed(0), thread, "exit(0)", *later)
    assert ranges(result) == [(0, 1), (4, 5)]
    assert [(process.pid, process.exited) for process in result.processes] == [("main", True)]


def test_vma_counts_are_sums_over_processes() -> None:
    result = run(fixed(0), "p = fork()", '{pid: p, call: "' + fixed(4) + '"}')
    assert (result.vmas, result.peak_vmas) == (3, 2)


# --- descriptors ---------------------------------------------------------------------------------

FILES = "files: {3: {path: /a, fs: ext4}, 4: {path: /a, fs: ext4}, 5: {path: /r, mode: r}}"


def file_map(page: int, fd: object, offset: int, prot: str = "PROT_READ") -> str:
    addr = hex(BASE + page * PAGE)
    return f"mmap({addr}, 4096, {prot}, MAP_SHARED|MAP_FIXED, {fd}, {offset * PAGE})"


def test_one_descriptor_is_one_open_file_and_two_are_two() -> None:
    same = run(file_map(0, 3, 0), file_map(1, 3, 1), header=FILES)
    other = run(file_map(0, 3, 0), file_map(1, 4, 1), header=FILES)
    assert (same.vmas, other.vmas) == (1, 2)


def test_an_unknown_descriptor_is_ebadf_and_a_mode_counts() -> None:
    events = [file_map(0, 9, 0), file_map(0, 5, 0, "PROT_WRITE")]
    replaying = Replay(trace(*events, header=FILES), get_kernel("6.18"))
    assert [s.result for s in replaying.steps()] == [-abi.EBADF, -abi.EACCES]


def test_a_path_that_strace_printed_is_a_file() -> None:
    result = run(file_map(0, "7</lib/x.so>", 0), file_map(1, "7</lib/x.so>", 1))
    (mapping,) = result.processes[0].layout
    assert (mapping.name, mapping.end - mapping.start) == ("/lib/x.so", 2 * PAGE)


# --- expectations --------------------------------------------------------------------------------


def test_expectations_hold_where_they_stand_and_each_failure_is_told() -> None:
    result = run(
        fixed(0), "expect: {vmas: 1, mergeable: 0}", fixed(2), "expect: {vmas: 1, peak_vmas: 7}"
    )
    assert result.passed == 1
    assert [(f.what, f.expected, f.actual) for f in result.failures] == [
        ("vmas", 1, 2),
        ("peak_vmas", 7, 2),
    ]


def test_expectations_of_other_kernels_are_passed_over() -> None:
    events = [fixed(0), "expect: {on: pre-patch, vmas: 9}", "expect: {on: '>=6.17', vmas: 1}"]
    assert (run(*events).passed, run(*events).failures) == (1, [])
    assert len(run(*events, kernel="pre-patch").failures) == 1
    assert run(*events, kernel="6.12").passed == 0


# --- starting layouts ----------------------------------------------------------------------------

MAPS = """process: {ksm: true}
maps: |
  10000000-10002000 rw-p 00000000 00:00 0
  10004000-10006000 r--p 00001000 08:01 42 /bin/x
  7ffff0000000-7ffff0021000 rw-p 00000000 00:00 0 [stack]"""


def test_a_starting_layout_is_there_before_the_first_event() -> None:
    result = run("fault(0x7fffefff0000, 1, PROT_WRITE)", fixed(2), header=MAPS)
    anon, file, stack = result.processes[0].layout
    assert (anon.start, anon.end) == (0x10000000, 0x10003000)
    assert (file.name, file.inode, file.offset) == ("/bin/x", 42, PAGE)
    assert (stack.start, "gd" in stack.codes, "mg" in stack.codes) == (0x7FFFEFFF0000, True, False)


# --- what is not modelled ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["run", "steps"])
def test_everything_that_is_not_modelled_is_named_at_once(how: str) -> None:
    replaying = Replay(
        trace(fixed(0), "prctl(PR_SET_NAME, 0)", fixed(1), "prctl(PR_SET_DUMPABLE, 1)"),
        get_kernel("6.18"),
    )
    with pytest.raises(TraceError) as caught:
        replaying.run() if how == "run" else list(replaying.steps())
    text = str(caught.value)
    assert "t.yaml:5:" in text
    assert "prctl option 15" in text
    assert "t.yaml:7:" in text
    assert "prctl option 4" in text


# --- execve and what is decided elsewhere --------------------------------------------------------


EXEC = """call: execve("/bin/true", ["true"], 0x7ffc /* 20 vars */) = 0
    maps: |
      7f0000000000-7f0000001000 rw-p 00000000 00:00 0
      Anonymous: 4 kB
      VmFlags: rd wr mr mw me ac mg
"""


def test_a_new_image_has_the_layout_that_the_trace_gives_it() -> None:
    result = run(fixed(0, 4), fixed(8), EXEC)
    (vma,) = result.processes[0].layout
    assert (vma.start, vma.end, "mg" in vma.codes) == (0x7F0000000000, 0x7F0000001000, True)
    assert result.peak_vmas == 2, "the most there was before the exec counts"


def test_an_exec_or_a_fork_that_failed_changes_nothing_and_is_no_divergence() -> None:
    result = run(
        fixed(0),
        'execve("/bin/none", [], 0x0) = -1 ENOENT (No such file or directory)',
        "fork() = -1 EAGAIN (Resource temporarily unavailable)",
    )
    assert (ranges(result), result.diverged, len(result.processes)) == ([(0, 1)], 0, 1)
    assert result.errors == 2


def test_the_peak_of_a_process_that_has_ended_counts() -> None:
    child = ["{pid: child, call: 'munmap(0x10000000, 4096)'}", "{pid: child, call: exit_group(0)}"]
    result = run(fixed(0, 4), "child = fork()", *child, "munmap(0x10000000, 0x4000)")
    assert (result.vmas, result.peak_vmas) == (0, 1)


# --- several models at once ----------------------------------------------------------------------


def test_models_replayed_together_do_what_each_does_alone() -> None:
    events = trace(*(fixed(page) for page in range(6)), "munmap(0x10001000, 4096)", header=KSM)
    models = [get_kernel(name) for name in ("pre-patch", "post-patch", "6.12")]
    both = [Replay(events, model) for model in models]
    counts = [tuple(step.vmas for step in steps) for steps in Lockstep(both[0].trace, both).steps()]
    for i, model in enumerate(models):
        alone = Replay(events, model)
        assert [step.vmas for step in alone.steps()] == [row[i] for row in counts]
        for one, other in zip(alone.result.processes, both[i].result.processes, strict=True):
            assert (one.layout, one.peak_vmas) == (other.layout, other.peak_vmas)


# --- logs that do not show everything ------------------------------------------------------------


def partial(*events: str, header: str = "") -> Result:
    log = trace(*events, header=header)
    log.partial = True
    return replay(log, get_kernel("post-patch"))


def test_a_success_on_memory_never_shown_implies_a_mapping() -> None:
    result = partial(fixed(1), "mprotect(0x10000000, 0x3000, PROT_READ) = 0")
    assert ranges(result) == [(0, 1), (1, 2), (2, 3)]
    assert [m.name for m in result.processes[0].layout] == ["[assumed]", "", "[assumed]"]
    assert {m.perms for m in result.processes[0].layout} == {"r--p"}
    assert (result.assumed, result.diverged, result.errors) == (2, 0, 0)


def test_a_trace_that_shows_everything_assumes_nothing() -> None:
    result = run("mprotect(0x10000000, 0x3000, PROT_READ) = 0")
    assert (ranges(result), result.assumed, result.diverged) == ([], 0, 1)


def test_assumed_memory_is_mergeable_where_everything_is() -> None:
    result = partial("mprotect(0x10000000, 0x1000, PROT_READ) = 0", header=KSM)
    assert "mg" in result.processes[0].layout[0].codes


def test_a_mapping_placed_on_another_proves_that_one_gone() -> None:
    where = MAP.format("NULL", "0x2000", "") + f" = {BASE:#x}"
    result = partial(fixed(0), fixed(1), where)
    assert (ranges(result), result.cleared, result.diverged) == ([(0, 2)], 1, 0)


def test_a_mapping_that_was_refused_for_reasons_not_shown_is_not_there() -> None:
    result = partial(MAP.format("NULL", "0x2000", "") + " = -1 ENODEV (No such device)")
    assert (result.vmas, result.diverged, result.believed) == (0, 0, 1)


def test_divergences_beyond_the_kept_ones_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmatrace.replayer.result.MAX_DIVERGENCES", 3)
    result = run(*["munmap(0x10000000, 0) = 0"] * 5)
    assert (len(result.divergences), result.diverged) == (3, 5)


@pytest.mark.parametrize("name", ["/dev/zero (deleted)", "/SYSV00000000 (deleted)", "/memfd:x"])
def test_shared_memory_in_a_starting_layout_is_on_tmpfs(name: str) -> None:
    """So its mapping can be mergeable from the start, and is not one with a driver's."""
    layout = f"maps: |\n  10000000-10001000 rw-p 00000000 00:01 9 {name}"
    found = Replay(trace("brk(0)", header=layout), get_kernel("post-patch")).process("main")
    (vma,) = found.vmas
    assert vma.file is not None
    assert vma.file.fs == "tmpfs"
