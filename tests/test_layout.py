"""maps and smaps text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmatrace import abi
from vmatrace.layout import (
    Layout,
    LayoutError,
    Mapping,
    maps_line,
    maps_text,
    parse_layout,
    parse_maps_line,
    smaps_text,
)

_FLAGS = [bit for bit in abi.VM_FLAG_CODES if bit != abi.VM_SOFTDIRTY]


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    bounds = sorted(draw(st.sets(st.integers(1, 1 << 35), min_size=2, max_size=12)))
    names = st.sampled_from(["", "/usr/lib/a b.so", "[heap]", "/dev/zero (deleted)", "[anon:x]"])
    return [
        Mapping(
            start << 12,
            end << 12,
            sum(draw(st.sets(st.sampled_from(_FLAGS)))),
            draw(st.integers(0, 1 << 20)) << 12,
            draw(names),
        )
        for start, end in zip(bounds[::2], bounds[1::2], strict=False)
    ]


@given(layouts())
def test_smaps_text_reads_back_as_the_same_layout(layout: Layout) -> None:
    assert parse_layout(smaps_text(layout)) == layout


@given(layouts())
def test_maps_text_reads_back_with_all_that_a_maps_line_says(layout: Layout) -> None:
    read = parse_layout(maps_text(layout))
    assert maps_text(read) == maps_text(layout)
    assert not any(mapping.flags_known for mapping in read)


def _read(text: str, above: int = 0) -> object:
    """All that a text says, or what is wrong with it; *above*: lines before it do not count."""
    try:
        return [
            (*m.key(), m.device, m.inode, m.flags_known, m.faulted, m.foreign)
            for m in parse_layout(text)
        ]
    except LayoutError as error:
        return error.line - above, error.message


_LINES = (
    "", " ", "Rss:  8 kB", "Rss:8 kB", "Anonymous:    8 kB", "Anonymous:", "VmFlags: rd wr zz",
    "VmFlags: r1", "VmFlags:", "ProtectionKey:  0", "x", "2000-1000 rw-p 00000000 00:00 0 ",
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]",
    "7000-8000 rw-p 00000000 00:00 0 \t", "7000-8000 rw-p 00000000 00:00 7  /a \\012b\x0b",
)  # fmt: skip


@given(layouts(), st.data())
def test_a_text_as_a_kernel_prints_it_reads_as_one_read_line_by_line(
    layout: Layout, data: st.DataObject
) -> None:
    text = data.draw(st.sampled_from([smaps_text, maps_text]))(layout)
    pages = data.draw(st.sampled_from(["", "Anonymous:        0 kB\n", "Anonymous:       12 kB\n"]))
    text = text.replace("VmFlags:", f"{pages}VmFlags:")
    lines = text.split("\n")
    for line in data.draw(st.lists(st.sampled_from([*_LINES, *lines]), max_size=2)):
        at = data.draw(st.integers(0, len(lines)))
        lines[at : at + data.draw(st.integers(0, 1))] = [line]
    text = "\n".join(lines)
    assert _read(text) == _read("\n" + text, above=1)  # a blank first line is not a kernel's


def test_the_name_stands_in_the_column_where_the_kernel_puts_it() -> None:
    line = "555555554000-555555559000 r-xp 00000000 fe:00 1234                       /usr/bin/app"
    assert maps_line(parse_maps_line(line)) == line


@pytest.mark.parametrize(
    ("codes", "lazily"),
    [
        ("rd wr mr mw me lo ?? ac sd", True),  # as Linux 6.1 shows mlock2(MLOCK_ONFAULT)
        ("rd wr mr mw me lo ??", True),
        ("rd wr mr mw me ?? ac", False),  # only locked memory has it
        ("rd wr mr mw me lo ac ?? sd", False),  # not its place
        ("rd wr mr mw ?? me lo ac", False),
    ],
)
def test_what_linux_6_1_had_no_code_for_is_told_by_its_place(codes: str, lazily: bool) -> None:
    read = parse_layout(f"1000-2000 rw-p 00000000 00:00 0 \nVmFlags: {codes} \n")
    assert ("lf" in read[0].codes) is lazily


def test_soft_dirty_and_vsyscall_are_not_part_of_a_layout() -> None:
    text = (
        "1000-2000 rw-p 00000000 00:00 0 \nVmFlags: rd wr mr mw me sd \n"
        "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0   [vsyscall]\nVmFlags: ex \n"
    )
    (mapping,) = parse_layout(text)
    assert mapping.codes == ("rd", "wr", "mr", "mw", "me")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("foo\n", 1),
        ("1000-2000 rw-p 0 00:00 0\n\n2000-1000 rw-p 0 00:00 0\n", 3),
        ("1000-3000 rw-p 0 00:00 0\n2000-4000 rw-p 0 00:00 0\n", 2),
        ("VmFlags: rd\n", 1),
        ("1000-2000 rw-p 0 00:00 0\nVmFlags: rd zzz\n", 2),
        ("1000-2000 rw-p 0 00:00 " + "9" * 5000, 1),
    ],
)
def test_text_that_is_no_layout_is_an_error_with_its_line(text: str, line: int) -> None:
    with pytest.raises(LayoutError) as caught:
        parse_layout(text)
    assert caught.value.line == line


def test_a_code_that_nobody_knows_is_kept_beside_the_flags() -> None:
    layout = parse_layout("1000-2000 rw-p 0 00:00 0\nVmFlags: rd wr dw mt zz ?? sd\n")
    assert layout[0].codes == ("rd", "wr", "dw", "mt")
    assert layout[0].foreign == ("zz",)
