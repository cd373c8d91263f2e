"""What is measured: streams of calls, as Events for the engine and as text for the parsers.

Every stream is made from a fixed seed. Addresses and lengths are bytes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from vmatrace import abi
from vmatrace.event import Event, format_call

PAGE: Final = 4096
#: Where the engine streams build: below the default mmap_base, 2 MiB aligned.
BASE: Final = 0x7F0000000000
MMAP_BASE: Final = 0x7FFFF7FFF000
_READ: Final = abi.PROT_READ
_WRITE: Final = abi.PROT_READ | abi.PROT_WRITE
_ANON: Final = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS


def mmap(addr: int, length: int, prot: int) -> Event:
    """An anonymous mapping, at *addr* unless that is 0."""
    flags = _ANON | (abi.MAP_FIXED if addr else 0)
    return Event("mmap", (addr, length, prot, flags, -1, 0), "mmap")


def munmap(addr: int, length: int) -> Event:
    return Event("munmap", (addr, length), "munmap")


def mprotect(addr: int, length: int, prot: int) -> Event:
    return Event("mprotect", (addr, length, prot), "mprotect")


@dataclass
class Stream:
    """*build* makes the live VMAs, none of which merge; *events* work on them at random places.

    Each pair of events leaves the layout as it was, so the number of live VMAs stays.
    """

    name: str
    build: list[Event]
    events: list[Event]


def map_and_unmap(live: int, events: int) -> Stream:
    """One page into the middle of a hole of three pages, and away again."""
    at = random.Random(1).randrange
    build = [mmap(BASE + 4 * PAGE * i, PAGE, _WRITE) for i in range(live)]
    pairs = []
    for _ in range(events // 2):
        addr = BASE + PAGE * (4 * at(live) + 2)
        pairs += [mmap(addr, PAGE, _WRITE), munmap(addr, PAGE)]
    return Stream("map and unmap", build, pairs)


def unmap_and_place(live: int, events: int) -> Stream:
    """A VMA goes, and the kernel finds its place again, the only hole below mmap_base."""
    at = random.Random(2).randrange
    low = MMAP_BASE - live * PAGE
    build = [mmap(low + PAGE * i, PAGE, (_READ, _WRITE)[i % 2]) for i in range(live)]
    pairs = []
    for _ in range(events // 2):
        i = at(live)
        pairs += [munmap(low + PAGE * i, PAGE), mmap(0, PAGE, (_READ, _WRITE)[i % 2])]
    return Stream("unmap and place", build, pairs)


def merge_heavy(live: int, events: int) -> Stream:
    """Fill a hole of three pages: its lower page, its upper page or all of it; and cut it again."""
    at = random.Random(3).randrange
    build = [mmap(BASE + 4 * PAGE * i, PAGE, _WRITE) for i in range(live)]
    pairs = []
    for _ in range(events // 2):
        hole = BASE + PAGE * (4 * at(live - 1) + 1)
        addr, pages = ((hole, 1), (hole + 2 * PAGE, 1), (hole, 3))[at(3)]
        pairs += [mmap(addr, pages * PAGE, _WRITE), munmap(addr, pages * PAGE)]
    return Stream("merge", build, pairs)


def mprotect_heavy(live: int, events: int) -> Stream:
    """Protect a middle page (two splits), the first page (moves a border) or a whole VMA of four.

    VMAs touch and alternate between read-only and read-write; the second call of a pair undoes
    the first, by merges or splits.
    """
    at = random.Random(4).randrange
    build = [mmap(BASE + 4 * PAGE * i, 4 * PAGE, (_READ, _WRITE)[i % 2]) for i in range(live)]
    pairs = []
    for _ in range(events // 2):
        i = at(1, live - 1)
        own, other = (_READ, _WRITE)[i % 2], (_WRITE, _READ)[i % 2]
        first, pages = ((1, 1), (0, 1), (0, 4))[at(3)]
        addr = BASE + PAGE * (4 * i + first)
        pairs += [mprotect(addr, pages * PAGE, other), mprotect(addr, pages * PAGE, own)]
    return Stream("mprotect", build, pairs)


STREAMS: Final = (map_and_unmap, unmap_and_place, merge_heavy, mprotect_heavy)


# --- a whole process, as a trace ----------------------------------------------------------------

HEADER: Final = """\
vmatrace: 1
process: {ksm: true, brk: 0x555555559000}
files:
  3: {path: /usr/lib/libc.so.6, fs: ext4}
