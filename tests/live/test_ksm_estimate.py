"""What `vmatrace audit --pages` foretells, beside what ksmd of the running kernel comes to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from live.ksmd import KSM, locked, loose, setting, switched
from vmatrace.commands.audit.pages.contents import PAGE_SIZE
from vmatrace.commands.audit.pages.question import estimate
from vmatrace.commands.audit.question import audit
from vmatrace.commands.audit.snapshot import open_snapshot

#: The programs: {MEMORY} is what each does with pages of its own, from PR_SET_MEMORY_MERGE on.
_PROGRAM = """
import ctypes, mmap, os, sys, tempfile
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(67, 1, 0, 0, 0) == 0, "PR_SET_MEMORY_MERGE"
P = os.sysconf("SC_PAGE_SIZE")
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
def anonymous(pages, advice=None):
    memory = mmap.mmap(-1, pages * P, flags=PRIVATE)
    memory.madvise(mmap.MADV_NOHUGEPAGE if advice is None else advice)
    return memory
def put(memory, page, content):
    memory[page * P:(page + 1) * P] = content
def same(number):
    return (b"%08d" % number) * (P // 8)
{MEMORY}
print(os.getpid(), flush=True)
while os.read(0, 1): os.write(1, b"\\n")
"""

MEMORY = {
    # 500 of its own; 500 contents four times each; 500 pages as the other process has them.
    "pairs": """
m = anonymous(3000)
for i in range(500): put(m, i, os.urandom(P))
for i in range(500, 2500): put(m, i, same(os.getpid() * 1000 + i % 500))
for i in range(2500, 3000): put(m, i, same(i))
""",
    # More alike than ksmd makes one of (max_page_sharing); pages of zeros, written and only read.
    "crowds": """
m = anonymous(2500)
for i in range(1000): put(m, i, same(7))
for i in range(1000, 1600): put(m, i, bytes(P))
for i in range(1600, 2000): m[i * P]
for i in range(2000, 2500): put(m, i, os.urandom(P))
""",
    # Private pages of a file, written; clean ones, which are no anonymous memory.
    "files": """
f = tempfile.TemporaryFile(); f.truncate(3000 * P)
m = mmap.mmap(f.fileno(), 3000 * P, flags=mmap.MAP_PRIVATE)
for i in range(1000): put(m, i, same(i % 100 + 100))
for i in range(1000, 3000): m[i * P]
s = mmap.mmap(-1, 1000 * P)
for i in range(1000): put(s, i, same(3))
""",
    # Huge pages, which ksmd splits.
    "huge": """
m = anonymous(4096, mmap.MADV_HUGEPAGE)
for i in range(1024): put(m, i, os.urandom(P))
for i in range(1024, 4096): put(m, i, same(i % 700 + 10000))
""",
}


#: What a test of the switches sets, the advisor before what it would set itself.
SWITCHES = ("advisor_mode", "pages_to_scan", "sleep_millisecs", "smart_scan", "use_zero_pages",
            "run")  # fmt: skip


@pytest.fixture(autouse=True)
def switches() -> None:
    if not os.access(KSM / "run", os.W_OK):
        pytest.skip("the switches of ksmd are for root")


@pytest.fixture
def programs() -> Iterator[Programs]:
    with ExitStack() as stack:
        yield Programs(stack)


class Programs:
    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def start(self, memory: str) -> int:
        """The pid of a new one, which has its memory."""
        process = self._stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", _PROGRAM.replace("{MEMORY}", memory)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        assert process.stdin is not None
        self._stack.callback(process.stdin.close)
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        for _ in range(3):  # until it does nothing that it has not done before
            process.stdin.write("x")
            process.stdin.flush()
            process.stdout.readline()
        return pid


def near(real: int) -> object:
    return pytest.approx(real, rel=0.05, abs=20)


@pytest.mark.parametrize("zero_pages", [0, 1])
def test_the_estimate_is_what_ksmd_comes_to(zero_pages: int, programs: Programs) -> None:
    """Of two processes of each program: what the others hold changes nothing for them."""
    pids = {name: [programs.start(memory) for _ in range(2)] for name, memory in MEMORY.items()}
    with loose(use_zero_pages=zero_pages) as ksmd:
        found = {name: estimate(pair) for name, pair in pids.items()}
        together = estimate([pid for pair in pids.values() for pid in pair])
        ksmd.settle()
        # Of all processes that use KSM, so at least that of these.
        saved = ksmd.pages_sharing + ksmd.ksm_zero_pages
        bills = {pid: audit(open_snapshot(pid)).bill for pair in pids.values() for pid in pair}
        real = {
            (name, counter): sum(ksmd.of(pid, counter) for pid in pair)
            for name, pair in pids.items()
            for counter in ("ksm_merging_pages", "ksm_zero_pages", "ksm_rmap_items")
        }
    assert together.sharing.saved <= 1.05 * saved
    for bill in bills.values():
        assert bill.counters is not None
        assert bill.resident is not None
        assert bill.resident // PAGE_SIZE == near(bill.counters.merged)
        assert bill.counters.by_default is not False
        assert bill.ksmd
    for name, estimated in found.items():
        zeros = real[name, "ksm_zero_pages"]
        assert estimated.sharing.merged == near(real[name, "ksm_merging_pages"] + zeros), name
        assert estimated.pages == near(real[name, "ksm_rmap_items"] + zeros), name
        assert estimated.sharing.kept < estimated.sharing.merged / 2
        if zero_pages:
            assert estimated.zeros.saved == near(zeros), name


def test_a_page_that_fork_shares_is_one_already(programs: Programs) -> None:
    fork = "m = anonymous(2000)\nfor i in range(2000): put(m, i, same(i // 2))\n"
    parent = programs.start(
        fork + "r, w = os.pipe()\nif not os.fork(): os.close(w); os.read(r, 1); os._exit(0)"
    )
    (child,) = map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    both, alone = estimate([parent, child]), estimate([parent])
    assert both.forked >= 2000
    assert both.sharing.saved == near(alone.sharing.saved)
    sampled = estimate([parent, child], 0.5)
    assert sampled.forked == pytest.approx(both.forked, rel=0.1)
    assert sampled.sharing.saved == pytest.approx(alone.sharing.saved, rel=0.2)


def test_a_process_is_left_as_it_was(programs: Programs) -> None:
    """Neither its VMAs, nor which pages it has."""
    pid = programs.start(MEMORY["crowds"])

    def rss() -> list[str]:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return re.findall(r"^(?:Rss|Anonymous|AnonHugePages|KSM|Swap): .*", text, re.M)

    layout, pages = open_snapshot(pid).layout, rss()
    estimate([pid])
    assert (open_snapshot(pid).layout, rss()) == (layout, pages)


@pytest.mark.parametrize("advisor", ["none", "scan-time"])
def test_the_switches_are_put_back_also_on_failure(advisor: str) -> None:
    """Also where an advisor sets pages_to_scan, which nobody else may do then."""
    with locked(), switched({"advisor_mode": advisor}):
        before = {name: setting(name) for name in SWITCHES if (KSM / name).exists()}
        wanted: dict[str, int | str] = {**before, "advisor_mode": "none", "pages_to_scan": 77}
        with pytest.raises(ZeroDivisionError), switched({**wanted, "run": 1}):
            _fail_with("77")
        assert {name: setting(name) for name in before} == before


def _fail_with(pages: str) -> None:
    assert setting("pages_to_scan") == pages
    raise ZeroDivisionError
