"""Process: every call of the table as a method, and the trace that it leaves."""

from __future__ import annotations

import errno
import inspect
import mmap
import random
from typing import Any

import pytest

import vmatrace
from vmatrace import abi
from vmatrace.calls import CALLS

RW, ANON = "PROT_READ|PROT_WRITE", "MAP_PRIVATE|MAP_ANONYMOUS"


@pytest.mark.parametrize("name", sorted(CALLS))
def test_every_call_of_the_table_is_a_method_with_the_names_of_its_man_page(name: str) -> None:
    method = getattr(vmatrace.Process, name)
    parameters = list(inspect.signature(method).parameters.values())[1:]
    given = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert given == [param.name for param in CALLS[name].params]
    assert method.__doc__


def same(process: vmatrace.Process) -> None:
    """The trace of a process leads to what the process has."""
    result = vmatrace.replay(process.trace, process.kernel)
    (layout,) = [p.layout for p in result.processes if p.pid == process.pid]
    assert layout == process.vmas


def test_numbers_are_ints_or_text() -> None:
    layouts = []
    for prot, flags in (
        (RW, ANON),
        (mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS),
        (abi.PROT_READ | abi.PROT_WRITE, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS),
    ):
        process = vmatrace.Process("6.12")
        a = process.mmap(addr=None, length="2*PAGE_SIZE", prot=prot, flags=flags)
        assert process.munmap(a, 4096) == 0
        layouts.append(process.vmas)
        same(process)
    assert layouts[0] == layouts[1] == layouts[2]
    assert len(layouts[0]) == 1


def test_a_call_that_fails_raises_and_is_remembered() -> None:
    process = vmatrace.Process(sysctl={"max_map_count": 1})
    a = process.mmap(None, 0x3000, RW, ANON)
    with pytest.raises(OSError, match=r"munmap\(0x") as caught:
        process.munmap(a + 0x1000, 0x1000)
    assert caught.value.errno == errno.ENOMEM
    assert process.last is not None
    assert process.last.errno == "ENOMEM"
    with pytest.raises(FileExistsError):
        process.mmap(a, 0x1000, RW, ANON + "|MAP_FIXED_NOREPLACE")
    assert vmatrace.replay(process.trace).errors == 2
    same(process)


def test_text_that_means_nothing_is_a_value_error_and_changes_nothing() -> None:
    process = vmatrace.Process()
    with pytest.raises(ValueError, match=r"mmap\(\): prot: .*'PROT_REED' \(did you mean"):
        process.mmap(None, 4096, "PROT_REED", ANON)
    with pytest.raises(ValueError, match=r"munmap\(\): addr: 'a' is no number"):
        process.munmap("a", 4096)
    wrong: Any = 1.5
    with pytest.raises(TypeError, match=r"munmap\(\): addr: expected int, text or None, not float"):
        process.munmap(wrong, 4096)
    with pytest.raises(NotImplementedError, match="prctl"):
        process.prctl("PR_SET_NAME", "0x1000")
    assert (process.vmas, process.last, list(process.trace.items())) == ([], None, [])


def test_a_child_has_its_own_memory_and_a_thread_its_parents() -> None:
    process = vmatrace.Process("6.12", ksm=True)
    a = process.mmap(None, 0x2000, RW, ANON)
    process.fault(a)
    child, thread = process.fork(), process.clone("flags=CLONE_VM|CLONE_THREAD|CLONE_SIGHAND")
    child.munmap(a, 0x1000)
    assert (len(process.vmas), process.vmas[0].start) == (1, a)
    assert child.vmas[0].start == a + 0x1000
    assert thread.vmas == process.vmas
    thread.mprotect(a, 0x1000, "PROT_READ")
    assert len(process.vmas) == 2
    thread.exit()
    assert len(process.vmas) == 2
    assert process.process_madvise(child, [(a + 0x1000, 0x1000)], advice="MADV_COLD") in (0, 0x1000)
    same(process)
    same(child)
    assert child.exit_group(1) == 0
    assert child.vmas == []
    with pytest.raises(ProcessLookupError):
        child.munmap(a, 0x1000)


