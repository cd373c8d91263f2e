"""A hunt with the running kernel on one side: what a model lacks is found, and its cause named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from program import ROOT, RunProgram

from vmatrace.event import Event
from vmatrace.kernels import KSM_BEFORE_MERGE, get_kernel
from vmatrace.oracle import KernelDied, Machine, Sandbox
from vmatrace.oracle.machine import RunningKernel
from vmatrace.replayer.run import replay
from vmatrace.search.finds import Ground
from vmatrace.search.hunting import HuntTotal
from vmatrace.trace.file import load_trace
from vmatrace.verify import findings
from vmatrace.verify.campaign import Campaign
from vmatrace.verify.realhunt import RealHunt


def test_what_an_old_model_lacks_is_found_on_the_running_kernel(run: RunProgram) -> None:
    done = run("hunt", "--from", "6.4", "--to", "running", "--seed", "1", "--programs", "120",
               "--format", "json")  # fmt: skip
    assert (done.status, done.err) == (1, "")
    finds = json.loads(done.out)["finds"]
    kinds = {(find["call"], find["what"], *find["merges"].values(), *find["features"])
             for find in finds}  # fmt: skip
    assert len(kinds) == len(finds)
    assert any(find["features"] for find in finds)
    for find in finds:
        trace = load_trace(find["text"].encode())
        events = [item for item in trace.items() if isinstance(item, Event)]
        assert len(events) == len(find["calls"]) <= 8
        outcome = replay(trace, get_kernel("6.4"))
        assert outcome.failures or outcome.diverged, find["text"]


def hunted(run: RunProgram, *arguments: str) -> dict[str, Any]:
    done = run("hunt", *arguments, "--format", "json")
    assert done.err == ""
    found: dict[str, Any] = json.loads(done.out)
    assert done.status == bool(found["finds"])
    return found


def test_a_real_hunt_is_narrowed_as_any_other(run: RunProgram) -> None:
    found = hunted(run, "--from", "6.4", "--to", "running", "--seed", "2", "--programs", "150",
                   "--calls", "mmap,mremap,munmap", "--no-files", "--no-ksm")  # fmt: skip
    assert found["finds"]
    for find in found["finds"]:
        trace = load_trace(find["text"].encode())
        names = {item.name for item in trace.items() if isinstance(item, Event)}
        assert names <= {"mmap", "mremap", "munmap"}
        assert trace.files == {}


def test_what_is_no_call_of_random_programs_is_said(run: RunProgram) -> None:
    done = run("hunt", "--from", "6.4", "--to", "running", "--calls", "clone3")
    assert (done.status, "no program can be made of these calls alone" in done.err) == (2, True)


def test_only_what_makes_the_running_kernel_worse(run: RunProgram) -> None:
    arguments = ("--calls", "prctl,mmap,madvise", "--worse", "--seed", "3", "--programs", "600")
    found = hunted(run, "--from", "pre-patch", "--to", "running", *arguments)
    assert found["worse"]
    for find in found["finds"]:
        assert find["what"] in ("number of VMAs", "blocked sides", "result")


#: The series merges b's two pages, and has no more VMAs then; but one more side stays apart.
BLOCKED = """vmatrace: 1
events:
  - prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0)
  - b = mmap(0x20000000, PAGE_SIZE, 3, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)
  - mmap(b + PAGE_SIZE, PAGE_SIZE, 3, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)
  - a = mmap(0x10000000, 2*PAGE_SIZE, 3, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)
  - madvise(a, 2*PAGE_SIZE, MADV_UNMERGEABLE)
  - mmap(a + 2*PAGE_SIZE, PAGE_SIZE, 3, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)
  - mlock2(a + 2*PAGE_SIZE, PAGE_SIZE, MLOCK_ONFAULT)
