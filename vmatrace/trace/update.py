"""Expectations rewritten in the text of a trace file; every other byte stays as it is.

Knows where the values of an expectation stand and how they are spelled. Whether the new text holds
is for whoever checks it to say.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final, NamedTuple, cast

from vmatrace.atomic import has_attributes
from vmatrace.diagnostic import Collector, Diagnostic, Source
from vmatrace.event import ExpectedMapping
from vmatrace.layout import Layout, Mapping
from vmatrace.trace.characters import BOM
from vmatrace.trace.text import Edit, Text
from vmatrace.trace.writer import expected_mapping, quoted
from vmatrace.trace.yamlstream import (
    MappingNode,
    Node,
    Scalar,
    SequenceNode,
    YamlReader,
    position,
)

_BOUND: Final = re.compile(r"\s*(==|!=|<=|>=|<|>)\s*([0-9]+)\s*\Z")
_WRITABLE: Final = 0o222
_COMMENT: Final = re.compile(r"\s*#[^\r\n]*")
_MAPS_LINE: Final = re.compile(r"(\S+)(\s+)(\S+)(\s+)(\S+)(\s+\S+\s+\S+)(\s*)(.*)\Z")


class Seen(NamedTuple):
    """What an expectation that failed stated and what was there, under one model.

    A number (or a bound as text) and a number; or the mappings stated, with their addresses
    evaluated, and the layout.
    """

    kernel: str
    expected: object
    actual: object


@dataclass
class Rewrite:
    """A value of an expectation (the one in ``line`` and ``column``) that did not hold.

    ``what`` is its key; ``holds`` names the models under which it does.
    """

    line: int
    column: int
    what: str
    seen: list[Seen] = field(default_factory=list)
    holds: list[str] = field(default_factory=list)


class Updated(NamedTuple):
    """The text of the trace at *path*, how many values are rewritten in it, what could not be.

    Where there is a problem, nothing is rewritten.
    """

    path: str
    data: bytes
    rewritten: int
    problems: list[Diagnostic]


class _Problem(Exception):  # noqa: N818
    """Why a value cannot be rewritten."""


def updated(path: str, data: bytes, rewrites: Iterable[Rewrite], page_size: int) -> Updated:
    """*data*, the text of the trace at *path* and free of errors, with *rewrites* done."""
    source = Source(path, data.removeprefix(BOM))
    text = Text(source.data.decode())
    wanted: dict[tuple[int, int], list[Rewrite]] = {}
    for rewrite in rewrites:
        wanted.setdefault((rewrite.line, rewrite.column), []).append(rewrite)
    edits: list[Edit] = []
    problems = []
    count = 0
    for entry in _expectations(source):
        for rewrite in wanted.pop((entry.line, entry.column), ()):
            key, node = _value(entry, rewrite.what)
            try:
                edits += _edits(text, key, node, rewrite, page_size)
                count += 1
            except _Problem as problem:
                where = position(node)
                message = f"{rewrite.what} cannot be updated: {problem}"
                problems.append(Diagnostic(path, *where, message, source.line(where[0])))
    if problems:
        return Updated(path, data, 0, problems)
    bom = data[: len(data) - len(source.data)]
    return Updated(path, bom + text.edited(edits).encode(), count, [])


def replace(path: str, data: bytes) -> None:
    """Make *data* the content of the file at *path*, which keeps all else that it is.

    A file with one name and no attributes is replaced at once, one with more is written to.
    Raises OSError, also for a file that nobody may write to (root could).
    """
    path = os.path.realpath(path)
    before = os.stat(path)
    if not before.st_mode & _WRITABLE or not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only (expected a file to write to)")
    if before.st_nlink > 1 or has_attributes(path):
        with open(path, "r+b") as file:
            file.write(data)
            file.truncate()
        return
    handle, new = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".vmatrace-")
    try:
        with open(handle, "wb") as file:
            file.write(data)
            with suppress(PermissionError):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.fchmod(file.fileno(), before.st_mode & 0o7777)
        os.replace(new, path)
    except BaseException:
        os.unlink(new)
        raise


def _expectations(source: Source) -> Iterator[MappingNode]:
    """The entries of ``events`` that are expectations."""
    reader = YamlReader(source, Collector(source))
    reader.root()
    for key, value in reader.pairs():
        if key.value == "events":
            for node in reader.items():
                if isinstance(node, MappingNode) and node.pairs[0][0].value == "expect":
                    yield node
            return
        reader.skip(value)


def _value(entry: MappingNode, what: str) -> tuple[Scalar, Node]:
    """The key *what* of an expectation and its value."""
    fields = cast(MappingNode, entry.pairs[0][1])
    return next((key, cast(Node, value)) for key, value in fields.pairs if key.value == what)


def _edits(text: Text, key: Scalar, node: Node, rewrite: Rewrite, page_size: int) -> list[Edit]:
    if rewrite.what != "maps":
        return [_count_edit(text, cast(Scalar, node), rewrite)]
    if rewrite.holds:
        raise _Problem(_disagreement(rewrite))
    sequence = cast(SequenceNode, node)
    first, *others = (
        _MapsEdits(
            text, key, sequence, cast("list[ExpectedMapping]", seen.expected),
            cast(Layout, seen.actual), page_size,
        ).edits()
        for seen in rewrite.seen
    )  # fmt: skip
    if any(other != first for other in others):
        raise _Problem(_disagreement(rewrite))
    return first


def _disagreement(rewrite: Rewrite) -> str:
    """Which models want different values."""
    failed = [seen.kernel for seen in rewrite.seen]
    advice = "(expected one value: give each model an expectation of its own, with 'on')"
    if rewrite.holds:
        return f"it holds under {', '.join(rewrite.holds)}, not under {', '.join(failed)} {advice}"
    if rewrite.what == "maps":
        return f"the layouts under {', '.join(failed)} differ {advice}"
    actual = ", ".join(f"{seen.actual} under {seen.kernel}" for seen in rewrite.seen)
    return f"{actual} {advice}"


# --- counts ---------------------------------------------------------------------------------------


def _count_edit(text: Text, node: Scalar, rewrite: Rewrite) -> Edit:
    actual = [cast(int, seen.actual) for seen in rewrite.seen]
    start, end = text.start(node), text.end(node)
    spelled = text.text[start:end]
    bound = _BOUND.match(node.value)
    operator, stated = (bound[1], int(bound[2])) if bound else ("==", int(node.value, 0))
    value = {"<": max(actual) + 1, "<=": max(actual), ">": min(actual) - 1, ">=": min(actual)}.get(
        operator, actual[0]
    )
    if operator == "!=" or value < 0:
        raise _Problem(f"no number that '{operator}' holds for is what was seen")
    if operator == "==" and (rewrite.holds or len(set(actual)) > 1):
        raise _Problem(_disagreement(rewrite))
    if bound is None:
        return Edit(start, end, _number(spelled, value))
    digits = list(re.finditer("[0-9]+", spelled))
    if len(digits) != 1 or int(digits[0][0]) != stated:  # an escape in quotes
        return Edit(start, end, quoted(f"{operator} {value}"))
    return Edit(start + digits[0].start(), start + digits[0].end(), str(value))


def _number(like: str, value: int) -> str:
    """*value* in the base that *like* is in."""
    return hex(value) if like.startswith("0x") else oct(value) if like[:2] == "0o" else str(value)


# --- layouts --------------------------------------------------------------------------------------


class _MapsEdits:
    """The edits that make the list *node*, which states *expected*, one of the mappings *have*."""

    def __init__(
        self, text: Text, key: Scalar, node: SequenceNode, expected: list[ExpectedMapping],
        have: Layout, page_size: int,
    ) -> None:  # fmt: skip
        self.text = text
        self.key = key
        self.node = node
        self.items = cast("list[Node]", node.items)
        self.expected = expected
        self.have = have
        self.page_size = page_size
        #: How the list spells an address.
        self.known: dict[int, str] = {}
        for item, want in zip(self.items, expected, strict=True):
            for field_key, value in item.pairs if isinstance(item, MappingNode) else ():
                if field_key.value in ("start", "end"):
                    address = cast(int, getattr(want, field_key.value))
                    self.known.setdefault(address, cast(Scalar, value).value)

        self.labels = [at for at, text in self.known.items() if text.isidentifier()]

    def _address(self, address: int) -> str:
        """*address* as the list spells it, else from a label that the list has below it."""
        if address in self.known:
            return self.known[address]
        base = max((at for at in self.labels if at < address), default=None)
        pages, rest = divmod(address - (base or 0), self.page_size)
        if base is None or rest:
            return hex(address)
        label = self.known[base]
        return f"{label} + PAGE_SIZE" if pages == 1 else f"{label} + {pages}*PAGE_SIZE"

    def edits(self) -> list[Edit]:
        text, node, items = self.text, self.node, self.items
        flow = text.is_flow(node)
        if not items:
            listed = ", ".join(map(expected_mapping, self.have))
            return [Edit(text.start(node), text.end(node), f"[{listed}]")]
        if not self.have:
            start = text.start(node) if flow else text.end(self.key)
            return [Edit(start, text.end(node), "[]" if flow else ": []")]
        return self._flow_edits() if flow else list(self._block_edits())

    def pairs(self) -> Iterator[tuple[int | None, Mapping | None]]:
        """Items and the mappings they become, in order: by their start, else by their place."""
        place = {mapping.start: j for j, mapping in enumerate(self.have)}
        i0 = j0 = 0
        for i in range(len(self.items) + 1):
            last = i == len(self.items)
            j = len(self.have) if last else place.get(cast(int, self.expected[i].start), -1)
            if j >= j0:
                yield from zip_longest(range(i0, i), self.have[j0:j])
                if not last:
                    yield i, self.have[j]
                i0, j0 = i + 1, j + 1

    def _flow_edits(self) -> list[Edit]:
        text, items = self.text, self.items
        usual = text.text[text.end(items[0]) : text.start(items[1])] if len(items) > 1 else ""
        if usual.strip() != ",":
            usual = ", "
        written, before, like = "", None, 0
        for i, mapping in self.pairs():
            if mapping is None:
                continue
            if written:
                beside = i is not None and before == i - 1
                written += (
                    text.text[text.end(items[i - 1]) : text.start(items[i])]
                    if i is not None and beside
                    else usual
                )
            like = like if i is None else i
            written += self._item(like, mapping, new=i is None)
            before = i
        return [Edit(text.start(items[0]), text.end(items[-1]), written)]

    def _block_edits(self) -> Iterator[Edit]:
        text, items = self.text, self.items
        before = None  # the item that the new ones come behind
        ahead: list[Mapping] = []
        for i, mapping in self.pairs():
            if i is None:
                assert mapping is not None
                if before is None:
                    ahead.append(mapping)
                else:
                    at = text.line_end(text.end(items[before]))
                    yield Edit(at, at, text.newline + self._dashed(before, mapping))
                continue
            dash = self._dash(i)
            if mapping is None:
                yield Edit(text.line_start(dash), text.line_end(text.end(items[i]), True), "")
                continue
            if ahead:
                new = "".join(self._dashed(i, one) + text.newline for one in ahead)
                yield Edit(text.line_start(dash), text.line_start(dash), new)
                ahead = []
            start, end = text.start(items[i]), text.end(items[i])
            yield Edit(start, end, self._item(i, mapping))
            before = i

    def _dash(self, i: int) -> int:
        """Where the ``-`` of an item stands: in the column of the first one."""
        at = self.text.start(self.items[i])
        while self.text.column(at := self.text.text.rindex("-", 0, at)) != self.node.column - 1:
            pass
        return at

    def _dashed(self, like: int, mapping: Mapping) -> str:
        """A new item spelled as item *like* is, with its dash and indentation."""
        dash = self._dash(like)
        indent = self.text.text[self.text.line_start(dash) : dash]
        blank = self.text.text[dash + 1 : self.text.start(self.items[like])]
        return f"{indent}-{blank if blank.isspace() else ' '}{self._item(like, mapping, new=True)}"

    def _item(self, i: int, have: Mapping, new: bool = False) -> str:
        """The text of item *i*, changed where it does not say *have*; *new*: without comments."""
        node, want, text = self.items[i], self.expected[i], self.text
        flow = text.is_flow(self.node) or text.is_flow(node)
        if not isinstance(node, MappingNode):
            scalar = cast(Scalar, node)
            line = _changed_line(scalar.value, want, have)
            kept = line == scalar.value
            return text.text[text.start(node) : text.end(node)] if kept else text.spelled(
                scalar, line, flow
            )  # fmt: skip
        edits = []
        at = text.start(node)
        for key, value in node.pairs:
            start, end = text.start(value), text.end(value)
            gap = text.text[at : text.start(key)]
            if new and "#" in gap:
                edits.append(Edit(at, text.start(key), _COMMENT.sub("", gap)))
            changed = self._field(key.value, value, want, have, flow)
            if changed is not None:
                edits.append(Edit(start, end, changed))
            at = end
        return text.edited(edits, text.start(node), text.end(node))

    def _field(
        self, key: str, node: Node | None, want: ExpectedMapping, have: Mapping, flow: bool
    ) -> str | None:
        """The new text of one value, None where the old one holds."""
        if key == "flags" and set(want.flags or ()) == set(have.codes):
            return None
        if isinstance(node, SequenceNode):
            return f"[{', '.join(have.codes)}]"
        scalar = cast(Scalar, node)
        if key == "flags":
            return self.text.spelled(scalar, " ".join(have.codes), flow)
        value = getattr(have, key)
        if getattr(want, key) == value:
            return None
        if key == "offset":
            return _number("0x" if scalar.value == "0" else scalar.value, value)
        if key in ("start", "end"):
            value = self._address(value)
        return self.text.spelled(scalar, value, flow)


def _changed_line(line: str, want: ExpectedMapping, have: Mapping) -> str:
    """The /proc/PID/maps line, its fields changed where they differ; device and inode stay."""
    match = _MAPS_LINE.match(line.strip())
    assert match is not None
    place, _, perms, _, offset, device, blank, name = (match[n] for n in range(1, 9))
    if (want.start, want.end) != (have.start, have.end):
        place = f"{have.start:08x}-{have.end:08x}"
    if want.perms != have.perms:
        perms = have.perms
    if want.offset != have.offset:
        offset = f"{have.offset:08x}"
    if want.name != have.name:
        name, device = have.name, f"{match[6][: -len(match[6].lstrip())]}{have.device} {have.inode}"
    head = f"{place}{match[2]}{perms}{match[4]}{offset}{device}"
    return head + (blank or " ") + name if name else head
