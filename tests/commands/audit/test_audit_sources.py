"""What `vmatrace audit` can be given: several, folders, packed, and what is no snapshot."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from program import RunProgram

from vmatrace.commands.audit import snapshot
from vmatrace.layout import LayoutError, parse_layout

SMAPS = (
    "1000-2000 rw-p 00000000 00:00 0 \nAnonymous: 4 kB\nVmFlags: rd wr mr mw me ac \n"
    "2000-3000 rw-p 00000000 00:00 0 \nAnonymous: 4 kB\nVmFlags: rd wr mr mw me ac \n"
)


def test_of_a_folder_every_snapshot_is_audited(tmp_path: Path, run: RunProgram) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.txt").write_text(SMAPS)
    (tmp_path / "b").write_bytes(gzip.compress(SMAPS.encode()))
    (tmp_path / "c.smaps").write_text("﻿" + SMAPS, encoding="utf-8")
    (tmp_path / "other.log").write_text("hello\n")
    os.mkfifo(tmp_path / "fifo")
    status, out, err = run("audit", str(tmp_path), "--format", "json")
    assert (status, err) == (1, "")
    assert [json.loads(line)["savable"] for line in out.splitlines()] == [1, 1, 1]


def test_of_several_snapshots_one_that_is_missing_leaves_the_others(
    tmp_path: Path, run: RunProgram
) -> None:
    for name in "ab":
        (tmp_path / name).write_text(SMAPS)
    status, out, err = run("audit", str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "c"))
    assert status == 2
    assert out.startswith("2 address spaces, 4 VMAs; kernel not known\n")
    assert [line.split()[-1] for line in out.splitlines()[3:5]] == [f"{tmp_path}/{n}" for n in "ab"]
    assert err == f"{tmp_path}/c: error: cannot be read: No such file or directory\n"


def test_an_unknown_flag_keeps_neighbours_apart_and_is_said(
    tmp_path: Path, run: RunProgram
) -> None:
    path = tmp_path / "a"
    path.write_text(SMAPS.replace("ac \n2000", "ac zz \n2000"))
    status, out, _ = run("audit", str(path))
    assert status == 0
    assert "Not known among VmFlags: zz" in " ".join(out.split())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'execve("./a", ["a"], 0x7ffc) = 0\nbrk(NULL) = 0x1000\n', "it is a log of strace"),
        (b"1000-2000 ---p 00000000 00:00 0 [rollup]\n", "smaps_rollup"),
        (b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x04\0", "a core file"),
        (b"", "no mapping in it"),
    ],
)
def test_what_is_no_snapshot_is_told_what_it_is(
    tmp_path: Path, run: RunProgram, content: bytes, why: str
) -> None:
    (tmp_path / "x").write_bytes(content)
    status, out, err = run("audit", str(tmp_path / "x"))
    assert (status, out) == (2, "")
    assert why in err


def test_what_has_no_end_is_not_read_to_it(run: RunProgram) -> None:
    status, _, err = run("audit", "/dev/zero")
    assert status == 2
    assert err.startswith("/dev/zero: error: it looks like a binary file")


def test_a_snapshot_that_is_too_large_says_how_to_read_it(
    tmp_path: Path, run: RunProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(gzip.compress(SMAPS.encode() * 10_000))
    monkeypatch.setenv("VMATRACE_MAX_INPUT", "100000")
    status, _, err = run("audit", str(tmp_path / "x"))
    assert status == 2
    assert "VMATRACE_MAX_INPUT=BYTES raises it" in err


@given(st.integers(0, 1 << 32))
def test_counters_that_are_passed_over_hide_nothing(seed: int) -> None:
    """Of this process' own smaps with other numbers, and lines of which some lack."""
    rng = random.Random(seed)
    text = re.sub(
        r"(?m)^(Anonymous|KSM):.*$",
        lambda line: f"{line[1]}: {rng.choice((0, 0, 4, 400)):8} kB",
        Path("/proc/self/smaps").read_text(encoding="utf-8"),
    )
    for name in ("KSM", "VmFlags", "Anonymous"):
        if not rng.randrange(4):
            text = re.sub(rf"(?m)^{name}:.*\n", "", text)
    lines = text.split("\n")
    del lines[rng.randrange(len(lines))]
    text = "\n".join(lines)
    merged = [int(pages) for pages in re.findall(r"(?m)^KSM: +([0-9]+) kB$", text)]
    try:
        expected: object = parse_layout(text)
    except LayoutError as error:
        expected = str(error)
    if isinstance(expected, str):
        with pytest.raises(LayoutError, match=re.escape(expected)):
            snapshot.read(text)
        return
    found = snapshot.read(text)
    assert found.layout == expected
    assert found.ksm == (sum(merged) << 10 if merged else None)
