"""Snapshots as other programs print them, and what is refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmatrace.layout import LayoutError, maps_text, parse_layout
from vmatrace.snapshots import is_snapshot, parse_snapshot

CASES = Path(__file__).parent / "importers" / "cases"

GDB = """process 4321
Mapped address spaces:

          Start Addr           End Addr       Size     Offset  Perms  objfile
      0x5644c00eb000     0x5644c00ec000     0x1000        0x0  r--p   /tmp/a prog
      0x5644c00ec000     0x5644c00ed000     0x1000     0x1000  r-xp   /tmp/a prog
      0x5644d00ee000     0x5644d010f000    0x21000        0x0  rw-p   [heap]
      0x7ffff7fc0000     0x7ffff7fc1000     0x1000        0x0  rw-s
(gdb) quit
"""
GDB_15 = """process 4321
Mapped address spaces:

Start Addr         End Addr           Size               Offset             Perms File
0x00005644c00eb000 0x00005644c00ec000 0x1000             0x0                r--p  /tmp/a prog
"""
LLDB = """(lldb) memory region --all
[0x0000000000000000-0x00005644c00eb000) ---
[0x00005644c00eb000-0x00005644c00ec000) r-- /tmp/a prog PT_LOAD[0]
[0x00005644c00ec000-0x00005644c00ed000) r-x /tmp/a prog PT_LOAD[1] .text
protection key: 0
[0x00005644c00ed000-0x00007ffff7fc0000) ---
[0x00007ffff7fc0000-0x00007ffff7fc1000) rw-
"""
RR = """Process maps:
  0x5644c00eb000-0x5644c00ec000 r--p 00000000 fd:01 123456     /tmp/a prog  (f:0x2)
  0x7ffff7fc0000-0x7ffff7fc1000 rw-p 00000000 00:00 0            (f:0x22)
"""
OLD_TOMBSTONE = """memory map: (fault address prefixed with --->)
    12c00000-1abfffff rw-         0   8000000  [anon:dalvik-main space (region space)]
--->Fault address falls at 1ac00000 after any mapped regions
"""
TOMBSTONE = """backtrace:
      #00 pc 0000000000012345  /system/lib64/libc.so

memory map (2 entries):
    00000071'12c00000-00000071'12c00fff r-x      1000      1000  /system/lib64/libc.so (BuildId: \
0123abcd) (load bias 0x1000)
    00000071'12c01000-00000071'12c01fff r--         0      1000  /system/a b.so
                               VmFlags: rd mr mw me bt

open files:
    fd 0: /dev/null
