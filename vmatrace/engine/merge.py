"""Why two neighbours are, or are not, one VMA: Blocker, MergeDecision, and the predicates. Pure.

Nothing here changes state: engine.mm asks for a decision and commits it. Mirrors
is_mergeable_vma(), is_mergeable_anon_vma(), can_vma_merge_left() and can_vma_merge_right() in
mm/vma.c, but evaluates every condition and keeps all that failed, where the kernel stops at the
first.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntFlag
from functools import cache
from typing import Final, NamedTuple, Protocol

from vmatrace import abi
from vmatrace.engine.vma import NO_EXTRA, Extra, Vma
from vmatrace.engine.vmfile import VmFile
from vmatrace.event import Event

# The masks that the engine computes with; Blocker gives them names for whoever looks.
NO_NEIGHBOUR: Final = 1 << 0
NOT_ADJACENT: Final = 1 << 1
NOT_AT_BORDER: Final = 1 << 2
NOT_CONSIDERED: Final = 1 << 3
SPECIAL: Final = 1 << 4
FLAGS: Final = 1 << 5
FILE: Final = 1 << 6
PGOFF: Final = 1 << 7
ANON_VMA: Final = 1 << 8
FORKED: Final = 1 << 9
OTHER_SIDE: Final = 1 << 10
POLICY: Final = 1 << 11
UFFD: Final = 1 << 12
NAME: Final = 1 << 13
CLOSE: Final = 1 << 14
ANON_PGOFF: Final = 1 << 15

#: No VMA touches that side, so there was nothing to merge with.
NOTHING_THERE: Final = NO_NEIGHBOUR | NOT_ADJACENT | NOT_AT_BORDER | NOT_CONSIDERED


class Blocker(IntFlag):
    """The reasons why a side of a merge attempt did not merge."""

    NO_NEIGHBOUR = NO_NEIGHBOUR
    NOT_ADJACENT = NOT_ADJACENT
    NOT_AT_BORDER = NOT_AT_BORDER
    NOT_CONSIDERED = NOT_CONSIDERED
    SPECIAL = SPECIAL
    FLAGS = FLAGS
    FILE = FILE
    PGOFF = PGOFF
    ANON_VMA = ANON_VMA
    FORKED = FORKED
    OTHER_SIDE = OTHER_SIDE
    POLICY = POLICY
    UFFD = UFFD
    NAME = NAME
    CLOSE = CLOSE
    ANON_PGOFF = ANON_PGOFF

    @property
    def code(self) -> str:
        """The reason's name in JSON: ``anon-vma`` for ANON_VMA. One bit only."""
        assert self.name is not None
        return self.name.lower().replace("_", "-")

    def __str__(self) -> str:
        return "|".join(reason.code for reason in blockers(self))

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


@cache  # there are few masks, and an enum is slow to ask (3 microseconds a mask)
def blockers(mask: int) -> tuple[Blocker, ...]:
    """The reasons in *mask*, in the order of Blocker."""
    return tuple(reason for reason in Blocker if reason & mask)


#: vm_flags that comparing ignores (VM_IGNORE_MERGE / VM_STICKY): the merged VMA has their union.
IGNORED_FLAGS: Final = abi.VM_SOFTDIRTY | abi.VM_MAYBE_GUARD
_COMPARED: Final = ~IGNORED_FLAGS
_SPECIAL: Final = abi.VM_SPECIAL


class Attributes(NamedTuple):
    """What merging compares of a VMA, or of a range that is to become one.

    ``skew``, ``anon`` and ``chain`` are as in Vma. For a range, ``chain`` is that of the VMA it
    comes from, 0 where there is none or the kernel does not look at it.
    """

    flags: int
    skew: int
    file: VmFile | None
    anon: int
    chain: int
    extra: Extra | None


class Side(NamedTuple):
    """The neighbour at one side of an attempt that did not merge there, as it was then. Bytes."""

    start: int
    end: int
    attributes: Attributes


