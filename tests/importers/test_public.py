"""What people paste into reports: logs and snapshots that a page, a mail or a program has altered.

The files in ``public/`` are shortened from public issues, lists and pages, with names of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from program import RunProgram
from stracelogs import check_counts

from vmatrace.commands.audit.snapshot import open_snapshot
from vmatrace.diagnostic import TraceError
from vmatrace.importers import open_trace
from vmatrace.kernels import get_kernel
from vmatrace.replayer.run import replay

PUBLIC: Final = Path(__file__).parent / "public"


@pytest.mark.parametrize(
    ("name", "form", "path", "misread"),
    [
        ("html", "text escaped for HTML", "/srv/a&b", 2),
        ("markdown", "text escaped for Markdown", "/srv/a_b", 0),
        ("typographic", "typographic quotes", "/srv/a", 0),
    ],
)
def test_what_a_page_altered_is_read_as_it_was(
    name: str, form: str, path: str, misread: int
) -> None:
    trace = open_trace(str(PUBLIC / f"{name}.log"))
    layout = replay(trace, get_kernel("post-patch")).processes[0].layout
    assert [(m.start, m.end, m.name) for m in layout] == [
        (0x7F4405F50000, 0x7F4405F52000, path), (0x7F4405F52000, 0x7F4405F53000, ""),
    ]  # fmt: skip
    assert trace.notes is not None
    check_counts(trace.notes)
    assert form in trace.notes.form
    assert trace.notes.misread_count == misread  # the page's own tags


def test_a_plain_log_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(
        'openat(AT_FDCWD, "/srv/&lt;a&quot;", O_RDONLY) = 3\n'
        'write(1, "&lt;unfinished ...&gt; \\“x\\”, −1", 9) = 9\n'
        "mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, 3, 0) = 0x7f4405f50000\n"
    )
    trace = open_trace(str(path))
    (mapping,) = replay(trace, get_kernel("post-patch")).processes[0].layout
    assert mapping.name == "/srv/&lt;a&quot;"


def test_qemus_log_may_lack_pids() -> None:
    trace = open_trace(str(PUBLIC / "qemu-without-pid.log"))
    result = replay(trace, get_kernel("post-patch"))
    assert trace.notes is not None
    assert (trace.notes.format, trace.notes.misread_count) == ("qemu", 0)
    assert result.errors == 1
    assert [(m.start, m.perms) for m in result.processes[0].layout] == [
        (0x3FFD0000, "r--p"), (0x3FFD2000, "rw-p"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "vmas", "last"),
    [
        ("glibc.txt", 3, "[heap]"),
        ("mail.txt", 3, "[heap]"),
        ("ruby.txt", 3, ""),
        ("jvm.txt", 3, "[stack]"),
        ("terminal.txt", 3, "/usr/local/bin/server"),
        ("rr.txt", 3, "[vdso]"),
        ("gdb-alone.txt", 3, ""),
        ("logcat.txt", 3, "/system/lib64/libc.so"),
    ],
)
def test_the_list_in_a_report_is_a_snapshot(
    name: str, vmas: int, last: str, run: RunProgram
) -> None:
    layout = open_snapshot(str(PUBLIC / name)).layout
    assert (len(layout), layout[-1].name) == (vmas, last)
    done = run("replay", str(PUBLIC / name))
    assert done.status == 2
    assert "vmatrace audit" in done.err


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("gef> vmmap\n[ Legend:  Code | Heap | Stack ]\n0x5000 0x6000 0x0 r-- /a\n", "info proc"),
        (
            "LEGEND: STACK | HEAP | CODE\n   0x400000   0x41e000 r-xp  1e000 0 /bin/ls\n",
            "info proc",
        ),
        ("(00.375992) 0x400000-0x54d000 (1332K) prot 0x5 flags 0x22 reg ap  shmid: 0\n", "CRIU"),
        ("      VMA           START       END     FLAGS FILE\nffff8d 5600 5700 75 /a\n", "crash"),
        ("==1==Process memory map follows:\n\t0x000000400000-0x000000456000\t/a\n", "sanitizer"),
        ("[   9.000001] vma ffff888100 start 7f00 end 7f10\nnext 0 prev 0 mm 0\n", "one VMA"),
    ],
)
def test_a_list_that_says_too_little_is_named(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "x"
    path.write_text(text)
    with pytest.raises(TraceError, match=what):
        open_snapshot(str(path))


@pytest.mark.parametrize("before", ["", "> ", "Jun 30 05:52:41 h s[5]: "])
@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("r0 = userfaultfd(0x0)\nmmap(&(0x7f0000000000/0x1000)=nil, 0x1000, 0x3)", "syzkaller"),
        ("1427 brk(NULL) =3D 0x5555000", "quoted-printable"),
    ],
)
def test_what_a_text_looks_like_is_said_behind_prefixes_too(
    tmp_path: Path, before: str, line: str, what: str
) -> None:
    path = tmp_path / "x"
    path.write_text("".join(f"{before}{part}\n" for part in line.split("\n")))
    with pytest.raises(TraceError, match=what):
        open_trace(str(path))