def test_an_open_is_a_file_of_its_own() -> None:
    for ways, vmas in ((1, 1), (2, 2)):
        process = vmatrace.Process()
        fds = [process.open("/lib/a.so", fs="xfs") for _ in range(ways)]
        a = process.mmap(0x10000000, 0x1000, "PROT_READ", "MAP_PRIVATE", fds[0], 0)
        process.mmap(a + 0x1000, 0x1000, "PROT_READ", "MAP_PRIVATE", fds[-1], 0x1000)
        assert len(process.vmas) == vmas
        same(process)
    segment = process.open("/SYSV00000000", fs="tmpfs", size=0x2000)
    process.shmdt(process.shmat(segment))
    same(process)
    with pytest.raises(vmatrace.TraceError, match="did you mean"):
        process.open("/a", fs="ext5")


def test_the_start_is_what_a_trace_would_say() -> None:
    maps = "10000000-10002000 rw-p 00000000 00:00 0 \n"
    process = vmatrace.Process("6.12", maps=maps, brk=0x20000000, mmap_base=0x7FFF00000000)
    assert process.brk() == 0x20000000
    assert process.mmap(None, 0x1000, RW, ANON) == 0x7FFEFFFFF000
    assert [vma.start for vma in process.vmas] == [0x10000000, 0x7FFEFFFFF000]
    same(process)
    process.execve("/bin/a", maps=process.vmas[:1])
    assert [vma.start for vma in process.vmas] == [0x10000000]
    same(process)
    with pytest.raises(vmatrace.UnknownKernel):
        vmatrace.Process("6.122")
    with pytest.raises(vmatrace.TraceError, match="rlimits"):
        vmatrace.Process(rlimits={"ass": 1})


def test_why_is_what_explain_says_of_the_trace() -> None:
    process = vmatrace.Process("6.12", ksm=True)
    a = process.mmap(None, 0x1000, RW, ANON)
    b = process.mmap(None, 0x1000, RW, ANON)
    why = process.why(a)
    assert why.lower is not None
    assert why.lower.address == a == b + 0x1000
    assert why.lower.attempt is not None
    assert len(process.why(models=False).borders) == 1


def test_the_step_of_a_call_can_be_kept() -> None:
    process = vmatrace.Process("6.12", ksm=True)
    kept = []
    for n in range(4):
        process.mmap(0x100000 + n * 0x2000, 0x1000 * (n + 1), RW, ANON + "|MAP_FIXED")
        assert process.last is not None
        kept.append((process.last, process.last.layout))
    for step, layout in kept:
        assert step.layout == layout


@pytest.mark.parametrize("seed", range(8))
def test_the_trace_of_any_calls_leads_to_the_same(seed: int) -> None:
    choose = random.Random(seed)
    family = [vmatrace.Process(choose.choice(["6.12", "6.18"]), ksm=choose.random() < 0.5)]
    for _ in range(60):
        process = choose.choice(family)
        at, size = 0x100000 + 0x1000 * choose.randrange(16), 0x1000 * choose.randrange(1, 5)
        try:
            match choose.randrange(6):
                case 0 | 1:
                    process.mmap(at, size, choose.choice([1, 3]), ANON + "|MAP_FIXED")
                case 2:
                    process.mprotect(at, size, choose.choice([0, 1, 3]))
                case 3:
                    process.fault(at, size)
                case 4:
                    process.munmap(at, size)
                case _ if len(family) < 4:
                    family.append(process.fork())
        except OSError:
            assert process.last is not None
            assert process.last.errno in ("ENOMEM", "EFAULT")
    for process in family:
        same(process)


def test_a_child_advises_the_memory_of_the_first_process() -> None:
    first = vmatrace.Process("6.12")
    area = first.mmap(None, 0x2000, RW, ANON)
    child = first.fork()
    assert child.process_madvise(first, [(area, 0x1000)], advice="MADV_COLD") == 0x1000
    with pytest.raises(OSError, match="Invalid argument"):
        child.process_madvise(first, [(area, 0x1000)], advice="MADV_DONTDUMP")