class Rules(Protocol):
    """What a merge asks of the kernel, and only where the answer matters: features, by World."""

    @property
    def next_first(self) -> bool:
        """fill-next-first."""

    @property
    def unfaulted_target(self) -> bool:
        """merge-unfaulted-target."""

    @property
    def unfaulted_reason(self) -> bool:
        """The same, where it is but one more reason: nothing depends on it but what is told."""


#: The names of all Rules.
RULES: Final = ("next_first", "unfaulted_target", "unfaulted_reason")


class MergeDecision(NamedTuple):
    """One merge attempt: the range in bytes, and for each side 0 (merged) or its Blockers.

    ``op`` is "new" (vma_merge_new_range), "modify" (vma_merge_existing_range), "brk", "copy"
    (copy_vma of mremap) or "grow" (vma_merge_extend). ``left`` and ``right`` are masks, and
    ``merged_start``/``merged_end`` the VMA that came out of it. The neighbours ``prev`` and
    ``next`` are kept where a VMA touches the range and did not merge with it, else None.
    ``event`` is the call that tried.
    """

    op: str
    start: int
    end: int
    left: int
    right: int
    merged_start: int
    merged_end: int
    proposed: Attributes
    prev: Side | None
    next: Side | None
    event: Event | None = None

    @property
    def kind(self) -> str | None:
        """``prev``, ``next``, ``both``, or None when nothing merged."""
        if self.left:
            return None if self.right else "next"
        return "prev" if self.right else "both"

    def touches(self, address: int) -> bool:
        """Whether a VMA was refused at *address*."""
        return (self.prev is not None and self.start == address) or (
            self.next is not None and self.end == address
        )

    def blocked(self) -> Iterator[tuple[str, Side, int]]:
        """The sides where a VMA touches and stayed apart: ("prev" or "next", it, its Blockers)."""
        if self.prev is not None:
            yield "prev", self.prev, self.left
        if self.next is not None:
            yield "next", self.next, self.right

    def flag_difference(self, side: Side) -> int:
        """The vm_flags in which the range and *side* differ, ignored ones left out."""
        return (self.proposed.flags ^ side.attributes.flags) & _COMPARED


def only_mergeable(proposed: Attributes, side: Side | None) -> bool:
    """Whether VM_MERGEABLE is all in which two differ, who differ in flags only.

    Then it alone kept them apart: the bug that the series mends.
    """
    assert side is not None
    return (proposed.flags ^ side.attributes.flags) & _COMPARED == abi.VM_MERGEABLE


class Border:
    """Where two VMAs touch: at ``address`` (bytes), what is between them as they are now.

    ``mask`` holds Blockers (0: they would be one if a merge were tried), ``flags`` the vm_flags in
    which they differ, and ``anon`` the two anon_vma identities with their chains. ``refusal`` is
    the last attempt to merge across it, if one was made.
    """

    __slots__ = ("address", "anon", "flags", "mask", "refusal")

    def __init__(self, left: Vma, right: Vma, mask: int) -> None:
        self.address = right.start
        self.mask = mask
        self.flags = (left.flags ^ right.flags) & _COMPARED
        self.anon = ((left.anon, left.chain), (right.anon, right.chain))
        last = right.refusal
        self.refusal: MergeDecision | None = None
        if isinstance(last, MergeDecision) and last.touches(right.start):
            self.refusal = last


_new: Final = tuple.__new__  # a NamedTuple's own constructor costs three times as much


def attributes(
    flags: int, skew: int, file: VmFile | None, anon: int, chain: int, extra: Extra | None
) -> Attributes:
    """Attributes(…), made fast."""
    return _new(Attributes, (flags, skew, file, anon, chain, extra))


