"""The changes that a Follower reports are all that changes, for every call and process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from program import EXHIBITS, ROOT, exhibit

from vmatrace.engine import view
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import Vma
from vmatrace.kernels import get_kernel
from vmatrace.replayer import changes
from vmatrace.replayer.changes import Follower, Key, key_of
from vmatrace.replayer.run import Replay
from vmatrace.search import generate
from vmatrace.trace.file import Trace, load_trace

POST = get_kernel("post-patch")


def random_trace(index: int, events: int = 60) -> Trace:
    """A random program of the verifier, with all kinds of calls and several processes."""
    program = generate.generate("follow", index, events)
    return Trace(f"random-{index}", "", lambda: iter(program), files=generate.files())


def spaces(replay: Replay) -> dict[int, Mm]:
    """The live address spaces."""
    return {id(mm): mm for _, mm in replay._processes}


def check(trace: Trace, kernel: str) -> None:
    """After every step, what was reported leads from the layouts before to those that are."""
    replay = Replay(trace, get_kernel(kernel))
    follower = Follower(replay)
    known: dict[str, set[Key]] = {"main": {key_of(mm, v) for mm in spaces(replay).values()
                                           for v in mm.vmas}}  # fmt: skip
    for step in replay.steps():
        for pid, went, came in follower.follow(step):
            layout = known.setdefault(pid, set())
            assert went == sorted(went)
            assert came == sorted(came)
            assert layout.issuperset(went), step.event
            layout -= set(went)
            assert layout.isdisjoint(came), step.event
            layout |= set(came)
        for name, mm in replay._processes:
            actual = [m.key() for m in view.layout(mm)]
            assert sorted(known.get(follower.name(name), ())) == actual, (step.event, name)


@pytest.mark.parametrize("kernel", ["6.4", "pre-patch", "post-patch", "6.18.44"])
def test_changes_of_random_programs_are_exact(kernel: str) -> None:
    for index in range(60):
        check(random_trace(index), kernel)


def exhibits() -> Iterator[Trace]:
    return (load_trace(ROOT / exhibit(name)) for name in EXHIBITS if name != "ksm-many-maps")


def test_changes_of_exhibits_are_exact() -> None:
    for trace in exhibits():
        for kernel in ("pre-patch", "post-patch"):
            check(trace, kernel)


def test_only_the_neighbourhood_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cutting off the end of a long row of touching VMAs must not read all of them."""
    lines = [
        f"  - mmap({0x10000000 + 4096 * i:#x}, 4096, {'PROT_READ' if i % 2 else 'PROT_NONE'}, "
        "MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)\n"
        for i in range(200)
    ]
    lines += [f"  - munmap({0x10000000 + 4096 * i:#x}, 4096)\n" for i in range(100)]
    replay = Replay(load_trace(("vmatrace: 1\nevents:\n" + "".join(lines)).encode()), POST)
    follower = Follower(replay)
    read: list[Key] = []

    def counted(mm: Mm, vma: Vma) -> Key:
        read.append(key_of(mm, vma))
        return read[-1]

    monkeypatch.setattr(changes, "key_of", counted)
    for step in replay.steps():
        read.clear()
        follower.follow(step)
        assert len(read) <= 4
