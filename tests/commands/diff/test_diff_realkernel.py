"""Two images of one release are told apart by their paths."""

from __future__ import annotations

import pytest

from vmatrace.commands.diff import realkernel
from vmatrace.commands.diff.realkernel import RealKernel, tell_apart
from vmatrace.event import Event
from vmatrace.kernels import get_kernel
from vmatrace.layout import parse_layout
from vmatrace.oracle import KernelDied, OracleError, Unavailable
from vmatrace.trace.file import Trace
from vmatrace.verify.observed import Observed, SeenEvent
from vmatrace.verify.skip import Skip

BZIMAGE = "arch/x86/boot/bzImage"


class _Machine:
    def __init__(self, release: str) -> None:
        self.release = release


def named(monkeypatch: pytest.MonkeyPatch, *sides: tuple[str, str]) -> list[str]:
    """The names of the kernels of (image, release) when they are compared."""
    machines = iter(_Machine(release) for _, release in sides)
    monkeypatch.setattr(realkernel, "open_machine", lambda image: next(machines))
    real = [RealKernel(image) for image, _ in sides]
    tell_apart(real)
    return [kernel.name for kernel in real]


@pytest.mark.parametrize(
    ("from_", "to", "expected"),
    [
        (f"boot:/src/old/{BZIMAGE}", f"boot:/src/new/{BZIMAGE}", ["7.3.0+ (old)", "7.3.0+ (new)"]),
        ("boot:old", "boot:new", ["7.3.0+ (old)", "7.3.0+ (new)"]),
        ("boot:/a/bzImage", "boot:/a/b/bzImage", ["7.3.0+ (/a/bzImage)", "7.3.0+ (/a/b/bzImage)"]),
        ("boot:/a/bzImage", "boot:/a/bzImage", ["7.3.0+", "7.3.0+"]),
        ("running", "boot:/a/bzImage", ["7.3.0+", "7.3.0+"]),
    ],
    ids=["two trees", "two files", "one below the other", "itself", "the running one"],
)
def test_kernels_of_one_release_have_names_of_their_own(
    from_: str, to: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert named(monkeypatch, (from_, "7.3.0+"), (to, "7.3.0+")) == expected


def test_kernels_of_two_releases_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert named(monkeypatch, ("boot:a", "7.2.0"), ("boot:b", "7.3.0")) == ["7.2.0", "7.3.0"]


def test_a_kernel_that_does_not_come_up_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(image: str) -> None:
        raise KernelDied("panicked", ["last words"])

    monkeypatch.setattr(realkernel, "open_machine", dies)
    with pytest.raises(KernelDied, match=r"^of bzImage panicked$") as died:
        RealKernel("boot:bzImage")
    assert died.value.console == ["last words"]


@pytest.mark.parametrize("beside_model", [False, True])
def test_what_a_kernel_did_is_a_side(monkeypatch: pytest.MonkeyPatch, beside_model: bool) -> None:
    """Without what was there at the start, unless a model that is given it is beside."""
    start = "400000-401000 r-xp 00000000 08:01 7 /bin/x\nVmFlags: rd ex mr mw me\n"
    mapped = "10000000-10001000 rw-p 00000000 00:00 0\nVmFlags: rd wr mr mw me ac mg\n"
    more = "10002000-10003000 rw-p 00000000 00:00 0\nVmFlags: rd wr mr mw me ac\n"
    at_start, once, twice = (parse_layout(text) for text in (start, start + mapped,
                                                             start + mapped + more))  # fmt: skip
    trace = Trace.of(["munlockall()", "munlock(3, 4)", "c = fork()"], maps=start)
    calls = [item for item in trace.items() if isinstance(item, Event)]
    events = [SeenEvent(calls[0], 0, twice), SeenEvent(calls[1], -22, once),
              SeenEvent(calls[2], 77, at_start)]  # fmt: skip
    seen = Observed(trace, events, {"main": once, "c": twice})
    monkeypatch.setattr(realkernel, "open_machine", lambda image: _Machine("6.18.3"))
    monkeypatch.setattr(realkernel, "observe", lambda *_: seen)
    model = get_kernel("6.18")
    monkeypatch.setattr(RealKernel, "model", model)
    side = RealKernel("running").side(trace, beside_model)
    kept = 1 if beside_model else 0
    assert (side.name, side.kind, side.kernel, side.page_size) == ("6.18.3", "kernel", "6.18", 4096)
    assert {pid: len(layout) for pid, layout in side.processes.items()} == {
        "main": 1 + kept, "c": 2 + kept,
    }  # fmt: skip
    totals = side.totals
    assert (totals.vmas, totals.peak_vmas) == (3 + 2 * kept, 2 + kept)
    assert (totals.mergeable, totals.errors) == (2, 1)
    assert side.events is not None
    assert [
        (event["pid"], event["call"], event["result"], event["merges"], event["blocked"])
        for event in side.events
    ] == [
        ("main", "munlockall()", 0, [], []), ("main", "munlock(3, 4)", -22, [], []),
        ("main", calls[2].text, 77, [], []),
    ]  # fmt: skip
    assert [len(event["layout"]) for event in side.events] == [2 + kept, 1 + kept, kept]
    assert (side.lacks, side.calls, side.started, side.model) == (("counts",), 3, trace, model)


@pytest.mark.parametrize(
    ("error", "raised", "said"),
    [(OracleError("too long"), Skip, "too long"), (Unavailable("no ptrace"), Unavailable, "no p")],
)
def test_what_cannot_be_run_there_is_skipped_and_a_lack_is_said(
    monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception], said: str
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(realkernel, "open_machine", lambda image: _Machine("6.18.3"))
    monkeypatch.setattr(realkernel, "observe", fails)
    monkeypatch.setattr(RealKernel, "model", get_kernel("6.18"))
    with pytest.raises(raised, match=said):
        RealKernel("running").side(Trace.of([]), True)


def test_which_sides_are_real_kernels() -> None:
    names = ("running", "boot:x", "6.18", "boot", "x/running", "reboot:x")
    assert [realkernel.is_real(name) for name in names] == [True, True] + [False] * 4
