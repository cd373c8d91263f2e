"""Frames of layouts as short lists of numbers, and the tables of words that the numbers index."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from vmatrace import abi, kernels
from vmatrace.calls import CALLS
from vmatrace.commands.report.frames import Frame, FrameChange, Join, Piece
from vmatrace.commands.report.question import Report
from vmatrace.engine import merge
from vmatrace.engine.merge import Border, MergeDecision, Side
from vmatrace.event import Event, format_result
from vmatrace.groups import labels
from vmatrace.layout import Mapping
from vmatrace.render import htmlpage, words
from vmatrace.render.htmlpage.values import NAME, AttributeTable, ValueTable
from vmatrace.replayer.result import Step

#: So many calls that refused a merge are kept with their text; of others there is the line.
MAX_TEXTS: Final = 5000

#: What a border is coloured by; the first that fits.
_CLASSES: Final = (
    ("flags", merge.FLAGS),
    ("file", merge.FILE | merge.PGOFF),
    ("anon", merge.ANON_VMA | merge.FORKED | merge.OTHER_SIDE),
)
_PLACES: Final = ("above", "below")
#: Of a border: its class, what is between the two now, what the last attempt met, and whether
#: VM_MERGEABLE alone is, or was, all of it.
_Bordering = tuple[str, str, str, bool]
#: Of a piece: pages, attributes, offset in pages, what to say of its border, the call that tried.
_Packed = tuple[int, int, int, _Bordering | None, int]
_MET: Final = ("on the one already there", "on the new one")


class Packer:
    """Packs frames; ``tables()`` is complete when all of them are packed.

    A frame is [number, line, process or -1, call, results, changes]; a change [process, side,
    starts that went, VMAs that came], each start as the distance to the last one. A VMA is six
    numbers in a row: distance, pages, attributes, offset in pages, border (-1: it touches nothing)
    and the call that tried to merge there (-1: none).
    """

    def __init__(self, found: Report, spaces: Sequence[int]) -> None:
        """*spaces* are the numbers of the processes shown, in order."""
        self._page = found.trace.page_size
        self._spaces = {number: i for i, number in enumerate(spaces)}
        # The series is to blame for nothing where the model has it.
        self._lacks = [not kernel.has(kernels.KSM_BEFORE_MERGE) for kernel in found.pair]
        self._attributes = AttributeTable()
        self._borders = ValueTable()
        self._calls = ValueTable()
        self._known: dict[int, list[_Packed]] = {}  # by id: the pieces of a change of this frame

    def tables(self) -> dict[str, Any]:
        """What the numbers mean. The attributes of a VMA are its permissions, VmFlags, name, kind,
        and what its group is called.
        """
        feature = kernels.KSM_BEFORE_MERGE
        called = labels(row[NAME] for row in self._attributes.rows)
        return {
            "attributes": [[*row, called[row[NAME]]] for row in self._attributes.rows],
            "borders": self._borders.rows,
            "calls": self._calls.rows,
            "commit": [
                feature.commit, feature.subject, feature.release,
                htmlpage.commit_url(feature.commit),
            ],
        }  # fmt: skip

    def frame(self, frame: Frame) -> list[Any]:
        """One frame as a list."""
        changes = [self._change(change) for change in frame.changes]
        self._known.clear()
        if frame.steps is None:
            return [0, 0, -1, "", [], changes]
        a, b = frame.steps
        event = a.event
        results = sorted({_result(a), _result(b)}) if a.result != b.result else [_result(a)]
        label = f"{event.label} = " if event.label else ""
        process = self._spaces.get(frame.space, -1)
        return [frame.number, event.line, process, label + event.text, results, changes]

    def _change(self, change: FrameChange) -> list[Any]:
        gone: list[int] = []
        come: list[int] = []
        last = 0
        for start in sorted(change.gone):
            page = start // self._page
            gone.append(page - last)
            last = page
        known = self._known.get(id(change.come))  # both models may have the same
        if known is None:
            known = self._known[id(change.come)] = [self._pack(piece) for piece in change.come]
        lacks, number = self._lacks[change.side], self._borders.number
        last = 0
        for piece, (pages, attributes, offset, border, call) in zip(
            change.come, known, strict=True
        ):
            start = piece.mapping.start // self._page
            which = -1
            if border is not None:
                kind, now, met, ksm = border
                row = (kind, now, met, int(ksm and lacks))
                which = number(row, row)
            come += (start - last, pages, attributes, offset, which, call)
            last = start
        return [self._spaces[change.space], change.side, gone, come]

    def _pack(self, piece: Piece) -> _Packed:
        mapping = piece.mapping
        border, call = (None, -1) if piece.join is None else self._border(piece.join, mapping)
        return (
            (mapping.end - mapping.start) // self._page,
            self._attributes.of(mapping),
            mapping.offset // self._page,
            border,
            call,
        )

    # --- borders -------------------------------------------------------------------------------

    def _border(self, join: Join, below: Mapping) -> tuple[_Bordering, int]:
        """What to say of the border, and the number of the call that tried to merge across it."""
        border, above = join
        now = ""
        if border.mask:
            flags, (one, other) = border.flags, border.anon
            now = _reasons(
                border.mask, flags, above.vm_flags & flags, below.vm_flags & flags, _PLACES,
                (one[0] and 1, other[0] and 1), above.name == below.name,
            )  # fmt: skip
        met, blame, call = self._refusal(border)
        alone = border.mask == merge.FLAGS and border.flags == abi.VM_MERGEABLE
        ksm = alone or (border.mask == 0 and blame)
        return ("ksm" if ksm else _class(border.mask), now, met, alone or blame), call

    def _refusal(self, border: Border) -> tuple[str, bool, int]:
        """The last attempt: why it failed, if VM_MERGEABLE alone was it, and the call's number."""
        refusal = border.refusal
        side = None if refusal is None else _side_at(refusal, border.address)
        if refusal is None or side is None:
            return "", False, -1
        neighbour, mask = side
        here, there = refusal.proposed, neighbour.attributes
        difference = refusal.flag_difference(neighbour)
        same = (
            here.file is not None and there.file is not None and here.file.path == there.file.path
        )
        met = _reasons(
            mask, difference, there.flags & difference, here.flags & difference, _MET,
            (there.anon and 1, here.anon and 1), same,
        )  # fmt: skip
        blame = mask == merge.FLAGS and difference == abi.VM_MERGEABLE
        return met, blame, self._call(refusal.event)

    def _call(self, event: Event | None) -> int:
        if event is None:
            return -1
        text = event.text if len(self._calls.rows) < MAX_TEXTS else ""
        return self._calls.number((event.line, event.column), [event.line, text])


@cache  # there are few, and each takes 10 microseconds
def _reasons(
    mask: int, flags: int, a: int, b: int, where: tuple[str, str], anon: tuple[int, int],
    same_path: bool,
) -> str:  # fmt: skip
    """words.reasons() of two who differ in *flags*; *anon* says whether each has an anon_vma."""
    return words.reasons(mask, words.flag_difference(flags, a, b, where), anon, same_path)


def _side_at(refusal: MergeDecision, address: int) -> tuple[Side, int] | None:
    return next(
        ((side, mask) for _, side, mask in refusal.blocked() if address in (side.start, side.end)),
        None,
    )


def _class(mask: int) -> str:
    if not mask:
        return "alike"
    return next((name for name, bits in _CLASSES if mask & bits), "other")


def _result(step: Step) -> str:
    return format_result(step.result, CALLS[step.event.name].result)