"""


def lines(text: str) -> list[str]:
    return [
        f"{m.start:x}-{m.end:x} {m.perms} {m.offset:x} {m.name}".rstrip()
        for m in parse_snapshot(text)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GDB, [
            "5644c00eb000-5644c00ec000 r--p 0 /tmp/a prog",
            "5644c00ec000-5644c00ed000 r-xp 1000 /tmp/a prog",
            "5644d00ee000-5644d010f000 rw-p 0 [heap]", "7ffff7fc0000-7ffff7fc1000 rw-s 0",
        ]),
        (GDB_15, ["5644c00eb000-5644c00ec000 r--p 0 /tmp/a prog"]),
        (LLDB, [
            "5644c00eb000-5644c00ec000 r--p 0 /tmp/a prog",
            "5644c00ec000-5644c00ed000 r-xp 0 /tmp/a prog", "7ffff7fc0000-7ffff7fc1000 rw-p 0",
        ]),
        (RR, [
            "5644c00eb000-5644c00ec000 r--p 0 /tmp/a prog", "7ffff7fc0000-7ffff7fc1000 rw-p 0",
        ]),
        (OLD_TOMBSTONE, [
            "12c00000-1ac00000 rw-p 0 [anon:dalvik-main space (region space)]",
        ]),
        (TOMBSTONE, [
            "7112c00000-7112c01000 r-xp 1000 /system/lib64/libc.so",
            "7112c01000-7112c02000 r--p 0 /system/a b.so",
        ]),
    ],
)  # fmt: skip
def test_debuggers_and_tombstones_show_layouts(text: str, expected: list[str]) -> None:
    assert lines(text) == expected
    assert is_snapshot(text.split("\n"))


def test_a_tombstone_s_flags_are_its_mappings() -> None:
    layout = parse_snapshot(TOMBSTONE)
    assert [m.flags_known for m in layout] == [False, True]
    assert layout[1].codes == ("rd", "mr", "mw", "me", "bt")


PAGED = "--Type <RET> for more, q to quit, c to continue without paging--\n"


def test_gdbs_pager_may_have_asked_in_between() -> None:
    head, last = GDB.rsplit("      0x7f", 1)
    assert lines(f"{head}{PAGED}      0x7f{last}") == lines(GDB)


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        (GDB.replace(" 0x5644c00ed000 ", " 5644c00ed000 "), 6, "not a mapping of gdb's"),
        (GDB + GDB, 13, "a second list"),
        (LLDB.replace(" r-x ", " rx "), 4, "not a region of lldb's"),
        (RR.replace(" rw-p ", " rwp "), 3, "not a mapping of rr's"),
        (TOMBSTONE.replace(" r--  ", " r-   "), 6, "not a line of a memory map"),
        (
            TOMBSTONE.replace("\n    00000071'12c01000", "\nabc\n    00000071'12c01000"),
            6,
            "not a l",
        ),
        (TOMBSTONE + TOMBSTONE, 14, "a second list"),
        ("".join(reversed(GDB.splitlines(True)[3:5])) + GDB, 1, "before the list"),
        (f"{RR}1000-2000 rw-p 00000000 00:00 0\n", 4, "not a mapping of rr's"),
    ],
)
def test_no_mapping_is_dropped_silently(text: str, line: int, why: str) -> None:
    with pytest.raises(LayoutError, match=why) as error:
        parse_snapshot(text)
    assert error.value.line == line


def test_m11_a_tombstone_is_a_layout() -> None:
    layout = parse_snapshot((CASES / "M11-tombstone.txt").read_text("utf-8"))
    assert [(m.start, m.end) for m in layout] == [
        (0x12C00000, 0x1AC00000), (0x600000000000, 0x640000000000),
        (0xBF88E3243000, 0xBF88E3244000),
    ]  # fmt: skip
    assert layout[2].codes == ("mr", "mw", "me", "mt")


def test_m13_pmap_with_all_columns_is_smaps() -> None:
    layout = parse_snapshot((CASES / "M13-pmap-XX.txt").read_text("utf-8"))
    assert len(layout) == 6
    assert (layout[0].end - layout[0].start, layout[0].name, layout[0].device) == (
        188 << 10, "bash", "fe:00",
    )  # fmt: skip
    assert layout[0].codes == ("rd", "mr", "mw", "me")
    assert [m.faulted for m in layout] == [False, False, False, True, True, True]
    assert (layout[5].name, layout[5].codes) == ("", ("rd", "wr", "mr", "mw", "me", "ac"))


def test_m18_odd_names_are_names() -> None:
    text = (CASES / "M18-odd-names.maps").read_text("utf-8")
    layout = parse_snapshot(text)
    assert len(layout) == 21
    assert "/opt/été 日本/lib.so" in [m.name for m in layout]


def test_a_name_may_have_any_line_break_but_the_one() -> None:
    name = "/srv/a\x85b\u2028c\x0bd"
    layout = parse_layout(f"1000-2000 rw-p 00000000 00:00 7 {name}\n")
    assert layout[0].name == name
    layout[0].name = "/srv/a\nb"
    assert parse_layout(maps_text(layout))[0].name == "/srv/a\nb"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("5644c00eb000-7ffff7fc1000 ---p 00000000 00:00 0       [rollup]\nRss: 4 kB\n", "sum of"),
        ("7f2c7cdf6000 default file=/lib/libc.so.6 mapped=1 N0=1\n", "not where they end"),
        ("Address           Kbytes     RSS   Dirty Mode  Mapping\n", "pmap -XX"),
        ("4321:   prog\n000055efdf7be000    188K r---- bash\n", "pmap -XX"),
        (GDB.replace("  Perms", ""), "no permissions"),
        (
            "memory map (1 entry):\n    00000071'12c00000-00000071'12bfffff r-x  0 0\n",
            "ends before",
        ),
    ],
)
def test_what_is_no_snapshot_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(LayoutError, match=why):
        parse_snapshot(text)
