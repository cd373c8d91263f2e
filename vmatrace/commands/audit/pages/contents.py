"""The anonymous pages of a running process as ksmd would see them: what each holds, as a digest.

Reads /proc/PID/pagemap, and /proc/PID/mem where that says that a page is there; writes nothing and
never stops the process: the kernel holds its mmap lock for reading, one page at a time, and marks
what is read as used (access_remote_vm(), mm/memory.c). Contents leave this module as keyed digests
alone, of a key that is made for the run and forgotten.
"""

from __future__ import annotations

import os
import struct
import time
from array import array
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final, NamedTuple

from vmatrace.commands.audit.snapshot import ForbiddenError, GoneError
from vmatrace.diagnostic import Diagnostic, TraceError
from vmatrace.engine.ksm import compatible
from vmatrace.layout import Layout, Mapping

PAGE_SIZE: Final = os.sysconf("SC_PAGE_SIZE")

# Entries of pagemap (fs/proc/task_mmu.c): PM_PRESENT, PM_SWAP, PM_FILE (no anonymous memory of its
# own), PM_MMAP_EXCLUSIVE (nobody else maps it).
_PRESENT: Final = 1 << 63
_SWAPPED: Final = 1 << 62
_FILE: Final = 1 << 61
_ALONE: Final = 1 << 56
#: Pages asked about, and pages read, in one call.
_BLOCK: Final = 1 << 16
_RUN: Final = 64
#: Seconds: shorter than that is not worth a sleep.
_NAP: Final = 0.005


class Page(NamedTuple):
    """A page that was read; ``alone``: no other process maps it, and nothing else in this one."""

    address: int
    alone: bool
    digest: bytes


class Pace:
    """Keeps the reading at or below *rate* bytes a second (0: as fast as it goes)."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._begin = time.monotonic()
        self._read = 0

    def keep(self, read: int) -> None:
        """So many bytes more were read: sleep for as long as that is too early."""
        self._read += read
        if self._rate:
            early = self._begin + self._read / self._rate - time.monotonic()
            if early > _NAP:
                time.sleep(early)


class Digester:
    """Digests of pages, equal where the contents are, and of no use to anybody afterwards."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self.zero = self.of(bytes(PAGE_SIZE))

    def of(self, page: bytes | memoryview) -> bytes:
        """The digest of one page."""
        return blake2b(page, digest_size=12, key=self._key).digest()


class AnonymousPages:
    """The pages of one process that ksmd could merge; a context.

    While they are read it counts, in pages, those that are there (``present``), ``swapped`` out
    and, of the ones to be read, ``unread``. *share* of the pages is read, from 0 to 1, chosen at
    random.
    """

    def __init__(self, pid: int, share: float, pace: Pace) -> None:
        """Raises TraceError where the process cannot be read, or is not there."""
        self.present = self.swapped = self.unread = 0
        self._share = share
        self._pace = pace
        self._pid = pid
        self._files: list[int] = []
        try:
            for name in ("pagemap", "mem"):
                self._files.append(_open(f"/proc/{pid}/{name}"))
        except TraceError:
            self.close()
            raise

    def __enter__(self) -> AnonymousPages:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the process."""
        for file in self._files:
            os.close(file)
        self._files.clear()

    def pages(self, layout: Layout, digester: Digester) -> Iterator[Page]:
        """The pages of *layout*, in address order. What has gone since is left out."""
        for mapping in filter(eligible, layout):
            for run in self._runs(mapping):
                data = memoryview(self._read(run[0][0], len(run)))
                for (address, alone), at in zip(run, range(0, len(data), PAGE_SIZE), strict=False):
                    yield Page(address, alone, digester.of(data[at : at + PAGE_SIZE]))

    def _runs(self, mapping: Mapping) -> Iterator[list[tuple[int, bool]]]:
        """Pages to be read, in runs that follow one another: address, and whether alone."""
        run: list[tuple[int, bool]] = []
        for address, entry in self._entries(mapping):
            if self._share < 1 and self._chance(address, entry) >= self._share:
                continue
            if run and (len(run) == _RUN or run[-1][0] + PAGE_SIZE != address):
                yield run
                run = []
            run.append((address, bool(entry & _ALONE)))
        if run:
            yield run

    def _chance(self, address: int, entry: int) -> float:
        """From 0 to 1 at random; of a page that may be shared, the same in every process."""
        who = self._pid if entry & _ALONE else 0
        mixed = blake2b(struct.pack("=QQ", who, address), digest_size=8).digest()
        return int.from_bytes(mixed, "little") / (1 << 64)

    def _entries(self, mapping: Mapping) -> Iterator[tuple[int, int]]:
        """Address and pagemap entry of each anonymous page that is there."""
        end = mapping.end // PAGE_SIZE
        for first in range(mapping.start // PAGE_SIZE, end, _BLOCK):
            entries = array("Q")
            try:
                data = os.pread(self._files[0], 8 * min(_BLOCK, end - first), 8 * first)
            except OSError:
                return  # it has exited
            entries.frombytes(data)
            # Most of a reservation is nothing, and every entry the same.
            if not entries or (entries[0] < _SWAPPED and data == data[:8] * len(entries)):
                continue
            for page, entry in enumerate(entries, first):
                if entry & _PRESENT and not entry & _FILE:
                    self.present += 1
                    yield page * PAGE_SIZE, entry
                elif entry & _SWAPPED and not entry & _FILE:
                    self.swapped += 1

    def _read(self, address: int, pages: int) -> bytes:
        """What is at *address*, whole pages of it; less where it cannot be read any more."""
        try:
            data = os.pread(self._files[1], pages * PAGE_SIZE, address)
        except OSError:
            data = b""
        whole = len(data) // PAGE_SIZE
        self.unread += pages - whole
        self._pace.keep(len(data))
        return data[: whole * PAGE_SIZE]


def eligible(mapping: Mapping) -> bool:
    """Whether KSM by default would have ksmd look at it: it may have VM_MERGEABLE, and has
    anonymous pages.
    """
    return mapping.faulted and compatible(mapping.vm_flags, None)


def _open(path: str) -> int:
    """Raises ForbiddenError, GoneError, and TraceError for anything else."""
    kind: type[TraceError] = TraceError
    try:
        return os.open(path, os.O_RDONLY)
    except PermissionError as error:
        kind = ForbiddenError
        why = (
            f"cannot be read: {error.strerror} (expected root, or a process of your own that you "
            "may trace: see /proc/sys/kernel/yama/ptrace_scope)"
        )
    except (FileNotFoundError, ProcessLookupError):
        kind = GoneError
        why = "there is no such process"
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
    raise kind([Diagnostic(path, 0, 0, why)])
