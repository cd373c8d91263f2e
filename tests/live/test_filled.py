"""A process that fills its map in three ways: each is named rightly, the counts are the kernel's.

The program of docs/tutorials/max-map-count.md, on the running kernel: guard pages by mprotect(),
names by PR_SET_VMA, and pieces in and out of MADV_DONTFORK; beside them holes, and stacks.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import ROOT, RunProgram

from vmatrace import kernels
from vmatrace.verify import findings

N = 100
_CHILD = f"""
import ctypes, os, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
for call in (libc.mprotect, libc.madvise):
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_size_t,
                       ctypes.c_char_p]
P, N = os.sysconf("SC_PAGE_SIZE"), {N}
def region(at):
    assert libc.mmap(at, 2 * N * P, 3, 0x100022, -1, 0) == at
    return at
guards, names, dontfork, holes = map(region, (1 << 44, 2 << 44, 3 << 44, 4 << 44))
named = []
for i in range(N):
    assert libc.mprotect(guards + (2 * i + 1) * P, P, 0) == 0
    named.append(libc.prctl(0x53564D41, 0, names + 2 * i * P, 2 * P, b"arena %d" % i))
    assert libc.madvise(dontfork + (2 * i + 1) * P, P, 10) == 0
    assert libc.munmap(holes + (2 * i + 1) * P, P) == 0
stop = threading.Event()
for _ in range(20):
    threading.Thread(target=stop.wait, daemon=True).start()
print(P, any(named), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def filled() -> Iterator[tuple[int, int]]:
    """Its number, and its page size."""
    has = findings.look().kernel.has(kernels.ANON_VMA_NAME)
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        page, refused = process.stdout.readline().split()
        assert (refused == "False") is has
        yield process.pid, int(page)
        process.communicate()


def test_each_way_to_fill_a_map_is_named(filled: tuple[int, int], run: RunProgram) -> None:
    pid, page = filled
    done = run("audit", str(pid), "--format", "json", "--fail-below", "1")
    assert (done.status, done.err) == (0, "")
    told = json.loads(done.out)
    longest = {
        run["start"]: (pattern["pattern"], run["end"], run["vmas"])
        for pattern in told["patterns"]
        for run in pattern["longest"]
    }
    end = 2 * N * page
    assert longest[1 << 44] == ("guard-pages", (1 << 44) + end, 2 * N)
    assert longest[3 << 44] == ("dontfork", (3 << 44) + end, 2 * N)
    assert longest[4 << 44] == ("holes", (4 << 44) + end - page, N)
    if findings.look().kernel.has(kernels.ANON_VMA_NAME):
        assert longest[2 << 44] == ("names", (2 << 44) + end, N)
    patterns = {pattern["pattern"]: pattern for pattern in told["patterns"]}
    # A thread may find a stack without a guard of its own (lightweight guards of newer libcs).
    assert (
        patterns["thread-stacks"]["vmas"] >= 2 * 20
        or "gu" in Path(f"/proc/{pid}/smaps").read_text()
    )
    assert [patterns[name]["rewriting"] for name in ("guard-pages", "dontfork")] == [
        "guards", "dontfork",
    ]  # fmt: skip


def test_it_goes_on_while_it_is_audited(filled: tuple[int, int], run: RunProgram) -> None:
    """Neither traced nor stopped: it waits for its input as before, with no signal pending."""
    pid, _ = filled
    before = status(pid)
    assert run("audit", str(pid), "--fail-below", "0").status == 0
    assert status(pid) == before
    assert before["TracerPid"] == "0"


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {line.partition(":")[0]: line.partition(":")[2].strip() for line in lines}
    assert found["State"][0] in "RSD"
    return {name: found[name] for name in ("TracerPid", "SigPnd", "ShdPnd")}


def test_the_rewritings_that_audit_names_apply_to_its_recording(
    tmp_path: Path, run: RunProgram
) -> None:
    trace = tmp_path / "trace.yaml"
    done = subprocess.run(
        [sys.executable, "-m", "vmatrace", "record", "-o", str(trace), "--", sys.executable, "-c",
         _CHILD],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(run("whatif", str(trace), "--format", "json").out)
    changes = {change["name"]: change["calls"] for change in told["changes"]}
    has = findings.look().kernel.has(kernels.ANON_VMA_NAME)
    assert changes["guards"] >= N
    assert changes["dontfork"] == N
    assert changes.get("names", 0) >= (N if has else 0)


# --- what the kernel shows of every process -----------------------------------------------------

_HEADER = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+ *(.*)$", re.MULTILINE)


def texts() -> Iterator[tuple[int, str]]:
    """The smaps of every process that may be read."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            text = Path(f"/proc/{pid}/smaps").read_bytes().decode(errors="replace")
        except OSError:
            continue
        lines = _HEADER.findall(text)
        ends = [int(address, 16) for line in lines for address in line[:2]]
        # A map that changes while it is read may show a VMA twice.
        if ends and ends == sorted(ends) and int(pid) != os.getpid():
            yield int(pid), text


def test_groups_and_patterns_add_up_to_what_the_kernel_shows(
    filled: tuple[int, int], tmp_path: Path, run: RunProgram
) -> None:
    seen = set()
    for pid, text in texts():
        seen.add(pid)
        file = tmp_path / str(pid)
        file.write_text(text)
        lines = [line for line in _HEADER.findall(text) if line[3] != "[vsyscall]"]
        done = run("audit", str(file), "--format", "json", "--fail-below", "0")
        assert (done.status, done.err) == (0, "")
        told = json.loads(done.out)
        assert told["vmas"] == len(lines)
        mapped = sum(int(end, 16) - int(start, 16) for start, end, _, _ in lines)
        for part in ("patterns", "groups"):
            assert sum(each["vmas"] for each in told[part]) == len(lines), part
            assert sum(each["bytes"] for each in told[part]) == mapped, part
        perms: Counter[str] = Counter()
        for group in told["groups"]:
            perms[group["perms"]] += group["vmas"]
            assert sum(size["vmas"] for size in group["sizes"]) == group["vmas"]
        assert perms == Counter(line[2] for line in lines)
        flags = re.findall(r"^VmFlags:(.*)$", text, re.MULTILINE)
        assert told["mergeable"] == sum(" mg " in f"{codes} " for codes in flags)
    assert filled[0] in seen
