"""The VMA and the ordered map; its laws against a plain list are in property/test_engine_laws."""

from __future__ import annotations

import pytest
from drawing import KINDS, PAGE, at, draw, vma

from vmatrace import abi
from vmatrace.engine.vma import Extra, Vma, some
from vmatrace.engine.vmfile import VmFile


def test_find_gives_the_vma_around_or_above_and_at_only_the_one_around() -> None:
    mm = draw("ww..rr")
    first, second = list(mm.vmas)
    assert mm.vmas.find(at(0)) is mm.vmas.find(at(2) - 1) is first
    assert mm.vmas.find(at(2)) is mm.vmas.find(at(5)) is second
    assert mm.vmas.find(at(6)) is None
    assert mm.vmas.at(at(1)) is first
    assert mm.vmas.at(at(3)) is None


def test_adjacent_vmas_have_contiguous_offsets_exactly_when_their_skews_are_equal() -> None:
    mm = draw("wwww")
    upper = mm.split_unchecked(vma(mm, 0), at(1))
    assert isinstance(upper, Vma)
    assert upper.skew == vma(mm, 0).skew


@pytest.mark.parametrize(
    ("file", "flags", "anonymous"),
    [
        (None, KINDS["w"], True),
        (VmFile("/dev/zero", "devzero", "legacy", anonymous=True), KINDS["w"], True),
        (VmFile("/dev/zero", "devzero", "legacy", anonymous=True), abi.VM_SHARED, False),
        (VmFile("/f", "ext4", "mmap_prepare"), KINDS["w"], False),
    ],
)
def test_anonymous_means_no_vm_ops_which_private_dev_zero_has_neither(
    file: VmFile | None, flags: int, anonymous: bool
) -> None:
    assert Vma(0, PAGE, flags, 0, file).is_anonymous is anonymous


def test_rare_attributes_compare_by_value_and_are_absent_when_there_are_none() -> None:
    assert some(Extra(uffd=1)._replace(uffd=0)) is None
    assert some(Extra(name="x")) == Extra(None, 0, "x")
    assert some(Extra(uffd=1)) != some(Extra(uffd=2))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda v: setattr(v, "end", v.start),
        lambda v: setattr(v, "end", v.next.end),
        lambda v: setattr(v, "start", v.start - 1),
        lambda v: setattr(v, "anon", 7),
        lambda v: setattr(v.next, "prev", None),
        lambda v: setattr(v, "next", None),
    ],
    ids=["empty", "overlap", "index", "chain", "prev", "next"],
)
def test_check_notices_every_broken_invariant(spoil: object) -> None:
    mm = draw("ww..rr")
    mm.vmas.check()
    assert callable(spoil)
    spoil(mm.vmas.first)
    with pytest.raises(AssertionError):
        mm.vmas.check()
