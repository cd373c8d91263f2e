"""Pieces against a model with one entry for each page."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vmatrace.record.pieces import PRIVATE, WIPED, WRITABLE, WRITTEN, Pieces

PAGE = 0x1000
PAGES = 24
pages = st.integers(0, PAGES - 1)
lengths = st.integers(1, 8)
flags = st.sampled_from((0, PRIVATE, PRIVATE | WRITABLE, PRIVATE | WRITABLE | WRITTEN))
files = st.sampled_from((None, "a", "b"))
steps = st.one_of(
    st.tuples(st.just("add"), pages, lengths, flags, files),
    st.tuples(st.just("clear"), pages, lengths),
    st.tuples(st.just("cut"), pages),
    st.tuples(st.just("change"), pages, lengths, st.sampled_from((WRITABLE, WIPED)), st.booleans()),
    st.tuples(st.just("move"), pages, lengths, lengths, st.booleans()),
    st.tuples(st.just("written"), pages),
    st.tuples(st.just("join"), pages, lengths),
)


class Naive:
    """Each mapped page: (flags, file); and the boundaries that there may be."""

    def __init__(self) -> None:
        self.pages: dict[int, tuple[int, object]] = {}
        self.borders: set[int] = set()

    def fresh(self, page: int, count: int) -> None:
        """A range is one thing, whatever was there."""
        self.borders -= set(range(page, page + count))
        self.borders |= {page, page + count}

    def add(self, page: int, count: int, flags: int, file: object) -> None:
        self.fresh(page, count)
        self.pages.update(dict.fromkeys(range(page, page + count), (flags, file)))

    def clear(self, page: int, count: int) -> None:
        self.fresh(page, count)
        for at in range(page, page + count):
            self.pages.pop(at, None)

    def cut(self, page: int) -> None:
        self.borders.add(page)

    def change(self, page: int, count: int, flag: int, on: bool) -> None:
        self.borders |= {page, page + count}
        for at in range(page, page + count):
            if at in self.pages:
                old, file = self.pages[at]
                self.pages[at] = (old | flag if on else old & ~flag, file)

    def move(self, page: int, old: int, new: int, keep: bool) -> None:
        target = PAGES * 2
        moved = {at: self.pages[at] for at in range(page, page + old) if at in self.pages}
        borders = {b for b in self.borders if page <= b <= page + old} | {page, page + old}
        if keep:
            self.change(page, old, WRITTEN, False)
        else:
            self.clear(page, old)
        self.clear(target, new)
        for at, what in moved.items():
            if at - page < new:
                self.pages[at - page + target] = what
        self.borders |= {b - page + target for b in borders if b - page <= new}
        if moved and new > old:
            last = moved[max(moved)]
            self.add(target + old, new - old, last[0] & ~WRITTEN, last[1])
        self.borders |= {target, target + new}

    def written(self, page: int) -> None:
        """All that no boundary sets apart from *page*."""
        for step in (1, -1):
            at = page
            while at in self.pages:
                self.pages[at] = (self.pages[at][0] | WRITTEN, self.pages[at][1])
                if (at + 1 if step == 1 else at) in self.borders:
                    break
                at += step

    def join(self, page: int, count: int) -> None:
        """A range is one VMA: what is alike in it is one, written to if a part of it is."""
        self.borders |= {page, page + count}
        for border in range(page + 1, page + count):
            a, b = self.pages.get(border - 1), self.pages.get(border)
            if a and b and a[1] == b[1] and not (a[0] ^ b[0]) & ~WRITTEN:
                self.borders.discard(border)
        for at in range(page, page + count):
            if self.pages.get(at, (0, None))[0] & WRITTEN:
                self.written(at)


def apply(pieces: Pieces, naive: Naive, step: tuple[object, ...]) -> None:
    name, *rest = step
    n = [x * PAGE if type(x) is int else x for x in rest]
    getattr(naive, str(name))(*rest)
    if name == "add":
        pieces.add(n[0], n[0] + n[1], rest[2], rest[3])  # type: ignore[operator, arg-type]
    elif name == "clear":
        pieces.clear(n[0], n[0] + n[1])  # type: ignore[operator, arg-type]
    elif name == "cut":
        pieces.cut(n[0])  # type: ignore[arg-type]
    elif name == "change":
        on, off = (rest[2], 0) if rest[3] else (0, rest[2])
        pieces.change(n[0], n[0] + n[1], on, off)  # type: ignore[operator, arg-type]
    elif name == "move":
        new = PAGES * 2 * PAGE
        pieces.move(n[0], n[0] + n[1], new, new + n[2], bool(n[3]))  # type: ignore
    elif name == "join":
        pieces.cut(n[0], n[0] + n[1])  # type: ignore[operator, arg-type]
        pieces.join(n[0], n[0] + n[1])  # type: ignore[operator, arg-type]
    else:
        pieces.written_at(n[0])  # type: ignore[arg-type]


@given(st.lists(steps, max_size=30))
def test_pieces_are_what_a_model_page_by_page_says(program: list[tuple[object, ...]]) -> None:
    counts: dict[object, int] = {}

    def count(file: object, change: int) -> None:
        counts[file] = counts.get(file, 0) + change

    pieces, naive = Pieces(count), Naive()
    for step in program:
        apply(pieces, naive, step)
        found: dict[int, tuple[int, object]] = {}
        for start, (end, flags, file) in pieces.within(0, 1 << 40):
            assert not set(range(start // PAGE, end // PAGE)) & set(found)
            # No piece lies on both sides of a boundary.
            assert not set(range(start // PAGE + 1, end // PAGE)) & naive.borders
            found.update(dict.fromkeys(range(start // PAGE, end // PAGE), (flags, file)))
        assert found == naive.pages
        unwritten = {p for p, (f, _) in found.items() if f & 7 == PRIVATE | WRITABLE}
        asked = {p for s, e in pieces.open.items() for p in range(s // PAGE, e // PAGE)}
        assert asked == unwritten
        ends = {end: start for start, end in pieces.open.items()}
        assert pieces.borders == set(ends) & set(pieces.open)
        touching = pieces.borders | {ends[border] for border in pieces.borders}
        assert pieces.touching() == [(at, pieces.open[at]) for at in sorted(touching)]
        held = [file for _, (_, _, file) in pieces.within(0, 1 << 40) if file]
        assert {f: held.count(f) for f in held} == {f: n for f, n in counts.items() if n}
    pieces.forget()
    assert not any(counts.values())


@given(st.lists(steps, max_size=20))
def test_a_child_has_what_its_parent_has_but_for_what_is_wiped(
    program: list[tuple[object, ...]],
) -> None:
    pieces, naive = Pieces(lambda file, change: None), Naive()
    for step in program:
        apply(pieces, naive, step)
    parents, children = pieces.within(0, 1 << 40), pieces.copy().within(0, 1 << 40)
    assert [start for start, _ in parents] == [start for start, _ in children]
    for (_, (end, flags, file)), (_, child) in zip(parents, children, strict=True):
        assert child == (end, flags & ~WRITTEN if flags & WIPED else flags, file)


def test_a_stack_grows_down_to_what_is_below() -> None:
    pieces = Pieces(lambda file, change: None)
    pieces.add(8 * PAGE, 9 * PAGE, PRIVATE)
    pieces.grow_down(5 * PAGE, 9 * PAGE, PRIVATE | WRITTEN)
    assert pieces.within(0, 1 << 40) == [
        (5 * PAGE, (8 * PAGE, PRIVATE | WRITTEN, None)), (8 * PAGE, (9 * PAGE, PRIVATE, None)),
    ]  # fmt: skip


@given(st.lists(steps, max_size=30), pages, lengths)
def test_what_is_open_in_a_touching_vma_is_not_overlooked(
    program: list[tuple[object, ...]], page: int, count: int
) -> None:
    pieces, naive = Pieces(lambda file, change: None), Naive()
    for step in program:
        apply(pieces, naive, step)
    low, high = page, page + count
    while low - 1 in naive.pages:
        low -= 1
    while high in naive.pages:
        high += 1
    reachable = any(naive.pages.get(p, (0, None))[0] & 7 == 3 for p in range(low, high))
    assert pieces.has_open_near(page * PAGE, (page + count) * PAGE) or not reachable


def test_far_away_what_is_open_may_be_in_the_same_vma() -> None:
    pieces = Pieces(lambda file, change: None)
    pieces.add(0, PAGE, PRIVATE | WRITABLE)
    for page in range(1, 100):
        pieces.add(page * PAGE, (page + 1) * PAGE, PRIVATE | WRITABLE | WRITTEN)
    assert pieces.has_open_near(100 * PAGE, 101 * PAGE)
    assert not pieces.has_open_near(102 * PAGE, 103 * PAGE)


@given(st.lists(steps, max_size=30), pages, lengths, st.sampled_from((PRIVATE, WRITABLE)))
def test_what_is_said_of_a_range_is_true_of_its_pages(
    program: list[tuple[object, ...]], page: int, count: int, flag: int
) -> None:
    pieces, naive = Pieces(lambda file, change: None), Naive()
    for step in program:
        apply(pieces, naive, step)
    start, end = page * PAGE, (page + count) * PAGE
    flags = [naive.pages.get(at, (0, None))[0] for at in range(page, page + count)]
    assert pieces.has_throughout(start, end, flag) == all(each & flag for each in flags)
    found = [(at, stop) for at, (stop, _, _) in pieces.within(0, 1 << 40)]
    assert len(pieces) == len(found)
    over = [at for at, stop in found if at < start < stop or at < end < stop]
    assert pieces.is_whole(start, end) == (not over)
    beside = [(at, stop) for at, stop in found if stop == start or at == end]
    assert pieces.beside(start, end) == [area for area in beside if area[0] in pieces.open]
