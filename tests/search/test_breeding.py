"""Programs that are bred for real kernels touch nothing that a userfaultfd may watch."""

from __future__ import annotations

from random import Random

from vmatrace import abi
from vmatrace.event import Event
from vmatrace.kernels import get_kernel
from vmatrace.search.breeding import Breeder, unwatched
from vmatrace.search.finds import Ground
from vmatrace.search.generate import FAMILIES, files
from vmatrace.trace.file import Trace

AREA = "{range={start=0x10000000, len=0x4000}, mode=UFFDIO_REGISTER_MODE_MISSING}"
WATCH = Event("ioctl", (101, abi.UFFDIO_REGISTER, AREA), "")
MAP = Event("mmap", (0x10000000, 0x4000, 3, 0x32, -1, 0), "")
TOUCH = Event("fault", (0x10000000, 0x1000, 2), "")
LOCK = Event("mlockall", (2,), "")
POPULATE = Event("madvise", (0x10000000, 0x1000, abi.MADV_POPULATE_READ), "")
DISCARD = Event("madvise", (0x10000000, 0x1000, abi.MADV_DONTNEED), "")
PRESENT = Event("mmap", (0x10000000, 0x4000, 3, 0x32 | abi.MAP_POPULATE, -1, 0), "")


def test_what_touches_memory_goes_once_it_may_be_watched() -> None:
    assert unwatched([MAP, TOUCH, LOCK, POPULATE]) == [MAP, TOUCH, LOCK, POPULATE]
    program = [LOCK, MAP, TOUCH, PRESENT, WATCH, TOUCH, DISCARD, POPULATE, PRESENT, MAP]
    assert unwatched(program) == [MAP, TOUCH, PRESENT, WATCH, DISCARD, MAP]


def test_bred_programs_have_both_before_that() -> None:
    """The test above would be of nothing that happens, otherwise."""
    makers = [maker for family in FAMILIES.values() for maker, _ in family]
    sides = get_kernel("6.12"), get_kernel("6.18")
    breeder = Breeder(Ground(*sides, "breeding"), makers, [])
    base = Trace("t", "t", lambda: iter(()), files=files())
    random = Random(1)
    pool = [(base, breeder.made(random, 12)) for _ in range(60)]
    bred = [breeder.bred(random, pool, [base])[1] for _ in range(300)]
    assert sum(unwatched(events) != events for events in bred) >= 3