events:
"""
_SLOT: Final = 64 * PAGE
_SIZES: Final = (1, 1, 1, 2, 2, 4, 8, 16, 32, 64)
_ADVICE: Final = ("MADV_DONTNEED", "MADV_DONTNEED", "MADV_COLD", "MADV_HUGEPAGE", "MADV_DONTDUMP")
_PROT: Final = ("PROT_READ|PROT_WRITE", "PROT_READ|PROT_WRITE", "PROT_READ", "PROT_NONE")


@dataclass
class Process:
    """An invented process that makes calls which all succeed: some *live* regions in an arena.

    A region lies in a slot of 64 pages and is as long as ``_SIZES`` says.
    """

    live: int = 2000
    seed: int = 5
    regions: dict[int, int] = field(default_factory=dict)

    def calls(self, events: int, recorded: bool = True) -> Iterator[str]:
        """Call strings, each with the result that a kernel returned if *recorded*."""
        rng = random.Random(self.seed)
        heap = top = 0x555555559000
        slots: list[int] = []
        free = [MMAP_BASE - _SLOT * i for i in range(2 * self.live, 0, -1)]
        for _ in range(events):
            kind = rng.random()
            if not slots or kind < (0.32 if len(slots) < self.live else 0.22):
                text, result = self._map(rng, slots, free)
            elif kind < 0.54:
                text, result = self._unmap(rng, slots, free), 0
            elif kind < 0.76:
                text, result = self._inside(rng, slots, "mprotect"), 0
            elif kind < 0.92:
                text, result = self._inside(rng, slots, "madvise"), 0
            else:
                top = max(heap, top + PAGE * rng.randrange(-32, 64)) if top < heap + 2**30 else heap
                text, result = f"brk({top:#x})", top
            if recorded:
                text += f" = {result:#x}" if result else " = 0"
            yield text

    def _map(self, rng: random.Random, slots: list[int], free: list[int]) -> tuple[str, int]:
        """A new region where the kernel likes, or a part of an old one mapped anew."""
        if slots and (rng.random() < 0.25 or not free):
            addr = slots[rng.randrange(len(slots))]
            length = min(self.regions[addr], PAGE * rng.choice(_SIZES))
            flags = "MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED"
            return f"mmap({addr:#x}, {length:#x}, PROT_READ|PROT_WRITE, {flags}, -1, 0)", addr
        addr = free.pop(rng.randrange(max(len(free) - 16, 0), len(free)))
        slots.append(addr)
        length = self.regions[addr] = PAGE * rng.choice(_SIZES)
        if rng.random() < 0.1:
            offset = PAGE * rng.randrange(256)
            return f"mmap(NULL, {length:#x}, PROT_READ, MAP_PRIVATE, 3, {offset:#x})", addr
        flags = "MAP_PRIVATE|MAP_ANONYMOUS"
        return f"mmap(NULL, {length:#x}, PROT_READ|PROT_WRITE, {flags}, -1, 0)", addr

    def _unmap(self, rng: random.Random, slots: list[int], free: list[int]) -> str:
        """A whole region, or its upper half."""
        i = rng.randrange(len(slots))
        addr = slots[i]
        length = self.regions[addr]
        if length > PAGE and rng.random() < 0.2:
            keep = self.regions[addr] = PAGE * (length // PAGE // 2)
            return f"munmap({addr + keep:#x}, {length - keep:#x})"
        slots[i] = slots[-1]
        slots.pop()
        free.append(addr)
        del self.regions[addr]
        return f"munmap({addr:#x}, {length:#x})"

    def _inside(self, rng: random.Random, slots: list[int], call: str) -> str:
        """Protect or advise a part of a region."""
        addr = slots[rng.randrange(len(slots))]
        pages = self.regions[addr] // PAGE
        first = rng.randrange(pages)
        length = PAGE * rng.randint(1, pages - first)
        what = rng.choice(_PROT if call == "mprotect" else _ADVICE)
        return f"{call}({addr + PAGE * first:#x}, {length:#x}, {what})"


def call_strings(count: int, recorded: bool) -> list[str]:
    """mmap, munmap and mprotect calls in equal parts, every address another."""
    rng = random.Random(6)
    texts = []
    for i in range(count):
        addr, length = BASE + PAGE * rng.randrange(1 << 24), PAGE * rng.choice(_SIZES)
        event = (mmap, munmap, mprotect)[i % 3](addr, length, *((_WRITE,) if i % 3 != 1 else ()))
        text = format_call(event.name, event.args)
        if recorded:
            text += f" = {addr:#x}" if event.name == "mmap" else " = 0"
        texts.append(text)
    return texts
