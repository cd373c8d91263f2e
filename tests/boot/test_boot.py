"""A kernel image from the cache, booted: it answers as the running kernel does, and may die.

`make kernels` fills the cache; where it is empty, or without QEMU, there is nothing to test.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import ROOT, RunProgram

from vmatrace import abi, cache
from vmatrace.event import File
from vmatrace.kernels import Kernel
from vmatrace.oracle import KernelDied, Sandbox, SandboxLost
from vmatrace.oracle.boot import BootedKernel, qemu
from vmatrace.trace.file import load_trace
from vmatrace.verify import campaign, findings
from vmatrace.verify.campaign import Campaign
from vmatrace.verify.verdict import verify

BASE, PAGE = 0x100_0000_0000, 4096
RW, PRIVATE = abi.PROT_READ | abi.PROT_WRITE, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED


def images() -> list[Path]:
    return sorted(cache.folder().glob("kernels/*/vmlinuz-*"))


pytestmark = pytest.mark.skipif(
    not images() or shutil.which(qemu.QEMU) is None,
    reason="no kernel image in the cache (make kernels), or no QEMU",
)


@pytest.fixture(scope="module")
def machine() -> Iterator[BootedKernel]:
    with BootedKernel(str(images()[-1])) as booted:
        yield booted


@pytest.fixture(scope="module")
def model(machine: BootedKernel) -> Kernel:
    return findings.look(machine).kernel


def test_it_starts_as_the_running_kernel_does(machine: BootedKernel) -> None:
    with Sandbox(machine=machine) as sandbox:
        start = sandbox.start
    image, *_, stack = start.layout
    assert (image.start, image.perms) == (machine.arch.syscall_at & -PAGE, "r-xp")
    assert (stack.name, stack.start in start.anonymous) == ("[stack]", True)
    assert start.brk == image.end


def test_calls_and_accesses_are_made_in_processes_of_their_own(machine: BootedKernel) -> None:
    with Sandbox(machine=machine) as sandbox:
        assert sandbox.call("mmap", (BASE, PAGE, abi.PROT_READ, PRIVATE, -1, 0)) == BASE
        assert sandbox.call("fault", (BASE, PAGE, abi.PROT_READ)) == 0
        assert sandbox.call("fault", (BASE, PAGE, abi.PROT_WRITE)) == -abi.EFAULT
        assert sandbox.call("fault", (BASE, PAGE, abi.PROT_EXEC)) == -abi.EFAULT
        assert sandbox.call("fork", child="child") > 0
        assert sandbox.call("munmap", (BASE, PAGE), "child") == 0
        assert any(m.start == BASE for m in sandbox.layout())
        assert not any(m.start == BASE for m in sandbox.layout("child"))
        assert sandbox.call("exit_group", (0,), "child") == 0
        assert sandbox.layout("child") == []


def test_an_event_that_takes_the_page_of_calls_away_loses_the_sandbox(
    machine: BootedKernel,
) -> None:
    with Sandbox(machine=machine) as sandbox:
        assert sandbox.call("munmap", (machine.arch.syscall_at & -PAGE, PAGE)) == 0
        with pytest.raises(SandboxLost, match="no longer there or no longer executable"):
            sandbox.call("munlockall")
        sandbox.reset()
        assert sandbox.call("munlockall") == 0


def test_files_are_made_in_the_guest(machine: BootedKernel) -> None:
    files: dict[int | str, File] = {
        3: File("/shm/f", "tmpfs", "rw", 3 * PAGE),
        4: File("/dev/zero", "legacy"),
    }
    with Sandbox(files, machine=machine) as sandbox:
        shared = abi.MAP_SHARED | abi.MAP_FIXED
        assert sandbox.call("mmap", (BASE, PAGE, RW, shared, 3, PAGE)) == BASE
        assert sandbox.call("fault", (BASE, PAGE, RW)) == 0
        (mapping,) = (m for m in sandbox.layout() if m.start == BASE)
        assert (mapping.name, mapping.offset) == ("/shm/f", PAGE)


def test_a_trace_finds_the_sysctl_that_it_asks_for(
    machine: BootedKernel, model: Kernel, tmp_path: Path
) -> None:
    before = machine.read("/proc/sys/vm/max_map_count")
    path = tmp_path / "few.yaml"
    path.write_text(
        "vmatrace: 1\nsysctl: {max_map_count: 7}\nevents:\n"
        + "".join(
            f"  - mmap({BASE + 0x10000 * i:#x}, PAGE_SIZE, PROT_READ, "
            "MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)\n"
            for i in range(9)
        )
    )
    outcome = verify(load_trace(path), model, machine)
    assert (outcome.word, outcome.events) == ("exact", 9)
    assert machine.read("/proc/sys/vm/max_map_count") == before


def test_random_programs_are_run(machine: BootedKernel, model: Kernel) -> None:
    small = Campaign("boot", 3, 40, model, None, machine.image, machine.release)
    total = campaign.Total(small)
    for tally in campaign.run(small, machine, 1):
        total.add(tally)
    assert total.died is None
    assert total.events > 0


def test_without_shared_memory_all_goes_over_the_serial_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(qemu, "SHARED_DEVICE", ())
    with BootedKernel(str(images()[-1])) as plain:
        assert not plain.in_shared_memory
        with Sandbox(machine=plain) as sandbox:
            assert sandbox.call("mmap", (BASE, PAGE, RW, PRIVATE, -1, 0)) == BASE
            assert any(m.start == BASE for m in sandbox.layout())


def test_a_panic_is_an_answer_with_the_last_words_of_the_kernel(
    model: Kernel, machine: BootedKernel
) -> None:
    with pytest.raises(KernelDied, match="panicked") as died:
        machine.write("/proc/sysrq-trigger", "c")
    assert any("Kernel panic" in line for line in died.value.console)
    exhibit = load_trace(ROOT / "traces" / "ksm-refill-after-munmap.yaml")
    assert verify(exhibit, model, machine).word == "exact"  # it was booted anew


def test_a_kernel_that_says_nothing_more_is_given_up(machine: BootedKernel) -> None:
    machine.ready()
    with Sandbox(machine=machine) as sandbox:
        os.kill(machine.process, signal.SIGSTOP)
        tasks = Path(f"/proc/{machine.process}/task")
        while any("\nState:\tT" not in (t / "status").read_text() for t in tasks.iterdir()):
            pass
        with pytest.raises(KernelDied, match="has not answered for 1 s"):
            machine.ask_for_life(1)
        sandbox.close()


def test_the_command_verifies_an_exhibit(run: RunProgram) -> None:
    trace = str(ROOT / "traces" / "ksm-adjacent-anon.yaml")
    done = run("verify", trace, "--boot", str(images()[-1]))
    assert done.status == 0
    # A machine may have a KVM that does not work.
    assert re.fullmatch(r"(vmatrace: note: no KVM \(.*\): the kernel is emulated.*\n)?", done.err)
    assert "exact" in done.out


def test_a_booted_kernel_is_a_side_of_a_comparison(run: RunProgram) -> None:
    trace = str(ROOT / "traces" / "ksm-adjacent-anon.yaml")
    done = run("diff", trace, "--from", f"boot:{images()[-1]}", "--to", "pre-patch")
    assert done.status in (0, 1)
    assert "ksm-adjacent-anon" in done.out
