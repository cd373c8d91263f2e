"""The VMA and its attributes. All positions and lengths are bytes."""

from __future__ import annotations

from typing import Final, NamedTuple

from vmatrace import abi
from vmatrace.engine.vmfile import VmFile


class Extra(NamedTuple):
    """The rare attributes of a VMA that merging compares. A VMA with none of them holds None.

    ``policy`` is its mempolicy, ``uffd`` its userfaultfd context, ``name`` its name if anonymous.
    ``displaced`` is how far, in bytes, a private file mapping was moved since it was first written
    to: its second page offset less its address (vma_start_anon_pgoff(), feature anon-pgoff).
    """

    policy: tuple[object, ...] | None = None
    uffd: int = 0
    name: str | None = None
    displaced: int = 0


NO_EXTRA: Final = Extra()


def some(extra: Extra) -> Extra | None:
    """*extra*, or None where it holds nothing."""
    return None if extra == NO_EXTRA else extra


class Vma:
    """One ``vm_area_struct``.

    ``skew`` is the distance in bytes from the start address to the position in the backing:
    ``vm_pgoff * page_size - vm_start``. Splitting and extending leave it alone, and two adjacent
    VMAs have contiguous page offsets exactly when their skews are equal. It is 0 for anonymous
    memory that never moved. ``anon`` is the identity of the anon_vma, 0 for none; ``chain`` is
    0 without one, 1 when its anon_vma_chain is singular, 2 when it is longer (inherited by fork).
    ``refusal`` is the last merge decision that left this VMA apart from the one before it.
    """

    __slots__ = (
        "anon", "chain", "end", "extra", "file", "flags", "next", "prev", "refusal", "skew",
        "start",
    )  # fmt: skip

    def __init__(
        self,
        start: int,
        end: int,
        flags: int,
        skew: int = 0,
        file: VmFile | None = None,
        anon: int = 0,
        chain: int = 0,
        extra: Extra | None = None,
    ) -> None:
        self.start = start
        self.end = end
        self.flags = flags
        self.skew = skew
        self.file = file
        self.anon = anon
        self.chain = chain
        self.extra = extra
        self.refusal: object | None = None
        self.prev: Vma | None = None
        self.next: Vma | None = None

    def __repr__(self) -> str:
        codes = " ".join(abi.vm_flag_codes(self.flags))
        return f"Vma({self.start:#x}-{self.end:#x} {codes} anon={self.anon}/{self.chain})"

    @property
    def is_anonymous(self) -> bool:
        """vma_is_anonymous(): no vm_ops. True for private /dev/zero too, false for shared anon."""
        file = self.file
        return file is None or (file.anonymous and not self.flags & abi.VM_SHARED)

    @property
    def is_cow(self) -> bool:
        """vma_is_cow_mapping(): private, so that a write copies the page."""
        return self.flags & (abi.VM_SHARED | abi.VM_MAYWRITE) == abi.VM_MAYWRITE

    @property
    def has_close(self) -> bool:
        return self.file is not None and self.file.close
