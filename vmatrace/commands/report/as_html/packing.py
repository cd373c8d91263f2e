"""Frames of layouts as short lists of numbers, and the tables of words that the numbers index."""

from __future__ import annotations

from collections.abc import Sequence
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
        if frame.steps is None:
            return [0, 0, -1, "", [], changes]
        a, b = frame.steps
        event = a.event
        results = sorted({_result(a), _result(b)}) if a.result != b.result else [_result(a)]
        label = f"{event.label} = " if event.label else ""
        process = self._spaces.get(frame.space, -1)
        return [frame.number, event.line, process, label + event.text, results, changes]

    def _change(self, change: FrameChange) -> list[Any]:
        gone, come = [], []
        last = 0
        for start in sorted(change.gone):
            page = start // self._page
            gone.append(page - last)
            last = page
        last = 0
        for piece in change.come:
            start = piece.mapping.start // self._page
            come += [start - last, *self._piece(piece, change.side)]
            last = start
        return [self._spaces[change.space], change.side, gone, come]

    def _piece(self, piece: Piece, side: int) -> tuple[int, ...]:
        mapping = piece.mapping
        return (
            (mapping.end - mapping.start) // self._page,
            self._attributes.of(mapping),
            mapping.offset // self._page,
            *((-1, -1) if piece.join is None else self._border(piece.join, mapping, side)),
        )

    # --- borders -------------------------------------------------------------------------------

    def _border(self, join: Join, below: Mapping, side: int) -> tuple[int, int]:
        """The numbers of the border and of the call that tried to merge across it, -1 for none."""
        border, above = join
        now = ""
        if border.mask:
            difference = words.flag_difference(
                border.flags, above.vm_flags, below.vm_flags, _PLACES
            )
            anon = (border.anon[0][0], border.anon[1][0])
            now = words.reasons(border.mask, difference, anon, above.name == below.name)
        met, blame, call = self._refusal(border)
        alone = border.mask == merge.FLAGS and border.flags == abi.VM_MERGEABLE
        ksm = alone or (border.mask == 0 and blame)
        kind = "ksm" if ksm else _class(border.mask)
        row = [kind, now, met, int((alone or blame) and self._lacks[side])]
        return self._borders.number(tuple(row), row), call

    def _refusal(self, border: Border) -> tuple[str, bool, int]:
        """The last attempt: why it failed, if VM_MERGEABLE alone was it, and the call's number."""
        refusal = border.refusal
        side = None if refusal is None else _side_at(refusal, border.address)
        if refusal is None or side is None:
            return "", False, -1
        neighbour, mask = side
        here, there = refusal.proposed, neighbour.attributes
        difference = refusal.flag_difference(neighbour)
        said = words.flag_difference(difference, there.flags, here.flags, _MET)
        same = (
            here.file is not None and there.file is not None and here.file.path == there.file.path
        )
        met = words.reasons(mask, said, (there.anon, here.anon), same)
        blame = mask == merge.FLAGS and difference == abi.VM_MERGEABLE
        return met, blame, self._call(refusal.event)

    def _call(self, event: Event | None) -> int:
        if event is None:
            return -1
        text = event.text if len(self._calls.rows) < MAX_TEXTS else ""
        return self._calls.number((event.line, event.column), [event.line, text])


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
