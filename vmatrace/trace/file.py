"""The trace file: ``load_trace()`` and the Trace it gives.

Knows where a trace comes from and in which order it is read: the header at once, the events as a
stream each time somebody asks for them, so that a million of them are never held in memory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from stat import S_ISREG
from typing import Any, BinaryIO, Final, Union

from vmatrace import inputsize
from vmatrace.diagnostic import (
    WINDOW,
    BrokenError,
    Collector,
    Diagnostic,
    FileSource,
    Source,
    TraceError,
)
from vmatrace.event import Arg, Event, Expectation, Fd, File
from vmatrace.layout import Layout
from vmatrace.notes import Notes
from vmatrace.trace.characters import BOM, decode_errors
from vmatrace.trace.entries import Converter
from vmatrace.trace.header import KEYS, VERSION, Header, ProcessState, Sysctl, file_system
from vmatrace.trace.items import items
from vmatrace.trace.literal import ItemLike, node, plain
from vmatrace.trace.values import Values
from vmatrace.trace.writer import header, item_line, snapshot
from vmatrace.trace.yamlstream import (
    Node,
    Scalar,
    SequenceNode,
    YamlReader,
    position,
)

__all__ = ["Diagnostic", "ProcessState", "Sysctl", "Trace", "TraceError", "load_trace"]

Item = Union[Event, Expectation]
#: In a file of more bytes what is under a key that no trace has is not read (30 s for 10 MB).
_READ_ON: Final = 1 << 20
#: How many times their text's memory nodes take.
_NODES: Final = 16


@dataclass(repr=False)
class Trace:
    """A trace. ``read`` starts a new run through its items, which ``items()`` calls; what a log's
    reader takes for written to is folded into the call before it there (Event.first_write).

    ``path`` is what messages call the input. Sizes and addresses are in bytes. Event.pid is "main"
    for the first process, and for another the label of the fork that created it, or else the
    recorded result of that fork as text, whichever of the two the event itself used.

    ``partial``: the events are of a log that does not show all memory; what its results prove is
    assumed. ``recorded``: they are all calls of a program that ran; what was refused to it is
    believed. ``cpus`` is how many processors the machine may have. ``notes`` is what reading that
    log leaves to say, filled by each run through the items.
    """

    path: str
    name: str
    read: Callable[[], Iterator[Item]]
    description: str = ""
    kernel: str | None = None
    page_size: int = 4096
    arch: str | None = None
    sysctl: Sysctl = field(default_factory=Sysctl)
    process: ProcessState = field(default_factory=ProcessState)
    files: Mapping[int | str, File] = field(default_factory=dict)
    maps: Layout = field(default_factory=list)
    partial: bool = False
    recorded: bool = False
    cpus: int = 1
    notes: Notes | None = None
    _opened: dict[Fd, File] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        events: Iterable[ItemLike],
        *,
        name: str = "events",
        description: str = "",
        kernel: str | None = None,
        page_size: int = 4096,
        sysctl: Mapping[str, int] | None = None,
        process: Mapping[str, object] | None = None,
        files: Mapping[int | str, File | Mapping[str, object]] | None = None,
        maps: str | Layout | None = None,
    ) -> Trace:
        """The trace of *events*, each a call as strace prints it, the mapping that a trace file
        would have in its place, an Event or an Expectation.

        The keywords are the keys of a trace file; *maps* is text of maps or smaps, or a Layout.
        Raises TraceError with every error, whose line is the number of the event from 1 on.
        """
        if isinstance(events, (str, Mapping)):
            raise TypeError(f"expected a list of events, not {type(events).__name__}")
        items = list(events)
        errors = Collector(Source(f"<{name}>", "\n".join(map(_one_line, items)).encode()))
        keys: dict[str, object] = {
            "vmatrace": VERSION, "name": name, "description": description or None,
            "kernel": kernel, "page_size": page_size, "sysctl": sysctl, "process": process,
            "files": files, "maps": maps if maps is None or isinstance(maps, str) else
            "\n".join(snapshot(maps)),
        }  # fmt: skip
        try:
            header = Header({k: node(v, 0) for k, v in keys.items() if v is not None}, errors)
            converter = Converter(header.files, header.page_size, errors)
            read = [_item(converter, item, line) for line, item in enumerate(items, 1)]
        except BrokenError:
            raise errors.error() from None
        if errors:
            raise errors.error()
        kept = [item for item in read if item is not None]
        return cls(errors.source.path, name, lambda: iter(kept), *header.fields())

    def __repr__(self) -> str:
        return f"<Trace {self.name}: {self.path}>"

    def __str__(self) -> str:
        """The text of a trace file that leads to the same, without the comments of this one.

        Raises TraceError.
        """
        lines = list(map(item_line, self.items()))
        files = dict(self.files)
        for item in self.items():
            for arg in item.args if isinstance(item, Event) else ():
                if isinstance(arg, Fd) and arg.file is not None:
                    files[arg.key] = arg.file
        head = header(
            self.name, files, self.process, description=self.description, kernel=self.kernel,
            page_size=self.page_size, arch=self.arch, sysctl=self.sysctl, maps=self.maps,
            partial=self.partial, recorded=self.recorded, cpus=self.cpus,
        )  # fmt: skip
        return "\n".join([head + lines[0], *lines[1:]]) if lines else head.rstrip() + " []"

    def items(self) -> Iterator[Item]:
        """The events and expectations in order, from the first; may be called again.

        Raises TraceError. When one item is in error, none after it is given; the exception comes
        when the end has been reached and holds every error up to there.
        """
        return self._expanded() if self.partial else self.read()

    def _expanded(self) -> Iterator[Item]:
        for item in self.read():
            if isinstance(item, Event) and item.first_write is not None:
                yield from item.written()
            else:
                yield item

    def validate(self) -> None:
        """Read every item once. Raises TraceError."""
        for _ in self.items():
            pass

    def file(self, fd: Arg) -> File | None:
        """What the descriptor argument *fd* refers to, None if the trace does not say.

        The same descriptor gives the same object each time, another descriptor another object. A
        path that strace printed with the number counts; ``files`` says more of it, by path or, for
        a number whose path is the same, by number.
        """
        if not isinstance(fd, Fd):
            return self.files.get(fd) if isinstance(fd, int) else None
        if fd.file is not None:
            return fd.file
        entry = self.files.get(fd.key)
        if fd.path is None or (entry is not None and entry.path == fd.path):
            return entry
        if fd not in self._opened:
            like = next((file for file in self.files.values() if file.path == fd.path), None)
            self._opened[fd] = (
                replace(like) if like
                else File(fd.path, file_system(fd.path))
            )  # fmt: skip
        return self._opened[fd]


def load_trace(source: str | PathLike[str] | bytes | BinaryIO, path: str | None = None) -> Trace:
    """Read the trace in *source*: a path, "-" for standard input, bytes, or a binary file.

    *path* is what messages call it. All keys but ``events`` are read and checked; the events are
    read by ``Trace.items()``. Raises TraceError: for a header in error it holds the errors of the
    events too; for a file that cannot be read it says so.
    """
    text = _read_source(source, path)
    errors = Collector(text)
    decode_errors(text, errors)
    if errors:
        raise errors.error()
    document = _Document(text, errors)
    try:
        header = Header(document.nodes, errors)
        document.check_keys(errors)
    except BrokenError:
        raise errors.error() from None
    trace = Trace(
        text.path,
        header.name or Path(text.path).stem.strip("<>"),
        lambda: document.items(trace, Collector(text)),
        *header.fields(),
    )
    if errors:
        for _ in document.items(trace, errors):
            pass
        raise errors.error()
    return trace


def _one_line(item: ItemLike) -> str:
    """What an error shows of *item*."""
    text = item if isinstance(item, str) else getattr(item, "text", None) or repr(item)
    return " ".join(text.splitlines())


def _item(converter: Converter, item: ItemLike, line: int) -> Item | None:
    """*item* as Converter has it, which has been told of it; None if an error was reported."""
    if isinstance(item, Expectation):
        return item
    if isinstance(item, Event):
        event = item if item.line else copy(item)
        event.line = event.line or line
        converter.names.enter(event, lambda index, name: (line, 1))
        return event
    return converter.item(plain(item, line) if isinstance(item, str) else node(item, line))


def _read_source(source: str | PathLike[str] | bytes | BinaryIO, path: str | None) -> Source:
    name = path
    try:
        if isinstance(source, bytes):
            name, data = name or "<bytes>", source
        elif isinstance(source, (str, PathLike)) and str(source) != "-":
            name = name or str(source)
            with open(source, "rb") as file:
                stat = os.fstat(file.fileno())
                if S_ISREG(stat.st_mode) and stat.st_size > WINDOW:
                    start = len(BOM) if file.read(len(BOM)) == BOM else 0
                    return FileSource(name, file, start)
                data = _read_all(file)
        else:
            stream = sys.stdin.buffer if isinstance(source, (str, PathLike)) else source
            name = name or ("<stdin>" if source == "-" else str(getattr(stream, "name", "<file>")))
            data = _read_all(stream)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise TraceError([Diagnostic(name or "", 0, 0, f"cannot be read: {reason}")]) from error
    return Source(name, data.removeprefix(BOM))


def _read_all(file: BinaryIO) -> bytes:
    """Everything in *file*, but not much more after a null byte: /dev/zero has no end."""
    if file.seekable():  # looked through first: what is put together is there twice
        start = file.tell()
        length = sum(map(len, _chunks(file)))
        file.seek(start)
        return file.read(length)
    return b"".join(_chunks(file))


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(1 << 20):
        yield chunk
        if b"\0" in chunk:
            break


class _Document:
    """The top-level mapping: its header nodes, and the nodes of its events as often as wanted.

    ``nodes`` has the top-level values by key. ``broken`` says that reading stopped at a syntax
    error, so that a key that is missing may just not have been reached.
    """

    def __init__(self, source: Source, errors: Collector) -> None:
        self.source = source
        self.nodes: dict[str, Node | None] = {}
        self.line, self.column = 1, 1
        self.streaming = False
        self.broken = False
        try:
            self._read(YamlReader(source, errors), errors)
        except BrokenError:
            self.broken = True

    def _read(self, reader: YamlReader, errors: Collector) -> None:
        root = reader.root()
        self.line, self.column = position(root)
        if not reader.is_mapping(root):
            # A list is not read: that would take minutes where it is long.
            node = SequenceNode(*position(root)) if reader.is_list(root) else reader.node(root)
            if node is not None:
                Values(errors).wrong(node, "a mapping with the keys vmatrace and events")
            raise BrokenError
        if root.anchor is not None or root.tag is not None:
            reader.refuse(root, "an anchor or tag")
        for key, value in reader.pairs():
            if key.value not in KEYS:
                Values(errors).unknown_key(key, KEYS, "a trace")
                if not reader.is_scalar(value) and self.source.size > _READ_ON:
                    raise BrokenError
            if key.value == "events" and self.column == 1 and reader.can_stream(value):
                self.streaming = True
                return
            if key.value == "events":
                self._check_size(key, errors)
            self.nodes[key.value] = reader.node(value, 1)
        reader.finish()

    def _check_size(self, key: Scalar, errors: Collector) -> None:
        """Events that are no stream become nodes, which take much more than their text.

        Raises BrokenError.
        """
        limit = inputsize.most() // _NODES
        if self.source.size > limit:
            what = inputsize.too_large("a trace with its events in this place or form", limit)
            errors.add(*position(key), f"{what}; a block list at its end has no limit")
            raise BrokenError

    def check_keys(self, errors: Collector) -> None:
        """Report a required key that is missing, and events that are no list."""
        events = self.nodes.get("events")
        if events is not None and not isinstance(events, SequenceNode):
            Values(errors).wrong(events, "a list of events")
        for key in ("vmatrace", "events") if not self.broken else ():
            if key not in self.nodes and not (key == "events" and self.streaming):
                errors.add(self.line, self.column, f"the key {key!r} is missing")

    def event_nodes(self, errors: Collector) -> Iterable[Node | None]:
        """The nodes of ``events``. Raises BrokenError."""
        if self.streaming:
            return self._stream(errors)
        events = self.nodes.get("events")
        return events.items if isinstance(events, SequenceNode) else ()

    def _stream(self, errors: Collector) -> Iterator[Node | None]:
        reader, first = self._at_events()
        mark = first.start_mark
        start = self.source.offset(mark.line)

        def everything() -> Iterator[Node | None]:
            reader.report_to(errors)
            yield from reader.items()
            reader.next()
            reader.finish()

        return items(self.source, start, mark.line, mark.column, everything)

    def _at_events(self) -> tuple[YamlReader, Any]:
        """A reader that has come to the events, and the parser's event that starts their list."""
        # The header is read again to get there; what is wrong with it has been reported.
        reader = YamlReader(self.source, Collector(self.source))
        reader.root()
        for key, value in reader.pairs():
            if key.value == "events":
                return reader, value
            reader.skip(value)
        raise AssertionError("no events, which were there before")

    def items(self, trace: Trace, errors: Collector) -> Iterator[Item]:
        """The items of *trace*; after an error only errors are gathered, and raised at the end."""
        item = Converter(trace.files, trace.page_size, errors).item
        try:
            for node in self.event_nodes(errors):
                value = item(node)
                if value is not None and not errors.count:
                    yield value
        except BrokenError:
            pass
        if errors:
            raise errors.error()
