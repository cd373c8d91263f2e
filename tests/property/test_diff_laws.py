"""Laws of comparing: alignment loses nothing, and swapping the sides mirrors everything."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from vmatrace import abi
from vmatrace.alignment import align, flag_differences, segments
from vmatrace.commands.diff.answer import Did
from vmatrace.commands.diff.question import Comparison, compare
from vmatrace.kernels import KERNELS
from vmatrace.layout import Layout, Mapping, with_flags
from vmatrace.search import generate
from vmatrace.trace.file import Trace

PAGE = 4096
_FLAGS = st.sampled_from([abi.VM_READ, abi.VM_READ | abi.VM_WRITE, abi.VM_READ | abi.VM_MERGEABLE])


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Any layout of up to 24 pages."""
    borders = sorted(draw(st.sets(st.integers(0, 24), max_size=12)))
    return [
        Mapping(a * PAGE, b * PAGE, draw(_FLAGS), draw(st.sampled_from([0, PAGE])))
        for a, b in pairwise(borders)
        if draw(st.booleans())
    ]


@given(layouts(), layouts())
def test_an_alignment_holds_every_vma_of_both_sides_once_and_in_order(a: Layout, b: Layout) -> None:
    blocks = align(a, b)
    assert [m for block in blocks for m in block.left] == a
    assert [m for block in blocks for m in block.right] == b
    for block in blocks:
        inside = (*block.left, *block.right)
        assert (block.start, block.end) == (
            min(m.start for m in inside),
            max(m.end for m in inside),
        )
    for block, following in pairwise(blocks):
        assert block.end <= following.start


@given(layouts(), layouts())
def test_a_block_cannot_be_cut_without_cutting_a_vma(a: Layout, b: Layout) -> None:
    for block in align(a, b):
        for at in range(block.start + PAGE, block.end, PAGE):
            assert any(m.start < at < m.end for m in (*block.left, *block.right))


@given(layouts(), layouts())
def test_segments_cover_exactly_the_pages_of_both_sides(a: Layout, b: Layout) -> None:
    def pages(layout: Layout) -> dict[int, Mapping]:
        return {at: m for m in layout for at in range(m.start, m.end, PAGE)}

    shown: tuple[dict[int, Mapping], dict[int, Mapping]] = ({}, {})
    for block in align(a, b):
        end = block.start
        for part in segments(block):
            assert part.start == end < part.end
            end = part.end
            for side, mapping in zip(shown, (part.left, part.right), strict=True):
                for at in range(part.start, part.end, PAGE):
                    if mapping is not None:
                        side[at] = mapping
        assert end == block.end
    assert shown == (pages(a), pages(b))


@given(layouts(), layouts())
def test_flags_differ_page_by_page_where_it_says(a: Layout, b: Layout) -> None:
    def flags(layout: Layout, at: int) -> int | None:
        return next((m.vm_flags for m in layout if m.start <= at < m.end), None)

    found = flag_differences(align(a, b))
    for at in range(0, 24 * PAGE, PAGE):
        ours, theirs = flags(a, at), flags(b, at)
        here = [(d.left, d.right) for d in found if d.start <= at < d.end]
        if ours is None or theirs is None or ours == theirs:
            assert here == []
        else:
            assert here == [(ours & ~theirs, theirs & ~ours)]


@given(layouts())
def test_a_layout_aligned_with_itself_has_only_equal_blocks(a: Layout) -> None:
    assert all(block.equal for block in align(a, a))
    assert with_flags(a, -1) == a


def plain(did: Did) -> tuple[object, ...]:
    return did.result, did.went, did.came


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from(sorted(KERNELS)), st.sampled_from(sorted(KERNELS)))
def test_swapping_the_sides_mirrors_the_difference(index: int, a: str, b: str) -> None:
    program = generate.generate("mirror", index, 40)
    trace = Trace("random", "", lambda: iter(program), files=generate.files())
    there, back = ((KERNELS[a], KERNELS[b]), (KERNELS[b], KERNELS[a]))
    ours = [(e.index, plain(e.from_), plain(e.to), e.healed) for e in
            Comparison(trace, *there).events()]  # fmt: skip
    theirs = [(e.index, plain(e.to), plain(e.from_), e.healed) for e in
              Comparison(trace, *back).events()]  # fmt: skip
    assert ours == theirs
    left, right = compare(trace, *there), compare(trace, *back)
    assert left.equal == right.equal
    assert left.totals == [(name, y, x) for name, x, y in right.totals]
    assert [(p.pid, p.from_, p.to) for p in left.processes] == [
        (p.pid, p.to, p.from_) for p in right.processes
    ]
    if a == b:
        assert left.equal