"""


def test_blocked_sides_of_the_running_kernel_are_seen(run: RunProgram, tmp_path: Path) -> None:
    (tmp_path / "blocked.yaml").write_text(BLOCKED, encoding="utf-8")
    arguments = ("--worse", "--seed", "1", "--programs", "1", "--corpus", str(tmp_path))
    found = hunted(run, "--from", "pre-patch", "--to", "running", *arguments)
    if not findings.look().kernel.has(KSM_BEFORE_MERGE):
        return
    (find,) = found["finds"]
    assert find["what"] == "blocked sides"
    assert find["features"] == ["ksm-before-merge"]
    assert find["merges"]["to"] != find["merges"]["from"]
    other = hunted(run, "--from", "running", "--to", "post-patch", *arguments)
    assert other["finds"] == []  # the same, so neither is worse


def test_what_the_model_covers_guides_a_real_hunt(run: RunProgram) -> None:
    found = hunted(run, "--from", "running", "--to", "6.12", "--seed", "1", "--programs", "400")
    causes = {feature for find in found["finds"] for feature in find["features"]}
    assert len(causes) >= 3
    again = hunted(run, "--from", "running", "--to", "6.12", "--seed", "1", "--programs", "400")
    assert [f["calls"] for f in again["finds"]] == [f["calls"] for f in found["finds"]]


def test_a_corpus_is_run_first_and_what_cannot_be_is_said(run: RunProgram, tmp_path: Path) -> None:
    for name in ("ksm-adjacent-anon", "huge-pages-unreserved"):
        shutil.copy(ROOT / "traces" / f"{name}.yaml", tmp_path)
    found = hunted(run, "--from", "6.12", "--to", "running", "--seed", "1", "--programs", "1",
                   "--corpus", str(tmp_path))  # fmt: skip
    if get_kernel(findings.look().kernel.base or "6.4").has(KSM_BEFORE_MERGE):
        assert [find["features"] for find in found["finds"]] == [["ksm-before-merge"]]
        assert found["finds"][0]["program"] == 0
    skipped = hunted(run, "--from", "6.12", "--to", "running", "--seed", "1", "--programs", "12",
                     "--corpus", str(tmp_path))["skipped"]  # fmt: skip
    assert [Path(text.split(": ")[0]).name for text in skipped] == ["huge-pages-unreserved.yaml"]


# --- a guest that dies ----------------------------------------------------------------------------


class Mortal(RunningKernel):
    """The running kernel as if it died of mprotect(), and could be booted *lives* times."""

    def __init__(self, lives: int) -> None:
        super().__init__()
        self.lives = lives
        self.boots = 0
        self.dead = False

    def ready(self) -> None:
        if self.dead:
            if self.boots == self.lives:
                raise KernelDied("panicked", [])
            self.boots += 1
            self.dead = False


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Mortal]:
    """Makes machines that die; what is asked of a dead one says so."""
    run_event, reset = Sandbox.run_event, Sandbox.reset

    def asked(machine: Machine) -> None:
        if isinstance(machine, Mortal) and machine.dead:
            raise KernelDied("panicked", [])

    def dying(self: Sandbox, event: Event) -> int:
        asked(self.machine)
        if isinstance(self.machine, Mortal) and event.name == "mprotect":
            self.machine.dead = True
            asked(self.machine)
        return run_event(self, event)

    def renewed(self: Sandbox) -> None:
        asked(self.machine)
        reset(self)

    monkeypatch.setattr(Sandbox, "run_event", dying)
    monkeypatch.setattr(Sandbox, "reset", renewed)
    return Mortal


def on(machine: Mortal, programs: int, calls: Sequence[str]) -> HuntTotal:
    model = findings.look(machine).kernel
    campaign = Campaign("mortal", 0, 16, model, model.name, None, machine.release)
    ground = Ground(model, model, "mortal", frozenset(calls))
    return RealHunt(campaign, machine, ground).run(programs, None, None, lambda total: None)


def test_a_guest_that_dies_is_booted_again_and_counted(mortal: Callable[[int], Mortal]) -> None:
    machine = mortal(1000)
    total = on(machine, 12, ["mmap", "mprotect"])
    (find,) = total.finds
    assert (find.call, find.what, find.calls) == ("mprotect", "the kernel died", 1)
    assert (total.programs, total.ended) == (12, "")
    assert total.died - machine.boots in (0, 1)  # the last may not have been needed again
    assert machine.boots > 0


def test_a_guest_that_cannot_be_booted_again_ends_the_hunt_with_what_was_found(
    mortal: Callable[[int], Mortal],
) -> None:
    total = on(mortal(0), 12, ["mmap", "mprotect"])
    (find,) = total.finds
    assert (find.call, find.what) == ("mprotect", "the kernel died")
    assert total.programs < 12
    assert "cannot be booted again" in total.ended
    assert total.died == 1
