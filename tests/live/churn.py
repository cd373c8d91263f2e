"""A program that a test records: random calls on neighbouring VMAs, and first writes to them.

Run with SEED set; it needs nothing but the standard library.
"""

import ctypes
import random

PAGE, PAGES, BASE, CALLS = 4096, 24, 0x200000000000, 300
READ, WRITE, EXEC = 1, 2, 4

libc = ctypes.CDLL(None)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
_LONG, _INT = ctypes.c_size_t, ctypes.c_int
libc.mmap.argtypes = [_LONG, _LONG, _INT, _INT, _INT, ctypes.c_long]
libc.mremap.argtypes = [_LONG, _LONG, _LONG, _INT, _LONG]
libc.munmap.argtypes = libc.mlock.argtypes = libc.munlock.argtypes = [_LONG, _LONG]
libc.mprotect.argtypes = libc.madvise.argtypes = [_LONG, _LONG, _INT]
chance = random.Random(globals().get("SEED", 1))
#: The protection of each page that is mapped.
mapped: dict[int, int] = {}


def write(page: int) -> None:
    """Touch *page* where that is allowed."""
    if mapped.get(page, 0) & WRITE:
        ctypes.memset(BASE + page * PAGE, 1, 1)


def step() -> None:
    """One call, or one or more first writes."""
    kind, first = chance.choice("mmmwwwwwwwaupppl>"), chance.randrange(PAGES)
    count = chance.randint(1, 6)
    at, length, pages = BASE + first * PAGE, count * PAGE, range(first, first + count)
    protection = chance.choice((READ, READ | WRITE, READ | WRITE, READ | WRITE | EXEC))
    if kind == "m":
        libc.mmap(at, length, protection, 0x32, -1, 0)
        mapped.update(dict.fromkeys(pages, protection))
    elif kind == "w":
        for page in pages[: chance.choice((1, 1, 1, 6))]:
            write(page)
    elif kind == "u":
        libc.munmap(at, length)
        for page in pages:
            mapped.pop(page, None)
    elif kind == "l":
        (libc.mlock if chance.random() < 0.3 else libc.munlock)(at, length)
    elif not all(page in mapped for page in pages):
        return
    elif kind == "p":
        libc.mprotect(at, length, protection)
        mapped.update(dict.fromkeys(pages, protection))
    elif kind == "a":
        libc.madvise(at, length, chance.choice((10, 11, 12, 13, 16, 17)))
    elif len({mapped[page] for page in pages}) == 1:
        target = chance.randrange(PAGES)
        moves = not set(range(target, target + count)) & set(pages)
        to = BASE + target * PAGE
        if moves and libc.mremap(at, length, length, 3, to) == to:
            for i in range(count):
                mapped[target + i] = mapped.pop(first + i)


for _ in range(CALLS):
    step()
