"""Diffs as lists of numbers, and the tables of words that the numbers index."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, Final

from vmatrace.alignment import Block
from vmatrace.commands.diff import as_table
from vmatrace.commands.diff.answer import Diff, EventDiff, ProcessDiff
from vmatrace.commands.diff.words import COUNTS, labels, limits
from vmatrace.kernels import Feature
from vmatrace.layout import Mapping
from vmatrace.render.htmlpage import commit_url
from vmatrace.render.htmlpage.values import AttributeTable, ValueTable

#: Where a side does not say how large its pages are.
_PAGE: Final = 4096
#: On which side a VMA is.
_LEFT, _RIGHT, _BOTH = 0, 1, 2


class _Reaching:
    """Which of the *causes*, numbers of features, is the cause of what."""

    def __init__(self, diff: Diff, causes: Sequence[int]) -> None:
        self._reaches = list(zip(causes, diff.reaches, strict=False))
        # What two models do not do alike has a cause; a real kernel may have a reason of its own.
        models = all(side.kind == "model" for side in (diff.from_, diff.to))
        self._else = list(causes) if models or not self._reaches else []

    def event(self, index: int) -> list[int]:
        """Those of the event."""
        return [cause for cause, reach in self._reaches if index in reach.events] or self._else

    def blocks(self, pid: str, blocks: Iterable[Block]) -> list[list[int]] | None:
        """Those of each block; None where all of them have all."""
        if not self._reaches:
            return None
        ranges = [(cause, reach.ranges.get(pid, [])) for cause, reach in self._reaches]
        return [
            [cause for cause, where in ranges if _meets(where, block)] or self._else
            for block in blocks
        ]


class DiffPacker:
    """Packs diffs one after the other; ``tables()`` is complete when all of them are packed.

    A VMA is five numbers in a row, by start: distance to the last start, pages, attributes, offset
    in pages, and the side (2: both). Of each block that differs there are its causes, as numbers of
    ``features``, and the event that first touched it, as a place in ``shown`` (-1: none of those).
    """

    def __init__(self) -> None:
        self._attributes = AttributeTable()
        self._features = ValueTable()

    def tables(self) -> dict[str, Any]:
        """What the numbers mean."""
        return {"attributes": self._attributes.rows, "features": self._features.rows}

    def trace(self, diff: Diff) -> dict[str, Any]:
        """One trace; nothing of the layouts of one that is equal."""
        shown = list(diff.again()) if diff.again is not None else diff.early
        causes = [self._feature(cause.feature, cause.added) for cause in diff.why or ()]
        reaching = _Reaching(diff, causes)
        return {
            "name": diff.trace,
            "path": diff.path,
            "description": " ".join(diff.description.split()),
            "sides": list(labels(diff)),
            "names": [diff.from_.name, diff.to.name],
            "page_size": diff.to.page_size or diff.from_.page_size or _PAGE,
            "equal": diff.equal,
            "notes": list(limits(diff)),
            "causes": None if diff.why is None else causes,
            "totals": [
                [COUNTS[name], a, b]
                for name, a, b in diff.totals
                if (a, b) != (None, None) and (name != "errors" or a or b)
            ],
            "events": diff.events,
            "differing": diff.differing,
            "shown": [self._event(diff, event, reaching) for event in shown],
            "processes": [
                self._process(diff, process, reaching, shown)
                for process in diff.processes
                if not diff.equal
            ],
        }

    def _feature(self, feature: Feature, added: bool) -> int:
        return self._features.number(
            (feature.name, added),
            [
                feature.name, feature.summary, added, feature.commit, feature.subject,
                feature.release, commit_url(feature.commit), feature.note,
            ],
        )  # fmt: skip

    def _event(self, diff: Diff, event: EventDiff, reaching: _Reaching) -> list[Any]:
        """Its line, its call, what both sides did as text, and its causes."""
        call, *rest = as_table.event_text(diff, event)
        return [event.line, call, "\n".join(rest), reaching.event(event.index)]

    def _process(
        self, diff: Diff, process: ProcessDiff, reaching: _Reaching, shown: Sequence[EventDiff]
    ) -> dict[str, Any]:
        differing = [block for block in process.blocks if not block.equal]
        return {
            "pid": process.pid,
            "vmas": [None if side is None else len(side) for side in (process.from_, process.to)],
            "mappings": self._mappings(process, diff.to.page_size or diff.from_.page_size or _PAGE),
            "causes": reaching.blocks(process.pid, differing),
            "touched": _touched(process.pid, differing, shown),
        }

    def _mappings(self, process: ProcessDiff, page: int) -> list[int]:
        packed = []
        last = 0
        for mapping, side in _in_order(process.blocks):
            start = mapping.start // page
            pages = (mapping.end - mapping.start) // page
            attributes = self._attributes.of(mapping)
            packed += [start - last, pages, attributes, mapping.offset // page, side]
            last = start
        return packed


def _in_order(blocks: Iterable[Block]) -> Iterable[tuple[Mapping, int]]:
    """Every VMA of both sides by its start, what is equal once."""
    for block in blocks:
        if block.equal:
            yield block.left[0], _BOTH
            continue
        both = [(m, _LEFT) for m in block.left] + [(m, _RIGHT) for m in block.right]
        yield from sorted(both, key=lambda pair: (pair[0].start, pair[1]))


def _meets(ranges: Sequence[tuple[int, int]], block: Block) -> bool:
    """Whether one of *ranges*, in order and disjoint, overlaps it."""
    at = bisect_left(ranges, (block.end,))
    return at > 0 and ranges[at - 1][1] > block.start


def _touched(pid: str, blocks: Sequence[Block], shown: Iterable[EventDiff]) -> list[int]:
    """Of each block the first of the events *shown* that did something else there on each side."""
    starts = [block.start for block in blocks]
    found = [-1] * len(blocks)
    later = list(range(len(blocks) + 1))  # from any block to the next that none has touched

    def untouched(at: int) -> int:
        while later[at] != at:
            later[at] = at = later[later[at]]
        return at

    for place, event in enumerate(shown):
        if event.event.pid != pid:
            continue
        for did in (event.from_, event.to):
            for mapping in (*did.went, *did.came):
                at = untouched(max(bisect_right(starts, mapping.start) - 1, 0))
                if at < len(blocks) and blocks[at].end <= mapping.start:
                    at = untouched(at + 1)
                while at < len(blocks) and starts[at] < mapping.end:
                    found[at] = place
                    later[at] = at + 1
                    at = untouched(at + 1)
    return found
