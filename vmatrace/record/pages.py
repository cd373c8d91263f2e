"""Whether memory has had a page of its own, and which VMA is where: the kernel is asked.

A piece that is writable and not known to have such a page is looked at through /proc/PID/pagemap.
Knows pages and pieces of an address space; nothing of processes and events.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterable, Iterator
from typing import Final

from vmatrace.calls import Range
from vmatrace.record.pieces import WRITTEN, Pieces

_PAGEMAP_SCAN: Final = 0xC0606610
_PROCMAP_QUERY: Final = 0xC0686611
_FILE, _PRESENT, _SWAPPED, _PFNZERO, _HUGE = 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6
_U64 = ctypes.c_uint64


class _Scan(ctypes.Structure):
    """struct pm_scan_arg, include/uapi/linux/fs.h."""

    _fields_ = [
        ("size", _U64), ("flags", _U64), ("start", _U64), ("end", _U64), ("walk_end", _U64),
        ("vec", _U64), ("vec_len", _U64), ("max_pages", _U64), ("category_inverted", _U64),
        ("category_mask", _U64), ("category_anyof_mask", _U64), ("return_mask", _U64),
    ]  # fmt: skip


_region = (_U64 * 3)()


def _scan_for(inverted: int, every: int, some: int) -> _Scan:
    # One page is enough to know.
    return _Scan(
        ctypes.sizeof(_Scan), 0, 0, 0, 0, ctypes.addressof(_region), 1, 1, inverted, every, some,
        _PRESENT,
    )  # fmt: skip


#: Present or swapped, and neither a page of a file nor the page of zeros.
_own = _scan_for(_FILE | _PFNZERO, _FILE | _PFNZERO, _PRESENT | _SWAPPED)
#: A huge page of no file, which may be of zeros: also for that one the kernel makes an anon_vma
#: (do_huge_pmd_anonymous_page()).
_huge = _scan_for(_FILE, _FILE | _PRESENT | _HUGE, 0)
#: struct procmap_query: its size, flags, the address asked for, then start and end of its VMA.
_query = (_U64 * 13)(104)
_query_at = ctypes.addressof(_query)
_libc = ctypes.CDLL(None, use_errno=True)
_ioctl = _libc.ioctl
_ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]


def _is_open(pieces: Pieces, vma: Range | None) -> bool:
    """Whether nothing of *vma* has been written to yet, and something may be."""
    return (
        vma is not None
        and bool(pieces.opened(*vma))
        and not any(flags & WRITTEN for _, (_, flags, _) in pieces.within(*vma))
    )


class Pagemap:
    """The pages of one address space, also while another image takes its process over.

    It is opened when it is needed, or when open() says so: as long as *pid* has this memory.
    """

    #: Whether the kernel has PAGEMAP_SCAN (6.7); otherwise pagemap itself is read.
    scans = True

    #: Whether it has PROCMAP_QUERY (6.11); otherwise every VMA is looked at.
    queries = True

    def __init__(self, pid: int, page_size: int) -> None:
        self._pid = pid
        self._fd = self._maps = -1
        self._page = page_size
        self._huge = page_size * page_size // 8  # what one page of page table entries maps

    def open(self) -> None:
        """Keep it open from now on. Raises OSError where /proc/PID/pagemap may not be read."""
        if self._fd < 0:
            self._fd = os.open(f"/proc/{self._pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
            self._maps = os.open(f"/proc/{self._pid}/maps", os.O_RDONLY | os.O_CLOEXEC)
            if self.vma_at(0) is None and ctypes.get_errno() == errno.ENOTTY:
                Pagemap.queries = False

    def close(self) -> None:
        for fd in (self._fd, self._maps):
            if fd >= 0:
                os.close(fd)
        self._fd = self._maps = -1

    def fresh(self, pieces: Pieces) -> Iterator[int]:
        """Pages written to since the last time: one address of each piece, noted as written."""
        return self._look(pieces, list(pieces.open.items()))

    def near(self, pieces: Pieces, ranges: list[tuple[int, int]]) -> tuple[list[int], bool]:
        """As fresh(), where a first write can matter to a call that works on *ranges*.

        That is in the VMAs that overlap or touch them, and where two VMAs touch, of which the one
        that is written to first may lend its anon_vma to the other (reusable_anon_vma()). Also
        whether something in those VMAs is still to be written.
        """
        if not Pagemap.queries:
            return list(self.fresh(pieces)), bool(pieces.open)
        found: list[int] = []
        more = False
        if pieces.borders:
            self.settle(pieces, list(pieces.borders))
            found += self._look(pieces, pieces.touching())
        for start, end in ranges:
            if not pieces.has_open_near(start, end):
                continue
            before, behind = self._sides(pieces, start, end)
            low, high = before[0] if before else start, behind[1] if behind else end
            found += self._look(pieces, pieces.opened(low, high))
            inside = max(start, before[1] if before else 0), min(end, behind[0] if behind else end)
            more = (
                more
                or _is_open(pieces, before)
                or _is_open(pieces, behind)
                or (inside[0] < inside[1] and bool(pieces.opened(*inside)))
            )
        return found, more

    def _sides(self, pieces: Pieces, start: int, end: int) -> tuple[Range | None, Range | None]:
        """The VMAs that come up to *start* and go on from *end*; what touches in them is joined."""
        before = behind = None
        if pieces.covered(start - 1) and (before := self.vma_at(start - 1)) is not None:
            pieces.join(before[0], start)
            behind = before if before[1] > end else None
        if behind is None and pieces.covered(end):
            behind = self.vma_at(end)
        if behind is not None:
            pieces.join(end, behind[1])
        return before, behind

    def around(
        self, pieces: Pieces, start: int, end: int, written: bool
    ) -> tuple[list[int], list[int]]:
        """As near(), after [start, end) was mapped: what was written before that, and after it.

        No look at the memory tells the one from the other, but where parts are one VMA that were
        all written to (*written*: what was moved there), they had not all been before.
        """
        pieces.clear(start, end)
        found = list(self._look(pieces, pieces.beside(start, end)))
        if pieces.beside(start, end):  # another part of the same VMA may have been written to
            found += self.near(pieces, [(start, end)])[0]
        vma = self.vma_at(start) if found else None
        if vma is None:
            return found, []
        sides = ((vma[0], start), (end, vma[1]))
        parts = written + sum(
            any(flags & WRITTEN for _, (_, flags, _) in pieces.within(*side)) for side in sides
        )
        after = [page for page in found if vma[0] <= page < vma[1]] if parts > 1 else []
        return [page for page in found if page not in after], after

    def within(self, pieces: Pieces, start: int, end: int) -> tuple[list[int], bool]:
        """As near(), of a call that takes [start, end) away: nothing merges.

        Elsewhere a write can matter in a VMA that becomes two, and in those that touch what goes:
        it may have lent them its anon_vma.
        """
        found: list[int] = []
        if pieces.is_whole(start, end):
            found += self._look(pieces, pieces.opened(start, end))
            found += self._look(pieces, pieces.beside(start, end))
            # What is beside and not open has an anon_vma, and so has all of its VMA.
            if not pieces.beside(start, end):
                return found, False
        before, behind = self._sides(pieces, start, end)
        low, high = before[0] if before else start, behind[1] if behind else end
        found += self._look(pieces, pieces.opened(low, high))
        if before is behind:
            return found, _is_open(pieces, before)
        left = before if before and before[1] <= start else None
        right = behind if behind and behind[0] >= end else None
        return found, _is_open(pieces, left) or _is_open(pieces, right)

    def settle(self, pieces: Pieces, addresses: Iterable[int]) -> None:
        """Join what is one VMA around each of *addresses*."""
        for address in addresses:
            if (vma := self.vma_at(address)) is not None:
                pieces.join(*vma)

    def _open_late(self) -> None:
        # Where that fails somebody has killed the process, and there is nothing to be seen.
        with contextlib.suppress(OSError):
            self.open()

    def _look(self, pieces: Pieces, candidates: list[tuple[int, int]]) -> Iterator[int]:
        if self._fd < 0 and candidates:
            self._open_late()
        for start, end in candidates:
            page = self._find(start, end)
            if page is not None:
                pieces.written(start)
                yield page

    def vma_at(self, address: int) -> tuple[int, int] | None:
        """The VMA around *address*, None if there is none."""
        if self._fd < 0:
            self._open_late()
        _query[2] = address & (1 << 64) - 1
        if _ioctl(self._maps, _PROCMAP_QUERY, _query_at):
            return None
        return _query[3], _query[4]

    def protected(self, start: int, end: int, prot: int) -> int:
        """Up to where in [start, end) all is mapped with PROT_* *prot*, and something behind it.

        *start* where that is not so, or nobody can say.
        """
        at = start
        while at < end and (vma := self.vma_at(at)) is not None:
            if _query[5] & 7 != prot:  # PROCMAP_QUERY_VMA_READABLE, _WRITABLE, _EXECUTABLE
                return at
            at = vma[1]
        return start

    def _find(self, start: int, end: int) -> int | None:
        return self._scan(start, end) if Pagemap.scans else self._read(start, end)

    def _scan(self, start: int, end: int) -> int | None:
        found = self._ask(_own, start, end)
        # A huge page needs a whole aligned range.
        if found == 0 and -(-start // self._huge) < end // self._huge:
            found = self._ask(_huge, start, end)
        if found > 0:
            return int(_region[0])
        if found < 0 and ctypes.get_errno() in (errno.ENOTTY, errno.EINVAL):
            Pagemap.scans = False
            return self._read(start, end)
        return None

    def _ask(self, scan: _Scan, start: int, end: int) -> int:
        scan.start, scan.end = start, end
        return int(_ioctl(self._fd, _PAGEMAP_SCAN, ctypes.addressof(scan)))

    def _read(self, start: int, end: int) -> int | None:
        """Without privileges the page of zeros looks like any other, but is nobody's alone."""
        for at in range(start, end, self._page << 16):
            size = min(end - at, self._page << 16) // self._page * 8
            try:
                words = memoryview(os.pread(self._fd, size, at // self._page * 8)).cast("Q")
            except OSError:
                return None
            for index, word in enumerate(words):
                # Bits 63 present, 62 swapped, 61 of a file, 56 mapped once.
                if word and (word >> 62 == 1 or (word >> 61 == 4 and word >> 56 & 1)):
                    return at + index * self._page
        return None
