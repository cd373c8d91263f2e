"""What /proc shows of an address space, and one made from what /proc showed."""

from __future__ import annotations

import pytest
from drawing import BASE, KINDS, PAGE, at, draw, new_mm, vma

from vmatrace import abi
from vmatrace.engine import merge, view
from vmatrace.engine.merge import blockers
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import Extra, Vma
from vmatrace.engine.vmfile import VmFile
from vmatrace.layout import Mapping, maps_text, parse_layout


def open_file(mapping: Mapping) -> VmFile:
    file = VmFile(mapping.name, "ext4", "mmap_prepare")
    file.inode = (mapping.device, mapping.inode)
    return file


def load(text: str, kernel: str = "post-patch", ksm: bool = False) -> Mm:
    mm = new_mm(kernel)
    mm.brk_known = False
    mm.merge_any = ksm
    view.load(mm, parse_layout(text), open_file)
    mm.vmas.check()
    return mm


def test_the_offset_of_what_has_no_file_is_0_however_far_it_moved() -> None:
    mm = draw("WW")
    vma(mm, 0).skew = 7 * PAGE
    (mapping,) = view.layout(mm)
    assert mapping.offset == 0


def test_the_offset_of_a_file_is_in_bytes_and_follows_a_split() -> None:
    mm = new_mm()
    file = VmFile("/f", "ext4", "mmap_prepare", inode=("08:01", 42))
    mm.insert(Vma(at(0), at(4), KINDS["r"], 2 * PAGE - BASE, file), None)
    mm.split(vma(mm, 0), at(1))
    lower, upper = view.layout(mm)
    assert (lower.offset, upper.offset) == (2 * PAGE, 3 * PAGE)
    assert (upper.name, upper.device, upper.inode) == ("/f", "08:01", 42)


@pytest.mark.parametrize(
    ("brk", "expected"),
    [((2, 4), ["", "[heap]", ""]), ((2, 5), ["", "[heap]", "[heap]"]), ((2, 2), ["", "", ""])],
)
def test_whatever_overlaps_the_break_is_called_heap(
    brk: tuple[int, int], expected: list[str]
) -> None:
    mm = draw("ww|xx|rr")
    mm.start_brk, mm.brk = at(brk[0]), at(brk[1])
    assert [m.name for m in view.layout(mm)] == expected


def test_anonymous_memory_is_called_by_the_name_it_was_given() -> None:
    mm = draw("ww")
    vma(mm, 0).extra = Extra(name="arena")
    assert view.layout(mm)[0].name == "[anon:arena]"
    vma(mm, 0).file = VmFile("/dev/zero (deleted)", "tmpfs", "shmem")
    assert view.layout(mm)[0].name == "[anon_shmem:arena]"


def test_borders_say_what_lies_between_each_two_that_touch() -> None:
    mm = draw("ww|xx..mm|ww|WW")
    found = view.borders(mm)
    assert [b.address for b in found] == [at(2), at(8), at(10)]
    assert [set(blockers(b.mask)) for b in found] == [
        {merge.Blocker.FLAGS}, {merge.Blocker.FLAGS}, set(),
    ]  # fmt: skip
    assert [b.flags for b in found] == [abi.VM_EXEC, abi.VM_MERGEABLE, 0]


# --- reading a snapshot --------------------------------------------------------------------------

MAPS = """\
00400000-00402000 r-xp 00000000 08:01 42 /bin/x
00402000-00403000 rw-p 00002000 08:01 42 /bin/x
00600000-00621000 rw-p 00000000 00:00 0 [heap]
10000000-10001000 rw-s 00000000 00:01 7 /dev/zero (deleted)
7ffff7fc1000-7ffff7fc5000 r--p 00000000 00:00 0 [vvar]
7ffff7fc5000-7ffff7fc7000 r-xp 00000000 00:00 0 [vdso]
7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0 [stack]
"""


def test_a_snapshot_of_maps_reads_back_as_it_was_written() -> None:
    assert maps_text(view.layout(load(MAPS))) == maps_text(parse_layout(MAPS))


def test_names_of_a_snapshot_are_names_that_keep_neighbours_apart() -> None:
    text = (
        "10000000-10001000 rw-p 00000000 00:00 0 [anon:a]\n"
        "10001000-10002000 rw-p 00000000 00:00 0 [anon:b]\n"
        "10002000-10003000 rw-s 00000000 00:01 7 [anon_shmem:c]\n"
        "10003000-10004000 rw-p 00000000 00:00 0 \n"
    )
    mm = load(text)
    assert maps_text(view.layout(mm)) == maps_text(parse_layout(text))
    assert next(blockers(border.mask) for border in view.borders(mm)) == (merge.Blocker.NAME,)


def test_flags_that_maps_cannot_show_are_those_of_an_ordinary_mapping_of_the_kind() -> None:
    codes = [" ".join(abi.vm_flag_codes(v.flags)) for v in load(MAPS).vmas]
    assert codes == [
        "rd ex mr mw me",
        "rd wr mr mw me ac",
        "rd wr mr mw me ac",
        "rd wr sh mr mw me ms",
        "rd mr pf io de dd",
        "rd ex mr mw me de",
        "rd wr mr mw me gd ac",
    ]


def test_under_ksm_by_default_what_can_be_marked_is_except_the_stack_of_exec() -> None:
    marked = [bool(v.flags & abi.VM_MERGEABLE) for v in load(MAPS, ksm=True).vmas]
    assert marked == [True, True, True, False, False, False, False]


def test_mappings_of_one_inode_share_a_file_and_the_stack_is_faulted() -> None:
    vmas = list(load(MAPS).vmas)
    assert vmas[0].file is vmas[1].file is not None
    assert vmas[0].skew == vmas[1].skew
    assert [bool(v.anon) for v in vmas] == [False] * 6 + [True]


def test_the_heap_of_a_snapshot_is_the_heap() -> None:
    mm = load(MAPS)
    assert mm.brk == 0x621000


def test_the_flags_of_smaps_are_taken_as_they_are() -> None:
    text = "10000000-10001000 rw-p 00000000 00:00 0\nVmFlags: rd wr mr mw me ac nh \n"
    (only,) = load(text, ksm=True).vmas
    assert only.flags == KINDS["w"] | abi.VM_NOHUGEPAGE