def decide(
    op: str,
    start: int,
    end: int,
    prev: Vma | None,
    middle: Vma | None,
    following: Vma | None,
    proposed: Attributes,
    rules: Rules,
    event: Event | None = None,
    refused: int = 0,
) -> MergeDecision:
    """Whether [start, end) of *proposed* attributes merges with the VMAs before and behind it.

    *middle* is the VMA that holds the range already, None for a new range. Changes nothing; the
    record copies the neighbours as they are. *refused* is a Blocker that lies in the range itself.
    Source: vma_merge_new_range() and vma_merge_existing_range(), mm/vma.c.
    """
    if middle is not None and middle.start != start:
        left = NOT_AT_BORDER
    elif prev is None:
        left = NO_NEIGHBOUR
    elif prev.end != start:
        left = NOT_ADJACENT
    else:
        left = compare(prev, proposed, rules) | refused
    if middle is not None and middle.end != end:
        right = NOT_AT_BORDER
    elif following is None:
        right = NO_NEIGHBOUR
    elif following.start != end:
        right = NOT_ADJACENT
    elif op == "brk":
        right = NOT_CONSIDERED
    else:
        right = compare(following, proposed, rules) | refused
    if (
        middle is not None
        and middle.file is not None
        and middle.file.close
        and middle.start == start
        and middle.end == end
    ):  # the VMA as a whole would vanish in a merge
        left, right = left or CLOSE, right or CLOSE
    merged_start, merged_end = start, end
    if left == 0 and prev is not None:
        merged_start = prev.start
        if right == 0 and following is not None:  # three become one
            parted = prev.anon != following.anon or following.has_close
            if parted and op == "new" and rules.next_first:
                # prev is asked last, when the range has the anon_vma of the VMA behind it.
                if following.anon and prev.anon != following.anon:
                    left, merged_start = OTHER_SIDE, start
            elif anon_conflict(prev, following):
                right = OTHER_SIDE
            elif following.has_close:
                right = CLOSE
    if right == 0 and following is not None:
        merged_end = following.end
    left_side = None if left == 0 or left & NOTHING_THERE else _side(prev)
    right_side = None if right == 0 or right & NOTHING_THERE else _side(following)
    return _new(
        MergeDecision,
        (
            op, start, end, left, right, merged_start, merged_end, proposed, left_side, right_side,
            event,
        ),
    )  # fmt: skip


def _side(vma: Vma | None) -> Side:
    assert vma is not None
    of = (vma.flags, vma.skew, vma.file, vma.anon, vma.chain, vma.extra)
    return _new(Side, (vma.start, vma.end, _new(Attributes, of)))


def compare(vma: Vma, proposed: Attributes, rules: Rules) -> int:
    """The Blockers between *vma*, which touches the range, and a range of these attributes.

    Source: is_mergeable_vma() and is_mergeable_anon_vma(), mm/vma.c.
    """
    flags, skew, file, anon, chain, extra = proposed
    mask = 0
    if (vma.flags ^ flags) & _COMPARED:
        mask = FLAGS
    if flags & _SPECIAL:
        mask |= SPECIAL
    if vma.file is not file:
        mask |= FILE
    if vma.skew != skew:
        mask |= PGOFF
    if vma.extra is not extra:
        mask |= _compare_extra(vma.extra, extra)
    theirs = vma.anon
    if theirs != anon:
        if not anon:
            if vma.chain != 1:
                mask |= FORKED
        elif theirs or not (rules.unfaulted_reason if mask else rules.unfaulted_target):
            mask |= ANON_VMA
        elif chain > 1:
            mask |= FORKED
    return mask


def between(vma: Vma, following: Vma, rules: Rules) -> int:
    """The Blockers between two touching VMAs as they are now, 0 if they could be one."""
    of = attributes(vma.flags, vma.skew, vma.file, vma.anon, vma.chain, vma.extra)
    mask = compare(following, of, rules)
    if mask & ~CLOSE == 0 and following.has_close:
        mask |= CLOSE
    return mask


def _compare_extra(a: Extra | None, b: Extra | None) -> int:
    a, b = a or NO_EXTRA, b or NO_EXTRA
    return (
        (POLICY if a.policy != b.policy else 0)
        | (UFFD if a.uffd != b.uffd else 0)
        | (NAME if a.name != b.name else 0)
        | (ANON_PGOFF if a.displaced != b.displaced else 0)
    )


def anon_conflict(a: Vma, b: Vma) -> bool:
    """Whether both have an anon_vma and not the same (are_anon_vmas_compatible())."""
    return a.anon != b.anon and a.anon != 0 and b.anon != 0
